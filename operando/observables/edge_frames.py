"""The numbers of every spectrum by itself: what is measured block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from operando.corrections.matched_shift import Matched, matched_shift
from operando.observables import edge_kernel as kernel
from operando.observables.edge_plan import Plan

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ENERGY, ENERGY_SIGMA, TOP, TOP_SIGMA, STEP, STEP_SIGMA = range(6)
NOISE, CHI2, EARLY, TWO_MAXIMA, MISSING, FIRST_MEMBER = range(6, 12)
"""Columns of the numbers of a frame; then the energy by each member of the ensemble of ranges."""

WHOLE, GAP, CUT = 0.0, 1.0, 2.0
"""What MISSING says: nothing is, a point inside what is used, all to one end of the scan."""
ROOM = 5.0
"""At least so far, in eV, a spectrum reaches beyond the window in which it is matched."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How frames are measured against a baseline."""

    plan: Plan
    method: str
    """`integral`, `half` or `matched`."""
    window: tuple[float, float]
    """In which the baseline is matched, eV."""


def normalised_mean(mu: Array, *, plan: Plan) -> Array:
    """Return the mean of the spectra (n, m) that can be normalised, normalised; NaN without one."""
    numbers = kernel.measure(plan, mu)
    usable = np.isfinite(numbers[:, kernel.TOP])
    if not usable.any():
        return np.full(plan.energy.size, np.nan)
    return np.asarray(_normalised(mu[usable], numbers[usable], plan).mean(axis=0))


def measure_frames(
    mu: Array,
    sigma: Array | None,
    place: Integers,
    baselines: Array,
    *,
    measurement: Measurement,
) -> Array:
    """Measure spectra (n, m): (n, FIRST_MEMBER + members), in the columns named above.

    Parameters
    ----------
    sigma
        Of a point, (n or 1, m or 1); None estimates white noise.
    place
        Which baseline is that of the frame, (n,).
    baselines
        Normalised spectra, (p, m).
    """
    plan = measurement.plan
    mu = np.ascontiguousarray(mu, dtype=float)
    variance = None if sigma is None else np.square(np.atleast_2d(sigma))
    numbers = kernel.measure(plan, mu, variance)
    members = numbers[:, kernel.FIRST_MEMBER :].reshape(len(mu), -1, 4)
    result = np.full((len(mu), FIRST_MEMBER + members.shape[1]), np.nan)
    own = {"half": kernel.HALF, "integral": kernel.INTEGRAL}.get(measurement.method)
    if own is not None:
        result[:, [ENERGY, ENERGY_SIGMA]] = numbers[:, [own, own + 1]]
        result[:, FIRST_MEMBER:] = members[:, :, 0 if own == kernel.HALF else 1]
    for at in np.unique(place):
        rows = np.flatnonzero(place == at)
        _match(result, rows, mu, numbers, sigma, baselines[at], measurement)
    for column, source in (
        (TOP, kernel.TOP),
        (TOP_SIGMA, kernel.TOP_SIGMA),
        (STEP, kernel.STEP),
        (STEP_SIGMA, kernel.STEP_SIGMA),
        (NOISE, kernel.NOISE),
        (EARLY, kernel.EARLY),
        (TWO_MAXIMA, kernel.TWO_MAXIMA),
    ):
        result[:, column] = numbers[:, source]
    result[:, MISSING] = _missing(mu, numbers, plan)
    return result


def _normalised(mu: Array, numbers: Array, plan: Plan, points: slice = slice(None)) -> Array:
    """Normalise spectra of which only some `points` are given."""
    offset, slope, step = numbers[:, [kernel.OFFSET, kernel.SLOPE, kernel.STEP]].T[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((mu - offset - slope * (plan.energy - plan.e0)[points]) / step)


def _match(
    result: Array,
    rows: npt.NDArray[np.intp],
    mu: Array,
    numbers: Array,
    sigma: Array | None,
    baseline: Array,
    measurement: Measurement,
) -> None:
    """Put chi-square, and the energies of the method `matched`, into the rows of one baseline."""
    plan = measurement.plan
    low, high = measurement.window
    inside = (plan.energy >= low) & (plan.energy <= high)
    usable = rows[numbers[rows, kernel.STEP] > 0]
    if not np.isfinite(baseline[inside]).all() or not usable.size:
        return
    near = slice(
        max(int(np.searchsorted(plan.energy, low - ROOM)) - 1, 0),
        int(np.searchsorted(plan.energy, high + ROOM)) + 1,
    )
    step = numbers[usable, kernel.STEP][:, None]
    noise = numbers[usable, kernel.NOISE][:, None]
    if sigma is not None and sigma.shape[-1] > 1:
        noise = np.broadcast_to(sigma, mu.shape)[usable, near]
    found = matched_shift(
        plan.energy[near],
        _normalised(mu[usable, near], numbers[usable], plan, near),
        baseline[near],
        window=measurement.window,
        sigma=noise / step,
    )
    result[usable, CHI2] = found.chi2
    if measurement.method == "matched":
        _place(result, usable, numbers, found, baseline, plan, inside)


def _place(
    result: Array,
    rows: npt.NDArray[np.intp],
    numbers: Array,
    found: Matched,
    baseline: Array,
    plan: Plan,
    inside: npt.NDArray[np.bool_],
) -> None:
    """Put energies of matched spectra: that of the baseline by its integral, and their shift.

    The pre-edge line enters by W = dshift/dnorm of the baseline: with q the part of its slope that
    is no multiple of itself, W = -q / sum q^2. The scale is free, so the step does not matter.
    """
    [origin] = kernel.measure(plan, baseline[None])
    number = kernel.INTEGRAL if np.isfinite(origin[kernel.INTEGRAL]) else kernel.HALF
    grid, shape = plan.energy[inside], baseline[inside]
    slope = CubicSpline(grid, shape)(grid, 1)
    own = slope - np.sum(slope * shape) / np.sum(shape * shape) * shape
    weight = -own / np.sum(own * own)
    to_offset, to_slope = np.sum(weight), np.sum(weight * (grid - plan.e0))
    lines = numbers[rows]
    variance = to_offset**2 * lines[:, kernel.OFFSET_VARIANCE]
    variance += to_slope**2 * lines[:, kernel.SLOPE_VARIANCE]
    variance += 2 * to_offset * to_slope * lines[:, kernel.OFFSET_SLOPE]
    result[rows, ENERGY] = origin[number] + found.shift
    result[rows, ENERGY_SIGMA] = np.sqrt(found.sigma**2 + variance / lines[:, kernel.STEP] ** 2)
    origins = origin[kernel.FIRST_MEMBER :].reshape(-1, 4)
    members = lines[:, kernel.FIRST_MEMBER :].reshape(rows.size, -1, 4)
    moved = to_offset * (members[:, :, 2] - origins[:, 2])
    moved += to_slope * (members[:, :, 3] - origins[:, 3])
    absolute = origins[:, 1 if number == kernel.INTEGRAL else 0]
    result[rows, FIRST_MEMBER:] = absolute + found.shift[:, None] - moved


def _missing(mu: Array, numbers: Array, plan: Plan) -> Array:
    """Tell which spectra lack points that are used, and which of them to an end of the scan."""
    missing = np.full(len(mu), WHOLE)
    used = np.zeros(plan.energy.size, bool)
    used[plan.seen] = True
    for start, stop in (*plan.line_points[:1], *plan.height_points[:1]):
        used[start:stop] = True
    needed = np.flatnonzero(used)
    for row in np.flatnonzero(~np.isfinite(numbers[:, kernel.TOP])):
        there = np.flatnonzero(np.isfinite(mu[row]))
        if np.isfinite(mu[row, used]).all():
            continue
        cut = there.size and (there[0] > needed[0] or there[-1] < needed[-1])
        missing[row] = CUT if cut else GAP
    return missing
