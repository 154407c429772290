"""Stretches of the axis that say nothing of the sample."""

from __future__ import annotations

import xarray as xr

from operando.errors import RecipeError
from operando.observables.lines.cell_parts import cell_part_masks
from operando.recipe import Measurement, NewPeaks


def left_out(frames: xr.Dataset, measurement: Measurement) -> list[tuple[float, float]]:
    """Return the stretches of the axis that hold lines of cell parts, and masks of detect.

    Raises
    ------
    RecipeError
        Cell parts in frames that are no patterns, or whose wavelength is not known.
    """
    masks = [
        region for step in measurement.detect if isinstance(step, NewPeaks) for region in step.mask
    ]
    parts = measurement.cell_parts
    if parts is None:
        return masks
    axes = [axis for axis in ("two_theta", "q") if axis in frames.dims]
    if not axes:
        raise RecipeError(
            f"cell_parts: for diffraction patterns; the files are {frames.attrs['technique']!r}"
        )
    [axis] = axes
    wavelength = frames.attrs.get("wavelength_angstrom")
    if axis == "two_theta" and wavelength is None:
        raise RecipeError(
            "cell_parts: the files state no wavelength; leave the lines out by mask of new_peaks"
        )
    return masks + cell_part_masks(parts.names, width=parts.width, axis=axis, wavelength=wavelength)
