"""Observe steps on tracked lines: spacings, cells, fractions, common modes, quality of bands."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from operando.recipe.parts import ObservableName, Positive, Strict

HKL = tuple[int, int, int]
Geometry = Literal["bragg_brentano", "flat_detector", "debye_scherrer"]


class _OnLines(Strict):
    """What works on the peaks of another observe step."""

    name: ObservableName
    tracks: str
    """Name of the peaks step."""


class Standard(Strict):
    """A standard in the plane of the sample, whose lines say how far off each frame is."""

    lines: dict[str, Positive | HKL] = Field(min_length=1)
    """Line -> its spacing in angstrom, or hkl of a cubic standard."""
    a: Positive | None = None
    """Lattice parameter of a cubic standard, angstrom."""
    a_sigma: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    geometry: Geometry = "bragg_brentano"
    corrects: Literal["zero", "displacement", "wavelength"] = "zero"


class Spacings(_OnLines):
    """Spacings d, q and 2 theta of the lines."""

    kind: Literal["spacings"]
    wavelength: Positive | None = None
    """Angstrom; what the files state when not given."""
    wavelength_sigma: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    standard: Standard | None = None


class Lattice(_OnLines):
    """The unit cell of a phase from its lines."""

    kind: Literal["lattice"]
    system: Literal[
        "cubic", "tetragonal", "hexagonal", "rhombohedral", "orthorhombic", "monoclinic"
    ]
    hkl: dict[str, HKL] = Field(min_length=1)
    """Line -> its indices."""
    space_group: str | None = None
    """Of the phase: what a Rietveld program is given to begin with."""
    wavelength: Positive | None = None
    wavelength_sigma: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    zero: Literal["none", "free"] = "none"
    displacement: Literal["none", "free"] = "none"
    standard: Standard | None = None


class LineFractions(_OnLines):
    """Shares of phases from the areas of their lines."""

    kind: Literal["line_fractions"]
    groups: dict[str, tuple[str, ...]] = Field(min_length=2)
    """Phase -> its lines."""
    ratios: dict[str, Positive]
    """Phase -> its response: reference intensity ratio, or 1."""
    ratio_sigma: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _same_phases(self) -> LineFractions:
        if set(self.groups) != set(self.ratios):
            raise ValueError(f"ratios: of {sorted(self.ratios)}; groups: {sorted(self.groups)}")
        return self


class CommonMode(_OnLines):
    """What all lines do together: the sample was displaced, or the beam changed."""

    kind: Literal["common_mode"]
    form: Literal["zero", "displacement", "spacing"] = "zero"
    geometry: Geometry = "bragg_brentano"
    reference: int = Field(default=10, ge=1)
    """Leading frames that changes are counted from."""


class BandQuality(_OnLines):
    """Whether bands that should not change do not, and whether cycles return."""

    kind: Literal["band_quality"]
    reference: tuple[str, ...] = Field(min_length=1)
    """Lines that should not change: those of the electrolyte."""
    position: str | None = None
    """The position that shows them."""
    baseline: int | None = Field(default=None, ge=3)
    """Leading frames before cycling; those before current flows when not given."""
    along: Literal["voltage", "half_cycle_capacity"] = "voltage"


OnLines = Spacings | Lattice | LineFractions | CommonMode | BandQuality
