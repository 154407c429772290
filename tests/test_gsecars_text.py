"""GSECARS scans: the legend, began and ended, E0, damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xraydb

from operando_readers._larch import larch
from operando_readers._reader import File, FormatError
from operando_readers.gsecars_text import READER

HEADER = """; Epics Scan 1 dimensional scan
;  scan prefix   = 13BMD:
; Probe temperature (13BMD:T1) \t = 25.1 °C
;   E0 =       9659.00
; scan began at time: Thu Apr 10 23:58:32 2008
;=====================================================
; scan ended at time: Fri Apr 11 00:08:25 2008
; n_points      =      3
; column labels:
; P1 = {Energy} --> 13BMA:E:Energy.VAL
; P2 = {Scaler Count Time} --> 13BMD:scaler1.TP
; D1 = {I0}  --> 13BMD:scaler1_calc2.VAL
; D2 = {I1}  --> 13BMD:scaler1_calc3.VAL
; D3 = {Zn Ka (mca1)}  --> 13BMD:mca1.R0
;--------------------------------------------
;  P1 P2 D1 D2 D3
"""
ROWS = """       9509.000       1.000000       100000.0       50000.0 10
       9659.000       1.000000       100000.0       25000.0 20
       9700.000       2.000000       200000.0       50000.0 30
"""


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "scan.dat"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_a_scan(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + ROWS))
    np.testing.assert_array_equal(scan["energy"], [9509, 9659, 9700])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 4]))
    np.testing.assert_array_equal(scan["dwell"][0], [1, 1, 2])
    assert "mu_fluorescence" not in scan
    assert scan["i1"].attrs["column"] == "I1"
    assert (scan.attrs["instrument"], scan.attrs["e0_ev"]) == ("APS GSECARS 13BMD", 9659.0)
    assert "25.1 °C" in scan.attrs["original_metadata"]["header"]


def test_the_clock_begins_and_the_exposure_ends(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + ROWS))
    assert scan.attrs["clock"]["start"] == "2008-04-10T23:58:32"
    assert scan.attrs["clock"]["sigma_s"] == 0.5
    assert scan["exposure"].values == [593.0]
    running = READER.read(_write(tmp_path, HEADER.replace("ended at", "pauses at") + ROWS))
    assert running["exposure"].values == [4.0]
    timeless = READER.read(_write(tmp_path, HEADER.replace("; scan began", "; someone") + ROWS))
    assert timeless.attrs["clock"]["start"] is None
    assert timeless.attrs["clock"]["source"] == "none"


def test_a_scan_at_the_end_of_summer_time_is_read(tmp_path: Path) -> None:
    """Its length is the counting time alone."""
    header = HEADER.replace("Fri Apr 11 00:08:25 2008", "Thu Apr 10 23:08:25 2008")
    scan = READER.read(_write(tmp_path, header + ROWS))
    assert scan["exposure"].values == [4.0]
    assert "2008-04-10T23:08:25, before the scan began" in scan.attrs["doubts"]


def test_other_detectors_are_named_by_the_user(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + ROWS), fluorescence="Zn Ka (mca1)", i1="")
    np.testing.assert_allclose(scan["mu"][0], [1e-4, 2e-4, 1.5e-4])
    assert scan["mu"].attrs["mode"] == "fluorescence"
    with pytest.raises(FormatError, match="fluorescence=: 'Zn Kb' is no column"):
        READER.read(_write(tmp_path, HEADER + ROWS), fluorescence="Zn Kb")


def test_columns_are_found_by_the_legend(tmp_path: Path) -> None:
    header = HEADER.replace("{I0}", "{x}").replace("{I1}", "{I0}").replace("{x}", "{I1}")
    scan = READER.read(_write(tmp_path, header + ROWS))
    np.testing.assert_allclose(scan["mu"][0], -np.log([2, 4, 4]))


def test_descending_windows_and_kev(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, HEADER + ROWS))
    turned = HEADER + "".join(reversed(ROWS.splitlines(keepends=True)))
    in_kev = HEADER + ROWS.replace("9509.000", "9.509").replace("9659.000", "9.659").replace(
        "9700.000", "9.700"
    )
    for text in (turned, in_kev, turned.replace("\n", "\r\n")):
        again = READER.read(_write(tmp_path, text.encode("latin-1")))
        np.testing.assert_allclose(again["energy"], scan["energy"])
        np.testing.assert_array_equal(again["mu"], scan["mu"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS, "line 1: ''; expected '; Epics Scan"),
        (HEADER.replace("1 dimensional", "2 dimensional") + ROWS, "a scan of 2 dimensions"),
        (HEADER.replace("{Energy}", "{Sample X}") + ROWS, "no 'Energy', not a scan of energy"),
        (HEADER.replace("; D2 =", "; D9 =") + ROWS, r"line 16: \['D2'\]; expected those of the"),
        (HEADER.replace(" D3\n", "\n") + ROWS, "line 17: 5 columns under 4 names"),
        (HEADER.replace("23:58:32", "later") + ROWS, "scan began: 'Thu Apr 10 later 2008'"),
        (HEADER.replace("Apr 10", "Foo 10") + ROWS, "month 'Foo' is not known"),
        (HEADER.replace("Apr 11", "Apr 09") + ROWS, "scan ended: .*; before the scan began"),
        (HEADER, "no numbers"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_missing_points_are_told(tmp_path: Path) -> None:
    two = "".join(ROWS.splitlines(keepends=True)[:2])
    assert READER.read(_write(tmp_path, HEADER + two)).attrs["truncated"] == "2 of 3 points"
    assert "line 19" in READER.read(_write(tmp_path, HEADER + ROWS[:-20])).attrs["truncated"]


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, (HEADER + ROWS).encode(), "scan.dat", frames=1)


@pytest.mark.shared_data
def test_the_edge_of_zinc_comes_out(shared_data: Path) -> None:
    folder = shared_data / "formats" / "xas" / "beamline_formats"
    scan = READER.read(File(folder / "APS13ID_2008.dat"))
    found = larch("xafs.pre_edge").preedge(scan["energy"].values, scan["mu"].values[0])
    tabulated = xraydb.xray_edge("Zn", "K").energy
    assert scan.attrs["e0_ev"] == tabulated
    assert found["e0"] == pytest.approx(tabulated, abs=8)
    assert found["edge_step"] > 0.3
    assert "truncated" not in scan.attrs


@pytest.mark.shared_data
def test_only_its_own_files_are_claimed(shared_data: Path) -> None:
    files = [path for path in (shared_data / "formats" / "xas").rglob("*") if path.is_file()]
    claimed = {path.name for path in files if READER.sniff(path.read_bytes()[: 1 << 16], path.name)}
    assert claimed == {"APS13ID_2008.dat"}
