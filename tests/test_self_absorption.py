"""Self-absorption: undone where it was simulated, and as larch does it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.corrections.normalisation import normalise
from operando.corrections.self_absorption import attenuation_ratio, correct_self_absorption
from operando.errors import RequestError
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

E0 = 7124.0
ENERGY = np.r_[np.arange(6950.0, 7100, 2), np.arange(7100, 7160, 0.5), np.arange(7160, 7600, 2.0)]
RANGES: dict[str, Any] = {"e0": E0, "pre": (-150.0, -40.0), "post": (80.0, 450.0), "degree": 1}
SAMPLE: dict[str, Any] = {"formula": "Fe2O3", "element": "Fe"}


def edge(line: float = 0.6) -> Array:
    x = ENERGY - E0
    return np.asarray(np.arctan(x / 1.5) / np.pi + 0.5 + line * np.exp(-(((x - 6) / 3) ** 2)))


def series(fluorescence: Array, name: str = "mu") -> xr.Dataset:
    rows = np.atleast_2d(fluorescence)
    time = np.datetime64("2026-05-04T10:00:00", "ns") + np.arange(len(rows)) * np.timedelta64(
        1, "m"
    )
    return xr.Dataset(
        {name: (("time", "energy"), rows, {"units": "1", "mode": "fluorescence"})},
        {"time": time, "energy": ("energy", ENERGY, {"units": "eV"})},
        {"technique": "xas"},
    )


def damped(alpha: float, rows: int = 3) -> tuple[Array, Array]:
    """Normalised absorption, and the raw fluorescence of it, damped: f = n (a + 1) / (a + n)."""
    truth = np.stack([edge(0.5 + 0.1 * row) for row in range(rows)])
    truth = normalise(ENERGY, truth, **RANGES).norm
    seen = truth * (alpha + 1) / (alpha + truth)
    return truth, 0.02 * seen + 0.003 - 1e-6 * (ENERGY - E0)


def test_the_damping_is_undone() -> None:
    alpha = attenuation_ratio(**SAMPLE)
    truth, raw = damped(alpha)
    done = correct_self_absorption(series(raw), **SAMPLE, **RANGES)
    before = normalise(ENERGY, raw, **RANGES).norm
    peak = slice(*np.searchsorted(ENERGY, [E0, E0 + 15]))
    assert np.abs(before - truth)[:, peak].max() > 0.15
    np.testing.assert_allclose(done["mu"], truth, atol=0.01)  # f is not quite 1 beyond the edge
    assert done["mu"].attrs == {"units": "1", "mode": "fluorescence", "normalised": 1}
    [step] = json.loads(done.attrs["corrections"])
    assert step["step"] == "self_absorption"
    assert step["alpha"] == alpha


def test_it_is_the_correction_of_larch() -> None:
    angles: dict[str, Any] = {"angle_in": 30.0, "angle_out": 60.0}
    _, raw = damped(attenuation_ratio(**SAMPLE, **angles))
    norm = normalise(ENERGY, raw, **RANGES).norm
    done = correct_self_absorption(series(raw), **SAMPLE, **RANGES, **angles)
    for row, spectrum in zip(done["mu"].values, norm, strict=True):
        group = larch("symboltable").Group()
        larch("xafs").fluo_corr(
            ENERGY, spectrum, "Fe2O3", "Fe", group=group, edge="K", line="Ka",
            anginp=30.0, angout=60.0, e0=E0, nnorm=1, pre1=-150.0, pre2=-40.0,
            norm1=80.0, norm2=450.0,
        )  # fmt: skip
        np.testing.assert_allclose(row, group.norm_corr, atol=1e-10)


def test_alpha_of_iron_oxide_by_hand() -> None:
    """Mass attenuation in cm2/g (Elam): Fe and O at the line, 10 eV below, and above the edge."""
    tables = larch("xray")
    share = 2 * 55.845 / (2 * 55.845 + 3 * 15.999)
    energies = np.array([6403.9, 7102.0, 7122.0])
    iron, oxygen = (tables.mu_elam(name, energies) for name in ("Fe", "O"))
    line, below, above = share * iron + (1 - share) * oxygen
    assert attenuation_ratio(**SAMPLE) == pytest.approx((line + below) / (above - below), rel=5e-3)
    assert attenuation_ratio("Fe1C1000", "Fe") > 10 * attenuation_ratio(**SAMPLE)
    steep = attenuation_ratio(**SAMPLE, angle_in=10.0, angle_out=80.0)
    assert steep < attenuation_ratio(**SAMPLE)


def test_pulls() -> None:
    alpha = attenuation_ratio(**SAMPLE)
    _, raw = damped(alpha, rows=1)
    rng = np.random.default_rng(0)
    noise = 1e-4 * (1 + (ENERGY > E0))
    frames = series(raw + noise * rng.standard_normal((500, ENERGY.size)))
    frames["mu_sigma"] = (("time", "energy"), np.broadcast_to(noise, frames["mu"].shape))
    done = correct_self_absorption(frames, **SAMPLE, **RANGES)
    exact = correct_self_absorption(series(raw), **SAMPLE, **RANGES)["mu"].values
    pulls = (done["mu"].values - exact) / done["mu_sigma"].values
    inside = np.abs(ENERGY - E0 - 10) < 30
    assert pulls[:, inside].std() == pytest.approx(1, abs=0.06)


def test_a_spectrum_that_cannot_be_is_nan() -> None:
    _, raw = damped(1.0)
    raw[1, 200] = 1.0  # far above alpha + 1
    raw[2, 30] = np.nan  # in the pre-edge range
    done = correct_self_absorption(series(raw), **SAMPLE, **RANGES)["mu"].values
    assert np.isfinite(done[0]).all()
    assert np.isnan(done[1, 200])
    assert np.isnan(done[2]).all()


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 2, "energy": 100}])
def test_chunks_do_not_matter(chunks: dict[str, int]) -> None:
    frames = series(damped(2.0)[1], "mu_fluorescence")
    frames["mu_fluorescence_sigma"] = xr.full_like(frames["mu_fluorescence"], 1e-4)
    whole = correct_self_absorption(frames, signal="mu_fluorescence", **SAMPLE, **RANGES)
    lazy = correct_self_absorption(
        frames.chunk(chunks), signal="mu_fluorescence", **SAMPLE, **RANGES
    )
    assert lazy["mu_fluorescence"].chunks is not None
    xr.testing.assert_identical(lazy.compute(), whole)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"formula": "Xx2"}, "formula 'Xx2'"),
        ({"element": "Qq"}, "'Qq'"),
        ({"edge": "K9"}, "edge 'K9'"),
        ({"line": "Zz"}, "line 'Zz'"),
        ({"formula": "C6H12"}, "absorbs no more above the Fe K edge"),
        ({"angle_in": 0.0}, "angle_in: 0.0"),
        ({"signal": "i0"}, "signal: no 'i0'"),
        ({"pre": (-1000.0, -900.0)}, "pre"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        correct_self_absorption(series(damped(2.0)[1]), **(SAMPLE | RANGES | changed))
