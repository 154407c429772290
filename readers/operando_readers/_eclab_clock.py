"""When a file of EC-Lab was measured: its stamps, its .mpl log and its recording intervals.

`time/s` counts from "Acquisition started on", the start of the whole linked experiment, not of the
technique in the file: the first row is often far from zero, and is never subtracted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from operando_readers._reader import File, FormatError, clock

Clock = dict[str, str | float | None]
DateOrder = Literal["mdy", "dmy"]

STAMP = re.compile(
    r"(\d{1,2})([/.\-])(\d{1,2})\2(\d{4}|\d{2})\s+(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d{1,9}))?"
)

FIRST_YEAR, LAST_YEAR = 2005, 2099
"""What ten digits in the name of a file must lie between to be taken for unix seconds."""


def date_order_of(stamps: Sequence[str], *, declared: DateOrder | None) -> DateOrder:
    """Return whether the month or the day comes first in stamps of one file.

    EC-Lab writes slashes and dashes in the American order whatever the language of the computer;
    dots follow the computer. A first number above 12 is a day, a second one too.

    Raises
    ------
    FormatError
        A stamp is unreadable or contradicts the others, or dots leave both orders open.
    """
    order: DateOrder | None = declared
    for text in stamps:
        match = STAMP.fullmatch(text.strip())
        if match is None:
            raise FormatError(f"time stamp: {text!r}; expected MM/DD/YYYY HH:MM:SS.mmm")
        first, second = int(match[1]), int(match[3])
        found: DateOrder | None = "dmy" if first > 12 else "mdy" if second > 12 else None
        if found is not None and order is not None and found != order:
            raise FormatError(f"time stamp: {text!r}; the file or date_order says {order!r}")
        order = order or found
    if order is None:
        match = STAMP.fullmatch(stamps[0].strip())
        if match is None or (match[2] == "." and match[1] != match[3]):
            raise FormatError(
                f"time stamp: {stamps[0]!r}; day or month first? pass date_order='mdy' or 'dmy'"
            )
    return order or "mdy"


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
    order = date_order_of([text], declared=date_order)
    match = STAMP.fullmatch(text.strip())
    assert match is not None
    month, day = (match[1], match[3]) if order == "mdy" else (match[3], match[1])
    year = match[4] if len(match[4]) == 4 else f"20{match[4]}"
    try:
        moment = datetime(  # noqa: DTZ001  the file has no zone
            int(year), int(month), int(day), int(match[5]), int(match[6]), int(match[7])
        )
    except ValueError as error:
        raise FormatError(f"time stamp: {text!r}; {error}") from error
    return moment.isoformat() + (f".{match[8]}" if match[8] else "")


def acquisition_start(header: str, *, date_order: DateOrder | None = None) -> str | None:
    """Return the ISO stamp of "Acquisition started on" in a header; None when it has none."""
    match = re.search(r"^Acquisition started on\s*:\s*(.+?)\s*$", header, re.MULTILINE)
    return None if match is None else iso_stamp(match[1], date_order=date_order)


def sidecar_text(file: File) -> str:
    """Return the .mpl log that EC-Lab keeps beside a file while it runs; empty without one."""
    sidecar = file.beside(f"{file.stem}.mpl")
    return sidecar.read_text().replace("\r\n", "\n") if sidecar.exists() else ""


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
