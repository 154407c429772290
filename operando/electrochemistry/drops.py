"""Sudden falls of a level that otherwise changes slowly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MARGIN = 8
"""Rows on either side of a fall that straight lines go through."""
SIGMAS = 6.0
WHILE = 2
"""Rows that a fall may take, besides."""


class Drop(NamedTuple):
    """The largest sudden fall of a level."""

    row: int
    """First row after it; -1 without."""
    share: float
    """Of the level before it; 0 without."""
    recovered: float
    """Share of the fall that is made up for by the end."""


NO_DROP = Drop(-1, 0.0, 0.0)


def largest_drop(level: Array, noise: float, *, smallest: float) -> Drop:
    """Find where a level (n,) falls suddenly, against straight lines before and after.

    With lines through the m = 8 rows before and after, both taken to the gap between them, the
    distance of their ends has the sigma noise sqrt(2 (1 / m + 3m / (m^2 - 1))); it must exceed 6 of
    them, and `smallest` of the level before, as must the fall between the medians of these rows.
    Curvature cancels, being the same on either side. A fall may take three rows. Outliers of one
    row are removed first by a running median of three.

    Parameters
    ----------
    level
        Positive before a fall.
    noise
        Sigma of one row, white.
    """
    if level.size < 2 * MARGIN + WHILE:
        return NO_DROP
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(level, 1, "edge"), 3), -1)
    before, after = _line_ends(smooth)
    sigma = noise * np.sqrt(2 * (1 / MARGIN + 3 * MARGIN / (MARGIN**2 - 1)))
    levels = np.median(np.lib.stride_tricks.sliding_window_view(smooth, MARGIN), axis=-1)
    high, low = levels[:-MARGIN], levels[MARGIN:]
    found = NO_DROP
    for gap in range(WHILE + 1):
        kept = high.size - gap
        above, below = high[:kept], low[gap:]
        fall = before[:kept] - after[gap:]
        enough = (fall > SIGMAS * sigma) & (fall > smallest * above) & (above > 0)
        share = np.where(enough, 1 - below / np.where(enough, above, 1.0), 0.0)
        at = int(np.argmax(share))
        if share[at] > max(smallest, found.share + smallest / 10):
            end = float(np.median(smooth[-MARGIN:]))
            recovered = float(np.clip((end - below[at]) / (above[at] - below[at]), 0.0, 1.0))
            found = Drop(at + gap + MARGIN, float(share[at]), recovered)
    return found


def _line_ends(level: Array) -> tuple[Array, Array]:
    """Return lines through rows k - m ... k - 1, and k ... k + m - 1, at k - 1/2, for each k."""
    offset = np.arange(MARGIN) - (MARGIN - 1) / 2
    weights = 1 / MARGIN + offset * (MARGIN / 2) / float(offset @ offset)
    windows = np.lib.stride_tricks.sliding_window_view(level, MARGIN)
    return windows[:-MARGIN] @ weights, windows[MARGIN:] @ weights[::-1]
