"""Joining a log to frames: time, memory and truth, beside pandas.merge_asof.

Usage: python benchmarks/alignment.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from measuring import cpu_seconds, peak_megabytes, report
from operando.align import align
from operando.electrochemistry import prepare
from operando.model import STATES, category_attributes

Array = npt.NDArray[np.float64]
ZERO = np.datetime64("2024-01-01", "ns")
SWEEP_RATE = 2e-4
"""V/s."""
VERTEX_S = 5000.0


def voltage_at(moment: Array) -> Array:
    """Triangle between 3 V and 4 V: a cyclic voltammogram."""
    phase = (moment / VERTEX_S) % 2
    return 3 + SWEEP_RATE * VERTEX_S * np.where(phase < 1, phase, 2 - phase)


def mean_voltage(start: Array, end: Array) -> Array:
    """Analytic mean of the triangle over each interval."""

    def area(moment: Array) -> Array:
        turns, phase = np.divmod(moment / VERTEX_S, 2)
        half = np.where(phase < 1, phase**2 / 2, 1 - (2 - phase) ** 2 / 2)
        return 3 * moment + SWEEP_RATE * VERTEX_S**2 * (turns + half)

    return (area(end) - area(start)) / (end - start)


def stamps(seconds: Array) -> npt.NDArray[np.datetime64]:
    """Return instants; the log and the frames share their zero."""
    return ZERO + np.rint(seconds * 1e9).astype("timedelta64[ns]")


def log_of(rows: int) -> xr.Dataset:
    """One row a second, ten half-cycles of charge and discharge to each 1e5 rows."""
    moment = np.arange(float(rows))
    up = (moment / VERTEX_S) % 2 < 1
    state = np.where(up, STATES["charge"], STATES["discharge"]).astype(np.int32)
    return xr.Dataset(
        {
            "voltage": ("time", voltage_at(moment), {"units": "V"}),
            "current": (
                "time",
                np.where(up, 1e-3, -1e-3),
                {"units": "A", "averaging": "backward"},
            ),
            "state_instrument": ("time", state, category_attributes(STATES)),
        },
        {"time": stamps(moment)},
        {
            "technique": "electrochemistry",
            "current_sign": "oxidation_positive",
            "clock": json.dumps({"sigma_s": 0.5}),
        },
    )


def frames_of(start: Array, end: Array) -> xr.Dataset:
    """Frames without a signal: only their intervals matter."""
    return xr.Dataset(
        coords={
            "time": stamps((start + end) / 2),
            "time_start": ("time", stamps(start)),
            "time_end": ("time", stamps(end)),
        },
        attrs={"clock": json.dumps({"sigma_s": 0.5})},
    )


def main() -> int:
    """Measure; return 1 when a figure falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    repeats = 3 if parser.parse_args().quick else 15
    rows, count = 1_000_000, 100_000
    raw = log_of(rows)
    preparing = cpu_seconds(lambda: prepare(raw), repeats)
    log = prepare(raw)
    start = np.arange(count) * (rows - 1) / count
    end = start + 0.9 * (rows - 1) / count
    frames = frames_of(start, end)
    peak = peak_megabytes(lambda: align(frames, log))
    joining = cpu_seconds(lambda: align(frames, log), repeats)
    left = pd.DataFrame({"time": frames["time_start"].values})
    right = pd.DataFrame({"time": log["time"].values, "voltage": log["voltage"].values})

    def nearest() -> pd.DataFrame:
        return pd.merge_asof(left, right, on="time", direction="nearest")

    peer = cpu_seconds(nearest, repeats)
    truth = mean_voltage(start, end)
    found = align(frames, log)["voltage"].values
    ours = float(np.abs(found - truth).max())
    theirs = float(np.sqrt(np.mean((nearest()["voltage"].to_numpy() - truth) ** 2)))
    # The peer takes one nearest value where the join averages, bounds and flags 17 columns: its
    # time is told for scale, and is no goal.
    print(
        f"alignment.join_over_merge_asof: {joining / peer:.1f} x pandas.merge_asof nearest "
        f"({peer:.4f} CPU s for one column), no goal"
    )
    good = [
        report("alignment.join_1e6x1e5", f"{joining:.2f} CPU s", "< 1", joining < 1),
        report(
            "alignment.join_memory",
            f"{peak:.0f} MB peak, Python and data included",
            "< 500",
            peak < 500,
        ),
        report(
            "alignment.largest_error", f"{ours:.1e} V from the analytic mean", "< 1e-9", ours < 1e-9
        ),
        report(
            "alignment.error_of_merge_asof",
            f"{theirs * 1e3:.2f} mV rms, {theirs / max(ours, 1e-15):.0e} x ours",
            ">= 1e3",
            theirs >= 1e3 * ours,
        ),
        report("alignment.prepare_1e6", f"{preparing:.2f} CPU s", "< 3", preparing < 3),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
