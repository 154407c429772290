"""Detect steps: what counts as a change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from operando.recipe.parts import Range, Strict


class NewPeaks(Strict):
    """Find reflections that the first frames do not have."""

    kind: Literal["new_peaks"]
    reference: int | None = None
    """Number of leading frames that are the reference."""
    false_alarm: float = Field(default=0.01, gt=0, lt=1)
    """Expected false alarms per experiment."""
    minimum_frames: int = Field(default=3, ge=1)
    mask: tuple[Range, ...] = ()
    """Regions to leave out."""
    tracks: str | None = None
    """The peaks of an observe step, whose lines move and are not new."""
    phases: dict[str, str] = Field(default_factory=dict)
    """Name -> CIF, relative to the recipe: phases that new lines may belong to."""


class Departure(Strict):
    """Report a number that leaves its reference band and stays away."""

    kind: Literal["departure"]
    observable: str
    """`<observe name>.<variable>`, with `.<line>` for peaks and `.<arc>` for resistances."""
    reference: int | None = None
    false_alarm: float = Field(default=0.01, ge=1e-3, le=0.5)
    minimum_frames: int = Field(default=3, ge=1)
    control: str | None = None
    """The position that must stay silent (a bulk spot); its scatter is the measure of chance."""
    reversible: Literal["cycle", "none"] = "cycle"
    """"none": the number does not breathe with the state of charge."""


class IncompleteReturn(Strict):
    """Report a number that does not come back at the end of a cycle."""

    kind: Literal["incomplete_return"]
    observable: str
    false_alarm: float = Field(default=0.01, ge=1e-3, le=0.5)


Detect = Annotated[NewPeaks | Departure | IncompleteReturn, Field(discriminator="kind")]
