"""Focus, laser, treatment and return of simulated tracks whose faults are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.errors import RequestError
from operando.model import STATES, check, flag_names
from operando.observables.band_quality import QUALITY, band_quality
from operando.observables.lines.flags import ASSESSMENT, CAUTIONS

Array = npt.NDArray[np.float64]
REST, ROUNDS = 20, 160
"""Measurements before the current flows, and in all; four sweeps of 35 after the rest."""
LINES = ("sse_1", "sse_2", "oxide", "carbonate")
AREA, SIGMA = np.array([9000.0, 4000.0, 8000.0, 3000.0]), np.array([60.0, 50.0, 60.0, 50.0])
CENTRE, CENTRE_SIGMA = np.array([1012.0, 928.0, 590.0, 1085.0]), 0.05


def cell(count: int) -> dict[str, Array]:
    """Voltage, state, half-cycle and cycle of a rest and then of triangular sweeps."""
    t = np.arange(count) - REST
    half = np.where(t < 0, 0, t // 35)
    place = np.where(t < 0, 0.0, (t % 35) / 34)
    up = half % 2 == 0
    state = np.where(up, STATES["sweep_up"], STATES["sweep_down"])
    return {
        "voltage": np.where(t < 0, 2.8, np.where(up, 2.8 + place, 3.8 - place)),
        "state": np.where(t < 0, STATES["rest"], state),
        "half_cycle": half,
        "cycle": half // 2,
    }


def tracks(seed: int = 0, layers: tuple[str, ...] = ("",), **coords: Any) -> xr.Dataset:
    """Tracks of rounds, one frame a layer each; oxide follows the voltage, the rest stays."""
    rng = np.random.default_rng(seed)
    told = {name: np.repeat(values, len(layers)) for name, values in cell(ROUNDS).items()}
    frames = ROUNDS * len(layers)
    area = np.tile(AREA, (frames, 1))
    area[:, 2] *= 1 - 0.6 * (told["voltage"] - 2.8)
    start = np.datetime64("2026-05-04T10:00:00", "ns")
    units = {"voltage": "V", "state": "1", "half_cycle": "1", "cycle": "1"}
    on_time: dict[str, Any] = {
        name: ("time", values, {"units": units[name]}) for name, values in told.items()
    }
    on_time["state"][2].update(
        flag_values=np.array(list(STATES.values()), np.int32), flag_meanings=" ".join(STATES)
    )
    if len(layers) > 1:
        on_time["position"] = ("time", np.array(list(layers) * ROUNDS))
    both = ("time", "line")
    return xr.Dataset(
        {
            "area": (both, area + SIGMA * rng.standard_normal(area.shape), {"units": "count/cm"}),
            "area_sigma": (both, np.tile(SIGMA, (frames, 1)), {"units": "count/cm"}),
            "centre": (
                both,
                CENTRE + CENTRE_SIGMA * rng.standard_normal(area.shape),
                {"units": "1/cm"},
            ),
            "centre_sigma": (both, np.full(area.shape, CENTRE_SIGMA), {"units": "1/cm"}),
            "assessment": (both, np.zeros(area.shape, np.int32), {"cautions": CAUTIONS}),
        },
        {
            "line": list(LINES),
            "time": start + np.arange(frames) * np.timedelta64(125, "s"),
            **on_time,
            **coords,
        },
    )


def judged(series: xr.Dataset, **options: Any) -> xr.Dataset:
    return band_quality(series, reference=LINES[:2], **options)


def having(result: xr.Dataset, name: str) -> list[int]:
    return np.flatnonzero(result["assessment"].values & QUALITY[name]).tolist()


def test_a_quiet_series_is_left_alone() -> None:
    """Three sigma is exceeded three times in a thousand; nothing else is ever said."""
    found = [judged(tracks(seed)) for seed in range(20)]
    shifted = np.mean([result["assessment"].values != 0 for result in found])
    assert shifted < 0.01
    for name in QUALITY:
        if name != "shifted":
            assert not any(having(result, name) for result in found)
    pulls = np.concatenate(
        [(part["reference_area"] - 1) / part["reference_area_sigma"] for part in found]
    )
    assert 0.9 < pulls.std() < 1.15  # with that of the median before cycling
    moved = np.concatenate([part["reference_shift"] / 0.0354 for part in found])
    assert 0.9 < moved.std() < 1.15  # two lines of 0.05 1/cm


def test_the_result_tells_what_it_is() -> None:
    result = judged(tracks())
    assert result["reference_shift"].attrs["units"] == "1/cm"
    assert result["reference_area"].attrs["ancillary_variables"] == "reference_area_sigma"
    assert result["assessment"].attrs["cautions"] == QUALITY["not_returned"]
    assert result.attrs["before"] == REST
    assert result["voltage"].dims == ("time",)
    spectra = result.assign(intensity=("time", np.zeros(ROUNDS), {"units": "count"}))
    assert check(
        spectra.assign_attrs(technique="raman").assign_coords(
            raman_shift=("raman_shift", [1.0, 2.0], {"units": "1/cm"}),
            time_start=result["time"],
            time_end=result["time"],
        )
    )


def test_a_laser_that_drifts_is_found() -> None:
    series = tracks(1)
    series["centre"][60:, :2] += 0.5
    result = judged(series)
    assert set(range(60, ROUNDS)) <= set(having(result, "shifted"))
    assert len([row for row in having(result, "shifted") if row < 60]) <= 2
    assert having(result, "focus") == []


def test_focus_that_is_lost_is_found() -> None:
    series = tracks(2)
    lost = np.ones(ROUNDS)
    lost[90:] = 0.8
    series["area"] = series["area"] * xr.DataArray(lost, dims="time")
    result = judged(series)
    assert having(result, "focus") == list(range(90, ROUNDS))
    assert float(result["reference_area"][90:].mean()) == pytest.approx(0.8, abs=0.01)
    five = judged(
        tracks(2).assign(
            area=tracks(2)["area"] * xr.DataArray(np.where(lost < 1, 0.95, 1.0), dims="time")
        )
    )
    assert having(five, "focus") == []  # five per cent are tolerated


def test_focus_that_wanders_is_unsteady() -> None:
    series = tracks(3)
    wander = 1 + 0.16 * (-1.0) ** np.arange(ROUNDS) * (np.arange(ROUNDS) >= 80)
    result = judged(series.assign(area=series["area"] * xr.DataArray(wander, dims="time")))
    assert set(range(85, ROUNDS)) <= set(having(result, "unsteady"))
    assert not [row for row in having(result, "unsteady") if row < 75]
    assert float(result["reference_variation"][120]) == pytest.approx(0.16, rel=0.15)


def test_all_positions_of_that_moment_are_flagged() -> None:
    """The reference is seen in one layer of three; 40 rounds in it moves."""
    series = tracks(4, ("PE", "SSE", "NE"))
    seen = series["position"].values == "SSE"
    series["assessment"][~seen, :2] = ASSESSMENT["lost"]
    series["centre"][~seen, :2] = np.nan
    late = seen & (np.arange(seen.size) >= 120) & (np.arange(seen.size) < 150)
    series["centre"][late, :2] += 1.0
    result = judged(series, position="SSE")
    shifted = np.array(having(result, "shifted"))
    assert set(range(120, 150)) <= set(shifted.tolist())
    assert np.sum((shifted < 120) | (shifted >= 150)) < 12
    assert having(result, "no_reference") == []
    assert result.attrs["before"] == REST


def test_without_a_reference_nothing_is_known() -> None:
    series = tracks(5)
    series["assessment"][50:53, :2] = ASSESSMENT["weak"]
    series["area"][70, 0] = np.nan  # the other line still tells
    series["assessment"][80, 1] = ASSESSMENT["misfit"]  # cautions only
    result = judged(series)
    assert having(result, "no_reference") == [50, 51, 52]
    assert np.isnan(result["reference_shift"].values[50:53]).all()


def test_layers_are_to_be_treated_alike() -> None:
    layers = ("PE", "SSE", "NE")
    exposure = np.full(ROUNDS * 3, 60.0)
    exposure[::3] = 30.0
    flag = np.zeros(ROUNDS * 3, np.int32)
    flag[7] = 1
    series = tracks(6, layers, exposure=("time", exposure), baseline_flag=("time", flag))
    odd = having(judged(series, position="SSE"), "treated_otherwise")
    assert odd == sorted([*range(0, ROUNDS * 3, 3), 7])
    moved = np.where(np.arange(ROUNDS * 3) % 3 == 1, 0, 1)  # unmatched: of layers without the band
    alike = tracks(6, layers, shift_flag=("time", moved), exposure=("time", np.full(480, np.nan)))
    assert having(judged(alike, position="SSE"), "treated_otherwise") == []


def test_a_change_that_does_not_return_is_found() -> None:
    """The carbonate grows by a third in the second cycle; the oxide comes back each time."""
    series = tracks(7)
    grown = 1 + 0.9 * (np.arange(ROUNDS) >= 90)
    series["area"][:, 3] *= grown
    result = judged(series)
    late = having(result, "not_returned")
    assert set(range(95, ROUNDS)) - set(late) == set(
        np.flatnonzero(np.isnan(result["return_distance"].values)).tolist()
    ) & set(range(95, ROUNDS))
    assert len(set(late) & set(range(90, ROUNDS))) > 60
    first = np.arange(ROUNDS) < REST + 70
    assert np.isnan(result["return_distance"].values[first]).all()
    before = np.hypot(AREA[2] * (1 - 0.6 * (series["voltage"] - 2.8)), AREA[3])
    expected = (0.9 * AREA[3] / before).values
    known = np.isfinite(result["return_distance"].values) & (np.arange(ROUNDS) >= 95)
    pulls = (
        (result["return_distance"].values - expected) / (result["return_distance_sigma"].values)
    )[known]
    assert np.abs(np.median(pulls)) < 0.5
    assert pulls.std() < 1.6


def test_a_band_that_is_gone_has_not_returned() -> None:
    """Too weak for a centre it still has an area: nothing where there were 3000 counts."""
    series = tracks()
    late = cell(ROUNDS)["half_cycle"] >= 2
    series["area"][late, 3] -= AREA[3]
    series["assessment"][late, 3] = ASSESSMENT["weak"]
    series["centre"][late, 3] = np.nan
    found = having(judged(series), "not_returned")
    assert set(np.flatnonzero(late)[3:-3]) <= set(found)
    assert min(found) >= np.flatnonzero(late)[0]


def test_the_same_state_is_compared() -> None:
    """Noise alone: the mean square of the differences is that of sigma, though the oxide halves."""
    chi2 = np.concatenate([judged(tracks(seed))["return_chi2"].values for seed in range(10)])
    assert np.nanmean(chi2) == pytest.approx(1.0, abs=0.1)


def test_any_coordinate_may_tell_the_state() -> None:
    series = tracks(8)
    charge = ("time", np.abs(series["voltage"].values - 2.8), {"units": "A h"})
    other = judged(series.assign_coords(half_cycle_capacity=charge), along="half_cycle_capacity")
    expected = judged(series)["return_distance"]
    np.testing.assert_allclose(other["return_distance"], expected, rtol=1e-6)
    bare = judged(series.drop_vars("half_cycle"))
    assert np.isnan(bare["return_distance"]).all()


@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
@settings(max_examples=15, deadline=None)
def test_scale_and_axis_do_not_matter(factor: float, move: float) -> None:
    plain = tracks(9)
    other = plain.assign(
        area=factor * plain["area"],
        area_sigma=factor * plain["area_sigma"],
        centre=plain["centre"] + move,
    )
    one, two = judged(plain), judged(other)
    assert np.array_equal(one["assessment"], two["assessment"])
    for name in ("reference_area", "reference_shift", "return_distance"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-7, atol=1e-7)


def test_lazy_tracks_are_read() -> None:
    series = tracks(10)
    lazy = series.chunk({"time": 30})
    xr.testing.assert_identical(judged(lazy), judged(series))
    assert lazy["area"].chunks is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": ["nzsp"]}, r"reference: \['nzsp'\]; expected one or more of"),
        ({"reference": []}, r"reference: \[\]"),
        ({"reference": ["sse_1"], "position": "PE"}, "position: 'PE'"),
        ({"reference": ["sse_1"], "baseline": 2}, "baseline: 2; expected 3 or more"),
    ],
)
def test_an_impossible_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        band_quality(tracks(), **options)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(RequestError, match="no coordinate 'state'"):
        judged(tracks().drop_vars("state"))
    moving = tracks().isel(time=slice(REST, None))
    with pytest.raises(RequestError, match="'sse_1' was measured 0 times before cycling"):
        judged(moving)
    assert judged(moving, baseline=10).attrs["before"] == 10
    with pytest.raises(RequestError, match="position: None; expected one of"):
        judged(tracks(0, ("PE", "SSE")))
    with pytest.raises(RequestError, match="no 'centre' on time and line"):
        judged(tracks().drop_vars("centre"))


def test_names_of_flags() -> None:
    assert flag_names(5, QUALITY) == ["shifted", "unsteady"]
