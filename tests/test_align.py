"""Alignment: the numbered cases of the specification, and what must hold for any data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.align import align
from operando.electrochemistry import prepare
from operando.errors import AlignmentError, ContractError, RequestError
from operando.model import ALIGNMENT_FLAGS, STATES, category_attributes, check
from operando_readers._reader import File

Array = npt.NDArray[np.float64]
ZERO = np.datetime64("2022-07-26T20:38:30.190", "ns")
VERIFIED = json.dumps({"sigma_s": 0.0})
FIELDS = ("voltage", "voltage_min", "voltage_max", "current", "charge_passed", "net_capacity")


def at(seconds: npt.ArrayLike, zero: np.datetime64 = ZERO) -> npt.NDArray[np.datetime64]:
    return zero + np.rint(np.asarray(seconds, float) * 1e9).astype("timedelta64[ns]")


def frames_of(
    start: npt.ArrayLike, end: npt.ArrayLike, *, zero: np.datetime64 = ZERO, clock: str = VERIFIED
) -> xr.Dataset:
    begin, stop = at(start, zero), at(end, zero)
    intensity = np.arange(3.0 * begin.size).reshape(begin.size, 3)
    return xr.Dataset(
        {"intensity": (("time", "two_theta"), intensity, {"units": "1"})},
        {
            "time": begin + (stop - begin) // 2,
            "two_theta": ("two_theta", [1.0, 2.0, 3.0], {"units": "degree"}),
            "time_start": ("time", begin),
            "time_end": ("time", stop),
        },
        {"technique": "xrd", "clock": clock},
    )


def log_of(
    time: npt.ArrayLike,
    voltage: npt.ArrayLike,
    current: npt.ArrayLike = 0.0,
    *,
    averaging: str = "backward",
    zero: np.datetime64 = ZERO,
    clock: str = VERIFIED,
    **columns: npt.ArrayLike,
) -> xr.Dataset:
    stamps = at(time, zero)
    data: dict[str, Any] = {
        "voltage": ("time", np.asarray(voltage, float), {"units": "V"}),
        "current": (
            "time",
            np.broadcast_to(np.asarray(current, float), stamps.shape).copy(),
            {"units": "A", "averaging": averaging},
        ),
    }
    for name, values in columns.items():
        attributes: dict[str, Any] = {"units": "1"}
        if name == "charge_counter":
            attributes = {"units": "A h"}
        if name == "state_instrument":
            attributes = category_attributes(STATES)
        dtype = float if name == "charge_counter" else np.int32
        data[name] = ("time", np.broadcast_to(np.asarray(values, dtype), stamps.shape), attributes)
    files = json.dumps(["a.mpt", "b.mpt", "c.mpt"])
    attrs = {
        "technique": "electrochemistry",
        "current_sign": "oxidation_positive",
        "source_files": files,
        "clock": clock,
    }
    return xr.Dataset(data, {"time": stamps}, attrs)


def prepared(*args: Any, max_gap_s: float | None = None, **columns: Any) -> xr.Dataset:
    return prepare(log_of(*args, **columns), max_gap_s=max_gap_s, sign="oxidation_positive")


def flags(aligned: xr.Dataset, frame: int = 0) -> set[str]:
    mask = int(aligned["alignment_flag"].values[frame])
    return {name for name, bit in ALIGNMENT_FLAGS.items() if mask & bit}


def numbers(aligned: xr.Dataset, name: str) -> Array:
    return np.asarray(aligned[name].values, float)


def ramp(n: int = 101) -> xr.Dataset:
    """3 V + 1 mV/s, one row a second, 1 A backwards: charge is t / 3600 A h."""
    time = np.arange(float(n))
    return prepared(time, 3 + 1e-3 * time, 1.0)


def test_case_01_one_ramp() -> None:
    aligned = align(frames_of([10.25], [40.75]), ramp())
    assert numbers(aligned, "voltage")[0] == pytest.approx(3.0255, abs=1e-14)
    assert numbers(aligned, "voltage_min")[0] == pytest.approx(3.01025, abs=1e-14)
    assert numbers(aligned, "voltage_max")[0] == pytest.approx(3.04075, abs=1e-14)
    assert numbers(aligned, "current")[0] == pytest.approx(1.0, abs=1e-14)
    assert numbers(aligned, "charge_passed")[0] == pytest.approx(30.5 / 3600, abs=1e-15)
    assert numbers(aligned, "net_capacity")[0] == pytest.approx(25.5 / 3600, abs=1e-15)
    assert numbers(aligned, "coverage")[0] == 1
    assert flags(aligned) == set()


@given(st.floats(1, 80), st.floats(0.5, 40))
def test_case_02_vertex(begin: float, length: float) -> None:
    """A triangle 3 V + s*t up to the vertex at 50 s and down again, against its integral."""
    time = np.arange(0.0, 131.0, 10.0)
    aligned = align(frames_of([begin], [begin + length]), prepared(time, 3 - abs(time - 50) / 100))

    # integral of -|t - 50| / 100 is -(t - 50) |t - 50| / 200
    def area(moment: float) -> float:
        return -(moment - 50) * abs(moment - 50) / 200

    exact = 3 + (area(begin + length) - area(begin)) / length
    assert numbers(aligned, "voltage")[0] == pytest.approx(exact, abs=1e-8)
    inside = begin <= 50 <= begin + length
    highest = 3 if inside else 3 - min(abs(begin - 50), abs(begin + length - 50)) / 100
    assert numbers(aligned, "voltage_max")[0] == pytest.approx(highest, abs=1e-8)


def test_case_03_no_length() -> None:
    aligned = align(frames_of([12.5, 30, 100, 0], [12.5, 30, 100, 0]), ramp())
    assert numbers(aligned, "voltage") == pytest.approx([3.0125, 3.03, 3.1, 3.0], abs=1e-12)
    assert numbers(aligned, "voltage_min") == pytest.approx(numbers(aligned, "voltage"))
    assert numbers(aligned, "current") == pytest.approx(np.ones(4))
    assert numbers(aligned, "coverage").tolist() == [1, 1, 1, 1]
    assert numbers(aligned, "charge_passed").tolist() == [0, 0, 0, 0]
    assert numbers(aligned, "run").tolist() == [0, 0, 0, 0]
    beyond = align(frames_of([50, 100.001], [50, 100.001]), ramp())
    assert np.isnan(numbers(beyond, "voltage")[1])
    assert flags(beyond, 1) >= {"outside"}
    assert numbers(beyond, "run")[1] == -1


def test_case_04_one_row_only() -> None:
    log = prepared([0, 10, 20], [3.0, 3.4, 3.2])
    aligned = align(frames_of([8], [14]), log)
    # trapezoids 3.32..3.40 over 2 s and 3.40..3.32 over 4 s
    assert numbers(aligned, "voltage")[0] == pytest.approx((2 * 3.36 + 4 * 3.36) / 6, abs=1e-13)
    assert numbers(aligned, "voltage_max")[0] == pytest.approx(3.4, abs=1e-13)


def test_case_05_shorter_than_a_row() -> None:
    log = prepared([0, 10, 20], [3.0, 3.4, 3.2], [1.0, 1.0, 2.0])
    aligned = align(frames_of([11], [12]), log)
    assert numbers(aligned, "voltage")[0] == pytest.approx(3.37, abs=1e-13)
    assert numbers(aligned, "current")[0] == 2.0
    assert numbers(aligned, "charge_passed")[0] == pytest.approx(2 / 3600, abs=1e-15)


def test_case_06_before_after_and_across_the_edges() -> None:
    start, end = [-50, -30, 90, 150, 50], [-10, 10, 130, 160, 60]
    aligned = align(frames_of(start, end), ramp())
    assert numbers(aligned, "coverage") == pytest.approx([0, 0.25, 0.25, 0, 1])
    assert flags(aligned, 0) == {"outside"}
    assert flags(aligned, 3) == {"outside"}
    assert flags(aligned, 1) == {"partial"}
    assert flags(aligned, 2) == {"partial"}
    assert numbers(aligned, "voltage")[[1, 2, 4]] == pytest.approx([3.005, 3.095, 3.055], abs=1e-12)
    for name in (*FIELDS, "half_cycle_capacity", "voltage_sigma"):
        assert np.isnan(numbers(aligned, name)[[0, 3]]).all(), name
    assert np.isnan(numbers(aligned, "charge_passed")[[1, 2]]).all()
    for name in ("cycle", "half_cycle", "state", "state_instrument", "run"):
        assert numbers(aligned, name)[[0, 3]].tolist() == [-1, -1], name


def test_case_07_gap_in_a_file() -> None:
    time = np.concatenate([np.arange(0.0, 51.0), np.arange(120.0, 171.0)])
    start, end = [60, 40, 48, 100], [100, 90, 52, 140]
    aligned = align(frames_of(start, end), prepared(time, 3 + 1e-3 * time))
    assert flags(aligned, 0) == {"outside", "in_gap"}
    assert flags(aligned, 1) == {"partial", "in_gap"}
    assert numbers(aligned, "coverage") == pytest.approx([0, 0.2, 0.5, 0.5])
    assert numbers(aligned, "voltage")[1:] == pytest.approx([3.045, 3.049, 3.13], abs=1e-12)
    exactly = prepared(time, 3 + 1e-3 * time, max_gap_s=70.0)
    filled = align(frames_of(start, end), exactly)
    assert numbers(filled, "coverage") == pytest.approx(np.ones(4))
    assert numbers(filled, "voltage")[0] == pytest.approx(3.08, abs=1e-12)
    just = prepared(time, 3 + 1e-3 * time, max_gap_s=69.999)
    assert flags(align(frames_of(start, end), just), 0) == {"outside", "in_gap"}


@pytest.mark.shared_data
def test_case_08_restart_of_a_real_experiment(real_log: Callable[[], xr.Dataset]) -> None:
    log = prepare(real_log())
    seam = int(np.flatnonzero(np.diff(log["file_index"].values))[0])
    moment = (log["time"].values[seam : seam + 2] - ZERO).astype(float) / 1e9
    assert np.diff(moment)[0] == pytest.approx(26.5, abs=0.05)
    start = np.arange(moment[0] - 600, moment[1] + 600, 5.0)
    aligned = align(frames_of(start, start + 5), log)
    crossing = (start < moment[1]) & (start + 5 > moment[0])
    assert (numbers(aligned, "coverage")[crossing] < 1).all()
    inside = (start > moment[0]) & (start + 5 < moment[1])
    assert np.isnan(numbers(aligned, "voltage")[inside]).all()
    assert (numbers(aligned, "coverage")[~crossing] == 1).all()
    capacity = numbers(aligned, "net_capacity")
    assert capacity[np.flatnonzero(crossing)[0] - 1] * 1e3 == pytest.approx(0.8402, abs=1e-3)
    assert np.nanmax(np.abs(np.diff(capacity))) < 1e-6  # no step at the restart, 0.24 mA x 5 s


def looped() -> xr.Dataset:
    """Techniques of ten rows, 200 s a loop, four loops; each file pauses for 191 s."""
    techniques = ((0, 1), (1, 11), (2, 21), (3, 31), (4, 110), (5, 160))
    rows = [
        (loop * 200.0 + first + row, file, loop)
        for file, first in techniques
        for loop in range(4)
        for row in range(10)
    ]
    time, file, loop = np.array(rows).T
    log = log_of(time, 3 + 1e-4 * time, file_index=file, loop=loop)
    log.attrs["source_files"] = json.dumps([f"{name}.mpt" for name in "abcdef"])
    return log


def test_case_09_looped_techniques() -> None:
    log = prepare(looped(), sign="oxidation_positive")
    time = (log["time"].values - ZERO).astype(float) / 1e9
    assert (np.diff(time) > 0).all()
    assert int(log["run"].max()) + 1 == 24
    third = time[log["file_index"].values == 2]
    assert np.diff(third).max() == pytest.approx(191)
    aligned = align(frames_of([45, 22], [105, 29]), log)
    assert flags(aligned, 0) == {"outside", "in_gap"}
    assert numbers(aligned, "voltage")[1] == pytest.approx(3.00255, abs=1e-12)


def test_case_11_equal_stamps_are_kept() -> None:
    time = [0, 10, 10, 10.0002, 20]
    log = prepared(time, [3.0, 3.1, 3.3, 3.3, 3.4], [0, 0, 0, 0, 0])
    assert log.sizes["time"] == 5
    aligned = align(frames_of([5, 12, 10], [15, 14, 10]), log)
    steps = 5 * 3.075 + 0.0002 * 3.3
    last = 3.3 + 0.1 * (5 - 0.0002) / (10 - 0.0002) / 2
    exact = (steps + (5 - 0.0002) * last) / 10
    assert numbers(aligned, "voltage")[0] == pytest.approx(exact, abs=1e-12)
    assert numbers(aligned, "voltage_min")[0] == pytest.approx(3.05)
    assert numbers(aligned, "voltage")[2] == pytest.approx(3.3)


def test_case_22_charge_telescopes_over_contiguous_frames() -> None:
    time = np.arange(0.0, 2000.0, 7.0)
    current = np.where(time < 900, 1e-3, -1.5e-3)
    log = prepared(time, 3 + np.sin(time / 300), current)
    edges = np.linspace(0, time[-1], 40)
    aligned = align(frames_of(edges[:-1], edges[1:]), log)
    net = log["net_capacity"].values
    assert numbers(aligned, "charge_passed").sum() == pytest.approx(net[-1] - net[0], abs=1e-12)
    # rectangles by hand: 1 mA until 900 s (row 896), then -1.5 mA
    by_hand = (896 * 1e-3 - (time[-1] - 896) * 1.5e-3) / 3600
    assert net[-1] == pytest.approx(by_hand, abs=1e-12)


def test_case_23_majority_and_mixed_state() -> None:
    time = np.arange(0.0, 401.0)
    state = np.where(time <= 100, 1, np.where(time <= 200, 0, 2))
    current = np.select([state == 1, state == 2], [1e-3, -1e-3], 0.0)
    log = prepared(time, 3 + 1e-4 * np.cumsum(current * 1e3), current, state_instrument=state)
    start, end = [10, 90, 96, 85, 195], [60, 110, 106, 105, 235]
    aligned = align(frames_of(start, end), log)
    assert aligned["state"].dtype == np.int32
    assert aligned["state"].values.tolist() == [1, 0, 0, 1, 2]
    assert aligned["half_cycle"].values.tolist() == [0, 0, 0, 0, 1]
    assert [("mixed_state" in flags(aligned, frame)) for frame in range(5)] == [False] + [True] * 4
    assert numbers(aligned, "half_cycle_capacity")[4] == pytest.approx(15e-3 / 3600, abs=1e-15)
    relaxed = align(frames_of(start, end), log, majority=0.5)
    assert not any("mixed_state" in flags(relaxed, frame) for frame in range(5))
    for name in ("cycle", "half_cycle", "state", "run"):
        assert aligned[name].dtype == np.int32


def test_instantaneous_current_is_linear() -> None:
    log = prepared([0, 10, 20], [3, 3, 3], [0.0, 1.0, 1.0], averaging="instantaneous")
    aligned = align(frames_of([2], [12]), log)
    # linear 0.2..1 A over 8 s, then 1 A over 2 s
    assert numbers(aligned, "current")[0] == pytest.approx((8 * 0.6 + 2) / 10, abs=1e-14)


def test_case_29_missing_values_are_not_covered() -> None:
    time = np.arange(0.0, 101.0)
    voltage, current = 3 + 1e-3 * time, np.ones(101)
    voltage[20] = np.nan
    current[61:70] = np.nan
    aligned = align(frames_of([16, 60, 19.5], [26, 72, 20.5]), prepared(time, voltage, current))
    assert numbers(aligned, "coverage") == pytest.approx([0.8, 1, 0])
    # 16..19 and 21..26 remain
    exact = 3 + 1e-3 * (3 * 17.5 + 5 * 23.5) / 8
    assert numbers(aligned, "voltage")[0] == pytest.approx(exact, abs=1e-12)
    assert flags(aligned, 0) == {"partial", "in_gap"}
    assert "partial" in flags(aligned, 1)
    assert numbers(aligned, "current")[1] == pytest.approx(1.0)
    assert flags(aligned, 2) >= {"outside", "in_gap"}


def test_case_30_order_is_preserved() -> None:
    generator = np.random.default_rng(7)
    time = np.arange(0.0, 500.0, 3.0)
    log = log_of(time, 3 + np.sin(time / 40), np.cos(time / 40))
    start = np.arange(5.0, 480.0, 11.0)
    shuffle = generator.permutation(start.size)
    sorted_frames = align(frames_of(start, start + 9), prepare(log, sign="oxidation_positive"))
    mixed_log = log.isel(time=generator.permutation(time.size))
    mixed_frames = frames_of(start[shuffle], start[shuffle] + 9)
    found = align(mixed_frames, prepare(mixed_log, sign="oxidation_positive"))
    assert (found["time"].values == mixed_frames["time"].values).all()
    for name in (*FIELDS, "coverage", "alignment_flag", "run"):
        np.testing.assert_array_equal(found[name].values, sorted_frames[name].values[shuffle])


def test_case_31_far_epochs_keep_a_microsecond() -> None:
    """1 V/s over a row of 1 us, 1e9 s after the first row of the log."""
    far = 10**9 * 10**9
    offsets = np.array([0, 1, far, far + 1_000, far + 2_000]).astype("timedelta64[ns]")
    log = log_of(np.zeros(5), [0, 0, 0.0, 1e-6, 2e-6])
    start = np.datetime64("1992-01-01", "ns")
    log = prepare(log.assign_coords(time=start + offsets), sign="oxidation_positive")
    frames = frames_of([0.0], [0.0])
    begin = start + np.timedelta64(far + 500, "ns")
    stop = start + np.timedelta64(far + 1_500, "ns")
    frames = frames.assign_coords(time_start=("time", [begin]), time_end=("time", [stop]))
    aligned = align(frames, log)
    assert numbers(aligned, "voltage")[0] == pytest.approx(1e-6, abs=1e-12)
    assert numbers(aligned, "coverage")[0] == 1


def test_case_32_chunks_make_no_difference_and_nothing_is_computed() -> None:
    def refuse(block: Array) -> Array:
        raise AssertionError("computed")

    frames = frames_of(np.arange(0.0, 90.0, 3), np.arange(3.0, 93.0, 3))
    lazy = da.zeros((30, 3), chunks=(7, 3)).map_blocks(refuse, dtype=float, meta=np.zeros((0, 0)))
    lazy_frames = frames.assign(intensity=(("time", "two_theta"), lazy, {"units": "1"}))
    eager, found = align(frames, ramp()), align(lazy_frames, ramp())
    assert found["intensity"].chunks is not None
    for name in set(eager.coords):
        np.testing.assert_array_equal(eager[name].values, found[name].values)
    halves = [align(frames.isel(time=part), ramp()) for part in (slice(0, 13), slice(13, None))]
    joined = xr.concat(halves, "time", combine_attrs="drop")
    for name in set(eager.coords):
        np.testing.assert_array_equal(joined[name].values, eager[name].values)


def test_case_10_overlapping_files_are_an_error() -> None:
    time = np.concatenate([np.arange(0.0, 100.0), np.arange(50.5, 150.0)])
    log = log_of(time, 3 + 1e-3 * time, file_index=np.repeat([0, 1], [100, 100]))
    with pytest.raises(AlignmentError, match=r"'a\.mpt' and 'b\.mpt'.*48\.5 s"):
        prepare(log)


def test_no_common_time_is_an_error_that_names_both_spans() -> None:
    with pytest.raises(AlignmentError, match=r"2022-07-26T22:38:30 to .*2022-07-26T20:38:30 to"):
        align(frames_of([7200], [7260]), ramp())
    assert align(frames_of([7200, 10], [7260, 20]), ramp()).sizes["time"] == 2
    assert align(frames_of([], []), ramp()).sizes["time"] == 0


@pytest.mark.parametrize(
    ("frames_sigma", "log_sigma", "declared", "sigma"),
    [
        (3.0, 4.0, None, 5.0),
        (3.0, None, None, np.nan),
        (None, 1.0, None, np.nan),
        (None, None, 2.0, 2.0),
    ],
)
def test_clock_uncertainty(
    frames_sigma: float | None, log_sigma: float | None, declared: float | None, sigma: float
) -> None:
    time = np.arange(0.0, 101.0)
    clock = json.dumps({"sigma_s": log_sigma, "sources": [{"sigma_s": log_sigma}]})
    log = prepared(time, 3 + 5e-4 * time, clock=clock)
    frames = frames_of([10, 30], [20, 90], clock=json.dumps({"sigma_s": frames_sigma}))
    aligned = align(frames, log, time_sigma_s=declared)
    np.testing.assert_allclose(numbers(aligned, "voltage_sigma"), [5e-4 * sigma] * 2, rtol=1e-9)
    assert ("clock_unverified" in flags(aligned)) == bool(np.isnan(sigma))
    assert "time_uncertain" not in flags(aligned, 1)


def test_voltage_sigma_is_how_far_the_mean_moves() -> None:
    """The scatter of the mean under random clock errors, against the sigma given."""
    generator = np.random.default_rng(0)
    time = np.arange(0.0, 3000.0, 5.0)
    log = prepared(time, 3 + 0.3 * np.sin(time / 300))
    error = generator.normal(0, 4.0, 400)
    start = np.array([200.0, 700.0, 1300.0, 2000.0])
    truth = align(frames_of(start, start + 120), log, time_sigma_s=4.0)
    moved = (start[:, None] + error).ravel()
    means = numbers(align(frames_of(moved, moved + 120), log), "voltage").reshape(4, 400)
    pulls = (means - numbers(truth, "voltage")[:, None]) / numbers(truth, "voltage_sigma")[:, None]
    assert np.std(pulls, axis=1) == pytest.approx(np.ones(4), abs=0.15)


def test_time_uncertain() -> None:
    frames = frames_of([10, 30], [12, 90])
    assert flags(align(frames, ramp(), time_sigma_s=4.0), 0) == {"time_uncertain"}  # 4 s > 2 s
    assert flags(align(frames, ramp(), time_sigma_s=4.0), 1) == set()  # 4 mV
    assert flags(align(frames, ramp(), time_sigma_s=6.0), 1) == {"time_uncertain"}  # 6 mV


def test_charge_uncertain_rides_onto_later_frames_only() -> None:
    time = np.concatenate([np.arange(0.0, 51.0), np.arange(200.0, 251.0)])
    log = prepared(time, 3 + 1e-3 * time, 1.0)
    aligned = align(frames_of([10, 40, 210], [20, 60, 220]), log)
    assert [("charge_uncertain" in flags(aligned, frame)) for frame in range(3)] == [
        False,
        False,
        True,
    ]


def test_duplicate_frames_are_flagged() -> None:
    frames = frames_of([10, 30, 10, 10], [20, 40, 20, 20])
    spots = frames.assign_coords(position=("time", ["a", "a", "b", "a"]))
    expected = ALIGNMENT_FLAGS["duplicate_frame"]
    assert (align(frames, ramp())["alignment_flag"].values & expected > 0).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert (align(spots, ramp())["alignment_flag"].values & expected > 0).tolist() == [
        False,
        False,
        False,
        True,
    ]


def test_result_keeps_the_contract_and_tells_its_sources() -> None:
    aligned = check(align(frames_of([10, 90], [20, 130]), ramp()))
    record = json.loads(aligned.attrs["alignment"])
    assert record["flags"] == {"partial": 1}
    assert record["sources"] == ["a.mpt", "b.mpt", "c.mpt"]
    assert record["minimum_coverage"] == 0.9
    for name in ("voltage", "state", "coverage", "alignment_flag"):
        assert name not in aligned.xindexes
        assert "units" in aligned[name].attrs
        assert "long_name" in aligned[name].attrs
    again = align(aligned, ramp())
    np.testing.assert_array_equal(again["voltage"].values, aligned["voltage"].values)


def test_impossible_requests() -> None:
    frames = frames_of([10], [20])
    with pytest.raises(RequestError, match=r"lacks .*operando\.prepare"):
        align(frames, log_of([0, 1], [3, 3]))
    with pytest.raises(RequestError, match=r"1 row"):
        align(frames, ramp(1))
    with pytest.raises(ContractError, match="time_end"):
        align(frames.drop_vars("time_end"), ramp())
    with pytest.raises(RequestError, match=r"\['voltage'\]"):
        align(frames.assign(voltage=("time", [1.0])), ramp())
    with pytest.raises(RequestError, match=r"majority: 95"):
        align(frames, ramp(), majority=95)
    with pytest.raises(RequestError, match=r"time_sigma_s: -1"):
        align(frames, ramp(), time_sigma_s=-1)


# What must hold for any data -------------------------------------------------------------------


@st.composite
def experiments(draw: st.DrawFn) -> tuple[Array, Array, Array, Array, Array]:
    """Rows with steps and gaps, and frames of any length and place, on a grid of milliseconds."""
    count = draw(st.integers(3, 40))
    steps = draw(
        st.lists(st.sampled_from([0, 1, 250, 1000, 5000, 90_000]), min_size=count, max_size=count)
    )
    time = np.cumsum(steps) / 1e3
    values = st.integers(-1000, 1000).map(lambda number: number / 1000)
    voltage = 3 + np.array(draw(st.lists(values, min_size=count, max_size=count)))
    current = np.array(draw(st.lists(values, min_size=count, max_size=count)))
    frames = draw(st.lists(st.tuples(st.integers(-5, 105), st.integers(0, 60)), min_size=1))
    span = max(float(np.ptp(time)), 1.0)
    start = time[0] + np.round(np.array([place for place, _ in frames]) / 100 * span, 3)
    length = np.round(np.array([size for _, size in frames]) / 100 * span, 3)
    inside = time[0]
    return time, voltage, current, np.append(start, inside), np.append(start + length, inside + 1)


def by_brute_force(time: Array, voltage: Array, run: Array, start: float, end: float) -> Any:
    """The definition, interval by interval, in plain Python."""
    total = known = 0.0
    low, high = np.inf, -np.inf
    for row in range(time.size - 1):
        begin, stop = max(start, time[row]), min(end, time[row + 1])
        if run[row] != run[row + 1]:
            continue
        if start < time[row] == time[row + 1] < end:
            low, high = min(low, *voltage[row : row + 2]), max(high, *voltage[row : row + 2])
        if stop - begin < 1e-9:
            continue
        edge = np.interp([begin, stop], time[row : row + 2], voltage[row : row + 2])
        total += edge.mean() * (stop - begin)
        known += stop - begin
        low, high = min(low, *edge), max(high, *edge)
    return (total / known, low, high, known / (end - start)) if known else None


@settings(max_examples=150, deadline=None)
@given(experiments())
def test_agrees_with_the_definition(experiment: Any) -> None:
    time, voltage, current, start, end = experiment
    log = prepared(time, voltage, current)
    aligned = align(frames_of(start, end), log)
    run = log["run"].values
    for frame in np.flatnonzero(end > start):
        exact = by_brute_force(time, voltage, run, start[frame], end[frame])
        found = [
            numbers(aligned, name)[frame]
            for name in ("voltage", "voltage_min", "voltage_max", "coverage")
        ]
        if exact is None:
            assert np.isnan(found[0])
            assert found[3] == 0
        else:
            np.testing.assert_allclose(found, exact, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(experiments(), st.integers(-(10**9), 10**9))
def test_shifting_both_clocks_changes_nothing(experiment: Any, shift: int) -> None:
    time, voltage, current, start, end = experiment
    later = ZERO + np.timedelta64(shift, "ms")
    here = align(frames_of(start, end), prepared(time, voltage, current))
    there = align(frames_of(start, end, zero=later), prepared(time, voltage, current, zero=later))
    for name in set(here.coords) - {"time", "time_start", "time_end"}:
        np.testing.assert_array_equal(here[name].values, there[name].values, err_msg=str(name))


@settings(max_examples=50, deadline=None)
@given(experiments(), st.integers(1, 39))
def test_splitting_the_log_in_two_files_changes_only_frames_at_the_seam(
    experiment: Any, row: int
) -> None:
    time, voltage, current, start, end = experiment
    row = min(row, time.size - 1)
    counter = np.cumsum(np.diff(time, prepend=time[0]) * current) / 3600
    state = np.select([current > 0, current < 0], [1, 2], 0)
    known: dict[str, Any] = {
        "charge_counter": counter,
        "state_instrument": state,
        "max_gap_s": 60.0,
    }
    one = prepared(time, voltage, current, **known)
    file = (np.arange(time.size) >= row).astype(int)
    two = prepared(time, voltage, current, file_index=file, **known)
    np.testing.assert_allclose(two["net_capacity"], one["net_capacity"], atol=1e-12)
    whole, split = (align(frames_of(start, end), log) for log in (one, two))
    away = (end < time[row - 1]) | (start > time[row])
    for name in (*FIELDS, "coverage", "cycle", "half_cycle", "state"):
        np.testing.assert_allclose(
            split[name].values[away], whole[name].values[away], atol=1e-9, err_msg=name
        )
    seam = ~away & (end > start) & (time[row] > time[row - 1])
    assert (numbers(split, "coverage")[seam] <= numbers(whole, "coverage")[seam] + 1e-12).all()


@settings(max_examples=50, deadline=None)
@given(experiments(), st.integers(2, 30))
def test_charge_of_contiguous_frames_telescopes(experiment: Any, count: int) -> None:
    time, voltage, current, _, _ = experiment
    log = prepared(time, voltage, current, max_gap_s=1e6)
    edges = np.unique(np.round(np.linspace(time[0], time[-1], count), 3))
    edges[-1] = time[-1]
    edges = np.unique(edges)
    if edges.size < 2:
        return
    aligned = align(frames_of(edges[:-1], edges[1:]), log)
    net = log["net_capacity"].values
    first = np.flatnonzero(time == time[0])[-1]
    assert numbers(aligned, "charge_passed").sum() == pytest.approx(net[-1] - net[first], abs=1e-9)


# Real files ---------------------------------------------------------------------------------------


@pytest.fixture
def real_log(shared_data: Path) -> Callable[[], xr.Dataset]:
    """The two files of one experiment, read by the product's own reader."""
    from operando.reading import read

    folder = shared_data / "operando" / "xas_ni_lno_rock" / "EC"
    assert File(folder).exists()
    return lambda: read(str(folder / "*.mpt"), tz="Europe/Paris")
