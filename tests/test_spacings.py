"""Spacings of tracked lines: Bragg's law by an independent hand, and where its errors go."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.lines.bragg import angles, effect
from operando.observables.lines.radiation import ANODES, line_of, wavelength_of
from operando.observables.lines.spacings import spacings

SIGMA = 2e-3
ASSESSMENT = {"weak": 1, "at_bound": 2, "poor_fit": 4, "misfit": 8}


def tracks(
    centre: npt.ArrayLike, *, axis: str = "two_theta", sigma: float = SIGMA, **attrs: Any
) -> xr.Dataset:
    """What `track_peaks` would return for these centres (time, line)."""
    values = np.atleast_2d(np.asarray(centre, dtype=float))
    time = np.datetime64("2025-01-01", "ns") + np.arange(len(values)) * np.timedelta64(60, "s")
    both = ("time", "line")
    return xr.Dataset(
        {
            "centre": (both, values, {"units": "degree"}),
            "centre_sigma": (both, np.full(values.shape, sigma)),
            "assessment": (
                both,
                np.zeros(values.shape, np.int32),
                flag_attributes(ASSESSMENT) | {"cautions": 8},
            ),
        },
        {"time": time, "line": [f"l{at}" for at in range(values.shape[1])]},
        {"axis": axis} | attrs,
    )


def test_a_known_reflection_has_its_published_spacing() -> None:
    """Si 111 with Cu Ka1 is at 28.441 degrees, a = 5.43123 (NIST SRM 640d), to the last digit."""
    found = spacings(tracks([28.441]), wavelength=1.5405929)
    assert found["d"].item() == pytest.approx(5.43123 / 3**0.5, rel=2e-5)
    assert found["q"].item() == pytest.approx(2 * np.pi * 3**0.5 / 5.43123, rel=2e-5)


@settings(max_examples=50, deadline=None)
@given(
    d=st.floats(0.8, 12.0),
    wavelength=st.floats(0.15, 1.5),
    axis=st.sampled_from(["two_theta", "q"]),
)
def test_either_axis_gives_the_spacing_back(d: float, wavelength: float, axis: str) -> None:
    degrees = 2 * np.degrees(np.arcsin(wavelength / 2 / d))
    found = spacings(
        tracks([degrees if axis == "two_theta" else 2 * np.pi / d], axis=axis),
        wavelength=wavelength,
    )
    assert found["d"].item() == pytest.approx(d, rel=1e-10)
    assert found["two_theta"].item() == pytest.approx(degrees, rel=1e-10)
    assert found["q"].item() == pytest.approx(2 * np.pi / d, rel=1e-10)


def test_sigma_is_that_of_many_trials_and_the_wavelength_is_kept_apart() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([5.0, 20.0, 60.0, 110.0])
    trials = centres + SIGMA * rng.normal(size=(4000, 4))
    found = spacings(tracks(trials), wavelength=1.2, wavelength_sigma=2.4e-5)
    spread = found["d"].std("time", ddof=1).values
    np.testing.assert_allclose(found["d_sigma"].mean("time"), spread, rtol=0.05)
    np.testing.assert_allclose(found["q_sigma"].mean("time"), found["q"].std("time"), rtol=0.05)
    np.testing.assert_allclose(found["d_sigma_common"] / found["d"], 2e-5, rtol=1e-12)
    np.testing.assert_allclose(found["q_sigma_common"] / found["q"], 2e-5, rtol=1e-12)
    # the formula of the reference, in its own terms
    theta = np.radians(trials) / 2
    relative = np.radians(SIGMA) / 2 / np.tan(theta)
    np.testing.assert_allclose(found["d_sigma"] / found["d"], relative, rtol=1e-9)


def test_statistical_and_systematic_parts_are_carried_alike() -> None:
    both = ("time", "line")
    measured = tracks([[10.0, 20.0]]).assign(
        centre_sigma=(both, np.array([[5e-3, 13e-3]])),
        centre_sigma_stat=(both, np.array([[4e-3, 12e-3]])),
        centre_sigma_syst=(both, np.array([[3e-3, 5e-3]])),
    )
    found = spacings(measured, wavelength=1.0)
    np.testing.assert_allclose(found["d_sigma_stat"] / found["d_sigma"], [[0.8, 12 / 13]])
    np.testing.assert_allclose(found["d_sigma_syst"] / found["d_sigma"], [[0.6, 5 / 13]])
    assert found["d"].attrs["ancillary_variables"] == "d_sigma"


def test_a_bad_line_keeps_its_spacing_and_its_reason() -> None:
    measured = tracks([[10.0, np.nan]])
    measured["assessment"][:] = [[4, 1]]
    found = spacings(measured, wavelength=1.0)
    assert np.isfinite(found["d"].values).tolist() == [[True, False]]
    assert found["assessment"].values.tolist() == [[4, 1]]
    assert found["assessment"].attrs["flag_meanings"] == "weak at_bound poor_fit misfit"


def test_the_mean_of_a_doublet_is_refused_where_the_doublet_was_modelled() -> None:
    separate = tracks([28.44], doublet="0.5 at 1.0024890")
    with pytest.raises(RequestError, match="mean of a doublet, which was modelled"):
        spacings(separate, wavelength=1.5418)
    assert spacings(separate, wavelength=1.5406)["d"].item() == pytest.approx(3.1357, abs=1e-3)


def test_alpha1_is_refused_where_a_stated_doublet_was_not_modelled() -> None:
    blended = tracks([28.44], wavelength_angstrom=1.5405929, wavelength_alpha2_angstrom=1.5444274)
    with pytest.raises(RequestError, match="track with doublet"):
        spacings(blended)
    assert spacings(blended, wavelength=1.54187)["d"].item() > 3.13


def test_the_wavelength_comes_from_the_frames_where_none_is_given() -> None:
    assert wavelength_of(tracks([5.0], wavelength_angstrom=0.4139), None) == 0.4139
    with pytest.raises(RequestError, match="wavelength: not given"):
        spacings(tracks([5.0]))
    with pytest.raises(RequestError, match="wavelength: -1"):
        spacings(tracks([5.0]), wavelength=-1)


@pytest.mark.parametrize("anode", sorted(ANODES))
def test_lines_of_an_anode_are_told_apart(anode: str) -> None:
    alpha1, alpha2 = ANODES[anode]
    assert [line_of(w) for w in (alpha1, alpha2, (2 * alpha1 + alpha2) / 3)] == [
        "alpha1",
        "alpha2",
        "mean",
    ]
    # xraydb's energies of K-L3 and K-L2, an independent table, agree to 1 eV
    import xraydb

    for line, wavelength in (("Ka1", alpha1), ("Ka2", alpha2)):
        energy = xraydb.xray_line(anode, line).energy
        assert 12398.41984 / wavelength == pytest.approx(energy, abs=2.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"axis": "raman_shift"}, "expected 'two_theta' or 'q'"),
        ({"drop": "centre_sigma"}, "with their sigma on time and line"),
    ],
)
def test_what_has_no_spacing_is_refused(wrong: dict[str, str], message: str) -> None:
    measured = tracks([10.0]).assign_attrs(axis=wrong.get("axis", "two_theta"))
    if "drop" in wrong:
        measured = measured.drop_vars(wrong["drop"])
    with pytest.raises(RequestError, match=message):
        spacings(measured, wavelength=1.0)


def test_a_line_beyond_backscattering_has_no_angle() -> None:
    found = angles(tracks([[9.0, 14.0]], axis="q"), 1.0)
    assert np.isfinite(found.value).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("of", "geometry"),
    [
        ("zero", "bragg_brentano"),
        ("wavelength", "flat_detector"),
        ("displacement", "flat_detector"),
        ("displacement", "debye_scherrer"),
    ],
)
def test_effects_are_those_of_ray_tracing(of: str, geometry: str) -> None:
    """Move the setup by a little and look where the ray of a reflection then arrives."""
    small, two_theta = 1e-6, np.radians([8.0, 33.0, 71.0])
    if of == "zero":
        seen = two_theta + small
    elif of == "wavelength":
        # the true wavelength is longer than that which 2theta is reckoned with
        seen = 2 * np.arcsin((1 + small) * np.sin(two_theta / 2))
    elif geometry == "flat_detector":
        seen = np.arctan((1 + small) * np.tan(two_theta))
    else:
        # from (-s, 0), at 2theta, to the unit circle around the axis
        along = small * np.cos(two_theta) + np.sqrt(1 - (small * np.sin(two_theta)) ** 2)
        seen = np.arctan2(along * np.sin(two_theta), along * np.cos(two_theta) - small)
    form = effect(two_theta, of=of, geometry=geometry)
    np.testing.assert_allclose((seen - two_theta) / small, form, rtol=1e-4)


def test_a_sample_below_the_goniometer_axis_is_seen_too_low() -> None:
    """Bragg-Brentano by ray tracing: source and detector at theta, the surface s below the axis."""
    theta, small = np.radians([10.0, 40.0]), 1e-6
    # the beam, aimed at the axis, meets the surface s / tan(theta) further on
    hit = np.stack([small / np.tan(theta), np.full(2, -small)])
    leaving = np.stack([np.cos(theta), np.sin(theta)])
    reach = -(hit * leaving).sum(axis=0) + np.sqrt(
        (hit * leaving).sum(axis=0) ** 2 + 1 - (hit**2).sum(axis=0)
    )
    arrives = np.arctan2(*(hit + reach * leaving)[::-1])
    form = effect(2 * theta, of="displacement", geometry="bragg_brentano")
    np.testing.assert_allclose((arrives - theta) / small, form, rtol=1e-4)
