"""Levenberg-Marquardt on a bench: the lines of a window fitted to one frame."""

from __future__ import annotations

from operando.observables.lines.bench import (
    FREE,
    GIVEN,
    HIGH,
    LIVE,
    LOW,
    MODEL,
    RESIDUAL,
    STEP,
    THETA,
    TRIED,
    WEIGHT,
    Bench,
    Model,
    Y,
)
from operando.observables.lines.evaluation import evaluate
from operando.observables.lines.lanes import inlined, inner
from operando.observables.lines.normal_equations import (
    factorise,
    hold,
    hold_at_bounds,
    invert,
    set_up,
    solve,
    weighted_product,
)

LAST = 1e-2
"""Chi-square that a step may promise to be the last: 0.1 sigma."""
LEFT = 1e-5
"""Chi-square that may be left after it: 0.003 sigma. Were each step as much better than the next as
the last two were, promise^2 / (promise before) is left."""
NEARLY = 1.0
"""The same for the weights of a cold start, which are only a beginning."""
FIRST_DAMPING = 1e-4
LEAST_DAMPING, SMALL_DAMPING, MOST_DAMPING = 1e-9, 1e-2, 1e10


@inlined
def fit(
    bench: Bench, model: Model, poisson: bool, cold: bool, live: int, trials: int
) -> tuple[bool, float, int]:
    """Minimise chi-square over the free parameters, from those on the bench, within the bounds.

    Counts (`poisson`) are weighted with 1/model, anew after every step: the fixed point is the
    maximum of the likelihood. From a cold start the first steps take the weights from the smoothed
    counts, for those of a wrong model mislead. A step is tried by one evaluation of model and
    slopes, which is the next iteration's if it helps. The last step, far below sigma, is taken
    without looking. After `trials` steps the next one is left in row `TRIED`.

    Parameters
    ----------
    live
        Points to use.

    Returns
    -------
    converged
    chi_square
    degrees
        Of freedom.
    """
    count = collect(bench)
    cold = cold and poisson
    side, chi2, damping, tried, before = 0, 0.0, FIRST_DAMPING, 0, 1.0
    fresh, converged = True, False
    move(bench, 0)
    for trial in range(trials):
        evaluate(bench, model, TRIED, tried)
        if trial > 0:
            fresh = weighted_product(bench, RESIDUAL + tried, RESIDUAL + tried) <= chi2 * (
                1.0 + 1e-13
            )
        if fresh:
            side = tried
            accept(bench)
            weigh(bench, side, poisson, cold)
            damping = damping if trial == 0 else max(0.1 * damping, LEAST_DAMPING)
            chi2 = set_up(bench, side, count)
            hold_at_bounds(bench, count)
        elif damping > MOST_DAMPING:
            break
        else:
            damping = max(10.0 * damping, 1e-3)
        factorise(bench, count, damping)
        promise = solve(bench, count)
        move(bench, count)
        tried = 1 - side
        usual = max(chi2 / max(live, 1), 1.0)
        if fresh and damping <= SMALL_DAMPING:
            left = promise * promise / max(before, promise)
            if promise <= LAST * usual and left <= LEFT * usual and not cold:
                accept(bench)
                chi2 -= promise
                converged = True
                break
            cold = cold and promise > NEARLY * usual
        if fresh:
            before = promise
    covary(bench, count)
    return converged, chi2, live - count


@inner
def collect(bench: Bench) -> int:
    """Use the free parameters; return how many there are."""
    count = 0
    for at in range(bench.used.size):
        if bench.numbers[FREE, at] > 0.0:
            bench.used[count] = at
            count += 1
    return count


@inner
def weigh(bench: Bench, side: int, poisson: bool, cold: bool) -> None:
    """Set the weights: those given, or of counts 1/model, or 1/(mean of five) for a cold start."""
    rows = bench.rows
    if not poisson:
        for i in range(rows.shape[1]):
            rows[WEIGHT, i] = rows[LIVE, i] * rows[GIVEN, i]
    elif not cold:
        for i in range(rows.shape[1]):
            rows[WEIGHT, i] = rows[LIVE, i] / max(rows[MODEL + side, i], 1.0)
    else:
        for i in range(rows.shape[1]):
            total, used = 0.0, 0.0
            for j in range(max(i - 2, 0), min(i + 3, rows.shape[1])):
                total += rows[Y, j] * rows[LIVE, j]
                used += rows[LIVE, j]
            rows[WEIGHT, i] = rows[LIVE, i] / max(total / max(used, 1.0), 1.0)


@inner
def move(bench: Bench, count: int) -> None:
    """Try the present parameters moved by the step, within bounds."""
    numbers = bench.numbers
    for at in range(bench.used.size):
        numbers[TRIED, at] = numbers[THETA, at]
    for a in range(count):
        at = bench.used[a]
        moved = numbers[THETA, at] + numbers[STEP, a]
        numbers[TRIED, at] = min(max(moved, numbers[LOW, at]), numbers[HIGH, at])


@inner
def accept(bench: Bench) -> None:
    """Make the tried parameters the present ones."""
    for at in range(bench.used.size):
        bench.numbers[THETA, at] = bench.numbers[TRIED, at]


@inner
def covary(bench: Bench, count: int) -> None:
    """Make the covariance of the free parameters that are off their bounds.

    At a bound a parameter is known, not measured: the others are conditional on it.
    """
    numbers = bench.numbers
    for a in range(count):
        at = bench.used[a]
        if not numbers[LOW, at] < numbers[THETA, at] < numbers[HIGH, at]:
            hold(bench, a, count)
    factorise(bench, count, 0.0)
    invert(bench, count)
