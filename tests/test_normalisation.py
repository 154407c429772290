"""Batched normalisation against larch, analytic spectra and its own error propagation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.corrections.normalisation import flattened, normalise, normalised
from operando.corrections.white_noise import white_noise
from operando.errors import RequestError
from operando_readers._larch import larch

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
    return larch("xafs.pre_edge").preedge  # type: ignore[no-any-return]


def keywords(parameters: dict[str, Any]) -> dict[str, Any]:
    """What larch calls our parameters."""
    return {
        "e0": parameters["e0"],
        "pre1": parameters["pre"][0],
        "pre2": parameters["pre"][1],
        "norm1": parameters["post"][0],
        "norm2": parameters["post"][1],
        "nnorm": parameters["degree"],
        "npre": 1,
        "nvict": 0,
    }


def assert_as_larch(
    preedge: Callable[..., dict[str, Any]],
    energy: npt.NDArray[np.float64],
    mu: npt.NDArray[np.float64],
    parameters: dict[str, Any],
) -> None:
    ours = normalise(energy, mu, **parameters)
    for row, step, spectrum in zip(ours.norm, ours.step, mu, strict=True):
        theirs = preedge(energy, spectrum, **keywords(parameters))
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
    tables = [np.loadtxt(path, encoding="latin-1") for path in sorted(folder.glob("*.txt"))]
    assert len(tables) == 230
    for column in (1, 2):  # the sample and the Ni foil behind it
        mu = np.stack([table[:, column] for table in tables])
        assert_as_larch(preedge, tables[0][:, 0], mu, PARAMETERS | {"post": (70, 1000)})


@pytest.mark.shared_data
@pytest.mark.parametrize(("element", "e0"), [("Mn", 6546.0), ("Zn", 9663.0)])
def test_agrees_with_larch_on_raw_absorption(
    preedge: Callable[..., dict[str, Any]], shared_data: Path, element: str, e0: float
) -> None:
    folder = shared_data / "operando" / "xas_mn_zn_claess" / "Data" / "Electrodep_C_P1" / element
    checked = 0
    for path in sorted(folder.glob("*.dat")):
        scan = np.loadtxt(path)
        with np.errstate(divide="ignore", invalid="ignore"):
            mu = np.log(scan[:, 4] / scan[:, 6])
        if np.isfinite(mu).all() and np.all(np.diff(scan[:, 2]) > 0.01):
            ranges = {"e0": e0, "pre": (-100, -30), "post": (50, 900)}
            assert_as_larch(preedge, scan[:, 2], mu[None], PARAMETERS | ranges)
            checked += 1
    assert checked >= 20


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
    np.testing.assert_allclose(mu @ result.operators.step_weights, result.step, rtol=1e-10)
    p0, p1 = result.operators.line
    line = (mu @ p0)[:, None] + (mu @ p1)[:, None] * (ENERGY - 8345)
    np.testing.assert_allclose((mu - line) / result.step[:, None], result.norm, atol=1e-10)


def test_sigma_of_the_step_is_exact() -> None:
    sigma = 1e-3 * (1 + np.linspace(0, 1, ENERGY.size))
    rng = np.random.default_rng(3)
    mu = spectra(count=1, noise=0) + sigma * rng.standard_normal((4000, ENERGY.size))
    result = normalise(ENERGY, mu, **PARAMETERS)
    predicted = np.sqrt(np.sum((result.operators.step_weights * sigma) ** 2))
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


def series(mu: npt.NDArray[np.float64]) -> xr.DataArray:
    time = np.datetime64("2026-05-04T10:00:00", "ns") + np.arange(len(mu)) * np.timedelta64(1, "s")
    return xr.DataArray(
        mu,
        dims=("time", "energy"),
        coords={
            "time": time,
            "energy": ("energy", ENERGY, {"units": "eV"}),
            "voltage": ("time", np.linspace(3, 4, len(mu)), {"units": "V"}),
        },
        name="mu",
    )


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_flat_is_that_of_larch(degree: int) -> None:
    pre_edge, group = larch("xafs").pre_edge, larch("symboltable").Group
    mu = spectra() + 1e-6 * (ENERGY - 8345) ** 2
    parameters = PARAMETERS | {"degree": degree}
    result = flattened(series(mu), **parameters)
    for row, spectrum in zip(result["flat"].values, mu, strict=True):
        theirs = group(energy=ENERGY, mu=spectrum)
        options = {name: v for name, v in keywords(parameters).items() if name != "nvict"}
        pre_edge(theirs, **options, make_flat=True)
        np.testing.assert_allclose(row, theirs.flat, atol=1e-10, rtol=0)


def test_a_series_is_labelled_and_its_step_has_a_calibrated_sigma() -> None:
    rng = np.random.default_rng(8)
    mu = spectra(count=1, noise=0) + 1e-3 * rng.standard_normal((2000, ENERGY.size))
    result = normalised(series(mu), **PARAMETERS)
    plain = normalise(ENERGY, mu, **PARAMETERS)
    np.testing.assert_array_equal(result["norm"], plain.norm)
    np.testing.assert_array_equal(result["edge_step"], plain.step)
    truth = normalise(ENERGY, spectra(count=1, noise=0), **PARAMETERS).step[0]
    pulls = (plain.step - truth) / result["edge_step_sigma"].values
    assert 0.9 < pulls.std() < 1.1
    assert result["norm"].dims == ("time", "energy")
    assert result["edge_step"].attrs["ancillary_variables"] == "edge_step_sigma"
    assert {name: variable.attrs["units"] for name, variable in result.data_vars.items()} == {
        "norm": "1",
        "edge_step": "1",
        "edge_step_sigma": "1",
    }
    assert "voltage" in result.coords
    assert {name: result.attrs[name] for name in PARAMETERS} == PARAMETERS


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7, "energy": 100}])
@pytest.mark.parametrize("verb", [normalised, flattened])
def test_a_lazy_series_stays_lazy_and_ends_in_the_same_bits(
    verb: Callable[..., xr.Dataset], chunks: dict[str, int]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    mu = series(spectra(count=23))
    mu[3, 5] = np.nan
    with dask.config.set(scheduler=refuse):
        lazy = verb(mu.chunk(chunks).transpose(), **PARAMETERS)
    xr.testing.assert_identical(lazy.compute(), verb(mu, **PARAMETERS))


def test_a_series_that_cannot_be_normalised_is_refused() -> None:
    mu = series(spectra())
    with pytest.raises(RequestError, match="not ascending"):
        normalised(mu[:, ::-1], **PARAMETERS)
    with pytest.raises(RequestError, match="time and energy"):
        normalised(mu.rename(energy="pixel"), **PARAMETERS)


@pytest.mark.parametrize("uneven", [False, True])
def test_white_noise_is_found_beneath_oscillations(uneven: bool) -> None:
    rng = np.random.default_rng(2)
    x = np.linspace(50, 600, 500)
    x = x + (rng.uniform(-0.2, 0.2, x.size) if uneven else 0)
    exafs = 0.05 * np.sin(2 * np.sqrt(0.262 * x) * 2.2) * np.exp(-x / 300)
    noise = 1e-3 * rng.standard_normal((400, x.size))
    found = white_noise(x, 1 + 1e-3 * x + exafs + noise)
    assert float(np.mean(found)) == pytest.approx(1e-3, rel=0.03)


def test_white_noise_is_the_scale_of_huber() -> None:
    """By its definition, solved with scipy for each row of remainders."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    x = np.arange(60.0)
    y = rng.standard_normal((5, 60))
    y[:, 20] += 100
    share = norm.cdf(1.5) - norm.cdf(-1.5) - 3 * norm.pdf(1.5) + 4.5 * norm.sf(1.5)
    kernel = np.array([1, -4, 6, -4, 1]) / 4
    for row, found in zip(y, white_noise(x, y), strict=True):
        rest = np.convolve(row, kernel, "valid") / np.sqrt(np.sum(kernel**2))

        def excess(s: float, d: npt.NDArray[np.float64] = rest) -> float:
            return float(np.mean(np.minimum(d**2, (1.5 * s) ** 2)) - share * s**2)

        assert found == pytest.approx(brentq(excess, 1e-3, 1e3), rel=1e-6)


@given(st.lists(st.integers(0, 199), max_size=8), st.floats(-1e6, 1e6))
@settings(deadline=None)
def test_glitches_do_not_count_as_white_noise(places: list[int], size: float) -> None:
    rng = np.random.default_rng(3)
    y = rng.standard_normal((1, 200))
    clean = white_noise(np.arange(200.0), y)
    y[0, places] += size
    assert 0.5 < white_noise(np.arange(200.0), y)[0] / clean[0] < 1.8


def test_white_noise_of_nothing() -> None:
    assert np.isnan(white_noise(np.arange(8.0), np.zeros((2, 8)))).all()
    rows = np.zeros((2, 20))
    rows[0, 3] = np.nan
    found = white_noise(np.arange(20.0), rows)
    assert np.isnan(found[0])
    assert found[1] == 0
