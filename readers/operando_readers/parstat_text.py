"""Logs exported as text by VersaStudio (Parstat, VersaSTAT; Princeton Applied Research).

Usage: `read(file)`.

File structure: a line of names ("Potential (V)", "Current (A)", "Elapsed Time (s)" ...; or
"Segment #", "E(V)", "I(A)", "Elapsed Time(s)" in .csv), then rows. Seen: one tab-separated file.

A file may hold a log and a sweep of impedance. Rows with a frequency belong to the sweep and are
left out: their potential and current are copies of one older value (0.02 A at rest in the file
seen). `parstat_impedance` reads them.

Clock: the file holds no date.

Sign: what the software was set to; it is measured later, or declared by the user.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import xarray as xr

from operando_readers._cycler import log_of
from operando_readers._profile import Profile, split_label
from operando_readers._reader import File, FormatError, Reader
from operando_readers._source import Source, find_names, open_source
from operando_readers._table import fields_of, numbers
from operando_readers._text import text_of

PROFILE = Profile(
    instrument="Parstat",
    sign="unknown",
    header=re.compile(r"^(?=.*(?:Potential ?\(|\bE\())(?=.*Elapsed Time ?\()"),
    columns={
        "elapsed": {"elapsed time": None},
        "voltage": {"potential": None, "e": None},
        "current": {"current": None, "i": None},
        "step": {"segment #": None},
        "frequency": {"frequency": None},
    },
    delimiters=("\t", ","),
)


def sniff(head: bytes, name: str) -> bool:
    """Whether the columns are a potential and an elapsed time, in rows without frequency."""
    lines = text_of(head).split("\n")
    found = find_names(lines, PROFILE)
    if found is None:
        return False
    at, delimiter, names = found
    column = next((k for k, label in enumerate(names) if split_label(label)[0] == "frequency"), -1)
    first = fields_of(lines[at + 1], delimiter) if at + 1 < len(lines) else []
    return column < 0 or (len(first) > column and first[column].strip("0.,") == "")


def read(file: File) -> xr.Dataset:
    """Read the log of one file.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), `step_instrument` (the segment)
    where there is one, and the coordinate `elapsed` (s); the clock has no start.

    Raises
    ------
    FormatError
        Not such a file, no row that belongs to a log, or a row that is not numbers.
    """
    return log_of(_without_sweeps(open_source(file, PROFILE)), PROFILE)


def _without_sweeps(source: Source) -> Source:
    """Leave out the rows of sweeps."""
    table = source.table
    if "frequency" not in source.places or not table.lines:
        return source
    fields = table.columns[source.places["frequency"]]
    frequency = numbers(fields, what="frequency", decimal=source.decimal, lines=table.lines)
    kept = np.flatnonzero(~(frequency > 0)).tolist()
    if not kept:
        raise FormatError("table: every row has a frequency; read it as impedance")
    columns = {at: [column[row] for row in kept] for at, column in table.columns.items()}
    lines = [table.lines[row] for row in kept]
    return replace(source, table=replace(table, columns=columns, lines=lines))


READER = Reader(
    technique="electrochemistry",
    suffixes=(".txt", ".csv"),
    sniff=sniff,
    read=read,
    description="Parstat / VersaStudio text export of a log",
)
