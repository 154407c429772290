"""What a fit works on: the points of a window, its parameters, and the room for both.

Few arrays with named rows, not many arrays: what passes from kernel to kernel stays short, in time
and in compilation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operando.observables.lines.lanes import padded
from operando.observables.lines.profiles import KINDS

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

X, Y, LIVE, GIVEN, WEIGHT, WEIGHTED, MODEL, RESIDUAL, SCRATCH, OTHER, SLOPES = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    15,
    15 + KINDS,
)
"""Rows of `Bench.rows`, of a number for each point: axis, signal, 1 where there is a point to use,
the weight it came with, that of the fit, a row times it; model and residual on two sides, between
which present and tried parameters change; five rows for profiles to work in; the slopes of the
second line of a doublet; the slopes by each parameter, of one side and the other."""

THETA, TRIED, LOW, HIGH, OPEN, FREE, GRADIENT, STEP, BEFORE, MATRICES = range(10)
"""Rows of `Bench.numbers`, of a number for each of p parameters: the present ones, those that are
tried, bounds, 1 where they may be fitted, and where they are, descent and step of the fit, those of
the frame before; then three matrices of p rows: Hessian, its factor, covariance."""


class Model(NamedTuple):
    """What the lines of a window look like."""

    profile: int
    """Number of the kernel that draws a line."""
    lines: int
    ratio: float
    """Wavelength of the second line of a doublet over that of the first."""
    second: float
    """Share of the second line in the area of both; 0: no doublet."""


class Bench(NamedTuple):
    """Room to fit one frame of a window with n points (a multiple of `LANES`), p parameters."""

    rows: Array
    """(SLOPES + 2 p, n)."""
    numbers: Array
    """(MATRICES + 3 p, p). What a fit finds: parameters in row `THETA`, their covariance (0 where
    they were held or at a bound) in the last p rows."""
    used: Whole
    """(p,): the parameters in the normal equations."""


def make_bench(points: int, lines: int) -> Bench:
    """Return an empty bench for windows of so many points and lines."""
    parameters = KINDS * lines + 2
    return Bench(
        rows=np.zeros((SLOPES + 2 * parameters, padded(points))),
        numbers=np.zeros((MATRICES + 3 * parameters, parameters)),
        used=np.zeros(parameters, np.int64),
    )
