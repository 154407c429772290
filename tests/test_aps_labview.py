"""LabVIEW scans of the APS: names of 21 characters, dark chambers, lines of a detector, clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xraydb

from operando_readers._larch import larch
from operando_readers._reader import File, FormatError
from operando_readers.aps_labview import READER

MINE = {
    **{"6_Ti.0001": ("Ti", "K"), "APS20BM_2001.dat": ("Fe", "K"), "APS20ID_2018.dat": ("As", "K")},
    **{"APS20ID_2022.dat": ("Pb", "L3"), "APS9BM_2019.dat": ("Mn", "K")},
}
"""The real files, with the edge E0 in their headers stands for."""
FIRST = (
    "# 1-D Scan File created by LabVIEW Control Panel  11/2/2022  12:05:07 AM; "
    "Scan time 1 hrs 2 min 60 sec. "
)
NAMES = ("Mono Energy *", "Scaler preset time *", "I0", "IT", "Iref")
ROWS = (
    (11800.0, 1.0, 2000.0, 1000.0, 500.0),
    (11860.0, 1.0, 2000.0, 500.0, 250.0),
    (11867.0, 2.0, 4000.0, 1000.0, 400.0),
)


def _text(
    names: tuple[str, ...] = NAMES,
    rows: tuple[tuple[float, ...], ...] = ROWS,
    *,
    first: str = FIRST,
    e0: str = "11867.00 eV   3 points",
) -> str:
    header = [first, "#", "# Beamline 20 BM", "# User Comment:", "# größer, 25 µm", "#"]
    header += [f"#                 E0: {e0}", "# Column Headings:"]
    last = "#" + "".join(name.ljust(21) for name in names)
    body = ["".join(f"{value:21.8f} " for value in row) for row in rows]
    return "\n".join([*header, last, *body, ""])


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "scan.0001"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_counters_and_absorption(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    np.testing.assert_array_equal(scan["energy"], [11800, 11860, 11867])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 4]))
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 2.5]))
    np.testing.assert_array_equal(scan["dwell"][0], [1, 1, 2])
    assert scan["mu"].attrs["mode"] == "transmission"
    assert scan["dwell"].attrs["units"] == "s"
    assert scan["i1"].attrs["column"] == "IT"
    assert (scan.attrs["instrument"], scan.attrs["e0_ev"]) == ("APS 20 BM", 11867.0)
    assert "größer, 25 µm" in scan.attrs["original_metadata"]["header"]


def test_the_clock_is_us_order_and_the_exposure_the_scan_time(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    assert scan.attrs["clock"]["start"] == "2022-11-02T00:05:07"
    assert scan.attrs["clock"]["zone"] is None
    assert scan.attrs["clock"]["marks"] == "start"
    assert scan["exposure"].values == [3600 + 120 + 60]


def test_the_old_header_has_minutes_and_no_scan_time(tmp_path: Path) -> None:
    first = "#1-D Scan File created  8/10/01  11:10 PM by LabVIEW Control Panel "
    scan = READER.read(_write(tmp_path, _text(first=first)))
    assert scan.attrs["clock"]["start"] == "2001-08-10T23:10:00"
    assert scan.attrs["clock"]["sigma_s"] == 30.0
    assert scan["exposure"].values == [4.0]


@pytest.mark.shared_data
def test_the_data_library_publishes_the_stamp_as_start_time(shared_data: Path) -> None:
    """FeO_rt_01.xdi is this scan: the same counts, and Scan.start_time is the stamp."""
    folder = shared_data / "formats" / "xas"
    scan = READER.read(File(folder / "beamline_formats" / "APS20BM_2001.dat"))
    published = (folder / "fe_valence" / "FeO_rt_01.xdi").read_text().splitlines()
    header = [line for line in published if line.startswith("#")]
    table = np.loadtxt(published[len(header) :])
    assert "# Scan.start_time: 2001-08-10 11:10:00" in header
    assert scan.attrs["clock"]["start"] == "2001-08-10T11:10:00"
    np.testing.assert_allclose(scan["energy"], table[:, 0], atol=1e-4)
    np.testing.assert_allclose(scan["i0"][0], table[:, 1], rtol=1e-7)
    np.testing.assert_allclose(scan["i1"][0], table[:, 2], rtol=1e-6)


def test_a_long_line_costs_no_more_than_its_length(tmp_path: Path) -> None:
    """Looking for the end of the beamline's name again at every blank took hours at this length."""
    blanks = " " * 300_000
    file = _write(tmp_path, _text().replace("Beamline 20 BM", f"Beamline 20 BM{blanks}x"))
    start = time.process_time()
    assert READER.read(file).attrs["instrument"] == f"APS 20 BM{blanks}x"
    assert time.process_time() - start < 10


def test_energies_descend_and_lines_end_as_windows_ends_them(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    text = _text(rows=ROWS[::-1]).replace("\n", "\r\n")
    turned = READER.read(_write(tmp_path, text.encode("cp1252")))
    np.testing.assert_array_equal(turned["energy"], scan["energy"])
    np.testing.assert_array_equal(turned["mu"], scan["mu"])


def test_kev_is_told_by_e0_by_the_name_or_by_the_user(tmp_path: Path) -> None:
    rows = tuple((row[0] / 1000, *row[1:]) for row in ROWS)
    named = ("Mono Energy (keV) *", *NAMES[1:])
    for text, options in (
        (_text(rows=rows), {}),
        (_text(named, rows, e0="none"), {}),
        (_text(rows=rows, e0="none"), {"energy_unit": "keV"}),
    ):
        scan = READER.read(_write(tmp_path, text), **options)
        np.testing.assert_allclose(scan["energy"], [11800, 11860, 11867])
    with pytest.raises(FormatError, match=r"11.8 to 11.867; no energies in eV, pass energy_unit="):
        READER.read(_write(tmp_path, _text(rows=rows, e0="none")))


LINES = ("Mono Energy *", "PreKB-I0", "IT", "X4:DT Corr I0", "X4:AsKa_Sum", "X4:FeKa_Sum")
COUNTS = ((11800.0, 1e5, -0.8, 9e4, 18.0, 50.0), (11900.0, 1e5, 5.2, 8e4, 800.0, 50.0))


def test_the_line_of_the_edge_corrected_for_dead_time(tmp_path: Path) -> None:
    """Live part 0.9 and 0.8; no light behind the sample, so fluorescence is what there is."""
    scan = READER.read(_write(tmp_path, _text(LINES, COUNTS)))
    np.testing.assert_allclose(scan["fluorescence"][0], [20, 1000])
    np.testing.assert_allclose(scan["mu"][0], [2e-4, 1e-2])
    assert scan["mu"].attrs["mode"] == "fluorescence"
    assert scan["fluorescence"].attrs["dead_time"] == "corrected by X4:DT Corr I0"
    assert scan.attrs["left_out"] == "i1 = IT: reads 2.2 at the median, no beam"


def test_columns_are_what_the_user_says(tmp_path: Path) -> None:
    file = _write(tmp_path, _text(LINES, COUNTS))
    scan = READER.read(file, fluorescence=["X4:AsKa_Sum", "X4:FeKa_Sum"])
    np.testing.assert_allclose(scan["fluorescence"][0], [68 / 0.9, 850 / 0.8])
    scan = READER.read(file, i1="X4:FeKa_Sum", fluorescence="")
    np.testing.assert_allclose(scan["mu"][0], np.log([2e3, 2e3]))
    assert "mu_fluorescence" not in scan
    with pytest.raises(FormatError, match="i0=: 'I0' is no column; there are"):
        READER.read(file, i0="I0")


@pytest.mark.parametrize("e0", ["none", "9000.00 eV"])
def test_a_line_that_e0_does_not_choose_is_asked_for(tmp_path: Path, e0: str) -> None:
    with pytest.raises(FormatError, match=r"fluorescence: one of .*AsKa_Sum.*FeKa_Sum.*; name it"):
        READER.read(_write(tmp_path, _text(LINES, COUNTS, e0=e0)))


def test_a_detector_without_live_time_is_not_corrected(tmp_path: Path) -> None:
    dead = tuple((*row[:3], 0.0, *row[4:]) for row in COUNTS)
    scan = READER.read(_write(tmp_path, _text(LINES, dead)))
    np.testing.assert_allclose(scan["fluorescence"][0], [18, 800])
    assert "dead_time" not in scan["fluorescence"].attrs


def test_missing_points_are_told(tmp_path: Path) -> None:
    text = _text()
    assert "truncated" not in READER.read(_write(tmp_path, text)).attrs
    assert READER.read(_write(tmp_path, _text(rows=ROWS[:2]))).attrs["truncated"] == "2 of 3 points"
    assert "cut short" in READER.read(_write(tmp_path, text[:-30])).attrs["truncated"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# 1-D Scan File\n1 2\n", "line 1: '# 1-D Scan File'"),
        (_text(first=FIRST.replace("11/2/2022", "13/2/2022")), "line 1: '13/2/2022'; month"),
        (_text(first=FIRST.replace("11/2/2022  12:05:07 AM", "")), "line 1: empty"),
        (_text(first=FIRST.replace("11/2/2022", "today")), "line 1: 'today  12:05:07 AM'"),
        (_text(("Sample X *", *NAMES[1:])), "no 'Mono Energy', not a scan of energy"),
        (_text((*NAMES[:2], "a", "b", "c")), "counters: none; name columns for i0= and i1="),
        (_text().replace(NAMES[0].ljust(21), NAMES[0]), "line 9: not 5 names of 21 characters"),
        (_text().replace(" 500.0", " 500,0"), "expected numbers"),
        (_text(rows=()), "no numbers"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, _text(LINES, COUNTS).encode(), "scan.0001", frames=1)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", MINE)
def test_an_edge_comes_out_where_e0_says(shared_data: Path, name: str) -> None:
    """Against larch's E0 and the tabulated edge; TiO2 has its steepest rise 19 eV above Ti."""
    scan = READER.read(File(shared_data / "formats" / "xas" / "beamline_formats" / name))
    energy, mu = scan["energy"].values.copy(), scan["mu"].values[0].copy()
    tabulated = xraydb.xray_edge(*MINE[name]).energy
    found = larch("xafs.pre_edge").preedge(energy, mu)
    assert abs(found["e0"] - tabulated) < 25
    assert found["edge_step"] > 0.4
    assert scan.attrs.get("e0_ev", tabulated) == pytest.approx(tabulated, abs=2)


@pytest.mark.shared_data
def test_the_foil_of_the_titanium_scan_is_titanium(shared_data: Path) -> None:
    folder = shared_data / "formats" / "xas" / "beamline_formats"
    scan = READER.read(File(folder / "6_Ti.0001"))
    reference = scan["mu_reference"].values[0].copy()
    e0 = larch("xafs").find_e0(scan["energy"].values.copy(), reference)
    assert e0 == pytest.approx(4966.0, abs=1)


@pytest.mark.shared_data
def test_only_its_own_files_are_claimed(shared_data: Path) -> None:
    files = [path for path in (shared_data / "formats" / "xas").rglob("*") if path.is_file()]
    claimed = {path.name for path in files if READER.sniff(path.read_bytes()[: 1 << 16], path.name)}
    assert claimed == set(MINE)
