"""An edge shift against time, voltage and charge, with every part of its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from operando.detect.event import Event
from operando.errors import RequestError
from operando.model import positions
from operando.plots.cell import draw_voltage
from operando.plots.heatmap import time_limits
from operando.plots.marks import at_position, draw_marks, key, marks_of
from operando.plots.points import (
    comparable,
    draw_against,
    draw_time,
    explain,
    limit,
    ring,
    share_limits,
)
from operando.plots.series import Series, counted, series_of
from operando.plots.style import LINE, figure, footnote, look, wrap
from operando.plots.timeline import broken, since_label, titled

NUMBER = "edge_shift"
PARTS = {
    "edge_sigma_stat": ("noise", "#202020"),
    "edge_sigma_drift": ("energy drift", "#D55E00"),
    "edge_sigma_norm": ("normalisation", "#009E73"),
    "edge_shift_sigma": ("total", "#0072B2"),
}
"""What the uncertainty consists of: label and colour."""
LEAST = 1e-5
"""A part below this, in eV, is off the scale of the panel."""
HEIGHTS = {"shift": 1.75, "sigma": 1.0, "voltage": 1.1}


@dataclass(frozen=True)
class _Row:
    shift: Axes
    voltage: Axes
    charge: Axes
    sigma: Axes
    legend: Axes


def edge(
    numbers: xr.Dataset, electrochemistry: xr.Dataset, *, events: Sequence[Event] = ()
) -> Figure:
    """Draw what `track_edge` found against time, against voltage and against net charge.

    Each position has the shift (bars or band: one sigma, total) and below it the parts of that
    sigma on a logarithmic scale: noise, drift of the energy, choice of normalisation ranges. Colour
    and marker against voltage and charge tell cycle and direction. Points that should not be
    believed are open and grey; cautions are counted below.

    Raises
    ------
    RequestError
        The numbers are not those of `track_edge`.
    """
    lacking = [name for name in (NUMBER, *PARTS) if name not in numbers]
    if lacking:
        raise RequestError(f"numbers: lack {lacking}; expected what track_edge returns")
    since = electrochemistry["time"].values[0]
    places = positions(numbers)
    parts = {place: numbers.isel(time=at) for place, at in places.items()}
    series = {place: series_of(part, NUMBER, since) for place, part in parts.items()}
    marks = marks_of(events, since=since)
    cycles = np.unique(np.concatenate([one.cycle for one in series.values()]))
    with look():
        told = [
            f"Shift against {numbers.attrs.get('baseline', 'the first frames')}; negative is to "
            "lower energy, reduction."
        ]
        lines = wrap([*told, *(counted(place, one) for place, one in series.items()), *key(marks)])
        shown, rows, cell, legend = _panels(len(places), lines)
        cell.set_xlim(*time_limits(numbers, electrochemistry, since=since))
        for row, (place, one) in zip(rows, series.items(), strict=True):
            here = at_position(marks, place, among=list(places))
            draw_time(row.shift, one)
            draw_marks(row.shift, here)
            row.shift.set_ylabel(titled(place, "Edge shift (eV)"))
            for axes, across in ((row.voltage, one.voltage), (row.charge, one.charge * 1e3)):
                draw_against(axes, across, replace(one, voltage=across), cycles)
                ring(axes, across, one, here)
            limit(row.shift, one)
            _draw_sigmas(row, parts[place], one)
        if comparable(list(series.values())):
            share_limits([row.shift for row in rows])
        handles, labels = rows[0].sigma.get_legend_handles_labels()
        rows[0].legend.legend(handles, labels, loc="center left", title="Parts of sigma", ncols=2)
        draw_voltage(cell, electrochemistry, since=since)
        draw_marks(cell, marks, numbers=len(places) > 1)
        cell.set_xlabel(since_label(since))
        rows[-1].voltage.set_xlabel("Voltage (V)")
        rows[-1].charge.set_xlabel("Net charge (mA h)")
        explain(shown, legend, list(series.values()), cycles, events=bool(marks))
    return shown


def _panels(count: int, lines: Sequence[str]) -> tuple[Figure, list[_Row], Axes, Axes]:
    heights = [HEIGHTS["shift"], HEIGHTS["sigma"]] * count + [HEIGHTS["voltage"]]
    heights.append(LINE * len(lines))
    shown = figure(height=sum(heights) + 0.6)
    grid = shown.add_gridspec(len(heights), 3, height_ratios=heights, width_ratios=[2.0, 1, 1])
    footnote(shown.add_subplot(grid[-1, :]), lines)
    cell = shown.add_subplot(grid[2 * count, 0])
    legend = shown.add_subplot(grid[2 * count, 1:])
    rows: list[_Row] = []
    for at in range(0, 2 * count, 2):
        shift = shown.add_subplot(grid[at, 0], sharex=cell)
        row = _Row(
            shift=shift,
            voltage=shown.add_subplot(
                grid[at, 1], sharey=shift, sharex=rows[0].voltage if rows else None
            ),
            charge=shown.add_subplot(
                grid[at, 2], sharey=shift, sharex=rows[0].charge if rows else None
            ),
            sigma=shown.add_subplot(
                grid[at + 1, 0], sharex=cell, sharey=rows[0].sigma if rows else None
            ),
            legend=shown.add_subplot(grid[at + 1, 1:]),
        )
        for axes in (row.voltage, row.charge):
            axes.tick_params(labelleft=False, labelbottom=at == 2 * (count - 1))
        row.legend.set_axis_off()
        for axes in (row.shift, row.sigma):
            axes.tick_params(labelbottom=False)
        rows.append(row)
    return shown, rows, cell, legend


def _draw_sigmas(row: _Row, numbers: xr.Dataset, series: Series) -> None:
    """Draw the parts of the uncertainty; a part that is nowhere above zero is only named."""
    for name, (label, colour) in PARTS.items():
        values = numbers[name].values.astype(np.float64)
        known = np.where(values > LEAST, values, np.nan)
        drawn = np.isfinite(known).any()
        row.sigma.plot(
            broken(series.when.mid, series.when.gap),
            broken(known, series.when.gap),
            color=colour,
            linewidth=1.4 if name == f"{NUMBER}_sigma" else 0.8,
            label=label if drawn else f"{label}: none",
            linestyle="-" if drawn else "none",
        )
    row.sigma.set_yscale("log")
    row.sigma.set_ylabel("Sigma (eV)")
