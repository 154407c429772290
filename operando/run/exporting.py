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
        No such form for the technique.
    """
    technique = str(frames.attrs["technique"])
    form = form or USUAL.get(technique)
    if form is None or (technique == "xas") != (form == "nxxas"):
        raise RequestError(
            f"measurement {measurement.name!r}: {technique} cannot be written as {form!r}; xas can "
            f"as nxxas, xrd as {', '.join(FORMS[1:])}"
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
        exclude=left_out(frames, measurement),
        cells=cells or None,
        raw_counts="intensity_sigma" not in frames and "corrections" not in frames.attrs,
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
