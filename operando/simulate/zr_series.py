"""Zr K XANES at the interface and in the bulk of a solid electrolyte, with all that misleads.

In memory, for tests and benchmarks: what a paper would have to recover (the part of the Zr that is
metal) under what it would have to survive: a monochromator that drifts, beam damage that follows
the dose, noise, and an energy step as coarse as micro-XANES has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.simulate.noise import Array, normal, stream
from operando.simulate.scenario import CELL, START, ZR_ONSET_MAH, metal_fraction
from operando.simulate.xanes import ION_EV, ion, metal

ENERGY: Array = np.arange(17850.0, 18650.5, 1.0)
SPOTS = ("interface", "bulk")
SCAN_S = 240.0
PERIOD_S = 255.0
SCANS = 264
"""Of both spots in turn: they span the whole schedule of the cell."""
STEP = 0.8
JITTER_EV = 0.02
"""Of the energy from scan to scan, as real quick monochromators have it."""
DAMPING = 0.03
"""Part of the white line that beam damage has taken from a spot by the end."""


@dataclass(frozen=True)
class Series:
    """A simulated experiment and its truth."""

    frames: xr.Dataset
    """`mu` and `mu_reference` (Zr foil) on time and energy, `position` interface or bulk."""
    clean: xr.DataArray
    """`mu` as it would be without noise, at the true energies."""
    log: xr.Dataset
    """The potentiostat's, before `prepare`."""
    fraction: Array
    """Part of the Zr that is metal in every frame, 0 in the bulk, (n,)."""
    drift: Array
    """How far the energies of every frame are too high, eV, (n,)."""
    dose: Array
    """Damage of every frame, 0 to 1, (n,)."""
    onset: np.datetime64
    """When reduction begins."""


def zr_series(
    *, noise: float, seed: int, drift_ev: float = 0.3, damping: float = DAMPING
) -> Series:
    """Simulate one experiment.

    The metal follows the charge passed from `ZR_ONSET_MAH` on, as in the example cell, so it stands
    still while the cell rests. Damage follows the exposure of each spot alone.

    Parameters
    ----------
    noise
        White, of a point of either channel, in edge steps.
    drift_ev
        The energy wanders slowly within plus and minus this, besides `JITTER_EV`.
    damping
        See `DAMPING`; the same at both spots.
    """
    bits = stream(seed, 40)
    start = np.asarray(300.0 + PERIOD_S * np.arange(SCANS), np.float64)
    middle = start + SCAN_S / 2
    spot = np.arange(SCANS, dtype=np.intp) % len(SPOTS)
    passed = CELL.passed_mah(middle)
    fraction = np.where(spot == 0, [metal_fraction(float(charge)) for charge in passed], 0.0)
    dose = np.asarray((np.arange(SCANS) // len(SPOTS) + 0.5) / (SCANS / len(SPOTS)), np.float64)
    drift = drift_ev * _wander(bits, SCANS) + JITTER_EV * normal(bits, SCANS)
    shifted = ENERGY[None] - drift[:, None]
    background = 1.2 - 6e-4 * (ENERGY - ION_EV)
    scatter = noise * normal(bits, (2, SCANS, ENERGY.size))
    mu = background + STEP * (_mixed(shifted, fraction, damping * dose) + scatter[0])
    clean = background + STEP * _mixed(
        np.broadcast_to(ENERGY, shifted.shape), fraction, damping * dose
    )
    reference = 0.4 - 2e-4 * (ENERGY - ION_EV) + 0.5 * (metal(shifted) + scatter[1])
    frames = _frames(mu, reference, start, spot)
    return Series(
        frames=frames,
        clean=frames["mu"].copy(data=clean),
        log=_log(),
        fraction=fraction,
        drift=drift,
        dose=dose,
        onset=_stamps(np.array([CELL.moment_of(ZR_ONSET_MAH)]))[0],
    )


def pristine(energy: Array) -> Array:
    """Return the normalised spectrum of the electrolyte before any damage."""
    return ion(energy)


def damage(energy: Array) -> Array:
    """Return what full damage would add to the normalised spectrum: its white line, taken away."""
    lost: Array = -0.55 * np.exp(-0.5 * ((energy - ION_EV - 9.0) / 7.0) ** 2)
    return lost


def _mixed(energy: Array, fraction: Array, damaged: Array) -> Array:
    """Return normalised spectra (n, m) of electrolyte, damaged in part, and metal."""
    electrolyte = pristine(energy) + damaged[:, None] * damage(energy)
    return (1 - fraction)[:, None] * electrolyte + fraction[:, None] * metal(energy)


def _wander(bits: np.random.PCG64, count: int) -> Array:
    """Return a wander between -1 and 1 whose slope is a random walk, as when a hutch warms up."""
    walk = np.cumsum(np.cumsum(normal(bits, count)))
    walk -= np.linspace(walk[0], walk[-1], count)
    return np.asarray(walk / np.abs(walk).max())


def _stamps(seconds: Array) -> npt.NDArray[np.datetime64]:
    origin = np.datetime64(START.replace(tzinfo=None), "ns")
    return np.asarray(origin + np.round(seconds * 1e9).astype("m8[ns]"))


def _frames(mu: Array, reference: Array, start: Array, spot: npt.NDArray[np.intp]) -> xr.Dataset:
    names = np.array(SPOTS)[spot]
    return xr.Dataset(
        {
            "mu": (("time", "energy"), mu, {"units": "1", "mode": "transmission"}),
            "mu_reference": (("time", "energy"), reference, {"units": "1"}),
        },
        {
            "time": _stamps(start + SCAN_S / 2),
            "time_start": ("time", _stamps(start)),
            "time_end": ("time", _stamps(start + SCAN_S)),
            "energy": ("energy", ENERGY, {"units": "eV"}),
            "position": ("time", names),
        },
        {"technique": "xas", "element": "Zr", "edge": "K", "clock": '{"sigma_s": 0.0}'},
    )


def _log() -> xr.Dataset:
    """Return the record of the cell every 10 s, and on either side of every step."""
    edges = np.concatenate([CELL.bounds[1:-1] - 1e-3, CELL.bounds[1:-1] + 1e-3])
    seconds = np.unique(np.concatenate([np.arange(0.0, CELL.bounds[-1], 10.0), edges]))
    return xr.Dataset(
        {
            "voltage": ("time", CELL.voltage(seconds), {"units": "V"}),
            "current": (
                "time",
                1e-3 * CELL.current_ma(seconds),
                {"units": "A", "averaging": "instantaneous"},
            ),
        },
        {"time": _stamps(seconds)},
        {
            "technique": "electrochemistry",
            "current_sign": "oxidation_positive",
            "clock": '{"sigma_s": 0.0}',
        },
    )
