"""Patterns integrated by pyFAI, written here by pyFAI itself: the oracle is what it returned."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest

import operando
from operando.errors import ClockError
from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.pyfai_hdf5 import READER

WAVELENGTH = 0.6907e-10


@pytest.fixture(scope="module")
def integrator() -> Iterator[Any]:
    """A detector of 60 x 80 pixels at 0.1 m."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyFAI.detectors import Detector
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        detector = Detector(pixel1=1e-3, pixel2=1e-3, max_shape=(60, 80))
        yield AzimuthalIntegrator(
            dist=0.1, poni1=0.03, poni2=0.04, detector=detector, wavelength=WAVELENGTH
        )


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).poisson(100.0, (60, 80)).astype(np.float32)


def _integrate(integrator: Any, image: np.ndarray, unit: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return integrator.integrate1d_ng(image, 50, unit=unit, error_model="poisson", **options)


@pytest.mark.parametrize(
    ("unit", "axis", "factor"),
    [
        ("2th_deg", "two_theta", 1.0),
        ("2th_rad", "two_theta", float(np.degrees(1.0))),
        ("q_A^-1", "q", 1.0),
        ("q_nm^-1", "q", 0.1),
    ],
)
def test_one_result(
    tmp_path: Path, integrator: Any, image: np.ndarray, unit: str, axis: str, factor: float
) -> None:
    from pyFAI.io.nexus import save_NXmonpd

    result = _integrate(integrator, image, unit)
    path = tmp_path / "pattern.h5"
    save_NXmonpd(str(path), result)
    file = File(path)
    dataset = READER.read(file)
    assert claims(file) == ["pyfai_hdf5"]
    np.testing.assert_allclose(dataset[axis], result.radial * factor, rtol=1e-6)
    np.testing.assert_array_equal(dataset["intensity"][0], result.intensity.astype(float))
    np.testing.assert_allclose(dataset["intensity_sigma"][0], result.sem, rtol=1e-6)
    assert dataset.attrs["wavelength_angstrom"] == pytest.approx(0.6907)


def _worker_file(folder: Path, integrator: Any, images: list[np.ndarray], unit: str) -> File:
    """Write a series by the writer that pyFAI's worker uses."""
    from pyFAI.io import HDF5Writer
    from pyFAI.io.integration_config import WorkerConfig
    from pyFAI.units import to_unit

    path = folder / "series.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = HDF5Writer(str(path), append_frames=True)
        config = WorkerConfig(
            application="worker", nbpt_rad=50, unit=to_unit(unit), poni=integrator.get_config()
        )
        writer.init(config)
        for image in images:
            writer.write(_integrate(integrator, image, unit))
        writer.close()
    return File(path)


@pytest.mark.parametrize(("unit", "axis"), [("2th_deg", "two_theta"), ("q_A^-1", "q")])
def test_a_series_of_the_worker(
    tmp_path: Path, integrator: Any, image: np.ndarray, unit: str, axis: str
) -> None:
    images = [image + 5 * at for at in range(4)]
    file = _worker_file(tmp_path, integrator, images, unit)
    dataset = READER.read(file)
    assert claims(file) == ["pyfai_hdf5"]
    assert isinstance(dataset["intensity"].data, da.Array)
    results = [_integrate(integrator, one, unit) for one in images]
    np.testing.assert_allclose(dataset[axis], results[0].radial, rtol=1e-6)
    for at, result in enumerate(results):
        np.testing.assert_allclose(dataset["intensity"][at], result.intensity, rtol=1e-6)
        np.testing.assert_allclose(dataset["intensity_sigma"][at], result.sigma, rtol=1e-6)
    assert dataset.attrs["wavelength_angstrom"] == pytest.approx(0.6907)


def test_the_time_of_integration_is_not_when_it_was_measured(
    tmp_path: Path, integrator: Any, image: np.ndarray
) -> None:
    file = _worker_file(tmp_path, integrator, [image, image], "2th_deg")
    with h5py.File(file.path) as root:
        assert "start_time" in root["entry_0000"]
    assert READER.read(file).attrs["clock"]["start"] is None
    with pytest.raises(ClockError, match="no time in the file"):
        operando.read(str(file))
    frames = operando.read(str(file), first="2026-05-04T10:00:00", period_s=10.0, tz="UTC")
    operando.check(frames)
    assert frames.sizes["time"] == 2


def test_a_cake_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cake.h5"
    with h5py.File(path, "w") as root:
        results = root.create_group("entry_0000/integrate/results")
        results["data"] = np.ones((2, 36, 50))
        results["radial"] = np.linspace(1, 20, 50)
        results["radial"].attrs.update(unit="deg", name="2th")
        results["chi"] = np.linspace(-180, 170, 36)
    with pytest.raises(FormatError, match="a cake"):
        READER.read(File(path))


def test_several_integrations(tmp_path: Path, integrator: Any, image: np.ndarray) -> None:
    file = _worker_file(tmp_path, integrator, [image], "2th_deg")
    with h5py.File(file.path, "a") as root:
        root.copy("entry_0000", "entry_0001")
    with pytest.raises(FormatError, match="choose one with entry="):
        READER.read(file)
    assert READER.read(file, entry="entry_0001").sizes["time"] == 1
    with h5py.File(tmp_path / "other.h5", "w") as root:
        root["a/b"] = 1
    with pytest.raises(FormatError, match="no results of an integration"):
        READER.read(File(tmp_path / "other.h5"))


def test_damage_is_said_or_gives_fewer_frames(
    tmp_path: Path,
    integrator: Any,
    image: np.ndarray,
    spoiled: Callable[..., list[bytes]],
    refused_or_valid: Callable[..., None],
) -> None:
    file = _worker_file(tmp_path, integrator, [image] * 3, "2th_deg")
    raw = file.read_bytes()
    for content in spoiled(raw, cuts=12, flips=60, seed=6):
        refused_or_valid(READER, content, file.name, frames=3)
