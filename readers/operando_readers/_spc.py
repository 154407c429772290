"""The layout of .spc files of Galactic (GRAMS): header, axis, subfiles, log; no meaning.

As ``SPC.H`` of Galactic Industries has it. Byte 1 is the version: 0x4B with the low bytes first,
0x4C with the high ones, 0x4D the old format of LabCalc (256 bytes of header, no X values, no log).
Byte 0 holds flags: 1 Y in 16 bits, 4 several subfiles, 8 and 16 their Z is written in each, 32
labels of the axes as text, 64 every subfile has its own X, 128 X is stored.

Y are fractions of 2^exponent in 32 or 16 bits, or float32 where the exponent is -128; in the old
format the two words of 32 bits are swapped. One subfile takes the exponent of the main header,
several take their own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]
Spectra = npt.NDArray[np.floating[Any]]

NEW_LOW, NEW_HIGH, OLD = 0x4B, 0x4C, 0x4D
SHORT, SEVERAL, RANDOM_Z, ORDERED_Z, LABELS, OWN_X, HAS_X = 1, 4, 8, 16, 32, 64, 128
FLOAT = -128
HEADER, OLD_HEADER, SUBHEADER, ENTRY = 512, 224, 32, 12
"""Bytes; the 256 of the old header include the first subheader."""
LONGEST_LOG = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the first block says."""

    version: int
    flags: int
    exponent: int
    points: int
    """Of a spectrum, or where the directory is when every subfile has its own X."""
    first: float
    last: float
    subfiles: int
    x_kind: int
    y_kind: int
    z_kind: int
    technique: int
    stamp: tuple[int, int, int, int, int]
    """Year, month, day, hour, minute as written, whether they exist or not."""
    source: str
    comment: str
    labels: tuple[str, ...]
    log_at: int
    z_step: float
    planes: int

    @property
    def order(self) -> str:
        """Order of the bytes as struct and numpy write it."""
        return ">" if self.version == NEW_HIGH else "<"


@dataclass
class Contents:
    """The numbers of a file."""

    shift: Array
    spectra: Spectra
    """(subfile, point)."""
    z: Array
    log: str = ""
    truncated: str | None = field(default=None)


def header_of(raw: bytes) -> Header:
    """Return the header.

    Raises
    ------
    FormatError
        Another version, or a file shorter than its header.
    """
    version = raw[1] if len(raw) > 1 else 0
    needed = OLD_HEADER + SUBHEADER if version == OLD else HEADER
    if version not in (NEW_LOW, NEW_HIGH, OLD):
        raise FormatError(f"version 0x{version:02X}; expected 0x4B, 0x4C or 0x4D of Galactic")
    if len(raw) < needed:
        raise FormatError(f"header: {len(raw)} bytes of {needed}; cut short")
    return _old_header(raw) if version == OLD else _new_header(raw)


def _new_header(raw: bytes) -> Header:
    order = ">" if raw[1] == NEW_HIGH else "<"
    flags, version, technique, exponent, points, first, last, subfiles, x, y, z, _, date = (
        struct.unpack_from(f"{order}BBBbIddIBBBBI", raw)
    )
    z_step, planes = struct.unpack_from(f"{order}fI", raw, 316)
    return Header(
        version=version,
        flags=flags,
        exponent=exponent,
        points=points,
        first=first,
        last=last,
        subfiles=subfiles,
        x_kind=x,
        y_kind=y,
        z_kind=z,
        technique=technique,
        stamp=(date >> 20, date >> 16 & 15, date >> 11 & 31, date >> 6 & 31, date & 63),
        source=_text(raw[45:54]),
        comment=_text(raw[88:218]),
        labels=_labels(raw[218:248]) if flags & LABELS else (),
        log_at=struct.unpack_from(f"{order}I", raw, 248)[0],
        z_step=z_step,
        planes=planes,
    )


def _old_header(raw: bytes) -> Header:
    flags, version, exponent, points, first, last, x, y, year, month, day, hour, minute = (
        struct.unpack_from("<BBhfffBBH4B", raw)
    )
    if not (points >= 0 and points == int(min(points, 2**31))):
        raise FormatError(f"header: {points} points; expected a whole number")
    return Header(
        version=version,
        flags=flags,
        exponent=exponent,
        points=int(points),
        first=first,
        last=last,
        subfiles=0,
        x_kind=x,
        y_kind=y,
        z_kind=year >> 12,
        technique=0,
        stamp=(year & 0xFFF, month, day, hour, minute),
        source="",
        comment=_text(raw[64:194]),
        labels=(),
        log_at=0,
        z_step=0.0,
        planes=0,
    )


def contents(raw: bytes, header: Header) -> Contents:
    """Return axis, spectra and log.

    Raises
    ------
    FormatError
        More points or subfiles than the file has bytes for, subfiles that overlap or whose X
        differ, or a way of storing that is not known.
    """
    if header.planes:
        raise FormatError(f"header: {header.planes} planes; data in four dimensions are not read")
    if header.version == OLD and header.flags & (HAS_X | OWN_X):
        raise FormatError("flags: the old format has no X values; damaged?")
    found = _own_axes(raw, header) if header.flags & OWN_X else _one_axis(raw, header)
    found.log = _log(raw, header)
    return found


def _one_axis(raw: bytes, header: Header) -> Contents:
    at = OLD_HEADER if header.version == OLD else HEADER
    if not 2 <= header.points <= (len(raw) - at) // 2:
        raise FormatError(
            f"header: {header.points} points of a spectrum in a file of {len(raw)} bytes"
        )
    if header.flags & HAS_X:
        shift = _floats(raw, header, at, header.points)
        at += 4 * header.points
    else:
        shift = np.linspace(header.first, header.last, header.points)
    record = np.dtype([("head", _subheader(header)), ("y", f"V{_y_bytes(header)}")])
    fitting = max(len(raw) - at, 0) // record.itemsize
    several = bool(header.flags & SEVERAL)
    promised = (header.subfiles or fitting) if several else 1
    if min(fitting, promised) < 1:
        raise FormatError(
            f"byte {at}: {len(raw) - at} bytes; expected {record.itemsize} of a spectrum"
        )
    count = min(promised, fitting)
    records = np.frombuffer(raw, record, count, at)
    exponents = records["head"]["exponent"] if several else np.full(1, header.exponent)
    y = records["y"].copy().view(np.uint8).reshape(count, -1)
    z = _evenly(records["head"], header) if several else np.zeros(1)
    cut = f"{count} of {promised} subfiles; cut short" if count < promised else None
    return Contents(shift, _numbers(y, exponents, header), z, truncated=cut)


def _own_axes(raw: bytes, header: Header) -> Contents:
    """Read subfiles that each have X; those of a Raman series have the same, or are refused."""
    head = _subheader(header)
    starts = _directory(raw, header)
    axes, spectra, z = [], [], []
    at, taken = HEADER, 0
    for number in range(header.subfiles if header.flags & SEVERAL else 1):
        at = int(starts[number]) if starts is not None else at
        if at + SUBHEADER > len(raw):
            break
        found = np.frombuffer(raw, head, 1, at)[0]
        points = int(found["points"]) or (header.points if starts is None else 0)
        width = 2 if header.flags & SHORT else 4
        end = at + SUBHEADER + (4 + width) * points
        if points < 2 or end > len(raw):
            break
        taken += end - at
        if taken > len(raw):
            raise FormatError(f"directory: subfiles overlap from number {number + 1} on; damaged")
        axes.append(_floats(raw, header, at + SUBHEADER, points))
        if axes[-1].shape != axes[0].shape or (axes[-1] != axes[0]).any():
            raise FormatError(
                f"subfile {number + 1}: its X are not those of subfile 1; save each spectrum in a "
                "file of its own, or interpolate them onto one axis in GRAMS"
            )
        y = np.frombuffer(raw, np.uint8, width * points, at + SUBHEADER + 4 * points)
        several = header.flags & SEVERAL
        exponent = np.array([found["exponent"] if several else header.exponent])
        spectra.append(_numbers(y[None], exponent, header)[0])
        z.append(float(found["time"]))
        at = end
    if not axes:
        raise FormatError(f"byte {at}: no spectrum with X and Y fits into {len(raw)} bytes")
    promised = header.subfiles if header.flags & SEVERAL else 1
    cut = f"{len(axes)} of {promised} subfiles; cut short" if len(axes) < promised else None
    return Contents(axes[0], np.array(spectra), np.array(z), truncated=cut)


def _directory(raw: bytes, header: Header) -> npt.NDArray[np.uint32] | None:
    """Return where the subfiles begin; None where they follow one another."""
    if not header.points or not header.flags & SEVERAL:
        return None
    if header.points + ENTRY * header.subfiles > len(raw):
        raise FormatError(
            f"directory: {header.subfiles} entries at byte {header.points} of {len(raw)}; cut short"
        )
    words = np.frombuffer(raw, f"{header.order}u4", 3 * header.subfiles, header.points)
    return words[::3].astype(np.uint32)


def _subheader(header: Header) -> np.dtype[np.void]:
    order = header.order
    return np.dtype(
        {
            "names": ["exponent", "time", "next", "points"],
            "formats": ["i1", f"{order}f4", f"{order}f4", f"{order}u4"],
            "offsets": [1, 4, 8, 16],
            "itemsize": SUBHEADER,
        }
    )


def _y_bytes(header: Header) -> int:
    return header.points * (2 if header.flags & SHORT else 4)


def _floats(raw: bytes, header: Header, at: int, count: int) -> Array:
    if at + 4 * count > len(raw):
        raise FormatError(f"byte {at}: {len(raw) - at} bytes; expected {4 * count} of X values")
    return np.frombuffer(raw, f"{header.order}f4", count, at).astype(np.float64)


def _numbers(raw: npt.NDArray[np.uint8], exponents: npt.NDArray[Any], header: Header) -> Spectra:
    """Return Y (subfile, point) from their bytes (subfile, byte)."""
    exponents = exponents.astype(np.int64)
    real = exponents == FLOAT
    if real.any() and (header.version == OLD or header.flags & SHORT or not real.all()):
        raise FormatError("exponent -128: numbers that are neither all float32 nor all fractions")
    if real.all():
        return raw.view(f"{header.order}f4").astype(np.float32)
    bits = 16 if header.flags & SHORT else 32
    if header.version == OLD and bits == 32:
        words = raw.view("<u2").astype(np.uint32)
        integers = (words[:, ::2] << np.uint32(16) | words[:, 1::2]).view(np.int32)
    else:
        integers = raw.view(f"{header.order}i{bits // 8}").astype(np.int32)
    return np.ldexp(integers.astype(np.float64), (exponents[:, None] - bits).astype(np.int32))


def _evenly(heads: npt.NDArray[Any], header: Header) -> Array:
    """Return Z of subfiles: each its own where the flags say so, else in even steps."""
    own: Array = heads["time"].astype(np.float64)
    if header.flags & (RANDOM_Z | ORDERED_Z):
        return own
    step = header.z_step or float(heads["next"][0]) - float(own[0])
    even: Array = own[0] + step * np.arange(own.size)
    return even


def _log(raw: bytes, header: Header) -> str:
    """Return the text of the log, empty where there is none or it is out of the file."""
    at = header.log_at
    if not at or at + 20 > len(raw):
        return ""
    size, _, text_at = struct.unpack_from(f"{header.order}3I", raw, at)
    end = min(at + size, at + text_at + LONGEST_LOG)
    return _text(raw[at + text_at : end])


def _labels(raw: bytes) -> tuple[str, ...]:
    return tuple(part.decode("latin-1").strip() for part in raw.split(b"\0")[:3])


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1").strip()
