"""Neware files: which clock they hold, what a step is, pauses, and a scan series beside one."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import types
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando_readers._reader import STATES, File, FormatError
from operando_readers.neware_ndax import READER

CC8 = "operando/xrd_coincell_i11/coincell8_LDE2_reduced.zip"
NOON = datetime.fromisoformat("2025-07-02T12:00:00+00:00").timestamp()


class Column:
    """What a reader asks of a column of fastnda's table."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __iter__(self) -> Any:
        return iter(self.values)

    def to_numpy(self) -> np.ndarray[Any, Any]:
        return np.array(self.values)


class Table(dict[str, Column]):
    """fastnda's table; its length is the number of its rows."""

    def __len__(self) -> int:
        return len(self["voltage_V"].values)


def table(stamps: list[float], counter: list[float], steps: list[str] | None = None) -> Table:
    count = len(stamps)
    return Table(
        voltage_V=Column([3.5] * count),
        current_mA=Column([-2.0] * count),
        capacity_mAh=Column([-1.5] * count),
        unix_time_s=Column(stamps),
        total_time_s=Column(counter),
        cycle_count=Column([1] * count),
        step_index=Column([4] * count),
        step_type=Column(steps or ["Rest"] * count),
    )


def read(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: Table,
    *,
    local: str | None,
    newer: bool = True,
) -> xr.Dataset:
    """Read a file whose rows and metadata fastnda would return as given."""
    fake = types.ModuleType("fastnda")
    fake.read = lambda path, cycle_mode: rows  # type: ignore[attr-defined]
    facts = {"TestInfo": {"TestInfo": {"StartTime": local} if local else {}}}
    fake.read_metadata = lambda path: facts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastnda", fake)
    path = folder / "a.ndax"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data_runInfo.ndc" if newer else "data.ndc", b"")
    return READER.read(File(path))


@pytest.mark.parametrize(
    ("local", "newer", "zone"),
    [
        ("2025-07-02 12:00:00", True, None),
        ("2025-07-02 11:59:31", False, None),
        ("2025-07-02 14:00:00", True, "UTC"),
        ("2025-07-02 07:58:00", False, "UTC"),
        ("2025-07-02 17:45:00", True, "UTC"),
        ("2025-07-02 10:53:00", True, "UTC"),
        ("2025-07-02 10:53:00", False, None),
        ("2025.07.02 12:00:00", False, None),
        (None, True, "UTC"),
        (None, False, None),
        ("0000-00-00 00:00:00", False, None),
    ],
)
def test_zone_from_the_local_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    local: str | None,
    newer: bool,
    zone: str | None,
) -> None:
    rows = table([NOON + 0.25, NOON + 10], [5.0, 14.75])
    log = read(tmp_path, monkeypatch, rows, local=local, newer=newer)
    assert log.attrs["clock"]["zone"] == zone
    assert log.attrs["clock"]["start"] == "2025-07-02T12:00:00.250"
    assert log.attrs["clock_reason"]
    assert log["elapsed"].values.tolist() == [0.0, 9.75]


def test_counter_wins_over_a_wall_clock_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table([NOON, NOON + 10, NOON + 8.5, NOON + 18.5], [0.0, 10.0, 10.0, 20.0])
    log = read(tmp_path, monkeypatch, rows, local="2025-07-02 14:00:00")
    assert log["elapsed"].values.tolist() == [0.0, 10.0, 10.0, 20.0]
    assert log["wall_clock"].values.tolist() == [0.0, 10.0, 8.5, 18.5]
    assert log.attrs["pauses_s"] == []


def test_pause_is_added_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table([NOON, NOON + 10, NOON + 5020, NOON + 5030], [0.0, 10.0, 20.0, 30.0])
    log = read(tmp_path, monkeypatch, rows, local="2025-07-02 12:00:00", newer=False)
    assert log["elapsed"].values.tolist() == [0.0, 10.0, 5020.0, 5030.0]
    assert log.attrs["pauses_s"] == [5000.0]


def test_summer_time_is_no_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local clock jumps an hour in March; one in UTC that stands still an hour was paused."""
    rows = table([NOON, NOON + 3610], [0.0, 10.0])
    local = read(tmp_path, monkeypatch, rows, local="2025-07-02 12:00:00", newer=False)
    assert local["elapsed"].values.tolist() == [0.0, 10.0]
    zoned = read(tmp_path, monkeypatch, rows, local="2025-07-02 14:00:00")
    assert zoned["elapsed"].values.tolist() == [0.0, 3610.0]


def test_steps_units_and_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        "Rest": "rest",
        "CC_Chg": "charge",
        "CCCV_DChg": "discharge",
        "CV_Chg": "hold_charge",
        "CV_DChg": "hold_discharge",
        "Pause": "rest",
        "SIM": "unknown",
        "Control": "unknown",
    }
    times = [float(at) for at in range(len(expected))]
    rows = table([NOON + at for at in times], times, list(expected))
    log = read(tmp_path, monkeypatch, rows, local=None)
    found = log["state_instrument"].values.tolist()
    assert found == [STATES[name] for name in expected.values()]
    assert log["current"].values[0] == pytest.approx(-2e-3)
    assert log["current"].attrs == {"units": "A", "averaging": "instantaneous"}
    assert log["charge_counter"].values[0] == pytest.approx(-1.5e-3)
    assert log["step_instrument"].values[0] == 4
    assert log.attrs["current_sign"] == "oxidation_positive"
    assert log.attrs["clock"]["sigma_s"] == 0.5


def test_row_without_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="time"):
        read(tmp_path, monkeypatch, table([NOON, np.nan], [0.0, 1.0]), local=None)


def test_without_fastnda_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastnda", None)
    with pytest.raises(FormatError, match=r"pip install 'operando\[neware\]'"):
        READER.read(File(tmp_path / "a.ndax"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"NEWARE"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("fastnda")
    damaged = tmp_path / "cell.ndax"
    damaged.write_bytes(b"PK nothing")
    for name in ("a.ndax", "a.nda"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match="fastnda") as error:
            READER.read(File(tmp_path / name))
        assert "\n" not in str(error.value)


def test_sniff() -> None:
    assert READER.sniff(b"NEWARE 1", "a.nda")
    assert READER.sniff(b"PK\x03\x04", "A.NDAX")
    assert not READER.sniff(b"PK\x03\x04", "a.zip")


@pytest.mark.shared_data
def test_empty_file(shared_data: Path) -> None:
    with pytest.raises(FormatError, match="no rows") as error:
        READER.read(File(shared_data / "formats/echem/neware/empty.ndax"))
    assert "\n" not in str(error.value)


@pytest.mark.shared_data
def test_agrees_with_the_export_of_neware(shared_data: Path) -> None:
    folder = shared_data / "formats/echem/neware"
    log = READER.read(File(folder / "interp-test.ndax"))
    text = (folder / "interp-test.csv").read_text(encoding="latin-1")
    rows = list(csv.DictReader(io.StringIO(text)))
    voltage = [float(row["Voltage(mV)"]) * 1e-3 for row in rows]
    assert log["voltage"].values == pytest.approx(voltage, abs=0.051e-3)
    stamps = np.array([row["Date"] for row in rows], "datetime64[ms]")
    elapsed = (stamps - stamps[0]).astype(float) / 1e3
    assert log["elapsed"].values == pytest.approx(elapsed, abs=0.25)
    # The export was made on a computer in UTC+1.
    start = np.datetime64(log.attrs["clock"]["start"], "ms")
    assert stamps[0] - start == np.timedelta64(1, "h")
    assert log.attrs["clock"]["zone"] == "UTC"


@pytest.mark.shared_data
def test_clock_of_seventy_hours_is_the_counter(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The wall clock ran backwards 8 times; the counter never does."""
    log = READER.read(File(shared_data / "formats/echem/neware/20260302_IFE_BTS85_2_9_8_1.ndax"))
    assert np.diff(log["elapsed"].values).min() >= 0
    assert log["elapsed"].values[-1] == pytest.approx(252946, abs=1)
    assert np.count_nonzero(np.diff(log["wall_clock"].values) < 0) == 8
    assert log.attrs["pauses_s"] == []
    assert not caplog.records  # fastnda says what is done already


@pytest.mark.shared_data
def test_diffraction_beside_it_is_on_the_same_local_clock(shared_data: Path) -> None:
    """Both clocks are local: scan 1 is over before the first row, scan 5 246 s into the charge."""
    archive = shared_data / CC8
    log = READER.read(File(archive, "coincell8_LDE2/Echem/cc8.ndax"))
    assert log.attrs["clock"]["zone"] is None
    assert log.attrs["clock"]["start"] == "2025-07-02T19:08:11.000"
    with zipfile.ZipFile(archive) as zipped:
        name = next(n for n in zipped.namelist() if n.endswith(".csv") and "MACOSX" not in n)
        scans = list(csv.DictReader(io.StringIO(zipped.read(name).decode())))
    start = np.datetime64(log.attrs["clock"]["start"], "ms")
    assert np.datetime64(scans[0]["end_time"], "ms") < start
    first = log["elapsed"].values[log["state_instrument"].values == STATES["charge"]][0]
    fifth = (np.datetime64(scans[4]["start_time"], "ms") - start) / np.timedelta64(1, "s")
    assert fifth - first == pytest.approx(246, abs=1.5)
    voltage = np.interp(fifth, log["elapsed"].values, log["voltage"].values)
    assert voltage == pytest.approx(3.58, abs=0.005)


def test_the_library_leaves_the_decompression_of_others_alone(tmp_path: Path) -> None:
    """In a process of its own, as an import happens once."""
    pytest.importorskip("fastnda")
    damaged = tmp_path / "cell.ndax"
    damaged.write_bytes(b"PK nothing")
    code = (
        "import sys, zlib; kept = zlib.decompress, zlib.decompressobj\n"
        "from pathlib import Path\n"
        "from operando_readers import neware_ndax\n"
        "from operando_readers._reader import File, FormatError\n"
        "try:\n    neware_ndax.READER.read(File(Path(sys.argv[1])))\n"
        "except (FormatError, OSError):\n    pass\n"
        "assert 'fastnda.ndax' in sys.modules\n"
        "assert (zlib.decompress, zlib.decompressobj) == kept\n"
    )
    subprocess.run([sys.executable, "-c", code, str(damaged)], check=True)
