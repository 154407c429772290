"""Bruker .raw files of version 4 (``RAW4.00``): a chain of segments, little-endian.

The head of 61 bytes holds date (12, ``04/07/2025``) and time (24). Then segments: type and length
(uint32), content. Type 10 is a name (12, 24 bytes) and its text (36 on), type 30 the tube: mean K
alpha, K alpha 1 and 2, K beta, ratio (72 on, float64), anode (116). Type 0 or 160 is a range: scan
type (32, 24 bytes), start and step (72, 80, float64), points (88), time a point (92, float32, in a
unit that is not stated), kV and mA (100, 104), bytes a point (136), bytes of segments behind this
header of 160 bytes (140): among them, type 50, the drives with name (12) and position (56,
float64). Points begin with their intensity in float32; what stands behind it is passed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from operando_readers._bruker_raw import (
    Contents,
    Range,
    counts,
    decimal,
    records,
    spread,
    text,
    unpack,
)
from operando_readers._radiation import Radiation
from operando_readers._reader import FormatError

HEAD, RANGE_HEADER = 61, 160
NAMED, TUBE, DRIVE = 10, 30, 50
SHORTEST = {NAMED: 36, TUBE: 120, DRIVE: 64}
RANGES = (0, 160)
SAME_ANGLE = 0.1
"""Degrees by which the 2 theta drive may stand beside the start of a scan over 2 theta."""


def version_4(raw: bytes) -> Contents:
    """Read a file of version 4.

    Raises
    ------
    FormatError
        It ends within the header of the first range or before its first point, a segment is longer
        than the file, or there is no range.
    """
    at, truncated = HEAD, ""
    ranges: list[Range] = []
    radiation = Radiation()
    metadata: dict[str, Any] = {}
    padded = len(raw.rstrip(b"\0"))
    while at < padded and (not ranges or at + 8 <= len(raw)):
        kind, length = unpack("II", raw, at, what="segment")
        if kind in RANGES:
            if ranges and at + RANGE_HEADER > len(raw):
                truncated = f"range {len(ranges) + 1} and what follows are missing"
                break
            found, facts, at = _range(raw, at, number=len(ranges) + 1)
            ranges.append(found)
            metadata |= facts
            continue
        _check_length(raw, at, kind, length)
        if kind == NAMED:
            metadata[text(raw, at + 12, 24)] = text(raw, at + 36, length - 36)
        elif kind == TUBE:
            radiation = _tube(raw, at)
        at += length
    if not ranges:
        raise FormatError(f"byte {at}: no range in the file; cut short?")
    return Contents(
        version=4,
        ranges=ranges,
        radiation=radiation,
        metadata=metadata,
        end=at,
        date=f"{text(raw, 12, 12)} {text(raw, 24, 10)}",
        truncated=truncated,
    )


def _check_length(raw: bytes, at: int, kind: int, length: int) -> None:
    if length < max(8, SHORTEST.get(kind, 8)) or at + length > len(raw):
        raise FormatError(
            f"byte {at}: segment of type {kind} with {length} bytes in a file of {len(raw)}"
        )


def _tube(raw: bytes, at: int) -> Radiation:
    lines = unpack("5d", raw, at + 72, what="wavelengths")
    _, alpha1, alpha2, beta, ratio = map(decimal, lines)
    return Radiation(
        anode=text(raw, at + 116, 4), alpha1=alpha1, alpha2=alpha2, beta=beta, ratio=ratio
    )


def _range(raw: bytes, at: int, *, number: int) -> tuple[Range, dict[str, Any], int]:
    """Return the range that begins at a byte, what else it says, and where it ends."""
    what = f"range {number}"
    start, step, size, time = unpack("ddIf", raw, at + 72, what=what)
    kilovolt, milliampere = unpack("ff", raw, at + 100, what=what)
    stride, segments = unpack("II", raw, at + 136, what=what)
    if stride < 4 or stride % 4:
        raise FormatError(f"{what}: {stride} bytes a point; expected 4, 8, 12 ...")
    axis = text(raw, at + 32, 24)
    drives = _drives(raw, at + RANGE_HEADER, segments)
    stands = drives.get("2Theta", start)
    if not abs(stands - start) <= SAME_ANGLE:
        axis = f"{axis} from {start:g} with 2Theta at {stands:g}"
    rows, cut = records(raw, at + RANGE_HEADER + segments, size, stride, what=what)
    found = Range(
        axis=axis,
        two_theta=spread(start, step, len(rows), what=what),
        intensity=counts(rows),
        offset=0.0 if number == 1 else None,
        truncated=cut,
    )
    told = {"time_per_step": time, "kilovolt": kilovolt, "milliampere": milliampere}
    facts = {f"{what}: {key}": value for key, value in (told | drives).items()}
    return found, facts, at + RANGE_HEADER + segments + stride * size


def _drives(raw: bytes, at: int, size: int) -> dict[str, float]:
    """Return where the drives stand when the range starts."""
    found: dict[str, float] = {}
    end = at + size
    while at < end:
        kind, length = unpack("II", raw, at, what="segment")
        _check_length(raw, at, kind, length)
        if kind == DRIVE:
            [position] = unpack("d", raw, at + 56, what="position")
            if np.isfinite(position):
                found.setdefault(text(raw, at + 12, 24), position)
        at += length
    if at != end:
        raise FormatError(f"byte {at}: segments of a range end behind byte {end}, where it says")
    return found
