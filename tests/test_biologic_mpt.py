"""EC-Lab text files: locales, headers, stamps, states and damage, in the layout of real exports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando_readers._reader import File, FormatError
from operando_readers.biologic_mpt import READER

GCPL = "Galvanostatic Cycling with Potential Limitation"
NAMES = ["mode", "ox/red", "time/s", "Ewe/V", "<I>/mA", "(Q-Qo)/mA.h", "cycle number", "Ns"]
ROWS = [
    [3, 1, 728075.0, 3.25, 0.0, 0.0, 0.0, 0],
    [1, 1, 728076.5, 3.5, 0.25, 0.125, 0.0, 1],
    [1, 0, 728078.0, 3.375, -0.25, 0.0625, 1.0, 2],
]
START = "Acquisition started on : 07/26/2022 22:38:30.190"


def number(value: object) -> str:
    """Write as EC-Lab does: counts plain, measurements with 15 digits and a 3-digit exponent."""
    if isinstance(value, str | int):
        return str(value)
    mantissa, exponent = f"{value:.15E}".split("E")
    return f"{mantissa}E{int(exponent):+04d}"


def text(
    names: list[str] = NAMES,
    rows: Sequence[Sequence[object]] = ROWS,
    *,
    technique: str = GCPL,
    settings: tuple[str, ...] = (START,),
) -> str:
    """Return a file with a header as EC-Lab writes it, decimal points, LF."""
    body = ["", technique, "", *settings, ""] if technique else []
    lines = ["EC-Lab ASCII FILE", f"Nb header lines : {len(body) + 3}                    ", *body]
    lines.append("\t".join(names) + "\t")
    lines += ["\t".join(number(value) for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def write(folder: Path, content: str | bytes, name: str = "a.mpt") -> File:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    return File(path)


def read(folder: Path, content: str | bytes, **options: object) -> xr.Dataset:
    return READER.read(write(folder, content), **options)


def test_units_signs_and_names(tmp_path: Path) -> None:
    log = read(tmp_path, text())
    assert log["voltage"].values.tolist() == [3.25, 3.5, 3.375]
    assert log["current"].values == pytest.approx([0.0, 0.25e-3, -0.25e-3], rel=1e-15)
    assert log["charge_counter"].values == pytest.approx([0.0, 0.125e-3, 0.0625e-3], rel=1e-15)
    assert log["current"].attrs == {"units": "A", "averaging": "backward"}
    assert log["voltage"].attrs["units"] == "V"
    assert log["charge_counter"].attrs["units"] == "A h"
    assert log["step_instrument"].values.tolist() == [0, 1, 2]
    assert log["cycle_instrument"].values.tolist() == [0, 0, 1]
    assert log["step_instrument"].dtype == np.int32
    assert log.attrs["current_sign"] == "oxidation_positive"
    assert log.attrs["original_metadata"]["header"].splitlines()[3] == GCPL


def test_time_counts_from_the_acquisition_not_from_the_first_row(tmp_path: Path) -> None:
    log = read(tmp_path, text())
    assert log["elapsed"].values.tolist() == [728075.0, 728076.5, 728078.0]
    assert log.attrs["clock"]["start"] == "2022-07-26T22:38:30.190"
    assert log.attrs["clock"]["zone"] is None
    assert log.attrs["clock"]["source"] == "header"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
def test_locales_agree(tmp_path: Path, line_end: str, comma: bool, encoding: str) -> None:
    plain = text(settings=(START, "Electrode surface area : 1.000 cm²", "unit Is     µA"))
    head, columns, body = plain.partition("\t".join(NAMES) + "\t\n")
    if comma:
        body = body.replace(".", ",")
    content = (head + columns + body).replace("\n", line_end).encode(encoding)
    log = read(tmp_path, content)
    xr.testing.assert_equal(log, read(tmp_path, plain))
    assert "cm²" in log.attrs["original_metadata"]["header"]


def test_both_decimal_marks_are_refused(tmp_path: Path) -> None:
    content = text().replace("3.500000000000000E+000", "3,500000000000000E+000")
    with pytest.raises(FormatError, match="commas and points"):
        read(tmp_path, content)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(len(NAMES))))
def test_order_of_columns_does_not_matter(
    order: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("order")
    names = [NAMES[at] for at in order]
    rows = [[row[at] for at in order] for row in ROWS]
    shuffled = read(folder, text(names, rows))
    xr.testing.assert_equal(shuffled, read(folder, text())[list(shuffled.data_vars)])


@pytest.mark.parametrize(
    ("stamp", "order", "expected"),
    [
        ("07/26/2022 22:38:30.190", None, "2022-07-26T22:38:30.190"),
        ("05/04/2022 01:02:03", None, "2022-05-04T01:02:03"),
        ("05-04-2022 01:02:03", None, "2022-05-04T01:02:03"),
        ("26/07/2022 22:38:30", None, "2022-07-26T22:38:30"),
        ("26.07.2022 22:38:30,190", None, "2022-07-26T22:38:30.190"),
        ("05.20.2022 22:38:30", None, "2022-05-20T22:38:30"),
        ("05.05.2022 22:38:30", None, "2022-05-05T22:38:30"),
        ("11.12.20 08:00:00", "dmy", "2020-12-11T08:00:00"),
        ("05.04.2022 08:00:00", "mdy", "2022-05-04T08:00:00"),
        ("05/04/2022 08:00:00", "dmy", "2022-04-05T08:00:00"),
    ],
)
def test_dates(tmp_path: Path, stamp: str, order: str | None, expected: str) -> None:
    log = read(tmp_path, text(settings=(f"Acquisition started on : {stamp}",)), date_order=order)
    assert log.attrs["clock"]["start"] == expected


@pytest.mark.parametrize(
    ("stamp", "order", "message"),
    [
        ("05.04.2022 08:00:00", None, "date_order"),
        ("11.12.20 08:00:00", None, "date_order"),
        ("26.07.2022 08:00:00", "mdy", "26.07.2022"),
        ("13/13/2022 08:00:00", None, "month"),
        ("yesterday", None, "yesterday"),
    ],
)
def test_dates_that_cannot_be_read(
    tmp_path: Path, stamp: str, order: str | None, message: str
) -> None:
    content = text(settings=(f"Acquisition started on : {stamp}",))
    with pytest.raises(FormatError, match=message):
        read(tmp_path, content, date_order=order)


def test_header_of_three_lines_has_no_start(tmp_path: Path) -> None:
    log = read(tmp_path, text(technique=""))
    assert log.attrs["clock"]["start"] is None
    assert log.attrs["clock"]["source"] == "none"
    assert log["elapsed"].values[0] == 728075.0


def test_start_from_the_log_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.mpl").write_bytes(f"EC-Lab LOG FILE\r\n\r\n{START}\r\n".encode())
    log = read(tmp_path, text(technique=""))
    assert log.attrs["clock"]["start"] == "2022-07-26T22:38:30.190"
    assert log.attrs["clock"]["source"] == "sidecar"


def absolute(stamps: list[str], *settings: str) -> str:
    rows: list[list[object]] = [[stamp, 3.5 + at] for at, stamp in enumerate(stamps)]
    return text(["time/s", "Ewe/V"], rows, settings=settings)


def test_absolute_stamps_count_from_the_start_whatever_the_header_calls_them(
    tmp_path: Path,
) -> None:
    stamps = ["12/11/2025 15:07:26.9190", "12/11/2025 15:07:27.4190", "12/12/2025 00:00:00.0001"]
    start = "Acquisition started on : 12/11/2025 15:07:26.419"
    for declared in ("Absolute MMDDYYYY", "Elapsed"):
        log = read(tmp_path, absolute(stamps, start, f"   Time format : {declared}"))
        expected = [0.5, 1.0, 31953.5811]
        assert log["elapsed"].values == pytest.approx(expected, abs=1e-9)
        assert log.attrs["clock"]["start"] == "2025-12-11T15:07:26.419"


def test_absolute_stamps_without_a_start(tmp_path: Path) -> None:
    stamps = ["12/11/2025 15:07:26.9190", "12/11/2025 15:07:28.9190"]
    log = read(tmp_path, absolute(stamps))
    assert log.attrs["clock"] == {
        "start": "2025-12-11T15:07:26.9190",
        "zone": None,
        "marks": "instant",
        "source": "column",
        "sigma_s": None,
    }
    assert log["elapsed"].values.tolist() == [0.0, 2.0]


def test_absolute_stamps_in_the_order_declared(tmp_path: Path) -> None:
    stamps = ["11/12/2025 15:07:26.9190", "11/12/2025 15:07:28.9190"]
    log = read(tmp_path, absolute(stamps, "   Time format : Absolute DDMMYYYY"))
    assert log.attrs["clock"]["start"] == "2025-12-11T15:07:26.9190"


def test_absolute_stamps_with_decimal_commas(tmp_path: Path) -> None:
    content = absolute(["13.11.2025 15:07:26,5", "13.11.2025 15:07:27,75"])
    head, columns, body = content.partition("Ewe/V\t\n")
    log = read(
        tmp_path,
        head + columns + body.replace("3.5", "3,5").replace("4.5", "4,5"),
    )
    assert log["elapsed"].values.tolist() == [0.0, 1.25]
    assert log["voltage"].values.tolist() == [3.5, 4.5]


def test_absolute_stamps_before_the_start_are_refused(tmp_path: Path) -> None:
    content = absolute(["05/04/2025 15:00:00.0"], "Acquisition started on : 13/06/2025 15:00:00")
    with pytest.raises(FormatError, match="before the start"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("name", "variable", "factor"),
    [
        ("<Ewe>/V", "voltage", 1.0),
        ("<Ewe/V>", "voltage", 1.0),
        ("Ecell/V", "voltage", 1.0),
        ("Ewe/mV", "voltage", 1e-3),
        ("I/µA", "current", 1e-6),
        ("I/A", "current", 1.0),
        ("(Q-Qo)/C", "charge_counter", 1 / 3600),
        ("Ece/V", "counter_voltage", 1.0),
    ],
)
def test_names_and_units(tmp_path: Path, name: str, variable: str, factor: float) -> None:
    names = ["time/s", name] + ([] if variable == "voltage" else ["Ewe/V"])
    log = read(tmp_path, text(names, [[0.0, 2.5, 1.0][: len(names)]]))
    assert log[variable].values[0] == pytest.approx(2.5 * factor, rel=1e-15)


def test_instantaneous_current_is_second_choice(tmp_path: Path) -> None:
    names = ["time/s", "Ewe/V", "I/mA"]
    log = read(tmp_path, text(names, [[0.0, 3.0, 2.0]]))
    assert log["current"].attrs["averaging"] == "instantaneous"
    both = read(tmp_path, text([*names, "<I>/mA"], [[0.0, 3.0, 2.0, 4.0]]))
    assert both["current"].values.tolist() == [4e-3]
    assert both["current"].attrs["averaging"] == "backward"


def test_current_from_the_charge_of_each_row(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        [0.0, 3.0, 0.0],
        [10.0, 3.0, 1 / 3600],
        [10.00005, 3.0, 1.0],
        [12.0, 3.0, -1 / 3600],
    ]
    log = read(tmp_path, text(["time/s", "Ewe/V", "dq/mA.h"], rows))
    expected = [np.nan, 1e-4, np.nan, -1e-3 / 1.99995]
    assert log["current"].values == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert log["current"].attrs["averaging"] == "backward"


def test_unsigned_counters_are_no_charge_counter(tmp_path: Path) -> None:
    names = ["time/s", "Ewe/V", "Capacity/mA.h", "Q charge/discharge/mA.h"]
    log = read(tmp_path, text(names, [[0.0, 3.0, 1.0, 1.0]]))
    assert list(log.data_vars) == ["voltage"]


def test_unknown_unit(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="kV"):
        read(tmp_path, text(["time/s", "Ewe/kV"], [[0.0, 3.0]]))


def test_impedance_file_without_potential(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"Re\(Z\)/Ohm"):
        read(tmp_path, text(["time/s", "freq/Hz", "Re(Z)/Ohm"], [[0.0, 1e3, 5.0]]))


@pytest.mark.parametrize(
    ("mode", "ox_red", "current", "state"),
    [
        (3, 1, 0.0, 0),
        (3, 0, 0.5, 0),
        (1, 1, 0.5, 1),
        (1, 0, -0.5, 2),
        (1, 1, -0.5, 2),
        (1, 1, 0.0, 1),
        (1, 0, 0.0, 2),
        (2, 1, 0.5, 3),
        (2, 0, -0.5, 4),
        (0, 1, 0.5, -1),
    ],
)
def test_states(tmp_path: Path, mode: int, ox_red: int, current: float, state: int) -> None:
    names = ["mode", "ox/red", "time/s", "Ewe/V", "<I>/mA"]
    log = read(tmp_path, text(names, [[mode, ox_red, 0.0, 3.0, current]]))
    assert log["state_instrument"].values.tolist() == [state]
    meanings = log["state_instrument"].attrs["flag_meanings"].split()
    values = log["state_instrument"].attrs["flag_values"].tolist()
    assert dict(zip(meanings, values, strict=True))["sweep_down"] == 6


def test_voltammetry_sweeps_by_the_potential_it_drives(tmp_path: Path) -> None:
    control = [0.0, 0.1, 0.1, 0.2, 0.1, 0.0]
    measured = [0.0, 0.1, 0.09, 0.21, 0.1, 0.0]
    rows: list[list[object]] = [
        [2, 0, float(at), *pair, 0.5] for at, pair in enumerate(zip(control, measured, strict=True))
    ]
    names = ["mode", "ox/red", "time/s", "control/V", "Ewe/V", "<I>/mA"]
    log = read(tmp_path, text(names, rows, technique="Cyclic Voltammetry"))
    assert log["state_instrument"].values.tolist() == [5, 5, 5, 5, 6, 6]
    held = read(tmp_path, text(names, rows, technique="Chronoamperometry"))
    assert set(held["state_instrument"].values.tolist()) == {3}


def test_voltammetry_keeps_its_direction_over_a_missing_value(tmp_path: Path) -> None:
    names = ["mode", "time/s", "Ewe/V"]
    rows: list[list[object]] = [[2, 0.0, 0.1], [2, 1.0, 0.2], [2, 2.0, "XXX"], [2, 3.0, 0.4]]
    log = read(tmp_path, text(names, rows, technique="Linear Sweep Voltammetry"))
    assert log["state_instrument"].values.tolist() == [5, 5, 5, 5]


def test_open_circuit_without_mode_is_rest(tmp_path: Path) -> None:
    log = read(tmp_path, text(["time/s", "Ewe/V"], [[0.0, 3.0]], technique="Open Circuit Voltage"))
    assert log["state_instrument"].values.tolist() == [0]
    assert "state_instrument" not in read(tmp_path, text(["time/s", "Ewe/V"], [[0.0, 3.0]]))


def test_loops(tmp_path: Path) -> None:
    loops = (
        "Number of loops : 2",
        "Loop 0 from point number 0 to 1",
        "Loop 1 from point number 2 to 2",
    )
    log = read(tmp_path, text(settings=(START, *loops)))
    assert log["loop"].values.tolist() == [0, 0, 1]
    assert "loop" not in read(tmp_path, text())


def test_a_hostile_header_is_refused_or_read(tmp_path: Path) -> None:
    """Patterns that backtrack would take hours for these lines."""
    loops = "Loop 1 from point number " + "9" * 5000
    assert "loop" not in read(tmp_path, text(settings=(loops,)))
    stamp = "Acquisition started on :" + " " * 1_000_000 + "x"
    with pytest.raises(FormatError, match="x"):
        read(tmp_path, text(settings=(stamp,)))


def test_longest_recording_interval(tmp_path: Path) -> None:
    header = (
        "dE1 (mV)            500,00              5,00                ",
        "dt1 (s)             0,0000              30,0000             ",
        "dtq (s)             0,0000              120,0000            ",
        "dtR (s)             pass                1,0000              ",
        "t1 (h:m:s)          1000:00:0,0000      ",
    )
    assert read(tmp_path, text(settings=header)).attrs["max_record_interval_s"] == 120.0
    assert "max_record_interval_s" not in read(tmp_path, text()).attrs


def test_technique_that_never_recorded(tmp_path: Path) -> None:
    log = read(tmp_path, text(rows=[]))
    assert log.sizes["time"] == 0
    assert log.attrs["clock"]["start"] == "2022-07-26T22:38:30.190"


def test_missing_values_are_not_zero(tmp_path: Path) -> None:
    rows: list[list[object]] = [[0.0, 3.0, "XXXX"], [1.0, "NaN", 1.0]]
    log = read(tmp_path, text(["time/s", "Ewe/V", "<I>/mA"], rows))
    assert np.isnan(log["current"].values).tolist() == [True, False]
    assert np.isnan(log["voltage"].values).tolist() == [False, True]


def test_ragged_row_inside_names_its_line(tmp_path: Path) -> None:
    lines = text().splitlines()
    lines[-2] = lines[-2].rpartition("\t")[0]
    with pytest.raises(FormatError, match=f"line {len(lines) - 1}: 7 fields; expected 8"):
        read(tmp_path, "\n".join(lines) + "\n")


def test_long_and_short_rows_do_not_cancel(tmp_path: Path) -> None:
    lines = text().splitlines()
    lines[-2] += "\t1"
    lines[-1] = lines[-1].rpartition("\t")[0]
    with pytest.raises(FormatError, match=f"line {len(lines) - 1}: 9 fields"):
        read(tmp_path, "\n".join(lines) + "\n")


def test_words_among_numbers(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="oops"):
        read(tmp_path, text(["time/s", "Ewe/V"], [[0.0, "oops"], [1.0, 3.0]]))


@pytest.mark.parametrize("cut", [1, 2, 5, 12, 30])
def test_last_row_cut_short_is_left_out(tmp_path: Path, cut: int) -> None:
    names = [*NAMES[:-1], "P/W"]
    content = text(names, [[*row[:-1], 0.5] for row in ROWS])
    log = read(tmp_path, content[: -1 - cut])
    assert log.sizes["time"] == 2
    assert "cut short" in log.attrs["truncated"]
    whole = read(tmp_path, content[:-1])
    assert whole.sizes["time"] == 3
    assert "truncated" not in whole.attrs


def test_zeros_at_the_end_are_a_torn_file(tmp_path: Path) -> None:
    log = read(tmp_path, text() + "\0" * 512)
    assert log.sizes["time"] == 3
    assert "zeros" in log.attrs["truncated"]


def test_zeros_inside_name_their_line(tmp_path: Path) -> None:
    content = text()
    at = content.rindex("3.375")
    with pytest.raises(FormatError, match=f"line {len(content.splitlines())}: holds NUL"):
        read(tmp_path, content[:at] + "\0\0\0" + content[at + 3 :])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "first line"),
        ("time/s\tEwe/V\n0\t1\n", "first line"),
        ("EC-Lab ASCII FILE\nfoo\n", "line 2"),
        ("EC-Lab ASCII FILE\nNb header lines : 80\n\n", "cut short"),
        ("EC-Lab ASCII FILE\nNb header lines : 3\nfreq/Hz\tEwe/V\n", "time/s"),
        ("EC-Lab ASCII FILE\nNb header lines : 3\ntime/s\tEwe/V\n1\t2\t3\n", "3 fields"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, content)


def test_sniff() -> None:
    assert READER.sniff(b"EC-Lab ASCII FILE\r\n", "a.txt")
    assert READER.sniff(b"\xef\xbb\xbfEC-Lab ASCII FILE\n", "a.mpt")
    assert not READER.sniff(b"EC-Lab LOG FILE\n", "a.mpl")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["", "continuation"])
def test_mean_current_reproduces_the_counter(shared_data: Path, name: str) -> None:
    """EC-Lab's own counter is the sum of <I> dt held backwards over each interval."""
    path = shared_data / f"operando/xas_ni_lno_rock/EC/220726cell4operandoxas{name}_C06.mpt"
    log = READER.read(File(path))
    passed = np.cumsum(log["current"].values[1:] * np.diff(log["elapsed"].values)) / 3600
    counter = log["charge_counter"].values
    error = np.abs(passed - (counter[1:] - counter[0])).max()
    assert error < 1e-6 * np.ptp(counter)


@pytest.mark.shared_data
def test_both_exports_of_one_technique_agree(shared_data: Path) -> None:
    folder = shared_data / "operando/xrd_zn_mno2_mspd/Echem"
    elapsed = READER.read(File(folder / "ZMO_D_C03.mpt"))
    absolute = READER.read(File(folder / "ZMO_D_C03.txt"))
    assert absolute.attrs["clock"] == elapsed.attrs["clock"]
    assert absolute["elapsed"].values == pytest.approx(elapsed["elapsed"].values, abs=1e-4)
    xr.testing.assert_equal(
        absolute["voltage"].drop_vars("elapsed"), elapsed["voltage"].drop_vars("elapsed")
    )


def test_signals_of_the_beamline(tmp_path: Path) -> None:
    """A trigger at an analog input and a thermocouple, under the names the binary file has."""
    names = ["time/s", "Ewe/V", "Analog IN 1/V", "Analog IN 2/V", "Temperature/°C"]
    log = read(tmp_path, text(names, [[0.0, 3.0, 5.0, -0.5, 25.25], [1.0, 3.0, 0.0, -0.5, 25.5]]))
    assert log["analog_in_1"].values.tolist() == [5.0, 0.0]
    assert log["analog_in_2"].values.tolist() == [-0.5, -0.5]
    assert log["temperature"].values.tolist() == [25.25, 25.5]
    units = [log[name].attrs["units"] for name in ("analog_in_1", "analog_in_2", "temperature")]
    assert units == ["V", "V", "degree_Celsius"]


def test_errors_are_kept_where_there_are_any(tmp_path: Path) -> None:
    names = ["error", "time/s", "Ewe/V"]
    log = read(tmp_path, text(names, [[0, 0.0, 3.0], [1, 1.0, 3.0]]))
    assert log["error_instrument"].values.tolist() == [0, 1]
    assert "error_instrument" not in read(tmp_path, text(names, [[0, 0.0, 3.0]]))


@pytest.mark.parametrize("count", [0, 2])
def test_header_of_no_lines(tmp_path: Path, count: int) -> None:
    with pytest.raises(FormatError, match="N of 3 or more"):
        read(tmp_path, f"EC-Lab ASCII FILE\nNb header lines : {count}\ntime/s\tEwe/V\n0\t1\n")
