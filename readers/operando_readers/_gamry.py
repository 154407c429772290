r"""Gamry Framework data files (.DTA): objects of a header and tables, in tab-separated text.

File structure: "EXPLAIN", "TAG name of the experiment", then objects "NAME type value ...", one a
line; lines that begin with white space belong to the object before (notes). "NAME TABLE [points]"
begins a table: a row of names, a row of units, then its rows, all beginning with a tab. Encodings,
decimal marks and the order of day and month follow the computer the file was written on.

What the vendor says of time (help.gamry.com, experimental sequences and data files): DATE and TIME
are "the current time and date", written before acquisition; then the electrode is conditioned for
the time of CONDIT, where that is on; then the open circuit is recorded for the time of DELAY, where
that is on, "or until the potential stabilizes" (in physical electrochemistry before conditioning);
then the cell equilibrates for EQDELAY, where there is one; then the curve is recorded. T and Time
of a table count "since the start of data-curve acquisition".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from operando_readers._numbers import is_number
from operando_readers._reader import FormatError, clock
from operando_readers._stamps import DateOrder, local_iso
from operando_readers._table import decimal_mark
from operando_readers._units import TIME

Array = npt.NDArray[np.float64]

OPEN_CIRCUIT = "OCVCURVE"
PHYSICAL = ("CHRONO", "CV", "LSV")
"""How the tags begin of experiments that condition after the initial delay."""
ON = ("T", "TRUE")
LONGEST_S = 1e10
NUMERIC = re.compile(r"[-+]?(?=[.,]?\d)[\d.,]+(?:[eE][-+]?\d+)?")


@dataclass
class Table:
    """One table as text: rows with a field for every name, and why some at its end are left out."""

    name: str
    line: int
    """Number of its first row in the file, from 1."""
    points: int | None
    """How many rows the file announces."""
    names: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    """Lines as they are, beginning with a tab."""
    decimal: str = "."
    truncated: str = ""

    def has(self, *names: str) -> bool:
        """Whether all of these columns are there."""
        return set(names) <= set(self.names)

    def numbers(self, name: str, units: Mapping[str, float]) -> Array:
        """Return a column in the unit that has the factor 1.

        Raises
        ------
        FormatError
            The unit is none of `units`, or a field is not a number (names its line).
        """
        at = self.names.index(name)
        unit = self.units[at].partition(" vs")[0] if at < len(self.units) else ""
        if unit not in units:
            raise FormatError(f"{self.name}: {name} in {unit!r}; expected one of {list(units)}")
        if not self.rows:
            return np.empty(0)
        rows = self.rows
        if self.decimal == ",":
            rows = [row.replace(",", ".") for row in rows]
        try:
            values = np.loadtxt(rows, delimiter="\t", comments=None, usecols=at + 1, ndmin=1)
        except ValueError as error:
            texts = [row.split("\t")[at + 1] for row in rows]
            bad = next((row for row, text in enumerate(texts) if not is_number(text)), 0)
            raise FormatError(
                f"line {self.line + bad}: {name} is {texts[bad]!r}; expected a number with "
                f"decimal {self.decimal!r}"
            ) from error
        return np.asarray(values, np.float64) * units[unit]

    def time(self) -> Array | None:
        """Return its seconds, from where this table counts them; None without such a column."""
        name = next((name for name in ("T", "Time") if name in self.names), None)
        if name is None:
            return None
        time = self.numbers(name, TIME)
        if not (np.abs(time) < LONGEST_S).all():
            bad = int(np.argmin(np.abs(time) < LONGEST_S))
            raise FormatError(f"line {self.line + bad}: {name} is {time[bad]}; expected seconds")
        return time


@dataclass
class Explain:
    """A whole file: its header as text and by name, and its tables in order."""

    header: str
    objects: dict[str, list[str]]
    """Name -> the fields after it: type, values, label."""
    tables: list[Table]
    decimal: str

    def value(self, name: str, at: int = 0) -> str:
        """Return a field after the type of an object; empty when there is none."""
        fields = self.objects.get(name, [])[1:]
        return fields[at].strip() if at < len(fields) else ""

    def number(self, name: str, at: int = 0) -> float:
        """Return such a field as a number from 0 to `LONGEST_S`; 0 when it is none."""
        text = self.value(name, at).replace(self.decimal, ".")
        number = float(text) if NUMERIC.fullmatch(text) and is_number(text) else 0.0
        return number if 0 <= number <= LONGEST_S else 0.0

    @property
    def tag(self) -> str:
        """The experiment that wrote the file, in capitals."""
        return (self.objects.get("TAG") or [""])[0].strip().upper()

    @property
    def truncated(self) -> str:
        """What is missing, in words; empty when nothing is."""
        reasons = [table.truncated for table in self.tables if table.truncated]
        if self.value("EXPERIMENTABORTED").upper() in ON:
            reasons.append("the experiment was aborted")
        return "; ".join(reasons)


def is_explain(head: bytes) -> bool:
    """Whether a file begins as Gamry's do."""
    return re.match(rb"(?:\xef\xbb\xbf)?EXPLAIN[ \t]*\r?\n\s*TAG\t", head) is not None


def holds_impedance(head: bytes) -> bool:
    """Whether the experiment is one of impedance, by its tag or by a table of it."""
    tag = re.search(rb"^TAG\t([^\r\n]*)", head, re.MULTILINE)
    return b"\nZCURVE" in head or (tag is not None and b"EIS" in tag[1].upper())


def parse(text: str) -> Explain:
    """Split a file into its header and its tables.

    Raises
    ------
    FormatError
        Not such a file, a row of another length before the end of its table, or decimal commas and
        points in one file.
    """
    lines = text.split("\n")
    if lines[0].strip() != "EXPLAIN":
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected 'EXPLAIN'")
    header: list[str] = []
    objects: dict[str, list[str]] = {}
    tables: list[Table] = []
    bodies: list[list[str]] = []
    inside = False
    for number, line in enumerate(lines, 1):
        if line[:1].strip():
            fields = line.split("\t")
            inside = len(fields) > 1 and fields[1] == "TABLE"
            if inside:
                tables.append(Table(fields[0], number + 3, _announced(fields[2:])))
                bodies.append([])
            else:
                objects.setdefault(fields[0], fields[1:])
        if inside and not line[:1].strip():
            bodies[-1].append(line)
        else:
            header.append(line)
    for table, body in zip(tables, bodies, strict=True):
        last = table is tables[-1] and inside
        _fill(table, body, mid_line=last and bool(lines[-1].strip()))
    decimal = _decimal(tables)
    for table in tables:
        table.decimal = decimal
    return Explain("\n".join(header).strip(), objects, tables, decimal)


def _announced(fields: list[str]) -> int | None:
    """Return the number of points behind TABLE; some tables have none."""
    return int(fields[0]) if fields and re.fullmatch(r"[0-9]{1,9}", fields[0].strip()) else None


def _fill(table: Table, body: list[str], *, mid_line: bool) -> None:
    """Take the lines of a table apart; rows that are cut at its end are left out and counted."""
    while body and not body[-1].strip():
        body.pop()
    if len(body) < 2:
        table.truncated = f"{table.name}: cut short before its first row"
        return
    table.names = body[0].split("\t")[1:]
    table.units = body[1].split("\t")[1:]
    rows = [_row(line, len(table.names)) for line in body[2:]]
    whole = len(rows) - (mid_line and bool(rows))
    while whole > 1 and not rows[whole - 1]:
        whole -= 1
    table.rows = rows[:whole]
    if "" in table.rows:
        at = table.rows.index("")
        raise FormatError(
            f"line {table.line + at}: {body[2 + at][:40]!r}; expected {len(table.names)} fields"
        )
    if whole < len(rows):
        table.truncated = f"{table.name}: {len(rows) - whole} rows at the end are cut short"
    elif table.points is not None and whole < table.points:
        table.truncated = f"{table.name}: {whole} of {table.points} points"


def _row(line: str, count: int) -> str:
    """Return a row that has its fields, at tabs or (edited by hand) at any blanks; else nothing."""
    tabs = line.count("\t")
    if line.startswith("\t") and (tabs == count or (tabs == count + 1 and line.endswith("\t"))):
        return line
    blank = line.split()
    return "\t".join(["", *blank]) if len(blank) == count else ""


def _decimal(tables: Sequence[Table]) -> str:
    """Return the decimal mark of the whole file; flags such as "....a" are no numbers."""
    rows = [row for table in tables for row in table.rows]
    if not any("," in row for row in rows):
        return "."
    numbers = [text for row in rows for text in row.split("\t") if NUMERIC.fullmatch(text)]
    return decimal_mark(numbers)


def placed(explain: Explain) -> tuple[list[float], float | None]:
    """Return the second, counted from DATE and TIME, that each table counts its time from.

    A table whose time goes on from the one before counts from the same moment (the cycles of a
    voltammogram); one that starts again is placed at the end of what was recorded before, which is
    the earliest it can be: the file does not say how long the instrument took in between. Without
    a record of the open circuit, an initial delay that ends when the potential is stable took
    between none and all of its time: half of it is taken, and half is the uncertainty.

    Returns
    -------
    zeros : one for each table of the file
    sigma_s : half the time the file leaves open, or None.
    """
    before = _time_of(explain, "CONDIT")
    after = explain.number("EQDELAY")
    if explain.tag.startswith(PHYSICAL):
        before, after = 0.0, before + after
    spread = 0.0
    if not any(table.name == OPEN_CIRCUIT for table in explain.tables):
        delay = _time_of(explain, "DELAY")
        spread = delay / 2 if explain.number("DELAY", 2) > 0 else 0.0
        before += delay - spread
    end = before
    zeros: list[float] = []
    reached = np.inf
    for table in explain.tables:
        time = table.time()
        if table.name != OPEN_CIRCUIT:
            end, after = end + after, 0.0
        if time is None or not time.size:
            zeros.append(end)
            continue
        zeros.append(zeros[-1] if time[0] > reached else end)
        end = max(end, zeros[-1] + float(time.max()))
        reached = np.inf if table.name == OPEN_CIRCUIT else float(time[-1])
    return zeros, spread or None


def _time_of(explain: Explain, name: str) -> float:
    """Return the seconds of a step that may be switched off."""
    return explain.number(name, 1) if explain.value(name).upper() in ON else 0.0


def started(
    explain: Explain,
    *,
    date_order: DateOrder | None,
    marks: Literal["start", "instant"],
    sigma_s: float | None,
) -> dict[str, str | float | None]:
    """Return the clock of a file: its DATE and TIME, or no start when it has none.

    Raises
    ------
    FormatError
        A stamp that cannot be read, or a date that could be two.
    """
    date, time = explain.value("DATE"), explain.value("TIME")
    if not date or not time:
        return clock(start=None, zone=None, marks=marks, source="none")
    start = iso_stamp(date, time, date_order=date_order)
    return clock(start=start, zone=None, marks=marks, source="header", sigma_s=sigma_s)


def iso_stamp(date: str, time: str, *, date_order: DateOrder | None = None) -> str:
    """Return DATE and TIME in ISO 8601, without zone.

    Dates with dots put the day first, as all locales of Windows with dots and the year behind do.
    With slashes and dashes a number above 12 decides, else `date_order`.

    Raises
    ------
    FormatError
        Not a date and a time, or a date that could be two.

    Examples
    --------
    >>> iso_stamp("4/23/2018", "4:43:15 PM")
    '2018-04-23T16:43:15'
    """
    face = re.sub(r"^(\d{1,2})\.(\d{2})\.(\d{2})", r"\1:\2:\3", time)
    usual: DateOrder | None = "dmy" if "." in date else None
    return local_iso(f"{date} {face}", what="DATE and TIME", date_order=date_order, usual=usual)
