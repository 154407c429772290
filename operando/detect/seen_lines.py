"""Lines with their areas through a series: which go together, and from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.detect.frame_series import Series
from operando.detect.line_areas import Line, describe, measure
from operando.detect.new_lines import Change
from operando.detect.onset import Span, locate

Array = npt.NDArray[np.float64]

TOGETHER = 0.9
"""Correlation of areas, freed of their noise, from which lines belong to one phase."""
MEASURED = 4.0
"""Mean area over sigma that a fitted line needs."""


@dataclass(frozen=True)
class Seen:
    """Lines, the strongest first, with their areas above the reference and sigmas (n, k)."""

    lines: list[Line]
    area: Array
    """Negative for lines that are lost."""
    sigma: Array

    @property
    def sigma_with_shape(self) -> Array:
        """Sigma with the error of the line's shape, common to all frames."""
        relative = np.array([line.shape_error for line in self.lines])
        return np.hypot(self.sigma, relative * self.area)

    def only(self, chosen: Sequence[int]) -> Seen:
        """Return some of the lines."""
        lines = [self.lines[at] for at in chosen]
        return Seen(lines, self.area[:, chosen], self.sigma[:, chosen])


def join(*parts: Seen) -> Seen:
    """Return the lines of all parts."""
    return Seen(
        [line for part in parts for line in part.lines],
        np.concatenate([part.area for part in parts], axis=1),
        np.concatenate([part.sigma for part in parts], axis=1),
    )


def measured(series: Series, changes: Sequence[Change], *, beside: Sequence[Change]) -> Seen:
    """Return the lines that can be fitted where they were found, with their areas.

    `beside`: other changes, whose cores are left out of the backgrounds.
    """
    lines = describe(series, changes, [*changes, *beside])
    area, sigma = measure(series, lines, [*changes, *beside])
    good = []
    for at, line in enumerate(lines):
        best = slice(line.change.start, line.change.stop)
        frames = line.change.stop - line.change.start
        alone = np.mean(sigma[best, at]) / np.sqrt(1.0 + 1.0 / series.reference)
        error = alone * np.sqrt(1.0 / frames + 1.0 / series.reference)
        if np.sign(line.change.score) * area[best, at].mean() > MEASURED * error:
            good.append(at)
    good.sort(key=lambda at: -abs(lines[at].change.score))
    return Seen(lines, area, sigma).only(good)


def groups(seen: Seen) -> list[list[int]]:
    """Put lines together whose areas rise and fall together, each group led by its strongest."""
    centred = seen.area - seen.area.mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    noise = (seen.sigma**2).mean(axis=0)
    variance = np.maximum(np.diag(covariance) - noise, 0.1 * np.diag(covariance))
    found: list[list[int]] = []
    for at in range(len(seen.lines)):
        for group in found:
            lead = group[0]
            if covariance[at, lead] >= TOGETHER * np.sqrt(variance[at] * variance[lead]):
                group.append(at)
                break
        else:
            found.append([at])
    return found


def span(seen: Seen, *, reference: int, shortest: int) -> Span:
    """Locate the best common amplitude of the lines of a group."""
    best = seen.lines[0].change
    profile = seen.area[best.start : best.stop].mean(axis=0)
    weight = profile / seen.sigma**2
    information = (weight * profile).sum(axis=1)
    return locate(
        (weight * seen.area).sum(axis=1) / information,
        1.0 / np.sqrt(information),
        reference=reference,
        start=best.start,
        stop=best.stop,
        shortest=shortest,
    )
