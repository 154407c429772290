"""Panels of numbers against time and against voltage, side by side, above the voltage."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from operando.plots.style import LINE, figure, footnote


def paired_panels(
    count: int, told: Sequence[str], *, number: float, voltage: float
) -> tuple[Figure, list[tuple[Axes, Axes]], Axes, Axes]:
    """Return a figure, its rows (against time, against voltage), the voltage and the legend.

    `number` and `voltage` are the heights of a row and of the voltage in inches; the lines of
    `told` stand below all.
    """
    heights = [number] * count + [voltage, LINE * len(told)]
    shown = figure(height=sum(heights) + 0.55)
    grid = shown.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[2.1, 1])
    footnote(shown.add_subplot(grid[-1, :]), told)
    cell = shown.add_subplot(grid[count, 0])
    legend = shown.add_subplot(grid[count, 1])
    rows: list[tuple[Axes, Axes]] = []
    for row in range(count):
        left = shown.add_subplot(grid[row, 0], sharex=cell)
        right = shown.add_subplot(grid[row, 1], sharey=left, sharex=rows[0][1] if rows else None)
        left.tick_params(labelbottom=False)
        right.tick_params(labelbottom=row == count - 1, labelleft=False)
        rows.append((left, right))
    return shown, rows, cell, legend
