"""Exposures of two detectors, joined by the time they share and never by the nearest index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from operando.align import pair
from operando.errors import ContractError, RequestError
from operando.model import check

ZERO = np.datetime64("2026-05-04T10:00:00", "ns")


def at(seconds: npt.ArrayLike) -> npt.NDArray[np.datetime64]:
    return ZERO + np.rint(np.asarray(seconds, float) * 1e9).astype("timedelta64[ns]")


def detector(technique: str, start: npt.ArrayLike, end: npt.ArrayLike) -> xr.Dataset:
    axis, unit = {"xrd": ("q", "1/angstrom"), "raman": ("raman_shift", "1/cm")}[technique]
    begin, stop = at(start), at(end)
    return xr.Dataset(
        {"intensity": (("time", axis), np.ones((begin.size, 2)), {"units": "1"})},
        {
            "time": begin + (stop - begin) // 2,
            axis: (axis, [1.0, 2.0], {"units": unit}),
            "time_start": ("time", begin),
            "time_end": ("time", stop),
        },
        {"technique": technique},
    )


def paired(
    frames: list[tuple[float, float]], others: list[tuple[float, float]]
) -> tuple[list[int], list[float], list[float]]:
    first = detector("xrd", *zip(*frames, strict=True))
    found = pair(first, detector("raman", *zip(*others, strict=True)))
    return (
        found["raman_frame"].values.tolist(),
        found["raman_overlap"].values.tolist(),
        found["raman_gap"].values.tolist(),
    )


@pytest.mark.parametrize(
    ("frame", "others", "expected"),
    [
        ((0, 60), [(0, 60)], (0, 1.0, 0.0)),
        ((0, 60), [(-30, 15), (20, 60)], (1, 40 / 60, 0.0)),
        ((0, 60), [(-600, 20), (20, 600)], (1, 40 / 60, 0.0)),
        ((0, 60), [(-10, 20), (40, 80)], (0, 1 / 3, 0.0)),  # equally long: the earlier
        ((0, 60), [(-60, -2), (61.5, 100)], (-1, 0.0, 1.5)),
        ((0, 60), [(60, 100), (-5, 0)], (-1, 0.0, 0.0)),  # they touch, and share nothing
        ((0, 60), [(70, 100)], (-1, 0.0, 10.0)),
        ((0, 60), [(-100, -25)], (-1, 0.0, 25.0)),
        ((0, 60), [(-100, 1000), (10, 20)], (0, 1.0, 0.0)),  # one inside another
        ((30, 30), [(0, 60)], (0, 1.0, 0.0)),
        ((0, 60), [(30, 30)], (0, 0.0, 0.0)),
        ((30, 30), [(30, 30)], (0, 1.0, 0.0)),
        ((30, 30), [(31, 31)], (-1, 0.0, 1.0)),
    ],
)
def test_who_overlaps(
    frame: tuple[float, float],
    others: list[tuple[float, float]],
    expected: tuple[int, float, float],
) -> None:
    [index], [share], [gap] = paired([frame], others)
    assert (index, gap) == (expected[0], expected[2])
    assert share == pytest.approx(expected[1])


spans = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda s: (s[0], s[0] + s[1])),
    min_size=1,
    max_size=12,
)


@given(spans, spans)
def test_agrees_with_the_definition(
    frames: list[tuple[float, float]], others: list[tuple[float, float]]
) -> None:
    """Against every pair, one by one."""
    indices, shares, gaps = paired(frames, others)
    for (start, end), index, share, gap in zip(frames, indices, shares, gaps, strict=True):
        best, most, nearest = -1, -1.0, np.inf
        for number in sorted(range(len(others)), key=lambda n: others[n][0]):
            begin, stop = others[number]
            shared = min(end, stop) - max(start, begin)
            meets = shared > 0 or (shared == 0 and (start == end or begin == stop))
            if meets and shared > most:
                best, most = number, shared
            nearest = min(nearest, max(begin - end, start - stop, 0))
        assert index == best
        assert gap == (nearest if best < 0 else 0)
        whole = 1.0 if end == start else most / (end - start)
        assert share == pytest.approx(whole if best >= 0 else 0.0)


def test_names_units_and_contract() -> None:
    frames = detector("xrd", [0, 100], [60, 160])
    found = pair(frames, detector("xrd", [10, 300], [20, 310]), name="second")
    assert list(found["second_frame"].values) == [0, -1]
    assert found["second_overlap"].attrs["units"] == "1"
    assert found["second_gap"].attrs["units"] == "s"
    assert found["second_gap"].values.tolist() == [0.0, 80.0]
    check(found)
    xr.testing.assert_identical(
        found.drop_vars(["second_frame", "second_overlap", "second_gap"]), frames
    )


def test_many_frames_beside_one_long_exposure() -> None:
    """The candidates are taken in blocks; one exposure behind all others keeps them open."""
    start = np.arange(3000) * 10.0
    frames = detector("xrd", start, start + 9)
    others = detector("raman", np.append(-1, start + 4), np.append(40_000, start + 13))
    found = pair(frames, others)
    assert (found["raman_frame"].values == 0).all()
    assert (found["raman_overlap"].values == 1).all()
    back = pair(others.isel(time=slice(1, None)), frames)
    assert back["xrd_frame"].values.tolist() == list(range(3000))
    assert back["xrd_overlap"].values == pytest.approx(np.full(3000, 5 / 9))


def test_impossible_requests() -> None:
    frames, others = detector("xrd", [0], [1]), detector("raman", [0], [1])
    with pytest.raises(ContractError, match="raman: no 'time_end'"):
        pair(frames, others.drop_vars("time_end"))
    with pytest.raises(ContractError, match="frames: no 'time_start'"):
        pair(frames.drop_vars("time_start"), others)
    with pytest.raises(RequestError, match="raman: holds no frame"):
        pair(frames, others.isel(time=slice(0)))
    with pytest.raises(RequestError, match="raman_gap"):
        pair(frames.assign(raman_gap=("time", [1.0])), others)
