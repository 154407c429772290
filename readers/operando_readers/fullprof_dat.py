"""Powder patterns as FullProf reads them: XYDATA (INSTRM 10) and free format (INSTRM 0).

File structure (FullProf manual, J. Rodriguez-Carvajal, "Ins"):

* INSTRM 10: a first line ``XYDATA``, five lines of which one may be ``INTER fac_x fac_y`` and one
  ``TEMP t``; then rows of two theta, intensity, and mostly its standard deviation. Positions,
  intensities and deviations are multiplied by the factors of INTER where these are above zero;
* INSTRM 0: up to seven lines of text, a line with first angle, step and last angle, then the
  intensities, any number a line.

Columns without these headers are plain columns (`xy_text`); the formats of neutron instruments
have their own readers. There is no time in them, and no wavelength. ``TEMP`` is in K.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._diffraction import NO_CLOCK, kelvin, pattern, stepped
from operando_readers._fixed_width import floats, steps
from operando_readers._numbers import ends_mid_line, is_number, rows
from operando_readers._reader import File, FormatError, Reader

Array = npt.NDArray[np.float64]

SUFFIXES = (".dat", ".xye", ".xy")
MARK = "XYDATA"
COMMENTS = 6
"""Lines above the rows of INSTRM 10."""
DEEPEST = 8
"""Lines of INSTRM 0 until the angles."""
LEAST_FIELDS = 4
"""Intensities a line of INSTRM 0: with fewer it could be columns."""
INTER = re.compile(r"\s*INTER\s+(\S+)\s+(\S+)")
TEMPERATURE = re.compile(r"\s*TEMP\s+(\S+)")


def read(file: File) -> xr.Dataset:
    """Read one pattern.

    Returns
    -------
    `intensity` (time 1, two_theta in degree) in counts, `intensity_sigma` where there is a third
    column.

    Raises
    ------
    FormatError
        Neither of the two, or what is no number; names the line.
    """
    text = file.read_text()
    lines = text.split("\n")
    if lines[0].lstrip().upper().startswith(MARK):
        return _columns(lines, mid_line=ends_mid_line(text))
    return _free(lines, mid_line=ends_mid_line(text))


def _columns(lines: Sequence[str], *, mid_line: bool) -> xr.Dataset:
    """Return a pattern of INSTRM 10."""
    header = lines[:COMMENTS]
    table, cut = rows(lines[COMMENTS:], first=COMMENTS + 1, mid_line=mid_line)
    if table.shape[1] not in (2, 3):
        raise FormatError(f"line {COMMENTS + 1}: {table.shape[1]} columns; expected 2 or 3")
    across, up = _factors(header)
    dataset = pattern(
        "two_theta",
        table[:, 0] * across,
        table[:, 1] * up,
        sigma=table[:, 2] * up if table.shape[1] == 3 else None,
        clock=NO_CLOCK,
        metadata={"header": "\n".join(line.rstrip() for line in header)},
        told=_temperature(header),
    )
    return dataset.assign_attrs(truncated=cut) if cut else dataset


def _factors(header: Sequence[str]) -> tuple[float, float]:
    """Return what positions and intensities are multiplied by."""
    match = next((match for line in header if (match := INTER.match(line))), None)
    if match is None:
        return 1.0, 1.0
    if not is_number(match[1]) or not is_number(match[2]):
        raise FormatError(f"INTER: {match[0].strip()!r}; expected two factors")
    across, up = float(match[1]), float(match[2])
    return across if across > 0 else 1.0, up if up > 0 else 1.0


def _temperature(header: Sequence[str]) -> dict[str, xr.Variable]:
    match = next((match for line in header if (match := TEMPERATURE.match(line))), None)
    known = match is not None and is_number(match[1]) and float(match[1]) > 0
    return kelvin(float(match[1])) if match is not None and known else {}


def _free(lines: Sequence[str], *, mid_line: bool) -> xr.Dataset:
    """Return a pattern of INSTRM 0."""
    found = _angles(lines)
    if found is None:
        raise FormatError(f"line 1: neither {MARK!r} nor, below a title, first angle, step, last")
    at, (start, step, stop) = found
    points = steps(start, step, stop, what=f"line {at + 1}")
    intensity = _numbers(lines[at + 1 :], first=at + 2, mid_line=mid_line)
    if intensity.size > points:
        raise FormatError(f"line {at + 1}: {points} points; {intensity.size} intensities below")
    dataset = pattern(
        "two_theta",
        stepped(start, step, intensity.size),
        intensity,
        clock=NO_CLOCK,
        metadata={"header": "\n".join(line.rstrip() for line in lines[: at + 1])},
    )
    if intensity.size < points:
        dataset.attrs["truncated"] = f"{intensity.size} of {points} points"
    return dataset


def _angles(lines: Sequence[str]) -> tuple[int, tuple[float, float, float]] | None:
    """Return the line of the angles and what it says; words may follow the numbers."""
    for at, line in enumerate(lines[:DEEPEST]):
        words = line.split()
        if len(words) < 3 or not all(map(is_number, words[:3])):
            continue
        if len(words) > 3 and is_number(words[3].strip(",")):
            return None
        start, step, stop = (float(word) for word in words[:3])
        return (at, (start, step, stop)) if 0 < step < stop - start else None
    return None


def _numbers(lines: Sequence[str], *, first: int, mid_line: bool) -> Array:
    """Return numbers of lines of any length, without the last where the file ends within it."""
    words = " ".join(lines).split()
    if mid_line and words:
        words.pop()
    try:
        return np.array(words, dtype=np.float64)
    except ValueError as error:
        wrong = next(word for word in words if not is_number(word))
        at = next(at for at, line in enumerate(lines) if wrong in line.split())
        raise FormatError(f"line {first + at}: {wrong[:40]!r}; expected a number") from error


def sniff(head: bytes, name: str) -> bool:
    """Whether it begins with XYDATA, or with angles above lines of many intensities."""
    if b"\0" in head or not name.lower().endswith(SUFFIXES):
        return False
    lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")[: DEEPEST + 2]
    if lines[0].lstrip().upper().startswith(MARK):
        return True
    found = _angles(lines)
    if found is None or len(lines) < found[0] + 2:
        return False
    # Two lines of numbers above the pattern are of an instrument that has its own reader.
    above = [floats(line) for line in lines[: found[0]]]
    below = floats(lines[found[0] + 1])
    return below is not None and len(below) >= LEAST_FIELDS and not any(above)


READER = Reader(
    technique="xrd",
    suffixes=SUFFIXES,
    sniff=sniff,
    read=read,
    description="FullProf: XYDATA with deviations (INSTRM 10), free format (INSTRM 0)",
)
