"""One line that moves, or two that change places: known truth, and answers that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.optimize import least_squares

from operando.errors import RequestError
from operando.observables.lines.phase_behaviour import solid_solution_or_two_phase
from operando.observables.lines.phase_descent import descend
from operando.observables.lines.phase_explanations import Data, one_line, two_lines
from operando.observables.lines.phase_frame import (
    ASYMMETRY,
    FIRST,
    OWN,
    SECOND,
    SHARED,
    WIDTH,
)

Array = npt.NDArray[np.float64]

GRID = 17.0 + 0.01 * np.arange(120, dtype=np.float64)
FWHM, MIDDLE, BACKGROUND = 0.08, 17.6, 100.0
FRAMES = 40
DONE = ((np.arange(FRAMES) + 0.5) / FRAMES)[:, None]


def line(centre: npt.ArrayLike, fwhm: npt.ArrayLike = FWHM, *, skew: float = 0.0) -> Array:
    """A pseudo-Voigt (eta 0.4) of unit area from the textbook."""
    off = GRID - np.asarray(centre)
    u = 2.0 * off / (fwhm * np.where(off > 0, 1.0 + skew, 1.0 - skew))
    gauss = 2.0 * np.sqrt(np.log(2.0) / np.pi) * np.exp(-np.log(2.0) * u**2)
    return np.asarray((0.6 * gauss + 0.4 * 2.0 / np.pi / (1.0 + u**2)) / fwhm)


def moves(apart: float, **shape: Any) -> Array:
    """One line that goes from end to end, of unit area; `apart` in FWHM."""
    return line(MIDDLE + (DONE - 0.5) * apart * FWHM, **shape)


def changes(apart: float, share: Array = DONE, drift: float = 0.0, **shape: Any) -> Array:
    """Two lines that change places, and drift by so many FWHM."""
    way = (DONE - 0.5) * drift * FWHM
    low, high = MIDDLE - 0.5 * apart * FWHM, MIDDLE + 0.5 * apart * FWHM
    return (1.0 - share) * line(low + way, **shape) + share * line(high + way, **shape)


def counted(clean: Array, area: float, seed: int) -> xr.DataArray:
    values = np.random.default_rng(seed).poisson(area * clean + BACKGROUND).astype(float)
    stamps = np.datetime64("2025-01-01", "ns") + np.arange(len(clean)) * np.timedelta64(60, "s")
    return xr.DataArray(
        values,
        dims=("time", "two_theta"),
        coords={"time": stamps, "two_theta": ("two_theta", GRID, {"units": "degree"})},
        name="intensity",
    )


def judged(clean: Array, area: float, seed: int, **options: Any) -> tuple[str, str, xr.Dataset]:
    found = solid_solution_or_two_phase(counted(clean, area, seed), window=(17.0, 18.2), **options)
    return named(found["answer"]), named(found["reason"]), found


def named(codes: xr.DataArray, block: int = 0) -> str:
    return str(codes.attrs["flag_meanings"].split()[int(codes[block])])


def test_answers_are_right_where_lines_are_three_quarters_of_a_width_apart() -> None:
    for seed in range(2):
        assert judged(moves(0.75), 8.0, seed)[0] == "solid_solution"
        assert judged(changes(0.75), 8.0, seed)[0] == "two_phase"


def test_sign_is_right_at_half_a_width_and_nothing_is_decided_wrongly() -> None:
    right = 0
    for seed in range(6):
        for clean, truth, sign in (
            (moves(0.5), "solid_solution", -1),
            (changes(0.5), "two_phase", 1),
        ):
            answer, _, found = judged(clean, 8.0, seed)
            assert answer in (truth, "undecided")
            right += bool(sign * float(found["delta_chi2"][0]) > 0)
    assert right >= 10


@pytest.mark.parametrize("area", [8.0, 40.0])
def test_lines_less_than_a_third_of_a_width_apart_are_not_decided(area: float) -> None:
    for seed in range(2):
        for clean in (moves(0.25), changes(0.25)):
            assert judged(clean, area, seed)[0] == "undecided"


@pytest.mark.parametrize(
    ("clean", "expected"),
    [
        (moves(1.0, skew=0.2), {"solid_solution"}),
        (changes(1.0, skew=0.2), {"two_phase"}),
        (changes(1.0, share=np.sin(np.pi * DONE)), {"two_phase"}),
        (changes(1.0, drift=0.4), {"two_phase_with_drift"}),
        (line(MIDDLE + 0 * DONE), {"too_close", "not_told_apart"}),
        (line(MIDDLE + 0 * DONE, skew=0.15), {"too_close", "not_told_apart", "no_exchange"}),
        (changes(0.75, share=0.3 + 0 * DONE), {"no_exchange"}),
        (line(MIDDLE, FWHM * (1.0 + 0.6 * DONE)), {"width_changes"}),
        (line(MIDDLE + 0.05 * DONE, FWHM * (1.0 + 0.5 * DONE)), {"width_changes"}),
        (line(MIDDLE + 0.08 * (DONE > 0.5)), {"not_told_apart"}),
        (0.0 * moves(1.0), {"no_line"}),
    ],
    ids=[
        "asymmetric_moves",
        "asymmetric_changes",
        "there_and_back",
        "drift",
        "still",
        "asymmetric_still",
        "doublet_still",
        "broadens",
        "broadens_and_moves",
        "jumps",
        "nothing",
    ],
)
def test_what_is_none_of_the_two_is_told(clean: Array, expected: set[str]) -> None:
    for seed in range(2):
        answer, reason, _ = judged(clean, 40.0, seed)
        assert (answer if answer != "undecided" else reason) in expected


def test_numbers_have_honest_sigmas() -> None:
    pulls, widths = [], []
    for seed in range(10):
        _, _, found = judged(changes(1.0), 20.0, seed)
        error = float(found["separation"][0]) - FWHM
        pulls.append(error / float(found["separation_sigma"][0]))
        widths.append((float(found["block_fwhm"][0]) - FWHM) / float(found["block_fwhm_sigma"][0]))
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.5
    assert 0.6 < np.sqrt(np.mean(np.square(widths))) < 1.5


def test_hump_of_the_width_and_share_are_there_to_be_seen() -> None:
    _, _, found = judged(changes(1.0), 40.0, 1)
    width = found["fwhm"].values
    # of two equal lines one width apart, by the second moment of a Gaussian: sqrt(1 + 2 ln 2) FWHM
    assert width[18:22].mean() == pytest.approx(FWHM * np.sqrt(1.0 + 2.0 * np.log(2.0)), rel=0.15)
    assert width[:3].mean() == pytest.approx(FWHM, rel=0.1)
    np.testing.assert_allclose(found["upper_share"].values, DONE[:, 0], atol=0.08)
    still = judged(moves(1.0), 40.0, 1)[2]
    spread = (still["fwhm"] - FWHM) / still["fwhm_sigma"]
    assert 0.7 < float(spread.std()) < 1.4
    truth = MIDDLE + (DONE[:, 0] - 0.5) * FWHM
    pulls = (still["centre"].values - truth) / still["centre_sigma"].values
    assert 0.7 < pulls.std() < 1.3
    assert found["fwhm"].attrs == {
        "units": "degree",
        "long_name": "width of one line, free in every frame",
        "ancillary_variables": "fwhm_sigma",
    }


def test_descent_finds_what_scipy_finds() -> None:
    rng = np.random.default_rng(3)
    # no area comes near zero, which scipy is not told of
    expected = 20.0 * changes(1.0, share=0.2 + 0.6 * DONE)[::5] + BACKGROUND
    y, weight = rng.poisson(expected).astype(float), 1.0 / expected
    data = Data(GRID, y, weight, 0.4)
    two, _ = two_lines(data, one_line(data))

    def residual(p: Array) -> Array:
        c1, c2, w, skew = p
        left = []
        for row, known in zip(y, weight, strict=True):
            columns = np.stack(
                [line(c1, w, skew=skew), line(c2, w, skew=skew), np.ones_like(GRID), GRID - MIDDLE]
            )
            root = np.sqrt(known)
            amounts = np.linalg.lstsq((columns * root).T, row * root, rcond=None)[0]
            left.append(root * (row - amounts @ columns))
        return np.concatenate(left)

    sigma = np.sqrt(np.diag(two.covariance))[[FIRST, SECOND, WIDTH, ASYMMETRY]]
    ours = two.shared[[FIRST, SECOND, WIDTH, ASYMMETRY]]
    found = least_squares(residual, ours + 0.5 * sigma, x_scale=sigma, xtol=1e-12, ftol=1e-14)
    assert two.chi2 == pytest.approx(2.0 * found.cost, abs=0.02)
    np.testing.assert_array_less(np.abs(found.x - ours) / sigma, 0.05)


def test_own_variances_hold_those_of_what_is_shared() -> None:
    """Against the inverse of the whole normal matrix, by finite differences."""
    y = 50.0 * moves(0.6)[::10] + BACKGROUND
    weight = 1.0 / y
    shared, own = np.zeros(SHARED), np.zeros((4, OWN))
    shared[WIDTH], shared[1] = FWHM, 0.4
    own[:, 0] = MIDDLE + (DONE[::10, 0] - 0.5) * 0.6 * FWHM
    free = np.zeros(OWN + SHARED, dtype=bool)
    free[0] = free[OWN + WIDTH] = True
    far = np.full(OWN + SHARED, 100.0)
    _, _, _, _, covariance, variance = descend(GRID, y, weight, shared, own, free, -far, far, 1)

    def model(p: Array) -> Array:
        rows = [
            p[5 + 3 * i] * line(p[1 + i], p[0]) + p[6 + 3 * i] + p[7 + 3 * i] * (GRID - MIDDLE)
            for i in range(4)
        ]
        return np.concatenate(rows) * np.sqrt(weight).ravel()

    p = np.concatenate([[FWHM], own[:, 0], np.tile([50.0, BACKGROUND, 0.0], 4)])
    step = 1e-5
    slopes = [(model(p + step * e) - model(p - step * e)) / (2 * step) for e in np.eye(p.size)]
    expected = np.linalg.inv(np.array(slopes) @ np.array(slopes).T)
    assert covariance[WIDTH, WIDTH] == pytest.approx(expected[0, 0], rel=1e-3)
    np.testing.assert_allclose(variance[:, 0], np.diag(expected)[1:5], rtol=1e-3)


def test_blocks_cover_all_frames_and_gaps_are_left_out() -> None:
    clean = np.concatenate([moves(1.0), changes(1.0), changes(1.0)[:12]])
    frames = counted(clean, 20.0, 0)
    frames[5] = np.nan
    frames[:, 3] = np.nan
    found = solid_solution_or_two_phase(frames, window=(17.0, 18.2), block=40)
    number = found["block_number"].values
    assert found["frames"].values.tolist() == [40, 51]
    assert number[5] == -1
    assert np.isnan(found["centre"].values[5])
    assert named(found["answer"]) == "solid_solution"
    assert found["block_start"].values[1] == frames["time"].values[41]
    chunked = solid_solution_or_two_phase(frames.chunk(time=7), window=(17.0, 18.2), block=40)
    xr.testing.assert_identical(found, chunked)


def test_given_sigma_and_share_are_used() -> None:
    frames = counted(changes(1.0), 20.0, 0)
    sigma = frames.copy(data=np.sqrt(frames.values))
    given = solid_solution_or_two_phase(frames, window=(17.0, 18.2), sigma=2.0 * sigma, eta=0.4)
    assert float(given["chi2r_two_phase"][0]) == pytest.approx(0.25, abs=0.03)
    usual = solid_solution_or_two_phase(frames, window=(17.0, 18.2), sigma=sigma, eta=0.4)
    assert float(given["delta_chi2"][0]) < 0.3 * float(usual["delta_chi2"][0])


def test_too_few_frames_are_told() -> None:
    found = solid_solution_or_two_phase(counted(moves(1.0)[:6], 8.0, 0), window=(17.0, 18.2))
    assert named(found["reason"]) == "too_few_frames"
    assert np.isnan(found["delta_chi2"].values).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (17.0, 17.05)}, "window: 6 points"),
        ({"block": 5}, "block: 5"),
        ({"eta": 1.5}, "eta: 1.5"),
    ],
)
def test_impossible_requests_are_refused(options: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"window": (17.0, 18.2), **options}
    with pytest.raises(RequestError, match=message):
        solid_solution_or_two_phase(counted(moves(1.0), 8.0, 0), **asked)


def test_other_dimensions_and_several_spots_are_refused() -> None:
    frames = counted(moves(1.0), 8.0, 0)
    with pytest.raises(RequestError, match="expected time and one axis"):
        solid_solution_or_two_phase(frames.transpose(), window=(17.0, 18.2))
    with pytest.raises(RequestError, match="sigma"):
        solid_solution_or_two_phase(frames, window=(17.0, 18.2), sigma=frames.isel(time=0))
    spots = frames.assign_coords(position=("time", np.repeat(["a", "b"], 20)))
    with pytest.raises(RequestError, match="2 positions"):
        solid_solution_or_two_phase(spots, window=(17.0, 18.2))


@pytest.mark.shared_data
def test_product_lines_of_a_real_cell_are_two_phases_and_a_poor_profile_is_no_answer(
    shared_data: Path,
) -> None:
    """The cell forms a layered product and dissolves it: its SOURCES.md. Not a solid solution."""
    folder = shared_data / "operando" / "xrd_zn_mno2_mspd" / "Data"
    table = np.array([np.loadtxt(path) for path in sorted(folder.glob("17_Da_f*.xye"))])
    stamps = np.datetime64("2025-09-23", "ns") + np.arange(len(table)) * np.timedelta64(996, "s")
    axis = ("two_theta", table[0, :, 0], {"units": "degree"})
    frames, sigma = (
        xr.DataArray(
            table[:, :, column],
            dims=("time", "two_theta"),
            coords={"time": stamps, "two_theta": axis},
        )
        for column in (1, 2)
    )
    # a line of the product beside one that is there all the time
    pair = solid_solution_or_two_phase(frames, window=(11.0, 11.4), sigma=sigma, block=36)
    assert named(pair["answer"]) == "two_phase"
    # the strong basal line is not described by one profile within the tiny noise: no answer
    basal = solid_solution_or_two_phase(frames, window=(2.4, 2.8), sigma=sigma, block=36)
    assert (named(basal["answer"]), named(basal["reason"])) == ("undecided", "misfit")
