"""Bragg's law for tracked lines: 2theta, q and d, and how each moves when the setup does.

All angles are in radians here. theta is half the scattering angle, s = 1/d = 2 sin(theta)/lambda.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.errors import RequestError
from operando.observables.lines.measured import Array, Measured, measured

AXES = ("two_theta", "q")

GEOMETRIES = ("bragg_brentano", "flat_detector", "debye_scherrer")
EFFECTS = ("zero", "displacement", "wavelength")


def axis_of(tracks: xr.Dataset) -> str:
    """Return the axis lines were tracked along, `two_theta` or `q`.

    Raises
    ------
    RequestError
        Another one: Raman shifts and energies have no spacing.
    """
    axis = str(tracks.attrs.get("axis", ""))
    if axis not in AXES:
        raise RequestError(f"attrs['axis']: {axis!r}; expected 'two_theta' or 'q'")
    return axis


def angles(tracks: xr.Dataset, wavelength: float, *, despite: tuple[str, ...] = ()) -> Measured:
    """Return 2theta of every line in radians, with the sigmas of its centre."""
    centre = measured(tracks, "centre", despite=despite)
    if axis_of(tracks) == "two_theta":
        return centre.scaled(np.full_like(centre.value, np.pi / 180), np.deg2rad(centre.value))
    with np.errstate(invalid="ignore"):
        sine = centre.value * wavelength / (4 * np.pi)
        theta = np.arcsin(np.where(sine < 1, sine, np.nan))
        return centre.scaled(wavelength / (2 * np.pi * np.cos(theta)), 2 * theta)


def along(axis: str, two_theta: Measured, wavelength: float) -> Measured:
    """Return 2theta in radians as a position on an axis of tracks: degrees, or q in 1/angstrom."""
    if axis == "two_theta":
        factor = np.full_like(two_theta.value, 180 / np.pi)
        return two_theta.scaled(factor, np.rad2deg(two_theta.value))
    theta = two_theta.value / 2
    return two_theta.scaled(
        2 * np.pi * np.cos(theta) / wavelength, 4 * np.pi * np.sin(theta) / wavelength
    )


def spacing(two_theta: Measured, wavelength: float) -> Measured:
    """Return d in angstrom: u(d)/d = cot(theta) u(theta)."""
    theta = two_theta.value / 2
    d = wavelength / (2 * np.sin(theta))
    return two_theta.scaled(d / (2 * np.tan(theta)), d)


def effect(two_theta: Array, *, of: str, geometry: str) -> Array:
    """Return by how much 2theta moves, in radians, per unit of what is wrong with the setup.

    `zero`: radians. `wavelength`: the relative error, 2 tan(theta). `displacement`: of the sample,
    as a part of the radius or distance:

    - `bragg_brentano`: -2 cos(theta), the sample below the axis of the goniometer (Wilson,
      Mathematical Theory of X-ray Powder Diffractometry, 1963);
    - `flat_detector`: sin(2theta) cos(2theta), the sample further from the detector, whose radial
      positions are L tan(2theta);
    - `debye_scherrer`: sin(2theta), the sample moved towards the source, on a detector that turns
      at constant radius.
    """
    if of == "zero":
        return np.ones_like(two_theta)
    if of == "wavelength":
        return np.asarray(2 * np.tan(two_theta / 2))
    if geometry == "bragg_brentano":
        return np.asarray(-2 * np.cos(two_theta / 2))
    if geometry == "flat_detector":
        return np.asarray(np.sin(two_theta) * np.cos(two_theta))
    return np.asarray(np.sin(two_theta))
