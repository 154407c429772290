"""Points of a tracked number in a panel: error bars, doubtful points, rings at events, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from operando.plots.marks import Mark
from operando.plots.series import Series
from operando.plots.style import DOUBT, EVENT, INK, on_white
from operando.plots.timeline import Array, Index, broken

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


def draw_time(axes: Axes, series: Series) -> None:
    """Draw the number against time, with bars or a band of one sigma."""
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


def draw_against(axes: Axes, across: Array, series: Series, cycles: Index) -> None:
    """Draw the number against another of its frames, by cycle and direction."""
    colours = colours_of(cycles)
    raster = series.value.size > MOST_VECTORS
    change = series.when.gap | (np.diff(series.half_cycle) != 0) | (np.diff(series.way) != 0)
    parts = np.split(np.arange(series.value.size), np.flatnonzero(change) + 1)
    for part in parts:
        part = part[series.believed[part] & np.isfinite(across[part])]
        if not part.size:
            continue
        colour = colours[int(series.cycle[part[0]])]
        marker, line, _ = WAYS[int(series.way[part[0]])]
        x, y = across[part], series.value[part]
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
    _doubts(axes, across, series)


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


def ring(axes: Axes, across: Array, series: Series, marks: Sequence[Mark]) -> None:
    """Ring the frame at the onset of each event, where it is covered and believed."""
    for mark in marks:
        at = int(np.argmin(np.abs(series.when.mid - mark.onset)))
        axes.plot(
            across[at],
            series.value[at] if series.believed[at] else np.nan,
            marker="o",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=EVENT,
            markeredgewidth=1.1,
        )


def limit(axes: Axes, series: Series) -> None:
    """Let the believed points and the usual sigma set the limits, never a failed fit."""
    value = series.value[series.believed]
    if not value.size:
        return
    sigma = series.sigma[series.believed]
    usual = float(np.median(sigma[np.isfinite(sigma)])) if np.isfinite(sigma).any() else 0.0
    low, high = float(value.min()) - 2 * usual, float(value.max()) + 2 * usual
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)


def colours_of(cycles: Index) -> dict[int, Any]:
    """Return a colour for every cycle."""
    steps = on_white()(np.linspace(0, 1, max(cycles.size, 2)))
    return {int(cycle): steps[index] for index, cycle in enumerate(cycles)}


def explain(
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
        _cycle_bar(shown, axes, known, colours_of(cycles))


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


def comparable(several: Sequence[Series]) -> bool:
    """Whether the positions lie so close together that one scale shows how they differ."""
    values = [series.value[series.believed & np.isfinite(series.value)] for series in several]
    values = [value for value in values if value.size]
    if len(values) < 2:
        return False
    apart = np.ptp([float(np.median(value)) for value in values])
    return bool(apart <= max(float(np.ptp(value)) for value in values))


def share_limits(rows: Sequence[Axes]) -> None:
    """Give the panels one scale."""
    low, high = zip(*(axes.get_ylim() for axes in rows), strict=True)
    for axes in rows:
        axes.set_ylim(min(low), max(high))
