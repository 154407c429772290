"""Pre-edge line, post-edge polynomial and edge step of many X-ray absorption spectra at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.rows import whole_rows
from operando.corrections.white_noise import white_noise
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Operators:
    """What turns a spectrum on one grid into pre-edge line, post-edge polynomial and step.

    line = `line` mu, curve = `curve` mu - `share` line, step = `at_edge` curve; the polynomials
    are in E - e0.
    """

    pre: slice
    """Points of the pre-edge range."""
    post: slice
    """Points of the post-edge range."""
    line: Array
    """(2, m); zero outside the pre-edge range."""
    curve: Array
    """(degree + 1, m); zero outside the post-edge range."""
    share: Array
    """What each coefficient of the line takes from those of the curve, (degree + 1, 2)."""
    at_edge: Array
    """Powers of the grid point nearest `e0`, (degree + 1,)."""

    @property
    def step_weights(self) -> Array:
        """Weights w of step = w . mu, shape (m,)."""
        return np.asarray(self.at_edge @ (self.curve - self.share @ self.line))


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """Spectra with the pre-edge line taken off and the edge step set to one."""

    norm: Array
    """Normalised absorption, shape (n, m); NaN where `mu` is, all NaN where the step is."""
    step: Array
    """Edge step at `e0`, shape (n,), with its sign; NaN where a range holds a NaN, or zero step."""
    curve: Array
    """Coefficients of the post-edge polynomial in E - e0, the line taken off, (n, degree + 1)."""
    operators: Operators
    """Of this grid."""


def normalise(
    energy: Array, mu: Array, *, e0: float, pre: Range, post: Range, degree: int
) -> Normalised:
    """Normalise spectra on one grid with one fixed `e0` and fixed ranges.

    Fixing them makes pre-edge line, post-edge polynomial and step linear in `mu` (`Operators`):
    one small matrix serves all spectra, and step = w . mu gives its uncertainty exactly,
    sigma_step = sqrt(sum w_i^2 sigma_i^2).

    Parameters
    ----------
    energy
        Ascending, shape (m,), eV.
    mu
        Absorption, shape (n, m).
    e0
        Edge energy in eV. The step is taken at the nearest grid point, as larch does.
    pre, post
        Ranges in eV relative to `e0`. A range holds the points from the last one at or below its
        lower limit to the one before the nearest to its upper limit: the rule of
        `larch.xafs.pre_edge.preedge`, with which the result agrees to rounding.
    degree
        Of the post-edge polynomial, 0 to 2.

    Raises
    ------
    RequestError
        A range holds too few points (names it and what the data span), the ranges overlap, or
        `degree` is not 0, 1 or 2.

    Notes
    -----
    Fails when the post-edge range starts inside the white line or ends before the oscillations
    average out: the step is then biased, which its sigma does not know.
    """
    using = operators(energy, e0=e0, pre=pre, post=post, degree=degree)
    norm, step, curve = _normalise(
        np.ascontiguousarray(mu, dtype=float),
        energy - e0,
        (using.pre.start, using.pre.stop, using.post.start, using.post.stop),
        (using.line, using.curve, using.share, using.at_edge),
    )
    return Normalised(norm=norm, step=step, curve=curve, operators=using)


def operators(energy: Array, *, e0: float, pre: Range, post: Range, degree: int) -> Operators:
    """Return the operators of `normalise` for one grid; raises as it does."""
    if degree not in (0, 1, 2):
        raise RequestError(f"degree: {degree!r}; expected 0, 1 or 2")
    before = points_in(energy, e0=e0, limits=pre, minimum=3, name="pre")
    after = points_in(energy, e0=e0, limits=post, minimum=degree + 2, name="post")
    if before.stop > after.start:
        raise RequestError(f"pre {pre!r} and post {post!r}: overlap; pre comes first")
    distance = energy - e0
    # Polynomials in a variable of order one, or the normal equations lose half their digits.
    scale = float(np.abs(distance).max())
    powers = np.vander(distance / scale, 3, increasing=True)
    units = (1 / scale) ** np.arange(3)
    line = np.zeros((2, energy.size))
    line[:, before] = np.linalg.pinv(powers[before, :2]) * units[:2, None]
    fit = np.linalg.pinv(powers[after, : degree + 1]) * units[: degree + 1, None]
    curve = np.zeros((degree + 1, energy.size))
    curve[:, after] = fit
    nearest = distance[int(np.abs(distance).argmin())]
    return Operators(
        pre=before,
        post=after,
        line=line,
        curve=curve,
        share=fit @ np.vander(distance[after], 2, increasing=True),
        at_edge=nearest ** np.arange(degree + 1.0),
    )


def points_in(energy: Array, *, e0: float, limits: Range, minimum: int, name: str) -> slice:
    """Return the grid points of a range relative to `e0`, by the rule given in `normalise`.

    Raises
    ------
    RequestError
        Fewer than `minimum` points.
    """
    low, high = limits[0] + e0, limits[1] + e0
    start = max(int(np.searchsorted(energy, low, side="right")) - 1, 0)
    stop = int(np.abs(energy - high).argmin())
    if stop - start < minimum:
        raise RequestError(
            f"{name} {limits!r}: {max(stop - start, 0)} points in {low:g}-{high:g} eV; at least "
            f"{minimum} are needed and the data span {energy[0]:g}-{energy[-1]:g} eV"
        )
    return slice(start, stop)


@numba.njit(nogil=True, cache=True)
def weighted_sum(y: Array, weights: Array, start: int, stop: int) -> float:
    """Return sum(weights y) from `start` to `stop`.

    Unlike BLAS, whose rounding depends on how many rows it is given, always in the same order;
    eight sums side by side use the width of the machine.
    """
    a = b = c = d = e = f = g = h = 0.0
    whole = start + (stop - start) // 8 * 8
    for at in range(start, whole, 8):
        a += y[at] * weights[at]
        b += y[at + 1] * weights[at + 1]
        c += y[at + 2] * weights[at + 2]
        d += y[at + 3] * weights[at + 3]
        e += y[at + 4] * weights[at + 4]
        f += y[at + 5] * weights[at + 5]
        g += y[at + 6] * weights[at + 6]
        h += y[at + 7] * weights[at + 7]
    for at in range(whole, stop):
        a += y[at] * weights[at]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@numba.njit(nogil=True, cache=True)
def _normalise(
    mu: Array,
    distance: Array,
    bounds: tuple[int, int, int, int],
    matrices: tuple[Array, Array, Array, Array],
) -> tuple[Array, Array, Array]:
    line, curve, share, at_edge = matrices
    norm = np.empty(mu.shape)
    steps = np.empty(mu.shape[0])
    curves = np.empty((mu.shape[0], curve.shape[0]))
    for row in range(mu.shape[0]):
        offset = weighted_sum(mu[row], line[0], bounds[0], bounds[1])
        slope = weighted_sum(mu[row], line[1], bounds[0], bounds[1])
        step = 0.0
        for term in range(curve.shape[0]):
            found = weighted_sum(mu[row], curve[term], bounds[2], bounds[3])
            curves[row, term] = found - share[term, 0] * offset - share[term, 1] * slope
            step += at_edge[term] * curves[row, term]
        steps[row] = step if step != 0 else np.nan
        for at in range(distance.size):
            norm[row, at] = (mu[row, at] - offset - slope * distance[at]) / steps[row]
    return norm, steps, curves


def normalised(
    mu: xr.DataArray, *, e0: float, pre: Range, post: Range, degree: int = 2
) -> xr.Dataset:
    """Normalise a series of spectra; parameters and errors are those of `normalise`.

    Returns
    -------
    Dataset
        `norm` on (time, energy); `edge_step` and `edge_step_sigma` on time, statistical: exact for
        the white noise found in the post-edge range of each spectrum (`white_noise`). As lazy as
        `mu`, which is on (time, energy) with energy in eV, ascending; a dask array is normalised
        by chunks of time.
    """
    return _mapped(mu, "norm", e0=e0, pre=pre, post=post, degree=degree)


def flattened(
    mu: xr.DataArray, *, e0: float, pre: Range, post: Range, degree: int = 2
) -> xr.Dataset:
    """Normalise a series and take off the curvature beyond the edge: `flat` of larch.

    flat(E) = norm(E) - (c(E) - c(e0)) / step from the grid point nearest `e0` on, with the
    post-edge polynomial c (its line taken off), so that the spectrum goes to one. For display and
    linear combinations; EXAFS begins from `norm`.

    Returns
    -------
    Dataset
        As `normalised`, with `flat` in place of `norm`.
    """
    return _mapped(mu, "flat", e0=e0, pre=pre, post=post, degree=degree)


def _mapped(mu: xr.DataArray, name: str, *, e0: float, **parameters: Any) -> xr.Dataset:
    """Normalise by chunks of time; `name` says what becomes of the spectra, "norm" or "flat"."""
    arguments.array("mu", mu, "time", "energy")
    energy = mu["energy"].values.astype(float)
    if not np.all(np.diff(energy) > 0):
        raise RequestError("energy: not ascending; sort it and merge points at the same energy")
    spectra, step, sigma = xr.apply_ufunc(
        partial(_rows, energy=energy, flat=name == "flat", e0=e0, **parameters),
        whole_rows(mu),
        input_core_dims=[["energy"]],
        output_core_dims=[["energy"], [], []],
        output_dtypes=[np.float64] * 3,
        dask="parallelized",
    )
    told = {"norm": "normalised absorption", "flat": "normalised absorption, flattened"}
    facts = {"units": "1", "long_name": "edge step", "ancillary_variables": "edge_step_sigma"}
    spread = {"units": "1", "long_name": "statistical standard deviation of the edge step"}
    return xr.Dataset(
        {
            name: spectra.assign_attrs(units="1", long_name=told[name], normalised=1),
            "edge_step": step.assign_attrs(facts),
            "edge_step_sigma": sigma.assign_attrs(spread),
        },
        attrs={"e0": e0, **parameters, "signal": str(mu.name)},
    ).transpose("time", ...)


def _rows(
    mu: Array, *, energy: Array, flat: bool, e0: float, **parameters: Any
) -> tuple[Array, Array, Array]:
    done = normalise(energy, mu, e0=e0, **parameters)
    after = done.operators.post
    noise = white_noise(energy[after], mu[:, after])
    spread = noise * np.sqrt(np.sum(done.operators.step_weights**2))
    if flat:
        nearest = int(np.abs(energy - e0).argmin())
        powers = np.vander(energy[nearest:] - e0, done.curve.shape[1], increasing=True)
        for power, coefficient in zip((powers - powers[0]).T, done.curve.T, strict=True):
            done.norm[:, nearest:] -= np.outer(coefficient / done.step, power)
    return done.norm, done.step, np.where(np.isfinite(done.step), spread, np.nan)
