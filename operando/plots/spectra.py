"""Selected frames coloured by the voltage of the cell, and what is derived from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from operando.detect.event import Event
from operando.model import STATES, positions
from operando.plots.chosen import chosen_signal, faulty, label_of, spread
from operando.plots.marks import Mark, at_position, key, marks_of, span
from operando.plots.style import (
    DOUBT,
    LINE,
    figure,
    footnote,
    look,
    named,
    on_white,
    plain,
    shorten,
    wrap,
)
from operando.plots.timeline import Array, Mask, hours, since_label

COLUMNS = 2
"""Positions side by side; more go below."""
HEIGHTS = {"spectra": 2.1, "below": 1.2}
DIFFERENCE = "Difference\nto the first"
LEGEND_COLUMNS = {1: 6, 2: 3}
REDUCTION = tuple(STATES[name] for name in ("discharge", "hold_discharge", "sweep_down"))


@dataclass(frozen=True)
class _Selected:
    """The frames of one position that are drawn."""

    values: Array
    """(frames, axis)."""
    below: dict[str, Array]
    """What is drawn in panels below, by label, (frames, axis) each."""
    hours: Array
    voltage: Array
    reduction: Mask
    events: list[str]
    """The numbers of the events that begin at each frame, empty for most."""


def spectra(
    frames: xr.Dataset,
    *,
    signal: str | None = None,
    count: int = 12,
    window: tuple[float, float] | None = None,
    events: Sequence[Event] = (),
    since: np.datetime64 | None = None,
    below: Mapping[str, xr.DataArray] | None = None,
) -> Figure:
    """Draw frames spread evenly over a series, and below them their difference to the first.

    Frames are taken from those the log covers and that are not faulty, always with the first and
    the last of them and the one at the onset of every numbered event. Colour is the mean voltage
    during the exposure (grey where there is none), dashed lines are reduction. Each position has
    its own pair of panels. Only the frames that are drawn are loaded.

    Parameters
    ----------
    signal
        Variable to draw; the signal of the technique when not given.
    count
        Frames to draw of each position, besides those of events.
    window
        Part of the measurement axis to draw, in its units.
    since
        Moment that hours count from; the first frame when not given.
    below
        What to draw in panels of their own in place of the difference, by label: variables on the
        frames and the axis of the signal, such as `difference_spectra` gives.

    Raises
    ------
    RequestError
        No such signal, not a series of one-dimensional frames, or nothing inside the window.
    """
    drawn = chosen_signal(frames, signal=signal, window=window)
    zero = frames["time"].values[0] if since is None else since
    marks = marks_of(events, since=zero)
    places = positions(frames)
    axis = str(drawn.dims[1])
    extra = {
        label: part if window is None else part.sel({axis: slice(*window)})
        for label, part in (below or {}).items()
    }
    selected = {
        place: _select(
            frames.isel(time=at),
            drawn.isel(time=at),
            {label: part.isel(time=at) for label, part in extra.items()},
            count=count,
            marks=at_position(marks, place, among=list(places)),
            since=zero,
        )
        for place, at in places.items()
    }
    norm = _norm(list(selected.values()))
    with look():
        lines = wrap([_told(norm, zero, events=bool(marks)), *key(marks)])
        shown, panels = _panels(list(selected.values()), lines)
        for (upper, lower, legend), (place, part) in zip(panels, selected.items(), strict=True):
            _draw(upper, lower, part, drawn, norm)
            upper.set_title(plain(shorten(place, 40)), loc="left", fontweight="bold")
            _legend(legend, upper, columns=LEGEND_COLUMNS[min(len(panels), COLUMNS)])
        if norm is not None:
            both = [axes for upper, lower, _ in panels for axes in (upper, *lower)]
            mappable = ScalarMappable(norm, on_white())
            shown.colorbar(mappable, ax=both, label="Voltage (V)", pad=0.015, aspect=35)
    return shown


def _select(
    frames: xr.Dataset,
    signal: xr.DataArray,
    below: Mapping[str, xr.DataArray],
    *,
    count: int,
    marks: Sequence[Mark],
    since: np.datetime64,
) -> _Selected:
    voltage = _on_time(frames, "voltage", np.nan).astype(np.float64)
    time = hours(frames["time"].values, since=since)
    whole = ~faulty(frames)
    usable = np.flatnonzero(whole & np.isfinite(voltage))
    if not usable.size:
        usable = np.flatnonzero(whole) if whole.any() else np.arange(time.size)
    begun: dict[int, list[int]] = {}
    for mark in marks:
        if mark.number is not None:
            at = int(usable[np.argmin(np.abs(time[usable] - mark.onset))])
            begun.setdefault(at, []).append(mark.number)
    chosen = np.union1d(spread(usable, count), np.array(list(begun), np.int64))
    values = signal.isel(time=chosen).values
    values = np.abs(values) if np.iscomplexobj(values) else values.astype(np.float64)
    extra = {label: part.isel(time=chosen).values for label, part in below.items()}
    state = _on_time(frames, "state", STATES["unknown"])
    return _Selected(
        values=values,
        below=extra or {DIFFERENCE: values - values[0]},
        hours=time[chosen],
        voltage=voltage[chosen],
        reduction=np.isin(state[chosen], REDUCTION),
        events=[span(begun.get(int(index), [])) for index in chosen],
    )


def _on_time(frames: xr.Dataset, name: str, missing: float) -> Array:
    if name in frames.variables:
        return np.asarray(frames[name].values)
    return np.full(frames.sizes["time"], missing)


def _norm(selected: Sequence[_Selected]) -> Normalize | None:
    voltage = np.concatenate([part.voltage for part in selected])
    voltage = voltage[np.isfinite(voltage)]
    if not voltage.size:
        return None
    low, high = float(voltage.min()), float(voltage.max())
    return Normalize(low, high) if high > low else Normalize(low - 0.05, low + 0.05)


def _told(norm: Normalize | None, zero: np.datetime64, *, events: bool) -> str:
    text = f"{since_label(zero)} beside each line"
    text += ", in parentheses the event that begins there. " if events else ". "
    if norm is None:
        return text + "No frame is covered by the log: all are grey."
    return text + "Full: oxidation, rest or unknown; dashed: reduction."


def _panels(
    selected: Sequence[_Selected], lines: Sequence[str]
) -> tuple[Figure, list[tuple[Axes, list[Axes], Axes]]]:
    columns = min(len(selected), COLUMNS)
    bands = [selected[i : i + columns] for i in range(0, len(selected), columns)]
    count = len(selected[0].below)
    heights: list[float] = []
    for band in bands:
        entries = max(part.hours.size for part in band)
        rows = -(-entries // LEGEND_COLUMNS[columns])
        heights += [HEIGHTS["spectra"], *[HEIGHTS["below"]] * count, 0.15 * rows + 0.12]
    heights.append(LINE * len(lines))
    shown = figure(height=sum(heights) + 0.5 * len(bands) + 0.2)
    grid = shown.add_gridspec(len(heights), columns, height_ratios=heights)
    footnote(shown.add_subplot(grid[-1, :]), lines)
    panels: list[tuple[Axes, list[Axes], Axes]] = []
    for index in range(len(selected)):
        row, column = (count + 2) * (index // columns), index % columns
        upper = shown.add_subplot(grid[row, column])
        lower = [
            shown.add_subplot(grid[row + 1 + number, column], sharex=upper)
            for number in range(count)
        ]
        for axes in [upper, *lower[:-1]]:
            axes.tick_params(labelbottom=False)
        legend = shown.add_subplot(grid[row + 1 + count, column])
        legend.set_axis_off()
        panels.append((upper, lower, legend))
    return shown, panels


def _draw(
    upper: Axes,
    lower: Sequence[Axes],
    part: _Selected,
    signal: xr.DataArray,
    norm: Normalize | None,
) -> None:
    axis = str(signal.dims[1])
    x = signal[axis].values
    for axes, label in zip(lower, part.below, strict=True):
        axes.axhline(0, color="#B0B0B0", linewidth=0.6, zorder=0)
        axes.set_ylabel(label)
    for index, values in enumerate(part.values):
        covered = norm is not None and np.isfinite(part.voltage[index])
        event = part.events[index]
        look: dict[str, Any] = {
            "color": on_white()(norm(part.voltage[index])) if norm and covered else DOUBT,
            "linestyle": (0, (4, 1.5)) if part.reduction[index] else "-",
            "linewidth": 1.8 if event else 0.9,
        }
        label = f"{part.hours[index]:.2f}" + (f" ({event})" if event else "")
        upper.plot(x, values, label=label, **look)
        for axes, below in zip(lower, part.below.values(), strict=True):
            axes.plot(x, below[index], **look)
    if axis == "frequency":
        upper.set_xscale("log")
    upper.margins(x=0)
    upper.set_ylabel(label_of(signal))
    lower[-1].set_xlabel(named(axis, units=str(signal[axis].attrs.get("units", "1"))))


def _legend(axes: Axes, upper: Axes, *, columns: int) -> None:
    handles, labels = upper.get_legend_handles_labels()
    axes.legend(
        handles,
        labels,
        loc="upper left",
        ncols=columns,
        borderaxespad=0,
        handlelength=1.8,
        columnspacing=1.2,
        labelspacing=0.25,
    ).set_in_layout(False)
