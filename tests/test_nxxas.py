"""NXxas: what we write is the definition of 2026, h5py alone reads it, it comes back exactly."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
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
from operando.reading.nxxas_export import write_nxxas
from operando_readers._reader import File, FormatError, FormatWarning
from operando_readers.nxxas import READER

ENERGY = np.array([8300.0, 8320.5, 8333.0, 8340.25, 8400.0])
START = np.array(["2026-03-29T00:59:59.123456789", "2026-03-29T01:05:00", "2026-03-30"], "M8[ns]")
LENGTH = np.array([1_000_000_001, 150_000_000_000, 3], "m8[ns]")


def frames(count: int = 3, *, lazy: bool = False) -> xr.Dataset:
    """Return a small series that has every kind of coordinate."""
    rng = np.random.default_rng(1)
    values = {
        name: rng.normal(1, 0.1, (count, ENERGY.size))
        for name in ("mu", "mu_sigma", "mu_reference", "mu_fluorescence", "i0", "iref")
    }
    values["mu"][0, 2] = np.nan
    dims = ("time", "energy")
    start, length = START[:count], LENGTH[:count]
    volts = {"units": "V", "long_name": "potential", "ancillary_variables": "voltage_sigma"}
    dataset = xr.Dataset(
        {
            name: (dims, da.from_array(array, (2, -1)) if lazy else array, {"units": "1"})
            for name, array in values.items()
        },
        {
            "energy": ("energy", ENERGY, {"units": "eV"}),
            "time": ("time", start + length // 2),
            "time_start": ("time", start),
            "time_end": ("time", start + length),
            "voltage": ("time", np.array([3.5, np.nan, 4.2])[:count], volts),
            "voltage_sigma": ("time", np.array([1e-3, np.nan, 2e-3])[:count], {"units": "V"}),
            "current": ("time", np.array([1e-3, -1e-3, 0.0])[:count], {"units": "A"}),
            "net_capacity": ("time", np.arange(3.0)[:count], {"units": "A h"}),
            "cycle": ("time", np.array([0, 0, -1], np.int32)[:count], {"units": "1"}),
            "state": ("time", np.array([1, 2, 0], np.int32)[:count], category_attributes(STATES)),
            "alignment_flag": (
                "time",
                np.array([0, 33, 1], np.int32)[:count],
                flag_attributes(ALIGNMENT_FLAGS),
            ),
            "position": ("time", np.array(["bulk", "Grenzfläche", "bulk"])[:count]),
        },
        {
            "technique": "xas",
            "element": "Ni",
            "edge": "K",
            "sample": "LiNiO2",
            "instrument": "SOLEIL ROCK",
            "clock": json.dumps({"zone": "UTC", "sigma_s": 0.5}),
        },
    )
    dataset["mu"].attrs.update(mode="transmission", normalised=1, ancillary_variables="mu_sigma")
    return dataset


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_written_comes_back(tmp_path: Path, count: int, lazy: bool) -> None:
    """Times to the nanosecond, numbers to the bit, flags with their meanings."""
    given = frames(count, lazy=lazy)
    path = write_nxxas(given, tmp_path / "series.nxs")
    back = operando.read(path)
    for name in given.variables:
        np.testing.assert_array_equal(back[name].values, given[name].values, err_msg=str(name))
        assert back[name].dtype.kind == given[name].dtype.kind, name
        for key, value in given[name].attrs.items():
            np.testing.assert_array_equal(back[name].attrs[key], value, err_msg=f"{name}@{key}")
    assert set(back.variables) == set(given.variables) | {"file_index", "frame_flag"}
    assert {key: back.attrs[key] for key in ("element", "edge", "instrument")} == {
        "element": "Ni",
        "edge": "K",
        "instrument": "SOLEIL ROCK",
    }
    assert json.loads(back.attrs["clock"])["sigma_s"] == 0.5


def test_the_structure_is_that_of_the_definition(tmp_path: Path) -> None:
    """NXxas.nxdl.xml of 2026: what it requires, where, with which class, shape and unit."""
    with h5py.File(write_nxxas(frames(), tmp_path / "a.nxs")) as file:
        assert file.attrs["NX_class"] == "NXroot"
        entry = file[file.attrs["default"]]
        for group in (entry, entry["reference"], entry["fluorescence"]):
            assert group["definition"].asstr()[()] == "NXxas"
            assert group["element"].attrs["NX_class"] == "NXelement"
            assert group["element/symbol"].asstr()[()] == "Ni"
            assert group["edge"].attrs["NX_class"] == "NXabsorption_edge"
            assert group["edge/name"].asstr()[()] == "K"
            assert group["is_experimental"][()]
            assert group["energy"].shape == (5,)
            assert group["energy"].attrs["units"] == "eV"
            assert group["intensity"].shape == (3, 5)
            assert group["sample"].attrs["NX_class"] == "NXsample"
            plot = group["data"]
            assert plot.attrs["NX_class"] == "NXdata"
            assert plot.attrs["signal"] == "intensity"
            assert plot.attrs["energy_indices"] == 1
            assert plot["intensity"] == group["intensity"]
            assert plot["energy"] == group["energy"]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry["reference"].attrs["NX_class"] == "NXsubentry"
        assert entry["intensity_errors"].shape == (3, 5)
        assert entry["sample/name"].asstr()[()] == "LiNiO2"
        assert entry["data"].attrs["axes"].tolist() == ["time", "energy"]
        assert entry["data"].attrs["time_indices"] == 0
        assert entry["data/time"] == entry["series/time"]
        assert entry["mode"].asstr()[()] == "transmission"


def test_plain_h5py_reads_it(tmp_path: Path) -> None:
    given = frames()
    with h5py.File(write_nxxas(given, tmp_path / "a.nxs")) as file:
        entry = file["entry"]
        np.testing.assert_array_equal(entry["intensity"][...], given["mu"])
        np.testing.assert_array_equal(entry["reference/intensity"][...], given["mu_reference"])
        np.testing.assert_array_equal(entry["instrument/irefer/data"][...], given["iref"])
        np.testing.assert_array_equal(entry["series/voltage"][...], given["voltage"])
        assert entry["series"].attrs["signal"] == "voltage"
        assert entry["series/state"].attrs["flag_meanings"].split()[2] == "charge"
        assert entry["series/position"].asstr()[1] == "Grenzfläche"
        assert entry["series/start_time"].asstr()[0] == "2026-03-29T00:59:59.123456789+00:00"
        assert entry["series/end_time"].asstr()[1] == "2026-03-29T01:07:30.000000000+00:00"
        assert entry["start_time"].asstr()[()] == "2026-03-29T00:59:59.123456789+00:00"
        assert entry["end_time"].asstr()[()] == "2026-03-30T00:00:00.000000003+00:00"
        assert entry["series/time"].attrs["start"] == entry["start_time"].asstr()[()]
        middle = (given["time"].values - START[0]) / np.timedelta64(1, "ns") / 1e9
        np.testing.assert_allclose(entry["series/time"][...], middle, rtol=1e-15)


def test_one_spectrum_has_no_leading_axis(tmp_path: Path) -> None:
    with h5py.File(write_nxxas(frames(1), tmp_path / "a.nxs")) as file:
        assert file["entry/intensity"].shape == (5,)
        assert file["entry/intensity_errors"].shape == (5,)
        assert file["entry/data"].attrs["axes"].tolist() == ["energy"]
        assert file["entry/data"].attrs["energy_indices"] == 0


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_nxxas(frames(), tmp_path / "a.nxs").read_bytes()
    assert write_nxxas(frames(lazy=True), tmp_path / "b.nxs").read_bytes() == first


def test_what_was_calculated_says_so(tmp_path: Path) -> None:
    path = write_nxxas(frames().assign_attrs(calculated=1), tmp_path / "a.nxs")
    with h5py.File(path) as file:
        assert not file["entry/is_experimental"][()]
    assert operando.read(path).attrs["calculated"] == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda one: one.drop_vars("mu"), OperandoError, "mu"),
        (lambda one: one.assign_attrs(element=""), RequestError, "no element"),
        (lambda one: one.drop_attrs(deep=False), RequestError, "absorption spectra"),
        (lambda one: one.isel(time=slice(0)), RequestError, "expected spectra"),
        (lambda one: one.drop_vars("time_end"), ContractError, "time_end"),
        (lambda one: one["mu"], RequestError, "absorption spectra"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, change: Callable[[xr.Dataset], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_nxxas(change(frames()), tmp_path / "a.nxs")
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def lost(block: Any) -> Any:
        raise OSError("the disk with the spectra is gone")

    path = tmp_path / "a.nxs"
    path.write_text("before")
    broken = frames()
    lazy = da.from_array(broken["mu"].values, (1, -1)).map_blocks(lost, dtype=float)
    broken["mu"] = (("time", "energy"), lazy, broken["mu"].attrs)
    with pytest.raises(RequestError, match="cannot be written"):
        write_nxxas(broken, path)
    with pytest.raises(RequestError, match="cannot be written"):
        write_nxxas(frames(), tmp_path / "absent" / "a.nxs")
    with pytest.raises(RequestError, match="path"):
        write_nxxas(frames(), 3)  # type: ignore[arg-type]
    assert [one.name for one in tmp_path.iterdir()] == ["a.nxs"]
    assert path.read_text() == "before"


def write(folder: Path, **entries: dict[str, Any]) -> File:
    """Write entries as others do: fields by their paths, attributes behind an @."""
    path = folder / "other.h5"
    with h5py.File(path, "w") as file:
        for name, fields in entries.items():
            group = file.create_group(name)
            group.attrs["NX_class"] = "NXentry"
            for field, value in fields.items():
                where, at, attribute = field.partition("@")
                if at:
                    group[where].attrs[attribute] = value
                else:
                    group[where] = value
    return File(path)


def entry(intensity: Any = (0.0, 1.0, 2.0), **fields: Any) -> dict[str, Any]:
    return {
        "definition": "NXxas",
        "element/symbol": "Fe",
        "edge/name": "K",
        "energy": [7100.0, 7110.0, 7120.0],
        "energy@units": "eV",
        "intensity": intensity,
        **fields,
    }


def test_entries_of_one_edge_stack(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        a=entry(start_time="2026-05-04T10:00:00+02:00", end_time="2026-05-04T10:01:00+02:00"),
        b=entry([5, 6, 7], start_time="2026-05-04T08:10:00Z", end_time="2026-05-04T08:11:30Z"),
        c={"title": "no spectrum"},
    )
    series = READER.read(file)
    assert series["mu"].values.tolist() == [[0, 1, 2], [5, 6, 7]]
    assert series.attrs["clock"]["start"] == "2026-05-04T08:00:00"
    assert series.attrs["clock"]["zone"] == "UTC"
    assert series["elapsed"].values.tolist() == [0.0, 600.0]
    assert series["exposure"].values.tolist() == [60.0, 90.0]
    assert READER.read(file, entries="b")["mu"].values.tolist() == [[5, 6, 7]]


def test_jitter_of_an_encoder_is_one_scan(tmp_path: Path) -> None:
    jitter = [7100.001, 7110.0, 7120.002]
    series = READER.read(write(tmp_path, a=entry(), b=entry(energy=jitter)))
    assert series.sizes["time"] == 2
    assert series["regridded"].values.tolist() == [0, 1]


def test_spectra_of_several_edges_are_listed(tmp_path: Path) -> None:
    cobalt = entry(energy=[7700.0, 7710.0, 7720.0], **{"element/symbol": "Co"})
    file = write(tmp_path, iron=entry(), cobalt=cobalt)
    with pytest.raises(FormatError, match=r"entries=: .*cobalt \(Co K.*iron \(Fe K"):
        READER.read(file)
    with pytest.raises(FormatError, match="2 edges"):
        READER.read(file, entries="*")
    with pytest.raises(FormatError, match=r"'zinc'; there are cobalt"):
        READER.read(file, entries="iron,zinc")
    assert READER.read(file, entries="c*").attrs["element"] == "Co"


def test_samples_of_one_file_are_positions(tmp_path: Path) -> None:
    file = write(tmp_path, a=entry(**{"sample/name": "FeO"}), b=entry(**{"sample/name": "Fe2O3"}))
    assert READER.read(file)["position"].values.tolist() == ["FeO", "Fe2O3"]
    assert "position" not in READER.read(file, entries="a").coords


def test_a_stack_with_its_axes(tmp_path: Path) -> None:
    """As the definition shows it: time and temperature run along the stack."""
    stacked = entry(
        [[0, 1, 2], [3, 4, 5]],
        start_time="2026-05-04T10:00:00",
        **{
            "data/energy": [7100.0, 7110.0, 7120.0],
            "data@NX_class": "NXdata",
            "data@time_indices": 0,
            "data/time": [0.5, 2.5],
            "data/time@units": "min",
            "sample/temperature": [300.0, 310.0],
            "sample/temperature@units": "K",
        },
    )
    series = READER.read(write(tmp_path, a=stacked))
    assert series["mu"].values.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert series.attrs["clock"]["start"] == "2026-05-04T10:00:30"
    assert series.attrs["clock"]["zone"] is None
    assert series["elapsed"].values.tolist() == [0.0, 120.0]
    assert series["temperature"].values.tolist() == [300.0, 310.0]
    assert series["temperature"].attrs["units"] == "K"


def test_a_stack_without_times_does_not_take_that_of_its_start(tmp_path: Path) -> None:
    file = write(tmp_path, a=entry([[0, 1, 2], [3, 4, 5]], start_time="2026-05-04T10:00:00"))
    with pytest.warns(FormatWarning, match="no time axis"):
        series = READER.read(file)
    assert series.attrs["clock"]["start"] is None


def test_subentries_are_channels_of_one_measurement(tmp_path: Path) -> None:
    def part(mode: str, values: list[float]) -> dict[str, Any]:
        return {**entry(values), "mode": mode}

    parts = {
        "it": part("transmission", [0, 1, 2]),
        "iref": part("transmission", [3, 4, 5]),
        "f1": part("fluorescence", [1, 2, -np.inf]),
        "f2": part("fluorescence", [3, 6, -np.inf]),
    }
    fields = {f"{name}/{key}": value for name, one in parts.items() for key, value in one.items()}
    file = write(tmp_path, scan=fields)
    scan = READER.read(file)
    assert scan["mu"].values.tolist() == [[0, 1, 2]]
    assert scan["mu"].attrs["mode"] == "transmission"
    assert scan["mu_reference"].values.tolist() == [[3, 4, 5]]
    np.testing.assert_array_equal(scan["mu_fluorescence"].values, [[2, 4, np.nan]])
    detector = READER.read(file, entries="scan/f2")
    np.testing.assert_array_equal(detector["mu"].values, [[3, 6, np.nan]])
    assert detector["mu"].attrs["mode"] == "fluorescence"
    assert READER.read(file, entries="*/iref")["mu"].values.tolist() == [[3, 4, 5]]


def test_two_transmissions_in_one_entry_are_not_guessed(tmp_path: Path) -> None:
    fields = {f"{name}/{key}": value for name in "ab" for key, value in entry().items()}
    with pytest.raises(FormatError, match=r"choose one with entries=: scan/a .*scan/b"):
        READER.read(write(tmp_path, scan=fields))


def test_a_foil_of_another_edge_is_left_out_and_said(tmp_path: Path) -> None:
    foil = entry(energy=[7700.0, 7710.0, 7720.0], **{"element/symbol": "Co"})
    fields = entry() | {f"reference/{key}": value for key, value in foil.items()}
    file = write(tmp_path, a=fields)
    with pytest.warns(FormatWarning, match=r"a/reference \(Co K.* other energies"):
        scan = READER.read(file)
    assert "mu_reference" not in scan
    assert READER.read(file, entries="a/reference").attrs["element"] == "Co"


def test_units_of_energy(tmp_path: Path) -> None:
    fields = entry(energy=[7.1, 7.12, 7.11])
    del fields["energy@units"]
    with pytest.raises(FormatError, match="energy_unit="):
        READER.read(write(tmp_path, a=fields))
    for told in ({"energy@long_name": "Energy (keV)"}, {"energy@units": "keV"}):
        scan = READER.read(write(tmp_path, a=fields | told))
        np.testing.assert_allclose(scan["energy"], [7100.0, 7110.0, 7120.0], rtol=1e-12)
        assert scan["mu"].values.tolist() == [[0, 2, 1]]
    assert READER.read(File(tmp_path / "other.h5"), energy_unit="eV")["energy"][0] == 7100.0
    with pytest.raises(FormatError, match="'furlong'"):
        READER.read(write(tmp_path, a=fields | {"energy@units": "furlong"}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"definition": "NXsas"}, "no entry with definition"),
        ({"intensity": [1.0, 2.0]}, r"intensity: shape \(2,\); 3 energies"),
        ({"intensity": "none"}, "expected numbers"),
        ({"energy": [7100.0, np.nan, 7120.0]}, "no number"),
        ({"energy": [[7100.0]]}, "no row of numbers"),
        ({"intensity_errors": [[1.0], [2.0]]}, "mu_sigma"),
        ({"start_time": "yesterday"}, "'yesterday'"),
        ({"start_time": "2026-05-04T10:00", "end_time": "2026-05-04T09:00"}, "before it starts"),
    ],
)
def test_refusals(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as error:
        READER.read(write(tmp_path, a=entry(**fields)))
    assert "\n" not in str(error.value)


def test_times_of_some_entries_only(tmp_path: Path) -> None:
    file = write(tmp_path, a=entry(start_time="2026-05-04T10:00:00"), b=entry())
    with pytest.raises(FormatError, match="b: no start_time"):
        READER.read(file)
    file = write(
        tmp_path, a=entry(start_time="2026-05-04T10:00:00"), b=entry(start_time="2026-05-04T10:00Z")
    )
    with pytest.raises(FormatError, match="offset"):
        READER.read(file)


def test_other_hdf5_is_not_claimed(tmp_path: Path) -> None:
    file = write(tmp_path, a=entry())
    assert READER.sniff(file.read_bytes(1 << 16), "other.h5")
    other = write(tmp_path, a=entry(definition="NXmx"))
    assert not READER.sniff(other.read_bytes(1 << 16), "other.h5")
    assert not READER.sniff(b"NXxas", "a.txt")


def test_damage_anywhere_is_a_format_error_or_a_series(tmp_path: Path) -> None:
    content = write_nxxas(frames(), tmp_path / "whole.nxs").read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / "spoiled.nxs"
    for _ in range(150):
        spoiled = bytearray(content)
        spoiled[rng.integers(len(spoiled))] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled[: rng.integers(len(spoiled) // 2, len(spoiled) * 2)])
        with contextlib.suppress(FormatError, FormatWarning):
            series = READER.read(File(path))
            assert np.isfinite(series["elapsed"].values).all()


@pytest.mark.shared_data
def test_a_real_series_comes_back(shared_data: Path, tmp_path: Path) -> None:
    """Six spectra of ROCK with the state of their cell."""
    folder = shared_data / "operando" / "xas_ni_lno_rock"
    spectra = sorted((folder / "XAS_normalized").glob("*op2*pos1*.txt"))[:6]
    logs = sorted(folder.rglob("*.mpt"))
    read = operando.read(spectra, tz="Europe/Paris", exposure_s=120.0)
    log = operando.prepare(operando.read(logs, tz="Europe/Paris"))
    given = operando.align(read.assign_attrs(element="Ni", edge="K"), log)
    back = operando.read(write_nxxas(given, tmp_path / "rock.nxs"))
    for name in given.variables:
        if name != "file_index":
            np.testing.assert_array_equal(back[name].values, given[name].values, err_msg=str(name))
            assert back[name].attrs.get("units") == given[name].attrs.get("units"), name


@pytest.mark.shared_data
def test_ours_has_what_the_examples_have(shared_data: Path, tmp_path: Path) -> None:
    """Every path to the spectrum in the examples of pynxxas is one of ours."""
    paths = ["definition", "element/symbol", "edge/name", "energy", "intensity", "mode"]
    with h5py.File(write_nxxas(frames(), tmp_path / "a.nxs")) as ours:
        for name in ("KEK_PFdata.h5", "Fe_XDIFiles.h5", "BlissMultiModal.h5"):
            with h5py.File(shared_data / "formats" / "xas" / "nxxas" / name) as other:
                first = other[next(iter(other))]
                group = first if "definition" in first else first["itrans"]
                assert all(path in group and path in ours["entry"] for path in paths), name
        with h5py.File(shared_data / "formats" / "xas" / "nxxas" / "Fe_XDIFiles.h5") as other:
            there = [f"instrument/{name}/data" for name in ("i0", "itrans")]
            assert all(path in other["feo"] for path in there)
        assert "instrument/i0/data" in ours["entry"]
