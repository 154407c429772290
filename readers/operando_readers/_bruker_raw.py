"""Siemens and Bruker .raw files, versions 1 to 3: tables of fixed offsets, little-endian.

Version 1 (``RAW ``): a header of 156 bytes in front of every range. From its start: points (4,
uint32), seconds a point (8), step (12), start of 2 theta (24), sample (40, 32 bytes), K alpha 1 and
2 (72, 76), how many ranges follow (152, uint32); the others float32. Further ranges may leave out
the first four bytes. There is no date.

Version 2 (``RAW2``): ranges (4, uint16), sample (8), comment (40), date (168, 20 bytes:
``19-12-199721:57``), anode (188), K alpha 1 and 2 (190, 194), their ratio (198), K beta (206),
seconds it took in all (210). From 256 on, each range: length of its header (0, uint16), points (2,
uint16), seconds a point (8), step (12), start (16), temperature in K (46, uint16).

Version 3 (``RAW1.01``): how it ended (8), ranges (12), date and time (16, 26), user (36), site
(108), sample (326), anode (608), mean K alpha, K alpha 1 and 2, K beta and their ratio (616 on,
float64), their unit (656), seconds it took in all (664). From 712 on, each range: length of its
header (0), points (4), starts of theta and 2 theta (8, 16, float64), step (176, float64), seconds a
point (192), scan type (196), seconds from the date to its start (204), kV and mA (224, 228), which
positions were recorded with every point (248, a bit each), bytes a point (252), bytes between
header and points (256).

Unknown float32 are -1e6, unknown seconds negative. Points are float32 counts, as many as the header
says; in version 3 the recorded positions (float64) stand behind each, 2 theta first.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from operando_readers._radiation import Radiation
from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]

SCANS = {
    **{0: "Locked Coupled", 1: "Unlocked Coupled", 2: "Detector Scan", 3: "Rocking Curve"},
    **{4: "Chi Scan", 5: "Phi Scan", 6: "X Scan", 7: "Y Scan", 8: "Z Scan", 12: "Psi Scan"},
    **{13: "HKL Scan", 14: "Reciprocal Space Scan", 20: "Unlocked Coupled HR XRD"},
}
STATUS = {1: "", 2: "still active", 3: "aborted", 4: "interrupted"}
HEADER_1, HEADER_2, HEADER_3 = 156, 256, 712
SHORTEST_RANGE_2, SHORTEST_RANGE_3 = 48, 260
UNSET_16 = 0xFFFF
DATE_2 = re.compile(r"(\d{1,2})-(\d{1,2}|[A-Za-z]{3})-(\d{4}|\d{2})\s*(\d{1,2}:\d\d(?::\d\d)?)")


@dataclass(frozen=True, kw_only=True)
class Range:
    """One scan, as the file has it."""

    axis: str
    two_theta: Array
    intensity: Array
    counting_time: float | None = None
    offset: float | None = None
    """Seconds from the date of the file to the start of the range."""
    told: dict[str, tuple[float, str]] = field(default_factory=dict)
    truncated: str = ""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a .raw file says."""

    version: int
    ranges: list[Range]
    radiation: Radiation
    metadata: dict[str, Any]
    end: int
    """Where the last range ends."""
    date: str = ""
    runtime: float | None = None
    truncated: str = ""


def unpack(layout: str, raw: bytes, at: int, *, what: str) -> tuple[Any, ...]:
    """Return little-endian numbers.

    Raises
    ------
    FormatError
        The file ends before them.
    """
    try:
        return struct.unpack_from(f"<{layout}", raw, at)
    except (struct.error, OverflowError) as error:
        raise FormatError(f"byte {at}: {what} expected, the file has {len(raw)}") from error


def text(raw: bytes, at: int, length: int) -> str:
    """Return a text of fixed length, up to its first zero."""
    return raw[at : at + length].partition(b"\0")[0].decode("latin-1").strip()


def decimal(value: float) -> float:
    """Return the number that was meant by a float32: the shortest that is stored as this one.

    A step of 0.04 read as 0.03999999910593033 is off by 1e-6 degree after a thousand steps. What
    no float32 can be is left as it is.
    """
    single = np.float32(value)
    return float(str(single)) if float(single) == value else value


def spread(start: float, step: float, size: int, *, what: str) -> Array:
    """Return equidistant positions.

    Raises
    ------
    FormatError
        Start or step are no numbers that make an axis.
    """
    if not (np.isfinite(start) and np.isfinite(step)) or step == 0 or size < 1:
        raise FormatError(f"{what}: {size} points from {start} in steps of {step}; no scan")
    return start + step * np.arange(size, dtype=np.float64)


def records(
    raw: bytes, at: int, count: int, stride: int, *, what: str
) -> tuple[npt.NDArray[np.uint8], str]:
    """Return the records of a range as rows of bytes, and how many are missing where it was cut."""
    there = min(count, max(len(raw) - at, 0) // stride)
    if not there:
        raise FormatError(f"{what}: {count} points from byte {at}, the file has {len(raw)}")
    rows = np.frombuffer(raw, np.uint8, there * stride, at).reshape(there, stride)
    return rows, "" if there == count else f"{there} of {count} points"


def counts(rows: npt.NDArray[np.uint8]) -> Array:
    """Return the float32 that each record begins with."""
    return np.ascontiguousarray(rows[:, :4]).view("<f4")[:, 0].astype(np.float64)


def version_1(raw: bytes) -> Contents:
    """Read a file of version 1.

    Raises
    ------
    FormatError
        It ends within a header or before the first point, or a range makes no scan.
    """
    ranges: list[Range] = []
    at, following, truncated = 0, 1, ""
    while following:
        if ranges and raw[at : at + 4] != b"RAW ":
            at -= 4
        what = f"range {len(ranges) + 1}"
        if ranges and at + HEADER_1 > len(raw):
            truncated = f"{what} and {following - 1} others are missing"
            break
        size, seconds, step = unpack("Iff", raw, at + 4, what=what)
        [start] = unpack("f", raw, at + 24, what=what)
        alphas = unpack("ff", raw, at + 72, what=what)
        [following] = unpack("I", raw, at + 152, what=what)
        rows, cut = records(raw, at + HEADER_1, size, 4, what=what)
        ranges.append(
            Range(
                axis="2Theta",
                two_theta=spread(decimal(start), decimal(step), len(rows), what=what),
                intensity=counts(rows),
                counting_time=_positive(seconds),
                truncated=cut,
            )
        )
        if len(ranges) == 1:
            radiation = Radiation(alpha1=decimal(alphas[0]), alpha2=decimal(alphas[1]))
            metadata = {"sample": text(raw, 40, 32), **_alphas(alphas)}
        at += HEADER_1 + 4 * size
    return Contents(
        version=1,
        ranges=ranges,
        radiation=radiation,
        metadata=metadata,
        end=at,
        truncated=truncated,
    )


def _alphas(alphas: tuple[float, ...]) -> dict[str, float]:
    return {f"k_alpha{line}": decimal(value) for line, value in enumerate(alphas, 1)}


def _positive(seconds: float) -> float | None:
    return decimal(seconds) if np.isfinite(seconds) and seconds > 0 else None


def version_2(raw: bytes) -> Contents:
    """Read a file of version 2; raises as `version_1`."""
    [count] = unpack("H", raw, 4, what="number of ranges")
    alpha1, alpha2, ratio, _, beta, runtime = unpack("6f", raw, 190, what="wavelengths")
    date = DATE_2.search(text(raw, 168, 20))
    ranges: list[Range] = []
    at, truncated = HEADER_2, ""
    for number in range(1, count + 1):
        what = f"range {number}"
        if ranges and at + SHORTEST_RANGE_2 > len(raw):
            truncated = f"{number - 1} of {count} ranges"
            break
        header, size = unpack("HH", raw, at, what=what)
        seconds, step, start = unpack("fff", raw, at + 8, what=what)
        [kelvin] = unpack("H", raw, at + 46, what=what)
        if header < SHORTEST_RANGE_2:
            raise FormatError(f"{what}: header of {header} bytes; expected {SHORTEST_RANGE_2}")
        rows, cut = records(raw, at + header, size, 4, what=what)
        ranges.append(
            Range(
                axis="2Theta",
                two_theta=spread(decimal(start), decimal(step), len(rows), what=what),
                intensity=counts(rows),
                counting_time=_positive(seconds),
                offset=0.0 if number == 1 else None,
                told={"temperature": (float(kelvin), "K")} if 0 < kelvin < UNSET_16 else {},
                truncated=cut,
            )
        )
        at += header + 4 * size
    return Contents(
        version=2,
        ranges=ranges,
        radiation=Radiation(
            anode=text(raw, 188, 2),
            alpha1=decimal(alpha1),
            alpha2=decimal(alpha2),
            beta=decimal(beta),
            ratio=decimal(ratio),
        ),
        metadata={"sample": text(raw, 8, 32), "comment": text(raw, 40, 128)},
        end=at,
        date="{}-{}-{} {}".format(*date.groups()) if date else "",
        runtime=_positive(runtime),
        truncated=truncated,
    )


def version_3(raw: bytes) -> Contents:
    """Read a file of version 3; raises as `version_1`."""
    status, count = unpack("II", raw, 8, what="status and number of ranges")
    mean, alpha1, alpha2, beta, ratio = unpack("5d", raw, 616, what="wavelengths")
    [runtime] = unpack("f", raw, 664, what="measuring time")
    ranges: list[Range] = []
    at, truncated = HEADER_3, STATUS.get(status, "")
    for number in range(1, count + 1):
        if ranges and at + SHORTEST_RANGE_3 > len(raw):
            truncated = f"{number - 1} of {count} ranges"
            break
        found, at = _range_3(raw, at, what=f"range {number}")
        ranges.append(found)
    angstrom = text(raw, 656, 4) in ("A", "")
    kilovolt, milliampere = unpack("II", raw, HEADER_3 + 224, what="generator")
    return Contents(
        version=3,
        ranges=ranges,
        radiation=Radiation(
            anode=text(raw, 608, 4),
            alpha1=alpha1 if angstrom else None,
            alpha2=alpha2 if angstrom else None,
            beta=beta if angstrom else None,
            ratio=ratio,
        ),
        metadata={
            "user": text(raw, 36, 72),
            "site": text(raw, 108, 218),
            "sample": text(raw, 326, 60),
            "comment": text(raw, 386, 160),
            "k_alpha_mean": mean,
            "wavelength_unit": text(raw, 656, 4),
            "kilovolt": kilovolt,
            "milliampere": milliampere,
        },
        end=at,
        date=f"{text(raw, 16, 10)} {text(raw, 26, 10)}",
        runtime=_positive(runtime),
        truncated=truncated,
    )


def _range_3(raw: bytes, at: int, *, what: str) -> tuple[Range, int]:
    """Return the range that begins at a byte, and where the next one does."""
    header, size = unpack("II", raw, at, what=what)
    [start] = unpack("d", raw, at + 16, what=what)
    [step] = unpack("d", raw, at + 176, what=what)
    seconds, kind, _, started = unpack("fIIf", raw, at + 192, what=what)
    recorded, stride, between = unpack("III", raw, at + 248, what=what)
    if header < SHORTEST_RANGE_3 or stride != 4 + 8 * recorded.bit_count():
        raise FormatError(
            f"{what}: header of {header} bytes and {stride} bytes a point with "
            f"{recorded.bit_count()} positions; not the layout of version 3"
        )
    rows, cut = records(raw, at + header + between, size, stride, what=what)
    two_theta = spread(start, step, len(rows), what=what)
    if recorded & 1:
        two_theta = np.ascontiguousarray(rows[:, 4:12]).view("<f8")[:, 0]
    found = Range(
        axis=SCANS.get(kind, f"scan type {kind}"),
        two_theta=two_theta,
        intensity=counts(rows),
        counting_time=_positive(seconds),
        offset=decimal(started) if np.isfinite(started) and started >= 0 else None,
        truncated=cut,
    )
    return found, at + header + between + stride * size
