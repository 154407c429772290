"""HORIBA LabSpec spectra exported as text: one spectrum, a time series, or a row of points.

File structure: ``#Key=`` lines with a tab before the value (Latin-1), then either two columns
(shift, intensity), or a line of shifts that begins with a tab and one row a spectrum, led by the
seconds since the first spectrum or, with ``#AxisType[2]=Points``, by the number of the point.
A spectrum whose every channel is exactly zero belongs to a series that was stopped: NaN.

The live time of a spectrum is ``Acq. time`` times ``Accumulations`` (``Exposition`` times
``Accumulation`` in older exports). ``Full time`` is the duration of the whole file.

What ``Acquired`` marks is *not* constant: some files carry the start of the measurement, some its
end. A file proves it itself where a processing step was stamped: less than one live time after
``Acquired``, the measurement must have been over; one full time after it (within 2 s), it was
processed at once, and ``Acquired`` is the start. Otherwise it is the option `acquired` that knows;
without it the stamp is taken for the start, uncertain by the duration of the file.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._numbers import ends_mid_line, rows
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]
Marks = Literal["start", "end"]
Order = Literal["dmy", "mdy"]

DATE = re.compile(r"(\d{1,2})([./])(\d{1,2})\2(\d{4}|\d\d) +(\d{1,2}):(\d\d)(?::(\d\d))?")
NOT_PROCESSING = ("Date", "Acquired", "Imported")
COUNTS = {"": "count", "Cnt": "count", "Cnt/sec": "count/s"}
AT_ONCE_S = 2.0
"""A step stamped this near to the end of the measurement was done by the same click."""


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
    their number as `position`, and times spread evenly over the full time.

    Raises
    ------
    FormatError
        An axis that is not a Raman shift, a map, a date that can be read two ways (pass
        date_order), or rows that are not numbers.
    """
    text = file.read_text()
    lines = text.splitlines()
    at = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = _header(lines[:at])
    along, shift, spectra, truncated = _spectra(lines, at, mid_line=ends_mid_line(text))
    dataset = _dataset(shift, spectra, header)
    live, full = _live_time(header), _full_time(header)
    points = along is not None and header.get("AxisType[2]") == "Points"
    elapsed: Array = np.zeros(1) if along is None else along
    if points:
        step = full / elapsed.size if full is not None else live or 0.0
        dataset = dataset.assign_coords(position=("time", [f"{label:g}" for label in elapsed]))
        elapsed = np.arange(elapsed.size, dtype=np.float64) * step
    elif along is not None:
        _check_seconds(header, elapsed)
    measured = elapsed[np.isfinite(spectra).any(axis=1)]
    last = float(measured[-1]) if measured.size else 0.0
    facts = _clock(header, last, live=live, full=full, acquired=acquired, order=date_order)
    if facts["marks"] == "end":
        if truncated:
            raise FormatError(f"{truncated}; the end stamped in the header cannot be counted from")
        # The end of the last spectrum is the stamp; counting back from it needs no calendar.
        elapsed = elapsed - last
    dataset = dataset.assign_coords(elapsed=("time", elapsed, {"units": "s"}))
    if live is not None:
        exposure = np.full(elapsed.size, live)
        dataset = dataset.assign_coords(exposure=("time", exposure, {"units": "s"}))
    dataset.attrs.update(clock=facts, original_metadata=header)
    if truncated:
        dataset.attrs["truncated"] = truncated
    return dataset


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
) -> tuple[Array | None, Array, Array, str | None]:
    """Return the first column of a series (None for one spectrum), the shifts and the spectra."""
    if at == 0 or at == len(lines):
        raise FormatError(f"line {at + 1}: no spectrum below a '#' header of LabSpec")
    if not lines[at].startswith("\t"):
        table, truncated = rows(lines[at:], first=at + 1, mid_line=mid_line)
        if table.shape[1] != 2:
            raise FormatError(f"line {at + 1}: {table.shape[1]} columns; expected shift, intensity")
        along, shift, spectra = None, table[:, 0], table[None, :, 1]
    else:
        axis, _ = rows(lines[at : at + 1], first=at + 1, mid_line=False)
        table, truncated = rows(lines[at + 1 :], first=at + 2, mid_line=mid_line)
        if table.shape[1] != axis.size + 1:
            raise FormatError(
                f"line {at + 2}: {table.shape[1]} numbers below {axis.size} shifts; expected one "
                "more (a time or a point; maps are not read)"
            )
        along, shift, spectra = table[:, 0], axis[0], table[:, 1:]
    if shift.size > 1 and shift[0] > shift[-1]:
        shift, spectra = shift[::-1], spectra[:, ::-1]
    if not np.all(np.diff(shift) > 0):
        raise FormatError("raman_shift: does not ascend or descend throughout")
    return along, shift, np.where((spectra == 0).all(axis=1)[:, None], np.nan, spectra), truncated


def _dataset(shift: Array, spectra: Array, header: dict[str, str]) -> xr.Dataset:
    unit = header.get("AxisUnit[1]", "1/cm")
    if unit != "1/cm":
        raise FormatError(f"AxisUnit[1]: {unit!r}; expected '1/cm': export it as Raman shift")
    counts = COUNTS.get(header.get("AxisUnit[0]", ""))
    if counts is None:
        raise FormatError(f"AxisUnit[0]: {header['AxisUnit[0]']!r}; expected one of {list(COUNTS)}")
    attrs: dict[str, object] = {"technique": "raman"}
    if header.get("Instrument"):
        attrs["instrument"] = header["Instrument"]
    laser = _number(header, "Laser", "Laser (nm)")
    if laser is not None:
        attrs["laser_wavelength_nm"] = laser
    for axis in "XYZ":
        if (place := _number(header, f"{axis} (µm)")) is not None:
            attrs[f"{axis.lower()}_um"] = place
    return xr.Dataset(
        {"intensity": (("time", "raman_shift"), spectra, {"units": counts})},
        {"raman_shift": ("raman_shift", shift, {"units": "1/cm"})},
        attrs,
    )


def _number(header: dict[str, str], *keys: str) -> float | None:
    """Return the number a value begins with: 532nm_Edge is 532."""
    for key in keys:
        if match := re.match(r"[+-]?\d+(?:\.\d+)?", header.get(key, "")):
            return float(match[0])
    return None


def _live_time(header: dict[str, str]) -> float | None:
    each = _number(header, "Acq. time (s)", "Exposition")
    count = _number(header, "Accumulations", "Accumulation")
    return None if each is None or count is None else each * count


def _full_time(header: dict[str, str]) -> float | None:
    for name, seconds in (("mm:ss", 1.0), ("hh:mm", 60.0)):
        if match := re.fullmatch(r"(\d+):(\d\d)", header.get(f"Full time({name})", "")):
            return (60.0 * int(match[1]) + int(match[2])) * seconds
    return None


def _check_seconds(header: dict[str, str], elapsed: Array) -> None:
    kind, unit = header.get("AxisType[2]", "Time"), header.get("AxisUnit[2]", "s")
    if kind != "Time" or unit != "s":
        raise FormatError(f"AxisType[2]: {kind!r} in {unit!r}; expected Time in s, or Points")
    if not np.all(np.diff(elapsed) > 0):
        at = int(np.flatnonzero(~(np.diff(elapsed) > 0))[0])
        raise FormatError(f"spectrum {at + 2}: {elapsed[at + 1]:g} s follows {elapsed[at]:g} s")


def _clock(
    header: dict[str, str],
    last: float,
    *,
    live: float | None,
    full: float | None,
    acquired: Marks | None,
    order: Order | None,
) -> dict[str, str | float | None]:
    """Return the clock of a file whose last spectrum began `last` seconds after its first."""
    key = "Acquired" if header.get("Acquired") else "Date"
    if not header.get(key):
        return clock(start=None, zone=None, marks="start", source="none")
    start = _stamp(header[key], key=key, order=order)
    known = acquired or _proven(header, start, live=live, full=full, order=order)
    sigma = None if start.count(":") == 2 else 30.0
    if known is None:
        sigma = max(last + (live or 0.0), full or 0.0, sigma or 0.0)
    return clock(start=start, zone=None, marks=known or "start", source="header", sigma_s=sigma)


def _proven(
    header: dict[str, str],
    start: str,
    *,
    live: float | None,
    full: float | None,
    order: Order | None,
) -> Marks | None:
    """Conclude from the first processing step what the stamp marks; None where nothing follows."""
    steps = [
        _stamp(value, key=key, order=order)
        for key, values in header.items()
        if key not in NOT_PROCESSING
        for value in values.split(" | ")
        if DATE.fullmatch(value)
    ]
    if not steps or live is None:
        return None
    after = (np.datetime64(min(steps)) - np.datetime64(start)) / np.timedelta64(1, "s")
    if 0 <= after < live:
        return "end"
    to_the_second = "Full time(mm:ss)" in header
    if full is not None and to_the_second and abs(after - full) <= AT_ONCE_S:
        return "start"
    return None


def _stamp(text: str, *, key: str, order: Order | None) -> str:
    """Return a date of LabSpec in ISO form; with dots, as in German, the day comes first."""
    match = DATE.fullmatch(text)
    if match is None:
        raise FormatError(f"{key}: {text!r}; expected a date such as 14.02.2019 10:03:18")
    first, separator, second, year, hour, minute, second_of_minute = match.groups()
    if order is None and separator == "/" and int(first) <= 12 and int(second) <= 12:
        raise FormatError(f"{key}: {text!r} can be read two ways; pass date_order 'dmy' or 'mdy'")
    month_first = order == "mdy" or (order is None and separator == "/" and int(second) > 12)
    day, month = (second, first) if month_first else (first, second)
    century = "20" if len(year) == 2 else ""
    iso = f"{century}{year}-{int(month):02}-{int(day):02}T{int(hour):02}:{minute}"
    iso = iso if second_of_minute is None else f"{iso}:{second_of_minute}"
    try:
        np.datetime64(iso)
    except ValueError as error:
        raise FormatError(f"{key}: {text!r} is no date; check date_order") from error
    return iso


def sniff(head: bytes, name: str) -> bool:
    """Whether the head has the tab-separated keys of LabSpec."""
    keys = (b"#Acq. time (s)=\t", b"#Exposition=\t")
    return head.startswith(b"#") and any(key in head for key in keys) and b"#Accumulation" in head


READER = Reader(
    technique="raman",
    suffixes=(".txt",),
    sniff=sniff,
    read=read,
    description="HORIBA LabSpec text: one spectrum, a time series, or points",
)
