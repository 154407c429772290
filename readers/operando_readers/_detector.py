"""Detector images as the dataset a reader returns: frames by row and column, lazy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]


def images(
    frames: da.Array,
    *,
    clock: Mapping[str, Any],
    metadata: Mapping[str, Any],
    elapsed: Array | None = None,
    exposure: float | Array | None = None,
    told: Mapping[str, xr.Variable] | None = None,
    **facts: Any,
) -> xr.Dataset:
    """Return frames of a detector.

    Parameters
    ----------
    frames
        (frames, rows, columns) in the type they are stored in; numbers that are no counts stay.
    exposure
        Seconds, of all or of each frame.
    facts
        More attributes; None is left out. `pixel_size_m` and `beam_centre_pixel` are (row, column),
        `dead_values` the numbers that are no counts.

    Raises
    ------
    FormatError
        No pixels.
    """
    if frames.ndim != 3 or not frames.size:
        raise FormatError(f"images: {frames.shape}; expected frames, rows and columns")
    count, rows, columns = frames.shape
    seconds = np.zeros(count) if elapsed is None else elapsed
    dataset = xr.Dataset(
        {"intensity": (("time", "row", "column"), frames, {"units": "count"})},
        {
            "row": ("row", np.arange(rows, dtype=np.float64), {"units": "pixel"}),
            "column": ("column", np.arange(columns, dtype=np.float64), {"units": "pixel"}),
            "elapsed": ("time", seconds, {"units": "s"}),
        },
    )
    if exposure is not None:
        length = np.broadcast_to(np.asarray(exposure, np.float64), count).copy()
        dataset = dataset.assign_coords(exposure=("time", length, {"units": "s"}))
    dataset = dataset.assign_coords(dict(told or {}))
    dataset.attrs = {
        "technique": "xrd_images",
        "clock": dict(clock),
        **{name: fact for name, fact in facts.items() if fact is not None},
        "original_metadata": dict(metadata),
    }
    return dataset
