"""Siemens and Bruker diffractometers, binary (.raw): versions 1, 2, 3 (RAW1.01) and 4 (RAW4.00).

File structure: see `_bruker_raw` and `_bruker_raw4`. One frame a range.

Times: version 1 has none. The others have one stamp of the file, a local time without zone: the
start of the measurement. Version 3 says how long after it each range starts; where the ranges of
another version are several they have no time, and the user must give it. The order of day and
month is that of the computer that measured: ``03/04/10`` is 4 March in a file of which Bruker's own
conversion to text says ``04-Mar-2010``, and could be 3 April in another. Where no number above 12
decides, the option `date_order` must. The exposure is known where the file says how long it took in
all and holds one range: steps times counting time is another thing with a line detector.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando_readers._bruker_raw import Contents, Range, version_1, version_2, version_3
from operando_readers._bruker_raw4 import version_4
from operando_readers._patterns import Pattern, chosen, frames
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_times import by_offsets
from operando_readers._stamps import DateOrder

VERSIONS = {b"RAW1.01": version_3, b"RAW4.00": version_4, b"RAW2": version_2, b"RAW ": version_1}


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(
    file: File, *, scans: str | None = None, date_order: DateOrder | None = None
) -> xr.Dataset:
    """Read the ranges over 2 theta of a file, one frame a range.

    Parameters
    ----------
    scans
        Numbers of ranges, from 1, such as "1-4": where a file holds ranges of several axes.
    date_order
        "mdy" or "dmy", for a date such as 03/04/10.

    Returns
    -------
    As `_patterns.frames`; intensities are the numbers of the file, counts in all versions.

    Raises
    ------
    FormatError
        Not such a file, a version that is not known, a date that could be two, damage, or as
        `frames`.
    """
    raw = file.read_bytes()
    contents = _contents(raw)
    numbered = chosen([found.axis for found in contents.ranges], scans)
    kept = [(at, contents.ranges[at - 1]) for at in numbered]
    patterns = [_pattern(at, found, contents.radiation) for at, found in kept]
    times = by_offsets(
        contents.date,
        [found.offset for _, found in kept],
        runtime=contents.runtime if len(contents.ranges) == 1 else None,
        date_order=date_order,
    )
    metadata = {
        "raw_version": contents.version,
        "date": contents.date,
        "ranges_in_file": len(contents.ranges),
        "skipped_scans": len(contents.ranges) - len(kept) if scans is None else 0,
        **contents.metadata,
    }
    behind = len(raw) - contents.end if raw[contents.end :].strip(b"\0") else 0
    return frames(
        patterns,
        times,
        metadata=metadata,
        instrument="Bruker",
        scan_axis=kept[0][1].axis,
        sample=contents.metadata.get("sample") or contents.metadata.get("SAMPLEID"),
        truncated=contents.truncated,
        doubts=f"{behind} bytes behind the last range are not understood" if behind else "",
    )


def _pattern(at: int, found: Range, radiation: Radiation) -> Pattern:
    return Pattern(
        number=at,
        two_theta=found.two_theta,
        intensity=found.intensity,
        counting_time=found.counting_time,
        radiation=radiation,
        told=found.told,
        truncated=found.truncated,
    )


def _contents(raw: bytes) -> Contents:
    for magic, version in VERSIONS.items():
        if raw.startswith(magic):
            return version(raw)
    raise FormatError(
        f"first bytes {raw[:8]!r}: not a version of Bruker's .raw that is known, which are "
        f"{', '.join(repr(magic.decode()) for magic in VERSIONS)}; export it as .xy, .uxd or .brml"
    )


def sniff(head: bytes, name: str) -> bool:
    """Whether the file begins as one of the versions does, or as one that is not known yet."""
    return head.startswith((b"RAW ", b"RAW1.", b"RAW2", b"RAW3.", b"RAW4.", b"RAW5."))


READER = Reader(
    technique="xrd",
    suffixes=(".raw",),
    sniff=sniff,
    read=read,
    description="Bruker and Siemens .raw, versions 1 to 4 (RAW, RAW2, RAW1.01, RAW4.00)",
)
