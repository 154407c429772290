"""Sweeps of impedance: from flat points to (time, frequency), and where a sweep begins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operando_readers import _sweeps
from operando_readers._reader import FormatError
from operando_readers._sweeps import cartesian, find_starts, sweeps, union

Array = npt.NDArray[np.float64]

DOWN = np.array([1000.0, 100.0, 10.0, 1.0])


def arc(frequency: Array) -> npt.NDArray[np.complex128]:
    """Impedance of 5 ohm in series with 20 ohm beside 1 mF: Re falls, Im is negative."""
    return (5 + 20 / (1 + 2j * np.pi * frequency * 20 * 1e-3)).astype(np.complex128)


def test_one_sweep_is_sorted_and_keeps_its_numbers() -> None:
    dataset = sweeps(DOWN, arc(DOWN), starts=[0])
    assert dataset["impedance"].dims == ("time", "frequency")
    assert dataset["frequency"].values.tolist() == DOWN[::-1].tolist()
    assert dataset["impedance"].values[0].tolist() == arc(DOWN)[::-1].tolist()
    assert (dataset["impedance"].values.imag < 0).all()
    assert dataset["impedance"].attrs["units"] == "ohm"
    assert dataset["frequency"].attrs["units"] == "Hz"
    assert dataset.attrs == {"technique": "impedance"}
    assert set(dataset.variables) == {"frequency", "impedance"}


def test_times_count_from_the_start_of_each_sweep() -> None:
    time = np.array([10.0, 11.0, 13.0, 20.0, 30.0, 31.0, 33.0, 42.0])
    dataset = sweeps(
        np.tile(DOWN, 2),
        np.tile(arc(DOWN), 2),
        starts=[0, 4],
        time=time,
        begins=[9.5, 29.0],
        potential=np.arange(8.0),
    )
    assert dataset["elapsed"].values.tolist() == [9.5, 29.0]
    assert dataset["exposure"].values.tolist() == [10.5, 13.0]
    assert dataset["point_time"].values.tolist() == [[10.5, 3.5, 1.5, 0.5], [13.0, 4.0, 2.0, 1.0]]
    assert dataset["potential"].values.tolist() == [[3.0, 2.0, 1.0, 0.0], [7.0, 6.0, 5.0, 4.0]]
    assert dataset["elapsed"].dims == dataset["exposure"].dims == ("time",)
    units = {name: dataset[name].attrs["units"] for name in dataset.variables}
    assert units["elapsed"] == units["exposure"] == units["point_time"] == "s"


def test_without_a_begin_a_sweep_starts_at_its_first_known_time() -> None:
    time = np.array([np.nan, 11.0, 13.0, 20.0])
    dataset = sweeps(DOWN, arc(DOWN), starts=[0], time=time)
    assert dataset["elapsed"].values.tolist() == [11.0]
    assert dataset["exposure"].values.tolist() == [9.0]
    assert np.isnan(dataset["point_time"].values[0, -1])


def test_frequencies_of_several_sweeps_are_united() -> None:
    frequency = np.array([1000.0, 10.0, 1000.09, 100.0, 10.001])
    dataset = sweeps(frequency, arc(frequency), starts=[0, 2])
    assert dataset["frequency"].values.tolist() == [10.0, 100.0, 1000.0]
    found = dataset["impedance"].values
    assert np.isnan(found[0, 1].real)
    assert np.isnan(found[0, 1].imag)
    assert np.isfinite(found[[0, 0, 1, 1, 1], [0, 2, 0, 1, 2]]).all()
    assert found[1, 2] == arc(frequency)[2]


def test_frequencies_further_apart_stay_two() -> None:
    assert union(np.array([100.0, 100.02]))[0].tolist() == [100.0, 100.02]
    close = [100 * (1 + 0.9e-4) ** step for step in range(4)]
    assert union(np.array(close))[0].size == 2


def test_a_repeated_frequency_keeps_its_last_point_and_is_counted() -> None:
    frequency = np.array([100.0, 10.0, 10.0, 10.0005, 1.0])
    impedance = np.array([1, 2, 3, 4, 5]) * (1 - 1j)
    dataset = sweeps(frequency, impedance, starts=[0], time=np.arange(5.0))
    assert dataset["impedance"].values.real.tolist() == [[5.0, 4.0, 1.0]]
    assert dataset["point_time"].values.tolist() == [[4.0, 3.0, 0.0]]
    assert dataset.attrs["repeated_points"] == 2


@pytest.mark.parametrize(("real", "imaginary"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, -np.inf)])
def test_a_point_that_is_not_finite_is_missing_in_both_parts(real: float, imaginary: float) -> None:
    impedance = cartesian(np.array([1.0, real]), np.array([-1.0, imaginary]))
    found = sweeps(np.array([2.0, 1.0]), impedance, starts=[0])["impedance"].values[0]
    assert np.isnan(found[0].real)
    assert np.isnan(found[0].imag)
    assert found[1] == 1 - 1j


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_frequency_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(FormatError, match=r"frequency: point 2"):
        sweeps(np.array([2.0, bad]), np.ones(2, complex), starts=[0])


def test_no_points_are_refused() -> None:
    with pytest.raises(FormatError, match="no points"):
        sweeps(np.empty(0), np.empty(0, complex), starts=[0])


@pytest.mark.parametrize(
    ("time", "begins", "message"),
    [
        ([1.0, 2.0, np.nan, np.nan], None, "sweep 2 has none"),
        ([1.0, 2.0, 3.0, 2.5], None, "point 4 lies 0.5 s before"),
        ([1.0, 2.0, 3.0, 4.0], [1.5, 3.0], "point 1 lies 0.5 s before"),
        ([1.0, 2.0, 3.0, 1e11], None, "beyond"),
        ([1.0, 2.0, 3.0, 4.0], [1.0, np.inf], "beyond"),
    ],
)
def test_times_that_cannot_be(time: list[float], begins: list[float] | None, message: str) -> None:
    frequency = np.array([2.0, 1.0, 2.0, 1.0])
    with pytest.raises(FormatError, match=message):
        sweeps(frequency, arc(frequency), starts=[0, 2], time=np.array(time), begins=begins)


def test_sweeps_that_share_nothing_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_sweeps, "LARGEST", 100)
    frequency = np.geomspace(1, 1e6, 11)
    with pytest.raises(FormatError, match="expected common ones"):
        sweeps(frequency, arc(frequency), starts=np.arange(11))


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ([], []),
        ([50.0], [0]),
        ([100, 10, 1], [0]),
        ([1, 10, 100], [0]),
        ([100, 10, 1, 100, 10, 1], [0, 3]),
        ([1, 10, 100, 1, 10, 100], [0, 3]),
        ([1, 10, 100, 10, 1], [0, 3]),
        ([100, 10, 10, 10, 1, 100], [0, 5]),
        ([100, 10, 10.0005, 1, 100, 1], [0, 4]),
        ([7, 7, 7], [0, 1, 2]),
    ],
)
def test_where_sweeps_begin(frequency: list[float], expected: list[int]) -> None:
    assert find_starts(np.array(frequency, float)).tolist() == expected


@given(
    decades=st.integers(2, 30),
    count=st.integers(1, 5),
    upwards=st.booleans(),
    repeats=st.integers(1, 3),
)
def test_whole_sweeps_come_back(decades: int, count: int, upwards: bool, repeats: int) -> None:
    """Any number of equal sweeps, in either direction, with every point measured several times."""
    one = np.geomspace(1e-2, 1e5, decades)[:: 1 if upwards else -1]
    frequency = np.tile(np.repeat(one, repeats), count)
    starts = find_starts(frequency)
    assert starts.tolist() == [decades * repeats * at for at in range(count)]
    dataset = sweeps(
        frequency, arc(frequency), starts=starts, time=np.arange(frequency.size, dtype=float)
    )
    assert dict(dataset.sizes) == {"time": count, "frequency": decades}
    axis = dataset["frequency"].values
    assert dataset["impedance"].values == pytest.approx(np.tile(arc(axis), (count, 1)), rel=1e-12)
    assert dataset.attrs.get("repeated_points", 0) == decades * count * (repeats - 1)
    assert (dataset["exposure"].values == decades * repeats - 1).all()


@given(st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=60))
def test_the_axis_ascends_and_every_point_is_near_its_place(points: list[float]) -> None:
    frequency = np.array(points)
    axis, place = union(frequency)
    assert (np.diff(axis) > 0).all()
    assert np.abs(axis[place] / frequency - 1).max() < 1.01e-4
    assert set(axis) <= set(points)
