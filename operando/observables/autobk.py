"""Background removal of EXAFS: chi(k) of many spectra by one linear operator."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline
from scipy.sparse.linalg import splu

from operando.errors import RequestError
from operando.observables.fourier import K_STEP, R_STEP, rows_of_r, taper

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Eight = tuple[float, float, float, float, float, float, float, float]

K_SQUARED = 0.26246829
"""k^2 in 1/angstrom^2 of an electron of 1 eV, 2 m_e / hbar^2 (CODATA 2018)."""
CLAMP, CLAMPED = 0.1, 3
"""The last points of chi enter the fit with this weight, so that the spline does not run away."""
FEWEST, MOST = 5, 128
"""Bounds of the number of coefficients of the background."""
NEGLIGIBLE = 1e-17
"""Relative weight of a point below which an interpolation need not look at it."""
LANES = 8
"""Spectra worked on side by side."""


@dataclass(frozen=True, kw_only=True)
class Removal:
    """The background removal of one energy grid and one e0: chi = (I - I B P) mu.

    I interpolates from the data onto the grid of k, P fits the coefficients of the background to
    `mu`, B evaluates it at the data.
    """

    k: Array
    """Grid of chi in 1/angstrom, shape (p,), from 0 in steps of `K_STEP`."""
    first: int
    """First point of the energy grid that is used."""
    raw: Array
    """k of the m points used."""
    start: Index
    """Where among them the interpolation to each k begins, shape (p,)."""
    interpolation: Array
    """Its weights, without the negligible ones, shape (p, w)."""
    fit: Array
    """P, shape (q, m)."""
    background: Array
    """I B, shape (p, q)."""

    def chi(self, mu: Array) -> Array:
        """Return chi(k) times the edge step, shape (n, p), of spectra on the whole grid, (n, all).

        A spectrum's rounding does not depend on what it is computed with.
        """
        whole = np.ascontiguousarray(mu, dtype=np.float64)
        at = self.first + self.start
        return np.asarray(
            _chi(whole, self.first, at, self.interpolation, self.fit, self.background)
        )

    def matrix(self) -> Array:
        """Return the same operator as one matrix (p, m)."""
        dense = -(self.background @ self.fit)
        columns = self.start[:, None] + np.arange(self.interpolation.shape[1])
        dense[np.arange(self.k.size)[:, None], columns] += self.interpolation
        return np.asarray(dense)


def background_removal(energy: Array, *, e0: float, rbkg: float, k_weight: int) -> Removal:
    """Prepare the background removal of all spectra on one energy grid.

    AUTOBK (Newville et al., Phys. Rev. B 47 (1993) 14126) takes for background the cubic spline in
    k that leaves least of k^w chi(k) below R = `rbkg` in its Fourier transform. With e0, knots and
    the weight of its clamp fixed, that is linear least squares: one operator serves all spectra,
    and it has a band and a dozen rows, so that it costs less than a product with its matrix.
    Knots, window and grids are those of `larch.xafs.autobk`, which alone changes the weight of its
    clamp with the size of what is left.

    Parameters
    ----------
    energy
        Ascending, shape (all,), eV; used from the last point at or below `e0` to the end.
    e0
        Zero of k in eV, fixed for a series: chi(k) jumps when it moves.
    rbkg
        In angstrom, without phase correction: below the first shell, about half its distance.
    k_weight
        The power w.

    Raises
    ------
    RequestError
        `e0` outside the data, or fewer points above it than the spline has knots.

    Notes
    -----
    Fails where `rbkg` reaches into the first shell, whose amplitude then goes into the background,
    and where the data are so coarse that oscillations fall between their points.
    """
    if not energy[0] <= e0 < energy[-1]:
        raise RequestError(f"e0: {e0!r}; expected inside the data, {energy[0]:g}-{energy[-1]:g} eV")
    first = int(np.searchsorted(energy, e0, side="right")) - 1
    raw = wavenumber(energy[first:] - e0)
    k = np.asarray(K_STEP * np.arange(int(1.01 + raw[-1] / K_STEP)), np.float64)
    knots, reach = _knots(raw, rbkg)
    basis = BSpline.design_matrix(raw, knots, 3, extrapolate=True).toarray()
    interpolation = _interpolation(raw, k)
    target = _to_minimise(k, raw[-1], reach=reach, k_weight=k_weight) @ interpolation
    start, weights = _banded(interpolation)
    return Removal(
        k=k,
        first=first,
        raw=raw,
        start=start,
        interpolation=weights,
        fit=np.linalg.pinv(target @ basis) @ target,
        background=interpolation @ basis,
    )


def wavenumber(distance: Array) -> Array:
    """Return k in 1/angstrom at a distance from e0 in eV, negative below it."""
    return np.asarray(np.sign(distance) * np.sqrt(K_SQUARED * np.abs(distance)))


def _knots(raw: Array, rbkg: float) -> tuple[Array, int]:
    """Return the knots of the background, and how many points of R it is fitted to.

    It has 1 + 2 rbkg kmax / pi coefficients: the independent points below `rbkg`.
    """
    wanted = 1 + int(2.0 * rbkg * raw[-1] / np.pi)
    reach = int(1 + (wanted - 1) * np.pi / (2.0 * R_STEP * raw[-1]))
    count = min(max(wanted, FEWEST), MOST)
    even = np.linspace(0.0, raw[-1], count)
    nearest = np.unique([int(np.abs(raw - one).argmin()) for one in even])
    if nearest.size < count:
        raise RequestError(
            f"energy: {raw.size} points from e0 on; too coarse for a background with rbkg {rbkg:g} "
            f"angstrom, which has {count} knots"
        )
    return _not_a_knot(raw[nearest]), reach


def _not_a_knot(x: Array) -> Array:
    """Return the knots of the cubic spline through values at `x`."""
    return np.concatenate([np.repeat(x[0], 4), x[2:-2], np.repeat(x[-1], 4)])


def _interpolation(raw: Array, k: Array) -> Array:
    """Return the cubic interpolation from `raw` to `k` as a matrix (p, m)."""
    knots = _not_a_knot(raw)
    at_data = BSpline.design_matrix(raw, knots, 3)
    at_grid = BSpline.design_matrix(np.clip(k, raw[0], raw[-1]), knots, 3)
    solver = splu(at_data.T.tocsc(), permc_spec="NATURAL")
    return np.asarray(solver.solve(at_grid.T.toarray()).T)


def _to_minimise(k: Array, highest: float, *, reach: int, k_weight: int) -> Array:
    """Return the matrix of what the background is to leave least of: low R, and the last points."""
    window = k**k_weight * taper(k, low=0.0, high=highest, width=0.1)
    clamp = CLAMP * np.eye(k.size)[-CLAMPED:]
    return np.vstack([*rows_of_r(k, window, points=slice(reach)), clamp])


def _banded(matrix: Array) -> tuple[Index, Array]:
    """Return where each row has its weight, and the weights there, equally many for all rows."""
    size = np.abs(matrix)
    seen = size > NEGLIGIBLE * size.max(axis=1, keepdims=True)
    begin = seen.argmax(axis=1)
    end = matrix.shape[1] - seen[:, ::-1].argmax(axis=1)
    width = int((end - begin).max())
    start = np.minimum(begin, matrix.shape[1] - width)
    return start, np.take_along_axis(matrix, start[:, None] + np.arange(width), axis=1)


@numba.njit(nogil=True, cache=True)
def _chi(
    mu: Array, first: int, start: Index, interpolation: Array, fit: Array, background: Array
) -> Array:
    """Return (I - I B P) mu for rows of `mu`, eight at a time.

    The lanes never meet and each has the same sums in the same order, full or not: a row comes out
    the same whatever stands beside it.
    """
    n, m = mu.shape
    p, q = background.shape
    out = np.empty((n, p))
    block = np.zeros((m, LANES))
    coefficients = np.empty((q, LANES))
    for begin in range(0, n, LANES):
        count = min(LANES, n - begin)
        for lane in range(count):
            for i in range(first, m):
                block[i, lane] = mu[begin + lane, i]
        for j in range(q):
            fitted = _sums(fit[j], block, first)
            for lane in range(LANES):
                coefficients[j, lane] = fitted[lane]
        for j in range(p):
            data = _sums(interpolation[j], block, start[j])
            smooth = _sums(background[j], coefficients, 0)
            for lane in range(count):
                out[begin + lane, j] = data[lane] - smooth[lane]
    return out


@numba.njit(nogil=True, cache=True)
def products(rows: Array, values: Array) -> Array:
    """Return values @ rows.T for `values` (n, m) and `rows` (p, m), rounded as `_chi` is."""
    n, m = values.shape
    out = np.empty((n, rows.shape[0]))
    block = np.zeros((m, LANES))
    for begin in range(0, n, LANES):
        count = min(LANES, n - begin)
        for lane in range(count):
            for i in range(m):
                block[i, lane] = values[begin + lane, i]
        for j in range(rows.shape[0]):
            sums = _sums(rows[j], block, 0)
            for lane in range(count):
                out[begin + lane, j] = sums[lane]
    return out


@numba.njit(nogil=True, cache=True)
def _sums(weights: Array, block: Array, first: int) -> Eight:
    """Return weights . block[first:], one sum a lane, kept in registers."""
    a = b = c = d = e = f = g = h = 0.0
    for i in range(weights.size):
        w, at = weights[i], first + i
        a += w * block[at, 0]
        b += w * block[at, 1]
        c += w * block[at, 2]
        d += w * block[at, 3]
        e += w * block[at, 4]
        f += w * block[at, 5]
        g += w * block[at, 6]
        h += w * block[at, 7]
    return a, b, c, d, e, f, g, h
