"""Many recipes in one call: one that fails never stops the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from operando import report
from operando.errors import OperandoError, RequestError
from operando.recipe import Recipe
from operando.run.experiment import Say
from operando.run.output import make_folder, run_into


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one recipe of a batch ended."""

    recipe: Path
    name: str
    status: Literal["complete", "partial", "failed"]
    unchanged: bool = False
    """The result was there already."""
    message: str = ""
    record: dict[str, Any] | None = None


def run_batch(
    paths: Sequence[Path], *, out: Path, say: Say = lambda text: None, force: bool = False
) -> list[Outcome]:
    """Carry out recipes one after another, each into `out/<name>` (a single one into `out`).

    A batch that was interrupted is resumed by the same call: finished experiments are recognised
    by their inputs and left alone. `summary.html` and `summary.csv` tell how each ended.

    A recipe with the name of an earlier one fails: their results would overwrite each other.

    Raises
    ------
    RequestError
        `out` cannot be written to.
    """
    make_folder(out)
    outcomes = []
    single = len(paths) == 1
    taken: dict[str, Path] = {}
    for path in paths:
        outcome = _run_one(path, out if single else None, out, taken, say, force)
        outcomes.append(outcome)
        if not single:
            report.write_summary(
                out / "summary.html",
                out / "summary.csv",
                [_row(done, out) for done in outcomes],
            )
    return outcomes


def _run_one(
    path: Path, into: Path | None, out: Path, taken: dict[str, Path], say: Say, force: bool
) -> Outcome:
    name = path.stem
    try:
        recipe = Recipe.load(path)
        name = recipe.name
        if name in taken:
            raise RequestError(f"{path}: name {name!r} is that of {taken[name]} too; rename one")
        taken[name] = path
        record, new = run_into(into or out / name, recipe, root=path.parent, say=say, force=force)
    except OperandoError as error:
        return Outcome(recipe=path, name=name, status="failed", message=str(error))
    except Exception as error:  # one that crashes must not cost the others
        if into is not None:
            raise
        message = f"crash: {type(error).__name__}: {error}"
        return Outcome(recipe=path, name=name, status="failed", message=message)
    return Outcome(
        recipe=path,
        name=name,
        status=record["status"],
        unchanged=not new,
        record=record,
    )


def _row(outcome: Outcome, out: Path) -> dict[str, Any]:
    record = outcome.record or {"counts": {}, "events": 0, "candidates": 0}
    counts = record["counts"].values()
    return {
        "name": outcome.name,
        "status": outcome.status,
        "frames": sum(count["frames"] for count in counts),
        "flagged": sum(count["faulty"] + count["quarantined"] for count in counts),
        "outside_coverage": sum(count["outside_coverage"] for count in counts),
        "events": record["events"],
        "candidates": record["candidates"],
        "message": outcome.message,
        "report": f"{outcome.name}/report.html" if outcome.record else "",
    }
