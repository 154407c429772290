"""Means over blocks of frames and channels, so that drawing never loads a whole series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

BATCH_BYTES = 32 << 20
"""Memory for the frames that are held at a time."""


def pooled(signal: xr.DataArray, *, starts: Index, channels: int) -> Array:
    """Return the mean of each block of frames by `channels` neighbouring channels.

    Whole blocks are loaded one batch after another: memory does not grow with the series, and the
    result does not depend on how a lazy array is chunked.

    Parameters
    ----------
    signal
        (time, axis), lazy or not.
    starts
        First frame of each block.
    channels
        Neighbouring channels in one mean; the last mean takes what is left.

    Returns
    -------
    Array
        (blocks, means); missing points are left out, NaN where all are missing.
    """
    count, width = signal.shape
    stops = np.append(starts[1:], count)
    rows = max(1, BATCH_BYTES // (8 * width))
    means = np.empty((starts.size, -(-width // channels)))
    first = 0
    while first < starts.size:
        end = starts[first] + rows
        last = max(first + 1, int(np.searchsorted(stops, end, side="right")))
        values = signal[starts[first] : stops[last - 1]].values
        means[first:last] = block_means(values, starts[first:last] - starts[first], channels)
        first = last
    return means


def block_means(values: npt.NDArray[np.number], starts: Index, channels: int) -> Array:
    """Return means of (frames, channels) over blocks; a complex signal by its magnitude."""
    real = np.asarray(np.abs(values) if np.iscomplexobj(values) else values, np.float64)
    finite = np.isfinite(real)
    across = np.arange(0, real.shape[1], channels)
    total = _sums(np.where(finite, real, 0.0), starts, across)
    number = _sums(finite.astype(np.float64), starts, across)
    return np.asarray(np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0))


def pooled_axis(values: Array, *, channels: int) -> Array:
    """Return the edges of the pooled channels: half-way between neighbours."""
    if values.size == 1:
        return np.asarray(values + np.array([-0.5, 0.5]))
    middle = (values[:-1] + values[1:]) / 2
    first, last = 1.5 * values[0] - 0.5 * values[1], 1.5 * values[-1] - 0.5 * values[-2]
    if values[0] > 0 >= first:
        first = values[0] / 2  # a logarithmic axis has no zero
    edges = np.concatenate([[first], middle, [last]])
    return np.append(edges[:-1:channels], edges[-1])


def _sums(values: Array, starts: Index, across: Index) -> Array:
    blocks: Array = np.add.reduceat(values, starts, axis=0)
    return np.asarray(np.add.reduceat(blocks, across, axis=1))
