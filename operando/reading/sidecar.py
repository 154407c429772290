"""Times of exposures from a log beside the data, for files that carry none."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from operando.errors import ReadError, RequestError
from operando.reading.files import expand
from operando_readers._reader import File


@dataclass(frozen=True, kw_only=True)
class Log:
    """A table with one row an exposure: which file, when it began and when it ended."""

    path: str | Path
    """A delimited text file; ``archive.zip!member`` is read in place."""
    name: str
    """Column that says which file: it must stand in the file's name as a whole number or word."""
    start: str
    """Column of the start of the exposure."""
    end: str | None = None
    """Column of its end; without it the exposure comes from elsewhere."""
    cell_voltage: str | None = None
    """Column of the beamline's own reading of the cell, in V: what an offset is proposed from."""
    format: str | None = None
    """`strptime` format of the stamps; ISO 8601 when not given."""
    delimiter: str = ","


@dataclass(frozen=True)
class Row:
    """One exposure of the log; stamps are ISO 8601, as written, without a zone."""

    name: str
    start: str
    end: str | None
    cell_voltage: float | None


def rows(log: Log) -> list[Row]:
    """Read the log.

    Raises
    ------
    ReadError
        The file is not there, or a stamp is not in the declared format: names line and column.
    RequestError
        A named column does not exist: names those there are.
    """
    named = expand(log.path)
    if len(named) != 1:
        raise ReadError(f"log.path: {log.path} names {len(named)} files; expected one table")
    [file] = named
    if len(log.delimiter) != 1:
        raise RequestError(f"log.delimiter: {log.delimiter!r}; expected one character")
    table = csv.DictReader(io.StringIO(file.read_text()), delimiter=log.delimiter)
    columns = list(table.fieldnames or [])
    for key in ("name", "start", "end", "cell_voltage"):
        column = getattr(log, key)
        if column is not None and column not in columns:
            raise RequestError(f"log.{key}: {file} has no column {column!r}; it has {columns}")
    found = []
    for number, line in enumerate(table, start=2):
        where = f"{file}, line {number}"
        if None in line.values():
            raise ReadError(f"{where}: {len(columns)} columns expected, the line is shorter")
        start = _iso(line[log.start], log.format, f"{where}, column {log.start!r}")
        end = _iso(line[log.end], log.format, f"{where}, column {log.end!r}") if log.end else None
        voltage = _volts(line[log.cell_voltage], where) if log.cell_voltage else None
        found.append(Row(line[log.name].strip(), start, end, voltage))
    return found


def row_of(file: File, table: list[Row], *, where: str) -> Row:
    """Return the one row whose name stands in the name of `file` as a whole token.

    Raises
    ------
    ReadError
        No row, or more than one, belongs to the file.
    """
    tokens = set(re.split(r"[^0-9A-Za-z]+", file.name)) | {file.name, file.stem}
    found = [row for row in table if row.name in tokens]
    if len(found) != 1:
        raise ReadError(
            f"{file}: {len(found)} rows of {where} belong to it; expected exactly one name of the "
            "log in the file's name"
        )
    return found[0]


def _volts(text: str, where: str) -> float:
    """Return a potential; an empty cell is NaN."""
    if not text.strip():
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise ReadError(f"{where}: {text!r} is no number of volts; expected 3.712") from error


def _iso(text: str, format: str | None, where: str) -> str:
    try:
        if format is None:
            stamp = datetime.fromisoformat(text.strip())
        else:
            stamp = datetime.strptime(text.strip(), format)  # noqa: DTZ007 - zoned by `clocks`
    except (ValueError, AttributeError) as error:
        raise ReadError(
            f"{where}: {text!r} is not {format or 'ISO 8601'}; declare log.format"
        ) from error
    return stamp.isoformat()
