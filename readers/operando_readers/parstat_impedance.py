"""Impedance in tables exported for Princeton Applied Research Parstat potentiostats.

File structure: a row of names (Potential (V), Current (A), Elapsed Time (s), Frequency (Hz), Zre
(ohms), Zim (ohms), |Vac| (V), |Iac| (A)), then rows, separated by tabs and ended by one. Columns
are found by name. Rows with a frequency of 0 are the log of the cell (read as electrochemistry);
those with one are the points of a sweep, wherever in the file they stand, and there may be several
sweeps, one after another or with log between them.

Zim is the imaginary part itself: in the file seen, a 3.5 V cell, it is negative where Zre grows
towards low frequencies and positive only above 1 kHz, where the inductance of the leads is; turned
round it would break the Kramers-Kronig relations. Potential is the DC potential, held in all rows
of a sweep. Elapsed Time is stamped at the end of a point; a sweep begins with the row before its
first point. No date: times count from where the elapsed time does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._numbers import columns, ends_mid_line
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._sweeps import cartesian, find_starts, sweeps

Array = npt.NDArray[np.float64]

TIME, FREQUENCY, REAL, IMAGINARY = "Elapsed Time (s)", "Frequency (Hz)", "Zre (ohms)", "Zim (ohms)"
POTENTIAL = "Potential (V)"
HEAD_BYTES = 1 << 16
LONGEST_LIST = 500
"""Of the names in a message: a damaged line may hold millions."""


def sniff(head: bytes, name: str) -> bool:
    """Whether there is such a table with a frequency in it; one may follow a head full of log."""
    text = head.decode("latin-1")
    names = text.partition("\n")[0].rstrip("\r\t ").split("\t")
    if not {TIME, FREQUENCY, REAL, IMAGINARY} <= set(names):
        return False
    at = names.index(FREQUENCY)
    fields = (line.split("\t") for line in text.splitlines()[1:])
    measured = any(len(row) > at and row[at].strip() not in ("", "0") for row in fields)
    return measured or len(head) >= HEAD_BYTES


def read(file: File) -> xr.Dataset:
    """Read all sweeps of one file.

    Returns
    -------
    `impedance` (ohm), `point_time` (s) and, where the table has it, `potential` (V) on (time,
    frequency); `elapsed` (s) is the start of a sweep, `exposure` (s) how long it took.

    Raises
    ------
    FormatError
        Not such a file, no row with a frequency, or a row that is not numbers (names its line).
    """
    text = file.read_text()
    lines = text.split("\n")
    names = lines[0].rstrip().split("\t")
    if missing := {TIME, FREQUENCY, REAL, IMAGINARY} - set(names):
        raise FormatError(f"line 1: no column {sorted(missing)}; found {str(names)[:LONGEST_LIST]}")
    column, truncated = columns(lines[1:], names, first=2, mid_line=ends_mid_line(text))
    dataset = _dataset(column)
    dataset.attrs.update(
        instrument="Princeton Applied Research Parstat",
        clock=clock(start=None, zone=None, marks="start", source="none"),
        original_metadata={"header": lines[0]},
    )
    if truncated:
        dataset.attrs["truncated"] = truncated
    return dataset


def _dataset(column: dict[str, Array]) -> xr.Dataset:
    points = np.flatnonzero(column[FREQUENCY] != 0)
    if not points.size:
        raise FormatError(f"{FREQUENCY}: 0 in all rows; there is a log of the cell but no sweep")
    frequency, time = column[FREQUENCY][points], column[TIME]
    if not np.isfinite(time).all():
        raise FormatError(f"line {int(np.argmin(np.isfinite(time))) + 2}: {TIME} is not a number")
    cuts = np.flatnonzero(np.diff(points, prepend=-2) > 1)
    blocks = np.split(np.arange(points.size), cuts[1:])
    starts = np.concatenate([block[0] + find_starts(frequency[block]) for block in blocks])
    return sweeps(
        frequency,
        cartesian(column[REAL][points], column[IMAGINARY][points]),
        starts=starts,
        time=time[points],
        begins=time[np.maximum(points[starts] - 1, 0)],
        potential=column[POTENTIAL][points] if POTENTIAL in column else None,
    )


READER = Reader(
    technique="impedance",
    suffixes=(".txt",),
    sniff=sniff,
    read=read,
    description="Princeton Applied Research Parstat, impedance sweeps",
)
