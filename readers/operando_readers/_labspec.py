"""What the header of HORIBA LabSpec means, whether it is exported as text or as XML.

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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._raman import frames, places
from operando_readers._reader import FormatError, clock

Array = npt.NDArray[np.float64]
Marks = Literal["start", "end"]
Order = Literal["dmy", "mdy"]

DATE = re.compile(r"(\d{1,2})([./])(\d{1,2})\2(\d{4}|\d\d) +(\d{1,2}):(\d\d)(?::(\d\d))?")
NOT_PROCESSING = ("Date", "Acquired", "Imported")
COUNTS = {"": "count", "Cnt": "count", "Cnt/sec": "count/s"}
AT_ONCE_S = 2.0
"""A step stamped this near to the end of the measurement was done by the same click."""
LARGEST = 1e9
"""No setting is larger: nm, s, spectra or micrometre."""
STAGE = {"X": "x", "Y": "y", "Z": "z"}
MICROMETRE = ("µm", "μm", "um")
"""With the micro sign, the Greek letter, or neither."""


@dataclass(frozen=True)
class Along:
    """What numbers the spectra of a file: their seconds, points, or a coordinate of the stage."""

    kind: str
    unit: str
    values: Array


def dataset(
    header: dict[str, str],
    shift: Array,
    spectra: Array,
    along: Sequence[Along],
    *,
    acquired: Marks | None,
    order: Order | None,
    truncated: str | None,
) -> xr.Dataset:
    """Build the dataset of the spectra (spectrum, shift) of one file.

    A spectrum whose every channel is exactly zero belongs to a series that was stopped: NaN. Points
    and places have no times of their own: they are spread evenly over the full time.

    Parameters
    ----------
    acquired
        Whether the stamp of the file marks the start or the end of the measurement.
    order
        Whether a date such as 01/05/16 has the day or the month first.
    truncated
        Why the last spectrum was left out, or None.

    Raises
    ------
    FormatError
        Units that are not those of Raman spectra, seconds that do not increase, a date that does
        not exist or can be read two ways, or an end stamped that cannot be counted back from.
    """
    spectra = np.where((spectra == 0).all(axis=1)[:, None], np.nan, spectra)
    live, full = _live_time(header), _full_time(header)
    elapsed = _elapsed(along, len(spectra), live=live, full=full)
    measured = elapsed[np.isfinite(spectra).any(axis=1)]
    last = float(measured[-1]) if measured.size else 0.0
    facts = _clock(header, last, live=live, full=full, acquired=acquired, order=order)
    if facts["marks"] == "end":
        if truncated:
            raise FormatError(f"{truncated}; the end stamped in the header cannot be counted from")
        # The end of the last spectrum is the stamp; counting back from it needs no calendar.
        elapsed = elapsed - last
    found = frames(
        shift,
        spectra,
        what="raman_shift",
        units=_units(header),
        facts={"clock": facts, **_facts(header), "truncated": truncated},
        metadata=header,
        elapsed=elapsed,
        exposure=live,
    )
    return found.assign_coords(_positions(along))


def _elapsed(
    along: Sequence[Along], count: int, *, live: float | None, full: float | None
) -> Array:
    """Return the seconds since the first spectrum."""
    for axis in along:
        known = (axis.kind, axis.unit)
        if known == ("Time", "s"):
            _check_seconds(axis.values)
            return axis.values
        if axis.kind != "Points" and not (axis.kind in STAGE and axis.unit in MICROMETRE):
            raise FormatError(
                f"AxisType: {axis.kind!r} in {axis.unit!r}; expected Time in s, or Points, or X, Y "
                "or Z in µm"
            )
    step = full / count if full is not None else live or 0.0
    return np.arange(count, dtype=np.float64) * step


def _check_seconds(elapsed: Array) -> None:
    bad = np.flatnonzero(~(np.diff(elapsed) > 0) | ~np.isfinite(elapsed[1:]))
    if bad.size:
        before, after = elapsed[bad[0] : bad[0] + 2]
        raise FormatError(f"spectrum {bad[0] + 2}: {after:g} s follows {before:g} s")
    if not np.isfinite(elapsed[:1]).all():
        raise FormatError(f"spectrum 1: {elapsed[0]:g} s")


def _positions(
    along: Sequence[Along],
) -> dict[str, tuple[str, npt.NDArray[Any], dict[str, str]]]:
    for axis in along:
        if axis.kind == "Points":
            labels = np.array([f"{label:g}" for label in axis.values], dtype=str)
            return {"position": ("time", labels, {})}
    return places(**{STAGE[axis.kind]: axis.values for axis in along if axis.kind in STAGE})


def _units(header: dict[str, str]) -> str:
    """Return the unit of the counts, when the axis is a Raman shift."""
    unit = header.get("AxisUnit[1]", "1/cm")
    if unit != "1/cm":
        raise FormatError(f"AxisUnit[1]: {unit!r}; expected '1/cm': export it as Raman shift")
    name = header.get("AxisUnit[0]", "")
    if name not in COUNTS:
        raise FormatError(f"AxisUnit[0]: {name!r}; expected one of {list(COUNTS)}")
    return COUNTS[name]


def _facts(header: dict[str, str]) -> dict[str, object]:
    """Return what the header says of instrument, laser and the place of the stage."""
    laser = _number(header, "Laser", "Laser (nm)")
    found: dict[str, object] = {
        "instrument": header.get("Instrument"),
        "laser_wavelength_nm": laser,
        "axis_source": "Raman shift in the file",
    }
    for axis, name in STAGE.items():
        found[f"{name}_um"] = _number(header, f"{axis} (µm)")
    return found


def _number(header: dict[str, str], *keys: str) -> float | None:
    """Return the number a value begins with: 532nm_Edge is 532."""
    for key in keys:
        match = re.match(r"[+-]?\d+(?:\.\d+)?", header.get(key, ""))
        if match and abs(number := float(match[0])) < LARGEST:
            return number
    return None


def _live_time(header: dict[str, str]) -> float | None:
    """Return the live time of one spectrum in s."""
    each = _number(header, "Acq. time (s)", "Exposition")
    count = _number(header, "Accumulations", "Accumulation")
    return None if each is None or count is None else each * count


def _full_time(header: dict[str, str]) -> float | None:
    """Return the duration of the whole measurement in s."""
    if (seconds := _number(header, "Full time(s)")) is not None:
        return seconds
    for name, seconds in (("mm:ss", 1.0), ("hh:mm", 60.0)):
        if match := re.fullmatch(r"(\d{1,9}):(\d\d)", header.get(f"Full time({name})", "")):
            return (60.0 * int(match[1]) + int(match[2])) * seconds
    return None


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
    to_the_second = "Full time(mm:ss)" in header or "Full time(s)" in header
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
