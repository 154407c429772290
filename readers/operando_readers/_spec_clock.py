"""When a scan of a SPEC file was taken: the best clock it has, in its rows or in its header."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from operando_readers._named_scan import CTIME, Array, first_of, from_ctime
from operando_readers._reader import FormatError
from operando_readers._scan_series import Scan
from operando_readers._spec import Block
from operando_readers._stamps import moments

SECONDS = {"seconds": 1.0, "sec": 1.0, "htime": 1e-6, r"\w+_ti": 1.0, r"\w+_timer": 1.0}
"""Names of columns with the counting time, and their unit in seconds."""
FURTHEST_ZONE = 86_400.0
UNIX = re.compile(r"\d{9,10}(?:\.\d*)?")
OVERLAP = 2.0
"""Seconds by which a scan may begin before the one above ends: stamps are whole seconds."""


class Interval(NamedTuple):
    """When a scan began and ended."""

    start: str
    """As `_stamps` reads it, "" where the file does not say."""
    end: str
    length: float | None
    """Seconds, where there is no `end`."""
    in_rows: bool
    """Whether every point has its own absolute stamp."""


def dwell_of(columns: Mapping[str, Array]) -> Array | None:
    """Return the counting time of the points in seconds, None where it is no column."""
    for pattern, factor in SECONDS.items():
        name = first_of(columns, pattern)
        if name is not None:
            return columns[name] * factor
    return None


def interval(block: Block, columns: Mapping[str, Array], dwell: Array | None) -> Interval:
    """Return when a scan was taken.

    Parameters
    ----------
    dwell
        Counting time of the points in seconds (points,), as `dwell_of` returns it.

    Raises
    ------
    FormatError
        Stamps of points that run backwards, or that contradict the date of the scan.
    """
    if block.is_of_bluesky and (name := first_of(columns, "epoch_float", "epoch")) is not None:
        passed = _ascending(columns[name], f"scan {block.number}, {name}")
        return Interval(_stamp(block.date), "", float(passed[-1]), False)
    preset = block.dwell or 0.0
    first, last = (preset, preset) if dwell is None else (float(dwell[0]), float(dwell[-1]))
    if (name := first_of(columns, "epoch")) is not None:
        counted = _ascending(columns[name], f"scan {block.number}, {name}")
        begin = _zero(block) + counted[0] - first
        _check_zone(begin, block)
        return Interval(_iso(begin), "", float(np.ptp(counted)) + first, True)
    if (name := first_of(columns, "timestamp")) is not None:
        begun = _ascending(columns[name], f"scan {block.number}, {name}")
        return Interval(_iso(begun[0]), "", float(np.ptp(begun)) + last, True)
    start = _stamp(block.date)
    if (name := first_of(columns, "dt")) is not None and block.started:
        passed = _ascending(columns[name], f"scan {block.number}, {name}")
        later = _later(start, float(passed[0]))
        return Interval(later, "", float(np.ptp(passed)) + last, False)
    points = next(iter(columns.values())).size
    length = float(np.nansum(dwell)) if dwell is not None else preset * points
    return Interval(start, _stamp(block.end) if start else "", length or None, False)


def _ascending(stamp: Array, what: str) -> Array:
    if not np.isfinite(stamp).all() or np.any(np.diff(stamp) < 0):
        raise FormatError(f"{what}: missing or running backwards")
    return stamp


def _zero(block: Block) -> float:
    """Return what ``Epoch`` counts from, in Unix seconds."""
    if UNIX.fullmatch(block.epoch) is None:
        raise FormatError(f"scan {block.number}: #E {block.epoch[:40]!r}; expected Unix seconds")
    return float(block.epoch)


def _check_zone(moment: float, block: Block) -> None:
    """Refuse an ``Epoch`` that no time zone brings to the date of the scan."""
    if not block.date:
        return
    date = moments([_stamp(block.date)], what=f"scan {block.number}, #D").values[0]
    apart = abs(moment - date.astype(np.int64) / 1e9)
    if apart > FURTHEST_ZONE:
        raise FormatError(
            f"scan {block.number}: #E {block.epoch} and Epoch give {_iso(moment)}, #D says "
            f"{block.date!r}; no time zone explains it"
        )


def _stamp(text: str) -> str:
    """Put a stamp of SPEC or Sardana into the order of other dates."""
    if UNIX.fullmatch(text):
        return _iso(float(text))
    return from_ctime(text, what="#D") if CTIME.fullmatch(text[:60]) else text


def _iso(seconds: float) -> str:
    """Return Unix seconds in ISO 8601, to the microsecond a float64 holds."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError(f"Epoch: {seconds:g} s since 1970; not a time") from error
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")


def _later(start: str, seconds: float) -> str:
    """Return a stamp some seconds later, to the second where it has no fraction of one."""
    if not seconds:
        return start
    stamp = moments([start], what="#D")
    moment = datetime.fromisoformat(str(stamp.values[0].astype("M8[us]")))
    try:
        moment += timedelta(seconds=round(seconds) if stamp.resolution_s else seconds)
    except OverflowError as error:
        raise FormatError(f"dt: begins with {seconds:g} s") from error
    return moment.isoformat() + ("+00:00" if stamp.zone else "")


def check_order(scans: Sequence[Scan]) -> None:
    """Refuse a clock that goes back, as it does at the end of summer time.

    Raises
    ------
    FormatError
        A scan begins before the one above it in the file ends.
    """
    starts = moments([scan.start for scan in scans], what="#D").values
    for before, after, gap in zip(scans[:-1], scans[1:], np.diff(starts), strict=True):
        if np.isnat(gap):
            continue
        seconds = gap.astype(np.int64) / 1e9
        if seconds < (before.length or 0.0) - OVERLAP:
            raise FormatError(
                f"scan {after.number} begins at {after.start}, before scan {before.number} of "
                f"{before.start} ends; if the clock was put back, read both sides apart with scans="
            )
