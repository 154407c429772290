"""Raman bands of the layers of a cell that is swept: what breathes, what stays, what grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.simulate.noise import Array, counts, uniform
from operando.simulate.raman import Band, layer

SHIFT: Array = np.rint((400.0 + 1.35 * np.arange(620)) * 100.0) / 100.0
"""In 1/cm."""
ANION = Band(centre=920.0, width=6.0, height=420.0)
"""A sharp band of the positive electrode that is gone when it is oxidised and comes back."""
PRODUCT = Band(centre=704.0, width=22.0, height=170.0)
"""What the reduced electrolyte leaves in the positive electrode; it never goes away."""
REDOX_V, WIDTH_V, HYSTERESIS_V = 3.10, 0.11, 0.05
BRIGHTNESS = 4.0
"""Counts here over those of `operando.simulate.raman`."""
RAY_SHARE = 0.35
RAY_SIGMAS = (9.0, 80.0)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a spectrum depends on."""

    oxidised: float
    """Part of the positive electrode, 0 to 1."""
    product: float
    """Amount of the product, 0 to 1."""
    focus: float
    """Part of the light that is collected, of bands and fluorescence alike."""
    drift: float
    """How far the spectrometer has drifted, in 1/cm."""


def oxidised(volts: Array, *, way: Array) -> Array:
    """Return which part of the electrode is oxidised at a potential swept up (1) or down (-1)."""
    centre = REDOX_V + HYSTERESIS_V * way
    return np.asarray(1.0 / (1.0 + np.exp(-(volts - centre) / WIDTH_V)))


def bands(name: str, moment: Moment) -> tuple[Band, ...]:
    """Return the bands of a layer (PE, SSE or NE) before light is lost and the axis drifts."""
    steady = layer(name, moment.oxidised)
    if name != "PE":
        return steady
    anion = Band(
        centre=ANION.centre, width=ANION.width, height=ANION.height * (1.0 - moment.oxidised)
    )
    grown = Band(centre=PRODUCT.centre, width=PRODUCT.width, height=PRODUCT.height * moment.product)
    return (*steady, anion, grown)


def expected(name: str, moment: Moment) -> Array:
    """Return the expected counts of a layer: Lorentzian bands on a broad fluorescence."""
    at = SHIFT - moment.drift
    spectrum: Array = 500.0 + 350.0 * np.exp(-0.5 * ((at - 650.0) / 420.0) ** 2)
    for band in bands(name, moment):
        spectrum = spectrum + band.height / (1.0 + (2.0 * (at - band.centre) / band.width) ** 2)
    return BRIGHTNESS * moment.focus * spectrum


def spectrum(
    name: str, moment: Moment, bits: np.random.PCG64
) -> tuple[Array, list[dict[str, float]]]:
    """Return counts, and the cosmic rays in them: pixel, how many, height."""
    clean = expected(name, moment)
    drawn = counts(bits, clean)
    hit, place, width, height = uniform(bits, 4)
    if hit > RAY_SHARE:
        return drawn, []
    first = int(place * (SHIFT.size - 2))
    pixels = 1 + int(width > 0.6)
    low, high = RAY_SIGMAS
    size = float(np.rint((low + (high - low) * height**2) * np.sqrt(clean[first])))
    drawn[first : first + pixels] += size
    return drawn, [{"pixel": first, "pixels": pixels, "counts": size}]
