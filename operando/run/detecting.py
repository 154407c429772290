"""Carry out the detect steps of one measurement."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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
from operando.model import positions
from operando.recipe import Departure, IncompleteReturn, Measurement, NewPeaks
from operando.run.masks import left_out


def detect(
    frames: xr.Dataset,
    observed: dict[str, xr.Dataset],
    *,
    measurement: Measurement,
    root: Path = Path(),
) -> tuple[list[Event], dict[str, xr.Dataset], list[str]]:
    """Carry out the detect steps: the events, what new observables they bring, what they say.

    Parameters
    ----------
    root
        Folder that the paths of CIFs are relative to.
    """
    events: list[Event] = []
    found: dict[str, xr.Dataset] = {}
    said: list[str] = []
    spots = positions(frames)
    for step in measurement.detect:
        of_step: list[Event] = []
        for position, rows in spots.items():
            selected = frames.isel(time=rows)
            if isinstance(step, NewPeaks):
                findings = _new_peaks(step, selected, observed, measurement, position, root)
            else:
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


def _new_peaks(
    step: NewPeaks,
    frames: xr.Dataset,
    observed: dict[str, xr.Dataset],
    measurement: Measurement,
    position: str,
    root: Path,
) -> Findings:
    tracks = None
    if step.tracks is not None:
        tracks = observed[step.tracks]
        tracks = tracks.isel(time=positions(tracks)[position])
    return new_peaks(
        frames,
        measurement=measurement.name,
        position=position,
        reference=step.reference,
        false_alarm=step.false_alarm,
        minimum_frames=step.minimum_frames,
        mask=left_out(frames, measurement),
        tracks=tracks,
        phases={name: root / path for name, path in step.phases.items()},
    )


def _detect_one(
    step: Departure | IncompleteReturn,
    frames: xr.Dataset,
    observed: dict[str, xr.Dataset],
    measurement: str,
    position: str,
) -> Findings:
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
