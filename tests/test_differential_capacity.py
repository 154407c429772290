"""dQ/dE against a curve known in closed form, its sigma, and what must not be believed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.special import erf

from operando.electrochemistry import differential_capacity, prepare
from operando.electrochemistry.differential_capacity import ASSESSMENT
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
ZERO = np.datetime64("2026-05-04T08:00:00", "ns")
STEP = 0.005
GRID = np.linspace(1.9, 3.7, 200_001)


def charge_at(volts: Array) -> Array:
    """A h of a slope and two Gaussian peaks of dQ/dE at 2.6 V (50 mV) and 3.1 V (30 mV)."""
    peaks = [0.15 * (1 + erf((volts - e) / w / np.sqrt(2))) for e, w in ((2.6, 0.05), (3.1, 0.03))]
    total: Array = 1e-3 * (0.4 * (volts - 2) / 1.5 + peaks[0] + peaks[1])
    return total


def in_bins(volts: Array, step: float = STEP) -> Array:
    """The true mean of dQ/dE over each bin."""
    mean: Array = (charge_at(volts + step / 2) - charge_at(volts - step / 2)) / step
    return mean


def half_cycles(
    seed: int, *, rows: int = 4000, noise: float = 2e-4, current: float = 2e-4
) -> xr.Dataset:
    """A charge from 2.0 V to 3.5 V and the discharge back, 10 mV of hysteresis between them."""
    up = np.linspace(float(charge_at(np.array(2.0))), float(charge_at(np.array(3.5))), rows)
    charge = np.append(up, up[-2::-1])
    way = np.append(np.ones(rows), -np.ones(rows - 1))
    volts = np.interp(charge, charge_at(GRID), GRID) + 0.005 * way
    volts += np.random.default_rng(seed).normal(0, noise, volts.size)
    time = np.append(0.0, np.cumsum(np.abs(np.diff(charge)))) / current * 3600
    return prepare(log_of(time, volts, current * way))


def log_of(time: Array, volts: Array, current: Array) -> xr.Dataset:
    return xr.Dataset(
        {
            "voltage": ("time", volts, {"units": "V"}),
            "current": ("time", current, {"units": "A", "averaging": "backward"}),
        },
        {"time": ZERO + np.rint(time * 1e9).astype("timedelta64[ns]")},
        {"technique": "electrochemistry", "current_sign": "oxidation_positive"},
    )


def test_truth_and_calibration() -> None:
    """Pulls are N(0, 1) over 12 simulated cells, in charge and in discharge."""
    pulls: list[Array] = []
    for seed in range(12):
        found = differential_capacity(half_cycles(seed), voltage_step=STEP)
        assert found["direction"].values.tolist() == [1, -1]
        for half, shift in ((0, 0.005), (1, -0.005)):
            truth = in_bins(found["voltage"].values - shift)
            one = found.isel(half_cycle=half)
            off = one["differential_capacity"].values - truth
            pulls.append(off / one["differential_capacity_sigma"].values)
    every = np.concatenate(pulls)
    good = every[np.isfinite(every)]
    assert good.size > 0.97 * every.size
    assert 0.9 < good.std() < 1.1
    assert abs(good.mean()) < 0.1


def test_charge_is_kept() -> None:
    """The bins together hold the charge of the half-cycle between their outer edges."""
    found = differential_capacity(half_cycles(1, noise=1e-5), voltage_step=0.01)
    one = found["differential_capacity"].isel(half_cycle=0).dropna("voltage")
    low, high = one["voltage"].values[[0, -1]] + np.array([-0.005, 0.005])
    expected = float(charge_at(np.array(high - 0.005)) - charge_at(np.array(low - 0.005)))
    assert float(one.sum()) * 0.01 == pytest.approx(expected, rel=2e-4)


def test_peaks_are_where_they_are() -> None:
    found = differential_capacity(half_cycles(2), voltage_step=STEP)
    for half, shift in ((0, 0.005), (1, -0.005)):
        one = found["differential_capacity"].isel(half_cycle=half)
        for peak in (2.6, 3.1):
            around = one.sel(voltage=slice(peak - 0.15, peak + 0.15))
            at = float(around["voltage"][int(around.argmax("voltage"))])
            assert at == pytest.approx(peak + shift, abs=0.012)


def test_holds_and_rests_are_left_out() -> None:
    """A hold at 3.5 V adds charge, and none of it to dQ/dE."""
    rows = 2000
    up = np.linspace(0.0, 1e-3, rows)
    volts = np.append(3 + 500 * up, np.full(600, 3.5))
    current = np.append(np.full(rows, 1e-3), 1e-3 * np.exp(-np.arange(600) / 200))
    time = np.append(3.6e6 * up, 3600 + 1.8 * np.arange(1, 601)) * 1e-3 * 1e3
    noise = np.random.default_rng(5).normal(0, 5e-5, volts.size)
    log = prepare(log_of(time, volts + noise, current))
    assert set(np.unique(log["state"])) == {1, 3}
    found = differential_capacity(log, voltage_step=0.01)
    values = found["differential_capacity"].isel(half_cycle=0).dropna("voltage")
    np.testing.assert_allclose(values, 1 / 500, rtol=0.05)
    assert values["voltage"].max() < 3.5


def assessed(found: xr.Dataset, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray((found["assessment"].values & ASSESSMENT[name]) > 0)


def test_what_should_not_be_believed() -> None:
    found = differential_capacity(half_cycles(3), voltage_step=STEP)
    assert assessed(found, "not_reached").sum() >= 2
    assert np.isnan(found["differential_capacity"].values[assessed(found, "not_reached")]).all()
    coarse = differential_capacity(half_cycles(3, rows=300, noise=1e-5), voltage_step=STEP)
    few = assessed(coarse, "interpolated")
    assert few.any()
    assert np.isnan(coarse["differential_capacity_sigma"].values[few]).all()
    one = few[0] & np.isfinite(coarse["differential_capacity"].values[0])
    truth = in_bins(coarse["voltage"].values - 0.005)
    np.testing.assert_allclose(coarse["differential_capacity"].values[0][one], truth[one], rtol=0.1)
    noisy = differential_capacity(half_cycles(3, rows=600, noise=5e-3), voltage_step=STEP)
    assert (assessed(noisy, "unresolved") | assessed(noisy, "interpolated")).mean() > 0.9
    values, sigma = (
        noisy["differential_capacity"].values,
        noisy["differential_capacity_sigma"].values,
    )
    lost = assessed(noisy, "unresolved")
    assert (5 * sigma[lost] >= values[lost]).all()


def test_a_change_of_current_is_said() -> None:
    rows = 3000
    volts = 3 + np.linspace(0, 0.6, rows)
    current = np.where(np.arange(rows) < 1500, 1e-3, 2e-3)
    time = np.cumsum(2e-3 / current)
    noise = np.random.default_rng(6).normal(0, 2e-5, rows)
    log = prepare(log_of(time, volts + noise + 0.5 * current, current))
    found = differential_capacity(log, voltage_step=0.01)
    changed = found["voltage"].values[assessed(found, "current_changed")[0]]
    assert changed.size
    assert np.abs(changed - 3.3).max() < 0.011


def test_bad_requests() -> None:
    log = half_cycles(0, rows=200)
    for step in (0.0, -1.0, np.nan):
        with pytest.raises(RequestError, match="voltage_step"):
            differential_capacity(log, voltage_step=step)
    with pytest.raises(RequestError, match=r"makes .* bins"):
        differential_capacity(log, voltage_step=1e-9)
    with pytest.raises(RequestError, match="prepare"):
        differential_capacity(log.drop_vars("state"))
    rest = prepare(log_of(np.arange(100.0), np.full(100, 3.0), np.zeros(100)))
    assert differential_capacity(rest).sizes == {"half_cycle": 0, "voltage": 0}
    assert "no other smoothing" in differential_capacity(log).attrs["smoothing"]
