"""A test of whether a shift follows the exposure its position had rather than the charge passed.

A change that goes with the beam is damage, whatever the cell does meanwhile. Per position three
kinds of model are fitted by generalised least squares:

    constant;
    dose:    a + b g(D), linear, or saturating, g = 1 - exp(-D/s), s from 0.1 to 1 of all exposure;
    charge:  a + f(Q) + b g(T): straight lines between up to 7 knots in net charge Q, for what is
             reversible, and/or the same g of the charge throughput T, for what is not.

Of each kind the one of least BIC counts. The shift follows dose when that is better than charge by
more than 10 (very strong evidence; Kass and Raftery, J. Am. Stat. Assoc. 90 (1995) 773), and dose
is significant by itself and beside charge. Where dose and charge grow in proportion, as under one
constant current, both fit alike and nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.stats import chi2 as chi_square

Array = npt.NDArray[np.float64]

GROUPS = 120
"""Longer series are averaged to so many groups of consecutive frames."""
FEWEST = 12
KNOTS = (2, 3, 5, 7)
SATURATION = (0.1, 0.2, 0.5, 1.0)
"""Scales of saturation, as parts of the whole exposure or throughput."""
STRONG = 10.0
SIGNIFICANT = 1e-4


@dataclass(frozen=True, kw_only=True)
class DoseTest:
    """The outcome for one position."""

    follows: bool
    """Dose explains the shift, and better than charge does."""
    advantage: float
    """BIC of the best charge model less that of the best dose model; NaN below 12 frames."""
    p_alone: float
    """Probability that a shift without any trend fits dose as well."""
    p_beside: float
    """The same for what dose adds to the best charge model."""


UNTESTED = DoseTest(follows=False, advantage=np.nan, p_alone=np.nan, p_beside=np.nan)


@dataclass(frozen=True)
class _Shape:
    """Functions of one number that enter a model together."""

    columns: list[Array]
    parameters: int


NOTHING = _Shape([], 0)


def follows_dose(
    shift: Array, variance: Array, *, dose: Array, charge: Array, throughput: Array, wander: Array
) -> DoseTest:
    """Test one position; frames with a NaN anywhere are left out.

    Parameters
    ----------
    shift, variance
        eV and its square, independent from frame to frame, (n,).
    dose
        Exposure of the position up to each frame, (n,).
    charge, throughput
        Net charge, and the sum of all charge moved either way, (n,).
    wander
        Variance that a drift of the energy scale has piled up since the first frame, as a random
        walk does, eV^2, (n,), not decreasing; zeros where a reference takes it off.

    Notes
    -----
    Residuals that are larger than sigma says, or alike in neighbours, widen sigma: chi-square is
    divided by what is left beside the richest model, times (1 + r)/(1 - r) with the correlation r
    of neighbours. Fails where a reaction goes on by itself while the beam is on: time and dose are
    then one.
    """
    numbers = np.stack([shift, variance, dose, charge, throughput, wander])
    numbers = numbers[:, np.isfinite(numbers).all(axis=0) & (variance > 0)]
    if numbers.shape[1] < FEWEST:
        return UNTESTED
    y, spread, dose, charge, throughput, wander = _grouped(numbers)
    lower = cholesky(np.diag(spread) + np.minimum.outer(wander, wander), lower=True)
    knots = [count for count in KNOTS if count <= max(2, y.size // 6)]
    bends = [NOTHING, *(_bend(charge, count) for count in knots)]
    growths, doses = ([NOTHING, *_growths(of)] for of in (throughput, dose))
    scale = _scale(y, lower, [bends[-1], growths[1], doses[1], doses[2]])

    def chi2(*shapes: _Shape) -> float:
        return float(np.sum(_residual(y, lower, shapes) ** 2)) / scale

    def best(models: list[tuple[_Shape, ...]]) -> tuple[float, float, tuple[_Shape, ...]]:
        found = []
        for at, shapes in enumerate(models):
            left = chi2(*shapes)
            cost = np.log(y.size) * sum(shape.parameters for shape in shapes)
            found.append((left + cost, at, left))
        bic, at, left = min(found)
        return bic, left, models[at]

    bic_dose, left_dose, by_dose = best([(shape,) for shape in doses])
    bic_charge, left_charge, by_charge = best([(a, b) for a in bends for b in growths])
    freedom = max(by_dose[0].parameters, 1)
    alone = float(chi_square.sf(chi2() - left_dose, freedom))
    beside = float(chi_square.sf(left_charge - chi2(*by_charge, *by_dose), freedom))
    advantage = bic_charge - bic_dose
    return DoseTest(
        follows=advantage > STRONG and max(alone, beside) < SIGNIFICANT,
        advantage=advantage,
        p_alone=alone,
        p_beside=beside,
    )


def _grouped(numbers: Array) -> Array:
    """Return the means of at most `GROUPS` groups of frames; the variance is that of the mean."""
    count = numbers.shape[1]
    edges = np.linspace(0, count, min(GROUPS, count) + 1).astype(int)
    sizes = np.diff(edges)
    means = np.add.reduceat(numbers, edges[:-1], axis=1) / sizes
    means[1] /= sizes
    return np.asarray(means)


def _growths(x: Array) -> list[_Shape]:
    """Return what begins at zero and grows: linear, and saturating ever later; none if x rests."""
    whole = float(np.ptp(x))
    if not whole > 0:
        return [NOTHING] * 2
    part = (x - x.min()) / whole
    return [
        _Shape([part], 1),
        *(_Shape([1 - np.exp(-part / scale)], 2) for scale in SATURATION),
    ]


def _bend(x: Array, knots: int) -> _Shape:
    """Return straight lines between knots at equal distances, the constant left out."""
    places = np.linspace(x.min(), x.max(), knots)
    if not places[-1] > places[0]:
        return NOTHING
    hats = [np.interp(x, places, row) for row in np.eye(knots)[1:]]
    return _Shape(hats, knots - 1)


def _residual(y: Array, lower: Array, shapes: Sequence[_Shape]) -> Array:
    """Return what is left of `y` beside a constant and the shapes, of unit variance."""
    columns = [np.ones(y.size), *(column for shape in shapes for column in shape.columns)]
    white = solve_triangular(lower, np.stack([*columns, y], axis=1), lower=True)
    found = np.linalg.lstsq(white[:, :-1], white[:, -1], rcond=1e-10)[0]
    return np.asarray(white[:, -1] - white[:, :-1] @ found)


def _scale(y: Array, lower: Array, shapes: list[_Shape]) -> float:
    """Return by what chi-square is too large: residuals above their sigma, or correlated."""
    left = _residual(y, lower, shapes)
    used = 1 + sum(len(shape.columns) for shape in shapes)
    excess = max(1.0, float(np.sum(left**2)) / (y.size - used))
    alike = float(np.sum(left[1:] * left[:-1]) / np.sum(left**2)) + used / y.size
    alike = min(max(alike, 0.0), 0.9)
    return excess * (1 + alike) / (1 - alike)
