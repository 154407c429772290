"""One scan of a beamline's text file: from its named columns to a spectrum.

The dialects differ in their headers; what they hold is the same: an axis of energy, ion chambers
and detectors under the names the beamline gave them, a dwell. Columns are found by name, and a
counter that no beam reached is left out and said: absorption made of it would be noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import spectrum
from operando_readers._numbers import rows
from operando_readers._reader import FormatError, clock
from operando_readers._stamps import DateOrder, moments

Array = npt.NDArray[np.float64]
EnergyUnit = Literal["eV", "keV"]
Named = str | Sequence[str] | None
"""What a user says of a counter: None takes the beamline's usual name, "" leaves it out."""

LARGEST = 1e30
"""No reading is larger in any unit."""
LEAST_ENERGY = 150.0
"""No scan at a beamline for hard or tender X-rays reaches down to this in eV."""
LEAST_LIGHT = 1e-3
"""An ion chamber that reads less than this part of I0 sees no beam, whatever its gain."""
CTIME = re.compile(
    r"(?:[A-Za-z]{3,9}\s+)?([A-Za-z]{3,9})\s+(\d{1,2})\s+(\d{1,2}:\d\d:\d\d)\s+(\d{4})"
)
SECOND = np.timedelta64(1, "s")
SUMMER_TIME = 3600.0
"""Seconds a clock is set back at its end."""
NO_CLOCK = clock(start=None, zone=None, marks="start", source="none")


@dataclass(frozen=True)
class Counters:
    """The counters of a scan by what they count."""

    readings: dict[str, Array]
    """`i0`, `i1`, `iref`, `fluorescence` -> (points,), as far as they are there."""
    columns: dict[str, str]
    """The same -> the columns of the file they are made of."""
    left_out: list[str] = field(default_factory=list)
    """Why the others are not."""


def columns_of(
    lines: Sequence[str],
    names: Sequence[str],
    *,
    first: int,
    mid_line: bool,
    delimiter: str | None = None,
) -> tuple[dict[str, Array], str | None]:
    """Parse rows of numbers below the names of their columns, as `_numbers.columns` does.

    A name that comes again gets the number of its column, and what is no reading is NaN.

    Raises
    ------
    FormatError
        A row that is not numbers, or another number of columns than of names.
    """
    table, truncated = rows(lines, first=first, mid_line=mid_line, delimiter=delimiter)
    if table.shape[1] != len(names):
        raise FormatError(f"line {first}: {table.shape[1]} columns under {len(names)} names")
    return named(names, table), truncated


def named(names: Sequence[str], table: Array) -> dict[str, Array]:
    """Return columns by name, NaN where a number is none that could have been read."""
    found: dict[str, Array] = {}
    for at, (name, values) in enumerate(zip(names, believable(table).T, strict=True)):
        found[f"{name} (column {at + 1})" if name in found else name] = values
    return found


def believable(values: Array) -> Array:
    """Return numbers as they are, NaN where they are no reading."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def first_of(columns: Mapping[str, Array], *patterns: str) -> str | None:
    """Return the first column whose whole name fits the earliest pattern, without case."""
    for pattern in patterns:
        for name in columns:
            if re.fullmatch(pattern, name, re.IGNORECASE):
                return name
    return None


def counters(
    columns: Mapping[str, Array],
    *,
    usual: Mapping[str, Named],
    asked: Mapping[str, Named],
    energy: str | None = None,
    remarks: Sequence[str] = (),
) -> Counters:
    """Return the counters of a scan, several columns of one counter added.

    Parameters
    ----------
    usual
        Counter -> the columns it has in this dialect; None where there is none.
    asked
        Counter -> what the user says. A column the user names is used whatever it reads; a usual
        one only when it counts: `i0` and `fluorescence` above 0, `i1` and `iref` above 1/1000 of
        `i0`, at the median of the scan. In a series name them: a scan that lost its beam is then
        NaN, instead of the fluorescence of a file that has both.
    energy
        Column of the energy, which is no counter.
    remarks
        What the dialect left out already, and why.

    Raises
    ------
    FormatError
        A column that is not there, or too few counters to make absorption of.
    """
    found = Counters({}, {}, list(remarks))
    for role in ("i0", "i1", "iref", "fluorescence"):
        wish = asked.get(role)
        names = _names(usual.get(role) if wish is None else wish)
        if not names:
            continue
        reading = np.sum([_column(columns, name, role) for name in names], axis=0)
        if wish is None and (fault := _no_beam(role, reading, found.readings.get("i0"))):
            found.left_out.append(f"{role} = {' + '.join(names)}: {fault}")
            continue
        found.readings[role] = reading
        found.columns[role] = " + ".join(names)
    if "i0" not in found.readings or not {"i1", "fluorescence"} & set(found.readings):
        rest = [name for name in columns if name != energy]
        reasons = "".join(f"; {reason}" for reason in found.left_out)
        raise FormatError(
            f"counters: {found.columns or 'none'}{reasons}; name columns for i0= and i1= or "
            f"fluorescence= out of {rest}"
        )
    return found


def _names(named: Named) -> list[str]:
    if isinstance(named, str):
        return [named] if named else []
    return list(named or ())


def _column(columns: Mapping[str, Array], name: str, role: str) -> Array:
    if name not in columns:
        raise FormatError(f"{role}=: {name!r} is no column; there are {list(columns)}")
    return columns[name]


def _no_beam(role: str, reading: Array, i0: Array | None) -> str:
    """Say why a counter cannot have seen the beam."""
    least = LEAST_LIGHT * _median(i0) if role in ("i1", "iref") and i0 is not None else 0.0
    median = _median(reading)
    return "" if median > least else f"reads {median:g} at the median, no beam"


def _median(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0


def electronvolts(
    values: Array, *, what: str, unit: EnergyUnit | None = None, e0: float | None = None
) -> Array:
    """Return energies in eV.

    Parameters
    ----------
    what
        The name of the column; "keV" in it is its unit.
    unit
        What the user says.
    e0
        Edge energy in eV in the header: an axis around a thousandth of it is in keV.

    Raises
    ------
    FormatError
        Nothing says keV, and as eV the energies are impossible.
    """
    stated: EnergyUnit | None = "keV" if re.search(r"\bkev\b", what, re.IGNORECASE) else None
    low, high = float(np.min(values)), float(np.max(values))
    in_kev = e0 is not None and low <= e0 / 1000 <= high
    if (unit or stated or ("keV" if in_kev else "eV")) == "keV":
        return values * 1000.0
    if high < LEAST_ENERGY:
        raise FormatError(
            f"{what}: {low:g} to {high:g}; no energies in eV, pass energy_unit='keV' if they are "
            "in keV"
        )
    return values


def started(text: str, *, what: str, date_order: DateOrder | None = None) -> dict[str, Any]:
    """Return the clock of a scan that begins at a stamp of the header.

    Raises
    ------
    FormatError
        It is no date.
    """
    if not text.strip():
        raise FormatError(f"{what}: empty; expected a date and a time")
    stamp = moments([text], what=what, date_order=date_order)
    return clock(
        start=stamp.iso(0),
        zone=stamp.zone,
        marks="start",
        source="header",
        sigma_s=stamp.resolution_s / 2 or None,
    )


def lasted(begin: str, end: str, *, what: str) -> tuple[float | None, list[str]]:
    """Return the seconds between two local stamps, and what is doubtful about them.

    A scan that ends up to an hour before it begins was running when summer time ended: the scan is
    good, its length is not known.

    Raises
    ------
    FormatError
        It ends earlier than that.
    """
    seconds = float((np.datetime64(end, "ns") - np.datetime64(begin, "ns")) / SECOND)
    if seconds < -SUMMER_TIME:
        raise FormatError(f"{what}: {end}; before the scan began, {begin}")
    if seconds < 0:
        return None, [f"{what}: {end}, before the scan began, {begin}; was the clock set back?"]
    return seconds, []


def from_ctime(text: str, *, what: str) -> str:
    """Put "Sun May 21 00:13:57 2006" into the order of other dates.

    Raises
    ------
    FormatError
        It is not such a stamp.
    """
    match = CTIME.fullmatch(text.strip()[:60])
    if match is None:
        raise FormatError(f"{what}: {text.strip()[:40]!r}; expected 'Sun May 21 00:13:57 2006'")
    month, day, time, year = match.groups()
    return f"{day} {month} {year} {time}"


def scan(
    energy: Array,
    found: Counters,
    *,
    dwell: Array | None = None,
    exposure: float | None = None,
    made: Mapping[str, Array] | None = None,
    clock: Mapping[str, Any],
    instrument: str,
    header: str,
    points: int | None = None,
    truncated: str | None = None,
    doubts: Sequence[str] = (),
    **facts: Any,
) -> xr.Dataset:
    """Return a scan as a dataset of one frame.

    Parameters
    ----------
    dwell
        Counting time of every point in s, (points,). Where the file has no duration of the scan
        their sum is the exposure: without the time the monochromator moved, so rather too short.
    made
        Absorption the file itself holds, as for `_absorption.spectrum`.
    points
        How many the header promises.
    doubts
        What is to be looked at before the scan is believed: told in attrs `doubts`, which become a
        problem of the series.
    facts
        More attributes; None is left out.

    Returns
    -------
    xarray.Dataset
        As `_absorption.spectrum` makes it, with `dwell`; every counter says in attrs `column` what
        it is called in the file, the dataset in attrs `left_out` which counters saw no beam.
    """
    channels = {**found.readings, **(made or {})}
    if dwell is not None:
        channels["dwell"] = dwell
        exposure = float(np.nansum(dwell)) if exposure is None else exposure
    if exposure is not None and not exposure > 0:
        exposure = None
    if truncated is None and points is not None and energy.size < points:
        truncated = f"{energy.size} of {points} points"
    dataset = spectrum(
        energy,
        channels,
        clock=clock,
        exposure=exposure,
        instrument=instrument,
        metadata={"header": header},
        truncated=truncated,
        left_out="; ".join(found.left_out) or None,
        doubts="; ".join(doubts) or None,
        **facts,
    )
    for role, column in found.columns.items():
        dataset[role].attrs["column"] = column
    if dwell is not None:
        dataset["dwell"].attrs = {"units": "s", "long_name": "counting time of a point"}
    return dataset
