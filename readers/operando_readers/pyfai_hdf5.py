"""Patterns that pyFAI integrated, HDF5: of its workers (HDF5Writer), and single ones (NXmonopd).

File structure: the worker writes ``entry_0000/integrate/results`` with ``data`` (frames, points),
``data_errors`` or ``errors``, and ``radial`` whose ``@unit`` is deg, A^-1 ..; frames of a mapping
have two axes, slow and fast, and follow one another in that order. A single result has
``entry/results`` with ``data``, ``errors``, and ``polar_angle`` whose ``@units`` are 2th_deg,
q_nm^-1 .. Cakes are refused.

Time: none. ``start_time`` and ``date`` are when the images were integrated, and never taken for
when they were measured: a log, or the file of the images, must give that.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _nexus
from operando_readers._diffraction import NO_CLOCK, axis_of, pattern
from operando_readers._hdf5 import SIGNATURE, Group, opened
from operando_readers._hdf5_stack import Part, lazy
from operando_readers._reader import File, FormatError, Reader

Array = npt.NDArray[np.float64]

AXES = ("radial", "polar_angle", "q", "2th")
ERRORS = ("data_errors", "errors")
CONFIGURATIONS = ("integrate/configuration/data", "pyFAI/poni/data", "integrate/configuration")
METRE = 1e10


def read(file: File, *, entry: str | None = None) -> xr.Dataset:
    """Read the patterns of one integration; those of a worker lazily.

    Parameters
    ----------
    entry
        Name of the entry, where a file holds several integrations.

    Returns
    -------
    `intensity`, and `intensity_sigma` where there are errors (time, two_theta in degree or q in
    1/angstrom).

    Raises
    ------
    FormatError
        Nothing that pyFAI integrated or several and none chosen (lists them), a cake, or an axis
        that is neither two theta nor q.
    """
    with opened(file) as root:
        chosen, data = _chosen(root, entry)
        name = next(name for name in AXES if data.shape(name) is not None)
        position = data.numbers(name)
        unit = data.word("units", name) or data.word("unit", name)
        label = data.word("long_name", name) or data.word("name", name)
        axis, factor = axis_of(unit, what=f"{data.path}/{name}", label=label)
        if position is None or position.ndim != 1:
            raise FormatError(f"{data.path}/{name}: no row of numbers")
        if data.shape("chi") is not None or data.shape("azimuthal") is not None:
            raise FormatError(
                f"{data.path}: a cake (radial, azimuthal); integrate in one dimension"
            )
        intensity, truncated = _values(file, data, "data", position.size)
        errors = next((one for one in ERRORS if data.shape(one) is not None), None)
        sigma = None if errors is None else _values(file, data, errors, position.size)[0]
        facts = _configured(chosen)
        dataset = pattern(
            axis,
            position * factor,
            intensity,
            sigma=sigma,
            units="1",
            clock=NO_CLOCK,
            metadata={**chosen.facts(), **facts},
            instrument=_nexus.instrument(chosen),
            wavelength_angstrom=_nexus.wavelength(chosen) or _wavelength(facts),
        )
    return dataset.assign_attrs(truncated=truncated) if truncated else dataset


def _chosen(root: Group, name: str | None) -> tuple[Group, Group]:
    """Return the entry that is asked for, the only one where none is, and its results."""
    found: dict[str, tuple[Group, Group]] = {}
    for entry in root.groups():
        for path in ("integrate/results", "results"):
            data = entry.group(path)
            if data is not None and data.shape("data") and any(data.shape(one) for one in AXES):
                found.setdefault(entry.path.strip("/"), (entry, data))
    if name is not None and name.strip("/") in found:
        return found[name.strip("/")]
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise FormatError(f"no results of an integration in {root.names()[:10]}")
    raise FormatError(f"entry: {name!r}; the file has {sorted(found)}, choose one with entry=")


def _values(file: File, data: Group, name: str, points: int) -> tuple[Any, str]:
    """Return one pattern in memory or a stack of them lazily, and why some are missing."""
    shape = data.shape(name) or ()
    if len(shape) == 1:
        values = data.numbers(name)
        if values is not None:
            return values, ""
    stack = data.stack(name) if len(shape) in (2, 3) else None
    if stack is None or stack.shape[-1] != points:
        raise FormatError(f"{data.path}/{name}: shape {shape} for {points} positions")
    frames = lazy([Part(file, stack)], dtype=float)
    short = f"{stack.shape[0]} of {stack.promised} frames were written"
    cut = short if stack.shape[0] < stack.promised else ""
    return frames.reshape(-1, points) if frames.ndim == 3 else frames, cut


def _configured(entry: Group) -> dict[str, str]:
    """Return what pyFAI was told, as it wrote it."""
    found = ((path, entry.text(path)) for path in CONFIGURATIONS)
    return {"configuration": next((text for _, text in found if text), "")}


def _wavelength(facts: dict[str, str]) -> float | None:
    """Return the wavelength in angstrom of a configuration in JSON, which has it in metres."""
    try:
        told = json.loads(facts["configuration"] or "{}")
    except (ValueError, RecursionError):
        return None
    poni = told.get("poni") if isinstance(told, dict) else None
    for place in (poni, told):
        value = place.get("wavelength") if isinstance(place, dict) else None
        if isinstance(value, int | float) and 1e-13 < value < 1e-8:
            return float(value) * METRE
    return None


def sniff(head: bytes, name: str) -> bool:
    """Whether the head of an HDF5 file names pyFAI and holds results of an integration."""
    results = b"results" in head and any(axis.encode() in head for axis in AXES[:2])
    return head.startswith(SIGNATURE) and b"pyFAI" in head and results


READER = Reader(
    technique="xrd",
    suffixes=(".h5", ".hdf5", ".nxs"),
    sniff=sniff,
    read=read,
    description="patterns integrated by pyFAI, HDF5 (HDF5Writer, NXmonopd)",
)
