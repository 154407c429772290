"""Numbers per exposure, each with its sigma and its assessment."""

from operando.observables.edges import track_edge
from operando.observables.growth import growth_law
from operando.observables.impedance import track_resistance
from operando.observables.peaks import Window, track_peaks
from operando.observables.pores import segment_pores

__all__ = [
    "Window",
    "growth_law",
    "segment_pores",
    "track_edge",
    "track_peaks",
    "track_resistance",
]
