"""What lines that come together may be: a phase, reflections that no lattice joins, a shoulder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import binom

from operando.detect.cif_lines import Expected, expected_lines
from operando.detect.d_ratios import best_family
from operando.detect.line_areas import Line
from operando.errors import RequestError
from operando.model import axes_of

Array = npt.NDArray[np.float64]

BY_CHANCE = 0.05
"""Largest probability by chance with which spacings are called consistent."""
TOLERANCE = 0.25
"""How well a line must fit a lattice, in its FWHM, besides three sigma and half a step."""
STRONG = 0.1
"""Intensity, over that of the strongest, from which a line of a CIF must be seen."""
CELL = 0.003
"""Relative error of the spacings of a CIF: another temperature, another composition."""
FOUND = 0.5
"""Share of its strong lines that names a phase."""


@dataclass(frozen=True)
class Surroundings:
    """What is known besides the lines of a group."""

    axis: str
    span: tuple[float, float]
    """Range of the axis that was searched."""
    step: float
    wavelength: float | None
    known: Array = field(default_factory=lambda: np.zeros(0))
    """Where the reference has clear lines: a new line there would not be seen as new."""
    beside: Mapping[int, float] = field(default_factory=dict)
    """Index of a change -> the line of the reference within a width."""
    phases: Mapping[str, Expected] = field(default_factory=dict)
    """Lines of structures that may form."""

    @property
    def has_spacings(self) -> bool:
        """Whether positions can be turned into d."""
        return self.axis == "q" or (self.axis == "two_theta" and self.wavelength is not None)

    def inverse(self, position: Array) -> Array:
        """Return 1/d in 1/angstrom."""
        if self.axis == "q":
            return np.asarray(position / (2.0 * np.pi))
        assert self.wavelength is not None
        return np.asarray(2.0 * np.sin(np.deg2rad(position) / 2.0) / self.wavelength)

    def position(self, spacing: Array) -> Array:
        """Return where lines of d in angstrom are; nan beyond what the wavelength reaches."""
        if self.axis == "q":
            return np.asarray(2.0 * np.pi / spacing)
        assert self.wavelength is not None
        sine = self.wavelength / (2.0 * spacing)
        angle = np.arcsin(np.where(sine <= 1.0, sine, np.nan))
        return np.asarray(2.0 * np.rad2deg(angle))


def surroundings(
    frames: xr.Dataset, *, seen: npt.NDArray[np.bool_], phases: Mapping[str, str | Path]
) -> Surroundings:
    """Return what the frames tell; `seen` are the points of the axis outside all masks.

    Raises
    ------
    RequestError
        Phases where there are no spacings, or a CIF that cannot be used.
    """
    axis = axes_of(frames)[0]
    grid = np.asarray(frames[axis].values, dtype=float)
    wavelength = frames.attrs.get("wavelength_angstrom")
    around = Surroundings(
        axis=axis,
        span=(float(grid[seen].min()), float(grid[seen].max())),
        step=float(np.median(np.diff(grid))),
        wavelength=None if wavelength is None else float(wavelength),
    )
    if not phases:
        return around
    if not around.has_spacings:
        raise RequestError(
            f"phases: {axis!r} has no spacings to compare; expected q, or two_theta and the "
            "attribute wavelength_angstrom"
        )
    ends = 1.0 / around.inverse(np.array(around.span))
    lines = {
        name: expected_lines(
            path, longest=float(ends[0]), shortest=float(ends[1]), wavelength=around.wavelength
        )
        for name, path in phases.items()
    }
    return replace(around, phases=lines)


def assign(lines: Sequence[Line], around: Surroundings) -> dict[str, Any]:
    """Return what lines that rise and fall together may be, the strongest line first.

    `assignment` is, in this order,

    - "split or shoulder of the line at <position>": every line lies within one FWHM of a line that
      was there before;
    - the name of a CIF of which at least two strong lines, half of those that could be seen as new,
      are there, where chance would do that in less than one case of twenty (`phase`: found,
      missing and covered lines);
    - "phase candidate": two lines or more, of which a lattice explains more than chance does but
      once in twenty (`lattice`);
    - "covarying new reflections": two lines or more without such a lattice, or without wavelength;
    - "unassigned new reflection" ("band" on a Raman axis): one line.

    Spacings of one lattice do not prove a phase, only that the positions are not arbitrary; the
    area that rises and falls together does not prove one either, as everything may follow the same
    charge. A phase needs its structure: compare with a CIF, and refine.
    """
    word = "band" if around.axis == "raman_shift" else "reflection"
    apart = [line for line in lines if line.change.index not in around.beside]
    if not apart:
        near = around.beside[lines[0].change.index]
        return {"assignment": f"split or shoulder of the line at {near:.6g}"}
    told: dict[str, Any] = {}
    if around.has_spacings:
        told = _by_spacing(apart, lines, around)
    if "assignment" not in told:
        alone = len(apart) == 1
        told["assignment"] = f"unassigned new {word}" if alone else f"covarying new {word}s"
    return told


def _by_spacing(
    apart: Sequence[Line], lines: Sequence[Line], around: Surroundings
) -> dict[str, Any]:
    position = np.array([line.centre for line in lines])
    told: dict[str, Any] = {}
    family = best_family(
        np.array([line.centre for line in apart]),
        np.array([_tolerance(line, around) for line in apart]),
        inverse=around.inverse,
        span=around.span,
    )
    if family is not None:
        told["lattice"] = {
            "family": family.name,
            **family.lattice,
            "explains": family.explains,
            "of": family.judged,
            "chance": family.chance,
        }
        consistent = family.chance < BY_CHANCE
        if consistent:
            told["assignment"] = "phase candidate"
            told["order"] = dict(
                zip((line.change.index for line in apart), family.order, strict=True)
            )
    compared = [_compared(name, one, lines, around) for name, one in around.phases.items()]
    named = [one for one in compared if one is not None]
    named.sort(key=lambda one: (one["chance"], -len(one["found"])))
    if named:
        best = named[0]
        told["phase"] = best
        there = len(best["found"]), len(best["found"]) + len(best["missing"])
        if there[0] >= 2 and there[0] >= FOUND * there[1] and best["chance"] < BY_CHANCE:
            told["assignment"] = best["name"]
    told["spacing"] = (1.0 / around.inverse(position)).tolist()
    return told


def _tolerance(line: Line, around: Surroundings) -> float:
    return max(TOLERANCE * line.fwhm, 3.0 * line.centre_sigma, 0.5 * around.step)


def _compared(
    name: str, structure: Expected, lines: Sequence[Line], around: Surroundings
) -> dict[str, Any] | None:
    """Return which strong lines of a structure are among the new ones; None: none is in range."""
    strong = np.flatnonzero(structure.intensity >= STRONG)
    if strong.size == 0:
        return None
    place = around.position(structure.spacing[strong])
    # how far a line moves when the cell is a little larger
    cell = np.abs(around.position(structure.spacing[strong] * (1.0 + CELL)) - place)
    where = np.array([line.centre for line in lines])
    reach = np.array([max(2.0 * TOLERANCE * line.fwhm, 3.0 * line.centre_sigma) for line in lines])
    near = np.abs(place[:, None] - where) <= reach + cell[:, None]
    width = float(np.median([line.fwhm for line in lines]))
    covered = (np.abs(place[:, None] - around.known) <= width).any(axis=1)
    found = near.any(axis=1)
    share = min(
        1.0, 2.0 * float((np.median(reach) + cell).sum()) / (around.span[1] - around.span[0])
    )
    hits = int(near.any(axis=0).sum())
    return {
        "name": name,
        "chance": float(binom.sf(hits - 1, len(lines), share)),
        "found": _listed(structure, strong[found], place[found]),
        "missing": _listed(structure, strong[~found & ~covered], place[~found & ~covered]),
        "covered": _listed(structure, strong[~found & covered], place[~found & covered]),
    }


def _listed(
    structure: Expected, chosen: npt.NDArray[np.intp], place: Array
) -> list[dict[str, Any]]:
    return [
        {
            "hkl": list(structure.hkl[i]),
            "position": float(at),
            "intensity": float(structure.intensity[i]),
        }
        for i, at in zip(chosen, place, strict=True)
    ]
