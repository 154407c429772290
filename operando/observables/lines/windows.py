"""Windows on the axis: what a caller declares, and what it means on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operando.errors import RequestError
from operando.observables.lines.bench import Model
from operando.observables.lines.profiles import PROFILES

Array = npt.NDArray[np.float64]

Range = tuple[float, float]


@dataclass(frozen=True)
class Window:
    """A stretch of the axis that holds one or more lines on a straight background."""

    name: str
    low: float
    high: float
    lines: tuple[float, ...]
    """Where the lines are at first, in the unit of the axis."""
    frozen: tuple[float, ...] = ()
    """Lines of cell parts in it: centre and width are learnt once and held, the area is free."""
    follow: bool = False
    """Move the window with its lines, from block to block of frames."""

    @property
    def labels(self) -> list[str]:
        """Names of its lines: the window's own, numbered where there are several."""
        own = [self.name]
        if len(self.lines) != 1:
            own = [f"{self.name}_{number}" for number in range(1, len(self.lines) + 1)]
        held = [f"{self.name}_frozen_{number}" for number in range(1, len(self.frozen) + 1)]
        return own + held


@dataclass(frozen=True)
class Doublet:
    """Two wavelengths at once, as of a laboratory tube: every line is a pair, at the same spacing.

    Copper K-alpha by default: J. Härtwig et al., Cryst. Res. Technol. 28 (1993) 1139.
    """

    ratio: float = 1.5444274 / 1.5405929
    """Wavelength of the second line over that of the first."""
    intensity: float = 0.5
    """Of the second line over that of the first."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A window on the grid of a series."""

    columns: slice
    """Points of the axis that are looked at: those of the window, or all where it may move."""
    grid: Array
    use: Array
    """1 for points to use, 0 for masked ones, as the grid."""
    begin: int
    """First of the columns that is in the window, at first."""
    points: int
    lines: Array
    """Declared centres, those of cell parts last, (k,)."""
    frozen: npt.NDArray[np.bool_]
    roaming: bool
    step: float
    model: Model
    share: float | None
    """Lorentzian share where the profile says it."""
    free_shape: bool

    @property
    def x(self) -> Array:
        """Axis of the window at first."""
        return self.grid[self.begin : self.begin + self.points]

    def middle(self, begin: npt.NDArray[np.int64] | int) -> Any:
        """Return where the background of a window that begins there is given."""
        return 0.5 * (self.grid[begin] + self.grid[begin + self.points - 1])

    def around(self, centres: Array, seen: npt.NDArray[np.bool_], begin: int) -> int:
        """Return where the window begins around lines that are seen; as it did where none is."""
        if not seen.any():
            return begin
        wanted = self.grid[self.begin] + float(np.mean(centres[seen] - self.lines[seen]))
        nearest = int(np.searchsorted(self.grid, wanted - 0.5 * self.step))
        return min(max(nearest, 0), self.grid.size - self.points)


def plan(
    window: Window,
    grid: Array,
    *,
    masked: Sequence[Range],
    profile: str,
    doublet: Doublet | None,
    free_shape: bool,
) -> Plan:
    """Return what a window means on an ascending grid.

    Raises
    ------
    RequestError
        It has too few points, or a line outside it.
    """
    inside = slice(*np.searchsorted(grid, (window.low, np.nextafter(window.high, np.inf))).tolist())
    columns = slice(0, grid.size) if window.follow else inside
    lines = np.array([*window.lines, *window.frozen], dtype=float)
    use = np.ones(grid.size)
    for low, high in masked:
        use[(grid >= low) & (grid <= high)] = 0.0
    _check(window, grid, int(use[inside].sum()))
    second = 0.0 if doublet is None else doublet.intensity / (1.0 + doublet.intensity)
    held = {"gaussian": 0.0, "lorentzian": 1.0}
    return Plan(
        columns=columns,
        grid=grid[columns].copy(),
        use=use[columns].copy(),
        begin=inside.start - columns.start,
        points=inside.stop - inside.start,
        lines=lines,
        frozen=np.arange(lines.size) >= len(window.lines),
        roaming=window.follow,
        step=float(np.median(np.diff(grid[inside]))),
        model=Model(
            profile=PROFILES[profile],
            lines=lines.size,
            ratio=1.0 if doublet is None else doublet.ratio,
            second=second,
        ),
        share=held.get(profile),
        free_shape=free_shape and profile not in held,
    )


def _check(window: Window, grid: Array, inside: int) -> None:
    needed = 4 * len(window.labels) + 4
    if inside < needed:
        raise RequestError(
            f"window {window.name!r}: {inside} points in {window.low!r}-{window.high!r} outside of "
            f"masks; at least {needed} are needed and the data span {grid[0]:g}-{grid[-1]:g}"
        )
    declared = (*window.lines, *window.frozen)
    outside = [line for line in declared if not window.low < line < window.high]
    if outside or not window.lines:
        raise RequestError(
            f"window {window.name!r}: lines {declared!r}; expected inside "
            f"{window.low!r}-{window.high!r}"
        )
