"""Eiger series: frames lazily out of linked files, clock, dead values, links, damage, memory.

The files are synthetic, written here by h5py in the layout of the filewriter of Dectris (SIMPLON
API reference, "Filewriter"): no file of a detector may be had. h5py is the oracle of every pixel.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
import pytest

import operando
from operando.reading.registry import claims
from operando_readers import _hdf5_stack
from operando_readers._reader import File, FormatError
from operando_readers.eiger_hdf5 import READER

RNG = np.random.default_rng(4)
FRAMES = RNG.poisson(3.0, (7, 19, 23)).astype(np.uint32)
FRAMES[:, 8, :] = 2**32 - 1
FRAMES[2, 0, 0] = 2**32 - 2
PACKED: dict[str, Any] = {
    "bitshuffle": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "lz4": dict(hdf5plugin.LZ4()),
    "none": {},
}
SPECIFIC: dict[str, Any] = {
    "data_collection_date": "2016-06-01T12:24:51.123456",
    "nimages": 7,
    "ntrigger": 1,
    "countrate_correction_count_cutoff": 133_000,
}


def write(
    folder: Path,
    frames: npt.NDArray[Any] = FRAMES,
    *,
    files: Sequence[int] = (4, 3),
    packing: str = "bitshuffle",
    link: str = "{stem}_data_{number:06d}.h5",
    specific: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
) -> File:
    """Write a master and its data files."""
    master = folder / "cell_1_master.h5"
    with h5py.File(master, "w") as root:
        entry = root.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        detector = entry.create_group("instrument/detector")
        about = detector.create_group("detectorSpecific")
        for name, value in {**SPECIFIC, **(specific or {})}.items():
            if value is not None:
                about[name] = value
        told = {
            "count_time": 0.0099, "frame_time": 0.01, "x_pixel_size": 75e-6, "y_pixel_size": 76e-6,
            "beam_center_x": 11.5, "beam_center_y": 9.25, "detector_distance": 0.3,
            "description": "Dectris Eiger 1M",
        }  # fmt: skip
        for name, value in {**told, **(fields or {})}.items():
            if value is not None:
                detector[name] = value
        entry["instrument/beam/incident_wavelength"] = 0.9184
        data = entry.create_group("data")
        data.attrs["NX_class"] = "NXdata"
        at = 0
        for number, count in enumerate(files, 1):
            name = link.format(stem="cell_1", number=number)
            data[f"data_{number:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
            with h5py.File(folder / f"cell_1_data_{number:06d}.h5", "w") as part:
                part.create_dataset(
                    "entry/data/data",
                    data=frames[at : at + count],
                    chunks=(1, *frames.shape[1:]),
                    **PACKED[packing],
                )
            at += count
    return File(master)


@pytest.mark.parametrize("packing", list(PACKED))
@pytest.mark.parametrize("slab_bytes", [1, 4000, 1 << 20])
def test_frames_are_those_of_h5py_for_any_chunking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str, slab_bytes: int
) -> None:
    monkeypatch.setattr(_hdf5_stack, "SLAB_BYTES", slab_bytes)
    file = write(tmp_path, packing=packing)
    dataset = READER.read(file)
    frames = dataset["intensity"]
    assert READER.sniff(file.read_bytes(1 << 16), file.name)
    assert isinstance(frames.data, da.Array)
    assert frames.dims == ("time", "row", "column")
    assert frames.dtype == np.uint32
    with h5py.File(file.path) as root:
        oracle = np.concatenate(
            [root["entry/data"][name][()] for name in sorted(root["entry/data"])]
        )
    np.testing.assert_array_equal(frames.values, oracle)
    np.testing.assert_array_equal(frames.values, FRAMES)


def test_clock_and_geometry(tmp_path: Path) -> None:
    dataset = READER.read(write(tmp_path))
    assert dataset.attrs["clock"] == {
        "start": "2016-06-01T12:24:51.123456",
        "zone": None,
        "marks": "start",
        "source": "header",
        "sigma_s": None,
    }
    np.testing.assert_allclose(dataset["elapsed"], 0.01 * np.arange(7))
    np.testing.assert_allclose(dataset["exposure"], 0.0099)
    attrs = dataset.attrs
    assert attrs["dead_values"] == [2**32 - 1, 2**32 - 2]
    assert attrs["saturation"] == 133_000
    assert attrs["pixel_size_m"] == [76e-6, 75e-6]
    assert attrs["beam_centre_pixel"] == [9.25, 11.5]
    assert attrs["detector_distance_m"] == 0.3
    assert attrs["wavelength_angstrom"] == 0.9184
    assert attrs["detector"] == "Dectris Eiger 1M"
    assert attrs["original_metadata"]["instrument/detector/detectorSpecific/nimages"] == 7.0


def test_a_date_with_an_offset_is_utc(tmp_path: Path) -> None:
    date = {"data_collection_date": "2022-06-01T12:24:51.123+02:00"}
    clock = READER.read(write(tmp_path, specific=date)).attrs["clock"]
    assert (clock["start"], clock["zone"]) == ("2022-06-01T10:24:51.123", "UTC")


def test_several_triggers_have_no_clock(tmp_path: Path) -> None:
    """The times between the triggers are not in the file: nothing is made up for them."""
    file = write(tmp_path, specific={"ntrigger": 7, "nimages": 1})
    dataset = READER.read(file)
    assert dataset.attrs["clock"]["start"] is None
    assert "ntrigger 7" in dataset.attrs["doubts"]
    assert "truncated" not in dataset.attrs


def test_a_missing_file_ends_the_series(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "cell_1_data_000002.h5").unlink()
    dataset = READER.read(file)
    assert dataset.sizes["time"] == 4
    assert dataset.attrs["truncated"] == (
        "data_000002: cell_1_data_000002.h5 is missing: 4 of 7 frames"
    )
    (tmp_path / "cell_1_data_000001.h5").unlink()
    with pytest.raises(FormatError, match=r"cell_1_data_000001\.h5 is missing"):
        READER.read(file)


@pytest.mark.parametrize(
    "link", ["../cell_1_data_{number:06d}.h5", "/etc/data_{number}.h5", "sub/a_{number}.h5", ".."]
)
def test_links_that_leave_the_folder_are_refused(tmp_path: Path, link: str) -> None:
    inside = tmp_path / "run"
    inside.mkdir()
    file = write(inside, link=link)
    with pytest.raises(FormatError, match="leads out of the folder"):
        READER.read(file)


def test_frames_in_the_master_itself(tmp_path: Path) -> None:
    """As of a firmware that writes one file, or after h5repack."""
    file = write(tmp_path)
    with h5py.File(file.path, "a") as root:
        for name in list(root["entry/data"]):
            del root["entry/data"][name]
        root["entry/data/data_000001"] = FRAMES
    np.testing.assert_array_equal(READER.read(file)["intensity"].values, FRAMES)


def test_frames_that_were_not_written_are_no_frames(tmp_path: Path) -> None:
    """The filewriter makes a data set for all images; an aborted run fills only the first."""
    file = write(tmp_path)
    with h5py.File(tmp_path / "cell_1_data_000002.h5", "w") as part:
        empty = part.create_dataset(
            "entry/data/data", (3, 19, 23), np.uint32, chunks=(1, 19, 23), **PACKED["bitshuffle"]
        )
        empty[0] = FRAMES[4]
    dataset = READER.read(file)
    np.testing.assert_array_equal(dataset["intensity"].values, FRAMES[:5])
    assert dataset.attrs["truncated"] == "5 of 7 frames"


def test_inside_a_zip(tmp_path: Path) -> None:
    file = write(tmp_path)
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        for path in tmp_path.glob("cell_1_*.h5"):
            archive.write(path, f"raw/{path.name}")
    member = File(tmp_path / "run.zip", f"raw/{file.name}")
    np.testing.assert_array_equal(READER.read(member)["intensity"].values, FRAMES)


def test_through_the_front_door(tmp_path: Path) -> None:
    """A folder of masters and data files is one series; the data files are not read twice."""
    file = write(tmp_path)
    assert claims(file) == ["eiger_hdf5"]
    frames = operando.read(str(tmp_path), tz="Europe/Zurich")
    operando.check(frames)
    assert frames.sizes == {"time": 7, "row": 19, "column": 23}
    assert frames["intensity"].chunks is not None
    assert str(frames["time_start"].values[6]) == "2016-06-01T10:24:51.183456000"
    assert frames.attrs["problems"] == "[]"
    [found] = operando.inspect(str(file))
    assert (found.format, found.frames, found.zone) == ("eiger_hdf5", 7, None)


def test_other_hdf5_is_not_claimed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as root:
        root["entry/data/I"] = FRAMES
    file = File(tmp_path / "other.h5")
    assert claims(file) == []
    with pytest.raises(FormatError, match="no entry/data/data_000001"):
        READER.read(file)


@pytest.mark.parametrize("which", ["cell_1_master.h5", "cell_1_data_000001.h5"])
def test_damage_is_said_or_gives_fewer_frames(
    tmp_path: Path, which: str, spoiled: Callable[..., list[bytes]]
) -> None:
    """Cut at fifteen places, and with flipped bits."""
    file = write(tmp_path)
    raw = (tmp_path / which).read_bytes()
    for content in spoiled(raw, cuts=15, flips=80, seed=8):
        (tmp_path / which).write_bytes(content)
        try:
            dataset = READER.read(file)
            dataset.load()
        except FormatError:
            continue
        assert dataset.sizes["time"] <= 7


@pytest.mark.parametrize("packing", ["bitshuffle", "lz4"])
@pytest.mark.parametrize("place", [0, 3, 7, 12])
def test_a_chunk_that_would_crash_its_unpacker_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str, place: int
) -> None:
    """The lengths in front of a packed chunk: hdf5plugin writes as much as they say."""
    monkeypatch.setattr(_hdf5_stack, "SLAB_BYTES", 1)
    file = write(tmp_path, packing=packing)
    data = tmp_path / "cell_1_data_000001.h5"
    with h5py.File(data) as root:
        at = root["entry/data/data"].id.get_chunk_info(1).byte_offset
    raw = bytearray(data.read_bytes())
    raw[at + place] ^= 0x40
    data.write_bytes(raw)
    frames = READER.read(file)["intensity"]
    np.testing.assert_array_equal(frames[3].values, FRAMES[3])
    with pytest.raises(FormatError, match=r"chunk at \(1, 0, 0\): damaged"):
        frames[1].load()


MEASURED = """
import resource, sys
sys.path[:0] = {roots!r}
import dask
import operando
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
frames = operando.read({path!r}, tz="UTC")
with dask.config.set(scheduler="threads", num_workers=2):
    total = int(frames["intensity"].astype("u8").sum().compute())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(total, (after - before) // 1024)
"""


def test_five_hundred_frames_in_bounded_memory(tmp_path: Path) -> None:
    """524 MB of pixels; the peak of the process grows by a few slabs of them."""
    one = RNG.poisson(2.0, (512, 512)).astype(np.uint32)
    stack = np.broadcast_to(one, (100, 512, 512))
    specific = {"nimages": 500}
    file = write(tmp_path, stack, files=(100,), specific=specific)
    with h5py.File(file.path, "a") as root:
        for number in range(2, 6):
            root[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(
                "cell_1_data_000001.h5", "/entry/data/data"
            )
    roots = [path for path in sys.path if path]
    code = MEASURED.format(roots=roots, path=str(file.path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    total, grown = map(int, done.stdout.split())
    assert total == 500 * int(one.sum(dtype=np.uint64))
    assert grown < 400


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path)
    dataset = READER.read(file)
    (tmp_path / "cell_1_data_000002.h5").unlink()
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(dataset["intensity"][1].values, FRAMES[1])
        with pytest.raises((FormatError, OSError)):
            dataset["intensity"][5].load()
