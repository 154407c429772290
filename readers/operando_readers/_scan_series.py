"""Scans of one HDF5 file as one series: which are asked for, when each was, how they stack."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import LEAST_COVER, spectrum, stack
from operando_readers._reader import FormatError, clock
from operando_readers._stamps import moments

Array = npt.NDArray[np.float64]

MOST_LISTED = 12
LEAST_SPAN = 5.0
"""eV; no absorption edge is narrower."""


@dataclass(frozen=True)
class Scan:
    """One scan over energies, as the file has it."""

    number: int
    title: str
    energy: Array
    """In eV, (points,)."""
    channels: dict[str, Array]
    """(points,) each, under the names of `_absorption.spectrum`."""
    start: str
    end: str
    """Stamps as they are written, "" where there is none."""
    length: float | None
    """Seconds by a counter of the scan itself, for one without `end`."""
    truncated: str = ""

    def __str__(self) -> str:
        return f"{self.number} ({self.energy.min():g}-{self.energy.max():g} eV, {self.title!r})"


def wanted(number: int, scans: str | None) -> bool:
    """Whether a scan is among those asked for: "3-14,16"; None asks for all.

    Raises
    ------
    FormatError
        Not numbers and ranges.
    """
    if scans is None:
        return True
    found = False
    for part in scans.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if match is None:
            raise FormatError(f"scans: {scans!r}; expected scan numbers such as '3-14,16'")
        found |= int(match[1]) <= number <= int(match[2] or match[1])
    return found


def sweeps(energy: Array) -> bool:
    """Whether a column is a scan over energies: an encoder that stands still jitters too."""
    known = energy[np.isfinite(energy)]
    return known.size > 1 and bool(np.ptp(known) >= LEAST_SPAN)


def equally_long(columns: Mapping[str, Array], *, axis: str) -> tuple[dict[str, Array], str]:
    """Cut the columns of an aborted scan to the shortest and to its last energy, and say so."""
    shortest = min(column.size for column in columns.values())
    longest = max(column.size for column in columns.values())
    reached = np.flatnonzero(np.isfinite(columns[axis][:shortest]))
    shortest = int(reached[-1]) + 1 if reached.size else 0
    if shortest == longest:
        return dict(columns), ""
    return (
        {name: column[:shortest] for name, column in columns.items()},
        f"aborted: {shortest} points of {longest} have all channels",
    )


def joined(
    scans: Sequence[Scan], *, instrument: str, metadata: Mapping[str, str | float], skipped: int
) -> xr.Dataset:
    """Return scans of one edge as one dataset, by their numbers.

    The stamps give the clock: UTC where they carry an offset, else a local time without zone; the
    exposure is from start to end, or the scan's own counter where it was killed before its end.

    Raises
    ------
    FormatError
        No scan, scans of several edges (lists them), stamps that are none, or only some of them.
    """
    if not scans:
        raise FormatError(f"scans: none over energies, {skipped} others")
    scans = sorted(scans, key=lambda scan: scan.number)
    _check_one_edge(scans)
    starts = moments([scan.start for scan in scans], what="start_time")
    ends = moments([scan.end for scan in scans], what="end_time")
    missing = np.isnat(starts.values)
    if missing.any() and not missing.all():
        without = scans[int(np.flatnonzero(missing)[0])].number
        raise FormatError(f"scan {without}: no start_time, others have one; choose with scans=")
    facts = clock(start=None, zone=None, marks="start", source="none")
    elapsed = np.zeros(len(scans))
    exposure: list[float | None] = [scan.length for scan in scans]
    if not missing.any():
        facts = clock(
            start=starts.iso(0),
            zone=starts.zone,
            marks="start",
            source="header",
            sigma_s=starts.resolution_s / 2 or None,
        )
        elapsed = _seconds(starts.values - starts.values[0])
        exposure = _exposures(scans, starts.values, ends.values, same=starts.zone == ends.zone)
    known = all(length is not None for length in exposure)
    frames = [
        spectrum(
            scan.energy,
            scan.channels,
            clock=facts,
            elapsed=float(elapsed[at]),
            exposure=exposure[at] if known else None,
            instrument=instrument,
            metadata={**metadata, "skipped_scans": skipped},
        ).assign_coords(scan=("time", [scan.number], {"units": "1", "long_name": "scan number"}))
        for at, scan in enumerate(scans)
    ]
    dataset = frames[0] if len(frames) == 1 else stack(frames)
    cut = [f"scan {scan.number} {scan.truncated}" for scan in scans if scan.truncated]
    return dataset.assign_attrs(truncated="; ".join(cut[:MOST_LISTED])) if cut else dataset


def _check_one_edge(scans: Sequence[Scan]) -> None:
    """Refuse scans that share less than half of the energies of the first."""
    for scan in scans:
        if lost := int(np.count_nonzero(~np.isfinite(scan.energy))):
            raise FormatError(f"scan {scan.number}: {lost} of {scan.energy.size} points no energy")
    first = np.sort(scans[0].energy)
    for scan in scans:
        inside = (first >= scan.energy.min()) & (first <= scan.energy.max())
        if inside.mean() < LEAST_COVER:
            listed = "; ".join(map(str, scans[:MOST_LISTED]))
            raise FormatError(f"scans over different edges; choose with scans=: {listed}")


def _exposures(
    scans: Sequence[Scan],
    starts: npt.NDArray[np.datetime64],
    ends: npt.NDArray[np.datetime64],
    *,
    same: bool,
) -> list[float | None]:
    """Return the length of each scan in seconds."""
    found: list[float | None] = []
    for scan, start, end in zip(scans, starts, ends, strict=True):
        if np.isnat(end):
            found.append(scan.length)
            continue
        length = float(_seconds(end - start))
        if not same or length < 0:
            raise FormatError(f"scan {scan.number}: ends {scan.end!r}, before it starts")
        found.append(length)
    return found


def _seconds(span: npt.NDArray[np.timedelta64] | np.timedelta64) -> Array:
    return np.asarray(span.astype("m8[ns]").astype(np.int64) / 1e9)
