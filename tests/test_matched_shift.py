"""Matched shifts against simulated truth, published accuracy, scipy and larch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares
from scipy.signal import savgol_filter

from operando.corrections.cubic import resample
from operando.corrections.matched_shift import matched_shift
from operando.corrections.normalisation import normalise
from operando.errors import RequestError
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

E0 = 8345.0
ENERGY = np.r_[np.arange(8200.0, 8300, 2), np.arange(8300, 8400, 0.5), np.arange(8400, 8500, 1.5)]
WINDOW = (8330.0, 8370.0)


def edge(energy: Array, centre: float = E0) -> Array:
    """An arctan step and a Gaussian white line, of step one."""
    rise = np.arctan((energy - centre) / 1.5) / np.pi + 0.5
    return np.asarray(rise + 0.6 * np.exp(-(((energy - centre - 6) / 3) ** 2)))


def series(shifts: npt.ArrayLike, noise: float = 0.0, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    rows = np.stack([edge(ENERGY, E0 + shift) for shift in np.atleast_1d(shifts)])
    return np.asarray(rows + noise * rng.standard_normal(rows.shape))


@given(st.floats(-8, 8), st.floats(0.05, 20), st.floats(-5, 5), st.floats(-1e-2, 1e-2))
@settings(deadline=None)  # the first call compiles
def test_shift_and_scale_of_a_raw_spectrum(
    shift: float, scale: float, offset: float, slope: float
) -> None:
    mu = scale * series(shift) + offset + slope * (ENERGY - E0)
    found = matched_shift(ENERGY, mu, edge(ENERGY), window=WINDOW, degree=1)
    assert found.converged.all()
    assert found.shift[0] == pytest.approx(shift, abs=1e-3)
    assert found.scale[0] == pytest.approx(scale, rel=1e-3)


@pytest.mark.parametrize("degree", [None, 0, 1])
@pytest.mark.parametrize("noise", [1e-3, 1e-2])
@pytest.mark.parametrize("told", [True, False])
def test_pulls(degree: int | None, noise: float, told: bool) -> None:
    truth = np.random.default_rng(1).uniform(-0.5, 0.5, 3000)
    found = matched_shift(
        ENERGY,
        series(truth, noise, seed=2),
        edge(ENERGY),
        window=WINDOW,
        sigma=noise if told else None,
        degree=degree,
    )
    pulls = (found.shift - truth) / found.sigma
    assert 0.95 < pulls.std() < 1.06
    assert abs(pulls.mean()) < 0.06
    assert found.chi2.mean() == pytest.approx(1, abs=0.05)


def test_pulls_with_noise_that_differs_from_point_to_point() -> None:
    profile = 3e-3 * np.where(ENERGY > E0, 4.0, 1.0)
    truth = np.random.default_rng(3).uniform(-0.5, 0.5, 3000)
    noise = profile * np.random.default_rng(4).standard_normal((truth.size, ENERGY.size))
    mu = series(truth) + noise
    for sigma in (profile, np.broadcast_to(profile, mu.shape)):
        found = matched_shift(ENERGY, mu, edge(ENERGY), window=WINDOW, sigma=sigma, degree=1)
        assert 0.95 < ((found.shift - truth) / found.sigma).std() < 1.06
    even = matched_shift(ENERGY, mu, edge(ENERGY), window=WINDOW, sigma=1e-2, degree=1)
    assert (found.shift - truth).std() < 0.9 * (even.shift - truth).std()


@pytest.mark.parametrize("degree", [None, 0, 1])
def test_agrees_with_a_general_fit(degree: int | None) -> None:
    mu = series([0.37, -2.2], 5e-3) + (0 if degree is None else 0.3)
    sigma = 5e-3 * (1 + np.linspace(0, 2, ENERGY.size))
    found = matched_shift(ENERGY, mu, edge(ENERGY), window=WINDOW, sigma=sigma, degree=degree)
    spline = CubicSpline(ENERGY, edge(ENERGY))
    inside = np.abs(ENERGY - 8350) <= 20
    x = ENERGY[inside]
    for row, y in enumerate(mu[:, inside]):

        def residual(theta: Array, y: Array = y) -> Array:
            line = np.polynomial.polynomial.polyval(x - E0, np.r_[theta[2:], 0.0])
            model = theta[1] * spline(x - theta[0]) + line
            return np.asarray((y - model) / sigma[inside])

        start = np.r_[found.shift[row] + 0.1, 1.0, np.zeros(0 if degree is None else degree + 1)]
        fit = least_squares(residual, start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14)
        covariance = np.linalg.inv(fit.jac.T @ fit.jac)
        assert found.shift[row] == pytest.approx(fit.x[0], abs=2e-6)
        assert found.scale[row] == pytest.approx(fit.x[1], rel=1e-5)
        assert found.sigma[row] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-4)
        freedom = x.size - fit.x.size
        assert found.chi2[row] == pytest.approx(2 * fit.cost / freedom, rel=1e-8)


def test_noise_of_the_reference_is_one_error_of_all_rows() -> None:
    errors, own = [], 1e-4
    for seed in range(300):
        reference = series(0.0, 5e-3, seed=seed)[0]
        found = matched_shift(
            ENERGY,
            series([0.2, -0.3], own, seed=seed + 1000),
            reference,
            window=WINDOW,
            sigma=own,
            reference_sigma=5e-3,
        )
        errors.append(found.shift - [0.2, -0.3])
    common = found.sigma_reference
    assert np.std(errors, axis=0) == pytest.approx(common, rel=0.15)
    assert np.std(np.diff(errors)) < 0.6 * common[0]


def test_chi2_tells_a_mixture_from_a_shift() -> None:
    mixture = 0.5 * series([2.0]) + 0.5 * series([-2.0])
    noise = 1e-3 * np.random.default_rng(0).standard_normal(mixture.shape)
    for sigma in (1e-3, None):
        found = matched_shift(ENERGY, mixture + noise, edge(ENERGY), window=WINDOW, sigma=sigma)
        assert found.chi2[0] > 100


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_each_row_stands_alone_bit_for_bit(cuts: list[int]) -> None:
    mu = series(np.linspace(-0.5, 0.5, 40), 3e-3)
    options: dict[str, Any] = {"window": WINDOW, "degree": 1}
    whole = matched_shift(ENERGY, mu, edge(ENERGY), **options)
    edges = [0, *np.cumsum(cuts).tolist(), 40]
    for start, stop in pairwise(edges):
        part = matched_shift(ENERGY, mu[start:stop], edge(ENERGY), **options)
        for name in ("shift", "sigma", "scale", "chi2", "converged"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[start:stop])


def test_a_bad_measurement_is_nan() -> None:
    good = series(0.1)[0]
    gap, dead = good.copy(), np.full_like(good, np.nan)
    gap[ENERGY == E0] = np.inf
    beyond = good.copy()
    beyond[0] = np.nan  # outside of the window: does not matter
    mu = np.stack([good, gap, dead, 1 - good, beyond, np.ones_like(good)])
    found = matched_shift(ENERGY, mu, edge(ENERGY), window=WINDOW, degree=0)
    assert found.converged.tolist() == [True, False, False, True, True, False]
    assert found.chi2[3] > 1e3  # an edge upside down is similar to none
    for name in ("shift", "sigma", "scale", "chi2"):
        assert np.isfinite(getattr(found, name))[~found.converged].sum() == 0
    assert found.shift[[0, 4]] == pytest.approx(0.1, abs=1e-4)


def test_a_narrow_limit_is_not_left() -> None:
    mu = series([0.4, 1.2, -1.2])
    found = matched_shift(ENERGY, mu, edge(ENERGY), window=WINDOW, limit=1.0)
    assert found.converged.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": (8340.0, 8342.0)}, r"window: \(8340.0, 8342.0\) eV holds 5 points.*8200-8499"),
        ({"window": (8370.0, 8330.0)}, "holds 0 points"),
        ({"window": (8200.0, 8400.0)}, "leave room outside"),
        ({"sigma": np.ones(3)}, r"sigma: shape \(3,\)"),
        ({"degree": 2}, "degree: 2"),
        ({"limit": 0.0}, "limit: 0.0"),
        ({"reference": np.ones(3)}, "shapes"),
        ({"energy": ENERGY[::-1]}, "not ascending"),
        ({"reference": np.where(ENERGY == E0, np.nan, 1.0)}, "reference: not finite"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"reference": edge(ENERGY), "window": WINDOW, "energy": ENERGY}
    call |= changed
    with pytest.raises(RequestError, match=message):
        matched_shift(call.pop("energy"), series(0.0), call.pop("reference"), **call)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 60])
def test_resampling_is_the_spline_of_scipy(count: int) -> None:
    rng = np.random.default_rng(count)
    x = np.cumsum(rng.uniform(0.2, 3, count))
    y = rng.standard_normal((4, count))
    points = np.sort(rng.uniform(x[0], x[-1], (4, 50)), axis=1)
    points[:, 0], points[:, -1] = x[0], x[-1]
    found = resample(x, y, points)
    for row in range(4):
        expected = CubicSpline(x, y[row])(points[row])
        np.testing.assert_allclose(found[row], expected, rtol=1e-9, atol=1e-9)


def test_resampling_keeps_a_gap_to_its_neighbours() -> None:
    x = np.arange(20.0)
    y = np.cos(x / 3)[None].copy()
    y[0, [7, 9]] = np.nan
    found = resample(x, y, (x + 0.25)[None])[0]
    assert np.flatnonzero(np.isnan(found)).tolist() == [6, 7, 8, 9, 19]
    left = CubicSpline(x[:7], y[0, :7])(x[:6] + 0.25)
    np.testing.assert_allclose(found[:6], left, rtol=1e-12)
    assert resample(x, y, x[None])[0, 8] == y[0, 8]


CASES = [  # standard deviations in eV of an independent implementation, on these very spectra
    ("ni", 0.5, 1e-3, 0.0013),
    ("ni", 0.5, 1e-2, 0.013),
    ("zr", 1.0, 1e-3, 0.0049),
    ("zr", 1.0, 1e-2, 0.046),
]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "step", "noise", "expected"), CASES)
def test_accuracy_on_real_edges(
    shared_data: Path, name: str, step: float, noise: float, expected: float
) -> None:
    energy, mu, window = (_nickelate if name == "ni" else _zirconium)(shared_data)
    near = (energy > window[0] - 25) & (energy < window[1] + 25)
    truth = CubicSpline(energy[near], savgol_filter(mu[near], 7, 3))
    low, high = energy[near][[0, -1]]
    grid = np.arange(low + 1, high - 1, step)
    rng = np.random.default_rng(0)
    shifts = rng.uniform(-step / 2, step / 2, 2000)
    moved = np.clip(grid - shifts[:, None], low, high)
    noisy = truth(moved) + noise * rng.standard_normal(moved.shape)
    found = matched_shift(grid, noisy, truth(grid), window=window, sigma=noise)
    error = found.shift - shifts
    spread = 1.4826 * np.median(np.abs(error - np.median(error)))
    assert spread == pytest.approx(expected, rel=0.2)
    assert abs(error.mean()) < 0.02 * step
    assert 0.9 < (error / found.sigma).std() < 1.1


def _nickelate(shared_data: Path) -> tuple[Array, Array, tuple[float, float]]:
    folder = shared_data / "operando" / "xas_ni_lno_rock" / "XAS_normalized"
    tables = [np.loadtxt(path, encoding="latin-1") for path in sorted(folder.glob("*.txt"))[:8]]
    return tables[0][:, 0], np.mean([table[:, 1] for table in tables], axis=0), (8330.0, 8370.0)


def _zirconium(shared_data: Path) -> tuple[Array, Array, tuple[float, float]]:
    path = shared_data / "formats" / "xas" / "zr_foil" / "Zrfoil_QAS.prj"
    project = larch("io").read_athena(str(path), do_preedge=False, do_bkg=False, do_fft=False)
    groups = [getattr(project, name) for name in project.keys()]  # noqa: SIM118 (a larch Group)
    group = next(group for group in groups if hasattr(group, "mu"))
    energy, mu = np.array(group.energy, float), np.array(group.mu, float)
    done = normalise(energy, mu[None], e0=17998.0, pre=(-150, -30), post=(60, 900), degree=2)
    return energy, done.norm[0], (17985.0, 18035.0)


def test_the_window_is_not_misplaced_as_in_larch() -> None:
    """`energy_align` subtracts its negative emin, so that its window begins behind the edge."""
    mu = series(np.full(20, 0.5), 1e-3)
    found = matched_shift(ENERGY, mu, edge(ENERGY), window=WINDOW, sigma=1e-3)
    assert found.shift == pytest.approx(0.5, abs=5 * found.sigma[0])
    reference = normalised(edge(ENERGY))
    worst = {}
    for emin in (-15, 15):
        moved = [
            larch("xafs").energy_align(normalised(spectrum), reference, emin=emin, emax=35)
            for spectrum in mu
        ]  # what is to be added to the energies
        worst[emin] = np.abs(np.array(moved) + 0.5).max()
    assert worst[15] < 0.03
    assert worst[-15] > 0.2


def normalised(spectrum: Array) -> Any:
    group = larch("symboltable").Group(energy=ENERGY, mu=spectrum)
    larch("xafs").pre_edge(group, e0=E0, pre1=-120, pre2=-40, norm1=40, norm2=140, nnorm=1)
    return group
