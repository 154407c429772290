"""The law of growth: its exponent against truth and scipy, its sigma, and when it says nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.optimize import curve_fit

from operando.errors import RequestError
from operando.model import check
from operando.observables.growth import ASSESSMENT, FEWEST, fit_growth, growth_law
from operando.simulate.impedance import START, grown

Array = npt.NDArray[np.float64]


def measured(
    hours: Array, *, exponent: float, sigma: float, seed: int = 0, rate: float = 2.0
) -> tuple[xr.DataArray, xr.DataArray]:
    truth = grown(hours, initial=5.0, rate=rate, exponent=exponent)
    value = truth + sigma * np.random.default_rng(seed).normal(size=hours.size)
    time = START + np.rint(hours * 3.6e12).astype("timedelta64[ns]")
    resistance = xr.DataArray(value, {"time": time}, ("time",), "resistance", {"units": "ohm"})
    return resistance, xr.full_like(resistance, sigma)


def found(hours: Array, **kwargs: float) -> xr.Dataset:
    resistance, sigma = measured(hours, **kwargs)  # type: ignore[arg-type]
    return growth_law(resistance, sigma=sigma)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 1.0, 2.0])
def test_the_exponent_is_found_and_so_is_the_rate(exponent: float) -> None:
    result = found(np.linspace(0, 100, 20), exponent=exponent, sigma=1e-4)
    assert float(result["exponent"]) == pytest.approx(exponent, abs=1e-3)
    assert float(result["rate"]) == pytest.approx(2.0, rel=3e-3)
    assert float(result["initial_resistance"]) == pytest.approx(5.0, abs=1e-3)
    assert int(result["assessment"]) == ASSESSMENT["success"]


@pytest.mark.parametrize(("exponent", "count"), [(0.5, 8), (0.5, 40), (1.0, 12)])
def test_sigma_of_the_exponent_is_calibrated(exponent: float, count: int) -> None:
    hours = np.linspace(0, 200, count)
    truth = grown(hours, initial=5.0, rate=2.0, exponent=exponent)
    sigma = np.full(count, 0.01 * np.ptp(truth))
    rng = np.random.default_rng(4)
    several = [fit_growth(hours, truth + sigma * rng.normal(size=count), sigma) for _ in range(400)]
    for name, expected in (("exponent", exponent), ("initial_resistance", 5.0)):
        pulls = [(one[name] - expected) / one[f"{name}_sigma"] for one in several]
        # widened where chi2r exceeds 1 and never narrowed: with few sweeps a little too wide
        assert 0.75 < np.std(pulls) < 1.1
        assert abs(np.mean(pulls)) < 0.25


def test_the_minimum_and_its_covariance_are_those_of_scipy() -> None:
    hours = np.linspace(0, 50, 25)
    resistance, sigma = measured(hours, exponent=0.5, sigma=0.2, seed=3)
    mine = growth_law(resistance, sigma=sigma)
    oracle, covariance = curve_fit(
        lambda t, start, rate, n: start + rate * t**n,
        hours,
        resistance.values,
        p0=(5, 2, 0.6),
        sigma=sigma.values,
        absolute_sigma=True,
    )
    widened = max(float(mine["chi2r"]), 1.0) ** 0.5
    for at, name in enumerate(("initial_resistance", "rate", "exponent")):
        assert float(mine[name]) == pytest.approx(oracle[at], rel=1e-4)
        expected = widened * covariance[at, at] ** 0.5
        assert float(mine[f"{name}_sigma"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("exponent", "law"), [(0.5, "diffusion"), (1.0, "linear")])
def test_the_information_criterion_names_the_law(exponent: float, law: str) -> None:
    result = found(np.linspace(0, 200, 40), exponent=exponent, sigma=0.1)
    others = [result[name] for name in result if str(name).startswith("bic_")]
    assert float(result[f"bic_{law}"]) == min(float(other) for other in others)


def test_logarithmic_growth_is_told_from_diffusion() -> None:
    hours = np.linspace(0, 200, 40)
    value = 5 + 3 * np.log1p(hours / 2) + 0.05 * np.random.default_rng(1).normal(size=40)
    numbers = fit_growth(hours, value, np.full(40, 0.05))
    assert numbers["bic_logarithmic"] < min(numbers["bic_diffusion"], numbers["bic_free"]) - 6


def test_seven_sweeps_are_too_few_and_eight_are_enough() -> None:
    hours = np.linspace(0, 100, FEWEST)
    assert int(found(hours[1:], exponent=0.5, sigma=0.01)["assessment"]) == ASSESSMENT["too_few"]
    assert np.isnan(found(hours[1:], exponent=0.5, sigma=0.01)["exponent"])
    assert int(found(hours, exponent=0.5, sigma=0.01)["assessment"]) == ASSESSMENT["success"]


def test_refused_sweeps_are_left_out_and_counted() -> None:
    resistance, sigma = measured(np.linspace(0, 100, 12), exponent=0.5, sigma=0.01)
    resistance[5] = np.nan
    sigma[7] = np.nan
    assert int(growth_law(resistance, sigma=sigma)["sweeps"]) == 10


def test_a_constant_has_no_exponent_worth_reading() -> None:
    verdicts = [
        int(found(np.linspace(0, 100, 30), exponent=0.5, sigma=0.5, seed=seed, rate=0.0).assessment)
        for seed in range(100)
    ]
    silent = (ASSESSMENT["no_growth"], ASSESSMENT["at_bound"])
    assert sum(verdict in silent for verdict in verdicts) >= 98


def test_scatter_beyond_its_sigma_widens_the_error() -> None:
    hours = np.linspace(0, 100, 30)
    resistance, sigma = measured(hours, exponent=0.5, sigma=0.5, seed=2)
    honest = growth_law(resistance, sigma=sigma)
    bold = growth_law(resistance, sigma=sigma / 10)
    assert float(bold["chi2r"]) == pytest.approx(100 * float(honest["chi2r"]), rel=1e-6)
    narrow = float(honest["exponent_sigma"]) / max(float(honest["chi2r"]), 1.0) ** 0.5
    assert float(bold["exponent_sigma"]) == pytest.approx(
        narrow * float(honest["chi2r"]) ** 0.5, rel=1e-6
    )


def test_the_exponent_depends_on_the_origin_and_the_origin_is_said() -> None:
    hours = np.linspace(0, 100, 30)
    resistance, sigma = measured(hours, exponent=0.5, sigma=0.01)
    late, sigma_late = resistance[10:], sigma[10:]
    known = growth_law(late, sigma=sigma_late, origin=START)
    assert float(known["exponent"]) == pytest.approx(0.5, abs=0.02)
    assert float(growth_law(late, sigma=sigma_late)["exponent"]) > 0.6
    assert known.attrs["origin"].startswith("2026-05-04T06:00")


def test_every_number_has_its_unit_and_its_sigma() -> None:
    resistance, sigma = measured(np.linspace(0, 100, 12), exponent=0.5, sigma=0.1)
    result = growth_law(resistance, sigma=sigma)
    assert all("units" in variable.attrs for variable in result.data_vars.values())
    assert result["exponent"].attrs["ancillary_variables"] == "exponent_sigma"
    frames = xr.Dataset(
        {"impedance": (("time", "frequency"), np.ones((1, 1), complex), {"units": "ohm"})},
        {
            "time": START + np.zeros(1, "timedelta64[ns]"),
            "time_start": ("time", START + np.zeros(1, "timedelta64[ns]")),
            "time_end": ("time", START + np.zeros(1, "timedelta64[ns]")),
            "frequency": ("frequency", [1.0], {"units": "Hz"}),
        },
        {"technique": "impedance"},
    )
    check(frames.assign(result.data_vars))


def test_requests_that_make_no_sense_say_what_to_do() -> None:
    resistance, sigma = measured(np.linspace(0, 100, 12), exponent=0.5, sigma=0.1)
    with pytest.raises(RequestError, match=r"select .*'arc'"):
        growth_law(resistance.expand_dims(arc=2), sigma=sigma)
    spots = resistance.assign_coords(position=("time", ["a", "b"] * 6))
    with pytest.raises(RequestError, match="select it"):
        growth_law(spots, sigma=sigma)
    with pytest.raises(RequestError, match="no later than"):
        growth_law(resistance, sigma=sigma, origin=START + np.timedelta64(1, "h"))


def test_a_wrong_origin_shows_as_another_law() -> None:
    """Parabolic growth counted from a later moment is none; the fit must not call it a success."""
    hours = np.linspace(1.7, 27.0, 16)
    value = 6 + 5 * np.sqrt(hours) + np.random.default_rng(3).normal(0, 0.05, hours.size)
    stamps = np.datetime64("2026-05-04", "ns") + (hours * 3.6e12).astype("timedelta64[ns]")
    series = xr.DataArray(value, dims="time", coords={"time": stamps})
    sigma = xr.full_like(series, 0.05)
    from_start = growth_law(series, sigma=sigma, origin=np.datetime64("2026-05-04", "ns"))
    assert from_start["assessment"].item() == ASSESSMENT["success"]
    later = growth_law(series, sigma=sigma)
    assert later["assessment"].item() == ASSESSMENT["another_law"]
