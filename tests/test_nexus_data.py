"""Generic NeXus: signals and radial axes old and new, times, links elsewhere, one real file of GDA.

All files but that of DLS I18 are synthetic, written here by h5py, which is the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest

import operando
from operando.reading.registry import claims
from operando_readers._hdf5 import opened
from operando_readers._nexus import wavelength
from operando_readers._reader import File, FormatError
from operando_readers.nexus_data import READER
from operando_readers.xy_text import READER as TEXT

RNG = np.random.default_rng(9)
ANGLES = np.linspace(3.0, 30.0, 30)
COUNTS = RNG.poisson(50.0, (4, 30)).astype(float)


def write(
    folder: Path,
    fields: dict[str, Any],
    *,
    group: dict[str, Any],
    attrs: dict[str, dict[str, Any]] | None = None,
    entry: dict[str, Any] | None = None,
    name: str = "file.nxs",
) -> File:
    """Write one NXdata with fields, their attributes, and fields of the entry by their paths."""
    path = folder / name
    with h5py.File(path, "w") as root:
        top = root.create_group("entry1")
        top.attrs["NX_class"] = "NXentry"
        data = top.create_group("result")
        data.attrs.update(NX_class="NXdata", **group)
        for key, value in fields.items():
            data[key] = value
            data[key].attrs.update((attrs or {}).get(key, {}))
        for key, value in (entry or {}).items():
            top[key] = value
    return File(path)


NEW = {"signal": "data", "axes": [".", "two_theta"]}
DEGREES: dict[str, dict[str, Any]] = {"two_theta": {"units": "deg"}}


def test_a_stack_in_new_style(tmp_path: Path) -> None:
    fields = {"data": COUNTS, "data_errors": COUNTS / 9, "two_theta": ANGLES}
    file = write(tmp_path, fields, group=NEW, attrs={**DEGREES, "data": {"units": "counts"}})
    dataset = READER.read(file)
    assert claims(file) == ["nexus_data"]
    assert isinstance(dataset["intensity"].data, da.Array)
    np.testing.assert_array_equal(dataset["intensity"].values, COUNTS)
    np.testing.assert_array_equal(dataset["intensity_sigma"].values, COUNTS / 9)
    np.testing.assert_array_equal(dataset["two_theta"], ANGLES)
    assert dataset["intensity"].attrs["units"] == "count"
    assert dataset.attrs["clock"]["start"] is None


def test_one_pattern_in_old_style(tmp_path: Path) -> None:
    """Before 2014 the fields themselves said what they are."""
    fields = {"counts": COUNTS[0], "polar_angle": ANGLES, "title": "x"}
    attrs: dict[str, dict[str, Any]] = {
        "counts": {"signal": 1},
        "polar_angle": {"axis": 1, "units": "degrees"},
    }
    dataset = READER.read(write(tmp_path, fields, group={}, attrs=attrs))
    np.testing.assert_array_equal(dataset["intensity"].values, COUNTS[:1])
    np.testing.assert_array_equal(dataset["two_theta"], ANGLES)


def test_a_map_is_read_row_by_row(tmp_path: Path) -> None:
    """DAWN: (y, x, q)."""
    fields = {"data": COUNTS.reshape(2, 2, 30), "q": ANGLES / 10}
    group = {"signal": "data", "axes": ["y", "x", "q"]}
    dataset = READER.read(
        write(tmp_path, fields, group=group, attrs={"q": {"units": "1/angstrom"}})
    )
    np.testing.assert_array_equal(dataset["intensity"].values, COUNTS)
    np.testing.assert_array_equal(dataset["q"], ANGLES / 10)


@pytest.mark.parametrize(
    ("name", "units", "axis", "factor"),
    [
        ("q", "nm^-1", "q", 0.1),
        ("q", "1/nm", "q", 0.1),
        ("q", "angstrom^-1", "q", 1.0),
        ("tth", "rad", "two_theta", float(np.degrees(1.0))),
        ("radial", "deg", "two_theta", 1.0),
    ],
)
def test_units(tmp_path: Path, name: str, units: str, axis: str, factor: float) -> None:
    group = {"signal": "data", "axes": [".", name]}
    attrs = {name: {"units": units}}
    dataset = READER.read(
        write(tmp_path, {"data": COUNTS, name: ANGLES / 10}, group=group, attrs=attrs)
    )
    np.testing.assert_allclose(dataset[axis], ANGLES / 10 * factor, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "attrs", "message"),
    [
        ("d_spacing", {"units": "angstrom"}, "d-spacing"),
        ("tof", {"units": "us"}, "time of flight"),
        ("energy", {"units": "keV"}, "energy-dispersive"),
        ("two_theta", {}, "no unit; pass unit="),
        ("azimuth", {"units": "deg"}, "none with intensities over two theta or q"),
    ],
)
def test_axes_that_are_none(tmp_path: Path, name: str, attrs: dict[str, str], message: str) -> None:
    group = {"signal": "data", "axes": [".", name]}
    file = write(tmp_path, {"data": COUNTS, name: ANGLES}, group=group, attrs={name: attrs})
    with pytest.raises(FormatError, match=message):
        READER.read(file)


def test_a_unit_may_be_declared(tmp_path: Path) -> None:
    file = write(tmp_path, {"data": COUNTS, "two_theta": ANGLES}, group=NEW)
    np.testing.assert_array_equal(READER.read(file, unit="degree")["two_theta"], ANGLES)


def test_times_numbers_and_the_energy_of_the_monochromator(tmp_path: Path) -> None:
    fields = {"data": COUNTS, "two_theta": ANGLES, "temperature": np.arange(4.0) + 300}
    attrs: dict[str, dict[str, Any]] = {**DEGREES, "temperature": {"units": "K"}}
    entry = {
        "start_time": "2023-06-10T12:00:00.250+01:00",
        "measurement/elapsed_time": np.array([0.0, 10.0, 21.0, 30.0]),
        "measurement/count_time": np.full(4, 9.5),
        "instrument/dcm/energy": [12.0],
    }
    file = write(tmp_path, fields, group=NEW, attrs=attrs, entry=entry)
    with h5py.File(file.path, "a") as root:
        root["entry1/instrument"].attrs["NX_class"] = "NXinstrument"
        root["entry1/instrument/dcm/energy"].attrs["units"] = "keV"
    dataset = READER.read(file)
    clock = dataset.attrs["clock"]
    assert (clock["start"], clock["zone"]) == ("2023-06-10T11:00:00.250", "UTC")
    np.testing.assert_allclose(dataset["elapsed"], [0, 10, 21, 30])
    np.testing.assert_allclose(dataset["exposure"], 9.5)
    np.testing.assert_allclose(dataset["temperature"], [300, 301, 302, 303])
    # h c = 12.398419843320026 keV angstrom (CODATA 2018)
    assert dataset.attrs["wavelength_angstrom"] == pytest.approx(12.398419843320026 / 12, rel=1e-12)
    frames = operando.read(str(file))
    operando.check(frames)
    assert frames["temperature"].attrs["units"] == "K"


def test_the_default_is_taken_of_several(tmp_path: Path) -> None:
    file = write(tmp_path, {"data": COUNTS, "two_theta": ANGLES}, group=NEW, attrs=DEGREES)
    with h5py.File(file.path, "a") as root:
        root.copy("entry1/result", "entry1/second")
        root["entry1/second/data"][...] += 1
    with pytest.raises(FormatError, match=r"choose one with data="):
        READER.read(file)
    second = READER.read(file, data="entry1/second")
    np.testing.assert_array_equal(second["intensity"].values, COUNTS + 1)
    with h5py.File(file.path, "a") as root:
        root.attrs["default"] = "entry1"
        root["entry1"].attrs["default"] = "second"
    np.testing.assert_array_equal(READER.read(file)["intensity"].values, COUNTS + 1)


def test_a_signal_in_another_file_is_not_followed(tmp_path: Path) -> None:
    file = write(tmp_path, {"two_theta": ANGLES}, group=NEW, attrs=DEGREES)
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["data"] = COUNTS
    with h5py.File(file.path, "a") as root:
        root["entry1/result/data"] = h5py.ExternalLink("secret.h5", "/data")
    with pytest.raises(FormatError, match="/entry1/result/data lies in another file"):
        READER.read(file)


def test_what_pyfai_integrated_has_no_time(tmp_path: Path) -> None:
    entry = {"program_name": "pyFAI", "start_time": "2026-01-01T00:00:00+01:00"}
    fields = {"data": COUNTS[:1], "two_theta": ANGLES}
    file = write(tmp_path, fields, group=NEW, attrs=DEGREES, entry=entry)
    assert READER.read(file).attrs["clock"]["start"] is None


@pytest.mark.shared_data
def test_gda_of_dls_holds_links_to_images_and_the_energy_of_its_pattern(shared_data: Path) -> None:
    """I18: the images are in another file; the pattern integrated from such is beside it.

    Its energy, 17949.99 eV, is the wavelength that pyFAI wrote into the header of the pattern.
    """
    folder = shared_data / "formats" / "xrd" / "nexus"
    file = File(folder / "DLS_I18_test_data.nxs")
    with pytest.raises(FormatError, match="/entry1/cmos/data lies in another file"):
        READER.read(file)
    pattern = TEXT.read(File(folder / "DLS_I18_twotheta-intensity.dat"))
    with opened(file) as root:
        entry = root.group("entry1")
        assert entry is not None
        told = wavelength(entry)
    assert told == pytest.approx(pattern.attrs["wavelength_angstrom"], rel=5e-5)
    assert claims(file) == []


@pytest.mark.parametrize(("after", "byte"), [(26, 0x01), (31, 0x80), (9, 0x02)])
def test_strings_that_would_crash_hdf5_are_refused(tmp_path: Path, after: int, byte: int) -> None:
    """The size of the first string in its heap, which reaches beyond it, and that of the heap."""
    fields = {"data": COUNTS, "two_theta": ANGLES}
    file = write(tmp_path, fields, group=NEW, attrs=DEGREES)
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"GCOL\x01") + after] ^= byte
    file.path.write_bytes(raw)
    with pytest.raises(FormatError, match="the heap of strings at byte"):
        READER.read(file)


def test_an_attribute_of_a_damaged_type_is_none(tmp_path: Path) -> None:
    """A kind of variable length that does not exist: HDF5 would follow what is no pointer."""
    fields = {"data": COUNTS, "two_theta": ANGLES}
    file = write(tmp_path, fields, group=NEW, attrs=DEGREES)
    raw = bytearray(file.read_bytes())
    kind = raw.index(b"NX_class\0\0\0\0\0\0\0\0") + 17
    assert raw[kind - 1 : kind + 1] == b"\x19\x01"  # version 1, variable length; a string
    raw[kind] ^= 0x08
    file.path.write_bytes(raw)
    np.testing.assert_array_equal(READER.read(file)["intensity"].values, COUNTS)


def test_damage_is_said_or_gives_fewer_frames(
    tmp_path: Path, spoiled: Callable[..., list[bytes]], refused_or_valid: Callable[..., None]
) -> None:
    fields = {"data": COUNTS, "two_theta": ANGLES}
    file = write(tmp_path, fields, group=NEW, attrs=DEGREES)
    raw = file.read_bytes()
    for content in spoiled(raw, cuts=15, flips=100, seed=7):
        refused_or_valid(READER, content, file.name, frames=4)
