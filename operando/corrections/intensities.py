"""What a correction of spectra is given: frames with an intensity on time and one axis."""

from __future__ import annotations

import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import axes_of


def spectra(frames: object, axis: str | None = None) -> tuple[xr.Dataset, str]:
    """Return the frames and the name of their axis, which may have to be a certain one.

    Raises
    ------
    RequestError
        No `intensity` on time and that axis alone.
    """
    series = arguments.dataset("frames", frames)
    name = axes_of(series)[-1] if axis is None else axis
    if "intensity" not in series or set(series["intensity"].dims) != {"time", name}:
        raise RequestError(f"frames: no intensity on time and {name} in {list(series.data_vars)}")
    return series, name
