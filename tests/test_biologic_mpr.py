"""EC-Lab binary files: layouts of every version, unknown columns, clocks, damage, real exports."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operando_readers import _mpr, _mpt, biologic_mpt
from operando_readers._mpr_columns import COLUMNS, FLAGS, PRESUMED
from operando_readers._reader import File, FormatError, FormatWarning
from operando_readers.biologic_mpr import READER

GCPL, CV, OCV = 0x04, 0x06, 0x0B
IDS = [1, 2, 3, 21, 31, 65, 131, 4, 7, 13, 5, 6, 39, 467, 468]
KINDS = {131: "H", 4: "d", 7: "d", 13: "d", 5: "f", 6: "f", 8: "f", 11: "d", 39: "H", 467: "d"}
KINDS |= {468: "I", 178: "f", 9: "f", 19: "f", 24: "d", 16: "f", 17: "f", 462: "f"}
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
    settings: bytes = bytes(300),
) -> bytes:
    """Return a whole file in the layout of the real ones."""
    rows = [row(record, ids, kinds) for record in records]
    whole = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + b"\0\0\0\0"
    settings = bytes([technique]) + settings[1:]
    whole += module("VMP Set", settings, extended=extended)
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


@pytest.mark.parametrize("kind", ["B", "H", "I", "d"])
def test_one_unknown_column_is_kept_and_shifts_no_other(tmp_path: Path, kind: str) -> None:
    """As wide as what the known ones leave over; 65, 66 ... are written into it."""
    ids = [*IDS[:8], 9999, *IDS[8:]]
    records = [{**record, 9999: 65.0 + at} for at, record in enumerate(RECORDS)]
    with pytest.warns(FormatWarning, match=r"a\.mpr: columns 9999 are not known") as caught:
        log = read(tmp_path, build(ids=ids, kinds={**KINDS, 9999: kind}, records=records))
    assert caught[0].filename == __file__
    raw = log["raw_9999"]
    assert raw.dims == ("time", "raw_9999_byte")
    assert raw.attrs["units"] == "1"
    assert raw.dtype == np.uint8
    packed = b"".join(struct.pack(f"<{kind}", 65 + at) for at in range(4))
    assert raw.values.tobytes() == packed
    assert log.attrs["unknown_columns"] == "9999"
    xr.testing.assert_equal(log.drop_vars("raw_9999"), read(tmp_path, build()))


def test_unknown_columns_of_which_only_one_choice_adds_up(tmp_path: Path) -> None:
    """Two that share 16 bytes have 8 each, so what stands between them has its place."""
    kinds = {**KINDS, 9998: "d", 9999: "d"}
    with pytest.warns(FormatWarning, match="9998, 9999"):
        log = read(tmp_path, build(ids=[9998, *IDS, 9999], kinds=kinds))
    assert log["raw_9998"].shape == log["raw_9999"].shape == (4, 8)
    expected = read(tmp_path, build())
    xr.testing.assert_equal(log.drop_vars(["raw_9998", "raw_9999"]), expected)


def test_unknown_columns_that_cannot_be_told_apart(tmp_path: Path) -> None:
    kinds = {**KINDS, 9997: "d", 9998: "I", 9999: "H"}
    for ids, name, width in (
        ([*IDS, 9997, 9998], "raw_9997_to_9998", 12),
        ([9998, 9997, *IDS], "raw_9998_to_9997", 12),
        ([*IDS[:-1], 9997, 467, 9999, 468], "raw_9997_to_9999", 18),
    ):
        with pytest.warns(FormatWarning, match="9997"):
            log = read(tmp_path, build(ids=ids, kinds=kinds))
        assert log[name].shape == (4, width)
        assert log["voltage"].values.tolist() == [3.25, 3.5, 3.375, 3.375]
        assert log["half_cycle_instrument"].values.tolist() == [0, 0, 1, 1]


def test_time_between_unknown_columns_is_refused(tmp_path: Path) -> None:
    kinds = {**KINDS, 9998: "d", 9999: "H"}
    with pytest.raises(FormatError, match=r"'time/s'.*unknown are ids 9998.*9999"):
        read(tmp_path, build(ids=[9998, *IDS, 9999], kinds=kinds))


def test_unknown_column_of_odd_width_is_refused(tmp_path: Path) -> None:
    """Then a column we think we know is wider than we think, and others would be shifted."""
    with pytest.raises(FormatError, match=r"3 for the unknown \[9999\]"):
        read(tmp_path, build(ids=[*IDS, 9999], kinds={**KINDS, 9999: "Bxx"}))
    with pytest.raises(FormatError, match=r"rows of 53 bytes do not hold"):
        read(tmp_path, build(kinds={**KINDS, 6: "d"}))


def test_presumed_column_counts_only_where_it_fills_the_row(tmp_path: Path) -> None:
    """The third analog input is named by one source: four bytes as the others, or unknown."""
    records = [{**record, 18: 2.5} for record in RECORDS]
    log = read(tmp_path, build(ids=[*IDS, 18], kinds={**KINDS, 18: "f"}, records=records))
    assert log["analog_in_3"].values.tolist() == [2.5] * 4
    with pytest.warns(FormatWarning, match="columns 18 "):
        log = read(tmp_path, build(ids=[*IDS, 18], kinds={**KINDS, 18: "d"}, records=records))
    assert log["raw_18"].shape == (4, 8)
    assert "analog_in_3" not in log


def test_ids_are_known_once() -> None:
    assert not set(COLUMNS) & set(PRESUMED)
    assert not set(COLUMNS) & set(FLAGS)
    for wanted, name in {
        37: "Re(Z)/Ohm",
        242: "|E2|/V",
        361: "-Im(Z1)/Ohm",
        475: "THD Ece/%",
        486: "|Ewe h2|/V",
        497: "|I h7|/A",
        503: "|Ece h7|/V",
    }.items():
        assert COLUMNS[wanted] == (name, "<f4")


def test_ids_in_one_byte_lack_their_high_one(tmp_path: Path) -> None:
    """Layout 0 writes 434, the charge in coulomb, and 468, the half cycle, as 178 and 212."""
    kinds = {**KINDS, 212: "I"}
    records = [{1: 1, 4: 1.0, 6: 3.0, 178: 7.2, 212: 5}]
    log = read(
        tmp_path,
        build(ids=[1, 4, 6, 178, 212], kinds=kinds, records=records, version=0, extended=False),
    )
    assert log["charge_counter"].values == pytest.approx([7.2 / 3600], rel=1e-7)
    assert log["half_cycle_instrument"].values.tolist() == [5]


def test_signals_of_the_beamline(tmp_path: Path) -> None:
    records = [{4: float(at), 6: 3.0, 16: 5.0 * at, 17: -0.5, 462: 25.25} for at in range(2)]
    log = read(tmp_path, build(ids=[4, 6, 16, 17, 462], records=records))
    assert log["analog_in_1"].values.tolist() == [0.0, 5.0]
    assert log["analog_in_2"].values.tolist() == [-0.5, -0.5]
    assert log["temperature"].values.tolist() == [25.25, 25.25]
    units = [log[name].attrs["units"] for name in ("analog_in_1", "analog_in_2", "temperature")]
    assert units == ["V", "V", "degree_Celsius"]


def test_flags(tmp_path: Path) -> None:
    """Bits: mode 3, ox/red 4, error 8, control changes 16, Ns changes 32, counter inc. 128."""
    path = tmp_path / "a.mpr"
    records = [{1: 2 + 8 + 32, 4: 0.0, 6: 3.0}, {1: 1 + 4 + 16 + 128, 4: 1.0, 6: 3.0}]
    path.write_bytes(build(ids=[1, 2, 3, 21, 31, 65, 4, 6], records=records))
    columns = _mpr.recording(File(path), lacks=lambda names: "", date_order=None).columns
    found = {name: columns[name].tolist() for name, _ in FLAGS.values()}
    assert found == {
        "mode": [2, 1],
        "ox/red": [0, 1],
        "error": [1, 0],
        "control changes": [0, 1],
        "Ns changes": [1, 0],
        "counter inc.": [0, 1],
    }
    assert READER.read(File(path))["error_instrument"].values.tolist() == [1, 0]
    assert "error_instrument" not in read(tmp_path, build())


def program(technique: int, content: dict[int, tuple[str, object]], length: int = 7000) -> bytes:
    """Return a settings module that holds values at places."""
    settings = bytearray(length)
    settings[0] = technique
    for at, (kind, value) in content.items():
        if kind == "text":
            text = str(value).encode("latin-1")
            settings[at : at + 1 + len(text)] = bytes([len(text)]) + text
        else:
            struct.pack_into(f"<{kind}", settings, at, value)
    return bytes(settings)


def test_settings(tmp_path: Path) -> None:
    """Cell facts are kept beside the bytes, and the recording intervals are understood."""
    content: dict[int, tuple[str, object]] = {
        0x007: ("text", "25\u00b0C\r\ncoin cell"),
        0x107: ("f", 9.325),
        0x11E: ("text", "NMC811 || graphite"),
        0x211: ("f", 1.539),
        0x25C: ("f", 1.772),
        0x260: ("B", 1),
        0x1847: ("H", 2),
        0x1849: ("H", 33),
        0x184B + 28: ("f", 20.0),
        0x184B + 108 + 92: ("f", 120.0),
    }
    settings = program(GCPL, content)
    log = read(tmp_path, build(settings=settings))
    metadata = log.attrs["original_metadata"]
    assert metadata["comments"] == "25\u00b0C\ncoin cell"
    assert metadata["electrode_material"] == "NMC811 || graphite"
    assert metadata["active_material_mass_mg"] == 9.325
    assert metadata["electrode_area_cm2"] == 1.539
    assert (metadata["battery_capacity"], metadata["battery_capacity_unit"]) == (1.772, "mA.h")
    assert "electrolyte" not in metadata
    assert bytes.fromhex(metadata["settings"]) == settings
    assert log.attrs["max_record_interval_s"] == 120.0
    cut = program(GCPL, {key: value for key, value in content.items() if key < 0x1900}, 0x1900)
    assert "max_record_interval_s" not in read(tmp_path, build(settings=cut)).attrs


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FormatWarning)
            log = read(tmp_path, bytes(content))
    except FormatError:
        return
    assert log["voltage"].dims == ("time",)
    assert {log.sizes["time"]} == {variable.shape[0] for variable in log.data_vars.values()}


def test_contradictions_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="first bytes"):
        read(tmp_path, b"EC-Lab ASCII FILE\n")
    with pytest.raises(FormatError, match="version 7"):
        read(tmp_path, build(version=7, extended=False))
    with pytest.raises(FormatError, match="no data module"):
        read(tmp_path, build()[:52])
    with pytest.raises(FormatError, match="potential"):
        read(tmp_path, build(ids=[1, 4], records=[{4: 0.0}]))
    with pytest.raises(FormatError, match="expected 'time/s'"):
        read(tmp_path, build(ids=[1, 6], records=[{6: 3.0}]))


def test_sniff() -> None:
    assert READER.sniff(build(), "a.mpr")
    assert not READER.sniff(b"EC-Lab ASCII FILE", "a.mpt")


PAIRS = [
    ("xrd_zn_mno2_mspd/Echem/ZMO_D_C03.mpr", "ZMO_D_C03.mpt", 1e-9, 21),
    ("xrd_zn_mno2_mspd/Echem/ZMO_D_C03.mpr", "ZMO_D_C03.txt", 1e-4, 3),
    ("xrd_zn_mno2_mspd/Echem/ZMO_D2_C03.mpr", "ZMO_D2_C03.txt", 1e-4, 3),
    (
        "xas_mn_zn_claess/Echem/Cell C/CellC_01_01_OCV_C04.mpr",
        "CellC_01_01_OCV_C04.mpt",
        1e-4,
        4,
    ),
]
"""Every binary file that came with EC-Lab's own text of the same data; how many columns both hold.

The others of the text are computed by EC-Lab as it exports. Absolute stamps have four decimals.
"""
RENAMED = {"<Ewe/V>": "<Ewe>/V", "Energy we charge/W.h": "Energy charge/W.h"}
RENAMED |= {"Energy we discharge/W.h": "Energy discharge/W.h"}


@pytest.mark.shared_data
@pytest.mark.parametrize(("binary", "export", "elapsed_s", "shared"), PAIRS)
def test_every_column_agrees_with_the_export_of_ec_lab(
    shared_data: Path, binary: str, export: str, elapsed_s: float, shared: int
) -> None:
    path = shared_data / "operando" / binary
    ours = _mpr.recording(File(path), lacks=lambda names: "", date_order=None).columns
    text = _mpt.recording(
        File(path.with_name(export)),
        wanted=lambda name: True,
        lacks=lambda names: "",
        date_order=None,
    )
    theirs = {RENAMED.get(name, name): values for name, values in text.columns.items()}
    both = sorted(set(ours) & set(theirs))
    assert len(both) == shared
    for name in both:
        absolute = elapsed_s if name == "time/s" else 0.0
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6, abs=absolute), name


@pytest.mark.shared_data
@pytest.mark.parametrize(("binary", "export", "elapsed_s", "shared"), PAIRS)
def test_log_agrees_with_the_export_of_ec_lab(
    shared_data: Path, binary: str, export: str, elapsed_s: float, shared: int
) -> None:
    """Every row, against EC-Lab's own text; the current to rounding although it is rebuilt."""
    path = shared_data / "operando" / binary
    ours = READER.read(File(path))
    theirs = biologic_mpt.READER.read(File(path.with_name(export)))
    assert ours.attrs["clock"]["start"] == theirs.attrs["clock"]["start"]
    assert ours.attrs["max_record_interval_s"] == theirs.attrs["max_record_interval_s"]
    assert ours["elapsed"].values == pytest.approx(theirs["elapsed"].values, abs=elapsed_s)
    for name in set(ours.data_vars) & set(theirs.data_vars) - {"current"}:
        assert ours[name].values == pytest.approx(theirs[name].values, rel=1e-6), name
    if "current" in theirs:
        difference = np.abs(ours["current"].values - theirs["current"].values)[1:]
        assert difference.max() < 1e-9 * np.abs(theirs["current"].values).max()
        assert np.isnan(ours["current"].values[0])


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "formats/echem/biologic/PEIS.mpr",
            {
                "active_material_mass_mg": 9.325,
                "electrode_area_cm2": 1.539,
                "battery_capacity": 1.772,
            },
        ),
        (
            "formats/echem/biologic/250116_kigr_gen6_01_02_GCPL_CD8.mpr",
            {"electrode_area_cm2": 0.95, "battery_capacity": 2.413, "channel_serial": 892},
        ),
        (
            "operando/xrd_zn_mno2_mspd/Echem/ZMO_D_C03.mpr",
            {"channel": 3, "channel_serial": 37153, "electrolyte": "NaPF6 ECDEC"},
        ),
    ],
)
def test_settings_agree_with_what_ec_lab_wrote_beside(
    shared_data: Path, name: str, expected: dict[str, object]
) -> None:
    """The .mpl logs say "Electrode surface area : 1.539 cm2", "Run on channel : 3 (SN 37153)"."""
    metadata = READER.read(File(shared_data / name)).attrs["original_metadata"]
    assert {key: metadata[key] for key in expected} == expected
    assert str(metadata["comments"]).splitlines()[0] in metadata["mpl"]


@pytest.mark.shared_data
def test_energies_of_the_counter_electrode(shared_data: Path) -> None:
    """Ids 883 and 884 of EC-Lab 11.61: charge of each row times the potential of that electrode.

    Only one file shows it, from the row on where the first of them leaves the energy of the working
    electrode, which EC-Lab repeats until then.
    """
    path = File(shared_data / "operando/xrd_zn_mno2_mspd/Echem/ZMO_D2_C03.mpr")
    columns = _mpr.recording(path, lacks=lambda names: "", date_order=None).columns
    energy = columns["Energy ce charge/W.h"]
    since = int(np.flatnonzero(energy != columns["Energy charge/W.h"])[0])
    passed = columns["dq/mA.h"].astype(float) * columns["Ece/V"].astype(float) * 1e-3
    gained = np.diff(energy)[since:]
    expected = passed[since + 1 :]
    positive = expected > 0
    assert gained[positive] == pytest.approx(expected[positive], rel=1e-6, abs=1e-19)
