"""The one place where the times a file states and those a user declares become UTC intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import clocks
from operando.errors import ClockError
from operando.reading.sidecar import Log, Row, row_of
from operando_readers._reader import File

Stamps = npt.NDArray[np.datetime64]
Marks = Literal["start", "mid", "end", "instant"]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the user says about the clock of a source; every field is optional, none is guessed."""

    tz: str | None = None
    fold: int | None = None
    clock_offset_s: float = 0.0
    drift_ppm: float = 0.0
    clock_sigma_s: float | None = None
    stamp: Literal["start", "mid", "end"] | None = None
    exposure_s: float | None = None
    first: str | None = None
    period_s: float | None = None
    log: Log | None = None
    stamps: Literal["file", "mtime"] = "file"


@dataclass(frozen=True)
class Placed:
    """Frames of one file on UTC, and where that came from."""

    start: Stamps
    mid: Stamps
    end: Stamps
    facts: dict[str, Any]


def place(
    file: File, dataset: xr.Dataset | None, *, declared: Declared, log: list[Row] | None
) -> Placed:
    """Place the frames of one file on UTC, from the log when one is declared, else from the file.

    Parameters
    ----------
    dataset
        What the reader returned; None for a file that could not be read (the log still knows when
        it was taken).

    Raises
    ------
    ClockError
        The file has no time and none is declared, or its zone is unknown.
    """
    if log is not None and declared.log is not None:
        if dataset is not None and dataset.sizes["time"] != 1:
            raise ClockError(
                f"{file}: {dataset.sizes['time']} frames in it, but a row of log is one exposure"
            )
        return _from_log(row_of(file, log, where=str(declared.log.path)), declared, dataset)
    if dataset is None:
        raise ClockError(f"{file}: unreadable, so its time is unknown")
    facts = cast("Mapping[str, Any]", dataset.attrs["clock"])
    if facts["start"] is None:
        doubts = f" ({dataset.attrs['doubts']})" if dataset.attrs.get("doubts") else ""
        raise ClockError(
            f"{file}: no time in the file{doubts}; declare log (a table of scan times), first and "
            "period_s (times by index) or stamps = 'mtime'"
        )
    zero = localised(facts, declared=declared, where=str(file))
    count = dataset.sizes["time"]
    elapsed = (
        dataset["elapsed"].values.astype(np.float64)
        if "elapsed" in dataset.coords
        else np.zeros(count)
    )
    stamps = clocks.stamps(
        zero, elapsed, clock_offset_s=declared.clock_offset_s, drift_ppm=declared.drift_ppm
    )
    length, origin = _exposure(dataset, declared, count)
    marks = cast("Marks", declared.stamp or facts["marks"])
    start, mid, end = clocks.intervals(stamps, length, marks=marks)
    sigma = declared.clock_sigma_s
    return Placed(
        start,
        mid,
        end,
        {
            "source": facts["source"],
            "zone": facts["zone"] or declared.tz,
            "marks": marks,
            "exposure": origin,
            "sigma_s": facts["sigma_s"] if sigma is None else sigma,
        },
    )


def localised(facts: Mapping[str, Any], *, declared: Declared, where: str) -> np.datetime64:
    """Return the zero of a file's clock in UTC."""
    return clocks.localise(
        facts["start"], zone=facts["zone"], tz=declared.tz, fold=declared.fold, where=where
    )


def by_index(
    count: int, *, declared: Declared, where: str, length: npt.NDArray[np.float64] | None = None
) -> Placed:
    """Place frames that carry no time by their order: first + i * period, both declared.

    `length` is that of the exposures in s (count,), where the files know it.
    """
    if declared.first is None or declared.period_s is None:
        raise ClockError(f"{where}: times by index need both first and period_s")
    stamps = clocks.from_index(
        count,
        first=declared.first,
        period_s=declared.period_s,
        tz=declared.tz,
        fold=declared.fold,
        where=where,
    )
    marks = declared.stamp or "start"
    return _regular(stamps, declared, source="index", marks=marks, sigma_s=None, length=length)


def by_mtime(files: list[File], *, declared: Declared) -> Placed:
    """Place one frame a file by when the file was last written: the end of its exposure.

    Raises
    ------
    ClockError
        The stamps all lie within one exposure (copied files), or a file is a zip member.
    """
    where = f"{files[0]} .. {files[-1].name}"
    if any(file.member is not None for file in files) or declared.exposure_s is None:
        raise ClockError(f"{where}: stamps = 'mtime' needs unpacked files and exposure_s")
    written = np.array([file.path.stat().st_mtime for file in files])
    stamps, sigma = clocks.from_mtimes(written, exposure_s=declared.exposure_s, where=where)
    return _regular(stamps, declared, source="mtime", marks="end", sigma_s=sigma)


def _regular(
    stamps: Stamps,
    declared: Declared,
    *,
    source: str,
    marks: Marks,
    sigma_s: float | None,
    length: npt.NDArray[np.float64] | None = None,
) -> Placed:
    shifted = stamps + _nanoseconds(declared.clock_offset_s)
    exposure = "unknown" if length is None else "file"
    if declared.exposure_s is not None:
        length, exposure = np.full(stamps.size, declared.exposure_s), "declared"
    seconds = np.zeros(stamps.size) if length is None else length
    start, mid, end = clocks.intervals(shifted, seconds, marks=marks)
    return Placed(
        start,
        mid,
        end,
        {
            "source": source,
            "zone": declared.tz or "UTC",
            "marks": marks,
            "exposure": exposure,
            "sigma_s": sigma_s if declared.clock_sigma_s is None else declared.clock_sigma_s,
        },
    )


def _from_log(row: Row, declared: Declared, dataset: xr.Dataset | None) -> Placed:
    where = f"{declared.log.path} ({row.name})" if declared.log else row.name
    bounds = []
    zone = None
    for text in (row.start, row.end):
        if text is None:
            continue
        stamp = datetime.fromisoformat(text)
        zone = stamp.strftime("%z") or None
        zone = f"{zone[:3]}:{zone[3:5]}" if zone else None
        naive = stamp.replace(tzinfo=None).isoformat()
        at = clocks.localise(naive, zone=zone, tz=declared.tz, fold=declared.fold, where=where)
        bounds.append(at + _nanoseconds(declared.clock_offset_s))
    facts: dict[str, Any] = {
        "source": "log",
        "zone": zone or declared.tz,
        "marks": "start",
        "exposure": "log",
        "sigma_s": declared.clock_sigma_s,
    }
    if row.end is not None:
        start, end = (np.array([bound], "datetime64[ns]") for bound in bounds)
        return Placed(start, start + (end - start) // 2, end, facts)
    length, origin = _exposure(xr.Dataset() if dataset is None else dataset, declared, 1)
    marks = cast("Marks", declared.stamp or "start")
    found = clocks.intervals(np.array(bounds, "datetime64[ns]"), length, marks=marks)
    return Placed(*found, {**facts, "marks": marks, "exposure": origin})


def _exposure(
    dataset: xr.Dataset, declared: Declared, count: int
) -> tuple[npt.NDArray[np.float64], str]:
    if declared.exposure_s is not None:
        return np.full(count, declared.exposure_s), "declared"
    if "exposure" in dataset.coords:
        return dataset["exposure"].values.astype(np.float64), "file"
    return np.zeros(count), "unknown"


def _nanoseconds(seconds: float) -> np.timedelta64:
    return np.timedelta64(round(seconds * 1e9), "ns")
