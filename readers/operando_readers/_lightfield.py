"""The XML at the end of .spe files of Princeton LightField: frames, calibration, times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError
from operando_readers._xml import document, flat, number, number_at

Array = npt.NDArray[np.float64]

PIXELS = {
    "MonochromeUnsigned16": "<u2",
    "MonochromeUnsigned32": "<u4",
    "MonochromeFloating32": "<f4",
}
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?)(Z|[+-]\d\d:\d\d)?")
NORMAL = "Normal"
TRACKED = 8
"""Bytes of everything that is recorded behind a frame."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the numbers of the frames are."""

    frames: int
    pixel: str
    """As numpy writes it."""
    rows: int
    columns: int
    stride: int
    """Bytes from a frame to the next, what is recorded behind it included."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """When the frames were taken, as far as the XML says."""

    start: str | None
    zone: str | None
    exposure: float | None
    """Live time of a stored frame in s."""
    frame_source: str
    period: float | None
    """Seconds from a stored frame to the next."""
    tracks: tuple[tuple[str, float], ...]
    """Event and ticks a second of what is recorded behind a frame, in its order."""
    zero: str | None
    """What the ticks count from, with its zone."""


def footer(raw: bytes) -> Element:
    """Return the root of the XML.

    Raises
    ------
    FormatError
        It is damaged, cut short, or of another program.
    """
    root = document(raw, what="XML at the end")
    if root.tag != "SpeFormat":
        raise FormatError(f"XML at the end: <{root.tag}>; expected <SpeFormat> of LightField")
    return root


def layout(root: Element) -> Layout:
    """Return where the frames are.

    Raises
    ------
    FormatError
        Pixels of another kind, or several regions of the detector.
    """
    block = root.find("DataFormat/DataBlock")
    regions = [] if block is None else block.findall("DataBlock")
    if block is None or len(regions) != 1:
        raise FormatError(f"DataFormat: {len(regions)} regions; expected one, save them one by one")
    pixel = block.get("pixelFormat", "")
    if pixel not in PIXELS:
        raise FormatError(f"pixelFormat: {pixel!r}; expected one of {list(PIXELS)}")
    region = regions[0]
    return Layout(
        frames=_whole(block, "count"),
        pixel=PIXELS[pixel],
        rows=_whole(region, "height"),
        columns=_whole(region, "width"),
        stride=_whole(block, "stride"),
    )


def _whole(element: Element, name: str) -> int:
    found = number(element.get(name))
    if found is None or found != int(found) or not 0 < found < 2**31:
        raise FormatError(f"{element.tag}: {name} {element.get(name)!r}; expected a number")
    return int(found)


def calibration(root: Element, columns: int) -> tuple[Array, float | None]:
    """Return the wavelength of each column (nm), and the laser (nm) where it is stated.

    Raises
    ------
    FormatError
        There is no calibration, or one of another number of pixels or a mirrored detector.
    """
    mapping = root.find("Calibrations/WavelengthMapping")
    if mapping is None:
        raise FormatError("Calibrations: no WavelengthMapping; calibrate the spectrometer")
    if mapping.get("orientation", NORMAL) != NORMAL:
        raise FormatError(
            f"WavelengthMapping: orientation {mapping.get('orientation')!r}; not read"
        )
    found = _wavelengths(mapping)
    if found.size != columns:
        found = _seen(root, found)
    if found.size != columns:
        raise FormatError(f"WavelengthMapping: {found.size} wavelengths for {columns} columns")
    laser = number(mapping.get("laserLine"))
    return found, laser if laser and laser > 0 else None


def _wavelengths(mapping: Element) -> Array:
    """Return the wavelengths, which stand alone or in front of their errors."""
    text = mapping.findtext("Wavelength")
    fields = (
        text.split(",")
        if text is not None
        else [
            pair.partition(",")[0] for pair in (mapping.findtext("WavelengthError") or "").split()
        ]
    )
    values = [number(field) for field in fields]
    if not values or None in values:
        raise FormatError("WavelengthMapping: expected numbers with commas between")
    return np.array(values, np.float64)


def _seen(root: Element, wavelengths: Array) -> Array:
    """Return the wavelengths of the columns that were read out, of those of the whole sensor."""
    sensor = root.find("Calibrations/SensorMapping")
    if sensor is None:
        return wavelengths
    first, width, binned = (_from_zero(sensor, name) for name in ("x", "width", "xBinning"))
    part = wavelengths[first : first + width]
    return part if not binned or part.size % binned else part.reshape(-1, binned).mean(axis=1)


def _from_zero(element: Element, name: str) -> int:
    found = number(element.get(name))
    return int(found) if found is not None and 0 <= found < 2**31 else 0


def times(root: Element) -> Times:
    """Return what the XML says of the times.

    ``Origin`` is created when the acquisition starts: in the real file, 6 frames of 30.51 s before
    ``FileInformation``, to 0.9 s.
    """
    origin = root.find("DataHistories/DataHistory/Origin")
    start, zone = stamp(origin.get("created", "") if origin is not None else "")
    camera = root.find("DataHistories/DataHistory/Origin/Experiment/Devices/Cameras/Camera")
    each = count = rate = None
    if camera is not None:
        each = number_at(camera, "ShutterTiming/ExposureTime")
        combining = "Experiment/OnlineProcessing/FrameCombination/FramesCombined"
        count = number_at(camera, combining) or 1.0
        rate = number_at(camera, "Acquisition/FrameRate")
    known = each is not None and each > 0 and count is not None and count > 0
    block = root.find("MetaFormat/MetaBlock")
    tracked = [] if block is None else list(block)
    return Times(
        start=start,
        zone=zone,
        exposure=each / 1000 * count if known and each and count else None,
        frame_source=f"{each / 1000:g} s x {count:g} frames" if known and each else "unknown",
        period=count / rate if count and rate and rate > 0 else None,
        tracks=tuple((item.get("event", item.tag), _ticks(item)) for item in tracked),
        zero=next((item.get("absoluteTime") for item in tracked if item.tag == "TimeStamp"), None),
    )


def _ticks(item: Element) -> float:
    found = number(item.get("resolution"))
    return found if found and found > 0 else 1.0


def stamp(text: str) -> tuple[str | None, str | None]:
    """Return an ISO stamp without its offset, and the offset; None where it is no stamp."""
    match = STAMP.fullmatch(text.strip())
    if match is None:
        return None, None
    try:
        np.datetime64(match[1], "ns")
    except ValueError:
        return None, None
    return match[1], "UTC" if match[2] == "Z" else match[2]


def facts(root: Element) -> dict[str, str]:
    """Return everything but the wavelengths as path -> text."""
    return flat(root, skip=("Wavelength", "WavelengthError"))
