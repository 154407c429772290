"""9809 scans: angles, offsets per second, modes of 19 elements, spans of minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xraydb

from operando_readers._larch import larch
from operando_readers._reader import File, FormatError
from operando_readers.kek_9809 import READER

MINE = {"PF9A_2022.dat": ("Fe", "K"), "PFBL12C_2005.dat": ("Hg", "L3")}
"""The real files, with the edge of what the sample is called (Fe010, hgcys)."""
HC = 12398.419843320026
D = 3.13551
SPAN = "16.11.18 11:01 - 16.11.18 11:14"
HEADER = f""" 9809     SPring-8 01b1
 161118-Ptfoil-  {SPAN}
 白金箔
 Ring :   8.0 GeV    99.5 mA -   99.5 mA
 Mono :   SI(111)       D=  {D} A    Initial angle=   9.9821 deg
 01b1      Transmission( 2)   Repetition=  1     Points=    3
 Param file : Pt-L3_111_2015  angle axis (1)     Block =    1

 Block      Init-ang  final-ang     Step/deg     Time/s       Num
     1       10.14110   9.87453    -0.008890       1.00         3
 Ortec( 0)     NDCH = 4
"""
COLUMNS = """  Angle(c)  Angle(o)    time/s         2         3        21
      Mode         0         0         1         2         5
    Offset         0         0   100.000    50.000     0.000
"""
ROWS = """  10.14010  10.14000      1.00      2100      1050      7450
  10.13010  10.13000      1.00      2100       550      7450
  10.12020  10.12000      2.00      4200      1100      7450
"""


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "scan.dat"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def _energy(degree: float) -> float:
    return float(HC / (2 * D * np.sin(np.radians(degree))))


def test_a_scan(tmp_path: Path) -> None:
    """Readings less offset times dwell: 2000, 2000, 4000 and 1000, 500, 1000."""
    scan = READER.read(_write(tmp_path, HEADER + COLUMNS + ROWS))
    np.testing.assert_allclose(scan["energy"], [_energy(a) for a in (10.14, 10.13, 10.12)])
    np.testing.assert_allclose(scan["i0"][0], [2000, 2000, 4000])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 4]))
    np.testing.assert_array_equal(scan["dwell"][0], [1, 1, 2])
    assert set(scan.data_vars) == {"mu", "i0", "i1", "dwell"}
    assert scan["i1"].attrs["column"] == "3"
    assert scan.attrs["instrument"] == "SPring-8 01b1"
    assert scan.attrs["mono_d_angstrom"] == D
    assert "白金箔" in scan.attrs["original_metadata"]["header"]


def test_the_span_is_year_month_day_to_the_minute(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + COLUMNS + ROWS))
    assert scan.attrs["clock"]["start"] == "2016-11-18T11:01:00"
    assert scan.attrs["clock"]["zone"] is None
    assert scan.attrs["clock"]["sigma_s"] == 30.0
    assert scan["exposure"].values == [13 * 60.0]


@pytest.mark.parametrize(
    ("span", "start", "exposure"),
    [
        ("99.12.31 23:50 - 00.01.01 00:10", "1999-12-31T23:50:00", 1200.0),
        ("16.11.18 11:01 - 16.11.18 11:01", "2016-11-18T11:01:00", 4.0),
        ("16.11.18 11:01 - %001%", "2016-11-18T11:01:00", 4.0),
        ("", None, 4.0),
    ],
)
def test_other_spans(tmp_path: Path, span: str, start: str | None, exposure: float) -> None:
    """Across a century, within a minute, still running, and none at all."""
    scan = READER.read(_write(tmp_path, HEADER.replace(SPAN, span) + COLUMNS + ROWS))
    assert scan.attrs["clock"]["start"] == start
    assert scan["exposure"].values == [exposure]


def test_the_commanded_angle(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + COLUMNS + ROWS), angle="commanded")
    np.testing.assert_allclose(scan["energy"], [_energy(a) for a in (10.1401, 10.1301, 10.1202)])
    largest = _energy(10.12) - _energy(10.1202)
    assert scan.attrs["angles_differ_ev"] == pytest.approx(largest, rel=1e-9)
    assert "doubts" not in scan.attrs


def test_angles_that_part_are_a_doubt(tmp_path: Path) -> None:
    file = _write(tmp_path, HEADER + COLUMNS + ROWS.replace("10.12020", "10.12332"))
    doubts = READER.read(file).attrs["doubts"]
    assert _energy(10.12) - _energy(10.12332) == pytest.approx(3.7, abs=0.1)
    assert doubts == "angles: observed and commanded part by up to 3.7 eV; angle= says which"


ELEMENTS = """\
 Angle(c)  Angle(o)    time/s         1         2         3         1         2         3
      Mode         0         0         3         3         1       103       103       101
    Offset         0         0     1.000     2.000   100.000     0.000     0.000     0.000
"""
COUNTS = """\
  10.14010  10.14000      2.00       102       204      2200   9000000   9000000         5
  10.12020  10.12000      2.00       202       404      2200   9000000   9000000         5
"""


def test_elements_are_added_and_their_count_rates_are_not(tmp_path: Path) -> None:
    """Less 2 s of offset: 100 + 200 and 200 + 400 over 2000."""
    file = _write(tmp_path, HEADER + ELEMENTS + COUNTS)
    scan = READER.read(file)
    np.testing.assert_allclose(scan["fluorescence"][0], [300, 600])
    np.testing.assert_allclose(scan["mu"][0], [0.15, 0.3])
    assert scan["mu"].attrs["mode"] == "fluorescence"
    assert scan["fluorescence"].attrs["column"] == "1/3 + 2/3"
    good = READER.read(file, fluorescence=["2/3"])
    np.testing.assert_allclose(good["mu"][0], [0.1, 0.2])
    resets = READER.read(file, fluorescence="", i1="3/101")
    np.testing.assert_allclose(resets["mu"][0], np.log([400, 400]))
    with pytest.raises(FormatError, match="i0=: '3' is no column; there are"):
        READER.read(file, i0="3")


def test_the_first_transmitted_counter_is_i1_and_a_foil_is_named(tmp_path: Path) -> None:
    columns = COLUMNS.replace("         2         5\n", "         2         2\n")
    scan = READER.read(_write(tmp_path, HEADER + columns + ROWS))
    assert scan["i1"].attrs["column"] == "3"
    assert "mu_reference" not in scan
    scan = READER.read(_write(tmp_path, HEADER + columns + ROWS), iref="21")
    np.testing.assert_allclose(scan["mu_reference"][0], np.log(np.array([1000, 500, 1000]) / 7450))


def test_offsets_without_a_blank_between(tmp_path: Path) -> None:
    """Fields are ten characters wide: 100000.000 leaves none."""
    columns = COLUMNS.replace("   100.000", "100000.000").replace("    50.000", "200000.000")
    rows = ROWS.replace("2100", "200000").replace("4200", "400000")
    rows = (
        rows.replace("1050", "400000").replace("      550", "   400000").replace("1100", "800000")
    )
    scan = READER.read(_write(tmp_path, HEADER + columns + rows))
    np.testing.assert_allclose(scan["i0"][0], [100_000, 100_000, 200_000])
    np.testing.assert_allclose(scan["i1"][0], [200_000, 200_000, 400_000])


def test_ascending_angles_windows_and_the_dos_end_of_file(tmp_path: Path) -> None:
    text = HEADER + COLUMNS + ROWS
    scan = READER.read(_write(tmp_path, text))
    turned = HEADER + COLUMNS + "".join(reversed(ROWS.splitlines(keepends=True)))
    raw = HEADER.replace("白金箔", "foil").encode() + (COLUMNS + ROWS).encode()
    shift_jis = HEADER.encode("shift_jis") + (COLUMNS + ROWS).encode()
    for content in (turned.encode(), raw.replace(b"\n", b"\r\n") + b"\x1a", shift_jis):
        again = READER.read(_write(tmp_path, content))
        np.testing.assert_array_equal(again["energy"], scan["energy"])
        np.testing.assert_array_equal(again["mu"], scan["mu"])
        assert "truncated" not in again.attrs


def test_missing_points_are_told(tmp_path: Path) -> None:
    two = "".join(ROWS.splitlines(keepends=True)[:2])
    text = HEADER + COLUMNS + two
    assert READER.read(_write(tmp_path, text)).attrs["truncated"] == "2 of 3 points"
    text = HEADER + COLUMNS + ROWS
    assert "cut short" in READER.read(_write(tmp_path, text[:-15])).attrs["truncated"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COLUMNS + ROWS, "line 1: '  Angle.*'; expected '9809'"),
        (HEADER + ROWS, "line 1: .*below it 'Angle"),
        (HEADER + COLUMNS.replace("Mode", "Made") + ROWS, "line 13: .*expected 'Mode' and 5"),
        (HEADER + COLUMNS.replace("     5\n", "   5.5\n") + ROWS, "line 13: .*codes of modes"),
        (HEADER + COLUMNS.replace("50.000", "50.x00") + ROWS, "line 14: .*'Offset' and 5 numbers"),
        (HEADER + COLUMNS + ROWS.replace("      7450", ""), "line 15: 5 columns under 6 names"),
        (HEADER.replace("D=", "E=") + COLUMNS + ROWS, "no lattice spacing"),
        (HEADER + COLUMNS + ROWS.replace(" 10.12000", " 97.12000"), "angle: .* expected between 0"),
        (
            HEADER.replace("16.11.18 11:14", "16.11.17 11:14") + COLUMNS + ROWS,
            "line 2: .*before the scan",
        ),
        (HEADER.replace("16.11.18", "16.13.18") + COLUMNS + ROWS, "line 2: .*month"),
        (HEADER.replace("16.11.18", "18/11/16") + COLUMNS + ROWS, r"line 2: .*expected 'yy\.mm"),
        (HEADER + COLUMNS.replace("1         2         5", "4         4         5") + ROWS, "none"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, (HEADER + COLUMNS + ROWS).encode(), "scan.dat", frames=1)


@pytest.mark.shared_data
def test_offsets_are_per_second(shared_data: Path) -> None:
    """Where the dwell changes from 1 s to 2 s, below the edge, the spectrum has no step.

    Straight lines through 8 points on each side of 7076.1 eV; subtracted once instead of per
    second, the 7157 counts of offset would make a step of 2e-3.
    """
    folder = shared_data / "formats" / "xas" / "beamline_formats"
    scan = READER.read(File(folder / "PF9A_2022.dat"), angle="commanded")
    energy, mu = scan["energy"].values, scan["mu"].values[0]
    join = int(np.flatnonzero(np.diff(scan["dwell"].values[0]))[0]) + 1
    assert energy[join] == pytest.approx(7077, abs=1)
    sides = [slice(join - 8, join), slice(join, join + 8)]
    at_join = [np.polyval(np.polyfit(energy[s] - energy[join], mu[s], 1), 0.0) for s in sides]
    assert abs(at_join[1] - at_join[0]) < 1e-4


@pytest.mark.shared_data
@pytest.mark.parametrize("name", MINE)
def test_an_edge_comes_out_at_the_element_of_the_sample(shared_data: Path, name: str) -> None:
    scan = READER.read(File(shared_data / "formats" / "xas" / "beamline_formats" / name))
    found = larch("xafs.pre_edge").preedge(
        scan["energy"].values.copy(), scan["mu"].values[0].copy()
    )
    assert found["e0"] == pytest.approx(xraydb.xray_edge(*MINE[name]).energy, abs=12)
    assert found["edge_step"] > 0.05
    assert "truncated" not in scan.attrs


@pytest.mark.shared_data
def test_energies_against_those_the_collector_was_asked_for(shared_data: Path) -> None:
    """First and last of the block table; it computes with hc = 12398.52, 8e-6 more."""
    folder = shared_data / "formats" / "xas" / "beamline_formats"
    scan = READER.read(File(folder / "PF9A_2022.dat"), angle="commanded")
    asked = np.array([6606.20, 8211.20])
    found = scan["energy"].values[[0, -1]]
    np.testing.assert_allclose(found, asked * HC / 12398.52, atol=0.01)
    parted = READER.read(File(folder / "PFBL12C_2005.dat"))
    assert "part by up to 16.7 eV" in parted.attrs["doubts"]
    assert parted.attrs["angles_differ_ev"] == pytest.approx(16.68, abs=0.01)


@pytest.mark.shared_data
def test_only_its_own_files_are_claimed(shared_data: Path) -> None:
    files = [path for path in (shared_data / "formats" / "xas").rglob("*") if path.is_file()]
    claimed = {path.name for path in files if READER.sniff(path.read_bytes()[: 1 << 16], path.name)}
    assert claimed == set(MINE)
