"""Intensities relative to a band that does not change, or to the power of the laser."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.count_noise import noise_of_frames
from operando.corrections.history import recorded
from operando.corrections.intensities import spectra
from operando.errors import RequestError
from operando.model import axes_of, flag_attributes

Array = npt.NDArray[np.float64]
Range = tuple[float, float]

SCALE_FLAGS: dict[str, int] = {"no_band": 1, "no_data": 2, "no_power": 4}
"""`scale_flag`: why a frame is NaN because there is nothing to divide it by.

`no_band`: the band has less than four sigma. `no_data`: points of it are missing. `no_power`: the
power is unknown or not above zero.
"""
DETECTED = 4.0
FLANK = 0.2
"""Part of the points of the window, at each end, that the line under the band is fitted to."""
LEAST_POINTS = 10


def normalise_to_band(frames: xr.Dataset, *, band: Range) -> xr.Dataset:
    """Divide every frame by the area of a band that stays as it is, such as the electrolyte's.

    The area is the sum over the window of what lies above the straight line fitted to its outer
    fifths; it is linear in the points, so that its sigma follows exactly from theirs. What the
    flanks cut off of the band is the same part in all frames.

    Parameters
    ----------
    frames
        `intensity` on (time, axis).
    band
        Lowest and highest value of the axis: the band, and some background on both sides.

    Returns
    -------
    Dataset
        `frames` with `intensity`, `intensity_sigma` and `baseline` (as far as there is one) divided
        by `scale`, a coordinate on time with its `scale_sigma` and `scale_flag`. Sigma of the
        intensity is kept, or estimated from each frame; it does not contain that of `scale`, which
        all points of a frame have in common: it adds to their relative error only where frames are
        compared. A frame whose band has less than 4 sigma is NaN and flagged. Lazy where the frames
        are, except `scale`, which needs the window of all frames.

    Raises
    ------
    RequestError
        No intensity on time and one axis, a window outside of it or of fewer than 10 points.

    Notes
    -----
    Fails where the band of the sample itself grows inside the window. Never normalise to the
    highest point of a spectrum: what changes is then spread over everything that does not.
    """
    series, axis = spectra(frames)
    low, high = arguments.pair("band", band, f"lowest and highest {axis}")
    grid = series[axis].values.astype(float)
    inside = (grid >= low) & (grid <= high)
    if inside.sum() < LEAST_POINTS or not grid[0] <= low < high <= grid[-1]:
        raise RequestError(
            f"band: {band!r} holds {inside.sum()} points; expected {LEAST_POINTS} or more within "
            f"the {grid[0]:g}-{grid[-1]:g} of {axis}"
        )
    weights = area_weights(grid[inside])
    area, sigma = xr.apply_ufunc(
        partial(band_area, weights=weights),
        series["intensity"].transpose("time", axis).isel({axis: inside}),
        noise_of_frames(series, axis).isel({axis: inside}),
        input_core_dims=[[axis], [axis]],
        output_core_dims=[[], []],
        output_dtypes=[float, float],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    area, sigma = xr.Dataset({"area": area, "sigma": sigma}).compute().data_vars.values()
    value, spread = area.values, sigma.values
    flag = np.where(value > DETECTED * spread, 0, SCALE_FLAGS["no_band"])
    flag = np.where(np.isfinite(value) & np.isfinite(spread), flag, SCALE_FLAGS["no_data"])
    units = f"{series['intensity'].attrs.get('units', '1')} * {series[axis].attrs['units']}"
    result = _divided(series, value, spread, flag, units=units, meaning="area of the band")
    return recorded(result, "reference_band", band=[low, high])


def normalise_to_power(frames: xr.Dataset, *, power: str | float = "laser_power") -> xr.Dataset:
    """Divide every frame by the power of the laser.

    Parameters
    ----------
    power
        A variable or coordinate on time, with units, and `<name>_sigma` where it is known; or one
        number for all frames, in mW.

    Returns
    -------
    Dataset
        As that of `normalise_to_band`; frames whose power is unknown or not above zero are NaN.

    Raises
    ------
    RequestError
        No such variable, one without units or not on time, a number that is not above zero.
    """
    series, _ = spectra(frames)
    count = series.sizes["time"]
    if isinstance(power, str):
        known = [str(name) for name in series.variables if series[name].dims == ("time",)]
        if power not in known or series[power].dtype.kind not in "iuf":
            raise RequestError(f"power: no numbers {power!r} on time; there are {known}")
        if "units" not in series[power].attrs:
            raise RequestError(f"power: {power!r} has no units; set attrs['units']")
        units, value = series[power].attrs["units"], series[power].values.astype(float)
        named = f"{power}_sigma"
        spread = series[named].values.astype(float) if named in series else np.zeros(count)
    else:
        watts = arguments.number("power", power, lambda p: 0 < p < np.inf, "mW, or a variable")
        units, value, spread = "mW", np.full(count, watts), np.zeros(count)
    with np.errstate(invalid="ignore"):
        flag = np.where((value > 0) & np.isfinite(value), 0, SCALE_FLAGS["no_power"])
    result = _divided(series, value, spread, flag, units=units, meaning="power of the laser")
    return recorded(result, "laser_power", power=power)


def area_weights(grid: Array) -> Array:
    """Return the weight of each point (m,) in the area above the line through the flanks.

    Trapezoids over the grid, less what they make of the straight line that is fitted to the outer
    points by least squares.
    """
    half = np.diff(grid) / 2
    step = np.r_[half, 0.0] + np.r_[0.0, half]
    count = max(round(FLANK * grid.size), 2)
    flank = np.r_[0:count, grid.size - count : grid.size]
    x = grid - grid.mean()
    design = np.stack([np.ones(x.size), x], axis=1)
    fit = np.linalg.pinv(design[flank])
    weights = step.copy()
    weights[flank] -= (step @ design) @ fit
    return np.asarray(weights)


def band_area(rows: Array, sigma: Array, *, weights: Array) -> tuple[Array, Array]:
    """Return the areas (n,) of rows (n, m), and their sigma; NaN where a point is missing."""
    # Whole rows in memory: only then is the order of a sum that of its row, whatever the chunking.
    parts = np.ascontiguousarray(rows * weights)
    spreads = np.ascontiguousarray(np.square(sigma * weights))
    return parts.sum(axis=-1), np.sqrt(spreads.sum(axis=-1))


def _divided(
    series: xr.Dataset,
    value: Array,
    sigma: Array,
    flag: npt.NDArray[Any],
    *,
    units: str,
    meaning: str,
) -> xr.Dataset:
    """Return `series` divided by `value` (n,) where `flag` is 0, NaN elsewhere.

    A scale that the frames have already is part of the new one, and its relative error too.
    """
    axis = axes_of(series)[-1]
    divisor = xr.DataArray(np.where(flag == 0, value, np.nan), dims="time")
    made = {}
    for name in ("intensity", "intensity_sigma", "baseline"):
        variable = noise_of_frames(series, axis) if name == "intensity_sigma" else series.get(name)
        if variable is not None:
            rows = variable.transpose("time", axis)
            told = rows.attrs | {"units": f"({rows.attrs.get('units', '1')}) / ({units})"}
            made[name] = (rows / divisor).assign_attrs(told)
    made["intensity"].attrs["ancillary_variables"] = "intensity_sigma"
    if "scale" in series.coords:
        before = series["scale"].values
        spreads = (sigma * before, value * series["scale_sigma"].values)
        value, sigma = value * before, np.hypot(*spreads)
        flag = flag | series["scale_flag"].values
        units = f"({units}) * ({series['scale'].attrs['units']})"
        meaning = f"{meaning}, times {series['scale'].attrs['long_name']}"
    facts: dict[str, Any] = {"units": units, "long_name": meaning}
    riding = {
        "scale": ("time", value, facts | {"ancillary_variables": "scale_sigma"}),
        "scale_sigma": ("time", sigma, facts),
        "scale_flag": ("time", flag.astype(np.int32), flag_attributes(SCALE_FLAGS)),
    }
    return series.assign(made).assign_coords(riding)
