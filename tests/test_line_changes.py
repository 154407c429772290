"""Lines that move, vanish, or move together; beams that fail: what is an event and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.detect import Findings, new_peaks
from operando.detect.common_shift import common_shift, follow
from operando.detect.frame_series import Series, on_one_scale
from operando.detect.misfit_template import read_tracks, without_lines
from operando.errors import RequestError

Array = npt.NDArray[np.float64]

GRID = 10.0 + 0.01 * np.arange(600, dtype=np.float64)
FRAMES, REFERENCE = 120, 40
TIME = np.datetime64("2025-01-01", "ns") + np.arange(FRAMES) * np.timedelta64(60, "s")
LATER = np.clip((np.arange(FRAMES) - REFERENCE) / 40.0, 0.0, 1.0)[:, None]
KNOWN = ((10.6, 40.0), (11.6, 15.0), (12.5, 60.0), (13.7, 25.0), (14.6, 40.0), (15.3, 20.0))
FWHM = 0.08


def line(centre: npt.ArrayLike, *, fwhm: float = FWHM, skew: float = 0.0) -> Array:
    """A pseudo-Voigt (eta 0.5) of unit area but for its skew, from the textbook."""
    off = GRID - np.asarray(centre)
    u = 2.0 * off / (fwhm * np.where(off > 0, 1.0 + skew, 1.0 - skew))
    gauss = np.sqrt(np.log(2.0) / np.pi) * np.exp(-np.log(2.0) * u**2)
    return np.asarray((gauss + 1.0 / np.pi / (1.0 + u**2)) / fwhm)


def pattern(move: Array | float = 0.0, *, amount: Array | float = 1.0) -> Array:
    ground = 150.0 + 60.0 * np.exp(-0.5 * ((GRID - 13.0) / 1.5) ** 2)
    return np.asarray(
        ground + sum(amount * area * line(at + move) for at, area in KNOWN) + 0 * LATER
    )


def counted(clean: Array, seed: int = 0, **attrs: Any) -> xr.Dataset:
    values = np.random.default_rng(seed).poisson(clean).astype(float)
    return xr.Dataset(
        {"intensity": (("time", "two_theta"), values, {"units": "count"})},
        coords={"time": TIME[: len(clean)], "two_theta": ("two_theta", GRID, {"units": "degree"})},
        attrs={"technique": "xrd", **attrs},
    )


def found_in(frames: xr.Dataset, **options: Any) -> Findings:
    asked: dict[str, Any] = {"measurement": "xrd", "reference": REFERENCE, **options}
    return new_peaks(frames, **asked)


def frame(stamp: np.datetime64) -> int:
    return int(np.searchsorted(TIME, stamp))


def tracked(
    centre: Array, area: npt.ArrayLike, *, names: tuple[str, ...] = ("moving",)
) -> xr.Dataset:
    """The true numbers of lines (n, k), as the tracker would find them with a symmetric profile."""
    shape = centre.shape
    numbers = {
        "area": np.broadcast_to(area, shape),
        "area_sigma": np.full(shape, 1.0),
        "centre": centre,
        "fwhm": np.full(shape, FWHM),
        "eta": np.full(shape, 0.5),
    }
    variables = {name: (("time", "line"), values) for name, values in numbers.items()}
    return xr.Dataset(variables, coords={"time": TIME, "line": list(names)})


def series(clean: Array, seed: int = 0) -> Series:
    values = np.random.default_rng(seed).poisson(clean).astype(float)
    return on_one_scale(GRID, values, None, reference=REFERENCE)


def swing(way: float) -> Array:
    return 11.0 + way * np.sin(np.pi * np.arange(FRAMES) / FRAMES)[:, None] ** 2


def test_misfit_of_a_moving_line_is_learnt_and_taken_off() -> None:
    centre, height = swing(0.3), 700.0
    area = height / float(line(10.0)[0])
    clean = 160.0 + area * line(centre, skew=0.1)
    start = series(clean)
    left = without_lines(start, read_tracks(tracked(centre, area), TIME, start)).residual
    bare = np.nan_to_num(start.values) - 160.0 - area * line(centre)
    later = slice(REFERENCE, None)
    # in units of the noise of a frame, about the line, where it has not been in the reference
    near = np.abs(GRID - centre[later]) < 0.15
    before, after = ((part[later] / np.sqrt(clean[later]))[near] for part in (bare, left))
    assert np.std(before) > 1.5
    assert np.std(after) < 1.15


def test_both_lines_of_a_doublet_are_taken_off() -> None:
    """K alpha of copper (Hoelzer 1997 as used by NIST: 1.5405929 and 1.5444274 angstrom)."""
    ratio = 1.5444274 / 1.5405929
    far = 60.0 + GRID - GRID[0]
    centre = 62.0 + 0.3 * LATER
    other = 2.0 * np.rad2deg(np.arcsin(ratio * np.sin(np.deg2rad(centre / 2.0))))
    shift = GRID[0] - 60.0  # `line` draws on GRID
    both = 2.0 / 3.0 * line(centre + shift) + 1.0 / 3.0 * line(other + shift)
    tracks = tracked(centre, 60.0).assign_attrs(doublet=[ratio, 0.5])
    values = np.random.default_rng(0).poisson(160.0 + 60.0 * both).astype(float)
    start = on_one_scale(far, values, None, reference=REFERENCE)
    left = without_lines(start, read_tracks(tracks, TIME, start)).residual
    near = np.abs(far - other) < 0.1
    assert np.std((left / np.sqrt(160.0 + 60.0 * both))[near]) < 1.1


@pytest.mark.parametrize(("height", "skew"), [(700.0, 0.05), (7000.0, 0.1)])
def test_a_strong_line_may_move_where_it_is_tracked(height: float, skew: float) -> None:
    centre = swing(0.3)
    area = height / float(line(10.0)[0])
    clean = 160.0 + area * line(centre, skew=skew)
    frames = counted(clean)
    assert found_in(frames, tracks=tracked(centre, area)).events == []
    clean[70:] += 5.0 * line(11.62)
    (event,) = found_in(counted(clean, 1), tracks=tracked(centre, area)).events
    assert event.detail["lines"][0]["position"] == pytest.approx(11.62, abs=0.02)
    assert event.detail["assignment"] == "unassigned new reflection"
    assert frame(event.onset_earliest) < 70 <= frame(event.onset_latest) + 1


def test_a_gain_beside_a_tracked_line_is_its_shoulder() -> None:
    centre = swing(0.3)
    clean = 160.0 + 40.0 * line(centre) + 10.0 * LATER * line(centre + 0.06)
    event = found_in(counted(clean), tracks=tracked(centre, 40.0)).events[0]
    assert event.detail["assignment"].startswith("split or shoulder of the line at 11.")


def test_a_tracked_line_that_vanishes_is_lost() -> None:
    area = np.where(np.arange(FRAMES) < 80, 40.0, 0.0)[:, None]
    centre = swing(0.0)
    noisy = area + np.random.default_rng(2).standard_normal(area.shape)
    clean = 160.0 + area * line(centre)
    (event,) = found_in(counted(clean), tracks=tracked(centre, noisy)).events
    assert (event.kind, event.detail["assignment"]) == ("lost_peak", "lost line")
    assert event.detail["lines"][0]["name"] == "moving"
    assert frame(event.onset_earliest) < 80 <= frame(event.onset_latest)
    assert event.size == pytest.approx(-40.0, abs=4.0)


def test_tracks_of_other_frames_are_refused() -> None:
    frames, tracks = counted(pattern()), tracked(swing(0.1), 40.0)
    with pytest.raises(RequestError, match="60 of the 120 frames"):
        found_in(frames, tracks=tracks.isel(time=slice(60)))
    with pytest.raises(RequestError, match="no 'centre'"):
        found_in(frames, tracks=tracks.drop_vars("centre"))


def test_a_line_that_is_never_seen_changes_nothing() -> None:
    tracks = tracked(np.full((FRAMES, 1), np.nan), np.nan)
    frames = counted(pattern() + 20.0 * LATER * line(13.1))
    with_tracks, without = found_in(frames, tracks=tracks), found_in(frames)
    assert [e.to_json() for e in with_tracks.events] == [e.to_json() for e in without.events]


def test_a_line_of_the_reference_that_vanishes_is_lost_and_comes_back() -> None:
    there = np.ones((FRAMES, 1))
    there[60:100] = 0.05
    clean = pattern() + 30.0 * there * line(13.1)
    (event,) = found_in(counted(clean)).events
    assert event.kind == "lost_peak"
    assert frame(event.onset_earliest) < 60 <= frame(event.onset_latest)
    assert event.end is not None
    assert frame(event.detail["end_earliest"]) < 100 <= frame(event.detail["end_latest"])
    assert event.size == pytest.approx(-0.95 * 30.0, abs=4.0 * event.size_sigma)
    found = found_in(counted(clean))
    assert found.areas is not None
    assert float(found.areas["area"].isel(line=0)[60:100].mean()) == pytest.approx(-28.5, abs=1.0)


def test_a_line_that_only_fades_is_not_lost() -> None:
    clean = pattern() + 30.0 * (1.0 - 0.6 * LATER) * line(13.1)
    assert found_in(counted(clean)).events == []


@pytest.mark.parametrize("stretch", [0.0, 0.01])
def test_movement_of_all_lines_is_measured(stretch: float) -> None:
    truth = 0.04 * LATER[:, 0]
    move = truth[:, None] * (1.0 + stretch * (GRID - 13.0) / 0.01 * 0.1)
    clean = pattern()
    for row, by in zip(clean, move, strict=True):
        row[:] = np.interp(GRID - by, GRID, pattern()[0])
    start = series(clean)
    shift = common_shift(start, (4.0, 8.0, 16.0, 32.0))
    moved = truth > 0.01
    assert shift.common[moved].mean() > 0.97
    assert not shift.common[:REFERENCE].any()
    at = np.interp(shift.middle, np.arange(GRID.size), GRID)
    expected = truth * (1.0 + stretch * (at - 13.0) / 0.01 * 0.1)
    error = 0.01 * shift.shift - expected
    assert np.abs(error[shift.common]).max() < 0.004
    left = follow(start, shift).residual / np.sqrt(clean)
    assert left[FRAMES - 30 :].std() < 1.1
    assert start.residual[FRAMES - 30 :].std() > 2.0 * np.sqrt(clean.mean())


def test_a_sample_that_moves_is_told_and_is_no_phase() -> None:
    for move in (0.03, 0.1):
        found = found_in(counted(pattern(move * LATER)))
        assert found.events == []
        assert "lines move together in" in found.status
        assert "displacement" in found.status


def test_one_line_that_moves_is_not_all_lines() -> None:
    clean = pattern() - 60.0 * line(12.5) + 60.0 * line(12.5 + 0.06 * LATER)
    assert "together" not in found_in(counted(clean)).status


def test_a_new_line_is_found_while_the_sample_moves() -> None:
    clean = pattern(0.06 * LATER) + 12.0 * LATER * line(13.1)
    (event,) = found_in(counted(clean)).events
    assert event.detail["lines"][0]["position"] == pytest.approx(13.1, abs=0.02)


def test_beam_dumps_and_a_sample_out_of_the_beam_are_no_events() -> None:
    beam = np.ones((FRAMES, 1))
    beam[60:63] = 0.001
    beam[80:] = 0.5
    frames = counted(beam * pattern())
    assert found_in(frames).events == []
    out = found_in(counted(pattern(amount=np.where(np.arange(FRAMES) < 70, 1.0, 0.03)[:, None])))
    assert out.events == []
    assert "nearly all lines are lost together" in out.status


def test_short_exposures_count_for_less() -> None:
    exposure = np.where(np.arange(FRAMES) % 2, 0.1, 1.0)[:, None]
    alarms = sum(len(found_in(counted(exposure * pattern(), seed)).events) for seed in range(6))
    assert alarms == 0
    start = series(exposure * pattern())
    np.testing.assert_allclose(start.share[1::2] / start.share[::2], 0.1, rtol=0.1)
    spread = (start.residual / np.sqrt(start.variance)).std(axis=1)
    np.testing.assert_allclose(spread, 1.0, atol=0.15)


def raman(extra: Array) -> xr.Dataset:
    shift = 600.0 + 2.0 * np.arange(GRID.size)
    clean = 400.0 + 3000.0 * np.exp(-0.5 * ((shift - 1000.0) / 12.0) ** 2) + extra
    values = np.random.default_rng(3).poisson(clean).astype(float)
    axis = ("raman_shift", shift, {"units": "1/cm"})
    return xr.Dataset(
        {"intensity": (("time", "raman_shift"), values, {"units": "count"})},
        coords={"time": TIME, "raman_shift": axis},
        attrs={"technique": "raman"},
    )


def band(when: npt.NDArray[np.bool_], size: float) -> Array:
    shift = 600.0 + 2.0 * np.arange(GRID.size)
    return np.asarray(when[:, None] * size * np.exp(-0.5 * ((shift - 1300.0) / 10.0) ** 2))


def test_a_new_band_is_found_and_has_no_spacing() -> None:
    (event,) = found_in(raman(band(np.arange(FRAMES) >= 70, 60.0))).events
    (one,) = event.detail["lines"]
    assert one["position"] == pytest.approx(1300.0, abs=2.0)
    assert "d_angstrom" not in one
    assert event.detail["assignment"] == "unassigned new band"
    assert event.size_units == "count * 1/cm"


@pytest.mark.parametrize("size", [500.0, 50_000.0])
def test_a_band_of_one_frame_or_two_is_never_an_event(size: float) -> None:
    frames = np.arange(FRAMES)
    for when in (frames == 70, (frames == 90) | (frames == 91), frames == FRAMES - 1):
        assert found_in(raman(band(when, size))).events == []
