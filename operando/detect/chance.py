"""The score that noise alone exceeds as seldom as one asks for.

The scores of one width and one length of window are a Gaussian field: smooth along the axis, and
along time with the correlation 1 - d/(k (1 + k/n)) at a distance of d frames, for windows of k
frames and a reference of n. Of such a field the expected number of separate excursions above u is
(Siegmund and Yakir, The Statistics of Gene Mapping, 2007, chapter 5; Pickands, 1969)

    N(u) = p sqrt(a / 2 pi) phi(u) (1 + (s - 1) c u^2 nu(u sqrt(2 c))),   c = 1 / (k (1 + k/n)),

for p places, s places of the window in time, the second spectral moment a of the filter, and nu
for steps in time. The sum over widths and lengths is too large by a factor, as they see the same
noise, and filters step along the axis. That one factor is taken from simulated noise: of maxima M,
N(M) is exponentially distributed, so that it is known to 1/sqrt(maxima) however far in the tail
the threshold lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr

from operando.detect.matched_filter import (
    best_windows,
    cut_spikes,
    filters,
    padded,
    project,
    windows,
)

Array = npt.NDArray[np.float64]

PIECES = 150
"""Simulated series, each of one maximum a side."""
FRAMES, POINTS = 32, 512
"""Size of a simulated series, at most that of the data."""


def excursions(
    u: Array | float,
    *,
    widths: Sequence[float],
    points: Sequence[float],
    frames: int,
    reference: int,
    shortest: int,
) -> Array:
    """Return the expected number of excursions above `u`, of gains, before the correction.

    `points` along the axis at which a line of each width can be measured.
    """
    u = np.asarray(u, dtype=float)
    density = np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi)
    total = np.zeros_like(u)
    for length in windows(frames, shortest):
        slope = 1.0 / (length * (1.0 + length / reference))
        started = (frames - length) * slope * u * u * _steps(u * np.sqrt(2.0 * slope))
        for width, count in zip(widths, points, strict=True):
            total += count * np.sqrt(_bend(width) / (2.0 * np.pi)) * density * (1.0 + started)
    return total


def _steps(y: Array) -> Array:
    """Correct for time in steps (Siegmund's nu)."""
    half = 0.5 * np.maximum(y, 1e-9)
    density = np.exp(-0.5 * half * half) / np.sqrt(2.0 * np.pi)
    return np.asarray((ndtr(half) - 0.5) / half / (half * ndtr(half) + density))


@lru_cache(maxsize=64)
def _bend(width: float) -> float:
    """Second spectral moment of a filter, per point squared, from its correlation one point on."""
    half = int(8 * width)
    (filter_,) = filters(np.ones(2 * half + 1), [width], only=np.arange(2 * half + 1) == half)
    kernel = filter_.kernel[0]
    near = (kernel[1:] * kernel[:-1]).sum() / (kernel**2).sum()
    return float(2.0 * (1.0 - near))


@lru_cache(maxsize=64)
def surplus(
    *, widths: tuple[float, ...], points: int, frames: int, reference: int, shortest: int
) -> float:
    """Return by how much `excursions` overcounts, from simulated noise. The seed is fixed."""
    random = np.random.default_rng(0)
    bank = filters(np.ones(points), widths)
    lengths = np.array(windows(frames, shortest))
    found = []
    for _ in range(PIECES):
        noise = random.standard_normal((points, frames))
        noise -= random.standard_normal((points, 1)) / np.sqrt(reference)
        highest = np.zeros(2)
        for filter_ in bank:
            response = project(filter_.kernel, filter_.places, padded(noise, filter_))
            one = filter_.information
            spread = np.repeat(one[:, None], frames, axis=1)
            cut_spikes(response, spread, shortest)
            none = np.zeros_like(response)
            fixed = np.stack([one / reference, np.zeros_like(one)])
            score, _ = best_windows(
                response, spread, none, np.ones(frames), fixed, 0.0 * fixed, lengths, np.inf
            )
            highest = np.maximum(highest, score.max(axis=1))
        found += highest.tolist()
    expected = excursions(
        np.array(found),
        widths=widths,
        points=[float(points)] * len(widths),
        frames=frames,
        reference=reference,
        shortest=shortest,
    )
    return float(expected.mean())


def threshold(
    *,
    widths: Sequence[float],
    points: Sequence[float],
    frames: int,
    reference: int,
    shortest: int,
    false_alarm: float,
) -> float:
    """Return the score that no gain and no loss exceeds but with probability `false_alarm`.

    `points` along the axis at which a line of each width can be measured; `frames` that are
    searched, and those of the reference.
    """
    factor = surplus(
        widths=tuple(widths),
        points=min(POINTS, int(max(points))),
        frames=min(FRAMES, frames),
        reference=reference,
        shortest=shortest,
    )
    allowed = -np.log1p(-false_alarm) / 2.0

    def excess(u: float) -> float:
        expected = excursions(
            u,
            widths=widths,
            points=points,
            frames=frames,
            reference=reference,
            shortest=shortest,
        )
        return float(np.log(expected / factor / allowed))

    return float(brentq(excess, 1.0, 30.0, xtol=1e-6))
