"""Runs, signs, charge, states and half-cycles of a potentiostat's log."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.electrochemistry import (
    critical_current,
    cycles,
    differential_capacity,
    polarisation,
    prepare,
    voltammograms,
)
from operando.electrochemistry.states import infer_states
from operando.electrochemistry.turns import turning_points
from operando.errors import AlignmentError, RequestError
from operando.model import STATES, category_attributes, check
from operando.reading import read
from operando.simulate.noise import stream
from operando.simulate.protocols import (
    START,
    Instrument,
    Protocol,
    Short,
    Stage,
    polarised,
    programmed,
    symmetric,
    voltammogram,
)

Array = npt.NDArray[np.float64]
ZERO = np.datetime64("2022-07-26T20:38:30.190", "ns")
REST, CHARGE, DISCHARGE, HOLD, HOLD_DOWN, UP, DOWN = range(7)


def log_of(
    time: npt.ArrayLike,
    voltage: npt.ArrayLike,
    current: npt.ArrayLike | None = None,
    *,
    averaging: str = "backward",
    sign: str = "oxidation_positive",
    interval: float | None = None,
    **columns: npt.ArrayLike,
) -> xr.Dataset:
    seconds = np.asarray(time, float)
    stamps = ZERO + np.rint(seconds * 1e9).astype("timedelta64[ns]")
    data: dict[str, Any] = {"voltage": ("time", np.asarray(voltage, float), {"units": "V"})}
    if current is not None:
        amperes = np.broadcast_to(np.asarray(current, float), seconds.shape).copy()
        data["current"] = ("time", amperes, {"units": "A", "averaging": averaging})
    for name, values in columns.items():
        counter = name == "charge_counter"
        attributes: dict[str, Any] = {"units": "A h"} if counter else {"units": "1"}
        if name == "state_instrument":
            attributes = category_attributes(STATES)
        data[name] = ("time", np.asarray(values, float if counter else np.int32), attributes)
    attrs: dict[str, Any] = {
        "technique": "electrochemistry",
        "current_sign": sign,
        "source_files": json.dumps(["a.mpt", "b.mpt", "c.mpt"]),
    }
    if interval is not None:
        data["record_interval"] = ("time", np.full(seconds.size, interval), {"units": "s"})
    return xr.Dataset(data, {"time": stamps}, attrs)


def cycling(
    cycles: int = 2, *, rest: int = 60, half: int = 300, dt: float = 10.0
) -> tuple[Array, Array, Array, npt.NDArray[Any]]:
    """Rest, charge, rest, discharge ... at 1 A; voltage follows charge, 50 mV of overvoltage."""
    pattern = [(REST, rest), (CHARGE, half), (REST, rest), (DISCHARGE, half)]
    state = np.concatenate([np.full(rows, label) for label, rows in pattern * cycles])
    current = np.select([state == CHARGE, state == DISCHARGE], [1.0, -1.0], 0.0)
    time = dt * np.arange(float(state.size))
    charge: Array = np.cumsum(current) * dt / 3600
    return time, 3 + charge + 0.05 * current, current, state


def share(found: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    return float(np.mean(np.asarray(found) == np.asarray(expected)))


# Runs ---------------------------------------------------------------------------------------------


def runs_of(log: xr.Dataset, **options: Any) -> list[int]:
    return [int(run) for run in prepare(log, **options)["run"].values]


def test_gap_limits() -> None:
    time = np.array([0.0, 1, 2, 62, 123, 124])
    assert runs_of(log_of(time, np.full(6, 3.0))) == [0, 0, 0, 0, 1, 1]  # 60 s is none, 61 s is one
    assert runs_of(log_of(time, np.full(6, 3.0)), max_gap_s=59.9) == [0, 0, 0, 1, 2, 2]
    assert runs_of(log_of(time, np.full(6, 3.0), interval=41)) == [0] * 6  # 1.5 x 41 s = 61.5 s
    slow = np.array([0.0, 20, 40, 60, 160, 261])
    assert runs_of(log_of(slow, np.full(6, 3.0))) == [0, 0, 0, 0, 0, 1]  # 5 x 20 s = 100 s
    with pytest.raises(RequestError, match="max_gap_s: -1"):
        prepare(log_of(time, np.full(6, 3.0)), max_gap_s=-1)


def test_case_10_overlapping_files() -> None:
    time = np.concatenate([np.arange(100.0), np.arange(97.5, 150.0)])
    file = np.repeat([0, 1], [100, 53])
    with pytest.raises(AlignmentError, match=r"'a\.mpt' and 'b\.mpt': both recorded for 1\.5 s"):
        prepare(log_of(time, 3 + time, file_index=file))
    inside = np.concatenate([np.arange(100.0), np.arange(30.5, 60.0)])
    with pytest.raises(AlignmentError, match=r"29 s"):
        prepare(log_of(inside, 3 + inside, file_index=np.repeat([0, 1], [100, 30])))
    touching = np.concatenate([np.arange(100.0), np.arange(98.5, 150.0)])
    log = prepare(log_of(touching, 3 + touching, file_index=np.repeat([0, 1], [100, 52])))
    assert (np.diff(log["time"].values).astype(int) > 0).all()


def test_files_in_any_order_become_runs_in_time() -> None:
    time = np.concatenate([np.arange(200.0, 210), np.arange(0.0, 10), np.arange(100.0, 110)])
    log = prepare(log_of(time, time, file_index=np.repeat([0, 1, 2], 10)))
    assert log["voltage"].values.tolist() == sorted(time.tolist())
    assert log["run"].values.tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_files_that_take_turns_without_loop_numbers_are_no_overlap() -> None:
    time = np.arange(40.0)
    log = prepare(log_of(time, time, file_index=(time // 10) % 2))
    assert log["run"].values.tolist() == np.repeat([0, 1, 2, 3], 10).tolist()


def test_equal_stamps_keep_their_order() -> None:
    log = prepare(log_of([0, 1, 1, 1, 2], [1, 2, 3, 4, 5]))
    assert log["voltage"].values.tolist() == [1, 2, 3, 4, 5]
    assert log["run"].values.tolist() == [0] * 5


def test_a_clock_set_back_leaves_the_doubtful_stretch_uncovered() -> None:
    time = np.concatenate([np.arange(0.0, 100), np.arange(97.5, 200)])
    log = prepare(log_of(time, np.arange(time.size)))
    seconds = (log["time"].values - ZERO).astype(float) / 1e9
    run = log["run"].values
    inside = np.diff(run) == 0
    assert inside[seconds[1:] <= 97].all()
    assert not inside[(seconds[:-1] >= 97) & (seconds[1:] <= 99.5)].any()
    assert inside[seconds[:-1] >= 99.5].all()


# Sign ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", ["oxidation_positive", "oxidation_negative", "unknown"])
@pytest.mark.parametrize("recorded", [1.0, -1.0])
def test_case_25_sign_of_the_current(declared: str, recorded: float) -> None:
    time, voltage, current, _ = cycling()
    log = log_of(time, voltage, recorded * current, sign=declared)
    true = {"oxidation_positive": 1.0, "oxidation_negative": -1.0, "unknown": recorded}[declared]
    if true != recorded:
        with pytest.raises(RequestError, match=r"in 0% of 3\.3\d h .*100%.*current_sign"):
            prepare(log)
        return
    prepared = prepare(log)
    np.testing.assert_array_equal(prepared["current"].values, current)
    assert prepared.attrs["current_sign"] == "oxidation_positive"
    found = "in 0%" if (declared, recorded) == ("unknown", -1.0) else "in 100%"
    assert f"{found} of 3.3" in prepared.attrs["current_sign_source"]


def test_the_user_wins() -> None:
    time, voltage, current, _ = cycling()
    log = log_of(time, voltage, -current, sign="oxidation_positive")
    prepared = prepare(log, sign="oxidation_negative")
    np.testing.assert_array_equal(prepared["current"].values, current)
    odd = prepare(log, sign="oxidation_positive")
    np.testing.assert_array_equal(odd["current"].values, -current)
    assert "by the user" in odd.attrs["current_sign_source"]
    assert "in 0% of" in odd.attrs["current_sign_source"]


def test_case_25_unsigned_current_takes_the_sign_of_the_state() -> None:
    time, voltage, current, state = cycling()
    log = log_of(time, voltage, abs(current), sign="unsigned", state_instrument=state)
    prepared = prepare(log)
    np.testing.assert_array_equal(prepared["current"].values, current)
    assert prepared.attrs["current_sign_source"].startswith("instrument states")
    with pytest.raises(RequestError, match="unsigned, and no state"):
        prepare(log.drop_vars("state_instrument"))
    swapped = np.select([state == CHARGE, state == DISCHARGE], [DISCHARGE, CHARGE], state)
    with pytest.raises(RequestError, match=r"instrument states, but .*current_sign"):
        prepare(log.assign(state_instrument=("time", swapped, log["state_instrument"].attrs)))
    unknown = np.where(time < 1000, -1, state)
    part = prepare(log.assign(state_instrument=("time", unknown, log["state_instrument"].attrs)))
    lost = np.isnan(part["current"].values)
    np.testing.assert_array_equal(lost, (time < 1000) & (current != 0))


def test_symmetric_cells_and_rests_are_undecidable() -> None:
    time, _, current, _ = cycling()
    flat = 0.05 * current
    kept = prepare(log_of(time, flat, current))
    assert "unverified" in kept.attrs["current_sign_source"]
    np.testing.assert_array_equal(kept["current"].values, current)
    with pytest.raises(RequestError, match=r"not declared.*current_sign"):
        prepare(log_of(time, flat, current, sign="unknown"))
    # Polarisation that relaxes moves against the current; that is no contradiction.
    relaxing = flat * (1 + np.exp(-(time % 3000) / 1000))
    assert "unverified" in prepare(log_of(time, relaxing, current)).attrs["current_sign_source"]
    rest = prepare(log_of(time, np.full(time.size, 3.0), 0.0, sign="unknown"))
    assert rest.attrs["current_sign_source"] == "no current"
    assert (rest["state"].values == REST).all()


# Charge -------------------------------------------------------------------------------------------


def test_integration_rules() -> None:
    time, current = np.array([0.0, 10, 20, 200, 210]), np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    backward = prepare(log_of(time, np.full(5, 3.0), current))
    assert backward["net_capacity"].values * 3600 == pytest.approx([0, 10, 30, 30, 70])
    assert backward.attrs["charge_method"] == "current integrated by backward rectangles"
    linear = prepare(log_of(time, np.full(5, 3.0), current, averaging="instantaneous"))
    assert linear["net_capacity"].values * 3600 == pytest.approx([0, 5, 20, 20, 55])
    assert linear.attrs["charge_method"] == "current integrated by trapezoids"


def test_counter_is_preferred_and_continued_over_restarts() -> None:
    """A counter that restarts with each step and counts what the rows of current miss."""
    time, voltage, current, state = cycling()
    true = np.cumsum(current) * 10 / 3600 * 1.001
    step = np.flatnonzero(np.diff(state, prepend=-1))
    base = np.repeat(true[np.maximum(step - 1, 0)], np.diff(np.append(step, time.size)))
    base[: step[1]] = 0
    counters = {"restarting": true - base, "running": true, "reversed": -(true - base)}
    for name, counter in counters.items():
        found = prepare(log_of(time, voltage, current, charge_counter=counter))
        np.testing.assert_allclose(found["net_capacity"], true, atol=1e-12, err_msg=name)
        assert found.attrs["charge_method"] == "instrument counter"
    log = log_of(
        time,
        voltage,
        abs(current),
        sign="unsigned",
        state_instrument=state,
        charge_counter=abs(true - base),
    )
    np.testing.assert_allclose(prepare(log)["net_capacity"], true, atol=1e-12)


def test_rows_without_counter_are_integrated_once() -> None:
    time = np.arange(0.0, 100, 10)
    true = time / 3600
    counter = true.copy()
    counter[3:6] = np.nan
    found = prepare(log_of(time, np.full(10, 3.0), 1.0, charge_counter=counter))
    np.testing.assert_allclose(found["net_capacity"], true, atol=1e-15)
    assert "in 3 rows" in found.attrs["charge_method"]


@pytest.mark.parametrize(
    ("before", "after", "pause", "uncertain"),
    [(1.0, 1.0, 200, True), (0.0, 1.0, 200, True), (0.0, 0.0, 200, False), (1.0, 1.0, 50, False)],
)
def test_charge_uncertain_after_a_gap_with_current(
    before: float, after: float, pause: float, uncertain: bool
) -> None:
    time = np.concatenate([np.arange(0.0, 500, 10), 490 + pause + np.arange(0.0, 500, 10)])
    current = np.concatenate(
        [np.full(40, 1.0), np.full(10, before), np.full(10, after), [0.0] * 40]
    )
    file = np.repeat([0, 1], 50)
    log = log_of(time, np.full(100, 3.0), current, file_index=file)
    flag = prepare(log, max_gap_s=60)["charge_uncertain"].values
    assert flag.tolist() == [0] * 50 + [int(uncertain)] * 50
    charge = np.cumsum(np.append(0, current[1:] * 10 * (np.diff(file) == 0))) / 3600
    counted = prepare(log.assign(charge_counter=("time", charge + (file * 0.5), {"units": "A h"})))
    assert not counted["charge_uncertain"].values.any()  # the counter ran on: nothing is unknown


def test_case_26_impedance_and_empty_techniques_in_the_set() -> None:
    """A file without current between two with: no charge, but a voltage."""
    time = np.concatenate(
        [np.arange(0.0, 100, 10), np.arange(120.0, 220, 10), np.arange(240.0, 340, 10)]
    )
    current = np.concatenate([np.full(10, 1.0), np.full(10, np.nan), np.full(10, -1.0)])
    log = prepare(log_of(time, np.full(30, 3.0), current, file_index=np.repeat([0, 1, 2], 10)))
    assert log["net_capacity"].values[[9, 15, 29]] * 3600 == pytest.approx([90, 90, 0])
    assert (log["state"].values[10:20] == -1).all()
    assert np.isfinite(log["voltage"].values).all()
    alone = prepare(log_of(np.arange(5.0), np.full(5, 3.0)))
    assert np.isnan(alone["net_capacity"].values).all()
    assert alone["half_cycle"].values.tolist() == [-1] * 5
    empty = prepare(log_of([], [], []))
    assert empty.sizes["time"] == 0


# States -------------------------------------------------------------------------------------------


def test_case_24_noisy_zero_with_an_offset_is_rest() -> None:
    """A rest whose current reads +0.4 % with 0.3 % noise; sign(I) is right in 7 of 10 rows."""
    generator = np.random.default_rng(0)
    time = np.arange(0, 40_000, 10.0)
    true = np.select([time < 6000, time < 20_000, time < 26_000], [REST, CHARGE, REST], DISCHARGE)
    clean = np.select([true == CHARGE, true == DISCHARGE], [1.0, -1.0], 0.0)
    current = clean + generator.normal(0.004, 0.003, time.size)
    voltage = np.interp(time, [0, 6000, 20_000, 26_000, 40_000], [3, 3, 4.2, 4.1, 3.0])
    found = infer_states(time, voltage, current, np.zeros(time.size, int))
    assert share(found, true) == 1
    naive = np.select([current > 0, current < 0], [CHARGE, DISCHARGE], REST)
    assert share(naive, true) < 0.75
    log = prepare(log_of(time, voltage, current))
    assert log["half_cycle"].values[time < 26_000].max() == 0
    assert log["half_cycle"].values[-1] == 1


def test_holds() -> None:
    """Constant current to 4.2 V, then constant voltage with a current that decays."""
    time = np.arange(0.0, 7200, 10)
    current = np.where(time < 3600, 1.0, np.exp(-(time - 3600) / 1500))
    voltage = np.where(time < 3600, 3.2 + time / 3600, 4.2)
    true = np.where(time < 3600, CHARGE, HOLD)
    found = infer_states(time, voltage, current, np.zeros(time.size, int))
    assert share(found, true) > 0.99
    down = infer_states(time, 7 - voltage, -current, np.zeros(time.size, int))
    assert share(down, np.where(time < 3600, DISCHARGE, HOLD_DOWN)) > 0.99


def test_sweeps_are_counted_from_vertex_to_vertex() -> None:
    """A voltammogram with a peak on each sweep; its charge turns elsewhere than its voltage."""
    generator = np.random.default_rng(1)
    time = np.arange(0.0, 4800, 2)
    phase = (time / 800) % 2
    up = phase < 1
    voltage = 0.2 + 0.8 * np.where(up, phase, 2 - phase)
    peak = np.exp(-(((voltage - np.where(up, 0.7, 0.5)) / 0.1) ** 2))
    current = np.where(up, 1, -1) * (0.2 + peak)
    noisy = voltage + generator.normal(0, 2e-4, time.size)
    log = prepare(log_of(time, noisy, current))
    assert share(log["state"], np.where(up, UP, DOWN)) > 0.99
    assert share(log["half_cycle"], time // 800) > 0.99
    assert log["cycle"].values.max() == 2


def test_blips_are_absorbed_and_steps_are_not() -> None:
    time = np.arange(0.0, 1000, 1)
    current = np.ones(1000)
    current[[300, 301]] = 0
    current[600:620] = 0
    found = infer_states(time, 3 + 1e-4 * time, current, np.zeros(1000, int))
    assert found[[300, 301]].tolist() == [CHARGE] * 2
    assert (found[600:620] == REST).all()


def test_instrument_labels_win_where_known() -> None:
    time, voltage, current, state = cycling()
    told = np.where(state == CHARGE, HOLD, -1)
    log = prepare(log_of(time, voltage, current, state_instrument=told))
    np.testing.assert_array_equal(log["state"], np.where(state == CHARGE, HOLD, state))
    np.testing.assert_array_equal(log["state_instrument"], told)


CURRENT = 1e-3
RECORDED = Instrument(current_noise=3e-6, current_offset=4e-6)


def cc_cv(instrument: Instrument) -> Protocol:
    """Two cycles of 1 mA to 3.75 V, held there to 0.1 mA, and back to 2.6 V, with rests."""
    stages = [Stage(seconds=1800, current=0.0)]
    for _ in range(2):
        stages += [
            Stage(seconds=1e5, current=CURRENT, voltage=3.75),
            Stage(seconds=2e4, voltage=3.75, cutoff=CURRENT / 10),
            Stage(seconds=1800, current=0.0),
            Stage(seconds=1e5, current=-CURRENT, voltage=2.6),
            Stage(seconds=1800, current=0.0),
        ]
    bits = stream(1, 0)
    return programmed(stages, capacity=4e-3, instrument=instrument, bits=bits, initial=0.2)


def pulses(
    pulse_s: float, rest_s: float, *, ohms: tuple[float, float] = (20.0, 15.0), noise: float = 5e-5
) -> Protocol:
    """GITT: a rest, then pulses of 1 mA with rests between them."""
    stages = [Stage(seconds=1800, current=0.0)]
    for _ in range(round(20_000 / pulse_s)):
        stages += [Stage(seconds=pulse_s, current=CURRENT), Stage(seconds=rest_s, current=0.0)]
    instrument = Instrument(voltage_noise=noise, current_noise=2e-6, current_offset=3e-6)
    bits = stream(1, 1)
    return programmed(
        stages, capacity=8e-3, instrument=instrument, bits=bits, initial=0.2, ohms=ohms
    )


def slope(instrument: Instrument) -> Protocol:
    """A slow charge and discharge of a sloping cell, no hold, long rests."""
    stages = [
        Stage(seconds=6000, current=0.0),
        Stage(seconds=4e4, current=CURRENT, voltage=3.5),
        Stage(seconds=6000, current=0.0),
        Stage(seconds=4e4, current=-CURRENT, voltage=2.7),
    ]
    bits = stream(1, 2)
    return programmed(stages, capacity=8e-3, instrument=instrument, bits=bits, initial=0.1)


def sweeps(rate: float, noise: float) -> Protocol:
    """Five sweeps, the last through little current but its capacitance."""
    return voltammogram(
        [0.2, 1.0, -0.2, 1.0, -0.2, 0.5],
        rate=rate,
        peaks=[(0.6, 2e-3, 0.05), (0.5, -2e-3, 0.05)],
        capacitance=1e-3,
        instrument=Instrument(interval_s=2e-3 / rate, current_noise=noise, voltage_noise=2e-4),
        bits=stream(1, 3),
    )


def stepped(*shorts: Short) -> Protocol:
    """A symmetric cell in steps to 0.6 mA/cm2."""
    return symmetric(
        [sign * size for size in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6) for sign in (1, -1)],
        area_cm2=0.785,
        step_s=1800.0,
        rest_s=300.0,
        area_ohms=300.0,
        instrument=Instrument(current_noise=1e-6, voltage_noise=2e-4),
        bits=stream(1, 4),
        shorts=shorts,
    )


PROTOCOLS: dict[str, tuple[Callable[[], Protocol], float]] = {
    "CC-CV": (partial(cc_cv, Instrument()), 0.999),
    "CC-CV, noise and offset": (partial(cc_cv, RECORDED), 0.999),
    "CC-CV, 1 % noise": (partial(cc_cv, Instrument(current_noise=1e-5)), 0.998),
    "slope, 0.4 % offset": (partial(slope, RECORDED), 1.0),
    "slope, 2 % noise": (partial(slope, Instrument(current_noise=2e-5)), 1.0),
    "GITT": (partial(pulses, 300, 900), 0.999),
    "GITT, short pulses": (partial(pulses, 60, 300), 1.0),
    "GITT hidden in noise": (partial(pulses, 100, 300, ohms=(0.5, 0.5), noise=1e-3), 0.999),
    "GITT, 0.5 ohm": (partial(pulses, 300, 900, ohms=(0.5, 0.5)), 0.999),
    **{f"CV, {rate} V/s": (partial(sweeps, rate, 1e-6), 0.998) for rate in (1e-4, 1e-2, 1.0)},
    "CV, noisy": (partial(sweeps, 1e-3, 2e-5), 0.998),
    "symmetric": (stepped, 1.0),
    "symmetric, short": (partial(stepped, Short(at_s=12_000, left=0.1)), 1.0),
    "polarisation": (
        partial(
            polarised,
            0.01,
            seconds=2e4,
            steady=1e-6,
            excess=5e-6,
            decay_s=2000.0,
            instrument=Instrument(current_noise=2e-8),
            bits=stream(1, 5),
        ),
        1.0,
    ),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_states_of_simulated_protocols(name: str) -> None:
    make, goal = PROTOCOLS[name]
    log, state = make()
    time = (log["time"].values - START).astype(float) / 1e9
    run = np.zeros(time.size, int)
    found = infer_states(time, log["voltage"].values, log["current"].values, run)
    assert share(found, state) >= goal


def test_a_second_that_was_recorded_is_no_blip() -> None:
    """Rest, 20 rows within 0.4 s of charge, rest: the potentiostat records by change of voltage."""
    time = np.concatenate(
        [np.arange(20.0), 20 + 0.02 * np.arange(20), 21 + np.arange(0.0, 900, 10)]
    )
    current = np.where((time >= 20) & (time < 20.4), 1e-3, 0.0)
    voltage = 0.3 + np.interp(time, [20, 20.4, 21, 900], [0, 1.7, 1.5, 0.5])
    found = infer_states(time, voltage, current, np.zeros(time.size, int))
    np.testing.assert_array_equal(found, np.where(current > 0, CHARGE, REST))


def test_a_hold_of_which_only_the_noise_is_seen() -> None:
    """1.5 s at -1.65 V: the current falls by 2.6 % under noise of 1.5 %, as a real file has it."""
    generator = np.random.default_rng(2)
    time = 1e-3 * np.arange(1500.0)
    current = -4.36e-5 * (1 - 0.026 * time / 1.5) + 6.6e-7 * generator.normal(size=1500)
    voltage = -1.65014 + 2.5e-5 * generator.normal(size=1500)
    found = infer_states(time, voltage, current, np.zeros(1500, int))
    assert (found == HOLD_DOWN).all()
    flat = np.where(current < 0, -4.36e-5, 0) + 6.6e-7 * generator.normal(size=1500)
    assert (infer_states(time, voltage, flat, np.zeros(1500, int)) == DISCHARGE).all()


REAL_LOGS = {
    "operando/xas_ni_lno_rock/EC/*.mpt": 7735,
    "operando/xrd_zn_mno2_mspd/Echem/ZMO_D_C03.mpt": 6346,
    "operando/xrd_zn_mno2_mspd/Echem/ZMO_D2_C03.mpr": 14_372,
    "operando/xas_mn_zn_claess/Echem/Cell C/CellC_01_02_GCPL_C04.mpr": 33_761,
    "formats/echem/biologic/250116_kigr_gen6_01_01_GCPL_CD8.mpr": 392,
    "formats/echem/biologic/250116_kigr_gen6_01_02_GCPL_CD8.mpr": 3791,
    "formats/echem/biologic/00_test_04_MB_C01.mpr": 1501,
    "formats/echem/biologic/Pt_poly_cv_CUT.mpt": 223,
    "formats/echem/biologic/commercial_cell_001__1753280829_C01.mpr": 95,
    "formats/echem/biologic/commercial_cell_001__1753283786_C01.mpr": 215,
}


@pytest.mark.shared_data
@pytest.mark.parametrize("pattern", REAL_LOGS)
def test_inferred_states_agree_with_the_instrument(shared_data: Path, pattern: str) -> None:
    log = prepare(read(str(shared_data / pattern), tz="Europe/Paris"))
    assert log.sizes["time"] == REAL_LOGS[pattern]
    told = log["state_instrument"].values
    assert (told >= 0).all()
    time = (log["time"].values - ZERO).astype(float) / 1e9
    voltage, current = log["voltage"].values, log["current"].values
    found = infer_states(time, voltage, current, log["run"].values.astype(int))
    # Told to flow, and not flowing: the first row of a step, whose direction nothing says yet.
    undefined = (told != REST) & (current == 0)
    assert undefined.sum() <= 3
    assert share(found[~undefined], told[~undefined]) >= 0.99


# Any log ------------------------------------------------------------------------------------------

VERBS: list[Callable[[xr.Dataset], xr.Dataset]] = [
    cycles,
    differential_capacity,
    voltammograms,
    polarisation,
    partial(critical_current, area_cm2=1.0),
]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 60),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, *STATES.values()]),
    st.booleans(),
)
def test_verbs_answer_or_refuse_any_log(
    rows: int, seed: int, state: int | None, holes: bool
) -> None:
    """Noise, constants, decays, triangles, holes: a table, or one refusal; never a warning."""
    generator = np.random.default_rng(seed)
    time = np.sort(generator.uniform(0, 1000, rows)) if seed % 2 else 10.0 * np.arange(rows)
    voltages = [
        generator.normal(3, 1, rows),
        3 + 0.01 * time,
        np.full(rows, 3.0),
        np.abs((time / 100) % 2 - 1),
    ]
    currents = [
        generator.normal(0, 1, rows),
        np.full(rows, 1e-3),
        np.exp(-time / 100),
        generator.choice([-1.0, 0.0, 1.0], rows),
    ]
    voltage, current = voltages[seed % 4], currents[seed // 4 % 4]
    if holes:
        voltage[generator.random(rows) < 0.2] = np.nan
        current[generator.random(rows) < 0.2] = np.nan
    log = prepare(log_of(time, voltage, current), sign="oxidation_positive")
    if state is not None:
        log["state"].values[:] = np.where(generator.random(rows) < 0.9, state, REST)
    refused = [str(said) for verb in VERBS if (said := refusal(verb, log)) is not None]
    reasons = ("log: no ", "log: the voltage has one sign for both directions")
    assert all(said.startswith(reasons) for said in refused)


def refusal(verb: Callable[[xr.Dataset], xr.Dataset], log: xr.Dataset) -> RequestError | None:
    try:
        verb(log)
    except RequestError as error:
        return error
    return None


# Half-cycles --------------------------------------------------------------------------------------


def test_case_23_half_cycles_are_whole_and_rests_belong_to_the_one_before() -> None:
    time, voltage, current, state = cycling(3)
    log = prepare(log_of(time, voltage, current))
    begins = np.flatnonzero((state != REST) & (np.roll(state, 1) == REST))[1:]
    expected = np.searchsorted(begins, np.arange(time.size), "right")
    np.testing.assert_array_equal(log["half_cycle"], expected)
    np.testing.assert_array_equal(log["cycle"], expected // 2)
    assert log["half_cycle"].dtype == log["cycle"].dtype == np.int32
    # 300 rows of 10 s at 1 A in each half-cycle; the first row of all integrates nothing
    capacity = log["half_cycle_capacity"].values * 3600
    assert capacity.max() == pytest.approx(3000)
    assert capacity[begins] == pytest.approx(np.full(5, 10.0))


def test_small_reversals_are_no_half_cycles() -> None:
    current = np.concatenate(
        [np.full(500, 1.0), np.full(4, -1.0), np.full(500, 1.0), np.full(900, -1.0)]
    )
    time = 10.0 * np.arange(current.size)
    log = prepare(log_of(time, 3 + np.cumsum(current) * 1e-3, current))
    assert log["half_cycle"].values[1003] == 0
    assert log["half_cycle"].values[1004] == 1
    assert log["half_cycle"].values.max() == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(20, 200)), min_size=1, max_size=12),
    st.floats(1e-6, 1e3),
)
def test_scale_of_the_current_changes_no_label(steps: list[tuple[int, int]], scale: float) -> None:
    current = np.concatenate([np.full(rows, float(sign)) for sign, rows in steps])
    time = 10.0 * np.arange(current.size)
    voltage = 3 + 1e-3 * np.cumsum(current) + 0.01 * current
    one = prepare(log_of(time, voltage, current))
    other = prepare(log_of(time, voltage, scale * current))
    for name in ("run", "state", "half_cycle", "cycle"):
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_allclose(
        scale * one["net_capacity"], other["net_capacity"], rtol=1e-9, atol=1e-12 * scale
    )
    assert (np.diff(one["half_cycle"]) >= 0).all()


@given(
    st.lists(st.floats(0.5, 2.0), min_size=2, max_size=12),
    st.integers(5, 40),
    st.integers(0, 2**32 - 1),
)
def test_turning_points_of_a_noisy_zigzag(sizes: list[float], rows: int, seed: int) -> None:
    """Legs longer than the threshold, noise shorter than it: each corner once, within the noise."""
    signed = np.array(sizes) * np.where(np.arange(len(sizes)) % 2, -1, 1)
    corners = np.append(0, np.cumsum(signed))
    clean = np.interp(np.arange(len(sizes) * rows + 1) / rows, np.arange(corners.size), corners)
    noise = np.random.default_rng(seed).uniform(-0.05, 0.05, clean.size)
    found = turning_points(clean + noise, smallest=0.15)
    assert found.size == corners.size - 2
    assert np.abs(clean[found] - corners[1:-1]).max(initial=0) <= 0.1 + 1e-12


# Real experiments ---------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_case_08_real_restart(shared_data: Path) -> None:
    """Expected numbers are EC-Lab's own: (Q-Qo)/mA.h, Capacity/mA.h and its half cycles."""
    folder = shared_data / "operando" / "xas_ni_lno_rock" / "EC"
    log = check(prepare(read(str(folder / "*.mpt"), tz="Europe/Paris")))
    file, net = log["file_index"].values, log["net_capacity"].values * 1e3
    last = int(np.flatnonzero(file == 0)[-1])
    assert net[last] == pytest.approx(0.8402035414918015, abs=1e-9)
    assert net[last + 1] == pytest.approx(0.8402035414918015, abs=1e-9)
    assert net[-1] == pytest.approx(0.8402035414918015 + 0.8938358973457846, abs=1e-9)
    assert net[-1] == pytest.approx(1.734, abs=1e-3)
    assert log["run"].values[last] != log["run"].values[last + 1]
    assert not log["charge_uncertain"].values.any()
    assert log["half_cycle_capacity"].values[last] * 1e3 == pytest.approx(0.40958, abs=1e-4)
    theirs = np.flatnonzero(np.diff(log["half_cycle_instrument"].values) > 0)
    ours = np.flatnonzero(np.diff(log["half_cycle"].values))
    # theirs also count the rest at the start of each file; a step may take one row
    assert np.abs(ours[:, None] - theirs).min(axis=1).max() <= 1
    assert ours.size == log["half_cycle"].values[-1] == 7
    assert log["half_cycle"].values[last] == 4
    assert "in 100% of 47" in log.attrs["current_sign_source"]


@pytest.mark.shared_data
@pytest.mark.parametrize("pattern", list(REAL_LOGS)[:2])
def test_case_22_rectangles_reproduce_the_counter(shared_data: Path, pattern: str) -> None:
    log = read(str(shared_data / pattern), tz="Europe/Paris")
    counted, integrated = prepare(log), prepare(log.drop_vars("charge_counter"))
    off = np.abs(counted["net_capacity"].values - integrated["net_capacity"].values).max()
    assert off < 1e-6 * np.ptp(counted["net_capacity"].values)
    assert counted.attrs["charge_method"] == "instrument counter"
