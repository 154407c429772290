"""Delimited text of any make: its rows, and the numbers in its columns.

Shared by the readers of cycler exports and by `delimited`; it knows no format.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]

MISSING = ("", "nan")
"""What stands, in lower case, where nothing was measured."""
BLANKS = r"\s+"
ROW = re.compile(r"[-+.,]?\d")
"""What the time of a row begins with."""
LARGEST = 1e30
"""No quantity of a measurement is larger in any unit."""
LONGEST_QUOTE = 40
MOST_FOOTER_LINES = 1000

Row = tuple[int, list[str]]
"""Line on which a row ends, and its fields."""


@dataclass(frozen=True)
class Table:
    """Columns of fields as text; what lacks at the end of a row is empty."""

    names: list[str]
    columns: dict[int, list[str]]
    """Number of a column -> its fields, for the columns that are used."""
    lines: list[int]
    """Where the rows stand in the file, from 1."""
    footer: list[str]
    """What follows the last row."""
    truncated: str = ""
    """Why the last row was left out."""


def lines_of(text: str) -> tuple[list[str], bool]:
    """Return the lines of a text and whether the last one has no line end.

    Zeros at the end, which a computer that lost its power leaves behind, are dropped.

    Raises
    ------
    FormatError
        Zeros anywhere else.
    """
    kept = text.rstrip("\x00")
    if "\x00" in kept:
        raise FormatError(f"line {kept.count(chr(10), 0, kept.find(chr(0))) + 1}: holds NUL bytes")
    lines = kept.split("\n")
    mid_line = bool(lines[-1])
    return lines, mid_line


def fields_of(line: str, delimiter: str) -> list[str]:
    """Split one line."""
    try:
        return next((fields for _, fields in split([line], delimiter=delimiter, first=1)), [])
    except FormatError:
        return []


def split(lines: Sequence[str], *, delimiter: str, first: int) -> Iterator[Row]:
    r"""Split lines into fields without white space around them, which may be quoted.

    Parameters
    ----------
    delimiter
        One character, several, or "\s+" for any white space.
    first
        Number of ``lines[0]`` in its file.
    """
    if len(delimiter) > 1:
        for number, line in enumerate(lines, first):
            fields = line.split() if delimiter == BLANKS else line.split(delimiter)
            yield number, [field.strip() for field in fields]
        return
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    try:
        for fields in reader:
            yield first + reader.line_num - 1, [field.strip() for field in fields]
    except csv.Error as error:
        raise FormatError(f"line {first + reader.line_num - 1}: {error}") from error


def table_of(
    rows: Iterable[Row],
    names: list[str],
    *,
    used: Sequence[int],
    key: int | None = None,
    mid_line: bool = False,
    unnamed: bool = False,
) -> Table:
    """Collect the columns that are used.

    Rows that hold nothing are left out. With a `key` column, a row is what has a number or a date
    there; repeated names are left out, and what follows the last row is the footer. A last row
    without line end is left out when it is certainly cut: it has fewer fields than there are
    names, or its last field is one that is used and is shorter than in any other row.

    Parameters
    ----------
    mid_line
        Whether the last line has no line end.
    unnamed
        Rows may hold more fields than there are names.

    Raises
    ------
    FormatError
        A row is longer than the names, or something else stands between rows (names the line).
    """
    columns: dict[int, list[str]] = {at: [] for at in used}
    targets = list(columns.items())
    lines: list[int] = []
    odd: list[tuple[int, Row]] = []
    width, fields = len(names), names
    for line, fields in rows:
        if key is None:
            if not any(fields):
                continue
        elif len(fields) <= key or ROW.match(fields[key]) is None:
            if any(fields) and fields[:width] != names:
                odd.append((len(lines), (line, fields)))
                if len(odd) > MOST_FOOTER_LINES:
                    raise FormatError(f"line {line}: {quote(fields)}; expected a row of numbers")
            continue
        if len(fields) > width and not unnamed and any(fields[width:]):
            raise FormatError(f"table: Expected {width} fields in line {line}, saw {len(fields)}")
        present = len(fields)
        for at, column in targets:
            column.append(fields[at] if at < present else "")
        lines.append(line)
    footer = _footer(odd, len(lines))
    table = Table(names, columns, lines, ["\t".join(fields) for _, fields in footer])
    return _without_cut_row(table, fields) if mid_line else table


def _footer(odd: Sequence[tuple[int, Row]], rows: int) -> list[Row]:
    """Return what stands behind all rows; anything else between them is refused."""
    for before, (line, fields) in odd:
        if before < rows or rows == 0:
            raise FormatError(f"line {line}: {quote(fields)}; expected a row of numbers")
    return [row for _, row in odd]


def _without_cut_row(table: Table, last: list[str]) -> Table:
    """Leave out a last row that is cut; `last` are the fields of the last line."""
    width = len(table.names)
    reason = f"the last row is cut short: {quote(last)}"
    if table.footer:
        if ROW.match(table.footer[-1]) is None:
            return table
        return replace(table, footer=table.footer[:-1], truncated=reason)
    lengths = [len(field) for field in table.columns.get(width - 1, [])]
    shorter = len(lengths) > 1 and lengths[-1] < min(lengths[:-1])
    if not table.lines or not (len(last) < width or shorter):
        return table
    columns = {at: fields[:-1] for at, fields in table.columns.items()}
    return replace(table, columns=columns, lines=table.lines[:-1], truncated=reason)


def decimal_mark(texts: Iterable[str]) -> str:
    """Return the decimal mark of texts that hold numbers; a point where they hold neither.

    Raises
    ------
    FormatError
        Commas and points in one file.
    """
    comma = point = False
    for text in texts:
        comma, point = comma or "," in text, point or "." in text
    if comma and point:
        raise FormatError("decimal mark: commas and points in one file; export it again")
    return "," if comma else "."


def numbers(
    fields: Sequence[str],
    *,
    what: str,
    decimal: str = ".",
    missing: Sequence[str] = MISSING,
    lines: Sequence[int] | None = None,
) -> Array:
    """Return fields as the nearest float64; one of `missing` is NaN, not measured.

    Raises
    ------
    FormatError
        A field that is not a number of possible size; names its line, or its row without lines.
    """
    if decimal == "." and not any("_" in field for field in fields):
        try:
            values = np.fromiter(map(float, fields), np.float64, len(fields))
        except ValueError:
            pass
        else:
            if not (np.abs(values) > LARGEST).any():
                return values
    values = np.empty(len(fields))
    for at, field in enumerate(fields):
        value = _number(field, decimal=decimal, missing=missing)
        if value is None:
            where = f"data row {at + 1}" if lines is None else f"line {lines[at]}"
            raise FormatError(
                f"{what}: {where} holds {field!r}; expected a number with decimal {decimal!r}"
            )
        values[at] = value
    return values


def _number(field: str, *, decimal: str, missing: Sequence[str]) -> float | None:
    text = field.strip()
    if text.lower() in missing:
        return float("nan")
    if "_" in text or (decimal == "," and "." in text):
        return None
    try:
        value = float(text.replace(decimal, "."))
    except ValueError:
        return None
    return value if abs(value) <= LARGEST else None


def quote(row: Sequence[str]) -> str:
    """Return the end of a row for a message."""
    return repr(" ".join(row)[-LONGEST_QUOTE:])
