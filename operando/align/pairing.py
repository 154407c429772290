"""The verb `pair`: which exposure of another detector overlaps each frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from operando import arguments
from operando.align.exposures import exposures
from operando.align.windows import SECOND, Array, Integers
from operando.errors import RequestError
from operando.model import technique_of

LARGEST_BLOCK = 2_000_000
"""Pairs of exposures held at a time: 100 MB."""


class _Partners(NamedTuple):
    frame: Integers
    """(m,); -1 where no exposure of the other overlaps."""
    share: Array
    gap: Array
    """Seconds to the nearest exposure of the other, 0 where one overlaps (m,)."""


def pair(frames: xr.Dataset, others: xr.Dataset, *, name: str | None = None) -> xr.Dataset:
    """Return the frames with the exposure of another detector that overlaps each one most.

    Added as coordinates on `time`:

    - `<name>_frame`: its index along `time` of `others`, so that
      `others.isel(time=frames["<name>_frame"])` is what was measured meanwhile; -1 where none
      overlaps. Of two that overlap equally long the earlier is taken, never the nearest one that
      does not overlap.
    - `<name>_overlap` (0-1): the shared part of the frame's own exposure. An instant within an
      exposure overlaps it wholly; an exposure around an instant shares 0 with it.
    - `<name>_gap` (s): how far the nearest exposure of the other is away; 0 where one overlaps.

    Both keep their own clock: declare the offsets of both first. Nothing is computed.

    Parameters
    ----------
    frames, others
        Any techniques, with `time_start` and `time_end` (UTC).
    name
        What the coordinates begin with; the technique of `others` when not given.

    Raises
    ------
    ContractError
        One of them has no intervals, or `others` no technique.
    RequestError
        `others` holds no frame, `frames` hold such a variable, or an argument is of another type.
    """
    arguments.dataset("frames", frames)
    arguments.dataset("others", others)
    if name is not None and not (isinstance(name, str) and name):
        raise arguments.refusal("name", name, "what the coordinates begin with")
    name = name or technique_of(others)
    wanted = [f"{name}_frame", f"{name}_overlap", f"{name}_gap"]
    taken = sorted(set(wanted) & set(map(str, frames.data_vars)))
    if taken:
        raise RequestError(f"frames: already hold the variables {taken}; pass another name")
    if others.sizes.get("time", 0) == 0:
        raise RequestError(f"{name}: holds no frame; there is nothing to pair with")
    found = _partners(*exposures(frames, what="frames"), *exposures(others, what=name))
    return frames.assign_coords(
        {
            wanted[0]: (
                "time",
                found.frame.astype(np.int32),
                {"units": "1", "long_name": f"frame of {name} that overlaps most, -1 none"},
            ),
            wanted[1]: (
                "time",
                found.share,
                {"units": "1", "long_name": f"share of the exposure that {name} overlaps"},
            ),
            wanted[2]: (
                "time",
                found.gap,
                {"units": "s", "long_name": f"time to the nearest exposure of {name}"},
            ),
        }
    )


def _partners(start: Integers, end: Integers, begin: Integers, stop: Integers) -> _Partners:
    """Find for each window (m,) the one of `begin`, `stop` (k,) that it shares most time with."""
    order = np.argsort(begin, kind="stable")
    begin, stop = begin[order], stop[order]
    reached = np.maximum.accumulate(stop)
    low = np.searchsorted(reached, start, "left")
    high = np.searchsorted(begin, end, "right")
    count = np.maximum(high - low, 0)
    best, most = np.full(start.size, -1), np.zeros(start.size, np.int64)
    for block in _blocks(count):
        best[block], most[block] = _longest(
            start[block], end[block], begin, stop, low[block], count[block]
        )
    length = end - start
    share = np.where(length > 0, most / np.where(length > 0, length, 1), best >= 0)
    # Where none overlaps, all that begin before the window's end are over before its start.
    never = np.iinfo(np.int64).max
    before = np.where(high > 0, start - reached[np.maximum(high - 1, 0)], never)
    after = np.where(high < begin.size, begin[np.minimum(high, begin.size - 1)] - end, never)
    gap = np.where(best >= 0, 0, np.maximum(np.minimum(before, after), 0)) / SECOND
    index = np.where(best >= 0, order[np.clip(best, 0, None)], -1)
    return _Partners(index, share.astype(np.float64), gap)


def _longest(
    start: Integers, end: Integers, begin: Integers, stop: Integers, low: Integers, count: Integers
) -> tuple[Integers, Integers]:
    """Return for each window which candidate overlaps longest (-1 none), and for how long (ns)."""
    window = np.repeat(np.arange(start.size), count)
    first = np.cumsum(count) - count
    candidate = np.arange(window.size) - np.repeat(first - low, count)
    shared = np.minimum(end[window], stop[candidate]) - np.maximum(start[window], begin[candidate])
    instant = (end == start)[window] | (stop == begin)[candidate]
    # Exposures that only touch share no time; an instant is inside or it is not.
    shared = np.where((shared > 0) | (instant & (shared == 0)), shared, -1)
    best, most = np.full(start.size, -1), np.zeros(start.size, np.int64)
    ranked = np.lexsort((candidate, -shared, window))
    some = count > 0
    winner = ranked[first[some]]
    real = shared[winner] >= 0
    best[np.flatnonzero(some)[real]] = candidate[winner][real]
    most[np.flatnonzero(some)[real]] = shared[winner][real]
    return best, most


def _blocks(count: Integers) -> list[Integers]:
    """Divide the windows so that a block holds few pairs, or a single window."""
    cuts = np.flatnonzero(np.diff(np.cumsum(count) // LARGEST_BLOCK)) + 1
    return list(np.split(np.arange(count.size), cuts))
