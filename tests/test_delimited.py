"""Delimited text: what is declared is done, what is not declared is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando_readers._reader import File, FormatError
from operando_readers.delimited import READER

VOLTAGE = {"voltage": {"name": "E", "units": "V"}}
SECONDS = {"name": "t", "units": "s"}


def read(folder: Path, content: str, name: str = "a.csv", **options: Any) -> xr.Dataset:
    path = folder / name
    path.write_bytes(content.encode())
    return READER.read(File(path), **options)


@pytest.mark.parametrize(
    ("variable", "units", "expected"),
    [
        ("voltage", "mV", 2.5e-3),
        ("counter_voltage", "V", 2.5),
        ("current", "A", 2.5),
        ("current", "mA", 2.5e-3),
        ("current", "uA", 2.5e-6),
        ("current", "µA", 2.5e-6),
        ("charge_counter", "mA h", 2.5e-3),
        ("charge_counter", "C", 2.5 / 3600),
    ],
)
def test_units(tmp_path: Path, variable: str, units: str, expected: float) -> None:
    columns = {**VOLTAGE, variable: {"name": "x", "units": units}}
    log = read(tmp_path, "t,E,x\n0,3,2.5\n", columns=columns, time=SECONDS)
    assert log[variable].values[0] == pytest.approx(expected, rel=1e-15)
    assert log[variable].attrs["units"] in ("V", "A", "A h")


@pytest.mark.parametrize(("units", "factor"), [("ms", 1e-3), ("s", 1), ("min", 60), ("h", 3600)])
def test_elapsed_time(tmp_path: Path, units: str, factor: float) -> None:
    time = {"name": "t", "units": units, "start": "2026-05-04T10:00:00"}
    log = read(tmp_path, "t,E\n2,3\n4,3\n", columns=VOLTAGE, time=time)
    assert log["elapsed"].values == pytest.approx([2 * factor, 4 * factor])
    assert log.attrs["clock"]["start"] == "2026-05-04T10:00:00"
    assert log.attrs["clock"]["zone"] is None
    unknown = read(tmp_path, "t,E\n2,3\n", columns=VOLTAGE, time={"name": "t", "units": units})
    assert unknown.attrs["clock"]["start"] is None


@pytest.mark.parametrize(
    ("stamps", "layout", "start", "zone"),
    [
        (("04.05.2026 10:00:00", "04.05.2026 10:01:30"), "%d.%m.%Y %H:%M:%S", "10:00:00", None),
        (("2026-05-04 10:00+0200", "2026-05-04 10:01:30+0200"), None, None, None),
        (
            ("2026-05-04 10:00:00+0200", "2026-05-04 10:01:30+0200"),
            "%Y-%m-%d %H:%M:%S%z",
            "08:00:00",
            "UTC",
        ),
        (("1777888800", "1777888890"), "unix", "10:00:00", "UTC"),
        (("1777888800000", "1777888890000"), "unix_ms", "10:00:00", "UTC"),
    ],
)
def test_absolute_time(
    tmp_path: Path,
    stamps: tuple[str, str],
    layout: str | None,
    start: str | None,
    zone: str | None,
) -> None:
    content = f"t,E\n{stamps[0]},3\n{stamps[1]},3\n"
    if layout is None:
        with pytest.raises(FormatError, match="format"):
            read(tmp_path, content, columns=VOLTAGE, time={"name": "t", "format": "%d.%m.%Y"})
        return
    log = read(tmp_path, content, columns=VOLTAGE, time={"name": "t", "format": layout})
    assert log["elapsed"].values.tolist() == [0.0, 90.0]
    assert np.datetime64(log.attrs["clock"]["start"]) == np.datetime64(f"2026-05-04T{start}")
    assert log.attrs["clock"]["zone"] == zone
    assert log.attrs["clock"]["source"] == "column"


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", "t,E\n0,3.5\n", {}),
        ("a.tsv", "t\tE\n0\t3.5\n", {}),
        ("a.dat", "  t   E\n  0   3.5\n", {}),
        ("a.txt", "t;E\n0;3,5\n", {"delimiter": ";", "decimal": ","}),
        ("a.csv", "Made by us\n\nt,E\n0,3.5\n", {"skip": 2}),
        ("a.csv", "% cell 7\nt,E\n0,3.5\n", {"comment": "%"}),
        ("a.csv", "t,E\r\n0,3.5\r\n", {}),
        ("a.csv", "\ufefft,E\n0,3.5", {}),
        ("a.csv", '"t","E"\n"0","3.5"\n# the end', {}),
    ],
)
def test_layouts(tmp_path: Path, name: str, content: str, options: dict[str, Any]) -> None:
    log = read(tmp_path, content, name, columns=VOLTAGE, time=SECONDS, **options)
    assert log["voltage"].values.tolist() == [3.5]
    assert "truncated" not in log.attrs


def test_columns_by_number(tmp_path: Path) -> None:
    columns = {"voltage": {"name": 2, "units": "V"}}
    time = {"name": 0, "units": "s"}
    log = read(tmp_path, "0 9 3.5\n1 9 3.6\n", "a.dat", columns=columns, time=time, header=False)
    assert log["voltage"].values.tolist() == [3.5, 3.6]


def test_state_words_counts_and_current(tmp_path: Path) -> None:
    columns = {
        **VOLTAGE,
        "current": {"name": "I", "units": "A", "averaging": "backward"},
        "state_instrument": {"name": "S", "units": "1", "states": {"R": "rest", "C": "charge"}},
        "cycle_instrument": {"name": "n", "units": "1"},
    }
    log = read(
        tmp_path,
        "t,E,I,S,n\n0,3,1,R,1\n1,3,1,C,2\n2,3,1,X,\n",
        columns=columns,
        time=SECONDS,
        current_sign="unsigned",
    )
    assert log["state_instrument"].values.tolist() == [0, 1, -1]
    assert log["cycle_instrument"].values.tolist() == [1, 2, -1]
    assert log["current"].attrs["averaging"] == "backward"
    assert log.attrs["current_sign"] == "unsigned"
    plain = read(tmp_path, "t,E\n0,3\n", columns=VOLTAGE, time=SECONDS)
    assert plain.attrs["current_sign"] == "unknown"


def test_empty_fields_were_not_measured(tmp_path: Path) -> None:
    log = read(tmp_path, "t,E,x\n0,,1\n1,3\n", columns=VOLTAGE, time=SECONDS)
    assert np.isnan(log["voltage"].values).tolist() == [True, False]


def test_last_row_cut_short_is_left_out(tmp_path: Path) -> None:
    log = read(tmp_path, "t,E,x\n0,3,1\n1,3", columns=VOLTAGE, time=SECONDS)
    assert log.sizes["time"] == 1
    assert "cut short" in log.attrs["truncated"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("t,Ewe\n0,3\n", {}, r"no column 'E'; there are \['t', 'Ewe'\]"),
        ("t,E,E\n0,3,4\n", {}, "several columns"),
        ("t,E\n0,3\n", {"columns": {"voltage": {"name": "E"}}}, "units None"),
        ("t,E\n0,3\n", {"columns": {"voltage": {"name": "E", "units": "kV"}}}, "'kV'"),
        ("t,E\n0,3\n", {"columns": {"U": {"name": "E", "units": "V"}}}, "'U'"),
        ("t,E\n0,3\n", {"columns": {"loop": {"name": "E", "units": "1"}}}, "no 'voltage'"),
        ("t,E\n0,3\n", {"columns": {"voltage": {**VOLTAGE["voltage"], "unit": "V"}}}, "unit"),
        ("t,E\n0,3\n", {"time": None}, "time: missing"),
        ("t,E\n0,3\n", {"time": {"name": "t"}}, "either units or format"),
        ("t,E\n0,3\n", {"time": {"name": "t", "units": "d"}}, "'d'"),
        ("t,E\n0,3\n", {"time": {**SECONDS, "zone": "UTC"}}, "zone"),
        ("t,E\n0,3\n", {"time": {**SECONDS, "start": "today"}}, "ISO 8601"),
        ("t,E\n0,3\n", {"time": {**SECONDS, "start": "2026-05-04T10:00+02:00"}}, "local time"),
        ("t,E\n,3\n", {}, "data row 1 is empty"),
        ("t,E\n0,on\n", {}, "data row 1 holds 'on'"),
        ("t;E\n0;3,5\n", {"delimiter": ";"}, "decimal '.'"),
        ("t;E\n0;3.5\n", {"delimiter": ";", "decimal": ","}, "decimal ','"),
        ("t,E\n0,3,4\n", {}, "Expected 2 fields in line 2"),
        ("t,E\n0,3\0\n1,3\n", {}, "line 2: holds NUL"),
        ("", {}, "table"),
        ("t,E\n0,3\n", {"technique": "sem"}, "'sem'"),
        ("t,E\n0,3\n", {"current_sign": "plus"}, "'plus'"),
    ],
)
def test_refusals(tmp_path: Path, content: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        read(tmp_path, content, **{"columns": VOLTAGE, "time": SECONDS, **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", [{"averaging": "forward"}, {"units": "kA"}])
def test_current_refusals(tmp_path: Path, spec: dict[str, str]) -> None:
    columns = {**VOLTAGE, "current": {"name": "I", "units": "A", **spec}}
    with pytest.raises(FormatError, match="current"):
        read(tmp_path, "t,E,I\n0,3,1\n", columns=columns, time=SECONDS)


def test_states_must_be_ours(tmp_path: Path) -> None:
    columns = {**VOLTAGE, "state_instrument": {"name": "S", "units": "1", "states": {"C": "up"}}}
    with pytest.raises(FormatError, match="sweep_up"):
        read(tmp_path, "t,E,S\n0,3,C\n", columns=columns, time=SECONDS)


def frame(folder: Path, content: str, **options: Any) -> xr.Dataset:
    columns = {
        "raman_shift": {"name": 0, "units": "1/cm"},
        "intensity": {"name": 1, "units": "counts"},
        "intensity_sigma": {"name": 2, "units": "counts"},
    }
    given = {"technique": "raman", "header": False, "columns": columns, **options}
    return read(folder, content, "a.dat", **given)


def test_one_frame_a_file(tmp_path: Path) -> None:
    spectrum = frame(tmp_path, "300 7 2\n200 6 1\n100 5 3\n")
    assert spectrum["raman_shift"].values.tolist() == [100, 200, 300]
    assert spectrum["intensity"].values.tolist() == [[5, 6, 7]]
    assert spectrum["intensity_sigma"].values.tolist() == [[3, 1, 2]]
    assert spectrum["intensity"].dims == ("time", "raman_shift")
    assert spectrum["intensity"].attrs["ancillary_variables"] == "intensity_sigma"
    assert spectrum.attrs["clock"]["start"] is None


def test_axis_in_other_units(tmp_path: Path) -> None:
    columns = {"energy": {"name": "E", "units": "keV"}, "mu": {"name": "mu", "units": "1"}}
    scan = read(tmp_path, "E,mu\n8.3,1\n8.4,2\n", technique="xas", columns=columns)
    assert scan["energy"].values == pytest.approx([8300.0, 8400.0])
    assert scan["energy"].attrs["units"] == "eV"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("100 5 1\n100 6 1\n", {}, "not monotonic"),
        ("100 5 1\n", {"technique": "xrd"}, "axes"),
        ("100 5 1\n", {"time": {"name": 0, "units": "s"}}, "one frame"),
        ("100 5 1\n", {"columns": {"raman_shift": {"name": 0, "units": "nm"}}}, "'nm'"),
    ],
)
def test_frame_refusals(
    tmp_path: Path, content: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        frame(tmp_path, content, **options)


def test_it_claims_no_file_by_itself() -> None:
    assert not READER.sniff(b"t,E\n0,3\n", "a.csv")


def test_month_names_do_not_depend_on_the_locale(tmp_path: Path) -> None:
    time = {"name": "t", "format": "%d-%b-%y %I:%M:%S %p"}
    content = "t,E\n23-Nov-23 3:56:11 PM,3\n01-Dez-23 12:00:00 AM,3\n"
    log = read(tmp_path, content, columns=VOLTAGE, time=time)
    assert np.datetime64(log.attrs["clock"]["start"]) == np.datetime64("2023-11-23T15:56:11")
    assert log["elapsed"].values.tolist() == [0.0, 7 * 86_400.0 + 8 * 3600 + 229]


@pytest.mark.parametrize(("layout", "value"), [("unix", "1777888800000"), ("unix_ms", "1e29")])
def test_no_such_unix_time(tmp_path: Path, layout: str, value: str) -> None:
    with pytest.raises(FormatError, match=f"not {layout} time"):
        read(tmp_path, f"t,E\n{value},3\n", columns=VOLTAGE, time={"name": "t", "format": layout})


def test_damage_anywhere_is_a_format_error_or_a_log(tmp_path: Path) -> None:
    content = "t;E;I\n" + "".join(f"{t};3,5{t};0,1\n" for t in range(40))
    columns = {**VOLTAGE, "current": {"name": "I", "units": "mA"}}
    rng = np.random.default_rng(3)
    for _ in range(150):
        spoiled = bytearray(content.encode())
        spoiled[rng.integers(len(spoiled))] ^= int(rng.integers(1, 256))
        path = tmp_path / "a.txt"
        path.write_bytes(spoiled[: rng.integers(1, len(spoiled) + 1)])
        with contextlib.suppress(FormatError):
            log = READER.read(File(path), columns=columns, time=SECONDS, delimiter=";", decimal=",")
            assert np.isfinite(log["elapsed"].values).all()


def columns(**names: tuple[str | int, str]) -> dict[str, Any]:
    return {ours: {"name": name, "units": units} for ours, (name, units) in names.items()}


def test_absorption_from_counters_in_any_order(tmp_path: Path) -> None:
    """Rows are sorted, equal energies averaged, lost beam is NaN: the same as every XAS reader."""
    scan = read(
        tmp_path,
        "E,I0,I1,I2,F\n8.4,4,2,1,8\n8.3,4,1,1,2\n8.35,4,0,1,2\n8.4,8,4,2,16\n",
        technique="xas",
        columns=columns(
            energy=("E", "keV"),
            i0=("I0", "count"),
            i1=("I1", "count"),
            iref=("I2", "count"),
            fluorescence=("F", "count"),
        ),
    )
    np.testing.assert_allclose(scan["energy"], [8300.0, 8350.0, 8400.0])
    np.testing.assert_allclose(scan["mu"][0], [np.log(4), np.nan, np.log(2)])
    np.testing.assert_allclose(scan["mu_reference"][0], [0.0, np.nan, np.log(2)])
    np.testing.assert_allclose(scan["mu_fluorescence"][0], [0.5, 0.5, 2.0])
    assert scan["mu"].attrs["mode"] == "transmission"
    assert scan["i0"].values.tolist() == [[4, 4, 6]]
    assert scan["i0"].attrs["units"] == "count"
    assert scan.attrs["clock"]["start"] is None


def test_absorption_of_the_file_with_its_sigma(tmp_path: Path) -> None:
    names = columns(energy=(0, "eV"), mu=(1, "1"), mu_sigma=(2, "1"), mu_reference=(3, "1"))
    scan = read(
        tmp_path, "2 5 .1 7\n1 6 .2 8\n", "a.dat", technique="xas", header=False, columns=names
    )
    assert scan["mu"].values.tolist() == [[6, 5]]
    assert scan["mu"].attrs["ancillary_variables"] == "mu_sigma"
    assert scan["mu_sigma"].values.tolist() == [[0.2, 0.1]]
    assert scan["mu_reference"].values.tolist() == [[8, 7]]


def test_energy_of_a_bragg_angle(tmp_path: Path) -> None:
    """Cu K-alpha1, 8047.8 eV, is reflected by Si 111 at 14.221 degree (textbook value)."""
    names = columns(energy=("angle", "degree"), mu=("mu", "1"))
    content = "angle,mu\n30,1\n14.2213,2\n"
    scan = read(tmp_path, content, technique="xas", columns=names, d_spacing=3.13556)
    # E = hc / (2 d sin theta), hc = 12398.4198 eV angstrom
    np.testing.assert_allclose(scan["energy"], [12398.4198 / 3.13556, 8047.8], rtol=2e-5)
    assert scan["mu"].values.tolist() == [[1, 2]]


def test_a_matrix_of_spectra(tmp_path: Path) -> None:
    """The first row holds the seconds of each; the energy may fall, and stand in any column."""
    series = read(
        tmp_path,
        "0,E,60.5\n3,8400,4\n1,8300,2\n",
        technique="xas",
        columns=columns(energy=("E", "eV")),
        matrix={"variable": "mu", "units": "1", "seconds": True},
    )
    assert series["energy"].values.tolist() == [8300.0, 8400.0]
    assert series["mu"].values.tolist() == [[1, 3], [2, 4]]
    assert series["mu"].attrs == {"units": "1", "mode": "file"}
    assert series["elapsed"].values.tolist() == [0.0, 60.5]


def test_a_matrix_of_patterns_without_times(tmp_path: Path) -> None:
    options = {"technique": "raman", "header": False, "columns": columns(raman_shift=(0, "1/cm"))}
    matrix = {"variable": "intensity", "units": "counts"}
    series = read(tmp_path, "100 1 2\n200 3 4\n", "a.dat", matrix=matrix, **options)
    assert series["intensity"].values.tolist() == [[1, 3], [2, 4]]
    assert series["elapsed"].values.tolist() == [0.0, 0.0]


ENERGY_MU = columns(energy=("E", "eV"), mu=("m", "1"))
ENERGY_ONLY = columns(energy=("E", "eV"))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("E,m\n1,1\n", {}, "several positive energies"),
        ("E,m\n1,1\n,2\n", {}, "1 of 2 points have none"),
        ("E,m\n1,1\n2,2\n", {"columns": ENERGY_ONLY}, "neither absorption nor i0"),
        ("E,m\n1,1\n2,2\n", {"d_spacing": 3.1}, "the energy is in 'eV'"),
        ("E,m\n1,1\n2,2\n", {"columns": columns(energy=("E", "degree"))}, "needs it, in angstrom"),
        (
            "E,m\n1,1\n99,2\n",
            {"columns": columns(energy=("E", "degree")), "d_spacing": 3.1},
            "beyond 0 to 90",
        ),
        ("E,m\n1,1\n", {"columns": columns(energy=("E", "Ry"))}, "'Ry'; expected .*'degree'"),
        ("E,m\n1,1\n", {"columns": {**ENERGY_MU, "time": ENERGY_MU["mu"]}}, "expected a signal"),
        (
            "E,m\n1,1\n",
            {"columns": columns(energy=("E", "eV"), mu_sigma=("m", "1"))},
            "without 'mu'",
        ),
        ("E,m\n1,1\n2,2\n", {"matrix": {"variable": "mu"}}, "expected"),
        ("E,m\n1,1\n2,2\n", {"matrix": {"variable": "mu", "units": "1"}}, "the axis alone"),
        (
            "E,m\n1,1\n2,2\n",
            {"matrix": {"variable": "mu", "units": "1", "seconds": True}, "columns": ENERGY_ONLY},
            "seconds: data row 1 holds 'm'",
        ),
        (
            "E\n1\n2\n",
            {"matrix": {"variable": "mu", "units": "1"}, "columns": ENERGY_ONLY},
            "no column beside",
        ),
        (
            "E,m\n1,1\n2,2\n1,3\n",
            {"matrix": {"variable": "mu", "units": "1"}, "columns": ENERGY_ONLY},
            "not monotonic",
        ),
    ],
)
def test_absorption_refusals(
    tmp_path: Path, content: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message) as error:
        read(tmp_path, content, **{"technique": "xas", "columns": ENERGY_MU, **options})
    assert "\n" not in str(error.value)
