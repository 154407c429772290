"""QAS and ISS scans: columns by name, US dates, bins without measurement, inverted amplifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from operando_readers._reader import File, FormatError
from operando_readers.nsls2_text import READER

HEADER = """# Facility: NSLS-II
# Beamline: QAS
# Start time: 02/03/2023  11:36:53
# Stop time: 02/03/2023  11:37:24
# Element: Molybdenum ( 42)
# Edge: K
# E0: 20000
# Reference Foil Element: Mo
# Ion Chamber Gas Flow Rates: I0: 0.00 sccm He
# Ion Chamber Gas Flow Rates: It&Iref: 19.70 sccm N2
#
# energy  i0  it  ir  iff  aux1
"""
POINTS = [
    [19970.0, 8.0, 4.0, 2.0, 0.5, 9.0],
    [19971.0, 8.0, 2.0, 1.0, 1.0, 9.0],
    [19972.0, 9.0, 3.0, 1.0, 3.0, 9.0],
]


def _write(folder: Path, points: list[list[float]] = POINTS, *, header: str = HEADER) -> File:
    path = folder / "foil 0001.dat"
    rows = "".join(f"{p[0]:.6f} " + " ".join(f"{v:.6e}" for v in p[1:]) + "\n" for p in points)
    path.write_text(header + rows)
    return File(path)


def _read(
    folder: Path, *changes: tuple[str, str], points: list[list[float]] = POINTS
) -> xr.Dataset:
    header = HEADER
    for old, new in changes:
        assert old in header
        header = header.replace(old, new)
    return READER.read(_write(folder, points, header=header))


def test_counters_become_absorption(tmp_path: Path) -> None:
    scan = _read(tmp_path)
    np.testing.assert_array_equal(scan["energy"], [19970, 19971, 19972])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 3]), rtol=1e-15)
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 3]), rtol=1e-15)
    np.testing.assert_allclose(scan["mu_fluorescence"][0], [1 / 16, 1 / 8, 1 / 3], rtol=1e-15)
    assert scan["mu"].attrs["mode"] == "transmission"
    assert scan.attrs["points_dropped"] == 0
    assert "inverted" not in scan.attrs


def test_dates_have_the_month_first(tmp_path: Path) -> None:
    scan = _read(tmp_path)
    assert scan.attrs["clock"] == {
        "start": "2023-02-03T11:36:53",
        "zone": None,
        "marks": "start",
        "source": "header",
        "sigma_s": 0.5,
    }
    assert scan["exposure"].values == [31.0]


def test_a_scan_of_less_than_a_second_has_no_known_length(tmp_path: Path) -> None:
    assert "exposure" not in _read(tmp_path, ("11:37:24", "11:36:53")).coords


def test_a_scan_at_the_end_of_summer_time_is_read(tmp_path: Path) -> None:
    """Clocks go from 2:00 back to 1:00: how long the scan took is not known."""
    begin, end = ("02/03/2023  11:36:53", "11/05/2023  01:59:50"), ("11:37:24", "01:00:21")
    scan = _read(tmp_path, begin, ("02/03/2023  11:37:24", "11/05/2023  11:37:24"), end)
    assert scan.attrs["clock"]["start"] == "2023-11-05T01:59:50"
    assert "exposure" not in scan.coords
    assert "was the clock set back?" in scan.attrs["doubts"]


def test_a_column_that_comes_twice_is_read_once(tmp_path: Path) -> None:
    scan = _read(tmp_path, ("  aux1", "  i0"))
    np.testing.assert_array_equal(scan["i0"][0], [8, 8, 9])


def test_what_the_header_says(tmp_path: Path) -> None:
    attrs = _read(tmp_path).attrs
    assert (attrs["element"], attrs["edge"], attrs["reference_element"]) == ("Mo", "K", "Mo")
    assert attrs["instrument"] == "NSLS-II QAS"
    assert attrs["original_metadata"]["Ion Chamber Gas Flow Rates"].split("; ") == [
        "I0: 0.00 sccm He",
        "It&Iref: 19.70 sccm N2",
    ]
    attrs = _read(tmp_path, ("Molybdenum ( 42)", "As"), ("Edge: K", "Edge: none")).attrs
    assert (attrs["element"], attrs.get("edge")) == ("As", None)


@pytest.mark.parametrize("names", ["# energy  i0  ir  it  iff  aux1", "# # energy i0 ir it iff x"])
def test_columns_are_found_by_name(tmp_path: Path, names: str) -> None:
    """ISS has ir before it, and a second # in front."""
    swapped = [[p[0], p[1], p[3], p[2], p[4], p[5]] for p in POINTS]
    scan = _read(tmp_path, ("# energy  i0  it  ir  iff  aux1", names), points=swapped)
    assert scan.identical(_read(tmp_path))


def test_bins_without_measurement_are_dropped_and_counted(tmp_path: Path) -> None:
    """Their counters are the tails of the weights of the nearest points, not readings."""
    tails = [[19960.0 + n, *(v * 10.0 ** (-90 + 10 * n) for v in POINTS[0][1:])] for n in range(8)]
    behind = [[19980.0, *(v * 1e-8 for v in POINTS[2][1:])]]
    scan = _read(tmp_path, points=[*tails, *POINTS, *behind])
    assert scan.attrs["points_dropped"] == 9
    assert scan.drop_attrs().identical(_read(tmp_path).drop_attrs())


def test_a_bin_without_measurement_between_others_is_nan(tmp_path: Path) -> None:
    empty = [19970.5, 4e-9, 2e-9, 1e-9, 1e-10, 1e-9]
    scan = _read(tmp_path, points=[POINTS[0], empty, *POINTS[1:]])
    assert scan.attrs["points_dropped"] == 0
    for name in scan.data_vars:
        np.testing.assert_array_equal(np.isnan(scan[name][0]), [False, True, False, False])


def test_inverting_amplifiers_are_turned_over(tmp_path: Path) -> None:
    turned = [[p[0], -p[1], -p[2], p[3], -p[4], p[5]] for p in POINTS]
    scan = _read(tmp_path, points=turned)
    assert scan.attrs["inverted"] == "i0, i1, fluorescence"
    assert scan.drop_attrs().identical(_read(tmp_path).drop_attrs())


def test_a_glitch_does_not_hide_an_inverting_amplifier(tmp_path: Path) -> None:
    """One reading of the wrong sign costs its point, not the scan."""
    points = [[19970.0 + n, 8.0, -4.0, 2.0, 0.5, 1.0] for n in range(20)]
    points[7][2] = 4.0
    scan = _read(tmp_path, points=points)
    assert scan.attrs["inverted"] == "i1"
    assert np.flatnonzero(np.isnan(scan["mu"][0])).tolist() == [7]


def test_a_counter_around_zero_is_not_turned_over(tmp_path: Path) -> None:
    noise = [[*p[:4], f, p[5]] for p, f in zip(POINTS, (-1e-6, 1e-6, -1e-6), strict=True)]
    scan = _read(tmp_path, points=noise)
    np.testing.assert_array_equal(scan["fluorescence"][0], [-1e-6, 1e-6, -1e-6])
    assert "inverted" not in scan.attrs


def test_a_scan_in_fluorescence_alone(tmp_path: Path) -> None:
    scan = _read(tmp_path, ("  it  ir  ", "  a  b  "))
    assert scan["mu"].attrs["mode"] == "fluorescence"
    np.testing.assert_allclose(scan["mu"][0], [1 / 16, 1 / 8, 1 / 3], rtol=1e-15)


def test_a_foil_of_the_library_has_no_time(tmp_path: Path) -> None:
    path = tmp_path / "Zr foil.dat"
    path.write_text("# energy mu dmude\n1.7824e+04 3.8e-01 0\n1.7829e+04 3.9e-01 0\n")
    foil = READER.read(File(path))
    np.testing.assert_array_equal(foil["mu"], [[0.38, 0.39]])
    assert foil["mu"].attrs["mode"] == "file"
    assert (foil.attrs["clock"]["start"], foil.attrs["clock"]["source"]) == (None, "none")
    assert READER.sniff(path.read_bytes(), path.name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("# energy", "# E")], r"line 12: columns \['E'.*expected 'energy'"),
        ([("  i0  ", "  I_0  ")], r"line 12: columns .*expected i0 with it or iff"),
        ([("  it  ", "  a  "), ("  iff", "  b")], r"expected i0 with it or iff"),
        ([("  aux1", "")], "line 13: 6 columns under 5 names"),
        ([("# Start time", "# Begin")], "Start time: missing; expected MM/DD/YYYY"),
        ([("02/03/2023  11:36:53", "13/02/2023  11:36:53")], "Start time: .*month must be"),
        ([("Stop time: 02", "Stop time: 01")], "Stop time: 2023-01-03T.*; before the scan began"),
        ([("Stop time: 02/03/2023", "Stop time: today")], "Stop time: .*expected a date"),
    ],
)
def test_what_is_no_scan_is_refused(
    tmp_path: Path, changes: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, *changes)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[p[0], 0.0, *p[2:]] for p in POINTS], "i0: no reading other than zero"),
        ([[p[0] / 1000, *p[1:]] for p in POINTS], "may be in keV"),
        ([[p[0], float("nan"), *p[2:]] for p in POINTS], "i0: no reading"),
        ([], "no numbers"),
    ],
)
def test_what_was_not_measured_is_refused(
    tmp_path: Path, points: list[list[float]], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, points=points)


def test_numbers_without_a_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"line 1: .*expected '#' lines"):
        READER.read(_write(tmp_path, header=""))


@given(at=st.integers(0, 600), byte=st.integers(0, 255), cut=st.integers(1, 700))
def test_a_damaged_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    raw = bytearray(_write(folder).read_bytes())
    raw[at % len(raw)] = byte
    path = folder / "damaged.dat"
    path.write_bytes(bytes(raw[:cut]))
    try:
        scan = READER.read(File(path))
    except FormatError:
        return
    assert np.all(np.diff(scan["energy"]) > 0)
    assert scan["mu"].dims == ("time", "energy")
