"""Edge, white line and step of many spectra on one grid, with sigma: compiled, a row at a time.

Nothing here is shared between rows, and every sum has its own order: the numbers of a spectrum do
not depend on which others are measured with it.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from operando.corrections.normalisation import weighted_sum
from operando.corrections.white_noise import remainders, scale
from operando.observables.edge_plan import Plan, noise_weights, slope_weights

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

HALF, HALF_SIGMA, INTEGRAL, INTEGRAL_SIGMA, TOP, TOP_SIGMA, STEP, STEP_SIGMA = range(8)
OFFSET, SLOPE, NOISE, EARLY, TWO_MAXIMA = range(8, 13)
OFFSET_VARIANCE, SLOPE_VARIANCE, OFFSET_SLOPE = range(13, 16)
FIRST_MEMBER = 16
"""Columns of the numbers. Then, for each member of the ensemble, four: half-height, integral, and
what it adds to offset and slope."""

EARLY_SHARE = 0.8
"""A feature before the edge above this part of the level is too near it."""
EARLY_DIP = 8.0
"""In sigma: by how much the spectrum falls after a feature that is no noise."""
SECOND_SHARE, SECOND_DIP = 0.8, 0.1
"""A second maximum of the derivative has this part of the first, and a dip that deep before it."""
CERTAIN = 7.0
"""In sigma of the derivative: a dip that is no noise."""


def measure(plan: Plan, mu: Array, variance: Array | None = None) -> Array:
    """Return the numbers of spectra (n, m): (n, FIRST_MEMBER + 4 members), named by the constants.

    `variance` of a point, (n or 1, m or 1); None estimates white noise. Half-height is where the
    normalised spectrum last rises through the level in the window; the integral is taken around it.
    Sigma is exact to first order, line and step included: with W = dE/dnorm,

        dE = sum (W - c G) dmu / step,   c = (sum W, sum W x, sum W norm),

    and the rows G of offset, slope and step, shared by all spectra. EARLY and TWO_MAXIMA are 0 or
    1; what cannot be measured is NaN.
    """
    members = np.array(plan.members, np.int64).reshape(-1, 2)
    numbers = np.full((mu.shape[0], FIRST_MEMBER + 4 * len(members)), np.nan)
    seen = plan.seen
    starts, slopes = slope_weights(plan)
    _measure(
        np.ascontiguousarray(mu, dtype=float),
        np.zeros((1, 1)) if variance is None else np.ascontiguousarray(variance, dtype=float),
        variance is None,
        plan.energy[seen],
        plan.e0,
        (seen.start, plan.noise_points.start),
        (plan.lines, plan.heights, plan.shares, plan.shared, noise_weights(plan)),
        (plan.line_points, plan.height_points, members),
        (starts, slopes),
        (plan.level, *plan.band),
        numbers,
    )
    return numbers


@numba.njit(nogil=True, cache=True)
def _measure(
    mu: Array,
    variance: Array,
    estimate: bool,
    grid: Array,
    e0: float,
    places: tuple[int, int],
    weights: tuple[Array, Array, Array, Array, Array],
    points: tuple[Integers, Integers, Integers],
    derivative: tuple[Integers, Array],
    levels: tuple[float, float, float],
    numbers: Array,
) -> None:
    lines, heights, shares, shared, remaining = weights
    line_points, height_points, members = points
    first, noisy = places
    distance = grid - e0
    squares = np.empty(remaining.shape[1])
    scratch = np.empty(grid.size), np.empty(grid.size)
    gram, covariance = np.zeros((3, 3)), np.zeros((3, 3))
    _covary(np.ones(1), shared, gram)
    coefficients = np.zeros((max(lines.shape[0], 1), 2))
    steps = np.ones((max(lines.shape[0], 1), max(heights.shape[0], 1)))
    for row in range(mu.shape[0]):
        y, out = mu[row], numbers[row]
        _fit_ranges(y, lines, line_points, heights, height_points, shares, coefficients, steps)
        spread = variance[row if variance.shape[0] > 1 else 0]
        if estimate:
            remainders(y[noisy:], remaining, squares)
            noise = scale(squares) if squares.size else np.nan
            spread = np.full(1, noise * noise)
        if spread.size == 1:
            covariance[:] = gram * spread[0]
        elif row == 0 or variance.shape[0] > 1:
            _covary(spread, shared, covariance)
        near = spread if spread.size == 1 else spread[first : first + grid.size]
        out[NOISE] = np.sqrt(np.mean(near))
        out[OFFSET], out[SLOPE], out[STEP] = coefficients[0, 0], coefficients[0, 1], steps[0, 0]
        out[OFFSET_VARIANCE], out[OFFSET_SLOPE] = covariance[0, 0], covariance[0, 1]
        out[SLOPE_VARIANCE], out[STEP_SIGMA] = covariance[1, 1], np.sqrt(covariance[2, 2])
        at = _edge(
            y, out, grid, distance, first, levels, derivative, shared, covariance, spread, scratch
        )
        if at >= 0:
            _members(
                y, out, grid, distance, first, at, levels, members, coefficients, steps, scratch
            )


@numba.njit(nogil=True, cache=True)
def _fit_ranges(
    y: Array,
    lines: Array,
    line_points: Integers,
    heights: Array,
    height_points: Integers,
    shares: Array,
    coefficients: Array,
    steps: Array,
) -> None:
    """Put offset and slope (A, 2) of every pre-edge range, and the step (A, B) with every other."""
    for a in range(lines.shape[0]):
        for term in range(2):
            weights = lines[a, term]
            coefficients[a, term] = weighted_sum(y, weights, line_points[a, 0], line_points[a, 1])
    for b in range(heights.shape[0]):
        height = weighted_sum(y, heights[b], height_points[b, 0], height_points[b, 1])
        for a in range(lines.shape[0]):
            line = shares[b, 0] * coefficients[a, 0] + shares[b, 1] * coefficients[a, 1]
            steps[a, b] = height - line


@numba.njit(nogil=True, cache=True)
def _edge(
    y: Array,
    out: Array,
    grid: Array,
    distance: Array,
    first: int,
    levels: tuple[float, float, float],
    derivative: tuple[Integers, Array],
    shared: Array,
    covariance: Array,
    spread: Array,
    scratch: tuple[Array, Array],
) -> int:
    """Put white line and edge with their sigma; return the interval of half-height, -1 without."""
    norm, weight = scratch
    step = out[STEP]
    if not _normalise(y, first, distance, out[OFFSET], out[SLOPE], step, norm):
        return -1
    top = _highest(norm)
    weight[top] = 1.0
    out[TOP] = norm[top]
    out[TOP_SIGMA] = _sigma(
        weight, norm, distance, top, top + 1, shared, covariance, spread, first, step
    )
    at = _last_rise(norm, levels[0])
    if at < 0:
        return -1
    noise = out[NOISE] / step
    out[EARLY] = _early(norm, at, levels[0], noise)
    out[TWO_MAXIMA] = _two_maxima(y, derivative, step, noise, out[SLOPE])
    out[HALF] = _half(norm, grid, at, levels[0], weight)
    out[HALF_SIGMA] = _sigma(
        weight, norm, distance, at, at + 2, shared, covariance, spread, first, step
    )
    out[INTEGRAL], begin, end = _integral(norm, grid, at, levels, weight)
    if begin < end:
        out[INTEGRAL_SIGMA] = _sigma(
            weight, norm, distance, begin, end, shared, covariance, spread, first, step
        )
    return at


@numba.njit(nogil=True, cache=True)
def _members(
    y: Array,
    out: Array,
    grid: Array,
    distance: Array,
    first: int,
    at: int,
    levels: tuple[float, float, float],
    members: Integers,
    coefficients: Array,
    steps: Array,
    scratch: tuple[Array, Array],
) -> None:
    """Put the edge as other ranges have it, looked for from interval `at` on."""
    norm, weight = scratch
    for member in range(members.shape[0]):
        a, b = members[member]
        offset, slope = coefficients[a, 0], coefficients[a, 1]
        column = FIRST_MEMBER + 4 * member
        out[column + 2] = (offset - out[OFFSET]) / out[STEP]
        out[column + 3] = (slope - out[SLOPE]) / out[STEP]
        if not _normalise(y, first, distance, offset, slope, steps[a, b], norm):
            continue
        place = _nearby_rise(norm, at, levels[0])
        if place >= 0:
            out[column] = _half(norm, grid, place, levels[0], weight)
            out[column + 1] = _integral(norm, grid, place, levels, weight)[0]


@numba.njit(nogil=True, cache=True)
def _normalise(
    y: Array, first: int, distance: Array, offset: float, slope: float, step: float, norm: Array
) -> bool:
    """Put the normalised spectrum in the window; False when it has gaps or no step up."""
    if not step > 0:
        return False
    whole = True
    for at in range(distance.size):
        norm[at] = (y[first + at] - offset - slope * distance[at]) / step
        whole = whole and np.isfinite(norm[at])
    return whole


@numba.njit(nogil=True, cache=True)
def _covary(variance: Array, rows: Array, out: Array) -> None:
    """Put the covariance (3, 3) of rows . mu into `out`, for a variance of (m or 1,) points."""
    for i in range(3):
        for j in range(i + 1):
            total = 0.0
            for at in range(rows.shape[1]):
                product = rows[i, at] * rows[j, at]
                if product != 0:
                    total += product * variance[at if variance.size > 1 else 0]
            out[i, j] = out[j, i] = total


@numba.njit(nogil=True, cache=True)
def _highest(norm: Array) -> int:
    top = 0
    for at in range(1, norm.size):
        if norm[at] > norm[top]:
            top = at
    return top


@numba.njit(nogil=True, cache=True)
def _last_rise(norm: Array, level: float) -> int:
    """Return the last interval in which the spectrum rises through the level; -1 without."""
    for at in range(norm.size - 2, -1, -1):
        if norm[at] < level <= norm[at + 1]:
            return at
    return -1


@numba.njit(nogil=True, cache=True)
def _nearby_rise(norm: Array, at: int, level: float) -> int:
    """Return the interval of a rise through the level, looked for from interval `at`; -1."""
    while at >= 0 and norm[at] >= level:
        at -= 1
    if at < 0:
        return -1
    while at + 1 < norm.size and norm[at + 1] < level:
        at += 1
    return at if at + 1 < norm.size else -1


@numba.njit(nogil=True, cache=True)
def _early(norm: Array, at: int, level: float, noise: float) -> float:
    """Tell whether, before the rise at `at`, something near the level or above it came and went."""
    lowest = norm[at]
    for before in range(at - 1, -1, -1):
        lowest = min(lowest, norm[before])
        if norm[before] >= EARLY_SHARE * level and norm[before] - lowest > EARLY_DIP * noise:
            return 1.0
    return 0.0


@numba.njit(nogil=True, cache=True)
def _two_maxima(
    y: Array, derivative: tuple[Integers, Array], step: float, noise: float, slope: float
) -> float:
    """Tell whether the derivative has a second maximum about as high as the first."""
    starts, weights = derivative
    rise = np.empty(starts.size)
    for at in range(starts.size):
        total = 0.0
        for term in range(weights.shape[1]):
            total += weights[at, term] * y[starts[at] + term]
        rise[at] = (total - slope) / step
    top = _highest(rise)
    needed = CERTAIN * noise * np.sqrt(np.sum(weights[top] ** 2))
    needed = max(needed, SECOND_DIP * rise[top])
    for way in (-1, 1):
        lowest, at = rise[top], top + way
        while 0 <= at < rise.size:
            lowest = min(lowest, rise[at])
            if rise[at] >= SECOND_SHARE * rise[top] and rise[at] - lowest > needed:
                return 1.0
            at += way
    return 0.0


@numba.njit(nogil=True, cache=True)
def _cross(norm: Array, grid: Array, at: int, level: float) -> float:
    """Return where the spectrum is at the level in interval `at`."""
    share = (level - norm[at]) / (norm[at + 1] - norm[at])
    return float(grid[at] + share * (grid[at + 1] - grid[at]))


@numba.njit(nogil=True, cache=True)
def _half(norm: Array, grid: Array, at: int, level: float, weight: Array) -> float:
    """Return the energy of the level in interval `at`; its weights are put there."""
    rise, width = norm[at + 1] - norm[at], grid[at + 1] - grid[at]
    share = (level - norm[at]) / rise
    weight[at], weight[at + 1] = -(1 - share) * width / rise, -share * width / rise
    return float(grid[at] + share * width)


@numba.njit(nogil=True, cache=True)
def _integral(
    norm: Array, grid: Array, at: int, levels: tuple[float, float, float], weight: Array
) -> tuple[float, int, int]:
    """Return the mean energy over the band around interval `at`, and the points with a weight.

    The spectrum is made of straight lines between its points. NaN and no points where it does not
    cross the whole band.
    """
    low, high = levels[1], levels[2]
    begin, end = at, at
    while begin >= 0 and norm[begin] >= low:
        begin -= 1
    while end + 1 < norm.size and norm[end + 1] < high:
        end += 1
    if begin < 0 or end + 1 == norm.size:
        return np.nan, 0, 0
    start, stop = _cross(norm, grid, begin, low), _cross(norm, grid, end, high)
    weight[begin : end + 2] = 0.0
    area = -low * (stop - start)
    for left in range(begin, end + 1):
        width = grid[left + 1] - grid[left]
        a, b = max(grid[left], start), min(grid[left + 1], stop)
        share = ((a + b) / 2 - grid[left]) / width
        weight[left] -= (b - a) * (1 - share) / (high - low)
        weight[left + 1] -= (b - a) * share / (high - low)
        area += (b - a) * ((1 - share) * norm[left] + share * norm[left + 1])
    return stop - area / (high - low), begin, end + 2


@numba.njit(nogil=True, cache=True)
def _sigma(
    weight: Array,
    norm: Array,
    distance: Array,
    begin: int,
    end: int,
    shared: Array,
    covariance: Array,
    variance: Array,
    first: int,
    step: float,
) -> float:
    """Return the sigma of weight . norm over the points from `begin` to `end` of the window."""
    c0 = c1 = c2 = own = mixed = 0.0
    for at in range(begin, end):
        c0 += weight[at]
        c1 += weight[at] * distance[at]
        c2 += weight[at] * norm[at]
    for at in range(begin, end):
        point = first + at
        spread = weight[at] * variance[point if variance.size > 1 else 0]
        own += weight[at] * spread
        line = c0 * shared[0, point] + c1 * shared[1, point]
        mixed += spread * (line + c2 * shared[2, point])
    common = c0 * c0 * covariance[0, 0] + c1 * c1 * covariance[1, 1] + c2 * c2 * covariance[2, 2]
    common += 2 * c0 * c1 * covariance[0, 1]
    common += 2 * c2 * (c0 * covariance[0, 2] + c1 * covariance[1, 2])
    return float(np.sqrt(own - 2 * mixed + common) / step)
