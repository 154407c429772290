"""A window followed through frames, with lines found again where the kernel lost them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.observables.lines.bench import (
    BEFORE,
    GIVEN,
    HIGH,
    LIVE,
    LOW,
    OPEN,
    THETA,
    Bench,
    X,
    Y,
    make_bench,
)
from operando.observables.lines.flags import ASSESSMENT
from operando.observables.lines.profiles import ASYMMETRY, CENTRE, ETA, FWHM, KINDS, PROFILES
from operando.observables.lines.search import search, smoothed
from operando.observables.lines.series import EXTRA, follow
from operando.observables.lines.state import (
    FROZEN,
    GOOD,
    REOPENED,
    SEEN,
    SEEN_BEFORE,
    STRENGTH,
    TRIALS,
    Rules,
    make_state,
)
from operando.observables.lines.windows import Plan

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

GAIN = 16.0
"""Chi-square by which one start must be better than another."""
WIDENED = 2.5
"""Widths of a start that catches lines from two widths away."""
NARROWEST = 1.2
"""Bound of a width in grid steps."""
ALMOST_LORENTZIAN = 0.999
"""Share of a Voigt up to which its Gaussian width is not lost in rounding."""
SKEWEST = 0.8
"""Bound of an asymmetry."""
SCALES = np.array([0.6, 1.0, 1.7])
"""Widths that are searched with, relative to what a line had."""


def limits(plan: Plan, x: Array, *, probing: bool) -> tuple[Array, Array, Array]:
    """Return lower and upper bounds of each parameter, and 1 where it may be fitted, (p,) each.

    Centres stay in the window x, widths between what the grid can show and the window. When
    probing, nothing has bounds and the shape is free.
    """
    high = np.full((KINDS, plan.lines.size), np.inf)
    low, free = -high, np.ones_like(high)
    if not probing:
        low[CENTRE], high[CENTRE] = x[0], x[-1]
        low[FWHM], high[FWHM] = NARROWEST * plan.step, x[-1] - x[0]
        low[ETA] = 0.0
        high[ETA] = ALMOST_LORENTZIAN if plan.model.profile == PROFILES["voigt"] else 1.0
        low[ASYMMETRY], high[ASYMMETRY] = -SKEWEST, SKEWEST
    free[ETA:] = plan.free_shape or probing
    if plan.model.profile != PROFILES["split_pseudo_voigt"]:
        free[ASYMMETRY] = 0.0
    return (
        np.append(low, [-np.inf, -np.inf]),
        np.append(high, [np.inf, np.inf]),
        np.append(free, [1.0, 1.0]),
    )


@dataclass(frozen=True)
class Frames:
    """A stretch of a series, the columns of one plan."""

    y: Array
    """(n, m)."""
    weight: Array
    """(n, m), or (0, 0) for counts."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.y)


@dataclass(frozen=True)
class Fits:
    """What `Tracker.run` found in n frames, k lines, p = KINDS k + 2 parameters."""

    theta: Array
    """(n, p)."""
    sigma: Array
    """(n, p); 0 for what was held, or is at a bound."""
    background: Array
    """(n, 3): variance of the background, covariance with the slope, variance of the slope."""
    chi2r: Array
    """(n,); NaN without data."""
    converged: Mask
    seen: Mask
    """(n, k)."""
    events: Whole
    """(n, k): bits `reacquired` and `lost` of the assessment."""
    begins: Whole
    """(n,): first point of the window."""

    def kinds(self, values: Array) -> Array:
        """Return theta or sigma as (n, KINDS, k)."""
        return values[:, :-2].reshape(len(values), KINDS, -1)


@dataclass(frozen=True)
class _Run:
    """Frames on their way through the kernel, in a window that stands still."""

    frames: Frames
    begin: int
    rules: Rules
    starts: Array
    states: Array
    out: Array


class Tracker:
    """Follows the lines of one window; a bench to work on, and what it has seen so far."""

    def __init__(self, plan: Plan, *, poisson: bool, scales: Array = SCALES) -> None:
        self._plan, self._poisson, self._scales = plan, poisson, scales
        self._bench: Bench = make_bench(plan.points, plan.lines.size)
        self._state = make_state(np.zeros((KINDS, plan.lines.size)))

    def run(
        self,
        frames: Frames,
        *,
        starts: Array,
        states: Array,
        length: int,
        begins: Whole,
        hunting: bool = False,
        roaming: bool = False,
        probing: bool = False,
    ) -> Fits:
        """Track the lines through frames that begin with a block.

        Parameters
        ----------
        starts, states
            Parameters and states at the head of each block, (b, p) and (b, ROWS, k).
        length
            Frames of a block.
        begins
            First point of the window in each block.
        hunting
            Look for lines that were never seen where a frame is not explained by the others.
        roaming
            Move the window with its lines from frame to frame.
        probing
            Take one step from each start with the shapes free, instead.
        """
        plan, count, size = self._plan, len(frames), starts.shape[1]
        out = np.full((count, 2 * size + EXTRA), np.nan)
        events = np.zeros((count, plan.lines.size), np.int64)
        rules = Rules(
            poisson=self._poisson,
            gated=not probing,
            hunting=hunting,
            cold=False,
            trials=1 if probing else TRIALS,
            length=length,
        )
        first = begins[np.arange(count) // length]
        ends = [*(np.flatnonzero(np.diff(first)) + 1).tolist(), count]
        if roaming:
            ends = list(range(1, count + 1))
        at = 0
        for end in ends:
            if roaming and at > 0:
                first[at] = self._moved(int(first[at - 1]))
            run = _Run(frames, int(first[at]), rules, starts, states, out)
            self._place(run.begin, probing=probing)
            while at < end:
                at = self._follow(run, at, end)
                if at < end:
                    events[at] = self._recover(run, at)
                    at += 1
        bits = np.nan_to_num(out[:, -1]).astype(np.int64)
        return Fits(
            theta=out[:, :size],
            sigma=out[:, size : 2 * size],
            background=out[:, 2 * size : 2 * size + 3],
            chi2r=out[:, -3],
            converged=out[:, -2] > 0,
            seen=(bits[:, None] >> np.arange(plan.lines.size)) & 1 > 0,
            events=events,
            begins=first,
        )

    def _place(self, begin: int, *, probing: bool) -> None:
        """Set the bounds of the parameters for a window that begins there."""
        x = self._plan.grid[begin : begin + self._plan.points]
        low, high, free = limits(self._plan, x, probing=probing)
        self._bench.numbers[LOW], self._bench.numbers[HIGH] = low, high
        self._bench.numbers[OPEN] = free

    def _moved(self, begin: int) -> int:
        """Return where the window begins now that its lines are where they were last seen.

        The background on the bench becomes that in the middle of the window there.
        """
        plan, theta = self._plan, self._bench.numbers[THETA]
        moved = plan.around(self._state[GOOD + CENTRE], self._state[SEEN] > 0, begin)
        theta[-2] += theta[-1] * (plan.middle(moved) - plan.middle(begin))
        return moved

    def _follow(self, run: _Run, at: int, end: int, *, cold: bool = False) -> int:
        plan = self._plan
        return follow(
            plan.grid,
            run.frames.y,
            run.frames.weight,
            plan.use,
            run.begin,
            (at, end),
            plan.points,
            plan.model,
            run.rules._replace(cold=cold),
            self._bench,
            self._state,
            run.starts,
            run.states,
            run.out,
        )

    def _recover(self, run: _Run, frame: int) -> Whole:
        """Look for lost or unseen lines of a frame; leave the best fit; return what happened."""
        state, numbers = self._state, self._bench.numbers
        before, out = numbers[BEFORE].copy(), run.out
        best = (out[frame].copy(), numbers[THETA].copy(), state.copy())
        events = np.zeros(state.shape[1], np.int64)
        for moving, lost, scale in _attempts(state):
            if (events[moving] & ASSESSMENT["reacquired"]).any():
                continue
            start, gain = self._start(moving, before if lost else best[1], best[2], scale)
            if gain > REOPENED**2:
                numbers[THETA], state[:] = start, best[2]
                state[SEEN, moving] = 1.0
                self._follow(run, frame, frame + 1, cold=True)
                if _better(out[frame], best[0], self._bench, state, moving):
                    best = (out[frame].copy(), numbers[THETA].copy(), state.copy())
                    shown = moving & (state[SEEN] > 0)
                    events[shown] = ASSESSMENT["reacquired"] if lost else 0
                elif lost and scale is None:
                    events[moving & (best[2][SEEN] == 0)] = ASSESSMENT["lost"]
        out[frame], numbers[THETA], state[:] = best
        return events

    def _start(
        self, moving: Mask, theta: Array, state: Array, scale: float | None
    ) -> tuple[Array, float]:
        """Return parameters to begin with, and the chi-square that lines explain there."""
        rows = self._bench.rows
        live = rows[LIVE] > 0
        x, y = rows[X, live], rows[Y, live]
        lines = theta[:-2].reshape(KINDS, -1).copy()
        unseen = state[SEEN] == 0
        lines[1:, unseen] = state[GOOD + 1 : GOOD + KINDS, unseen]
        return search(
            x,
            y,
            smoothed(y) if self._poisson else rows[GIVEN, live],
            lines=lines,
            moving=moving,
            staying=((state[SEEN] > 0) | (state[FROZEN] > 0)) & ~moving,
            scales=self._scales if scale is None else np.array([scale]),
            model=self._plan.model,
            still=scale is not None,
        )


def _attempts(state: Array) -> list[tuple[Mask, bool, float | None]]:
    """Return what to try: lines to look for, whether they were lost, and at which width or place.

    Lines that vanished, or, when none did, all that were clear: first from a wider start where they
    were, then by a search. Lines that are not seen: by a search.
    """
    before, seen = state[SEEN_BEFORE] > 0, state[SEEN] > 0
    gone = before & ~seen
    hidden = ~seen & (state[FROZEN] == 0) & ~gone
    lost = gone if gone.any() else before & (state[FROZEN] == 0)
    attempts: list[tuple[Mask, bool, float | None]] = []
    if hidden.any() and not gone.any():
        attempts += [(hidden, False, None)]
    if lost.any():
        attempts += [(lost, True, WIDENED), (lost, True, None)]
    return attempts


def _better(new: Array, old: Array, bench: Bench, state: Array, moving: Mask) -> bool:
    """Whether a fit explains a frame clearly better than another, with a line looked for in it."""
    points = float(np.count_nonzero(bench.rows[LIVE]))
    shown = bool((moving & (state[SEEN] > 0) & (state[STRENGTH] > REOPENED)).any())
    margin = GAIN * max(new[-3], 1.0)
    return shown and new[-2] > 0 and (new[-3] - old[-3]) * points < -margin
