"""Tracked lines: against truth, scipy, and themselves moved, scaled and cut into chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from operando.errors import RequestError
from operando.model import flag_names
from operando.observables import Window, track_peaks
from operando.observables.lines.flags import ASSESSMENT, CAUTIONS

Array = npt.NDArray[np.float64]

GRID: Array = np.asarray(8.0 + 0.01 * np.arange(400))
MOVING = Window("moving", 8.7, 9.9, (9.4,))
PAIR = Window("pair", 10.1, 11.1, (10.5, 10.66))


def line(x: npt.ArrayLike, area: Any, centre: Any, fwhm: Any, eta: float) -> Array:
    """A pseudo-Voigt from the textbook, not from the code under test."""
    x = np.asarray(x)
    sigma = fwhm / np.sqrt(8 * np.log(2))
    gauss = np.exp(-0.5 * ((x - centre) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    lorentz = 0.5 * fwhm / np.pi / ((x - centre) ** 2 + (0.5 * fwhm) ** 2)
    return np.asarray(area * ((1 - eta) * gauss + eta * lorentz))


def series(values: npt.NDArray[Any], grid: npt.NDArray[Any] = GRID) -> xr.DataArray:
    start = np.datetime64("2025-01-01T00:00", "ns")
    time = start + np.arange(values.shape[0]) * np.timedelta64(60, "s")
    return xr.DataArray(
        values,
        dims=("time", "two_theta"),
        coords={"time": time, "two_theta": ("two_theta", grid, {"units": "degree"})},
        attrs={"units": "count"},
        name="intensity",
    )


def names(assessment: xr.DataArray) -> set[str]:
    return set(flag_names(int(assessment), ASSESSMENT))


def truth(count: int) -> dict[str, tuple[Array, Array, Array, float]]:
    t = np.linspace(0, 1, count)
    one = np.ones(count)
    return {
        "moving": (60 + 10 * t, 9.4 - 0.3 * t, 0.07 + 0.03 * t, 0.45),
        "pair_1": (40 * (1 - t) + 12, 10.5 * one, 0.08 * one, 0.4),
        "pair_2": (38 * t + 12, 10.66 * one, 0.085 * one, 0.4),
    }


def expected(count: int, *, shift: float = 0.0) -> Array:
    x = GRID
    total: Array = 120 + 10 * (x - 10) + np.zeros((count, 1))
    for area, centre, fwhm, eta in truth(count).values():
        total = total + line(x, area[:, None], centre[:, None] + shift, fwhm[:, None], eta)
    return total


def noisy(count: int, seed: int = 0) -> xr.DataArray:
    return series(np.random.default_rng(seed).poisson(expected(count)).astype(float))


def test_pulls_of_poisson_counts() -> None:
    count = 400
    found = track_peaks(noisy(count), windows=[MOVING, PAIR])
    assert not (found["assessment"].values & ~CAUTIONS).any()
    for name, (area, centre, fwhm, eta) in truth(count).items():
        one = found.sel(line=name)
        for number, true in (("area", area), ("centre", centre), ("fwhm", fwhm)):
            pull = ((one[number] - true) / one[f"{number}_sigma"]).values
            assert 0.9 < pull.std() < 1.1, (name, number)
            assert abs(pull.mean()) < 0.35, (name, number)
            assert np.mean(np.abs(pull) > 3) <= 0.015, (name, number)
        assert abs(float(one["eta"][0]) - eta) < 3.5 * float(one["eta_sigma"][0])
    assert float(found["chi2r"].mean()) == pytest.approx(1.0, abs=0.03)


def test_pulls_with_the_sigma_of_the_file() -> None:
    count, rng = 300, np.random.default_rng(5)
    clean = expected(count)
    sigma = np.sqrt(0.5 * clean)
    found = track_peaks(
        series(clean + sigma * rng.standard_normal(clean.shape)),
        windows=[MOVING],
        sigma=series(sigma),
    ).sel(line="moving")
    area, centre, fwhm, _ = truth(count)["moving"]
    for number, true in (("area", area), ("centre", centre), ("fwhm", fwhm)):
        pull = ((found[number] - true) / found[f"{number}_sigma"]).values
        assert 0.9 < pull.std() < 1.1, number


def test_background_and_its_sigma() -> None:
    found = track_peaks(noisy(300, seed=8), windows=[MOVING]).sel(line="moving")
    true = 120 + 10 * (truth(300)["moving"][1] - 10)
    pull = ((found["background"] - true) / found["background_sigma"]).values
    assert 0.88 < pull.std() < 1.12


def test_optimum_is_that_of_scipy() -> None:
    data = noisy(12, seed=3)
    sigma = xr.full_like(data, 1.0) * np.sqrt(expected(12))
    found = track_peaks(data, windows=[PAIR], sigma=sigma)
    eta = found["eta"].values[0]
    inside = (PAIR.low <= GRID) & (PAIR.high >= GRID)
    x: Array = GRID[inside]

    def pair(
        x: Array, a: float, b: float, c: float, d: float, w: float, v: float, p: float, q: float
    ) -> Array:
        return p + q * (x - 10.6) + line(x, a, c, w, eta[0]) + line(x, b, d, v, eta[1])

    for frame in range(12):
        best, covariance = curve_fit(
            pair,
            x,
            data.values[frame, inside],
            p0=[30, 30, 10.5, 10.66, 0.08, 0.08, 120, 10],
            sigma=sigma.values[frame, inside],
            absolute_sigma=True,
            xtol=1e-12,
            ftol=1e-12,
        )
        error = np.sqrt(np.diag(covariance))
        for at, number in ((0, "area"), (2, "centre"), (4, "fwhm")):
            ours = found[number].values[frame]
            both = slice(at, at + 2)
            assert np.all(np.abs(ours - best[both]) < 0.05 * error[both]), (frame, number)
            np.testing.assert_allclose(
                found[f"{number}_sigma"].values[frame], error[both], rtol=0.01
            )


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 14), min_size=1, max_size=6))
def test_any_chunking_gives_the_same(sizes: list[int]) -> None:
    data = noisy(sum(sizes), seed=11)
    whole = track_peaks(data, windows=[MOVING, PAIR])
    lazy = track_peaks(data.chunk(time=tuple(sizes), two_theta=133), windows=[MOVING, PAIR])
    assert lazy["area"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), whole)


@settings(max_examples=8, deadline=None)
@given(st.floats(-300.0, 300.0))
def test_shifting_the_axis_shifts_the_centre(shift: float) -> None:
    data = noisy(6, seed=2)
    moved = series(data.values, GRID + shift)
    there = Window("moving", 8.7 + shift, 9.9 + shift, (9.4 + shift,))
    # the window must hold the same points on both sides of rounding
    here = track_peaks(data, windows=[Window("moving", 8.695, 9.905, (9.4,))])
    after = track_peaks(
        moved, windows=[Window("moving", there.low - 0.005, there.high + 0.005, there.lines)]
    )
    spread = here["centre_sigma"]
    assert np.all(np.abs(after["centre"] - shift - here["centre"]) < 0.01 * spread)
    np.testing.assert_allclose(after["area"], here["area"], rtol=1e-3)
    np.testing.assert_allclose(after["fwhm"], here["fwhm"], rtol=1e-3)


@settings(max_examples=8, deadline=None)
@given(st.floats(-9.0, 9.0))
def test_scaling_the_intensity_scales_the_area_alone(power: float) -> None:
    data, factor = noisy(6, seed=4), 10.0**power
    sigma = data.clip(min=1.0) ** 0.5
    one = track_peaks(data, windows=[PAIR], sigma=sigma)
    many = track_peaks(data * factor, windows=[PAIR], sigma=sigma * factor)
    for number in ("area", "area_sigma", "background"):
        np.testing.assert_allclose(many[number], one[number] * factor, rtol=1e-4)
    for number in ("centre", "fwhm", "centre_sigma", "fwhm_sigma", "chi2r"):
        np.testing.assert_allclose(many[number], one[number], rtol=1e-4)


def test_absent_line_is_weak_with_a_signed_calibrated_area() -> None:
    rng = np.random.default_rng(6)
    empty = series(rng.poisson(np.full((300, GRID.size), 80.0)).astype(float))
    found = track_peaks(empty, windows=[Window("absent", 9.0, 10.0, (9.5,))]).sel(line="absent")
    weak = found["assessment"].values == ASSESSMENT["weak"] | ASSESSMENT["shape_frozen"]
    assert weak.mean() > 0.98
    assert np.isnan(found["centre"].values[weak]).all()
    assert np.isnan(found["fwhm_sigma"].values[weak]).all()
    pull = (found["area"] / found["area_sigma"]).values[weak]
    assert 0.85 < pull.std() < 1.15
    assert 0.3 < np.mean(pull < 0) < 0.7


def test_line_that_fades_keeps_its_area_honest() -> None:
    rng, count = np.random.default_rng(7), 300
    area = np.linspace(30, 0, count)[:, None]
    clean = 80.0 + line(GRID, area, 9.5, 0.09, 0.5)
    found = track_peaks(
        series(rng.poisson(clean).astype(float)), windows=[Window("fading", 9.0, 10.0, (9.5,))]
    ).sel(line="fading")
    pull = ((found["area"] - area[:, 0]) / found["area_sigma"]).values
    assert 0.9 < pull.std() < 1.12
    assert abs(pull.mean()) < 0.3
    assert names(found["assessment"][0]) == set()
    assert names(found["assessment"][-1]) == {"weak", "shape_frozen"}


def test_bad_measurements_become_nan_with_a_reason() -> None:
    data = noisy(12, seed=9)
    data[3] = np.nan
    data[4, 100:105] = np.nan
    found = track_peaks(data, windows=[MOVING, PAIR])
    numbers = [name for name in found.data_vars if name != "assessment"]
    assert (found["assessment"][3] == ASSESSMENT["no_data"]).all()
    assert all(np.isnan(found[name][3]).all() for name in numbers)
    assert (found["assessment"][4:] == 0).all()
    assert np.isfinite(found["centre"][4]).all()
    spike = series(np.full((6, GRID.size), 50.0))
    spike[:, 150] = 5000.0
    narrow = track_peaks(spike, windows=[Window("spike", 9.0, 10.0, (9.5,))])
    assert all("at_bound" in names(one) for one in narrow["assessment"][:, 0])
    doublet = 50.0 + line(GRID, 900.0, 9.4, 0.07, 0.3) + line(GRID, 450.0, 9.5, 0.07, 0.3)
    both = series(np.tile(doublet, (6, 1)))
    wrong = track_peaks(both, windows=[Window("doublet", 8.8, 10.1, (9.4,))])
    assert all({"poor_fit", "misfit"} <= names(one) for one in wrong["assessment"][:, 0])


def test_line_is_found_again_however_far_it_moved_in_its_window() -> None:
    jump = np.where(np.arange(40) < 20, 9.0, 9.9)
    clean = 50.0 + line(GRID, 60.0, jump[:, None], 0.07, 0.5)
    data = series(np.random.default_rng(1).poisson(clean).astype(float))
    found = track_peaks(data, windows=[Window("jumps", 8.6, 10.3, (9.0,))])
    assert np.all(np.abs(found["centre"].values[:, 0] - jump) < 0.01)


def test_dataset_describes_itself() -> None:
    data = noisy(4).assign_coords(voltage=("time", np.arange(4.0), {"units": "V"}))
    found = track_peaks(data, windows=[PAIR, MOVING])
    assert found["area"].dims == ("time", "line")
    assert found["line"].values.tolist() == ["pair_1", "pair_2", "moving"]
    assert found["area"].attrs["units"] == "count * degree"
    assert found["voltage"].values.tolist() == [0.0, 1.0, 2.0, 3.0]
    for name in ("area", "centre", "fwhm", "eta", "background"):
        assert found[name].attrs["ancillary_variables"] == f"{name}_sigma"
        assert found[name].attrs["units"] == found[f"{name}_sigma"].attrs["units"]
    assert found["assessment"].dtype == np.int32
    assert found["assessment"].attrs["flag_meanings"].split() == list(ASSESSMENT)


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([], "expected one or more"),
        ([MOVING, MOVING], "each named once"),
        ([Window("thin", 9.0, 9.03, (9.01,))], "points"),
        ([Window("beyond", 20.0, 30.0, (25.0,))], "data span"),
        ([Window("outside", 9.0, 10.0, (10.5,))], "expected inside"),
        ([Window("lineless", 9.0, 10.0, ())], "expected"),
    ],
)
def test_impossible_windows_are_refused(windows: list[Window], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        track_peaks(noisy(3), windows=windows)


def test_impossible_arrays_are_refused() -> None:
    data = noisy(3)
    with pytest.raises(RequestError, match="dimensions"):
        track_peaks(data[0], windows=[MOVING])
    with pytest.raises(RequestError, match="ascending"):
        track_peaks(data[:, ::-1], windows=[MOVING])
    with pytest.raises(RequestError, match="sigma"):
        track_peaks(data, windows=[MOVING], sigma=data[0])
