"""What new lines are taken for: lattices by their spacings, structures by their CIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.detect import Event, new_peaks
from operando.detect.cif_lines import expected_lines
from operando.detect.d_ratios import best_family
from operando.errors import RequestError

Array = npt.NDArray[np.float64]

WAVELENGTH = 0.4962
GRID = 3.0 + 0.01 * np.arange(2000, dtype=np.float64)
FWHM = 0.06
SALT = """\
data_salt
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 Na 0 0 0
Cl1 Cl 0.5 0.5 0.5
"""
# XRDCalculator of pymatgen 2026.10.16, a = 5.6402, 1.5405929 angstrom: h^2 + k^2 + l^2, 2 theta,
# intensity with the polarisation of an unpolarised tube
PYMATGEN = (
    (3, 27.366, 8.08),
    (4, 31.703, 100.0),
    (8, 45.447, 65.64),
    (11, 53.867, 1.95),
    (12, 56.472, 21.23),
    (16, 66.226, 9.32),
    (19, 73.069, 0.91),
    (20, 75.291, 24.75),
    (24, 83.990, 18.22),
)


def angle(spacing: npt.ArrayLike, wavelength: float = WAVELENGTH) -> Array:
    return np.asarray(2.0 * np.rad2deg(np.arcsin(wavelength / (2.0 * np.asarray(spacing)))))


def inverse(position: Array) -> Array:
    return np.asarray(2.0 * np.sin(np.deg2rad(position) / 2.0) / WAVELENGTH)


def salt(folder: Path, a: float = 5.6402) -> Path:
    path = folder / f"salt_{a}.cif"
    path.write_text(SALT.format(a=a))
    return path


def test_lines_of_a_structure_are_those_of_pymatgen(tmp_path: Path) -> None:
    found = expected_lines(salt(tmp_path), longest=3.6, shortest=1.13, wavelength=1.5405929)
    index, place, intensity = (np.array(part) for part in zip(*PYMATGEN, strict=True))
    assert [sum(i * i for i in hkl) for hkl in found.hkl] == index.tolist()
    np.testing.assert_allclose(angle(found.spacing, 1.5405929), place, atol=2e-3)
    polarisation = 1.0 + np.cos(np.deg2rad(place)) ** 2
    ours = 100.0 * found.intensity * polarisation / polarisation[1]
    # other tables of form factors
    np.testing.assert_allclose(ours, intensity, atol=1.0, rtol=0.03)


def test_without_a_wavelength_low_angles_count_more(tmp_path: Path) -> None:
    path = salt(tmp_path)
    angular = expected_lines(path, longest=3.6, shortest=1.13, wavelength=0.1)
    free = expected_lines(path, longest=3.6, shortest=1.13, wavelength=None)
    np.testing.assert_allclose(free.intensity, angular.intensity, rtol=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\xff\x80 nothing", "no CIF that can be read|holds no structure"),
        (b"data_x\nloop_\n_a\n", "no CIF that can be read|holds no structure"),
        (b"data_x\n_cell_length_a 5\n", "holds no structure"),
        (SALT.format(a=5.0).split("loop_")[0].encode(), "holds no structure"),
        (SALT.format(a=900).encode(), "reflections down to"),
    ],
)
def test_files_that_are_no_structure_are_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "bad.cif"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        expected_lines(path, longest=10.0, shortest=1.0, wavelength=None)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"none\.cif"):
        expected_lines(tmp_path / "none.cif", longest=10.0, shortest=1.0, wavelength=None)


def spacings(family: str) -> Array:
    if family == "orders":
        return 10.9 / np.array([1.0, 2.0, 3.0, 4.0])
    if family == "cubic":
        return 5.64 / np.sqrt([3.0, 4.0, 8.0, 11.0, 12.0])
    plane, layer = np.array([1, 0, 1, 2, 1, 2]), np.array([0, 2, 1, 0, 3, 1])
    square = plane if family == "tetragonal" else 4.0 / 3.0 * np.array([1, 0, 1, 3, 1, 3])
    return np.asarray(1.0 / np.sqrt(square / 3.9**2 + layer**2 / 9.3**2))


@pytest.mark.parametrize("family", ["orders", "cubic", "tetragonal", "hexagonal"])
def test_lattices_are_recognised(family: str) -> None:
    place = angle(spacings(family)) + np.random.default_rng(1).normal(
        0.0, 0.002, len(spacings(family))
    )
    found = best_family(place, np.full(place.size, 0.012), inverse=inverse, span=(3.0, 23.0))
    assert found is not None
    assert found.explains == place.size
    assert found.chance < 0.05
    # a cubic lattice is also tetragonal; the simpler family has more to say by chance
    assert found.name == family
    if family == "orders":
        assert found.lattice["d"] == pytest.approx(10.9, rel=2e-3)
        assert found.order == [1, 2, 3, 4]
    if family == "tetragonal":
        assert found.lattice["a"] == pytest.approx(3.9, rel=3e-3)
        assert found.lattice["c"] == pytest.approx(9.3, rel=3e-3)


def test_arbitrary_lines_are_consistent_as_seldom_as_is_said() -> None:
    rng = np.random.default_rng(7)
    fooled = 0
    for _ in range(60):
        place = rng.uniform(3.0, 23.0, 3)
        found = best_family(place, np.full(3, 0.012), inverse=inverse, span=(3.0, 23.0))
        assert found is not None
        fooled += found.chance < 0.05
    assert fooled <= 8


def test_one_line_has_no_ratio() -> None:
    assert best_family(np.array([5.0]), np.array([0.01]), inverse=inverse, span=(3.0, 23.0)) is None


def line(centre: float) -> Array:
    u = 2.0 * (GRID - centre) / FWHM
    gauss = np.sqrt(np.log(2.0) / np.pi) * np.exp(-np.log(2.0) * u**2)
    return np.asarray((gauss + 1.0 / np.pi / (1.0 + u**2)) / FWHM)


def grown(spots: Array, weights: Array, *, known: tuple[float, ...] = (8.0,)) -> xr.Dataset:
    """A pattern with known lines in which others grow from frame 10 on."""
    amount = np.clip((np.arange(30) - 9) / 5.0, 0.0, 1.0)[:, None]
    clean = np.full((30, GRID.size), 100.0)
    for centre in known:
        clean += 40.0 * line(centre)
    for centre, weight in zip(spots, weights, strict=True):
        clean += weight * amount * line(float(centre))
    values = np.random.default_rng(0).poisson(clean).astype(float)
    stamps = np.datetime64("2025-01-01", "ns") + np.arange(30) * np.timedelta64(60, "s")
    return xr.Dataset(
        {"intensity": (("time", "two_theta"), values, {"units": "count"})},
        coords={"time": stamps, "two_theta": ("two_theta", GRID, {"units": "degree"})},
        attrs={"technique": "xrd", "wavelength_angstrom": WAVELENGTH},
    )


def born(frames: xr.Dataset, **options: object) -> Event:
    (event,) = new_peaks(frames, measurement="xrd", **options).events  # type: ignore[arg-type]
    return event


STRONG = 5.6402 / np.sqrt([4.0, 8.0, 12.0, 20.0])
AMOUNTS = np.array([60.0, 40.0, 15.0, 15.0])


def test_a_phase_is_named_by_its_structure(tmp_path: Path) -> None:
    phases = {"other": salt(tmp_path, 4.2), "salt": salt(tmp_path)}
    event = born(grown(angle(STRONG), AMOUNTS), phases=phases)
    assert event.detail["assignment"] == "salt"
    phase = event.detail["phase"]
    assert [one["hkl"] for one in phase["found"]] == [[2, 0, 0], [2, 2, 0], [2, 2, 2], [4, 2, 0]]
    assert {tuple(one["hkl"]) for one in phase["missing"]} == {(4, 0, 0)}
    assert phase["covered"] == []
    assert phase["chance"] < 1e-4


def test_a_line_that_hides_under_a_known_one_is_not_missing(tmp_path: Path) -> None:
    hidden = float(angle(STRONG[1]))
    keep = [0, 2, 3]
    frames = grown(angle(STRONG[keep]), AMOUNTS[keep], known=(hidden,))
    phase = born(frames, phases={"salt": salt(tmp_path)}).detail["phase"]
    assert [one["hkl"] for one in phase["covered"]] == [[2, 2, 0]]
    assert len(phase["found"]) == 3


def test_another_structure_names_nothing(tmp_path: Path) -> None:
    event = born(grown(angle(STRONG), AMOUNTS), phases={"other": salt(tmp_path, 4.2)})
    assert event.detail["assignment"] == "phase candidate"
    assert event.detail["lattice"]["family"] in ("cubic", "tetragonal")
    assert len(event.detail["phase"]["missing"]) == 2


def test_lines_of_no_lattice_are_no_phase() -> None:
    event = born(grown(np.array([5.03, 6.91, 11.37]), np.array([50.0, 40.0, 30.0])))
    assert event.detail["assignment"] == "covarying new reflections"
    assert event.detail["lattice"]["chance"] > 0.05


def test_a_line_beside_a_known_one_is_a_shoulder_and_no_phase() -> None:
    event = born(grown(np.array([8.045]), np.array([12.0])))
    assert event.detail["assignment"].startswith("split or shoulder of the line at 8")
    assert event.detail["lines"][0]["beside"] == pytest.approx(8.0, abs=0.02)


def test_spacings_follow_from_q() -> None:
    frames = grown(angle(10.9 / np.array([1.0, 2.0, 3.0])), np.array([60.0, 30.0, 20.0]))
    q = 4.0 * np.pi * np.sin(np.deg2rad(GRID) / 2.0) / WAVELENGTH
    axis = ("q", q, {"units": "1/angstrom"})
    there = frames.rename(two_theta="q").assign_coords(q=axis)
    del there.attrs["wavelength_angstrom"]
    event = born(there)
    assert event.detail["assignment"] == "phase candidate"
    assert event.detail["lattice"]["d"] == pytest.approx(10.9, rel=2e-3)


def test_structures_are_checked_before_anything_is_found(tmp_path: Path) -> None:
    frames = grown(np.zeros(0), np.zeros(0))
    with pytest.raises(RequestError, match=r"none\.cif"):
        new_peaks(frames, measurement="xrd", phases={"none": tmp_path / "none.cif"})
    del frames.attrs["wavelength_angstrom"]
    with pytest.raises(RequestError, match="no spacings to compare"):
        new_peaks(frames, measurement="xrd", phases={"salt": salt(tmp_path)})
