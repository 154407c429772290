"""Integration of images: pyFAI's own result, simulated rings, and the same bits for any blocks."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyFAI.detectors import Detector, detector_factory
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from operando.corrections import integration
from operando.corrections.integration import integrate
from operando.corrections.integration_geometry import Plan, geometry_of
from operando.corrections.integration_kernel import LANES, Splitting, integrated, normalisation
from operando.errors import RequestError
from operando.model import FRAME_FLAGS, flag_attributes

SHAPE = (60, 75)
PONI: dict[str, Any] = {
    "poni_version": 2.1,
    "detector": "Detector",
    "detector_config": {
        "pixel1": 1e-3,
        "pixel2": 1e-3,
        "max_shape": list(SHAPE),
        "orientation": 3,
    },
    "dist": 0.05,
    "poni1": 0.025,
    "poni2": 0.03,
    "rot1": 0.1,
    "rot2": -0.05,
    "rot3": 0.0,
    "wavelength": 0.5e-10,
}
FIXED: dict[str, Any] = {"poni": PONI, "points": 90, "unit": "two_theta", "polarization": 0.97}


def integrator() -> AzimuthalIntegrator:
    """Return the same geometry, stated to pyFAI in its own words."""
    detector = Detector(pixel1=1e-3, pixel2=1e-3, max_shape=SHAPE)
    lengths = {name: PONI[name] for name in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")}
    return AzimuthalIntegrator(**lengths, detector=detector, wavelength=PONI["wavelength"])


def counts(frames: int, mean: float = 20.0, seed: int = 0) -> npt.NDArray[np.int32]:
    """Return Poisson counts on rings; with a mean of 20, some pixels count nothing."""
    angle = integrator().center_array(SHAPE, unit="2th_deg")
    rng = np.random.default_rng(seed)
    expected = mean * (0.05 + np.exp(-np.square((angle % 8 - 4) / 0.7)))
    return rng.poisson(np.broadcast_to(expected, (frames, *SHAPE))).astype(np.int32)


def images(values: Any, **attrs: Any) -> xr.Dataset:
    """Return images ten seconds apart, with a state of the cell."""
    start = np.datetime64("2026-05-04T10:00:00", "ns") + np.arange(len(values)) * np.timedelta64(
        10, "s"
    )
    exposure = np.timedelta64(5000, "ms")
    return xr.Dataset(
        {"intensity": (("time", "row", "column"), values, {"units": "count"})},
        {
            "time": ("time", start + exposure // 2),
            "time_start": ("time", start),
            "time_end": ("time", start + exposure),
            "row": ("row", np.arange(values.shape[1]), {"units": "pixel"}),
            "column": ("column", np.arange(values.shape[2]), {"units": "pixel"}),
            "voltage": ("time", np.linspace(3, 4, len(values)), {"units": "V"}),
            "position": ("time", np.full(len(values), "bulk")),
        },
        {"technique": "xrd_images", "instrument": "ID00", "dead_values": [-1, -2], **attrs},
    )


def by_pyfai(frame: Any, **options: Any) -> Any:
    """Integrate one image by pyFAI, as the issue names it: bbox, csr, Poisson."""
    keywords = {
        "unit": "2th_deg",
        "error_model": "poisson",
        "method": ("bbox", "csr", "cython"),
        "polarization_factor": 0.97,
        **options,
    }
    return integrator().integrate1d_ng(frame, 90, **keywords)


def agrees(pattern: xr.Dataset, oracle: Any, *, cancels: bool = False) -> None:
    """Compare one pattern to pyFAI's; bins without a pixel are NaN here, zero there."""
    there = oracle.sum_normalization > 0
    atol = 1e-6 * float(oracle.intensity.max()) if cancels else 1e-12
    axis = next(name for name in ("two_theta", "q") if name in pattern.coords)
    np.testing.assert_allclose(pattern[axis], oracle.radial, rtol=1e-12)
    for name, expected in (("intensity", oracle.intensity), ("intensity_sigma", oracle.sigma)):
        values = pattern[name].values
        np.testing.assert_array_equal(np.isfinite(values), there, err_msg=name)
        np.testing.assert_allclose(values[there], expected[there], rtol=1e-6, atol=atol)


RNG = np.random.default_rng(1)
MASK = RNG.random(SHAPE) < 0.05
FLAT = RNG.uniform(0.8, 1.2, SHAPE)
DARK = RNG.uniform(0, 3, SHAPE)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "q": ({"unit": "q"}, {"unit": "q_A^-1"}),
    "no polarisation": ({"polarization": None}, {"polarization_factor": None}),
    "unpolarised": ({"polarization": 0.0}, {"polarization_factor": 0.0}),
    "no solid angle": ({"solid_angle": False}, {"correctSolidAngle": False}),
    "mask": ({"mask": MASK}, {"mask": MASK.astype(np.int8)}),
    "flat": ({"flat": FLAT}, {"flat": FLAT}),
    "dark": ({"dark": DARK}, {"dark": DARK}),
    "all": (
        {"mask": MASK, "flat": FLAT, "dark": DARK},
        {"mask": MASK.astype(np.int8), "flat": FLAT, "dark": DARK},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["i4", "u2", "f4", ">i4"])
def test_it_is_what_pyfai_gets(case: str, kind: str) -> None:
    """Oracle: integrate1d_ng, bbox CSR, Poisson, frame after frame; 1e-6 for I and sigma.

    pyFAI calculates in single precision: what is left of n - b is as good as n and b were.
    """
    ours, theirs = CASES[case]
    frames = images(counts(3).astype(kind))
    result = integrate(frames, **{**FIXED, **ours})
    for at, frame in enumerate(counts(3).astype(kind.lstrip(">"))):
        agrees(result.isel(time=at), by_pyfai(frame, **theirs), cancels="dark" in ours)


def test_a_detector_with_gaps() -> None:
    """A Pilatus 100k by name: its own mask holds beside the one that is given."""
    detector = detector_factory("Pilatus 300k")
    angle = np.arange(detector.shape[0] * detector.shape[1]).reshape(detector.shape)
    values = np.random.default_rng(3).poisson(5 + angle % 7, (2, *detector.shape)).astype(np.int32)
    values[:, detector.mask != 0] = -1
    mask = np.zeros(detector.shape, dtype=bool)
    mask[100:110, 200:230] = True
    poni = {key: PONI[key] for key in PONI if not key.startswith("detector")}
    poni |= {"detector": "Pilatus300k", "detector_config": {"orientation": 3}}
    result = integrate(images(values), **{**FIXED, "poni": poni, "points": 300}, mask=mask)
    both = (detector.mask != 0) | mask
    lengths = {name: PONI[name] for name in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")}
    oracle = AzimuthalIntegrator(**lengths, detector=detector, wavelength=PONI["wavelength"])
    expected = oracle.integrate1d_ng(
        values[1],
        300,
        unit="2th_deg",
        error_model="poisson",
        method=("bbox", "csr", "cython"),
        polarization_factor=0.97,
        mask=both.astype(np.int8),
    )
    agrees(result.isel(time=1), expected)
    [step] = json.loads(result.attrs["corrections"])
    assert step["masked_pixels"] == both.sum()


@pytest.mark.parametrize("kind", ["i4", "f8"])
def test_dead_pixels_count_in_neither_sum(kind: str) -> None:
    """Oracle: pyFAI with its dummy value. Other frames keep their bits."""
    values = counts(LANES + 3).astype(kind)
    whole = integrate(images(values), **FIXED)
    dead = np.random.default_rng(2).random(values.shape) < 0.1
    dead[:] &= (np.arange(len(values)) % 3 == 1)[:, None, None]
    dead[4, : SHAPE[0] // 2] = True
    holed = np.where(dead, -2 if kind == "i4" else np.nan, values).astype(kind)
    result = integrate(images(holed), **FIXED)
    for at in range(len(values)):
        if at % 3 == 1:
            agrees(result.isel(time=at), by_pyfai(np.where(dead[at], -2, values[at]), dummy=-2))
        else:
            xr.testing.assert_identical(result.isel(time=at), whole.isel(time=at))


def test_a_frame_without_a_reading_is_nan() -> None:
    values = counts(3).astype(float)
    values[1] = np.nan
    values[2, 5, 5] = np.inf
    result = integrate(images(values), **FIXED)
    assert np.isnan(result["intensity"].values[1]).all()
    assert np.isnan(result["intensity_sigma"].values[1]).all()
    assert np.isfinite(result["intensity"].values[2]).sum() > 80


def test_an_unreadable_frame_is_nan_though_its_numbers_are_whole() -> None:
    frames = images(counts(3))
    flags = ("time", np.array([0, 1, 2], np.int32), flag_attributes(FRAME_FLAGS))
    result = integrate(frames.assign_coords(frame_flag=flags), **FIXED)
    whole = integrate(frames, **FIXED)
    assert np.isnan(result["intensity"].values[1]).all()
    assert np.isnan(result["intensity_sigma"].values[1]).all()
    np.testing.assert_array_equal(result["intensity"][::2], whole["intensity"][::2])


@pytest.mark.parametrize("dead_values", [[65535], [0], [-1, 65535, 65534]])
def test_dead_values_of_any_sign(dead_values: list[int]) -> None:
    """Oracle: the same pixels masked by NaN."""
    values = counts(2).astype(np.uint16)
    values[0, 10:20, 10:20] = 65535
    values[1, 30, :] = 65534
    named = integrate(images(values, dead_values=dead_values), **FIXED)
    holed = np.where(np.isin(values, dead_values), np.nan, values)
    by_nan = integrate(images(holed, dead_values=[]), **FIXED)
    np.testing.assert_array_equal(named["intensity"], by_nan["intensity"])
    np.testing.assert_array_equal(named["intensity_sigma"], by_nan["intensity_sigma"])


def test_an_even_sample_gives_an_even_pattern() -> None:
    """Truth: each pixel counts 1000 x solid angle x polarisation, so that every bin has 1000."""
    geometry = integrator()
    weight = geometry.solidAngleArray(SHAPE) * geometry.polarization(SHAPE, factor=0.97)
    result = integrate(images(1000.0 * np.stack([weight, weight])), **FIXED)
    np.testing.assert_allclose(result["intensity"], 1000.0, rtol=1e-6)


def test_sigma_is_true() -> None:
    """Truth: pulls of 400 frames of Poisson counts against the known mean have a spread of 1.

    Only shared pixels between neighbouring bins make it less: of one bin alone it is exact.
    """
    mean = np.full((400, *SHAPE), 30.0)
    result = integrate(
        images(np.random.default_rng(5).poisson(mean).astype(np.uint16)),
        **{**FIXED, "polarization": None, "solid_angle": False},
    )
    pulls = (result["intensity"] - 30.0) / result["intensity_sigma"]
    inner = pulls.isel(two_theta=slice(5, -5))
    assert abs(float(inner.mean())) < 0.03
    assert float(inner.std()) == pytest.approx(1.0, abs=0.03)


def test_the_noise_that_bins_share_is_told() -> None:
    """Truth: the spread of the mean over many bins in 1000 frames, against their own sigmas."""
    even = np.random.default_rng(9).poisson(30, (1000, *SHAPE)).astype(np.uint16)
    options = {**FIXED, "polarization": None, "solid_angle": False}
    for points in (30, 90, 200):
        result = integrate(images(even), **{**options, "points": points})
        inner = result.isel(two_theta=slice(points // 4, points // 2))
        pulls = (inner["intensity"].mean("two_theta") - 30) * inner.sizes["two_theta"]
        pulls = pulls / np.sqrt((inner["intensity_sigma"] ** 2).sum("two_theta"))
        [step] = json.loads(result.attrs["corrections"])
        expected = 1 / np.sqrt(step["independent_variance"])
        assert float(pulls.std()) == pytest.approx(expected, rel=0.12), points


def test_dim_images_have_a_sigma_that_is_too_large() -> None:
    """The docstring says so: max(n, 1) as in pyFAI; at 0.04 counts a pixel by 1/sqrt(0.04) = 5."""
    dim = np.random.default_rng(6).poisson(0.04, (200, *SHAPE)).astype(np.uint16)
    result = integrate(images(dim), **{**FIXED, "polarization": None, "solid_angle": False})
    pulls = (result["intensity"] - 0.04) / result["intensity_sigma"]
    assert float(pulls.isel(two_theta=slice(5, -5)).std()) == pytest.approx(0.2, abs=0.03)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=5).filter(lambda c: sum(c) > 1),
    st.integers(1, 4),
    st.booleans(),
)
def test_blocks_and_threads_change_nothing(
    chunks: list[int], threads: int, with_dead: bool
) -> None:
    """The same bits, however a series is cut along time, row and column."""
    values = counts(sum(chunks), seed=7)
    if with_dead:
        values[:: LANES + 1, 20, 20:40] = -1
    frames = images(values)
    lazy = frames.copy()
    blocks = (tuple(chunks), (50, 10), (75,))
    lazy["intensity"] = lazy["intensity"].copy(data=da.from_array(values, blocks))
    result = integrate(lazy, **FIXED)
    with dask.config.set(scheduler="threads", num_workers=threads):
        xr.testing.assert_identical(result.compute(), integrate(frames, **FIXED))
    found = result["intensity"].chunksizes["time"]
    assert found == tuple(chunks) if max(chunks) >= LANES else max(found) <= LANES


def test_nothing_is_read_before_it_is_computed() -> None:
    def refuse(block: Any) -> Any:
        raise AssertionError("read too early")

    values = da.zeros((6, *SHAPE), chunks=(2, -1, -1), dtype="u2")
    lazy = images(values.map_blocks(refuse, dtype="u2", meta=np.zeros((0, 0, 0), "u2")))
    result = integrate(lazy, **FIXED)
    assert result["intensity"].shape == (6, 90)
    with pytest.raises(AssertionError, match="too early"):
        result["intensity"].compute()


def test_a_task_does_not_carry_the_matrix() -> None:
    """A distributed worker builds it once from the plan, which is as short as a PONI."""
    plan = Plan(
        geometry=json.dumps(geometry_of(PONI)),
        shape=SHAPE,
        points=90,
        unit="q",
        solid_angle=True,
        polarization=None,
        clip=None,
        efficiency="0" * 64,
    )
    task = partial(integration._integrate_block, plan=plan, dead=np.array([-1.0]))
    assert len(pickle.dumps(task)) < 2000


def test_what_is_kept_and_what_is_told(tmp_path: Path) -> None:
    """All on time stays; the geometry can be used again; the parameters are in the history."""
    path = tmp_path / "geometry.poni"
    keys = {"dist": "Distance", "detector": "Detector", "detector_config": "Detector_config"}
    lines = [
        f"{keys.get(key, key.capitalize())}: {json.dumps(value) if key[-2:] == 'ig' else value}"
        for key, value in PONI.items()
    ]
    path.write_text("# Calibration of 2026-05-04\n" + "\n".join(lines), encoding="utf-8")
    np.save(tmp_path / "mask.npy", MASK)
    frames = images(counts(2), wavelength_angstrom=0.500004)
    frames["dose"] = ("time", [1.0, 2.0], {"units": "1"})
    frames.attrs["corrections"] = '[{"step": "cosmic rays"}]'
    result = integrate(frames, **{**FIXED, "poni": path}, mask=tmp_path / "mask.npy", flat=FLAT)
    assert result.attrs["technique"] == "xrd"
    assert result.attrs["instrument"] == "ID00"
    assert result.attrs["wavelength_angstrom"] == pytest.approx(0.5, rel=1e-15)
    assert "dead_values" not in result.attrs
    for name in ("time", "time_start", "time_end", "voltage", "position", "dose"):
        xr.testing.assert_identical(
            result[name].reset_coords(drop=True), frames[name].reset_coords(drop=True)
        )
    again = integrate(
        frames, **{**FIXED, "poni": json.loads(result.attrs["geometry"])}, mask=MASK, flat=FLAT
    )
    np.testing.assert_array_equal(again["intensity"], result["intensity"])
    before, step = json.loads(result.attrs["corrections"])
    assert before == {"step": "cosmic rays"}
    assert step["poni"] == "geometry.poni"
    assert step["polarization"] == 0.97
    assert step["masked_pixels"] == MASK.sum()
    assert len(step["mask_sha256"]) == len(step["flat_sha256"]) == 64
    assert step["pyfai"]
    by_object = integrate(frames, **{**FIXED, "poni": integrator()}, mask=MASK, flat=FLAT)
    np.testing.assert_array_equal(by_object["intensity"], result["intensity"])


def test_a_wavelength_that_only_the_images_state() -> None:
    poni = {key: value for key, value in PONI.items() if key != "wavelength"}
    frames = images(counts(1), wavelength_angstrom=0.5)
    result = integrate(frames, **{**FIXED, "poni": poni, "unit": "q"})
    expected = integrate(images(counts(1)), **{**FIXED, "unit": "q"})
    np.testing.assert_allclose(result["q"], expected["q"], rtol=1e-14)


def test_outliers_are_left_out_through_pyfai() -> None:
    """Truth: an even sample of 100 counts with 2 % of the pixels hit by grains of 5000."""
    rng = np.random.default_rng(8)
    values = rng.poisson(100, (2, *SHAPE)).astype(np.float32)
    values[rng.random(values.shape) < 0.02] = 5000
    values[0, 3, 3] = -1
    fixed: dict[str, Any] = {**FIXED, "polarization": None, "solid_angle": False, "points": 40}
    plain = integrate(images(values), **fixed)["intensity"].isel(two_theta=slice(3, -3))
    assert float(plain.mean()) > 150
    for clip in (True, 4.0, (10, 90)):
        lazy = images(da.from_array(values, (1, -1, -1)))
        result = integrate(lazy, **fixed, sigma_clip=clip).compute()
        inner = result.isel(two_theta=slice(3, -3))
        assert float(inner["intensity"].median()) == pytest.approx(100, abs=1.0), clip
        assert float(inner["intensity_sigma"].median()) == pytest.approx(1.0, abs=0.3), clip
        [step] = json.loads(result.attrs["corrections"])
        assert step["clip"] == (5.0 if clip is True else list(clip) if clip == (10, 90) else clip)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no poni": ({"poni": "nowhere.poni"}, r"poni 'nowhere.poni': cannot be read"),
    "empty": ({"poni": {}}, "expected a PONI file"),
    "nonsense": ({"poni": {"dist": "far"}}, "not a geometry that pyFAI understands"),
    "no rotation": ({"poni": {**PONI, "rot2": None}}, "rot2 is None"),
    "behind": ({"poni": {**PONI, "dist": -0.1}}, "above zero"),
    "infinite": ({"poni": {**PONI, "poni1": float("inf")}}, "poni1 is inf"),
    "unknown detector": ({"poni": {**PONI, "detector": "Camera obscura"}}, "not a geometry"),
    "another detector": (
        {"poni": {**PONI, "detector": "Pilatus1M", "detector_config": {}}},
        "60 rows of 75 pixels; detector Pilatus1M of the PONI has 1043 of 981",
    ),
    "no wavelength": ({"poni": {**PONI, "wavelength": None}}, "no wavelength"),
    "wavelength of zero": ({"poni": {**PONI, "wavelength": -1e-10}}, "expected a number above 0"),
    "points": ({"points": 1}, "points: 1"),
    "unit": ({"unit": "d"}, "'two_theta' or 'q'"),
    "polarization": ({"polarization": 1.5}, "polarization: 1.5"),
    "solid angle": ({"solid_angle": "yes"}, "True or False"),
    "mask": ({"mask": np.zeros((3, 3))}, r"mask: an image of \(3, 3\)"),
    "no mask": ({"mask": "nowhere.npy"}, "mask 'nowhere.npy': not an image"),
    "words": ({"flat": [["a"]]}, "flat .* not an image"),
    "all masked": ({"mask": np.ones(SHAPE)}, "no pixel is left"),
    "clip": ({"sigma_clip": -1}, "sigma_clip: -1"),
    "percentiles": ({"sigma_clip": (90, 10)}, "two percentiles"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused(case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(RequestError, match=message) as caught:
        integrate(images(counts(1)), **{**FIXED, **options})
    assert "\n" not in str(caught.value)


def test_images_that_are_none_are_refused() -> None:
    with pytest.raises(RequestError, match="expected detector images"):
        integrate(xr.Dataset(attrs={"technique": "xrd"}), **FIXED)
    with pytest.raises(RequestError, match=r"bool.*expected numbers"):
        integrate(images(counts(1) > 5), **FIXED)
    with pytest.raises(RequestError, match=r"wavelength 0.5 angstrom, but the images state 0.5001"):
        integrate(images(counts(1), wavelength_angstrom=0.5001), **FIXED)


def test_a_binary_file_is_not_a_poni(tmp_path: Path) -> None:
    path = tmp_path / "image.poni"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(RequestError, match="cannot be read"):
        integrate(images(counts(1)), **{**FIXED, "poni": path})
    path.write_text("Hello: world\n")
    with pytest.raises(RequestError, match="dist is None"):
        integrate(images(counts(1)), **{**FIXED, "poni": path})


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_kernel_is_a_sparse_product(frames: int, seed: int) -> None:
    """Oracle: dense matrix products of numpy."""
    rng = np.random.default_rng(seed)
    pixels, points = int(rng.integers(1, 700)), int(rng.integers(1, 12))
    entries = rng.integers(0, 4, pixels)
    starts = np.concatenate([[0], np.cumsum(entries)]).astype(np.int64)
    bins = rng.integers(0, points, starts[-1]).astype(np.int32)
    shares = rng.random(starts[-1]).astype(np.float32)
    weights, dark = rng.uniform(0.5, 1.0, pixels), rng.uniform(0, 2, pixels)
    matrix, squares = np.zeros((2, points, pixels))
    for pixel in range(pixels):
        for entry in range(starts[pixel], starts[pixel + 1]):
            matrix[bins[entry], pixel] += shares[entry]
            squares[bins[entry], pixel] += np.float64(shares[entry]) ** 2
    splitting = Splitting(starts=starts, bins=bins, shares=shares, weights=weights, points=points)
    usual = normalisation(splitting)
    np.testing.assert_allclose(usual, matrix @ weights, atol=1e-12)
    values = rng.poisson(3, (frames, pixels)).astype(np.int16)
    values[rng.random(values.shape) < 0.1] = -7
    intensity, sigma = integrated(values, splitting, usual, dead=np.array([-7.0]), dark=dark)
    alive = values != -7
    with np.errstate(invalid="ignore"):
        whole = (alive * weights) @ matrix.T
        expected = (np.where(alive, values - dark, 0.0)) @ matrix.T / whole
        spread = np.sqrt(np.where(alive, np.maximum(values, 1), 0) @ squares.T) / whole
    np.testing.assert_allclose(intensity, expected, atol=1e-9)
    np.testing.assert_allclose(sigma, spread, atol=1e-9)
