"""What is remembered of lines from frame to frame, and the rules by which they are followed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operando.observables.lines.profiles import KINDS

Array = npt.NDArray[np.float64]

GOOD, SEEN, SEEN_BEFORE, STRENGTH, REOPEN, FROZEN, CHI2R, ROWS = (
    0,
    KINDS,
    KINDS + 1,
    KINDS + 2,
    KINDS + 3,
    KINDS + 4,
    KINDS + 5,
    KINDS + 6,
)
"""Rows of a state, of a number for each line: the last numbers that could be believed, by kind;
1 where the line is seen, and where it was seen clearly in the frame before; area over sigma when it
was last fitted; 1 where it was fitted again in this frame; 1 where its centre and width are those
of a cell part; reduced chi-square of the last frame (of the window)."""

WEAK = 4.0
"""Area over sigma below which a line has no measurable centre and width."""
REOPENED = 6.0
"""The same above which they are fitted again."""
CLEAR = 8.0
"""Area over sigma of a line that does not vanish from one frame to the next by chance."""
MISFIT = 1.5
"""Reduced chi-square from which sigma is scaled by its root."""
JUMP = 2.0
"""Factor by which chi-square rises when a line is lost."""
SUSPECT = 2.5
"""Standard deviations of chi-square from which there may be a line that is not seen."""
TRIALS = 60
"""Steps that a fit may try."""


class Rules(NamedTuple):
    """How the lines of a window are followed."""

    poisson: bool
    """Counts, without weights of their own."""
    gated: bool
    """Hold the shapes of weak lines."""
    hunting: bool
    """Stop where a line is not seen and something else is."""
    cold: bool
    """Start from what is on the bench, which may be far off, and do not ask whether it is."""
    trials: int
    """Steps that a fit may try."""
    length: int
    """Frames of a block, each of which has a start."""


def make_state(good: Array) -> Array:
    """Return the state of lines, none of them seen, that are expected to be as in good (5, k)."""
    state = np.zeros((ROWS, good.shape[1]))
    state[GOOD : GOOD + KINDS] = good
    state[CHI2R] = 1.0
    return state
