"""What is the same for all spectra of a series: ranges, weights and the grid around the edge."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from operando.corrections.normalisation import Operators, operators
from operando.corrections.white_noise import LEAST_POINTS, remainder_weights
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Range = tuple[float, float]

LEAST_PRE, LEAST_POST = 30.0, 120.0
"""A pre-edge range that spans less, and a post-edge range that ends earlier, in eV, is short."""
RESOLUTION = 1e-4
"""Derivatives are taken over this part of e0 to either side: what Si (111) resolves."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the spectra on one grid of m points are measured; w of them are in the window."""

    energy: Array
    """(m,), eV."""
    e0: float
    seen: slice
    """The window."""
    level: float
    band: Range
    lines: Array
    """Weights of offset and slope for each pre-edge range, (A, 2, m); A = 0: already normalised."""
    line_points: Integers
    """First point and the one after the last, (A, 2)."""
    heights: Array
    """Weights of the post-edge polynomial at e0 for each post-edge range, (B, m)."""
    height_points: Integers
    """(B, 2)."""
    shares: Array
    """What offset and slope take from it, (B, 2)."""
    noise_points: slice
    """Where the white noise of a spectrum is estimated."""
    short: bool
    """The data do not span the ranges, or the ranges are too short for what they are for."""

    @property
    def members(self) -> list[tuple[int, int]]:
        """Pre-edge and post-edge range of each member of the ensemble, the given ones first."""
        return list(product(range(len(self.lines)), range(len(self.heights))))

    @property
    def shared(self) -> Array:
        """Weights of offset, slope and step, (3, m)."""
        if not len(self.lines):
            return np.zeros((3, self.energy.size))
        step = self.heights[0] - self.shares[0] @ self.lines[0]
        return np.ascontiguousarray(np.vstack([self.lines[0], step]))


def plan_edges(
    energy: Array,
    *,
    e0: float,
    ranges: tuple[Range, Range] | None,
    degree: int,
    level: float,
    band: Range,
    window: Range,
) -> Plan:
    """Return the plan; the parameters are those of `track_edge`.

    Raises
    ------
    RequestError
        A range without enough points, or fewer than 3 points in the window.
    """
    seen = slice(
        int(np.searchsorted(energy, e0 + window[0])),
        int(np.searchsorted(energy, e0 + window[1], side="right")),
    )
    if seen.stop - seen.start < 3:
        raise RequestError(
            f"window {window!r}: {max(seen.stop - seen.start, 0)} points around e0 {e0!r}; at "
            f"least 3 are needed and the data span {energy[0]:g}-{energy[-1]:g} eV"
        )
    before, after = ([], []) if ranges is None else _ensemble(energy, e0, *ranges, degree)
    return Plan(
        energy=energy,
        e0=e0,
        seen=seen,
        level=level,
        band=band,
        lines=np.array([one.line for one in before]).reshape(-1, 2, energy.size),
        line_points=_ends([one.pre for one in before]),
        heights=np.array([one.at_edge @ one.curve for one in after]).reshape(-1, energy.size),
        height_points=_ends([one.post for one in after]),
        shares=np.array([one.at_edge @ one.share for one in after]).reshape(-1, 2),
        noise_points=after[0].post if after else slice(seen.stop, energy.size),
        short=ranges is not None and _short(energy - e0, *ranges),
    )


def other_ranges(pre: Range, post: Range) -> tuple[list[Range], list[Range]]:
    """Return ranges that would have been as good: three for either side, the given one first.

    Pre-edge: without its first, and without its last third. Post-edge: from 2/3 of its distance to
    the edge on; from 3/2 of it (a quarter of its width later at most) on, without its last quarter.
    Where the post-edge range begins matters most, since it says which part of the white line and of
    the first oscillations is called the step.

    >>> other_ranges((-140, -50), (60, 600))
    ([(-140, -50), (-110.0, -50), (-140, -80.0)], [(60, 600), (40.0, 600), (90.0, 465.0)])
    """
    low, high = pre
    start, stop = post
    third, quarter = (high - low) / 3, (stop - start) / 4
    later = start + min(start / 2, quarter)
    return (
        [pre, (low + third, high), (low, high - third)],
        [post, (start - start / 3, stop), (later, stop - quarter)],
    )


def _ensemble(
    energy: Array, e0: float, pre: Range, post: Range, degree: int
) -> tuple[list[Operators], list[Operators]]:
    """Return operators for 3 pre-edge and 3 post-edge ranges, to be combined.

    What an operator holds of one range does not depend on the other. In place of a range that has
    too few points, or reaches into the other, stands the given one.
    """
    given = operators(energy, e0=e0, pre=pre, post=post, degree=degree)
    befores, afters = other_ranges(pre, post)
    before, after = [], []
    for limits in befores:
        try:
            before.append(operators(energy, e0=e0, pre=limits, post=post, degree=degree))
        except RequestError:
            before.append(given)
    for limits in afters:
        try:
            after.append(operators(energy, e0=e0, pre=pre, post=limits, degree=degree))
        except RequestError:
            after.append(given)
    return before, after


def _ends(points: list[slice]) -> Integers:
    return np.array([(one.start, one.stop) for one in points], np.int64).reshape(-1, 2)


def _short(distance: Array, pre: Range, post: Range) -> bool:
    beyond = distance[0] > pre[0] or distance[-1] < post[1]
    first, last = max(distance[0], pre[0]), min(distance[-1], post[1])
    return bool(beyond or pre[1] - first < LEAST_PRE or last < LEAST_POST)


def noise_weights(plan: Plan) -> Array:
    """Return the weights of `white_noise` where it is estimated; none below its least points."""
    grid = plan.energy[plan.noise_points]
    return remainder_weights(grid) if grid.size >= LEAST_POINTS else np.empty((5, 0))


def slope_weights(plan: Plan) -> tuple[Integers, Array]:
    """Return first point and weights (w, k) of the derivative at each point of the window.

    A parabola through the points within `RESOLUTION` e0, and through two at either side at least.
    """
    energy, half = plan.energy, RESOLUTION * plan.e0
    starts, rows = [], []
    for at in range(plan.seen.start, plan.seen.stop):
        near = np.flatnonzero(np.abs(energy - energy[at]) <= half)
        start = max(min(near[0], at - 2), 0)
        stop = min(max(near[-1], at + 2) + 1, energy.size)
        offset = energy[start:stop] - energy[at]
        starts.append(start)
        rows.append(np.linalg.pinv(np.vander(offset, 3, increasing=True))[1])
    weights = np.zeros((len(rows), max(row.size for row in rows)))
    for row, values in zip(weights, rows, strict=True):
        row[: values.size] = values
    # Padded rows must not reach beyond the spectrum.
    last = energy.size - weights.shape[1]
    for place, start in enumerate(starts):
        if start > last:
            weights[place] = np.roll(weights[place], start - last)
            starts[place] = last
    return np.array(starts, np.int64), weights
