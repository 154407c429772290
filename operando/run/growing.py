"""Say how the resistances of a run grow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from operando.model import positions
from operando.observables import growth_law

GROWN = ("initial_resistance", "rate", "exponent")


def growth(name: str, numbers: xr.Dataset, *, since: np.datetime64) -> list[str]:
    """Say how the resistances of one observable grow; nothing for other kinds.

    Time counts from `since`, when the record of the cell begins: the exponent depends on it.
    """
    if numbers.attrs["kind"] != "resistance":
        return []
    origin = min(since, numbers["time"].values.min())
    begin = np.datetime_as_string(origin, unit="s")
    return [
        f"{name}{f' at {position}' if position else ''}: {what} "
        f"{_grown(*series, origin=origin)}, t since {begin}Z"
        for position, rows in positions(numbers).items()
        for what, series in _resistances(numbers.isel(time=rows))
    ]


def _resistances(numbers: xr.Dataset) -> Iterator[tuple[str, tuple[xr.DataArray, xr.DataArray]]]:
    """Yield each resistance and its sigma, where the sweep is to be believed."""
    band = numbers["band_resistance"].where(numbers["assessment"] == 0)
    yield "band resistance", (band, numbers["band_resistance_sigma"])
    for arc in numbers["arc"].values:
        chosen = numbers.sel(arc=arc, drop=True)
        believed = chosen["resistance"].where(chosen["resistance_assessment"] == 0)
        yield f"arc {arc}", (believed, chosen["resistance_sigma"])


def _grown(resistance: xr.DataArray, sigma: xr.DataArray, *, origin: np.datetime64) -> str:
    law = growth_law(resistance, sigma=sigma, origin=origin)
    attrs = law["assessment"].attrs
    words = str(attrs["flag_meanings"]).split()
    verdict = dict(zip(np.atleast_1d(attrs["flag_values"]).tolist(), words, strict=True))[
        law["assessment"].item()
    ]
    if verdict != "success":
        return f"{verdict.replace('_', ' ')} ({law['sweeps'].item()} sweeps)"
    found = {name: (law[name].item(), law[f"{name}_sigma"].item()) for name in GROWN}
    start, rate, exponent = (f"{value:.3g} +- {sigma:.2g}" for value, sigma in found.values())
    return f"= ({start}) + ({rate}) (t / 1 h)^n ohm, n = {exponent}"
