"""GSAS powder patterns: its types, the header of 11-BM, banks, damage, and the real standards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import operando
from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.gsas_fxye import READER

ELEVEN = """LaB6 /apr11/11bmb_7232
# Run no. = 7232
# No. steps = 51000
# Scan time = APR 25, 2011 12:35:45.325926
# Sample Comment = LaB6
# Temp (K) = 295.5
# Time per step (sec) = 0.1
# Calibrated wavelength = 0.412453
"""


def _write(folder: Path, text: str, name: str = "pattern.fxye") -> File:
    path = folder / name
    path.write_bytes(text.encode())
    return File(path)


def _bank(kind: str, points: int, body: str, *, binning: str = "CONS", number: int = 1) -> str:
    return f"BANK {number} {points} {points} {binning} 1000.0 2.0 0 0 {kind}\n{body}"


FXYE = "  1000.0  20.5  4.0\n  1002.0  21.0  4.5\n  1004.0  1E+02  10.\n"
STD = "   2  10 3  11  1200.5     7\n".replace("   2  10", "  210.00")


def test_header_of_11_bm(tmp_path: Path) -> None:
    """The stamp is local time of Chicago, and carries no zone; deviations are the file's own."""
    file = _write(tmp_path, ELEVEN + _bank("FXYE", 3, FXYE))
    pattern = READER.read(file)
    assert claims(file) == ["gsas_fxye"]
    assert pattern.attrs["clock"] == {
        "start": "2011-04-25T12:35:45.325926",
        "zone": None,
        "marks": "start",
        "source": "header",
        "sigma_s": None,
    }
    np.testing.assert_allclose(pattern["two_theta"], [10.0, 10.02, 10.04])
    np.testing.assert_array_equal(pattern["intensity"], [[20.5, 21.0, 100.0]])
    np.testing.assert_array_equal(pattern["intensity_sigma"], [[4.0, 4.5, 10.0]])
    assert pattern["exposure"].values == pytest.approx([5100.0])
    assert pattern["temperature"].values == [295.5]
    assert pattern["temperature"].attrs["units"] == "K"
    assert pattern.attrs["wavelength_angstrom"] == 0.412453
    assert pattern.attrs["sample"] == "LaB6"
    frames = operando.read(str(file), tz="America/Chicago")
    assert str(frames["time_start"].values[0]) == "2011-04-25T17:35:45.325926000"
    assert frames["temperature"].values == [295.5]


def test_counters_of_std_tell_its_deviation(tmp_path: Path) -> None:
    """GSAS manual: the field is the mean of so many counters, sigma = sqrt(mean / counters)."""
    fields = [" 4   100", " 1    49", "      81"]
    pattern = READER.read(_write(tmp_path, "t\n" + _bank("STD", 3, "".join(fields) + "\n")))
    np.testing.assert_array_equal(pattern["intensity"], [[100.0, 49.0, 81.0]])
    np.testing.assert_array_equal(pattern["intensity_sigma"], [[5.0, 7.0, 9.0]])


def test_std_without_counters_has_no_deviation(tmp_path: Path) -> None:
    """It may be scaled: its square root would be made up."""
    lines = "".join(f"{1000 + at:8d}" for at in range(10)) + "\n" + f"{7:8d}{345678:8d}\n"
    text = "t\nBANK 1 12 2 CONST 1500.66 1.31303 0 0\n" + lines
    pattern = READER.read(_write(tmp_path, text, "p.gsas"))
    assert "intensity_sigma" not in pattern
    np.testing.assert_array_equal(pattern["intensity"][0, -2:], [7.0, 345678.0])
    np.testing.assert_allclose(pattern["two_theta"], 15.0066 + 0.0131303 * np.arange(12))
    assert pattern.attrs["clock"]["start"] is None


def test_esd_in_pairs_that_touch(tmp_path: Path) -> None:
    body = "10000.50  100.25123456.7  351.40\n      12     3.5\n"
    pattern = READER.read(_write(tmp_path, "t\n" + _bank("ESD", 3, body)))
    np.testing.assert_array_equal(pattern["intensity"], [[10000.5, 123456.7, 12.0]])
    np.testing.assert_array_equal(pattern["intensity_sigma"], [[100.25, 351.4, 3.5]])


def test_fxy(tmp_path: Path) -> None:
    pattern = READER.read(_write(tmp_path, "t\n" + _bank("FXY", 2, "1000 1\n1002 2\n")))
    assert "intensity_sigma" not in pattern
    np.testing.assert_array_equal(pattern["intensity"], [[1.0, 2.0]])


def test_one_of_several_banks(tmp_path: Path) -> None:
    text = "t\n" + _bank("FXYE", 3, FXYE) + _bank("FXY", 2, "1000 1\n1002 2\n", number=2)
    file = _write(tmp_path, text)
    with pytest.raises(FormatError, match=r"the file has \[1, 2\], choose one with bank="):
        READER.read(file)
    assert READER.read(file, bank=1).sizes["two_theta"] == 3
    assert READER.read(file, bank=2).sizes["two_theta"] == 2
    with pytest.raises(FormatError, match="bank: 3"):
        READER.read(file, bank=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no bank\n1 2 3\n", "no line 'BANK"),
        ("t\n" + _bank("FXYE", 3, FXYE, binning="SLOG"), "line 2: bins 'SLOG' are of time of"),
        ("t\n" + _bank("ALT", 3, FXYE), "line 2: type 'ALT'; expected one of FXYE, FXY, ESD, STD"),
        ("t\nBANK 1 3 3 CONS here 2 0 0 FXYE\n" + FXYE, "line 2: .*; expected points, start"),
        ("t\nBANK 1 0 3 CONS 1 2 0 0 FXYE\n" + FXYE, "expected points, start and step"),
        ("t\n" + _bank("FXYE", 3, "1000 1\n1002 2\n"), "line 3: 2 columns; FXYE has 3"),
        ("t\n" + _bank("FXYE", 3, FXYE.replace("21.0", "2l.0")), "line 4: .*expected numbers"),
        ("t\n" + _bank("ESD", 2, "     1.0     x.0\n"), "line 3: 'x.0'; expected a number"),
        ("t\n" + _bank("STD", 2, "     1.0             1.0\n"), "line 3: an empty field"),
        ("t\n" + _bank("FXYE", 3, "19000 1 1\n19001 2 1\n"), "expected degrees within"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_a_cut_field_is_left_out(tmp_path: Path) -> None:
    """The last number of a file that was cut may be a part of one."""
    body = "".join(f"{1000 + at:8d}" for at in range(6))
    pattern = READER.read(_write(tmp_path, "t\n" + _bank("STD", 10, body[:-2])))
    np.testing.assert_array_equal(pattern["intensity"][0], [1000, 1001, 1002, 1003, 1004])
    assert pattern.attrs["truncated"] == "5 of 10 points"


@given(
    counts=st.lists(st.integers(0, 999_999), min_size=2, max_size=40),
    esds=st.lists(st.integers(1, 99_999), min_size=40, max_size=40),
)
def test_written_fields_come_back(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], esds: list[int]
) -> None:
    pairs = [f"{count:8d}{esd:8d}" for count, esd in zip(counts, esds, strict=False)]
    body = "".join("".join(pairs[at : at + 5]) + "\n" for at in range(0, len(pairs), 5))
    file = _write(tmp_path_factory.mktemp("gsas"), "t\n" + _bank("ESD", len(counts), body))
    pattern = READER.read(file)
    np.testing.assert_array_equal(pattern["intensity"][0], counts)
    np.testing.assert_array_equal(pattern["intensity_sigma"][0], esds[: len(counts)])


@pytest.mark.shared_data
def test_deviations_of_11_bm_are_not_the_root_of_its_counts(shared_data: Path) -> None:
    """The counts are scaled: esd squared over intensity is 0.81 at the median, and not 1."""
    pattern = READER.read(File(shared_data / "formats/xrd/nac/11BM_NAC.fxye"))
    ratio = np.median(pattern["intensity_sigma"] ** 2 / pattern["intensity"])
    assert ratio == pytest.approx(0.81, abs=0.005)
    assert pattern.sizes["two_theta"] == 59498


@pytest.mark.shared_data
def test_nac_is_where_its_cell_says(shared_data: Path) -> None:
    """The strongest line near 2 2 2 of a = 10.251218 angstrom (NAC.cif) within a step or two."""
    pattern = READER.read(File(shared_data / "formats/xrd/nac/11BM_NAC.fxye"))
    spacing = 10.251218 / np.sqrt(12)
    wanted = 2 * np.degrees(np.arcsin(pattern.attrs["wavelength_angstrom"] / 2 / spacing))
    near = pattern["intensity"][0].sel(two_theta=slice(wanted - 0.1, wanted + 0.1))
    assert float(near.idxmax()) == pytest.approx(wanted, abs=0.003)
