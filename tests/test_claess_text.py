"""CLAESS scans: columns by name, lost beam, jittering encoder, damage."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from operando_readers._reader import File, FormatError
from operando_readers.claess_text import READER

NAMES = ["Pt_No", "energy", "energyc", "a_i0i1_timer", "a_i0_1", "a_i1_1", "n_i2_1", "timestamp"]
POINTS = [
    [0, 6435.0, 6435.06, 0.05, 4.0, 2.0, 44, 1765547854.125],
    [1, 6436.0, 6436.28, 0.05, 4.0, 1.0, 45, 1765547854.25],
    [2, 6437.0, 6437.17, 0.05, 4.0, 0.5, 44, 1765547856.5],
]


def _write(
    folder: Path,
    points: list[list[float]] = POINTS,
    *,
    names: list[str] = NAMES,
    name: str = "Cell_P1_XAS_Mn_K_1_0_000.dat",
    sample: str = "Cell_P1_XAS_Mn_K_1_0",
) -> File:
    rows = "".join(" ".join(repr(value) for value in point) + " \n" for point in points)
    path = folder / name
    path.write_text(
        "#S 0 Fake Scan\n#S 1 Extracted scans: [160588]\n"
        f"#C Sample Description: {sample}\n#L {'  '.join(names)}\n{rows}"
    )
    return File(path)


def test_absorption_is_the_logarithm_of_the_ratio(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path))
    np.testing.assert_allclose(scan["mu"][0], np.log([2.0, 4.0, 8.0]), rtol=1e-15)
    np.testing.assert_array_equal(scan["energy"], [6435.06, 6436.28, 6437.17])
    np.testing.assert_array_equal(scan["i1"][0], [2.0, 1.0, 0.5])


def test_the_scan_lasts_from_its_first_point_to_the_end_of_its_last(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path))
    assert scan.attrs["clock"] == {
        "start": "2025-12-12T13:57:34.125000",
        "zone": "UTC",
        "marks": "start",
        "source": "column",
        "sigma_s": None,
    }
    assert scan["exposure"].values == pytest.approx([2.375 + 0.05])
    assert scan["elapsed"].values == [0.0]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    order = [7, 5, 3, 4, 2, 6, 1, 0]
    shuffled = _write(
        tmp_path,
        [[point[column] for column in order] for point in POINTS],
        names=[NAMES[column] for column in order],
        name="shuffled_XAS_Mn_K_1.dat",
    )
    a, b = READER.read(shuffled), READER.read(_write(tmp_path))
    assert a.drop_attrs().identical(b.drop_attrs())


def test_lost_beam_is_nan(tmp_path: Path) -> None:
    points = [list(point) for point in POINTS]
    points[0][4], points[1][5] = 0.0, -1e-9
    scan = READER.read(_write(tmp_path, points))
    np.testing.assert_array_equal(np.isfinite(scan["mu"][0]), [False, False, True])


def test_a_jittering_encoder_is_sorted_and_equal_energies_averaged(tmp_path: Path) -> None:
    points = [[*POINTS[n % 3]] for n in range(5)]
    for number, (energy, i1) in enumerate([(2, 1.0), (1, 2.0), (2, 0.0), (3, 4.0), (2, 0.25)]):
        points[number][2], points[number][5] = 6435.0 + energy, i1
        points[number][7] = 1765547854.0 + number
    scan = READER.read(_write(tmp_path, points))
    np.testing.assert_array_equal(scan["energy"], [6436.0, 6437.0, 6438.0])
    # ln 4 and ln 16 are averaged, the point without beam is left out of the mean.
    np.testing.assert_allclose(scan["mu"][0], np.log([2.0, 8.0, 1.0]), atol=1e-15)
    np.testing.assert_allclose(scan["i1"][0], [2.0, 1.25 / 3, 4.0])


def test_a_reference_needs_its_own_electrometer(tmp_path: Path) -> None:
    assert "mu_reference" not in READER.read(_write(tmp_path))
    names = ["a_i2_1" if name == "n_i2_1" else name for name in NAMES]
    points = [[*point[:6], point[5] / 2, point[7]] for point in POINTS]
    scan = READER.read(_write(tmp_path, points, names=names))
    np.testing.assert_allclose(scan["mu_reference"][0], np.log(2.0), rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        ("Electrodep_C_P1_XAS_Mn_K_1_3_000.dat", "", ("Mn", "K")),
        ("ZnFoil_XAS_Zn_K_1_0_000.dat", "", ("Zn", "K")),
        ("Au_XAS_Au_L3_1.dat", "", ("Au", "L3")),
        ("scan_7.dat", "Cell_P1_XAS_Ni_K_1_0", ("Ni", "K")),
        ("scan_7.dat", "", (None, None)),
    ],
)
def test_element_and_edge(
    tmp_path: Path, name: str, sample: str, expected: tuple[str | None, str | None]
) -> None:
    attrs = READER.read(_write(tmp_path, name=name, sample=sample)).attrs
    assert (attrs.get("element"), attrs.get("edge")) == expected


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    file = _write(tmp_path)
    text = file.read_text()
    for broken, message in (
        (text.replace("#L ", "#l "), "0 scans"),
        (text + text, "2 scans"),
        (text.replace("energyc", "energyd"), "no column energyc"),
        (text.replace("#L ", "#L extra "), "8 columns under 9 names"),
        (text.replace("6436.28", "beam"), "line 6: .*expected numbers"),
        (text.replace("6436.28", "nan"), "1 of 3 points have no energy"),
        (text.replace("1765547856.5", "1765547000.5"), "running backwards"),
    ):
        file.path.write_text(broken)
        with pytest.raises(FormatError, match=message):
            READER.read(file)


@pytest.mark.parametrize("lost", [2, 5, 12, 30])
def test_a_cut_last_row_is_left_out(tmp_path: Path, lost: int) -> None:
    """Even where the cut only shortens the last number, which here is the time."""
    file = _write(tmp_path)
    file.path.write_bytes(file.read_bytes()[:-lost])
    scan = READER.read(file)
    assert scan.sizes["energy"] == 2
    assert "line 7" in scan.attrs["truncated"]


@pytest.mark.shared_data
@pytest.mark.parametrize("element", ["Mn", "Zn"])
def test_scans_agree_with_the_reference_table(shared_data: Path, element: str) -> None:
    """Among them Mn scan 3: 576 of its 1461 points have no beam."""
    folder = shared_data / "operando" / "xas_mn_zn_claess"
    with (folder / "reference" / f"op1_Electrodep_C_P1_{element}.csv").open() as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    paths = sorted((folder / "Data" / "Electrodep_C_P1" / element).glob("*.dat"))
    assert len(paths) == {"Mn": 45, "Zn": 23}[element]
    chosen = [path for path in paths if "_1_3_" in path.name] + paths[::5]
    for path in chosen:
        scan, row = READER.read(File(path)), rows[path.name]
        start = np.datetime64(scan.attrs["clock"]["start"], "us").astype(np.int64) / 1e6
        assert start == pytest.approx(float(row["t_start_unix"]), abs=1e-3)
        end = start + float(scan["exposure"][0]) - 0.05
        assert end == pytest.approx(float(row["t_end_unix"]), abs=2e-3)
        assert scan.sizes["energy"] == int(row["n_points"])
        assert int(scan["mu"].isnull().sum()) == int(row["n_nonfinite"])
        assert (scan.attrs["element"], scan.attrs["edge"]) == (element, "K")
        assert READER.sniff(File(path).read_bytes(1 << 16), path.name)
