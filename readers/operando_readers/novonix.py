"""Novonix UHPC exports (.csv).

Usage: `read(file)`.

File structure: a [Summary], a [Protocol] in one line of JSON, then [Data]: the names with their
units and the rows. Seen: one file.

Clock: `Date and Time` of every row, local, to the second, beside `Run Time (h)`.

Sign: charging is positive. The numbers of `Step Type` are not translated: what they mean differs
between versions of the software.
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
    instrument="Novonix",
    sign="oxidation_positive",
    header=re.compile(r"^(?=.*Run Time \()(?=.*Potential \()"),
    above=re.compile(r"(?i)novonix|^\[Data\]$", re.MULTILINE),
    columns={
        "elapsed": {"run time": None},
        "stamp": {"date and time": None},
        "voltage": {"potential": None},
        "current": {"current": None},
        "capacity": {"capacity": None},
        "step": {"step number": None},
        "cycle": {"cycle number": None},
    },
    start=re.compile(r"^Started:[ \t]*(\S[^\n]*)", re.MULTILINE),
)


def sniff(head: bytes, name: str) -> bool:
    """Whether the file names Novonix above columns of its kind."""
    return claims(head, PROFILE)


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read one test.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for dates that nothing in the file decides.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), `charge_counter` (A h),
    `step_instrument`, `cycle_instrument`, and the coordinates `elapsed` and `wall_clock` (s).

    Raises
    ------
    FormatError
        Not such a file, or a row, unit or date that cannot be read; names the line.
    """
    return read_log(file, PROFILE, date_order=date_order)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".csv",),
    sniff=sniff,
    read=read,
    description="Novonix UHPC cycler export",
)
