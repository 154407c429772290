"""MRCAT scans: a zone by its abbreviation, regions in eV and in k, readings per second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xraydb

from operando_readers._reader import File, FormatError
from operando_readers.mrcat_text import READER

ROWS = """ 6380       1000 500 250 -10
 6540       1000 250 125 10
 6640       1000 125 50 20
"""


def _text(
    *,
    created: str = "APS 10BM on Tue Jul  9 15:35:15 2019 CDT",
    regions: str = "SRB= -160 -20 50 12k\nSRSS= 5 0.5 0.05k\nSPP= 1 2 0.5k",
    labels: str = "   energy       Io       It     Iref       If ",
    rows: str = ROWS,
) -> str:
    return (
        "MRCAT_XAFS V0.4 Datafile\n"
        f'"größe.002" created at {created}\n'
        "Ring energy= 7.00 GeV\nE0= 6540.00\nNUM_REGIONS= 3\n"
        f"{regions}\nSettling time= 0.25\n\n\nOffsets= 11317.00 11302.00 \nGains= 8.00 8.00\n"
        f"MnO2\n\n4 layers\n{'-' * 96}\n{labels}\n{rows}"
    )


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "scan.002"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_a_scan(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    np.testing.assert_array_equal(scan["energy"], [6380, 6540, 6640])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 8]))
    np.testing.assert_allclose(scan["mu_fluorescence"][0], [-0.01, 0.01, 0.02])
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 2.5]))
    assert scan.attrs["clock"] == {
        "start": "2019-07-09T15:35:15",
        "zone": "-05:00",
        "marks": "start",
        "source": "header",
        "sigma_s": 0.5,
    }
    assert scan.attrs["e0_ev"] == 6540
    assert scan.attrs["instrument"] == "APS 10BM"
    assert "größe.002" in scan.attrs["original_metadata"]["header"]


def test_the_dwell_is_that_of_the_region(tmp_path: Path) -> None:
    """k = sqrt(100 eV / 3.81 eV A^2) = 5.1232 in 1/A at 6640 eV, half a second each."""
    scan = READER.read(_write(tmp_path, _text()))
    np.testing.assert_allclose(scan["dwell"][0], [1, 2, 0.5 * 5.1232], rtol=1e-4)
    assert scan["exposure"].values == pytest.approx([1 + 2 + 0.5 * 5.1232 + 3 * 0.25], rel=1e-4)


@pytest.mark.parametrize(
    ("regions", "dwell"),
    [
        ("SRB= 6380\nSRSS= 0.35\nSPP= 0.1", [0.1, 0.1, 0.1]),
        ("SRB= 6380 6520 6590 12k\nSRSS= 5 1 1\nSPP= 1 2 3", [1, 2, 3]),
        ("SRB= -160 -20 50 12k\nSPP= 1 2", None),
        ("SRB= -160 -20 50 12k\nSPP= 1 2 many", None),
        ("SRB= -160 -20 50 12k", None),
    ],
)
def test_regions(tmp_path: Path, regions: str, dwell: list[float] | None) -> None:
    """Absolute boundaries too; where the header contradicts itself there is no exposure."""
    scan = READER.read(_write(tmp_path, _text(regions=regions)))
    if dwell is None:
        assert not {"dwell", "exposure"} & set(scan.variables)
    else:
        np.testing.assert_allclose(scan["dwell"][0], dwell)


@pytest.mark.parametrize(
    ("created", "start", "zone"),
    [
        ("APS 10BM on Sun Mar 10 01:59:59 2019 CST", "2019-03-10T01:59:59", "-06:00"),
        ("APS Sector 10-ID on Sun Nov  3 01:30:00 2019", "2019-11-03T01:30:00", None),
        ("APS 10BM on Sun Nov  3 01:30:00 2019 UTC", "2019-11-03T01:30:00", "UTC"),
        ("APS 10BM on Sun Nov  3 01:30:00 2019 IST", "2019-11-03T01:30:00", None),
    ],
)
def test_dates(tmp_path: Path, created: str, start: str, zone: str | None) -> None:
    """With CDT and CST both hours of the night in which summer time ends are told apart."""
    scan = READER.read(_write(tmp_path, _text(created=created)))
    assert (scan.attrs["clock"]["start"], scan.attrs["clock"]["zone"]) == (start, zone)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    other = _text(labels="   energy       It       Io     Iref       If ")
    scan = READER.read(_write(tmp_path, other))
    np.testing.assert_allclose(scan["mu"][0], -np.log([2, 4, 8]))
    multichannel = _text(labels="   energy   mcs3 mcs4 mcs5 mcs6")
    with pytest.raises(FormatError, match=r"name columns for i0= .* out of \['mcs3', 'mcs4'"):
        READER.read(_write(tmp_path, multichannel))
    named = READER.read(_write(tmp_path, multichannel), i0="mcs3", i1="mcs4", iref="")
    np.testing.assert_allclose(named["mu"][0], np.log([2, 4, 8]))


def test_descending_twice_measured_and_windows_lines(tmp_path: Path) -> None:
    rows = "".join(reversed((ROWS + " 6640 1000 500 50 0\n").splitlines(keepends=True)))
    for content in (_text(rows=rows).encode(), _text(rows=rows).replace("\n", "\r\n").encode()):
        scan = READER.read(_write(tmp_path, content))
        np.testing.assert_array_equal(scan["energy"], [6380, 6540, 6640])
        np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 4]))


def test_energies_in_kev_are_seen_by_e0(tmp_path: Path) -> None:
    rows = ROWS.replace("6380", "6.380").replace("6540", "6.540").replace("6640", "6.640")
    scan = READER.read(_write(tmp_path, _text(rows=rows)))
    np.testing.assert_allclose(scan["energy"], [6380, 6540, 6640])


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    text = _text()
    for broken, message in (
        ("", "line 1: ''; expected 'MRCAT_XAFS V0.4 Datafile'"),
        (text[: text.index("---")], "ends before the names of columns"),
        (text.replace("created at", "made at"), "line 2: no .*created at APS 10BM on"),
        (text.replace("Jul  9", "Foo  9"), "line 2: .*month 'Foo' is not known"),
        (text.replace("   energy", "   angle"), "no 'energy'"),
        (text.replace(" 6540       ", " beam "), "line 20: .*expected numbers"),
        (text.replace(" If ", " "), "5 columns under 4 names"),
    ):
        with pytest.raises(FormatError, match=message):
            READER.read(_write(tmp_path, broken))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, _text().encode(), "scan.002", frames=1)


@pytest.mark.shared_data
def test_the_foil_lies_at_its_edge_and_readings_are_per_second(shared_data: Path) -> None:
    path = shared_data / "formats" / "xas" / "beamline_formats" / "APS10BM_2019.dat"
    assert READER.sniff(path.read_bytes()[:100], path.name)
    scan = READER.read(File(path))
    slope = np.gradient(scan["mu_reference"].values[0], scan["energy"].values)
    edge = scan["energy"].values[np.argmax(slope)]
    assert edge == pytest.approx(xraydb.xray_edge("Mn", "K").energy, abs=2)
    readings = np.loadtxt(path.read_text().splitlines()[18:])[:, 1:]
    counts = readings * 0.1  # SPP= 0.1
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    assert np.gcd.reduce(readings.astype(int).ravel()) == 10
