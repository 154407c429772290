"""Images to patterns: our kernel against pyFAI, two threads, and a stack that does not fit memory.

Usage: python benchmarks/integration.py [--quick]
Run with one thread (OMP_NUM_THREADS=1, OPENBLAS_NUM_THREADS=1): pyFAI's CSR uses OpenMP.

Both sides integrate the same Poisson images of a Pilatus 1M (1043 x 981) into 2000 bins with
solid angle, polarisation and Poisson errors. pyFAI's is `integrate1d`, bounding box, CSR, cython,
image after image. Ours is `integrate` on a Dataset: with the packing and unpacking of labels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from measuring import cpu_seconds, peak_megabytes, report
from operando.corrections.integration import integrate

Images = npt.NDArray[np.int32]

POINTS = 2000
SHAPE = (1043, 981)
PONI: dict[str, Any] = {
    "detector": "Pilatus1M",
    "detector_config": {"orientation": 3},
    "dist": 0.2,
    "poni1": 0.09,
    "poni2": 0.085,
    "rot1": 0.01,
    "rot2": -0.02,
    "rot3": 0.0,
    "wavelength": 0.5e-10,
}
OPTIONS: dict[str, Any] = {"poni": PONI, "points": POINTS, "unit": "two_theta"}
POLARIZATION = 0.99
MEGABYTE = 2**20
FRAME = SHAPE[0] * SHAPE[1] * 4 / MEGABYTE
BLOCK = 8


def pyfai() -> Any:
    """Return pyFAI's integrator of the same geometry."""
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    return AzimuthalIntegrator().set_config(PONI)


def rings(frames: int) -> Images:
    """Return Poisson images of a powder; the gaps of the detector read -1."""
    integrator = pyfai()
    angle = integrator.center_array(SHAPE, unit="2th_deg")
    expected = 20 + 300 * np.exp(-0.5 * np.square((angle % 3 - 1.5) / 0.05))
    rng = np.random.default_rng(0)
    images = np.stack([rng.poisson(expected) for _ in range(frames)]).astype(np.int32)
    images[:, integrator.detector.mask != 0] = -1
    return images


def series(images: Any) -> xr.Dataset:
    """Label images, a second apart."""
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    at = start + np.arange(images.shape[0]) * np.timedelta64(1, "s")
    pixels = {
        name: (name, np.arange(size), {"units": "pixel"})
        for name, size in zip(("row", "column"), SHAPE, strict=True)
    }
    times = dict.fromkeys(("time", "time_start", "time_end"), ("time", at))
    return xr.Dataset(
        {"intensity": (("time", "row", "column"), images, {"units": "count"})},
        {**times, **pixels},
        {"technique": "xrd_images", "dead_values": [-1, -2]},
    )


def ours(images: Any) -> xr.Dataset:
    """Integrate by the verb."""
    return integrate(series(images), **OPTIONS, polarization=POLARIZATION)


def theirs(integrator: Any, images: Images, algorithm: str = "csr") -> list[Any]:
    """Integrate by pyFAI, image after image."""
    return [
        integrator.integrate1d_ng(
            image,
            POINTS,
            unit="2th_deg",
            method=("bbox", algorithm, "cython"),
            error_model="poisson",
            polarization_factor=POLARIZATION,
        )
        for image in images
    ]


def compare(images: Images, repeats: int) -> bool:
    """Report agreement and the ratio of CPU times."""
    integrator = pyfai()
    pattern, expected = ours(images), theirs(integrator, images)
    apart = 0.0
    for name, attribute in (("intensity", "intensity"), ("intensity_sigma", "sigma")):
        values = pattern[name].values
        oracle = np.stack([getattr(result, attribute) for result in expected])
        there = np.isfinite(values) & (oracle != 0)
        apart = max(apart, float(np.abs(values[there] / oracle[there] - 1).max()))
    good = report("integration.agreement", f"{apart:.1e} relative", "<= 1e-6", apart <= 1e-6)
    theirs(integrator, images[:1], "csc")
    mine, csr, csc = [], [], []
    for _ in range(repeats):  # in turn, so that a busy neighbour is shared
        mine.append(cpu_seconds(lambda: ours(images), 1))
        csr.append(cpu_seconds(lambda: theirs(integrator, images), 1))
        csc.append(cpu_seconds(lambda: theirs(integrator, images, "csc"), 1))
    own, their, best = (1e3 * float(np.median(spent)) / len(images) for spent in (mine, csr, csc))
    ratio = their / own
    text = f"{ratio:.1f} x pyFAI bbox CSR ({own:.2f} ms a frame, pyFAI {their:.1f}, CSC {best:.1f})"
    good &= report("integration.speed", text, ">= 4", ratio >= 4)
    holed = images.copy()
    holed[:, 500, 500] = -2  # a pixel that the static mask does not know
    slow = 1e3 * cpu_seconds(lambda: ours(holed), repeats) / len(images)
    text = f"{their / slow:.1f} x pyFAI bbox CSR ({slow:.2f} ms a frame)"
    return good & report("integration.speed_dead_pixels", text, ">= 2", their / slow >= 2)


def wall_seconds(work: Callable[[], Any]) -> float:
    """Return the wall time of one call."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def bare(images: Images, threads: int) -> None:
    """Integrate blocks in threads without dask: what the machine can give at this moment."""
    blocks = [images[first : first + BLOCK] for first in range(0, len(images), BLOCK)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ours, blocks))


def scale(images: Images, repeats: int) -> bool:
    """Report how a second thread shortens a lazy stack, and that it changes nothing."""
    lazy = ours(da.from_array(images, (BLOCK, -1, -1)))
    eager = ours(images)
    good = True
    wall: dict[str, list[float]] = {}
    for _ in range(repeats):  # in turn, so that a busy neighbour is shared
        for threads in (1, 2):
            with ThreadPoolExecutor(threads) as pool, dask.config.set(pool=pool):
                wall.setdefault(f"dask {threads}", []).append(wall_seconds(lazy.compute))
            spent = wall_seconds(partial(bare, images, threads))
            wall.setdefault(f"bare {threads}", []).append(spent)
    for threads in (1, 2):
        with ThreadPoolExecutor(threads) as pool, dask.config.set(pool=pool):
            same = lazy.compute().identical(eager)
        good &= report(f"integration.same_bits_{threads}_threads", str(same), "True", same)
    best = {name: min(spent) for name, spent in wall.items()}
    ratio, possible = best["dask 1"] / best["dask 2"], best["bare 1"] / best["bare 2"]
    text = f"{ratio:.2f} x one thread (threads without dask {possible:.2f})"
    goal = ">= 1.6, or 0.9 of what threads without dask reach on a busy machine"
    reached = ratio >= min(1.6, 0.9 * possible)
    return good & report("integration.two_threads", text, goal, reached)


def stream(images: Images, frames: int) -> bool:
    """Report peak memory and time of a stack in HDF5, read and integrated block by block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stack.h5"
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", (frames, *SHAPE), "i4", chunks=(1, *SHAPE))
            for first in range(0, frames, len(images)):
                data[first : first + len(images)] = images[: frames - first]
        with h5py.File(path) as file:
            stack = da.from_array(file["data"], (BLOCK, -1, -1), lock=True)

            def work() -> None:
                with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
                    ours(stack).compute()

            ours(images[:1])  # matrix and machine code are there before the child is counted
            idle = peak_megabytes(lambda: None)
            before = time.perf_counter()
            peak = peak_megabytes(work)
            wall = time.perf_counter() - before
    size = frames * FRAME
    added = peak - idle
    text = (
        f"{added:.0f} MB above {idle:.0f} MB for a stack of {size:.0f} MB, "
        f"{frames / wall:.0f} frames/s with two threads"
    )
    bound = 8 * BLOCK * FRAME  # two blocks at work, two read ahead, and their patterns
    return report("integration.stack_memory", text, f"<= {bound:.0f} MB", added <= bound)


def main() -> int:
    """Run all; return 1 when a figure falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and frames")
    quick = parser.parse_args().quick
    images = rings(16 if quick else 32)
    good = compare(images, 3 if quick else 9)
    good &= scale(np.concatenate([images] * (2 if quick else 4)), 4 if quick else 12)
    good &= stream(images, 100 if quick else 500)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
