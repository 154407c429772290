"""Spectra and fractions of species that are not known, by alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from operando.observables.simplex import amplitudes
from operando.observables.species_rank import decompose

Array = npt.NDArray[np.float64]

ROUNDS = 1000
SETTLED = 1e-7
"""A round that makes the residual smaller by less than this part of it is the last."""
FAINT = 0.05
"""Part of the brightest frame below which one is not looked at for purity."""
TOLERANCE = 3.0
"""Sigma by which a spectrum or a fraction may be negative when its band is sought."""


@dataclass(frozen=True)
class Resolved:
    """n spectra taken apart into p species."""

    fractions: Array
    """(n, p), not negative; adding up to one where the problem is closed."""
    spectra: Array
    """(p, m), not negative; the known ones first, as they were given."""
    residual: float
    """Root mean square of what is left."""
    rounds: int
    converged: bool


def resolve_spectra(matrix: Array, known: Array, *, count: int, closed: bool = True) -> Resolved:
    """Take spectra (n, m) apart into `count` species, of which `known` (k, m) are given.

    Fractions and spectra are fitted in turn, each exactly and under its bounds, so that the
    residual never grows (multivariate curve resolution by alternating least squares: Tauler,
    Chemom. Intell. Lab. Syst. 30 (1995) 133). It begins with the purest frames there are. Unless
    it is `closed`, any amounts will do in place of fractions, and each unknown spectrum has the
    length that the frame had from which it began.
    """
    seen, given = (matrix, known) if closed else (_profiles(matrix), _profiles(known))
    spectra = np.concatenate([known, _purest(seen, given, count)])
    first = len(known)
    residual, rounds, converged = np.inf, 0, False
    fractions = np.empty((matrix.shape[0], count))
    while rounds < ROUNDS and not converged:
        fractions = amplitudes(matrix, np.ascontiguousarray(spectra), count, closed)
        left = matrix - _mixed(fractions, spectra)
        before, residual = residual, float(np.sqrt(np.square(left).mean()))
        converged = not before - residual > SETTLED * residual
        rounds += 1
        if converged or first == count:
            break
        rest = matrix - _mixed(fractions[:, :first], spectra[:first])
        free = np.ascontiguousarray(fractions[:, first:].T)
        found = amplitudes(np.ascontiguousarray(rest.T), free, count - first, False)
        if not np.isfinite(found).all():  # two species have become one
            break
        spectra[first:] = found.T
    return Resolved(fractions, spectra, residual, rounds, converged or first == count)


def of_unit_area(grid: Array, found: Resolved) -> Resolved:
    """Return the same with spectra that have an area of one over `grid` (m,), by trapezoids."""
    area = (0.5 * (found.spectra[:, 1:] + found.spectra[:, :-1]) * np.diff(grid)).sum(axis=1)
    area = np.where(area > 0, area, 1.0)
    return replace(found, fractions=found.fractions * area, spectra=found.spectra / area[:, None])


def _mixed(fractions: Array, spectra: Array) -> Array:
    return np.asarray(np.einsum("np,pm->nm", fractions, spectra))


def _profiles(rows: Array) -> Array:
    """Return the brighter rows of (n, m), each with a sum of one: what they would be if closed."""
    sums = rows.sum(axis=1)
    bright = sums > FAINT * sums.max(initial=0.0)
    return np.asarray(rows[bright] / sums[bright, None])


def _purest(matrix: Array, known: Array, count: int) -> Array:
    """Return the spectra of the frames that lie farthest from a mixture of all others.

    Successive projections: frame after frame the one farthest from the plane through those that
    were chosen, the known spectra among them. Only what `count` components describe is looked at,
    so that noise is not taken for purity.
    """
    components = decompose(matrix)
    loadings = components.loadings[:count]
    points = matrix @ loadings.T
    chosen = [*(known @ loadings.T)]
    frames: list[int] = []
    while len(chosen) < count:
        origin = chosen[0] if chosen else points.mean(axis=0)
        apart = points - origin
        for direction in _orthonormal([point - origin for point in chosen[1:]]):
            apart = apart - np.outer(apart @ direction, direction)
        frames.append(int(np.argmax(np.square(apart).sum(axis=1))))
        chosen.append(points[frames[-1]])
    scores = components.scores[frames, :count]
    return np.maximum(scores @ loadings, 0.0)


def _orthonormal(vectors: list[Array]) -> list[Array]:
    basis: list[Array] = []
    for vector in vectors:
        for direction in basis:
            vector = vector - (vector @ direction) * direction
        length = float(np.linalg.norm(vector))
        if length > 0:
            basis.append(vector / length)
    return basis


def band(
    fractions: Array,
    spectra: Array,
    *,
    known: int,
    sigma: Array,
    noise: Array,
    closed: bool = True,
) -> tuple[Array, Array]:
    """Return the least and the largest fraction (n, p) each that fit equally well.

    With the spectra of species k and j replaced by (s_k - g s_j)/(1 - g) and (s_j - h s_k)/(1 - h)
    the mixtures stay the same, and so do all other species. g may be anything from

        max -(f_j / f_k)   to   min (s_k / s_j),

    below which a fraction and above which a spectrum becomes negative; h likewise. The fractions
    are then f_k' = (1 - g)(f_k + h f_j)/(1 - g h), monotonic in both, so that their extremes lie
    in the corners. Of two species this is all the freedom there is; of more, there may be more.

    Parameters
    ----------
    known
        So many of the first species have spectra that are given.
    sigma, noise
        Of the fractions (n, p) and of the spectra (p,), for what counts as negative.
    closed
        False: of amounts, which need not add up to one. The spectra then all have the same area,
        which such a change keeps.
    """
    low, high = fractions.copy(), fractions.copy()
    for k in range(fractions.shape[1]):
        for j in range(fractions.shape[1]):
            if j == k:
                continue
            own = _reach(k, j, fractions, spectra, sigma, noise) if k >= known else (0.0, 0.0)
            other = _reach(j, k, fractions, spectra, sigma, noise) if j >= known else (0.0, 0.0)
            for g in own:
                for h in other:
                    f_k, f_j = fractions[:, k], fractions[:, j]
                    moved = (1 - g) * (f_k + h * f_j) / (1 - g * h)
                    low[:, k] = np.minimum(low[:, k], moved)
                    high[:, k] = np.maximum(high[:, k], moved)
    most = 1.0 if closed else np.inf
    return np.clip(low, 0.0, most), np.clip(high, 0.0, most)


def _reach(
    k: int, j: int, fractions: Array, spectra: Array, sigma: Array, noise: Array
) -> tuple[float, float]:
    """Return how far species k can be moved towards (negative) and away from species j."""
    there = fractions[:, k] > TOLERANCE * sigma[:, k]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inward = -(fractions[:, j] + TOLERANCE * sigma[:, j]) / fractions[:, k]
        outward = (spectra[k] + TOLERANCE * noise[k]) / spectra[j]
    least = float(inward[there].max()) if there.any() else 0.0
    clear = spectra[j] > TOLERANCE * noise[j]
    most = float(outward[clear].min()) if clear.any() else 0.0
    return min(least, 0.0), min(max(most, 0.0), 1 - 1e-9)
