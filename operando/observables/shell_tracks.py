"""EXAFS of a block of spectra: chi(k), |chi(R)| and one shell of it, with what noise does to them.

Everything up to chi(R) is linear in `mu`, so the noise of a number follows exactly from that of the
points of `mu`, to first order of the number itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from operando.corrections.normalisation import operators
from operando.observables.autobk import Removal, background_removal, products
from operando.observables.fourier import R_STEP, chi_of_r, rows_of_r, taper
from operando.observables.shell_peak import Shell, measure_shell, propagated, variances

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Flags = npt.NDArray[np.int32]
Range = tuple[float, float]

ASSESSMENT: dict[str, int] = {
    "no_peak": 1,
    "weak": 2,
    "nonfinite": 4,
    "partial_scan": 8,
    "negative_step": 16,
    "bridged": 32,
}
"""Why a shell should not be believed; 0 is success.

`no_peak`: |chi(R)| has no maximum inside the shell. `weak`: the amplitude is below 5 times the
noise, which then lifts it by more than 2 %. `nonfinite`: NaN inside what is used. `partial_scan`:
NaN from inside what is used to the end of the scan. `negative_step`: the edge step is not positive.
`bridged` (no fault): missing points were interpolated, across less than `BRIDGE` in k.
"""

WEAK = 5.0
BRIDGE = 0.15
"""The widest gap, in 1/angstrom, bridged by a line: an eighth of an oscillation at 2.5 A."""
NOISE_RANGE = (15.0, 25.0)
"""In angstrom: no shell is seen as far away."""
BLOCK = 256
"""Spectra worked on at once, so that intermediate results stay small."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `operando.observables.exafs.track_exafs` is asked for, under the same names."""

    e0: float
    ranges: tuple[Range, Range] | None
    """`pre` and `post`."""
    degree: int
    rbkg: float
    k_range: Range
    dk: float
    k_weight: int
    shell: Range
    r_max: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is worked out once for an energy grid and a choice of ranges."""

    removal: Removal
    window: Array
    """k^w W(k), shape (p,)."""
    shell: Shell
    r_points: int
    """Points of the map of |chi(R)|."""
    step_weights: Array | None
    """w of step = w . mu, shape (all points,); None where the step is one already."""
    rows: Array
    """Real, then imaginary parts of chi(R) at `shell.needed`, then the step: each as a row of
    weights of the points of `mu`, shape (q, all points)."""
    covariance: Array
    """Of `rows`, for points of `mu` with a sigma of one, (q, q)."""
    chi_variance: Array
    """Of chi(k), for the same, (p,)."""
    chi_and_step: Array
    """Covariance of chi(k) and the step, for the same, (p,)."""
    noise_unit: float
    """Root mean square of one part of chi(R) in `NOISE_RANGE`, for the same."""


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """EXAFS of n spectra."""

    values: Array
    """Amplitude, centroid and phase, shape (n, 3)."""
    sigmas: Array
    """(n, 3)."""
    noise: Array
    """Root mean square of one part of chi(R) in `NOISE_RANGE`, (n,)."""
    assessment: Flags
    """(n,)."""
    magnitude: Array
    """|chi(R)|, (n, r)."""
    chi: Array
    """chi(k), (n, p)."""
    chi_sigma: Array
    """(n, p)."""


def plan_tracks(energy: Array, settings: Settings) -> Plan:
    """Work out all that depends on the grid and the settings only.

    Raises
    ------
    RequestError
        As `normalise` and `background_removal`.
    """
    e0, k_weight = settings.e0, settings.k_weight
    step_weights = None
    if settings.ranges is not None:
        pre, post = settings.ranges
        using = operators(energy, e0=e0, pre=pre, post=post, degree=settings.degree)
        step_weights = using.step_weights
    removal = background_removal(energy, e0=e0, rbkg=settings.rbkg, k_weight=k_weight)
    low, high = settings.k_range
    window = removal.k**k_weight * taper(removal.k, low=low, high=high, width=settings.dk)
    peak = Shell.between(*settings.shell, k_phase=0.5 * (low + high))
    chi_rows = np.zeros((removal.k.size, energy.size))
    chi_rows[:, removal.first :] = removal.matrix()
    parts = np.vstack(rows_of_r(removal.k, window, points=peak.needed)) @ chi_rows
    by_step = np.zeros(energy.size) if step_weights is None else step_weights
    rows = np.vstack([parts, by_step])
    far = np.vstack(rows_of_r(removal.k, window, points=_noise_points())) @ chi_rows
    return Plan(
        removal=removal,
        window=window,
        shell=peak,
        r_points=int(settings.r_max / R_STEP) + 1,
        step_weights=step_weights,
        rows=rows,
        covariance=rows @ rows.T,
        chi_variance=np.square(chi_rows).sum(axis=1),
        chi_and_step=chi_rows @ by_step,
        noise_unit=float(np.sqrt(np.square(far).sum(axis=1).mean())),
    )


def track(mu: Array, sigma: Array | None = None, *, plan: Plan) -> Tracks:
    """Measure spectra (n, all points); `sigma` broadcasts against them, None estimates it."""
    mu = np.asarray(mu, dtype=np.float64)
    spread = None if sigma is None else np.broadcast_to(np.atleast_2d(sigma), mu.shape)
    blocks = [
        _track_block(
            mu[first : first + BLOCK],
            None if spread is None else spread[first : first + BLOCK],
            plan,
        )
        for first in range(0, max(mu.shape[0], 1), BLOCK)
    ]
    names = [field.name for field in fields(Tracks)]
    return Tracks(**{name: np.concatenate([getattr(b, name) for b in blocks]) for name in names})


def _track_block(mu: Array, sigma: Array | None, plan: Plan) -> Tracks:
    mu, assessment = _prepared(mu, plan)
    step = _step(mu, plan)
    assessment |= np.where(step <= 0, ASSESSMENT["negative_step"], 0).astype(np.int32)
    good = ((assessment & ASSESSMENT["nonfinite"]) == 0) & (step > 0)
    step = np.where(good, step, np.nan)[:, None]
    chi = plan.removal.chi(np.where(good[:, None], mu, 0.0)) / step
    whole = chi_of_r(chi * plan.window, points=_noise_points().stop)
    far = whole[:, _noise_points()]
    noise = np.sqrt(np.square(far.view(np.float64)).mean(axis=1))
    values, gradients = measure_shell(whole[:, plan.shell.needed], plan.shell)
    # Only the amplitude is inversely proportional to the step.
    by_step = np.zeros((*values.shape, 1))
    by_step[:, 0, 0] = -values[:, 0]
    gradients = np.concatenate([gradients, by_step], axis=2)
    if sigma is None:
        unit = (noise / plan.noise_unit)[:, None]
        sigmas = unit * np.sqrt(variances(gradients, plan.covariance))
        by_chi = plan.chi_variance - 2 * chi * plan.chi_and_step
        chi_sigma = unit * np.sqrt(by_chi + chi**2 * plan.covariance[-1, -1])
    else:
        variance = np.square(sigma)
        sigmas = np.sqrt(propagated(gradients, plan.rows, variance)) / step
        chi_sigma = _chi_sigma(chi, variance, plan) / step
    for name, wrong in (
        ("no_peak", good & np.isnan(values[:, 0])),
        ("weak", values[:, 0] < WEAK * noise),
    ):
        assessment |= np.where(wrong, ASSESSMENT[name], 0).astype(np.int32)
    return Tracks(
        values=values,
        sigmas=sigmas,
        noise=noise,
        assessment=assessment,
        magnitude=np.abs(whole[:, : plan.r_points]),
        chi=chi,
        chi_sigma=chi_sigma,
    )


def _chi_sigma(chi: Array, variance: Array, plan: Plan) -> Array:
    """Return the sigma of chi(k) times the step for given variances of `mu`, as `_track_block`."""
    by_chi = np.zeros((chi.shape[1], plan.rows.shape[1]))
    by_chi[:, plan.removal.first :] = plan.removal.matrix()
    by_step = plan.rows[-1]
    total = products(np.square(by_chi), variance)
    total -= 2 * chi * products(by_chi * by_step, variance)
    total += chi**2 * products(np.square(by_step)[None], variance)
    return np.asarray(np.sqrt(total))


def _noise_points() -> slice:
    return slice(int(np.ceil(NOISE_RANGE[0] / R_STEP)), int(NOISE_RANGE[1] / R_STEP) + 1)


def _step(mu: Array, plan: Plan) -> Array:
    """Return the edge steps; summed row by row, which BLAS does not."""
    if plan.step_weights is None:
        return np.ones(mu.shape[0])
    used = np.flatnonzero(plan.step_weights)
    return np.asarray(np.multiply(mu[:, used], plan.step_weights[used], order="C").sum(axis=1))


def _prepared(mu: Array, plan: Plan) -> tuple[Array, Flags]:
    """Return spectra with short gaps bridged, and flags of those with gaps."""
    needed = np.zeros(mu.shape[1], np.bool_)
    needed[plan.removal.first :] = True
    if plan.step_weights is not None:
        needed |= plan.step_weights != 0
    missing = ~np.isfinite(mu) & needed
    assessment = np.zeros(mu.shape[0], np.int32)
    bad = np.flatnonzero(missing.any(axis=1))
    if bad.size:
        mu = mu.copy()
    for row in bad:
        mu[row], flag = _bridged(mu[row], missing[row], plan.removal)
        assessment[row] = flag
    return mu, assessment


def _bridged(mu: Array, missing: Mask, removal: Removal) -> tuple[Array, int]:
    """Return one spectrum with its gaps bridged if all are short, and its flag."""
    if missing[-1]:
        return mu, ASSESSMENT["nonfinite"] | ASSESSMENT["partial_scan"]
    k, present = removal.raw, np.flatnonzero(~missing[removal.first :])
    gaps = np.diff(k[present])[np.diff(present) > 1]
    if missing[: removal.first + 1].any() or (gaps > BRIDGE).any():
        return mu, ASSESSMENT["nonfinite"]
    filled = mu.copy()
    filled[removal.first :] = np.interp(k, k[present], mu[removal.first :][present])
    return filled, ASSESSMENT["bridged"]
