"""Scores of a line, absent from the reference, at every place of a series of frames.

At each place and for each width, the residual of a frame to what the reference leads one to expect
is projected on a pseudo-Voigt, by weighted least squares together with a quadratic background
within four widths. The projection is weighted anew at every place: a filter made orthogonal to the
background once, and then used on residuals over their variance, fires at every strong line that
drifts. Rows are (points, frames), so that all that follows a place through time is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from operando.observables.lines.profiles import profile

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

REACH = 4.0
"""Half of the stretch in which the background is fitted, in widths."""
DEGREE = 2
PER_WIDTH = 8
"""Places at which a line is looked for, per width, at most."""
CORE, WHOLE = 0.9, 0.55
"""Shares of the points within a width, and of the stretch, that must be measured."""
TILE = 256
"""Frames that are projected at once, so that a stretch of them stays in the cache."""
SPIKE = 3.0
"""Sigma by which a frame may exceed what lasts as long as a line must."""


@dataclass(frozen=True)
class Filter:
    """A matched filter of one width, in points, at the places where it fits."""

    width: float
    half: int
    """Points to either side that it spans."""
    places: Index
    """Along the axis, (p,)."""
    kernel: Array
    """What a residual is multiplied by, (p, 2 half + 1): gives area times information."""
    information: Array
    """1/variance of the area in one frame of the mean variance, (p,)."""

    @property
    def points(self) -> float:
        """How much of the axis, in points, its places stand for."""
        return float(self.places.size * _apart(self.width))


def filters(
    weight: Array, widths: Sequence[float], *, only: npt.NDArray[np.bool_] | None = None
) -> list[Filter]:
    """Return a filter of each width (FWHM in points) for data of `weight` 1/variance, (m,).

    Weight 0 is a point that was not measured. `only` limits the places (m,).
    """
    return [_filter(weight, width, only) for width in widths]


def _filter(weight: Array, width: float, only: npt.NDArray[np.bool_] | None) -> Filter:
    half = round(REACH * width)
    offset = np.arange(-half, half + 1.0)
    shape = profile(offset, centre=np.array(0.0), fwhm=np.array(width), eta=np.array(0.5))
    places = np.arange(0, weight.size, _apart(width))
    if only is not None:
        places = places[only[places]]
    padded = np.pad(weight, half)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)[places]
    measured = around > 0
    core = np.abs(offset) <= width
    enough = measured[:, core].mean(axis=1) > CORE
    enough &= measured.mean(axis=1) > WHOLE
    places, around = places[enough], np.array(around[enough])
    powers = (offset / half) ** np.arange(DEGREE + 1)[:, None]
    system = np.einsum("pk,ik,jk->pij", around, powers, powers, optimize=True)
    mixed = np.einsum("pk,ik,k->pi", around, powers, shape, optimize=True)
    share = np.linalg.solve(system, mixed[:, :, None])[:, :, 0]
    kernel = around * (shape - np.einsum("pi,ik->pk", share, powers))
    information = (kernel * shape).sum(axis=1)
    return Filter(float(width), half, places.astype(np.int64), kernel, information)


def _apart(width: float) -> int:
    """Points between places."""
    return max(1, int(width) // PER_WIDTH)


def padded(rows: Array, filter_: Filter) -> Array:
    """Return rows (m, n) with as many zeros before and after as the filter reaches beyond them."""
    return np.pad(rows, ((filter_.half, filter_.half), (0, 0)))


@numba.njit(nogil=True, cache=True)
def project(kernel: Array, places: Index, rows: Array) -> Array:
    """Return what kernels (p, k) make of rows (m + k - 1, n) from their places on: (p, n)."""
    count, taps = kernel.shape
    frames = rows.shape[1]
    out = np.zeros((count, frames))
    for start in range(0, frames, TILE):
        stop = min(start + TILE, frames)
        for place in range(count):
            line = out[place]
            for tap in range(0, taps - 3, 4):  # four at once: fewer passes over the sum
                first = places[place] + tap
                a, b, c, d = (
                    kernel[place, tap],
                    kernel[place, tap + 1],
                    kernel[place, tap + 2],
                    kernel[place, tap + 3],
                )
                row_a, row_b, row_c, row_d = (
                    rows[first],
                    rows[first + 1],
                    rows[first + 2],
                    rows[first + 3],
                )
                for frame in range(start, stop):
                    line[frame] += (
                        a * row_a[frame] + b * row_b[frame] + c * row_c[frame] + d * row_d[frame]
                    )
            for tap in range(taps - taps % 4, taps):
                last, row = kernel[place, tap], rows[places[place] + tap]
                for frame in range(start, stop):
                    line[frame] += last * row[frame]
    return out


def areas(filter_: Filter, values: Array) -> Array:
    """Return the area, in points, of the line at each place, in one pattern (m,)."""
    found = project(filter_.kernel, filter_.places, padded(values[:, None], filter_))
    return np.asarray(found[:, 0] / filter_.information)


def windows(frames: int, shortest: int) -> list[int]:
    """Return lengths of windows in frames: the shortest, times root 2 while it fits, and all."""
    steps = 2.0 ** (0.5 * np.arange(2 * int(np.log2(max(frames / shortest, 1.0))) + 2))
    lengths = sorted({round(shortest * step) for step in steps.tolist()})
    return [*(length for length in lengths if length < frames), frames]


@numba.njit(nogil=True, cache=True)
def cut_spikes(response: Array, variance: Array, shortest: int) -> None:
    """Hold responses (p, n) of more than 3 sigma to what lasts, plus 3 sigma, in place.

    What lasts is the largest, over the windows of `shortest` frames around a frame, of the least in
    a window (a morphological opening); for losses the opposite. A cosmic ray does not last.
    """
    places, frames = response.shape
    if frames < shortest:
        return
    whole = np.empty(frames)
    for place in range(places):
        row = response[place]
        whole[:] = row
        for frame in range(frames):
            room = SPIKE * np.sqrt(variance[place, frame])
            if abs(whole[frame]) <= room:
                continue
            sign = 1.0 if whole[frame] > 0 else -1.0
            lasting = 0.0
            for start in range(max(0, frame - shortest + 1), min(frame, frames - shortest) + 1):
                least = np.inf
                for other in range(start, start + shortest):
                    least = min(least, sign * whole[other])
                lasting = max(lasting, least)
            row[frame] = sign * min(sign * whole[frame], lasting + room)


# divisions that may not fail, or the loop over windows does not vectorise
@numba.njit(nogil=True, cache=True, error_model="numpy")
def best_windows(
    response: Array,
    variance: Array,
    misfit: Array,
    share: Array,
    fixed: Array,
    skew: Array,
    lengths: Index,
    threshold: float,
) -> tuple[Array, Index]:
    """Return the largest gain and loss of each place over all windows, and where they are.

    Parameters
    ----------
    response, variance, misfit
        (p, n): projections of frames weighted by their share; their variances; a bound to their
        errors, coherent between frames.
    share
        (n,): by how much of a mean frame each counts.
    fixed
        (2, p): variance of the projection of the reference's mean; error of a mean frame's
        projection that does not average down.
    skew
        (2, p): third cumulant of a mean frame's projection, and of the reference's mean.

    Returns
    -------
    score
        (2, p): gain, and loss as a positive number.
    where
        (2, 3, p): first frame, length, and the first frame by whose end `threshold` was passed, -1
        where it never was.
    """
    places, frames = response.shape
    score = np.zeros((2, places))
    where = np.zeros((2, 3, places), dtype=np.int64)
    where[:, 2] = -1
    weight, found = np.empty(frames), np.empty(frames)
    counted = _running(share)
    for place in range(places):
        total, noise = _running(response[place]), _running(variance[place])
        wrong = _running(misfit[place])
        shared, blurred = fixed[0, place], fixed[1, place] ** 2
        for length in lengths:
            for start in range(frames - length + 1):
                stop = start + length
                k = counted[stop] - counted[start]
                error = wrong[stop] - wrong[start]
                spread = noise[stop] - noise[start] + k * k * (shared + blurred) + error * error
                weight[start] = k / np.sqrt(spread)
                found[start] = (total[stop] - total[start]) / np.sqrt(spread)
            for start in range(frames - length + 1):
                side = 0 if found[start] > 0 else 1
                size = abs(found[start])
                if size <= min(score[side, place], threshold):
                    continue
                k = counted[start + length] - counted[start]
                size = _unskewed(size, side, k, weight[start] / k, skew[:, place])
                if size > score[side, place]:
                    score[side, place] = size
                    where[side, 0, place], where[side, 1, place] = start, length
                end, before = start + length - 1, where[side, 2, place]
                if size > threshold and (before < 0 or end < before):
                    where[side, 2, place] = end
    return score, where


@numba.njit(nogil=True, cache=True)
def _running(row: Array) -> Array:
    out = np.zeros(row.size + 1)
    for at in range(row.size):
        out[at + 1] = out[at] + row[at]
    return out


@numba.njit(nogil=True, cache=True)
def _unskewed(size: float, side: int, k: float, precision: float, skew: Array) -> float:
    """Return what a Gaussian would score that seldom (Cornish and Fisher), never more than given.

    Counts have heavier tails upwards, the more so the fewer they are.
    """
    if size <= 1.0:
        return size
    third = (k * skew[0] - k**3 * skew[1]) * precision**3
    excess: float = max(third if side == 0 else -third, 0.0)
    return size - excess * (size * size - 1.0) / 6.0
