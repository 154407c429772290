"""The standard in the sample: its shift against truth, and what its correction does to the rest."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.errors import RequestError
from operando.observables.lines.bragg import EFFECTS, GEOMETRIES
from operando.observables.lines.internal_standard import (
    ASSESSMENT,
    apply_standard,
    internal_standard,
)
from operando.observables.lines.lattice import lattice

Array = npt.NDArray[np.float64]

WAVELENGTH = 0.8247
SI = 5.431179
HKL = {"si111": (1, 1, 1), "si220": (2, 2, 0), "si311": (3, 1, 1), "si400": (4, 0, 0)}
SAMPLE = {"s1": (1, 1, 1), "s2": (2, 0, 0), "s3": (2, 2, 0), "s4": (3, 1, 1), "s5": (2, 2, 2)}
A = 8.15
SIZES = {"zero": np.radians(0.03), "displacement": 6e-4, "wavelength": 4e-4}


def form(two_theta: Array, corrects: str, geometry: str) -> Array:
    """The textbook, written again."""
    if corrects == "zero":
        return np.ones_like(two_theta)
    if corrects == "wavelength":
        return np.asarray(2 * np.tan(two_theta / 2))
    return {
        "bragg_brentano": -2 * np.cos(two_theta / 2),
        "flat_detector": 0.5 * np.sin(2 * two_theta),
        "debye_scherrer": np.sin(two_theta),
    }[geometry]


def tracks(
    shift: Array,
    *,
    corrects: str = "zero",
    geometry: str = "bragg_brentano",
    sigma: float = 1e-3,
    seed: int = 0,
    parameter: npt.ArrayLike = SI,
) -> xr.Dataset:
    """Silicon and a cubic sample through a setup that is off by `shift` (n,)."""
    squares = [np.square(hkl).sum() ** 0.5 for hkl in (*HKL.values(), *SAMPLE.values())]
    cells = np.full((shift.size, 9), A)
    cells[:, :4] = np.broadcast_to(np.asarray(parameter, dtype=float), (shift.size,))[:, None]
    angle = 2 * np.arcsin(WAVELENGTH / 2 * np.array(squares) / cells)
    centre = np.degrees(angle + shift[:, None] * form(angle, corrects, geometry))
    centre = centre + sigma * np.random.default_rng(seed).normal(size=centre.shape)
    both = ("time", "line")
    time = np.datetime64("2025-01-01", "ns") + np.arange(shift.size) * np.timedelta64(60, "s")
    return xr.Dataset(
        {
            "centre": (both, centre, {"units": "degree"}),
            "centre_sigma": (both, np.full(centre.shape, sigma)),
            "centre_sigma_stat": (both, np.full(centre.shape, sigma)),
            "centre_sigma_syst": (both, np.zeros(centre.shape)),
        },
        {"time": time, "line": [*HKL, *SAMPLE]},
        {"axis": "two_theta", "wavelength_angstrom": WAVELENGTH},
    )


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("corrects", EFFECTS)
def test_the_shift_is_found_with_a_calibrated_sigma(corrects: str, geometry: str) -> None:
    asked: dict[str, Any] = {"corrects": corrects, "geometry": geometry}
    truth = SIZES[corrects] * np.sin(np.linspace(0, 6, 1200))
    found = internal_standard(tracks(truth, **asked), lines=HKL, a=SI, **asked)
    told = np.degrees(truth) if corrects == "zero" else truth
    pull = (found["shift"] - told) / found["shift_sigma"]
    assert 0.85 < float(pull.std()) < 1.05  # three lines to spare: sigma is seldom too small
    assert abs(float(pull.mean())) < 0.1
    statistical = (found["shift"] - told) / found["shift_sigma_stat"]
    assert 0.95 < float(statistical.std()) < 1.05
    assert float(found["chi2r"].mean()) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("corrects", EFFECTS)
def test_the_corrected_cell_does_not_move_with_the_setup(corrects: str) -> None:
    truth = SIZES[corrects] * np.linspace(-1, 1, 300)
    measured = tracks(truth, corrects=corrects, seed=3)
    correction = internal_standard(measured, lines=HKL, a=SI, corrects=corrects)
    corrected = apply_standard(measured, correction)
    cells = [lattice(t, hkl=SAMPLE, system="cubic")["a"] for t in (measured, corrected)]
    before, after = (np.polyfit(np.linspace(-1, 1, 300), cell, 1)[0] for cell in cells)
    assert abs(before) > 1e-3
    assert abs(after) < 1e-4
    assert float(cells[1].mean()) == pytest.approx(A, rel=1e-5)


def test_the_reference_makes_the_centres_less_certain() -> None:
    measured = tracks(np.zeros(2000), seed=5)
    corrected = apply_standard(measured, internal_standard(measured, lines=HKL, a=SI))
    spread = corrected["centre"].sel(line="s3").std()
    # one line of sigma, four of the standard
    assert float(spread) == pytest.approx(1e-3 * (1 + 1 / 4) ** 0.5, rel=0.05)
    stat = corrected["centre_sigma_stat"].sel(line="s3")
    np.testing.assert_allclose(stat, 1e-3 * (1 + 1 / 4) ** 0.5, rtol=1e-9)
    total = np.hypot(corrected["centre_sigma_stat"], corrected["centre_sigma_syst"])
    np.testing.assert_allclose(corrected["centre_sigma"], total, rtol=1e-9)


def test_heating_is_not_taken_for_a_shift_where_the_expansion_is_told() -> None:
    parameter = SI * (1 + 2.6e-6 * np.linspace(0, 500, 400))
    measured = tracks(np.zeros(400), parameter=parameter, sigma=3e-4)
    told = xr.DataArray(parameter, {"time": measured["time"]}, ("time",))
    asked: dict[str, Any] = {"lines": HKL, "corrects": "wavelength"}
    aware, unaware = (internal_standard(measured, a=a, **asked)["shift"] for a in (told, SI))
    drift = [abs(float(s[-50:].mean() - s[:50].mean())) for s in (aware, unaware)]
    assert drift[0] < 1e-5
    assert drift[1] == pytest.approx(1.3e-3 * 0.87, rel=0.1)


def test_an_uncertain_standard_is_common_to_all_frames() -> None:
    measured = tracks(np.zeros(3))
    found = internal_standard(measured, lines=HKL, a=SI, a_sigma=SI * 1e-5, corrects="wavelength")
    # a relative error of a is one of the wavelength
    np.testing.assert_allclose(found["shift_sigma_common"], 1e-5, rtol=1e-9)


def test_spacings_do_for_any_crystal_and_along_q() -> None:
    measured = tracks(np.full(20, np.radians(0.02)))
    by_hkl = internal_standard(measured, lines=HKL, a=SI)
    spacing = {name: SI / np.square(hkl).sum() ** 0.5 for name, hkl in HKL.items()}
    by_d = internal_standard(measured, lines=spacing)
    np.testing.assert_allclose(by_d["shift"], by_hkl["shift"], rtol=1e-9)
    theta = np.radians(measured["centre"]) / 2
    slope = 2 * np.pi / WAVELENGTH * np.cos(theta) * np.radians(1)
    q = measured.assign(
        centre=4 * np.pi / WAVELENGTH * np.sin(theta),
        **{str(name): slope * measured[name] for name in measured if "sigma" in str(name)},
    ).assign_attrs(axis="q")
    along_q = internal_standard(q, lines=spacing)
    np.testing.assert_allclose(along_q["shift"], by_d["shift"], rtol=1e-9)
    moved = apply_standard(q, along_q)["centre"]
    expected = apply_standard(measured, by_d)["centre"]
    back = np.degrees(2 * np.arcsin(moved * WAVELENGTH / 4 / np.pi))
    np.testing.assert_allclose(back, expected, rtol=1e-10)


def test_a_wrong_form_is_noticed() -> None:
    measured = tracks(np.full(50, 4e-4), corrects="wavelength", sigma=5e-4)
    found = internal_standard(measured, lines=HKL, a=SI, corrects="zero")
    assert (found["assessment"].values & ASSESSMENT["lines_disagree"]).all()
    assert (found["shift_sigma"] > 3 * found["shift_sigma_stat"]).all()


def test_frames_without_the_standard_are_nan_with_a_reason() -> None:
    measured = tracks(np.zeros(3))
    measured["centre"][1, 1:4] = np.nan
    measured["centre"][2, :4] = np.nan
    found = internal_standard(measured, lines=HKL, a=SI)
    assert found["assessment"].values.tolist() == [0, ASSESSMENT["one_line"], ASSESSMENT["no_line"]]
    corrected = apply_standard(measured, found)
    assert np.isfinite(corrected["centre"].sel(line="s1").values).tolist() == [True, True, False]
    assert corrected["standard_assessment"].values.tolist() == found["assessment"].values.tolist()


def test_the_step_is_recorded_and_not_done_twice() -> None:
    measured = tracks(np.zeros(2))
    found = internal_standard(measured, lines=HKL, a=SI)
    corrected = apply_standard(measured, found)
    [step] = json.loads(corrected.attrs["corrections"])
    assert (step["step"], step["corrects"]) == ("internal_standard", "zero")
    with pytest.raises(RequestError, match="corrected by a standard before"):
        apply_standard(corrected, found)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a": None}, "lattice parameter of the standard"),
        ({"lines": {"si111": -3.1}}, "angstrom above 0"),
        ({"lines": {"si111": 0.2}}, "half the wavelength"),
        ({"lines": {"si111": (1, 1)}}, "expected a spacing, or hkl"),
        ({"lines": {}}, "expected some of"),
        ({"lines": {"al111": 2.3}}, "al111"),
        ({"geometry": "guinier"}, "guinier"),
        ({"corrects": "everything"}, "everything"),
        ({"a": xr.DataArray([SI], {"time": [0]}, ("time",))}, "other times"),
    ],
)
def test_an_impossible_request_is_refused(wrong: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"lines": HKL, "a": SI} | wrong
    with pytest.raises(RequestError, match=message):
        internal_standard(tracks(np.zeros(2)), **asked)


@pytest.mark.parametrize("corrects", EFFECTS)
@pytest.mark.parametrize("lines", [1, 2, 4])
def test_sigma_of_a_cell_has_the_standard_as_a_whole(corrects: str, lines: int) -> None:
    """Five lines do not average out what one standard says of all of them."""
    chosen = dict(list(HKL.items())[:lines])
    measured = tracks(np.full(1500, SIZES[corrects]), corrects=corrects, seed=lines)
    found = internal_standard(measured, lines=chosen, a=SI, corrects=corrects)
    hkl: dict[str, Any] = dict(SAMPLE)
    cell = lattice(apply_standard(measured, found), hkl=hkl, system="cubic")
    pull = (cell["a"] - A) / cell["a_sigma"]
    assert 0.9 < float(pull.std()) < 1.1
    total = np.hypot(cell["a_sigma_stat"], cell["a_sigma_syst"])
    np.testing.assert_allclose(total, cell["a_sigma"], rtol=1e-9)


def test_a_correction_of_other_frames_is_refused() -> None:
    measured = tracks(np.zeros(4))
    found = internal_standard(measured, lines=HKL, a=SI)
    with pytest.raises(RequestError, match="other times"):
        apply_standard(measured, found.isel(time=slice(0, 3)))
    with pytest.raises(RequestError, match="what internal_standard returns"):
        apply_standard(measured, measured)


def test_a_series_cut_in_pieces_gives_the_same_bits() -> None:
    measured = tracks(np.full(40, np.radians(0.02)))
    measured["centre"][::3, 1] = np.nan
    whole = internal_standard(measured, lines=HKL, a=SI)
    parts = [
        internal_standard(measured.isel(time=cut), lines=HKL, a=SI)
        for cut in (slice(0, 1), slice(1, 17), slice(17, 40))
    ]
    xr.testing.assert_identical(xr.concat(parts, "time"), whole)
    xr.testing.assert_identical(internal_standard(measured.chunk(time=7), lines=HKL, a=SI), whole)
