"""Gamry Framework data files (.DTA): impedance, the tables ZCURVE.

Usage: `read(file)`; `date_order` when a DATE such as 5/11/2016 leaves day and month open.

Written by potentiostatic, galvanostatic and hybrid EIS, their multiplexed and monitoring variants.
Columns are found by name: Freq, Zreal, Zimag, and where they are there Time and Vdc. The vendor
documents that "for a capacitor, Zimag and Zphz are negative": Z' + i Z'' as it is.

Each ZCURVE is a sweep; where its frequency never changes (single-frequency EIS) each point is one.
Time is that of the end of a point, in whole seconds in the files seen, counted from the start of
the sweep. DATE and TIME are earlier than that: see `_gamry` for how the sweep is placed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _gamry
from operando_readers._reader import File, FormatError, Reader
from operando_readers._stamps import DateOrder
from operando_readers._sweeps import cartesian, find_starts, sweeps
from operando_readers._units import POTENTIAL, TIME

Array = npt.NDArray[np.float64]

FREQUENCY = {"Hz": 1.0}
IMPEDANCE = {"ohm": 1.0}


def sniff(head: bytes, name: str) -> bool:
    """Whether a Gamry file is of an impedance experiment."""
    return _gamry.is_explain(head) and _gamry.holds_impedance(head)


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read all sweeps of one file.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for a DATE in which both numbers are 12 or less.

    Returns
    -------
    `impedance` (ohm), `potential` (V) and `point_time` (s) on (time, frequency); `elapsed` is the
    start of a sweep in s since DATE and TIME, `exposure` how long it took to its last point. Rows
    that are cut and aborted experiments are named in `attrs["truncated"]`.

    Raises
    ------
    FormatError
        Not such a file, no ZCURVE or none with points, an unknown unit, a number that is none
        (names the line), commas and points in one file, a date that could be two.
    """
    explain = _gamry.parse(file.read_text())
    zeros, sigma_s = _gamry.placed(explain)
    found = [
        (table, zero)
        for table, zero in zip(explain.tables, zeros, strict=True)
        if table.has("Freq", "Zreal", "Zimag") and table.rows
    ]
    if not found:
        names = [table.name for table in explain.tables]
        raise FormatError(f"tables {names}: no points of Freq, Zreal and Zimag; aborted, or cut?")
    dataset = _sweeps(found)
    dataset.attrs.update(
        instrument="Gamry",
        clock=_gamry.started(explain, date_order=date_order, marks="start", sigma_s=sigma_s),
        original_metadata={"header": explain.header},
    )
    if explain.truncated:
        dataset.attrs["truncated"] = explain.truncated
    return dataset


def _sweeps(found: list[tuple[_gamry.Table, float]]) -> xr.Dataset:
    tables = [table for table, _ in found]
    timed = all("Time" in table.names for table in tables)
    starts: list[int] = []
    begins: list[float] = []
    times: list[Array] = []
    rows = 0
    for table, zero in found:
        frequency = table.numbers("Freq", FREQUENCY)
        own = find_starts(frequency)
        if own.size != frequency.size:
            own = own[:1]
        starts += [rows + int(row) for row in own]
        rows += frequency.size
        if timed:
            time = zero + table.numbers("Time", TIME)
            times.append(time)
            begins += [zero, *time[own[1:] - 1]]
    real = np.concatenate([table.numbers("Zreal", IMPEDANCE) for table in tables])
    imaginary = np.concatenate([table.numbers("Zimag", IMPEDANCE) for table in tables])
    potential = None
    if all("Vdc" in table.names for table in tables):
        potential = np.concatenate([table.numbers("Vdc", POTENTIAL) for table in tables])
    return sweeps(
        np.concatenate([table.numbers("Freq", FREQUENCY) for table in tables]),
        cartesian(real, imaginary),
        starts=starts,
        time=np.concatenate(times) if timed else None,
        begins=begins if timed else None,
        potential=potential,
    )


READER = Reader(
    technique="impedance",
    suffixes=(".dta",),
    sniff=sniff,
    read=read,
    description="Gamry Framework data file, impedance sweeps",
)
