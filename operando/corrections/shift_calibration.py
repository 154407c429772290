"""Drift of the Raman shift axis, measured on a band that does not move, and taken off again."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import curve_fit

from operando import arguments
from operando.corrections.count_noise import noise_of_frames
from operando.corrections.cubic import resample
from operando.corrections.energy_drift import DRIFT_FLAGS, energy_drift
from operando.corrections.history import recorded
from operando.corrections.intensities import spectra
from operando.corrections.matched_shift import matched_shift
from operando.corrections.rows import whole_rows
from operando.corrections.white_noise import LEAST_POINTS
from operando.errors import RequestError
from operando.model import flag_attributes, positions

Array = npt.NDArray[np.float64]
Range = tuple[float, float]

AXIS = "raman_shift"
AVERAGED = 256
"""Frames whose mean the others are matched to: of fewer, its noise would draw them to itself."""
SHIFT_FLAGS = DRIFT_FLAGS
"""`shift_flag`: what is wrong with the axis of a frame; the flags of `energy_drift`."""
TOLD = ("line", "offset_sigma", "position", "baseline")
TOLD_BY_DRIFT = ("window", "jump", "smooth", "jitter")
"""What a measured shift says of itself, for the history of the frames."""
MADE = ("shift_correction", "shift_correction_sigma", "shift_flag")
NARROWEST = 1.2
"""Smallest width of a line that is fitted, in points."""


def band_shift(
    frames: xr.Dataset,
    *,
    window: Range,
    line: float | None = None,
    baseline: int = 10,
    position: str | None = None,
    jump: float = 1.0,
    smooth: bool = True,
) -> xr.Dataset:
    """Measure how far the axis of each frame is off, from a band that does not move.

    That is the line of silicon at 520.5 1/cm, or the bands of the electrolyte. Every frame is
    matched, on a straight background, to the mean of up to 256 frames moved onto each other; a
    smooth drift and a jitter from frame to frame are told apart as they are for absorption spectra
    (`energy_drift`, which does it). Frames of other positions, which do not show the band, have the
    smooth drift.

    Parameters
    ----------
    frames
        `intensity` on (time, raman_shift), with `intensity_sigma` or else counts.
    window
        Lowest and highest shift of the band, 1/cm, with some background on both sides.
    line
        Where the band is known to be, 1/cm. The mean is then fitted with a pseudo-Voigt line, and
        the shifts are absolute; with None they are relative to the leading frames.
    baseline
        How many leading frames (of the position) that is.
    position
        The one that shows the band, where there are several.
    jump
        Step in 1/cm between two frames that is flagged and never smoothed over.
    smooth
        False: every frame is corrected by its own shift.

    Returns
    -------
    Dataset
        On time: `raw_shift` (1/cm, positive: the band lies too high) and `raw_shift_chi2`,
        `shift_correction` (1/cm, what is to be SUBTRACTED from the axis), both shifts with
        `_sigma`, and `shift_flag`. attrs `offset_sigma`: how well the zero of all shifts is known,
        common to all frames and not in their sigma.

    Raises
    ------
    RequestError
        No intensity on time and Raman shift, a window without points or room, several positions
        and none named, no frame without gaps there, a `line` outside of the window or not found.

    Notes
    -----
    Fails where the band changes its shape: `not_rigid` is set. One band says nothing of how the
    scale stretches: take one near the bands that matter.
    """
    series, _ = spectra(frames, AXIS)
    limits = arguments.pair("window", window, "lowest and highest Raman shift in 1/cm")
    grid = series[AXIS].values.astype(float)
    inside = (grid >= limits[0]) & (grid <= limits[1])
    if inside.sum() < LEAST_POINTS or not grid[0] < limits[0] < limits[1] < grid[-1]:
        raise RequestError(
            f"window: {window!r} holds {inside.sum()} points; expected {LEAST_POINTS} or more, and "
            f"room within {grid[0]:g}-{grid[-1]:g} 1/cm"
        )
    count = arguments.whole("baseline", baseline, lambda n: n > 0, "a number of leading frames")
    shown = _shown(series, position)
    template, spread = _template(series.isel(time=_some(shown)), inside, limits)
    # As energies, so that the drift of one axis is found as that of the other.
    own = np.isin(np.arange(series.sizes["time"]), shown)
    signal = whole_rows(series["intensity"].transpose("time", AXIS), AXIS)
    signal = signal.drop_vars([name for name in MADE if name in signal.coords])
    drift = energy_drift(
        signal.where(xr.DataArray(own, dims="time")).rename({AXIS: "energy"}),
        window=limits,
        baseline=xr.DataArray(template, {"energy": grid}, dims="energy"),
        sigma=noise_of_frames(series, AXIS).rename({AXIS: "energy"}),
        jump=jump,
        smooth=smooth,
    )
    if line is None:
        offset, offset_sigma = _zero(drift.isel(time=shown[:count]))
    else:
        low, high = limits
        known = arguments.number("line", line, lambda x: low < x < high, f"1/cm within {limits!r}")
        centre, offset_sigma = line_centre(grid[inside], template[inside], spread[inside])
        if not np.isfinite(centre):
            raise RequestError(f"line: none found in {limits!r} 1/cm of the mean of the frames")
        offset = centre - known
    values: tuple[Any, ...] = (line, offset_sigma, position, count)
    facts = dict(zip(TOLD, values, strict=True)) | {n: drift.attrs[n] for n in TOLD_BY_DRIFT}
    return _labelled(drift, offset).assign_attrs(
        {name: fact for name, fact in facts.items() if fact is not None}
    )


def calibrate_shift(frames: xr.Dataset, shift: xr.Dataset, *, limit: float = 5.0) -> xr.Dataset:
    """Bring every frame onto the true axis: that it was recorded on minus `shift_correction`.

    Intensities are interpolated by cubic splines, block by block; the axis loses `limit` at both
    ends, so that no frame runs out of data.

    Parameters
    ----------
    frames
        A series of Raman spectra.
    shift
        From `band_shift`, or a Dataset on the same times with `shift_correction` and its sigma in
        1/cm, `shift_flag` too if there is one.
    limit
        Widest correction, 1/cm; a frame that needs more becomes NaN and has `beyond_limit` set, one
        without a correction becomes NaN, too.

    Returns
    -------
    Dataset
        `frames` on a shorter axis, with the coordinates `shift_correction`, its sigma and
        `shift_flag` on time. `intensity_sigma`, estimated from each frame as it was measured where
        there is none, is interpolated linearly: noise does not shrink by moving it, only what
        neighbouring points show of it does. `cosmic_ray` is set where a neighbour was one. Lazy
        where the frames are, and equal for any chunking.

    Raises
    ------
    RequestError
        Times that differ, no correction, or a limit that leaves no axis.
    """
    series, _ = spectra(frames, AXIS)
    widest = arguments.number("limit", limit, lambda x: x > 0, "1/cm above 0")
    given = arguments.dataset("shift", shift)
    if not np.array_equal(series["time"].values, given["time"].values):
        raise RequestError("shift: other times than the frames; measure it on the same frames")
    for name in ("shift_correction", "shift_correction_sigma"):
        if name not in given:
            raise RequestError(f"shift: no {name!r} in {list(given.data_vars)}; use band_shift")
    grid = series[AXIS].values.astype(float)
    kept = grid[(grid >= grid[0] + widest) & (grid <= grid[-1] - widest)]
    if kept.size < LEAST_POINTS:
        raise RequestError(
            f"limit: {widest:g} 1/cm off both ends leaves {kept.size} of {grid.size} points"
        )
    told = series["intensity"].attrs | {"ancillary_variables": "intensity_sigma"}
    series = series.assign(
        intensity=series["intensity"].assign_attrs(told),
        intensity_sigma=noise_of_frames(series, AXIS),
    )
    correction, sigma = given["shift_correction"], given["shift_correction_sigma"]
    beyond = np.abs(correction.values) > widest
    usable = xr.DataArray(np.where(beyond, np.nan, correction.values), dims="time")
    moved = {
        str(name): _moved(variable, usable, grid, kept)
        for name, variable in series.data_vars.items()
        if AXIS in variable.dims
    }
    axis = (AXIS, kept, series[AXIS].attrs)
    result = series.drop_vars([*moved, AXIS]).assign(moved).assign_coords({AXIS: axis})
    flag = given["shift_flag"].values if "shift_flag" in given else np.zeros(beyond.size, np.int32)
    flag = flag | np.where(beyond, SHIFT_FLAGS["beyond_limit"], 0).astype(np.int32)
    riding = {
        "shift_correction": ("time", correction.values, correction.attrs),
        "shift_correction_sigma": ("time", sigma.values, sigma.attrs),
        "shift_flag": ("time", flag, flag_attributes(SHIFT_FLAGS)),
    }
    facts = {name: given.attrs[name] for name in TOLD + TOLD_BY_DRIFT if name in given.attrs}
    return recorded(result.assign_coords(riding), "shift_calibration", limit=widest, **facts)


def line_centre(grid: Array, values: Array, sigma: Array) -> tuple[float, float]:
    """Fit a pseudo-Voigt line on a straight background; return its centre and sigma, NaN if none.

    Sigma is widened by the root of the reduced chi-square where that is above one.
    """
    middle = 0.5 * (grid[0] + grid[-1])
    ends = np.polyfit(grid[[0, 1, -2, -1]] - middle, values[[0, 1, -2, -1]], 1)
    above = values - np.polyval(ends, grid - middle)
    top = int(np.argmax(above))
    step = float(np.median(np.diff(grid)))
    width = max(int(np.sum(above > above[top] / 2)), 2) * step
    span = grid[-1] - grid[0]
    lower = [0.0, grid[0], NARROWEST * step, 0.0, -np.inf, -np.inf]
    upper = [np.inf, grid[-1], span, 1.0, np.inf, np.inf]
    start = [max(above[top], 1e-12), grid[top], min(max(width, lower[2] * 1.01), span * 0.99), 0.5]
    try:
        found, covariance = curve_fit(
            partial(_pseudo_voigt, middle=middle),
            grid,
            values,
            p0=[*start, ends[1], ends[0]],
            sigma=sigma,
            absolute_sigma=True,
            bounds=(lower, upper),
        )
    except RuntimeError:  # it has not settled
        return np.nan, np.nan
    left = (values - _pseudo_voigt(grid, *found, middle=middle)) / sigma
    excess = float(np.square(left).sum()) / max(grid.size - len(found), 1)
    height, spread = found[0], np.sqrt(covariance[0, 0])
    if not height > 4 * spread or not np.isfinite(covariance[1, 1]):
        return np.nan, np.nan
    return float(found[1]), float(np.sqrt(covariance[1, 1] * max(excess, 1.0)))


def _pseudo_voigt(
    x: Array,
    height: float,
    centre: float,
    width: float,
    share: float,
    level: float,
    slope: float,
    *,
    middle: float,
) -> Array:
    apart = 2 * (x - centre) / width
    shape = share / (1 + apart**2) + (1 - share) * np.exp(-np.log(2) * apart**2)
    return np.asarray(height * shape + level + slope * (x - middle))


def _shown(series: xr.Dataset, position: str | None) -> npt.NDArray[np.intp]:
    """Return the frames that show the band."""
    known = positions(series)
    if position is None:
        if len(known) > 1:
            raise RequestError(f"position: None; expected one of {list(known)}, with the band")
        return np.arange(series.sizes["time"])
    if position not in known:
        raise RequestError(f"position: {position!r}; expected one of {list(known)}")
    return known[position]


def _some(shown: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return frames, evenly spaced, whose mean is the template."""
    picked = np.unique(np.linspace(0, shown.size - 1, AVERAGED).round().astype(int))
    return np.asarray(shown[picked])


def _template(
    some: xr.Dataset, inside: npt.NDArray[np.bool_], window: Range
) -> tuple[Array, Array]:
    """Return the mean of some frames, moved onto each other, and its sigma, (m,) each."""
    grid = some[AXIS].values.astype(float)
    rows = some["intensity"].transpose("time", AXIS).values.astype(float)
    sigma = np.asarray(noise_of_frames(some, AXIS).values, dtype=float)
    whole = np.isfinite(rows[:, inside]).all(axis=1)
    if not whole.any():
        raise RequestError(f"window: no frame has the whole band in {window!r} 1/cm")
    rows, sigma = rows[whole], sigma[whole]
    found = matched_shift(grid, rows, _mean(rows), window=window, sigma=sigma, degree=1)
    if not found.converged.any():
        raise RequestError(f"window: {window!r} 1/cm; the frames have no band in common there")
    shift = found.shift[found.converged][:, None]
    aligned = resample(grid, np.ascontiguousarray(rows[found.converged]), grid + shift)
    squares = np.square(sigma[found.converged]).sum(axis=0)
    return _mean(aligned), np.sqrt(squares) / np.count_nonzero(found.converged)


def _mean(rows: Array) -> Array:
    """Return the mean of what is finite in the columns of rows (n, m), NaN where nothing is."""
    there = np.isfinite(rows)
    total, count = np.where(there, rows, 0.0).sum(axis=0), there.sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _zero(leading: xr.Dataset) -> tuple[float, float]:
    """Return minus the mean shift of the leading frames, and its sigma."""
    shift, sigma = leading["raw_shift"].values, leading["raw_shift_sigma"].values
    known = np.isfinite(shift) & np.isfinite(sigma)
    if not known.any():
        raise RequestError(
            f"baseline: no shift could be measured in the first {shift.size} frames; use more"
        )
    weight = 1 / np.maximum(sigma[known], 1e-9) ** 2
    return -float((weight * shift[known]).sum() / weight.sum()), float(weight.sum() ** -0.5)


def _labelled(drift: xr.Dataset, offset: float) -> xr.Dataset:
    """Return the numbers of `energy_drift` as those of a Raman shift, with the offset."""
    about = {
        "raw_shift": "shift of the band to higher Raman shift",
        "raw_shift_sigma": "standard deviation of the shift of the band",
        "raw_shift_chi2": "reduced chi-square of the band against the leading frames",
        "shift_correction": "what is subtracted from the Raman shift",
        "shift_correction_sigma": "standard deviation of the correction",
    }
    renamed = drift.rename(
        energy_correction="shift_correction",
        energy_correction_sigma="shift_correction_sigma",
        drift_flag="shift_flag",
    )
    renamed.attrs = {}
    for name, meaning in about.items():
        units = "1" if name.endswith("chi2") else "1/cm"
        renamed[name].attrs = {"units": units, "long_name": meaning}
    for name in ("raw_shift", "shift_correction"):
        renamed[name].attrs["ancillary_variables"] = f"{name}_sigma"
        renamed[name].values += offset
    return renamed


def _moved(
    variable: xr.DataArray, correction: xr.DataArray, grid: Array, kept: Array
) -> xr.DataArray:
    if "time" not in variable.dims:
        return variable.sel({AXIS: kept}).drop_vars(list(variable.coords))
    kind = variable.dtype if variable.dtype.kind in "iub" else np.dtype(float)
    linear = kind.kind != "f" or str(variable.name).endswith("_sigma")
    moved: xr.DataArray = xr.apply_ufunc(
        partial(_move, grid=grid, kept=kept, linear=linear, dtype=kind),
        whole_rows(variable.transpose("time", AXIS), AXIS).drop_vars(list(variable.coords)),
        correction,
        input_core_dims=[[AXIS], []],
        output_core_dims=[[AXIS]],
        exclude_dims={AXIS},
        output_dtypes=[kind],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {AXIS: kept.size}},
        keep_attrs="override",
    )
    return moved


def _move(
    rows: Array,
    correction: Array,
    *,
    grid: Array,
    kept: Array,
    linear: bool,
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    """Return rows (n, m) where they were recorded when they truly are at `kept`, (n, k)."""
    source = kept[None, :] + correction[:, None]
    if not linear:
        return np.asarray(resample(grid, np.ascontiguousarray(rows, dtype=float), source))
    out = np.full(source.shape, np.nan if dtype.kind == "f" else 0.0)
    for row in np.flatnonzero(np.isfinite(correction)):
        out[row] = np.interp(source[row], grid, rows[row].astype(float))
    return out if dtype.kind == "f" else np.ceil(out).astype(dtype)
