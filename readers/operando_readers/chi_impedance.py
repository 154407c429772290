"""A.C. impedance exported as text by the software of CH Instruments potentiostats.

File structure: a date ("Feb. 20, 2020   15:55:08"), the technique ("A.C. Impedance"), lines
"Name: value" and "Name = value", a row of names (Freq/Hz, Z'/ohm, Z"/ohm, Z/ohm, Phase/deg), an
empty line, then rows separated by commas. Columns are found by name. Z" has the sign of the phase,
which is negative for a capacitive arc: the imaginary part itself.

The date belongs to the run, not to the file: runs that were never saved carry one. Whether it marks
the beginning or the end of the run is not documented anywhere we know of. It is given as the start;
where it matters, declare what it marks when reading, and how long a sweep took: the file holds no
time of the points.
"""

from __future__ import annotations

import xarray as xr

from operando_readers._numbers import columns, ends_mid_line
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import local_iso
from operando_readers._sweeps import cartesian, find_starts, sweeps

TECHNIQUE = "A.C. Impedance"
FREQUENCY, REAL, IMAGINARY = "Freq/Hz", "Z'/ohm", 'Z"/ohm'


def sniff(head: bytes, name: str) -> bool:
    """Whether the second line names the technique and a later one the columns."""
    lines = head.decode("latin-1").splitlines()
    named = len(lines) > 1 and lines[1].strip() == TECHNIQUE
    return named and any(line.startswith(FREQUENCY) for line in lines)


def read(file: File) -> xr.Dataset:
    """Read one file.

    Returns
    -------
    `impedance` (ohm) on (time, frequency), one row for each sweep. No exposure: the file does not
    say how long the sweep took.

    Raises
    ------
    FormatError
        Not such a file, a column missing, a date that is none, or a row that is not numbers (names
        its line).
    """
    text = file.read_text()
    lines = text.split("\n")
    at = next((row for row, line in enumerate(lines) if line.startswith(FREQUENCY)), None)
    if len(lines) < 2 or lines[1].strip() != TECHNIQUE or at is None:
        raise FormatError(f"{TECHNIQUE!r} or the row of names {FREQUENCY!r}: not found; cut short?")
    names = [name.strip() for name in lines[at].split(",")]
    if missing := {REAL, IMAGINARY} - set(names):
        raise FormatError(f"line {at + 1}: no column {sorted(missing)}; found {lines[at][:200]!r}")
    column, truncated = columns(
        lines[at + 1 :], names, first=at + 2, mid_line=ends_mid_line(text), delimiter=","
    )
    dataset = sweeps(
        column[FREQUENCY],
        cartesian(column[REAL], column[IMAGINARY]),
        starts=find_starts(column[FREQUENCY]),
    )
    dataset.attrs.update(
        instrument="CH Instruments",
        clock=_started(lines[0]),
        original_metadata={"header": "\n".join(lines[: at + 1])},
    )
    if truncated:
        dataset.attrs["truncated"] = truncated
    return dataset


def _started(line: str) -> dict[str, str | float | None]:
    """Return the clock; without a date in the first line there is no start."""
    if not line.strip():
        return clock(start=None, zone=None, marks="start", source="none")
    start = local_iso(line, what="line 1")
    return clock(start=start, zone=None, marks="start", source="header")


READER = Reader(
    technique="impedance",
    suffixes=(".txt", ".csv"),
    sniff=sniff,
    read=read,
    description="CH Instruments A.C. impedance, exported as text",
)
