"""A series of powder patterns as one NXazint1d file, with the state of the cell beside it.

File structure (application definition NXazint1d of 2025, as MAX IV writes it; groups in this
order)::

    /entry                       NXentry, default "data"
        definition               "NXazint1d"
        title, start_time, end_time          ISO 8601 with +00:00
        solid_angle_applied, polarization_applied, normalization_applied   booleans, where known
        sample                   NXsample: name; links to time (s), temperature (K) ... of `series`
        instrument               NXinstrument: name
            monochromator        NXmonochromator: wavelength (angstrom), energy (keV)
            source               NXsource: name, probe, type where an anode is known
        reduction                NXprocess: program, version, note, reference, what is known of the
                                 clock; date where it is given
            input                NXparameters: unit "2th" or "q", wavelength, poni (text of the
                                 file), and the parameters of the integration
        series                   NXdata on `time`: start_time, end_time, one column for each number
                                 or word that a frame has (voltage, current, state, flags ...)
        data                     NXdata, axes [".", "radial_axis"], signal "I"
            radial_axis          (points,) degrees or 1/angstrom
            I, I_errors          (frames, points)

The order matters: the importer of GSAS-II takes the last NXdata that it meets. It wants the suffix
.h5 and two theta; it takes `temperature` and `time` of each frame from `sample`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import axes_of, check
from operando.reading.nexus_series import attributes, group, iso, whole_file, write_series

if TYPE_CHECKING:
    import h5py

URL = "https://manual.nexusformat.org/classes/applications/NXazint1d.html"
REFERENCE = "https://github.com/silx-kit/pyFAI"
PLANCK_KEV_ANGSTROM = 12.398419843320026
"""Planck's constant times the speed of light, exact since 2019."""
AXES = {"two_theta": ("2theta", "degrees", "2th"), "q": ("q", "1/angstrom", "q")}
"""Label, unit and MAX IV's short name of the axes."""
LINKED = ("temperature", "voltage", "current", "net_capacity", "cycle")
"""Columns that the importer of GSAS-II finds in the sample."""
PROVENANCE = ("source_files", "reader", "reader_version", "clock", "problems", "alignment")
KELVIN = 273.15
PONI_NAMES = {"dist": "Distance", "poni1": "Poni1", "poni2": "Poni2"}


def write_nxazint1d(frames: xr.Dataset, path: str | Path, *, date: str | None = None) -> Path:
    """Write a series of powder patterns as NeXus, application definition NXazint1d.

    The layout is in the docstring of this module. The reader `nxazint1d` gives patterns, times and
    state back; h5py alone is enough to read it, GSAS-II imports it where its suffix is .h5.
    Patterns are computed and written in their blocks: memory is bounded by these. The same frames
    give the same bytes. The file appears whole or not at all.

    Parameters
    ----------
    frames
        Patterns as `integrate` or `operando.read` return them, with or without what `align` adds.
        attrs: `wavelength_angstrom`; `sample` for the name of the sample.
    date
        When the patterns were integrated, ISO 8601: the definition asks for it. None leaves it
        out, so that the bytes do not change from day to day.

    Raises
    ------
    RequestError
        No patterns in it, no wavelength, or the file cannot be written.
    ContractError
        `frames` are no dataset of ours.
    """
    axis, wavelength = _checked(frames, path)
    target = Path(path)
    with whole_file(target) as file:
        entry = group(file, "entry", "NXentry")
        entry.attrs["default"] = "data"
        _write_head(entry, frames)
        sample = group(entry, "sample", "NXsample")
        sample["name"] = str(frames.attrs.get("sample") or "not stated")
        _write_instrument(group(entry, "instrument", "NXinstrument"), frames, wavelength)
        _write_reduction(group(entry, "reduction", "NXprocess"), frames, axis, date)
        series = group(entry, "series", "NXdata")
        told = write_series(series, frames)
        _link(sample, series, frames, told)
        _write_data(group(entry, "data", "NXdata"), frames, axis)
    return target


def _checked(frames: xr.Dataset, path: object) -> tuple[str, float]:
    """Return the name of the axis and the wavelength."""
    if not isinstance(path, str | os.PathLike):
        raise arguments.refusal("path", path, "the path of the file to write")
    if not isinstance(frames, xr.Dataset) or frames.attrs.get("technique") != "xrd":
        raise arguments.refusal("frames", frames, "powder patterns, as operando.read gives them")
    check(frames)
    if not frames.sizes["time"]:
        raise RequestError("frames: no frame in it")
    wavelength = frames.attrs.get("wavelength_angstrom")
    if wavelength is None:
        raise RequestError(
            "frames: attrs have no wavelength_angstrom, which NXazint1d needs; "
            "frames.assign_attrs(wavelength_angstrom=0.4962)"
        )
    return axes_of(frames)[0], float(wavelength)


def _write_head(entry: h5py.Group, frames: xr.Dataset) -> None:
    entry["definition"] = "NXazint1d"
    entry["definition"].attrs["URL"] = URL
    entry["title"] = str(frames.attrs.get("sample") or "not stated")
    entry["start_time"] = iso(frames["time_start"].values.min())
    entry["end_time"] = iso(frames["time_end"].values.max())
    for name, value in _applied(frames).items():
        entry[name] = np.bool_(value)


def _applied(frames: xr.Dataset) -> dict[str, bool]:
    """Return which corrections are known to have been made, or not."""
    names = ("solid_angle_applied", "polarization_applied", "normalization_applied")
    known = {name: bool(frames.attrs[name]) for name in names if name in frames.attrs}
    step = _integration(frames)
    if step is None:
        return known
    return {
        "solid_angle_applied": bool(step.get("solid_angle")),
        "polarization_applied": step.get("polarization") is not None,
        "normalization_applied": True,
    }


def _integration(frames: xr.Dataset) -> dict[str, Any] | None:
    """Return the parameters of our own integration, None where somebody else integrated."""
    steps: list[dict[str, Any]] = json.loads(frames.attrs.get("corrections", "[]"))
    return next((step for step in steps if step.get("step") == "integration"), None)


def _write_instrument(made: h5py.Group, frames: xr.Dataset, wavelength: float) -> None:
    made["name"] = str(frames.attrs.get("instrument", "not stated"))
    optics = group(made, "monochromator", "NXmonochromator")
    optics["wavelength"] = wavelength
    optics["wavelength"].attrs["units"] = "angstrom"
    optics["energy"] = PLANCK_KEV_ANGSTROM / wavelength
    optics["energy"].attrs["units"] = "keV"
    source = group(made, "source", "NXsource")
    source["name"] = str(frames.attrs.get("instrument", "not stated"))
    source["probe"] = "x-ray"
    if anode := frames.attrs.get("anode"):
        source["type"] = "Fixed Tube X-ray"
        source["target_material"] = str(anode)


def _write_reduction(made: h5py.Group, frames: xr.Dataset, axis: str, date: str | None) -> None:
    step = _integration(frames)
    made["program"] = "operando"
    made["version"] = version("operando") + (f", pyFAI {step['pyfai']}" if step else "")
    made["reference"] = REFERENCE if step else "not stated"
    made["note"] = str(frames.attrs.get("corrections", "patterns as they were read"))
    if date is not None:
        made["date"] = date
    for name in PROVENANCE:
        if name in frames.attrs:
            made[name] = str(frames.attrs[name])
    given = group(made, "input", "NXparameters")
    given["unit"] = AXES[axis][2]
    given["radial_bins"] = frames.sizes[axis]
    for name in ("wavelength_angstrom", "wavelength_alpha2_angstrom", "alpha2_ratio"):
        if name in frames.attrs:
            given[name.removesuffix("_angstrom")] = float(frames.attrs[name])
            given[name.removesuffix("_angstrom")].attrs["units"] = (
                "angstrom" if name.endswith("_angstrom") else "1"
            )
    if "geometry" in frames.attrs:
        given["poni"] = _poni(json.loads(frames.attrs["geometry"]))
    if step is not None:
        given["error_model"] = "poisson"
        given["solid_angle"] = np.bool_(step["solid_angle"])
        if step["polarization"] is not None:
            given["polarization_factor"] = float(step["polarization"])
        given["mask"] = f"sha256 {step['mask_sha256']}, {step['masked_pixels']} pixels"


def _poni(geometry: dict[str, Any]) -> str:
    """Return the text of the PONI file that says the same."""
    lines = []
    for key, value in geometry.items():
        name = PONI_NAMES.get(key, key if key == "poni_version" else key.capitalize())
        lines.append(f"{name}: {json.dumps(value) if isinstance(value, dict) else value}")
    return "\n".join(lines) + "\n"


def _link(sample: h5py.Group, series: h5py.Group, frames: xr.Dataset, told: Sequence[str]) -> None:
    """Show time, temperature in kelvin and state of the frames in the sample, too."""
    sample["time"] = series["time"]
    for name in LINKED:
        if name not in told:
            continue
        if name == "temperature" and frames[name].attrs.get("units") != "K":
            sample[name] = kelvin(frames[name])
            sample[name].attrs["units"] = "K"
        else:
            sample[name] = series[name]


def kelvin(temperature: xr.DataArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return temperatures in kelvin.

    Raises
    ------
    RequestError
        They are neither in kelvin nor in degrees Celsius.
    """
    units = str(temperature.attrs.get("units"))
    if units not in ("K", "kelvin", "degC", "celsius", "degree_Celsius"):
        raise RequestError(f"temperature: units {units!r}; expected 'K' or 'degC'")
    shift = 0.0 if units in ("K", "kelvin") else KELVIN
    return np.asarray(temperature.values, dtype=np.float64) + shift


def _write_data(made: h5py.Group, frames: xr.Dataset, axis: str) -> None:
    label, units, _ = AXES[axis]
    made.attrs.update(signal="I", axes=[".", "radial_axis"], interpretation="spectrum")
    made.attrs["radial_axis_indices"] = 1
    made["radial_axis"] = frames[axis].values.astype(np.float64)
    made["radial_axis"].attrs.update(long_name=label, units=units)
    names = {"intensity": ("I", "intensity")}
    if "intensity_sigma" in frames:
        names["intensity_sigma"] = ("I_errors", "estimated intensity error")
    shape = frames.sizes["time"], frames.sizes[axis]
    for name, (theirs, told) in names.items():
        made.create_dataset(theirs, shape, np.float64)
        made[theirs].attrs.update(attributes(frames[name]))
        made[theirs].attrs["original_units"] = str(frames[name].attrs.get("units", "1"))
        made[theirs].attrs.update(long_name=told, units="arbitrary units")
    patterns = frames[list(names)].reset_coords(drop=True)
    for rows in _blocks(frames):
        block = patterns.isel(time=rows).load()
        for name, (theirs, _) in names.items():
            made[theirs][rows] = block[name].transpose("time", axis).values


def _blocks(frames: xr.Dataset) -> Iterator[slice]:
    chunks: Sequence[int] = frames["intensity"].chunksizes.get("time", (frames.sizes["time"],))
    first = 0
    for length in chunks:
        yield slice(first, first + length)
        first += length
