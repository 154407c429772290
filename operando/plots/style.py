"""How every figure looks: one style, untouched by the user's own matplotlib settings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

WIDTH = 7.2
"""Inches: two columns of a journal page."""
LINE = 0.135
"""Inches that one line of a footnote needs."""
LETTERS = 118
"""Letters that fit on one line of a footnote."""
INK = "#202020"
CELL = "#0072B2"
EVENT = "#D55E00"
DOUBT = "#8C8C8C"
MAP = "viridis"
CHANGE_MAP = "RdBu_r"

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    "axes.grid": False,
    "lines.linewidth": 1.0,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "svg.hashsalt": "operando",
    "svg.fonttype": "path",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

AXES = {
    "two_theta": "2θ",
    "q": "q",
    "raman_shift": "Raman shift",
    "energy": "Energy",
    "frequency": "Frequency",
    "mu": "Absorption μ",
    "norm": "Normalised μ",
    "chi_magnitude": "|χ(R)|",
    "r": "R",
}
UNITS = {
    "1": "",
    "degree": "°",
    "1/angstrom": "Å⁻¹",
    "1/cm": "cm⁻¹",
    "micrometre": "µm",
    "1/micrometre": "µm⁻¹",
    "micrometre**2": "µm²",
    "micrometre**3": "µm³",
    "angstrom": "Å",
    "1/angstrom^3": "Å⁻³",
    "ohm": "Ω",
}


def look() -> AbstractContextManager[None]:
    """Return the context to build and to save a figure in; the caller's settings come back."""
    return style.context(STYLE, after_reset=True)


def figure(*, height: float) -> Figure:
    """Return an empty figure of the standard width; height in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def on_white() -> Colormap:
    """Return the colour map for lines on paper: without the yellow that white swallows."""
    return ListedColormap(colormaps[MAP].resampled(256)(range(222)), name="operando_on_white")


def named(name: str, *, units: str, words: str | None = None) -> str:
    """Return an axis label with its unit in parentheses, nothing for a pure number.

    >>> named("raman_shift", units="1/cm")
    'Raman shift (cm⁻¹)'
    >>> named("edge_energy", units="eV")
    'Edge energy (eV)'
    """
    text = AXES.get(name) or words or name.replace("_", " ")
    unit = UNITS.get(units, units.replace("**2", "²").replace("**3", "³").replace("*", " "))
    shown = plain(text[:1].upper() + text[1:] if name not in AXES else text)
    return f"{shown} ({plain(unit)})" if unit else shown


def plain(text: str) -> str:
    r"""Return text that matplotlib draws as it stands: one line, no mathematics, known letters.

    Invisible characters, which could turn the direction of a line around, and letters that the
    font lacks become U+FFFD.

    >>> plain("50$ spot\n2")
    '50\\$ spot 2'
    """
    letters = (letter if _drawn(letter) else "\ufffd" for letter in " ".join(text.split()))
    return "".join(letters).replace("$", r"\$")


def shorten(text: str, letters: int) -> str:
    """Cut text that would not fit, and show that it was cut.

    >>> shorten("a very long position", 8)
    'a very …'
    """
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


TALL = 30
"""Letters of a label along the height of a panel."""


def wrap(lines: Sequence[str]) -> list[str]:
    """Break the lines of a footnote to the width of the figure."""
    return [
        part for line in lines for part in textwrap.wrap(line, LETTERS, subsequent_indent="   ")
    ]


def stacked(label: str) -> str:
    """Break the label of an axis to the height of a panel.

    >>> stacked("Porosity")
    'Porosity'
    """
    return "\n".join(textwrap.wrap(label, TALL))


def footnote(axes: Axes, lines: Sequence[str]) -> None:
    """Write wrapped lines into an otherwise empty panel."""
    axes.set_axis_off()
    axes.text(
        0, 1, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7, linespacing=1.25
    ).set_in_layout(False)


def _drawn(letter: str) -> bool:
    return letter.isprintable() and ord(letter) in _glyphs()


@cache
def _glyphs() -> frozenset[int]:
    font = findfont(FontProperties(family="DejaVu Sans"), fallback_to_default=True)
    return frozenset(FT2Font(font).get_charmap())
