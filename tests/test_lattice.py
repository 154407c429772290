"""Unit cells: against truth, gemmi and scipy, with wrong lines, few lines, and the NAC standard."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.optimize import least_squares

from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables import Doublet, Window, track_peaks
from operando.observables.lines.lattice import ASSESSMENT, CAUTIONS, lattice
from operando.observables.lines.lattice_systems import SYSTEMS

Array = npt.NDArray[np.float64]

WAVELENGTH = 0.4962
SIGMA = 1e-3
CELLS: dict[str, dict[str, float]] = {
    "cubic": {"a": 8.2},
    "tetragonal": {"a": 5.75, "c": 9.5},
    "hexagonal": {"a": 2.87, "c": 14.2},
    "rhombohedral": {"a": 5.6, "alpha": 60.5},
    "orthorhombic": {"a": 10.33, "b": 6.01, "c": 4.69},
    "monoclinic": {"a": 5.1, "b": 8.8, "c": 5.0, "beta": 109.0},
}
HKL = (
    *((1, 0, 0), (0, 1, 1), (1, 1, 1), (0, 0, 3), (2, 1, 0), (1, 0, 4)),
    *((0, 2, 2), (1, 1, -3), (3, 0, 1), (2, 2, 1), (0, 4, 0), (1, -2, 3)),
)
INDEXED = {f"l{at}": hkl for at, hkl in enumerate(HKL)}
FREE: dict[str, dict[str, Any]] = {
    "fixed": {},
    "zero": {"zero": "free"},
    "displacement": {"displacement": "free"},
}


def unit_cell(system: str, **changed: float) -> gemmi.UnitCell:
    """The full cell, by gemmi: an independent hand."""
    free = CELLS[system] | changed
    a = free["a"]
    equal = system in ("cubic", "rhombohedral")
    b = free.get("b", a)
    c = a if equal else free["c"]
    alpha = free.get("alpha", 90.0)
    gamma = 120.0 if system == "hexagonal" else alpha
    return gemmi.UnitCell(a, b, c, alpha, free.get("beta", alpha), gamma)


def truth(system: str, *, zero: float = 0.0, displacement: float = 0.0, **changed: float) -> Array:
    cell = unit_cell(system, **changed)
    theta = np.arcsin(WAVELENGTH / 2 / np.array([cell.calculate_d(list(hkl)) for hkl in HKL]))
    return np.asarray(np.degrees(2 * theta - 2 * displacement * np.cos(theta)) + zero)


def tracks(centres: npt.ArrayLike, sigma: npt.ArrayLike = SIGMA, **attrs: Any) -> xr.Dataset:
    values = np.atleast_2d(np.asarray(centres, dtype=float))
    time = np.datetime64("2025-01-01", "ns") + np.arange(len(values)) * np.timedelta64(60, "s")
    both = ("time", "line")
    spread = np.broadcast_to(np.asarray(sigma, dtype=float), values.shape).copy()
    return xr.Dataset(
        {"centre": (both, values), "centre_sigma": (both, spread)},
        {"time": time, "line": [f"l{at}" for at in range(values.shape[1])]},
        {"axis": "two_theta"} | attrs,
    )


def noisy(expected: Array, frames: int, *, seed: int = 0, scatter: float = 0.0) -> xr.Dataset:
    """Lines of different strength, and a scatter that their sigma knows nothing of."""
    rng = np.random.default_rng(seed)
    sigma = SIGMA * np.geomspace(0.3, 3.0, expected.size)
    shape = (frames, expected.size)
    return tracks(
        expected + sigma * rng.normal(size=shape) + scatter * rng.normal(size=shape), sigma
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_exact_centres_give_the_exact_cell(system: str) -> None:
    found = lattice(tracks(truth(system)), hkl=INDEXED, system=system, wavelength=WAVELENGTH)
    for name, expected in CELLS[system].items():
        assert found[name].item() == pytest.approx(expected, rel=1e-10)
    assert found["volume"].item() == pytest.approx(unit_cell(system).volume, rel=1e-10)
    assert set(CELLS[system]) | {"volume"} == {
        str(name) for name in found.data_vars if f"{name}_sigma" in found
    }


@pytest.mark.parametrize("free", FREE)
@pytest.mark.parametrize("system", SYSTEMS)
def test_pulls_are_those_of_a_normal_distribution(system: str, free: str) -> None:
    shifts = {"zero": {"zero": 0.02}, "displacement": {"displacement": 1e-3}}.get(free, {})
    measured = noisy(truth(system, **shifts), 1500, seed=len(system))
    found = lattice(measured, hkl=INDEXED, system=system, wavelength=WAVELENGTH, **FREE[free])
    expected = CELLS[system] | {"volume": unit_cell(system).volume}
    expected |= {"zero_shift" if n == "zero" else n: value for n, value in shifts.items()}
    for name, value in expected.items():
        pull = (found[name] - value) / found[f"{name}_sigma"]
        assert 0.9 < float(pull.std()) < 1.1, name
        assert abs(float(pull.mean())) < 0.1, name
    assert not (found["assessment"].values & ~CAUTIONS).any()
    assert (found["assessment"].values & ASSESSMENT["outliers"] > 0).mean() < 0.003


def test_the_optimum_and_its_covariance_are_those_of_scipy() -> None:
    expected = truth("monoclinic", zero=0.01)
    measured = noisy(expected, 1, seed=5)
    found = lattice(measured, hkl=INDEXED, system="monoclinic", wavelength=WAVELENGTH, zero="free")
    assert found["chi2r"].item() < 1.3
    observed, sigma = (measured[name].values[0] for name in ("centre", "centre_sigma"))

    def residual(p: Array) -> Array:
        cell = unit_cell("monoclinic", a=p[0], b=p[1], c=p[2], beta=p[3])
        d = np.array([cell.calculate_d(list(hkl)) for hkl in HKL])
        return np.asarray((observed - p[4] - np.degrees(2 * np.arcsin(WAVELENGTH / 2 / d))) / sigma)

    oracle = least_squares(
        residual, [5.0, 8.7, 5.1, 108.0, 0.0], xtol=1e-14, ftol=1e-14, x_scale="jac", jac="3-point"
    )
    covariance = np.linalg.inv(oracle.jac.T @ oracle.jac)
    for at, name in enumerate(("a", "b", "c", "beta", "zero_shift")):
        error = covariance[at, at] ** 0.5
        assert abs(found[name].item() - oracle.x[at]) < 1e-3 * error
        assert found[f"{name}_sigma"].item() == pytest.approx(error, rel=1e-3)


def test_volume_carries_the_covariance_of_the_cell() -> None:
    measured = noisy(truth("hexagonal"), 3000, seed=8)
    found = lattice(measured, hkl=INDEXED, system="hexagonal", wavelength=WAVELENGTH)
    quiet = found["scatter"] == 0
    assert float(found["volume_sigma"].where(quiet).mean()) == pytest.approx(
        float(found["volume"].std()), rel=0.04
    )


def test_scatter_beyond_sigma_is_measured_and_counts_as_systematic() -> None:
    hkl = {
        f"l{at}": (h, k, 0)
        for at, (h, k) in enumerate((h, k) for h in range(1, 7) for k in range(h))
    }
    d = np.array([8.2 / np.hypot(h, k) for h, k, _ in hkl.values()])
    centres = np.degrees(2 * np.arcsin(WAVELENGTH / 2 / d))
    measured = noisy(centres, 1500, scatter=0.01)
    found = lattice(measured, hkl=hkl, system="cubic", wavelength=WAVELENGTH)
    pull = (found["a"] - 8.2) / found["a_sigma"]
    assert 0.9 < float(pull.std()) < 1.1
    assert float(found["scatter"].median()) == pytest.approx(0.01, rel=0.06)
    assert float((found["a_sigma_syst"] / found["a_sigma_stat"]).median()) > 3
    total = np.hypot(found["a_sigma_stat"], found["a_sigma_syst"])
    np.testing.assert_allclose(found["a_sigma"], total, rtol=1e-12)


@pytest.mark.parametrize("scatter", [0.0, 0.005])
def test_wrong_lines_are_left_out_and_named(scatter: float) -> None:
    measured = noisy(truth("tetragonal"), 200, seed=2, scatter=scatter)
    wrong = [3, 8]
    measured["centre"][:, wrong] += xr.DataArray([0.15, 0.2], dims="line")
    found = lattice(measured, hkl=INDEXED, system="tetragonal", wavelength=WAVELENGTH)
    assert not found["line_used"].sel(line=["l3", "l8"]).values.any()
    assert found["line_used"].values.sum() >= 200 * 10 - 4
    assert (found["assessment"].values & ASSESSMENT["outliers"]).all()
    assert (found["lines"].values >= 9).all()
    np.testing.assert_allclose(found["residual"].values[:, 8], 0.2, atol=0.05)
    pull = (found["a"] - 5.75) / found["a_sigma"]
    assert float(np.abs(pull).max()) < 6


def test_where_no_majority_agrees_all_lines_count() -> None:
    rng = np.random.default_rng(3)
    measured = tracks(truth("cubic") + 0.3 * rng.normal(size=(50, 12)))
    found = lattice(measured, hkl=INDEXED, system="cubic", wavelength=WAVELENGTH)
    assert (found["lines"].values >= 11).all()
    assert (found["assessment"].values & ASSESSMENT["lines_disagree"]).all()
    assert float(np.abs((found["a"] - 8.2) / found["a_sigma"]).max()) < 5


def test_frames_without_enough_lines_are_nan_with_a_reason() -> None:
    measured = noisy(truth("hexagonal"), 4)
    measured["centre"][0, :] = np.nan
    measured["centre"][1, 2:] = np.nan
    measured["centre"][2, [at for at, hkl in enumerate(HKL) if at != 3]] = np.nan
    only = {"l0": (1, 0, 0), "l3": (0, 0, 3), "l4": (2, 1, 0)}
    measured["centre"][3, [3]] = np.nan
    found = lattice(measured, hkl=only, system="hexagonal", wavelength=WAVELENGTH)
    reasons = [ASSESSMENT[n] for n in ("too_few_lines", "too_few_lines", "too_few_lines")]
    assert found["assessment"].values.tolist() == [*reasons, ASSESSMENT["undetermined"]]
    for name in ("a", "c", "volume", "a_sigma", "chi2r"):
        assert found[name].isnull().all()


def test_as_many_lines_as_parameters_are_enough_but_show_nothing() -> None:
    only = {"l0": (1, 0, 0), "l3": (0, 0, 3)}
    measured = noisy(truth("hexagonal"), 1)
    found = lattice(measured, hkl=only, system="hexagonal", wavelength=WAVELENGTH)
    assert int(found["assessment"].item()) == ASSESSMENT["no_line_to_spare"]
    assert found["chi2r"].isnull().all()
    assert found["a"].item() == pytest.approx(2.87, rel=1e-3)


def test_lines_that_are_not_believed_are_not_used() -> None:
    measured = noisy(truth("cubic"), 3)
    flags = {"weak": 1, "poor_fit": 2, "misfit": 4}
    code = np.zeros((3, 12), np.int32)
    code[0, 5], code[1, 5], code[2, 5] = 1, 2, 4
    measured["assessment"] = (("time", "line"), code, flag_attributes(flags) | {"cautions": 4})
    measured["centre"][:, 5] += 0.2 * np.array([1, 0, 0])
    found = lattice(measured, hkl=INDEXED, system="cubic", wavelength=WAVELENGTH)
    assert found["line_used"].values[:, 5].tolist() == [False, True, True]
    assert found["lines"].values.tolist() == [11, 12, 12]
    assert not found["assessment"].values.any()


def test_a_series_cut_in_pieces_gives_the_same_bits() -> None:
    measured = noisy(truth("monoclinic", zero=0.01), 60, scatter=0.003)
    measured["centre"][::7, 3] += 0.3
    measured["centre"][::5, 2] = np.nan
    asked: dict[str, Any] = {"hkl": INDEXED, "system": "monoclinic", "wavelength": WAVELENGTH}
    whole = lattice(measured, **asked, zero="free")
    for cuts in ((0, 1, 60), (0, 7, 29, 30, 60)):
        parts = [
            lattice(measured.isel(time=slice(*cut)), **asked, zero="free") for cut in pairwise(cuts)
        ]
        xr.testing.assert_identical(xr.concat(parts, "time"), whole)
    xr.testing.assert_identical(lattice(measured.chunk(time=13), **asked, zero="free"), whole)


def test_q_needs_no_wavelength_and_gives_the_same_cell() -> None:
    measured = noisy(truth("orthorhombic"), 5)
    half = np.radians(measured["centre"]) / 2
    q = measured.assign(
        centre=4 * np.pi / WAVELENGTH * np.sin(half),
        centre_sigma=2 * np.pi / WAVELENGTH * np.cos(half) * np.radians(measured["centre_sigma"]),
    ).assign_attrs(axis="q")
    along_q = lattice(q, hkl=INDEXED, system="orthorhombic")
    along_angle = lattice(measured, hkl=INDEXED, system="orthorhombic", wavelength=WAVELENGTH)
    for name in ("a", "b", "c"):
        difference = np.abs(along_q[name] - along_angle[name]) / along_angle[f"{name}_sigma"]
        assert float(difference.max()) < 1e-2


def test_an_uncertain_wavelength_is_common_to_all_frames() -> None:
    found = lattice(
        noisy(truth("monoclinic"), 3),
        hkl=INDEXED,
        system="monoclinic",
        wavelength=WAVELENGTH,
        wavelength_sigma=WAVELENGTH * 1e-5,
    )
    np.testing.assert_allclose(found["c_sigma_common"] / found["c"], 1e-5, rtol=1e-12)
    np.testing.assert_allclose(found["volume_sigma_common"] / found["volume"], 3e-5, rtol=1e-12)
    assert "beta_sigma_common" not in found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"system": "triclinic"}, "system: 'triclinic'"),
        ({"hkl": {"l0": (1, 0, 0), "l9": (2, 0, 0)}}, "do not fix"),
        ({"hkl": {"l0": (1, 0, 0)}}, "1 lines for 2 parameters"),
        ({"hkl": {"l0": (1, 0, 0), "none": (0, 0, 1)}}, "none"),
        ({"hkl": {"l0": (0, 0, 0), "l1": (0, 0, 1)}}, "three whole numbers"),
        ({"hkl": {"l0": (1.5, 0, 0), "l1": (0, 0, 1)}}, "three whole numbers"),
        ({"zero": "yes"}, "zero: 'yes'"),
        ({"wavelength": None}, "wavelength: not given"),
        ({"wavelength_sigma": -1}, "wavelength_sigma: -1"),
    ],
)
def test_an_impossible_request_is_refused(wrong: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {
        "hkl": INDEXED,
        "system": "tetragonal",
        "wavelength": WAVELENGTH,
    } | wrong
    with pytest.raises(RequestError, match=message):
        lattice(tracks(truth("tetragonal")), **asked)


def test_a_cell_that_breathes_is_followed_from_the_counts_on() -> None:
    """Poisson patterns of a cubic crystal; four lines are tracked, then its cell is refined."""
    frames = 120
    parameter = 8.1 + 0.05 * np.sin(np.linspace(0, 6, frames))
    indices = {"111": (1, 1, 1), "311": (3, 1, 1), "400": (4, 0, 0), "440": (4, 4, 0)}
    x = 4.0 + 0.01 * np.arange(2000)
    expected = np.full((frames, x.size), 100.0)
    windows = []
    for name, hkl in indices.items():
        sine = WAVELENGTH / 2 / parameter * np.linalg.norm(hkl)
        centre = np.degrees(2 * np.arcsin(sine))[:, None]
        u = 2 * (x - centre) / 0.07
        expected += 400 * (0.6 * np.exp(-np.log(2) * u**2) + 0.4 / (1 + u**2))
        low, high = float(centre.min()), float(centre.max())
        windows.append(Window(name, low - 0.4, high + 0.4, (float(centre[0, 0]),)))
    axis = ("two_theta", x, {"units": "degree"})
    time = np.datetime64("2025-01-01", "ns") + np.arange(frames) * np.timedelta64(60, "s")
    counts = xr.DataArray(
        np.random.default_rng(4).poisson(expected).astype(float),
        {"time": time, "two_theta": axis},
        ("time", "two_theta"),
        "intensity",
        {"units": "count"},
    )
    found = lattice(
        track_peaks(counts, windows=windows), hkl=indices, system="cubic", wavelength=WAVELENGTH
    )
    pull = (found["a"] - parameter) / found["a_sigma"]
    assert 0.8 < float(pull.std()) < 1.1
    assert abs(float(pull.mean())) < 0.3
    assert float((found["a_sigma"] / found["a"]).median()) < 5e-5


@pytest.mark.shared_data
def test_the_standard_of_11bm_has_the_cell_of_its_structure(shared_data: Path) -> None:
    """Na2Ca3Al2F14, a = 10.251218 in NAC.cif; below 10 degrees axial divergence skews lines."""
    text = (shared_data / "formats/xrd/nac/11BM_NAC.fxye").read_text().split("FXYE\n", 1)[1]
    x, y, sigma = np.array([line.split() for line in text.splitlines()], dtype=float).T
    a, wavelength = 10.2512, 0.413909
    hkl = {
        "400": (4, 0, 0),
        "422": (4, 2, 2),
        "440": (4, 4, 0),
        "640": (6, 4, 0),
        "444": (4, 4, 4),
        "800": (8, 0, 0),
        "642": (6, 4, 2),
        "844": (8, 4, 4),
    }
    windows = []
    for name, index in hkl.items():
        at = np.degrees(2 * np.arcsin(wavelength / 2 / a * np.linalg.norm(index)))
        windows.append(Window(name, at - 0.05, at + 0.05, (at,)))
    axis = ("two_theta", x / 100, {"units": "degree"})
    coords = {"time": np.array(["2012-11-29T18:07"], "datetime64[ns]"), "two_theta": axis}
    intensity, error = (
        xr.DataArray(values[None], coords, ("time", "two_theta"), "intensity", {"units": "1"})
        for values in (y, sigma)
    )
    found = lattice(
        track_peaks(intensity, windows=windows, sigma=error),
        hkl=hkl,
        system="cubic",
        wavelength=wavelength,
    )
    assert found["a"].item() == pytest.approx(10.251218, rel=20e-6)
    assert found["a_sigma"].item() / 10.25 < 5e-6
    assert found["a_sigma_syst"].item() > found["a_sigma_stat"].item()


@pytest.mark.shared_data
def test_lab6_of_a_laboratory_has_its_certified_cell(shared_data: Path) -> None:
    """SRM 660c, a = 4.156826, Bragg-Brentano with a copper tube: doublet and displacement."""
    text = (shared_data / "formats/xrd/lab6/NIST660CBI.gsas").read_text().splitlines()
    bank = text[1].split()
    counts = np.array(" ".join(text[2:]).split(), dtype=float)[: int(bank[2])]
    x = (float(bank[5]) + float(bank[6]) * np.arange(counts.size)) / 100
    hkl = {
        "110": (1, 1, 0),
        "111": (1, 1, 1),
        "211": (2, 1, 1),
        "310": (3, 1, 0),
        "321": (3, 2, 1),
        "411": (4, 1, 1),
        "332": (3, 3, 2),
    }
    windows = []
    for name, index in hkl.items():
        at = np.degrees(2 * np.arcsin(1.5405929 / 2 / 4.1568 * np.linalg.norm(index)))
        room = 0.3 * np.tan(np.radians(at) / 2)
        windows.append(Window(name, at - 0.7, at + 0.7 + room, (at,)))
    intensity = xr.DataArray(
        counts[None],
        {
            "time": np.array(["2018-01-01"], "datetime64[ns]"),
            "two_theta": ("two_theta", x, {"units": "degree"}),
        },
        ("time", "two_theta"),
        "intensity",
        {"units": "count"},
    )
    tracks = track_peaks(
        intensity, windows=windows, profile="split_pseudo_voigt", doublet=Doublet()
    )
    found = lattice(tracks, hkl=hkl, system="cubic", wavelength=1.5405929, displacement="free")
    assert found["a"].item() == pytest.approx(4.156826, rel=100e-6)
    assert found["chi2r"].item() < 20
    # without the displacement the same lines are 0.04 degrees off, and say so
    stiff = lattice(tracks, hkl=hkl, system="cubic", wavelength=1.5405929)
    assert int(stiff["assessment"].item()) & ASSESSMENT["lines_disagree"]
    with pytest.raises(RequestError, match="doublet, which was modelled"):
        lattice(tracks, hkl=hkl, system="cubic", wavelength=1.5418)
