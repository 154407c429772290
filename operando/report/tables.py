"""Tables of a report: events, observables, clocks and counts as plain rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.detect.event import Event, State
from operando.model import PARTS, parts_of, positions
from operando.plots.series import believed
from operando.report.html import with_sigma


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as it is printed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


EVENT_COLUMNS = (
    "What",
    "Where",
    "Observable",
    "Onset (UTC)",
    "Between",
    "State of the cell",
    "Size",
    "Score / threshold",
    "Until",
)


def event_row(event: Event) -> tuple[object, ...]:
    """Return the columns of one event."""
    place = f"{event.measurement} at {event.position}" if event.position else event.measurement
    return (
        event.kind.replace("_", " "),
        f"{place} ({event.technique})",
        event.observable,
        event.onset.time,
        f"{_moment(event.onset_earliest)} and {_moment(event.onset_latest)}",
        state_words(event.onset),
        with_sigma(event.size, event.size_sigma, event.size_units),
        f"{event.score:.3g} / {event.threshold:.3g}",
        "the last frame" if event.end is None else event.end.time,
    )


def event_detail(event: Event) -> dict[str, object]:
    """Return what an event is founded on: calibration, frames, controls, and what its kind adds."""
    evidence: dict[str, object] = {"calibration": event.calibration}
    if event.evidence:
        evidence["evidence"] = (
            f"{len(event.evidence)} frames, index {min(event.evidence)} to {max(event.evidence)}"
        )
    evidence["controls"] = dict(event.controls) or "none"
    return evidence | dict(event.detail)


def state_words(state: State) -> str:
    """Return the state of the cell in words."""
    if np.isnan(state.voltage):
        return "not covered by the log"
    words = [f"{state.voltage:z.3f} V", state.state.replace("_", " ")]
    return ", ".join(words + ([f"cycle {state.cycle}"] if state.cycle is not None else []))


def clock_rows(clocks: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return one row a source: where its times come from and how sure they are."""
    return [
        {
            "source": name,
            "times from": clock.get("source"),
            "zone": clock.get("zone") or "not stated",
            "stamp marks": clock.get("marks") or "instant",
            "exposure from": clock.get("exposure"),
            "sigma (s)": "unknown" if clock.get("sigma_s") is None else clock["sigma_s"],
            "offset applied (s)": clock.get("offset_s", 0.0),
            "drift applied (ppm)": clock.get("drift_ppm", 0.0),
        }
        for name, clock in clocks.items()
    ]


def count_rows(counts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """Return one row a measurement: frames read, and how many carry which flag."""
    return [
        {
            key: _flags(value) if isinstance(value, Mapping) else value
            for key, value in {"measurement": name, **count}.items()
        }
        for name, count in counts.items()
    ]


def observables_table(observed: Mapping[str, Mapping[str, xr.Dataset]]) -> Table:
    """Summarise every number with a sigma: how many frames believe it, its range, its sigma.

    Parameters
    ----------
    observed
        Measurement -> observable -> numbers on `time`, or on `time` and `model.PARTS`.

    Returns
    -------
    Table
        One row a number, line and position; least and greatest are over believed values.
    """
    lines = tuple(
        row
        for measurement, datasets in observed.items()
        for observable, dataset in datasets.items()
        for row in _number_rows(f"{measurement}.{observable}", dataset)
    )
    columns = ("Number", "Line", "Position", "Unit", "Frames", "Believed", "First", "Last")
    return Table(
        title="Observables",
        columns=(*columns, "Least", "Greatest", "Median sigma"),
        rows=lines,
    )


def _number_rows(name: str, dataset: xr.Dataset) -> Iterator[tuple[object, ...]]:
    for variable in dataset.data_vars:
        spectrum = set(dataset[variable].dims) - {"time", *PARTS}
        if spectrum or f"{variable}_sigma" not in dataset.variables:
            continue
        for line, numbers in parts_of(dataset, str(variable)):
            for place, at in positions(numbers).items():
                unit = str(dataset[variable].attrs.get("units", "1"))
                shown = "" if unit == "1" else unit
                part = numbers.isel(time=at)
                yield (f"{name}.{variable}", line, place, shown, *_range(part, str(variable)))


def _range(dataset: xr.Dataset, variable: str) -> tuple[object, ...]:
    value = dataset[variable].values.astype(np.float64)
    sigma = dataset[f"{variable}_sigma"].values.astype(np.float64)
    good = np.isfinite(value) & believed(dataset, variable)[0]
    if not good.any():
        return (value.size, 0, None, None, None, None, None)
    trusted, known = value[good], sigma[good & np.isfinite(sigma)]
    numbers = (trusted[0], trusted[-1], trusted.min(), trusted.max())
    middle = float(np.median(known)) if known.size else None
    return (value.size, int(good.sum()), *(float(number) for number in numbers), middle)


def _flags(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _moment(stamp: np.datetime64) -> str:
    return np.datetime_as_string(stamp, unit="s").replace("T", " ")
