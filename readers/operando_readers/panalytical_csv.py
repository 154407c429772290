"""PANalytical scans exported as text (.csv).

File structure: ``[Measurement conditions]``, lines of a name and its value separated by a comma,
``[Scan points]``, a line with the names of the columns, then rows: angle and intensity, and where
they are exported the counting time and the standard deviation.

Times: ``File date and time,20/May/2021 15:55`` is the start of the scan, local, without zone and
cut to the minute: the .xrdml of the same scan says 15:55:51. When it ended is not in the file.
"""

from __future__ import annotations

import csv
import re

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._gzip import first_bytes, unpacked
from operando_readers._numbers import columns, ends_mid_line
from operando_readers._patterns import Pattern, chosen, frames
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_times import by_offsets
from operando_readers._stamps import DateOrder
from operando_readers._text import text_of
from operando_readers._xml import number

Array = npt.NDArray[np.float64]

START = "[Measurement conditions]"
POINTS = "[Scan points]"
LONGEST_HEADER = 500
DATE = re.compile(r"(\d{1,2})/([^\W\d_]{3,9})/(\d{4})(.*)")


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read the one scan of a file.

    Parameters
    ----------
    date_order
        "mdy" or "dmy", where a date has no name of a month.

    Returns
    -------
    As `_patterns.frames`, one frame.

    Raises
    ------
    FormatError
        Not such a file, no angle or intensity among the columns, rows that are none, or as
        `frames`.
    """
    raw, ends_early = unpacked(file.read_bytes())
    text = text_of(raw)
    lines = text.split("\n")
    header, at = _header(lines)
    names = [name.strip() for name in lines[at + 1].split(",")] if at + 1 < len(lines) else []
    if not {"Angle", "Intensity"} <= set(names):
        raise FormatError(f"line {at + 2}: columns {names}; expected Angle and Intensity")
    chosen([header.get("Scan axis", "")], None)
    table, truncated = columns(
        lines[at + 2 :], names, first=at + 3, mid_line=ends_mid_line(text), delimiter=","
    )
    stated = number(header.get("No. of points")) or 0.0
    if table["Angle"].size < stated:
        truncated = f"{table['Angle'].size} of {stated:g} points"
    pattern = Pattern(
        number=1,
        two_theta=table["Angle"],
        intensity=table["Intensity"],
        sigma=table.get("ESD"),
        counting_time=table.get("TimePerStep", number(header.get("Time per step"))),
        radiation=Radiation(
            anode=header.get("Anode material", ""),
            alpha1=number(header.get("K-Alpha1 wavelength")),
            alpha2=number(header.get("K-Alpha2 wavelength")),
            ratio=number(header.get("Ratio K-Alpha2/K-Alpha1")),
        ),
        truncated=truncated or ends_early or "",
    )
    date = DATE.sub(r"\1-\2-\3\4", header.get("File date and time", ""))
    return frames(
        [pattern],
        by_offsets(date, [0.0], date_order=date_order),
        metadata=header,
        instrument="PANalytical",
        scan_axis=header.get("Scan axis", ""),
        scan_mode=header.get("Scan type", ""),
    )


def _header(lines: list[str]) -> tuple[dict[str, str], int]:
    """Return names and values above the points, and the index of the line that announces them."""
    if lines[0].strip() != START:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected {START}")
    for at, line in enumerate(lines[:LONGEST_HEADER]):
        if line.strip() == POINTS:
            try:
                pairs = [next(csv.reader([row]), []) for row in lines[1:at]]
            except csv.Error as error:
                raise FormatError(f"header above line {at + 1}: {error}") from error
            return {pair[0]: ",".join(pair[1:]).strip() for pair in pairs if pair}, at
    raise FormatError(f"line {min(len(lines), LONGEST_HEADER)}: no {POINTS}; cut short?")


def sniff(head: bytes, name: str) -> bool:
    """Whether the text begins with the conditions of a measurement."""
    return text_of(first_bytes(head, 4096)).startswith(START)


READER = Reader(
    technique="xrd",
    suffixes=(".csv",),
    sniff=sniff,
    read=read,
    description="PANalytical scan exported as .csv",
)
