"""The lines of an X-ray tube, as a diffractometer's file states them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

SHORTEST, LONGEST = 0.01, 20.0
"""Angstrom. Files write 0 or -1 for what they do not know."""

Kind = Literal["alpha1", "alpha1+alpha2", "beta", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Radiation:
    """Wavelengths in angstrom; None is not stated."""

    anode: str = ""
    alpha1: float | None = None
    alpha2: float | None = None
    beta: float | None = None
    ratio: float | None = None
    """Intensity of K alpha 2 to that of K alpha 1; 0 states that there is none."""
    kind: Kind | None = None
    """Which lines reach the sample, where the file says so; else the ratio decides."""
    monochromator: str = ""
    """What the file calls the crystals between tube and sample."""

    def facts(self) -> dict[str, str | float]:
        """Return the attributes of a dataset.

        `wavelength_angstrom` is K alpha 1 (K beta where the file says so), never a mean, and
        `wavelength_kind` says whether that is all of the light. `wavelength_alpha2_angstrom` and
        `alpha2_ratio` are there where the file states a doublet. The ratio is a constant of the
        tube: behind a `monochromator` it is not believed, and the kind is unknown. Two real files
        state 0.5 behind crystals of Ge 220; their lines have less than 0.02 where K alpha 2 would
        be.
        """
        alpha1, alpha2, beta = map(_known, (self.alpha1, self.alpha2, self.beta))
        ratio = self.ratio if self.ratio is not None and 0 <= self.ratio <= 1 else None
        kind = self.kind or _kind(alpha2, ratio)
        if self.monochromator and self.kind is None and kind == "alpha1+alpha2":
            kind = "unknown"
        told = {"anode": self.anode, "monochromator": self.monochromator}
        facts: dict[str, str | float] = {name: text for name, text in told.items() if text}
        line = beta if kind == "beta" else alpha1
        if line is None:
            return facts
        facts |= {"wavelength_angstrom": line, "wavelength_kind": kind}
        if kind == "alpha1+alpha2" and alpha2 is not None:
            facts["wavelength_alpha2_angstrom"] = alpha2
            if ratio:
                facts["alpha2_ratio"] = ratio
        if beta is not None and kind != "beta":
            facts["wavelength_beta_angstrom"] = beta
        return facts


def _known(wavelength: float | None) -> float | None:
    stated = wavelength is not None and math.isfinite(wavelength)
    return wavelength if stated and SHORTEST < (wavelength or 0.0) < LONGEST else None


def _kind(alpha2: float | None, ratio: float | None) -> Kind:
    if ratio is None:
        return "unknown"
    return "alpha1+alpha2" if ratio > 0 and alpha2 is not None else "alpha1"
