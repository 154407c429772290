"""X-ray absorption spectra in NeXus: the application definition NXxas of 2026, and its drafts.

File structure: an NXentry, or several, each with ``definition`` "NXxas": ``energy`` (points),
``intensity`` (points) or (spectra, points), ``intensity_errors``, ``element/symbol``,
``edge/name``, ``sample/name``, ``start_time``, ``end_time``, and an NXsubentry ``reference`` that
is an NXxas of the foil. Or an NXentry of no definition whose NXsubentries are the NXxas: the
channels of one measurement (ESRF: ``itrans``, ``iref``, ``fluo0`` .. ``fluo15``). Drafts have the
times in ``scan``, the element in ``absorber/chemical_symbol``, and counters in ``instrument``.

What one entry holds is taken together: transmission is `mu`, the subentry called reference (iref,
irefer) is `mu_reference`, the mean of all fluorescence detectors is `mu_fluorescence`, or `mu`
where there is nothing else. Entries stack when they have one element and edge and the energies of
one scan; otherwise `entries` chooses. Spectra of several samples carry them as `position`.

What varies along a stack is what the NXdata groups say: fields as long as the stack ride along,
`time` gives the times. The word in ``intensity@long_name`` ("Normalized mu(E)" of raw logarithms)
cannot be believed and is not used.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import stack
from operando_readers._hdf5 import SIGNATURE, Group, opened
from operando_readers._nxxas import (
    DEFINITION,
    Measured,
    Spectrum,
    Units,
    chosen,
    measured,
    spectra,
)
from operando_readers._reader import File, FormatError, FormatWarning, Reader, clock
from operando_readers._series import series
from operando_readers._stamps import Moments, moments
from operando_readers._units import TIME

Array = npt.NDArray[np.float64]

WORDS = ("long_name", "flag_meanings", "ancillary_variables", "averaging")
FLAGS = ("flag_masks", "flag_values")


def read(file: File, *, entries: str | None = None, energy_unit: Units | None = None) -> xr.Dataset:
    """Read the spectra of one element and edge.

    Parameters
    ----------
    entries
        Names of entries or subentries, separated by commas, with * for any characters:
        "scan1,scan7", "*/itrans". All of the file when not given.
    energy_unit
        Of energies that carry no unit in the file.

    Returns
    -------
    `mu`, and `mu_sigma`, `mu_reference`, `mu_fluorescence` and counters where they are there, all
    (time, energy in eV); what the file tells of each spectrum on time.

    Raises
    ------
    FormatError
        No NXxas in it, several elements, edges or energies and none chosen (lists them), no unit
        of the energy, fields that do not fit together, or a time that is none.
    """
    with opened(file) as root:
        taken = chosen(spectra(root, energy_unit), entries)
        parts = [
            _part(measured([item for item in taken if item.entry.path == path]))
            for path in dict.fromkeys(item.entry.path for item in taken)
        ]
    return _joined(parts)


@dataclass(frozen=True)
class _Part:
    """What one entry holds."""

    name: str
    measured: Measured
    start: Moments
    end: Moments
    told: dict[str, xr.Variable]
    position: list[str] | None
    sample: str
    sigma_s: float | None
    attrs: dict[str, Any]
    metadata: dict[str, Any]


def _part(held: Measured) -> _Part:
    main = held.main
    count = held.channels["mu"].shape[0]
    told = _told(main.entry, count)
    start, end = _times(main, told.pop("time", None), count)
    mode = "fluorescence" if main.is_fluorescence else main.mode.lower()
    sigma = main.entry.attribute("sigma_s", "series/time")
    return _Part(
        name=main.name,
        measured=held,
        start=start,
        end=end,
        told=told,
        position=main.entry.texts("series/position"),
        sample=main.group.text("sample/name") or main.entry.text("sample/name") or "",
        sigma_s=float(sigma[0]) if isinstance(sigma, np.ndarray) and sigma.size else None,
        attrs={
            "element": main.element if main.element != "?" else None,
            "edge": main.edge if main.edge != "?" else None,
            "mode": mode if mode in ("transmission", "fluorescence") else "file",
            "instrument": _instrument(main.group) or _instrument(main.entry) or DEFINITION,
            "calculated": 1 if _is_calculated(main.group) else None,
            "normalised": 1
            if main.group.attribute("normalised", "intensity") is not None
            else None,
        },
        metadata=main.entry.facts(),
    )


def _instrument(group: Group) -> str:
    paths = ("name", "source/name", "source/beamline", "beamline/name")
    return " ".join(filter(None, (group.text(f"instrument/{path}") for path in paths)))


def _is_calculated(group: Group) -> bool:
    flag = group.array("is_experimental")
    return flag is not None and flag.size == 1 and not bool(flag.reshape(-1)[0])


def _told(entry: Group, count: int) -> dict[str, xr.Variable]:
    """Return the numbers of each spectrum: fields of NXdata groups that run along the stack."""
    found = {}
    for group in entry.groups():
        if group.word("NX_class") != "NXdata":
            continue
        names = group.names()
        for name in names:
            if name in ("energy", "intensity", "intensity_errors") or group.is_elsewhere(name):
                continue
            along = group.attribute(f"{name}_indices")
            if "energy" in names and not (isinstance(along, np.ndarray) and not along.any()):
                continue
            if group.shape(name) == (count,) and group.texts(name) is None:
                found[name] = _variable(group, name)
    if entry.shape("sample/temperature") == (count,) and "temperature" not in found:
        found["temperature"] = _variable(entry, "sample/temperature")
    return found


def _variable(group: Group, path: str) -> xr.Variable:
    values = group.array(path)
    assert values is not None
    attrs: dict[str, Any] = {"units": group.word("units", path) or "1"}
    for name in WORDS:
        if word := group.word(name, path):
            attrs[name] = word
    for name in FLAGS:
        if isinstance(flags := group.attribute(name, path), np.ndarray):
            attrs[name] = flags.astype(np.int32)
    return xr.Variable("time", values.astype(np.int8) if values.dtype == bool else values, attrs)


def _times(main: Spectrum, axis: xr.Variable | None, count: int) -> tuple[Moments, Moments]:
    """Return start and end of each spectrum, NaT where the file does not say."""
    entry = main.entry
    starts, ends = entry.texts("series/start_time"), entry.texts("series/end_time")
    if starts is not None and ends is not None:
        return moments(starts, what="start_time"), moments(ends, what="end_time")
    whole = [_stamp(main, name) for name in ("start_time", "end_time")]
    if count == 1:
        first, last = (moments([text], what=what) for text, what in whole)
        return first, last
    nothing = moments([""] * count, what="time")
    base, what = whole[0]
    if axis is not None and axis.attrs["units"] in TIME:
        given = entry.attribute("start", "data/time")
        begin = moments([given if isinstance(given, str) else base], what=what)
        seconds = axis.values.astype(np.float64) * TIME[axis.attrs["units"]]
        if not np.isfinite(seconds).all() or (np.abs(seconds) > 1e9).any():
            raise FormatError(f"{main.name}/data/time: not seconds of an experiment")
        late = np.round(seconds * 1e9).astype("m8[ns]")
        return Moments(begin.values + late, begin.zone, None), nothing
    if base:
        warnings.warn(
            f"{main.name}: {count} spectra and no time axis; {what} {base!r} is of the first only "
            "and is not used",
            FormatWarning,
            stacklevel=2,
        )
    return nothing, nothing


def _stamp(main: Spectrum, name: str) -> tuple[str, str]:
    for group, path in ((main.group, name), (main.entry, name), (main.group, f"scan/{name}")):
        if text := group.text(path):
            return text.strip(), f"{group.path.strip('/')}/{path}"
    return "", name


def _joined(parts: Sequence[_Part]) -> xr.Dataset:
    start = np.concatenate([part.start.values for part in parts])
    known = ~np.isnat(start)
    if known.any() and not known.all():
        without = next(part.name for part in parts if np.isnat(part.start.values).any())
        raise FormatError(f"{without}: no start_time, others have one; choose with entries=")
    zones = {part.start.zone for part in parts}
    if known.all() and len(zones) > 1:
        raise FormatError("start_time: some carry an offset from UTC, others do not")
    facts = clock(start=None, zone=None, marks="start", source="none")
    if known.all():
        facts = clock(
            start=parts[0].start.iso(0),
            zone=zones.pop(),
            marks="start",
            source="header" if len(start) == len(parts) else "column",
            sigma_s=max((part.sigma_s or 0.0 for part in parts), default=0.0)
            or parts[0].start.resolution_s / 2
            or None,
        )
    samples = len({part.sample for part in parts}) > 1
    scans = [_dataset(part, facts, start[0], with_sample=samples) for part in parts]
    if len(scans) == 1:
        return scans[0]
    return stack([scan.isel(time=[at]) for scan in scans for at in range(scan.sizes["time"])])


def _dataset(
    part: _Part, facts: Mapping[str, Any], zero: np.datetime64, *, with_sample: bool
) -> xr.Dataset:
    count = part.start.values.size
    elapsed = np.zeros(count) if np.isnat(zero) else _seconds(part.start.values - zero)
    attrs = dict(part.attrs)
    mode, normalised = attrs.pop("mode"), attrs.pop("normalised")
    dataset = series(
        part.measured.main.energy,
        part.measured.channels,
        clock=facts,
        elapsed=elapsed,
        exposure=_exposure(part),
        metadata=part.metadata,
        **attrs,
    )
    dataset["mu"].attrs["mode"] = mode
    if normalised is not None:
        dataset["mu"].attrs["normalised"] = normalised
    for name, units in part.measured.units.items():
        dataset[name].attrs = {"units": units}
    if "mu_sigma" in dataset:
        dataset["mu"].attrs["ancillary_variables"] = "mu_sigma"
    for name, variable in part.told.items():
        if name not in dataset:
            dataset = dataset.assign_coords({name: variable})
    names = part.position or ([part.sample] * count if with_sample else None)
    if names is not None and len(names) == count:
        dataset = dataset.assign_coords(position=("time", np.array(names, dtype=str)))
    return dataset


def _exposure(part: _Part) -> Array | None:
    if np.isnat(part.start.values).any() or np.isnat(part.end.values).any():
        return None
    length = _seconds(part.end.values - part.start.values)
    if part.end.zone != part.start.zone or (length < 0).any():
        raise FormatError(f"{part.name}: ends {part.end.iso(0)}, before it starts")
    return length


def _seconds(span: npt.NDArray[np.timedelta64]) -> Array:
    return np.asarray(span.astype("m8[ns]").astype(np.int64) / 1e9)


def sniff(head: bytes, name: str) -> bool:
    """Whether the head of an HDF5 file names the definition."""
    return head.startswith(SIGNATURE) and b"NXxas" in head


READER = Reader(
    technique="xas",
    suffixes=(".h5", ".nxs", ".hdf5", ".nx"),
    sniff=sniff,
    read=read,
    description="NeXus NXxas (2026 and drafts), entries, subentries and stacks of spectra",
)
