"""Which spectra an NXxas file holds, and which of them are the channels of one measurement."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from operando_readers._hdf5 import Group
from operando_readers._reader import FormatError, FormatWarning

Array = npt.NDArray[np.float64]
Units = Literal["eV", "keV"]

DEFINITION = "NXxas"
ENERGY = {"eV": 1.0, "ev": 1.0, "keV": 1e3, "kev": 1e3}
REFERENCES = ("reference", "iref", "irefer")
COUNTERS = {
    **{"i0": "i0", "i1": "i1", "itrans": "i1", "iref": "iref", "irefer": "iref"},
    **{"ifluor": "fluorescence"},
}
"""Detectors of ``instrument`` by the names the definition's own examples give them."""
SAME_STEP = 0.5
"""Energies that differ by less than this part of a step are those of one scan, jitter apart."""


@dataclass(frozen=True)
class Spectrum:
    """One NXxas: an entry, or a subentry."""

    group: Group
    entry: Group
    name: str
    element: str
    edge: str
    mode: str
    energy: Array

    @property
    def is_reference(self) -> bool:
        return self.name.rpartition("/")[2] in REFERENCES and "/" in self.name

    @property
    def is_fluorescence(self) -> bool:
        return self.mode.lower().startswith("fluo")

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.element} {self.edge}, {self.mode}, {self.energy.min():g}-"
            f"{self.energy.max():g} eV, {self.energy.size} points)"
        )


def spectra(root: Group, units: Units | None) -> list[Spectrum]:
    """Return every NXxas of a file, entries and their subentries.

    Raises
    ------
    FormatError
        None, or one without energies or without their unit.
    """
    found = []
    for entry in root.groups():
        name = entry.path.lstrip("/")
        candidates = [(name, entry), *((f"{name}/{_last(sub)}", sub) for sub in entry.groups())]
        found += [
            _spectrum(group, entry, path, units)
            for path, group in candidates
            if (group.text("definition") or "").startswith(DEFINITION)
        ]
    if not found:
        raise FormatError(f"no entry with definition {DEFINITION!r} among {root.names()[:10]}")
    return found


def _last(group: Group) -> str:
    return group.path.rpartition("/")[2]


def _spectrum(group: Group, entry: Group, name: str, units: Units | None) -> Spectrum:
    element = group.text("element/symbol") or group.text("absorber/chemical_symbol")
    energy = group.numbers("energy")
    if energy is None or energy.ndim != 1 or not energy.size:
        raise FormatError(f"{name}: no row of numbers called 'energy'")
    if not np.isfinite(energy).all():
        raise FormatError(f"{name}/energy: holds what is no number")
    return Spectrum(
        group=group,
        entry=entry,
        name=name,
        element=element or group.text("element") or "?",
        edge=group.text("edge/name") or group.text("absorption_edge") or "?",
        mode=group.text("mode") or "?",
        energy=energy * _energy_factor(group, name, units),
    )


def _energy_factor(group: Group, name: str, units: Units | None) -> float:
    """Return eV per unit: of the field, of its long_name "Energy (keV)", or as declared."""
    word = group.word("units", "energy")
    label = group.word("long_name", "energy")
    if not word and label.endswith(")"):
        word = label[:-1].rpartition("(")[2]
    word = word or units or ""
    if word not in ENERGY:
        raise FormatError(f"{name}/energy: unit {word!r}; pass energy_unit='eV' or 'keV'")
    return ENERGY[word]


def chosen(found: Sequence[Spectrum], entries: str | None) -> list[Spectrum]:
    """Return what is asked for, or all when it is of one kind.

    Raises
    ------
    FormatError
        Nothing is called so, or it is of several edges or scans: lists what there is.
    """
    listed = "; ".join(map(str, found[:20])) + ("; ..." if len(found) > 20 else "")
    if entries is not None:
        patterns = [pattern.strip() for pattern in entries.split(",")]
        for pattern in patterns:
            if not any(_matches(item, pattern) for item in found):
                raise FormatError(f"entries: nothing is called {pattern!r}; there are {listed}")
        taken = [item for item in found if any(_matches(item, one) for one in patterns)]
    else:
        taken = list(found)
        mains = [item for item in found if not item.is_reference]
        if not all(_one_scan(item.energy, mains[0].energy) for item in mains[1:]):
            raise FormatError(f"energies of several scans; choose with entries=: {listed}")
    kinds = {(item.element, item.edge) for item in taken if not item.is_reference}
    if len(kinds) > 1:
        raise FormatError(f"spectra of {len(kinds)} edges; choose with entries=: {listed}")
    return taken


def _matches(item: Spectrum, pattern: str) -> bool:
    """Whether a pattern names a spectrum, or the entry it belongs to."""
    names = (item.name, item.entry.path.lstrip("/"))
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _one_scan(energy: Array, other: Array) -> bool:
    if energy.shape != other.shape:
        return False
    step = np.median(np.abs(np.diff(np.sort(other)))) if other.size > 1 else 0.0
    return bool(np.max(np.abs(energy - other)) <= SAME_STEP * step)


@dataclass(frozen=True)
class Measured:
    """The channels of one entry, (spectra, points) each."""

    main: Spectrum
    channels: dict[str, Array]
    units: dict[str, str]
    """Of the counters, where the file says."""


def measured(spectra: Sequence[Spectrum]) -> Measured:
    """Take together the spectra of one entry.

    Raises
    ------
    FormatError
        Several in transmission, several references, or shapes that do not fit together.
    """
    references = [item for item in spectra if item.is_reference]
    others = [item for item in spectra if not item.is_reference]
    if not others:
        references, others = [], references
    alone = [item for item in others if not item.is_fluorescence or "/" not in item.name]
    detectors = [item for item in others if item not in alone]
    if len(alone) > 1 or len(references) > 1:
        several = "; ".join(map(str, alone if len(alone) > 1 else references))
        raise FormatError(f"channels of one kind; choose one with entries=: {several}")
    main = (alone or detectors)[0]
    found = {"mu": _intensity(main) if alone else _mean(detectors, main)}
    if alone and detectors:
        found["mu_fluorescence"] = _mean(detectors, main)
    if references and _fits(references[0], main):
        found["mu_reference"] = _intensity(references[0])
    if alone and (errors := _rows(main.group.numbers("intensity_errors"))) is not None:
        found["mu_sigma"] = errors
    counters, units = _counters(main, found["mu"].shape)
    for name, values in found.items():
        if values.shape != found["mu"].shape:
            raise FormatError(
                f"{main.name}: {name} is {values.shape}, intensity {found['mu'].shape}"
            )
    return Measured(main, found | counters, units)


def _counters(main: Spectrum, shape: tuple[int, ...]) -> tuple[dict[str, Array], dict[str, str]]:
    found: dict[str, Array] = {}
    units = {}
    for name, ours in COUNTERS.items():
        path = f"instrument/{name}/data"
        values = _rows(main.group.numbers(path))
        if values is not None and values.shape == shape and ours not in found:
            found[ours] = values
            if word := main.group.word("units", path):
                units[ours] = word
    return found, units


def _rows(values: Array | None) -> Array | None:
    """Return a spectrum as one row, infinities (logarithms of nothing) as NaN."""
    if values is None:
        return None
    rows = values[None] if values.ndim == 1 else values
    return np.where(np.isfinite(rows), rows, np.nan)


def _intensity(item: Spectrum) -> Array:
    rows = _rows(item.group.numbers("intensity"))
    if rows is None or rows.ndim != 2 or rows.shape[1] != item.energy.size or not rows.size:
        shape = None if rows is None else item.group.shape("intensity")
        raise FormatError(f"{item.name}/intensity: shape {shape}; {item.energy.size} energies")
    return rows


def _mean(detectors: Sequence[Spectrum], main: Spectrum) -> Array:
    """Return the mean of the detectors that count, NaN where none does."""
    rows = [_intensity(item) for item in detectors if _fits(item, main)]
    if len({row.shape for row in rows}) != 1:
        raise FormatError(f"{main.name}: its detectors hold different numbers of spectra")
    every = np.stack(rows)
    good = np.isfinite(every)
    count = np.count_nonzero(good, axis=0)
    total = np.where(good, every, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _fits(item: Spectrum, main: Spectrum) -> bool:
    """Whether a channel is on the energies of its entry; says so where it is not."""
    if item.energy.shape == main.energy.shape and np.allclose(item.energy, main.energy, rtol=1e-9):
        return True
    warnings.warn(
        f"{item} is on other energies than {main} and is left out; read it with entries=",
        FormatWarning,
        stacklevel=2,
    )
    return False
