"""Voltage and current of the cell on the time axis of a figure; what was not logged is blank."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes

from operando.plots.style import CELL
from operando.plots.timeline import Array, Index, broken, hours

MOST_BLOCKS = 1500
"""A longer log is drawn by the extremes of this many blocks: no spike is lost."""
PREFIXES = ((1.0, "A"), (1e-3, "mA"), (1e-6, "µA"), (1e-9, "nA"))


def draw_voltage(axes: Axes, log: xr.Dataset, *, since: np.datetime64) -> None:
    """Draw the voltage within the limits of the time axis."""
    x, y, _ = _line(log, "voltage", since, axes.get_xlim())
    axes.plot(x, y, color=CELL, linewidth=0.9)
    axes.set_ylabel("Voltage (V)")


def draw_current(axes: Axes, log: xr.Dataset, *, since: np.datetime64) -> None:
    """Draw the current within the limits of the time axis, in steps where a value is a mean."""
    x, y, factor = _line(log, "current", since, axes.get_xlim())
    steps = log["current"].attrs.get("averaging") == "backward"
    axes.axhline(0, color="#B0B0B0", linewidth=0.6, zorder=0)
    axes.plot(
        x, y / factor, color=CELL, linewidth=0.9, drawstyle="steps-pre" if steps else "default"
    )
    axes.set_ylabel(f"Current ({dict(PREFIXES)[factor]})")


def _line(
    log: xr.Dataset, name: str, since: np.datetime64, limits: tuple[float, float]
) -> tuple[Array, Array, float]:
    """Return the line of a log variable, interrupted between runs, and a factor for its unit."""
    time = hours(log["time"].values, since=since)
    low, high = np.searchsorted(time, limits[0]) - 1, np.searchsorted(time, limits[1], "right") + 1
    seen = slice(max(0, int(low)), int(high))
    values = log[name].values[seen].astype(np.float64)
    run = log["run"].values[seen]
    rows = extremes(values, run)
    change = np.diff(run[rows]) != 0
    largest = np.nanmax(np.abs(values), initial=0.0)
    factor = next((size for size, _ in PREFIXES if largest >= size), 1.0)
    return broken(time[seen][rows], change), broken(values[rows], change), factor


def extremes(values: Array, run: npt.NDArray[np.integer]) -> Index:
    """Return the rows to draw: all of a short log, else first, least, greatest, last of a block.

    Blocks never span two runs.
    """
    size = -(-values.size // MOST_BLOCKS)
    if size <= 4:
        return np.arange(values.size)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(run) != 0]))
    rows: list[int] = []
    for first, last in zip(starts, np.append(starts[1:], values.size), strict=True):
        for start in range(first, last, size):
            block = values[start : min(start + size, last)]
            least = int(np.argmin(np.where(np.isnan(block), np.inf, block)))
            most = int(np.argmax(np.where(np.isnan(block), -np.inf, block)))
            rows += sorted({start, start + least, start + most, start + block.size - 1})
    return np.array(rows, np.int64)
