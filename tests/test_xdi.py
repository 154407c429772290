"""XDI: columns and units by name, clocks, detectors; the collection of deliberately bad files."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given
from hypothesis import strategies as st

import operando
from operando.model import FRAME_FLAGS
from operando_readers._edges import SYMBOLS
from operando_readers._larch import larch
from operando_readers._reader import File, FormatError, FormatWarning
from operando_readers.xdi import READER

HEADER = """# XDI/1.0 Collector/2.1
# Column.1: energy eV
# Column.2: i0
# Column.3: itrans
# Column.4: irefer
# Element.symbol: Ni
# Element.edge: K
# Mono.d_spacing: 3.1355
# Facility.name: SSRL
# Beamline.name: 4-1
# Scan.start_time: 2024-03-04T05:06:07
# Scan.end_time: 2024-03-04T05:16:37.5
# ///
#  two pellets: see note
#
# ---------
# energy i0 itrans irefer
"""
ROWS = """  8300.0  100.0  50.0  25.0
  8301.0  110.0  50.0  20.0
  8302.0  120.0  40.0  10.0
"""
IN_KEV = re.sub(r"\b(8)(30\d)\.0", r"\1.\2", ROWS)


def _file(folder: Path, text: str = HEADER + ROWS) -> File:
    path = folder / "scan.xdi"
    path.write_bytes(text.encode())
    return File(path)


def _read(folder: Path, *changes: tuple[str, str], rows: str = ROWS) -> xr.Dataset:
    text = HEADER + rows
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return READER.read(_file(folder, text))


def test_counters_become_absorption(tmp_path: Path) -> None:
    scan = _read(tmp_path)
    np.testing.assert_array_equal(scan["energy"], [8300, 8301, 8302])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 2.2, 3]), rtol=1e-15)
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2.5, 4]), rtol=1e-15)
    assert {name: scan[name].attrs["column"] for name in ("i0", "i1", "iref")} == {
        "i0": "i0",
        "i1": "itrans",
        "iref": "irefer",
    }
    assert scan["mu"].attrs["mode"] == "transmission"


def test_what_the_header_says(tmp_path: Path) -> None:
    attrs = _read(tmp_path, ("Element.symbol: Ni", "ELEMENT.Symbol:   ni ")).attrs
    assert (attrs["element"], attrs["edge"], attrs["instrument"]) == ("Ni", "K", "SSRL 4-1")
    assert attrs["original_metadata"]["ELEMENT.Symbol"] == "ni"
    assert attrs["original_metadata"]["comments"] == " two pellets: see note\n"
    assert attrs["original_metadata"]["extra"] == "Collector/2.1"
    assert "doubts" not in attrs


def test_the_reference_has_its_own_element(tmp_path: Path) -> None:
    told = "Element.edge: K\n# Element.reference: Cu\n# Element.ref_edge: l3"
    attrs = _read(tmp_path, ("Element.edge: K", told)).attrs
    assert (attrs["reference_element"], attrs["reference_edge"]) == ("Cu", "L3")
    assert (attrs["element"], attrs["edge"]) == ("Ni", "K")


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2024-03-04T05:06:07", "2024-03-04T05:16:37.5", ("05:06:07", None, 0.5, 630.5)),
        ("2024-03-04 05:06:07", "2024-03-04 05:06:17", ("05:06:07", None, 0.5, 10.0)),
        ("2024-03-04T05:06:07.250", "2024-03-04T05:06:17.250", ("05:06:07.250", None, None, 10.0)),
        ("2024-03-04T05:06", "2024-03-04T05:16", ("05:06:00", None, 30.0, 600.0)),
        ("2024-03-04T05:06:07Z", "2024-03-04T05:06:17Z", ("05:06:07", "UTC", 0.5, 10.0)),
        ("2024-03-04T05:06:07+02:00", "2024-03-04T04:06:17+01:00", ("03:06:07", "UTC", 0.5, 10.0)),
    ],
)
def test_start_and_end(
    tmp_path: Path, start: str, end: str, expected: tuple[str, str | None, float | None, float]
) -> None:
    scan = _read(tmp_path, ("2024-03-04T05:06:07", start), ("2024-03-04T05:16:37.5", end))
    time, zone, sigma, seconds = expected
    assert scan.attrs["clock"] == {
        "start": f"2024-03-04T{time}",
        "zone": zone,
        "marks": "start",
        "source": "header",
        "sigma_s": sigma,
    }
    assert scan["exposure"].values == [seconds]
    assert scan["elapsed"].values == [0.0]


def test_without_stamps_there_is_no_time(tmp_path: Path) -> None:
    scan = _read(tmp_path, ("Scan.start_time", "Scan.remark"), ("Scan.end_time", "Scan.other"))
    assert (scan.attrs["clock"]["start"], scan.attrs["clock"]["source"]) == (None, "none")
    assert "exposure" not in scan.coords


def test_an_end_alone_marks_the_end(tmp_path: Path) -> None:
    clock = _read(tmp_path, ("Scan.start_time", "Scan.remark")).attrs["clock"]
    assert (clock["start"], clock["marks"]) == ("2024-03-04T05:16:37.5", "end")


@pytest.mark.parametrize(
    ("key", "wrong", "left"),
    [
        ("2024-03-04T05:06:07", "04/03/2024 05:06:07", "2024-03-04T05:16:37.5"),
        ("2024-03-04T05:06:07", "2024-03-04", "2024-03-04T05:16:37.5"),
        ("2024-03-04T05:06:07", "2024-02-30T05:06:07", "2024-03-04T05:16:37.5"),
        ("2024-03-04T05:16:37.5", "soon", "2024-03-04T05:06:07"),
        ("2024-03-04T05:16:37.5", "2024-03-04T05:06:07", "2024-03-04T05:06:07"),
        ("2024-03-04T05:16:37.5", "2024-03-04T05:16:37Z", "2024-03-04T05:06:07"),
    ],
)
def test_a_stamp_that_cannot_be_is_told_and_not_used(
    tmp_path: Path, key: str, wrong: str, left: str
) -> None:
    with pytest.warns(FormatWarning, match=r"scan\.xdi: line 1[12]: Scan\.(start|end)_time: "):
        scan = _read(tmp_path, (key, wrong))
    assert scan.attrs["clock"]["start"] == left
    assert "exposure" not in scan.coords
    assert "_time" in scan.attrs["doubts"]


def test_units_of_the_energy(tmp_path: Path) -> None:
    scan = _read(tmp_path, ("energy eV", "Energy keV"), rows=IN_KEV)
    np.testing.assert_allclose(scan["energy"], [8300, 8301, 8302], rtol=1e-12)
    with pytest.raises(FormatError, match=r"Column\.1 'energy': unit 'pixel'; expected one of"):
        _read(tmp_path, ("energy eV", "energy pixel"))


def test_an_energy_without_a_unit_is_ev_where_it_cannot_be_kev(tmp_path: Path) -> None:
    with pytest.warns(FormatWarning, match="no unit; eV"):
        scan = _read(tmp_path, ("energy eV", "energy"))
    np.testing.assert_array_equal(scan["energy"], [8300, 8301, 8302])
    with pytest.raises(FormatError, match=r"Column\.1 'energy': no unit, and up to 8\.302 it may"):
        _read(tmp_path, ("energy eV", "energy"), rows=IN_KEV)


@pytest.mark.parametrize(("unit", "factor"), [("degrees", 1.0), ("radians", np.pi / 180)])
@pytest.mark.parametrize(
    "spacing", ["3.1355", "3.1355 Å", "3.1355 angstrom", "3.1355  ||  13IDE:d"]
)
def test_angles_become_energies(tmp_path: Path, unit: str, factor: float, spacing: str) -> None:
    """Bragg by hand: at 14 degrees, E = 12398.419843320026 / (2 x 3.1355 sin 14)."""
    rows = "".join(f"{a * factor:.15g} 100 50 25\n" for a in (14.0, 13.0))
    scan = _read(
        tmp_path, ("energy eV", f"angle {unit}"), ("g: 3.1355", f"g: {spacing}"), rows=rows
    )
    np.testing.assert_allclose(scan["energy"], [8172.48931, 8789.04129], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("d_spacing: 3.1355", "d_spacing: 0")], r"Mono\.d_spacing is '0'; expected a length"),
        ([("Mono.d_spacing", "Mono.x")], r"Column\.1 'angle': Mono\.d_spacing is missing"),
        ([], r"Column\.1 'angle': not all between 0 and 90 degree"),
        ([("angle degrees", "angle steps")], r"unit 'steps'; expected one of"),
    ],
)
def test_angles_that_are_no_energies(
    tmp_path: Path, changes: list[tuple[str, str]], message: str
) -> None:
    rows = "95 100 50 25\n96 100 50 25\n" if not changes else "14 100 50 25\n13 100 50 25\n"
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, ("energy eV", "angle degrees"), *changes, rows=rows)


def test_the_order_of_columns_does_not_matter(tmp_path: Path) -> None:
    shuffled = "".join(
        " ".join(line.split()[n] for n in (2, 0, 3, 1)) + "\n" for line in ROWS.splitlines()
    )
    names = {1: "itrans", 2: "energy eV", 3: "irefer", 4: "i0"}
    header = re.sub(r"Column\.(\d): .*", lambda m: f"Column.{m[1]}: {names[int(m[1])]}", HEADER)
    scan = READER.read(_file(tmp_path, header + shuffled)).drop_attrs()
    assert scan.identical(_read(tmp_path).drop_attrs())


def test_energies_descend_and_come_twice(tmp_path: Path) -> None:
    rows = "8302 120 40 10\n8301 110 50 20\n8301 110 110 20\n8300 100 50 25\n"
    scan = _read(tmp_path, rows=rows)
    np.testing.assert_array_equal(scan["energy"], [8300, 8301, 8302])
    np.testing.assert_allclose(scan["mu"][0], [np.log(2), np.log(2.2) / 2, np.log(3)], rtol=1e-15)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({2: "mutrans", 3: "mufluor", 4: "murefer"}, ("mu", "mu_fluorescence", "mu_reference")),
        ({2: "normtrans", 3: "i0", 4: "normrefer"}, ("mu", "i0", "mu_reference")),
        ({2: "normfluor", 3: "x", 4: "y"}, ("mu", None, None)),
        ({2: "I0", 3: "It", 4: "If"}, ("i0", "i1", "fluorescence")),
        ({2: "i0", 3: "ifluor", 4: "XMU"}, ("i0", "fluorescence", "mu")),
    ],
)
def test_columns_of_the_dictionary(
    tmp_path: Path, columns: dict[int, str], expected: tuple[str | None, ...]
) -> None:
    names = {1: "energy eV", **columns}
    header = re.sub(r"Column\.(\d): .*", lambda m: f"Column.{m[1]}: {names[int(m[1])]}", HEADER)
    scan = READER.read(_file(tmp_path, header + ROWS))
    table = np.array([line.split() for line in ROWS.splitlines()], dtype=float)
    for column, ours in zip((1, 2, 3), expected, strict=True):
        if ours is not None:
            np.testing.assert_array_equal(scan[ours][0], table[:, column])
            assert scan[ours].attrs["column"] == names[column + 1]
            normalised = scan[ours].attrs.get("normalised", 0)
            assert normalised == names[column + 1].startswith("norm")


def test_what_is_normalised_gives_way_to_counters(tmp_path: Path) -> None:
    scan = _read(tmp_path, ("Column.4: irefer", "Column.4: normtrans"))
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 2.2, 3]), rtol=1e-15)
    assert "normalised" not in scan["mu"].attrs


@pytest.mark.parametrize(
    ("units", "reading", "left_out"),
    [
        ("", 0.0, True),
        ("", 0.01, False),
        (" nA", 0.01, True),
        (" nA", 1.0, False),
    ],
)
def test_a_chamber_without_beam_is_left_out(
    tmp_path: Path, units: str, reading: float, *, left_out: bool
) -> None:
    rows = "".join(f"{8300 + n} 100 50 {reading}\n" for n in range(5))
    scan = _read(tmp_path, ("irefer", f"Ir{units}"), ("2: i0", f"2: i0{units}"), rows=rows)
    assert ("iref" not in scan) == left_out
    assert ("mu_reference" not in scan) == left_out
    assert scan.attrs.get("left_out") == (
        f"iref = Ir: reads {reading:g} at the median, no beam" if left_out else None
    )


def test_columns_are_what_the_user_says(tmp_path: Path) -> None:
    """A dark chamber that is named is used all the same, so that a series stays of one kind."""
    dark = "".join(f"{8300 + n} 100 {n % 2 * -1.0} 25\n" for n in range(3))
    file = _file(tmp_path, HEADER.replace("irefer", "ifluor") + dark)
    assert READER.read(file)["mu"].attrs["mode"] == "fluorescence"
    scan = READER.read(file, i1="ITRANS")
    assert scan["mu"].attrs["mode"] == "transmission"
    assert np.isnan(scan["mu"]).all()
    assert "left_out" not in scan.attrs
    np.testing.assert_array_equal(scan["mu_fluorescence"][0], [0.25, 0.25, 0.25])
    bright = _file(tmp_path, HEADER.replace("irefer", "ifluor") + ROWS)
    scan = READER.read(bright, i1="", fluorescence=["itrans", "ifluor"])
    np.testing.assert_allclose(scan["mu"][0], [75 / 100, 70 / 110, 50 / 120])
    assert scan["fluorescence"].attrs["column"] == "itrans + ifluor"
    assert "i1" not in scan
    with pytest.raises(FormatError, match=r"i0=: 'x' is no column; there are \['energy', 'i0'"):
        READER.read(bright, i0="x")


def _detectors(tmp_path: Path, names: str, rows: str, *, element: str = "Mn") -> xr.Dataset:
    fields = "".join(f"# Column.{n}: {name}\n" for n, name in enumerate(names.split(), 1))
    header = f"#XDI/1.1 Epics StepScan File / 2.0\n{fields}# ScanParameters.element: {element}\n"
    text = header.replace("energy", "Energy eV  ||  13IDE:En") + "# ScanParameters.edge: K\n#----\n"
    return READER.read(_file(tmp_path, text + rows))


def test_detectors_add_up_each_with_its_dead_time(tmp_path: Path) -> None:
    names = "energy I0 Mn_Ka_mca1 Fe_Ka_mca1 Mn_Ka_mca2 OutputCounts_mca2 DTFactor_mca1 Mn_Kb_mca1"
    scan = _detectors(tmp_path, names, "6500 10 3 99 4 77 1.5 9\n6501 10 6 99 8 77 2.0 9\n")
    np.testing.assert_allclose(scan["fluorescence"][0], [3 * 1.5 + 4, 6 * 2 + 8], rtol=1e-15)
    np.testing.assert_allclose(scan["mu"][0], [0.85, 2.0], rtol=1e-15)
    assert scan["mu"].attrs["mode"] == "fluorescence"
    assert scan["fluorescence"].attrs["column"] == "Mn_Ka_mca1 x DTFactor_mca1 + Mn_Ka_mca2"
    one = READER.read(File(tmp_path / "scan.xdi"), fluorescence="Fe_Ka_mca1")
    np.testing.assert_allclose(one["fluorescence"][0], [99 * 1.5, 99 * 2], rtol=1e-15)
    with pytest.raises(FormatError, match="neither absorption nor i0 with i1"):
        READER.read(File(tmp_path / "scan.xdi"), fluorescence="")
    assert (scan.attrs["element"], scan.attrs["edge"]) == ("Mn", "K")
    assert scan.attrs["instrument"] == "Epics StepScan File / 2.0"


def test_detectors_of_another_element_are_not_the_signal(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="neither absorption nor i0 with i1 or fluorescence"):
        _detectors(tmp_path, "energy I0 Fe_Ka_mca1", "6500 10 3\n6501 10 6\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("# XDI/1.0", "# XDI/2.0")], r"line 1: '# XDI/2\.0 .*expected '# XDI/1\.0'"),
        ([("Column.1: energy eV", "Column.1: k")], r"Column\.1 \.\.\.: \['k', 'i0'.*none is"),
        ([("itrans", "a"), ("irefer", "b")], "neither absorption nor i0 with i1"),
        ([("  8301.0", "# 8301.0")], "line 18: '8300.0 .* before the last line with #, line 19"),
        ([("8301.0", "nan")], "energy: 1 of 3 points have none"),
        ([("energy eV", "energy keV")], r"energy: up to 8\.302e\+06 eV; expected .* below 1e\+06"),
        ([("8301.0", "8_301")], "line 19: .*expected numbers"),
        ([("8301.0", "8301,0")], "line 19: .*expected numbers"),
        ([(ROWS, "")], "line 18: no numbers"),
        ([(ROWS, "8300 1 2 3\n")], "expected a scan over several"),
    ],
)
def test_what_is_no_scan_is_refused(
    tmp_path: Path, changes: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, *changes)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="line 1: ''; expected '# XDI"):
        READER.read(_file(tmp_path, ""))


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ([("irefer", "i0")], r"Column\.4 'i0': comes twice"),
        ([("Column.4: irefer", "Column.x: irefer")], r"line 5: Column\.x: no number of a column"),
        ([("25.0", "inf")], r"Column\.4 'irefer': 1 of 3 values are no number, the first in row 1"),
    ],
)
def test_doubts(tmp_path: Path, changes: list[tuple[str, str]], doubt: str) -> None:
    with pytest.warns(FormatWarning, match=doubt):
        scan = _read(tmp_path, *changes)
    assert re.search(doubt, scan.attrs["doubts"])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 2.2, 3]), rtol=1e-15)


def test_a_repeated_field_counts_with_its_last_value(tmp_path: Path) -> None:
    again = "Element.edge: K\n# element.Edge: L2\n# Element.edge: L3"
    assert _read(tmp_path, ("Element.edge: K", again)).attrs["edge"] == "L3"


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_ends_of_other_computers(tmp_path: Path, ending: str) -> None:
    whole = _read(tmp_path)
    other = READER.read(_file(tmp_path, (HEADER + ROWS).replace("\n", ending)))
    assert other.identical(whole)


@pytest.mark.parametrize("lost", [2, 8, 20, 25])
def test_a_cut_last_row_is_left_out(tmp_path: Path, lost: int) -> None:
    scan = READER.read(_file(tmp_path, (HEADER + ROWS)[:-lost]))
    assert scan.sizes["energy"] == 2
    assert "line 20" in scan.attrs["truncated"]


@given(
    at=st.integers(0, len(HEADER + ROWS) - 1),
    byte=st.integers(0, 255),
    cut=st.integers(1, len(HEADER + ROWS)),
)
@example(at=18, byte=0, cut=700)
def test_a_damaged_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: int
) -> None:
    """Any byte flipped, cut anywhere: nothing but `FormatError` or a valid dataset."""
    raw = bytearray((HEADER + ROWS).encode())
    raw[at] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.xdi"
    path.write_bytes(bytes(raw[:cut]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FormatWarning)
        try:
            scan = READER.read(File(path))
        except FormatError:
            return
    assert np.all(np.diff(scan["energy"]) > 0)
    assert scan["mu"].dims == ("time", "energy")


# What becomes of the 36 files, by the reasons of their list (BadFiles.txt). It wants an error for a
# number that is NaN; here that file is read, as a bad measurement is a value, and the NaN is told.
# An angle without the spacing of the crystal, which it reads, has no energies and is refused.
READ = {
    0: "valid",
    2: "no element.edge",
    3: "no element.symbol",
    23: "a key may begin with a number",
    25: "no extra version",
    26: "no comment",
    27: "no comment between the lines",
    33: "temperature kept as text",
    34: "ring energy kept as text",
    35: "ring current kept as text",
}
DOUBTFUL = {
    4: r"line 6: Element\.edge: 'Foo' is no edge; ignored",
    5: r"line 7: Element\.symbol: 'Foo' is no element; ignored",
    6: "no line '#---' at the end of the header",
    7: r"no fields Column\.N; columns by the labels above the rows",
    8: r"Column\.4: missing; column 4 is left out",
    9: r"line 6: Column\.5: 'misc_fluor', but rows have 4 columns; ignored",
    10: r"line 5: Column\.7: 'mutrans', but rows have 4 columns; ignored; Column\.4: missing",
    11: r"line 12: '! Beamline\.collimation: none' does not begin with #; ignored; line 13",
    15: r"Column\.2 'i0': 1 of 12 values are no number, the first in row 1",
    28: r"line 18: Scan\.start_time: '2001-Jun-26 22:27:31' is no date",
    29: r"line 18: Scan\.start_time: '2001-26-6T22:27:31' is no date",
    30: r"line 7: Element\.symbol: 'Foo'.*; line 6: Element\.edge: 'Bar'",
    31: r"line 10: Mono\.d_spacing: 'three point one .*' is no length",
    32: r"Column\.1 'Energie': in eV, so it is taken for 'energy'",
}
REFUSED = {
    1: r"line 1: '#'; expected '# XDI/1\.0'",
    12: r"Column\.1 'angle': Mono\.d_spacing is missing",
    13: "line 31: 3 numbers; expected 4 as in line 29",
    14: "line 36: 6 numbers; expected 4 as in line 29",
    16: "line 30: '8789.0    STRING .*expected numbers",
    17: r"line 29: '8779.0  1\.4\.9 .*expected numbers",
    18: r"line 8: Family\.key: no value; expected 'Family\.key: value'",
    19: r"line 8: 'Family\.key  Value'; expected 'Family\.key: value'",
    20: "line 8: 'Family:key:  Value'; expected",
    21: "line 8: 'Family key:  Value'; expected",
    22: r"line 8: 'Family\.key\.subkey:  Value'; expected",
    24: r"line 8: '2000Family\.key:  Value'; expected",
}
BAD = "formats/xas/xdi_bad/bad_{:02d}.xdi"


def test_the_bad_files_are_all_accounted_for() -> None:
    assert sorted([*READ, *DOUBTFUL, *REFUSED]) == list(range(36))


@pytest.mark.shared_data
@pytest.mark.parametrize(("number", "message"), REFUSED.items())
def test_bad_files_that_are_refused(shared_data: Path, number: int, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        READER.read(File(shared_data / BAD.format(number)))
    assert "\n" not in str(caught.value)


@pytest.mark.shared_data
@pytest.mark.parametrize("number", [*READ, *DOUBTFUL])
def test_bad_files_that_are_read(shared_data: Path, number: int) -> None:
    """The measurement in them is that of the valid one, as far as it is there."""
    file = File(shared_data / BAD.format(number))
    if number in DOUBTFUL:
        with pytest.warns(FormatWarning, match=DOUBTFUL[number]) as caught:
            scan = READER.read(file)
        assert len(caught) == 1
        assert str(caught[0].message) == f"{file.name}: {scan.attrs['doubts']}"
    else:
        scan = READER.read(file)
        assert "doubts" not in scan.attrs
    valid = READER.read(File(shared_data / BAD.format(0)))
    np.testing.assert_allclose(scan["energy"], valid["energy"], rtol=1e-12)
    np.testing.assert_allclose(scan["mu"], valid["mu"], atol=1e-7)
    lost = [0] if number == 15 else []
    assert np.flatnonzero(np.isnan(scan["i0"][0])).tolist() == lost
    facts = (scan.attrs.get("element"), scan.attrs.get("edge"), scan.attrs["clock"]["start"])
    assert facts == (
        None if number in (3, 5, 30) else "Cu",
        None if number in (2, 4, 30) else "K",
        None
        if number in (28, 29)
        else "2001-06-02T22:27:31"
        if number == 27
        else "2001-06-26T22:27:31",
    )


@pytest.mark.shared_data
def test_good_files_agree_with_larch(shared_data: Path) -> None:
    """Every column of every file, by libxdi."""
    read_xdi = larch("io").read_xdi
    paths = [
        path
        for folder in ("ni2o3_ref_drift", "fe_valence", "cr_vi_trap", "mn_short")
        for path in sorted((shared_data / "formats" / "xas" / folder).glob("*.xdi"))
    ]
    assert len(paths) == 23
    for path in paths:
        scan, oracle = READER.read(File(path)), read_xdi(str(path))
        np.testing.assert_array_equal(scan["energy"], oracle.energy)
        np.testing.assert_array_equal(scan["i0"][0], oracle.i0)
        np.testing.assert_array_equal(scan["i1"][0], oracle.itrans)
        if hasattr(oracle, "irefer"):
            np.testing.assert_array_equal(scan["iref"][0], oracle.irefer)
        assert ("iref" in scan) == hasattr(oracle, "irefer")
        assert scan.attrs["element"] == oracle.attrs["element"]["symbol"]
        assert scan.attrs["edge"] == oracle.attrs["element"]["edge"]


@pytest.mark.shared_data
def test_dead_time_agrees_with_larch(shared_data: Path) -> None:
    path = shared_data / "formats" / "xas" / "beamline_formats" / "APS13ID_2019.dat"
    oracle = larch("io").read_gsexdi(str(path))
    assert oracle.dtc_mode == "dtfactor"
    scan = READER.read(File(path))
    np.testing.assert_allclose(scan["fluorescence"][0], oracle.mn_ka, rtol=1e-14)


@pytest.mark.shared_data
def test_repeats_all_carry_the_start_of_the_first(shared_data: Path) -> None:
    """It is what the files say; nothing is made up to tell them apart."""
    folder = shared_data / "formats" / "xas" / "ni2o3_ref_drift"
    starts = {READER.read(File(p)).attrs["clock"]["start"] for p in folder.glob("Ni2O3_*.xdi")}
    assert starts == {"1997-01-17T17:59:41"}


def test_the_symbols_are_those_of_the_elements() -> None:
    """Numbers of a few, by the periodic table."""
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 118
    numbers = {"H": 1, "Ti": 22, "Zr": 40, "Mo": 42, "La": 57, "Lu": 71, "Au": 79, "Og": 118}
    assert {symbol: SYMBOLS.index(symbol) + 1 for symbol in numbers} == numbers


@pytest.mark.shared_data
def test_repeats_that_carry_the_stamp_of_the_first_have_a_doubtful_clock(shared_data: Path) -> None:
    """Three repeats each of three nickel compounds, three stamps for nine."""
    frames = operando.read(str(shared_data / "formats/xas/ni2o3_ref_drift"), tz="America/Chicago")
    starts = frames["time_start"].values
    assert np.unique(starts).size == 3
    doubtful = (frames["frame_flag"].values & FRAME_FLAGS["clock_suspect"]) != 0
    assert doubtful.tolist() == [False, True, True] * 3
