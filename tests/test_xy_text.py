"""Dialects of plain-column patterns: separators, decimal marks, axes, dates, damage."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from operando_readers._reader import File, FormatError
from operando_readers.xy_text import READER

MSPD = """# a/17_Da_f00001.xye : mythproc.py merge -s 0.006 -o xye a/17_Da_00001.dat
# IsMon = [6749354, 6746660, 6746966]  IsPos = [-1.5000, -2.4886, -3.4988]
# Wave = 0.4962  CalPath a/Si_Pos1_25keV_f00001.cal
# Date = 2025-09-23_17:48:41 Dt = 4.8000  Bin = 0.0060  <imon> = 6747660 +/- 1204
# icurr 250.5445  mocoIn 1.7091E-05
#      4
 1.5496000E+00  3.7743111E+04  2.0522634E+02
 1.5556000E+00  0.0000000E+00  2.0356618E+02
 1.5616000E+00  0.0000000E+00  0.0000000E+00
 1.5676000E+00  0.0000000E+00  0.0000000E+00
"""


def _write(folder: Path, content: str | bytes, name: str = "pattern.xye") -> File:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return File(path)


def _sniffed(file: File) -> bool:
    return READER.sniff(file.read_bytes(1 << 16), file.name)


def test_mspd_header(tmp_path: Path) -> None:
    file = _write(tmp_path, MSPD)
    pattern = READER.read(file)
    assert _sniffed(file)
    assert pattern.attrs["clock"] == {
        "start": "2025-09-23T17:48:41",
        "zone": None,
        "marks": "start",
        "source": "header",
        "sigma_s": None,
    }
    assert pattern["exposure"].values == pytest.approx([3 * 4.8])
    assert pattern.attrs["wavelength_angstrom"] == 0.4962
    assert pattern.attrs["monitor"] == 6747660.0
    assert "icurr 250.5445" in pattern.attrs["original_metadata"]["header"]
    assert "truncated" not in pattern.attrs


def test_rows_that_were_not_measured_are_nan_but_a_zero_count_is_a_count(tmp_path: Path) -> None:
    pattern = READER.read(_write(tmp_path, MSPD))
    np.testing.assert_array_equal(pattern["intensity"][0], [37743.111, 0.0, np.nan, np.nan])
    np.testing.assert_array_equal(pattern["intensity_sigma"][0, 1:], [203.56618, np.nan, np.nan])


@pytest.mark.parametrize(
    "body",
    [
        "5.5 10\n6.5 20.25\n7.5 30\n",
        "5.5\t10\r\n6.5\t20.25\r\n7.5\t30\r\n",
        "5.5,10\n6.5,20.25\n7.5,30\n",
        "5.5, 10\n6.5, 20.25\n7.5, 30\n",
        "5.5;10\n6.5;20.25\n7.5;30\n",
        "5,5;10\n6,5;20,25\n7,5;30\n",
        "5,5 10\n6,5 20,25\n7,5 30\n",
        "5,5\t10,0\n6,5\t20,25\n7,5\t30,0\n",
        "7.5 30\n6.5 20.25\n5.5 10\n",
        "5.5 10\n\n# pause\n6.5 2.025E+01\n7.5 30",
        "!lab\n; run 2\nSample: LiCoO2 at 25 C\n5.5 10\r\r\n6.5 20.25\r\r\n7.5 30\r\r\n",
        "/*\n# frame.tif #0001 Azm= 0.00\n*/\n5.5 10\n6.5 20.25\n7.5 30\n",
    ],
)
def test_separators_decimal_marks_and_comments(tmp_path: Path, body: str) -> None:
    file = _write(tmp_path, body, "pattern.xy")
    pattern = READER.read(file)
    assert _sniffed(file)
    np.testing.assert_array_equal(pattern["two_theta"], [5.5, 6.5, 7.5])
    np.testing.assert_array_equal(pattern["intensity"], [[10.0, 20.25, 30.0]])
    assert pattern.attrs["clock"]["start"] is None


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"# T = 25 \xb0C\n"])
def test_encodings(tmp_path: Path, head: bytes) -> None:
    pattern = READER.read(_write(tmp_path, head + b"5.5 10\n6.5 20\n"))
    np.testing.assert_array_equal(pattern["two_theta"], [5.5, 6.5])


@pytest.mark.parametrize(
    ("line", "start", "zone"),
    [
        ("# 2026-01-01T00:00:30", "2026-01-01T00:00:30", None),
        ("# 2026-01-01T00:00:30.250+01:00", "2026-01-01T00:00:30.250", "+01:00"),
        ("# 2026-01-01 00:00:30Z", "2026-01-01T00:00:30", "UTC"),
        ("! start time: 2026-01-01 00:00:30", "2026-01-01T00:00:30", None),
        ("# Date = 2026-01-01T00:00:30", "2026-01-01T00:00:30", None),
        ("# integrated on 2026-01-01T00:00:30", None, None),
        ("# exported: 2026-01-01T00:00:30", None, None),
    ],
)
def test_dates(tmp_path: Path, line: str, start: str | None, zone: str | None) -> None:
    clock = READER.read(_write(tmp_path, f"{line}\n5 1\n6 2\n")).attrs["clock"]
    assert (clock["start"], clock["zone"]) == (start, zone)
    assert clock["source"] == ("none" if start is None else "header")


@pytest.mark.parametrize(
    ("header", "name", "positions"),
    [
        ("", "two_theta", [1.0, 2.0]),
        ("# chi_Q chi_I", "q", [1.0, 2.0]),
        ("# q_A^-1  I", "q", [1.0, 2.0]),
        ("# q_nm^-1  I  sigma", "q", [0.1, 0.2]),
        ("a.tif\nQ Space (Inverse Nanometres)\nIntensity\n   2", "q", [0.1, 0.2]),
        ("a.tif\nQ-Space (Inverse nm)\nIntensity\n   2", "q", [0.1, 0.2]),
        ("# q (1/nm), I", "q", [0.1, 0.2]),
        ("a.tif\n2-Theta Angle (Degrees)\nIntensity\n   2", "two_theta", [1.0, 2.0]),
        ("#  2th_deg  I", "two_theta", [1.0, 2.0]),
        ("#  2th_rad  I", "two_theta", [180 / np.pi, 360 / np.pi]),
        ("# Q scan of the detector\n# a\n# b\n# c", "two_theta", [1.0, 2.0]),
    ],
)
def test_the_header_names_the_axis(
    tmp_path: Path, header: str, name: str, positions: list[float]
) -> None:
    pattern = READER.read(_write(tmp_path, f"{header}\n1 5\n2 6\n", "p.chi"))
    np.testing.assert_allclose(pattern[name], positions, rtol=1e-15)
    assert pattern[name].attrs["units"] == {"q": "1/angstrom", "two_theta": "degree"}[name]


def test_the_axis_may_be_declared(tmp_path: Path) -> None:
    file = _write(tmp_path, "1 5\n2 6\n", "p.xy")
    assert "q" in READER.read(file, axis="q").coords
    labelled = _write(tmp_path, "# chi_Q chi_I\n1 5\n2 6\n", "p.chi")
    assert "two_theta" in READER.read(labelled, axis="two_theta").coords


def test_wavelength_with_a_unit(tmp_path: Path) -> None:
    read = READER.read
    assert read(_write(tmp_path, "# Wavelength: 6.907e-11 m\n1 5\n2 6\n")).attrs[
        "wavelength_angstrom"
    ] == pytest.approx(0.6907)
    bare = read(_write(tmp_path, "# Wavelength: 0.6907\n1 5\n2 6\n"))
    assert "wavelength_angstrom" not in bare.attrs


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "no row of two or three numbers"),
        ("Dear all,\nplease find attached\n", "line 1: 'Dear all,'"),
        ("1 2\n2 3\n3 four\n", "line 3: '3 four'; expected numbers"),
        ("1 2\n2 3 4\n3 4\n", "line 2: 3 numbers; expected 2"),
        ("# h\n1 2 3 4\n2 3 4 5\n", "line 2: 4 columns; expected 2 or 3"),
        ("1 2\n2 3\n1 2\n", "two_theta: 2 is followed by 1"),
        ("1 2\n1 3\n", "two_theta: 1 is followed by 1"),
        ("1 2\nnan 3\n3 4\n", "row 2: two_theta is nan"),
        ("100 2\n8333 3\n", "100 to 8333; expected degrees"),
    ],
)
def test_what_is_no_pattern_is_refused(tmp_path: Path, body: str, message: str) -> None:
    file = _write(tmp_path, body)
    with pytest.raises(FormatError, match=message.replace("(", r"\(")):
        READER.read(file)


@pytest.mark.parametrize(
    ("tail", "rows", "truncated"),
    [
        ("3.5  30.00\n", 3, False),
        ("3.5  30.00", 3, False),
        ("3.5", 2, True),
        ("3.5  30.0", 2, True),
        ("3.5  3.0E+", 2, True),
    ],
)
def test_a_cut_last_row(tmp_path: Path, tail: str, rows: int, truncated: bool) -> None:
    pattern = READER.read(_write(tmp_path, "1.5  10.00\n2.5  20.00\n" + tail))
    assert pattern.sizes["two_theta"] == rows
    assert ("truncated" in pattern.attrs) == truncated


def test_fewer_rows_than_announced_is_truncated(tmp_path: Path) -> None:
    whole = MSPD.splitlines(keepends=True)
    pattern = READER.read(_write(tmp_path, "".join(whole[:-1])))
    assert pattern.attrs["truncated"] == "3 of 4 rows"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.dat", "#S 1 ascan th 1 2\n#L th  I\n1 2\n2 3\n"),
        ("a.dat", "title\n 1 3 100\n 1 2 3 4 5 6 7 8 9 10\n"),
        ("a.dat", "# energy mu\n-20 0.1\n-19 0.2\n"),
        ("a.dat", "8333 0.1\n8334 0.2\n"),
        ("a.xye", "title\nBANK 1 2 2 CONST 1 1 0 0 FXYE\n100 2 3\n110 2 3\n"),
        ("a.dat", "# XDI/1.0\n# Element.symbol: Ni\n10 2 3\n11 2 3\n"),
        ("a.txt", "1 2\n2 3\n"),
        ("a.dat", "1 2\0\n2 3\n"),
    ],
)
def test_other_formats_are_not_claimed(tmp_path: Path, name: str, body: str) -> None:
    assert not _sniffed(_write(tmp_path, body, name))


@pytest.mark.shared_data
def test_one_scan_in_two_formats(shared_data: Path) -> None:
    """The instrument exported the same scan as .xy and as .csv."""
    folder = shared_data / "formats" / "xrd" / "same_scan_3formats"
    lines = (folder / "210520step1_30min.csv").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("[Scan points]"))
    table = np.array([line.split(",") for line in lines[at + 2 :]], float)
    pattern = READER.read(File(folder / "210520step1_30min.xy"))
    np.testing.assert_array_equal(pattern["two_theta"], table[:, 0])
    np.testing.assert_array_equal(pattern["intensity"][0], table[:, 1])


@pytest.mark.shared_data
def test_dates_and_monitors_of_the_beamline_table(shared_data: Path) -> None:
    folder = shared_data / "operando" / "xrd_zn_mno2_mspd"
    table = (folder / "reference" / "17_Da.lis.cycle1_Da_rows.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in table]
    for _, date, name, *_, monitor in rows[::7]:
        attrs = READER.read(File(folder / "Data" / name)).attrs
        assert attrs["clock"]["start"] == date.replace("_", "T")
        assert attrs["monitor"] == float(monitor)


@pytest.mark.shared_data
def test_of_all_real_files_only_patterns_are_claimed(shared_data: Path) -> None:
    claimed = {
        path.relative_to(shared_data).parts[:2]
        for path in shared_data.rglob("*")
        if path.is_file() and _sniffed(File(path))
    }
    assert claimed == {("formats", "xrd"), ("operando", "xrd_zn_mno2_mspd")}


@given(
    rows=st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e3)), min_size=2, max_size=20),
    comma=st.booleans(),
)
def test_written_numbers_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float]], comma: bool
) -> None:
    text = "".join(f"{n}.0 {counts!r} {sigma!r}\n" for n, (counts, sigma) in enumerate(rows))
    text = text.replace(".", ",") if comma else text
    pattern = READER.read(_write(tmp_path_factory.mktemp("xy"), text))
    np.testing.assert_array_equal(pattern["intensity"][0], [counts for counts, _ in rows])
    np.testing.assert_array_equal(pattern["intensity_sigma"][0], [sigma for _, sigma in rows])


def test_a_packed_pattern(tmp_path: Path) -> None:
    body = b"# a\n5.5 10 1\n6.5 20 2\n7.5 30 3\n"
    for name, packed in (("p.xye.bz2", bz2.compress(body)), ("p.xye.gz", gzip.compress(body))):
        file = _write(tmp_path, packed, name)
        assert _sniffed(file)
        np.testing.assert_array_equal(READER.read(file)["intensity"], [[10.0, 20.0, 30.0]])
        with pytest.raises(FormatError):
            READER.read(_write(tmp_path, packed[:12], name))
    assert not _sniffed(_write(tmp_path, bz2.compress(body), "p.ras.bz2"))


def test_a_packed_file_that_grows_without_bound_is_refused(tmp_path: Path) -> None:
    bomb = _write(tmp_path, bz2.compress(b"0 0 0\n" * 5_000_000), "bomb.xye.bz2")
    with pytest.raises(FormatError, match="refused"):
        READER.read(bomb)


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("# d (A)  I", "d-spacing"),
        ("# d-spacing, I", "d-spacing"),
        ("# TOF  counts", "time of flight"),
        ("# time of flight (us)  I", "time of flight"),
        ("# Energy(keV)  counts", "energy-dispersive"),
        ("# channel  counts", "energy-dispersive"),
    ],
)
def test_axes_that_are_neither_two_theta_nor_q_are_refused(
    tmp_path: Path, label: str, what: str
) -> None:
    file = _write(tmp_path, f"{label}\n1 5\n2 6\n", "p.xy")
    with pytest.raises(FormatError, match=what):
        READER.read(file)
    assert READER.read(file, axis="q").sizes["q"] == 2


@pytest.mark.parametrize("header", ["# Energy: 17.9 keV", "# radius = 200 mm", "# 2theta [deg] I"])
def test_facts_above_the_columns_are_no_labels(tmp_path: Path, header: str) -> None:
    assert READER.read(_write(tmp_path, f"{header}\n1 5\n2 6\n")).sizes["two_theta"] == 2


@pytest.mark.shared_data
def test_two_integrations_of_cerium_dioxide_agree_in_their_lines(shared_data: Path) -> None:
    """One is over 2 theta of an unknown wavelength, one over q: the first line gives the other.

    CeO2 is cubic, so q of a line is that of 1 1 1 times sqrt((h2 + k2 + l2) / 3).
    """
    folder = shared_data / "formats" / "xrd" / "ceo2"
    angles = READER.read(File(folder / "CeO2_635um_accum_0.xy"))
    momenta = READER.read(File(folder / "CeO2_mean_q.chi"))
    q111 = _line(momenta["intensity"][0].sel(q=slice(1.9, 2.1)))
    assert q111 == pytest.approx(2 * np.pi * np.sqrt(3) / 5.411, rel=2e-3)
    two111 = _line(angles["intensity"][0].sel(two_theta=slice(12.7, 13.4)))
    wavelength = 4 * np.pi * np.sin(np.radians(two111 / 2)) / q111
    assert wavelength == pytest.approx(0.7107, rel=3e-3)  # Mo K alpha
    for squares in (8, 11):
        expected = q111 * np.sqrt(squares / 3)
        q = _line(momenta["intensity"][0].sel(q=slice(0.98 * expected, 1.02 * expected)))
        two_theta = 2 * np.degrees(np.arcsin(wavelength * q / 4 / np.pi))
        near = angles["intensity"][0].sel(two_theta=slice(two_theta - 0.4, two_theta + 0.4))
        assert _line(near) == pytest.approx(two_theta, abs=0.03)


def _line(near: xr.DataArray) -> float:
    """Return the centroid of what rises above half of a line."""
    above = (near - near.min()).values
    weight = np.clip(above - above.max() / 2, 0, None)
    return float(np.average(near[near.dims[0]].values, weights=weight))
