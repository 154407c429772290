"""The wave of a voltammogram: potential and current of its peak, and how sure they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operando.electrochemistry.states import white_noise

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ASSESSMENT: dict[str, int] = {"few_rows": 1, "no_peak": 4, "poor_fit": 16}
"""See `voltammetry.ASSESSMENT`."""

FEWEST_ROWS = 20
SMOOTHED = 51
"""Smoothing for finding a peak is over one in so many rows of a sweep, and a row at least."""
PROMINENT = 10.0
TOP = 0.15
"""The cubic goes through the rows within so much of the height of the peak below its top, or less:
the square root of noise over height keeps the bias of a reversible and of a Gaussian wave below
sigma / 2. A parabola would be off by 5 sigma of the first, which is skewed."""
FEWEST_PEAK_ROWS = 8
DEGREES = (2, 3)
"""Of the polynomials that are fitted in turn, each to the window around the vertex before."""
POOR = 2.0


class Wave(NamedTuple):
    """The largest peak of a sweep."""

    potential: float
    potential_sigma: float
    """V."""
    current: float
    current_sigma: float
    """A, signed."""
    assessment: int


NO_WAVE = Wave(np.nan, np.nan, np.nan, np.nan, ASSESSMENT["no_peak"])


def measure_wave(voltage: Array, current: Array, sign: int) -> Wave:
    """Measure the largest maximum of the current (n,), A, over the potential (n,), V.

    `sign` is that of the sweep; `current` has been multiplied by it.
    """
    seen = np.isfinite(voltage) & np.isfinite(current)
    voltage, current = voltage[seen], current[seen]
    if voltage.size < FEWEST_ROWS:
        return NO_WAVE._replace(assessment=ASSESSMENT["few_rows"])
    noise = white_noise(current)
    width = 2 * (voltage.size // SMOOTHED // 2) + 1
    smooth = np.convolve(current, np.ones(width) / width, "valid")
    top = _largest_peak(smooth, PROMINENT * noise / np.sqrt(width))
    if top is None:
        return NO_WAVE
    at, left, right = top
    height = smooth[at] - max(smooth[left], smooth[right])
    share = min(TOP, float(np.sqrt(noise / height)))
    above = smooth > smooth[at] - share * height
    low = at - int(np.argmin(above[at::-1])) if not above[: at + 1].all() else 0
    high = at + int(np.argmin(above[at:])) if not above[at:].all() else smooth.size - 1
    rows = np.arange(low, high + 1) + width // 2
    fit = _vertex(voltage, current, _enough(rows, voltage.size), degree=DEGREES[0])
    for degree in DEGREES:
        if fit is None:
            return NO_WAVE
        # A window around the vertex, not where the noise first falls below the top.
        off = np.abs(voltage - fit.potential)
        reach = max(float(np.sqrt(2 * share * height / -fit.bend)), float(off.min()))
        rows = np.flatnonzero(off <= reach)
        fit = _vertex(voltage, current, _enough(rows, voltage.size), degree=degree)
    if fit is None:
        return NO_WAVE
    poor = fit.scatter > POOR * noise > 0
    return Wave(
        fit.potential,
        fit.potential_sigma,
        sign * fit.current,
        fit.current_sigma,
        ASSESSMENT["poor_fit"] if poor else 0,
    )


def _enough(rows: Integers, size: int) -> slice:
    """Return the stretch of rows, widened to as many as a cubic needs."""
    first, last = int(rows[0]), int(rows[-1])
    missing = max(FEWEST_PEAK_ROWS - (last - first + 1) + 1, 0) // 2
    return slice(max(first - missing, 0), min(last + 1 + missing, size))


def _largest_peak(smooth: Array, smallest: float) -> tuple[int, int, int] | None:
    """Return the most prominent maximum, and the lowest points to its left and right."""
    inner = np.flatnonzero((smooth[1:-1] >= smooth[:-2]) & (smooth[1:-1] > smooth[2:])) + 1
    best: tuple[int, int, int] | None = None
    best_height = smallest
    for at in inner[np.argsort(smooth[inner])[::-1]].tolist():
        higher = np.flatnonzero(smooth > smooth[at])
        begin = int(higher[higher < at].max(initial=-1)) + 1
        stop = int(higher[higher > at].min(initial=smooth.size))
        left = begin + int(np.argmin(smooth[begin : at + 1]))
        right = at + int(np.argmin(smooth[at:stop]))
        height = smooth[at] - max(smooth[left], smooth[right])
        if height > best_height:
            best, best_height = (at, left, right), height
        if smooth[at] - smooth.min() <= best_height:
            break
    return best


class _Vertex(NamedTuple):
    potential: float
    potential_sigma: float
    current: float
    current_sigma: float
    bend: float
    """Second derivative, A/V^2, negative."""
    scatter: float
    """Of the rows, A."""


def _vertex(voltage: Array, current: Array, rows: slice, *, degree: int) -> _Vertex | None:
    """Fit a polynomial to the rows and return its maximum, with sigmas by propagation.

    With x the potential from the middle of the rows, relative to half their range, a + b x + c x^2
    + d x^3 is largest where x = b / (s - c), s^2 = c^2 - 3 b d; its second derivative there is -2s.
    """
    voltage, current = voltage[rows], current[rows]
    if voltage.size < FEWEST_PEAK_ROWS or np.ptp(voltage) == 0:
        return None
    centre, scale = float(voltage.mean()), float(np.ptp(voltage)) / 2
    design = np.vander((voltage - centre) / scale, degree + 1, increasing=True)
    inverse = np.linalg.pinv(design.T @ design)
    fitted = inverse @ design.T @ current
    b, c, d = float(fitted[1]), float(fitted[2]), float(fitted[3]) if degree == 3 else 0.0
    square = c * c - 3 * b * d
    root = float(np.sqrt(square)) if square > 0 else 0.0
    if root == 0 or (degree == 2 and c >= 0) or abs(b) > abs(root - c):
        return None
    at = b / (root - c)
    left = current - design @ fitted
    # Of Student's distribution, since the scatter itself comes from these few rows.
    free = left.size - degree - 1
    scatter = float(np.sqrt(left @ left / free))
    powers = at ** np.arange(degree + 1)
    slopes = np.append(0.0, np.arange(1, degree + 1) * powers[:-1])
    spread = [
        scatter * float(np.sqrt(free / (free - 2) * (weights @ inverse @ weights)))
        for weights in (slopes / (2 * root), powers)
    ]
    height = float(powers @ fitted)
    bend = -2 * root / scale**2
    return _Vertex(centre + scale * at, scale * spread[0], height, spread[1], bend, scatter)
