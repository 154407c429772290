"""XDAC scans: elements of a detector, dwell by column and by region, the date of the US."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xraydb

from operando_readers._reader import File, FormatError
from operando_readers._region_scan import opened
from operando_readers.xdac_text import READER

LABELS = "Energy I0 It Ifch1 Ifch2 Ifslow1 Ifslow2 Iffast1 Iffast2 Iref IntTime"
ROWS = """    6912.0   1000.0  500.0   1.0   2.0  900.0 900.0 999.0 999.0  250.0  1.0
    7112.0   1000.0  250.0  10.0  20.0  900.0 900.0 999.0 999.0  125.0  1.0
    7172.0   1000.0  125.0 100.0 200.0  900.0 900.0 999.0 999.0   50.0  1.5
"""


def _text(*, created: str = "6/27/11 at 2:22:40 PM on X-23A2", labels: str = LABELS) -> str:
    return (
        "XDAC V1.4 Datafile V1\n"
        f'"Fe größer.002" created on {created}\n'
        "Diffraction element= Si (311).  Ring energy= 2.80 GeV\n"
        "E0= 7112.00\nNUM_REGIONS= 2\nSRB= -200 30 13k\nSRSS= 10 0.05k\nSPP= 1 0.25k\n"
        "Settling time= 0.20\n\n\nOffsets= 103.00 58.00\nGains= 8.00 9.00\nlayers\nN2 in I0\n\n"
        f"{'-' * 80}\n{labels}\n{ROWS}"
    )


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "scan.002"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_a_scan(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    np.testing.assert_array_equal(scan["energy"], [6912, 7112, 7172])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 8]))
    np.testing.assert_allclose(scan["mu_fluorescence"][0], [0.003, 0.03, 0.3])
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 2.5]))
    assert scan["exposure"].values == pytest.approx([3.5 + 3 * 0.2])
    assert scan.attrs["clock"]["start"] == "2011-06-27T14:22:40"
    assert scan.attrs["clock"]["zone"] is None
    assert scan.attrs["instrument"] == "NSLS X-23A2"
    assert scan.attrs["e0_ev"] == 7112
    assert "Fe größer" in scan.attrs["original_metadata"]["header"]


def test_bad_elements_are_left_out_by_naming_the_good(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()), i1="", fluorescence=["Ifch2"])
    np.testing.assert_allclose(scan["mu"][0], [0.002, 0.02, 0.2])
    assert scan["mu"].attrs["mode"] == "fluorescence"
    assert scan["fluorescence"].attrs["column"] == "Ifch2"


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text(labels=LABELS.replace("I0 It", "It I0"))))
    np.testing.assert_allclose(scan["mu"][0], -np.log([2, 4, 8]))


def test_without_a_column_the_regions_tell_the_dwell(tmp_path: Path) -> None:
    """k = sqrt(60 eV / 3.81 eV A^2) = 3.9684 in 1/A at 7172 eV, a quarter second each."""
    text = _text(labels=LABELS.replace("IntTime", "Clock"))
    dwell = READER.read(_write(tmp_path, text))["dwell"]
    np.testing.assert_allclose(dwell[0], [1, 1, 0.25 * 3.9684], rtol=1e-4)


@pytest.mark.parametrize(
    ("created", "start"),
    [
        ("3/4/05 at 12:05:00 AM on X-11B", "2005-03-04T00:05:00"),
        ("12/31/1999 at 12:59:59 PM", "1999-12-31T12:59:59"),
    ],
)
def test_dates(tmp_path: Path, created: str, start: str) -> None:
    scan = READER.read(_write(tmp_path, _text(created=created)))
    assert scan.attrs["clock"]["start"] == start
    assert scan.attrs["instrument"] == ("NSLS X-11B" if "X-11B" in created else "NSLS (XDAC)")


def test_descending_and_windows_lines(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    turned = _text().replace(ROWS, "".join(reversed(ROWS.splitlines(keepends=True))))
    for content in (turned.encode(), turned.replace("\n", "\r\n").encode("latin-1")):
        again = READER.read(_write(tmp_path, content))
        assert again.drop_attrs().equals(scan.drop_attrs())


def test_a_cut_last_row_is_left_out(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()[:-12]))
    assert scan.sizes["energy"] == 2
    assert scan.attrs["truncated"].startswith("line 21: cut short")


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    text = _text()
    for broken, message in (
        ("", "line 1: ''; expected 'XDAC V1.4 Datafile V1'"),
        (text[: text.index("---")], "ends before the names of columns"),
        (text.replace("created on", "made on"), "line 2: no .*created on 6/27/11"),
        (text.replace("6/27/11", "27/6/11"), "line 2: .*month must be in 1..12"),
        (text.replace("2:22:40 PM", "14:22:40 PM"), "line 2: .*hour 14 with PM"),
        (text.replace("Energy I0", "Angle I0"), "no 'Energy'"),
        (text.replace("7112.0 ", "beam "), "line 20: .*expected numbers"),
        (text.replace(" IntTime", ""), "11 columns under 10 names"),
    ):
        with pytest.raises(FormatError, match=message):
            READER.read(_write(tmp_path, broken))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, _text().encode(), "scan.002", frames=1)


@pytest.mark.shared_data
def test_the_real_file_proves_what_is_said_of_it(shared_data: Path) -> None:
    """Dwell by region is the column IntTime; readings plus offset times it are whole counts."""
    path = shared_data / "formats" / "xas" / "beamline_formats" / "NSLS_XDAC_2011.dat"
    assert READER.sniff(path.read_bytes()[:100], path.name)
    parts = opened(File(path), first=re.compile("XDAC"), what="XDAC")
    dwell = parts.columns["IntTime"]
    by_region = parts.dwell(parts.columns["Energy"])
    assert by_region is not None
    np.testing.assert_allclose(by_region, dwell, atol=1e-3)  # the file has 1 ms
    for name, offset in (("I0", 103), ("It", 58), ("Iref", 89)):
        counts = parts.columns[name] + offset * dwell
        np.testing.assert_allclose(counts, np.round(counts), atol=2e-3)
    scan = READER.read(File(path))
    slope = np.gradient(scan["mu_fluorescence"].values[0], scan["energy"].values)
    edge = scan["energy"].values[np.argmax(slope)]
    # Fe(III) lies some 13 eV above the metal, and this monochromator was not calibrated.
    assert edge == pytest.approx(xraydb.xray_edge("Fe", "K").energy + 13, abs=10)
