"""Scans over two theta in SPEC files: columns, clocks, aborted scans, the real file of APS 33-BM.

silx is the oracle of the numbers of the real file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from silx.io.specfile import SpecFile

import operando
from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.spec_powder import READER

ZERO = 1_714_809_600
"""2024-05-04T08:00:00 UTC."""
OPENING = f"#F cell\n#E {ZERO}\n#D Sat May 04 10:00:00 2024\n#O0 tth  th\n\n"


def _scan(
    number: int,
    *,
    at: float,
    rows: int = 4,
    name: str = "tth",
    epoch: bool = True,
    first: float = 10.0,
    step: float = 0.5,
    remark: str = "",
    minute: int = 0,
) -> str:
    """Return a scan that begins `at` seconds after the file: 2 s a point and one to move."""
    names = [name, *(["Epoch"] if epoch else []), "Seconds", "Monitor", "det"]
    text = f"#S {number}  ascan  tth 10 11.5  3 2\n#D Sat May 04 10:{minute:02d}:00 2024\n"
    text += f"#T 2  (Seconds)\n#L {'  '.join(names)}\n"
    for point in range(rows):
        told = [f"{first + step * point:g}"] + ([f"{at + 3 * point + 2:g}"] if epoch else [])
        text += " ".join([*told, "2", "1000", f"{100 + number + point}"]) + "\n"
    return f"{text}{remark}\n"


def _write(folder: Path, *parts: str) -> File:
    path = folder / "cell.dat"
    path.write_text("".join(parts))
    return File(path)


def test_scans_of_one_axis_stack_on_their_own_clock(tmp_path: Path) -> None:
    file = _write(tmp_path, OPENING, _scan(1, at=100), _scan(2, at=700))
    dataset = READER.read(file)
    assert claims(file) == ["spec_powder"]
    np.testing.assert_array_equal(dataset["two_theta"], [10.0, 10.5, 11.0, 11.5])
    np.testing.assert_array_equal(
        dataset["intensity"], [[101, 102, 103, 104], [102, 103, 104, 105]]
    )
    np.testing.assert_array_equal(dataset["monitor"], np.full((2, 4), 1000.0))
    np.testing.assert_array_equal(dataset["dwell"], np.full((2, 4), 2.0))
    assert dataset.attrs["clock"] == {
        "start": "2024-05-04T08:01:40",
        "zone": "UTC",
        "marks": "start",
        "source": "column",
        "sigma_s": 0.5,
    }
    np.testing.assert_array_equal(dataset["elapsed"], [0.0, 600.0])
    np.testing.assert_array_equal(dataset["exposure"], [11.0, 11.0])
    np.testing.assert_array_equal(dataset["scan"], [1, 2])
    frames = operando.read(str(file))
    operando.check(frames)
    assert frames.sizes == {"time": 2, "two_theta": 4}


def test_without_epoch_the_date_of_the_scan_is_local(tmp_path: Path) -> None:
    parts = [_scan(1, at=0, epoch=False, minute=1), _scan(2, at=0, epoch=False, minute=3)]
    dataset = READER.read(_write(tmp_path, OPENING, *parts))
    clock = dataset.attrs["clock"]
    assert (clock["start"], clock["zone"], clock["source"]) == (
        "2024-05-04T10:01:00",
        None,
        "header",
    )
    np.testing.assert_array_equal(dataset["elapsed"], [0.0, 120.0])
    np.testing.assert_array_equal(dataset["exposure"], [8.0, 8.0])


def test_an_aborted_scan_is_kept(tmp_path: Path) -> None:
    remark = "#C Sat May 04 10:02:00 2024.  Scan aborted after 2 points.\n"
    dataset = READER.read(
        _write(tmp_path, OPENING, _scan(1, at=0), _scan(2, at=60, rows=2, remark=remark))
    )
    np.testing.assert_array_equal(dataset["intensity"][1], [102.0, 103.0, np.nan, np.nan])
    assert dataset.attrs["truncated"] == "scan 2 was aborted, has 2 of 4 points"
    np.testing.assert_array_equal(dataset["truncated"], [0, 1])


def test_a_scan_downwards(tmp_path: Path) -> None:
    dataset = READER.read(_write(tmp_path, OPENING, _scan(1, at=0, first=11.5, step=-0.5)))
    np.testing.assert_array_equal(dataset["two_theta"], [10.0, 10.5, 11.0, 11.5])
    np.testing.assert_array_equal(dataset["intensity"], [[104.0, 103.0, 102.0, 101.0]])


@pytest.mark.parametrize("name", ["2-theta", "Two Theta", "TwoTheta", "tth", "twoth", "delta"])
def test_names_of_two_theta(tmp_path: Path, name: str) -> None:
    file = _write(tmp_path, OPENING, _scan(1, at=0, name=name))
    assert READER.sniff(file.read_bytes(), file.name)
    assert READER.read(file).sizes["two_theta"] == 4


def test_columns_by_option(tmp_path: Path) -> None:
    file = _write(tmp_path, OPENING, _scan(1, at=0, name="stth"))
    assert not READER.sniff(file.read_bytes(), file.name)
    with pytest.raises(FormatError, match=r"none of 1 is over two theta \(axis=\): 1 ascan"):
        READER.read(file)
    dataset = READER.read(file, axis="stth", counter="Monitor", monitor="det")
    np.testing.assert_array_equal(dataset["intensity"], np.full((1, 4), 1000.0))
    np.testing.assert_array_equal(dataset["monitor"], [[101.0, 102.0, 103.0, 104.0]])
    with pytest.raises(FormatError, match="'mythen' is no column"):
        READER.read(file, axis="stth", counter="mythen")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["nothing\n"], "expected '#S'"),
        ([""], "no '#S' line"),
        ([OPENING, _scan(1, at=0), _scan(2, at=60, first=20.0)], "several ranges"),
        ([OPENING, _scan(1, at=600), _scan(2, at=0)], "do not follow one another in time"),
        ([OPENING, _scan(1, at=0).replace("103", "1o3")], "expected numbers"),
        ([OPENING, _scan(1, at=0, name="energy")], "none of 1 is over two theta"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, parts: list[str], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, *parts))


@pytest.mark.shared_data
@pytest.mark.parametrize("number", [4, 8, 13])
def test_scans_of_33_bm_are_those_of_silx(shared_data: Path, number: int) -> None:
    """`signal`, the last column, is a flag there: the counter is named."""
    file = File(shared_data / "formats/xrd/spec/33bm_spec.dat")
    assert claims(file) == ["spec_powder"]
    dataset = READER.read(file, scans=str(number), counter="I00")
    scan = SpecFile(str(file.path))[f"{number}.1"]
    columns = {name: scan.data_column_by_name(name) for name in ("2-theta", "I00", "Epoch")}
    # silx keeps what it does not refuse in less than double precision.
    np.testing.assert_allclose(dataset["two_theta"], columns["2-theta"], rtol=1e-12)
    np.testing.assert_array_equal(dataset["intensity"][0], columns["I00"])
    start = np.datetime64(dataset.attrs["clock"]["start"], "us")
    first_point = np.datetime64(1276730676, "s") + np.timedelta64(int(columns["Epoch"][0]), "s")
    assert np.timedelta64(0, "s") <= first_point - start <= np.timedelta64(1, "s")
    assert dataset.attrs["clock"]["zone"] == "UTC"


@pytest.mark.shared_data
def test_tuning_scans_of_an_instrument_are_refused_and_read_when_told(shared_data: Path) -> None:
    """APS 9-ID: nothing there is over two theta, so an axis has to be named."""
    file = File(shared_data / "formats/xrd/spec/05_02_test.dat")
    assert claims(file) == []
    with pytest.raises(FormatError, match=r"none of 39 is over two theta \(axis=\): 1 tune_mr"):
        READER.read(file)
    dataset = READER.read(file, scans="103", axis="a_stage_r", counter="PD_USAXS")
    scan = SpecFile(str(file.path))["103.1"]
    columns = {name: scan.data_column_by_name(name) for name in ("a_stage_r", "PD_USAXS")}
    order = np.argsort(columns["a_stage_r"])
    np.testing.assert_allclose(dataset["two_theta"], columns["a_stage_r"][order], rtol=1e-12)
    np.testing.assert_array_equal(dataset["intensity"][0], columns["PD_USAXS"][order])
    # Bluesky: Epoch counts from the scan, not from #E an hour and a half before it.
    clock = dataset.attrs["clock"]
    assert (clock["start"], clock["zone"], clock["marks"]) == ("2019-05-02T15:38:37", None, "start")
    assert 10 < float(dataset["exposure"][0]) < 19  # scan 104 begins 19 s later
