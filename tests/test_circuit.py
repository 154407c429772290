"""The circuit and its fit: derivatives by difference, minima against scipy, sigma against truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import least_squares

from operando.observables.circuit import Circuit, Prior, fit, starts
from operando.simulate.impedance import FREQUENCY, Impedance, noisy

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

OMEGA = np.asarray(2 * np.pi * FREQUENCY)
CELL = Impedance(inductance=2e-7)
CIRCUIT = Circuit(arcs=2, tail=True)


def parameters(cell: Impedance) -> Array:
    """The row of parameters that the circuit should find for a simulated cell."""
    tail = np.log(cell.tail) - cell.tail_exponent * np.log(OMEGA.min())
    return np.array(
        [
            cell.series_resistance,
            cell.inductance,
            *np.log(cell.resistance),
            *np.log(cell.time_constant),
            *cell.exponent,
            tail,
            cell.tail_exponent,
        ]
    )


def weights(impedance: Complex) -> Array:
    return np.asarray(1 / np.abs(impedance))


def many(count: int, *, noise: float, cell: Impedance = CELL) -> Complex:
    return noisy(np.tile(cell.at(FREQUENCY), (count, 1)), noise=noise, seed=1)


def test_the_model_is_the_simulated_cell() -> None:
    total, _ = CIRCUIT.model(OMEGA, parameters(CELL)[None])
    np.testing.assert_allclose(total[0], CELL.at(FREQUENCY), rtol=1e-12)


def test_without_a_tail_there_are_arcs_alone() -> None:
    cell = Impedance(tail=0.0, tail_exponent=0.5)
    total, _ = Circuit(arcs=2, tail=False).model(OMEGA, parameters(CELL)[None, :8] * 1.0)
    expected = cell.at(FREQUENCY) + 1j * OMEGA * CELL.inductance
    np.testing.assert_allclose(total[0], expected, rtol=1e-12)


@pytest.mark.parametrize("arcs", [1, 2, 3])
def test_derivatives_are_those_by_central_differences(arcs: int) -> None:
    circuit = Circuit(arcs=arcs, tail=True)
    tau = np.linspace(np.log(1e-5), np.log(1e-1), arcs)
    alpha = np.linspace(0.7, 0.95, arcs)
    theta = np.array([3.0, 1e-6, *np.linspace(0.5, 2.0, arcs), *tau, *alpha, 0.3, 0.6])
    _, slopes = circuit.model(OMEGA, theta[None])
    for at in range(circuit.size):
        step = 1e-3 if at == 1 else 1e-6
        shift = step * (np.arange(circuit.size) == at)
        ahead, _ = circuit.model(OMEGA, (theta + shift)[None])
        behind, _ = circuit.model(OMEGA, (theta - shift)[None])
        np.testing.assert_allclose(
            slopes[0, at], (ahead - behind)[0] / (2 * step), rtol=1e-4, atol=1e-6
        )


def test_clean_sweeps_give_their_parameters_back_without_a_guess() -> None:
    impedance = CELL.at(FREQUENCY)
    start = starts(CIRCUIT, OMEGA, impedance, weights(impedance))
    repeated = np.tile(impedance, (len(start), 1))
    found = fit(
        CIRCUIT,
        OMEGA,
        repeated,
        weights(repeated),
        start=start,
        noise=np.full(len(start), 1e-6),
    )
    best = int(np.argmin(found.cost))
    np.testing.assert_allclose(found.theta[best], parameters(CELL), rtol=1e-3, atol=1e-9)
    assert found.residual[best] < 1e-5


def test_minima_are_those_of_scipy_with_the_same_soft_loss() -> None:
    impedance = many(3, noise=0.004)
    truth = parameters(CELL)
    found = fit(
        CIRCUIT,
        OMEGA,
        impedance,
        weights(impedance),
        start=np.tile(truth, (3, 1)),
        noise=np.full(3, 0.004),
    )
    scale = np.where(np.arange(truth.size) == 1, 1e-7, 1.0)
    for row, theta in zip(impedance, found.theta, strict=True):

        def deviations(theta: Array, row: Complex = row) -> Array:
            off = (row - CIRCUIT.model(OMEGA, (theta * scale)[None])[0][0]) / np.abs(row)
            return np.concatenate([off.real, off.imag])

        oracle = least_squares(
            deviations, truth / scale, loss="soft_l1", f_scale=0.012, xtol=1e-14, ftol=1e-14
        )
        np.testing.assert_allclose(theta / scale, oracle.x, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_sigma_is_calibrated(noise: float) -> None:
    count = 400
    impedance = many(count, noise=noise)
    truth = parameters(CELL)
    found = fit(
        CIRCUIT,
        OMEGA,
        impedance,
        weights(impedance),
        start=np.tile(truth, (count, 1)),
        noise=np.full(count, noise),
    )
    pulls = (found.theta - truth) / np.sqrt(np.einsum("bpp->bp", found.covariance))
    assert np.all((pulls.std(axis=0) > 0.9) & (pulls.std(axis=0) < 1.1))
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.25)


def test_single_wild_points_do_not_lead() -> None:
    impedance = many(20, noise=0.002)
    impedance[:, 30] *= 1.3
    impedance[:, 12] *= 0.8
    truth = parameters(CELL)
    found = fit(
        CIRCUIT,
        OMEGA,
        impedance,
        weights(impedance),
        start=np.tile(truth, (20, 1)),
        noise=np.full(20, 0.002),
    )
    assert np.abs(np.exp(np.median(found.theta, axis=0) - truth)[2:4] - 1).max() < 0.03


def test_points_without_weight_do_not_count() -> None:
    impedance = many(1, noise=0.004)
    kept = np.arange(OMEGA.size) % 3 != 1
    inside = fit(
        CIRCUIT,
        OMEGA,
        impedance,
        np.where(kept, weights(impedance), 0.0),
        start=parameters(CELL)[None],
        noise=np.array([0.004]),
    )
    alone = fit(
        CIRCUIT,
        OMEGA[kept],
        impedance[:, kept],
        weights(impedance)[:, kept],
        start=parameters(CELL)[None],
        noise=np.array([0.004]),
    )
    for one, other in ((inside.theta, alone.theta), (inside.covariance, alone.covariance)):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(inside.residual, alone.residual, rtol=1e-6)


def test_arcs_come_by_ascending_time_constant_wherever_the_start_had_them() -> None:
    impedance = many(1, noise=0.001)
    truth = parameters(CELL)
    swapped = truth[[0, 1, 3, 2, 5, 4, 7, 6, 8, 9]]
    noise = np.array([0.001])
    found = [
        fit(CIRCUIT, OMEGA, impedance, weights(impedance), start=start[None], noise=noise)
        for start in (truth, swapped)
    ]
    np.testing.assert_allclose(found[0].theta, found[1].theta, rtol=1e-6, atol=1e-12)
    assert found[1].theta[0, 4] < found[1].theta[0, 5]


def test_a_resistance_in_series_that_is_not_known_has_a_wide_sigma_not_none() -> None:
    """A fast arc beyond the sweep: R_s in a logarithm would fall to zero with an error of zero."""
    cell = Impedance(series_resistance=0.5, time_constant=(4e-8, 3e-2), exponent=(0.85, 0.87))
    seen = FREQUENCY < 2e5
    impedance = noisy(cell.at(FREQUENCY[seen])[None], noise=0.005, seed=3)
    start = parameters(cell)[None]
    start[0, 0] = 0.0
    found = fit(
        CIRCUIT, OMEGA[seen], impedance, weights(impedance), start=start, noise=np.array([0.005])
    )
    assert np.sqrt(found.covariance[0, 0, 0]) > 0.2 * max(found.theta[0, 0], 1.0)


def test_a_prior_decides_where_the_sweep_is_silent_and_nowhere_else() -> None:
    silent = Impedance(tail=1e-4)
    impedance = noisy(silent.at(FREQUENCY)[None], noise=0.002, seed=5)
    start = parameters(CELL)[None]
    weak = Prior(start + 0.5, 0.002**2 * np.eye(CIRCUIT.size)[None])
    weak.weight[0, :2] = 0.0
    found = fit(
        CIRCUIT,
        OMEGA,
        impedance,
        weights(impedance),
        start=start,
        noise=np.array([0.002]),
        prior=weak,
    )
    assert np.exp(found.theta[0, 2:4]) == pytest.approx(CELL.resistance, rel=0.05)
    assert np.all(np.isfinite(found.covariance))
