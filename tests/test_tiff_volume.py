"""TIFF volumes: voxel sizes by what the file says, slices, laziness, damage."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from operando_readers import tiff_volume
from operando_readers._reader import File, FormatError
from operando_readers.tiff_volume import READER

VOLUME = np.random.default_rng(5).integers(0, 60000, (7, 6, 5), dtype=np.uint16)


def _write(folder: Path, volume: npt.NDArray[Any] = VOLUME, **options: Any) -> File:
    path = folder / "volume.tif"
    tifffile.imwrite(path, volume, **options)
    return File(path)


def _slices(folder: Path, numbers: range | list[int], volume: npt.NDArray[Any] = VOLUME) -> File:
    folder.mkdir()
    for plane, number in enumerate(numbers):
        tifffile.imwrite(folder / f"recon_{number}.tif", volume[plane], metadata=None)
    return File(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": None},
        {"metadata": None, "byteorder": ">"},
        {"metadata": None, "compression": "zlib", "predictor": False},
        {"metadata": None, "compression": "zlib", "byteorder": ">"},
        {"metadata": None, "rowsperstrip": 2},
        {"metadata": None, "bigtiff": True},
        {"contiguous": True},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"metadata": {"axes": "ZYX"}, "ome": True},
    ],
)
@pytest.mark.parametrize("slab_bytes", [1, 130, 1 << 20])
def test_every_layout_gives_the_same_volume_for_any_chunking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], slab_bytes: int
) -> None:
    monkeypatch.setattr(tiff_volume, "SLAB_BYTES", slab_bytes)
    file = _write(tmp_path, **options)
    volume = READER.read(file, voxel_um=2.0)["attenuation"]
    assert READER.sniff(file.read_bytes(1 << 16), file.name)
    assert isinstance(volume.data, da.Array)
    assert volume.dims == ("time", "z", "y", "x")
    assert volume.dtype == np.dtype(np.uint16)
    np.testing.assert_array_equal(volume[0], VOLUME)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_the_stored_type_is_kept(tmp_path: Path, dtype: type[np.generic]) -> None:
    volume = READER.read(_write(tmp_path, VOLUME.astype(dtype)), voxel_um=2.0)["attenuation"]
    assert volume.dtype == dtype
    assert volume.compute().dtype == dtype


def test_nothing_is_read_before_it_is_computed(tmp_path: Path) -> None:
    file = _write(tmp_path)
    volume = READER.read(file, voxel_um=2.0)["attenuation"]
    changed = VOLUME[::-1]
    tifffile.imwrite(file.path, changed)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(volume[0], changed)


@pytest.mark.parametrize(
    ("options", "voxel", "source"),
    [
        (
            {"resolution": (2e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None},
            [0.5, 1.0, 0.5],
            "XResolution",
        ),
        (
            {"resolution": (25400, 25400), "resolutionunit": "INCH", "metadata": None},
            [1.0, 1.0, 1.0],
            "XResolution",
        ),
        (
            {
                "imagej": True,
                "resolution": (1 / 0.65, 1 / 0.5),
                "metadata": {"axes": "ZYX", "unit": "um", "spacing": 1.3},
            },
            [1.3, 0.5, 0.65],
            "ImageJ",
        ),
        (
            {
                "imagej": True,
                "resolution": (1e3, 1e3),
                "metadata": {"axes": "ZYX", "unit": "mm", "spacing": 0.002},
            },
            [2.0, 1.0, 1.0],
            "ImageJ",
        ),
        (
            {
                "ome": True,
                "metadata": {
                    "axes": "ZYX",
                    "PhysicalSizeX": 500.0,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 0.6,
                    "PhysicalSizeYUnit": "µm",
                    "PhysicalSizeZ": 0.7,
                },
            },
            [0.7, 0.6, 0.5],
            "OME",
        ),
    ],
)
def test_the_file_states_its_voxel(
    tmp_path: Path, options: dict[str, Any], voxel: list[float], source: str
) -> None:
    volume = READER.read(_write(tmp_path, **options))
    assert volume.attrs["voxel_um"] == pytest.approx(voxel, rel=1e-6)
    assert volume.attrs["voxel_source"].startswith(source)
    for axis, edge in zip("zyx", voxel, strict=True):
        np.testing.assert_allclose(np.diff(volume[axis]), edge, rtol=1e-6)
        assert volume[axis][0] == 0.0
        assert volume[axis].attrs["units"] == "micrometre"


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": None},
        {"resolution": (300, 300), "resolutionunit": "INCH", "metadata": None},
        {"resolution": (2, 2), "metadata": None, "resolutionunit": "NONE"},
        {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "ZYX", "unit": "pixel"}},
        {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "ZYX", "unit": "um"}},
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}},
    ],
)
def test_a_voxel_that_is_not_stated_is_asked_for(tmp_path: Path, options: dict[str, Any]) -> None:
    file = _write(tmp_path, **options)
    with pytest.raises(FormatError, match="pass voxel_um"):
        READER.read(file)
    declared = READER.read(file, voxel_um=(3.0, 2.0, 1.0))
    assert declared.attrs["voxel_um"] == [3.0, 2.0, 1.0]
    assert declared.attrs["voxel_source"] == "option"


def test_an_impossible_voxel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"voxel_um: -1\.0"):
        READER.read(_write(tmp_path), voxel_um=-1.0)


def test_the_time_is_the_tag(tmp_path: Path) -> None:
    stamped = _write(tmp_path, datetime="2026:02:03 04:05:06", metadata=None)
    clock = READER.read(stamped, voxel_um=1.0).attrs["clock"]
    assert (clock["start"], clock["zone"]) == ("2026-02-03T04:05:06", None)
    assert (clock["marks"], clock["source"]) == ("end", "header")
    assert READER.read(_write(tmp_path), voxel_um=1.0).attrs["clock"]["start"] is None
    empty = _write(tmp_path, extratags=[(306, 2, 20, "0000:00:00 00:00:00", True)], metadata=None)
    assert READER.read(empty, voxel_um=1.0).attrs["clock"]["start"] is None


def test_slices_are_ordered_by_number(tmp_path: Path) -> None:
    folder = _slices(tmp_path / "recon", range(8, 15))
    volume = READER.read(folder, voxel_um=2.0)
    np.testing.assert_array_equal(volume["attenuation"][0], VOLUME)


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"recon_12\.tif: .*slice 11 is missing"):
        READER.read(_slices(tmp_path / "recon", [8, 9, 10, 12, 13]), voxel_um=2.0)


def test_slices_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = _slices(tmp_path / "recon", range(5))
    tifffile.imwrite(folder.path / "recon_3.tif", VOLUME[0, :, 1:], metadata=None)
    with pytest.raises(FormatError, match=r"recon_3\.tif: .*\(6, 4\)"):
        READER.read(folder, voxel_um=2.0)
    tifffile.imwrite(folder.path / "recon_3.tif", VOLUME[0].astype(np.uint8), metadata=None)
    with pytest.raises(FormatError, match=r"recon_3\.tif: .*uint8"):
        READER.read(folder, voxel_um=2.0)
    whole = (folder.path / "recon_2.tif").read_bytes()
    (folder.path / "recon_2.tif").write_bytes(whole[:-20])
    with pytest.raises(FormatError, match=r"recon_2\.tif"):
        READER.read(folder, voxel_um=2.0)


def test_two_volumes_in_a_folder_are_not_one(tmp_path: Path) -> None:
    folder = _slices(tmp_path / "recon", range(2))
    tifffile.imwrite(folder.path / "dark_0.tif", VOLUME[0])
    with pytest.raises(FormatError, match="several volumes"):
        READER.read(folder, voxel_um=2.0)


def test_collect_merges_slices_and_leaves_volumes(tmp_path: Path) -> None:
    collect = READER.collect
    assert collect is not None
    folder = _slices(tmp_path / "recon", range(3)).path
    slices = [File(path) for path in sorted(folder.iterdir())]
    volume = _write(tmp_path)
    zipped = File(tmp_path / "a.zip", "recon_1.tif")
    assert collect([*slices, volume, zipped]) == [File(folder), volume, zipped]
    assert collect([volume]) == [volume]
    # Some slices of a folder are not its volume.
    assert collect(slices[:2]) == slices[:2]


def test_one_slice_is_no_volume(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="read through its folder"):
        READER.read(_write(tmp_path, VOLUME[0]), voxel_um=1.0)


def test_colours_and_mixed_pages_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((4, 6, 5, 3), np.uint8)
    with pytest.raises(FormatError, match="3 colours"):
        READER.read(_write(tmp_path, colours, photometric="rgb"), voxel_um=1.0)
    path = tmp_path / "mixed.tif"
    tifffile.imwrite(path, VOLUME[0], metadata=None)
    tifffile.imwrite(path, VOLUME[0, 1:], metadata=None, append=True)
    with pytest.raises(FormatError, match="different sizes"):
        READER.read(File(path), voxel_um=1.0)


@pytest.mark.parametrize("options", [{}, {"metadata": None, "compression": "zlib"}])
def test_a_cut_file_is_refused_wherever_voxels_are_lost(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    content = _write(tmp_path, **options).path.read_bytes()
    cut = File(tmp_path / "cut.tif")
    for length in range(0, len(content), 13):
        cut.path.write_bytes(content[:length])
        try:
            volume = READER.read(cut, voxel_um=1.0)["attenuation"].values
        except FormatError:
            continue
        np.testing.assert_array_equal(volume[0], VOLUME)


def test_damage_inside_a_page_shows_when_it_is_computed(tmp_path: Path) -> None:
    file = _write(tmp_path, metadata=None, compression="zlib")
    with tifffile.TiffFile(file.path) as tiff:
        offset = tiff.pages[3].dataoffsets[0]
    content = bytearray(file.path.read_bytes())
    content[offset : offset + 20] = bytes(20)
    file.path.write_bytes(content)
    volume = READER.read(file, voxel_um=1.0)["attenuation"]
    with pytest.raises(FormatError, match=r"volume\.tif: damaged page"):
        volume.compute()


def test_a_member_of_a_zip(tmp_path: Path) -> None:
    file = _write(tmp_path)
    with zipfile.ZipFile(tmp_path / "volumes.zip", "w") as archive:
        archive.write(file.path, "a/volume.tif")
    volume = READER.read(File(tmp_path / "volumes.zip", "a/volume.tif"), voxel_um=1.0)
    assert isinstance(volume["attenuation"].data, da.Array)
    np.testing.assert_array_equal(volume["attenuation"][0], VOLUME)


@pytest.mark.shared_data
def test_published_phase_counts(shared_data: Path) -> None:
    """taufactor's electrode: voxels of its three phases."""
    file = File(shared_data / "formats" / "tomography" / "taufactor_electrode_256.tiff")
    volume = READER.read(file, voxel_um=1.0)["attenuation"].values
    values, counts = np.unique(volume, return_counts=True)
    assert dict(zip(values, counts, strict=True)) == {0: 7548361, 85: 6718710, 170: 2510145}


@pytest.mark.shared_data
def test_published_porosity(shared_data: Path) -> None:
    """Berea sandstone, zipped: an ImageJ stack without a unit."""
    archive = shared_data / "formats" / "tomography" / "berea_400_binary_tif.zip"
    file = File(archive, "berea.tif")
    with pytest.raises(FormatError, match="pass voxel_um"):
        READER.read(file)
    volume = READER.read(file, voxel_um=5.345)["attenuation"].values
    assert np.mean(volume == 0) == 0.19645303125
