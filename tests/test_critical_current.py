"""Shorts of simulated Na | electrolyte | Na cells, and steps without any that must stay silent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando.electrochemistry import critical_current, prepare
from operando.electrochemistry.critical_current import ASSESSMENT, STEP_FLAGS
from operando.electrochemistry.drops import largest_drop
from operando.errors import RequestError
from operando.model import flag_names
from operando.simulate.noise import stream
from operando.simulate.protocols import START, Instrument, Short, symmetric

DENSITIES = [sign * size for size in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6) for sign in (1, -1)]
AREA = 0.785
STEP, REST = 1800.0, 300.0


def stepped(
    *shorts: Short,
    seed: int = 0,
    noise: float = 2e-4,
    densities: list[float] = DENSITIES,
    interval_s: float = 10.0,
    **cell: Any,
) -> xr.Dataset:
    """Steps of half an hour on a cell of 300 ohm cm2, measured."""
    protocol = symmetric(
        densities,
        area_cm2=AREA,
        step_s=STEP,
        rest_s=REST,
        area_ohms=300.0,
        instrument=Instrument(interval_s=interval_s, current_noise=1e-7, voltage_noise=noise),
        bits=stream(seed, 0),
        shorts=shorts,
        **cell,
    )
    return critical_current(prepare(protocol.log), area_cm2=AREA)


def flags(found: xr.Dataset) -> list[list[str]]:
    return [flag_names(int(mask), STEP_FLAGS) for mask in found["step_flag"].values]


def said(found: xr.Dataset) -> list[str]:
    return flag_names(int(found["assessment"]), ASSESSMENT)


def interval(found: xr.Dataset) -> tuple[float, float]:
    names = ("critical_current_density", "critical_current_density_high")
    low, high = (float(found[name]) for name in names)
    return low, high


def at(step: int, into: float) -> float:
    """Seconds at which a step has lasted so long."""
    return step * (STEP + REST) + into


def test_a_healthy_cell() -> None:
    found = stepped(overshoot=0.0)
    np.testing.assert_allclose(found["current_density"], DENSITIES, rtol=1e-3)
    size = 0.3 * np.abs(DENSITIES)
    for name in ("mean_polarisation", "end_polarisation"):
        pulls = (found[name].values - size) / found[f"{name}_sigma"].values
        assert np.abs(pulls).max() < 4
    np.testing.assert_allclose(found["area_resistance"], 300.0, rtol=5e-3)
    np.testing.assert_allclose(found["resistance"], 300.0 / AREA, rtol=5e-3)
    assert np.isnan(found["change"].values[::2]).all()
    np.testing.assert_allclose(found["change"].values[1::2], 0.0, atol=3e-3)
    assert flags(found) == [[]] * 12
    assert said(found) == ["no_short"]
    low, high = interval(found)
    assert low == pytest.approx(0.6, rel=1e-3)
    assert high == np.inf
    assert found["drop_time"].isnull().all()


def test_sigmas_are_calibrated() -> None:
    """Pulls of the mean polarisation of 480 steps are N(0, 1)."""
    pulls = []
    for seed in range(40):
        found = stepped(seed=seed, noise=1e-3, overshoot=0.0)
        off = found["mean_polarisation"].values - 0.3 * np.abs(DENSITIES)
        pulls.append(off / found["mean_polarisation_sigma"].values)
    assert 0.9 < np.std(pulls) < 1.1


def test_a_dendrite() -> None:
    """Short in step 7, the second at 0.4 mA/cm2: the value lies between 0.3 and 0.4."""
    found = stepped(Short(at_s=at(7, 600), left=0.1))
    assert flags(found) == [[]] * 7 + [["short"]] + [["after_short"]] * 4
    assert interval(found) == pytest.approx((0.3, 0.4), rel=1e-3)
    assert said(found) == []
    assert float(found["drop"][7]) == pytest.approx(0.9, abs=0.01)
    seconds = (found["drop_time"].values[7] - START) / np.timedelta64(1, "s")
    assert seconds == pytest.approx(at(7, 610), abs=10)


@pytest.mark.parametrize("noise", [2e-4, 2e-3, 1e-2])
@pytest.mark.parametrize("step", range(12))
def test_a_dendrite_is_found_wherever_and_through_noise(step: int, noise: float) -> None:
    """From nine sigma of a row on in the step itself, below in it or in the next."""
    found = stepped(Short(at_s=at(step, 900), left=0.05), noise=noise, growth_per_hour=0.05)
    shorts = [at for at, names in enumerate(flags(found)) if "short" in names]
    if 0.3 * abs(DENSITIES[step]) > 9 * noise:
        assert shorts[0] == step
        assert interval(found)[1] == pytest.approx(abs(DENSITIES[step]), rel=0.01)
    else:
        assert shorts[0] in (step, step + 1)


def test_soft_shorts() -> None:
    partial = stepped(Short(at_s=at(7, 600), left=0.7))
    assert flags(partial)[7] == ["soft_short"]
    assert said(partial) == ["no_short", "soft_short_before"]
    brief = stepped(Short(at_s=at(7, 600), left=0.2, lasts_s=200))
    assert flags(brief)[7] == ["soft_short"]
    both = stepped(Short(at_s=at(3, 600), left=0.2, lasts_s=200), Short(at_s=at(9, 600), left=0.05))
    assert [at for at, names in enumerate(flags(both)) if "soft_short" in names] == [3]
    assert interval(both) == pytest.approx((0.4, 0.5), rel=1e-3)
    assert said(both) == ["soft_short_before"]


def test_a_short_between_steps() -> None:
    found = stepped(Short(at_s=at(7, -150), left=0.1))
    assert flags(found)[6:9] == [[], ["short"], ["after_short"]]
    assert float(found["drop"][7]) == 0.0
    assert float(found["change"][7]) == pytest.approx(-0.9, abs=0.02)
    first = stepped(Short(at_s=at(0, 900), left=0.1))
    assert interval(first) == pytest.approx((0.0, 0.1), rel=1e-3)
    assert said(first) == ["first_step"]


def test_cycling_at_one_density() -> None:
    """Passed at 0.5 mA/cm2 for ten steps before: the value is what lies below."""
    densities = [0.1, -0.1] + [0.5, -0.5] * 6
    found = stepped(Short(at_s=at(11, 600), left=0.1), densities=densities)
    assert flags(found)[11] == ["short"]
    assert interval(found) == pytest.approx((0.1, 0.5), rel=1e-3)
    # to a smaller current the polarisation may fall as it likes
    down = stepped(densities=[0.6, -0.6, 0.1, -0.1])
    assert flags(down) == [[]] * 4


def test_no_false_alarm() -> None:
    """Noise, growth of 30 %/h and transients of 50 to 600 s: no short in 1920 healthy steps."""
    alarms = steps = 0
    for seed in range(160):
        found = stepped(
            seed=seed,
            noise=(2e-4, 2e-3, 1e-2)[seed % 3],
            growth_per_hour=(0.0, 0.1, 0.3)[seed // 3 % 3],
            overshoot=(0.1, 0.3, 0.6)[seed // 9 % 3],
            overshoot_s=(50.0, 200.0, 600.0)[seed // 27 % 3],
        )
        steps += found.sizes["step"]
        alarms += int(np.count_nonzero(found["step_flag"].values & 3))
    assert steps == 1920
    assert alarms == 0


def test_outliers_are_no_falls_and_falls_of_the_oracle_are_found() -> None:
    generator = np.random.default_rng(0)
    level = 1 + generator.normal(0, 0.01, 200)
    level[[50, 90, 150]] = [0.2, 3.0, -1.0]
    assert largest_drop(level, 0.01, smallest=0.1).row == -1
    for row in (20, 100, 180):
        fallen = level.copy()
        fallen[row:] -= 0.4
        found = largest_drop(fallen, 0.01, smallest=0.1)
        assert abs(found.row - row) <= 2
        assert found.share == pytest.approx(0.4, abs=0.02)
        assert found.recovered < 0.1
    assert largest_drop(level[:10], 0.01, smallest=0.1).row == -1


def test_assessments_of_steps() -> None:
    few = stepped(interval_s=150.0)
    assert flags(few) == [["few_rows"]] * 12
    protocol = symmetric(
        [0.2, -0.2],
        area_cm2=AREA,
        step_s=STEP,
        rest_s=REST,
        area_ohms=300.0,
        instrument=Instrument(),
        bits=stream(0, 0),
    )
    log = prepare(protocol.log)
    negative = log.assign(voltage=-log["voltage"].assign_attrs(units="V"))
    assert flags(critical_current(negative, area_cm2=AREA)) == [["reversed_voltage"]] * 2
    drift = log["current"] * (1 + 0.5 * np.linspace(0, 1, log.sizes["time"]))
    drifting = critical_current(log.assign(current=drift), area_cm2=AREA)
    assert flags(drifting) == [["current_drifts"]] * 2


def test_bad_requests() -> None:
    protocol = symmetric(
        [0.2],
        area_cm2=AREA,
        step_s=STEP,
        rest_s=REST,
        area_ohms=300.0,
        instrument=Instrument(),
        bits=stream(0, 0),
    )
    log = prepare(protocol.log)
    for area in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(RequestError, match="area_cm2"):
            critical_current(log, area_cm2=area)
    for small, large in ((0.0, 0.5), (0.6, 0.5), (0.1, 1.0)):
        with pytest.raises(RequestError, match="short_drop"):
            critical_current(log, area_cm2=1.0, smallest_drop=small, short_drop=large)
    with pytest.raises(RequestError, match="no step of constant current"):
        critical_current(log.isel(time=slice(-20, None)), area_cm2=1.0)
    with pytest.raises(RequestError, match="prepare"):
        critical_current(log.drop_vars("state"), area_cm2=1.0)


def test_a_full_cell_is_refused() -> None:
    """Its voltage does not turn with the current: every reversal would look like a short."""
    moments = np.arange(0.0, 7200.0, 10.0)
    current = np.where(moments < 3600, 1e-3, -1e-3)
    raw = xr.Dataset(
        {
            "voltage": ("time", 3.8 + 100 * current + 1e-5 * moments, {"units": "V"}),
            "current": ("time", current, {"units": "A", "averaging": "instantaneous"}),
        },
        {"time": np.datetime64("2026-05-04", "ns") + (moments * 1e9).astype("timedelta64[ns]")},
        {"technique": "electrochemistry", "current_sign": "oxidation_positive"},
    )
    log = prepare(raw, sign="oxidation_positive")
    with pytest.raises(RequestError, match=r"one sign for both directions.*symmetric cell"):
        critical_current(log, area_cm2=1.0)
