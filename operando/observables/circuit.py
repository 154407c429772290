"""The circuit of one impedance sweep: its model, its derivatives, its fit, and where to start.

    Z(w) = R_s + i w L + sum_k R_k / (1 + (i w tau_k)^alpha_k) + A (i w / w_0)^-n

A resistance in series, the inductance of cell and cable, arcs (resistance parallel to a
constant-phase element, tau^alpha = R Q) and, where asked for, a tail: semi-infinite diffusion at
n = 0.5, a blocking electrode towards n = 1. Diffusion of finite length is one more arc.

Parameters of n arcs are one row: R_s, L, n times ln R, n times ln tau, n times alpha, then ln A and
n. R_s and L stay linear: both may be zero, and a logarithm would hide that R_s is not known.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

QUARTER = 0.5j * np.pi
"""The logarithm of i."""
ALPHA = (0.5, 1.0)
TAIL = (0.3, 1.0)
"""Bounds of the exponents; an arc of alpha 0.5 is as depressed as any that is told from a tail."""
FIRST_ALPHA, FIRST_TAIL = 0.85, 0.6
BEYOND = 100.0
"""Time constants may lie this factor outside the sweep, so that a bound is never believed."""
SMALLEST, LARGEST = 1e-6, 1e6
"""Bounds of resistances and of the tail, relative to the median |Z|."""
SOFT = 0.01
"""Relative deviation from which a point counts less than its square, or three times the noise."""
TRIALS = 60
DECREASE = 1e-6
"""Iteration ends when a step promises less than this part of the cost."""
TRIED, KEPT = 2, 5
"""Time constants to a decade among the starts, and how many of the starts are followed."""


@dataclass(frozen=True)
class Fit:
    """Fits of b sweeps with p parameters."""

    theta: Array
    """(b, p)."""
    covariance: Array
    """(b, p, p); zero for an exponent or inductance at its bound: it is known, not measured."""
    residual: Array
    """(b,): root mean square deviation of one part, relative to |Z|."""
    variance: Array
    """(b,): of one part of one point, from the residuals."""
    hessian: Array
    """(b, p, p): half of the second derivatives of chi-square, without any prior."""
    gradient: Array
    """(b, p): minus half of its first derivatives."""
    cost: Array
    """(b,): what was minimised."""

    def __getitem__(self, rows: slice | Index | Mask) -> Fit:
        """Return some of the fits."""
        return Fit(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Prior:
    """What is known of the parameters of b sweeps before they are seen."""

    mean: Array
    """(b, p)."""
    weight: Array
    """(b, p, p): inverse covariance, times the variance of one part of one point."""


@dataclass(frozen=True)
class Circuit:
    """How many arcs a circuit has, and whether it has a tail."""

    arcs: int
    tail: bool

    @property
    def size(self) -> int:
        """Count of parameters."""
        return 2 + 3 * self.arcs + 2 * self.tail

    def model(self, omega: Array, theta: Array) -> tuple[Complex, Complex]:
        """Return impedances (b, m) and derivatives (b, p, m) for rows theta (b, p).

        `omega` in rad/s; w_0 is its smallest value.
        """
        n = self.arcs
        turn = np.log(omega) + QUARTER
        resistance = np.exp(theta[:, 2 : 2 + n, None])
        alpha = theta[:, 2 + 2 * n : 2 + 3 * n, None]
        angle = turn + theta[:, 2 + n : 2 + 2 * n, None]
        power = np.exp(alpha * angle)
        arc = resistance / (1.0 + power)
        fall = -arc * power / (1.0 + power)
        total = theta[:, :1] + 1j * omega * theta[:, 1:2] + arc.sum(axis=1)
        slopes = np.empty((theta.shape[0], self.size, omega.size), np.complex128)
        slopes[:, 0] = 1.0
        slopes[:, 1] = 1j * omega
        slopes[:, 2 : 2 + n] = arc
        slopes[:, 2 + n : 2 + 2 * n] = fall * alpha
        slopes[:, 2 + 2 * n : 2 + 3 * n] = fall * angle
        if self.tail:
            depth = turn - np.log(omega.min())
            slopes[:, -2] = np.exp(theta[:, -2:-1] - theta[:, -1:] * depth)
            slopes[:, -1] = -depth * slopes[:, -2]
            total += slopes[:, -2]
        return total, slopes

    @property
    def exponents(self) -> list[int]:
        """Places of the exponents among the parameters."""
        last = [self.size - 1] if self.tail else []
        return [*range(2 + 2 * self.arcs, 2 + 3 * self.arcs), *last]

    def bounds(self, omega: Array, scale: Array) -> tuple[Array, Array]:
        """Return the smallest and largest parameters of sweeps of median modulus `scale` (b,)."""
        n = self.arcs
        unit = np.ones((scale.size, 1))
        size = np.log(scale)[:, None]
        low = [0 * unit, 0 * unit, *[size + np.log(SMALLEST)] * n]
        high = [np.inf * unit, np.inf * unit, *[size + np.log(LARGEST)] * n]
        low += [-np.log(omega.max() * BEYOND) * unit] * n + [ALPHA[0] * unit] * n
        high += [np.log(BEYOND / omega.min()) * unit] * n + [ALPHA[1] * unit] * n
        if self.tail:
            low += [size + np.log(SMALLEST), TAIL[0] * unit]
            high += [size + np.log(LARGEST), TAIL[1] * unit]
        return np.hstack(low), np.hstack(high)

    def in_order(self, theta: Array) -> Array:
        """Return rows theta (b, p) with their arcs by ascending time constant."""
        n = self.arcs
        rank = np.argsort(theta[:, 2 + n : 2 + 2 * n], axis=1, kind="stable")
        places = [2 + block * n + rank for block in range(3)]
        last = np.arange(2 + 3 * n, self.size)
        rows = np.ones((theta.shape[0], 1), int)
        order = np.hstack([rows * [0, 1], *places, rows * last])
        return np.take_along_axis(theta, order, axis=1)


def starts(circuit: Circuit, omega: Array, impedance: Complex, weight: Array) -> Array:
    """Return the most promising rows of parameters of one sweep, best first, without any guess.

    Every choice of time constants from a grid is tried with its resistances by linear least
    squares; kept are those that leave least, with no arc of negative resistance if there are such.
    `impedance` and `weight` are (m,), see `fit`.
    """
    n = circuit.arcs
    seen = omega[weight > 0]
    steps = max(round(TRIED * np.log10(seen.max() / seen.min())) + 1, n)
    grid = np.linspace(-np.log(seen.max()), -np.log(seen.min()), steps)
    chosen = np.array(list(combinations(range(steps), n)))
    theta = np.zeros((chosen.shape[0], circuit.size))
    theta[:, 2 + n : 2 + 2 * n] = grid[chosen]
    theta[:, 2 + 2 * n : 2 + 3 * n] = FIRST_ALPHA
    theta[:, circuit.exponents[n:]] = FIRST_TAIL
    linear = [*range(2 + n), *([circuit.size - 2] if circuit.tail else [])]
    columns = _parts(circuit.model(omega, theta)[1][:, linear] * weight)
    target = _parts(impedance * weight)
    size = np.sqrt((columns**2).sum(axis=2))
    columns /= size[:, :, None]
    normal = columns @ columns.transpose(0, 2, 1) + 1e-9 * np.eye(len(linear))
    solved = np.linalg.solve(normal, (columns @ target)[:, :, None])[:, :, 0]
    left = ((target - (solved[:, None] @ columns)[:, 0]) ** 2).sum(axis=1)
    solved /= size
    smallest = 1e-3 * float(np.median(np.abs(impedance[weight > 0])))
    theta[:, :2] = solved[:, :2]
    theta[:, linear[2:]] = np.log(np.maximum(solved[:, 2:], smallest))
    negative = (solved[:, 2:] <= 0).any(axis=1)
    return theta[np.lexsort((left, negative))[:KEPT]]


def fit(
    circuit: Circuit,
    omega: Array,
    impedance: Complex,
    weight: Array,
    *,
    start: Array,
    noise: Array,
    prior: Prior | None = None,
) -> Fit:
    """Fit sweeps by Levenberg-Marquardt within bounds, each on its own.

    Deviations of both parts are weighted with 1/|Z| and enter by soft L1,
    rho = 2 s^2 (sqrt(1 + (r/s)^2) - 1), so that single wild points do not lead. The covariance is
    that of an M-estimator (Huber, Robust Statistics, 1981, section 7.6),
    (J'J + prior)^-1 sum psi^2 / (N - p) / mean(psi')^2: its width comes from the residuals.

    Parameters
    ----------
    omega
        rad/s (m,).
    impedance, weight
        (b, m); the weight is 1/|Z|, and zero for points to leave out.
    start
        (b, p).
    noise
        Relative noise of one part (b,).
    """
    if prior is None:
        prior = Prior(start, np.zeros((*start.shape, circuit.size)))
    modulus = np.array([1 / np.median(row[row > 0]) if row.any() else 1.0 for row in weight], float)
    problem = _Problem(
        circuit,
        omega,
        impedance,
        weight,
        np.maximum(SOFT, 3.0 * noise)[:, None],
        prior,
        circuit.bounds(omega, modulus),
    )
    return _judged(problem, *_descend(problem, start))


@dataclass(frozen=True)
class _Problem:
    """What is minimised."""

    circuit: Circuit
    omega: Array
    impedance: Complex
    weight: Array
    soft: Array
    prior: Prior
    bounds: tuple[Array, Array]

    def deviations(self, theta: Array, at: Index) -> tuple[Array, Array]:
        expected, slopes = self.circuit.model(self.omega, theta)
        weight = self.weight[at]
        residual = _parts((self.impedance[at] - expected) * weight)
        return residual, _parts(slopes * weight[:, None])

    def pull(self, theta: Array, at: Index) -> Array:
        shift = self.prior.mean[at] - theta
        return np.asarray((self.prior.weight[at] @ shift[:, :, None])[:, :, 0])

    def cost(self, residual: Array, theta: Array, at: Index) -> Array:
        soft = self.soft[at]
        spread = 2.0 * (soft**2 * (np.sqrt(1.0 + (residual / soft) ** 2) - 1.0)).sum(axis=1)
        shift = self.prior.mean[at] - theta
        return np.asarray(spread + (self.pull(theta, at) * shift).sum(axis=1))


def _parts(values: Complex) -> Array:
    """Return real and imaginary parts side by side along the last axis."""
    return np.concatenate([values.real, values.imag], axis=-1)


def _descend(problem: _Problem, start: Array) -> tuple[Array, Array]:
    """Return the minima that are reached, and their cost."""
    theta = np.clip(start, *problem.bounds)
    damping = np.full(theta.shape[0], 1e-3)
    at = np.arange(theta.shape[0])
    residual, slopes = problem.deviations(theta, at)
    cost = problem.cost(residual, theta, at)
    for _ in range(TRIALS):
        low, high = (bound[at] for bound in problem.bounds)
        weight = 1.0 / np.sqrt(1.0 + (residual[at] / problem.soft[at]) ** 2)
        weighted = slopes[at] * weight[:, None]
        hessian = weighted @ slopes[at].transpose(0, 2, 1) + problem.prior.weight[at]
        gradient = (weighted @ residual[at][:, :, None])[:, :, 0] + problem.pull(theta[at], at)
        outward = ((theta[at] <= low) & (gradient < 0)) | ((theta[at] >= high) & (gradient > 0))
        step = _solve(hessian, gradient, ~outward, damping[at])
        trial = np.clip(theta[at] + step, low, high)
        tried, tangents = problem.deviations(trial, at)
        after = problem.cost(tried, trial, at)
        better = after <= cost[at]
        little = (step * gradient).sum(axis=1) <= DECREASE * cost[at]
        kept = at[better]
        theta[kept], cost[kept] = trial[better], after[better]
        residual[kept], slopes[kept] = tried[better], tangents[better]
        damping[at] = np.maximum(damping[at] * np.where(better, 0.1, 10.0), 1e-9)
        at = at[~little & (damping[at] < 1e9)]
        if not at.size:
            break
    return theta, cost


def _scaled(hessian: Array) -> tuple[Array, Array]:
    """Return matrices (b, p, p) with a unit diagonal, and the sizes taken out of them."""
    diagonal = np.einsum("bpp->bp", hessian)
    size = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    return hessian / (size[:, :, None] * size[:, None, :]), size


def _solve(hessian: Array, gradient: Array, used: Mask, damping: Array) -> Array:
    scaled, size = _scaled(hessian)
    both = used[:, :, None] & used[:, None, :]
    diagonal = np.where(used, 1e-12 + damping[:, None], 1.0)
    system = np.where(both, scaled, 0.0) + np.eye(gradient.shape[1]) * diagonal[:, None, :]
    right = np.where(used, gradient / size, 0.0)
    return np.asarray(np.linalg.solve(system, right[:, :, None])[:, :, 0] / size)


def _judged(problem: _Problem, theta: Array, cost: Array) -> Fit:
    """Return the fits at their minima, arcs in the order of their time constants."""
    theta = problem.circuit.in_order(theta)
    residual, slopes = problem.deviations(theta, np.arange(theta.shape[0]))
    low, high = problem.bounds
    # R_s at zero stays free: a resistance that cannot be told from an arc must have a wide sigma
    bounded = np.zeros(theta.shape[1], bool)
    bounded[[1, *problem.circuit.exponents]] = True
    free = ~(bounded & ((theta <= low) | (theta >= high)))
    points = 2 * np.count_nonzero(problem.weight, axis=1)
    root = np.sqrt(1.0 + (residual / problem.soft) ** 2)
    deviation = residual / root
    # points that are left out deviate by nothing and must not count as certain, either
    curvature = ((root**-3).sum(axis=1) - (residual.shape[1] - points)) / np.maximum(points, 1)
    curvature = np.maximum(curvature, np.finfo(float).eps)
    freedom = np.maximum(points - free.sum(axis=1), 1)
    variance = (deviation**2).sum(axis=1) / freedom / curvature**2
    variance = np.maximum(variance, np.finfo(float).eps ** 2)
    hessian = slopes @ slopes.transpose(0, 2, 1)
    both = free[:, :, None] & free[:, None, :]
    gradient = (slopes @ deviation[:, :, None])[:, :, 0]
    return Fit(
        theta=theta,
        covariance=np.where(both, variance[:, None, None] * _inverse(problem, hessian, both), 0.0),
        residual=np.sqrt((residual**2).sum(axis=1) / np.maximum(points, 1)),
        variance=variance,
        hessian=hessian / variance[:, None, None],
        gradient=gradient / (variance * curvature)[:, None],
        cost=cost,
    )


def _inverse(problem: _Problem, hessian: Array, both: Mask) -> Array:
    """Invert; directions of which nothing is known get a variance that is large, not infinite."""
    scaled, size = _scaled(hessian + problem.prior.weight)
    scaled = np.where(both, scaled, np.eye(size.shape[1]))
    values, vectors = np.linalg.eigh(scaled)
    inverse = (vectors / np.maximum(values, 1e-14)[:, None]) @ vectors.transpose(0, 2, 1)
    return np.asarray(inverse / (size[:, :, None] * size[:, None, :]))
