"""Frames of one place, on one scale, with their variances and their reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

FINITE = 0.9
"""Share of the points that a frame needs to take part."""
LEAST_REFERENCE = 3


@dataclass(frozen=True)
class Series:
    """Frames of one place on one scale."""

    axis: Array
    """(m,), ascending."""
    values: Array
    """(n, m), the reference first; NaN where nothing was measured."""
    variance: Array
    """(n, m); infinite where nothing was measured."""
    reference: int
    """How many of the frames are the reference."""

    @property
    def pattern(self) -> Array:
        """Mean of the reference, (m,)."""
        return np.asarray(self.values[: self.reference].mean(axis=0))

    @property
    def residual(self) -> Array:
        """All frames minus the pattern, (n, m), zero where nothing was measured."""
        return np.nan_to_num(self.values - self.pattern)

    @property
    def weight(self) -> Array:
        """1 over the mean variance of a frame, (m,)."""
        return np.asarray(1.0 / self.variance.mean(axis=0))


def usable(values: npt.NDArray[np.generic]) -> Rows:
    """Return the frames (n, m) that hold most of what any frame holds."""
    finite = np.isfinite(np.asarray(values, dtype=float)).sum(axis=1)
    return np.flatnonzero(finite >= FINITE * max(int(finite.max(initial=0)), 1))


def choose_reference(
    rows: Rows, reference: int | tuple[int, int] | None, *, shortest: int, frames: int
) -> tuple[Rows, str]:
    """Return the usable frames of the reference, and why there are too few to go on ("" if not).

    Raises
    ------
    RequestError
        The reference is empty or begins before the series.
    """
    if reference is None:
        reference = max(LEAST_REFERENCE, frames // 10)
    first, stop = (0, reference) if isinstance(reference, int) else reference
    if not 0 <= first < stop:
        raise RequestError(f"reference: {reference!r}; expected one frame or more of the series")
    known = rows[(rows >= first) & (rows < stop)]
    after = int(np.count_nonzero(rows >= stop))
    if len(known) >= LEAST_REFERENCE and after >= shortest:
        return known, ""
    return known, (
        f"{rows.size} usable frames, {len(known)} in the reference; needs {LEAST_REFERENCE} in the "
        f"reference and {shortest} after it"
    )


def on_one_scale(
    axis: Array,
    values: Array,
    sigma: Array | None,
    *,
    reference: int,
    mask: Sequence[tuple[float, float]] = (),
) -> Series:
    """Divide frames (n, m) by their median ratio to the mean of the first `reference` of them.

    `sigma` of the values; when None, variance is proportional to intensity, as that of counts, and
    its size is taken from differences of successive frames.

    Raises
    ------
    RequestError
        Nothing is left outside the mask.
    """
    hidden = ~np.isfinite(values).all(axis=0)
    for low, high in mask:
        hidden |= (axis >= low) & (axis <= high)
    if sigma is not None:
        hidden |= ~(np.isfinite(sigma) & (sigma > 0)).all(axis=0)
    pattern = values[:reference].mean(axis=0)
    seen = ~hidden & (pattern > 0)
    if not seen.any():
        raise RequestError(
            "mask: nothing outside it is positive and measured in every frame; shorten the mask"
        )
    scale = np.median(values[:, seen] / pattern[seen], axis=1)[:, None]
    scaled = np.where(hidden, np.nan, values / scale)
    variance = _counting(scaled, seen) if sigma is None else (sigma / scale) ** 2
    return Series(axis, scaled, np.where(hidden, np.inf, variance), reference)


def _counting(values: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Variance proportional to the smoothed mean, scaled to what successive frames differ by."""
    mean = np.nan_to_num(values).mean(axis=0)
    smooth = np.convolve(np.pad(mean, 2, mode="edge"), np.ones(5) / 5, "valid")
    shape = np.maximum(smooth, 1e-3 * np.median(mean[seen]))
    steps = np.diff(values[:, seen], axis=0) / np.sqrt(2.0 * shape[seen])
    size = max(1.4826 * float(np.median(np.abs(steps))), 1e-12)
    return np.asarray(np.broadcast_to(shape * size**2, values.shape))
