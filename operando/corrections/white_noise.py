"""The noise of one point of a spectrum, estimated from the spectrum itself."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEAST_POINTS = 9
CUT = 1.5
"""Residuals beyond this many sigma count as being there."""
SHARE = 0.7784652
"""Mean of min(z^2, CUT^2) of a standard normal z."""
ROUNDS = 60


def white_noise(x: Array, y: Array) -> Array:
    """Estimate the white noise of each row of `y` (n, m) on the ascending grid `x`, shape (n,).

    Each point minus the straight line through its neighbours removes a slope; doing that twice
    removes a cubic, so that EXAFS does not count as noise. Divided by the norm of their five
    weights, the remainders d have the sigma s of one point, which is Huber's scale ("proposal 2",
    Ann. Math. Statist. 35 (1964) 73): the s at which mean(min(d^2, (1.5 s)^2)) is that of a normal
    distribution. Up to a third of the remainders may be spoiled, five by each glitch. NaN below 9
    points, and for rows with a NaN.

    Notes
    -----
    Fails on spectra smoothed, or interpolated onto a grid finer than they were measured on: what
    is left between neighbours is then less than the noise.
    """
    if x.size < LEAST_POINTS:
        return np.full(y.shape[0], np.nan)
    return np.asarray(_of_rows(np.ascontiguousarray(y, dtype=float), remainder_weights(x)))


def remainder_weights(x: Array) -> Array:
    """Return the five weights of each remainder d, (5, m - 4), of unit length."""
    before = (x[2:] - x[1:-1]) / (x[2:] - x[:-2])
    after = 1 - before
    a, b = before[1:-1], after[1:-1]
    weights = [a * before[:-2], -2 * a, 1 + a * after[:-2] + b * before[2:], -2 * b, b * after[2:]]
    size = np.sqrt(np.sum(np.square(weights), axis=0))
    return np.ascontiguousarray(weights / size)


@numba.njit(nogil=True, cache=True)
def remainders(y: Array, weights: Array, out: Array) -> None:
    """Put the remainders of `y` (m,) into `out` (m - 4,), squared."""
    for at in range(out.size):
        left = weights[0, at] * y[at] + weights[1, at] * y[at + 1]
        right = weights[3, at] * y[at + 3] + weights[4, at] * y[at + 4]
        rest = left + weights[2, at] * y[at + 2] + right
        out[at] = rest * rest


@numba.njit(nogil=True, cache=True)
def scale(squares: Array) -> float:
    """Return Huber's scale of numbers given as their squares; NaN where one is.

    mean(min(d^2, CUT^2 v)) - SHARE v is concave in v and made of straight pieces, so that Newton's
    steps fall from above onto its root, and end there.
    """
    found = np.inf
    for _ in range(ROUNDS):
        before = found
        total, beyond = within(squares, CUT * CUT * before)
        found = total / (SHARE * squares.size - CUT * CUT * beyond)
        if not found < before:
            break
    return float(np.sqrt(found))


@numba.njit(nogil=True, cache=True)
def within(values: Array, limit: float) -> tuple[float, int]:
    """Return the sum of the values up to `limit` and the number of those beyond.

    Four sums side by side use the width of the machine, always in the same order.
    """
    a = b = c = d = 0.0
    beyond = 0
    whole = values.size - values.size % 4
    for at in range(0, whole, 4):
        a += 0.0 if values[at] > limit else values[at]
        b += 0.0 if values[at + 1] > limit else values[at + 1]
        c += 0.0 if values[at + 2] > limit else values[at + 2]
        d += 0.0 if values[at + 3] > limit else values[at + 3]
        beyond += (values[at] > limit) + (values[at + 1] > limit)
        beyond += (values[at + 2] > limit) + (values[at + 3] > limit)
    for at in range(whole, values.size):
        a += 0.0 if values[at] > limit else values[at]
        beyond += values[at] > limit
    return (a + b) + (c + d), beyond


@numba.njit(nogil=True, cache=True)
def _of_rows(y: Array, weights: Array) -> Array:
    squares = np.empty(weights.shape[1])
    found = np.empty(y.shape[0])
    for row in range(y.shape[0]):
        remainders(y[row], weights, squares)
        found[row] = scale(squares)
    return found
