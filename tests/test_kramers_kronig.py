"""Consistency of sweeps: sound ones pass at the stated rate, drift and overdrive are caught."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from operando.observables.kramers_kronig import FALSE_ALARM, Consistency, check_consistency
from operando.simulate.impedance import (
    CABLE,
    FREQUENCY,
    Impedance,
    drifting,
    noisy,
    overdriven,
    point_times,
)

SHAPES = {
    "arcs and a tail": Impedance(),
    "ideal capacitors": Impedance(exponent=(1.0, 1.0), tail_exponent=0.95),
    "depressed": Impedance(exponent=(0.65, 0.6), tail_exponent=0.5),
    "cable": CABLE,
}


def judged(impedance: npt.NDArray[np.complex128], *, noise: float, count: int) -> list[Consistency]:
    return [
        check_consistency(FREQUENCY, noisy(impedance, noise=noise, seed=seed))
        for seed in range(count)
    ]


def test_sound_sweeps_pass_500_times_at_the_stated_rate() -> None:
    results = judged(Impedance().at(FREQUENCY), noise=0.005, count=500)
    probability = np.sort([result.probability for result in results])
    # Kolmogorov-Smirnov at 1 %: the probabilities are uniform, so the test is exact
    steps = (np.arange(500) + 0.5) / 500
    assert np.abs(probability - steps).max() < 1.63 / np.sqrt(500) + 1e-3
    assert sum(result.violated for result in results) <= 500 * FALSE_ALARM + 2


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("noise", [0.001, 0.01])
def test_no_shape_of_a_sound_cell_is_called_inconsistent(shape: str, noise: float) -> None:
    results = judged(SHAPES[shape].at(FREQUENCY), noise=noise, count=100)
    assert sum(result.violated for result in results) <= 1
    found = np.sqrt(np.mean([result.noise**2 for result in results]))
    # the grid of relaxations follows an ideal capacitor to 0.25 %, rounder arcs to far less
    assert noise * 0.97 < found < np.hypot(noise, 0.0025) * 1.05


@pytest.mark.parametrize("noise", [0.0005, 0.002, 0.005])
def test_a_cell_that_doubles_its_arcs_during_the_sweep_is_caught(noise: float) -> None:
    hours = point_times(FREQUENCY).max() / 3600
    results = judged(drifting(Impedance(), FREQUENCY, per_hour=1 / hours), noise=noise, count=50)
    assert all(result.violated for result in results)
    assert min(result.residual for result in results) > 0.01


def test_a_cell_driven_beyond_its_linear_range_is_caught() -> None:
    driven = overdriven(Impedance(), FREQUENCY, amplitude_v=0.3)
    assert abs(driven[0] / Impedance().at(FREQUENCY)[0]) < 0.9
    assert sum(result.violated for result in judged(driven, noise=0.0005, count=50)) >= 48


def test_a_small_amplitude_is_the_linear_cell() -> None:
    np.testing.assert_allclose(
        overdriven(Impedance(), FREQUENCY, amplitude_v=1e-4), Impedance().at(FREQUENCY), rtol=1e-6
    )


def test_the_scale_of_the_impedance_changes_nothing() -> None:
    sweep = noisy(Impedance().at(FREQUENCY), noise=0.003, seed=2)
    one, other = check_consistency(FREQUENCY, sweep), check_consistency(FREQUENCY, 1e4 * sweep)
    assert other.residual == pytest.approx(one.residual, rel=1e-9)
    assert other.probability == pytest.approx(one.probability, rel=1e-6)


def test_too_few_points_are_not_judged() -> None:
    result = check_consistency(FREQUENCY[:9], Impedance().at(FREQUENCY[:9]))
    assert np.isnan(result.residual)
    assert not result.violated


@pytest.mark.shared_data
def test_a_gamry_sweep_that_drifted_below_a_third_of_a_hertz(shared_data: Path) -> None:
    """Its parts contradict each other by 3 % there (seen in the residuals), and not above."""
    frequency, impedance = gamry(shared_data)
    whole = check_consistency(frequency, impedance)
    above = check_consistency(frequency[frequency > 0.3], impedance[frequency > 0.3])
    assert whole.violated
    assert whole.violation > 0.02
    assert above.residual < 0.005


def gamry(
    shared_data: Path,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.complex128]]:
    """The sweep, taken from the text by hand: what is tested here is not the reader."""
    path = shared_data / "formats" / "echem" / "gamry" / "exampleDataGamry.DTA"
    lines = path.read_bytes().decode("latin-1").splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("ZCURVE"))
    cells = [line.split("\t")[3:6] for line in lines[first + 3 : first + 3 + 72]]
    rows = np.array(cells, float)[::-1]
    return rows[:, 0], rows[:, 1] + 1j * rows[:, 2]
