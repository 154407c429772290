"""Names stay with their lines, whatever the fit made of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.errors import RequestError
from operando.observables.lines.association import associate
from operando.observables.lines.identity import histories

Array = npt.NDArray[np.float64]
WIDTH = 0.08


def series(
    area: Array, centre: Array, *, as_fitted: npt.NDArray[np.intp], seed: int = 0
) -> xr.Dataset:
    """True lines (time, line), each under the name that `as_fitted` gives its frame."""
    rng = np.random.default_rng(seed)
    value = area + rng.normal(size=area.shape)
    seen = value > 4
    place = np.where(seen, centre + 0.002 * rng.normal(size=area.shape), np.nan)
    numbers = {
        "area": value,
        "area_sigma": np.ones(area.shape),
        "centre": place,
        "centre_sigma": np.where(seen, 0.002, np.nan),
        "fwhm": np.where(seen, WIDTH, np.nan),
        "fwhm_sigma": np.where(seen, 0.004, np.nan),
        "truth": np.tile(np.arange(area.shape[1]), (len(area), 1)),
    }
    time = np.datetime64("2025-01-01", "ns") + np.arange(len(area)) * np.timedelta64(60, "s")
    both = ("time", "line")
    return xr.Dataset(
        {
            name: (both, np.take_along_axis(values, as_fitted, axis=1))
            for name, values in numbers.items()
        },
        {"time": time, "line": [f"w_{at}" for at in range(area.shape[1])]},
        {"axis": "two_theta"},
    )


def order(frames: int, count: int, *swapped: tuple[slice, list[int]]) -> npt.NDArray[np.intp]:
    names = np.tile(np.arange(count), (frames, 1))
    for part, as_fitted in swapped:
        names[part] = as_fitted
    return names


def test_the_line_that_stays_keeps_its_name_when_its_neighbour_goes() -> None:
    area = np.stack([np.where(np.arange(100) < 50, 80.0, 0.0), np.full(100, 30.0)], axis=1)
    centre = np.stack([np.full(100, 9.0), 9.2 - 0.001 * np.arange(100)], axis=1)
    measured = series(area, centre, as_fitted=order(100, 2, (slice(50, None), [1, 0])))
    wrong = histories(measured)
    assert np.isnat(wrong["died"].values[0])
    found = associate(measured)
    np.testing.assert_array_equal(found["truth"].values, np.tile([0, 1], (100, 1)))
    assert found["fitted_as"].values[[0, 60]].tolist() == [[0, 1], [1, 0]]
    right = histories(found)
    assert right["died"].values[0] == right["time"].values[50]
    assert np.isnat(right["died"].values[1])


def test_lines_that_cross_are_told_by_their_areas() -> None:
    t = np.linspace(-0.3, 0.3, 120)
    centre = np.stack([9 + t, 9 - t], axis=1)
    area = np.tile([120.0, 30.0], (120, 1))
    measured = series(area, centre, as_fitted=order(120, 2, (slice(60, None), [1, 0])))
    np.testing.assert_array_equal(associate(measured)["truth"].values, np.tile([0, 1], (120, 1)))


def test_a_line_that_walks_into_the_next_window_keeps_its_name() -> None:
    """The first line moves on to where the second window is, whose own line has gone."""
    frames = np.arange(200)
    centre = np.stack([9 + 0.003 * frames, np.full(200, 9.5)], axis=1)
    area = np.stack([np.full(200, 60.0), np.where(frames < 60, 25.0, 0.0)], axis=1)
    as_fitted = order(200, 2, (slice(120, None), [1, 0]))
    found = associate(series(area, centre, as_fitted=as_fitted))
    np.testing.assert_array_equal(found["truth"].values, np.tile([0, 1], (200, 1)))


def test_a_new_line_gets_its_own_name() -> None:
    area = np.stack([np.full(80, 60.0), np.where(np.arange(80) < 40, 0.0, 30.0)], axis=1)
    measured = series(area, np.full((80, 2), [9.0, 9.15]), as_fitted=order(80, 2))
    found = associate(measured)
    xr.testing.assert_identical(found.drop_vars("fitted_as"), measured)
    np.testing.assert_array_equal(found["fitted_as"].values, order(80, 2))


def test_a_series_goes_on_where_another_ended() -> None:
    area, centre = np.tile([80.0, 30.0], (40, 1)), np.full((40, 2), [9.0, 9.2])
    earlier = series(area, centre, as_fitted=order(40, 2))
    gone = area.copy()
    gone[:, 0] = 0
    later = series(gone, centre, as_fitted=order(40, 2, (slice(None), [1, 0])), seed=2)
    assert associate(later)["truth"].values[0].tolist() == [1, 0]
    assert associate(later, known=earlier)["truth"].values[0].tolist() == [0, 1]
    with pytest.raises(RequestError, match="expected those of tracks"):
        associate(later, known=earlier.isel(line=[0]))


def test_noise_renames_nothing() -> None:
    rng = np.random.default_rng(3)
    for seed in range(50):
        area = np.tile(rng.uniform(8, 100, 4), (100, 1))
        centre = np.tile(9 + np.cumsum(rng.uniform(0.12, 0.5, 4)), (100, 1))
        measured = series(area, centre, as_fitted=order(100, 4), seed=seed)
        np.testing.assert_array_equal(associate(measured)["fitted_as"].values, order(100, 4))


@pytest.mark.parametrize(("shift", "unit", "gain"), [(3.0, 1.0, 1.0), (-9.0, 57.3, 1e5)])
def test_names_do_not_depend_on_origin_or_unit(shift: float, unit: float, gain: float) -> None:
    area = np.stack([np.where(np.arange(100) < 50, 80.0, 0.0), np.full(100, 30.0)], axis=1)
    measured = series(
        area,
        np.full((100, 2), [9.0, 9.2]),
        as_fitted=order(100, 2, (slice(50, None), [1, 0])),
    )
    scaled = measured.assign(
        {name: measured[name] * gain for name in ("area", "area_sigma")}
        | {name: measured[name] * unit for name in ("centre_sigma", "fwhm", "fwhm_sigma")}
        | {"centre": (measured["centre"] + shift) * unit}
    )
    one, other = associate(measured), associate(scaled)
    np.testing.assert_array_equal(one["fitted_as"], other["fitted_as"])


def test_positions_are_followed_separately() -> None:
    odd = np.arange(60) % 2 == 1
    area = np.tile([80.0, 30.0], (60, 1))
    centre = np.where(odd[:, None], [9.2, 9.4], [9.0, 9.2])
    spots = series(area, centre, as_fitted=order(60, 2)).assign_coords(
        position=("time", np.where(odd, "b", "a"))
    )
    np.testing.assert_array_equal(associate(spots)["fitted_as"].values, order(60, 2))
