"""Linear combinations of standards fitted to spectra, row by row, with every part of the error."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from operando.corrections.white_noise import remainder_weights, remainders, scale
from operando.observables.simplex import Index, best, gram, solutions
from operando.observables.standards import Standards

Array = npt.NDArray[np.float64]
Bits = npt.NDArray[np.int64]

ENOUGH = 0.9
"""Part of the points of the window that a spectrum needs."""
SOURCES = ("stat", "standards", "drift", "step")
"""What makes an amplitude uncertain."""


@dataclass(frozen=True)
class Combinations:
    """Linear combinations fitted to n rows; NaN in rows without enough points."""

    amplitude: Array
    """(n, q): of the standards, then of the free spectra."""
    spread: Array
    """One sigma of each from each of `SOURCES`, (n, q, 4)."""
    r_factor: Array
    """sum (y - fit)^2 / sum y^2, (n,)."""
    chi2: Array
    """Reduced chi-square against the noise, (n,)."""
    freedom: Array
    """Points minus what was fitted, (n,)."""
    points: Array
    """Points that were there, (n,)."""
    reaches: npt.NDArray[np.bool_]
    """Whether the first and the last point are there, (n,)."""
    members: Index
    """Bits of the standards of which there is more than nothing, (n,); -1 where there is no fit."""


@dataclass(frozen=True)
class Background:
    """How the rows were normalised: what the noise of all M points does to those that are fitted.

    The error of norm_i is (dmu_i - (l_0 + l_1 x_i) . dmu - norm_i w . dmu) / step.
    """

    seen: slice
    """The m points that are fitted, of all M."""
    line: Array
    """l, (2, M)."""
    step: Array
    """w, (M,)."""
    distance: Array
    """x = E - e0 of the points that are fitted, (m,)."""


def no_background(points: int) -> Background:
    """Return that of rows whose points are independent."""
    nothing = np.zeros(points)
    return Background(slice(0, points), np.zeros((2, points)), nothing, nothing)


def fit_combinations(
    energy: Array,
    rows: Array,
    *,
    standards: Standards,
    free: Standards,
    closed: bool,
    sigma: Array | None,
    background: Background,
    energy_sigma: Array,
    step_sigma: float,
) -> Combinations:
    """Fit rows (n, m) by sum f_k s_k(E) + sum a_l d_l(E), with f >= 0 and, if closed, sum f = 1.

    Parameters
    ----------
    sigma
        Noise, (1 or n, 1 or M). When None that of each row is estimated from its residual.
    energy_sigma
        How well the energy of each row is known, eV, (n,).
    step_sigma
        How well the edge steps are, relative.
    """
    design = np.ascontiguousarray(np.concatenate([standards.values, free.values]))
    slopes = np.ascontiguousarray(np.concatenate([standards.slopes, free.slopes]))
    known = np.ones((1, 1)) if sigma is None else np.atleast_2d(np.asarray(sigma, dtype=float))
    outputs = _combine(
        np.ascontiguousarray(rows, dtype=float),
        np.ascontiguousarray(known),
        sigma is not None,
        np.ascontiguousarray(energy_sigma, dtype=float),
        step_sigma,
        (design, slopes, np.ascontiguousarray(standards.noise)),
        (
            background.seen.start,
            np.ascontiguousarray(background.line),
            np.ascontiguousarray(background.step),
            np.ascontiguousarray(background.distance),
        ),
        remainder_weights(energy),
        len(standards.names),
        closed,
    )
    amplitude, spread, facts, members = outputs
    return Combinations(
        amplitude=amplitude,
        spread=spread,
        r_factor=facts[:, 0],
        chi2=facts[:, 1],
        freedom=facts[:, 2],
        points=facts[:, 3],
        reaches=facts[:, 4] == 1,
        members=members,
    )


Spectra = tuple[Array, Array, Array]
"""Values and slopes (q, m), and the noise (p, m, k) of the standards."""
Normalisation = tuple[int, Array, Array, Array]
"""First point that is fitted, l, w and x of `Background`."""
Ready = tuple[Array, tuple[Array, Array, Index], Array, Array, Array]


@numba.njit(nogil=True, cache=True)
def _ready(
    spectra: Spectra,
    normalisation: Normalisation,
    weight: Array,
    variance: Array,
    bounded: int,
    closed: bool,
) -> Ready:
    """Return all that depends on the weights (m,) and the variances (M,) alone.

    With A = M S W the amplitudes are A y + v where all are positive. The third array is A s'_k for
    the slope of each spectrum, (q, q): what an error of the energy does. The fourth is the variance
    that each standard's own noise gives to each amplitude, for f_k = 1, (q, p). The fifth, (q, 3),
    is sum B^2, sum B w and sum w^2 over the variances, where B is A less what the pre-edge line
    takes.
    """
    design, slopes, noise = spectra
    matrix = gram(design, weight)
    solved = solutions(matrix, bounded, closed)
    count, points = design.shape
    drift, own = np.zeros((count, count)), np.zeros((count, bounded))
    sums = np.zeros((count, 3))
    if solved[2].size == 0:
        return matrix, solved, drift, own, sums
    operator = np.zeros((count, points))
    for j in range(count):
        for k in range(count):
            for at in range(points):
                operator[j, at] += solved[0][0, j, k] * design[k, at] * weight[at]
        for k in range(count):
            for at in range(points):
                drift[j, k] += operator[j, at] * slopes[k, at]
        for k in range(bounded):
            for knot in range(noise.shape[2]):
                moved = 0.0
                for at in range(points):
                    moved += operator[j, at] * noise[k, at, knot]
                own[j, k] += moved * moved
        _noise_sums(operator[j], normalisation, variance, sums[j])
    return matrix, solved, drift, own, sums


@numba.njit(nogil=True, cache=True)
def _noise_sums(operator: Array, normalisation: Normalisation, variance: Array, out: Array) -> None:
    start, line, step, distance = normalisation
    offset, slope = 0.0, 0.0
    for at in range(operator.size):
        offset += operator[at]
        slope += operator[at] * distance[at]
    for at in range(step.size):
        spread = variance[at if variance.size > 1 else 0]
        moved = -offset * line[0, at] - slope * line[1, at]
        if start <= at < start + operator.size:
            moved += operator[at - start]
        elif not np.isfinite(spread):
            continue  # a point outside of the window about which nothing is known
        if moved != 0:
            out[0] += moved * moved * spread
        out[1] += moved * step[at] * spread if step[at] != 0 else 0.0
        out[2] += step[at] * step[at] * spread if step[at] != 0 else 0.0


@numba.njit(nogil=True, cache=True)
def _combine(
    rows: Array,
    sigma: Array,
    given: bool,
    energy_sigma: Array,
    step_sigma: float,
    spectra: Spectra,
    normalisation: Normalisation,
    remainder: Array,
    bounded: int,
    closed: bool,
) -> tuple[Array, Array, Array, Index]:
    design, _, noise = spectra
    count, points = design.shape
    start = normalisation[0]
    several = sigma.shape[0] > 1
    even = sigma.shape[1] == 1
    variances = (noise * noise).sum(axis=2)
    amplitude = np.full((rows.shape[0], count), np.nan)
    spread = np.full((rows.shape[0], count, 4), np.nan)
    facts = np.full((rows.shape[0], 5), np.nan)
    members = np.full(rows.shape[0], -1)
    weight, usual = np.ones(points), np.ones(points)
    variance = np.ones(1)
    if not even:
        _weigh(sigma[0, start : start + points], usual)
        variance = sigma[0] * sigma[0]
    shared = _ready(spectra, normalisation, usual, variance, bounded, closed)
    residual, found = np.empty(points), np.empty(count)
    product, summed = np.empty(count), np.empty(4)
    full = (1 << bounded) - 1
    for row in range(rows.shape[0]):
        y = rows[row]
        of_row = sigma[row if several else 0]
        weight[:] = usual
        if not even and several:
            _weigh(of_row[start : start + points], weight)
            variance = of_row * of_row
        there = _present(y, weight)
        facts[row, 3] = there
        facts[row, 4] = weight[0] > 0 and weight[points - 1] > 0
        known = not given or not even or (np.isfinite(of_row[0]) and of_row[0] > 0)
        if not known or there < ENOUGH * points:
            continue
        own = shared
        if there < points or (several and not even):
            own = _ready(spectra, normalisation, weight, variance, bounded, closed)
        if own[1][2].size == 0 or own[1][2][0] != full:
            continue
        _products(design, weight, y, product)
        chosen = best(own[0], product, own[1], bounded, found)
        amplitude[row] = found
        members[row] = own[1][2][chosen]
        facts[row, 2] = there - (count - closed)
        unit = of_row[0] if even else 1.0
        _residual(y, design, weight, found, variances, unit * unit, residual, summed)
        size = _judge(residual, remainder, summed, unit, given, facts[row])
        _spread(own, found, size, energy_sigma[row], step_sigma, bounded, spread[row])
    return amplitude, spread, facts, members


@numba.njit(nogil=True, cache=True)
def _present(y: Array, weight: Array) -> int:
    """Take the weight from points that are missing; return how many are left."""
    there = 0
    for at in range(y.size):
        if not np.isfinite(y[at]):
            weight[at] = 0.0
        there += weight[at] > 0
    return there


@numba.njit(nogil=True, cache=True)
def _judge(
    residual: Array, remainder: Array, summed: Array, unit: float, given: bool, facts: Array
) -> float:
    """Put R-factor and reduced chi-square into `facts`; return the noise to reckon with.

    `summed` are the sums of `_residual`, `unit` the sigma of a point of weight one.
    """
    facts[0] = summed[0] / summed[1] if summed[1] > 0 else np.nan
    if given:
        facts[1] = summed[2] / facts[2]
        return float(unit * np.sqrt(max(facts[1], 1.0)))
    size = float(np.sqrt(summed[3] / facts[2]))
    white = _noise(residual, remainder)
    if white > 0:  # not where nothing is left
        facts[1] = size * size / (white * white)
    return size


@numba.njit(nogil=True, cache=True)
def _weigh(sigma: Array, weight: Array) -> None:
    for at in range(weight.size):
        known = np.isfinite(sigma[at]) and sigma[at] > 0
        weight[at] = 1 / (sigma[at] * sigma[at]) if known else 0.0


@numba.njit(nogil=True, cache=True)
def _products(design: Array, weight: Array, y: Array, out: Array) -> None:
    for j in range(design.shape[0]):
        total = 0.0
        for at in range(y.size):
            if weight[at] > 0:
                total += weight[at] * design[j, at] * y[at]
        out[j] = total


@numba.njit(nogil=True, cache=True)
def _residual(
    y: Array,
    design: Array,
    weight: Array,
    found: Array,
    variances: Array,
    unit: float,
    residual: Array,
    out: Array,
) -> None:
    """Put y - fit into `residual`, NaN where nothing counts, and four sums into `out`.

    Of the squares of the residual and of y; of the first over the variance of the point, that of
    the standards included; and of the first times the weight.
    """
    out[:] = 0.0
    for at in range(y.size):
        residual[at] = np.nan
        if weight[at] == 0:
            continue
        fit, added = 0.0, 0.0
        for j in range(found.size):
            fit += found[j] * design[j, at]
        for k in range(variances.shape[0]):
            added += found[k] * found[k] * variances[k, at]
        residual[at] = y[at] - fit
        square = residual[at] * residual[at]
        out[0] += square
        out[1] += y[at] * y[at]
        out[2] += square / (unit / weight[at] + added)
        out[3] += square * weight[at]


@numba.njit(nogil=True, cache=True)
def _noise(residual: Array, remainder: Array) -> float:
    """Return the white noise of a residual; remainders that miss a point do not count."""
    squares = np.empty(remainder.shape[1])
    remainders(residual, remainder, squares)
    kept = squares[np.isfinite(squares)]
    return scale(kept) if kept.size > 4 else np.nan


@numba.njit(nogil=True, cache=True)
def _spread(
    ready: Ready,
    found: Array,
    size: float,
    energy_sigma: float,
    step_sigma: float,
    bounded: int,
    out: Array,
) -> None:
    """Put the sigma of each amplitude from each source into `out` (q, 4).

    All as if every amplitude were free, so that one at its bound has the sigma it would have off
    it. A S' f = f - v, so that y too large by a part e moves the amplitudes by (f - v) e.
    """
    offsets, sums = ready[1][1][0], ready[4]
    for j in range(found.size):
        moved, own = 0.0, 0.0
        for k in range(found.size):
            moved += ready[2][j, k] * found[k]
        for k in range(bounded):
            own += ready[3][j, k] * found[k] * found[k]
        scaled = found[j] - offsets[j]
        variance = sums[j, 0] - 2 * scaled * sums[j, 1] + scaled * scaled * sums[j, 2]
        out[j, 0] = size * np.sqrt(variance)
        out[j, 1] = np.sqrt(own)
        out[j, 2] = abs(moved) * energy_sigma
        out[j, 3] = abs(scaled) * step_sigma
