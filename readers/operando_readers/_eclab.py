"""What EC-Lab's columns mean, for its text and its binary files.

Column names are those of EC-Lab's own text export ("Ewe/V", "<I>/mA", "mode"), in any order.
EC-Lab counts a current positive when it oxidises the working electrode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._log import counted, flagged
from operando_readers._reader import STATES, FormatError
from operando_readers._sweeps import find_starts
from operando_readers._units import CHARGE, CURRENT, POTENTIAL

Array = npt.NDArray[np.float64]
Variables = dict[str, tuple[str | tuple[str, ...], npt.NDArray[np.generic], dict[str, Any]]]

FREQUENCY = "freq/Hz"
WORKING = ("Ewe", "<Ewe>", "Ecell", "<Ecell>")
COUNTER = ("Ece", "<Ece>")
CONTROL = ("control/V", "control/V/mA")
COUNTS = {
    "cycle number": ("cycle_instrument", "cycle counted by the instrument"),
    "half cycle": ("half_cycle_instrument", "half cycle counted by the instrument"),
    "Ns": ("step_instrument", "sequence of the technique (Ns)"),
}
WANTED = frozenset((*WORKING, *COUNTER, "<I>", "I", "dq", "(Q-Qo)"))
MONITORED = {
    "Analog IN 1/V": ("analog_in_1", "V", "voltage at analog input 1"),
    "Analog IN 2/V": ("analog_in_2", "V", "voltage at analog input 2"),
    "Analog IN 3/V": ("analog_in_3", "V", "voltage at analog input 3"),
    "Temperature/°C": ("temperature", "degree_Celsius", "temperature seen by the instrument"),
    "T/°C": ("temperature", "degree_Celsius", "temperature seen by the instrument"),
}
"""What else is recorded: a trigger of the beamline, a thermocouple."""

SHORTEST_INTERVAL_S = 1e-4
"""Below this, dq / dt divides two rounded numbers and says nothing about the current."""

Lacks = Callable[[Sequence[str]], str]
"""Says which columns are missing among some names for what a reader is asked for; empty if none."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One technique of EC-Lab as its file has it, whichever the format."""

    columns: Mapping[str, npt.NDArray[np.generic]]
    """Arrays of equal length by their names in EC-Lab's export."""
    elapsed: Array | None
    """Seconds since "Acquisition started on", one per row."""
    technique: str
    """EC-Lab's name of the technique."""
    loop_starts: Sequence[int]
    """Row at which each loop begins."""
    attrs: dict[str, Any]
    """Attributes of the dataset: clock, instrument, original metadata, what is truncated."""
    raw: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """Bytes (rows, bytes) of columns that are not known, by the name they are kept under."""


def wanted(name: str) -> bool:
    """Whether a column of this name carries something `log` uses."""
    flags = ("mode", "ox/red", "error", "time/s")
    return (
        name in COUNTS
        or name in CONTROL
        or name in flags
        or name in MONITORED
        or name == FREQUENCY
        or _quantity(name)[0] in WANTED
    )


def is_potential(name: str) -> bool:
    """Whether a column of this name is the potential of the working electrode, or of the cell."""
    return _quantity(name)[0] in WORKING


def lacks_log(names: Sequence[str]) -> str:
    """Return what columns of these names lack for `log`."""
    enough = "time/s" in names and any(is_potential(name) for name in names)
    return "" if enough else "'time/s' and a potential such as 'Ewe/V'"


def potential(columns: Mapping[str, npt.NDArray[np.generic]]) -> Array | None:
    """Return the potential of the working electrode, or of the cell, in V.

    Raises
    ------
    FormatError
        It is in an unknown unit.
    """
    return _column(columns, WORKING, POTENTIAL)


def log(recording: Recording) -> xr.Dataset:
    """Build the log of one file.

    Returns
    -------
    Dataset on `time` with `voltage` and, where the file has them, `counter_voltage`, `current`,
    `charge_counter`, `state_instrument`, `cycle_instrument`, `half_cycle_instrument`,
    `step_instrument`, `loop`, `analog_in_1`, `analog_in_2`, `temperature`; `error_instrument` only
    where the instrument reports an error in some row. Columns that nobody knows are bytes on
    (time, <name>_byte).

    Raises
    ------
    FormatError
        No potential of the working electrode, an unknown unit, or a time that is not a number.
    """
    columns, elapsed = recording.columns, recording.elapsed
    voltage = potential(columns)
    if voltage is None or elapsed is None:
        raise FormatError(f"columns: {list(columns)}; expected {lacks_log([])}")
    if not np.isfinite(elapsed).all():
        raise FormatError(f"time/s: row {int(np.argmin(np.isfinite(elapsed)))} is not a number")
    found: Variables = {"voltage": ("time", voltage, {"units": "V"})}
    counter = _column(columns, COUNTER, POTENTIAL)
    if counter is not None:
        found["counter_voltage"] = ("time", counter, {"units": "V"})
    current, averaging = _current(columns, elapsed)
    if current is not None:
        found["current"] = ("time", current, {"units": "A", "averaging": averaging})
    charge = _column(columns, ("(Q-Qo)",), CHARGE)
    if charge is not None:
        found["charge_counter"] = ("time", charge, {"units": "A h"})
    technique = recording.technique
    state = _state(columns, current=current, voltage=voltage, technique=technique)
    if state is not None:
        found["state_instrument"] = flagged(state)
    for name, (ours, meaning) in COUNTS.items():
        if name in columns:
            found[ours] = counted(columns[name], meaning=meaning)
    facts: dict[str, Any] = {
        "technique": "electrochemistry",
        "current_sign": "oxidation_positive",
    }
    if (interval := _longest_point(columns, elapsed)) is not None:
        facts["max_record_interval_s"] = interval
    return xr.Dataset(
        found | _besides(recording, rows=elapsed.size),
        {"elapsed": ("time", elapsed, {"units": "s"})},
        recording.attrs | facts,
    )


def _longest_point(columns: Mapping[str, npt.NDArray[np.generic]], elapsed: Array) -> float | None:
    """Return the longest time between two points of a sweep: a low frequency, and no gap."""
    if FREQUENCY not in columns:
        return None
    frequency = columns[FREQUENCY].astype(np.float64)
    points = np.flatnonzero(frequency > 0)
    took = np.diff(elapsed[points])
    took[find_starts(frequency[points])[1:] - 1] = 0.0
    return float(took.max()) if took.size and took.max() > 0 else None


def _besides(recording: Recording, *, rows: int) -> Variables:
    """Return what a file may hold besides: loops, errors, other signals, unknown columns."""
    columns = recording.columns
    found: Variables = {}
    if recording.loop_starts:
        starts = np.asarray(recording.loop_starts)
        loop = np.searchsorted(starts, np.arange(rows), side="right") - 1
        found["loop"] = counted(loop, meaning="loop")
    if "error" in columns and (error := columns["error"] == 1).any():
        found["error_instrument"] = counted(error, meaning="error reported by the instrument")
    for name, (ours, units, meaning) in MONITORED.items():
        if name in columns and ours not in found:
            attrs = {"units": units, "long_name": meaning}
            found[ours] = ("time", columns[name].astype(np.float64), attrs)
    for name, block in recording.raw.items():
        attrs = {"units": "1", "long_name": "bytes of columns that are not known"}
        found[name] = (("time", f"{name}_byte"), block, attrs)
    return found


def _quantity(name: str) -> tuple[str, str]:
    """Split "Ewe/V", "<Ewe>/V" and "<Ewe/V>" into what and unit."""
    if name.startswith("<") and name.endswith(">"):
        what, _, unit = name[1:-1].rpartition("/")
        return f"<{what}>", unit
    what, _, unit = name.rpartition("/")
    return what, unit


def _column(
    columns: Mapping[str, npt.NDArray[np.generic]],
    quantities: Sequence[str],
    units: Mapping[str, float],
) -> Array | None:
    named = {_quantity(name)[0]: name for name in reversed(list(columns))}
    for quantity in quantities:
        if quantity in named:
            unit = _quantity(named[quantity])[1]
            if unit not in units:
                raise FormatError(f"column {named[quantity]!r}: unit {unit!r} of {list(units)}")
            return columns[named[quantity]].astype(np.float64) * units[unit]
    return None


def _current(
    columns: Mapping[str, npt.NDArray[np.generic]], elapsed: Array
) -> tuple[Array | None, str]:
    """Return <I> (mean since the previous row), else I (instantaneous), else <I> from dq.

    EC-Lab's <I> is dq / dt of the row; rebuilt from the two columns it agrees with the export to
    rounding. The first row follows no other, so it has none.
    """
    mean = _column(columns, ("<I>",), CURRENT)
    if mean is not None:
        return mean, "backward"
    instant = _column(columns, ("I",), CURRENT)
    if instant is not None:
        return instant, "instantaneous"
    passed = _column(columns, ("dq",), CHARGE)
    if passed is None:
        return None, ""
    rebuilt = np.full(elapsed.size, np.nan)
    # A damaged row may hold any number; it becomes infinite or NaN like any bad measurement.
    with np.errstate(over="ignore", invalid="ignore"):
        interval = np.diff(elapsed, prepend=np.nan)
        np.divide(3600 * passed, interval, out=rebuilt, where=interval >= SHORTEST_INTERVAL_S)
    return rebuilt, "backward"


def _state(
    columns: Mapping[str, npt.NDArray[np.generic]],
    *,
    current: Array | None,
    voltage: Array,
    technique: str,
) -> npt.NDArray[np.int32] | None:
    """Return what the instrument says it does: its mode first, then the direction of the current.

    `ox/red` keeps its last value at rest and lags at steps, so it decides only where the current
    is zero or missing.
    """
    if "mode" not in columns:
        resting = technique.startswith("Open Circuit")
        return np.zeros(voltage.size, np.int32) if resting else None
    mode = columns["mode"].astype(np.float64)
    sign = np.zeros(voltage.size) if current is None else np.sign(np.nan_to_num(current))
    if "ox/red" in columns:
        oxidising = columns["ox/red"].astype(np.float64) > 0
        sign = np.where(sign == 0, np.where(oxidising, 1, -1), sign)
    state = np.full(voltage.size, STATES["unknown"], np.int32)
    state[mode == 3] = STATES["rest"]
    for code, up, down in ((1, "charge", "discharge"), (2, "hold_charge", "hold_discharge")):
        state[(mode == code) & (sign > 0)] = STATES[up]
        state[(mode == code) & (sign < 0)] = STATES[down]
    if "Voltammetry" in technique:
        control = _control(columns, voltage)
        state[(mode == 2) & (control > 0)] = STATES["sweep_up"]
        state[(mode == 2) & (control < 0)] = STATES["sweep_down"]
    return state


def _control(columns: Mapping[str, npt.NDArray[np.generic]], voltage: Array) -> Array:
    """Return the direction the potential was driven in: up 1, down -1, never moved 0."""
    driven = next((columns[name] for name in CONTROL if name in columns), voltage)
    if driven.size < 2:
        return np.zeros(driven.size)
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.nan_to_num(np.sign(np.diff(driven.astype(np.float64))))
    moving = np.flatnonzero(step)
    if not moving.size:
        return np.zeros(driven.size)
    step = np.concatenate((step[moving[:1]], step))
    last = np.maximum.accumulate(np.where(step != 0, np.arange(step.size), 0))
    direction: Array = step[last]
    return direction
