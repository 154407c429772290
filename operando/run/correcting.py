"""Carry out the correct steps of one measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from operando.corrections.absorption import absorption
from operando.corrections.baseline import subtract_baseline
from operando.corrections.cosmic_rays import remove_cosmic_rays
from operando.corrections.energy_drift import energy_drift, shift_energy
from operando.corrections.foil import calibrate_energy
from operando.corrections.glitches import mask_glitches
from operando.corrections.integration import integrate
from operando.corrections.merging import merge_scans
from operando.corrections.reference_band import normalise_to_band, normalise_to_power
from operando.corrections.self_absorption import correct_self_absorption
from operando.corrections.shift_calibration import band_shift, calibrate_shift
from operando.errors import RecipeError
from operando.recipe import (
    STEPS,
    Absorption,
    Band,
    Baseline,
    Calibration,
    Correct,
    CosmicRays,
    Energy,
    Glitches,
    Integrate,
    Merge,
    Power,
    SelfAbsorption,
    Shift,
)


def correct(frames: xr.Dataset, steps: Sequence[Correct], *, root: Path = Path()) -> xr.Dataset:
    """Return the frames corrected step by step; attrs["corrections"] tells each.

    Parameters
    ----------
    root
        Folder that the paths of geometries and masks are relative to.

    Raises
    ------
    RecipeError
        A step is for frames of another technique, or these lack the channel that it needs.
    """
    for step in steps:
        technique = str(frames.attrs["technique"])
        if step.kind not in STEPS.get(technique, ()):
            meant = next(name for name, kinds in STEPS.items() if step.kind in kinds)
            raise RecipeError(
                f"correct {step.kind!r}: for frames of {meant!r}; the files are {technique!r}"
            )
        frames = _corrected(frames, step, root)
    return frames


def _corrected(frames: xr.Dataset, step: Correct, root: Path) -> xr.Dataset:
    told = step.model_dump(exclude={"kind"})
    match step:
        case Absorption():
            return absorption(frames, **told)
        case Glitches():
            return mask_glitches(frames, **told)
        case Merge():
            return merge_scans(frames, **told)
        case Energy():
            return _aligned(frames, step)
        case Calibration():
            return calibrate_energy(frames, **told)
        case SelfAbsorption():
            return correct_self_absorption(frames, **told)
        case Integrate():
            return _integrated(frames, step, root)
        case CosmicRays():
            return remove_cosmic_rays(frames, **told)
        case Shift():
            limit = told.pop("limit")
            return calibrate_shift(frames, band_shift(frames, **told), limit=limit)
        case Baseline():
            return subtract_baseline(frames, method=step.method, **step.parameters)
        case Band():
            return normalise_to_band(frames, band=step.window)
        case Power():
            return normalise_to_power(frames, power=step.power)


def _aligned(frames: xr.Dataset, step: Energy) -> xr.Dataset:
    if step.signal not in frames:
        raise RecipeError(f"correct 'energy': no {step.signal!r} in {list(frames.data_vars)}")
    drift = energy_drift(
        frames[step.signal], window=step.window, baseline=step.baseline, jump=step.jump
    )
    return shift_energy(frames, drift, limit=step.limit, spacing=step.spacing)


def _integrated(frames: xr.Dataset, step: Integrate, root: Path) -> xr.Dataset:
    return integrate(
        frames,
        poni=root / step.poni,
        points=step.points,
        unit=step.unit,
        mask=None if step.mask is None else root / step.mask,
        polarization=step.polarization,
        sigma_clip=step.sigma_clip or False,
    )
