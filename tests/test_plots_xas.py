"""Figures of absorption spectra: the edge with its uncertainties, fractions, derived spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from operando import plots
from operando.errors import RequestError
from operando.model import STATES, flag_attributes
from operando.plots.series import believed
from operando.plots.style import DOUBT

Array = npt.NDArray[Any]
START = np.datetime64("2026-05-04T08:00:00", "ns")
COUNT = 40
FLAGS = {"no_crossing": 1, "glitch": 2}


def stamps(hours: Array) -> Array:
    return START + np.round(np.asarray(hours) * 3.6e12).astype("m8[ns]")


@pytest.fixture(scope="module")
def log() -> xr.Dataset:
    hours = np.linspace(0, 10, 600)
    return xr.Dataset(
        {
            "voltage": ("time", 3 + 0.1 * hours, {"units": "V"}),
            "current": ("time", np.full(600, 1e-3), {"units": "A"}),
            "run": ("time", np.zeros(600, np.int32), {"units": "1"}),
        },
        {"time": stamps(hours)},
    )


def coordinates() -> dict[str, Any]:
    """40 exposures of 0.2 h; two positions in turn, all on charge."""
    start = 0.24 * np.arange(COUNT)
    return {
        "time": stamps(start + 0.1),
        "time_start": ("time", stamps(start)),
        "time_end": ("time", stamps(start + 0.2)),
        "position": ("time", np.array(["interface", "bulk"] * (COUNT // 2))),
        "voltage": ("time", 3 + 0.1 * (start + 0.1), {"units": "V"}),
        "net_capacity": ("time", 1e-3 * (start + 0.1), {"units": "A h"}),
        "cycle": ("time", np.zeros(COUNT, np.int32)),
        "half_cycle": ("time", np.zeros(COUNT, np.int32)),
        "state": ("time", np.full(COUNT, STATES["charge"], np.int32)),
    }


@pytest.fixture
def edges() -> xr.Dataset:
    shift = np.where(np.arange(COUNT) % 2 == 0, -0.01 * np.arange(COUNT), 0.0)
    units = {"units": "eV"}
    mask = np.zeros(COUNT, np.int32)
    mask[4], mask[6:10] = 1, 2
    return xr.Dataset(
        {
            "edge_shift": ("time", shift, units),
            "edge_shift_sigma": ("time", np.full(COUNT, 0.05), units),
            "edge_sigma_stat": ("time", np.full(COUNT, 0.03), units),
            "edge_sigma_drift": ("time", np.full(COUNT, 0.04), units),
            "edge_sigma_norm": ("time", np.zeros(COUNT), units),
            "assessment": ("time", mask, {**flag_attributes(FLAGS), "cautions": 2}),
        },
        coordinates(),
        {"kind": "edge", "baseline": "the mean of the first 3 frames"},
    )


def panel(figure: Figure, label: str) -> Axes:
    return next(axes for axes in figure.axes if label in axes.get_ylabel())


def written(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_a_caution_is_no_reason_to_disbelieve(edges: xr.Dataset) -> None:
    trusted, doubted = believed(edges, "edge_shift")
    assert np.flatnonzero(~trusted).tolist() == [4]
    assert doubted == {"no_crossing": 1}
    assert believed(edges, "edge_shift", cautions=True)[1] == {"glitch": 4}


def test_the_edge_against_time_voltage_and_charge(edges: xr.Dataset, log: xr.Dataset) -> None:
    figure = plots.edge(edges, log)
    time = panel(figure, "interface")
    line = next(item for item in time.lines if len(np.asarray(item.get_xdata())) == COUNT // 2)
    drawn = np.asarray(line.get_ydata())
    truth = edges["edge_shift"].values[::2].copy()
    truth[2] = np.nan  # not believed
    np.testing.assert_allclose(drawn, truth)
    charge = next(axes for axes in figure.axes if axes.get_xlabel() == "Net charge (mA h)")
    xs = np.concatenate([np.asarray(item.get_xdata()) for item in charge.lines])
    assert set(np.round(edges["net_capacity"].values[1::2] * 1e3, 9)) <= set(np.round(xs, 9))
    assert any(
        item.get_markeredgecolor() == DOUBT and len(np.asarray(item.get_xdata())) == 1
        for item in time.lines
    )
    text = written(figure)
    assert "the mean of the first 3 frames" in text
    assert "1 no crossing (open grey)" in text
    assert "2 glitch (caution)" in text


def test_all_parts_of_the_sigma_are_drawn_or_named(edges: xr.Dataset, log: xr.Dataset) -> None:
    figure = plots.edge(edges, log)
    sigma = panel(figure, "Sigma")
    by_label = {str(line.get_label()): np.asarray(line.get_ydata()) for line in sigma.lines}
    assert set(by_label) == {"noise", "energy drift", "normalisation: none", "total"}
    np.testing.assert_allclose(by_label["energy drift"], 0.04)
    np.testing.assert_allclose(by_label["total"], 0.05)
    assert sigma.get_yscale() == "log"


def test_an_edge_needs_an_edge(edges: xr.Dataset, log: xr.Dataset) -> None:
    with pytest.raises(RequestError, match=r"lack \['edge_sigma_norm'\]"):
        plots.edge(edges.drop_vars("edge_sigma_norm"), log)
    with pytest.raises(RequestError, match="no 'fraction' on time and component"):
        plots.fractions(edges, log)


@pytest.fixture
def parts() -> xr.Dataset:
    metal = np.linspace(0, 0.45, COUNT)
    values = np.stack([1 - metal, metal], axis=1)
    mask = np.zeros(COUNT, np.int32)
    mask[10] = 1
    return xr.Dataset(
        {
            "fraction": (("time", "component"), values, {"units": "1"}),
            "fraction_sigma": (("time", "component"), np.full((COUNT, 2), 0.01), {"units": "1"}),
            "assessment": ("time", mask, flag_attributes(FLAGS)),
        },
        {**coordinates(), "component": ["Zr4+", "metal"]},
        {"kind": "fractions"},
    )


def test_fractions_are_stacked_under_the_voltage(parts: xr.Dataset, log: xr.Dataset) -> None:
    figure = plots.fractions(parts, log)
    voltage, interface = figure.axes[0], panel(figure, "interface")
    assert voltage.get_ylabel() == "Voltage (V)"
    assert voltage.get_position().y0 > interface.get_position().y1
    first, second = (
        np.concatenate([np.asarray(path.vertices) for path in item.get_paths()])
        for item in interface.collections
        if isinstance(item, PolyCollection)
    )
    lower = parts["fraction"].values[::2, 1]
    assert np.isin(np.round(lower[:5], 9), np.round(first[:, 1], 9)).all()
    assert np.nanmax(second[:, 1]) == pytest.approx(1.0)
    # The frame that should not be believed is blank.
    assert not np.isin(np.round(lower[5], 9), np.round(first[:, 1], 9))
    labels = [text.get_text() for text in interface.get_legend().get_texts()]  # type: ignore[union-attr]
    assert labels == ["metal", "Zr4+"]
    assert interface.get_ylim() == (0.0, 1.0)


def test_a_few_per_cent_are_shown_on_a_cut_axis(parts: xr.Dataset, log: xr.Dataset) -> None:
    parts["fraction"][:, 1] *= 0.2
    parts["fraction"][:, 0] = 1 - parts["fraction"][:, 1]
    figure = plots.fractions(parts, log)
    assert panel(figure, "bulk").get_ylim()[1] == pytest.approx(1.25 * 0.09)
    assert "all the rest up to 1 is Zr4+" in written(figure)


def test_derived_spectra_have_panels_of_their_own(log: xr.Dataset) -> None:
    energy = np.linspace(8300, 8400, 101)
    values = np.arange(COUNT)[:, None] + energy
    frames = xr.Dataset(
        {"mu": (("time", "energy"), values, {"units": "1"})},
        {**coordinates(), "energy": ("energy", energy, {"units": "eV"})},
        {"technique": "xas"},
    )
    derived = frames["mu"] * 0 + 7
    figure = plots.spectra(
        frames,
        count=4,
        window=(8320, 8360),
        below={"Derivative": derived, "Change": frames["mu"] * 0 - 2},
    )
    for label, value in (("Derivative", 7), ("Change", -2)):
        lines = [
            line for line in panel(figure, label).lines if len(np.asarray(line.get_xdata())) > 2
        ]
        assert len(lines) == 4
        for line in lines:
            np.testing.assert_allclose(np.asarray(line.get_ydata()), value)
            assert np.asarray(line.get_xdata()).min() == 8320
