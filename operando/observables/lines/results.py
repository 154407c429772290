"""Numbers, sigmas and assessments of lines, from what was fitted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operando.observables.lines.blocks import Course
from operando.observables.lines.flags import ASSESSMENT
from operando.observables.lines.profiles import ASYMMETRY, CENTRE, ETA, FWHM, KINDS
from operando.observables.lines.state import MISFIT
from operando.observables.lines.tracker import Fits

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

NUMBERS = ("area", "centre", "fwhm", "eta", "asymmetry", "background")
"""Of a line, in the order of its kinds."""
PARTS = ("", "_sigma", "_sigma_stat", "_sigma_syst")
"""What there is of each: the value, the sigma to believe, its two parts."""
COLUMNS = [f"{name}{part}" for name in NUMBERS for part in PARTS] + ["chi2r", "assessment"]
POOR_FIT = 10.0
"""Reduced chi-square from which the profile does not describe the data."""
MERGED = 0.5
"""Distance between lines, in widths, below which only their sum is known."""


def numbers(course: Course, found: Fits, first: int) -> Array:
    """Return the `COLUMNS` of the lines of a window, (n, columns, k), in frames from `first` on."""
    plan = course.plan
    values, stat = found.kinds(found.theta), found.kinds(found.sigma)
    level, level_sigma = _level(course, found)
    values = np.concatenate([values, level[:, None]], axis=1)
    stat = np.concatenate([stat, level_sigma[:, None]], axis=1)
    hidden = ~found.seen & ~plan.frozen
    held = ~found.seen & plan.frozen
    empty = np.isnan(found.chi2r)
    chi2r = np.where(empty, 1.0, found.chi2r)[:, None, None]
    scale = np.broadcast_to(np.where(chi2r > MISFIT, chi2r, 1.0), stat.shape).copy()
    if not plan.free_shape:
        stat[:, ETA : ASYMMETRY + 1] = course.shape.sigma[ETA : ASYMMETRY + 1]
        scale[:, ETA : ASYMMETRY + 1] = course.shape.misfit if course.shape.misfit > MISFIT else 1.0
    table = np.empty((len(values), len(COLUMNS), plan.lines.size))
    table[:, : 4 * len(NUMBERS) : 4] = values
    table[:, 1 : 4 * len(NUMBERS) : 4] = stat * np.sqrt(scale)
    table[:, 2 : 4 * len(NUMBERS) : 4] = stat
    table[:, 3 : 4 * len(NUMBERS) : 4] = stat * np.sqrt(scale - 1.0)
    shapes = slice(4 * CENTRE, 4 * (KINDS if plan.free_shape else FWHM + 1))
    table[:, shapes] = np.where(hidden[:, None], np.nan, table[:, shapes])
    # centre and width of a cell part are known, but not measured here
    for kind in (CENTRE, FWHM):
        column = slice(4 * kind + 1, 4 * kind + 4)
        table[:, column] = np.where(held[:, None], np.nan, table[:, column])
    table[:, -2] = found.chi2r[:, None]
    table[empty] = np.nan
    table[:, -1] = assess(course, found, first)
    return table


def _level(course: Course, found: Fits) -> tuple[Array, Array]:
    """Return the background at the centre of each line, and its sigma, (n, k)."""
    plan = course.plan
    lever = found.kinds(found.theta)[:, CENTRE] - plan.middle(found.begins)[:, None]
    value = found.theta[:, -2:-1] + found.theta[:, -1:] * lever
    own, cross, slope = (found.background[:, at : at + 1] for at in range(3))
    variance = own + lever * (2.0 * cross + lever * slope)
    return value, np.sqrt(np.maximum(variance, 0.0))


def assess(course: Course, found: Fits, first: int) -> Whole:
    """Return the assessment of each line in each frame, (n, k)."""
    plan = course.plan
    sigmas = found.kinds(found.sigma)
    free = [CENTRE, FWHM, *([ETA] if plan.free_shape else [])]
    hidden = ~found.seen & ~plan.frozen
    chi2r = np.nan_to_num(found.chi2r)[:, None]
    block = (first + np.arange(len(found.theta))) // course.length
    wrong = {
        "weak": hidden,
        "at_bound": found.seen & (sigmas[:, free] == 0).any(axis=1),
        "not_converged": ~found.converged[:, None],
        "poor_fit": chi2r > POOR_FIT,
        "merged": _merged(course, found),
        "masked": _masked(course, found),
        "misfit": chi2r > MISFIT,
        "shape_frozen": ~found.seen,
        "extrapolated_start": found.seen & course.extrapolated[block],
    }
    bits = found.events.copy()
    for name, so in wrong.items():
        bits |= np.where(so, ASSESSMENT[name], 0)
    bits[np.isnan(found.chi2r)] = ASSESSMENT["no_data"]
    return bits


def _merged(course: Course, found: Fits) -> npt.NDArray[np.bool_]:
    """Whether another line of the window is too close to be told from it."""
    values = found.kinds(found.theta)
    shown = found.seen | course.plan.frozen
    merged = np.zeros(shown.shape, dtype=bool)
    for line in range(shown.shape[1]):
        for other in range(line):
            distance = np.abs(values[:, CENTRE, line] - values[:, CENTRE, other])
            width = 0.5 * (values[:, FWHM, line] + values[:, FWHM, other])
            close = shown[:, line] & shown[:, other] & (distance < MERGED * width)
            merged[:, line] |= close
            merged[:, other] |= close
    return merged


def _masked(course: Course, found: Fits) -> npt.NDArray[np.bool_]:
    """Whether half of the line, within its width at half maximum, lies in masked points."""
    plan = course.plan
    if plan.use.all():
        return np.zeros(found.seen.shape, dtype=bool)
    values = np.nan_to_num(found.kinds(found.theta))
    used = np.concatenate([[0.0], np.cumsum(plan.use)])
    low, high = (
        np.searchsorted(plan.grid, values[:, CENTRE] + side * values[:, FWHM])
        for side in (-0.5, 0.5)
    )
    return np.asarray(used[high] - used[low] <= 0.5 * (high - low))
