"""Net charge, continuous over restarts of the instrument's counter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

SECONDS_PER_HOUR = 3600.0
ROUNDING = 1e-6
"""Share of the counter's range within which its digits may disagree with the current."""


class Charge(NamedTuple):
    """Net charge of each row of a log."""

    net: Array
    """A h (n,), oxidation positive, continuous; NaN throughout when nothing is known."""
    uncertain: Mask
    """Rows (n,) from the first gap on in which an unknown charge may have passed."""
    method: str
    """Where the charge comes from."""


def net_charge(
    time_s: Array,
    current: Array,
    counter: Array,
    run: Integers,
    *,
    backward: Mask,
    unsigned: bool,
    gap_s: Array,
    resting: Mask,
) -> Charge:
    """Add up the charge of a log, from the instrument's counter wherever there is one.

    A restart of the counter is where its step is further from the charge that the current says than
    its new value is; the new value then adds to the charge before. Without a counter the current is
    integrated: backward rectangles for a current that is the mean since the previous row,
    trapezoids otherwise; never across the end of a run.

    Parameters
    ----------
    time_s, current, counter
        Rows (n,) in order of time: s, A (oxidation positive), A h (NaN where there is no counter).
    backward
        Rows (n,) whose current is the mean since the previous row.
    unsigned
        The counter grows in both directions; its steps take the sign of the current.
    gap_s
        Longest step without a gap (n,); a longer one with unknown current makes the charge
        uncertain unless the current was about zero (`resting`) on both sides.
    """
    step_s = np.diff(time_s, prepend=time_s[:1])
    integrated = integrated_steps(step_s, current, np.diff(run, prepend=-1) == 0, backward)
    counted = np.flatnonzero(np.isfinite(counter))
    known = np.isfinite(counter) | np.isfinite(current)
    if not known.any():
        nothing = np.zeros(time_s.size, bool)
        return Charge(np.full(time_s.size, np.nan), nothing, "unknown: no current, no counter")
    steps = integrated.copy()
    restarted = np.ones(time_s.size, bool)
    if counted.size:
        # A counter may run on from one file to the next, where the current says what to expect.
        likely = integrated_steps(step_s, current, step_s <= gap_s, backward)
        step, restart = _counter_steps(
            counter[counted], _between(likely, counted), current[counted], unsigned=unsigned
        )
        # Rows between two counts were integrated already; a count that ran on includes them.
        already = _between(integrated, counted) - integrated[counted]
        steps[counted] = np.where(restart, step, step - already)
        restarted[counted] = restart
    uncertain = _uncertain(time_s, run, gap_s, known=known, counted=~restarted, resting=resting)
    return Charge(np.cumsum(steps), uncertain, _method(counted.size, time_s.size, backward))


def integrated_steps(step_s: Array, current: Array, inside: Mask, backward: Mask) -> Array:
    """Return the charge (A h) passed since the previous row, 0 where it is not known."""
    earlier = np.append(current[:1], current[:-1])
    mean = np.where(backward, current, (current + earlier) / 2)
    step = step_s * mean / SECONDS_PER_HOUR
    return np.where(inside & np.isfinite(step), step, 0.0)


def _between(steps: Array, rows: Integers) -> Array:
    """Return the sum of the steps after the previous of `rows` up to each of them."""
    return np.diff(np.cumsum(steps)[rows], prepend=0.0)


def _counter_steps(
    counter: Array, expected: Array, current: Array, *, unsigned: bool
) -> tuple[Array, Mask]:
    """Return what each count adds, signed as the current, and where the counter restarted."""
    change = np.diff(counter, prepend=0.0)
    if unsigned:
        expected = np.abs(expected)
    elif float(np.sum(change[1:] * expected[1:])) < 0:
        counter, change = -counter, -change
    off = np.abs(change - expected)
    restart = (
        (off > np.abs(counter - expected))
        & (off > np.abs(expected))
        & (off > ROUNDING * np.ptp(counter))
    )
    restart[0] = True
    step = np.where(restart, counter, change)
    if unsigned:
        step = np.abs(step) * np.sign(np.nan_to_num(current))
    return step, restart


def _uncertain(
    time_s: Array, run: Integers, gap_s: Array, *, known: Mask, counted: Mask, resting: Mask
) -> Mask:
    """Mark rows from the first gap whose charge nothing tells."""
    rows = np.flatnonzero(known)
    before, after = rows[:-1], rows[1:]
    broken = (run[before] != run[after]) | (after - before > 1)
    long = time_s[after] - time_s[before] > np.maximum(gap_s[before], gap_s[after])
    idle = resting[before] & resting[after]
    lost = after[broken & long & ~idle & ~counted[after]]
    mask = np.zeros(time_s.size, bool)
    if lost.size:
        mask[lost[0] :] = True
    return mask


def _method(counted: int, rows: int, backward: Mask) -> str:
    rules = {"backward rectangles": backward.any(), "trapezoids": not backward.all()}
    rule = " and ".join(name for name, used in rules.items() if used)
    if counted == 0:
        return f"current integrated by {rule}"
    if counted == rows:
        return "instrument counter"
    return f"instrument counter; current integrated by {rule} in {rows - counted} rows without one"
