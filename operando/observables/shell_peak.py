"""Amplitude, centroid and phase of one shell of chi(R), each with its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from operando.observables.fourier import R_STEP

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Shell:
    """The points of a range of R, and the wavenumber at which its phase is taken."""

    points: slice
    """Of the grid of R; one more to either side is needed."""
    k_phase: float
    """In 1/angstrom."""

    @classmethod
    def between(cls, low: float, high: float, *, k_phase: float) -> Shell:
        """Return the shell from `low` to `high` angstrom."""
        points = slice(int(np.ceil(low / R_STEP)), int(high / R_STEP) + 1)
        return cls(points=points, k_phase=k_phase)

    @property
    def needed(self) -> slice:
        """The points of R its numbers depend on."""
        return slice(self.points.start - 1, self.points.stop + 1)


def measure_shell(chi: Complex, shell: Shell) -> tuple[Array, Array]:
    """Measure amplitude, centroid and phase of a shell.

    The amplitude is the height of the largest maximum of |chi(R)| in the shell, of the parabola
    through its three points; NaN where there is none. The centroid is the mean R weighted with
    |chi(R)|. The phase is that of the shell transformed back to k, at `k_phase`: 2 k R + delta(k)
    of a single distance, in radians, from -pi to pi; it moves by 2 k_phase times a change of R.

    Parameters
    ----------
    chi
        chi(R) at `shell.needed`, shape (n, r).

    Returns
    -------
    values
        The three numbers, shape (n, 3).
    gradients
        Their derivatives by the real parts of `chi`, then by the imaginary ones, (n, 3, 2 r).
    """
    size = np.abs(chi)
    grid = R_STEP * np.arange(shell.needed.start, shell.needed.stop)
    with np.errstate(divide="ignore", invalid="ignore"):
        direction = chi / size
        amplitude, by_size = _height(size)
        inner = size[:, 1:-1]
        total = inner.sum(axis=1)
        centroid = (grid[1:-1] * inner).sum(axis=1) / total
        along = np.zeros_like(size)
        along[:, 1:-1] = (grid[1:-1] - centroid[:, None]) / total[:, None]
        back = np.where(_inside(size.shape[1]), np.exp(2j * shell.k_phase * grid), 0.0)
        transformed = 1j * (chi * back).sum(axis=1)
        turn = 1j * back / transformed[:, None]
    values = np.stack([amplitude, centroid, np.angle(transformed)], axis=1)
    real = np.stack([by_size * direction.real, along * direction.real, turn.imag], axis=1)
    imaginary = np.stack([by_size * direction.imag, along * direction.imag, turn.real], axis=1)
    return values, np.concatenate([real, imaginary], axis=2)


def _inside(count: int) -> npt.NDArray[np.bool_]:
    inside = np.ones(count, np.bool_)
    inside[[0, -1]] = False
    return inside


def _height(size: Array) -> tuple[Array, Array]:
    """Return the largest maximum between the ends of each row, NaN without, and its gradient.

    The top of the parabola is a weighted sum of its three points; where the top lies changes to
    first order nothing.
    """
    middle = size[:, 1:-1]
    top = (middle >= size[:, :-2]) & (middle > size[:, 2:])
    at = np.where(top, middle, -1.0).argmax(axis=1)
    rows = np.arange(at.size)
    before, peak, after = (size[rows, at + step] for step in (0, 1, 2))
    bend = before - 2.0 * peak + after
    offset = np.where(top.any(axis=1), 0.5 * (before - after) / bend, np.nan)
    weights = (
        0.5 * offset * (offset - 1.0),
        1.0 - offset**2,
        0.5 * offset * (offset + 1.0),
    )
    gradient = np.zeros_like(size)
    for step, weight in enumerate(weights):
        gradient[rows, at + step] = weight
    return weights[0] * before + weights[1] * peak + weights[2] * after, gradient


@numba.njit(nogil=True, cache=True)
def variances(gradients: Array, covariance: Array) -> Array:
    """Return g C g for the gradients (n, 3, q) of numbers with one covariance (q, q), (n, 3)."""
    n, count, size = gradients.shape
    out = np.empty((n, count))
    product = np.empty(size)
    for row in range(n):
        for number in range(count):
            gradient = gradients[row, number]
            product[:] = 0.0
            for i in range(size):
                if gradient[i] != 0.0:
                    for j in range(size):
                        product[j] += gradient[i] * covariance[i, j]
            total = 0.0
            for j in range(size):
                total += product[j] * gradient[j]
            out[row, number] = total
    return out


@numba.njit(nogil=True, cache=True)
def propagated(gradients: Array, rows: Array, variance: Array) -> Array:
    """Return the variances (n, 3) of numbers that depend on `mu` through `rows` (q, m).

    `variance` (n, m) is that of the points of `mu`, which are independent.
    """
    n, count, size = gradients.shape
    out = np.empty((n, count))
    weight = np.empty(rows.shape[1])
    for row in range(n):
        for number in range(count):
            weight[:] = 0.0
            for i in range(size):
                if gradients[row, number, i] != 0.0:
                    for j in range(weight.size):
                        weight[j] += gradients[row, number, i] * rows[i, j]
            total = 0.0
            for j in range(weight.size):
                total += weight[j] * weight[j] * variance[row, j]
            out[row, number] = total
    return out
