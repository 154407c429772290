"""Lines of cell parts: against published 2theta, gemmi, and what a coin cell shows."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from operando.errors import RequestError
from operando.observables.lines.cell_parts import PARTS, cell_part_masks, cell_parts

CU = 1.5405929

# Powder Diffraction File: 2theta of the first lines with Cu Ka1, of cards 4-787 (Al), 4-836 (Cu),
# 6-696 (Fe), 4-850 (Ni), 4-802 (Pt), 4-783 (Ag), 22-111 (Be)
PUBLISHED = {
    "Al": {"111": 38.47, "200": 44.74, "220": 65.13, "311": 78.23},
    "Cu": {"111": 43.30, "200": 50.43, "220": 74.13},
    "steel_ferritic": {"110": 44.67, "200": 65.02, "211": 82.33},
    "Ni": {"111": 44.51, "200": 51.85, "220": 76.37},
    "Pt": {"111": 39.76, "200": 46.24, "220": 67.45},
    "Ag": {"111": 38.12, "200": 44.28, "220": 64.43},
    "Be": {"100": 45.82, "002": 50.94, "101": 52.77},
}


@pytest.mark.parametrize("part", PUBLISHED)
def test_lines_are_where_the_powder_diffraction_file_has_them(part: str) -> None:
    found = {line.name.split()[1]: line.position for line in cell_parts([part], wavelength=CU)}
    first = dict(list(found.items())[: len(PUBLISHED[part])])
    assert set(first) == set(PUBLISHED[part])
    for label, position in PUBLISHED[part].items():
        assert found[label] == pytest.approx(position, abs=0.06)


def test_polymers_reflect_at_their_textbook_spacings() -> None:
    """What separators and pouches show in any pattern, to the digits textbooks give."""
    found = {line.name: line.d for line in cell_parts(["PE", "PP", "Mylar"], axis="q")}
    for name, d in (
        ("PE 110", 4.10),
        ("PE 200", 3.70),
        ("PP 110", 6.26),
        ("PP 040", 5.24),
        ("PP 130", 4.78),
        ("Mylar 010", 5.01),
        ("Mylar 100", 3.44),
    ):
        assert found[name] == pytest.approx(d, abs=0.06)


FACES = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
ATOMS = {
    "_face_centred": FACES,
    "_body_centred": np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
    "_diamond": np.concatenate([FACES, FACES + 0.25]),
    "_close_packed": np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
}
GRAPHITE = np.array([[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])


@pytest.mark.parametrize("part", [name for name, part in PARTS.items() if callable(part.shows)])
def test_reflections_are_those_of_the_atoms(part: str) -> None:
    """Every hkl whose structure factor does not vanish, spacings by gemmi."""
    shows = PARTS[part].shows
    assert callable(shows)
    atoms = GRAPHITE if part == "graphite" else ATOMS[shows.__name__]
    cell = gemmi.UnitCell(*PARTS[part].cell)
    expected = set()
    for hkl in gemmi.make_miller_array(cell, gemmi.SpaceGroup("P 1"), 0.7):
        if abs(np.exp(2j * np.pi * atoms @ np.array(hkl)).sum()) > 1e-6:
            expected.add(round(cell.calculate_d(list(hkl)), 6))
    assert {round(line.d, 6) for line in cell_parts([part], axis="q")} == expected


def test_axes_agree() -> None:
    by_angle = cell_parts(["Al", "Kapton"], wavelength=0.5)
    by_q = cell_parts(["Al", "Kapton"], axis="q")
    assert [line.name for line in by_angle] == [line.name for line in by_q]
    q = 4 * np.pi / 0.5 * np.sin(np.radians([line.position for line in by_angle]) / 2)
    np.testing.assert_allclose(q, [line.position for line in by_q], rtol=1e-12)
    np.testing.assert_allclose(q, [2 * np.pi / line.d for line in by_angle], rtol=1e-12)


def test_masks_cover_every_line_once_and_ascend() -> None:
    lines = cell_parts(["Al", "steel_ferritic", "graphite", "Kapton"], wavelength=0.4962)
    masks = cell_part_masks(
        ["Al", "steel_ferritic", "graphite", "Kapton"], wavelength=0.4962, width=0.3
    )
    edges = np.array(masks)
    assert (edges[:, 1] > edges[:, 0]).all()
    assert (edges[1:, 0] > edges[:-1, 1]).all()
    for line in lines:
        assert ((edges[:, 0] <= line.position) & (line.position <= edges[:, 1])).sum() == 1
    alone = cell_part_masks(["Al"], wavelength=0.4962, width=0.3)[0]
    assert alone[1] - alone[0] == pytest.approx(0.3)
    broad = cell_part_masks(["Kapton"], axis="q", width=0.01)
    assert broad[1][1] - broad[1][0] > 0.5


def test_every_part_says_where_its_cell_is_from() -> None:
    assert all(len(part.source) > 10 for part in PARTS.values())


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        (["Al", "vibranium"], {"axis": "q"}, "vibranium"),
        ("Al", {"axis": "q"}, "expected a list"),
        (["Al"], {}, "wavelength: not given"),
        (["Al"], {"axis": "raman_shift"}, "raman_shift"),
        (["Al"], {"axis": "q", "smallest": 0.0}, "smallest: 0.0"),
    ],
)
def test_an_impossible_request_is_refused(names: Any, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        cell_parts(names, **asked)


@pytest.mark.shared_data
def test_strongest_lines_of_a_coin_cell_are_those_of_its_can(shared_data: Path) -> None:
    """coincell8 at I11: all of more than 5e4 counts is austenitic steel, in planes 0.5 % apart.

    The wavelength is not stated; the strongest line, taken for 111, gives it.
    """
    [archive] = (shared_data / "operando/xrd_coincell_i11").glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        [name, *_] = [n for n in opened.namelist() if n.endswith(".xye") and "MACOSX" not in n]
        x, y = np.loadtxt(io.BytesIO(opened.read(name)), usecols=(0, 1), unpack=True)
    d = {line.name: line.d for line in cell_parts(["steel_austenitic"], axis="q")}
    strongest = float(x[np.argmax(y)])
    wavelength = 2 * d["steel_austenitic 111"] * np.sin(np.radians(strongest) / 2)
    places = [line.position for line in cell_parts(["steel_austenitic"], wavelength=wavelength)]
    masks = cell_part_masks(["steel_austenitic"], wavelength=wavelength, width=0.4)
    strong = x[y > 5e4]
    assert len({int(np.argmin(np.abs(np.array(places) - at))) for at in strong}) == 5
    assert all(any(low < at < high for low, high in masks) for at in strong)
