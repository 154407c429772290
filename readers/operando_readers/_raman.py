"""Raman spectra of any instrument: from what was stored to shifts that ascend, and one dataset.

Only plumbing: what a column or a block means is known to the reader of its format. A wavelength L
becomes the shift 1e7/L0 - 1e7/L (1/cm, both in nm) of a laser at L0. Both have to be of the same
medium: a wavelength in air with a laser in vacuum moves a spectrum at 532 nm by 5 1/cm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._reader import FormatError, clock

Array = npt.NDArray[np.float64]
Spectra = npt.NDArray[np.floating[Any]]
Stamp = Literal["start", "end"]

LASERS = (150.0, 3000.0)
"""nm; nothing excites Raman scattering outside."""
NO_TIME = clock(start=None, zone=None, marks="start", source="none")


def shifts(
    wavelengths: Array, *, laser_nm: float | None, what: str, stated: float | None = None
) -> tuple[Array, str]:
    """Turn wavelengths in nm into Raman shifts in 1/cm.

    Parameters
    ----------
    laser_nm
        What the user says of the laser; it counts before what the file says.
    what
        Name of the axis in its file, for messages.
    stated
        What the file says of the laser (nm).

    Returns
    -------
    shifts : (n,) array, 1/cm
    source : how they were made, for ``attrs["axis_source"]``.

    Raises
    ------
    FormatError
        No laser is known, it is none, or a wavelength is not positive.
    """
    laser = laser_of(laser_nm, what=what, stated=stated)
    if not (wavelengths > 0).all():
        lowest = wavelengths.min() if wavelengths.size else np.nan
        raise FormatError(f"{what}: wavelengths from {lowest:g} nm; expected positive ones")
    by_user = "" if laser_nm is None else " (option)"
    return 1e7 / laser - 1e7 / wavelengths, f"wavelength in nm, laser at {laser:.3f} nm{by_user}"


def laser_of(laser_nm: float | None, *, what: str, stated: float | None = None) -> float:
    """Return the wavelength of the laser in nm.

    Raises
    ------
    FormatError
        Neither the user nor the file says, or it is no wavelength of a laser.
    """
    laser = stated if laser_nm is None else laser_nm
    if laser is None:
        raise FormatError(f"{what}: in nm, and the laser is not stated; pass laser_nm=")
    if not LASERS[0] <= laser <= LASERS[1]:
        raise FormatError(
            f"{what}: a laser at {laser:g} nm; expected {LASERS[0]:g} to {LASERS[1]:g}, pass "
            "laser_nm="
        )
    return float(laser)


def ascending(shift: Array, spectra: Spectra, *, what: str) -> tuple[Array, Spectra]:
    """Turn spectra (time, shift) whose axis descends.

    Raises
    ------
    FormatError
        The axis has fewer than two points, or does not ascend or descend throughout.
    """
    if shift.size < 2:
        raise FormatError(f"{what}: {shift.size} points; expected a spectrum")
    if shift[0] > shift[-1]:
        shift, spectra = shift[::-1], spectra[:, ::-1]
    steps = np.diff(shift)
    if not (np.isfinite(shift).all() and (steps > 0).all()):
        at = int(np.flatnonzero(~(steps > 0))[0]) if not (steps > 0).all() else 0
        raise FormatError(
            f"{what}: does not ascend or descend throughout; {shift[at]:g} is followed by "
            f"{shift[at + 1]:g}"
        )
    return shift, spectra


def frames(
    shift: Array,
    spectra: Spectra,
    *,
    what: str,
    units: str,
    facts: Mapping[str, object],
    metadata: Mapping[str, object],
    elapsed: Array | None = None,
    exposure: float | None = None,
) -> xr.Dataset:
    """Build the dataset of spectra (time, shift) in the order of their file.

    Parameters
    ----------
    what
        Name of the axis in its file, for messages.
    facts
        Attributes, `clock` among them; None and "" are left out.
    metadata
        The vendor's header.
    elapsed
        Seconds from the start of the clock (time,); 0 for one spectrum.
    exposure
        Live time of every spectrum in s; what is not positive and finite is not known.

    Raises
    ------
    FormatError
        As `ascending`.
    """
    shift, spectra = ascending(shift, spectra, what=what)
    attrs = {name: fact for name, fact in facts.items() if fact is not None and fact != ""}
    dataset = xr.Dataset(
        {"intensity": (("time", "raman_shift"), spectra, {"units": units})},
        {"raman_shift": ("raman_shift", shift, {"units": "1/cm"})},
        {"technique": "raman", **attrs, "original_metadata": dict(metadata)},
    )
    count = dataset.sizes["time"]
    if elapsed is None and count == 1:
        elapsed = np.zeros(1)
    if elapsed is not None:
        dataset = dataset.assign_coords(elapsed=("time", elapsed, {"units": "s"}))
    if exposure is not None and 0 < exposure < np.inf:
        live = np.full(count, exposure)
        dataset = dataset.assign_coords(exposure=("time", live, {"units": "s"}))
    return dataset


def places(**stage: Array) -> dict[str, tuple[str, npt.NDArray[Any], dict[str, str]]]:
    """Return the coordinates of spectra that were taken at places x, y, z (micrometre).

    `position` names the places to 10 nm by the axes that move.
    """
    found: dict[str, tuple[str, npt.NDArray[Any], dict[str, str]]] = {
        name: ("time", values, {"units": "micrometre", "long_name": f"stage {name}"})
        for name, values in stage.items()
    }
    moved = {name: values for name, values in stage.items() if np.ptp(values) > 0}
    if moved:
        found["position"] = ("time", labels(moved), {})
    return found


def labels(scanned: Mapping[str, Array]) -> npt.NDArray[np.str_]:
    """Name spots to 10 nm: the same spot of two maps has the same name.

    >>> labels({"x": np.array([1.0, -0.001])}).tolist()
    ['x=1.00', 'x=0.00']
    """
    # + 0.0 makes one spot of 0.00 and -0.00.
    rounded = [np.round(values, 2) + 0.0 for values in scanned.values()]
    named = [
        " ".join(f"{name}={at:.2f}" for name, at in zip(scanned, spot, strict=True))
        for spot in zip(*rounded, strict=True)
    ]
    return np.array(named, dtype=str)
