"""From raw scans to the event: Zr reduced at an interface, with drift, dose and noise on top.

The truth is that of the simulation; `benchmarks/zr_interface.py` does the same 300 times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando.corrections import energy_drift, normalised, shift_energy
from operando.observables import fractions, track_edge
from operando.simulate.zr_series import Series, zr_series

RANGES: dict[str, Any] = {"e0": 18003.0, "pre": (-140.0, -50.0), "post": (100.0, 600.0)}
SCAN = np.timedelta64(510, "s")


@pytest.fixture(scope="module", params=range(3))
def series(request: pytest.FixtureRequest) -> Series:
    return zr_series(noise=1e-3, seed=request.param)


@pytest.fixture(scope="module")
def frames(series: Series) -> xr.Dataset:
    return operando.align(series.frames, operando.prepare(series.log))


@pytest.fixture(scope="module")
def metal(frames: xr.Dataset) -> xr.Dataset:
    """The part that is metal; every standard comes from the series itself."""
    drift = energy_drift(frames["mu_reference"], window=(17975.0, 18040.0))
    aligned = shift_energy(frames, drift)
    norm = normalised(aligned["mu"], **RANGES)["norm"]
    foil = normalised(aligned["mu_reference"], **RANGES)["norm"]
    bulk = norm[frames["position"].values == "bulk"]
    shares = fractions(
        norm,
        standards={"Zr4+": norm[:20].mean("time"), "metal": foil.mean("time")},
        differences={"damage": bulk[-40:].mean("time") - bulk[:40].mean("time")},
        window=(17980.0, 18060.0),
        normalisation={**RANGES, "degree": 2},
    )
    return shares.sel(component="metal", drop=True)


def test_the_part_that_is_metal_is_recovered(series: Series, metal: xr.Dataset) -> None:
    error = metal["fraction"].values - series.fraction
    assert np.abs(error).max() <= 0.01
    pulls = (error / np.asarray(metal["fraction_sigma"]))[series.fraction > 0.01]
    assert 0.75 < pulls.std() < 1.35  # of some 100 frames


def test_only_the_interface_departs_and_when_it_did(series: Series, metal: xr.Dataset) -> None:
    value, sigma = metal["fraction"], metal["fraction_sigma"]
    spot = {
        name: np.flatnonzero(metal["position"].values == name) for name in ("interface", "bulk")
    }
    names: dict[str, Any] = {
        "measurement": "xas",
        "technique": "xas",
        "observable": "species.metal",
    }
    quiet = (value[spot["bulk"]], sigma[spot["bulk"]])
    in_bulk = operando.departures(
        *quiet, position="bulk", reversible="none", control="bulk", **names
    )
    assert in_bulk.events == []
    rows = spot["interface"]
    [event] = operando.departures(
        value[rows], sigma[rows], position="interface", reversible="none", quiet=quiet, **names
    ).events
    assert abs(event.onset.time - series.onset) < 2 * SCAN
    # The interval is one of 95 %: with its neighbouring scans it holds the truth each time.
    assert event.onset_earliest - SCAN <= series.onset <= event.onset_latest + SCAN
    assert event.size == pytest.approx(series.fraction.max(), abs=0.01)


def test_the_edge_and_its_parts_are_recovered(series: Series, frames: xr.Dataset) -> None:
    edge = track_edge(frames["mu"], reference=frames["mu_reference"], **RANGES)
    truth = track_edge(series.clean, **RANGES)
    error = (edge["edge_shift"] - truth["edge_shift"]).values
    known = np.hypot(edge["edge_sigma_stat"].values, edge["edge_sigma_drift"].values)
    assert 0.8 < (error / known)[6:].std() < 1.2
    step = (edge["edge_step"] - truth["edge_step"]) / edge["edge_step_sigma"]
    assert 0.85 < np.asarray(step).std() < 1.15
    off = np.asarray(edge["energy_correction"]) - series.drift
    assert np.abs(off - off.mean()).max() < 0.03  # of 0.3 eV
    at_interface = frames["position"].values == "interface"
    assert edge["edge_shift"].values[at_interface][-10:].mean() < -0.15
    # Damage takes from the white line of the bulk, too: that is no reduction.
    assert abs(edge["edge_shift"].values[~at_interface][-10:].mean()) < 0.1
