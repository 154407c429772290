"""Spectra that frames are compared with, brought onto the energy axis of the frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.cubic import bend, resample, value_and_slope
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Range = tuple[float, float]
Sigma = float | xr.DataArray


@dataclass(frozen=True)
class Standards:
    """Spectra at the m points of a window."""

    names: tuple[str, ...]
    values: Array
    """(p, m)."""
    slopes: Array
    """Their derivatives, 1/eV, (p, m)."""
    noise: Array
    """(p, m, k): what one sigma of each of the k points of a spectrum does to its values; k = 0
    when no sigma is known."""

    @property
    def variance(self) -> Array:
        """Of the values, (p, m)."""
        return np.asarray(np.square(self.noise).sum(axis=2))


def inside(
    grid: Array, window: Range, *, least: int, axis: str = "energy", unit: str = "eV"
) -> slice:
    """Return the points of an ascending axis in a window, both ends included.

    Raises
    ------
    RequestError
        The axis does not ascend or does not span the window, or fewer points than `least`.
    """
    low, high = arguments.pair("window", window, f"(low, high) in {unit}")
    if not np.all(np.diff(grid) > 0):
        raise RequestError(f"{axis}: not ascending; sort it and merge points at the same {axis}")
    if not grid[0] <= low < high <= grid[-1]:
        raise RequestError(
            f"window: {window!r}; expected (low, high) within the {grid[0]:g}-{grid[-1]:g} {unit} "
            "of the frames"
        )
    start, stop = np.searchsorted(grid, [low, np.nextafter(high, np.inf)])
    if stop - start < least:
        raise RequestError(
            f"window: {window!r} {unit} holds {stop - start} points; expected {least} or more"
        )
    return slice(int(start), int(stop))


def on_points(sigma: Sigma, axis: xr.DataArray) -> Array:
    """Return the noise at every point of an axis, (m,), from a number or an array on it.

    Raises
    ------
    RequestError
        Other dimensions or points, or numbers that are not above zero.
    """
    spread, name = xr.DataArray(sigma), str(axis.name)
    if spread.dims not in ((), (name,)) or spread.dtype.kind not in "iuf":
        raise RequestError(
            f"sigma: {spread.dtype} on {spread.dims!r}; expected a number, or numbers on {name}"
        )
    if spread.ndim and spread.size != axis.size:
        raise RequestError(
            f"sigma: {spread.size} points of {name}; expected the {axis.size} of the frames"
        )
    values = np.broadcast_to(spread.values.astype(float), axis.size)
    if not (np.isfinite(values) & (values > 0)).all():
        raise RequestError(f"sigma: not finite, or not above 0, at some points of {name}")
    return np.ascontiguousarray(values)


def bring(
    spectra: Mapping[str, xr.DataArray],
    energy: Array,
    *,
    sigma: Mapping[str, Sigma] | None = None,
    called: str = "standards",
    axis: str = "energy",
    unit: str = "eV",
) -> Standards:
    """Bring spectra, each on its own axis of energy, onto `energy` (m,) by cubic splines.

    The spline (not-a-knot) is linear in the spectrum, so that its sigma is known at every point
    and the errors of neighbours, which are correlated, can be followed.

    Parameters
    ----------
    spectra
        Each on one dimension `energy` in eV, ascending, which spans all of `energy`.
    sigma
        Noise of a point of some of them: a number, or an array on the energy of the spectrum.
    called
        The name of the argument in messages.
    axis, unit
        Name and unit of the axis, where that is no energy; `sigma` is for energies only.

    Raises
    ------
    RequestError
        No mapping of spectra, a spectrum that does not span `energy` or has gaps there, sigma of
        another spectrum.
    """
    if not isinstance(spectra, Mapping):
        raise arguments.refusal(called, spectra, "a mapping from name to spectrum")
    strange = [name for name in sigma or {} if name not in spectra]
    if strange:
        raise RequestError(f"sigma of {strange!r}: no such spectrum; {called}: {list(spectra)}")
    knots, rows = [], []
    for name, spectrum in spectra.items():
        found = _finite_part(f"{called}[{name!r}]", spectrum, energy, axis, unit)
        knots.append(found)
        rows.append(_sampled(*found, energy))
    return Standards(
        names=tuple(map(str, spectra)),
        values=np.array([row[0] for row in rows]).reshape(len(rows), energy.size),
        slopes=np.array([row[1] for row in rows]).reshape(len(rows), energy.size),
        noise=_noise(spectra, knots, energy, sigma or {}),
    )


def _finite_part(
    name: str, spectrum: xr.DataArray, energy: Array, axis: str, unit: str
) -> tuple[Array, Array]:
    """Return the run of finite points of a spectrum that spans `energy`."""
    arguments.array(name, spectrum, axis)
    if spectrum[axis].attrs.get("units", unit) != unit:
        raise RequestError(f"{name}: {axis} in {spectrum[axis].attrs['units']!r}; expected {unit}")
    x = np.ascontiguousarray(spectrum[axis].values, dtype=float)
    y = np.ascontiguousarray(spectrum.values, dtype=float)
    if x.size < 4 or not np.all(np.diff(x) > 0):
        raise RequestError(f"{name}: {x.size} points of {axis}; expected 4 or more, ascending")
    gaps = np.flatnonzero(~np.isfinite(y))
    before, after = gaps[x[gaps] <= energy[0]], gaps[x[gaps] >= energy[-1]]
    start = int(before[-1]) + 1 if before.size else 0
    stop = int(after[0]) if after.size else x.size
    whole = bool(np.isfinite(y[start:stop]).all()) and stop - start >= 4
    if not whole or x[start] > energy[0] or x[stop - 1] < energy[-1]:
        raise RequestError(
            f"{name}: measured without gaps from {x[start]:g} to {x[max(stop, 1) - 1]:g} {unit} at "
            f"most; expected all of {energy[0]:g}-{energy[-1]:g} {unit}"
        )
    return x[start:stop], y[start:stop]


def _noise(
    spectra: Mapping[str, xr.DataArray],
    knots: list[tuple[Array, Array]],
    energy: Array,
    sigma: Mapping[str, Sigma],
) -> Array:
    longest = max((x.size for x, _ in knots), default=0) if sigma else 0
    noise = np.zeros((len(knots), energy.size, longest))
    for at, (name, (x, _)) in enumerate(zip(spectra, knots, strict=True)):
        if name in sigma:
            unit = resample(x, np.eye(x.size), np.tile(energy, (x.size, 1)))
            noise[at, :, : x.size] = unit.T * _of_points(str(name), sigma[name], x)
    return noise


def _of_points(name: str, sigma: Sigma, x: Array) -> Array:
    """Return the sigma of the points of a spectrum, (k,)."""
    if isinstance(sigma, xr.DataArray) and sigma.ndim:
        arguments.array(f"sigma of {name!r}", sigma, "energy")
        if not np.isin(x, sigma["energy"].values).all():
            raise RequestError(f"sigma of {name!r}: other energies than its spectrum")
        values = np.asarray(sigma.sel(energy=x).values, dtype=float)
    else:
        values = np.full(x.size, float(sigma))
    if not (np.isfinite(values) & (values >= 0)).all():
        raise RequestError(f"sigma of {name!r}: not finite or negative; expected 0 or more")
    return values


@numba.njit(nogil=True, cache=True)
def _sampled(x: Array, y: Array, points: Array) -> tuple[Array, Array]:
    """Return the spline through y(x) and its derivative at ascending points, (m,) each."""
    second = bend(x, y)
    values, slopes = np.empty(points.size), np.empty(points.size)
    at = 0
    for place in range(points.size):
        while at < x.size - 2 and points[place] >= x[at + 1]:
            at += 1
        values[place], slopes[place] = value_and_slope(x, y, second, at, points[place])
    return values, slopes
