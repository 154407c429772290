"""Arbin exports: .csv of MITS Pro or Data Watcher, and .xlsx workbooks of Data-Pro.

Usage: `read(file)`; `sheet` where a workbook holds several channels.

File structure: one line of names with their units, then rows (.csv; a tab may stand before the
date); or a sheet of information and sheets `Channel_<channel>_<part>` of rows (.xlsx), whose parts
follow one another. Seen: one .csv, one .xlsx. Names with underscores and with blanks both occur.

Clock: `Date_Time` of every row, local, without zone: MM/DD/YYYY as text (Arbin declares that format
for its worksheets too), a serial number in a worksheet. "Start DateTime" of the information sheet
is not used: in the file seen it lies 104 s after the first row.

Sign: charging is positive. The charge counter is `Charge Capacity` minus `Discharge Capacity`,
which the schedule may reset.
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
    instrument="Arbin",
    sign="oxidation_positive",
    header=re.compile(
        r"(?i)^(?=.*test[_ ]time ?\()(?=.*step[_ ]index)(?=.*cycle[_ ]index)(?=.*voltage ?\()"
    ),
    columns={
        "elapsed": {"test time": None},
        "stamp": {"date time": None},
        "voltage": {"voltage": None},
        "current": {"current": None},
        "charge": {"charge capacity": None},
        "discharge": {"discharge capacity": None},
        "step": {"step index": None},
        "cycle": {"cycle index": None},
    },
    usual="mdy",
    sheets=re.compile(r"Channel[_-]?(\d+(?:-\d+)?)(?:_\d+)?"),
)


def sniff(head: bytes, name: str) -> bool:
    """Whether the names of the columns, or of the worksheets, are Arbin's."""
    return claims(head, PROFILE)


def read(
    file: File, *, date_order: DateOrder | None = None, sheet: str | None = None
) -> xr.Dataset:
    """Read one channel.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" where the dates are not MM/DD/YYYY.
    sheet
        The worksheet to read where a workbook holds several channels.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), `charge_counter` (A h),
    `step_instrument`, `cycle_instrument`, and the coordinates `elapsed` (s, the tester's counter
    from the first row) and `wall_clock` (s, the stamps from the same moment).

    Raises
    ------
    FormatError
        Not such a file, or a row, unit or date that cannot be read; names the line.
    """
    return read_log(file, PROFILE, date_order=date_order, sheet=sheet)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".csv", ".xlsx"),
    sniff=sniff,
    read=read,
    description="Arbin cycler exports, csv and xlsx",
)
