"""Stamps on UTC: every rule of the design's page on time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando import clocks
from operando.errors import ClockError
from operando.reading import logs
from operando.reading.times import Declared
from operando_readers._reader import File, clock

Array = npt.NDArray[np.float64]
NOW = np.datetime64("2026-01-01", "ns")


def utc(text: str) -> np.datetime64:
    return np.datetime64(text, "ns")


def paris(start: str, fold: int | None = None) -> np.datetime64:
    return clocks.localise(start, zone=None, tz="Europe/Paris", fold=fold, where="a.mpt")


def seconds(stamps: object, start: np.datetime64) -> list[int]:
    whole = (np.asarray(stamps) - start).astype("timedelta64[s]").astype(int)
    return [int(value) for value in whole]


def test_summer_and_winter_offsets() -> None:
    assert paris("2022-07-26T22:38:30") == utc("2022-07-26T20:38:30")
    assert paris("2022-01-26T22:38:30") == utc("2022-01-26T21:38:30")


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("UTC", "12:00"), ("+02:00", "10:00"), ("-0530", "17:30"), ("+01", "11:00"), ("Z", "12:00")],
)
def test_zone_of_the_file_wins(zone: str, expected: str) -> None:
    found = clocks.localise("2022-07-26T12:00:00", zone=zone, tz="Asia/Tokyo", where="a")
    assert found == utc(f"2022-07-26T{expected}")


def test_case_13_daylight_saving() -> None:
    start = paris("2022-10-29T20:00:00")
    assert clocks.stamps(start, np.array([36000.0]))[0] == utc("2022-10-30T04:00:00")
    with pytest.raises(ClockError, match=r"a\.mpt: .*happened twice .*fold"):
        paris("2022-10-30T02:30:00")
    first, second = paris("2022-10-30T02:30:00", 0), paris("2022-10-30T02:30:00", 1)
    assert second - first == np.timedelta64(1, "h")
    assert first == utc("2022-10-30T00:30:00")
    with pytest.raises(ClockError, match=r"a\.mpt: .*never happened .*fold"):
        paris("2022-03-27T02:30:00")
    assert paris("2022-03-27T02:30:00", 0) == utc("2022-03-27T01:30:00")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Shanghai"])
def test_case_14_zone_of_the_machine_does_not_matter(zone: str) -> None:
    code = (
        "from operando import clocks; import numpy as np;"
        "s = clocks.localise('2022-10-29T20:00:00.190', zone=None, tz='Europe/Paris', where='a');"
        "print(clocks.stamps(s, np.array([36000.0]))[0])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TZ": zone, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "2022-10-30T04:00:00.190000000"


def test_case_15_naive_frames_beside_a_zoned_log() -> None:
    assert clocks.localise("2022-07-26T20:00:00", zone="+02:00", tz=None, where="log.mpt") == utc(
        "2022-07-26T18:00"
    )
    with pytest.raises(ClockError, match=r"^frames/a\.dat: .*'2022-07-26T20:00:00'.*declare tz"):
        clocks.localise("2022-07-26T20:00:00", zone=None, tz=None, where="frames/a.dat")


def test_case_16_milliseconds_and_nanoseconds_are_kept() -> None:
    assert paris("2022-07-26T22:38:30.190") == utc("2022-07-26T20:38:30.190")
    assert paris("2022-07-26 22:38:30.123456789") == utc("2022-07-26T20:38:30.123456789")


@pytest.mark.parametrize("name", ["Europe/Pariss", "", "../etc", "+99:00", "CET+nonsense"])
def test_unknown_zone_says_so(name: str) -> None:
    with pytest.raises(ClockError, match=r"a\.mpt: unknown time zone .*expected"):
        clocks.localise("2022-07-26T22:38:30", zone=None, tz=name, where="a.mpt")


@pytest.mark.parametrize(
    "start", ["2022-07-26T22:38:30+02:00", "07/26/2022 22:38", "", "NaT", "2022-02-30T00:00:00"]
)
def test_only_naive_iso_stamps(start: str) -> None:
    with pytest.raises(ClockError, match=r"a\.mpt: stamp"):
        clocks.localise(start, zone=None, tz="UTC", where="a.mpt")


@given(
    st.datetimes(min_value=datetime(1991, 1, 1), max_value=datetime(2025, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe"]),
)
def test_localise_inverts_a_conversion_from_utc(moment: datetime, zone: str) -> None:
    """Oracle: the standard library's conversion in the other direction."""
    from zoneinfo import ZoneInfo

    local = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    text = local.replace(tzinfo=None).isoformat()
    found = clocks.localise(text, zone=None, tz=zone, fold=local.fold, where="a")
    assert found == np.datetime64(moment, "ns")


def test_case_31_epochs_of_1e9_seconds_keep_a_microsecond() -> None:
    elapsed = 1e9 + np.array([0.0, 0.25, 0.5000005])
    step = (clocks.stamps(utc("1992-01-01"), elapsed) - utc("1992-01-01")).astype(np.int64)
    exact = [1_000_000_000_000_000_000, 1_000_000_000_250_000_000, 1_000_000_000_500_000_500]
    assert np.abs(step - np.array(exact)).max() < 1000


def test_offset_and_drift_are_explicit() -> None:
    elapsed = np.array([0.0, 1e6])
    found = clocks.stamps(utc("2022-01-01"), elapsed, clock_offset_s=-2.5, drift_ppm=-47.0)
    # 1e6 s drift by 47 s; both are shifted by 2.5 s
    assert (found - utc("2022-01-01")).astype(np.int64).tolist() == [
        -2_500_000_000,
        999_950_500_000_000,
    ]


def test_missing_elapsed_is_refused() -> None:
    with pytest.raises(ClockError, match="1 of 2 rows"):
        clocks.stamps(utc("2022-01-01"), np.array([0.0, np.nan]))


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("start", (0, 30, 60)),
        ("mid", (-30, 0, 30)),
        ("end", (-60, -30, 0)),
        ("instant", (0, 0, 0)),
    ],
)
def test_intervals(
    marks: Literal["start", "mid", "end", "instant"], expected: tuple[int, int, int]
) -> None:
    zero = utc("2022-01-01")
    found = clocks.intervals(np.array([zero]), np.array([60.0]), marks=marks)
    assert tuple(seconds(edge, zero)[0] for edge in found) == expected


@pytest.mark.parametrize("length", [-1.0, np.nan, np.inf])
def test_impossible_exposures_are_refused(length: float) -> None:
    with pytest.raises(ClockError, match="at frame 1"):
        clocks.intervals(np.array([NOW, NOW]), np.array([1.0, length]), marks="start")


@pytest.mark.parametrize("stamp", ["1601-01-01", "1970-01-01", "1989-12-31", "2026-01-03"])
def test_implausible_years_are_refused(stamp: str) -> None:
    at = np.array([utc(stamp)])
    with pytest.raises(ClockError, match=r"a\.wdf: stamp .*1990"):
        clocks.check_plausible(at, at, where="a.wdf", now=NOW)


def test_plausible_stamps_pass() -> None:
    at = utc("2025-01-01") + np.arange(3) * np.timedelta64(60, "s")
    clocks.check_plausible(at, at, where="a", now=NOW)
    clocks.check_plausible(at[:0], at[:0], where="a")
    clocks.check_plausible(at, at, where="a")  # against today's clock


def test_case_20_an_export_stamp_is_refused() -> None:
    at = utc("2025-01-01") + np.arange(100) * np.timedelta64(10, "ms")
    with pytest.raises(ClockError, match=r"all 100 frames .*export.*period_s"):
        clocks.check_plausible(at, at, where="xrd", now=NOW)
    long = at + np.timedelta64(60, "s")
    with pytest.raises(ClockError, match="export"):
        clocks.check_plausible(at, long, where="xrd", now=NOW)
    clocks.check_plausible(at[:2], long[:2], where="two frames", now=NOW)
    quick = at + np.timedelta64(9, "ms")  # fast frames that really followed one another
    clocks.check_plausible(at, quick, where="quick", now=NOW)


def test_overlapping_frames_are_marked() -> None:
    zero = utc("2025-01-01")
    start = zero + np.array([0, 10_000, 20_000, 29_999, 39_000]) * np.timedelta64(1, "ms")
    end = start + np.timedelta64(10, "s")
    assert clocks.overlapping(start, end).tolist() == [False, False, False, False, True]
    assert clocks.overlapping(start[:1], end[:1]).tolist() == [False]


def test_frames_by_index() -> None:
    found = clocks.from_index(
        3, first="2022-07-26T12:00:00", period_s=1140.0, tz="Europe/Paris", fold=None, where="xrd"
    )
    assert seconds(found, utc("2022-07-26T10:00")) == [0, 1140, 2280]
    with pytest.raises(ClockError, match="period_s 0"):
        clocks.from_index(3, first="2022-07-26", period_s=0, tz="UTC", fold=None, where="xrd")
    with pytest.raises(ClockError, match="declare tz"):
        clocks.from_index(
            3, first="2022-07-26T12:00:00", period_s=1.0, tz=None, fold=None, where="xrd"
        )


def test_case_21_times_of_writing() -> None:
    base = datetime(2022, 7, 26, 12, tzinfo=UTC).timestamp()
    ends, sigma = clocks.from_mtimes(
        base + np.array([0.0, 60.0, 121.0]), exposure_s=50.0, where="x"
    )
    assert seconds(ends, utc("2022-07-26T12:00")) == [0, 60, 121]
    assert sigma == 60.5
    _, sigma = clocks.from_mtimes(base + np.array([0.0, 0.5, 3.0]), exposure_s=0.2, where="x")
    assert sigma == 2.0
    for written in (np.full(5, base), base + np.linspace(0, 40, 5)):
        with pytest.raises(ClockError, match=r"x: 5 files written within .*copied"):
            clocks.from_mtimes(written, exposure_s=50.0, where="x")


def sawtooth(
    counter: Array, *, ppm: float, every_s: float, phase_s: float = 0.0
) -> tuple[Array, int]:
    """Stamps of a clock whose crystal is the counter's, set right every so often; steps taken.

    The truth is `(1 + ppm * 1e-6) * counter`; the stamps leave it at the rate of the crystal.
    """
    tooth = np.floor((counter + phase_s) / every_s)
    since = counter - np.maximum(tooth * every_s - phase_s, -phase_s)
    return counter * (1 + ppm * 1e-6) - since * ppm * 1e-6, int(tooth[-1] - tooth[0])


@given(
    ppm=st.one_of(st.floats(-120, -30), st.floats(30, 120)),
    phase=st.floats(0, 20_000),
    row=st.sampled_from([1.0, 7.0, 30.0]),
)
@settings(max_examples=30, deadline=None)
def test_a_synchronised_clock_gives_the_true_rate_and_offset(
    ppm: float, phase: float, row: float
) -> None:
    """Truth is simulated; the start, too, was off by the part of a tooth that had passed."""
    counter = np.arange(0, 90 * 3600.0, row)
    wall, steps = sawtooth(counter, ppm=ppm, every_s=28_800.0, phase_s=phase)
    fit = clocks.fit_counter(counter, wall, where="a.ndax")
    assert fit.synchronised
    assert fit.steps_s.size == steps
    assert fit.steps_s == pytest.approx(np.full(steps, ppm * 1e-6 * 28_800), abs=1e-3)
    assert fit.ppm == pytest.approx(ppm, abs=max(0.1, row * abs(ppm) / 28_800))
    # The first stamp had left the truth by the phase times the rate.
    start_error = phase * ppm * 1e-6
    assert fit.offset_s == pytest.approx(start_error, abs=2 * row * abs(ppm) * 1e-6 + 1e-6)
    assert fit.residual_s <= abs(ppm) * 1e-6 * (28_800 + 2 * row)


def test_counter_put_on_the_wall_clock_is_right_to_a_row() -> None:
    """What the fit proposes, applied by `stamps`, gives back the true time."""
    counter = np.arange(0, 70 * 3600.0, 10.0)
    wall, _ = sawtooth(counter, ppm=-47.0, every_s=28_800.0, phase_s=9000.0)
    fit = clocks.fit_counter(counter, wall, where="a")
    start = utc("2026-03-01")
    placed = clocks.stamps(start, counter, clock_offset_s=fit.offset_s, drift_ppm=fit.ppm)
    truth = clocks.stamps(start, counter * (1 - 47e-6) - 9000.0 * 47e-6)
    assert np.abs((placed - truth).astype(np.int64)).max() < 10_000_000  # 10 ms in 70 h
    assert fit.error_s(drift_ppm=0.0, offset_known=False) == pytest.approx(12.27, abs=0.02)
    assert fit.error_s(drift_ppm=fit.ppm, offset_known=True) == 0.0


def test_a_smooth_drift_is_found_without_steps() -> None:
    rng = np.random.default_rng(5)
    counter = np.cumsum(rng.uniform(0.5, 60, 20_000))
    wall = 1.7e9 + counter * (1 + 33e-6) + rng.normal(0, 0.02, counter.size)
    fit = clocks.fit_counter(counter + 500, wall, where="a")
    assert fit.ppm == pytest.approx(33, abs=0.2)
    assert abs(fit.ppm - 33) < 4 * fit.ppm_sigma
    assert fit.significant
    assert not fit.synchronised
    assert fit.steps_s.size == 0


def test_whole_seconds_are_no_steps() -> None:
    """A clock that ticks in seconds jumps by one against a counter that does not."""
    counter = np.arange(0, 86_400.0, 12.3)
    fit = clocks.fit_counter(counter, np.floor(counter * (1 - 60e-6) + 0.4), where="a")
    assert fit.steps_s.size == 0
    assert fit.ppm == pytest.approx(-60, abs=3)
    assert fit.residual_s < 1.5


def test_outliers_and_missing_stamps_do_no_harm() -> None:
    counter = np.arange(0, 86_400.0, 10.0)
    wall = counter * (1 + 20e-6)
    wall[::97] = np.nan
    wall[5000] += 500.0
    fit = clocks.fit_counter(counter, wall, where="a")
    assert fit.ppm == pytest.approx(20, abs=0.5)
    assert fit.backwards == 1


def test_a_row_out_of_order_is_put_back() -> None:
    counter = np.arange(0, 7200.0, 10.0)
    order = np.arange(counter.size)
    order[[100, 101]] = order[[101, 100]]
    fit = clocks.fit_counter(counter[order], counter[order], where="a")
    assert (fit.ppm, fit.backwards, fit.residual_s) == (0.0, 0, 0.0)


@pytest.mark.parametrize(
    ("hours", "local", "jumps"),
    [
        (-1.0, True, []),
        (1.0, True, []),
        (0.5, True, []),
        (1.0, False, [3600.0]),
        (-24.0, True, [-86_400.0]),
        (0.2, True, [720.0]),
    ],
)
def test_summer_time_and_jumps_are_no_corrections(
    hours: float, local: bool, jumps: list[float]
) -> None:
    counter = np.arange(0, 70 * 3600.0, 10.0)
    wall, steps = sawtooth(counter, ppm=-47.0, every_s=28_800.0)
    wall[counter > 100_000] += hours * 3600
    fit = clocks.fit_counter(counter, wall, where="a", summer_time=local)
    assert fit.ppm == pytest.approx(-47, abs=0.1)
    assert fit.steps_s.size == steps
    assert fit.jumps_s == pytest.approx(jumps)
    assert fit.jump_times_s.tolist() == [100_010.0] * len(jumps)


@pytest.mark.parametrize("factor", [1e3, 1e-3, 60.0, 1.05])
@pytest.mark.parametrize("rows", [3, 30, 3000])
def test_another_unit_is_refused(factor: float, rows: int) -> None:
    seconds = np.cumsum(np.random.default_rng(1).uniform(5, 50, rows))
    with pytest.raises(ClockError, match=r"^a\.csv: one second of 'elapsed' .* 'wall_clock'.*unit"):
        clocks.fit_counter(seconds * factor, seconds, where="a.csv")


def test_a_short_file_in_whole_seconds_is_not_called_another_unit() -> None:
    counter = np.arange(0, 12, 1.5)
    fit = clocks.fit_counter(counter, np.floor(counter), where="a")
    assert not fit.significant


@pytest.mark.parametrize("counter", [[], [4.0], [4.0, 4.0], [np.nan, 1.0]])
def test_too_few_rows_tell_nothing(counter: list[float]) -> None:
    fit = clocks.fit_counter(np.array(counter), np.array(counter), where="a")
    assert np.isnan(fit.ppm)
    assert not fit.significant
    assert not fit.synchronised


def log_with_clocks(*, stated: float | None, ppm: float, every_s: float | None) -> xr.Dataset:
    """Rows every 10 s for 70 h as a reader gives them, with a wall clock."""
    counter = np.arange(0, 70 * 3600.0, 10.0)
    wall = counter * (1 + ppm * 1e-6)
    if every_s is not None:
        wall, _ = sawtooth(counter, ppm=ppm, every_s=every_s)
    return xr.Dataset(
        {
            "voltage": ("time", np.full(counter.size, 3.0), {"units": "V"}),
            "current": ("time", np.zeros(counter.size), {"units": "A", "averaging": "backward"}),
        },
        {
            "elapsed": ("time", counter, {"units": "s"}),
            "wall_clock": ("time", wall, {"units": "s"}),
        },
        {
            "technique": "electrochemistry",
            "clock": clock(
                start="2026-03-01T12:00:00",
                zone="UTC",
                marks="instant",
                source="column",
                sigma_s=stated,
            ),
            "original_metadata": {},
        },
    )


def joined(
    monkeypatch: pytest.MonkeyPatch, raw: xr.Dataset, **declared: Any
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Join one file that a reader gave as `raw`, and return it with the facts of its clock."""
    monkeypatch.setattr(logs, "load", lambda file, **options: raw)
    log = logs.join_logs(
        [File(Path("a.ndax"))], format="neware_ndax", options={}, declared=Declared(**declared)
    )
    return log, json.loads(log.attrs["clock"])["sources"][0]


def test_the_log_is_on_the_counter_and_tells_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = log_with_clocks(stated=None, ppm=-47.0, every_s=28_800.0)
    log, facts = joined(monkeypatch, raw)
    since = (log["time"].values - utc("2026-03-01T12:00")).astype(np.int64) / 1e9
    assert since == pytest.approx(raw["elapsed"].values)
    assert not {"wall_clock", "elapsed"} & set(log.variables)
    assert facts["counter"]["ppm"] == pytest.approx(-47, abs=0.1)
    assert facts["counter"]["steps"] == 8
    assert facts["counter"]["step_s"] == pytest.approx(-1.354, abs=2e-3)
    assert facts["counter"]["step_every_s"] == 28_800
    assert facts["counter"]["residual_s"] == pytest.approx(1.354, abs=2e-3)


@pytest.mark.parametrize(
    ("stated", "ppm", "every_s", "declared", "expected"),
    [
        # 47 ppm of 70 h are 11.84 s; two computers on network time agree to 1 s.
        (None, -47.0, 28_800.0, {}, np.hypot(11.844, 1.0)),
        (None, -47.0, 28_800.0, {"drift_ppm": -47.0}, 1.0),
        (0.5, -47.0, 28_800.0, {}, np.hypot(11.844, 0.5)),
        (None, -47.0, 28_800.0, {"clock_sigma_s": 0.1}, 0.1),
        # Nothing was seen to keep this wall clock right: it says nothing of the truth.
        (None, -47.0, None, {}, None),
        (None, 0.0, None, {}, None),
        # It parts from the counter all the same, and one of the two is wrong.
        (0.5, -47.0, None, {}, np.hypot(11.844, 0.5)),
        (0.5, 0.0, None, {}, 0.5),
    ],
)
def test_uncertainty_of_a_drifting_counter(
    monkeypatch: pytest.MonkeyPatch,
    stated: float | None,
    ppm: float,
    every_s: float | None,
    declared: dict[str, Any],
    expected: float | None,
) -> None:
    raw = log_with_clocks(stated=stated, ppm=ppm, every_s=every_s)
    _, facts = joined(monkeypatch, raw, **declared)
    if expected is None:
        assert facts["sigma_s"] is None
    else:
        assert facts["sigma_s"] == pytest.approx(expected, abs=0.02)


def test_a_pause_of_the_counter_is_a_problem_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = log_with_clocks(stated=None, ppm=-47.0, every_s=28_800.0)
    late = np.where(raw["elapsed"].values >= 50_000, 5000.0, 0.0)
    raw = raw.assign_coords(wall_clock=raw["wall_clock"] + late)
    log, facts = joined(monkeypatch, raw)
    [problem] = json.loads(log.attrs["problems"])
    assert problem["file"] == "a.ndax"
    assert "jumps by +5000 s against its counter, 50000 s after the start" in problem["reason"]
    assert facts["counter"]["ppm"] == pytest.approx(-47, abs=0.1)


def test_milliseconds_beside_seconds_name_file_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = log_with_clocks(stated=None, ppm=0.0, every_s=None)
    raw = raw.assign_coords(wall_clock=raw["wall_clock"] * 1e3)
    with pytest.raises(ClockError, match=r"^a\.ndax: .*'elapsed' lasts 1000 s of 'wall_clock'"):
        joined(monkeypatch, raw)
