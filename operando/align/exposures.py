"""The exposures of frames: intervals of time in nanoseconds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.align.windows import Integers
from operando.errors import ContractError


def exposures(frames: xr.Dataset | xr.DataArray, *, what: str) -> tuple[Integers, Integers]:
    """Return start and end of each frame.

    Raises
    ------
    ContractError
        One of them is missing.
    """
    for name in ("time_start", "time_end"):
        if name not in frames.coords or frames[name].dims != ("time",):
            raise ContractError(f"{what}: no {name!r} on time; every frame is an interval")
    return instants(frames["time_start"]), instants(frames["time_end"])


def instants(stamps: xr.DataArray) -> Integers:
    """Return stamps as integers."""
    return stamps.values.astype("datetime64[ns]").astype(np.int64)
