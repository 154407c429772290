"""Observe steps: what is measured in every frame."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from operando.recipe.lines import OnLines
from operando.recipe.parts import (
    Finite,
    ObservableName,
    Positive,
    Range,
    Strict,
    ascending,
)


class _Normalising(Strict):
    """What normalises absorption: one fixed energy and two ranges relative to it."""

    e0: Finite
    """Fixed normalisation energy in eV."""
    signal: str = "mu"
    pre: Range | None = None
    """Pre-edge range relative to e0; no normalisation when pre and post are both left out."""
    post: Range | None = None
    degree: Literal[0, 1, 2] = 2

    @model_validator(mode="after")
    def _both_ranges(self) -> _Normalising:
        if (self.pre is None) != (self.post is None):
            raise ValueError("pre and post belong together: give both or neither")
        return self


class Edge(_Normalising):
    """Follow an absorption edge."""

    kind: Literal["edge"]
    name: ObservableName
    method: Literal["integral", "half", "matched"] = "integral"
    baseline: int = Field(default=3, ge=1)
    """Leading frames of each position that shifts are counted from."""
    reference: str | None = None
    """The foil channel whose drift is taken off, such as "mu_reference"."""
    level: Finite = 0.5
    band: Range = (0.15, 1.0)
    window: Range = (-30.0, 30.0)
    sigma: Positive | None = None


class StandardSpectrum(Strict):
    """A known spectrum: a file, or the mean of some frames of the series itself."""

    name: str = Field(min_length=1)
    path: str | None = None
    """A file, relative to the recipe; the frames of the measurement when not given."""
    format: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    signal: str | None = None
    """The variable; that of the step when not given."""
    frames: tuple[int, int] | None = None
    """[first, end): frames of the position that are averaged; all when not given."""
    position: str | None = None
    e0: Finite | None = None
    """Of its normalisation, where it differs from that of the step."""


class Fractions(_Normalising):
    """Fit every spectrum by a combination of standards."""

    kind: Literal["fractions"]
    name: ObservableName
    window: Range
    """Relative to e0, eV."""
    standards: tuple[StandardSpectrum, ...] = Field(min_length=1, max_length=6)
    differences: tuple[StandardSpectrum, ...] = ()
    """Spectra minus the first standard that may be in a frame in any amount: beam damage."""
    sum_to_one: bool = True
    sigma: Positive | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Fractions:
        names = [standard.name for standard in (*self.standards, *self.differences)]
        if len(set(names)) != len(names):
            raise ValueError(f"standards: names must differ, found {names}")
        return self


class Exafs(_Normalising):
    """Follow one shell of the EXAFS."""

    kind: Literal["exafs"]
    name: ObservableName
    rbkg: Positive = 1.0
    k_range: Range = (3.0, 12.0)
    dk: Positive = 1.0
    k_weight: int = Field(default=2, ge=0, le=3)
    shell: Range = (1.0, 2.2)
    """R in angstrom, without phase correction."""
    r_max: Positive = 6.0
    sigma: Positive | None = None


class PeakWindow(Strict):
    """A window with one or more lines."""

    name: str
    low: float
    high: float
    lines: tuple[float, ...]
    """Where the lines are at the start, in the unit of the axis."""
    frozen: tuple[float, ...] = ()
    """Lines of cell parts in the window, which stay where they are and as wide."""
    follow: bool = False
    """Whether the window moves with its lines."""

    @model_validator(mode="after")
    def _ascends(self) -> PeakWindow:
        ascending((self.low, self.high))
        return self


class Peaks(Strict):
    """Follow diffraction or Raman lines."""

    kind: Literal["peaks"]
    name: ObservableName
    windows: tuple[PeakWindow, ...] = Field(min_length=1)
    profile: Literal["pseudo_voigt", "split_pseudo_voigt", "gaussian", "lorentzian", "voigt"] = (
        "pseudo_voigt"
    )
    alpha2: bool = False
    """Whether each line is a K alpha 1 and 2 doublet, of the wavelengths that the files state."""
    shape: Literal["shared", "free"] = "shared"
    """Whether a line has one shape for the whole series."""
    masked: tuple[Range, ...] = ()
    """Regions to leave out."""


class Pores(Strict):
    """Segment pores in volumes."""

    kind: Literal["pores"]
    name: ObservableName
    threshold: float | None = None
    connectivity: Literal[6, 26] = 6
    minimum_voxels: int = 27


class Resistance(Strict):
    """Follow the resistances of impedance sweeps."""

    kind: Literal["resistance"]
    name: ObservableName
    tail: bool
    """Whether diffusion or a blocking electrode follows the arcs at low frequency."""
    arcs: int = Field(default=2, ge=1, le=4)
    band: Range | None = None
    """Hz; the ends of the axis when not given."""
    middle: Positive | None = None
    """Hz."""
    noise: Positive | None = None
    """Of one part of a point, relative to |Z|; estimated when not given."""


OnFrames = Edge | Fractions | Exafs | Peaks | Pores | Resistance
"""Steps that measure every frame."""
Observe = Annotated[OnFrames | OnLines, Field(discriminator="kind")]
