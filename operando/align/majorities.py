"""Which label of a log held for most of an interval of time: numpy kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operando.align.windows import Array, Integers, Mask, Windows, covered_time

LARGEST_BLOCK = 2_000_000
"""Pairs of window and stretch held at a time: 100 MB."""


class Majority(NamedTuple):
    """The label that held longest in each window."""

    label: Integers
    """(m,)."""
    share: Array
    """Part of the covered time of the window in which it held (m,); NaN where none is covered."""


class _Stretches(NamedTuple):
    """Neighbouring intervals of one label."""

    label: Integers
    begin: Integers
    """Covered time before each (ns)."""
    end: Integers
    """Covered time up to its end (ns)."""


def majority(
    time: Integers, labels: Integers, covered: Mask, windows: Windows, *, missing: int
) -> Majority:
    """Return the label that held for most of the covered time of each window.

    The label of a row holds from the row before up to that row, as a current averaged since the row
    before does; it is never interpolated. Of two that held equally long the smaller is taken.

    Parameters
    ----------
    time, labels
        Rows (n,) in order of time.
    covered
        Intervals (n - 1,).
    missing
        The label of a window that is not covered.
    """
    held = labels[1:]
    first = np.flatnonzero(np.diff(held, prepend=held[:1] - 1))
    stretch = np.cumsum(np.diff(held, prepend=held[:1] - 1) != 0) - 1
    total = np.append(0, np.cumsum(np.where(covered, np.diff(time), 0)))
    stretches = _Stretches(held[first], total[first], total[np.append(first[1:], held.size)])
    low = stretch[np.clip(windows.first, 0, held.size - 1)]
    high = stretch[np.clip(windows.last, 0, held.size - 1)]
    begin = covered_time(time, covered, windows.start)
    end = covered_time(time, covered, windows.end)
    label, longest = stretches.label[low].copy(), (end - begin).copy()
    several = np.flatnonzero(high > low)
    for block in _blocks(several, (high - low + 1)[several]):
        label[block], longest[block] = _longest(
            stretches, low[block], high[block], begin[block], end[block]
        )
    instant = windows.start == windows.end
    inside = (windows.first >= 0) & (windows.first < held.size)
    at = np.where(inside, windows.first, 0)
    known = np.where(instant, inside & covered[at], end > begin)
    share = np.divide(longest, end - begin, out=np.ones(label.size), where=end > begin)
    return Majority(np.where(known, label, missing), np.where(known, share, np.nan))


def _blocks(windows: Integers, counts: Integers) -> list[Integers]:
    """Divide the windows so that a block holds few pairs, or a single window."""
    if windows.size == 0:
        return []
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // LARGEST_BLOCK)) + 1
    return list(np.split(windows, cuts))


def _longest(
    stretches: _Stretches, low: Integers, high: Integers, begin: Integers, end: Integers
) -> tuple[Integers, Integers]:
    """Return for each window the label that holds longest, and for how long (ns)."""
    count = high - low + 1
    window = np.repeat(np.arange(low.size), count)
    stretch = np.arange(window.size) - np.repeat(np.cumsum(count) - count - low, count)
    held = np.minimum(end[window], stretches.end[stretch]) - np.maximum(
        begin[window], stretches.begin[stretch]
    )
    label = stretches.label[stretch]
    order = np.lexsort((label, window))
    window, label, held = window[order], label[order], np.maximum(held, 0)[order]
    new = (np.diff(window, prepend=-1) != 0) | (np.diff(label, prepend=0) != 0)
    group = np.flatnonzero(new)
    window, label, held = window[group], label[group], np.add.reduceat(held, group)
    ranked = np.lexsort((-label, held, window))
    winner = ranked[np.append(np.diff(window[ranked]) != 0, True)]
    return label[winner], held[winner]
