"""Whole spectra: blocks of lazy arrays that hold them, and the noise of those with gaps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.corrections.white_noise import white_noise

Array = npt.NDArray[np.float64]


def whole_rows(array: xr.DataArray, axis: str = "energy") -> xr.DataArray:
    """Return `array` in blocks that hold whole rows; only its data: coordinates stay as they are.

    `DataArray.chunk` would make the coordinates on time lazy, too.
    """
    if array.chunks is None or axis not in array.dims:
        return array
    return array.copy(data=array.data.rechunk({array.get_axis_num(axis): -1}))


def noise_of_rows(x: Array, y: Array) -> Array:
    """Return the `white_noise` of each row of y (n, m), from its finite points; (n,)."""
    noise: Array = white_noise(x, y)
    for row in np.flatnonzero(~np.isfinite(y).all(axis=1)):
        good = np.isfinite(y[row])
        noise[row] = white_noise(x[good], y[row][None, good])[0]
    return noise
