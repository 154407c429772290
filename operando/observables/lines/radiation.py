"""The wavelength that centres of lines belong to: alpha1, the mean of a doublet, or one alone."""

from __future__ import annotations

import xarray as xr

from operando import arguments
from operando.errors import RequestError

ANODES: dict[str, tuple[float, float]] = {
    "Ag": (0.5594218, 0.5638131),
    "Co": (1.7889960, 1.7928350),
    "Cr": (2.2897260, 2.2936520),
    "Cu": (1.5405929, 1.5444274),
    "Fe": (1.9360410, 1.9399730),
    "Mo": (0.7093172, 0.7136070),
}
"""K alpha1 and alpha2 of tube anodes in angstrom (International Tables C, table 4.2.2.4; Hölzer et
al., Phys. Rev. A 56 (1997) 4554)."""

NEAR = 2e-4
"""Relative distance within which a wavelength is taken for one of the table: alpha1 and the mean
are 8e-4 apart for copper, and 1.5406 or 1.54184 are common roundings."""


def line_of(wavelength: float) -> str:
    """Return `alpha1`, `alpha2` or `mean` (two parts alpha1, one alpha2), "" for anything else.

    >>> line_of(1.5406), line_of(1.5418), line_of(0.4139)
    ('alpha1', 'mean', '')
    """
    for alpha1, alpha2 in ANODES.values():
        for name, value in (
            ("alpha1", alpha1),
            ("alpha2", alpha2),
            ("mean", (2 * alpha1 + alpha2) / 3),
        ):
            if abs(wavelength / value - 1) < NEAR:
                return name
    return ""


def wavelength_of(tracks: xr.Dataset, wavelength: float | None) -> float:
    """Return the wavelength in angstrom: the one given, else `wavelength_angstrom` of `tracks`.

    Raises
    ------
    RequestError
        None is known, it is not a positive number, or it is not the one the centres belong to: the
        mean where the doublet was modelled, so that centres are those of alpha1; alpha1 where the
        file states a doublet that was not modelled, so that centres are of neither.
    """
    if wavelength is None:
        wavelength = tracks.attrs.get("wavelength_angstrom")
    if wavelength is None:
        raise RequestError(
            "wavelength: not given and not in attrs['wavelength_angstrom']; expected angstrom"
        )
    value = arguments.number("wavelength", wavelength, lambda w: 0 < w < 100, "angstrom, 0 to 100")
    kind, doublet = line_of(value), modelled(tracks)
    if doublet and kind in ("mean", "alpha2"):
        raise RequestError(
            f"wavelength: {value!r} is {kind} of a doublet, which was modelled; expected alpha1, "
            "which the centres belong to"
        )
    if not doublet and kind == "alpha1" and "wavelength_alpha2_angstrom" in tracks.attrs:
        raise RequestError(
            f"wavelength: {value!r} is alpha1 of a doublet that was not modelled, so that centres "
            "are of neither; track with doublet=Doublet()"
        )
    return value


def modelled(tracks: xr.Dataset) -> bool:
    """Whether `track_peaks` fitted alpha2 beside every line."""
    return str(tracks.attrs.get("doublet", "")) not in ("", "none", "None", "0", "False")
