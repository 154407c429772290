"""A cycler's export as a log: the table of a file, read by the profile of its maker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _table
from operando_readers._log import counted, signed_counter, stated
from operando_readers._profile import COUNTS, SCALES, Profile, split_label
from operando_readers._reader import File, FormatError
from operando_readers._source import Source, open_source
from operando_readers._stamps import DateOrder, moments, unix_moments
from operando_readers._two_clocks import Clocked, on_one_clock

Array = npt.NDArray[np.float64]

DURATION = re.compile(
    r"(?:(\d{1,5})\s{0,3}[d\-\s.]\s{0,3})?(\d{1,7}):(\d{1,2})(?::(\d{1,2}(?:[.,]\d{1,12})?))?",
    re.IGNORECASE,
)
TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[AaPp][Mm])?")


def read_log(
    file: File,
    profile: Profile,
    *,
    date_order: DateOrder | None = None,
    units: Mapping[str, str] | None = None,
    sheet: str | None = None,
) -> xr.Dataset:
    """Read a file by a profile.

    Parameters
    ----------
    date_order
        For dates such as 04/05/2024 that nothing in the file decides.
    units
        Units of columns whose names state none: ours -> unit.
    sheet
        The worksheet to read where several channels are in one workbook.

    Raises
    ------
    FormatError
        Not such a table, a row that is none, a unit that is missing or unknown, a field that is
        not a number, a date that could be two, or times that contradict each other.
    """
    source = open_source(file, profile, sheet=sheet)
    return log_of(source, profile, date_order=date_order, units=units)


def log_of(
    source: Source,
    profile: Profile,
    *,
    date_order: DateOrder | None = None,
    units: Mapping[str, str] | None = None,
    counter: Array | None = None,
    extra: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make the dataset of a table.

    Parameters
    ----------
    counter
        Elapsed seconds (n,) where the table itself holds none.
    extra
        Variables the table does not hold, ready for `xr.Dataset`.
    """

    def column(ours: str) -> Array:
        return values_of(source, profile, ours, units=units)

    variables, sign = _variables(source, profile, column)
    variables.update(extra or {})
    if counter is None and "elapsed" in source.places:
        counter = column("elapsed")
    times = _times(source, profile, counter, date_order=date_order)
    coordinates = {"elapsed": ("time", times.elapsed, {"units": "s"})}
    if times.wall_clock is not None:
        coordinates["wall_clock"] = ("time", times.wall_clock, {"units": "s"})
    dataset = xr.Dataset(variables, coordinates, _attributes(source, profile))
    dataset.attrs.update(current_sign=sign, clock=times.facts)
    if times.reason:
        dataset.attrs["clock_reason"] = times.reason
    return dataset


def _variables(
    source: Source, profile: Profile, column: Callable[[str], Array]
) -> tuple[dict[str, Any], str]:
    """Return the variables the table holds, and the sign of the current.

    A current with negative values is not a magnitude, whatever the maker's habit.
    """
    variables: dict[str, Any] = {}
    sign: str = profile.sign
    if "voltage" in source.places:
        variables["voltage"] = ("time", column("voltage"), {"units": "V"})
    if "current" in source.places:
        current = column("current")
        attributes = {"units": "A", "averaging": "instantaneous"}
        variables["current"] = ("time", current, attributes)
        if sign == "unsigned" and (current < 0).any():
            sign = "unknown"
    for ours in COUNTS:
        if ours in source.places:
            variables[f"{ours}_instrument"] = counted(column(ours))
    if "state" in source.places:
        words = source.table.columns[source.places["state"]]
        variables["state_instrument"] = stated(words, profile.states)
    variables.update(_charge(source, variables, column, sign=sign))
    return variables, sign


def _times(
    source: Source, profile: Profile, counter: Array | None, *, date_order: DateOrder | None
) -> Clocked:
    header = profile.start.search(source.header) if profile.start is not None else None
    beside = [header[1].strip(" ,")] if header is not None else []
    if "unix" in source.places:
        at = source.places["unix"]
        texts = source.table.columns[at]
        return on_one_clock(counter, unix_moments(texts, what=source.table.names[at]))
    at = source.places.get("stamp", -1)
    fields = source.table.columns[at] if at >= 0 else []
    texts = ["" if text.lower() in profile.missing else text for text in fields]
    if texts and TIME_OF_DAY.fullmatch(texts[0]):
        # The header then tells the day of the first row, and the counter all the rest.
        beside = [text if ":" in text else f"{text} {texts[0]}" for text in beside]
        at = -1
    if at >= 0:
        stamps = moments(
            texts,
            what=source.table.names[at],
            date_order=date_order,
            usual=profile.usual,
            beside=beside,
            counter=counter,
            excel=source.day_zero,
        )
        return on_one_clock(counter, stamps)
    # A day without a time of day is no start.
    beside = [text for text in beside if ":" in text]
    if not beside:
        return on_one_clock(counter, None)
    started = moments(beside, what="start", date_order=date_order, usual=profile.usual)
    return on_one_clock(counter, None, start=started)


def values_of(
    source: Source, profile: Profile, ours: str, *, units: Mapping[str, str] | None = None
) -> Array:
    """Return a column as numbers in our units (s, V, A, A h).

    Parameters
    ----------
    units
        What the caller says of columns whose names state no unit; None where it cannot.

    Raises
    ------
    FormatError
        Its unit is unknown, or nothing says what it is.
    """
    at = source.places[ours]
    label, fields = source.table.names[at], source.table.columns[at]
    quantity, unit = split_label(label)
    if ours == "elapsed" and any(":" in text for text in fields):
        return _durations(fields, label=label, lines=source.table.lines)
    factor = 1.0
    if ours in SCALES:
        unit = unit or profile.columns[ours][quantity] or (units or {}).get(ours)
        if unit is None:
            remedy = "" if units is None else "; pass current_units='A' or 'mA'"
            raise FormatError(f"column {label!r}: its unit is not in its name{remedy}")
        if unit.lower() not in SCALES[ours]:
            raise FormatError(f"column {label!r}: unit {unit!r}; known are {list(SCALES[ours])}")
        factor = SCALES[ours][unit.lower()]
    return factor * _table.numbers(
        fields,
        what=f"column {label!r}",
        decimal=source.decimal,
        missing=profile.missing,
        lines=source.table.lines,
    )


def _durations(fields: Sequence[str], *, label: str, lines: Sequence[int]) -> Array:
    """Return days, hours, minutes and seconds ("0d 00:00:5.05", "1-02:30:00") as seconds."""
    seconds = np.empty(len(fields))
    for at, text in enumerate(fields):
        match = DURATION.fullmatch(text)
        if match is None:
            raise FormatError(f"column {label!r}: line {lines[at]} holds {text!r}; expected a time")
        days, hours, minutes, rest = match.groups()
        whole = (int(days or 0) * 24 + int(hours)) * 60 + int(minutes)
        seconds[at] = whole * 60 + float((rest or "0").replace(",", "."))
    return seconds


def _charge(
    source: Source,
    variables: Mapping[str, Any],
    column: Callable[[str], Array],
    *,
    sign: str,
) -> Iterator[tuple[str, Any]]:
    """Give the charge counter: charge minus discharge, else the one capacity column."""
    places, names = source.places, source.table.names
    if "charge" in places and "discharge" in places:
        values = column("charge") - column("discharge")
        comment = f"{names[places['charge']]} - {names[places['discharge']]}"
    elif "net" in places:
        values, comment = column("net"), names[places["net"]]
    elif "capacity" in places and sign == "unsigned":
        values, comment = column("capacity"), f"{names[places['capacity']]}, unsigned"
    elif "capacity" in places and "current" in variables:
        labels = [
            variables[name][1]
            for name in ("step_instrument", "cycle_instrument", "state_instrument")
            if name in variables
        ]
        values, found = signed_counter(column("capacity"), variables["current"][1], labels)
        comment = f"{names[places['capacity']]}: {found}"
    else:
        return
    yield "charge_counter", ("time", values, {"units": "A h", "comment": comment})


def _attributes(source: Source, profile: Profile) -> dict[str, Any]:
    used = set(source.places.values())
    names = source.table.names
    unused = [name for at, name in enumerate(names) if at not in used]
    metadata = {"header": source.header, "columns": "\t".join(names)}
    metadata["columns_not_read"] = "\t".join(unused)
    if source.table.footer:
        metadata["footer"] = "\n".join(source.table.footer)
    metadata.update({f"sheet {name}": text for name, text in source.sheets.items()})
    attributes: dict[str, Any] = {
        "technique": "electrochemistry",
        "instrument": profile.instrument,
        "original_metadata": metadata,
    }
    if source.table.truncated:
        attributes["truncated"] = source.table.truncated
    return attributes
