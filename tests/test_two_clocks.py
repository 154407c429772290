"""Counter and wall clock of one log: the counter is kept, the two must agree about their unit."""

from __future__ import annotations

import numpy as np
import pytest

from operando_readers._reader import FormatError
from operando_readers._stamps import Moments
from operando_readers._two_clocks import on_one_clock

ZERO = np.datetime64("2024-09-20T08:00:00", "ns")


def stamps(seconds: np.ndarray, digits: int | None = None) -> Moments:
    shift = np.round(np.asarray(seconds, float) * 1e9).astype(np.int64).astype("m8[ns]")
    return Moments(ZERO + shift, None, digits)


def test_the_counter_counts_from_the_first_stamped_row() -> None:
    counter = np.array([30.0, 60.5, 90.0])
    axis = on_one_clock(counter, stamps(np.array([0.0, 30.4, 60.1])))
    assert axis.elapsed.tolist() == [0.0, 30.5, 60.0]
    assert axis.wall_clock == pytest.approx([0.0, 30.4, 60.1])
    assert axis.facts["start"] == "2024-09-20T08:00:00"
    assert axis.facts["source"] == "column"


def test_a_first_row_without_stamp_is_before_the_start() -> None:
    moments = stamps(np.array([0.0, 0.0, 30.0]))
    moments.values[0] = np.datetime64("NaT")
    axis = on_one_clock(np.array([0.0, 10.0, 40.0]), moments)
    assert axis.elapsed.tolist() == [-10.0, 0.0, 30.0]
    assert axis.wall_clock is not None
    assert np.isnan(axis.wall_clock[0])


@pytest.mark.parametrize(("digits", "sigma"), [(None, None), (3, None), (0, 0.5), (-1, 30.0)])
def test_sigma_is_half_the_resolution(digits: int | None, sigma: float | None) -> None:
    axis = on_one_clock(None, stamps(np.array([0.0, 60.0]), digits))
    assert axis.facts["sigma_s"] == sigma
    assert axis.wall_clock is None


@pytest.mark.parametrize("factor", [1000.0, 1e-3, 1 / 3600, 3600.0, 1.02])
def test_a_unit_that_lies_is_refused(factor: float) -> None:
    """Milliseconds, hours or days under the header of seconds."""
    wall = np.arange(0, 7200, 10.0)
    with pytest.raises(FormatError, match="not what its name says"):
        on_one_clock(wall * factor, stamps(wall))


def test_the_same_stamp_in_every_row_is_no_clock() -> None:
    with pytest.raises(FormatError, match="not what its name says"):
        on_one_clock(np.arange(0, 600, 10.0), stamps(np.zeros(60)))


@pytest.mark.parametrize("ppm", [0.0, 47.0, -500.0])
def test_drift_steps_and_pauses_are_none_of_its_business(ppm: float) -> None:
    counter = np.arange(0, 40_000, 10.0)
    wall = counter * (1 + 1e-6 * ppm)
    wall[2000:] -= 1.3
    wall[3000:] += 3600.0
    axis = on_one_clock(counter, stamps(np.round(wall), 0))
    assert axis.elapsed == pytest.approx(counter)


@pytest.mark.parametrize("span", [50.0, 61.0, 130.0])
def test_whole_seconds_do_not_look_like_a_wrong_unit(span: float) -> None:
    counter = np.linspace(0.0, span, 23) + 0.49
    axis = on_one_clock(counter, stamps(np.floor(counter), 0))
    assert axis.elapsed.size == 23


def test_a_restarted_counter_gives_way_to_the_stamps() -> None:
    counter = np.array([0.0, 100.0, 0.0, 50.0])
    axis = on_one_clock(counter, stamps(np.array([0.0, 100.0, 500.0, 550.0])))
    assert axis.elapsed.tolist() == [0.0, 100.0, 500.0, 550.0]
    assert "restarts" in axis.reason
    with pytest.raises(FormatError, match="goes back from 100 to 0"):
        on_one_clock(counter, None)


def test_without_stamps_the_counter_stands() -> None:
    start = stamps(np.array([0.0]), 0)
    axis = on_one_clock(np.array([5.0, 6.0]), None, start=start)
    assert axis.elapsed.tolist() == [5.0, 6.0]
    assert axis.facts["source"] == "header"
    assert on_one_clock(np.array([5.0]), None).facts["start"] is None


def test_rows_without_time_are_refused() -> None:
    with pytest.raises(FormatError, match="neither"):
        on_one_clock(None, None)
    with pytest.raises(FormatError, match="data row 2 has none"):
        on_one_clock(np.array([0.0, np.nan]), None)
    moments = stamps(np.array([0.0, 10.0]))
    moments.values[1] = np.datetime64("NaT")
    with pytest.raises(FormatError, match="data row 2 has no stamp"):
        on_one_clock(None, moments)


def test_no_rows() -> None:
    axis = on_one_clock(np.empty(0), Moments(np.empty(0, "M8[ns]"), None, None))
    assert axis.elapsed.size == 0
    assert axis.facts["start"] is None
