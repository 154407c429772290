"""Any delimited text (csv, tsv, columns of numbers), mapped to our names by what the caller says.

Usage, as options of a recipe or of `read`:

    columns = {
        voltage = { name = "Ewe [mV]", units = "mV" },
        current = { name = "I/mA", units = "mA", averaging = "backward" },
    }
    time = { name = "Date", format = "%d.%m.%Y %H:%M:%S" }

Nothing is guessed: every column has its name (or its number from 0) and its unit, decimal commas
are declared, and a file is read this way only when it is asked for. Without `delimiter`, .csv is
split at commas, .tsv at tabs, everything else at blanks.

A log (electrochemistry) has one row per record. A file of another technique is one frame: an axis
column beside signal columns; when it was taken must be declared where it is read.

An absorption spectrum ("xas") may have counters instead: `i0`, `i1`, `iref`, `fluorescence`;
energies in eV, keV, or as a Bragg angle in degrees with `d_spacing`; rows in any order. A matrix of
spectra has the axis in one column and one spectrum in each other one:

    matrix = { variable = "mu", units = "1", seconds = true }    # the first row holds the seconds
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, NotRequired, Required, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from operando_readers._delimited_frames import (
    TECHNIQUES,
    Columns,
    ColumnSpec,
    MatrixSpec,
    absorption,
    axis_of,
    factor_of,
    frame,
    matrix_of,
    picked,
)
from operando_readers._log import Variable, counted, stated
from operando_readers._reader import STATES, File, FormatError, Reader, clock
from operando_readers._stamps import without_words
from operando_readers._table import Table, lines_of, numbers, split, table_of
from operando_readers._text import text_of
from operando_readers._units import CHARGE, CURRENT, POTENTIAL, TIME

Array = npt.NDArray[np.float64]


class TimeSpec(TypedDict, total=False):
    """Which column holds the time: elapsed in `units`, or absolute in `format`."""

    name: Required[str | int]
    units: NotRequired[Literal["ms", "s", "min", "h"]]
    start: NotRequired[str]
    format: NotRequired[str]


UNIX = {"unix": 1.0, "unix_ms": 1e-3}
LATEST_UNIX_S = 9e9
COUNT = {"1": 1.0}
LOG: dict[str, tuple[str, Mapping[str, float]]] = {
    "voltage": ("V", POTENTIAL),
    "counter_voltage": ("V", POTENTIAL),
    "current": ("A", CURRENT),
    "charge_counter": ("A h", CHARGE),
    "state_instrument": ("1", COUNT),
    "cycle_instrument": ("1", COUNT),
    "half_cycle_instrument": ("1", COUNT),
    "step_instrument": ("1", COUNT),
    "loop": ("1", COUNT),
}
AVERAGING = ("backward", "instantaneous")
SIGNS = ("oxidation_positive", "oxidation_negative", "unsigned", "unknown")


def sniff(head: bytes, name: str) -> bool:
    """Return False: a text file does not say what its columns mean."""
    return False


def read(
    file: File,
    *,
    columns: Columns,
    technique: Literal["electrochemistry", "xrd", "raman", "xas"] = "electrochemistry",
    time: TimeSpec | None = None,
    d_spacing: float | None = None,
    matrix: MatrixSpec | None = None,
    current_sign: Literal[
        "oxidation_positive", "oxidation_negative", "unsigned", "unknown"
    ] = "unknown",
    delimiter: str | None = None,
    decimal: Literal[".", ","] = ".",
    skip: int = 0,
    comment: str | None = "#",
    header: bool = True,
) -> xr.Dataset:
    """Read one file as its caller describes it.

    Parameters
    ----------
    columns
        Our name -> {name: the file's column name or its number from 0, units}; `current` may state
        `averaging`; `state_instrument` translates words by `states` ({"R": "rest", ...}).
    time
        {name, units} for elapsed time, with `start` (ISO, local) when it is known; or {name,
        format} for stamps: a strptime format, "unix" (seconds, UTC) or "unix_ms".
    d_spacing
        Of the monochromator in angstrom, for an energy in "degree": E = hc / (2 d sin theta).
    matrix
        {variable, units, seconds}: every column but the axis is one frame; with `seconds` the row
        of names holds the seconds of each.
    skip
        Lines to leave out at the top.
    comment
        What begins the rest of a line that is no data; None for nothing.
    header
        Whether the first line left holds the names of the columns.

    Raises
    ------
    FormatError
        A name, unit or technique that is not known, a column the file lacks (lists those it has),
        a field that is not a number, a row longer than the first. Fields that are empty, or lack at
        the end of a row, are NaN: not measured.
    """
    if technique != "electrochemistry" and technique not in TECHNIQUES:
        known = ["electrochemistry", *TECHNIQUES]
        raise FormatError(f"technique: {technique!r}; expected one of {known}")
    if current_sign not in SIGNS:
        raise FormatError(f"current_sign: {current_sign!r}; expected one of {SIGNS}")
    _check_keys(columns, time)
    separator = delimiter or {".csv": ",", ".tsv": "\t"}.get(Path(file.name).suffix.lower(), r"\s+")
    table = _read_table(file, separator=separator, skip=skip, comment=comment, header=header)
    if technique == "electrochemistry":
        dataset = _log(table, columns, time, decimal=decimal)
        dataset.attrs["current_sign"] = current_sign
    else:
        if time is not None:
            raise FormatError(f"time: {dict(time)}; a file of {technique!r} is one frame")
        axis, at = axis_of(table, columns, technique, decimal=decimal, d_spacing=d_spacing)
        if matrix is not None:
            dataset = matrix_of(table, columns, matrix, axis, at=at, decimal=decimal)
        elif technique == "xas":
            dataset = absorption(table, columns, axis, decimal=decimal)
        else:
            dataset = frame(table, columns, axis, decimal=decimal)
    dataset.attrs.update(technique=technique, original_metadata={"columns": str(table.names)})
    if table.truncated:
        dataset.attrs["truncated"] = table.truncated
    return dataset


def _check_keys(columns: Columns, time: TimeSpec | None) -> None:
    """Refuse a key that would otherwise be overlooked."""
    for ours, spec in columns.items():
        extra = sorted(set(spec) - ColumnSpec.__annotations__.keys())
        if extra:
            raise FormatError(f"{ours}: keys {extra}; known are {[*ColumnSpec.__annotations__]}")
    extra = sorted(set(time or ()) - TimeSpec.__annotations__.keys())
    if extra:
        raise FormatError(f"time: keys {extra}; known are {[*TimeSpec.__annotations__]}")


def _read_table(
    file: File, *, separator: str, skip: int, comment: str | None, header: bool
) -> Table:
    """Return all fields as text under the names of the file, or under their numbers."""
    lines, mid_line = lines_of(text_of(file.read_bytes()))
    if comment is not None:
        lines = [line.partition(comment)[0] for line in lines]
    rows = split(lines[skip:], delimiter=separator, first=skip + 1)
    first = next((row for row in rows if any(row[1])), None)
    if first is None:
        raise FormatError("table: no row in it")
    names = first[1] if header else [str(at) for at in range(len(first[1]))]
    body = rows if header else itertools.chain([first], rows)
    return table_of(body, names, used=range(len(names)), mid_line=mid_line and bool(lines[-1]))


def _log(table: Table, columns: Columns, time: TimeSpec | None, *, decimal: str) -> xr.Dataset:
    if time is None:
        raise FormatError("time: missing; a log needs a time column")
    elapsed, facts = _time(table, time, decimal=decimal)
    dataset = xr.Dataset(coords={"elapsed": ("time", elapsed, {"units": "s"})})
    for ours, spec in columns.items():
        if ours not in LOG:
            raise FormatError(f"columns: {ours!r}; expected some of {list(LOG)}")
        unit, units = LOG[ours]
        factor = factor_of(spec, units, what=ours)
        fields = picked(table, spec.get("name", ""), what=ours)
        if ours == "state_instrument":
            dataset[ours] = _states(fields, spec.get("states", {}))
            continue
        values = numbers(fields, what=ours, decimal=decimal) * factor
        dataset[ours] = counted(values) if units is COUNT else ("time", values, {"units": unit})
        if ours == "current":
            averaging = spec.get("averaging", "instantaneous")
            if averaging not in AVERAGING:
                raise FormatError(f"current: averaging {averaging!r}; expected one of {AVERAGING}")
            dataset[ours].attrs["averaging"] = averaging
    if "voltage" not in dataset:
        raise FormatError(f"columns: no 'voltage' among {list(columns)}")
    dataset.attrs["clock"] = facts
    return dataset


def _states(fields: list[str], words: Mapping[str, str]) -> Variable:
    unknown = sorted(set(words.values()) - set(STATES))
    if not words or unknown:
        raise FormatError(f"state_instrument: states {dict(words)}; expected {list(STATES)}")
    return stated(fields, words)


def _time(
    table: Table, spec: TimeSpec, *, decimal: str
) -> tuple[Array, dict[str, str | float | None]]:
    """Return seconds since the start and the clock of a time column."""
    fields = picked(table, spec.get("name", ""), what="time")
    layout, units = spec.get("format"), spec.get("units")
    if (layout is None) == (units is None):
        raise FormatError(f"time: {dict(spec)}; expected either units or format")
    if layout is not None and layout not in UNIX:
        return _stamps(fields, layout)
    values = numbers(fields, what="time", decimal=decimal)
    if not np.isfinite(values).all():
        raise FormatError(f"time: data row {int(np.argmin(np.isfinite(values))) + 1} is empty")
    if layout is not None:
        if (np.abs(values * UNIX[layout]) > LATEST_UNIX_S).any():
            raise FormatError(f"time: {values[0]:g} ...; not {layout} time of any year we know")
        nanoseconds = np.round(values * UNIX[layout] * 1e9).astype(np.int64)
        return _since_first(nanoseconds.view("datetime64[ns]"), zone="UTC")
    if units not in TIME:
        raise FormatError(f"time: units {units!r}; expected one of {list(TIME)}")
    start = spec.get("start")
    if start is not None:
        try:
            zoned = datetime.fromisoformat(start).tzinfo is not None
        except ValueError as error:
            raise FormatError(f"time: start {start!r}; expected ISO 8601") from error
        if zoned:
            raise FormatError(
                f"time: start {start!r}; expected local time, its zone is given by tz"
            )
    return values * TIME[units], clock(start=start, zone=None, marks="instant", source="none")


def _stamps(fields: list[str], layout: str) -> tuple[Array, dict[str, str | float | None]]:
    zoned = "%z" in layout
    plain, numeric = without_words(fields, layout)
    try:
        moments = pd.to_datetime(pd.Series(plain, dtype=str), format=numeric, utc=zoned)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(f"time: format {layout!r}; {reason}") from error
    if moments.isna().any():
        raise FormatError(
            f"time: data row {int(np.argmax(moments.isna().to_numpy())) + 1} is empty"
        )
    naive = moments.dt.tz_localize(None) if zoned else moments
    return _since_first(naive.to_numpy("datetime64[ns]"), zone="UTC" if zoned else None)


def _since_first(
    moments: npt.NDArray[np.datetime64], *, zone: str | None
) -> tuple[Array, dict[str, str | float | None]]:
    start = str(moments[0]) if moments.size else None
    elapsed = (moments - moments[:1]).astype(np.int64) / 1e9 if moments.size else np.empty(0)
    return elapsed, clock(start=start, zone=zone, marks="instant", source="column")


READER = Reader(
    technique="electrochemistry",
    suffixes=(".csv", ".txt", ".tsv", ".dat"),
    sniff=sniff,
    read=read,
    description="any delimited text, columns and units declared",
)
