"""Write a figure as PNG and SVG: the same bytes for the same figure, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from operando.plots.style import look

DPI = 150
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "operando"},
}
"""No date and no version: what would differ between two equal figures."""


def save(figure: Figure, path: Path | str) -> None:
    """Write `<path>.png` (150 dpi) and `<path>.svg`, each in one step.

    The layout of the figure is settled once, so that both show the same, and then stays.

    Parameters
    ----------
    path
        Without suffix; a dot in the name is part of the name.
    """
    with look():
        _settle(figure)
        for suffix, metadata in METADATA.items():
            target = Path(f"{os.fspath(path)}.{suffix}")
            partial = target.with_name(f".{target.name}.partial")
            figure.savefig(partial, format=suffix, dpi=DPI, metadata=metadata)
            os.replace(partial, target)


def _settle(figure: Figure) -> None:
    """Fix the panels where the layout puts them, without the solver's noise in the last bits."""
    figure.set_dpi(DPI)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        place = axes.get_position(original=True)
        axes.set_position(Bbox(np.round(place.get_points(), 5)))
