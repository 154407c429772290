"""Figures: what is drawn is what was given, gaps stay blank, events stand where they happened."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from operando import plots
from operando.detect.event import Event, State
from operando.errors import RequestError
from operando.model import FRAME_FLAGS, STATES, category_attributes, flag_attributes
from operando.plots.cell import extremes
from operando.plots.pooling import pooled, pooled_axis
from operando.plots.series import believed
from operando.plots.style import DOUBT, EVENT, on_white
from operando.plots.timeline import blocks

Array = npt.NDArray[Any]
START = np.datetime64("2026-05-04T08:00:00", "ns")
HOUR = 3.6e12


def stamps(hours: Array) -> Array:
    return START + np.round(np.asarray(hours) * HOUR).astype("m8[ns]")


def make_log(*, end_h: float = 24.0, gap_h: tuple[float, float] = (9.0, 11.0)) -> xr.Dataset:
    """A cell cycled between 3.0 and 4.2 V with 6 h half-cycles; the log is silent in a gap."""
    time = np.arange(0, end_h, 30 / 3600)
    time = time[(time < gap_h[0]) | (time > gap_h[1])]
    phase = (time % 12) / 6
    up = phase < 1
    voltage = np.where(up, 3.0 + 1.2 * phase, 4.2 - 1.2 * (phase - 1))
    voltage += 0.05 * np.sin(2 * np.pi * phase)
    return xr.Dataset(
        {
            "voltage": ("time", voltage, {"units": "V"}),
            "current": (
                "time",
                np.where(up, 1.5e-4, -1.5e-4),
                {"units": "A", "averaging": "backward"},
            ),
            "run": ("time", (time > gap_h[1]).astype(np.int32), {"units": "1"}),
        },
        {"time": stamps(time)},
        {"technique": "electrochemistry"},
    )


def state_of(hours: Array, log: xr.Dataset) -> dict[str, tuple[Any, ...]]:
    """The coordinates that align gives; outside the log and in its gap there is no voltage."""
    logged = (log["time"].values - START) / np.timedelta64(1, "ns") / HOUR
    voltage = np.interp(hours, logged, log["voltage"].values)
    silent = (hours > 9.0) & (hours < 11.0) | (hours < 0) | (hours > logged[-1])
    half = np.where(silent, -1, hours // 6).astype(np.int32)
    way = np.where(half % 2 == 0, STATES["charge"], STATES["discharge"])
    return {
        "voltage": ("time", np.where(silent, np.nan, voltage), {"units": "V"}),
        "half_cycle": ("time", half, {"units": "1"}),
        "cycle": ("time", np.where(silent, -1, half // 2).astype(np.int32), {"units": "1"}),
        "state": (
            "time",
            np.where(silent, STATES["unknown"], way).astype(np.int32),
            category_attributes(STATES),
        ),
    }


def make_frames(
    log: xr.Dataset, *, places: tuple[str, ...] = ("surface", "bulk"), end_h: float = 25.0
) -> xr.Dataset:
    """XANES of 2 min every 5 min, spots in turn; the edge breathes, no beam from 15 to 17 h."""
    begin = np.arange(-0.5, end_h, 5 / 60)
    begin = begin[(begin < 15) | (begin > 17)]
    mid = begin + 1 / 60
    energy = np.concatenate([np.arange(17900, 17980, 2.0), np.arange(17980, 18150, 0.5)])
    place = np.array(places or ("",))[np.arange(mid.size) % max(len(places), 1)]
    shift = 1.5 * np.sin(np.pi * mid / 12) ** 2
    if places:
        shift = shift + np.where((place == places[0]) & (mid > 13), 0.8 * (1 - np.exp(13 - mid)), 0)
    x = energy[None, :] - 18003 - shift[:, None]
    mu = 0.5 + np.arctan(x / 2) / np.pi + 0.25 * np.exp(-(((x - 6) / 4) ** 2))
    mu += 0.08 * np.sin(x / 9) * np.exp(-x / 80) * (x > 0)
    mu += np.random.default_rng(1).normal(0, 0.004, mu.shape)
    flag = np.zeros(mid.size, np.int32)
    flag[40], mu[40] = FRAME_FLAGS["unreadable"], np.nan
    frames = xr.Dataset(
        {"mu": (("time", "energy"), mu, {"units": "1"})},
        {
            "time": stamps(mid),
            "time_start": ("time", stamps(begin)),
            "time_end": ("time", stamps(begin + 2 / 60)),
            "energy": ("energy", energy, {"units": "eV"}),
            "frame_flag": ("time", flag, flag_attributes(FRAME_FLAGS)),
            **state_of(mid, log),
        },
        {"technique": "xas"},
    )
    return frames.assign_coords(position=("time", place)) if places else frames


def make_numbers(frames: xr.Dataset) -> xr.Dataset:
    rng = np.random.default_rng(2)
    mid = (frames["time"].values - START) / np.timedelta64(1, "ns") / HOUR
    surface = frames["position"].values == "surface"
    truth = 18003 + 1.5 * np.sin(np.pi * mid / 12) ** 2
    truth += np.where(surface & (mid > 13), 0.8 * (1 - np.exp(13 - mid)), 0)
    sigma = np.full(mid.size, 0.05)
    value = truth + rng.normal(0, sigma)
    assessment = np.zeros(mid.size, np.int32)
    assessment[[10, 90, 91]] = 1
    value[[10, 90, 91]] += [0.5, -0.6, 40.0]
    value[40] = np.nan
    assessment[40] = 2
    return xr.Dataset(
        {
            "edge_energy_half": (
                "time",
                value,
                {"units": "eV", "ancillary_variables": "edge_energy_half_sigma"},
            ),
            "edge_energy_half_sigma": ("time", sigma, {"units": "eV"}),
            "assessment": (
                "time",
                assessment,
                category_attributes({"success": 0, "low_contrast": 1, "no_data": 2}),
            ),
        },
        {name: c for name, c in frames.coords.items() if c.dims == ("time",)},
        {"kind": "edge"},
    )


def make_event(
    onset_h: float, *, position: str = "surface", score: float = 9.0, **changes: Any
) -> Event:
    moment = START + np.timedelta64(round(onset_h * HOUR), "ns")
    facts: dict[str, Any] = {
        "kind": "departure",
        "measurement": "xas",
        "technique": "xas",
        "observable": "zr_k.edge_energy_half",
        "position": position,
        "onset": State(time=moment, voltage=3.27, cycle=1, half_cycle=2, state="charge"),
        "onset_earliest": moment - np.timedelta64(20, "m"),
        "onset_latest": moment + np.timedelta64(10, "m"),
        "size": 0.8,
        "size_sigma": 0.05,
        "size_units": "eV",
        "score": score,
        "threshold": 4.0,
        "calibration": "1 false alarm in 10000 frames, from 400 bootstrap series",
        "evidence": (150, 151, 152),
        "controls": {"bulk": "passed"},
    }
    return Event(**(facts | changes))


@pytest.fixture(scope="module")
def log() -> xr.Dataset:
    return make_log()


@pytest.fixture(scope="module")
def frames(log: xr.Dataset) -> xr.Dataset:
    return make_frames(log)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return [
        make_event(13.2),
        make_event(13.3, position="", kind="new_peak", observable="peaks.area"),
        make_event(20.0, position="bulk"),
    ]


def panel(figure: Figure, label: str) -> Axes:
    [found] = [axes for axes in figure.axes if label in (axes.get_ylabel(), axes.get_title("left"))]
    return found


def mesh_of(axes: Axes) -> tuple[Array, Array, Any]:
    """Edges in hours, edges of the axis, values (axis, time)."""
    [mesh] = [item for item in axes.collections if isinstance(item, QuadMesh)]
    corners = np.array(mesh.get_coordinates())  # type: ignore[no-untyped-call, unused-ignore]
    values: Any = mesh.get_array()
    return corners[0, :, 0], corners[:, 0, 1], values.reshape(corners.shape[0] - 1, -1)


def marked(axes: Axes) -> list[float]:
    """Where vertical lines of events stand."""
    return [
        float(np.asarray(line.get_xdata())[0])
        for line in axes.lines
        if line.get_color() == EVENT and line.get_marker() == "None"
    ]


def written(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def hours(time: xr.DataArray) -> Array:
    return np.asarray((time.values - START) / np.timedelta64(1, "ns") / HOUR)


def texts_of(figure: Figure) -> list[Text]:
    """Draw, and return every text that shows, with a box."""
    figure.set_canvas(FigureCanvasAgg(figure))
    figure.canvas.draw()
    found = figure.findobj(Text)
    return [text for text in found if text.get_visible() and text.get_text().strip()]


# --- heat map ---


def test_heatmap_draws_the_frames_as_they_are(log: xr.Dataset) -> None:
    frames = make_frames(log, places=())
    axes = panel(plots.heatmap(frames, log), "Energy (eV)")
    edges, rows, values = mesh_of(axes)
    middle = (edges[:-1] + edges[1:]) / 2
    drawn = [int(np.argmin(np.abs(middle - at))) for at in hours(frames["time"])]
    expected = np.ma.masked_invalid(frames["mu"].values.T)
    np.testing.assert_array_equal(values[:, drawn].mask, expected.mask)
    np.testing.assert_array_equal(values[:, drawn].filled(0), expected.filled(0))
    assert rows.size == frames.sizes["energy"] + 1
    assert np.all((rows[:-1] < frames["energy"].values) & (frames["energy"].values < rows[1:]))


def test_change_is_counted_from_the_first_frames_on_one_scale(log: xr.Dataset) -> None:
    figure = plots.heatmap(make_frames(log), log, change=True)
    limits = [mesh.get_clim() for axes in figure.axes for mesh in axes.collections if _is_map(mesh)]
    assert len(limits) == 4  # two maps and their colour bars
    assert len(set(limits)) == 1
    assert limits[0][0] == -limits[0][1]
    frames = make_frames(log, places=())
    axes = panel(plots.heatmap(frames, log, change=True), "Energy (eV)")
    _, _, values = mesh_of(axes)
    counts = frames["mu"].values
    expected = counts[0] - counts[:3].mean(axis=0)
    np.testing.assert_allclose(values[:, 0], expected, atol=1e-12)


def _is_map(collection: object) -> bool:
    return isinstance(collection, QuadMesh) and collection.get_cmap().name == "RdBu_r"


def test_cells_meet_half_way_and_a_gap_stays_blank(log: xr.Dataset) -> None:
    frames = make_frames(log, places=())
    edges, _, values = mesh_of(panel(plots.heatmap(frames, log), "Energy (eV)"))
    start, end = hours(frames["time_start"]), hours(frames["time_end"])
    last = int(np.argmax(np.diff(start)))
    blank = np.flatnonzero(np.all(values.mask, axis=0))
    [gap] = [column for column in blank if edges[column + 1] - edges[column] > 0.5]
    # Two minutes of exposure every five: 1.5 min on either side of it.
    assert edges[gap] == pytest.approx(end[last] + 1.5 / 60)
    assert edges[gap + 1] == pytest.approx(start[last + 1] - 1.5 / 60)
    widths = np.delete(np.diff(edges), gap)
    np.testing.assert_allclose(widths, 5 / 60, rtol=1e-6)


def test_positions_are_separate_panels(frames: xr.Dataset, log: xr.Dataset) -> None:
    figure = plots.heatmap(frames, log)
    for place in ("surface", "bulk"):
        own = frames.isel(time=frames["position"].values == place)
        edges, _, values = mesh_of(panel(figure, f"{place}\nEnergy (eV)"))
        middle = (edges[:-1] + edges[1:]) / 2
        drawn = [int(np.argmin(np.abs(middle - at))) for at in hours(own["time"])]
        expected = np.ma.masked_invalid(own["mu"].values.T)
        np.testing.assert_array_equal(values[:, drawn].filled(0), expected.filled(0))
        # A spot is visited every ten minutes: its cells have no holes for the other spot.
        assert np.diff(edges).min() == pytest.approx(10 / 60, rel=1e-6)


def test_voltage_and_current_share_the_time_axis_and_break_between_runs(
    frames: xr.Dataset, log: xr.Dataset
) -> None:
    figure = plots.heatmap(frames, log)
    voltage, current = panel(figure, "Voltage (V)"), panel(figure, "Current (µA)")
    heat = panel(figure, "bulk\nEnergy (eV)")
    assert voltage.get_xlim() == current.get_xlim() == heat.get_xlim()
    assert current.get_xlabel() == "Time since 2026-05-04 08:00:00 UTC (h)"
    x, y = (np.asarray(values) for values in voltage.lines[0].get_data())
    broken = np.isnan(y)
    assert broken.sum() == 1
    np.testing.assert_allclose(x[~broken], hours(log["time"]), atol=1e-12)
    np.testing.assert_array_equal(y[~broken], log["voltage"].values)
    at = int(np.flatnonzero(broken)[0])
    assert x[at - 1] < 9.0
    assert x[at + 1] > 11.0
    drawn = np.asarray(current.lines[1].get_ydata())
    np.testing.assert_allclose(drawn[~broken], log["current"].values * 1e6)
    assert current.lines[1].get_drawstyle() == "steps-pre"


def test_events_stand_at_their_onset_in_their_panels(
    frames: xr.Dataset, log: xr.Dataset, events: list[Event]
) -> None:
    figure = plots.heatmap(frames, log, events=events)
    assert marked(panel(figure, "surface\nEnergy (eV)")) == pytest.approx([13.2, 13.3])
    assert marked(panel(figure, "bulk\nEnergy (eV)")) == pytest.approx([13.3, 20.0])
    for label in ("Voltage (V)", "Current (µA)"):
        assert marked(panel(figure, label)) == pytest.approx([13.2, 13.3, 20.0])
    spans = [
        patch.get_extents().transformed(axes.transData.inverted())
        for axes in [panel(figure, "Current (µA)")]
        for patch in axes.patches
    ]
    assert spans[0].x0 == pytest.approx(13.2 - 20 / 60)
    assert spans[0].x1 == pytest.approx(13.2 + 10 / 60)
    told = written(figure)
    assert (
        "1  departure, zr_k.edge_energy_half at surface: onset 13.20 h (12.87 to 13.37 h)" in told
    )
    assert "3.270 V, charge, cycle 1" in told


def test_many_events_have_numbers_that_do_not_overlap(frames: xr.Dataset, log: xr.Dataset) -> None:
    many = [make_event(13 + 0.31 * k, score=30 - k) for k in range(14)]
    figure = plots.heatmap(frames, log, events=many)
    assert len(marked(panel(figure, "Voltage (V)"))) == 14
    assert "and 5 weaker events marked without a number" in written(figure)
    texts_of(figure)
    boxes = [text.get_window_extent() for text in panel(figure, "Voltage (V)").texts]
    assert boxes
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_a_window_cuts_the_axis(frames: xr.Dataset, log: xr.Dataset) -> None:
    figure = plots.heatmap(frames, log, window=(18000, 18010))
    low, high = panel(figure, "bulk\nEnergy (eV)").get_ylim()
    assert (low, high) == pytest.approx((17999.75, 18010.25))


def test_a_long_lazy_series_is_drawn_by_block_means_in_bounded_memory(log: xr.Dataset) -> None:
    count, width = 12_000, 1500
    ramp = da.arange(count, chunks=500, dtype=np.float64)[:, None] + da.zeros(
        (count, width), chunks=(500, width)
    )
    mid = np.arange(count) / 500
    frames = xr.Dataset(
        {"intensity": (("time", "raman_shift"), ramp, {"units": "counts"})},
        {
            "time": stamps(mid),
            "raman_shift": ("raman_shift", np.arange(width) + 100.0, {"units": "1/cm"}),
        },
        {"technique": "raman"},
    )
    tracemalloc.start()
    with dask.config.set(scheduler="synchronous"):
        figure = plots.heatmap(frames, log)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    _, _, values = mesh_of(panel(figure, "Raman shift (cm⁻¹)"))
    assert values.shape == (500, 1200)
    np.testing.assert_allclose(values[0], np.arange(count).reshape(-1, 10).mean(axis=1))
    assert peak < count * width * 8 * 0.9


@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(1, 12), st.integers(1, 7)
)
def test_block_means_equal_numpy_whatever_the_chunks(
    count: int, width: int, channels: int, most: int, chunk: int
) -> None:
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count, width))
    values[rng.random(values.shape) < 0.2] = np.nan
    gap = rng.random(count - 1) < 0.2
    starts = blocks(gap, most=most)
    lazy = xr.DataArray(da.from_array(values, chunks=(chunk, width)), dims=("time", "x"))
    found = pooled(lazy, starts=starts, channels=channels)
    np.testing.assert_array_equal(
        found, pooled(xr.DataArray(values, dims=("time", "x")), starts=starts, channels=channels)
    )
    for row, (first, last) in enumerate(zip(starts, [*starts[1:], count], strict=True)):
        assert not gap[first : last - 1].any()
        for column in range(found.shape[1]):
            block = values[first:last, column * channels : (column + 1) * channels]
            block = block[np.isfinite(block)]
            expected = block.mean() if block.size else np.nan
            np.testing.assert_allclose(found[row, column], expected, rtol=1e-12, atol=1e-12)


def test_pooled_axis_keeps_the_outer_edges() -> None:
    np.testing.assert_allclose(
        pooled_axis(np.arange(7.0), channels=3), [-0.5, 2.5, 5.5, 6.5], atol=1e-12
    )


def test_a_long_log_keeps_its_spikes() -> None:
    values = np.zeros(100_000)
    values[54_321], values[7], values[3] = 5.0, -3.0, np.nan
    run = (np.arange(values.size) > 60_000).astype(np.int32)
    rows = extremes(values, run)
    assert rows.size < 7000
    assert {54_321, 7, 0, 60_000, 60_001, 99_999} <= set(rows.tolist())
    assert np.all(np.diff(rows) > 0)


# --- observable ---


def test_observable_draws_value_and_sigma_against_time(frames: xr.Dataset, log: xr.Dataset) -> None:
    numbers = make_numbers(frames)
    figure = plots.observable(numbers, log, name="edge_energy_half")
    for place in ("surface", "bulk"):
        own = numbers.isel(time=numbers["position"].values == place)
        good = (own["assessment"].values == 0) & np.isfinite(own["edge_energy_half"].values)
        axes = panel(figure, f"{place}\nEdge energy half (eV)")
        [bars] = [item for item in axes.collections if isinstance(item, LineCollection)]
        ends = np.array(bars.get_segments())
        np.testing.assert_allclose(ends[:, 0, 0], hours(own["time"])[good], atol=1e-12)
        np.testing.assert_allclose(ends.mean(axis=1)[:, 1], own["edge_energy_half"].values[good])
        np.testing.assert_allclose(np.diff(ends[:, :, 1])[:, 0] / 2, 0.05, rtol=1e-6)
        line = next(line for line in axes.lines if line.get_marker() == "o")
        x, y = (np.asarray(values) for values in line.get_data())
        joined = np.isfinite(y[:-1]) & np.isfinite(y[1:])
        assert np.diff(x)[joined].max() < 0.5  # no line over the two hours without beam
        assert np.isfinite(y).sum() == good.sum()


def test_doubted_points_are_grey_and_set_no_limit(frames: xr.Dataset, log: xr.Dataset) -> None:
    figure = plots.observable(make_numbers(frames), log, name="edge_energy_half")
    axes = panel(figure, "surface\nEdge energy half (eV)")
    grey = [line for line in axes.lines if to_rgba(line.get_markeredgecolor()) == to_rgba(DOUBT)]
    assert [np.asarray(line.get_xdata()).size for line in grey] == [2]
    bulk = panel(figure, "bulk\nEdge energy half (eV)")
    assert bulk.get_ylim()[1] < 18006
    told = " ".join(written(figure).split())
    assert "138 of 141 frames believed, 2 low contrast (open grey), 1 without a value" in told
    assert "bulk: 140 of 141 frames believed, 1 low contrast (open grey)" in told


def test_a_verdict_may_be_a_category_or_a_mask_and_a_weak_line_is_believed(
    frames: xr.Dataset,
) -> None:
    numbers = make_numbers(frames).isel(time=slice(0, 4))
    verdicts = np.array([0, 1, 2, 3], np.int32)
    mask = flag_attributes({"short_range": 1, "partial_scan": 2})
    category = category_attributes({"success": 0, "weak": 1, "at_bound": 2, "poor_fit": 3})
    masked = numbers.assign(assessment=("time", verdicts, mask))
    trusted, doubted = believed(masked, "edge_energy_half")
    assert trusted.tolist() == [True, False, False, False]
    assert doubted == {"short_range": 2, "partial_scan": 2}
    sorted_ = numbers.assign(assessment=("time", verdicts, category))
    trusted, doubted = believed(sorted_, "edge_energy_half")
    assert trusted.tolist() == [True, True, False, False]
    assert doubted == {"at_bound": 1, "poor_fit": 1}


def test_against_voltage_only_covered_frames_by_cycle_and_direction(
    frames: xr.Dataset, log: xr.Dataset
) -> None:
    numbers = make_numbers(frames)
    figure = plots.observable(numbers, log, name="edge_energy_half")
    [axes] = [axes for axes in figure.axes if axes.get_xlabel() == "Voltage (V)"]
    lines = [line for line in axes.lines if line.get_marker() in ("^", "v", "o")]
    own = numbers.isel(time=numbers["position"].values == "bulk")
    good = (own["assessment"].values == 0) & np.isfinite(own["voltage"].values)
    good &= np.isfinite(own["edge_energy_half"].values)
    for marker, style, way in (("^", "-", "charge"), ("v", "--", "discharge")):
        drawn = [line for line in lines if line.get_marker() == marker]
        assert {line.get_linestyle() for line in drawn} == {style}
        points = np.concatenate([np.asarray(line.get_xydata()) for line in drawn])
        chosen = good & (own["state"].values == STATES[way])
        expected = np.stack([own["voltage"].values, own["edge_energy_half"].values], axis=1)
        np.testing.assert_allclose(points, expected[chosen])
    assert len({to_rgba(line.get_color()) for line in lines if line.get_marker() == "^"}) == 2


def test_an_event_rings_its_frame_against_voltage(frames: xr.Dataset, log: xr.Dataset) -> None:
    numbers = make_numbers(frames)
    figure = plots.observable(
        numbers, log, name="edge_energy_half", events=[make_event(20.0, position="bulk")]
    )
    [axes] = [axes for axes in figure.axes if axes.get_xlabel() == "Voltage (V)"]
    [ring] = [line for line in axes.lines if to_rgba(line.get_markeredgecolor()) == to_rgba(EVENT)]
    own = numbers.isel(time=numbers["position"].values == "bulk")
    at = int(np.argmin(np.abs(hours(own["time"]) - 20.0)))
    assert np.asarray(ring.get_xdata()).item() == own["voltage"].values[at]


def test_one_line_of_many_is_drawn(frames: xr.Dataset, log: xr.Dataset) -> None:
    numbers = make_numbers(frames).expand_dims(line=["a", "b"], axis=1)
    numbers = numbers.assign_coords(position=frames["position"])
    plots.observable(numbers.sel(line="b"), log, name="edge_energy_half")
    with pytest.raises(RequestError, match="is no number on time alone"):
        plots.observable(numbers, log, name="edge_energy_half")


# --- spectra ---


def test_spectra_are_the_frames_coloured_by_voltage(frames: xr.Dataset) -> None:
    figure = plots.spectra(frames, count=5)
    own = frames.isel(time=frames["position"].values == "surface")
    usable = np.flatnonzero(np.isfinite(own["voltage"].values) & (own["frame_flag"].values == 0))
    lines = panel(figure, "surface").lines
    assert len(lines) == 5
    chosen = [
        int(np.flatnonzero((own["mu"].values == np.asarray(line.get_ydata())).all(axis=1))[0])
        for line in lines
    ]
    assert (chosen[0], chosen[-1]) == (usable[0], usable[-1])
    assert set(chosen) <= set(usable.tolist())
    bar = panel(figure, "Voltage (V)")
    norm = Normalize(*bar.get_ylim())
    for index, line in zip(chosen, lines, strict=True):
        expected = on_white()(norm(own["voltage"].values[index]))
        np.testing.assert_allclose(to_rgba(line.get_color()), expected, atol=0.01)


def test_below_is_the_difference_to_the_first(frames: xr.Dataset) -> None:
    figure = plots.spectra(frames, count=4)
    upper = panel(figure, "bulk").lines
    lower = [axes for axes in figure.axes if "Difference" in axes.get_ylabel()][1].lines[1:]
    first = np.asarray(upper[0].get_ydata())
    for above, below in zip(upper, lower, strict=True):
        expected = np.asarray(above.get_ydata()) - first
        np.testing.assert_array_equal(np.asarray(below.get_ydata()), expected)


def test_the_frame_at_an_onset_is_among_the_spectra(frames: xr.Dataset) -> None:
    figure = plots.spectra(frames, count=3, events=[make_event(13.2)], since=START)
    labels = [str(line.get_label()) for line in panel(figure, "surface").lines]
    assert len(labels) == 4
    assert any(label.endswith("(1)") and abs(float(label[:-4]) - 13.2) < 0.2 for label in labels)


def test_only_the_selected_frames_are_loaded(frames: xr.Dataset) -> None:
    loaded: list[int] = []

    def note(block: Array) -> Array:
        loaded.append(block.shape[0])
        return block

    values = frames["mu"].values
    lazy = da.from_array(values, chunks=(1, values.shape[1]))
    noted = da.map_blocks(note, lazy, dtype=lazy.dtype, meta=np.empty((0, 0)))
    plots.spectra(frames.assign(mu=(("time", "energy"), noted, frames["mu"].attrs)), count=3)
    assert sum(loaded) == 6


def test_frames_without_electrochemistry_are_grey(frames: xr.Dataset) -> None:
    bare = frames.drop_vars(["voltage", "state", "cycle", "half_cycle"])
    figure = plots.spectra(bare, count=3)
    assert {line.get_color() for line in panel(figure, "bulk").lines} == {DOUBT}
    assert "No frame is covered" in written(figure)


# --- volumes ---


def make_volumes(log: xr.Dataset) -> xr.Dataset:
    z, y, x = np.meshgrid(np.arange(9), np.arange(40), np.arange(60), indexing="ij")
    values = np.ones((4, 9, 40, 60))
    for index in range(4):
        hole = (x - 30) ** 2 + (y - 20) ** 2 + (z - 4) ** 2 < (4 + 3 * index) ** 2
        values[index][hole] = 0.2
    mid = np.array([1.0, 5.0, 13.0, 17.0])
    axes = {
        name: (name, 1.6 * np.arange(size), {"units": "micrometre"})
        for name, size in zip("zyx", values.shape[1:], strict=True)
    }
    return xr.Dataset(
        {"attenuation": (("time", "z", "y", "x"), values, {"units": "1/cm"})},
        {"time": stamps(mid), **axes, **state_of(mid, log)},
        {"technique": "tomography"},
    )


def test_volumes_show_the_central_slice_and_load_no_other(log: xr.Dataset) -> None:
    dataset = make_volumes(log)
    loaded: list[int] = []

    def note(block: Array) -> Array:
        loaded.append(block.size)
        return block

    lazy = da.from_array(dataset["attenuation"].values, chunks=(1, 1, 40, 60))
    noted = da.map_blocks(note, lazy, dtype=lazy.dtype, meta=np.empty((0, 0, 0, 0)))
    lazily = dataset.assign(attenuation=(dataset["attenuation"].dims, noted, {"units": "1/cm"}))
    figure = plots.volumes(
        lazily, threshold=0.6, events=[make_event(12.5, position="")], since=START
    )
    assert sum(loaded) == 4 * 40 * 60
    slices = [axes for axes in figure.axes if "h," in axes.get_title()]
    for index, axes in enumerate(slices):
        _, _, values = mesh_of(axes)
        np.testing.assert_array_equal(values, dataset["attenuation"].values[index, 4])
    assert ["after event 1" in axes.get_title() for axes in slices] == [False, False, True, True]


# --- all of them ---


def every_figure(frames: xr.Dataset, log: xr.Dataset, events: list[Event]) -> dict[str, Figure]:
    numbers = make_numbers(frames)
    return {
        "heatmap": plots.heatmap(frames, log, events=events),
        "observable": plots.observable(numbers, log, name="edge_energy_half", events=events),
        "spectra": plots.spectra(frames, events=events),
        "volumes": plots.volumes(make_volumes(log), events=events[1:2]),
    }


def test_no_label_is_clipped_and_names_do_no_harm(log: xr.Dataset) -> None:
    names = ("<b>$\\frac{1$", "\u202eback\nline é中 with a name far too long for any panel")
    strange = make_frames(log, places=names)
    for name, figure in every_figure(strange, log, [make_event(13.2, position=names[1])]).items():
        texts_of(figure)
        page = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert page.x0 > -0.01, name
        assert page.y0 > -0.01, name
        assert page.x1 < width + 0.01, name
        assert page.y1 < height + 0.01, name
        for axes in figure.axes:
            legend = axes.get_legend()
            for text in [*axes.texts, *(legend.get_texts() if legend else [])]:
                box = text.get_window_extent()
                assert -1 < box.x0 < box.x1 < figure.bbox.x1 + 1, (name, text)
                assert -1 < box.y0 < box.y1 < figure.bbox.y1 + 1, (name, text)


def test_saved_twice_is_the_same_bytes_under_any_settings(
    frames: xr.Dataset, log: xr.Dataset, events: list[Event], tmp_path: Path
) -> None:
    for name, figure in every_figure(frames, log, events).items():
        plots.save(figure, tmp_path / f"{name}.1")
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other", "lines.linewidth": 9}):
        for name, figure in every_figure(frames, log, events).items():
            plots.save(figure, tmp_path / f"{name}.2")
        assert mpl.rcParams["font.size"] == 30
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 16
    for name in ("heatmap", "observable", "spectra", "volumes"):
        for suffix in ("png", "svg"):
            first, second = (tmp_path / f"{name}.{k}.{suffix}" for k in (1, 2))
            assert first.read_bytes() == second.read_bytes(), first.name
    assert (tmp_path / "heatmap.1.png").read_bytes()[:4] == b"\x89PNG"
    svg = (tmp_path / "heatmap.1.svg").read_text(encoding="utf-8")
    assert svg.rstrip().endswith("</svg>")
    assert "<dc:date>" not in svg


def test_drawing_leaves_the_global_state_of_matplotlib_alone() -> None:
    code = (
        "import sys, matplotlib as mpl; now = lambda: str(mpl.rcParams.copy());"
        "before = now(); import operando.plots;"
        "from operando.plots.style import look\n"
        "with look(): pass\n"
        "assert 'matplotlib.pyplot' not in sys.modules; assert now() == before"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"signal": "nu"}, "signal: 'nu' unknown"),
        ({"window": (1.0, 2.0)}, "window: .* holds no point; energy runs from"),
    ],
)
def test_an_impossible_request_says_what_there_is(
    frames: xr.Dataset, log: xr.Dataset, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        plots.heatmap(frames, log, **request_)
    with pytest.raises(RequestError, match=message):
        plots.spectra(frames, **request_)


def test_volumes_are_no_spectra(log: xr.Dataset) -> None:
    with pytest.raises(RequestError, match="expected time and one axis"):
        plots.heatmap(make_volumes(log), log)


def test_a_lone_instant_without_state_is_drawn(log: xr.Dataset) -> None:
    frames = make_frames(log, places=()).isel(time=[50])
    frames = frames.drop_vars(["voltage", "state", "cycle", "half_cycle", "time_start", "time_end"])
    edges, _, values = mesh_of(panel(plots.heatmap(frames, log), "Energy (eV)"))
    assert np.diff(edges) == pytest.approx([1 / 60])
    np.testing.assert_array_equal(values[:, 0], frames["mu"].values[0])
    plots.spectra(frames)
