"""Steps on tracked lines, hand-over and images, through a recipe: a cell whose truth is known.

The patterns are simulated here: a cubic phase that grows, a standard mixed with it, both displaced
together by more and more. Angles come from Bragg's law, written out once more.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

import operando
from operando.cli import main
from operando.errors import OperandoError, RecipeError
from operando.recipe import Measurement, Peaks, Recipe
from operando.run.masks import left_out

Array = npt.NDArray[np.float64]

WAVELENGTH = 0.5
FRAMES = 12
AXIS: Array = np.arange(7.0, 18.5, 0.005)
STANDARD_A = 4.0
WIDTH = 0.05
"""FWHM of the Gaussian lines, degree."""
HKL = {"s_1": (1, 1, 1), "s_2": (2, 0, 0), "s_3": (2, 2, 0)}
KNOWN = {"r_1": (1, 1, 1), "r_2": (2, 0, 0)}
AREAS = {"s_1": 60.0, "s_2": 40.0, "s_3": 30.0, "r_1": 80.0, "r_2": 60.0}
"""In counts times degree."""
A: Array = 5.0 + 0.0003 * np.maximum(np.arange(FRAMES) - 4, 0)
"""Lattice parameter of the sample in each frame, angstrom."""
DISPLACED: Array = 2e-4 * np.maximum(np.arange(FRAMES) - 3, 0)
"""Of sample and standard, over the radius."""
LINES = """
[[measurement.observe]]
kind = "peaks"
name = "lines"
profile = "gaussian"
windows = [
  { name = "s_1", low = 9.5, high = 10.3, lines = [9.94] },
  { name = "s_2", low = 11.1, high = 11.85, lines = [11.48] },
  { name = "s_3", low = 15.75, high = 16.65, lines = [16.26] },
  { name = "r_1", low = 12.05, high = 12.8, lines = [12.43] },
  { name = "r_2", low = 14.0, high = 14.75, lines = [14.36] },
]
"""
STANDARD = """standard = { lines = { r_1 = [1, 1, 1], r_2 = [2, 0, 0] }, a = 4.0, \
corrects = "displacement" }
"""
LATTICE = """
[[measurement.observe]]
kind = "lattice"
name = "phase"
tracks = "lines"
system = "cubic"
hkl = { s_1 = [1, 1, 1], s_2 = [2, 0, 0], s_3 = [2, 2, 0] }
space_group = "P m -3 m"
"""
STATED = f"# Wave = {WAVELENGTH}"
"""How the files state the wavelength."""


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def angle(a: float, hkl: tuple[int, int, int], displaced: float = 0.0) -> float:
    """Two theta in degree; below the goniometer axis a line moves by -2 (s/R) cos(theta)."""
    theta = np.arcsin(WAVELENGTH * np.sqrt(sum(i * i for i in hkl)) / (2 * a))
    return float(np.degrees(2 * theta - 2 * displaced * np.cos(theta)))


def pattern(frame: int, rng: np.random.Generator, *, grows: bool) -> npt.NDArray[np.int64]:
    """Counts of one frame: area / (1.0645 FWHM) is the height of a Gaussian, steps are 0.005."""
    expected = np.full(AXIS.size, 100.0)
    for name, area in AREAS.items():
        a, hkl = (A[frame], HKL[name]) if name in HKL else (STANDARD_A, KNOWN[name])
        share = (0.5 + 0.05 * frame) if grows and name in HKL else 1.0
        x = (AXIS - angle(a, hkl, DISPLACED[frame])) / WIDTH
        expected += share * area / (1.0644670 * WIDTH) * np.exp(-4 * np.log(2) * x**2)
    return rng.poisson(expected)


def write_cell(recipe: Path, *, stated: str = STATED, sigma: bool = True, steps: str = "") -> Path:
    """Put the patterns in place of those of the small experiment, and the steps in its recipe."""
    rng = np.random.default_rng(3)
    for path in (recipe.parent / "xrd").iterdir():
        path.unlink()
    for frame in range(FRAMES):
        stamp = np.datetime64("2026-05-04T10:02:00") + np.timedelta64(1800 * frame, "s")
        counts = pattern(frame, rng, grows=True)
        rows = "".join(
            f"{x:.3f} {n}{f' {max(n, 1) ** 0.5:.4f}' if sigma else ''}\n"
            for x, n in zip(AXIS, counts, strict=True)
        )
        file = recipe.parent / "xrd" / f"scan_{frame:03d}.{'xye' if sigma else 'xy'}"
        file.write_text(f"# {stamp}\n{stated}\n{rows}")
    text = recipe.read_text().split("[[measurement.observe]]")[0].replace("*.xye", "*.xy*")
    recipe.write_text(text + steps)
    return recipe


def carry_out(recipe: Path, steps: str) -> dict[str, xr.Dataset]:
    """Write the steps after the source of the patterns, and return what they observed."""
    text = recipe.read_text().split("[[measurement.observe]]")[0]
    recipe.write_text(text + LINES + steps)
    return operando.run(Recipe.load(recipe), root=recipe.parent).observed["xrd"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, make_experiment: Callable[..., Path]) -> Path:
    return write_cell(make_experiment(tmp_path_factory.mktemp("deriving") / "cell"))


@pytest.fixture
def own(tmp_path: Path, make_experiment: Callable[..., Path]) -> Path:
    """A small experiment of the test's own."""
    return make_experiment(tmp_path / "own")


def test_spacings_by_a_standard(recipe: Path) -> None:
    """The displacement moves lines by up to 0.18 degree, 1 % in d; a standard takes it off."""
    step = '[[measurement.observe]]\nkind = "spacings"\ntracks = "lines"\nwavelength_sigma = 5e-5\n'
    found = carry_out(recipe, f'{step}name = "raw"\n{step}name = "d"\n{STANDARD}')
    truth = np.stack([A / np.sqrt(sum(i * i for i in hkl)) for hkl in HKL.values()], axis=1)
    by_standard, raw = (found[name].sel(line=list(HKL)) for name in ("d", "raw"))
    pull = (by_standard["d"] - truth) / by_standard["d_sigma"]
    assert float(np.abs(pull).max()) < 4
    assert float(np.abs(raw["d"] - truth)[-1].min() / raw["d_sigma"].max()) > 20
    np.testing.assert_allclose(by_standard["d_sigma_common"], by_standard["d"] * 1e-4, rtol=1e-9)
    assert by_standard.attrs["kind"] == "spacings"


def test_a_lattice_by_a_standard(recipe: Path) -> None:
    found = carry_out(recipe, LATTICE + STANDARD)["phase"]
    pull = (found["a"] - A) / found["a_sigma"]
    assert float(np.abs(pull).max()) < 4
    assert float(found["a_sigma"].max()) < 5e-4
    assert found.attrs["system"] == "cubic"


def test_a_lattice_with_its_own_displacement(recipe: Path) -> None:
    found = carry_out(recipe, LATTICE + 'displacement = "free"\n')["phase"]
    for name, truth in (("a", A), ("displacement", DISPLACED)):
        pull = (found[name] - truth) / found[f"{name}_sigma"]
        assert float(np.abs(pull).max()) < 4, name


def test_shares_of_phases(recipe: Path) -> None:
    """K of the standard is twice that of the sample; the sample grows from a half to all of it."""
    step = """[[measurement.observe]]
kind = "line_fractions"
name = "shares"
tracks = "lines"
groups = { sample = ["s_1", "s_2", "s_3"], standard = ["r_1", "r_2"] }
ratios = { sample = 1.0, standard = 2.0 }
ratio_sigma = { standard = 0.05 }
"""
    found = carry_out(recipe, step)["shares"].sel(phase="sample")
    sample = (0.5 + 0.05 * np.arange(FRAMES)) * 130.0
    truth = sample / (sample + 140.0 / 2.0)
    assert float(np.abs((found["fraction"] - truth) / found["fraction_sigma_stat"]).max()) < 4
    # df = f (1 - f) dK/K
    np.testing.assert_allclose(found["fraction_sigma_syst"], truth * (1 - truth) * 0.05, rtol=0.02)


def test_what_all_lines_do_together(recipe: Path) -> None:
    """The standard's lines alone: they move by the displacement only, from the fourth frame on."""
    only = LINES.replace('{ name = "s_', '# { name = "s_')
    step = """[[measurement.observe]]
kind = "common_mode"
name = "together"
tracks = "lines"
form = "displacement"
reference = 4
"""
    text = recipe.read_text().split("[[measurement.observe]]")[0]
    recipe.write_text(text + only + step)
    found = operando.run(Recipe.load(recipe), root=recipe.parent).observed["xrd"]["together"]
    pull = (found["common_shift"] - DISPLACED) / found["common_shift_sigma"]
    assert float(np.abs(pull).max()) < 4
    flagged = (found["assessment"].values & 2) > 0
    assert flagged.tolist() == (DISPLACED > 0).tolist()


def test_a_lattice_parameter_can_be_watched(recipe: Path, tmp_path: Path) -> None:
    """What is derived can be asked for by a detector, and is in the tables, figures and tree."""
    watched = LATTICE + STANDARD
    watched += '[[measurement.detect]]\nkind = "departure"\nobservable = "phase.a"\n'
    watched += 'reference = 5\nreversible = "none"\n'
    text = recipe.read_text().split("[[measurement.observe]]")[0]
    recipe.write_text(text + LINES + watched)
    result = invoke("run", recipe, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "xrd: departure: calibrated" in result.output
    assert (tmp_path / "out" / "tables" / "xrd_phase.csv").exists()
    assert (tmp_path / "out" / "figures" / "xrd_phase_a.png").exists()
    with xr.open_datatree(tmp_path / "out" / "experiment.zarr", engine="zarr") as tree:
        assert tree["xrd/phase"]["a"].attrs["units"] == "angstrom"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            LATTICE.replace("s_1 =", "s_9 ="),
            r"measurement 'xrd': observe 'phase': hkl.*'s_9'.*some of",
        ),
        (
            LATTICE.replace('"lines"', '"bands"'),
            r"observe 'phase': tracks 'bands'.*has \['lines'\]",
        ),
        (
            LATTICE + '[[measurement.detect]]\nkind = "departure"\nobservable = "phase.b"\n',
            r"detect\.observable: 'phase\.b' unknown; 'phase' has \['a', 'volume'\]",
        ),
        (LATTICE + "zero = true\n", r"observe\[1\]\.zero"),
        (LATTICE.replace("cubic", "triclinic"), r"observe\[1\]\.system"),
        (LATTICE + STANDARD.replace(" a = 4.0,", ""), "a: not given"),
        (
            '[[measurement.observe]]\nkind = "line_fractions"\nname = "x"\ntracks = "lines"\n'
            'groups = { a = ["s_1"], b = ["s_1"] }\nratios = { a = 1, b = 1 }\n',
            "groups.*each once",
        ),
        (
            '[[measurement.observe]]\nkind = "band_quality"\nname = "x"\ntracks = "lines"\n'
            'reference = ["oxide"]\n',
            "'oxide'",
        ),
    ],
)
def test_a_step_that_cannot_be_done_says_which(recipe: Path, steps: str, message: str) -> None:
    with pytest.raises(OperandoError, match=message):
        carry_out(recipe, steps)


def test_bands_are_judged_by_the_electrolyte(example_datasets: Path, tmp_path: Path) -> None:
    """Of the simulated Raman cell: the recipe's numbers are those of the verb on its tracks."""
    folder = example_datasets / "na_raman_cell"
    text = (folder / "recipe.toml").read_text().split("[[measurement.detect]]")[0]
    declared = Recipe.model_validate(tomllib.loads(text))
    found = operando.run(declared, root=folder).observed["raman"]
    by_hand = operando.band_quality(found["bands"], reference=["electrolyte"], position="SSE")
    xr.testing.assert_identical(found["quality"], by_hand.assign_attrs(kind="band_quality"))
    seen = np.isfinite(found["quality"]["reference_area"].values)
    assert seen.mean() > 0.9


# -------------------------------------------------------------------------------------- export


PARTS = 'cell_parts = { names = ["Al"], width = 0.2 }\n'
FORMS = {"gsas2": "instrument.instprm", "topas": "series.inp", "fullprof": "run_0001.pcr"}


def exported(recipe: Path, out: Path, form: str) -> Result:
    return invoke("export", recipe, "-o", out, "--measurement", "xrd", "--as", form)


def excluded(out: Path, form: str) -> list[list[float]]:
    """Read the excluded regions as the program would."""
    if form == "gsas2":
        line = next(
            line
            for line in (out / "series.py").read_text().splitlines()
            if line.startswith("EXCLUDE = ")
        )
        regions: list[list[float]] = json.loads(line.removeprefix("EXCLUDE = "))
        return regions
    if form == "topas":
        words = [line.split() for line in (out / "series.inp").read_text().splitlines()]
        return [[float(x) for x in word[1:]] for word in words if word[:1] == ["exclude"]]
    lines = (out / "run_0001.pcr").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("! Excluded regions"))
    rows = lines[at + 1 : lines.index("!", at)]
    return [[float(x) for x in row.split()] for row in rows]


@pytest.mark.parametrize("form", FORMS)
def test_rietveld_programs_get_cells_and_cell_parts(own: Path, tmp_path: Path, form: str) -> None:
    """Al 111 of a = 4.0495 reflects at 12.28 degree: it is left out, with what masks say."""
    mask = '[[measurement.detect]]\nkind = "new_peaks"\nmask = [[7.2, 7.4]]\n'
    write_cell(own, steps=PARTS + LINES + LATTICE + STANDARD + mask)
    result = exported(own, tmp_path / "out", form)
    assert result.exit_code == 0, result.output
    assert f"{FRAMES} frames" in result.output
    out = tmp_path / "out"
    assert (out / FORMS[form]).exists()
    assert len(list(out.glob("run_*.fxye" if form == "gsas2" else "run_*.xye"))) in (FRAMES, 0)
    regions = excluded(out, form)
    assert regions[0] == pytest.approx([7.2, 7.4])
    aluminium = angle(4.0495, (1, 1, 1))
    assert [aluminium - 0.1, aluminium + 0.1] == pytest.approx(regions[1], abs=1e-3)
    text = "\n".join(path.read_text() for path in sorted(out.glob("*")) if path.suffix != ".csv")
    # a of the first frame as the standard corrects it: 5.0 to a few of 1e-4
    assert "4.99" in text or "5.00" in text
    assert "phase" in text


def test_regions_of_a_q_axis_are_excluded_as_angles(own: Path, tmp_path: Path) -> None:
    """The programs take two theta: q of Al 111 is 2 pi sqrt(3) / a."""
    write_cell(own, steps=PARTS.replace("0.2", "0.1"))
    for path in (own.parent / "xrd").iterdir():
        columns = np.loadtxt(path)
        columns[:, 0] = 4 * np.pi * np.sin(np.radians(columns[:, 0] / 2)) / WAVELENGTH
        rows = "".join(f"{q:.6f} {n:.0f} {s:.4f}\n" for q, n, s in columns)
        stamp = path.read_text().splitlines()[0]
        path.write_text(f"{stamp}\n# Wavelength: 0.5e-10 m\n# q_A^-1 I sigma\n{rows}")
    result = exported(own, tmp_path / "out", "topas")
    assert result.exit_code == 0, result.output
    centre = 2 * np.pi * np.sqrt(3) / 4.0495
    edges = [
        np.degrees(2 * np.arcsin(q * WAVELENGTH / (4 * np.pi)))
        for q in (centre - 0.05, centre + 0.05)
    ]
    assert excluded(tmp_path / "out", "topas")[0] == pytest.approx(edges, abs=1e-4)


@pytest.mark.parametrize(("scale", "fine"), [(1.0, True), (0.37, False)])
def test_deviations_are_made_of_whole_counts_only(
    own: Path, tmp_path: Path, scale: float, fine: bool
) -> None:
    write_cell(own, sigma=False)
    for path in (own.parent / "xrd").iterdir():
        stamp, stated, *rows = path.read_text().splitlines()
        scaled = [f"{x} {float(n) * scale:g}" for x, n in map(str.split, rows)]
        path.write_text("\n".join([stamp, stated, *scaled]) + "\n")
    result = exported(own, tmp_path / "out", "topas")
    assert result.exit_code == (0 if fine else 2), result.output
    if fine:
        _, n, sigma = np.loadtxt(next((tmp_path / "out").glob("run_*.xye")), max_rows=9).T
        np.testing.assert_allclose(sigma, np.sqrt(n), rtol=1e-6)
    else:
        assert "measurement 'xrd': no standard deviations" in result.output


def test_cell_parts_need_patterns_and_a_wavelength(own: Path, tmp_path: Path) -> None:
    write_cell(own, stated="# no wavelength", steps=PARTS)
    result = exported(own, tmp_path / "out", "gsas2")
    assert result.exit_code == 2
    assert "cell_parts: the files state no wavelength" in result.output
    parts = Measurement.model_validate(
        {"name": "x", "path": "*", "cell_parts": {"names": ["Al"], "width": 0.1}}
    )
    spectra = xr.Dataset(coords={"raman_shift": [1.0]}, attrs={"technique": "raman"})
    with pytest.raises(RecipeError, match="for diffraction patterns; the files are 'raman'"):
        left_out(spectra, parts)


def test_fullprof_needs_a_lattice(own: Path, tmp_path: Path) -> None:
    write_cell(own, steps=LINES)
    result = exported(own, tmp_path / "out", "fullprof")
    assert result.exit_code == 2
    assert "FullProf needs a cell to begin with; observe a 'lattice'" in result.output
    assert not (tmp_path / "out").exists()
    assert exported(own, tmp_path / "out", "topas").exit_code == 0


def test_nxazint1d_comes_back(own: Path, tmp_path: Path) -> None:
    write_cell(own)
    for form in (["--as", "nxazint1d"], []):
        out = tmp_path / f"xrd_{len(form)}.h5"
        result = invoke("export", own, "-o", out, "--measurement", "xrd", *form)
        assert result.exit_code == 0, result.output
        back = operando.read(out)
        assert back.sizes == {"time": FRAMES, "two_theta": AXIS.size}
        assert back.attrs["wavelength_angstrom"] == pytest.approx(WAVELENGTH)
        assert np.isfinite(back["voltage"].values).all()
    refused = exported(own, tmp_path / "x.nxs", "nxxas")
    assert refused.exit_code == 2
    assert "xrd cannot be written as nxxas" in refused.output


# ---------------------------------------------------------------------------------- integration


SHAPE = (60, 75)
PIXEL = 1e-3
GEOMETRY = {"dist": 0.05, "poni1": 0.025, "poni2": 0.03, "rot1": 0.1, "rot2": -0.05, "rot3": 0.0}


def write_images(recipe: Path, kind: str) -> Array:
    """Write five images of rings, a PONI and a mask beside the recipe; return the images."""
    detector = Detector(pixel1=PIXEL, pixel2=PIXEL, max_shape=SHAPE)
    pyfai = AzimuthalIntegrator(**GEOMETRY, detector=detector, wavelength=WAVELENGTH * 1e-10)
    ring = np.exp(-np.square((pyfai.center_array(SHAPE, unit="2th_deg") % 8 - 4) / 0.7))
    images = np.random.default_rng(5).poisson(200 * (0.05 + ring), (5, *SHAPE)).astype(np.int32)
    (recipe.parent / "images").mkdir()
    for frame, image in enumerate(images):
        stamp = f"2026-05-04T11:{10 + frame:02d}:00.000"
        path = recipe.parent / "images" / f"scan_{frame:03d}.{kind}"
        if kind == "cbf":
            text = f"# Detector: PILATUS 1M, S/N 10-0105\n# {stamp}\n# Exposure_time 10.0 s\n"
            convention = {"_array_data.header_convention": "PILATUS_1.2"}
            header = convention | {"_array_data.header_contents": text}
            CbfImage(data=image, header=header).write(str(path))
        else:
            header = {"time_of_day": stamp, "date": stamp, "count_time": "10.0"}
            EdfImage(data=image, header=header).write(str(path))
    pyfai.save(str(recipe.parent / "geometry.poni"))
    mask = np.zeros(SHAPE, np.int8)
    mask[:, :10] = 1
    np.save(recipe.parent / "mask.npy", mask)
    return images.astype(float)


INTEGRATE = """[[measurement]]
name = "images"
path = "images/*"
tz = "Europe/Paris"
exposure_s = 10.0
[[measurement.correct]]
kind = "integrate"
poni = "geometry.poni"
points = 60
mask = "mask.npy"
polarization = 0.95
"""


@pytest.mark.parametrize("kind", ["cbf", "edf"])
def test_images_are_integrated_as_the_recipe_says(own: Path, tmp_path: Path, kind: str) -> None:
    """pyFAI itself, on the pixels that were written, is what the patterns are compared with."""
    images = write_images(own, kind)
    head = own.read_text().split("[[measurement]]")[0]
    own.write_text(head + INTEGRATE)
    frames = operando.run(Recipe.load(own), root=own.parent).frames["images"]
    assert frames.attrs["technique"] == "xrd"
    detector = Detector(pixel1=PIXEL, pixel2=PIXEL, max_shape=SHAPE)
    pyfai = AzimuthalIntegrator(**GEOMETRY, detector=detector, wavelength=WAVELENGTH * 1e-10)
    for frame in (0, 4):
        expected = pyfai.integrate1d_ng(
            images[frame],
            60,
            unit="2th_deg",
            error_model="poisson",
            method=("bbox", "csr", "cython"),
            polarization_factor=0.95,
            mask=np.load(own.parent / "mask.npy"),
        )
        there = expected.sum_normalization > 0
        made = frames.isel(time=frame)
        for name, values in (
            ("intensity", expected.intensity),
            ("intensity_sigma", expected.sigma),
        ):
            np.testing.assert_allclose(made[name].values[there], values[there], rtol=1e-5)
    np.testing.assert_allclose(frames["two_theta"], expected.radial, rtol=1e-6)
    # 11:10 in Paris is 70 min after the start of the log; the first image is over after 10 s
    start = frames["time_start"].values[0]
    assert start == np.datetime64("2026-05-04T09:10:00")
    assert np.isfinite(frames["voltage"].values).all()
    out = invoke("export", own, "-o", tmp_path / "x.h5", "--measurement", "images")
    assert out.exit_code == 0, out.output
    assert operando.read(tmp_path / "x.h5").sizes["two_theta"] == 60


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"geometry.poni"', '"other.poni"', r"measurement 'images'.*other\.poni"),
        ('"mask.npy"', '"nothing.npy"', r"measurement 'images'.*nothing\.npy"),
        ("points = 60", "points = 5", r"correct\[0\]\.points"),
    ],
)
def test_an_integration_that_cannot_be_done(own: Path, old: str, new: str, message: str) -> None:
    write_images(own, "cbf")
    own.write_text(own.read_text().split("[[measurement]]")[0] + INTEGRATE.replace(old, new))
    with pytest.raises(OperandoError, match=message):
        operando.run(Recipe.load(own), root=own.parent)


def test_images_cannot_be_measured_before_they_are_integrated(own: Path) -> None:
    write_images(own, "cbf")
    head = (
        own.read_text().split("[[measurement]]")[0] + INTEGRATE.split("[[measurement.correct]]")[0]
    )
    own.write_text(head + LINES)
    with pytest.raises(OperandoError, match=r"measurement 'images'.*'integrate'"):
        operando.run(Recipe.load(own), root=own.parent)


# ---------------------------------------------------------------------------------------- draft


def test_a_draft_proposes_windows_around_the_lines(own: Path, tmp_path: Path) -> None:
    """Every line that was simulated in the first frames lies in one window, and the draft runs."""
    write_cell(own)
    own.unlink()
    result = invoke("init", own.parent, "--tz", "Europe/Paris")
    assert result.exit_code == 0, result.output
    drafted = Recipe.load(own.parent / "recipe.toml")
    [measurement] = drafted.measurement
    [peaks] = measurement.observe
    assert isinstance(peaks, Peaks)
    for name in AREAS:
        a, hkl = (A[0], HKL[name]) if name in HKL else (STANDARD_A, KNOWN[name])
        place = angle(a, hkl)
        [window] = [w for w in peaks.windows if w.low < place < w.high]
        assert min(abs(line - place) for line in window.lines) < WIDTH / 2
    tracks = operando.run(drafted, root=own.parent).observed["xrd"]["lines"]
    assert tracks.sizes["time"] == FRAMES
    assert np.isfinite(tracks["centre"].values).mean() > 0.8


@pytest.mark.parametrize("cell", ["na_raman_cell", "na_nzsp_cell"])
def test_a_draft_looks_at_every_layer(example_datasets: Path, tmp_path: Path, cell: str) -> None:
    """The electrode's band at 590 1/cm is seen in PE only, the electrolyte's at 1012 in SSE."""
    shutil.copytree(example_datasets / cell / "echem", tmp_path / "echem")
    shutil.copytree(example_datasets / cell / "raman", tmp_path / "raman")
    zones = ("--tz", "America/Chicago", "--echem-tz", "Europe/Madrid")
    result = invoke("init", tmp_path, *zones)
    assert result.exit_code == 0, result.output
    [measurement] = Recipe.load(tmp_path / "recipe.toml").measurement
    assert measurement.position is not None
    assert re.search(measurement.position, f"{cell}_PE.wdf")
    [peaks] = measurement.observe
    assert isinstance(peaks, Peaks)
    for place in (590.0, 1012.0):
        [window] = [w for w in peaks.windows if w.low < place < w.high]
        assert min(abs(line - place) for line in window.lines) < 5
