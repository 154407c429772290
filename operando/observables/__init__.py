"""Numbers per exposure, each with its sigma and its assessment."""

from operando.observables.edges import track_edge
from operando.observables.peaks import Window, track_peaks
from operando.observables.pores import segment_pores

__all__ = ["Window", "segment_pores", "track_edge", "track_peaks"]
