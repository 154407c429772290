"""Every reader against every file it has expected numbers for; a new format needs no new test.

`tests/expected/<reader>.json` names the files and says where the numbers come from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando.model import TECHNIQUES, axes_of, signal_of
from operando.reading import formats
from operando.reading.registry import claims
from operando_readers._reader import File, FormatError

HERE = Path(__file__).parent
ROOTS = {
    "shared": HERE.parents[1] / "shared" / "data",
    "examples": HERE.parent / "example_datasets",
}
VOLUMETRIC = ("tomography",)
CUTS = 10
BY_REQUEST = ("delimited",)
"""A file of numbers does not say what they are: these formats are never recognised."""


def _found() -> Iterator[Any]:
    for path in sorted((HERE / "expected").glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8"))["files"]:
            marks = [pytest.mark.shared_data] if entry["root"] == "shared" else []
            name = f"{path.stem}-{entry['path'].rpartition('/')[2]}"
            yield pytest.param(path.stem, entry, marks=marks, id=name)


CASES = list(_found())
RECOGNISED = [
    case
    for case in CASES
    if case.values[0] not in BY_REQUEST
    and (case.values[0] != "tiff_volume" or "." in case.values[1]["path"].rpartition("/")[2])
]
"""Files of formats that say what they are; a folder of slices has no head to look at."""


def _file(entry: dict[str, Any]) -> File:
    root = ROOTS[entry["root"]]
    if not root.is_dir():
        pytest.skip("the real instrument files (shared/data) are not on this machine")
    path, _, member = entry["path"].partition("!")
    return File(root / path, member or None)


def _raw(reader: str, file: File, entry: dict[str, Any]) -> xr.Dataset:
    return formats()[reader].read(file, **entry.get("options", {}))


def test_every_reader_has_expected_numbers() -> None:
    known = {path.stem for path in (HERE / "expected").glob("*.json")}
    assert set(formats()) <= known


@pytest.mark.parametrize("reader", sorted(formats()))
def test_readers_do_not_know_one_another(reader: str) -> None:
    """Only the plumbing, whose names begin with an underscore, is shared."""
    source = Path(str(import_module(f"operando_readers.{reader}").__file__)).read_text()
    imported = re.findall(r"operando_readers(?:\.| import )(\w+)", source)
    assert all(name.startswith("_") for name in imported), imported


@pytest.mark.parametrize(("reader", "entry"), CASES)
def test_numbers(reader: str, entry: dict[str, Any]) -> None:
    dataset = _raw(reader, _file(entry), entry)
    assert dataset.sizes["time"] == entry["frames"]
    assert dataset.attrs["clock"]["start"] == entry["start"]
    assert dataset.attrs["clock"]["zone"] == entry["zone"]
    for expected in entry["values"]:
        found = dataset[expected["variable"]].values[tuple(expected["index"])]
        tolerance = {"rel": expected.get("rtol", 1e-9), "abs": expected.get("atol", 1e-12)}
        wanted = float("nan") if expected["value"] is None else expected["value"]
        wanted = complex(*wanted) if isinstance(wanted, list) else wanted
        assert found == pytest.approx(wanted, nan_ok=True, **tolerance), expected


@pytest.mark.parametrize(("reader", "entry"), CASES)
def test_contract(reader: str, entry: dict[str, Any]) -> None:
    file = _file(entry)
    if not file.path.is_dir() and reader not in BY_REQUEST:
        assert formats()[reader].sniff(file.read_bytes(1 << 16), file.name)
    _assert_raw_contract(_raw(reader, file, entry), lazily=True)


@pytest.mark.parametrize(("reader", "entry"), RECOGNISED)
def test_recognised_without_being_told(reader: str, entry: dict[str, Any]) -> None:
    assert claims(_file(entry), technique=formats()[reader].technique) == [reader]


@pytest.mark.parametrize(("reader", "entry"), CASES)
def test_through_the_front_door(reader: str, entry: dict[str, Any]) -> None:
    """`operando.read` makes a checked dataset of it in UTC; frames stay on disk."""
    file = _file(entry)
    timed: dict[str, Any] = {}
    if entry["start"] is None and reader != "neware_ndax":
        timed = {"first": "2026-05-04T10:00:00"}
        options = entry.get("options", {})
        if options.get("technique", formats()[reader].technique) != "electrochemistry":
            timed["period_s"] = 60.0
    dataset = operando.read(
        str(file), format=reader, tz="Europe/Paris", options=entry.get("options"), **timed
    )
    assert dataset.sizes["time"] == entry["frames"]
    assert dataset.attrs["reader"] == reader
    operando.check(dataset)
    if dataset.attrs["technique"] != "electrochemistry":
        assert signal_of(dataset).chunks is not None


def _assert_raw_contract(dataset: xr.Dataset, *, lazily: bool) -> None:
    technique = dataset.attrs["technique"]
    assert technique in TECHNIQUES
    assert {"start", "zone", "marks", "source", "sigma_s"} == set(dataset.attrs["clock"])
    assert isinstance(dataset.attrs["original_metadata"], dict)
    for name, variable in dataset.variables.items():
        assert variable.dims[:1] in (("time",), (name,)), name
        if variable.dtype.kind in "iufc":
            assert "units" in variable.attrs, name
    for axis in axes_of(dataset):
        assert np.all(np.diff(dataset[axis].values) > 0), axis
    if technique in VOLUMETRIC and lazily:
        assert signal_of(dataset).chunks is not None
    if dataset.attrs["clock"]["start"] is not None:
        np.datetime64(dataset.attrs["clock"]["start"], "ns")
    if "elapsed" in dataset.coords:
        assert np.isfinite(dataset["elapsed"].values).all()


@pytest.mark.parametrize(("reader", "entry"), CASES)
def test_cut_at_ten_places(reader: str, entry: dict[str, Any], tmp_path: Path) -> None:
    """A cut file is refused or is a shorter valid dataset; nothing else ever escapes."""
    file = _file(entry)
    if file.path.is_dir():
        pytest.skip("a folder of slices is cut by removing a slice: see its own test")
    whole = _raw(reader, file, entry)
    content = file.read_bytes()
    for cut in range(CUTS):
        target = tmp_path / f"{cut}" / file.name
        target.parent.mkdir()
        target.write_bytes(content[: len(content) * cut // CUTS])
        try:
            part = _raw(reader, File(target), entry)
            part.load()
        except FormatError:
            continue
        _assert_raw_contract(part, lazily=False)
        assert part.sizes["time"] <= whole.sizes["time"]
        assert signal_of(part).size <= signal_of(whole).size
