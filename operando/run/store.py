"""Put an experiment on disk: the tree, the tables, the events."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from operando.detect import Event
from operando.model import PARTS, axes_of, flag_names, parts_of

CHUNK_FRAMES = 500
CHUNK_BYTES = 8 << 20

FIRST = (
    "time",
    "time_start",
    "time_end",
    "position",
    "voltage",
    "voltage_sigma",
    "current",
    "state",
    "cycle",
    "half_cycle",
    "net_capacity",
    "coverage",
)
"""Columns of a table that come first."""

VOLUMETRIC = ("tomography", "xrd_images")
"""Techniques whose frames are referenced by path and checksum, never copied into a result."""


def keep_frames(folder: Path, name: str, frames: xr.Dataset) -> xr.Dataset:
    """Write the frames of a measurement once and return them lazily from there.

    Text is parsed once however often the frames are used. Volumes stay where they are.
    """
    if frames.attrs["technique"] in VOLUMETRIC:
        return frames
    path = folder / "experiment.zarr"
    axes = axes_of(frames)
    width = int(np.prod([frames.sizes[axis] for axis in axes]))
    rows = max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (8 * width)))
    written = frames.chunk({"time": rows, **dict.fromkeys(axes, -1)})
    for variable in written.variables.values():
        variable.encoding.clear()
    written.to_zarr(path, group=name, mode="a", zarr_format=2, consolidated=False)
    kept: xr.Dataset = xr.open_zarr(path, group=name, consolidated=False)
    # Coordinates on time are small and asked for all the time: load them, keep the signal lazy.
    return kept.assign_coords(
        {key: value.load() for key, value in kept.coords.items() if value.dims == ("time",)}
    ).assign_attrs(frames.attrs)


def write_tree(folder: Path, tree: xr.DataTree, *, format: str) -> None:
    """Complete `experiment.zarr`, or write `experiment.nc` and remove the Zarr it came from."""
    path = folder / "experiment.zarr"
    stored = _storable(tree)
    if format == "netcdf":
        stored = stored.map_over_datasets(_real)
        stored.to_netcdf(folder / "experiment.nc", engine="h5netcdf")
        shutil.rmtree(path, ignore_errors=True)
        return
    for node in stored.subtree:
        dataset = node.to_dataset(inherit=False)
        if (path / node.path.strip("/") / "time").exists():
            continue  # frames that `keep_frames` has written
        for variable in dataset.variables.values():
            variable.encoding.clear()
        dataset.to_zarr(path, group=node.path, mode="a", zarr_format=2, consolidated=False)
    zarr.consolidate_metadata(str(path), zarr_format=2)


def _storable(tree: xr.DataTree) -> xr.DataTree:
    """Leave out the frames of volumes: their times, states and the paths stay."""
    nodes = {}
    for node in tree.subtree:
        dataset = node.to_dataset(inherit=False)
        if dataset.attrs.get("technique") in VOLUMETRIC and node.parent is tree:
            dataset = dataset.drop_dims(list(axes_of(dataset)))
        nodes[node.path] = dataset
    return xr.DataTree.from_dict(nodes, name=tree.name)


def _real(dataset: xr.Dataset) -> xr.Dataset:
    """Store complex numbers as two real variables: NetCDF-4 knows no complex type."""
    for name, variable in dataset.data_vars.items():
        if variable.dtype.kind == "c":
            parts = {f"{name}_real": variable.real, f"{name}_imag": variable.imag}
            dataset = dataset.drop_vars(str(name)).assign(
                {part: values.assign_attrs(variable.attrs) for part, values in parts.items()}
            )
    return dataset


def write_events(path: Path, events: list[Event]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(event.to_json() + "\n" for event in events), encoding="utf-8")


def write_table(path: Path, numbers: xr.Dataset) -> None:
    """Write one row a frame: times, state of the cell, numbers; units in the header.

    Categories and flags are written as words, not-a-number as an empty cell.
    """
    columns = list(_columns(numbers))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([header for header, _ in columns])
        writer.writerows(zip(*(cells for _, cells in columns), strict=True))


def _columns(numbers: xr.Dataset) -> Iterator[tuple[str, list[str]]]:
    names = [name for name in numbers.coords if numbers[name].dims == ("time",)]
    for name in sorted(names, key=_rank):
        yield _header(numbers[name]), _cells(numbers[name])
    for variable in numbers.data_vars.values():
        if variable.dims == ("time",):
            yield _header(variable), _cells(variable)
        elif variable.dims in [("time", part) for part in PARTS]:
            for label, part in parts_of(numbers, str(variable.name)):
                column = part[str(variable.name)]
                yield f"{label} {_header(column)}", _cells(column)


def _rank(name: object) -> tuple[int, str]:
    """Order columns as they are read, the others by name: the order never depends on the run."""
    text = str(name)
    return (FIRST.index(text) if text in FIRST else len(FIRST)), text


def _header(variable: xr.DataArray) -> str:
    if variable.dtype.kind == "M":
        return f"{variable.name} [UTC]"
    unit = variable.attrs.get("units", "1")
    return str(variable.name) if unit == "1" else f"{variable.name} [{unit}]"


def _cells(variable: xr.DataArray) -> list[str]:
    values = variable.values
    if values.dtype.kind == "M":
        return [f"{text}Z" for text in np.datetime_as_string(values, unit="ms")]
    if "flag_masks" in variable.attrs or "flag_values" in variable.attrs:
        return _words(variable)
    if values.dtype.kind == "f":
        return ["" if np.isnan(value) else f"{value:.9g}" for value in values]
    return [str(value) for value in values]


def _words(variable: xr.DataArray) -> list[str]:
    meanings = str(variable.attrs["flag_meanings"]).split()
    if "flag_masks" in variable.attrs:
        masks = np.atleast_1d(variable.attrs["flag_masks"]).tolist()
        flags = dict(zip(meanings, masks, strict=True))
        return [" ".join(flag_names(int(value), flags)) for value in variable.values]
    values = np.atleast_1d(variable.attrs["flag_values"]).tolist()
    words = dict(zip(values, meanings, strict=True))
    return [words.get(int(value), str(value)) for value in variable.values]


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
