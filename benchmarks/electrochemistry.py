"""States inferred from the measurement beside those the instrument told, and the cost of both.

Usage: python benchmarks/electrochemistry.py [--quick]

One line a file of ../shared/data that has labels; BioLogic files have a goal, Neware files have
none, since their labels name the program of a step (a "CCCV charge" is no state of the cell).
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from measuring import cpu_seconds, report
from operando.electrochemistry import critical_current, prepare
from operando.electrochemistry.states import infer_states
from operando.errors import OperandoError
from operando.model import STATES
from operando.reading import read
from operando.simulate.noise import stream
from operando.simulate.protocols import Instrument, Protocol, Short, Stage, programmed, symmetric

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
GOAL = 0.99
BIOLOGIC, NEWARE = (".mpr", ".mpt"), (".ndax", ".nda")
STARTS = {"file_2025-10-17_162649.mpr": "2025-10-17T16:26:49"}
"""Files that do not say when they start; any time will do here."""
NAMES = {value: name for name, value in STATES.items()}
PREPARE_GOAL_S, INFER_GOAL_S = 2.0, 1.5
"""CPU seconds for a million rows."""
HEALTHY_STEPS, SHORTS = 1920, 120


def main() -> int:
    """Print every figure; 1 when one is short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    logging.disable(logging.CRITICAL)
    reached = [*files(), *speed(200_000 if quick else 1_000_000), *shorts(6 if quick else 1)]
    return 0 if all(reached) else 1


def files() -> list[bool]:
    """Compare the labels of every real file."""
    if not SHARED.is_dir():
        print("electrochemistry.states: skipped, the real instrument files are not here")
        return []
    paths = sorted(path for path in SHARED.rglob("*") if path.suffix.lower() in BIOLOGIC + NEWARE)
    return [compared(path) for path in paths]


def compared(path: Path) -> bool:
    """Print one file: rows compared, agreement, what differs most."""
    name = f"electrochemistry.states.{path.name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = read(
                str(path),
                tz="Europe/Paris",
                technique="electrochemistry",
                first=STARTS.get(path.name),
            )
            # Once as it is, for its order, and once without the labels that are to be found.
            log, blind = prepare(raw), prepare(raw.drop_vars("state_instrument", errors="ignore"))
    except OperandoError as error:
        print(f"{name}: no log ({str(error).rpartition(': ')[2]})")
        return True
    told, current = log["state_instrument"].values, blind["current"].values
    labelled = told >= 0
    if not labelled.any() or not np.isfinite(current).any():
        what = "labels" if not labelled.any() else "current to infer from"
        print(f"{name}: no {what}")
        return True
    # The instrument is in a step, but nothing flows yet: its direction is a default, no label.
    undefined = labelled & (told != STATES["rest"]) & (current == 0)
    rows = labelled & ~undefined
    found = blind["state"].values
    agree = float(np.mean(found[rows] == told[rows]))
    differ = Counter(
        f"{NAMES[int(a)]} is {NAMES[int(b)]}"
        for a, b in zip(told[rows], found[rows], strict=True)
        if a != b
    )
    most = "".join(f", {count} {pair}" for pair, count in differ.most_common(2))
    text = f"{agree:.2%} of {rows.sum()} rows ({undefined.sum()} undefined{most})"
    if path.suffix.lower() in NEWARE:
        print(f"{name}: {text}, no goal")
        return True
    return report(name, text, f">= {GOAL:.0%}", agree >= GOAL)


def seconds(log: xr.Dataset) -> Array:
    """Seconds since the first row."""
    stamps = log["time"].values.astype("datetime64[ns]").astype(np.int64)
    since: Array = (stamps - stamps[0]) / 1e9
    return since


def run_of(log: xr.Dataset) -> Integers:
    """Return the run of each row."""
    run: Integers = log["run"].values.astype(np.int64)
    return run


def cycling(rows: int) -> xr.Dataset:
    """CC-CV cycles with rests and a counter, as many as it takes."""
    stages = [
        Stage(seconds=1800, current=0.0),
        Stage(seconds=1e5, current=1e-3, voltage=3.75),
        Stage(seconds=2e4, voltage=3.75, cutoff=1e-4),
        Stage(seconds=1800, current=0.0),
        Stage(seconds=1e5, current=-1e-3, voltage=2.6),
    ]
    once = programmed(
        stages,
        capacity=4e-3,
        instrument=Instrument(current_noise=1e-6, current_offset=3e-6),
        bits=stream(0, 0),
        initial=0.2,
    ).log
    repeats = -(-rows // once.sizes["time"])
    time = once["time"].values[0] + np.arange(rows) * np.timedelta64(10, "s")
    log = xr.Dataset(
        {
            name: ("time", np.tile(once[name].values, repeats)[:rows], once[name].attrs)
            for name in ("voltage", "current")
        },
        {"time": time},
        once.attrs,
    )
    charge = np.cumsum(log["current"].values) * 10 / 3600
    return log.assign(charge_counter=("time", charge, {"units": "A h"}))


def speed(rows: int) -> list[bool]:
    """CPU time of `prepare` and of `infer_states` on a long log without labels."""
    log = cycling(rows)
    prepared = prepare(log)
    arguments = seconds(prepared), prepared["voltage"].values, prepared["current"].values
    run = run_of(prepared)
    scale = 1_000_000 / rows
    figures = (
        ("prepare", PREPARE_GOAL_S, cpu_seconds(lambda: prepare(log), 3) * scale),
        (
            "infer_states",
            INFER_GOAL_S,
            cpu_seconds(lambda: infer_states(*arguments, run), 3) * scale,
        ),
    )
    return [
        report(f"electrochemistry.{name}_1e6_rows", f"{spent:.2f} s", f"<= {goal} s", spent <= goal)
        for name, goal, spent in figures
    ]


def cell(seed: int, *short: Short) -> Protocol:
    """Six densities in both directions on a symmetric cell; noise and growth go round."""
    return symmetric(
        [sign * size for size in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6) for sign in (1, -1)],
        area_cm2=1.0,
        step_s=1800.0,
        rest_s=300.0,
        area_ohms=300.0,
        instrument=Instrument(current_noise=1e-7, voltage_noise=(2e-4, 1e-3, 3e-3)[seed % 3]),
        bits=stream(seed, 1),
        growth_per_hour=(0.0, 0.1, 0.3)[seed // 3 % 3],
        overshoot=(0.1, 0.3, 0.6)[seed // 9 % 3],
        overshoot_s=(50.0, 200.0, 600.0)[seed // 27 % 3],
        shorts=short,
    )


def shorts(thinning: int) -> list[bool]:
    """Count false alarms in healthy steps, and shorts found in the step they happened in."""
    healthy = range(HEALTHY_STEPS // 12 // thinning)
    alarms = sum(
        int(np.count_nonzero(table["step_flag"].values & 3))
        for table in (critical_current(prepare(cell(s).log), area_cm2=1.0) for s in healthy)
    )
    found = 0
    tried = range(SHORTS // thinning)
    for seed in tried:
        step = 1 + seed % 11
        short = Short(at_s=2100.0 * step + 300.0 + 10.0 * (seed % 120), left=0.2)
        table = critical_current(prepare(cell(seed, short).log), area_cm2=1.0)
        hits = np.flatnonzero(table["step_flag"].values & 1)
        found += bool(hits.size and hits[0] == step)
    return [
        report(
            "electrochemistry.short_false_alarms",
            f"{alarms} of {12 * len(healthy)} healthy steps",
            "0",
            alarms == 0,
        ),
        report(
            "electrochemistry.shorts_found",
            f"{found} of {len(tried)} in their step",
            ">= 97 %",
            found >= 0.97 * len(tried),
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
