"""Carry out the observe and detect steps of one measurement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from operando.detect import (
    Event,
    Findings,
    departures,
    incomplete_returns,
    merge_positions,
    new_peaks,
)
from operando.errors import RecipeError
from operando.model import positions, signal_of
from operando.observables import (
    Window,
    growth_law,
    segment_pores,
    track_edge,
    track_peaks,
    track_resistance,
)
from operando.recipe import (
    Detect,
    Edge,
    IncompleteReturn,
    Measurement,
    NewPeaks,
    Observe,
    Peaks,
    Resistance,
)

SHOWN = {
    "edge": ("edge_energy_half", "edge_energy_integral"),
    "peaks": ("area", "centre"),
    "pores": ("porosity", "pore_count"),
    "resistance": ("band_resistance", "resistance"),
    "new_peaks": ("area",),
}
"""The numbers of each kind of observable that are drawn."""
GROWN = ("initial_resistance", "rate", "exponent")


def observe(frames: xr.Dataset, step: Observe) -> xr.Dataset:
    """Return the numbers of one observe step, lazily; attrs say the kind of step.

    Raises
    ------
    RecipeError
        The technique lacks the signal that the step measures.
    """
    if step.name in frames.variables:
        raise RecipeError(
            f"observe: name {step.name!r} is that of a variable; the frames have "
            f"{[str(name) for name in frames.variables]}"
        )
    if isinstance(step, Edge):
        if step.signal not in frames:
            raise RecipeError(
                f"observe {step.name!r}: no {step.signal!r} in {list(frames.data_vars)}"
            )
        result = track_edge(
            frames[step.signal],
            e0=step.e0,
            pre=step.pre,
            post=step.post,
            degree=step.degree,
            sigma=step.sigma,
            level=step.level,
            band=step.band,
            window=step.window,
        )
    elif isinstance(step, Peaks):
        signal = signal_of(frames)
        result = track_peaks(
            signal,
            windows=[
                Window(name=window.name, low=window.low, high=window.high, lines=window.lines)
                for window in step.windows
            ],
            sigma=frames.get(f"{signal.name}_sigma"),
        )
    elif isinstance(step, Resistance):
        result = track_resistance(
            _impedance(frames, step.name),
            arcs=step.arcs,
            tail=step.tail,
            band=step.band,
            middle=step.middle,
            noise=step.noise,
            potential=frames.get("potential"),
        )
    else:
        result = segment_pores(
            signal_of(frames),
            threshold=step.threshold,
            connectivity=step.connectivity,
            minimum_voxels=step.minimum_voxels,
        )
    return result.assign_attrs(kind=step.kind)


def _impedance(frames: xr.Dataset, name: str) -> xr.DataArray:
    if frames.attrs["technique"] != "impedance":
        raise RecipeError(
            f"observe {name!r}: resistance needs impedance sweeps; the files are "
            f"{frames.attrs['technique']}"
        )
    return signal_of(frames)


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


def detect(
    frames: xr.Dataset, observed: dict[str, xr.Dataset], *, measurement: Measurement
) -> tuple[list[Event], dict[str, xr.Dataset], list[str]]:
    """Carry out the detect steps: the events, what new observables they bring, what they say."""
    events: list[Event] = []
    found: dict[str, xr.Dataset] = {}
    said: list[str] = []
    spots = positions(frames)
    for step in measurement.detect:
        of_step: list[Event] = []
        for position, rows in spots.items():
            selected = frames.isel(time=rows)
            findings = _detect_one(step, selected, observed, measurement.name, position)
            of_step += findings.events
            where = f"{measurement.name}{f' at {position}' if position else ''}"
            said.append(f"{where}: {step.kind}: {findings.status}")
            if findings.areas is not None:
                name = "_".join(filter(None, (step.kind, re.sub(r"\W", "_", position))))
                found[name] = _on_all_frames(findings.areas, frames).assign_attrs(
                    kind=step.kind, position=position
                )
        events += merge_positions(of_step, positions=list(spots))
    return events, found, said


def _on_all_frames(numbers: xr.Dataset, frames: xr.Dataset) -> xr.Dataset:
    """Return the numbers of one position on the time of the whole measurement, as a tree needs."""
    missing: dict[str, Any] = {
        str(name): float("nan") if variable.dtype.kind == "f" else -1
        for name, variable in numbers.data_vars.items()
    }
    whole = numbers.reset_coords(
        [name for name in numbers.coords if name not in numbers.dims], drop=True
    ).reindex(time=frames["time"], fill_value=missing)
    on_time = {
        name: coordinate
        for name, coordinate in frames.coords.items()
        if coordinate.dims == ("time",)
    }
    return whole.assign_coords(on_time)


def own_frames(numbers: xr.Dataset) -> xr.Dataset:
    """Return the frames that the numbers belong to: those of their position, if they have one."""
    spot = str(numbers.attrs.get("position", ""))
    return numbers.isel(time=positions(numbers)[spot]) if spot else numbers


def _detect_one(
    step: Detect,
    frames: xr.Dataset,
    observed: dict[str, xr.Dataset],
    measurement: str,
    position: str,
) -> Findings:
    if isinstance(step, NewPeaks):
        return new_peaks(
            frames,
            measurement=measurement,
            position=position,
            reference=step.reference,
            false_alarm=step.false_alarm,
            minimum_frames=step.minimum_frames,
            mask=step.mask,
        )
    series, sigma = series_of(step.observable, observed, position)
    facts: dict[str, Any] = {
        "measurement": measurement,
        "technique": str(frames.attrs["technique"]),
        "observable": step.observable,
        "position": position,
        "false_alarm": step.false_alarm,
    }
    if isinstance(step, IncompleteReturn):
        return incomplete_returns(series, sigma, **facts)
    quiet = None
    if step.control is not None and step.control != position:
        quiet = series_of(step.observable, observed, step.control)
    return departures(
        series,
        sigma,
        reference=step.reference,
        minimum_frames=step.minimum_frames,
        reversible=step.reversible,
        control=step.control,
        quiet=quiet,
        **facts,
    )


def series_of(
    observable: str, observed: dict[str, xr.Dataset], position: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the number `<name>.<variable>[.<line>]` and its sigma at one position.

    Raises
    ------
    RecipeError
        There is no such variable or line; names those there are.
    """
    name, variable, *line = observable.split(".")
    dataset = observed[name]
    if variable not in dataset or f"{variable}_sigma" not in dataset:
        known = [str(n) for n in dataset.data_vars if f"{n}_sigma" in dataset]
        raise RecipeError(f"detect.observable: {observable!r} unknown; {name!r} has {known}")
    for parts in set(dataset[variable].dims) - {"time"}:
        names = dataset[parts].values.astype(str).tolist()
        if len(line) != 1 or line[0] not in names:
            raise RecipeError(
                f"detect.observable: {observable!r} needs one of the {parts}s {names}"
            )
        dataset = dataset.isel({parts: names.index(line[0])}, drop=True)
    spots = positions(dataset)
    if position not in spots:
        raise RecipeError(f"detect.control: {position!r} is no position; there are {list(spots)}")
    dataset = dataset.isel(time=spots[position])
    return dataset[variable], dataset[f"{variable}_sigma"]
