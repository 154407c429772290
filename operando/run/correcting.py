"""Carry out the correct steps of one measurement."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from operando.corrections.absorption import absorption
from operando.corrections.energy_drift import energy_drift, shift_energy
from operando.corrections.foil import calibrate_energy
from operando.corrections.glitches import mask_glitches
from operando.corrections.merging import merge_scans
from operando.corrections.self_absorption import correct_self_absorption
from operando.errors import RecipeError
from operando.recipe import Absorption, Calibration, Correct, Energy, Glitches, Merge


def correct(frames: xr.Dataset, steps: Sequence[Correct]) -> xr.Dataset:
    """Return the frames corrected step by step; attrs["corrections"] tells each.

    Raises
    ------
    RecipeError
        The frames are no absorption spectra, or lack the channel that a step needs.
    """
    if steps and frames.attrs["technique"] != "xas":
        raise RecipeError(
            f"correct: for absorption spectra; the files are {frames.attrs['technique']}"
        )
    for step in steps:
        frames = _corrected(frames, step)
    return frames


def _corrected(frames: xr.Dataset, step: Correct) -> xr.Dataset:
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
        case _:
            return correct_self_absorption(frames, **told)


def _aligned(frames: xr.Dataset, step: Energy) -> xr.Dataset:
    if step.signal not in frames:
        raise RecipeError(f"correct 'energy': no {step.signal!r} in {list(frames.data_vars)}")
    drift = energy_drift(
        frames[step.signal], window=step.window, baseline=step.baseline, jump=step.jump
    )
    return shift_energy(frames, drift, limit=step.limit, spacing=step.spacing)
