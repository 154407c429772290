"""Shapes of lines: against scipy, their own derivatives, and the textbook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import voigt_profile, wofz

from operando.observables.lines import evaluation, lanes
from operando.observables.lines.bench import MODEL, SLOPES, THETA, Bench, Model, X, make_bench
from operando.observables.lines.faddeeva import faddeeva
from operando.observables.lines.lanes import dot, padded, power_of_two
from operando.observables.lines.profiles import PROFILES, profile
from operando.observables.lines.series import follow

Array = npt.NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

GRID: Array = np.asarray(10.0 + 0.01 * np.arange(160))
SHAPES = ("pseudo_voigt", "split_pseudo_voigt", "voigt")


def compiled(function: F) -> F:
    build: Any = numba.njit
    return build(function)  # type: ignore[no-any-return]


TWO_LINES = np.array([30.0, 20, 10.5, 10.9, 0.08, 0.12, 0.4, 0.7, 0.2, -0.3, 100.0, -3.0])


@compiled
def evaluate(bench: Any, model: Any) -> None:
    evaluation.evaluate(bench, model, THETA, 0)


@compiled
def powers(z: Array, out: Array) -> None:
    for at in range(z.size):
        out[at] = power_of_two(z[at])


@compiled
def product(rows: Array, others: Array) -> float:
    total: float = dot(rows, 1, others, 0)
    return total


@compiled
def w_of_z(rows: Array, y: float) -> None:
    faddeeva(rows, 0, 0.0, 1.0, y, 1)


def drawn(theta: Array, shape: str, *, ratio: float = 1.0, second: float = 0.0) -> Bench:
    bench = make_bench(GRID.size, (theta.size - 2) // 5)
    bench.rows[X] = GRID
    bench.numbers[THETA] = theta
    model = Model(PROFILES[shape], (theta.size - 2) // 5, ratio, second)
    evaluate(bench, model)
    return bench


def lines(shape: str, **numbers: float) -> Array:
    """One line of unit area without background."""
    theta = [1.0, 10.8, 0.1, numbers.get("eta", 0.4), numbers.get("asymmetry", 0.0), 0.0, 0.0]
    return np.asarray(drawn(np.array(theta), shape).rows[MODEL])


def test_every_kernel_counts_in_the_name_of_what_is_kept_on_disk() -> None:
    """A kernel that is left out would be found on disk, as it was, after it changed."""
    folder = Path(lanes.__file__).parent
    users = {path.stem for path in folder.glob("*.py") if "lines.lanes import" in path.read_text()}
    assert users | {"lanes", "bench", "state"} == set(lanes.KERNELS)
    assert follow.__qualname__.endswith(lanes.VERSION)


def test_powers_of_two() -> None:
    z = np.concatenate([np.linspace(-1022, 0, 40001), -np.logspace(-9, 2, 2001)])
    found = np.empty_like(z)
    powers(z, found)
    seen = z >= -1000
    np.testing.assert_allclose(found[seen], np.exp2(z[seen]), rtol=5e-16)
    assert np.all(found[~seen] == 2.0**-1000)


@pytest.mark.parametrize("points", [1, 16, 17, 160])
def test_products_of_rows(points: int) -> None:
    rng = np.random.default_rng(points)
    rows = np.zeros((2, padded(points)))
    rows[:, :points] = rng.standard_normal((2, points))
    assert product(rows, rows) == pytest.approx(float(rows[1] @ rows[0]), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("y", [0.0, 1e-6, 0.1, 0.83, 3.0, 40.0, 1e3])
def test_faddeeva_function(y: float) -> None:
    x = np.concatenate([np.linspace(-8, 8, 1601), np.geomspace(8, 4000, 95)])
    rows = np.zeros((6, x.size))
    rows[0] = x
    w_of_z(rows, y)
    found = rows[2] + 1j * rows[3]
    np.testing.assert_allclose(found, wofz(x + 1j * y), rtol=1e-11)
    np.testing.assert_array_equal(rows[1], x)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("second", [0.0, 1 / 3])
def test_slopes_are_those_of_the_model(shape: str, second: float) -> None:
    kinds = {"pseudo_voigt": 4, "voigt": 4, "split_pseudo_voigt": 5}[shape]
    slopes = drawn(TWO_LINES, shape, ratio=1.0025, second=second).rows[SLOPES:].copy()
    for at in [*range(2 * kinds), 10, 11]:
        step = 1e-6 * max(abs(TWO_LINES[at]), 1e-2)
        up, down = TWO_LINES.copy(), TWO_LINES.copy()
        up[at] += step
        down[at] -= step
        values = [drawn(one, shape, ratio=1.0025, second=second).rows[MODEL] for one in (up, down)]
        slope = (values[0] - values[1]) / (2 * step)
        # the width of a split line jumps at its centre, which differences do not see
        np.testing.assert_allclose(slopes[at], slope, atol=2e-4 * np.abs(slope).max())


def test_pseudo_voigt_is_the_one_of_the_textbook() -> None:
    for eta in (0.0, 0.3, 1.0):
        gauss = voigt_profile(GRID - 10.8, 0.1 / np.sqrt(8 * np.log(2)), 0.0)
        lorentz = voigt_profile(GRID - 10.8, 0.0, 0.05)
        expected = (1 - eta) * gauss + eta * lorentz
        np.testing.assert_allclose(lines("pseudo_voigt", eta=eta), expected, rtol=1e-12, atol=1e-14)
        plain = profile(GRID, centre=10.8, fwhm=0.1, eta=eta)
        np.testing.assert_allclose(plain, expected, rtol=1e-12, atol=1e-14)


def test_voigt_is_that_of_scipy_and_has_the_width_it_says() -> None:
    for eta in (0.0, 0.2, 0.6, 0.99):
        gaussian = 0.1 * np.sqrt((1 - 0.5346 * eta) ** 2 - 0.2166 * eta**2)
        sigma, gamma = gaussian / np.sqrt(8 * np.log(2)), 0.05 * eta
        np.testing.assert_allclose(
            lines("voigt", eta=eta), voigt_profile(GRID - 10.8, sigma, gamma), rtol=1e-9, atol=1e-11
        )
        half = voigt_profile(0.05, sigma, gamma) / voigt_profile(0.0, sigma, gamma)
        assert half == pytest.approx(0.5, abs=3e-4)


def test_split_line_keeps_area_and_width() -> None:
    tall = lines("split_pseudo_voigt", eta=0.0, asymmetry=0.3)
    assert tall.sum() * 0.01 == pytest.approx(1.0, abs=1e-4)
    above = GRID[tall > tall.max() / 2]
    assert above[-1] - above[0] == pytest.approx(0.1, abs=0.0101)
    assert above[-1] - 10.8 > 10.8 - above[0]


def test_doublet_follows_bragg() -> None:
    theta = np.array([3.0, 10.8, 0.1, 0.4, 0.0, 0.0, 0.0])
    ratio = 1.5444274 / 1.5405929
    spacing = 1.5405929 / (2 * np.sin(np.radians(5.4)))
    second = 2 * np.degrees(np.arcsin(1.5444274 / (2 * spacing)))
    expected = 2 * profile(GRID, centre=10.8, fwhm=0.1, eta=0.4)
    expected += profile(GRID, centre=second, fwhm=0.1, eta=0.4)
    found = drawn(theta, "pseudo_voigt", ratio=ratio, second=1 / 3).rows[MODEL]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
