"""The robust fit of an offset between two clocks, and how sure it is: numpy kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operando.align.shifts import Samples, Shifted, scatter_of
from operando.align.windows import Array, Mask

HUBER = 5.0
"""Residuals beyond this many robust standard deviations are no noise."""
SMALLEST_V = 1e-9
"""No potential is read to a nanovolt: smaller residuals are rounding."""
ITERATIONS = 30
LARGEST_STEP_S = 5.0
CONVERGED_S = 1e-4
FEWEST = 5
"""A step that leaves fewer samples covered is not taken."""
DEGENERATE = 1e7
"""Above this condition number the samples do not tell offset from zero."""
CLUSTERS = 20
LADDER = 64
NEAR_EXPOSURES, NEAR_S = 5.0, 60.0
"""Offsets within 5 exposures + 60 s of one another are one and the same minimum."""


class Fit(NamedTuple):
    """What a robust fit of an offset comes to."""

    offset: float
    """At the first sample (s)."""
    middle: float
    """In the middle of the samples; the same without drift."""
    sigma: float
    scatter: float
    used: int
    drift_ppm: float
    drift_sigma_ppm: float
    gain: float
    """Of the samples against the log; 1 where it was not fitted."""


class _Solution(NamedTuple):
    """Where the Gauss-Newton steps ended."""

    moved: Array
    """Offset (s), and drift (s over the whole span) where it was fitted."""
    shape: Array
    """How each of them moves each sample (1 or 2, m)."""
    covariance: Array
    residual: Array
    """Of the samples that are believed."""
    believed: Mask
    gain: float
    gained: Array
    """What the fitted gain adds to each sample (m,)."""


def near_s(samples: Samples) -> float:
    """Return how far apart two offsets are still one and the same minimum."""
    return NEAR_EXPOSURES * float(np.median(samples.end - samples.start)) + NEAR_S


def robust_fit(shifted: Shifted, samples: Samples, *, begin: float, drift: bool, gain: bool) -> Fit:
    """Fit offset and zero, and where asked drift and gain.

    Gauss-Newton steps find the least squares, samples beyond five robust standard deviations
    weighing less in proportion (Huber); those that stay there are left out in the end. The offset
    is then the mean of the likelihood, and its sigma the larger of the likelihood's width and that
    of the fit: where a single step of the potential tells, the likelihood is no parabola.
    """
    found = _solve(shifted, samples, begin=begin, drift=drift, gain=gain)
    late = found.moved[1:] @ found.shape[1:]
    start, end = samples.moved(late)
    middle, spread = _likely(
        shifted,
        Samples(start, end, samples.value - found.gained).pick(found.believed),
        around=float(found.moved[0]),
        width=float(np.sqrt(found.covariance[0, 0])),
        scatter=scatter_of(found.residual),
    )
    span = max(float(np.ptp(samples.start)), 1.0)
    lever = found.shape[1:, 0]
    across = np.concatenate([[1.0], lever])
    told = bool(np.isfinite(found.covariance).all())
    variance = float(across @ found.covariance @ across) if told else np.inf
    drifts = found.moved[1:] / span * 1e6
    return Fit(
        offset=middle + float(found.moved[1:] @ lever),
        middle=middle,
        sigma=max(float(np.sqrt(variance)), spread),
        scatter=scatter_of(found.residual),
        used=found.residual.size,
        drift_ppm=float(drifts[0]) if drift else np.nan,
        drift_sigma_ppm=float(np.sqrt(found.covariance[1, 1])) / span * 1e6 if drift else np.nan,
        gain=found.gain,
    )


def _solve(
    shifted: Shifted, samples: Samples, *, begin: float, drift: bool, gain: bool
) -> _Solution:
    since = samples.start - samples.start.mean()
    since = since / max(float(np.ptp(samples.start)), 1.0)
    shape = np.stack([np.ones_like(since), since][: 1 + drift])
    moved = np.zeros(len(shape))
    moved[0] = begin
    believed = np.ones(since.size, bool)
    gained, factor = np.zeros(since.size), 1.0
    for iteration in range(ITERATIONS):
        mean, slope = shifted.means(*samples.moved(moved @ shape))
        known = np.isfinite(mean)
        if known.sum() < FEWEST and iteration:
            break
        columns = [*(shape * slope), np.ones_like(mean)]
        if gain:
            columns.append(mean - mean[known].mean())
        design = np.stack(columns, axis=1)[known]
        residual, inside, change = _weighted_step(design, (samples.value - mean)[known])
        believed[:] = False
        believed[known] = inside
        if gain:
            gained[known], factor = change[-1] * design[:, -1], 1.0 + float(change[-1])
        step = np.clip(change[: len(shape)], -LARGEST_STEP_S, LARGEST_STEP_S)
        moved = moved + step
        if abs(step[0]) < CONVERGED_S:
            break
    parameters = slice(0, len(shape))
    covariance = _covariance(design[inside], residual[inside])[parameters, parameters]
    return _Solution(moved, shape, covariance, residual[inside], believed, factor, gained)


def _weighted_step(design: Array, difference: Array) -> tuple[Array, Mask, Array]:
    """Return the residual, which samples are no outliers, and the change of the parameters."""
    difference = difference - np.median(difference)
    weight = np.ones_like(difference)
    for _ in range(3):
        residual = difference - design @ _solved(design, difference, weight)
        limit = HUBER * max(scatter_of(residual), SMALLEST_V)
        weight = np.minimum(1.0, limit / np.maximum(np.abs(residual), limit))
    # Outliers lead from afar but bias the end: the step that does without them is the last word,
    # where enough others are left to tell.
    inside = weight == 1
    if inside.sum() > 2 * design.shape[1]:
        weight = inside.astype(np.float64)
    else:
        inside = np.ones_like(inside)
    change = _solved(design, difference, weight)
    return difference - design @ change, inside, change


def _solved(design: Array, difference: Array, weight: Array) -> Array:
    root = np.sqrt(weight)
    solved = np.linalg.lstsq(design * root[:, None], difference * root, rcond=None)[0]
    return np.asarray(solved, np.float64)


def _covariance(design: Array, residual: Array) -> Array:
    """Return the covariance of the parameters: the one of two estimates that gives more.

    One takes the residuals for independent; the other sums them over twenty stretches of time, so
    a drift or a wrong shape that was not fitted shows in it (a cluster-robust sandwich).
    """
    norms = np.maximum(np.linalg.norm(design, axis=0), 1e-300)
    information = (design / norms).T @ (design / norms)
    if np.linalg.cond(information) > DEGENERATE:
        return np.full_like(information, np.inf)
    bread = np.linalg.inv(information) / np.outer(norms, norms)
    variance = float(residual @ residual) / max(residual.size - len(bread), 1)
    classical: Array = bread * max(variance, SMALLEST_V**2)
    if residual.size < 5 * CLUSTERS:
        return classical
    edges = np.linspace(0, residual.size, CLUSTERS + 1).astype(int)[:-1]
    sums = np.add.reduceat(design * residual[:, None], edges, axis=0)
    clustered = bread @ (sums.T @ sums) @ bread * (CLUSTERS / (CLUSTERS - 1))
    return clustered if clustered[0, 0] > classical[0, 0] else classical


def _likely(
    shifted: Shifted, samples: Samples, *, around: float, width: float, scatter: float
) -> tuple[float, float]:
    """Return mean and standard deviation of the likelihood of an offset, flat before the data.

    Taken at offsets ever farther from `around`, so a narrow peak and a wide plateau are both seen;
    residuals are clipped at 5 sigma.
    """
    scatter, farthest = max(scatter, SMALLEST_V), near_s(samples)
    finest = max(min(width, farthest) / 4, CONVERGED_S)
    away = np.geomspace(finest, farthest, LADDER)
    offsets = around + np.concatenate([-away[::-1], [0.0], away])
    mean, _ = shifted.means(*samples.moved(offsets[:, None]))
    covered = np.isfinite(mean).sum(axis=1) >= max(FEWEST, mean.shape[1] / 2)
    if covered.sum() < 2:
        return around, np.inf
    offsets, residual = offsets[covered], samples.value - mean[covered]
    residual = residual - np.nanmedian(residual, axis=1, keepdims=True)
    clipped = np.clip(residual, -HUBER * scatter, HUBER * scatter)
    square = np.nanvar(clipped, axis=1) * samples.value.size / scatter**2
    weight = np.exp(-(square - square.min()) / 2) * np.gradient(offsets)
    middle = float(np.sum(weight * offsets) / weight.sum())
    return middle, float(np.sqrt(np.sum(weight * (offsets - middle) ** 2) / weight.sum()))
