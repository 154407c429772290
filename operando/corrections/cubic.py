"""Interpolating cubic splines (not-a-knot) of one row at a time, for kernels that are compiled."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@numba.njit(nogil=True, cache=True)
def bend(x: Array, y: Array) -> Array:
    """Return the second derivatives at the knots (m,) of the spline through y(x), x ascending.

    Two points give a straight line, three a parabola.
    """
    count = x.size
    second = np.zeros(count)
    if count == 3:
        left, right = x[1] - x[0], x[2] - x[1]
        second[:] = 2 * ((y[2] - y[1]) / right - (y[1] - y[0]) / left) / (left + right)
    if count < 4:
        return second
    above = np.zeros(count)  # the eliminated upper diagonal
    for at in range(1, count - 1):
        left, right = x[at] - x[at - 1], x[at + 1] - x[at]
        lower, middle, upper = left, 2 * (left + right), right
        if at == 1:  # not a knot: the third derivative is continuous there
            middle += left * (1 + left / right)
            lower, upper = 0.0, upper - left * left / right
        if at == count - 2:
            middle += right * (1 + right / left)
            lower, upper = lower - right * right / left, 0.0
        pull = 6 * ((y[at + 1] - y[at]) / right - (y[at] - y[at - 1]) / left)
        pivot = middle - lower * above[at - 1]
        above[at] = upper / pivot
        second[at] = (pull - lower * second[at - 1]) / pivot
    for at in range(count - 3, 0, -1):
        second[at] -= above[at] * second[at + 1]
    first = (x[1] - x[0]) / (x[2] - x[1])
    last = (x[-1] - x[-2]) / (x[-2] - x[-3])
    second[0] = second[1] + first * (second[1] - second[2])
    second[-1] = second[-2] + last * (second[-2] - second[-3])
    return second


@numba.njit(nogil=True, cache=True)
def value_and_slope(
    x: Array, y: Array, second: Array, at: int, point: float
) -> tuple[float, float]:
    """Return spline and derivative at `point`, which lies in the interval that begins at knot `at`.

    Outside of it the polynomial of that interval is continued.
    """
    width = x[at + 1] - x[at]
    right = (point - x[at]) / width
    left = 1 - right
    value = left * y[at] + right * y[at + 1]
    value += width * width / 6 * (left * (left * left - 1) * second[at])
    value += width * width / 6 * (right * (right * right - 1) * second[at + 1])
    slope = (y[at + 1] - y[at]) / width
    slope += width / 6 * ((1 - 3 * left * left) * second[at])
    slope += width / 6 * ((3 * right * right - 1) * second[at + 1])
    return value, slope


@numba.njit(nogil=True, cache=True)
def resample(x: Array, rows: Array, points: Array) -> Array:
    """Return the splines through `rows` (n, m) on `x` at `points` (n, k), ascending in each row.

    Every run of finite points has a spline of its own: a NaN spoils only what lies between its
    neighbours. Beyond the ends of a run the result is NaN, as it is where a point is NaN.
    """
    out = np.full(points.shape, np.nan)
    for row in range(rows.shape[0]):
        y = rows[row]
        start = 0
        while start < x.size:
            stop = start
            while stop < x.size and np.isfinite(y[stop]):
                stop += 1
            if stop - start > 1:
                second = bend(x[start:stop], y[start:stop])
                _fill(x[start:stop], y[start:stop], second, points[row], out[row])
            elif stop - start == 1:
                out[row][points[row] == x[start]] = y[start]
            start = stop + 1
    return out


@numba.njit(nogil=True, cache=True)
def _fill(x: Array, y: Array, second: Array, points: Array, out: Array) -> None:
    at = 0
    for place in range(points.size):
        point = points[place]
        if not x[0] <= point <= x[-1]:
            continue
        while at < x.size - 2 and point >= x[at + 1]:
            at += 1
        out[place] = value_and_slope(x, y, second, at, point)[0]
