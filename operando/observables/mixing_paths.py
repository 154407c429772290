"""Two ways from one spectrum to another: their mixtures, or one that shifts and changes its shape.

Both begin at a and end at b. With D the shift between them,

    mixture(E, f) = (1 - f) a(E) + f b(E),
    shifted(E, f) = (1 - f) a(E - f D) + f b(E + (1 - f) D),

the second a spectrum of one phase whose edge has moved by f D and whose shape, in energies relative
to the edge, has gone as far. In between they differ by about the curvature of the edge times
f (1 - f) D^2 / 2. The path p(f) = mixture + c (shifted - mixture) leads from one (c = 0) to the
other (c = 1).
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from operando.corrections.cubic import bend, value_and_slope

Array = npt.NDArray[np.float64]

REACH = (-0.25, 1.25)
"""How far beyond the ends, in f, a spectrum may lie."""
TRIALS = 31
STEPS = 50
LONGEST = 0.1
PRECISION = 1e-9

Ends = tuple[Array, Array, Array, Array, Array, float]
"""Knots, values and second derivatives of a, those of b, and the shift."""


@numba.njit(nogil=True, cache=True)
def ends_of(knots: Array, first: Array, last: Array, shift: float) -> Ends:
    """Return the two ends with what their splines need; `knots` in energy (k,)."""
    return knots, first, bend(knots, first), last, bend(knots, last), shift


@numba.njit(nogil=True, cache=True)
def _spline(ends: Ends, last: bool, points: Array, move: float, out: Array, slope: Array) -> None:
    """Put an end, moved by `move` to higher energy, and its derivative at `points` into arrays."""
    y, second = (ends[3], ends[4]) if last else (ends[1], ends[2])
    knots = ends[0]
    at = 0
    for place in range(points.size):
        point = points[place] - move
        while at < knots.size - 2 and point >= knots[at + 1]:
            at += 1
        out[place], slope[place] = value_and_slope(knots, y, second, at, point)


@numba.njit(nogil=True, cache=True)
def path(
    ends: Ends, points: Array, f: float, c: float, out: Array, along: Array, apart: Array
) -> None:
    """Put p(f), dp/df and dp/dc = shifted - mixture at `points` (m,) into arrays."""
    shift = ends[5]
    value_a, slope_a = np.empty(points.size), np.empty(points.size)
    value_b, slope_b = np.empty(points.size), np.empty(points.size)
    _spline(ends, False, points, 0.0, value_a, slope_a)
    _spline(ends, True, points, 0.0, value_b, slope_b)
    for at in range(points.size):
        out[at] = (1 - f) * value_a[at] + f * value_b[at]
        along[at] = value_b[at] - value_a[at]
    _spline(ends, False, points, f * shift, value_a, slope_a)
    _spline(ends, True, points, (f - 1) * shift, value_b, slope_b)
    for at in range(points.size):
        shifted = (1 - f) * value_a[at] + f * value_b[at]
        turn = value_b[at] - value_a[at]
        turn -= shift * ((1 - f) * slope_a[at] + f * slope_b[at])
        apart[at] = shifted - out[at]
        out[at] += c * apart[at]
        along[at] += c * (turn - along[at])


@numba.njit(nogil=True, cache=True)
def trial_paths(ends: Ends, points: Array, c: float) -> tuple[Array, Array]:
    """Return trial f (t,) and the path there (t, m)."""
    trials = np.linspace(REACH[0], REACH[1], TRIALS)
    shapes = np.empty((TRIALS, points.size))
    along, apart = np.empty(points.size), np.empty(points.size)
    for trial in range(TRIALS):
        path(ends, points, trials[trial], c, shapes[trial], along, apart)
    return trials, shapes


@numba.njit(nogil=True, cache=True)
def follow(
    rows: Array, points: Array, weight: Array, ends: Ends, c: float
) -> tuple[Array, Array, Array]:
    """Fit f of each of `rows` (n, m) on the path with this c, by Gauss-Newton from the best trial.

    `weight` (m,) is one over the variance of a point.

    Returns
    -------
    f (n,), NaN where a row lies beyond the reach of the path; the residual (n, m); and what is left
    of dp/dc, (n, m), when all that a change of f imitates is taken out.
    """
    trials, shapes = trial_paths(ends, points, c)
    count, size = rows.shape
    found = np.full(count, np.nan)
    residual, lever = np.full((count, size), np.nan), np.full((count, size), np.nan)
    out, along, apart = np.empty(size), np.empty(size), np.empty(size)
    for row in range(count):
        f = trials[_nearest(rows[row], shapes, weight)]
        step = np.inf
        for _ in range(STEPS):
            path(ends, points, f, c, out, along, apart)
            if abs(step) < PRECISION or not REACH[0] <= f <= REACH[1]:
                break
            pull, strength = 0.0, 0.0
            for at in range(size):
                pull += weight[at] * along[at] * (rows[row, at] - out[at])
                strength += weight[at] * along[at] * along[at]
            if not strength > 0:  # the ends are the same
                break
            step = min(max(pull / strength, -LONGEST), LONGEST)
            f += step
        if not (abs(step) < PRECISION and REACH[0] <= f <= REACH[1]):
            continue
        found[row] = f
        overlap, strength = 0.0, 0.0
        for at in range(size):
            overlap += weight[at] * along[at] * apart[at]
            strength += weight[at] * along[at] * along[at]
        for at in range(size):
            residual[row, at] = rows[row, at] - out[at]
            lever[row, at] = apart[at] - overlap / strength * along[at]
    return found, residual, lever


@numba.njit(nogil=True, cache=True)
def _nearest(y: Array, shapes: Array, weight: Array) -> int:
    best, least = 0, np.inf
    for trial in range(shapes.shape[0]):
        total = 0.0
        for at in range(y.size):
            total += weight[at] * (y[at] - shapes[trial, at]) ** 2
        if total < least:
            best, least = trial, total
    return best
