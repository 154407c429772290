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
from operando.run.experiment import Experiment, Say, run, scheduler
from operando.run.inputs import checksums, fingerprint, versions
from operando.run.store import keep_frames, write_events, write_json, write_table, write_tree

PARTS = ("experiment.zarr", "experiment.nc", "tables", "figures", "report.html", "events.jsonl")
"""What a result consists of; `run.json` is written last and makes it valid."""


def run_into(
    out: Path, recipe: Recipe, *, root: Path, say: Say = lambda text: None, force: bool = False
) -> tuple[dict[str, Any], bool]:
    """Carry out a recipe and leave its result in `out`.

    Everything is made in a hidden folder beside the result and moved into place at the end, the
    record `run.json` last: a run killed at any moment leaves no half result that looks whole, and
    one killed while it was moved into place is completed by the next.

    Returns
    -------
    dict, bool
        The record, and whether it is new: False when nothing has changed since the last run.

    Raises
    ------
    OperandoError
        The recipe cannot be carried out, or another run works on the same folder.
    """
    make_folder(out)
    with _alone(out), scheduler(recipe.compute):
        partial = out / ".partial"
        if (partial / "run.json").exists():  # killed while it was moved into place
            _publish(partial, out)
        say("checking inputs")
        inputs = checksums(recipe, root=root)
        _refuse_to_overwrite(out, inputs, recipe, root)
        mark = fingerprint(recipe, inputs)
        old = read_record(out)
        if old is not None and old["fingerprint"] == mark and not force:
            return old, False
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
        write_json(partial / "run.json", record)
        _publish(partial, out)
    return record, True


def make_folder(out: Path) -> None:
    """Make the output folder.

    Raises
    ------
    RequestError
        It cannot be made or written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RequestError(f"{out}: cannot be written to ({reason}); choose another -o") from error


def _refuse_to_overwrite(
    out: Path, inputs: list[dict[str, Any]], recipe: Recipe, root: Path
) -> None:
    """Refuse a folder that holds inputs, is read as one, or has files of our names but not ours."""
    for source in (recipe.electrochemistry, *recipe.measurement):
        for named in [source.path] if isinstance(source.path, str) else source.path:
            if (root / named).is_dir() and out.resolve().is_relative_to((root / named).resolve()):
                raise RequestError(
                    f"{out}: lies in {named!r}, which is read as a whole; choose another -o"
                )
    for entry in inputs:
        path = (root / entry["path"]).resolve()
        if path.is_relative_to(out.resolve()):
            raise RequestError(f"{out}: holds the input {entry['path']}; choose another -o")
    foreign = [name for name in PARTS if (out / name).exists()]
    if foreign and read_record(out) is None:
        raise RequestError(
            f"{out}: holds {foreign[0]!r}, which is no result of operando; choose another -o"
        )


def read_record(out: Path) -> dict[str, Any] | None:
    """Return the record of the result in a folder, None when there is no whole result."""
    try:
        record = json.loads((out / "run.json").read_text(encoding="utf-8"))
        whole = all((out / name).exists() for name in record["parts"]) and record["fingerprint"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return record if whole else None


def _record(experiment: Experiment, inputs: list[dict[str, Any]], mark: str) -> dict[str, Any]:
    return {
        "name": experiment.recipe.name,
        "parts": [name for name in PARTS if name != _other_format(experiment.recipe)],
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


def _other_format(recipe: Recipe) -> str:
    return "experiment.nc" if recipe.output.format == "zarr" else "experiment.zarr"


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
    """Move a finished result into place, part by part, its record last; may be taken up again."""
    record = json.loads((partial / "run.json").read_text(encoding="utf-8"))
    (out / "run.json").unlink(missing_ok=True)
    for name in PARTS:
        if name in record["parts"] and not (partial / name).exists():
            continue  # moved before the kill
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        if name in record["parts"]:
            os.replace(partial / name, target)
    os.replace(partial / "run.json", out / "run.json")
    shutil.rmtree(partial)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder's lock; a lock whose process is gone on this machine is taken over."""
    lock, mine = out / ".lock", out / f".lock-{os.getpid()}"
    mine.write_text(
        json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8"
    )
    try:
        _take(lock, mine)
    finally:
        mine.unlink(missing_ok=True)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _take(lock: Path, mine: Path) -> None:
    try:
        os.link(mine, lock)  # appears whole or not at all
    except FileExistsError:
        try:
            holder = json.loads(lock.read_text(encoding="utf-8"))
            pid, host = int(holder["pid"]), str(holder["host"])
        except (OSError, ValueError, LookupError, TypeError):
            pid, host = 0, "a machine that its .lock does not name"
        if host != socket.gethostname() or _alive(pid):
            raise RequestError(
                f"{lock.parent}: process {pid} on {host} is writing here; wait for it, or remove "
                ".lock if it is dead"
            ) from None
        os.replace(mine, lock)


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
