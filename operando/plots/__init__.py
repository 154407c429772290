"""Figures of aligned experiments, drawn the same on every machine."""

from operando.plots.edge import edge
from operando.plots.fractions import fractions
from operando.plots.heatmap import heatmap
from operando.plots.line import line
from operando.plots.nyquist import nyquist
from operando.plots.observable import observable
from operando.plots.saving import save
from operando.plots.spectra import spectra
from operando.plots.tracks import tracks
from operando.plots.volumes import volumes

__all__ = [
    "edge",
    "fractions",
    "heatmap",
    "line",
    "nyquist",
    "observable",
    "save",
    "spectra",
    "tracks",
    "volumes",
]
