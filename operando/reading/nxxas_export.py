"""A series of absorption spectra as one NXxas file, with the state of the cell beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import check
from operando.reading.nexus_series import attributes, group, iso, whole_file, write_series

if TYPE_CHECKING:
    import h5py

URL = "https://manual.nexusformat.org/classes/contributed_definitions/NXxas.html"
DETECTORS = {"i0": "i0", "i1": "itrans", "iref": "irefer", "fluorescence": "ifluor"}
SUBENTRIES = {"mu_reference": "reference", "mu_fluorescence": "fluorescence"}
PROVENANCE = ("source_files", "reader", "reader_version", "clock", "problems", "alignment")


def write_nxxas(frames: xr.Dataset, path: str | Path) -> Path:
    """Write a series of spectra as NeXus, application definition NXxas (2026).

    One NXentry holds the stack: ``energy`` in eV, ``intensity`` (spectra, energy), and where they
    are there ``intensity_errors``, the NXsubentry ``reference`` (the foil, itself an NXxas), the
    NXsubentry ``fluorescence``, and the counters in ``instrument``. A single spectrum has no
    leading axis, as the definition asks. The NXdata group ``series`` tells of every spectrum, on
    one axis: ``time`` (s, middle of the exposure), ``start_time`` and ``end_time`` (ISO 8601 with
    +00:00), and each number that `frames` has on time: voltage, current, net capacity, state,
    flags. ``process`` keeps the source files, the reader, and what is known of the clock.

    The reader `nxxas` gives all of it back; h5py alone is enough to read it. Spectra are computed
    and written in their blocks: memory is bounded by these. The same frames give the same bytes.
    The file appears whole or not at all: it is written beside `path` and then takes its place.

    Parameters
    ----------
    frames
        As `operando.read` returns them, with or without what `align` adds. attrs: `element` and
        `edge`; `sample` for the name of the sample; `calculated` when no experiment gave them.

    Raises
    ------
    RequestError
        No absorption in it, no element or edge, or the file cannot be written.
    ContractError
        `frames` are no dataset of ours.
    """
    _check(frames, path)
    target = Path(path)
    with whole_file(target) as file:
        _write_entry(group(file, "entry", "NXentry"), frames)
    return target


def _check(frames: xr.Dataset, path: str | Path) -> None:
    if not isinstance(path, str | os.PathLike):
        raise arguments.refusal("path", path, "the path of the file to write")
    if not isinstance(frames, xr.Dataset) or frames.attrs.get("technique") != "xas":
        raise arguments.refusal("frames", frames, "absorption spectra, as operando.read gives them")
    check(frames)
    if "mu" not in frames or not frames.sizes["time"]:
        raise RequestError(f"frames: {list(frames.data_vars)}; expected spectra called 'mu'")
    missing = [name for name in ("element", "edge") if not frames.attrs.get(name)]
    if missing:
        raise RequestError(
            f"frames: attrs have no {' and no '.join(missing)}, which NXxas needs; "
            "frames.assign_attrs(element='Zr', edge='K')"
        )


def _write_entry(entry: h5py.Group, frames: xr.Dataset) -> None:
    start, end = (frames[name].values for name in ("time_start", "time_end"))
    sample = str(frames.attrs.get("sample") or "not stated")
    element, edge = str(frames.attrs["element"]), str(frames.attrs["edge"])
    entry["title"] = f"{sample}, {element} {edge}"
    entry["start_time"] = iso(start.min())
    entry["end_time"] = iso(end.max())
    group(entry, "sample", "NXsample")["name"] = sample
    instrument = group(entry, "instrument", "NXinstrument")
    instrument["name"] = str(frames.attrs.get("instrument", "not stated"))
    matrices = _write_spectrum(entry, frames, "mu")
    for ours, name in SUBENTRIES.items():
        if ours in frames:
            subentry = group(entry, name, "NXsubentry")
            subentry["title"] = f"{name}, {element} {edge}"
            foil = "reference foil" if name == "reference" else sample
            group(subentry, "sample", "NXsample")["name"] = foil
            matrices |= _write_spectrum(subentry, frames, ours, energy=entry["energy"])
    for ours, name in DETECTORS.items():
        if ours in frames:
            detector = group(instrument, name, "NXdetector")
            matrices[ours] = _matrix(detector, "data", frames[ours])
    _fill(matrices, frames)
    series = group(entry, "series", "NXdata")
    told = write_series(series, frames)
    if "temperature" in told and frames["temperature"].dtype.kind in "iuf":
        entry["sample"]["temperature"] = series["temperature"]
    _write_plot(entry, stacked=frames.sizes["time"] > 1)
    _write_process(group(entry, "process", "NXprocess"), frames)


def _write_spectrum(
    made: h5py.Group, frames: xr.Dataset, name: str, *, energy: h5py.Dataset | None = None
) -> dict[str, h5py.Dataset]:
    """Write the fields of an NXxas; return the data sets that are still to be filled, by name."""
    made["definition"] = "NXxas"
    made["definition"].attrs["URL"] = URL
    group(made, "element", "NXelement")["symbol"] = str(frames.attrs["element"])
    group(made, "edge", "NXabsorption_edge")["name"] = str(frames.attrs["edge"])
    made["is_experimental"] = np.bool_(not frames.attrs.get("calculated"))
    modes = {"mu": frames["mu"].attrs.get("mode"), "mu_fluorescence": "fluorescence"}
    mode = modes.get(name, "transmission")
    if mode in ("transmission", "fluorescence"):
        made["mode"] = mode
    if energy is None:
        made["energy"] = frames["energy"].values.astype(np.float64)
        made["energy"].attrs["units"] = "eV"
    else:
        made["energy"] = energy
    found = {name: _matrix(made, "intensity", frames[name])}
    if f"{name}_sigma" in frames:
        found[f"{name}_sigma"] = _matrix(made, "intensity_errors", frames[f"{name}_sigma"])
    if name != "mu":
        _write_plot(made, stacked=frames.sizes["time"] > 1)
    return found


def _matrix(made: h5py.Group, name: str, values: xr.DataArray) -> h5py.Dataset:
    """Return an empty data set of the shape of some spectra, without time where there is one."""
    shape = values.shape if values.shape[0] > 1 else values.shape[1:]
    dataset = made.create_dataset(name, shape, np.float64)
    dataset.attrs.update(attributes(values))
    return dataset


def _fill(matrices: dict[str, h5py.Dataset], frames: xr.Dataset) -> None:
    """Compute the spectra block by block, each block of all variables at once."""
    spectra = frames[list(matrices)].reset_coords(drop=True)
    for rows in _blocks(frames):
        block = spectra.isel(time=rows).load()
        for name, dataset in matrices.items():
            values = block[name].transpose("time", "energy").values
            dataset[rows if dataset.ndim == 2 else ...] = values if dataset.ndim == 2 else values[0]


def _blocks(frames: xr.Dataset) -> Iterator[slice]:
    chunks: Sequence[int] = frames["mu"].chunksizes.get("time", (frames.sizes["time"],))
    first = 0
    for length in chunks:
        yield slice(first, first + length)
        first += length


def _write_plot(made: h5py.Group, *, stacked: bool) -> None:
    """Write the NXdata that a viewer opens first: links to what is there already."""
    plot = group(made, "data", "NXdata")
    plot["energy"], plot["intensity"] = made["energy"], made["intensity"]
    axes = ["energy"]
    if "intensity_errors" in made:
        plot["intensity_errors"] = made["intensity_errors"]
    if stacked and "series" in made:
        plot["time"] = made["series"]["time"]
        plot.attrs["time_indices"] = 0
        axes = ["time", "energy"]
    elif stacked:
        axes = [".", "energy"]
    plot.attrs.update(signal="intensity", axes=axes, energy_indices=len(axes) - 1)
    made.attrs["default"] = "data"


def _write_process(made: h5py.Group, frames: xr.Dataset) -> None:
    made["program"] = "operando"
    made["version"] = version("operando")
    for name in PROVENANCE:
        if name in frames.attrs:
            made[name] = str(frames.attrs[name])
