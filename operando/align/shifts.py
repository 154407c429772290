"""A potential seen twice, one of the two moved in time: numpy kernels.

The mean of a log over a window is the difference of its integral at the two ends; the integral is
tabulated once, so a window costs two look-ups wherever it is moved to.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operando.align.windows import SECOND, Array, Integers, Mask, Pieces

LEAST_COVERED = 0.5
"""An offset at which the log covers fewer of the samples than this is not considered."""
COVERED = 0.9
"""A sample counts where the log covers this share of its exposure."""
SHORTEST_S = 1e-3
"""Samples without length are taken for this long: no log changes within it."""
CLIP = 20.0
"""Residuals beyond this many robust standard deviations count as if they lay there."""
BLOCK = 200_000


class Samples(NamedTuple):
    """A potential as another instrument saw it: means over windows of its own."""

    start: Array
    """s, on the clock to be moved (m,)."""
    end: Array
    value: Array

    def pick(self, which: Integers | Mask) -> Samples:
        """Return some of them."""
        return Samples(self.start[which], self.end[which], self.value[which])

    def moved(self, shift: Array) -> tuple[Array, Array]:
        """Return start and end moved by seconds: one a sample, or a column of offsets (k, 1)."""
        return self.start + shift, self.end + shift


class Shifted(NamedTuple):
    """A log whose means over windows are quick to take at many offsets."""

    time: Array
    """Rows in s (n,)."""
    begin: Array
    """Value at the start of each interval (n - 1,)."""
    slope: Array
    """Its change per second inside (n - 1,)."""
    covered: Mask
    """(n - 1,)."""
    length: Array
    """Covered seconds before each row (n,)."""
    area: Array
    """Integral of the value over them (n,)."""

    @classmethod
    def of(cls, nanoseconds: Integers, pieces: Pieces) -> Shifted:
        """Tabulate a quantity; times count from its first row."""
        time = (nanoseconds - nanoseconds[0]) / SECOND
        step = np.diff(time)
        covered = pieces.covered & (step > 0)
        begin = np.where(covered, pieces.begin, 0.0)
        rise = np.where(covered, pieces.end - pieces.begin, 0.0)
        length = np.where(covered, step, 0.0)
        return cls(
            time,
            begin,
            np.divide(rise, step, out=np.zeros_like(rise), where=covered),
            covered,
            np.append(0.0, np.cumsum(length)),
            np.append(0.0, np.cumsum((begin + rise / 2) * length)),
        )

    def until(self, moment: Array) -> tuple[Array, Array, Array]:
        """Return covered seconds, integral and value at moments of any shape."""
        k = np.clip(np.searchsorted(self.time, moment, "right") - 1, 0, self.time.size - 2)
        inside = np.clip(moment - self.time[k], 0.0, self.time[k + 1] - self.time[k])
        inside = np.where(self.covered[k], inside, 0.0)
        value = self.begin[k] + self.slope[k] * inside
        area = self.area[k] + (self.begin[k] + value) / 2 * inside
        return self.length[k] + inside, area, value

    def means(self, start: Array, end: Array) -> tuple[Array, Array]:
        """Return the mean over windows, and its change per second of shift.

        NaN where less than `COVERED` of a window is covered.
        """
        end = np.maximum(end, start + SHORTEST_S)
        known_before, area_before, first = self.until(start)
        known_after, area_after, last = self.until(end)
        known = known_after - known_before
        enough = known >= COVERED * (end - start)
        known = np.where(enough, known, np.nan)
        return (area_after - area_before) / known, (last - first) / known


def scatter_of(values: Array) -> float:
    """Return the robust standard deviation: 1.4826 times the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def robust_cost(shifted: Shifted, samples: Samples, offsets: Array) -> Array:
    """Return for each offset the variance of samples minus log, outliers clipped.

    `inf` where the log covers fewer than half of the samples, or fewer than three.
    """
    costs = np.empty(offsets.size)
    rows = max(1, BLOCK // samples.value.size)
    for first in range(0, offsets.size, rows):
        part = slice(first, first + rows)
        mean, _ = shifted.means(*samples.moved(offsets[part, None]))
        costs[part] = _clipped_variance(samples.value - mean)
    return costs


def _clipped_variance(residual: Array) -> Array:
    """Return the variance of each row (k, m), clipped at 20 robust standard deviations."""
    count = np.isfinite(residual).sum(axis=1)
    enough = count >= max(3.0, LEAST_COVERED * residual.shape[1])
    residual = residual - _medians(residual, count)[:, None]
    limit = CLIP * 1.4826 * _medians(np.abs(residual), count)[:, None]
    clipped = np.clip(residual, -limit, limit)
    some = np.maximum(count, 1)
    middle = np.nansum(clipped, axis=1) / some
    square = np.nansum((clipped - middle[:, None]) ** 2, axis=1) / some
    return np.where(enough, square, np.inf)


def _medians(values: Array, count: Array) -> Array:
    """Return the median of the numbers in each row; NaN sorts to the end."""
    ordered = np.sort(values, axis=1)
    middle = np.clip(np.stack([(count - 1) // 2, count // 2]), 0, None).astype(np.int64)
    rows = np.arange(values.shape[0])
    median: Array = (ordered[rows, middle[0]] + ordered[rows, middle[1]]) / 2
    return median
