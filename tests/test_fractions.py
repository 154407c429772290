"""Fractions of known species against truth, a quadratic programme, larch, and real gold spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize

from operando.corrections.normalisation import normalise
from operando.errors import RequestError
from operando.observables.fractions import ASSESSMENT, fractions
from operando.observables.simplex import amplitudes
from operando.simulate.xanes import ion, metal
from operando.simulate.zr_series import ENERGY as WIDE
from operando.simulate.zr_series import damage, zr_series
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

ENERGY: Array = np.arange(17950.0, 18150.5, 1.0)
OWN: Array = np.arange(17940.0, 18160.0, 0.7)
"""The standards have a grid of their own."""
WINDOW = (17970.0, 18100.0)
NORMALISATION: dict[str, Any] = {"e0": 18003.0, "pre": (-140, -40), "post": (80, 600), "degree": 2}


def spectrum(values: Array, energy: Array = OWN) -> xr.DataArray:
    return xr.DataArray(values, dims="energy", coords={"energy": energy})


STANDARDS = {"Zr4+": spectrum(ion(OWN)), "Zr": spectrum(metal(OWN))}


def frames(values: Array, energy: Array = ENERGY) -> xr.DataArray:
    values = np.atleast_2d(values)
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


def mixed(part: float, count: int = 1, noise: float | Array = 0.0, seed: int = 1) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    clean = (1 - part) * ion(ENERGY) + part * metal(ENERGY)
    return frames(clean + noise * rng.standard_normal((count, ENERGY.size)))


def names(value: int) -> set[str]:
    return {name for name, bit in ASSESSMENT.items() if value & bit}


@given(part=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_a_mixture_without_noise_is_recovered(part: float) -> None:
    result = fractions(mixed(part), standards=STANDARDS, window=WINDOW)
    np.testing.assert_allclose(result["fraction"][0], [1 - part, part], atol=2e-5)
    assert result["r_factor"].item() < 1e-8


@pytest.mark.parametrize("closed", [True, False])
@given(seed=st.integers(0, 10_000), bounded=st.integers(1, 6), free=st.integers(0, 1))
@settings(max_examples=60, deadline=None)
def test_amplitudes_are_the_minimum(seed: int, bounded: int, free: int, closed: bool) -> None:
    """The conditions of Karush, Kuhn and Tucker hold: enough for a convex problem."""
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((bounded + free, 12))
    rows = rng.standard_normal((3, 12))
    found = amplitudes(rows, design, bounded, closed)
    assert np.all(found[:, :bounded] >= 0)
    gradient = (found @ design - rows) @ design.T
    held = np.zeros(3)
    if closed:
        np.testing.assert_allclose(found[:, :bounded].sum(axis=1), 1, atol=1e-9)
        held = (gradient * found)[:, :bounded].sum(axis=1)
    slack = gradient[:, :bounded] - held[:, None]
    assert np.all(slack > -1e-8)
    np.testing.assert_allclose(slack * found[:, :bounded], 0, atol=1e-8)
    np.testing.assert_allclose(gradient[:, bounded:], 0, atol=1e-8)


def test_agrees_with_a_general_optimiser() -> None:
    rng = np.random.default_rng(4)
    design, row = rng.standard_normal((4, 30)), rng.standard_normal(30)
    peer = minimize(
        lambda f: np.sum((row - f @ design) ** 2),
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda f: f.sum() - 1},
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(amplitudes(row[None], design, 4, True)[0], peer.x, atol=1e-6)


def gold(shared_data: Path) -> tuple[dict[str, Any], Any]:
    """Return the groups of the project by label, normalised with the parameters stored in it."""
    path = shared_data / "formats" / "xas" / "cyano_au" / "cyanobacteria.prj"
    project = larch("io").read_athena(str(path), do_preedge=False, do_bkg=False, do_fft=False)
    groups = [getattr(project, key) for key in project.keys()]  # noqa: SIM118
    groups = [group for group in groups if hasattr(group, "mu")]
    for group in groups:
        stored = group.athena_params.bkg
        larch("xafs").pre_edge(
            group,
            e0=stored.e0,
            pre1=stored.pre1,
            pre2=stored.pre2,
            norm1=stored.nor1,
            norm2=stored.nor2,
            nnorm=int(stored.nnorm),
        )
    return {group.label: group for group in groups}, larch("math").lincombo_fit


@pytest.mark.shared_data
@pytest.mark.filterwarnings("ignore")
def test_gold_on_cyanobacteria_as_published_and_as_larch(shared_data: Path) -> None:
    """Foil fractions of the reference notes, found by larch; Au3+ is reduced over 720 h."""
    published = [0.21, 0.27, 0.34, 0.39, 0.42, 0.55, 0.63, 0.57]
    groups, peer = gold(shared_data)
    chosen = ("Au3 Cl aq", "Au sulphide", "Au foil")
    standards = {name: spectrum(groups[name].norm, groups[name].energy) for name in chosen}
    for label, expected in zip(
        ("0.12", "2.42", "4.73", "7.03", "9.33", "20", "33", "720"), published, strict=True
    ):
        group = groups[label]
        result = fractions(
            frames(group.norm, group.energy), standards=standards, window=(11899, 11950)
        )
        fit = peer(
            group,
            [groups[name] for name in chosen],
            xmin=11899,
            xmax=11950,
            minvals=[0] * 3,
            maxvals=[1] * 3,
            sum_to_one=True,
        )
        theirs = [fit.params[name].value for name in chosen]
        assert result["fraction"].sel(component="Au foil").item() == pytest.approx(
            expected, abs=0.01
        )
        np.testing.assert_allclose(result["fraction"][0], theirs, atol=3e-4)
        errors = [fit.params[name].stderr for name in chosen]
        np.testing.assert_allclose(result["fraction_sigma"][0], errors, rtol=0.05)
        assert result["r_factor"].item() == pytest.approx(fit.rfactor, rel=1e-3)
        assert names(result["assessment"].item()) <= {"misfit"}


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
@pytest.mark.parametrize("told", ["a number", "estimated", "on energy", "on time", "on both"])
def test_pulls_of_fractions_inside(noise: float, told: str) -> None:
    profile = (
        noise * np.where(ENERGY > 18010, 2.0, 1.0) if told in ("on energy", "on both") else noise
    )
    norm = mixed(0.2, 3000, profile)
    sigma: Any = {
        "a number": noise,
        "estimated": None,
        "on energy": xr.DataArray(profile, dims="energy") if told == "on energy" else None,
        "on time": xr.DataArray(np.full(3000, noise), dims="time"),
        "on both": xr.DataArray(np.broadcast_to(profile, norm.shape), dims=norm.dims),
    }[told]
    result = fractions(norm, standards=STANDARDS, window=WINDOW, sigma=sigma)
    pulls = (result["fraction"].sel(component="Zr") - 0.2) / result["fraction_sigma"].sel(
        component="Zr"
    )
    assert 0.9 < float(pulls.std()) < 1.1
    assert abs(float(pulls.mean())) < 0.1
    assert result["reduced_chi2"].mean().item() == pytest.approx(1, abs=0.05)


def test_at_the_bound_sigma_is_what_could_go_unseen() -> None:
    result = fractions(mixed(0.0, 4000, 1e-3), standards=STANDARDS, window=WINDOW, sigma=1e-3)
    found, sigma = (result[name].sel(component="Zr") for name in ("fraction", "fraction_sigma"))
    held = (result["assessment"] & ASSESSMENT["at_bound"]) != 0
    assert float(held.mean()) == pytest.approx(
        0.5, abs=0.03
    )  # half of a symmetric error is cut off
    assert np.all(found.values[held] == 0)
    # the mean of a normal number cut off at zero is 1/sqrt(2 pi), its mean square 1/2
    assert float((found / sigma).mean()) == pytest.approx(0.399, abs=0.04)
    assert float((found / sigma).std()) == pytest.approx(np.sqrt(0.5 - 0.159), abs=0.05)
    wide = fractions(mixed(0.3, 5, 1e-3), standards=STANDARDS, window=WINDOW, sigma=1e-3)
    assert sigma.mean().item() == pytest.approx(wide["fraction_sigma"].mean().item(), rel=0.1)


def test_noise_of_the_standards_counts() -> None:
    rng = np.random.default_rng(7)
    norm = mixed(0.3)
    found, sigmas, chi2 = [], [], []
    for _ in range(400):
        noisy = {
            name: part + 2e-3 * rng.standard_normal(OWN.size) for name, part in STANDARDS.items()
        }
        result = fractions(
            norm,
            standards=noisy,
            window=WINDOW,
            sigma=1e-6,
            standard_sigma={"Zr4+": 2e-3, "Zr": 2e-3},
        )
        found.append(result["fraction"].sel(component="Zr").item())
        sigmas.append(result["fraction_sigma_standards"].sel(component="Zr").item())
        chi2.append(result["reduced_chi2"].item())
    assert np.std(found) == pytest.approx(np.mean(sigmas), rel=0.1)
    # a spline is less noisy between its points: never more than what the points have
    assert 0.8 < np.mean(chi2) < 1.2


def test_a_shift_of_the_energy_moves_fractions_as_sigma_says() -> None:
    norm = mixed(0.1).assign_coords(energy_correction_sigma=("time", [0.05]))
    result = fractions(norm, standards=STANDARDS, window=WINDOW, sigma=1e-3)
    moved = frames(CubicSpline(ENERGY, norm.values[0])(ENERGY - 0.05))
    other = fractions(moved, standards=STANDARDS, window=WINDOW, sigma=1e-3)
    change = abs(other["fraction"] - result["fraction"]).values
    np.testing.assert_allclose(result["fraction_sigma_drift"], change, rtol=0.03)
    total = np.hypot(result["fraction_sigma_stat"], result["fraction_sigma_drift"])
    np.testing.assert_allclose(result["fraction_sigma"], total)
    assert "fraction_sigma_drift" not in fractions(mixed(0.1), standards=STANDARDS, window=WINDOW)


def test_a_wrong_edge_step_moves_fractions_as_sigma_says() -> None:
    result = fractions(mixed(0.3), standards=STANDARDS, window=WINDOW, sigma=1e-3, step_sigma=0.01)
    other = fractions(1.01 * mixed(0.3), standards=STANDARDS, window=WINDOW, sigma=1e-3)
    change = abs(other["fraction"] - result["fraction"]).values
    np.testing.assert_allclose(result["fraction_sigma_step"], change, rtol=1e-3)


def normalised(mu: Array) -> Array:
    return normalise(WIDE, np.atleast_2d(mu), **NORMALISATION).norm


def electrolyte() -> tuple[dict[str, xr.DataArray], dict[str, xr.DataArray]]:
    """Return the standards, and what damage adds, normalised as the frames are."""
    whole = {"Zr4+": ion(WIDE), "Zr": metal(WIDE), "damaged": ion(WIDE) + damage(WIDE)}
    done = {name: spectrum(normalised(values)[0], WIDE) for name, values in whole.items()}
    added = {"damage": done.pop("damaged") - done["Zr4+"]}
    return done, added


def reduced(seed: int, *, jitter: float) -> tuple[xr.DataArray, Array, Array]:
    """Return frames of both spots at a noise of 1e-3, fractions of metal, and damage, 0 to 0.03."""
    truth = zr_series(noise=1e-3, seed=seed)
    rng = np.random.default_rng(seed)
    energy = WIDE - jitter * rng.standard_normal((truth.dose.size, 1))
    part, lost = truth.fraction[:, None], 0.03 * truth.dose[:, None]
    clean = (1 - part) * (ion(energy) + lost * damage(energy)) + part * metal(energy)
    mu = 1.2 - 6e-4 * (WIDE - 18003) + 0.8 * (clean + 1e-3 * rng.standard_normal(clean.shape))
    return truth.frames["mu"].copy(data=normalised(mu)), truth.fraction, lost[:, 0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_a_reduced_electrolyte_under_damage(seed: int, jitter: float) -> None:
    """Metal within 0.01 of the truth when damage is known; when not, 3 % of it look like 0.026."""
    norm, truth, lost = reduced(seed, jitter=jitter)
    norm = norm.assign_coords(energy_correction_sigma=("time", np.full(truth.size, jitter)))
    standards, added = electrolyte()
    common: dict[str, Any] = {
        "standards": standards,
        "window": WINDOW,
        "normalisation": NORMALISATION,
    }
    knowing = fractions(norm, differences=added, **common)
    found = knowing["fraction"].sel(component="Zr").values
    sigma = knowing["fraction_sigma"].sel(component="Zr").values
    assert np.abs(found - truth).max() < (0.02 if jitter else 0.005)
    inside = truth > 5 * sigma
    assert 0.8 < np.std((found - truth)[inside] / sigma[inside]) < 1.2
    if jitter:  # 0.02 eV weigh more than the noise
        assert np.mean(knowing["fraction_sigma_drift"]) > 2 * np.mean(
            knowing["fraction_sigma_stat"]
        )
        return
    amplitude = knowing["amplitude"].sel(difference="damage").values
    spread = knowing["amplitude_sigma"].sel(difference="damage").values
    assert 0.9 < np.std((amplitude - (1 - truth) * lost) / spread) < 1.1
    blind = fractions(norm, **common)["fraction"].sel(component="Zr").values - truth
    assert float(blind[lost > 0.0292].mean()) == pytest.approx(0.026, abs=0.003)


@pytest.mark.parametrize("given_sigma", [True, False])
def test_noise_that_passed_through_the_normalisation(given_sigma: bool) -> None:
    rng = np.random.default_rng(3)
    standards, _ = electrolyte()
    clean = 1.2 - 6e-4 * (WIDE - 18003) + 0.8 * (0.9 * ion(WIDE) + 0.1 * metal(WIDE))
    mu = clean + 8e-4 * rng.standard_normal((3000, WIDE.size))
    norm = frames(normalised(mu), WIDE)
    sigma = 1e-3 if given_sigma else None
    common: dict[str, Any] = {"standards": standards, "window": WINDOW, "sigma": sigma}
    truth = fractions(frames(normalised(clean), WIDE), **common)["fraction"].isel(time=0, drop=True)
    plain, exact = fractions(norm, **common), fractions(norm, normalisation=NORMALISATION, **common)
    spread = [
        ((one["fraction"] - truth) / one["fraction_sigma"]).std().item() for one in (plain, exact)
    ]
    assert spread[0] > 1.1
    assert 0.9 < spread[1] < 1.1
    profile = xr.DataArray(np.full(WIDE.size, 1e-3), dims="energy")
    other = fractions(norm, normalisation=NORMALISATION, **(common | {"sigma": profile}))
    if given_sigma:
        np.testing.assert_allclose(other["fraction_sigma"], exact["fraction_sigma"], rtol=1e-9)


def test_the_sum_may_be_free() -> None:
    result = fractions(0.9 * mixed(0.2), standards=STANDARDS, window=WINDOW, sum_to_one=False)
    np.testing.assert_allclose(result["fraction"][0], [0.72, 0.18], atol=1e-4)


def test_a_spectrum_without_its_standard_is_a_misfit_and_a_poor_fit() -> None:
    only = {"Zr4+": STANDARDS["Zr4+"], "flat": spectrum(np.ones(OWN.size))}
    result = fractions(mixed(0.9, 3, 1e-3), standards=only, window=WINDOW, sigma=1e-3)
    assert {"misfit", "poor_fit"} <= names(int(result["assessment"][0]))
    assert float(result["reduced_chi2"][0]) > 100
    cautions = result["assessment"].attrs["cautions"]
    assert names(cautions) == {"misfit", "at_bound", "missing_points"}


@pytest.mark.parametrize("sigma", [1e-3, None])
def test_spectra_that_are_exactly_the_standards_or_nothing(sigma: float | None) -> None:
    same = {"a": spectrum(ion(ENERGY), ENERGY), "b": spectrum(metal(ENERGY), ENERGY)}
    norm = frames(np.stack([ion(ENERGY), 0 * ENERGY, metal(ENERGY)]))
    result = fractions(norm, standards=same, window=WINDOW, sigma=sigma)
    np.testing.assert_allclose(result["fraction"][::2], np.eye(2), atol=1e-9)
    assert np.isnan(result["r_factor"][1])


@pytest.mark.parametrize("sigma", [1e-3, None])
def test_noise_is_no_misfit(sigma: float | None) -> None:
    result = fractions(mixed(0.3, 5000, 1e-3), standards=STANDARDS, window=WINDOW, sigma=sigma)
    assert np.mean((result["assessment"] & ASSESSMENT["misfit"]) != 0) < 0.004


def test_missing_points_and_missing_ends() -> None:
    norm = mixed(0.3, 6, 1e-3)
    norm[1, 80:84] = np.nan  # a glitch that was masked
    norm[2, 120:] = np.nan  # a scan that was broken off
    norm[3, :] = np.nan
    norm[4, 30:60] = np.nan
    norm[5, 0] = np.nan  # outside of the window
    sigma = xr.DataArray(np.full(norm.shape, 1e-3), dims=norm.dims)
    for told in (1e-3, sigma, None):
        result = fractions(norm, standards=STANDARDS, window=WINDOW, sigma=told)
        assert [names(value) for value in result["assessment"].values.tolist()] == [
            set(),
            {"missing_points"},
            {"nonfinite", "outside_range"},
            {"nonfinite"},
            {"nonfinite"},
            set(),
        ]
        finite = [True, True, False, False, False, True]
        for name in ("fraction", "fraction_sigma"):
            assert np.isfinite(result[name].values[:, 0]).tolist() == finite
        assert abs(result["fraction"][1, 1].item() - 0.3) < 0.004
    unknown = xr.DataArray([1e-3] * 5 + [np.nan], dims="time")
    result = fractions(norm, standards=STANDARDS, window=WINDOW, sigma=unknown)
    assert names(int(result["assessment"][5])) == {"nonfinite"}


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7}, {"time": 5, "energy": 50}])
def test_chunks_do_not_matter(chunks: dict[str, int]) -> None:
    norm = mixed(0.02, 23, 3e-3)
    norm[4, 70] = np.nan
    common: dict[str, Any] = {
        "standards": STANDARDS,
        "window": WINDOW,
        "differences": {"d": spectrum(damage(OWN))},
    }
    whole = fractions(norm, **common)
    lazy = fractions(norm.chunk(chunks), **common)
    assert all(variable.chunks for variable in lazy.data_vars.values())
    xr.testing.assert_identical(lazy.compute(), whole)


def test_contract(tmp_path: Path) -> None:
    norm = mixed(0.3, 4, 1e-3).assign_coords(position=("time", ["a", "b", "a", "b"]))
    result = fractions(norm, standards=STANDARDS, window=WINDOW)
    assert result["fraction"].dims == ("time", "component")
    assert result["component"].values.tolist() == ["Zr4+", "Zr"]
    assert result["fraction"].attrs["ancillary_variables"].split()[0] == "fraction_sigma"
    assert set(result["position"].dims) == {"time"}
    assert result["voltage"].attrs["units"] == "V"
    assert all("units" in variable.attrs for variable in result.data_vars.values())
    result.to_netcdf(tmp_path / "fractions.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "fractions.nc", engine="h5netcdf") as back:
        np.testing.assert_array_equal(back["fraction"], result["fraction"])
    assert result.sizes["time"] == 4


TOO_MANY = {str(n): STANDARDS["Zr"] for n in range(7)}
SHORT = {"Zr": spectrum(metal(OWN[:100]), OWN[:100])}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"standards": {}}, "standards: 0; expected 1 to 6"),
        ({"standards": TOO_MANY}, "standards: 7"),
        ({"standards": 3}, "standards: 3; expected a mapping"),
        ({"differences": [1]}, "differences: .1.; expected a mapping"),
        ({"standards": SHORT}, r"'Zr'\]: measured without gaps from 17940 to 18009.3"),
        ({"standards": {"a": STANDARDS["Zr"], "b": STANDARDS["Zr"]}}, "cannot be told apart"),
        ({"standards": {"a": 0 * STANDARDS["Zr"]}}, "'a': zero in the window"),
        ({"standards": {"a": STANDARDS["Zr"][::-1]}}, "ascending"),
        ({"standards": {"a": STANDARDS["Zr"].expand_dims("time")}}, "select"),
        ({"window": (17000, 18100)}, "within the 17950-18150 eV"),
        ({"window": (18000, 18002)}, "holds 3 points; expected 11"),
        ({"window": 3}, "low, high"),
        ({"sigma": xr.DataArray(np.ones(3), dims="energy")}, "3 energies"),
        ({"sigma": xr.DataArray(np.ones(3), dims="spot")}, "spot"),
        ({"standard_sigma": {"Hf": 1e-3}}, "no such spectrum"),
        ({"standard_sigma": {"Zr": -1e-3}}, "negative"),
        ({"step_sigma": -1}, "0 or more"),
        ({"normalisation": {"e0": 18003}}, "'degree'"),
        ({"sum_to_one": "yes"}, "True or False"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        fractions(mixed(0.3), **({"standards": STANDARDS, "window": WINDOW} | changed))


def test_other_axes_are_refused() -> None:
    with pytest.raises(RequestError, match="energy"):
        fractions(mixed(0.3).rename(energy="pixel"), standards=STANDARDS, window=WINDOW)
    with pytest.raises(RequestError, match="not ascending"):
        fractions(mixed(0.3)[:, ::-1], standards=STANDARDS, window=WINDOW)


def test_all_numbers_of_a_lazy_series_are_computed_together() -> None:
    """As a run does: one graph for everything that comes of it."""
    norm = frames(0.7 * ion(ENERGY) + 0.3 * metal(ENERGY) + np.zeros((40, 1)))
    norm = norm + 1e-3 * np.random.default_rng(1).standard_normal(norm.shape)
    whole = fractions(norm, standards=STANDARDS, window=WINDOW)
    lazy = fractions(norm.chunk({"time": 7}), standards=STANDARDS, window=WINDOW)
    xr.testing.assert_identical(lazy.compute(), whole)
