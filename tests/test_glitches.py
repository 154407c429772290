"""Glitches: injected ones are found, clean spectra are left alone at the stated rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from operando.corrections.glitches import mask_glitches
from operando.errors import RequestError
from operando.model import check

Array = npt.NDArray[np.float64]

E0 = 8345.0
EDGE = (E0 - 20, E0 + 60)
ENERGY = np.r_[np.arange(8200.0, 8320, 5), np.arange(8320, 8400, 0.5), np.arange(8400, 8900, 2.0)]


BENDS = (49, 111)
"""Sharpest bends of this edge: around a huge glitch there the neighbours are masked, not it."""


def edge(energy: Array, centre: float = E0, line: float = 0.6) -> Array:
    """An edge with a narrow pre-edge peak, a white line and oscillations."""
    x = energy - centre
    wave = np.sin(2 * np.sqrt(0.2625 * np.clip(x, 0, None)) * 2.0) * np.exp(-x / 200)
    peaks = line * np.exp(-(((x - 6) / 3) ** 2)) + 0.15 * np.exp(-((x + 9) ** 2))
    return np.asarray(np.arctan(x / 1.5) / np.pi + 0.5 + peaks + np.where(x > 15, 0.12 * wave, 0))


def series(count: int, noise: float = 1e-3, *, change: float = 0.0, seed: int = 0) -> xr.Dataset:
    """Scans of an edge that moves by `change` eV while its white line grows by a third."""
    rng = np.random.default_rng(seed)
    part = np.linspace(0, 1, count)
    mu = np.stack([edge(ENERGY, E0 + change * f, 0.6 + 0.2 * f * (change > 0)) for f in part])
    foil = np.broadcast_to(0.7 * edge(ENERGY, E0 - 3, 0.2) + 2e-4 * (ENERGY - E0), mu.shape)
    time = np.datetime64("2026-05-04T10:00:00", "ns") + np.arange(count) * np.timedelta64(60, "s")
    return xr.Dataset(
        {
            name: (
                ("time", "energy"),
                values + noise * rng.standard_normal(values.shape),
                {"units": "1"},
            )
            for name, values in (("mu", mu), ("mu_reference", foil))
        },
        {
            "time": time,
            "time_start": ("time", time),
            "time_end": ("time", time),
            "energy": ("energy", ENERGY, {"units": "eV"}),
        },
        {"technique": "xas"},
    )


@pytest.mark.parametrize("noise", [1e-4, 1e-3, 1e-2])
def test_clean_spectra_are_left_alone_at_the_stated_rate(noise: float) -> None:
    """2000 scans of two channels, of an edge that moves and grows."""
    frames = series(2000, noise, change=1.5)
    done = mask_glitches(frames, edge=EDGE, false_alarm=5e-3)
    touched = (done["glitches"] > 0).sum().item()
    assert touched <= 2000 * 2 * 5e-3 * 2  # noise is known to some per cent, at five sigma
    inside = done["glitch"].sel(energy=slice(*EDGE)).sum().item()
    assert inside <= touched / 2  # 160 of its 434 points are of the edge: none of it is the edge's
    clean = done["glitch"] == 0
    xr.testing.assert_identical(done["mu"].where(clean), frames["mu"].where(clean))


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_short_series_are_left_alone(count: int) -> None:
    total = sum(
        mask_glitches(series(count, seed=seed), edge=EDGE)["glitches"].sum().item()
        for seed in range(20)
    )
    assert total <= 1


def test_noise_that_grows_along_the_spectrum_is_no_glitch() -> None:
    frames = series(300)
    extra = 4e-3 * np.random.default_rng(1).standard_normal(frames["mu"].shape)
    frames["mu"] += extra * (ENERGY > 8600)
    touched = (mask_glitches(frames, edge=EDGE)["glitches"] > 0).sum().item()
    assert touched <= 3


@given(st.integers(3, 430), st.integers(1, 3), st.sampled_from([-1.0, 1.0]), st.integers(0, 29))
@example(110, 1, -1.0, 0)
@example(111, 1, -1.0, 0)
@settings(max_examples=40, deadline=None)
def test_an_injected_glitch_is_found(at: int, width: int, sign: float, row: int) -> None:
    frames = series(30)
    clean = frames.copy(deep=True)
    at = min(max(at, 2 * width), ENERGY.size - 1 - 3 * width)  # as near to an end as it is judged
    joins = np.array([24, 184])  # where the step of the grid changes points are hardly judged
    assume(np.abs(at + (width - 1) / 2 - joins).min() > 8)
    inside = EDGE[0] - 3 <= ENERGY[at] <= EDGE[1] + 3
    assume(width == 1 or not inside)
    frames["mu"][row, at : at + width] += sign * (2.0 if inside else 0.02)
    done = mask_glitches(frames, edge=EDGE)
    found = np.argwhere(done["glitch"].values)
    assert len(found) > 0  # the scan is counted, come what may
    if at not in BENDS:
        assert {(row, at + i) for i in range(width)} <= {(int(a), int(b)) for a, b in found}
    assert set(found[:, 0].tolist()) == {row}
    # At 6 of the edge's 166 points a glitch of two steps takes neighbours along, 18 at most.
    assert done["glitches"].values[row] == len(found) <= (20 if inside else width + 1)
    if width == 1 and not inside:  # what stood there is restored
        left = done["mu"].values[row, at] - clean["mu"].values[row, at]
        assert abs(left) < 0.01


def test_a_glitch_of_one_channel_is_masked_in_both() -> None:
    frames = series(20)
    frames["mu_reference"][7, 300] -= 0.1
    done = mask_glitches(frames, edge=EDGE)
    assert np.argwhere(done["glitch"].values).tolist() == [[7, 300]]
    for name in ("mu", "mu_reference"):
        others = np.delete(np.arange(ENERGY.size), 300)
        expected = CubicSpline(ENERGY[others], frames[name].values[7, others])(ENERGY[300])
        assert done[name].values[7, 300] == pytest.approx(expected, abs=1e-12)
        assert np.array_equal(done[name].values[7, others], frames[name].values[7, others])


def test_a_glitch_of_all_scans_is_found_outside_the_edge() -> None:
    frames = series(20)
    frames["mu"][:, 350] += 0.02
    frames["mu"][:, 120] += 0.02  # inside: it might be a peak
    done = mask_glitches(frames, edge=EDGE)
    assert done["glitch"][:, 350].all()
    assert not done["glitch"][:, 120].any()


def test_missing_points_are_no_glitches_and_hide_none() -> None:
    frames = series(12)
    frames["mu"][2, 380:] = np.nan
    frames["mu"][3, 200] = np.inf
    frames["mu"][4] = np.nan
    frames["mu"][2, 300] += 0.1
    frames["mu"][3, 260] += 0.1
    frames["mu_reference"][4, 290] += 0.1
    done = mask_glitches(frames, edge=EDGE)
    assert np.argwhere(done["glitch"].values).tolist() == [[2, 300], [3, 260], [4, 290]]
    gaps = ~np.isfinite(frames["mu"].values)
    assert np.array_equal(~np.isfinite(done["mu"].values), gaps)


def test_all_scans_with_a_gap_are_judged_and_none_without_noise() -> None:
    frames = series(12)
    frames["mu"][:, 200] = np.nan
    frames["mu"][5, 300] += 0.1
    assert np.argwhere(mask_glitches(frames, edge=EDGE)["glitch"].values).tolist() == [[5, 300]]
    empty = mask_glitches(frames * np.nan, edge=EDGE)
    assert not empty["glitch"].any()
    flat = mask_glitches(frames * 0.0, edge=EDGE)
    assert not flat["glitch"].any()


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 7}, {"time": 9, "energy": 100}])
def test_chunks_do_not_matter(chunks: dict[str, int]) -> None:
    frames = series(80)
    frames["mu"][30, 200] += 0.05
    whole = check(mask_glitches(frames, edge=EDGE))
    lazy = mask_glitches(frames.chunk(chunks), edge=EDGE)
    assert all(lazy[name].chunks for name in ("mu", "mu_reference", "glitch", "glitches"))
    xr.testing.assert_identical(lazy.compute(), whole)
    assert whole["glitch"].dtype == np.int8
    assert whole["glitches"].values[30] == 1
    [step] = json.loads(whole.attrs["corrections"])
    assert step == {
        "step": "glitches",
        "edge": list(EDGE),
        "false_alarm": 1e-3,
        "channels": ["mu", "mu_reference"],
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edge": (8400.0, 8300.0)}, r"edge: \(8400.0, 8300.0\)"),
        ({"edge": 8345.0}, "edge: 8345.0"),
        ({"edge": EDGE, "false_alarm": 0.0}, "false_alarm: 0.0"),
    ],
)
def test_an_impossible_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        mask_glitches(series(2), **options)
    with pytest.raises(RequestError, match="none of"):
        mask_glitches(series(2).rename(mu="i0", mu_reference="i1"), edge=EDGE)


@pytest.mark.shared_data
def test_edges_of_a_real_series_are_not_touched(shared_data: Path) -> None:
    """What is masked in these averages of 240 scans is small, and mostly at the same energies."""
    files = sorted((shared_data / "operando" / "xas_ni_lno_rock" / "XAS_normalized").glob("*.txt"))
    tables = np.stack([np.loadtxt(file, encoding="latin-1") for file in files])
    time = np.datetime64("2022-07-26", "ns") + np.arange(len(files)) * np.timedelta64(300, "s")
    frames = xr.Dataset(
        {
            "mu": (("time", "energy"), tables[:, :, 1]),
            "mu_reference": (("time", "energy"), tables[:, :, 2]),
        },
        {"time": time, "energy": tables[0, :, 0]},
    )
    done = mask_glitches(frames, edge=(8320.0, 8410.0))
    glitch = done["glitch"]
    assert glitch.mean().item() < 2e-3
    assert glitch.sel(energy=slice(8320.0, 8410.0)).sum().item() <= 10  # of 107,000 points
    often = np.sort(glitch.sum("time").values)[::-1]
    assert often[:40].sum() > 0.5 * often.sum()
    assert np.abs(done["mu"] - frames["mu"]).max() < 0.01
    frames["mu"][50, 1300] += 0.01
    assert mask_glitches(frames, edge=(8320.0, 8410.0))["glitch"][50, 1300] == 1
