"""Carry out the observe steps that work on tracked lines, not on frames."""

from __future__ import annotations

import xarray as xr

from operando.errors import OperandoError
from operando.observables import (
    apply_standard,
    band_quality,
    common_mode,
    internal_standard,
    lattice,
    line_fractions,
    spacings,
)
from operando.recipe import (
    BandQuality,
    CommonMode,
    Lattice,
    LineFractions,
    OnLines,
    Spacings,
    Standard,
)

OF_THE_STEP = ("kind", "name", "tracks", "standard", "space_group")
"""Fields that are no parameters of the verbs."""


def derive(observed: dict[str, xr.Dataset], step: OnLines) -> xr.Dataset:
    """Return the numbers of one step on the tracks of another; attrs say the kind of step.

    Raises
    ------
    RequestError
        A line that was not tracked, or what the verb asks for is not there; names the step.
    """
    try:
        return _derived(observed[step.tracks], step).assign_attrs(kind=step.kind)
    except OperandoError as error:
        raise type(error)(f"observe {step.name!r}: {error}") from error


def _derived(tracks: xr.Dataset, step: OnLines) -> xr.Dataset:
    told = {
        name: getattr(step, name) for name in type(step).model_fields if name not in OF_THE_STEP
    }
    match step:
        case Spacings():
            return spacings(_by_standard(tracks, step.standard, step.wavelength), **told)
        case Lattice():
            return lattice(_by_standard(tracks, step.standard, step.wavelength), **told)
        case LineFractions():
            return line_fractions(tracks, **told)
        case CommonMode():
            return common_mode(tracks, **told)
        case BandQuality():
            return band_quality(tracks, **told)


def _by_standard(
    tracks: xr.Dataset, standard: Standard | None, wavelength: float | None
) -> xr.Dataset:
    if standard is None:
        return tracks
    correction = internal_standard(tracks, wavelength=wavelength, **dict(standard))
    return apply_standard(tracks, correction)
