"""Unit cells: two standards, measured at a synchrotron and in a laboratory, and simulated truth.

Usage: python benchmarks/lattice.py [--quick] [--data PATH]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

import operando
from measuring import cpu_seconds, report
from operando.observables import Doublet, Window, track_peaks
from operando.observables.lines.common_mode import ASSESSMENT, common_mode
from operando.observables.lines.lattice import lattice
from operando.observables.lines.lattice_systems import SYSTEMS

Array = npt.NDArray[np.float64]
Index = tuple[int, int, int]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NAC, NAC_WAVELENGTH = 10.251218, 0.413909
"""Na2Ca3Al2F14, from the structure beside the pattern; wavelength from its header."""
LAB6, CU = 4.156826, 1.5405929
"""SRM 660c, from its certificate; Cu K alpha1."""
METRICS = {
    "cubic": (1 / 8.2**2,),
    "tetragonal": (1 / 5.75**2, 1 / 9.5**2),
    "hexagonal": (4 / 3 / 2.87**2, 1 / 14.2**2),
    "rhombohedral": (0.06, -0.012),
    "orthorhombic": (1 / 10.33**2, 1 / 6.01**2, 1 / 4.69**2),
    "monoclinic": (0.043, 0.0129, 0.0447, 0.0286),
}
REFLECTIONS: list[Index] = [
    *((1, 0, 0), (0, 1, 1), (1, 1, 1), (0, 0, 3), (2, 1, 0), (1, 0, 4)),
    *((0, 2, 2), (1, 1, -3), (3, 0, 1), (2, 2, 1), (0, 4, 0), (1, -2, 3)),
]


def isolated(
    a: float, wavelength: float, *, low: float, high: float, room: float, body_centred: bool
) -> dict[str, tuple[Index, float]]:
    """Return name -> hkl and 2theta of cubic reflections with `room` degrees to the next."""
    squares = {
        sum(i * i for i in hkl): hkl
        for hkl in itertools.combinations_with_replacement(range(20, -1, -1), 3)
        if any(hkl) and not (body_centred and sum(hkl) % 2)
    }
    sines = {hkl: wavelength * np.sqrt(square) / (2 * a) for square, hkl in squares.items()}
    places = {h: float(np.degrees(2 * np.arcsin(s))) for h, s in sines.items() if s < 1}
    ordered = sorted(places.items(), key=lambda item: item[1])
    angles = np.array([angle for _, angle in ordered])
    apart = np.diff(angles, prepend=-np.inf, append=np.inf)
    alone = (np.minimum(apart[:-1], apart[1:]) > room) & (angles > low) & (angles < high)
    return {
        " ".join(map(str, hkl)): (hkl, angle)
        for (hkl, angle), kept in zip(ordered, alone, strict=True)
        if kept
    }


def synchrotron(data: Path) -> bool:
    """Refine NAC at 11-BM from every line of its own, split profiles below 10 degrees."""
    path = data / "formats/xrd/nac/11BM_NAC.fxye"
    frames = operando.read(path, tz="America/Chicago")
    lines = isolated(NAC, NAC_WAVELENGTH, low=2.5, high=42, room=0.12, body_centred=True)
    parts = []
    for profile, low, high in (("split_pseudo_voigt", 0, 10), ("pseudo_voigt", 10, 90)):
        windows = [
            Window(name, angle - 0.05, angle + 0.05, (angle,))
            for name, (_, angle) in lines.items()
            if low <= angle < high
        ]
        parts.append(
            track_peaks(
                frames["intensity"],
                windows=windows,
                sigma=frames["intensity_sigma"],
                profile=profile,
            )
        )
    numbers = ["centre", *(f"centre_sigma{part}" for part in ("", "_stat", "_syst"))]
    tracks = xr.concat([part[[*numbers, "assessment"]] for part in parts], "line").assign_attrs(
        axis="two_theta"
    )
    cell = lattice(
        tracks,
        hkl={name: hkl for name, (hkl, _) in lines.items()},
        system="cubic",
        wavelength=NAC_WAVELENGTH,
    ).isel(time=0)
    return standard("lattice.nac_11bm", cell, NAC, 20)


def laboratory(data: Path) -> bool:
    """Refine LaB6 on a laboratory diffractometer: doublet, asymmetric lines, displacement."""
    path = data / "formats/xrd/lab6/NIST660CBI.gsas"
    frames = operando.read(path, stamps="mtime", exposure_s=1.0)
    lines = isolated(LAB6, CU, low=20, high=123, room=1.5, body_centred=False)
    windows = [
        # alpha2 lies beyond alpha1 by 0.29 degrees times tan(theta)
        Window(name, angle - 0.7, angle + 0.7 + 0.3 * np.tan(np.radians(angle / 2)), (angle,))
        for name, (_, angle) in lines.items()
    ]
    tracks = track_peaks(
        frames["intensity"], windows=windows, profile="split_pseudo_voigt", doublet=Doublet()
    )
    cell = lattice(
        tracks,
        hkl={name: hkl for name, (hkl, _) in lines.items()},
        system="cubic",
        wavelength=CU,
        displacement="free",
    ).isel(time=0)
    return standard("lattice.lab6_laboratory", cell, LAB6, 100)


def standard(name: str, cell: xr.Dataset, truth: float, allowed: float) -> bool:
    """Report how far a lattice parameter is from that of the standard."""
    a = float(cell["a"])
    off = 1e6 * (a / truth - 1)
    stat, syst = (1e6 * float(cell[f"a_sigma_{part}"]) / a for part in ("stat", "syst"))
    told = (
        f"{off:+.1f} ppm of {truth} (stat {stat:.1f}, syst {syst:.1f}; {int(cell['lines'])} lines, "
        f"scatter {1e3 * float(cell['scatter']):.2f} mdeg)"
    )
    return report(name, told, f"within {allowed:g} ppm", abs(off) <= allowed)


def simulated(system: str, frames: int) -> xr.Dataset:
    """Lines of twelve strengths about the centres that a cell has."""
    rng = np.random.default_rng(len(system))
    squares = SYSTEMS[system].design(REFLECTIONS) @ np.array(METRICS[system])
    angles = np.degrees(2 * np.arcsin(0.4962 / 2 * np.sqrt(squares)))
    sigma = 1e-3 * np.geomspace(0.3, 3, angles.size)
    shape = (frames, angles.size)
    both = ("time", "line")
    return xr.Dataset(
        {
            "centre": (both, angles + sigma * rng.normal(size=shape)),
            "centre_sigma": (both, np.broadcast_to(sigma, shape).copy()),
            "area": (both, 100 + rng.normal(size=shape)),
            "area_sigma": (both, np.ones(shape)),
        },
        {
            "time": np.datetime64("2025-01-01", "ns") + np.arange(frames) * np.timedelta64(1, "s"),
            "line": [f"l{at}" for at in range(angles.size)],
        },
        {"axis": "two_theta"},
    )


def calibrated(system: str, frames: int) -> bool:
    """Compare cell parameters with truth, in their own sigma, with a displacement refined."""
    truth = SYSTEMS[system].values(np.array([METRICS[system]]))[0]
    found = lattice(
        simulated(system, frames),
        hkl={f"l{at}": hkl for at, hkl in enumerate(REFLECTIONS)},
        system=system,
        wavelength=0.4962,
        displacement="free",
    )
    names = [*SYSTEMS[system].names, "volume"]
    pulls = [
        float(((found[name] - value) / found[f"{name}_sigma"]).std())
        for name, value in zip(names, truth, strict=True)
    ]
    told = ", ".join(f"{name} {pull:.2f}" for name, pull in zip(names, pulls, strict=True))
    good = all(0.9 <= pull <= 1.1 for pull in pulls)
    return report(f"lattice.pulls_{system}", told, "0.9 to 1.1", good)


def speed(frames: int) -> bool:
    """Time the least symmetric system with a zero shift refined."""
    tracks = simulated("monoclinic", frames)
    hkl = {f"l{at}": index for at, index in enumerate(REFLECTIONS)}

    def work() -> xr.Dataset:
        return lattice(tracks, hkl=hkl, system="monoclinic", wavelength=0.4962, zero="free")

    work()
    each = 1e6 * cpu_seconds(work, 3) / frames
    return report("lattice.monoclinic_12_lines", f"{each:.0f} us a frame", "<= 100 us", each <= 100)


def silent(series: int) -> bool:
    """Count series of noise in which anything is called common, or different."""
    tracks = simulated("cubic", 100 * series)
    alarms = dict.fromkeys(list(ASSESSMENT)[1:], 0)
    for at in range(series):
        code = common_mode(tracks.isel(time=slice(100 * at, 100 * at + 100)))["assessment"].values
        for name in alarms:
            alarms[name] += bool((code & ASSESSMENT[name]).any())
    told = ", ".join(f"{name} {count}" for name, count in alarms.items())
    most = 0.01 * series + 3 * (0.01 * series) ** 0.5
    return report(
        "lattice.common_mode_false_alarms",
        f"{told} of {series} series",
        f"<= {most:.0f} each (1 %)",
        all(count <= most for count in alarms.values()),
    )


def main() -> int:
    """Print every figure; 1 when any falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=SHARED)
    asked = parser.parse_args()
    reached = []
    if (asked.data / "formats/xrd").is_dir():
        reached += [synchrotron(asked.data), laboratory(asked.data)]
    else:
        print(f"lattice.nac_11bm, lattice.lab6_laboratory: skipped, no {asked.data}")
    reached += [calibrated(system, 2000 if asked.quick else 20_000) for system in SYSTEMS]
    reached += [speed(2000 if asked.quick else 20_000), silent(200 if asked.quick else 1000)]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
