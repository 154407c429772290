"""Lines through a series: lost and found, weak and strong, moved, merged, masked, in chunks."""

from __future__ import annotations

import dask
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.special import voigt_profile

from operando.errors import RequestError
from operando.model import check, flag_names
from operando.observables import Doublet, Window, track_peaks
from operando.observables.lines.flags import ASSESSMENT, CAUTIONS
from operando.observables.lines.series import follow
from operando.simulate.diffraction_series import NAMES, TWO_THETA, WINDOWS, Options, patterns

Array = npt.NDArray[np.float64]

X: Array = np.asarray(TWO_THETA[:300])
ALONE = Window("line", 8.5, 10.5, (9.4,))


def line(area: npt.ArrayLike, centre: npt.ArrayLike, fwhm: npt.ArrayLike = 0.08) -> Array:
    """Pseudo-Voigts of share 0.4, (frames, points)."""
    area, centre, fwhm = (np.asarray(one, dtype=float)[..., None] for one in (area, centre, fwhm))
    u = 2 * (X - centre) / fwhm
    gauss = 2 * np.sqrt(np.log(2) / np.pi) * np.exp(-np.log(2) * u**2)
    return np.asarray(area / fwhm * (0.6 * gauss + 0.8 / np.pi / (1 + u**2)))


def series(expected: Array, seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    time = np.datetime64("2026-05-04", "ns") + np.arange(len(expected)) * np.timedelta64(60, "s")
    return xr.DataArray(
        rng.poisson(expected).astype(float),
        dims=("time", "two_theta"),
        coords={"time": time, "two_theta": ("two_theta", X, {"units": "degree"})},
        attrs={"units": "count"},
        name="intensity",
    )


def has(found: xr.Dataset, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray((found["assessment"].values & ASSESSMENT[name]) != 0)


def believed(found: xr.Dataset) -> npt.NDArray[np.bool_]:
    return np.asarray((found["assessment"].values & ~CAUTIONS) == 0, dtype=bool)


def pulls(found: xr.Dataset, name: str, truth: npt.ArrayLike) -> Array:
    return np.asarray(((found[name] - truth) / found[f"{name}_sigma"]).values)


@pytest.mark.parametrize(("frame", "told"), [(202, [202]), (201, [])])
def test_line_that_jumps_is_found_again_in_the_frame_it_jumps(frame: int, told: list[int]) -> None:
    """Blocks are of three frames: at the head of one it starts where it is."""
    centre = np.where(np.arange(400) < frame, 9.0, 9.9)
    found = track_peaks(series(60 + line(60, centre)), windows=[ALONE]).sel(line="line")
    assert believed(found).all()
    assert np.flatnonzero(has(found, "reacquired")).tolist() == told
    assert np.abs(pulls(found, "centre", centre)).max() < 5


def test_lone_jump_of_one_line_of_two() -> None:
    centre = np.where(np.arange(400) < 201, 9.2, 9.6)
    data = series(60 + line(60, centre) + line(50, 9.9))
    found = track_peaks(data, windows=[Window("two", 8.5, 10.5, (9.2, 9.9))])
    assert believed(found).all()
    assert np.abs(pulls(found.isel(line=0), "centre", centre)).max() < 5
    assert np.abs(pulls(found.isel(line=1), "centre", 9.9)).max() < 5


def test_line_that_vanishes_is_weak_and_not_lost() -> None:
    area = np.where((np.arange(400) > 150) & (np.arange(400) < 250), 0.0, 60.0)
    found = track_peaks(series(60 + line(area, 9.4)), windows=[ALONE]).sel(line="line")
    absent = area < 1
    np.testing.assert_array_equal(has(found, "weak"), absent)
    assert not has(found, "lost").any()
    assert np.isnan(found["centre"].values[absent]).all()
    assert np.isnan(found["fwhm_sigma_stat"].values[absent]).all()
    pull = pulls(found, "area", area)
    assert 0.85 < pull.std() < 1.15
    assert np.mean(pull > 1.645) < 0.09


def test_line_is_lost_where_something_else_is_there() -> None:
    expected = 60 + line(np.where(np.arange(300) == 151, 0.0, 60.0), 9.4)
    data = series(expected)
    spikes = np.random.default_rng(3).random(X.size) < 0.2
    data[151, spikes] += 120.0
    found = track_peaks(data, windows=[ALONE]).sel(line="line")
    assert np.flatnonzero(has(found, "lost")).tolist() == [151]
    assert believed(found)[152:].all()


def test_gate_has_hysteresis() -> None:
    """A line of 5 sigma is seen while it was, and is not while it was not; without noise."""
    area = np.concatenate([np.linspace(30, 2.5, 300), np.full(100, 2.5)])
    seen = []
    for areas in (area, area[::-1]):
        data = series(np.zeros((400, X.size))) + 120 + line(areas, 9.4)
        found = track_peaks(data, windows=[ALONE], sigma=xr.full_like(data, 120**0.5))
        seen.append(~has(found, "weak")[:, 0])
        ratio = (found["area"] / found["area_sigma"]).values[areas == 2.5]
        assert np.all((ratio > 4.0) & (ratio < 6.0))
    assert seen[0].all()
    assert not seen[1][:100].any()
    assert seen[1][150:].all()


def test_window_follows_its_line_further_than_it_is_wide() -> None:
    centre = np.linspace(8.6, 10.6, 600)
    window = Window("line", 8.3, 8.9, (8.6,), follow=True)
    found = track_peaks(series(80 + line(70, centre)), windows=[window]).sel(line="line")
    assert believed(found).all()
    for name, true in (("area", 70.0), ("centre", centre), ("fwhm", 0.08), ("background", 80.0)):
        pull = pulls(found, name, true)
        assert 0.9 < pull.std() < 1.1, name
        assert abs(pull.mean()) < 0.5, name


def test_cell_part_beside_a_line_is_held() -> None:
    options = Options(cell=20.0)
    data, truth = patterns(400, options=options, seed=2)
    window = Window("broad", 12.2, 13.3, (12.6,), frozen=(12.95,))
    found = track_peaks(data, windows=[window])
    assert found["line"].values.tolist() == ["broad", "broad_frozen_1"]
    part, cell = found.isel(line=1), truth.sel(line="cell")
    assert (part["assessment"] == ASSESSMENT["shape_frozen"]).all()
    assert len(set(part["centre"].values)) == 1
    assert float(part["centre"][0]) == pytest.approx(12.95, abs=0.002)
    assert np.isnan(part["centre_sigma"]).all()
    for name, one in (("broad", found.isel(line=0)), ("cell", part)):
        assert 0.9 < pulls(one, "area", truth["area"].sel(line=name).values).std() < 1.1
    assert float(part["area"].std()) == pytest.approx(float(cell["area"].std()), rel=0.1)


def test_masked_points_are_as_missing_ones() -> None:
    clean = series(np.full((60, X.size), 80.0) + line(60 + np.zeros(60), 9.4))
    stretch = (clean["two_theta"] >= 9.6) & (clean["two_theta"] <= 10.1)
    data = clean.where(~stretch, 5000.0)
    masked = track_peaks(data, windows=[ALONE], masked=[(9.6, 10.1)])
    xr.testing.assert_identical(masked, track_peaks(data.where(~stretch), windows=[ALONE]))
    assert believed(masked).all()
    assert np.abs(pulls(masked.sel(line="line"), "area", 60.0)).max() < 5
    covered = track_peaks(data, windows=[ALONE], masked=[(9.38, 9.5), (9.6, 10.1)])
    assert has(covered, "masked").all()
    sigma = (data.clip(min=1) ** 0.5).where(~stretch, 0.0)
    weighted = track_peaks(data, windows=[ALONE], sigma=sigma)
    assert believed(weighted).all()
    assert np.abs(weighted["centre"] - masked["centre"]).max() < 0.3 * masked["centre_sigma"].max()


def test_lines_that_come_too_close_are_merged() -> None:
    apart = np.linspace(0.3, 0.0, 300)
    data = series(60 + line(300, 9.4) + line(250, 9.4 + apart))
    found = track_peaks(data, windows=[Window("two", 8.5, 10.5, (9.4, 9.7))])
    merged = np.asarray(has(found, "merged") | has(found, "weak")).any(axis=1)
    assert not np.any(merged & (apart > 0.06))
    assert np.mean(merged, where=apart < 0.02) > 0.9


def test_sigma_is_scaled_where_the_profile_is_wrong() -> None:
    data, truth = patterns(200, options=Options(asymmetry=0.15, scale=20.0))
    wrong = track_peaks(data, windows=WINDOWS[:1]).sel(line="solid")
    chi2r = wrong["chi2r"].values
    assert has(wrong, "misfit").all()
    assert chi2r.min() > 1.5
    for name in ("area", "centre", "fwhm", "background"):
        total, stat, syst = (wrong[f"{name}_sigma{part}"] for part in ("", "_stat", "_syst"))
        np.testing.assert_allclose(total, stat * np.sqrt(chi2r), rtol=1e-12)
        np.testing.assert_allclose(np.hypot(stat, syst), total, rtol=1e-12)
    right = track_peaks(data, windows=WINDOWS[:1], profile="split_pseudo_voigt").sel(line="solid")
    assert not has(right, "misfit").any()
    assert (right["area_sigma_syst"] == 0).all()
    assert float(right["asymmetry"][0]) == pytest.approx(0.15, abs=0.003)
    assert 0.85 < pulls(right, "centre", truth["centre"].sel(line="solid").values).std() < 1.15


def test_doublet_of_a_laboratory_tube() -> None:
    data, truth = patterns(200, options=Options(doublet=Doublet()))
    found = track_peaks(data, windows=WINDOWS, doublet=Doublet())
    for name in ("solid", "broad", "standard"):
        one, known = found.sel(line=name), truth.sel(line=NAMES[name])
        assert believed(one).all()
        for number in ("area", "centre", "fwhm"):
            pull = pulls(one, number, known[number].values)
            assert 0.85 < pull.std() < 1.15, (name, number)
            assert abs(pull.mean()) < 0.8, (name, number)
    single = track_peaks(data, windows=WINDOWS[3:4]).sel(line="standard")
    bias = float((single["centre"] - 23.5).median())
    assert bias > 10 * float(single["centre_sigma_stat"].median())
    assert has(single, "misfit").all()
    assert found.attrs["doublet"] == [Doublet().ratio, 0.5]


def test_shape_free_in_every_frame() -> None:
    data, truth = patterns(200, options=Options(scale=10.0))
    found = track_peaks(data, windows=WINDOWS[3:4], shape="free").sel(line="standard")
    assert len(set(found["eta"].values)) == 200
    for number in ("area", "centre", "fwhm", "eta"):
        pull = pulls(found, number, truth[number].sel(line="standard").values)
        assert 0.85 < pull.std() < 1.15, number


@pytest.mark.parametrize("profile", ["gaussian", "lorentzian", "voigt"])
def test_profiles_that_are_not_pseudo_voigts(profile: str) -> None:
    u = 2 * (X - 9.4) / 0.1
    shapes = {
        "gaussian": 2 * np.sqrt(np.log(2) / np.pi) * np.exp(-np.log(2) * u**2) / 0.1,
        "lorentzian": 2 / np.pi / (1 + u**2) / 0.1,
    }
    shapes["voigt"] = voigt_profile(X - 9.4, 0.1 / np.sqrt(8 * np.log(2)), 0.025)
    data = series(np.tile(80 + 500 * shapes[profile], (100, 1)))
    found = track_peaks(data, windows=[ALONE], profile=profile).sel(line="line")
    assert ("eta" in found) == (profile == "voigt")
    assert "asymmetry" not in found
    assert believed(found).all()
    assert 0.8 < pulls(found, "area", 500.0).std() < 1.2
    assert abs(pulls(found, "area", 500.0).mean()) < 0.6
    assert 0.8 < float(found["chi2r"].mean()) < 1.1
    if profile == "voigt":
        # half a Lorentzian of 0.05 in a width of 0.1296 by Olivero & Longbothe
        width = 0.5346 * 0.05 + np.sqrt(0.2166 * 0.05**2 + 0.1**2)
        assert float(found["fwhm"].mean()) == pytest.approx(width, rel=0.01)
        assert float(found["eta"][0]) == pytest.approx(0.05 / width, abs=0.02)


def test_frames_without_data_do_not_hurt_the_next() -> None:
    data = series(80 + line(60, np.linspace(9.2, 9.6, 256)))
    whole = track_peaks(data, windows=[ALONE]).sel(line="line")
    # heads of blocks (of two frames) and a long stretch
    gone = np.isin(np.arange(256), [0, 2, 3, 100, *range(120, 170)])
    data[gone] = np.nan
    found = track_peaks(data, windows=[ALONE]).sel(line="line")
    np.testing.assert_array_equal(has(found, "no_data"), gone)
    assert believed(found)[~gone].all()
    apart = np.abs(found["centre"].values - whole["centre"].values)[~gone]
    assert np.all(apart < 0.1 * whole["centre_sigma"].values[~gone])
    assert not track_peaks(data.where(False), windows=[ALONE])["area"].notnull().any()


def test_start_from_other_blocks_is_told() -> None:
    area = np.where((np.arange(2560) >= 1285) & (np.arange(2560) < 2000), 60.0, 0.0)
    found = track_peaks(series(80 + line(area, 9.4)), windows=[ALONE]).sel(line="line")
    told = np.flatnonzero(has(found, "extrapolated_start"))
    # blocks of 20 frames: that of frame 1280 has no line at its head
    assert told.tolist() == list(range(1285, 1300))
    assert np.abs(pulls(found, "centre", 9.4)[1285:2000]).max() < 5


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_any_chunking_and_scheduler_give_the_same_bits(scheduler: str) -> None:
    data, _ = patterns(500, options=Options(cell=15.0), seed=4)
    data[70] = np.nan
    data[90:95, 400:420] = np.nan
    windows = [*WINDOWS, Window("moves", 8.9, 9.6, (9.4,), follow=True)]
    windows[1] = Window("broad", 12.2, 13.3, (12.6,), frozen=(12.95,))
    whole = track_peaks(data, windows=windows)
    with dask.config.set(scheduler=scheduler):
        for chunks in ({"time": 1}, {"time": (3, 190, 7, 300)}, {"time": 64, "two_theta": 333}):
            lazy = track_peaks(data.chunk(chunks), windows=windows)
            assert lazy["area"].chunks is not None
            assert lazy["time"].chunks is None
            xr.testing.assert_identical(lazy.compute(), whole)


def test_small_chunks_are_joined() -> None:
    data = series(np.full((2600, X.size), 80.0) + line(60, 9.4)).chunk(time=10)
    found = track_peaks(data, windows=[ALONE])
    assert found["area"].chunks is not None
    assert max(found["area"].chunks[0]) >= 2000


def test_positions_are_series_of_their_own() -> None:
    data = series(80 + line(60, np.where(np.arange(120) % 3 == 0, 9.2, 9.8)))
    names = np.where(np.arange(120) % 3 == 0, "top", "bottom")
    both = track_peaks(data.assign_coords(position=("time", names)), windows=[ALONE])
    np.testing.assert_array_equal(both["time"], data["time"])
    assert both["position"].values.tolist() == names.tolist()
    for name in ("top", "bottom"):
        alone = track_peaks(data[names == name], windows=[ALONE])
        xr.testing.assert_identical(both.isel(time=names == name).drop_vars("position"), alone)


def test_one_compilation_serves_all() -> None:
    data, _ = patterns(8)
    data.values.setflags(write=False)
    track_peaks(data, windows=WINDOWS)
    track_peaks(data.astype(np.uint16), windows=WINDOWS[:1], masked=[(9.0, 9.1)])
    track_peaks(data, windows=WINDOWS[2:3], sigma=data**0.5, profile="voigt", shape="free")
    assert len(follow.signatures) == 1  # type: ignore[attr-defined]


def test_dataset_keeps_the_contract_of_sigmas_and_flags() -> None:
    data, _ = patterns(8)
    found = track_peaks(data, windows=WINDOWS, profile="split_pseudo_voigt")
    about = found["assessment"].attrs
    assert about["cautions"] == CAUTIONS
    assert flag_names(CAUTIONS, ASSESSMENT) == list(ASSESSMENT)[-4:]
    assert len(set(ASSESSMENT.values())) == len(ASSESSMENT)
    for name in ("area", "centre", "fwhm", "eta", "asymmetry", "background"):
        assert found[name].attrs["ancillary_variables"] == f"{name}_sigma"
        for part in ("_sigma", "_sigma_stat", "_sigma_syst"):
            assert found[f"{name}{part}"].attrs["units"] == found[name].attrs["units"]
    ends = {"time_start": data["time"], "time_end": data["time"]}
    check(data.to_dataset().assign_coords(ends).assign_attrs(technique="xrd"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"profile": "pearson"}, "profile: 'pearson'; expected 'pseudo_voigt'"),
        ({"shape": "frozen"}, "shape: 'frozen'; expected 'shared' or 'free'"),
        ({"masked": [(9.0,)]}, "masked: .*expected pairs"),
        ({"masked": [(8.0, 10.48)]}, "window 'line': .* points"),
    ],
)
def test_impossible_requests_are_refused(asked: dict[str, object], words: str) -> None:
    data = series(np.full((4, X.size), 80.0))
    with pytest.raises(RequestError, match=words):
        track_peaks(data, windows=[ALONE], **asked)  # type: ignore[arg-type]


def test_doublet_needs_an_angle() -> None:
    data = series(np.full((4, X.size), 80.0)).rename(two_theta="q")
    with pytest.raises(RequestError, match="doublet: the axis is 'q'; expected 'two_theta'"):
        track_peaks(data, windows=[ALONE], doublet=Doublet())


def test_no_frames_are_refused() -> None:
    with pytest.raises(RequestError, match="no frames"):
        track_peaks(series(np.full((0, X.size), 80.0)), windows=[ALONE])
