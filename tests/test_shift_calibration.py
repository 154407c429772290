"""Drift of the Raman shift axis: recovered from simulated counts, with the error it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from operando.corrections.baseline import subtract_baseline
from operando.corrections.shift_calibration import (
    SHIFT_FLAGS,
    band_shift,
    calibrate_shift,
    line_centre,
)
from operando.errors import RequestError
from operando.model import check, flag_names

Array = npt.NDArray[np.float64]
SHIFT = np.r_[np.arange(450.0, 520.0, 1.5), np.arange(520.0, 640.0, 1.3)]
SILICON = 520.5
WINDOW = (495.0, 546.0)


def expected(off: Array, height: float = 8000.0) -> Array:
    """The line of silicon and another one, on a slope; off: how much too high all of it lies."""
    x = SHIFT - off[:, None]
    line = height / (1 + ((x - SILICON) / 3.5) ** 2)
    other = 1500 * np.exp(-0.5 * ((x - 600) / 8) ** 2)
    return np.asarray(900 - 0.8 * (x - 500) + line + other)


def frames(values: Array, **coords: Any) -> xr.Dataset:
    time = np.datetime64("2026-05-04T10:00:00", "ns")
    stamps = time + np.arange(len(values)) * np.timedelta64(125, "s")
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


def drawn(off: Array, *, gain: float = 1.0, seed: int = 0, **coords: Any) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    return frames(gain * rng.poisson(expected(off) / gain).astype(np.float64), **coords)


def drifting(count: int, jitter: float = 0.05, seed: int = 1) -> Array:
    """A walk of the slope, and a jitter."""
    rng = np.random.default_rng(seed)
    slope = np.cumsum(rng.normal(0, 2e-4, count))
    return np.asarray(np.cumsum(slope) + rng.normal(0, jitter, count))


@pytest.mark.parametrize("gain", [1.0, 5.0])
@pytest.mark.parametrize("line", [None, SILICON])
def test_sigma_is_that_of_the_error(gain: float, line: float | None) -> None:
    """Of 600 frames: of what each shows by itself, and of what is to be corrected."""
    off = drifting(600)
    shift = band_shift(drawn(off, gain=gain), window=WINDOW, line=line, baseline=100)
    zero = 0.0 if line is not None else off[:100].mean()
    for name in ("raw_shift", "shift_correction"):
        pulls = (shift[name].values - (off - zero)) / shift[f"{name}_sigma"].values
        common = shift.attrs["offset_sigma"] / float(shift[f"{name}_sigma"].median())
        assert 0.9 < pulls.std() < 1.1
        assert abs(pulls.mean()) < 0.15 + 3 * common
    assert shift.attrs["offset_sigma"] < 0.02
    assert float(shift["raw_shift_chi2"].median()) == pytest.approx(1.0, abs=0.1)
    assert shift.attrs["jitter"] == pytest.approx(0.05, rel=0.3)


def test_frames_are_brought_onto_the_true_axis() -> None:
    off = drifting(120, seed=2)
    series = drawn(off)
    shift = band_shift(series, window=WINDOW, line=SILICON)
    done = check(calibrate_shift(series, shift, limit=4.0))
    left = band_shift(done, window=WINDOW, line=SILICON, smooth=False)
    assert left["raw_shift"].std() < 0.03 < 0.05 < off.std()
    assert abs(float(left["raw_shift"].mean())) < 0.02
    assert done.sizes["raman_shift"] < series.sizes["raman_shift"]
    # Sigma is that of the counts before they were moved (6 % too large: the line is strong, sharp,
    # and a sixth of all points).
    before = subtract_baseline(series)["intensity_sigma"].sel(raman_shift=done["raman_shift"])
    np.testing.assert_allclose(done["intensity_sigma"], before, rtol=0.3)
    ratio = done["intensity_sigma"] ** 2 / done["intensity"]
    assert float(ratio.median()) == pytest.approx(1.06**2, abs=0.05)
    steps = json.loads(done.attrs["corrections"])
    assert steps[0]["step"] == "shift_calibration"
    assert steps[0]["line"] == SILICON
    assert steps[0]["limit"] == 4.0


def test_a_frame_is_the_spline_through_its_points() -> None:
    series = drawn(np.zeros(3))
    shift = given_shift(series, [0.7, 0.0, -1.1])
    done = calibrate_shift(series, shift, limit=4.0)
    for row, off in enumerate([0.7, 0.0, -1.1]):
        spline = CubicSpline(SHIFT, series["intensity"].values[row])
        np.testing.assert_allclose(
            done["intensity"].values[row], spline(done["raman_shift"].values + off), rtol=1e-9
        )


def given_shift(series: xr.Dataset, off: npt.ArrayLike) -> xr.Dataset:
    values = np.asarray(off, dtype=float)
    return xr.Dataset(
        {
            "shift_correction": ("time", values, {"units": "1/cm"}),
            "shift_correction_sigma": ("time", 0.1 + 0 * values, {"units": "1/cm"}),
        },
        {"time": series["time"]},
    )


def test_masks_and_sigma_move_along() -> None:
    values = expected(np.zeros(2))
    series = frames(values)
    mask = np.zeros(values.shape, np.int8)
    mask[:, 60] = 1
    series["cosmic_ray"] = (("time", "raman_shift"), mask, {"units": "1"})
    series["intensity_sigma"] = (("time", "raman_shift"), 1 + 0 * values, {"units": "count"})
    series["dark"] = ("raman_shift", SHIFT, {"units": "count"})
    done = calibrate_shift(series, given_shift(series, [0.5, 0.0]), limit=4.0)
    near = np.abs(done["raman_shift"].values - SHIFT[60]) < 1.6
    assert done["cosmic_ray"].dtype == np.int8
    assert done["cosmic_ray"].values[0].sum() == 2
    assert done["cosmic_ray"].values[1].sum() == 1
    assert not done["cosmic_ray"].values[:, ~near].any()
    assert (done["intensity_sigma"] == 1).all()
    assert np.array_equal(done["dark"], done["raman_shift"])


def test_too_far_and_unknown_frames_are_none() -> None:
    series = drawn(np.zeros(4))
    done = calibrate_shift(series, given_shift(series, [0.2, 7.0, np.nan, -0.2]), limit=4.0)
    assert np.isnan(done["intensity"].values).all(axis=1).tolist() == [False, True, True, False]
    assert flag_names(int(done["shift_flag"][1]), SHIFT_FLAGS) == ["beyond_limit"]


def test_a_jump_is_not_smoothed_over() -> None:
    off = np.where(np.arange(80) < 40, 0.0, 2.5)
    shift = band_shift(drawn(off), window=WINDOW)
    assert np.flatnonzero(shift["shift_flag"].values & SHIFT_FLAGS["jump"]).tolist() == [40]
    assert np.abs(shift["shift_correction"].values - off).max() < 0.15


def test_frames_of_other_positions_have_the_smooth_drift() -> None:
    """Silicon beside the cell every third frame; the others have no such line."""
    off = np.cumsum(np.full(240, 0.004))
    layer = np.array(["silicon", "PE", "NE"] * 80)
    values = expected(off)
    bare = np.array([900 - 0.8 * (SHIFT - 500)])
    values = np.where((layer == "silicon")[:, None], values, bare)
    rng = np.random.default_rng(3)
    series = frames(rng.poisson(values).astype(float), position=("time", layer))
    shift = band_shift(series, window=WINDOW, line=SILICON, position="silicon")
    pulls = (shift["shift_correction"].values - off) / shift["shift_correction_sigma"].values
    assert np.isfinite(pulls).all()
    assert np.abs(shift["shift_correction"].values - off).max() < 0.05
    assert pulls.std() < 1.3
    others = layer != "silicon"
    assert (shift["shift_flag"].values[others] == SHIFT_FLAGS["unmatched"]).all()
    with pytest.raises(RequestError, match="position: None; expected one of"):
        band_shift(series, window=WINDOW)
    with pytest.raises(RequestError, match="position: 'SSE'; expected one of"):
        band_shift(series, window=WINDOW, position="SSE")


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7, "raman_shift": 40}])
def test_chunks_do_not_matter(chunks: dict[str, int]) -> None:
    series = drawn(drifting(40))
    shift = band_shift(series, window=WINDOW, line=SILICON)
    xr.testing.assert_identical(
        band_shift(series.chunk(chunks), window=WINDOW, line=SILICON), shift
    )
    whole = calibrate_shift(series, shift)
    lazy = calibrate_shift(series.chunk(chunks), shift)
    assert lazy["intensity"].chunks
    xr.testing.assert_identical(lazy.compute(), whole)


@given(st.floats(1e-2, 1e3), st.floats(-3.0, 3.0), st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_it_follows_scale_and_axis(factor: float, move: float, seed: int) -> None:
    """Another scale changes nothing; an axis that reads higher is corrected by as much more."""
    series = drawn(drifting(12, seed=seed), seed=seed)
    plain = band_shift(series, window=WINDOW, line=SILICON)
    scaled = band_shift(
        series.assign(intensity=factor * series["intensity"]).assign(
            intensity_sigma=factor * np.sqrt(series["intensity"])
        ),
        window=WINDOW,
        line=SILICON,
    )
    same = band_shift(
        series.assign(intensity_sigma=np.sqrt(series["intensity"])), window=WINDOW, line=SILICON
    )
    np.testing.assert_allclose(scaled["raw_shift"], same["raw_shift"], atol=1e-5)
    axis = ("raman_shift", SHIFT + move, {"units": "1/cm"})
    moved = series.assign_coords(raman_shift=axis)
    window = (WINDOW[0] + move, WINDOW[1] + move)
    found = band_shift(moved, window=window, line=SILICON)
    np.testing.assert_allclose(found["raw_shift"], plain["raw_shift"] + move, atol=1e-4)


def test_the_centre_of_a_line() -> None:
    """Pulls of 300 spectra with a Lorentzian line on a slope."""
    rng = np.random.default_rng(4)
    inside = np.abs(SHIFT - SILICON) < 25
    grid, level = SHIFT[inside], expected(np.zeros(1), height=2000.0)[0, inside]
    found = np.array([line_centre(grid, rng.poisson(level), np.sqrt(level)) for _ in range(300)])
    pulls = (found[:, 0] - SILICON) / found[:, 1]
    assert 0.8 < pulls.std() < 1.1  # sigma is widened where chi-square is by chance above one
    assert abs(pulls.mean()) < 0.2
    noise = 30 * rng.standard_normal((50, grid.size))
    lost = [line_centre(grid, 900 + row, np.full(grid.size, 30.0))[0] for row in noise]
    assert np.isnan(lost).mean() > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (400.0, 540.0)}, "window: "),
        ({"window": (520.0, 526.0)}, "window: "),
        ({"window": (546.0, 495.0)}, "window: "),
        ({"window": 520.5}, "window: 520.5"),
        ({"window": WINDOW, "line": 600.0}, "line: 600.0"),
        ({"window": WINDOW, "baseline": 0}, "baseline: 0"),
        ({"window": WINDOW, "jump": 0.0}, "jump: 0.0"),
    ],
)
def test_an_impossible_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        band_shift(drawn(np.zeros(5)), **options)


def test_what_cannot_be_measured_is_refused() -> None:
    series = drawn(np.zeros(5))
    gone = series.copy(data={"intensity": np.full(series["intensity"].shape, np.nan)})
    with pytest.raises(RequestError, match="no frame has the whole band"):
        band_shift(gone, window=WINDOW)
    with pytest.raises(RequestError, match="other times"):
        calibrate_shift(series, given_shift(series, np.zeros(5)).isel(time=slice(1, None)))
    with pytest.raises(RequestError, match="no 'shift_correction'"):
        calibrate_shift(series, series)
    with pytest.raises(RequestError, match="limit: 100 1/cm"):
        calibrate_shift(series, given_shift(series, np.zeros(5)), limit=100.0)
