"""Scattering paths against geometry worked out by hand, and what is refused."""

from __future__ import annotations

import platform
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operando.errors import ReadError, RequestError
from operando.observables import feff
from operando.observables.feff import FeffPath, feff_paths, read_path

NASICON = """\
# NaZr2(PO4)3: cell and space group of Hagman and Kierkegaard, Acta Chem. Scand. 22 (1968) 1822;
# oxygen put where Zr-O is 2.04 and 2.08, P-O 1.53 and 1.55 angstrom: no refined structure.
data_sodium_zirconium_phosphate
_cell_length_a 8.8043
_cell_length_b 8.8043
_cell_length_c 22.7585
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'R -3 c :H'
_symmetry_Int_Tables_number 167
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 Na 0 0 0 1
Zr1 Zr 0 0 0.1456 1
P1 P 0.2909 0 0.25 1
O1 O 0.1856 -0.0138 0.1950 1
O2 O 0.1904 0.1679 0.0866 1
"""
METAL = """\
# Zirconium, hexagonal close packed, a = 3.2316, c = 5.1475 angstrom.
data_zirconium
_cell_length_a 3.2316
_cell_length_b 3.2316
_cell_length_c 5.1475
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 63/m m c'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Zr1 Zr 0.3333333 0.6666667 0.25
"""


def hexagonal(a: float, c: float, step: tuple[float, float, float]) -> float:
    """Length of a vector of a hexagonal cell, by the law of cosines."""
    x, y, z = step
    return float(np.sqrt(a**2 * (x**2 + y**2 - x * y) + c**2 * z**2))


@pytest.fixture(scope="module")
def structure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cif") / "nasicon.cif"
    path.write_text(NASICON, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def paths(structure: Path) -> list[FeffPath]:
    return feff_paths(structure, absorber="Zr", cluster=4.5)


def test_first_shell_of_zirconium_in_nasicon(paths: list[FeffPath]) -> None:
    first, second = paths[:2]
    near = hexagonal(8.8043, 22.7585, (0.1856, -0.0138, 0.1950 - 0.1456))
    far = hexagonal(8.8043, 22.7585, (0.1904, 0.1679, 0.0866 - 0.1456))
    for path, expected in ((first, near), (second, far)):
        assert path.atoms == ("Zr", "O")
        assert (path.legs, path.degeneracy) == (2, 3)
        assert path.distance == pytest.approx(expected, abs=2e-4)
    assert first.distance == pytest.approx(2.039, abs=0.005)  # found for this structure before
    assert 2.04 < second.distance < 2.10
    assert first.label == f"Zr-O {first.distance:.3f} x3"
    assert first.importance == 100
    assert [path.distance for path in paths] == sorted(path.distance for path in paths)
    [sodium] = [path for path in paths if path.atoms == ("Zr", "Na")]
    assert sodium.distance == pytest.approx(0.1456 * 22.7585, abs=2e-4)
    assert {path.legs for path in paths} >= {2, 3, 4}
    assert max(path.distance for path in paths) <= 4.5


def test_zirconium_metal(tmp_path: Path) -> None:
    file = tmp_path / "zirconium.cif"
    file.write_text(METAL, encoding="utf-8")
    singles = [p for p in feff_paths(file, absorber="Zr", cluster=4.0) if p.legs == 2]
    between = hexagonal(3.2316, 5.1475, (1 / 3, 2 / 3, 0.5))
    assert between == pytest.approx(3.179, abs=5e-4)  # found for this structure before
    expected = [(between, 6), (3.2316, 6)]
    for path, (distance, number) in zip(singles, expected, strict=True):
        assert path.distance == pytest.approx(distance, abs=2e-4)
        assert path.degeneracy == number


def test_threads_do_not_meet_and_nothing_is_left(
    structure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found: dict[str, list[FeffPath]] = {}

    def calculate(element: str) -> None:
        found[element] = feff_paths(structure, absorber=element, cluster=3.0)

    here = Path.cwd()
    threads = [threading.Thread(target=calculate, args=(one,)) for one in ("Zr", "P")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {paths[0].atoms[0] for paths in found.values()} == {"Zr", "P"}
    assert found["P"][0].distance == pytest.approx(1.54, abs=0.02)
    assert Path.cwd() == here
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_read_back_and_one_cut_short_is_refused(paths: list[FeffPath]) -> None:
    again = read_path(paths[0].content)
    assert (again.atoms, again.distance) == (paths[0].atoms, paths[0].distance)
    assert np.isnan(again.importance)
    for size in range(0, 700, 70):
        with pytest.raises(ReadError, match="no legs"):
            read_path(paths[0].content[:size])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"absorber": "Ti"}, r"absorber: 'Ti'; the structure holds \['Na', 'O', 'P', 'Zr'\]"),
        ({"absorber": "O"}, r"site: O is on several, \[4, 5\]; choose one"),
        ({"absorber": "O", "site": 2}, r"site: 2; O is on \[4, 5\]"),
        ({"absorber": "zirconium"}, "absorber: 'zirconium'; expected the symbol"),
        ({"edge": "M"}, "edge"),
        ({"cluster": 40.0}, "cluster: 40.0; expected 2 to 10"),
        ({"site": 0}, "site: 0"),
        ({"time_limit": 0.0}, "time_limit"),
        ({"time_limit": 0.01}, "not done in time; take a longer time_limit"),
    ],
)
def test_an_impossible_request_is_refused(
    structure: Path, changed: dict[str, Any], message: str
) -> None:
    request: dict[str, Any] = {"absorber": "Zr", "cluster": 3.0} | changed
    with pytest.raises(RequestError, match=message):
        feff_paths(structure, **request)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no CIF at all",
        "/etc/hostname",
        NASICON[: len(NASICON) // 2],
        NASICON.replace("8.8043", "eight"),
        NASICON.replace("Zr1 Zr", "Xx1 Xx"),
        NASICON.replace("22.7585", "1e9"),
        NASICON.replace("\n", "\x00\n"),
    ],
    ids=["empty", "text", "path", "cut", "word", "no-element", "vast", "binary"],
)
def test_what_is_no_structure_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.cif"
    file.write_text(text, encoding="utf-8")
    with pytest.raises((ReadError, RequestError)) as caught:
        feff_paths(file, absorber="Zr", cluster=3.0, time_limit=60)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_space_group_that_is_not_understood_is_not_taken_for_none(tmp_path: Path) -> None:
    file = tmp_path / "group.cif"
    file.write_text(NASICON.replace("_symmetry_Int_Tables_number 167\n", ""), encoding="utf-8")
    with pytest.raises(ReadError, match="space group is not understood; give _symmetry_Int"):
        feff_paths(file, absorber="Zr", cluster=3.0)


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file"):
        feff_paths(tmp_path / "none.cif", absorber="Zr")
    large = tmp_path / "large.cif"
    large.write_bytes(b"#" * (feff.LARGEST + 1))
    with pytest.raises(ReadError, match="more than 4194304 bytes"):
        feff_paths(large, absorber="Zr")


def test_other_machines_are_told_clearly(structure: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Plan9")
    with pytest.raises(RequestError, match="FEFF: not on Plan9; larch brings it for Linux"):
        feff_paths(structure, absorber="Zr")


def test_programs_that_do_not_run_are_told_clearly(
    structure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "feff8l_rdinp"
    foreign.write_bytes(b"\x7fELF of another machine")
    foreign.chmod(0o755)
    monkeypatch.setattr(feff, "_programs", lambda: [foreign])
    with pytest.raises(RequestError, match="feff8l_rdinp does not run on"):
        feff_paths(structure, absorber="Zr", cluster=3.0)


def test_programs_that_find_nothing_are_told_with_their_last_words(
    structure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "feff"
    silent.write_text(f"#!{sys.executable}\nprint('started')\nprint('gave up')\n", encoding="utf-8")
    silent.chmod(0o755)
    monkeypatch.setattr(feff, "_programs", lambda: [silent])
    with pytest.raises(RequestError, match=r"no paths for Zr in .*; it said 'gave up'"):
        feff_paths(structure, absorber="Zr", cluster=3.0)
