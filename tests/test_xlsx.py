"""Workbooks read with the standard library: cells as they are, nothing trusted."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from operando.simulate.cyclers import BOOK, RELATIONS, SHEET, STRINGS, workbook
from operando_readers._reader import FormatError
from operando_readers._xlsx import LARGEST_RATIO, Workbook, sheet_names

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
    assert book.rows("Info") == ([{0: "a & b"}], [1])
    assert book.rows("Rows") == ([{0: "x", 1: "y"}, {0: "0.30000000000000004", 1: "2"}], [1, 2])


def test_every_kind_of_cell() -> None:
    cells = (
        '<row r="3"><c r="B3" t="inlineStr"><is><t>text</t></is></c><c t="str"><v>f</v></c>'
        '<c r="E3" t="e"><v>#DIV/0!</v></c><c r="F3" t="b"><v>1</v></c><c r="G3"/></row>'
        '<row r="9"><c r="AA9"><f>1+1</f><v> 2 </v></c></row><row r="10"/>'
    )
    rows, numbers = Workbook(package(SHEET.format(cells))).rows("A")
    assert rows == [{1: "text", 2: "f", 5: "1"}, {26: "2"}]
    assert numbers == [3, 9]


def test_rich_text_is_joined() -> None:
    strings = STRINGS.format("<si><r><t>Cur</t></r><r><t>rent/mA</t></r></si>")
    sheet = SHEET.format('<row r="1"><c r="A1" t="s"><v>0</v></c></row>')
    book = Workbook(package(sheet, **{"xl/sharedStrings.xml": strings}))
    assert book.rows("A")[0] == [{0: "Current/mA"}]


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
        book.rows("A")


def test_entities_are_refused() -> None:
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><worksheet>&b;</worksheet>'
    )
    with pytest.raises(FormatError, match="document type"):
        Workbook(package(bomb)).rows("A")


def test_bombs_are_refused_before_they_are_read() -> None:
    sheet = SHEET.format("<row></row>" * 400_000)
    raw = package(sheet)
    assert len(sheet) > LARGEST_RATIO * len(raw)
    with pytest.raises(FormatError, match="refused"):
        Workbook(raw).rows("A")


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
                book.rows(name)
        except FormatError:
            pass


@pytest.mark.shared_data
def test_a_real_workbook(shared_data: Path) -> None:
    """Dimensions as the sheet itself declares them (A1:M4527)."""
    name = "bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx"
    raw = (shared_data / "formats/echem/text" / name).read_bytes()
    book = Workbook(raw)
    assert sheet_names(raw[: 1 << 16]) == book.names == ["Global_Info", "Channel_11_1"]
    rows, numbers = book.rows("Channel_11_1")
    assert len(rows) == numbers[-1] == 4527
    assert max(map(max, rows)) == ord("M") - ord("A")
