"""WiRE text: spectra, series, maps, what `#Wave` may be, damage; compared with the .wdf."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando.errors import UnknownFormatError
from operando_readers._reader import File, FormatError
from operando_readers.renishaw_text import READER

RAMAN = ("formats", "raman")
SINGLE = "#Wave\t\t#Intensity\r\n300.5\t3.0\r\n200.5\t2.0\r\n100.5\t1.0\r\n"
MAP = (
    "#X\t\t#Y\t\t#Wave\t\t#Intensity\r\n"
    "-1.5\t7.0\t300.5\t3.0\r\n-1.5\t7.0\t200.5\t2.0\r\n-1.5\t7.0\t100.5\t1.0\r\n"
    "2.5\t7.0\t300.5\t6.0\r\n2.5\t7.0\t200.5\t5.0\r\n2.5\t7.0\t100.5\t4.0\r\n"
)
SHORT = MAP.replace("2.5\t7.0\t200.5\t5.0\r\n", "") + "9\t7\t300.5\t3\r\n9\t7\t200.5\t2\r\n"
"""The second of three spectra lacks a point."""
SERIES = MAP.replace("#X\t\t#Y", "#Time").replace("-1.5\t7.0", "10").replace("2.5\t7.0", "70")


def _save(folder: Path, text: str | bytes) -> File:
    path = folder / "cell.txt"
    path.write_bytes(text.encode("latin-1") if isinstance(text, str) else text)
    return File(path)


def _read(folder: Path, text: str, **options: Any) -> xr.Dataset:
    return READER.read(_save(folder, text), **options)


def test_one_spectrum(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, SINGLE)
    np.testing.assert_array_equal(spectrum["raman_shift"], [100.5, 200.5, 300.5])
    np.testing.assert_array_equal(spectrum["intensity"], [[1, 2, 3]])
    assert spectrum.attrs["clock"]["start"] is None
    assert "the file does not say" in spectrum.attrs["axis_source"]


def test_a_map_keeps_its_places(tmp_path: Path) -> None:
    spots = _read(tmp_path, MAP)
    np.testing.assert_array_equal(spots["intensity"], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(spots["x"], [-1.5, 2.5])
    np.testing.assert_array_equal(spots["y"], [7.0, 7.0])
    assert spots["position"].values.tolist() == ["x=-1.50", "x=2.50"]
    assert spots["x"].attrs["units"] == "micrometre"


def test_a_series_keeps_its_seconds(tmp_path: Path) -> None:
    series = _read(tmp_path, SERIES)
    np.testing.assert_array_equal(series["elapsed"], [0.0, 60.0])
    assert "position" not in series.coords


def test_wavelengths_are_told(tmp_path: Path) -> None:
    """Silicon (520.7 1/cm) of a laser at 532 nm is seen at 547.16 nm."""
    text = SINGLE.replace("300.5", "547.15692").replace("200.5", "532").replace("100.5", "500")
    spectrum = _read(tmp_path, text, axis="wavelength", laser_nm=532.0)
    np.testing.assert_allclose(spectrum["raman_shift"][1:], [0.0, 520.7], atol=1e-2)
    with pytest.raises(FormatError, match="pass laser_nm="):
        _read(tmp_path, text, axis="wavelength")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected '#Wave' and '#Intensity'"),
        ("#Wave #Counts\n1 2\n", "expected '#Wave' and '#Intensity'"),
        (SINGLE[:19], "no numbers"),
        (SINGLE + "1\t2\t3\r\n", "expected 2 as in line 2"),
        (SINGLE.replace("#Wave", "#X\t#Wave"), "2 columns under 3 names"),
        (MAP.replace("200.5\t5.0", "201.5\t5.0"), "do not share an axis"),
        (MAP.replace("2.5\t7.0\t200.5\t5.0\r\n", ""), None),
        (MAP.replace("-1.5\t7.0\t200.5\t2.0\r\n", ""), "do not share an axis"),
        (SHORT, "spectra of 3 and other numbers"),
        (MAP.replace("2.5", "nan"), "not finite"),
        ("#Wave\t\t#Intensity\r\n5\t5\r\n", "1 points; expected a spectrum"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, text: str, message: str | None) -> None:
    if message is None:
        assert "2 rows of a last spectrum of 3" in _read(tmp_path, text).attrs["truncated"]
        return
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, text)


@pytest.mark.parametrize("text", [SINGLE, MAP, SERIES])
def test_damage_is_refused_or_leaves_a_valid_series(
    survives_damage: Callable[..., None], text: str
) -> None:
    survives_damage(READER, text.encode(), "cell.txt", frames=2, cuts=range(len(text)))


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "name", ["ramanchada2_mit/nCal_Qontor785_z005H12_100_1x3s", "datalab_mit/raman_example"]
)
def test_the_text_is_the_wdf(shared_data: Path, name: str) -> None:
    """To the six decimals that WiRE prints."""
    folder = shared_data.joinpath(*RAMAN)
    text = READER.read(File(folder / f"{name}.txt"))
    wdf = operando.formats()["renishaw_wdf"].read(File(folder / f"{name}.wdf"))
    np.testing.assert_allclose(text["raman_shift"], wdf["raman_shift"], rtol=0, atol=5.1e-7)
    np.testing.assert_allclose(text["intensity"], wdf["intensity"], rtol=0, atol=5.1e-7)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "points", "first"),
    [
        ("PST10_iR785_OP01_8000msx8", 1024, (168.216, 2152.87)),
        ("PST_Reflex532_Z050_010_10000msx2", 2578, (100.265, 4307.0)),
        ("PST_WiICV532_Z050OP02_075_800msx10", 1024, (-42.7538623605254, 787.099975585938)),
    ],
)
def test_columns_without_names_are_read_when_they_are_described(
    shared_data: Path, name: str, points: int, first: tuple[float, float]
) -> None:
    """Three real exports hold two columns and nothing that says what they are."""
    path = shared_data.joinpath(*RAMAN, "ramanchada2_mit", f"{name}.txt")
    with pytest.raises(UnknownFormatError, match="no reader recognises it"):
        operando.read(path)
    columns = {
        "raman_shift": {"name": 0, "units": "1/cm"},
        "intensity": {"name": 1, "units": "count"},
    }
    spectrum = operando.formats()["delimited"].read(
        File(path), technique="raman", columns=columns, header=False
    )
    found = spectrum["raman_shift"].values[0], spectrum["intensity"].values[0, 0]
    assert spectrum.sizes["raman_shift"] == points
    assert found == first
