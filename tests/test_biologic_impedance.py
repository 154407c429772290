"""Impedance in EC-Lab files: sweeps, signs, both formats, damage, real cells."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import operando
from operando.reading import formats
from operando.simulate import eclab
from operando_readers._mpr_columns import COLUMNS
from operando_readers._reader import File, FormatError, FormatWarning
from operando_readers.biologic_impedance import READER

Array = npt.NDArray[np.float64]

PEIS, BATTERY = 0x1D, 0x7F
FREQUENCY = np.logspace(4, -1, 16)
START = "11/10/2025 15:22:09.494"
NAMES = ["freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm", "time/s", "<Ewe>/V", "cycle number"]


def arc(resistance: float) -> npt.NDArray[np.complex128]:
    """Two ohm, then a resistance with a time constant of 10 ms beside it."""
    return np.asarray(2 + resistance / (1 + 2j * np.pi * FREQUENCY * 1e-2))


def simulated(*, comma: bool = False) -> bytes:
    """Three sweeps of a growing arc, an hour apart, each point done a second after the last."""
    return eclab.impedance_text(
        FREQUENCY,
        np.array([arc(10.0), arc(20.0), arc(30.0)]),
        time=np.add.outer([100.0, 3700.0, 7300.0], np.arange(16.0)),
        voltage=np.array([3.7, 3.6, 3.5]),
        name="cell",
        start=START,
        comma=comma,
    )


def text(
    names: Sequence[str], rows: Sequence[Sequence[float]], *settings: str, technique: str = "PEIS"
) -> str:
    """Return a small EC-Lab text."""
    body = ["", technique, "", f"Acquisition started on : {START}", *settings, ""]
    lines = ["EC-Lab ASCII FILE", f"Nb header lines : {len(body) + 3}", *body, "\t".join(names)]
    return "\n".join([*lines, *("\t".join(f"{x:.9E}" for x in row) for row in rows)]) + "\n"


def binary(ids: Sequence[int], rows: Sequence[Sequence[float]], *, technique: int = PEIS) -> bytes:
    """Return a file as EC-Lab 11.50 and newer write it, without the log of its end."""

    def module(name: str, content: bytes) -> bytes:
        head = b"MODULE" + name.ljust(10).encode() + name.ljust(25).encode()
        return head + struct.pack("<IIII", 0xFFFFFFFF, len(content), 0, 10) + b"11/10/25" + content

    kinds = "<" + "".join({"f4": "f", "f8": "d", "u2": "H"}[COLUMNS[at][1][1:]] for at in ids)
    head = struct.pack(f"<IH{len(ids)}H", len(rows), len(ids), *ids).ljust(1007, b"\0")
    packed = [
        struct.pack(
            kinds, *(int(x) if k == "H" else x for x, k in zip(row, kinds[1:], strict=True))
        )
        for row in rows
    ]
    whole = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + b"\0\0\0\0"
    whole += module("VMP Set", bytes([technique]) + bytes(300))
    return whole + module("VMP data", head + b"".join(packed))


def read(folder: Path, content: str | bytes, name: str = "a.mpt", **options: Any) -> xr.Dataset:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    return READER.read(File(path), **options)


@pytest.mark.parametrize("comma", [False, True])
def test_round_trip(tmp_path: Path, comma: bool) -> None:
    """What is simulated comes back to the eight digits of the export, a row for each sweep."""
    sweeps = read(tmp_path, simulated(comma=comma))
    assert dict(sweeps.sizes) == {"frequency": 16, "time": 3}
    assert sweeps["frequency"].values == pytest.approx(FREQUENCY[::-1], rel=1e-7)
    for row, resistance in enumerate((10.0, 20.0, 30.0)):
        found = sweeps["impedance"].values[row]
        assert np.abs(found / arc(resistance)[::-1] - 1).max() < 2e-7
    assert sweeps["impedance"].attrs["units"] == "ohm"
    assert (sweeps["impedance"].values.imag < 0).all()
    assert sweeps["potential"].values[:, 3] == pytest.approx([3.7, 3.6, 3.5], rel=1e-7)
    assert sweeps["elapsed"].values.tolist() == [100.0, 3700.0, 7300.0]
    assert sweeps["exposure"].values.tolist() == [15.0] * 3
    assert sweeps["point_time"].values[1].tolist() == list(range(15, -1, -1))
    assert sweeps.attrs["clock"]["start"] == "2025-11-10T15:22:09.494"
    assert sweeps.attrs["clock"]["marks"] == "start"
    assert sweeps.attrs["technique"] == "impedance"


def test_phase_and_modulus_where_there_are_no_parts(tmp_path: Path) -> None:
    """Modulo Bat stores these two; a capacitive phase is negative."""
    rows = [[100.0, 2.0, -90.0, 0.0], [10.0, 2.0, -60.0, 1.0]]
    sweeps = read(tmp_path, text(["freq/Hz", "|Z|/Ohm", "Phase(Z)/deg", "time/s"], rows))
    expected = [1 - 1j * np.sqrt(3), -2j]
    assert np.abs(sweeps["impedance"].values[0] - expected).max() < 1e-12
    assert "potential" not in sweeps


def test_parts_are_preferred_to_the_phase(tmp_path: Path) -> None:
    names = ["freq/Hz", "|Z|/Ohm", "Phase(Z)/deg", "Re(Z)/Ohm", "-Im(Z)/Ohm"]
    sweeps = read(tmp_path, text(names, [[10.0, 7.0, 10.0, 3.0, 4.0]]))
    assert sweeps["impedance"].values.tolist() == [[3 - 4j]]


def test_without_time_the_sweeps_have_none(tmp_path: Path) -> None:
    rows = [[100.0, 1.0, 1.0], [10.0, 2.0, 2.0], [100.0, 3.0, 1.0], [10.0, 4.0, 2.0]]
    sweeps = read(tmp_path, text(NAMES[:3], rows))
    assert sweeps["impedance"].values.tolist() == [[2 - 2j, 1 - 1j], [4 - 2j, 3 - 1j]]
    assert "elapsed" not in sweeps.coords


def test_rows_without_frequency_are_no_points(tmp_path: Path) -> None:
    """The potential is held, or the cell cycled, between the sweeps."""
    rows = [
        [0.0, 0.0, 0.0, 0.0, 3.9, 1],
        [100.0, 1.0, 1.0, 10.0, 3.7, 1],
        [10.0, 2.0, 2.0, 20.0, 3.7, 1],
        [0.0, 0.0, 0.0, 30.0, 3.9, 2],
        [100.0, 3.0, 1.0, 40.0, 3.6, 2],
        [10.0, 4.0, 2.0, 50.0, 3.6, 2],
    ]
    sweeps = read(tmp_path, text(NAMES, rows))
    assert sweeps["elapsed"].values.tolist() == [10.0, 40.0]
    assert sweeps["potential"].values.tolist() == [[3.7, 3.7], [3.6, 3.6]]


@pytest.mark.parametrize("by", ["cycle number", "z cycle", "Ns", "loop", "frequency"])
def test_where_a_sweep_begins(tmp_path: Path, by: str) -> None:
    """The second has the same two frequencies, or where something counts only the lower one."""
    counted = by != "frequency"
    rows = [[100.0, 1.0, 1.0, 0.0], [10.0, 2.0, 2.0, 1.0], [1.0, 3.0, 1.0, 2.0]]
    if not counted:
        rows[2][0] = 100.0
    names = NAMES[:4]
    if counted and by != "loop":
        names = [*names, by]
        rows = [[*row, float(at == 2)] for at, row in enumerate(rows)]
    loops = [f"Loop {k} from point number {n} to {n}" for k, n in ((0, 0), (1, 2))]
    sweeps = read(tmp_path, text(names, rows, *(loops if by == "loop" else [])))
    assert sweeps["elapsed"].values.tolist() == [0.0, 2.0]
    assert np.isfinite(sweeps["impedance"].values).sum() == 3


def test_binary_and_text_agree(tmp_path: Path) -> None:
    ids = [32, 37, 38, 4, 77, 24]
    rows = [
        [float(np.float32(f)), 2.5 + k, 1.25, 100.0 * sweep + k, 3.5, sweep + 1.0]
        for sweep in range(2)
        for k, f in enumerate((1000.0, 31.5, 1.0))
    ]
    (tmp_path / "a.mpl").write_text(f"EC-Lab LOG FILE\n\nAcquisition started on : {START}\n")
    ours = read(tmp_path, binary(ids, rows), "a.mpr")
    assert ours["impedance"].values[1].tolist() == [4.5 - 1.25j, 3.5 - 1.25j, 2.5 - 1.25j]
    assert ours.attrs["clock"]["source"] == "sidecar"
    assert "Impedance" in ours.attrs["original_metadata"]["technique"]
    theirs = read(tmp_path, text(NAMES, rows))
    xr.testing.assert_equal(ours, theirs)


def test_modulo_bat_with_steps_of_impedance(tmp_path: Path) -> None:
    ids = [131, 4, 6, 8, 32, 36, 35]
    rows = [
        [0, 0.0, 3.5, 1.0, 0.0, 0.0, 0.0],
        [1, 10.0, 3.5, 0.0, 100.0, 2.0, -90.0],
        [1, 11.0, 3.5, 0.0, 10.0, 2.0, 0.0],
        [2, 20.0, 3.5, 1.0, 0.0, 0.0, 0.0],
    ]
    content = binary(ids, rows, technique=BATTERY)
    assert READER.sniff(content, "a.mpr")
    sweeps = read(tmp_path, content, "a.mpr")
    assert np.abs(sweeps["impedance"].values - [[2, -2j]]).max() < 1e-12
    assert sweeps["potential"].values.tolist() == [[3.5, 3.5]]
    log = formats()["biologic_mpr"].read(File(tmp_path / "a.mpr"))
    assert log["step_instrument"].values.tolist() == [0, 1, 1, 2]


def test_missing_points_are_not_a_number(tmp_path: Path) -> None:
    content = text(NAMES, [[100.0, 1.0, 1.0, 0.0, 3.0, 1], [10.0, 2.0, 2.0, 1.0, 3.0, 1]])
    sweeps = read(tmp_path, content.replace("\t2.000000000E+00\t2", "\tXXX\t2"))
    found = sweeps["impedance"].values[0]
    assert np.isnan(found.real).tolist() == np.isnan(found.imag).tolist() == [True, False]


def test_sniff() -> None:
    assert READER.sniff(simulated(), "a.mpt")
    assert READER.sniff(b"\xef\xbb\xbf" + simulated(), "a.txt")
    assert READER.sniff(binary([32, 37, 38, 4], []), "a.mpr")
    assert not READER.sniff(text(["time/s", "Ewe/V"], [[0.0, 1.0]]).encode(), "a.mpt")
    assert not READER.sniff(binary([4, 6, 32], []), "a.mpr")
    assert not READER.sniff(binary([32, 37, 38, 4], [])[:80], "a.mpr")
    assert not READER.sniff(b"EC-Lab ASCII FILE\nNb header lines : 0\n", "a.mpt")
    assert not READER.sniff(b"", "a.mpt")


def test_a_file_of_impedance_is_a_log_as_well(tmp_path: Path) -> None:
    read(tmp_path, simulated())
    log = formats()["biologic_mpt"].read(File(tmp_path / "a.mpt"))
    assert log.sizes["time"] == 48
    assert formats()["biologic_mpt"].sniff(simulated(), "a.mpt")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (text(["time/s", "Ewe/V"], [[0.0, 1.0]]), "a.mpt", "line 8: .*'freq/Hz', 'Re"),
        (text(NAMES[:3], []), "a.mpt", "none of 0 rows"),
        (text(NAMES[:3], [[0.0, 1.0, 1.0]]), "a.mpt", "none of 1 rows has a frequency"),
        (binary([4, 6], [[0.0, 3.0]]), "a.mpr", "'freq/Hz', 'Re"),
        (b"\0" * 200, "a.mpr", "first line"),
    ],
)
def test_files_of_another_kind(
    tmp_path: Path, content: str | bytes, name: str, message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, content, name)


@pytest.mark.parametrize("cut", range(60, 2400, 97))
def test_cut_anywhere(tmp_path: Path, cut: int) -> None:
    """A cut file is refused, or holds the first points of the whole one."""
    rows = [[f, 1.0 + k, 2.0, k, 3.0, 1.0] for k, f in enumerate(FREQUENCY)]
    content = binary([32, 37, 38, 4, 77, 24], rows)
    whole = read(tmp_path, content, "a.mpr")
    try:
        part = read(tmp_path, content[:-cut], "a.mpr")
    except FormatError:
        return
    assert "truncated" in part.attrs
    count = part.sizes["frequency"]
    expected = whole["impedance"].values[0, -count:]
    assert (part["impedance"].values[0] == expected).all()


@settings(max_examples=150, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, 1900), st.integers(0, 255)), min_size=1, max_size=8),
    which=st.sampled_from(["a.mpr", "a.mpt"]),
)
def test_damaged_bytes_never_crash(
    places: list[tuple[int, int]], which: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [[f, 1.0 + k, 2.0, k, 3.0, 1.0] for k, f in enumerate(FREQUENCY)]
    whole = binary([32, 37, 38, 4, 77, 24], rows) if which == "a.mpr" else simulated()
    content = bytearray(whole)
    for at, value in places:
        content[at % len(content)] = value
    folder = tmp_path_factory.mktemp("damaged")
    assert READER.sniff(bytes(content), which) in (True, False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FormatWarning)
            sweeps = read(folder, bytes(content), which)
    except FormatError:
        return
    assert sweeps["impedance"].dims == ("time", "frequency")
    assert (np.diff(sweeps["frequency"].values) > 0).all()


@pytest.mark.shared_data
def test_cell_over_seventy_one_days(shared_data: Path) -> None:
    """Four sweeps of 61 points from 10 kHz to 10 mHz; its start is only in the .mpl beside it.

    Every point against the columns of the log reader's table, which galvani confirms elsewhere.
    """
    sweeps = READER.read(File(shared_data / "formats/echem/biologic/PEIS.mpr"))
    assert dict(sweeps.sizes) == {"frequency": 61, "time": 4}
    assert np.isfinite(sweeps["impedance"].values).all()
    assert np.ptp(sweeps["elapsed"].values) / 86400 == pytest.approx(70.9, abs=0.05)
    assert sweeps["exposure"].values == pytest.approx([2548.0, 2468.8, 2468.6, 2468.5], abs=0.1)
    assert sweeps["frequency"].values[[0, -1]] == pytest.approx([1e-2, 1e4], rel=1e-3)
    real = sweeps["impedance"].values.real
    assert (np.diff(real, axis=0) > 0).all()
    assert (sweeps["impedance"].values.imag < 0).all()
    assert sweeps.attrs["clock"]["source"] == "sidecar"


@pytest.mark.shared_data
def test_real_export(shared_data: Path) -> None:
    """Modulus and phase of EC-Lab's own export say the same as the parts we read."""
    path = shared_data / "formats/echem/biologic/exampleDataBioLogic.mpt"
    sweeps = READER.read(File(path))
    lines = path.read_text("latin-1").splitlines()[60:]
    names = lines[0].split("\t")
    rows = np.array([line.split("\t") for line in lines[1:]], float)[::-1]
    modulus = rows[:, names.index("|Z|/Ohm")]
    phase = rows[:, names.index("Phase(Z)/deg")]
    found = sweeps["impedance"].values[0]
    assert np.abs(found) == pytest.approx(modulus, rel=2e-7)
    assert np.degrees(np.angle(found)) == pytest.approx(phase, rel=1e-6, abs=1e-6)


def test_a_slow_point_is_no_gap_in_the_log(tmp_path: Path) -> None:
    """The longest point of a sweep is an interval of recording; hours between sweeps are not."""
    frequency = np.array([10.0, 1.0, 0.1] * 2)
    elapsed = np.array([1.0, 5.0, 300.0, 90_000.0, 90_004.0, 90_299.0])
    rows = "".join(
        f"{f}\t{10.0}\t{1.0}\t{t}\t{3.0}\n" for f, t in zip(frequency, elapsed, strict=True)
    )
    names = "freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm\ttime/s\t<Ewe>/V"
    header = "Acquisition started on : 01/30/2026 10:00:00"
    path = tmp_path / "a.mpt"
    path.write_text(f"EC-Lab ASCII FILE\nNb header lines : 6\n\nPEIS\n{header}\n{names}\n{rows}")
    log = operando.read(path, technique="electrochemistry", tz="UTC")
    assert log["record_interval"].values.tolist() == [295.0] * 6
    run = operando.prepare(log, sign="oxidation_positive")["run"]
    assert run.values.tolist() == [0, 0, 0, 1, 1, 1]
