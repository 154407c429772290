"""Absorption spectra from the columns of a scan: what every XAS reader does once it has named them.

A reader finds energy and counters by name; here they become one spectrum that ascends, with a
point at each energy once, and absorption that is NaN where a counter cannot be believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]

HC_EV_ANGSTROM = 12398.419843320026
"""Exact in the SI of 2019."""
COUNTERS = ("i0", "i1", "iref", "fluorescence")
MADE = ("mu", "mu_fluorescence", "mu_reference")
COUNTER = {"units": "1", "long_name": "counter reading, in its own unit"}
SAME_ENERGY = 1e-9
HIGHEST = 1e6
"""No absorption edge lies higher in eV, by far: it is no energy, or one in another unit."""
LEAST_COVER = 0.5
"""Scans that share less than this part of the energies of the others are not of one series."""


def spectrum(
    energy: Array,
    channels: Mapping[str, Array],
    *,
    clock: Mapping[str, Any],
    elapsed: float = 0.0,
    exposure: float | None = None,
    instrument: str,
    metadata: Mapping[str, Any],
    **facts: Any,
) -> xr.Dataset:
    """Return one scan as a dataset of one frame.

    Parameters
    ----------
    energy
        In eV, in the order of the file, (points,).
    channels
        (points,) each. Counters: `i0` before the sample, `i1` behind it, `iref` behind the
        reference foil, `fluorescence` (sum of the detectors that are in use). What the file itself
        gives as absorption: `mu`, `mu_fluorescence`, `mu_reference`; it wins over what is made here
        from counters: mu = ln(i0/i1), mu_fluorescence = fluorescence/i0, mu_reference =
        ln(i1/iref). Any other name rides along as it is, with units "1".
    clock, elapsed, exposure
        As `_reader.clock` makes it; seconds.
    facts
        More attributes: `element`, `edge`, `truncated`; None is left out.

    Returns
    -------
    xarray.Dataset
        `mu` on (time 1, energy), attrs `mode` "transmission", "fluorescence" or "file" (as the
        file gives it). A scan without transmission has its fluorescence as `mu`; one with both has
        `mu_fluorescence` beside it.

    Raises
    ------
    FormatError
        An energy that is no number or above 1 MeV, fewer than two energies, or nothing to make `mu`
        of.
    """
    if not np.isfinite(energy).all():
        lost = int(np.count_nonzero(~np.isfinite(energy)))
        raise FormatError(f"energy: {lost} of {energy.size} points have none")
    axis, group = np.unique(energy, return_inverse=True)
    if axis.size < 2 or axis[0] <= 0:
        raise FormatError(f"energy: {axis[:3]} eV; expected a scan over several positive energies")
    if axis[-1] > HIGHEST:
        raise FormatError(f"energy: up to {axis[-1]:g} eV; expected energies below {HIGHEST:g} eV")
    given = {name: np.asarray(values, dtype=float) for name, values in channels.items()}
    made = {**_absorptions(given), **given}
    mode = "file" if "mu" in given else "transmission"
    if "mu" not in made:
        if "mu_fluorescence" not in made:
            raise FormatError(
                f"columns: {sorted(given)}; neither absorption nor i0 with i1 or fluorescence"
            )
        mode = "fluorescence"
        made["mu"] = made.pop("mu_fluorescence")
    dataset = xr.Dataset(
        {
            name: (("time", "energy"), merged(values, group, axis.size)[None], _about(name))
            for name, values in made.items()
        },
        {
            "energy": ("energy", axis, {"units": "eV"}),
            "elapsed": ("time", [elapsed], {"units": "s"}),
        },
        {
            "technique": "xas",
            "instrument": instrument,
            "clock": dict(clock),
            "original_metadata": dict(metadata),
            **{name: fact for name, fact in facts.items() if fact is not None},
        },
    )
    dataset["mu"].attrs["mode"] = mode
    if exposure is not None:
        dataset = dataset.assign_coords(exposure=("time", [exposure], {"units": "s"}))
    return dataset


def _absorptions(given: Mapping[str, Array]) -> dict[str, Array]:
    made = {}
    if "i0" in given and "i1" in given:
        made["mu"] = log_ratio(given["i0"], given["i1"])
    if "i0" in given and "fluorescence" in given:
        made["mu_fluorescence"] = ratio(given["fluorescence"], given["i0"])
    if "i1" in given and "iref" in given:
        made["mu_reference"] = log_ratio(given["i1"], given["iref"])
    return made


def _about(name: str) -> dict[str, str]:
    if name == "mu_reference":
        return {"units": "1", "long_name": "absorption of the reference foil"}
    return dict(COUNTER) if name in COUNTERS else {"units": "1"}


def log_ratio(before: Array, after: Array) -> Array:
    """Return ln(before / after), NaN where a counter is not positive."""
    good = (before > 0) & (after > 0) & np.isfinite(before) & np.isfinite(after)
    out = np.full(before.shape, np.nan)
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        out[good] = np.log(before[good] / after[good])
    out[~np.isfinite(out)] = np.nan
    return out


def ratio(counts: Array, monitor: Array) -> Array:
    """Return counts / monitor, NaN where the monitor is not positive."""
    good = (monitor > 0) & np.isfinite(monitor) & np.isfinite(counts)
    out = np.full(counts.shape, np.nan)
    with np.errstate(over="ignore", under="ignore"):
        out[good] = counts[good] / monitor[good]
    out[~np.isfinite(out)] = np.nan
    return out


def merged(values: Array, group: npt.NDArray[np.intp], count: int) -> Array:
    """Return the mean of the finite values of every group, NaN where there is none."""
    good = np.isfinite(values)
    weight = np.bincount(group[good], minlength=count)
    total = np.bincount(group[good], weights=values[good], minlength=count)
    mean = np.full(count, np.nan)
    mean[weight > 0] = total[weight > 0] / weight[weight > 0]
    return mean


def energy_of_angle(degree: Array, spacing: float) -> Array:
    """Return the energy in eV of a Bragg angle, E = hc / (2 d sin theta), d in angstrom."""
    return np.asarray(HC_EV_ANGSTROM / (2 * spacing * np.sin(np.radians(degree))))


def stack(scans: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the scans of one file as one dataset, in their order, on one energy axis.

    The axis is the first of the most common length. A scan on other energies (an encoder jitters,
    regions were changed) is brought onto it by linear interpolation, NaN beyond its ends, and its
    coordinate `regridded` is 1. `elapsed` must count from the clock of the first scan already.

    Raises
    ------
    FormatError
        No scan, or one that covers less than half of the energies: it is of another edge.
    """
    if not scans:
        raise FormatError("scans: none in the file")
    axes = [scan["energy"].values for scan in scans]
    length = Counter(axis.size for axis in axes).most_common(1)[0][0]
    grid = next(axis for axis in axes if axis.size == length)
    names = dict.fromkeys(name for scan in scans for name in scan.data_vars)
    own = [axis.shape == grid.shape and np.allclose(axis, grid, rtol=SAME_ENERGY) for axis in axes]
    for number, axis in enumerate(axes):
        if np.mean((grid >= axis[0]) & (grid <= axis[-1])) < LEAST_COVER:
            raise FormatError(
                f"scan {number + 1} of {len(scans)}: {axis[0]:g}-{axis[-1]:g} eV, others "
                f"{grid[0]:g}-{grid[-1]:g} eV; choose scans of one edge"
            )
    variables = {}
    for name in names:
        rows = [_onto(grid, scan, name, same=same) for scan, same in zip(scans, own, strict=True)]
        attrs = next(scan[name].attrs for scan in scans if name in scan)
        variables[name] = (("time", "energy"), np.stack(rows), attrs)
    on_time = {
        name: ("time", np.concatenate([scan[name].values for scan in scans]), scans[0][name].attrs)
        for name in scans[0].coords
        if scans[0][name].dims == ("time",) and all(name in scan.coords for scan in scans)
    }
    coordinates = {"energy": ("energy", grid, {"units": "eV"}), **on_time}
    dataset = xr.Dataset(variables, coordinates, scans[0].attrs)
    if not all(own):
        moved = np.array([not same for same in own], dtype=np.int64)
        dataset = dataset.assign_coords(regridded=("time", moved, {"units": "1"}))
    return dataset


def _onto(grid: Array, scan: xr.Dataset, name: Any, *, same: bool) -> Array:
    if name not in scan:
        return np.full(grid.size, np.nan)
    values = np.asarray(scan[name].values[0])
    if same:
        return values
    return np.asarray(np.interp(grid, scan["energy"].values, values, left=np.nan, right=np.nan))
