"""Raman processing: baselines, cosmic rays, calibration, factors; speed, agreement, error bars.

Usage: python benchmarks/raman.py [--quick]
Run with one thread for BLAS (OMP_NUM_THREADS=1, OPENBLAS_NUM_THREADS=1).

The spectra are a real series of 532 with 1024 points (LabSpec text in ../shared/data), or where
that is missing simulated ones. Both sides of a ratio have the same spectra and settings (lam 1e5,
tol 1e-3, at most 50 rounds). pybaselines solves its equations with pentapy where that is installed;
the line that compares with it is skipped where it is not. So is pyMCR's.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pybaselines import Baseline

import operando
from measuring import cpu_seconds, report
from operando.corrections.arpls import arpls
from operando.corrections.baseline import subtract_baseline
from operando.corrections.cosmic_rays import remove_cosmic_rays
from operando.corrections.reference_band import normalise_to_band
from operando.corrections.shift_calibration import band_shift, calibrate_shift
from operando.observables import alternating
from operando.observables.factors import nmf
from operando.observables.species import resolve

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SERIES = "shared/data/formats/raman/labspec_txt/Activation.txt"
BAND, WIDTH = 920.0, 5.0
"""Where a sharp real band is put, and its full width at half maximum, 1/cm."""
BASELINE: dict[str, float] = {"lam": 1e5, "tol": 1e-3, "max_iter": 50}


def spectra(shift: Array, values: Array, units: str = "count") -> xr.Dataset:
    """Label spectra, five minutes apart."""
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    time = start + np.arange(len(values)) * np.timedelta64(312, "s")
    return xr.Dataset(
        {"intensity": (("time", "raman_shift"), values, {"units": units})},
        {"time": time, "raman_shift": ("raman_shift", shift, {"units": "1/cm"})},
        {"technique": "raman"},
    )


def measured() -> tuple[xr.Dataset, str]:
    """Return the real series, or a simulated one, and which it is."""
    file = Path(__file__).resolve().parents[2] / SERIES
    if file.is_file():
        options = {"date_order": "dmy"}
        found = operando.read(file, format="labspec_text", tz="UTC", options=options)
        return found.load(), "real"
    rng = np.random.default_rng(0)
    shift = np.linspace(200, 1700, 1024)
    fade = np.exp(-np.arange(532) / 150)[:, None]
    level = 6e4 * (1 + fade) * (1 + 0.3 * np.sin(shift / 250))
    level += 8e3 / (1 + ((shift - 1350) / 60) ** 2) + 9e3 / (1 + ((shift - 1600) / 40) ** 2)
    return spectra(shift, rng.poisson(level).astype(float)), "simulated"


def lorentzian(shift: Array, height: npt.ArrayLike) -> Array:
    """Return the sharp band."""
    return np.asarray(np.asarray(height) / (1 + (2 * (shift - BAND) / WIDTH) ** 2))


def baseline_speed(frames: xr.Dataset, *, quick: bool) -> list[bool]:
    """Time arPLS against pybaselines, with each of its solvers."""
    rows = frames["intensity"].values
    every = 16 if quick else 4
    arpls(rows[:20])  # compiles
    repeats = 3 if quick else 7
    ours = cpu_seconds(lambda: arpls(rows), repeats) / len(rows)
    reached = []
    for name, solver, goal in (("without_pentapy", 3, 8), ("with_pentapy", 1, 4)):
        if solver == 1 and importlib.util.find_spec("pentapy") is None:
            print("raman.arpls_with_pentapy: skipped: pentapy is not installed")
            continue
        fit = Baseline()
        fit.banded_solver = solver
        loop = partial(_loop, fit, rows[::every])
        loop()
        theirs = cpu_seconds(loop, repeats) / len(rows[::every])
        again = cpu_seconds(lambda: arpls(rows), repeats) / len(rows)
        best = float(np.median([ours, again]))
        reached.append(
            report(
                f"raman.arpls_{name}",
                f"{theirs / best:.1f} x pybaselines ({1e3 * best:.3f} ms against "
                f"{1e3 * theirs:.2f} ms a spectrum of {rows.shape[1]} points)",
                f">= {goal}",
                theirs / best >= goal,
            )
        )
    whole = cpu_seconds(lambda: subtract_baseline(frames), repeats) / len(rows)
    print(
        f"raman.subtract_baseline: {1e3 * whole:.3f} ms a spectrum for the whole verb, with sigma"
    )
    return reached


def _loop(fit: Baseline, rows: Array) -> list[Array]:
    return [fit.arpls(row, **BASELINE)[0] for row in rows]


def baseline_agreement(frames: xr.Dataset, *, quick: bool) -> list[bool]:
    """Compare the baselines with those of pybaselines, and ours with itself in other company."""
    rows = frames["intensity"].values[:: 16 if quick else 2]
    reached = []
    for lam in (1e4, 1e5, 1e6):
        found, taken = arpls(rows, lam=lam)
        pairs = [Baseline().arpls(row, **(BASELINE | {"lam": lam})) for row in rows]
        apart = np.abs(found - np.array([pair[0] for pair in pairs])).max(axis=1)
        worst = float((apart / np.ptp(rows, axis=1)).max())
        same = np.mean([len(p[1]["tol_history"]) == n for p, n in zip(pairs, taken, strict=True)])
        reached.append(
            report(
                f"raman.arpls_agreement_{lam:.0e}",
                f"{worst:.0e} of the range at worst, {100 * same:.0f} % with the same rounds",
                "<= 1e-3",
                worst <= 1e-3,
            )
        )
    whole = arpls(rows)[0]
    order = np.random.default_rng(0).permutation(len(rows))
    parts = np.concatenate([arpls(part)[0] for part in np.array_split(rows[order], 7)])
    equal = bool(np.array_equal(parts, whole[order]))
    text = "equal to the last bit" if equal else "different"
    return [*reached, report("raman.arpls_chunks", text, "equal", equal)]


def cosmic_rays(frames: xr.Dataset, *, quick: bool) -> list[bool]:
    """Inject rays into the series, with a sharp real band in it."""
    shift, plain = frames["raman_shift"].values, frames["intensity"].values
    noise = float(np.median(np.abs(np.diff(plain, axis=1))) / 0.6745 / np.sqrt(2))
    height = noise * 60 * (1 + np.sin(np.arange(len(plain)) / 40))[:, None]
    sharp = plain + lorentzian(shift, height)
    spoiled, truth = _hit(sharp, noise)
    masks = [
        remove_cosmic_rays(spectra(shift, values))["cosmic_ray"].values > 0
        for values in (plain, sharp, spoiled)
    ]
    beside = truth.copy()
    beside[:, 1:] |= truth[:, :-1]
    beside[:, :-1] |= truth[:, 1:]
    near = np.abs(shift - BAND) < 12
    survives = 1 - float((masks[1] & ~masks[0])[:, near].any(axis=1).mean())
    recall = float(masks[2][truth].mean())
    false = float((masks[2] & ~beside & ~masks[1]).sum() / len(plain))
    series = spectra(shift, spoiled)
    cost = cpu_seconds(lambda: remove_cosmic_rays(series), 3 if quick else 7) / len(plain)
    kept, born = _births(shift, plain, noise, count=20 if quick else 100)
    return [
        report("raman.rays_recall", f"{recall:.3f} of injected points", ">= 0.9", recall >= 0.9),
        report(
            "raman.rays_sharp_band",
            f"survives in {100 * survives:.1f} % of the frames",
            ">= 98 %",
            survives >= 0.98,
        ),
        report("raman.rays_false", f"{false:.3f} points a spectrum", "<= 0.1", false <= 0.1),
        report(
            "raman.rays_new_band",
            f"whole in all frames, its first included, of {kept} of {born} that stay",
            "all",
            kept == born,
        ),
        report("raman.rays_cost", f"{1e3 * cost:.3f} ms a spectrum", "<= 0.6", cost <= 0.6e-3),
    ]


def _hit(values: Array, noise: float) -> tuple[Array, Mask]:
    """Put a ray of one or two points, 8 to 80 times the noise, into every second frame."""
    rng = np.random.default_rng(1)
    out, truth = values.copy(), np.zeros(values.shape, bool)
    for row in np.flatnonzero(rng.random(len(values)) < 0.5):
        at, width = rng.integers(5, values.shape[1] - 6), rng.integers(1, 3)
        out[row, at : at + width] += noise * rng.uniform(8, 80)
        truth[row, at : at + width] = True
    return out, truth


def _births(shift: Array, plain: Array, noise: float, *, count: int) -> tuple[int, int]:
    """Return how many of the sharp bands that appear in some frame and stay are left whole."""
    rng = np.random.default_rng(2)
    near, kept = np.abs(shift - BAND) < 12, 0
    for _ in range(count):
        start = int(rng.integers(0, len(plain) - 40))
        rows = plain[start : start + 40]
        before = remove_cosmic_rays(spectra(shift, rows))["cosmic_ray"].values > 0
        there = np.arange(40) >= rng.integers(1, 38)
        grown = rows + lorentzian(shift, noise * rng.uniform(10, 200) * there[:, None])
        mask = remove_cosmic_rays(spectra(shift, grown))["cosmic_ray"].values > 0
        kept += not (mask & ~before)[there][:, near].any()
    return kept, count


def error_bars(*, quick: bool) -> list[bool]:
    """Measure pulls of shift calibration and of the reference band, on simulated counts."""
    rng = np.random.default_rng(3)
    count = 400 if quick else 2000
    shift = np.arange(450.0, 1100.0, 1.4)
    slope = np.cumsum(rng.normal(0, 2e-5, count))
    off = np.cumsum(slope) + rng.normal(0, 0.05, count)
    apart = shift - off[:, None]
    level = 900 + 8000 / (1 + ((apart - 520.5) / 3.5) ** 2)
    level += 900 * np.exp(-0.5 * ((apart - 1012) / 10) ** 2)
    frames = spectra(shift, rng.poisson(level).astype(float))
    found = band_shift(frames, window=(495.0, 546.0), line=520.5)
    reached = []
    for name in ("raw_shift", "shift_correction"):
        pulls = (found[name].values - off) / found[f"{name}_sigma"].values
        spread = float(pulls.std())
        text = f"standard deviation of pulls {spread:.2f}, mean {pulls.mean():+.2f}"
        reached.append(report(f"raman.{name}", text, "0.9 to 1.1", 0.9 <= spread <= 1.1))
    moved = calibrate_shift(frames, found)
    scaled = normalise_to_band(moved, band=(940.0, 1084.0))
    pulls = (scaled["scale"].values - 9e3 * np.sqrt(2 * np.pi)) / scaled["scale_sigma"].values
    spread = float(pulls.std())
    text = f"standard deviation of pulls {spread:.2f}, mean {pulls.mean():+.2f}"
    reached.append(report("raman.reference_band", text, "0.9 to 1.1", 0.9 <= spread <= 1.1))
    return reached


def factors(frames: xr.Dataset, *, quick: bool) -> list[bool]:
    """Time the factorisation and the alternating fits of the series into three."""
    bare = subtract_baseline(remove_cosmic_rays(frames), lam=1e6)["intensity"]
    shift = bare["raman_shift"].values
    window = (float(shift[0]), float(shift[-1]))
    works: dict[str, Callable[[], Any]] = {
        "nmf": lambda: nmf(bare, components=3),
        "resolve": lambda: resolve(bare, count=3, window=window, closed=False),
    }
    reached, spent = [], {}
    for name, work in works.items():
        work()
        spent[name] = cpu_seconds(work, 1 if quick else 3)
        facts = work().attrs
        text = (
            f"{spent[name]:.2f} s for {bare.shape[0]} x {bare.shape[1]}, {facts['rounds']} rounds"
        )
        goal = {"nmf": 1.0, "resolve": 10.0}[name]
        reached.append(report(f"raman.{name}", text, f"<= {goal:g} s", spent[name] <= goal))
    return [*reached, *_pymcr(np.maximum(bare.values, 0.0))]


def _pymcr(rows: Array) -> list[bool]:
    """Time 50 rounds of pyMCR and of ours from one start."""
    if importlib.util.find_spec("pymcr") is None:
        print("raman.resolve_pymcr: skipped: pymcr is not installed")
        return []
    fit = importlib.import_module("pymcr.mcr").McrAR
    bounded = importlib.import_module("pymcr.regressors").NNLS
    logging.getLogger("pymcr").setLevel(logging.ERROR)
    start = rows[[0, len(rows) // 2, len(rows) - 1]]
    forced = {"max_iter": 50, "tol_increase": 1e9, "tol_n_increase": 60}
    model = fit(c_regr=bounded(), st_regr=bounded(), **forced)
    theirs = cpu_seconds(lambda: model.fit(rows, ST=start), 1)
    rounds, settled = alternating.ROUNDS, alternating.SETTLED
    alternating.ROUNDS, alternating.SETTLED = 50, -np.inf
    none = np.empty((0, rows.shape[1]))
    ours = cpu_seconds(lambda: alternating.resolve_spectra(rows, none, count=3, closed=False), 3)
    alternating.ROUNDS, alternating.SETTLED = rounds, settled
    text = f"{theirs / ours:.1f} x pyMCR with NNLS, 50 rounds ({ours:.2f} s against {theirs:.2f} s)"
    return [report("raman.resolve_pymcr", text, ">= 2", theirs / ours >= 2)]


def main() -> int:
    """Run all; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer spectra and repeats")
    quick = parser.parse_args().quick
    frames, which = measured()
    print(f"raman.series: {which}, {frames.sizes['time']} x {frames.sizes['raman_shift']}")
    reached = baseline_speed(frames, quick=quick)
    reached += baseline_agreement(frames, quick=quick)
    reached += cosmic_rays(frames, quick=quick)
    reached += error_bars(quick=quick)
    reached += factors(frames, quick=quick)
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
