"""Detector images: pixels as fabio reads them, clocks and geometry by dialect, damage.

The images are synthetic, written here by fabio, tifffile or by hand in the layouts that the
detectors write: no image of a detector may be had. fabio is the oracle of every pixel.
"""

from __future__ import annotations

import logging
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import fabio
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from fabio import marccdimage
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage

import operando
from operando.reading.registry import claims
from operando_readers import _cbf
from operando_readers._reader import File, FormatError
from operando_readers.detector_images import READER
from operando_readers.tiff_volume import READER as VOLUME

RNG = np.random.default_rng(11)
COUNTS = RNG.poisson(40.0, (37, 53)).astype(np.int32)
COUNTS[5, :] = -1
COUNTS[0, 0], COUNTS[0, 1], COUNTS[0, 2] = -2, 1_048_575, 40_000
PILATUS = """# Detector: PILATUS 1M, S/N 10-0105
# 2013/Jan/31 13:55:50.123
# Pixel_size 172e-6 m x 173e-6 m
# Silicon sensor, thickness 0.000320 m
# Exposure_time 0.4970000 s
# Exposure_period 0.5000000 s
# Tau = 124.0e-09 s
# Count_cutoff 1048500 counts
# Threshold_setting: 6000 eV
# Wavelength 0.9184 A
# Detector_distance 0.19935 m
# Beam_xy (244.50, 310.25) pixels
"""
CLOCK = {"zone": None, "marks": "start", "source": "header", "sigma_s": None}


def _pixels(dataset: Any, frame: int = 0) -> npt.NDArray[Any]:
    assert dataset["intensity"].dims == ("time", "row", "column")
    assert isinstance(dataset["intensity"].data, da.Array)
    return np.asarray(dataset["intensity"][frame].values)


def _sniffed(file: File) -> bool:
    return READER.sniff(file.read_bytes(1 << 16), file.name)


def _cbf_file(folder: Path, *, image: npt.NDArray[Any] = COUNTS, text: str = PILATUS) -> File:
    path = folder / "image_00001.cbf"
    header = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": text}
    CbfImage(data=image, header=header).write(str(path))
    return File(path)


def test_pilatus_cbf(tmp_path: Path) -> None:
    file = _cbf_file(tmp_path)
    dataset = READER.read(file)
    assert _sniffed(file)
    assert claims(file) == ["detector_images"]
    np.testing.assert_array_equal(_pixels(dataset), fabio.open(str(file.path)).data)
    np.testing.assert_array_equal(_pixels(dataset), COUNTS)
    assert dataset["intensity"].dtype == np.int32
    assert dataset.attrs["clock"] == {"start": "2013-01-31T13:55:50.123", **CLOCK}
    assert dataset["exposure"].values == pytest.approx([0.497])
    attrs = dataset.attrs
    assert attrs["pixel_size_m"] == [173e-6, 172e-6]
    assert attrs["beam_centre_pixel"] == [310.25, 244.5]
    assert attrs["detector_distance_m"] == 0.19935
    assert attrs["wavelength_angstrom"] == 0.9184
    assert attrs["saturation"] == 1_048_500
    assert attrs["dead_values"] == [-1, -2]
    assert attrs["detector"] == "PILATUS 1M, S/N 10-0105"


@pytest.mark.parametrize(
    ("line", "start", "zone"),
    [
        ("# 2013-01-31T13:55:50.123", "2013-01-31T13:55:50.123", None),
        ("# 2013-01-31T13:55:50.123456789", "2013-01-31T13:55:50.123456789", None),
        ("# 2013-01-31T13:55:50.123+09:00", "2013-01-31T04:55:50.123", "UTC"),
        ("# 2013:01:31 13:55:50.123", "2013-01-31T13:55:50.123", None),
        ("# 2013/Dec/31 23:55:50", "2013-12-31T23:55:50", None),
        ("# nothing", None, None),
    ],
)
def test_stamps_of_dectris(tmp_path: Path, line: str, start: str | None, zone: str | None) -> None:
    clock = READER.read(_cbf_file(tmp_path, text=f"{line}\n# Exposure_time 1 s\n")).attrs["clock"]
    assert (clock["start"], clock["zone"], clock["marks"]) == (start, zone, "start")
    assert clock["source"] == ("header" if start else "none")


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64"])
def test_cbf_of_every_type(tmp_path: Path, dtype: str) -> None:
    limits = np.iinfo(dtype)
    image = RNG.integers(limits.min // 2, limits.max // 2, (9, 11)).astype(dtype)
    file = _cbf_file(tmp_path, image=image)
    oracle = fabio.open(str(file.path)).data
    found = _pixels(READER.read(file))
    np.testing.assert_array_equal(found, oracle)
    np.testing.assert_array_equal(found, image)
    assert found.dtype == np.dtype(dtype)


def test_a_flipped_bit_of_a_cbf_is_found_by_its_checksum(tmp_path: Path) -> None:
    file = _cbf_file(tmp_path)
    raw = bytearray(file.read_bytes())
    raw[raw.index(_cbf.STARTER) + 60] ^= 4
    file.path.write_bytes(raw)
    with pytest.raises(FormatError, match="checksum"):
        READER.read(file)


def _edf_file(folder: Path, frames: list[dict[str, str]], dtype: str = "uint16") -> File:
    path = folder / "series.edf"
    images = [(COUNTS.clip(0) + at).astype(dtype) for at in range(len(frames))]
    image = EdfImage(data=images[0], header=frames[0])
    for data, header in zip(images[1:], frames[1:], strict=True):
        image.append_frame(data=data, header=header)
    image.write(str(path))
    return File(path)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "f8"])
def test_edf_of_every_type(tmp_path: Path, dtype: str) -> None:
    file = _edf_file(tmp_path, [{"title": "a"}], dtype)
    found = _pixels(READER.read(file))
    np.testing.assert_array_equal(found, fabio.open(str(file.path)).data)
    assert found.dtype == np.dtype(dtype)
    assert _sniffed(file)


def test_frames_of_lima_are_apart_by_their_own_times(tmp_path: Path) -> None:
    """`time_of_day` is when the file was saved, after the exposure, and jitters."""
    headers = [
        {
            "acq_frame_nb": str(at),
            "time_of_day": f"{1_600_000_010 + at + 0.25 * (at % 2)}",
            "time_of_frame": f"{0.5 + at * 1.0:.3f}",
            "acq_expo_time": "0.9",
            "time": "Sun Sep 13 14:26:50 2020",
        }
        for at in range(3)
    ]
    file = _edf_file(tmp_path, headers)
    dataset = READER.read(file)
    assert dataset.sizes["time"] == 3
    oracle = fabio.open(str(file.path))
    for at in range(3):
        np.testing.assert_array_equal(_pixels(dataset, at), oracle.get_frame(at).data)
    clock = dataset.attrs["clock"]
    assert (clock["start"], clock["zone"]) == ("2020-09-13T12:26:50", "UTC")
    assert clock["marks"] == "end"
    np.testing.assert_allclose(dataset["elapsed"], [0.0, 1.0, 2.0])
    np.testing.assert_allclose(dataset["exposure"], [0.9] * 3)


@pytest.mark.parametrize(
    ("header", "start", "zone", "exposure"),
    [
        ({"epoch": "1600000000.5"}, "2020-09-13T12:26:40.5", "UTC", None),
        ({"time_of_day": "1600000000.25"}, "2020-09-13T12:26:40.25", "UTC", None),
        (
            {"Date": "2013-05-17T11:13:15", "ExposureTime": "600.0"},
            "2013-05-17T11:13:15",
            None,
            600.0,
        ),
        ({"Date": "2013-05-17 11:13:15.5+0200"}, "2013-05-17T09:13:15.5", "UTC", None),
        (
            {"time": "Mon Jun 17 12:00:01 2013", "count_time": "250 ms"},
            "2013-06-17T12:00:01",
            None,
            0.25,
        ),
        ({"HMStartTime": "17-Jun-2013 12:00:01"}, "2013-06-17T12:00:01", None, None),
        ({"title": "no time"}, None, None, None),
    ],
)  # fmt: skip
def test_dialects_of_edf(
    tmp_path: Path,
    header: dict[str, str],
    start: str | None,
    zone: str | None,
    exposure: float | None,
) -> None:
    dataset = READER.read(_edf_file(tmp_path, [header]))
    clock = dataset.attrs["clock"]
    assert (clock["start"], clock["zone"], clock["marks"]) == (start, zone, "start")
    if exposure is None:
        assert "exposure" not in dataset.coords
    else:
        assert dataset["exposure"].values == pytest.approx([exposure])


def test_geometry_of_edf(tmp_path: Path) -> None:
    """SAXS keywords: axis 1 is the fast one, hence our columns; lengths are in metres."""
    header = {
        "PSize_1": "1.72e-04_m",
        "PSize_2": "1.80e-04",
        "Center_1": "243.5",
        "Center_2": "310.5",
        "SampleDistance": "1.2068",
        "WaveLength": "1.0e-10",
        "Dummy": "-10",
    }
    attrs = READER.read(_edf_file(tmp_path, [header], "int32")).attrs
    assert attrs["pixel_size_m"] == [1.80e-4, 1.72e-4]
    assert attrs["beam_centre_pixel"] == [310.5, 243.5]
    assert attrs["detector_distance_m"] == 1.2068
    assert attrs["wavelength_angstrom"] == pytest.approx(1.0)
    assert attrs["dead_values"] == [-10.0]


def test_big_endian_edf_by_hand(tmp_path: Path) -> None:
    header = (
        "{\r\nHeaderID = EH:000001:000000:000000 ;\r\nByteOrder = HighByteFirst ;\r\n"
        "DataType = SignedInteger ;\r\nDim_1 = 53 ;\r\nDim_2 = 37 ;\r\nSize = 7844 ;\r\n"
    )
    file = File(tmp_path / "big.edf")
    file.path.write_bytes(header.ljust(509).encode() + b"}\r\n" + COUNTS.astype(">i4").tobytes())
    assert _sniffed(file)
    np.testing.assert_array_equal(_pixels(READER.read(file)), fabio.open(str(file.path)).data)


def test_a_cut_series_keeps_its_whole_frames(tmp_path: Path) -> None:
    """fabio fills the frame that was cut with zeros; here it is left out, and said."""
    file = _edf_file(tmp_path, [{"epoch": f"{1_600_000_000 + at}"} for at in range(4)])
    raw = file.read_bytes()
    file.path.write_bytes(raw[: int(len(raw) * 0.6)])
    dataset = READER.read(file)
    assert dataset.sizes["time"] == 2
    assert "image 3" in dataset.attrs["truncated"]
    np.testing.assert_array_equal(_pixels(dataset, 1), (COUNTS.clip(0) + 1).astype(np.uint16))
    file.path.write_bytes(raw[:2000])
    with pytest.raises(FormatError, match="image 1: ends at byte"):
        READER.read(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"Dim_1 = 53", b"Dim_1 = 5x"), "Dim_1, Dim_2"),
        ((b"UnsignedShort", b"UnsignedChort"), "DataType"),
        ((b"Dim_2 = 37", b"Dim_2 = 99999999999999"), "ends at byte"),
    ],
)
def test_damaged_headers_of_edf(tmp_path: Path, change: tuple[bytes, bytes], message: str) -> None:
    file = _edf_file(tmp_path, [{"title": "a"}])
    raw = file.read_bytes()
    assert change[0] in raw
    file.path.write_bytes(raw.replace(*change))
    with pytest.raises(FormatError, match=message):
        READER.read(file)


def test_pilatus_tiff(tmp_path: Path) -> None:
    """Its own stamp, of the exposure, wins over the tag of when the file was made."""
    path = tmp_path / "cell_0001.tif"
    tifffile.imwrite(
        path, COUNTS, description=PILATUS, datetime="2013:01:31 13:55:59", metadata=None
    )
    file = File(path)
    dataset = READER.read(file)
    assert claims(file) == ["detector_images"]
    assert not VOLUME.sniff(file.read_bytes(1 << 16), file.name)
    np.testing.assert_array_equal(_pixels(dataset), fabio.open(str(path)).data)
    assert dataset.attrs["clock"] == {"start": "2013-01-31T13:55:50.123", **CLOCK}
    assert dataset.attrs["pixel_size_m"] == [173e-6, 172e-6]
    assert dataset.attrs["dead_values"] == [-1, -2]
    frames = operando.read(str(path), tz="Europe/Zurich")
    assert str(frames["time_start"].values[0]) == "2013-01-31T12:55:50.123000000"
    operando.check(frames)


def _marccd(folder: Path, *, order: str = "<", stamp: bytes = b"052314072019.30") -> File:
    """Write a MarCCD by the offsets of its C structure; fabio reads them back by their names."""
    head = bytearray(4096)
    head[: len(b"II*\0")] = b"II*\0" if order == "<" else b"MM\0*"
    image = COUNTS.clip(0).astype(f"{order}u2")
    tags = [(256, 4, 53), (257, 4, 37), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 4096)]
    tags += [(277, 3, 1), (278, 4, 37), (279, 4, image.nbytes)]
    struct.pack_into(f"{order}I", head, 4, 8)
    struct.pack_into(f"{order}H", head, 8, len(tags))
    for at, (tag, kind, value) in enumerate(tags):
        code = "I" if kind == 4 else "H"
        struct.pack_into(f"{order}HHI{code}", head, 10 + 12 * at, tag, kind, 1, value)
    base = 1024
    head[base + 4 : base + 7] = b"MMX"
    mark = 1234 if order == "<" else 4321
    numbers = {28: mark, 32: mark, 80: 53, 84: 37, 88: 2, 104: 65535, 640: 199_350, 644: 244_500}
    numbers |= {648: 310_250, 656: 2500, 772: 79_346, 776: 80_000, 908: 91_840}
    for at, value in numbers.items():
        struct.pack_into(f"{order}i", head, base + at, value)
    head[base + 1344 : base + 1344 + len(stamp)] = stamp
    path = folder / "cell_001.mccd"
    path.write_bytes(bytes(head) + image.tobytes())
    return File(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_marccd(tmp_path: Path, order: str) -> None:
    file = _marccd(tmp_path, order=order)
    dataset = READER.read(file)
    assert claims(file) == ["detector_images"]
    np.testing.assert_array_equal(_pixels(dataset), COUNTS.clip(0).astype(np.uint16))
    assert dataset.attrs["clock"] == {"start": "2019-05-23T14:07:30", **CLOCK, "sigma_s": 0.5}
    attrs = dataset.attrs
    assert dataset["exposure"].values == pytest.approx([2.5])
    assert attrs["detector_distance_m"] == pytest.approx(0.19935)
    assert attrs["beam_centre_pixel"] == pytest.approx([310.25, 244.5])
    assert attrs["pixel_size_m"] == pytest.approx([80e-6, 79.346e-6])
    assert attrs["wavelength_angstrom"] == pytest.approx(0.9184)
    assert attrs["saturation"] == 65535
    if order == "<":  # fabio reads the header in the order of the machine only
        oracle = fabio.open(str(file.path)).data
        np.testing.assert_array_equal(_pixels(dataset), oracle)
        raw = file.read_bytes()[1024:4096]
        header = marccdimage.interpret_header(
            raw, marccdimage.HEADER_FORMAT, marccdimage.HEADER_NAMES
        )
        told = ("xtal_to_detector", "beam_x", "exposure_time", "pixelsize_x", "source_wavelength")
        assert [header[name] for name in told] == [199_350, 244_500, 2500, 79_346, 91_840]
        assert b"".join(header["acquire_timestamp[32]"]).startswith(b"052314072019.30")


def test_marccd_without_a_stamp(tmp_path: Path) -> None:
    assert READER.read(_marccd(tmp_path, stamp=b"")).attrs["clock"]["start"] is None


QXRD = """[metadata]
imageNumber=3
exposureTime=0.5
summedExposures=20
timeStamp=1529526882.014
dateString=Wed Jun 20 15:34:42 2018
"""


def test_any_tiff_by_request_with_the_metadata_of_qxrd(tmp_path: Path) -> None:
    """The Unix time beside the image wins over the tag, which is local and of the file."""
    path = tmp_path / "PrCoGe-00000.tif"
    tifffile.imwrite(path, COUNTS, datetime="2018:06:20 15:34:50", metadata=None)
    file = File(path)
    assert not _sniffed(file)
    assert claims(file) == ["tiff_volume"]
    alone = READER.read(file)
    assert alone.attrs["clock"]["start"] == "2018-06-20T15:34:50"
    assert (alone.attrs["clock"]["zone"], alone.attrs["clock"]["marks"]) == (None, "end")
    (tmp_path / "PrCoGe-00000.tif.metadata").write_text(QXRD)
    dataset = READER.read(file)
    assert dataset.attrs["clock"] == {
        "start": "2018-06-20T20:34:42.014",
        "zone": "UTC",
        "marks": "end",
        "source": "sidecar",
        "sigma_s": None,
    }
    assert dataset["exposure"].values == pytest.approx([10.0])
    frames = operando.read(str(path), format="detector_images")
    assert str(frames["time_start"].values[0]) == "2018-06-20T20:34:32.014000000"
    (tmp_path / "PrCoGe-00000.tif.metadata").write_text("[metadata]\nuserComment1=x\n")
    assert READER.read(file).attrs["clock"]["start"] == "2018-06-20T15:34:50"


def test_frames_of_a_tiff_stack(tmp_path: Path) -> None:
    stack = np.stack([COUNTS + at for at in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", metadata=None)
    dataset = READER.read(File(tmp_path / "stack.tif"))
    np.testing.assert_array_equal(dataset["intensity"].values, stack)


def test_what_only_fabio_knows_is_read_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image.npy"
    np.save(path, COUNTS)
    file = File(path)
    assert not _sniffed(file)
    np.testing.assert_array_equal(_pixels(READER.read(file)), COUNTS)
    path.write_bytes(b"no image at all")
    with pytest.raises(FormatError, match="fabio cannot read it"):
        READER.read(file)
    assert capsys.readouterr().err == ""
    assert logging.getLogger("fabio").level == logging.NOTSET


@pytest.mark.parametrize("kind", ["cbf", "edf", "tif", "mccd"])
def test_inside_a_zip(tmp_path: Path, kind: str) -> None:
    if kind == "cbf":
        file = _cbf_file(tmp_path)
    elif kind == "edf":
        file = _edf_file(tmp_path, [{"title": "a"}, {"title": "b"}])
    elif kind == "mccd":
        file = _marccd(tmp_path)
    else:
        file = File(tmp_path / "a.tif")
        tifffile.imwrite(file.path, COUNTS, description=PILATUS, metadata=None)
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(file.path, f"run/{file.name}")
    member = File(tmp_path / "images.zip", f"run/{file.name}")
    np.testing.assert_array_equal(
        READER.read(member)["intensity"].values, READER.read(file)["intensity"].values
    )


def test_a_series_of_images_reads_as_one(tmp_path: Path) -> None:
    """Frames stay on disk, in the order of their exposures, with the zone declared."""
    for at in range(3):
        text = PILATUS.replace("13:55:50.123", f"13:55:{50 + at}.123")
        _cbf_file(tmp_path, image=COUNTS + at, text=text).path.rename(tmp_path / f"i_{at}.cbf")
    frames = operando.read(str(tmp_path / "i_*.cbf"), tz="Europe/Zurich")
    assert frames["intensity"].shape == (3, 37, 53)
    assert frames["intensity"].chunks is not None
    assert frames.attrs["technique"] == "xrd_images"
    np.testing.assert_array_equal(frames["intensity"][2].values, COUNTS + 2)
    np.testing.assert_array_equal(
        np.diff(frames["time"].values), np.array([1, 1], "m8[s]").astype("m8[ns]")
    )


@pytest.mark.parametrize("kind", ["cbf", "edf", "tif", "mccd"])
def test_damage_is_said_or_gives_fewer_frames(
    tmp_path: Path,
    kind: str,
    spoiled: Callable[..., list[bytes]],
    refused_or_valid: Callable[..., None],
) -> None:
    """Cut at twenty places and with flipped bits: never another exception, never more frames."""
    whole = tmp_path / "whole"
    whole.mkdir()
    if kind == "cbf":
        file = _cbf_file(whole)
    elif kind == "edf":
        file = _edf_file(whole, [{"epoch": f"{1_600_000_000 + at}"} for at in range(3)])
    elif kind == "mccd":
        file = _marccd(whole)
    else:
        file = File(whole / "a.tif")
        tifffile.imwrite(file.path, COUNTS, description=PILATUS, metadata=None, compression="zlib")
    raw = file.read_bytes()
    frames = READER.read(file).sizes["time"]
    for content in spoiled(raw, cuts=20, flips=60, seed=3, within=5000):
        refused_or_valid(READER, content, file.name, frames=frames)
