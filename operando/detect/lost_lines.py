"""Lines of the reference that are gone, and whether they all are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operando.detect.frame_series import Series
from operando.detect.line_areas import Line, held
from operando.detect.misfit_template import Tracks
from operando.detect.new_lines import PRESENT, Change
from operando.detect.seen_lines import Seen

Array = npt.NDArray[np.float64]

SHARP = 0.1
"""Error of what is left of a line, over what it was, at which it can be called gone."""
COMMON, FEWEST = 0.8, 3
"""Share of the clear lines of the reference, and number, that no phase takes with it."""


def lost(series: Series, seen: Seen, *, shortest: int) -> Seen:
    """Return the lines of which less than a fifth is left for `shortest` frames or longer."""
    before = held(series, seen.lines, [line.change for line in seen.lines])
    gone = [
        at
        for at in range(len(seen.lines))
        if _gone(seen.area[:, at], seen.sigma[:, at], before[at], series.reference, shortest)
    ]
    return seen.only(gone)


def _gone(change: Array, sigma: Array, before: float, reference: int, shortest: int) -> bool:
    """Whether the mean of some window, long enough to tell, is under a fifth of `before`."""
    if before <= 0.0:
        return False
    needed = (float(np.median(sigma)) / (SHARP * before)) ** 2
    length = max(shortest, int(np.ceil(needed)))
    after = change[reference:]
    if length > after.size:
        return False
    mean = np.convolve(after, np.ones(length) / length, "valid")
    return bool((mean / before + 1.0).min() < PRESENT)


def lost_tracks(series: Series, tracks: Tracks, *, shortest: int, threshold: float) -> Seen:
    """Return the tracked lines that are gone, with what they lost of their area."""
    count, first = len(tracks.names), series.reference
    part = series.share[:first] / series.known
    error = np.where(np.isfinite(tracks.area_sigma), tracks.area_sigma, 0.0)
    before = part @ tracks.area[:first]
    before_sigma = np.sqrt((part**2) @ error[:first] ** 2)
    area = tracks.area - before
    # a frame of the reference shares its noise with the mean
    sign = np.where(np.arange(len(area)) < first, -1.0, 1.0)[:, None]
    sigma = np.sqrt(np.maximum(error**2 + sign * before_sigma**2, 1e-4 * error**2))
    lines, chosen = [], []
    for at in range(count):
        found = _clearest(area[first:, at], error[first:, at], before_sigma[at], shortest)
        score, start, stop = found
        if score <= threshold:
            continue
        if not _gone(area[:, at], sigma[:, at], float(before[at]), first, shortest):
            continue
        centre = float(part @ tracks.centre[:first, at])
        index = int(np.clip(np.searchsorted(series.axis, centre), 0, series.axis.size - 1))
        step = float(np.gradient(series.axis)[index])
        fwhm = float(part @ tracks.fwhm[:first, at])
        change = Change(
            index=index,
            width=fwhm / step,
            score=-score,
            start=first + start,
            stop=first + stop,
            alarm=first + stop - 1,
            area=float(area[first + start : first + stop, at].mean() / step),
        )
        eta = float(part @ tracks.eta[:first, at])
        lines.append(Line(centre, 0.0, fwhm, eta, 0.0, change, tracks.names[at]))
        chosen.append(at)
    return Seen(lines, area[:, chosen], np.maximum(sigma[:, chosen], 1e-300))


def _clearest(change: Array, sigma: Array, before: float, shortest: int) -> tuple[float, int, int]:
    """Return the largest score of a loss over windows of dyadic length, and the window."""
    total = np.concatenate([[0.0], np.cumsum(change)])
    noise = np.concatenate([[0.0], np.cumsum(sigma**2)])
    best = (0.0, 0, 0)
    length = shortest
    while length <= change.size:
        spread = np.sqrt(noise[length:] - noise[:-length] + (length * before) ** 2)
        score = -(total[length:] - total[:-length]) / np.maximum(spread, 1e-300)
        at = int(score.argmax())
        best = max(best, (float(score[at]), at, at + length))
        length *= 2
    return best


def common_loss(seen: Seen, clear: Array) -> bool:
    """Whether lines are lost with nearly all clear lines of the reference at `clear`."""
    if len(clear) < FEWEST or len(seen.lines) < FEWEST:
        return False
    where = np.array([line.centre for line in seen.lines])
    width = np.array([line.fwhm for line in seen.lines])
    near = np.abs(clear[:, None] - where) <= width
    return bool(near.any(axis=1).mean() >= COMMON)
