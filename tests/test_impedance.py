"""Tracked resistances: against simulated truth, real cells, and what must be refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import operando
from operando.errors import RequestError
from operando.model import check, flag_names
from operando.observables import growth_law, track_resistance
from operando.observables.resistance_tracks import ASSESSMENT
from operando.simulate.impedance import (
    CABLE,
    FREQUENCY,
    Impedance,
    drifting,
    grown,
    noisy,
    point_times,
    series,
)

Array = npt.NDArray[np.float64]

HOURS: Array = np.arange(24.0)
GROWN = grown(HOURS, initial=5.0, rate=8.0, exponent=0.5)
CELL = Impedance(inductance=1e-7)


def sweeps(*, cell: Impedance = CELL, noise: float = 0.002, seed: int = 0) -> xr.Dataset:
    return series(HOURS, first_arc=GROWN, cell=cell, noise=noise, seed=seed)


def like(impedance: npt.NDArray[np.complex128]) -> xr.DataArray:
    """Sweeps (t, m) at the usual frequencies, an hour apart."""
    dataset = series(np.arange(float(len(impedance))), first_arc=np.ones(len(impedance)))
    return dataset["impedance"].copy(data=impedance)


def names(bits: xr.DataArray) -> list[list[str]]:
    return [flag_names(int(value), ASSESSMENT) for value in bits.values.ravel()]


def pulls(result: xr.Dataset, name: str, truth: Any) -> Array:
    off = (result[name] - truth) / result[f"{name}_sigma"]
    return np.asarray(off.values.ravel())


def test_the_simulated_series_keeps_the_contract_and_so_does_what_is_tracked() -> None:
    frames = check(sweeps())
    result = track_resistance(frames["impedance"], tail=True)
    assert result.sizes == {"time": 24, "arc": 2}
    assert {"time_start", "time_end"} <= set(result.coords)
    check(frames.merge(result, combine_attrs="override"))


def test_growth_is_followed_and_the_rest_stands_still() -> None:
    result = track_resistance(sweeps()["impedance"], tail=True)
    assert not result["resistance_assessment"].any()
    np.testing.assert_allclose(result["resistance"].sel(arc=1), GROWN, rtol=0.02)
    np.testing.assert_allclose(result["resistance"].sel(arc=2), 20.0, rtol=0.02)
    np.testing.assert_allclose(result["series_resistance"], 10.0, rtol=0.01)
    np.testing.assert_allclose(result["time_constant"].median("time"), [1e-4, 3e-2], rtol=0.02)
    np.testing.assert_allclose(result["cpe_exponent"].median("time"), [0.9, 0.87], atol=0.005)
    np.testing.assert_allclose(result["capacitance"].sel(arc=1), 1e-4 / GROWN, rtol=0.05)
    np.testing.assert_allclose(result["tail_amplitude"].median(), 8.0, rtol=0.03)
    np.testing.assert_allclose(result["tail_exponent"].median(), 0.7, atol=0.01)
    np.testing.assert_allclose(result["inductance"].median(), 1e-7, rtol=0.15)


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_every_sigma_is_calibrated(noise: float) -> None:
    """Exponents are shared within a series, so it is many short series that scatter freely."""
    hours = np.arange(6.0)
    first = grown(hours, initial=5.0, rate=8.0, exponent=0.5)
    truth = {
        "series_resistance": 10.0,
        "resistance": xr.DataArray(np.column_stack([first, 0 * first + 20]), dims=("time", "arc")),
        "time_constant": xr.DataArray([1e-4, 3e-2], dims="arc"),
        "cpe_exponent": xr.DataArray([0.9, 0.87], dims="arc"),
        "capacitance": xr.DataArray(
            np.column_stack([1e-4 / first, 0 * first + 1.5e-3]), dims=("time", "arc")
        ),
        "inductance": 3e-7,
        "tail_amplitude": 8.0,
        "tail_exponent": 0.7,
    }
    off: dict[str, list[Array]] = {name: [] for name in truth}
    for seed in range(120):
        data = series(
            hours,
            first_arc=first,
            cell=Impedance(inductance=3e-7),
            noise=noise,
            seed=seed,
        )
        result = track_resistance(data["impedance"], tail=True)
        for name, expected in truth.items():
            off[name].append(pulls(result.drop_vars(["time", "arc"]), name, expected))
    for name, several in off.items():
        pull = np.concatenate(several)
        assert np.isfinite(pull).mean() > 0.95, name
        # exponents have one value a series, so that only 120 of them are independent; noise that
        # lifts a point far above zero reactance takes it out, so that L is a little too small
        wide = name in ("cpe_exponent", "tail_exponent", "inductance")
        assert abs(np.nanstd(pull) - 1) < (0.15 if wide else 0.1), name
        assert abs(np.nanmean(pull)) < (0.5 if name == "inductance" else 0.2), name


@pytest.mark.parametrize(
    ("apart", "noise", "median", "largest"),
    [
        (2.5, 0.002, 0.1, 0.5),
        (2.5, 0.01, 0.4, 2),
        (1.5, 0.002, 0.2, 1),
        (1.5, 0.01, 1.1, 8),
        (1.0, 0.002, 0.5, 2.5),
        (1.0, 0.01, 2.4, 9),
    ],
)
def test_errors_are_those_of_the_published_table(
    apart: float, noise: float, median: float, largest: float
) -> None:
    """In percent, over 40 sweeps: a circuit fitted with the sweep before as a prior."""
    hours = np.arange(40.0)
    first = 5 + 45 * np.sqrt(hours / 39)
    cell = Impedance(time_constant=(1e-4, 1e-4 * 10**apart), exponent=(0.9, 0.866))
    errors = []
    for seed in range(3):
        data = series(hours, first_arc=first, cell=cell, noise=noise, seed=seed)
        found = track_resistance(data["impedance"], tail=True)["resistance"].sel(arc=1)
        errors.append(100 * np.abs(found.values / first - 1))
    assert np.isfinite(errors).mean() > 0.9
    assert np.median(np.nanmedian(errors, axis=1)) <= median
    assert np.median(np.nanmax(errors, axis=1)) <= largest


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_arcs_half_a_decade_apart_are_refused(noise: float) -> None:
    cell = Impedance(time_constant=(1e-4, 4e-4))
    result = track_resistance(sweeps(cell=cell, noise=noise)["impedance"], tail=True)
    assert np.isnan(result["resistance"]).mean() > 0.95
    overlap = result["resistance_assessment"] & ASSESSMENT["arcs_overlap"]
    assert np.mean(overlap.values != 0) > 0.9


def test_exponents_that_change_are_not_shared() -> None:
    clean = np.stack(
        [
            replace(CELL, exponent=(0.9 + 0.04 * np.sin(hour / 3), 0.87)).at(FREQUENCY)
            for hour in HOURS
        ]
    )
    result = track_resistance(like(noisy(clean, noise=0.002, seed=1)), tail=True)
    found = result["cpe_exponent"].sel(arc=1)
    np.testing.assert_allclose(found, 0.9 + 0.04 * np.sin(HOURS / 3), atol=0.02)
    np.testing.assert_allclose(result["resistance"].sel(arc=1), 10.0, rtol=0.05)


def test_band_resistance_needs_no_model() -> None:
    band, middle = (3.0, 3e5), 500.0
    result = track_resistance(sweeps()["impedance"], tail=True, band=band, middle=middle)
    truth = np.array(
        [
            replace(CELL, resistance=(first, 20.0)).at(np.array([*band, middle])).real
            for first in GROWN
        ]
    )
    # linear in log f between points an eighth of a decade apart
    np.testing.assert_allclose(result["band_resistance"], truth[:, 0] - truth[:, 1], rtol=0.01)
    np.testing.assert_allclose(result["resistance_mid"], truth[:, 2], rtol=0.01)
    assert result.attrs["band"] == band


def test_sigma_without_a_model_is_calibrated_on_the_points_of_the_sweep() -> None:
    clean = np.tile(CELL.at(FREQUENCY), (300, 1))
    for noise in (None, 0.004):
        result = track_resistance(
            like(noisy(clean, noise=0.004, seed=5)),
            tail=True,
            band=(float(FREQUENCY[8]), float(FREQUENCY[40])),
            middle=float(FREQUENCY[20]),
            noise=noise,
        )
        truth = CELL.at(FREQUENCY).real
        off = pulls(result, "band_resistance", truth[8] - truth[40])
        assert 0.9 < off.std() < 1.1
        assert 0.9 < pulls(result, "resistance_mid", truth[20]).std() < 1.1


BAND = np.array([8.5, 1e5])
CABLES = {
    "an arc beneath the inductance": CABLE,
    "an arc close to it": Impedance(
        series_resistance=9.0, inductance=2.9e-6, resistance=(6, 15), time_constant=(3e-6, 2e-2)
    ),
    "a fast arc that ends within": Impedance(
        series_resistance=3.0, inductance=3.5e-6, resistance=(11, 15), time_constant=(1e-7, 2e-2)
    ),
}


@pytest.mark.parametrize("name", list(CABLES))
@pytest.mark.parametrize("arcs", [1, 2])
def test_a_sweep_dominated_by_its_cable_is_refused_not_mis_fitted(name: str, arcs: int) -> None:
    cell = CABLES[name]
    at_the_top = cell.at(np.array([1e6]))[0]
    assert 8 < at_the_top.real < 12
    assert 14 < at_the_top.imag < 20
    hidden = np.linspace(8, 12)
    clean = np.stack([replace(cell, resistance=(r, 15)).at(FREQUENCY) for r in hidden])
    result = track_resistance(
        like(noisy(clean, noise=0.002, seed=1)), arcs=arcs, tail=True, band=(BAND[0], BAND[1])
    )
    first = result.sel(arc=1)
    assert np.isnan(first["resistance"]).all()
    assert np.isnan(first["series_resistance"]).all()
    for bits in (first["resistance_assessment"], first["series_resistance_assessment"]):
        assert all("inductive" in reason for reason in names(bits))
    low, high = np.array([replace(cell, resistance=(r, 15)).at(BAND).real for r in hidden]).T
    np.testing.assert_allclose(result["band_resistance"], low - high, rtol=0.03)


def test_an_inductance_far_above_the_arcs_disturbs_nothing() -> None:
    """A cell of milliohms: the reactance of the cable is ten times Z' at the top, and harmless."""
    cell = Impedance(
        series_resistance=0.02,
        inductance=1e-7,
        resistance=(0.01, 0.02),
        time_constant=(2e-3, 0.3),
        tail=0.004,
    )
    assert cell.at(np.array([1e6]))[0].imag > 10 * cell.series_resistance
    clean = np.tile(cell.at(FREQUENCY), (30, 1))
    result = track_resistance(like(noisy(clean, noise=0.002, seed=2)), tail=True)
    assert not result["resistance_assessment"].any()
    np.testing.assert_allclose(result["series_resistance"], 0.02, rtol=0.02)
    np.testing.assert_allclose(result["resistance"].median("time"), [0.01, 0.02], rtol=0.03)
    np.testing.assert_allclose(result["inductance"], 1e-7, rtol=0.1)


def test_arcs_outside_the_sweep_are_refused() -> None:
    frames = sweeps(cell=Impedance(time_constant=(1e-4, 3e-2)))
    cut = frames["impedance"].sel(frequency=slice(30.0, None))
    result = track_resistance(cut, tail=False)
    reasons = names(result["resistance_assessment"].sel(arc=2))
    assert all(bool({"out_of_band", "uncertain", "misfit"} & set(reason)) for reason in reasons)
    assert np.isnan(result["resistance"].sel(arc=2)).all()


def test_a_circuit_that_does_not_fit_is_refused_but_z_stays() -> None:
    result = track_resistance(sweeps()["impedance"], arcs=1, tail=False)
    assert np.isnan(result["resistance"]).all()
    assert all("misfit" in reason for reason in names(result["resistance_assessment"]))
    assert (result["residual"] > 0.02).all()
    assert np.isfinite(result["band_resistance"]).all()
    assert not result["assessment"].any()


def test_arcs_that_are_not_there_are_not_invented() -> None:
    single = Impedance(resistance=(20.0,), time_constant=(1e-3,), exponent=(0.9,), tail=5.0)
    clean = np.tile(single.at(FREQUENCY), (20, 1))
    result = track_resistance(like(noisy(clean, noise=0.003, seed=4)), arcs=2, tail=True)
    found = np.count_nonzero(np.isfinite(result["resistance"].values), axis=1)
    assert np.mean(found <= 1) >= 0.9


def test_a_drifting_sweep_keeps_its_numbers_and_its_flag() -> None:
    hours = point_times(FREQUENCY).max() / 3600
    clean = np.tile(drifting(CELL, FREQUENCY, per_hour=1 / hours), (5, 1))
    result = track_resistance(like(noisy(clean, noise=0.002, seed=0)), tail=True)
    assert all("kramers_kronig" in reason for reason in names(result["assessment"]))
    assert np.isfinite(result["band_resistance"]).all()
    assert (result["kramers_kronig_residual"] > 0.01).all()


def test_a_potential_that_moved_is_flagged_however_it_is_known() -> None:
    frames = sweeps()
    moved = np.where(HOURS == 3, 0.006, 0.004)
    expected = [["drift"] if hour == 3 else [] for hour in HOURS]
    potential = xr.zeros_like(frames["point_time"])
    potential[:, -1] = moved
    given = track_resistance(frames["impedance"], tail=True, potential=potential)
    assert names(given["assessment"]) == expected
    aligned = frames.assign_coords(
        voltage_min=("time", 3.7 + 0 * moved), voltage_max=("time", 3.7 + moved)
    )
    known = track_resistance(aligned["impedance"], tail=True)
    for name in ("assessment", "series_resistance_assessment"):
        assert names(known[name]) == expected
    assert np.isfinite(known["resistance"]).all()


def test_missing_points_are_left_out_and_empty_sweeps_flagged() -> None:
    impedance = sweeps()["impedance"].copy(deep=True)
    impedance[4, ::5] = complex(np.nan, np.nan)
    impedance[7] = complex(np.nan, np.nan)
    impedance[9, 6:] = complex(np.nan, np.nan)
    result = track_resistance(impedance, tail=True, band=(1.0, 2e5))
    good = np.delete(HOURS.astype(int), [7, 9])
    np.testing.assert_allclose(result["resistance"].sel(arc=1)[good], GROWN[good], rtol=0.03)
    for row in (7, 9):
        assert np.isnan(result["resistance"][row]).all()
        assert names(result["resistance_assessment"][row]) == [["no_points"]] * 2
        assert "no_points" in names(result["assessment"][row])[0]
    assert np.isfinite(result["band_resistance"][4])


def test_a_gap_in_frequency_is_not_interpolated_across() -> None:
    impedance = sweeps()["impedance"].copy(deep=True)
    impedance[2, (FREQUENCY > 20) & (FREQUENCY < 5000)] = complex(np.nan, np.nan)
    result = track_resistance(impedance, tail=True, middle=300.0)
    assert np.isnan(result["resistance_mid"][2])
    assert np.isfinite(np.delete(result["resistance_mid"].values, 2)).all()


@settings(max_examples=8, deadline=None)
@given(scale=st.floats(1e-4, 1e6), seed=st.integers(0, 20))
def test_resistances_scale_with_the_impedance_and_nothing_else_does(
    scale: float, seed: int
) -> None:
    impedance = sweeps(seed=seed)["impedance"].isel(time=slice(0, 8))
    one = track_resistance(impedance, tail=True)
    other = track_resistance(impedance * scale, tail=True)
    for name in ("resistance", "series_resistance", "band_resistance", "tail_amplitude"):
        np.testing.assert_allclose(other[name], one[name] * scale, rtol=2e-3)
    for name in ("time_constant", "cpe_exponent"):
        np.testing.assert_allclose(other[name], one[name], rtol=2e-3)
    xr.testing.assert_equal(other["resistance_assessment"], one["resistance_assessment"])


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(FREQUENCY.size)))
def test_the_order_of_frequencies_changes_nothing(order: list[int]) -> None:
    impedance = sweeps()["impedance"].isel(time=slice(0, 6))
    one = track_resistance(impedance, tail=True)
    xr.testing.assert_identical(one, track_resistance(impedance[:, order], tail=True))


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(10)))
def test_the_order_of_rows_changes_nothing(order: list[int]) -> None:
    impedance = sweeps()["impedance"].isel(time=slice(0, 10))
    one = track_resistance(impedance, tail=True)
    other = track_resistance(impedance[order], tail=True).sortby("time")
    xr.testing.assert_identical(one, other)


@pytest.mark.parametrize("chunks", [{"time": 5}, {"frequency": 11}, {"time": 7, "frequency": 20}])
def test_chunks_change_nothing_and_nothing_is_computed_early(chunks: dict[str, int]) -> None:
    impedance = sweeps()["impedance"]
    with dask.config.set(scheduler="synchronous"):
        lazy = track_resistance(impedance.chunk(chunks), tail=True)
        assert all(variable.chunks for variable in lazy.data_vars.values())
        xr.testing.assert_identical(lazy.compute(), track_resistance(impedance, tail=True))


def test_spots_visited_in_turn_are_series_of_their_own() -> None:
    one = sweeps(seed=1)["impedance"]
    other = sweeps(cell=Impedance(resistance=(1.0, 90.0)), seed=2)["impedance"]
    other = other.assign_coords(time=other["time"] + np.timedelta64(20, "m"))
    both = xr.concat(
        [
            one.assign_coords(position=("time", ["a"] * 24)),
            other.assign_coords(position=("time", ["b"] * 24)),
        ],
        "time",
        coords="different",
        compat="equals",
        join="outer",
    ).sortby("time")
    together = track_resistance(both, tail=True)
    for spot, alone in (("a", one), ("b", other)):
        mine = together["resistance"].values[together["position"].values == spot]
        np.testing.assert_array_equal(mine, track_resistance(alone, tail=True)["resistance"])


def test_the_law_of_growth_comes_back_from_the_sweeps() -> None:
    result = track_resistance(sweeps()["impedance"], tail=True).sel(arc=1)
    law = growth_law(result["resistance"], sigma=result["resistance_sigma"])
    assert float(law["exponent"]) == pytest.approx(0.5, abs=4 * float(law["exponent_sigma"]))
    assert float(law["exponent_sigma"]) < 0.02


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    points=st.integers(2, 40),
    spread=st.sampled_from([0.0, 1.0, 30.0, 300.0]),
    arcs=st.integers(1, 4),
    tail=st.booleans(),
)
def test_nonsense_is_measured_without_a_crash_and_hardly_believed(
    seed: int, points: int, spread: float, arcs: int, tail: bool
) -> None:
    """Random phases, moduli over hundreds of decades, holes: warnings are errors here."""
    rng = np.random.default_rng(seed)
    modulus = 10 ** rng.uniform(-spread, spread, (3, points))
    nonsense = modulus * np.exp(1j * rng.uniform(-np.pi, np.pi, (3, points)))
    nonsense[rng.uniform(size=nonsense.shape) < 0.2] = complex(np.inf, np.nan)
    frequency = np.sort(10 ** rng.uniform(-4, 8, points))
    time = like(np.ones((3, FREQUENCY.size), complex))["time"]
    result = track_resistance(
        xr.DataArray(nonsense, {"time": time, "frequency": frequency}, ("time", "frequency")),
        arcs=arcs,
        tail=tail,
    )
    assert np.mean(np.isfinite(result["resistance"].values)) < 0.5
    assert (result["resistance_assessment"].values[np.isnan(result["resistance"])] != 0).all()


def test_requests_that_make_no_sense_say_what_was_expected() -> None:
    impedance = sweeps()["impedance"]
    twice = impedance.assign_coords(frequency=np.append(FREQUENCY[:-1], FREQUENCY[0]))
    for wrong, options, message in (
        (impedance.rename(frequency="energy"), {}, "time and frequency"),
        (impedance.real, {}, "complex"),
        (twice, {}, "each once"),
        (impedance.isel(frequency=[0]), {}, "of some points"),
        (impedance, {"arcs": 5}, "1 to 4"),
        (impedance, {"band": (1.0, 1e9)}, "within 0.1-1e"),
        (impedance, {"band": (10.0, 1.0)}, r"\(low, high\)"),
        (impedance, {"middle": 1e9}, "within"),
        (impedance, {"noise": 2.0}, "between 0 and 1"),
        (impedance, {"potential": impedance.real.isel(time=0)}, "time and frequency"),
    ):
        arguments: dict[str, Any] = {"tail": True, **options}
        with pytest.raises(RequestError, match=message):
            track_resistance(wrong, **arguments)


@pytest.mark.shared_data
def test_a_real_cell_grows_over_71_days_as_its_sweeps_say(shared_data: Path) -> None:
    """R1 of an independent least-squares prototype, and R2 of its first and last sweep."""
    path = shared_data / "formats" / "echem" / "biologic" / "PEIS.mpr"
    frames = operando.read(path, technique="impedance", tz="Europe/Zurich")
    result = track_resistance(frames["impedance"], tail=True, potential=frames["potential"])
    result = result.compute()
    np.testing.assert_allclose(result["resistance"].sel(arc=1), [4.87, 11.2, 13.6, 14.7], rtol=0.05)
    np.testing.assert_allclose(result["resistance"].sel(arc=2)[[0, -1]], [4.7, 62.5], rtol=0.1)
    assert not result["assessment"].any()
    assert (result["residual"] < 0.008).all()
    assert (result["kramers_kronig_residual"] < 0.002).all()
    law = growth_law(result["resistance"].sel(arc=1), sigma=result["resistance_sigma"].sel(arc=1))
    assert int(law["assessment"]) == 1


@pytest.mark.shared_data
def test_real_exports_fit_to_two_percent_where_they_are_consistent(shared_data: Path) -> None:
    folder = shared_data / "formats" / "echem"
    noisy_export = operando.read(
        folder / "biologic" / "exampleDataBioLogic.mpt", technique="impedance", tz="UTC"
    )
    result = track_resistance(noisy_export["impedance"], arcs=1, tail=False).compute()
    assert result["residual"].item() < 0.02
    assert result["resistance"].item() == pytest.approx(48, rel=0.05)
    drifted = operando.read(
        folder / "gamry" / "exampleDataGamry.DTA", technique="impedance", tz="UTC"
    )["impedance"]
    above = track_resistance(drifted.sel(frequency=slice(0.3, None)), arcs=2, tail=False).compute()
    assert float(above["residual"].max()) < 0.02
    whole = track_resistance(drifted, arcs=2, tail=False).compute()
    assert names(whole["assessment"]) == [["kramers_kronig"]]
    assert np.isnan(whole["resistance"]).all()


def test_the_default_band_is_what_the_sweeps_have_in_common() -> None:
    """Sweeps of other frequencies share an axis that none of them covers."""
    whole = sweeps()["impedance"].isel(time=slice(0, 4))
    cut = whole.copy()
    cut[2, :5] = complex(np.nan, np.nan)
    cut[3, -5:] = complex(np.nan, np.nan)
    found = track_resistance(cut, tail=True).compute()
    frequency = whole["frequency"].values
    expected = track_resistance(
        whole, tail=True, band=(float(frequency[5]), float(frequency[-6]))
    ).compute()
    np.testing.assert_allclose(found["band_resistance"], expected["band_resistance"], rtol=1e-12)
    assert found.attrs["band"] == "common to the sweeps"


def test_another_unit_is_refused() -> None:
    impedance = sweeps()["impedance"]
    with pytest.raises(RequestError, match="units 'kohm'; expected 'ohm'"):
        track_resistance((impedance / 1000).assign_attrs(units="kohm"), tail=True)


def test_an_exponent_at_its_bound_is_flagged_and_keeps_its_number() -> None:
    """A line of slope one half, fitted by an arc: as depressed as any arc may be."""
    frequency = np.logspace(-1, 5, 49)
    warburg = (
        5
        + 40 * (2j * np.pi * frequency) ** -0.3
        + 20 / (1 + (2j * np.pi * frequency * 1e-3) ** 0.4)
    )
    noise = np.random.default_rng(5).normal(0, 1e-3, (2, 49))
    data = xr.DataArray(
        (warburg * (1 + noise[0] + 1j * noise[1]))[None],
        dims=("time", "frequency"),
        coords={"time": [np.datetime64("2026-05-04", "ns")], "frequency": frequency},
        name="impedance",
        attrs={"units": "ohm"},
    )
    found = track_resistance(data, arcs=1, tail=True).compute()
    assert found["cpe_exponent"].item() == pytest.approx(0.5, abs=1e-9)
    assert found["resistance_assessment"].item() & ASSESSMENT["at_bound"]
