"""Dates of cyclers: one meaning or an error, whatever the language of the computer."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operando_readers._reader import FormatError
from operando_readers._stamps import local_iso, moments, unix_moments, without_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-09-20 08:32:34.558", "2024-09-20T08:32:34.558"),
        ("2024/9/20T08:32", "2024-09-20T08:32"),
        ("09/20/2024 08:32:34,5", "2024-09-20T08:32:34.5"),
        ("20.09.2024 08:32:34", "2024-09-20T08:32:34"),
        ("20.09.24 08:32:34", "2024-09-20T08:32:34"),
        ("23-Nov-23 3:56:08 PM", "2023-11-23T15:56:08"),
        ("23-Nov-23 12:00:08 am", "2023-11-23T00:00:08"),
        ("23-Nov-23 12:00:08 P.M.", "2023-11-23T12:00:08"),
        ("Feb. 20, 2020   15:55:08", "2020-02-20T15:55:08"),
        ("September 3, 2020 15:55:08", "2020-09-03T15:55:08"),
        ("11 December 2020, 12:22:12 PM", "2020-12-11T12:22:12"),
        ("1. März 2021 07:00:00", "2021-03-01T07:00:00"),
        ("3-Dez-21 07:00:00", "2021-12-03T07:00:00"),
        ("3 juin 2021 07:00:00", "2021-06-03T07:00:00"),
        ("3 juil. 2021 07:00:00", "2021-07-03T07:00:00"),
        ("14 août 2021 07:00:00", "2021-08-14T07:00:00"),
        ("05/05/2021 07:00:00", "2021-05-05T07:00:00"),
        ("30/04/2026", "2026-04-30"),
    ],
)
def test_one_meaning(text: str, expected: str) -> None:
    found = moments([text], what="t")
    assert found.values[0] == np.datetime64(expected, "ns")
    assert found.zone is None


@pytest.mark.parametrize("text", ["04/05/2024 10:00:00", "4-5-24 10:00", "04.05.2024"])
def test_two_meanings_are_refused_until_one_is_declared(text: str) -> None:
    with pytest.raises(FormatError, match=r"day or month first\? pass date_order"):
        moments([text], what="DPT Time")
    american = moments([text], what="t", date_order="mdy").values[0]
    european = moments([text], what="t", date_order="dmy").values[0]
    assert str(american)[:10] == "2024-04-05"
    assert str(european)[:10] == "2024-05-04"
    assert moments([text], what="t", usual="dmy").values[0] == european


def test_another_stamp_of_the_column_decides() -> None:
    found = moments(["04/05/2024 23:59:00", "13/05/2024 00:01:00"], what="t", usual="mdy")
    assert str(found.values[0])[:10] == "2024-05-04"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("11 December 2020, 12:22:12 PM", "2020-12-11"),
        ("12 November 2020", "2020-11-12"),
        ("2020-12-11 12:00:00", "2020-12-11"),
    ],
)
def test_a_header_that_leaves_no_choice_decides(header: str, expected: str) -> None:
    """The layout of a real Maccor header, whose rows say 12/11/2020."""
    found = moments(["12/11/2020 12:22:12"], what="t", beside=[header])
    assert str(found.values[0])[:10] == expected


def test_an_unrelated_header_decides_nothing() -> None:
    with pytest.raises(FormatError, match="date_order"):
        moments(["12/11/2020 12:22:12"], what="t", beside=["3 March 2021"])


def test_the_counter_decides_where_rows_span_days() -> None:
    stamps = ["01/02/2024 10:00:00", "02/02/2024 10:00:00"]
    day = moments(stamps, what="t", counter=np.array([0.0, 86_400.0]))
    month = moments(stamps, what="t", counter=np.array([5.0, 5.0 + 31 * 86_400.0]))
    assert str(day.values[1])[:10] == "2024-02-02"
    assert str(month.values[0])[:10] == "2024-01-02"
    with pytest.raises(FormatError, match="date_order"):
        moments(stamps, what="t", counter=np.array([0.0, 60.0]))


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["yesterday"], {}, "expected a date"),
        (["31/02/2024 10:00"], {}, "day"),
        (["13/13/2024 10:00"], {}, "month"),
        (["23/11/2024 10:00"], {"date_order": "mdy"}, "month"),
        (["2024-01-01 25:00:00"], {}, "no such time"),
        (["2024-01-01 13:00 PM"], {}, "hour 13"),
        (["1 Foo 2024 10:00"], {}, "'Foo' is not known"),
        (["01.01.1970 00:00:00"], {}, "expected a year"),
        (["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], {}, "some stamps carry an offset"),
        (["44123.5", "today"], {"excel": "1899-12-30"}, "serial number"),
    ],
)
def test_refusals(texts: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        moments(texts, what="t", **options)
    assert "\n" not in str(error.value)


def test_offsets_make_instants() -> None:
    found = moments(["2024-01-01T10:00:00+02:00", "2024-01-01T08:00:01Z"], what="t")
    assert found.zone == "UTC"
    assert (found.values - np.datetime64("2024-01-01T08:00:00")).astype("m8[s]").tolist() == [
        np.timedelta64(0, "s"),
        np.timedelta64(1, "s"),
    ]


@pytest.mark.parametrize(
    ("text", "resolution"),
    [("2024-01-01 10:00", 60.0), ("2024-01-01 10:00:00", 1.0), ("2024-01-01 10:00:00.0", 0.0)],
)
def test_resolution(text: str, resolution: float) -> None:
    assert moments([text, ""], what="t").resolution_s == resolution


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("26.07.2022 22:38:30.190", "2022-07-26T22:38:30.190"),
        ("07/26/2022 22:38", "2022-07-26T22:38:00"),
        ("26-Jul-22 10:38:30 PM", "2022-07-26T22:38:30"),
    ],
)
def test_iso_keeps_all_digits(text: str, expected: str) -> None:
    assert local_iso(text, what="t") == expected


@pytest.mark.parametrize("text", ["", "2022-07-26T22:38:30Z"])
def test_a_local_stamp_is_there_and_has_no_offset(text: str) -> None:
    with pytest.raises(FormatError, match="local time without offset"):
        local_iso(text, what="t")


def test_empty_stamps_are_missing() -> None:
    assert np.isnat(moments(["", "2024-01-01 10:00"], what="t").values).tolist() == [True, False]


def test_excel_serials() -> None:
    """36526 is 1 January 2000 in Excel's documentation; the 1904 system counts 1462 days less."""
    found = moments(["36526.5", ""], what="t", excel="1899-12-30").values
    later = moments([str(36526.5 - 1462)], what="t", excel="1904-01-01").values
    assert found[0] == np.datetime64("2000-01-01T12:00")
    assert np.isnat(found[1])
    assert later[0] == found[0]


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2199, 12, 31)),  # noqa: DTZ001
    st.sampled_from(["%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S.%f"]),
)
def test_written_stamps_read_back(moment: datetime, layout: str) -> None:
    order: Any = "mdy" if layout.startswith("%m") else "dmy"
    found = moments([moment.strftime(layout)], what="t", date_order=order)
    assert found.values[0] == np.datetime64(moment, "ns")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Shanghai"])
def test_the_zone_of_the_machine_takes_no_part(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert unix_moments(["1777888800.25"], what="t").values[0] == np.datetime64(
            "2026-05-04T10:00:00.25"
        )
        assert moments(["29.10.2023 02:30:00"], what="t").values[0] == np.datetime64(
            "2023-10-29T02:30:00"
        )
    finally:
        monkeypatch.undo()
        time.tzset()


def test_unix_seconds_are_exact() -> None:
    found = unix_moments(["1777888800.123456789", "1777888800", ""], what="t")
    assert found.zone == "UTC"
    assert str(found.values[0]) == "2026-05-04T10:00:00.123456789"
    assert np.isnat(found.values[2])
    assert unix_moments(["1777888800.0"], what="t").resolution_s == 1.0


@pytest.mark.parametrize("text", ["now", "-5", "0", "1777888800000", "1e9"])
def test_what_is_no_unix_time(text: str) -> None:
    with pytest.raises(FormatError, match=r"Unix|seconds since"):
        unix_moments([text], what="t")


def test_layouts_with_words_are_read_without_them() -> None:
    texts = ["23-Nov-23 3:56:11 PM", "01-Mai-24 12:05:00 AM"]
    plain, layout = without_words(texts, "%d-%b-%y %I:%M:%S %p")
    assert plain == ["23-11-23 15:56:11", "01-5-24 0:05:00"]
    assert layout == "%d-%m-%y %H:%M:%S"
    assert without_words(texts, "%d.%m.%Y") == (texts, "%d.%m.%Y")


def test_hostile_fields_are_no_dates() -> None:
    """A pattern that backtracks would take hours for them."""
    hostile = "1:" * 500_000
    assert without_words([hostile], "%b %p")[0] == [hostile]
    with pytest.raises(FormatError, match="expected a date"):
        moments(["1" + " " * 1_000_000 + "x"], what="t")
