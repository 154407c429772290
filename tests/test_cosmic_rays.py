"""Cosmic rays: injected ones are found, bands that are as sharp and real are not touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter
from scipy.special import ndtr

import operando
from operando.corrections.cosmic_rays import RULES, remove_cosmic_rays
from operando.corrections.ray_kernel import _running_median
from operando.errors import RequestError
from operando.model import check

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SHIFT = np.arange(400.0, 1200.0, 1.6)


def band(height: npt.ArrayLike, centre: float = 920.0, width: float = 5.0) -> Array:
    """A Lorentzian band, three points wide at half maximum."""
    return np.asarray(height) / (1 + (2 * (SHIFT - centre) / width) ** 2)


def expected(count: int, *, drift: float = 0.0) -> Array:
    """Broad bands on a background that bleaches."""
    level = 1500 + 900 * np.exp(-(((SHIFT - 700) / 250) ** 2))
    fade = np.exp(-drift * np.arange(count))[:, None]
    return np.asarray(level * fade + band(1200.0, 590.0, 34.0) + band(900.0, 1012.0, 30.0))


def frames(values: Array, *, units: str = "count", **coords: Any) -> xr.Dataset:
    time = np.datetime64("2026-05-04T10:00:00", "ns")
    stamps = time + np.arange(len(values)) * np.timedelta64(125, "s")
    return xr.Dataset(
        {"intensity": (("time", "raman_shift"), values, {"units": units})},
        {
            "time": stamps,
            "time_start": ("time", stamps),
            "time_end": ("time", stamps),
            "raman_shift": ("raman_shift", SHIFT, {"units": "1/cm"}),
            **coords,
        },
        {"technique": "raman"},
    )


def drawn(level: Array, seed: int = 0) -> Array:
    return np.random.default_rng(seed).poisson(level).astype(float)


def hit(values: Array, rate: float, seed: int, noise: float) -> tuple[Array, Mask]:
    """Rays of one or two points and 8 to 80 times the noise."""
    rng = np.random.default_rng(seed)
    out, truth = values.copy(), np.zeros(values.shape, bool)
    for row in np.flatnonzero(rng.random(len(values)) < rate):
        at, width = rng.integers(5, values.shape[1] - 6), rng.integers(1, 3)
        out[row, at : at + width] += noise * rng.uniform(8, 80)
        truth[row, at : at + width] = True
    return out, truth


def beside(truth: Mask) -> Mask:
    wide = truth.copy()
    wide[:, 1:] |= truth[:, :-1]
    wide[:, :-1] |= truth[:, 1:]
    return wide


@pytest.mark.parametrize("units", ["count", "1"])
def test_rays_are_found_and_what_was_there_comes_back(units: str) -> None:
    level = expected(400, drift=0.002)
    clean = drawn(level)
    spoiled, truth = hit(clean, 0.8, 1, noise=50.0)
    done = remove_cosmic_rays(frames(spoiled, units=units))
    mask = done["cosmic_ray"].values.astype(bool)
    assert mask[truth].mean() >= 0.97
    assert np.count_nonzero(mask & ~beside(truth)) <= 2
    left = (done["intensity"].values - level)[truth] / np.sqrt(level[truth])
    assert np.sqrt(np.mean(left**2)) < 2.0  # the noise of what replaces it, and a missed one
    assert np.array_equal(done["intensity"].values[~mask], spoiled[~mask])
    assert np.array_equal(done["cosmic_rays"].values, mask.sum(axis=1))


@pytest.mark.parametrize("threshold", [4.0, 4.5])
def test_the_false_alarm_rate_is_near_that_of_a_normal_tail(threshold: float) -> None:
    """Counts are skewed, and a point beside a false alarm is one more easily: up to fivefold."""
    done = remove_cosmic_rays(frames(drawn(expected(4000))), threshold=threshold)
    assert 0.3 < done["cosmic_ray"].values.mean() / ndtr(-threshold) < 5
    alone = remove_cosmic_rays(
        frames(drawn(expected(400)), position=("time", np.arange(400).astype(str))),
        threshold=threshold,
    )
    assert alone["cosmic_ray"].values.mean() < 10 * ndtr(-threshold)


@given(st.floats(500.0, 1e5), st.integers(0, 59), st.integers(3, 60), st.floats(450.0, 1150.0))
@settings(max_examples=40, deadline=None)
def test_a_new_band_that_stays_is_never_touched(
    height: float, born: int, lasts: int, centre: float
) -> None:
    """Three frames suffice; only at the very end the newest frame has nothing to vouch for it."""
    level = expected(60, drift=0.01)
    number = np.arange(60)
    present = (number >= born) & (number < born + lasts)
    sharp = band(height * present[:, None], centre)
    clean = drawn(level, 3)
    done = remove_cosmic_rays(frames(np.rint(clean + sharp)))
    near = np.abs(SHIFT - centre) < 12
    lone = present.sum() < 2
    judged = present if not lone else np.zeros(60, bool)
    assert not done["cosmic_ray"].values[judged][:, near].any()


@pytest.mark.parametrize("end", [0, 1, 58, 59])
def test_rays_in_the_first_and_last_frames_are_found(end: int) -> None:
    values = drawn(expected(60))
    values[end, 200] += 1500.0
    mask = remove_cosmic_rays(frames(values))["cosmic_ray"].values
    assert np.argwhere(mask).tolist() == [[end, 200]]


def test_a_sharp_band_may_vary_and_wobble() -> None:
    rng = np.random.default_rng(5)
    height = 3000 * rng.uniform(0.75, 1.25, 200)[:, None]
    centre = 920 + rng.uniform(-0.5, 0.5, 200)[:, None]
    sharp = height / (1 + (2 * (SHIFT - centre) / 5.0) ** 2)
    done = remove_cosmic_rays(frames(drawn(expected(200) + sharp)))
    touched = done["cosmic_ray"].values[:, np.abs(SHIFT - 920) < 12].any(axis=1)
    assert touched.mean() <= 0.02


def test_a_ray_twice_at_one_point_is_found_in_both() -> None:
    values = drawn(expected(30))
    values[[10, 12], 250] += 2000.0
    mask = remove_cosmic_rays(frames(values))["cosmic_ray"].values
    assert np.argwhere(mask).tolist() == [[10, 250], [12, 250]]


def test_positions_are_judged_by_themselves() -> None:
    """A band of one layer, seen in every third frame, is no ray there; nor is it one elsewhere."""
    layer = np.array(["PE", "SSE", "NE"] * 20)
    sharp = band(4000.0 * (layer == "PE")[:, None])
    values = drawn(expected(60) + sharp)
    values[31, 240] += 3000.0
    done = remove_cosmic_rays(frames(values, position=("time", layer)))
    assert np.argwhere(done["cosmic_ray"].values).tolist() == [[31, 240]]
    parts = [
        remove_cosmic_rays(frames(values).isel(time=np.flatnonzero(layer == name)))
        for name in ("PE", "SSE", "NE")
    ]
    together = xr.concat(parts, "time").sortby("time")
    assert np.array_equal(together["intensity"], done["intensity"])


def test_few_frames_are_judged_alone() -> None:
    """A ray goes, and of the bands none as sharp as three points."""
    level = expected(4) + band(4000.0) + band(9000.0, 520.5, 4.5)
    values = drawn(level)
    values[2, 100] += 2500.0
    values[3, 300:302] += 2500.0
    done = remove_cosmic_rays(frames(values))
    assert np.argwhere(done["cosmic_ray"].values).tolist() == [[2, 100], [3, 300], [3, 301]]
    assert (done["cosmic_ray_rule"] == RULES["alone"]).all()
    left = done["intensity"].values[2, 100] - level[2, 100]
    assert abs(left) < 4 * np.sqrt(level[2, 100])


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7}, {"time": 60, "raman_shift": 100}])
@pytest.mark.parametrize("layers", [1, 3])
def test_chunks_do_not_matter(chunks: dict[str, int], layers: int) -> None:
    spoiled, _ = hit(drawn(expected(60)), 0.8, 2, noise=50.0)
    layer = np.array(["PE", "SSE", "NE"] * 20)[:60]
    series = frames(spoiled, position=("time", layer if layers > 1 else np.full(60, "PE")))
    whole = check(remove_cosmic_rays(series))
    assert whole["cosmic_ray"].sum() > 20
    lazy = remove_cosmic_rays(series.chunk(chunks))
    assert lazy["intensity"].chunks is not None
    assert lazy["cosmic_ray"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), whole)
    assert whole["cosmic_ray"].dtype == np.int8
    [step] = json.loads(whole.attrs["corrections"])
    assert step == {"step": "cosmic_rays", "threshold": 6.0, "axis": "raman_shift"}


@given(st.floats(1e-2, 1e3), st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_the_scale_does_not_matter(factor: float, seed: int) -> None:
    spoiled, _ = hit(drawn(expected(20), seed), 0.8, seed, noise=50.0)
    plain = remove_cosmic_rays(frames(spoiled, units="1"))
    scaled = remove_cosmic_rays(frames(spoiled * factor, units="1"))
    assert np.array_equal(plain["cosmic_ray"], scaled["cosmic_ray"])
    np.testing.assert_allclose(scaled["intensity"], factor * plain["intensity"], rtol=1e-12)


def test_sigma_that_is_given_says_where_noise_is() -> None:
    """Noise ten times larger beyond 1000 1/cm holds no rays if it is known."""
    rng = np.random.default_rng(7)
    sigma = np.broadcast_to(np.where(SHIFT > 1000, 200.0, 20.0), (100, SHIFT.size))
    values = expected(100) + sigma * rng.standard_normal(sigma.shape)
    series = frames(values, units="1")
    blind = remove_cosmic_rays(series)["cosmic_ray"].values[:, SHIFT > 1000].sum()
    series["intensity_sigma"] = (("time", "raman_shift"), sigma, {"units": "1"})
    done = remove_cosmic_rays(series)
    assert blind > 100
    assert done["cosmic_ray"].sum() == 0
    assert np.array_equal(done["intensity_sigma"], sigma)


def test_gaps_stay_and_hide_nothing() -> None:
    values = drawn(expected(20))
    values[5] = np.nan
    values[9, 100:110] = np.nan
    values[[4, 6, 9, 12], [200, 150, 105, 130]] += 3000.0
    done = remove_cosmic_rays(frames(values))
    assert np.argwhere(done["cosmic_ray"].values).tolist() == [[4, 200], [6, 150], [12, 130]]
    assert np.array_equal(np.isnan(done["intensity"]), np.isnan(values))
    flat = remove_cosmic_rays(frames(np.full((6, SHIFT.size), 3.0)))
    assert flat["cosmic_ray"].sum() == 0


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_running_median_is_that_of_scipy(points: int, reach: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    row = rng.integers(0, 9, points + 2 * reach).astype(float)  # with ties
    found = _running_median(row[None], reach)[0]
    expected = median_filter(row, size=2 * reach + 1)
    assert np.array_equal(found[reach:-reach], expected[reach:-reach])
    assert found[0] == np.median(row[: reach + 1])


@pytest.mark.parametrize("threshold", [0.0, np.nan, "6"])
def test_an_impossible_request_is_refused(threshold: Any) -> None:
    with pytest.raises(RequestError, match="threshold"):
        remove_cosmic_rays(frames(drawn(expected(6))), threshold=threshold)
    with pytest.raises(RequestError, match="no intensity on time and raman_shift"):
        remove_cosmic_rays(frames(drawn(expected(6))).rename(intensity="mu"))


@pytest.mark.shared_data
def test_the_gates_on_a_real_series(shared_data: Path) -> None:
    """532 spectra of 1024 points with their own rays; a real band of FWHM 5 1/cm is added."""
    file = shared_data / "formats" / "raman" / "labspec_txt" / "Activation.txt"
    options = {"date_order": "dmy"}
    real = operando.read(file, format="labspec_text", tz="UTC", options=options).load()
    shift, plain = real["raman_shift"].values, real["intensity"].values
    noise = float(np.median(np.abs(np.diff(plain, axis=1))) / 0.6745 / np.sqrt(2))
    height = noise * 60 * (1 + np.sin(np.arange(len(plain)) / 40))[:, None]
    sharp = plain + height / (1 + (2 * (shift - 920) / 5.0) ** 2)
    spoiled, truth = hit(sharp, 0.5, 1, noise)
    masks = {
        name: remove_cosmic_rays(real.copy(data={"intensity": values}))["cosmic_ray"].values > 0
        for name, values in (("plain", plain), ("sharp", sharp), ("spoiled", spoiled))
    }
    near = np.abs(shift - 920) < 12
    assert masks["spoiled"][truth].mean() >= 0.9
    clipped = (masks["sharp"] & ~masks["plain"])[:, near].any(axis=1)
    assert 1 - clipped.mean() >= 0.98
    false = masks["spoiled"] & ~beside(truth) & ~masks["sharp"]
    assert false.sum() / len(plain) < 0.1
