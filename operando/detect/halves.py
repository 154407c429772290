"""Which frames of a series belong to which half-cycle, and which way each half-cycle goes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.model import STATES

Rows = npt.NDArray[np.intp]

HEADINGS = {
    **dict.fromkeys(("charge", "hold_charge", "sweep_up"), 1),
    **dict.fromkeys(("discharge", "hold_discharge", "sweep_down"), -1),
}


def moving_frames(series: xr.DataArray, rows: Rows) -> npt.NDArray[np.bool_]:
    """Return which rows belong to a half-cycle and are not at rest."""
    if "half_cycle" not in series.coords or "state" not in series.coords:
        return np.zeros(rows.size, bool)
    moving = np.isin(series["state"].values[rows], [STATES[name] for name in HEADINGS])
    return np.asarray(moving & (series["half_cycle"].values[rows] >= 0))


def headings(series: xr.DataArray, usable: Rows) -> dict[int, int]:
    """Return half-cycle -> +1 (charge) or -1, in order, by majority of its moving frames."""
    moving = usable[moving_frames(series, usable)]
    if not moving.size:
        return {}
    signs = {STATES[name]: sign for name, sign in HEADINGS.items()}
    way = np.array([signs[int(state)] for state in series["state"].values[moving]])
    half_cycle = series["half_cycle"].values[moving]
    return {
        int(name): 1 if way[half_cycle == name].sum() >= 0 else -1
        for name in dict.fromkeys(half_cycle.tolist())
    }
