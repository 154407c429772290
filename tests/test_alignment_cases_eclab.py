"""Numbered alignment cases that need EC-Lab files: empty techniques, no start, locales, loops."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

import operando
from operando.align import align
from operando.electrochemistry import prepare
from operando.errors import ClockError, ReadError
from operando.model import ALIGNMENT_FLAGS
from operando.reading import formats
from operando_readers._reader import File

Array = npt.NDArray[np.float64]

ZONE = "Europe/Paris"
LOCAL = "07/26/2022 22:38:30.190"
ZERO = np.datetime64("2022-07-26T20:38:30.190", "ns")
"""The same in UTC."""
DAYS = 44768.94340497685
"""The same since 1899-12-30, as VMP LOG holds it."""
GCPL = "Galvanostatic Cycling with Potential Limitation"


def text(
    names: Sequence[str],
    rows: Sequence[Sequence[float]],
    *,
    technique: str = GCPL,
    start: str | None = LOCAL,
    comma: bool = False,
    notes: Sequence[str] = (),
) -> bytes:
    """Return an EC-Lab text as a computer with decimal points or commas writes it."""
    begun = [f"Acquisition started on : {start}"] if start else []
    body = ["", technique, "", *begun, *notes, ""]
    head = ["EC-Lab ASCII FILE", f"Nb header lines : {len(body) + 3}", *body, "\t".join(names)]
    table = "".join("\t".join(f"{x:.9E}" for x in row) + "\n" for row in rows)
    table = table.replace(".", ",") if comma else table
    return ("\n".join(head) + "\n" + table).encode("latin-1")


def binary(
    rows: Sequence[tuple[float, float]],
    *,
    technique: int = 0x0B,
    days: float | None = DAYS,
    loops: Sequence[int] = (),
) -> bytes:
    """Return time and potential as EC-Lab 11.50 and newer write them."""

    def module(name: str, content: bytes) -> bytes:
        head = b"MODULE" + name.ljust(10).encode() + name.ljust(25).encode()
        return head + struct.pack("<IIII", 0xFFFFFFFF, len(content), 0, 10) + b"07/26/22" + content

    data = struct.pack("<IHHH", len(rows), 2, 4, 6).ljust(1007, b"\0")
    data += b"".join(struct.pack("<df", *row) for row in rows)
    whole = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + b"\0\0\0\0"
    whole += module("VMP Set", bytes([technique]) + bytes(300)) + module("VMP data", data)
    if days is not None:
        whole += module("VMP LOG", bytes(585) + struct.pack("<d", days) + bytes(300))
    if loops:
        whole += module("VMP loop", struct.pack(f"<I{len(loops)}I", len(loops), *loops))
    return whole


def frames_of(start: npt.ArrayLike, end: npt.ArrayLike) -> xr.Dataset:
    begin, stop = (
        ZERO + np.rint(np.asarray(moment, float) * 1e9).astype("timedelta64[ns]")
        for moment in (start, end)
    )
    return xr.Dataset(
        {"intensity": (("time", "two_theta"), np.ones((begin.size, 3)), {"units": "1"})},
        {
            "time": begin + (stop - begin) // 2,
            "two_theta": ("two_theta", [1.0, 2.0, 3.0], {"units": "degree"}),
            "time_start": ("time", begin),
            "time_end": ("time", stop),
        },
        {"technique": "xrd", "clock": json.dumps({"sigma_s": 0.0})},
    )


def flags(aligned: xr.Dataset, frame: int = 0) -> set[str]:
    mask = int(aligned["alignment_flag"].values[frame])
    return {name for name, bit in ALIGNMENT_FLAGS.items() if mask & bit}


def ramp(begin: float, end: float, *, step: float = 10.0) -> Array:
    return np.arange(begin, end + step / 2, step)


def write(folder: Path, **contents: bytes) -> list[str]:
    paths = []
    for name, content in contents.items():
        path = folder / name.replace("_mpt", ".mpt").replace("_mpr", ".mpr")
        path.write_bytes(content)
        paths.append(str(path))
    return paths


def test_case_26_an_empty_technique_and_impedance_among_the_files_of_a_log(tmp_path: Path) -> None:
    """Charge to 200 s, a wait that recorded nothing, impedance to 400 s at constant potential."""
    charging = [[t, 3.0 + 1e-3 * t, 1.0] for t in ramp(0, 200)]
    sweep = [[10 ** (4 - k / 5), 5.0, 1.0, t, 3.2] for k, t in enumerate(ramp(210, 400))]
    impedance = "Potentio Electrochemical Impedance Spectroscopy"
    paths = write(
        tmp_path,
        charge_mpt=text(["time/s", "Ewe/V", "<I>/mA"], charging),
        wait_mpt=text(["time/s", "Ewe/V", "<I>/mA"], [], technique="Wait"),
        peis_mpt=text(
            ["freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "time/s", "<Ewe>/V"], sweep, technique=impedance
        ),
    )
    raw = operando.read(paths, tz=ZONE, clock_sigma_s=0.0)
    assert raw.sizes["time"] == 21 + 20
    assert [
        "holds no row" in problem["reason"] for problem in json.loads(raw.attrs["problems"])
    ] == [True]
    aligned = align(frames_of([95.0, 290.0], [105.0, 310.0]), prepare(raw))
    assert aligned["voltage"].values == pytest.approx([3.1, 3.2], abs=1e-12)
    assert aligned["current"].values == pytest.approx([1e-3, np.nan], rel=1e-12, nan_ok=True)
    assert aligned["coverage"].values.tolist() == [1.0, 1.0]
    assert not {"outside", "partial", "in_gap"} & flags(aligned, 1)


def test_case_26_impedance_between_two_charges_makes_the_charge_uncertain(tmp_path: Path) -> None:
    """What passed during the sweep is unknown, and no current is drawn across it."""
    names = ["time/s", "Ewe/V", "<I>/mA"]
    paths = write(
        tmp_path,
        a_mpt=text(names, [[t, 3.0 + 1e-3 * t, 1.0] for t in ramp(0, 200)]),
        b_mpt=text(
            ["freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "time/s", "<Ewe>/V"],
            [[1e3, 5.0, 1.0, t, 3.2] for t in ramp(210, 400)],
        ),
        c_mpt=text(names, [[t, 2.8 + 1e-3 * t, 1.0] for t in ramp(410, 600)]),
    )
    log = prepare(operando.read(paths, format="biologic_mpt", tz=ZONE, clock_sigma_s=0.0))
    aligned = align(frames_of([290.0, 495.0], [310.0, 505.0]), log)
    assert np.isnan(aligned["current"].values[0])
    assert aligned["current"].values[1] == pytest.approx(1e-3)
    assert aligned["voltage"].values == pytest.approx([3.2, 3.3], abs=1e-12)
    assert "charge_uncertain" in flags(aligned, 1)


def test_case_27_without_log_module_the_mpl_gives_the_start(tmp_path: Path) -> None:
    rows = [(t, 3.0 + 2.0**-10 * t) for t in ramp(0, 200)]
    (path,) = write(tmp_path, running_mpr=binary(rows, days=None))
    (tmp_path / "running.mpl").write_text(
        f"EC-Lab LOG FILE\n\nOpen Circuit Voltage\n\nAcquisition started on : {LOCAL}\n"
    )
    aligned = align(frames_of([96.0], [104.0]), prepare(operando.read(path, tz=ZONE)))
    assert aligned["voltage"].values == pytest.approx([3.0 + 100 / 1024], abs=1e-6)
    assert "outside" not in flags(aligned)


def test_case_27_without_either_the_start_is_demanded(tmp_path: Path) -> None:
    """Declared, it places the rows, and the alignment says that nothing verifies it."""
    rows = [(t, 3.0 + 2.0**-10 * t) for t in ramp(0, 200)]
    (path,) = write(tmp_path, running_mpr=binary(rows, days=None))
    with pytest.raises(ClockError, match=r"running\.mpr: no start time .*declare first"):
        operando.read(path, tz=ZONE)
    log = operando.read(path, tz=ZONE, first="2022-07-26T22:38:30.190")
    assert json.loads(log.attrs["clock"])["source"] == "declared"
    aligned = align(frames_of([96.0], [104.0]), prepare(log))
    assert aligned["voltage"].values == pytest.approx([3.0 + 100 / 1024], abs=1e-6)
    assert flags(aligned) == {"clock_unverified"}
    sure = operando.read(path, tz=ZONE, first="2022-07-26T22:38:30.190", clock_sigma_s=1.0)
    assert "clock_unverified" not in flags(align(frames_of([96.0], [104.0]), prepare(sure)))


@pytest.mark.parametrize("suffix", ["mpr", "mpt"])
def test_case_27_unix_time_in_a_name_is_a_hint_and_no_clock(tmp_path: Path, suffix: str) -> None:
    """1753280829 is 2025-07-23 14:27:09 UTC, and 1234567890123 no number of ten digits."""
    rows = [(0.0, 3.0), (10.0, 3.0)]
    content = (
        binary(rows, days=None) if suffix == "mpr" else text(["time/s", "Ewe/V"], rows, start=None)
    )
    path = tmp_path / f"cell_001__1753280829_C01.{suffix}"
    path.write_bytes(content)
    reader = formats()[f"biologic_{suffix}"]
    raw = reader.read(File(path))
    assert raw.attrs["clock"]["start"] is None
    assert raw.attrs["clock_hint"].startswith(
        "1753280829 in its name may be unix time, 2025-07-23T14:27:09"
    )
    with pytest.raises(ClockError, match="declare first"):
        operando.read(str(path), tz=ZONE)
    other = path.rename(tmp_path / f"cell_1234567890123.{suffix}")
    assert "clock_hint" not in reader.read(File(other)).attrs


def test_case_33_decimal_commas_and_latin_1_headers(tmp_path: Path) -> None:
    """A French computer's file is aligned as an English one's: to the last bit."""
    rows = [[t, 3.0 + 1e-3 * t, 0.25] for t in ramp(0, 200)]
    notes = (
        "Electrode surface area : 1,000 cm\u00b2",
        "unit Is             \u00b5A",
        "Comments : \u00e9lectrolyte",
    )
    names = ["time/s", "Ewe/V", "<I>/\u00b5A"]
    aligned = []
    for comma in (False, True):
        folder = tmp_path / str(comma)
        folder.mkdir()
        (path,) = write(folder, cell_mpt=text(names, rows, comma=comma, notes=notes))
        log = operando.read(path, tz=ZONE, clock_sigma_s=0.0)
        assert "cm\u00b2" in json.loads(log.attrs["original_metadata"])[0]["header"]
        aligned.append(align(frames_of([15.0, 95.0], [25.0, 105.0]), prepare(log)))
    assert aligned[1]["voltage"].values == pytest.approx([3.02, 3.1], abs=1e-12)
    assert aligned[1]["current"].values == pytest.approx([0.25e-6] * 2, rel=1e-12)
    for name in ("voltage", "current", "net_capacity", "alignment_flag"):
        assert (aligned[0][name].values == aligned[1][name].values).all(), name


def test_case_33_a_file_with_both_marks_is_refused(tmp_path: Path) -> None:
    rows = [[t, 3.0 + 1e-3 * t] for t in ramp(0, 20)]
    content = text(["time/s", "Ewe/V"], rows, comma=True).replace(b"3,010", b"3.010")
    (path,) = write(tmp_path, cell_mpt=content)
    with pytest.raises(ReadError, match="commas and points"):
        operando.read(path, tz=ZONE)


def test_case_09_looped_techniques_in_binary_files(tmp_path: Path) -> None:
    """Three linked techniques, four loops of 200 s: every file pauses for most of each loop.

    `time/s` counts from the start of the sequence in every file, and the first row is not zero.
    """
    contents = {}
    for name, first in (("a_mpr", 1.0), ("b_mpr", 11.0), ("c_mpr", 110.0)):
        time = [200.0 * loop + first + row for loop in range(4) for row in range(10)]
        rows = [(t, 3.0 + 2.0**-12 * t) for t in time]
        contents[name] = binary(rows, loops=(0, 10, 20, 30))
    log = prepare(operando.read(write(tmp_path, **contents), tz=ZONE, clock_sigma_s=0.0))
    moment = (log["time"].values - ZERO).astype(float) / 1e9
    assert (np.diff(moment) > 0).all()
    assert moment[[0, -1]].tolist() == [1.0, 719.0]
    assert int(log["run"].max()) + 1 == 12
    aligned = align(frames_of([30.0, 12.0, 19.5], [100.0, 19.0, 20.5]), log)
    assert flags(aligned, 0) == {"outside", "in_gap"}
    assert aligned["voltage"].values[1] == pytest.approx(3.0 + 15.5 / 4096, abs=1e-6)
    assert aligned["coverage"].values[2] == pytest.approx(0.5)
