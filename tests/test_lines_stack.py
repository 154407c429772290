"""The fit of one window: against scipy's, for every profile, with bounds and missing points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import least_squares
from scipy.special import voigt_profile

from operando.observables.lines.stack import fit_stack

Array = npt.NDArray[np.float64]

GRID: Array = np.asarray(10.0 + 0.01 * np.arange(115))
MIDDLE = 0.5 * (GRID[0] + GRID[-1])
LOW = np.array([-np.inf, 10.0, 0.012, 0.0, -0.8, -np.inf, -np.inf])
HIGH = np.array([np.inf, 11.14, 1.0, 0.999, 0.8, np.inf, np.inf])
START = np.array([30.0, 10.55, 0.1, 0.5, 0.0, 50.0, 0.0])


def pseudo_voigt(p: Array) -> Array:
    side = np.where(p[1] <= GRID, 1 + p[4], 1 - p[4])
    u = 2 * (GRID - p[1]) / (p[2] * side)
    gauss = 2 * np.sqrt(np.log(2) / np.pi) * np.exp(-np.log(2) * u**2)
    return np.asarray(p[0] / p[2] * ((1 - p[3]) * gauss + p[3] * 2 / np.pi / (1 + u**2)))


def voigt(p: Array) -> Array:
    gaussian = p[2] * np.sqrt((1 - 0.5346 * p[3]) ** 2 - 0.2166 * p[3] ** 2)
    sigma = gaussian / np.sqrt(8 * np.log(2))
    return np.asarray(p[0] * voigt_profile(GRID - p[1], sigma, 0.5 * p[2] * p[3]))


def model(shape: Callable[[Array], Array], p: Array) -> Array:
    return np.asarray(shape(p) + p[5] + p[6] * (GRID - MIDDLE))


def rows(
    shape: Callable[[Array], Array], truth: Array, count: int, seed: int
) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    clean = np.stack([model(shape, truth)] * count)
    sigma = np.sqrt(clean)
    return clean + sigma * rng.standard_normal(clean.shape), 1 / sigma**2


@pytest.mark.parametrize(
    ("profile", "shape", "asymmetry"),
    [
        ("pseudo_voigt", pseudo_voigt, 0.0),
        ("split_pseudo_voigt", pseudo_voigt, 0.25),
        ("voigt", voigt, 0.0),
    ],
)
def test_optimum_and_covariance_are_those_of_scipy(
    profile: str, shape: Callable[[Array], Array], asymmetry: float
) -> None:
    truth = np.array([60.0, 10.6, 0.12, 0.45, asymmetry, 120.0, 10.0])
    y, weight = rows(shape, truth, 12, seed=1)
    y[3, 40:44] = np.nan
    weight[3, 40:44] = 0.0
    free = np.array([True, True, True, True, profile.startswith("split"), True, True])
    found = fit_stack(
        GRID,
        y,
        weight=weight,
        start=np.tile(START, (12, 1)),
        free=free,
        low=LOW,
        high=HIGH,
        profile=profile,
    )
    assert found.converged.all()
    for row in range(12):
        root = np.sqrt(weight[row])
        signal = np.nan_to_num(y[row])

        def left(p: Array, signal: Array = signal, root: Array = root) -> Array:
            whole = START.copy()
            whole[free] = p
            return np.asarray((model(shape, whole) - signal) * root)

        best = least_squares(
            left, START[free], bounds=(LOW[free], HIGH[free]), x_scale="jac", xtol=1e-13, ftol=1e-13
        )
        covariance = np.linalg.inv(best.jac.T @ best.jac)
        error = np.sqrt(np.diag(covariance))
        assert np.all(np.abs(found.theta[row, free] - best.x) < 0.02 * error)
        ours = found.covariance[row][np.ix_(free, free)]
        assert np.all(np.abs(ours - covariance) < 0.01 * np.outer(error, error))
        degrees = np.count_nonzero(weight[row]) - free.sum()
        assert found.chi2r[row] == pytest.approx(2 * best.cost / degrees, rel=1e-5)


def test_bound_is_kept_and_leaves_the_others_conditional_on_it() -> None:
    truth = np.array([60.0, 10.6, 0.05, 0.45, 0.0, 120.0, 0.0])
    y, weight = rows(pseudo_voigt, truth, 3, seed=2)
    low = LOW.copy()
    low[2] = 0.08
    free = np.array([True, True, True, False, False, True, True])
    found = fit_stack(
        GRID, y, weight=weight, start=np.tile(START, (3, 1)), free=free, low=low, high=HIGH
    )
    assert np.all(found.theta[:, 2] == 0.08)
    assert np.all(found.covariance[:, 2] == 0)
    free[2] = False
    held = np.tile(START, (3, 1))
    held[:, 2] = 0.08
    other = fit_stack(GRID, y, weight=weight, start=held, free=free, low=low, high=HIGH)
    error = np.sqrt(np.einsum("npp->np", other.covariance))
    assert np.all(np.abs(found.theta - other.theta) <= 0.1 * error)
    np.testing.assert_allclose(
        found.covariance, other.covariance, rtol=0.02, atol=1e-3 * other.covariance.max()
    )


def test_what_is_held_stays() -> None:
    truth = np.array([60.0, 10.6, 0.12, 0.45, 0.0, 120.0, 10.0])
    y, weight = rows(pseudo_voigt, truth, 2, seed=3)
    free = np.array([True, False, False, False, False, True, True])
    start = np.tile(truth, (2, 1))
    start[:, 0] = 0.0
    found = fit_stack(GRID, y, weight=weight, start=start, free=free, low=LOW, high=HIGH)
    np.testing.assert_array_equal(found.theta[:, 1:5], start[:, 1:5])
    linear = np.stack([model(pseudo_voigt, one) for one in (truth, truth * [0, *[1] * 6])])
    columns = np.stack([(linear[0] - linear[1]) / 60, np.ones_like(GRID), GRID - MIDDLE])
    for row in range(2):
        solved = np.linalg.solve((columns * weight[row]) @ columns.T, columns @ (weight * y)[row])
        np.testing.assert_allclose(found.theta[row, [0, 5, 6]], solved, rtol=1e-6)
