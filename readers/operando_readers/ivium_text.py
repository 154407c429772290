"""Text exports of IviumSoft: cyclic voltammetry and the chrono methods.

Usage: `read(file)`; `date_order` when a start such as 04/03/2021 leaves day and month open.

File structure: a line with the start, a line of names ("time/s  E/V  I/A") and columns of numbers
divided by blanks; or names such as "time /s" and tab-separated columns without a start. Rows may
hold a further column without a name: it is not read. No such file was at hand; the layout is that
of code that reads it (ixdat).

Clock: the first line, local, day first or month first by the settings of the computer.

Sign: what the software was set to; it is measured later, or declared by the user.
"""

from __future__ import annotations

import re

import xarray as xr

from operando_readers._cycler import read_log
from operando_readers._profile import Profile
from operando_readers._reader import File, Reader
from operando_readers._source import claims
from operando_readers._stamps import DateOrder
from operando_readers._table import BLANKS

PROFILE = Profile(
    instrument="Ivium",
    sign="unknown",
    header=re.compile(r"(?i)^\s*time ?/s\b"),
    columns={"elapsed": {"time": None}, "voltage": {"e": None}, "current": {"i": None}},
    start=re.compile(r"\A\s*(\d{1,4}[-/.]\d{1,2}[-/.]\d{2,4}\s+\d{1,2}:\d{2}:\d{2}\S*)"),
    delimiters=("\t", BLANKS),
    unnamed=True,
)


def sniff(head: bytes, name: str) -> bool:
    """Whether a line of names begins with the time and holds E and I."""
    return claims(head, PROFILE)


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read one measurement.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for a start that could be two dates.

    Returns
    -------
    Log on `time` with `voltage` (V, the column E), `current` (A, instantaneous) and the coordinate
    `elapsed` (s since the start).

    Raises
    ------
    FormatError
        Not such a file, a row that is not numbers, or a start that could be two dates.
    """
    return read_log(file, PROFILE, date_order=date_order)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".txt", ".csv"),
    sniff=sniff,
    read=read,
    description="Ivium text export",
)
