"""The table of a cycler's export, found in text or in a workbook, its columns placed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from operando_readers import _table, _xlsx
from operando_readers._profile import COUNTS, SCALES, Profile, place, split_label
from operando_readers._reader import File, FormatError
from operando_readers._text import text_of

MOST_HEADER_LINES = 500
LONGEST_HEADER_LINE = 1 << 15
"""Names of columns are not looked for in a longer one: millions of fields take minutes."""
MOST_KEPT_ROWS = 40


@dataclass(frozen=True)
class Source:
    """The table of one file, its columns placed."""

    table: _table.Table
    places: dict[str, int]
    """Ours -> number of the column."""
    header: str
    """What stands above the table."""
    day_zero: str | None = None
    """From which day Excel counts its dates; None for text."""
    decimal: str = "."
    sheets: Mapping[str, str] = field(default_factory=dict)
    """Other worksheets, as text."""


def claims(head: bytes, profile: Profile) -> bool:
    """Whether the first bytes of a file are such an export."""
    if head.startswith(_xlsx.LOCAL_HEADER):
        names = _xlsx.sheet_names(head)
        return profile.sheets is not None and any(map(profile.sheets.fullmatch, names))
    lines = text_of(head, legacy=profile.legacy).split("\n")
    return find_names(lines, profile) is not None


def open_source(file: File, profile: Profile, *, sheet: str | None = None) -> Source:
    """Find the table of a file, in text or in a workbook."""
    raw = file.read_bytes()
    if raw.startswith(_xlsx.LOCAL_HEADER):
        return _from_workbook(raw, profile, sheet=sheet)
    lines, mid_line = _table.lines_of(text_of(raw, legacy=profile.legacy))
    found = find_names(lines, profile)
    if found is None:
        wanted = " or ".join(" and ".join(need) for need in profile.needs)
        raise FormatError(
            f"header: no line names the columns of {profile.instrument} ({wanted}) in the first "
            f"{min(len(lines), MOST_HEADER_LINES)} lines"
        )
    at, delimiter, names = found
    body = lines[at + 1 :]
    if profile.skip is not None:
        body = ["" if profile.skip.match(line) else line for line in body]
    table, places = _placed(
        names,
        _table.split(body, delimiter=delimiter, first=at + 2),
        profile,
        mid_line=mid_line,
    )
    mark = "." if delimiter == "," else _decimal_mark(table, places)
    return Source(table, places, "\n".join(lines[:at]), decimal=mark)


def find_names(lines: Sequence[str], profile: Profile) -> tuple[int, str, list[str]] | None:
    """Return the line of column names, what divides it, and the names; None without one."""
    for at, line in enumerate(lines[:MOST_HEADER_LINES]):
        if len(line) > LONGEST_HEADER_LINE or profile.header.search(line) is None:
            continue
        if profile.above is not None and not profile.above.search("\n".join(lines[:at])):
            continue
        for delimiter in profile.delimiters:
            names = _table.fields_of(line, delimiter)
            if _covers(names, profile):
                while not names[-1]:
                    names.pop()
                return at, delimiter, names
    return None


def _covers(names: Sequence[str], profile: Profile) -> bool:
    quantities = {split_label(name)[0] for name in names}
    found = {ours for ours, known in profile.columns.items() if quantities & known.keys()}
    return any(found.issuperset(need) for need in profile.needs)


def _from_workbook(raw: bytes, profile: Profile, *, sheet: str | None) -> Source:
    if profile.sheets is None:
        raise FormatError(f"workbook: {profile.instrument} files are text")
    book = _xlsx.Workbook(raw)
    chosen = _chosen_sheets(book.names, profile.sheets, sheet)
    above, names, first = _sheet(book, chosen[0], profile)

    def rows() -> Iterator[_table.Row]:
        yield from first
        for name in chosen[1:]:
            lines, found, later = _sheet(book, name, profile)
            if found != names:
                raise FormatError(f"workbook: sheets {chosen} have different columns; pass sheet")
            above.extend(lines)
            yield from later

    table, places = _placed(names, rows(), profile, mid_line=False)
    return Source(
        table,
        places,
        "\n".join(above),
        day_zero=book.day_zero,
        sheets={name: _as_text(book, name) for name in book.names if name not in chosen},
    )


def _chosen_sheets(names: Sequence[str], pattern: re.Pattern[str], sheet: str | None) -> list[str]:
    """Return the sheets of one channel, in order."""
    if sheet is not None:
        if sheet not in names:
            raise FormatError(f"sheet: {sheet!r}; there are {list(names)}")
        return [sheet]
    matches = [match for name in names if (match := pattern.fullmatch(name))]
    channels = {match[1] if pattern.groups else match[0] for match in matches}
    if len(channels) != 1:
        raise FormatError(f"workbook: sheets {list(names)}; pass sheet, the name of one of them")
    return [match[0] for match in matches]


def _sheet(
    book: _xlsx.Workbook, name: str, profile: Profile
) -> tuple[list[str], list[str], Iterator[_table.Row]]:
    """Return what stands above the names of a sheet, the names, and the rows below them."""
    cells = book.rows(name)
    above: list[str] = []
    for _, row in itertools.islice(cells, MOST_HEADER_LINES):
        names = [row.get(column, "") for column in range(max(row) + 1)]
        if profile.header.search("\t".join(names)) and _covers(names, profile):
            width = range(len(names))
            return above, names, ((line, [at.get(k, "") for k in width]) for line, at in cells)
        above.append("\t".join(row.values()))
    raise FormatError(f"workbook: no row of {name!r} names the columns of {profile.instrument}")


def _as_text(book: _xlsx.Workbook, name: str) -> str:
    """Return the first rows of a sheet that is not read, for the metadata."""
    try:
        cells = list(itertools.islice(book.rows(name), MOST_KEPT_ROWS))
    except FormatError as error:
        return str(error)
    return "\n".join("\t".join(row.values()) for _, row in cells)


def _placed(
    names: list[str], rows: Iterable[_table.Row], profile: Profile, *, mid_line: bool
) -> tuple[_table.Table, dict[str, int]]:
    """Say which column is which, and collect them."""
    places = place(names, profile)
    key = places.get("elapsed", places.get("stamp", min(places.values())))
    table = _table.table_of(
        rows,
        names,
        used=sorted(set(places.values())),
        key=key,
        mid_line=mid_line,
        unnamed=profile.unnamed,
    )
    return table, places


def _decimal_mark(table: _table.Table, places: Mapping[str, int]) -> str:
    # A duration such as "0d 00:00:5.05" may hold a mark of its own kind.
    numeric = [table.columns[at] for ours, at in places.items() if ours in (*SCALES, *COUNTS)]
    return _table.decimal_mark(field for fields in numeric for field in fields if ":" not in field)
