"""Asymmetrically reweighted penalised least squares (arPLS) of many spectra side by side.

The baseline z of a spectrum y minimises sum w_i (y_i - z_i)^2 + lam sum (z_i-1 - 2 z_i + z_i+1)^2.
With m and s, mean and standard deviation of the differences d = y - z that are negative, which are
noise alone, the next weights are

    w_i = 1 / (1 + exp(2 (d_i - (2 s - m)) / s)),

so that bands lose theirs (Baek, Park, Ahn and Choo, Analyst 140 (2015) 250). The matrix of the
equations has five diagonals; its factors L D L' are found on the way up, z on the way down.

Each step waits for the one before, so that a processor has little to do for one spectrum. Sixteen
are therefore carried abreast, each in a lane of its own which takes the next spectrum as soon as
its own has settled. Lanes do not touch each other: a baseline is the same to the last bit, whatever
spectra it was computed with.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LANES = 16
"""Spectra side by side; of 8, the compiler unrolls the loops before it makes vectors of them."""
VALUE, WEIGHT, SMOOTH, FORWARD, PIVOT, LOWER = (LANES * field for field in range(6))
"""What a point of all lanes is described by: y, w, z, the solution of L f = w y, 1 / D, and the
first diagonal below that of L. The second one is lam times 1 / D of two points before."""
POINT = 6 * LANES
NEGATIVE, SQUARED, NUMBER, EDGE, SLOPE, CHANGE, LENGTH = (LANES * part for part in range(7))
"""Of each lane: sums of d < 0, of their squares, how many; 2 s - m and 2 / s; the sums of squares
of the change of the weights and of the weights before."""
STEEPEST = 60.0
"""Exponents are kept within this: a weight of 1e-26 is none."""
ENOUGH = 0.5
"""Part of the points of a spectrum that must be there."""
LEAST_POINTS = 4


def arpls(
    y: Array, *, lam: float = 1e5, tolerance: float = 1e-3, rounds: int = 50
) -> tuple[Array, Integers]:
    """Return the baselines (n, m) of the spectra y (n, m), and the rounds (n,) they took.

    A point that is not finite has no weight: the baseline goes on across it. Spectra of which more
    than half is missing have a baseline of NaN, and zero rounds.

    Parameters
    ----------
    lam
        Stiffness; it grows with the fourth power of the points a band has. 1e4 to 1e7 are usual.
    tolerance
        A spectrum is done when its weights change by less than this part of their length.
    rounds
        Most reweightings; one that took `rounds` + 1 was still changing.

    Notes
    -----
    Points count as equally spaced, as in all such methods. Rows are independent: cut anywhere, the
    result is the same to the last bit.
    """
    rows = np.ascontiguousarray(y, dtype=float)
    usable = np.isfinite(rows).sum(axis=1) > max(ENOUGH * rows.shape[1], LEAST_POINTS - 1)
    return _arpls(rows, usable, float(lam), float(tolerance), int(rounds))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _arpls(
    rows: Array, usable: npt.NDArray[np.bool_], lam: float, tolerance: float, rounds: int
) -> tuple[Array, Integers]:
    count, points = rows.shape
    out, taken = np.full((count, points), np.nan), np.zeros(count, np.int64)
    state, lane = np.zeros((points + 4) * POINT), np.zeros(7 * LANES)
    holds, age = np.full(LANES, -1), np.zeros(LANES, np.int64)
    idle = np.zeros(points)
    ahead = 0
    for b in range(LANES):
        _load(state, lam, b, idle)
    while True:
        for b in range(LANES):
            if holds[b] >= 0:
                continue
            while ahead < count and not usable[ahead]:
                ahead += 1
            if ahead < count:
                _load(state, lam, b, rows[ahead])
                holds[b], age[b] = ahead, 0
                ahead += 1
        if holds.max() < 0:
            return out, taken
        lane[:] = 0.0
        _descend(state, lam, lane)
        for b in range(LANES):
            number = max(lane[NUMBER + b], 2.0)
            mean = lane[NEGATIVE + b] / number
            square = (lane[SQUARED + b] - number * mean * mean) / (number - 1.0)
            spread = np.sqrt(max(square, 1e-300))
            lane[EDGE + b], lane[SLOPE + b] = 2.0 * spread - mean, 2.0 / spread
        _ascend(state, lam, lane)
        for b in range(LANES):
            row = holds[b]
            age[b] += 1
            settled = np.sqrt(lane[CHANGE + b] / lane[LENGTH + b]) < tolerance
            if row >= 0 and (settled or age[b] > rounds or lane[NUMBER + b] < 2.0):
                for at in range(points):
                    out[row, at] = state[POINT * (at + 2) + SMOOTH + b]
                taken[row], holds[b] = age[b], -1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ascend(state: Array, lam: float, lane: Array) -> None:
    """Give all points their new weights, factorise the matrix, and solve L f = w y on the way."""
    points = state.size // POINT - 4
    for at in range(points):
        own, first, second = _penalty(at, points, lam)
        part = state[POINT * at : POINT * (at + 3)]  # the two points before, and this one
        for b in range(LANES):
            value = part[2 * POINT + VALUE + b]
            apart = value - part[2 * POINT + SMOOTH + b] - lane[EDGE + b]
            power = min(max(apart * lane[SLOPE + b], -STEEPEST), STEEPEST)
            weight = 1.0 / (1.0 + _exponential(power))
            before = part[2 * POINT + WEIGHT + b]
            change = weight - before
            lane[CHANGE + b] += change * change
            lane[LENGTH + b] += before * before
            part[2 * POINT + WEIGHT + b] = weight
            _eliminate(part, b, weight, value, own, first, second)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _descend(state: Array, lam: float, lane: Array) -> None:
    """Find z from the last point to the first, and gather what its negative differences say."""
    points = state.size // POINT - 4
    for at in range(points - 1, -1, -1):
        part = state[POINT * (at + 2) : POINT * (at + 5)]  # this point, and the two beyond
        for b in range(LANES):
            scaled = part[FORWARD + b] - lam * part[2 * POINT + SMOOTH + b]
            nearer = part[POINT + LOWER + b] * part[POINT + SMOOTH + b]
            smooth = scaled * part[PIVOT + b] - nearer
            part[SMOOTH + b] = smooth
            apart = part[VALUE + b] - smooth
            below = min(apart, 0.0)
            lane[NEGATIVE + b] += below
            lane[SQUARED + b] += below * below
            lane[NUMBER + b] += 1.0 if apart < 0.0 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _load(state: Array, lam: float, b: int, row: Array) -> None:
    """Put a spectrum into a lane, with weights of one, as far as L f = w y."""
    low, high = np.inf, -np.inf
    for value in row:
        if np.isfinite(value):
            low, high = min(low, value), max(high, value)
    # A missing point lies far above the baseline, where every round leaves it without a weight.
    missing = high + 100.0 * (high - low) + 1.0
    for at in range(row.size):
        own, first, second = _penalty(at, row.size, lam)
        part = state[POINT * at : POINT * (at + 3)]
        there = np.isfinite(row[at])
        value, weight = (row[at], 1.0) if there else (missing, 0.0)
        part[2 * POINT + VALUE + b], part[2 * POINT + WEIGHT + b] = value, weight
        _eliminate(part, b, weight, value, own, first, second)


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _eliminate(
    part: Array, b: int, weight: float, value: float, own: float, first: float, second: float
) -> None:
    """Factorise the row of the third point in `part`, and solve L f = w y there."""
    farther = second * part[PIVOT + b]
    rest = first - second * part[POINT + LOWER + b]
    nearer = rest * part[POINT + PIVOT + b]
    part[2 * POINT + PIVOT + b] = 1.0 / (weight + own - second * farther - rest * nearer)
    part[2 * POINT + LOWER + b] = nearer
    passed = farther * part[FORWARD + b] + nearer * part[POINT + FORWARD + b]
    part[2 * POINT + FORWARD + b] = weight * value - passed


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _penalty(at: int, points: int, lam: float) -> tuple[float, float, float]:
    """Return a row of lam D'D: its diagonal, and the first and second element before that."""
    own = 6.0
    if at in (0, points - 1):
        own = 1.0
    elif at in (1, points - 2):
        own = 5.0
    first = -2.0 if at in (1, points - 1) else -4.0
    return lam * own, lam * first if at > 0 else 0.0, lam if at > 1 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _exponential(x: float) -> float:
    """Return e^x to 2e-14 for |x| < 60: Taylor's polynomial of x / 128, squared seven times.

    No branches and no table, so that it becomes vector instructions with the loop around it.
    """
    r = x * 0.0078125
    p = 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    p = p * p  # not in a loop, which would keep the one around it from becoming vectors
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    p = p * p
    return p * p
