"""Tracked lines over the frames they were measured on, close up, above the voltage of the cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from operando.detect.event import Event
from operando.errors import RequestError
from operando.model import parts_of, positions
from operando.plots.cell import draw_voltage
from operando.plots.chosen import chosen_signal
from operando.plots.heatmap import draw_map, time_limits
from operando.plots.marks import at_position, draw_births, draw_marks, key, marks_of
from operando.plots.series import Series, series_of
from operando.plots.style import LINE, figure, footnote, look, plain, wrap
from operando.plots.timeline import broken, frames_of, since_label

HEIGHTS = {"map": 1.7, "voltage": 1.15, "legend": 0.25}
ROOM = 2.2
"""What is shown around the lines, in widths; a line within that of another shares its panel."""
TRACK, EDGE = "#FFFFFF", "#E8E8E8"


def tracks(
    frames: xr.Dataset,
    numbers: xr.Dataset,
    electrochemistry: xr.Dataset,
    *,
    events: Sequence[Event] = (),
) -> Figure:
    """Draw the frames around each line with its centre, the sigma of it, and its width on top.

    Each group of neighbouring lines has a panel: all frames of the stretch of the axis it moves
    over, the centre as a line with a band of one sigma (total), dotted lines where the line is half
    as high. A line is broken where it is too weak to have a centre, and where it should not be
    believed. Births and losses are marked where they happened, on the axis and in time.

    Parameters
    ----------
    frames
        One position of a series with one measurement axis.
    numbers
        What `track_peaks` found in them: `centre`, `fwhm` on (time, line).
    electrochemistry
        The prepared log.

    Raises
    ------
    RequestError
        The numbers are no tracks, several positions, or no line is ever seen.
    """
    lacking = [name for name in ("centre", "centre_sigma", "fwhm") if name not in numbers]
    if lacking:
        raise RequestError(f"numbers: lack {lacking}; expected what track_peaks returns")
    if len(positions(frames)) > 1:
        raise RequestError(f"frames: {len(positions(frames))} positions; select one")
    since = electrochemistry["time"].values[0]
    lines = {name: series_of(part, "centre", since) for name, part in parts_of(numbers, "centre")}
    widths = {name: series_of(part, "fwhm", since) for name, part in parts_of(numbers, "fwhm")}
    groups = _groups(lines, widths)
    if not groups:
        raise RequestError("numbers: no line is ever seen, so there is nothing to draw")
    [place] = positions(frames)
    marks = at_position(marks_of(events, since=since), place, among=[place])
    with look():
        told = wrap([*_weakness(lines), *key(marks)])
        shown, maps, cell, legend = _panels(len(groups), told)
        maps[0].set_xlim(*time_limits(frames, electrochemistry, since=since))
        when = frames_of(frames, since=since)
        for axes, (low, high, names) in zip(maps, groups, strict=True):
            draw_map(shown, axes, chosen_signal(frames, signal=None, window=(low, high)), when)
            for name in names:
                _draw_track(axes, name, lines[name], widths[name])
            draw_births(axes, marks)
            draw_marks(axes, marks, numbers=axes is maps[0])
            axes.set_ylim(low, high)
        draw_voltage(cell, electrochemistry, since=since)
        draw_marks(cell, marks, numbers=False)
        cell.set_xlabel(since_label(since))
        _explain(legend, events=bool(marks))
    return shown


def _groups(
    lines: dict[str, Series], widths: dict[str, Series]
) -> list[tuple[float, float, list[str]]]:
    """Return stretches of the axis and their lines; lines that come near each other share one."""
    spans = []
    for name, line in lines.items():
        centre, width = line.value[line.believed], widths[name].value[widths[name].believed]
        if centre.size and width.size:
            usual = float(np.median(width))
            spans.append((float(centre.min()), float(centre.max()), usual, name))
    spans.sort()
    groups: list[tuple[float, float, list[str]]] = []
    for low, high, usual, name in spans:
        around = (low - ROOM * usual, high + ROOM * usual)
        if groups and low - 0.5 * usual < groups[-1][1]:
            before = groups[-1]
            groups[-1] = (before[0], max(before[1], around[1]), [*before[2], name])
        else:
            groups.append((*around, [name]))
    return groups


def _draw_track(axes: Axes, name: str, line: Series, width: Series) -> None:
    gap = line.when.gap
    x = broken(line.when.mid, gap)
    centre = np.where(line.believed, line.value, np.nan)
    half = np.where(width.believed, width.value, np.nan) / 2
    middle, sigma = broken(centre, gap), broken(line.sigma, gap)
    halo = [patheffects.withStroke(linewidth=2.0, foreground="black", alpha=0.6)]
    axes.fill_between(x, middle - sigma, middle + sigma, color=TRACK, alpha=0.45, linewidth=0)
    axes.plot(x, middle, color=TRACK, linewidth=0.9, path_effects=halo)
    for edge in (broken(centre - half, gap), broken(centre + half, gap)):
        axes.plot(x, edge, color=EDGE, linewidth=0.7, linestyle=":")
    seen = np.flatnonzero(np.isfinite(centre))
    axes.annotate(
        plain(name),
        (line.when.mid[seen[-1]], centre[seen[-1]]),
        xytext=(3, 0),
        textcoords="offset points",
        color="white",
        fontsize=7,
        va="center",
        path_effects=[patheffects.withStroke(linewidth=1.8, foreground="black", alpha=0.7)],
    )


def _weakness(lines: dict[str, Series]) -> list[str]:
    parts = []
    for name, line in lines.items():
        missing = int((~line.believed).sum())
        if missing:
            parts.append(f"{plain(name)} {missing} of {line.value.size}")
    return [f"Frames without a believed centre: {', '.join(parts)}."] if parts else []


def _panels(count: int, told: Sequence[str]) -> tuple[Figure, list[Axes], Axes, Axes]:
    heights = [HEIGHTS["map"]] * count + [HEIGHTS["voltage"], HEIGHTS["legend"]]
    heights += [LINE * len(told)] if told else []
    shown = figure(height=sum(heights) + 0.55)
    grid = shown.add_gridspec(len(heights), 1, height_ratios=heights)
    maps: list[Axes] = []
    for row in range(count + 1):
        maps.append(shown.add_subplot(grid[row], sharex=maps[0] if maps else None))
        maps[-1].tick_params(labelbottom=row == count)
    legend = shown.add_subplot(grid[count + 1])
    if told:
        footnote(shown.add_subplot(grid[-1]), told)
    return shown, maps[:count], maps[count], legend


def _explain(axes: Axes, *, events: bool) -> None:
    axes.set_axis_off()
    axes.set_facecolor("none")
    handles: list[Line2D | Patch] = [
        Line2D([], [], color="white", linewidth=1.2, label="centre", path_effects=[_outline()]),
        Patch(facecolor="#D0D0D0", label="one sigma of the centre"),
        Line2D([], [], color="#707070", linestyle=":", label="half height"),
    ]
    if events:
        handles.append(
            Line2D([], [], linestyle="", marker=">", color="#D55E00", label="born, or lost (<)")
        )
    axes.legend(handles=handles, loc="center", ncols=len(handles))


def _outline() -> patheffects.withStroke:
    return patheffects.withStroke(linewidth=2.4, foreground="black", alpha=0.7)
