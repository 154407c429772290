"""Andor .sif: versions, kinetic series, tracks, calibration and laser, damage.

The files are written here from the layout that sif_parser (BSD-3) documents, and read by it too.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sif_parser
import xarray as xr

import operando
from operando.errors import ClockError
from operando_readers._reader import File, FormatError
from operando_readers.andor_sif import READER, SKIPPED

FOLDER = ("formats", "raman", "andor_sif")
DEFAULTS: dict[str, Any] = {
    "version": 65567,
    "time": 1_777_888_800,
    "exposure": 10.0,
    "accumulations": 5,
    "cycle": 50.5,
    "calibration": "789.75 0.125 -0.0000625 0",
    "laser": "785",
    "axis": "Raman shift",
    "unit": "Counts",
    "frames": 1,
    "tracks": ((1, 100, 4, 81, 20, 1),),
    "user": b"second cell",
}
"""What `_sif` writes; a track is left, top, right, bottom, binning in y and in x."""
POINTS = np.arange(1.0, 5.0)
WAVELENGTHS = 789.75 + 0.125 * POINTS - 0.0000625 * POINTS**2


def _sif(**changes: Any) -> bytes:
    """Return a file; pixel p of row r of frame f has 100 f + 10 r + p counts."""
    made = DEFAULTS | changes
    version, frames, tracks = made["version"], made["frames"], made["tracks"]
    name, user = b"C:\\data\\cell 2.sif", made["user"]
    head: bytes = (
        b"Andor Technology Multi-Channel File\n65538 1\n"
        + f"{version} 0 0 1 {made['time']} -60 ".encode()
        + b"\x00 \x00 \x00 \x02 \x00 "
        + f"0 {made['exposure']} 10.1 10.1 {made['accumulations']} ".encode()
        + b"\x00 "
        + f"{made['cycle']} 3.0e-05 0 1 0 0 0 1e-08 0 0 ".encode()
        + b"\x00 \x00 1 0 4 0 0 0 0 0 0 0 0 0 0 0 1.6e-05 0 1 2\n"
        + f"DU420_BX2DD \n 1024 256 {len(name)}\n".encode()
        + name
        + f" \n65538 {len(user)}\n".encode()
        + user
        + b"\n65538 \x01 \x02 \x03 \x00 0 0\n"
    )
    # What sif_parser reads of these lines: a spectrograph, and of new versions an intensifier.
    filler = {18: b"0 x\n" * 9 + b"\n65539 0 0 0 0 0 0 0 0 0 0 0\n" + b"0 0\n" * 7}
    head += filler.get(SKIPPED[version], b"0 x\n" * SKIPPED[version])
    if version >= 65564:
        head += b"65540 \x03 \x00 \x01 \x00 \x01 \x00\n" + made["calibration"].encode() + b"\n"
        head += b"0 1 0 0\n0 1 0 0\n"
    else:
        head += b"65539 \x01 \x00 \x01 \x00\n" + made["calibration"].encode() + b"\n0 1 0 0\n"
    head += f"{made['laser']}\n26\n26\n1\n".encode()
    for text in (made["axis"], made["unit"], "Pixel number"):
        head += f"{len(text)}\n{text}".encode()
    left, top, right, bottom, y_bin, x_bin = tracks[0]
    width, rows = (1 + right - left) // x_bin, len(tracks) * ((1 + top - bottom) // y_bin)
    head += f"65541 1 256 1024 1 {frames} {len(tracks)} {frames * rows * width} ".encode()
    head += f"{rows * width}\n".encode()
    for track in tracks:
        head += f"65538 {' '.join(map(str, track))} 0\n".encode()
    head += b"         0\n" * frames + b"0\n"
    f, r, p = np.ogrid[:frames, :rows, 1 : width + 1]
    counts: bytes = (100.0 * f + 10.0 * r + p).astype("<f4").tobytes()
    return head + counts


def _save(folder: Path, raw: bytes) -> File:
    path = folder / "cell.sif"
    path.write_bytes(raw)
    return File(path)


def _read(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> xr.Dataset:
    return READER.read(_save(folder, _sif(**changes)), **(options or {}))


@pytest.mark.parametrize("version", [65550, 65558, 65559, 65564, 65565, 65567])
def test_every_version_is_read_as_sif_parser_reads_it(tmp_path: Path, version: int) -> None:
    file = _save(tmp_path, _sif(version=version, frames=2))
    series = READER.read(file)
    counts, facts = sif_parser.np_open(str(file.path))
    np.testing.assert_array_equal(series["intensity"], counts[:, 0])
    np.testing.assert_array_equal(series["intensity"], [[1, 2, 3, 4], [101, 102, 103, 104]])
    by_parser = sif_parser.utils.extract_calibration(facts)
    np.testing.assert_allclose(by_parser, WAVELENGTHS)
    np.testing.assert_allclose(series["raman_shift"], 1e7 / 785 - 1e7 / WAVELENGTHS, atol=1e-9)
    assert series.attrs["laser_wavelength_nm"] == facts["RamanExWavelength"] == 785.0


def test_a_kinetic_series_follows_its_cycle(tmp_path: Path) -> None:
    series = _read(tmp_path, frames=3)
    np.testing.assert_array_equal(series["elapsed"], [0.0, 50.5, 101.0])
    np.testing.assert_array_equal(series["exposure"], [50.0] * 3)
    assert series.attrs["clock"] == {
        "start": "2026-05-04T10:00:00",
        "zone": None,
        "marks": "start",
        "source": "header",
        "sigma_s": None,
    }
    assert "tz='UTC' or that zone" in series.attrs["clock_caution"]
    assert series.attrs["exposure_source"] == "10 s x 5 accumulations"
    assert series.attrs["original_metadata"]["user text"] == "second cell"
    assert series.attrs["original_metadata"]["original file"] == "C:\\data\\cell 2.sif"


def test_its_zone_has_to_be_declared(tmp_path: Path) -> None:
    path = _save(tmp_path, _sif(frames=2)).path
    with pytest.raises(ClockError, match="zone"):
        operando.read(path)
    series = operando.read(path, tz="Europe/Paris")
    assert str(series["time_start"].values[0]) == "2026-05-04T08:00:00.000000000"


@pytest.mark.parametrize("time", [0, 5, 4_200_000_000])
def test_a_time_that_is_none(tmp_path: Path, time: int) -> None:
    assert _read(tmp_path, time=time).attrs["clock"]["start"] is None


def test_memory_is_not_taken_for_a_comment(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, user=b"\x00\xd0$United States")
    assert spectrum.attrs["original_metadata"]["user text"] == ""


def test_the_laser_counts_only_where_it_was_used(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"'Wavelength' in nm; .*\('422'\) was not used"):
        _read(tmp_path, axis="Wavelength", laser="422")
    spectrum = _read(tmp_path, {"laser_nm": 784.5}, axis="Wavelength", laser="422")
    np.testing.assert_allclose(spectrum["raman_shift"], 1e7 / 784.5 - 1e7 / WAVELENGTHS)
    assert spectrum.attrs["axis_source"] == "wavelength in nm, laser at 784.500 nm (option)"
    overruled = _read(tmp_path, {"laser_nm": 784.5})
    np.testing.assert_array_equal(overruled["raman_shift"], spectrum["raman_shift"])


def test_tracks_are_chosen(tmp_path: Path) -> None:
    two = ((1, 100, 4, 81, 20, 1), (1, 60, 4, 41, 20, 1))
    with pytest.raises(FormatError, match="2 rows of the detector, taken at once; pass track="):
        _read(tmp_path, tracks=two)
    second = _read(tmp_path, {"track": 2}, tracks=two, frames=2)
    np.testing.assert_array_equal(second["intensity"], [[11, 12, 13, 14], [111, 112, 113, 114]])
    with pytest.raises(FormatError, match="pass track="):
        _read(tmp_path, {"track": 3}, tracks=two)
    image = _read(tmp_path, {"track": 1}, tracks=((1, 20, 4, 1, 10, 1),))
    np.testing.assert_array_equal(image["intensity"], [[1, 2, 3, 4]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibration": "0 1 0 0"}, "pixels only, no wavelength"),
        ({"calibration": "nothing"}, "pixels only, no wavelength"),
        ({"calibration": "500 0 0 0"}, "does not ascend"),
        ({"calibration": "-5 1 0 0"}, "wavelengths from -4 nm"),
        ({"user": b"Calibration data for frame 1: 5,6"}, "a calibration for each frame"),
        ({"laser": "0"}, "a laser at 0 nm"),
        ({"laser": "none"}, "was not used"),
        ({"tracks": ((4, 100, 1, 81, 20, 1),)}, "no part of a detector"),
        ({"tracks": ((1, 100, 4, 81, 30, 1),)}, "no spectrum"),
        ({"tracks": ((1, 9, 4, 0, 10, 1), (1, 9, 4, 0, 5, 1))}, "expected one size"),
    ],
)
def test_what_cannot_be_read_says_why(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"65567", b"65568", "version 65568; known are 65548 to 65567"),
        (b"Andor T", b"Andor t", "first bytes"),
        (b"10.0 10.1", b"ten  10.1", "exposure: 'ten'; expected a number"),
        (b" 1 1 4 4\n", b" 9e9 1 4 4\n", "9000000000 frames of 1 tracks"),
        (b" 1 1 4 4\n", b" 1 9e9 4 4\n", "1 frames of 9000000000 tracks"),
        (b"1 100 4 81", b"1 100 9e9 81", "expected 6 numbers"),
        (b"1 100 4 81", b"1 " + b"9" * 4300 + b" 4 81", "no part of a detector"),
        (b"1 100 4 81", b"1 100 4000000000 81", "expected frames of 1 x 4000000000 float32"),
        (b"65538 11\n", b"65538 1e15\n", "-1 bytes expected"),
    ],
)
def test_sizes_beyond_the_file_are_refused_before_they_are_used(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    raw = _sif()
    assert raw.count(old) == 1
    file = _save(tmp_path, raw.replace(old, new))
    tracemalloc.start()
    with pytest.raises(FormatError, match=message):
        READER.read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_series_that_was_cut_is_shorter(tmp_path: Path) -> None:
    cut = READER.read(_save(tmp_path, _sif(frames=3)[:-1]))
    assert (cut.sizes["time"], cut.attrs["truncated"]) == (2, "2 of 3 frames; cut short")
    with pytest.raises(FormatError, match="expected frames of 1 x 4 float32"):
        READER.read(_save(tmp_path, _sif()[:-1]))


WHOLE = _sif(frames=2)


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    """Where it is cut, other readers wait for a word forever."""
    survives_damage(READER, WHOLE, "cell.sif", frames=2, cuts=range(len(WHOLE)))


def test_it_is_recognised_by_its_first_line() -> None:
    assert READER.sniff(WHOLE, "renamed.bin")
    assert not READER.sniff(b"Andor Technology", "cell.sif")


@pytest.mark.shared_data
def test_a_real_series_was_not_measured_at_the_laser_in_its_header(shared_data: Path) -> None:
    """530 to 593 nm, taken every 3.0221 s; the header has a laser at 422 nm from another day."""
    path = shared_data.joinpath(*FOLDER, "measurement.sif")
    problems = operando.inspect(path)[0].problems
    assert "laser_nm=" in problems[0]
    series = operando.read(path, tz="UTC", options={"laser_nm": 530.0})
    steps = np.diff(series["time_start"].values) / np.timedelta64(1, "us")
    np.testing.assert_allclose(steps, 3_022_100, atol=1)
    assert series.sizes["time"] == 20


@pytest.mark.shared_data
def test_the_range_of_a_real_glued_spectrum(shared_data: Path) -> None:
    """Glued from 150 to 850 nm: 4711 points of a detector of 1024."""
    glued = READER.read(File(shared_data.joinpath(*FOLDER, "step_and_glue.sif")), laser_nm=532.0)
    nm = 1 / (1 / 532.0 - glued["raman_shift"].values[[0, -1]] * 1e-7)
    np.testing.assert_allclose(nm, [150.0, 850.0], atol=1e-4)
