"""Stamps on UTC: every rule of the design's page on time."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operando import clocks
from operando.errors import ClockError

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
