"""Changes common to all lines: silent on noise at the rate it says, found, and told from others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.errors import RequestError
from operando.observables.lines.common_mode import ASSESSMENT, common_mode

Array = npt.NDArray[np.float64]

CENTRES = np.array([5.1, 9.7, 14.2, 22.8, 31.0])
AREAS = np.array([60.0, 200.0, 35.0, 90.0, 150.0])
SIGMA = np.array([1.0, 0.4, 2.0, 1.2, 0.8]) * 1e-3


def series(
    frames: int,
    *,
    seed: int = 0,
    shift: npt.ArrayLike = 0.0,
    scale: npt.ArrayLike = 1.0,
    axis: str = "two_theta",
) -> xr.Dataset:
    """Five lines; `shift` and `scale` on (time,) or (time, line)."""
    rng = np.random.default_rng(seed)
    shape = (frames, 5)
    moved = np.broadcast_to(np.asarray(shift, dtype=float).T, shape[::-1]).T
    grown = np.broadcast_to(np.asarray(scale, dtype=float).T, shape[::-1]).T
    spread = 0.02 * AREAS
    centre = CENTRES + moved + SIGMA * rng.normal(size=shape)
    area = AREAS * grown + spread * rng.normal(size=shape)
    both = ("time", "line")
    return xr.Dataset(
        {
            "centre": (both, centre, {"units": "degree"}),
            "centre_sigma": (both, np.broadcast_to(SIGMA, shape).copy()),
            "area": (both, area),
            "area_sigma": (both, np.broadcast_to(spread, shape).copy()),
        },
        {
            "time": np.datetime64("2025-01-01", "ns") + np.arange(frames) * np.timedelta64(60, "s"),
            "line": list("abcde"),
        },
        {"axis": axis},
    )


def flagged(found: xr.Dataset, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray((found["assessment"].values & ASSESSMENT[name]) > 0)


def test_noise_is_silent_at_the_rate_it_says() -> None:
    """300 series of 60 frames at 5 % each: 15 expected of each flag, 27 is three sigma."""
    verdicts = [common_mode(series(60, seed=seed), false_alarm=0.05) for seed in range(300)]
    for name in ("common_shift", "common_scale", "shifts_differ", "scales_differ"):
        alarms = sum(flagged(found, name).any() for found in verdicts)
        assert 4 <= alarms <= 27, name


def test_pulls_are_those_of_a_normal_distribution() -> None:
    drift = 0.01 * np.sin(np.linspace(0, 9, 2000))
    gain = 1 + 0.3 * np.cos(np.linspace(0, 5, 2000))
    found = common_mode(series(2000, shift=drift, scale=gain), reference=200)
    for value, truth in ((found["common_shift"], drift), (found["common_scale"], gain)):
        start = truth[:200].mean()
        moved = truth - start if value.name == "common_shift" else truth / start
        pull = ((value - moved) / found[f"{value.name}_sigma"])[200:]
        assert 0.9 < float(pull.std()) < 1.1
        assert abs(float(pull.mean())) < 0.5  # the reference is one draw, common to all frames
    # the frames of the reference vary by less than their sigma: their own part is taken off
    inside = common_mode(series(400, seed=2), reference=400)
    pull = inside["common_shift"] / inside["common_shift_sigma"]
    assert 0.9 < float(pull.std()) < 1.1


def test_a_knock_is_common_and_not_a_difference() -> None:
    moved = np.where(np.arange(80) >= 40, 0.004, 0.0)
    found = common_mode(series(80, shift=moved))
    assert flagged(found, "common_shift")[40:].mean() > 0.95
    assert not flagged(found, "common_shift")[:40].any()
    assert flagged(found, "shifts_differ").sum() <= 1


def test_a_dimmer_beam_is_common_and_not_a_difference() -> None:
    dimmer = np.where(np.arange(80) >= 40, 0.9, 1.0)
    found = common_mode(series(80, scale=dimmer))
    assert flagged(found, "common_scale")[40:].mean() > 0.95
    assert not flagged(found, "common_scale")[:40].any()
    assert flagged(found, "scales_differ").sum() <= 1
    assert float(found["common_scale"][40:].mean()) == pytest.approx(0.9, abs=0.01)


def test_one_line_that_moves_or_grows_is_a_difference_and_not_common() -> None:
    alone = np.zeros((80, 5))
    alone[40:, 1] = 1.0
    found = common_mode(series(80, shift=0.01 * alone, scale=1 + 0.5 * alone))
    for kind in ("shift", "scale"):
        assert flagged(found, f"{kind}s_differ")[40:].mean() > 0.95
        assert not flagged(found, f"common_{kind}")[40:].any()
        assert not flagged(found, f"{kind}s_differ")[:40].any()


def test_power_grows_with_the_size_of_the_change() -> None:
    found = [
        flagged(
            common_mode(series(100, seed=4, shift=np.where(np.arange(100) < 20, 0, size))), name
        )
        for size in (0.0005, 0.0015, 0.003)
        for name in ["common_shift"]
    ]
    shares = [float(hit[20:].mean()) for hit in found]
    assert shares[0] < 0.3 < shares[1] < 1.0 + 1e-9
    assert shares == sorted(shares)
    assert shares[2] > 0.99


@pytest.mark.parametrize("axis", ["two_theta", "q"])
def test_expansion_is_common_in_spacing_and_a_difference_in_angle(axis: str) -> None:
    strain = 1.5e-3
    moved = np.zeros((60, 5))
    if axis == "two_theta":
        theta = np.radians(CENTRES) / 2
        expanded = np.degrees(2 * np.arcsin(np.sin(theta) / (1 + strain)))
        moved[20:] = expanded - CENTRES
    else:
        moved[20:] = CENTRES / (1 + strain) - CENTRES
    measured = series(60, shift=moved, axis=axis)
    spacing = common_mode(measured, form="spacing")
    assert flagged(spacing, "common_shift")[20:].all()
    assert not flagged(spacing, "shifts_differ").any()
    assert float(spacing["common_shift"][20:].mean()) == pytest.approx(strain, rel=0.02)
    zero = common_mode(measured, form="zero", wavelength=0.1)
    assert flagged(zero, "shifts_differ")[20:].all()


def test_a_displaced_sample_is_common_in_its_own_form() -> None:
    size = 3e-4
    moved = np.zeros((60, 5))
    moved[20:] = np.degrees(-2 * size * np.cos(np.radians(CENTRES) / 2))
    found = common_mode(series(60, shift=moved), form="displacement")
    assert flagged(found, "common_shift")[20:].all()
    assert float(found["common_shift"][20:].mean()) == pytest.approx(size, rel=0.05)


def test_raman_lines_shift_together() -> None:
    measured = series(40, shift=np.where(np.arange(40) < 20, 0, 0.01), axis="raman_shift")
    found = common_mode(measured)
    assert flagged(found, "common_shift")[20:].all()
    assert found["common_shift"].attrs["units"] == "degree"  # that of the centres
    with pytest.raises(RequestError, match="expected 'zero'"):
        common_mode(measured, form="spacing")


def test_positions_are_compared_with_themselves() -> None:
    """Two spots of different height, visited in turn: neither has moved."""
    high = np.arange(60) % 2 == 1
    measured = series(60, shift=np.where(high, 0.05, 0.0), scale=np.where(high, 2.0, 1.0))
    spots = measured.assign_coords(position=("time", np.where(high, "high", "low")))
    assert not common_mode(spots)["assessment"].values.any()
    assert common_mode(measured)["assessment"].values.any()


def test_lines_that_are_missing_do_not_take_part() -> None:
    measured = series(30)
    measured["centre"][15, 1:] = np.nan
    measured["centre"][16, :] = np.nan
    found = common_mode(measured)
    assert flagged(found, "too_few_lines").nonzero()[0].tolist() == [15, 16]
    assert np.isnan(found["common_shift"][16])
    assert found["shift_lines"].values[[14, 15, 16]].tolist() == [5, 1, 0]
    one = common_mode(measured, reference=1)
    assert flagged(one, "too_few_lines")[0]  # it is its own reference


def test_units_do_not_matter() -> None:
    measured = series(50, scale=np.linspace(1, 2, 50))
    scaled = measured.assign(area=1e4 * measured["area"], area_sigma=1e4 * measured["area_sigma"])
    before, after = common_mode(measured), common_mode(scaled)
    np.testing.assert_allclose(after["common_scale"], before["common_scale"], rtol=1e-12)
    np.testing.assert_array_equal(after["assessment"], before["assessment"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"form": "rotation"}, "rotation"),
        ({"geometry": "guinier"}, "guinier"),
        ({"reference": 0}, "reference: 0"),
        ({"false_alarm": 1.0}, "false_alarm: 1.0"),
    ],
)
def test_an_impossible_request_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        common_mode(series(5), **wrong)
