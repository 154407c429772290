"""Nyquist figures: equal axes, what is drawn is what was measured, refused circuits are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from operando import plots
from operando.errors import RequestError
from operando.model import FRAME_FLAGS, STATES, category_attributes, flag_attributes
from operando.observables import track_resistance
from operando.observables.impedance import fitted_impedance
from operando.simulate.impedance import CABLE, FREQUENCY, Impedance, grown, noisy, series

HOURS = np.arange(30.0)
SMALL_ARC = Impedance(resistance=(2.0, 60.0), tail=30.0)

EVEN = Impedance(resistance=(2.0, 4.0), tail=0.5)


def sweeps(count: int = 30, *, cell: Impedance | None = None) -> xr.Dataset:
    hours = HOURS[:count]
    first = grown(hours, initial=2.0, rate=0.4, exponent=0.5)
    frames = series(hours, first_arc=first, cell=cell or SMALL_ARC)
    voltage = 3.5 + 0.3 * np.sin(hours / 6)
    return frames.assign_coords(voltage=("time", voltage, {"units": "V"}))


def panels(shown: Figure) -> list[Axes]:
    return [axes for axes in shown.axes if axes.get_xlabel() == "Z′ (Ω)"]


def texts(shown: Figure) -> str:
    return " ".join(text.get_text() for axes in shown.axes for text in axes.texts)


def test_axes_are_equal_on_paper_and_capacitive_arcs_point_up(tmp_path: Path) -> None:
    shown = plots.nyquist(sweeps(4))
    plots.save(shown, tmp_path / "equal")
    for axes in panels(shown):
        box = axes.get_window_extent()
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert (right - left) / box.width == pytest.approx((top - bottom) / box.height, rel=1e-3)
    drawn = panels(shown)[0].lines[1]
    frames = sweeps(4)
    np.testing.assert_array_equal(drawn.get_xdata(), frames["impedance"][0].real)
    np.testing.assert_array_equal(drawn.get_ydata(), -frames["impedance"][0].imag)


def test_decades_are_marked_where_they_are_and_named() -> None:
    shown = plots.nyquist(sweeps(2))
    marked = panels(shown)[0].lines[2]
    decades = np.isclose(np.log10(FREQUENCY) % 1, 0, atol=1e-6)
    frames = sweeps(2)["impedance"]
    np.testing.assert_array_equal(np.sort(marked.get_xdata()), np.sort(frames[0].real[decades]))
    assert {"1 Hz", "100 mHz"} <= {text.get_text() for text in panels(shown)[0].texts}


def test_few_sweeps_have_names_and_many_a_colour_bar() -> None:
    legend = panels(plots.nyquist(sweeps(5)))[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1", "2", "3", "4"]
    many = plots.nyquist(sweeps(30), count=20)
    assert panels(many)[0].get_legend() is None
    assert any(axes.get_ylabel().startswith("Time since 2026-05-04") for axes in many.axes)
    by_voltage = plots.nyquist(sweeps(30), count=20, colour="voltage")
    assert any(axes.get_ylabel() == "Voltage (V)" for axes in by_voltage.axes)


def test_only_as_many_sweeps_as_asked_for_are_drawn_with_first_and_last() -> None:
    shown = plots.nyquist(sweeps(30), count=3)
    assert "3 of 30 sweeps" in texts(shown)
    frames = sweeps(30)["impedance"]
    first, last = panels(shown)[0].lines[1], panels(shown)[0].lines[5]
    np.testing.assert_array_equal(first.get_xdata(), frames[0].real)
    np.testing.assert_array_equal(last.get_xdata(), frames[-1].real)


def test_a_small_fast_arc_has_a_panel_of_its_own() -> None:
    frames = sweeps(10)
    fits = track_resistance(frames["impedance"], tail=True)
    whole, fast = panels(plots.nyquist(frames, fits=fits))
    assert fast.get_title("left") == "fastest arc"
    assert np.ptp(whole.get_xlim()) > 4 * np.ptp(fast.get_xlim())
    assert fast.get_xlim()[0] < 10 < 12 < fast.get_xlim()[1]
    assert len(panels(plots.nyquist(sweeps(10, cell=EVEN)))) == 1


def test_without_fits_the_panel_is_where_the_sweep_has_its_first_valley() -> None:
    apart = replace(SMALL_ARC, time_constant=(1e-6, 3e-2), exponent=(1.0, 1.0))
    _, fast = panels(plots.nyquist(sweeps(10, cell=apart)))
    assert fast.get_xlim()[0] < 10 < 12 < fast.get_xlim()[1] < 20


def test_fits_are_the_circuit_and_refused_ones_are_counted() -> None:
    frames = sweeps(6)
    fits = track_resistance(frames["impedance"], tail=True)
    np.testing.assert_allclose(
        fitted_impedance(fits, FREQUENCY), frames["impedance"], rtol=0.02, atol=0.02
    )
    lines = panels(plots.nyquist(frames, fits=fits))[0].lines
    fitted = fitted_impedance(fits.isel(time=[0]), FREQUENCY[[0, -1]]).values[0]
    np.testing.assert_allclose(np.asarray(lines[3].get_xdata())[[0, -1]], fitted.real)
    hidden = noisy(np.tile(CABLE.at(FREQUENCY), (6, 1)), noise=0.002, seed=1)
    cable = frames.assign(impedance=frames["impedance"].copy(data=hidden))
    shown = plots.nyquist(cable, fits=track_resistance(cable["impedance"], tail=True))
    assert "not drawn for 6 of them" in texts(shown)
    assert "inductive points below the frame" in texts(shown)


def test_every_position_has_a_row_and_faulty_sweeps_are_left_out() -> None:
    flag = np.zeros(10, np.int32)
    flag[3] = FRAME_FLAGS["unreadable"]
    frames = sweeps(10, cell=EVEN).assign_coords(
        position=("time", ["surface", "bulk"] * 5),
        frame_flag=("time", flag, flag_attributes(FRAME_FLAGS)),
    )
    shown = plots.nyquist(frames, count=20)
    assert [axes.get_title("left") for axes in panels(shown)] == ["surface", "bulk"]
    assert "bulk: 4 of 5 sweeps" in texts(shown)


def test_missing_points_and_lazy_data_can_be_drawn(tmp_path: Path) -> None:
    frames = sweeps(6)
    frames["impedance"][2, ::3] = complex(np.nan, np.nan)
    frames["impedance"][4] = complex(np.nan, np.nan)
    lazy = frames.chunk(time=2)
    for name in ("one", "other"):
        plots.save(plots.nyquist(lazy), tmp_path / name)
    for suffix in ("png", "svg"):
        one, other = (tmp_path / f"{name}.{suffix}" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()


def test_resistances_are_drawn_with_the_voltage_by_the_figure_of_observables() -> None:
    frames = sweeps(30)
    state = np.full(30, STATES["charge"], np.int32)
    frames = frames.assign_coords(
        state=("time", state, category_attributes(STATES)),
        cycle=("time", np.zeros(30, np.int32), {"units": "1"}),
        half_cycle=("time", np.zeros(30, np.int32), {"units": "1"}),
    )
    log = xr.Dataset(
        {
            "voltage": ("time", frames["voltage"].values, {"units": "V"}),
            "run": ("time", np.zeros(30, np.int32), {"units": "1"}),
        },
        {"time": frames["time"].values},
        {"technique": "electrochemistry"},
    )
    numbers = track_resistance(frames["impedance"], tail=True).sel(arc=1)
    numbers["resistance_assessment"][7] = 4
    shown = plots.observable(numbers, log, name="resistance")
    assert "29 of 30 frames believed, 1 drift" in texts(shown)
    assert any("Resistance of the arc (Ω)" in axes.get_ylabel() for axes in shown.axes)


def test_requests_that_make_no_sense_say_what_was_expected() -> None:
    frames = sweeps(5)
    fits = track_resistance(sweeps(4)["impedance"], tail=True)
    wrong: list[tuple[xr.Dataset, dict[str, Any], str]] = [
        (frames.drop_vars("impedance"), {}, "expected impedance"),
        (frames.isel(time=slice(0)), {}, "no sweeps"),
        (frames, {"colour": "charge"}, "'time' or 'voltage'"),
        (frames.drop_vars("voltage"), {"colour": "voltage"}, "not aligned"),
        (frames, {"fits": fits}, "of these sweeps"),
    ]
    for data, options, message in wrong:
        with pytest.raises(RequestError, match=message):
            plots.nyquist(data, **options)
