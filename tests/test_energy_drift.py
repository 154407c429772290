"""Drift of the energy scale: recovered from simulated foils, and on nickel oxides with a foil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import make_smoothing_spline

from operando.corrections.bragg import bragg_angle, bragg_energy, shifted_energy
from operando.corrections.drift_model import model_drift
from operando.corrections.energy_drift import DRIFT_FLAGS, energy_drift, shift_energy
from operando.errors import RequestError
from operando.model import flag_names
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

E0 = 17998.0
ENERGY = np.arange(17900.0, 18120.0, 1.0)
WINDOW = (17980.0, 18035.0)


def foil(energy: Array) -> Array:
    """A metal edge as wide as that of Zr, with two maxima of the derivative; raw, on a slope."""
    rise = np.arctan((energy - E0) / 2.5) / np.pi + 0.5
    shoulder = 0.3 * np.exp(-(((energy - E0 - 14) / 6) ** 2))
    return np.asarray(1.3 - 8e-4 * (energy - E0) + 0.6 * (rise + shoulder))


def sample(energy: Array) -> Array:
    rise = np.arctan((energy - E0 - 5) / 2.5) / np.pi + 0.5
    return np.asarray(0.8 * rise + 0.4 * np.exp(-(((energy - E0 - 12) / 4) ** 2)))


def recorded(drift: npt.ArrayLike, noise: float = 1e-3, *, seed: int = 0) -> xr.Dataset:
    """Scans whose scale reads `drift` too high: what is true at E - drift is recorded at E."""
    off = np.atleast_1d(np.asarray(drift, dtype=float))[:, None]
    rng = np.random.default_rng(seed)
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    time = start + np.arange(len(off)) * np.timedelta64(300, "s")
    spectra = {
        name: (
            ("time", "energy"),
            truth(ENERGY - off) + noise * rng.standard_normal((len(off), ENERGY.size)),
            {"units": "1"},
        )
        for name, truth in (("mu", sample), ("mu_reference", foil))
    }
    return xr.Dataset(
        spectra,
        {
            "time": time,
            "energy": ("energy", ENERGY, {"units": "eV"}),
            "voltage": ("time", np.linspace(3, 4, len(off)), {"units": "V"}),
        },
        {"technique": "xas"},
    )


def names(flags: xr.DataArray) -> list[list[str]]:
    return [flag_names(int(mask), DRIFT_FLAGS) for mask in flags.values]


def wandering(count: int, seed: int) -> Array:
    """A slope that walks at random: within +-0.3 eV, and zero on average of the baseline."""
    walk = np.cumsum(np.cumsum(np.random.default_rng(seed).standard_normal(count)))
    return np.asarray(0.6 * (walk - walk[:10].mean()) / np.ptp(walk))


@pytest.mark.parametrize("noise", [1e-3, 3e-3, 1e-2])
@pytest.mark.parametrize("jitter", [0.0, 0.024, 0.1])
def test_drift_is_recovered_with_its_sigma(noise: float, jitter: float) -> None:
    pulls, raw, errors, taus, sigmas = [], [], [], [], []
    for seed in range(12):
        rng = np.random.default_rng(seed + 100)
        truth = wandering(120, seed) + jitter * rng.standard_normal(120)
        frames = recorded(truth, noise, seed=seed)
        found = energy_drift(frames["mu_reference"], window=WINDOW, baseline=10)
        # the baseline has noise of its own, one error of all: off with the mean of both
        error = found["energy_correction"].values - truth
        pulls.append((error - error.mean()) / found["energy_correction_sigma"].values)
        offset = found["raw_shift"].values - truth
        raw.append((offset - offset.mean()) / found["raw_shift_sigma"].values)
        errors.append(error - error.mean())
        taus.append(found.attrs["jitter"])
        sigmas.append(float(found["raw_shift_sigma"].median()))
        assert not (found["drift_flag"].values & ~np.int32(DRIFT_FLAGS["outlier"])).any()
    assert 0.9 < np.std(raw) < 1.1
    assert 0.85 < np.std(pulls) < 1.1
    noise_of_shift = np.mean(sigmas)
    assert np.std(errors) < 1.05 * noise_of_shift
    if jitter == 0:  # then smoothing helps
        assert np.std(errors) < 0.8 * noise_of_shift
        assert np.mean(taus) < 0.5 * noise_of_shift
    elif jitter > noise_of_shift:
        assert np.mean(taus) == pytest.approx(jitter, rel=0.1)


def test_the_correction_is_subtracted() -> None:
    frames = recorded([0.0] * 10 + [0.5] * 10)
    found = energy_drift(frames["mu_reference"], window=WINDOW, jump=2.0)
    assert found["raw_shift"][-1] == pytest.approx(0.5, abs=0.03)
    assert found["energy_correction"][-1] == pytest.approx(0.5, abs=0.03)
    # the feature recorded at E is truly at E - correction
    corrected = ENERGY - float(found["energy_correction"][-1])
    assert np.abs(frames["mu_reference"].values[-1] - foil(corrected)).max() < 6e-3


def test_a_step_is_flagged_and_not_smoothed_over() -> None:
    truth = np.where(np.arange(60) < 37, 0.05, -0.75) + 0.05 * np.sin(np.arange(60) / 9)
    frames = recorded(truth, 5e-3)
    found = energy_drift(frames["mu_reference"], window=WINDOW, baseline=10)
    jumps = [place for place, found in enumerate(names(found["drift_flag"])) if "jump" in found]
    assert jumps == [37]
    error = found["energy_correction"].values - truth
    assert np.abs(error - error.mean()).max() < 0.04  # nothing leaks over the step
    assert float(found["energy_correction_sigma"].max()) < 0.03


def test_a_scan_off_by_itself_keeps_its_own_shift() -> None:
    truth = np.zeros(50)
    truth[20] = 0.3
    found = energy_drift(recorded(truth, 2e-3)["mu_reference"], window=WINDOW)
    assert "outlier" in names(found["drift_flag"])[20]
    assert found["energy_correction"][20] == pytest.approx(0.3, abs=0.04)
    rest = np.delete(found["energy_correction"].values, 20)
    assert np.abs(rest).max() < 0.03
    assert found.attrs["jitter"] < 0.01


def test_a_scan_without_a_foil_has_the_drift_of_its_neighbours() -> None:
    truth = 0.3 * np.sin(np.arange(60) / 15)
    frames = recorded(truth, 3e-3)
    frames["mu_reference"][30, 100] = np.nan
    frames["mu_reference"][31] = 1.0  # a dead detector
    found = energy_drift(frames["mu_reference"], window=WINDOW, baseline=1)
    assert names(found["drift_flag"])[30] == ["unmatched"]
    assert np.isnan(found["raw_shift"].values[30])
    error = (found["energy_correction"] - found["energy_correction"][0]).values - truth
    assert abs(error[30]) < 0.05
    sigma = found["energy_correction_sigma"].values
    assert sigma[30] > sigma[29]


def test_a_foil_that_changes_is_flagged_and_counts_less() -> None:
    frames = recorded(np.zeros(40), 2e-3)
    glitch = 0.2 * np.exp(-(((ENERGY - E0 - 3) / 2) ** 2))
    frames["mu_reference"][25] += glitch
    found = energy_drift(frames["mu_reference"], window=WINDOW)
    assert "not_rigid" in names(found["drift_flag"])[25]
    sigma = found["raw_shift_sigma"].values
    assert sigma[25] > 3 * np.median(sigma)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_scans_keep_their_own_shifts(count: int) -> None:
    truth = 0.1 * np.arange(count)
    found = energy_drift(recorded(truth)["mu_reference"], window=WINDOW, baseline=1)
    np.testing.assert_array_equal(found["energy_correction"], found["raw_shift"])
    assert found["energy_correction"].values == pytest.approx(truth, abs=0.03)
    assert np.isnan(found.attrs["jitter"])
    assert names(found["drift_flag"]) == [[]] * count


def test_each_scan_by_itself_when_asked() -> None:
    found = energy_drift(
        recorded(wandering(30, 1), 1e-2)["mu_reference"], window=WINDOW, smooth=False
    )
    np.testing.assert_array_equal(found["energy_correction"], found["raw_shift"])


def test_a_standard_makes_the_correction_absolute() -> None:
    fine = np.arange(17950.0, 18100.0, 0.5)
    standard = xr.DataArray(foil(fine), dims="energy", coords={"energy": fine})
    found = energy_drift(recorded([0.7, 0.7])["mu_reference"], window=WINDOW, baseline=standard)
    assert found["energy_correction"].values == pytest.approx(0.7, abs=0.03)


def test_identical_scans_need_no_noise() -> None:
    found = energy_drift(recorded(np.zeros(20), 0.0)["mu_reference"], window=WINDOW)
    assert found["energy_correction"].values == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7}, {"time": 9, "energy": 50}])
def test_chunks_do_not_matter(chunks: dict[str, int]) -> None:
    frames = recorded(wandering(25, 3), 3e-3)
    frames["glitch"] = (frames["mu"].dims, np.zeros(frames["mu"].shape, np.int8), {"units": "1"})
    frames["glitch"][3, 40] = 1
    drift = energy_drift(frames["mu_reference"], window=WINDOW)
    lazy = frames.chunk(chunks)
    xr.testing.assert_identical(energy_drift(lazy["mu_reference"], window=WINDOW), drift)
    moved = shift_energy(lazy, drift)
    assert all(moved[name].chunks for name in ("mu", "mu_reference", "glitch"))
    assert moved["energy_correction"].chunks is None
    xr.testing.assert_identical(moved.compute(), shift_energy(frames, drift))


def given_drift(frames: xr.Dataset, correction: npt.ArrayLike, **attrs: Any) -> xr.Dataset:
    values = np.asarray(correction, dtype=float)
    return xr.Dataset(
        {
            "energy_correction": ("time", values, {"units": "eV"}),
            "energy_correction_sigma": ("time", np.full(values.size, 0.01), {"units": "eV"}),
        },
        {"time": frames["time"]},
        attrs,
    )


def test_shifted_frames_are_the_truth_on_a_shorter_axis() -> None:
    truth = np.linspace(-1.3, 2.9, 15)
    frames = recorded(truth, 0.0)
    moved = shift_energy(frames, given_drift(frames, truth), limit=3.0)
    assert moved["energy"].values.tolist() == ENERGY[3:-3].tolist()
    assert np.isfinite(moved["mu"]).all()
    for name, shape in (("mu", sample), ("mu_reference", foil)):
        expected = np.broadcast_to(shape(ENERGY[3:-3]), moved[name].shape)
        np.testing.assert_allclose(moved[name], expected, atol=6e-4)
    assert moved["voltage"].identical(frames["voltage"].assign_coords(moved["voltage"].coords))
    assert moved["energy_correction"].values.tolist() == truth.tolist()
    assert set(moved.coords) >= {"energy_correction_sigma", "drift_flag"}
    [step] = json.loads(moved.attrs["corrections"])
    assert step == {"step": "energy_drift", "limit": 3.0, "spacing": None}
    assert moved["mu"].attrs == frames["mu"].attrs


def test_measured_and_shifted_foils_have_no_shift_left() -> None:
    frames = recorded(wandering(60, 5) + 0.05 * np.random.default_rng(0).standard_normal(60))
    drift = energy_drift(frames["mu_reference"], window=WINDOW)
    moved = shift_energy(frames, drift)
    again = energy_drift(moved["mu_reference"], window=WINDOW)
    assert float(drift["raw_shift"].std()) > 0.1
    assert float(again["raw_shift"].std()) < 0.006


def test_a_scan_beyond_the_limit_or_unknown_is_nan() -> None:
    frames = recorded(np.zeros(4))
    frames["mu_sigma"] = xr.full_like(frames["mu"], 1e-3)
    moved = shift_energy(frames, given_drift(frames, [0.5, 3.5, -3.5, np.nan]))
    empty = moved["mu"].isnull().all("energy").values.tolist()
    assert empty == [False, True, True, True]
    assert moved["mu_sigma"].isnull().all("energy").values.tolist() == empty
    assert np.isfinite(moved["mu"][0]).all()
    assert float(moved["mu_sigma"][0].max()) == pytest.approx(1e-3)
    assert names(moved["drift_flag"]) == [[], ["beyond_limit"], ["beyond_limit"], []]


def test_a_gap_and_a_glitch_stay_where_they_are() -> None:
    frames = recorded([0.4, 0.4])
    frames["mu"][0, 50] = np.nan
    frames["glitch"] = (frames["mu"].dims, np.zeros(frames["mu"].shape, np.int8), {"units": "1"})
    frames["glitch"][0, 50] = 1
    moved = shift_energy(frames, given_drift(frames, [0.4, 0.4]))
    assert moved["energy"].values[np.isnan(moved["mu"].values[0])].tolist() == [17949, 17950]
    assert moved["energy"].values[moved["glitch"].values[0] == 1].tolist() == [17949, 17950]
    assert moved["glitch"].dtype == np.int8


def test_an_offset_of_the_angle_grows_with_energy() -> None:
    spacing = 3.1356
    angle = bragg_angle(ENERGY, spacing=spacing)
    offset = bragg_angle(E0 + 0.5, spacing=spacing) - bragg_angle(E0, spacing=spacing)
    read = bragg_energy(angle + offset, spacing=spacing)  # what the scale reads at each energy
    frames = recorded(np.zeros(1), 0.0)
    for name, shape in (("mu", sample), ("mu_reference", foil)):
        frames[name][0] = np.interp(ENERGY, read, ENERGY) * 0 + shape(
            np.interp(ENERGY, read, ENERGY)
        )
    drift = given_drift(frames, [0.5], window=(E0 - 10, E0 + 10))
    moved = shift_energy(frames, drift, spacing=spacing)
    np.testing.assert_allclose(moved["mu"][0], sample(moved["energy"].values), atol=6e-4)
    with pytest.raises(RequestError, match="spacing: the drift has no"):
        shift_energy(frames, given_drift(frames, [0.5]), spacing=spacing)


@given(st.floats(5000, 30000), st.floats(-5, 5), st.floats(1.5, 3.2))
def test_an_offset_of_the_angle_by_its_derivative(
    energy: float, shift: float, spacing: float
) -> None:
    """E = hc / (2 d sin theta), so dE = -E cot(theta) d theta."""
    at = 6000.0
    moved = float(shifted_energy(energy, shift, spacing=spacing, at=at)) - energy
    angles = bragg_angle([energy, at], spacing=spacing)
    slopes = np.array([energy, at]) / np.tan(angles)
    assert moved == pytest.approx(shift * slopes[0] / slopes[1], rel=0.02, abs=1e-9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": (19000.0, 19100.0)}, "window.*0 points"),
        ({"window": 17998.0}, "window: 17998.0"),
        ({"jump": 0.0}, "jump: 0.0"),
        ({"baseline": 0}, "baseline: 0"),
        ({"smooth": "yes"}, "smooth: 'yes'"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    frames = recorded(np.zeros(12))
    with pytest.raises(RequestError, match=message):
        energy_drift(frames["mu_reference"], **({"window": WINDOW} | changed))


def test_other_impossible_requests() -> None:
    frames = recorded(np.zeros(12))
    with pytest.raises(RequestError, match="none of the first 10 scans has a whole foil"):
        energy_drift(frames["mu_reference"] * np.nan, window=WINDOW)
    drift = energy_drift(frames["mu_reference"], window=WINDOW)
    with pytest.raises(RequestError, match="other times"):
        shift_energy(frames.isel(time=slice(3)), drift)
    with pytest.raises(RequestError, match="limit: 200 eV off both ends leaves 0 of 220"):
        shift_energy(frames, drift, limit=200)


def test_the_spline_is_the_smoothing_spline_of_scipy() -> None:
    """Without jitter: penalty lambda int g''^2 with lambda = s^2 / q."""
    from operando.corrections.drift_model import _smoothed

    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.5, 2, 80))
    data = np.sin(t / 12) + 0.1 * rng.standard_normal(80)
    for density in (1e-5, 1e-3, 1e-1):
        level, spread, _ = _smoothed(t, data, np.full(80, 0.01), np.zeros(80, bool), density)
        expected = make_smoothing_spline(t, data, lam=0.01 / density)(t)
        np.testing.assert_allclose(level, expected, atol=2e-5)
        assert np.all((spread > 0) & (spread < 0.0101))


def test_variance_and_likelihood_are_those_of_the_gaussian_process() -> None:
    """Covariance of the integrated walk, in closed form, as one dense matrix."""
    from operando.corrections.drift_model import WIDE, _smoothed

    rng = np.random.default_rng(1)
    t = np.cumsum(rng.uniform(0.5, 2, 30))
    variance = 0.01 * rng.uniform(0.5, 3, 30)
    variance[[4, 29]] = np.inf
    data = 0.2 * rng.standard_normal(30)
    density = 2e-3
    x = t - t[0]
    low, high = np.minimum.outer(x, x), np.maximum.outer(x, x)
    prior = density * low**2 * (3 * high - low) / 6 + WIDE * (1 + np.outer(x, x))
    seen = np.isfinite(variance)
    total = prior[np.ix_(seen, seen)] + np.diag(variance[seen])
    gain = np.linalg.solve(total, prior[seen]).T
    posterior = prior - gain @ prior[seen]
    level, spread, likelihood = _smoothed(t, data, variance, np.zeros(30, bool), density)
    np.testing.assert_allclose(level, data[0] + gain @ (data[seen] - data[0]), atol=1e-8)
    np.testing.assert_allclose(spread, np.diag(posterior), atol=1e-8)
    surprise = data[seen] - data[0]
    expected = -0.5 * (np.linalg.slogdet(total)[1] + surprise @ np.linalg.solve(total, surprise))
    assert likelihood == pytest.approx(expected, rel=1e-8)


def test_pulls_of_the_model_and_no_false_flags() -> None:
    for jitter in (0.01, 0.1):
        pulls, outliers, jumps = [], 0, 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            truth = wandering(200, seed) + jitter * rng.standard_normal(200)
            measured = truth + 0.01 * rng.standard_normal(200)
            found = model_drift(np.arange(200.0), measured, np.full(200, 0.01), jump=0.5)
            pulls.append((found.value - truth) / found.sigma)
            outliers += int(found.outlier.sum())
            jumps += int(found.jump.sum())
        assert 0.95 < np.std(pulls) < 1.1
        assert outliers <= 3  # 4000 scans, 6e-5 of a normal distribution beyond four sigma
        assert jumps == 0


def test_half_a_day_of_real_null_drift_is_not_invented() -> None:
    """142 scans that drift by -0.44 eV over 64 h with 0.039 eV from scan to scan."""
    rng = np.random.default_rng(7)
    truth = np.linspace(0, -0.44, 142) + 0.039 * rng.standard_normal(142)
    frames = recorded(truth, 1e-3)
    found = energy_drift(frames["mu_reference"], window=WINDOW)
    left = (found["energy_correction"] - found["raw_shift"]).values
    assert found.attrs["jitter"] == pytest.approx(0.039, abs=0.006)
    assert np.abs(left).max() < 0.01  # the jitter is real: each scan keeps its own shift
    residual = found["energy_correction"].values - truth
    assert (residual - residual.mean()).std() < 0.01


@pytest.mark.shared_data
def test_the_foil_of_the_nickelate_jitters_by_what_others_found(shared_data: Path) -> None:
    """The beamline aligned these spectra on a grid of 0.2 eV; 0.024 eV are known to be left."""
    files = sorted((shared_data / "operando" / "xas_ni_lno_rock" / "XAS_normalized").glob("*.txt"))
    tables = np.stack([np.loadtxt(file, encoding="latin-1") for file in files])
    time = np.datetime64("2022-07-26", "ns") + np.arange(len(files)) * np.timedelta64(300, "s")
    mu = xr.DataArray(
        tables[:, :, 2], dims=("time", "energy"), coords={"time": time, "energy": tables[0, :, 0]}
    )
    found = energy_drift(mu, window=(8320.0, 8360.0))
    assert len(np.unique(found["raw_shift"].values.round(5))) >= 50
    assert float(found["raw_shift"].std()) == pytest.approx(0.024, abs=0.006)
    assert found.attrs["jitter"] > 5 * float(found["raw_shift_sigma"].median())
    assert not (found["drift_flag"].values & DRIFT_FLAGS["unmatched"]).any()


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "raw", "left", "within"),
    [("Ni2O3", -0.507, 0.018, 0.02), ("NiOH2", -0.202, 0.001, 0.02), ("NiS", -0.226, 0.135, 0.08)],
)
def test_repeats_with_a_foil(
    shared_data: Path, name: str, raw: float, left: float, within: float
) -> None:
    """Three repeats: published drift of the half-height, and what the foil leaves of it.

    The sulphide has a broad edge, of which half-height and the whole shape see different parts.
    """
    folder = shared_data / "formats" / "xas" / "ni2o3_ref_drift"
    scans = [larch("io").read_xdi(str(folder / f"{name}_rt_0{number}.xdi")) for number in (1, 2, 3)]
    energy = np.array(scans[0].energy)
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    axes = {"time": start + np.arange(3) * np.timedelta64(600, "s"), "energy": energy}
    spectra = {
        "mu": [np.log(scan.i0 / scan.itrans) for scan in scans],
        "mu_reference": [np.log(scan.itrans / scan.irefer) for scan in scans],
    }
    frames = xr.Dataset({n: (("time", "energy"), np.stack(v)) for n, v in spectra.items()}, axes)
    assert all(np.array_equal(scan.energy, energy) for scan in scans)
    window = (8315.0, 8365.0)
    drift = energy_drift(frames["mu_reference"], window=window, baseline=1)
    seen = energy_drift(frames["mu"], window=window, baseline=1)
    assert seen["raw_shift"][2] == pytest.approx(raw, abs=0.03)
    corrected = shift_energy(frames, drift)
    after = energy_drift(corrected["mu"], window=window, baseline=1)
    assert after["raw_shift"][2] == pytest.approx(left, abs=within)
