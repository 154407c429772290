"""Correct steps: what is done to the frames of a measurement before they are measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from operando.recipe.parts import Finite, Positive, Range, Strict

Counter = Literal["i0", "i1", "iref", "fluorescence"]


class Absorption(Strict):
    """Make absorption of the counters anew: dead time, dark counts, ratio."""

    kind: Literal["absorption"]
    mode: Literal["transmission", "fluorescence"]
    dead_time_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    dead_time: Literal["non-paralyzable", "paralyzable"] = "non-paralyzable"
    dwell_s: Positive | str | None = None
    """Of a point, or the variable that has it."""
    rates: tuple[str, str] | None = None
    """Variables with the input and output count rate, in place of a dead time."""
    dark: dict[Counter, Finite] | None = None
    """What a counter shows without beam, a point."""
    counts: bool = False
    """Whether counters are numbers of photons, whose noise is known."""


class Glitches(Strict):
    """Mask glitches in all channels at once and interpolate over them."""

    kind: Literal["glitches"]
    edge: Range
    """The structured region, eV: from before the pre-edge peak to where oscillations are wide."""
    false_alarm: float = Field(default=1e-3, gt=0, lt=1)
    """Of a clean spectrum."""


class Merge(Strict):
    """Average scans that follow one another at a position."""

    kind: Literal["merge"]
    every: int | None = Field(default=None, ge=1)
    by: str | None = None
    """A coordinate, such as "half_cycle": merge as long as it does not change."""

    @model_validator(mode="after")
    def _one_way(self) -> Merge:
        if (self.every is None) == (self.by is None):
            raise ValueError("give either every or by")
        return self


class Energy(Strict):
    """Take the drift of the energy scale off, as a foil in the reference channel shows it."""

    kind: Literal["energy"]
    signal: str = "mu_reference"
    window: Range
    """Around the edge of the foil, eV."""
    baseline: int = Field(default=10, ge=1)
    """Leading frames that count as unshifted."""
    jump: Positive = 0.5
    """A larger step between two frames is no drift, eV."""
    limit: Positive = 3.0
    """Frames further off are not corrected, eV."""
    spacing: Positive | None = None
    """Of the planes of the monochromator, angstrom, where foil and sample have edges far apart."""


class Calibration(Strict):
    """Give the first inflection of the foil its tabulated energy."""

    kind: Literal["calibration"]
    tabulated: Positive
    signal: str = "mu_reference"
    scans: int = Field(default=10, ge=1)
    """Leading frames that are averaged."""
    within: Positive = 5.0
    """How far the inflection is looked for, eV."""
    span: Positive = 2.0
    """Half of the energies that a slope is fitted over, eV."""
    spacing: Positive | None = None


class SelfAbsorption(Strict):
    """Undo the damping of fluorescence by a thick sample; the spectra become normalised."""

    kind: Literal["self_absorption"]
    formula: str
    element: str
    edge: str = "K"
    line: str = "Ka"
    angle_in: Positive = 45.0
    angle_out: Positive = 45.0
    """Of beam and detector to the surface, degree."""
    e0: Finite
    pre: Range
    post: Range
    degree: Literal[0, 1, 2] = 1
    signal: str = "mu"


class Integrate(Strict):
    """Make patterns of detector images."""

    kind: Literal["integrate"]
    poni: str
    """Geometry as pyFAI writes it; relative to the recipe."""
    points: int = Field(ge=10)
    """Of the pattern."""
    unit: Literal["two_theta", "q"] = "two_theta"
    mask: str | None = None
    """An image whose pixels other than 0 are left out; relative to the recipe."""
    polarization: float | None = Field(default=None, ge=-1, le=1)
    """Of the beam: 0.99 at most synchrotrons; no correction when not given."""
    sigma_clip: Positive | None = None
    """Leave out pixels further than this many sigma from their ring: spots, dead pixels."""


class CosmicRays(Strict):
    """Take cosmic rays out of Raman spectra, by comparison with the spectra before and after."""

    kind: Literal["cosmic_rays"]
    threshold: Positive = 6.0
    """Of what a ray leaves beyond the neighbouring frames, in sigma."""


class Shift(Strict):
    """Take the drift of the Raman shift off, as a band that does not change shows it."""

    kind: Literal["shift"]
    window: Range
    """Around the band, 1/cm."""
    line: Finite | None = None
    """Where the band is (silicon: 520.5); the first frames say so when not given."""
    position: str | None = None
    """The position whose frames show the band; its drift is that of all positions."""
    baseline: int = Field(default=10, ge=1)
    """Leading frames (of the position) that are averaged."""
    jump: Positive = 1.0
    """A larger step between two frames is no drift, 1/cm."""
    limit: Positive = 5.0
    """Frames further off are not corrected, 1/cm."""


class Baseline(Strict):
    """Subtract a smooth baseline from Raman spectra."""

    kind: Literal["baseline"]
    method: str = "arpls"
    """Ours, or any method of pybaselines by its name there."""
    parameters: dict[str, float] = Field(default_factory=dict)
    """Of the method, such as lam."""


class Band(Strict):
    """Divide Raman spectra by the area of a reference band."""

    kind: Literal["band"]
    window: Range


class Power(Strict):
    """Divide Raman spectra by the power of the laser."""

    kind: Literal["power"]
    power: Positive | str
    """In mW, or the variable that has it."""


Correct = Annotated[
    Absorption
    | Glitches
    | Merge
    | Energy
    | Calibration
    | SelfAbsorption
    | Integrate
    | CosmicRays
    | Shift
    | Baseline
    | Band
    | Power,
    Field(discriminator="kind"),
]
STEPS = {
    "xas": ("absorption", "glitches", "merge", "energy", "calibration", "self_absorption"),
    "xrd_images": ("integrate",),
    "raman": ("cosmic_rays", "shift", "baseline", "band", "power"),
}
"""Technique -> what can be done to its frames, in the only order in which it makes sense."""
