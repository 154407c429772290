"""Text files of CH Instruments: voltammetry, amperometry, chronopotentiometry, open circuit.

Usage: `read(file)`.

File structure: a date, the technique, lines "name = value" about the settings, a line of names
("Potential/V, Current/A", "Time/sec, Potential/V", "Time/sec, Current/A"), an empty line, rows
divided by commas or tabs; "Segment 1:" may stand between them. Seen: only an export of impedance;
the tables of logs from a file in a public repository (wsyxbcl/pyCV, cv_sample.txt) and from code
that reads them.

The files do not hold all there is to know:

- Sweeps have no time. It follows from the potential: |dE| summed up over "Scan Rate (V/s)".
- Currents at constant potential ("Amperometric i-t Curve") have no potential: it is "Init E (V)".
- Chronoamperometry with steps has none either: `voltage` is NaN.
- Chronopotentiometry has no current: there is no `current`.

Clock: the date in the first line, local. Whether it is the start of the run or its end is not
known, so that the stamps are uncertain by the length of the run.

Sign: cathodic currents are positive in the default setting, anodic ones in another, and the file
does not say; it is measured later, or declared by the user.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._cycler import log_of, values_of
from operando_readers._profile import Profile
from operando_readers._reader import File, FormatError, Reader
from operando_readers._source import Source, claims, open_source

Array = npt.NDArray[np.float64]

PROFILE = Profile(
    instrument="CH Instruments",
    sign="unknown",
    header=re.compile(r"^\s*(?:Potential/V|Time/s(?:ec)?)\s*[,\t]"),
    above=re.compile(r"Instrument Model:|^Init E \(V\)|\bCHI\d", re.MULTILINE),
    columns={
        "elapsed": {"time": None},
        "voltage": {"potential": None},
        "current": {"current": None},
    },
    needs=(("voltage", "current"), ("voltage", "elapsed"), ("current", "elapsed")),
    start=re.compile(r"\A\s*([A-Z][a-z]{2,8}\.? \d{1,2}, \d{4}\s+\d{1,2}:\d{2}:\d{2})"),
    skip=re.compile(r"^\s*Segment\s+\d+"),
    delimiters=(",", "\t"),
)
SLOWEST = 1e-9
CONSTANT_POTENTIAL = re.compile(r"^[ \t]*(?:Amperometric )?i ?- ?t\b", re.IGNORECASE | re.MULTILINE)


def sniff(head: bytes, name: str) -> bool:
    """Whether settings of such an instrument stand above names of its columns."""
    return claims(head, PROFILE)


def read(file: File) -> xr.Dataset:
    """Read one run.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous) where the file has it, and the
    coordinate `elapsed` (s). `attrs["derived"]` says what was not measured but follows from the
    settings.

    Raises
    ------
    FormatError
        Not such a file, a sweep without a scan rate, or a row that is not numbers.
    """
    source = open_source(file, PROFILE)
    derived = []
    counter = None
    extra: dict[str, Any] = {}
    if "elapsed" not in source.places:
        counter = _swept(source)
        derived.append("elapsed: |dE| summed up over the scan rate")
    if "voltage" not in source.places:
        held = CONSTANT_POTENTIAL.search(source.header)
        value = _setting(source, "Init E (V)") if held is not None else np.nan
        extra["voltage"] = ("time", np.full(len(source.table.lines), value), {"units": "V"})
        derived.append("voltage: Init E" if held else "voltage: not in the file")
    dataset = log_of(source, PROFILE, counter=counter, extra=extra)
    if derived:
        dataset.attrs["derived"] = "; ".join(derived)
    if dataset.attrs["clock"]["start"] is not None and dataset.sizes["time"]:
        elapsed = dataset["elapsed"].values
        dataset.attrs["clock"]["sigma_s"] = max(0.5, float(elapsed[-1]))
        dataset.attrs["clock_reason"] = "the date may be the start or the end of the run"
    return dataset


def _swept(source: Source) -> Array:
    """Return the time of a sweep: the way its potential has gone over the scan rate."""
    rate = _setting(source, "Scan Rate (V/s)")
    if not rate >= SLOWEST:
        raise FormatError(f"header: scan rate {rate} V/s; expected more than {SLOWEST:g}")
    potential = values_of(source, PROFILE, "voltage")
    way: Array = np.cumsum(np.abs(np.diff(potential, prepend=potential[:1])))
    return way / rate


def _setting(source: Source, name: str) -> float:
    match = re.search(rf"^[ \t]*{re.escape(name)} *= *(\S+)", source.header, re.MULTILINE)
    if match is None:
        raise FormatError(f"header: no {name!r}, which the table needs")
    try:
        value = float(match[1])
    except ValueError as error:
        raise FormatError(f"header: {name} = {match[1]!r}; expected a number") from error
    return value


READER = Reader(
    technique="electrochemistry",
    suffixes=(".txt", ".csv"),
    sniff=sniff,
    read=read,
    description="CH Instruments text files of voltammetry and chrono methods",
)
