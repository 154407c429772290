"""Cyclic voltammetry: sweeps from vertex to vertex, their scan rates and their peaks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.electrochemistry.preparation import require_prepared
from operando.electrochemistry.waves import FEWEST_ROWS, TOP, Wave, measure_wave
from operando.errors import RequestError
from operando.model import STATES, averaged_backward, flag_attributes

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ASSESSMENT: dict[str, int] = {
    "few_rows": 1,
    "partial_sweep": 2,
    "no_peak": 4,
    "rate_varies": 8,
    "poor_fit": 16,
}
"""What is wrong with a sweep or its peak; 0 is success.

`few_rows`: fewer than 20; rate and peak are not measured. `partial_sweep`: it spans less than 95 %
of the widest sweep of its series (start, end, cut record). `no_peak`: the current has no extreme
inside the sweep that rises 10 sigma above both its sides. `rate_varies`: the rate over tenths of
the sweep scatters by more than 2 %. `poor_fit`: the cubic misses the rows by twice their noise.
"""

WHOLE = 0.95
SAME_RATE = 0.1
"""Sweeps whose rates differ by more belong to different series."""
PARTS, STEADY = 10, 0.02
JUMP = 20.0
"""A step back by so many median steps of the potential starts another sweep."""


class _Sweeps(NamedTuple):
    """The rows of the sweeps of a log."""

    first: Integers
    end: Integers
    way: Integers
    """1 upward, -1 downward."""
    time: Array
    voltage: Array
    current: Array
    """Of all rows: s, V, A."""

    def rows(self) -> list[slice]:
        """Return the rows of each sweep."""
        return [slice(low, high) for low, high in zip(self.first, self.end, strict=True)]


class _Rate(NamedTuple):
    """The straight line through the potential of each sweep."""

    slope: Array
    sigma: Array
    spread: Array
    """Standard deviation over tenths; V/s, as the others."""
    offset: Array
    """V at time 0."""


def voltammograms(log: xr.Dataset) -> xr.Dataset:
    """Cut the sweeps of a prepared log at their vertices and measure each.

    On `time`: `sweep_number` (from 0; -1 outside sweeps) and `cv_cycle` (from 0; -1). On `sweep`:

    - `direction` (1 upward, -1 downward), `cycle_of_sweep`, `instrument_cycle` (what the instrument
      counts for most of its rows; -1 unknown), `time_start`, `time_end`;
    - `start_potential`, `end_potential` (V): the vertices, where the straight lines through a sweep
      and its neighbour meet; first and last potential where it has no neighbour;
    - `scan_rate` (V/s, signed, least squares), its `_sigma`, and `scan_rate_spread` (standard
      deviation over tenths of the sweep, V/s);
    - `anodic_charge`, `cathodic_charge` (A h, magnitudes);
    - `peak_potential` (V), `peak_current` (A, signed), each with its `_sigma`: the largest current
      in the direction of the sweep; `assessment` (`ASSESSMENT`).

    A cycle is two sweeps, the first of a series being the first sweep of the record. A series ends
    where the run, or the rate by more than 10 %, changes, and where something else is done between.

    The peak is the maximum of a cubic fitted by least squares to the rows around the extreme of the
    smoothed current, as far down as 15 % of its height above the higher of its sides, or less where
    the noise allows, with sigmas from the scatter of the rows: waves of diffusion are skewed, which
    a parabola takes for a shift. It is the current as measured: no baseline is taken off. Only the
    largest peak is measured.

    Parameters
    ----------
    log
        From `prepare`.

    Raises
    ------
    RequestError
        The log is not prepared, or holds no sweep.

    Notes
    -----
    A wave recorded in a dozen rows or less is no cubic (`poor_fit`). Sigmas hold for white noise of
    the current.
    """
    require_prepared(log)
    state, run = log["state"].values.astype(np.int64), log["run"].values.astype(np.int64)
    direction = np.select([state == STATES["sweep_up"], state == STATES["sweep_down"]], [1, -1], 0)
    if not direction.any():
        raise RequestError("log: no sweep of the potential (states sweep_up, sweep_down) in it")
    sweeps = _sweeps(log, direction, run)
    rates = _Rate(
        *np.array([_scan_rate(sweeps.time[r], sweeps.voltage[r]) for r in sweeps.rows()]).T
    )
    joined = _joined(sweeps, rates, run)
    waves = [
        measure_wave(sweeps.voltage[r], sign * sweeps.current[r], int(sign))
        for r, sign in zip(sweeps.rows(), sweeps.way, strict=True)
    ]
    return _table(log, sweeps, rates, joined, waves)


def _sweeps(log: xr.Dataset, direction: Integers, run: Integers) -> _Sweeps:
    key = 3 * run + direction
    voltage = log["voltage"].values.astype(np.float64)
    step = np.diff(voltage, prepend=voltage[0])
    moved = np.abs(step[(direction != 0) & np.isfinite(step)])
    back = direction * step < -JUMP * (float(np.median(moved)) if moved.size else np.inf)
    first = np.flatnonzero((np.diff(key, prepend=key[0] - 1) != 0) | back)
    end = np.append(first[1:], key.size)
    sweeping = direction[first] != 0
    first, end = first[sweeping], end[sweeping]
    stamps = log["time"].values.astype("datetime64[ns]").astype(np.int64)
    return _Sweeps(
        first,
        end,
        direction[first],
        (stamps - stamps[0]) / 1e9,
        voltage,
        log["current"].values.astype(np.float64),
    )


def _joined(sweeps: _Sweeps, rates: _Rate, run: Integers) -> Mask:
    """Whether each sweep goes on from the one before, at the same rate the other way."""
    rate = np.abs(rates.slope)
    joined = np.zeros(rate.size, bool)
    with np.errstate(invalid="ignore"):
        different = np.abs(rate[1:] - rate[:-1]) > SAME_RATE * rate[1:]
    touching = sweeps.first[1:] == sweeps.end[:-1]
    same_run = run[sweeps.first[1:]] == run[sweeps.end[:-1] - 1]
    joined[1:] = touching & same_run & ~different & (sweeps.way[1:] != sweeps.way[:-1])
    return joined


def _vertices(sweeps: _Sweeps, rates: _Rate, joined: Mask) -> tuple[Array, Array]:
    """Return where each sweep starts and ends, V."""
    starts, ends = sweeps.voltage[sweeps.first].copy(), sweeps.voltage[sweeps.end - 1].copy()
    for sweep in np.flatnonzero(joined):
        before = sweep - 1
        closing = rates.slope[sweep] - rates.slope[before]
        meet = (rates.offset[before] - rates.offset[sweep]) / closing
        # Lines through a distorted sweep may meet anywhere: then the rows themselves decide.
        if sweeps.time[sweeps.end[before] - 2] < meet < sweeps.time[sweeps.first[sweep] + 1]:
            starts[sweep] = ends[before] = rates.offset[sweep] + rates.slope[sweep] * meet
    return starts, ends


def _cycles(joined: Mask) -> npt.NDArray[np.int32]:
    """Return the number of the pair each sweep belongs to; each series begins with a new one."""
    sweep = np.arange(joined.size)
    position = sweep - np.maximum.accumulate(np.where(joined, 0, sweep))
    return np.asarray(np.cumsum(position % 2 == 0) - 1, np.int32)


def _assessments(
    waves: list[Wave], span: Array, rates: _Rate, joined: Mask
) -> npt.NDArray[np.int32]:
    found = np.array([wave.assessment for wave in waves], np.int32)
    series = np.cumsum(~joined)
    widest = np.zeros(series.max() + 1)
    np.fmax.at(widest, series, span)
    found[span < WHOLE * widest[series]] |= ASSESSMENT["partial_sweep"]
    found[rates.spread > STEADY * np.abs(rates.slope)] |= ASSESSMENT["rate_varies"]
    return found


def _scan_rate(time_s: Array, voltage: Array) -> tuple[float, float, float, float]:
    """Return slope (V/s), its sigma, its spread over tenths, and the potential at time 0.

    The rows at either end are left out: they hold the vertices.
    """
    nothing = (np.nan, np.nan, np.nan, np.nan)
    seen = np.isfinite(voltage[1:-1])
    time_s, voltage = time_s[1:-1][seen], voltage[1:-1][seen]
    if time_s.size < 3 or time_s[-1] <= time_s[0]:
        return nothing
    middle = time_s.mean()
    off = time_s - middle
    square = float(off @ off)
    slope = float(off @ voltage) / square
    left = voltage - voltage.mean() - slope * off
    sigma = float(np.sqrt(left @ left / max(time_s.size - 2, 1) / square))
    spread = np.nan
    if time_s.size >= FEWEST_ROWS:
        edges = np.rint(np.linspace(0, time_s.size - 1, PARTS + 1)).astype(np.int64)
        duration = np.diff(time_s[edges])
        if (duration > 0).all():
            spread = float(np.std(np.diff(voltage[edges]) / duration, ddof=1))
    return slope, sigma, spread, float(voltage.mean() - slope * middle)


def _charges(sweeps: _Sweeps, log: xr.Dataset) -> tuple[Array, Array]:
    """Return anodic and cathodic charge (A h) of each sweep, by trapezoids or the log's rule."""
    step = np.diff(sweeps.time, prepend=sweeps.time[:1])
    sampled = (sweeps.current + np.append(sweeps.current[:1], sweeps.current[:-1])) / 2
    current = np.where(averaged_backward(log), sweeps.current, sampled)
    passed = np.nan_to_num(step * current) / 3600
    sums = [np.append(0.0, np.cumsum(np.maximum(way * passed, 0))) for way in (1, -1)]
    anodic, cathodic = (total[sweeps.end] - total[sweeps.first + 1] for total in sums)
    return anodic, cathodic


def _table(
    log: xr.Dataset, sweeps: _Sweeps, rates: _Rate, joined: Mask, waves: list[Wave]
) -> xr.Dataset:
    starts, ends = _vertices(sweeps, rates, joined)
    anodic, cathodic = _charges(sweeps, log)
    peaks = np.array([wave[:4] for wave in waves]).T
    cycle = _cycles(joined)
    columns: dict[str, tuple[npt.NDArray[Any], str, str]] = {
        "direction": (sweeps.way.astype(np.int32), "1", "1 upward, -1 downward"),
        "cycle_of_sweep": (cycle, "1", "cycle of two sweeps, from 0"),
        "instrument_cycle": (_instrument_cycle(log, sweeps), "1", "cycle the instrument counts"),
        "start_potential": (starts, "V", "potential the sweep starts from"),
        "end_potential": (ends, "V", "potential the sweep ends at"),
        "scan_rate": (rates.slope, "V/s", "scan rate"),
        "scan_rate_sigma": (rates.sigma, "V/s", "standard deviation of the scan rate"),
        "scan_rate_spread": (rates.spread, "V/s", "scatter of the rate over tenths"),
        "anodic_charge": (anodic, "A h", "charge of positive current"),
        "cathodic_charge": (cathodic, "A h", "charge of negative current, magnitude"),
        "peak_potential": (peaks[0], "V", "potential of the peak"),
        "peak_potential_sigma": (peaks[1], "V", "its standard deviation"),
        "peak_current": (peaks[2], "A", "current of the peak, no baseline taken off"),
        "peak_current_sigma": (peaks[3], "A", "its standard deviation"),
    }
    table = xr.Dataset(
        _on_time(sweeps, cycle),
        {
            "time": log["time"],
            "sweep": ("sweep", np.arange(cycle.size), {"units": "1"}),
        },
    )
    for name, (values, units, meaning) in columns.items():
        table[name] = ("sweep", values, {"units": units, "long_name": meaning})
    for name in ("scan_rate", "peak_potential", "peak_current"):
        table[name].attrs["ancillary_variables"] = f"{name}_sigma"
    for name, rows in (("time_start", sweeps.first), ("time_end", sweeps.end - 1)):
        table[name] = ("sweep", log["time"].values[rows])
    assessment = _assessments(waves, np.abs(ends - starts), rates, joined)
    table["assessment"] = ("sweep", assessment, flag_attributes(ASSESSMENT))
    return table.assign_attrs(
        peak=f"cubic through the rows at the top {TOP:.0%} or less of the largest maximum",
        vertices="where straight lines through neighbouring sweeps meet",
    )


def _on_time(sweeps: _Sweeps, cycle: npt.NDArray[np.int32]) -> dict[str, Any]:
    number = np.full(sweeps.time.size, -1, np.int32)
    for sweep, rows in enumerate(sweeps.rows()):
        number[rows] = sweep
    cycles = np.where(number >= 0, cycle[number], -1).astype(np.int32)
    return {
        "sweep_number": ("time", number, {"units": "1", "long_name": "sweep; -1 none"}),
        "cv_cycle": ("time", cycles, {"units": "1", "long_name": "cycle; -1 none"}),
    }


def _instrument_cycle(log: xr.Dataset, sweeps: _Sweeps) -> npt.NDArray[np.int32]:
    counted = np.full(sweeps.first.size, -1, np.int32)
    if "cycle_instrument" in log:
        told = log["cycle_instrument"].values.astype(np.int64)
        for sweep, rows in enumerate(sweeps.rows()):
            values, often = np.unique(told[rows], return_counts=True)
            counted[sweep] = values[np.argmax(often)]
    return counted
