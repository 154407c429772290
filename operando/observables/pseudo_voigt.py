"""Pseudo-Voigt lines on a straight background, fitted to many frames at once.

A line of area A, centre c, full width at half maximum w and Lorentzian share eta is

    A [(1 - eta) G(x) + eta L(x)],   u = 2 (x - c) / w,
    G = (2/w) sqrt(ln 2 / pi) exp(-ln 2 u^2),   L = (2 / (pi w)) / (1 + u^2).

Parameters of k lines are one row of 4 k + 2 numbers: k areas, k centres, k widths, k shares, then
the background at the middle of the window and its slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

GAUSS = 2.0 * np.sqrt(np.log(2.0) / np.pi)
LORENTZ = 2.0 / np.pi
POISSON_ROUNDS = 2
"""After weights from smoothed data, from the model: the fixed point is maximum likelihood."""
TRIALS = 80
DECREASE = 1e-6
"""Iteration ends when the next step promises less than this of chi-square: 0.001 sigma."""


@dataclass(frozen=True)
class Fit:
    """Fits of n frames with p parameters."""

    theta: Array
    """(n, p)."""
    covariance: Array
    """(n, p, p), from weights alone; zero for parameters that were held."""
    hessian: Array
    """(n, p, p): half of the second derivatives of chi-square, of held parameters too."""
    gradient: Array
    """(n, p): minus half of its first derivatives."""
    chi2r: Array
    """(n,): chi-square per degree of freedom."""
    converged: Mask


def profile(x: Array, *, centre: Array, fwhm: Array, eta: Array) -> Array:
    """Return lines of unit area; the arguments broadcast."""
    u = 2.0 * (x - centre) / fwhm
    gauss = GAUSS * np.exp(-np.log(2.0) * u * u)
    lorentz = LORENTZ / (1.0 + u * u)
    return np.asarray(((1.0 - eta) * gauss + eta * lorentz) / fwhm)


def model(x: Array, theta: Array) -> tuple[Array, Array]:
    """Return the model (n, m) and its derivatives (n, p, m) for parameters (n, p)."""
    lines = (theta.shape[1] - 2) // 4
    area, centre, fwhm, eta = (theta[:, i * lines : (i + 1) * lines, None] for i in range(4))
    u = 2.0 * (x - centre) / fwhm
    gauss = GAUSS * np.exp(-np.log(2.0) * u * u) / fwhm
    lorentz = LORENTZ / (1.0 + u * u) / fwhm
    line = (1.0 - eta) * gauss + eta * lorentz
    # -d(line)/du / u, so that neither centre nor width needs a division by u
    fall = (1.0 - eta) * 2.0 * np.log(2.0) * gauss + eta * 2.0 * lorentz / (1.0 + u * u)
    slope = np.broadcast_to(x - middle(x), (theta.shape[0], 1, x.size))
    derivatives = np.concatenate(
        [
            line,
            area * fall * u * 2.0 / fwhm,
            area * (fall * u * u - line) / fwhm,
            area * (lorentz - gauss),
            np.ones_like(slope),
            slope,
        ],
        axis=1,
    )
    total = (area * line).sum(axis=1) + theta[:, -2:-1] + theta[:, -1:] * slope[:, 0]
    return total, derivatives


def middle(x: Array) -> float:
    """Return where the background of a window is given."""
    return 0.5 * float(x[0] + x[-1])


def fit(
    x: Array,
    y: Array,
    *,
    weight: Array | None,
    present: Mask,
    start: Array,
    free: Mask,
    low: Array,
    high: Array,
) -> Fit:
    """Fit frames y (n, m) by Levenberg-Marquardt within bounds, each frame on its own.

    Parameters
    ----------
    weight
        1/sigma^2, (n, m). None: counts, weighted by 1/model to the Poisson maximum likelihood.
    present
        Points to use, (n, m).
    start, free
        (n, p); parameters that are not free stay at their start.
    low, high
        Bounds, (p,).
    """
    theta = np.where(free, np.clip(start, low, high), start)
    rounds = [weight] if weight is not None else [_smoothed(y, present)] + [None] * POISSON_ROUNDS
    for given in rounds:
        used = given if given is not None else 1.0 / np.maximum(model(x, theta)[0], 1.0)
        used = np.where(present, used, 0.0)
        theta, converged = _descend(x, y, used, theta, free, low, high)
    expected, derivatives = model(x, theta)
    # at a bound the parameter is known, not measured: the others are conditional on it
    measured = free & (theta > low) & (theta < high)
    hessian, gradient = _normal(derivatives, used, y - expected)
    freedom = present.sum(axis=1) - free.sum(axis=1)
    return Fit(
        theta=theta,
        covariance=_invert(hessian, measured),
        hessian=hessian,
        gradient=gradient,
        chi2r=(used * (y - expected) ** 2).sum(axis=1) / np.maximum(freedom, 1),
        converged=converged,
    )


def _smoothed(y: Array, present: Mask) -> Array:
    """Weights of counts before there is a model: 1 over the mean of five points."""
    ones = np.ones(5)

    def five(values: Array) -> Array:
        padded = np.pad(values, ((0, 0), (2, 2)))
        return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1) @ ones)

    total, count = five(np.where(present, y, 0.0)), five(present.astype(float))
    return np.asarray(1.0 / np.maximum(total / np.maximum(count, 1.0), 1.0))


def _normal(derivatives: Array, weight: Array, residual: Array) -> tuple[Array, Array]:
    weighted = derivatives * weight[:, None, :]
    hessian = weighted @ derivatives.transpose(0, 2, 1)
    return hessian, (weighted @ residual[:, :, None])[:, :, 0]


def _descend(
    x: Array, y: Array, weight: Array, theta: Array, free: Mask, low: Array, high: Array
) -> tuple[Array, Mask]:
    """Minimise chi-square at fixed weights; return parameters and which frames converged."""
    theta = theta.copy()
    done = np.zeros(theta.shape[0], dtype=bool)
    damping = np.full(theta.shape[0], 1e-3)
    expected, derivatives = model(x, theta)
    residual = y - expected
    for _ in range(TRIALS):
        at = np.flatnonzero(~done)
        if at.size == 0:
            break
        hessian, gradient = _normal(derivatives[at], weight[at], residual[at])
        outward = ((theta[at] <= low) & (gradient < 0)) | ((theta[at] >= high) & (gradient > 0))
        step = _solve(hessian, gradient, free[at] & ~outward, damping[at])
        trial = np.where(free[at], np.clip(theta[at] + step, low, high), theta[at])
        promised = (step * gradient).sum(axis=1)
        tried, slopes = model(x, trial)
        before = (weight[at] * residual[at] ** 2).sum(axis=1)
        after = (weight[at] * (y[at] - tried) ** 2).sum(axis=1)
        better = after <= before
        kept = at[better]
        theta[kept] = trial[better]
        residual[kept] = (y[at] - tried)[better]
        derivatives[kept] = slopes[better]
        damping[at] = np.where(
            better, np.maximum(damping[at] * 0.1, 1e-9), np.maximum(damping[at] * 10.0, 1e-3)
        )
        # no step helps any more: the minimum is reached to rounding
        little = promised < DECREASE * np.maximum(after / y.shape[1], 1.0)
        done[at] = (better & little) | (damping[at] > 1e12)
    return theta, done


def _scaled(hessian: Array, used: Mask) -> tuple[Array, Array]:
    """Unit-diagonal normal equations of the used parameters (identity for the others)."""
    size = np.sqrt(np.where(used, np.einsum("npp->np", hessian), 1.0))
    size = np.where(size > 0, size, 1.0)
    both = used[:, :, None] & used[:, None, :]
    scaled = np.where(both, hessian / (size[:, :, None] * size[:, None, :]), 0.0)
    return scaled, size


def _solve(hessian: Array, gradient: Array, used: Mask, damping: Array) -> Array:
    scaled, size = _scaled(hessian, used)
    unit = np.eye(gradient.shape[1])
    system = scaled + unit * np.where(used, 1e-12 + damping[:, None], 1.0)[:, None, :]
    right = np.where(used, gradient / size, 0.0)
    return np.asarray(np.linalg.solve(system, right[:, :, None])[:, :, 0] / size)


def _invert(hessian: Array, used: Mask) -> Array:
    scaled, size = _scaled(hessian, used)
    unit = np.eye(used.shape[1])
    inverse = np.linalg.inv(scaled + unit * np.where(used, 1e-12, 1.0)[:, None, :])
    both = used[:, :, None] & used[:, None, :]
    return np.where(both, inverse / (size[:, :, None] * size[:, None, :]), 0.0)
