"""Scans over two theta in SPEC files, many scans a file: by SPEC, Sardana, Bluesky.

File structure: see `_spec`. A scan is one of diffraction when the column that its command moves,
the first, is called two theta (``2-theta``, ``tth``, ``TwoTheta``, ``twoth``, ``delta``, ``del``),
or is the one the option `axis` names. The intensity is the last column, which SPEC itself plots, or
the one the option `counter` names; ``I0``, ``Monitor``, ``mon`` or the option `monitor` ride along
and nothing is divided by them. Scans of one axis stack; of several, the option `scans` chooses.

Time: ``Epoch`` counts seconds from the last ``#E`` above it, so each point has its UTC stamp,
mostly to the second; without it the scan begins at ``#D``, local and without zone. Bluesky counts
``Epoch`` from the start of each scan, so its scans begin at ``#D`` too. See `_spec_clock`.

An aborted scan is kept, NaN where it did not arrive: attrs ``truncated`` names it. Uncertainty:
none in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando_readers._diffraction import NO_CLOCK, pattern
from operando_readers._named_scan import Array, first_of
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._scan_series import wanted
from operando_readers._spec import Block, blocks
from operando_readers._spec_clock import Interval, dwell_of, interval
from operando_readers._stamps import moments

TWO_THETA = r"2[-_ ]?theta|two[-_ ]?theta|tth|twoth|2th|ttheta|delta|del"
FIRST = re.compile(rf"\s*(?:{TWO_THETA})(?:\s|$)", re.IGNORECASE)
MONITORS = ("i0", "monitor", "mon")
LABELS = re.compile(
    rb"^#L\s+(?:" + TWO_THETA.encode() + rb")(?:\s|$)", re.MULTILINE | re.IGNORECASE
)
SAME_STEP = 0.5
"""Positions that differ by less than this part of a step are those of one axis."""
MOST_LISTED = 12
LEAST_POINTS = 2


@dataclass(frozen=True)
class _Scan:
    """A scan over two theta."""

    block: Block
    position: Array
    columns: dict[str, Array]
    counter: str
    monitor: str | None
    time: Interval
    dwell: Array | None
    truncated: str

    def __str__(self) -> str:
        low, high = self.position.min(), self.position.max()
        return f"{self.block.number} ({low:g}-{high:g}, {self.position.size} points)"


def read(
    file: File,
    *,
    scans: str | None = None,
    axis: str | None = None,
    counter: str | None = None,
    monitor: str | None = None,
) -> xr.Dataset:
    """Read the scans over one range of two theta.

    Parameters
    ----------
    scans
        Numbers of scans, "3-14,16"; all over two theta when not given.
    axis
        Column of two theta in degree, where it has none of the names above.
    counter
        Column of the intensity; the last when not given.
    monitor
        Column of the monitor, where it has none of the names above.

    Returns
    -------
    `intensity` (time, two_theta in degree) in counts, and `monitor` and `dwell` (s) where there are
    columns of them; on time the `scan` number.

    Raises
    ------
    FormatError
        Not such a file, no scan over two theta, scans of several ranges (lists them), a column that
        is not there or counts nothing, a row that is not numbers, or clocks that run backwards.
    """
    found = blocks(file.read_text())
    if not found:
        raise FormatError("no '#S' line; expected a SPEC file")
    chosen = [block for block in found if wanted(block.number, scans)]
    taken = [
        scan
        for block in chosen
        if (scan := _scan(block, axis=axis, counter=counter, monitor=monitor)) is not None
    ]
    if not taken:
        named = "; ".join(f"{block.number} {block.command}" for block in chosen[:MOST_LISTED])
        raise FormatError(
            f"scans: none of {len(chosen)} is over two theta (axis=): {named or 'there are none'}"
        )
    _check_order(taken)
    return _dataset(taken, skipped=len(chosen) - len(taken))


def _scan(
    block: Block, *, axis: str | None, counter: str | None, monitor: str | None
) -> _Scan | None:
    """Return a scan, None where it is over something else or has too few points."""
    if not block.first or not (axis in block.labels if axis else FIRST.match(block.labels)):
        return None
    columns, cut = block.columns()
    name = axis or next(iter(columns))
    if name not in columns or np.unique(columns[name]).size < LEAST_POINTS:
        return None
    where = f"scan {block.number}"
    counted = counter or list(columns)[-1]
    watched = monitor or first_of(columns, *MONITORS)
    for asked in filter(None, (counted, watched)):
        if asked not in columns:
            raise FormatError(f"{where}: {asked!r} is no column; there are {list(columns)}")
    if not np.any(columns[counted] > 0):
        raise FormatError(
            f"{where}: {counted!r} counts nothing; name the detector as counter= out of "
            f"{list(columns)}"
        )
    dwell = dwell_of(columns)
    points = columns[name].size
    short = block.points is not None and points < block.points
    reasons = [
        "was aborted" if block.is_aborted else "",
        f"has {points} of {block.points} points" if short else "",
        f"ends in {cut}" if cut else "",
    ]
    return _Scan(
        block,
        columns[name],
        columns,
        counted,
        watched,
        interval(block, columns, dwell),
        dwell,
        ", ".join(filter(None, reasons)),
    )


def _check_order(taken: Sequence[_Scan]) -> None:
    """Refuse scans of different ranges, and those that begin before the one above."""
    whole = max(taken, key=lambda scan: scan.position.size)
    step = float(np.median(np.abs(np.diff(whole.position))))
    for scan in taken:
        part = whole.position[: scan.position.size]
        if not scan.truncated and scan.position.size < whole.position.size:
            part = np.empty(0)
        if part.size != scan.position.size or np.abs(part - scan.position).max() > SAME_STEP * step:
            listed = ", ".join(map(str, taken[:MOST_LISTED]))
            raise FormatError(f"scans over several ranges; choose with scans=: {listed}")
    starts = moments([scan.time.start for scan in taken], what="#D").values
    if np.any(np.diff(starts) < np.timedelta64(0)):
        raise FormatError("scans: they do not follow one another in time; choose with scans=")


def _dataset(taken: Sequence[_Scan], *, skipped: int) -> xr.Dataset:
    whole = max(taken, key=lambda scan: scan.position.size)
    size = whole.position.size
    first = taken[0].block
    header = [*first.above, f"#S {first.number} {first.command}", *first.header]
    numbers = [scan.block.number for scan in taken]
    dataset = pattern(
        "two_theta",
        whole.position,
        np.stack([_full(scan.columns[scan.counter], size) for scan in taken]),
        metadata={
            "header": "\n".join(header),
            "commands": "\n".join(f"{scan.block.number} {scan.block.command}" for scan in taken),
            "skipped_scans": skipped,
        },
        told={"scan": xr.Variable("time", numbers, {"units": "1", "long_name": "scan number"})},
        instrument="SPEC",
        **_times(taken),
    )
    backwards = whole.position[0] > whole.position[-1]
    for name, series, units in (
        ("monitor", [scan.columns.get(scan.monitor or "") for scan in taken], "count"),
        ("dwell", [scan.dwell for scan in taken], "s"),
    ):
        known = [values for values in series if values is not None]
        if len(known) == len(taken):
            rows = np.stack([_full(values, size) for values in known])
            rows = rows[:, ::-1] if backwards else rows
            dataset[name] = (("time", "two_theta"), rows, {"units": units})
    dataset["intensity"].attrs["column"] = taken[0].counter
    cut = [f"scan {scan.block.number} {scan.truncated}" for scan in taken if scan.truncated]
    if cut:
        flags = [int(bool(scan.truncated)) for scan in taken]
        about = {"units": "1", "long_name": "whether the scan was aborted"}
        dataset = dataset.assign_coords(truncated=("time", flags, about))
        dataset.attrs["truncated"] = "; ".join(cut[:MOST_LISTED])
    return dataset


def _full(values: Array, size: int) -> Array:
    """Return a column with NaN where an aborted scan did not arrive."""
    return np.concatenate([values, np.full(size - values.size, np.nan)])


def _times(taken: Sequence[_Scan]) -> dict[str, Any]:
    """Return clock, seconds since its start and length of each scan."""
    starts = moments([scan.time.start for scan in taken], what="#D")
    ends = moments([scan.time.end for scan in taken], what="end")
    if np.isnat(starts.values).any():
        return {"clock": NO_CLOCK}
    seconds = (starts.values - starts.values[0]).astype("m8[ns]").astype(np.int64) / 1e9
    spans = (ends.values - starts.values).astype("m8[ns]")
    lengths = [
        scan.time.length if np.isnat(span) else span.astype(np.int64) / 1e9
        for scan, span in zip(taken, spans, strict=True)
    ]
    known = [length for length in lengths if length is not None]
    in_rows = all(scan.time.in_rows for scan in taken)
    # Epoch counts whole seconds, though the counting time taken off it has a fraction.
    whole = starts.resolution_s > 0 or (in_rows and all(_counts_seconds(scan) for scan in taken))
    facts = clock(
        start=starts.iso(0),
        zone=starts.zone,
        marks="start",
        source="column" if in_rows else "header",
        sigma_s=0.5 if whole else None,
    )
    exposure = np.array(known) if len(known) == len(lengths) else None
    return {"clock": facts, "elapsed": seconds, "exposure": exposure}


def _counts_seconds(scan: _Scan) -> bool:
    name = first_of(scan.columns, "epoch", "timestamp")
    return name is not None and bool(np.all(scan.columns[name] % 1 == 0))


def sniff(head: bytes, name: str) -> bool:
    """Whether there are scans, and one of them moves two theta."""
    scans = re.search(rb"^#S\s+\d", head, re.MULTILINE) is not None
    return scans and LABELS.search(head) is not None


READER = Reader(
    technique="xrd",
    suffixes=(".dat", ".spec", ".spc"),
    sniff=sniff,
    read=read,
    description="scans over two theta in SPEC files",
)
