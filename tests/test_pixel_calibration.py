"""Pixels to energies by a foil: simulated truth, the calibration of ID24, a mirrored camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import erf

from operando.corrections.pixel_calibration import PixelCalibration, calibrate_pixels
from operando.errors import RequestError

Array = npt.NDArray[np.float64]

STANDARD = np.arange(8700.0, 9800.0, 0.8)
PIXELS = np.arange(320)
TRUTH = np.array([8905.0, 1.25, 4e-4])


def foil(energy: Array) -> Array:
    """Return an edge at 8985 eV with a shoulder, a white line and oscillations behind it."""
    past = np.clip(energy - 8985, 0, None)
    wave = 0.12 * np.sin(2.2 * 2 * np.sqrt(past / 3.81)) * np.exp(-past / 180)
    wave *= 1 - np.exp(-((past / 15) ** 2))
    line = 0.3 * np.exp(-0.5 * ((energy - 8996) / 4) ** 2)
    return np.asarray((1 + erf((energy - 8985) / 5)) / 2 + line + wave)


def measured(truth: Array = TRUTH, *, noise: float = 2e-3, seed: int = 0) -> Array:
    """Return the foil on the camera: scaled, on a slope, with noise."""
    energy = np.asarray(np.polynomial.polynomial.polyval(PIXELS, truth), np.float64)
    clean = 1.7 * foil(energy) - 0.9 + 4e-4 * PIXELS
    return np.asarray(clean + np.random.default_rng(seed).normal(0, noise, PIXELS.size))


def calibrated(signal: Array, **options: Any) -> PixelCalibration:
    return calibrate_pixels(signal, STANDARD, foil(STANDARD), **options)


@pytest.mark.parametrize("truth", [TRUTH, np.array([9433.0, -1.6, -3e-4])])
def test_truth_is_found_whatever_the_scale_the_slope_and_the_direction(truth: Array) -> None:
    found = calibrated(measured(truth, noise=0.0))
    energy = np.polynomial.polynomial.polyval(PIXELS, truth)
    # The spline through a standard of 0.8 eV steps is what is left.
    np.testing.assert_allclose(found.energy(PIXELS), energy, atol=0.02)
    assert found.residual < 1e-3
    assert found.assessment == "success"


def test_sigma_is_what_noise_does() -> None:
    """Pulls of the energies of three pixels over forty cameras: N(0, 1)."""
    where = np.array([20, 70, 250])
    energy = np.polynomial.polynomial.polyval(where, TRUTH)
    pulls = []
    for seed in range(40):
        found = calibrated(measured(seed=seed, noise=5e-3))
        pulls.append((found.energy(where) - energy) / found.energy_sigma(where))
    spread = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert np.all((spread > 0.75) & (spread < 1.3)), spread


def test_coefficients_and_their_sigma() -> None:
    found = calibrated(measured())
    assert found.coefficients.shape == found.sigma.shape == (3,)
    np.testing.assert_allclose(found.sigma, np.sqrt(np.diag(found.covariance)))
    assert np.all(np.abs(found.coefficients - TRUTH) < 4 * found.sigma)
    # At pixel 0 the energy is the first coefficient.
    assert found.energy(0)[0] == pytest.approx(found.coefficients[0])
    assert found.energy_sigma(0)[0] == pytest.approx(found.sigma[0])


def test_numbers_of_pixels_and_points_that_are_missing() -> None:
    signal = measured()
    signal[[5, 100]] = np.nan
    found = calibrated(signal, pixels=PIXELS + 1)
    plain = calibrated(signal)
    np.testing.assert_allclose(found.energy(PIXELS + 1), plain.energy(PIXELS), atol=1e-6)
    order = np.random.default_rng(1).permutation(STANDARD.size)
    shuffled = calibrate_pixels(signal, STANDARD[order], foil(STANDARD)[order])
    np.testing.assert_allclose(shuffled.coefficients, plain.coefficients, rtol=1e-12)


def test_what_is_no_match_says_so() -> None:
    noise = np.random.default_rng(3).normal(size=PIXELS.size)
    assert calibrated(noise).assessment == "poor_match"
    upside_down = calibrated(-measured())
    assert upside_down.assessment == "poor_match"


def test_a_camera_that_sees_more_than_the_standard_is_no_match() -> None:
    near = STANDARD > 8960
    found = calibrate_pixels(measured(), STANDARD[near], foil(STANDARD)[near])
    assert found.assessment == "poor_match"


def test_a_foil_that_looks_the_same_from_both_sides_is_ambiguous() -> None:
    peak = np.exp(-0.5 * ((STANDARD - 9250) / 8) ** 2)
    signal = np.exp(-0.5 * ((PIXELS - 160) / 10) ** 2)
    signal += np.random.default_rng(4).normal(0, 1e-3, PIXELS.size)
    found = calibrate_pixels(signal, STANDARD, peak, degree=1)
    assert found.residual < 0.01
    assert found.assessment == "ambiguous"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foil_signal": np.ones(10)}, "foil_signal"),
        ({"standard_energy": np.full(STANDARD.size, np.nan)}, "standard_energy"),
        ({"standard_mu": np.ones(3)}, "standard_mu"),
        ({"pixels": np.arange(3)}, "pixels"),
        ({"degree": 0}, "degree"),
        ({"degree": 1.5}, "degree"),
        ({"background": 9}, "background"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    given = {"foil_signal": measured(), "standard_energy": STANDARD, "standard_mu": foil(STANDARD)}
    with pytest.raises(RequestError, match=message):
        calibrate_pixels(**(given | change))


@pytest.mark.shared_data
def test_id24_agrees_with_its_own_calibration(shared_data: Path) -> None:
    """The energies in cu_08.calib are 8952 + 0.287 p + 5e-6 p^2 to 6 meV, set by hand.

    Where the foil has features we are within 0.3 eV of them; at the far end, where it has none, the
    hand and the fit are 3 eV apart in 360. The fit is the closer one to the standard.
    """
    folder = shared_data / "formats" / "xas" / "dispersive" / "id24_cus2"
    pixels, signal = np.loadtxt(folder / "cu_08", comments=":").T
    by_hand = np.loadtxt(folder / "cu_08.calib")[:, 0] * 1e3
    energy, mu = np.loadtxt(folder / "cufoil_rt.txt").T
    found = calibrate_pixels(signal, energy * 1e3, mu, pixels=pixels)
    assert found.assessment == "success"
    difference = found.energy(pixels) - by_hand
    assert np.abs(difference[50:700]).max() < 0.3
    assert np.abs(difference).max() < 3.0
    assert found.coefficients[1] == pytest.approx(0.287, rel=0.02)
    fitted, hand = (
        _misfit(one, signal, energy * 1e3, mu) for one in (found.energy(pixels), by_hand)
    )
    assert fitted < hand


def _misfit(energy: Array, signal: Array, standard: Array, mu: Array) -> float:
    """Return how far the foil is from the standard at given energies, by linear interpolation."""
    place = np.linspace(-1, 1, energy.size)
    terms = np.column_stack([np.interp(energy, standard, mu), np.ones_like(place), place, place**2])
    weights = np.linalg.lstsq(terms, signal, rcond=None)[0]
    return float(np.sqrt(np.mean((signal - terms @ weights) ** 2)))


@pytest.mark.shared_data
def test_photon_factory_counts_from_the_high_end(shared_data: Path) -> None:
    """Pd foil: pixel 1 is the highest energy; the edge is at 24350 eV (tabulated)."""
    folder = shared_data / "formats" / "xas" / "dispersive"
    pixels, signal = np.genfromtxt(folder / "Pd_foil.CSV", delimiter=",", skip_header=1).T
    energy, mu = np.loadtxt(folder / "Pd_foil_ref.txt").T
    for degree in (1, 2):
        found = calibrate_pixels(signal, energy, mu, pixels=pixels, degree=degree)
        assert found.assessment == "success"
        assert found.energy(1)[0] > found.energy(1024)[0]
        steepest = found.energy(pixels)[np.argmax(np.abs(np.gradient(signal)))]
        # Both inflections are read off a grid: the pixel is 1 eV, the standard 0.6 eV.
        assert steepest == pytest.approx(energy[np.argmax(np.gradient(mu, energy))], abs=4.0)
        # White lines at 24377 and 24417 eV of the standard lie at pixels 577 and 537.
        for low, high, window in ((570, 585, (24370, 24390)), (525, 550, (24405, 24430))):
            pixel = low + np.argmax(signal[low - 1 : high])
            near = (energy > window[0]) & (energy < window[1])
            peak = energy[near][np.argmax(mu[near])]
            assert found.energy(pixel)[0] == pytest.approx(peak, abs=4.0)
