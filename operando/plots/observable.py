"""A tracked number with its sigma against time, above the voltage, and against voltage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from operando.detect.event import Event
from operando.errors import RequestError
from operando.model import positions
from operando.plots.cell import draw_voltage
from operando.plots.chosen import label_of
from operando.plots.heatmap import time_limits
from operando.plots.marks import at_position, draw_marks, key, marks_of
from operando.plots.panels import paired_panels
from operando.plots.points import (
    comparable,
    draw_against,
    draw_time,
    explain,
    limit,
    ring,
    share_limits,
)
from operando.plots.series import counted, series_of
from operando.plots.style import look, stacked, wrap
from operando.plots.timeline import since_label, titled

HEIGHTS = {"number": 1.75, "voltage": 1.5}


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
        shown, rows, cell, legend = paired_panels(len(places), lines, **HEIGHTS)
        cell.set_xlim(*time_limits(dataset, electrochemistry, since=since))
        for (left, right), (place, series) in zip(rows, places.items(), strict=True):
            here = at_position(marks, place, among=list(places))
            draw_time(left, series)
            draw_marks(left, here)
            left.set_ylabel(titled(place, stacked(label_of(dataset[name]))))
            draw_against(right, series.voltage, series, cycles)
            ring(right, series.voltage, series, here)
            limit(left, series)
        if comparable(list(places.values())):
            share_limits([left for left, _ in rows])
        draw_voltage(cell, electrochemistry, since=since)
        draw_marks(cell, marks, numbers=len(places) > 1)
        cell.set_xlabel(since_label(since))
        rows[-1][1].set_xlabel("Voltage (V)")
        explain(shown, legend, list(places.values()), cycles, events=bool(marks))
    return shown
