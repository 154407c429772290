"""A stack of rows fitted on one axis, each from a start of its own, by the kernel of the tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.observables.lines.bench import HIGH, LOW, OPEN, Model, make_bench
from operando.observables.lines.profiles import KINDS, PROFILES
from operando.observables.lines.series import EXTRA, follow
from operando.observables.lines.state import GOOD, ROWS, SEEN, TRIALS, Rules

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RULES = Rules(
    poisson=False,
    gated=False,
    hunting=False,
    cold=False,
    trials=TRIALS,
    length=1,
)
"""Each row is a block of its own, and nothing is asked of its lines."""


@dataclass(frozen=True)
class Fit:
    """Fits of n rows with p = KINDS k + 2 parameters."""

    theta: Array
    """(n, p): k areas, k centres, k widths, k shares, k asymmetries, the background in the middle
    of the axis and its slope."""
    covariance: Array
    """(n, p, p), from the weights alone; zero for what was held, or is at a bound."""
    chi2r: Array
    """(n,): chi-square per degree of freedom; NaN where a row has fewer points than parameters."""
    converged: Mask


def fit_stack(
    x: Array,
    y: Array,
    *,
    weight: Array,
    start: Array,
    free: Mask,
    low: Array,
    high: Array,
    profile: str = "pseudo_voigt",
) -> Fit:
    """Fit rows y (n, m), with weights 1/sigma^2 (n, m), by Levenberg-Marquardt within bounds.

    Parameters
    ----------
    weight
        0 for points to leave out, whose y does not matter.
    start
        (n, p).
    free
        Parameters that are fitted; others stay at their start, (p,).
    low, high
        Bounds, (p,).
    """
    rows, size = start.shape
    lines = (size - 2) // KINDS
    bench, state = make_bench(x.size, lines), np.zeros((ROWS, lines))
    bench.numbers[LOW], bench.numbers[HIGH], bench.numbers[OPEN] = low, high, free
    states = np.zeros((rows, ROWS, lines))
    states[:, GOOD : GOOD + KINDS] = start[:, :-2].reshape(rows, KINDS, lines)
    states[:, SEEN] = 1.0
    model = Model(profile=PROFILES[profile], lines=lines, ratio=1.0, second=0.0)
    out, covariance = np.full((rows, 2 * size + EXTRA), np.nan), np.zeros((rows, size, size))
    # copies also of what may not be written to: the kernel is compiled once, for arrays of its own
    grid, values, weights, starts = (
        np.array(part, dtype=float, order="C") for part in (x, y, weight, start)
    )
    use = np.ones(x.size)
    for row in range(rows):
        follow(
            grid,
            values,
            weights,
            use,
            0,
            (row, row + 1),
            x.size,
            model,
            RULES,
            bench,
            state,
            starts,
            states,
            out,
        )
        covariance[row] = bench.numbers[-size:]
    return Fit(out[:, :size], covariance, out[:, -3], out[:, -2] > 0)
