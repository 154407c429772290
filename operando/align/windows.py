"""Averages of a log over intervals of time: numpy kernels.

A log of n rows is n - 1 intervals between neighbouring rows; interval k goes from row k to row
k + 1. A quantity is known at both ends of the intervals that are covered, and is linear between
them. Time is int64 nanoseconds throughout, so nothing is lost however far the epoch is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SECOND = 1e9


class Pieces(NamedTuple):
    """A quantity that is linear on every covered interval of a log."""

    begin: Array
    """Value at the start of each interval (n - 1,)."""
    end: Array
    """Value at its end (n - 1,)."""
    covered: Mask
    """Intervals on which the quantity is known (n - 1,)."""


class Windows(NamedTuple):
    """Where each of m closed windows lies in the log."""

    start: Integers
    """Nanoseconds (m,)."""
    end: Integers
    """Nanoseconds (m,); equal to `start` for an instant."""
    first: Integers
    """Interval that holds the start; -1 before the log, n - 1 after it."""
    last: Integers
    """Interval that holds the end, likewise."""


def linear(values: Array, run: Integers) -> Pieces:
    """Return a quantity sampled at the rows (n,), linear in between, inside runs."""
    known = np.isfinite(values)
    covered = (np.diff(run) == 0) & known[1:] & known[:-1]
    return Pieces(values[:-1], values[1:], covered)


def backward(values: Array, run: Integers) -> Pieces:
    """Return a quantity whose row k holds from the row before up to row k, inside runs."""
    covered = (np.diff(run) == 0) & np.isfinite(values[1:])
    return Pieces(values[1:], values[1:], covered)


def place(time: Integers, start: Integers, end: Integers, covered: Mask) -> Windows:
    """Find the windows in a log.

    A window of some length begins in the interval after its start and ends in the one before its
    end. An instant on a row belongs to the covered interval that ends with it, else to the one that
    begins there: the last row of a run still counts as inside, and of rows that share an instant
    the last one is taken.

    Parameters
    ----------
    time
        Rows (n,) in order, nanoseconds.
    start, end
        Windows (m,), nanoseconds, in any order.
    covered
        Intervals (n - 1,) that decide for instants.
    """
    first = np.searchsorted(time, start, "right") - 1
    last = np.searchsorted(time, end, "left") - 1
    on_row = (first > last) & (start == end)
    candidates = (first - 1, first, last)
    chosen = np.select([_pick(covered, interval) for interval in candidates], candidates, last)
    return Windows(start, end, np.where(on_row, chosen, first), np.where(on_row, chosen, last))


def covered_time(time: Integers, covered: Mask, at: Integers) -> Integers:
    """Return the nanoseconds covered before each instant `at` (m,)."""
    total = np.append(0, np.cumsum(np.where(covered, np.diff(time), 0)))
    row = np.searchsorted(time, at, "right") - 1
    inside = np.where(_pick(covered, row), at - time[np.clip(row, 0, None)], 0)
    return np.where(row < 0, 0, total[np.clip(row, 0, None)] + inside)


def coverage(time: Integers, pieces: Pieces, windows: Windows) -> Array:
    """Return the share (m,) of each window that is covered: 0 to 1, for instants 0 or 1."""
    length = windows.end - windows.start
    known = covered_time(time, pieces.covered, windows.end) - covered_time(
        time, pieces.covered, windows.start
    )
    share: Array = known / np.where(length > 0, length, 1)
    instant = length == 0
    share[instant] = _pick(pieces.covered, windows.first)[instant]
    return share


def value_at(time: Integers, pieces: Pieces, at: Integers) -> Array:
    """Return the quantity at instants (m,); NaN where it is not known."""
    return _value(time, pieces, place(time, at, at, pieces.covered).first, at)


def mean(time: Integers, pieces: Pieces, windows: Windows) -> Array:
    """Return the time-weighted mean (m,) over the covered part of each window; NaN where none is.

    mean = integral of x dt / covered time, exact for a quantity that is linear between rows. The
    integral is summed for each window by itself, so a long log costs no digits.
    """
    step = np.diff(time) / SECOND
    area = np.where(pieces.covered, (pieces.begin + pieces.end) / 2 * step, 0.0)
    length = np.where(pieces.covered, step, 0.0)
    total = _reduce_inside(np.add, area, windows, 0.0)
    known = _reduce_inside(np.add, length, windows, 0.0)
    for interval, low, high in _edges(time, windows):
        inside = _pick(pieces.covered, interval) & (high > low)
        seconds = np.where(inside, (high - low) / SECOND, 0.0)
        middle = (_value(time, pieces, interval, low) + _value(time, pieces, interval, high)) / 2
        total += np.where(inside, middle, 0.0) * seconds
        known += seconds
    average = np.divide(total, known, out=np.full(total.size, np.nan), where=known > 0)
    instant = windows.start == windows.end
    return np.where(instant, _value(time, pieces, windows.first, windows.start), average)


def extremes(time: Integers, pieces: Pieces, windows: Windows) -> tuple[Array, Array]:
    """Return minimum and maximum (m,) over the covered part of each window; NaN where none is."""
    low = np.where(pieces.covered, np.minimum(pieces.begin, pieces.end), np.inf)
    high = np.where(pieces.covered, np.maximum(pieces.begin, pieces.end), -np.inf)
    least = _reduce_inside(np.minimum, low, windows, np.inf)
    most = _reduce_inside(np.maximum, high, windows, -np.inf)
    for interval, begin, end in _edges(time, windows):
        for at in (begin, end):
            value = _value(time, pieces, interval, at)
            least, most = np.fmin(least, value), np.fmax(most, value)
    return np.where(np.isfinite(least), least, np.nan), np.where(np.isfinite(most), most, np.nan)


def slope(time: Integers, pieces: Pieces, windows: Windows) -> Array:
    """Return the change per second (m,) from the first to the last covered moment of each window.

    This is by how much the mean over a window moves when the window is moved by a second; for an
    instant it is the slope of the interval it lies in.
    """
    count = pieces.covered.size
    index = np.arange(count)
    reached = np.where(pieces.covered, index, count)
    ahead = np.append(np.minimum.accumulate(reached[::-1])[::-1], [count, count])
    behind = np.append(np.maximum.accumulate(np.where(pieces.covered, index, -1)), [-1, -1])
    first = ahead[np.clip(windows.first, 0, count)]
    last = behind[np.clip(windows.last, -1, count - 1)]
    some = (first <= last) & (first < count) & (last >= 0)
    first, last = np.where(some, first, 0), np.where(some, last, 0)
    instant = windows.start == windows.end
    start = np.where(instant, time[first], np.maximum(windows.start, time[first]))
    end = np.where(instant, time[last + 1], np.minimum(windows.end, time[last + 1]))
    change = _value(time, pieces, last, end) - _value(time, pieces, first, start)
    some &= end > start
    seconds = (end - start) / SECOND
    change[~some] = np.nan
    return change / np.where(some, seconds, 1.0)


def _pick(mask: Mask, interval: Integers) -> Mask:
    """Return the mask of intervals that may lie outside the log: false there."""
    inside = (interval >= 0) & (interval < mask.size)
    return inside & mask[np.where(inside, interval, 0)]


def _value(time: Integers, pieces: Pieces, interval: Integers, at: Integers) -> Array:
    """Return the quantity at instants that lie in the given intervals; NaN where not covered."""
    known = _pick(pieces.covered, interval)
    k = np.where(known, interval, 0)
    length = time[k + 1] - time[k]
    share = np.where(length > 0, (at - time[k]) / np.where(length > 0, length, 1), 1.0)
    value: Array = pieces.begin[k] * (1 - share) + pieces.end[k] * share
    value[~known] = np.nan
    return value


def _edges(
    time: Integers, windows: Windows
) -> tuple[tuple[Integers, Integers, Integers], tuple[Integers, Integers, Integers]]:
    """Return (interval, from, to) of the part of each window in its first and last interval."""
    rows = time.size - 1
    until = time[np.clip(windows.first + 1, 0, rows)]
    since = time[np.clip(windows.last, 0, rows)]
    single = windows.first >= windows.last
    return (
        (windows.first, windows.start, np.minimum(windows.end, np.maximum(until, windows.start))),
        (
            np.where(single, -1, windows.last),
            np.where(single, windows.end, np.maximum(since, windows.start)),
            windows.end,
        ),
    )


def _reduce_inside(ufunc: np.ufunc, values: Array, windows: Windows, empty: float) -> Array:
    """Reduce the values of the intervals wholly inside each window; `empty` where there is none."""
    first = np.clip(windows.first + 1, 0, values.size)
    stop = np.clip(windows.last, first, values.size)
    order = np.argsort(first, kind="stable")
    bounds = np.stack([first[order], stop[order]], axis=1).ravel()
    reduced = np.empty(first.size)
    if first.size:
        # Every second stretch lies between windows; sorted, these cost one pass over the log.
        reduced[order] = ufunc.reduceat(np.append(values, empty), bounds)[::2]
    return np.where(stop > first, reduced, empty)
