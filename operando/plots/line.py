"""Position, width and area of one line against time and against the voltage of the cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from operando.detect.event import Event
from operando.errors import RequestError
from operando.model import positions
from operando.plots.cell import draw_voltage
from operando.plots.heatmap import time_limits
from operando.plots.marks import draw_marks, key, marks_of
from operando.plots.panels import paired_panels
from operando.plots.points import draw_against, draw_time, explain, limit, ring
from operando.plots.series import counted, series_of
from operando.plots.style import look, named, wrap
from operando.plots.timeline import since_label

NUMBERS = {"centre": "Centre", "fwhm": "FWHM", "area": "Area"}
HEIGHTS = {"number": 1.35, "voltage": 1.2}


def line(
    numbers: xr.Dataset, electrochemistry: xr.Dataset, *, events: Sequence[Event] = ()
) -> Figure:
    """Draw centre, width and area of a line, one above the other, with one standard deviation.

    Left against time, above the voltage of the cell; right against the mean voltage during the
    exposure, coloured by cycle, upward triangles on oxidation and downward ones on reduction. A
    line too weak to have a centre has an area only.

    Parameters
    ----------
    numbers
        One line of `track_peaks` at one position, on time.
    electrochemistry
        The prepared log.

    Raises
    ------
    RequestError
        The numbers are not those of one line at one position.
    """
    lacking = [name for name in NUMBERS if name not in numbers or numbers[name].dims != ("time",)]
    if lacking or len(positions(numbers)) > 1:
        raise RequestError(
            f"numbers: {lacking or list(positions(numbers))}; expected one line of track_peaks at "
            "one position"
        )
    since = electrochemistry["time"].values[0]
    several = {name: series_of(numbers, name, since) for name in NUMBERS}
    marks = marks_of(events, since=since)
    cycles = np.unique(several["area"].cycle)
    with look():
        told = wrap(
            [f"{name}: {counted('', series)}" for name, series in several.items()] + key(marks)
        )
        shown, rows, cell, legend = paired_panels(len(NUMBERS), told, **HEIGHTS)
        cell.set_xlim(*time_limits(numbers, electrochemistry, since=since))
        for (left, right), (name, series) in zip(rows, several.items(), strict=True):
            draw_time(left, series)
            draw_marks(left, marks, numbers=left is rows[0][0])
            units = str(numbers[name].attrs.get("units", "1")).replace(" * 1/", "/")
            left.set_ylabel(named(NUMBERS[name], units=units))
            draw_against(right, series.voltage, series, cycles)
            ring(right, series.voltage, series, marks)
            limit(left, series)
        draw_voltage(cell, electrochemistry, since=since)
        draw_marks(cell, marks, numbers=False)
        cell.set_xlabel(since_label(since))
        rows[-1][1].set_xlabel("Voltage (V)")
        explain(shown, legend, list(several.values()), cycles, events=bool(marks))
    return shown
