"""Scores of a line, absent from the reference, at every point of a series of frames.

At each point and for each width, the residual of a frame to the mean of the reference frames is
projected on a pseudo-Voigt, by weighted least squares together with a quadratic background within
four widths. The projection is weighted anew at every point: a filter made orthogonal to the
background once, and then used on residuals over their variance, fires at every strong line that
drifts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from operando.observables.pseudo_voigt import profile

Array = npt.NDArray[np.float64]

REACH = 4.0
"""Half of the stretch in which the background is fitted, in widths."""
DEGREE = 2
SIMULATED = 200
"""Maxima of simulated blocks behind a threshold."""
BATCH = 400_000
"""Numbers simulated at once."""
BLOCK = 512
"""Points of a block, wide against a filter: its maximum is nearly independent of the next."""


@dataclass(frozen=True)
class Filter:
    """A matched filter of one width, in points, with what depends on the place."""

    width: float
    shape: Array
    """Line of unit sum, (2 reach + 1,)."""
    powers: Array
    """Of the background, (degree + 1, 2 reach + 1)."""
    share: Array
    """How much of each power the line holds at each point, (degree + 1, m)."""
    information: Array
    """1/variance of the area in one frame, (m,); 0 where too little is measured."""
    weight: Array


def filters(weight: Array, widths: Sequence[float]) -> list[Filter]:
    """Return a filter of each width (FWHM in points) for data of `weight` 1/variance, (m,)."""
    return [_filter(weight, width) for width in widths]


def _filter(weight: Array, width: float) -> Filter:
    half = round(REACH * width)
    offset = np.arange(-half, half + 1.0)
    shape = profile(offset, centre=np.array(0.0), fwhm=np.array(width), eta=np.array(0.5))
    powers: Array = (offset / half) ** np.arange(DEGREE + 1)[:, None]
    moments = _correlate(weight, (offset / half) ** np.arange(2 * DEGREE + 1)[:, None])
    mixed = _correlate(weight, shape * powers)
    own = _correlate(weight, shape[None] ** 2)[0]
    order = np.arange(DEGREE + 1)
    system = np.moveaxis(moments[order[:, None] + order], -1, 0)
    measured = (weight > 0).astype(float)
    core = (np.abs(offset) <= width)[None].astype(float)
    enough = _correlate(measured, core)[0] > 0.9 * core.sum()
    enough &= _correlate(measured, np.ones_like(core))[0] > 0.55 * offset.size
    system = np.where(enough[:, None, None], system, np.eye(order.size))
    share = np.asarray(np.linalg.solve(system, mixed.T[:, :, None])[:, :, 0].T, dtype=float)
    left = own - (share * mixed).sum(axis=0)
    information = np.where(enough, np.maximum(left, 0.0), 0.0)
    return Filter(width, shape, powers, share, information, weight)


def respond(filter_: Filter, residual: Array) -> Array:
    """Return the projection of residuals (..., m) on the line: area times information."""
    weighted = residual * filter_.weight
    response = _correlate(weighted, filter_.shape[None])[0]
    for share, power in zip(filter_.share, filter_.powers, strict=True):
        response -= share * _correlate(weighted, power[None])[0]
    return np.asarray(np.where(filter_.information > 0, response, 0.0))


def _correlate(data: Array, kernels: Array) -> Array:
    """Correlate data (..., m) with kernels (k, 2 half + 1), zeros beyond the ends: (k, ..., m)."""
    points, half = data.shape[-1], kernels.shape[1] // 2
    size = next_fast_len(points + 2 * half, real=True)
    spectrum = rfft(data, size, axis=-1)
    found = [irfft(spectrum * rfft(k[::-1], size), size, axis=-1) for k in kernels]
    return np.stack([f[..., half : half + points] for f in found])


def areas(filter_: Filter, residual: Array) -> Array:
    """Return the area, in points, of the line at each point; 0 where it cannot be measured."""
    information = filter_.information
    known = information > 0
    response = respond(filter_, residual)
    return np.where(known, response / np.where(known, information, 1.0), 0.0)


def windows(frames: int, shortest: int) -> list[int]:
    """Return lengths of windows in frames: the shortest, doubled while it fits, and all."""
    lengths = [shortest]
    while 2 * lengths[-1] <= frames:
        lengths.append(2 * lengths[-1])
    return [*lengths, frames] if lengths[-1] < frames else lengths


def scores(
    responses: Array,
    information: Array,
    *,
    reference: int,
    lengths: Sequence[int],
    floor: Array | float = 0.0,
) -> Iterator[Array]:
    """Yield, for each length, the score of windows (..., windows, m) of responses (..., frames, m).

    The variance of a sum of k frames less k times the mean of n reference frames is k (1 + k/n)
    times that of one frame, and the square of k times the `floor` (area), which does not average
    down.
    """
    total = np.cumsum(responses, axis=-2)
    total = np.concatenate([np.zeros_like(total[..., :1, :]), total], axis=-2)
    known = information > 0
    for length in lengths:
        variance = information * length * (1.0 + length / reference)
        variance = variance + (length * floor * information) ** 2
        sigma = np.sqrt(np.where(known, variance, np.inf))
        yield (total[..., length:, :] - total[..., :-length, :]) / sigma


def threshold(
    filters_: Sequence[Filter],
    *,
    frames: int,
    reference: int,
    lengths: Sequence[int],
    false_alarm: float,
) -> float:
    """Return the score that noise alone exceeds anywhere with probability `false_alarm`.

    Series of white noise of the data's own variance are filtered and scored like the data. The
    maxima of blocks of points follow a Gumbel law, whose moments give the quantile that all blocks
    together exceed that seldom. The seed is fixed.
    """
    random = np.random.default_rng(0)
    weight = filters_[0].weight
    sigma = np.sqrt(np.where(weight > 0, 1.0 / np.where(weight > 0, weight, 1.0), 0.0))
    blocks = max(1, round(weight.size / BLOCK))
    batch = max(1, min(BATCH // (frames * weight.size), -(-SIMULATED // blocks)))
    maxima: list[float] = []
    while len(maxima) < SIMULATED:
        noise = random.standard_normal((batch, frames, weight.size))
        noise -= random.standard_normal((batch, 1, weight.size)) / np.sqrt(reference)
        highest = np.full((batch, weight.size), -np.inf)
        for filter_ in filters_:
            found = respond(filter_, noise * sigma)
            for score in scores(found, filter_.information, reference=reference, lengths=lengths):
                np.maximum(highest, score.max(axis=-2), out=highest)
        for part in np.array_split(highest, blocks, axis=-1):
            maxima += part.max(axis=-1).tolist()
    scale = float(np.std(maxima)) * np.sqrt(6.0) / np.pi
    place = float(np.mean(maxima)) - np.euler_gamma * scale
    seldom = -np.log1p(-false_alarm) / blocks
    return float(place - scale * np.log(seldom))
