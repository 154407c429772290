"""The simulated series: its expected counts against what the truth says of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.observables import Doublet
from operando.simulate.diffraction_series import (
    CELL,
    NAMES,
    TWO_THETA,
    WINDOWS,
    Options,
    expected,
    patterns,
    truth,
)

Array = npt.NDArray[np.float64]


def lone(name: str, options: Options, frames: int = 3) -> tuple[Array, xr.Dataset]:
    """The counts of one line without background, and its truth."""
    known = truth(frames, options=options)
    others = known.copy(deep=True)
    others["area"].loc[{"line": name}] = 0.0
    return expected(known, options=options) - expected(others, options=options), known.sel(
        line=name
    )


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(asymmetry=0.3, scale=2.0),
        Options(divergence=0.03),
        Options(doublet=Doublet()),
    ],
)
def test_areas_are_those_of_the_truth(options: Options) -> None:
    counts, known = lone("standard", options)
    inside = np.abs(TWO_THETA - 23.5) < 3
    found = counts[:, inside].sum(axis=1) * 0.01
    # tails of the Lorentzian share beyond 3 degree: 0.35 (2 / pi) atan(w / 6)
    np.testing.assert_allclose(found, known["area"], rtol=6e-3)


def test_lines_are_where_the_truth_says() -> None:
    for name in ("solid", "broad", "standard"):
        counts, known = lone(name, Options(), frames=5)
        middle = (counts * TWO_THETA).sum(axis=1) / counts.sum(axis=1)
        np.testing.assert_allclose(middle, known["centre"], atol=0.05)
        np.testing.assert_allclose(TWO_THETA[counts.argmax(axis=1)], known["centre"], atol=0.0051)


def test_asymmetry_divergence_and_doublet_have_their_sides() -> None:
    def balance(options: Options, name: str = "solid") -> float:
        counts, known = lone(name, options)
        centre = float(known["centre"][0])
        above = counts[0, centre + 0.02 < TWO_THETA].sum()
        return float(above / counts[0, centre - 0.02 > TWO_THETA].sum())

    assert balance(Options()) == pytest.approx(1.0, abs=0.1)
    assert balance(Options(asymmetry=0.2)) > 1.3
    assert balance(Options(divergence=0.03)) < 0.7
    assert balance(Options(divergence=0.03)) < balance(Options(divergence=0.03), "standard")
    assert balance(Options(doublet=Doublet()), "standard") > 2.0


def test_second_line_of_a_doublet_follows_bragg() -> None:
    counts, _ = lone("standard", Options(doublet=Doublet()))
    spacing = 1.5405929 / (2 * np.sin(np.radians(23.5 / 2)))
    second = 2 * np.degrees(np.arcsin(1.5444274 / (2 * spacing)))
    ratio = np.interp(second, TWO_THETA, counts[0]) / np.interp(23.5, TWO_THETA, counts[0])
    assert 0.45 < ratio < 0.75


def test_parts_of_a_series_are_those_of_the_whole() -> None:
    known = truth(40)
    np.testing.assert_array_equal(expected(known)[10:20], expected(known.isel(time=slice(10, 20))))


def test_counts_are_poisson_and_the_same_for_a_seed() -> None:
    intensity, known = patterns(20, seed=5)
    z = (intensity.values - expected(known)) / np.sqrt(expected(known))
    assert abs(z.mean()) < 0.02
    assert z.std() == pytest.approx(1.0, abs=0.01)
    xr.testing.assert_identical(intensity, patterns(20, seed=5)[0])
    assert not intensity.equals(patterns(20, seed=6)[0])


def test_phases_change_and_a_line_is_born() -> None:
    known = truth(1000)["area"]
    assert known.sel(line="parent")[[0, -1]].values.tolist() == [40.0, 0.0]
    assert known.sel(line="daughter")[[0, -1]].values.tolist() == [0.0, 38.0]
    assert (known.sel(line="newborn")[:599] == 0).all()
    assert float(known.sel(line="newborn")[-1]) == 6.0
    assert set(NAMES.values()) == set(known["line"].values.tolist())
    assert sum(len(window.lines) for window in WINDOWS) == len(NAMES)


def test_grains_of_a_cell_part_come_and_go() -> None:
    area = truth(4000, options=Options(cell=20.0)).sel(line="cell")["area"]
    assert float(area.mean()) == pytest.approx(20.0, rel=0.03)
    assert float(np.log(area).std()) == pytest.approx(0.5, rel=0.05)
    assert WINDOWS[1].low < CELL < WINDOWS[1].high
