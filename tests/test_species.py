"""Number and spectra of species against simulated truth, random matrices, and a real series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f as fisher

from operando.errors import RequestError
from operando.observables.alternating import band
from operando.observables.fractions import ASSESSMENT, fractions
from operando.observables.species import RANK_ASSESSMENT, rank, resolve
from operando.observables.species_rank import decompose, largest_of_noise, malinowski
from operando.simulate.xanes import ion, metal
from operando.simulate.zr_series import damage

Array = npt.NDArray[np.float64]

ENERGY: Array = np.arange(17950.0, 18150.5, 1.0)
WINDOW = (17970.0, 18100.0)
COUNT = 60


def frames(values: Array, energy: Array = ENERGY) -> xr.DataArray:
    time = np.datetime64("2026-05-04T10:00:00", "ns")
    return xr.DataArray(
        values,
        dims=("time", "energy"),
        coords={
            "time": time + np.arange(len(values)) * np.timedelta64(60, "s"),
            "energy": ("energy", energy, {"units": "eV"}),
            "voltage": ("time", np.linspace(3, 4, len(values)), {"units": "V"}),
        },
        name="norm",
    )


def series(
    *, species: int, seed: int, noise: float = 1e-3, count: int = COUNT, least: float = 0.0
) -> xr.DataArray:
    """One to three species: electrolyte, metal from `least` to one less it, damage at random."""
    rng = np.random.default_rng(seed)
    part = np.linspace(least, 1 - least, count)[:, None] if species > 1 else np.zeros((count, 1))
    lost = rng.uniform(0, 0.3, (count, 1)) if species > 2 else np.zeros((count, 1))
    clean = (1 - part) * ion(ENERGY) + part * metal(ENERGY) + lost * damage(ENERGY)
    return frames(clean + noise * rng.standard_normal(clean.shape))


def names(value: int, flags: dict[str, int] = RANK_ASSESSMENT) -> set[str]:
    return {name for name, bit in flags.items() if value & bit}


def spectrum(values: Array) -> xr.DataArray:
    return xr.DataArray(values, dims="energy", coords={"energy": ENERGY})


@pytest.mark.parametrize("species", [1, 2, 3])
@pytest.mark.parametrize("sigma", [None, 1e-3])
def test_species_are_counted(species: int, sigma: float | None) -> None:
    """One too many once in a hundred, never one too few at this noise."""
    counts = [
        int(rank(series(species=species, seed=seed), window=WINDOW, sigma=sigma)["count"])
        for seed in range(60)
    ]
    assert min(counts) == species
    assert np.mean(np.array(counts) > species) <= 0.05


@pytest.mark.parametrize("shape", [(20, 130), (60, 130), (250, 130)])
def test_the_limit_is_that_of_a_parallel_analysis(shape: tuple[int, int]) -> None:
    """The largest eigenvalue of 600 random matrices of white noise exceeds it as often as told."""
    rng = np.random.default_rng(3)
    largest = np.array([np.linalg.norm(rng.standard_normal(shape), 2) ** 2 for _ in range(600)])
    for probability in (0.2, 0.05):
        limit = largest_of_noise(np.array([shape[0]]), np.array([shape[1]]), probability)[0]
        assert np.mean(largest > limit) == pytest.approx(probability, rel=0.4)


def test_the_false_alarm_rate_is_as_declared() -> None:
    wrong = [
        int(
            rank(
                series(species=1, seed=seed, count=30), window=WINDOW, sigma=1e-3, false_alarm=0.2
            )["count"]
        )
        > 1
        for seed in range(300)
    ]
    assert np.mean(wrong) == pytest.approx(0.2, abs=0.07)


def test_noise_that_differs_from_point_to_point_is_no_species() -> None:
    rng = np.random.default_rng(2)
    profile = 1e-3 * np.where(ENERGY > 18010, 5.0, 1.0)
    norm = frames(ion(ENERGY) + profile * rng.standard_normal((COUNT, ENERGY.size)))
    assert int(rank(norm, window=WINDOW)["count"]) > 1
    told = rank(norm, window=WINDOW, sigma=xr.DataArray(profile, dims="energy"))
    assert int(told["count"]) == 1


def test_malinowski_by_his_formulas() -> None:
    """Real error, indicator and F of the first components, written out for one matrix."""
    norm = series(species=2, seed=1)
    result = rank(norm, window=WINDOW)
    matrix = norm.sel(energy=slice(*WINDOW)).values
    values = np.linalg.svd(matrix, compute_uv=False) ** 2
    rows, columns = matrix.shape
    error = np.sqrt(values[2:].sum() / (columns * (rows - 2)))
    assert float(result["real_error"][1]) == pytest.approx(error)
    assert float(result["indicator"][1]) == pytest.approx(error / (rows - 2) ** 2)
    pooled = sum((rows - j) * (columns - j) for j in range(2, rows))
    ratio = values[1] / ((rows - 1) * (columns - 1)) * pooled / values[2:].sum()
    assert float(result["f_significance"][1]) == pytest.approx(fisher.sf(ratio, 1, rows - 2))
    assert int(result["count_indicator"]) == int(result["count_f_test"]) == 2
    assert all(np.isnan(part[-1]) for part in malinowski(decompose(matrix)))


def test_isosbestic_points_of_two_species() -> None:
    """Where the spectra of ion and metal cross, found on a grid a hundred times finer."""
    result = rank(series(species=2, seed=1), window=WINDOW)
    fine = np.arange(*WINDOW, 0.01)
    apart = ion(fine) - metal(fine)
    crossings = fine[:-1][np.sign(apart[:-1]) != np.sign(apart[1:])]
    found = result["isosbestic_energy"].values
    assert found.size >= 3
    assert np.abs(found[:, None] - crossings).min(axis=1).max() < 0.1
    assert np.all(result["isosbestic_chi2"] < 1.6)
    assert names(int(result["assessment"])) == set()


def test_an_edge_that_shifts_is_told_from_two_species() -> None:
    rng = np.random.default_rng(4)
    shifts = np.linspace(0, 0.1, COUNT)[:, None]
    moved = ion(ENERGY + shifts) + 1e-3 * rng.standard_normal((COUNT, ENERGY.size))
    result = rank(frames(moved), window=WINDOW)
    assert int(result["count"]) == 2
    assert names(int(result["assessment"])) == {"shift_like"}
    assert float(result["derivative_overlap"][1]) > 0.95
    wider = ion(ENERGY + 20 * shifts) + 1e-4 * rng.standard_normal((COUNT, ENERGY.size))
    result = rank(frames(wider), window=WINDOW, floor=3e-3)
    assert int(result["count"]) == 2
    assert "no_isosbestic_point" in names(int(result["assessment"]))


def test_a_floor_ignores_what_is_small() -> None:
    norm = series(species=3, seed=2)
    size = rank(norm, window=WINDOW)["contribution"].values
    assert int(rank(norm, window=WINDOW, floor=(size[1] + size[2]) / 2)["count"]) == 2


def test_frames_with_gaps_are_left_out() -> None:
    norm = series(species=2, seed=3)
    norm[5, 60] = np.nan
    result = rank(norm, window=WINDOW)
    assert int(result["count"]) == 2
    assert np.flatnonzero(np.isnan(result["score"][:, 0])).tolist() == [5]
    resolved = resolve(norm, window=WINDOW, count=2)
    assert np.flatnonzero(np.isnan(resolved["fraction"][:, 0])).tolist() == [5]
    assert names(int(resolved["assessment"][5]), ASSESSMENT) == {"nonfinite"}


def test_scores_and_loadings_are_the_frames() -> None:
    norm = series(species=2, seed=3, noise=1e-6)
    result = rank(norm, window=WINDOW)
    two = result.isel(component=slice(0, 2))
    back = (two["score"] * two["loading"]).sum("component")
    np.testing.assert_allclose(back, norm.sel(energy=slice(*WINDOW)), atol=1e-5)
    assert result["voltage"].dims == ("time",)


def test_two_species_with_pure_frames_are_resolved() -> None:
    norm = series(species=2, seed=1)
    result = resolve(norm, window=WINDOW, count=2)
    order = np.argsort(result["fraction"].values[0])[::-1]
    part = np.linspace(0, 1, COUNT)
    found = result["fraction"].values[:, order]
    np.testing.assert_allclose(found, np.stack([1 - part, part], axis=1), atol=0.004)
    grid = result["energy"].values
    spectra = result["spectrum"].values[order]
    np.testing.assert_allclose(spectra, [ion(grid), metal(grid)], atol=4e-3)
    assert result.attrs["converged"] == 1
    assert result.attrs["residual"] == pytest.approx(1e-3, rel=0.05)


def test_a_known_species_is_kept_and_the_other_is_found() -> None:
    norm = series(species=2, seed=1)
    result = resolve(norm, window=WINDOW, count=2, known={"Zr4+": spectrum(ion(ENERGY))})
    assert result["component"].values.tolist() == ["Zr4+", "unknown"]
    grid = result["energy"].values
    np.testing.assert_allclose(result["spectrum"][0], ion(grid), atol=1e-9)
    np.testing.assert_allclose(result["spectrum"][1], metal(grid), atol=4e-3)
    assert result.attrs["known"] == ["Zr4+"]


def test_all_known_is_a_linear_combination() -> None:
    norm = series(species=2, seed=1)
    known = {"Zr4+": spectrum(ion(ENERGY)), "Zr": spectrum(metal(ENERGY))}
    result = resolve(norm, window=WINDOW, count=2, known=known)
    other = fractions(norm, standards=known, window=WINDOW)
    np.testing.assert_allclose(result["fraction"], other["fraction"], atol=1e-12)
    np.testing.assert_allclose(result["fraction_sigma"], other["fraction_sigma"])


@pytest.mark.parametrize("known", [False, True])
def test_the_band_holds_the_truth_where_no_frame_is_pure(known: bool) -> None:
    norm = series(species=2, seed=5, least=0.2)
    given_spectra = {"Zr4+": spectrum(ion(ENERGY))} if known else {}
    result = resolve(norm, window=WINDOW, count=2, known=given_spectra)
    zr4 = 0 if result["fraction"][0, 0] > result["fraction"][-1, 0] else 1
    truth = np.linspace(0.8, 0.2, COUNT)
    low, high = result["fraction_low"].values[:, zr4], result["fraction_high"].values[:, zr4]
    assert np.all(low <= truth + 0.003)
    assert np.all(truth - 0.003 <= high)
    assert np.all(low <= result["fraction"].values[:, zr4])
    assert np.median(high - low) > 0.1  # and is honest about how little is known


@given(g=st.floats(-0.2, 0.4), h=st.floats(-0.2, 0.4))
@settings(max_examples=40)
def test_every_equivalent_pair_of_spectra_lies_in_the_band(g: float, h: float) -> None:
    """Rotate the spectra; where none becomes negative, all fractions are within the band."""
    grid = np.linspace(0, 1, 40)
    spectra = np.stack([np.exp(-grid * 3) + 0.05, np.exp(-(1 - grid) * 3) + 0.05])
    part = np.linspace(0.3, 0.7, 9)
    parts = np.stack([1 - part, part], axis=1)
    low, high = band(parts, spectra, known=0, sigma=np.zeros_like(parts), noise=np.zeros(2))
    moved = np.stack(
        [(spectra[0] - g * spectra[1]) / (1 - g), (spectra[1] - h * spectra[0]) / (1 - h)]
    )
    rotated = np.linalg.lstsq(moved.T, (parts @ spectra).T, rcond=None)[0].T
    if moved.min() < 0 or rotated.min() < 0:
        return
    assert np.all(rotated >= low - 1e-9)
    assert np.all(rotated <= high + 1e-9)


def test_three_species_of_which_two_are_pure_somewhere() -> None:
    rng = np.random.default_rng(8)
    third = metal(ENERGY - 8)
    weights = rng.dirichlet([1, 1, 1], 150)
    weights[:3] = np.eye(3)
    clean = weights @ np.stack([ion(ENERGY), metal(ENERGY), third])
    norm = frames(clean + 1e-3 * rng.standard_normal(clean.shape))
    assert int(rank(norm, window=WINDOW)["count"]) == 3
    result = resolve(norm, window=WINDOW, count=3)
    found = result["fraction"].values[:, np.argmax(result["fraction"].values[:3], axis=1)]
    assert np.sqrt(np.mean((found - weights) ** 2)) < 0.01


def test_the_answer_is_the_same_lazily_and_every_time() -> None:
    norm = series(species=3, seed=6)
    lazy = norm.chunk(time=7)
    xr.testing.assert_identical(rank(lazy, window=WINDOW), rank(norm, window=WINDOW))
    whole = resolve(norm, window=WINDOW, count=3)
    xr.testing.assert_identical(resolve(lazy, window=WINDOW, count=3), whole)


def test_results_can_be_saved(tmp_path: Path) -> None:
    norm = series(species=2, seed=6)
    for name, result in (
        ("rank", rank(norm, window=WINDOW)),
        ("resolve", resolve(norm, window=WINDOW, count=2)),
    ):
        assert all("units" in variable.attrs for variable in result.data_vars.values())
        result.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 7}, "count: 7; expected 1 to 6"),
        ({"count": 0}, "count: 0"),
        (
            {"count": 1, "known": {"a": spectrum(ion(ENERGY)), "b": spectrum(metal(ENERGY))}},
            "expected 2 to 6",
        ),
        ({"known": [1]}, "mapping"),
        ({"window": (17000.0, 18000.0)}, "window"),
        ({"sigma": xr.DataArray(np.ones(3), dims="time")}, "a number, or numbers on energy"),
        ({"sigma": 0.0}, "not above 0"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"count": 2, "window": WINDOW} | changed
    with pytest.raises(RequestError, match=message):
        resolve(series(species=2, seed=1), **asked)


def test_spectra_without_noise_or_without_anything() -> None:
    """Rounding is no species; two species that are one cannot be resolved, and it is said."""
    same = frames(np.tile(ion(ENERGY), (20, 1)))
    assert int(rank(same, window=WINDOW)["count"]) == 1
    assert int(rank(series(species=2, seed=1, noise=0.0), window=WINDOW)["count"]) == 2
    assert int(rank(0 * same, window=WINDOW)["count"]) == 0
    for norm in (same, 0 * same):
        result = resolve(norm, window=WINDOW, count=2)
        doubt = [names(value, ASSESSMENT) for value in result["assessment"].values.tolist()]
        assert all(doubt)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(RequestError, match="4 of 4 frames without a gap"):
        rank(series(species=2, seed=1, count=4), window=WINDOW)
    with pytest.raises(RequestError, match="false_alarm: 2"):
        rank(series(species=2, seed=1), window=WINDOW, false_alarm=2)
    few = rank(series(species=3, seed=1, count=5, noise=1e-6), window=WINDOW)
    assert int(few["count"]) == 3


@pytest.mark.shared_data
def test_lithium_nickel_oxide_is_not_two_fixed_spectra(shared_data: Path) -> None:
    """Beyond systematic errors of 2e-3 its edge shifts: the second component is a derivative."""
    folder = shared_data / "operando" / "xas_ni_lno_rock" / "XAS_normalized"
    files = sorted(folder.glob("*pos1*.txt"))
    read = [np.loadtxt(file, encoding="latin-1", usecols=(0, 1)) for file in files]
    norm = frames(np.stack([columns[:, 1] for columns in read]), read[0][:, 0])
    result = rank(norm, window=(8320, 8400), floor=2e-3)
    assert 2 <= int(result["count"]) <= 4
    assert float(result["derivative_overlap"][1]) > 0.5
    assert np.all(result["isosbestic_chi2"] > 10)
    assert int(rank(norm, window=(8320, 8400))["count"]) > 12
