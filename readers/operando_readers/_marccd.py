"""The header of MarCCD and marMosaic images: 3072 bytes between that of the TIFF and the pixels.

Offsets from the C structure ``frame_header`` of marresearch. The stamps are ``MMDDhhmmYYYY.ss`` in
local time: of the acquisition, of the header, of the saving; the first is used.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from operando_readers._diffraction import NO_CLOCK
from operando_readers._reader import FormatError, clock

START = 1024
LENGTH = 3072
NAME = b"MMX\0"
ORDERS = {1234: "<", 4321: ">"}
STAMP = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)(\d{4})\.(\d\d)")
PLACES = {
    "nfast": (80, "I", 1.0),
    "nslow": (84, "I", 1.0),
    "saturated_value": (104, "I", 1.0),
    "distance_m": (640, "i", 1e-6),
    "beam_x": (644, "i", 1e-3),
    "beam_y": (648, "i", 1e-3),
    "integration_s": (652, "i", 1e-3),
    "exposure_s": (656, "i", 1e-3),
    "pixel_x_m": (772, "i", 1e-9),
    "pixel_y_m": (776, "i", 1e-9),
    "wavelength_angstrom": (908, "i", 1e-5),
}
"""Byte, type, and what one of it is in our unit."""
ACQUIRED = slice(1344, 1376)
COMMENTS = slice(1440, 1952)


def is_marccd(head: bytes) -> bool:
    """Whether the header follows that of the TIFF."""
    return head[START + 4 : START + 8] == NAME


def facts(head: bytes) -> dict[str, Any]:
    """Return clock, exposure, geometry and the header as plain numbers.

    Raises
    ------
    FormatError
        The header is cut, or of no byte order.
    """
    header = head[START : START + LENGTH]
    for mark, order in ORDERS.items():
        if len(header) == LENGTH and struct.unpack_from(f"{order}I", header, 28)[0] == mark:
            break
    else:
        raise FormatError("MarCCD: its header is cut or damaged")
    found = {
        name: struct.unpack_from(order + kind, header, at)[0] * unit
        for name, (at, kind, unit) in PLACES.items()
    }
    known = {name: value for name, value in found.items() if value > 0}
    exposure = known.get("exposure_s") or known.get("integration_s")
    return {
        "clock": _clock(_text(header[ACQUIRED])),
        "exposure": exposure,
        "detector": "MarCCD",
        "pixel_size_m": _pair(known, "pixel_y_m", "pixel_x_m"),
        "beam_centre_pixel": _pair(known, "beam_y", "beam_x"),
        "detector_distance_m": known.get("distance_m"),
        "wavelength_angstrom": known.get("wavelength_angstrom"),
        "saturation": known.get("saturated_value"),
        "metadata": {**found, "comments": _text(header[COMMENTS])},
    }


def _pair(known: dict[str, float], first: str, second: str) -> list[float] | None:
    return [known[first], known[second]] if {first, second} <= set(known) else None


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1").strip()


def _clock(text: str) -> dict[str, Any]:
    match = STAMP.fullmatch(text)
    if match is None:
        return NO_CLOCK
    month, day, hour, minute, year, second = match.groups()
    start = f"{year}-{month}-{day}T{hour}:{minute}:{second}"
    return clock(start=start, zone=None, marks="start", source="header", sigma_s=0.5)
