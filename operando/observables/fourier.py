"""From chi(k) to chi(R): window, grid and scale of larch (`larch.xafs.xftf`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

K_STEP = 0.05
"""Grid of chi(k) in 1/angstrom."""
SIZE = 2048
"""Points of the transform, zeros included."""
R_STEP = np.pi / (K_STEP * SIZE)
"""Grid of chi(R): 0.031 angstrom."""
R_LIMIT = 0.5 * SIZE * R_STEP
"""The largest R there is: 31.4 angstrom."""
SCALE = K_STEP / np.sqrt(np.pi)


def taper(k: Array, *, low: float, high: float, width: float) -> Array:
    """Return the Hanning window from `low` to `high`: sin^2 flanks of `width` centred on both."""
    rise = np.clip((k - low) / width + 0.5, 0.0, 1.0)
    fall = np.clip((high - k) / width + 0.5, 0.0, 1.0)
    return np.asarray(np.square(np.sin(0.5 * np.pi * np.minimum(rise, fall))))


def chi_of_r(weighted: Array, *, points: int) -> Complex:
    """Return the first `points` of chi(R) (n, points) of weighted, windowed chi(k) (n, p).

    chi(R) = K_STEP / sqrt(pi) sum_k k^w W(k) chi(k) exp(-2 i k R). numpy transforms row by row, so
    that a spectrum's rounding does not depend on what it is transformed with.
    """
    return np.asarray(np.fft.rfft(SCALE * weighted, n=SIZE, axis=1)[:, :points])


def rows_of_r(k: Array, weight: Array, *, points: slice) -> tuple[Array, Array]:
    """Return the real and the imaginary part of that transform as matrices (r, p)."""
    angle = 2.0 * R_STEP * np.outer(np.arange(SIZE // 2)[points], k)
    return SCALE * np.cos(angle) * weight, -SCALE * np.sin(angle) * weight
