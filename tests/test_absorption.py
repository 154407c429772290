"""Absorption from counters: detectors simulated photon by photon, and formulas by hand."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from operando.corrections.absorption import absorption, live_counts
from operando.errors import RequestError
from operando.model import check

Array = npt.NDArray[np.float64]

ENERGY = np.linspace(8300.0, 8400.0, 21)
TRUE_MU = 0.5 + np.linspace(0, 1, ENERGY.size)


def recorded(rate: float, tau: float, dwell: float, *, extends: bool, points: int) -> Array:
    """Counts of a detector that sees every photon, one gap between photons after the other."""
    rng = np.random.default_rng(int(rate) + extends)
    found = np.empty(points)
    for point in range(points):
        arrivals = np.cumsum(rng.exponential(1 / rate, int(rate * dwell * 1.3) + 100))
        arrivals = arrivals[arrivals < dwell]
        if extends:  # every photon keeps the detector busy, also one it does not record
            found[point] = 1 + np.count_nonzero(np.diff(arrivals) > tau)
        else:
            count, free = 0, 0.0
            for arrival in arrivals:
                if arrival >= free:
                    count, free = count + 1, arrival + tau
            found[point] = count
    return found


@pytest.mark.parametrize("load", [0.02, 0.2, 0.6])
@pytest.mark.parametrize("model", ["non-paralyzable", "paralyzable"])
def test_dead_time_of_a_simulated_detector(
    model: Literal["non-paralyzable", "paralyzable"], load: float
) -> None:
    tau, dwell, points = 1e-6, 0.02, 400
    rate = load / tau
    counts = recorded(rate, tau, dwell, extends=model == "paralyzable", points=points)
    value, variance = live_counts(counts, dwell_s=dwell, dead_time_s=tau, model=model)
    spread = np.sqrt(variance.mean())
    assert abs(value.mean() - rate * dwell) < 4 * spread / np.sqrt(points)
    assert value.std() == pytest.approx(spread, rel=0.13)
    if load > 0.1:
        assert counts.mean() < 0.9 * rate * dwell


@given(st.floats(0, 0.99), st.floats(1e-8, 1e-5))
def test_dead_time_is_undone(load: float, tau: float) -> None:
    rate = load / tau
    for model, seen in (
        ("non-paralyzable", rate / (1 + load)),
        ("paralyzable", rate * np.exp(-load)),
    ):
        options: Any = {"dwell_s": 2.0, "dead_time_s": tau, "model": model}
        assert live_counts(np.array(2 * seen), **options)[0] == pytest.approx(
            2 * rate, rel=1e-6, abs=1e-9
        )


def test_a_rate_that_cannot_be_is_nan() -> None:
    options: Any = {"dwell_s": 1.0, "dead_time_s": 1e-6}
    assert np.isnan(live_counts(np.array([1e6]), model="non-paralyzable", **options)[0]).all()
    assert np.isnan(live_counts(np.array([3.7e5]), model="paralyzable", **options)[0]).all()
    assert np.isfinite(live_counts(np.array([3.6e5]), model="paralyzable", **options)[0]).all()


def frames(count: int = 3, photons: float = 1e6, seed: int | None = 0) -> xr.Dataset:
    """Counters of a sample of known absorption, with a foil behind it; without seed no noise."""
    shape = (count, ENERGY.size)
    expected = {
        "i0": np.full(shape, photons),
        "i1": photons * np.exp(-TRUE_MU) * np.ones(shape),
        "iref": photons * np.exp(-1.5 * TRUE_MU) * np.ones(shape),
        "fluorescence": 0.01 * photons * TRUE_MU * np.ones(shape),
    }
    rng = np.random.default_rng(seed)
    time = np.datetime64("2026-05-04T10:00:00", "ns") + np.arange(count) * np.timedelta64(60, "s")
    return xr.Dataset(
        {
            name: (
                ("time", "energy"),
                values if seed is None else rng.poisson(values).astype(float),
                {"units": "1"},
            )
            for name, values in expected.items()
        },
        {
            "time": time,
            "time_start": ("time", time),
            "time_end": ("time", time),
            "energy": ("energy", ENERGY, {"units": "eV"}),
        },
        {"technique": "xas"},
    )


@pytest.mark.parametrize("mode", ["transmission", "fluorescence"])
def test_absorption_and_its_counting_noise(mode: str) -> None:
    done = check(absorption(frames(4000), mode=mode, counts=True))
    truth = {"mu": TRUE_MU, "mu_reference": 0.5 * TRUE_MU, "mu_fluorescence": 0.01 * TRUE_MU}
    if mode == "fluorescence":
        truth["mu"] = truth.pop("mu_fluorescence")
        assert "mu_fluorescence" not in done
    assert done["mu"].attrs["mode"] == mode
    for name, expected in truth.items():
        pulls = (done[name] - expected) / done[f"{name}_sigma"]
        assert float(pulls.std()) == pytest.approx(1, abs=0.02)
        assert abs(float(pulls.mean())) < 0.02


def test_sigma_with_dead_time() -> None:
    clean = frames(4000)
    tau, dwell = 4e-5, 1.0  # 40 % of the time busy at 1e4 counts
    rng = np.random.default_rng(2)
    true = 0.01 * 1e6 * TRUE_MU
    mean, variance = true / (1 + true * tau), true / (1 + true * tau) ** 3
    clean["fluorescence"][:] = np.round(rng.normal(mean, np.sqrt(variance), clean["i0"].shape))
    done = absorption(clean, mode="fluorescence", dead_time_s=tau, dwell_s=dwell, counts=True)
    pulls = (done["mu"] - 0.01 * TRUE_MU) / done["mu_sigma"]
    assert float(pulls.std()) == pytest.approx(1, abs=0.02)
    assert abs(float(pulls.mean())) < 0.05


def test_dead_time_from_rates_and_from_a_dwell_of_the_file() -> None:
    series = frames(seed=None)
    tau = 1e-5
    true = series["fluorescence"].copy()
    series["dwell"] = ("time", [0.5, 1.0, 2.0], {"units": "s"})
    rate = true / series["dwell"]
    series["fluorescence"] = true / (1 + rate * tau)
    series["icr"], series["ocr"] = rate, rate / (1 + rate * tau)
    expected = 0.01 * np.broadcast_to(TRUE_MU, true.shape)
    by_dwell = absorption(series, mode="fluorescence", dead_time_s=tau, dwell_s="dwell")
    np.testing.assert_allclose(by_dwell["mu"], expected, rtol=1e-12)
    by_rates = absorption(series, mode="fluorescence", rates=("icr", "ocr"))
    np.testing.assert_allclose(by_rates["mu"], expected, rtol=1e-12)
    assert "mu_sigma" not in by_rates


def test_dark_counts_are_subtracted_but_their_noise_stays() -> None:
    series = frames(seed=None)
    dark = {"i0": 5e4, "i1": 2e4}
    with_dark = series.copy()
    for name, level in dark.items():
        with_dark[name] = series[name] + level
    done = absorption(with_dark, mode="transmission", dark=dark, counts=True)
    np.testing.assert_allclose(done["mu"][0], TRUE_MU, rtol=1e-12)
    i0, i1 = series["i0"].values[0], series["i1"].values[0]
    expected = np.sqrt((i0 + 5e4) / i0**2 + (i1 + 2e4) / i1**2)
    np.testing.assert_allclose(done["mu_sigma"][0], expected, rtol=1e-12)


def test_a_counter_that_is_not_positive_gives_nan() -> None:
    series = frames(seed=None)
    series["i1"][0, 3], series["i0"][1, 4], series["iref"][2, 5] = 0.0, -1.0, np.nan
    done = absorption(series, mode="transmission", counts=True)
    lost = {name: np.argwhere(np.isnan(done[name].values)).tolist() for name in done.data_vars}
    assert lost["mu"] == lost["mu_sigma"] == [[0, 3], [1, 4]]
    assert lost["mu_reference"] == [[0, 3], [2, 5]]
    assert lost["mu_fluorescence"] == [[1, 4]]


@pytest.mark.parametrize(("rows", "columns"), [(1, 21), (2, 7), (5, 4), (3, 1)])
def test_chunks_do_not_matter(rows: int, columns: int) -> None:
    series = frames(5).assign(mu=("time", np.zeros(5)))  # an old mu is replaced
    options: Any = {"mode": "transmission", "dead_time_s": 1e-6, "dwell_s": 1.0, "counts": True}
    whole = absorption(series, **options)
    lazy = absorption(series.chunk(time=rows, energy=columns), **options)
    assert all(lazy[name].chunks for name in ("mu", "mu_sigma", "mu_reference"))
    xr.testing.assert_identical(lazy.compute(), whole)


def test_what_was_done_is_recorded() -> None:
    done = absorption(frames(), mode="fluorescence", dead_time_s=1e-6, dwell_s=1.0)
    [step] = json.loads(done.attrs["corrections"])
    assert step["step"] == "absorption"
    assert step["dead_time"] == "non-paralyzable"
    assert (step["mode"], step["dead_time_s"], step["dwell_s"]) == ("fluorescence", 1e-6, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "reflection"}, "mode: 'reflection'"),
        ({"mode": "transmission", "dead_time_s": 1e-6}, "dwell_s: None"),
        ({"mode": "fluorescence", "dead_time_s": -1.0, "dwell_s": 1}, "dead_time_s: -1.0"),
        (
            {"mode": "fluorescence", "dead_time_s": 1e-6, "dwell_s": 1, "dead_time": "dead"},
            "dead_time: 'dead'",
        ),
        (
            {"mode": "fluorescence", "dead_time_s": 1e-6, "dwell_s": 1, "rates": ("i0", "i1")},
            "both given",
        ),
        ({"mode": "fluorescence", "rates": ("icr", "ocr")}, "no 'icr' in"),
        ({"mode": "transmission", "dark": {"mu": 1.0}}, "no 'mu' in"),
        ({"mode": "transmission", "dark": {"i0": np.nan}}, r"dark\.i0: nan"),
    ],
)
def test_an_impossible_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        absorption(frames(), **options)
    with pytest.raises(RequestError, match=r"no 'i1' in .*transmission needs i0, i1"):
        absorption(frames().drop_vars("i1"), mode="transmission")
