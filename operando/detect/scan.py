"""Windows of frames that differ from a fitted reference, and how large a difference is chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

CORRELATION_LIMIT = 0.8
"""Largest lag-1 correlation that still counts as noise."""

EARLY = 1 / 5
"""Part of a creep that counts as its beginning."""
FINE = 0.25
"""Rows between the feet that are tried."""

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


class Scan:
    """Scores of windows of frames against a reference fitted to the first of them.

    The model of a series (n,) is basis (n, p) times parameters fitted to the first `reference`
    frames, plus, in a window of later frames, a constant departure. Its score is the weighted mean
    residual in the window over its sigma, which holds the noise of the window, the error of the
    fit, and the lag-1 correlation.

    Parameters
    ----------
    sigma
        Statistical standard deviation of each frame (n,).
    minimum
        Frames of the shortest window; the others are longer by powers of two or reach the end.
    quiet
        Scatter in sigma and lag-1 correlation, where another series knows them better than this
        one, which may hold the change itself.
    """

    def __init__(
        self,
        basis: Array,
        sigma: Array,
        *,
        reference: int,
        minimum: int,
        quiet: tuple[float, float] | None = None,
    ) -> None:
        self.reference, self.minimum, self.quiet = reference, minimum, quiet
        self.weight = 1 / sigma
        self.basis = basis * self.weight[:, None]
        known = self.basis[:reference]
        self.fit = np.linalg.pinv(known)
        self.covariance = self.fit @ self.fit.T
        self.information = np.append(0, np.cumsum(self.weight**2))
        lever = np.cumsum(self.weight[:, None] * self.basis, axis=0)
        self.lever = np.vstack([np.zeros(lever.shape[1]), lever])
        frames, first = sigma.size, reference
        lengths = [minimum]
        while lengths[-1] * 2 <= frames - first:
            lengths.append(lengths[-1] * 2)
        starts = [np.arange(first, frames - length + 1) for length in lengths]
        stops = [start + length for start, length in zip(starts, lengths, strict=True)]
        to_the_end = np.arange(first, frames - minimum + 1)
        self.starts = np.concatenate([*starts, to_the_end])
        self.stops = np.concatenate([*stops, np.full(to_the_end.size, frames)])

    def residuals(self, values: Array) -> Array:
        """Return series (k, rows) minus the fitted reference, in sigma."""
        return self._minus_fit(values * self.weight)

    def _minus_fit(self, whitened: Array) -> Array:
        known = whitened[:, : self.reference]
        return np.asarray(whitened - (known @ self.fit.T) @ self.basis.T)

    def noise(self, residuals: Array) -> tuple[Array, Array]:
        """Return scatter in sigma (never below 1) and lag-1 correlation of each series.

        From the clipped variance of differences at lag 1 and 2, var_k = 2 s^2 (1 - r^k), which
        neither a step nor a steady slope disturbs; from the quiet series where there is one.
        """
        if self.quiet is not None:
            scatter, correlation = (np.full(len(residuals), number) for number in self.quiet)
            return np.maximum(scatter, 1.0), correlation
        scatter, correlation = scatter_of(residuals)
        free = self.reference - self.basis.shape[1]
        if self.basis.shape[1] > 1 and free > 0:
            misfit = np.square(residuals[:, : self.reference]).sum(axis=1) / free
            scatter = np.maximum(scatter, np.sqrt(misfit))
        return np.maximum(scatter, 1.0), correlation

    def scores(self, residuals: Array, starts: Rows, stops: Rows) -> Array:
        """Return the departure over its sigma in windows of rows, (k, windows)."""
        total = np.cumsum(residuals * self.weight, axis=1)
        total = np.hstack([np.zeros((len(total), 1)), total])
        scatter, correlation = self.noise(residuals)
        width = scatter * np.sqrt((1 + correlation) / (1 - correlation))
        known = np.sqrt(self._variance(starts, stops))
        return np.asarray((total[:, stops] - total[:, starts]) / known / width[:, None])

    def _variance(self, starts: Rows, stops: Rows) -> Array:
        lever = self.lever[stops] - self.lever[starts]
        common = np.einsum("wi,ij,wj->w", lever, self.covariance, lever)
        return np.asarray(self.information[stops] - self.information[starts] + common)

    def threshold(self, scatter: float, correlation: float, false_alarm: float) -> float:
        """Return what the largest score exceeds with probability `false_alarm` in mere noise."""
        random = np.random.default_rng(0)
        count, frames = int(np.ceil(20 / false_alarm)), self.weight.size
        largest = []
        for first in range(0, count, batch := max(1, 2_000_000 // frames)):
            white = random.standard_normal((min(batch, count - first), frames))
            white[:, 1:] *= np.sqrt(1 - correlation**2)
            noise = scatter * lfilter([1.0], [1.0, -correlation], white, axis=1)
            scores = self.scores(self._minus_fit(noise), self.starts, self.stops)
            largest.append(np.abs(scores).max(axis=1))
        return float(np.quantile(np.concatenate(largest), 1 - false_alarm))

    def strongest(self, value: Array) -> tuple[float, int, int]:
        """Return the score of largest magnitude and its window."""
        scores = self.scores(self.residuals(value[None]), self.starts, self.stops)[0]
        best = int(np.abs(scores).argmax())
        return float(scores[best]), int(self.starts[best]), int(self.stops[best])

    def estimate(self, value: Array, start: int, stop: int) -> tuple[float, float]:
        """Return the departure in a window and its sigma, in the unit of the series."""
        window = np.array([start]), np.array([stop])
        residuals = self.residuals(value[None])
        information = (self.information[stop] - self.information[start]).item()
        total = float((residuals * self.weight)[0, start:stop].sum())
        score = self.scores(residuals, *window).item()
        size = total / information
        return size, abs(size / score) if score else float("inf")

    def localise(self, value: Array, start: int, stop: int) -> tuple[int, int, int, int]:
        """Return onset and end row of a departure, and the first and last row of its onset.

        They start from the window found by `strongest` and are those of the most likely step,
        given that all other frames follow the reference. The end is the last row + 1 unless the
        series is back at the reference after it.
        """
        frames, shortest = value.size, self.minimum
        for _ in range(2):
            stops = np.arange(start + shortest, frames + 1)
            stop = int(stops[self._gain(value, np.full_like(stops, start), stops).argmax()])
            starts = np.arange(self.reference, stop - shortest + 1)
            start = int(starts[self._gain(value, starts, np.full_like(starts, stop)).argmax()])
        if not self._is_back(value, start, stop):
            stop = frames
        gain = self._gain(value, starts, np.full_like(starts, stop))
        likely = starts[gain >= gain.max() - 3.84]
        earliest, residuals = int(likely.min()), self.residuals(value[None])
        sign = np.sign(self.estimate(value, start, stop)[0])
        while earliest > self.reference + shortest:
            before = np.array([earliest - shortest]), np.array([earliest])
            if sign * self.scores(residuals, *before).item() < 2:
                break
            earliest -= 1
        latest = int(likely.max())
        clear = self._clear(residuals, stop, sign)
        if clear < latest:
            # A creep: the most likely step stands half-way up, long after the change was plain,
            # and the first frames of it still look like the reference.
            foot, first, last = self._foot(residuals, clear, stop)
            latest = min(max(last, foot), clear)
            start, earliest = min(foot, clear), first
        return start, stop, min(earliest, latest), latest

    def _clear(self, residuals: Array, stop: int, sign: float) -> int:
        """Return the first row from which every single frame is 3 sigma off, `stop` if none is."""
        [scatter], _ = self.noise(residuals)
        common = np.einsum("ri,ij,rj->r", self.basis, self.covariance, self.basis)
        off = sign * residuals[0] / np.sqrt(scatter**2 + common) > 3
        near = np.flatnonzero(~off[self.reference : stop])
        return int(self.reference + (near[-1] + 1 if near.size else 0))

    def _foot(self, residuals: Array, clear: int, stop: int) -> tuple[int, int, int]:
        """Return the row in which a creep begins, and the first and last that are as likely.

        The most likely foot of a straight line fitted to all rows up to where the departure has
        come to `EARLY` of its last value (a creep levels off, its beginning is straight), with the
        rows before the foot at the reference; the interval holds all feet within 3.84 of twice the
        log-likelihood.
        """
        departure = residuals[0] / self.weight
        final = abs(float(departure[max(clear, stop - self.minimum) : stop].mean()))
        grown = np.flatnonzero(np.abs(departure[clear:stop]) > EARLY * final)
        end = clear + max(int(grown[0]) if grown.size else 0, self.minimum)
        rows = np.arange(self.reference, min(end, stop))
        feet = np.arange(self.reference - 1.0, clear, FINE)
        ramps = np.maximum(rows - feet[:, None], 0.0) * self.weight[rows]
        [scatter], _ = self.noise(residuals)
        seen = residuals[0][rows]
        gain = (ramps @ seen) ** 2 / np.square(ramps).sum(axis=1) / scatter**2
        likely = feet[gain >= gain.max() - 3.84]
        found = (feet[gain.argmax()], likely[0], likely[-1])
        # Change shows in the first row after its foot.
        foot, first, last = (int(np.floor(one)) + 1 for one in found)
        return foot, max(first, self.reference), last

    def _gain(self, value: Array, starts: Rows, stops: Rows) -> Array:
        """Return twice the log-likelihood that a step in each window adds to a fit of all rows."""
        fit = np.linalg.pinv(self.basis)
        whitened = value * self.weight
        residuals = whitened - self.basis @ (fit @ whitened)
        total = np.append(0, np.cumsum(residuals * self.weight))
        lever = self.lever[stops] - self.lever[starts]
        explained = np.einsum("wi,ij,wj->w", lever, fit @ fit.T, lever)
        information = self.information[stops] - self.information[starts] - explained
        [scatter], [correlation] = self.noise(self.residuals(value[None]))
        width = scatter**2 * (1 + correlation) / (1 - correlation)
        return np.asarray((total[stops] - total[starts]) ** 2 / information / width)

    def _is_back(self, value: Array, start: int, stop: int) -> bool:
        if value.size - stop < self.minimum:
            return False
        during, _ = self.estimate(value, start, stop)
        after, sigma = self.estimate(value, stop, value.size)
        return abs(after) < 3 * sigma and abs(after) < abs(during) / 2


def scatter_of(residuals: Array) -> tuple[Array, Array]:
    """Return scatter and lag-1 correlation of each row, by the rule of `Scan.noise`."""
    one, two = (_spread(residuals[:, lag:] - residuals[:, :-lag]) ** 2 for lag in (1, 2))
    correlation = np.clip(two / np.maximum(one, 1e-300) - 1, 0, CORRELATION_LIMIT)
    return np.sqrt(one / (2 * (1 - correlation))), correlation


def _spread(rows: Array) -> Array:
    """Return the standard deviation of each row, values beyond 3 robust sigmas clipped.

    The robust sigma is the 68.27 % point of the distance to the median: a fraction held at zero in
    half of its frames has differences of which the median says nothing.
    """
    centred = rows - np.median(rows, axis=1, keepdims=True)
    limit = 3 * np.quantile(np.abs(centred), 0.6827, axis=1, keepdims=True)
    clipped = np.clip(centred, -limit, limit)
    return np.asarray(np.sqrt(np.square(clipped).mean(axis=1)))
