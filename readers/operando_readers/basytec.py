"""BaSyTec result files (.txt, .dat), as the Battery Test System exports them.

Usage: `read(file)`.

File structure: lines that begin with "~" (name, plan, "Start of Test: dd.mm.yyyy hh:mm:ss"), the
last of them the names with their units, then tab-separated rows, in the decimal mark of the
computer. Seen: one file.

Clock: "Start of Test", local; `Time` counts from it. "Date and Time of Data Converting" is when the
file was exported and is not used.

Sign: charging is positive; `Ah` is the balance. `Line` is the line of the test plan.
"""

from __future__ import annotations

import re

import xarray as xr

from operando_readers._cycler import read_log
from operando_readers._profile import Profile
from operando_readers._reader import File, Reader
from operando_readers._source import claims
from operando_readers._stamps import DateOrder

PROFILE = Profile(
    instrument="BaSyTec",
    sign="oxidation_positive",
    header=re.compile(r"^~Time ?\["),
    above=re.compile(r"(?i)basytec"),
    columns={
        "elapsed": {"time": None},
        "voltage": {"u": None},
        "current": {"i": None},
        "capacity": {"ah": "Ah"},
        "step": {"line": None},
        "cycle": {"cyc count": None},
        "state": {"command": None},
    },
    start=re.compile(r"^~Start of Test:[ \t]*(\S[^\n]*)", re.MULTILINE),
    usual="dmy",
    states={"Pause": "rest", "Charge": "charge", "Discharge": "discharge"},
    delimiters=("\t", ";"),
)


def sniff(head: bytes, name: str) -> bool:
    """Whether the lines above the names say BaSyTec."""
    return claims(head, PROFILE)


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read one test.

    Parameters
    ----------
    date_order
        "mdy" where the start is not dd.mm.yyyy.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), `charge_counter` (A h),
    `state_instrument`, `step_instrument`, `cycle_instrument`, and the coordinate `elapsed` (s since
    the start of the test).

    Raises
    ------
    FormatError
        Not such a file, or a row, unit or date that cannot be read; names the line.
    """
    return read_log(file, PROFILE, date_order=date_order)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".txt", ".dat", ".csv"),
    sniff=sniff,
    read=read,
    description="BaSyTec cycler export",
)
