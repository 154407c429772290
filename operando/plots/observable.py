"""A tracked number with its sigma against time, above the voltage, and against voltage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from operando.detect.event import Event
from operando.errors import RequestError
from operando.model import positions
from operando.plots.cell import draw_voltage
from operando.plots.chosen import label_of
from operando.plots.heatmap import time_limits
from operando.plots.marks import Mark, at_position, draw_marks, key, marks_of
from operando.plots.series import Series, counted, series_of
from operando.plots.style import (
    DOUBT,
    EVENT,
    INK,
    LINE,
    figure,
    footnote,
    look,
    on_white,
    stacked,
    wrap,
)
from operando.plots.timeline import (
    Array,
    Index,
    broken,
    since_label,
    titled,
)

HEIGHTS = {"number": 1.75, "voltage": 1.5}
BAR = "#6F8798"
MOST_BARS = 200
"""Up to here every point has its own error bar; longer series have a band."""
MOST_VECTORS = 2000
"""Longer series are stored as pixels in an SVG."""
WAYS: dict[int, tuple[str, Any, str]] = {
    1: ("^", "-", "charge"),
    -1: ("v", "--", "discharge"),
    0: ("o", "-", "rest or unknown"),
}
"""Marker, line and name of oxidation, reduction and everything else."""


def observable(
    dataset: xr.Dataset,
    electrochemistry: xr.Dataset,
    *,
    name: str,
    events: Sequence[Event] = (),
) -> Figure:
    """Draw one number of every frame against time and against the voltage of the cell.

    Each position has a row: left against time (on the axis of the voltage below), right against
    the mean voltage during the exposure, coloured by cycle, upward triangles and full lines on
    oxidation, downward and dashed on reduction. Error bars or the band are one sigma. Points with
    a bad assessment are open and grey and do not set the limits; frames outside the log appear
    against time only. How many of each is written below.

    Parameters
    ----------
    dataset
        Numbers on `time`: `name`, `<name>_sigma`, and `<name>_assessment` or `assessment`.
    electrochemistry
        The prepared log.
    name
        The variable to draw.
    events
        Marked at their onset: lines against time, rings against voltage.

    Raises
    ------
    RequestError
        There is no such number on time alone; names those there are.
    """
    if name not in dataset.data_vars or dataset[name].dims != ("time",):
        known = [str(key) for key, value in dataset.data_vars.items() if value.dims == ("time",)]
        raise RequestError(f"name: {name!r} is no number on time alone; there are {known}")
    since = electrochemistry["time"].values[0]
    places = {
        place: series_of(dataset.isel(time=at), name, since)
        for place, at in positions(dataset).items()
    }
    marks = marks_of(events, since=since)
    cycles = np.unique(np.concatenate([series.cycle for series in places.values()]))
    with look():
        lines = wrap([counted(place, series) for place, series in places.items()] + key(marks))
        shown, rows, cell, legend = _panels(len(places), lines)
        cell.set_xlim(*time_limits(dataset, electrochemistry, since=since))
        for (left, right), (place, series) in zip(rows, places.items(), strict=True):
            here = at_position(marks, place, among=list(places))
            _draw_time(left, series)
            draw_marks(left, here)
            left.set_ylabel(titled(place, stacked(label_of(dataset[name]))))
            _draw_voltage(right, series, cycles)
            _ring(right, series, here)
            _limit(left, series)
        if _comparable(list(places.values())):
            _share_limits([left for left, _ in rows])
        draw_voltage(cell, electrochemistry, since=since)
        draw_marks(cell, marks, numbers=len(places) > 1)
        cell.set_xlabel(since_label(since))
        rows[-1][1].set_xlabel("Voltage (V)")
        _explain(shown, legend, list(places.values()), cycles, events=bool(marks))
    return shown


def _comparable(several: Sequence[Series]) -> bool:
    """Whether the positions lie so close together that one scale shows how they differ."""
    values = [series.value[series.believed & np.isfinite(series.value)] for series in several]
    values = [value for value in values if value.size]
    if len(values) < 2:
        return False
    apart = np.ptp([float(np.median(value)) for value in values])
    return bool(apart <= max(float(np.ptp(value)) for value in values))


def _share_limits(rows: Sequence[Axes]) -> None:
    low, high = zip(*(axes.get_ylim() for axes in rows), strict=True)
    for axes in rows:
        axes.set_ylim(min(low), max(high))


def _panels(count: int, lines: Sequence[str]) -> tuple[Figure, list[tuple[Axes, Axes]], Axes, Axes]:
    heights = [HEIGHTS["number"]] * count + [HEIGHTS["voltage"], LINE * len(lines)]
    shown = figure(height=sum(heights) + 0.55)
    grid = shown.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[2.1, 1])
    footnote(shown.add_subplot(grid[-1, :]), lines)
    cell = shown.add_subplot(grid[count, 0])
    legend = shown.add_subplot(grid[count, 1])
    rows: list[tuple[Axes, Axes]] = []
    for row in range(count):
        left = shown.add_subplot(grid[row, 0], sharex=cell)
        right = shown.add_subplot(grid[row, 1], sharey=left, sharex=rows[0][1] if rows else None)
        left.tick_params(labelbottom=False)
        right.tick_params(labelbottom=row == count - 1, labelleft=False)
        rows.append((left, right))
    return shown, rows, cell, legend


def _draw_time(axes: Axes, series: Series) -> None:
    x, gap = series.when.mid, series.when.gap
    raster = x.size > MOST_VECTORS
    value = np.where(series.believed, series.value, np.nan)
    sigma = np.where(series.believed, series.sigma, np.nan)
    line, middle = broken(x, gap), broken(value, gap)
    if x.size <= MOST_BARS:
        _bars(axes, x, value, sigma)
        axes.plot(line, middle, color=INK, linewidth=0.5, marker="o", markersize=1.8)
    else:
        band = broken(sigma, gap)
        axes.fill_between(
            line, middle - band, middle + band, color="#9DB8CC", linewidth=0, rasterized=raster
        )
        axes.plot(line, middle, color=INK, linewidth=0.3 if raster else 0.7, rasterized=raster)
    _doubts(axes, x, series)


def _draw_voltage(axes: Axes, series: Series, cycles: Index) -> None:
    colours = _colours(cycles)
    raster = series.value.size > MOST_VECTORS
    change = series.when.gap | (np.diff(series.half_cycle) != 0) | (np.diff(series.way) != 0)
    parts = np.split(np.arange(series.value.size), np.flatnonzero(change) + 1)
    for part in parts:
        part = part[series.believed[part] & np.isfinite(series.voltage[part])]
        if not part.size:
            continue
        colour = colours[int(series.cycle[part[0]])]
        marker, line, _ = WAYS[int(series.way[part[0]])]
        x, y = series.voltage[part], series.value[part]
        if series.value.size <= MOST_BARS:
            _bars(axes, x, y, series.sigma[part], colour=colour)
        axes.plot(
            x,
            y,
            color=colour,
            marker=marker,
            markersize=1.2 if raster else 2.6,
            linestyle="none" if raster else line,
            linewidth=0.6,
            rasterized=raster,
        )
    _doubts(axes, series.voltage, series)


def _bars(axes: Axes, x: Array, y: Array, sigma: Array, *, colour: Any = BAR) -> None:
    known = np.isfinite(sigma) & np.isfinite(y)
    axes.errorbar(
        x[known], y[known], yerr=sigma[known], fmt="none", ecolor=colour, elinewidth=0.8, zorder=2.1
    )


def _doubts(axes: Axes, x: Array, series: Series) -> None:
    axes.plot(
        x[series.doubtful],
        series.value[series.doubtful],
        linestyle="none",
        marker="o",
        markersize=3,
        markerfacecolor="none",
        markeredgecolor=DOUBT,
        markeredgewidth=0.7,
        zorder=1.8,
    )


def _ring(axes: Axes, series: Series, marks: Sequence[Mark]) -> None:
    """Ring the frame at the onset of each event, where it is covered and believed."""
    for mark in marks:
        at = int(np.argmin(np.abs(series.when.mid - mark.onset)))
        axes.plot(
            series.voltage[at],
            series.value[at] if series.believed[at] else np.nan,
            marker="o",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=EVENT,
            markeredgewidth=1.1,
        )


def _limit(axes: Axes, series: Series) -> None:
    """Let the believed points and the usual sigma set the limits, never a failed fit."""
    value = series.value[series.believed]
    if not value.size:
        return
    sigma = series.sigma[series.believed]
    usual = float(np.median(sigma[np.isfinite(sigma)])) if np.isfinite(sigma).any() else 0.0
    low, high = float(value.min()) - 2 * usual, float(value.max()) + 2 * usual
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)


def _colours(cycles: Index) -> dict[int, Any]:
    steps = on_white()(np.linspace(0, 1, max(cycles.size, 2)))
    return {int(cycle): steps[index] for index, cycle in enumerate(cycles)}


def _explain(
    shown: Figure, axes: Axes, every: Sequence[Series], cycles: Index, *, events: bool
) -> None:
    """Say in the free corner what colours, markers and lines mean, as far as they occur."""
    axes.set_axis_off()
    ways = np.concatenate([series.way[np.isfinite(series.voltage)] for series in every])
    handles = [
        Line2D([], [], color=INK, marker=marker, markersize=3, linestyle=line, label=text)
        for way, (marker, line, text) in WAYS.items()
        if np.any(ways == way)
    ]
    if any(series.doubtful.any() for series in every):
        handles.append(_open_circle(DOUBT, size=3, label="not believed"))
    if events:
        handles.append(_open_circle(EVENT, size=7, label="onset of an event"))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, -0.05), borderaxespad=0)
    known = cycles[cycles >= 0]
    if known.size:
        _cycle_bar(shown, axes, known, _colours(cycles))


def _open_circle(colour: str, *, size: float, label: str) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="",
        marker="o",
        markersize=size,
        markerfacecolor="none",
        markeredgecolor=colour,
        label=label,
    )


def _cycle_bar(shown: Figure, axes: Axes, cycles: Index, colours: dict[int, Any]) -> None:
    inset = axes.inset_axes((0.16, 0.78, 0.82, 0.08))
    steps = ListedColormap([colours[int(cycle)] for cycle in cycles])
    norm = BoundaryNorm(np.arange(cycles.size + 1), cycles.size)
    bar = shown.colorbar(ScalarMappable(norm, steps), cax=inset, orientation="horizontal")
    labelled = np.arange(0, cycles.size, -(-cycles.size // 8))
    bar.set_ticks((labelled + 0.5).tolist(), labels=[str(cycles[at]) for at in labelled])
    bar.ax.minorticks_off()
    bar.ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, pad=1)
    axes.text(0.12, 0.82, "Cycle", transform=axes.transAxes, ha="right", va="center", fontsize=7)
