"""Energy scans of APS 13-BM and 13-ID (GSECARS) before they became XDI: text by the EPICS scan.

File structure: lines with ``;``: ``; Epics Scan 1 dimensional scan``, ``; scan prefix   = 13BMD:``,
PVs with their values, scan regions with ``;   E0 =       9659.00``, ``; scan began at time: Thu Apr
10 16:50:32 2008``, ``; scan ended at time: ...``, ``; n_points      =      469``, a legend
``; P1 = {Energy} --> 13BMA:E:Energy.VAL`` (P positioners, D detectors), a last line ``;  P1 P2 D1
D2``; then rows of numbers. Seen: one file, in transmission.

Clock: began and ended, local, without zone; their difference is the exposure.

Energy: what the monochromator was told (P1), in the unit of its PV, which is eV here.

Counters: ``{I0}``, ``{I1}`` or ``{It}``, ``{Iref}`` or ``{I2}``, ``{If}``; detectors under other
names (``{Zn Ka (mca1)}``) are for the user to name.

Uncertainty: none in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._named_scan import (
    NO_CLOCK,
    EnergyUnit,
    columns_of,
    counters,
    electronvolts,
    first_of,
    from_ctime,
    lasted,
    scan,
    started,
)
from operando_readers._numbers import ends_mid_line
from operando_readers._reader import File, FormatError, Reader
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]

FIRST = re.compile(r";\s*Epics Scan (\d+) dimensional scan", re.IGNORECASE)
LEGEND = re.compile(r"^;\s*([PD]\d+)\s*=\s*\{(.*)\}\s*-->", re.MULTILINE)
BEGAN = re.compile(r"^;\s*scan began at time:(.*)$", re.MULTILINE)
ENDED = re.compile(r"^;\s*scan ended at time:(.*)$", re.MULTILINE)
EDGE = re.compile(r"^;\s*E0\s*=\s*(\d{1,7}(?:\.\d*)?)\s*$", re.MULTILINE)
POINTS = re.compile(r"^;\s*n_points\s*=\s*(\d{1,7})\s*$", re.MULTILINE)
PREFIX = re.compile(r"^;\s*scan prefix\s*=\s*(\S+?):?\s*$", re.MULTILINE)


def read(
    file: File,
    *,
    i0: str | None = None,
    i1: str | None = None,
    iref: str | None = None,
    fluorescence: str | Sequence[str] | None = None,
    energy_unit: EnergyUnit | None = None,
) -> xr.Dataset:
    """Read one scan.

    Parameters
    ----------
    i0, i1, iref, fluorescence
        Columns, by what stands in braces in the legend; several for fluorescence are added. None
        takes the usual name, see above; "" leaves the counter out.
    energy_unit
        Of the axis, where neither its name nor E0 tells; eV otherwise.

    Returns
    -------
    `mu` and what else can be made of the counters, the counters and `dwell` (s), all
    (time 1, energy in eV); attrs `e0_ev`.

    Raises
    ------
    FormatError
        Not such a file, a map, a stamp that is no date, a scan of something else than energy, or no
        columns to make absorption of.
    """
    header, columns, truncated = _open(file)
    axis = first_of(columns, r"energy.*", r".*\benergy")
    if axis is None:
        raise FormatError(f"columns: {list(columns)}; no 'Energy', not a scan of energy")
    found = counters(
        columns,
        usual={
            "i0": first_of(columns, "i0"),
            "i1": first_of(columns, "i1", "it"),
            "iref": first_of(columns, "iref", "i2"),
            "fluorescence": first_of(columns, "if"),
        },
        asked={"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence},
        energy=axis,
    )
    dwell = first_of(columns, "scaler count time", ".*count time")
    e0, points, prefix = _number(EDGE, header), _number(POINTS, header), PREFIX.search(header)
    clock, exposure, doubts = _times(header)
    return scan(
        electronvolts(columns[axis], what=axis, unit=energy_unit, e0=e0),
        found,
        dwell=None if dwell is None else columns[dwell],
        exposure=exposure,
        clock=clock,
        instrument=f"APS GSECARS {prefix[1]}" if prefix else "APS GSECARS",
        header=header,
        points=None if points is None else int(points),
        truncated=truncated,
        doubts=doubts,
        e0_ev=e0,
    )


def _open(file: File) -> tuple[str, dict[str, Array], str | None]:
    """Return the header, the columns by name, and why the last row was left out."""
    text = file.read_text()
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines) if not line.startswith(";")), len(lines))
    header = "\n".join(lines[:at])
    names = _names(lines[:at], header)
    columns, truncated = columns_of(lines[at:], names, first=at + 1, mid_line=ends_mid_line(text))
    return header, columns, truncated


def _names(lines: Sequence[str], header: str) -> list[str]:
    """Return what the legend calls the columns, in their order."""
    first = FIRST.match(header)
    if first is None:
        raise FormatError(f"line 1: {header[:40]!r}; expected '; Epics Scan 1 dimensional scan'")
    if first[1] != "1":
        raise FormatError(f"line 1: a scan of {first[1]} dimensions; expected one, of energy")
    labels = {match[1]: match[2].strip() for match in LEGEND.finditer(header)}
    names = lines[-1].lstrip("; ").split()
    unknown = [name for name in names if name not in labels]
    if not names or unknown:
        raise FormatError(
            f"line {len(lines)}: {unknown[:5] or 'no names'}; expected those of the legend"
        )
    return [labels[name] for name in names]


def _number(pattern: re.Pattern[str], header: str) -> float | None:
    match = pattern.search(header)
    return float(match[1]) if match else None


def _times(header: str) -> tuple[dict[str, object], float | None, list[str]]:
    """Return the clock, the seconds between beginning and end, and what is doubtful there."""
    began, ended = BEGAN.search(header), ENDED.search(header)
    if began is None:
        return dict(NO_CLOCK), None, []
    clock = started(from_ctime(began[1], what="scan began"), what="scan began")
    if ended is None or not ended[1].strip():
        return clock, None, []
    end = started(from_ctime(ended[1], what="scan ended"), what="scan ended")
    return clock, *lasted(clock["start"], end["start"], what="scan ended")


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line is that of an EPICS scan of one dimension."""
    match = FIRST.match(text_of(head[:200]))
    return match is not None and match[1] == "1"


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="APS 13-BM, 13-ID (GSECARS) energy scans, text with a ';' header",
)
