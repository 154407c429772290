"""All frames of a series against time, above the voltage and the current of the cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from operando.detect.event import Event
from operando.model import positions
from operando.plots.cell import draw_current, draw_voltage
from operando.plots.chosen import chosen_signal, label_of
from operando.plots.marks import Mark, at_position, draw_births, draw_marks, key, marks_of
from operando.plots.pooling import pooled, pooled_axis
from operando.plots.style import CHANGE_MAP, LINE, MAP, figure, footnote, look, named, wrap
from operando.plots.timeline import (
    Array,
    Frames,
    blocks,
    cell_edges,
    frames_of,
    hours,
    since_label,
    titled,
)

MOST_COLUMNS = 1200
MOST_CHANNELS = 600
"""Cells that a printed panel can show; longer series and axes are drawn by block means."""
ROBUST = (1.0, 99.0)
"""Percentiles of the colour limits: one cosmic ray or hot pixel must not darken the rest."""
ROBUST_CHANGE = 99.7
"""What changes is a small part of an axis, so more of the extremes are kept."""
FIRST = 3
"""Frames that a change is counted from."""
HEIGHTS = {"map": 1.9, "voltage": 1.15, "current": 0.95}


def heatmap(
    frames: xr.Dataset,
    electrochemistry: xr.Dataset,
    *,
    events: Sequence[Event] = (),
    signal: str | None = None,
    window: tuple[float, float] | None = None,
    change: bool = False,
) -> Figure:
    """Draw every frame as a column of colour, one panel a position, over voltage and current.

    The time axis is common to all panels and counts from the first row of the log. A cell is as
    wide as its exposure plus half the dead time on either side; dead time longer than three median
    periods, and what the log did not record, stays blank. Series with more frames or channels than
    can be printed are drawn by means over blocks, computed a batch at a time from lazy data.

    Parameters
    ----------
    frames
        A series with one measurement axis: `time_start`, `time_end`, perhaps `position`.
    electrochemistry
        The prepared log: `voltage`, `run`, perhaps `current`.
    events
        Marked at their onset, with the onset interval; those of one position in its panel only.
    signal
        Variable to draw; the signal of the technique when not given.
    window
        Part of the measurement axis to draw, in its units.
    change
        Draw the difference to the mean of the first `FIRST` frames of each position, on a map that
        diverges from white: a weak line that is born shows beside strong ones that stay.

    Raises
    ------
    RequestError
        No such signal, not a series of one-dimensional frames, or nothing inside the window.
    """
    drawn = chosen_signal(frames, signal=signal, window=window)
    since = electrochemistry["time"].values[0]
    marks = marks_of(events, since=since)
    places = positions(drawn)
    with look():
        lines = wrap(key(marks))
        shown, maps, panels = _panels(len(places), "current" in electrochemistry, lines)
        maps[0].set_xlim(*time_limits(frames, electrochemistry, since=since))
        meshes = []
        for axes, (place, at) in zip(maps, places.items(), strict=True):
            part = drawn.isel(time=at)
            if change:
                part = part - part.isel(time=slice(0, FIRST)).mean("time", keep_attrs=True)
                part.attrs.update(drawn.isel(time=at).attrs)
            when = frames_of(frames.isel(time=at), since=since)
            meshes.append(draw_map(shown, axes, part, when, change=change))
            axes.set_ylabel(titled(place, axes.get_ylabel()))
            here = at_position(marks, place, among=list(places))
            draw_births(axes, here)
            draw_marks(axes, here)
        if change:
            # One scale: what is noise at one position must not look like change beside another.
            most = max(mesh.get_clim()[1] for mesh in meshes)
            for mesh in meshes:
                mesh.set_clim(-most, most)
        _draw_cell(panels, electrochemistry, since, marks)
    return shown


def time_limits(
    frames: xr.Dataset, electrochemistry: xr.Dataset, *, since: np.datetime64
) -> tuple[float, float]:
    """Return the hours to show: the frames, and the log up to a tenth beyond on either side."""
    when = frames_of(frames, since=since)
    first, last = float(when.start.min()), float(when.end.max())
    log = hours(electrochemistry["time"].values[[0, -1]], since=since)
    room = 0.1 * (last - first) or 0.1
    margin = 0.01 * (last - first) or 0.01
    return (
        max(first - room, min(first, float(log[0])) - margin),
        min(last + room, max(last, float(log[1])) + margin),
    )


def _panels(
    count: int, current: bool, lines: Sequence[str]
) -> tuple[Figure, list[Axes], dict[str, Axes]]:
    heights = [HEIGHTS["map"]] * count + [HEIGHTS["voltage"]]
    heights += [HEIGHTS["current"]] if current else []
    heights += [LINE * len(lines)] if lines else []
    shown = figure(height=sum(heights) + 0.55)
    grid = shown.add_gridspec(len(heights), 1, height_ratios=heights)
    timed = len(heights) - bool(lines)
    axes: list[Axes] = []
    for row in range(timed):
        axes.append(shown.add_subplot(grid[row], sharex=axes[0] if axes else None))
        axes[-1].tick_params(labelbottom=row == timed - 1)
    if lines:
        footnote(shown.add_subplot(grid[-1]), lines)
    panels = {"voltage": axes[count]} | ({"current": axes[count + 1]} if current else {})
    return shown, axes[:count], panels


def _draw_cell(
    panels: dict[str, Axes], log: xr.Dataset, since: np.datetime64, marks: Sequence[Mark]
) -> None:
    draw_voltage(panels["voltage"], log, since=since)
    draw_marks(panels["voltage"], marks)
    lowest = panels["voltage"]
    if "current" in panels:
        lowest = panels["current"]
        draw_current(lowest, log, since=since)
        draw_marks(lowest, marks, numbers=False)
    lowest.set_xlabel(since_label(since))


def draw_map(
    shown: Figure, axes: Axes, signal: xr.DataArray, when: Frames, *, change: bool = False
) -> QuadMesh:
    """Draw the frames of one position as columns of colour, with the scale beside them."""
    axis = str(signal.dims[1])
    channels = -(-signal.sizes[axis] // MOST_CHANNELS)
    edges, columns = columns_of(signal, when, channels=channels)
    limits = _limits(columns, change)
    mesh = axes.pcolormesh(
        edges,
        pooled_axis(signal[axis].values.astype(np.float64), channels=channels),
        np.ma.masked_invalid(columns.T),
        cmap=CHANGE_MAP if change else MAP,
        rasterized=True,
        **limits,
    )
    if axis == "frequency":
        axes.set_yscale("log")
    axes.set_ylabel(named(axis, units=str(signal[axis].attrs.get("units", "1"))))
    beyond = _beyond(columns, **limits)
    label = (
        f"Change of {label_of(signal)[0].lower()}{label_of(signal)[1:]}"
        if change
        else label_of(signal)
    )
    shown.colorbar(mesh, ax=axes, label=label, extend=beyond, pad=0.015, aspect=18)
    return mesh


def columns_of(signal: xr.DataArray, when: Frames, *, channels: int) -> tuple[Array, Array]:
    """Return the mesh: edges in hours (n + 1,), values (n, channels); a gap is a column of NaN."""
    starts = blocks(when.gap, most=MOST_COLUMNS)
    means = pooled(signal, starts=starts, channels=channels)
    left, right = cell_edges(when)
    ends = np.append(starts[1:], when.start.size) - 1
    edges = np.maximum.accumulate(np.stack([left[starts], right[ends]], axis=1).ravel())
    values = np.full((edges.size - 1, means.shape[1]), np.nan)
    values[::2] = means
    wide = np.diff(edges) > 0
    return edges[np.concatenate([[True], wide])], values[wide]


def _limits(values: Array, change: bool) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"vmin": 0.0, "vmax": 1.0}
    if change:
        most = float(np.percentile(np.abs(finite), ROBUST_CHANGE)) or 1.0
        return {"vmin": -most, "vmax": most}
    low, high = np.percentile(finite, ROBUST)
    return {"vmin": float(low), "vmax": float(high) if high > low else float(low) + 1.0}


def _beyond(values: Array, *, vmin: float, vmax: float) -> str:
    below, above = bool(np.any(values < vmin)), bool(np.any(values > vmax))
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get(
        (below, above), "neither"
    )
