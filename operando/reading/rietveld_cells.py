"""Unit cells to begin a refinement with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from operando import arguments
from operando.errors import RequestError

LENGTHS = ("a", "b", "c")
ANGLES = ("alpha", "beta", "gamma")
SAME: dict[str, tuple[str, ...]] = {
    "cubic": ("a",),
    "tetragonal": ("a", "c"),
    "hexagonal": ("a", "c"),
    "rhombohedral": ("a", "alpha"),
    "orthorhombic": ("a", "b", "c"),
    "monoclinic": ("a", "b", "c", "beta"),
    "triclinic": (*LENGTHS, *ANGLES),
}
"""Crystal system -> its free parameters; the names are those of `lattice`."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")
SPACE_GROUP = re.compile(r"[PABCIFR][A-Za-z0-9/ :-]{1,30}")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The cell of one phase, angstrom and degree."""

    name: str
    system: str
    space_group: str
    values: tuple[float, ...]
    """a, b, c, alpha, beta, gamma."""

    def leaders(self) -> tuple[str, ...]:
        """Return for each of the six the free parameter that it follows, "" where it is fixed.

        >>> Cell(name="x", system="hexagonal", space_group="P 6", values=(1,) * 6).leaders()
        ('a', 'a', 'c', '', '', '')
        """
        free = SAME[self.system]
        lengths = [name if name in free else "a" for name in LENGTHS]
        tied = "alpha" if self.system == "rhombohedral" else ""
        return (*lengths, *(name if name in free else tied for name in ANGLES))


def cells_of(cells: Mapping[str, Mapping[str, object]] | None) -> tuple[Cell, ...]:
    """Return the cells of phases, by name; see `write_topas`.

    Raises
    ------
    RequestError
        A name that a program could not read, an unknown system, a parameter that is missing, too
        many or no number.
    """
    if cells is None:
        return ()
    if not isinstance(cells, Mapping):
        raise arguments.refusal("cells", cells, "a mapping of phase names to cells")
    return tuple(_cell(str(name), given) for name, given in cells.items())


def _cell(name: str, given: object) -> Cell:
    where = f"cells[{name!r}]"
    if not NAME.fullmatch(name):
        raise RequestError(f"{where}: expected a name of letters, digits, '_', '.', '+', '-'")
    if not isinstance(given, Mapping):
        raise arguments.refusal(where, given, "system, space_group and the cell")
    system = arguments.chosen(f"{where}['system']", given.get("system"), tuple(SAME))
    group = given.get("space_group")
    if not isinstance(group, str) or not SPACE_GROUP.fullmatch(group):
        raise arguments.refusal(f"{where}['space_group']", group, "a symbol such as 'F m -3 m'")
    free = SAME[system]
    others = sorted(set(given) - {"system", "space_group", *free})
    if others:
        raise RequestError(f"{where}: {others} besides {list(free)}, which fix a {system} cell")
    found = {key: _parameter(f"{where}[{key!r}]", given.get(key), key) for key in free}
    lengths = [found.get(key, found["a"]) for key in LENGTHS]
    usual = {"gamma": 120.0} if system == "hexagonal" else {}
    angles = [found.get(key, usual.get(key, 90.0)) for key in ANGLES]
    if system == "rhombohedral":
        angles = [found["alpha"]] * 3
    return Cell(name=name, system=system, space_group=group, values=(*lengths, *angles))


def _parameter(where: str, value: object, key: str) -> float:
    if key in LENGTHS:
        return arguments.number(where, value, lambda x: 0.5 < x < 1000, "a length in angstrom")
    return arguments.number(where, value, lambda x: 10 < x < 170, "an angle in degree")
