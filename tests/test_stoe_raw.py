"""STOE .raw: the layout written field by field, ranges, both widths, damage."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.stoe_raw import READER

COUNTS = (1129, 2000, 5824, 1300, 1285)
STAMPS = (b"22-Sep-20 17:18", b"22-Sep-20 18:21")


def _put(size: int, *fields: tuple[int, str, Any]) -> bytes:
    made = bytearray(size)
    for at, layout, value in fields:
        raw = value if layout == "s" else struct.pack(f"<{layout}", value)
        made[at : at + len(raw)] = raw
    return bytes(made)


def part(
    counts: Sequence[int] = COUNTS,
    *,
    stamps: tuple[bytes, bytes] = STAMPS,
    start: float = 10.0,
    end: float | None = None,
    form: int = 0,
    factor: float = 0.0,
    extremes: tuple[int, int] | None = None,
    history: int = 0,
) -> bytes:
    """Return a range: its header of 512 bytes and blocks of counts."""
    low, high = extremes or (min(counts), max(counts))
    header = _put(
        512,
        (0, "s", stamps[0]),
        (16, "s", stamps[1]),
        (34, "H", len(counts)),
        (38, "h", form),
        (40, "f", factor),
        (44, "f", start),
        (48, "f", start / 2),
        (52, "f", start + 0.015 * (len(counts) - 1) if end is None else end),
        (60, "f", 0.015),
        (64, "f", 0.0075),
        (68, "f", 352.0),
        (118, "H", history),
        (120, "i", low),
        (124, "i", high),
    )
    points = np.array(counts, "<i2" if form else "<i4").tobytes()
    return header + points.ljust(-(-len(points) // 512) * 512, b"\0")


def stoe(
    *parts: bytes,
    layout: bytes = b"RAW_1.06",
    kind: int = 3,
    anode: int = 3,
    history: int = 0,
    count: int | None = None,
) -> bytes:
    """Return a file whose ranges begin at block 5."""
    places, block = [], 5
    for each in parts:
        places.append(block)
        block += len(each) // 512
    header = _put(
        512,
        (0, "s", layout),
        (8, "s", b"Powdat"),
        (16, "s", STAMPS[0]),
        (32, "s", b"LiFePO4"),
        (310, "h", anode),
        (322, "f", 1.540598),
        (326, "f", 1.544426),
        (360, "h", kind),
        (378, "h", len(parts) if count is None else count),
        (472, "H", history),
        *((480 + 2 * at, "h", place) for at, place in enumerate(places)),
    )
    return header + bytes(3 * 512) + b"".join(parts)


def _read(folder: Path, raw: bytes, **options: Any) -> xr.Dataset:
    path = folder / "scan.raw"
    path.write_bytes(raw)
    return READER.read(File(path), **options)


@pytest.mark.parametrize("form", [0, 1])
def test_a_scan(tmp_path: Path, form: int) -> None:
    raw = stoe(part(form=form))
    found = _read(tmp_path, raw)
    assert READER.sniff(raw, "scan.raw")
    np.testing.assert_array_equal(found["intensity"][0], COUNTS)
    np.testing.assert_allclose(found["two_theta"], 10 + 0.015 * np.arange(5), atol=1e-12)
    assert found.attrs["clock"] == {
        "start": "2020-09-22T17:18:00",
        "zone": None,
        "marks": "start",
        "source": "header",
        "sigma_s": 30.0,
    }
    assert found["exposure"].values == [3780]
    assert found["counting_time"].values == [352]
    assert (found.attrs["anode"], found.attrs["wavelength_angstrom"]) == ("Cu", 1.540598)
    assert found.attrs["wavelength_kind"] == "unknown"
    assert "modified" not in found.attrs


def test_ranges(tmp_path: Path) -> None:
    later = part(COUNTS[::-1], stamps=(b"22-Sep-20 18:30", b"22-Sep-20 19:33"))
    raw = stoe(part(), later)
    series = _read(tmp_path, raw)
    np.testing.assert_array_equal(series["intensity"], [COUNTS, COUNTS[::-1]])
    np.testing.assert_array_equal(series["elapsed"], [0, 72 * 60])
    np.testing.assert_array_equal(_read(tmp_path, raw, scans="2")["scan"], [2])
    placed = operando.read(tmp_path / "scan.raw", tz="Europe/Berlin")
    assert str(placed["time_start"].values[0])[:16] == "2020-09-22T15:18"


def test_a_scan_within_one_minute_has_no_exposure(tmp_path: Path) -> None:
    """Stamps of whole minutes: it took less than one, not 0 s."""
    found = _read(tmp_path, stoe(part(stamps=(b"22-Sep-20 17:18", b"22-Sep-20 17:18"))))
    assert found.attrs["clock"]["start"] == "2020-09-22T17:18:00"
    assert "exposure" not in found.coords


def test_counts_that_were_scaled(tmp_path: Path) -> None:
    """They are stored as whole numbers times the factor."""
    found = _read(tmp_path, stoe(part(factor=10.0)))
    np.testing.assert_allclose(found["intensity"][0], np.array(COUNTS) / 10)
    assert "not whole" in found.attrs["intensity_source"]


def test_what_was_done_to_the_counts_is_told(tmp_path: Path) -> None:
    found = _read(tmp_path, stoe(part(history=1 << 5 | 1 << 7), history=1))
    assert found.attrs["modified"] == "corrected for the detector, smoothed, alpha 2 stripped"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (stoe(part(), layout=b"RAW_1.07"), "RAW_1.07.*expected 'RAW_1.06'.*export it"),
        (stoe(part(), kind=2), "scan 1: over 'Omega'"),
        (stoe(part(), kind=4), "scan 1: over 'free'"),
        (stoe(part(), count=0), "0 ranges; expected 1 to 8"),
        (stoe(part(), count=300), "300 ranges; expected 1 to 8"),
        (stoe(part(), count=2), "range 2: block 0"),
        (stoe(part(form=7)), "numbers of form 7"),
        (stoe(part(end=11.0)), "do not end at 11.0"),
        (stoe(part(extremes=(5, 9))), "counts from 1129 to 5824; its header says 5 to 9"),
        (stoe(part())[:-500], "5 points end behind"),
        (stoe(part())[:700], "range 1 expected, the file has 700"),
        (stoe(part(stamps=(b"22-Sep-20 18:18", b"22-Sep-20 17:18"))), "is not after the start"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, raw)


WHOLE = stoe(part(), part(stamps=(b"22-Sep-20 18:30", b"22-Sep-20 19:33")))
TOLD = [*range(512), *range(2048, 2048 + 128), *range(3072, 3072 + 128)]
"""Bytes that say something."""


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE, "scan.raw", frames=2, places=TOLD)
