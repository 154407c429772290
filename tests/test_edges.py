"""Edge tracking against synthetic truth, simulation of its error bars, and real experiments."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.errors import RequestError
from operando.model import flag_names
from operando.observables.edge_plan import other_ranges
from operando.observables.edge_series import JITTER, WANDER, WANDER_HOURS, unreferenced
from operando.observables.edges import ASSESSMENT, CAUTIONS, METHODS, track_edge

Array = npt.NDArray[np.float64]

E0 = 7112.0
ENERGY = np.r_[np.arange(6950.0, 7090, 2), np.arange(7090, 7150, 0.25), np.arange(7150, 7700, 1.5)]
RANGES: dict[str, Any] = {"pre": (-150, -40), "post": (80, 500)}
HOUR = np.timedelta64(3600, "s")


def edge(energy: Array, centre: float = E0) -> Array:
    """An arctan step and a Gaussian white line, of step one."""
    rise = np.arctan((energy - centre) / 1.5) / np.pi + 0.5
    return np.asarray(rise + 0.6 * np.exp(-(((energy - centre - 4) / 3) ** 2)))


def wrap(mu: Array, energy: Array = ENERGY, *, seconds: float = 60, **on_time: Any) -> xr.DataArray:
    mu = np.atleast_2d(mu)
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    step = np.timedelta64(round(seconds * 1e9), "ns")
    return xr.DataArray(
        mu,
        dims=("time", "energy"),
        coords={
            "time": start + np.arange(len(mu)) * step,
            "energy": ("energy", energy, {"units": "eV"}),
            "voltage": ("time", np.linspace(3, 4, len(mu)), {"units": "V"}),
            **{name: ("time", np.asarray(values)) for name, values in on_time.items()},
        },
        name="mu",
    )


def names(value: int, *, cautions: bool = True) -> set[str]:
    """Name the bits; that no reference channel was given is left out."""
    told = value if cautions else value & ~CAUTIONS
    return set(flag_names(told, ASSESSMENT)) - {"drift_unreferenced"}


def fine_truth(centre: float, level: float, band: tuple[float, float]) -> tuple[float, float]:
    """Half-height by bisection and mean energy over mu by summing E dmu, on a grid of 0.1 meV."""
    energy = np.arange(centre - 25, centre + 4, 1e-4)
    values = edge(energy, centre)
    half = float(np.interp(level, values, energy))
    inside = (values >= band[0]) & (values <= band[1])
    weight = np.gradient(values)[inside]
    return half, float(np.sum(weight * energy[inside]) / weight.sum())


@pytest.mark.parametrize(("method", "which"), [("half", 0), ("integral", 1), ("matched", 1)])
def test_energies_of_a_known_edge(method: str, which: int) -> None:
    fine = np.arange(E0 - 200, E0 + 500, 0.02)
    result = track_edge(wrap(edge(fine), fine), method=method, e0=E0, pre=None, post=None)
    truth = fine_truth(E0, 0.5, (0.15, 1.0))[which]
    assert result["edge_energy"].item() == pytest.approx(truth, abs=1e-4)
    assert result["white_line"].item() == pytest.approx(edge(fine).max(), abs=1e-9)
    assert not {"edge_step", "edge_step_sigma", "step_change"} & set(result)
    assert np.isnan(result["edge_sigma_norm"].item())
    assert names(result["assessment"].item()) == set()


@given(shift=st.floats(-0.4, 0.4), method=st.sampled_from(METHODS))
@settings(deadline=None)
def test_a_shift_below_the_grid_is_recovered(shift: float, method: str) -> None:
    mu = wrap(np.stack([edge(ENERGY, E0), edge(ENERGY, E0 + shift)]))
    result = track_edge(mu, method=method, e0=E0, pre=None, post=None, baseline=1)
    assert result["edge_shift"].values == pytest.approx([0, shift], abs=0.02 * 0.25)


@given(shift=st.floats(-500, 500), scale=st.floats(0.05, 20), method=st.sampled_from(METHODS))
@settings(max_examples=25, deadline=None)
def test_equivariant_under_shift_and_invariant_under_scale(
    shift: float, scale: float, method: str
) -> None:
    rng = np.random.default_rng(1)
    mu = 2 + 0.7 * edge(ENERGY) + 1e-3 * rng.standard_normal((3, ENERGY.size))
    plain = track_edge(wrap(mu), method=method, e0=E0, **RANGES)
    moved = track_edge(wrap(scale * mu, ENERGY + shift), method=method, e0=E0 + shift, **RANGES)
    np.testing.assert_allclose(moved["edge_energy"] - shift, plain["edge_energy"], atol=1e-6)
    for name in ("edge_shift", "edge_sigma_stat", "edge_sigma_norm", "rigid_chi2", "step_change"):
        np.testing.assert_allclose(moved[name], plain[name], rtol=1e-4, atol=1e-6, err_msg=name)
    for name in ("edge_step", "edge_step_sigma"):
        np.testing.assert_allclose(moved[name], scale * plain[name], rtol=1e-8)
    np.testing.assert_allclose(moved["white_line"], plain["white_line"], rtol=1e-8)


def simulated(count: int, noise: float | Array, seed: int = 5) -> tuple[xr.DataArray, Array]:
    """Return noisy copies of an edge, each shifted by up to half a grid step, and the shifts."""
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-0.125, 0.125, count)
    shapes = np.stack([edge(ENERGY, E0 + one) for one in shift])
    mu = 1.4 - 3e-4 * (ENERGY - E0) + 0.8 * shapes
    return wrap(mu + noise * rng.standard_normal(mu.shape)), shift


@pytest.mark.parametrize("noise", [1e-3, 4e-3])
@pytest.mark.parametrize("method", METHODS)
def test_injected_shifts_have_no_bias_and_the_scatter_that_is_predicted(
    method: str, noise: float
) -> None:
    mu, shift = simulated(2000, noise)
    result = track_edge(mu, method=method, e0=E0, **RANGES, baseline=200)
    error = result["edge_shift"].values - (shift - shift[:200].mean())
    pulls = error / result["edge_sigma_stat"].values
    later = slice(200, None)
    assert abs(np.mean(error)) < 0.02 * 0.25
    assert 0.9 < pulls[later].std() < 1.1
    assert 0.9 < pulls[:200].std() < 1.1  # frames that are part of the baseline
    predicted = float(result["edge_sigma_stat"][later].median())
    assert error[later].std() / predicted == pytest.approx(1, abs=0.2)
    stretch = np.polyfit(shift, result["edge_shift"].values, 1)[0]
    assert stretch == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("given_sigma", [True, False])
def test_pulls_of_step_and_energy(given_sigma: bool) -> None:
    rng = np.random.default_rng(9)
    truth = 1.4 - 3e-4 * (ENERGY - E0) + 0.8 * edge(ENERGY)
    mu = wrap(truth + 2e-3 * rng.standard_normal((2000, ENERGY.size)))
    clean = track_edge(wrap(truth), e0=E0, **RANGES, sigma=1.0)
    result = track_edge(mu, e0=E0, **RANGES, sigma=2e-3 if given_sigma else None)
    own = result["edge_sigma_stat"] * np.sqrt(3 / 4)  # without the baseline of three frames
    for name, sigma in (("edge_energy", own), ("edge_step", result["edge_step_sigma"])):
        pulls = (result[name] - clean[name].item()) / sigma
        assert 0.9 < float(pulls[3:].std()) < 1.1, name
        assert abs(float(pulls.mean())) < 0.15, name


def test_pulls_with_noise_that_differs_from_point_to_point() -> None:
    profile = 2e-3 * (1 + (np.abs(ENERGY - E0) > 60))
    mu, shift = simulated(2000, profile)
    sigma = xr.DataArray(profile, dims="energy")
    for method in METHODS:
        result = track_edge(mu, method=method, e0=E0, **RANGES, sigma=sigma, baseline=200)
        error = result["edge_shift"].values - (shift - shift[:200].mean())
        assert 0.9 < (error / result["edge_sigma_stat"].values)[200:].std() < 1.1, method
        whole = track_edge(
            mu, method=method, e0=E0, **RANGES, sigma=sigma.broadcast_like(mu), baseline=200
        )
        xr.testing.assert_allclose(whole, result, rtol=1e-9)


def test_sigma_of_half_height_is_the_published_formula_when_normalised() -> None:
    mu = wrap(np.stack([edge(ENERGY)] * 3))
    result = track_edge(mu, method="half", e0=E0, pre=None, post=None, sigma=1e-3, baseline=2)
    half = result["edge_energy"][0].item()
    at = int(np.searchsorted(ENERGY, half)) - 1
    width = ENERGY[at + 1] - ENERGY[at]
    slope = (edge(ENERGY)[at + 1] - edge(ENERGY)[at]) / width
    fraction = (half - ENERGY[at]) / width
    own = 1e-3 * np.hypot(1 - fraction, fraction) / slope
    # against the mean of two: one that is half of it, and one that is not in it
    expected = own * np.sqrt([0.5, 0.5, 1.5])
    assert result["edge_sigma_stat"].values == pytest.approx(expected, rel=1e-9)


def test_sigma_may_differ_between_spectra() -> None:
    mu = wrap(np.stack([edge(ENERGY)] * 3))
    sigma = xr.DataArray([1e-3, 1e-3, 3e-3], dims="time", coords={"time": mu["time"]})
    result = track_edge(mu, e0=E0, **RANGES, sigma=sigma, baseline=1)
    found = result["edge_sigma_stat"].values
    assert found[0] == 0  # it is the baseline
    assert found[2] / found[1] == pytest.approx(np.sqrt((1 + 9) / (1 + 1)))


def test_spread_over_ranges_is_that_of_nine_runs() -> None:
    rng = np.random.default_rng(4)
    bent = np.linspace(0, 1, 6)[:, None] * (3e-7 * (ENERGY - E0) ** 2 * (ENERGY > E0))
    beyond = np.maximum(ENERGY - E0, 0)
    waves = np.sin(rng.uniform(1.9, 2.1, (6, 1)) * np.sqrt(beyond)) * np.exp(-beyond / 150)
    mu = wrap(1 + edge(ENERGY) + bent + 0.1 * waves)
    befores, afters = other_ranges(RANGES["pre"], RANGES["post"])
    for method, precision in (("half", 1e-9), ("integral", 1e-9), ("matched", 0.02)):
        result = track_edge(mu, method=method, e0=E0, **RANGES)
        runs = np.stack(
            [
                track_edge(mu, method=method, e0=E0, pre=pre, post=post)["edge_shift"].values
                for pre in befores
                for post in afters
            ]
        )
        expected = runs.std(axis=0, ddof=1)
        # matched: the lines enter to first order
        np.testing.assert_allclose(
            result["edge_sigma_norm"], expected, rtol=precision, atol=2e-4 * (precision > 1e-3)
        )
        assert expected.max() > 1e-3 or method == "matched"
        parts = [result[f"edge_sigma_{part}"] for part in ("stat", "drift", "norm")]
        total = np.sqrt(sum(part**2 for part in parts))
        np.testing.assert_allclose(result["edge_shift_sigma"], total, rtol=1e-12)


def test_what_all_frames_share_is_no_uncertainty_of_the_shift() -> None:
    mu = wrap(np.stack([1 + edge(ENERGY) + 0.05 * np.sin(ENERGY / 20)] * 5))
    result = track_edge(mu, e0=E0, **RANGES, sigma=1e-4)
    assert float(result["edge_sigma_norm"].max()) < 1e-9
    assert float(result["edge_energy_sigma"].min()) > 0.01 + JITTER


def foil_series(seed: int, count: int = 150) -> tuple[xr.DataArray, xr.DataArray, Array]:
    """Return sample and foil with a common drift of the energy scale, and the sample's shift."""
    rng = np.random.default_rng(seed)
    hours = np.arange(count) / 6
    drift = 0.3 * np.sin(hours / 4) + 0.05 * rng.standard_normal(count)
    shift = np.where(hours > 10, -0.2, 0.0)
    sample = np.stack([edge(ENERGY, E0 + d + s) for d, s in zip(drift, shift, strict=True)])
    foil = np.stack([edge(ENERGY, E0 - 2 + d) for d in drift])
    noisy = [one + 3e-3 * rng.standard_normal(one.shape) for one in (1 + sample, 2 + foil)]
    return wrap(noisy[0], seconds=600), wrap(noisy[1], seconds=600).rename("foil"), shift


@pytest.mark.parametrize("method", METHODS)
def test_the_foil_takes_drift_off_and_its_sigma_is_right(method: str) -> None:
    pulls = []
    for seed in range(4):
        mu, foil, shift = foil_series(seed)
        raw = track_edge(mu, method=method, e0=E0, **RANGES, baseline=30)
        result = track_edge(mu, method=method, e0=E0, **RANGES, baseline=30, reference=foil)
        assert np.ptp(raw["edge_shift"].values[:60]) > 0.3
        assert not result["assessment"].any()
        np.testing.assert_allclose(
            result["edge_energy"], raw["edge_energy"] - result["energy_correction"], atol=1e-9
        )
        both = np.hypot(result["edge_sigma_stat"].values, result["edge_sigma_drift"].values)
        pulls.append(((result["edge_shift"].values - shift) / both)[30:])
    assert np.std(pulls) == pytest.approx(1, abs=0.1)
    assert abs(np.mean(pulls)) < 0.5  # the baseline is one error common to a series


def test_energies_corrected_before_keep_their_sigma() -> None:
    rng = np.random.default_rng(0)
    count = 400
    off = 0.02 * rng.standard_normal(count)
    shapes = np.stack([edge(ENERGY, E0 + one) for one in off])
    mu = wrap(
        1 + shapes,
        energy_correction=np.linspace(0, 1, count),
        energy_correction_sigma=np.full(count, 0.02),
    )
    result = track_edge(mu, e0=E0, **RANGES, sigma=1e-5, baseline=50)
    assert not np.any(result["assessment"].values & ASSESSMENT["drift_unreferenced"])
    pulls = result["edge_shift"].values / result["edge_sigma_drift"].values
    assert pulls[50:].std() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(result["energy_correction"], mu["energy_correction"])
    assert "corrected before" in result.attrs["energy_scale"]


def test_a_frame_whose_foil_is_lost_has_no_energy() -> None:
    mu, foil, _ = foil_series(1, count=6)
    foil[2] = np.nan
    result = track_edge(mu, e0=E0, **RANGES, reference=foil)
    lost = result["assessment"].values & ASSESSMENT["drift_unreferenced"] != 0
    assert lost.tolist() == [False, False, True, False, False, False]
    assert np.isnan(result["edge_energy"].values).tolist() == lost.tolist()
    assert np.isfinite(result["edge_shift"].values).tolist() == (~lost).tolist()


def test_without_a_foil_sigma_is_that_of_a_wandering_scale() -> None:
    """Scales with the jitter and random walk of the model: pulls of one, baseline and all."""
    rng = np.random.default_rng(3)
    hours = np.sort(rng.uniform(0, 40, 80))
    base = np.array([3, 4, 5, 30])
    steps = rng.standard_normal((4000, 80)) * np.sqrt(np.diff(hours, prepend=0) / WANDER_HOURS)
    scale = WANDER * np.cumsum(steps, axis=1)
    found = scale - scale[:, base].mean(axis=1, keepdims=True)
    predicted = np.sqrt(unreferenced(hours, hours[base]))
    np.testing.assert_allclose(found.std(axis=0) / predicted, 1, atol=0.06)
    frames = wrap(np.stack([edge(ENERGY)] * 9), seconds=3600)
    result = track_edge(frames, e0=E0, pre=None, post=None, baseline=1, sigma=1e-6)
    expected = np.sqrt(2 * JITTER**2 + WANDER**2 / WANDER_HOURS * np.arange(1, 9))
    np.testing.assert_allclose(result["edge_sigma_drift"][1:], expected, rtol=1e-9)
    assert result["edge_sigma_drift"][0].item() == 0
    assert np.all(result["assessment"].values & ASSESSMENT["drift_unreferenced"])


def test_positions_have_their_own_baseline() -> None:
    centres = E0 + np.array([0, 1.0, 0, 1.0, -0.2, 1.3])
    places = ["bulk", "interface"] * 3
    mu = wrap(np.stack([edge(ENERGY, one) for one in centres]), position=places)
    result = track_edge(mu, e0=E0, pre=None, post=None, baseline=2)
    assert result["edge_shift"].values == pytest.approx([0, 0, 0, 0, -0.2, 0.3], abs=0.005)
    assert result.attrs["baseline"] == "the mean of the first 2 frames of each position"


def test_the_baseline_may_be_a_slice_or_a_spectrum() -> None:
    centres = E0 + np.array([0.0, 0.1, 0.2, 0.3])
    mu = wrap(np.stack([1 + edge(ENERGY, one) for one in centres]))
    by_slice = track_edge(mu, e0=E0, **RANGES, baseline=slice(1, 3))
    assert by_slice["edge_shift"].values == pytest.approx(centres - E0 - 0.15, abs=0.005)
    assert by_slice.attrs["baseline"] == "the mean of frames 1 up to 3"
    standard = mu.isel(time=1, drop=True).rename("standard")
    for method in METHODS:
        result = track_edge(mu, method=method, e0=E0, **RANGES, baseline=standard)
        assert result["edge_shift"].values == pytest.approx(centres - E0 - 0.1, abs=0.005)
        assert result["step_change"].values == pytest.approx(0, abs=1e-3)
        assert result.attrs["baseline"] == "the spectrum standard"


def test_a_bad_frame_is_left_out_of_the_baseline() -> None:
    good = np.stack([1 + edge(ENERGY, E0 + one) for one in (0, 0, 0.1)])
    good[0, 150] = np.nan
    result = track_edge(wrap(good), e0=E0, **RANGES, baseline=2)
    assert np.isnan(result["edge_shift"].values).tolist() == [True, False, False]
    assert result["edge_shift"][2].item() == pytest.approx(0.1, abs=0.005)
    good[1, 150] = np.nan
    result = track_edge(wrap(good), e0=E0, **RANGES, baseline=2)
    assert "no_baseline" in names(int(result["assessment"][2]))
    assert np.isnan(result["edge_shift"].values).all()
    assert np.isfinite(result["edge_energy"][2].item())


def test_chi_square_tells_a_shift_from_a_new_phase() -> None:
    rng = np.random.default_rng(6)
    rigid = np.stack([edge(ENERGY, E0 - 0.05 * i) * (1 + 0.01 * i) for i in range(10)])
    mixed = rigid[0] + np.linspace(0, 0.3, 10)[:, None] * (edge(ENERGY, E0 - 4) - rigid[0])
    for spectra, alike in ((rigid, True), (mixed, False)):
        noise = 2e-3 * rng.standard_normal((400, ENERGY.size))
        noisy = wrap(1 + np.repeat(spectra, 40, axis=0) + noise)
        chi2 = track_edge(noisy, e0=E0, **RANGES, baseline=40)["rigid_chi2"].values
        assert chi2[:40].mean() == pytest.approx(1, abs=0.05)
        assert (chi2[-40:].mean() < 1.3) == alike


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7}, {"time": 5, "energy": 100}])
@pytest.mark.parametrize("method", METHODS)
def test_chunks_do_not_matter_to_the_last_bit(chunks: dict[str, int], method: str) -> None:
    mu, _ = simulated(23, 1e-3)
    mu = mu.assign_coords(position=("time", ["a", "b", "b"] * 7 + ["a", "b"]))
    mu = mu.assign_coords(net_capacity=("time", np.sin(np.arange(23))))
    whole = track_edge(mu, method=method, e0=E0, **RANGES)
    lazy = track_edge(mu.chunk(chunks), method=method, e0=E0, **RANGES)
    assert all(v.chunks for name, v in lazy.data_vars.items() if name != "energy_correction")
    xr.testing.assert_identical(lazy.compute(), whole)


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    mu, _ = simulated(6, 1e-3)
    with dask.config.set(scheduler=refuse):
        track_edge(mu.chunk({"time": 2}), e0=E0, **RANGES)
        track_edge(mu.chunk({"time": 2}), e0=E0, **RANGES, baseline=mu.chunk()[0].drop_vars("time"))


def test_shuffled_transposed_and_single_precision_input() -> None:
    mu, _ = simulated(12, 1e-3)
    plain = track_edge(mu, e0=E0, **RANGES)
    order = np.random.default_rng(0).permutation(12)
    shuffled = track_edge(mu.isel(time=order), e0=E0, **RANGES)
    xr.testing.assert_identical(shuffled.sortby("time"), plain)
    xr.testing.assert_identical(track_edge(mu.transpose(), e0=E0, **RANGES), plain)
    single = track_edge(mu.astype(np.float32), e0=E0, **RANGES)
    np.testing.assert_allclose(single["edge_energy"], plain["edge_energy"], atol=1e-3)


def test_contract() -> None:
    mu, _ = simulated(4, 1e-3)
    result = track_edge(mu, e0=E0, **RANGES)
    assert list(result["voltage"].dims) == ["time"]
    assert result["assessment"].dtype == np.int32
    assert result["assessment"].attrs["flag_meanings"].split() == list(ASSESSMENT)
    assert result["assessment"].attrs["cautions"] == CAUTIONS
    for name in ("edge_energy", "edge_shift", "white_line", "edge_step"):
        assert result[name].attrs["ancillary_variables"] == f"{name}_sigma"
    in_volts = {str(name) for name, one in result.data_vars.items() if one.attrs["units"] == "eV"}
    assert in_volts == {
        *("edge_energy", "edge_energy_sigma", "edge_shift", "edge_shift_sigma"),
        *("edge_sigma_stat", "edge_sigma_drift", "edge_sigma_norm", "energy_correction"),
    }
    assert all(one.attrs["units"] in ("1", "eV") for one in result.data_vars.values())
    assert all(str(name).removesuffix("_sigma") in result for name in result.data_vars)
    expected = {"signal": "mu", "e0": E0, "method": "integral", "degree": 2} | RANGES
    assert {key: result.attrs[key] for key in expected} == expected
    assert "reduction" in result.attrs["sign"]
    assert result.attrs["software"].startswith("operando ")
    assert result.attrs["baseline"] == "the mean of the first 3 frames"
    assert "not tested" in result.attrs["dose"]
    assert len(set(ASSESSMENT.values())) == len(ASSESSMENT)


def test_preedge_peak_above_the_level_is_said_and_not_followed() -> None:
    peak = 0.8 * np.exp(-(((ENERGY - E0 + 12) / 1.5) ** 2))
    mu = wrap(edge(ENERGY) + peak)
    result = track_edge(mu, method="half", e0=E0, pre=None, post=None)
    assert names(result["assessment"].item(), cautions=False) >= {"preedge_above_level"}
    half, _ = fine_truth(E0, 0.5, (0.15, 1.0))
    assert result["edge_energy"].item() == pytest.approx(half, abs=0.05)
    matched = track_edge(mu, method="matched", e0=E0, pre=None, post=None)
    assert names(matched["assessment"].item(), cautions=False) == set()


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_noise_raises_no_flag(seed: int) -> None:
    noise = 0.02 * np.random.default_rng(seed).standard_normal((40, ENERGY.size))
    mu = wrap(1 + edge(ENERGY) + noise)
    result = track_edge(mu, e0=E0, **RANGES)
    assert {name for value in result["assessment"].values for name in names(int(value))} == set()


def test_every_bad_measurement_is_a_flagged_nan() -> None:
    good = 1 + edge(ENERGY)
    middle, tail, dead = good.copy(), good.copy(), np.full_like(good, np.nan)
    middle[np.abs(ENERGY - E0).argmin()] = np.nan
    tail[ENERGY > 7300] = np.nan
    flat = np.ones_like(good)
    weak = np.where(np.arange(good.size) % 2, 1e-9, -1e-9) + 1 + 1e-3 * (ENERGY > 7300)
    mu = wrap(np.stack([good, middle, tail, dead, 3 - good, flat, weak]))
    for method in METHODS:
        result = track_edge(mu, method=method, e0=E0, **RANGES, sigma=1e-3)
        found = [names(value) for value in result["assessment"].values.tolist()]
        assert found[0] == set()
        for value, expected in zip(
            found[1:5],
            ({"nonfinite"}, {"nonfinite", "partial_scan"}, {"nonfinite"}, {"negative_step"}),
            strict=True,
        ):
            assert value - {"step_changed"} == expected
        bad = result["assessment"].values & ~CAUTIONS != 0
        assert bad.tolist() == [False] + [True] * 6
        for name in ("edge_energy", "edge_shift"):
            assert np.isnan(result[name].values).tolist()[:5] == [False] + [True] * 4
            assert not np.isinf(result[f"{name}_sigma"].values).any()


def test_an_edge_that_does_not_reach_the_band_has_no_mean_energy() -> None:
    low = wrap(0.9 * (np.arctan((ENERGY - E0) / 1.5) / np.pi + 0.5))
    result = track_edge(low, e0=E0, pre=None, post=None)
    assert names(result["assessment"].item()) == {"no_crossing", "no_baseline"}
    assert np.isnan(result["edge_energy"].item())
    half = track_edge(low, method="half", e0=E0, pre=None, post=None)
    assert np.isfinite(half["edge_energy"].item())


def test_a_shape_that_is_not_the_baseline_upside_down_or_far_off_has_no_match() -> None:
    mu = wrap(np.stack([edge(ENERGY), edge(ENERGY), edge(ENERGY, E0 + 24)]))
    result = track_edge(mu, method="matched", e0=E0, pre=None, post=None, baseline=2)
    assert names(int(result["assessment"][2])) == {"no_match"}
    assert np.isnan(result["edge_shift"][2].item())


def test_ranges_that_the_data_do_not_fill_are_said() -> None:
    mu = wrap(1 + edge(ENERGY))
    for pre, post in (((-150, -40), (80, 900)), ((-60, -40), (80, 500)), ((-150, -40), (50, 110))):
        result = track_edge(mu, e0=E0, pre=pre, post=post, degree=1)
        assert names(result["assessment"].item()) == {"short_range"}
        assert np.isfinite(result["edge_energy"].item())


def test_interpolated_points_and_a_changed_step_are_cautions() -> None:
    thicker = np.array([1, 1, 1, 1.015, 1.03])[:, None] * edge(ENERGY)
    mu = wrap(thicker, glitches=[0, 3, 0, 0, 0])
    result = track_edge(mu, e0=E0, **RANGES, sigma=1e-4)
    found = [names(int(value)) for value in result["assessment"].values]
    assert found == [set(), {"glitch"}, set(), set(), {"step_changed"}]
    assert result["step_change"].values == pytest.approx([0, 0, 0, 0.015, 0.03], abs=1e-9)
    noisy = track_edge(mu, e0=E0, **RANGES, sigma=0.1)  # 3 % is within this noise
    assert not np.any(noisy["assessment"].values & ASSESSMENT["step_changed"])


@pytest.mark.parametrize("driven", ["dose", "charge"])
def test_a_shift_that_follows_the_beam_is_a_caution(driven: str) -> None:
    """One spot rests in the beam while the other cycles; both see the same exposures."""
    rng = np.random.default_rng(2)
    count = 120
    charge = np.abs(((np.arange(count) / 30) % 2) - 1)
    dose = np.arange(count) / count
    shift = -0.5 * (dose if driven == "dose" else charge)
    spectra = np.stack([edge(ENERGY, E0 + one) for one in shift])
    mu = wrap(
        1 + spectra + 1e-3 * rng.standard_normal(spectra.shape),
        net_capacity=np.where(dose > 0.5, charge[60], charge),
        exposure=np.full(count, 30.0),
        energy_correction=np.zeros(count),
        energy_correction_sigma=np.full(count, 0.005),
    )
    result = track_edge(mu, e0=E0, **RANGES)
    flagged = result["assessment"].values & ASSESSMENT["dose_correlated"] != 0
    assert flagged.all() == (driven == "dose")
    assert flagged.any() == (driven == "dose")
    assert result.attrs["dose"] == "tested"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pre": None}, "give both"),
        ({"level": 0.1}, r"level: 0.1; expected inside the band \(0.15, 1.0\)"),
        ({"e0": 9000.0}, "window"),
        ({"e0": float("nan")}, "e0: nan"),
        ({"pre": (-400, -300)}, "pre .*0 points"),
        ({"method": "derivative"}, "method: 'derivative'; expected 'integral' or 'half'"),
        ({"baseline": 0}, "baseline: 0"),
        ({"baseline": slice(50, 60)}, "selects none of 1 frames"),
        ({"baseline": slice("a", "b")}, "baseline: .*numbers of frames"),
        ({"window": 30.0}, "window: 30.0"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        track_edge(wrap(edge(ENERGY)), **({"e0": E0} | RANGES | changed))


def test_an_axis_that_is_not_energy_is_refused() -> None:
    mu = wrap(edge(ENERGY))
    with pytest.raises(RequestError, match="energy axis"):
        track_edge(mu.rename(energy="pixel"), e0=E0, **RANGES)
    with pytest.raises(RequestError, match="not ascending"):
        track_edge(wrap(edge(ENERGY)[::-1], ENERGY[::-1]), e0=E0, **RANGES)
    kilo = mu.assign_coords(energy=("energy", ENERGY / 1e3, {"units": "keV"}))
    with pytest.raises(RequestError, match="energy: in 'keV'; expected 'eV'"):
        track_edge(kilo, e0=E0, **RANGES)


def test_other_frames_and_energies_are_refused() -> None:
    mu = wrap(np.stack([1 + edge(ENERGY)] * 12))
    with pytest.raises(RequestError, match="reference: other times"):
        track_edge(mu, e0=E0, **RANGES, reference=mu[:-1])
    with pytest.raises(RequestError, match="baseline: other energies"):
        track_edge(mu, e0=E0, **RANGES, baseline=mu[0, :-1].drop_vars("time"))
    before = mu.assign_coords(energy_correction=("time", np.zeros(12)))
    with pytest.raises(RequestError, match="corrected before"):
        track_edge(before, e0=E0, **RANGES, reference=mu)
    with pytest.raises(RequestError, match="without energy_correction_sigma"):
        track_edge(before, e0=E0, **RANGES)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="session")
def nickelate(shared_data: Path) -> xr.Dataset:
    """LiNiO2 and the Ni foil behind it at two spots, in order of time."""
    files = sorted((shared_data / "operando/xas_ni_lno_rock/XAS_normalized").glob("*.txt"))
    frames = []
    for file in files:
        head = file.read_text(encoding="latin-1")
        start = re.search(r"#Time at start=(\S+) (\S+)", head)
        since = re.search(r"#Time from start \(seconds\)=\s*(\S+)", head)
        assert start is not None
        assert since is not None
        at = np.datetime64(f"{start[1]}T{start[2]}", "ns")
        at += np.timedelta64(round(float(since[1]) * 1e9), "ns")
        frames.append((at, file, np.loadtxt(file, encoding="latin-1", usecols=(0, 1, 2))))
    frames.sort(key=lambda frame: frame[0])
    spectra = np.stack([frame[2] for frame in frames])
    return xr.Dataset(
        {
            "mu": (("time", "energy"), spectra[:, :, 1]),
            "foil": (("time", "energy"), spectra[:, :, 2]),
        },
        {
            "time": [frame[0] for frame in frames],
            "energy": ("energy", spectra[0, :, 0], {"units": "eV"}),
            "position": ("time", [frame[1].name.split("_")[3] for frame in frames]),
            "file": ("time", [frame[1].name for frame in frames]),
        },
    )


@pytest.mark.shared_data
def test_lithium_nickel_oxide_agrees_with_its_reference(
    nickelate: xr.Dataset, shared_data: Path
) -> None:
    folder = shared_data / "operando" / "xas_ni_lno_rock"
    rows = {row["file"]: row for row in table(folder / "reference" / "rock_lno_reference.csv")}
    result = track_edge(nickelate["mu"], method="half", e0=8345.0, pre=None, post=None)
    assert result.sizes["time"] == 230
    files = nickelate["file"].values.tolist()
    expected = [float(rows[file]["E_half_step_eV"]) for file in files]
    np.testing.assert_allclose(result["edge_energy"], expected, atol=0.001)
    peak = [float(rows[file]["whiteline_max"]) for file in files]
    np.testing.assert_allclose(result["white_line"], peak, atol=1e-4)
    assert not (result["assessment"].values & ~CAUTIONS).any()
    assert float(result["edge_sigma_stat"].median()) < 0.003


@pytest.mark.shared_data
@pytest.mark.parametrize("method", ["half", "integral"])
def test_lithium_nickel_oxide_breathes_by_a_volt_and_a_half(
    nickelate: xr.Dataset, method: str
) -> None:
    """Published: 1.45 +- 0.08 eV, spots 0.015 +- 0.03 eV apart, extrema at known hours."""
    plain = nickelate["mu"].drop_vars("position")
    result = track_edge(plain, method=method, e0=8345.0, pre=None, post=None)
    energy = result["edge_energy"].values
    assert np.ptp(energy) == pytest.approx(1.45, abs=0.08)
    spots = nickelate["position"].values
    hours = (nickelate["time"].values - nickelate["time"].values[0]) / HOUR
    other = np.interp(hours[spots == "pos1"], hours[spots == "pos2"], energy[spots == "pos2"])
    assert np.median(other - energy[spots == "pos1"]) == pytest.approx(0.015, abs=0.03)
    for begin, end, sign, published in (
        (5, 15, 1, 10.46),
        (15, 24, -1, 19.04),
        (24, 33, 1, 28.35),
        (33, 39.5, -1, 36.77),
        (39.5, 44, 1, 41.69),
    ):
        inside = (hours >= begin) & (hours < end)
        smooth = np.convolve(energy[inside], np.ones(3) / 3, "same")[1:-1]
        found = hours[inside][1:-1][np.argmax(sign * smooth)]
        assert found == pytest.approx(published, abs=0.4)


@pytest.mark.shared_data
def test_the_nickel_foil_resolves_what_a_grid_point_hides(nickelate: xr.Dataset) -> None:
    """Residual drift 0.024 +- 0.006 eV (all 458 scans); larch's find_e0 returns one value."""
    foil = nickelate["foil"].drop_vars("position")
    ranges: dict[str, Any] = {"pre": (-150, -40), "post": (70, 1000)}
    result = track_edge(foil, method="matched", e0=8333.0, **ranges, baseline=10)
    assert np.unique(result["edge_shift"].values.round(6)).size >= 50
    assert float(result["edge_shift"].std()) == pytest.approx(0.024, abs=0.006)


@pytest.fixture(scope="session")
def xdi(shared_data: Path) -> Callable[[str], dict[str, Array]]:
    """Columns of an XDI file by name, in order of energy."""

    def read(name: str) -> dict[str, Array]:
        path = shared_data / "formats/xas" / name
        head = path.read_text(encoding="utf-8")
        columns = re.findall(r"^# Column\.\d+:\s*(\w+)", head, re.MULTILINE)
        values = np.loadtxt(path)
        values = values[np.argsort(values[:, 0], kind="stable")]
        return dict(zip(columns, values.T, strict=False))

    return read


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("sample", "drift", "left"),
    [("Ni2O3", -0.507, 0.018), ("NiOH2", -0.202, 0.001)],
)
def test_nickel_oxides_stand_still_once_the_foil_is_subtracted(
    xdi: Callable[[str], dict[str, Array]], sample: str, drift: float, left: float
) -> None:
    scans = [xdi(f"ni2o3_ref_drift/{sample}_rt_{at:02d}.xdi") for at in (1, 2, 3)]
    energy = scans[0]["energy"]
    mu = wrap(np.stack([np.log(s["i0"] / s["itrans"]) for s in scans]), energy, seconds=3600)
    foil = mu.copy(data=np.stack([np.log(s["itrans"] / s["irefer"]) for s in scans]))
    fixed: dict[str, Any] = {"e0": 8345.0, "pre": (-100, -30), "post": (60, 600), "baseline": 1}
    raw = track_edge(mu, method="matched", **fixed)
    assert raw["edge_shift"][2].item() == pytest.approx(drift, abs=0.03)
    for method in METHODS:
        result = track_edge(mu, method=method, **fixed, reference=foil)
        assert abs(result["edge_shift"][2].item()) <= 0.03
    assert result["edge_shift"][2].item() == pytest.approx(left, abs=0.03)
    # unreferenced, half an electronvolt of drift is not within a sigma: the bound is no licence
    assert raw["edge_sigma_drift"][2].item() == pytest.approx(
        np.sqrt(2 * JITTER**2 + WANDER**2 / WANDER_HOURS * 2), rel=1e-6
    )


@pytest.mark.shared_data
def test_repeats_of_green_rust_agree(xdi: Callable[[str], dict[str, Array]]) -> None:
    """larch's find_e0 has them 4 eV apart (7119.50 and 7123.50)."""
    found = []
    for at in (1, 2):
        scan = xdi(f"fe_valence/Hansel2001_greenrust_Cl_xanes_{at:03d}.xdi")
        mu = wrap(np.log(scan["i0"] / scan["itrans"]), scan["energy"])
        ranges: dict[str, Any] = {"pre": (-50, -20), "post": (40, 125), "degree": 1}
        for method in ("half", "integral"):
            result = track_edge(mu, method=method, e0=7120.0, **ranges)
            found.append(result["edge_energy"].item())
            assert names(result["assessment"].item(), cautions=False) == set()
    assert abs(found[2] - found[0]) <= 0.08
    assert abs(found[3] - found[1]) <= 0.08


@pytest.mark.shared_data
def test_chromate_raises_its_preedge_peak(
    xdi: Callable[[str], dict[str, Array]], shared_data: Path
) -> None:
    """The first crossing of chromate is at 5994.0 eV, below Cr3+ at 6002.5; its edge is above."""
    files = sorted((shared_data / "formats/xas/cr_vi_trap").glob("*.xdi"))
    assert len(files) == 3
    energies = {}
    for path in files:
        scan = xdi(f"cr_vi_trap/{path.name}")
        mu = wrap(np.log(scan["i0"] / scan["itrans"]), scan["energy"])
        result = track_edge(mu, method="half", e0=5989.0, pre=(-100, -30), post=(60, 400))
        six = "cr2o3" not in path.name
        assert ("preedge_above_level" in names(result["assessment"].item())) == six
        energies[six] = result["edge_energy"].item()
    assert energies[False] == pytest.approx(6002.5, abs=0.3)
    assert energies[True] > energies[False] + 3


@pytest.mark.shared_data
def test_manganese_oxides_are_too_short_to_normalise(
    xdi: Callable[[str], dict[str, Array]], shared_data: Path
) -> None:
    files = sorted((shared_data / "formats/xas/mn_short").glob("*.xdi"))
    assert len(files) == 4
    for path in files:
        scan = xdi(f"mn_short/{path.name}")
        mu = wrap(np.log(scan["i0"] / scan["itrans"]), scan["energy"])
        result = track_edge(mu, e0=6546.0, pre=(-26, -8), post=(40, 83), degree=1)
        assert "short_range" in names(result["assessment"].item())


@pytest.mark.shared_data
def test_zirconium_foil_has_two_edges(shared_data: Path) -> None:
    """Half-height 18003.8 and integral 18004.5 eV; its derivative has maxima 10 eV apart."""
    text = gzip.decompress((shared_data / "formats/xas/zr_foil/Zrfoil_QAS.prj").read_bytes())
    found = [re.search(rf"@{name} = \((.*?)\);".encode(), text, re.DOTALL) for name in "xy"]
    assert all(found)
    energy, values = (
        np.array([float(number.strip(b"' \n")) for number in one[1].split(b",")])
        for one in found
        if one is not None
    )
    for method, published in (("half", 18003.8), ("integral", 18004.5)):
        result = track_edge(
            wrap(values, energy), method=method, e0=17998.0, pre=(-150, -30), post=(60, 900)
        )
        assert names(result["assessment"].item()) == {"multi_derivative_max"}
        assert result["edge_energy"].item() == pytest.approx(published, abs=0.06)


@pytest.mark.shared_data
def test_manganese_in_an_aqueous_cell_agrees_with_its_reference(shared_data: Path) -> None:
    folder = shared_data / "operando" / "xas_mn_zn_claess"
    rows = table(folder / "reference" / "op1_Electrodep_C_P1_Mn.csv")
    spectra = []
    for row in rows:
        scan = np.loadtxt(folder / "Data" / "Electrodep_C_P1" / "Mn" / row["file"])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(scan[:, 4] / scan[:, 6])
        spectra.append((scan[:, 2], np.where(np.isfinite(ratio), ratio, np.nan)))
    energy = spectra[0][0]  # the encoder jitters: every scan goes onto the first one's grid
    mu = np.stack([np.interp(energy, x, y, left=np.nan, right=np.nan) for x, y in spectra])
    result = track_edge(
        wrap(mu, energy, seconds=1500), method="half", e0=6546.0, pre=(-100, -30), post=(50, 1200)
    )
    broken = [int(row["n_nonfinite"]) > 0 for row in rows]
    assert np.flatnonzero(broken).tolist() == [3]
    assert np.isnan(result["edge_energy"].values).tolist() == broken
    assert names(int(result["assessment"][3])) >= {"nonfinite", "partial_scan"}
    assert not (result["assessment"].values[~np.array(broken)] & ~CAUTIONS).any()
    half = np.array([float(row["E_half_step_eV"]) for row in rows])
    difference = result["edge_energy"].values - half
    np.testing.assert_allclose(np.delete(difference, 3), 0, atol=0.02)
    step = np.array([float(row["edge_step_lnI0I1"]) for row in rows])
    np.testing.assert_allclose(np.delete(result["edge_step"].values / step, 3), 1, atol=0.02)
