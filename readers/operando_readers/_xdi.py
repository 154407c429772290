"""The header of an XDI file: fields, columns and comments, and what in it is not right.

The grammar is that of the specification of XDI 1.0; where specification and the collection of
deliberately bad files disagree (a field without a value), the files are followed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from operando_readers._numbers import is_number
from operando_readers._reader import FormatError

VERSION = re.compile(r"#\s*XDI/(1(?:\.\d+)+)(?:\s+(.*))?")
FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)\.([A-Za-z0-9_-]+):(.*)")
FIELDS_END = re.compile(r"#\s*/{3,}")
HEADER_END = re.compile(r"#\s*-{3,}")
LONGEST_QUOTE = 60


@dataclass
class Column:
    """What the header says of a column."""

    number: int
    """From 1."""
    name: str
    unit: str

    def __str__(self) -> str:
        return f"Column.{self.number} {self.name!r}"


@dataclass
class Header:
    """The header of a file."""

    extra: str
    """What follows the version: the programs that wrote the file."""
    fields: dict[str, str] = field(default_factory=dict)
    """"Family.key" as it is spelt -> value."""
    found: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The same in lower case -> value and number of its line; of repeated ones the last."""
    comments: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    """Of the line before the rows, which is optional."""
    first_row: int = 0
    """Index of the first line of numbers."""
    left_out: list[str] = field(default_factory=list)
    """Counters that no beam reached."""
    doubts: list[str] = field(default_factory=list)
    """What is not as it should be, with its place."""

    def get(self, *keys: str) -> str:
        """Return the value of the first of these fields that is there, spelt in any case."""
        return next((self.found[key.lower()][0] for key in keys if key.lower() in self.found), "")

    def plain(self, *keys: str) -> str:
        """Return a value as `get`, without the process variable behind "||"."""
        return self.get(*keys).partition("||")[0].strip()

    def doubt(self, key: str, reason: str) -> None:
        """Note that a field is not as it should be, with its line where it has one."""
        where = f"line {self.found[key.lower()][1]}: " if key.lower() in self.found else ""
        self.doubts.append(f"{where}{key}: {reason}")

    def columns(self, count: int) -> list[Column | None]:
        """Return what each column of the rows is, None where nothing says so.

        The labels above the rows count only where there are no fields `Column.N` at all: they
        have no units.
        """
        said = self._said()
        if not said and len(self.labels) == count:
            self.doubts.append("no fields Column.N; columns by the labels above the rows")
            return [Column(number, label, "") for number, label in enumerate(self.labels, 1)]
        for number in sorted(set(said) - set(range(1, count + 1))):
            reason = f"{said[number].name!r}, but rows have {count} columns; ignored"
            self.doubt(f"Column.{number}", reason)
        for number in sorted(set(range(1, count + 1)) - set(said)):
            self.doubt(f"Column.{number}", f"missing; column {number} is left out")
        return [said.get(number) for number in range(1, count + 1)]

    def _said(self) -> dict[int, Column]:
        """Return the fields `Column.N`; what follows "||" is the name of a process variable."""
        found = {}
        for key, (value, _) in self.found.items():
            family, _, number = key.partition(".")
            if family != "column":
                continue
            name, _, unit = value.partition("||")[0].strip().partition(" ")
            if not (number.isascii() and number.isdecimal() and len(number) < 7):
                self.doubt(f"Column.{number}", "no number of a column; ignored")
            else:
                found[int(number)] = Column(int(number), name, unit.strip())
        return found


def header_of(lines: Sequence[str]) -> Header:
    """Return the header of a file, all lines up to the last that begins with #.

    Raises
    ------
    FormatError
        The first line is not that of XDI 1, a line among the fields is none, or numbers come before
        the end of the header.
    """
    match = VERSION.fullmatch(lines[0].strip()) if lines else None
    if match is None:
        found = _quote(lines[0]) if lines else "nothing"
        raise FormatError(f"line 1: {found}; expected '# XDI/1.0' or another version 1")
    at = max(number for number, line in enumerate(lines) if line.lstrip().startswith("#")) + 1
    header = Header((match[2] or "").strip(), first_row=at)
    part = "fields"
    for number, line in enumerate(lines[1:at], 2):
        text = line.strip()
        if text and not text.startswith("#"):
            _check_foreign(text, number, header)
        elif HEADER_END.match(text):
            part = "labels"
        elif part == "labels":
            header.labels = text[1:].split()
        elif part == "comments":
            header.comments.append(line.rstrip().removeprefix("#").removeprefix(" "))
        elif FIELDS_END.match(text):
            part = "comments"
        elif body := text[1:].strip():
            if number == at and ":" not in body:
                header.labels = body.split()
            else:
                _add_field(body, number, header)
    if part != "labels":
        header.doubts.append("no line '#---' at the end of the header")
    return header


def _check_foreign(text: str, number: int, header: Header) -> None:
    if is_number(text.split()[0]):
        raise FormatError(
            f"line {number}: {_quote(text)} before the last line with #, "
            f"line {header.first_row}; expected rows of numbers only below it"
        )
    header.doubts.append(f"line {number}: {_quote(text)} does not begin with #; ignored")


def _add_field(body: str, number: int, header: Header) -> None:
    match = FIELD.fullmatch(body)
    if match is None:
        raise FormatError(f"line {number}: {_quote(body)}; expected 'Family.key: value'")
    key, value = f"{match[1]}.{match[2]}", match[3].strip()
    if not value:
        raise FormatError(f"line {number}: {key}: no value; expected 'Family.key: value'")
    header.fields[key] = value
    header.found[key.lower()] = value, number


def _quote(line: str) -> str:
    text = line.strip()
    return repr(text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "...")
