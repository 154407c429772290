"""PANalytical .csv: header, columns, the minute of the stamp, damage.

The same scan as .xrdml and .xy is compared in test_panalytical_xrdml.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando_readers._reader import File, FormatError
from operando_readers.panalytical_csv import READER

HEADER = """[Measurement conditions]
Sample identification,
Comment - 1,"Configuration=Spinner, Owner=User-1"
Anode material,Cu
K-Alpha1 wavelength,1.5405980
K-Alpha2 wavelength,1.5444260
Ratio K-Alpha2/K-Alpha1,0.500
File date and time,20/May/2021 15:55
Scan axis,Gonio
No. of points, 3
Scan type,CONTINUOUS
Time per step,50.165
[Scan points]
"""
ROWS = "Angle,Intensity\n5.008355630,1719.0\n5.025066899,1766.0\n5.041778168,1688.0\n"


def _read(folder: Path, text: str, **options: Any) -> xr.Dataset:
    path = folder / "scan.csv"
    path.write_bytes(text.encode("latin-1", errors="replace"))
    return READER.read(File(path), **options)


def test_a_scan(tmp_path: Path) -> None:
    found = _read(tmp_path, HEADER + ROWS)
    assert READER.sniff((HEADER + ROWS).encode(), "scan.csv")
    np.testing.assert_array_equal(found["two_theta"], [5.008355630, 5.025066899, 5.041778168])
    np.testing.assert_array_equal(found["intensity"], [[1719, 1766, 1688]])
    assert found["counting_time"].values == [50.165]
    clock = found.attrs["clock"]
    assert (clock["start"], clock["zone"], clock["sigma_s"]) == ("2021-05-20T15:55:00", None, 30)
    assert (found.attrs["wavelength_kind"], found.attrs["alpha2_ratio"]) == ("alpha1+alpha2", 0.5)
    assert found.attrs["original_metadata"]["Comment - 1"] == "Configuration=Spinner, Owner=User-1"
    assert "exposure" not in found.coords


def test_more_columns(tmp_path: Path) -> None:
    """Counting times and deviations are the file's, not made of the counts."""
    rows = "Angle,TimePerStep,Intensity,ESD\n5.0,10,100,11\n5.1,10,400,22\n5.2,20,900,33\n"
    found = _read(tmp_path, HEADER + rows)
    np.testing.assert_array_equal(found["intensity_sigma"][0], [11, 22, 33])
    assert found["intensity"].attrs["ancillary_variables"] == "intensity_sigma"
    np.testing.assert_array_equal(found["point_counting_time"][0], [10, 10, 20])


def test_date_in_numbers(tmp_path: Path) -> None:
    text = HEADER.replace("20/May/2021", "05/06/2021") + ROWS
    with pytest.raises(FormatError, match="date_order="):
        _read(tmp_path, text)
    assert _read(tmp_path, text, date_order="dmy").attrs["clock"]["start"][:10] == "2021-06-05"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Angle,Intensity\n5,7\n", "expected .Measurement conditions"),
        (HEADER[:100], "no .Scan points.; cut short"),
        (HEADER, "expected Angle and Intensity"),
        (HEADER + "Angle,Counts\n1,2\n", "expected Angle and Intensity"),
        (HEADER + "Angle,Intensity\n", "no numbers"),
        (HEADER.replace("Cu", "C" * 200_000) + ROWS, "header above line 13: field larger"),
        (HEADER + ROWS + "5.1,x\n", "'5.1,x'; expected numbers"),
        (HEADER.replace("Gonio", "Omega") + ROWS, "over 'Omega'"),
        (HEADER.replace("20/May", "40/May") + ROWS, "day is out of range"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, text)


def test_cut(tmp_path: Path) -> None:
    found = _read(tmp_path, HEADER + ROWS[:-10])
    assert found.attrs["truncated"] == "scan 1: 2 of 3 points"


WHOLE = HEADER + ROWS


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE.encode(), "scan.csv", frames=1)
