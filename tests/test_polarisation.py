"""Initial and steady currents of simulated polarisations, with what must not be believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import curve_fit

from operando.electrochemistry import polarisation, prepare
from operando.electrochemistry.polarisation import ASSESSMENT
from operando.errors import RequestError
from operando.model import STATES, category_attributes, flag_names
from operando.simulate.noise import stream
from operando.simulate.protocols import Instrument, Protocol, polarised

INSTRUMENT = Instrument(interval_s=10.0, current_noise=3e-8, voltage_noise=2e-6)


def held(seed: int = 0, *, volts: float = 0.01, **changes: Any) -> Protocol:
    """10 mV for 20 000 s: 6 uA at first, 1 uA in the end, tau = 1500 s."""
    facts: dict[str, Any] = {
        "seconds": 20_000.0,
        "steady": 1e-6,
        "excess": 5e-6,
        "decay_s": 1500.0,
        "instrument": INSTRUMENT,
    }
    return polarised(volts, bits=stream(seed, 0), **(facts | changes))


def measured(protocol: Protocol) -> xr.Dataset:
    return polarisation(prepare(protocol.log))


def wrong(found: xr.Dataset) -> list[list[str]]:
    return [flag_names(int(mask), ASSESSMENT) for mask in found["assessment"].values]


def told(protocol: Protocol, current: np.ndarray[Any, np.dtype[np.float64]]) -> xr.Dataset:
    """The log with another current, and the states the instrument would tell."""
    state = ("time", protocol.state.astype(np.int32), category_attributes(STATES))
    amperes = ("time", current, protocol.log["current"].attrs)
    return protocol.log.assign(state_instrument=state, current=amperes)


@pytest.mark.parametrize("sign", [1, -1])
def test_truth(sign: int) -> None:
    found = measured(held(volts=0.01 * sign, steady=1e-6 * sign, excess=5e-6 * sign))
    assert found.sizes == {"step": 1}
    assert float(found["potential"][0]) == pytest.approx(0.01 * sign, abs=1e-6)
    assert float(found["initial_current"][0]) == pytest.approx(6e-6 * sign, rel=0.01)
    assert float(found["steady_current"][0]) == pytest.approx(1e-6 * sign, rel=0.01)
    assert float(found["tail_current"][0]) == pytest.approx(1e-6 * sign, rel=0.01)
    assert float(found["decay_time"][0]) == pytest.approx(1500, rel=0.02)
    assert float(found["resistance"][0]) == pytest.approx(1e4, rel=0.01)
    assert wrong(found) == [[]]
    length = (found["time_end"] - found["time_start"]).values / np.timedelta64(1, "s")
    assert length.tolist() == [19_990]


def test_sigmas_are_calibrated() -> None:
    """Pulls of 250 steps are N(0, 1), and 3 sigma of slope call few of them unsteady."""
    truth = {"initial_current": 6e-6, "steady_current": 1e-6, "resistance": 1e4}
    pulls: dict[str, list[float]] = {name: [] for name in truth}
    unsteady = 0
    for seed in range(250):
        found = measured(held(seed)).isel(step=0)
        unsteady += int(found["assessment"]) != 0
        for name, true in truth.items():
            pulls[name].append(float((found[name] - true) / found[f"{name}_sigma"]))
    for name, values in pulls.items():
        assert 0.9 < np.std(values) < 1.1, name
        assert abs(np.mean(values)) < 0.2, name
    assert unsteady <= 8


def test_the_fit_is_that_of_scipy() -> None:
    log = prepare(held(3).log)
    found = polarisation(log).isel(step=0)
    rows = log["state"].values == STATES["hold_charge"]
    seconds = (log["time"].values[rows] - log["time"].values[rows][0]) / np.timedelta64(1, "s")
    amperes = log["current"].values[rows]
    best, covariance = curve_fit(
        lambda t, steady, excess, tau: steady + excess * np.exp(-t / tau),
        seconds,
        1e6 * amperes,
        p0=(1.0, 5.0, 1000.0),
    )
    assert 1e6 * float(found["steady_current"]) == pytest.approx(best[0], rel=1e-5)
    assert float(found["decay_time"]) == pytest.approx(best[2], rel=1e-4)
    sigma = float(np.sqrt(covariance[0, 0]))
    assert 1e6 * float(found["steady_current_sigma"]) == pytest.approx(sigma, rel=0.01)


def test_diffusion_into_a_half_space() -> None:
    """I = 1 uA + 40 uA s^1/2 t^-1/2 is found as such, and has no initial current."""
    protocol = held()
    moments = (protocol.log["time"].values - protocol.log["time"].values[0]) / np.timedelta64(
        1, "s"
    )
    since = moments - 600.0
    noise = 3e-8 * np.random.default_rng(0).normal(size=since.size)
    current = np.where(since >= 0, 1e-6 + 40e-6 / np.sqrt(np.maximum(since, 1.0)), 0.0) + noise
    found = polarisation(prepare(told(protocol, current)))
    assert found["model"].values.tolist() == [1]
    assert np.isnan(found["initial_current"].values).all()
    pull = (found["steady_current"] - 1e-6) / found["steady_current_sigma"]
    assert abs(float(pull[0])) < 4
    assert "no_initial" in wrong(found)[0]


def test_assessments() -> None:
    short = measured(held(seconds=1500.0))
    assert "not_steady" in wrong(short)[0]
    assert "extrapolated" in wrong(short)[0]
    few = measured(held(seconds=150.0, decay_s=100.0))
    assert wrong(few) == [["few_rows"]]
    assert np.isnan(few["steady_current"].values).all()
    assert float(few["potential"][0]) == pytest.approx(0.01, abs=1e-4)
    protocol = held()
    log = protocol.log
    waves = 1e-6 * np.sin(np.arange(log.sizes["time"]) / 40.0)
    wavy = polarisation(prepare(told(protocol, log["current"].values + waves)))
    assert "poor_fit" in wrong(wavy)[0]


def test_several_steps_and_bad_requests() -> None:
    first, second = held(1), held(2, volts=-0.01, steady=-1e-6, excess=-5e-6)
    later = second.log.assign_coords(time=second.log["time"] + np.timedelta64(20_600, "s"))
    log = prepare(xr.concat([first.log, later], "time", combine_attrs="override"))
    found = polarisation(log)
    assert found.sizes == {"step": 2}
    np.testing.assert_allclose(found["resistance"], 1e4, rtol=0.01)
    rest = prepare(first.log.isel(time=slice(0, 50)))
    with pytest.raises(RequestError, match="no step at constant voltage"):
        polarisation(rest)
    with pytest.raises(RequestError, match="prepare"):
        polarisation(first.log)
