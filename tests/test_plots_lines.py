"""Figures of tracked lines: what is drawn is what was measured, where it was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from operando import plots
from operando.detect.event import Event, State
from operando.errors import RequestError
from operando.model import STATES, flag_attributes
from operando.plots.style import EVENT

Array = npt.NDArray[Any]
START = np.datetime64("2026-05-04T08:00:00", "ns")
COUNT = 50
GRID: Array = 8.0 + 0.01 * np.arange(300)
LINES = ("left", "right", "far")
PLACES = (8.60, 8.80, 10.2)
WIDTH = 0.08
FLAGS = {"weak": 1, "not_converged": 2, "misfit": 4}


def stamps(hours: Array) -> Array:
    return START + np.round(np.asarray(hours) * 3.6e12).astype("m8[ns]")


def moment(hour: float) -> np.datetime64:
    return START + np.timedelta64(round(hour * 3.6e12), "ns")


@pytest.fixture(scope="module")
def log() -> xr.Dataset:
    hours = np.linspace(0, 10, 600)
    return xr.Dataset(
        {
            "voltage": ("time", 3 + 0.1 * hours, {"units": "V"}),
            "run": ("time", np.zeros(600, np.int32), {"units": "1"}),
        },
        {"time": stamps(hours)},
    )


def coordinates() -> dict[str, Any]:
    start = 0.2 * np.arange(COUNT)
    return {
        "time": stamps(start + 0.09),
        "time_start": ("time", stamps(start)),
        "time_end": ("time", stamps(start + 0.18)),
        "voltage": ("time", 3 + 0.1 * (start + 0.09), {"units": "V"}),
        "cycle": ("time", np.zeros(COUNT, np.int32)),
        "half_cycle": ("time", np.zeros(COUNT, np.int32)),
        "state": ("time", np.full(COUNT, STATES["charge"], np.int32)),
    }


@pytest.fixture(scope="module")
def frames() -> xr.Dataset:
    values = np.random.default_rng(1).poisson(100.0, (COUNT, GRID.size)).astype(float)
    return xr.Dataset(
        {"intensity": (("time", "two_theta"), values, {"units": "count"})},
        {**coordinates(), "two_theta": ("two_theta", GRID, {"units": "degree"})},
        {"technique": "xrd"},
    )


@pytest.fixture
def numbers() -> xr.Dataset:
    """Two neighbours and a third far off, which is weak in the first ten frames."""
    drift = 0.002 * np.arange(COUNT)[:, None]
    centre = np.array(PLACES) + drift
    centre[:10, 2] = np.nan
    mask = np.zeros((COUNT, 3), np.int32)
    mask[:10, 2] = FLAGS["weak"]
    mask[20, 0] = FLAGS["not_converged"]
    mask[30, 0] = FLAGS["misfit"]
    dims = ("time", "line")
    degree = {"units": "degree"}
    return xr.Dataset(
        {
            "area": (dims, np.full((COUNT, 3), 40.0), {"units": "count * degree"}),
            "area_sigma": (dims, np.full((COUNT, 3), 1.0), {"units": "count * degree"}),
            "centre": (dims, centre, degree),
            "centre_sigma": (dims, np.full((COUNT, 3), 0.003), degree),
            "fwhm": (dims, np.where(np.isnan(centre), np.nan, WIDTH), degree),
            "fwhm_sigma": (dims, np.full((COUNT, 3), 0.004), degree),
            "assessment": (dims, mask, {**flag_attributes(FLAGS), "cautions": FLAGS["misfit"]}),
        },
        {**coordinates(), "line": list(LINES)},
        {"kind": "peaks"},
    )


def born(position: float, hour: float, kind: str = "new_peak") -> Event:
    onset = State(time=moment(hour), voltage=3.2, cycle=0, half_cycle=0, state="charge")
    return Event(
        kind=kind,
        measurement="xrd",
        technique="xrd",
        observable="intensity",
        position="",
        onset=onset,
        onset_earliest=moment(hour - 0.2),
        onset_latest=moment(hour + 0.1),
        size=5.0,
        size_sigma=1.0,
        size_units="count * degree",
        score=9.0,
        threshold=6.0,
        calibration="simulated",
        evidence=(10, 11),
        detail={"lines": [{"position": position}]},
    )


def panel(figure: Figure, label: str, number: int = 0) -> Axes:
    return [axes for axes in figure.axes if label in axes.get_ylabel()][number]


def written(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def birth_marks(axes: Axes) -> list[tuple[str, float, float]]:
    found = []
    for line in axes.get_lines():
        if str(line.get_marker()) in "<>" and line.get_color() == EVENT:
            [[x, y]] = np.asarray(line.get_xydata(), float).tolist()
            found.append((str(line.get_marker()), x, y))
    return found


def test_neighbours_share_a_panel_and_the_track_is_the_believed_centre(
    frames: xr.Dataset, numbers: xr.Dataset, log: xr.Dataset
) -> None:
    figure = plots.tracks(frames, numbers, log)
    near, far = panel(figure, "2θ", 0), panel(figure, "2θ", 1)
    assert near.get_ylim()[0] < PLACES[0] < PLACES[1] + 0.1 < near.get_ylim()[1] < PLACES[2]
    assert {text.get_text() for text in near.texts} == {"left", "right"}
    assert [text.get_text() for text in far.texts] == ["far"]
    left = np.asarray(near.get_lines()[0].get_ydata(), float)
    expected = PLACES[0] + 0.002 * np.arange(COUNT)
    expected[20] = np.nan
    np.testing.assert_allclose(left, expected)
    track = np.asarray(far.get_lines()[0].get_ydata(), float)
    assert np.isnan(track[:10]).all()
    assert np.isfinite(track[10:]).all()
    half = np.asarray(far.get_lines()[2].get_ydata(), float) - track
    np.testing.assert_allclose(half[10:], WIDTH / 2)
    assert "left 1 of 50, far 10 of 50" in written(figure)


def test_the_band_is_one_sigma_of_the_centre(
    frames: xr.Dataset, numbers: xr.Dataset, log: xr.Dataset
) -> None:
    far = panel(plots.tracks(frames, numbers, log), "2θ", 1)
    corners = np.concatenate(
        [np.asarray(path.vertices) for band in far.collections[1:] for path in band.get_paths()]
    )
    # in the middle of frame 40
    at = corners[np.isclose(corners[:, 0], 0.2 * 40 + 0.09)][:, 1]
    centre = PLACES[2] + 0.002 * 40
    assert at.min() == pytest.approx(centre - 0.003)
    assert at.max() == pytest.approx(centre + 0.003)


def test_births_and_losses_stand_on_the_axis_and_in_time(
    frames: xr.Dataset, numbers: xr.Dataset, log: xr.Dataset
) -> None:
    events = [born(10.25, 3.0), born(8.7, 6.0, "lost_peak")]
    heat = panel(plots.heatmap(frames, log, events=events), "2θ")
    assert sorted(birth_marks(heat)) == [("<", 6.0, 8.7), (">", 3.0, 10.25)]
    figure = plots.tracks(frames, numbers, log, events=events)
    assert birth_marks(panel(figure, "2θ", 0)) == [("<", 6.0, 8.7)]
    assert birth_marks(panel(figure, "2θ", 1)) == [(">", 3.0, 10.25)]
    assert "new peak" in written(figure)


def test_a_line_is_drawn_by_position_width_and_area(numbers: xr.Dataset, log: xr.Dataset) -> None:
    figure = plots.line(numbers.isel(line=2), log)
    labels = ("Centre (°)", "FWHM (°)", "Area (count degree)")
    for label, name in zip(labels, ("centre", "fwhm", "area"), strict=True):
        drawn = np.asarray(panel(figure, label).get_lines()[0].get_ydata(), float)
        np.testing.assert_allclose(drawn, numbers[name].isel(line=2).values)
    told = written(figure)
    assert "centre: 40 of 50 frames believed, 10 without a value" in told
    assert "area: 50 of 50 frames believed" in told


def test_nothing_is_clipped(frames: xr.Dataset, numbers: xr.Dataset, log: xr.Dataset) -> None:
    for figure in (
        plots.tracks(frames, numbers, log, events=[born(10.25, 3.0)]),
        plots.line(numbers.isel(line=0), log),
    ):
        figure.set_canvas(FigureCanvasAgg(figure))
        figure.draw_without_rendering()
        page, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert -0.01 < page.x0 < page.x1 < width + 0.01
        assert -0.01 < page.y0 < page.y1 < height + 0.01


def test_impossible_requests(frames: xr.Dataset, numbers: xr.Dataset, log: xr.Dataset) -> None:
    with pytest.raises(RequestError, match=r"numbers: lack \['fwhm'\]"):
        plots.tracks(frames, numbers.drop_vars("fwhm"), log)
    two = np.array(["a", "b"] * (COUNT // 2))
    with pytest.raises(RequestError, match="2 positions; select one"):
        plots.tracks(frames.assign_coords(position=("time", two)), numbers, log)
    with pytest.raises(RequestError, match="no line is ever seen"):
        plots.tracks(frames, numbers.assign(centre=numbers["centre"] * np.nan), log)
    with pytest.raises(RequestError, match="one line of track_peaks"):
        plots.line(numbers, log)
