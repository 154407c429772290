"""arPLS against the paper written out with dense matrices, and against pybaselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pybaselines import Baseline

import operando
from operando.corrections.arpls import LANES, arpls

Array = npt.NDArray[np.float64]
POINTS = 300


def spectra(count: int, points: int = POINTS, seed: int = 0) -> Array:
    """Counts of two bands, of all widths and heights, on a curved background."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, points)
    rows = []
    for _ in range(count):
        centre, width = rng.uniform(0.1, 0.9, 2), rng.uniform(0.01, 0.05, 2)
        height = rng.uniform(0, 4000, 2)
        bands = (height[:, None] / (1 + ((x - centre[:, None]) / width[:, None]) ** 2)).sum(axis=0)
        rows.append(1000 + 800 * np.sin(rng.uniform(1, 5) * x) + bands)
    return rng.poisson(np.maximum(rows, 1.0)).astype(float)


def by_the_paper(y: Array, lam: float, tolerance: float, rounds: int) -> tuple[Array, int]:
    """Baek et al. (2015), with dense matrices; points that are NaN have no weight."""
    there = np.isfinite(y)
    known = np.where(there, y, 0.0)
    bend = np.diff(np.eye(y.size), 2, axis=0)
    weight = there.astype(float)
    number = 0
    while number <= rounds:
        number += 1
        z = np.linalg.solve(np.diag(weight) + lam * bend.T @ bend, weight * known)
        below = (known - z)[there & (known < z)]
        if below.size < 2:
            break
        mean, spread = below.mean(), below.std(ddof=1)
        power = np.clip(2 * (known - z - (2 * spread - mean)) / spread, -700, 700)
        new = np.where(there, 1 / (1 + np.exp(power)), 0.0)
        change = np.linalg.norm(new - weight) / np.linalg.norm(weight)
        weight = new
        if change < tolerance:
            break
    return z, number


@pytest.mark.parametrize("lam", [1e3, 1e5, 1e6])
def test_it_is_what_the_paper_says(lam: float) -> None:
    rows = spectra(5)
    found, taken = arpls(rows, lam=lam, tolerance=1e-3, rounds=50)
    for row, baseline, number in zip(rows, found, taken, strict=True):
        expected, rounds = by_the_paper(row, lam, 1e-3, 50)
        assert number == rounds
        np.testing.assert_allclose(baseline, expected, atol=1e-7 * np.ptp(row))


@pytest.mark.parametrize("lam", [1e4, 1e5, 1e6])
def test_it_is_that_of_pybaselines(lam: float) -> None:
    rows = spectra(40, points=1024, seed=1)
    found, taken = arpls(rows, lam=lam)
    for row, baseline, number in zip(rows, found, taken, strict=True):
        expected, facts = Baseline().arpls(row, lam=lam, tol=1e-3, max_iter=50)
        assert number == len(facts["tol_history"])
        assert np.abs(baseline - expected).max() < 1e-7 * np.ptp(row)


@pytest.mark.shared_data
@pytest.mark.parametrize("lam", [1e4, 1e5, 1e6])
def test_real_spectra_as_pybaselines_has_them(shared_data: Path, lam: float) -> None:
    """Every tenth of 532 spectra of 1024 points; a thousandth of the range is what is asked for."""
    file = shared_data / "formats" / "raman" / "labspec_txt" / "Activation.txt"
    options = {"date_order": "dmy"}
    frames = operando.read(file, format="labspec_text", tz="UTC", options=options)
    rows = frames["intensity"].values[::10]
    found, _ = arpls(rows, lam=lam)
    expected = np.array([Baseline().arpls(row, lam=lam, tol=1e-3, max_iter=50)[0] for row in rows])
    apart = np.abs(found - expected).max(axis=1) / np.ptp(rows, axis=1)
    assert apart.max() < 1e-7


@given(st.integers(1, 3 * LANES), st.integers(0, 2**31), st.sampled_from([1e3, 1e6]))
@settings(max_examples=25, deadline=None)
def test_lanes_do_not_touch(count: int, seed: int, lam: float) -> None:
    """Alone, in another order, cut anywhere: the same to the last bit."""
    rng = np.random.default_rng(seed)
    rows = spectra(count, points=64, seed=seed)
    rows[rng.random(count) < 0.2] = np.nan
    whole, taken = arpls(rows, lam=lam)
    order = rng.permutation(count)
    again, also = arpls(rows[order], lam=lam)
    assert np.array_equal(again, whole[order], equal_nan=True)
    assert np.array_equal(also, taken[order])
    cut = int(rng.integers(0, count + 1))
    parts = [arpls(part, lam=lam)[0] for part in (rows[:cut], rows[cut:])]
    assert np.array_equal(np.concatenate(parts), whole, equal_nan=True)


@given(st.floats(1e-3, 1e4), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_it_follows_scale_and_straight_lines(
    scale: float, level: float, slope: float, seed: int
) -> None:
    """Neither changes the weights: the penalty does not see a line."""
    rows = spectra(2, points=200, seed=seed)
    line = level + slope * np.linspace(0, 1, 200)
    plain, taken = arpls(rows, lam=1e4)
    found, also = arpls(scale * rows + line, lam=1e4)
    assert np.array_equal(taken, also)
    np.testing.assert_allclose(found, scale * plain + line, atol=1e-6 * (scale * 5e3 + 2e3))


def test_it_goes_on_across_gaps() -> None:
    rows = spectra(4, seed=3)
    rows[0, 100:120] = np.nan
    rows[1, :30] = np.inf
    rows[2, ::3] = np.nan
    found, _ = arpls(rows, lam=1e4)
    for row, baseline in zip(rows, found, strict=True):
        expected, _ = by_the_paper(np.where(np.isfinite(row), row, np.nan), 1e4, 1e-3, 50)
        np.testing.assert_allclose(baseline, expected, atol=1e-6 * 5e3)


def test_a_spectrum_that_is_mostly_missing_has_none() -> None:
    rows = spectra(3)
    rows[1, 10:200] = np.nan
    found, taken = arpls(rows)
    assert np.isnan(found[1]).all()
    assert taken[1] == 0
    assert np.isfinite(found[[0, 2]]).all()
    empty, none = arpls(np.empty((0, 50)))
    assert empty.shape == (0, 50)
    assert none.size == 0


def test_flat_and_straight_spectra_are_their_own_baseline() -> None:
    rows = np.stack([np.full(50, 7.0), np.arange(50.0), np.zeros(50)])
    found, _ = arpls(rows)
    np.testing.assert_allclose(found, rows, atol=1e-6)


def test_rounds_end_it() -> None:
    rows = spectra(3)
    found, taken = arpls(rows, rounds=2)
    assert np.array_equal(taken, [3, 3, 3])
    expected = np.array([by_the_paper(row, 1e5, 1e-3, 2)[0] for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-4)
