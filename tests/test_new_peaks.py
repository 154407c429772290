"""New reflections: noise stays silent, births and deaths are found, real phases by themselves."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.detect.chance import threshold
from operando.detect.event import Event
from operando.detect.findings import Findings
from operando.detect.frame_series import Series
from operando.detect.line_areas import Line, measure
from operando.detect.matched_filter import (
    Filter,
    areas,
    best_windows,
    cut_spikes,
    filters,
    padded,
    project,
    windows,
)
from operando.detect.new_lines import Change
from operando.detect.new_peaks import new_peaks
from operando.detect.onset import locate
from operando.errors import RequestError

Array = npt.NDArray[np.float64]

GRID = 10.0 + 0.01 * np.arange(400)
START = np.datetime64("2025-01-01T00:00", "ns")
NUMBERS = ("position", "fwhm", "eta")


def line(x: npt.ArrayLike, centre: npt.ArrayLike, fwhm: float, eta: float = 0.5) -> Array:
    """A pseudo-Voigt of unit area from the textbook, not from the code under test."""
    off, sigma = np.asarray(x) - np.asarray(centre), fwhm / np.sqrt(8 * np.log(2))
    gauss = np.exp(-0.5 * (off / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    lorentz = 0.5 * fwhm / np.pi / (off**2 + (0.5 * fwhm) ** 2)
    return np.asarray((1 - eta) * gauss + eta * lorentz)


def dataset(
    values: npt.NDArray[Any],
    sigma: npt.NDArray[Any] | None = None,
    grid: npt.NDArray[Any] = GRID,
    **attrs: float,
) -> xr.Dataset:
    stamps = START + np.arange(values.shape[0]) * np.timedelta64(60, "s")
    axis = ("two_theta", grid, {"units": "degree"})
    dims = ("time", "two_theta")
    found = xr.Dataset(
        {"intensity": (dims, values, {"units": "count"})},
        coords={"time": stamps, "two_theta": axis},
        attrs={"technique": "xrd", **attrs},
    )
    if sigma is not None:
        found["intensity_sigma"] = (dims, sigma, {"units": "count"})
    return found


def still(frames: int, *, scale: float = 1.0) -> Array:
    """A pattern with a hump and three lines, the same in every frame."""
    pattern = 200.0 + 60.0 * np.exp(-0.5 * ((GRID - 12.0) / 0.9) ** 2)
    for centre, area in ((10.8, 60.0), (12.1, 15.0), (13.3, 150.0)):
        pattern = pattern + area * line(GRID, centre, 0.07)
    return np.asarray(scale * np.tile(pattern, (frames, 1)))


def counted(clean: Array, seed: int) -> xr.Dataset:
    values = np.random.default_rng(seed).poisson(clean).astype(float)
    return dataset(values, np.sqrt(np.maximum(clean, 1.0)))


def found_in(frames: xr.Dataset, **options: Any) -> Findings:
    return new_peaks(frames, measurement="xrd", **options)


def frame(stamp: np.datetime64) -> int:
    return int((stamp - START) / np.timedelta64(60, "s"))


def at(filter_: Filter, index: int) -> int:
    """Which of a filter's places is a point of the axis."""
    return int(np.flatnonzero(filter_.places == index)[0])


def scored(
    filter_: Filter, noise: Array, *, reference: int, lengths: list[int]
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Scores of white noise (m, n), as the search makes them."""
    response = project(filter_.kernel, filter_.places, padded(noise, filter_))
    information = filter_.information
    fixed = np.stack([information / reference, np.zeros_like(information)])
    return best_windows(
        response,
        np.repeat(information[:, None], noise.shape[1], axis=1),
        np.zeros_like(response),
        np.ones(noise.shape[1]),
        fixed,
        np.zeros_like(fixed),
        np.array(lengths),
        np.inf,
    )


def test_filter_measures_areas_without_bias_and_ignores_a_quadratic_background() -> None:
    rng = np.random.default_rng(0)
    weight = 1.0 / (20.0 + 500.0 * line(np.arange(300.0), 130.0, 9.0))
    (filter_,) = filters(weight, [8.0])
    shape = 50.0 * line(np.arange(300.0), 140.0, 8.0)
    curve = 3.0 + 0.2 * np.arange(300.0) - 0.001 * np.arange(300.0) ** 2
    assert areas(filter_, shape + curve)[at(filter_, 140)] == pytest.approx(50.0, abs=1e-6)
    noise = rng.standard_normal((300, 4000)) / np.sqrt(weight)[:, None]
    found = project(filter_.kernel, filter_.places, padded(noise, filter_))
    some = [at(filter_, index) for index in (60, 130, 140, 220)]
    spread = (found.std(axis=1) / filter_.information)[some]
    np.testing.assert_allclose(spread, 1.0 / np.sqrt(filter_.information[some]), rtol=0.06)


def test_projection_is_that_of_numpy_for_any_number_of_frames() -> None:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((120, 700))
    (filter_,) = filters(rng.uniform(0.5, 2.0, 120), [6.0])
    found = project(filter_.kernel, filter_.places, padded(rows, filter_))
    around = np.lib.stride_tricks.sliding_window_view(
        padded(rows, filter_), 2 * filter_.half + 1, 0
    )
    expected = np.einsum("pk,pnk->pn", filter_.kernel, around[filter_.places])
    np.testing.assert_allclose(found, expected, atol=1e-10)
    few = project(filter_.kernel, filter_.places, padded(rows[:, 5:9], filter_))
    np.testing.assert_array_equal(few, found[:, 5:9])


def test_score_has_unit_variance_with_the_error_of_the_reference() -> None:
    rng = np.random.default_rng(1)
    (filter_,) = filters(np.full(200, 0.25), [6.0])
    for length in windows(12, 3):
        seen = []
        for _ in range(400):
            noise = 2.0 * rng.standard_normal((200, 4 + length))
            noise = noise[:, 4:] - noise[:, :4].mean(axis=1, keepdims=True)
            (gain, loss), _ = scored(filter_, noise, reference=4, lengths=[length])
            seen.append((gain - loss)[20:140:20])
        assert np.std(np.concatenate(seen)) == pytest.approx(1.0, abs=0.06), length


def test_threshold_is_exceeded_as_often_as_it_says() -> None:
    bank = filters(np.ones(256), [4.0, 8.0])
    limit = threshold(
        widths=(4.0, 8.0),
        points=[one.points for one in bank],
        frames=12,
        reference=4,
        shortest=3,
        false_alarm=0.2,
    )
    rng, exceeded = np.random.default_rng(123), []
    for _ in range(400):
        noise = rng.standard_normal((256, 12)) - rng.standard_normal((256, 1)) / 2.0
        largest = [scored(one, noise, reference=4, lengths=windows(12, 3))[0].max() for one in bank]
        exceeded.append(max(largest) > limit)
    assert 0.13 < np.mean(exceeded) < 0.27


def test_threshold_rises_with_all_that_is_searched_and_follows_theory() -> None:
    def limit(**change: Any) -> float:
        asked = {"points": [1000.0, 1000.0], "frames": 800, "reference": 200, "false_alarm": 0.01}
        return threshold(widths=(4.0, 8.0), shortest=3, **{**asked, **change})

    usual = limit()
    assert usual < limit(points=[4000.0, 4000.0]) < usual + 0.4
    assert usual < limit(frames=3200) < usual + 0.4
    assert usual < limit(false_alarm=0.001)
    # a tail like u^2 exp(-u^2 / 2): ten times as seldom is d(u^2 / 2) - 2 d(ln u) = ln 10
    rarer = limit(false_alarm=0.001)
    fall = 0.5 * (rarer**2 - usual**2) - 2.0 * np.log(rarer / usual)
    assert fall == pytest.approx(np.log(10.0), rel=0.1)


def test_spikes_are_held_and_what_lasts_is_not() -> None:
    response = np.zeros((3, 40))
    response[0, 10] = 50.0  # one frame
    response[1, 10:12] = -50.0  # two frames, a loss
    response[2, 10:13] = 50.0  # three
    cut_spikes(response, np.ones_like(response), 3)
    assert response[0, 10] == 3.0
    np.testing.assert_array_equal(response[1, 10:12], -3.0)
    np.testing.assert_array_equal(response[2, 10:13], 50.0)


def test_noise_alone_is_silent() -> None:
    part = {"two_theta": slice(0, 250)}
    alarms = sum(len(found_in(counted(still(14), seed).isel(part)).events) for seed in range(30))
    assert alarms <= 1


def test_what_happens_to_known_lines_is_no_new_line() -> None:
    rng, frames = np.random.default_rng(3), 24
    for seed in range(4):
        beam = 1 + 0.05 * rng.standard_normal((frames, 1))
        drift = np.linspace(0, 20, frames)[:, None] * (GRID - 12.0) ** 2 / 4
        jitter = 60.0 * 0.015 * rng.standard_normal((frames, 1)) * line(GRID, 10.8, 0.07)
        grows = np.linspace(0, 60.0, frames)[:, None] * line(GRID, 13.3, 0.07)
        fades = np.linspace(0, -40.0, frames)[:, None] * line(GRID, 10.8, 0.07)
        moves = 15.0 * (line(GRID, 12.1 + np.linspace(0, 0.05, frames)[:, None], 0.07))
        moves = moves - 15.0 * line(GRID, 12.1, 0.07)
        clean = beam * (still(frames) + drift + jitter + grows + fades + moves)
        found = found_in(counted(clean, seed))
        assert found.events == []
        assert found.areas is None
        assert found.status.startswith("calibrated")


def birth(frames: int, born: int, gone: int, area: float) -> Array:
    alive = ((np.arange(frames) >= born) & (np.arange(frames) < gone)).astype(float)
    return np.asarray(area * alive[:, None] * line(GRID, 11.5, 0.08))


@pytest.mark.parametrize("area", [6.0, 40.0])
def test_birth_and_death_lie_in_their_intervals(area: float) -> None:
    inside, total, positions = 0, 6, []
    for seed in range(total):
        rng = np.random.default_rng(seed)
        born, gone = int(rng.integers(7, 14)), int(rng.integers(22, 27))
        found = found_in(counted(still(34) + birth(34, born, gone, area), seed), reference=6)
        assert len(found.events) == 1, seed
        event = found.events[0]
        assert event.end is not None
        ends = frame(event.detail["end_earliest"]), frame(event.detail["end_latest"])
        inside += (
            frame(event.onset_earliest) < born <= frame(event.onset_latest)
            and ends[0] < gone <= ends[1]
        )
        (one,) = event.detail["lines"]
        positions.append((one["position"] - 11.5) / one["position_sigma"])
        assert event.detail["assignment"] == "unassigned new reflection"
        if area > 30:
            assert frame(event.onset_latest) == born
            assert ends[1] == gone
    assert inside >= total - 1
    assert np.sqrt(np.mean(np.square(positions))) < 1.6


def test_event_says_what_it_found() -> None:
    frames = counted(still(30) + birth(30, 12, 99, 30.0), 5).assign_coords(
        voltage=("time", 3.0 + 0.01 * np.arange(30), {"units": "V"}),
        cycle=("time", np.full(30, 2, np.int32), {"units": "1"}),
    )
    found = found_in(frames, position="centre")
    (event,) = found.events
    assert (event.kind, event.technique, event.observable) == ("new_peak", "xrd", "intensity")
    assert (event.measurement, event.position) == ("xrd", "centre")
    assert event.end is None
    assert event.onset.voltage == pytest.approx(3.12)
    assert event.onset.cycle == 2
    assert event.evidence == tuple(range(12, 30))
    assert event.size_units == "count * degree"
    # the largest of 18 areas is some two sigma high
    assert 0 < (event.size - 30.0) / event.size_sigma < 5
    assert event.score > event.threshold > 4
    assert "1 % false alarms" in event.calibration
    assert event.detail["reference_frames"] == [0, 1, 2]
    assert json.loads(event.to_json())["detail"]["lines"][0]["position"] == pytest.approx(
        11.5, abs=0.01
    )
    assert found.areas is not None
    assert found.areas["area"].dims == ("time", "line")
    assert found.areas["voltage"].values[12] == pytest.approx(3.12)
    assert found.areas["area"].attrs["ancillary_variables"] == "area_sigma"
    assert (found.areas["assessment"].values[12:] == 0).all()


def test_areas_have_honest_sigmas() -> None:
    pulls = []
    for seed in range(8):
        truth = np.where(np.arange(40) >= 20, np.linspace(10, 50, 40), 0.0)
        clean = still(40) + truth[:, None] * line(GRID, 11.5, 0.08)
        found = found_in(counted(clean, seed), reference=16)
        assert found.areas is not None
        area, sigma = (found.areas[n].values[:, 0] for n in ("area", "area_sigma"))
        pulls.append(((area - truth) / sigma)[16:])
    assert 0.85 < np.std(pulls) < 1.15


def test_frozen_shape_areas_have_calibrated_sigmas() -> None:
    rng = np.random.default_rng(4)
    clean = np.full((600, 200), 100.0)
    values = rng.poisson(clean).astype(float)
    rest = values[:300].mean(axis=0)
    series = Series(
        axis=np.arange(200.0),
        values=values,
        variance=clean,
        reference=300,
        scale=np.ones(600),
        share=np.ones(600),
        rest=rest,
        expected=np.tile(rest, (600, 1)),
        lines=np.zeros_like(values),
    )
    known = Line(100.2, 0.1, 8.0, 0.5, 0.0, Change(100, 8.0, 10.0, 300, 600, 599, 1.0))
    area, sigma = measure(series, [known], [known.change])
    assert (area / sigma).std() == pytest.approx(1.0, abs=0.08)
    assert np.abs(area[:300].sum()) < 1e-6 * sigma.sum()


def test_lines_that_come_together_are_one_event_and_others_another() -> None:
    t = np.arange(40)
    early = np.clip((t - 8) / 6, 0, 1) * (t < 26)
    late = np.clip((t - 20) / 10, 0, 1)
    clean = still(40)
    for centre, area, when in ((11.3, 30, early), (12.8, 12, early), (13.7, 25, late)):
        clean = clean + area * when[:, None] * line(GRID, centre, 0.08)
    first, second = found_in(counted(clean, 2), reference=6).events
    positions = sorted(one["position"] for one in first.detail["lines"])
    np.testing.assert_allclose(positions, [11.3, 12.8], atol=0.01)
    assert first.detail["assignment"] == "covarying new reflections"
    assert first.onset_latest < second.onset_latest
    assert first.end is not None
    assert second.end is None
    assert second.detail["lines"][0]["position"] == pytest.approx(13.7, abs=0.01)


def test_orders_of_a_basal_spacing_are_named() -> None:
    grid = 2.0 + 0.005 * np.arange(1600)
    spacing, wavelength = 10.9, 0.4962
    clean = np.full((20, grid.size), 100.0)
    grown = np.clip((np.arange(20) - 6) / 3, 0, 1)[:, None]
    for order, area in ((1, 60.0), (2, 20.0), (3, 10.0)):
        centre = 2 * np.degrees(np.arcsin(order * wavelength / (2 * spacing)))
        clean = clean + area * grown * line(grid, centre, 0.04)
    values = np.random.default_rng(0).poisson(clean).astype(float)
    (event,) = found_in(
        dataset(values, np.sqrt(clean), grid, wavelength_angstrom=wavelength)
    ).events
    orders = {one["order"]: one["d_angstrom"] for one in event.detail["lines"]}
    assert set(orders) == {1, 2, 3}
    assert orders[1] == pytest.approx(spacing, rel=1e-3)


def test_statistic_does_not_depend_on_units_of_intensity_or_origin_of_axis() -> None:
    frames = counted(still(24) + birth(24, 10, 99, 12.0), 7)
    here = found_in(frames).events[0]
    intensity, sigma = frames["intensity"].values, frames["intensity_sigma"].values
    scaled = found_in(dataset(1e-6 * intensity, 1e-6 * sigma)).events[0]
    assert scaled.score == pytest.approx(here.score, rel=1e-6)
    assert scaled.size == pytest.approx(1e-6 * here.size, rel=1e-4)
    assert scaled.onset_latest == here.onset_latest
    moved = found_in(dataset(intensity, sigma, GRID + 20.0)).events[0]
    assert moved.score == pytest.approx(here.score, rel=1e-6)
    assert moved.detail["lines"][0]["position"] == pytest.approx(
        here.detail["lines"][0]["position"] + 20.0, abs=1e-4
    )
    lazy = found_in(frames.chunk(time=5)).events[0]
    assert lazy.to_json() == here.to_json()


def test_without_sigma_the_noise_is_taken_from_the_series() -> None:
    gain = 0.01
    for seed in range(3):
        counts = np.random.default_rng(seed).poisson(still(20)).astype(float)
        assert found_in(dataset(gain * counts)).events == []
    counts = np.random.default_rng(9).poisson(still(20) + birth(20, 9, 99, 25.0)).astype(float)
    (event,) = found_in(dataset(gain * counts)).events
    assert frame(event.onset_latest) in (9, 10)


def test_bad_frames_take_no_part() -> None:
    frames = counted(still(26) + birth(26, 10, 99, 30.0), 3)
    frames["intensity"][14] = np.nan
    frames["intensity"][:, 380:] = np.nan
    found = found_in(frames)
    assert 14 not in found.events[0].evidence
    assert found.areas is not None
    assert np.isnan(found.areas["area"].values[14]).all()
    assert found.areas["assessment"].values[14, 0] == 2


def test_masked_ranges_are_left_out() -> None:
    frames = counted(still(26) + birth(26, 10, 99, 30.0), 3)
    assert found_in(frames, mask=[(11.0, 12.0)]).events == []
    with pytest.raises(RequestError, match="shorten the mask"):
        found_in(frames, mask=[(0.0, 90.0)])


@pytest.mark.parametrize(
    ("frames", "reference"), [(5, None), (20, 2), (20, 18), (20, 40), (2, None)]
)
def test_too_few_frames_say_so(frames: int, reference: int | None) -> None:
    found = found_in(counted(still(frames), 0), reference=reference)
    assert found.events == []
    assert found.status.startswith("not calibrated: ")
    assert "needs 3 in the reference and 3 after it" in found.status


def test_reference_may_lie_within_the_series() -> None:
    clean = still(40) + birth(40, 0, 8, 40.0) + birth(40, 25, 99, 40.0)
    (event,) = found_in(counted(clean, 1), reference=(10, 18)).events
    assert frame(event.onset_latest) == 25
    assert event.detail["reference_frames"] == list(range(10, 18))


def test_impossible_requests_are_refused() -> None:
    frames = counted(still(12), 0)
    with pytest.raises(RequestError, match="signal"):
        found_in(frames, signal="counts")
    with pytest.raises(RequestError, match="reference"):
        found_in(frames, reference=0)


def test_onset_of_a_weak_signal_is_an_interval_that_holds_it() -> None:
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        area = rng.standard_normal(60) + np.where(np.arange(60) >= 30, 2.0, 0.0)
        area -= area[:10].mean()
        span = locate(area, np.full(60, np.sqrt(1.1)), reference=10, start=36, stop=60, shortest=3)
        held += span.earliest < 30 <= span.latest
    assert held >= 180


def acquired(path: Path) -> tuple[np.datetime64, Array]:
    text = path.read_text()
    date = re.search(r"Date = (\S+)", text)
    assert date is not None
    return np.datetime64(date[1].replace("_", "T"), "ns"), np.loadtxt(io.StringIO(text))


@pytest.mark.shared_data
def test_zinc_hydroxide_sulfate_is_found_by_itself(shared_data: Path) -> None:
    folder = shared_data / "operando" / "xrd_zn_mno2_mspd"
    read = [acquired(path) for path in sorted((folder / "Data").glob("17_Da_f*.xye"))]
    table = np.array([columns for _, columns in read])
    frames = dataset(table[:, :, 1], table[:, :, 2], table[0, :, 0], wavelength_angstrom=0.4962)
    frames = frames.assign_coords(time=np.array([stamp for stamp, _ in read]))
    found = found_in(frames)

    def has(event: Event, position: float) -> bool:
        return any(abs(one["position"] - position) < 0.01 for one in event.detail["lines"])

    (event,) = [event for event in found.events if has(event, 2.600)]
    assert has(event, 5.204)
    assert has(event, 7.808)
    assert event.detail["assignment"] == "phase candidate"
    basal = {one["order"]: one["d_angstrom"] for one in event.detail["lines"]}
    assert basal[1] == pytest.approx(10.93, rel=0.003)
    day = "2025-09-23T"
    assert np.datetime64(f"{day}18:50") <= event.onset_earliest
    assert event.onset_latest <= np.datetime64(f"{day}19:25")
    assert event.end is not None
    assert np.datetime64("2025-09-24T00:10") <= event.detail["end_earliest"]
    assert event.end.time <= np.datetime64("2025-09-24T01:40")
    assert found.areas is not None
    basal_line = event.detail["lines"][0]
    at = int(np.abs(found.areas["centre"].values - 2.600).argmin())
    with (folder / "reference" / "zhs_reference_cycle1.csv").open() as lines:
        summed = np.array([float(row["zhs001"]) for row in csv.DictReader(lines)])
    # the reference sums bins within 0.05 degree above a line through the bins 0.09-0.11 away
    within = line(np.arange(2.55, 2.6501, 0.006), *(basal_line[n] for n in NUMBERS)).sum() * 0.006
    around = line(2.6 + np.array([-0.1, 0.1]), *(basal_line[n] for n in NUMBERS)).mean() * 0.1
    counts = found.areas["area"].values[:, at] / 0.006 * (within - around)
    clear = summed > 0.1 * summed.max()
    np.testing.assert_allclose(counts[clear], summed[clear], rtol=0.1)


@pytest.mark.shared_data
def test_five_frames_of_a_coin_cell_are_too_few(shared_data: Path) -> None:
    path = shared_data / "operando" / "xrd_coincell_i11" / "coincell8_LDE2_reduced.zip"
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".xye") and "__MACOSX" not in n)
        table = np.array([np.loadtxt(io.BytesIO(archive.read(name))) for name in names])
    found = found_in(dataset(table[:, :, 1], table[:, :, 2], table[0, :, 0]))
    assert found.events == []
    assert found.status.startswith("not calibrated: 5 usable frames, 3 in the reference; needs")
