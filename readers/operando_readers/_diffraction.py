"""Diffraction patterns as the dataset a reader returns: one axis, one exposure or many."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._reader import FormatError, clock

Array = npt.NDArray[np.float64]
Axis = Literal["two_theta", "q"]

UNITS: dict[Axis, str] = {"two_theta": "degree", "q": "1/angstrom"}
NO_CLOCK = clock(start=None, zone=None, marks="start", source="none")
PLANCK_KEV_ANGSTROM = 12.398419843320026
"""h c in keV angstrom (CODATA 2018, exact)."""

FACTORS: dict[str, tuple[Axis, float]] = {
    **dict.fromkeys(("deg", "degree", "degrees", "2th_deg", "\N{DEGREE SIGN}"), ("two_theta", 1.0)),
    **dict.fromkeys(("rad", "radian", "radians", "2th_rad"), ("two_theta", float(np.degrees(1.0)))),
    **dict.fromkeys(
        ("1/angstrom", "angstrom^-1", "a^-1", "1/a", "q_a^-1", "inverse angstrom"), ("q", 1.0)
    ),
    **dict.fromkeys(("1/nm", "nm^-1", "q_nm^-1", "1/nanometer", "1/nanometre"), ("q", 0.1)),
    **dict.fromkeys(("1/m", "m^-1"), ("q", 1e-10)),
}
"""Units of an axis in lower case, what it then is, and the factor to our unit."""
SPELLINGS = (
    *(("\\aa", "a"), ("å", "a"), ("⁻¹", "^-1"), ("−", "-"), ("{-1}", "-1"), ("**-1", "^-1")),
    *(("$", ""), ("\\", "")),
)
"""pyFAI writes units in TeX, others in Unicode."""
UNFIT = (
    (
        r"\bd[-_ ]?spacing|^d(?:_|\b)|\bd\b *[(\[]|interplanar",
        "d-spacing",
        "needs no more than q = 2 pi / d: convert it",
    ),
    (
        r"time[-_ ]?of[-_ ]?flight|\btof\b|musec|microsec|(?:^|[^a-z])[uµμ]s\b",
        "time of flight",
        "is not of one wavelength",
    ),
    (r"energy|\bk?ev\b|\bchannels?\b", "energy-dispersive", "is not of one wavelength"),
)
"""Axes that are none of ours, what they are called, and why they are refused."""


def axis_of(unit: str, *, what: str, label: str = "") -> tuple[Axis, float]:
    """Return which axis a unit or a label means, and the factor to degree or 1/angstrom.

    Raises
    ------
    FormatError
        It is d, time of flight or energy, or unknown; says why that is refused.
    """
    plain = unit.strip().lower()
    for spelt, meant in SPELLINGS:
        plain = plain.replace(spelt, meant)
    found = FACTORS.get(plain.strip("()[] "))
    check_fit(f"{label} {unit}", what=what)
    if found is None:
        raise FormatError(f"{what}: unit {unit!r}; expected degree, radian, 1/angstrom or 1/nm")
    return found


def check_fit(words: str, *, what: str) -> None:
    """Refuse an axis that no pattern of ours has.

    Raises
    ------
    FormatError
        The words say d, time of flight or energy.
    """
    for pattern_, name, why in UNFIT:
        if re.search(pattern_, words.strip(), re.IGNORECASE):
            raise FormatError(
                f"{what}: {words.strip()[:60]!r} is {name}, which {why}; expected two theta or q"
            )


def pattern(
    axis: Axis,
    position: Array,
    intensity: Array | da.Array,
    *,
    sigma: Array | da.Array | None = None,
    units: str = "count",
    clock: Mapping[str, Any],
    metadata: Mapping[str, Any],
    elapsed: Array | None = None,
    exposure: Array | float | None = None,
    told: Mapping[str, xr.Variable] | None = None,
    **facts: Any,
) -> xr.Dataset:
    """Return patterns on one axis.

    Parameters
    ----------
    position
        In degree or 1/angstrom, ascending or descending throughout, (points,).
    intensity, sigma
        (points,) of one exposure, or (frames, points), in memory or lazy.
    exposure
        Seconds, of all or of each frame.
    told
        More numbers of each frame, (frames,).
    facts
        More attributes; None is left out.

    Raises
    ------
    FormatError
        No points, positions that are not in order or no angles, or nothing measured at any.
    """
    rows = {"intensity": intensity, "intensity_sigma": sigma}
    every = {
        name: values[None] if values.ndim == 1 else values
        for name, values in rows.items()
        if values is not None
    }
    position, backwards = ascending(position, name=axis)
    for name, values in every.items():
        if values.shape != every["intensity"].shape or values.shape[1] != position.size:
            raise FormatError(f"{name}: {values.shape} numbers for {position.size} positions")
    frames = every["intensity"].shape[0]
    if not frames:
        raise FormatError("intensity: no frame in the file")
    if isinstance(every["intensity"], np.ndarray) and not np.isfinite(every["intensity"]).any():
        raise FormatError(f"intensity: none of {position.size} points has a number")
    variables = {
        name: (("time", axis), values[:, ::-1] if backwards else values, {"units": units})
        for name, values in every.items()
    }
    if "intensity_sigma" in variables:
        variables["intensity"][2]["ancillary_variables"] = "intensity_sigma"
        variables["intensity_sigma"][2]["long_name"] = "standard deviation of the intensity"
    seconds = np.zeros(frames) if elapsed is None else elapsed
    dataset = xr.Dataset(
        variables,
        {
            axis: (axis, position, {"units": UNITS[axis]}),
            "elapsed": ("time", seconds, {"units": "s"}),
        },
    )
    if exposure is not None:
        length = np.broadcast_to(np.asarray(exposure, np.float64), frames).copy()
        dataset = dataset.assign_coords(exposure=("time", length, {"units": "s"}))
    dataset = dataset.assign_coords(dict(told or {}))
    dataset.attrs = {
        "technique": "xrd",
        "clock": dict(clock),
        **{name: fact for name, fact in facts.items() if fact is not None},
        "original_metadata": dict(metadata),
    }
    return dataset


def ascending(position: Array, *, name: Axis) -> tuple[Array, bool]:
    """Return positions in ascending order, and whether that turned them round.

    Raises
    ------
    FormatError
        They are not numbers, do not ascend or descend throughout, or are no angles.
    """
    if not position.size:
        raise FormatError(f"{name}: no points")
    if not np.isfinite(position).all():
        at = int(np.flatnonzero(~np.isfinite(position))[0])
        raise FormatError(f"point {at + 1}: {name} is {position[at]}; expected a number")
    backwards = bool(position[0] > position[-1])
    position = np.asarray(position[::-1] if backwards else position, np.float64)
    if np.any(np.diff(position) <= 0):
        at = int(np.flatnonzero(np.diff(position) <= 0)[0])
        raise FormatError(
            f"{name}: {position[at]:g} is followed by {position[at + 1]:g}; expected one pattern "
            "whose positions ascend or descend throughout"
        )
    if name == "two_theta" and (position[0] < -180 or position[-1] > 180):
        raise FormatError(
            f"two_theta: {position[0]:g} to {position[-1]:g}; expected degrees within -180 to 180"
        )
    return position, backwards


def stepped(start: float, step: float, count: int) -> Array:
    """Return evenly spaced positions: ``start + i * step``."""
    return start + step * np.arange(count, dtype=np.float64)


def kelvin(value: float, *, of: str = "the sample") -> dict[str, xr.Variable]:
    """Return a temperature as what is told of one frame."""
    about = {"units": "K", "long_name": f"temperature of {of}"}
    return {"temperature": xr.Variable("time", [value], about)}
