"""Impedance exported as text by PowerSuite (Princeton Applied Research).

File structure: the names "Frequency", "Zre" and "Zimg", then rows, separated by tabs; lines end in
CR CR LF. Nothing else: no units (Hz and ohm in PowerSuite), no date, no time of the points.

Zimg is the imaginary part itself. The name does not say so, the data do: in the file seen it is
negative over the six decades in which Zre falls with the frequency, as the Kramers-Kronig relations
demand of a capacitive arc.
"""

from __future__ import annotations

import xarray as xr

from operando_readers._numbers import columns, ends_mid_line
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._sweeps import cartesian, find_starts, sweeps

NAMES = ["Frequency", "Zre", "Zimg"]


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line holds the three names."""
    return head[:200].decode("latin-1").split("\n")[0].split() == NAMES


def read(file: File) -> xr.Dataset:
    """Read all sweeps of one file.

    Returns
    -------
    `impedance` (ohm) on (time, frequency), one row for each sweep; neither start nor exposure.

    Raises
    ------
    FormatError
        Not such a file, or a row that is not three numbers (names its line).
    """
    text = file.read_text()
    lines = text.split("\n")
    if lines[0].split() != NAMES:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected {' '.join(NAMES)!r}")
    truncated = None
    if ends_mid_line(text) and len(lines) > 2:
        # The last column is the imaginary part: of a number that lost digits nothing would show.
        truncated = f"line {len(lines)}: cut short ({lines.pop()[:40]!r})"
    column, _ = columns(lines[1:], NAMES, first=2, mid_line=False)
    frequency, real, imaginary = (column[name] for name in NAMES)
    dataset = sweeps(frequency, cartesian(real, imaginary), starts=find_starts(frequency))
    dataset.attrs.update(
        instrument="Princeton Applied Research",
        clock=clock(start=None, zone=None, marks="start", source="none"),
        original_metadata={"header": lines[0].strip()},
    )
    if truncated:
        dataset.attrs["truncated"] = truncated
    return dataset


READER = Reader(
    technique="impedance",
    suffixes=(".txt",),
    sniff=sniff,
    read=read,
    description="PowerSuite impedance, exported as text",
)
