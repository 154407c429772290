"""Diffraction patterns as plain columns: .xye, .xy, .dat and .chi, one pattern a file.

File structure: free text or lines marked ``#``, ``!``, ``;``, ``*``, ``/`` or ``'``, then rows of
position, intensity and, in a third column, the standard deviation of the intensity. Columns are
separated by white space, comma or semicolon; the decimal mark is a point, or a comma where commas
do not separate. A file may be packed (``.xye.bz2``, ``.xye.gz``). What headers tell, and in which
dialect:

* ALBA MSPD (mythproc): date and dwell (``# Date = 2025-09-23_17:48:41 Dt = 4.8000``, local, start
  of the exposure), ``# Wave =`` in angstrom, ``<imon> =`` the monitor, ``IsPos = [...]`` one entry
  for every detector position that was summed, and a line with the number of rows;
* Fit2D (.chi): the label of the axis and the number of rows;
* pyFAI: ``# Wavelength: 6.907e-11 m`` and column labels such as ``2th_deg`` or ``q_nm^-1``;
* any: an ISO date alone in a comment, or after ``date``, ``time``, ``start`` or ``start time``;
  it is taken for the start of the exposure. Its offset, if it has one, is the zone.

A position is 2 theta in degrees unless a label or the option `axis` says q. A q without a unit is
in 1/angstrom, as diffpy writes it. Other axes (d-spacing, time of flight, energy) are refused.

Most such files have no time at all: then the clock has no start, and a log must give it.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._diffraction import check_fit
from operando_readers._gzip import is_packed, unpacked
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]
Axis = Literal["two_theta", "q"]

SUFFIXES = (".xye", ".xy", ".dat", ".chi")
PACKED = tuple(f"{suffix}{packer}" for suffix in SUFFIXES for packer in (".bz2", ".gz"))
MARKS = ("#", "!", ";", "*", "/", "'")
FOREIGN = re.compile(r"^\s*(#\s*XDI/|#[SFL] |BANK |_FILEVERSION|XYDATA)|extranormal", re.MULTILINE)
"""Headers of other column formats: XDI, SPEC, GSAS, UXD, FullProf, ROCK."""
FOREIGN_LABEL = re.compile(r"energy|\beV\b|raman|wavenumber", re.IGNORECASE)
"""Labels of axes that are not those of a diffraction pattern."""

FACT = re.compile(r"[:=]\s*[-+.\d]")
"""Tells a line such as ``Energy: 17.9 keV`` from the names of columns."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d*|,\d+)?|\.\d+)(?:[eE][+-]?\d+)?|nan|[+-]?inf"
_POINT = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|nan|[+-]?inf"
ROWS = {
    ";": re.compile(rf"\s*(?:{_NUMBER})(?:\s*;\s*(?:{_NUMBER})){{1,}}\s*", re.IGNORECASE),
    None: re.compile(rf"\s*(?:{_NUMBER})(?:\s+(?:{_NUMBER})){{1,}}\s*", re.IGNORECASE),
    ",": re.compile(rf"\s*(?:{_POINT})(?:\s*,\s*(?:{_POINT})){{1,}}\s*", re.IGNORECASE),
}
MSPD = re.compile(r"Date = (\d{4}-\d\d-\d\d)_(\d\d:\d\d:\d\d(?:\.\d+)?)\s+Dt = ([\d.]+)")
POSITIONS = re.compile(r"IsPos = \[([^\]]*)\]")
MONITOR = re.compile(r"<imon> = ([\d.eE+-]+)")
WAVE = re.compile(r"^#\s*Wave = ([\d.]+)", re.MULTILINE)
WAVELENGTH = re.compile(r"\bWavelength\s*[:=]\s*([\d.eE+-]+)\s*(m|nm|A|Angstrom)\b")
TO_ANGSTROM = {"m": 1e10, "nm": 10.0, "A": 1.0, "Angstrom": 1.0}
STAMP = re.compile(
    r"^\s*[#!;*/']+\s*(?:(?:date|time|start|start[ _]time|time[ _]start)\s*[:=]\s*)?"
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?)\s*(Z|[+-]\d\d:\d\d)?\s*$",
    re.MULTILINE | re.IGNORECASE,
)
PER_NANOMETRE = re.compile(r"\bq\b(?:.space)?\W{0,3}(?:1/)?(?:nm|inverse n)", re.IGNORECASE)
IS_Q = re.compile(r"(?:^|[\s_#])q(?:[\s_(\[,;/-]|$)", re.IGNORECASE)
IS_RADIAN = re.compile(r"2th_rad|\(rad", re.IGNORECASE)


def read(file: File, *, axis: Axis | None = None) -> xr.Dataset:
    """Read one pattern.

    Parameters
    ----------
    axis
        What the first column is, where the header does not say or says it wrong; None takes the
        header's word, and 2 theta where it is silent.

    Returns
    -------
    `intensity` (time 1, two_theta or q) in counts, `intensity_sigma` where there is a third
    column. Rows at the end whose intensity and deviation are both zero were not measured: NaN.

    Raises
    ------
    FormatError
        Not rows of two or three numbers, or a first column that does not ascend or descend
        throughout, lies outside -180 to 180 degree as 2 theta, or is called d, time of flight or
        energy; names the line or value. Damaged bzip2 or gzip.
    """
    raw, cut = unpacked(file.read_bytes())
    text = text_of(raw)
    lines = text.splitlines()
    at, delimiter = _first_row(lines)
    header = "\n".join(line.strip() for line in lines[:at])
    table, truncated = _table(lines, at, delimiter=delimiter, mid_line=ends_mid_line(text))
    name, factor = _axis(lines[:at], axis)
    position, columns = _ascending(table[:, 0] * factor, table[:, 1:], name=name)
    dataset = _dataset(name, position, columns)
    dataset.attrs = {"technique": "xrd", **_facts(header), "original_metadata": {"header": header}}
    if (exposure := _exposure(header)) is not None:
        dataset = dataset.assign_coords(exposure=("time", [exposure], {"units": "s"}))
    if truncated := (cut or truncated or _missing_rows(lines[:at], len(table))):
        dataset.attrs["truncated"] = truncated
    return dataset


def _first_row(lines: list[str]) -> tuple[int, str | None]:
    """Return the index of the first row of numbers, and what separates its columns."""
    for at, line in enumerate(lines):
        for delimiter, pattern in ROWS.items():
            if pattern.fullmatch(line):
                columns = len(line.split(delimiter))
                if columns > 3:
                    raise FormatError(f"line {at + 1}: {columns} columns; expected 2 or 3")
                return at, delimiter
    found = next((line.strip()[:40] for line in lines if line.strip()), "")
    raise FormatError(f"line 1: {found!r}; no row of two or three numbers in the file")


def _table(
    lines: list[str], at: int, *, delimiter: str | None, mid_line: bool
) -> tuple[Array, str | None]:
    block = "\n".join(lines[at:])
    if delimiter != "," and "," in block:
        block = block.replace(",", ".")
    body = block.split("\n")
    if any(mark in block for mark in MARKS if mark != delimiter):
        # Blanked rather than removed: line numbers in messages stay true.
        body = ["" if line.lstrip().startswith(MARKS) else line for line in body]
    return rows(body, first=at + 1, mid_line=mid_line, delimiter=delimiter)


def _axis(header: list[str], axis: Axis | None) -> tuple[Axis, float]:
    """Return what the first column is, and the factor to degree or 1/angstrom."""
    labels = _labels(header)
    if axis is None and not FACT.search(last := labels.rpartition("\n")[2]):
        check_fit(last.strip(" #!;*/'\t"), what="column names")
    per_nanometre = bool(PER_NANOMETRE.search(labels.replace("_", " ")))
    name: Axis = axis or ("q" if per_nanometre or IS_Q.search(labels) else "two_theta")
    if name == "q":
        return name, 0.1 if per_nanometre else 1.0
    return name, float(np.degrees(1.0)) if IS_RADIAN.search(labels) else 1.0


def _labels(header: list[str]) -> str:
    """Return the lines just above the numbers; a lone q further up may be anything."""
    written = [line for line in header if line.strip(" #!;*/'\t")]
    return "\n".join(written[-3:])


def _ascending(position: Array, columns: Array, *, name: str) -> tuple[Array, Array]:
    if not np.isfinite(position).all():
        at = int(np.flatnonzero(~np.isfinite(position))[0])
        raise FormatError(f"row {at + 1}: {name} is {position[at]}; expected a number")
    if position.size > 1 and position[0] > position[-1]:
        position, columns = position[::-1], columns[::-1]
    if np.any(np.diff(position) <= 0):
        at = int(np.flatnonzero(np.diff(position) <= 0)[0])
        raise FormatError(
            f"{name}: {position[at]:g} is followed by {position[at + 1]:g}; expected one pattern "
            "whose positions ascend or descend throughout"
        )
    if name == "two_theta" and (position[0] < -180 or position[-1] > 180):
        raise FormatError(
            f"two_theta: {position[0]:g} to {position[-1]:g}; expected degrees within -180 to 180, "
            "or axis='q'"
        )
    return position, columns


def _dataset(name: Axis, position: Array, columns: Array) -> xr.Dataset:
    columns = columns.copy()
    units = {"two_theta": "degree", "q": "1/angstrom"}[name]
    variables = {"intensity": (("time", name), columns[None, :, 0], {"units": "count"})}
    if columns.shape[1] == 2:
        measured = np.flatnonzero((columns != 0).any(axis=1))
        columns[measured[-1] + 1 if measured.size else 0 :] = np.nan
        variables["intensity"][2]["ancillary_variables"] = "intensity_sigma"
        variables["intensity_sigma"] = (
            ("time", name),
            columns[None, :, 1],
            {"units": "count", "long_name": "standard deviation of the intensity"},
        )
    return xr.Dataset(
        variables,
        {name: (name, position, {"units": units}), "elapsed": ("time", [0.0], {"units": "s"})},
    )


def _facts(header: str) -> dict[str, object]:
    facts: dict[str, object] = {"clock": _clock(header)}
    if match := WAVE.search(header):
        facts["wavelength_angstrom"] = float(match[1])
    elif match := WAVELENGTH.search(header):
        facts["wavelength_angstrom"] = float(match[1]) * TO_ANGSTROM[match[2]]
    if match := MONITOR.search(header):
        facts["monitor"] = float(match[1])
    return facts


def _clock(header: str) -> dict[str, str | float | None]:
    if match := MSPD.search(header):
        return clock(start=f"{match[1]}T{match[2]}", zone=None, marks="start", source="header")
    if match := STAMP.search(header):
        zone = "UTC" if match[3] in ("Z", "z") else match[3]
        return clock(start=f"{match[1]}T{match[2]}", zone=zone, marks="start", source="header")
    return clock(start=None, zone=None, marks="start", source="none")


def _exposure(header: str) -> float | None:
    """Return the live time: MSPD gives the dwell at one detector position, and sums positions."""
    if not (match := MSPD.search(header)):
        return None
    positions = POSITIONS.search(header)
    return float(match[3]) * (len(positions[1].split(",")) if positions else 1)


def _missing_rows(header: list[str], found: int) -> str | None:
    """Compare with the number of rows that MSPD and Fit2D write above the first."""
    announced = header[-1].strip("# \t") if header else ""
    if announced.isdigit() and found < int(announced):
        return f"{found} of {announced} rows"
    return None


def sniff(head: bytes, name: str) -> bool:
    """Whether the name has one of our suffixes and the text is two or three columns of angles."""
    name = name.lower()
    if is_packed(head):
        # The first block of bzip2 is longer than the head: its name is all there is to see.
        return name.endswith(PACKED)
    if not name.endswith(SUFFIXES) or b"\0" in head:
        return False
    lines = head.decode("latin-1").splitlines()[:300]
    try:
        at, delimiter = _first_row(lines)
        table, _ = _table(lines[: at + 10], at, delimiter=delimiter, mid_line=True)
        axis, _ = _axis(lines[:at], None)
        _ascending(table[:, 0], table[:, 1:], name=axis)
    except FormatError:
        return False
    return not (FOREIGN.search("\n".join(lines[:at])) or FOREIGN_LABEL.search(_labels(lines[:at])))


READER = Reader(
    technique="xrd",
    suffixes=SUFFIXES,
    sniff=sniff,
    read=read,
    description="diffraction pattern as text columns: angle or q, intensity, standard deviation",
)
