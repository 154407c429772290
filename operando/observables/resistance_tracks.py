"""The sweeps of one spot, one after the other: what each is compared with, its circuit, its gates.

Two passes. First every sweep is fitted in order of time, from the sweep before and weakly held to
it. Then the exponents are taken to be the same in all sweeps: each is fitted again with what the
others say of them, for exponents that are free in every sweep are what makes the resistances of
neighbouring arcs uncertain. Where the sweeps contradict that, the first pass stands.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from operando.observables.circuit import (
    ALPHA,
    Array,
    Circuit,
    Complex,
    Fit,
    Index,
    Mask,
    Prior,
    fit,
    starts,
)
from operando.observables.kramers_kronig import Consistency, check_consistency

Bits = npt.NDArray[np.int32]

PRIOR = 0.003
"""Pull of the sweep before for each factor of e, or tenth of an exponent: a relative deviation."""
TENTH = 0.1
WORSE = 2.0
"""Times the residual of the sweep before from which a sweep is started afresh."""
FAR_BETTER = 1.1
"""Times the best cost up to which the basin of the sweep before is kept."""
VAGUE = 1.0
"""Sigma of a logarithm from which a parameter is no start for the next sweep."""
MEASURABLE = (1e-12, 1e18)
"""In ohm: what lies outside is a fault of the file, not an impedance."""
NOISY = 3.0
"""Reactance above zero, in sigma, from which a point is inductive."""
HIDDEN = 0.05
"""Part of R_s by which Z' may lie lower where the sweep is inductive."""
UNKNOWN_NOISE = 0.003
SHARED_FROM = 5
"""Sweeps from which their exponents are compared."""
LESSONS = 2
"""Rounds of learning them: what a sweep says is linear only near what they are."""
CONTRADICTED = 0.01
"""Probability of the improvement by free exponents below which they are not shared."""
MISFIT = 0.02
AT_BOUND = 1e-6
UNCERTAIN = 0.2
DECADE = float(np.log(10.0))
NEARLY = 0.75
"""Decades between arcs that are refused whatever their sigma."""

ASSESSMENT: dict[str, int] = {
    "no_points": 1,
    "kramers_kronig": 2,
    "drift": 4,
    "misfit": 8,
    "inductive": 16,
    "out_of_band": 32,
    "uncertain": 64,
    "arcs_overlap": 128,
    "at_bound": 256,
}
"""Why a number should not be believed; 0 is success. From `misfit` to `arcs_overlap` it is NaN.

`no_points`: too few finite points, or none at a frequency that is asked for. `kramers_kronig`: the
parts of the sweep contradict each other. `drift`: the potential moved by more than 5 mV during the
sweep. `misfit`: the circuit leaves 2 % or more. `inductive`: cable and cell turn inductive within a
decade above the fastest arc, or Z' still falls where they are: the fastest arc cannot be told from
the resistance in series. `out_of_band`: the arc peaks outside the frequencies that were fitted.
`uncertain`: sigma is 20 % or more. `arcs_overlap`: less than a decade from another arc. `at_bound`:
the exponent is the lowest allowed: the arc may be part of another, or of the tail; the number is
kept, but depends on the circuit by more than its sigma.
"""


@dataclass(frozen=True)
class Sweeps:
    """The sweeps of one spot, what each is compared with, and what was found."""

    omega: Array
    """rad/s (m,), ascending."""
    impedance: Complex
    """(t, m); zero where it is missing."""
    weight: Array
    """(t, m): 1/|Z| of the points that a circuit can describe, else zero."""
    consistency: list[Consistency]
    noise: Array
    """(t,): relative noise of one part, estimated or declared; NaN when unknown."""
    fits: Fit
    """(t,); of no meaning where `fitted` says so."""

    @property
    def fitted(self) -> Mask:
        """Which sweeps have more points than the circuit has parameters."""
        return np.asarray(np.count_nonzero(self.weight, axis=1) > 0)


def track(frequency: Array, impedance: Complex, *, circuit: Circuit, noise: float | None) -> Sweeps:
    """Fit the sweeps (t, m) of one spot, in order of time, at ascending frequencies (m,) in Hz."""
    modulus = np.abs(impedance)
    finite = (modulus > MEASURABLE[0]) & (modulus < MEASURABLE[1])
    consistency = [
        check_consistency(frequency[there], row[there])
        for there, row in zip(finite, impedance, strict=True)
    ]
    known = np.array([result.noise for result in consistency])
    if noise is not None:
        known = np.full(known.shape, noise)
    values = np.where(finite, impedance, 0.0)
    # a point that noise alone may have lifted above zero stays: leaving it out would bias the rest
    lifted = NOISY * _usual(known)[:, None] * np.abs(values)
    used = finite & (values.imag < lifted)
    used &= np.count_nonzero(used, axis=1, keepdims=True) > circuit.size
    weight = np.where(used, 1.0 / np.where(used, np.abs(values), 1.0), 0.0)
    series = _Series(circuit, 2 * np.pi * frequency, values, weight, _usual(known))
    return Sweeps(series.omega, values, weight, consistency, known, _shared(series, _chain(series)))


def refusals(circuit: Circuit, sweeps: Sweeps) -> tuple[Bits, Bits]:
    """Return why resistances in series (t,) and those of the arcs (t, n) are not believed."""
    n = circuit.arcs
    theta, covariance = sweeps.fits.theta, sweeps.fits.covariance
    spread = np.sqrt(np.einsum("tpp->tp", covariance))
    log_tau = theta[:, 2 + n : 2 + 2 * n]
    measured = np.where(sweeps.weight > 0, np.log(sweeps.omega), np.nan)
    measured[~sweeps.fitted] = 0.0
    bottom, top = np.nanmin(measured, axis=1)[:, None], np.nanmax(measured, axis=1)[:, None]
    close = _overlapping(log_tau, covariance[:, 2 + n : 2 + 2 * n, 2 + n : 2 + 2 * n])
    near = top - DECADE < -log_tau[:, :1]
    exchangeable = _inductive(sweeps, top, near[:, 0])
    fails = np.broadcast_to((sweeps.fits.residual >= MISFIT)[:, None], log_tau.shape)
    first = np.arange(n) == 0
    arcs = _bits("misfit", fails) | _bits("inductive", exchangeable[:, None] & first)
    arcs |= _bits("out_of_band", (-log_tau <= bottom) | (-log_tau >= top))
    arcs |= _bits("uncertain", spread[:, 2 : 2 + n] >= UNCERTAIN)
    arcs[:, :-1] |= _bits("arcs_overlap", close)
    arcs[:, 1:] |= _bits("arcs_overlap", close)
    series = _bits("misfit", fails[:, 0]) | _bits("inductive", exchangeable)
    series |= _bits("uncertain", spread[:, 0] >= UNCERTAIN * theta[:, 0])
    nothing = np.int32(ASSESSMENT["no_points"])
    return (
        np.where(sweeps.fitted, series, nothing),
        np.where(sweeps.fitted[:, None], arcs, nothing),
    )


def at_bound(circuit: Circuit, sweeps: Sweeps) -> Bits:
    """Return the bit of arcs (t, n) whose exponent is the lowest that is allowed."""
    n = circuit.arcs
    alpha = sweeps.fits.theta[:, 2 + 2 * n : 2 + 3 * n]
    return _bits("at_bound", sweeps.fitted[:, None] & (alpha < ALPHA[0] + AT_BOUND))


def _bits(name: str, wrong: Mask) -> Bits:
    return np.asarray(wrong * np.int32(ASSESSMENT[name]), np.int32)


def _inductive(sweeps: Sweeps, top: Array, near: Mask) -> Mask:
    """Return where the fastest arc is near, or beneath, frequencies at which a sweep is inductive.

    Beneath: Z' falls on below R_s where the reactance is positive; R_s includes a hidden arc.
    """
    there = np.abs(sweeps.impedance) > 0
    above = there & (np.log(sweeps.omega) > top + 1e-9)
    resistance = sweeps.fits.theta[:, :1]
    missing = resistance - sweeps.impedance.real
    doubt = NOISY * _usual(sweeps.noise)[:, None] * np.abs(sweeps.impedance)
    hidden = above & (missing > doubt) & (missing > HIDDEN * resistance)
    return np.asarray((above.any(axis=1) & near) | hidden.any(axis=1))


def _overlapping(log_tau: Array, covariance: Array) -> Mask:
    """Return which arcs lie less than a decade before the next, by more than two sigma."""
    own = np.einsum("tpp->tp", covariance)
    between = np.diagonal(covariance, 1, axis1=1, axis2=2)
    sigma = np.sqrt(np.maximum(own[:, :-1] + own[:, 1:] - 2 * between, 0.0)) / DECADE
    apart = np.diff(log_tau, axis=1) / DECADE
    return np.asarray(apart < np.maximum(1.0 - 2.0 * sigma, NEARLY))


def _usual(noise: Array) -> Array:
    return np.where(np.isfinite(noise), noise, UNKNOWN_NOISE)


@dataclass(frozen=True)
class _Series:
    """What the passes work on."""

    circuit: Circuit
    omega: Array
    impedance: Complex
    weight: Array
    noise: Array

    def fitted(self, rows: Index, start: Array, prior: Prior | None = None) -> Fit:
        return fit(
            self.circuit,
            self.omega,
            self.impedance[rows],
            self.weight[rows],
            start=start,
            noise=self.noise[rows],
            prior=prior,
        )

    def telling(self, found: Fit) -> Mask:
        """Which fits describe their sweep and know all its resistances."""
        variances = np.einsum("tpp->tp", found.covariance)[:, 2 : 2 + self.circuit.arcs]
        return np.asarray((found.residual < MISFIT) & (variances < VAGUE**2).all(axis=1))


def _chain(series: _Series) -> Fit:
    """Fit each sweep from the one before; from everywhere where that does not lead."""
    nothing = series.fitted(np.arange(1), np.ones((1, series.circuit.size)))
    fits: list[Fit] = []
    before: Fit | None = None
    for row in range(series.noise.size):
        if not series.weight[row].any():
            fits.append(nothing)
            continue
        if before is None:
            found = _fresh(series, row)
        else:
            prior = _weak(series.circuit, before.theta, series.noise[row])
            found = series.fitted(np.array([row]), before.theta, prior)
            worse = found.residual > WORSE * before.residual
            if worse.any() or not series.telling(before).all():
                found = _fresh(series, row, found)
        fits.append(found)
        before = found
    return Fit(*(np.concatenate([getattr(f, n.name) for f in fits]) for n in fields(Fit)))


def _fresh(series: _Series, row: int, known: Fit | None = None) -> Fit:
    """Return the best fit from many starts; what is known wins unless another is far better."""
    start = starts(series.circuit, series.omega, series.impedance[row], series.weight[row])
    if known is not None:
        start = np.vstack([known.theta, start])
    found = series.fitted(np.full(start.shape[0], row), start)
    best = int(np.argmin(found.cost))
    if known is not None and found.cost[0] <= FAR_BETTER * found.cost[best]:
        best = 0
    return found[best : best + 1]


def _weak(circuit: Circuit, theta: Array, noise: float) -> Prior:
    width = np.ones(circuit.size)
    width[circuit.exponents] = TENTH
    # never narrower than a factor of e, however clean the sweep
    weight = (min(PRIOR, noise) / width) ** 2
    weight[:2] = 0.0
    return Prior(theta, np.diag(weight)[None])


def _shared(series: _Series, fits: Fit) -> Fit:
    """Fit again with exponents that all sweeps share, unless the sweeps contradict it."""
    rows = np.flatnonzero(series.weight.any(axis=1))
    free = fits[rows]
    telling = series.telling(free)
    if np.count_nonzero(telling) < SHARED_FROM:
        return fits
    shared = free
    for _ in range(LESSONS):
        weight, moment = _of_exponents(series.circuit, shared)
        others = np.where(telling, 1.0, 0.0)
        prior = _of_the_others(
            series.circuit,
            shared,
            weight[telling].sum(axis=0) - weight * others[:, None, None],
            moment[telling].sum(axis=0) - moment * others[:, None],
        )
        shared = series.fitted(rows, shared.theta, prior)
    points = 2 * np.count_nonzero(series.weight[rows], axis=1)
    worse = points * (shared.residual**2 - free.residual**2) / free.variance
    freedom = len(series.circuit.exponents) * (np.count_nonzero(telling) - 1)
    if chdtrc(freedom, max(worse[telling].sum(), 0.0)) < CONTRADICTED:
        return fits
    for name in (field.name for field in fields(Fit)):
        getattr(fits, name)[rows] = getattr(shared, name)
    return fits


def _of_exponents(circuit: Circuit, found: Fit) -> tuple[Array, Array]:
    """Return what sweeps say of exponents whatever the rest: weights W, and W times values."""
    inside = circuit.exponents
    rest = [at for at in range(circuit.size) if at not in inside]
    block = found.hessian[:, rest][:, :, rest]
    cross = found.hessian[:, rest][:, :, inside]
    known = np.concatenate([cross, found.gradient[:, rest, None]], axis=2)
    solved = np.linalg.pinv(block, rcond=1e-14, hermitian=True) @ known
    weight = found.hessian[:, inside][:, :, inside] - cross.transpose(0, 2, 1) @ solved[:, :, :-1]
    pull = found.gradient[:, inside] - (cross.transpose(0, 2, 1) @ solved[:, :, -1:])[:, :, 0]
    return weight, (weight @ found.theta[:, inside, None])[:, :, 0] + pull


def _of_the_others(circuit: Circuit, found: Fit, weight: Array, moment: Array) -> Prior:
    inside = np.array(circuit.exponents)
    mean = found.theta.copy()
    mean[:, inside] = (np.linalg.pinv(weight, rcond=1e-12, hermitian=True) @ moment[..., None])[
        :, :, 0
    ]
    whole = np.zeros((found.residual.size, circuit.size, circuit.size))
    whole[:, inside[:, None], inside] = weight * found.variance[:, None, None]
    return Prior(mean, whole)
