"""Join the files of a frame technique into one lazy series in UTC."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import clocks
from operando.errors import ContractError, ReadError, RequestError
from operando.model import FRAME_FLAGS, axes_of, flag_attributes
from operando.reading import sidecar
from operando.reading.blocks import (
    SCATTERED,
    Frame,
    Layout,
    onto,
    same_grid,
    stack,
    union,
)
from operando.reading.first_pass import Seen, look, place_by_order
from operando.reading.times import Declared
from operando_readers._reader import File

Array = npt.NDArray[np.float64]


ALIKE = ("element", "edge", "wavelength_angstrom", "wavelength_kind", "laser_wavelength_nm")
"""What all files of a series must say alike."""
LEAST_SHARED = 0.5
"""A file that has less of its axis in common with the series is not of it; a cut file has all."""


def join_frames(
    files: Sequence[File],
    *,
    format: str,
    options: Mapping[str, Any],
    declared: Declared,
    position: re.Pattern[str] | None,
) -> xr.Dataset:
    """Return all frames ordered by mid-exposure.

    A file that cannot be read stays as a NaN frame where its time is known (from a log or by
    index) and is quarantined, counted in `attrs["problems"]`, where it is not. A volume that cannot
    be read, or has another size than most, is always quarantined.

    Raises
    ------
    ReadError
        No file can be read.
    ClockError
        No time, or no zone.
    """
    log = sidecar.rows(declared.log) if declared.log is not None else None
    problems: list[dict[str, str]] = []
    seen = [
        look(file, format=format, options=options, declared=declared, log=log, problems=problems)
        for file in files
    ]
    good = [item for item in seen if item.axes]
    if not good:
        raise ReadError("; ".join(problem["reason"] for problem in problems[:3]))
    place_by_order(seen, declared)
    kept = [item for item in seen if item.placed is not None and (item.axes or item.count)]
    if good[0].lazy is not None:
        kept = _of_one_size(kept, problems)
        dataset = _volumes(kept)
    else:
        dataset = _patterns(kept, problems, format=format, options=options)
    dataset = _with_told(_with_positions(dataset, kept, position), kept)
    dataset = _ordered(dataset)
    facts = _common_facts([item.placed.facts for item in good if item.placed is not None])
    _refuse_mixtures([item.template for item in kept if item.template is not None])
    clocks.check_plausible(
        dataset["time_start"].values, dataset["time_end"].values, where=str(files[0])
    )
    dataset.attrs.update(
        source_files=json.dumps([str(item.file) for item in kept]),
        problems=json.dumps(problems),
        clock=json.dumps(
            {**facts, "offset_s": declared.clock_offset_s, "drift_ppm": declared.drift_ppm}
        ),
    )
    return dataset


def _patterns(
    kept: Sequence[Seen],
    problems: list[dict[str, str]],
    *,
    format: str,
    options: Mapping[str, Any],
) -> xr.Dataset:
    """Stack small files lazily on the most common grid of the series."""
    template = next(item.template for item in kept if item.template is not None)
    [axis] = axes_of(template)
    axes = [item.axes[axis] for item in kept if item.axes]
    grid = union(axes) if axis == SCATTERED else _common_grid(axes)
    variables = _all_variables(kept, axis, problems)
    _tell_apart(kept, axis, grid, problems)
    frames = [Frame(item.file, row, item.version) for item in kept for row in range(item.count)]
    layout = Layout(axis, grid, tuple((name, dtype) for name, (dtype, _) in variables.items()))
    arrays = stack(frames, layout, format=format, options=options)
    dataset = xr.Dataset(
        {name: (("time", axis), array, variables[name][1]) for name, array in arrays.items()},
        {axis: (axis, grid, template[axis].attrs), **_times(kept)},
        _attributes(template),
    )
    flag = np.concatenate([_flags(item, axis, grid) for item in kept])
    missing = np.concatenate(
        [np.zeros(item.count, int) if item.missing is None else item.missing for item in kept]
    )
    usual = np.median(missing)
    flag[missing > usual] |= FRAME_FLAGS["nonfinite"]
    return _with_flags(dataset, flag)


def _all_variables(
    kept: Sequence[Seen], axis: str, problems: list[dict[str, str]]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return type and attributes of the variables any file has; say which files lack one."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    templates = [(item.file, item.template) for item in kept if item.template is not None]
    for _, template in templates:
        for name, variable in template.data_vars.items():
            if variable.dims == ("time", axis):
                # `<name>_sigma` is named by its owner wherever one file has it.
                dtype = "c16" if variable.dtype.kind == "c" else "f8"
                _, attrs = found.setdefault(str(name), (dtype, dict(variable.attrs)))
                attrs.update(
                    {k: v for k, v in variable.attrs.items() if k == "ancillary_variables"}
                )
    for file, template in templates:
        lacking = [name for name in found if name not in template]
        if lacking:
            problems.append({"file": str(file), "reason": f"{file}: lacks {lacking}, NaN there"})
    return found


def _tell_apart(
    kept: Sequence[Seen], axis: str, grid: Array, problems: list[dict[str, str]]
) -> None:
    """Say which files lie mostly beside the axis of the series: they are of another edge."""
    for item in kept:
        if axis == SCATTERED or not item.axes:
            continue
        own = item.axes[axis]
        shared = min(own[-1], grid[-1]) - max(own[0], grid[0])
        if shared < LEAST_SHARED * (own[-1] - own[0]):
            reason = (
                f"{item.file}: {axis} {own[0]:g} .. {own[-1]:g} lies mostly beside "
                f"{grid[0]:g} .. {grid[-1]:g} of the series, NaN elsewhere; read them one by one"
            )
            problems.append({"file": str(item.file), "reason": reason})


def _flags(item: Seen, axis: str, grid: Array) -> npt.NDArray[np.int32]:
    flag = np.zeros(item.count, np.int32)
    if not item.axes:
        return flag | np.int32(FRAME_FLAGS["unreadable"])
    own = item.axes[axis]
    if item.truncated:
        which = True if item.truncated_frames is None else item.truncated_frames
        flag |= np.where(which, FRAME_FLAGS["truncated"], 0).astype(np.int32)
    if item.regridded is not None:
        flag |= np.where(item.regridded, FRAME_FLAGS["regridded"], 0).astype(np.int32)
    if axis != SCATTERED and not same_grid(own, grid):
        flag |= FRAME_FLAGS["regridded"]
        # An axis that stops early is a file that was cut; a jittering encoder is not.
        lost = np.count_nonzero(~np.isfinite(onto(grid, own, own)))
        if lost > max(5, 0.02 * grid.size):
            flag |= FRAME_FLAGS["truncated"]
    return flag


def _of_one_size(kept: Sequence[Seen], problems: list[dict[str, str]]) -> list[Seen]:
    """Keep the volumes that have the most common size; the others are quarantined."""
    readable = [item for item in kept if item.lazy is not None]
    usual = {
        name: _common_grid([item.axes[name] for item in readable]) for name in readable[0].axes
    }
    same = []
    for item in readable:
        if all(same_grid(item.axes[name], usual[name]) for name in usual):
            same.append(item)
        else:
            sizes = {name: axis.size for name, axis in item.axes.items()}
            reason = f"{item.file}: size {sizes} or voxel differs from the other volumes"
            problems.append({"file": str(item.file), "reason": reason})
    return same


def _volumes(kept: Sequence[Seen]) -> xr.Dataset:
    """Concatenate volumes that are lazy already."""
    datasets = [item.lazy for item in kept if item.lazy is not None]
    template = datasets[0]
    axes = axes_of(template)
    variables = {
        str(name): (
            ("time", *axes),
            da.concatenate([dataset[name].data for dataset in datasets]),
            template[name].attrs,
        )
        for name in template.data_vars
        if template[name].dims == ("time", *axes)
    }
    dataset = xr.Dataset(
        variables,
        {**{name: template[name].variable for name in axes}, **_times(kept)},
        _attributes(template),
    )
    return _with_flags(dataset, np.zeros(dataset.sizes["time"], np.int32))


def _times(kept: Sequence[Seen]) -> dict[str, Any]:
    placed = [item.placed for item in kept if item.placed is not None]
    index = np.concatenate(
        [np.full(item.count, number, np.int32) for number, item in enumerate(kept)]
    )
    return {
        "time": ("time", np.concatenate([part.mid for part in placed])),
        "time_start": ("time", np.concatenate([part.start for part in placed])),
        "time_end": ("time", np.concatenate([part.end for part in placed])),
        "file_index": ("time", index, {"units": "1", "long_name": "file of the frame"}),
    }


def _with_positions(
    dataset: xr.Dataset, kept: Sequence[Seen], pattern: re.Pattern[str] | None
) -> xr.Dataset:
    if pattern is None and not any(item.position is not None for item in kept):
        return dataset
    names: list[str] = []
    for item in kept:
        if pattern is not None:
            match = pattern.search(item.file.name)
            if match is None:
                raise RequestError(f"position: {pattern.pattern!r} is not in {item.file.name!r}")
            names += [match[1]] * item.count
        else:
            names += [""] * item.count if item.position is None else list(item.position)
    return dataset.assign_coords(position=("time", np.array(names, dtype=str)))


def _with_told(dataset: xr.Dataset, kept: Sequence[Seen]) -> xr.Dataset:
    """Add what readers tell of each frame as coordinates, NaN where a file does not say."""
    for name in dict.fromkeys(name for item in kept for name in item.told):
        having = [item for item in kept if name in item.told]
        parts = [
            item.told[name].values if name in item.told else np.full(item.count, np.nan)
            for item in kept
        ]
        attrs = having[0].told[name].attrs
        dataset = dataset.assign_coords({name: ("time", np.concatenate(parts), attrs)})
    return dataset


def _with_flags(dataset: xr.Dataset, flag: npt.NDArray[np.int32]) -> xr.Dataset:
    attrs = {**flag_attributes(FRAME_FLAGS), "long_name": "what is wrong with the frame"}
    return dataset.assign_coords(frame_flag=("time", flag.astype(np.int32), attrs))


def _ordered(dataset: xr.Dataset) -> xr.Dataset:
    """Sort by mid-exposure; a stamp that occurs twice is moved by 1 ns so that time can index."""
    start, end = dataset["time_start"].values, dataset["time_end"].values
    order = np.lexsort((end, start, dataset["time"].values))
    dataset = dataset.isel(time=order) if np.any(np.diff(order) != 1) else dataset
    time = dataset["time"].values.astype(np.int64)
    rank = np.arange(time.size)
    strictly = np.maximum.accumulate(time - rank) + rank
    dataset = dataset.assign_coords(time=("time", strictly.astype("datetime64[ns]")))
    flag = dataset["frame_flag"].values.copy()
    flag[_overlapping(dataset)] |= FRAME_FLAGS["clock_suspect"]
    return dataset.assign_coords(frame_flag=("time", flag, dataset["frame_flag"].attrs))


def _overlapping(dataset: xr.Dataset) -> npt.NDArray[np.bool_]:
    return clocks.overlapping(dataset["time_start"].values, dataset["time_end"].values)


def _common_grid(axes: Sequence[Array]) -> Array:
    """Return the first axis of the most common length: a cut file must not set the grid."""
    length, _ = Counter(axis.size for axis in axes).most_common(1)[0]
    return next(axis for axis in axes if axis.size == length)


def _common_facts(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Say of the clock what holds for all files: every zone, the largest uncertainty."""
    sigmas = [fact["sigma_s"] for fact in facts]
    return {
        **facts[0],
        "zone": " ".join(sorted({str(fact["zone"]) for fact in facts})),
        "sigma_s": None if None in sigmas else max(sigmas),
    }


def _refuse_mixtures(templates: Sequence[xr.Dataset]) -> None:
    """Refuse to stack what was not measured alike: another element, edge, wavelength or mode."""
    for key in ALIKE:
        values = {template.attrs[key] for template in templates if key in template.attrs}
        if len(values) > 1:
            raise ContractError(f"{key}: the files say {sorted(values)}; read them one by one")
    modes = {
        str(template["mu"].attrs["mode"])
        for template in templates
        if "mu" in template and "mode" in template["mu"].attrs
    }
    if len(modes) > 1:
        raise ContractError(
            f"mu: {sorted(modes)} in one series; choose by the options i0, i1 and fluorescence"
        )


def _attributes(template: xr.Dataset) -> dict[str, Any]:
    attrs = {key: value for key, value in template.attrs.items() if key != "truncated"}
    attrs["original_metadata"] = json.dumps(attrs.get("original_metadata", {}), default=str)
    return attrs
