"""Scans in the 9809 format of Japan: KEK Photon Factory, SPring-8, Aichi SR, SAGA-LS.

File structure: ``9809     KEK-PF   BL9A``; sample and ``22.05.11 17:26 - 22.05.11 18:33``
(year.month.day); a comment; ring; ``Mono :   Si(111)       D=  3.13551 A    Initial angle= ...``;
``BL9A  Fluorescence( 3)   Repetition=  1     Points= 1426``; a table of blocks; ``Ortec(-1)
NDCH = 3``; ``Angle(c)  Angle(o)    time/s         2         3``; below it ``Mode`` and ``Offset``;
then rows of numbers, in old files ending in the DOS end of file (1A). It is defined by a FORTRAN
program of 1998; Aichi's XafsM2 publishes what it writes.

Clock: begin and end to the minute, Japan's time, the zone is not in the file. The exposure is
their difference, or the sum of the dwells where that is longer (a scan within one minute).

Energy = hc / (2 D sin angle), hc = 12398.42 eV angstrom. The collector itself computes with
12398.52: its energies, those of the block table, are higher by 8e-6 of their value (0.06 eV at
7 keV). The angle is the observed one, Angle(o), unless the option says commanded, Angle(c). The two
may part: by 0.011 degree (17 eV) at the end of PFBL12C_2005, where the edge of mercury (12284 eV)
is at 12279 eV by the one and at 12287 eV by the other. Attrs `angles_differ_ev` tells; from 1 eV
on it is a doubt.

Counters are told by ``Mode``: 1 = I0, 2 = transmitted, 3 = fluorescence (added, up to 19 elements),
4 = electron yield, 5 = other, 103 = input count rate of an element, 101 = resets of its amplifier.
Modes from 4 on are left out. The first of several transmitted counters is `i1`. ``Offset`` is the
dark reading in counts per second and is not subtracted in the file: here it is, times the dwell
(PF9A_2022 joins its blocks of 1 s and 2 s within 5e-6 of I0 so, and jumps by 2e-3 when it is
subtracted once). Elements are not corrected for dead time.

A counter is named by its heading (the channel of the scaler), and where headings repeat by heading
and mode, "3/103".

Uncertainty: none in the file; what is counted is counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import energy_of_angle
from operando_readers._named_scan import (
    NO_CLOCK,
    believable,
    counters,
    lasted,
    named,
    scan,
    started,
)
from operando_readers._numbers import ends_mid_line, is_number, rows
from operando_readers._reader import File, FormatError, Reader
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]
Angle = Literal["observed", "commanded"]

FIRST = re.compile(r"\s*9809\s+(\S+)\s+(\S+)")
HEADING = re.compile(r"\s*Angle\(c\)\s+Angle\(o\)\s+time/s\s", re.IGNORECASE)
ANGLES = {"commanded": 0, "observed": 1}
DWELL = 2
SPAN = re.compile(
    r"(\d\d)\.(\d\d)\.(\d\d)\s+(\d\d:\d\d)\s*-\s*(?:(\d\d)\.(\d\d)\.(\d\d)\s+(\d\d:\d\d))?"
)
SPACING = re.compile(r"\bD\s*=\s*(\d+(?:\.\d*)?)\s*A\b")
POINTS = re.compile(r"\bPoints\s*=\s*(\d{1,7})")
PARTED_EV = 1.0
"""Angles that differ by more make two spectra; where all is well it is 0.1 eV."""
WIDTH = 10
"""Characters of a field, where large offsets leave no blank between."""
OLDEST = 90
"""Two digits of a year from here on are of the last century; the format is of 1998."""
I0, TRANSMITTED, FLUORESCENCE = 1, 2, 3


class _Header(NamedTuple):
    text: str
    names: list[str]
    """Of the counters, as their modes and offsets."""
    modes: list[int]
    offsets: Array


def read(
    file: File,
    *,
    angle: Angle = "observed",
    i0: str | None = None,
    i1: str | None = None,
    iref: str | None = None,
    fluorescence: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Read one scan.

    Parameters
    ----------
    angle
        Which angle the energy is made of.
    i0, i1, iref, fluorescence
        Counters, by their names, see above; several for fluorescence are added. None takes what
        ``Mode`` says, and no `iref`; "" leaves the counter out.

    Returns
    -------
    `mu`, `mu_fluorescence`, `mu_reference` as far as they can be made, the counters less their
    offsets and `dwell` (s), all (time 1, energy in eV); attrs `mono_d_angstrom`,
    `angles_differ_ev`.

    Raises
    ------
    FormatError
        Not such a file, a span that is no two dates in order, no lattice spacing, an angle that
        reflects nothing, or no counters to make absorption of.
    """
    about, table, truncated = _open(file)
    dwell = table[:, DWELL]
    readings = table[:, DWELL + 1 :] - about.offsets * dwell[:, None]
    columns = named(about.names, readings)
    header = about.text
    spacing = _spacing(header)
    energies = {name: _energy(table[:, column], spacing) for name, column in ANGLES.items()}
    clock, span, doubts = _times(header.split("\n", 2)[1])
    points = POINTS.search(header)
    parted = float(np.max(np.abs(energies["observed"] - energies["commanded"])))
    if parted > PARTED_EV:
        told = f"observed and commanded part by up to {parted:.1f} eV; angle= says which"
        doubts.append(f"angles: {told}")
    return scan(
        energies[angle],
        counters(
            columns,
            usual=_usual(list(columns), about.modes),
            asked={"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence},
        ),
        dwell=dwell,
        exposure=None if span is None else max(span, float(np.nansum(dwell))),
        clock=clock,
        instrument=" ".join(header.split()[1:3]),
        header=header,
        points=int(points[1]) if points else None,
        truncated=truncated,
        doubts=doubts,
        mono_d_angstrom=spacing,
        angles_differ_ev=parted,
    )


def _open(file: File) -> tuple[_Header, Array, str | None]:
    """Return the header, the rows, and why the last one was left out."""
    text = file.read_text().replace("\x1a", "")
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines[:200]) if HEADING.match(line)), 0)
    if FIRST.match(lines[0]) is None or at == 0:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected '9809' and below it 'Angle(c)'")
    header = _header(lines, at)
    table, truncated = rows(lines[at + 3 :], first=at + 4, mid_line=ends_mid_line(text))
    columns = DWELL + 1 + len(header.names)
    if table.shape[1] != columns:
        raise FormatError(f"line {at + 4}: {table.shape[1]} columns under {columns} names")
    return header, believable(table), truncated


def _header(lines: Sequence[str], at: int) -> _Header:
    """Return what the header says of the counters, in three lines below one another."""
    headings = lines[at].split()
    modes = _fields(lines, at + 1, "Mode", len(headings))
    offsets = _fields(lines, at + 2, "Offset", len(headings))
    whole = [int(mode) for mode in modes if mode == int(mode)]
    if len(whole) < len(modes):
        raise FormatError(f"line {at + 2}: {lines[at + 1].strip()[:40]!r}; expected codes of modes")
    counted = headings[DWELL + 1 :]
    names = [
        f"{heading}/{mode}" if counted.count(heading) > 1 else heading
        for heading, mode in zip(counted, whole[DWELL:], strict=True)
    ]
    text = "\n".join(line.rstrip() for line in lines[: at + 3])
    return _Header(text, names, whole[DWELL:], np.array(offsets[DWELL:]))


def _fields(lines: Sequence[str], at: int, label: str, columns: int) -> list[float]:
    """Return the numbers of a line whose label stands in the first column."""
    line = lines[at].rstrip() if at < len(lines) else ""
    fields = line.split()[1:]
    if len(fields) != columns - 1:
        fields = [line[n * WIDTH : (n + 1) * WIDTH].strip() for n in range(1, columns)]
    if not line.strip().startswith(label) or not all(
        is_number(field) and abs(float(field)) < np.inf for field in fields
    ):
        raise FormatError(
            f"line {at + 1}: {line.strip()[:40]!r}; expected {label!r} and {columns - 1} numbers"
        )
    return [float(field) for field in fields]


def _usual(names: Sequence[str], modes: Sequence[int]) -> dict[str, Any]:
    def of(wanted: int) -> list[str]:
        return [name for name, mode in zip(names, modes, strict=True) if mode == wanted]

    return {"i0": of(I0)[:1], "i1": of(TRANSMITTED)[:1], "fluorescence": of(FLUORESCENCE)}


def _spacing(header: str) -> float:
    match = SPACING.search(header)
    if match is None or not float(match[1]) > 0:
        raise FormatError("header: no lattice spacing; expected 'Mono : Si(111) D=  3.13551 A'")
    return float(match[1])


def _energy(degree: Array, spacing: float) -> Array:
    if not np.all((degree > 0) & (degree < 90)):
        raise FormatError(
            f"angle: {np.min(degree):g} to {np.max(degree):g} degree; expected between 0 and 90"
        )
    return energy_of_angle(degree, spacing)


def _times(line: str) -> tuple[Mapping[str, Any], float | None, list[str]]:
    """Return the clock, the seconds it took (None where it did not end), and what is doubtful."""
    match = SPAN.search(line)
    if match is None:
        if re.search(r"\d:\d\d", line):
            raise FormatError(f"line 2: {line.strip()[-40:]!r}; expected 'yy.mm.dd hh:mm - ...'")
        return NO_CLOCK, None, []
    begin = started(_iso(match.groups()[:4]), what="line 2")
    if match[5] is None:
        return begin, None, []
    end = started(_iso(match.groups()[4:]), what="line 2")
    return begin, *lasted(begin["start"], end["start"], what="line 2")


def _iso(parts: Sequence[str]) -> str:
    year, month, day, time = parts
    century = 19 if int(year) >= OLDEST else 20
    return f"{century}{year}-{month}-{day} {time}"


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line has the number of the format, and the columns are angles."""
    return FIRST.match(text_of(head[:200])) is not None and b"Angle(c)" in head


READER = Reader(
    technique="xas",
    suffixes=(".dat", ".qd"),
    sniff=sniff,
    read=read,
    description="9809 format of KEK-PF, SPring-8, Aichi SR, SAGA-LS",
)
