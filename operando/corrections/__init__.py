"""What happens to a spectrum before it is measured."""

from operando.corrections.absorption import absorption
from operando.corrections.baseline import subtract_baseline
from operando.corrections.cosmic_rays import remove_cosmic_rays
from operando.corrections.energy_drift import DRIFT_FLAGS, energy_drift, shift_energy
from operando.corrections.foil import calibrate_energy, first_inflection
from operando.corrections.glitches import mask_glitches
from operando.corrections.integration import integrate
from operando.corrections.matched_shift import matched_shift
from operando.corrections.merging import merge_scans
from operando.corrections.normalisation import flattened, normalised
from operando.corrections.pixel_calibration import calibrate_pixels
from operando.corrections.reference_band import normalise_to_band, normalise_to_power
from operando.corrections.self_absorption import correct_self_absorption
from operando.corrections.shift_calibration import band_shift, calibrate_shift

__all__ = [
    "DRIFT_FLAGS",
    "absorption",
    "band_shift",
    "calibrate_energy",
    "calibrate_pixels",
    "calibrate_shift",
    "correct_self_absorption",
    "energy_drift",
    "first_inflection",
    "flattened",
    "integrate",
    "mask_glitches",
    "matched_shift",
    "merge_scans",
    "normalise_to_band",
    "normalise_to_power",
    "normalised",
    "remove_cosmic_rays",
    "shift_energy",
    "subtract_baseline",
]
