"""One frame explained by one line or two: what is left, and how it depends on the parameters.

Areas and a straight background are linear and solved at once (never a negative area); what is
left, projected on what they cannot explain, is the residual in the other parameters (variable
projection: Kaufman, BIT 15 (1975) 49). Those are

    own      centre, and width where it is free, of a line alone in its frame;
    shared   w, e, a (width, Lorentzian share, asymmetry), c1, c2, d1, d2: the two centres in the
             middle of the block and how far they move from its first frame to its last.

The line is p(u) / w with u = 2 (x - c) / (w (1 +- a)) above and below c.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

WIDTH, SHARE, ASYMMETRY, FIRST, SECOND, FIRST_DRIFT, SECOND_DRIFT = range(7)
SHARED, OWN = 7, 2
GAUSS, LORENTZ, LN2 = 2.0 * math.sqrt(math.log(2.0) / math.pi), 2.0 / math.pi, math.log(2.0)


@numba.njit(nogil=True, cache=True)
def _draw(x: Array, c: float, w: float, e: float, a: float, out: Array) -> None:
    """Put a line of unit area and its derivatives by w, e, a and c into rows of out (5, m)."""
    for i in range(x.size):
        side = 1.0 + a if x[i] >= c else 1.0 - a
        sign = 1.0 if x[i] >= c else -1.0
        u = 2.0 * (x[i] - c) / (w * side)
        square = u * u
        g = GAUSS * math.exp(-LN2 * square)
        h = 1.0 / (1.0 + square)
        value = (1.0 - e) * g + e * LORENTZ * h
        fall = (1.0 - e) * 2.0 * LN2 * g + e * 2.0 * LORENTZ * h * h
        out[0, i] = value / w
        out[1, i] = (square * fall - value) / (w * w)
        out[2, i] = (LORENTZ * h - g) / w
        out[3, i] = sign * square * fall / (w * side)
        out[4, i] = 2.0 * u * fall / (w * w * side)


@numba.njit(nogil=True, cache=True)
def cholesky(matrix: Array, size: int) -> bool:
    """Factorise in place, lower; False where it is not positive definite."""
    for i in range(size):
        for j in range(i + 1):
            left = matrix[i, j]
            for k in range(j):
                left -= matrix[i, k] * matrix[j, k]
            if i == j:
                if left <= 0.0:
                    return False
                matrix[i, i] = math.sqrt(left)
            else:
                matrix[i, j] = left / matrix[j, j]
    return True


@numba.njit(nogil=True, cache=True)
def solve(factor: Array, size: int, right: Array) -> None:
    """Solve in place with a factor of `cholesky`."""
    for i in range(size):
        for k in range(i):
            right[i] -= factor[i, k] * right[k]
        right[i] /= factor[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            right[i] -= factor[k, i] * right[k]
        right[i] /= factor[i, i]


@numba.njit(nogil=True, cache=True)
def _linear(
    columns: Array, y: Array, weight: Array, lines: int, factor: Array, found: Array
) -> int:
    """Fit lines and background (k, m) to y; return how many columns, lines first, are in use.

    `found` (k,) holds the amounts of all columns; a line that would be negative is left out, and
    the columns are put in order: those in use first. At most two lines.
    """
    count = columns.shape[0]
    best, keep = np.inf, 0
    amounts = np.zeros(count)
    for chosen in range(1 << lines):  # every set of lines left out, none first
        used = np.zeros(count, dtype=np.int64)
        size = 0
        for k in range(count):
            if k >= lines or not (chosen >> k) & 1:
                used[size] = k
                size += 1
        right = np.zeros(count)
        for i in range(size):
            for j in range(i + 1):
                total = 0.0
                for p in range(y.size):
                    total += weight[p] * columns[used[i], p] * columns[used[j], p]
                factor[i, j] = total
            total = 0.0
            for p in range(y.size):
                total += weight[p] * columns[used[i], p] * y[p]
            right[i] = total
        for i in range(size):
            factor[i, i] *= 1.0 + 1e-12
        gain = right.copy()
        if not cholesky(factor, size):
            continue
        solve(factor, size, right)
        explained, negative = 0.0, False
        for i in range(size):
            explained += right[i] * gain[i]
            negative = negative or (used[i] < lines and right[i] < 0.0)
        if not negative and -explained < best:
            best, keep = -explained, chosen
            amounts[:] = 0.0
            for i in range(size):
                amounts[used[i]] = right[i]
        if chosen == 0 and not negative:
            break
    found[:] = amounts
    return keep


@numba.njit(nogil=True, cache=True)
def one_frame(
    x: Array,
    y: Array,
    weight: Array,
    shared: Array,
    own: Array,
    lines: int,
    wide: bool,
    along: float,
    matrix: Array,
    vector: Array,
    amounts: Array,
) -> float:
    """Add up the normal equations of one frame and return its chi-square.

    `matrix` and `vector` are those of the own parameters first, then of the shared ones; `along`
    is the place of the frame in the block, -0.5 to 0.5.
    """
    m = x.size
    size = OWN + SHARED
    rows = np.zeros((5, m))
    columns = np.zeros((lines + 2, m))
    slopes = np.zeros((size, m))
    parts = np.zeros((lines, 5, m))
    for k in range(lines):
        if lines == 1:
            c, w = own[0], own[1] if wide else shared[WIDTH]
        else:
            c, w = shared[FIRST + k] + along * shared[FIRST_DRIFT + k], shared[WIDTH]
        _draw(x, c, w, shared[SHARE], shared[ASYMMETRY], rows)
        parts[k] = rows
        columns[k] = rows[0]
    middle, reach = 0.5 * (x[0] + x[-1]), 0.5 * (x[-1] - x[0])
    columns[lines] = 1.0
    for i in range(m):
        columns[lines + 1, i] = (x[i] - middle) / reach
    factor = np.zeros((lines + 2, lines + 2))
    _linear(columns, y, weight, lines, factor, amounts)
    for k in range(lines):
        area = amounts[k]
        width = 1 if lines == 1 and wide else OWN + WIDTH
        slopes[width] += area * parts[k, 1]
        slopes[OWN + SHARE] += area * parts[k, 2]
        slopes[OWN + ASYMMETRY] += area * parts[k, 3]
        if lines == 1:
            slopes[0] += area * parts[k, 4]
        else:
            slopes[OWN + FIRST + k] += area * parts[k, 4]
            slopes[OWN + FIRST_DRIFT + k] += area * along * parts[k, 4]
    residual = y.copy()
    for k in range(lines + 2):
        residual -= amounts[k] * columns[k]
    _project(columns, amounts, weight, lines, slopes)
    chi2 = 0.0
    for i in range(m):
        chi2 += weight[i] * residual[i] * residual[i]
    for i in range(size):
        for j in range(i + 1):
            total = 0.0
            for p in range(m):
                total += weight[p] * slopes[i, p] * slopes[j, p]
            matrix[i, j] = total
            matrix[j, i] = total
        total = 0.0
        for p in range(m):
            total += weight[p] * slopes[i, p] * residual[p]
        vector[i] = total
    return chi2


@numba.njit(nogil=True, cache=True)
def _project(columns: Array, amounts: Array, weight: Array, lines: int, slopes: Array) -> None:
    """Take from the slopes (k, m) what lines in use and background explain, in place."""
    used = np.zeros((columns.shape[0], columns.shape[1]))
    size = 0
    for k in range(columns.shape[0]):
        if k >= lines or amounts[k] > 0.0:
            used[size] = columns[k]
            size += 1
    # modified Gram-Schmidt
    for i in range(size):
        for j in range(i):
            overlap = (weight * used[i] * used[j]).sum()
            used[i] -= overlap * used[j]
        norm = math.sqrt((weight * used[i] * used[i]).sum())
        used[i] /= max(norm, 1e-300)
    for k in range(slopes.shape[0]):
        for i in range(size):
            slopes[k] -= (weight * slopes[k] * used[i]).sum() * used[i]
