"""Read a measurement: many files of one format become one dataset on UTC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import ClockError, RequestError
from operando.model import check
from operando.reading.files import Named, expand
from operando.reading.frames import join_frames
from operando.reading.logs import join_logs
from operando.reading.registry import choose, reader_named, wanted
from operando.reading.sidecar import Log
from operando.reading.times import Declared

LARGEST = 1e10
"""Seconds: three centuries."""
LARGEST_DRIFT = 1e5
OFFSET = re.compile(r"(?:[Zz]|:\d\d[+-]\d\d:?(?:\d\d)?)$|:[\d.]+[+-]\d\d:?(?:\d\d)?$")
"""What ends a stamp that says its zone itself."""


def read(
    path: Named,
    *,
    format: str | None = None,
    technique: str | None = None,
    tz: str | None = None,
    fold: int | None = None,
    clock_offset_s: float = 0.0,
    drift_ppm: float = 0.0,
    clock_sigma_s: float | None = None,
    stamp: Literal["start", "mid", "end"] | None = None,
    exposure_s: float | None = None,
    first: str | None = None,
    period_s: float | None = None,
    log: Log | None = None,
    stamps: Literal["file", "mtime"] = "file",
    position: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    r"""Read one measurement as a checked dataset in UTC; frames stay on disk until computed.

    Every file is parsed once here, for its times and its faults, and again when its numbers are
    asked for, in blocks: memory is bounded by the blocks and not by the series. Electrochemistry
    logs are loaded.

    Parameters
    ----------
    path
        A file, folder, glob, zip, ``archive.zip!pattern``, or a sequence of these.
    format
        A name of `formats`; recognised from the content when not given.
    technique
        Chooses where a file is a log and a series of sweeps at once: "electrochemistry",
        "impedance", or another; "frames" for any but electrochemistry.
    tz
        IANA zone of stamps that carry none ("Europe/Paris"). A zone in the file wins.
    fold
        0 or 1: which of the two, when a local time occurs twice at the end of summer time.
    clock_offset_s, drift_ppm
        Correction of this clock, added to its stamps; the drift acts on the time since the start.
    clock_sigma_s
        Uncertainty of the clock after correction.
    stamp
        What a stamp marks of its exposure, when it is not what the reader says.
    exposure_s
        Length of an exposure, when the file does not say.
    first, period_s
        Times by index, for files without any: start of the first frame and period.
    log
        Times from a table of scans.
    stamps
        "mtime" takes when each file was last written for the end of its exposure.
    position
        Regular expression with one group, searched in the file name: the spot or layer.
    options
        Options of the reader.

    Returns
    -------
    xarray.Dataset
        As `operando.model.check` asks. Frames carry `time_start`, `time_end`, `frame_flag`,
        `file_index`; attrs name the reader, the files, the clock and the problems met (JSON).

    Raises
    ------
    ReadError
        Nothing can be read; names the path, the reader and the place.
    ClockError
        A stamp cannot be placed without guessing; names the file and the key to declare.
    RequestError
        An option or a position pattern that does not fit; names it.
    """
    _check_declared(stamp=stamp, stamps=stamps, fold=fold, first=first, log=log, options=options)
    declared = Declared(
        tz=tz,
        fold=fold,
        clock_offset_s=clock_offset_s,
        drift_ppm=drift_ppm,
        clock_sigma_s=clock_sigma_s,
        stamp=stamp,
        exposure_s=exposure_s,
        first=first,
        period_s=period_s,
        log=log,
        stamps=stamps,
    )
    if drift_ppm and (log is not None or first is not None or stamps == "mtime"):
        raise ClockError(
            "drift_ppm: acts on a counter in the file, which log, first and mtime lack"
        )
    for key, number, least, most in (
        ("clock_offset_s", clock_offset_s, -LARGEST, LARGEST),
        ("drift_ppm", drift_ppm, -LARGEST_DRIFT, LARGEST_DRIFT),
        ("clock_sigma_s", clock_sigma_s, 0.0, LARGEST),
        ("exposure_s", exposure_s, 0.0, LARGEST),
        ("period_s", period_s, 0.0, LARGEST),
    ):
        if number is not None:
            between = f"a number from {least:g} to {most:g}"
            found = arguments.number(key, number, np.isfinite, between)
            if not least <= found <= most:
                raise arguments.refusal(key, number, between)
    name, files = choose(expand(path), format=format, technique=technique)
    chosen = dict(options or {})
    kind = str(chosen.get("technique", reader_named(name).technique))
    if not wanted(kind, technique):
        raise RequestError(f"format: {name!r} reads {kind}; technique says {technique!r}")
    if kind == "electrochemistry":
        dataset = join_logs(files, format=name, options=chosen, declared=declared)
    else:
        pattern = _pattern(position)
        dataset = join_frames(
            files, format=name, options=chosen, declared=declared, position=pattern
        )
    return check(dataset.assign_attrs(reader=name, reader_version=version("operando")))


def _check_declared(
    *, stamp: object, stamps: object, fold: object, first: object, log: object, options: object
) -> None:
    """Refuse what the signature does not promise, before it is taken for something else."""
    if stamp is not None:
        arguments.chosen("stamp", stamp, ("start", "mid", "end"))
    arguments.chosen("stamps", stamps, ("file", "mtime"))
    if fold is not None:
        arguments.whole("fold", fold, lambda which: which in (0, 1), "0 or 1")
    if log is not None and not isinstance(log, Log):
        raise arguments.refusal("log", log, "an operando.reading.sidecar.Log")
    if options is not None and not isinstance(options, Mapping):
        raise arguments.refusal("options", options, "a mapping of the reader's options")
    if first is not None and (not isinstance(first, str) or OFFSET.search(first)):
        raise arguments.refusal(
            "first", first, "local time without offset, '2026-05-04T10:00:00'; tz says the zone"
        )


def _pattern(position: str | None) -> re.Pattern[str] | None:
    if position is None:
        return None
    try:
        pattern = re.compile(position)
    except re.error as error:
        raise RequestError(
            f"position: {position!r} is not a regular expression ({error})"
        ) from error
    if pattern.groups != 1:
        raise RequestError(f"position: {position!r} has {pattern.groups} groups; expected one")
    return pattern
