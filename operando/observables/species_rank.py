"""How many independent spectra a matrix holds above its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, gammainccinv

Array = npt.NDArray[np.float64]

VISIBLE = 5.0
"""Sigma that a component has on either side of an isosbestic point."""
ROUNDING = 1e-24
"""Variance of a spectrum without noise, over its mean square."""
TRACY_WIDOM = (46.446, 0.186054, 9.84801)
"""Shape, scale and offset of the gamma distribution that is that of Tracy and Widom, beta = 1."""


@dataclass(frozen=True)
class Components:
    """Singular value decomposition of n spectra of m points, q = min(n, m) components."""

    scores: Array
    """(n, q), in units of the data."""
    loadings: Array
    """(q, m), of unit length."""
    eigenvalues: Array
    """Squares of the singular values, descending, (q,)."""

    @property
    def left(self) -> tuple[Array, Array]:
        """Rows and columns of what is left when the first k components are taken out, (q,)."""
        taken = np.arange(self.eigenvalues.size)
        return self.scores.shape[0] - taken, self.loadings.shape[1] - taken


def decompose(matrix: Array) -> Components:
    """Decompose spectra (n, m) that are not centred: a mixture of p species has p components."""
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    sign = np.where(right.sum(axis=1) < 0, -1.0, 1.0)
    return Components(left * (singular * sign), right * sign[:, None], np.square(singular))


def largest_of_noise(rows: Array, columns: Array, probability: float) -> Array:
    """Return what the largest eigenvalue of white noise of unit variance exceeds by chance.

    Its distribution, centred and scaled, is that of Tracy and Widom (Johnstone, Ann. Statist. 29
    (2001) 295), which a gamma distribution is to three digits (Chiani, J. Multivar. Anal. 129
    (2014) 69).
    """
    a, b = np.sqrt(np.maximum(rows - 0.5, 0.5)), np.sqrt(np.maximum(columns - 0.5, 0.5))
    shape, scale, offset = TRACY_WIDOM
    quantile = scale * gammainccinv(shape, probability) - offset
    return np.asarray((a + b) ** 2 + (a + b) * np.cbrt(1 / a + 1 / b) * quantile)


def count_components(components: Components, *, noise: float | None, probability: float) -> int:
    """Return how many eigenvalues are larger than noise, one after the other, explains.

    Kritchman and Nadler, Chemom. Intell. Lab. Syst. 94 (2008) 19. When `noise`, the sigma of a
    point, is None, that which the components left over have.
    """
    limits = largest_of_noise(*components.left, probability)
    for taken, value in enumerate(components.eigenvalues[:-1]):
        variance = noise_variance(components, taken) if noise is None else noise**2
        if not value > limits[taken] * variance:
            return taken
    return components.eigenvalues.size - 1


def noise_variance(components: Components, count: int) -> float:
    """Return the variance of a point of the noise when `count` components are signal.

    That of what they leave, over the points less those that `count` components can follow; never
    less than what rounding makes.
    """
    rows, columns = components.scores.shape[0], components.loadings.shape[1]
    rest = float(components.eigenvalues[count:].sum()) / ((rows - count) * (columns - count))
    return float(max(rest, ROUNDING * components.eigenvalues[0] / (rows * columns)))


def malinowski(components: Components) -> tuple[Array, Array, Array]:
    """Return real error, indicator function and significance of each component, (q,).

    RE_k is the root mean square of what k components leave, IND_k = RE_k / (q - k)^2, smallest at
    the number of species; the significance is that of the F-test of reduced eigenvalues: with j
    from k on, F(1, q - k) = l_k / (r_k c_k) * sum r_j c_j / sum l_j (Malinowski, J. Chemom. 3
    (1989) 49). The last of each is NaN.
    """
    values = components.eigenvalues
    larger = max(components.scores.shape[0], components.loadings.shape[1])
    size = values.size
    rows, columns = components.left
    beyond = np.append(np.cumsum(values[::-1])[::-1][1:], 0.0)
    freedom = size - np.arange(1.0, size + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(beyond / (larger * freedom))
        indicator = error / freedom**2
        products = rows * columns
        pooled = np.append(np.cumsum(products[::-1])[::-1][1:], 0.0)
        ratio = values / products * pooled / beyond
        significance = fdtrc(1.0, np.maximum(freedom, 1.0), ratio)
    significance[-1] = error[-1] = indicator[-1] = np.nan
    return error, indicator, significance


def like_derivative(loadings: Array, slope: Array) -> Array:
    """Return the part of each loading (q, m) that lies along a slope (m,).

    The slope of the mean spectrum is what a shift of the energy adds to a frame; the first loading,
    that of the mean itself, is taken out of it beforehand.
    """
    left = slope - (slope @ loadings[0]) * loadings[0]
    length = float(np.linalg.norm(left))
    overlaps = np.square(loadings @ left / length) if length > 0 else np.zeros(len(loadings))
    overlaps[0] = 0.0
    return np.asarray(overlaps)


def isosbestic_points(grid: Array, matrix: Array, noise: Array) -> tuple[Array, Array]:
    """Return the energies where all spectra cross, and how much they differ there.

    Of two species every mixture is the same where their spectra cross, which is where the first
    component of the centred spectra (n, m) changes sign, well above the `noise` (m,) on either
    side. The second array is the reduced chi-square, over n - 1, of the values there.
    """
    apart = matrix - matrix.mean(axis=0)
    if not np.all(noise > 0):
        return np.empty(0), np.empty(0)
    _, singular, right = np.linalg.svd(apart, full_matrices=False)
    loading = right[0]
    clear = np.flatnonzero(np.abs(loading) * singular[0] > VISIBLE * noise)
    changes = np.flatnonzero(np.diff(np.sign(loading[clear])) != 0)
    energies, chi2 = [], []
    for left, right_end in zip(clear[changes], clear[changes + 1], strict=True):
        inner = loading[left : right_end + 1]
        at = left + int(np.flatnonzero(np.sign(inner[:-1]) != np.sign(inner[1:]))[0])
        part = loading[at] / (loading[at] - loading[at + 1])
        values = (1 - part) * apart[:, at] + part * apart[:, at + 1]
        variance = ((1 - part) * noise[at]) ** 2 + (part * noise[at + 1]) ** 2
        energies.append(grid[at] + part * (grid[at + 1] - grid[at]))
        chi2.append(np.square(values).sum() / variance / (len(matrix) - 1))
    return np.array(energies), np.array(chi2)
