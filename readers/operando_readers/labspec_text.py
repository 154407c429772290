"""HORIBA LabSpec spectra exported as text: one spectrum, a time series, points, a line or a map.

File structure: ``#Key=`` lines with a tab before the value (Latin-1), then either two columns
(shift, intensity), or a line of shifts that begins with a tab and one row a spectrum, led by the
seconds since the first spectrum or, with ``#AxisType[2]=Points``, by the number of the point. A
line along ``X`` or a depth scan along ``Z`` is led by that coordinate, a map by two, as
``#AxisType[2]`` and ``[3]`` name them (of maps no real file was at hand).

What the header means, above all what ``Acquired`` marks, is told in `_labspec`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._labspec import Along, Marks, Order, dataset
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._reader import File, FormatError, Reader

Array = npt.NDArray[np.float64]

MOST_LEADING = 2
"""Columns in front of the spectra of a map."""


def read(
    file: File, *, acquired: Marks | None = None, date_order: Order | None = None
) -> xr.Dataset:
    """Read all spectra of one file.

    Parameters
    ----------
    acquired
        Whether the stamp of the file marks the start or the end of the measurement.
    date_order
        Whether a date such as 01/05/16 has the day or the month first.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm), with `exposure` where the header has it. Points carry
    their number as `position`, lines and maps `x`, `y`, `z` in micrometre; their times are spread
    evenly over the full time.

    Raises
    ------
    FormatError
        An axis that is not a Raman shift, a map that does not name its axes, a date that can be
        read two ways (pass date_order), or rows that are not numbers.
    """
    text = file.read_text()
    lines = text.splitlines()
    at = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = _header(lines[:at])
    leading, shift, spectra, truncated = _spectra(lines, at, mid_line=ends_mid_line(text))
    return dataset(
        header,
        shift,
        spectra,
        _along(header, leading, line=at + 2),
        acquired=acquired,
        order=date_order,
        truncated=truncated,
    )


def _header(lines: list[str]) -> dict[str, str]:
    """Return the header; a key that occurs twice keeps both values."""
    header: dict[str, str] = {}
    for line in lines:
        key, equals, value = line[1:].partition("=")
        if equals:
            before = f"{header[key]} | " if key in header else ""
            header[key] = before + value.strip()
    return header


def _spectra(
    lines: list[str], at: int, *, mid_line: bool
) -> tuple[Array, Array, Array, str | None]:
    """Return the columns in front of the spectra (spectrum, column), shifts and spectra."""
    if at == 0 or at == len(lines):
        raise FormatError(f"line {at + 1}: no spectrum below a '#' header of LabSpec")
    if not lines[at].startswith("\t"):
        table, truncated = rows(lines[at:], first=at + 1, mid_line=mid_line)
        if table.shape[1] != 2:
            raise FormatError(f"line {at + 1}: {table.shape[1]} columns; expected shift, intensity")
        return np.empty((1, 0)), table[:, 0], table[None, :, 1], truncated
    axis, _ = rows(lines[at : at + 1], first=at + 1, mid_line=False)
    table, truncated = rows(lines[at + 1 :], first=at + 2, mid_line=mid_line)
    leading = table.shape[1] - axis.size
    if not 1 <= leading <= MOST_LEADING:
        raise FormatError(
            f"line {at + 2}: {table.shape[1]} numbers below {axis.size} shifts; expected one more "
            "(a time or a point), or two (a map)"
        )
    return table[:, :leading], axis[0], table[:, leading:], truncated


def _along(header: dict[str, str], leading: Array, *, line: int) -> list[Along]:
    """Say what the columns in front of the spectra are."""
    names = [header.get(f"AxisType[{2 + at}]") for at in range(leading.shape[1])]
    if len(names) > 1 and None in names:
        raise FormatError(
            f"line {line}: {len(names)} numbers in front of a spectrum; maps are not read without "
            "#AxisType[2] and [3]: export them with their axes"
        )
    units = [header.get(f"AxisUnit[{2 + at}]", "s") for at in range(leading.shape[1])]
    return [
        Along(name or "Time", unit, values)
        for name, unit, values in zip(names, units, leading.T, strict=True)
    ]


def sniff(head: bytes, name: str) -> bool:
    """Whether the head has the tab-separated keys of LabSpec."""
    keys = (b"#Acq. time (s)=\t", b"#Exposition=\t")
    return head.startswith(b"#") and any(key in head for key in keys) and b"#Accumulation" in head


READER = Reader(
    technique="raman",
    suffixes=(".txt",),
    sniff=sniff,
    read=read,
    description="HORIBA LabSpec text: one spectrum, time series, points, lines and maps",
)
