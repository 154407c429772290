"""What EC-Lab's columns mean, for its text and its binary files.

Column names are those of EC-Lab's own text export ("Ewe/V", "<I>/mA", "mode"), in any order.
EC-Lab counts a current positive when it oxidises the working electrode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._reader import STATES, FormatError

Array = npt.NDArray[np.float64]


POTENTIAL = {"V": 1.0, "mV": 1e-3, "µV": 1e-6}
CURRENT = {"A": 1.0, "mA": 1e-3, "µA": 1e-6, "nA": 1e-9}
CHARGE = {"A.h": 1.0, "mA.h": 1e-3, "µA.h": 1e-6, "C": 1 / 3600, "mC": 1e-3 / 3600}

WORKING = ("Ewe", "<Ewe>", "Ecell", "<Ecell>")
COUNTER = ("Ece", "<Ece>")
CONTROL = ("control/V", "control/V/mA")
COUNTS = {
    "cycle number": ("cycle_instrument", "cycle counted by the instrument"),
    "half cycle": ("half_cycle_instrument", "half cycle counted by the instrument"),
    "Ns": ("step_instrument", "sequence of the technique (Ns)"),
}
WANTED = frozenset((*WORKING, *COUNTER, "<I>", "I", "dq", "(Q-Qo)"))

SHORTEST_INTERVAL_S = 1e-4
"""Below this, dq / dt divides two rounded numbers and says nothing about the current."""


def wanted(name: str) -> bool:
    """Whether a column of this name carries something `log` uses."""
    flags = ("mode", "ox/red", "time/s")
    return name in COUNTS or name in CONTROL or name in flags or _quantity(name)[0] in WANTED


def holds_potential(names: Sequence[str]) -> bool:
    """Whether one of the columns is the potential of the working electrode, or of the cell."""
    return any(_quantity(name)[0] in WORKING for name in names)


def log(
    columns: Mapping[str, npt.NDArray[np.generic]],
    *,
    elapsed: Array,
    technique: str,
    loop_starts: Sequence[int] = (),
) -> xr.Dataset:
    """Build the log of one file from its columns.

    Parameters
    ----------
    columns
        Arrays of equal length by their names in EC-Lab's export.
    elapsed
        Seconds since "Acquisition started on", one per row.
    technique
        EC-Lab's name of the technique; its voltammetries sweep the potential in mode 2.
    loop_starts
        Row at which each loop begins.

    Returns
    -------
    Dataset on `time` with `voltage` and, where the file has them, `counter_voltage`, `current`,
    `charge_counter`, `state_instrument`, `cycle_instrument`, `half_cycle_instrument`,
    `step_instrument`, `loop`.

    Raises
    ------
    FormatError
        No potential of the working electrode, an unknown unit, or a time that is not a number.
    """
    if not np.isfinite(elapsed).all():
        raise FormatError(f"time/s: row {int(np.argmin(np.isfinite(elapsed)))} is not a number")
    voltage = _column(columns, WORKING, POTENTIAL)
    if voltage is None:
        raise FormatError(f"columns: {list(columns)}; expected a potential, one of {WORKING}")
    dataset = xr.Dataset(coords={"elapsed": ("time", elapsed, {"units": "s"})})
    dataset["voltage"] = ("time", voltage, {"units": "V"})
    counter = _column(columns, COUNTER, POTENTIAL)
    if counter is not None:
        dataset["counter_voltage"] = ("time", counter, {"units": "V"})
    current, averaging = _current(columns, elapsed)
    if current is not None:
        dataset["current"] = ("time", current, {"units": "A", "averaging": averaging})
    charge = _column(columns, ("(Q-Qo)",), CHARGE)
    if charge is not None:
        dataset["charge_counter"] = ("time", charge, {"units": "A h"})
    state = _state(columns, current=current, voltage=voltage, technique=technique)
    if state is not None:
        dataset["state_instrument"] = ("time", state, _category())
    for name, (ours, meaning) in COUNTS.items():
        if name in columns:
            attrs = {"units": "1", "long_name": meaning}
            dataset[ours] = ("time", _integers(columns[name]), attrs)
    if loop_starts:
        rows = np.arange(elapsed.size)
        loop = np.searchsorted(np.asarray(loop_starts), rows, side="right") - 1
        dataset["loop"] = ("time", loop.astype(np.int32), {"units": "1", "long_name": "loop"})
    dataset.attrs.update(technique="electrochemistry", current_sign="oxidation_positive")
    return dataset


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


def _integers(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int32]:
    numbers = values.astype(np.float64)
    countable = np.isfinite(numbers) & (np.abs(numbers) < np.iinfo(np.int32).max)
    return np.where(countable, numbers, -1).astype(np.int32)


def _category() -> dict[str, object]:
    return {
        "flag_values": np.array(list(STATES.values()), np.int32),
        "flag_meanings": " ".join(STATES),
        "units": "1",
    }
