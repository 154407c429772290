"""Merged scans: means and sigma against simulation, times and labels against hand-made groups."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.corrections.merging import merge_scans
from operando.errors import RequestError
from operando.model import FRAME_FLAGS, check, flag_attributes

ENERGY = np.arange(8300.0, 8400.0, 0.5)
TRUTH = np.arctan((ENERGY - 8345) / 1.5) / np.pi + 0.5
START = np.datetime64("2026-05-04T10:00:00", "ns")
SECOND = np.timedelta64(1, "s")


def series(count: int = 12, noise: float = 1e-3, *, spots: int = 1, seed: int = 0) -> xr.Dataset:
    """Scans of 50 s, one a minute, of a changing state; spots in turn."""
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    begin = START + number * 60 * SECOND
    mu = TRUTH + noise * rng.standard_normal((count, ENERGY.size))
    frames = xr.Dataset(
        {
            "mu": (("time", "energy"), mu, {"units": "1", "mode": "transmission"}),
            "glitch": (("time", "energy"), np.zeros(mu.shape, np.int8), {"units": "1"}),
        },
        {
            "time": begin + 25 * SECOND,
            "time_start": ("time", begin),
            "time_end": ("time", begin + 50 * SECOND),
            "energy": ("energy", ENERGY, {"units": "eV"}),
            "voltage": ("time", 3 + 0.1 * number, {"units": "V"}),
            "voltage_min": ("time", 2.9 + 0.1 * number, {"units": "V"}),
            "voltage_max": ("time", 3.1 + 0.1 * number, {"units": "V"}),
            "net_capacity_start": ("time", number / 10, {"units": "A h"}),
            "net_capacity_end": ("time", (number + 1) / 10, {"units": "A h"}),
            "charge_passed": ("time", np.full(count, 0.1), {"units": "A h"}),
            "half_cycle": ("time", (number // 5).astype(np.int32), {"units": "1"}),
            "frame_flag": ("time", np.zeros(count, np.int32), flag_attributes(FRAME_FLAGS)),
        },
        {"technique": "xas", "element": "Ni"},
    )
    if spots > 1:
        frames = frames.assign_coords(position=("time", [f"spot{n % spots}" for n in number]))
    return frames


def test_mean_sigma_and_interval_of_every_four() -> None:
    frames = series(10)
    done = check(merge_scans(frames, every=4))
    for place, rows in enumerate((slice(0, 4), slice(4, 8), slice(8, 10))):
        part = frames.isel(time=rows)
        np.testing.assert_allclose(done["mu"][place], part["mu"].mean("time"), rtol=1e-12)
        assert done["time_start"].values[place] == part["time_start"].values[0]
        assert done["time_end"].values[place] == part["time_end"].values[-1]
        middle = (
            part["time_start"].values[0]
            + (part["time_end"].values[-1] - part["time_start"].values[0]) // 2
        )
        assert done["time"].values[place] == middle
    assert done["scans"].values.tolist() == [4, 4, 2]
    assert done["scans_excluded"].values.tolist() == [0, 0, 0]
    assert done["voltage"].values == pytest.approx([3.15, 3.55, 3.85])
    assert done["voltage_min"].values == pytest.approx([2.9, 3.3, 3.7])
    assert done["voltage_max"].values == pytest.approx([3.4, 3.8, 4.0])
    assert done["net_capacity_start"].values == pytest.approx([0, 0.4, 0.8])
    assert done["net_capacity_end"].values == pytest.approx([0.4, 0.8, 1.0])
    assert done["charge_passed"].values == pytest.approx([0.4, 0.4, 0.2])
    assert done["half_cycle"].values.tolist() == [0, 1, 1]
    assert done["mu"].attrs["mode"] == "transmission"
    assert done.attrs["element"] == "Ni"
    assert json.loads(done.attrs["corrections"]) == [
        {"step": "merging", "every": 4, "by": None, "excluded": 0}
    ]


@pytest.mark.parametrize("told", [True, False])
def test_pulls_of_the_mean(told: bool) -> None:
    frames = series(2000, 2e-3)
    if told:
        frames["mu_sigma"] = xr.full_like(frames["mu"], 2e-3)
        frames["mu"].attrs["ancillary_variables"] = "mu_sigma"
    done = check(merge_scans(frames, every=5))
    pulls = (done["mu"] - TRUTH) / done["mu_sigma"]
    assert float(pulls.std()) == pytest.approx(1, abs=0.02)
    assert float(done["mu_sigma"].mean()) == pytest.approx(2e-3 / np.sqrt(5), rel=0.03)


def test_bad_scans_are_left_out_and_counted() -> None:
    frames = series(9)
    frames["mu"][1] = 50.0
    frames["mu"][2, 100] = np.nan
    frames["frame_flag"][1] = FRAME_FLAGS["clock_suspect"]
    frames["frame_flag"][2] = FRAME_FLAGS["regridded"]  # no fault
    frames["frame_flag"][3:6] = FRAME_FLAGS["unreadable"]
    own = xr.DataArray(np.arange(9) == 8, dims="time")
    done = check(merge_scans(frames, every=3, exclude=own))
    assert done["scans"].values.tolist() == [2, 0, 2]
    assert done["scans_excluded"].values.tolist() == [1, 3, 1]
    expected = np.where(
        np.arange(ENERGY.size) == 100, frames["mu"][0], frames["mu"][[0, 2]].mean("time")
    )
    np.testing.assert_allclose(done["mu"][0], expected, rtol=1e-12)
    sigma = done["mu_sigma"].values
    assert sigma[0, 100] == pytest.approx(np.sqrt(2) * sigma[0, 99], rel=0.2)
    assert np.isnan(done["mu"][1]).all()
    assert np.isnan(sigma[1]).all()
    assert np.isnan(done["voltage"].values[1])
    assert done["voltage"].values[0] == pytest.approx(3.1)
    assert done["frame_flag"].values.tolist() == [8, 1, 0]
    # the interval is that of what was averaged; where nothing was, of all
    assert done["time_end"].values[2] == frames["time_end"].values[7]
    assert done["time_start"].values[1] == frames["time_start"].values[3]
    assert json.loads(done.attrs["corrections"])[0]["excluded"] == 5


def test_positions_are_not_mixed_and_labels_end_a_group() -> None:
    frames = series(16, spots=2)
    done = check(merge_scans(frames, by="half_cycle"))
    # frames 0 2 4, 1 3, 5 7 9, 6 8, 10 12 14, 11 13, 15; of one middle the earlier begun is first
    assert [name[-1] for name in done["position"].values] == list("0110011")
    assert done["half_cycle"].values.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert done["scans"].values.tolist() == [3, 2, 3, 2, 3, 2, 1]
    rows = [6, 8]
    np.testing.assert_allclose(done["mu"][3], frames["mu"][rows].mean("time"), rtol=1e-12)


def test_a_state_that_returns_is_another_group() -> None:
    frames = series(6).assign_coords(
        state=("time", np.array([1, 1, 2, 2, 1, 1], np.int32), {"units": "1"})
    )
    frames["state"].attrs |= {"flag_values": [1, 2], "flag_meanings": "charge discharge"}
    done = merge_scans(frames, by="state")
    assert done["state"].values.tolist() == [1, 2, 1]
    assert done["state"].attrs == frames["state"].attrs


def test_flags_glitches_and_names_of_what_was_merged() -> None:
    frames = series(4).assign_coords(
        source=("time", ["a", "b", "b", "c"]), glitches=("time", [0, 1, 0, 2], {"units": "1"})
    )
    frames["glitch"][1, 3] = 1
    frames["frame_flag"][1] = FRAME_FLAGS["regridded"]
    done = merge_scans(frames, every=4)
    assert done["source"].values.tolist() == ["b"]
    assert done["glitches"].values.tolist() == [3]
    assert np.flatnonzero(done["glitch"].values[0]).tolist() == [3]
    assert done["glitch"].dtype == np.int8
    assert done["frame_flag"].values.tolist() == [FRAME_FLAGS["regridded"]]


def test_two_groups_with_one_middle_are_told_apart() -> None:
    frames = series(4).assign_coords(position=("time", ["a", "b", "b", "a"]))
    done = check(merge_scans(frames, every=2))
    assert done["position"].values.tolist() == ["a", "b"]
    assert np.diff(done["time"].values).astype(int).tolist() == [1]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 9), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_chunks_do_not_matter(cuts: list[int], every: int, spots: int) -> None:
    frames = series(40, spots=spots)
    frames["frame_flag"][[3, 17, 18]] = FRAME_FLAGS["unreadable"]
    whole = merge_scans(frames, every=every)
    sizes: list[int] = []
    for cut in [*cuts, 40]:
        sizes.append(min(cut, 40 - sum(sizes)))
    chunks: Any = {"time": tuple(size for size in sizes if size), "energy": 77}
    lazy_variables = {name: frames[name].chunk(chunks) for name in frames.data_vars}
    lazy = merge_scans(frames.assign(lazy_variables), every=every)
    assert all(lazy[name].chunks for name in ("mu", "mu_sigma", "glitch"))
    xr.testing.assert_identical(lazy.compute(), whole)


def test_long_lazy_series_have_several_blocks() -> None:
    frames = series(1500)
    lazy = merge_scans(frames.chunk(time=100), every=7)
    assert lazy["mu"].data.numblocks == (6, 1)
    expected: npt.NDArray[Any] = merge_scans(frames, every=7)["mu"].values
    np.testing.assert_array_equal(lazy["mu"], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "every, by: None, None"),
        ({"every": 2, "by": "state"}, "every, by: 2, 'state'"),
        ({"every": 0}, "every: 0"),
        ({"by": "state"}, r"by: no coordinate 'state' on time; there are .*'voltage'"),
        ({"every": 2, "exclude": xr.DataArray([True])}, "exclude: .* expected a DataArray of 12"),
    ],
)
def test_an_impossible_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        merge_scans(series(), **options)
