"""Write a figure as PNG and SVG: the same bytes for the same figure, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from operando.plots.style import look

DPI = 150
METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "operando"},
}
"""No date and no version: what would differ between two equal figures."""


def save(figure: Figure, path: Path | str) -> None:
    """Write `<path>.png` (150 dpi) and `<path>.svg`, each in one step.

    Parameters
    ----------
    path
        Without suffix; a dot in the name is part of the name.
    """
    for suffix, metadata in METADATA.items():
        target = Path(f"{os.fspath(path)}.{suffix}")
        partial = target.with_name(f".{target.name}.partial")
        with look():
            figure.savefig(partial, format=suffix, dpi=DPI, metadata=metadata)
        os.replace(partial, target)
