"""The part of a dataset that a figure was asked to draw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.errors import RequestError
from operando.model import FAULTS, signal_of
from operando.plots.style import named


def chosen_signal(
    frames: xr.Dataset, *, signal: str | None, window: tuple[float, float] | None, axes: int = 1
) -> xr.DataArray:
    """Return the signal asked for, cut to the window of its axis; never loads lazy data.

    Raises
    ------
    RequestError
        No such signal, another number of measurement axes, or nothing inside the window.
    """
    if signal is not None and signal not in frames.data_vars:
        raise RequestError(f"signal: {signal!r} unknown; the frames have {list(frames.data_vars)}")
    drawn = signal_of(frames) if signal is None else frames[signal]
    if drawn.ndim != 1 + axes or drawn.dims[0] != "time":
        expected = "one axis" if axes == 1 else f"{axes} axes"
        raise RequestError(f"signal: {drawn.name!r} has {drawn.dims}; expected time and {expected}")
    if drawn.sizes["time"] == 0:
        raise RequestError(f"signal: {drawn.name!r} has no frames")
    if window is None:
        return drawn
    axis = drawn.dims[1]
    cut = drawn.sel({axis: slice(*window)})
    if not cut.sizes[axis]:
        found = (float(drawn[axis].values[0]), float(drawn[axis].values[-1]))
        raise RequestError(f"window: {window} holds no point; {axis} runs from {found}")
    return cut


def label_of(signal: xr.DataArray) -> str:
    """Return the label of a variable, with its unit; a complex one is drawn by its magnitude."""
    words = str(signal.attrs.get("long_name") or signal.name).replace("_", " ")
    return named(
        str(signal.name) if signal.dtype.kind != "c" else f"|{signal.name}|",
        units=str(signal.attrs.get("units", "1")),
        words=words if signal.dtype.kind != "c" else f"|{words}|",
    )


def faulty(frames: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Return which frames are faulty in themselves."""
    if "frame_flag" not in frames:
        return np.zeros(frames.sizes["time"], bool)
    return np.asarray((frames["frame_flag"].values & FAULTS) != 0)


def spread(indices: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return `count` of the indices, evenly, with the first and the last.

    >>> spread(np.arange(10), 4).tolist()
    [0, 3, 6, 9]
    """
    steps = np.linspace(0, indices.size - 1, min(max(count, 1), indices.size))
    return np.asarray(indices[np.round(steps).astype(np.int64)])
