"""Gamry files as Framework writes them: curves, sweeps, languages, dates, aborted experiments."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando_readers import _gamry, gamry_dta, gamry_impedance
from operando_readers._reader import File, FormatError
from operando_readers._stamps import DateOrder

CURVE = (
    ["Pt", "T", "Vf", "Im", "Vu", "Sig", "Ach", "IERange", "Over"],
    ["#", "s", "V vs. Ref.", "A", "V", "V", "V", "#", "bits"],
)
OCV = (
    ["Pt", "T", "Vf", "Vm", "Ach", "Over", "Temp"],
    ["#", "s", "V vs. Ref.", "V", "V", "bits", "deg C"],
)
ZCURVE = (
    ["Pt", "Time", "Freq", "Zreal", "Zimag", "Zsig", "Zmod", "Zphz", "Idc", "Vdc", "IERange"],
    ["#", "s", "Hz", "ohm", "ohm", "V", "ohm", "°", "A", "V", "#"],
)
OVER = "..........a"
Header = Sequence[tuple[str, ...]]
STAMP: Header = (("DATE", "LABEL", "4/23/2018", "Date"), ("TIME", "LABEL", "16:43:15", "Time"))
ANODIC = ("CONVENTION", "IQUANT", "1", "Current Convention")


def number(value: object, comma: bool) -> str:
    """Write as Framework does: counts plain, measurements with an exponent of three digits."""
    if not isinstance(value, float):
        return str(value)
    mantissa, exponent = f"{value:.5E}".split("E")
    return f"{mantissa}E{int(exponent):+04d}".replace(".", "," if comma else ".")


def table(
    name: str,
    columns: tuple[Sequence[str], Sequence[str]],
    rows: Sequence[Sequence[object]],
    *,
    announced: int | None = None,
    comma: bool = False,
) -> str:
    title = [name, "TABLE"] + ([] if announced is None else [str(announced)])
    lines = ["\t".join(title), *("\t" + "\t".join(fields) for fields in columns)]
    lines += ["\t" + "\t".join(number(value, comma) for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def text(tag: str, *tables: str, header: Header = (*STAMP, ANODIC)) -> str:
    """Return a file: its tag, title, notes of two lines, header and tables."""
    lines = ["EXPLAIN", f"TAG\t{tag}", "TITLE\tLABEL\tAn experiment\tTest &Identifier"]
    lines += ["\t".join(fields) for fields in header]
    lines += ["NOTES\tNOTES\t2\t&Notes...", "\t-50mV +5.66X10^-4 D8", "\tCURVE\tTABLE"]
    return "\n".join(lines) + "\n" + "".join(tables)


def curve(name: str, time: Sequence[float], voltage: Sequence[float], **options: bool) -> str:
    rows = [
        [at, t, v, 1e-3 * v, 0.0, v, -1e-3, 5, OVER]
        for at, (t, v) in enumerate(zip(time, voltage, strict=True))
    ]
    return table(name, CURVE, rows, **options)


def ocv(time: Sequence[float]) -> str:
    rows = [[at, t, 3.0 + t / 100, 3.0, -5e-4, OVER, -327.67] for at, t in enumerate(time)]
    return table("OCVCURVE", OCV, rows, announced=len(rows))


def zcurve(frequency: Sequence[float], time: Sequence[int], *, comma: bool = False) -> str:
    rows = [
        [at, t, f, 10.0 + at, -1.0 - at, 1, 1.0, -5.0, 1e-6, 3.5 + at, 9]
        for at, (f, t) in enumerate(zip(frequency, time, strict=True))
    ]
    return table("ZCURVE", ZCURVE, rows, comma=comma)


def write(folder: Path, content: str | bytes, name: str = "a.DTA") -> File:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    return File(path)


def log(folder: Path, content: str | bytes, **options: object) -> xr.Dataset:
    return gamry_dta.READER.read(write(folder, content), **options)


def impedance(folder: Path, content: str | bytes, **options: object) -> xr.Dataset:
    return gamry_impedance.READER.read(write(folder, content), **options)


def test_a_curve(tmp_path: Path) -> None:
    found = log(tmp_path, text("CHRONOA", curve("CURVE", [0.0, 30.0, 60.0], [0.5, -0.25, 0.125])))
    assert found["elapsed"].values.tolist() == [0.0, 30.0, 60.0]
    assert found["voltage"].values.tolist() == [0.5, -0.25, 0.125]
    assert found["current"].values == pytest.approx([5e-4, -2.5e-4, 1.25e-4], rel=1e-9)
    assert found["current"].attrs == {"units": "A", "averaging": "instantaneous"}
    assert found["voltage"].attrs["units"] == "V"
    assert found.attrs["clock"] == {
        "start": "2018-04-23T16:43:15",
        "zone": None,
        "marks": "instant",
        "source": "header",
        "sigma_s": None,
    }
    assert found.attrs["current_sign"] == "oxidation_positive"
    assert "truncated" not in found.attrs
    assert set(found.data_vars) == {"voltage", "current"}
    header = found.attrs["original_metadata"]["header"]
    assert "-50mV +5.66X10^-4 D8" in header
    assert "CONVENTION\tIQUANT\t1" in header


@pytest.mark.parametrize(
    ("header", "sign"),
    [
        ([("CONVENTION", "IQUANT", "1", "")], "oxidation_positive"),
        ([("CONVENTION", "IQUANT", "0", "")], "oxidation_negative"),
        ([("CONVENTION", "IQUANT", "7", "")], "unknown"),
        ([], "unknown"),
        ([ANODIC, ("WORKINGCONNECTION", "SELECTOR", "1", "")], "unknown"),
        ([ANODIC, ("WORKINGCONNECTION", "SELECTOR", "0", "")], "oxidation_positive"),
    ],
)
def test_the_sign_is_what_the_file_says(
    tmp_path: Path, header: list[tuple[str, ...]], sign: str
) -> None:
    content = text("CHRONOP", curve("CURVE", [0.0], [1.0]), header=header)
    assert log(tmp_path, content).attrs["current_sign"] == sign


@pytest.mark.parametrize(
    ("unit", "factor"), [("A", 1.0), ("mA", 1e-3), ("uA", 1e-6), ("µA", 1e-6), ("nA", 1e-9)]
)
def test_units_are_those_of_the_row_below_the_names(
    tmp_path: Path, unit: str, factor: float
) -> None:
    content = text("CHRONOA", curve("CURVE", [0.0, 1.0], [2.0, 3.0]))
    content = content.replace("V vs. Ref.\tA\t", f"mV\t{unit}\t")
    found = log(tmp_path, content)
    assert found["current"].values == pytest.approx([2e-3 * factor, 3e-3 * factor], rel=1e-9)
    assert found["voltage"].values == pytest.approx([2e-3, 3e-3], rel=1e-9)


def test_an_unknown_unit_is_refused(tmp_path: Path) -> None:
    content = text("CHRONOA", curve("CURVE", [0.0], [2.0])).replace("Ref.\tA\t", "Ref.\tC\t")
    with pytest.raises(FormatError, match=r"CURVE: Im in 'C'; expected one of \['A'"):
        log(tmp_path, content)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("comma", [False, True])
def test_languages_and_encodings_agree(
    tmp_path: Path, encoding: str, line_end: str, comma: bool
) -> None:
    plain = text("EISPOT", zcurve([1e5, 150.5, 0.25], [1, 3, 8]))
    content = text("EISPOT", zcurve([1e5, 150.5, 0.25], [1, 3, 8], comma=comma))
    found = impedance(tmp_path, content.replace("\n", line_end).encode(encoding))
    xr.testing.assert_identical(found.drop_attrs(), impedance(tmp_path, plain).drop_attrs())
    assert found["frequency"].values.tolist() == [0.25, 150.5, 1e5]


def test_decimal_commas_are_those_of_the_whole_file(tmp_path: Path) -> None:
    """A point among commas is not read as a thousand; flags of points are no numbers."""
    german = text("CHRONOA", curve("CURVE", [0.0, 1.0], [0.5, 0.25], comma=True))
    assert log(tmp_path, german)["voltage"].values.tolist() == [0.5, 0.25]
    with pytest.raises(FormatError, match="commas and points"):
        log(tmp_path, german.replace("2,50000E-001", "2.50000E-001", 1))


def test_cycles_of_a_voltammogram_share_a_clock(tmp_path: Path) -> None:
    """The time of CURVE2 goes on from that of CURVE1, so both count from one moment."""
    content = text(
        "CV",
        curve("CURVE1", [0.1, 0.2, 0.3, 0.4], [0.50, 0.51, 0.52, 0.51]),
        curve("CURVE2", [120.2, 120.3], [0.40, 0.39]),
    )
    found = log(tmp_path, content)
    assert found["elapsed"].values.tolist() == [0.1, 0.2, 0.3, 0.4, 120.2, 120.3]
    assert found["cycle_instrument"].values.tolist() == [1, 1, 1, 1, 2, 2]
    assert found["step_instrument"].values.tolist() == [0, 0, 0, 0, 1, 1]
    assert found["loop"].values.tolist() == [0] * 6
    assert found["state_instrument"].values.tolist() == [5, 5, 5, 6, 6, 6]
    assert found["state_instrument"].attrs["flag_meanings"].split()[6] == "sweep_up"


def test_a_curve_that_starts_again_follows_what_was_recorded_before(tmp_path: Path) -> None:
    content = text("GALVANOSTATIC", *[curve("CURVE", [0.5, 1.5, 2.5], [3.0] * 3)] * 3)
    found = log(tmp_path, content)
    assert found["elapsed"].values.tolist() == [0.5, 1.5, 2.5, 3.0, 4.0, 5.0, 5.5, 6.5, 7.5]
    assert found["loop"].values.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_open_circuit_comes_before_the_curve(tmp_path: Path) -> None:
    content = text("POTENTIOSTATIC", ocv([1.0, 60.0]), curve("CURVE", [90.0, 91.0], [3.0, 3.1]))
    found = log(tmp_path, content)
    assert found["elapsed"].values.tolist() == [1.0, 60.0, 150.0, 151.0]
    assert found["state_instrument"].values.tolist() == [0, 0, -1, -1]
    assert np.isnan(found["current"].values[:2]).all()
    assert np.isfinite(found["current"].values[2:]).all()


@pytest.mark.parametrize(
    ("tag", "state"),
    [
        ("CORPOT", 0),
        ("PWR800_CHARGE", 1),
        ("PWR800_DISCHARGE", 2),
        ("PWRDISCHARGE", 2),
        ("PWR800_SELFDISCHARGE", None),
        ("GALVANOSTATIC", None),
    ],
)
def test_states_the_experiment_implies(tmp_path: Path, tag: str, state: int | None) -> None:
    found = log(tmp_path, text(tag, curve("CURVE", [0.0, 1.0], [3.0, 3.0])))
    told = found["state_instrument"].values.tolist() if "state_instrument" in found else None
    assert told == (None if state is None else [state, state])


CONDIT = ("CONDIT", "TWOPARAM", "T", "15.0", "0.0", "Conditionin&g", "Time(s)", "E(V)")


def delay(on: str, seconds: str, stability: str) -> tuple[str, ...]:
    return ("DELAY", "TWOPARAM", on, seconds, stability, "Init. De&lay", "Time(s)", "Stab.(mV/s)")


@pytest.mark.parametrize(
    ("tag", "steps", "recorded", "begin", "sigma"),
    [
        ("EISPOT", [], False, 0.0, None),
        ("EISPOT", [CONDIT], False, 15.0, None),
        ("EISPOT", [delay("T", "100.0", "0.0")], False, 100.0, None),
        ("EISPOT", [delay("T", "100.0", "0.1")], False, 50.0, 50.0),
        ("EISPOT", [CONDIT, delay("T", "100.0", "0.1")], False, 65.0, 50.0),
        ("EISPOT", [delay("F", "100.0", "0.1")], False, 0.0, None),
        ("EISPOT", [CONDIT, delay("T", "100.0", "0.1")], True, 55.0, None),
        ("CHRONOA", [CONDIT, ("EQDELAY", "QUANT", "5.0", "")], True, 60.0, None),
    ],
)
def test_where_a_curve_begins_after_date_and_time(
    tmp_path: Path,
    tag: str,
    steps: list[tuple[str, ...]],
    recorded: bool,
    begin: float,
    sigma: float | None,
) -> None:
    """Conditioning, the open circuit (40 s where it is recorded), equilibration, the curve."""
    tables = ([ocv([1.0, 40.0])] if recorded else []) + [zcurve([10.0, 1.0], [2, 7])]
    found = impedance(tmp_path, text(tag, *tables, header=(*STAMP, *steps)))
    assert found["elapsed"].values.tolist() == [begin]
    assert found["exposure"].values.tolist() == [7.0]
    assert found.attrs["clock"]["sigma_s"] == sigma


@pytest.mark.parametrize(("tag", "first"), [("EISPOT", 16.0), ("CHRONOA", 1.0)])
def test_open_circuit_is_recorded_after_or_before_conditioning(
    tmp_path: Path, tag: str, first: float
) -> None:
    content = text(tag, ocv([1.0, 40.0]), header=(*STAMP, CONDIT))
    assert log(tmp_path, content)["elapsed"].values[0] == first


def test_a_sweep(tmp_path: Path) -> None:
    found = impedance(tmp_path, text("EISPOT", zcurve([1e4, 100.0, 1.0], [1, 3, 9])))
    assert found["frequency"].values.tolist() == [1.0, 100.0, 1e4]
    assert found["impedance"].values.tolist() == [[12 - 3j, 11 - 2j, 10 - 1j]]
    assert found["potential"].values.tolist() == [[5.5, 4.5, 3.5]]
    assert found["point_time"].values.tolist() == [[9.0, 3.0, 1.0]]
    assert found.attrs["clock"]["marks"] == "start"
    assert found.attrs["technique"] == "impedance"
    assert found.attrs["instrument"] == "Gamry"


def test_several_sweeps_in_a_row(tmp_path: Path) -> None:
    content = text(
        "HYBRIDEIS", *[zcurve([1e4, 1.0], [1, 9])] * 2, zcurve([1e4, 10.0, 1.0], [1, 4, 12])
    )
    found = impedance(tmp_path, content)
    assert dict(found.sizes) == {"time": 3, "frequency": 3}
    assert found["elapsed"].values.tolist() == [0.0, 9.0, 18.0]
    assert found["exposure"].values.tolist() == [9.0, 9.0, 12.0]
    assert np.isnan(found["impedance"].values[:2, 1]).all()


def test_single_frequency_monitoring_is_a_sweep_a_point(tmp_path: Path) -> None:
    found = impedance(tmp_path, text("EISMON", zcurve([1e3] * 4, [5, 10, 16, 20])))
    assert dict(found.sizes) == {"time": 4, "frequency": 1}
    assert found["elapsed"].values.tolist() == [0.0, 5.0, 10.0, 16.0]
    assert found["exposure"].values.tolist() == [5.0, 5.0, 6.0, 4.0]
    assert "repeated_points" not in found.attrs


def test_one_file_may_be_a_log_and_a_sweep(tmp_path: Path) -> None:
    both = text("EISPOT", ocv([1.0, 2.0]), zcurve([10.0, 1.0], [1, 3]))
    sweep = text("EISPOT", zcurve([10.0, 1.0], [1, 3]))
    plain = text("CHRONOA", curve("CURVE", [0.0], [1.0]))
    claims = [
        (module.sniff(content.encode("latin-1"), "a.dta"))
        for content in (both, sweep, plain)
        for module in (gamry_dta, gamry_impedance)
    ]
    assert claims == [True, True, False, True, True, False]
    assert log(tmp_path, both).sizes["time"] == 2
    assert impedance(tmp_path, both)["elapsed"].values.tolist() == [2.0]


@pytest.mark.parametrize("head", [b"", b"EXPLAIN", b"\x00" * 99, b"EXPLAIN\nDATE\tLABEL\n"])
def test_other_files_are_not_claimed(head: bytes) -> None:
    assert not gamry_dta.sniff(head, "a.dta")
    assert not gamry_impedance.sniff(head, "a.dta")


def test_an_aborted_sweep_keeps_its_whole_rows(tmp_path: Path) -> None:
    lines = zcurve([1e4, 100.0, 10.0, 1.0], [1, 3, 9, 20]).splitlines()
    lines[-2:] = ["\t2\t9\t1.0E+001\t1.2", "\t3\t20"]
    content = text("EISPOT", "\n".join(lines) + "\nEXPERIMENTABORTED\tTOGGLE\tT\tAborted\n")
    found = impedance(tmp_path, content)
    assert found["frequency"].values.tolist() == [100.0, 1e4]
    assert found.attrs["truncated"] == (
        "ZCURVE: 2 rows at the end are cut short; the experiment was aborted"
    )


def test_a_row_cut_within_a_table_is_refused(tmp_path: Path) -> None:
    content = text("CHRONOA", curve("CURVE", [0.0, 1.0, 2.0], [3.0] * 3))
    at = content.splitlines().index("\t1\t" + content.split("\n\t1\t")[1].partition("\n")[0]) + 1
    torn = content.replace("\n\t1\t1.00000E+000\t", "\n\t1\t", 1)
    with pytest.raises(FormatError, match=rf"line {at}: .*expected 9 fields"):
        log(tmp_path, torn)


def test_fewer_points_than_announced_are_told(tmp_path: Path) -> None:
    content = text("CHRONOA", table("CURVE", CURVE, [[0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 5, OVER]]))
    content = content.replace("CURVE\tTABLE\n\tPt", "CURVE\tTABLE\t5258\n\tPt")
    assert log(tmp_path, content).attrs["truncated"] == "CURVE: 1 of 5258 points"


def test_a_header_without_date_has_no_start(tmp_path: Path) -> None:
    for header in ((), STAMP[:1], STAMP[1:]):
        found = log(tmp_path, text("CHRONOA", curve("CURVE", [0.5], [1.0]), header=header))
        assert found.attrs["clock"]["start"] is None
        assert found.attrs["clock"]["source"] == "none"
        assert found["elapsed"].values.tolist() == [0.5]


def test_a_header_cut_before_its_tables(tmp_path: Path) -> None:
    content = text("CV")[:-20]
    with pytest.raises(FormatError, match=r"tables \[\]: none has the columns T and Vf"):
        log(tmp_path, content)
    with pytest.raises(FormatError, match="no points of Freq, Zreal and Zimag"):
        impedance(tmp_path, content)


def test_a_table_without_rows(tmp_path: Path) -> None:
    empty = text("CHRONOA", table("CURVE", CURVE, []))
    assert log(tmp_path, empty).sizes["time"] == 0
    with pytest.raises(FormatError, match="no points"):
        impedance(tmp_path, text("EISPOT", table("ZCURVE", ZCURVE, [])))


@pytest.mark.parametrize(
    ("date", "time", "order", "expected"),
    [
        ("4/23/2018", "16:43:15", None, "2018-04-23T16:43:15"),
        ("23/4/2018", "16:43:15", None, "2018-04-23T16:43:15"),
        ("5/5/2019", "5:47:03 PM", None, "2019-05-05T17:47:03"),
        ("5/5/2019", "12:47:03 AM", None, "2019-05-05T00:47:03"),
        ("5/5/2019", "12:47:03 p.m.", None, "2019-05-05T12:47:03"),
        ("10.03.2019", "07:08:09", None, "2019-03-10T07:08:09"),
        ("10.03.2019", "17.47.03", None, "2019-03-10T17:47:03"),
        ("2019-03-10", "07:08:09", None, "2019-03-10T07:08:09"),
        ("2019/03/10", "07:08:00", None, "2019-03-10T07:08:00"),
        ("3/10/2019", "16:50:03.335328", "mdy", "2019-03-10T16:50:03.335328"),
        ("3/10/2019", "12:00:00", "dmy", "2019-10-03T12:00:00"),
        ("3-10-19", "12:00:00", "dmy", "2019-10-03T12:00:00"),
    ],
)
def test_dates(
    tmp_path: Path, date: str, time: str, order: DateOrder | None, expected: str
) -> None:
    assert _gamry.iso_stamp(date, time, date_order=order) == expected
    header = (("DATE", "LABEL", date, ""), ("TIME", "LABEL", time, ""))
    content = text("EISPOT", ocv([1.0]), zcurve([1.0], [1]), header=header)
    for read in (log, impedance):
        assert read(tmp_path, content, date_order=order).attrs["clock"]["start"] == expected


@pytest.mark.parametrize(
    ("date", "time", "message"),
    [
        ("3/10/2019", "12:00:00", "date_order='mdy' or 'dmy'"),
        ("3-10-2019", "12:00:00", "date_order"),
        ("13/13/2019", "12:00:00", "month"),
        ("yesterday", "12:00:00", "yesterday"),
        ("4/23/2018", "noon", "noon"),
        ("4/23/2018", "13:00:00 PM", "PM"),
        ("4/23/2018", "12:00:00+02:00", "without offset"),
    ],
)
def test_dates_that_cannot_be_read(tmp_path: Path, date: str, time: str, message: str) -> None:
    header = (("DATE", "LABEL", date, ""), ("TIME", "LABEL", time, ""))
    with pytest.raises(FormatError, match=message):
        log(tmp_path, text("CHRONOA", curve("CURVE", [0.5], [1.0]), header=header))


@pytest.mark.parametrize("bad", ["nan", "inf", "1E+300", "soon"])
def test_a_time_that_is_none_is_named(tmp_path: Path, bad: str) -> None:
    content = text("CHRONOA", curve("CURVE", [0.5, 1.5], [1.0, 1.0]))
    at = next(i for i, line in enumerate(content.splitlines(), 1) if "1.50000E+000" in line)
    with pytest.raises(FormatError, match=f"line {at}: T is"):
        log(tmp_path, content.replace("1.50000E+000", bad))


def test_rows_edited_to_blanks_are_read(tmp_path: Path) -> None:
    content = text("EISPOT", zcurve([10.0, 1.0], [1, 3]))
    first, _, last = content.rpartition("\n\t1\t")
    edited = f"{first}\n  1 {last.replace(chr(9), ' ')}"
    xr.testing.assert_identical(impedance(tmp_path, edited), impedance(tmp_path, content))


@settings(max_examples=50, deadline=None)
@given(
    voltages=st.lists(st.floats(-10, 10), min_size=1, max_size=12),
    comma=st.booleans(),
    step=st.floats(1e-3, 1e3),
)
def test_curves_come_back(
    voltages: list[float], comma: bool, step: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    time = [step * (at + 1) for at in range(len(voltages))]
    content = text("CHRONOA", curve("CURVE", time, voltages, comma=comma))
    found = log(tmp_path_factory.mktemp("curve"), content)
    assert found["voltage"].values == pytest.approx(voltages, rel=1e-5, abs=1e-99)
    assert found["elapsed"].values == pytest.approx(time, rel=1e-5)


FUZZED = {
    "sweep": text("EISPOT", ocv([1.0, 2.0, 3.0]), zcurve([1e4, 100.0, 1.0], [1, 3, 9])),
    "cycles": text("CV", *(curve(f"CURVE{n}", [n, n + 0.5], [0.1, 0.2]) for n in (1, 2))),
}


def survives(folder: Path, content: bytes) -> None:
    for read in (log, impedance):
        try:
            found = read(folder, content)
        except FormatError:
            continue
        # A sweep whose column of times has lost its name has no start; a log always has one.
        assert "elapsed" in found.coords or found.attrs["technique"] == "impedance"
        assert all(np.isfinite(found[name].values).all() for name in {"elapsed"} & {*found.coords})
        assert found.sizes["time"] <= 6


@pytest.mark.parametrize("name", FUZZED)
def test_a_file_cut_anywhere(tmp_path: Path, name: str) -> None:
    content = FUZZED[name].encode("latin-1")
    for cut in range(0, len(content), 7):
        survives(tmp_path, content[:cut])


def test_a_cut_never_changes_a_number(tmp_path: Path) -> None:
    """Of a row that lost its end nothing is kept, whatever is left of it."""
    content = FUZZED["sweep"].encode("latin-1")
    whole = impedance(tmp_path, content)
    for cut in range(content.index(b"ZCURVE"), len(content)):
        try:
            part = impedance(tmp_path, content[:cut])
        except FormatError:
            continue
        xr.testing.assert_equal(
            part, whole.sel(frequency=part["frequency"]).assign_coords(exposure=part["exposure"])
        )
        assert part.sizes["frequency"] == content[:cut].split(b"ZCURVE")[1].count(b"\n") - 3


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(FUZZED)),
    flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes(
    name: str, flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(FUZZED[name].encode("latin-1"))
    for at, value in flips:
        content[at % len(content)] = value
    survives(tmp_path_factory.getbasetemp(), bytes(content))


@pytest.mark.shared_data
def test_german_file_is_the_american_one(shared_data: Path) -> None:
    """The same measurement written twice; the German one rounds its first row."""
    folder = shared_data / "formats" / "echem" / "gamry"
    american, german = (
        gamry_dta.READER.read(File(folder / name), date_order="mdy")
        for name in ("chronoa_data.dta", "chronoa_de_data.dta")
    )
    xr.testing.assert_equal(american.isel(time=slice(1, None)), german.isel(time=slice(1, None)))
    assert german.attrs["clock"] == american.attrs["clock"]
    assert german["voltage"].values[0] == -5e-4


@pytest.mark.shared_data
def test_real_sweep_follows_its_open_circuit_and_its_sign_is_physical(shared_data: Path) -> None:
    """Held 50 mV below the open circuit, the anodic-positive current of the file is negative."""
    file = File(shared_data / "formats" / "echem" / "gamry" / "exampleDataGamry.DTA")
    sweep, before = gamry_impedance.READER.read(file), gamry_dta.READER.read(file)
    assert sweep["elapsed"].values[0] == before["elapsed"].values[-1]
    assert (sweep["impedance"].values.imag < 0).all()
    held = float(sweep["potential"].mean() - before["voltage"][-1])
    assert held == pytest.approx(-0.05, abs=0.002)
    explain = _gamry.parse(file.read_text())
    assert explain.value("CONVENTION") == "1"
    assert (explain.tables[1].numbers("Idc", {"A": 1.0}) < 0).all()


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["cv_data_incompleteheader.dta", "eispot_data.dta"])
def test_real_files_that_ask(shared_data: Path, name: str) -> None:
    file = File(shared_data / "formats" / "echem" / "gamry" / name)
    with pytest.raises(FormatError, match=r"tables|date_order"):
        gamry_impedance.READER.read(file)


def test_every_tag_of_the_vendor_is_told_apart() -> None:
    impedances = ("EISPOT", "GALVEIS", "HYBRIDEIS", "EISMON", "MULTEISPOT", "PWR800_EISGALV")
    logs = ("CV", "CHRONOA", "CHRONOP", "CORPOT", "PWR800_CHARGE", "GALVANOSTATIC")
    for tag, ending in itertools.product((*impedances, *logs), ("\n", "\r\n")):
        head = f"EXPLAIN{ending}TAG\t{tag}{ending}".encode()
        assert gamry_impedance.sniff(head, "a.dta") == (tag in impedances)
        assert gamry_dta.sniff(head, "a.dta") == (tag in logs)


def test_a_hostile_head_is_sniffed_at_once() -> None:
    assert not gamry_dta.sniff(b"EXPLAIN" + b"\n" * 65_000, "a.dta")
