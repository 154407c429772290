"""EXAFS: batched background and shells against larch, memory, error bars, FEFF, and time.

Usage: python benchmarks/exafs.py [--quick]

Run with one thread for BLAS (OMP_NUM_THREADS=1, OPENBLAS_NUM_THREADS=1). The real series needs
../shared/data; the ratios are then those of its 1649 points as well as of simulated spectra.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from measuring import cpu_seconds, peak_megabytes, report
from operando.observables.autobk import background_removal
from operando.observables.exafs import track_exafs
from operando.observables.feff import feff_paths
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "operando" / "xas_ni_lno_rock"
E0 = 8345.0
SHELL = (1.0, 2.2)
STRUCTURE = """\
data_sodium_zirconium_phosphate
_cell_length_a 8.8043
_cell_length_b 8.8043
_cell_length_c 22.7585
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'R -3 c :H'
_symmetry_Int_Tables_number 167
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Zr1 Zr 0 0 0.1456
P1 P 0.2909 0 0.25
O1 O 0.1856 -0.0138 0.1950
O2 O 0.1904 0.1679 0.0866
"""


def simulated(points: int, count: int, *, noise: float = 1e-3) -> tuple[Array, Array]:
    """Return energies and spectra of step one: a shell at 2 and one at 3.2 angstrom."""
    energy = np.linspace(8145.0, 9345.0, points)
    k = np.sqrt(0.2624683 * np.clip(energy - E0, 0, None))
    chi = np.zeros_like(k)
    for number, r, s2 in ((6, 2.0, 0.005), (6, 3.2, 0.007)):
        size = number * 0.6 * np.exp(-(((k - 6) / 6) ** 2)) * k / (k**2 + 1) / r**2
        chi += size * np.exp(-2 * s2 * k**2 - r / 4) * np.sin(2 * k * r + 0.4 - 0.9 * k)
    edge = np.arctan((energy - E0 + 3) / 1.5) / np.pi + 0.5
    mu = edge + np.where(energy > E0, chi, 0)
    return energy, mu + noise * np.random.default_rng(0).standard_normal((count, points))


def wrap(energy: Array, mu: Array) -> xr.DataArray:
    """Return spectra as a series."""
    coords: dict[str, Any] = {"time": np.arange(len(mu)), "energy": energy}
    return xr.DataArray(mu, dims=("time", "energy"), coords=coords, name="mu")


def real() -> dict[str, tuple[Array, Array, float, tuple[float, float]]]:
    """Return energies, spectra, e0 and shell of the real series and its foil, if they are here."""
    files = sorted((SHARED / "XAS_normalized").glob("*.txt"))
    if not files:
        return {}
    table = [np.loadtxt(file, encoding="latin-1", usecols=(0, 1, 2)) for file in files]
    energy = np.ascontiguousarray(table[0][:, 0])
    sample, foil = (np.stack([one[:, column] for one in table]) for column in (1, 2))
    return {
        "lithium_nickel_oxide": (energy, sample, E0, SHELL),
        "nickel_foil": (energy, foil, 8333.0, (1.4, 2.8)),
    }


def by_larch(energy: Array, mu: Array, e0: float, *, transform: bool) -> list[Any]:
    """Return what larch makes of each spectrum."""
    xafs, new = larch("xafs"), larch("symboltable").Group
    groups = []
    for row in mu:
        group = new(energy=energy, mu=row)
        xafs.autobk(group, rbkg=1.0, kweight=2, ek0=e0, edge_step=1.0, clamp_lo=0, clamp_hi=1)
        if transform:
            xafs.xftf(group, kmin=3, kmax=12, dk=1, window="hanning", kweight=2)
        groups.append(group)
    return groups


def agreement(*, quick: bool) -> list[bool]:
    """Compare chi(k) and the amplitude of the first shell with those of larch."""
    sets = real()
    sets["simulated"] = (*simulated(1000, 8), E0, SHELL)
    reached = []
    for name, (energy, every, e0, shell) in sets.items():
        mu = every[:: max(len(every) // (8 if quick else 46), 1)]
        groups = by_larch(energy, mu, e0, transform=True)
        result = track_exafs(wrap(energy, mu), e0=e0, pre=None, post=None, shell=shell)
        theirs = np.stack([group.chi for group in groups]) * result["k"].values ** 2
        off = result["chi"].values * result["k"].values ** 2 - theirs
        seen = (result["k"].values >= 3) & (result["k"].values <= 12)
        factor = (off[:, seen] ** 2).sum(axis=1) / (theirs[:, seen] ** 2).sum(axis=1)
        r = groups[0].r
        inside = (r > shell[0]) & (r < shell[1])
        heights = np.array([group.chir_mag[inside].max() for group in groups])
        ours = result["chi_magnitude"].values[:, : r.size]
        ours = ours[:, inside[: ours.shape[1]]].max(axis=1)
        ratio = 100 * np.abs(ours / heights - 1).max()
        text = f"R-factor {factor.max():.1e}, amplitude {ratio:.2f} % ({len(mu)} spectra, worst)"
        good = factor.max() <= 2e-2 and ratio <= 1
        reached.append(report(f"exafs.as_larch_{name}", text, "<= 2e-2 and 1 %", bool(good)))
    return reached


def speed(*, quick: bool) -> list[bool]:
    """Compare CPU times with larch; beside them, what a dense product and reading alone take."""
    count = 2000 if quick else 10000
    sets = {f"{points}": (*simulated(points, count), E0) for points in (500, 2000)}
    for energy, mu, e0, _ in list(real().values())[:1]:
        sets[f"{energy.size}_real"] = (energy, np.tile(mu, (count // len(mu) + 1, 1))[:count], e0)
    reached = []
    for name, (energy, mu, e0) in sets.items():
        reached += compared(name, energy, mu, e0, repeats=3 if quick else 7)
    return reached


def compared(name: str, energy: Array, mu: Array, e0: float, *, repeats: int) -> list[bool]:
    """Compare the times of one set of spectra."""
    removal = background_removal(energy, e0=e0, rbkg=1.0, k_weight=2)
    frames, peer = wrap(energy, mu), mu[: 5 * repeats]
    track_exafs(frames[:16], e0=e0, pre=None, post=None)
    dense = np.ascontiguousarray(removal.matrix().T)
    used = np.ascontiguousarray(mu[:, removal.first :])
    times = {
        what: cpu_seconds(work, repeats) / len(mu)
        for what, work in (
            ("autobk", lambda: removal.chi(mu)),
            ("shell", lambda: track_exafs(frames, e0=e0, pre=None, post=None)),
            ("product", lambda: used @ dense),
            ("reading", lambda: mu.sum()),
        )
    }
    reached = []
    for what, goal in (("autobk", 300), ("shell", 150)):
        transform = what == "shell"

        def theirs(transform: bool = transform) -> None:
            by_larch(energy, peer, e0, transform=transform)

        larchs = cpu_seconds(theirs, repeats) / len(peer)
        ratio = larchs / times[what]
        text = f"{ratio:.0f} x larch ({1e6 * times[what]:.1f} us, larch {1e3 * larchs:.1f} ms)"
        if what == "autobk":
            limits = (1e6 * times[limit] for limit in ("product", "reading"))
            text += "; dense product {:.1f}, reading alone {:.1f} us".format(*limits)
        reached.append(report(f"exafs.{what}_{name}", text, f">= {goal} x", ratio >= goal))
    return reached


def memory(*, quick: bool) -> list[bool]:
    """Report the peak of one chunk, input and results included, in units of the input."""
    energy, mu = simulated(2000, 2000 if quick else 8000)
    frames = wrap(energy, mu)
    track_exafs(frames[:16], e0=E0, pre=None, post=None)
    idle = peak_megabytes(lambda: None)
    busy = peak_megabytes(lambda: track_exafs(frames, e0=E0, pre=None, post=None))
    size = mu.nbytes / 2**20
    ratio = 1 + (busy - idle) / size
    text = f"{ratio:.2f} x the chunk of {size:.0f} MB"
    return [report("exafs.memory", text, "<= 3 x", ratio <= 3)]


def calibration(*, quick: bool) -> list[bool]:
    """Report the scatter of (found - truth) / sigma, sigma from R = 15-25 angstrom."""
    reached = []
    for noise in (3e-4, 2e-3):
        energy, mu = simulated(1200, 500 if quick else 4000, noise=noise)
        settings: dict[str, Any] = {"e0": E0, "pre": None, "post": None}
        truth = track_exafs(wrap(energy, simulated(1200, 1, noise=0.0)[1]), **settings, sigma=1.0)
        result = track_exafs(wrap(energy, mu), **settings)
        pulls = [
            float(((result[name] - truth[name].item()) / result[f"{name}_sigma"]).std())
            for name in ("amplitude", "centroid", "phase")
        ]
        text = ", ".join(f"{pull:.2f}" for pull in pulls)
        good = all(0.9 < pull < 1.1 for pull in pulls)
        reached.append(report(f"exafs.pulls_noise_{noise:g}", text, "0.9-1.1", good))
    return reached


def paths() -> list[bool]:
    """Report the time for the paths of zirconium in NaZr2(PO4)3, process and all."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "structure.cif"
        file.write_text(STRUCTURE, encoding="utf-8")
        begin = time.perf_counter()
        found = feff_paths(file, absorber="Zr", cluster=6.5)
        passed = time.perf_counter() - begin
    text = f"{passed:.1f} s for {len(found)} paths, the first {found[0].label}"
    return [report("exafs.feff_nasicon", text, "<= 10 s", passed <= 10)]


def main() -> int:
    """Print every figure; 1 when one falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="within a minute")
    quick = parser.parse_args().quick
    reached = [
        *agreement(quick=quick),
        *speed(quick=quick),
        *memory(quick=quick),
        *calibration(quick=quick),
        *paths(),
    ]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
