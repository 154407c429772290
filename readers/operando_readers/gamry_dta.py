"""Gamry Framework data files (.DTA): what the potentiostat recorded against time.

Usage: `read(file)`; `date_order` when a DATE such as 3/10/2019 leaves day and month open.

Every table with a time (T) and a potential (Vf) is read, in the order of the file: CURVE of
chronoamperometry, chronopotentiometry, open circuit, charge and discharge; CURVE1, CURVE2 ... of
cyclic voltammetry; OCVCURVE, the open circuit before any of them. Impedance (ZCURVE) is read by
`gamry_impedance`. See `_gamry` for the layout, and for how the tables are placed in time.

Vf is the potential of the working electrode (in electrochemical energy experiments of the cell), Im
the current, sampled. Its sign: CONVENTION is the current convention of the potentiostat, 0 cathodic
and 1 anodic currents positive; the files seen say 1, and polarise accordingly. Without it, and with
the working lead on the negative electrode of a cell (WORKINGCONNECTION 1), the sign is unknown.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _gamry
from operando_readers._log import counted, flagged
from operando_readers._reader import STATES, File, FormatError, Reader
from operando_readers._stamps import DateOrder
from operando_readers._units import CURRENT, POTENTIAL, TIME

Array = npt.NDArray[np.float64]

CYCLE = re.compile(r"CURVE(\d{1,6})")
CHARGING = re.compile(r"(?:PWR\d*_?)?(DIS)?CHARGE")
COUNTS = {
    "loop": "stretch of the instrument's time counter",
    "step_instrument": "table of the file",
    "cycle_instrument": "cycle counted by the instrument",
}


def sniff(head: bytes, name: str) -> bool:
    """Whether a Gamry file holds a table of potentials against time, as far as its head shows."""
    if not _gamry.is_explain(head):
        return False
    table = re.search(rb"^\t(?=(?:[^\n]*\t)?T\t)(?:[^\n]*\t)?Vf\b", head, re.MULTILINE)
    return table is not None or not _gamry.holds_impedance(head)


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read all tables of one file.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for a DATE in which both numbers are 12 or less.

    Returns
    -------
    Log on `time`: `voltage` (V) and, where a table has it, `current` (A; NaN in the others), with
    `elapsed` in s since DATE and TIME. `state_instrument` where the experiment implies it: open
    circuit, charge, discharge, and the direction of a voltammogram. Several tables are told apart
    by `step_instrument`, stretches of time that start again by `loop`, cycles of a voltammogram by
    `cycle_instrument`. Rows that are cut, tables shorter than they announce and aborted experiments
    are named in `attrs["truncated"]`.

    Raises
    ------
    FormatError
        Not such a file, no table of potential against time, an unknown unit, a number that is none
        (names the line), commas and points in one file, a date that could be two.
    """
    explain = _gamry.parse(file.read_text())
    zeros, sigma_s = _gamry.placed(explain)
    found = [pair for pair in zip(explain.tables, zeros, strict=True) if pair[0].has("T", "Vf")]
    if not found:
        names = [table.name for table in explain.tables]
        raise FormatError(f"tables {names}: none has the columns T and Vf; aborted, or cut short?")
    parts = [_part(table, zero, tag=explain.tag) for table, zero in found]
    dataset = _joined(parts)
    dataset.attrs.update(
        technique="electrochemistry",
        instrument="Gamry",
        clock=_gamry.started(explain, date_order=date_order, marks="instant", sigma_s=sigma_s),
        original_metadata={"header": explain.header},
    )
    if "current" in dataset:
        dataset.attrs["current_sign"] = _sign(explain)
    if explain.truncated:
        dataset.attrs["truncated"] = explain.truncated
    return dataset


def _part(table: _gamry.Table, zero: float, *, tag: str) -> dict[str, Array]:
    """Return the columns of one table by our names; states and cycles as numbers, -1 unknown."""
    time = table.numbers("T", TIME)
    columns = {"elapsed": zero + time, "voltage": table.numbers("Vf", POTENTIAL)}
    if "Im" in table.names:
        columns["current"] = table.numbers("Im", CURRENT)
    columns["state_instrument"] = _states(table, tag, columns["voltage"])
    cycle = CYCLE.fullmatch(table.name)
    number = float(cycle[1]) if cycle is not None and tag == "CV" else -1.0
    columns["cycle_instrument"] = np.full(time.size, number)
    columns["zero"] = np.full(time.size, zero)
    return columns


def _states(table: _gamry.Table, tag: str, voltage: Array) -> Array:
    charging = CHARGING.fullmatch(tag)
    if table.name == _gamry.OPEN_CIRCUIT or tag == "CORPOT":
        state = "rest"
    elif charging is not None:
        state = "discharge" if charging[1] else "charge"
    elif tag == "CV":
        return _sweep(table.numbers("Sig", POTENTIAL) if "Sig" in table.names else voltage)
    else:
        state = "unknown"
    return np.full(voltage.size, float(STATES[state]))


def _sweep(driven: Array) -> Array:
    """Return the direction the potential is driven in, up to each row; the first as the second."""
    step = np.zeros(driven.size)
    if driven.size > 1:
        with np.errstate(over="ignore", invalid="ignore"):
            step[1:] = np.diff(driven)
        step[0] = step[1]
    up, down = float(STATES["sweep_up"]), float(STATES["sweep_down"])
    return np.select([step > 0, step < 0], [up, down], float(STATES["unknown"]))


def _joined(parts: list[dict[str, Array]]) -> xr.Dataset:
    """Put the columns of all tables one after another; what a table lacks is NaN."""

    def column(name: str) -> Array:
        return np.concatenate(
            [part.get(name, np.full(part["elapsed"].size, np.nan)) for part in parts]
        )

    dataset = xr.Dataset(coords={"elapsed": ("time", column("elapsed"), {"units": "s"})})
    dataset["voltage"] = ("time", column("voltage"), {"units": "V"})
    if any("current" in part for part in parts):
        attrs = {"units": "A", "averaging": "instantaneous"}
        dataset["current"] = ("time", column("current"), attrs)
    state = column("state_instrument")
    if (state >= 0).any():
        dataset["state_instrument"] = flagged(state)
    cycle = column("cycle_instrument")
    if (cycle >= 0).any():
        dataset["cycle_instrument"] = counted(cycle, meaning=COUNTS["cycle_instrument"])
    if len(parts) > 1:
        step = np.repeat(np.arange(len(parts)), [part["elapsed"].size for part in parts])
        dataset["step_instrument"] = counted(step, meaning=COUNTS["step_instrument"])
        restarts = np.diff(column("zero"), prepend=column("zero")[:1]) != 0
        dataset["loop"] = counted(np.cumsum(restarts), meaning=COUNTS["loop"])
    return dataset


def _sign(explain: _gamry.Explain) -> str:
    if explain.value("WORKINGCONNECTION") == "1":
        return "unknown"
    signs = {"1": "oxidation_positive", "0": "oxidation_negative"}
    return signs.get(explain.value("CONVENTION"), "unknown")


READER = Reader(
    technique="electrochemistry",
    suffixes=(".dta",),
    sniff=sniff,
    read=read,
    description="Gamry Framework data file, curves against time",
)
