"""The counter of a tester and the wall-clock stamps of its rows, put on one clock and compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError, clock
from operando_readers._stamps import Moments

Array = npt.NDArray[np.float64]

LEAST_SPAN_S = 60.0
"""Two clocks are compared over more than this."""
TOLERANCE = 0.01
PIECE_S = 300.0
MOST_PIECES = 20
LONGEST_S = 1e10
BACK_S = 1.0
"""A counter that goes back by more has been started again."""


@dataclass(frozen=True)
class Clocked:
    """The time axis of a log."""

    elapsed: Array
    """Seconds (n,) from the start the clock names."""
    wall_clock: Array | None
    """Wall stamps in seconds (n,) from the same start; None unless there is a counter too."""
    facts: dict[str, str | float | None]
    """See `_reader.clock`."""
    reason: str
    """What else is to be said of the time."""


def on_one_clock(
    counter: Array | None, stamps: Moments | None, *, start: Moments | None = None
) -> Clocked:
    """Return the time axis of a log that has a counter, stamps, or both.

    With both, `elapsed` is the counter from the first row that has a stamp: the wall clock of a
    computer is stepped, the counter is not. Without stamps it is the counter as it stands, from the
    `start` in the header where there is one.

    Raises
    ------
    FormatError
        Neither is there; a row has no time; the counter and the stamps pass at different rates.
    """
    if stamps is not None and np.isnat(stamps.values).all():
        stamps = None
    if counter is not None:
        counter = _complete(counter)
        back = np.flatnonzero(np.diff(counter) < -BACK_S)
        if back.size and stamps is None:
            at = int(back[0])
            raise FormatError(
                f"elapsed time: goes back from {counter[at]:g} to {counter[at + 1]:g} s at data "
                f"row {at + 2} and no stamps tell how long the break was; export the parts alone"
            )
        if back.size and stamps is not None:
            axis = _from_stamps(stamps)
            return Clocked(axis.elapsed, None, axis.facts, "counter restarts: elapsed from stamps")
    if stamps is None:
        return _from_counter(counter, start)
    if counter is None or not counter.size:
        return _from_stamps(stamps)
    row = int(np.argmin(np.isnat(stamps.values)))
    elapsed = counter - counter[row]
    wall = _seconds(stamps.values - stamps.values[row])
    _compare(elapsed, wall, resolution_s=stamps.resolution_s)
    return Clocked(elapsed, wall, _facts(stamps, row), f"counter from {counter[row]:g} s")


def _complete(counter: Array) -> Array:
    missing = ~np.isfinite(counter)
    if missing.any():
        raise FormatError(f"elapsed time: data row {int(np.argmax(missing)) + 1} has none")
    if (np.abs(counter) > LONGEST_S).any():
        raise FormatError(f"elapsed time: {np.max(np.abs(counter)):g} s; no test ran for so long")
    return counter


def _from_counter(counter: Array | None, start: Moments | None) -> Clocked:
    if counter is None:
        raise FormatError("time: neither elapsed time nor stamps in the rows")
    if start is None:
        facts = clock(start=None, zone=None, marks="instant", source="none")
        return Clocked(counter, None, facts, "")
    facts = {**_facts(start, 0), "source": "header"}
    return Clocked(counter, None, facts, "")


def _from_stamps(stamps: Moments) -> Clocked:
    missing = np.isnat(stamps.values)
    if missing.any():
        raise FormatError(f"time: data row {int(np.argmax(missing)) + 1} has no stamp")
    elapsed = _seconds(stamps.values - stamps.values[0])
    return Clocked(elapsed, None, _facts(stamps, 0), "")


def _seconds(since: npt.NDArray[np.timedelta64]) -> Array:
    seconds: Array = since.astype("m8[ns]").astype(np.int64) / 1e9
    seconds[np.isnat(since)] = np.nan
    return seconds


def _facts(stamps: Moments, row: int) -> dict[str, str | float | None]:
    return clock(
        start=stamps.iso(row),
        zone=stamps.zone,
        marks="instant",
        source="column",
        sigma_s=stamps.resolution_s / 2 or None,
    )


def _compare(elapsed: Array, wall: Array, *, resolution_s: float) -> None:
    """Refuse a counter whose unit is not what its name says (milliseconds under "s").

    The two are compared in up to 20 pieces of at least five minutes of the counter, and the median
    decides: a pause, in which the counter stands still, and a step of the wall clock spoil one.
    """
    stamped = np.isfinite(wall)
    elapsed, wall = elapsed[stamped], wall[stamped]
    span, passed = float(np.ptp(elapsed)), float(np.ptp(wall))
    if max(span, passed) <= LEAST_SPAN_S:
        return
    pieces = int(np.clip(span // PIECE_S, 1, MOST_PIECES))
    edges = np.linspace(elapsed[0], elapsed[-1], pieces + 1)
    rows = np.searchsorted(np.maximum.accumulate(elapsed), edges).clip(max=elapsed.size - 1)
    counted, walled = np.diff(elapsed[rows]), np.diff(wall[rows])
    filled = counted > 0
    longest = np.maximum(counted, walled)[filled]
    off = np.abs(walled - counted)[filled] - TOLERANCE * longest - 2 * resolution_s
    if not filled.any() or np.median(off) > 0:
        raise FormatError(
            f"time: the counter runs over {span:g} s while the stamps span {passed:g} s; its unit "
            "is not what its name says"
        )
