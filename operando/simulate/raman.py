"""Raman spectra of the three layers of a simulated cell, as LabSpec text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.simulate.noise import Array, counts, uniform

LIVE_S = 60.0
ACCUMULATIONS = 2
EXPOSURE_S = LIVE_S * ACCUMULATIONS
FULL_S = 125.0
"""Duration of a measurement with its read-outs."""
SHIFT: Array = np.rint((400.0 + 1.3356 * np.arange(600)) * 100.0) / 100.0
"""In 1/cm."""
RAY = 6000.0
"""Counts that a cosmic ray leaves in one pixel."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A Lorentzian band."""

    centre: float
    width: float
    """Full width at half maximum, in 1/cm."""
    height: float


def layer(name: str, state: float) -> tuple[Band, ...]:
    """Return the bands of a layer at a state of charge (0 to 1).

    PE, the positive electrode: two bands that fade and shift on charge and come back. SSE, the
    solid electrolyte, and NE, the negative electrode with a carbonate band: nothing changes.
    """
    if name == "PE":
        fade = 1.0 - 0.6 * state
        return (
            Band(centre=482.0 - 3.0 * state, width=26.0, height=700.0 * fade),
            Band(centre=590.0 + 6.0 * state, width=34.0, height=1400.0 * fade),
        )
    if name == "SSE":
        return (
            Band(centre=424.0, width=38.0, height=420.0),
            Band(centre=578.0, width=30.0, height=160.0),
            Band(centre=928.0, width=36.0, height=360.0),
            Band(centre=1012.0, width=30.0, height=950.0),
            Band(centre=1062.0, width=28.0, height=260.0),
        )
    if name == "NE":
        return (Band(centre=1080.0, width=16.0, height=180.0),)
    raise ValueError(f"layer: {name!r}; expected PE, SSE or NE")


def expected(bands: tuple[Band, ...]) -> Array:
    """Return the expected counts: bands on a broad fluorescence."""
    spectrum: Array = 500.0 + 350.0 * np.exp(-0.5 * ((SHIFT - 650.0) / 420.0) ** 2)
    for band in bands:
        spectrum = spectrum + band.height / (1.0 + (2.0 * (SHIFT - band.centre) / band.width) ** 2)
    return spectrum


def spectrum(
    bands: tuple[Band, ...], *, local: str, title: str, ray: bool, bits: np.random.PCG64
) -> tuple[bytes, float | None]:
    """Return one spectrum, and where a cosmic ray hit it.

    Parameters
    ----------
    local
        Start of the measurement by the computer's clock, as 04.05.2026 10:03:18.
    """
    drawn = counts(bits, expected(bands))
    [place] = np.floor(uniform(bits, 1) * SHIFT.size).astype(int)
    if ray:
        drawn[place] += RAY
    rows = "".join(
        f"{shift:.6g}\t{value:.0f}\n"
        for shift, value in zip(SHIFT.tolist(), drawn.tolist(), strict=True)
    )
    written = (_header(local=local, title=title) + rows).encode("latin-1")
    return written, float(SHIFT[place]) if ray else None


def _header(*, local: str, title: str) -> str:
    minutes, seconds = divmod(int(FULL_S), 60)
    facts = {
        "Acq. time (s)": f"{LIVE_S:.0f}",
        "Accumulations": f"{ACCUMULATIONS}",
        "Spike filter": "Off",
        "DeNoise": "Off",
        "Dark correction": "Off",
        "Instrument": "simulated by operando",
        "Objective": "x50_VISwld",
        "Grating": "600 (500nm)",
        "ND Filter": "10%",
        "Laser": "532nm_Edge",
        "X (\u00b5m)": "0.0",
        "Y (\u00b5m)": "0.0",
        "Full time(mm:ss)": f"{minutes}:{seconds:02d}",
        "Title": title,
        "Date": local[:-3],
        "Acquired": local,
    }
    return "".join(f"#{key}=\t{value}\n" for key, value in facts.items())
