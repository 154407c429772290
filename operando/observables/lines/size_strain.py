"""Size of crystallites and microstrain from the widths of lines, the instrument's taken off."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.lines.bragg import angles, axis_of
from operando.observables.lines.instrument import Caglioti, declared, without
from operando.observables.lines.measured import Array, checked, measured
from operando.observables.lines.radiation import wavelength_of

BROADER = 2.0
"""Sigmas by which a line has to be broader than the instrument."""
NANOMETRE = 0.1
"""Of an angstrom."""

LINE_ASSESSMENT: dict[str, int] = {"no_width": 1, "not_broader": 2}
"""Of a line: `no_width`: its width cannot be believed. `not_broader`: it is not broader than the
instrument by 2 sigma: the crystallites are larger than can be seen."""

ASSESSMENT: dict[str, int] = {"too_few_lines": 1, "size_unbounded": 2, "two_lines": 4, "curved": 8}
"""Of a frame: `too_few_lines`: fewer than two; size and strain are not told apart by one.
`size_unbounded`: what is left at theta = 0 is not above 2 sigma: no size. Cautions: `two_lines`:
nothing shows whether they lie on a straight line. `curved`: they do not, chi-square is above 9 per
line to spare: anisotropic broadening, faults, or a distribution of compositions."""


def size_strain(
    tracks: xr.Dataset,
    *,
    instrument: Caglioti | xr.Dataset,
    k: float = 0.9,
    wavelength: float | None = None,
) -> xr.Dataset:
    """Turn widths into apparent sizes, line by line, and into size and strain of all lines.

    The instrument's width is taken off as of pseudo-Voigts (`instrument.without`). Of what is left,
    B: each line gives Scherrer's size D = k lambda / (B cos(theta)), all its width put down to
    size; all lines together give Williamson and Hall's B cos(theta) = k lambda / D + 4 e sin(theta)
    (Acta Metall. 1 (1953) 22) by weighted least squares.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them, along two_theta, with `eta`.
    instrument
        `Caglioti`, or the tracks of lines of a standard (LaB6, CeO2 of large grains), measured on
        the same instrument, sample geometry included.
    k
        Scherrer's constant for a FWHM; 0.9 for roundish crystallites. It is a choice: sizes scale
        with it.
    wavelength
        In angstrom, as in `spacings`.

    Returns
    -------
    Dataset
        On (time, line): `sample_fwhm` (degree), `scherrer_size` (nm), each with `_sigma`;
        `line_assessment`. On time: `size` (nm), `strain` (1: maximum strain e), each with `_sigma`,
        times sqrt(chi2r) where that exceeds 1; `chi2r`, `lines` (how many were used), `assessment`.

    Raises
    ------
    RequestError
        No instrument function: without it a width says nothing of the sample. Another axis than
        two_theta, no wavelength.

    Notes
    -----
    Size is the volume-weighted column length along each reflection, not a particle size. Fails for
    sizes above some k lambda / (0.2 instrument width): widths then differ by less than profiles are
    wrong; for anisotropic crystallites, where lines scatter; where a spread of compositions
    broadens lines during a solid-solution reaction, which looks like strain; and for wide beams on
    thick or moving samples, whose width is not the standard's. A Gaussian strain and a Lorentzian
    size do not quite add up linearly: strain is then too small by up to a third.
    """
    tracks = checked(tracks, "centre", "fwhm")
    if axis_of(tracks) != "two_theta" or "eta" not in tracks:
        raise RequestError(
            f"tracks: along {axis_of(tracks)!r} with {list(tracks.data_vars)}; expected two_theta, "
            "and eta"
        )
    constant = arguments.number("k", k, lambda c: 0.5 <= c <= 2, "0.5 to 2")
    used = wavelength_of(tracks, wavelength)
    function = declared(instrument, wavelength)
    two_theta = angles(tracks, used).value
    breadth, sigma, code = _sample(tracks, two_theta, function)
    cosine = np.cos(two_theta / 2)
    y, y_sigma = np.radians(breadth) * cosine, np.radians(sigma) * cosine
    apparent = constant * used * NANOMETRE / y
    result = xr.Dataset(coords=tracks["centre"].coords)
    both, about = ("time", "line"), "FWHM of the line without the instrument"
    for name, values, units, told in (
        ("sample_fwhm", breadth, "degree", about),
        ("sample_fwhm_sigma", sigma, "degree", f"standard deviation of the {about}"),
        ("scherrer_size", apparent, "nm", "size that alone would make the line as broad"),
        ("scherrer_size_sigma", apparent * y_sigma / y, "nm", "standard deviation of that size"),
    ):
        result[name] = (both, values, {"units": units, "long_name": told})
    for name in ("sample_fwhm", "scherrer_size"):
        result[name].attrs["ancillary_variables"] = f"{name}_sigma"
    result["line_assessment"] = (both, code, flag_attributes(LINE_ASSESSMENT))
    result = result.assign(_all_lines(y, y_sigma, np.sin(two_theta / 2), constant * used))
    facts = {"scherrer_constant": constant, "wavelength_angstrom": used}
    return result.assign_attrs(facts | {"instrument": repr(function)})


def _sample(tracks: xr.Dataset, two_theta: Array, function: Caglioti) -> tuple[Array, Array, Array]:
    """Return the width of the sample in degrees, its sigma, and the assessment, (n, k)."""
    width = measured(tracks, "fwhm")
    eta = tracks["eta"].values.astype(np.float64)
    eta_sigma = np.zeros_like(eta)
    if "eta_sigma" in tracks:
        eta_sigma = np.nan_to_num(tracks["eta_sigma"].values.astype(np.float64))
    own = function.fwhm(two_theta)
    seen = np.isfinite(width.value) & np.isfinite(own) & np.isfinite(eta)
    spread = np.hypot(width.sigma, function.sigma)
    with np.errstate(invalid="ignore"):
        broader = seen & (width.value - own > BROADER * spread)
    fwhm = np.where(broader, width.value, np.nan)
    sample = without(fwhm, eta, own, function.eta)
    variance = np.zeros_like(sample)
    for at, step in enumerate((width.sigma, eta_sigma, np.full_like(own, function.sigma))):
        ends = []
        for sign in (0.5, -0.5):
            moved = [fwhm, eta, own]
            moved[at] = moved[at] + sign * step
            ends.append(without(moved[0], np.clip(moved[1], 0, 1), moved[2], function.eta))
        variance += (ends[0] - ends[1]) ** 2
    code = np.where(seen, np.where(broader, 0, LINE_ASSESSMENT["not_broader"]), 1)
    return sample, np.sqrt(variance), code.astype(np.int32)


def _all_lines(y: Array, sigma: Array, sine: Array, reach: float) -> dict[str, xr.Variable]:
    """Fit y = reach / D + 4 e sin(theta) in every frame."""
    seen = np.isfinite(y) & (sigma > 0)
    weight = np.where(seen, 1 / np.where(seen, sigma, 1.0) ** 2, 0.0)
    x, y = np.where(seen, 4 * sine, 0.0), np.where(seen, y, 0.0)
    s0, sx, sxx, sy, sxy = (
        (weight * part).sum(axis=1) for part in (np.ones_like(x), x, x * x, y, x * y)
    )
    count = seen.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        determinant = np.where(count > 1, s0 * sxx - sx**2, np.nan)
        start, strain = (sxx * sy - sx * sxy) / determinant, (s0 * sxy - sx * sy) / determinant
        left = weight * (y - start[:, None] - strain[:, None] * x) ** 2
        chi2r = np.where(count > 2, left.sum(axis=1) / (count - 2), np.nan)
        widened = np.sqrt(np.fmax(chi2r, 1.0))
        start_sigma, strain_sigma = (widened * np.sqrt(s / determinant) for s in (sxx, s0))
        bounded = start > BROADER * start_sigma
        size = np.where(bounded, reach * NANOMETRE / start, np.nan)
        size_sigma = size * start_sigma / start
    code = np.where(count < 2, ASSESSMENT["too_few_lines"], 0)
    code |= np.where((count > 1) & ~bounded, ASSESSMENT["size_unbounded"], 0)
    code |= np.where(count == 2, ASSESSMENT["two_lines"], 0)
    code |= np.where(chi2r > 9, ASSESSMENT["curved"], 0)
    cautions = ASSESSMENT["two_lines"] | ASSESSMENT["curved"]
    flags = flag_attributes(ASSESSMENT) | {"cautions": np.int32(cautions)}

    def number(values: Array, units: str, told: str, **more: str) -> xr.Variable:
        return xr.Variable("time", values, {"units": units, "long_name": told} | more)

    size_told, strain_told = "size of crystallites", "microstrain"
    return {
        "size": number(size, "nm", size_told, ancillary_variables="size_sigma"),
        "size_sigma": number(size_sigma, "nm", f"standard deviation of the {size_told}"),
        "strain": number(strain, "1", strain_told, ancillary_variables="strain_sigma"),
        "strain_sigma": number(strain_sigma, "1", f"standard deviation of the {strain_told}"),
        "chi2r": number(chi2r, "1", "reduced chi-square of the straight line"),
        "lines": number(count.astype(np.int32), "1", "lines that were used"),
        "assessment": xr.Variable("time", code.astype(np.int32), flags),
    }
