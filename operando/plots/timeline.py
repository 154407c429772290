"""Frames on the time axis of a figure: hours, positions, gaps, and the edges of every cell."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.plots.style import plain, shorten

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]

GAP_PERIODS = 3.0
"""Dead time longer than this many median periods is a gap and stays blank."""
INSTANT_H = 0.5 / 60
"""Half the width in hours given to a lone frame whose exposure is unknown."""


@dataclass(frozen=True)
class Frames:
    """When the frames of one position were taken, in hours."""

    start: Array
    end: Array
    gap: Mask
    """(n - 1,): whether a gap follows frame i."""

    @property
    def mid(self) -> Array:
        """The middle of every frame."""
        return (self.start + self.end) / 2


def hours(stamps: npt.NDArray[np.datetime64] | np.datetime64, *, since: np.datetime64) -> Array:
    """Return hours between `since` and the stamps.

    >>> hours(np.array(["2026-05-04T09:30"], "M8[ns]"), since=np.datetime64("2026-05-04T08:00"))
    array([1.5])
    """
    elapsed = np.asarray(stamps).astype("M8[ns]") - since.astype("M8[ns]")
    return np.asarray(elapsed / np.timedelta64(1, "ns") / 3.6e12, np.float64)


def since_label(since: np.datetime64) -> str:
    """Return the label of a time axis: hours, and the moment they count from."""
    moment = np.datetime_as_string(since, unit="s").replace("T", " ")
    return f"Time since {moment} UTC (h)"


def titled(position: str, label: str) -> str:
    """Return a vertical label that names the position above the quantity."""
    return f"{plain(shorten(position, 28))}\n{label}" if position else label


def frames_of(frames: xr.Dataset, *, since: np.datetime64) -> Frames:
    """Return when frames were taken, from `time_start` and `time_end`, else from `time`."""
    start, end = (
        hours(frames[name if name in frames.coords else "time"].values, since=since)
        for name in ("time_start", "time_end")
    )
    return Frames(start, end, gaps(start, end))


def gaps(start: Array, end: Array) -> Mask:
    """Return where the dead time after a frame exceeds `GAP_PERIODS` median periods."""
    if start.size < 2:
        return np.zeros(0, bool)
    period = np.median(np.diff((start + end) / 2))
    return np.asarray(start[1:] - end[:-1] > GAP_PERIODS * period)


def blocks(gap: Mask, *, most: int) -> Index:
    """Return the first frames of about `most` equal blocks, none of which spans a gap."""
    count = gap.size + 1
    size = -(-count // most)
    first = np.concatenate([[0], np.flatnonzero(gap) + 1, [count]])
    parts = [np.arange(a, b, size) for a, b in pairwise(first.tolist())]
    return np.concatenate(parts)


def cell_edges(frames: Frames) -> tuple[Array, Array]:
    """Return where the cell of each frame begins and ends.

    Neighbours meet half-way through the dead time between them. At a gap a cell ends half the
    usual dead time after its exposure, so that all cells of a regular series are equally wide.
    """
    start, end, joined = frames.start, frames.end, ~frames.gap
    dead = (start[1:] - end[:-1])[joined]
    pad = max(0.0, float(np.median(dead)) / 2) if dead.size else 0.0
    pad = pad or (INSTANT_H if not dead.size and np.all(start == end) else 0.0)
    left, right = start - pad, end + pad
    meeting = ((end[:-1] + start[1:]) / 2)[joined]
    left[1:][joined] = meeting
    right[:-1][joined] = meeting
    return left, right


def broken(values: Array, gap: Mask) -> Array:
    """Return values with NaN put in at every gap, so that a line is interrupted there."""
    return np.insert(values, np.flatnonzero(gap) + 1, np.nan)
