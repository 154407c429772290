"""What one line that moves, and two that change places, leave of a block of frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from operando.observables.lines.phase_descent import descend
from operando.observables.lines.phase_frame import (
    ASYMMETRY,
    FIRST,
    FIRST_DRIFT,
    OWN,
    SECOND,
    SHARE,
    SHARED,
    WIDTH,
)
from operando.observables.lines.profiles import profile

Array = npt.NDArray[np.float64]

NARROWEST = 1.2
"""Width in points."""
DEFAULT_SHARE = 0.5
STARTS = (0.3, 0.6, 1.0, 1.5)
"""Separations that two lines start from, in FWHM."""
ASIDE = (1.0, 2.0, 3.5)
"""The same from where one line is found, for a second that is smaller."""
NARROWER = (4.0, 8.0, 16.0, 32.0)
"""Parts of the window that the width of a line starts from."""
ONE_SIDED = 0.6
"""Largest asymmetry."""
RUNNING, QUARTERS = 5, 4
DRIFT = 0.3
"""Way along the block that two lines start with, in FWHM, up or down."""


@dataclass(frozen=True)
class Fit:
    """One explanation of a block."""

    chi2: float
    used: int
    """Free numbers."""
    points: int
    shared: Array
    own: Array
    amounts: Array
    covariance: Array
    own_variance: Array

    @property
    def chi2r(self) -> float:
        """Of a degree of freedom."""
        return self.chi2 / max(self.points - self.used, 1)

    @property
    def width(self) -> float:
        """Width of the block's lines."""
        return float(self.shared[WIDTH])

    def cost(self, unit: float) -> float:
        """Chi-square with what the free numbers take from it on average, at reduced `unit`."""
        return self.chi2 + unit * self.used

    @property
    def excess(self) -> float:
        """By what errors are larger than the noise says."""
        return float(np.sqrt(max(self.chi2r, 1.0)))


@dataclass(frozen=True)
class Data:
    """The frames of a block within the window."""

    grid: Array
    values: Array
    weight: Array
    eta: float | None

    @property
    def step(self) -> float:
        """Between points."""
        return float(np.median(np.diff(self.grid)))

    def bounds(self) -> tuple[Array, Array]:
        """Return the least and the largest of own and shared parameters."""
        first, last = float(self.grid[0]), float(self.grid[-1])
        narrow, far = NARROWEST * self.step, last - first
        low = np.array([first, narrow, narrow, 0.0, -ONE_SIDED, first, first, -far, -far])
        high = np.array([last, far / 2, far / 2, 1.0, ONE_SIDED, last, last, far, far])
        return low, high


def fit(
    data: Data, shared: Array, own: Array, *, lines: int, wide: bool = False, drift: bool = False
) -> Fit:
    """Explain the block from a start by one line, of free width if `wide`, or two that `drift`."""
    free = np.zeros(OWN + SHARED, dtype=bool)
    free[:OWN] = lines == 1, wide
    free[OWN + WIDTH], free[OWN + SHARE], free[OWN + ASYMMETRY] = not wide, data.eta is None, True
    free[OWN + FIRST : OWN + FIRST_DRIFT] = lines == 2
    free[OWN + FIRST_DRIFT :] = drift
    low, high = data.bounds()
    chi2, *rest = descend(data.grid, data.values, data.weight, shared, own, free, low, high, lines)
    shared, own, amounts, *variances = rest
    # an area that is held at zero is no free number
    used = int(free[OWN:].sum()) + len(data.values) * (int(free[:OWN].sum()) + 2)
    used += int((amounts[:, :lines] > 0).sum())
    return Fit(float(chi2), used, int((data.weight > 0).sum()), shared, own, amounts, *variances)


def one_line(data: Data) -> Fit:
    """Explain the block by one line that moves; its width is tried from a few starts."""
    far = float(data.grid[-1] - data.grid[0])
    fits = []
    for width in far / np.array(NARROWER):
        if width < NARROWEST * data.step:
            continue
        shared = np.zeros(SHARED)
        shared[WIDTH], shared[SHARE] = width, DEFAULT_SHARE if data.eta is None else data.eta
        own = np.full((len(data.values), OWN), width)
        own[:, 0] = _places(data, width)
        fits.append(fit(data, shared, own, lines=1))
    best = min(fits, key=lambda fit: fit.chi2)
    # a frame that took the largest noise for its line is brought back by its neighbours
    own = best.own.copy()
    own[:, 0] = median_filter(own[:, 0], size=RUNNING, mode="nearest")
    return min(best, fit(data, best.shared, own, lines=1), key=lambda fit: fit.chi2)


def free_width(data: Data, one: Fit) -> Fit:
    """Explain the block by one line whose width is free in every frame."""
    own = one.own.copy()
    own[:, 1] = one.width
    return fit(data, one.shared, own, lines=1, wide=True)


def _places(data: Data, width: float) -> Array:
    """Return where a line of a width fits each frame best, on a straight background."""
    line = profile(data.grid, centre=data.grid[:, None], fwhm=width, eta=DEFAULT_SHARE)
    ground = np.stack([np.ones_like(data.grid), data.grid - data.grid.mean()], axis=1)
    ground = np.linalg.qr(ground)[0]
    line = line - (line @ ground) @ ground.T
    size = np.sqrt((line**2).sum(axis=1))
    gain = (data.values @ line.T) / np.maximum(size, 1e-300)
    return np.asarray(data.grid[gain.argmax(axis=1)])


def two_lines(data: Data, one: Fit) -> tuple[Fit, Fit]:
    """Explain the block by two lines: that stay, and that drift."""
    middle = float(np.median(one.own[:, 0]))
    even = [(-apart / 2, apart / 2) for apart in [*(np.array(STARTS) * one.width), way(one)[0]]]
    aside = [(0.0, side * apart * one.width) for apart in ASIDE for side in (-1.0, 1.0)]
    fits = []
    for ends in [*even, *aside]:
        shared = one.shared.copy()
        shared[FIRST : SECOND + 1] = middle + np.array(ends)
        fits.append(fit(data, np.clip(shared, *_ends(data)), one.own, lines=2))
    still = min(fits, key=lambda fit: fit.chi2)
    if still.shared[SECOND] < still.shared[FIRST]:
        still = _turned(still)
    moving = []
    for drift in (-DRIFT, 0.0, DRIFT):
        shared = still.shared.copy()
        shared[FIRST_DRIFT:] = drift * one.width
        moving.append(fit(data, shared, one.own, lines=2, drift=True))
    best = min(moving, key=lambda fit: fit.chi2)
    return still, _turned(best) if best.shared[SECOND] < best.shared[FIRST] else best


def _ends(data: Data) -> tuple[Array, Array]:
    low, high = data.bounds()
    return low[OWN:], high[OWN:]


def _turned(fit: Fit) -> Fit:
    """Return the same with the lower line first."""
    order = np.array([WIDTH, SHARE, ASYMMETRY, SECOND, FIRST, FIRST_DRIFT + 1, FIRST_DRIFT])
    amounts = fit.amounts[:, [1, 0, *range(2, fit.amounts.shape[1])]]
    covariance = fit.covariance[np.ix_(order, order)]
    return replace(fit, shared=fit.shared[order], amounts=amounts, covariance=covariance)


def way(one: Fit) -> tuple[float, float]:
    """Return how far a line moves, by running means of its centre, and sigma."""
    length = min(RUNNING, len(one.own))
    weight = 1.0 / np.maximum(one.own_variance[:, 0], 1e-300)
    weight = np.where(np.isfinite(weight) & (one.amounts[:, 0] > 0), weight, 0.0)
    kernel = np.ones(length)
    total = np.convolve(weight, kernel, "valid")
    mean = np.convolve(weight * one.own[:, 0], kernel, "valid") / np.maximum(total, 1e-300)
    mean, total = mean[total > 0], total[total > 0]
    if mean.size == 0:
        return 0.0, float("inf")
    ends = mean.argmax(), mean.argmin()
    error = one.excess * np.sqrt(sum(1.0 / total[end] for end in ends))
    return float(mean[ends[0]] - mean[ends[1]]), float(error)


def exchange(two: Fit) -> float:
    """Return by how much the share of the upper line changes between quarters of the block."""
    parts = [part.sum(axis=0) for part in np.array_split(two.amounts[:, :2], QUARTERS)]
    shares = [part[1] / part.sum() for part in parts if part.sum() > 0]
    return float(max(shares) - min(shares)) if shares else 0.0


def separation(two: Fit) -> tuple[float, float]:
    """Return the distance of two lines in the middle of the block, and sigma."""
    v = two.covariance
    variance = v[FIRST, FIRST] + v[SECOND, SECOND] - 2.0 * v[FIRST, SECOND]
    apart = float(two.shared[SECOND] - two.shared[FIRST])
    return apart, two.excess * float(np.sqrt(max(float(variance), 0.0)))


def gain(data: Data, one: Fit) -> float:
    """Return by how much one line explains the block better than a background, a frame."""
    line = data.grid - data.grid.mean()
    moments = [data.weight @ line**power for power in range(3)]
    sums = [(data.weight * data.values) @ line**power for power in range(2)]
    size = np.maximum(moments[0] * moments[2] - moments[1] ** 2, 1e-300)
    level = (sums[0] * moments[2] - sums[1] * moments[1]) / size
    slope = (sums[1] * moments[0] - sums[0] * moments[1]) / size
    left = data.values - level[:, None] - slope[:, None] * line
    return float(((data.weight * left**2).sum() - one.chi2) / len(data.values))
