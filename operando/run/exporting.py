"""Write the corrected frames of one measurement for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.errors import RequestError
from operando.reading.fullprof_export import write_fullprof
from operando.reading.gsas2_export import write_gsas2
from operando.reading.nxazint1d_export import write_nxazint1d
from operando.reading.nxxas_export import write_nxxas
from operando.reading.topas_export import write_topas
from operando.recipe import Lattice, Measurement, OnLines
from operando.run.deriving import derive
from operando.run.masks import left_out
from operando.run.observing import observe

RIETVELD: dict[str, Callable[..., Path]] = {
    "gsas2": write_gsas2,
    "topas": write_topas,
    "fullprof": write_fullprof,
}
FORMS = ("nxxas", "nxazint1d", *RIETVELD)
SIX = ("a", "b", "c", "alpha", "beta", "gamma")
USUAL = {"xas": "nxxas", "xrd": "nxazint1d"}
"""Technique -> the form that is written when none is asked for."""


def export(
    frames: xr.Dataset, measurement: Measurement, path: Path, *, form: str | None, root: Path
) -> Path:
    """Write frames to a file, or for a Rietveld program to a folder, and return it.

    A Rietveld program is given the excluded regions of `cell_parts` and of the masks of new_peaks,
    and to begin with the cells that the lattice steps of the recipe find in the first frames.

    Parameters
    ----------
    form
        One of `FORMS`; the usual one of the technique when None.
    root
        Folder that the paths of the recipe are relative to.

    Raises
    ------
    RequestError
        No such form for the technique; for a Rietveld program no standard deviations and no counts
        either, or (FullProf) no cell.
    """
    technique = str(frames.attrs["technique"])
    form = form or USUAL.get(technique)
    if technique not in USUAL or form is None or (technique == "xas") != (form == "nxxas"):
        raise RequestError(
            f"measurement {measurement.name!r}: {technique} cannot be written as "
            f"{form or 'anything'}; xas can as nxxas, xrd as {', '.join(FORMS[1:])}"
        )
    if form == "nxxas":
        return write_nxxas(frames, path)
    if form == "nxazint1d":
        return write_nxazint1d(frames, path)
    cells = _cells(frames, measurement, root)
    if form == "fullprof" and not cells:
        raise RequestError(
            f"measurement {measurement.name!r}: FullProf needs a cell to begin with; observe a "
            "'lattice' with its space_group"
        )
    return RIETVELD[form](
        frames,
        path,
        exclude=_in_degrees(left_out(frames, measurement), frames),
        cells=cells or None,
        raw_counts=_raw_counts(frames, measurement.name),
    )


def _in_degrees(
    regions: list[tuple[float, float]], frames: xr.Dataset
) -> list[tuple[float, float]]:
    """Return stretches of the axis as two theta, which is what the programs exclude."""
    wavelength = frames.attrs.get("wavelength_angstrom")
    if "q" not in frames.dims or wavelength is None:  # without one the writers refuse the frames
        return regions
    sines = np.clip(np.array(regions).reshape(-1, 2) * float(wavelength) / (4 * np.pi), -1, 1)
    return [(float(low), float(high)) for low, high in 2 * np.degrees(np.arcsin(sines))]


def _raw_counts(frames: xr.Dataset, name: str) -> bool:
    """Whether the noise has to be made of the counts, and may be: nothing else tells it."""
    if "intensity_sigma" in frames:
        return False
    intensity = frames["intensity"]
    first = intensity.isel(time=0).values if frames.sizes["time"] else np.zeros(0)
    whole = np.all(np.isnan(first) | (first == np.round(first)))
    if intensity.attrs.get("units") == "count" and "corrections" not in frames.attrs and whole:
        return True
    raise RequestError(
        f"measurement {name!r}: no standard deviations, and the intensities are no whole counts "
        "that they could be made of; a refinement needs weights: read files that state them"
    )


def _cells(frames: xr.Dataset, measurement: Measurement, root: Path) -> dict[str, dict[str, Any]]:
    """Return the cells of the lattice steps that name a space group, in the first frames."""
    wanted = [
        step for step in measurement.observe if isinstance(step, Lattice) and step.space_group
    ]
    tracked = {step.tracks for step in wanted}
    observed = {
        step.name: observe(frames, step, root=root).compute()
        for step in measurement.observe
        if step.name in tracked and not isinstance(step, OnLines)
    }
    found: dict[str, dict[str, Any]] = {}
    for step in wanted:
        cell = derive(observed, step)
        values = {name: cell[name].values for name in SIX if name in cell}
        good = np.flatnonzero(np.isfinite(np.array(list(values.values()))).all(axis=0))
        if good.size:
            first = {name: float(value[good[0]]) for name, value in values.items()}
            found[step.name] = {"system": step.system, "space_group": step.space_group, **first}
    return found
