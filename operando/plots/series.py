"""A tracked number at one position: values, sigma, what is believed, and the state of the cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from operando.model import STATES
from operando.plots.style import plain
from operando.plots.timeline import Array, Frames, Index, Mask, frames_of

FORWARD = tuple(STATES[name] for name in ("charge", "hold_charge", "sweep_up"))
BACKWARD = tuple(STATES[name] for name in ("discharge", "hold_discharge", "sweep_down"))
FAVOURABLE = ("success", "weak")
"""A weak line has an honest area, near zero; its centre and width are NaN and cannot mislead."""


@dataclass(frozen=True)
class Series:
    """One number at one position."""

    value: Array
    sigma: Array
    believed: Mask
    doubted: dict[str, int]
    """Reason -> how many points have a value that should not be believed."""
    cautioned: dict[str, int]
    """Reason -> how many points are believed with a reservation."""
    voltage: Array
    charge: Array
    """Net charge at the middle of the exposure, A h."""
    cycle: Index
    half_cycle: Index
    way: Index
    """1 oxidation, -1 reduction, 0 neither."""
    when: Frames

    @property
    def doubtful(self) -> Mask:
        """Points that have a value and a reason against it."""
        return np.isfinite(self.value) & ~self.believed


def series_of(dataset: xr.Dataset, name: str, since: np.datetime64) -> Series:
    """Collect what is drawn of the number `name` at one position."""
    count = dataset.sizes["time"]

    def on_time(key: str, missing: float) -> Array:
        return dataset[key].values if key in dataset.variables else np.full(count, missing)

    value = dataset[name].values.astype(np.float64)
    state = on_time("state", STATES["unknown"]).astype(np.int64)
    trusted, doubted = believed(dataset, name)
    _, cautioned = believed(dataset, name, cautions=True)
    return Series(
        value=value,
        sigma=on_time(f"{name}_sigma", np.nan).astype(np.float64),
        believed=trusted & np.isfinite(value),
        doubted=doubted,
        cautioned=cautioned,
        voltage=on_time("voltage", np.nan).astype(np.float64),
        charge=on_time("net_capacity", np.nan).astype(np.float64),
        cycle=on_time("cycle", -1).astype(np.int64),
        half_cycle=on_time("half_cycle", -1).astype(np.int64),
        way=np.isin(state, FORWARD).astype(np.int64) - np.isin(state, BACKWARD),
        when=frames_of(dataset, since=since),
    )


def believed(
    dataset: xr.Dataset, name: str, *, cautions: bool = False
) -> tuple[Mask, dict[str, int]]:
    """Return which points are assessed a success, and how many have which other verdict.

    The verdict is `<name>_assessment`, else `assessment`: a CF category or bit mask on time.
    Without one every point is believed. Bits named in its attribute `cautions` are reservations
    about a number that is believed; with `cautions` they are what is looked for.
    """
    known = [key for key in (f"{name}_assessment", "assessment") if key in dataset.variables]
    if not known or dataset[known[0]].dims != ("time",):
        return np.ones(dataset.sizes["time"], bool), {}
    verdict, attrs = dataset[known[0]].values, dataset[known[0]].attrs
    finite = np.isfinite(dataset[name].values)
    masked = "flag_masks" in attrs
    words = str(attrs["flag_meanings"]).split()
    codes = np.atleast_1d(attrs["flag_masks" if masked else "flag_values"]).tolist()
    reserved = int(attrs.get("cautions", 0)) if masked else 0
    against = {
        word: (verdict & code) != 0 if masked else verdict == code
        for word, code in zip(words, codes, strict=True)
        if word not in FAVOURABLE and bool(reserved & code) == cautions
    }
    counts = {word: int(np.sum(found & finite)) for word, found in against.items()}
    doubted = {word: count for word, count in counts.items() if count}
    return ~np.logical_or.reduce([np.zeros(finite.size, bool), *against.values()]), doubted


def counted(place: str, series: Series) -> str:
    """Say how many points there are, and what is wrong with how many."""
    total = series.value.size
    facts = [f"{int(series.believed.sum())} of {total} frames believed"]
    facts += [
        f"{count} {reason.replace('_', ' ')} (open grey)"
        for reason, count in series.doubted.items()
    ]
    facts += [
        f"{count} {reason.replace('_', ' ')} (caution)"
        for reason, count in series.cautioned.items()
    ]
    missing = int(np.sum(~np.isfinite(series.value)))
    facts += [f"{missing} without a value"] if missing else []
    outside = int(np.sum(~np.isfinite(series.voltage)))
    facts += [f"{outside} outside the log (against time only)"] if outside else []
    facts += [] if np.isfinite(series.sigma).any() else ["no sigma"]
    return (f"{plain(place)}: " if place else "") + ", ".join(facts)
