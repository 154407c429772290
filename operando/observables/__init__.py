"""Numbers per exposure, each with its sigma and its assessment."""

from operando.observables.differences import derivative_spectra, difference_spectra
from operando.observables.edges import track_edge
from operando.observables.exafs import track_exafs
from operando.observables.exafs_reference import reference_background, wavelet
from operando.observables.feff import FeffPath, feff_paths
from operando.observables.fractions import fractions
from operando.observables.growth import growth_law
from operando.observables.impedance import track_resistance
from operando.observables.mixing import shift_or_mixture
from operando.observables.peaks import Window, track_peaks
from operando.observables.pores import segment_pores
from operando.observables.shells import fit_shells
from operando.observables.species import rank, resolve

__all__ = [
    "FeffPath",
    "Window",
    "derivative_spectra",
    "difference_spectra",
    "feff_paths",
    "fit_shells",
    "fractions",
    "growth_law",
    "rank",
    "reference_background",
    "resolve",
    "segment_pores",
    "shift_or_mixture",
    "track_edge",
    "track_exafs",
    "track_peaks",
    "track_resistance",
    "wavelet",
]
