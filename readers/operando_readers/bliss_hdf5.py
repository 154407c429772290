"""Energy scans of the ESRF (BM16, BM23, ID24-DCM, ID26), HDF5 written by BLISS.

File structure: entries ``1.1``, ``2.1`` .. (scan.part), each with ``instrument/<counter>/data``
and links to it in ``measurement``; ``energy_enc`` (BM23: ``energy_cenc``) is the encoder of the
monochromator, in keV unless its ``@units`` say otherwise; ``p201_1_bkg_sub`` before the sample,
``p201_3_bkg_sub`` behind it, ``p201_5_bkg_sub`` behind the foil; ``mu_trans`` where BLISS made the
absorption; fluorescence detectors are groups ``xmap.._detN`` with ``roi1`` and ``live_time``.
``start_time`` and ``end_time`` carry their offset; ``measurement/epoch`` and ``elapsed_time`` are
of every point. Names are the beamline's and change: options give them.

Fluorescence is the sum over detectors of counts per live second; without a live time each is
multiplied by ``icr/ocr``; without these it is not corrected. ``dead_time`` on the variable says
which. Scans of other motors, and scans that ended before their second point, are counted in the
metadata. An aborted scan is cut to its shortest channel. Element and edge are not in the file.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import ratio
from operando_readers._hdf5 import SIGNATURE, Group, opened
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_series import Scan, equally_long, joined, sweeps, wanted
from operando_readers._units import TIME

Array = npt.NDArray[np.float64]

ENTRY = re.compile(r"(\d{1,9})\.\d{1,4}")
ENERGY = {"eV": 1.0, "ev": 1.0, "keV": 1e3, "kev": 1e3}
LARGEST_KEV = 200.0
LATEST_EPOCH = 9e9
USUAL: dict[str, tuple[str, ...]] = {
    "energy": ("energy_enc", "energy_cenc"),
    "i0": ("p201_1_bkg_sub", "p201_1"),
    "i1": ("p201_3_bkg_sub", "p201_3"),
    "iref": ("p201_5_bkg_sub", "p201_5"),
    "mu": ("mu_trans",),
}
"""Names of channels, the first that a scan has is taken."""


@dataclass(frozen=True)
class _Wiring:
    """Which channel is what."""

    names: dict[str, tuple[str, ...]]
    declared: frozenset[str]
    """Ours that the caller named: these must be there."""
    detectors: str
    roi: str


def read(
    file: File,
    *,
    scans: str | None = None,
    energy: str | None = None,
    i0: str | None = None,
    i1: str | None = None,
    iref: str | None = None,
    mu: str | None = None,
    detectors: str = "*_det*",
    roi: str = "roi1",
) -> xr.Dataset:
    """Read the scans over energies.

    Parameters
    ----------
    scans
        Scan numbers, "3-14,16"; all when not given.
    energy, i0, i1, iref, mu
        Names of channels, where they are not the usual ones.
    detectors, roi
        Fluorescence detectors, with * for any characters, and their region of interest.

    Returns
    -------
    `mu`, counters, `mu_reference` and `mu_fluorescence` as far as the channels are there, all
    (time, energy in eV), with the `scan` number on time.

    Raises
    ------
    FormatError
        No scan over energies, scans of several edges (lists them), a channel missing (lists those
        there are), an energy of unknown unit, or stamps that are none.
    """
    given = {"energy": energy, "i0": i0, "i1": i1, "iref": iref, "mu": mu}
    wiring = _Wiring(
        names={ours: USUAL[ours] if name is None else (name,) for ours, name in given.items()},
        declared=frozenset(ours for ours, name in given.items() if name is not None),
        detectors=detectors,
        roi=roi,
    )
    found, skipped = [], 0
    metadata: dict[str, str | float] = {}
    dead_time = ""
    with opened(file) as root:
        entries = [(ENTRY.fullmatch(group.path.lstrip("/")), group) for group in root.groups()]
        for match, entry in entries:
            if match is None or not wanted(int(match[1]), scans):
                continue
            read_one = _scan(entry, int(match[1]), wiring)
            if read_one is None:
                skipped += 1
                continue
            metadata = metadata or entry.facts()
            found.append(read_one[0])
            dead_time = read_one[1] or dead_time
        elsewhere = [name for name in root.names() if root.is_elsewhere(name)]
    if not found and elsewhere:
        raise FormatError(f"scans: {elsewhere[:5]} lie in other files; read those")
    dataset = joined(found, instrument="ESRF (BLISS)", metadata=metadata, skipped=skipped)
    if dead_time:
        dataset["fluorescence"].attrs["dead_time"] = dead_time
    return dataset


def _scan(entry: Group, number: int, wiring: _Wiring) -> tuple[Scan, str] | None:
    """Return one scan and how its dead time was corrected, None where it is of something else."""
    axis = _energy(entry, number, wiring)
    if axis is None:
        return None
    columns = {"energy": axis}
    for ours in ("i0", "i1", "iref", "mu"):
        name, values = _first(entry, wiring.names[ours])
        if values is not None:
            columns[ours] = values
        elif ours in wiring.declared:
            raise FormatError(f"scan {number}: no channel {name!r}; there are {_there(entry)}")
    columns, dead_time = _with_fluorescence(columns, entry, wiring)
    columns, truncated = equally_long(columns, axis="energy")
    energy = columns.pop("energy")
    if not sweeps(energy):
        return None
    if "mu" not in columns and ("i0" not in columns or not {"i1", "fluorescence"} & set(columns)):
        raise FormatError(
            f"scan {number}: has {sorted(columns)}, no absorption; name its channels as i0=, i1=, "
            f"mu=: {_there(entry)}"
        )
    start, length = _stamps(entry, number)
    scan = Scan(
        number=number,
        title=entry.text("title") or "",
        energy=energy,
        channels=columns,
        start=start,
        end=entry.text("end_time") or "",
        length=length,
        truncated=truncated,
    )
    return scan, dead_time


def _energy(entry: Group, number: int, wiring: _Wiring) -> Array | None:
    """Return the energies in eV, None where the scan has none."""
    name, values = _first(entry, wiring.names["energy"])
    if values is None:
        return None
    paths = (f"instrument/{name}/data", f"measurement/{name}")
    units = next((word for path in paths if (word := entry.word("units", path))), "")
    if units and units not in ENERGY:
        raise FormatError(f"scan {number}: {name} in {units!r}; expected eV or keV")
    if not units and values.size and np.nanmax(np.abs(values), initial=0.0) > LARGEST_KEV:
        raise FormatError(f"scan {number}: {name} without @units reaches {np.nanmax(values):g} keV")
    return values * ENERGY[units or "keV"]


def _first(entry: Group, names: tuple[str, ...]) -> tuple[str, Array | None]:
    """Return the first of some channels that has a value at each point."""
    for name in names:
        for path in (f"instrument/{name}/data", f"measurement/{name}"):
            values = entry.numbers(path)
            if values is not None and values.ndim == 1:
                return name, values
    return names[0], None


def _with_fluorescence(
    columns: dict[str, Array], entry: Group, wiring: _Wiring
) -> tuple[dict[str, Array], str]:
    """Add the sum of the detectors, and say how their dead time was corrected."""
    instrument = entry.group("instrument")
    if instrument is None:
        return columns, ""
    rates: dict[str, Array] = {}
    ways = set()
    for name in instrument.names():
        if not fnmatch.fnmatchcase(name, wiring.detectors) or instrument.is_elsewhere(name):
            continue
        group = instrument.group(name)
        counts = None if group is None else group.numbers(wiring.roi)
        if group is not None and counts is not None and counts.ndim == 1:
            rates[name], way = _corrected(group, counts)
            ways.add(way)
    if not rates:
        return columns, ""
    if len(ways) > 1:
        raise FormatError(
            f"{entry.path}: dead time by {sorted(ways)} of {sorted(rates)}; choose with detectors="
        )
    shortest = min(rate.size for rate in rates.values())
    total = np.sum([rate[:shortest] for rate in rates.values()], axis=0)
    return {**columns, "fluorescence": total}, ways.pop()


def _corrected(group: Group, counts: Array) -> tuple[Array, str]:
    """Return the counts of one detector corrected for its dead time, NaN where it was dead."""
    live = group.numbers("live_time")
    if live is not None and live.ndim == 1:
        size = min(counts.size, live.size)
        seconds = live[:size] * TIME.get(group.word("units", "live_time"), 1.0)
        return ratio(counts[:size], seconds), "live_time"
    incoming, outgoing = group.numbers("icr"), group.numbers("ocr")
    if incoming is not None and outgoing is not None and incoming.ndim == outgoing.ndim == 1:
        size = min(counts.size, incoming.size, outgoing.size)
        return counts[:size] * ratio(incoming[:size], outgoing[:size]), "icr/ocr"
    return counts, "none"


def _stamps(entry: Group, number: int) -> tuple[str, float | None]:
    """Return the start of a scan as it is written, and the seconds of its own counter."""
    start = (entry.text("start_time") or "").strip()
    _, elapsed = _first(entry, ("elapsed_time",))
    _, epoch = _first(entry, ("epoch",))
    if not start and epoch is not None and epoch.size:
        if not 0 < epoch[0] < LATEST_EPOCH:
            raise FormatError(f"scan {number}: epoch {epoch[0]:g}; expected Unix seconds")
        start = f"{np.datetime64(round(float(epoch[0]) * 1e6), 'us')}+00:00"
    known = elapsed is not None and elapsed.size and 0 <= elapsed[-1] < LATEST_EPOCH
    return start, float(elapsed[-1]) if elapsed is not None and known else None


def _there(entry: Group) -> list[str]:
    group = entry.group("measurement") or entry.group("instrument")
    return group.names()[:40] if group is not None else []


def sniff(head: bytes, name: str) -> bool:
    """Whether the head of an HDF5 file has numbered scans with a measurement and an energy."""
    named = re.search(rb"[\x00-\x1f]\d{1,9}\.1(?![\d.])", head) is not None
    held = b"measurement" in head and b"energy" in head
    return head.startswith(SIGNATURE) and named and held and b"NXxas" not in head


READER = Reader(
    technique="xas",
    suffixes=(".h5", ".hdf5"),
    sniff=sniff,
    read=read,
    description="ESRF BLISS energy scans (BM23, ID24-DCM, ID26), HDF5",
)
