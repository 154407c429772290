"""Where the parts of a cell reflect: cans, collectors, windows, separators, lithium and sodium."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from operando import arguments
from operando.errors import RequestError

Index = tuple[int, int, int]


class PartLine(NamedTuple):
    """A reflection or a broad feature of a cell part."""

    name: str
    """Part and reflection, "Al 111"; a broad feature has no reflection."""
    position: float
    """On the axis that was asked for."""
    d: float
    """In angstrom."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A material: its cell and the reflections it shows, or broad features of a polymer."""

    cell: tuple[float, float, float, float, float, float] = (1, 1, 1, 90, 90, 90)
    """a, b, c in angstrom, alpha, beta, gamma in degree, at room temperature."""
    shows: Callable[[Index], bool] | tuple[Index, ...] = ()
    """A condition on hkl, or the few reflections a polymer shows."""
    broad: tuple[tuple[float, float], ...] = ()
    """d in angstrom and full width in q, 1/angstrom, of what is no reflection."""
    source: str


def _face_centred(hkl: Index) -> bool:
    return len({i % 2 for i in hkl}) == 1


def _body_centred(hkl: Index) -> bool:
    return sum(hkl) % 2 == 0


def _diamond(hkl: Index) -> bool:
    return _face_centred(hkl) and (hkl[0] % 2 == 1 or sum(hkl) % 4 == 0)


def _close_packed(hkl: Index) -> bool:
    """P6_3/mmc with atoms on 2b, 2c or 2d, as hcp metals and graphite have them."""
    h, k, l = hkl  # noqa: E741
    return (h - k) % 3 != 0 or l % 2 == 0


def _cubic(a: float, shows: Callable[[Index], bool], source: str) -> Part:
    return Part(cell=(a, a, a, 90, 90, 90), shows=shows, source=source)


def _hexagonal(a: float, c: float, source: str) -> Part:
    return Part(cell=(a, a, c, 90, 90, 120), shows=_close_packed, source=source)


TABLES = "International Tables for Crystallography C (2006), table 4.4.2.1"
WYCKOFF = "R. W. G. Wyckoff, Crystal Structures 1 (1963)"

PARTS: dict[str, Part] = {
    "Ag": _cubic(4.0862, _face_centred, "Swanson & Tatge, NBS Circular 539 I (1953)"),
    "Al": _cubic(4.0495, _face_centred, TABLES),
    "Au": _cubic(4.0786, _face_centred, "Swanson & Tatge, NBS Circular 539 I (1953)"),
    "Be": _hexagonal(2.2856, 3.5832, TABLES),
    "Cu": _cubic(3.6147, _face_centred, TABLES),
    "Li": _cubic(3.5093, _body_centred, WYCKOFF),
    "Mo": _cubic(3.1472, _body_centred, WYCKOFF),
    "Na": _cubic(4.2906, _body_centred, WYCKOFF),
    "Ni": _cubic(3.5238, _face_centred, "Swanson & Tatge, NBS Circular 539 I (1953)"),
    "Pt": _cubic(3.9231, _face_centred, "Swanson & Tatge, NBS Circular 539 I (1953)"),
    "Ti": _hexagonal(2.9506, 4.6788, WYCKOFF),
    "W": _cubic(3.1648, _body_centred, "Swanson & Tatge, NBS Circular 539 I (1953)"),
    "Zn": _hexagonal(2.6649, 4.9468, TABLES),
    "diamond": _cubic(3.5670, _diamond, WYCKOFF),
    "graphite": _hexagonal(2.464, 6.711, "Trucano & Chen, Nature 258 (1975) 136"),
    "steel_austenitic": _cubic(3.595, _face_centred, "316L; 3.58 to 3.61 with its composition"),
    "steel_ferritic": _cubic(2.8664, _body_centred, f"iron, {TABLES}"),
    "Mylar": Part(
        cell=(4.56, 5.94, 10.75, 98.5, 118.0, 112.0),
        shows=((0, 1, 0), (-1, 1, 0), (1, 0, 0)),
        source="poly(ethylene terephthalate), Daubeny et al., Proc. R. Soc. A 226 (1954) 531",
    ),
    "PE": Part(
        cell=(7.40, 4.93, 2.534, 90, 90, 90),
        shows=((1, 1, 0), (2, 0, 0), (0, 2, 0)),
        source="polyethylene, Bunn, Trans. Faraday Soc. 35 (1939) 482",
    ),
    "PP": Part(
        cell=(6.65, 20.96, 6.50, 90, 99.33, 90),
        shows=((1, 1, 0), (0, 4, 0), (1, 3, 0), (1, 1, 1), (-1, 3, 1)),
        source="isotactic polypropylene, Natta & Corradini, Nuovo Cimento Suppl. 15 (1960) 40",
    ),
    "Kapton": Part(
        broad=((15.5, 0.08), (4.9, 0.7)),
        source="typical of polyimide film; it varies with make and stretch: measure an empty cell",
    ),
}
"""Names and cells. A cell part is no standard: foils are rolled and strained, alloys vary by some
0.3 %, and parts lie in other planes than the sample."""

NARROWEST = 1e-6
"""Relative difference of spacings that are one reflection, as 333 and 511 are."""


def cell_parts(
    names: Sequence[str],
    *,
    axis: str = "two_theta",
    wavelength: float | None = None,
    smallest: float = 0.7,
) -> list[PartLine]:
    """List where parts of the cell reflect, to freeze or to mask these lines.

    Spacings are computed from the cell of each part (`PARTS`, with sources) and the reflection
    conditions of its structure: 1/d^2 = h . G* . h.

    Parameters
    ----------
    names
        Among `PARTS`.
    axis, wavelength
        "two_theta", in degree, needs the wavelength in angstrom; "q", in 1/angstrom, does not.
    smallest
        Spacing in angstrom down to which reflections are listed.

    Returns
    -------
    list of PartLine
        In ascending position.

    Raises
    ------
    RequestError
        A part or axis that is not known, no wavelength.
    """
    place = _placing(axis, wavelength)
    least = arguments.number("smallest", smallest, lambda d: d >= 0.3, "0.3 angstrom or more")
    found = []
    for name in _known(names):
        listed = [(f"{name} {label}", d) for label, d in _reflections(PARTS[name], least)]
        listed += [(name, d) for d, _ in PARTS[name].broad]
        found += [PartLine(label, place(2 * np.pi / d), d) for label, d in listed]
    return sorted((line for line in found if line.position > 0), key=lambda line: line.position)


def cell_part_masks(
    names: Sequence[str],
    *,
    width: float,
    axis: str = "two_theta",
    wavelength: float | None = None,
    smallest: float = 0.7,
) -> list[tuple[float, float]]:
    """Return the ranges of the axis that lines of these parts cover, to leave them out.

    Parameters
    ----------
    width
        Of the range around each reflection, in the unit of the axis: what the line is wide plus
        how far the part may be out of plane or strained. Broad features bring their own.
    names, axis, wavelength, smallest
        As in `cell_parts`.

    Returns
    -------
    list of (low, high)
        Ascending; ranges that touch are one.
    """
    place = _placing(axis, wavelength)
    full = arguments.number("width", width, lambda w: w > 0, "above 0, in the unit of the axis")
    lines = cell_parts(names, axis=axis, wavelength=wavelength, smallest=smallest)
    ranges = [
        (line.position - full / 2, line.position + full / 2) for line in lines if " " in line.name
    ]
    for name in _known(names):
        for d, breadth in PARTS[name].broad:
            q = 2 * np.pi / d
            ranges.append((place(max(q - breadth, 0.0)), place(q + breadth)))
    merged: list[tuple[float, float]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _known(names: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not all(name in PARTS for name in names):
        raise RequestError(f"names: {names!r}; expected a list of some of {sorted(PARTS)}")
    return list(dict.fromkeys(names))


def _placing(axis: str, wavelength: float | None) -> Callable[[float], float]:
    """Return the function from q to the axis; -1 where nothing reflects."""
    if arguments.chosen("axis", axis, ("two_theta", "q")) == "q":
        return lambda q: float(q)
    if wavelength is None:
        raise RequestError("wavelength: not given; expected angstrom, or axis='q'")
    length = arguments.number("wavelength", wavelength, lambda w: w > 0, "angstrom above 0")

    def degrees(q: float) -> float:
        sine = q * length / (4 * np.pi)
        return float(np.degrees(2 * np.arcsin(sine))) if sine < 1 else -1.0

    return degrees


def _reflections(part: Part, smallest: float) -> list[tuple[str, float]]:
    """Return label and d of the different spacings of a part, largest first."""
    a, b, c, *angles = part.cell
    alpha, beta, gamma = np.cos(np.radians(angles))
    metric = np.linalg.inv(
        [
            [a * a, a * b * gamma, a * c * beta],
            [a * b * gamma, b * b, b * c * alpha],
            [a * c * beta, b * c * alpha, c * c],
        ]
    )
    if callable(part.shows):
        # first the index with the largest h, then k, l: 511 rather than 333
        most = [range(int(length / smallest), -1, -1) for length in (a, b, c)]
        every = [(h, k, l) for h, k, l in product(*most) if h or k or l]  # noqa: E741
        candidates = [hkl for hkl in every if part.shows(hkl)]
    else:
        candidates = list(part.shows)
    found: dict[str, float] = {}
    for hkl in candidates:
        d = float(np.asarray(hkl) @ metric @ np.asarray(hkl)) ** -0.5
        known = any(abs(d / other - 1) < NARROWEST for other in found.values())
        if d >= smallest and not known:
            found["".join(str(i) for i in hkl)] = d
    return sorted(found.items(), key=lambda item: -item[1])
