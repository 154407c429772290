"""Worksheets of an .xlsx file as rows of text, read with the standard library alone.

The package is a zip of XML. Nothing in it is trusted: a member that claims to unpack far
(`_reader.check_unpacking`) is refused, so are more rows than Excel itself can hold and a document
type (entities, references to other files); formulas and links are never looked at. Rows are given
as they are parsed, so that what is not asked for is never kept. Numbers keep all their digits;
dates are serial numbers, to be read with `day_zero`.
"""

from __future__ import annotations

import collections
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from xml.parsers import expat

from operando_readers._reader import FormatError, check_unpacking

LARGEST_SHEET = 1 << 30
LARGEST_STRINGS = 1 << 28
MOST_ROWS = 1 << 20
"""Of a sheet, in Excel's own specification."""
MOST_STRINGS = 1 << 22
MOST_COLUMNS = 1024
CHUNK = 1 << 16
CONTENT = "xl/workbook.xml"
LOCAL_HEADER = b"PK\x03\x04"

Start = Callable[[str, dict[str, str]], None]
Row = dict[int, str]
"""Column (from 0) -> text of the cell; empty cells are left out."""


def sheet_names(head: bytes) -> list[str]:
    """Return the names of the sheets from the first bytes of a file; empty where they come later.

    The list of contents stands at the end of a zip, but each member has its own header in front.
    """
    at = head.find(CONTENT.encode())
    if not head.startswith(LOCAL_HEADER) or at < 30 or head[at - 30 : at - 26] != LOCAL_HEADER:
        return []
    packed = head[at + len(CONTENT) + int.from_bytes(head[at - 2 : at], "little") :]
    try:
        if int.from_bytes(head[at - 22 : at - 20], "little") == zipfile.ZIP_DEFLATED:
            packed = zlib.decompressobj(-15).decompress(packed, CHUNK)
    except zlib.error:
        return []
    found = re.findall(rb'<(?:\w{1,20}:)?sheet\s[^<>]*?\bname="([^"]*)"', packed[:CHUNK])
    return [name.decode("utf-8", errors="replace") for name in found]


class Workbook:
    """An .xlsx file that has been opened.

    Raises
    ------
    FormatError
        Not a readable workbook; any method may raise it for the part it reads.
    """

    def __init__(self, raw: bytes) -> None:
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(raw))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise FormatError(f"workbook: not a readable .xlsx file ({error})") from error
        self._members = self._list()
        self._shared: list[str] | None = None

    def _list(self) -> dict[str, str]:
        """Return sheet name -> member, and learn from which day dates are counted."""
        sheets: dict[str, str] = {}
        targets: dict[str, str] = {}
        self.day_zero = "1899-12-30"

        def on_workbook(tag: str, attrs: dict[str, str]) -> None:
            if tag == "workbookPr" and attrs.get("date1904", "0") in ("1", "true"):
                self.day_zero = "1904-01-01"
            if tag == "sheet" and "name" in attrs:
                identity = [value for key, value in attrs.items() if key.endswith(":id")]
                sheets[attrs["name"]] = identity[0] if identity else ""

        def on_relation(tag: str, attrs: dict[str, str]) -> None:
            if tag == "Relationship":
                targets[attrs.get("Id", "")] = attrs.get("Target", "")

        for member, start in (
            (CONTENT, on_workbook),
            ("xl/_rels/workbook.xml.rels", on_relation),
        ):
            collections.deque(self._parsed(member, start=start), maxlen=0)
        return {
            name: posixpath.normpath(posixpath.join("xl", targets[identity])).lstrip("/")
            for name, identity in sheets.items()
            if identity in targets
        }

    @property
    def names(self) -> list[str]:
        """Names of the sheets in order."""
        return list(self._members)

    def rows(self, sheet: str) -> Iterator[tuple[int, Row]]:
        """Give the rows of a sheet that hold something, with their numbers from 1."""
        cells = _Cells(self._strings())
        member = self._members[sheet]
        for _ in self._parsed(member, start=cells.start, end=cells.end, data=cells.data):
            yield from cells.rows
            cells.rows.clear()

    def _strings(self) -> list[str]:
        if self._shared is None:
            found, member = _Strings(), "xl/sharedStrings.xml"
            if member in self._archive.namelist():
                strings = self._parsed(
                    member,
                    start=found.start,
                    end=found.end,
                    data=found.data,
                    largest=LARGEST_STRINGS,
                )
                collections.deque(strings, maxlen=0)
            self._shared = found.items
        return self._shared

    def _parsed(
        self,
        member: str,
        *,
        start: Start,
        end: Callable[[str], None] | None = None,
        data: Callable[[str], None] | None = None,
        largest: int = LARGEST_SHEET,
    ) -> Iterator[None]:
        """Parse a member, coming back after every piece of it for what the callbacks found."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = lambda tag, attrs: start(tag.rpartition(":")[2], attrs)
        if end is not None:
            parser.EndElementHandler = lambda tag: end(tag.rpartition(":")[2])
        parser.CharacterDataHandler = data
        parser.StartDoctypeDeclHandler = _refuse_doctype
        try:
            info = self._archive.getinfo(member)
            check_unpacking(info, largest=largest, what=f"workbook: {member!r}")
            with self._archive.open(info) as stream:
                while chunk := stream.read(CHUNK):
                    parser.Parse(chunk, False)
                    yield
            parser.Parse(b"", True)
            yield
        except KeyError as error:
            raise FormatError(f"workbook: no {member!r} in it") from error
        except (
            expat.ExpatError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            OSError,
            ValueError,
        ) as error:
            raise FormatError(f"workbook: {member!r} is damaged ({error})") from error


def _refuse_doctype(*_: object) -> None:
    raise FormatError("workbook: a document type is declared; refused")


class _Strings:
    """Collects the table of strings, whose items may be cut into pieces of rich text."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self._pieces: list[str] = []
        self._inside = False

    def start(self, tag: str, attrs: Mapping[str, str]) -> None:
        if tag == "si":
            self._pieces = []
        self._inside = tag == "t"

    def data(self, text: str) -> None:
        if self._inside:
            self._pieces.append(text)

    def end(self, tag: str) -> None:
        self._inside = False
        if tag == "si":
            self.items.append("".join(self._pieces))
            if len(self.items) > MOST_STRINGS:
                raise FormatError(f"workbook: more than {MOST_STRINGS} strings; refused")


class _Cells:
    """Collects the cells of a sheet row by row."""

    def __init__(self, shared: list[str]) -> None:
        self.rows: list[tuple[int, Row]] = []
        self._shared = shared
        self._row: Row = {}
        self._number = 0
        self._count = 0
        self._column = -1
        self._kind = "n"
        self._pieces: list[str] = []
        self._inside = False

    def start(self, tag: str, attrs: Mapping[str, str]) -> None:
        if tag == "row":
            self._row, self._column = {}, -1
            self._number = int(attrs.get("r", self._number + 1))
            self._count += 1
            if self._count > MOST_ROWS:
                raise FormatError(f"workbook: more than {MOST_ROWS} rows in a sheet; refused")
        elif tag == "c":
            self._column = _column(attrs["r"]) if "r" in attrs else self._column + 1
            self._kind = attrs.get("t", "n")
            self._pieces = []
        self._inside = tag in ("v", "t")

    def data(self, text: str) -> None:
        if self._inside:
            self._pieces.append(text)

    def end(self, tag: str) -> None:
        self._inside = False
        if tag == "c" and self._pieces and self._kind != "e":
            text = "".join(self._pieces)
            self._row[self._column] = self._string(text) if self._kind == "s" else text.strip()
        elif tag == "row" and self._row:
            self.rows.append((self._number, self._row))

    def _string(self, index: str) -> str:
        if not index.strip().isdecimal() or int(index) >= len(self._shared):
            raise FormatError(f"workbook: row {self._number} names string {index!r}, not there")
        return self._shared[int(index)].strip()


def _column(reference: str) -> int:
    """Return the column of a cell such as "B7", from 0."""
    letters = re.match(r"[A-Z]{1,3}", reference)
    if letters is None:
        raise FormatError(f"workbook: cell {reference[:20]!r}; expected a name such as B7")
    at = 0
    for letter in letters[0]:
        at = at * 26 + ord(letter) - ord("A") + 1
    if at > MOST_COLUMNS:
        raise FormatError(f"workbook: cell {reference!r}; a log has at most {MOST_COLUMNS} columns")
    return at - 1
