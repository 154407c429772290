r"""Logs exported as text by PowerSuite (Princeton Applied Research).

Usage: `read(file)`; `current_units` where the name of the current does not say A or mA.

File structure: names divided by a tab and a blank ("Elapsed Time\t E\t I"), then rows divided
alike; lines end in CR CR LF. Seen: only an export of impedance in this layout, with bare names.
That logs are written alike is an inference from it, and so are the names read here: E or Potential,
I or Current, T, Time or Elapsed Time, with or without units. Potential is V and time is s where the
name does not say, as impedance is in ohm; the unit of the current must be said.

Clock: the file holds no date.

Sign: what the software was set to; it is measured later, or declared by the user.
"""

from __future__ import annotations

import re
from typing import Literal

import xarray as xr

from operando_readers._cycler import read_log
from operando_readers._profile import Profile
from operando_readers._reader import File, Reader
from operando_readers._source import claims

PROFILE = Profile(
    instrument="PowerSuite",
    sign="unknown",
    header=re.compile(r"^(?!.*Freq)[^\t]*(?:\t [^\t]+)+\t?$"),
    columns={
        "elapsed": {"elapsed time": "s", "time": "s", "t": "s"},
        "voltage": {"potential": "V", "e": "V"},
        "current": {"current": None, "i": None},
    },
    delimiters=("\t",),
)


def sniff(head: bytes, name: str) -> bool:
    """Whether names divided by a tab and a blank hold a potential and a time."""
    return claims(head, PROFILE)


def read(file: File, *, current_units: Literal["A", "mA", "uA"] | None = None) -> xr.Dataset:
    """Read one measurement.

    Parameters
    ----------
    current_units
        What the current is measured in where its name does not say.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous) and the coordinate `elapsed` (s);
    the clock has no start.

    Raises
    ------
    FormatError
        Not such a file, a current without units, or a row that is not numbers.
    """
    return read_log(file, PROFILE, units={"current": current_units} if current_units else {})


READER = Reader(
    technique="electrochemistry",
    suffixes=(".txt",),
    sniff=sniff,
    read=read,
    description="PowerSuite text export of a log",
)
