"""When a file of EC-Lab was measured: its stamps, its .mpl log and its recording intervals.

`time/s` counts from "Acquisition started on", the start of the whole linked experiment, not of the
technique in the file: the first row is often far from zero, and is never subtracted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

from operando_readers._reader import File, clock
from operando_readers._stamps import DateOrder, local_iso

Clock = dict[str, str | float | None]

FIRST_YEAR, LAST_YEAR = 2005, 2099
"""What ten digits in the name of a file must lie between to be taken for unix seconds."""


def usual_order(text: str) -> DateOrder | None:
    """Return the order EC-Lab writes day and month of such a stamp in, None where it is open.

    Slashes and dashes are American whatever the language of the computer; dots follow it.
    """
    return None if "." in text.strip().partition(" ")[0] else "mdy"


def iso_stamp(text: str, *, date_order: DateOrder | None = None) -> str:
    """Return a stamp of EC-Lab in ISO 8601, with all its digits and without zone.

    Raises
    ------
    FormatError
        Not a date, or one that could be two.

    Examples
    --------
    >>> iso_stamp("07/26/2022 22:38:30.190")
    '2022-07-26T22:38:30.190'
    """
    return local_iso(text, what="time stamp", date_order=date_order, usual=usual_order(text))


def acquisition_start(header: str, *, date_order: DateOrder | None = None) -> str | None:
    """Return the ISO stamp of "Acquisition started on" in a header; None when it has none."""
    match = re.search(r"^Acquisition started on[ \t]*:([^\n]*)", header, re.MULTILINE)
    return None if match is None else iso_stamp(match[1].strip(), date_order=date_order)


def sidecar_text(file: File) -> str:
    """Return the .mpl log that EC-Lab keeps beside a file while it runs; empty without one."""
    sidecar = file.beside(f"{file.stem}.mpl")
    return sidecar.read_text() if sidecar.exists() else ""


def clock_of(start: str | None, sidecar: str, *, date_order: DateOrder | None = None) -> Clock:
    """Return the clock of a file from its own start, else from its .mpl log, else without start."""
    source: Literal["header", "sidecar", "none"] = "header"
    if start is None:
        start = acquisition_start(sidecar, date_order=date_order)
        source = "none" if start is None else "sidecar"
    return clock(start=start, zone=None, marks="instant", source=source)


def record_interval(header: str) -> float | None:
    """Return the largest positive recording interval (dt1, dtR, dtq ...) of a header, in s."""
    values: list[float] = []
    for line in re.findall(r"^dt\w{0,2} \(s\)(.*)$", header, re.MULTILINE):
        values += [float(text.replace(",", ".")) for text in re.findall(r"\d+(?:[.,]\d+)?", line)]
    return max((value for value in values if value > 0), default=None)


def hint_in_name(file: File) -> str:
    """Return what a number in the name of a file suggests about its start; empty without one.

    Some laboratories put unix seconds there. They are for the user to declare, never a clock: a
    file is renamed, or started later than it was named.
    """
    for digits in re.findall(r"(?<!\d)\d{10}(?!\d)", file.stem):
        moment = datetime.fromtimestamp(int(digits), UTC)
        if FIRST_YEAR <= moment.year <= LAST_YEAR:
            return f"{digits} in its name may be unix time, {moment:%Y-%m-%dT%H:%M:%S} UTC"
    return ""
