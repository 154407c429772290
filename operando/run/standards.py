"""The known spectra of a fractions step: from files, or from frames of the series itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from operando.corrections.cubic import resample
from operando.corrections.normalisation import normalised
from operando.errors import RecipeError
from operando.model import positions, signal_of
from operando.reading.files import expand
from operando.reading.registry import choose, load
from operando.recipe import Fractions, StandardSpectrum


def normalised_signal(
    mu: xr.DataArray, step: Fractions, *, e0: float | None = None
) -> xr.DataArray:
    """Return absorption as the step normalises it; as it is where the step has no ranges."""
    if step.pre is None or step.post is None or mu.attrs.get("normalised"):
        return mu
    energy = step.e0 if e0 is None else e0
    return normalised(mu, e0=energy, pre=step.pre, post=step.post, degree=step.degree)["norm"]


def standards_of(frames: xr.Dataset, step: Fractions, root: Path) -> dict[str, xr.DataArray]:
    """Return the normalised spectrum of every standard of the step, on its own energies.

    Raises
    ------
    RecipeError
        A standard that names frames or a variable there are none of.
    ReadError
        A file that cannot be read.
    """
    return {standard.name: _spectrum(frames, step, standard, root) for standard in step.standards}


def differences_of(
    frames: xr.Dataset, step: Fractions, known: dict[str, xr.DataArray], root: Path
) -> dict[str, xr.DataArray]:
    """Return what each of the step's differences adds to the first of its standards."""
    found = {}
    first = next(iter(known.values()))
    for standard in step.differences:
        spectrum = _spectrum(frames, step, standard, root)
        axes = (first["energy"].values, spectrum["energy"].values)
        moved = (
            first.values
            if np.array_equal(*axes)
            else resample(axes[0], first.values[None], axes[1][None])[0]
        )
        found[standard.name] = spectrum - moved
    return found


def _spectrum(
    frames: xr.Dataset, step: Fractions, standard: StandardSpectrum, root: Path
) -> xr.DataArray:
    if standard.path is not None:
        rows = _from_file(standard, root)
    else:
        rows = _from_frames(frames, standard, standard.signal or step.signal)
    norm = normalised_signal(rows, step, e0=standard.e0)
    mean = norm.mean("time", skipna=False).compute()
    if not np.isfinite(mean.values).any():
        raise RecipeError(f"standard {standard.name!r}: no finite point in its mean")
    return mean


def _from_file(standard: StandardSpectrum, root: Path) -> xr.DataArray:
    """Return all spectra of a file; their times do not matter and are not looked at."""
    format, files = choose(
        expand(str(standard.path), root=root), format=standard.format, technique="xas"
    )
    if len(files) != 1:
        raise RecipeError(f"standard {standard.name!r}: path names {len(files)} files; give one")
    dataset = load(files[0], format=format, options=standard.options)
    if standard.signal is not None and standard.signal not in dataset:
        raise RecipeError(
            f"standard {standard.name!r}: no {standard.signal!r} in {list(dataset.data_vars)}"
        )
    spectra = signal_of(dataset) if standard.signal is None else dataset[standard.signal]
    return spectra.assign_coords(time=np.arange(spectra.sizes["time"]))


def _from_frames(frames: xr.Dataset, standard: StandardSpectrum, signal: str) -> xr.DataArray:
    where = f"standard {standard.name!r}"
    if signal not in frames:
        raise RecipeError(f"{where}: no {signal!r} in {list(frames.data_vars)}")
    rows = np.arange(frames.sizes["time"])
    if standard.position is not None:
        spots = positions(frames)
        if standard.position not in spots:
            raise RecipeError(f"{where}: no position {standard.position!r}; there are {[*spots]}")
        rows = spots[standard.position]
    if standard.frames is not None:
        rows = rows[slice(*standard.frames)]
    if not rows.size:
        raise RecipeError(f"{where}: frames {standard.frames} hold none")
    # Whole spectra only: a gap in one of many would be a hole in the mean.
    chosen = frames[signal].isel(time=rows)
    whole = np.isfinite(chosen.values).all(axis=chosen.get_axis_num("energy"))
    if not whole.any():
        raise RecipeError(f"{where}: none of its {rows.size} frames is whole")
    return chosen.isel(time=np.flatnonzero(whole))
