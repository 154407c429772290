"""Scans of MAX IV Balder, HDF5 written by Sardana: entries ``entryNNNNN``, one a scan.

File structure: ``measurement/<channel>`` and ``instrument/<channel>/data``, all as long as the
scan; ``mono1_energy_acs`` is the energy in eV; the electrometers ``albaem-01_ch1`` and ``_ch2``
(before the sample) and ``albaem-02_ch3`` and ``_ch4`` (behind it) are the plates of split ion
chambers and are added; ``start_time`` and ``end_time`` in local time without a zone; ``title`` is
the command. Detector images (``eiger_streaming``) are links to other files and are not read.

Which electrometer measures what is the beamline's wiring and may change: options name them.
Element and edge are not in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._hdf5 import SIGNATURE, Group, opened
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_series import Scan, equally_long, joined, sweeps, wanted

Array = npt.NDArray[np.float64]

ENTRY = re.compile(r"entry(\d{1,9})")
I0 = ("albaem-01_ch1", "albaem-01_ch2")
I1 = ("albaem-02_ch3", "albaem-02_ch4")


def read(
    file: File,
    *,
    scans: str | None = None,
    energy: str = "mono1_energy_acs",
    i0: Sequence[str] = I0,
    i1: Sequence[str] = I1,
    iref: Sequence[str] = (),
    fluorescence: Sequence[str] = (),
) -> xr.Dataset:
    """Read the scans over energies; scans of something else are counted in the metadata.

    Parameters
    ----------
    scans
        Numbers of the entries, "24212-24220,24225"; all when not given.
    energy, i0, i1, iref, fluorescence
        Names of channels in ``measurement``; those of one counter are added.

    Returns
    -------
    `mu`, `i0`, `i1` ..., all (time, energy in eV), with the `scan` number on time.

    Raises
    ------
    FormatError
        No scan over energies, scans of several edges, a channel missing (lists those there are),
        or stamps that are none.
    """
    wiring = {"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence}
    channels = {ours: _names(names, ours) for ours, names in wiring.items() if len(names)}
    found, skipped = [], 0
    metadata: dict[str, str | float] = {}
    with opened(file) as root:
        for entry in root.groups():
            match = ENTRY.fullmatch(entry.path.lstrip("/"))
            if match is None or not wanted(int(match[1]), scans):
                continue
            scan = _scan(entry, int(match[1]), energy=energy, channels=channels)
            if scan is None:
                skipped += 1
                continue
            metadata = metadata or entry.facts()
            found.append(scan)
    return joined(found, instrument="MAX IV Balder", metadata=metadata, skipped=skipped)


def _names(names: Sequence[str], ours: str) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{ours}: {names!r}; expected a list of channels")
    return tuple(names)


def _scan(
    entry: Group, number: int, *, energy: str, channels: dict[str, tuple[str, ...]]
) -> Scan | None:
    """Return one scan, None where it is not over energies."""
    axis = _channel(entry, energy)
    if axis is None:
        return None
    columns = {energy: axis}
    for name in (name for names in channels.values() for name in names):
        column = _channel(entry, name)
        if column is None:
            group = entry.group("measurement")
            there = group.names()[:40] if group is not None else []
            raise FormatError(f"scan {number}: no channel {name!r}; there are {there}")
        columns[name] = column
    columns, truncated = equally_long(columns, axis=energy)
    if not sweeps(columns[energy]):
        return None
    return Scan(
        number=number,
        title=entry.text("title") or "",
        energy=columns[energy],
        channels={
            ours: np.sum([columns[name] for name in names], axis=0)
            for ours, names in channels.items()
        },
        start=entry.text("start_time") or "",
        end=entry.text("end_time") or "",
        length=None,
        truncated=truncated,
    )


def _channel(entry: Group, name: str) -> Array | None:
    """Return a channel that has a value at each point."""
    for path in (f"measurement/{name}", f"instrument/{name}/data", f"instrument/{name}/value"):
        values = entry.numbers(path)
        if values is not None and values.ndim == 1:
            return values
    return None


def sniff(head: bytes, name: str) -> bool:
    """Whether the head of an HDF5 file has entries of Balder that scan its monochromator."""
    named = re.search(rb"entry\d{1,9}\x00", head) is not None
    return head.startswith(SIGNATURE) and named and b"mono1_energy" in head


READER = Reader(
    technique="xas",
    suffixes=(".h5", ".hdf5"),
    sniff=sniff,
    read=read,
    description="MAX IV Balder energy scans, HDF5 by Sardana",
)
