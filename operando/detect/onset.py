"""Between which frames a signal that is absent from the reference comes, and goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CLEAR = 5.0
"""Typical score that windows of a signal shall have; decides how many frames are averaged."""
PRESENT, ABSENT = 3.0, 2.0
"""Scores above which a signal is there, and below which frames look like the reference."""


@dataclass(frozen=True)
class Span:
    """Frames of a signal; the end is open when it lasts to the last frame."""

    earliest: int
    """The last frame that still looks like the reference."""
    latest: int
    """The first frame from which the signal persists."""
    end_earliest: int | None
    """The last frame in which it is certainly there; None when it lasts."""
    end_latest: int | None
    """The first frame that looks like the reference again."""


def locate(
    area: Array, sigma: Array, *, reference: int, start: int, stop: int, shortest: int
) -> Span:
    """Return when a signal comes and goes, given frames [start, stop) in which it is clear.

    Means over the fewest frames (1, 2, 4, ...) that make it clear are followed outwards from there.
    `area` and `sigma` (noise of the frame and of the reference) are those of all frames, the
    reference first.
    """
    alone = sigma / np.sqrt(1.0 + 1.0 / reference)
    length = 1
    while 2 * length <= stop - start:
        if np.median(_scores(area, alone, reference, length)[start : stop - length + 1]) > CLEAR:
            break
        length *= 2
    score = _scores(area, alone, reference, length)
    latest, earliest = _outwards(score, start, stop - length, reference - 1, -1)
    # a window may hold the change anywhere
    earliest = max(earliest, reference - 1)
    latest = latest + length - 1
    last, back = _outwards(score, stop - length, start, len(score), 1)
    if back + length - 1 >= area.size or area.size - (last + length) < shortest:
        return Span(earliest, latest, None, None)
    return Span(earliest, latest, last, back + length - 1)


def _scores(area: Array, sigma: Array, reference: int, length: int) -> Array:
    """Score of the mean over [i, i + length)."""
    ones = np.ones(length)
    mean = np.convolve(area, ones, "valid") / length
    variance = np.convolve(sigma**2, ones, "valid") / length
    return np.asarray(mean / np.sqrt(variance * (1.0 / length + 1.0 / reference)))


def _outwards(score: Array, first: int, last: int, limit: int, way: int) -> tuple[int, int]:
    """Return the outermost window with the signal next to `first`, and the next one without."""
    at = first
    while score[at] <= PRESENT and at != last:
        at -= way
    while at + way != limit and score[at + way] > PRESENT:
        at += way
    beyond = at + way
    while beyond != limit and score[beyond] >= ABSENT:
        beyond += way
    return at, beyond
