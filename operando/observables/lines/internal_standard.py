"""What the known lines of a standard say of the setup in each frame, and its correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from operando import arguments
from operando.corrections.history import recorded
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.lines.bragg import EFFECTS, GEOMETRIES, along, angles, axis_of, effect
from operando.observables.lines.measured import Array, Measured, checked, chosen_lines, meanings
from operando.observables.lines.radiation import wavelength_of
from operando.observables.lines.spacings import labelled

DISAGREE = 3.0
"""Birge ratio from which the lines of the standard disagree."""

ASSESSMENT: dict[str, int] = {"no_line": 1, "one_line": 2, "lines_disagree": 4}
"""`no_line`: no line of the standard can be believed, the shift is NaN. Cautions: `one_line`:
nothing shows whether the shift has the form it was given. `lines_disagree`: it has not: they
scatter by three times their sigma."""

ABOUT: dict[str, tuple[str, str]] = {
    "zero": ("degree", "shift of all 2theta"),
    "displacement": ("1", "displacement of the sample over the radius or distance"),
    "wavelength": ("1", "relative error of the wavelength"),
}


def internal_standard(
    tracks: xr.Dataset,
    *,
    lines: Mapping[str, float | Sequence[int]],
    a: float | xr.DataArray | None = None,
    a_sigma: float = 0.0,
    wavelength: float | None = None,
    geometry: str = "bragg_brentano",
    corrects: str = "zero",
) -> xr.Dataset:
    """Measure in every frame how far the lines of a standard are from where they belong.

    The shift x is the weighted mean of (2theta_observed - 2theta_reference) / f over the lines,
    where f = d(2theta)/dx is the form that `bragg.effect` gives: 1 for the zero point;
    -2 cos(theta), sin(2theta) cos(2theta) or sin(2theta) for a displacement on a Bragg-Brentano
    circle, a flat detector or a Debye-Scherrer circle; 2 tan(theta) for the wavelength.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them, along two_theta or q.
    lines
        Line -> its spacing in angstrom, or hkl of a cubic standard of lattice parameter `a`.
    a, a_sigma
        In angstrom. A standard that is heated has a on time: a(T), which is not known here.
    wavelength
        In angstrom, as in `spacings`.
    geometry
        "bragg_brentano", "flat_detector" or "debye_scherrer": the form of a displacement.
    corrects
        "zero", "displacement" or "wavelength": what is taken to have changed. One set of lines
        hardly tells them apart; sigma takes the choice for granted.

    Returns
    -------
    Dataset
        On time: `shift` (degree; or parts of the radius, or of the wavelength) with `_sigma_stat`
        from the centres, `_sigma_syst` from their scatter (sigma times the Birge ratio sqrt(chi2r),
        where that exceeds 1) and `_sigma`, the total; `shift_sigma_common` from `a_sigma`, alike in
        all frames; `chi2r`, `lines` (how many were used) and `assessment`.

    Raises
    ------
    RequestError
        Unknown lines or choices, hkl without `a`, a spacing that does not reflect, an `a` of other
        times.

    Notes
    -----
    The standard has to lie in the plane of the sample. In a coin cell the can, the current
    collector and the electrode lie in several planes, and their own displacements differ by what
    would be 0.4 % of a lattice parameter: a shift from another plane is wrong for the sample, and
    nothing here can tell. Nor is a cell part a standard: rolled foils are strained and alloys vary.
    """
    arguments.chosen("geometry", geometry, GEOMETRIES)
    arguments.chosen("corrects", corrects, EFFECTS)
    names = [str(name) for name in lines]
    chosen = chosen_lines(checked(tracks, "centre"), names, of="lines")
    used = wavelength_of(chosen, wavelength)
    spread = arguments.number("a_sigma", a_sigma, lambda s: s >= 0, "angstrom, from 0")
    reference = _reference(chosen, lines, a, used)
    observed = angles(chosen, used, despite=("poor_fit",))
    form = effect(reference, of=corrects, geometry=geometry)
    shift, chi2r, count = _mean(observed, observed.value - reference, form)
    # d(2theta)/d(ln a) = -2 tan(theta), seen through the same mean
    stretched, _, _ = _mean(observed, 2 * np.tan(reference / 2), form)
    relative = spread / _parameter(chosen, a) if spread > 0 else 0.0
    common = np.abs(stretched.value) * relative
    units, meaning = ABOUT[corrects]
    factor = 180 / np.pi if corrects == "zero" else 1.0
    scaled = shift.scaled(np.full_like(shift.value, factor), factor * shift.value)
    result = xr.Dataset(coords={n: c for n, c in chosen.coords.items() if "line" not in c.dims})
    result = result.assign(labelled("shift", scaled, units=units, meaning=meaning, dims=("time",)))
    result = result.assign(_summary(factor * common, chi2r, count, units))
    return result.assign_attrs(
        corrects=corrects, geometry=geometry, wavelength_angstrom=used, standard=", ".join(names)
    )


def _reference(
    chosen: xr.Dataset,
    lines: Mapping[str, float | Sequence[int]],
    a: float | xr.DataArray | None,
    wavelength: float,
) -> Array:
    """Return 2theta of the standard in radians, (n, k)."""
    columns = []
    for name, told in lines.items():
        if np.ndim(told) == 0:
            d = arguments.number(f"lines[{name!r}]", told, lambda d: d > 0, "angstrom above 0")
            columns.append(np.full(chosen.sizes["time"], d))
            continue
        hkl = np.asarray(told)
        if hkl.shape != (3,) or hkl.dtype.kind not in "iu" or not hkl.any():
            raise RequestError(f"lines[{name!r}]: {told!r}; expected a spacing, or hkl")
        columns.append(_parameter(chosen, a) / np.sqrt(float((hkl**2).sum())))
    sine = wavelength / (2 * np.stack(columns, axis=1))
    if np.any(sine >= 1):
        raise RequestError(
            f"lines: spacings down to {wavelength / 2 / sine.max():.4g}; expected above half the "
            f"wavelength, {wavelength / 2:.4g} angstrom"
        )
    return np.asarray(2 * np.arcsin(sine))


def _parameter(chosen: xr.Dataset, a: float | xr.DataArray | None) -> Array:
    if a is None:
        raise RequestError("a: not given; expected the lattice parameter of the standard, angstrom")
    if not isinstance(a, xr.DataArray):
        value = arguments.number("a", a, lambda length: length > 0, "angstrom above 0")
        return np.full(chosen.sizes["time"], value)
    arguments.array("a", a, "time")
    if not np.array_equal(a["time"].values, chosen["time"].values):
        raise RequestError("a: other times than tracks; interpolate it to tracks['time']")
    return a.values.astype(np.float64)


def _mean(observed: Measured, difference: Array, form: Array) -> tuple[Measured, Array, Array]:
    """Return the weighted mean of difference / form, its chi-square and how many lines it is of."""
    seen = np.isfinite(observed.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(seen, 1 / observed.sigma**2, 0.0)
        lever = np.where(seen, weight * form, 0.0)
        total = (lever * form).sum(axis=1)
        value = np.where(seen, lever * difference, 0.0).sum(axis=1) / total
        left = np.where(seen, weight * (difference - form * value[:, None]) ** 2, 0.0)
        count = seen.sum(axis=1)
        chi2r = np.where(count > 1, left.sum(axis=1) / (count - 1), np.nan)
        stat = np.sqrt(np.where(seen, (lever * observed.stat) ** 2, 0.0).sum(axis=1)) / total
        sigma = np.sqrt(np.fmax(chi2r, 1.0) / total)
    value, sigma, stat = (np.where(count == 0, np.nan, part) for part in (value, sigma, stat))
    syst = np.sqrt(np.maximum(sigma**2 - stat**2, 0.0))
    return Measured(value=value, sigma=sigma, stat=stat, syst=syst), chi2r, count


def _summary(common: Array, chi2r: Array, count: Array, units: str) -> dict[str, xr.Variable]:
    code = np.where(count == 0, ASSESSMENT["no_line"], 0)
    code |= np.where(count == 1, ASSESSMENT["one_line"], 0)
    code |= np.where(chi2r > DISAGREE**2, ASSESSMENT["lines_disagree"], 0)
    cautions = ASSESSMENT["one_line"] | ASSESSMENT["lines_disagree"]
    told = "part of the shift that the lattice parameter of the standard makes uncertain"
    facts = flag_attributes(ASSESSMENT) | {"cautions": np.int32(cautions)}
    chi = {"units": "1", "long_name": "reduced chi-square of the lines of the standard"}
    used = {"units": "1", "long_name": "lines of the standard that were used"}
    return {
        "shift_sigma_common": xr.Variable("time", common, {"units": units, "long_name": told}),
        "chi2r": xr.Variable("time", chi2r, chi),
        "lines": xr.Variable("time", count.astype(np.int32), used),
        "assessment": xr.Variable("time", code.astype(np.int32), facts),
    }


def apply_standard(tracks: xr.Dataset, correction: xr.Dataset) -> xr.Dataset:
    """Move the centres of all lines by what `internal_standard` found in each frame.

    The sigma of the shift is added to each centre's in quadrature, statistical to statistical and
    systematic to systematic. It is alike for all lines of a frame: ratios of spacings do not have
    it, and no number of lines averages it out. It is therefore told beside, and `lattice` carries
    it as a whole. The standard's own lines come out where they belong, with little scatter left to
    judge by.

    Returns
    -------
    Dataset
        `tracks` with `centre` and its sigmas corrected, NaN where there is no correction. On (time,
        line) `standard_move_stat` and `standard_move_syst` (degree): by how much one standard
        deviation of the shift moves 2theta, with its sign. On time `standard_assessment`. The step
        is recorded in attrs["corrections"].

    Raises
    ------
    RequestError
        A correction of other times, or tracks that were corrected before.
    """
    tracks = checked(tracks, "centre")
    if not isinstance(correction, xr.Dataset) or "corrects" not in correction.attrs:
        raise arguments.refusal("correction", correction, "what internal_standard returns")
    if not np.array_equal(tracks["time"].values, correction["time"].values):
        raise RequestError("correction: other times than tracks; expected that of the same frames")
    if "standard_assessment" in tracks:
        raise RequestError(
            "tracks: corrected by a standard before; start from the tracks as fitted"
        )
    corrects = str(correction.attrs["corrects"])
    wavelength = float(correction.attrs["wavelength_angstrom"])
    two_theta = angles(tracks, wavelength, despite=meanings(tracks))
    factor = np.pi / 180 if corrects == "zero" else 1.0
    parts = [
        factor * correction[f"shift{part}"].values[:, None]
        for part in ("", "_sigma_stat", "_sigma_syst")
    ]
    geometry = str(correction.attrs["geometry"])
    form = effect(two_theta.value, of=corrects, geometry=geometry)
    stat = np.hypot(two_theta.stat, np.abs(form) * parts[1])
    syst = np.hypot(two_theta.syst, np.abs(form) * parts[2])
    shift_sigma = np.abs(form) * np.hypot(parts[1], parts[2])
    moved = Measured(
        value=two_theta.value - form * parts[0],
        sigma=np.hypot(two_theta.sigma, shift_sigma),
        stat=stat,
        syst=syst,
    )
    centre = along(axis_of(tracks), moved, wavelength)
    result = tracks.copy()
    for name, values in (
        ("centre", centre.value),
        ("centre_sigma", centre.sigma),
        ("centre_sigma_stat", centre.stat),
        ("centre_sigma_syst", centre.syst),
    ):
        if name in tracks:
            result[name] = tracks[name].copy(data=values)
    for part, size in (("stat", parts[1]), ("syst", parts[2])):
        told = f"move of 2theta by the {part} sigma of the shift, common to all lines of a frame"
        facts = {"units": "degree", "long_name": told}
        result[f"standard_move_{part}"] = (("time", "line"), np.degrees(form * size), facts)
    result["standard_assessment"] = correction["assessment"]
    return recorded(
        result, "internal_standard", corrects=corrects, lines=str(correction.attrs["standard"])
    )
