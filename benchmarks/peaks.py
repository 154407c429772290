"""Tracking of lines: speed against lmfit and scipy on the same problem, error bars, scale.

Usage: python benchmarks/peaks.py [--quick]

The series is `operando.simulate.diffraction_series`: 2000 patterns of 2000 points, six lines in
five windows, two of which fade or appear. Clean windows are those whose line is there throughout.
lmfit and scipy get the same windows, weights (1/expected counts), Lorentzian shares and a warm
start; they are timed on stretches of successive frames all over the series. Times are CPU time.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from scipy.optimize import curve_fit, least_squares

from measuring import cpu_seconds, report
from operando.observables import Window, track_peaks
from operando.observables.lines.flags import ASSESSMENT, CAUTIONS
from operando.simulate.diffraction_series import (
    NAMES,
    TWO_THETA,
    WINDOWS,
    as_intensity,
    expected,
    patterns,
    truth,
)
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

CLEAN = ("solid", "broad", "standard")
NUMBERS = ("area", "centre", "fwhm")
CLEAR = 8.0
"""Area over its sigma, as the Cramer-Rao bound has it, from which lines are judged."""
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Problem:
    """A series with the weights that all fits get, and what is known of it."""

    intensity: xr.DataArray
    known: xr.Dataset
    sigma: xr.DataArray
    tracks: xr.Dataset
    """By Poisson maximum likelihood, as counts are tracked."""
    weighted: xr.Dataset
    """With `sigma`, as the others fit."""

    @classmethod
    def of(cls, frames: int) -> Problem:
        """Return the problem of so many patterns."""
        intensity, known = patterns(frames)
        sigma = intensity.copy(data=np.sqrt(expected(known)))
        return cls(
            intensity,
            known,
            sigma,
            track_peaks(intensity, windows=WINDOWS),
            track_peaks(intensity, windows=WINDOWS, sigma=sigma),
        )


def line(x: Array, area: float, centre: float, fwhm: float, eta: float) -> Array:
    """Return a pseudo-Voigt."""
    u = 2.0 * (x - centre) / fwhm
    gauss = 2.0 * np.sqrt(np.log(2.0) / np.pi) * np.exp(-np.log(2.0) * u * u)
    return np.asarray(area / fwhm * ((1.0 - eta) * gauss + eta * 2.0 / np.pi / (1.0 + u * u)))


def slopes(x: Array, area: float, centre: float, fwhm: float, eta: float) -> list[Array]:
    """Return its derivatives by area, centre and width."""
    u = 2.0 * (x - centre) / fwhm
    gauss = 2.0 * np.sqrt(np.log(2.0) / np.pi) * np.exp(-np.log(2.0) * u * u)
    lorentz = 2.0 / np.pi / (1.0 + u * u)
    value = ((1.0 - eta) * gauss + eta * lorentz) / fwhm
    fall = ((1.0 - eta) * 2.0 * np.log(2.0) * gauss + 2.0 * eta * lorentz / (1.0 + u * u)) * u
    return [value, area * fall * 2.0 / fwhm**2, area * (fall * u / fwhm - value) / fwhm]


class Opponent:
    """One window, as scipy fits it: areas, centres, widths of its lines, then the background."""

    def __init__(self, problem: Problem, window: Window) -> None:
        self.inside = (window.low <= TWO_THETA) & (window.high >= TWO_THETA)
        self.x = TWO_THETA[self.inside]
        self.middle = 0.5 * (self.x[0] + self.x[-1])
        self.etas = [float(problem.weighted["eta"].sel(line=k)[0]) for k in window.labels]
        self.labels, self.problem = window.labels, problem

    def model(self, x: Array, *p: float) -> Array:
        """Return the expected counts."""
        total = p[-2] + p[-1] * (x - self.middle)
        for at, eta in enumerate(self.etas):
            total = total + line(x, p[3 * at], p[3 * at + 1], p[3 * at + 2], eta)
        return np.asarray(total)

    def jacobian(self, x: Array, *p: float) -> Array:
        """Return their derivatives, (points, parameters)."""
        columns = [
            column
            for at, eta in enumerate(self.etas)
            for column in slopes(x, p[3 * at], p[3 * at + 1], p[3 * at + 2], eta)
        ]
        return np.stack([*columns, np.ones_like(x), x - self.middle], axis=1)

    def data(self, frame: int) -> tuple[Array, Array]:
        """Return signal and sigma of a frame."""
        problem = self.problem
        return (
            problem.intensity.values[frame, self.inside],
            problem.sigma.values[frame, self.inside],
        )

    def start(self, frame: int) -> Array:
        """Return the truth, with something of every line."""
        known = self.problem.known.isel(time=frame)
        numbers = [
            max(float(known[number].sel(line=NAMES[label])), 0.5 if number == "area" else 0.0)
            for label in self.labels
            for number in NUMBERS
        ]
        return np.array([*numbers, float(np.median(self.data(frame)[0])), 0.0])

    def ours(self, frame: int) -> tuple[Array, Array]:
        """Return numbers and sigmas of its lines, as tracked."""
        part = self.problem.weighted.isel(time=frame).sel(line=self.labels)
        values = np.stack([part[name].values for name in NUMBERS], axis=1).ravel()
        sigmas = np.stack([part[f"{name}_sigma_stat"].values for name in NUMBERS], axis=1)
        return values, sigmas.ravel()


def stretches(frames: int, length: int) -> Iterator[range]:
    """Yield stretches of successive frames at five places of the series."""
    for share in (0.05, 0.35, 0.5, 0.64, 0.9):
        yield range(round(share * frames), round(share * frames) + length)


def seconds_of_lmfit(problem: Problem, window: Window, length: int) -> tuple[float, float]:
    """Return CPU seconds a frame of a lmfit `Model`, and its distance from ours in sigma."""
    models = lmfit_models()
    opponent = Opponent(problem, window)
    x = opponent.x - opponent.middle
    model = models.LinearModel(prefix="b_")
    for label in window.labels:
        model = model + models.PseudoVoigtModel(prefix=f"{label}_")
    spent, count, apart = 0.0, 0, [0.0]
    for stretch in stretches(len(problem.intensity), length):
        guess = opponent.start(stretch[0])
        pars = model.make_params(b_slope=0.0, b_intercept=guess[-2])
        for at, label in enumerate(window.labels):
            area, centre, fwhm = guess[3 * at : 3 * at + 3]
            pars[f"{label}_amplitude"].set(value=area, min=0.0)
            pars[f"{label}_center"].set(value=centre - opponent.middle)
            pars[f"{label}_sigma"].set(value=fwhm / 2.0, min=0.005, max=0.5)
            pars[f"{label}_fraction"].set(value=opponent.etas[at], vary=False)
        for frame in stretch:
            y, sigma = opponent.data(frame)
            before = time.process_time()
            found = model.fit(y, pars, x=x, weights=1.0 / sigma, scale_covar=False)
            spent, count, pars = spent + time.process_time() - before, count + 1, found.params
            theirs = np.array(
                [
                    value
                    for label in window.labels
                    for value in (
                        pars[f"{label}_amplitude"].value,
                        pars[f"{label}_center"].value + opponent.middle,
                        2.0 * pars[f"{label}_sigma"].value,
                    )
                ]
            )
            apart.append(distance(opponent, frame, theirs))
    return spent / count, max(apart)


def lmfit_models() -> Any:
    """Return the models of lmfit, which larch brings along, with its side effects undone."""
    larch("math")
    import lmfit.models

    return lmfit.models


def seconds_of_curve_fit(problem: Problem, window: Window, length: int) -> tuple[float, float]:
    """Return the same of scipy's `curve_fit` with the analytic Jacobian."""
    opponent = Opponent(problem, window)
    spent, count, apart = 0.0, 0, [0.0]
    for stretch in stretches(len(problem.intensity), length):
        guess = opponent.start(stretch[0])
        for frame in stretch:
            y, sigma = opponent.data(frame)
            before = time.process_time()
            try:
                best, _ = curve_fit(
                    opponent.model,
                    opponent.x,
                    y,
                    guess,
                    sigma,
                    absolute_sigma=True,
                    jac=opponent.jacobian,
                )
                apart.append(distance(opponent, frame, best[:-2]))
                guess = best
            except RuntimeError:
                guess = opponent.start(frame)
            spent, count = spent + time.process_time() - before, count + 1
    return spent / count, max(apart)


def distance(opponent: Opponent, frame: int, theirs: Array) -> float:
    """Return how far another optimum is from ours in sigma; 0 where ours has a line missing."""
    ours, sigma = opponent.ours(frame)
    return float(np.abs((theirs - ours) / sigma).max()) if np.isfinite(ours).all() else 0.0


def tracked(problem: Problem, windows: Sequence[Window]) -> xr.Dataset:
    """Track with the sigmas that the others get."""
    return track_peaks(problem.intensity, windows=windows, sigma=problem.sigma)


def against(problem: Problem, quick: bool) -> bool:
    """Print how many times faster we are than lmfit and scipy, and that answers agree."""
    length = 2 if quick else 8
    # the quick run also guards machines without wide vectors, which lose a factor of two
    least = 500 if quick else 1000
    good = True
    for name, windows in (
        ("clean", [window for window in WINDOWS if window.name in CLEAN]),
        ("all", list(WINDOWS)),
    ):
        ours = cpu_seconds(partial(tracked, problem, windows), 5) / len(problem.intensity)
        for rival, seconds_of, goal in (
            ("lmfit", seconds_of_lmfit, least),
            ("curve_fit", seconds_of_curve_fit, 100),
        ):
            found = [seconds_of(problem, window, length) for window in windows]
            theirs = sum(one[0] for one in found)
            text = (
                f"{theirs / ours:.0f} x {rival}, same windows, weights and shares "
                f"({theirs * 1e3:.2f} ms against {ours * 1e6:.1f} us a frame)"
            )
            good &= report(f"peaks.{rival}_{name}", text, f">= {goal}", theirs / ours >= goal)
            if name == "clean":
                apart = max(one[1] for one in found)
                good &= report(
                    f"peaks.{rival}_same_answer", f"{apart:.4f} sigma", "<= 0.05", apart <= 0.05
                )
    return good


def bounds(problem: Problem) -> dict[str, Array]:
    """Return the Cramer-Rao bounds of area, centre and width, (frames, lines), shares known."""
    frames = len(problem.intensity)
    found = {name: np.empty((frames, len(NAMES))) for name in NUMBERS}
    column = 0
    for window in WINDOWS:
        opponent = Opponent(problem, window)
        for frame in range(frames):
            guess = opponent.start(frame)
            sigma = opponent.data(frame)[1]
            whitened = opponent.jacobian(opponent.x, *guess) / sigma[:, None]
            size = np.sqrt(np.diag(np.linalg.inv(whitened.T @ whitened)))
            for at in range(len(window.labels)):
                for kind, name in enumerate(NUMBERS):
                    found[name][frame, column + at] = size[3 * at + kind]
        column += len(window.labels)
    return found


def accuracy(problem: Problem) -> bool:
    """Print convergence, efficiency and error bars of the lines above 8 sigma."""
    known = problem.known.sel(line=list(NAMES.values()))
    crb, tracks = bounds(problem), problem.tracks
    clear = known["area"].values > CLEAR * crb["area"]
    believed = (tracks["assessment"].values & ~CAUTIONS) == 0
    share = float(believed[clear].mean())
    good = report("peaks.converged", f"{100 * share:.3f} %", ">= 99.9 %", share >= 0.999)
    judged = clear & believed
    error = {name: tracks[name].values - known[name].values for name in NUMBERS}
    worst = max(
        float(np.sqrt(np.mean((error["centre"] / crb["centre"])[judged[:, at], at] ** 2)))
        for at in range(len(NAMES))
        if judged[:, at].any()
    )
    good &= report("peaks.centre_rms_crb", f"{worst:.3f} (worst line)", "<= 1.10", worst <= 1.10)
    for name in NUMBERS:
        pull = error[name] / tracks[f"{name}_sigma"].values
        of_lines = [pull[judged[:, at], at] for at in range(len(NAMES)) if judged[:, at].any()]
        spread = [float(one.std()) for one in of_lines]
        beyond = float(np.mean(np.abs(np.concatenate(of_lines)) > 3.0))
        text = f"{min(spread):.3f}-{max(spread):.3f}"
        within = min(spread) >= 0.9 and max(spread) <= 1.1
        good &= report(f"peaks.pull_std_{name}", text, "0.9-1.1", within)
        text = f"{100 * beyond:.2f} %"
        good &= report(f"peaks.beyond_3_sigma_{name}", text, "<= 1 %", beyond <= 0.01)
    return good


def identity(problem: Problem, quick: bool) -> bool:
    """Print how far the optimum is from that of scipy's least squares."""
    apart = [0.0]
    for window in WINDOWS:
        opponent = Opponent(problem, window)
        for stretch in stretches(len(problem.intensity), 4 if quick else 40):
            for frame in stretch:
                y, sigma = opponent.data(frame)
                ours, _ = opponent.ours(frame)
                if not np.isfinite(ours).all():
                    continue
                guess = np.array([*ours, float(np.median(y)), 0.0])
                best = least_squares(
                    lambda p, o=opponent, y=y, s=sigma: (o.model(o.x, *p) - y) / s,
                    guess,
                    jac=lambda p, o=opponent, s=sigma: o.jacobian(o.x, *p) / s[:, None],
                    method="lm",
                    x_scale="jac",
                    xtol=1e-13,
                    ftol=1e-13,
                )
                apart.append(distance(opponent, frame, best.x[:-2]))
    text = f"{max(apart):.4f} sigma from scipy least_squares"
    return report("peaks.optimum", text, "<= 0.05", max(apart) <= 0.05)


def compiling() -> bool:
    """Print what the first call costs, without and with the cache of numba."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "NUMBA_CACHE_DIR": cache}
        cold, cached = (float(own_process("first_call", env=env).split()[0]) for _ in range(2))
    good = report("peaks.compile", f"{cold:.1f} CPU-s", "<= 8", cold <= 8.0)
    return report("peaks.compile_cached", f"{cached:.2f} CPU-s", "<= 1", cached <= 1.0) & good


def first_call() -> None:
    """Print the CPU seconds that the first call takes more than the second."""
    intensity, _ = patterns(64)
    spent = []
    for _ in range(2):
        before = time.process_time()
        track_peaks(intensity, windows=WINDOWS)
        spent.append(time.process_time() - before)
    print(spent[0] - spent[1])


def streaming(quick: bool) -> bool:
    """Print CPU time and memory of a long series from Zarr, tracked in a process of its own."""
    frames = 10_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "counts.zarr")
        write(store, frames)
        cpu, peak = map(float, own_process("stream", store).split())
    share = frames / 100_000
    text = f"{cpu:.2f} CPU-s, {1e6 * cpu / frames:.1f} us a frame"
    good = report(f"peaks.zarr_{frames}", text, f"<= {10 * share:g}", cpu <= 10 * share)
    text = f"{peak:.0f} MB at the peak, Python included"
    return report(f"peaks.zarr_{frames}_memory", text, "<= 600", peak <= 600.0) & good


def write(store: str, frames: int) -> None:
    """Write a long series as counts of two bytes in chunks of 500 frames."""
    known = truth(frames)
    counts = zarr.create_array(
        store=store, shape=(frames, TWO_THETA.size), chunks=(500, TWO_THETA.size), dtype="uint16"
    )
    rng = np.random.default_rng(1)
    for first in range(0, frames, 500):
        part = known.isel(time=slice(first, first + 500))
        counts[first : first + 500] = rng.poisson(expected(part)).astype(np.uint16)


def stream(store: str) -> None:
    """Track a series in Zarr; print CPU seconds and peak memory in MB."""
    with dask.config.set(scheduler="synchronous"):
        counts = dask.array.from_zarr(store)
        time_ = truth(2)["time"].values[0] + np.arange(len(counts)) * np.timedelta64(10, "s")
        track_peaks(as_intensity(np.ones((64, TWO_THETA.size)), time_[:64]), windows=WINDOWS)
        before = time.process_time()
        found = track_peaks(as_intensity(counts, time_), windows=WINDOWS).compute()
        spent = time.process_time() - before
    assert int((found["assessment"].values & ASSESSMENT["no_data"]).sum()) == 0
    print(spent, peak_of_this_process())


def peak_of_this_process() -> float:
    """Return the peak memory in MB; not that of the process it was started from."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return float(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def own_process(what: str, *words: str, env: dict[str, str] | None = None) -> str:
    """Return what a part of this benchmark prints when it runs alone."""
    command = [sys.executable, __file__, "--alone", what, *words]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def scaling() -> bool:
    """Print what a second core gives, and what small chunks cost."""
    frames = 20_000
    block, known = patterns(2000)
    values = np.tile(block.values.astype(np.uint16), (frames // 2000, 1))
    time_ = known["time"].values[0] + np.arange(frames) * np.timedelta64(10, "s")
    memory = as_intensity(values, time_)

    def track(chunk: int, **scheduler: Any) -> Callable[[], xr.Dataset]:
        lazy = track_peaks(memory.chunk(time=chunk), windows=WINDOWS)

        def work() -> xr.Dataset:
            with dask.config.set(**scheduler):
                return lazy.compute()

        return work

    alone, both = (
        min(wall_seconds(track(2048, scheduler="threads", num_workers=n)) for _ in range(5))
        for n in (1, 2)
    )
    text = f"{alone / both:.2f} x with 2 threads (wall)"
    good = report("peaks.threads", text, ">= 1.6", alone / both >= 1.6)
    # in turns, and the least of each: what else the machine does makes both slower
    works = [track(chunk, scheduler="synchronous") for chunk in (200, frames)]
    rounds = [[cpu_seconds(work, 1) for work in works] for _ in range(9)]
    small, large = np.min(rounds, axis=0)
    text = f"{100 * (small / large - 1):.1f} % CPU at chunks of 200 frames over one chunk"
    return report("peaks.chunks", text, "<= 6 %", bool(small / large <= 1.06)) & good


def wall_seconds(work: Callable[[], Any]) -> float:
    """Return the wall time of a call."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def machine() -> None:
    """Print how fast this core multiplies matrices."""
    a = np.random.default_rng(0).random((1000, 1000))
    rate = 2.0 / min(wall_seconds(lambda: a @ a) for _ in range(10))
    print(f"machine: {rate:.0f} GFlop/s (dgemm, one process)", flush=True)


def main() -> int:
    """Print every figure; return 1 when any falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--alone", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        alone: dict[str, Callable[..., None]] = {"first_call": first_call, "stream": stream}
        alone[asked.alone[0]](*asked.alone[1:])
        return 0
    warnings.simplefilter("ignore")
    machine()
    problem = Problem.of(2000)
    good = against(problem, asked.quick)
    good &= accuracy(problem)
    good &= identity(problem, asked.quick)
    good &= compiling()
    good &= streaming(asked.quick)
    if not asked.quick:  # wall time, and differences of a few per cent: for an idle machine
        good &= scaling()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
