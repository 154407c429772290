"""ASCII exports of NOVA (Metrohm Autolab): cyclic voltammetry, chrono methods and cycling.

Usage: `read(file)`.

File structure: a line of names ("Time (s)", "WE(1).Potential (V)", "WE(1).Current (A)", "Scan" ...)
and rows, divided by semicolons or tabs, in the decimal mark of the computer. No such file was at
hand; the layout is that of code that reads it (ixdat and others).

Clock: the file holds no date. `Time (s)` counts from the start of the procedure, `Corrected time
(s)`, used where there is no other, from the start of the command.

Sign: anodic currents are positive.
"""

from __future__ import annotations

import re

import xarray as xr

from operando_readers._cycler import read_log
from operando_readers._profile import Profile
from operando_readers._reader import File, Reader
from operando_readers._source import claims

PROFILE = Profile(
    instrument="Autolab",
    sign="oxidation_positive",
    header=re.compile(r"^(?!.*Frequency \()(?=.*WE\(1\)\.Potential \()"),
    columns={
        "elapsed": {"time": None, "corrected time": None},
        "voltage": {"we(1).potential": None},
        "current": {"we(1).current": None},
        "cycle": {"scan": None, "cycle": None},
    },
    delimiters=(";", "\t", ","),
)


def sniff(head: bytes, name: str) -> bool:
    """Whether the columns are the potential of WE(1) and a time, and no frequency."""
    return claims(head, PROFILE)


def read(file: File) -> xr.Dataset:
    """Read one command or procedure.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), `cycle_instrument` (the scan or
    cycle) where there is one, and the coordinate `elapsed` (s); the clock has no start.

    Raises
    ------
    FormatError
        Not such a file, or a row that is not numbers (names its line).
    """
    return read_log(file, PROFILE)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".txt", ".csv"),
    sniff=sniff,
    read=read,
    description="Autolab NOVA text export of voltammetry and chrono methods",
)
