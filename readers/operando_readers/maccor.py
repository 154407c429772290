"""Maccor exports: .csv (Maccor Export, MIMS) and tab-separated .txt.

Usage: `read(file)`; `current_units` where the names of the columns do not say A or mA.

File structure: one to three lines with "Today's Date" (of the export) and "Date of Test", then the
names from "Rec" or "Rec#" on, then rows. Seen: one .csv; the .txt layout from two files in public
repositories (jepegit/cellpy maccor_001.txt, be-smith/navani maccor_example.txt).

Current and capacity are magnitudes. Their direction is in the column State (C charge, D discharge,
R rest, P pause; other codes are unknown to us); a .csv without it is `current_sign = "unsigned"`
and the user has to say what it was. A file with negative currents is not unsigned: its sign is
"unknown" and measured later. `Amps` are A and `Amp-hr` A h unless the name says otherwise;
`Current` and `Capacity` carry no unit at all.

Clock: `DPt Time` of every row, local, to the second: "23-Nov-23 3:56:11 PM", or MM/DD/YYYY and
DD/MM/YYYY by the settings of the computer, decided by "Date of Test" where that spells the month.
Where rows hold only the time of day, "Date of Test" gives the day of the first row.
`Today's Date` is when the file was exported and is not used.
"""

from __future__ import annotations

import re
from typing import Literal

import xarray as xr

from operando_readers._cycler import read_log
from operando_readers._profile import Profile
from operando_readers._reader import File, Reader
from operando_readers._source import claims
from operando_readers._stamps import DateOrder

PROFILE = Profile(
    instrument="Maccor",
    sign="unsigned",
    header=re.compile(r"(?i)^\W*rec#?\s*[\t,;]"),
    columns={
        "elapsed": {"test time": None, "testtime": None, "test": None},
        "stamp": {"dpt time": None},
        "voltage": {"voltage": "V", "volts": "V"},
        "current": {"current": None, "amps": "A"},
        "capacity": {"capacity": None, "cap.": None, "amp hr": "Ah"},
        "step": {"step": None},
        "cycle": {"cycle c": None, "cyc#": None, "cycle": None, "cycle p": None},
        "state": {"state": None, "md": None, "status": None},
    },
    start=re.compile(r"Date of Test:[,\s]*([^\t\n]+)"),
    states={"C": "charge", "D": "discharge", "R": "rest", "P": "rest"},
)


def sniff(head: bytes, name: str) -> bool:
    """Whether a line of names begins with the record number and goes on as Maccor's."""
    return claims(head, PROFILE)


def read(
    file: File,
    *,
    date_order: DateOrder | None = None,
    current_units: Literal["A", "mA"] | None = None,
) -> xr.Dataset:
    """Read one test.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for dates that nothing in the file decides.
    current_units
        What `Current` is measured in (and `Capacity`, per hour) where its name does not say.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous, a magnitude), `charge_counter`
    (A h, a magnitude), `state_instrument` where there is a State, `step_instrument`,
    `cycle_instrument`, and the coordinates `elapsed` and `wall_clock` (s).

    Raises
    ------
    FormatError
        Not such a file, units that nothing says, or a row or date that cannot be read.
    """
    units: dict[str, str] = {}
    if current_units is not None:
        units = {"current": current_units, "capacity": f"{current_units}h"}
    return read_log(file, PROFILE, date_order=date_order, units=units)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".csv", ".txt"),
    sniff=sniff,
    read=read,
    description="Maccor cycler exports, csv and txt",
)
