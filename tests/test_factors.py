"""Spectra and concentrations of a simulated cell, by factorisation and by alternating fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import NMF

import operando
from operando.corrections.baseline import subtract_baseline
from operando.corrections.cosmic_rays import remove_cosmic_rays
from operando.errors import RequestError
from operando.observables.factors import CAUTIONS, FACTOR_ASSESSMENT, nmf
from operando.observables.fractions import ASSESSMENT
from operando.observables.species import resolve

Array = npt.NDArray[np.float64]
SHIFT = np.arange(400.0, 1201.0, 1.6)
WHOLE = (float(SHIFT[0]), float(SHIFT[-1]))
FRAMES = 120


def lines(*parts: tuple[float, float, float]) -> Array:
    """Gaussian lines, of an area of one together."""
    found = np.zeros(SHIFT.size)
    for centre, width, height in parts:
        found += height * np.exp(-0.5 * ((SHIFT - centre) / width) ** 2)
    return np.asarray(found / (0.5 * (found[1:] + found[:-1]) * np.diff(SHIFT)).sum())


OXIDE = lines((482, 11, 0.5), (590, 14, 1.0))
ELECTROLYTE = lines((424, 16, 0.4), (928, 15, 0.4), (1012, 13, 1.0))
CARBONATE = lines((1085, 7, 1.0))
TRUTH = np.stack([ELECTROLYTE, OXIDE, CARBONATE])


def amounts() -> Array:
    """The electrolyte wanders, the oxide goes through zero, carbonate grows from nothing."""
    t = np.arange(FRAMES)
    focus = 4e4 * (1 + 0.05 * np.sin(t / 3))
    oxide = 3e4 * np.clip(np.cos(t / 12), 0, None)
    return np.stack([focus, oxide, 1e4 * np.clip((t - 50) / 40, 0, 1)], axis=1)


def series(noise: float = 5.0, seed: int = 0, **coords: Any) -> xr.DataArray:
    clean = amounts() @ TRUTH
    time = np.datetime64("2026-05-04T10:00:00", "ns")
    return xr.DataArray(
        clean + noise * np.random.default_rng(seed).standard_normal(clean.shape),
        dims=("time", "raman_shift"),
        coords={
            "time": time + np.arange(FRAMES) * np.timedelta64(60, "s"),
            "raman_shift": ("raman_shift", SHIFT, {"units": "1/cm"}),
            "voltage": ("time", np.linspace(3, 4, FRAMES), {"units": "V"}),
            **coords,
        },
        name="intensity",
        attrs={"units": "count"},
    )


def matched(result: xr.Dataset) -> xr.Dataset:
    """Return the components in the order of the truth."""
    alike = np.corrcoef(np.concatenate([result["spectrum"].values, TRUTH]))[:3, 3:]
    order = alike.argmax(axis=0)
    assert sorted(order.tolist()) == [0, 1, 2]
    return result.isel(component=order)


def test_three_species_are_found_by_factorisation() -> None:
    result = matched(nmf(series(), components=3))
    for at, truth in enumerate(TRUTH):
        assert np.corrcoef(result["spectrum"][at], truth)[0, 1] > 0.99
    expected = amounts()
    apart = np.abs(result["concentration"].values - expected).max(axis=0) / expected.max(axis=0)
    assert apart[:2].max() < 0.06
    assert apart[2] < 0.4  # the electrolyte is never absent, so that some of it counts as carbonate
    assert result.attrs["explained_variance"] > 0.98
    assert result.attrs["converged"] == 1
    assert float(result["contribution"].sum()) == pytest.approx(1.0)
    assert float(result["residual"].median()) == pytest.approx(5.0, rel=0.05)
    assert result["voltage"].dims == ("time",)


def test_spectra_have_an_area_of_one_and_rebuild_the_frames() -> None:
    norm = series()
    result = nmf(norm, components=3)
    shape = result["spectrum"].values
    area = (0.5 * (shape[:, 1:] + shape[:, :-1]) * np.diff(SHIFT)).sum(axis=1)
    np.testing.assert_allclose(area, 1.0)
    assert (shape >= 0).all()
    assert (result["concentration"] >= 0).all()
    back = result["concentration"].values @ shape
    assert np.sqrt(np.square(back - norm.values).mean()) < 5.2
    whole = result["concentration"].sum("component")
    # Noise below zero counts as nothing, that above it as signal: 0.4 of 5 counts over 800 1/cm.
    np.testing.assert_allclose(whole, amounts().sum(axis=1), atol=0.4 * 5 * 800)


def test_it_is_that_of_scikit_learn() -> None:
    norm = np.maximum(series().values, 0.0)
    model = NMF(3, init="nndsvda", tol=1e-4, max_iter=2000, random_state=0)
    expected = model.fit_transform(norm / norm.max()) @ model.components_ * norm.max()
    result = nmf(series(), components=3)
    found = result["concentration"].values @ result["spectrum"].values
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_what_is_ambiguous_is_told() -> None:
    """Without a frame or a shift where it is absent, as much of one species may be the other."""
    parts = np.stack([0.4 + 0.2 * np.sin(np.arange(FRAMES) / 9), np.full(FRAMES, 0.5)], axis=1)
    wide = np.stack([ELECTROLYTE + 0.3 * OXIDE, OXIDE + 0.3 * ELECTROLYTE]) / 1.3
    mixed = series().copy(data=1e5 * parts @ wide)
    result = nmf(mixed, components=2)
    width = result["concentration_high"] - result["concentration_low"]
    assert (width / result["concentration"].max("time")).max() > 0.2
    assert (result["assessment"].values & FACTOR_ASSESSMENT["ambiguous"]).all()
    pure = np.stack([np.linspace(1, -1, FRAMES), np.linspace(-1, 1, FRAMES)], axis=1).clip(0)
    apart = np.stack([OXIDE, CARBONATE])
    clear = nmf(series().copy(data=1e5 * pure @ apart), components=2)
    assert not (clear["assessment"].values & FACTOR_ASSESSMENT["ambiguous"]).any()


def test_frames_that_hold_something_else_are_flagged() -> None:
    norm = series()
    norm[7] -= 300 * np.exp(-0.5 * ((SHIFT - 700) / 20) ** 2)
    norm[11, 100] = np.nan
    norm[20] = -norm[20]
    result = nmf(norm, components=3)
    bits = result["assessment"].values
    assert bits[11] == FACTOR_ASSESSMENT["nonfinite"]
    assert np.isnan(result["concentration"].values[11]).all()
    assert bits[7] & FACTOR_ASSESSMENT["misfit"]
    assert bits[20] & FACTOR_ASSESSMENT["negative"]
    cautions = result["assessment"].attrs["cautions"]
    assert cautions == sum(FACTOR_ASSESSMENT[name] for name in CAUTIONS)
    assert (np.delete(bits, [7, 11, 20]) & ~cautions == 0).all()


@given(st.floats(1e-3, 1e4))
@settings(max_examples=10, deadline=None)
def test_the_scale_does_not_matter(factor: float) -> None:
    plain = nmf(series(), components=3)
    scaled = nmf(factor * series(), components=3)
    np.testing.assert_allclose(scaled["spectrum"], plain["spectrum"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        scaled["concentration"], factor * plain["concentration"], rtol=1e-6, atol=factor * 1e-3
    )


def test_chunks_do_not_matter() -> None:
    norm = series()
    whole = nmf(norm, components=3, window=(450.0, 1150.0))
    lazy = nmf(norm.chunk({"time": 7, "raman_shift": 100}), components=3, window=(450.0, 1150.0))
    xr.testing.assert_identical(whole, lazy)
    assert whole["raman_shift"][0] >= 450.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components: 0; expected 1 to 12"),
        ({"components": 13}, "components: 13"),
        ({"components": 3, "window": (100.0, 900.0)}, "window: .*1/cm of the frames"),
        ({"components": 3, "window": (500.0, 502.0)}, "1/cm holds"),
    ],
)
def test_an_impossible_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        nmf(series(), **options)


def test_too_little_is_refused() -> None:
    with pytest.raises(RequestError, match="4 of 4 frames without a gap"):
        nmf(series()[:4], components=2)
    with pytest.raises(RequestError, match="something above zero"):
        nmf(-abs(series()), components=2)
    with pytest.raises(RequestError, match="norm: dimensions"):
        nmf(series()[0], components=2)


def test_alternating_fits_find_amounts_of_raman_spectra() -> None:
    """The same series by `resolve`, not closed, with the electrolyte known, in other units."""
    known = xr.DataArray(
        7.0 * ELECTROLYTE, {"raman_shift": SHIFT}, dims="raman_shift", attrs={"units": "count"}
    )
    result = resolve(
        series(), count=3, window=WHOLE, closed=False, known={"electrolyte": known}, sigma=5.0
    )
    assert result["component"].values.tolist() == ["electrolyte", "unknown 1", "unknown 2"]
    found, expected = matched(result), amounts()
    for name in ("fraction", "fraction_sigma"):
        assert name not in result
    assert found["concentration"].attrs["units"] == "count * 1/cm"
    spread = found["concentration_sigma"].values
    low = found["concentration_low"].values - 4 * spread
    high = found["concentration_high"].values + 4 * spread
    inside = (expected > low - 0.02 * expected) & (expected < high + 0.02 * expected)
    assert inside[:, 1:].mean() > 0.95
    assert (found["assessment"].values & ASSESSMENT["poor_fit"] == 0).all()
    assert result.attrs["residual"] == pytest.approx(5.0, rel=0.03)


def test_amounts_with_all_spectra_known_have_true_sigma() -> None:
    """Pulls against the amounts that were put in: 120 frames, three species."""
    known = {
        name: xr.DataArray(spectrum, {"raman_shift": SHIFT}, dims="raman_shift")
        for name, spectrum in zip(("a", "b", "c"), TRUTH, strict=True)
    }
    result = resolve(series(seed=3), count=3, window=WHOLE, closed=False, known=known, sigma=5.0)
    away = amounts() > 1e3
    pulls = ((result["concentration"] - amounts()) / result["concentration_sigma"]).values[away]
    assert 0.9 < pulls.std() < 1.1
    assert abs(pulls.mean()) < 0.2
    other = known["a"].rename(raman_shift="energy")
    with pytest.raises(RequestError, match=r"known\['a'\]: dimensions"):
        resolve(series(), count=2, window=WHOLE, closed=False, known={"a": other})


@pytest.mark.shared_data
def test_a_real_series_is_taken_apart(shared_data: Path) -> None:
    """532 spectra: three factors explain nearly what three principal components can (96 %)."""
    file = shared_data / "formats" / "raman" / "labspec_txt" / "Activation.txt"
    options = {"date_order": "dmy"}
    frames = operando.read(file, format="labspec_text", tz="UTC", options=options).load()
    bare = subtract_baseline(remove_cosmic_rays(frames), lam=1e6)["intensity"]
    result = nmf(bare, components=3)
    rows = np.maximum(bare.values, 0.0)
    left = np.linalg.svd(rows, compute_uv=False)[3:]
    best = 1 - np.square(left).sum() / np.square(rows - rows.mean(axis=0)).sum()
    assert best - 0.07 < result.attrs["explained_variance"] < best
