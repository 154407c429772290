"""Shares of phases: against truth, calibrated, and what is said where there is nothing to share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.lines.line_fractions import ASSESSMENT, line_fractions

Array = npt.NDArray[np.float64]

GROUPS = {"lfp": ["a1", "a2"], "fp": ["b1"], "c": ["c1"]}
RATIOS = {"lfp": 3.0, "fp": 1.5, "c": 0.7}
SHARE = np.array([0.6, 0.3, 0.1])


def tracks(
    shares: npt.ArrayLike,
    frames: int = 1,
    *,
    sigma: float = 1.0,
    amount: float = 100.0,
    seed: int = 0,
) -> xr.Dataset:
    """Areas of four lines of three phases; the first two share the response of their phase."""
    part = np.broadcast_to(np.asarray(shares, dtype=float), (frames, 3)) * amount
    area = np.stack(
        [2.0 * part[:, 0], 1.0 * part[:, 0], 1.5 * part[:, 1], 0.7 * part[:, 2]], axis=1
    )
    area = area + sigma * np.random.default_rng(seed).normal(size=area.shape)
    both = ("time", "line")
    return xr.Dataset(
        {
            "area": (both, area, {"units": "count * degree"}),
            "area_sigma": (both, np.full(area.shape, sigma)),
            "assessment": (
                both,
                np.zeros(area.shape, np.int32),
                flag_attributes({"weak": 1, "not_converged": 2}),
            ),
        },
        {
            "time": np.datetime64("2025-01-01", "ns") + np.arange(frames) * np.timedelta64(60, "s"),
            "line": ["a1", "a2", "b1", "c1"],
        },
        {"axis": "two_theta"},
    )


def test_shares_are_those_of_the_mixture() -> None:
    found = line_fractions(tracks(SHARE, sigma=1e-9), groups=GROUPS, ratios=RATIOS)
    np.testing.assert_allclose(found["fraction"].values[0], SHARE, rtol=1e-9)
    assert found["total"].item() == pytest.approx(100.0)
    assert found["total"].attrs["units"] == "count * degree"
    assert found["phase"].values.tolist() == ["lfp", "fp", "c"]


@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1), (0.98, 0.02, 0.0)])
def test_sigma_is_calibrated_and_the_mean_unbiased(shares: tuple[float, ...]) -> None:
    found = line_fractions(tracks(shares, 4000), groups=GROUPS, ratios=RATIOS)
    pull = (found["fraction"] - np.array(shares)) / found["fraction_sigma"]
    assert (np.abs(pull.std("time").values - 1) < 0.05).all()
    assert (np.abs(pull.mean("time").values) < 0.08).all()
    spread = found["total"].std().item()
    assert found["total_sigma"].mean().item() == pytest.approx(spread, rel=0.05)


def test_what_is_at_the_detection_limit_is_seen_in_95_of_100_frames() -> None:
    nothing = line_fractions(tracks((0.7, 0.3, 0.0), 4000), groups=GROUPS, ratios=RATIOS)
    limit = float(nothing["detection_limit"].isel(phase=2).median())
    critical = limit / 2
    assert float((nothing["fraction"].isel(phase=2) > critical).mean()) == pytest.approx(
        0.05, abs=0.01
    )
    there = (0.7 - limit, 0.3, limit)
    some = line_fractions(tracks(there, 4000, seed=1), groups=GROUPS, ratios=RATIOS)
    assert float((some["fraction"].isel(phase=2) > critical).mean()) == pytest.approx(
        0.95, abs=0.01
    )
    below = nothing["assessment"].isel(phase=2).values & ASSESSMENT["below_detection"]
    assert (below > 0).mean() > 0.99


def test_uncertain_ratios_are_systematic() -> None:
    measured = tracks(SHARE, sigma=1e-6)
    off = {"lfp": 0.05, "fp": 0.1}
    found = line_fractions(measured, groups=GROUPS, ratios=RATIOS, ratio_sigma=off)
    rng = np.random.default_rng(2)
    trials = [
        line_fractions(
            measured,
            groups=GROUPS,
            ratios={n: k * (1 + off.get(n, 0.0) * rng.normal()) for n, k in RATIOS.items()},
        )["fraction"].values[0]
        for _ in range(150)
    ]
    np.testing.assert_allclose(found["fraction_sigma_syst"].values[0], np.std(trials, 0), rtol=0.2)
    assert (found["fraction_sigma_stat"] < 1e-6).all()


def test_a_common_factor_changes_the_total_and_no_share() -> None:
    one = line_fractions(tracks(SHARE, 5), groups=GROUPS, ratios=RATIOS)
    double = tracks(SHARE, 5)
    double["area"] *= 2
    double["area_sigma"] *= 2
    other = line_fractions(double, groups=GROUPS, ratios=RATIOS)
    for name in ("fraction", "fraction_sigma", "detection_limit"):
        np.testing.assert_allclose(other[name], one[name], rtol=1e-12)
    np.testing.assert_allclose(other["total"], 2 * one["total"], rtol=1e-12)
    scaled = {name: 7 * k for name, k in RATIOS.items()}
    again = line_fractions(tracks(SHARE, 5), groups=GROUPS, ratios=scaled)
    np.testing.assert_allclose(again["fraction"], one["fraction"], rtol=1e-12)


def test_a_missing_line_is_not_counted_as_nothing() -> None:
    measured = tracks(SHARE, 4)
    measured["area"][1, 1] = np.nan
    measured["assessment"][2, 2] = 2
    measured["assessment"][3, 3] = 1
    found = line_fractions(measured, groups=GROUPS, ratios=RATIOS)
    missing = (found["assessment"].values & ASSESSMENT["line_missing"]) > 0
    assert missing.tolist() == [
        [False] * 3,
        [True, False, False],
        [False, True, False],
        [False] * 3,
    ]
    assert np.isnan(found["fraction"].values).all(axis=1).tolist() == [False, True, True, False]


def test_noise_is_not_shared_out() -> None:
    found = line_fractions(tracks((0, 0, 0), 50), groups=GROUPS, ratios=RATIOS)
    assert (found["assessment"].values & ASSESSMENT["no_signal"] > 0).all()
    assert found["fraction"].isnull().all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"groups": {"lfp": ["a1"]}}, "two phases or more"),
        ({"groups": {"lfp": "a1", "fp": ["b1"]}}, "each with lines"),
        ({"groups": {"lfp": ["a1"], "fp": ["a1"]}, "ratios": {"lfp": 1, "fp": 1}}, "each once"),
        ({"groups": {"lfp": ["a1"], "fp": ["x"]}, "ratios": {"lfp": 1, "fp": 1}}, "'x'"),
        ({"ratios": {"lfp": 1.0}}, "expected \\['lfp', 'fp', 'c'\\]"),
        ({"ratios": RATIOS | {"c": 0.0}}, "ratios\\['c'\\]: 0.0"),
        ({"ratio_sigma": {"d": 0.1}}, "sigma of"),
        ({"ratio_sigma": {"c": -0.1}}, "ratio_sigma"),
    ],
)
def test_an_impossible_request_is_refused(wrong: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"groups": GROUPS, "ratios": RATIOS} | wrong
    with pytest.raises(RequestError, match=message):
        line_fractions(tracks(SHARE), **asked)
