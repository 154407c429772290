"""Spectra derived from a series: differences to a frame of the same state, and derivatives."""

from __future__ import annotations

from functools import partial

import numba
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.rows import whole_rows
from operando.corrections.white_noise import white_noise
from operando.errors import RequestError
from operando.model import FAULTS, STATES, positions
from operando.observables.standards import Array, Sigma, bring

Index = npt.NDArray[np.intp]

AGAINST = ("state", "first")
LEAST_POINTS = 5
"""Points that a parabola is fitted to."""


def difference_spectra(
    norm: xr.DataArray,
    *,
    against: str | xr.DataArray = "state",
    count: int = 1,
    sigma: Sigma | None = None,
) -> xr.Dataset:
    """Subtract from every frame what the sample was when it last should have been the same.

    The reference of a frame is the mean of the first `count` frames at its position and in the same
    electrochemical state (charge, discharge, rest ...), so that what reverses with the state of the
    cell and is equal in every cycle does not show, and what stays does.

    Parameters
    ----------
    norm
        On (time, energy), numpy or dask. Coordinate `position` where there are several spots, and
        `state` (see `operando.model.STATES`).
    against
        "state"; "first": the first frames at the position, whatever their state; or one spectrum on
        its own `energy`, which spans that of the frames.
    count
        Frames in the mean, fewer where there are fewer; those with a fault (coordinate
        `frame_flag`) are passed over.
    sigma
        Of `norm`: one number, or on time, energy or both. When None, the white noise estimated for
        each frame over all its energies (`operando.corrections.white_noise`).

    Returns
    -------
    Dataset
        `difference` and `difference_sigma` on (time, energy), with the coordinates of `norm`, lazy
        where it is and equal for any chunking; `reference_time` on time, of the first frame of the
        reference (NaT: none). A frame that is part of its own reference has a smaller sigma, the
        only one zero difference and zero sigma. NaN where the state is unknown.

    Raises
    ------
    RequestError
        No axes of time and energy, no coordinate `state`, a spectrum that does not span the
        energies, sigma of other dimensions.

    Notes
    -----
    Frames of one state differ also by their state of charge: compare frames at like voltage. An
    energy error of 0.05 eV looks like a difference of 0.05 times the derivative spectrum.
    """
    arguments.array("norm", norm, "time", "energy")
    few = arguments.whole("count", count, lambda n: n >= 1, "frames, 1 or more")
    norm = norm.transpose("time", "energy")
    variance = _sigma_of(norm, sigma) ** 2
    if isinstance(against, xr.DataArray):
        fixed = bring({"against": against}, norm["energy"].values.astype(float), called="against")
        return _labelled(norm, norm - fixed.values[0], variance, against="a spectrum")
    told = arguments.chosen("against", against, AGAINST)
    group, members = _groups(norm, told, few)
    own = np.ones(group.size)
    for rows in members:
        own[rows] = 1 - 2 / len(rows)
    of_references = [_sum(variance, rows) / len(rows) ** 2 for rows in members]
    spread = variance * xr.DataArray(own, dims="time") + _of_group(norm, of_references, group)
    means = [_sum(norm, rows) / len(rows) for rows in members]
    result = _labelled(norm, norm - _of_group(norm, means, group), spread, against=told)
    first = [norm["time"].values[rows[0]] for rows in members]
    moments = np.array([*first, np.datetime64("NaT")], "datetime64[ns]")[group]
    result["reference_time"] = ("time", moments, {"long_name": "first frame of the reference"})
    return result.assign_attrs(count=few)


def derivative_spectra(
    norm: xr.DataArray, *, width: float | None = None, sigma: Sigma | None = None
) -> xr.Dataset:
    """Return the derivative of every spectrum along energy.

    At each point the slope of the parabola fitted by least squares to the points within half of
    `width` on either side, five at least (local quadratic regression; on an even grid the filter of
    Savitzky and Golay, Anal. Chem. 36 (1964) 1627). The grid need not be even. Every derivative is
    a sum over points with known weights, and so is its variance.

    Parameters
    ----------
    norm
        On (time, energy), numpy or dask; energy in eV, ascending.
    width
        In eV; None takes five points everywhere. Wider is smoother and lower: the derivative of an
        arctangent of half width G loses some (width/G)^2 / 20 of its height.
    sigma
        As that of `difference_spectra`.

    Returns
    -------
    Dataset
        `derivative` (1/eV) and `derivative_sigma` on (time, energy), with the coordinates of
        `norm`, lazy where it is and equal for any chunking. NaN within reach of a missing point.

    Raises
    ------
    RequestError
        No axes of time and energy, fewer than five energies or none ascending, sigma of other
        dimensions.

    Notes
    -----
    For the eye and for the calibration of a foil: the position of the maximum of a derivative is
    no measure of a shift (`track_edge`).
    """
    arguments.array("norm", norm, "time", "energy")
    norm = norm.transpose("time", "energy")
    energy = np.asarray(norm["energy"].values, dtype=float)
    if energy.size < LEAST_POINTS or not np.all(np.diff(energy) > 0):
        raise RequestError(f"energy: {energy.size} points; expected 5 or more, ascending")
    reach = 0.0
    if width is not None:
        reach = arguments.number("width", width, lambda ev: ev > 0, "eV above 0") / 2
    bounds, weights = slope_weights(energy, reach)
    spread = _sigma_of(norm, sigma) ** 2
    slope, variance = (
        xr.apply_ufunc(
            partial(_weighted, bounds=bounds, weights=weights**power),
            whole_rows(part),
            input_core_dims=[["energy"]],
            output_core_dims=[["energy"]],
            output_dtypes=[np.float64],
            dask="parallelized",
        )
        for part, power in ((norm, 1), (spread, 2))
    )
    facts = {"units": "1/eV", "long_name": "derivative", "ancillary_variables": "derivative_sigma"}
    about = {"units": "1/eV", "long_name": "standard deviation of the derivative"}
    result = xr.Dataset(
        {
            "derivative": slope.assign_attrs(facts),
            "derivative_sigma": (variance**0.5).assign_attrs(about),
        }
    )
    return result.assign_attrs(signal=str(norm.name), width="5 points" if width is None else width)


def slope_weights(energy: Array, reach: float) -> tuple[Index, Array]:
    """Return where its points begin and end (m, 2) and weights (m, k) of the slope at every point.

    Of the parabola through the points within `reach`, those farther away where there are not five.
    """
    bounds = np.empty((energy.size, 2), np.intp)
    for at, centre in enumerate(energy):
        start = int(np.searchsorted(energy, centre - reach))
        stop = int(np.searchsorted(energy, centre + reach, side="right"))
        start, stop = min(start, at), max(stop, at + 1)
        while stop - start < LEAST_POINTS:
            before = centre - energy[start - 1] if start else np.inf
            after = energy[stop] - centre if stop < energy.size else np.inf
            start, stop = (start - 1, stop) if before < after else (start, stop + 1)
        bounds[at] = start, stop
    weights = np.zeros((energy.size, int(np.ptp(bounds, axis=1).max())))
    for at, (start, stop) in enumerate(bounds):
        away = energy[start:stop] - energy[at]
        scale = float(np.abs(away).max())
        powers = np.vander(away / scale, 3, increasing=True)
        weights[at, : stop - start] = np.linalg.pinv(powers)[1] / scale
    return bounds, weights


@numba.njit(nogil=True, cache=True)
def _sums(rows: Array, bounds: Index, weights: Array) -> Array:
    out = np.empty((rows.shape[0], weights.shape[0]))
    for row in range(rows.shape[0]):
        for at in range(weights.shape[0]):
            total = 0.0
            for point in range(bounds[at, 0], bounds[at, 1]):
                total += weights[at, point - bounds[at, 0]] * rows[row, point]
            out[row, at] = total
    return out


def _weighted(rows: Array, *, bounds: Index, weights: Array) -> Array:
    sums = _sums(np.ascontiguousarray(rows, dtype=float), bounds, np.ascontiguousarray(weights))
    return np.asarray(sums)


def _sigma_of(norm: xr.DataArray, sigma: Sigma | None) -> xr.DataArray:
    """Return the noise of every point, on (time, energy)."""
    spread = _estimated(norm) if sigma is None else xr.DataArray(sigma)
    strange = [dim for dim in spread.dims if dim not in ("time", "energy")]
    wrong = [dim for dim in spread.dims if spread.sizes[dim] != norm.sizes.get(dim)]
    if strange or wrong or spread.dtype.kind not in "iuf":
        raise RequestError(
            f"sigma: {spread.dtype} on {dict(spread.sizes)}; expected a number, or numbers on the "
            f"time or energy of norm, {dict(norm.sizes)}"
        )
    # By position: the frames are the same, and labels would leave out what has no partner.
    bare = xr.DataArray(spread.variable).reset_coords(drop=True)
    return (xr.ones_like(norm) * bare).transpose("time", "energy")


def _estimated(norm: xr.DataArray) -> xr.DataArray:
    estimated: xr.DataArray = xr.apply_ufunc(
        partial(white_noise, norm["energy"].values.astype(float)),
        whole_rows(norm),
        input_core_dims=[["energy"]],
        output_dtypes=[np.float64],
        dask="parallelized",
    )
    return estimated


def _groups(norm: xr.DataArray, against: str, count: int) -> tuple[Index, list[Index]]:
    """Return the group of every frame (-1: none) and the frames of each group's reference."""
    if against == "state" and "state" not in norm.coords:
        raise RequestError(
            "norm: no coordinate 'state'; align it with the electrochemistry, or take "
            "against='first'"
        )
    frames = norm.sizes["time"]
    state = norm["state"].values if against == "state" else np.full(frames, STATES["rest"])
    state = np.broadcast_to(state, frames)
    faulty = np.zeros(frames, bool)
    if "frame_flag" in norm.coords:
        faulty = (norm["frame_flag"].values & FAULTS) != 0
    group = np.full(frames, -1, np.intp)
    members: list[Index] = []
    for rows in positions(norm).values():
        for value in np.unique(state[rows]):
            alike = rows[state[rows] == value]
            reference = alike[~faulty[alike]][:count]
            if value != STATES["unknown"] and reference.size:
                group[alike] = len(members)
                members.append(reference)
    return group, members


def _sum(array: xr.DataArray, rows: Index) -> xr.DataArray:
    """Return the sum of some frames, added in their order whatever the chunks are."""
    total = array.isel(time=int(rows[0]), drop=True)
    for row in rows[1:]:
        total = total + array.isel(time=int(row), drop=True)
    return total.reset_coords(drop=True)


def _of_group(norm: xr.DataArray, of_groups: list[xr.DataArray], group: Index) -> xr.DataArray:
    """Return on (time, energy) what there is on energy for the group of each frame, NaN without."""
    nothing = xr.full_like(norm.isel(time=0, drop=True).reset_coords(drop=True), np.nan)
    several = xr.concat([*of_groups, nothing], dim="group", coords="minimal", compat="override")
    member = xr.DataArray(group, dims="time")
    if norm.chunks:
        several = several.copy(data=several.data.rechunk(-1))
        member = member.chunk(time=norm.chunksizes["time"])
    taken: xr.DataArray = xr.apply_ufunc(
        lambda rows, number: rows[number],
        several,
        member,
        input_core_dims=[["group", "energy"], []],
        output_core_dims=[["energy"]],
        output_dtypes=[np.float64],
        dask="parallelized",
    )
    return taken


def _labelled(
    norm: xr.DataArray, difference: xr.DataArray, variance: xr.DataArray, *, against: str
) -> xr.Dataset:
    facts = {"units": "1", "long_name": "difference to the reference"}
    about = {"units": "1", "long_name": "standard deviation of the difference"}
    result = xr.Dataset(
        {
            "difference": difference.assign_attrs(facts, ancillary_variables="difference_sigma"),
            "difference_sigma": (variance**0.5).assign_attrs(about),
        }
    )
    return result.assign_attrs(signal=str(norm.name), against=against)
