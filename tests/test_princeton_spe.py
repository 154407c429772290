"""Princeton .spe: LightField and WinSpec, frames, stamps, zones, tracks, damage.

The files are written here: those of LightField as the real one is, with frames, stamps and regions
as its specification has them; those of WinSpec from the header in its manual.
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
from operando_readers.princeton_spe import READER

WAVELENGTHS = (534.0, 547.15692, 560.0)
SHIFTS = 1e7 / 532.0 - 1e7 / np.array(WAVELENGTHS)
DEFAULTS: dict[str, Any] = {
    "frames": 1,
    "rows": 1,
    "pixel": ("MonochromeUnsigned32", "<u4"),
    "wavelengths": WAVELENGTHS,
    "errors": False,
    "laser": "532",
    "orientation": "Normal",
    "mapping": "",
    "regions": 1,
    "created": "2026-05-04T12:00:00.5000000+02:00",
    "stamps": None,
    "combined": 6,
    "rate": "0.03",
    "exposure": "30000",
}
"""What `_lightfield` writes; `stamps` are microseconds behind each frame."""


def _counts(frames: int, rows: int, columns: int, kind: str) -> list[bytes]:
    """Frame f has 100 f + 10 r + 1, 2, 3 ... counts in row r."""
    f, r, p = np.ogrid[:frames, :rows, 1 : columns + 1]
    return [frame.tobytes() for frame in (100 * f + 10 * r + p).astype(kind)]


def _lightfield(**changes: Any) -> bytes:
    made = DEFAULTS | changes
    frames, rows, waves = made["frames"], made["rows"], made["wavelengths"]
    name, kind = made["pixel"]
    size = rows * 3 * np.dtype(kind).itemsize
    behind = 0 if made["stamps"] is None else 16
    tracked = (
        '<MetaFormat><MetaBlock id="4"><FrameTrackingNumber bitDepth="64" />'
        '<TimeStamp event="ExposureStarted" type="Int64" bitDepth="64" resolution="1000000" '
        'absoluteTime="2026-05-04T12:00:00.25+02:00" /></MetaBlock></MetaFormat>'
    )
    listed = ",".join(map(str, waves))
    pairs = " ".join(f"{wave},0.1" for wave in waves)
    axis = (
        f"<WavelengthError>{pairs}</WavelengthError>"
        if made["errors"]
        else f'<Wavelength xml:space="preserve">{listed}</Wavelength>'
    )
    laser = f'laserLine="{made["laser"]}"' if made["laser"] else ""
    region = f'<DataBlock type="Region" width="3" height="{rows}" size="{size}" />'
    xml = (
        '<SpeFormat version="3.0" xmlns="http://www.princetoninstruments.com/spe/2009">'
        f'<DataFormat><DataBlock type="Frame" count="{frames}" pixelFormat="{name}" '
        f'size="{size}" stride="{size + behind}">{region * made["regions"]}</DataBlock>'
        "</DataFormat>"
        f"{tracked if behind else ''}<Calibrations>"
        f'<WavelengthMapping orientation="{made["orientation"]}" {laser}>{axis}</WavelengthMapping>'
        f"{made['mapping']}</Calibrations>"
        f'<DataHistories><DataHistory><Origin created="{made["created"]}"><Experiment><Devices>'
        "<Cameras><Camera><ShutterTiming>"
        f"<ExposureTime>{made['exposure']}</ExposureTime></ShutterTiming>"
        f"<Acquisition><FrameRate>{made['rate']}</FrameRate></Acquisition><Experiment>"
        f"<OnlineProcessing><FrameCombination><FramesCombined>{made['combined']}</FramesCombined>"
        "</FrameCombination></OnlineProcessing></Experiment></Camera></Cameras></Devices>"
        "</Experiment></Origin></DataHistory></DataHistories></SpeFormat>"
    )
    body = b""
    for number, frame in enumerate(_counts(frames, rows, 3, kind)):
        body += frame
        if behind:
            body += struct.pack("<qq", number, made["stamps"][number])
    head = bytearray(4100)
    struct.pack_into("<f", head, 1992, 3.0)
    struct.pack_into("<Q", head, 678, 4100 + len(body))
    struct.pack_into("<H", head, 4098, 0x5555)
    return bytes(head) + body + xml.encode()


def _winspec(**changes: Any) -> bytes:
    """Write a file of WinSpec, nm 500 + 10 p of pixel p; fields as offset: (code, value)."""
    frames, rows, kind = changes.get("frames", 1), changes.get("rows", 1), changes.get("kind", 3)
    head = bytearray(4100)
    fields: dict[int, tuple[str, Any]] = {
        10: ("f", 2.5),
        20: ("10s", b"04May2026"),
        42: ("H", 3),
        108: ("h", kind),
        172: ("7s", b"120000"),
        179: ("7s", b"100000"),
        200: ("80s", b"second cell"),
        656: ("H", rows),
        668: ("i", 4),
        1446: ("i", frames),
        1510: ("h", 1),
        1512: ("3H", (1, 3, 1)),
        1992: ("f", 2.5),
        3098: ("B", 1),
        3100: ("B", 4),
        3101: ("B", 1),
        3263: ("6d", (500.0, 10.0, 0.0, 0.0, 0.0, 0.0)),
        3311: ("d", 1e7 / 505.0),
        4098: ("H", 0x5555),
    }
    for at, (code, value) in (fields | changes.get("fields", {})).items():
        struct.pack_into(f"<{code}", head, at, *(value if isinstance(value, tuple) else (value,)))
    code = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2"}.get(kind, "<u2")
    return bytes(head) + b"".join(_counts(frames, rows, 3, code))


def _save(folder: Path, raw: bytes) -> File:
    path = folder / "cell.spe"
    path.write_bytes(raw)
    return File(path)


def _read(folder: Path, raw: bytes, **options: Any) -> xr.Dataset:
    return READER.read(_save(folder, raw), **options)


@pytest.mark.parametrize(
    "pixel",
    [
        ("MonochromeUnsigned16", "<u2"),
        ("MonochromeUnsigned32", "<u4"),
        ("MonochromeFloating32", "<f4"),
    ],
)
@pytest.mark.parametrize("errors", [True, False])
def test_a_spectrum_of_lightfield(tmp_path: Path, pixel: tuple[str, str], errors: bool) -> None:
    """Silicon (520.7 1/cm) of a laser at 532 nm is seen at 547.16 nm."""
    spectrum = _read(tmp_path, _lightfield(pixel=pixel, errors=errors))
    np.testing.assert_allclose(spectrum["raman_shift"], SHIFTS, atol=1e-9)
    assert float(spectrum["raman_shift"][1]) == pytest.approx(520.7, abs=1e-3)
    np.testing.assert_array_equal(spectrum["intensity"], [[1, 2, 3]])
    assert spectrum["intensity"].attrs["units"] == "count"
    np.testing.assert_array_equal(spectrum["exposure"], [180.0])
    assert spectrum.attrs["exposure_source"] == "30 s x 6 frames"
    assert spectrum.attrs["clock"]["start"] == "2026-05-04T12:00:00.5000000"
    assert spectrum.attrs["clock"]["zone"] == "+02:00"


def test_frames_follow_the_rate_at_which_they_were_stored(tmp_path: Path) -> None:
    path = _save(tmp_path, _lightfield(frames=3)).path
    series = operando.read(path)
    assert str(series["time_start"].values[0]) == "2026-05-04T10:00:00.500000000"
    seconds = np.diff(series["time_start"].values) / np.timedelta64(1, "s")
    np.testing.assert_allclose(seconds, [200.0, 200.0])
    np.testing.assert_array_equal(series["intensity"][:, 0], [1, 101, 201])


def test_stamps_behind_the_frames_count_before_the_rate(tmp_path: Path) -> None:
    raw = _lightfield(frames=2, stamps=(1_000_000, 190_500_000))
    series = _read(tmp_path, raw)
    np.testing.assert_allclose(series["elapsed"], [1.0, 190.5])
    np.testing.assert_array_equal(series["intensity"], [[1, 2, 3], [101, 102, 103]])
    clock = series.attrs["clock"]
    assert (clock["start"], clock["source"]) == ("2026-05-04T12:00:00.25", "column")


def test_frames_without_rate_have_to_be_declared(tmp_path: Path) -> None:
    series = _read(tmp_path, _lightfield(frames=2, rate=""))
    assert series.attrs["clock"]["start"] is None
    assert "first taken at 2026-05-04T12:00:00.5" in series.attrs["doubts"]
    assert "elapsed" not in series.coords


@pytest.mark.parametrize("exposure", ["-30000", "0", "1e308"])
def test_no_exposure_that_is_none(tmp_path: Path, exposure: str) -> None:
    raw = _lightfield(exposure=exposure, combined=10_000)
    assert "exposure" not in _read(tmp_path, raw).coords


def test_unknown_times_and_exposures(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, _lightfield(created="yesterday", exposure=""))
    assert spectrum.attrs["clock"]["start"] is None
    assert "exposure" not in spectrum.coords
    assert spectrum.attrs["exposure_source"] == "unknown"


def test_the_part_of_the_sensor_that_was_read(tmp_path: Path) -> None:
    """Columns 2 to 7 of 8, two by two: their wavelengths are those of their middle."""
    mapping = '<SensorMapping x="2" y="0" width="6" height="1" xBinning="2" yBinning="1" />'
    waves = tuple(540.0 + n for n in range(10))
    spectrum = _read(tmp_path, _lightfield(wavelengths=waves, mapping=mapping))
    np.testing.assert_allclose(
        spectrum["raman_shift"], 1e7 / 532 - 1e7 / np.array([542.5, 544.5, 546.5])
    )


def test_the_laser_of_the_option_counts_first(tmp_path: Path) -> None:
    own = _read(tmp_path, _lightfield(), laser_nm=533.0)
    np.testing.assert_allclose(own["raman_shift"], SHIFTS + 1e7 / 533 - 1e7 / 532)
    with pytest.raises(FormatError, match="pass laser_nm="):
        _read(tmp_path, _lightfield(laser=""))


@pytest.mark.parametrize("raw", [_lightfield(rows=2, frames=2), _winspec(rows=2, frames=2)])
def test_tracks_are_chosen(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(FormatError, match="2 rows of the detector, taken at once; pass track="):
        _read(tmp_path, raw)
    second = _read(tmp_path, raw, track=2)
    np.testing.assert_array_equal(second["intensity"], [[11, 12, 13], [111, 112, 113]])


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_a_spectrum_of_winspec(tmp_path: Path, kind: int) -> None:
    spectrum = _read(tmp_path, _winspec(kind=kind))
    np.testing.assert_allclose(
        spectrum["raman_shift"], 1e7 / 505 - 1e7 / np.array([510.0, 520.0, 530.0])
    )
    np.testing.assert_array_equal(spectrum["intensity"], [[1, 2, 3]])
    np.testing.assert_array_equal(spectrum["exposure"], [10.0])
    assert spectrum.attrs["laser_wavelength_nm"] == pytest.approx(505.0)
    assert spectrum.attrs["original_metadata"]["comments"] == "second cell"
    clock = spectrum.attrs["clock"]
    assert (clock["start"], clock["zone"]) == ("2026-05-04T12:00:00", "+02:00")


@pytest.mark.parametrize(
    ("local", "utc", "zone"),
    [
        (b"120000", b"120000", "+00:00"),
        (b"120000", b"063000", "+05:30"),
        (b"010000", b"090000", "-08:00"),
        (b"090000", b"210000", "+12:00"),
        (b"120001", b"100000", "+02:00"),
        (b"120700", b"100000", None),
        (b"120000", b"", None),
        (b"120000", b"250000", None),
    ],
)
def test_the_zone_is_the_difference_of_two_clocks(
    tmp_path: Path, local: bytes, utc: bytes, zone: str | None
) -> None:
    raw = _winspec(fields={172: ("7s", local), 179: ("7s", utc)})
    assert _read(tmp_path, raw).attrs["clock"]["zone"] == zone


@pytest.mark.parametrize("laser", [505.0, 1e7 / 505.0])
def test_the_laser_of_winspec_is_in_nm_or_in_wavenumbers(tmp_path: Path, laser: float) -> None:
    """The manual has 1/cm, hyperSpec takes it for nm; the ranges of the two do not meet."""
    spectrum = _read(tmp_path, _winspec(fields={3311: ("d", laser)}))
    assert spectrum.attrs["laser_wavelength_nm"] == pytest.approx(505.0, abs=1e-9)


def test_frames_of_winspec_have_to_be_declared(tmp_path: Path) -> None:
    series = _read(tmp_path, _winspec(frames=3))
    assert series.attrs["clock"]["start"] is None
    assert "3 frames, the first taken at 2026-05-04T12:00:00" in series.attrs["doubts"]
    assert _read(tmp_path, _winspec(fields={20: ("10s", b"")})).attrs["clock"]["start"] is None


def test_a_binned_column_lies_in_the_middle_of_its_pixels(tmp_path: Path) -> None:
    """Pixels 5 and 6, 7 and 8, 9 and 10."""
    raw = _winspec(fields={1512: ("3H", (5, 10, 2)), 3311: ("d", 0.0)})
    spectrum = _read(tmp_path, raw, laser_nm=505.0)
    np.testing.assert_allclose(
        spectrum["raman_shift"], 1e7 / 505 - 1e7 / np.array([555.0, 575.0, 595.0])
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no header of Princeton"),
        (_lightfield()[:4099], "no header of Princeton"),
        (_winspec(fields={1992: ("f", 4.0)}), "no header of Princeton"),
        (_winspec(fields={1992: ("f", float("nan"))}), "no header of Princeton"),
        (_lightfield()[:4105], "LightField writes it last"),
        (_lightfield()[:-9], "damaged or cut short"),
        (_lightfield(regions=2), "2 regions; expected one"),
        (_lightfield(pixel=("MonochromeOther", "<u4")), "pixelFormat: 'MonochromeOther'"),
        (_lightfield(orientation="FlippedHorizontally"), "orientation 'FlippedHorizontally'"),
        (_lightfield(wavelengths=(1.0, 2.0)), "2 wavelengths for 3 columns"),
        (_lightfield(wavelengths=("a", "b", "c")), "expected numbers with commas"),
        (_lightfield(wavelengths=(534.0, 533.0, 535.0)), "does not ascend"),
        (
            _lightfield().replace(b"WavelengthMapping", b"Otherlengthmapping"),
            "no WavelengthMapping",
        ),
        (_lightfield().replace(b"SpeFormat", b"Otherroot"), "expected <SpeFormat>"),
        (_lightfield().replace(b'count="1"', b'count="x"'), "DataBlock: count 'x'"),
        (_winspec(fields={108: ("h", 7)}), "datatype: 7"),
        (_winspec(fields={1510: ("h", 2)}), "2 regions of the detector"),
        (_winspec(fields={3098: ("B", 0)}), "calibrate the spectrometer"),
        (_winspec(fields={3101: ("B", 9)}), "valid 1, order 9"),
        (
            _winspec(fields={3263: ("6d", (0.0, 10.0, 0.0, 0.0, 0.0, 0.0))}),
            "10 to 30 nm; expected wavelengths of light",
        ),
        (_winspec(fields={3100: ("B", 6)}), "a polynomial in Raman shift; expected one in nm"),
        (_winspec(fields={3100: ("B", 0)}), "a polynomial in unit 0; expected one in nm"),
        (_winspec(fields={3311: ("d", 0.0)}), "pass laser_nm="),
        (_winspec(fields={20: ("10s", b"31Feb2026")}), "day is out of range"),
        (_winspec()[:-1], "1 frames of 1 x 3 pixels in 5 bytes"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, raw)


@pytest.mark.parametrize(
    "raw",
    [
        _lightfield().replace(b'count="1"', b'count="2000000000"'),
        _lightfield().replace(b'stride="12"', b'stride="2000000000"'),
        _lightfield().replace(b'width="3"', b'width="2000000000"'),
        _winspec(fields={1446: ("i", 2**31 - 1), 656: ("H", 65535), 42: ("H", 65535)}),
    ],
)
def test_sizes_beyond_the_file_are_refused_before_they_are_used(tmp_path: Path, raw: bytes) -> None:
    file = _save(tmp_path, raw)
    tracemalloc.start()
    with pytest.raises(FormatError, match="pixels in"):
        READER.read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_series_of_winspec_that_was_cut_is_shorter(tmp_path: Path) -> None:
    cut = _read(tmp_path, _winspec(frames=3)[:-1])
    assert (cut.sizes["time"], cut.attrs["truncated"]) == (2, "2 of 3 frames; cut short")


WHOLE = [_lightfield(frames=2, stamps=(0, 1_000_000)), _winspec(frames=2)]


@pytest.mark.parametrize("whole", WHOLE, ids=["lightfield", "winspec"])
def test_damage_is_refused_or_leaves_a_valid_series(
    survives_damage: Callable[..., None], whole: bytes
) -> None:
    cuts = [*range(0, 4096, 512), *range(4096, len(whole))]
    survives_damage(READER, whole, "cell.spe", frames=2, cuts=cuts)


@pytest.mark.shared_data
def test_a_real_origin_is_created_when_the_acquisition_starts(shared_data: Path) -> None:
    """The file was written 183.9 s later: six frames at the rate it states, and 0.9 s."""
    path = shared_data / "formats" / "raman" / "ramanchada2_mit" / "S0N_50x.spe"
    spectrum = READER.read(File(path))
    told = spectrum.attrs["original_metadata"]
    written = told["GeneralInformation/FileInformation@created"][:23]
    clock = spectrum.attrs["clock"]
    took = (np.datetime64(written) - np.datetime64(clock["start"])) / np.timedelta64(1, "s")
    camera = "DataHistories/DataHistory/Origin/Experiment/Devices/Cameras/Camera"
    rate = float(told[f"{camera}/Acquisition/FrameRate"])
    assert 0 < took - 6 / rate < 1
    assert float(spectrum["exposure"][0]) == pytest.approx(180.0)
    assert took > 180
