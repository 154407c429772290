"""Carry out a recipe into a folder, so that the folder is either the old result or the new one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operando.errors import RequestError
from operando.recipe import Recipe
from operando.run.drawing import draw, write_report
from operando.run.experiment import Experiment, Say, run
from operando.run.inputs import checksums, fingerprint, versions
from operando.run.store import keep_frames, write_events, write_json, write_table, write_tree

PARTS = ("experiment.zarr", "experiment.nc", "tables", "figures", "report.html", "events.jsonl")
"""What a result consists of; `run.json` is written last and makes it valid."""


def run_into(
    out: Path, recipe: Recipe, *, root: Path, say: Say = lambda text: None, force: bool = False
) -> tuple[dict[str, Any], Experiment | None]:
    """Carry out a recipe and leave its result in `out`.

    Everything is made in a hidden folder beside the result and moved into place at the end, the
    record `run.json` last: a run killed at any moment leaves no half result that looks whole.

    Returns
    -------
    dict, Experiment or None
        The record; None for the experiment when nothing has changed since the last run.

    Raises
    ------
    OperandoError
        The recipe cannot be carried out, or another run works on the same folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        say("checking inputs")
        inputs = checksums(recipe, root=root)
        mark = fingerprint(recipe, inputs)
        old = read_record(out)
        if old is not None and old["fingerprint"] == mark and not force:
            return old, None
        partial = out / ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        experiment = run(
            recipe,
            root=root,
            say=say,
            keep=lambda name, frames: keep_frames(partial, name, frames),
        )
        say("drawing and writing")
        record = _record(experiment, inputs, mark)
        _write(partial, experiment, record, say)
        _publish(partial, out)
        write_json(out / "run.json", record)
    return record, experiment


def read_record(out: Path) -> dict[str, Any] | None:
    """Return the record of the result in a folder, None when there is no whole result."""
    try:
        record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "fingerprint" in record else None


def _record(experiment: Experiment, inputs: list[dict[str, Any]], mark: str) -> dict[str, Any]:
    return {
        "name": experiment.recipe.name,
        "status": "partial" if experiment.partial else "complete",
        "counts": experiment.counts,
        "events": len(experiment.events),
        "candidates": len(experiment.candidates),
        "interphase": [json.loads(candidate.to_json()) for candidate in experiment.candidates],
        "detectors": experiment.said,
        "problems": experiment.problems,
        "inputs": inputs,
        "recipe": experiment.recipe.model_dump(mode="json"),
        "versions": versions(),
        "fingerprint": mark,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(folder: Path, experiment: Experiment, record: dict[str, Any], say: Say) -> None:
    (folder / "tables").mkdir()
    for name, observables in experiment.observed.items():
        for observable, numbers in observables.items():
            write_table(folder / "tables" / f"{name}_{observable}.csv", numbers)
    write_events(folder / "events.jsonl", experiment.events)
    figures = draw(experiment, folder / "figures", say=say)
    write_report(folder / "report.html", experiment, figures=figures, record=record)
    tree = experiment.tree()
    tree.attrs.update(
        inputs=json.dumps(record["inputs"]),
        versions=json.dumps(record["versions"]),
    )
    write_tree(folder, tree, format=experiment.recipe.output.format)


def _publish(partial: Path, out: Path) -> None:
    """Move a finished result into place; without its record the folder counts as empty."""
    (out / "run.json").unlink(missing_ok=True)
    for name in PARTS:
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        if (partial / name).exists():
            os.replace(partial / name, target)
    shutil.rmtree(partial)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder's lock; a lock whose process is gone on this machine is taken over."""
    lock = out / ".lock"
    me = {"pid": os.getpid(), "host": socket.gethostname()}
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        try:
            holder = json.loads(lock.read_text(encoding="utf-8"))
        except ValueError:
            holder = {"pid": 0, "host": me["host"]}
        if holder["host"] != me["host"] or _alive(int(holder["pid"])):
            raise RequestError(
                f"{out}: process {holder['pid']} on {holder['host']} is writing here; wait for it, "
                "or remove .lock if it is dead"
            ) from None
        descriptor = os.open(lock, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(me, stream)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
