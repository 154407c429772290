"""Dispersive spectra: pixels become energies as the caller says, times as the file says."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from operando_readers._reader import File, FormatError
from operando_readers.dispersive import READER

ID24 = (
    ":runabs2_sun  from pixel 0 to 3 from stripe 3 to 14\n:I0 number of accum:  10\n"
    ":Sample number of accum: 4\n:Integration time sample (ms) : 150\n:N \n"
    ": Fri Apr  4 17:01:37 2003\n0 -0.5\n1 0.25\n2 1.5\n3 1.25\n"
)
CSV = ", 0 , 300.5 , 600 \n 1 , 3 , 30 , 300 \n 2 , 2 , 20 , 200 \n\n 4 , 1 , 10 , 100 \n"
LINE = [8950.0, 2.0]


def write(folder: Path, content: str | bytes, name: str = "a.csv") -> File:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return File(path)


def test_id24(tmp_path: Path) -> None:
    scan = READER.read(write(tmp_path, ID24, "cu_08"), calibration=LINE)
    assert scan["energy"].values.tolist() == [8950.0, 8952.0, 8954.0, 8956.0]
    assert scan["mu"].values.tolist() == [[-0.5, 0.25, 1.5, 1.25]]
    assert scan["mu"].attrs["mode"] == "file"
    assert scan.attrs["clock"]["start"] == "2003-04-04T17:01:37"
    assert scan.attrs["clock"]["zone"] is None
    assert scan["exposure"].values.tolist() == [0.6]
    assert scan.attrs["original_metadata"]["Integration time sample (ms)"] == "150"


def test_id24_without_a_date(tmp_path: Path) -> None:
    text = ID24.replace(": Fri Apr  4 17:01:37 2003\n", "")
    scan = READER.read(write(tmp_path, text), calibration=LINE)
    assert scan.attrs["clock"]["start"] is None


def test_a_matrix_is_mapped_by_pixel(tmp_path: Path) -> None:
    """Pixel 1 is the highest energy; a pixel is missing; a line is blank."""
    series = READER.read(write(tmp_path, CSV), calibration=[25000.0, -10.0])
    assert series["energy"].values.tolist() == [24960.0, 24980.0, 24990.0]
    assert series["mu"].values.tolist() == [[1, 2, 3], [10, 20, 30], [100, 200, 300]]
    assert series["elapsed"].values.tolist() == [0.0, 300.5, 600.0]
    assert series.attrs["clock"]["start"] is None


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_gzip_and_line_ends(tmp_path: Path, line_end: str) -> None:
    content = gzip.compress(CSV.replace("\n", line_end).encode())
    file = write(tmp_path, content, "a.CSV.gz")
    plain = READER.read(write(tmp_path, CSV), calibration=[25000.0, -10.0])
    assert READER.read(file, calibration=[25000.0, -10.0]).identical(plain)
    assert READER.sniff(content, "a.CSV.gz")


@pytest.mark.parametrize(("content", "lost"), [(ID24, 5), (CSV, 4)])
def test_a_cut_last_row_is_left_out(tmp_path: Path, content: str, lost: int) -> None:
    scan = READER.read(write(tmp_path, content[:-lost]), calibration=LINE)
    whole = READER.read(write(tmp_path, content), calibration=LINE)
    assert scan.sizes["energy"] == whole.sizes["energy"] - 1
    assert "cut short" in scan.attrs["truncated"]
    assert scan.sizes["time"] == whole.sizes["time"]


def test_a_cut_gzip_says_so(tmp_path: Path) -> None:
    rows = "".join(f"{pixel} , {pixel * 0.37:.5f} , {pixel**0.5:.7f} \n" for pixel in range(1, 400))
    content = gzip.compress((", 0 , 1 \n" + rows).encode())
    scan = READER.read(write(tmp_path, content[: len(content) // 2], "a.gz"), calibration=LINE)
    assert 50 < scan.sizes["energy"] < 399
    assert scan.attrs["truncated"] == "gzip: ends early"


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    content = packer.compress(b", 0 \n" + b" " * (64 << 20)) + packer.flush()
    with pytest.raises(FormatError, match="unpack to more than"):
        READER.read(write(tmp_path, content, "a.gz"), calibration=LINE)


@pytest.mark.parametrize(
    ("content", "calibration", "message"),
    [
        (ID24, None, r"pixels 0-3 have no energy; pass calibration="),
        (ID24, [8950.0], "expected 2 to 7 numbers"),
        (ID24, "8950", "expected 2 to 7 numbers"),
        (ID24, ["8950", 2.0], "expected 2 to 7 numbers"),
        (ID24, [8950.0, 0.0], "one direction"),
        (ID24, [8950.0, -3.0, 1.0], "one direction"),
        (ID24, [0.0, 1.0], "positive energies"),
        (ID24, [np.inf, 1.0], "one direction"),
        (ID24, [1e308, 1e308], "one direction"),
        (ID24.replace("Apr", "Apx"), LINE, "'Apx'"),
        (ID24.replace("1 0.25", "1 0.25 7"), LINE, "line 8: 3 numbers"),
        (ID24.replace("1 0.25", ": late"), LINE, "within the header"),
        (CSV.replace("300.5", "nan"), LINE, "time that is no number"),
        (CSV.replace("300.5", "noon"), LINE, "expected the seconds"),
        (CSV.replace(", 600", ""), LINE, "3 spectra under 2 times"),
        (CSV.replace("20", "x"), LINE, "line 3"),
        ("1 2\n3 4\n", LINE, "expected ':' or a row of seconds"),
        (b"\x1f\x8b" + bytes(40), LINE, "gzip: damaged"),
    ],
)
def test_refusals(
    tmp_path: Path, content: str | bytes, calibration: list[float] | None, message: str
) -> None:
    with pytest.raises(FormatError, match=message) as error:
        READER.read(write(tmp_path, content), calibration=calibration)
    assert "\n" not in str(error.value)


def test_other_tables_are_not_claimed() -> None:
    for head in (b"a,b\n1,2\n", b",1\nx,2\n", b"", b"\x1f\x8b", b"#, 1\n", b": comment\n1 2\n"):
        assert not READER.sniff(head, "a.csv")


def test_damage_is_damage_whoever_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package for cycler files puts another library in place of zlib, for the whole process."""

    class OtherError(Exception):
        pass

    class Unpacker:
        def decompress(self, raw: bytes, limit: int) -> bytes:
            raise OtherError("Error -5")

    monkeypatch.setattr(zlib, "decompressobj", lambda **how: Unpacker())
    monkeypatch.setattr(gzip.GzipFile, "read1", lambda self, size: Unpacker().decompress(b"", size))
    content = gzip.compress(CSV.encode())
    assert not READER.sniff(content, "a.gz")
    with pytest.raises(FormatError, match="gzip: damaged"):
        READER.read(write(tmp_path, content, "a.gz"), calibration=LINE)
