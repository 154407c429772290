"""Difference and derivative spectra against truth, numpy, scipy, and simulated error bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import savgol_filter

from operando.errors import RequestError
from operando.model import FRAME_FLAGS, STATES
from operando.observables.differences import derivative_spectra, difference_spectra
from operando.simulate.xanes import ion, metal

Array = npt.NDArray[np.float64]

ENERGY: Array = np.arange(17950.0, 18150.5, 1.0)
UNEVEN: Array = np.r_[17900:17970:5.0, 17970:18060:0.4, 18060:18160:2.0]
START = np.datetime64("2026-05-04T10:00:00", "ns")


def frames(values: Array, energy: Array = ENERGY, **coordinates: Any) -> xr.DataArray:
    return xr.DataArray(
        values,
        dims=("time", "energy"),
        coords={
            "time": START + np.arange(len(values)) * np.timedelta64(60, "s"),
            "energy": ("energy", energy, {"units": "eV"}),
            **coordinates,
        },
        name="norm",
    )


def cycled(noise: float = 0.0, seed: int = 1) -> xr.DataArray:
    """Charge and discharge twice, three frames each, at two positions; the bulk does not change."""
    rng = np.random.default_rng(seed)
    words = ["charge"] * 3 + ["discharge"] * 3
    state = np.array([STATES[word] for word in [*words, *words] for _ in range(2)], np.int32)
    place = np.array(["interface", "bulk"] * 12)
    part = np.where(place == "interface", np.repeat(np.arange(12), 2) / 20, 0.0)[:, None]
    clean = (1 - part) * ion(ENERGY) + part * metal(ENERGY)
    norm = frames(clean + noise * rng.standard_normal(clean.shape))
    return norm.assign_coords(state=("time", state), position=("time", place))


def test_each_frame_against_the_first_of_its_state() -> None:
    norm = cycled()
    result = difference_spectra(norm, sigma=1e-3)
    reference = np.array([0, 1] * 3 + [6, 7] * 3 + [0, 1] * 3 + [6, 7] * 3)
    np.testing.assert_allclose(result["difference"], norm.values - norm.values[reference])
    assert np.array_equal(result["reference_time"], norm["time"].values[reference])
    assert np.all(result["difference"].values[1::2] == 0)  # bulk
    itself = np.isin(np.arange(24), [0, 1, 6, 7])
    expected = np.where(itself, 0, np.sqrt(2) * 1e-3)
    np.testing.assert_allclose(result["difference_sigma"][:, 0], expected)


def test_against_the_first_frames_whatever_their_state() -> None:
    norm = cycled()
    result = difference_spectra(norm, against="first", count=2)
    means = {0: norm.values[[0, 2]].mean(axis=0), 1: norm.values[[1, 3]].mean(axis=0)}
    expected = np.stack([norm.values[row] - means[row % 2] for row in range(24)])
    np.testing.assert_allclose(result["difference"], expected, atol=1e-15)


def test_against_a_spectrum_of_its_own_grid() -> None:
    own = np.arange(17940.0, 18160.0, 0.7)
    fixed = xr.DataArray(ion(own), dims="energy", coords={"energy": own})
    result = difference_spectra(cycled(), against=fixed, sigma=1e-3)
    part = 11 / 20
    expected = part * (metal(ENERGY) - ion(ENERGY))
    smooth = np.abs(ENERGY - 18050) > 3  # the simulated spectra have a kink there
    np.testing.assert_allclose(result["difference"][22, smooth], expected[smooth], atol=2e-5)
    np.testing.assert_allclose(result["difference_sigma"], 1e-3)
    assert "reference_time" not in result


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("told", [1e-3, None, "energy", "time"])
def test_pulls_of_differences(count: int, told: Any) -> None:
    profile = 1e-3 * np.where(ENERGY > 18000, 3.0, 1.0) if told == "energy" else 1e-3
    rng = np.random.default_rng(5)
    noise = profile * rng.standard_normal((24, ENERGY.size))
    norm = cycled() + noise
    sigma = {
        "energy": xr.DataArray(profile, dims="energy") if told == "energy" else None,
        "time": xr.DataArray(np.full(24, 1e-3), dims="time"),
    }.get(told, told)
    result = difference_spectra(norm, count=count, sigma=sigma)
    truth = difference_spectra(cycled(), count=count, sigma=1e-3)["difference"]
    for rows in (slice(0, count), slice(12, 24)):  # part of the reference, and not
        spread = result["difference_sigma"].values[rows]
        errors = (result["difference"] - truth).values[rows]
        if count > 1 or rows.start:
            assert 0.9 < np.std(errors / spread) < 1.1


def test_frames_without_a_state_have_no_reference() -> None:
    norm = cycled()
    norm["state"].values[4] = STATES["unknown"]
    result = difference_spectra(norm)
    assert np.isnan(result["difference"].values[4]).all()
    assert np.isnat(result["reference_time"].values[4])
    assert np.isfinite(result["difference"].values[5]).all()


def test_faulty_frames_are_no_reference() -> None:
    flags = np.zeros(24, np.int32)
    flags[0] = FRAME_FLAGS["truncated"]
    norm = cycled().assign_coords(frame_flag=("time", flags))
    result = difference_spectra(norm)
    assert result["reference_time"].values[4] == norm["time"].values[2]
    all_faulty = cycled().assign_coords(frame_flag=("time", np.full(24, 1, np.int32)))
    assert np.isnan(difference_spectra(all_faulty)["difference"]).all()


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7}, {"time": 5, "energy": 50}])
def test_chunks_do_not_matter(chunks: dict[str, int]) -> None:
    norm = cycled(1e-3)
    for lazy, whole in (
        (difference_spectra(norm.chunk(chunks), count=2), difference_spectra(norm, count=2)),
        (derivative_spectra(norm.chunk(chunks), width=6.0), derivative_spectra(norm, width=6.0)),
    ):
        assert all(lazy[name].chunks for name in lazy.data_vars if name != "reference_time")
        xr.testing.assert_identical(lazy.compute(), whole)


def test_on_an_even_grid_it_is_the_filter_of_savitzky_and_golay() -> None:
    norm = cycled(1e-3)
    for width, points in ((None, 5), (6.0, 7), (10.5, 11)):
        result = derivative_spectra(norm, width=width)["derivative"]
        expected = savgol_filter(norm.values, points, 2, deriv=1, delta=1.0)
        half = points // 2
        np.testing.assert_allclose(result[:, half:-half], expected[:, half:-half], atol=1e-12)


@given(a=st.floats(-1, 1), b=st.floats(-1, 1), c=st.floats(-1, 1), width=st.floats(0.1, 40))
@settings(max_examples=30, deadline=None)
def test_the_derivative_of_a_parabola_is_exact(a: float, b: float, c: float, width: float) -> None:
    x = UNEVEN - 18000
    norm = frames((a + b * x + c * x**2)[None], UNEVEN)
    result = derivative_spectra(norm, width=width, sigma=1.0)
    np.testing.assert_allclose(result["derivative"][0], b + 2 * c * x, atol=1e-8)


@pytest.mark.parametrize("width", [None, 5.0])
def test_pulls_of_derivatives(width: float | None) -> None:
    rng = np.random.default_rng(2)
    noise = frames(1e-3 * rng.standard_normal((400, UNEVEN.size)), UNEVEN)
    for sigma in (1e-3, None):
        result = derivative_spectra(noise, width=width, sigma=sigma)
        pulls = result["derivative"] / result["derivative_sigma"]
        assert 0.95 < float(pulls.std()) < 1.05


def test_what_smoothing_takes_from_a_derivative() -> None:
    """An arctangent of half width G: 1/(pi G) at its middle, less (width/G)^2 / 20 of it."""
    x = np.arange(-60, 60, 0.01)
    norm = frames(np.arctan(x / 3.0)[None] / np.pi, x)
    found = derivative_spectra(norm, width=1.5, sigma=1.0)["derivative"].values[0].max()
    assert 1 - found * np.pi * 3.0 == pytest.approx((1.5 / 3.0) ** 2 / 20, rel=0.1)


def test_a_missing_point_spoils_only_its_neighbours() -> None:
    norm = cycled(1e-3)
    norm[3, 100] = np.nan
    result = derivative_spectra(norm, sigma=1e-3)["derivative"].values
    assert np.flatnonzero(np.isnan(result[3])).tolist() == [98, 99, 100, 101, 102]
    assert np.isfinite(result[4]).all()


def test_results_can_be_saved(tmp_path: Path) -> None:
    norm = cycled(1e-3)
    for name, result in (
        ("difference", difference_spectra(norm)),
        ("derivative", derivative_spectra(norm)),
    ):
        assert result[name].dims == ("time", "energy")
        assert result[name].attrs["ancillary_variables"] == f"{name}_sigma"
        assert result[name].attrs["units"] == {"difference": "1", "derivative": "1/eV"}[name]
        assert result["position"].dims == ("time",)
        result.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"against": "last"}, "against: 'last'; expected 'state' or 'first'"),
        ({"count": 0}, "count: 0"),
        ({"sigma": xr.DataArray(np.ones(3), dims="time")}, "sigma"),
        ({"sigma": xr.DataArray(np.ones(3), dims="spot")}, "sigma"),
        (
            {"against": xr.DataArray(np.ones(9), dims="energy", coords={"energy": np.arange(9.0)})},
            "measured without gaps",
        ),
    ],
)
def test_an_impossible_difference_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        difference_spectra(cycled(), **changed)


def test_other_impossible_requests_are_refused() -> None:
    with pytest.raises(RequestError, match="no coordinate 'state'"):
        difference_spectra(cycled().drop_vars("state"))
    with pytest.raises(RequestError, match="width: 0"):
        derivative_spectra(cycled(), width=0)
    with pytest.raises(RequestError, match="energy: 4 points"):
        derivative_spectra(cycled()[:, :4])
    with pytest.raises(RequestError, match="ascending"):
        derivative_spectra(cycled()[:, ::-1])
    with pytest.raises(RequestError, match="energy"):
        derivative_spectra(cycled().rename(energy="pixel"))
