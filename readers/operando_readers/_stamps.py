"""Dates and times as cyclers write them, parsed alike on every machine and in every language.

No locale and no time zone of the reading computer takes part: month names are a table, and a date
that could be two (04/05/2024) is an error unless something decides it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError

DateOrder = Literal["mdy", "dmy"]
Array = npt.NDArray[np.float64]

DATE = (
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"
    r"|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
    r"|\d{1,2}\.?[-\s]+[^\W\d_]{3,9}\.?,?[-\s]+(?:\d{4}|\d{2})"
    r"|[^\W\d_]{3,9}\.?\s+\d{1,2},\s*\d{4}"
)
STAMP = re.compile(
    rf"({DATE})(?:[T,\s]+(\d{{1,2}}):(\d{{2}})(?::(\d{{2}})(?:[.,:](\d{{1,9}}))?)?"
    r"(?:\s*([AaPp])\.?[Mm]\.?)?)?\s*(Z|[+-]\d{2}:?\d{2})?"
)
HALF_DAY = re.compile(r"(\d{1,2})(:.{1,30}?)\s{0,9}([AaPp])\.?[Mm]\.?")
MONTHS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6},
    **{"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12},
    **{"mär": 3, "mrz": 3, "mai": 5, "okt": 10, "dez": 12},
    **{"fév": 2, "fev": 2, "avr": 4, "aoû": 8, "aou": 8, "déc": 12},
}
YEARS = (1990, 2200)
EXCEL_DAYS = (32874, 109575)
"""Serial days of those years, counted from the end of 1899."""
SAME_SPAN = 0.01
LONGEST_STAMP = 60


@dataclass(frozen=True)
class Moments:
    """Stamps of rows: wall-clock times, or instants when they carried an offset."""

    values: npt.NDArray[np.datetime64]
    """datetime64[ns] (n,), NaT where a row has none."""
    zone: str | None
    """"UTC" when every stamp carried its offset, else None."""
    digits: int | None
    """Of the fraction of a second; -1 without seconds, None where they are not text."""

    @property
    def resolution_s(self) -> float:
        """1 for whole seconds, 60 for minutes, 0 for anything finer."""
        return {-1: 60.0, 0: 1.0}.get(self.digits, 0.0) if self.digits is not None else 0.0

    def iso(self, row: int) -> str:
        """Return one of them in ISO 8601 with all its digits, without offset."""
        whole, _, fraction = str(self.values[row]).partition(".")
        fraction = fraction.rstrip("0") if self.digits is None else fraction[: max(self.digits, 0)]
        return f"{whole}.{fraction}" if fraction else whole


class _Split(NamedTuple):
    date: str
    seconds: int
    nanoseconds: int
    digits: int
    """-1 without seconds, else digits of the fraction."""
    offset_s: int | None


def moments(
    texts: Sequence[str],
    *,
    what: str,
    date_order: DateOrder | None = None,
    usual: DateOrder | None = None,
    beside: Sequence[str] = (),
    counter: Array | None = None,
    excel: str | None = None,
) -> Moments:
    """Return stamps as times.

    Parameters
    ----------
    texts
        Stamps (n,); an empty one is NaT.
    date_order
        What the user says of dates such as 04/05/2024.
    usual
        What is known of the software that wrote them; used when nothing in the file decides.
    beside
        Other stamps of the file, of about the first row.
    counter
        Seconds on another clock of the same rows (n,).
    excel
        Day zero of serial numbers ("1899-12-30", "1904-01-01"); None where stamps are text.

    Raises
    ------
    FormatError
        Not a date, one that does not exist, or one that could be two.
    """
    if excel is not None and any(_is_serial(text) for text in texts):
        return _from_serials(texts, what=what, day_zero=excel)
    parts = [_split(text, what=what) for text in texts]
    dates = {part.date for part in parts if part is not None}
    order = date_order or _order_of(dates) or _order_beside(dates, beside)
    if order is None and counter is not None:
        order = _order_by_counter(parts, counter)
    order = order or usual
    if order is None and any(_is_open(date) for date in dates):
        text = next(text for text in texts if text.strip())
        raise FormatError(
            f"{what}: {text.strip()!r}; day or month first? pass date_order='mdy' or 'dmy'"
        )
    days = {date: _day(date, order or "mdy", what=what) for date in dates}
    return _assemble(parts, days, what=what)


def local_iso(
    text: str, *, what: str, date_order: DateOrder | None = None, usual: DateOrder | None = None
) -> str:
    """Return one stamp of a clock on the wall in ISO 8601 with all its digits.

    Raises
    ------
    FormatError
        As `moments`, there is no stamp, or it carries an offset.
    """
    stamp = moments([text], what=what, date_order=date_order, usual=usual)
    if stamp.zone is not None or np.isnat(stamp.values[0]):
        raise FormatError(f"{what}: {text!r}; expected a local time without offset")
    return stamp.iso(0)


def _assemble(
    parts: Sequence[_Split | None], days: dict[str, np.datetime64], *, what: str
) -> Moments:
    given = [part for part in parts if part is not None]
    zoned = {part.offset_s is not None for part in given}
    if len(zoned) > 1:
        raise FormatError(f"{what}: some stamps carry an offset from UTC, others do not")
    nat = np.datetime64("NaT", "ns")
    values = np.array([nat if part is None else days[part.date] for part in parts], "M8[ns]")
    seconds = [0 if part is None else part.seconds - (part.offset_s or 0) for part in parts]
    fractions = [0 if part is None else part.nanoseconds for part in parts]
    shift = np.array(seconds, np.int64) * 1_000_000_000 + np.array(fractions, np.int64)
    digits = max((part.digits for part in given), default=0)
    return Moments(
        values + shift.astype("m8[ns]"),
        "UTC" if zoned == {True} else None,
        digits,
    )


def _split(text: str, *, what: str) -> _Split | None:
    text = text.strip()
    if not text:
        return None
    match = STAMP.fullmatch(text) if len(text) <= LONGEST_STAMP else None
    if match is None:
        raise FormatError(f"{what}: {text[:40]!r}; expected a date and a time")
    date, hour, minute, second, fraction, half, offset = match.groups()
    hours = int(hour or 0)
    if half is not None:
        if not 1 <= hours <= 12:
            raise FormatError(f"{what}: {text!r}; hour {hours} with {half.upper()}M")
        hours = hours % 12 + (12 if half in "Pp" else 0)
    if hours > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        raise FormatError(f"{what}: {text!r}; there is no such time")
    seconds = hours * 3600 + int(minute or 0) * 60 + int(second or 0)
    digits = -1 if second is None else len(fraction or "")
    return _Split(date, seconds, int((fraction or "0").ljust(9, "0")), digits, _offset(offset))


def _offset(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "Z":
        return 0
    sign = -1 if text[0] == "-" else 1
    return sign * (int(text[1:3]) * 3600 + int(text[-2:]) * 60)


def _fields(date: str) -> tuple[int, int, int] | None:
    """Return the three numbers of a date that holds nothing else."""
    numbers = re.split(r"[-/.]", date)
    if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        return None
    first, second, third = (int(number) for number in numbers)
    return first, second, third


def _is_open(date: str) -> bool:
    """Whether a date could be two."""
    fields = _fields(date)
    return fields is not None and fields[0] <= 12 and fields[1] <= 12 and fields[0] != fields[1]


def _order_of(dates: set[str]) -> DateOrder | None:
    """Return the order that a number above 12 proves."""
    for date in dates:
        fields = _fields(date)
        if fields is not None and 12 < fields[0] <= 31:
            return "dmy"
        if fields is not None and fields[0] <= 12 < fields[1]:
            return "mdy"
    return None


def _order_beside(dates: set[str], beside: Sequence[str]) -> DateOrder | None:
    """Return the order that puts a stamp within a day of another one that leaves no choice."""
    known = []
    for text in beside:
        match = STAMP.fullmatch(text.strip()[:LONGEST_STAMP])
        if match is not None and not _is_open(match[1]):
            known.append(_day(match[1], _order_of({match[1]}) or "mdy", what="header"))
    orders: set[DateOrder] = set()
    for date in filter(_is_open, dates):
        for order in ("mdy", "dmy"):
            day = _day(date, order, what="stamp")
            if any(abs(day - other) <= np.timedelta64(1, "D") for other in known):
                orders.add(order)
    return orders.pop() if len(orders) == 1 else None


def _order_by_counter(parts: Sequence[_Split | None], counter: Array) -> DateOrder | None:
    """Return the only order in which the stamps span as long as the counter."""
    rows = [at for at, part in enumerate(parts) if part is not None]
    if len(rows) < 2:
        return None
    first, last = parts[rows[0]], parts[rows[-1]]
    assert first is not None
    assert last is not None
    wanted = float(counter[rows[-1]] - counter[rows[0]])
    fitting: set[DateOrder] = set()
    for order in ("mdy", "dmy"):
        days = _day(last.date, order, what="stamp") - _day(first.date, order, what="stamp")
        span = days.astype(np.int64) / 1e9 + last.seconds - first.seconds
        if abs(span - wanted) <= max(2.0, SAME_SPAN * wanted):
            fitting.add(order)
    return fitting.pop() if len(fitting) == 1 else None


def _day(date: str, order: DateOrder, *, what: str) -> np.datetime64:
    """Return midnight of a date."""
    fields = _fields(date)
    if fields is None:
        year, month, day = _with_month_name(date, what=what)
    elif fields[0] > 31:
        year, month, day = fields
    else:
        month, day = fields[:2] if order == "mdy" else fields[1::-1]
        year = fields[2]
    year += 2000 if year < 100 else 0
    try:
        moment = datetime(year, month, day)  # noqa: DTZ001  the file has no zone
    except ValueError as error:
        raise FormatError(f"{what}: {date!r}; {error}") from error
    if not YEARS[0] <= year <= YEARS[1]:
        raise FormatError(f"{what}: {date!r}; expected a year from {YEARS[0]} to {YEARS[1]}")
    return np.datetime64(moment, "ns")


def _with_month_name(date: str, *, what: str) -> tuple[int, int, int]:
    words = [word for word in re.split(r"[\s.,-]+", date) if word]
    name = next(word for word in words if not word[0].isdecimal())
    day, year = (int(word) for word in words if word is not name)
    month = _month(name)
    if month is None:
        raise FormatError(f"{what}: {date!r}; month {name!r} is not known")
    return year, month, day


def without_words(texts: Sequence[str], layout: str) -> tuple[list[str], str]:
    """Put numbers for the month names and AM/PM of stamps, and for them in their strptime layout.

    What strptime takes for a month's name depends on the locale of the process.

    >>> without_words(["23-Nov-23 3:56:11 PM"], "%d-%b-%y %I:%M:%S %p")
    (['23-11-23 15:56:11'], '%d-%m-%y %H:%M:%S')
    """
    if not re.search("%[bBp]", layout):
        return list(texts), layout
    plain = [re.sub(r"[^\W\d_]{3,}\.?", _month_number, text) for text in texts]
    if "%p" in layout:
        plain = [re.sub(HALF_DAY, _on_24_hours, text) for text in plain]
        layout = re.sub(r"\s*%p", "", layout.replace("%I", "%H"))
    return plain, layout.replace("%b", "%m").replace("%B", "%m")


def _month_number(match: re.Match[str]) -> str:
    month = _month(match[0])
    return match[0] if month is None else str(month)


def _on_24_hours(match: re.Match[str]) -> str:
    return f"{int(match[1]) % 12 + (12 if match[3] in 'Pp' else 0)}{match[2]}"


def _month(name: str) -> int | None:
    key = name.lower()
    return 6 if key == "juin" else 7 if key.startswith("juil") else MONTHS.get(key[:3])


def unix_moments(texts: Sequence[str], *, what: str) -> Moments:
    """Return Unix seconds as instants, exact to the nanosecond."""
    values = np.empty(len(texts), "M8[ns]")
    for at, text in enumerate(texts):
        match = re.fullmatch(r"\+?(\d{1,11})(?:\.(\d*))?", text, re.ASCII)
        if match is None and text:
            raise FormatError(f"{what}: {text[:40]!r}; expected Unix seconds")
        whole = np.datetime64("NaT", "s") if match is None else np.datetime64(int(match[1]), "s")
        if (
            match is not None
            and not YEARS[0] <= whole.astype("M8[Y]").astype(int) + 1970 <= YEARS[1]
        ):
            raise FormatError(f"{what}: {text!r}; not seconds since 1970 of any year we know")
        digits = ((match[2] or "") if match is not None else "")[:9]
        values[at] = whole.astype("M8[ns]") + np.timedelta64(int(digits.ljust(9, "0")), "ns")
    fractions = any(text.rpartition(".")[2].strip("0") for text in texts if "." in text)
    return Moments(values, "UTC", None if fractions else 0)


def _is_serial(text: str) -> bool:
    try:
        return EXCEL_DAYS[0] - 1462 <= float(text) <= EXCEL_DAYS[1]
    except ValueError:
        return False


def _from_serials(texts: Sequence[str], *, what: str, day_zero: str) -> Moments:
    """Return Excel's days since day zero as times, to the microsecond a float64 holds."""
    zero = datetime.fromisoformat(day_zero).replace(tzinfo=UTC)
    values = np.full(len(texts), "NaT", "M8[ns]")
    for at, text in enumerate(texts):
        if not text:
            continue
        if not _is_serial(text):
            raise FormatError(f"{what}: {text[:40]!r}; expected a date as serial number")
        moment = zero + timedelta(microseconds=round(float(text) * 86_400e6))
        values[at] = np.datetime64(moment.replace(tzinfo=None), "ns")
    return Moments(values, None, None)
