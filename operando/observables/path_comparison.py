"""Which way a series of spectra took from one end to the other, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, ndtri

from operando.corrections.white_noise import white_noise
from operando.observables.fractions import ESTIMATE_FREEDOM
from operando.observables.mixing_paths import Ends, follow

Array = npt.NDArray[np.float64]

LEAST_FRAMES = 3
LEAST_NOISE = 1e-9
"""Of a point, in edge steps: of spectra that have none."""
TOLERANCE = 0.25
"""Curvatures that far from 0 and 1 still count as the one or the other."""
CONFIDENCE = 0.995
"""One-sided, of the interval of the curvature that is compared with them."""
SURE = 3.0
"""Sigma of its own by which a misfit exceeds noise."""
WIDE = 0.5
"""Misfit, over what tells the ways apart, from which neither is believed."""
ROUNDS = 30
SETTLED = 1e-6
FARTHEST = (-1.0, 2.0)
"""Curvatures the search does not leave."""

VERDICTS: dict[str, int] = {"undecided": 0, "mixture": 1, "shift": 2, "neither": 3}
"""Which way the spectra went.

`undecided`: fewer than three frames between the ends, a shift so small that what tells the ways
apart is less than its own noise, or noise that leaves both possible. `neither`: the curvature is
that of none of the two, or the spectra leave the best way by more than half of what tells the two
apart.
"""


@dataclass(frozen=True)
class Comparison:
    """Both ways through n spectra."""

    mixture: Array
    """f of each spectrum as a mixture, (n,)."""
    shift: Array
    """f of each spectrum as a shift, (n,)."""
    curvature: float
    """0: mixture, 1: shift."""
    curvature_sigma: float
    bic: tuple[float, float, float]
    """Of the mixture, the shift, and with the curvature free."""
    chance: tuple[float, float]
    """Probability of a curvature as far as this from 0 and from 1."""
    separation: float
    """Root mean square of what tells the two ways apart."""
    misfit: float
    """Root mean square by which spectra leave the best way, beyond noise."""
    verdict: str


def compare(
    frames: Array, points: Array, ends: Sequence[Ends], *, shares: float, noise: Array | None
) -> Comparison:
    """Compare the two ways with spectra `frames` (n, m).

    An end that is noisy imitates itself, shifted: what tells the ways apart then has noise in
    common with the residual, and leads to a curvature that is too large. With two measurements of
    the ends, the residual of the one is compared with the lever z of the other, and no noise is in
    both (an instrumental variable):

        step of c = sum (r_1 z_2 + r_2 z_1) / (2 sum z_1 z_2).

    Parameters
    ----------
    ends
        Two independent measurements of the ends; twice the same where they have no noise.
    shares
        Variance of the mean of the two, as a part of that of a spectrum.
    noise
        Sigma of the points (m,); None takes the white noise of what the mixtures leave.
    """
    sigma = _white(frames, points, ends, shares) if noise is None else noise
    if not np.isfinite(sigma).all():
        return _nothing(len(frames))
    weight = 1 / np.square(np.maximum(sigma, LEAST_NOISE))
    straight, curved = (_along(frames, points, weight, ends, c) for c in (0.0, 1.0))
    c = float(np.argmin([np.nansum(way.chi2(weight, shares)) for way in (straight, curved)]))
    for _ in range(ROUNDS):
        way = _along(frames, points, weight, ends, c)
        pull, strength = way.moments(weight)
        if not np.nansum(strength) > 0:
            return _nothing(len(frames))
        step = float(np.nansum(pull) / np.nansum(strength))
        c = float(np.clip(c + step, *FARTHEST))
        if not abs(step) > SETTLED:
            break
    both = np.isfinite([way.f, straight.f, curved.f]).all(axis=0)
    count = int(np.count_nonzero(both))
    if count < LEAST_FRAMES or not strength[both].sum() > 0:
        return _nothing(len(frames))
    chi2 = [float(one.chi2(weight, shares)[both].sum()) for one in (straight, curved, way)]
    lever = way.lever[both]
    spread = _spread(
        way.f[both], pull[both], strength[both], lever * weight, shares * np.square(sigma)
    )
    between = float((weight * np.square(way.first[2] - way.second[2])[both] / 4).sum())
    weak = between > strength[both].sum()
    separation = float(np.sqrt(strength[both].sum() / (count * weight.sum())))
    misfit = _misfit(chi2[2], count * (points.size - 1) - 1, given=noise is not None)
    misfit *= float(np.sqrt(points.size / weight.sum()))
    size = float(np.log(count * points.size))
    return Comparison(
        mixture=straight.f,
        shift=curved.f,
        curvature=c,
        curvature_sigma=spread,
        bic=(chi2[0] + count * size, chi2[1] + count * size, chi2[2] + (count + 1) * size),
        chance=(_chance(c, spread, count), _chance(c - 1, spread, count)),
        separation=separation,
        misfit=misfit,
        verdict="undecided" if weak else _verdict(c, spread, separation, misfit),
    )


@dataclass(frozen=True)
class _Way:
    """Spectra on the way with one curvature, by two measurements of the ends."""

    first: tuple[Array, Array, Array]
    second: tuple[Array, Array, Array]

    @property
    def f(self) -> Array:
        return (self.first[0] + self.second[0]) / 2

    @property
    def lever(self) -> Array:
        return (self.first[2] + self.second[2]) / 2

    def chi2(self, weight: Array, shares: float) -> Array:
        """Return the sum of squares of each spectrum over its noise and that of the ends, (n,)."""
        residual = (self.first[1] + self.second[1]) / 2
        return np.asarray((weight * residual**2).sum(axis=1) / _of_both(self.f, shares))

    def moments(self, weight: Array) -> tuple[Array, Array]:
        """Return sum w r z and sum w z z of each spectrum, (n,) each."""
        (_, r_1, z_1), (_, r_2, z_2) = self.first, self.second
        pull = (weight * (r_1 * z_2 + r_2 * z_1)).sum(axis=1) / 2
        return np.asarray(pull), np.asarray((weight * z_1 * z_2).sum(axis=1))


def _along(frames: Array, points: Array, weight: Array, ends: Sequence[Ends], c: float) -> _Way:
    first, second = (follow(frames, points, weight, one, c) for one in ends)
    return _Way(first, second)


def _white(frames: Array, points: Array, ends: Sequence[Ends], shares: float) -> Array:
    """Return the white noise of what the mixtures leave, that of the ends taken out, (m,)."""
    way = _along(frames, points, np.ones(points.size), ends, 0.0)
    fitted = np.isfinite(way.f)
    if not fitted.any():
        return np.full(points.size, np.nan)
    left = (way.first[1] + way.second[1])[fitted] / 2
    variance = np.square(white_noise(points, left)) / _of_both(way.f[fitted], shares)
    return np.full(points.size, np.sqrt(np.median(variance)))


def _of_both(f: Array, shares: float) -> Array:
    """Return the variance of spectrum minus path over that of the spectrum."""
    return np.asarray(1 + shares * ((1 - f) ** 2 + f**2))


def _misfit(chi2: float, freedom: int, *, given: bool) -> float:
    """Return the root mean square of what is surely more than noise, in sigma of a point."""
    doubt = SURE * np.sqrt(2 / freedom * (1 if given else 1 + 1 / ESTIMATE_FREEDOM))
    return float(np.sqrt(max(chi2 / freedom - 1 - doubt, 0.0)))


def _spread(f: Array, pull: Array, strength: Array, lever: Array, variance: Array) -> float:
    """Return the sigma of the curvature: noise and scatter of the frames, noise of the ends."""
    total = strength.sum()
    scatter = float((strength * np.square(pull / strength - pull.sum() / total)).sum())
    own = max(scatter / (f.size - 1), 1.0) / total
    first, last = ((part[:, None] * lever).sum(axis=0) for part in (1 - f, f))
    common = float((variance * (np.square(first) + np.square(last))).sum()) / total**2
    return float(np.sqrt(own + common))


def _chance(off: float, spread: float, count: int) -> float:
    return float(fdtrc(1, max(count - 1, 1), (off / spread) ** 2))


def _verdict(c: float, spread: float, separation: float, misfit: float) -> str:
    room = float(ndtri(CONFIDENCE)) * spread + TOLERANCE
    straight, curved = abs(c) <= room, abs(c - 1) <= room
    if straight and curved:
        return "undecided"
    if misfit > WIDE * separation or not (straight or curved):
        return "neither"
    return "mixture" if straight else "shift"


def _nothing(count: int) -> Comparison:
    return Comparison(
        mixture=np.full(count, np.nan),
        shift=np.full(count, np.nan),
        curvature=np.nan,
        curvature_sigma=np.nan,
        bic=(np.nan, np.nan, np.nan),
        chance=(np.nan, np.nan),
        separation=np.nan,
        misfit=np.nan,
        verdict="undecided",
    )
