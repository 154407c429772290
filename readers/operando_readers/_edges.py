"""Names of elements and of their absorption edges, as headers spell them."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from operando_readers._reader import FormatError

_TABLE = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb
Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf
Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
SYMBOLS = _TABLE.split()
"""By atomic number, from 1."""
EDGE = re.compile(r"K|L[1-3]?|M[1-5]?|N[1-7]?|O[1-7]?")
LEAST_EV = 200.0
"""A scan in keV ends below this: no edge lies higher than 140 keV."""


def symbol_of(text: str) -> str | None:
    """Return the symbol of an element from its symbol in any case, or None.

    >>> symbol_of("zr"), symbol_of("Foo")
    ('Zr', None)
    """
    symbol = text.strip().capitalize()
    return symbol if symbol in SYMBOLS else None


def symbol_of_number(number: int) -> str | None:
    """Return the symbol of an element from its atomic number, or None.

    >>> symbol_of_number(40)
    'Zr'
    """
    return SYMBOLS[number - 1] if 1 <= number <= len(SYMBOLS) else None


def edge_of(text: str) -> str | None:
    """Return the name of an edge in capitals, or None.

    >>> edge_of("l3"), edge_of("Bar")
    ('L3', None)
    """
    edge = text.strip().upper()
    return edge if EDGE.fullmatch(edge) else None


def check_ev(energy: npt.NDArray[np.float64], *, what: str) -> None:
    """Refuse energies without a unit that are not in eV for certain.

    Raises
    ------
    FormatError
        They could be in keV.
    """
    if not np.nanmax(energy, initial=0.0) > LEAST_EV:
        raise FormatError(
            f"{what}: no unit, and up to {np.nanmax(energy, initial=0.0):g} it may be in keV; "
            "expected energies in eV"
        )
