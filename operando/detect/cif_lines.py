"""Lines that a structure from a CIF leads one to expect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operando.errors import RequestError

Array = npt.NDArray[np.float64]

MOST_REFLECTIONS = 200_000
SAME = 1e-4
"""Relative difference in d below which reflections are one line."""


@dataclass(frozen=True)
class Expected:
    """Lines of a structure, the largest spacing first."""

    spacing: Array
    """d in angstrom, (k,)."""
    intensity: Array
    """Relative to the strongest."""
    hkl: list[tuple[int, int, int]]
    """Of the strongest reflection of each line."""


def expected_lines(
    path: str | Path, *, longest: float, shortest: float, wavelength: float | None
) -> Expected:
    """Return the powder lines of a structure between two spacings, in angstrom.

    Intensity is multiplicity times |F|^2 (X-ray form factors, occupancies and displacements of the
    file) times the Lorentz factor 1 / (sin^2 theta cos theta), or d^2 without a wavelength; no
    polarisation, absorption or texture.

    Raises
    ------
    RequestError
        The file cannot be read, or holds no structure; the cell is too large for the range.
    """
    import gemmi

    try:
        structure = gemmi.read_small_structure(str(path))
    except (OSError, ValueError, RuntimeError) as error:
        raise RequestError(f"phases: {str(path)!r} is no CIF that can be read: {error}") from error
    if not structure.sites or structure.spacegroup is None or structure.cell.volume < 1.0:
        raise RequestError(
            f"phases: {str(path)!r} holds no structure; expected a cell, a space group and atoms"
        )
    count = 4.0 / 3.0 * np.pi * structure.cell.volume / shortest**3
    if count > MOST_REFLECTIONS:
        raise RequestError(
            f"phases: {str(path)!r} has some {count:.0f} reflections down to {shortest:.3g} "
            f"angstrom; expected at most {MOST_REFLECTIONS}: mask the far end of the axis"
        )
    structure.change_occupancies_to_crystallographic()
    hkl = gemmi.make_miller_array(structure.cell, structure.spacegroup, shortest, longest)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    operations = structure.spacegroup.operations()
    amplitude = np.array(
        [abs(calculator.calculate_sf_from_small_structure(structure, list(h))) for h in hkl]
    )
    alike = [_equivalent(operations, list(h)) for h in hkl]
    many = np.array([len(one) for one in alike])
    spacing = np.asarray(structure.cell.calculate_d_array(hkl), dtype=float)
    intensity = many * amplitude**2 * _lorentz(spacing, wavelength)
    return _merged(spacing, intensity, [max(one) for one in alike])


def _equivalent(operations: Any, hkl: list[int]) -> set[tuple[int, int, int]]:
    """Return all reflections of one spacing and amplitude, their opposites among them."""
    found = {tuple(operation.apply_to_hkl(hkl)) for operation in operations.sym_ops}
    return {(one[0], one[1], one[2]) for one in found} | {
        (-one[0], -one[1], -one[2]) for one in found
    }


def _lorentz(spacing: Array, wavelength: float | None) -> Array:
    if wavelength is None:
        return spacing**2
    sine = np.minimum(wavelength / (2.0 * spacing), 1.0)
    # beyond what the wavelength reaches
    seen = sine < 1.0
    cosine = np.sqrt(np.where(seen, 1.0 - sine**2, 1.0))
    return np.where(seen, 1.0 / (sine**2 * cosine), 0.0)


def _merged(spacing: Array, intensity: Array, hkl: list[tuple[int, int, int]]) -> Expected:
    order = np.argsort(-spacing, kind="stable")
    groups: list[list[int]] = []
    for at in order:
        if groups and spacing[groups[-1][0]] - spacing[at] < SAME * spacing[at]:
            groups[-1].append(int(at))
        else:
            groups.append([int(at)])
    total = np.array([intensity[group].sum() for group in groups])
    leads = [max(group, key=lambda i: intensity[i]) for group in groups]
    return Expected(
        spacing[leads] if leads else np.zeros(0),
        total / max(float(total.max(initial=0.0)), 1e-300),
        [hkl[i] for i in leads],
    )
