"""Two-axis neutron diffractometers: what the two lines of numbers say, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.ill_d1a import READER

HEAD = """D1A5 Title: 1.9114 A  LaNi2Mn3Dx 13.9.01
     Ident:           14113 to  14122
1.9114 A  LaNi2Mn3Dx                                          2theta
    12    295.5   100.018    1  100000.0       0.0
   10.0000    0.1000   11.1000
"""


def _fields(values: np.ndarray) -> str:
    texts = [f"{value:8.2f}" for value in values]
    return "".join("".join(texts[at : at + 10]) + "\n" for at in range(0, len(texts), 10))


COUNTS = np.linspace(100.0, 12345.0, 12).round(2)
SIGMA = np.sqrt(COUNTS).round(2)


def _write(folder: Path, text: str) -> File:
    path = folder / "D1A.dat"
    path.write_bytes(text.encode())
    return File(path)


def test_intensities_and_deviations(tmp_path: Path) -> None:
    """Fields of 8 columns may touch: 12345.00 has eight characters."""
    file = _write(tmp_path, HEAD + _fields(COUNTS) + _fields(SIGMA))
    pattern = READER.read(file)
    assert claims(file) == ["ill_d1a"]
    np.testing.assert_allclose(pattern["two_theta"], 10 + 0.1 * np.arange(12))
    np.testing.assert_array_equal(pattern["intensity"][0], COUNTS)
    np.testing.assert_array_equal(pattern["intensity_sigma"][0], SIGMA)
    assert pattern["temperature"].values == [295.5]
    assert pattern.attrs["wavelength_angstrom"] == 1.9114
    assert pattern.attrs["monitor"] == 100000.0
    assert pattern.attrs["probe"] == "neutron"
    assert pattern.attrs["clock"]["start"] is None


def test_without_deviations_or_a_temperature(tmp_path: Path) -> None:
    head = HEAD.replace("295.5   100.018    1", "-1.000  100.018    0")
    pattern = READER.read(_write(tmp_path, head + _fields(COUNTS)))
    assert "intensity_sigma" not in pattern
    assert "temperature" not in pattern.coords


@pytest.mark.parametrize(
    ("lost", "points", "deviations"),
    [(1, 12, 12), (5, 12, 11), (60, 12, 4), (98, 12, 0), (150, 5, 0)],
)
def test_a_cut_file_is_a_shorter_pattern(
    tmp_path: Path, lost: int, points: int, deviations: int
) -> None:
    """Deviations that were lost are NaN, never made up."""
    whole = HEAD + _fields(COUNTS) + _fields(SIGMA)
    pattern = READER.read(_write(tmp_path, whole[:-lost]))
    np.testing.assert_array_equal(pattern["intensity"][0], COUNTS[:points])
    known = np.isfinite(pattern["intensity_sigma"][0])
    np.testing.assert_array_equal(pattern["intensity_sigma"][0, :deviations], SIGMA[:deviations])
    assert known.sum() == deviations
    assert (deviations < 12) == ("truncated" in pattern.attrs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\nc\n", "no line with number of points"),
        (HEAD.replace("   12 ", "   13 ") + _fields(COUNTS), "are not the 13 points of line 4"),
        (HEAD + _fields(COUNTS).replace("100.00", "1oo.00"), "line 6: '1oo.00'; expected a number"),
        (HEAD, "two_theta: no points|intensity"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))
