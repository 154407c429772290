"""Intensities relative to a band or the laser: scale found with the error it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pint
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.corrections.reference_band import (
    SCALE_FLAGS,
    area_weights,
    normalise_to_band,
    normalise_to_power,
)
from operando.errors import RequestError
from operando.model import check

Array = npt.NDArray[np.float64]
SHIFT = np.r_[np.arange(800.0, 1000.0, 1.6), np.arange(1000.0, 1300.0, 1.3)]
BAND = (940.0, 1090.0)


def level(height: npt.ArrayLike = 900.0) -> Array:
    """A reference band, Gaussian so that it ends, and another one, on a slope."""
    reference = np.exp(-0.5 * ((SHIFT - 1012) / 10) ** 2)
    other = 500 * np.exp(-0.5 * ((SHIFT - 1200) / 15) ** 2)
    return np.asarray(900 - 0.4 * (SHIFT - 1000) + np.asarray(height) * reference + other)


AREA = 10 * np.sqrt(2 * np.pi)
"""Of a band of height one."""


def frames(values: Array, **coords: Any) -> xr.Dataset:
    time = np.datetime64("2026-05-04T10:00:00", "ns")
    stamps = time + np.arange(len(values)) * np.timedelta64(60, "s")
    return xr.Dataset(
        {"intensity": (("time", "raman_shift"), values, {"units": "count"})},
        {
            "time": stamps,
            "time_start": ("time", stamps),
            "time_end": ("time", stamps),
            "raman_shift": ("raman_shift", SHIFT, {"units": "1/cm"}),
            **coords,
        },
        {"technique": "raman"},
    )


def drawn(height: npt.ArrayLike, count: int = 2000, gain: float = 1.0, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    expected = np.broadcast_to(level(height), (count, SHIFT.size))
    return gain * rng.poisson(expected / gain).astype(np.float64)


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_sigma_is_that_of_the_scatter(gain: float) -> None:
    """Area of a Gaussian band by its formula; pulls of 2000 frames of counts."""
    done = check(normalise_to_band(frames(drawn(900.0, gain=gain)), band=BAND))
    pulls = (done["scale"] - 900 * AREA) / done["scale_sigma"]
    assert abs(float(pulls.mean())) < 0.1
    assert 0.9 < float(pulls.std()) < 1.1
    assert (done["scale_flag"] == 0).all()


def test_what_focus_does_is_taken_off() -> None:
    """Height of the other band relative to the area of the reference, in frames of any focus."""
    focus = np.random.default_rng(1).uniform(0.3, 1.5, 400)[:, None]
    values = np.random.default_rng(2).poisson(20 * focus * level()) / 20.0
    done = normalise_to_band(frames(values), band=BAND)
    other = done["intensity"].sel(raman_shift=slice(1195, 1205)).mean("raman_shift")
    flat = done["intensity"].sel(raman_shift=slice(1120, 1130)).mean("raman_shift")
    expected = level() / (900 * AREA)
    at = [(low <= SHIFT) & (high >= SHIFT) for low, high in ((1195, 1205), (1120, 1130))]
    rise = float((other - flat).mean())
    assert rise == pytest.approx(expected[at[0]].mean() - expected[at[1]].mean(), rel=0.01)
    assert float((other - flat).std()) / rise < 0.06  # of 60 % before
    assert pint.Unit(done["intensity"].attrs["units"]) == pint.Unit("centimeter")
    again = done["intensity"] * done["scale"]
    np.testing.assert_allclose(again, values, rtol=1e-12)


def test_sigma_of_the_points_is_kept_or_estimated() -> None:
    plain = frames(drawn(900.0, 200))
    done = normalise_to_band(plain, band=BAND)
    ratio = done["intensity_sigma"] * done["scale"] / np.sqrt(level())
    assert float(ratio.median()) == pytest.approx(1.0, abs=0.02)
    five = plain.assign(intensity_sigma=5.0 + 0.0 * plain["intensity"])
    kept = normalise_to_band(five.assign(baseline=plain["intensity"]), band=BAND)
    np.testing.assert_allclose(kept["intensity_sigma"] * kept["scale"], 5.0)
    np.testing.assert_array_equal(kept["baseline"], kept["intensity"])


def test_a_frame_without_the_band_is_none() -> None:
    values = drawn(900.0, 5)
    values[1] = drawn(0.0, 1)[0]
    values[2, 100] = np.nan  # inside the band
    values[3, 5] = np.nan  # outside
    done = check(normalise_to_band(frames(values), band=BAND))
    assert BAND[0] < SHIFT[100] < BAND[1]
    expected = [0, SCALE_FLAGS["no_band"], SCALE_FLAGS["no_data"], 0, 0]
    assert done["scale_flag"].values.tolist() == expected
    assert np.isnan(done["intensity"].values).all(axis=1).tolist() == [0, 1, 1, 0, 0]
    assert np.isfinite(done["scale"].values[1])  # how little there was is still told
    nothing = normalise_to_band(frames(drawn(0.0, 200)), band=BAND)
    assert (nothing["scale_flag"] == SCALE_FLAGS["no_band"]).mean() > 0.98
    assert (nothing["scale_sigma"] > 0).all()
    assert 0.85 < float((nothing["scale"] / nothing["scale_sigma"]).std()) < 1.15


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7, "raman_shift": 50}])
@pytest.mark.parametrize("order", [("time", "raman_shift"), ("raman_shift", "time")])
def test_chunks_do_not_matter(chunks: dict[str, int], order: tuple[str, str]) -> None:
    series = frames(drawn(900.0, 40)).transpose(*order)
    whole = normalise_to_band(series, band=BAND)
    lazy = normalise_to_band(series.chunk(chunks), band=BAND)
    assert lazy["intensity"].chunks
    xr.testing.assert_identical(lazy.compute(), whole)
    [step] = json.loads(whole.attrs["corrections"])
    assert step == {"step": "reference_band", "band": list(BAND)}


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_neither_scale_nor_a_line_matters(factor: float, offset: float, seed: int) -> None:
    """The result is the same at any scale; a line under the band has no area."""
    plain = frames(drawn(900.0, 3, seed=seed))
    done = normalise_to_band(plain, band=BAND)
    scaled = plain.copy(data={"intensity": factor * plain["intensity"].values})
    again = normalise_to_band(scaled, band=BAND)
    np.testing.assert_allclose(again["intensity"], done["intensity"], rtol=1e-9)
    np.testing.assert_allclose(again["scale_sigma"], factor * done["scale_sigma"], rtol=1e-9)
    grid = frames(drawn(0.0, 1))["raman_shift"].sel(raman_shift=slice(*BAND)).values
    assert area_weights(grid) @ (offset + 0.3 * grid) == pytest.approx(0.0, abs=1e-6)


def test_the_power_of_the_laser() -> None:
    power = np.array([5.0, 10.0, 0.0, np.nan])
    told = {"units": "mW", "ancillary_variables": "laser_power_sigma"}
    series = frames(
        np.tile(level(), (4, 1)),
        laser_power=("time", power, told),
        laser_power_sigma=("time", 0.1 * power, {"units": "mW"}),
    )
    done = check(normalise_to_power(series))
    assert done["scale_flag"].values.tolist() == [0, 0, 4, 4]
    np.testing.assert_allclose(done["intensity"][:2], level() / power[:2, None])
    np.testing.assert_allclose(done["scale_sigma"][:2], 0.1 * power[:2])
    assert np.isnan(done["intensity"][2:]).all()
    fixed = normalise_to_power(series, power=2.5)
    np.testing.assert_allclose(fixed["intensity"], np.tile(level(), (4, 1)) / 2.5)
    assert pint.Unit(fixed["intensity"].attrs["units"]) == pint.Unit("count / mW")


def test_one_scale_after_the_other_is_one() -> None:
    series = frames(drawn(900.0, 3))
    first = normalise_to_power(series, power=4.0)
    both = check(normalise_to_band(first, band=BAND))
    np.testing.assert_allclose(both["intensity"] * both["scale"], series["intensity"])
    np.testing.assert_allclose(
        both["scale_sigma"], normalise_to_band(series, band=BAND)["scale_sigma"]
    )
    np.testing.assert_allclose(
        both["intensity"], normalise_to_band(series, band=BAND)["intensity"], rtol=1e-9
    )
    assert [step["step"] for step in json.loads(both.attrs["corrections"])] == [
        "laser_power",
        "reference_band",
    ]


@pytest.mark.parametrize("band", [(700.0, 1000.0), (1000.0, 1008.0), (1090.0, 940.0), 1012.0])
def test_an_impossible_band_is_refused(band: Any) -> None:
    with pytest.raises(RequestError, match="band: "):
        normalise_to_band(frames(drawn(900.0, 2)), band=band)


@pytest.mark.parametrize("power", [0.0, -1.0, "laser_power", "raman_shift", "time"])
def test_an_impossible_power_is_refused(power: Any) -> None:
    with pytest.raises(RequestError, match="power: "):
        normalise_to_power(frames(drawn(900.0, 2)), power=power)
    unitless = frames(drawn(900.0, 2), laser=("time", [1.0, 2.0]))
    with pytest.raises(RequestError, match="'laser' has no units"):
        normalise_to_power(unitless, power="laser")
