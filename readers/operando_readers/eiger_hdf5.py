"""Frames of Dectris Eiger and Pilatus4 detectors: the master file of the filewriter, HDF5.

File structure: ``entry/data/data_000001`` .. are links to ``<prefix>_data_000001.h5`` in the same
folder, or data sets of the master itself; each is (frames, rows, columns), packed by LZ4 or
bitshuffle. ``entry/instrument/detector`` says how it was taken. Links that leave the folder are
refused; a linked file that is not there ends the series, and `truncated` says so.

Time: ``detectorSpecific/data_collection_date`` is when the series was armed, in the time of the
detector's computer, often without its zone. Frame i of one trigger begins at it + i frame_time and
lasts count_time. With several triggers the times between them are not in the file: then there is no
clock, and `doubts` says why.

Gaps between modules have the largest number of the type and bad pixels the one below
(2**32 - 1 and 2**32 - 2); they stay in the data, and attrs `dead_values` names them. `saturation`
is the largest count that was corrected for the count rate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando_readers._detector import images
from operando_readers._diffraction import NO_CLOCK
from operando_readers._hdf5 import SIGNATURE, Group, opened
from operando_readers._hdf5_stack import Part, lazy
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import moments

DATA = re.compile(r"data(?:_\d{1,9})?")
LINKED = re.compile(r"(.+)_data_\d{1,9}\.(?:h5|hdf5|nxs)")
DETECTOR = "entry/instrument/detector"
SPECIFIC = f"{DETECTOR}/detectorSpecific"
TO_METRE = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "cm": 1e-2}


def read(file: File) -> xr.Dataset:
    """Read the frames of a series, lazily.

    Returns
    -------
    `intensity` (time, row, column) in counts, in the type it is stored in.

    Raises
    ------
    FormatError
        No such file, no frame that can be reached, links that leave the folder, frames of
        different sizes, or damage.
    """
    with opened(file) as root:
        data = root.group("entry/data") or root.group("entry")
        names = sorted(name for name in data.names() if DATA.fullmatch(name)) if data else []
        if data is None or not names:
            raise FormatError("no entry/data/data_000001; expected the master file of an Eiger")
        parts, missing = _parts(file, data, names)
        if not parts:
            raise FormatError(f"{missing}; expected it beside the master file")
        about = _about(root)
        times = _times(root, sum(part.stack.shape[0] for part in parts))
        metadata = _metadata(root)
        expected = _expected(root, parts)
    frames = lazy(parts)
    if frames.ndim != 3:
        raise FormatError(f"{parts[0].stack.path}: {frames.ndim} axes; expected frames of images")
    dataset = images(frames, metadata=metadata, **times, **about, **_values(frames.dtype, about))
    if missing or frames.shape[0] < expected:
        reason = f"{frames.shape[0]} of {expected} frames" if frames.shape[0] < expected else ""
        dataset.attrs["truncated"] = ": ".join(filter(None, (missing, reason)))
    return dataset


def _parts(file: File, data: Group, names: Sequence[str]) -> tuple[list[Part], str]:
    """Return the stacks up to the first that is missing, and which that is."""
    parts: list[Part] = []
    for name in names:
        link = data.link(name)
        if link is None:
            stack = data.stack(name)
            if stack is not None:
                parts.append(Part(file, stack))
            continue
        other, path = file.beside(link[0]), link[1]
        if not other.exists():
            return parts, f"{name}: {link[0]} is missing"
        with opened(other) as root:
            stack = root.stack(path)
        if stack is None:
            return parts, f"{name}: {link[0]} has no {path}"
        if stack.shape[0]:
            parts.append(Part(other, stack))
    return parts, "" if parts else "no frame was written"


def _number(root: Group, path: str) -> float | None:
    """Return a number above zero, None where there is none."""
    values = root.numbers(path)
    if values is None or values.size != 1 or not np.isfinite(values).all():
        return None
    value = float(values.reshape(-1)[0])
    return value if value > 0 else None


def _metres(root: Group, path: str) -> float | None:
    value = _number(root, path)
    factor = TO_METRE.get(root.word("units", path) or "m") if value else None
    return value * factor if value and factor else None


def _about(root: Group) -> dict[str, Any]:
    """Return the geometry as the detector was told it."""
    pixel = [_metres(root, f"{DETECTOR}/{name}_pixel_size") for name in "yx"]
    centre = [_number(root, f"{DETECTOR}/beam_center_{name}") for name in "yx"]
    distance = _metres(root, f"{DETECTOR}/detector_distance") or _metres(
        root, f"{DETECTOR}/distance"
    )
    wavelength = _number(root, "entry/instrument/beam/incident_wavelength")
    cutoff = _number(root, f"{DETECTOR}/saturation_value") or _number(
        root, f"{SPECIFIC}/countrate_correction_count_cutoff"
    )
    return {
        "instrument": root.text("entry/instrument/name") or None,
        "detector": root.text(f"{DETECTOR}/description") or None,
        "pixel_size_m": [each for each in pixel if each] if all(pixel) else None,
        "beam_centre_pixel": [each for each in centre if each] if all(centre) else None,
        "detector_distance_m": distance,
        "wavelength_angstrom": wavelength,
        "saturation": cutoff,
    }


def _values(dtype: np.dtype[Any], about: dict[str, Any]) -> dict[str, Any]:
    """Return which numbers are no counts."""
    if dtype.kind != "u":
        return {}
    largest = int(np.iinfo(dtype).max)
    return {"dead_values": [largest, largest - 1]}


def _times(root: Group, count: int) -> dict[str, Any]:
    """Return clock, seconds since its start and length of each frame."""
    exposure = _number(root, f"{DETECTOR}/count_time")
    period = _number(root, f"{DETECTOR}/frame_time") or exposure
    triggers = _number(root, f"{SPECIFIC}/ntrigger") or 1.0
    date = (root.text(f"{SPECIFIC}/data_collection_date") or "").strip()
    date = date or (root.text(f"{DETECTOR}/data_collection_date") or "").strip()
    found: dict[str, Any] = {"clock": NO_CLOCK, "exposure": exposure}
    if triggers > 1:
        return {**found, "doubts": f"ntrigger {triggers:g}: the times between triggers are unknown"}
    if not date or (period is None and count > 1):
        return found
    stamp = moments([date], what="data_collection_date")
    facts = clock(
        start=stamp.iso(0),
        zone=stamp.zone,
        marks="start",
        source="header",
        sigma_s=stamp.resolution_s / 2 or None,
    )
    return {**found, "clock": facts, "elapsed": np.arange(count) * (period or 0.0)}


def _expected(root: Group, parts: Sequence[Part]) -> int:
    """Return how many frames there should be: those asked for, or those files were made for."""
    images, triggers = (_number(root, f"{SPECIFIC}/{name}") for name in ("nimages", "ntrigger"))
    return int((images or 0) * (triggers or 1)) or sum(part.stack.promised for part in parts)


def _metadata(root: Group) -> dict[str, str | float]:
    """Return the single numbers and texts of the master."""
    entry = root.group("entry")
    return {} if entry is None else entry.facts()


def collect(files: list[File]) -> list[File]:
    """Leave out the files that a master among the others links to."""
    stems = {
        file.beside(file.name.rpartition("_master")[0]) for file in files if "_master" in file.name
    }
    linked = {
        file
        for file in files
        if (match := LINKED.fullmatch(file.name)) and file.beside(match[1]) in stems
    }
    return [file for file in files if file not in linked]


def sniff(head: bytes, name: str) -> bool:
    """Whether the head of an HDF5 file has what the filewriter writes."""
    named = b"detectorSpecific" in head or re.search(rb"data_0{3,8}1(?!\d)", head) is not None
    return head.startswith(SIGNATURE) and named and b"entry" in head


READER = Reader(
    technique="xrd_images",
    suffixes=(".h5", ".hdf5", ".nxs"),
    sniff=sniff,
    read=read,
    description="Dectris Eiger frames: master file with its data files, HDF5 (LZ4, bitshuffle)",
    collect=collect,
)
