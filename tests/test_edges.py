"""Edge tracking against synthetic truth, simulation of its error bars, and two real experiments."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.errors import RequestError
from operando.observables.edges import ASSESSMENT, track_edge, white_noise

Array = npt.NDArray[np.float64]

E0 = 7112.0
ENERGY = np.r_[np.arange(6950.0, 7090, 2), np.arange(7090, 7150, 0.25), np.arange(7150, 7700, 1.5)]
RANGES: dict[str, Any] = {"pre": (-150, -40), "post": (80, 500)}


def edge(energy: Array, centre: float = E0) -> Array:
    """An arctan step and a Gaussian white line, of step one."""
    rise = np.arctan((energy - centre) / 1.5) / np.pi + 0.5
    return np.asarray(rise + 0.6 * np.exp(-(((energy - centre - 6) / 3) ** 2)))


def wrap(mu: Array, energy: Array = ENERGY) -> xr.DataArray:
    mu = np.atleast_2d(mu)
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    time = start + np.arange(len(mu)) * np.timedelta64(60, "s")
    return xr.DataArray(
        mu,
        dims=("time", "energy"),
        coords={
            "time": time,
            "energy": ("energy", energy, {"units": "eV"}),
            "voltage": ("time", np.linspace(3, 4, len(mu)), {"units": "V"}),
        },
        name="mu",
    )


def names(value: int) -> set[str]:
    return {name for name, bit in ASSESSMENT.items() if value & bit}


def fine_truth(centre: float, level: float, band: tuple[float, float]) -> tuple[float, float]:
    """Half-height by bisection and mean energy over mu by summing E dmu, on a grid of 0.1 meV."""
    energy = np.arange(centre - 25, centre + 6, 1e-4)
    values = edge(energy, centre)
    half = float(np.interp(level, values, energy))
    inside = (values >= band[0]) & (values <= band[1])
    weight = np.gradient(values)[inside]
    return half, float(np.sum(weight * energy[inside]) / weight.sum())


def test_energies_of_a_known_edge() -> None:
    fine = np.arange(E0 - 200, E0 + 500, 0.02)
    result = track_edge(wrap(edge(fine), fine), e0=E0, pre=None, post=None)
    half, integral = fine_truth(E0, 0.5, (0.15, 1.0))
    assert result["edge_energy_half"].item() == pytest.approx(half, abs=1e-4)
    assert result["edge_energy_integral"].item() == pytest.approx(integral, abs=1e-4)
    assert result["white_line"].item() == pytest.approx(edge(fine).max(), abs=1e-9)
    assert "edge_step" not in result
    assert result["assessment"].item() == 0


@given(st.floats(-0.4, 0.4))
def test_a_shift_below_the_grid_is_recovered(shift: float) -> None:
    mu = wrap(np.stack([edge(ENERGY, E0), edge(ENERGY, E0 + shift)]))
    result = track_edge(mu, e0=E0, pre=None, post=None)
    for name in ("edge_energy_half", "edge_energy_integral"):
        found = float(result[name].diff("time").item())
        assert found == pytest.approx(shift, abs=0.02 * 0.25)


@given(shift=st.floats(-500, 500), scale=st.floats(0.05, 20))
@settings(max_examples=25)
def test_equivariant_under_shift_and_invariant_under_scale(shift: float, scale: float) -> None:
    rng = np.random.default_rng(1)
    mu = 2 + 0.7 * edge(ENERGY) + 1e-3 * rng.standard_normal((3, ENERGY.size))
    plain = track_edge(wrap(mu), e0=E0, **RANGES)
    moved = track_edge(wrap(scale * mu, ENERGY + shift), e0=E0 + shift, **RANGES)
    for name in ("edge_energy_half", "edge_energy_integral"):
        np.testing.assert_allclose(moved[name] - shift, plain[name], atol=1e-6)
        np.testing.assert_allclose(moved[f"{name}_sigma"], plain[f"{name}_sigma"], rtol=1e-5)
    np.testing.assert_allclose(moved["edge_step"], scale * plain["edge_step"], rtol=1e-9)
    np.testing.assert_allclose(
        moved["edge_step_sigma"], scale * plain["edge_step_sigma"], rtol=1e-9
    )
    np.testing.assert_allclose(moved["white_line"], plain["white_line"], rtol=1e-8)


def simulated(count: int, noise: float | Array, seed: int = 5) -> tuple[xr.DataArray, xr.Dataset]:
    rng = np.random.default_rng(seed)
    truth = 1.4 - 3e-4 * (ENERGY - E0) + 0.8 * edge(ENERGY)
    noisy = truth + noise * rng.standard_normal((count, ENERGY.size))
    return wrap(noisy), track_edge(wrap(truth), e0=E0, **RANGES, sigma=1.0)


@pytest.mark.parametrize("noise", [1e-3, 4e-3])
@pytest.mark.parametrize("given_sigma", [True, False])
def test_pulls_of_every_number(noise: float, given_sigma: bool) -> None:
    mu, truth = simulated(3000, noise)
    result = track_edge(mu, e0=E0, **RANGES, sigma=noise if given_sigma else None)
    for name in ("edge_energy_half", "edge_energy_integral", "edge_step"):
        pulls = (result[name] - truth[name].item()) / result[f"{name}_sigma"]
        assert 0.9 < float(pulls.std()) < 1.1, name
        assert abs(float(pulls.mean())) < 0.15, name


def test_pulls_with_noise_that_differs_from_point_to_point() -> None:
    profile = 2e-3 * (1 + (np.abs(ENERGY - E0) > 60))
    mu, truth = simulated(3000, profile)
    sigma = xr.DataArray(profile, dims="energy")
    result = track_edge(mu, e0=E0, **RANGES, sigma=sigma)
    for name in ("edge_energy_half", "edge_energy_integral", "edge_step"):
        pulls = (result[name] - truth[name].item()) / result[f"{name}_sigma"]
        assert 0.9 < float(pulls.std()) < 1.1, name
    whole = track_edge(mu, e0=E0, **RANGES, sigma=sigma.broadcast_like(mu))
    xr.testing.assert_allclose(whole, result, rtol=1e-9)


def test_sigma_of_half_height_is_the_published_formula_when_normalised() -> None:
    mu = wrap(edge(ENERGY))
    result = track_edge(mu, e0=E0, pre=None, post=None, sigma=1e-3)
    half = result["edge_energy_half"].item()
    at = int(np.searchsorted(ENERGY, half)) - 1
    width = ENERGY[at + 1] - ENERGY[at]
    slope = (edge(ENERGY)[at + 1] - edge(ENERGY)[at]) / width
    fraction = (half - ENERGY[at]) / width
    expected = 1e-3 * np.hypot(1 - fraction, fraction) / slope
    assert result["edge_energy_half_sigma"].item() == pytest.approx(expected, rel=1e-9)


def test_sigma_may_differ_between_spectra() -> None:
    mu = wrap(np.stack([edge(ENERGY)] * 2))
    sigma = xr.DataArray([1e-3, 3e-3], dims="time", coords={"time": mu["time"]})
    result = track_edge(mu, e0=E0, **RANGES, sigma=sigma)["edge_energy_integral_sigma"].values
    assert result[1] == pytest.approx(3 * result[0])


@pytest.mark.parametrize("uneven", [False, True])
def test_white_noise_is_found_beneath_oscillations(uneven: bool) -> None:
    rng = np.random.default_rng(2)
    x = np.linspace(50, 600, 500)
    x = x + (rng.uniform(-0.2, 0.2, x.size) if uneven else 0)
    exafs = 0.05 * np.sin(2 * np.sqrt(0.262 * x) * 2.2) * np.exp(-x / 300)
    noise = 1e-3 * rng.standard_normal((400, x.size))
    found = white_noise(x, 1 + 1e-3 * x + exafs + noise)
    assert float(np.mean(found)) == pytest.approx(1e-3, rel=0.03)


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7}, {"time": 5, "energy": 100}])
def test_chunks_do_not_matter(chunks: dict[str, int]) -> None:
    mu, _ = simulated(23, 1e-3)
    whole = track_edge(mu, e0=E0, **RANGES)
    lazy = track_edge(mu.chunk(chunks), e0=E0, **RANGES)
    assert all(variable.chunks for variable in lazy.data_vars.values())
    for name, values in lazy.compute().data_vars.items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12, err_msg=str(name))


def test_contract() -> None:
    mu, _ = simulated(4, 1e-3)
    result = track_edge(mu, e0=E0, **RANGES)
    assert list(result["voltage"].dims) == ["time"]
    assert result["assessment"].dtype == np.int32
    assert result["assessment"].attrs["flag_meanings"].split() == list(ASSESSMENT)
    for name in ("edge_energy_half", "edge_energy_integral", "white_line", "edge_step"):
        assert result[name].attrs["ancillary_variables"] == f"{name}_sigma"
        assert result[name].attrs["units"] == ("eV" if "energy" in name else "1")
    assert result.attrs["signal"] == "mu"
    assert result.attrs["e0"] == E0


def test_preedge_peak_above_the_level_is_said_and_not_followed() -> None:
    peak = 0.8 * np.exp(-(((ENERGY - E0 + 12) / 1.5) ** 2))
    result = track_edge(wrap(edge(ENERGY) + peak), e0=E0, pre=None, post=None)
    assert names(result["assessment"].item()) == {"preedge_above_level"}
    half, _ = fine_truth(E0, 0.5, (0.15, 1.0))
    assert result["edge_energy_half"].item() == pytest.approx(half, abs=0.05)


def test_every_bad_measurement_is_a_flagged_nan() -> None:
    good = 1 + edge(ENERGY)
    middle, tail, dead = good.copy(), good.copy(), np.full_like(good, np.nan)
    middle[np.abs(ENERGY - E0).argmin()] = np.nan
    tail[ENERGY > 7300] = np.nan
    flat = np.ones_like(good)
    weak = np.where(np.arange(good.size) % 2, 1e-9, -1e-9) + 1 + 1e-3 * (ENERGY > 7300)
    mu = wrap(np.stack([good, middle, tail, dead, 3 - good, flat, weak]))
    result = track_edge(mu, e0=E0, **RANGES, sigma=1e-3)
    found = [names(value) for value in result["assessment"].values.tolist()]
    assert found[:5] == [
        set(),
        {"nonfinite"},
        {"nonfinite", "partial_scan"},
        {"nonfinite"},
        {"negative_step"},
    ]
    assert all(found[5:])
    for name in ("edge_energy_half", "edge_energy_integral"):
        assert np.isnan(result[name].values).tolist() == [False] + [True] * 6
        assert np.isnan(result[f"{name}_sigma"].values).tolist() == [False] + [True] * 6


def test_an_edge_that_does_not_reach_the_band_has_no_mean_energy() -> None:
    low = 0.9 * (np.arctan((ENERGY - E0) / 1.5) / np.pi + 0.5)
    result = track_edge(wrap(low), e0=E0, pre=None, post=None)
    assert names(result["assessment"].item()) == {"no_crossing"}
    assert np.isnan(result["edge_energy_integral"].item())
    assert np.isfinite(result["edge_energy_half"].item())


def test_a_range_beyond_the_data_is_said() -> None:
    result = track_edge(wrap(1 + edge(ENERGY)), e0=E0, pre=(-150, -40), post=(80, 900))
    assert names(result["assessment"].item()) == {"short_range"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pre": None}, "give both"),
        ({"level": 0.1}, r"level: 0.1; expected inside the band \(0.15, 1.0\)"),
        ({"e0": 9000.0}, "window"),
        ({"pre": (-400, -300)}, "pre .*0 points"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        track_edge(wrap(edge(ENERGY)), **({"e0": E0} | RANGES | changed))


def test_an_axis_that_is_not_energy_is_refused() -> None:
    with pytest.raises(RequestError, match="energy axis"):
        track_edge(wrap(edge(ENERGY)).rename(energy="pixel"), e0=E0, **RANGES)
    with pytest.raises(RequestError, match="not ascending"):
        track_edge(wrap(edge(ENERGY)[::-1], ENERGY[::-1]), e0=E0, **RANGES)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.shared_data
def test_lithium_nickel_oxide_agrees_with_its_reference(shared_data: Path) -> None:
    folder = shared_data / "operando" / "xas_ni_lno_rock"
    rows = {row["file"]: row for row in table(folder / "reference" / "rock_lno_reference.csv")}
    files = sorted((folder / "XAS_normalized").glob("*.txt"))
    assert len(files) == 230
    spectra = [np.loadtxt(file, encoding="latin-1", usecols=(0, 1)) for file in files]
    mu = wrap(np.stack([spectrum[:, 1] for spectrum in spectra]), spectra[0][:, 0])
    result = track_edge(mu, e0=8345.0, pre=None, post=None)
    expected = [float(rows[file.name]["E_half_step_eV"]) for file in files]
    np.testing.assert_allclose(result["edge_energy_half"], expected, atol=0.001)
    peak = [float(rows[file.name]["whiteline_max"]) for file in files]
    np.testing.assert_allclose(result["white_line"], peak, atol=1e-4)
    assert not result["assessment"].any()
    assert float(result["edge_energy_half_sigma"].median()) < 0.003


@pytest.mark.shared_data
def test_manganese_in_an_aqueous_cell_agrees_with_its_reference(shared_data: Path) -> None:
    folder = shared_data / "operando" / "xas_mn_zn_claess"
    rows = table(folder / "reference" / "op1_Electrodep_C_P1_Mn.csv")
    spectra = []
    for row in rows:
        scan = np.loadtxt(folder / "Data" / "Electrodep_C_P1" / "Mn" / row["file"])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(scan[:, 4] / scan[:, 6])
        spectra.append((scan[:, 2], np.where(np.isfinite(ratio), ratio, np.nan)))
    energy = spectra[0][0]  # the encoder jitters: every scan goes onto the first one's grid
    mu = np.stack([np.interp(energy, x, y, left=np.nan, right=np.nan) for x, y in spectra])
    result = track_edge(wrap(mu, energy), e0=6546.0, pre=(-100, -30), post=(50, 1200))
    broken = [int(row["n_nonfinite"]) > 0 for row in rows]
    assert np.flatnonzero(broken).tolist() == [3]
    assert np.isnan(result["edge_energy_half"].values).tolist() == broken
    assert names(int(result["assessment"][3])) == {"nonfinite", "partial_scan"}
    assert not result["assessment"].values[~np.array(broken)].any()
    half = np.array([float(row["E_half_step_eV"]) for row in rows])
    difference = result["edge_energy_half"].values - half
    np.testing.assert_allclose(np.delete(difference, 3), 0, atol=0.02)
    step = np.array([float(row["edge_step_lnI0I1"]) for row in rows])
    np.testing.assert_allclose(np.delete(result["edge_step"].values / step, 3), 1, atol=0.02)
