"""Stretches of the axis that say nothing of the sample."""

from __future__ import annotations

import xarray as xr

from operando.observables.lines.cell_parts import cell_part_masks
from operando.recipe import Measurement, NewPeaks


def left_out(frames: xr.Dataset, measurement: Measurement) -> list[tuple[float, float]]:
    """Return the stretches of the axis that hold lines of cell parts, and masks of detect."""
    masks = [
        region for step in measurement.detect if isinstance(step, NewPeaks) for region in step.mask
    ]
    parts = measurement.cell_parts
    if parts is None:
        return masks
    axis = "q" if "q" in frames.dims else "two_theta"
    wavelength = frames.attrs.get("wavelength_angstrom")
    return masks + cell_part_masks(parts.names, width=parts.width, axis=axis, wavelength=wavelength)
