"""Every conversion of an instrument's stamps to UTC: zones, offsets, drift, exposure intervals.

A wrong clock ruins an experiment silently, so nothing here is guessed. A start is localised once,
converted to UTC, and only then elapsed time is added, as int64 nanoseconds: results do not depend
on the machine's zone, daylight saving between start and row does not matter, and a row 1e9 s after
the start keeps less than a microsecond of error.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from operando.errors import ClockError

Stamps = npt.NDArray[np.datetime64]
Array = npt.NDArray[np.float64]

SECOND = 1_000_000_000
DAY = np.timedelta64(1, "D")
EARLIEST = np.datetime64("1990-01-01", "ns")
EXPORT_SPAN = np.timedelta64(SECOND, "ns")
"""Frames stamped within this span were stamped by one export, not by their exposures."""
TOLERATED_OVERLAP = np.timedelta64(1_000_000, "ns")
MTIME_RESOLUTION_S = 2.0
"""File systems (FAT, network shares) keep the time of last writing to two seconds."""

_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})?")
_NAIVE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?")


def localise(
    start: str, *, zone: str | None, tz: str | None, fold: int | None = None, where: str
) -> np.datetime64:
    """Return the UTC instant of a local wall-clock stamp.

    Parameters
    ----------
    start
        ISO 8601 without offset, with all the digits the file has (nanoseconds are kept).
    zone
        What the file itself says: "UTC", an offset such as "+02:00", or None. It wins over `tz`.
    tz
        What the user declares: an IANA name ("Europe/Paris") or an offset.
    fold
        0 takes the first, 1 the second of two equal local times (PEP 495).
    where
        The file or key, for the messages.

    Raises
    ------
    ClockError
        Neither zone nor tz is given; the zone is unknown; the stamp is not a naive ISO stamp, or
        it happened twice or never in that zone and no fold is given.
    """
    named = zone if zone is not None else tz
    if named is None:
        raise ClockError(
            f"{where}: stamp {start!r} has no zone; declare tz, for example tz = 'Europe/Paris'"
        )
    local = _naive(start, where)
    whole = local.astype("datetime64[s]")
    wall: datetime = whole.item()
    utc = _to_utc(wall, _zone(named, where), named, fold, where)
    seconds = np.datetime64(utc.replace(tzinfo=None), "s")
    return np.datetime64(seconds.astype("datetime64[ns]") + (local - whole))


def stamps(
    start: np.datetime64, elapsed: Array, *, clock_offset_s: float = 0.0, drift_ppm: float = 0.0
) -> Stamps:
    """Return `start + offset + (1 + drift) * elapsed`, rounded to the nanosecond.

    Parameters
    ----------
    start
        UTC instant that `elapsed` counts from.
    elapsed
        Seconds (n,).
    clock_offset_s
        Seconds to add to the clock; declared by the user, never estimated here.
    drift_ppm
        Microseconds to add for each second elapsed.

    Raises
    ------
    ClockError
        An elapsed time is not finite.
    """
    seconds = np.asarray(elapsed, np.float64)
    if not np.isfinite(seconds).all():
        missing = int((~np.isfinite(seconds)).sum())
        raise ClockError(
            f"elapsed: {missing} of {seconds.size} rows not finite; every row needs one"
        )
    correction = np.rint(seconds * (drift_ppm * 1e3)).astype(np.int64)
    shift = _nanoseconds(seconds) + correction + round(clock_offset_s * SECOND)
    placed: Stamps = start.astype("datetime64[ns]") + shift.astype("timedelta64[ns]")
    return placed


def intervals(
    stamps: Stamps, exposure: Array, *, marks: Literal["start", "mid", "end", "instant"]
) -> tuple[Stamps, Stamps, Stamps]:
    """Return start, middle and end of each exposure.

    Parameters
    ----------
    stamps
        UTC (n,).
    exposure
        Live time in seconds (n,).
    marks
        What a stamp marks of its exposure; "instant" makes intervals of no length.

    Raises
    ------
    ClockError
        An exposure is negative or not finite.
    """
    length = np.asarray(exposure, np.float64)
    bad = ~(np.isfinite(length) & (length >= 0))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise ClockError(f"exposure: {length[at]} s at frame {at}; expected seconds >= 0")
    if marks == "instant":
        length = np.zeros_like(length)
    duration = _nanoseconds(length).astype("timedelta64[ns]")
    before = {"start": 0 * duration, "instant": duration, "mid": duration // 2, "end": duration}
    start = stamps - before[marks]
    return start, start + duration // 2, start + duration


def check_plausible(
    start: Stamps, end: Stamps, *, where: str, now: np.datetime64 | None = None
) -> None:
    """Refuse stamps that cannot be when the exposures were taken.

    Raises
    ------
    ClockError
        A stamp lies before 1990 or more than a day after `now` (the moment of the call), or three
        frames and more all begin within one second although they did not fit into it: the stamp is
        that of an export.
    """
    if start.size == 0:
        return
    latest = (np.datetime64(time.time_ns(), "ns") if now is None else now) + DAY
    for stamp in (start.min(), end.max()):
        if not EARLIEST <= stamp <= latest:
            raise ClockError(
                f"{where}: stamp {np.datetime_as_string(stamp, unit='s')} UTC; expected one "
                f"from 1990 to {np.datetime_as_string(latest, unit='D')}: check the clock and tz"
            )
    span = start.max() - start.min()
    if start.size >= 3 and span <= EXPORT_SPAN and not _consecutive(start, end):
        raise ClockError(
            f"{where}: all {start.size} frames are stamped within {span / EXPORT_SPAN:.3g} s, the "
            "time of an export; declare first and period_s, or a log of scan times"
        )


def overlapping(start: Stamps, end: Stamps) -> npt.NDArray[np.bool_]:
    """Mark the frames that begin before the latest of the frames ahead ended.

    Tolerated are 1 ms and 1 % of the median exposure: a stated period rounds to less than that.

    Of frames of unknown length those that begin with the one ahead are marked too: repeats that all
    carry the stamp of the first.

    Shapes (n,), in the order of `start`. Most frames marked means that the exposure is wrong, or
    that the stamps mark its end.
    """
    mask = np.zeros(start.size, bool)
    if start.size > 1:
        reached: Stamps = np.maximum.accumulate(end)[:-1]
        exposure = np.median((end - start).astype(np.int64))
        tolerated = max(TOLERATED_OVERLAP, np.timedelta64(int(exposure / 100), "ns"))
        mask[1:] = reached - start[1:] > tolerated
        mask[1:] |= (start[1:] == start[:-1]) & (end[1:] == start[1:]) & (end[:-1] == start[:-1])
    return mask


def from_index(
    count: int, *, first: str, period_s: float, tz: str | None, fold: int | None, where: str
) -> Stamps:
    """Return `first + index * period` in UTC for frames that carry no time of their own.

    Raises
    ------
    ClockError
        The period is not positive, or `first` cannot be localised.
    """
    if not (np.isfinite(period_s) and period_s > 0):
        raise ClockError(f"{where}: period_s {period_s!r}; expected seconds > 0")
    zero = localise(first, zone=None, tz=tz, fold=fold, where=where)
    return stamps(zero, np.arange(count, dtype=np.float64) * period_s)


def from_mtimes(mtimes: Array, *, exposure_s: float, where: str) -> tuple[Stamps, float]:
    """Return the ends of exposures from when their files were last written, and their sigma in s.

    The sigma is two seconds or one period, whichever is longer: writing may lag behind.

    Raises
    ------
    ClockError
        The files were all written within one exposure: they were copied or exported, and the times
        of writing say nothing.
    """
    written = np.asarray(mtimes, np.float64)
    span = float(np.ptp(written)) if written.size else 0.0
    if written.size > 1 and span < max(exposure_s, MTIME_RESOLUTION_S):
        raise ClockError(
            f"{where}: {written.size} files written within {span:.3g} s, less than one exposure of "
            f"{exposure_s:g} s: copied or exported; declare first and period_s, or a log"
        )
    period = float(np.median(np.diff(np.sort(written)))) if written.size > 1 else exposure_s
    ends = stamps(np.datetime64(0, "ns"), written)
    return ends, max(MTIME_RESOLUTION_S, period)


def _naive(start: str, where: str) -> np.datetime64:
    if not _NAIVE.fullmatch(start):
        raise ClockError(
            f"{where}: stamp {start!r}; expected ISO 8601 without offset, 2022-07-26T22:38:30.190"
        )
    try:
        return np.datetime64(start.replace(" ", "T"), "ns")
    except ValueError as error:
        raise ClockError(f"{where}: stamp {start!r}; no such date or time") from error


def _zone(name: str, where: str) -> tzinfo:
    if name in ("UTC", "Z"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset:
        sign, hours, minutes = offset.groups()
        shift = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if shift < timedelta(days=1):
            return timezone(-shift if sign == "-" else shift)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ClockError(
            f"{where}: unknown time zone {name!r}; expected a name such as 'Europe/Paris', "
            "'UTC', or an offset such as '+02:00'"
        ) from error


def _to_utc(wall: datetime, zone: tzinfo, named: str, fold: int | None, where: str) -> datetime:
    utc = wall.replace(tzinfo=zone, fold=fold or 0).astimezone(UTC)
    if fold is not None:
        return utc
    if utc.astimezone(zone).replace(tzinfo=None) != wall:
        raise ClockError(
            f"{where}: {wall} never happened in {named!r} (clocks went forward); correct the "
            "stamp, or declare fold = 0 (offset before the change) or 1"
        )
    if wall.replace(tzinfo=zone, fold=1).astimezone(UTC) != utc:
        raise ClockError(
            f"{where}: {wall} happened twice in {named!r} (clocks went back); declare fold = 0 "
            "(first) or fold = 1 (second)"
        )
    return utc


def _nanoseconds(seconds: Array) -> npt.NDArray[np.int64]:
    """Round to whole nanoseconds without losing digits of large numbers."""
    whole = np.floor(seconds)
    fraction = np.rint((seconds - whole) * SECOND).astype(np.int64)
    return whole.astype(np.int64) * SECOND + fraction


def _consecutive(start: Stamps, end: Stamps) -> bool:
    """Whether fast frames followed one another, each with an exposure of its own."""
    return bool((end > start).all() and not overlapping(start, end).any())
