"""Fractions of species stacked over time, under the voltage of the cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from operando.detect.event import Event
from operando.errors import RequestError
from operando.model import parts_of, positions
from operando.plots.cell import draw_voltage
from operando.plots.heatmap import time_limits
from operando.plots.marks import at_position, draw_marks, key, marks_of
from operando.plots.points import MOST_BARS
from operando.plots.series import Series, counted, series_of
from operando.plots.style import LINE, figure, footnote, look, plain, shorten, wrap
from operando.plots.timeline import Array, cell_edges, since_label, titled

COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2")
"""Of the lesser components; told apart by colour-blind readers."""
REST = "#C3CDD6"
"""Of the most abundant one, on top."""
HEIGHTS = {"voltage": 1.1, "fractions": 1.9}
SMALL = 0.4
"""When all but the largest component stay below this, the axis ends above them."""


def fractions(
    numbers: xr.Dataset, electrochemistry: xr.Dataset, *, events: Sequence[Event] = ()
) -> Figure:
    """Draw the fraction of every component of every frame, stacked, under the voltage.

    One panel a position, the most abundant component on top; when the others are few, the axis ends
    above them, and a line below says so. A frame is as wide as its exposure and half the dead time
    around it; gaps stay blank, and so do frames whose fit should not be believed. Bars on the upper
    edge of a component are one sigma of that component.

    Raises
    ------
    RequestError
        The numbers are not those of `fractions`.
    """
    if "fraction" not in numbers or numbers["fraction"].dims != ("time", "component"):
        raise RequestError("numbers: no 'fraction' on time and component; expected fractions")
    since = electrochemistry["time"].values[0]
    places = positions(numbers)
    marks = marks_of(events, since=since)
    abundance = numbers["fraction"].mean("time").values
    numbers = numbers.isel(component=np.argsort(abundance, kind="stable"))
    components = [str(name) for name in numbers["component"].values]
    few = _most(numbers) < SMALL and len(components) > 1
    stacks = {
        place: [
            series_of(part, "fraction", since)
            for _, part in parts_of(numbers.isel(time=at), "fraction")
        ]
        for place, at in places.items()
    }
    with look():
        told = [counted(place, stack[0]) for place, stack in stacks.items()]
        cut = [f"The axis is cut: all the rest up to 1 is {plain(components[-1])}."] if few else []
        lines = wrap([*cut, *told, *key(marks)])
        shown, cell, panels = _panels(len(places), lines)
        cell.set_xlim(*time_limits(numbers, electrochemistry, since=since))
        draw_voltage(cell, electrochemistry, since=since)
        draw_marks(cell, marks)
        for axes, (place, stack) in zip(panels, stacks.items(), strict=True):
            _draw_stack(axes, stack, components)
            axes.set_ylim(0, 1.25 * max(_most(numbers), 1e-3) if few else _top(stack))
            draw_marks(axes, at_position(marks, place, among=list(places)), numbers=False)
            axes.set_ylabel(titled(place, "Fraction"))
        panels[-1].set_xlabel(since_label(since))
        panels[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return shown


def _panels(count: int, lines: Sequence[str]) -> tuple[Figure, Axes, list[Axes]]:
    heights = [HEIGHTS["voltage"], *[HEIGHTS["fractions"]] * count, LINE * len(lines)]
    shown = figure(height=sum(heights) + 0.5)
    grid = shown.add_gridspec(len(heights), 1, height_ratios=heights)
    cell = shown.add_subplot(grid[0])
    panels = [shown.add_subplot(grid[row + 1], sharex=cell) for row in range(count)]
    for axes in [cell, *panels[:-1]]:
        axes.tick_params(labelbottom=False)
    footnote(shown.add_subplot(grid[-1]), lines)
    return shown, cell, panels


def _draw_stack(axes: Axes, stack: Sequence[Series], components: Sequence[str]) -> None:
    when = stack[0].when
    left, right = cell_edges(when)
    believed = np.logical_and.reduce([series.believed for series in stack])
    zero = np.zeros(believed.size)
    values = [np.where(believed, series.value, np.nan) for series in stack]
    tops = [zero, *np.cumsum(values, axis=0)]
    for number, (below, above) in enumerate(pairwise(tops)):
        last = number == len(components) - 1
        colour = REST if last else COLOURS[number % len(COLOURS)]
        x, low, high = _steps(left, right, below, above)
        axes.fill_between(
            x,
            low,
            high,
            color=colour,
            linewidth=0,
            label=plain(shorten(components[number], 24)),
            rasterized=True,
        )
        if not last and zero.size <= MOST_BARS:
            sigma = stack[number].sigma
            axes.errorbar(when.mid, above, yerr=sigma, fmt="none", ecolor="#202020", elinewidth=0.7)


def _most(numbers: xr.Dataset) -> float:
    """Return the largest sum of all components but the most abundant, in a frame."""
    minor = numbers["fraction"].values[:, :-1].sum(axis=1)
    return float(np.nanmax(minor, initial=0.0))


def _top(stack: Sequence[Series]) -> float:
    """Return the end of the axis: 1, or more where fractions need not add up to it."""
    total = np.sum([series.value[series.believed] for series in stack], axis=0)
    return max(1.0, float(np.nanmax(total, initial=0.0)) if total.size else 1.0)


def _steps(left: Array, right: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Return the outline of boxes from left to right, interrupted after each."""
    x = np.stack([left, right, right], axis=1).ravel()
    outline = [np.stack([side, side, np.full(side.size, np.nan)], axis=1) for side in (low, high)]
    joined = np.append(np.isclose(right[:-1], left[1:]), False)
    for side, values in zip(outline, (low, high), strict=True):
        side[joined, 2] = values[joined]
    return x, outline[0].ravel(), outline[1].ravel()
