"""Histories of lines: births and deaths where they were, splits and merges, and none in noise."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.errors import RequestError
from operando.observables import Window, track_peaks
from operando.observables.lines.association import associate
from operando.observables.lines.identity import KINDS, histories

Array = npt.NDArray[np.float64]

WIDTH = 0.08
SIGMA = 1.0
NAMES = {code: name for name, code in KINDS.items()}


def series(
    area: npt.ArrayLike,
    centre: npt.ArrayLike,
    *,
    seed: int = 0,
    noise: float = SIGMA,
    unit: float = 1.0,
    names: list[str] | None = None,
) -> xr.Dataset:
    """What `track_peaks` returns for these true areas and centres, (time, line): weak is NaN."""
    rng = np.random.default_rng(seed)
    truth = np.asarray(area, dtype=float)
    value = truth + noise * rng.normal(size=truth.shape)
    seen = value > 4 * SIGMA
    place = np.broadcast_to(np.asarray(centre, dtype=float), truth.shape)
    place = np.where(seen, place + 0.002 * rng.normal(size=truth.shape), np.nan)
    both = ("time", "line")
    spread = np.full(truth.shape, SIGMA)
    return xr.Dataset(
        {
            "area": (both, value),
            "area_sigma": (both, spread),
            "centre": (both, place * unit),
            "centre_sigma": (both, np.where(seen, 0.002 * unit, np.nan)),
            "fwhm": (both, np.where(seen, WIDTH * unit, np.nan)),
            "fwhm_sigma": (both, np.where(seen, 0.004 * unit, np.nan)),
        },
        {
            "time": np.datetime64("2025-01-01", "ns")
            + np.arange(len(truth)) * np.timedelta64(60, "s"),
            "line": names or [f"l{at}" for at in range(truth.shape[1])],
        },
        {"axis": "two_theta"},
    )


def told(found: xr.Dataset) -> list[tuple[str, str, str, int]]:
    return [
        (NAMES[int(kind)], str(line), str(partner), int(frame))
        for kind, line, partner, frame in zip(
            *(found[name].values for name in ("kind", "changed", "partner", "frame")), strict=True
        )
    ]


def steps(frames: int, *runs: tuple[int, int, float]) -> Array:
    area = np.zeros(frames)
    for first, last, value in runs:
        area[first:last] = value
    return area


def test_birth_and_death_are_where_they_were() -> None:
    area = np.stack([steps(200, (60, 140, 30)), steps(200, (0, 200, 50))], axis=1)
    found = histories(series(area, [9.0, 12.0]))
    assert told(found) == [("born", "l0", "", 60), ("died", "l0", "", 140)]
    time = found["time"].values
    assert found["born"].values[0] == time[60]
    assert found["died"].values[0] == time[140]
    assert np.isnat(found["born"].values[1])
    assert np.isnat(found["died"].values[1])
    assert found["time_before"].values.tolist() == time[[59, 139]].tolist()
    assert found["time_after"].values.tolist() == time[[60, 140]].tolist()
    np.testing.assert_array_equal(found["presence"].values == 1, area > 0)


def test_a_line_may_come_back() -> None:
    area = steps(300, (0, 50, 40), (120, 180, 40), (250, 300, 40))[:, None]
    found = histories(series(area, [9.0]))
    expected = [("died", 50), ("born", 120), ("died", 180), ("born", 250)]
    assert [(kind, frame) for kind, _, _, frame in told(found)] == expected
    assert found["born"].values[0] == found["time"].values[120]
    assert np.isnat(found["died"].values[0])  # it is there at the end


def test_noise_has_no_births() -> None:
    """300 lines that never are, 100 that always are, in 400 frames each."""
    area = np.tile(np.repeat([0.0, 12.0], [300, 100]), (400, 1))
    assert told(histories(series(area, np.arange(400.0)))) == []


def test_noise_as_fitted_has_no_births() -> None:
    """The same through the fit itself, which may search for the largest noise in the window."""
    rng = np.random.default_rng(1)
    x = 8 + 0.01 * np.arange(200)
    time = np.datetime64("2025-01-01", "ns") + np.arange(400) * np.timedelta64(60, "s")
    intensity = xr.DataArray(
        rng.poisson(100.0, (400, 200)).astype(float),
        {"time": time, "two_theta": ("two_theta", x, {"units": "degree"})},
        ("time", "two_theta"),
        "intensity",
        {"units": "count"},
    )
    windows = [Window("a", 8.2, 8.9, (8.5,)), Window("b", 9.1, 9.9, (9.4, 9.6))]
    found = histories(track_peaks(intensity, windows=windows))
    assert told(found) == []


def test_two_frames_are_no_presence_and_a_short_gap_no_death() -> None:
    area = np.stack(
        [steps(60, (20, 22, 50)), steps(60, (0, 30, 50), (32, 60, 50))],
        axis=1,
    )
    assert told(histories(series(area, [9.0, 12.0]))) == []
    assert len(told(histories(series(area, [9.0, 12.0]), shortest=1))) == 4


def test_frames_that_could_not_be_measured_count_neither_way() -> None:
    measured = series(steps(60, (20, 60, 50))[:, None], [9.0])
    for name in ("area", "centre", "fwhm"):
        measured[name][15:25] = np.nan
    found = histories(measured)
    assert told(found) == [("born", "l0", "", 25)]
    assert found["time_before"].values[0] == found["time"].values[14]


def test_a_line_between_the_thresholds_is_not_there_by_itself() -> None:
    area = np.stack([steps(100, (30, 100, 5.0)), steps(100, (30, 60, 5.0), (60, 100, 9.0))], axis=1)
    found = histories(series(area, [9.0, 12.0], noise=0.01))
    # the second is followed back to where it rose above 4 sigma
    assert told(found) == [("born", "l1", "", 30)]


def test_a_line_that_goes_into_its_neighbour_has_merged() -> None:
    gap = np.linspace(0.3, 0.09, 100)
    area = np.stack([steps(160, (0, 100, 60), (100, 160, 100)), steps(160, (0, 100, 40))], axis=1)
    second = np.append(9 + gap, np.full(60, 9.0))
    found = histories(series(area, np.stack([np.full(160, 9.0), second], axis=1)))
    assert told(found) == [("merged", "l1", "l0", 100)]
    assert np.isnat(found["died"].values[1])


def test_a_line_that_comes_out_of_its_neighbour_has_split() -> None:
    gap = np.linspace(0.09, 0.3, 100)
    area = np.stack([steps(160, (0, 60, 100), (60, 160, 60)), steps(160, (60, 160, 40))], axis=1)
    second = np.append(np.full(60, 9.0), 9 + gap)
    found = histories(series(area, np.stack([np.full(160, 9.0), second], axis=1)))
    assert told(found) == [("split", "l1", "l0", 60)]


def test_a_death_beside_a_neighbour_that_gains_nothing_is_a_death() -> None:
    area = np.stack([steps(160, (0, 160, 60)), steps(160, (0, 100, 40))], axis=1)
    found = histories(series(area, [9.0, 9.1]))
    assert told(found) == [("died", "l1", "", 100)]


def test_a_death_far_from_a_neighbour_that_gains_is_a_death() -> None:
    area = np.stack([steps(160, (0, 100, 60), (100, 160, 100)), steps(160, (0, 100, 40))], axis=1)
    found = histories(series(area, [9.0, 9.5]))
    assert told(found) == [("died", "l1", "", 100)]


def test_lines_that_stay_but_come_within_a_width_have_merged_and_may_split_again() -> None:
    t = np.linspace(0, 1, 200)
    gap = 0.25 - 0.22 * np.exp(-0.5 * ((t - 0.5) / 0.12) ** 2)
    centre = np.stack([np.full(200, 9.0), 9.0 + gap], axis=1)
    found = histories(series(np.full((200, 2), [60.0, 40.0]), centre))
    inside = np.flatnonzero(gap < WIDTH)
    [(first, *pair, at), (second, *_, end)] = told(found)
    assert (first, second) == ("merged", "split")
    assert pair == ["l1", "l0"]
    assert abs(at - inside[0]) <= 2
    assert abs(end - inside[-1] - 1) <= 2


FRAMES = np.arange(200)
PASSING: dict[str, tuple[list[Any], list[Any], list[tuple[str, set[str]]]]] = {
    "split": (
        [20.0, 20.0],
        [9.2 - 0.002 * np.clip(FRAMES - 60, 0, 100), 9.2 + 0.002 * np.clip(FRAMES - 60, 0, 100)],
        [("split", {"w_1", "w_2"})],
    ),
    "merged": (
        [30.0, 20.0],
        [9.2 + 0 * FRAMES, 9.5 - 0.0025 * np.clip(FRAMES - 20, 0, 120)],
        [("merged", {"w_1", "w_2"})],
    ),
    "died": ([np.where(FRAMES < 100, 40.0, 0.0), 20.0], [9.2, 9.4], [("died", {"w_1"})]),
    "born": ([40.0, np.where(FRAMES < 120, 0.0, 8.0)], [9.2, 9.5], [("born", {"w_2"})]),
    "two phases": (
        [40 * (1 - np.clip((FRAMES - 50) / 100, 0, 1)), 40 * np.clip((FRAMES - 50) / 100, 0, 1)],
        [9.2, 9.36],
        [("born", {"w_2"}), ("died", {"w_1"})],
    ),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_happens_to_two_lines_is_told_from_the_patterns_on(case: str) -> None:
    """Poisson patterns of two lines in one window, tracked, then told."""
    areas, centres, expected = PASSING[case]
    x = 8 + 0.01 * np.arange(300)
    y = np.full((200, 300), 100.0)
    for area, centre in zip(areas, centres, strict=True):
        u = 2 * (x - np.broadcast_to(centre, 200)[:, None]) / WIDTH
        gauss = 0.6 * np.sqrt(np.log(2) / np.pi) * np.exp(-np.log(2) * u**2)
        y += 2 / WIDTH * np.broadcast_to(area, 200)[:, None] * (gauss + 0.4 / np.pi / (1 + u**2))
    intensity = xr.DataArray(
        np.random.default_rng(0).poisson(y).astype(float),
        {
            "time": np.datetime64("2025-01-01", "ns") + FRAMES * np.timedelta64(60, "s"),
            "two_theta": ("two_theta", x, {"units": "degree"}),
        },
        ("time", "two_theta"),
        "intensity",
        {"units": "count"},
    )
    places = tuple(
        float(np.broadcast_to(centre, 200)[0]) + 0.03 * at for at, centre in enumerate(centres)
    )
    tracks = track_peaks(intensity, windows=[Window("w", 8.6, 10.0, places)])
    found = told(histories(associate(tracks)))
    assert [(kind, {line, partner} - {""}) for kind, line, partner, _ in found] == expected


@settings(max_examples=25, deadline=None)
@given(
    shift=st.floats(-5, 50),
    unit=st.floats(0.01, 100),
    gain=st.floats(1e-3, 1e6),
    seed=st.integers(0, 50),
)
def test_histories_do_not_depend_on_origin_or_unit(
    shift: float, unit: float, gain: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    begin, end = np.sort(rng.integers(5, 95, 2))
    area = np.stack([steps(100, (begin, end, 40)), steps(100, (0, end, 60))], axis=1)
    centre = np.stack([9 + 0.001 * np.arange(100), np.full(100, 9.2)], axis=1)
    before = series(area, centre, seed=seed)
    after = series(area, centre + shift, seed=seed, unit=unit)
    after = after.assign(area=after["area"] * gain, area_sigma=after["area_sigma"] * gain)
    one, other = histories(before), histories(after)
    assert told(one) == told(other)
    np.testing.assert_array_equal(one["presence"], other["presence"])


def test_positions_have_histories_of_their_own() -> None:
    odd = np.arange(100) % 2 == 1
    area = np.where(odd & (np.arange(100) > 40), 40.0, 0.0)[:, None]
    spots = series(area, [9.0]).assign_coords(position=("time", np.where(odd, "b", "a")))
    assert told(histories(spots)) == [("born", "l0", "", 41)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"detected": 0}, "detected: 0"),
        ({"reopened": 3}, "reopened: 3"),
        ({"shortest": 0}, "shortest: 0"),
    ],
)
def test_an_impossible_request_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        histories(series(np.zeros((5, 1)), [9.0]), **wrong)
    with pytest.raises(RequestError, match="fwhm"):
        histories(series(np.zeros((5, 1)), [9.0]).drop_vars("fwhm"))


@pytest.mark.shared_data
def test_zinc_hydroxide_sulfate_is_born_on_discharge_and_dies_on_charge(shared_data: Path) -> None:
    """Its basal line grows below 1.30 V and is gone by 01:37 (the beamline's own reference)."""
    stamps, table = [], []
    for path in sorted((shared_data / "operando/xrd_zn_mno2_mspd/Data").glob("17_Da_f*.xye")):
        text = path.read_text()
        date = re.search(r"Date = (\S+)", text)
        assert date is not None
        stamps.append(np.datetime64(date[1].replace("_", "T"), "ns"))
        table.append(np.loadtxt(io.StringIO(text)))
    columns = np.array(table)
    intensity, sigma = (
        xr.DataArray(
            columns[:, :, at],
            {
                "time": np.array(stamps),
                "two_theta": ("two_theta", columns[0, :, 0], {"units": "degree"}),
            },
            ("time", "two_theta"),
            "intensity",
            {"units": "1"},
        )
        for at in (1, 2)
    )
    windows = [Window("001", 2.45, 2.75, (2.6,)), Window("002", 5.08, 5.33, (5.204,))]
    found = histories(track_peaks(intensity, windows=windows, sigma=sigma))
    day, next_day = "2025-09-23T", "2025-09-24T"
    assert np.datetime64(f"{day}18:50") <= found["born"].values[0] <= np.datetime64(f"{day}19:25")
    assert np.datetime64(f"{next_day}00:10") <= found["died"].values[0]
    assert found["died"].values[0] <= np.datetime64(f"{next_day}01:40")
    assert abs(found["born"].values[1] - found["born"].values[0]) < np.timedelta64(40, "m")
