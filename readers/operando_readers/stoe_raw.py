"""STOE WinXPOW measurements, binary (.raw), layout RAW_1.06.

File structure, little-endian, blocks of 512 bytes. The first: layout and program (0, 8 bytes each),
date (16), title (32, 80 bytes), comment (112, 192 bytes), codes of the diffractometer, its
monochromator and anode (304 on, int16), K alpha 1 and 2 (322, float32), what is scanned (360:
1 2 theta, 2 omega, 3 both, 4 free), ranges measured (378), points in all (466, int32), numbers of
the blocks where the ranges begin (480 on, int16). A range: start and end (0, 16, as
``22-Sep-20 17:18``), points (34, uint16), whole numbers of 32 bits (0) or 16 (1) (38, int16), what
they are multiplied by (40, float32), starts, ends and steps of 2 theta and omega (44 on, float32),
seconds a step (68), what was done to the counts (118, bits, as at 472 of the file), smallest and
largest count (120, 124, int32); the counts follow from the next block on. The ends must agree with
what is there: else it is another layout.

Times are local, without zone, in whole minutes: the clock is uncertain by half a minute.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._bruker_raw import decimal, spread, text, unpack
from operando_readers._patterns import Pattern, chosen, frames
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_times import by_stamps

Array = npt.NDArray[np.float64]

MAGIC = b"RAW_1.06"
BLOCK = 512
MOST_RANGES = 8
SCANS = {1: "2Theta", 2: "Omega", 3: "2Theta/Omega", 4: "free"}
ANODES = {1: "Ag", 2: "Mo", 3: "Cu", 4: "Co", 5: "Fe", 6: "Cr"}
WIDTHS = {0: "<i4", 1: "<i2"}
HALF_STEP = 0.5
MODIFIED = {
    **{0: "corrected for the detector", 1: "corrected for the instrument"},
    **{4: "2 theta changed", 5: "smoothed", 6: "background subtracted"},
    **{7: "alpha 2 stripped", 8: "modified", 9: "corrected for absorption"},
}
"""Bits of the history."""


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(file: File, *, scans: str | None = None) -> xr.Dataset:
    """Read the ranges of a file, one frame a range.

    Parameters
    ----------
    scans
        Numbers of ranges, from 1, such as "1-4": where a file holds ranges of several axes.

    Returns
    -------
    As `_patterns.frames`.

    Raises
    ------
    FormatError
        Not such a file, another layout, a scan that is not over 2 theta, counts that are not what
        the header says of them, or as `frames`.
    """
    raw = file.read_bytes()
    if not raw.startswith(MAGIC):
        raise FormatError(
            f"first bytes {raw[:14]!r}: expected {MAGIC.decode()!r}, the one layout that is known; "
            "export it from WinXPOW as .xyd or .xy"
        )
    [kind] = unpack("h", raw, 360, what="scan type")
    [count] = unpack("h", raw, 378, what="number of ranges")
    [modified] = unpack("H", raw, 472, what="history")
    if not 1 <= count <= MOST_RANGES:
        raise FormatError(f"byte 378: {count} ranges; expected 1 to {MOST_RANGES}")
    blocks = unpack(f"{count}h", raw, 480, what="blocks of the ranges")
    axis = SCANS.get(kind, f"scan type {kind}")
    numbered = chosen([axis] * count, scans)
    places = [BLOCK * (blocks[at - 1] - 1) for at in numbered]
    radiation, metadata = _tube(raw)
    patterns = [
        _pattern(raw, place, at, radiation) for at, place in zip(numbered, places, strict=True)
    ]
    for place in places:
        modified |= unpack("H", raw, place + 118, what="history")[0]
    return frames(
        patterns,
        by_stamps(*([text(raw, place + at, 16) for place in places] for at in (0, 16))),
        metadata={**metadata, "ranges_in_file": count},
        instrument="STOE",
        scan_axis=axis,
        modified=", ".join(told for bit, told in MODIFIED.items() if modified & 1 << bit),
    )


def _tube(raw: bytes) -> tuple[Radiation, dict[str, str | int | float]]:
    """Return the lines of the tube, and what the header says in words."""
    [anode] = unpack("h", raw, 310, what="anode")
    alpha1, alpha2 = map(decimal, unpack("ff", raw, 322, what="wavelengths"))
    metadata: dict[str, str | int | float] = {
        "program": text(raw, 8, 8),
        "date": text(raw, 16, 16),
        "title": text(raw, 32, 80),
        "comment": text(raw, 112, 192),
        "anode_code": anode,
        "k_alpha1": alpha1,
        "k_alpha2": alpha2,
    }
    return Radiation(anode=ANODES.get(anode, ""), alpha1=alpha1, alpha2=alpha2), metadata


def _pattern(raw: bytes, at: int, number: int, radiation: Radiation) -> Pattern:
    """Return the range whose header begins at a byte."""
    what = f"range {number}"
    if at < BLOCK:
        raise FormatError(f"{what}: block {at // BLOCK + 1}; expected one behind the header")
    [size] = unpack("H", raw, at + 34, what=what)
    [form] = unpack("h", raw, at + 38, what=what)
    factor, start, _, end, _, step, _, seconds = map(decimal, unpack("8f", raw, at + 40, what=what))
    lowest, highest = unpack("ii", raw, at + 120, what=what)
    if form not in WIDTHS:
        raise FormatError(f"{what}: numbers of form {form}; expected 0 (32 bits) or 1 (16 bits)")
    width = np.dtype(WIDTHS[form])
    if at + BLOCK + size * width.itemsize > len(raw):
        raise FormatError(f"{what}: {size} points end behind the {len(raw)} bytes of the file")
    two_theta = spread(start, step, size, what=what)
    if not abs(two_theta[-1] - end) <= HALF_STEP * abs(step):
        raise FormatError(f"{what}: {size} points from {start} by {step} do not end at {end}")
    counts = np.frombuffer(raw, width, size, at + BLOCK)
    if highest and (counts.min(), counts.max()) != (lowest, highest):
        raise FormatError(
            f"{what}: counts from {counts.min()} to {counts.max()}; its header says {lowest} to "
            f"{highest}"
        )
    scale = factor if np.isfinite(factor) and factor > 1 else 1.0
    return Pattern(
        number=number,
        two_theta=two_theta,
        intensity=counts / scale,
        counting_time=seconds if seconds > 0 else None,
        radiation=radiation,
    )


def sniff(head: bytes, name: str) -> bool:
    """Whether the file names its layout as STOE does, known or not."""
    return head.startswith((b"RAW_0.", b"RAW_1.", b"RAW_2."))


READER = Reader(
    technique="xrd",
    suffixes=(".raw",),
    sniff=sniff,
    read=read,
    description="STOE WinXPOW .raw, layout RAW_1.06",
)
