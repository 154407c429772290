"""An instrument's own counter against the wall clock it stamps its rows with.

The counter never jumps, so the time between two rows comes from it; but its crystal is off by some
parts per million, 4 s a day on a real cycler. A wall clock that a network keeps right is set back
or forward every few hours, and runs at the rate of some crystal in between: against the counter it
is a sawtooth. Right after it was set it is right, so the line through those moments is the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operando.errors import ClockError

Array = npt.NDArray[np.float64]

POINTS = 400
"""Rows that carry the Theil-Sen line, evenly spaced in time: 80 000 pairs."""
LARGEST_RATE = 0.01
"""Two clocks that differ by more than this do not count the same unit."""
CRYSTAL_RATE = 2e-4
"""No two quartz clocks part faster than this; what does is a step."""
SMALLEST_STEP_S = 0.2
FEWEST_STEPS = 3
"""From this many steps on a wall clock counts as kept right by something."""
LARGEST_CORRECTION_S = 60.0
"""A larger step is a pause of the counter, or a clock that somebody set."""
SUMMER_TIME_S = (1800.0, 3600.0)
"""By how much local time jumps; Lord Howe Island knows half an hour."""
RESOLUTIONS_S = (60.0, 1.0, 0.1, 0.01, 1e-3, 1e-6)


@dataclass(frozen=True, kw_only=True)
class CounterFit:
    """The line `wall = offset + (1 + ppm * 1e-6) * counter`, and how the stamps scatter about it.

    `ppm` and `offset_s` are what `clocks.stamps` takes as `drift_ppm` and `clock_offset_s` to put
    the counter on the wall clock. They are a proposal: nothing here applies them.
    """

    ppm: float
    """Positive where the counter runs slow; NaN where there are too few rows to tell."""
    ppm_sigma: float
    offset_s: float
    """What the wall clock's stamp of the first row lacks: half a tooth, typically."""
    residual_s: float
    """Largest distance of a stamp from the line."""
    steps_s: Array
    """Size of each correction of the wall clock, in order."""
    step_times_s: Array
    """When on the counter, from its first row."""
    jumps_s: Array
    """Steps of more than a minute that are no summer time; the line does without them."""
    jump_times_s: Array
    backwards: int
    """Stamps earlier than the one before; no fault, since a counter is there."""
    span_s: float
    """From the first row to the last on the counter."""

    @property
    def synchronised(self) -> bool:
        """Whether the wall clock was seen to be kept right, so that the line is the truth."""
        return self.steps_s.size >= FEWEST_STEPS

    @property
    def significant(self) -> bool:
        """Whether the two clocks certainly part."""
        return bool(abs(self.ppm) > max(3 * self.ppm_sigma, 0.1))

    def error_s(self, *, drift_ppm: float, offset_known: bool) -> float:
        """Return how far first stamp + counter comes from the line within the span, at most.

        Parameters
        ----------
        drift_ppm
            The drift that is applied already.
        offset_known
            Whether an offset is applied already; the one of the line then no longer counts.
        """
        begin = 0.0 if offset_known else self.offset_s
        end = begin + (self.ppm - drift_ppm) * 1e-6 * self.span_s
        return max(abs(begin), abs(end))


class _Steps(NamedTuple):
    """By how much the wall clock was moved, and the first row after each step."""

    at: npt.NDArray[np.intp]
    sizes: Array


def fit_counter(
    counter_s: Array, wall_s: Array, *, where: str, summer_time: bool = True
) -> CounterFit:
    """Fit wall-clock stamps against an instrument's counter, robustly, with their steps.

    A step of the wall clock by more than its resolution, its scatter and what two crystals can part
    between two rows is a correction. With three and more of them the line goes through the stamps
    right after each; with fewer through all. The slope is Theil-Sen's, the median over all pairs of
    up to 400 points evenly spaced in time, so a million rows cost no more than a few passes over
    them. Steps of an hour are summer time and are taken out first, as are those of more than a
    minute: then the counter stood still or somebody set the clock, and which is right is not known.

    Fails when the wall clock is the counter under another name: the fit is perfect and says
    nothing; and when the stamps are whole seconds and the corrections smaller: then no step is
    found, and the line through all of them is off by half a correction.

    Parameters
    ----------
    counter_s, wall_s
        Seconds (n,), from any zeros. Rows where one is missing are left out.
    where
        The file, for the message.
    summer_time
        Whether the stamps are local, and may jump by an hour.

    Raises
    ------
    ClockError
        The two differ by more than 1 %: they are not in the same unit.

    References
    ----------
    P. K. Sen, J. Am. Stat. Assoc. 63, 1379 (1968).
    """
    counter, wall, backwards = _from_zero(counter_s, wall_s)
    if counter.size < 2 or counter[-1] == 0:
        return _nothing(backwards)
    resolution = _resolution(wall)
    grid = np.unique(np.searchsorted(counter, np.linspace(0, counter[-1], POINTS)))
    _check_rate(counter, wall, grid, resolution, where)
    corrections, jumps, ahead = _parted(counter, wall - counter, resolution, summer_time)
    corrected = corrections.at.size >= FEWEST_STEPS
    points = corrections.at if corrected else grid
    slope, begin, scatter = _line(counter[points], ahead[points])
    # A sawtooth is no noise: stamps that scatter by s over a length L fix the slope to sqrt(12) s/L
    # whatever their number. The moments right after corrections are independent of one another.
    lever = np.ptp(counter[points]) * np.sqrt(points.size if corrected else 1)
    sigma = np.sqrt(12) * max(scatter, resolution / np.sqrt(12)) / lever
    return CounterFit(
        ppm=slope * 1e6,
        ppm_sigma=float(sigma) * 1e6,
        offset_s=begin,
        residual_s=float(np.abs(ahead - begin - slope * counter).max()),
        steps_s=corrections.sizes,
        step_times_s=counter[corrections.at],
        jumps_s=jumps.sizes,
        jump_times_s=counter[jumps.at],
        backwards=backwards,
        span_s=float(counter[-1]),
    )


def _from_zero(counter: Array, wall: Array) -> tuple[Array, Array, int]:
    """Return the rows that have both, by the counter, from zero, and how often stamps go back."""
    known = np.isfinite(counter) & np.isfinite(wall)
    counter, wall = np.asarray(counter)[known], np.asarray(wall)[known]
    if np.any(np.diff(counter) < 0):
        order = np.argsort(counter, kind="stable")
        counter, wall = counter[order], wall[order]
    backwards = int(np.count_nonzero(np.diff(wall) < 0))
    return counter - counter[:1], wall - wall[:1], backwards


def _nothing(backwards: int) -> CounterFit:
    return CounterFit(
        ppm=np.nan,
        ppm_sigma=np.nan,
        offset_s=np.nan,
        residual_s=np.nan,
        steps_s=np.array([]),
        step_times_s=np.array([]),
        jumps_s=np.array([]),
        jump_times_s=np.array([]),
        backwards=backwards,
        span_s=0.0,
    )


def _resolution(wall: Array) -> float:
    """Return the largest unit that all stamps are whole numbers of."""
    for unit in RESOLUTIONS_S:
        if np.all(np.abs(wall - np.round(wall / unit) * unit) < 1e-3 * min(unit, 1.0)):
            return unit
    return RESOLUTIONS_S[-1]


def _check_rate(
    counter: Array, wall: Array, grid: npt.NDArray[np.intp], resolution: float, where: str
) -> None:
    """Refuse another unit: from row to row as well as from end to end, so no jump is taken for it.

    Two stamps of resolution r fix a rate over a time T to 2 r / T.
    """
    typical = float(np.median(np.diff(wall[grid]) / np.diff(counter[grid])))
    total = float(wall[-1] / counter[-1])
    tolerated = LARGEST_RATE + 2 * resolution / counter[-1]
    if min(abs(typical - 1), abs(total - 1)) > tolerated:
        raise ClockError(
            f"{where}: one second of 'elapsed' lasts {typical:.4g} s of 'wall_clock'; expected 1, "
            "so one of the two columns is not in seconds: check its unit"
        )


def _parted(
    counter: Array, ahead: Array, resolution: float, summer_time: bool
) -> tuple[_Steps, _Steps, Array]:
    """Return corrections, jumps, and how far the wall clock is ahead without jumps and summers."""
    at, sizes = _steps(counter, ahead, resolution)
    near = np.abs(np.abs(sizes)[:, None] - SUMMER_TIME_S) <= LARGEST_CORRECTION_S
    summer = near.any(axis=1) & summer_time
    jump = ~summer & (np.abs(sizes) > LARGEST_CORRECTION_S)
    whole = np.sign(sizes) * np.array(SUMMER_TIME_S)[near.argmax(axis=1)]
    moved = np.zeros(ahead.size)
    moved[at] = np.select([summer, jump], [whole, sizes], 0.0)
    small = ~summer & ~jump
    return (
        _Steps(at[small], sizes[small]),
        _Steps(at[jump], sizes[jump]),
        ahead - np.cumsum(moved),
    )


def _steps(counter: Array, ahead: Array, resolution: float) -> _Steps:
    change = np.diff(ahead)
    scatter = 1.4826 * float(np.median(np.abs(change - np.median(change))))
    limit = max(SMALLEST_STEP_S, 1.5 * resolution, 6 * scatter) + CRYSTAL_RATE * np.diff(counter)
    rows = np.flatnonzero(np.abs(change) > limit)
    return _Steps(rows + 1, change[rows])


def _line(x: Array, y: Array) -> tuple[float, float, float]:
    """Return slope and intercept after Theil and Sen, and the rms distance of the points."""
    first, second = np.triu_indices(x.size, 1)
    run = x[second] - x[first]
    slope = float(np.median((y[second] - y[first])[run > 0] / run[run > 0]))
    begin = float(np.median(y - slope * x))
    return slope, begin, float(np.sqrt(np.mean((y - begin - slope * x) ** 2)))
