"""One pass over the files of a series: when each was taken, its axis, its faults; no frame data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.errors import ClockError, ReadError
from operando.model import axes_of, signal_of
from operando.reading import sidecar
from operando.reading.blocks import version_of
from operando.reading.registry import load
from operando.reading.times import Declared, Placed, by_index, by_mtime, place
from operando_readers._reader import File

Array = npt.NDArray[np.float64]

VOLTS = {"units": "V", "long_name": "potential of the cell as the beamline read it"}
CONSUMED = ("elapsed", "exposure", "regridded")
"""Numbers of a frame that become its times and flags; all others a reader tells ride along."""


@dataclass
class Seen:
    """What one pass over a file leaves behind: its times, its axis, its faults; no frame data."""

    file: File
    placed: Placed | None
    count: int
    axes: dict[str, Array] = field(default_factory=dict)
    missing: npt.NDArray[np.int64] | None = None
    exposure: Array | None = None
    """Seconds, where the file says; needed where its times are declared by index."""
    truncated: bool = False
    truncated_frames: npt.NDArray[np.bool_] | None = None
    """Which of them, where the file holds several and says so."""
    position: npt.NDArray[np.str_] | None = None
    told: dict[str, xr.Variable] = field(default_factory=dict)
    """Numbers of each frame: stage positions, the beamline's own reading of the potential ..."""
    regridded: npt.NDArray[np.bool_] | None = None
    """Which frames the reader itself brought onto one axis."""
    version: tuple[int, int] = (0, 0)
    lazy: xr.Dataset | None = None
    template: xr.Dataset | None = None


def look(
    file: File,
    *,
    format: str,
    options: Mapping[str, Any],
    declared: Declared,
    log: list[sidecar.Row] | None,
    problems: list[dict[str, str]],
) -> Seen:
    """Read a file for what it is, and keep its times and faults only."""
    by_order = declared.first is not None or declared.stamps == "mtime"
    try:
        dataset = load(file, format=format, options=options)
    except ReadError as error:
        problems.append({"file": str(file), "reason": str(error)})
        try:
            placed = None if by_order else place(file, None, declared=declared, log=log)
        except (ClockError, ReadError):
            return Seen(file, None, 0)
        return Seen(file, placed, 1, version=version_of(file))
    try:
        placed = None if by_order else place(file, dataset, declared=declared, log=log)
    except ReadError as error:  # the log does not know this file
        problems.append({"file": str(file), "reason": str(error)})
        return Seen(file, None, 0)
    axes = {name: dataset[name].values.astype(np.float64) for name in axes_of(dataset)}
    signal = signal_of(dataset)
    lazy = isinstance(signal.data, da.Array)
    item = Seen(file, placed, dataset.sizes["time"], axes, version=version_of(file))
    if "exposure" in dataset.coords:
        item.exposure = dataset["exposure"].values.astype(np.float64)
    if dataset.attrs.get("truncated"):
        item.truncated = True
        problems.append({"file": str(file), "reason": f"{file}: {dataset.attrs['truncated']}"})
    if dataset.attrs.get("doubts"):
        problems.append({"file": str(file), "reason": f"{file}: {dataset.attrs['doubts']}"})
    if "position" in dataset.coords:
        item.position = dataset["position"].values.astype(str)
    if "truncated" in dataset.coords:
        item.truncated_frames = dataset["truncated"].values != 0
    if "regridded" in dataset.coords:
        item.regridded = dataset["regridded"].values != 0
    item.told = {
        str(name): variable
        for name, variable in dataset.variables.items()
        if variable.dims == ("time",) and variable.dtype.kind in "fiu" and name not in CONSUMED
    }
    if log is not None and declared.log is not None and declared.log.cell_voltage is not None:
        volts = sidecar.row_of(file, log, where=str(declared.log.path)).cell_voltage
        item.told["cell_voltage"] = xr.Variable("time", [volts], VOLTS)
    if lazy:
        item.lazy = dataset
    else:
        item.missing = np.count_nonzero(~np.isfinite(signal.values), axis=-1).reshape(item.count)
        # One frame of the file is enough to know its variables and attributes.
        item.template = dataset.isel(time=slice(0, 1))
    return item


def place_by_order(seen: Sequence[Seen], declared: Declared) -> None:
    """Give times to files in their order, by index or by when they were written."""
    if declared.first is None and declared.stamps == "file":
        return
    if any(item.count > 1 for item in seen) and any(not item.axes for item in seen):
        lost = next(item.file for item in seen if not item.axes)
        raise ClockError(
            f"{lost}: unreadable, and how many frames it held is unknown, so times by index of the "
            "files after it are too; remove it and give each part its own first"
        )
    for item in seen:
        item.count = item.count or 1
    told = [np.zeros(item.count) if item.exposure is None else item.exposure for item in seen]
    length = None if all(item.exposure is None for item in seen) else np.concatenate(told)
    if declared.stamps == "mtime":
        if any(item.count != 1 for item in seen):
            raise ClockError("stamps = 'mtime': needs one frame a file")
        placed = by_mtime([item.file for item in seen], declared=declared)
    else:
        total = sum(item.count for item in seen)
        placed = by_index(total, declared=declared, where=str(seen[0].file), length=length)
    at = 0
    for item in seen:
        part = slice(at, at + item.count)
        item.placed = Placed(placed.start[part], placed.mid[part], placed.end[part], placed.facts)
        at += item.count
