"""The Battery Data Format: read whatever its sign, written so that it reads back the same."""

from __future__ import annotations

import csv
import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.cli import main
from operando.electrochemistry import prepare
from operando.electrochemistry.battery_data_format import write_battery_data_format
from operando.electrochemistry.preparation import PREPARED
from operando.errors import RequestError
from operando.reading import formats, read
from operando_readers._reader import File, FormatError

READER = "battery_data_format"
CHARGE = "Test Time / s,Voltage / V,Current / A,Charging Capacity / Ah,Discharging Capacity / Ah\n"
NET = "test_time_second,voltage_volt,current_ampere,net_capacity_ah\n"


def load(folder: Path, content: str) -> xr.Dataset:
    path = folder / "a.bdf.csv"
    path.write_text(content, encoding="utf-8")
    return formats()[READER].read(File(path))


@pytest.mark.parametrize(
    ("content", "sign"),
    [
        (CHARGE + "0,3,0,0,0\n60,3.1,1,0.1,0\n120,3,-1,0.1,0.1\n", "oxidation_positive"),
        (CHARGE + "0,3,0,0,0\n60,3.1,-1,0.1,0\n120,3,1,0.1,0.1\n", "oxidation_negative"),
        (CHARGE + "0,3,0,0,0\n60,3.1,1,0.1,0\n120,3,1,0.1,0.1\n", "unknown"),
        (CHARGE + "0,3,0,0,0\n60,3,0,0,0\n", "unknown"),
        (NET + "0,3,0,0\n60,3.1,1,0.1\n120,3,-1,0\n", "oxidation_positive"),
        ("test_time_second,voltage_volt,current_ampere\n0,3,1\n", "unknown"),
    ],
)
def test_the_charge_it_counts_tells_the_sign(tmp_path: Path, content: str, sign: str) -> None:
    assert load(tmp_path, content).attrs["current_sign"] == sign


def test_restarts_of_the_counter_do_not_tell_the_sign(tmp_path: Path) -> None:
    """Capacities start again at every step in the public file with + for discharge."""
    rows = [
        f"{60 * i},3,{1 if i < 50 else -1},{max(i - 50, 0)},{i if i < 50 else 0}" for i in range(99)
    ]
    log = load(tmp_path, CHARGE + "\n".join(rows) + "\n")
    assert log.attrs["current_sign"] == "oxidation_negative"


def test_other_units_than_the_fixed_ones(tmp_path: Path) -> None:
    log = load(tmp_path, "Test Time / h,Voltage / mV,Current / mA\n0.5,3000,2\n")
    assert log["elapsed"].values.tolist() == [1800.0]
    assert log["voltage"].values.tolist() == [3.0]
    assert log["current"].values == pytest.approx([2e-3])


def test_unix_time_is_utc(tmp_path: Path) -> None:
    names = "Test Time / s,Voltage / V,Current / A,Unix Time / s\n"
    log = load(tmp_path, names + "5,3,0,1777888800.5\n7,3,0,1777888802.6\n")
    assert log.attrs["clock"]["start"] == "2026-05-04T10:00:00.5"
    assert log.attrs["clock"]["zone"] == "UTC"
    assert log["elapsed"].values.tolist() == [0.0, 2.0]
    assert log["wall_clock"].values == pytest.approx([0.0, 2.1])
    with pytest.raises(FormatError, match="Unix"):
        load(tmp_path, names + "5,3,0,yesterday\n")


def prepared(
    seconds: list[float], current: list[float], voltage: list[float], *, start: int = 1_777_888_800
) -> xr.Dataset:
    """A log as `prepare` leaves it: its net charge follows from the current."""
    nanoseconds = np.cumsum(np.rint(np.array(seconds) * 1e6).astype(np.int64)) * 1000
    flow = np.array(current)
    passed = np.cumsum(flow * np.diff(nanoseconds, prepend=nanoseconds[0]) / 3.6e12)
    time = (start * 1_000_000_000 + nanoseconds).astype("M8[ns]")
    cycle = np.arange(flow.size) // 3 - 1
    nothing = ("time", np.zeros(flow.size, np.int32))
    return xr.Dataset(
        {
            **dict.fromkeys(PREPARED, nothing),
            "voltage": ("time", np.array(voltage), {"units": "V"}),
            "current": ("time", flow, {"units": "A"}),
            "net_capacity": ("time", passed, {"units": "A h"}),
            "cycle": ("time", cycle.astype(np.int32), {"units": "1"}),
            "step_instrument": ("time", np.arange(flow.size, dtype=np.int32), {"units": "1"}),
        },
        {"time": time},
        {
            "current_sign": "oxidation_positive",
            "charge_method": "none",
            "technique": "electrochemistry",
        },
    )


finite = st.floats(-10, 10, allow_nan=False)
rows = st.tuples(st.floats(1e-3, 1e4), finite, st.one_of(finite, st.just(float("nan"))))


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=40))
def test_what_was_written_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[float, float, float]]
) -> None:
    seconds, current, voltage = (list(column) for column in zip(*values, strict=True))
    log = prepared(seconds, current, voltage)
    path = tmp_path_factory.mktemp("bdf") / "cell.bdf.csv"
    write_battery_data_format(log, path)
    back = read(path)
    # The counter is a float64 of seconds: nanoseconds are kept to one part in 1e16 of the span.
    assert np.abs((back["time"].values - log["time"].values).astype(np.int64)).max() <= 1
    for ours, theirs in (
        *(("voltage", "voltage"), ("current", "current"), ("charge_counter", "net_capacity")),
        *(("cycle_instrument", "cycle"), ("step_instrument", "step_instrument")),
    ):
        assert back[ours].values.tolist() == pytest.approx(
            log[theirs].values.tolist(), nan_ok=True, rel=0, abs=0
        )
    assert back.attrs["current_sign"] != "oxidation_negative"


def test_the_columns_are_the_preferred_ones(tmp_path: Path) -> None:
    path = tmp_path / "cell.bdf.csv"
    write_battery_data_format(
        prepared([1, 2, 0.5], [1, 0.1 + 0.2, -1], [3, float("nan"), 3.1]), path
    )
    with path.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert list(table[0]) == [
        *("Test Time / s", "Voltage / V", "Current / A", "Unix Time / s"),
        *("Cycle Count / 1", "Step Count / 1", "Net Capacity / Ah"),
    ]
    assert [row["Test Time / s"] for row in table] == ["0", "2", "2.5"]
    assert [row["Unix Time / s"] for row in table] == ["1777888801", "1777888803", "1777888803.5"]
    assert table[1]["Current / A"] == "0.30000000000000004"
    assert [row["Voltage / V"] for row in table] == ["3.0", "", "3.1"]
    assert [row["Cycle Count / 1"] for row in table] == ["", "", ""]


def test_a_prepared_export_goes_out_and_comes_back(example_datasets: Path, tmp_path: Path) -> None:
    """From a Maccor file without sign to BDF with one: the same charge at the end."""
    log = prepare(read(example_datasets / "cycler_exports/maccor.txt", tz="Europe/Paris"))
    write_battery_data_format(log, tmp_path / "cell.bdf")
    back = prepare(read(tmp_path / "cell.bdf"))
    assert back["time"].values.tolist() == log["time"].values.tolist()
    assert back["net_capacity"].values == pytest.approx(log["net_capacity"].values, abs=1e-12)
    assert back["current"].values.tolist() == log["current"].values.tolist()


@pytest.mark.parametrize(
    "attrs", [{}, {"current_sign": "unknown"}, {"current_sign": "oxidation_negative"}]
)
def test_only_prepared_logs_are_written(tmp_path: Path, attrs: dict[str, Any]) -> None:
    log = prepared([1], [1], [3])
    log.attrs = attrs
    with pytest.raises(RequestError, match=r"current_sign.*pass what operando\.prepare returns"):
        write_battery_data_format(log, tmp_path / "a.bdf")
    with pytest.raises(RequestError, match="no row"):
        write_battery_data_format(prepared([1], [1], [3]).isel(time=[]), tmp_path / "a.bdf")
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bdf"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RequestError, match="no space"):
        write_battery_data_format(prepared([1], [1], [3]), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_writes_the_log_of_a_recipe(example_datasets: Path, tmp_path: Path) -> None:
    recipe = example_datasets / "na_symmetric_cell" / "recipe.toml"
    out = tmp_path / "cell.bdf.csv"
    result = CliRunner().invoke(main, ["export", str(recipe), "-o", str(out)])
    assert result.exit_code == 0, result.output
    back = read(out)
    assert f"{back.sizes['time']} rows" in result.output
    # What the cycler's file says of its first row, in UTC and in A.
    first = back.isel(time=0)
    assert str(first["time"].values) == "2026-05-11T15:03:10.512000000"
    assert float(first["current"]) == pytest.approx(1e-4)


def test_a_folder_that_is_not_there_is_one_line(example_datasets: Path, tmp_path: Path) -> None:
    recipe = example_datasets / "na_symmetric_cell" / "recipe.toml"
    out = tmp_path / "none" / "cell.bdf.csv"
    result = CliRunner().invoke(main, ["export", str(recipe), "-o", str(out)])
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert result.output.count("\n") == 1
