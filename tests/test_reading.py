"""From a path to a checked lazy dataset: files, formats, times, grids, faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray as xr

import operando
from operando.errors import (
    ClockError,
    ContractError,
    OperandoError,
    ReadError,
    RequestError,
    UnknownFormatError,
)
from operando.model import FRAME_FLAGS, check
from operando.reading import inspect, read, registry
from operando.reading.blocks import placed, union
from operando.reading.files import expand
from operando.reading.sidecar import Log
from operando_readers._reader import File, Reader, clock

AXIS = np.arange(8.0, 9.0, 0.01)


def pattern(
    path: Path, *, start: str | None, level: float = 100.0, axis: np.ndarray = AXIS
) -> Path:
    """Write one three-column pattern with an ISO date in its first comment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# {start}\n" if start else ""
    rows = "".join(f"{x:.4f} {level + i:.1f} {np.sqrt(level):.3f}\n" for i, x in enumerate(axis))
    path.write_text(head + rows)
    return path


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Twelve patterns a minute apart; scan 10 sorts after scan 9, not after scan 1."""
    for scan in range(12):
        pattern(
            tmp_path / f"scan_{scan}.xye", start=f"2026-05-04T10:{scan:02d}:00", level=100.0 + scan
        )
    return tmp_path


def test_series_is_lazy_in_order_and_in_utc(series: Path) -> None:
    dataset = read(series, tz="Europe/Paris", exposure_s=30)
    assert isinstance(dataset["intensity"].data, da.Array)
    assert dataset["time_start"].values[0] == np.datetime64("2026-05-04T08:00:00")
    assert dataset["time"].values[0] == np.datetime64("2026-05-04T08:00:15")
    assert np.array_equal(dataset["intensity"].isel(two_theta=0), 100.0 + np.arange(12))
    assert check(dataset) is dataset


def test_blocks_do_not_change_the_values(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(series, tz="UTC", exposure_s=1).load()
    monkeypatch.setattr("operando.reading.blocks.BLOCK_FRAMES", 5)
    blocks = read(series, tz="UTC", exposure_s=1)
    assert blocks["intensity"].data.numblocks[0] == 3
    xr.testing.assert_identical(whole, blocks.load())


def test_no_zone_names_file_and_key(series: Path) -> None:
    with pytest.raises(ClockError, match=r"scan_0\.xye.*tz"):
        read(series)


def test_zone_in_the_file_wins(tmp_path: Path) -> None:
    pattern(tmp_path / "a.xye", start="2026-05-04T10:00:00+02:00")
    dataset = read(tmp_path / "a.xye", tz="America/New_York")
    assert dataset["time_start"].values[0] == np.datetime64("2026-05-04T08:00:00")


def test_no_time_names_the_ways_out(tmp_path: Path) -> None:
    pattern(tmp_path / "a.xye", start=None)
    with pytest.raises(ClockError, match=r"log.*first and period_s"):
        read(tmp_path / "a.xye", tz="UTC")


def test_times_by_index(tmp_path: Path) -> None:
    for scan in range(3):
        pattern(tmp_path / f"{scan}.xye", start=None)
    dataset = read(tmp_path, tz="Europe/Paris", first="2026-05-04T10:00:00", period_s=1140)
    expected = np.datetime64("2026-05-04T08:00:00") + np.arange(3) * np.timedelta64(1140, "s")
    assert np.array_equal(dataset["time_start"].values, expected)


def test_times_by_when_files_were_written(tmp_path: Path) -> None:
    """The end of each exposure, weak by 2 s or more; files copied at once are refused."""
    for scan in range(3):
        path = pattern(tmp_path / f"{scan}.xye", start=None)
        os.utime(path, (1.0, 1_780_000_000 + 600 * scan))
    dataset = read(tmp_path, stamps="mtime", exposure_s=60)
    ends = np.datetime64(1_780_000_000, "s") + np.arange(3) * np.timedelta64(600, "s")
    assert np.array_equal(dataset["time_end"].values, ends)
    assert np.all(dataset["time_end"] - dataset["time_start"] == np.timedelta64(60, "s"))
    clock = json.loads(dataset.attrs["clock"])
    assert clock["source"] == "mtime"
    assert clock["sigma_s"] >= 2
    for path in tmp_path.iterdir():
        os.utime(path, (1.0, 1_780_000_000.0))
    with pytest.raises(ClockError, match=r"0\.xye"):
        read(tmp_path, stamps="mtime", exposure_s=60)


def test_times_from_a_log_by_whole_number_in_the_name(tmp_path: Path) -> None:
    for scan in (135, 1355):
        pattern(tmp_path / "xrd" / f"{scan}_summed.xye", start=None)
    log = tmp_path / "log.csv"
    log.write_text(
        "scan,begin,finish\n1355,2026-05-04 10:00:00.5,2026-05-04 10:01:00\n"
        "135,2026-05-04 09:00:00,2026-05-04 09:01:00\n"
    )
    declared = Log(path=log, name="scan", start="begin", end="finish")
    dataset = read(tmp_path / "xrd", tz="UTC", log=declared)
    assert dataset["time_start"].values[0] == np.datetime64("2026-05-04T09:00:00")
    assert dataset["time_end"].values[1] == np.datetime64("2026-05-04T10:01:00")
    with pytest.raises(RequestError, match=r"log\.end.*'end'.*begin"):
        read(tmp_path / "xrd", tz="UTC", log=Log(path=log, name="scan", start="begin", end="end"))


def test_a_frame_that_the_log_places_survives_as_nan(tmp_path: Path) -> None:
    for scan in (1, 2):
        pattern(tmp_path / "xrd" / f"{scan}.xye", start=None)
    (tmp_path / "xrd" / "3.xye").write_text("8.0 not-a-number 1\n")
    log = tmp_path / "log.csv"
    log.write_text("n,a\n" + "".join(f"{n},2026-05-04 10:0{n}:00\n" for n in (1, 2, 3)))
    dataset = read(tmp_path / "xrd", tz="UTC", log=Log(path=log, name="n", start="a"))
    assert dataset.sizes["time"] == 3
    assert dataset["frame_flag"].values[2] == FRAME_FLAGS["unreadable"]
    assert np.isnan(dataset["intensity"].values[2]).all()
    [problem] = json.loads(dataset.attrs["problems"])
    assert problem["file"].endswith("3.xye")


def test_a_frame_without_any_time_is_quarantined_and_counted(series: Path) -> None:
    (series / "scan_5.xye").write_text("8.0 not-a-number 1\n")
    dataset = read(series, tz="UTC")
    assert dataset.sizes["time"] == 11
    [problem] = json.loads(dataset.attrs["problems"])
    assert "scan_5.xye" in problem["reason"]


def test_empty_file_among_good_ones(series: Path) -> None:
    (series / "scan_5.xye").write_text("")
    dataset = read(series, tz="UTC")
    assert "empty" in json.loads(dataset.attrs["problems"])[0]["reason"]


def test_cut_file_keeps_its_time_and_what_is_left(series: Path) -> None:
    pattern(series / "scan_5.xye", start="2026-05-04T10:05:00", axis=AXIS[:60])
    dataset = read(series, tz="UTC")
    assert dataset["frame_flag"].values[5] & FRAME_FLAGS["truncated"]
    assert np.isfinite(dataset["intensity"].values[5, :60]).all()
    assert np.isnan(dataset["intensity"].values[5, 60:]).all()
    assert not (dataset["frame_flag"].values[:5] & ~FRAME_FLAGS["regridded"]).any()


def test_a_jittering_axis_is_interpolated_and_said(series: Path) -> None:
    shifted = AXIS + 0.004
    pattern(series / "scan_5.xye", start="2026-05-04T10:05:00", level=105.0, axis=shifted)
    dataset = read(series, tz="UTC")
    assert dataset["frame_flag"].values[5] & FRAME_FLAGS["regridded"]
    # The pattern is a line of slope 1 per step of 0.01: exact under linear interpolation.
    expected = 105.0 + np.arange(1, AXIS.size) - 0.4
    np.testing.assert_allclose(dataset["intensity"].values[5, 1:], expected, rtol=1e-9)


def test_two_frames_at_one_instant_stay_two(tmp_path: Path) -> None:
    pattern(tmp_path / "a.xye", start="2026-05-04T10:00:00")
    pattern(tmp_path / "b.xye", start="2026-05-04T10:00:00")
    dataset = read(tmp_path, tz="UTC")
    assert dataset.sizes["time"] == 2
    assert np.diff(dataset["time"].values) == np.timedelta64(1, "ns")


def test_positions_from_the_name(tmp_path: Path) -> None:
    for number, spot in enumerate(("bulk", "interface", "bulk")):
        pattern(tmp_path / f"s_{spot}_{number}.xye", start=f"2026-05-04T10:0{number}:00")
    dataset = read(tmp_path, tz="UTC", position="_(bulk|interface)_")
    assert dataset["position"].values.tolist() == ["bulk", "interface", "bulk"]
    with pytest.raises(RequestError, match=r"'_\(pos\)_'.*s_bulk_0"):
        read(tmp_path, tz="UTC", position="_(pos)_")
    with pytest.raises(RequestError, match="expected one"):
        read(tmp_path, tz="UTC", position="bulk")


def test_a_log_without_ends_takes_the_exposure_and_the_mark(tmp_path: Path) -> None:
    pattern(tmp_path / "xrd" / "7.xye", start=None)
    log = tmp_path / "log.csv"
    log.write_text("n,a\n7,2026-05-04T10:00:00\n")
    declared = Log(path=log, name="n", start="a")
    dataset = read(tmp_path / "xrd", tz="UTC", log=declared, stamp="end", exposure_s=30)
    assert dataset["time_end"].values[0] == np.datetime64("2026-05-04T10:00:00")
    assert dataset["time_start"].values[0] == np.datetime64("2026-05-04T09:59:30")
    log.write_text("n,a\n7\n")
    with pytest.raises(ReadError, match=r"log\.csv, line 2: 2 columns"):
        read(tmp_path / "xrd", tz="UTC", log=declared)


def test_a_variable_that_only_some_files_have_is_kept_and_said(tmp_path: Path) -> None:
    pattern(tmp_path / "b.xye", start="2026-05-04T10:01:00")
    bare = "".join(f"{x:.4f} 100\n" for x in AXIS)
    (tmp_path / "a.xye").write_text(f"# 2026-05-04T10:00:00\n{bare}")
    dataset = read(tmp_path, tz="UTC")
    assert np.isnan(dataset["intensity_sigma"].values[0]).all()
    assert np.isfinite(dataset["intensity_sigma"].values[1]).all()
    assert "intensity_sigma" in json.loads(dataset.attrs["problems"])[0]["reason"]


def test_a_file_of_many_spectra_among_damaged_ones_has_no_time_by_index(
    tmp_path: Path,
) -> None:
    spectra = "\t100\t101\t102\n" + "".join(f"{i}\t1\t2\t3\n" for i in range(4))
    for name in ("a", "c"):
        (tmp_path / f"{name}.txt").write_text(f"#Acq. time (s)=\t1\n{spectra}")
    (tmp_path / "b.txt").write_text("#Acq. time (s)=\t1\nrubbish\n")
    with pytest.raises(ClockError, match=r"b\.txt: unreadable"):
        read(tmp_path, format="labspec_text", tz="UTC", first="2026-05-04T10:00:00", period_s=60)


def test_a_damaged_zip_member_is_quarantined(series: Path, tmp_path: Path) -> None:
    archive = tmp_path / "shipped.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for scan in range(4):
            target.write(series / f"scan_{scan}.xye", f"scan_{scan}.xye")
    content = bytearray(archive.read_bytes())
    at = content.index(b"2026-05-04T10:02:00") + 200
    content[at : at + 50] = b"\0" * 50
    archive.write_bytes(bytes(content))
    dataset = read(archive, tz="UTC")
    assert dataset.sizes["time"] == 3
    assert "scan_2.xye" in json.loads(dataset.attrs["problems"])[0]["reason"]


def test_brackets_in_a_folder_name_are_no_pattern(series: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run[1] a!b"
    (folder / "xrd").mkdir(parents=True)
    for path in series.glob("*.xye"):
        path.rename(folder / "xrd" / path.name)
    assert len(expand("xrd/*.xye", root=folder)) == 12
    assert read(expand_names(folder), tz="UTC").sizes["time"] == 12


def expand_names(folder: Path) -> list[str]:
    return [str(file) for file in expand("xrd/*.xye", root=folder)]


def test_volumes_of_another_size_are_quarantined_even_the_first(tmp_path: Path) -> None:
    for number, planes in enumerate((3, 6, 6, 6)):
        tifffile.imwrite(
            tmp_path / f"v_{number}.tif",
            np.zeros((planes, 8, 8), np.uint16),
            photometric="minisblack",
        )
    dataset = read(
        tmp_path,
        tz="UTC",
        first="2026-05-04T10:00:00",
        period_s=600,
        options={"voxel_um": 2.0},
    )
    assert dataset["attenuation"].shape == (3, 6, 8, 8)
    assert dataset["time_start"].values[0] == np.datetime64("2026-05-04T10:10:00")
    [problem] = json.loads(dataset.attrs["problems"])
    assert "v_0.tif" in problem["reason"]


def test_clock_offset_moves_frames(series: Path) -> None:
    plain, moved = read(series, tz="UTC"), read(series, tz="UTC", clock_offset_s=-12.5)
    shift = moved["time"].values - plain["time"].values
    assert np.all(shift == np.timedelta64(-12500, "ms"))
    assert json.loads(moved.attrs["clock"])["offset_s"] == -12.5


def test_zip_is_read_in_place_without_resource_forks(series: Path, tmp_path: Path) -> None:
    archive = tmp_path / "shipped.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for scan in range(12):
            target.write(series / f"scan_{scan}.xye", f"data/scan_{scan}.xye")
            target.writestr(f"__MACOSX/data/._scan_{scan}.xye", b"\x00\x05\x16\x07")
        target.writestr("data/.DS_Store", b"\x00")
    zipped = read(archive, tz="UTC")
    assert zipped.sizes["time"] == 12
    plain = read([series / f"scan_{scan}.xye" for scan in range(12)], tz="UTC")
    np.testing.assert_array_equal(zipped["intensity"].values, plain["intensity"].values)
    assert len(expand(f"{archive}!*scan_1*.xye")) == 3


def test_wrong_suffix_needs_the_format_said(tmp_path: Path) -> None:
    """Columns of numbers say nothing of their technique, so only the suffix claims them."""
    pattern(tmp_path / "a.dat.bak", start="2026-05-04T10:00:00")
    with pytest.raises(
        UnknownFormatError, match=r"a\.dat\.bak: no reader recognises it; pass format"
    ):
        read(tmp_path / "a.dat.bak", tz="UTC")
    assert read(tmp_path / "a.dat.bak", tz="UTC", format="xy_text").attrs["reader"] == "xy_text"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"none\.xye: no such file"):
        read(tmp_path / "none.xye")


def test_nothing_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    with pytest.raises(UnknownFormatError, match=r"a\.bin: no reader recognises it"):
        read(tmp_path / "a.bin")
    with pytest.raises(UnknownFormatError, match=r"'nope'; known are .*, biologic_mpr, "):
        read(tmp_path / "a.bin", format="nope")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.xye").touch()
    with pytest.raises(ReadError, match="empty"):
        read(tmp_path / "a.xye", format="xy_text", tz="UTC")


def test_unknown_option_names_those_there_are(series: Path) -> None:
    with pytest.raises(RequestError, match=r"'xy_text' has no 'colour'; it takes \["):
        read(series, tz="UTC", options={"colour": 1})


def test_drift_needs_a_counter(series: Path) -> None:
    with pytest.raises(ClockError, match="drift_ppm"):
        read(series, tz="UTC", first="2026-05-04T10:00:00", period_s=60, drift_ppm=40)


def test_export_stamps_are_refused(tmp_path: Path) -> None:
    for scan in range(5):
        pattern(tmp_path / f"{scan}.xye", start=f"2026-05-04T10:00:00.{scan}")
    with pytest.raises(ClockError, match="within"):
        read(tmp_path, tz="UTC")


def test_an_hour_that_occurs_twice_needs_fold(tmp_path: Path) -> None:
    """Paris turns its clocks back on 25 October 2026 at 03:00."""
    pattern(tmp_path / "a.xye", start="2026-10-25T02:30:00")
    with pytest.raises(ClockError, match=r"a\.xye.*fold"):
        read(tmp_path / "a.xye", tz="Europe/Paris")
    first, second = (read(tmp_path / "a.xye", tz="Europe/Paris", fold=f) for f in (0, 1))
    assert first["time"].values[0] == np.datetime64("2026-10-25T00:30:00")
    assert second["time"].values[0] == np.datetime64("2026-10-25T01:30:00")


def test_results_do_not_depend_on_the_zone_of_the_machine(
    series: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    found = []
    for zone in ("UTC", "America/New_York", "Asia/Shanghai"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found.append(read(series, tz="Europe/Paris")["time"].values)
    monkeypatch.undo()
    time.tzset()
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_xarray_engine(series: Path) -> None:
    dataset = xr.open_dataset(series / "scan_0.xye", engine="operando", tz="UTC")
    assert dataset.attrs["reader"] == "xy_text"


def test_inspect_needs_nothing_declared(series: Path) -> None:
    (series / "scan_3.xye").write_text("8.0 not-a-number 1\n")
    [found] = inspect(series, format="xy_text")
    assert (found.technique, found.frames, found.zone) == ("xrd", 11, None)
    assert found.first is not None
    assert found.first.startswith("2026-05-04T10:00:00")
    assert found.axes["two_theta"] == (8.0, 8.99, "degree")
    assert len(found.problems) == 1
    assert "declare tz" in str(found)


def test_contract_is_enforced(series: Path) -> None:
    good = read(series, tz="UTC")
    bad = {
        "units": good.assign(intensity=good["intensity"].drop_attrs()),
        "technique": good.assign_attrs(technique="xrf"),
        "ascending": good.isel(two_theta=slice(None, None, -1)),
        "increasing": good.isel(time=slice(None, None, -1)),
        "time_start": good.drop_vars("time_start"),
        "ancillary": good.assign(
            intensity=good["intensity"].assign_attrs(ancillary_variables="other")
        ),
        "comes first": good.transpose("two_theta", "time"),
    }
    for word, dataset in bad.items():
        with pytest.raises(ContractError, match=word):
            check(dataset)


def test_every_deliberate_exception_is_drawn_in_the_tree() -> None:
    import operando.errors as errors

    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    for found in classes:
        assert issubclass(found, OperandoError)
        assert found.__name__ in (errors.__doc__ or "")


def test_import_is_light() -> None:
    """`import operando` loads nothing heavy: it must be free in scripts and on the command line."""
    code = (
        "import sys, operando, operando.cli; "
        "print(sorted({'dask','larch','numba','matplotlib','xarray','scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_surface_is_what_the_stub_says() -> None:
    for name in operando.__all__:
        assert getattr(operando, name) is not None
    stub = Path(operando.__file__).with_suffix(".pyi").read_text()
    assert all(f'"{name}"' in stub for name in operando.__all__)
    assert sorted(operando.__all__) == list(operando.__all__)


def impose(monkeypatch: pytest.MonkeyPatch, **readers: Reader) -> None:
    """Let these be the only readers there are."""
    monkeypatch.setattr(registry, "formats", lambda: readers)


def reader(technique: str, make: Callable[[File], xr.Dataset]) -> Reader:
    """Return a reader of .fake files that claims them all."""
    return Reader(
        technique=technique,
        suffixes=(".fake",),
        sniff=lambda head, name: True,
        read=make,
        description="",
    )


def facts(technique: str) -> dict[str, Any]:
    stamps = clock(start="2026-05-04T10:00:00", zone="UTC", marks="start", source="header")
    return {"technique": technique, "clock": stamps, "original_metadata": {}}


def fakes(folder: Path, count: int) -> Path:
    for number in range(count):
        (folder / f"f{number}.fake").write_text("x")
    return folder


def test_what_a_reader_tells_of_a_frame_rides_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a reader knows it; files that do not say leave NaN."""

    def staged(file: File) -> xr.Dataset:
        number = float(file.stem[1:])
        coords: dict[str, Any] = {
            "two_theta": ("two_theta", [1.0, 2.0], {"units": "degree"}),
            "elapsed": ("time", [60.0 * number], {"units": "s"}),
        }
        if number:
            coords["x"] = ("time", [number], {"units": "micrometre"})
        variables = {
            "intensity": (("time", "two_theta"), np.ones((1, 2)), {"units": "count"}),
            "cell_voltage": ("time", [3.0 + number], {"units": "V"}),
        }
        return xr.Dataset(variables, coords, facts("xrd"))

    impose(monkeypatch, staged=reader("xrd", staged))
    frames = read(fakes(tmp_path, 3), format="staged")
    np.testing.assert_array_equal(frames["x"].values, [np.nan, 1.0, 2.0])
    assert frames["x"].attrs["units"] == "micrometre"
    np.testing.assert_array_equal(frames.coords["cell_voltage"].values, [3.0, 4.0, 5.0])


SWEEPS = ([1.0, 10.0, 100.0], [10.00005, 1000.0], [1.0, 10.0, 100.0])
"""Frequencies of three files; 10.00005 and 10 are one."""


def sweep(file: File) -> xr.Dataset:
    number = int(file.stem[1:])
    frequency = np.array(SWEEPS[number])
    coords = {
        "frequency": ("frequency", frequency, {"units": "Hz"}),
        "elapsed": ("time", [3600.0 * number], {"units": "s"}),
    }
    values = (frequency - 1j * number)[None]
    impedance = (("time", "frequency"), values, {"units": "ohm"})
    return xr.Dataset({"impedance": impedance}, coords, facts("impedance"))


def test_sweeps_are_never_interpolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their frequencies are decades apart: the axis is the union, and a missing point is NaN."""
    impose(monkeypatch, sweeps=reader("impedance", sweep))
    frames = read(fakes(tmp_path, 3), format="sweeps")
    np.testing.assert_array_equal(frames["frequency"], [1.0, 10.0, 100.0, 1000.0])
    gap = complex(np.nan, np.nan)
    expected = [
        [1, 10, 100, gap],
        [gap, 10.00005 - 1j, gap, 1000 - 1j],
        [1 - 2j, 10 - 2j, 100 - 2j, gap],
    ]
    np.testing.assert_array_equal(frames["impedance"].values, np.array(expected))
    assert not (frames["frame_flag"].values & FRAME_FLAGS["regridded"]).any()


def test_a_file_may_be_a_log_and_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the technique is asked for, and nothing is chosen silently."""

    def log(file: File) -> xr.Dataset:
        coords = {"elapsed": ("time", [0.0, 1.0], {"units": "s"})}
        voltage = ("time", [3.0, 3.1], {"units": "V"})
        return xr.Dataset({"voltage": voltage}, coords, facts("electrochemistry"))

    impose(monkeypatch, log=reader("electrochemistry", log), sweeps=reader("impedance", sweep))
    path = fakes(tmp_path, 1) / "f0.fake"
    with pytest.raises(UnknownFormatError, match=r"log \(electrochemistry\).*technique="):
        read(path)
    assert read(path, technique="electrochemistry").sizes == {"time": 2}
    for technique in ("impedance", "frames"):
        assert "impedance" in read(path, technique=technique)
    assert {seen.format for seen in inspect(path)} == {"log", "sweeps"}
    with pytest.raises(RequestError, match="'sweeps' reads impedance; technique says 'xrd'"):
        read(path, format="sweeps", technique="xrd")
    with pytest.raises(RequestError, match="technique: 'sweep'; expected one of"):
        read(path, technique="sweep")


def test_declared_frames_through_the_front_door(tmp_path: Path) -> None:
    """Text that is declared to be frames is no log, although its format reads logs too."""
    (tmp_path / "a.dat").write_text("100 5\n200 6\n")
    columns = {
        "raman_shift": {"name": 0, "units": "1/cm"},
        "intensity": {"name": 1, "units": "count"},
    }
    frames = read(
        tmp_path / "a.dat",
        format="delimited",
        technique="frames",
        first="2026-05-04T10:00:00",
        period_s=60.0,
        tz="UTC",
        options={"technique": "raman", "header": False, "columns": columns},
    )
    assert frames["intensity"].values.tolist() == [[5.0, 6.0]]


def test_the_beamlines_own_reading_of_the_cell_comes_from_its_log(tmp_path: Path) -> None:
    """An empty cell is NaN; words are refused where they stand."""
    for scan in (1, 2):
        pattern(tmp_path / "xrd" / f"{scan}.xye", start=None)
    log = tmp_path / "log.csv"
    log.write_text("n,a,E\n1,2026-05-04 10:01:00,3.712\n2,2026-05-04 10:02:00, \n")
    declared = Log(path=log, name="n", start="a", cell_voltage="E")
    frames = read(tmp_path / "xrd", tz="UTC", log=declared)
    np.testing.assert_array_equal(frames.coords["cell_voltage"].values, [3.712, np.nan])
    assert frames["cell_voltage"].attrs["units"] == "V"
    log.write_text("n,a,E\n1,2026-05-04 10:01:00,3.712\n2,2026-05-04 10:02:00,high\n")
    with pytest.raises(ReadError, match=r"log\.csv, line 3: 'high' is no number of volts"):
        read(tmp_path / "xrd", tz="UTC", log=declared)
    with pytest.raises(RequestError, match=r"log\.cell_voltage.*no column 'U'"):
        read(tmp_path / "xrd", tz="UTC", log=Log(path=log, name="n", start="a", cell_voltage="U"))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"stamp": "foo"}, "stamp: 'foo'"),
        ({"stamps": "foo"}, "stamps: 'foo'"),
        ({"fold": 7}, "fold: 7"),
        ({"log": {"path": "a.csv"}}, "log: "),
        ({"options": "mdy"}, "options: 'mdy'"),
        ({"drift_ppm": "a"}, "drift_ppm: 'a'"),
        ({"drift_ppm": -2e6}, "drift_ppm: -2000000"),
        ({"clock_sigma_s": -1}, "clock_sigma_s: -1"),
        ({"first": "2026-05-04T10:00:00Z", "period_s": 1.0}, "first: .*without offset"),
        ({"first": "2026-05-04T10:00:00+02:00", "period_s": 1.0}, "first: .*without offset"),
    ],
)
def test_what_is_declared_is_looked_at(
    series: Path, declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        read(series, tz="UTC", **declared)


def test_a_word_that_is_no_choice_of_an_option_is_refused(tmp_path: Path) -> None:
    """'MDY' must not be taken for 'dmy'; and a message that asks for an option says where."""
    path = tmp_path / "a.dta"
    path.write_text(
        "EXPLAIN\nTAG\tCORPOT\nDATE\tLABEL\t3/6/2019\tDate\nTIME\tLABEL\t16:35:22\tTime\n"
        "CURVE\tTABLE\t2\n\tPt\tT\tVf\n\t#\ts\tV\n\t0\t0\t0.1\n\t1\t1\t0.2\n"
    )
    with pytest.raises(ReadError, match=r"date_order='mdy'.*options are given as options"):
        read(path, tz="UTC")
    with pytest.raises(RequestError, match=r"date_order = 'MDY'; expected one of \['dmy', 'mdy'\]"):
        read(path, tz="UTC", options={"date_order": "MDY"})
    log = read(path, tz="UTC", options={"date_order": "mdy"})
    assert str(log["time"].values[0])[:10] == "2019-03-06"
    with pytest.raises(UnknownFormatError, match=r"is gamry_dta \(electrochemistry\)"):
        read(path, tz="UTC", technique="impedance")


def test_messages_stay_readable(tmp_path: Path) -> None:
    """A damaged file may name a hundred thousand columns."""
    path = tmp_path / "a.mpt"
    names = "\t".join(f"column {number}" for number in range(100_000))
    path.write_text(f"EC-Lab ASCII FILE\nNb header lines : 3\n{names}\n")
    with pytest.raises(ReadError) as error:
        read(path, tz="UTC", format="biologic_mpt")
    assert len(str(error.value)) < 2000


def test_frequencies_do_not_chain() -> None:
    """1 and 1.00009 Hz are one, 1.00011 is another: each point goes where its group begins."""
    grid = union([np.array([1.0, 1.00011]), np.array([1.00009, 10.0])])
    np.testing.assert_array_equal(grid, [1.0, 1.00011, 10.0])
    found = placed(grid, np.array([1.00009, 10.0]), np.array([5.0, 6.0]))
    np.testing.assert_array_equal(found, [5.0, np.nan, 6.0])
