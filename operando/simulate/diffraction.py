"""Powder patterns of a simulated cell, as MSPD text (.xye)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from operando.simulate.noise import Array, counts

WAVELENGTH = 0.4962
"""In angstrom: 25 keV."""
TWO_THETA: Array = 3.0 + 0.012 * np.arange(1500, dtype=np.float64)
FWHM = 0.060
LORENTZIAN = 0.4
"""Part of the profile that is Lorentzian."""
EXPOSURE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """A reflection."""

    spacing: float
    """In angstrom."""
    area: float
    """In counts times degree."""


ELECTROLYTE = tuple(
    Line(spacing=spacing, area=area)
    for spacing, area in (
        (6.52, 260.0),
        (4.660, 900.0),
        (4.549, 750.0),
        (3.905, 1100.0),
        (3.240, 420.0),
        (2.972, 1300.0),
        (2.633, 1250.0),
        (2.589, 800.0),
        (2.274, 240.0),
        (1.951, 520.0),
        (1.869, 700.0),
        (1.654, 300.0),
    )
)
"""Lines of Na3Zr2Si2PO12, near where they are; they never change."""


def electrode(state: float) -> Line:
    """Return the basal reflection of the electrode, whose layers open on charge and close again."""
    return Line(spacing=5.30 + 0.25 * state, area=650.0)


def new_phase(amount: float) -> tuple[Line, Line]:
    """Return the first two orders of a layered product: spacings 7.20 and 3.60 angstrom."""
    return (Line(spacing=7.20, area=150.0 * amount), Line(spacing=3.60, area=70.0 * amount))


def angle(spacing: float) -> float:
    """Return 2 theta in degree after Bragg."""
    return float(np.degrees(2.0 * np.arcsin(WAVELENGTH / (2.0 * spacing))))


def expected(lines: Sequence[Line], *, monitor: float = 1.0) -> Array:
    """Return the expected counts: pseudo-Voigt lines on a falling background with a broad hump."""
    background = 900.0 + 1500.0 * np.exp(-(TWO_THETA - 3.0) / 5.0)
    background += 350.0 * np.exp(-0.5 * ((TWO_THETA - 8.5) / 2.5) ** 2)
    pattern: Array = background.copy()
    for line in lines:
        pattern += line.area * _profile(TWO_THETA - angle(line.spacing))
    return monitor * pattern


def pattern(lines: Sequence[Line], *, local: str, name: str, bits: np.random.PCG64) -> bytes:
    """Return one pattern as mythproc writes it: header, number of rows, position, counts, sigma.

    Parameters
    ----------
    local
        Start of the exposure by the beamline's clock, as 2026-05-04_05:48:41.
    """
    drawn = counts(bits, expected(lines))
    header = (
        f"# {name} : simulated by operando, no real beamline\n"
        "# IsMon = [6743000]  IsPos = [-1.5000]\n"
        f"# Wave = {WAVELENGTH:.4f}  CalPath simulated\n"
        f"# Date = {local} Dt = {EXPOSURE_S:.4f}  Bin = 0.0120  <imon> = 6743000 +/- 0\n"
        f"#      {TWO_THETA.size}\n"
    )
    rows = [
        f" {position:.7E}  {value:.7E}  {sigma:.7E}"
        for position, value, sigma in zip(
            TWO_THETA.tolist(), drawn.tolist(), np.sqrt(drawn).tolist(), strict=True
        )
    ]
    return (header + "\n".join(rows) + "\n").encode("ascii")


def _profile(offset: Array) -> Array:
    """Return a pseudo-Voigt profile of unit area."""
    x = offset / FWHM
    gaussian = np.sqrt(4.0 * np.log(2.0) / np.pi) * np.exp(-4.0 * np.log(2.0) * x**2)
    lorentzian = 2.0 / np.pi / (1.0 + 4.0 * x**2)
    profile: Array = (LORENTZIAN * lorentzian + (1.0 - LORENTZIAN) * gaussian) / FWHM
    return profile
