"""Whether all lines move or scale together: the setup, rather than a transition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import chi2 as chi_square
from scipy.stats import norm

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes, positions
from operando.observables.lines.bragg import AXES, GEOMETRIES, angles, effect
from operando.observables.lines.measured import Array, Mask, Measured, checked, measured
from operando.observables.lines.radiation import wavelength_of

FORMS = ("zero", "spacing", "displacement")
PRESENT = 4.0
"""Area over sigma of a line's reference from which its area can be said to scale."""

ASSESSMENT: dict[str, int] = {
    "too_few_lines": 1,
    "common_shift": 2,
    "common_scale": 4,
    "shifts_differ": 8,
    "scales_differ": 16,
}
"""`assessment` of a frame against the reference frames; 0: nothing has changed.

`too_few_lines`: fewer than two lines; nothing can be said. Observations: `common_shift`,
`common_scale`: all lines have changed by the same, and nothing speaks for a difference: look at the
setup (sample height, temperature of all, beam, top-up, dead time) before anything is called a
transition. `shifts_differ`, `scales_differ`: lines have changed, and not together.
"""

OBSERVATIONS = 2 | 4 | 8 | 16


def common_mode(
    tracks: xr.Dataset,
    *,
    form: str = "zero",
    geometry: str = "bragg_brentano",
    wavelength: float | None = None,
    reference: int = 10,
    false_alarm: float = 0.01,
) -> xr.Dataset:
    """Test in every frame whether lines moved, or grew, all together or each in its own way.

    Each line is compared with its own weighted mean over the first frames. Of the changes
    x_l = c_l - c_l,ref the common part s is the weighted mean of x_l / f_l, where f_l is the form a
    shift has; chi-square of x_l - s f_l says whether lines differ, s over its sigma whether they
    moved. Areas are compared in the same way with g times their reference. The reference's own
    sigma is in both.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them, along any axis.
    form
        "zero": all lines move by the same along two_theta, or along an axis that is none of
        diffraction, as after a knock or a drift of the laser. "spacing": all spacings change by the
        same part (temperature, wavelength; pressure in a cubic crystal). "displacement" of the
        sample, over the radius, as in `bragg.effect`.
    geometry
        Of a displacement.
    wavelength
        In angstrom, needed along q for "zero" and "displacement".
    reference
        So many first frames, of each position, are what the others are compared with.
    false_alarm
        Probability that a series in which nothing changes has any frame flagged, for each of the
        four flags; it is shared out among the frames.

    Returns
    -------
    Dataset
        On time: `common_shift` (unit of the axis, or a part of one), `common_scale`, each with
        `_sigma`; `shift_chi2r`, `scale_chi2r` of "all lines together"; `shift_probability`,
        `scale_probability` that lines which change alike differ as much; `shift_lines`,
        `scale_lines` (how many were compared); `assessment`.

    Raises
    ------
    RequestError
        An unknown form or geometry, a form the axis does not have, no frames to compare with.

    Notes
    -----
    With two lines of nearly equal angle all forms are alike. A sample whose every line moves by the
    same part, as in a cubic solid solution alone in the beam, is a common shift of spacings: have a
    line of something inert among the tracks. Fails where sigma is too small: then lines differ.
    """
    arguments.chosen("form", form, FORMS)
    arguments.chosen("geometry", geometry, GEOMETRIES)
    first = arguments.whole("reference", reference, lambda n: n >= 1, "1 or more frames")
    rate = arguments.number("false_alarm", false_alarm, lambda p: 0 < p < 0.5, "0 to 0.5")
    tracks = checked(tracks, "centre", "area")
    place = _placed(tracks, form, geometry, wavelength)
    area = measured(tracks, "area", despite=("weak", "poor_fit"))
    numbers = np.full((8, tracks.sizes["time"]), np.nan)
    for at in positions(tracks).values():
        numbers[:4, at] = _shift(_of(place.number, at), place.slope, first)
        numbers[4:, at] = _scale(_of(area, at), first)
    return _labelled(tracks, numbers, place.unit, rate).assign_attrs(
        form=form, reference=f"the first {first} frames of each position", false_alarm=rate
    )


@dataclass(frozen=True)
class _Placed:
    """Where lines are, and how far each moves per unit of a common shift."""

    number: Measured
    slope: Callable[[Array], Array]
    unit: str


def _placed(tracks: xr.Dataset, form: str, geometry: str, wavelength: float | None) -> _Placed:
    axis = str(tracks.attrs.get("axis", ""))
    if axis not in AXES and form != "zero":
        raise RequestError(f"form: {form!r} along {axis!r}; expected 'zero'")
    if axis not in AXES:
        own = str(tracks["centre"].attrs.get("units", "1"))
        return _Placed(measured(tracks, "centre", despite=("poor_fit",)), np.ones_like, own)
    if axis == "q" and form == "spacing":
        return _Placed(measured(tracks, "centre", despite=("poor_fit",)), np.negative, "1")
    # along two_theta the angle is there; the wavelength does not matter to it
    used = 1.0 if axis == "two_theta" else wavelength_of(tracks, wavelength)
    two_theta = angles(tracks, used, despite=("poor_fit",))
    if form == "zero":
        return _Placed(two_theta, lambda y: np.full_like(y, np.pi / 180), "degree")
    if form == "spacing":
        return _Placed(two_theta, lambda y: np.asarray(-2 * np.tan(y / 2)), "1")
    return _Placed(two_theta, partial(effect, of="displacement", geometry=geometry), "1")


def _of(number: Measured, at: npt.NDArray[np.intp]) -> Measured:
    value, sigma, stat, syst = (
        part[at] for part in (number.value, number.sigma, number.stat, number.syst)
    )
    return Measured(value=value, sigma=sigma, stat=stat, syst=syst)


def _reference(number: Measured, first: int) -> tuple[Array, Array]:
    """Return the weighted mean of each line over its first frames, and its variance, (k,)."""
    seen = np.isfinite(number.value[:first])
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(seen, 1 / number.sigma[:first] ** 2, 0.0)
        total = weight.sum(axis=0)
        mean = np.where(seen, weight * number.value[:first], 0.0).sum(axis=0) / total
        return np.where(total > 0, mean, np.nan), np.where(total > 0, 1 / total, np.nan)


def _variance(number: Measured, reference: Array, scale: Array, first: int) -> Array:
    """Return the variance of a line less its reference, which it is part of in the first frames."""
    sign = np.where(np.arange(len(number.value)) < first, -1.0, 1.0)[:, None]
    variance = number.sigma**2 + sign * scale**2 * reference
    # a frame that is its own reference says nothing
    return np.where(variance > 1e-9 * number.sigma**2, variance, np.nan)


def _common(difference: Array, form: Array, variance: Array) -> tuple[Array, Array, Array, Array]:
    """Return the weighted mean of difference / form, its sigma, chi-square and how many lines."""
    seen: Mask = np.isfinite(difference) & np.isfinite(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        lever = np.where(seen, form / variance, 0.0)
        total = np.where(seen, lever * form, 0.0).sum(axis=1)
        mean = np.where(seen, lever * difference, 0.0).sum(axis=1) / total
        left = np.where(seen, (difference - form * mean[:, None]) ** 2 / variance, 0.0)
        count = seen.sum(axis=1)
        known = count > 0
        sigma = np.where(known, 1 / np.sqrt(total), np.nan)
    return np.where(known, mean, np.nan), sigma, left.sum(axis=1), count.astype(np.float64)


def _shift(place: Measured, slope: Callable[[Array], Array], first: int) -> Array:
    """Return the common shift, sigma, chi-square and how many lines, (4, n)."""
    reference, variance = _reference(place, first)
    form = np.broadcast_to(slope(reference), place.value.shape)
    spread = _variance(place, variance, np.ones((len(place.value), 1)), first)
    return np.stack(_common(place.value - reference, form, spread))


def _scale(area: Measured, first: int) -> Array:
    """Return the common factor of the areas, sigma, chi-square and how many lines, (4, n)."""
    reference, variance = _reference(area, first)
    there = reference > PRESENT * np.sqrt(variance)
    form = np.broadcast_to(np.where(there, reference, np.nan), area.value.shape)
    scale = np.ones(len(area.value))
    for _ in range(3):
        # the reference's error is scaled by a factor that is only known afterwards
        spread = _variance(area, variance, np.nan_to_num(scale, nan=1.0)[:, None], first)
        found = _common(np.where(there, area.value, np.nan), form, spread)
        scale = found[0]
    return np.stack(found)


def _labelled(tracks: xr.Dataset, numbers: Array, unit: str, rate: float) -> xr.Dataset:
    shift, shift_sigma, shift_chi2, shift_lines = numbers[:4]
    scale, scale_sigma, scale_chi2, scale_lines = numbers[4:]
    each = 1 - (1 - rate) ** (1 / max(tracks.sizes["time"], 1))
    result = xr.Dataset(coords={n: c for n, c in tracks.coords.items() if "line" not in c.dims})
    code = np.zeros(tracks.sizes["time"], np.int32)
    for name, value, sigma, chi2, lines, rest, units in (
        ("shift", shift, shift_sigma, shift_chi2, shift_lines, 0.0, unit),
        ("scale", scale, scale_sigma, scale_chi2, scale_lines, 1.0, "1"),
    ):
        spare = np.nan_to_num(lines) - 1
        enough = spare >= 1
        chi2r = np.where(enough, chi2 / np.maximum(spare, 1), np.nan)
        alike = np.where(enough, chi_square.sf(chi2, np.maximum(spare, 1)), np.nan)
        with np.errstate(invalid="ignore"):
            changed = enough & (2 * norm.sf(np.abs(value - rest) / sigma) < each)
            differ = enough & (alike < each)
        code |= np.where(differ, ASSESSMENT[f"{name}s_differ"], 0).astype(np.int32)
        code |= np.where(changed & ~differ, ASSESSMENT[f"common_{name}"], 0).astype(np.int32)
        if name == "shift":
            code |= np.where(enough, 0, ASSESSMENT["too_few_lines"]).astype(np.int32)
        told = f"what is common to the {'shifts' if name == 'shift' else 'areas'} of all lines"
        link = {"ancillary_variables": f"common_{name}_sigma"}
        for key, values, about, facts in (
            (f"common_{name}", value, told, {"units": units} | link),
            (f"common_{name}_sigma", sigma, f"standard deviation of {told}", {"units": units}),
            (f"{name}_chi2r", chi2r, f"reduced chi-square of lines that {name} together", {}),
            (f"{name}_probability", alike, "probability that lines alike differ as much", {}),
            (f"{name}_lines", np.nan_to_num(lines).astype(np.int32), "lines compared", {}),
        ):
            result[key] = ("time", values, {"units": "1", "long_name": about} | facts)
    flags = flag_attributes(ASSESSMENT) | {"cautions": np.int32(OBSERVATIONS)}
    result["assessment"] = ("time", code, flags)
    return result
