"""Carry out the observe steps of one measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from operando.errors import RecipeError
from operando.model import signal_of
from operando.observables import (
    Doublet,
    Window,
    fractions,
    segment_pores,
    track_edge,
    track_exafs,
    track_peaks,
    track_resistance,
)
from operando.recipe import Edge, Exafs, Fractions, OnFrames, Peaks, Pores, Resistance
from operando.run.standards import differences_of, normalised_signal, standards_of

SHOWN = {
    "edge": ("edge_energy", "edge_step"),
    "fractions": (),
    "exafs": ("amplitude", "centroid"),
    "peaks": (),
    "spacings": ("d",),
    "lattice": ("a", "b", "c", "alpha", "beta", "volume"),
    "line_fractions": ("fraction",),
    "common_mode": ("common_shift", "common_scale"),
    "band_quality": ("reference_shift", "reference_area", "return_distance"),
    "pores": ("porosity", "pore_count"),
    "resistance": ("band_resistance", "resistance"),
    "new_peaks": ("area",),
}
"""The numbers of each kind of observable that have a figure of their own."""

WAVELENGTHS = ("wavelength_angstrom", "wavelength_alpha2_angstrom", "alpha2_ratio")


def observe(frames: xr.Dataset, step: OnFrames, *, root: Path = Path()) -> xr.Dataset:
    """Return the numbers of one observe step, lazily; attrs say the kind of step.

    Parameters
    ----------
    root
        Folder that the paths of standards are relative to.

    Raises
    ------
    RecipeError
        The technique lacks the signal that the step measures.
    """
    if step.name in frames.variables:
        raise RecipeError(
            f"observe: name {step.name!r} is that of a variable; the frames have "
            f"{[str(name) for name in frames.variables]}"
        )
    return _measured(frames, step, root).assign_attrs(kind=step.kind)


def _measured(frames: xr.Dataset, step: OnFrames, root: Path) -> xr.Dataset:
    match step:
        case Edge():
            return _edge(frames, step)
        case Fractions():
            return _fractions(frames, step, root)
        case Exafs():
            return track_exafs(_signal(frames, step), **_told(step))
        case Peaks():
            return _peaks(frames, step)
        case Resistance():
            return track_resistance(
                _impedance(frames, step.name),
                potential=frames.get("potential"),
                **_told(step),
            )
        case Pores():
            return segment_pores(signal_of(frames), **_told(step))


def _told(step: OnFrames) -> dict[str, Any]:
    """Return the parameters of a step under the names that the verbs have for them, too."""
    return {
        name: getattr(step, name)
        for name in type(step).model_fields
        if name not in ("kind", "name", "signal", "reference")
    }


def _signal(frames: xr.Dataset, step: Edge | Exafs | Fractions) -> xr.DataArray:
    return _variable(frames, step.signal, step.name)


def _variable(frames: xr.Dataset, variable: str, step: str) -> xr.DataArray:
    if variable not in frames:
        raise RecipeError(f"observe {step!r}: no {variable!r} in {list(frames.data_vars)}")
    return frames[variable]


def _edge(frames: xr.Dataset, step: Edge) -> xr.Dataset:
    channel = None if step.reference is None else _variable(frames, step.reference, step.name)
    return track_edge(_signal(frames, step), reference=channel, **_told(step))


def _fractions(frames: xr.Dataset, step: Fractions, root: Path) -> xr.Dataset:
    mu = _signal(frames, step)
    norm = normalised_signal(mu, step)
    ranges = {name: getattr(step, name) for name in ("e0", "pre", "post", "degree")}
    known = standards_of(frames, step, root)
    return fractions(
        norm,
        standards=known,
        window=(step.e0 + step.window[0], step.e0 + step.window[1]),
        sigma=step.sigma,
        sum_to_one=step.sum_to_one,
        differences=differences_of(frames, step, known, root),
        normalisation=None if norm is mu else ranges,
    )


def _peaks(frames: xr.Dataset, step: Peaks) -> xr.Dataset:
    signal = signal_of(frames)
    if frames.attrs["technique"] == "xrd_images":
        raise RecipeError(
            f"observe {step.name!r}: the files are images; add a correct step, kind = 'integrate'"
        )
    tracks = track_peaks(
        signal,
        windows=[Window(**window.model_dump()) for window in step.windows],
        sigma=frames.get(f"{signal.name}_sigma"),
        profile=step.profile,
        doublet=_doublet(frames, step) if step.alpha2 else None,
        shape=step.shape,
        masked=step.masked,
    )
    # what angles mean: spacings are made of the centres
    facts = {name: frames.attrs[name] for name in WAVELENGTHS if name in frames.attrs}
    return tracks.assign_attrs(facts)


def _doublet(frames: xr.Dataset, step: Peaks) -> Doublet:
    lacking = [name for name in WAVELENGTHS if name not in frames.attrs]
    if lacking:
        raise RecipeError(
            f"observe {step.name!r}: alpha2 needs {lacking} in the files' own attributes; the "
            "files state no K alpha doublet"
        )
    alpha1, alpha2, share = (float(frames.attrs[name]) for name in WAVELENGTHS)
    return Doublet(ratio=alpha2 / alpha1, intensity=share)


def _impedance(frames: xr.Dataset, name: str) -> xr.DataArray:
    if frames.attrs["technique"] != "impedance":
        raise RecipeError(
            f"observe {name!r}: resistance needs impedance sweeps; the files are "
            f"{frames.attrs['technique']}"
        )
    return signal_of(frames)
