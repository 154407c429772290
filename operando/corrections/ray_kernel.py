"""Finding the points that cosmic rays hit, compiled."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from operando.corrections.white_noise import scale

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NEIGHBOURS = 4
REACH, ALONE_REACH = 4, 10
"""Points on each side of the running median: what is narrower than half of them all is sharp. It
is lifted by the wings of a band, so that one which is to be told from a ray needs more room."""
WOBBLE = 0.5
"""Part of the height of a sharp band by which it may vary from frame to frame."""
AROUND = 2
"""Points on each side where a band counts as being, since its position may vary, too."""
BESIDE = 0.5
"""Points next to a hit one need only exceed this part of the limit."""
FOOT, WIDEST = 0.2, 3
"""A ray is at most so many points wide at this part of its height."""


@numba.njit(nogil=True, cache=True)
def clean_in_time(
    rows: Array,
    sigma: Array,
    own: Index,
    near: Index,
    threshold: float,
    counted: bool,
    filled: Array,
    mask: Mask,
) -> None:
    """Clean the frames `own` (k,) of rows (u, m) that have neighbours `near` (k, 4).

    Puts what replaces hit points into `filled` (k, m) and sets `mask` there. `sigma` (u, m) says
    how the noise varies, or has no rows; then it is that of counts if `counted`.
    """
    points = rows.shape[1]
    broad = _running_median(rows, REACH)
    excess, usual, limit = np.empty(points), np.empty(points), np.empty(points)
    spread, squares = np.empty(points), np.empty(points)
    for frame in range(own.size):
        if near[frame, 0] < 0:
            continue
        row = own[frame]
        # At an end of the series the frame is not between its neighbours, two and two.
        between = near[frame, 1] < row < near[frame, 2]
        seen = 0
        for at in range(points):
            usual[at], second = _of_neighbours(rows, broad, near[frame], at, between)
            excess[at] = rows[row, at] - broad[row, at] - second
        for at in range(points):
            height = 0.0
            for close in range(max(at - AROUND, 0), min(at + AROUND + 1, points)):
                height = max(height, usual[close])
            limit[at] = WOBBLE * height
            spread[at] = 1.0
            if sigma.shape[0]:
                spread[at] = sigma[row, at]
            elif counted:
                spread[at] = np.sqrt(max(broad[row, at] + height, 1.0))
            if np.isfinite(excess[at]) and spread[at] > 0:
                squares[seen] = (excess[at] / spread[at]) ** 2
                seen += 1
        noise = scale(squares[:seen]) if seen else 0.0
        if not noise > 0:
            continue
        limit += threshold * noise * spread
        _mark(excess, limit, mask[frame])
        for at in range(points):
            if mask[frame, at]:
                filled[frame, at] = broad[row, at] + usual[at]


@numba.njit(nogil=True, cache=True)
def _of_neighbours(
    rows: Array, broad: Array, near: Index, at: int, between: bool
) -> tuple[float, float]:
    """Return the median and the second largest of what is sharp in the neighbours at a point.

    The largest, where the frame does not lie between them or one of them has a gap.
    """
    values = np.empty(NEIGHBOURS)
    found = 0
    for one in near:
        value = rows[one, at] - broad[one, at]
        if np.isfinite(value):
            place = found
            while place > 0 and values[place - 1] > value:
                values[place] = values[place - 1]
                place -= 1
            values[place] = value
            found += 1
    if found < 2:
        return np.nan, np.nan
    usual = 0.5 * (values[(found - 1) // 2] + values[found // 2])
    return usual, values[found - 2 if between and found == NEIGHBOURS else found - 1]


@numba.njit(nogil=True, cache=True)
def _mark(excess: Array, limit: Array, mask: Mask) -> None:
    """Set `mask` where `excess` is above `limit`, and beside it above half of it."""
    for at in range(excess.size):
        if not excess[at] > limit[at]:
            continue
        mask[at] = True
        for step in (-1, 1):
            beside = at + step
            while 0 <= beside < excess.size and excess[beside] > BESIDE * limit[beside]:
                mask[beside] = True
                beside += step


@numba.njit(nogil=True, cache=True)
def clean_alone(
    rows: Array,
    sigma: Array,
    own: Index,
    alone: Mask,
    threshold: float,
    counted: bool,
    filled: Array,
    mask: Mask,
) -> None:
    """Clean the frames `own` (k,) of rows (u, m) that are `alone` (k,), each by itself."""
    points = rows.shape[1]
    spread, squares = np.empty(points), np.empty(points)
    for frame in range(own.size):
        if not alone[frame]:
            continue
        row = rows[own[frame]]
        broad = _running_median(rows[own[frame] : own[frame] + 1], ALONE_REACH)[0]
        for at in range(points):
            spread[at] = 1.0
            if sigma.shape[0]:
                spread[at] = sigma[own[frame], at]
            elif counted:
                spread[at] = np.sqrt(max(broad[at], 1.0))
        seen = 0
        for at in range(points - 1):
            change = (row[at + 1] - row[at]) / np.sqrt(spread[at] ** 2 + spread[at + 1] ** 2)
            if np.isfinite(change):
                squares[seen] = change * change
                seen += 1
        noise = scale(squares[:seen]) if seen else 0.0
        if noise > 0:
            _clean_row(row, broad, threshold * noise * spread, filled[frame], mask[frame])


@numba.njit(nogil=True, cache=True)
def _clean_row(row: Array, broad: Array, limit: Array, filled: Array, mask: Mask) -> None:
    """Replace narrow summits above `limit` by the straight line between their feet."""
    points = row.size
    for at in range(1, points - 1):
        height = row[at] - broad[at]
        if mask[at] or not height > limit[at] or not row[at] >= max(row[at - 1], row[at + 1]):
            continue
        first, last = at, at
        while first > 0 and row[first - 1] - broad[first - 1] > FOOT * height:
            first -= 1
        while last < points - 1 and row[last + 1] - broad[last + 1] > FOOT * height:
            last += 1
        if last - first >= WIDEST or first == 0 or last == points - 1:
            continue
        left, right = row[first - 1], row[last + 1]
        for hit in range(first, last + 1):
            share = (hit - first + 1) / (last - first + 2)
            filled[hit] = left + share * (right - left)
            mask[hit] = True


@numba.njit(nogil=True, cache=True)
def _running_median(rows: Array, reach: int) -> Array:
    """Return the median of each point of rows (n, m) and `reach` on each side, where there are."""
    out = np.empty(rows.shape)
    window = np.empty(2 * reach + 1)
    for row in range(rows.shape[0]):
        y = rows[row]
        size = 0
        for at in range(-reach, y.size):
            gone, come = at - reach - 1, at + reach
            if gone >= 0 and np.isfinite(y[gone]):
                size = _take_out(window, size, y[gone])
            if come < y.size and np.isfinite(y[come]):
                size = _put_in(window, size, y[come])
            if at >= 0:
                middle = 0.5 * (window[(size - 1) // 2] + window[size // 2]) if size else np.nan
                out[row, at] = middle
    return out


@numba.njit(nogil=True, cache=True)
def _put_in(window: Array, size: int, value: float) -> int:
    """Put a number into the sorted first `size` of a window; return how many there are then."""
    place = size
    while place > 0 and window[place - 1] > value:
        window[place] = window[place - 1]
        place -= 1
    window[place] = value
    return size + 1


@numba.njit(nogil=True, cache=True)
def _take_out(window: Array, size: int, value: float) -> int:
    """Take a number that is there out of the sorted first `size`; return how many are left."""
    place = 0
    while window[place] != value:
        place += 1
    for at in range(place, size - 1):
        window[at] = window[at + 1]
    return size - 1
