"""EXAFS scans of DESY, .fio: DORIS (HASYLAB) since 2001, PETRA III by Sardana.

File structure: ``!`` comments, ``%c`` free text, ``%p`` lines ``NAME = value``, ``%d`` with
`` Col 2 CU_0001_REF  FLOAT`` for each column, then rows. At DORIS every name begins with that of
the scan, which is left off here (``REF``), and two columns have it alone: the first is ``energy``
in eV, the second ``mu`` as the program computed it. ``REF`` is the absorption of the reference
foil. At PETRA III columns have names of their own, and which they are is up to the beamline.

Counters: ``C1``, ``C2``, ``C3`` are taken for I0, I1 and Iref where the file itself proves it: its
absorption is ln(C1/C2), and its reference ln(C2/C3). Otherwise they are left out, and attrs
``left_out`` says so. ``I0``, ``I1``, ``I2`` or ``Iref`` are taken by their names. Offsets are
subtracted already. ``HHENERGY``, where there is one, is the energy by the encoder: not used unless
`energy` says so.

Clock: ``EXAFS-Scan started at 28-Mar-2001 21:30:02``, at PETRA III ``Acquisition started at Tue Jul
13 11:36:13 2021``, local without zone. The end is only known at PETRA III (``! Acquisition ended
at``); else the exposure is the sum of ``SAMPLE_TIME``, the counting time of all points, without the
time the monochromator moved.

Uncertainty: none in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from operando_readers._absorption import log_ratio
from operando_readers._named_scan import (
    CTIME,
    NO_CLOCK,
    Array,
    Counters,
    EnergyUnit,
    Named,
    columns_of,
    counters,
    electronvolts,
    first_of,
    from_ctime,
    scan,
    started,
)
from operando_readers._numbers import ends_mid_line
from operando_readers._reader import File, FormatError, Reader
from operando_readers._stamps import moments

COLUMN = re.compile(r"\s*Col\s+\d{1,4}\s+(\S.*?)\s+(?:FLOAT|DOUBLE|INTEGER|LOGICAL|BOOLEAN)\s*")
STARTED = re.compile(r"(?:EXAFS-Scan|Acquisition) started at\s+(\S.*)")
ENDED = re.compile(r"Acquisition ended at\s+(\S.*)")
LAST_ENERGY = re.compile(r"Name:\s.*\sto\s+(\d{1,7}(?:\.\d*)?)")
PETRA = {"i0": ("i0",), "i1": ("i1",), "iref": ("i2", "iref"), "fluorescence": ("if", "fluo.*")}
DORIS = {"i0": "C1", "i1": "C2", "iref": "C3"}
SAME = 1e-3
"""Difference of an absorption from a logarithm, at the median, up to which it is that logarithm."""


class _File(NamedTuple):
    header: str
    columns: dict[str, Array]
    """By their names without that of the scan."""
    truncated: str | None
    comments: str
    """Also those below the rows."""


def read(
    file: File,
    *,
    energy: str | None = None,
    energy_unit: EnergyUnit | None = None,
    mu: str | None = None,
    i0: str | Sequence[str] | None = None,
    i1: str | Sequence[str] | None = None,
    iref: str | Sequence[str] | None = None,
    fluorescence: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Read one scan.

    Parameters
    ----------
    energy
        Column of the energy, by its name without that of the scan.
    energy_unit
        Of that column, where its name does not tell; eV otherwise.
    mu
        Column of the absorption; "" to make it of the counters.
    i0, i1, iref, fluorescence
        Columns; several of one counter are added. None takes the usual ones, see above; "" leaves
        the counter out.

    Returns
    -------
    `mu` (attrs mode = "file" where it is a column), `mu_reference`, the counters and `dwell` (s),
    as far as they are there, all (time 1, energy in eV).

    Raises
    ------
    FormatError
        Not such a file, no date or one that is none, no columns of energy or to make absorption of.
    """
    parts = _open(file)
    columns = parts.columns
    axis = _axis(columns, energy)
    made = _absorption(columns, mu)
    asked: dict[str, Named] = {"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence}
    found = _counters(columns, made, asked, axis)
    values = columns[axis]
    if not np.isfinite(values).all():
        raise FormatError(f"{axis}: not all of {values.size} are energies")
    clock, exposure = _times(parts)
    dwell = first_of(columns, "sample_time")
    return scan(
        electronvolts(values, what=axis, unit=energy_unit),
        found,
        dwell=None if dwell is None else columns[dwell],
        exposure=exposure,
        made=made,
        clock=clock,
        instrument="DESY",
        header=parts.header,
        truncated=parts.truncated or _short(parts, values),
    )


def _open(file: File) -> _File:
    """Take a file apart."""
    text = file.read_text()
    lines = text.split("\n")
    at = next((number for number, line in enumerate(lines) if line.startswith("%d")), None)
    if at is None:
        raise FormatError(f"line {len(lines)}: no '%d' so far; expected a .fio file of DESY")
    names = []
    for number in range(at + 1, len(lines)):
        match = COLUMN.fullmatch(lines[number])
        if match is not None:
            names.append(match[1])
        elif lines[number].strip() and not lines[number].startswith("!"):
            at = number
            break
    else:
        raise FormatError(f"line {len(lines)}: no rows below '%d'")
    rows = ["" if line.startswith("!") else line for line in lines[at:]]
    is_row = bool(rows[-1].strip())
    columns, truncated = columns_of(
        rows, _short_names(names), first=at + 1, mid_line=is_row and ends_mid_line(text)
    )
    below = [line for line in lines[at:] if line.startswith("!")]
    header = "\n".join(lines[:at])
    return _File(header, columns, truncated, "\n".join([header, *below]))


def _short_names(names: Sequence[str]) -> list[str]:
    """Take the name of the scan off the names of its columns."""
    scan = names[0] if names else ""
    if len(names) < 2 or not all(name == scan or name.startswith(f"{scan}_") for name in names):
        return list(names)
    bare = iter(("energy", "mu"))
    return [name[len(scan) + 1 :] or next(bare, scan) for name in names]


def _axis(columns: Mapping[str, Array], asked: str | None) -> str:
    axis = first_of(columns, "energy", "energy.*") if asked is None else asked
    if axis is None or axis not in columns:
        raise FormatError(f"columns: {list(columns)}; none is {asked or 'energy'!r}, pass energy=")
    return axis


def _absorption(columns: Mapping[str, Array], asked: str | None) -> dict[str, Array]:
    """Return the columns that are absorption already."""
    name = "mu" if asked is None else asked
    if asked and asked not in columns:
        raise FormatError(f"mu=: {asked!r} is no column; there are {list(columns)}")
    made = {"mu": name, "mu_reference": "REF"}
    return {role: columns[name] for role, name in made.items() if name in columns}


def _counters(
    columns: Mapping[str, Array], made: Mapping[str, Array], asked: Mapping[str, Named], axis: str
) -> Counters:
    """Return the counters; a file that has absorption may have none."""
    usual: dict[str, Named] = {role: first_of(columns, *names) for role, names in PETRA.items()}
    proven, left_out = _proven(columns)
    try:
        return counters(
            columns, usual={**usual, **proven}, asked=asked, energy=axis, remarks=left_out
        )
    except FormatError:
        if "mu" not in made or any(wish is not None for wish in asked.values()):
            raise
        return Counters({}, {}, left_out)


def _proven(columns: Mapping[str, Array]) -> tuple[dict[str, Named], list[str]]:
    """Return the chambers of DORIS that the absorption of the file is made of."""
    proven: dict[str, Named] = {}
    left_out = []
    for name, role, above, below in (("mu", "i0", "i0", "i1"), ("REF", "i1", "i1", "iref")):
        pair = DORIS[above], DORIS[below]
        if name not in columns or not set(pair) <= set(columns):
            continue
        apart = np.abs(columns[name] - log_ratio(columns[pair[0]], columns[pair[1]]))
        if np.isfinite(apart).any() and np.nanmedian(apart) <= SAME:
            proven.update({role: pair[0], below: pair[1]})
        else:
            left_out.append(f"{pair[0]}, {pair[1]}: {name} is not ln({pair[0]}/{pair[1]})")
    return proven, left_out


def _times(parts: _File) -> tuple[dict[str, Any], float | None]:
    """Return the clock, and the seconds to the end where that is known."""
    began, ended = (pattern.search(parts.comments) for pattern in (STARTED, ENDED))
    if began is None:
        return NO_CLOCK, None
    clock = started(_plain(began[1]), what="started at")
    if ended is None:
        return clock, None
    stamps = moments([_plain(began[1]), _plain(ended[1])], what="ended at").values
    seconds = float((stamps[1] - stamps[0]) / np.timedelta64(1, "s"))
    if not seconds >= 0:
        raise FormatError(f"ended at: {ended[1].strip()!r}, before {began[1].strip()!r}")
    return clock, seconds


def _plain(stamp: str) -> str:
    """Put the stamps of Sardana into the order of other dates."""
    stamp = stamp.strip()[:60]
    return from_ctime(stamp, what="started at") if CTIME.fullmatch(stamp) else stamp


def _short(parts: _File, energy: Array) -> str | None:
    """Say where a scan ended before the energy it was to reach."""
    planned = LAST_ENERGY.search(parts.comments)
    if planned is None or energy.size < 2:
        return None
    missing = float(planned[1]) - float(np.max(energy))
    if missing <= 1.5 * float(np.max(np.abs(np.diff(energy)))):
        return None
    return f"ends at {np.max(energy):g} of {planned[1]} eV"


def sniff(head: bytes, name: str) -> bool:
    """Whether there are the sections of .fio, and a scan of energy."""
    sections = re.search(rb"^%c", head, re.MULTILINE) and re.search(rb"^%d", head, re.MULTILINE)
    return bool(sections) and (
        b"EXAFS-Scan" in head
        or re.search(rb"^ Col +\d+ +\S*energy", head, re.MULTILINE | re.IGNORECASE) is not None
    )


READER = Reader(
    technique="xas",
    suffixes=(".fio",),
    sniff=sniff,
    read=read,
    description="DESY EXAFS scan, .fio of DORIS and PETRA III",
)
