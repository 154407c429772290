"""Least squares with amplitudes that are not negative and may have to add up to one, row by row."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

MOST_BOUNDED = 6
"""Every set of amplitudes that are not zero is tried: 63 sets."""
SINGULAR = 1e-12
"""Smallest eigenvalue of a correlation matrix up to which spectra cannot be told apart."""


@numba.njit(nogil=True, cache=True)
def gram(design: Array, weight: Array) -> Array:
    """Return sum w s_j s_k of the rows of `design` (q, m), with `weight` (m,)."""
    count = design.shape[0]
    out = np.empty((count, count))
    for j in range(count):
        for k in range(j + 1):
            total = 0.0
            for at in range(weight.size):
                total += weight[at] * design[j, at] * design[k, at]
            out[j, k] = out[k, j] = total
    return out


@numba.njit(nogil=True, cache=True)
def solutions(matrix: Array, bounded: int, closed: bool) -> tuple[Array, Array, Index]:
    """Return the solution of every set of amplitudes that are not zero, largest set first.

    Of the minimum of f' G f - 2 f' b with `matrix` G (q, q): f = M b + v with M (s, q, q), zero in
    the rows and columns outside the set, and v (s, q). The first `bounded` amplitudes may be left
    out, and add up to one if `closed`; the others are free and in every set. M times the variance
    of a point of weight one is the covariance of f. Sets of spectra that cannot be told apart are
    left out. The third array (s,) has a bit for each amplitude in the set.
    """
    count = matrix.shape[0]
    sets = _by_size(bounded)
    gains = np.zeros((sets.size, count, count))
    offsets = np.zeros((sets.size, count))
    kept = 0
    for bits in sets:
        if closed and bits == 0:
            continue
        members = np.array(
            [j for j in range(count) if j >= bounded or (bits >> j) & 1 == 1], np.int64
        )
        gain, offset = gains[kept], offsets[kept]
        if _solve(matrix, members, bounded, closed, gain, offset):
            sets[kept] = bits
            kept += 1
        else:
            gain[:], offset[:] = 0.0, 0.0
    return gains[:kept], offsets[:kept], sets[:kept]


@numba.njit(nogil=True, cache=True)
def _by_size(bounded: int) -> Index:
    """Return all sets of `bounded` things as bits, the largest first."""
    sets = np.empty(1 << bounded, np.int64)
    at = 0
    for size in range(bounded, -1, -1):
        for bits in range(1 << bounded):
            held = 0
            for j in range(bounded):
                held += (bits >> j) & 1
            if held == size:
                sets[at] = bits
                at += 1
    return sets


@numba.njit(nogil=True, cache=True)
def _solve(
    matrix: Array, members: Index, bounded: int, closed: bool, gain: Array, offset: Array
) -> bool:
    """Put the solution of one set into `gain` and `offset`; whether there is one."""
    size = members.size
    if size == 0:
        return True
    length = np.empty(size)
    for j in range(size):
        length[j] = np.sqrt(matrix[members[j], members[j]])
        if not length[j] > 0:
            return False
    scaled = np.empty((size, size))
    for j in range(size):
        for k in range(size):
            scaled[j, k] = matrix[members[j], members[k]] / (length[j] * length[k])
    if not np.linalg.eigvalsh(scaled)[0] > SINGULAR:
        return False
    inverse = np.linalg.inv(scaled)
    summed = np.zeros(size)  # of the columns that add up to one
    total = 0.0
    for j in range(size):
        for k in range(size):
            inverse[j, k] /= length[j] * length[k]
            if members[k] < bounded:
                summed[j] += inverse[j, k]
        if members[j] < bounded:
            total += summed[j]
    for j in range(size):
        for k in range(size):
            taken = summed[j] * summed[k] / total if closed else 0.0
            gain[members[j], members[k]] = inverse[j, k] - taken
        if closed:
            offset[members[j]] = summed[j] / total
    return True


@numba.njit(nogil=True, cache=True)
def best(
    matrix: Array, product: Array, solved: tuple[Array, Array, Index], bounded: int, out: Array
) -> int:
    """Put the amplitudes of the least sum of squares into `out` (q,); return its set, or -1.

    `product` b (q,) and `matrix` are those of `solutions`, which gave `solved`. The problem is
    convex: where all amplitudes are positive on their own, that is the answer, else the best of
    the sets whose amplitudes are positive is.
    """
    gains, offsets, sets = solved
    count = product.size
    trial = np.empty(count)
    found, lowest = -1, np.inf
    for at in range(gains.shape[0]):
        feasible = True
        for j in range(count):
            value = offsets[at, j]
            for k in range(count):
                value += gains[at, j, k] * product[k]
            trial[j] = value
            feasible = feasible and (j >= bounded or value >= 0)
        if not feasible:
            continue
        score = 0.0
        for j in range(count):
            pull = -2 * product[j]
            for k in range(count):
                pull += matrix[j, k] * trial[k]
            score += trial[j] * pull
        if score < lowest:
            found, lowest = at, score
            out[:] = trial
        if sets[at] == (1 << bounded) - 1:
            break
    return found


@numba.njit(nogil=True, cache=True)
def amplitudes(rows: Array, design: Array, bounded: int, closed: bool) -> Array:
    """Return the amplitudes (n, q) of the rows of `design` (q, m) in each of `rows` (n, m).

    All points count alike; NaN where the spectra cannot be told apart.
    """
    even = np.ones(design.shape[1])
    matrix = gram(design, even)
    solved = solutions(matrix, bounded, closed)
    out = np.full((rows.shape[0], design.shape[0]), np.nan)
    product = np.empty(design.shape[0])
    for row in range(rows.shape[0]):
        for j in range(design.shape[0]):
            total = 0.0
            for at in range(even.size):
                total += design[j, at] * rows[row, at]
            product[j] = total
        best(matrix, product, solved, bounded, out[row])
    return out
