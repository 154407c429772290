"""Frames of one place, on one scale, with their variances and what the reference expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

FINITE = 0.9
"""Share of the points that a frame needs to take part."""
LEAST_EXPOSURE = 0.02
"""Share of the usual intensity that a frame needs: less is a frame without beam."""
LEAST_REFERENCE = 3
TELLING = 0.1
"""Share of a bright point's intensity from which a point tells the scale."""
ROUNDS = 2


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
    scale: Array
    """What frames were divided by, (n,)."""
    share: Array
    """How much of a mean frame each counts, (n,): 1 over its variance."""
    rest: Array
    """(m,): mean of the reference without its tracked lines."""
    expected: Array
    """(n, m): what a frame would be without change."""
    lines: Array
    """(n, m): the part of it that tracked lines and their misfit are."""
    gain: float = 0.0
    """Variance over intensity of counts; third cumulants are this times the variance."""

    @property
    def pattern(self) -> Array:
        """Mean of the reference, (m,), zero where nothing was measured."""
        return np.asarray(self.rest + reference_mean(self.lines, self.share, self.reference))

    @property
    def residual(self) -> Array:
        """All frames minus what is expected, (n, m), zero where nothing was measured."""
        return np.nan_to_num(self.values - self.expected)

    @property
    def known(self) -> float:
        """Mean frames that the reference is worth."""
        return float(self.share[: self.reference].sum())

    @property
    def mean_variance(self) -> Array:
        """Variance of a mean frame, (m,), infinite where nothing was measured."""
        return np.asarray((self.share @ self.variance) / len(self.share))

    @property
    def weight(self) -> Array:
        """1 over it, (m,)."""
        return np.asarray(1.0 / self.mean_variance)


def reference_mean(values: Array, share: Array, reference: int) -> Array:
    """Return the mean of the first `reference` rows, each with its share."""
    part = share[:reference]
    return np.asarray((values[:reference] * part[:, None]).sum(axis=0) / part.sum())


def usable(values: npt.NDArray[np.generic]) -> Rows:
    """Return the frames (n, m) that hold most of what any frame holds, and saw the beam."""
    values = np.asarray(values, dtype=float)
    finite = np.isfinite(values).sum(axis=1)
    whole = finite >= FINITE * max(int(finite.max(initial=0)), 1)
    bright = np.zeros(len(values))
    bright[whole] = np.nanquantile(values[whole], 0.9, axis=1) if whole.any() else 0.0
    lit = bright >= LEAST_EXPOSURE * (np.median(bright[whole]) if whole.any() else 0.0)
    return np.flatnonzero(whole & lit)


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

    `sigma` of the values; when None, variance is proportional to the intensity before scaling, as
    that of counts, and its size is taken from differences of successive frames.

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
    seen = ~hidden & (values[:reference].mean(axis=0) > 0)
    if not seen.any():
        raise RequestError(
            "mask: nothing outside it is positive and measured in every frame; shorten the mask"
        )
    scale = _scales(values[:, seen], reference)
    scaled = values / scale[:, None]
    if sigma is None:
        variance = _counting(scaled, scale, seen)
        share = scale.copy()
    else:
        variance = (sigma / scale[:, None]) ** 2
        usual = np.median(variance[:, seen], axis=0)
        share = 1.0 / np.median(variance[:, seen] / usual, axis=1)
    share /= share.mean()
    rest = reference_mean(scaled, share, reference)
    bright = seen & (rest > TELLING * np.quantile(rest[seen], 0.9))
    mean = (share @ variance) / len(share)
    return Series(
        axis=axis,
        values=np.where(hidden, np.nan, scaled),
        variance=np.where(hidden, np.inf, variance),
        reference=reference,
        scale=scale,
        share=share,
        rest=np.where(hidden, 0.0, rest),
        expected=np.broadcast_to(rest, values.shape),
        lines=np.zeros(values.shape),
        gain=float(np.median(mean[bright] / rest[bright])),
    )


def _scales(values: Array, reference: int) -> Array:
    """Return what frames are multiples of: 1 on average over the reference."""
    scale = np.ones(len(values))
    for _ in range(ROUNDS):
        pattern = values[:reference].sum(axis=0) / scale[:reference].sum()
        bright = pattern > TELLING * np.quantile(pattern, 0.9)
        scale = np.median(values[:, bright] / pattern[bright], axis=1)
        scale = np.maximum(scale / scale[:reference].mean(), LEAST_EXPOSURE)
    return scale


def _counting(values: Array, scale: Array, seen: Mask) -> Array:
    """Variance proportional to the smoothed mean, scaled to what successive frames differ by."""
    mean = np.nan_to_num(reference_mean(values, scale, len(values)))
    smooth = np.convolve(np.pad(mean, 2, mode="edge"), np.ones(5) / 5, "valid")
    shape = np.maximum(smooth, 1e-3 * np.median(mean[seen]))
    both = (1.0 / scale[1:] + 1.0 / scale[:-1])[:, None]
    steps = np.diff(values[:, seen], axis=0) / np.sqrt(both * shape[seen])
    size = max(1.4826 * float(np.median(np.abs(steps))), 1e-12)
    return np.asarray(shape * size**2 / scale[:, None])
