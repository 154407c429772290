"""Absorption edges: the batch path against larch one by one, memory, and what the machine can do.

Usage: python benchmarks/xas.py [--quick]
Run with one thread for BLAS (OMP_NUM_THREADS=1, OPENBLAS_NUM_THREADS=1).

Both sides see the same noisy Ni K spectra on one grid. Ours is one call of the kernel behind
`track_edge`: normalisation, noise, half-height, integral, white line, step, all with sigma, nine
normalisations for the spread, and the test for two maxima. larch's is `preedge` and `find_e0`, or
`pre_edge`, one spectrum after the other.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import xarray as xr

import operando
from measuring import cpu_seconds, peak_megabytes, report
from operando.corrections.normalisation import normalise, normalised
from operando.observables.edge_kernel import HALF, INTEGRAL, measure
from operando.observables.edge_plan import plan_edges
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

E0 = 8345.0
RANGES: dict[str, Any] = {"e0": E0, "pre": (-150, -40), "post": (60, 600), "degree": 2}
SHIFT = 0.5
NOISE = 1e-3
GRIDS = {500: 2.0, 2000: 0.5}
GOALS = {500: (100, 250), 2000: (75, 150)}
"""Ratio to `preedge` and `find_e0`, and to `pre_edge`."""
MEGABYTE = 2**20


def spectra(count: int, points: int, seed: int = 0) -> tuple[Array, Array]:
    """Return energies and spectra on a slope, shifted little by little to `SHIFT`."""
    rng = np.random.default_rng(seed)
    energy = 8060.0 + GRIDS[points] * np.arange(points)
    shift = np.linspace(0, SHIFT, count)[:, None]
    from_edge = energy - E0 - shift
    mu: Array = 1.0 - 3e-4 * (energy - E0) + 0.8 * (np.arctan(from_edge / 2.0) / np.pi + 0.5)
    mu += 0.25 * np.exp(-np.square((from_edge - 5.0) / 3.0))
    mu += NOISE * rng.standard_normal(mu.shape)
    return np.asarray(energy, dtype=np.float64), mu


def series(energy: Array, mu: Any) -> xr.DataArray:
    """Label spectra, a minute apart."""
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    time = start + np.arange(mu.shape[0]) * np.timedelta64(60, "s")
    axis = ("energy", energy, {"units": "eV"})
    return xr.DataArray(mu, dims=("time", "energy"), coords={"time": time, "energy": axis})


def limits() -> tuple[float, float]:
    """Print and return what one core does at most: GFLOP/s in GEMM and GB/s read from memory."""
    square = np.random.default_rng(0).standard_normal((1200, 1200))
    flops = 2 * 1200**3 / cpu_seconds(lambda: square @ square, 5) / 1e9
    row = np.ones(2**25)
    bandwidth = row.nbytes / cpu_seconds(row.sum, 5) / 1e9
    print(f"xas.machine: {flops:.0f} GFLOP/s in GEMM, {bandwidth:.1f} GB/s read, one core")
    return flops, bandwidth


def speed(points: int, *, quick: bool, machine: tuple[float, float]) -> list[bool]:
    """Time the kernel, the whole verb and larch on one grid; the answers are compared."""
    count, few = (2_000, 60) if quick else (10_000, 200)
    energy, mu = spectra(count, points)
    plan = plan_edges(
        energy,
        e0=E0,
        ranges=(RANGES["pre"], RANGES["post"]),
        degree=2,
        level=0.5,
        band=(0.15, 1.0),
        window=(-30.0, 30.0),
    )
    frames = series(energy, mu)
    chosen = mu[:: count // few]
    pairs, whole = _larch_loops(energy, chosen)
    numbers = measure(plan, mu)
    operando.track_edge(frames[:8], **RANGES)  # compiles
    pairs(), whole()
    repeats = 3 if quick else 7
    ours = cpu_seconds(lambda: measure(plan, mu), repeats) / count
    verb = cpu_seconds(lambda: operando.track_edge(frames, **RANGES), repeats) / count
    simple = cpu_seconds(pairs, repeats) / len(chosen)
    full = cpu_seconds(whole, repeats) / len(chosen)
    again = cpu_seconds(lambda: measure(plan, mu), repeats) / count
    ours = float(np.median([ours, again]))
    low, high = GOALS[points]
    reached = [
        report(
            f"xas.edges_{points}",
            f"{simple / ours:.0f} x larch preedge and find_e0 ({1e6 * ours:.1f} us against "
            f"{1e6 * simple:.0f} us a spectrum)",
            f">= {low}",
            simple / ours >= low,
        ),
        report(
            f"xas.edges_{points}_pre_edge",
            f"{full / ours:.0f} x larch pre_edge with e0 given ({1e6 * full:.0f} us, with flat)",
            f">= {high}",
            full / ours >= high,
        ),
        _agreement(points, energy, chosen, numbers),
    ]
    gflops, bandwidth = machine
    products = 2 * (6 * (plan.lines[0] != 0).any(0).sum() + 3 * (plan.heights[0] != 0).sum())
    print(
        f"xas.limit_{points}: reads {points * 8 / ours / 1e9:.2f} GB/s, "
        f"{points * 8 / ours / 1e7 / bandwidth:.0f} % of the memory's; a bare GEMM of its weights "
        f"would take {products / gflops / 1e3:.2f} us, and reading it "
        f"{points * 8 / bandwidth / 1e3:.2f} us"
    )
    print(
        f"xas.track_edge_{points}: {1e6 * verb:.1f} us a spectrum for the whole verb, with "
        f"chi-square against the baseline: {simple / verb:.0f} x larch preedge and find_e0"
    )
    return reached


def _larch_loops(energy: Array, mu: Array) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the loops over `preedge` + `find_e0`, and over `pre_edge`."""
    preedge, pre_edge, find_e0 = (
        getattr(larch("xafs.pre_edge"), name) for name in ("preedge", "pre_edge", "find_e0")
    )
    group = larch("symboltable").Group
    keys: dict[str, Any] = {"e0": E0, "pre1": -150, "pre2": -40, "norm1": 60, "norm2": 600}
    keys |= {"nnorm": 2, "npre": 1}

    def pairs() -> list[Any]:
        return [(preedge(energy, y, **keys, nvict=0), find_e0(energy, y)) for y in mu]

    def whole() -> None:
        for y in mu:
            pre_edge(group(energy=energy, mu=y), **keys)

    return pairs, whole


def _agreement(points: int, energy: Array, mu: Array, numbers: Array) -> bool:
    """Check the same spectra against larch, and the shift against what was put in."""
    found = _larch_loops(energy, mu)[0]()
    norm = normalise(energy, mu, **RANGES).norm
    worst = max(
        float(np.abs(row - theirs["norm"]).max())
        for row, (theirs, _) in zip(norm, found, strict=True)
    )
    values = len({float(e0) for _, e0 in found})
    edges = len(numbers) // 50
    wrong = [
        float(np.mean(numbers[-edges:, column]) - np.mean(numbers[:edges, column])) - SHIFT * 0.98
        for column in (HALF, INTEGRAL)
    ]
    return report(
        f"xas.agreement_{points}",
        f"normalised within {worst:.0e} of larch; a drift of {SHIFT} eV: half-height "
        f"{1e3 * wrong[0]:+.1f} meV, integral {1e3 * wrong[1]:+.1f} meV off (find_e0: {values} "
        "values)",
        "<= 1e-10",
        worst <= 1e-10,
    )


def chunk_memory(*, quick: bool) -> list[bool]:
    """Measure the memory of one chunk of spectra: what the work takes beside its input."""
    energy, mu = spectra(20_000 if quick else 60_000, 500)
    frames = series(energy, mu)
    size = mu.nbytes / MEGABYTE
    reached = []
    works: dict[str, Callable[[], Any]] = {
        "track_edge": lambda: operando.track_edge(frames, **RANGES),
        "normalised": lambda: normalised(frames, **RANGES),
    }
    for name, work in works.items():
        work()
        rest = peak_megabytes(lambda: None)
        share = (peak_megabytes(work) - rest) / size + 1
        reached.append(
            report(
                f"xas.memory_{name}",
                f"{share:.2f} x the chunk of {size:.0f} MB, itself included",
                "<= 3",
                share <= 3,
            )
        )
    return reached


def from_zarr(*, quick: bool) -> list[bool]:
    """Track the edges of a long series from disk with threads."""
    count, chunk = (20_000, 2_000) if quick else (100_000, 2_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.zarr"
        for start in range(0, count, 10_000):
            energy, mu = spectra(10_000, 500, seed=start)
            part = series(energy, mu).to_dataset(name="mu")
            part["time"] = part["time"] + np.timedelta64(60 * start, "s")
            how: dict[str, Any] = {"append_dim": "time"} if start else {"mode": "w"}
            if not start:
                how["encoding"] = {"mu": {"chunks": (chunk, 500)}}
            part.to_zarr(path, consolidated=False, zarr_format=3, **how)

        def work() -> None:
            with dask.config.set(scheduler="threads", num_workers=2):
                frames = xr.open_zarr(path, consolidated=False)
                operando.track_edge(frames["mu"], **RANGES).compute()

        peak = peak_megabytes(work)
    return [
        report(
            "xas.zarr",
            f"{peak:.0f} MB peak for {count} spectra x 500 ({count * 4000 / MEGABYTE:.0f} MB) "
            "with two threads, Python included",
            "< 1000 MB",
            peak < 1000,
        )
    ]


def main() -> int:
    """Print every figure; 1 when one falls short of its goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    quick = parser.parse_args().quick
    # Memory first: larch is not loaded then.
    reached = from_zarr(quick=quick) + chunk_memory(quick=quick)
    machine = limits()
    for points in GRIDS:
        reached += speed(points, quick=quick, machine=machine)
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
