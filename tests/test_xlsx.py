"""Workbooks read with the standard library: cells as they are, nothing trusted."""

from __future__ import annotations

import collections
import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from operando.simulate.cyclers import BOOK, RELATIONS, SHEET, STRINGS, workbook
from operando_readers import _xlsx
from operando_readers._reader import LARGEST_RATIO, FormatError
from operando_readers._xlsx import CONTENT, Workbook, sheet_names

ONE_SHEET = BOOK.format('<sheet name="A" sheetId="1" r:id="rId1"/>')
TARGET = RELATIONS.format('<Relationship Id="rId1" Target="worksheets/sheet1.xml"/>')


def package(sheet: str, **others: str) -> bytes:
    parts = {
        "xl/workbook.xml": ONE_SHEET,
        "xl/_rels/workbook.xml.rels": TARGET,
        "xl/worksheets/sheet1.xml": sheet,
        **others,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_text_numbers_and_gaps() -> None:
    book = Workbook(workbook({"Info": [["a & b"]], "Rows": [["x", "y"], [0.1 + 0.2, 2]]}))
    assert book.names == ["Info", "Rows"]
    assert list(book.rows("Info")) == [(1, {0: "a & b"})]
    assert list(book.rows("Rows")) == [
        (1, {0: "x", 1: "y"}),
        (2, {0: "0.30000000000000004", 1: "2"}),
    ]


def test_every_kind_of_cell() -> None:
    cells = (
        '<row r="3"><c r="B3" t="inlineStr"><is><t>text</t></is></c><c t="str"><v>f</v></c>'
        '<c r="E3" t="e"><v>#DIV/0!</v></c><c r="F3" t="b"><v>1</v></c><c r="G3"/></row>'
        '<row r="9"><c r="AA9"><f>1+1</f><v> 2 </v></c></row><row r="10"/>'
    )
    rows = list(Workbook(package(SHEET.format(cells))).rows("A"))
    assert rows == [(3, {1: "text", 2: "f", 5: "1"}), (9, {26: "2"})]


def test_rich_text_is_joined() -> None:
    strings = STRINGS.format("<si><r><t>Cur</t></r><r><t>rent/mA</t></r></si>")
    sheet = SHEET.format('<row r="1"><c r="A1" t="s"><v>0</v></c></row>')
    book = Workbook(package(sheet, **{"xl/sharedStrings.xml": strings}))
    assert list(book.rows("A")) == [(1, {0: "Current/mA"})]


@pytest.mark.parametrize(("flag", "zero"), [("0", "1899-12-30"), ("1", "1904-01-01")])
def test_day_zero(flag: str, zero: str) -> None:
    declared = ONE_SHEET.replace("<sheets>", f'<workbookPr date1904="{flag}"/><sheets>')
    assert Workbook(package(SHEET, **{"xl/workbook.xml": declared})).day_zero == zero


def test_names_from_the_head_alone() -> None:
    raw = package(SHEET.format(""))
    assert sheet_names(raw[:400]) == ["A"]
    assert sheet_names(workbook({"Channel_1_1": [[1]]})) == ["Channel_1_1"]
    assert sheet_names(b"PK\x03\x04" + raw[300:]) == []
    assert sheet_names(b"text") == []


def test_hostile_names_take_no_time() -> None:
    book = package("", **{CONTENT: "<sheet " * 9_000})
    assert sheet_names(book[: 1 << 16]) == []


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ('<row><c r="A1" t="s"><v>7</v></c></row>', "string '7'"),
        ('<row><c r="17"><v>7</v></c></row>', "'17'"),
        ('<row><c r="XFD1"><v>7</v></c></row>', "at most 1024"),
        ('<row r="one"><c><v>7</v></c></row>', "damaged"),
        ("<row><c>", "damaged"),
    ],
)
def test_refusals(cells: str, message: str) -> None:
    book = Workbook(package(SHEET.format(cells)))
    with pytest.raises(FormatError, match=message):
        list(book.rows("A"))


def test_entities_are_refused() -> None:
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><worksheet>&b;</worksheet>'
    )
    with pytest.raises(FormatError, match="document type"):
        list(Workbook(package(bomb)).rows("A"))


def test_bombs_are_refused_before_they_are_read() -> None:
    sheet = SHEET.format("<row></row>" * 400_000)
    raw = package(sheet)
    assert len(sheet) > LARGEST_RATIO * len(raw)
    with pytest.raises(FormatError, match="refused"):
        list(Workbook(raw).rows("A"))


def test_more_rows_than_excel_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _xlsx.MOST_ROWS == 1_048_576  # Excel's specification
    monkeypatch.setattr(_xlsx, "MOST_ROWS", 1000)
    row = "<row><c><v>1</v></c></row>"
    assert len(list(Workbook(package(SHEET.format(row * 1000))).rows("A"))) == 1000
    with pytest.raises(FormatError, match="more than 1000 rows"):
        list(Workbook(package(SHEET.format(row * 1001))).rows("A"))


def test_too_many_strings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_xlsx, "MOST_STRINGS", 10)
    strings = STRINGS.format("<si><t>a</t></si>" * 11)
    book = Workbook(package(SHEET.format(""), **{"xl/sharedStrings.xml": strings}))
    with pytest.raises(FormatError, match="more than 10 strings"):
        list(book.rows("A"))


def test_rows_that_are_not_kept_take_no_memory() -> None:
    raw = package(SHEET.format("<row><c><v>1234</v></c></row>" * 20_000))
    rows = Workbook(raw).rows("A")
    tracemalloc.start()
    try:
        collections.deque(rows, maxlen=0)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_a_row_is_given_before_the_rest_is_read() -> None:
    raw = package(SHEET.format("<row><c><v>1</v></c></row>" * 20_000 + "<row>"))
    rows = Workbook(raw).rows("A")
    assert next(rows) == (1, {0: "1"})
    with pytest.raises(FormatError, match="damaged"):
        list(rows)


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", package("")[:-30]])
def test_no_workbook(raw: bytes) -> None:
    with pytest.raises(FormatError, match="not a readable"):
        Workbook(raw)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "no")
    with pytest.raises(FormatError, match=r"no 'xl/workbook\.xml'"):
        Workbook(buffer.getvalue())


def test_damage_anywhere_is_a_format_error() -> None:
    raw = bytearray(workbook({"Rows": [["x"], *([float(n)] for n in range(50))]}))
    rng = np.random.default_rng(5)
    for _ in range(400):
        spoiled = raw.copy()
        spoiled[rng.integers(len(raw))] ^= int(rng.integers(1, 256))
        try:
            book = Workbook(bytes(spoiled))
            for name in book.names:
                list(book.rows(name))
        except FormatError:
            pass


@pytest.mark.shared_data
def test_a_real_workbook(shared_data: Path) -> None:
    """Dimensions as the sheet itself declares them (A1:M4527)."""
    name = "bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx"
    raw = (shared_data / "formats/echem/text" / name).read_bytes()
    book = Workbook(raw)
    assert sheet_names(raw[: 1 << 16]) == book.names == ["Global_Info", "Channel_11_1"]
    rows = list(book.rows("Channel_11_1"))
    assert len(rows) == rows[-1][0] == 4527
    assert max(max(row) for _, row in rows) == ord("M") - ord("A")
