"""Powder patterns of the neutron diffractometers DMC and HRPT of PSI (FullProf INSTRM 8).

File structure: a title; ``lambda= 1.49400, T= 293.0, dT= 0.1, Date=2001-06-16 06:25:59``; first
angle, step, last angle, monitor, and ``sample="..."``; intensities, ten a line in 8 columns each;
their standard deviations in the same way; then remarks, among them ``Numor=2455 2490``, the first
and the last of the runs that were added.

`Date` is local time without its zone. Of a single run it is taken for the start; of a sum it is
that of one of its runs, nobody says which, and is kept in the metadata only. A temperature of zero
was not measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._diffraction import NO_CLOCK, kelvin, pattern, stepped
from operando_readers._fixed_width import floats, numbers, padded, steps
from operando_readers._numbers import ends_mid_line, is_number
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import moments

Array = npt.NDArray[np.float64]

WIDTH = 8
FACTS = re.compile(
    r"\s*lambda=\s*([\d.]+)\s*,\s*T=\s*([-\d.]+)\s*,\s*dT=\s*([-\d.]+)\s*"
    r"(?:,\s*Date=\s*'?([-\d]+ [\d:]+)'?)?.*"
)
RUNS = re.compile(r"\bNumor=\s*(\d+)(?:[ ,]+(\d+))?")
SAMPLE = re.compile(r'sample="([^"]*)"')


def read(file: File) -> xr.Dataset:
    """Read one pattern.

    Returns
    -------
    `intensity` and `intensity_sigma` (time 1, two_theta in degree) in counts.

    Raises
    ------
    FormatError
        The header is another, or a field is no number; names the line.
    """
    text = file.read_text()
    lines = text.split("\n")
    facts = FACTS.fullmatch(lines[1]) if len(lines) > 3 else None
    if facts is None:
        raise FormatError("line 2: expected 'lambda= .., T= .., dT= .., Date=..'")
    start, step, stop, monitor = _angles(lines[2])
    points = steps(start, step, stop, what="line 3")
    mid_line = ends_mid_line(text)
    intensity, taken = numbers(lines[3:], width=WIDTH, first=4, most=points, mid_line=mid_line)
    sigma, used = numbers(
        lines[3 + taken :], width=WIDTH, first=4 + taken, most=points, mid_line=mid_line
    )
    count = intensity.size
    remarks = lines[3 + taken + used :]
    dataset = pattern(
        "two_theta",
        stepped(start, step, count),
        intensity,
        sigma=padded(sigma, count),
        clock=_clock(facts[4], remarks),
        metadata={"header": "\n".join(line.rstrip() for line in [*lines[:3], *remarks])},
        told=_temperature(facts[2]),
        probe="neutron",
        title=lines[0].strip(),
        sample=sample[1] if (sample := SAMPLE.search(lines[2])) else None,
        instrument="PSI HRPT" if any("HRPT" in line for line in [lines[0], *remarks]) else "PSI",
        wavelength_angstrom=_positive(facts[1], "lambda"),
        monitor=monitor,
    )
    short = f"{min(count, sigma.size)} of {points} points with deviations"
    return dataset.assign_attrs(truncated=short) if sigma.size < points else dataset


def _angles(line: str) -> tuple[float, float, float, float]:
    """Return first angle, step, last angle and monitor."""
    found = floats(line.partition("sample=")[0].replace(",", " "))
    if found is None or len(found) < 4:
        raise FormatError(f"line 3: {line.strip()[:40]!r}; expected three angles and the monitor")
    return found[0], found[1], found[2], found[3]


def _positive(text: str, what: str) -> float:
    value = float(text) if is_number(text) else 0.0
    if not value > 0:
        raise FormatError(f"line 2: {what} {text!r}; expected a number above zero")
    return value


def _temperature(text: str) -> dict[str, xr.Variable]:
    value = float(text) if is_number(text) else 0.0
    return kelvin(value) if value > 0 else {}


def _clock(date: str | None, remarks: Sequence[str]) -> dict[str, Any]:
    runs = RUNS.search("\n".join(remarks))
    if not date or runs is None or (runs[2] is not None and runs[2] != runs[1]):
        return NO_CLOCK
    stamp = moments([date], what="Date")
    return clock(start=stamp.iso(0), zone=stamp.zone, marks="start", source="header", sigma_s=0.5)


def sniff(head: bytes, name: str) -> bool:
    """Whether the second line tells wavelength and temperature in the words of PSI."""
    lines = head[:1000].decode("latin-1").replace("\r\n", "\n").split("\n")
    return len(lines) > 2 and FACTS.fullmatch(lines[1]) is not None


READER = Reader(
    technique="xrd",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="neutron powder pattern of PSI (DMC, HRPT; FullProf INSTRM 8)",
)
