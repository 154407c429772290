"""Shift or mixture: both simulated, a third kind, noise that hides them, and a real series."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.interpolate import CubicSpline

from operando.errors import RequestError
from operando.observables.mixing import shift_or_mixture
from operando.observables.mixing_paths import ends_of, path
from operando.observables.path_comparison import VERDICTS
from operando.simulate.xanes import ion, metal

Array = npt.NDArray[np.float64]

ENERGY: Array = np.arange(17900.0, 18200.5, 1.0)
WINDOW = (17970.0, 18100.0)
FRAMES = 36


def frames(values: Array, energy: Array = ENERGY, **coordinates: Any) -> xr.DataArray:
    time = np.datetime64("2026-05-04T10:00:00", "ns")
    return xr.DataArray(
        values,
        dims=("time", "energy"),
        coords={
            "time": time + np.arange(len(values)) * np.timedelta64(60, "s"),
            "energy": ("energy", energy, {"units": "eV"}),
            **coordinates,
        },
        name="norm",
    )


def shift(part: Array, by: float) -> Array:
    return ion(ENERGY + by * part[:, None])


def mixture(part: Array, by: float) -> Array:
    mixed = (1 - part)[:, None] * ion(ENERGY) + part[:, None] * ion(ENERGY + by)
    return np.asarray(mixed)


def detour(part: Array, by: float) -> Array:
    """By way of a third species: ion, shifted ion, metal."""
    f = part[:, None]
    way = (1 - f) ** 2 * ion(ENERGY) + 2 * f * (1 - f) * ion(ENERGY + by) + f**2 * metal(ENERGY)
    return np.asarray(way)


def simulated(
    kind: Callable[[Array, float], Array],
    by: float,
    noise: float,
    seed: int,
    *,
    part: Array | None = None,
) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    clean = kind(np.linspace(0, 1, FRAMES) if part is None else part, by)
    return frames(clean + noise * rng.standard_normal(clean.shape))


def verdicts(result: xr.Dataset) -> list[str]:
    known = {value: name for name, value in VERDICTS.items()}
    return [known[int(value)] for value in result["verdict"].values]


@pytest.mark.parametrize("by", [1.0, 3.0])
@pytest.mark.parametrize(("kind", "truth"), [(mixture, 0.0), (shift, 1.0)])
def test_both_kinds_are_told_apart_with_calibrated_errors(
    kind: Callable[[Array, float], Array], truth: float, by: float
) -> None:
    found = [shift_or_mixture(simulated(kind, by, 1e-3, seed), window=WINDOW) for seed in range(40)]
    assert {verdict for result in found for verdict in verdicts(result)} == {kind.__name__}
    pulls = np.array(
        [
            (result["curvature"].item() - truth) / result["curvature_sigma"].item()
            for result in found
        ]
    )
    assert 0.7 < pulls.std() < 1.4  # of 40
    assert abs(pulls.mean()) < 1.0
    assert found[0]["shift"].item() == pytest.approx(-by, rel=0.1)
    chance = np.array([result[f"p_{kind.__name__}"].item() for result in found])
    assert np.mean(chance < 0.05) < 0.2
    bic = found[0][["bic_mixture", "bic_shift"]]
    assert (bic["bic_mixture"].item() < bic["bic_shift"].item()) == (kind is mixture)


def test_two_phases_of_different_shape_are_a_mixture() -> None:
    rng = np.random.default_rng(1)
    part = np.linspace(0, 1, FRAMES)[:, None]
    clean = (1 - part) * ion(ENERGY) + part * metal(ENERGY)
    result = shift_or_mixture(
        frames(clean + 1e-3 * rng.standard_normal(clean.shape)), window=WINDOW
    )
    assert verdicts(result) == ["mixture"]
    judged = result["block_number"].values == 0
    found = result["fraction_mixture"].values[judged]
    # relative to the ends, which are means of the first and last four frames
    expected = (part[judged, 0] - 1.5 / 35) / (1 - 3 / 35)
    np.testing.assert_allclose(found, expected, atol=0.004)


@pytest.mark.parametrize("by", [0.5, 1.0, 3.0])
def test_a_third_species_is_neither(by: float) -> None:
    for seed in range(5):
        result = shift_or_mixture(simulated(detour, by, 1e-3, seed), window=WINDOW)
        assert verdicts(result) == ["neither"]


@pytest.mark.parametrize("kind", [mixture, shift])
def test_noise_that_hides_the_difference_leaves_it_undecided(
    kind: Callable[[Array, float], Array],
) -> None:
    found = [
        verdicts(shift_or_mixture(simulated(kind, 0.4, 3e-3, seed), window=WINDOW))[0]
        for seed in range(30)
    ]
    assert found.count("undecided") >= 29
    assert set(found) <= {"undecided", kind.__name__}


def test_a_series_that_does_not_change_is_undecided() -> None:
    norm = simulated(shift, 0.0, 1e-3, 1)
    assert verdicts(shift_or_mixture(norm, window=WINDOW)) == ["undecided"]
    few = shift_or_mixture(norm[:10], window=WINDOW)
    assert verdicts(few) == ["undecided"]
    assert np.isnan(few["curvature"].item())
    assert few["frames"].item() == 0


@pytest.mark.parametrize("kind", [mixture, shift])
def test_spectra_without_noise(kind: Callable[[Array, float], Array]) -> None:
    result = shift_or_mixture(simulated(kind, 2.0, 0.0, 1), window=WINDOW)
    assert result["curvature"].item() == pytest.approx(float(kind is shift), abs=0.02)
    constant = np.tile(ion(ENERGY), (FRAMES, 1))
    assert verdicts(shift_or_mixture(frames(constant), window=WINDOW)) == ["undecided"]
    nothing = shift_or_mixture(frames(0 * constant), window=WINDOW)
    assert verdicts(nothing) == ["undecided"]


def test_a_cycle_is_judged_as_its_halves_are() -> None:
    there_and_back = 1 - np.abs(np.linspace(-1, 1, FRAMES))
    norm = simulated(shift, 2.0, 1e-3, 1, part=there_and_back)
    assert verdicts(shift_or_mixture(norm, window=WINDOW)) == ["shift"]
    halves = np.repeat([0, 1], FRAMES // 2)
    split = norm.assign_coords(half_cycle=("time", halves))
    result = shift_or_mixture(split, window=WINDOW, by="half_cycle")
    assert verdicts(result) == ["shift", "shift"]
    assert result["block_half_cycle"].values.tolist() == [0, 1]
    assert result["shift"].values[0] == pytest.approx(-result["shift"].values[1], rel=0.1)


def test_positions_are_judged_apart() -> None:
    interface, bulk = simulated(mixture, 3.0, 1e-3, 1), simulated(shift, 3.0, 1e-3, 2)
    both = np.stack([interface.values, bulk.values], axis=1).reshape(2 * FRAMES, -1)
    names = np.tile(["interface", "bulk"], FRAMES)
    result = shift_or_mixture(frames(both, position=("time", names)), window=WINDOW)
    assert result["block_position"].values.tolist() == ["interface", "bulk"]
    assert verdicts(result) == ["mixture", "shift"]
    number = result["block_number"].values
    assert set(names[number == 0].tolist()) == {"interface"}


def test_ends_may_be_given() -> None:
    own = np.arange(17890.0, 18210.0, 0.7)
    ends = {
        name: xr.DataArray(values, dims="energy", coords={"energy": own})
        for name, values in (("a", ion(own)), ("b", ion(own + 2)))
    }
    norm = simulated(shift, 2.0, 1e-3, 1)
    result = shift_or_mixture(norm, window=WINDOW, ends=ends, sigma=1e-3)
    assert verdicts(result) == ["shift"]
    assert result["frames"].item() == FRAMES
    np.testing.assert_allclose(result["fraction_shift"], np.linspace(0, 1, FRAMES), atol=0.01)


def test_paths_are_the_formulas() -> None:
    """Of both ways, by splines of scipy; the derivatives by differences."""
    knots = np.arange(0.0, 60.0, 0.8)
    a, b = np.tanh(knots - 30), np.tanh((knots - 28) / 1.5)
    f, by = 0.3, 1.9
    points = np.arange(10.0, 50.0)
    first, last = CubicSpline(knots, a), CubicSpline(knots, b)
    straight = (1 - f) * first(points) + f * last(points)
    curved = (1 - f) * first(points - f * by) + f * last(points + (1 - f) * by)
    ends = ends_of(knots, a, b, by)
    out, along, apart = (np.empty(points.size) for _ in range(3))
    for c in (0.0, 1.0, 0.4):
        path(ends, points, f, c, out, along, apart)
        np.testing.assert_allclose(out, straight + c * (curved - straight), atol=1e-12)
        np.testing.assert_allclose(apart, curved - straight, atol=1e-12)
        near, scratch = (np.empty(points.size) for _ in range(2))
        path(ends, points, f + 1e-6, c, near, scratch, apart)
        np.testing.assert_allclose((near - out) / 1e-6, along, atol=1e-5)


def test_lazy_frames_and_gaps() -> None:
    norm = simulated(mixture, 3.0, 1e-3, 1)
    norm[10, 120] = np.nan
    whole = shift_or_mixture(norm, window=WINDOW)
    assert whole["block_number"].values[10] == -1
    assert verdicts(whole) == ["mixture"]
    xr.testing.assert_identical(shift_or_mixture(norm.chunk(time=5), window=WINDOW), whole)


def test_contract(tmp_path: Path) -> None:
    norm = simulated(mixture, 3.0, 1e-3, 1).assign_coords(
        voltage=("time", np.linspace(3, 4, FRAMES), {"units": "V"})
    )
    result = shift_or_mixture(norm, window=WINDOW)
    assert result["verdict"].attrs["flag_meanings"] == "undecided mixture shift neither"
    assert result["shift"].attrs == {
        "units": "eV",
        "long_name": "shift from the first end to the last",
        "ancillary_variables": "shift_sigma",
    }
    assert result["voltage"].dims == ("time",)
    assert all("units" in variable.attrs for variable in result.data_vars.values())
    result.to_netcdf(tmp_path / "mixing.nc", engine="h5netcdf")


ONE = {"a": xr.DataArray(ion(ENERGY), dims="energy", coords={"energy": ENERGY})}
NARROW = ENERGY[60:211]
TIGHT = {name: xr.DataArray(ion(NARROW), dims="energy", coords={"energy": NARROW}) for name in "ab"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": (17900.0, 18200.0)}, "leave room outside the window"),
        ({"window": (17970.0, 17975.0)}, "6 points"),
        ({"ends": ONE}, "expected two spectra"),
        ({"ends": {"a": ONE["a"].rename(energy="x"), "b": ONE["a"]}}, "energy"),
        ({"window": (17960.0, 18110.0), "ends": TIGHT}, "17960-18110 eV; leave room"),
        ({"count": 3}, "an even number"),
        ({"by": "cycle"}, "by: 'cycle'; expected a coordinate on time"),
        ({"sigma": -1.0}, "not above 0"),
    ],
)
def test_an_impossible_request_is_refused(changed: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"window": WINDOW} | changed
    with pytest.raises(RequestError, match=message):
        shift_or_mixture(simulated(shift, 2.0, 1e-3, 1), **asked)


@pytest.mark.shared_data
def test_lithium_nickel_oxide_shifts(shared_data: Path) -> None:
    """Its half-height moves by 1.45 eV and back; no two of its spectra make up the others."""
    folder = shared_data / "operando" / "xas_ni_lno_rock"
    with (folder / "reference" / "rock_lno_reference.csv").open(encoding="utf-8") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    found = (folder / "XAS_normalized").glob("*pos1*.txt")
    files = sorted(found, key=lambda file: rows[file.name]["t_local"])
    read = [np.loadtxt(file, encoding="latin-1", usecols=(0, 1)) for file in files]
    norm = frames(np.stack([columns[:, 1] for columns in read]), read[0][:, 0])
    for window in ((8330.0, 8380.0), (8320.0, 8400.0), (8325.0, 8365.0)):
        result = shift_or_mixture(norm, window=window)
        assert verdicts(result) == ["shift"]
        assert result["curvature"].item() == pytest.approx(1, abs=0.15)
    assert result["shift"].item() == pytest.approx(1.6, abs=0.2)
    half = np.array([float(rows[file.name]["E_half_step_eV"]) for file in files])
    judged = result["block_number"].values == 0
    between = np.corrcoef(half[judged], result["fraction_shift"].values[judged])[0, 1]
    assert between > 0.98
