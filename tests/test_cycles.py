"""Capacities, energies, efficiencies and flags of cycles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.electrochemistry import cycles, prepare
from operando.electrochemistry.cycles import CYCLE_FLAGS
from operando.errors import RequestError
from operando.model import flag_names
from operando.reading import read
from operando.simulate.noise import stream
from operando.simulate.protocols import Instrument, voltammogram

Array = npt.NDArray[np.float64]
ZERO = np.datetime64("2026-05-04T08:00:00", "ns")
DT = 10.0


def cell(halves: list[tuple[int, float]], *, rest: int = 30, last: int = 30) -> xr.Dataset:
    """Half-cycles of so many rows at a current (A), between rests; V = 3 + Q / A h + 0.1 ohm I."""
    parts = [np.zeros(rest)]
    for rows, current in halves:
        parts += [np.full(rows, current), np.zeros(rest)]
    record: Array = np.concatenate([*parts[:-1], np.zeros(last)])
    charge = np.cumsum(record) * DT / 3600
    time = DT * np.arange(record.size)
    return xr.Dataset(
        {
            "voltage": ("time", 3 + charge + 0.1 * record, {"units": "V"}),
            "current": ("time", record, {"units": "A", "averaging": "backward"}),
        },
        {"time": ZERO + np.rint(time * 1e9).astype("timedelta64[ns]")},
        {"technique": "electrochemistry", "current_sign": "oxidation_positive"},
    )


def flags(table: xr.Dataset) -> list[list[str]]:
    return [flag_names(int(mask), CYCLE_FLAGS) for mask in table["cycle_flag"].values]


def test_charge_first() -> None:
    """Charge 1 A for 3600 s, back 0.9 of it; energies by hand: Q (3 + mean Q + 0.1 I)."""
    table = cycles(prepare(cell([(360, 1.0), (324, -1.0)])))
    assert table.sizes == {"cycle": 1}
    assert table["charge_capacity"].values == pytest.approx([1.0])
    assert table["discharge_capacity"].values == pytest.approx([0.9])
    assert table["coulombic_efficiency"].values == pytest.approx([0.9])
    # one step of 1/360 A h is taken at the mean of rest and current, 0.05 V lower
    assert table["charge_energy"].values == pytest.approx([1.0 * (3 + 0.5 + 0.1) - 0.05 / 360])
    assert table["discharge_energy"].values == pytest.approx([0.9 * (3 + 0.55 - 0.1) + 0.05 / 360])
    assert table["charge_voltage"].values == pytest.approx(table["charge_energy"].values)
    assert table["charge_capacity"].attrs["units"] == "A h"
    assert flags(table) == [[]]
    assert table["time_start"].values[0] == ZERO
    assert table.attrs["efficiency"] == "discharge / the charge half-cycle before it"


def test_discharge_first_pairs_by_what_went_before() -> None:
    """Discharge 0.8, then charge 1, discharge 0.9, charge 1: the log pairs (d, c), (d, c)."""
    log = prepare(cell([(288, -1.0), (360, 1.0), (324, -1.0), (360, 1.0)]))
    table = cycles(log)
    assert np.unique(log["cycle"]).tolist() == table["cycle"].values.tolist() == [0, 1]
    assert table["discharge_capacity"].values == pytest.approx([0.8, 0.9])
    assert table["charge_capacity"].values == pytest.approx([1.0, 1.0])
    assert np.isnan(table["coulombic_efficiency"].values[0])
    assert table["coulombic_efficiency"].values[1] == pytest.approx(0.9)
    assert flags(table) == [["no_partner"], []]
    assert table.attrs["first_half_cycle"] == "discharge"
    # an anode half cell gives back by oxidation what reduction put in: the same cycle
    anode = cycles(log, working_electrode="negative")
    assert anode["coulombic_efficiency"].values == pytest.approx([1 / 0.8, 1 / 0.9])
    assert flags(anode) == [["unbalanced"], ["unbalanced"]]
    assert anode.attrs["efficiency"] == "charge / the discharge half-cycle before it"


def test_incomplete_cycles() -> None:
    lone = cycles(prepare(cell([(360, 1.0), (324, -1.0), (360, 1.0)])))
    assert flags(lone) == [[], ["incomplete"]]
    assert np.isnan(lone["discharge_capacity"].values[1])
    assert np.isnan(lone["coulombic_efficiency"].values[1])
    running = cycles(prepare(cell([(360, 1.0), (100, -1.0)], last=0)))
    assert flags(running) == [["incomplete"]]


def test_gaps_and_lost_charge() -> None:
    log = cell([(360, 1.0), (324, -1.0), (360, 1.0), (324, -1.0)])
    hole = (np.arange(log.sizes["time"]) < 900) | (np.arange(log.sizes["time"]) > 950)
    broken = prepare(log.isel(time=hole))
    table = cycles(broken)
    assert flags(table) == [[], ["charge_uncertain", "gap", "unbalanced"]]
    counted = log.assign(
        charge_counter=("time", np.cumsum(log["current"].values) * DT / 3600, {"units": "A h"})
    )
    sure = cycles(prepare(counted.isel(time=hole)))
    assert flags(sure) == [[], ["gap"]]
    # for an anode the half-cycle that put in lies in the doubtful cycle before
    log = cell([(360, 1.0), (324, -1.0), (360, 1.0), (324, -1.0)])
    early = (np.arange(log.sizes["time"]) < 100) | (np.arange(log.sizes["time"]) > 150)
    anode = cycles(prepare(log.isel(time=early)), working_electrode="negative")
    assert "charge_uncertain" in flags(anode)[1]
    assert sure["coulombic_efficiency"].values == pytest.approx([0.9, 0.9])


def test_a_part_of_a_log_has_the_cycles_it_holds() -> None:
    """Cycles keep their numbers; none is made up for what was left out."""
    log = prepare(cell([(360, 1.0), (324, -1.0)] * 4))
    cycle = log["cycle"].values
    late = cycles(log.isel(time=cycle >= 2))
    assert late["cycle"].values.tolist() == [2, 3]
    # the step to the first row is lost with the row before it
    assert late["charge_capacity"].values == pytest.approx([1 - 1 / 360, 1.0])
    assert late["coulombic_efficiency"].values == pytest.approx([0.9, 0.9], rel=0.005)
    assert flags(late) == [["incomplete"], []]
    assert late["time_start"].values[0] == log["time"].values[np.argmax(cycle == 2)]
    picked = cycles(log.isel(time=(cycle == 1) | (cycle == 3)))
    assert picked["cycle"].values.tolist() == [1, 3]
    assert picked["charge_capacity"].values == pytest.approx([1 - 1 / 360] * 2)
    half = cycles(log.isel(time=log["half_cycle"].values >= 5))
    assert half["cycle"].values.tolist() == [2, 3]
    assert np.isnan(half["coulombic_efficiency"].values[0])
    assert np.isnan(half["charge_capacity"].values[0])
    assert flags(half) == [["incomplete", "no_partner"], []]


def test_voltammograms_are_flagged() -> None:
    log = voltammogram(
        [0.2, 1.0, 0.2, 1.0, 0.2],
        rate=1e-3,
        peaks=[(0.6, 2e-3, 0.05), (0.5, -2e-3, 0.05)],
        capacitance=0.2,
        instrument=Instrument(interval_s=2, current_noise=1e-5, voltage_noise=1e-4),
        bits=stream(3, 0),
    ).log
    table = cycles(prepare(log))
    assert table.sizes["cycle"] == 2
    assert all("sweep" in names for names in flags(table))
    wave = 2e-3 * 0.05 * np.sqrt(2 * np.pi) / 1e-3  # C, h w sqrt(2 pi) / rate
    expected = (wave + 0.2 * 0.8) / 3600
    assert table["charge_capacity"].values == pytest.approx([expected] * 2, rel=0.01)


def test_what_cannot_be_told_and_what_cannot_be_asked() -> None:
    log = cell([(360, 1.0), (324, -1.0)])
    with pytest.raises(RequestError, match=r"lacks .*'half_cycle'.*prepare"):
        cycles(log)
    with pytest.raises(RequestError, match="working_electrode: 'anode'"):
        cycles(prepare(log), working_electrode="anode")  # type: ignore[arg-type]
    nothing = cycles(prepare(log.drop_vars("current")))
    assert nothing.sizes["cycle"] == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(40, 400), min_size=1, max_size=9),
    st.sampled_from([1.0, -1.0]),
    st.floats(1e-6, 1e2),
)
def test_capacities_add_up(rows: list[int], first: float, amperes: float) -> None:
    halves = [(count, first * amperes * (-1) ** at) for at, count in enumerate(rows)]
    log = cell(halves)
    log["voltage"] = 3 + (log["voltage"] - 3) / amperes
    log["voltage"].attrs["units"] = "V"
    prepared = prepare(log)
    table = cycles(prepared)
    expected = np.array(rows) * DT / 3600 * amperes
    up = expected[0::2] if first > 0 else expected[1::2]
    down = expected[1::2] if first > 0 else expected[0::2]
    np.testing.assert_allclose(table["charge_capacity"].values[: up.size], up, rtol=1e-9)
    np.testing.assert_allclose(table["discharge_capacity"].values[: down.size], down, rtol=1e-9)
    net = np.nansum(table["charge_capacity"]) - np.nansum(table["discharge_capacity"])
    assert net == pytest.approx(float(prepared["net_capacity"][-1]), rel=1e-9, abs=1e-12 * amperes)


@pytest.mark.shared_data
def test_real_neware(shared_data: Path) -> None:
    """Expected: the cycler's own capacity and energy, last row of each step, summed over CC and CV.

    Read from the file's capacity_mAh and energy_mWh with fastnda; the first charge began elsewhere.
    """
    path = shared_data / "formats" / "echem" / "neware" / "nw4-120-6-1-36.ndax"
    table = cycles(prepare(read(str(path))))
    mah = 1e3 * table["charge_capacity"].values
    assert mah == pytest.approx([4.682713, 37.753395, 37.856663, 37.915001, 37.986119], abs=1e-5)
    mah = 1e3 * table["discharge_capacity"].values
    assert mah == pytest.approx([38.302391, 37.992073, 37.933529, 37.962219, 38.024254], abs=1e-5)
    mwh = 1e3 * table["charge_energy"].values
    assert mwh == pytest.approx([19.643177, 150.003998, 150.415527, 150.80809, 151.184664], 2e-5)
    mwh = 1e3 * table["discharge_energy"].values
    assert mwh == pytest.approx([142.528366, 141.425461, 141.042709, 141.275406, 141.534622], 2e-5)
    assert flags(table) == [["unbalanced"], [], [], [], ["incomplete"]]


@pytest.mark.shared_data
def test_real_cell_that_starts_with_a_discharge(shared_data: Path) -> None:
    """Zn | MnO2, whose first half-cycle is the end of a discharge begun in the file before."""
    path = shared_data / "operando" / "xrd_zn_mno2_mspd" / "Echem" / "ZMO_D2_C03.mpr"
    table = cycles(prepare(read(str(path), tz="Europe/Madrid")))
    assert table.attrs["first_half_cycle"] == "discharge"
    assert flags(table)[0] == ["no_partner"]
    efficiency = table["coulombic_efficiency"].values
    given, put = table["discharge_capacity"].values, table["charge_capacity"].values
    assert efficiency[1:] == pytest.approx(given[1:] / put[:-1])
    assert 0.5 < efficiency[1] < 1
