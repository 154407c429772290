"""Exports of cyclers and potentiostats: recognised by one reader each, and their traps."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando.electrochemistry import prepare
from operando.reading import formats, read
from operando.simulate.cyclers import EXPORTS, record, workbook
from operando_readers._log import signed_counter
from operando_readers._profile import split_label
from operando_readers._reader import File, FormatError
from operando_readers._text import text_of

OURS = [
    *("arbin", "autolab_text", "basytec", "battery_data_format", "chi_text", "ivium_text"),
    *("landt", "maccor", "novonix", "parstat_text", "powersuite_text"),
]
OPTIONS: dict[str, dict[str, Any]] = {
    "powersuite_text": {"current_units": "mA"},
    "maccor": {"current_units": "mA"},
}
FLIPS = 60
CUTS = 40

ARBIN = (
    "Data Point,Date Time,Test Time (s),Cycle Index,Step Index,Current (A),Voltage (V),"
    "Charge Capacity (Ah),Discharge Capacity (Ah)\n"
)
ARBIN_ROWS = (
    "1,\t04/05/2024 10:00:00.5,0,1,1,0.5,3.5,0,0\n"
    "2,\t04/05/2024 10:00:30.5,30,1,1,0.5,3.6,0.004,0\n"
    "3,\t04/05/2024 10:01:00.5,60,1,2,-0.5,3.4,0.004,0.003\n"
)
LANDT = "Index,TestTime/Sec.,Voltage/V,Current/mA,Capacity/mAh,SysTime,State\n"
LANDT_ROWS = (
    "1,0,3.0,0,0,2024-09-20 10:00:00,R\n"
    "2,60,3.1,6,0.1,2024-09-20 10:01:00,C_Rate\n"
    "3,120,3.0,-6,0.0,2024-09-20 10:02:00,D_Rate\n"
    "4,180,2.9,-6,0.1,2024-09-20 10:03:00,D_Rate\n"
)
MACCOR = (
    "Today's Date ,28-Nov-23\nDate of Test:,23-Nov-23 3:56:08 PM\n"
    "Rec,Cycle C,Step,Test Time (sec),Capacity,Current,Voltage,State,DPT Time\n"
)
MACCOR_ROWS = (
    "1,1,1,0,0,0,3.0,R,23-Nov-23 3:56:11 PM\n"
    "2,1,2,60,0.5,30,3.1,C,23-Nov-23 3:57:11 PM\n"
    "3,1,3,120,0.5,30,2.9,D,23-Nov-23 3:58:11 PM\n"
    "4,1,3,121,0.5,30,2.9,S,23-Nov-23 3:58:12 PM\n"
)
NOVONIX = "[Summary]\nNovonix UHPC data file\nStarted: 2025-07-19 15:26:20\n[End Summary]\n[Data]\n"
BASYTEC = (
    "~Resultfile from Basytec Battery Test System\n"
    "~Date and Time of Data Converting: 07.07.2023 10:55:58\n"
    "~Start of Test: 04.05.2023 17:56:53\n"
    "~Time[h]\tU[V]\tI[mA]\tAh[Ah]\tT1[°C]\tCommand\tLine\n"
)
CHI = (
    "Feb. 20, 2020   15:55:08\n{technique}\nInstrument Model:  CHI660E\n\nInit E (V) = 0.3\n"
    "{setting}\n\n{names}\n\n"
)


def load(folder: Path, reader: str, content: str | bytes, name: str = "", **given: Any) -> Any:
    path = folder / (name or f"log{formats()[reader].suffixes[0]}")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return formats()[reader].read(File(path), **given)


# --- recognition -----------------------------------------------------------------------------


def claims(path: Path) -> list[str]:
    head = path.read_bytes()[: 1 << 16]
    return sorted(name for name, reader in formats().items() if reader.sniff(head, path.name))


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_an_export_has_one_reader(example_datasets: Path, name: str) -> None:
    (found,) = claims(example_datasets / "cycler_exports" / name)
    assert found.startswith(name.split("_")[0].split(".")[0].replace("bdf", "battery_data"))


@pytest.mark.shared_data
def test_real_exports_have_one_reader_of_logs(shared_data: Path) -> None:
    folder = shared_data / "formats/echem/text"
    found = {path.name: claims(path) for path in folder.iterdir()}
    logs = {name: [r for r in readers if r in OURS] for name, readers in found.items()}
    assert logs.pop("exampleDataParstat.txt") == ["parstat_text"]
    for name, readers in logs.items():
        maker = name.removeprefix("sample_data_").partition(".")[0]
        assert readers == (
            [] if name.startswith("example") else [maker if maker in OURS else "arbin"]
        )


@pytest.mark.shared_data
def test_no_other_file_is_claimed(shared_data: Path) -> None:
    folders = ("formats/raman", "formats/echem/biologic", "formats/echem/gamry", "operando")
    files = [path for folder in folders for path in sorted((shared_data / folder).rglob("*"))]
    taken = [path for path in files if path.is_file() and set(claims(path)) & set(OURS)]
    assert taken == []


@pytest.mark.parametrize("reader", OURS)
def test_nothing_is_claimed_by_accident(reader: str) -> None:
    sniff = formats()[reader].sniff
    for head in (b"", b"\x00" * 100, b"PK\x03\x04", b"\xff\xfe", b"a,b\n1,2\n", b"\n\n\n", b'"'):
        assert not sniff(head, "file.csv")


# --- the simulated cell, read back and prepared ----------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "landt.csv",
        "landt_gb18030.csv",
        "landt_newer.csv",
        "landt.xlsx",
        "maccor.txt",
        "bdf.bdf.csv",
    ],
)
def test_net_charge_and_states_of_the_simulated_cell(example_datasets: Path, name: str) -> None:
    """Unsigned currents, reversed signs and capacities per step all lead to the truth put in."""
    log = record()
    first: dict[str, Any] = {"first": "2026-04-30T14:33:19"} if name == "landt.xlsx" else {}
    prepared = prepare(read(example_datasets / "cycler_exports" / name, tz="UTC", **first))
    assert prepared["current"].values == pytest.approx(1e-3 * log.current_ma, abs=1e-12)
    assert prepared["net_capacity"].values == pytest.approx(1e-3 * log.net_mah, abs=1e-6)
    assert prepared["state"].values.tolist() == [
        {2.5: 1, -2.5: 2}.get(i, 0) for i in log.current_ma
    ]
    assert prepared["time"].values[0] == np.datetime64("2026-04-30T14:33:19")


def test_the_truth_file_is_what_was_recorded(example_datasets: Path) -> None:
    truth = json.loads((example_datasets / "cycler_exports/truth.json").read_text())
    assert truth["elapsed_s"] == record().elapsed.tolist()


# --- names and units --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Current/uA", ("current", "uA")),
        ("TestTime/Sec.", ("testtime", "Sec")),
        ("Unix Time / s", ("unix time", "s")),
        ("~Time[h]", ("time", "h")),
        ("WE(1).Potential (V)", ("we(1).potential", "V")),
        ("Amp-hr(mAh)", ("amp hr", "mAh")),
        ("SpeCap/mAh/g", ("specap/mah", "g")),
        ("电流/mA", ("电流", "mA")),
        ("", ("", None)),
    ],
)
def test_labels(label: str, expected: tuple[str, str | None]) -> None:
    assert split_label(label) == expected


@pytest.mark.parametrize(
    ("unit", "factor"), [("A", 1.0), ("mA", 1e-3), ("uA", 1e-6), ("µA", 1e-6), ("nA", 1e-9)]
)
def test_the_unit_of_the_current_is_in_its_name(tmp_path: Path, unit: str, factor: float) -> None:
    log = load(tmp_path, "landt", (LANDT + LANDT_ROWS).replace("Current/mA", f"Current/{unit}"))
    assert log["current"].values[1] == pytest.approx(6 * factor, rel=1e-15)


def test_an_unknown_unit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="column 'Current/kA': unit 'kA'"):
        load(tmp_path, "landt", (LANDT + LANDT_ROWS).replace("Current/mA", "Current/kA"))


@pytest.mark.parametrize("reader", ["maccor", "powersuite_text"])
def test_a_current_without_unit_must_be_declared(tmp_path: Path, reader: str) -> None:
    content = {
        "maccor": MACCOR + MACCOR_ROWS,
        "powersuite_text": "Time\t E\t I\r\r\n0\t 3\t 2\r\r\n",
    }
    with pytest.raises(FormatError, match="pass current_units"):
        load(tmp_path, reader, content[reader])
    ampere = load(tmp_path, reader, content[reader], current_units="A")
    milli = load(tmp_path, reader, content[reader], current_units="mA")
    assert milli["current"].values == pytest.approx(1e-3 * ampere["current"].values)


def test_two_columns_of_one_meaning_are_refused(tmp_path: Path) -> None:
    """As in a table of charges beside a table of discharges."""
    content = "测试时间/Sec,电流/A,电压/V,,测试时间/Sec,电流/A,电压/V\n0,1,3,,0,1,3\n"
    with pytest.raises(FormatError, match="are all elapsed"):
        load(tmp_path, "landt", content)


def test_columns_nobody_reads_are_listed(tmp_path: Path) -> None:
    log = load(tmp_path, "arbin", ARBIN + ARBIN_ROWS)
    metadata = log.attrs["original_metadata"]
    assert metadata["columns_not_read"] == "Data Point"
    assert "Voltage (V)" in metadata["columns"]


# --- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    content = (LANDT + LANDT_ROWS).replace("Voltage", "电压").replace("SysTime", "系统时间")
    if encoding in ("utf-16-le", "utf-16-be"):
        content = LANDT + LANDT_ROWS
    log = load(tmp_path, "landt", content.encode(encoding))
    assert log["voltage"].values.tolist() == [3.0, 3.1, 3.0, 2.9]
    assert formats()["landt"].sniff(content.encode(encoding)[:200], "log.csv")


def test_latin_1_degrees_do_no_harm(tmp_path: Path) -> None:
    content = BASYTEC + "0\t3,5\t0\t0\t25\tPause\t1\n1\t3,6\t0\t0\t25\tPause\t1\n"
    log = load(tmp_path, "basytec", content.encode("latin-1"))
    assert log["voltage"].values.tolist() == [3.5, 3.6]
    assert log["elapsed"].values.tolist() == [0.0, 3600.0]
    assert log.attrs["clock"]["start"] == "2023-05-04T17:56:53"


def test_german_numbers_and_semicolons(tmp_path: Path) -> None:
    content = (LANDT.replace("Sec.", "Sec") + LANDT_ROWS).replace(",", ";").replace(".", ",")
    log = load(tmp_path, "landt", content)
    assert log["voltage"].values.tolist() == [3.0, 3.1, 3.0, 2.9]
    with pytest.raises(FormatError, match="commas and points"):
        load(tmp_path, "landt", content.replace("3,1;", "3.1;"))


def test_repeated_names_and_a_footer(tmp_path: Path) -> None:
    content = ARBIN + ARBIN_ROWS + ARBIN + ARBIN_ROWS.replace("10:0", "10:1") + "End of test,,,,,\n"
    log = load(tmp_path, "arbin", content)
    assert log.sizes["time"] == 6
    assert log["elapsed"].values.tolist() == [0.0, 30.0, 60.0, 600.0, 630.0, 660.0]
    assert log.attrs["original_metadata"]["footer"].startswith("End of test")


def test_what_is_no_row_among_rows_is_refused(tmp_path: Path) -> None:
    content = ARBIN + ARBIN_ROWS + "cell fell off\n" + ARBIN_ROWS
    with pytest.raises(FormatError, match="line 5: 'cell fell off'"):
        load(tmp_path, "arbin", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ARBIN + ARBIN_ROWS.replace("3.6", "three"), "line 3 holds 'three'"),
        (ARBIN + ARBIN_ROWS.replace("3.6", "1e999"), "line 3 holds '1e999'"),
        (ARBIN + ARBIN_ROWS.replace("3.6,", "3.6,9,"), "Expected 9 fields in line 3, saw 10"),
        (ARBIN + ARBIN_ROWS.replace("3.6", "3.6\0"), "line 3: holds NUL"),
        ("a,b\n1,2\n", "no line names the columns of Arbin"),
        (ARBIN + "not,a,row\n", "expected a row of numbers"),
    ],
)
def test_refusals(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        load(tmp_path, "arbin", content)
    assert "\n" not in str(error.value)


def test_a_row_cut_short_is_left_out(tmp_path: Path) -> None:
    log = load(tmp_path, "arbin", ARBIN + ARBIN_ROWS + "4,\t04/05/2024 10:01:3")
    assert log.sizes["time"] == 3
    assert "cut short" in log.attrs["truncated"]


def test_a_last_field_that_lost_digits_is_left_out(tmp_path: Path) -> None:
    content = "04/13/2021 19:42:30\ntime/s E/V I/A\n0 3.0 1.5E-05\n1 3.0 1.5E-0"
    log = load(tmp_path, "ivium_text", content)
    assert log["current"].values.tolist() == [1.5e-5]
    assert "truncated" in log.attrs


def test_no_rows_yet(tmp_path: Path) -> None:
    assert load(tmp_path, "arbin", ARBIN).sizes["time"] == 0


# --- clocks -------------------------------------------------------------------------------------


def test_counter_and_wall_clock(tmp_path: Path) -> None:
    log = load(tmp_path, "arbin", ARBIN + ARBIN_ROWS)
    assert log["elapsed"].values.tolist() == [0.0, 30.0, 60.0]
    assert log["wall_clock"].values.tolist() == [0.0, 30.0, 60.0]
    assert log.attrs["clock"]["start"] == "2024-04-05T10:00:00.5"
    assert log.attrs["clock"]["zone"] is None
    european = load(tmp_path, "arbin", ARBIN + ARBIN_ROWS, date_order="dmy")
    assert european.attrs["clock"]["start"] == "2024-05-04T10:00:00.5"


def test_older_names_and_iso_dates(tmp_path: Path) -> None:
    """As in CS2_33_10_04_10.csv of nicolet5/DiffCapAnalyzer."""
    content = (
        "Data_Point,Test_Time(s),Date_Time,Step_Index,Cycle_Index,Current(A),Voltage(V)\n"
        "1,30.0001,2010-09-27 14:12:48,1,1,0.0,3.45\n2,60.0154,2010-09-27 14:13:18,1,1,0.0,3.46\n"
    )
    log = load(tmp_path, "arbin", content)
    assert log.attrs["clock"]["start"] == "2010-09-27T14:12:48"
    assert log["elapsed"].values == pytest.approx([0, 30.0153])


def test_milliseconds_under_seconds_are_refused(tmp_path: Path) -> None:
    """bdf#65."""
    rows = "".join(f"{1000 * t},3.5,0.1,{1777888800 + t}\n" for t in range(0, 600, 10))
    names = "Test Time / s,Voltage / V,Current / A,Unix Time / s\n"
    with pytest.raises(FormatError, match="not what its name says"):
        load(tmp_path, "battery_data_format", names + rows)


def test_the_export_date_is_never_the_start(tmp_path: Path) -> None:
    without = "\n".join(line for line in BASYTEC.split("\n") if "Start of" not in line)
    log = load(tmp_path, "basytec", without + "0\t3.5\t0\t0\t25\tPause\t1\n")
    assert log.attrs["clock"]["start"] is None
    assert "Data Converting" in log.attrs["original_metadata"]["header"]


def test_times_of_day_take_the_date_of_the_test(tmp_path: Path) -> None:
    content = (
        "Today's Date 01/20/2025  Date of Test:\t01/15/2025\t Filename:\tx\n"
        "Rec#\tCyc#\tStep\tTest (Min)\tAmp-hr\tAmps\tVolts\tState\tDPt Time\n"
        "1\t0\t1\t1.0\t0\t0\t2.3\tR\t11:49:32\n2\t0\t1\t2.0\t0\t0\t2.3\tR\t11:50:32\n"
    )
    log = load(tmp_path, "maccor", content)
    assert log.attrs["clock"]["start"] == "2025-01-15T11:49:32"
    assert log["elapsed"].values.tolist() == [60.0, 120.0]


@pytest.mark.parametrize(
    ("tested", "start"),
    [
        ("11 December 2020, 12:22:12 PM", "2020-12-11T12:22:12"),
        ("23-Nov-23 3:56:08 PM", "2023-11-23T15:56:08"),
        ("01/15/2025", None),
    ],
)
def test_the_date_of_the_test_where_rows_have_none(
    tmp_path: Path, tested: str, start: str | None
) -> None:
    """A day without its time is no start."""
    header = f"Today's Date:\t14 December 2020\tDate of Test:\t{tested}\tx\n"
    content = header + "Rec#\tCyc#\tStep\tTest (Sec)\tAmp-hr\tAmps\tVolts\n1\t0\t1\t5\t0\t0\t2.3\n"
    log = load(tmp_path, "maccor", content)
    assert log.attrs["clock"]["start"] == start
    assert log["elapsed"].values.tolist() == [5.0]


@pytest.mark.parametrize(("order", "start"), [("mdy", "2021-04-03"), ("dmy", "2021-03-04")])
def test_ivium_start_needs_its_order(tmp_path: Path, order: str, start: str) -> None:
    content = "04/03/2021 19:42:30\ntime/s E/V I/A\n0 3.0 1.5E-05\n"
    with pytest.raises(FormatError, match="date_order"):
        load(tmp_path, "ivium_text", content)
    log = load(tmp_path, "ivium_text", content, date_order=order)
    assert log.attrs["clock"]["start"] == f"{start}T19:42:30"


def test_durations(tmp_path: Path) -> None:
    content = LANDT.replace("TestTime/Sec.", "TestTime").replace("SysTime,", "") + (
        "1,0-00:00:00,3.0,0,0,R\n2,1-02:03:04.5,3.0,0,0,R\n"
    )
    assert load(tmp_path, "landt", content)["elapsed"].values.tolist() == [0.0, 93_784.5]
    with pytest.raises(FormatError, match="line 3 holds '1-02:xx'"):
        load(tmp_path, "landt", content.replace("1-02:03:04.5", "1-02:xx"))
    with pytest.raises(FormatError, match="unit is not in its name"):
        load(tmp_path, "landt", content.replace("0-00:00:00", "0").replace("1-02:03:04.5", "1"))


# --- signs, charge, states ------------------------------------------------------------------------


def test_unsigned_current_and_its_states(tmp_path: Path) -> None:
    log = load(tmp_path, "maccor", MACCOR + MACCOR_ROWS, current_units="mA")
    assert log.attrs["current_sign"] == "unsigned"
    assert log["state_instrument"].values.tolist() == [0, 1, 2, -1]
    assert log["charge_counter"].values == pytest.approx([0, 5e-4, 5e-4, 5e-4])
    signed = load(
        tmp_path,
        "maccor",
        (MACCOR + MACCOR_ROWS).replace("0.5,30,2.9", "0.5,-30,2.9"),
        current_units="mA",
    )
    assert signed.attrs["current_sign"] == "unknown"


def test_capacity_per_step_takes_the_direction_of_its_step(tmp_path: Path) -> None:
    log = load(tmp_path, "landt", LANDT + LANDT_ROWS)
    assert log["charge_counter"].values == pytest.approx([0, 1e-4, 1e-4, 0], abs=1e-18)
    assert "magnitude" in log["charge_counter"].attrs["comment"]


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        ([0, 1, 2, 1, 0], [0, 1, 2, 1, 0]),
        ([0, 1, 2, 1, 2], [0, 1, 2, 1, 0]),
        ([0, 1, 2, 3, 4], [0, 1, 2, 1, 0]),
        ([0, 1, np.nan, 3, 4], [0, 1, np.nan, 0, -1]),
    ],
    ids=["balance", "per step", "for ever", "missing"],
)
def test_signed_counter(capacity: list[float], expected: list[float]) -> None:
    current = np.array([0.0, 1, 1, -1, -1])
    step = np.array([0, 1, 1, 2, 2])
    counter, _ = signed_counter(np.array(capacity, float), current, [step])
    if np.isnan(capacity).any():  # what passed in the row that lacks is in the next one
        expected = [0, 1, np.nan, -1, -2]
    assert counter == pytest.approx(expected, nan_ok=True)


def test_charge_is_charge_minus_discharge(tmp_path: Path) -> None:
    log = load(tmp_path, "arbin", ARBIN + ARBIN_ROWS)
    assert log["charge_counter"].values == pytest.approx([0, 0.004, 0.001])
    assert log["step_instrument"].values.tolist() == [1, 1, 2]


def test_unknown_states_and_dashes(tmp_path: Path) -> None:
    rows = LANDT_ROWS.replace("C_Rate", "Pulse").replace("3.1,6,0.1", "-,6,0.1")
    log = load(tmp_path, "landt", LANDT + rows)
    assert log["state_instrument"].values.tolist() == [0, -1, 2, 2]
    assert np.isnan(log["voltage"].values[1])


def test_novonix(tmp_path: Path) -> None:
    names = "Date and Time,Run Time (h),Current (A),Potential (V),Capacity (Ah),Step Number\n"
    rows = "2025-07-19 15:26:20,0,0.5,3.8,0,1\n2025-07-19 15:56:20,0.5,-0.5,3.7,-0.25,2\n"
    log = load(tmp_path, "novonix", NOVONIX + names + rows)
    assert log["elapsed"].values == pytest.approx([0, 1800])
    assert log["charge_counter"].values.tolist() == [0, -0.25]


# --- potentiostats --------------------------------------------------------------------------------


def test_parstat_leaves_sweeps_to_the_reader_of_impedance(tmp_path: Path) -> None:
    names = "Potential (V)\tCurrent (A)\tElapsed Time (s)\tFrequency (Hz)\tZre (ohms)\t\n"
    log_rows, sweep = "3.5\t0.1\t10\t0\t0\t\n3.4\t0.1\t20\t0\t0\t\n", "3.4\t0.1\t21\t1000\t5\t\n"
    log = load(tmp_path, "parstat_text", names + log_rows + sweep)
    assert log["elapsed"].values.tolist() == [10.0, 20.0]
    sniff = formats()["parstat_text"].sniff
    assert sniff((names + log_rows + sweep).encode(), "a.txt")
    assert not sniff((names + sweep).encode(), "a.txt")
    with pytest.raises(FormatError, match="read it as impedance"):
        load(tmp_path, "parstat_text", names + sweep)


def test_versastudio_segments(tmp_path: Path) -> None:
    content = "Segment #,Point #,E(V),I(A),Elapsed Time(s),ADC Sync Input(V)\n0,0,3.5,0.1,1.5,0\n"
    log = load(tmp_path, "parstat_text", content, "log.csv")
    assert log["voltage"].values.tolist() == [3.5]
    assert log["step_instrument"].values.tolist() == [0]


@pytest.mark.parametrize("mark", [".", ","])
def test_nova(tmp_path: Path, mark: str) -> None:
    content = "Corrected time (s);WE(1).Potential (V);WE(1).Current (uA);Scan\n0.5;1.5;-2.5;1\n"
    log = load(
        tmp_path, "autolab_text", content.replace("0.5;1.5;-2.5", f"0{mark}5;1{mark}5;-2{mark}5")
    )
    assert log["elapsed"].values.tolist() == [0.5]
    assert log["current"].values == pytest.approx([-2.5e-6])


def test_chi_sweeps_are_timed_by_their_rate(tmp_path: Path) -> None:
    head = CHI.format(
        technique="Cyclic Voltammetry",
        setting="Scan Rate (V/s) = 0.1",
        names="Potential/V, Current/A",
    )
    log = load(tmp_path, "chi_text", head + "0.30, 1e-6\n0.40, 2e-6\n0.40, 2e-6\n0.35, 1e-6\n")
    assert log["elapsed"].values == pytest.approx([0, 1, 1, 1.5])
    assert log.attrs["current_sign"] == "unknown"
    assert log.attrs["clock"]["sigma_s"] == pytest.approx(1.5)
    for setting, message in (("", "no 'Scan Rate"), ("Scan Rate (V/s) = 0", "scan rate 0")):
        with pytest.raises(FormatError, match=message):
            load(tmp_path, "chi_text", head.replace("Scan Rate (V/s) = 0.1", setting) + "1, 2\n")


@pytest.mark.parametrize(
    ("technique", "voltage"), [("Amperometric i-t Curve", 0.3), ("Chronoamperometry", np.nan)]
)
def test_chi_currents_without_potential(tmp_path: Path, technique: str, voltage: float) -> None:
    head = CHI.format(technique=technique, setting="", names="Time/sec, Current/A")
    log = load(tmp_path, "chi_text", head + "0.1, 1e-6\n0.2, 1e-6\n")
    assert log["voltage"].values == pytest.approx([voltage, voltage], nan_ok=True)
    assert "voltage" in log.attrs["derived"]


def test_chi_impedance_is_left_to_its_reader() -> None:
    head = CHI.format(technique="A.C. Impedance", setting="", names="Freq/Hz, Z'/ohm, Z\"/ohm")
    assert not formats()["chi_text"].sniff(head.encode(), "a.txt")


# --- workbooks ------------------------------------------------------------------------------------


def sheet(*rows: str) -> list[list[str | float]]:
    return [[float(f) if f.strip("-.0123456789") == "" else f for f in r.split(",")] for r in rows]


NAMES = "Date_Time,Test_Time(s),Step_Index,Cycle_Index,Voltage(V),Current(A)"


def test_the_parts_of_a_channel_follow_one_another(tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        "Global_Info": sheet("TEST REPORT"),
        "Channel_3_1": sheet(NAMES, "44123.5,10,1,1,3.5,0.1"),
        "Channel_3_2": sheet(NAMES, "44123.500011574074,11,1,1,3.6,0.1"),
        "Channel_Chart": sheet("nothing"),
    }
    log = load(tmp_path, "arbin", workbook(parts), "log.xlsx")
    assert log["voltage"].values.tolist() == [3.5, 3.6]
    assert log["wall_clock"].values == pytest.approx([0, 1], abs=1e-5)
    assert log.attrs["clock"]["start"] == "2020-10-19T12:00:00"
    assert log.attrs["original_metadata"]["sheet Global_Info"] == "TEST REPORT"


def test_several_channels_need_a_choice(tmp_path: Path) -> None:
    rows = sheet(NAMES, "44123.5,10,1,1,3.5,0.1")
    book = workbook({"Channel_3_1": rows, "Channel_4_1": sheet(NAMES, "44123.5,10,1,1,3.9,0.1")})
    with pytest.raises(FormatError, match="pass sheet"):
        load(tmp_path, "arbin", book, "log.xlsx")
    chosen = load(tmp_path, "arbin", book, "log.xlsx", sheet="Channel_4_1")
    assert chosen["voltage"].values.tolist() == [3.9]
    with pytest.raises(FormatError, match="there are"):
        load(tmp_path, "arbin", book, "log.xlsx", sheet="Channel_5_1")


@pytest.mark.parametrize(
    ("reader", "sheets", "message"),
    [
        ("maccor", {"Channel_1_1": sheet("a")}, "Maccor files are text"),
        ("arbin", {"Channel_1_1": sheet("a,b")}, "no row of 'Channel_1_1' names"),
        (
            "arbin",
            {"Channel_1_1": sheet(NAMES), "Channel_1_2": sheet(NAMES + ",x")},
            "different columns",
        ),
    ],
)
def test_workbooks_refused(tmp_path: Path, reader: str, sheets: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        load(tmp_path, reader, workbook(sheets), "log.xlsx")


# --- damage ---------------------------------------------------------------------------------------


def samples(shared: Path | None, examples: Path) -> list[tuple[str, Path]]:
    found = []
    for name in OURS:
        entries = json.loads((Path(__file__).parent / f"expected/{name}.json").read_text())["files"]
        for entry in entries:
            root = {"shared": shared, "examples": examples}[entry["root"]]
            if root is not None:
                found.append((name, root / entry["path"]))
    return found


def spoil(reader: str, path: Path, folder: Path) -> int:
    """Read the file with a byte flipped, and cut; return how often it could still be read."""
    raw = path.read_bytes()[:40_000] if path.suffix != ".xlsx" else path.read_bytes()
    rng = np.random.default_rng(11)
    readable = 0
    for step in range(FLIPS + CUTS):
        spoiled = bytearray(raw)
        if step < FLIPS:
            spoiled[int(rng.integers(min(len(raw), 4000)))] ^= int(rng.integers(1, 256))
        else:
            del spoiled[int(rng.integers(len(raw))) :]
        target = folder / path.name
        target.write_bytes(spoiled)
        formats()[reader].sniff(bytes(spoiled[: 1 << 16]), path.name)
        with contextlib.suppress(FormatError):
            log = formats()[reader].read(File(target), **OPTIONS.get(reader, {}))
            assert isinstance(log, xr.Dataset)
            assert np.isfinite(log["elapsed"].values).all()
            readable += 1
    return readable


def test_only_format_errors_escape(example_datasets: Path, tmp_path: Path) -> None:
    for reader, path in samples(None, example_datasets):
        assert spoil(reader, path, tmp_path) > 0, path


@pytest.mark.shared_data
def test_only_format_errors_escape_from_real_files(shared_data: Path, tmp_path: Path) -> None:
    for reader, path in samples(shared_data, tmp_path / "none"):
        if path.is_file() and path.suffix != ".xlsx":
            assert spoil(reader, path, tmp_path) > 0, path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LANDT + "1," + "9" * 400 + "d 00:00:00,3.0,0,0,R\n", "expected a time"),
        (LANDT + "1,1" + " " * 60_000 + "x:00,3.0,0,0,R\n", "expected a time"),
        (LANDT.replace("\n", "," * 10_000_000 + "\n"), "no line names the columns"),
        (LANDT + "1,1.0,3.0,0,0,R\n" + "x\n" * 2_000, "line 1003: 'x'"),
    ],
)
def test_hostile_text_is_refused_at_once(tmp_path: Path, content: str, message: str) -> None:
    content = content.replace("TestTime/Sec.", "TestTime").replace("SysTime,", "")
    with pytest.raises(FormatError, match=message) as error:
        load(tmp_path, "landt", content)
    assert "\n" not in str(error.value)


def test_text_of_a_head_cut_inside_a_character() -> None:
    assert text_of("电流".encode()[:-1]) == "电"
