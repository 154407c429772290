"""Zr K XANES of a solid electrolyte that is partly reduced to metal, as CLAESS text."""

from __future__ import annotations

import numpy as np

from operando.simulate.noise import Array, counts

ION_EV = 18003.0
"""Edge of Zr4+ in the electrolyte."""
METAL_EV = 17998.0
"""Edge of Zr metal."""

DWELL_S = 0.5
"""Time of a point, with the motion to it."""
LIVE_S = 0.45
ABOVE_EDGE = 18050.0
PHOTONS = 1.5e7
"""At the first detector in one point."""

ENERGY: Array = np.concatenate(
    [
        np.arange(17850.0, 17970.0, 6.0),
        np.arange(17970.0, 18060.0, 0.75),
        np.arange(18060.0, 18150.0, 2.5),
        np.arange(18150.0, 18450.1, 6.0),
    ]
)
"""Encoder energies in eV; the set points are 0.3 eV lower."""
SCAN_S = DWELL_S * (ENERGY.size - 1) + LIVE_S


def ion(energy: Array) -> Array:
    """Return the normalised spectrum of Zr4+: arctangent, white line, one oscillation (made up)."""
    return _edge(energy, ION_EV, 3.0) + _line(energy, ION_EV + 9.0, 7.0, 0.55) + _wave(energy, 60.0)


def metal(energy: Array) -> Array:
    """Return the normalised spectrum of Zr metal: an edge with two weak maxima (made up)."""
    return (
        _edge(energy, METAL_EV, 3.5)
        + _line(energy, METAL_EV + 9.0, 6.0, 0.12)
        + _line(energy, METAL_EV + 26.0, 9.0, 0.10)
        + _wave(energy, 45.0)
    )


def absorption(energy: Array, *, fraction: float) -> Array:
    """Return mu of a sample of which `fraction` of the Zr is metal: step 0.8 on a falling slope."""
    normalised = (1.0 - fraction) * ion(energy) + fraction * metal(energy)
    return 1.2 - 6e-4 * (energy - ION_EV) + 0.8 * normalised


def scan(
    *, fraction: float, unix: float, ring_ma: float, name: str, bits: np.random.PCG64
) -> bytes:
    """Return one scan as CLAESS extracts it, a column a detector, with the time of every point.

    Parameters
    ----------
    unix
        Start, in seconds since 1970 UTC.
    ring_ma
        Current of the storage ring, which the flux follows.
    """
    flux = np.full(ENERGY.size, PHOTONS * ring_ma / 250.0)
    through = flux * np.exp(-absorption(ENERGY, fraction=fraction))
    beyond = through * np.exp(-0.3 - 0.5 * metal(ENERGY))
    detectors = counts(bits, np.stack([flux, through, beyond]))
    return (_header(name) + _rows(detectors, unix, ring_ma)).encode("ascii")


def _rows(detectors: Array, unix: float, ring_ma: float) -> str:
    stamps = unix + DWELL_S * np.arange(ENERGY.size)
    lines = [
        f"{point} {energy - 0.3:.2f} {energy:.2f} {LIVE_S} {i0 * 2.5e-7:.8f} {i1 * 2.5e-7:.8f} "
        f"{i2 * 2.5e-7:.8f} {ring_ma:.2f} {stamp:.3f} "
        for point, (energy, i0, i1, i2, stamp) in enumerate(
            zip(ENERGY.tolist(), *detectors.tolist(), stamps.tolist(), strict=True)
        )
    ]
    return "\n".join(lines) + "\n"


def _header(name: str) -> str:
    return (
        "#S 0 Fake Scan\n"
        "#S 1 Extracted scans: [1]\n"
        "#C InputFile: simulated by operando, no real beamline\n"
        f"#C Sample Description: {name}\n"
        "#C TimeStamp column is calculated by start time + dt\n"
        "#L Pt_No  energy  energyc  a_i0i1_timer  a_i0_1  a_i1_1  a_i2_1  sr_i_1  timestamp\n"
    )


def _edge(energy: Array, centre: float, width: float) -> Array:
    edge: Array = 0.5 + np.arctan((energy - centre) / width) / np.pi
    return edge


def _line(energy: Array, centre: float, width: float, height: float) -> Array:
    line: Array = height * np.exp(-0.5 * ((energy - centre) / width) ** 2)
    return line


def _wave(energy: Array, length: float) -> Array:
    """Return a fading oscillation that begins above the edge, in place of the EXAFS."""
    beyond = np.maximum(energy - ABOVE_EDGE, 0.0)
    wave: Array = 0.06 * np.sin(2.0 * np.pi * beyond / length) * np.exp(-beyond / 120.0)
    return wave
