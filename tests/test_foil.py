"""First inflection of foils: simulated truth, and the zirconium foil calibrated by others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.corrections.bragg import bragg_angle
from operando.corrections.foil import calibrate_energy, first_inflection
from operando.errors import RequestError
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]

ENERGY = np.arange(17900.0, 18120.0, 0.5)


def edge(energy: Array, centre: float = 17998.0, width: float = 2.5) -> Array:
    return np.asarray(1.5 - 1e-3 * (energy - 18000) + np.arctan((energy - centre) / width) / np.pi)


def frames(mu: Array, energy: Array = ENERGY) -> xr.Dataset:
    mu = np.atleast_2d(mu)
    time = np.datetime64("2026-05-04T10:00:00", "ns") + np.arange(len(mu)) * np.timedelta64(60, "s")
    return xr.Dataset(
        {"mu_reference": (("time", "energy"), mu, {"units": "1"})},
        {"time": time, "energy": ("energy", energy, {"units": "eV"})},
        {"technique": "xas"},
    )


@given(st.floats(-4, 4), st.floats(0.1, 10))
@settings(deadline=None)  # the first call compiles
def test_an_inflection_between_grid_points(offset: float, scale: float) -> None:
    found = first_inflection(ENERGY, scale * edge(ENERGY, 17998 + offset), tabulated=17998, span=3)
    assert found.energy == pytest.approx(17998 + offset, abs=0.01)
    assert len(found.maxima) == 1


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("noise", "span"), [(1e-4, 2.0), (1e-3, 3.0)])
def test_pulls(noise: float, span: float, told: bool) -> None:
    rng = np.random.default_rng(1)
    grid = np.arange(17900.0, 18100.0, 0.2)
    pulls = []
    for centre in rng.uniform(17997, 17999, 150):
        mu = edge(grid, centre) + noise * rng.standard_normal(grid.size)
        found = first_inflection(
            grid, mu, tabulated=17998, span=span, sigma=noise if told else None
        )
        pulls.append((found.energy - centre) / found.sigma)
    assert 0.85 < np.std(pulls) < 1.2
    assert abs(np.mean(pulls)) < 0.25


def test_the_lower_of_two_maxima_is_found_and_the_other_told() -> None:
    two = edge(ENERGY) + edge(ENERGY, 18008.4, 2.4)
    found = first_inflection(ENERGY, two, tabulated=17998)
    assert found.energy == pytest.approx(17998, abs=0.15)
    assert found.maxima[:, 0] == pytest.approx([17998, 18008.4], abs=0.5)
    assert found.maxima[:, 1].max() == 1


def test_nothing_within_reach_is_nan() -> None:
    far = first_inflection(ENERGY, edge(ENERGY, 18006.0), tabulated=17998)
    assert np.isnan([far.energy, far.sigma]).all()
    assert far.maxima[0, 0] == pytest.approx(18006, abs=0.5)
    for mu in (np.ones(ENERGY.size), -edge(ENERGY)):
        nothing = first_inflection(ENERGY, mu, tabulated=17998)
        assert np.isnan(nothing.energy)


def test_missing_points_are_left_out() -> None:
    mu = edge(ENERGY)
    mu[::7] = np.nan
    found = first_inflection(ENERGY, mu, tabulated=17998, span=3)
    assert found.energy == pytest.approx(17998, abs=0.02)


def test_calibration_by_energy_and_by_angle() -> None:
    series = frames(np.stack([edge(ENERGY, 18000.0)] * 3))
    plain = calibrate_energy(series, tabulated=17998.0, span=3)
    shift = plain["energy"].values - ENERGY
    assert shift == pytest.approx(-2.0, abs=0.005)
    xr.testing.assert_identical(
        plain["mu_reference"].drop_vars("energy"), series["mu_reference"].drop_vars("energy")
    )
    assert plain["energy"].attrs == {"units": "eV"}
    turned = calibrate_energy(series, tabulated=17998.0, span=3, spacing=3.1356)
    angle = bragg_angle(ENERGY, spacing=3.1356)
    offset = bragg_angle(turned["energy"].values, spacing=3.1356) - angle
    assert np.ptp(offset) < 1e-12
    again = first_inflection(
        turned["energy"].values, series["mu_reference"].values[0], tabulated=17998, span=3
    )
    assert again.energy == pytest.approx(17998, abs=0.005)
    # 100 eV above, E cot(theta) is larger by 1.1 %
    far = np.interp(18100, ENERGY, turned["energy"].values - ENERGY)
    assert far == pytest.approx(-2.0 * (18100 / 17999) ** 2, rel=2e-3)
    [step] = json.loads(plain.attrs["corrections"])
    assert step["step"] == "calibration"
    assert step["measured"] == pytest.approx(18000, abs=0.005)
    assert step["tabulated"] == 17998


def test_only_the_leading_scans_are_used_and_lazy_ones_stay_lazy() -> None:
    series = frames(np.stack([edge(ENERGY)] * 4 + [edge(ENERGY, 18002.0)] * 4)).chunk(time=2)
    done = calibrate_energy(series, tabulated=17999.0, scans=4, span=3)
    assert done["energy"].values - ENERGY == pytest.approx(1.0, abs=0.005)
    assert done["mu_reference"].chunks is not None


def test_an_impossible_request_is_refused() -> None:
    series = frames(edge(ENERGY))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"tabulated": 18003.5}, r"no first inflection .* within 5 eV.*17998\.0 eV \(1\.00\)"),
        ({"tabulated": 19000.0}, "span: 2.0 eV around 19000.0 eV holds 0 points"),
        ({"tabulated": 17998.0, "span": 0.5}, "holds 3 points; at least 6"),
        ({"tabulated": 17998.0, "signal": "mu"}, "signal: no 'mu'"),
        ({"tabulated": 17998.0, "scans": 0}, "scans: 0"),
    ]
    for options, message in cases:
        with pytest.raises(RequestError, match=message):
            calibrate_energy(series, **options)
    with pytest.raises(RequestError, match="none of the first 1 has a whole"):
        calibrate_energy(series * np.nan, tabulated=17998.0)


@pytest.mark.shared_data
def test_the_zirconium_foil_has_two_maxima(shared_data: Path) -> None:
    """Calibrated by its authors to 17998.0; the second, higher maximum is known at 18008.4."""
    path = shared_data / "formats" / "xas" / "zr_foil" / "Zrfoil_QAS.prj"
    project = larch("io").read_athena(str(path), do_preedge=False, do_bkg=False, do_fft=False)
    energy, mu = np.array(project.Zr_foil.energy, float), np.array(project.Zr_foil.mu, float)
    found = first_inflection(energy, mu, tabulated=17998.0, span=1.5)
    assert found.energy == pytest.approx(17998.0, abs=0.05)
    assert found.sigma < 0.02
    assert found.maxima[:, 0] == pytest.approx([17998.0, 18008.4], abs=0.11)
    assert found.maxima[:, 1] == pytest.approx([0.93, 1.0], abs=0.01)
    with pytest.warns(UserWarning, match=r"several maxima, 17998\.0 eV .* 18008\.4 eV \(1\.00\)"):
        calibrate_energy(frames(mu, energy), tabulated=17998.0)
