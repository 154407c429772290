"""NXazint1d: the layout of the writer of MAX IV, times of frames, axes, damage.

The files are written here by h5py field by field as azint-writer does (github.com/maxiv-science/
azint_writer, and the NeXus definition of 2025): no file of the beamline may be had. h5py is the
oracle of the numbers.
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
from operando_readers._reader import File, FormatError
from operando_readers.nxazint1d import READER

RNG = np.random.default_rng(2)
Q = np.linspace(0.5, 6.0, 40)
COUNTS = RNG.poisson(200.0, (6, 40)).astype(np.float32)
ERRORS = np.sqrt(COUNTS) * 0.3


def write(
    folder: Path,
    *,
    unit: str = "1/angstrom",
    label: str = "q",
    axis: np.ndarray = Q,
    subentry: bool = False,
    names: tuple[str, str] = ("entry", "data"),
) -> File:
    """Write patterns frame by frame, as the pipeline of MAX IV does."""
    path = folder / "scan-0100_eiger_integrated.h5"
    with h5py.File(path, "w") as root:
        entry = root.create_group(names[0], track_order=True)
        entry.attrs.update(NX_class="NXentry", default=names[1])
        holder = entry
        if subentry:
            holder = entry.create_group("azint1d")
            holder.attrs["NX_class"] = "NXsubentry"
            cake = entry.create_group("azint2d")
            cake.attrs["NX_class"] = "NXsubentry"
            cake["definition"] = "NXazint2d"
        holder["definition"] = "NXazint1d"
        entry["solid_angle_applied"] = True
        entry["polarization_applied"] = True
        instrument = entry.create_group("instrument")
        instrument.attrs["NX_class"] = "NXinstrument"
        instrument["name"] = np.bytes_("DanMAX")
        mono = instrument.create_group("monochromator")
        mono.attrs["NX_class"] = "NXmonochromator"
        mono["wavelength"] = 0.354
        mono["wavelength"].attrs["units"] = "angstrom"
        source = instrument.create_group("source")
        source.attrs["NX_class"] = "NXsource"
        source["name"] = np.bytes_("MAX IV")
        reduction = holder.create_group("reduction")
        reduction.attrs["NX_class"] = "NXprocess"
        reduction["program"] = "azint"
        reduction["date"] = "Monday, May 04, 2026 at 10:00 AM"
        data = holder.create_group(names[1])
        data.attrs.update(NX_class="NXdata", signal="I", axes=[".", "radial_axis"])
        data["radial_axis"] = axis
        data["radial_axis"].attrs.update(units=unit, long_name=label)
        for name, values in (("I", COUNTS), ("I_errors", ERRORS)):
            stack = data.create_dataset(
                name, (0, 40), values.dtype, maxshape=(None, 40), chunks=(1, 40)
            )
            for frame in values:
                stack.resize(stack.shape[0] + 1, axis=0)
                stack[-1] = frame
            stack.attrs.update(units="arbitrary units", long_name="intensity")
    return File(path)


@pytest.mark.parametrize("subentry", [False, True])
@pytest.mark.parametrize("names", [("entry", "data"), ("ENTRY", "DATA")])
def test_patterns_of_max_iv(tmp_path: Path, subentry: bool, names: tuple[str, str]) -> None:
    file = write(tmp_path, subentry=subentry, names=names)
    dataset = READER.read(file)
    assert claims(file) == ["nxazint1d"]
    assert isinstance(dataset["intensity"].data, da.Array)
    with h5py.File(file.path) as root:
        data = root[f"{names[0]}/{'azint1d/' if subentry else ''}{names[1]}"]
        oracle = {name: data[name][()] for name in ("I", "I_errors", "radial_axis")}
    np.testing.assert_array_equal(dataset["intensity"].values, oracle["I"])
    np.testing.assert_array_equal(dataset["intensity_sigma"].values, oracle["I_errors"])
    np.testing.assert_array_equal(dataset["q"], oracle["radial_axis"])
    assert dataset["q"].attrs["units"] == "1/angstrom"
    assert dataset["intensity"].attrs["units"] == "1"
    assert dataset.attrs["wavelength_angstrom"] == 0.354
    assert dataset.attrs["instrument"] == "DanMAX MAX IV"
    # The date of the reduction is not when anything was measured.
    assert dataset.attrs["clock"]["start"] is None
    if not subentry:
        assert dataset.attrs["polarization_applied"] == 1


@pytest.mark.parametrize(
    ("unit", "label", "axis", "name", "expected"),
    [
        ("degrees", "2theta", Q, "two_theta", Q),
        ("rad", "2theta", Q / 10, "two_theta", np.degrees(Q / 10)),
        ("1/nm", "q", Q * 10, "q", Q),
        ("nm^-1", "q", Q * 10, "q", Q),
        ("1/angstrom", "q", Q[::-1], "q", Q),
    ],
)
def test_units_of_the_axis(
    tmp_path: Path, unit: str, label: str, axis: np.ndarray, name: str, expected: np.ndarray
) -> None:
    dataset = READER.read(write(tmp_path, unit=unit, label=label, axis=axis))
    np.testing.assert_allclose(dataset[name], expected, rtol=1e-14)
    turned = COUNTS[:, ::-1] if axis[0] > axis[-1] else COUNTS
    np.testing.assert_array_equal(dataset["intensity"].values, turned)


@pytest.mark.parametrize(
    ("unit", "label", "message"),
    [
        ("angstrom", "d-spacing", "d-spacing, which needs no more than q = 2 pi / d"),
        ("us", "time of flight", "time of flight, which is not of one wavelength"),
        ("keV", "energy", "energy-dispersive"),
        ("furlong", "q", "unit 'furlong'; expected degree"),
    ],
)
def test_other_axes_are_refused(tmp_path: Path, unit: str, label: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(write(tmp_path, unit=unit, label=label))


def _append(file: File, path: str, value: Any, **attrs: Any) -> None:
    with h5py.File(file.path, "a") as root:
        root[path] = value
        root[path].attrs.update(attrs)


def test_start_and_end_of_each_frame(tmp_path: Path) -> None:
    """The group `series` of operando: ISO stamps with offset, and what is known of each frame."""
    file = write(tmp_path)
    starts = [f"2026-05-04T10:0{at}:00.500000000+00:00".encode() for at in range(6)]
    ends = [f"2026-05-04T10:0{at}:30.500000000+00:00".encode() for at in range(6)]
    _append(file, "entry/series/start_time", np.array(starts))
    _append(file, "entry/series/end_time", np.array(ends))
    _append(file, "entry/series/voltage", 3.0 + 0.1 * np.arange(6), units="V")
    dataset = READER.read(file)
    clock = dataset.attrs["clock"]
    assert (clock["start"], clock["zone"], clock["source"]) == (
        "2026-05-04T10:00:00.500000000",
        "UTC",
        "column",
    )
    np.testing.assert_allclose(dataset["elapsed"], 60.0 * np.arange(6))
    np.testing.assert_allclose(dataset["exposure"], 30.0)
    assert dataset["voltage"].dims == ("time",)
    frames = operando.read(str(file))
    operando.check(frames)
    assert str(frames["time"].values[1]) == "2026-05-04T10:01:15.500000000"
    np.testing.assert_allclose(frames["voltage"], 3.0 + 0.1 * np.arange(6))


def test_what_operando_writes_beside_the_patterns(tmp_path: Path) -> None:
    """The unit the intensities had, and the second line of a tube."""
    file = write(tmp_path)
    _append(file, "entry/reduction/input/wavelength_alpha2", 1.5444274)
    _append(file, "entry/reduction/input/alpha2_ratio", 0.5)
    with h5py.File(file.path, "a") as root:
        root["entry/data/I"].attrs["original_units"] = "count"
    dataset = READER.read(file)
    assert dataset["intensity"].attrs["units"] == "count"
    assert dataset.attrs["wavelength_alpha2_angstrom"] == 1.5444274
    assert dataset.attrs["alpha2_ratio"] == 0.5


def test_epochs_of_frames(tmp_path: Path) -> None:
    file = write(tmp_path)
    _append(file, "entry/measurement/epoch", 1_700_000_000.25 + 2.0 * np.arange(6))
    dataset = READER.read(file)
    assert dataset.attrs["clock"]["start"] == "2023-11-14T22:13:20.250000"
    assert dataset.attrs["clock"]["zone"] == "UTC"
    np.testing.assert_allclose(dataset["elapsed"], 2.0 * np.arange(6))


def test_a_start_of_the_whole_is_not_that_of_each(tmp_path: Path) -> None:
    file = write(tmp_path)
    _append(file, "entry/start_time", "2026-05-04T10:00:00+02:00")
    dataset = READER.read(file)
    assert dataset.attrs["clock"]["start"] is None
    assert "6 frames" in dataset.attrs["doubts"]
    _append(file, "entry/measurement/frame_time", 0.5, units="s")
    dataset = READER.read(file)
    assert dataset.attrs["clock"]["start"] == "2026-05-04T08:00:00"
    np.testing.assert_allclose(dataset["elapsed"], 0.5 * np.arange(6))


def test_several_integrations_and_none(tmp_path: Path) -> None:
    file = write(tmp_path)
    with h5py.File(file.path, "a") as root:
        root.copy("entry", "second")
    with pytest.raises(FormatError, match="choose one with entry="):
        READER.read(file)
    assert READER.read(file, entry="second").sizes["time"] == 6
    with h5py.File(file.path, "w") as root:
        root["entry/definition"] = "NXazint2d"
    with pytest.raises(FormatError, match="no entry with definition 'NXazint1d'"):
        READER.read(file)


def test_one_pattern_without_an_axis_of_frames(tmp_path: Path) -> None:
    file = write(tmp_path)
    with h5py.File(file.path, "a") as root:
        for name, values in (("I", COUNTS[0]), ("I_errors", ERRORS[0])):
            del root[f"entry/data/{name}"]
            root[f"entry/data/{name}"] = values
    dataset = READER.read(file)
    np.testing.assert_array_equal(dataset["intensity"].values, COUNTS[:1])


def test_damage_is_said_or_gives_fewer_frames(
    tmp_path: Path, spoiled: Callable[..., list[bytes]], refused_or_valid: Callable[..., None]
) -> None:
    file = write(tmp_path)
    raw = file.read_bytes()
    for content in spoiled(raw, cuts=20, flips=100, seed=5):
        refused_or_valid(READER, content, file.name, frames=6)
