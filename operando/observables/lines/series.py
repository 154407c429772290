"""A window followed through frames: the kernel that is called from Python."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from operando.observables.lines.bench import (
    BEFORE,
    FREE,
    GIVEN,
    LIVE,
    MATRICES,
    OPEN,
    THETA,
    TRIED,
    Bench,
    Model,
    X,
    Y,
)
from operando.observables.lines.descent import fit
from operando.observables.lines.lanes import inner, kernel
from operando.observables.lines.profiles import AREA, KINDS
from operando.observables.lines.state import (
    CHI2R,
    CLEAR,
    FROZEN,
    GOOD,
    JUMP,
    MISFIT,
    REOPEN,
    REOPENED,
    SEEN,
    SEEN_BEFORE,
    STRENGTH,
    SUSPECT,
    WEAK,
    Rules,
)

Array = npt.NDArray[np.float64]

FEWEST = 1
"""Points more than parameters that a fit needs."""
EXTRA = 6
"""Columns of a result after parameters and sigmas: variance of the background, its covariance with
the slope, variance of the slope; reduced chi-square (NaN: no data); 1 if converged; lines seen, as
bits."""


@kernel
def follow(
    grid: Array,
    y: Array,
    given: Array,
    use: Array,
    begin: int,
    frames: tuple[int, int],
    points: int,
    model: Model,
    rules: Rules,
    bench: Bench,
    state: Array,
    starts: Array,
    states: Array,
    out: Array,
) -> int:
    """Track the lines of a window through frames; return where it stopped, or the last frame + 1.

    It stops after a frame in which lines were lost, or may be elsewhere; what it fitted is in
    `out`, where it was before on the bench.

    Parameters
    ----------
    grid
        (m,).
    y, given
        Signal and weights (n, m); without weights, `given` is (0, 0).
    use
        1 for points to use, 0 for masked ones, (m,).
    begin, points
        Of the window: first point, and how many.
    frames
        First, and last + 1.
    bench
        With its bounds, and what may be fitted.
    starts, states
        Of each block: parameters to begin with, (b, p), and states, (b, ROWS, k).
    out
        (n, 2 p + EXTRA): parameters (of a fit with one trial those to try next), their sigmas (0
        where they were held), and more.
    """
    row = TRIED if rules.trials == 1 else THETA
    for frame in range(frames[0], frames[1]):
        if frame % rules.length == 0 and not rules.cold:
            _begin(bench, state, starts, states, frame // rules.length)
        live = _load(bench, grid, y, given, use, frame, begin, points)
        if live < 2 * model.lines + 2 + FEWEST:
            out[frame, 2 * bench.used.size + 3] = np.nan
            continue
        _remember(bench, model, state)
        converged, chi2, degrees, cold = False, 0.0, 1, rules.cold
        again = True
        while again:
            _release(bench, model, state)
            converged, chi2, degrees = fit(bench, model, rules.poisson, cold, live, rules.trials)
            again = rules.gated and _gate(bench, model, state, chi2 / max(degrees, 1))
            cold = False
        chi2r = chi2 / max(degrees, 1)
        stop = not rules.cold and _suspect(model, rules, state, converged, chi2, degrees)
        _report(bench, model, state, row, out, frame, converged, chi2r)
        state[CHI2R, 0] = chi2r
        if stop:
            return frame
    return frames[1]


@inner
def _begin(bench: Bench, state: Array, starts: Array, states: Array, block: int) -> None:
    for at in range(bench.used.size):
        bench.numbers[THETA, at] = starts[block, at]
    for row in range(state.shape[0]):
        for line in range(state.shape[1]):
            state[row, line] = states[block, row, line]


@inner
def _load(
    bench: Bench,
    grid: Array,
    y: Array,
    given: Array,
    use: Array,
    frame: int,
    begin: int,
    points: int,
) -> int:
    """Put the window of a frame on the bench; return how many of its points can be used."""
    rows, count = bench.rows, 0
    weighted = given.shape[0] > 0
    for i in range(rows.shape[1]):
        column = begin + min(i, points - 1)
        value = y[frame, column]
        weight = given[frame, column] if weighted else 1.0
        live = i < points and use[column] > 0.0 and abs(value) < np.inf and weight > 0.0
        rows[X, i] = grid[column]
        rows[Y, i] = value if live else 0.0
        rows[LIVE, i] = 1.0 if live else 0.0
        rows[GIVEN, i] = weight if live else 0.0
        count += live
    return count


@inner
def _remember(bench: Bench, model: Model, state: Array) -> None:
    for at in range(bench.used.size):
        bench.numbers[BEFORE, at] = bench.numbers[THETA, at]
    for line in range(model.lines):
        clear = state[SEEN, line] > 0.0 and state[STRENGTH, line] > CLEAR
        state[SEEN_BEFORE, line] = 1.0 if clear else 0.0
        state[REOPEN, line] = 0.0


@inner
def _release(bench: Bench, model: Model, state: Array) -> None:
    """Free what may be fitted, but for the shapes of lines that are not seen: they are as good."""
    numbers, lines = bench.numbers, model.lines
    for at in range(numbers.shape[1]):
        numbers[FREE, at] = numbers[OPEN, at]
        kind, line = at // lines, at % lines
        if AREA < kind < KINDS and not state[SEEN, line] > 0.0:
            numbers[FREE, at] = 0.0
            numbers[THETA, at] = state[GOOD + kind, line]


@inner
def _gate(bench: Bench, model: Model, state: Array, chi2r: float) -> bool:
    """Hold the weakest line that is too weak, else reopen one that is strong again; say if any."""
    numbers, size = bench.numbers, bench.used.size
    weakest, least, strong = -1, WEAK, -1
    for line in range(model.lines):
        at = AREA * model.lines + line
        variance = numbers[MATRICES + 2 * size + at, at] * (chi2r if chi2r > MISFIT else 1.0)
        ratio = numbers[THETA, at] / math.sqrt(variance) if variance > 0.0 else 0.0
        state[STRENGTH, line] = ratio
        if state[SEEN, line] > 0.0:
            if not ratio >= least:
                weakest, least = line, ratio
        elif ratio > REOPENED and state[FROZEN, line] + state[REOPEN, line] == 0.0:
            strong = line
    if weakest >= 0:
        state[SEEN, weakest] = 0.0
        state[REOPEN, weakest] = 1.0
    elif strong >= 0:
        state[SEEN, strong] = 1.0
        state[REOPEN, strong] = 1.0
    return weakest >= 0 or strong >= 0


@inner
def _suspect(
    model: Model, rules: Rules, state: Array, converged: bool, chi2: float, degrees: int
) -> bool:
    """Whether lines that were clear vanished, the fit got much worse, or something is unseen."""
    clear, gone, hidden = False, False, False
    for line in range(model.lines):
        before, seen = state[SEEN_BEFORE, line] > 0.0, state[SEEN, line] > 0.0
        clear = clear or before
        gone = gone or (before and not seen)
        hidden = hidden or not (seen or state[FROZEN, line] > 0.0)
    worse = chi2 > JUMP * max(state[CHI2R, 0], 1.0) * degrees
    unseen = chi2 > degrees + SUSPECT * math.sqrt(2.0 * degrees)
    return gone or (clear and (worse or not converged)) or (rules.hunting and hidden and unseen)


@inner
def _report(
    bench: Bench,
    model: Model,
    state: Array,
    row: int,
    out: Array,
    frame: int,
    converged: bool,
    chi2r: float,
) -> None:
    """Write what was fitted; remember the shapes of the lines that the frame shows."""
    numbers, lines, size = bench.numbers, model.lines, bench.used.size
    covariance = MATRICES + 2 * size
    for at in range(size):
        out[frame, at] = numbers[row, at]
        out[frame, size + at] = math.sqrt(max(numbers[covariance + at, at], 0.0))
    at = size - 2
    out[frame, 2 * size] = numbers[covariance + at, at]
    out[frame, 2 * size + 1] = numbers[covariance + at, at + 1]
    out[frame, 2 * size + 2] = numbers[covariance + at + 1, at + 1]
    out[frame, 2 * size + 3] = chi2r
    out[frame, 2 * size + 4] = 1.0 if converged else 0.0
    bits = 0
    for line in range(lines):
        if state[SEEN, line] > 0.0:
            bits += 1 << line
            for kind in range(KINDS):
                state[GOOD + kind, line] = numbers[THETA, kind * lines + line]
    out[frame, 2 * size + 5] = bits
