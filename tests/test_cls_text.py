"""Scans of the Canadian Light Source: names in pairs, kinds of events, the wiring of HXMA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xraydb

from operando_readers._larch import larch
from operando_readers._reader import File, FormatError
from operando_readers.cls_text import READER

PVS = (
    '#(1)\t"Event-ID"\t"BL1606-ID-1:Energy"\t"MONO:Energy:fbk"\t"MONO:Energy:sp"\t"BL1606-ID1:mcs03:fbk"'
    '\t"BL1606-ID1:mcs04:fbk"\t"BL1606-ID1:mcs05:fbk"\t"BL1606-ID1:mcs06:fbk"\t"BL1606-ID1:mcs:delay"\n'
)
CALLED = (
    '#(1)\t"Event-ID"\t"$(AbsEnergyName)"\t"$(EnergyFeedback)"\t"$(EnergyAchieved)"\t"$(Detector1)"'
    '\t"$(Detector2)"\t"$(Detector3)"\t"$(Detector4)"\t"$(acqDwellmSec)"\n'
)
HEADER = (
    "# CLS Data Acquisition\n"
    + PVS
    + CALLED
    + "# Background counts time=0(x .1 microseconds), 0, 0, 0, 0, 11867.000, 5.0000, 5.0000\n"
    + "# Échantillon: As 5 µm\n"
)
ROWS = """1, 11667.000, 11667.001, 11667.002, 100.00, 2000.00, 1000.00, 500.00, 1000.0
2, 0, 0, 7
1, 11867.000, 11867.001, 11867.002, 400.00, 2000.00, 500.00, 250.00, 1000.0
1, 11900.000, 11900.001, 11900.002, 1000.00, 4000.00, 1000.00, 400.00, 2000.0
"""


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "scan.dat"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_a_scan_without_a_date(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + ROWS))
    np.testing.assert_array_equal(scan["energy"], [11667.002, 11867.002, 11900.002])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 4]))
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 2.5]))
    np.testing.assert_allclose(scan["mu_fluorescence"][0], [0.05, 0.2, 0.25])
    np.testing.assert_array_equal(scan["dwell"][0], [1, 1, 2])
    assert scan["exposure"].values == [4.0]
    assert (scan.attrs["instrument"], scan.attrs["e0_ev"]) == ("CLS HXMA", 11867.0)
    assert scan.attrs["clock"]["start"] is None
    assert scan.attrs["clock"]["source"] == "none"
    assert "Échantillon: As 5 µm" in scan.attrs["original_metadata"]["header"]


def test_a_column_has_two_names(tmp_path: Path) -> None:
    file = _write(tmp_path, HEADER + ROWS)
    by_pv = READER.read(file, i0="BL1606-ID1:mcs05:fbk", i1="BL1606-ID1:mcs06:fbk")
    called = READER.read(file, i0="Detector3", i1="Detector4")
    np.testing.assert_allclose(by_pv["mu"][0], np.log([2, 2, 2.5]))
    np.testing.assert_array_equal(called["mu"], by_pv["mu"])
    with pytest.raises(FormatError, match="i1=: 'Detector9' is no column"):
        READER.read(file, i1="Detector9")


def test_the_header_may_come_again(tmp_path: Path) -> None:
    lines = ROWS.splitlines(keepends=True)
    scan = READER.read(_write(tmp_path, HEADER + lines[0] + HEADER + "".join(lines[1:])))
    assert scan.sizes["energy"] == 3


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    swapped = HEADER.replace("mcs04", "x").replace("mcs05", "mcs04").replace("x", "mcs05")
    scan = READER.read(_write(tmp_path, swapped + ROWS))
    np.testing.assert_allclose(scan["mu"][0], -np.log([2, 4, 4]))


def test_a_background_that_was_measured_is_reported(tmp_path: Path) -> None:
    header = HEADER.replace("time=0(", "time=20000000(").replace("), 0, 0,", "), 3, 4,")
    scan = READER.read(_write(tmp_path, header + ROWS))
    assert scan["i0"].values[0, 0] == 2000
    told = "background counts, 3, 4, 0, 0 in 2 s are not subtracted"
    assert scan.attrs["doubts"] == told


def test_descending_windows_and_kev(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + ROWS))
    turned = HEADER + "".join(reversed(ROWS.splitlines(keepends=True)))
    in_kev = HEADER + "1, 0, 0, 11.667002, 1, 2, 1, 1, 500\n1, 0, 0, 11.900002, 1, 2, 1, 1, 500\n"
    for text in (turned, turned.replace("\n", "\r\n")):
        again = READER.read(_write(tmp_path, text.encode("latin-1")))
        np.testing.assert_array_equal(again["energy"], scan["energy"])
        np.testing.assert_array_equal(again["mu"], scan["mu"])
    with pytest.raises(FormatError, match=r"11.667 to 11.9; no energies in eV"):
        READER.read(_write(tmp_path, in_kev))
    scan = READER.read(_write(tmp_path, in_kev), energy_unit="keV")
    np.testing.assert_allclose(scan["energy"], [11667.002, 11900.002])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS, "line 1: '1, 11667"),
        (HEADER.replace("#(1)", "#(9)") + ROWS, "0 different lines of names"),
        (HEADER.replace("Energy", "Angle") + ROWS, "columns: .*; no energy"),
        (HEADER.replace("mcs0", "x") + ROWS, "counters: none; name columns for i0= and i1="),
        (HEADER.replace("mcs03", "mcs04") + ROWS, "2 different lines of names"),
        (HEADER + ROWS.replace("11867.002", "11867;002"), "line 8: .*expected numbers"),
        (HEADER + ROWS.replace(", 1000.0\n", "\n", 1), "9 numbers; expected 8 as in line"),
        (HEADER, "no numbers"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_a_cut_row_is_left_out(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + ROWS[:-20]))
    assert scan.sizes["energy"] == 2
    assert "line 9: cut short" in scan.attrs["truncated"]


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, (HEADER + ROWS).encode(), "scan.dat", frames=1)


@pytest.mark.shared_data
def test_the_edges_of_arsenic_and_of_the_gold_foil_come_out(shared_data: Path) -> None:
    """It over Iref has the L3 edge of gold, the usual foil for arsenic."""
    folder = shared_data / "formats" / "xas" / "beamline_formats"
    scan = READER.read(File(folder / "CLSHXMA.dat"))
    preedge = larch("xafs.pre_edge").preedge
    for name, element, edge in (
        ("mu", "As", "K"),
        ("mu_fluorescence", "As", "K"),
        ("mu_reference", "Au", "L3"),
    ):
        found = preedge(scan["energy"].values.copy(), scan[name].values[0].copy())
        assert found["e0"] == pytest.approx(xraydb.xray_edge(element, edge).energy, abs=5)
        assert found["edge_step"] > 0.5
    assert scan.attrs["e0_ev"] == xraydb.xray_edge("As", "K").energy


@pytest.mark.shared_data
def test_only_its_own_files_are_claimed(shared_data: Path) -> None:
    files = [path for path in (shared_data / "formats" / "xas").rglob("*") if path.is_file()]
    claimed = {path.name for path in files if READER.sniff(path.read_bytes()[: 1 << 16], path.name)}
    assert claimed == {"CLSHXMA.dat"}
