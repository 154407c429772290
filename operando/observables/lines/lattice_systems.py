"""Crystal systems: how 1/d^2 depends on hkl, and the cell that its coefficients stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.observables.lines.measured import Array

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.complex128]


@dataclass(frozen=True, kw_only=True)
class System:
    """1/d^2 = sum_j terms_j(hkl) m_j, linear in the coefficients m of the reciprocal metric."""

    terms: tuple[str, ...]
    """What each coefficient is multiplied by, written out: "hh+hk+kk"."""
    cell: Callable[[Numbers], list[Numbers]]
    """From coefficients (p, ...) to the free cell parameters and the volume."""
    names: tuple[str, ...]
    """Of the free cell parameters, in angstrom and degree; the volume follows them."""

    def design(self, hkl: npt.ArrayLike) -> Array:
        """Return the terms of reflections hkl (k, 3) as (k, p)."""
        index = dict(zip("hkl", np.asarray(hkl, dtype=np.float64).T, strict=True))
        columns = [
            np.sum([index[pair[0]] * index[pair[1]] for pair in term.split("+")], axis=0)
            for term in self.terms
        ]
        return np.stack(columns, axis=1)

    def values(self, metric: Array) -> Array:
        """Return cell parameters and volume (n, p + 1) of coefficients (n, p)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack(self.cell(metric.T), axis=1)

    def slopes(self, metric: Array) -> Array:
        """Return d(cell, volume)/d(metric), (n, p + 1, p), exact by the complex step."""
        step = 1e-20
        columns = []
        for at in range(metric.shape[1]):
            moved = metric.astype(np.complex128).T
            moved[at] += 1j * step
            with np.errstate(invalid="ignore", divide="ignore"):
                columns.append(np.stack(self.cell(moved), axis=1).imag / step)
        return np.stack(columns, axis=2)


def _cubic(m: Numbers) -> list[Numbers]:
    a = 1 / np.sqrt(m[0])
    return [a, a**3]


def _tetragonal(m: Numbers) -> list[Numbers]:
    a, c = 1 / np.sqrt(m[0]), 1 / np.sqrt(m[1])
    return [a, c, a * a * c]


def _hexagonal(m: Numbers) -> list[Numbers]:
    a, c = np.sqrt(4 / (3 * m[0])), 1 / np.sqrt(m[1])
    return [a, c, np.sqrt(0.75) * a * a * c]


def _rhombohedral(m: Numbers) -> list[Numbers]:
    """Invert a metric with m0 on the diagonal and m1 off it."""
    determinant = (m[0] - m[1]) * (m[0] + 2 * m[1])
    a = np.sqrt((m[0] + m[1]) / determinant)
    alpha = np.arccos(-m[1] / (m[0] + m[1]))
    return [a, alpha * (180 / np.pi), 1 / np.sqrt((m[0] - m[1]) * determinant)]


def _orthorhombic(m: Numbers) -> list[Numbers]:
    a, b, c = 1 / np.sqrt(m[0]), 1 / np.sqrt(m[1]), 1 / np.sqrt(m[2])
    return [a, b, c, a * b * c]


def _monoclinic(m: Numbers) -> list[Numbers]:
    """Take b for unique: m3 = 2 a* c* cos(beta*), and beta = 180 degrees - beta*."""
    cosine = -m[3] / (2 * np.sqrt(m[0] * m[2]))
    sine = np.sqrt(1 - cosine * cosine)
    a, b, c = 1 / (np.sqrt(m[0]) * sine), 1 / np.sqrt(m[1]), 1 / (np.sqrt(m[2]) * sine)
    return [a, b, c, np.arccos(cosine) * (180 / np.pi), a * b * c * sine]


SYSTEMS: dict[str, System] = {
    "cubic": System(terms=("hh+kk+ll",), cell=_cubic, names=("a",)),
    "tetragonal": System(terms=("hh+kk", "ll"), cell=_tetragonal, names=("a", "c")),
    "hexagonal": System(terms=("hh+hk+kk", "ll"), cell=_hexagonal, names=("a", "c")),
    "rhombohedral": System(
        terms=("hh+kk+ll", "hk+kh+kl+lk+lh+hl"), cell=_rhombohedral, names=("a", "alpha")
    ),
    "orthorhombic": System(terms=("hh", "kk", "ll"), cell=_orthorhombic, names=("a", "b", "c")),
    "monoclinic": System(
        terms=("hh", "kk", "ll", "hl"), cell=_monoclinic, names=("a", "b", "c", "beta")
    ),
}
"""Standard settings: `hexagonal` for R-3m on hexagonal axes, as layered oxides are given, and
`rhombohedral` for a and alpha; monoclinic with b unique. Formulas: International Tables C, 1.1.
"""
