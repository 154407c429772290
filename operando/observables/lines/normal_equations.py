"""Normal equations of the parameters on a bench: set up, solved, inverted.

Of the parameters in use, in its order: entry (a, b) of a matrix is that of the a-th and the
b-th of them, but for the covariance, which is indexed by parameter.
"""

from __future__ import annotations

import math

from operando.observables.lines.bench import (
    GRADIENT,
    HIGH,
    LOW,
    MATRICES,
    RESIDUAL,
    SLOPES,
    STEP,
    THETA,
    WEIGHT,
    WEIGHTED,
    Bench,
)
from operando.observables.lines.lanes import dot, inlined, inner

_LEAST_PIVOT = 1e-12
"""Of a parameter relative to its curvature, below which others explain it altogether."""


@inner
def weighted_product(bench: Bench, row: int, other: int) -> float:
    """Return the weighted product of two rows; leave the first one times the weights."""
    rows = bench.rows
    for i in range(rows.shape[1]):
        rows[WEIGHTED, i] = rows[row, i] * rows[WEIGHT, i]
    product: float = dot(rows, WEIGHTED, rows, other)
    return product


@inlined
def set_up(bench: Bench, side: int, count: int) -> float:
    """Fill gradient and Hessian of the first `count` parameters in use; return chi-square.

    The gradient is J' W r, the Hessian J' W J: those of half the chi-square, the first with the
    sign of descent.
    """
    rows, numbers, used = bench.rows, bench.numbers, bench.used
    left, first = RESIDUAL + side, SLOPES + side * numbers.shape[1]
    for a in range(count):
        numbers[GRADIENT, a] = weighted_product(bench, first + used[a], left)
        for b in range(a + 1):
            numbers[MATRICES + a, b] = dot(rows, WEIGHTED, rows, first + used[b])
    return weighted_product(bench, left, left)


@inner
def hold_at_bounds(bench: Bench, count: int) -> None:
    """Take parameters that would leave their bounds out of the normal equations."""
    numbers = bench.numbers
    for a in range(count):
        at, uphill = bench.used[a], numbers[GRADIENT, a]
        below = numbers[THETA, at] <= numbers[LOW, at] and uphill < 0.0
        above = numbers[THETA, at] >= numbers[HIGH, at] and uphill > 0.0
        if below or above:
            hold(bench, a, count)


@inner
def hold(bench: Bench, a: int, count: int) -> None:
    """Take the a-th parameter out of the normal equations."""
    numbers = bench.numbers
    numbers[GRADIENT, a] = 0.0
    for b in range(a + 1):
        numbers[MATRICES + a, b] = 0.0
    for b in range(a + 1, count):
        numbers[MATRICES + b, a] = 0.0


@inner
def factorise(bench: Bench, count: int, damping: float) -> None:
    """Make the Cholesky factor of the Hessian with its diagonal raised by `damping`.

    A parameter that nothing depends on has a unit row; one that others explain altogether gets a
    tiny pivot, so that its step and its variance are large but finite.
    """
    numbers, hessian = bench.numbers, MATRICES
    factor = MATRICES + numbers.shape[1]
    for j in range(count):
        own = numbers[hessian + j, j] * (1.0 + damping)
        rest = own
        for k in range(j):
            rest -= numbers[factor + j, k] * numbers[factor + j, k]
        alone = not own > 0.0
        pivot = 1.0 if alone else math.sqrt(max(rest, _LEAST_PIVOT * own))
        numbers[factor + j, j] = pivot
        for i in range(j + 1, count):
            rest = 0.0 if alone else numbers[hessian + i, j]
            for k in range(j):
                rest -= numbers[factor + i, k] * numbers[factor + j, k]
            numbers[factor + i, j] = rest / pivot


@inner
def solve(bench: Bench, count: int) -> float:
    """Solve for the step with the factor; return step . gradient, the decrease it promises."""
    numbers = bench.numbers
    factor = MATRICES + numbers.shape[1]
    promise = 0.0
    for i in range(count):
        rest = numbers[GRADIENT, i]
        for k in range(i):
            rest -= numbers[factor + i, k] * numbers[STEP, k]
        numbers[STEP, i] = rest / numbers[factor + i, i]
        promise += numbers[STEP, i] * numbers[STEP, i]
    for i in range(count - 1, -1, -1):
        rest = numbers[STEP, i]
        for k in range(i + 1, count):
            rest -= numbers[factor + k, i] * numbers[STEP, k]
        numbers[STEP, i] = rest / numbers[factor + i, i]
    return promise


@inner
def invert(bench: Bench, count: int) -> None:
    """Make the covariance, 0 but for the parameters in use, of the factorised matrix.

    From one triangular inverse, which overwrites the factor.
    """
    numbers, used, size = bench.numbers, bench.used, bench.numbers.shape[1]
    lower, covariance = MATRICES + size, MATRICES + 2 * size
    for q in range(count):
        numbers[lower + q, q] = 1.0 / numbers[lower + q, q]
        for a in range(q + 1, count):
            rest = 0.0
            for k in range(q, a):
                rest -= numbers[lower + a, k] * numbers[lower + k, q]
            numbers[lower + a, q] = rest / numbers[lower + a, a]
    for a in range(size):
        for b in range(size):
            numbers[covariance + a, b] = 0.0
    for a in range(count):
        for b in range(a + 1):
            total = 0.0
            for k in range(a, count):
                total += numbers[lower + k, a] * numbers[lower + k, b]
            # one that was held out of the equations, or that nothing depends on, has no variance
            if numbers[MATRICES + a, a] == 0.0:
                total = 0.0
            numbers[covariance + used[a], used[b]] = total
            numbers[covariance + used[b], used[a]] = total
