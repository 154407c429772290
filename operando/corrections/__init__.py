"""What happens to a spectrum before it is measured."""

from operando.corrections.absorption import absorption
from operando.corrections.energy_drift import DRIFT_FLAGS, energy_drift, shift_energy
from operando.corrections.foil import calibrate_energy, first_inflection
from operando.corrections.glitches import mask_glitches
from operando.corrections.matched_shift import matched_shift
from operando.corrections.merging import merge_scans
from operando.corrections.normalisation import flattened, normalised
from operando.corrections.pixel_calibration import calibrate_pixels
from operando.corrections.self_absorption import correct_self_absorption

__all__ = [
    "DRIFT_FLAGS",
    "absorption",
    "calibrate_energy",
    "calibrate_pixels",
    "correct_self_absorption",
    "energy_drift",
    "first_inflection",
    "flattened",
    "mask_glitches",
    "matched_shift",
    "merge_scans",
    "normalised",
    "shift_energy",
]
