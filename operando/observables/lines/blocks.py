"""A series cut into blocks of frames, each with a start: what makes results equal for any chunking.

Blocks are counted from the first frame of the series. Their heads, the scouts, are read at once
and followed one after the other; each block then begins with what was found in its scout. Blocks
never meet, so that chunks that hold whole blocks can be fitted anywhere in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.observables.lines.learning import Shape, learn
from operando.observables.lines.profiles import AREA, CENTRE, FWHM, KINDS
from operando.observables.lines.state import (
    CHI2R,
    FROZEN,
    GOOD,
    ROWS,
    SEEN,
    STRENGTH,
    make_state,
)
from operando.observables.lines.tracker import Fits, Frames, Tracker
from operando.observables.lines.windows import Plan

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

LONGEST = 64
"""Frames of a block of a long series."""
SCOUTS = 128
"""Blocks that a shorter series is cut into."""
LEARNT_FROM = 256
"""Scouts, at most, that shapes are learnt from."""


def block_length(frames: int) -> int:
    """Return the length of the blocks of a series.

    >>> block_length(40), block_length(400), block_length(100_000)
    (1, 3, 64)
    """
    return max(1, min(LONGEST, frames // SCOUTS))


@dataclass(frozen=True, kw_only=True)
class Course:
    """A window through a series: its plan, its shape, and where each block begins."""

    plan: Plan
    poisson: bool
    shape: Shape
    length: int
    starts: Array
    """(b, p)."""
    states: Array
    """(b, ROWS, k)."""
    begins: Whole
    """(b,)."""
    extrapolated: npt.NDArray[np.bool_]
    """Lines that were not seen in the scout of a block, (b, k)."""

    def run(self, frames: Frames, first: int) -> Fits:
        """Fit the frames of whole blocks (the last may be cut), from frame `first` on."""
        block = first // self.length
        count = -(-len(frames) // self.length)
        which = slice(block, block + count)
        return Tracker(self.plan, poisson=self.poisson).run(
            frames,
            starts=self.starts[which],
            states=self.states[which],
            length=self.length,
            begins=self.begins[which],
        )


def chart(plan: Plan, scouts: Frames, *, poisson: bool, length: int) -> Course:
    """Learn the lines of a window from the scouts of a series, and follow them through these.

    Where a scout does not show a line, its block begins with centre and width interpolated between
    the scouts that do.
    """
    chosen = np.unique(np.linspace(0, len(scouts) - 1, LEARNT_FROM).round().astype(int))
    sample = Frames(scouts.y[chosen], scouts.weight[chosen] if not poisson else scouts.weight)
    shape = learn(plan, sample, poisson=poisson)
    state = make_state(shape.lines)
    state[FROZEN] = plan.frozen
    found = Tracker(plan, poisson=poisson).run(
        scouts,
        starts=np.concatenate([shape.lines.ravel(), [0.0, 0.0]])[None],
        states=state[None],
        length=len(scouts),
        begins=np.array([plan.begin]),
        hunting=True,
        roaming=plan.roaming,
    )
    begins = _begins(plan, found)
    return Course(
        plan=plan,
        poisson=poisson,
        shape=shape,
        length=length,
        starts=_starts(plan, shape, found, begins),
        states=_states(plan, shape, found),
        begins=begins,
        extrapolated=~found.seen & ~plan.frozen,
    )


def _begins(plan: Plan, found: Fits) -> Whole:
    """Return where the window of each block begins: around the lines of its scout."""
    begins = found.begins.copy()
    if plan.roaming:
        centres = found.kinds(found.theta)[:, CENTRE]
        for block, begin in enumerate(found.begins.tolist()):
            begins[block] = plan.around(centres[block], found.seen[block], begin)
    return begins


def _interpolated(values: Array, known: npt.NDArray[np.bool_], usual: float) -> Array:
    if not known.any():
        return np.full(values.shape, usual)
    at = np.arange(values.size)
    return np.interp(at, at[known], values[known])


def _good(plan: Plan, shape: Shape, found: Fits) -> Array:
    """Return the lines at the head of each block, (b, KINDS, k)."""
    good = np.repeat(shape.lines[None], len(found.theta), axis=0)
    theta = found.kinds(found.theta)
    kinds = range(CENTRE, KINDS) if plan.free_shape else (CENTRE, FWHM)
    for line in np.flatnonzero(~plan.frozen):
        for kind in kinds:
            good[:, kind, line] = _interpolated(
                theta[:, kind, line], found.seen[:, line], shape.lines[kind, line]
            )
    return good


def _starts(plan: Plan, shape: Shape, found: Fits, begins: Whole) -> Array:
    """Return the parameters at the head of each block."""
    theta, starts = found.theta, np.empty_like(found.theta)
    starts[:, :-2] = _good(plan, shape, found).reshape(len(theta), -1)
    known = np.isfinite(found.chi2r)
    for line in range(plan.lines.size):
        at = AREA * plan.lines.size + line
        starts[:, at] = _interpolated(theta[:, at], known, 0.0)
    for at in (-2, -1):
        starts[:, at] = _interpolated(theta[:, at], known, 0.0)
    starts[:, -2] += starts[:, -1] * (plan.middle(begins) - plan.middle(found.begins))
    return starts


def _states(plan: Plan, shape: Shape, found: Fits) -> Array:
    """Return what is remembered of the lines at the head of each block."""
    states = np.zeros((len(found.theta), ROWS, plan.lines.size))
    states[:] = make_state(shape.lines)
    states[:, GOOD : GOOD + KINDS] = _good(plan, shape, found)
    states[:, FROZEN] = plan.frozen
    states[:, SEEN] = found.seen
    area, sigma = found.kinds(found.theta)[:, AREA], found.kinds(found.sigma)[:, AREA]
    known = sigma > 0
    states[:, STRENGTH] = np.where(known, area / np.where(known, sigma, 1.0), 0.0)
    states[:, CHI2R] = np.where(np.isfinite(found.chi2r), found.chi2r, 1.0)[:, None]
    return states
