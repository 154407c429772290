"""d, q and 2theta of tracked lines, the part of the wavelength in their uncertainty kept apart."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando import arguments
from operando.observables.lines.bragg import along, angles, axis_of, spacing
from operando.observables.lines.measured import Array, Measured, checked, meanings, measured
from operando.observables.lines.radiation import wavelength_of


def spacings(
    tracks: xr.Dataset, *, wavelength: float | None = None, wavelength_sigma: float = 0.0
) -> xr.Dataset:
    """Convert the centres of lines to spacings.

    lambda = 2 d sin(theta), q = 2 pi / d, so that
    u(d)/d = sqrt((cot(theta) u(theta))^2 + (u(lambda)/lambda)^2). The second term is the same for
    every line and frame: a change of d from frame to frame, or a ratio of two spacings, does not
    carry it. It is therefore not in `d_sigma` but beside it.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them, along two_theta or q.
    wavelength, wavelength_sigma
        In angstrom; by default `tracks.attrs["wavelength_angstrom"]`. Of a q axis: the wavelength
        that q was computed with.

    Returns
    -------
    Dataset
        On (time, line): `d` (angstrom), `q` (1/angstrom) and `two_theta` (degree), each with
        `_sigma` (total), `_sigma_stat`, `_sigma_syst` from the fit of the line; `d_sigma_common`
        and `q_sigma_common` from the wavelength, to be added in quadrature to an absolute value
        only; `assessment` of the tracks. NaN where the centre is.

    Raises
    ------
    RequestError
        Another axis; no wavelength, or one the centres do not belong to (`radiation`).
    """
    tracks = checked(tracks, "centre")
    axis = axis_of(tracks)
    used = wavelength_of(tracks, wavelength)
    spread = arguments.number(
        "wavelength_sigma", wavelength_sigma, lambda s: 0 <= s < used, "angstrom, from 0"
    )
    # a spacing is as good as its centre, whose assessment goes with it: nothing is left out
    whatever = meanings(tracks)
    two_theta = angles(tracks, used, despite=whatever)
    d = spacing(two_theta, used)
    # on a q axis the centre is taken as it is: no arcsine there and back
    q = measured(tracks, "centre", despite=whatever) if axis == "q" else along("q", two_theta, used)
    result = xr.Dataset(coords=tracks["centre"].coords)
    for name, units, meaning, number in (
        ("d", "angstrom", "spacing of the reflecting planes", d),
        ("q", "1/angstrom", "momentum transfer at the centre of the line", q),
        ("two_theta", "degree", "scattering angle at the centre of the line", two_theta),
    ):
        degrees = along("two_theta", number, used) if name == "two_theta" else number
        result = result.assign(labelled(name, degrees, units=units, meaning=meaning))
    for name in ("d", "q"):
        common = np.abs(result[name].values) * spread / used
        result[f"{name}_sigma_common"] = (
            ("time", "line"),
            common,
            {
                "units": result[name].attrs["units"],
                "long_name": f"part of {name} that the wavelength makes uncertain, alike for all",
            },
        )
    if "assessment" in tracks:
        result["assessment"] = tracks["assessment"]
    return result.assign_attrs(wavelength_angstrom=used, wavelength_sigma_angstrom=spread)


def labelled(
    name: str,
    number: Measured,
    *,
    units: str,
    meaning: str,
    dims: tuple[str, ...] = ("time", "line"),
) -> dict[str, xr.Variable]:
    """Return a number and its sigmas as variables that name one another."""

    def variable(values: Array, about: str, **more: str) -> xr.Variable:
        return xr.Variable(dims, values, {"units": units, "long_name": about} | more)

    of = f"of the {meaning}"
    return {
        name: variable(number.value, meaning, ancillary_variables=f"{name}_sigma"),
        f"{name}_sigma": variable(number.sigma, f"standard deviation {of}"),
        f"{name}_sigma_stat": variable(number.stat, f"statistical standard deviation {of}"),
        f"{name}_sigma_syst": variable(number.syst, f"systematic standard deviation {of}"),
    }
