"""Batched normalisation against larch, analytic spectra and its own error propagation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operando.corrections.normalisation import normalise
from operando.errors import RequestError

ENERGY = np.arange(8100.0, 9000.0, 1.3)
PARAMETERS: dict[str, Any] = {"e0": 8345.0, "pre": (-200, -40), "post": (60, 600), "degree": 2}


def spectra(seed: int = 0, count: int = 5, noise: float = 1e-3) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    distance = ENERGY - 8345
    edge = np.arctan(distance / 2) / np.pi + 0.5
    step = rng.uniform(0.5, 1.5, (count, 1))
    line = rng.uniform(-1, 2, (count, 1)) - 3e-4 * distance
    return line + step * edge + noise * rng.standard_normal((count, ENERGY.size))


@pytest.fixture(scope="module")
def preedge() -> Callable[..., dict[str, Any]]:
    """larch's own function; the handlers and filters its import leaves behind are taken away."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from larch.xafs.pre_edge import preedge as function
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)
    return function  # type: ignore[no-any-return]


def assert_as_larch(
    preedge: Callable[..., dict[str, Any]],
    energy: npt.NDArray[np.float64],
    mu: npt.NDArray[np.float64],
    parameters: dict[str, Any],
) -> None:
    ours = normalise(energy, mu, **parameters)
    for row, step, spectrum in zip(ours.norm, ours.step, mu, strict=True):
        theirs = preedge(
            energy,
            spectrum,
            e0=parameters["e0"],
            pre1=parameters["pre"][0],
            pre2=parameters["pre"][1],
            norm1=parameters["post"][0],
            norm2=parameters["post"][1],
            nnorm=parameters["degree"],
            npre=1,
            nvict=0,
        )
        np.testing.assert_allclose(step, theirs["edge_step"], rtol=1e-10)
        np.testing.assert_allclose(row, theirs["norm"], atol=1e-10, rtol=0)


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("pre", [(-200, -40), (-150.3, -33.7), (-400, -50)])
def test_agrees_with_larch(
    preedge: Callable[..., dict[str, Any]], degree: int, pre: tuple[float, float]
) -> None:
    assert_as_larch(preedge, ENERGY, spectra(), PARAMETERS | {"degree": degree, "pre": pre})


@pytest.mark.shared_data
def test_agrees_with_larch_on_real_spectra(
    preedge: Callable[..., dict[str, Any]], shared_data: Path
) -> None:
    folder = shared_data / "operando" / "xas_ni_lno_rock" / "XAS_normalized"
    tables = [np.loadtxt(path, encoding="latin-1") for path in sorted(folder.glob("*.txt"))[::10]]
    assert len(tables) == 23
    for column in (1, 2):  # the sample and the Ni foil behind it
        mu = np.stack([table[:, column] for table in tables])
        assert_as_larch(preedge, tables[0][:, 0], mu, PARAMETERS | {"post": (70, 1000)})


def test_a_spectrum_made_of_line_and_polynomial_is_undone_exactly() -> None:
    distance = ENERGY - 8345
    after = distance >= 0
    above = 0.8 - 1e-4 * distance + 2e-7 * distance**2
    mu = np.where(after, above, 0.0) + 1.7 - 4e-4 * distance
    result = normalise(ENERGY, mu[None], **PARAMETERS)
    nearest = np.abs(distance).argmin()
    np.testing.assert_allclose(result.step, above[nearest], rtol=1e-12)
    np.testing.assert_allclose(result.norm[0, ~after], 0, atol=1e-12)
    np.testing.assert_allclose(result.norm[0, after], above[after] / above[nearest], rtol=1e-12)


def test_weights_give_the_step_and_the_line() -> None:
    mu = spectra()
    result = normalise(ENERGY, mu, **PARAMETERS)
    np.testing.assert_allclose(mu @ result.step_weights, result.step, rtol=1e-10)
    p0, p1 = result.pre_weights
    line = (mu @ p0)[:, None] + (mu @ p1)[:, None] * (ENERGY - 8345)
    np.testing.assert_allclose((mu - line) / result.step[:, None], result.norm, atol=1e-10)


def test_sigma_of_the_step_is_exact() -> None:
    sigma = 1e-3 * (1 + np.linspace(0, 1, ENERGY.size))
    rng = np.random.default_rng(3)
    mu = spectra(count=1, noise=0) + sigma * rng.standard_normal((4000, ENERGY.size))
    result = normalise(ENERGY, mu, **PARAMETERS)
    predicted = np.sqrt(np.sum((result.step_weights * sigma) ** 2))
    assert result.step.std() / predicted == pytest.approx(1, abs=0.05)


@given(st.floats(-3, 3), st.floats(1e-3, 1e3), st.floats(-1e-3, 1e-3))
def test_line_and_scale_do_not_matter(offset: float, scale: float, slope: float) -> None:
    mu = spectra()
    plain = normalise(ENERGY, mu, **PARAMETERS)
    other = normalise(ENERGY, scale * mu + offset + slope * (ENERGY - 8345), **PARAMETERS)
    tolerance = 1e-9 * (1 + abs(offset) / scale)
    np.testing.assert_allclose(other.norm, plain.norm, atol=tolerance)


def test_each_spectrum_stands_alone_bit_for_bit() -> None:
    mu = spectra(count=37)
    whole = normalise(ENERGY, mu, **PARAMETERS)
    for start, stop in ((0, 1), (1, 9), (9, 37)):
        part = normalise(ENERGY, mu[start:stop], **PARAMETERS)
        assert np.array_equal(part.norm, whole.norm[start:stop])
        assert np.array_equal(part.step, whole.step[start:stop])


def test_a_step_down_keeps_its_sign() -> None:
    assert np.all(normalise(ENERGY, -spectra(), **PARAMETERS).step < 0)


def test_nan_in_a_range_spoils_its_own_spectrum_only() -> None:
    mu = spectra()
    mu[1, ENERGY > 8800] = np.nan  # a partial scan: the post-edge range is not covered
    mu[2, 3] = np.nan  # before every range
    mu[3, np.abs(ENERGY - 8345).argmin()] = np.nan  # between the ranges
    result = normalise(ENERGY, mu, **PARAMETERS)
    assert np.isnan(result.step).tolist() == [False, True, False, False, False]
    assert np.isnan(result.norm).sum(axis=1).tolist() == [0, ENERGY.size, 1, 1, 0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pre": (-300, -250)}, r"pre \(-300, -250\): 0 points in 8045-8095 eV.*span 8100-8999"),
        ({"post": (600, 603)}, r"post \(600, 603\): . points in 8945-8948 eV; at least 4"),
        ({"post": (700, 900)}, r"post \(700, 900\): "),
        ({"pre": (-40, -200)}, r"pre \(-40, -200\): 0 points"),
        ({"pre": (-200, 80)}, r"overlap"),
        ({"degree": 3}, r"degree: 3; expected 0, 1 or 2"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        normalise(ENERGY, spectra(), **PARAMETERS | changed)
