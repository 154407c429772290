"""Impedance exported by Metrohm Autolab software: NOVA's ASCII table, and the Z60W file of ZView.

File structure, NOVA: a row of names such as "Index;Frequency (Hz);Z' (Ω);-Z'' (Ω);Z (Ω);-Phase
(°);Time (s)", then rows; separated by semicolons, tabs or commas, decimal marks as the computer
writes them. The name carries the sign: "-Z''" is turned round, "Z''" is not.

File structure, Z60W (Scribner's ZView 2, written by NOVA too): '"Z60W Data File: Version 1.1"',
eight lines of comments and settings, the number of points, a quoted row of names, then rows
separated by commas. Z''(b) is the imaginary part itself, negative for a capacitive arc: in the file
seen it is positive only where Z' no longer falls with the frequency, which is the cable.

Neither holds a date. Time is used where it is not zero throughout (NOVA leaves it out of Z60W); it
counts from where the procedure began, the sweep begins before its first point by an unknown time.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._numbers import columns, ends_mid_line
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._sweeps import cartesian, find_starts, sweeps
from operando_readers._table import decimal_mark

Array = npt.NDArray[np.float64]

Z60W = '"Z60W Data File'
FREQUENCY = re.compile(r"Freq(?:uency)? \(Hz\)")
REAL = re.compile(r"Z'\s?\(.{1,4}\)")
IMAGINARY = re.compile(r"(-?)Z''\s?\(.{1,4}\)")
TIME = re.compile(r"Time\s?\((?:s|Sec)\)")


def sniff(head: bytes, name: str) -> bool:
    """Whether the file is a Z60W file, or begins with the names of NOVA's impedance table."""
    text = head.decode("utf-8-sig", errors="replace")
    return text.startswith(Z60W) or _nova(text.partition("\n")[0])


def _nova(line: str) -> bool:
    return all(pattern.search(line) for pattern in (FREQUENCY, REAL, IMAGINARY))


def read(file: File) -> xr.Dataset:
    """Read all sweeps of one file.

    Returns
    -------
    `impedance` (ohm) on (time, frequency); with a time column also `point_time` (s), and `elapsed`
    (s from the zero of that column) and `exposure` on time. No start: no such file has a date.

    Raises
    ------
    FormatError
        Neither kind of file, a column missing, commas and points as decimal marks, or a row that
        is not numbers (names its line).
    """
    text = file.read_text()
    lines = text.split("\n")
    at = next((row for row, line in enumerate(lines) if _nova(line)), None)
    if at is None:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected a row of names with Z' and Z''")
    names, delimiter = _names(lines[at])
    body = lines[at + 1 :]
    if delimiter != "," and decimal_mark(body) == ",":
        body = [line.replace(",", ".") for line in body]
    column, truncated = columns(
        body, names, first=at + 2, mid_line=ends_mid_line(text), delimiter=delimiter
    )
    announced = lines[at - 1].strip() if lines[0].startswith(Z60W) else ""
    points = next(iter(column.values())).size
    if re.fullmatch(r"\d{1,9}", announced) and points < int(announced):
        truncated = truncated or f"{points} of {announced} points"
    dataset = _dataset(column)
    dataset.attrs.update(
        instrument="Metrohm Autolab",
        clock=clock(start=None, zone=None, marks="start", source="none"),
        original_metadata={"header": "\n".join(lines[: at + 1])},
    )
    if truncated:
        dataset.attrs["truncated"] = truncated
    return dataset


def _names(line: str) -> tuple[list[str], str]:
    """Return the names of the columns and what stands between the numbers below them."""
    if line.startswith('"'):
        return re.split(r"\s{2,}", line.strip().strip('"').strip()), ","
    delimiter = next((mark for mark in (";", "\t") if mark in line), ",")
    return [name.strip() for name in line.split(delimiter)], delimiter


def _dataset(column: dict[str, Array]) -> xr.Dataset:
    def found(pattern: re.Pattern[str]) -> tuple[re.Match[str], Array] | None:
        matches = ((pattern.fullmatch(name), values) for name, values in column.items())
        return next(((match, values) for match, values in matches if match is not None), None)

    frequency, real, imaginary = found(FREQUENCY), found(REAL), found(IMAGINARY)
    if frequency is None or real is None or imaginary is None:
        raise FormatError(f"columns {list(column)}: expected a frequency, Z' and Z''")
    sign = -1.0 if imaginary[0][1] else 1.0
    timed = found(TIME)
    time = timed[1] if timed is not None and timed[1].any() else None
    return sweeps(
        frequency[1],
        cartesian(real[1], sign * imaginary[1]),
        starts=find_starts(frequency[1]),
        time=time,
    )


READER = Reader(
    technique="impedance",
    suffixes=(".txt", ".csv", ".z60", ".z60w"),
    sniff=sniff,
    read=read,
    description="Metrohm Autolab impedance, NOVA ASCII or Z60W",
)
