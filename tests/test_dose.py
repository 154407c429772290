"""Dose against charge: silent on noise and on charge, whatever its course; found where it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import lfilter

from operando.observables.dose import FEWEST, DoseTest, follows_dose

Array = npt.NDArray[np.float64]

SIGMA = 0.02


def cell(course: str, count: int) -> tuple[Array, Array, Array]:
    """Return dose, net charge and throughput of a cell in a beam that is always on."""
    dose = np.arange(count) / count
    charge = {
        "cycles": np.abs(((dose * 3) % 2) - 1),
        "charge, then rest": np.clip(dose * 2 - 0.5, 0, 1),
        "current and rest": np.floor(dose * 5) / 5 + np.maximum((dose * 5) % 1 - 0.5, 0) * 0.4,
        "at rest": np.zeros(count),
        "one current": dose.copy(),
    }[course]
    return dose, charge, np.append(0.0, np.cumsum(np.abs(np.diff(charge))))


COURSES = ("cycles", "charge, then rest", "current and rest", "at rest", "one current")
Signal = Callable[[Array, Array, Array], Array]


def verdict(
    signal: Signal, course: str, *, count: int, noise: Array, walk: float = 0.0
) -> DoseTest:
    dose, charge, throughput = cell(course, count)
    return follows_dose(
        signal(dose, charge, throughput) + noise,
        np.full(count, SIGMA**2),
        dose=dose,
        charge=charge,
        throughput=throughput,
        wander=walk * dose,
    )


def nothing(dose: Array, charge: Array, throughput: Array) -> Array:
    return np.zeros(dose.size)


@pytest.mark.parametrize("course", COURSES)
def test_a_long_run_of_noise_is_silent(course: str) -> None:
    """400 series a course: white, alike in neighbours, twice as large as said, drifting."""
    rng = np.random.default_rng(COURSES.index(course))
    alarms = []
    for count in (15, 60, 60, 150):
        for _ in range(25):
            white = SIGMA * rng.standard_normal(count)
            alike = lfilter([0.6], [1, -0.8], SIGMA * rng.standard_normal(count + 100))[100:]
            drift = np.cumsum(0.1 * rng.standard_normal(count) / np.sqrt(count))
            for noise, walk in (
                (white, 0.0),
                (alike, 0.0),
                (2 * white, 0.0),
                (white + drift, 0.01),
            ):
                alarms.append(verdict(nothing, course, count=count, noise=noise, walk=walk).follows)
    assert sum(alarms) <= 1


DRIVEN_BY_CHARGE: dict[str, Signal] = {
    "linear": lambda dose, charge, throughput: -0.5 * charge,
    "sigmoid": lambda dose, charge, throughput: -0.5 / (1 + np.exp(-(charge - 0.4) * 30)),
    "irreversible": lambda dose, charge, throughput: -0.5 * throughput / throughput[-1],
    "faster": lambda dose, charge, throughput: -0.5 * (throughput / throughput[-1]) ** 2,
    "slower": lambda dose, charge, throughput: -0.5 * np.sqrt(throughput / throughput[-1]),
    "both": lambda dose, charge, throughput: -charge - 0.2 * throughput / throughput[-1],
    "onset": lambda dose, charge, throughput: -0.3 * (throughput > 0.6 * throughput[-1]),
}


@pytest.mark.parametrize("course", [course for course in COURSES if course != "at rest"])
@pytest.mark.parametrize("signal", DRIVEN_BY_CHARGE)
def test_what_charge_drives_is_never_called_dose(signal: str, course: str) -> None:
    rng = np.random.default_rng(7)
    for count in (40, 150):
        for _ in range(15):
            noise = SIGMA * rng.standard_normal(count)
            assert not verdict(DRIVEN_BY_CHARGE[signal], course, count=count, noise=noise).follows


@pytest.mark.parametrize("saturates", [False, True])
def test_what_the_beam_drives_is_found_where_charge_can_be_told_from_it(saturates: bool) -> None:
    def damage(dose: Array, charge: Array, throughput: Array) -> Array:
        return -0.2 * (1 - np.exp(-dose / 0.3)) if saturates else -0.2 * dose

    rng = np.random.default_rng(8)
    for course, told in (("at rest", True), ("charge, then rest", True), ("one current", False)):
        found = [
            verdict(damage, course, count=150, noise=SIGMA * rng.standard_normal(150))
            for _ in range(20)
        ]
        assert np.mean([test.follows for test in found]) == (1.0 if told else 0.0), course
        if told:
            assert all(test.advantage > 10 and test.p_alone < 1e-4 for test in found)


def test_frames_without_a_number_do_not_count() -> None:
    dose, charge, throughput = cell("at rest", 40)
    shift = -0.5 * dose
    plain = verdict(lambda *_: shift, "at rest", count=40, noise=np.zeros(40))
    lost = np.insert(shift, 20, np.nan)
    more = [np.insert(of, 20, of[20]) for of in (dose, charge, throughput)]
    spread = np.full(41, SIGMA**2)
    again = follows_dose(
        lost, spread, dose=more[0], charge=more[1], throughput=more[2], wander=np.zeros(41)
    )
    assert again == plain
    assert again.follows
    few = FEWEST - 1
    test = verdict(lambda dose, *_: -dose, "at rest", count=few, noise=np.zeros(few))
    assert not test.follows
    assert np.isnan(test.advantage)


def test_a_long_series_is_averaged_to_the_same_verdict() -> None:
    rng = np.random.default_rng(1)
    noise = SIGMA * rng.standard_normal(20_000)
    found = verdict(lambda dose, *_: -0.02 * dose, "charge, then rest", count=20_000, noise=noise)
    assert found.follows
