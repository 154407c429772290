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


def inside(energy: Array, window: Range, *, least: int) -> slice:
    """Return the points of an ascending energy axis in a window, both ends included.

    Raises
    ------
    RequestError
        The axis does not ascend or does not span the window, or fewer points than `least`.
    """
    low, high = arguments.pair("window", window, "(low, high) in eV")
    if not np.all(np.diff(energy) > 0):
        raise RequestError("energy: not ascending; sort it and merge points at the same energy")
    if not energy[0] <= low < high <= energy[-1]:
        raise RequestError(
            f"window: {window!r}; expected (low, high) within the {energy[0]:g}-{energy[-1]:g} eV "
            "of the frames"
        )
    start, stop = np.searchsorted(energy, [low, np.nextafter(high, np.inf)])
    if stop - start < least:
        raise RequestError(
            f"window: {window!r} eV holds {stop - start} points; expected {least} or more"
        )
    return slice(int(start), int(stop))


def on_points(sigma: Sigma, energy: xr.DataArray) -> Array:
    """Return the noise at every point of an energy axis, (m,), from a number or an array on it.

    Raises
    ------
    RequestError
        Other dimensions or energies, or numbers that are not above zero.
    """
    spread = xr.DataArray(sigma)
    if spread.dims not in ((), ("energy",)) or spread.dtype.kind not in "iuf":
        raise RequestError(
            f"sigma: {spread.dtype} on {spread.dims!r}; expected a number, or numbers on energy"
        )
    if spread.ndim and spread.size != energy.size:
        raise RequestError(f"sigma: {spread.size} energies; expected the {energy.size} of norm")
    values = np.broadcast_to(spread.values.astype(float), energy.size)
    if not (np.isfinite(values) & (values > 0)).all():
        raise RequestError("sigma: not finite, or not above 0, at some energies")
    return np.ascontiguousarray(values)


def bring(
    spectra: Mapping[str, xr.DataArray],
    energy: Array,
    *,
    sigma: Mapping[str, Sigma] | None = None,
    called: str = "standards",
) -> Standards:
    """Bring spectra, each on its own energy axis, onto `energy` (m,) by cubic splines.

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
        found = _finite_part(f"{called}[{name!r}]", spectrum, energy)
        knots.append(found)
        rows.append(_sampled(*found, energy))
    return Standards(
        names=tuple(map(str, spectra)),
        values=np.array([row[0] for row in rows]).reshape(len(rows), energy.size),
        slopes=np.array([row[1] for row in rows]).reshape(len(rows), energy.size),
        noise=_noise(spectra, knots, energy, sigma or {}),
    )


def _finite_part(name: str, spectrum: xr.DataArray, energy: Array) -> tuple[Array, Array]:
    """Return the run of finite points of a spectrum that spans `energy`."""
    arguments.array(name, spectrum, "energy")
    if spectrum["energy"].attrs.get("units", "eV") != "eV":
        raise RequestError(f"{name}: energy in {spectrum['energy'].attrs['units']!r}; expected eV")
    x = np.ascontiguousarray(spectrum["energy"].values, dtype=float)
    y = np.ascontiguousarray(spectrum.values, dtype=float)
    if x.size < 4 or not np.all(np.diff(x) > 0):
        raise RequestError(f"{name}: {x.size} energies; expected 4 or more, ascending")
    gaps = np.flatnonzero(~np.isfinite(y))
    before, after = gaps[x[gaps] <= energy[0]], gaps[x[gaps] >= energy[-1]]
    start = int(before[-1]) + 1 if before.size else 0
    stop = int(after[0]) if after.size else x.size
    whole = bool(np.isfinite(y[start:stop]).all()) and stop - start >= 4
    if not whole or x[start] > energy[0] or x[stop - 1] < energy[-1]:
        raise RequestError(
            f"{name}: measured without gaps from {x[start]:g} to {x[max(stop, 1) - 1]:g} eV at "
            f"most; expected all of {energy[0]:g}-{energy[-1]:g} eV"
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
