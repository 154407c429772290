"""Noise of counts, estimated from single spectra, against what they were drawn with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.corrections.count_noise import estimate_noise, noise_of_frames

Array = npt.NDArray[np.float64]
AXIS = np.arange(400.0, 1400.0, 1.3)


def expected(height: float) -> Array:
    band = height / (1 + ((AXIS - 1000) / 10) ** 2)
    return np.asarray(500 + 300 * np.exp(-(((AXIS - 700) / 300) ** 2)) + band)


@pytest.mark.parametrize("gain", [0.5, 1.0, 7.0])
@pytest.mark.parametrize("height", [0.0, 5000.0])
def test_the_noise_of_counts(gain: float, height: float) -> None:
    """Variance is gain times level; the noise is found to 5 % in each frame."""
    rng = np.random.default_rng(1)
    level = expected(height)
    rows = gain * rng.poisson(level, (300, level.size)).astype(np.float64)
    ratio = estimate_noise(AXIS, rows, counted=True) / (gain * np.sqrt(level))
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)
    assert np.std(np.median(ratio, axis=1)) < 0.06


def test_even_noise_where_nothing_is_counted() -> None:
    rng = np.random.default_rng(2)
    rows = expected(0.0) + 3 * rng.standard_normal((300, AXIS.size))
    found = estimate_noise(AXIS, rows, counted=False)
    assert np.ptp(found, axis=1).max() == 0
    assert np.median(found) == pytest.approx(3.0, rel=0.02)


def test_gaps_hide_nothing_and_few_points_tell_nothing() -> None:
    rng = np.random.default_rng(3)
    rows = rng.poisson(expected(0.0), (3, AXIS.size)).astype(float)
    whole = estimate_noise(AXIS, rows, counted=True)
    rows[1, 100:300] = np.nan
    rows[2, 8:] = np.nan
    found = estimate_noise(AXIS, rows, counted=True)
    assert np.array_equal(found[0], whole[0])
    assert found[1, 50] == pytest.approx(whole[1, 50], rel=0.15)
    assert np.isnan(found[2]).all()


def test_what_is_given_is_kept() -> None:
    rows = np.ones((2, AXIS.size))
    time = np.array(["2026-01-01", "2026-01-02"], "datetime64[ns]")
    frames = xr.Dataset(
        {
            "intensity": (("time", "raman_shift"), rows, {"units": "count"}),
            "intensity_sigma": (("time", "raman_shift"), 4 * rows, {"units": "count"}),
        },
        {"time": time, "raman_shift": AXIS},
    )
    assert (noise_of_frames(frames, "raman_shift") == 4).all()
    estimated = noise_of_frames(frames.drop_vars("intensity_sigma"), "raman_shift")
    assert estimated.attrs["units"] == "count"
    assert np.abs(estimated).max() < 1e-12
