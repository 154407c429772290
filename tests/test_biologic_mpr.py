"""EC-Lab binary files: layouts of every version, unknown columns, clocks, damage, real exports."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operando_readers import biologic_mpt
from operando_readers._reader import File, FormatError
from operando_readers.biologic_mpr import READER

GCPL, CV, OCV = 0x04, 0x06, 0x0B
IDS = [1, 2, 3, 21, 31, 65, 131, 4, 7, 13, 5, 6, 39, 467, 468]
KINDS = {131: "H", 4: "d", 7: "d", 13: "d", 5: "f", 6: "f", 8: "f", 11: "d", 39: "H", 467: "d"}
KINDS |= {468: "I", 178: "f", 9: "f", 19: "f", 24: "d"}
FLAGS = (1, 2, 3, 21, 31, 65)
START_DAYS = 44768.94340497685  # 2022-07-26 22:38:30.190


def row(values: dict[int, float], ids: list[int], kinds: dict[int, str]) -> bytes:
    """Pack one record: the flags byte where the first flag stands, then the columns."""
    packed, flagged = b"", False
    for identifier in ids:
        if identifier in FLAGS:
            packed += b"" if flagged else bytes([int(values.get(1, 0))])
            flagged = True
        else:
            kind = kinds[identifier]
            value = values.get(identifier, 0)
            packed += struct.pack(f"<{kind}", value if kind in "fd" else int(value))
    return packed


def module(name: str, content: bytes, *, extended: bool, version: int = 0) -> bytes:
    head = b"MODULE" + name.ljust(10).encode() + name.ljust(25).encode()
    if extended:
        head += struct.pack("<IIII", 0xFFFFFFFF, len(content), 0, version)
    else:
        head += struct.pack("<II", len(content), version)
    return head + b"07/26/22" + content


def data(ids: list[int], rows: list[bytes], *, version: int, extended: bool) -> bytes:
    if extended:
        head, begin = struct.pack(f"<IH{len(ids)}H", len(rows), len(ids), *ids), 1007
    elif version == 0:
        head, begin = struct.pack(f"<IB{len(ids)}B", len(rows), len(ids), *ids), 100
    else:
        head, begin = struct.pack(f"<IB{len(ids)}H", len(rows), len(ids), *ids), 403 + version
    return head.ljust(begin, b"\0") + b"".join(rows)


RECORDS = [
    {1: 3, 4: 100.0, 6: 3.25, 131: 0},
    {1: 1 + 4, 4: 110.0, 7: 1 / 3600, 13: 1 / 3600, 6: 3.5, 131: 1, 468: 0},
    {1: 1, 4: 112.0, 7: -1 / 3600, 13: 0.0, 6: 3.375, 131: 2, 468: 1},
    {1: 2 + 4, 4: 112.00005, 7: 1.0, 13: 1.0, 6: 3.375, 131: 2, 468: 1},
]


def build(
    *,
    ids: list[int] = IDS,
    kinds: dict[int, str] = KINDS,
    records: list[dict[int, float]] = RECORDS,
    version: int = 11,
    extended: bool = True,
    technique: int = GCPL,
    days: float | None = START_DAYS,
    starts_at: tuple[int, ...] = (585,),
    loops: tuple[int, ...] = (),
) -> bytes:
    """Return a whole file in the layout of the real ones."""
    rows = [row(record, ids, kinds) for record in records]
    whole = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + b"\0\0\0\0"
    whole += module("VMP Set", bytes([technique]) + bytes(300), extended=extended)
    block = data(ids, rows, version=version, extended=extended)
    whole += module("VMP data", block, extended=extended, version=version)
    if days is not None:
        log = bytearray(900)
        for at in starts_at:
            struct.pack_into("<d", log, at, days)
        whole += module("VMP LOG", bytes(log), extended=extended)
    if loops:
        block = struct.pack(f"<I{len(loops)}I", len(loops), *loops)
        whole += module("VMP loop", block, extended=extended)
    return whole


def read(folder: Path, content: bytes, name: str = "a.mpr") -> xr.Dataset:
    path = folder / name
    path.write_bytes(content)
    return READER.read(File(path))


@pytest.mark.parametrize(
    ("version", "extended", "ids"),
    [(0, False, [1, 2, 131, 4, 7, 13, 6]), (2, False, IDS), (3, False, IDS), (11, True, IDS)],
)
def test_layouts(tmp_path: Path, version: int, extended: bool, ids: list[int]) -> None:
    log = read(tmp_path, build(ids=ids, version=version, extended=extended))
    assert log["elapsed"].values.tolist() == [100.0, 110.0, 112.0, 112.00005]
    assert log["voltage"].values.tolist() == [3.25, 3.5, 3.375, 3.375]
    assert log["step_instrument"].values.tolist() == [0, 1, 2, 2]
    assert log["charge_counter"].values == pytest.approx([0, 1e-3 / 3600, 0, 1e-3], rel=1e-15)
    assert log["state_instrument"].values.tolist() == [0, 1, 2, 3]
    assert log.attrs["clock"]["start"] == "2022-07-26T22:38:30.190"
    assert log.attrs["clock"]["source"] == "header"


def test_current_is_rebuilt_from_the_charge_of_each_row(tmp_path: Path) -> None:
    """A row of 1 mA s in 10 s is 0.1 mA; 50 us are too short to say; the first row has none."""
    log = read(tmp_path, build())
    expected = [np.nan, 1e-4, -5e-4, np.nan]
    assert log["current"].values == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert log["current"].attrs == {"units": "A", "averaging": "backward"}


@pytest.mark.parametrize(("identifier", "averaging"), [(8, "instantaneous"), (11, "backward")])
def test_recorded_current(tmp_path: Path, identifier: int, averaging: str) -> None:
    log = read(
        tmp_path,
        build(ids=[*IDS, identifier], records=[{4: 1.0, 6: 3.0, identifier: 2.0, 1: 1}]),
    )
    assert log["current"].values.tolist() == [2e-3]
    assert log["current"].attrs["averaging"] == averaging


def test_one_unknown_column_is_stepped_over(tmp_path: Path) -> None:
    ids = [*IDS[:8], 9999, *IDS[8:]]
    expected = read(tmp_path, build())
    for kind in "BHId":
        log = read(tmp_path, build(ids=ids, kinds={**KINDS, 9999: kind}))
        xr.testing.assert_equal(log, expected)
        assert log.attrs["unknown_columns"] == "9999"


def test_unknown_columns_around_nothing_needed(tmp_path: Path) -> None:
    kinds = {**KINDS, 883: "d", 884: "d", 9999: "H"}
    for ids in ([*IDS, 883, 884], [9999, 883, *IDS], [*IDS[:-1], 883, 467, 884, 468]):
        log = read(tmp_path, build(ids=ids, kinds=kinds))
        assert log["voltage"].values.tolist() == [3.25, 3.5, 3.375, 3.375]
        assert log["half_cycle_instrument"].values.tolist() == [0, 0, 1, 1]


def test_time_between_unknown_columns_is_refused(tmp_path: Path) -> None:
    kinds = {**KINDS, 883: "d", 884: "H"}
    with pytest.raises(FormatError, match="883, 884"):
        read(tmp_path, build(ids=[883, *IDS, 884], kinds=kinds))


def test_unknown_column_of_odd_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="9999 would be 3 bytes"):
        read(tmp_path, build(ids=[*IDS, 9999], kinds={**KINDS, 9999: "Bxx"}))


def test_voltammetry(tmp_path: Path) -> None:
    records = [
        {1: 2, 4: float(at), 6: 3.0, 19: control, 8: 1.0}
        for at, control in enumerate([0.0, 0.5, 0.5, 0.25])
    ]
    log = read(tmp_path, build(ids=[1, 2, 4, 6, 19, 8], records=records, technique=CV))
    assert log["state_instrument"].values.tolist() == [5, 5, 5, 6]


def test_loops(tmp_path: Path) -> None:
    assert read(tmp_path, build(loops=(0, 2, 4)))["loop"].values.tolist() == [0, 0, 1, 1]
    assert "loop" not in read(tmp_path, build())


@pytest.mark.parametrize("starts_at", [(465,), (469,), (473,), (585,)])
def test_start_wherever_the_version_puts_it(tmp_path: Path, starts_at: tuple[int, ...]) -> None:
    log = read(tmp_path, build(starts_at=starts_at))
    assert log.attrs["clock"]["start"] == "2022-07-26T22:38:30.190"


def test_running_file_takes_its_start_from_the_log_beside_it(tmp_path: Path) -> None:
    running = build(days=None)
    log = read(tmp_path, running)
    assert log.attrs["clock"]["start"] is None
    assert log.attrs["clock"]["source"] == "none"
    (tmp_path / "a.mpl").write_text(
        "EC-Lab LOG FILE\n\nGalvanostatic Cycling with Potential Limitation\n\n"
        "Acquisition started on : 07/26/2022 22:38:30.190\ndt1 (s)    0.0000   30.0000\n"
    )
    log = read(tmp_path, running)
    assert log.attrs["clock"]["start"] == "2022-07-26T22:38:30.190"
    assert log.attrs["clock"]["source"] == "sidecar"
    assert log.attrs["max_record_interval_s"] == 30.0


def test_two_possible_starts_are_not_chosen_between(tmp_path: Path) -> None:
    log = read(tmp_path, build(starts_at=(465, 585)))
    assert log.attrs["clock"]["start"] is None


def test_log_of_another_technique_gives_no_interval(tmp_path: Path) -> None:
    (tmp_path / "a.mpl").write_text("EC-Lab LOG FILE\n\nWait\n\ndt1 (s)    30.0\n")
    assert "max_record_interval_s" not in read(tmp_path, build()).attrs


def test_technique_that_never_recorded(tmp_path: Path) -> None:
    log = read(tmp_path, build(records=[], ids=[*IDS, 9999], kinds={**KINDS, 9999: "H"}))
    assert log.sizes["time"] == 0


def test_cut_anywhere(tmp_path: Path) -> None:
    """Whatever is cut off, the rows that are left are the first rows of the file."""
    content = build()
    whole = read(tmp_path, content)
    counts = set()
    for cut in range(0, len(content), 7):
        try:
            part = read(tmp_path, content[:cut])
        except FormatError:
            continue
        rows = part.sizes["time"]
        counts.add(rows)
        assert ("truncated" in part.attrs) == (rows < 4)
        xr.testing.assert_equal(part[["voltage"]], whole[["voltage"]].isel(time=slice(rows)))
    assert counts == {0, 1, 2, 3, 4}


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    places=st.lists(
        st.tuples(st.integers(23, len(build()) - 1), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_damaged_bytes_never_crash(tmp_path: Path, places: list[tuple[int, int]]) -> None:
    content = bytearray(build())
    for at, value in places:
        content[at] = value
    try:
        log = read(tmp_path, bytes(content))
    except FormatError:
        return
    assert log["voltage"].dims == ("time",)


def test_contradictions_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="first bytes"):
        read(tmp_path, b"EC-Lab ASCII FILE\n")
    with pytest.raises(FormatError, match="version 7"):
        read(tmp_path, build(version=7, extended=False))
    with pytest.raises(FormatError, match="no data module"):
        read(tmp_path, build()[:52])
    with pytest.raises(FormatError, match="potential"):
        read(tmp_path, build(ids=[1, 4], records=[{4: 0.0}]))
    with pytest.raises(FormatError, match="no time"):
        read(tmp_path, build(ids=[1, 6], records=[{6: 3.0}]))


def test_sniff() -> None:
    assert READER.sniff(build(), "a.mpr")
    assert not READER.sniff(b"EC-Lab ASCII FILE", "a.mpt")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("binary", "export", "elapsed_s"),
    [
        ("xrd_zn_mno2_mspd/Echem/ZMO_D_C03.mpr", "ZMO_D_C03.mpt", 1e-9),
        ("xrd_zn_mno2_mspd/Echem/ZMO_D_C03.mpr", "ZMO_D_C03.txt", 1e-4),
        ("xrd_zn_mno2_mspd/Echem/ZMO_D2_C03.mpr", "ZMO_D2_C03.txt", 1e-4),
        ("xas_mn_zn_claess/Echem/Cell C/CellC_01_01_OCV_C04.mpr", "CellC_01_01_OCV_C04.mpt", 1e-4),
    ],
)
def test_agrees_with_the_export_of_ec_lab(
    shared_data: Path, binary: str, export: str, elapsed_s: float
) -> None:
    """Every row, against EC-Lab's own text; the current to rounding although it is rebuilt."""
    path = shared_data / "operando" / binary
    ours = READER.read(File(path))
    theirs = biologic_mpt.READER.read(File(path.with_name(export)))
    assert ours.attrs["clock"]["start"] == theirs.attrs["clock"]["start"]
    assert ours["elapsed"].values == pytest.approx(theirs["elapsed"].values, abs=elapsed_s)
    assert ours["voltage"].values == pytest.approx(theirs["voltage"].values, rel=1e-6)
    for name in set(ours.data_vars) & set(theirs.data_vars) - {"voltage"}:
        wanted = theirs[name].values[1:]
        assert ours[name].values[1:] == pytest.approx(wanted, rel=1e-7, abs=1e-10), name
    if "current" in theirs:
        difference = np.abs(ours["current"].values - theirs["current"].values)[1:]
        assert difference.max() < 1e-15 * np.abs(theirs["current"].values).max()
        assert np.isnan(ours["current"].values[0])
