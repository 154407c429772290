"""Diamond B18: a file made after what is published of the format, columns by name.

No real file was at hand. Names, order and the header are those of GDA's writer and averaging tool,
ixdat's reader and Athena's plugin: energy in column 1, I0 in 3, the 36 elements in 8 to 43.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operando_readers._reader import File, FormatError
from operando_readers.diamond_b18 import READER

START = """# Diamond Light Source
# Instrument: B18-CORE XAS
# Date: Fri, 13 May 2022 19:21:24 BST
#
# Sample description: größer, 5 µm
# Dark current has been automatically removed from counts in main scan (I0,It,Iref)
#
"""
COUNTERS = ("qexafs_energy", "time", "I0", "It", "Iref", "lnI0It", "lnItIref")
ELEMENTS = tuple(f"Element_{number}" for number in range(36))
ENERGIES = (8900.0, 8979.0, 9050.0)


def _rows(*, fluorescence: bool) -> list[list[float]]:
    rows = []
    for at, energy in enumerate(ENERGIES):
        i0, it, iref = 2e4, 1e4 / (1 + at), 5e3 / (1 + at)
        row = [energy, 0.5, i0, it, iref, np.log(i0 / it), np.log(it / iref)]
        if fluorescence:
            elements = [float((at + 1) * (number + 1)) for number in range(36)]
            total = sum(elements)
            row += [*elements, total * 1.1, total * 1.1 / i0]
        rows.append(row)
    return rows


def _text(names: tuple[str, ...], rows: list[list[float]], *, start: str = START) -> str:
    body = ["\t".join(f"{value:.10g}" for value in row) for row in rows]
    return "\n".join([start + "# " + "\t".join(names), *body, ""])


PLAIN = _text(COUNTERS, _rows(fluorescence=False))
FULL = (*COUNTERS, *ELEMENTS, "FF", "QexafsFFI0")


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "scan.dat"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_transmission_and_the_foil(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, PLAIN))
    np.testing.assert_array_equal(scan["energy"], ENERGIES)
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 6]))
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 2]))
    np.testing.assert_array_equal(scan["dwell"][0], [0.5, 0.5, 0.5])
    assert "mu_fluorescence" not in scan
    assert scan["exposure"].values == [1.5]
    assert "größer, 5 µm" in scan.attrs["original_metadata"]["header"]


@pytest.mark.parametrize(
    ("stamp", "start"),
    [
        ("Fri, 13 May 2022 19:21:24 BST", "2022-05-13T18:21:24"),
        ("Mon, 6 Feb 2023 05:38:21 GMT", "2023-02-06T05:38:21"),
    ],
)
def test_the_date_carries_its_zone(tmp_path: Path, stamp: str, start: str) -> None:
    scan = READER.read(_write(tmp_path, PLAIN.replace("Fri, 13 May 2022 19:21:24 BST", stamp)))
    assert scan.attrs["clock"]["start"] == start
    assert scan.attrs["clock"]["zone"] == "UTC"
    assert scan.attrs["clock"]["marks"] == "start"


def test_a_long_date_costs_no_more_than_its_length(tmp_path: Path) -> None:
    """Looking for its end again at every blank took hours at this length."""
    file = _write(tmp_path, PLAIN.replace("BST", f"BST{' ' * 300_000}x"))
    start = time.process_time()
    with pytest.raises(FormatError, match="Date: '13 May 2022"):
        READER.read(file)
    assert time.process_time() - start < 10


def test_without_a_date_there_is_no_time(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, PLAIN.replace("# Date: ", "# Day ")))
    assert scan.attrs["clock"]["start"] is None


def test_the_sum_of_the_detector_is_gda_s(tmp_path: Path) -> None:
    file = _write(tmp_path, _text(FULL, _rows(fluorescence=True)))
    scan = READER.read(file)
    total = 36 * 37 / 2 * np.array([1, 2, 3])
    np.testing.assert_allclose(scan["fluorescence"][0], 1.1 * total)
    np.testing.assert_allclose(scan["mu_fluorescence"][0], 1.1 * total / 2e4)
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 6]))
    good = READER.read(file, i1="", fluorescence=["Element_0", "Element_35"])
    np.testing.assert_allclose(good["mu"][0], np.array([37, 74, 111]) / 2e4)
    assert good["mu"].attrs["mode"] == "fluorescence"


def test_without_it_the_36_elements_are_added(tmp_path: Path) -> None:
    """Columns 8 to 43, found by their names: here in another order, with I0 last."""
    rows = [row[:43] for row in _rows(fluorescence=True)]
    scan = READER.read(_write(tmp_path, _text(FULL[:43], rows)))
    total = 36 * 37 / 2 * np.array([1, 2, 3])
    np.testing.assert_allclose(scan["fluorescence"][0], total)
    names = (*FULL[:2], *FULL[3:43], "I0")
    moved = [[*row[:2], *row[3:43], row[2]] for row in rows]
    again = READER.read(_write(tmp_path, _text(names, moved)))
    np.testing.assert_array_equal(again["mu_fluorescence"], scan["mu_fluorescence"])
    np.testing.assert_array_equal(again["mu"], scan["mu"])


def test_absorption_as_the_file_has_it(tmp_path: Path) -> None:
    """FF/I0 where there is no FF, and logarithms alone."""
    rows = [[*row[:7], row[-1]] for row in _rows(fluorescence=True)]
    scan = READER.read(_write(tmp_path, _text((*COUNTERS, "QexafsFFI0"), rows)))
    np.testing.assert_allclose(scan["mu_fluorescence"][0], [row[-1] for row in rows])
    assert "fluorescence" not in scan
    logarithms = [[row[0], row[5], row[6]] for row in rows]
    names = ("qexafs_energy", "lnI0It", "lnItIref")
    scan = READER.read(_write(tmp_path, _text(names, logarithms)))
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 6]))
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 2]))
    assert scan["mu"].attrs["mode"] == "file"


def test_descending_windows_and_kev(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, PLAIN))
    rows = _rows(fluorescence=False)
    turned = _text(COUNTERS, rows[::-1])
    for text in (turned, turned.replace("\n", "\r\n"), turned.replace("\t", "  ")):
        again = READER.read(_write(tmp_path, text.encode("latin-1")))
        np.testing.assert_array_equal(again["energy"], scan["energy"])
        np.testing.assert_array_equal(again["mu"], scan["mu"])
    in_kev = _text(COUNTERS, [[row[0] / 1000, *row[1:]] for row in rows])
    with pytest.raises(FormatError, match=r"qexafs_energy: 8.9 to 9.05; no energies in eV"):
        READER.read(_write(tmp_path, in_kev))
    kev = READER.read(_write(tmp_path, in_kev), energy_unit="keV")
    np.testing.assert_allclose(kev["energy"], ENERGIES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("Diamond", "Ruby"), "line 1: '# Ruby Light Source'; expected 'Diamond'"),
        (PLAIN.replace("B18-CORE", "I20-XAS"), "expected 'Diamond' here and 'B18-CORE XAS'"),
        ("", "line 1: ''"),
        (PLAIN.replace("BST", "CEST"), "Date: .*CEST'; expected a date, a time and BST or GMT"),
        (PLAIN.replace("13 May", "33 May"), "Date: .*out of range"),
        (PLAIN.replace("qexafs_energy", "x"), "columns: .*; no energy"),
        (PLAIN.replace("lnItIref", "lnItIref\tFF"), "line 9: 7 columns under 8 names"),
        (
            PLAIN.replace("I0\t", "a\t", 1).replace("lnI0It", "b").replace("\tIt", "\tc", 1),
            "counters: {'iref': 'Iref'}; name columns for i0=",
        ),
        (PLAIN[: PLAIN.index("8900")], "no numbers"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_a_name_the_user_gives_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="i1=: 'I2' is no column"):
        READER.read(_write(tmp_path, PLAIN), i1="I2")


def test_a_cut_row_is_left_out(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, PLAIN[:-30]))
    assert scan.sizes["energy"] == 2
    assert "line 11: cut short" in scan.attrs["truncated"]


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, PLAIN.encode(), "scan.dat", frames=1)


def test_it_is_recognised() -> None:
    assert READER.sniff(PLAIN.encode(), "scan.dat")
    assert not READER.sniff(PLAIN.replace("B18", "I20").encode(), "scan.dat")


@pytest.mark.shared_data
def test_no_file_of_another_dialect_is_claimed(shared_data: Path) -> None:
    files = [path for path in (shared_data / "formats" / "xas").rglob("*") if path.is_file()]
    assert files
    assert not [p for p in files if READER.sniff(p.read_bytes()[: 1 << 16], p.name)]
