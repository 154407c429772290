"""Bruker OPUS: axis, scale, zone, dates, other kinds of spectra, damage.

The files are written here as the real one is, which spectrochempy reads with the same numbers.
"""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.bruker_opus import READER

STATUS = {
    "DPF": 1,
    "NPT": 3,
    "FXV": 300.0,
    "LXV": 100.0,
    "CSF": 0.5,
    "DAT": "04/05/2026",
    "TIM": "10:00:00.250 (GMT+2)",
    "DXU": "WN",
}
INSTRUMENT = {
    "RLW": 9394.9,
    "SRT": 1_777_888_800.25,  # 2026-05-04T10:00:00.25 on the local clock
    "DUR": 30.5,
    "INS": "VERTEX 70",
}
COUNTS = (6.0, 4.0, 2.0)


def _parameters(values: dict[str, Any]) -> bytes:
    raw = b""
    for name, value in values.items():
        kind, content = (
            (0, struct.pack("<i", value))
            if isinstance(value, int)
            else (1, struct.pack("<d", value))
            if isinstance(value, float)
            else (2, (value.encode() + b"\0").ljust((len(value) + 2) // 2 * 2, b"\0"))
        )
        raw += name.encode() + b"\0" + struct.pack("<HH", kind, len(content) // 2) + content
    raw += b"END\0" + bytes(4)
    return raw + bytes(-len(raw) % 4)


def _opus(
    *,
    status: dict[str, Any] | None = None,
    instrument: dict[str, Any] | None = None,
    data: int = 10,
    spectra: int = 1,
    axis: bool = True,
) -> bytes:
    kind = data << 10 | 0xF
    blocks = [(kind, struct.pack("<3f", *COUNTS))] * spectra
    if axis:
        blocks.append((kind | 1 << 4, _parameters(STATUS | (status or {}))))
    blocks.append((0x20, _parameters(INSTRUMENT if instrument is None else instrument)))
    blocks.append((0xA0, _parameters({"SNM": "cell 2"})))
    at = 24 + 12 * len(blocks)
    directory, body = b"", b""
    for number, content in blocks:
        directory += struct.pack("<III", number, len(content) // 4, at + len(body))
        body += content
    return b"\n\n\xfe\xfe" + struct.pack("<dIII", 920622.0, 24, 40, len(blocks)) + directory + body


def _save(folder: Path, raw: bytes) -> File:
    path = folder / "cell.0"
    path.write_bytes(raw)
    return File(path)


def _read(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> xr.Dataset:
    return READER.read(_save(folder, _opus(**changes)), **(options or {}))


def test_a_spectrum(tmp_path: Path) -> None:
    spectrum = _read(tmp_path)
    np.testing.assert_array_equal(spectrum["raman_shift"], [100, 200, 300])
    np.testing.assert_array_equal(spectrum["intensity"], [[1, 2, 3]])
    assert spectrum["exposure"].values.tolist() == [30.5]
    assert spectrum.attrs["instrument"] == "Bruker VERTEX 70"
    assert spectrum.attrs["title"] == "cell 2"
    assert spectrum.attrs["laser_wavelength_nm"] == pytest.approx(1064.407, abs=1e-3)
    assert spectrum.attrs["original_metadata"]["0x20 > DUR"] == 30.5
    assert spectrum.attrs["clock"] == {
        "start": "2026-05-04T10:00:00.250",
        "zone": "+02:00",
        "marks": "start",
        "source": "header",
        "sigma_s": None,
    }


def test_the_seconds_settle_day_and_month(tmp_path: Path) -> None:
    path = _save(tmp_path, _opus()).path
    assert str(operando.read(path)["time_start"].values[0]) == "2026-05-04T08:00:00.250000000"
    with pytest.raises(FormatError, match="day or month first"):
        _read(tmp_path, instrument={})
    american = _read(tmp_path, {"date_order": "mdy"}, instrument={})
    assert american.attrs["clock"]["start"] == "2026-04-05T10:00:00.250"
    assert _read(tmp_path, {"date_order": "mdy"}).attrs["clock"]["start"][:10] == "2026-04-05"
    with pytest.raises(FormatError, match="day or month first"):
        _read(tmp_path, instrument={"SRT": 5.0})


@pytest.mark.parametrize(
    ("stamp", "zone"),
    [
        ("10:00:00.250 (GMT-11)", "-11:00"),
        ("10:00:00.250 (GMT+5:30)", "+05:30"),
        ("10:00:00.250", None),
        ("10:00:00.250 (GMT+99)", None),
    ],
)
def test_zones(tmp_path: Path, stamp: str, zone: str | None) -> None:
    attrs = _read(tmp_path, status={"TIM": stamp}).attrs
    assert attrs["clock"]["zone"] == zone
    assert ("summer time" in attrs.get("clock_caution", "")) == (zone is not None)


def test_without_a_stamp(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, status={"TIM": ""}, instrument={})
    assert spectrum.attrs["clock"]["start"] is None
    assert "exposure" not in spectrum.coords
    assert "laser_wavelength_nm" not in spectrum.attrs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": 4}, r"blocks of \['absorbance'\]; no Raman spectrum"),
        ({"spectra": 2}, "2 Raman spectra; extract them"),
        ({"axis": False}, "no block 0x281f with the axis"),
        ({"status": {"NPT": 4}}, "12 bytes; expected 4 points"),
        ({"status": {"NPT": -4}}, "expected -4 points"),
        ({"status": {"NPT": 2.0}}, "NPT 2.0, FXV 300.0"),
        ({"status": {"DPF": 2}}, "DPF 2 in 'WN'"),
        ({"status": {"DXU": "MI"}}, "DPF 1 in 'MI'"),
        ({"status": {"LXV": 300.0}}, "does not ascend"),
        ({"status": {"LXV": float("inf")}}, "does not ascend"),
        ({"status": {"DAT": "31/02/2026"}}, "day is out of range"),
    ],
)
def test_what_cannot_be_read_says_why(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (12, 2**32 - 1, "directory: 4 blocks at byte"),
        (20, 2**32 - 1, "directory: 4294967295 blocks"),
        (20, 900, "directory: 900 blocks"),
        (28, 2**30, None),
        (32, 2**32 - 1, "0 bytes; expected 3 points"),
    ],
)
def test_sizes_beyond_the_file_cost_nothing(
    tmp_path: Path, at: int, value: int, message: str | None
) -> None:
    raw = bytearray(_opus())
    struct.pack_into("<I", raw, at, value)
    file = _save(tmp_path, bytes(raw))
    tracemalloc.start()
    if message is None:
        assert READER.read(file).sizes["raman_shift"] == 3
    else:
        with pytest.raises(FormatError, match=message):
            READER.read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_blocks_that_overlap_are_refused(tmp_path: Path) -> None:
    """Nine hundred blocks, each all the megabyte of the file."""
    count, size = 900, 1 << 20
    head = b"\n\n\xfe\xfe" + struct.pack("<dIII", 920622.0, 24, 1000, count)
    entries = b"".join(struct.pack("<III", 0x20 + (k << 16), size // 4, 0) for k in range(count))
    file = _save(tmp_path, (head + entries).ljust(size, b"\0"))
    tracemalloc.start()
    with pytest.raises(FormatError, match="block 3 and others overlap"):
        READER.read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * size


WHOLE = _opus()


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, WHOLE, "cell.0", frames=1, cuts=range(len(WHOLE)))


@pytest.mark.shared_data
def test_the_axis_of_the_real_file_is_a_shift(shared_data: Path) -> None:
    """Its limits are those of the absolute wavenumbers that were measured, less the laser."""
    path = shared_data / "formats" / "raman" / "ramanchada2_mit" / "test_opus.0"
    spectrum = READER.read(File(path))
    stated = {k.rpartition(" > ")[2]: v for k, v in spectrum.attrs["original_metadata"].items()}
    low, high = stated["RLW"] - stated["HFQ"], stated["RLW"] - stated["LFQ"]
    np.testing.assert_allclose(spectrum["raman_shift"][[0, -1]], [low, high], atol=2)
    assert float(spectrum["intensity"].max()) == pytest.approx(stated["MXY"], rel=1e-6)
