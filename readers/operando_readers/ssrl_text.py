"""Scans of SSRL, text by the (Micro)EXAFS Data Collector.

File structure: ``SSRL   EXAFS Data Collector 1.3`` (or ``MicroEXAFS Data Collector 1.0``), the
date, ``PTS: 455 COLS: 6``, detector and region files, two lines of the beamline, six of comment, a
blank one; ``Weights:`` and ``Offsets:``, each above a line with a number for every column (in
MicroEXAFS for every counter); ``Data:``, one name a line, a blank line; then rows of numbers. The
collector writes a binary variant too (``SSRL - EXAFS Data Collector``), which is not read.

Clock: the date, without zone. It marks the start: the header is written before the data, as
aborted sweeps show, which promise more points than they hold. Repeats of one sample may all carry
the date of the first (those in the XAS Data Library do): then a log must give the times.

Offsets are the dark readings in counts per second, and are subtracted already: in the real file
reading + offset times real time clock is an integer, as counts are, for every row of a full
second. They are kept in the header, never used. Weights other than 1 are told in attrs
`doubts` and not applied.

Counters: ``I0``, ``I1``, ``I2`` (behind the reference foil). Fluorescence is the sum of the first
window of all elements (``SCA1.1`` .. or ``SCA1_1`` ..), as they counted: not corrected for dead
time, for which ``ICR.n`` would be needed; else ``Lytle``, ``LYTLE`` or ``If``. Bad elements are
left out by naming the good ones.

Energy: ``Achieved Energy``, else ``Requested Energy``, in eV. The real time clock is the dwell in
s; the exposure is its sum.

Uncertainty: none in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._named_scan import (
    EnergyUnit,
    columns_of,
    counters,
    electronvolts,
    first_of,
    from_ctime,
    scan,
    started,
)
from operando_readers._numbers import ends_mid_line, is_number
from operando_readers._reader import File, FormatError, Reader
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]

FIRST = re.compile(r"\s*SSRL\s+(?:Micro)?EXAFS Data Collector\b")
SIZE = re.compile(r"PTS:\s*(\d{1,6})\s+COLS:\s*(\d{1,4})\s*")
ELEMENT = re.compile(r"SCA1[._]\d+", re.IGNORECASE)
COMMENTS = slice(7, 13)


def read(
    file: File,
    *,
    i0: str | None = None,
    i1: str | None = None,
    iref: str | None = None,
    fluorescence: str | Sequence[str] | None = None,
    energy_unit: EnergyUnit | None = None,
) -> xr.Dataset:
    """Read one sweep.

    Parameters
    ----------
    i0, i1, iref, fluorescence
        Columns, by their names; several for fluorescence are added. None takes the usual ones, see
        above; "" leaves the counter out.
    energy_unit
        Of the axis, where its name does not tell; eV otherwise.

    Returns
    -------
    `mu` and what else can be made of the counters, the counters and `dwell` (s), all
    (time 1, energy in eV).

    Raises
    ------
    FormatError
        Not such a file, the binary variant, a date that is none, or no columns of energy or to make
        absorption of.
    """
    lines, columns, truncated = _open(file)
    doubts = _weights(lines, columns)
    axis = first_of(columns, "achieved energy", "requested energy")
    if axis is None:
        raise FormatError(f"columns: {list(columns)}; no 'Achieved Energy' or 'Requested Energy'")
    elements = [name for name in columns if ELEMENT.fullmatch(name)]
    found = counters(
        columns,
        usual={
            "i0": first_of(columns, "i0"),
            "i1": first_of(columns, "i1"),
            "iref": first_of(columns, "i2"),
            "fluorescence": elements or first_of(columns, "lytle", "if"),
        },
        asked={"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence},
        energy=axis,
    )
    dwell = first_of(columns, "real time clock")
    return scan(
        electronvolts(columns[axis], what=axis, unit=energy_unit),
        found,
        dwell=None if dwell is None else columns[dwell],
        clock=started(from_ctime(lines[1], what="line 2"), what="line 2"),
        instrument="SSRL",
        header="\n".join(lines),
        points=_size(lines)[0],
        truncated=truncated,
        doubts=doubts,
    )


def _open(file: File) -> tuple[list[str], dict[str, Array], str | None]:
    """Return the lines of the header, the columns by name, and why the last row was left out."""
    text = file.read_text()
    lines = text.split("\n")
    _, count = _size(lines)
    at = _after(lines, "Data:")
    names = [line.strip() for line in lines[at : at + count]]
    if len(names) < count or not all(names):
        raise FormatError(f"line {at + 1}: {len(names)} lines; expected {count} names of columns")
    columns, truncated = columns_of(
        lines[at + count :], names, first=at + count + 1, mid_line=ends_mid_line(text)
    )
    return [line.rstrip() for line in lines[: at + count]], columns, truncated


def _size(lines: Sequence[str]) -> tuple[int, int]:
    """Return the promised number of points and of columns."""
    if FIRST.match(lines[0]) is None or any("\x00" in line for line in lines[:20]):
        raise FormatError(
            f"line 1: {lines[0][:40]!r}; expected 'SSRL   EXAFS Data Collector' and text; the "
            "collector's binary files must be exported as ASCII"
        )
    match = SIZE.fullmatch(lines[2].strip()) if len(lines) > 2 else None
    if match is None:
        raise FormatError(f"line 3: {''.join(lines[2:3])[:40]!r}; expected 'PTS: n COLS: n'")
    return int(match[1]), int(match[2])


def _after(lines: Sequence[str], mark: str) -> int:
    """Return the index of the line behind a line that is `mark`, below the comments."""
    for at, line in enumerate(lines[COMMENTS.stop :], COMMENTS.stop):
        if line.strip() == mark:
            return at + 1
    raise FormatError(f"header: no line {mark!r} below the comments")


def _weights(lines: Sequence[str], columns: Mapping[str, Array]) -> list[str]:
    """Say which columns the collector gave a weight."""
    names = list(columns)
    at = _after(lines, "Weights:")
    line = "".join(lines[at : at + 1])
    fields = line.split()
    if len(fields) > len(names) or not all(is_number(field) for field in fields):
        raise FormatError(f"line {at + 1}: {line[:40]!r}; expected a weight for every column")
    of_columns = zip(names[len(names) - len(fields) :], fields, strict=True)
    weighted = {name: field for name, field in of_columns if float(field) != 1.0}
    return [f"weights {weighted} are not applied"] if weighted else []


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line is that of the collector, in a text file."""
    return b"\x00" not in head[:400] and FIRST.match(text_of(head[:400])) is not None


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="SSRL EXAFS and MicroEXAFS Data Collector, text",
)
