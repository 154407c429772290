"""Lines on a straight background, with their derivatives, for the parameters on a bench."""

from __future__ import annotations

import math

from operando.observables.lines.bench import (
    MODEL,
    OTHER,
    RESIDUAL,
    SCRATCH,
    SLOPES,
    Bench,
    Model,
    X,
    Y,
)
from operando.observables.lines.lanes import inlined, inner
from operando.observables.lines.profiles import (
    AREA,
    ASYMMETRY,
    CENTRE,
    ETA,
    FWHM,
    KINDS,
    draw_pseudo_voigt,
    draw_split_pseudo_voigt,
    draw_voigt,
)


@inlined
def evaluate(bench: Bench, model: Model, row: int, side: int) -> None:
    """Compute the model of the parameters in a row of numbers, its slopes, and the residual.

    They go to the rows of that side.
    """
    rows, numbers = bench.rows, bench.numbers
    lines, total = model.lines, MODEL + side
    first = SLOPES + side * numbers.shape[1]
    flat = first + KINDS * lines
    background, slope = numbers[row, KINDS * lines], numbers[row, KINDS * lines + 1]
    middle = 0.5 * (rows[X, 0] + rows[X, rows.shape[1] - 1])
    for i in range(rows.shape[1]):
        rows[flat, i] = 1.0
        rows[flat + 1, i] = rows[X, i] - middle
        rows[total, i] = background + slope * (rows[X, i] - middle)
    parts = 2 if model.second > 0.0 else 1
    for line in range(lines):
        for part in range(parts):
            _draw(bench, model, row, total, first, line, part)
        if parts == 2:
            _join(bench, model, row, first, line)
    for i in range(rows.shape[1]):
        rows[RESIDUAL + side, i] = rows[Y, i] - rows[total, i]


@inner
def _second_centre(model: Model, centre: float) -> tuple[float, float]:
    """Return the centre of the second line of a doublet, and its derivative by that of the first.

    Bragg's law at the same spacing, in degree of two theta: sin(c2 / 2) = r sin(c1 / 2).
    """
    half = math.radians(centre) / 2.0
    sine = min(model.ratio * math.sin(half), 1.0 - 1e-12)
    derivative = model.ratio * math.cos(half) / math.sqrt(1.0 - sine * sine)
    return 2.0 * math.degrees(math.asin(sine)), derivative


@inner
def _draw(
    bench: Bench, model: Model, row: int, total: int, first: int, line: int, part: int
) -> None:
    """Draw a line, or the first or second part of a doublet, with the kernel of its profile."""
    lines, numbers = model.lines, bench.numbers
    area, centre = numbers[row, AREA * lines + line], numbers[row, CENTRE * lines + line]
    at, step = first + line, lines
    if part == 0:
        area *= 1.0 - model.second
    else:
        area *= model.second
        centre, _ = _second_centre(model, centre)
        at, step = OTHER, 1
    numbers_of_line = (
        area,
        centre,
        numbers[row, FWHM * lines + line],
        numbers[row, ETA * lines + line],
        numbers[row, ASYMMETRY * lines + line],
    )
    if model.profile == 0:
        draw_pseudo_voigt(bench.rows, X, at, step, total, numbers_of_line)
    elif model.profile == 1:
        draw_split_pseudo_voigt(bench.rows, X, at, step, total, numbers_of_line)
    else:
        draw_voigt(bench.rows, X, at, step, total, SCRATCH, numbers_of_line)


@inner
def _join(bench: Bench, model: Model, row: int, first: int, line: int) -> None:
    """Make slopes of a doublet from those of its lines.

    Its area is that of both, its centre that of the first; its widths are the same.
    """
    rows, lines = bench.rows, model.lines
    _, faster = _second_centre(model, bench.numbers[row, CENTRE * lines + line])
    for kind in range(KINDS):
        mine, its = 1.0, 1.0
        if kind == AREA:
            mine, its = 1.0 - model.second, model.second
        elif kind == CENTRE:
            its = faster
        at, other = first + kind * lines + line, OTHER + kind
        for i in range(rows.shape[1]):
            rows[at, i] = mine * rows[at, i] + its * rows[other, i]
