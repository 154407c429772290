"""Baselines: bands on a known background come out as they went in, whatever the chunking."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pybaselines import Baseline

from operando.corrections.baseline import BASELINE_FLAGS, subtract_baseline
from operando.errors import RequestError
from operando.model import check, count_flags

Array = npt.NDArray[np.float64]
SHIFT = np.arange(400.0, 1400.0, 2.0)


def bands(height: Array) -> Array:
    apart = (SHIFT - 590) / 15, (SHIFT - 1012) / 12
    return np.asarray(height * (1 / (1 + apart[0] ** 2) + 0.7 / (1 + apart[1] ** 2)))


def background() -> Array:
    return np.asarray(2000 + 1500 * np.exp(-(((SHIFT - 800) / 500) ** 2)) - 0.5 * SHIFT)


def frames(values: Array, **variables: Any) -> xr.Dataset:
    time = np.datetime64("2026-05-04T10:00:00", "ns")
    stamps = time + np.arange(len(values)) * np.timedelta64(60, "s")
    return xr.Dataset(
        {"intensity": (("time", "raman_shift"), values, {"units": "count"}), **variables},
        {
            "time": stamps,
            "time_start": ("time", stamps),
            "time_end": ("time", stamps),
            "raman_shift": ("raman_shift", SHIFT, {"units": "1/cm"}),
        },
        {"technique": "raman"},
    )


def series(count: int = 20, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    height = np.linspace(3000, 9000, count)[:, None]
    return frames(rng.poisson(background() + bands(height)).astype(float))


def test_bands_come_out_as_they_went_in() -> None:
    """Their height within 3 %: the wings of a Lorentzian band are broad, too."""
    done = check(subtract_baseline(series(), lam=1e6))
    expected = done["intensity"].copy(data=bands(np.linspace(3000, 9000, 20)[:, None]))
    for centre in (590, 1012):
        near = slice(centre - 3, centre + 3)
        ratio = (done["intensity"] / expected).sel(raman_shift=near).mean("raman_shift")
        assert np.abs(ratio - 1).max() < 0.07
        assert abs(float(ratio.mean()) - 1) < 0.03
    empty = done["intensity"].sel(raman_shift=slice(1200, 1400)).values
    assert abs(empty.mean()) < 10
    np.testing.assert_allclose(done["intensity"] + done["baseline"], series()["intensity"])
    assert (done["baseline_flag"] == 0).all()
    [step] = json.loads(done.attrs["corrections"])
    assert step == {"step": "baseline", "method": "arpls", "lam": 1e6}


def test_noise_is_that_of_the_counts_that_were_measured() -> None:
    done = subtract_baseline(series())
    level = background() + bands(np.linspace(3000, 9000, 20)[:, None])
    ratio = done["intensity_sigma"].values / np.sqrt(level)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.03)
    given = np.full(level.shape, 5.0)
    known = series().assign(intensity_sigma=(("time", "raman_shift"), given, {"units": "count"}))
    assert (subtract_baseline(known)["intensity_sigma"] == 5.0).all()


@pytest.mark.parametrize("method", ["arpls", "asls", "snip", "modpoly"])
@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7, "raman_shift": 100}])
def test_chunks_do_not_matter(method: str, chunks: dict[str, int]) -> None:
    whole = subtract_baseline(series(), method=method)
    lazy = subtract_baseline(series().chunk(chunks), method=method)
    assert all(lazy[name].chunks for name in ("intensity", "intensity_sigma", "baseline"))
    xr.testing.assert_identical(lazy.compute(), whole)


@given(st.floats(1e-2, 1e3), st.integers(0, 20))
@settings(max_examples=15, deadline=None)
def test_the_scale_does_not_matter(factor: float, seed: int) -> None:
    plain = series(3, seed)
    scaled = plain.copy(data={"intensity": factor * plain["intensity"].values})
    expected = factor * subtract_baseline(plain)["intensity"]
    found = subtract_baseline(scaled)["intensity"]
    np.testing.assert_allclose(found, expected, atol=1e-6 * factor * 9000)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("asls", {"lam": 1e5, "p": 0.02}), ("snip", {"max_half_window": 20}), ("imodpoly", {})],
)
def test_other_methods_are_those_of_pybaselines(method: str, parameters: dict[str, Any]) -> None:
    frames = series(3)
    done = check(subtract_baseline(frames, method=method, **parameters))
    for row, baseline in zip(frames["intensity"].values, done["baseline"].values, strict=True):
        expected, _ = getattr(Baseline(x_data=SHIFT), method)(row, **parameters)
        assert np.array_equal(baseline, expected)


def test_whole_numbers_may_be_written_as_real_ones() -> None:
    """As those of a recipe are."""
    done = subtract_baseline(series(2), method="modpoly", poly_order=3.0)
    expected = subtract_baseline(series(2), method="modpoly", poly_order=3)
    assert np.array_equal(done["baseline"], expected["baseline"])
    assert (subtract_baseline(series(2), max_iter=1.0)["baseline_flag"] == 2).all()


def test_what_cannot_be_believed_is_flagged() -> None:
    values = series(4)["intensity"].values
    values[1] = np.nan
    values[2, 100:105] = np.nan
    own = subtract_baseline(frames(values))
    assert own["baseline_flag"].values.tolist() == [0, BASELINE_FLAGS["no_data"], 0, 0]
    assert np.isnan(own["intensity"].values[1]).all()
    assert np.isfinite(own["baseline"].values[2]).all()
    assert np.array_equal(np.isnan(own["intensity"].values[2]), np.isnan(values[2]))
    theirs = subtract_baseline(frames(values), method="asls")
    assert count_flags(theirs["baseline_flag"], BASELINE_FLAGS) == {"no_data": 2}
    slow = subtract_baseline(frames(values), method="asls", max_iter=1)
    assert count_flags(slow["baseline_flag"], BASELINE_FLAGS) == {"no_data": 2, "not_converged": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "spline"}, "method: 'spline'; expected 'arpls' or one of"),
        ({"method": "collab_pls"}, "method: 'collab_pls'"),
        ({"method": "_setup_whittaker"}, "method: '_setup_whittaker'"),
        ({"lamda": 1e5}, "arpls: no parameter 'lamda'; there are"),
        ({"method": "asls", "lamda": 1e5}, "asls: no parameter 'lamda'; there are"),
        ({"lam": -1.0}, "lam: -1.0"),
        ({"tol": 0.0}, "tol: 0.0"),
        ({"max_iter": 0}, "max_iter: 0"),
        ({"method": "asls", "lam": -1.0}, "asls: {'lam': -1}; pybaselines says"),
    ],
)
def test_an_impossible_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        subtract_baseline(series(2), **options)


def test_other_data_are_refused() -> None:
    with pytest.raises(RequestError, match="no intensity on time and raman_shift"):
        subtract_baseline(series(2).isel(time=0).expand_dims(frame=2, time=1))
    with pytest.raises(RequestError, match="raman_shift: 3 points"):
        subtract_baseline(series(2).isel(raman_shift=slice(0, 3)))
