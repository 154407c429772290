"""By how much lines scatter beyond their sigma, in compiled loops."""

from __future__ import annotations

import numba
import numpy as np

from operando.observables.lines.measured import Array, Mask

MEDIAN = 1.4826**2
"""Variance of a normal distribution over the median of squares."""
ROUNDS = 60


@numba.njit(nogil=True, cache=True)
def count_of(used: Mask) -> int:
    """How many lines are used."""
    count = 0
    for i in range(used.size):
        count += used[i]
    return count


@numba.njit(nogil=True, cache=True)
def chi_square(residual: Array, sigma: Array, used: Mask) -> float:
    """Sum of squares over sigma of the lines in use."""
    total = 0.0
    for i in range(residual.size):
        if used[i]:
            total += (residual[i] / sigma[i]) ** 2
    return total


@numba.njit(nogil=True, cache=True)
def scatter_beyond(residual: Array, sigma: Array, used: Mask, p: int) -> float:
    """Variance of the scatter by which chi-square is the number of lines to spare.

    0 unless chi-square exceeds that by its own standard deviation. Newton's steps from 0 cannot
    overshoot, since chi-square falls ever slower with the scatter.
    """
    spare = count_of(used) - p
    if spare < 1 or chi_square(residual, sigma, used) <= spare + np.sqrt(2.0 * spare):
        return 0.0
    variance = 0.0
    for _ in range(ROUNDS):
        total, slope = 0.0, 0.0
        for i in range(residual.size):
            if used[i]:
                reduced = residual[i] ** 2 / (sigma[i] ** 2 + variance)
                total += reduced
                slope += reduced / (sigma[i] ** 2 + variance)
        variance += (total - spare) / slope
        if total - spare < 1e-9 * spare:
            break
    return variance


@numba.njit(nogil=True, cache=True)
def typical_scatter(residual: Array, sigma: Array, used: Mask, p: int) -> float:
    """Variance of the scatter by which half of the lines are nearer than a normal half.

    A fit of least absolute residuals runs through p lines: these say nothing.
    """
    own = np.empty(count_of(used))
    at = 0
    for i in range(residual.size):
        if used[i]:
            own[at] = MEDIAN * residual[i] ** 2 - sigma[i] ** 2
            at += 1
    for i in range(1, at):
        moved, j = own[i], i - 1
        while j >= 0 and own[j] > moved:
            own[j + 1] = own[j]
            j -= 1
        own[j + 1] = moved
    return float(max(0.0, 0.5 * (own[(p + at - 1) // 2] + own[(p + at) // 2])))
