"""Energy scans in SPEC files, many scans a file: by SPEC, Sardana, ESRF SNBL and APS 12-BM.

File structure: see `_spec`. Scans that do not sweep an energy by 5 eV are left out and counted in
``original_metadata`` (`skipped_scans`). All columns are found by name:

* energy: ``ZapEnergy`` (keV; SNBL), ``energyc`` (eV; encoder, ALBA), ``Energy (keV)`` (APS 12-BM),
  what the command scans if it is called an energy (``ascanct mono1_energy_acs ...``), ``energy``.
  What does not say keV is eV, and refused where it lies below 150;
* ``I0``, ``Mon``, ``Monitor``; ``I1``, ``Ion1``, ``Itrans``; ``I2``, ``Ion2``, ``Iref`` (behind the
  foil); at MAX IV Balder the plates of split chambers, added: ``albaem01_ch1 + ch2`` (``albaem02``
  where there is no ``albaem01``) and ``albaem02_ch3 + ch4``;
* fluorescence: ``flatot``, ``Lytle``, ``If``, ``Iff``, ``PIPS``, ``fluo...``, or the sum of the
  elements ``xmap_roi00 ...``, ``mca1 ...``, ``fla01 ...``. Where several of these detectors count,
  none is taken: say which. Elements are not corrected for dead time.

Clock, the best that a scan has:

* ``Epoch``: seconds from ``#E`` (Unix time), written when the point has been counted. The scan
  lasts from one counting time before its first stamp to its last. Must be within a day of ``#D``;
* ``timestamp`` (Unix seconds, when the point begins) of ALBA;
* ``#D``, or Sardana's ``#C Acquisition started at``: local time without zone, or with an offset.
  Sardana's ``dt``, seconds from there to the beginning of each point, gives begin and end; without
  it the scan lasts to ``#C Acquisition ended at``, or as long as its points were counted (column
  ``Seconds``, ``sec``, ``Htime`` in us, ``..._ti``, ``..._timer``; else ``#T``), which leaves out
  the time the monochromator moved.

Between two stamps of local time lie the seconds of the clock on the wall. A file that begins before
a change of summer time and ends after it has to be read in two parts, with `scans`; one in which
the clock goes back is refused.

An aborted scan is kept, NaN at the energies it did not reach: attrs ``truncated`` names it, and
`truncated` on time is 1.

Uncertainty: none in the file; what is counted is counts, whatever its column is called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from operando_readers._named_scan import (
    Array,
    Counters,
    EnergyUnit,
    Named,
    counters,
    electronvolts,
    first_of,
)
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_series import Scan, joined, sweeps, wanted
from operando_readers._spec import Block, blocks
from operando_readers._spec_clock import check_order, dwell_of, interval

ENERGIES: tuple[tuple[str, EnergyUnit | None], ...] = (
    ("zapenergy", "keV"),
    ("energyc", "eV"),
    (r"energy \(kev\)", None),
)
"""Names that mean the same at every beamline, and their unit where the name does not say it."""
PLAIN = r"energy|mono\d?_energy\w*"
USUAL = {
    "i0": ("i0", "mon", "monitor", "a_i0_1"),
    "i1": ("i1", "itrans", "ion1", "a_i1_1"),
    "iref": ("i2", "iref", "ion2", "a_i2_1"),
}
BALDER = {
    "i0": (("albaem01_ch1", "albaem01_ch2"), ("albaem02_ch1", "albaem02_ch2")),
    "i1": (("albaem02_ch3", "albaem02_ch4"),),
}
FLUORESCENCE = re.compile(r"flatot|lytle|iff?|ifluor?|pips|fluo\w*", re.IGNORECASE)
ELEMENT = re.compile(r"(xmap_roi|mca|fla)_?\d+", re.IGNORECASE)
SUM_OF = {"flatot": "fla"}
"""Columns that are the sum of the elements of a detector."""
CLAESS = {b"energyc", b"a_i0_1", b"a_i1_1", b"a_i0i1_timer", b"timestamp"}
"""Columns of single scans that their own reader reads."""
DIFFRACTION = re.compile(
    rb"^#L\s+(?:2[-_ ]?theta|two[-_ ]?theta|tth)\s", re.MULTILINE | re.IGNORECASE
)
OVER_ENERGY = re.compile(rb"^#S\s+\d+\s.*energy", re.MULTILINE | re.IGNORECASE)
"""A file with scans over two theta and none over energy has its energy in a column that stands."""
LARGEST_KEV = 300.0


@dataclass(frozen=True)
class _Wishes:
    """What the user says; None where he says nothing."""

    energy: str | None
    unit: EnergyUnit | None
    counters: Mapping[str, Named]


@dataclass(frozen=True)
class _Taken:
    """A scan over energies: its place in the file, its columns, and its axis in eV."""

    block: Block
    columns: dict[str, Array]
    truncated: str
    energy: Array


def read(
    file: File,
    *,
    scans: str | None = None,
    energy: str | None = None,
    energy_unit: EnergyUnit | None = None,
    i0: str | Sequence[str] | None = None,
    i1: str | Sequence[str] | None = None,
    iref: str | Sequence[str] | None = None,
    fluorescence: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Read the scans over one edge.

    Parameters
    ----------
    scans
        Numbers of scans, "3-14,16"; all when not given. Where a number comes again, both are meant.
    energy
        Column of the energy, where it has none of the names above.
    energy_unit
        Of that column, "eV" or "keV".
    i0, i1, iref, fluorescence
        Columns; several of one counter are added. None takes the usual ones, see above; "" leaves
        the counter out.

    Returns
    -------
    `mu` and what else can be made of the counters, the counters, and `dwell` (s) where it is a
    column, all (time, energy in eV); on time the `scan` number, and `truncated` where a scan is.

    Raises
    ------
    FormatError
        Not such a file, no scan over energies, scans over several edges (lists them), no columns
        to make absorption of, a row that is not numbers, or clocks that run backwards.
    """
    found = blocks(file.read_text())
    if not found:
        raise FormatError("no '#S' line; expected a SPEC file")
    chosen = [block for block in found if wanted(block.number, scans)]
    if not chosen:
        there = ", ".join(str(block.number) for block in found[:40])
        raise FormatError(f"scans: {scans!r} are none of those in the file: {there}")
    wishes = _Wishes(
        energy, energy_unit, {"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence}
    )
    taken = [scan for block in chosen if (scan := _over_energies(block, wishes)) is not None]
    if not taken:
        named = "; ".join(f"{block.number} {block.command}" for block in chosen[:12])
        raise FormatError(f"scans: none of {len(chosen)} has an energy column (energy=): {named}")
    readings = _readings(taken, wishes)
    read = [scan for scan in taken if scan.block.line in readings]
    return _dataset(read, readings, skipped=len(chosen) - len(read))


def _over_energies(block: Block, wishes: _Wishes) -> _Taken | None:
    """Return a scan, None where it sweeps no energy."""
    if not block.first:
        return None
    columns, cut = block.columns()
    axis = _axis(columns, block.command, wishes)
    if axis is None:
        return None
    values = columns[axis]
    if not np.isfinite(values).all():
        raise FormatError(f"scan {block.number}, {axis}: not all of {values.size} are energies")
    unit = wishes.unit or next((u for name, u in ENERGIES if name == axis.lower()), None)
    energy = electronvolts(values, what=f"scan {block.number}, {axis}", unit=unit)
    if energy.max() > LARGEST_KEV * 1000:
        raise FormatError(f"{axis}: up to {energy.max():g} eV; is it eV? pass energy_unit=")
    if not sweeps(energy):
        return None
    short = block.points is not None and energy.size < block.points
    reasons = [
        "was aborted" if block.is_aborted else "",
        f"has {energy.size} of {block.points} points" if short else "",
        f"ends in {cut}" if cut else "",
    ]
    return _Taken(block, columns, ", ".join(filter(None, reasons)), energy)


def _axis(columns: Mapping[str, Array], command: str, wishes: _Wishes) -> str | None:
    """Return the column of the energy, None where there is none."""
    if wishes.energy is not None:
        return wishes.energy if wishes.energy in columns else None
    moved = command.split()[1:2]
    scanned = [re.escape(name) for name in moved if "energy" in name.lower()]
    return first_of(columns, *(name for name, _ in ENERGIES), *scanned, PLAIN)


def _readings(taken: Sequence[_Taken], wishes: _Wishes) -> dict[int, Counters]:
    """Return the counters of each scan by its line.

    Scans of the same columns are judged together, for the beam may be lost in one of them. Those
    that count nothing to make absorption of are left out, if there are others.
    """
    groups: dict[tuple[str, ...], list[_Taken]] = {}
    for scan in taken:
        groups.setdefault(tuple(scan.columns), []).append(scan)
    found: dict[int, Counters] = {}
    fault = None
    for names, scans in groups.items():
        whole = {name: np.concatenate([scan.columns[name] for scan in scans]) for name in names}
        usual, remarks = _usual(whole, wishes)
        try:
            judged = counters(whole, usual=usual, asked=wishes.counters, remarks=remarks)
        except FormatError as error:
            fault = error
            continue
        ends = np.cumsum([scan.energy.size for scan in scans])[:-1]
        split = {name: np.split(values, ends) for name, values in judged.readings.items()}
        for at, scan in enumerate(scans):
            own = {name: parts[at] for name, parts in split.items()}
            found[scan.block.line] = Counters(own, judged.columns, judged.left_out)
    if not found and fault is not None:
        raise fault
    _check_one_mode(taken, found)
    return found


def _usual(columns: Mapping[str, Array], wishes: _Wishes) -> tuple[dict[str, Named], list[str]]:
    """Return the columns that counters usually have, and why there is no fluorescence."""
    usual: dict[str, Named] = {role: first_of(columns, *names) for role, names in USUAL.items()}
    for role, choices in BALDER.items():
        plates = next((names for names in choices if set(names) <= set(columns)), None)
        usual[role] = usual[role] or plates
    usual["fluorescence"], remark = _fluorescence(columns)
    told = remark and wishes.counters["fluorescence"] is None
    return usual, [remark] if told else []


def _fluorescence(columns: Mapping[str, Array]) -> tuple[Named, str]:
    """Return the columns of the one detector that counts, or why there is none."""
    detectors: dict[str, list[str]] = {}
    for name in columns:
        if match := ELEMENT.fullmatch(name):
            detectors.setdefault(match[1].lower(), []).append(name)
        elif FLUORESCENCE.fullmatch(name):
            detectors.setdefault(name.lower(), []).append(name)
    for total, elements in SUM_OF.items():
        if total in detectors:
            detectors.pop(elements, None)
    sums = {key: np.sum([columns[n] for n in names], axis=0) for key, names in detectors.items()}
    counting = [names for key, names in detectors.items() if np.nanmedian(sums[key]) > 0]
    if len(counting) == 1:
        return counting[0], ""
    if counting:
        which = ", ".join(name for names in counting for name in names)
        return None, f"fluorescence: several detectors count ({which}); name columns"
    return next(iter(detectors.values()), None), ""


def _check_one_mode(taken: Sequence[_Taken], found: Mapping[int, Counters]) -> None:
    """Refuse a file whose `mu` would be transmission in one scan and fluorescence in another."""
    modes: dict[bool, list[int]] = {}
    for scan in taken:
        if scan.block.line in found:
            transmitted = "i1" in found[scan.block.line].readings
            modes.setdefault(transmitted, []).append(scan.block.number)
    if len(modes) > 1:
        raise FormatError(
            f"scans {modes[True][:12]} are transmission, {modes[False][:12]} fluorescence only; "
            "choose with scans=, or leave i1='' out"
        )


def _dataset(
    taken: Sequence[_Taken], readings: Mapping[int, Counters], *, skipped: int
) -> xr.Dataset:
    """Return the scans as one dataset."""
    scans = []
    in_rows = True
    whole = next((scan for scan in taken if not scan.truncated), taken[0])
    for scan in taken:
        block = scan.block
        dwell = dwell_of(scan.columns)
        time = interval(block, scan.columns, dwell)
        in_rows &= time.in_rows
        channels = dict(readings[block.line].readings)
        if dwell is not None:
            channels["dwell"] = dwell
        energy, channels = _to_the_end(scan, channels, whole.energy)
        scans.append(
            Scan(
                number=block.number,
                title=block.command,
                energy=energy,
                channels=channels,
                start=time.start,
                end=time.end,
                length=time.length,
                truncated=scan.truncated,
            )
        )
    check_order(scans)
    first = taken[0].block
    header = [*first.above, f"#S {first.number} {first.command}", *first.header]
    metadata: dict[str, str | float] = {
        "header": "\n".join(header),
        "commands": "\n".join(f"{scan.block.number} {scan.block.command}" for scan in taken),
    }
    dataset = joined(scans, instrument=_instrument(first), metadata=metadata, skipped=skipped)
    return _told(dataset, taken, readings, in_rows=in_rows)


def _to_the_end(
    scan: _Taken, channels: dict[str, Array], whole: Array
) -> tuple[Array, dict[str, Array]]:
    """Give an aborted scan the energies it did not reach, with NaN: however short, it is kept."""
    low, high = scan.energy.min(), scan.energy.max()
    if not scan.truncated or low > whole.max() or high < whole.min():
        return scan.energy, channels
    beyond = whole[(whole < low) | (whole > high)]
    lost = np.full(beyond.size, np.nan)
    padded = {name: np.concatenate([values, lost]) for name, values in channels.items()}
    return np.concatenate([scan.energy, beyond]), padded


def _told(
    dataset: xr.Dataset,
    taken: Sequence[_Taken],
    readings: Mapping[int, Counters],
    *,
    in_rows: bool,
) -> xr.Dataset:
    """Add what is known of the columns, of the clock and of aborted scans."""
    if in_rows:
        dataset.attrs["clock"]["source"] = "column"
    every = [readings[scan.block.line] for scan in taken]
    left_out = list(dict.fromkeys(reason for own in every for reason in own.left_out))
    if left_out:
        dataset.attrs["left_out"] = "; ".join(left_out)
    for own in every:
        for role, column in own.columns.items():
            dataset[role].attrs.setdefault("column", column)
    if "dwell" in dataset:
        dataset["dwell"].attrs = {"units": "s", "long_name": "counting time of a point"}
    if "truncated" in dataset.attrs:
        by_number = sorted(taken, key=lambda scan: scan.block.number)
        flags = [int(bool(scan.truncated)) for scan in by_number]
        about = {"units": "1", "long_name": "whether the scan was aborted"}
        dataset = dataset.assign_coords(truncated=("time", flags, about))
    return dataset


def _instrument(block: Block) -> str:
    if block.is_12bm:
        return "APS 12-BM"
    names = block.labels.lower()
    known = {"zapenergy": "ESRF SNBL", "albaem": "MAX IV Balder", "a_i0_1": "ALBA BL22-CLAESS"}
    return next((name for word, name in known.items() if word in names), "SPEC")


def sniff(head: bytes, name: str) -> bool:
    """Whether there are scans, and one of them has a column of energy."""
    if re.search(rb"^#S\s+(?:Scan\s+)?\d", head, re.MULTILINE) is None:
        return False
    labels = re.findall(rb"^#(?:L|C 1_)(.*)$", head, re.MULTILINE)
    if labels and set(labels[0].split()) >= CLAESS:
        return False
    if DIFFRACTION.search(head) and not OVER_ENERGY.search(head):
        return False
    return any(re.search(rb"energy", line, re.IGNORECASE) for line in labels)


READER = Reader(
    technique="xas",
    suffixes=(".dat", ".spec", ".spc"),
    sniff=sniff,
    read=read,
    description="energy scans in SPEC files: SPEC, Sardana, SNBL, APS 12-BM",
)
