"""Porosity against sphere packs of known volume, counts against scikit-image, real volumes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label

from operando.errors import RequestError
from operando.observables.pores import ASSESSMENT, Bins, find_levels, segment_pores

Array = npt.NDArray[np.float64]
SOLID, VOID = 30000.0, 20000.0


def series(volumes: npt.ArrayLike, *, voxel_um: float = 1.0) -> xr.DataArray:
    data = np.asarray(volumes)
    axes = {axis: np.arange(n) * voxel_um for axis, n in zip("zyx", data.shape[1:], strict=True)}
    time = np.datetime64("2026-05-04T10:00", "ns") + np.arange(len(data)) * np.timedelta64(1, "h")
    return xr.DataArray(data, dims=("time", "z", "y", "x"), coords={"time": time, **axes})


def spheres(
    count: int, *, radius: float = 4.5, shape: tuple[int, int, int] = (48, 80, 80), seed: int = 0
) -> tuple[Array, float]:
    """Return the pore fraction of every voxel, and the analytic porosity; spheres never touch."""
    generator = np.random.default_rng(seed)
    centres: list[Array] = []
    while len(centres) < count:
        centre = np.array([generator.uniform(radius + 2, n - radius - 3) for n in shape])
        if all(np.linalg.norm(centre - other) > 2 * radius + 4 for other in centres):
            centres.append(centre)
    grid = np.indices(shape).astype(float)
    fraction = np.zeros(shape)
    for centre in centres:
        distance = np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(axis=0))
        fraction += np.clip(radius - distance + 0.5, 0.0, 1.0)
    return fraction, count * 4 / 3 * np.pi * radius**3 / float(np.prod(shape))


def scanned(fraction: Array, *, noise: float = 0.08, seed: int = 1) -> npt.NDArray[np.uint16]:
    """Blur by a point spread of 0.8 voxel and add noise as a part of the contrast."""
    grey = SOLID - (SOLID - VOID) * ndimage.gaussian_filter(fraction, 0.8)
    grey += np.random.default_rng(seed).normal(0, noise * (SOLID - VOID), fraction.shape)
    counts: npt.NDArray[np.uint16] = np.clip(np.rint(grey), 0, 65535).astype(np.uint16)
    return counts


@pytest.mark.parametrize("noise", [0.03, 0.08, 0.12])
@pytest.mark.parametrize("count", [10, 30, 60])
def test_porosity_of_a_sphere_pack_is_the_analytic_one(count: int, noise: float) -> None:
    fraction, truth = spheres(count)
    grey = scanned(fraction, noise=noise)
    result = segment_pores(series(grey[None]))
    assert result["porosity"].item() == pytest.approx(truth, rel=0.05)
    assert result["pore_count"].item() == count
    assert result["assessment"].item() == ASSESSMENT["success"]
    otsu = float((grey < threshold_otsu(grey)).mean())  # type: ignore[no-untyped-call]
    assert abs(result["porosity"].item() - truth) <= abs(otsu - truth)


def test_truth_lies_within_the_error_band() -> None:
    pulls = []
    for seed in range(8):
        fraction, truth = spheres(25, seed=seed)
        result = segment_pores(series(scanned(fraction, seed=seed)[None]))
        pulls.append((result["porosity"].item() - truth) / result["porosity_sigma"].item())
    assert np.max(np.abs(pulls)) < 1.0


def test_sigma_is_half_the_change_over_a_tenth_of_the_contrast() -> None:
    grey = scanned(spheres(30)[0])
    result = segment_pores(series(grey[None]))
    shift = 0.05 * (SOLID - VOID)
    moved = [float((grey < result["threshold"].item() + step).mean()) for step in (-shift, shift)]
    assert result["porosity_sigma"].item() == pytest.approx((moved[1] - moved[0]) / 2, rel=0.15)


def test_one_threshold_for_the_series_lets_porosity_grow() -> None:
    packs = [spheres(12, radius=radius, seed=4) for radius in (5.0, 5.5, 6.0, 6.5)]
    result = segment_pores(series([scanned(fraction) for fraction, _ in packs]))
    assert len(set(result["threshold"].values.tolist())) == 1
    np.testing.assert_allclose(result["porosity"], [truth for _, truth in packs], rtol=0.04)


@pytest.mark.parametrize(("connectivity", "oracle"), [(6, 1), (26, 3)])
def test_counts_are_those_of_scikit_image(connectivity: Literal[6, 26], oracle: int) -> None:
    generator = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(generator.normal(size=(2, 24, 30, 36)), (0, 1.2, 1.2, 1.2))
    result = segment_pores(series(smooth, voxel_um=0.5), threshold=-0.05, connectivity=connectivity)
    for step, volume in enumerate(smooth):
        labels = label(volume < -0.05, connectivity=oracle)  # type: ignore[no-untyped-call]
        sizes = np.bincount(labels.ravel())[1:]
        assert result["pore_count_all"][step] == sizes.size
        assert result["pore_count"][step] == np.count_nonzero(sizes >= 27)
        assert result["largest_pore_um3"][step] == pytest.approx(sizes.max() * 0.125)
        assert result["porosity"][step] == np.mean(volume < -0.05)


@settings(max_examples=12, deadline=None)
@given(
    chunks=st.tuples(st.integers(1, 2), st.integers(4, 12), st.integers(5, 16), st.integers(7, 20)),
    kind=st.sampled_from(["uint16", "int16", "float32"]),
    holes=st.booleans(),
)
def test_chunks_do_not_change_anything(
    chunks: tuple[int, int, int, int], kind: str, holes: bool
) -> None:
    generator = np.random.default_rng(5)
    smooth = ndimage.gaussian_filter(generator.normal(size=(2, 12, 16, 20)), (0, 2, 2, 2))
    grey = np.where(smooth < -0.05, 50.0, 250.0) + generator.normal(0, 20, smooth.shape)
    data = series(grey.astype(kind))
    if holes and kind == "float32":
        data[:, :, :3] = np.nan
    lazy = data.chunk(dict(zip(data.dims, chunks, strict=True)))
    result = segment_pores(lazy)
    assert isinstance(result["porosity"].data, da.Array)
    xr.testing.assert_identical(result.compute(), segment_pores(data))


def test_bright_pores_mirror_dark_ones() -> None:
    grey = scanned(spheres(20)[0])
    dark = segment_pores(series(grey[None]))
    bright = segment_pores(series(50000 - grey[None]), dark=False)
    for name in ("porosity", "pore_count", "pore_count_all", "largest_pore_um3"):
        assert bright[name].item() == pytest.approx(dark[name].item(), rel=2e-3)


def test_porosity_does_not_depend_on_the_grey_scale() -> None:
    grey = scanned(spheres(20)[0]).astype(np.float64)
    plain = segment_pores(series(grey[None]))
    scaled = segment_pores(series(grey[None] * 3e-5 - 0.2))
    assert scaled["porosity"].item() == pytest.approx(plain["porosity"].item(), rel=1e-9)
    assert scaled["porosity_sigma"].item() == pytest.approx(
        plain["porosity_sigma"].item(), rel=1e-3
    )


def test_nan_is_outside_the_sample() -> None:
    grey = scanned(spheres(20)[0]).astype(np.float64)
    padded = np.full((48, 100, 80), np.nan)
    padded[:, 10:90] = grey
    inside, outside = (segment_pores(series(data[None])) for data in (grey, padded))
    xr.testing.assert_equal(inside, outside.assign_coords(inside.coords))


def test_each_assessment() -> None:
    grey = scanned(spheres(20)[0]).astype(np.float64)
    blank = np.full_like(grey, SOLID)
    result = segment_pores(series([grey, blank, np.full_like(grey, np.nan)]))
    assert result["assessment"].values.tolist() == [
        ASSESSMENT[name] for name in ("success", "empty_phase", "nonfinite")
    ]
    assert result["porosity"].values[1] == 0
    assert result["pore_count_all"].values[1] == 0
    assert np.isnan(result["porosity"].values[2])


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_has_no_pores(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(1000, 50, (1, 40, 40, 40)).astype(np.uint16)
    result = segment_pores(series(noise))
    assert result["assessment"].item() == ASSESSMENT["no_contrast"]
    assert np.isnan(result["porosity"].item())


def test_modes_are_the_centres_of_two_bells() -> None:
    centres = np.arange(1000) + 0.5
    bells = 0.04 * np.exp(-0.5 * ((centres - 300) / 30) ** 2)
    bells += 0.96 * np.exp(-0.5 * ((centres - 700) / 30) ** 2)
    counts = np.rint(1e6 * bells).astype(np.int64)
    levels = find_levels(counts, Bins(first=0.0, width=1.0, count=1000))
    assert (levels.dark, levels.bright) == pytest.approx((300, 700), abs=2)
    share = np.cumsum(counts)[int(levels.threshold) - 1] / counts.sum()
    assert share == pytest.approx(0.04, rel=0.02)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"connectivity": 18}, "connectivity: 18"),
        ({"minimum_voxels": 0}, "minimum_voxels: 0"),
        ({"threshold": np.nan}, "threshold: nan"),
    ],
)
def test_a_bad_request_names_what_is_wrong(change: dict[str, float], words: str) -> None:
    volume = series(np.zeros((1, 4, 4, 4), np.uint8))
    with pytest.raises(RequestError, match=words):
        segment_pores(volume, **change)  # type: ignore[arg-type]


def test_axes_must_be_even_and_there() -> None:
    volume = series(np.zeros((1, 4, 4, 4), np.uint8))
    with pytest.raises(RequestError, match="z: steps from 1 to 7"):
        segment_pores(volume.assign_coords(z=[0.0, 1.0, 2.0, 9.0]))
    with pytest.raises(RequestError, match="y: no spacing"):
        segment_pores(volume.drop_vars("y"))
    with pytest.raises(RequestError, match="expected time, z, y, x"):
        segment_pores(volume.isel(time=0))


@pytest.mark.shared_data
def test_berea_porosity_is_the_published_one(shared_data: Path) -> None:
    archive = shared_data / "formats" / "tomography" / "berea_400_binary_tif.zip"
    with zipfile.ZipFile(archive) as zipped:
        [name] = [name for name in zipped.namelist() if name.endswith(".tif")]
        volume = tifffile.imread(io.BytesIO(zipped.read(name)))
    data = series(volume[None], voxel_um=5.345).chunk(z=50)
    result = segment_pores(data).compute()
    assert result["porosity"].item() == 0.19645303125
    assert result["assessment"].item() == ASSESSMENT["success"]


@pytest.mark.shared_data
def test_phases_of_a_real_electrode(shared_data: Path) -> None:
    volume = tifffile.imread(
        shared_data / "formats" / "tomography" / "taufactor_electrode_256.tiff"
    )
    for threshold, voxels in ((42.5, 7548361), (127.5, 7548361 + 6718710)):
        result = segment_pores(series(volume[None]), threshold=threshold)
        assert result["porosity"].item() * volume.size == pytest.approx(voxels, abs=0.1)
