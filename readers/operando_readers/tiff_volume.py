"""Reconstructed tomography volumes in TIFF: one multi-page file, or a folder of slices.

File structure: pages of one size and kind, the first is z = 0. Uncompressed contiguous pages are
mapped, all others are decoded page by page; nothing is decoded before it is computed. Slices in a
folder are ordered by the number at the end of their names, which must not have gaps.

Voxel size, in the order in which it is believed: the option `voxel_um`; OME ``PhysicalSize``;
ImageJ (``unit`` and ``spacing`` of the description, resolution tags counted in that unit);
``XResolution`` and ``YResolution`` with a ``ResolutionUnit`` of inch or centimetre, z then taken
equal to x. Resolutions of 72, 96, 150, 300 or 600 per inch are defaults of image software and say
nothing. Where nothing is said, the option is asked for.

Time is the tag ``DateTime`` of the first page, local and without a zone. Reconstruction software
rarely writes it, and writes the time of reconstruction when it does: prefer a log of the scans.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import tifffile
import xarray as xr
from dask.delayed import delayed

from operando_readers._reader import File, FormatError, Reader, clock, natural_key
from operando_readers._tiff import SIGNATURES, decoded, is_of_detector, opened

SUFFIXES = (".tif", ".tiff")
SLAB_BYTES = 64 << 20
"""Planes are read in slabs of about this size."""

UNIT_UM = {
    **dict.fromkeys(("um", "µm", "μm", "\\u00B5m", "micron", "microns", "micrometer"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("m", "meter"), 1e6),
    **dict.fromkeys(("inch", "in"), 25400.0),
}
RESOLUTION_UNITS = {2: "inch", 3: "cm"}
PRINT_RESOLUTIONS = (72, 96, 150, 300, 600)
STAMP = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")

Voxel = tuple[float, float, float]
Parts = tuple[da.Array, dict[str, str], tuple[Voxel, str] | None]
"""The volume, its descriptive tags, and the voxel size they state with where they state it."""


def read(file: File, *, voxel_um: float | Voxel | None = None) -> xr.Dataset:
    """Read one volume, lazily where it lies on disk; a member of a zip is unpacked into memory.

    Parameters
    ----------
    file
        A multi-page TIFF, or a folder of single-page TIFFs.
    voxel_um
        Edge of a voxel in micrometre, one number or (z, y, x); replaces what the file says.

    Returns
    -------
    `attenuation` (time 1, z, y, x) in the type it is stored in, a dask array of slabs; the axes are
    index times voxel. attrs voxel_um (z, y, x) and voxel_source.

    Raises
    ------
    FormatError
        No voxel size, a page cut off, pages or slices of different sizes, a missing slice (named),
        colour images, or a compression that is not available.
    """
    if file.member is None and file.path.is_dir():
        volume, metadata, stated = _folder(file.path)
    else:
        volume, metadata, stated = _pages(file)
    voxel, source = _voxel(voxel_um, stated)
    axes = {
        name: (name, np.arange(size) * edge, {"units": "micrometre"})
        for name, size, edge in zip("zyx", volume.shape, voxel, strict=True)
    }
    return xr.Dataset(
        {"attenuation": (("time", "z", "y", "x"), volume[None], {"units": "1"})},
        {**axes, "elapsed": ("time", [0.0], {"units": "s"})},
        {
            "technique": "tomography",
            "clock": _clock(metadata),
            "voxel_um": list(voxel),
            "voxel_source": source,
            "original_metadata": metadata,
        },
    )


def _pages(file: File) -> Parts:
    """Return one multi-page file as a lazy volume, and what its tags say."""
    source = file.path if file.member is None else BytesIO(file.read_bytes())
    with opened(source, where=file.name) as tiff:
        [series] = tiff.series
        shape = tuple(size for size in series.shape if size != 1)
        if len(shape) != 3:
            raise FormatError(
                f"{file.name}: image of {series.shape}; expected one volume of two or more pages "
                "(a slice is read through its folder)"
            )
        dtype = series.dtype.newbyteorder("=")
        if isinstance(source, BytesIO):
            whole = series.asarray().reshape(shape).astype(dtype, copy=False)
            volume = da.from_array(whole, chunks=(_planes(shape, dtype), *shape[1:]))
        elif series.dataoffset is not None:
            stored = series.dtype.newbyteorder(tiff.byteorder)
            volume = _slabs(_mapped, (source, series.dataoffset, stored, shape), shape, dtype)
        else:
            volume = _slabs(_decoded, (source,), shape, dtype)
        return volume, _metadata(tiff), _stated_voxel(tiff)


def _folder(folder: Path) -> Parts:
    """Return the slices of a folder as a lazy volume, and what the tags of the first say."""
    paths = sorted(_slices(folder), key=lambda path: natural_key(path.name))
    _check_numbers(paths, folder=folder)
    kinds = []
    for path in paths:
        with opened(path, where=path.name) as tiff:
            kinds.append((tiff.series[0].shape, tiff.series[0].dtype.newbyteorder("=")))
            if kinds[-1] != kinds[0] or len(kinds[0][0]) != 2:
                raise FormatError(f"{path.name}: {kinds[-1]}; expected a slice like {kinds[0]}")
            if path == paths[0]:
                metadata, stated = _metadata(tiff), _stated_voxel(tiff)
    plane, dtype = kinds[0]
    return _slabs(_stacked, (paths,), (len(paths), *plane), dtype), metadata, stated


def _slices(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]


def _check_numbers(paths: list[Path], *, folder: Path) -> None:
    """Slices are numbered one by one at the end of one and the same name."""
    named = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in paths]
    if len(paths) < 2 or not all(named):
        raise FormatError(
            f"{folder.name}: {len(paths)} slices; expected two or more, numbered at the end of "
            "their names"
        )
    stems = {match[1] for match in named if match}
    if len(stems) > 1:
        raise FormatError(f"{folder.name}: slices of several volumes {sorted(stems)}; expected one")
    numbers = [int(match[2]) for match in named if match]
    for before, after, path in zip(numbers, numbers[1:], paths[1:], strict=False):
        if after != before + 1:
            raise FormatError(
                f"{path.name}: follows number {before}; slice {before + 1} is missing"
            )


def _planes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return how many planes make a slab."""
    return min(shape[0], max(1, SLAB_BYTES // max(1, shape[1] * shape[2] * dtype.itemsize)))


def _slabs(
    load: Callable[..., npt.NDArray[Any]],
    arguments: tuple[Any, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> da.Array:
    """Return a volume whose planes start to stop are ``load(*arguments, start, stop)``."""
    planes = _planes(shape, dtype)
    slabs = []
    for start in range(0, shape[0], planes):
        stop = min(start + planes, shape[0])
        slab = delayed(load)(*arguments, start, stop)
        slabs.append(da.from_delayed(slab, (stop - start, *shape[1:]), dtype=dtype))
    volume: da.Array = da.concatenate(slabs)
    return volume


def _mapped(
    path: Path,
    offset: int,
    stored: np.dtype[Any],
    shape: tuple[int, ...],
    start: int,
    stop: int,
) -> npt.NDArray[Any]:
    volume = np.memmap(path, stored, "r", offset, shape)
    return np.array(volume[start:stop], dtype=stored.newbyteorder("="))


def _decoded(path: Path, start: int, stop: int) -> npt.NDArray[Any]:
    return decoded(path, key=range(start, stop), planes=stop - start, where=path.name)


def _stacked(paths: list[Path], start: int, stop: int) -> npt.NDArray[Any]:
    return np.concatenate(
        [decoded(path, key=0, planes=1, where=path.name) for path in paths[start:stop]]
    )


def _metadata(tiff: tifffile.TiffFile) -> dict[str, str]:
    """Return the descriptive tags of the first page as text; the others only place the pixels."""
    names = ("ImageDescription", "DateTime", "Software", "XResolution", "YResolution")
    tags = {tag.name: str(tag.value) for tag in tiff.pages.first.tags}
    return {name: tags[name] for name in (*names, "ResolutionUnit") if name in tags}


def _voxel(asked: float | Voxel | None, stated: tuple[Voxel, str] | None) -> tuple[Voxel, str]:
    if asked is None and stated is None:
        raise FormatError("no voxel size in the file; pass voxel_um (one number, or z, y, x)")
    if asked is None and stated is not None:
        return stated
    edges = np.broadcast_to(np.asarray(asked, dtype=float), 3)
    if not np.all(np.isfinite(edges) & (edges > 0)):
        raise FormatError(f"voxel_um: {asked!r}; expected micrometres above zero")
    return (float(edges[0]), float(edges[1]), float(edges[2])), "option"


def _stated_voxel(tiff: tifffile.TiffFile) -> tuple[Voxel, str] | None:
    page = tiff.pages.first
    description = str(page.description)
    if tiff.is_ome:
        return _from_ome(description)
    x, y = (_per_unit(page, name) for name in ("XResolution", "YResolution"))
    if x is None or y is None:
        return None
    if tiff.is_imagej:
        about = dict(re.findall(r"^(unit|spacing)=(.*)$", description, re.MULTILINE))
        scale = UNIT_UM.get(about.get("unit", "").strip())
        if scale is None or "spacing" not in about:
            return None
        z = abs(float(about["spacing"]))
        return (z * scale, scale / y, scale / x), "ImageJ description"
    unit = page.tags.get("ResolutionUnit")
    name = RESOLUTION_UNITS.get(int(unit.value)) if unit is not None else None
    if name is None or (name == "inch" and x in PRINT_RESOLUTIONS):
        return None
    scale = UNIT_UM[name]
    return (scale / x, scale / y, scale / x), f"XResolution per {name}, z taken equal to x"


def _from_ome(description: str) -> tuple[Voxel, str] | None:
    edges = []
    for axis in "ZYX":
        size = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', description)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', description)
        # The OME schema: without a unit it is micrometre.
        scale = UNIT_UM.get(unit[1] if unit else "um")
        if size is None or scale is None:
            return None
        edges.append(float(size[1]) * scale)
    return (edges[0], edges[1], edges[2]), "OME PhysicalSize"


def _per_unit(page: Any, name: str) -> float | None:
    """Return pixels per unit, or None where the tag is missing or zero."""
    tag = page.tags.get(name)
    if tag is None:
        return None
    above, below = tag.value
    return above / below if above > 0 and below > 0 else None


def _clock(metadata: dict[str, str]) -> dict[str, str | float | None]:
    match = STAMP.match(metadata.get("DateTime", ""))
    start = f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" if match else "NaT"
    try:
        known = not np.isnat(np.datetime64(start))
    except ValueError:  # 0000:00:00 00:00:00
        known = False
    if not known:
        return clock(start=None, zone=None, marks="start", source="none")
    return clock(start=start, zone=None, marks="end", source="header")


def collect(files: list[File]) -> list[File]:
    """Replace the slices of a folder by their folder, where all its TIFFs are asked for.

    Files of several pages are volumes by themselves and stay; so does anything inside a zip.
    """
    folders: dict[Path, list[File]] = {}
    for file in files:
        if file.member is None:
            folders.setdefault(file.path.parent, []).append(file)
    sliced = {
        folder
        for folder, inside in folders.items()
        if len(inside) > 1
        and {file.path.name for file in inside} == {path.name for path in _slices(folder)}
        and all(_is_single(file.path) for file in inside)
    }
    return list(
        dict.fromkeys(
            File(file.path.parent) if file.member is None and file.path.parent in sliced else file
            for file in files
        )
    )


def _is_single(path: Path) -> bool:
    """Whether a TIFF holds one image; so does a damaged one until reading says what is wrong."""
    try:
        with tifffile.TiffFile(path) as tiff:
            return len(tiff.series) == 1 and len(tiff.series[0].shape) == 2
    except (tifffile.TiffFileError, OSError, ValueError, struct.error):
        return True


def sniff(head: bytes, name: str) -> bool:
    """Whether it is a TIFF or BigTIFF by its first bytes and its suffix, of no X-ray detector."""
    tiff = head.startswith(SIGNATURES) and name.lower().endswith(SUFFIXES)
    return tiff and not is_of_detector(head)


READER = Reader(
    technique="tomography",
    suffixes=SUFFIXES,
    sniff=sniff,
    read=read,
    description="tomography volume: multi-page TIFF, BigTIFF, OME, ImageJ, or a folder of slices",
    collect=collect,
)
