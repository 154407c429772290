"""One recipe from its files to a tree of datasets and the events in it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
import xarray as xr
from dask.base import compute

from operando.align import align
from operando.detect import Event
from operando.electrochemistry import prepare
from operando.errors import OperandoError, RequestError
from operando.interphase import Candidate, candidates
from operando.model import ALIGNMENT_FLAGS, FAULTS, FRAME_FLAGS, count_flags
from operando.reading import read
from operando.reading.files import expand
from operando.reading.registry import FRAMES
from operando.recipe import Compute, Electrochemistry, Measurement, OnLines, Recipe, Source
from operando.run.correcting import correct
from operando.run.deriving import derive
from operando.run.detecting import detect
from operando.run.growing import growth
from operando.run.observing import observe

Say = Callable[[str], None]


@dataclass(kw_only=True)
class Experiment:
    """What a recipe comes to: everything on one clock, measured and judged."""

    recipe: Recipe
    electrochemistry: xr.Dataset
    frames: dict[str, xr.Dataset] = field(default_factory=dict)
    """Measurement -> its aligned frames, lazy."""
    observed: dict[str, dict[str, xr.Dataset]] = field(default_factory=dict)
    """Measurement -> observable -> numbers on time."""
    events: list[Event] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """How resistances grow, and what each detector said of itself: calibrated, or why not."""

    @property
    def problems(self) -> list[dict[str, str]]:
        """Every input that could not be used as it was: file and reason."""
        found: list[dict[str, str]] = []
        for dataset in (self.electrochemistry, *self.frames.values()):
            found += json.loads(dataset.attrs.get("problems", "[]"))
        return found

    @property
    def counts(self) -> dict[str, dict[str, Any]]:
        """Measurement -> frames, faulty, outside coverage, and every flag that occurs."""
        table = {}
        for name, dataset in self.frames.items():
            flag, alignment = dataset["frame_flag"].values, dataset["alignment_flag"].values
            table[name] = {
                "frames": int(dataset.sizes["time"]),
                "faulty": int(((flag & FAULTS) != 0).sum()),
                "outside_coverage": int(((alignment & ALIGNMENT_FLAGS["outside"]) != 0).sum()),
                "quarantined": len(json.loads(dataset.attrs.get("problems", "[]"))),
                "frame_flags": count_flags(flag, FRAME_FLAGS),
                "alignment_flags": count_flags(alignment, ALIGNMENT_FLAGS),
            }
        return table

    @property
    def partial(self) -> bool:
        """Whether some input was unusable or faulty; frames outside the log are no fault."""
        return bool(self.problems) or any(count["faulty"] for count in self.counts.values())

    def tree(self) -> xr.DataTree:
        """Return the experiment as one tree: /electrochemistry, /<name>, /<name>/<observable>."""
        nodes: dict[str, xr.Dataset] = {"/electrochemistry": self.electrochemistry}
        for name, dataset in self.frames.items():
            nodes[f"/{name}"] = dataset
            for observable, numbers in self.observed[name].items():
                nodes[f"/{name}/{observable}"] = numbers
        tree = xr.DataTree.from_dict(nodes, name=self.recipe.name)
        tree.attrs.update(
            title=self.recipe.title,
            cell=json.dumps(self.recipe.cell),
            recipe=self.recipe.model_dump_json(),
        )
        return tree


def run(
    recipe: Recipe,
    *,
    root: Path = Path(),
    say: Say = lambda text: None,
    keep: Callable[[str, xr.Dataset], xr.Dataset] = lambda name, frames: frames,
) -> Experiment:
    """Carry out a recipe in memory; `operando.run.output` writes the result.

    Parameters
    ----------
    root
        Folder that the recipe's paths are relative to.
    say
        Called with a line before each stage.
    keep
        Called with each measurement's aligned frames; what it returns is used from there on
        (to put text series on disk once instead of parsing them for every step).

    Raises
    ------
    OperandoError
        Anything the recipe asks for that cannot be done; names the file and the key.
    """
    with scheduler(recipe.compute):
        say("electrochemistry")
        experiment = Experiment(
            recipe=recipe, electrochemistry=read_log(recipe.electrochemistry, root)
        )
        for measurement in recipe.measurement:
            say(f"{measurement.name}: reading and aligning")
            with _named(measurement):
                frames = corrected_frames(measurement, experiment.electrochemistry, root)
            experiment.frames[measurement.name] = keep(measurement.name, frames)
        say("measuring")
        lazy = {}
        for measurement in recipe.measurement:
            frames = experiment.frames[measurement.name]
            with _named(measurement):
                lazy[measurement.name] = {
                    step.name: observe(frames, step, root=root)
                    for step in measurement.observe
                    if not isinstance(step, OnLines)
                }
        [experiment.observed] = compute(lazy)
        for measurement in recipe.measurement:
            observed = experiment.observed[measurement.name]
            with _named(measurement):
                for step in measurement.observe:
                    if isinstance(step, OnLines):
                        observed[step.name] = derive(observed, step)
        since = experiment.electrochemistry["time"].values[0]
        for name, observables in experiment.observed.items():
            for observable, numbers in observables.items():
                experiment.said += growth(f"{name}: {observable}", numbers, since=since)
        for measurement in recipe.measurement:
            name = measurement.name
            if measurement.detect:
                say(f"{name}: looking for change")
            with _named(measurement):
                events, found, said = detect(
                    experiment.frames[name],
                    experiment.observed[name],
                    measurement=measurement,
                    root=root,
                )
            experiment.events += events
            experiment.observed[name].update(found)
            experiment.said += said
    experiment.events.sort(key=lambda event: (event.onset.time, event.identity))
    experiment.candidates = candidates(
        experiment.events, frames=experiment.frames, observed=experiment.observed
    )
    return experiment


@contextlib.contextmanager
def _named(measurement: Measurement) -> Iterator[None]:
    """Say in an error which measurement of the recipe it is about."""
    try:
        yield
    except OperandoError as error:
        raise type(error)(f"measurement {measurement.name!r}: {error}") from error


def read_log(source: Electrochemistry, root: Path) -> xr.Dataset:
    """Read and prepare the electrochemistry of a recipe."""
    log = read(
        _files(source.path, root),
        technique="electrochemistry",
        first=source.first,
        **_clock(source),
    )
    prepared = prepare(
        log,
        max_gap_s=source.max_gap_s,
        sign=source.current_sign,
        nominal_capacity=source.nominal_capacity_Ah,
    )
    return _from_root(prepared, root)


def read_frames(source: Measurement, root: Path) -> xr.Dataset:
    """Read the frames of one measurement of a recipe."""
    frames = read(
        _files(source.path, root),
        technique=FRAMES,
        stamp=source.stamp,
        exposure_s=source.exposure_s,
        first=source.first,
        period_s=source.period_s,
        log=source.sidecar(root),
        stamps=source.stamps,
        position=source.position,
        **_clock(source),
    )
    return _from_root(frames, root)


def corrected_frames(measurement: Measurement, log: xr.Dataset, root: Path) -> xr.Dataset:
    """Return the frames of one measurement, aligned with the log and corrected as declared."""
    return correct(align(read_frames(measurement, root), log), measurement.correct, root=root)


def _from_root(dataset: xr.Dataset, root: Path) -> xr.Dataset:
    """Name files from the recipe's folder, so that a result does not name a machine."""
    files = json.loads(dataset.attrs["source_files"])
    named = [Path(os.path.relpath(file, root)).as_posix() for file in files]
    told = {
        key: dataset.attrs[key].replace(json.dumps(f"{root}{os.sep}")[1:-1], "")
        for key in ("problems", "clock")
    }
    return dataset.assign_attrs(source_files=json.dumps(named), **told)


@contextlib.contextmanager
def scheduler(where: Compute) -> Iterator[None]:
    """Compute on threads, processes or a distributed scheduler for the moment.

    Raises
    ------
    RequestError
        No scheduler answers at the address, or dask.distributed is not installed.
    """
    if where.scheduler in ("threads", "processes"):
        with dask.config.set(scheduler=where.scheduler, num_workers=where.workers):
            yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise RequestError(
            "compute.scheduler: an address needs the extra: pip install 'operando[distributed]'"
        ) from error
    try:
        client = Client(where.scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise RequestError(
            f"compute.scheduler: nobody answers at {where.scheduler!r} ({error})"
        ) from error
    with client, client.as_current():
        yield


def _clock(source: Source) -> dict[str, Any]:
    return {
        "format": source.format,
        "tz": source.tz,
        "fold": source.fold,
        "clock_offset_s": source.clock_offset_s,
        "drift_ppm": source.drift_ppm,
        "clock_sigma_s": source.clock_sigma_s,
        "options": source.options,
    }


def _files(path: str | tuple[str, ...], root: Path) -> list[str]:
    """List what a source names, relative to the recipe's folder."""
    return [str(file) for file in expand(path, root=root)]
