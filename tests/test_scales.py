"""Units of current and charge, checked against each other and against the nominal capacity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.electrochemistry import prepare
from operando.electrochemistry.scales import UNIT_FACTORS
from operando.errors import RequestError
from operando.model import STATES, category_attributes
from operando.reading import read
from operando.simulate.noise import stream
from operando.simulate.protocols import Instrument, Stage, programmed

Array = npt.NDArray[np.float64]


def cell(*, factor: float = 1.0, restarts: bool = False, unsigned: bool = False) -> xr.Dataset:
    """Three charges and discharges of 4 mA h at 1 mA, with a counter that is `factor` too large."""
    stages = [Stage(seconds=1800, current=0.0)]
    for _ in range(3):
        for current, limit in ((1e-3, 3.7), (-1e-3, 2.6)):
            stages += [
                Stage(seconds=1e5, current=current, voltage=limit),
                Stage(seconds=600, current=0.0),
            ]
    instrument = Instrument(current_noise=1e-6)
    log, state = programmed(
        stages, capacity=4e-3, instrument=instrument, bits=stream(1, 0), initial=0.2
    )
    log["current"].attrs["averaging"] = "backward"
    step = np.append(0.0, 10 * log["current"].values[1:]) / 3600
    step[state == STATES["rest"]] = 0.0
    counter = np.cumsum(np.abs(step) if unsigned else step)
    if restarts:
        first = np.flatnonzero(np.diff(state, prepend=-1))
        length = np.diff(np.append(first, state.size))
        counter = counter - np.repeat(np.append(0.0, counter[first[1:] - 1]), length)
    log["charge_counter"] = ("time", factor * counter, {"units": "A h"})
    if unsigned:
        log["current"] = abs(log["current"]).assign_attrs(log["current"].attrs)
        log["state_instrument"] = ("time", state.astype(np.int32), category_attributes(STATES))
        log.attrs["current_sign"] = "unsigned"
    return log


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("factor", UNIT_FACTORS)
def test_a_counter_in_another_unit_is_refused(
    factor: float, restarts: bool, unsigned: bool
) -> None:
    with pytest.raises(RequestError, match=r"charge counter and current: .*declare") as caught:
        prepare(cell(factor=factor, restarts=restarts, unsigned=unsigned))
    message = str(caught.value)
    assert UNIT_FACTORS[factor] in message
    said = float(message.split("current = ")[1].split(" ")[0])
    assert said == pytest.approx(factor, rel=2e-3)
    assert "A h in" in message


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("unsigned", [False, True])
def test_a_counter_in_its_unit_is_reported(restarts: bool, unsigned: bool) -> None:
    log = cell(restarts=restarts, unsigned=unsigned)
    said = prepare(log).attrs["charge_check"]
    assert said.startswith("counter / integrated current = ")
    assert float(said.split("= ")[1].split(" ")[0]) == pytest.approx(1, abs=2e-3)
    without = prepare(log.drop_vars("charge_counter"))
    assert without.attrs["charge_check"].startswith("not compared")


@settings(max_examples=20, deadline=None)
@given(st.one_of(st.floats(0.32, 0.95), st.floats(1.05, 3.3), st.floats(4.0, 900.0)))
def test_a_ratio_that_is_no_unit_is_only_reported(factor: float) -> None:
    assert prepare(cell(factor=factor)).attrs["charge_check"].startswith("off: counter")


def test_a_few_rows_and_scattered_ratios_refuse_nothing() -> None:
    log = cell(factor=3.6)
    few = prepare(log.isel(time=slice(178, 186)))
    assert "= 3.6" in few.attrs["charge_check"]
    # A counter that has nothing to do with the current: 3.6 times it only in the median.
    spread = 3.6 * np.geomspace(0.2, 5.0, log.sizes["time"])
    passed = np.diff(log["charge_counter"].values / 3.6, prepend=0.0)
    log["charge_counter"] = ("time", np.cumsum(spread * passed), {"units": "A h"})
    assert prepare(log).attrs["charge_check"].startswith("off: counter")


def test_nominal_capacity() -> None:
    log = cell()
    largest = float(prepare(log)["half_cycle_capacity"].max())
    assert prepare(log).attrs["capacity_check"].startswith("not compared")
    said = prepare(log, nominal_capacity=4e-3).attrs["capacity_check"]
    assert f"= {largest / 4e-3:.4g} x nominal 0.004 A h" in said
    prepare(log, nominal_capacity=largest / 29.9)
    with pytest.raises(RequestError, match=r"capacity: largest half-cycle .* x nominal .*mA"):
        prepare(log, nominal_capacity=largest / 30.1)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(RequestError, match="nominal_capacity"):
            prepare(log, nominal_capacity=wrong)
    rest = log.isel(time=slice(0, 100)).drop_vars(["current", "charge_counter"])
    said = prepare(rest, nominal_capacity=1.0).attrs["capacity_check"]
    assert said == "not compared: the charge is not known"


@pytest.mark.shared_data
def test_no_real_instrument_is_refused(shared_data: Path) -> None:
    """And where the charge is that of constant current, counter and current agree within 1 %."""
    seen = 0
    for path in sorted(shared_data.rglob("*")):
        if path.suffix.lower() not in (".mpr", ".mpt", ".ndax", ".nda"):
            continue
        if path.name in ("empty.ndax", "file_2025-10-17_162649.mpr"):
            continue  # no rows; no start time
        log = prepare(read(str(path), tz="Europe/Paris", technique="electrochemistry"))
        said = log.attrs["charge_check"]
        if "GCPL" in path.name or path.suffix.lower() in (".ndax", ".nda"):
            assert not said.startswith("off"), (path.name, said)
        seen += 1
    assert seen >= 24
