"""Many spectra of one energy axis as one dataset: what stacks, matrices and cameras deliver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import merged, spectrum
from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]


def series(
    energy: Array,
    channels: Mapping[str, Array],
    *,
    clock: Mapping[str, Any],
    elapsed: Array,
    exposure: Array | None = None,
    instrument: str,
    metadata: Mapping[str, Any],
    **facts: Any,
) -> xr.Dataset:
    """Return spectra that share their energies, as `_absorption.spectrum` returns one.

    Parameters
    ----------
    energy
        In eV, in the order of the file, (points,).
    channels
        (frames, points) each, `mu` among them: as the file gives them, nothing is made of counters.
    elapsed, exposure
        Seconds, (frames,).

    Raises
    ------
    FormatError
        As `spectrum`, or there is no frame.
    """
    if not elapsed.size:
        raise FormatError("spectra: none in the file")
    first = spectrum(
        energy,
        {name: values[0] for name, values in channels.items()},
        clock=clock,
        instrument=instrument,
        metadata=metadata,
        **facts,
    )
    axis = first["energy"].values
    _, group = np.unique(energy, return_inverse=True)
    order = np.argsort(energy, kind="stable")
    dataset = xr.Dataset(coords={"energy": first["energy"]}, attrs=first.attrs)
    for name, values in channels.items():
        if axis.size == energy.size:
            ordered = np.ascontiguousarray(values[:, order])
        else:
            ordered = np.stack([merged(row, group, axis.size) for row in values])
        dataset[name] = (("time", "energy"), ordered, first[name].attrs)
    dataset = dataset.assign_coords(elapsed=("time", elapsed, {"units": "s"}))
    if exposure is not None:
        dataset = dataset.assign_coords(exposure=("time", exposure, {"units": "s"}))
    return dataset
