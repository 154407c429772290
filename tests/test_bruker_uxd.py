"""Bruker .uxd: rows of pairs and of counts, ranges, rounded positions, damage.

The file that Bruker's own program made of BT86.raw is compared with it in test_bruker_raw.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando_readers._reader import File, FormatError
from operando_readers.bruker_uxd import READER

HEADER = """; BT86.raw(Diffrac Plus V1.01 file) converted by XCH V1.0
_FILEVERSION=2
_SAMPLE='BT86'
_+SAMPLE='second line'
_DATEMEASURED='04-Mar-2010 20:59:14'
_WL_UNIT='A'
_WL1=1.540600
_WL2=1.544390
_WL3=1.392220
_WLRATIO=0.500000
_ANODE='Cu'
"""


def block(
    rows: str,
    *,
    kind: str = "_2THETACOUNTS",
    drive: str = "COUPLED",
    start: float = 10.0,
    step: float = 0.015592,
    started: float | None = 17.0,
) -> str:
    """Return a range."""
    keys = f"; (Data for Range number 1)\n_DRIVE='{drive}'\n_STEPTIME=0.500000\n"
    keys += f"_STEPSIZE={step:.6f}\n_START={start:.6f}\n"
    keys += "" if started is None else f"_TIMESTARTED={started:.6f}\n"
    return f"{keys}{kind}\n{rows}\n"


PAIRS = "10.00\t187\n10.02\t183\n10.03\t178\n10.05\t174"


def _read(folder: Path, text: str | bytes, **options: Any) -> xr.Dataset:
    path = folder / "scan.uxd"
    path.write_bytes(text.encode("latin-1") if isinstance(text, str) else text)
    return READER.read(File(path), **options)


def test_pairs(tmp_path: Path) -> None:
    text = HEADER + block(PAIRS)
    found = _read(tmp_path, text)
    assert READER.sniff(text.encode(), "scan.uxd")
    np.testing.assert_array_equal(found["intensity"][0], [187, 183, 178, 174])
    assert found["intensity"].attrs["units"] == "count"
    assert found.attrs["clock"]["start"] == "2010-03-04T20:59:14"
    assert found.attrs["clock"]["zone"] is None
    assert found["elapsed"].values == [17]
    assert found["counting_time"].values == [0.5]
    assert (found.attrs["wavelength_kind"], found.attrs["alpha2_ratio"]) == ("alpha1+alpha2", 0.5)
    assert found.attrs["original_metadata"]["+SAMPLE"] == "second line"
    assert "exposure" not in found.coords


def test_rounded_positions_are_unrounded(tmp_path: Path) -> None:
    """Steps of 0.02, 0.01, 0.02 are those of 0.015592 with two decimals."""
    found = _read(tmp_path, HEADER + block(PAIRS))
    np.testing.assert_allclose(found["two_theta"], 10 + 0.015592 * np.arange(4), atol=1e-12)
    assert found.attrs["axis_source"].startswith("_START and _STEPSIZE")


@pytest.mark.parametrize("change", [("10.05", "10.06"), ("_START=10", "_START=9"), ("_STEP", "_S")])
def test_positions_that_disagree_are_kept(tmp_path: Path, change: tuple[str, str]) -> None:
    found = _read(tmp_path, HEADER + block(PAIRS).replace(*change))
    assert found["two_theta"].values[1] == 10.02
    assert "axis_source" not in found.attrs


@pytest.mark.parametrize(
    ("kind", "unit"),
    [("_COUNTS", "count"), ("_CPS", "count/s"), ("_COUNTS=8", "count"), ("_2THETACPS", "count/s")],
)
def test_layouts_and_units(tmp_path: Path, kind: str, unit: str) -> None:
    """Intensities alone stand any number a line; counts per second stay what they are."""
    rows = PAIRS if kind.startswith("_2THETA") else "  187  183 178\n  174"
    found = _read(tmp_path, HEADER + block(rows, kind=kind))
    np.testing.assert_array_equal(found["intensity"][0], [187, 183, 178, 174])
    np.testing.assert_allclose(found["two_theta"], 10 + 0.015592 * np.arange(4), atol=1e-12)
    assert found["intensity"].attrs["units"] == unit


def test_the_last_count_of_a_file_without_line_end_is_left_out(tmp_path: Path) -> None:
    """174 cut to 17 looks like a count."""
    whole = HEADER + block("187 183\n178 174", kind="_COUNTS")
    cut = _read(tmp_path, whole[: whole.index("174") + 2])
    np.testing.assert_array_equal(cut["intensity"][0], [187, 183, 178])
    assert cut.attrs["truncated"] == "scan 1: no line end; last number left out"


def test_many_ranges_below_many_keys(tmp_path: Path) -> None:
    """Keys of the file are not copied for each range: both together take what each takes alone."""
    keys = "".join(f"_K{k}=1\n" for k in range(100_000))
    one = block("1 2 3", kind="_COUNTS")

    def seconds(text: str) -> float:
        started = time.process_time()
        _read(tmp_path, HEADER + text)
        return time.process_time() - started

    seconds(one)
    assert seconds(keys + one * 1000) < 2 * (seconds(keys + one) + seconds(one * 1000))


def test_ranges_are_frames(tmp_path: Path) -> None:
    text = HEADER + "".join(block(PAIRS, started=600.0 * k) for k in range(3))
    series = _read(tmp_path, text)
    np.testing.assert_array_equal(series["elapsed"], [0, 600, 1200])
    np.testing.assert_array_equal(_read(tmp_path, text, scans="2")["elapsed"], [600])


def test_ranges_that_do_not_say_when(tmp_path: Path) -> None:
    text = HEADER + block(PAIRS, started=None) * 2
    series = _read(tmp_path, text)
    assert series.attrs["clock"]["start"] is None
    assert "04-Mar-2010" in series.attrs["clock_caution"]
    assert _read(tmp_path, text, scans="1").attrs["clock"]["start"] == "2010-03-04T20:59:14"


def test_runtime_is_the_exposure_of_one_range(tmp_path: Path) -> None:
    header = HEADER.replace("_WL_UNIT", "_RUNTIME=41390.000000\n_WL_UNIT")
    assert _read(tmp_path, header + block(PAIRS))["exposure"].values == [41_390]
    assert "exposure" not in _read(tmp_path, header + block(PAIRS) * 2).coords


def test_other_axes_and_lists_of_peaks(tmp_path: Path) -> None:
    """A column that is 2 theta says so; counts alone are over what the drive is."""
    theta = block("1 2 3", kind="_COUNTS", drive="THETA")
    peaks = "_D-I\n3.34 100\n"
    found = _read(tmp_path, HEADER + theta + block(PAIRS) + peaks)
    np.testing.assert_array_equal(found["scan"], [2])
    np.testing.assert_array_equal(found["intensity"][0], [187, 183, 178, 174])
    with pytest.raises(FormatError, match="scan 1: over \"drive 'THETA'\""):
        _read(tmp_path, HEADER + theta)


def test_header_without_ranges_of_its_own(tmp_path: Path) -> None:
    """Keys of the file serve the only range."""
    found = _read(
        tmp_path, HEADER + "_START=20.0\n_STEPSIZE=0.02\n_DRIVE='COUPLED'\n_COUNTS\n5 6 7\n"
    )
    np.testing.assert_allclose(found["two_theta"], [20, 20.02, 20.04])


@pytest.mark.parametrize(
    ("unit", "line"), [("A", 1.5406), ("nm", None), ("", None)], ids=["A", "nm", "none"]
)
def test_unit_of_wavelengths(tmp_path: Path, unit: str, line: float | None) -> None:
    found = _read(tmp_path, HEADER.replace("_WL_UNIT='A'", f"_WL_UNIT='{unit}'") + block(PAIRS))
    assert found.attrs.get("wavelength_angstrom") == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10 20\n11 21\n", "expected _FILEVERSION="),
        (HEADER, "no _2THETACOUNTS, _COUNTS"),
        (HEADER + block("10 1 1\n11 2 1", kind="_2THETACOUNTSTIME"), "export counts or cps alone"),
        (HEADER + block("10 x"), "'10 x'; expected numbers"),
        (HEADER + block("10 1 2\n11 1 2"), "3 numbers; expected pairs"),
        (HEADER + block(""), "no numbers"),
        (HEADER + block("1 b 3", kind="_COUNTS"), "range 1: value 2 is 'b'"),
        (HEADER + block("1 2", kind="_COUNTS", step=0), "no _START and _STEPSIZE"),
        (HEADER.replace("04-Mar", "04-Foo") + block(PAIRS), "month 'Foo' is not known"),
        (HEADER.replace("04-Mar", "04-03") + block(PAIRS), "date_order="),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, text)


WHOLE = (HEADER + block(PAIRS) + block("187 183\n178 174", kind="_COUNTS", started=600.0)).encode()


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE, "scan.uxd", frames=2)
