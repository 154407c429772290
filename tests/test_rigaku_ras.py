"""Rigaku .ras: headers, the order of day and month, attenuators, compressed files, damage."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.rigaku_ras import READER

ROWS = ("26.50 7.0 1.0", "26.54 11.0 1.0", "26.58 24.0 10.0", "26.62 13.0 1.0")


def scan(
    *rows: str,
    start: str = "05/25/24 10:00:00",
    end: str = "05/25/24 10:20:00",
    axis: str = "TwoThetaTheta",
    speed: str = "0.04",
    unit: str = "deg/min",
    wave: str = "Ka1",
    intensity: str = "counts",
    count: str = "4.0000000000",
) -> str:
    """Return a scan; at 0.04 degree a minute its 0.8 degree take 20 minutes."""
    header = {
        "FILE_SAMPLE": "NMC 811",
        "HW_GONIOMETER_NAME": "試料|SmartLab",
        "HW_XG_TARGET_NAME": "Cu",
        "HW_XG_WAVE_LENGTH_ALPHA1": "1.540593",
        "HW_XG_WAVE_LENGTH_ALPHA2": "1.544414",
        "HW_XG_WAVE_LENGTH_BETA": "1.392250",
        "MEAS_COND_XG_WAVE_TYPE": wave,
        "MEAS_DATA_COUNT": count,
        "MEAS_SCAN_AXIS_X": "2-Theta/Omega",
        "MEAS_SCAN_AXIS_X_INTERNAL": axis,
        "MEAS_SCAN_START_TIME": start,
        "MEAS_SCAN_END_TIME": end,
        "MEAS_SCAN_SPEED": speed,
        "MEAS_SCAN_SPEED_UNIT": unit,
        "MEAS_SCAN_START": "26.5",
        "MEAS_SCAN_STOP": "27.3",
        "MEAS_SCAN_STEP": "0.04",
        "MEAS_SCAN_UNIT_Y": intensity,
    }
    lines = ["*RAS_HEADER_START", *(f'*{key} "{value}"' for key, value in header.items())]
    lines += ["*RAS_HEADER_END", "*RAS_INT_START", *(rows or ROWS), "*RAS_INT_END"]
    return "\r\n".join(lines) + "\r\n"


def ras(*scans: str) -> bytes:
    """Return a file."""
    return f"*RAS_DATA_START\r\n{''.join(scans)}*RAS_DATA_END\r\n".encode("cp932")


def _read(folder: Path, raw: bytes, name: str = "scan.ras", **options: Any) -> xr.Dataset:
    path = folder / name
    path.write_bytes(raw)
    return READER.read(File(path), **options)


def test_a_scan(tmp_path: Path) -> None:
    found = _read(tmp_path, ras(scan()))
    assert READER.sniff(ras(scan()), "scan.ras")
    np.testing.assert_array_equal(found["two_theta"], [26.5, 26.54, 26.58, 26.62])
    np.testing.assert_array_equal(found["intensity"][0], [7, 11, 240, 13])
    np.testing.assert_array_equal(found["attenuation_factor"][0], [1, 1, 10, 1])
    assert found["exposure"].values == [1200]
    assert found.attrs["clock"]["start"] == "2024-05-25T10:00:00"
    assert found.attrs["clock"]["zone"] is None
    assert found.attrs["instrument"] == "Rigaku SmartLab"
    assert found.attrs["original_metadata"]["HW_GONIOMETER_NAME"] == "試料|SmartLab"


def test_bytes_that_are_not_japanese(tmp_path: Path) -> None:
    raw = ras(scan()).replace(b"NMC 811", b"NMC \xfc\xff")
    header = _read(tmp_path, raw).attrs["original_metadata"]
    assert header["FILE_SAMPLE"] == "NMC üÿ"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("05/25/24 10:00:00", "05/25/24 10:20:00", "2024-05-25"),
        ("25/05/24 10:00:00", "25/05/24 10:20:00", "2024-05-25"),
        ("12/05/15 23:50:00", "12/06/15 00:10:00", "2015-12-05"),
        ("05/12/15 23:50:00", "06/12/15 00:10:00", "2015-12-05"),
        ("2024-05-04 10:00:00", "2024-05-04 10:20:00", "2024-05-04"),
        ("07/07/24 10:00:00", "07/07/24 10:20:00", "2024-07-07"),
    ],
)
def test_what_decides_day_and_month(tmp_path: Path, start: str, end: str, expected: str) -> None:
    """A number above 12, a night that would be a month otherwise, the same number twice."""
    found = _read(tmp_path, ras(scan(start=start, end=end)))
    assert found.attrs["clock"]["start"][:10] == expected
    assert found["exposure"].values == [1200]


def test_another_scan_may_decide(tmp_path: Path) -> None:
    day = scan(start="12/05/15 10:00:00", end="12/05/15 10:20:00")
    night = scan(start="12/05/15 23:50:00", end="12/06/15 00:10:00")
    assert _read(tmp_path, ras(day, night), scans="1").attrs["clock"]["start"][:10] == "2015-12-05"


@pytest.mark.parametrize("unit", ["deg/min", "unknown"])
def test_what_nothing_decides_must_be_said(tmp_path: Path, unit: str) -> None:
    """Within a day both orders fit; so they do when how long a scan takes is not known."""
    end = "12/05/15 10:20:00" if unit == "deg/min" else "12/06/15 10:20:00"
    raw = ras(scan(start="12/05/15 10:00:00", end=end, unit=unit))
    with pytest.raises(FormatError, match=r"day or month first\? pass date_order='mdy' or 'dmy'"):
        _read(tmp_path, raw)
    assert _read(tmp_path, raw, date_order="mdy").attrs["clock"]["start"][:10] == "2015-12-05"
    assert _read(tmp_path, raw, date_order="dmy").attrs["clock"]["start"][:10] == "2015-05-12"


def test_steps_of_seconds(tmp_path: Path) -> None:
    """20 steps of 60 s: the night decides too."""
    night = scan(start="12/05/15 23:50:00", end="12/06/15 00:10:00", speed="60", unit="sec.")
    assert _read(tmp_path, ras(night)).attrs["clock"]["start"][:10] == "2015-12-05"


def test_scans_of_a_file(tmp_path: Path) -> None:
    hours = [scan(start=f"05/25/24 {h}:00:00", end=f"05/25/24 {h}:20:00") for h in (10, 11, 12)]
    rocking = scan(axis="Omega", start="05/25/24 13:00:00", end="05/25/24 13:20:00")
    series = _read(tmp_path, ras(*hours, rocking))
    np.testing.assert_array_equal(series["elapsed"], [0, 3600, 7200])
    assert series.attrs["original_metadata"]["skipped_scans"] == 1
    placed = operando.read(tmp_path / "scan.ras", tz="Asia/Tokyo")
    assert str(placed["time_start"].values[0])[:16] == "2024-05-25T01:00"


@pytest.mark.parametrize(("pack", "suffix"), [(bz2.compress, ".bz2"), (gzip.compress, ".gz")])
def test_compressed(tmp_path: Path, pack: Any, suffix: str) -> None:
    packed = pack(ras(scan()))
    found = _read(tmp_path, packed, f"scan.ras{suffix}")
    assert READER.sniff(packed, f"scan.ras{suffix}")
    np.testing.assert_array_equal(found["intensity"][0], [7, 11, 240, 13])
    assert operando.read(tmp_path / f"scan.ras{suffix}", tz="UTC").sizes["time"] == 1


def test_compressed_and_cut(tmp_path: Path) -> None:
    """Of two joined parts, the second is cut: what the first holds is read."""
    text = ras(scan(), scan(start="05/25/24 11:00:00", end="05/25/24 11:20:00"))
    half = text.index(b"*RAS_HEADER_START", 100)
    packed = bz2.compress(text[:half]) + bz2.compress(text[half:])[:-20]
    found = _read(tmp_path, packed, "scan.ras.bz2")
    assert (found.sizes["time"], found.attrs["truncated"]) == (1, "bzip2: ends early")


def test_a_large_block_of_bzip2_is_recognised_by_name() -> None:
    """Nothing comes out of it before 900 kB went in."""
    rows = np.random.default_rng(1).bytes(1 << 20)
    head = bz2.compress(rows)[: 1 << 16]
    assert READER.sniff(head, "scan.ras.bz2")
    assert not READER.sniff(head, "scan.xye.bz2")


def test_bomb(tmp_path: Path) -> None:
    packed = bz2.compress(ras(scan(*["26.5 1.0 1.0"] * 200_000)))
    with pytest.raises(FormatError, match=r"bzip2: .* unpack to more than"):
        _read(tmp_path, packed, "scan.ras.bz2")


@pytest.mark.parametrize(("unit", "expected"), [("counts", "count"), ("cps", "count/s"), ("", "1")])
def test_units(tmp_path: Path, unit: str, expected: str) -> None:
    found = _read(tmp_path, ras(scan(intensity=unit)))
    assert found["intensity"].attrs["units"] == expected


def test_cut_within_the_rows(tmp_path: Path) -> None:
    raw = ras(scan())
    at = raw.index(b"26.62") + 3
    found = _read(tmp_path, raw[:at])
    assert found.attrs["truncated"] == "scan 1: 3 of 4 points"
    np.testing.assert_array_equal(found["intensity"][0], [7, 11, 240])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"*RAS_HEADER_START\r\n", r"expected \*RAS_DATA_START"),
        (ras(), r"no \*RAS_INT_START"),
        (ras(scan("26.5 7 1", "26.54 x 1")), "line 24: '26.54 x 1'; expected numbers"),
        (ras(scan("26.5", "26.6")), "1 columns; expected position"),
        (ras(scan(axis="Omega")), "scan 1: over 'Omega'"),
        (ras(scan(end="05/24/24 10:00:00")), "is not after the start"),
        (ras(scan(start="yesterday")), "expected a date and a time"),
        (ras(scan(), scan(start="")), "no start, others have"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, raw)


WHOLE = ras(scan(), scan(start="05/25/24 11:00:00", end="05/25/24 11:20:00"))


@pytest.mark.parametrize("raw", [WHOLE, bz2.compress(WHOLE)], ids=["plain", "packed"])
def test_damage_is_refused_or_leaves_a_valid_series(
    survives_damage: Callable[..., None], raw: bytes
) -> None:
    survives_damage(READER, raw, "scan.ras", frames=2)
