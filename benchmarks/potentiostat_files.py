"""EC-Lab files: which are read, in what time, and how close to EC-Lab's own text export.

Usage: python benchmarks/potentiostat_files.py [--quick]

Beside galvani and yadg where they are installed (both GPL-3: nothing of the package needs them).
They return the stored columns; ours is the log itself, in V and A, with states and clock.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from measuring import cpu_seconds, report
from operando_readers import _mpr, _mpt, biologic_mpr, biologic_mpt
from operando_readers._reader import File

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TOPIC = "potentiostat_files"
GOALS = {"galvani": 0.05, "yadg": 3.0}
"""galvani hands out a view of the file's bytes: nothing that computes a log comes near."""
RENAMED = {"<Ewe/V>": "<Ewe>/V", "Energy we charge/W.h": "Energy charge/W.h"}
RENAMED |= {"Energy we discharge/W.h": "Energy discharge/W.h"}
"""Names in newer text exports, or other ones, of the same column."""
Read = Callable[[Path], tuple[bool, bool]]
"""Reads a file; says whether it found a current, and when the measurement was started."""


def ours(path: Path) -> tuple[bool, bool]:
    """Read the log of a file."""
    log = biologic_mpr.READER.read(File(path))
    return "current" in log, log.attrs["clock"]["start"] is not None


def galvani() -> Read:
    """Return how galvani reads a file."""
    module = importlib.import_module("galvani.BioLogic")

    def read(path: Path) -> tuple[bool, bool]:
        file = module.MPRfile(str(path))
        return bool({"I/mA", "<I>/mA"} & {*file.data.dtype.names}), hasattr(file, "timestamp")

    return read


def yadg() -> Read:
    """Return how yadg reads a file."""
    module = importlib.import_module("yadg.extractors.eclab.mpr")

    def read(path: Path) -> tuple[bool, bool]:
        tree = module.extract(path, timezone="UTC")
        dataset = tree.to_dataset()
        return bool({"I", "<I>"} & {*dataset.data_vars}), "fulldate" not in dataset.attrs

    return read


def attempt(read: Read, path: Path) -> tuple[bool, bool] | None:
    """Return what a reader finds; None when it fails, however it does."""
    try:
        return read(path)
    except Exception:  # whatever a peer raises is its answer
        return None


def compare(files: list[Path], *, repeats: int) -> list[bool]:
    """Print files, currents, starts and times of every reader that is there."""
    readers: dict[str, Read] = {"ours": ours}
    for name, load in (("galvani", galvani), ("yadg", yadg)):
        try:
            readers[name] = load()
        except ImportError:
            print(f"{TOPIC}.{name}: skipped: not installed", flush=True)
    found = {name: [attempt(read, path) for path in files] for name, read in readers.items()}
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for at, path in enumerate(files):
        for name, read in readers.items():
            failed = found[name][at] is None
            seconds = np.nan if failed else cpu_seconds(partial(read, path), repeats)
            spent[name].append(1e3 * seconds)
        times = ", ".join(
            f"{name} fails" if np.isnan(spent[name][at]) else f"{name} {spent[name][at]:.2f} ms"
            for name in readers
        )
        size = f"{path.stat().st_size / 1e3:.0f} kB"
        print(f"{TOPIC}.time.{path.name}: {times} for {size}, no goal", flush=True)
    outcomes = []
    for name, answers in found.items():
        good = [answer for answer in answers if answer is not None]
        text = (
            f"{len(good)} of {len(files)} files, current in {sum(a for a, _ in good)}, "
            f"start in {sum(b for _, b in good)}, median {np.nanmedian(spent[name]):.2f} ms"
        )
        if name == "ours":
            outcomes.append(
                report(f"{TOPIC}.read_ours", text, f"{len(files)}", len(good) == len(files))
            )
        else:
            print(f"{TOPIC}.read_{name}: {text}, no goal", flush=True)
            ratio = np.array(spent[name]) / np.array(spent["ours"])
            whole = np.nansum(spent[name]) / np.sum(
                [own for own, peer in zip(spent["ours"], spent[name], strict=True) if peer == peer]
            )
            text = f"{np.nanmedian(ratio):.2f} x its time a file, {whole:.2f} x in all"
            least = GOALS[name]
            outcomes.append(
                report(f"{TOPIC}.time_{name}", text, f">= {least} x", np.nanmedian(ratio) >= least)
            )
    return outcomes


def agreement(files: list[Path]) -> list[bool]:
    """Print how far every binary file is from each text EC-Lab wrote of the same data."""
    outcomes = []
    for binary in files:
        for export in (binary.with_suffix(".mpt"), binary.with_suffix(".txt")):
            if not export.exists():
                continue
            columns, worst, current = differences(binary, export)
            name = f"{TOPIC}.agreement_{export.name}"
            text = f"{columns} columns, largest relative difference {worst:.1e}"
            outcomes.append(report(name, text, "<= 1e-06", worst <= 1e-6))
            if current is not None:
                name = f"{TOPIC}.current_{export.name}"
                text = f"<I> rebuilt from dq differs by {current:.1e} of its largest"
                outcomes.append(report(name, text, "<= 1e-09", current <= 1e-9))
    return outcomes


def differences(binary: Path, export: Path) -> tuple[int, float, float | None]:
    """Return shared columns, their largest relative difference, and that of the current."""

    def nothing(names: Any) -> str:
        return ""

    stored = _mpr.recording(File(binary), lacks=nothing, date_order=None).columns
    exported_columns = _mpt.recording(
        File(export), wanted=lambda name: True, lacks=nothing, date_order=None
    ).columns
    text = {RENAMED.get(name, name): values for name, values in exported_columns.items()}
    both = [name for name in stored if name in text and name != "time/s"]
    worst = 0.0
    for name in both:
        a, b = stored[name].astype(float), text[name].astype(float)
        scale = np.where(b == 0, 1.0, np.abs(b))
        worst = max(worst, float((np.abs(a - b) / scale).max()))
    log, exported = (
        reader.READER.read(File(path))
        for reader, path in ((biologic_mpr, binary), (biologic_mpt, export))
    )
    current = None
    if "current" in log and "current" in exported:
        a, b = log["current"].values[1:], exported["current"].values[1:]
        current = float(np.abs(a - b).max() / np.abs(b).max())
    return len(both), worst, current


def main() -> int:
    """Run both comparisons; 1 when a figure falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    repeats = 3 if parser.parse_args().quick else 15
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    files = sorted(DATA.rglob("*.mpr"))
    if not files:
        print(f"{TOPIC}: skipped: the real instrument files (shared/data) are not here")
        return 0
    outcomes = [*compare(files, repeats=repeats), *agreement(files)]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
