"""The noise of the points of a spectrum of counts, whose gain nobody wrote down."""

from __future__ import annotations

from functools import partial

import numba
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.corrections.rows import whole_rows
from operando.corrections.white_noise import LEAST_POINTS, remainder_weights, remainders, scale

Array = npt.NDArray[np.float64]

COUNTED = ("count", "counts", "count/s", "counts/s")
"""Units of a signal whose variance grows with it."""
FLOOR = 0.25
"""Least level whose shot noise counts, of the median of the spectrum: what a camera reads out."""


def noise_of_frames(frames: xr.Dataset, axis: str) -> xr.DataArray:
    """Return `intensity_sigma`, or where there is none what the frames themselves show of it.

    Estimated noise is white noise (`operando.corrections.white_noise`) whose variance is in each
    frame proportional to the signal where that is a number of counts, with a factor (the gain of
    the camera, accumulations) that each frame tells; elsewhere it is the same at all points.

    Returns
    -------
    DataArray
        On (time, axis), in the units of the intensity, lazy where the frames are.

    Notes
    -----
    Of a single frame of some 500 points it is known to 5 %. Fails on spectra that were smoothed or
    interpolated; it is some 6 % too large where a strong sharp line makes up a sixth of the points.
    """
    intensity = frames["intensity"]
    if "intensity_sigma" in frames:
        return whole_rows(frames["intensity_sigma"].transpose("time", axis), axis)
    estimated: xr.DataArray = xr.apply_ufunc(
        partial(estimate_noise, frames[axis].values.astype(float), counted=is_counted(intensity)),
        whole_rows(intensity.transpose("time", axis), axis),
        input_core_dims=[[axis]],
        output_core_dims=[[axis]],
        output_dtypes=[float],
        dask="parallelized",
    )
    return estimated.drop_vars(list(estimated.coords)).assign_attrs(
        units=intensity.attrs.get("units", "1"),
        long_name="standard deviation of the intensity, estimated from the frame",
    )


def is_counted(intensity: xr.DataArray) -> bool:
    """Whether the intensity is a number of counts, or their rate."""
    return intensity.attrs.get("units") in COUNTED


def estimate_noise(axis: Array, rows: Array, *, counted: bool) -> Array:
    """Return the noise of every point of rows (n, m) on an axis (m,); NaN where it is unknown.

    As `white_noise`, but what is left of each point beside its neighbours is divided by the shape
    that noise is expected to have. The points themselves must not be: their own noise is in it.
    """
    rows = np.ascontiguousarray(rows, dtype=float)
    shape = shot_shape(rows) if counted else np.ones(rows.shape)
    size = np.full(len(rows), np.nan)
    whole = np.isfinite(rows).all(axis=1)
    if axis.size >= LEAST_POINTS:
        size[whole] = _sizes(rows[whole], shape[whole], remainder_weights(axis))
    for row in np.flatnonzero(~whole):
        good = np.isfinite(rows[row])
        if good.sum() >= LEAST_POINTS:
            weights = remainder_weights(axis[good])
            size[row] = _sizes(rows[row][None, good], shape[row][None, good], weights)[0]
    return np.asarray(size[:, None] * shape)


@numba.njit(nogil=True, cache=True)
def _sizes(rows: Array, shape: Array, weights: Array) -> Array:
    """Return by what the noise of each row exceeds its `shape`, (n,)."""
    found, squares = np.empty(rows.shape[0]), np.empty(weights.shape[1])
    for row in range(rows.shape[0]):
        remainders(rows[row], weights, squares)
        for at in range(squares.size):
            squares[at] /= shape[row, at + 2] ** 2
        found[row] = scale(squares)
    return found


@numba.njit(nogil=True, cache=True)
def shot_shape(rows: Array) -> Array:
    """Return the root of the level (n, m) of spectra of counts: how their noise varies.

    The level is the mean of a point and its neighbours, weights 1, 2, 1, so that it hardly follows
    the noise of the point itself; never less than a quarter of the median. Spectra whose median is
    not above zero are none of counts: one everywhere.
    """
    shape = np.ones(rows.shape)
    for row in range(rows.shape[0]):
        y = rows[row]
        seen = y[np.isfinite(y)]
        usual = np.median(seen) if seen.size else 0.0
        if not usual > 0:
            continue
        for at in range(y.size):
            total, weight = 0.0, 0.0
            for near in range(max(at - 1, 0), min(at + 2, y.size)):
                if np.isfinite(y[near]):
                    part = 2.0 if near == at else 1.0
                    total, weight = total + part * y[near], weight + part
            level = total / weight if weight > 0 else usual
            shape[row, at] = np.sqrt(max(level, FLOOR * usual))
    return shape
