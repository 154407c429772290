"""Detector images to patterns: a sparse matrix applied to several frames at a time.

Eight frames share each pass over the matrix: their sums for one bin lie next to each other, so
that the processor adds them at once. The sums of a frame are taken in the order of its pixels,
whatever frames stand beside it: results do not depend on how a series is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]

LANES = 8
"""Frames that are summed side by side."""
TILE = 256
"""Pixels that are unpacked at a time: those of eight frames stay in the nearest cache."""


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """Which share of each pixel falls into which bin, pixel after pixel."""

    starts: npt.NDArray[np.int64]
    """Where the entries of each pixel begin, (pixels + 1,); a masked pixel has none."""
    bins: npt.NDArray[np.int32]
    """Bin of each entry."""
    shares: npt.NDArray[np.float32]
    """Share of the pixel that lies in that bin, 0 to 1."""
    weights: Array
    """What the counts of each pixel are divided by, (pixels,)."""
    points: int
    """Number of bins."""


def normalisation(splitting: Splitting) -> Array:
    """Return the sum of share times weight in each bin, (points,), where every pixel counts."""
    every = np.zeros((1, splitting.weights.size), dtype=np.uint8)
    nothing_dead = np.zeros(0)
    sums = np.zeros((splitting.points, LANES))
    _weigh(every, nothing_dead, splitting.weights, *_matrix(splitting), sums)
    return np.ascontiguousarray(sums[:, 0])


def integrated(
    images: Images, splitting: Splitting, usual: Array, *, dead: Array, dark: Array | None = None
) -> tuple[Array, Array]:
    """Return intensity and its standard deviation, (frames, points) each.

    With the share c of a pixel in a bin, its weight w, its counts n and the dark counts b::

        I = sum c (n - b) / sum c w      sigma = sqrt(sum c^2 max(n, 1)) / sum c w

    The sums run over the living pixels; a bin that has none is NaN.

    Parameters
    ----------
    images
        (frames, pixels), real numbers of any type.
    usual
        `normalisation` of the splitting: the denominator of frames in which every pixel lives.
    dead
        Values that mean that a pixel has no reading; NaN and infinities always do.
    dark
        Counts of the dark image, (pixels,); subtracted, its noise is not counted.
    """
    count = images.shape[0]
    intensity, sigma = np.empty((2, count, splitting.points))
    shift = np.zeros(0) if dark is None else dark
    for first in range(0, count, LANES):
        lanes = images[first : first + LANES]
        sums = np.zeros((splitting.points, 2 * LANES))
        whole = usual[:, None]
        if _add(lanes, dead, shift, *_matrix(splitting), sums):
            whole = np.zeros((splitting.points, LANES))
            _weigh(lanes, dead, splitting.weights, *_matrix(splitting), whole)
            whole = whole[:, : len(lanes)]
        signal, variance = sums[:, : len(lanes)], sums[:, LANES : LANES + len(lanes)]
        with np.errstate(invalid="ignore"):
            intensity[first : first + LANES] = (signal / whole).T
            sigma[first : first + LANES] = (np.sqrt(variance) / whole).T
    return intensity, sigma


def _matrix(splitting: Splitting) -> tuple[Any, Any, Any]:
    return splitting.starts, splitting.bins, splitting.shares


@numba.njit(nogil=True, cache=True)
def _add(
    images: Images, dead: Array, dark: Array, starts: Any, bins: Any, shares: Any, sums: Array
) -> bool:
    """Add signal and variance of up to eight frames to sums (points, 16); tell of dead pixels."""
    tile = np.zeros((TILE, 2 * LANES))
    some = False
    for first in range(0, images.shape[1], TILE):
        last = min(first + TILE, images.shape[1])
        some |= _unpack(images, dead, dark, starts, first, last, tile)
        for pixel in range(first, last):
            values = tile[pixel - first]
            for entry in range(starts[pixel], starts[pixel + 1]):
                share = float(shares[entry])
                square = share * share
                of_bin = sums[bins[entry]]
                for lane in range(LANES):
                    of_bin[lane] += share * values[lane]
                    of_bin[LANES + lane] += square * values[LANES + lane]
    return some


@numba.njit(nogil=True, cache=True)
def _unpack(
    images: Images, dead: Array, dark: Array, starts: Any, first: int, last: int, tile: Array
) -> bool:
    """Put signal and variance of some pixels into a tile, zeros for dead ones; tell of these."""
    some = False
    low, high = _living_range(dead)
    for pixel in range(first, last):
        shift = dark[pixel] if dark.size else 0.0
        values = tile[pixel - first]
        for frame in range(images.shape[0]):
            counts = float(images[frame, pixel])
            if low < counts < high or _lives(counts, dead):
                values[frame] = counts - shift
                values[LANES + frame] = max(counts, 1.0)
            else:
                values[frame] = values[LANES + frame] = 0.0
                some = some or starts[pixel] < starts[pixel + 1]
    return some


@numba.njit(nogil=True, cache=True)
def _weigh(
    images: Images, dead: Array, weights: Array, starts: Any, bins: Any, shares: Any, sums: Array
) -> None:
    """Add share times weight of the living pixels of up to eight frames to sums (points, 8)."""
    alive = np.zeros(LANES)
    for pixel in range(images.shape[1]):
        if starts[pixel] == starts[pixel + 1]:
            continue
        for frame in range(images.shape[0]):
            alive[frame] = 1.0 if _lives(float(images[frame, pixel]), dead) else 0.0
        for entry in range(starts[pixel], starts[pixel + 1]):
            weight = float(shares[entry]) * weights[pixel]
            of_bin = sums[bins[entry]]
            for lane in range(LANES):
                of_bin[lane] += weight * alive[lane]


@numba.njit(nogil=True, cache=True)
def _living_range(dead: Array) -> tuple[float, float]:
    """Return the dead values nearest to zero: between them all readings are alive."""
    low, high = -np.inf, np.inf
    for value in dead:
        if value > 0:
            high = min(high, value)
        else:
            low = max(low, value)
    return low, high


@numba.njit(nogil=True, cache=True)
def _lives(counts: float, dead: Array) -> bool:
    for value in dead:
        if counts == value:
            return False
    return bool(np.isfinite(counts))
