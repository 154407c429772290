"""NXazint1d: what we write is the definition, GSAS-II finds its way, it comes back exactly."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

import operando
from operando.errors import ContractError, OperandoError, RequestError
from operando.model import ALIGNMENT_FLAGS, STATES, category_attributes, flag_attributes
from operando.reading.nxazint1d_export import write_nxazint1d

START = np.array(["2026-03-29T00:59:59.123456789", "2026-03-29T01:05:00", "2026-03-30"], "M8[ns]")
LENGTH = np.array([1_000_000_001, 150_000_000_000, 4], "m8[ns]")
AXES = {
    "two_theta": (np.linspace(2, 20, 7) ** 1.1, "degree"),
    "q": (np.arange(1, 8.0), "1/angstrom"),
}
STEP = {
    "step": "integration",
    "polarization": 0.99,
    "solid_angle": True,
    "mask_sha256": "ab" * 32,
    "masked_pixels": 3,
    "pyfai": "2026.9.0",
}
PONI = {"poni_version": 2.1, "dist": 0.2, "poni1": 0.09, "detector": "Pilatus1M"}


def frames(axis: str = "two_theta", *, lazy: bool = False, sigma: bool = True) -> xr.Dataset:
    """Return a small series that has every kind of coordinate."""
    rng = np.random.default_rng(1)
    intensity = rng.normal(100, 10, (3, 7))
    intensity[0, 2] = np.nan
    values: dict[str, Any] = {"intensity": intensity, "intensity_sigma": np.sqrt(abs(intensity))}
    points, unit = AXES[axis]
    volts = {"units": "V", "long_name": "potential"}
    states = category_attributes(STATES)
    dataset = xr.Dataset(
        {
            name: (
                ("time", axis),
                da.from_array(array, (2, 4)) if lazy else array,
                {"units": "count"},
            )
            for name, array in values.items()
            if sigma or name == "intensity"
        },
        {
            axis: (axis, points, {"units": unit}),
            "time": ("time", START + LENGTH // 2),
            "time_start": ("time", START),
            "time_end": ("time", START + LENGTH),
            "voltage": ("time", np.array([3.5, np.nan, 4.2]), volts),
            "temperature": ("time", np.array([25.0, 30.0, 35.5]), {"units": "degC"}),
            "cycle": ("time", np.array([0, 0, -1], np.int32), {"units": "1"}),
            "state": ("time", np.array([1, 2, 0], np.int32), states),
            "alignment_flag": (
                "time",
                np.array([0, 33, 1], np.int32),
                flag_attributes(ALIGNMENT_FLAGS),
            ),
            "position": ("time", np.array(["bulk", "Grenzfläche", "bulk"])),
        },
        {
            "technique": "xrd",
            "wavelength_angstrom": 0.4962,
            "sample": "Zn/MnO2",
            "instrument": "ALBA MSPD",
            "clock": json.dumps({"zone": "UTC", "sigma_s": 0.5}),
            "corrections": json.dumps([STEP]),
            "geometry": json.dumps(PONI),
        },
    )
    if sigma:
        dataset["intensity"].attrs["ancillary_variables"] = "intensity_sigma"
    return dataset


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("sigma", [False, True])
def test_what_is_written_comes_back(tmp_path: Path, axis: str, lazy: bool, sigma: bool) -> None:
    """Patterns to the bit, times to the nanosecond, flags with their meanings."""
    given = frames(axis, lazy=lazy, sigma=sigma)
    back = operando.read(write_nxazint1d(given, tmp_path / "series.h5"))
    assert set(back.variables) >= set(given.variables)
    for name in given.variables:
        np.testing.assert_array_equal(back[name].values, given[name].values, err_msg=str(name))
    for name in ("state", "alignment_flag"):
        assert back[name].attrs["flag_meanings"] == given[name].attrs["flag_meanings"]
    assert back.attrs["wavelength_angstrom"] == 0.4962
    assert back.attrs["instrument"] == "ALBA MSPD"
    assert json.loads(back.attrs["clock"])["sigma_s"] == 0.5


def test_aligned_patterns_come_back(tmp_path: Path) -> None:
    """The voltage names its sigma, in the file too: what was exported can be read."""
    given = frames()
    spread = {"units": "V", "long_name": "uncertainty of voltage"}
    given = given.assign_coords(voltage_sigma=("time", np.array([1e-3, np.nan, 2e-3]), spread))
    given["voltage"].attrs["ancillary_variables"] = "voltage_sigma alignment_flag"
    back = operando.read(write_nxazint1d(given, tmp_path / "series.h5"))
    assert back["voltage"].attrs["ancillary_variables"] == "voltage_sigma alignment_flag"
    np.testing.assert_array_equal(back["voltage_sigma"].values, given["voltage_sigma"].values)


def test_the_structure_is_that_of_the_definition(tmp_path: Path) -> None:
    """NXazint1d.nxdl.xml of 2025: what it requires, where, with which class, shape and unit."""
    path = write_nxazint1d(frames(), tmp_path / "a.h5", date="2026-05-04T12:00:00+00:00")
    with h5py.File(path) as file:
        entry = file[file.attrs["default"]]
        classes = {
            "": "NXentry",
            "instrument": "NXinstrument",
            "instrument/monochromator": "NXmonochromator",
            "instrument/source": "NXsource",
            "reduction": "NXprocess",
            "reduction/input": "NXparameters",
            "data": "NXdata",
        }
        for name, expected in classes.items():
            group = entry[name] if name else entry
            assert group.attrs["NX_class"] == expected, name
        words: tuple[str, ...] = (
            "definition",
            "instrument/name",
            "instrument/source/name",
            "reduction/date",
        )
        words += ("reduction/program", "reduction/version", "reduction/reference")
        assert all(isinstance(entry[name].asstr()[()], str) for name in words)
        assert entry["definition"].asstr()[()] == "NXazint1d"
        for name in ("solid_angle_applied", "polarization_applied", "normalization_applied"):
            assert entry[name].dtype == bool
            assert entry[name][()]
        optics = entry["instrument/monochromator"]
        assert (optics["wavelength"][()], optics["wavelength"].attrs["units"]) == (
            0.4962,
            "angstrom",
        )
        assert optics["energy"][()] == pytest.approx(24.98674, rel=1e-6)  # 12.398420 / 0.4962
        data = entry[entry.attrs["default"]]
        assert list(data.attrs["axes"]) == [".", "radial_axis"]
        assert (data.attrs["signal"], data.attrs["interpretation"]) == ("I", "spectrum")
        assert data["I"].shape == data["I_errors"].shape == (3, 7)
        assert data["I"].attrs["long_name"] == "intensity"
        assert data["I"].attrs["units"] == "arbitrary units"
        assert data["radial_axis"].attrs["long_name"] == "2theta"
        assert data["radial_axis"].attrs["units"] == "degrees"
        series = entry["series"]
        assert next(iter(series["start_time"].asstr())) == "2026-03-29T00:59:59.123456789+00:00"
        assert series.attrs["NX_class"] == "NXdata"
        assert series.attrs["signal"] == "voltage"
        poni = entry["reduction/input/poni"].asstr()[()]
        assert "Distance: 0.2\n" in poni
        assert "Detector: Pilatus1M\n" in poni


def test_gsas_finds_patterns_and_samples(tmp_path: Path) -> None:
    """As its importer G2pwd_HDF5 looks: the last group of each NeXus class, in the file's order.

    It wants `unit` "2th", and takes temperature (K) and time (s) of each frame from the sample.
    """
    path = write_nxazint1d(frames(), tmp_path / "a.h5")
    last: dict[str, h5py.Group] = {}

    def meet(group: h5py.Group) -> None:
        last[group.attrs.get("NX_class")] = group
        for below in group.values():
            if isinstance(below, h5py.Group):
                meet(below)

    with h5py.File(path) as file:
        meet(file["entry"])
        assert last["NXdata"]["I"].shape == (3, 7)
        assert last["NXdata"]["radial_axis"].shape == (7,)
        assert last["NXparameters"]["unit"].asstr()[()] == "2th"
        assert last["NXmonochromator"]["wavelength"][()] == 0.4962
        sample = last["NXsample"]
        np.testing.assert_allclose(sample["temperature"], [298.15, 303.15, 308.65])
        seconds = (START + LENGTH // 2 - START[0]) / np.timedelta64(1, "s")
        np.testing.assert_allclose(sample["time"], seconds)
        timed = [name for name in sample if "time" in name and sample[name].shape == (3,)]
        assert timed == ["time"]


def test_what_is_not_known_is_not_said(tmp_path: Path) -> None:
    """Patterns that somebody else integrated: no word of corrections, no date, no anode."""
    given = frames()
    for name in ("corrections", "geometry", "instrument", "clock"):
        del given.attrs[name]
    with h5py.File(write_nxazint1d(given, tmp_path / "a.h5")) as file:
        entry = file["entry"]
        assert not [name for name in entry if name.endswith("applied")]
        assert "date" not in entry["reduction"]
        assert "type" not in entry["instrument/source"]
        assert "poni" not in entry["reduction/input"]
    given.attrs.update(polarization_applied=0, anode="Cu", alpha2_ratio=0.5)
    with h5py.File(write_nxazint1d(given, tmp_path / "a.h5")) as file:
        assert not file["entry/polarization_applied"][()]
        assert file["entry/instrument/source/type"].asstr()[()] == "Fixed Tube X-ray"
        assert file["entry/reduction/input/alpha2_ratio"][()] == 0.5


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_nxazint1d(frames(), tmp_path / "a.h5").read_bytes()
    again = write_nxazint1d(frames(lazy=True), tmp_path / "b.h5").read_bytes()
    assert first == again


REFUSED: dict[str, tuple[Any, str]] = {
    "technique": (frames().assign_attrs(technique="xas"), "expected powder patterns"),
    "array": (frames()["intensity"], "expected powder patterns"),
    "wavelength": (frames().drop_attrs(deep=False).assign_attrs(technique="xrd"), "wavelength"),
    "empty": (frames().isel(time=slice(0)), "no frame"),
    "kelvin": (
        frames().assign_coords(temperature=("time", [1.0, 2, 3], {"units": "degF"})),
        "temperature: units 'degF'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_refused(tmp_path: Path, case: str) -> None:
    given, message = REFUSED[case]
    with pytest.raises(RequestError, match=message):
        write_nxazint1d(given, tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_a_broken_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(block: Any) -> Any:
        raise OSError("the disk is gone")

    given = frames(lazy=True)
    given["intensity"].data = given["intensity"].data.map_blocks(fail, dtype=float)
    (tmp_path / "a.h5").write_bytes(b"as it was")
    with pytest.raises(RequestError, match="cannot be written"):
        write_nxazint1d(given, tmp_path / "a.h5")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"as it was"]
    with pytest.raises(RequestError, match="cannot be written"):
        write_nxazint1d(frames(), tmp_path / "missing" / "a.h5")
    with pytest.raises(RequestError, match="path: 5"):
        write_nxazint1d(frames(), 5)  # type: ignore[arg-type]
    with pytest.raises(ContractError):
        write_nxazint1d(frames().drop_vars("time_end"), tmp_path / "b.h5")


def test_a_file_cut_anywhere_is_refused_or_shorter(tmp_path: Path) -> None:
    whole = write_nxazint1d(frames(), tmp_path / "a.h5").read_bytes()
    cut = tmp_path / "cut.h5"
    for size in range(0, len(whole), max(len(whole) // 40, 1)):
        cut.write_bytes(whole[:size])
        with contextlib.suppress(OperandoError):
            assert operando.read(cut, format="nxazint1d").sizes["time"] <= 3
