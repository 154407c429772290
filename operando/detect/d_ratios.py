"""Whether new lines have spacings of one simple lattice, and how often chance lines would.

Inverse spacings g = 1/d of lines are held against three families:

    orders      g = n g1
    cubic       g^2 = N / a^2,             N = h^2 + k^2 + l^2
    tetragonal  g^2 = N / a^2 + l^2 / c^2,  N = h^2 + k^2
    hexagonal   the same, N = 4 (h^2 + h k + k^2) / 3

Every way of giving small indices to one line (two of the last two families) fixes the lattice; the
one that explains most lines is taken. Chance is counted: lines at random places of the axis, as
many and as wide, go through the same search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

ORDERS = 6
"""Highest order of one spacing."""
BASE_ORDERS = 2
"""Highest order that the strongest lines may start from."""
CUBIC = tuple(n for n in range(1, 17) if n not in (7, 15))
SQUARE, HEXAGON = (0, 1, 2, 4, 5, 8), (0, 1, 3, 4, 7)
LAYER = 3
"""Highest l."""
LOW = 4.0
"""Largest N + l^2 that the two lines which fix a lattice may have."""
AXIAL = (0.3, 5.0)
"""Ratios c/a that are believed."""
TWO_NUMBERS_FROM = 4
"""Lines from which a lattice of two numbers is tried."""
STRONGEST = 8
"""Lines that are judged; the weaker ones are only told what they fit."""
BASES = 3
"""Strongest lines from which a lattice of two numbers is tried."""
TRIALS = 400


@dataclass(frozen=True)
class Family:
    """The lattice that explains most lines of a group."""

    name: str
    lattice: dict[str, float]
    """d, or a and c, in angstrom."""
    explains: int
    """Of the lines judged, the strongest ones."""
    judged: int
    chance: float
    """Of as many lines at random explained as well, by any of the families tried."""
    order: list[int | None]
    """Of every line: n, or None; None for the other families."""


def best_family(
    position: Array,
    tolerance: Array,
    *,
    inverse: Callable[[Array], Array],
    span: tuple[float, float],
) -> Family | None:
    """Return the family that explains lines (k,), the strongest first, least by chance.

    Parameters
    ----------
    position, tolerance
        Along the axis: what counts as explained lies within the tolerance.
    inverse
        1/d, in 1/angstrom, of positions.
    span
        Range of the axis in which lines might have been.
    """
    judged = min(len(position), STRONGEST)
    if judged < 2:
        return None
    g, width = inverse(position), inverse(position + tolerance) - inverse(position)
    random = np.random.default_rng(0)
    drawn = random.uniform(*span, size=(TRIALS, judged))
    wide = inverse(drawn + tolerance[:judged]) - inverse(drawn)
    drawn = inverse(drawn)
    names = ["orders", "cubic"]
    names += ["tetragonal", "hexagonal"] if judged >= TWO_NUMBERS_FROM else []
    found = []
    for name in names:
        count, lattice = _most(name, g[None, :judged], width[None, :judged])
        by_chance = _most(name, drawn, wide)[0] >= count[0]
        chance = min(1.0, len(names) * (1.0 + by_chance.sum()) / (TRIALS + 1.0))
        found.append((chance, -int(count[0]), name, lattice[0]))
    chance, explained, name, lattice = min(found, key=lambda one: one[:2])
    keys = {"orders": ("d",), "cubic": ("a",)}.get(name, ("a", "c"))
    order: list[int | None] = [None] * len(g)
    if name == "orders":
        n = np.rint(g * lattice[0])
        fits = (n >= 1) & (n <= ORDERS) & (np.abs(g - n / lattice[0]) <= width)
        order = [int(i) if good else None for i, good in zip(n, fits, strict=True)]
    numbers = {key: float(value) for key, value in zip(keys, lattice, strict=False)}
    return Family(name, numbers, -explained, judged, float(chance), order)


def _most(name: str, g: Array, width: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """Return, for each set of lines (t, k), how many one lattice explains, and its a and c."""
    best = np.zeros(len(g), dtype=np.int64)
    lattice = np.zeros((len(g), 2))
    trials = _one_number(name, g) if name in ("orders", "cubic") else _two_numbers(name, g)
    for expected, numbers in trials:
        # g of a lattice that does not exist is nan: explains nothing
        off = np.abs(g[:, :, None] - expected[:, None, :])
        near = (off <= width[:, :, None]).any(axis=2).sum(axis=1)
        better = near > best
        best[better], lattice[better] = near[better], numbers[better]
    return best, lattice


def _one_number(name: str, g: Array) -> Iterator[tuple[Array, Array]]:
    if name == "orders":
        root, bases = np.arange(1.0, ORDERS + 1.0), np.arange(1.0, BASE_ORDERS + 1.0)
    else:
        root = np.sqrt(np.array(CUBIC, dtype=float))
        bases = root[:LAYER]
    for line in range(g.shape[1]):
        for base in bases:
            a = base / g[:, line]
            yield root / a[:, None], np.stack([a, a], axis=1)


def _two_numbers(name: str, g: Array) -> Iterator[tuple[Array, Array]]:
    """Yield lattices of a and c that two of the strongest lines fix."""
    plane = np.array(SQUARE if name == "tetragonal" else HEXAGON, dtype=float)
    plane = plane if name == "tetragonal" else plane * 4.0 / 3.0
    layer = np.arange(LAYER + 1.0) ** 2
    index = np.array([(n, m) for n in plane for m in layer if n + m > 0])
    low = index[index.sum(axis=1) <= LOW * (1.0 if name == "tetragonal" else 4.0 / 3.0)]
    for one, other in combinations(range(min(BASES, g.shape[1])), 2):
        right = g[:, (one, other)] ** 2
        for i in low:
            for j in low:
                scale = i[0] * j[1] - i[1] * j[0]
                if scale == 0.0:
                    continue
                in_plane = (right[:, 0] * j[1] - right[:, 1] * i[1]) / scale
                along = (i[0] * right[:, 1] - j[0] * right[:, 0]) / scale
                real = (in_plane > 0) & (along > 0)
                ratio = np.sqrt(np.where(real, in_plane / np.where(real, along, 1.0), np.nan))
                real &= (ratio >= AXIAL[0]) & (ratio <= AXIAL[1])
                numbers = np.stack([in_plane, along], axis=1)
                numbers = np.where(real[:, None], numbers, np.nan)
                yield np.sqrt(numbers @ index.T), 1.0 / np.sqrt(numbers)
