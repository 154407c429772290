"""Whether all lines of the reference move together, and by how much in every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from operando.detect.frame_series import Series
from operando.detect.matched_filter import Filter, areas, filters
from operando.detect.new_lines import NARROWER

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CLEAR = 10.0
"""Score that a line needs in a single frame to tell how far it moved."""
MOST = 40
FEWEST = 3
"""Lines; with fewer, a line that moves and a sample that moves look the same."""
STRETCH_FROM = 5
"""Lines from which the shift may change linearly along the axis."""
APART = 3.0
"""Distance of such lines, in widths."""
FARTHEST, TRIALS = 1.5, 12
"""Largest shift that is looked for, in widths, and steps up to it."""
AGREEMENT = 0.8
"""Share of the lines that must move alike."""
ALIKE = 0.05
"""Disagreement that is allowed, in widths, besides three sigma."""
SIZEABLE, SURE = 0.03, 5.0
"""Shift that counts, in widths and in sigma."""
PRECISE = 0.1
"""Sigma of a line's movement, in widths, up to which it counts."""
ROUNDS = 4


@dataclass(frozen=True)
class Shift:
    """A movement of the whole pattern."""

    common: Mask
    """Frames in which all lines moved together, (n,)."""
    shift: Array
    """At the middle of the lines, in points, (n,); 0 where they did not."""
    stretch: Array
    """Change of the shift per point along the axis, (n,)."""
    sigma: Array
    middle: float
    """In points."""
    lines: int


def common_shift(series: Series, widths: tuple[float, ...]) -> Shift:
    """Measure the movement of the clear lines of the reference, and whether it is one movement.

    Each line is searched for around its place, with free height and local background. The
    movement is common where at least three lines are clear and four in five of them lie within
    three sigma and 0.05 FWHM of one shift, which may change linearly along the axis (from five
    lines on): a sample that moved, a zero that drifted, heat, or a lattice that breathes as one.
    """
    frames = len(series.values)
    lines = clear_lines(series, filters(series.weight, widths))
    where = np.array([place for place, _ in lines], dtype=float)
    width = np.array([width for _, width in lines])
    if len(lines) < FEWEST:
        none = np.zeros(frames)
        return Shift(none > 0, none, none, none, 0.0, len(lines))
    moved = [_movement(series, place, width) for place, width in lines]
    shift, sigma = (np.stack(part, axis=1) for part in zip(*moved, strict=True))
    middle = float(where.mean())
    return _common(shift, sigma, where - middle, width, middle)


def clear_lines(series: Series, bank: list[Filter]) -> list[tuple[int, float]]:
    """Return place and width, in points, of lines that a single frame shows, the clearest first."""
    pattern = series.pattern
    found = []
    narrower = None
    for filter_ in bank:
        score = areas(filter_, pattern) * np.sqrt(filter_.information)
        seen = score > CLEAR
        if narrower is not None and narrower.size:
            # what bends without being a line is seen by wide filters alone
            seen &= np.interp(filter_.places, *narrower) > NARROWER * score
        found += [(score[i], int(filter_.places[i]), filter_.width) for i in np.flatnonzero(seen)]
        narrower = np.stack([filter_.places, score])
    lines: list[tuple[int, float]] = []
    for _, place, width in sorted(found, key=lambda one: (-one[0], one[1])):
        if all(abs(place - other) > APART * max(width, wide) for other, wide in lines):
            lines.append((place, width))
        if len(lines) == MOST:
            break
    return lines


def _movement(series: Series, place: int, width: float) -> tuple[Array, Array]:
    """Return how far a line moved in each frame, in points, and sigma (infinite: not measured)."""
    reach = round((FARTHEST + APART / 2.0) * width)
    part = slice(max(place - reach, 0), place + reach + 1)
    at = np.arange(series.axis.size, dtype=float)[part]
    weight = series.weight[part]
    pattern = series.pattern
    spline = CubicSpline(np.arange(pattern.size), pattern)
    trials = np.linspace(-FARTHEST, FARTHEST, 2 * TRIALS + 1) * width
    root = np.sqrt(weight)
    ground = np.linalg.qr(root[:, None] * np.stack([np.ones_like(at), at - place], axis=1))[0]
    shapes = root * spline(np.clip(at - trials[:, None], 0, pattern.size - 1))
    shapes -= (shapes @ ground) @ ground.T
    size = np.sqrt((shapes**2).sum(axis=1))
    # root of the share of a mean frame: its noise is then that of the weight
    data = np.nan_to_num(series.values[:, part]) * np.sqrt(series.share)[:, None] * root
    along = data @ (shapes / np.where(size > 0, size, 1.0)[:, None]).T
    gain = np.where(along > 0, along, 0.0) ** 2
    best = np.clip(gain.argmax(axis=1), 1, trials.size - 2)
    rows = np.arange(len(gain))
    left, top, right = (gain[rows, best + off] for off in (-1, 0, 1))
    bend = np.maximum(2.0 * top - left - right, 1e-12)
    step = trials[1] - trials[0]
    off = 0.5 * (right - left) / bend
    clear = (top > CLEAR**2) & (np.abs(off) <= 1.0)
    # gain falls by 1 at one sigma
    sigma = np.where(clear, step * np.sqrt(2.0 / bend), np.inf)
    return np.where(clear, trials[best] + off * step, 0.0), sigma


def _common(shift: Array, sigma: Array, offset: Array, width: Array, middle: float) -> Shift:
    """Fit one movement to those of the lines (n, k) in each frame."""
    lines = offset.size
    error = np.hypot(sigma, 0.5 * ALIKE * width)
    # a line that cannot tell agrees with everything
    seen = sigma < PRECISE * width
    used = seen.copy()
    terms = np.stack([np.ones(lines), offset / max(float(np.abs(offset).max()), 1.0)])
    # a small ridge keeps a frame of few lines solvable
    ridge = np.diag([1e-9, 1e-9 if lines >= STRETCH_FROM else 1e9])
    for _ in range(ROUNDS):
        weight = np.where(used, 1.0 / np.where(used, error, 1.0) ** 2, 0.0)
        system = np.einsum("nk,ik,jk->nij", weight, terms, terms) + ridge
        right = np.einsum("nk,ik,nk->ni", weight, terms, np.where(used, shift, 0.0))
        solved = np.linalg.solve(system, right[:, :, None])[:, :, 0]
        off = np.abs(shift - solved @ terms)
        alike = seen & (off < 3.0 * np.where(seen, sigma, 0.0) + ALIKE * width)
        used = np.where((alike.sum(axis=1) >= FEWEST)[:, None], alike, seen)
    spread = np.sqrt(np.linalg.inv(system)[:, 0, 0])
    size = np.median(np.abs(solved @ terms), axis=1)
    common = seen.sum(axis=1) >= FEWEST
    common &= alike.sum(axis=1) >= AGREEMENT * np.maximum(seen.sum(axis=1), 1)
    common &= (size > SIZEABLE * np.median(width)) & (size > SURE * spread)
    stretch = solved[:, 1] / max(float(np.abs(offset).max()), 1.0)
    return Shift(
        common,
        np.where(common, solved[:, 0], 0.0),
        np.where(common, stretch, 0.0),
        spread,
        middle,
        lines,
    )


def follow(series: Series, shift: Shift) -> Series:
    """Return a series that expects the pattern of the reference where it moved to."""
    if not shift.common.any():
        return series
    at = np.arange(series.axis.size, dtype=float)
    hidden = ~np.isfinite(series.values[0])
    spline = CubicSpline(at[~hidden], series.rest[~hidden])
    expected = np.array(series.expected)
    for frame in np.flatnonzero(shift.common):
        source = at - shift.shift[frame] - shift.stretch[frame] * (at - shift.middle)
        # what comes out from under a mask is not known
        near = np.clip(np.stack([np.floor(source), np.ceil(source)]), 0, at.size - 1)
        unknown = hidden[near.astype(int)].any(axis=0) | (source < 0) | (source > at[-1])
        moved = spline(np.clip(source, 0, at[-1])) + series.lines[frame]
        expected[frame] = np.where(unknown, np.nan_to_num(series.values[frame]), moved)
    return replace(series, expected=expected)
