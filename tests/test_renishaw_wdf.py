"""Renishaw .wdf: end stamps, interrupted files, StreamLine, axes, settings, damage.

The files are written here from the layout of the blocks. Times and places of the real ones are
compared with renishawWiRE in tests/expected; here with what WiRE itself exported beside them.
"""

from __future__ import annotations

import json
import re
import struct
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

import operando
from operando_readers import renishaw_wdf
from operando_readers._reader import File, FormatError
from operando_readers._wire_settings import settings as read_settings
from operando_readers.renishaw_wdf import READER

Values = npt.NDArray[np.float64]
START = np.datetime64("2026-05-04T10:00:00", "ns")
FILETIME_EPOCH = np.datetime64("1601-01-01", "us").astype(np.int64) * 10
SECOND = 10_000_000
DEFAULTS: dict[str, Any] = {
    "axis": (300.0, 200.0, 100.0),
    "axis_unit": 1,
    "planned": None,
    "taken": None,
    "accumulations": 1,
    "rows": 1,
    "scan": 1,
    "unit": 6,
    "laser": 1e7 / 532.0,
    "stamps": (34.34,),
    "origins": {},
    "map": None,
    "WXDM": {"Scan": {"Exposure Time": 10_000}},
    "WXIS": {},
}
"""What `_wdf` writes; `stamps` are seconds after START, `origins` (type, unit, scanned): values."""


def _wdf(**changes: Any) -> bytes:
    """Return a file; spectrum k has the counts 10 k + 3, 10 k + 2, 10 k + 1 from 300 to 100."""
    made = DEFAULTS | changes
    stamps = made["stamps"]
    count = len(stamps) if stamps is not None else made["taken"]
    planned = made["planned"] or count
    taken = count if made["taken"] is None else made["taken"]
    points = len(made["axis"])
    lists = [_origin(key, values, planned) for key, values in made["origins"].items()]
    if stamps is not None:
        lists.append(_origin((11, 24, False), [_filetime(at) for at in stamps], planned, code="q"))
    counts = 10.0 * np.arange(planned)[:, None] + np.arange(points, 0, -1)
    header = struct.pack(
        "<44xIQQIIII24s4HIIqqIf48x32s160s112x",
        points,
        planned,
        taken,
        made["accumulations"],
        made["rows"],
        points,
        len(lists),
        b"WiRE",
        *(5, 5, 0, 21066),
        made["scan"],
        3 if made["map"] else 1,
        _filetime(0.0),
        _filetime(0.0 if stamps is None else stamps[-1]),
        made["unit"],
        made["laser"],
        b"Raman",
        b"PE edge",
    )
    blocks = {
        "WDF1": header,
        "DATA": counts.astype("<f4").tobytes(),
        "YLST": struct.pack("<IIf", 4, 16, 23.0),
        "XLST": struct.pack("<II", 1, made["axis_unit"]) + np.array(made["axis"], "<f4").tobytes(),
    }
    if lists:
        blocks["ORGN"] = struct.pack("<I", len(lists)) + b"".join(lists)
    for name in ("WXDM", "WXIS"):
        blocks[name] = _property_set(made[name])
    if made["map"]:
        flag, columns, rows = made["map"]
        blocks["WMAP"] = struct.pack("<II6fIIII", flag, 0, *[0.0] * 6, columns, rows, 1, 0)
    blocks["TEXT"] = b"second cell\0"
    return b"".join(_block(name, content) for name, content in blocks.items())


def _block(name: str, content: bytes) -> bytes:
    return struct.pack("<4sIQ", name.encode(), 1, 16 + len(content)) + content


def _origin(
    key: tuple[int, int, bool], values: Sequence[Any], planned: int, code: str = "d"
) -> bytes:
    kind, unit, scanned = key
    padded = [*values, *[0] * (planned - len(values))]
    label = struct.pack("<II16s", kind | scanned << 31, unit, b"label")
    return label + struct.pack(f"<{planned}{code}", *padded)


def _filetime(seconds: float) -> int:
    """0 stays 0: the stamp of a spectrum that was never taken."""
    if np.isnan(seconds):
        return 0
    start = int(START.astype("datetime64[us]").astype(np.int64)) * 10 - int(FILETIME_EPOCH)
    return start + round(seconds * SECOND)


def _property_set(tree: Mapping[str, Any]) -> bytes:
    content = _entries(tree)
    return b"PSET" + struct.pack("<I", len(content)) + content


def _entries(tree: Mapping[str, Any]) -> bytes:
    """Write a set as WiRE does: every name is given to a key beside its value."""
    written = b""
    for key, (name, value) in enumerate(tree.items(), start=0x8001):
        if isinstance(value, Mapping):
            inner = _entries(value)
            written += struct.pack("<cBHI", b"p", 0, key, len(inner)) + inner
        elif isinstance(value, str):
            text = value.encode()
            written += struct.pack("<cBHI", b"u", 0, key, len(text)) + text
        else:
            code = {bool: ("?", "?"), int: ("i", "i"), float: ("q", "d")}[type(value)]
            written += struct.pack(f"<cBH{code[1]}", code[0].encode(), 0, key, value)
        written += struct.pack("<cBHI", b"k", 0, key, len(name.encode())) + name.encode()
    return written


def _save(folder: Path, name: str = "cell.wdf", **changes: Any) -> Path:
    path = folder / name
    path.write_bytes(_wdf(**changes))
    return path


def _read(folder: Path, **changes: Any) -> xr.Dataset:
    return READER.read(File(_save(folder, **changes)))


def _seconds(times: Values | xr.DataArray) -> Values:
    since: Values = (np.asarray(times) - START) / np.timedelta64(1, "s")
    return since


@pytest.mark.parametrize(("frames", "seconds"), [(1, 10.0), (3, 10.0), (4, 180.0)])
def test_case_17_end_stamped(tmp_path: Path, frames: int, seconds: float) -> None:
    """The stamp comes when the light has been counted; overhead of reading it out is 0.34 s."""
    live = frames * seconds
    path = _save(
        tmp_path,
        accumulations=frames,
        stamps=(live + 0.34, 2 * live + 0.8),
        WXDM={"Scan": {"Exposure Time": int(1000 * seconds), "Accumulations": 1}},
    )
    series = operando.read(path)
    assert abs(_seconds(series["time_start"])[0]) <= 0.5
    np.testing.assert_allclose(_seconds(series["time_end"]), [live + 0.34, 2 * live + 0.8])
    np.testing.assert_allclose(_seconds(series["time"]), [live / 2 + 0.34, 1.5 * live + 0.8])
    assert '"marks": "end"' in series.attrs["clock"]
    assert series["frame_flag"].values.tolist() == [0, 0]


@pytest.mark.parametrize("taken", [12, 16])
def test_case_18_interrupted(tmp_path: Path, taken: int) -> None:
    """16 planned, 12 taken, whether the header knows or only the stamps of 0 show it."""
    stamps = [30.0 * k for k in range(1, 13)] + [np.nan] * 4
    path = _save(tmp_path, planned=16, taken=taken, stamps=stamps)
    series = operando.read(path)
    assert series.sizes["time"] == 12
    assert series["time_start"].values.min() >= START
    assert series.attrs["interrupted"] == "12 of 16 spectra were taken"
    np.testing.assert_allclose(_seconds(series["time_end"]), stamps[:12])
    np.testing.assert_array_equal(series["intensity"][:, 0], 10 * np.arange(12) + 1)


def _streamline() -> tuple[Values, Values, Values]:
    """x, y and stamps of 45 columns of 49 spectra, one column after the other, 0.06 s apart."""
    x, y = np.meshgrid(-8100.3 + 2.6 * np.arange(45), -1201.3 + 2.6 * np.arange(49), indexing="ij")
    column, row = np.divmod(np.arange(45 * 49), 49)
    return x.ravel(), y.ravel(), 5.1 * (column + 1) + 0.06 * row


def test_case_19_streamline(tmp_path: Path) -> None:
    """Every spectrum keeps its own place and counts; nothing is reshaped, by rows or by columns."""
    x, y, stamps = _streamline()
    path = _save(
        tmp_path,
        scan=6,
        map=(2, 45, 49),
        stamps=stamps,
        origins={(3, 5, True): x, (4, 5, True): y},
        WXDM={"Scan": {"Exposure Time": 2030}},
    )
    frames = READER.read(File(path))
    np.testing.assert_array_equal(frames["x"], x)
    np.testing.assert_array_equal(frames["y"], y)
    assert frames["x"].attrs["units"] == frames["y"].attrs["units"] == "micrometre"
    np.testing.assert_allclose(frames["exposure"], 0.06, atol=1e-6)
    assert "StreamLine exposes a line" in frames.attrs["exposure_source"]
    assert frames.attrs["clock"]["sigma_s"] == 2.03
    assert frames.attrs["original_metadata"]["map_flag"] == 2
    assert frames.attrs["original_metadata"]["map_size"] == "45 x 49 x 1"
    series = operando.read(path)
    pattern = re.compile(r"x=(\S+) y=(\S+)")
    places = [pattern.fullmatch(str(spot)) for spot in series["position"].values]
    found = np.array([[float(part) for part in place.groups()] for place in places if place])
    np.testing.assert_allclose(found, np.column_stack([x, y]), atol=0.005)
    np.testing.assert_array_equal(series["intensity"][:, 2], 10 * np.arange(45 * 49) + 3)
    jumps = np.flatnonzero(np.diff(_seconds(series["time"])) > 1) + 1
    np.testing.assert_array_equal(jumps, 49 * np.arange(1, 45))
    assert not series["frame_flag"].any()


def test_streamline_without_stamps_or_settings(tmp_path: Path) -> None:
    single = _read(tmp_path, scan=6, WXDM={})
    assert "exposure" not in single.coords
    assert single.attrs["exposure_source"] == "unknown: StreamLine"


@pytest.mark.parametrize("axis", [(300.0, 200.0, 100.0), (100.0, 200.0, 300.0)])
def test_the_axis_ascends(tmp_path: Path, axis: tuple[float, ...]) -> None:
    spectra = _read(tmp_path, axis=axis)
    np.testing.assert_array_equal(spectra["raman_shift"], [100, 200, 300])
    np.testing.assert_array_equal(
        spectra["intensity"][0], [1, 2, 3] if axis[0] == 300 else [3, 2, 1]
    )
    assert spectra["intensity"].attrs["units"] == "count"
    assert spectra["intensity"].dtype == np.float32


def test_wavelengths_become_shifts(tmp_path: Path) -> None:
    """Silicon (520.7 1/cm) of a laser at 532 nm is seen at 547.16 nm, its own line at 0."""
    silicon = 1 / (1 / 532.0 - 520.7e-7)
    assert silicon == pytest.approx(547.16, abs=0.01)
    spectra = _read(tmp_path, axis=(silicon, 532.0, 520.0), axis_unit=3)
    # The axis is float32: 3e-5 nm, 1e-3 1/cm.
    np.testing.assert_allclose(spectra["raman_shift"], [-433.777, 0, 520.7], atol=2e-3)
    np.testing.assert_array_equal(spectra["intensity"][0], [1, 2, 3])
    assert spectra.attrs["axis_source"] == "wavelength in nm, laser at 532.000 nm"


def test_what_is_known_of_the_measurement(tmp_path: Path) -> None:
    instrument = {
        "Instrument type": "InVia",
        "Microscope": {"Objective": "x50 L"},
        "Stage": {"X": 12.5, "Y": -3.0, "Z": 7.25},
    }
    attrs = (spectra := _read(tmp_path, WXIS=instrument)).attrs
    assert (attrs["instrument"], attrs["title"]) == ("Renishaw InVia", "PE edge")
    assert attrs["objective"] == "x50 L"
    assert attrs["laser_wavelength_nm"] == pytest.approx(532.0, rel=1e-7)
    assert attrs["exposure_source"] == "10 s x 1 frames"
    assert [float(spectra[axis][0]) for axis in "xyz"] == [12.5, -3.0, 7.25]
    assert "position" not in spectra.coords
    assert attrs["original_metadata"]["WXDM > Scan > Exposure Time"] == 10_000
    assert attrs["original_metadata"]["comment"] == "second cell"
    assert attrs["original_metadata"]["version"] == "5.5.0.21066"
    assert attrs["original_metadata"]["start"] == "2026-05-04T10:00:00.000000000"


def test_a_depth_scan_is_a_row_of_positions_and_a_drifting_focus_is_not(tmp_path: Path) -> None:
    stamps, depth = (10.0, 20.0, 30.0), (-0.5e-3, -0.0, 0.5e-3)
    scanned = _read(tmp_path, stamps=stamps, origins={(5, 8, True): depth})
    assert scanned["position"].values.tolist() == ["z=-0.50", "z=0.00", "z=0.50"]
    np.testing.assert_allclose(scanned["z"], [-0.5, 0.0, 0.5])
    tracked = _read(tmp_path, stamps=stamps, origins={(5, 5, False): depth, (9, 10, False): depth})
    assert "position" not in tracked.coords
    np.testing.assert_array_equal(tracked["z"], depth)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"WXDM": {}}, "do not state one"),
        ({"WXDM": {"Scan": {"Exposure Time": 0}}}, "do not state one"),
        ({"WXDM": {"a": {"Exposure Time": 5}, "b": {"Exposure Time": 6}}}, "do not state one"),
        ({"scan": 2}, "extended scan"),
        ({"accumulations": 0}, "do not state one"),
    ],
)
def test_an_exposure_is_not_guessed(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    spectra = _read(tmp_path, **changes)
    assert "exposure" not in spectra.coords
    assert reason in spectra.attrs["exposure_source"]
    declared = operando.read(_save(tmp_path, **changes), exposure_s=20.0)
    np.testing.assert_allclose(_seconds(declared["time_start"]), [14.34])


@pytest.mark.parametrize("stamps", [None, (np.nan, np.nan)])
def test_without_stamps_the_times_are_declared(
    tmp_path: Path, stamps: tuple[float, float] | None
) -> None:
    path = _save(tmp_path, stamps=stamps, taken=2)
    assert READER.read(File(path)).attrs["clock"]["start"] is None
    with pytest.raises(operando.errors.ClockError, match="no time in the file"):
        operando.read(path)
    placed = operando.read(path, first="2026-05-04T12:00:00", period_s=60, tz="Europe/Paris")
    np.testing.assert_array_equal(_seconds(placed["time_start"]), [0, 60])


def test_equal_and_disordered_stamps_are_put_in_order(tmp_path: Path) -> None:
    path = _save(tmp_path, stamps=(40.0, 20.0, 40.0), WXDM={})
    np.testing.assert_allclose(READER.read(File(path))["elapsed"], [0, -20, 0])
    series = operando.read(path)
    np.testing.assert_allclose(_seconds(series["time_end"]), [20, 40, 40])
    assert np.all(np.diff(series["time"].values) > np.timedelta64(0))


def test_files_of_one_spectrum_are_a_series_with_layers(tmp_path: Path) -> None:
    for number, layer in enumerate(("PE", "SSE", "PE")):
        _save(tmp_path, f"{layer}_{number}.wdf", stamps=(60.0 * (number + 1),))
    series = operando.read(tmp_path, position=r"^([A-Z]+)_")
    assert series["position"].values.tolist() == ["PE", "SSE", "PE"]
    np.testing.assert_allclose(_seconds(series["time_end"]), [60, 120, 180])


def test_large_files_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"stamps": (20.0, 40.0), "origins": {(3, 5, True): (1.0, 2.0)}}
    copied = _read(tmp_path, **made)
    monkeypatch.setattr(renishaw_wdf, "MAPPED_BYTES", 1)
    mapped = _read(tmp_path, **made)
    xr.testing.assert_identical(mapped, copied)
    assert not mapped["intensity"].variable.values.flags.owndata


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis_unit": 4}, "XLST: type 1 in unit 4; expected a Raman shift or nm"),
        ({"axis_unit": 3, "laser": 0.0}, "with a laser at 0 1/cm"),
        ({"axis_unit": 3, "axis": (500.0, 0.0)}, "both must be positive"),
        ({"axis": (1.0, 3.0, 2.0)}, "does not ascend or descend"),
        ({"axis": (1.0, np.nan, 2.0)}, "does not ascend or descend"),
        ({"rows": 2}, "images are not read"),
        ({"taken": 0}, "no spectrum was taken"),
        ({"taken": 3}, "3 of 1 spectra"),
        ({"stamps": (-3e9,)}, "ORGN: stamp .* of spectrum 1; expected one of 1990 to 2100"),
        ({"stamps": (10.0, np.nan, 30.0)}, "stamp 0 of spectrum 2"),
    ],
)
def test_what_cannot_be_read_says_why(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("at", "code", "value", "message"),
    [
        (0, "4s", b"WDF2", "expected a block WDF1"),
        (8, "Q", 511, "expected a block WDF1"),
        (60, "I", 2**32 - 1, "images are not read"),
        (60, "IQQIII", (2**32 - 1, 2**63, 2**63, 1, 1, 2**32 - 1), "XLST: 20 bytes; expected"),
        (64, "QQ", (2**63, 2**63), "DATA: 12 bytes; expected"),
        (520, "Q", 2**63, "no block 'XLST'"),
        (520, "Q", 3, "no block 'XLST'"),
    ],
)
def test_sizes_beyond_the_file_are_refused_before_they_are_used(
    tmp_path: Path, at: int, code: str, value: Any, message: str
) -> None:
    raw = bytearray(_wdf(stamps=None, taken=1))
    struct.pack_into(f"<{code}", raw, at, *(value if isinstance(value, tuple) else (value,)))
    path = tmp_path / "huge.wdf"
    path.write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(FormatError, match=message):
        READER.read(File(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_lists_longer_than_their_block_are_refused(tmp_path: Path) -> None:
    raw = bytearray(_wdf(stamps=(10.0, 20.0)))
    struct.pack_into("<I", raw, raw.index(b"ORGN") + 16, 2**32 - 1)
    path = tmp_path / "lists.wdf"
    path.write_bytes(raw)
    with pytest.raises(FormatError, match="for 4294967295 lists of 2"):
        READER.read(File(path))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, SMALL, "cell.wdf", frames=3, cuts=range(len(SMALL)))


SMALL = _wdf(
    stamps=(20.0, 40.0, 60.0),
    origins={(3, 5, True): (1.0, 2.0, 3.0)},
    map=(2, 3, 1),
    WXIS={"Instrument type": "InVia", "Stage": {"X": 1.0}},
)


def test_a_cut_after_the_spectra_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cut.wdf"
    path.write_bytes(SMALL[: SMALL.index(b"WXIS") + 20])
    cut = READER.read(File(path))
    assert cut.sizes["time"] == 3
    assert "block 'WXIS' ends at byte" in cut.attrs["truncated"]
    assert "truncated" in operando.model.flag_names(
        int(operando.read(path)["frame_flag"][0]), operando.model.FRAME_FLAGS
    )


def test_settings_have_the_names_of_their_own_set_first() -> None:
    """Both sets give key 0x8001 a name; the inner set has none for 0x8002 and takes the outer."""
    inner = b"i\0" + struct.pack("<Hi", 0x8002, 7) + _entries({"Exposure Time": 3})
    outer = struct.pack("<cBHI", b"p", 0, 0x8001, len(inner)) + inner
    names = b"".join(
        struct.pack("<cBHI", b"k", 0, key, 4) + name
        for key, name in ((0x8001, b"Scan"), (0x8002, b"Gain"))
    )
    known = struct.pack("<cBHI", b"u", 0, 1023, 3) + b"x50"
    stamp = struct.pack("<cBHq", b"t", 0, 1, _filetime(0.0))
    array = struct.pack("<cBHI2d", b"q", 0x80, 2, 2, 1.0, 2.0)
    script = struct.pack("<cBHI", b"u", 0x40, 3, 3) + b"Z'\3"
    content = outer + names + known + stamp + array + script + b"?\0\4\0\1"
    found = read_settings(b"PSET" + struct.pack("<I", len(content)) + content)
    assert found == {
        "Scan > Gain": 7,
        "Scan > Exposure Time": 3,
        "Objective": "x50",
        "1": "2026-05-04T10:00:00.000000000",
        "4": True,
    }


@pytest.mark.parametrize("tail", [b"~\0\1\0\0\0\0\0", b"u\0\1\0\xff\xff\xff\xff", b"i\0\1\0\1"])
def test_settings_stop_where_they_make_no_sense(tail: bytes) -> None:
    content = _entries({"Good": 1}) + tail
    found = read_settings(b"PSET" + struct.pack("<I", len(content)) + content)
    assert found["Good"] == 1
    assert read_settings(b"PSET\xff\xff\xff\xff" + content)["Good"] == 1
    assert read_settings(b"PSET") == read_settings(b"TEXT" + content) == {}


def test_settings_nested_without_end_are_not_followed() -> None:
    content = b""
    for _ in range(5000):
        content = struct.pack("<cBHI", b"p", 0, 1, len(content)) + content
    assert read_settings(b"PSET" + struct.pack("<I", len(content)) + content) == {}


RAMAN = ("formats", "raman")


@pytest.mark.shared_data
def test_a_real_spectrum_is_its_own_text_export(shared_data: Path) -> None:
    """WiRE exported six decimals of the float32 in the file."""
    folder = shared_data.joinpath(*RAMAN)
    for name in ("ramanchada2_mit/nCal_Qontor785_z005H12_100_1x3s", "datalab_mit/raman_example"):
        spectrum = READER.read(File(folder / f"{name}.wdf"))
        exported = np.loadtxt(folder / f"{name}.txt", comments="#")[::-1]
        np.testing.assert_allclose(spectrum["raman_shift"], exported[:, 0], atol=1e-6)
        np.testing.assert_allclose(spectrum["intensity"][0], exported[:, 1], atol=1e-6)


@pytest.mark.shared_data
def test_real_stamps_are_utc(shared_data: Path) -> None:
    """The .spc of the same spectrum has the local time of its dark measurement: 13:50:20.

    The .wdf has 11:50:20.853 for it, between the stamp of the spectrum and the end of the file.
    """
    folder = shared_data.joinpath(*RAMAN, "ramanchada2_mit")
    name = "nCal_Qontor785_z005H12_100_1x3s"
    local = re.search(rb"22/08/2022 (\d\d):50:20", (folder / f"{name}.spc").read_bytes())
    assert local is not None
    spectrum = READER.read(File(folder / f"{name}.wdf"))
    clock = spectrum.attrs["clock"]
    assert (clock["zone"], clock["start"][:19]) == ("UTC", "2022-08-22T11:50:20")
    assert int(local[1]) - int(clock["start"][11:13]) == 2


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("wdf_pywdf_mit/sp.wdf", 3),
        ("datalab_mit/raman_example.wdf", 1),
        ("ramanchada2_mit/nCal_Qontor785_z005H12_100_1x3s.wdf", 1),
    ],
)
def test_real_exposures_begin_when_the_measurement_did(
    shared_data: Path, name: str, frames: int
) -> None:
    """Reading out costs 0.16 to 0.31 s a frame; a start stamp would be 3 to 31 s off."""
    series = operando.read(shared_data.joinpath(*RAMAN, name))
    header = json.loads(series.attrs["original_metadata"])
    began, ended = np.datetime64(header["start"]), np.datetime64(header["end"])
    late = (series["time_start"].values[0] - began) / np.timedelta64(1, "s")
    assert 0 < late < 0.35 * frames
    assert 0 < (ended - series["time_end"].values[-1]) / np.timedelta64(1, "s") < 0.4


@pytest.mark.shared_data
def test_a_real_line_has_a_place_for_every_spectrum(shared_data: Path) -> None:
    """235 spots, 0.25 um apart; 2 s of light in a period of 2.14 s."""
    line = operando.read(shared_data.joinpath(*RAMAN, "wdf_pywdf_mit", "line.wdf"))
    assert len(set(line["position"].values.tolist())) == 235
    raw = READER.read(File(shared_data.joinpath(*RAMAN, "wdf_pywdf_mit", "line.wdf")))
    steps = np.hypot(np.diff(raw["x"]), np.diff(raw["y"]))
    np.testing.assert_allclose(steps, 0.25, atol=1e-6)
    assert raw.attrs["objective"] == "x50"
    assert not line["frame_flag"].any()
