"""One frame by larch: its background, its wavelet, and shells fitted to a known sum of paths."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.errors import RequestError
from operando.model import flag_names
from operando.observables.exafs import track_exafs
from operando.observables.exafs_reference import reference_background, wavelet
from operando.observables.feff import FeffPath, feff_paths
from operando.observables.larch_calls import ask
from operando.observables.shells import ASSESSMENT, fit_shells
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

NICKEL = """\
# Nickel, face centred cubic, a = 3.5238 angstrom.
data_nickel
_cell_length_a 3.5238
_cell_length_b 3.5238
_cell_length_c 3.5238
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ni1 Ni 0 0 0
"""
E0 = 8333.0
ENERGY = np.arange(8150.0, 9400.0, 1.0)
K = np.asarray(0.05 * np.arange(341), np.float64)
WIDE: dict[str, Any] = {"r_range": (1.4, 2.8)}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[FeffPath]:
    file = tmp_path_factory.mktemp("cif") / "nickel.cif"
    file.write_text(NICKEL, encoding="utf-8")
    return feff_paths(file, absorber="Ni", cluster=4.5)


def summed(paths: list[FeffPath], folder: Path, **parameters: float) -> xr.DataArray:
    """chi(k) of paths by larch's `ff2chi`, with the same parameters for all."""
    xafs = larch("xafs")
    ways = []
    for number, path in enumerate(paths):
        file = folder / f"feff{number:04d}.dat"
        file.write_bytes(path.content)
        ways.append(xafs.feffpath(str(file), label=file.stem, **parameters))
    return xr.DataArray(xafs.ff2chi(ways, k=K.copy()).chi, dims="k", coords={"k": K})


def absorption(count: int, seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    x = ENERGY - E0
    k = np.sqrt(0.2624683 * np.clip(x, 0, None))
    wave = 0.5 * np.sin(2 * k * 2.3) * np.exp(-0.01 * k**2) * k / (k**2 + 9)
    mu = 0.2 - 1e-4 * x + 1.2 * (np.arctan((x + 3) / 1.5) / np.pi + 0.5 + wave)
    return xr.DataArray(
        mu + 1e-3 * rng.standard_normal((count, x.size)),
        dims=("time", "energy"),
        coords={"time": np.arange(count), "energy": ("energy", ENERGY, {"units": "eV"})},
        name="mu",
    )


def test_background_of_an_average_is_what_the_series_gives() -> None:
    mu = absorption(6)
    ranges: dict[str, Any] = {"e0": E0, "pre": (-150, -40), "post": (150, 900)}
    series = track_exafs(mu, **ranges)["chi"].mean("time").sel(k=slice(3, 12))
    for given in (mu, mu.mean("time")):
        chi = reference_background(given, **ranges)
        assert chi.dims == ("k",)
        assert chi.name == "chi"
        assert chi.attrs["software"].startswith("xraylarch")
        off = (chi.sel(k=slice(3, 12)) - series) * series["k"] ** 2
        assert float((off**2).sum() / ((series * series["k"] ** 2) ** 2).sum()) < 1e-4
    scaled = reference_background(3 * mu, **ranges)
    np.testing.assert_allclose(scaled.sel(k=slice(3, 12)), chi.sel(k=slice(3, 12)), atol=2e-3)


def test_wavelet_finds_each_distance_where_in_k_it_scatters() -> None:
    near = 0.1 * np.sin(2 * K * 1.5) * np.exp(-(((K - 4) / 2) ** 2))
    far = 0.1 * np.sin(2 * K * 3.0) * np.exp(-(((K - 11) / 2) ** 2))
    chi = xr.DataArray(near + far, dims="k", coords={"k": K})
    found = wavelet(chi, k_weight=0, r_max=4.0)
    assert found.dims == ("r", "k")
    assert found["r"].attrs["units"] == "angstrom"
    for low, high, r, k in ((1, 2.2, 1.5, 4), (2.2, 4, 3.0, 11)):
        part = found.sel(r=slice(low, high))
        row, column = np.unravel_index(int(part.values.argmax()), part.shape)
        assert float(part["r"][row]) == pytest.approx(r, abs=0.1)
        assert float(part["k"][column]) == pytest.approx(k, abs=0.5)


def test_a_known_shell_is_recovered_within_its_uncertainty(
    paths: list[FeffPath], tmp_path: Path
) -> None:
    truth = {"s02": 0.83, "deltar": -0.015, "sigma2": 0.0061, "e0": 4.2}
    chi = summed(paths[:1], tmp_path, **truth)
    assert (paths[0].degeneracy, round(paths[0].distance, 3)) == (12, 2.492)
    expected = {
        "amplitude": 12 * 0.83,
        "coordination": 12,
        "distance": 3.5238 / np.sqrt(2) - 0.015,
        "sigma2": 0.0061,
        "e0_shift": 4.2,
    }
    pulls = []
    rng = np.random.default_rng(4)
    for _ in range(12):
        noisy = chi + 2e-3 * rng.standard_normal(K.size)
        result = fit_shells(noisy, {"Ni-Ni": paths[:1]}, s02=0.83, **WIDE)
        assert result["assessment"].item() == 0
        for name, value in expected.items():
            pulls.append((result[name].item() - value) / result[f"{name}_sigma"].item())
    assert np.abs(pulls).max() < 6
    assert 0.4 < np.sqrt(np.mean(np.square(pulls))) < 2
    assert result["r_factor"] < 1e-2
    np.testing.assert_allclose(
        result["chi_model"].sel(k=slice(3, 12)), chi.sel(k=slice(3, 12)), atol=5e-3
    )
    assert result.attrs["variables"] == 4
    assert result.attrs["independent_points"] == pytest.approx(1 + 2 * 1.4 * 9 / np.pi)
    assert result["amplitude"].attrs["ancillary_variables"] == "amplitude_sigma"


def test_paths_of_one_shell_share_their_parameters(paths: list[FeffPath], tmp_path: Path) -> None:
    truth = {"s02": 0.9, "deltar": 0.01, "sigma2": 0.005, "e0": 0.0}
    chi = summed(paths[:2], tmp_path, **truth)
    wide: dict[str, Any] = {"r_range": (1.4, 3.8)}
    result = fit_shells(chi, {"first": paths[0], "second": paths[1]}, **wide)
    assert result["shell"].values.tolist() == ["first", "second"]
    number = [path.degeneracy for path in paths[:2]]
    np.testing.assert_allclose(result["amplitude"], 0.9 * np.array(number), rtol=2e-3)
    np.testing.assert_allclose(
        result["distance"], [path.distance + 0.01 for path in paths[:2]], atol=1e-3
    )
    assert "coordination" not in result
    together = fit_shells(chi, {"both": paths[:2]}, **wide)
    assert together["amplitude"].item() == pytest.approx(0.9 * sum(number), rel=2e-3)
    assert together.attrs["variables"] == 4


def test_a_wrong_model_is_not_believed(paths: list[FeffPath]) -> None:
    two = np.sin(2 * K * 1.6) + np.sin(2 * K * 2.6)
    chi = xr.DataArray(0.1 * two * np.exp(-0.005 * K**2), dims="k", coords={"k": K})
    result = fit_shells(chi, {"Ni-Ni": paths[0]}, **WIDE)
    said = flag_names(result["assessment"].item(), ASSESSMENT)
    assert "poor_fit" in said


def test_a_shell_that_is_not_there_has_no_certain_amplitude(paths: list[FeffPath]) -> None:
    rng = np.random.default_rng(1)
    chi = xr.DataArray(2e-3 * rng.standard_normal(K.size), dims="k", coords={"k": K})
    result = fit_shells(chi, {"Ni-Ni": paths[0]}, **WIDE)
    amplitude, sigma = result["amplitude"].item(), result["amplitude_sigma"].item()
    assert result["assessment"].item() != 0
    assert np.isnan(sigma) or abs(amplitude) < 6 * sigma or abs(amplitude) < 3


def test_a_frame_of_a_series_is_fitted_as_it_is(
    paths: list[FeffPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the standard output has no encoding, which larch asks it for."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    series = track_exafs(absorption(3), e0=E0, pre=(-150, -40), post=(150, 900))
    result = fit_shells(series["chi"].isel(time=0), {"Ni-Ni": paths[0]}, **WIDE)
    assert np.isfinite(result["distance"].item())


def test_impossible_fits_are_refused(paths: list[FeffPath]) -> None:
    chi = xr.DataArray(np.sin(4 * K), dims="k", coords={"k": K})
    for shells, settings, message in (
        ({}, {}, "expected one or more"),
        ({"a": []}, {}, r"shells \['a'\]"),
        ([paths[0]], {}, "a mapping of shell names"),
        ({"a": paths[0]}, {"r_range": (1.0, 1.3)}, "4 variables for 2.7 independent points"),
        ({"a": paths[0]}, {"k_range": (3, 19), "r_range": (1, 3)}, "chi ends at 17"),
        ({"a": paths[0]}, {"s02": 0.0}, "s02: 0.0; expected a positive number"),
    ):
        request: Any = shells
        with pytest.raises(RequestError, match=message):
            fit_shells(chi, request, **settings)


@pytest.mark.parametrize(
    ("k", "message"),
    [(K[1:], "expected even steps"), (2 * K, "expected even steps"), (K[:5], "5 points")],
)
def test_other_grids_of_k_are_refused(k: Array, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        wavelet(xr.DataArray(np.sin(k), dims="k", coords={"k": k}))


def test_spectra_that_cannot_be_used_are_refused() -> None:
    ranges: dict[str, Any] = {"e0": E0, "pre": (-150, -40), "post": (150, 900)}
    mu = absorption(2)
    broken = mu.copy()
    broken[1, 40] = np.nan
    for given, changed, message in (
        (broken, {}, "1 of 1250 points are not finite"),
        (-mu, {}, "an edge step of -1.17"),
        (mu, {"pre": None}, "give both"),
        (mu, {"e0": 7000.0}, "e0: 7000.0"),
        (mu.isel(energy=slice(None, None, -1)), {}, "not ascending"),
        (mu.rename(energy="pixel"), {}, "an xarray.DataArray on energy"),
    ):
        with pytest.raises(RequestError, match=message):
            reference_background(given, **(ranges | changed))


def test_what_larch_only_prints_is_an_exception(capsys: pytest.CaptureFixture[str]) -> None:
    group = larch("symboltable").Group(energy=ENERGY.copy(), mu=absorption(1).values[0])
    with pytest.raises(RequestError, match="larch autobk: Unrecognized arguments for autobk"):
        ask("autobk", group, foo=1)
    with pytest.raises(RequestError, match="larch feffpath: Feff Path file 'none' not found"):
        ask("feffpath", "none")
    assert capsys.readouterr().out == ""
