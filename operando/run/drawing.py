"""Draw the figures of an experiment and write its report."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from operando import plots, report
from operando.corrections.normalisation import normalised
from operando.detect import Event
from operando.model import parts_of, positions
from operando.observables.differences import derivative_spectra, difference_spectra
from operando.run.detecting import own_frames
from operando.run.experiment import Experiment, Say
from operando.run.observing import SHOWN
from operando.run.store import VOLUMETRIC

XANES = (-30.0, 70.0)
"""Around e0, eV: what is drawn of normalised spectra."""
MOST_LINES = 6
"""Lines of one observable that are drawn, the strongest of new ones first; tables hold all."""
LEAST_SEEN = 0.05
"""Part of the frames in which a line must have a centre to be drawn."""


@dataclass(frozen=True)
class Drawn:
    """One figure on disk."""

    title: str
    caption: str
    path: Path
    """Without suffix: there is a .png and a .svg."""


def draw(experiment: Experiment, folder: Path, *, say: Say) -> list[Drawn]:
    """Draw the standard figures of every measurement into `folder`, as PNG and SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Drawn] = []
    for name, frames in experiment.frames.items():
        say(f"{name}: drawing")
        drawn += _draw_frames(experiment, name, frames, folder)
        for observable, numbers in experiment.observed[name].items():
            drawn += _draw_numbers(experiment, name, observable, numbers, folder)
    return drawn


def _draw_frames(
    experiment: Experiment, name: str, frames: xr.Dataset, folder: Path
) -> list[Drawn]:
    events = [event for event in experiment.events if event.measurement == name]
    log = experiment.electrochemistry
    since = log["time"].values[0]
    if frames.attrs["technique"] in VOLUMETRIC:
        return [
            _save(
                plots.volumes(frames, events=events, since=since),
                folder / f"{name}_slices",
                f"{name}: central slices",
                "The same slice of every volume, one grey scale; time and cell voltage above each.",
            )
        ]
    if frames.attrs["technique"] == "impedance":
        kinds = experiment.observed[name].values()
        return [
            _save(
                plots.nyquist(
                    frames,
                    fits=next((n for n in kinds if n.attrs["kind"] == "resistance"), None),
                    since=since,
                ),
                folder / f"{name}_nyquist",
                f"{name}: sweeps in the complex plane",
                "One scale on both axes; decades of frequency are marked. Lines: the circuit, "
                "where it is believed.",
            )
        ]
    return [
        _save(
            plots.heatmap(frames, log, events=events),
            folder / f"{name}_heatmap",
            f"{name}: every frame against the cell",
            "All frames on the clock of the cell, with voltage and current; blank where no frame "
            "was taken. Events are marked with their onset interval.",
        ),
        _save(
            plots.heatmap(frames, log, events=events, change=True),
            folder / f"{name}_change",
            f"{name}: what changed",
            "Difference of every frame to the mean of the first three of its position, white where "
            "nothing changed.",
        ),
        _save(
            plots.spectra(frames, events=events, since=since),
            folder / f"{name}_spectra",
            f"{name}: selected frames",
            "Frames spread evenly over the covered time, coloured by the mean voltage of the cell "
            "during the exposure, and their difference to the first.",
        ),
    ]


def _draw_numbers(
    experiment: Experiment, measurement: str, observable: str, numbers: xr.Dataset, folder: Path
) -> list[Drawn]:
    name = f"{measurement}_{observable}"
    events = [event for event in experiment.events if event.measurement == measurement]
    drawn = []
    numbers = own_frames(numbers)
    if draw_kind := OWN_FIGURE.get(str(numbers.attrs["kind"])):
        drawn += draw_kind(experiment, measurement, observable, numbers, folder)
    for variable in SHOWN[str(numbers.attrs["kind"])]:
        if variable not in numbers:  # the step of spectra that were normalised before
            continue
        for line, series in parts_of(numbers, variable)[:MOST_LINES]:
            label = "_".join(filter(None, (name, _file_name(line), variable)))
            shown = [event for event in events if _concerns(event, observable, line)]
            drawn.append(
                _save(
                    plots.observable(
                        series, experiment.electrochemistry, name=variable, events=shown
                    ),
                    folder / label,
                    f"{name}: {variable} {line}".strip(),
                    "Against time with the cell voltage, and against voltage, with one standard "
                    "deviation; open grey points are not to be believed (see the assessment).",
                )
            )
    return drawn


def _edge(
    experiment: Experiment, measurement: str, observable: str, numbers: xr.Dataset, folder: Path
) -> list[Drawn]:
    """Draw shift and sigma, and the spectra they were measured on with what is derived of them."""
    name = f"{measurement}_{observable}"
    events = [event for event in experiment.events if event.measurement == measurement]
    log = experiment.electrochemistry
    return [
        _save(
            plots.edge(numbers, log, events=[e for e in events if _concerns(e, observable, "")]),
            folder / f"{name}_edge_shift",
            f"{name}: edge shift",
            "Against time, voltage and net charge, with one standard deviation (total); below, "
            "what it consists of. Open grey points are not to be believed (see the assessment).",
        ),
        _save(
            _xanes(experiment.frames[measurement], numbers, events, log["time"].values[0]),
            folder / f"{name}_xanes",
            f"{name}: normalised spectra",
            "Frames spread evenly over the covered time, coloured by the mean voltage of the cell "
            "during the exposure; below, their derivative, and their difference to the first frame "
            "of the same state of the cell.",
        ),
    ]


def _xanes(
    frames: xr.Dataset, numbers: xr.Dataset, events: list[Event], since: np.datetime64
) -> Figure:
    facts = numbers.attrs
    mu = frames[str(facts["signal"])]
    ranges = {key: facts[key] for key in ("pre", "post", "degree") if key in facts}
    norm = normalised(mu, e0=facts["e0"], **ranges)["norm"] if ranges else mu
    return plots.spectra(
        frames.assign(norm=norm.assign_attrs(units="1", long_name="normalised absorption")),
        signal="norm",
        events=events,
        since=since,
        window=(facts["e0"] + XANES[0], facts["e0"] + XANES[1]),
        below={
            "Derivative\n(1/eV)": derivative_spectra(norm)["derivative"],
            "Difference to\nequal state": difference_spectra(norm)["difference"],
        },
    )


def _fractions(
    experiment: Experiment, measurement: str, observable: str, numbers: xr.Dataset, folder: Path
) -> list[Drawn]:
    name = f"{measurement}_{observable}"
    events = [
        event
        for event in experiment.events
        if event.measurement == measurement and event.observable.startswith(f"{observable}.")
    ]
    return [
        _save(
            plots.fractions(numbers, experiment.electrochemistry, events=events),
            folder / f"{name}_fractions",
            f"{name}: fractions",
            "Linear combinations of the standards, stacked, under the voltage of the cell; frames "
            "whose fit should not be believed are blank.",
        )
    ]


def _exafs(
    experiment: Experiment, measurement: str, observable: str, numbers: xr.Dataset, folder: Path
) -> list[Drawn]:
    name = f"{measurement}_{observable}"
    return [
        _save(
            plots.heatmap(numbers, experiment.electrochemistry, signal="chi_magnitude"),
            folder / f"{name}_chi_magnitude",
            f"{name}: |chi(R)|",
            "Magnitude of the Fourier transform of the EXAFS, without phase correction, on the "
            "clock of the cell, with voltage and current.",
        )
    ]


def _peaks(
    experiment: Experiment, measurement: str, observable: str, numbers: xr.Dataset, folder: Path
) -> list[Drawn]:
    """Draw, for each position, the lines seen there over their frames, and each against voltage."""
    frames, log = experiment.frames[measurement], experiment.electrochemistry
    drawn: list[Drawn] = []
    for place, rows in positions(numbers).items():
        here = numbers.isel(time=rows)
        seen = [str(line) for line in _seen_lines(here)][:MOST_LINES]
        if not seen:
            continue
        here = here.sel(line=seen)
        events = [
            event
            for event in experiment.events
            if event.measurement == measurement and event.position == place
        ]
        name = "_".join(filter(None, (measurement, observable, _file_name(place))))
        at = f" at {place}" if place else ""
        drawn.append(
            _save(
                plots.tracks(frames.isel(time=rows), here, log, events=events),
                folder / f"{name}_tracks",
                f"{measurement}: {observable}{at}, lines over their frames",
                "Close up of the frames around each line with its centre (band: one sigma, total) "
                "and its width at half height; births and losses are marked on the axis.",
            )
        )
        drawn += [
            _save(
                plots.line(
                    here.sel(line=line),
                    log,
                    events=[event for event in events if _concerns(event, observable, line)],
                ),
                folder / f"{name}_{_file_name(line)}",
                f"{measurement}: {observable} {line}{at}",
                "Centre, width and area against time and against voltage, with one standard "
                "deviation (total); open grey points are not to be believed (see the assessment).",
            )
            for line in seen
        ]
    return drawn


def _seen_lines(numbers: xr.Dataset) -> list[str]:
    """Return the lines that have a centre in some frames, those of the largest area first."""
    share = np.isfinite(numbers["centre"].values).mean(axis=0)
    area = np.nan_to_num(numbers["area"].median("time").values)
    order = np.argsort(-area, kind="stable")
    return [str(numbers["line"].values[at]) for at in order if share[at] > LEAST_SEEN]


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]", "_", text)


OWN_FIGURE = {"edge": _edge, "fractions": _fractions, "exafs": _exafs, "peaks": _peaks}
"""Kinds of observables that are drawn in a way of their own."""


def _concerns(event: Event, observable: str, line: str) -> bool:
    """Whether an event is marked on a number: not one of another line or arc."""
    name, *rest = event.observable.split(".")
    if name != observable:
        return True
    return rest[1] == line.removeprefix("arc ") if len(rest) > 1 else not line


def _save(figure: Figure, path: Path, title: str, caption: str) -> Drawn:
    plots.save(figure, path)
    return Drawn(title, caption, path)


def write_report(
    path: Path, experiment: Experiment, *, figures: list[Drawn], record: dict[str, Any]
) -> None:
    """Write the one page that tells the whole experiment."""
    recipe = experiment.recipe
    sources = {"electrochemistry": experiment.electrochemistry, **experiment.frames}
    report.write(
        path,
        title=recipe.title or recipe.name,
        cell=dict(recipe.cell),
        events=experiment.events,
        candidates=experiment.candidates,
        detectors=experiment.said,
        figures=[
            report.FigureEntry(
                title=d.title, caption=d.caption, path=d.path.with_name(f"{d.path.name}.png")
            )
            for d in figures
        ],
        tables=[report.observables_table(experiment.observed)],
        clocks={name: json.loads(dataset.attrs["clock"]) for name, dataset in sources.items()},
        counts=experiment.counts,
        problems=experiment.problems,
        provenance=record,
    )
