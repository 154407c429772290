"""Sizes and strains from widths: against numerically convolved Voigts, calibrated, and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.optimize import brentq, curve_fit
from scipy.special import voigt_profile

from operando.errors import RequestError
from operando.observables.lines.instrument import Caglioti, instrument_function, together, without
from operando.observables.lines.size_strain import ASSESSMENT, LINE_ASSESSMENT, size_strain

Array = npt.NDArray[np.float64]

WAVELENGTH = 0.8247
CENTRES = np.array([12.0, 21.0, 27.5, 35.0, 44.0, 56.0])
INSTRUMENT = Caglioti(u=2e-3, v=-4e-4, w=4e-4, eta=0.3)


def voigt(x: Array, gauss: float, lorentz: float) -> Array:
    return np.asarray(voigt_profile(x, gauss / np.sqrt(8 * np.log(2)), lorentz / 2))


def fwhm_of(gauss: float, lorentz: float) -> float:
    """Full width of a Voigt by root finding."""
    top = float(voigt(np.zeros(1), gauss, lorentz)[0])
    half = brentq(
        lambda x: float(voigt(np.array([x]), gauss, lorentz)[0]) - top / 2, 0, gauss + lorentz
    )
    return 2 * float(half)


def pseudo_voigt(x: Array, area: float, fwhm: float, eta: float) -> Array:
    u = 2 * x / fwhm
    gauss = np.sqrt(np.log(2) / np.pi) * np.exp(-np.log(2) * u**2)
    return np.asarray(2 * area / fwhm * ((1 - eta) * gauss + eta / np.pi / (1 + u**2)))


def as_fitted(gauss: float, lorentz: float) -> tuple[float, float]:
    """Width and share of the pseudo-Voigt that fits a Voigt best."""
    x = np.linspace(-6, 6, 1201) * (gauss + lorentz)
    (_, fwhm, eta), _ = curve_fit(
        pseudo_voigt, x, voigt(x, gauss, lorentz), p0=(1.0, fwhm_of(gauss, lorentz), 0.5)
    )
    return float(fwhm), float(eta)


@pytest.mark.parametrize("own", [(0.03, 0.01), (0.02, 0.02), (0.04, 0.002)])
@pytest.mark.parametrize("sample", [(0.001, 0.06), (0.05, 0.03), (0.08, 0.001), (0.02, 0.02)])
def test_what_the_sample_adds_is_recovered_from_convolved_voigts(
    own: tuple[float, float], sample: tuple[float, float]
) -> None:
    """A Voigt convolved with a Voigt is one: squares of Gaussian widths add, Lorentzian ones do."""
    both = as_fitted(np.hypot(own[0], sample[0]), own[1] + sample[1])
    own_fwhm, own_eta = as_fitted(*own)
    found = without(np.array([both[0]]), np.array([both[1]]), np.array([own_fwhm]), own_eta)
    assert found[0] == pytest.approx(fwhm_of(*sample), rel=0.05)


@pytest.mark.parametrize(("gauss", "lorentz"), [(1.0, 1e-6), (1e-6, 1.0), (0.7, 0.7), (1, 0.2)])
def test_width_of_a_voigt_is_that_of_scipy(gauss: float, lorentz: float) -> None:
    found = together(np.array(gauss), np.array(lorentz))
    assert float(found) == pytest.approx(fwhm_of(gauss, lorentz), rel=3e-3)


def tracks(
    size: float,
    strain: float,
    *,
    frames: int = 1,
    sigma: float = 1e-9,
    seed: int = 0,
    **changed: Any,
) -> xr.Dataset:
    """Lorentzian sample broadening of a size in nm and a strain, seen through the instrument."""
    theta = np.radians(CENTRES) / 2
    broad = 0.9 * WAVELENGTH / (10 * size * np.cos(theta)) if np.isfinite(size) else 0.0
    added = np.degrees(broad + 4 * strain * np.tan(theta))
    own = INSTRUMENT.fwhm(2 * theta)
    eta = INSTRUMENT.eta
    gauss = own * np.sqrt(1 - 0.74417 * eta - 0.24781 * eta**2 - 0.00810 * eta**3)
    lorentz = own * (0.72928 * eta + 0.19289 * eta**2 + 0.07783 * eta**3) + added
    fwhm = together(gauss, lorentz)
    # Thompson, Cox and Hastings' share
    part = lorentz / fwhm
    share = 1.36603 * part - 0.47719 * part**2 + 0.11116 * part**3
    rng = np.random.default_rng(seed)
    shape = (frames, CENTRES.size)
    both = ("time", "line")
    return xr.Dataset(
        {
            "centre": (both, np.tile(CENTRES, (frames, 1))),
            "centre_sigma": (both, np.full(shape, 1e-4)),
            "fwhm": (both, fwhm + sigma * rng.normal(size=shape)),
            "fwhm_sigma": (both, np.full(shape, sigma)),
            "eta": (both, np.tile(share, (frames, 1))),
            "eta_sigma": (both, np.full(shape, 1e-6)),
        },
        {
            "time": np.datetime64("2025-01-01", "ns") + np.arange(frames) * np.timedelta64(60, "s"),
            "line": [f"l{at}" for at in range(CENTRES.size)],
        },
        {"axis": "two_theta", "wavelength_angstrom": WAVELENGTH} | changed,
    )


@pytest.mark.parametrize(("size", "strain"), [(20.0, 0.0), (50.0, 1e-3), (12.0, 4e-3)])
def test_size_and_strain_are_those_of_the_sample(size: float, strain: float) -> None:
    found = size_strain(tracks(size, strain), instrument=INSTRUMENT)
    assert found["size"].item() == pytest.approx(size, rel=0.02)
    assert found["strain"].item() == pytest.approx(strain, rel=0.02, abs=4e-5)
    if strain == 0:
        np.testing.assert_allclose(found["scherrer_size"], size, rtol=0.02)
    else:
        assert (found["scherrer_size"] < size).all()


def test_sizes_scale_with_the_constant_that_is_stated() -> None:
    one = size_strain(tracks(20, 1e-3), instrument=INSTRUMENT)
    other = size_strain(tracks(20, 1e-3), instrument=INSTRUMENT, k=1.0)
    assert other["size"].item() / one["size"].item() == pytest.approx(1 / 0.9)
    assert other["strain"].item() == pytest.approx(one["strain"].item())
    assert other.attrs["scherrer_constant"] == 1.0


def test_sigma_is_calibrated() -> None:
    truth = size_strain(tracks(30, 1e-3), instrument=INSTRUMENT)
    found = size_strain(tracks(30, 1e-3, frames=2000, sigma=1e-3), instrument=INSTRUMENT)
    for name in ("size", "strain", "sample_fwhm", "scherrer_size"):
        pull = (found[name] - truth[name].isel(time=0, drop=True)) / found[f"{name}_sigma"]
        assert (np.abs(pull.std("time").values - 0.97) < 0.1).all(), name


def test_a_line_as_narrow_as_the_instrument_says_nothing() -> None:
    measured = tracks(np.inf, 0.0, sigma=1e-3, frames=200)
    found = size_strain(measured, instrument=INSTRUMENT)
    narrow = found["line_assessment"].values == LINE_ASSESSMENT["not_broader"]
    assert narrow.mean() > 0.95
    assert np.isnan(found["scherrer_size"].values[narrow]).all()
    few = found["assessment"].values & ASSESSMENT["too_few_lines"]
    assert (few > 0).mean() > 0.9


def test_one_line_gives_no_size_and_two_no_check() -> None:
    measured = tracks(20, 1e-3, frames=3, sigma=5e-4)
    measured["fwhm"][0, 1:] = np.nan
    measured["fwhm"][1, 2:] = np.nan
    found = size_strain(measured, instrument=INSTRUMENT)
    codes = [ASSESSMENT["too_few_lines"], ASSESSMENT["two_lines"], 0]
    assert found["assessment"].values.tolist() == codes
    assert np.isnan(found["size"].values).tolist() == [True, False, False]
    assert np.isfinite(found["scherrer_size"].values[0, 0])
    assert found["line_assessment"].values[0, 1] == LINE_ASSESSMENT["no_width"]


def test_strain_alone_has_no_size() -> None:
    found = size_strain(tracks(np.inf, 4e-3, sigma=1e-3), instrument=INSTRUMENT)
    assert found["assessment"].item() & ASSESSMENT["size_unbounded"]
    assert np.isnan(found["size"].item())
    assert found["strain"].item() == pytest.approx(4e-3, rel=0.1)


def test_anisotropic_widths_are_noticed() -> None:
    measured = tracks(20, 1e-3, sigma=1e-3)
    measured["fwhm"][0, [1, 4]] += 0.03
    found = size_strain(measured, instrument=INSTRUMENT)
    assert found["assessment"].item() & ASSESSMENT["curved"]


def test_the_instrument_function_is_learnt_from_a_standard() -> None:
    standard = tracks(np.inf, 0.0, sigma=2e-4, frames=20)
    learnt = instrument_function(standard)
    angle = np.radians(CENTRES)
    np.testing.assert_allclose(learnt.fwhm(angle), INSTRUMENT.fwhm(angle), atol=2e-4)
    assert learnt.eta == pytest.approx(0.3, abs=0.02)
    by_standard = size_strain(tracks(25, 2e-3), instrument=standard)
    assert by_standard["size"].item() == pytest.approx(25, rel=0.03)
    with pytest.raises(RequestError, match="3 lines of the standard"):
        instrument_function(standard.isel(line=slice(0, 3)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"instrument": None}, "instrument: None; expected Caglioti"),
        ({"instrument": 0.05}, "instrument: 0.05"),
        ({"instrument": Caglioti(u=0, v=0, w=1e-3, eta=1.3)}, "eta: 1.3"),
        ({"instrument": INSTRUMENT, "k": 0.0}, "k: 0.0"),
        ({"instrument": INSTRUMENT, "wavelength": "Cu"}, "wavelength: 'Cu'"),
    ],
)
def test_an_impossible_request_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        size_strain(tracks(20, 0), **wrong)


def test_another_axis_or_no_share_is_refused() -> None:
    with pytest.raises(RequestError, match="expected two_theta"):
        size_strain(tracks(20, 0, axis="q"), instrument=INSTRUMENT)
    with pytest.raises(RequestError, match="and eta"):
        size_strain(tracks(20, 0).drop_vars("eta"), instrument=INSTRUMENT)


@pytest.mark.parametrize("lines", [4, 6, 12])
def test_sigma_of_the_instrument_is_its_error(lines: int) -> None:
    """What a fit of noisy widths is off by, on average over the lines: the widths are known."""
    angle = np.linspace(10, 80, lines)
    tangent = np.tan(np.radians(angle / 2))
    width = np.sqrt(0.01 * tangent**2 - 0.004 * tangent + 0.003)
    rng = np.random.default_rng(lines)
    errors, promised = [], []
    for _ in range(300):
        numbers = {
            "centre": angle,
            "centre_sigma": np.full(lines, 1e-4),
            "fwhm": width + 2e-3 * rng.normal(size=lines),
            "fwhm_sigma": np.full(lines, 1e-3),
            "eta": np.full(lines, 0.5),
            "eta_sigma": np.full(lines, 0.05),
        }
        standard = xr.Dataset(
            {name: (("time", "line"), values[None]) for name, values in numbers.items()},
            {"time": [np.datetime64("2026-01-01", "ns")], "line": [f"l{i}" for i in range(lines)]},
            {"axis": "two_theta", "wavelength_angstrom": 0.5},
        )
        found = instrument_function(standard)
        errors.append(np.mean((found.fwhm(np.radians(angle)) - width) ** 2))
        promised.append(found.sigma**2)
    assert np.sqrt(np.mean(errors) / np.mean(promised)) == pytest.approx(1.0, abs=0.12)
