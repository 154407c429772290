"""Turning points of a series, and the half-cycles between them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operando.model import STATES

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SMALLEST_REVERSAL = 0.01
"""Share of the largest half-cycle that charge must flow back before a new half-cycle counts."""


def turning_points(values: Array, *, smallest: float) -> Integers:
    """Return the rows at which a series turns by more than `smallest`, in order.

    A turn is found where the series has moved back from its extreme by more than `smallest`; it is
    the last row at the extreme. The ends are no turning points.

    Parameters
    ----------
    values
        A finite series (n,).
    """
    step = np.diff(values)
    moving = np.flatnonzero(step)
    direction = np.sign(step[moving])
    local = moving[1:][direction[1:] != direction[:-1]]
    rows = np.concatenate([[0], local, [values.size - 1]]).astype(np.int64)
    turns: list[int] = []
    low = high = values[0].item()
    low_at = high_at = 0
    heading = 0
    for row, value in zip(rows.tolist(), values[rows].tolist(), strict=True):
        if value >= high:
            high, high_at = value, row
        if value <= low:
            low, low_at = value, row
        if heading >= 0 and high - value > smallest:
            turns += [high_at] if heading else []
            heading, low, low_at = -1, value, row
        elif heading <= 0 and value - low > smallest:
            turns += [low_at] if heading else []
            heading, high, high_at = 1, value, row
    return np.array(turns, np.int64)


def half_cycles(charge: Array, state: Integers) -> Integers:
    """Return the number of the half-cycle of each row, from 0; -1 where nothing tells it.

    A half-cycle ends where the net charge turns by more than 1 % of the largest half-cycle; the
    next begins with the first row that is not at rest and carries the other sign, so rests belong
    to the half-cycle before them. Sweeps (cyclic voltammetry) are counted from vertex to vertex
    instead. The numbers never interpolate.

    Parameters
    ----------
    charge
        Net charge (n,), finite or NaN throughout, in order of time.
    state
        `model.STATES` (n,).
    """
    sweeping = np.isin(state, (STATES["sweep_up"], STATES["sweep_down"]))
    known = bool(charge.size) and bool(np.isfinite(charge).all())
    if not known and not sweeping.any():
        return np.full(charge.size, -1, np.int64)
    heading = _headings(charge, state) if known else np.zeros(charge.size, np.int64)
    heading[state == STATES["sweep_up"]] = 1
    heading[state == STATES["sweep_down"]] = -1
    told = np.flatnonzero(heading)
    if told.size == 0:
        return np.zeros(charge.size, np.int64)
    latest = np.maximum.accumulate(np.where(heading != 0, np.arange(heading.size), told[0]))
    return np.cumsum(np.diff(heading[latest], prepend=heading[told[0]]) != 0)


def since_half_cycle(charge: Array, half_cycle: Integers) -> Array:
    """Return the magnitude of the charge (n,) passed since the half-cycle of each row began."""
    first = np.flatnonzero(np.diff(half_cycle, prepend=half_cycle[:1] - 1))
    if first.size == 0:
        return charge.copy()
    length = np.diff(np.append(first, half_cycle.size))
    return np.abs(charge - np.repeat(charge[np.maximum(first - 1, 0)], length))


def _headings(charge: Array, state: Integers) -> Integers:
    """Return +1 or -1 from the row a half-cycle begins with, 0 before any charge flows."""
    turns = turning_points(charge, smallest=SMALLEST_REVERSAL * float(np.ptp(charge)))
    largest = np.abs(np.diff(charge[[0, *turns, -1]])).max()
    turns = turning_points(charge, smallest=SMALLEST_REVERSAL * float(largest))
    flow = np.sign(np.diff(charge, prepend=charge[:1]))
    flow[state == STATES["rest"]] = 0
    heading = np.zeros(charge.size, np.int64)
    if not flow.any():
        return heading
    ends = charge[[0, *turns, -1]]
    before = 0
    for turn, way in zip([0, *turns.tolist()], np.sign(np.diff(ends)).tolist(), strict=True):
        begin = turn + int(np.argmax(flow[turn:] == way)) if way else turn
        heading[max(begin, before) :] = way
        before = begin
    return heading
