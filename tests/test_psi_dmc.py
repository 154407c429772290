"""Neutron patterns of PSI: the date of one run is its start, that of a sum is nobody's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.psi_dmc import READER

COUNTS = np.array([7444.0, 7639.0, 7731.0, 7762.0, 7479.0, 7718.0, 7820.0, 7721.0, 7861.0, 7945.0])
SIGMA = np.sqrt(COUNTS).round(1)


def _text(*, runs: str = "Numor=2455", temperature: str = "293.500", date: bool = True) -> str:
    stamp = ", Date=2001-06-16 06:25:59" if date else ""
    return (
        f"DMC, NdNi4MgDx\nlambda=  1.49400, T= {temperature}, dT=  0.100{stamp}\n"
        '   2.948   0.050   3.398 18000000., sample="NdNi4MgDx_V10mm"\n'
        + "".join(f"{value:7.0f}." for value in COUNTS)
        + "\n"
        + "".join(f"{value:8.1f}" for value in SIGMA)
        + f"\n Filelist='DMC/2001/2455'\n a4=2.947 3.; {runs}; Npkt=10; owner='x'\n"
    )


def _write(folder: Path, text: str) -> File:
    path = folder / "PSI_DMC.dat"
    path.write_text(text)
    return File(path)


def test_one_run(tmp_path: Path) -> None:
    file = _write(tmp_path, _text())
    pattern = READER.read(file)
    assert claims(file) == ["psi_dmc"]
    np.testing.assert_allclose(pattern["two_theta"], 2.948 + 0.05 * np.arange(10))
    np.testing.assert_array_equal(pattern["intensity"][0], COUNTS)
    np.testing.assert_array_equal(pattern["intensity_sigma"][0], SIGMA)
    assert pattern["temperature"].values == [293.5]
    clock = pattern.attrs["clock"]
    assert (clock["start"], clock["zone"], clock["sigma_s"]) == ("2001-06-16T06:25:59", None, 0.5)
    assert pattern.attrs["wavelength_angstrom"] == 1.494
    assert pattern.attrs["sample"] == "NdNi4MgDx_V10mm"


@pytest.mark.parametrize("runs", ["Numor=2455 2490", "nothing"])
def test_the_date_of_a_sum_is_not_its_start(tmp_path: Path, runs: str) -> None:
    pattern = READER.read(_write(tmp_path, _text(runs=runs)))
    assert pattern.attrs["clock"]["start"] is None
    assert "2001-06-16" in pattern.attrs["original_metadata"]["header"]


def test_what_was_not_measured_is_not_told(tmp_path: Path) -> None:
    pattern = READER.read(_write(tmp_path, _text(temperature="0.000", date=False)))
    assert "temperature" not in pattern.coords
    assert pattern.attrs["clock"]["start"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("lambda=", "lampda="), "line 2: expected 'lambda="),
        (("1.49400", "0.00000"), "lambda '0.00000'; expected a number above zero"),
        (("2.948   0.050", "2.948   x.050"), "line 3: .*expected three angles"),
        (("7444.", "74x4."), "line 4: '74x4.'; expected a number"),
        (("3.398", "1.398"), "expected ascending degrees"),
    ],
)
def test_damage(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, _text().replace(*change)))


def test_a_cut_file_is_a_shorter_pattern(tmp_path: Path) -> None:
    text = _text()
    whole = text[: text.index(" Filelist")]
    pattern = READER.read(_write(tmp_path, whole[:-20]))
    np.testing.assert_array_equal(pattern["intensity"][0], COUNTS)
    np.testing.assert_array_equal(pattern["intensity_sigma"][0, :7], SIGMA[:7])
    assert np.isnan(pattern["intensity_sigma"][0, 7:]).all()
    assert pattern.attrs["truncated"] == "7 of 10 points with deviations"
