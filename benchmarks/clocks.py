"""Clocks: what wrong ones cost in mV, and how well offsets and drifts are found, against truth.

Usage: python benchmarks/clocks.py [--quick]

The goals are the tables of the project's reference on alignment (section 4); lines that need the
real instrument files beside the repository are left out where these are absent.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

import operando
from measuring import cpu_seconds, report
from operando.align import OffsetProposal, align, propose_offset, trigger_offset
from operando.clocks import fit_counter, stamps
from operando.electrochemistry import prepare

Array = npt.NDArray[np.float64]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
ZERO = np.datetime64("2024-01-01", "ns")
VERIFIED = json.dumps({"sigma_s": 0.0})
LATE_S = 137.4
TRIALS = 24


class Sweep(NamedTuple):
    """A triangle between two potentials: its mean over any interval is known exactly."""

    rate: float
    """V/s."""
    width: float = 1.5
    """V."""

    def at(self, moment: Array) -> Array:
        """Return the potential (V)."""
        half = self.width / self.rate
        phase = (moment / half) % 2
        return 1 + self.width * np.where(phase < 1, phase, 2 - phase)

    def mean(self, start: Array, end: Array) -> Array:
        """Return the mean over intervals, by the antiderivative."""

        def area(moment: Array) -> Array:
            turns, phase = np.divmod(moment * self.rate / self.width, 2)
            half = np.where(phase < 1, phase**2 / 2, 1 - (2 - phase) ** 2 / 2)
            return moment + self.width**2 / self.rate * (turns + half)

        return (area(end) - area(start)) / (end - start)


def at(seconds: Array) -> npt.NDArray[np.datetime64]:
    """Return instants."""
    return ZERO + np.rint(seconds * 1e9).astype("timedelta64[ns]")


def log_of(time: Array, voltage: Array) -> xr.Dataset:
    """Return a prepared log of a cell under a constant current."""
    return prepare(
        xr.Dataset(
            {
                "voltage": ("time", voltage, {"units": "V"}),
                "current": ("time", np.full(time.size, 1e-3), {"units": "A"}),
            },
            {"time": at(time)},
            {"technique": "electrochemistry", "clock": VERIFIED},
        ),
        sign="oxidation_positive",
        max_gap_s=1e9,
    )


def frames_of(start: Array, end: Array) -> xr.Dataset:
    """Return frames without a signal: only their intervals matter."""
    return xr.Dataset(
        coords={
            "time": at((start + end) / 2),
            "time_start": ("time", at(start)),
            "time_end": ("time", at(end)),
        },
        attrs={"clock": VERIFIED},
    )


def size_of_errors(name: str, time: Array, voltage: Array, *, start: Array, truth: Array) -> bool:
    """Compare the usual ways of joining, and ours, with the mean over the exposure."""
    exposure = EXPOSURES[name]

    def millivolts(found: Array) -> str:
        error = np.abs(found - truth) * 1e3
        return f"{np.sqrt(np.mean(error**2)):.2f} (max {error.max():.0f})"

    usual = {
        "at start": np.interp(start, time, voltage),
        "at mtime": np.interp(start + exposure, time, voltage),
        "at middle": np.interp(start + exposure / 2, time, voltage),
    }
    ours = align(frames_of(start, start + exposure), log_of(time, voltage))["voltage"].values
    rms = float(np.sqrt(np.mean((ours - truth) ** 2)))
    others = ", ".join(f"{what} {millivolts(found)} mV" for what, found in usual.items())
    return report(
        f"clocks.error_{name}",
        f"window mean {rms * 1e3:.1e} mV rms; interpolation {others}",
        "< 1e-6 mV",
        rms < 1e-9,
    )


EXPOSURES = {
    "cv_0.2mV/s_60s": 60.0,
    "cv_0.2mV/s_720s": 720.0,
    "cv_1mV/s_60s": 60.0,
    "real_gcpl_130s": 130.0,
}


def sweeps() -> Iterator[bool]:
    """Measure the error on cyclic voltammograms."""
    for name, rate in (("cv_0.2mV/s_60s", 2e-4), ("cv_0.2mV/s_720s", 2e-4), ("cv_1mV/s_60s", 1e-3)):
        sweep = Sweep(rate)
        # A row falls on every vertex, so that the log itself is exact.
        time = np.arange(0, 6 * sweep.width / rate + 1, 5.0)
        start = np.arange(37.0, time[-1] - 2 * EXPOSURES[name], 1.25 * EXPOSURES[name])
        truth = sweep.mean(start, start + EXPOSURES[name])
        yield size_of_errors(name, time, sweep.at(time), start=start, truth=truth)


def real_gcpl() -> tuple[Array, Array] | None:
    """Return seconds and potential of 48 h of real cycling, or None."""
    folder = SHARED / "operando" / "xas_ni_lno_rock" / "EC"
    if not folder.is_dir():
        return None
    log = operando.read(str(folder / "*.mpt"), tz="Europe/Paris")
    time = (log["time"].values - log["time"].values[0]).astype(np.int64) / 1e9
    kept = np.append(True, np.diff(time) > 0) & np.isfinite(log["voltage"].values)
    return time[kept], log["voltage"].values[kept].astype(np.float64)


def exact_means(time: Array, voltage: Array, start: Array, end: Array) -> Array:
    """Return means over intervals one by one, by trapezoids over the rows inside."""
    found = []
    for first, last in zip(start, end, strict=True):
        inside = time[(time > first) & (time < last)]
        moments = np.concatenate([[first], inside, [last]])
        found.append(np.trapezoid(np.interp(moments, time, voltage), moments) / (last - first))
    return np.array(found)


def offsets(time: Array, voltage: Array, **case: Any) -> list[tuple[OffsetProposal, float]]:
    """Propose an offset for many noisy readings, each with the CPU seconds it took."""
    log = log_of(time, voltage)
    rng = np.random.default_rng(3)
    found = []
    for _ in range(TRIALS):
        last = time[-1] if case.get("span") is None else case["span"]
        start = np.arange(
            200 + rng.uniform(0, case["period"]), last - case["exposure"] - 200, case["period"]
        )
        end = start + case["exposure"]
        value = align(frames_of(start, end), log)["voltage"].values
        value = value + 4e-3 + rng.normal(0, case["noise"], start.size)
        if step := case.get("adc_V"):
            value = np.round(value / step) * step
        seen = start - case["late"] - case.get("ppm", 0.0) * 1e-6 * (start - start[0])
        samples = xr.DataArray(
            value,
            dims="time",
            coords=dict(frames_of(seen, seen + case["exposure"]).coords),
        )
        holder: list[OffsetProposal] = []

        def fit(samples: xr.DataArray = samples, into: list[OffsetProposal] = holder) -> None:
            into.append(propose_offset(samples, log, drift=case.get("drift", False)))

        spent = cpu_seconds(fit, 1)
        found.append((holder[0], spent))
    return found


def judge(
    name: str, time: Array, voltage: Array, *, goal: tuple[float, float], **case: Any
) -> bool:
    """Report a row of the table: goal is (median error in s, ambiguity)."""
    found = offsets(time, voltage, **case)
    error = np.array([proposal.offset_s - case["late"] for proposal, _ in found])
    sigma = np.array([proposal.sigma_s for proposal, _ in found])
    ambiguity = float(np.median([proposal.ambiguity for proposal, _ in found]))
    spent = float(np.median([seconds for _, seconds in found]))
    refused = sum(not proposal.accepted for proposal, _ in found)
    pulls = float(np.sqrt(np.mean((error / sigma) ** 2)))
    drift = ""
    if case.get("drift"):
        off = np.array([proposal.drift_ppm - case["ppm"] for proposal, _ in found])
        drift = f", drift within {np.sqrt(np.mean(off**2)):.0f} ppm rms"
    median = float(np.median(error))
    text = (
        f"error {median:+.2f} s median, {np.abs(error).max():.2f} max of {len(found)}{drift}; "
        f"sigma {np.median(sigma):.2f}, pulls {pulls:.2f}; ambiguity {ambiguity:.0f}; "
        f"{spent:.2f} CPU s"
    )
    reached = abs(median) <= goal[0] and ambiguity >= 0.95 * goal[1] and refused == 0
    wanted = f"|median| <= {goal[0]:g} s, ambiguity {goal[1]:g}, none refused"
    if "ppm" not in case or case.get(
        "drift"
    ):  # the sigma of a fit knows nothing of what it ignores
        reached &= pulls < 1.5
        wanted += ", pulls < 1.5"
    return report(f"clocks.offset_{name}", text, wanted, reached and spent < 0.5)


def shared_signal() -> Iterator[bool]:
    """Reproduce the table on the offset from a shared signal."""
    sweep = Sweep(1e-4)
    time = np.arange(0, 90_000.0, 10)
    cyclic: dict[str, Any] = {
        "period": 75.0,
        "exposure": 60.0,
        "noise": 1e-3,
        "late": LATE_S,
    }
    voltage = sweep.at(time)
    yield judge("cv", time, voltage, goal=(0.07, 36), **cyclic)
    # Half of 40 ppm over 25 h is 1.8 s: nothing but a drift that is fitted can do better. The table
    # says 1.8, which is rounded.
    yield judge("cv_40ppm_ignored", time, voltage, goal=(1.85, 36), ppm=40.0, **cyclic)
    yield judge("cv_40ppm_fitted", time, voltage, goal=(0.4, 36), ppm=40.0, drift=True, **cyclic)
    ramps = [proposal for proposal, _ in offsets(time, voltage, span=13_500.0, **cyclic)]
    refused = sum(not proposal.accepted for proposal in ramps)
    yield report(
        "clocks.offset_one_ramp",
        f"{refused} of {len(ramps)} refused, ambiguity "
        f"{np.median([proposal.ambiguity for proposal in ramps]):.1f}",
        "all refused",
        refused == len(ramps),
    )
    real = real_gcpl()
    if real is None:
        print("clocks.offset_real_gcpl: left out, the real instrument files are not here")
        return
    case: dict[str, Any] = {"period": 687.0, "exposure": 130.0, "noise": 1e-3, "late": -612.0}
    noisy = {**case, "noise": 5e-3, "adc_V": 10 / 4096}
    yield judge("real_gcpl_48h", *real, goal=(0.1, 62), **case)
    yield judge("real_gcpl_5mV_12bit", *real, goal=(1.5, 12), **noisy)
    yield judge("real_gcpl_first_6h", *real, goal=(2.8, 25), span=6 * 3600.0, **case)


def drift_over_a_gap() -> None:
    """Print how far to believe a drift that is fitted to four hours of real cycling with a gap."""
    path = SHARED / "operando" / "xrd_zn_mno2_mspd" / "Echem" / "ZMO_D_C03.mpt"
    if not path.exists():
        print("clocks.offset_drift_over_a_gap: left out, the real instrument files are not here")
        return
    log = prepare(operando.read(str(path), tz="Europe/Madrid"))
    zero, last = log["time"].values[0], log["time"].values[-1]
    start = np.arange(600.0, (last - zero) / np.timedelta64(1, "s") - 60.0, 120.0)
    moved = np.timedelta64(round(LATE_S * 1e9), "ns")
    shift = zero - ZERO
    frames = frames_of(start, start + 60.0)
    names = ("time", "time_start", "time_end")
    true = frames.assign_coords({name: frames[name] + shift for name in names})
    voltage = align(true, log)["voltage"].values
    rng = np.random.default_rng(3)
    pulls: dict[bool, list[float]] = {False: [], True: []}
    accepted = {False: 0, True: 0}
    for _ in range(TRIALS):
        samples = xr.DataArray(
            voltage + rng.normal(0, 1e-3, voltage.size),
            dims="time",
            coords={name: ("time", true[name].values - moved) for name in names},
        )
        for drift in (False, True):
            found = propose_offset(samples, log, drift=drift)
            pulls[drift].append((found.offset_s - LATE_S) / found.sigma_s)
            accepted[drift] += found.accepted
    told = ", ".join(
        f"{'with' if drift else 'without'} a drift pulls "
        f"{np.sqrt(np.mean(np.square(pulls[drift]))):.1f}, {accepted[drift]} of {TRIALS} accepted"
        for drift in (False, True)
    )
    print(f"clocks.offset_drift_over_a_gap: {told}, no goal", flush=True)


def real_errors() -> Iterator[bool]:
    """Measure the error on real cycling."""
    real = real_gcpl()
    if real is None:
        print("clocks.error_real_gcpl_130s: left out, the real instrument files are not here")
        return
    time, voltage = real
    start = np.linspace(100.0, time[-1] - 300, 458)
    truth = exact_means(time, voltage, start, start + EXPOSURES["real_gcpl_130s"])
    yield size_of_errors("real_gcpl_130s", time, voltage, start=start, truth=truth)


def counters(repeats: int) -> Iterator[bool]:
    """Measure the fit of a counter against a wall clock that is set right every 8 h."""
    rows = 1_000_000
    counter = np.arange(rows) * 70 * 3600.0 / rows
    since = (counter + 9000) % 28_800
    truth = counter * (1 - 47e-6) - 9000 * 47e-6
    wall = truth + np.minimum(since, counter + 9000) * 47e-6
    spent = cpu_seconds(lambda: fit_counter(counter, wall, where="simulated"), repeats)
    yield report("clocks.counter_fit_1e6_rows", f"{spent:.3f} CPU s", "< 0.3", spent < 0.3)
    fit = fit_counter(counter, wall, where="simulated")
    exact = stamps(ZERO, truth)

    def worst(placed: npt.NDArray[np.datetime64]) -> float:
        return float(np.abs((placed - exact).astype(np.int64)).max() / 1e9)

    before = worst(stamps(ZERO, counter))
    after = worst(stamps(ZERO, counter, clock_offset_s=fit.offset_s, drift_ppm=fit.ppm))
    yield report(
        "clocks.sawtooth_absolute_time",
        f"{after * 1e3:.1f} ms off at most in 70 h as the fit proposes, {before:.1f} s as it is",
        "< 50 ms",
        after < 0.05,
    )
    path = SHARED / "formats" / "echem" / "neware" / "20260302_IFE_BTS85_2_9_8_1.ndax"
    if not path.exists():
        print("clocks.real_counter: left out, the real instrument files are not here")
        return
    told = json.loads(operando.read(str(path)).attrs["clock"])["counter"]
    yield report(
        "clocks.real_counter",
        f"{told['ppm']:.1f} +- {told['ppm_sigma']:.1f} ppm, {told['steps']} corrections of "
        f"{told['step_s']:.2f} s every {told['step_every_s'] / 3600:.1f} h, largest residual "
        f"{told['residual_s']:.2f} s",
        "-47 +- 3 ppm, 9 steps",
        abs(told["ppm"] + 47) <= 3 and told["steps"] == 9,
    )


def triggers() -> Iterator[bool]:
    """Measure the offset from a trigger that the potentiostat samples every half second."""
    rng = np.random.default_rng(4)
    errors, sigmas = [], []
    for _ in range(TRIALS):
        edges = 20 + np.cumsum(rng.uniform(25, 60, 60))
        time = np.arange(rng.uniform(0, 0.5), edges[-1] + 50, 0.5)
        high = (time[:, None] >= edges) & (time[:, None] < edges + 2)
        line = 5.0 * high.any(axis=1) + rng.normal(0, 0.05, time.size)
        channel = xr.DataArray(line, dims="time", coords={"time": at(time)})
        found = trigger_offset(channel, frames_of(edges - LATE_S, edges - LATE_S + 20))
        errors.append(found.offset_s - LATE_S)
        sigmas.append(found.sigma_s)
    worst = float(np.abs(errors).max())
    yield report(
        "clocks.trigger_offset",
        f"{worst:.2f} s at most of {TRIALS}, sigma {np.median(sigmas):.2f}, rows of 0.5 s",
        "<= one row",
        worst <= 0.5,
    )


def main() -> int:
    """Measure; return 1 when a figure falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    repeats = 3 if parser.parse_args().quick else 9
    parts: tuple[Callable[[], Iterator[bool]], ...] = (
        sweeps,
        real_errors,
        shared_signal,
        triggers,
        lambda: counters(repeats),
    )
    good = [reached for part in parts for reached in part()]
    drift_over_a_gap()
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
