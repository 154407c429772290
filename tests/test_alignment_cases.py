"""The numbered cases of alignment that need whole files or several clocks; and that none is lost.

The other numbers stand beside what they test: this file only looks that all 35 are there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

import operando
from operando.align import align, pair, propose_offset
from operando.electrochemistry import prepare
from operando.errors import ClockError
from operando.model import ALIGNMENT_FLAGS

Array = npt.NDArray[np.float64]
HERE = Path(__file__).parent
ZERO = np.datetime64("2026-05-04T08:00:00", "ns")
"""10:00 in Paris."""
ZONE = "Europe/Paris"


def test_all_35_cases_have_a_test() -> None:
    found = {
        int(number)
        for path in HERE.glob("test_*.py")
        for number in re.findall(r"^def test_case_(\d\d)_", path.read_text("utf-8"), re.MULTILINE)
    }
    assert found == set(range(1, 36))


def write_log(
    path: Path, seconds: Array, voltage: Array, *, current_ma: float, start: str = "10:00:00"
) -> Path:
    """Write an EC-Lab text of constant current, its charge counter from zero."""
    charge = current_ma * (seconds - seconds[0]) / 3600
    rows = "".join(
        f"1\t{t:.6f}\t{v:.9f}\t{current_ma:.6f}\t{q:.9f}\n"
        for t, v, q in zip(seconds, voltage, charge, strict=True)
    )
    path.write_text(
        "EC-Lab ASCII FILE\nNb header lines : 6\n\n"
        "Galvanostatic Cycling with Potential Limitation\n"
        f"Acquisition started on : 05/04/2026 {start}.000\n"
        f"mode\ttime/s\tEwe/V\t<I>/mA\t(Q-Qo)/mA.h\n{rows}"
    )
    return path


def write_patterns(folder: Path, stamps: Sequence[str]) -> Path:
    folder.mkdir()
    for number, stamp in enumerate(stamps):
        path = folder / f"scan_{number:03d}.xye"
        path.write_text(f"# {stamp}\n8.0 10 3\n8.1 12 3\n8.2 11 3\n")
    return folder


def voltage_at(seconds: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """0.01 mV/s upwards: the mean over an exposure is the value in its middle."""
    return 3 + 1e-5 * seconds


def having(frames: xr.Dataset, name: str) -> npt.NDArray[np.bool_]:
    flag = frames["alignment_flag"].values
    return np.asarray((flag & ALIGNMENT_FLAGS[name]) != 0)


@pytest.mark.shared_data
def test_case_12_stamps_that_run_backwards_beside_a_counter(shared_data: Path) -> None:
    """Oracles: the jumps of the stamps as fastnda returns them, and the stamps after each."""
    fastnda = pytest.importorskip("fastnda")
    path = shared_data / "formats/echem/neware/20260302_IFE_BTS85_2_9_8_1.ndax"
    log = operando.read(str(path))
    clock = json.loads(log.attrs["clock"])
    fit = clock["sources"][0]["counter"]
    assert fit["ppm"] == pytest.approx(-47, abs=3)
    assert fit["ppm_sigma"] < 0.5
    assert fit["steps"] == 9
    assert fit["step_every_s"] / 3600 == pytest.approx(8, abs=0.01)
    assert fit["backwards"] == 8

    table = fastnda.read(path, cycle_mode="raw")
    stamps = table["unix_time_s"].to_numpy()
    counter = table["total_time_s"].to_numpy()
    seconds = log["time"].values.astype(np.int64) / 1e9
    # The counter is used: it never steps back, and gives the intervals.
    assert np.diff(seconds) == pytest.approx(np.diff(counter), abs=1e-5)
    assert clock["sigma_s"] == pytest.approx(12, abs=0.5)

    # What is proposed puts every stamp that was just set right on itself, to 0.1 s.
    corrected = operando.read(str(path), drift_ppm=fit["ppm"], clock_offset_s=fit["offset_s"])
    right = np.flatnonzero(np.diff(stamps - counter) < -0.5) + 1
    moved = corrected["time"].values.astype(np.int64) / 1e9
    assert right.size == 9
    assert moved[right] == pytest.approx(stamps[right], abs=0.1)
    assert json.loads(corrected.attrs["clock"])["sigma_s"] == pytest.approx(1, abs=0.05)


def test_case_20_stamps_of_an_export(tmp_path: Path) -> None:
    """A hundred patterns stamped within a second; the log ends in the middle of the 85th."""
    seconds = np.arange(0, 84.5 * 1140 + 1, 30.0)
    write_log(tmp_path / "cell.mpt", seconds, voltage_at(seconds), current_ma=0.1)
    log = prepare(operando.read(str(tmp_path / "cell.mpt"), tz=ZONE))
    stamps = [f"2026-06-01T12:00:00.{9 * number:03d}" for number in range(100)]
    folder = write_patterns(tmp_path / "xrd", stamps)
    with pytest.raises(ClockError, match=r"all 100 frames .* the time of an export.*period_s"):
        operando.read(str(folder), tz=ZONE, exposure_s=1140.0)

    frames = operando.read(
        str(folder), tz=ZONE, first="2026-05-04T10:00:00", period_s=1140.0, exposure_s=1140.0
    )
    aligned = align(frames, log)
    whole = aligned["coverage"].values == 1
    assert whole.sum() == 84
    assert whole[:84].all()
    assert np.flatnonzero(having(aligned, "partial")).tolist() == [84]
    assert aligned["coverage"].values[84] == pytest.approx(0.5)
    assert having(aligned, "outside")[85:].all()
    assert having(aligned, "outside").sum() == 15
    assert not having(aligned, "in_gap").any()
    assert np.isnan(aligned["voltage"].values[85:]).all()
    middle = (np.arange(84) + 0.5) * 1140
    assert aligned["voltage"].values[:84] == pytest.approx(voltage_at(middle), abs=1e-9)


def test_case_21_copied_files(tmp_path: Path) -> None:
    """Files that were all written at once say nothing; written one by one they do, to a period."""
    folder = write_patterns(tmp_path / "xrd", ["no time"] * 5)
    files = sorted(folder.iterdir())
    written = (ZERO.astype(np.int64) / 1e9) + 60 * np.arange(1, 6)
    for path in files:
        os.utime(path, (written[0], written[0]))
    with pytest.raises(ClockError, match=r"5 files written within 0 s.*copied or exported"):
        operando.read(str(folder), stamps="mtime", exposure_s=50.0)
    for path, moment in zip(files, written, strict=True):
        os.utime(path, (moment, moment))
    frames = operando.read(str(folder), stamps="mtime", exposure_s=50.0)
    since = (frames["time_start"].values - ZERO) / np.timedelta64(1, "s")
    assert since == pytest.approx([10, 70, 130, 190, 250])
    assert json.loads(frames.attrs["clock"])["sigma_s"] == 60


def potential(log: xr.Dataset, *, late_s: float, ppm: float = 0.0) -> xr.DataArray:
    """The beamline's reading of the cell: 60 s means with 1 mV of noise, 4 mV off, stamps late."""
    seconds = (log["time"].values - log["time"].values[0]) / np.timedelta64(1, "s")
    start = np.arange(300.0, seconds[-1] - 400, 75)
    fine = np.linspace(0, 60, 61)
    mean = np.interp(start[:, None] + fine, seconds, log["voltage"].values).mean(axis=1)
    value = mean + 4e-3 + np.random.default_rng(1).normal(0, 1e-3, mean.size)
    stamp = start - late_s - ppm * 1e-6 * (start - start[0])

    def at(moments: Array) -> Any:
        return log["time"].values[0] + np.rint(moments * 1e9).astype("timedelta64[ns]")

    return xr.DataArray(
        value,
        dims="time",
        coords={
            "time": at(stamp + 30),
            "time_start": ("time", at(stamp)),
            "time_end": ("time", at(stamp + 60)),
        },
    )


@pytest.fixture
def sweeps(tmp_path: Path) -> xr.Dataset:
    """Three cycles of 0.1 mV/s over 1.5 V, as EC-Lab writes them."""
    seconds = np.arange(0, 90_000.0, 10)
    phase = (seconds / 30_000) % 1
    voltage = 1 + 3 * np.minimum(phase, 1 - phase)
    path = write_log(tmp_path / "sweeps.mpt", seconds, voltage, current_ma=0.1)
    return prepare(operando.read(str(path), tz=ZONE), sign="oxidation_positive")


def test_case_28_offset_from_a_shared_potential(sweeps: xr.Dataset) -> None:
    found = propose_offset(potential(sweeps, late_s=137.4), sweeps)
    assert found.accepted
    assert found.offset_s == pytest.approx(137.4, abs=1.2)  # four sigma
    assert found.sigma_s == pytest.approx(0.29, rel=0.2)
    assert found.ambiguity > 30

    ramp = sweeps.isel(time=slice(0, 1350))
    refused = propose_offset(potential(ramp, late_s=137.4), sweeps)
    assert refused.refused is not None
    assert "ramp" in refused.refused

    drifting = potential(sweeps, late_s=137.4, ppm=40.0)
    fitted = propose_offset(drifting, sweeps, drift=True)
    assert fitted.accepted
    assert fitted.offset_s == pytest.approx(137.4, abs=4 * fitted.sigma_s)
    assert fitted.drift_ppm == pytest.approx(40, abs=4 * fitted.drift_sigma_ppm)
    assert fitted.drift_sigma_ppm < 15


def write_spectra(path: Path, starts: Array, *, acquired: str) -> Path:
    """Write a LabSpec time series of 6 x 120 s, in seconds since its first spectrum."""
    rows = "".join(f"{start - starts[0]:.1f}\t1\t2\t3\n" for start in starts)
    path.write_text(
        "#Acq. time (s)=\t120\n#Accumulations=\t6\n"
        f"#Acquired=\t{acquired}\n\t900.5\t920.5\t940.5\n{rows}"
    )
    return path


def test_case_34_two_detectors_on_one_log_and_on_one_another(tmp_path: Path) -> None:
    """Spectra of 720 s every 740 s beside patterns of 60 s every 500 s, in two zones."""
    seconds = np.arange(0, 20_000.0, 20)
    write_log(tmp_path / "cell.mpt", seconds, voltage_at(seconds), current_ma=0.1)
    log = prepare(operando.read(str(tmp_path / "cell.mpt"), tz=ZONE))
    begin, first = 900 + 500 * np.arange(30.0), 100 + 740 * np.arange(20.0)
    stamps = [f"{ZERO + np.timedelta64(int(at), 's')}"[:19] + "Z" for at in begin]
    xrd = operando.read(str(write_patterns(tmp_path / "xrd", stamps)), exposure_s=60.0)
    spectra = write_spectra(tmp_path / "raman.txt", first, acquired="04.05.2026 09:01:40")
    raman = operando.read(
        str(spectra), tz="Europe/London", options={"acquired": "start", "date_order": "dmy"}
    )
    xrd, raman = align(xrd, log), align(raman, log)
    assert xrd["voltage"].values == pytest.approx(voltage_at(begin + 30), abs=1e-9)
    assert raman["voltage"].values == pytest.approx(voltage_at(first + 360), abs=1e-9)

    joined = pair(xrd, raman)
    # Oracle: every pair of intervals, one by one.
    shared = np.minimum(begin[:, None] + 60, first + 720) - np.maximum(begin[:, None], first)
    partner = np.where((shared > 0).any(axis=1), shared.argmax(axis=1), -1)
    assert joined["raman_frame"].values.tolist() == partner.tolist()
    overlap = np.clip(shared.max(axis=1), 0, None) / 60
    assert joined["raman_overlap"].values == pytest.approx(overlap)
    inside = partner >= 0
    assert inside.sum() == 28
    assert (overlap[inside] < 1).any()
    assert joined["raman_gap"].values[~inside] == pytest.approx(-shared.max(axis=1)[~inside])
    # Neither the same index nor, where a frame lies between two spectra, the nearest one.
    assert np.count_nonzero(partner == np.arange(30)) < 6
    apart = xrd["voltage"].values[inside] - raman["voltage"].values[partner[inside]]
    assert np.abs(apart).max() <= 1e-5 * (360 + 30)

    back = pair(raman, xrd)
    most = np.where((shared > 0).any(axis=0), shared.argmax(axis=0), -1)
    assert back["xrd_frame"].values.tolist() == most.tolist()
    assert back["xrd_overlap"].values == pytest.approx(np.clip(shared.max(axis=0), 0, None) / 720)


@pytest.mark.parametrize("order", [("C06.mpt", "C02.mpt"), ("C02.mpt", "C06.mpt")])
def test_case_35_a_cell_restarted_on_another_channel(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    """Its second half begins 40 min later on channel 2, whose counter starts from zero again."""
    first = np.arange(0, 3601.0, 10)
    write_log(tmp_path / "C06.mpt", first, voltage_at(first), current_ma=0.2)
    second = np.arange(0, 7201.0, 10)
    later = write_log(
        tmp_path / "C02.mpt", second, voltage_at(second + 6000), current_ma=0.2, start="11:40:00"
    )
    assert later.exists()
    log = prepare(operando.read([str(tmp_path / name) for name in order], tz=ZONE))
    assert [Path(name).name for name in json.loads(log.attrs["source_files"])] == list(order)

    run = log["run"].values
    assert run.tolist() == [0] * first.size + [1] * second.size
    # 0.2 mA h at the end of the first, and on from there: what passed in between is not known.
    charge = log["net_capacity"].values * 1e3
    assert charge[first.size - 1] == pytest.approx(0.2, abs=1e-6)
    assert charge[first.size] == pytest.approx(0.2, abs=1e-6)
    assert charge[-1] == pytest.approx(0.6, abs=1e-6)
    uncertain = log["charge_uncertain"].values
    assert not uncertain[: first.size].any()
    assert uncertain[first.size :].all()

    stamps = [f"{ZERO + np.timedelta64(at, 's')}"[:19] + "Z" for at in (1000, 3570, 4500, 7000)]
    frames = operando.read(str(write_patterns(tmp_path / "xrd", stamps)), exposure_s=60.0)
    aligned = align(frames, log)
    assert having(aligned, "in_gap").tolist() == [False, True, True, False]
    assert having(aligned, "outside").tolist() == [False, False, True, False]
    assert having(aligned, "partial").tolist() == [False, True, False, False]
    assert aligned["coverage"].values == pytest.approx([1, 0.5, 0, 1])
    assert having(aligned, "charge_uncertain").tolist() == [False, False, False, True]
    assert aligned["run"].values.tolist() == [0, 0, -1, 1]
    middle = np.array([1030.0, 3585, np.nan, 7030])
    assert aligned["voltage"].values == pytest.approx(voltage_at(middle), abs=1e-9, nan_ok=True)
