"""Numbers per exposure, each with its sigma and its assessment."""

from operando.observables.band_quality import band_quality
from operando.observables.differences import derivative_spectra, difference_spectra
from operando.observables.edges import track_edge
from operando.observables.exafs import track_exafs
from operando.observables.exafs_reference import reference_background, wavelet
from operando.observables.factors import nmf
from operando.observables.feff import FeffPath, feff_paths
from operando.observables.fractions import fractions
from operando.observables.growth import growth_law
from operando.observables.impedance import track_resistance
from operando.observables.lines.association import associate
from operando.observables.lines.cell_parts import cell_part_masks, cell_parts
from operando.observables.lines.common_mode import common_mode
from operando.observables.lines.finding import find_lines
from operando.observables.lines.identity import histories
from operando.observables.lines.instrument import Caglioti, instrument_function
from operando.observables.lines.internal_standard import apply_standard, internal_standard
from operando.observables.lines.lattice import lattice
from operando.observables.lines.line_fractions import line_fractions
from operando.observables.lines.phase_behaviour import solid_solution_or_two_phase
from operando.observables.lines.size_strain import size_strain
from operando.observables.lines.spacings import spacings
from operando.observables.lines.tracking import track_peaks
from operando.observables.lines.windows import Doublet, Window
from operando.observables.mixing import shift_or_mixture
from operando.observables.pores import segment_pores
from operando.observables.shells import fit_shells
from operando.observables.species import rank, resolve

__all__ = [
    "Caglioti",
    "Doublet",
    "FeffPath",
    "Window",
    "apply_standard",
    "associate",
    "band_quality",
    "cell_part_masks",
    "cell_parts",
    "common_mode",
    "derivative_spectra",
    "difference_spectra",
    "feff_paths",
    "find_lines",
    "fit_shells",
    "fractions",
    "growth_law",
    "histories",
    "instrument_function",
    "internal_standard",
    "lattice",
    "line_fractions",
    "nmf",
    "rank",
    "reference_background",
    "resolve",
    "segment_pores",
    "shift_or_mixture",
    "size_strain",
    "solid_solution_or_two_phase",
    "spacings",
    "track_edge",
    "track_exafs",
    "track_peaks",
    "track_resistance",
    "wavelet",
]
