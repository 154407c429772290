"""The embedded example: its files wherever it runs, and what was found beside the truth."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from operando.errors import RequestError
from operando.simulate import na_nzsp_cell

EMBEDDED = Path(__file__).resolve().parents[2] / "example_datasets" / "na_nzsp_cell"
"""Only in a checkout; an installed package writes the same bytes anew."""


def prepare_files(folder: Path) -> Path:
    """Put the simulated instrument files, their truth and a recipe into `folder`; return it.

    Raises
    ------
    RequestError
        The folder cannot be written to.
    """
    try:
        if EMBEDDED.is_dir():
            shutil.copytree(EMBEDDED, folder, dirs_exist_ok=True)
        else:
            na_nzsp_cell.write(folder)
    except OSError as error:
        raise RequestError(
            f"{folder}: cannot be written to ({error}); choose another -o"
        ) from error
    return folder


def compare(files: Path, result: Path) -> Iterator[str]:
    """Yield lines that put what a run found beside the truth of the simulation."""
    truth = json.loads((files / "truth.json").read_text(encoding="utf-8"))
    lines = (result / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    record = json.loads((result / "run.json").read_text(encoding="utf-8"))
    yield ""
    yield "found | truth of the simulation"
    yield from _zirconium(events, truth)
    yield from _phase(events, truth)
    yield from _pores(result, truth)
    yield from _interphase(record)


def _zirconium(events: list[dict[str, Any]], truth: dict[str, Any]) -> Iterator[str]:
    onset = truth["onsets"]["zr_reduction"]
    expected = f"{onset['time'][:19]}Z at {onset['voltage_V']:.3f} V, bulk unchanged"
    moved = [e for e in events if e["measurement"] == "xas" and e["kind"] == "departure"]
    share = truth["xas"]["interface"][-1]["metal_fraction"]
    for event in moved:
        metal = event["observable"].startswith("species.")
        what = "Zr turns to metal" if metal else "Zr K edge moves"
        also = f", {share:.3f} at the end" if metal else ""
        unit = "" if metal else " eV"
        yield (
            f"{what} at the {event['position']}: {_interval(event)}, "
            f"{event['size']:+.3f} +- {event['size_sigma']:.3f}{unit} | {expected}{also}"
        )
    if not moved:
        yield f"Zr K edge: nothing found | {expected}"


def _phase(events: list[dict[str, Any]], truth: dict[str, Any]) -> Iterator[str]:
    onset = truth["onsets"]["new_phase"]
    last = truth["xrd"]["frames"][-1]["lines"]
    angles = ", ".join(f"{last[name]['two_theta']:.3f}" for name in ("product_1", "product_2"))
    expected = f"{onset['time'][:19]}Z, lines {angles} degree"
    born = [event for event in events if event["kind"] == "new_peak"]
    for event in born:
        found = ", ".join(f"{line['position']:.3f}" for line in event["detail"]["lines"])
        yield f"new reflections: {_interval(event)}, lines {found} degree | {expected}"
    if not born:
        yield f"new reflections: none found | {expected}"


def _pores(result: Path, truth: dict[str, Any]) -> Iterator[str]:
    with (result / "tables" / "tomography_pores.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row, volume in zip(rows, truth["tomography"]["volumes"], strict=True):
        found, sigma = float(row["porosity"]), float(row["porosity_sigma"])
        yield (
            f"porosity {row['time [UTC]'][:19]}Z: {found:.4f} +- {sigma:.4f}, "
            f"{int(float(row['pore_count']))} pores | {volume['porosity']:.4f}, "
            f"{volume['pores']} pores"
        )


def _interphase(record: dict[str, Any]) -> Iterator[str]:
    for candidate in record["interphase"]:
        controls = "; ".join(f"{name} {said}" for name, said in candidate["controls"].items())
        yield (
            f"interphase candidate, {candidate['verdict']}: {candidate['onset']['time']}, "
            f"{_volts(candidate['onset'])}; {controls} | one, at the interface"
        )
    if not record["interphase"]:
        yield "interphase candidate: none | one, at the interface"


def _volts(state: dict[str, Any]) -> str:
    return "no voltage" if state["voltage"] is None else f"{state['voltage']:.3f} V"


def _interval(event: dict[str, Any]) -> str:
    return f"onset {event['onset_earliest'][:19]}Z .. {event['onset_latest'][:19]}Z"
