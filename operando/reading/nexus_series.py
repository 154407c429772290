"""What the NeXus files that operando writes have in common: whole files, groups, a `series`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from operando.errors import OperandoError, RequestError

if TYPE_CHECKING:
    import h5py

NOT_TOLD = ("time", "time_start", "time_end", "file_index")
"""Coordinates that have a place of their own, or that mean nothing in another file."""
SECOND = np.timedelta64(1, "s")


@contextmanager
def whole_file(target: Path) -> Iterator[h5py.File]:
    """Give an HDF5 file that appears as `target` when all is written, and not at all before.

    Groups keep the order in which they are made.

    Raises
    ------
    RequestError
        The file cannot be written.
    """
    import h5py

    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with h5py.File(part, "w", track_order=True) as file:
            file.attrs.update(NX_class="NXroot", default="entry", creator="operando")
            yield file
        os.replace(part, target)
    except OperandoError:
        raise
    except OSError as error:
        raise RequestError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        part.unlink(missing_ok=True)


def group(parent: h5py.Group, name: str, nexus: str) -> h5py.Group:
    """Return a new group of a NeXus class."""
    made = parent.create_group(name, track_order=True)
    made.attrs["NX_class"] = nexus
    return made


def write_series(made: h5py.Group, frames: xr.Dataset) -> list[str]:
    """Write what is known of each frame, on one axis of time; return the names of the columns.

    ``time`` in s from the first start to the middle of the exposure, ``start_time`` and
    ``end_time`` (ISO 8601 with +00:00), and each number or word that `frames` has on time alone.
    """
    start = frames["time_start"].values
    made["time"] = (frames["time"].values - start.min()) / SECOND
    made["time"].attrs.update(units="s", start=iso(start.min()), long_name="middle of the exposure")
    sigma = json.loads(frames.attrs.get("clock", "{}")).get("sigma_s")
    if sigma is not None:
        made["time"].attrs["sigma_s"] = float(sigma)
    for name in ("start", "end"):
        moments = [iso(moment) for moment in frames[f"time_{name}"].values]
        made[f"{name}_time"] = np.array(moments, "S")
    told = [
        str(name)
        for name, variable in frames.variables.items()
        if variable.dims == ("time",) and name not in NOT_TOLD and variable.dtype.kind in "iufbUO"
    ]
    for name in told:
        _write_column(made, name, frames[name])
        made[name].attrs.update(attributes(frames[name]))
    numbers = [name for name in told if frames[name].dtype.kind in "iuf"]
    signal = "voltage" if "voltage" in numbers else next(iter(numbers), None)
    made.attrs.update(axes="time", time_indices=0)
    if signal is not None:
        made.attrs["signal"] = signal
    return told


def _write_column(made: h5py.Group, name: str, column: xr.DataArray) -> None:
    """Write one number or word of each frame; words in UTF-8, all of one length."""
    import h5py

    values = column.values
    if values.dtype.kind in "UO":
        words = np.char.encode(values.astype(str), "utf-8")
        values = words.astype(h5py.string_dtype("utf-8", max(words.dtype.itemsize, 1)))
    made[name] = values


def attributes(variable: xr.DataArray) -> dict[str, Any]:
    """Return the attributes that HDF5 can hold."""
    return {
        str(name): value
        for name, value in variable.attrs.items()
        if isinstance(value, str | int | float | np.ndarray | np.generic)
    }


def iso(moment: np.datetime64) -> str:
    """Return a moment of UTC in ISO 8601, with its offset.

    >>> iso(np.datetime64("2026-05-04T10:00:00.5"))
    '2026-05-04T10:00:00.500000000+00:00'
    """
    return f"{np.datetime_as_string(moment.astype('datetime64[ns]'))}+00:00"
