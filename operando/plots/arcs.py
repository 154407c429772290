"""Where the arcs of impedance sweeps lie in the complex plane, -Z'' upwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from operando.plots.timeline import Array

Complex = npt.NDArray[np.complex128]

CLOSER = 5.0
"""Times that the sweeps must be larger than their fast arc to have a panel for it."""
BELOW = 0.25
"""Part of the height that inductive points may take below zero."""
DEEP = 0.02
"""Depth of the valley after the fastest arc, as a part of the height of the sweep."""


@dataclass(frozen=True)
class Box:
    """A part of the complex plane, in ohm."""

    left: float
    right: float
    bottom: float
    top: float

    def widened(self, room: float) -> Box:
        """Return the box with room on all sides."""
        return Box(self.left - room, self.right + room, self.bottom - room, self.top + room)

    def holds(self, point: complex) -> bool:
        """Whether a point Z' + i (-Z'') lies inside."""
        return self.left <= point.real <= self.right and self.bottom <= point.imag <= self.top


def extent(impedance: Complex) -> Box:
    """Return where the capacitive points are; what a cable does below zero may be out of sight."""
    finite = np.isfinite(impedance)
    real, up = impedance.real[finite], -impedance.imag[finite]
    seen = up >= -BELOW * max(float(up.max(initial=0.0)), 0.0)
    if not seen.any():
        return Box(0.0, 1.0, 0.0, 1.0)
    box = Box(
        float(real[seen].min()), float(real[seen].max()), float(min(up[seen].min(), 0)), up.max()
    )
    box = box.widened(0.05 * max(box.right - box.left, box.top - box.bottom, 1e-12))
    # room above for the names of decades and the key
    return replace(box, top=box.top + 0.15 * (box.top - box.bottom))


def fast_arc(impedance: Complex, known: Array) -> Box | None:
    """Return where the fastest arc is, if the sweeps (n, m) are far larger; None if not.

    `known` (n, 2) are the resistances in series and of the fastest arc, NaN where they are not;
    without any the arc ends at the first valley.
    """
    fitted = np.isfinite(known).all(axis=1)
    if fitted.any():
        series, arc = known[fitted].T
        left, right, size = series.min(), (series + 1.3 * arc).max(), arc.max()
    else:
        found = [end for end in map(_by_eye, impedance) if end is not None]
        if 2 * len(found) < len(impedance):
            return None
        left, right = min(start for start, _ in found), max(end for _, end in found)
        size = right - left
    finite = np.isfinite(impedance)
    real, up = impedance.real[finite], -impedance.imag[finite]
    if max(float(np.ptp(real)), float(up.max())) < CLOSER * size:
        return None
    inside = (real >= left) & (real <= right) & (up >= 0)
    # the next arc, which rises beyond, must not set the height: an arc is half as high as wide
    top = min(float(up[inside].max(initial=0.0)), 0.5 * float(size))
    return Box(float(left), float(right), 0.0, top).widened(0.15 * float(right - left))


def _by_eye(sweep: Complex) -> tuple[float, float] | None:
    """Return where the arc begins and ends after which -Z'' falls and rises by more than noise."""
    there = np.isfinite(sweep)
    real, up = sweep.real[there][::-1], -sweep.imag[there][::-1]
    rim = np.maximum(1.1 * up, up + DEEP * up.max(initial=0.0))
    falls = rim < np.maximum.accumulate(up)
    rises = rim < np.maximum.accumulate(up[::-1])[::-1]
    valley = np.flatnonzero((up > 0) & falls & rises)
    if not valley.size:
        return None
    end = valley[0] + 1
    while end < up.size and rim[valley[0] : end].min() > up[end]:
        end += 1
    last = valley[0] + int(np.argmin(up[valley[0] : end]))
    arc = real[: last + 1][up[: last + 1] > 0]
    return float(arc.min()), float(arc.max())
