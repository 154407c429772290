"""FullProf's own formats, as its manual writes them: INSTRM 10 with keywords, and free format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.fullprof_dat import READER

XYDATA = """XYDATA
! LiFePO4 in situ
INTER  1.0  2.0  0  0.01
TEMP  298.5
! comment
! comment
"""
ROWS = "10.00  100.0  8.0\n10.01  121.0  9.0\n10.02  144.0  10.0\n"


def _write(folder: Path, text: str, name: str = "pattern.dat") -> File:
    path = folder / name
    path.write_bytes(text.encode())
    return File(path)


def test_xydata_with_its_keywords(tmp_path: Path) -> None:
    """INTER: two theta times 1, intensity and deviation times 2."""
    file = _write(tmp_path, XYDATA + ROWS)
    pattern = READER.read(file)
    assert claims(file) == ["fullprof_dat"]
    np.testing.assert_allclose(pattern["two_theta"], [10.0, 10.01, 10.02])
    np.testing.assert_array_equal(pattern["intensity"], [[200.0, 242.0, 288.0]])
    np.testing.assert_array_equal(pattern["intensity_sigma"], [[16.0, 18.0, 20.0]])
    assert pattern["temperature"].values == [298.5]
    assert pattern.attrs["clock"]["start"] is None


def test_xydata_without_deviations(tmp_path: Path) -> None:
    header = XYDATA.replace("INTER  1.0  2.0", "INTER  0.0  0.0")
    pattern = READER.read(_write(tmp_path, header + "10 4\n11 9\n"))
    assert "intensity_sigma" not in pattern
    np.testing.assert_array_equal(pattern["intensity"], [[4.0, 9.0]])


FREE = "10.0 0.5 13.0  Si standard\n  100 101 102 103\n  104 105 106\n"


@pytest.mark.parametrize("above", ["", "title of the run\n", "! a\n! b\n"])
def test_free_format(tmp_path: Path, above: str) -> None:
    file = _write(tmp_path, above + FREE)
    pattern = READER.read(file)
    assert claims(file) == ["fullprof_dat"]
    np.testing.assert_allclose(pattern["two_theta"], 10.0 + 0.5 * np.arange(7))
    np.testing.assert_array_equal(pattern["intensity"], [np.arange(100.0, 107.0)])
    assert "truncated" not in pattern.attrs


def test_free_format_that_was_cut(tmp_path: Path) -> None:
    pattern = READER.read(_write(tmp_path, FREE[:-3]))
    np.testing.assert_array_equal(pattern["intensity"], [np.arange(100.0, 106.0)])
    assert pattern.attrs["truncated"] == "6 of 7 points"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing\nof the kind\n", "neither 'XYDATA' nor"),
        ("10 0.5 13\n 1 2 3 4 5 6 7 8\n", "7 points; 8 intensities"),
        ("10 0.5 13\n 1 2 3 4\n 5 x 7\n", "line 3: 'x'; expected a number"),
        (XYDATA + "1 2 3 4\n2 3 4 5\n", "line 7: 4 columns"),
        (XYDATA.replace("1.0  2.0", "a b") + ROWS, "INTER: .*; expected two factors"),
        (XYDATA, "line 7: no numbers"),
        ("-170 1e-9 170\n 1 2 3 4 5\n", "expected ascending degrees"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.dat", "10.0 100.0 1.0\n10.5 101.0 1.0\n"),
        ("a.xy", "10.0 100.0\n10.5 101.0\n"),
        ("a.csv", FREE),
        ("a.dat", "1 2 3\n\0\n"),
    ],
)
def test_plain_columns_are_not_claimed(tmp_path: Path, name: str, text: str) -> None:
    file = _write(tmp_path, text, name)
    assert not READER.sniff(file.read_bytes(), file.name)


@pytest.mark.shared_data
def test_of_all_real_files_none_is_claimed(shared_data: Path) -> None:
    """Formats of instruments that look alike have their own readers."""
    claimed = [
        path.name
        for path in (shared_data / "formats").rglob("*")
        if path.is_file() and READER.sniff(File(path).read_bytes(1 << 16), path.name)
    ]
    assert claimed == []
