"""When the scans of a diffractometer were taken: by their own stamps, or by one of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError, clock
from operando_readers._stamps import DateOrder, Moments, moments

Array = npt.NDArray[np.float64]

MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class Times:
    """When the scans of a file were taken."""

    facts: dict[str, str | float | None]
    """As `clock` makes them."""
    elapsed: Array
    exposure: Array | None = None
    caution: str = ""
    """What the user should know of them."""


def by_stamps(
    starts: Sequence[str], ends: Sequence[str], *, date_order: DateOrder | None = None
) -> Times:
    """Return the times of scans that each have a stamp of their start, "" where they have none.

    The exposure is from start to end; there is none where an end is missing, or where stamps of
    whole minutes are the same.

    Raises
    ------
    FormatError
        A stamp that is none or could be two, some scans without, or an end before its start.
    """
    started = moments(starts, what="start", date_order=date_order, beside=ends)
    missing = np.isnat(started.values)
    if missing.all():
        return unknown(len(starts))
    if missing.any():
        number = int(np.flatnonzero(missing)[0]) + 1
        raise FormatError(f"scan {number} of those read: no start, others have; choose by scans=")
    ended = moments(ends, what="end", date_order=date_order, beside=starts)
    exposure = None
    if not np.isnat(ended.values).any():
        if ended.zone != started.zone:
            raise FormatError(f"end: {ends[0]!r} and start: {starts[0]!r}; one has an offset")
        exposure = _seconds(ended.values - started.values)
        if (exposure < 0).any():
            at = int(np.argmin(exposure))
            raise FormatError(f"end: {ends[at]!r} is not after the start {starts[at]!r}")
        if started.resolution_s >= MINUTE and not exposure.all():
            exposure = None
    return Times(
        facts=_header_clock(started),
        elapsed=_seconds(started.values - started.values[0]),
        exposure=exposure,
    )


def by_offsets(
    header: str,
    offsets: Sequence[float | None],
    *,
    runtime: float | None = None,
    date_order: DateOrder | None = None,
) -> Times:
    """Return the times of ranges that start so many seconds after one stamp of the file.

    Parameters
    ----------
    offsets
        None where the file does not say: then the ranges have no time, and the user must give it.
    runtime
        Seconds that the whole file took; the exposure, where it holds one range.

    Raises
    ------
    FormatError
        The stamp is none, or could be two.
    """
    started = moments([header], what="date", date_order=date_order)
    known = [offset for offset in offsets if offset is not None]
    if np.isnat(started.values[0]):
        return unknown(len(offsets))
    if len(known) < len(offsets):
        caution = f"{header.strip()} dates the file; when its ranges were measured is not in it"
        return replace(unknown(len(offsets)), caution=caution)
    exposure = None
    if runtime is not None and len(known) == 1 and np.isfinite(runtime) and runtime > 0:
        exposure = np.array([runtime])
    return Times(facts=_header_clock(started), elapsed=np.array(known), exposure=exposure)


def unknown(count: int) -> Times:
    """Return the times of scans whose file does not date them."""
    facts = clock(start=None, zone=None, marks="start", source="none")
    return Times(facts=facts, elapsed=np.zeros(count))


def _header_clock(started: Moments) -> dict[str, str | float | None]:
    sigma = started.resolution_s / 2 or None
    start = started.iso(0)
    return clock(start=start, zone=started.zone, marks="start", source="header", sigma_s=sigma)


def _seconds(span: npt.NDArray[np.timedelta64]) -> Array:
    return np.asarray(span.astype("m8[ns]").astype(np.int64) / 1e9)
