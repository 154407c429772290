"""Whether a series of Raman spectra can be compared with itself: focus, laser, treatment, return.

The bands of the solid electrolyte should not change while the cell is cycled. Where they move or
lose area it is the focus or the laser that did, and no other band of that moment can be believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import chdtrc

from operando import arguments
from operando.errors import RequestError
from operando.model import STATES, flag_attributes, positions
from operando.observables.lines.flags import ASSESSMENT

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

QUALITY: dict[str, int] = {
    "shifted": 1,
    "focus": 2,
    "unsteady": 4,
    "no_reference": 8,
    "treated_otherwise": 16,
    "not_returned": 32,
}
"""`assessment` of a frame by the bands that should not change; 0 is success.

`shifted`: the reference bands lie more than three sigma from where they were before cycling: the
laser or the spectrometer drifted. `focus`: their area is off by more than 10 %, and three sigma.
`unsteady`: over the eleven measurements around, their area varies by 10 % or more, noise apart.
`no_reference`: they could not be measured at that time, so that nothing is known. Each holds for
the frames of all positions that are nearest in time to that measurement. `treated_otherwise`: the
frame was exposed or corrected in another way than most, or a correction failed.

Caution: `not_returned`: at the same voltage of the same half of the cycle before, the other bands
had areas that differ by more than 10 %, which noise alone does once in a thousand frames.
"""
CAUTIONS = ("not_returned",)
SIGMAS = 3.0
TOLERATED = 0.1
AROUND = 5
"""Measurements on each side that `unsteady` looks at."""
FEWEST = 3
BY_CHANCE = 1e-3
TREATMENT = ("exposure", "cosmic_ray_rule", "laser_power")
"""Coordinates on time that say how a frame was made, as far as they are there."""
FAILED: dict[str, int] = {"baseline_flag": -1, "scale_flag": -1, "shift_flag": 16 | 32}
"""Flags of corrections, and the bits that mean a correction failed."""
STILL = (STATES["unknown"], STATES["rest"])


@dataclass(frozen=True)
class _Reference:
    """The reference bands in k measurements: numbers and sigma, NaN where they are unknown."""

    shift: Array
    shift_sigma: Array
    area: Array
    area_sigma: Array
    variation: Array


def band_quality(
    tracks: xr.Dataset,
    *,
    reference: Sequence[str],
    position: str | None = None,
    baseline: int | None = None,
    along: str = "voltage",
) -> xr.Dataset:
    """Judge every frame by bands that should not change, and compare cycles at the same state.

    Shift and area of the reference bands are weighted means over the bands: of the centre less its
    median before cycling, and of the area over its median. Sigma of the shift contains the scatter
    that it had before cycling. Frames of other positions have the numbers of the measurement of the
    reference that is nearest in time.

    Parameters
    ----------
    tracks
        From `track_peaks`, with the coordinates that `align` gives, and `position` where several
        places were visited in turn.
    reference
        The lines that should not change.
    position
        The one that shows them, where there are several.
    baseline
        How many leading frames (of that position) count as before cycling; None takes those before
        the current first flows, by the coordinate `state`.
    along
        Coordinate on time that says where in a half-cycle a frame is; `half_cycle_capacity` on a
        plateau.

    Returns
    -------
    Dataset
        On time: `reference_shift` (as the axis of the tracks) and `reference_area` (1 before
        cycling), both with `_sigma`; `reference_variation`, the coefficient of variation of the
        area over eleven measurements, noise subtracted; `return_distance`, with sigma, how far the
        areas of all other lines are from those of the cycle before, in parts of these (root of the
        sums of squares), interpolated along the same half of the cycle before at the same
        position; `return_chi2`, the mean square of the same differences in sigma; `assessment`
        (bits, see `QUALITY`).

    Raises
    ------
    RequestError
        No tracks, a line or position that is not there, several positions and none named, fewer
        than three measurements of a reference line before cycling.

    Notes
    -----
    Fails where the electrolyte itself reacts: a reference band that is consumed looks like a loss
    of focus. A real change that does not return is not a fault of the frame: `not_returned` is the
    finding, not a reason to leave it out. Errors that all points share (normalisation) are not in
    the sigma of areas, nor in `return_chi2`.
    """
    series, lines = _checked(tracks, reference)
    rows = _shown(series, position)
    before = _before(series, rows, baseline)
    found = _reference(series.sel(line=list(lines)).isel(time=rows), before)
    nearest = _nearest(series["time"].values, rows)
    verdict = np.zeros(series.sizes["time"], np.int32)
    with np.errstate(invalid="ignore"):
        off = np.abs(found.area - 1)
        wrong = {
            "shifted": np.abs(found.shift) > SIGMAS * found.shift_sigma,
            "focus": (off > TOLERATED) & (off > SIGMAS * found.area_sigma),
            "unsteady": found.variation >= TOLERATED,
            "no_reference": ~np.isfinite(found.shift) | ~np.isfinite(found.area),
        }
    for name, bad in wrong.items():
        verdict |= np.where(bad[nearest], QUALITY[name], 0).astype(np.int32)
    verdict |= np.where(_otherwise(series), QUALITY["treated_otherwise"], 0).astype(np.int32)
    others = [str(name) for name in series["line"].values if name not in lines]
    distance, spread, chi2, count = _returns(series.sel(line=others), along)
    unlikely = chdtrc(count, np.where(count > 0, chi2 * count, 0.0)) < BY_CHANCE
    gone = unlikely & (distance > TOLERATED)
    verdict |= np.where(gone, QUALITY["not_returned"], 0).astype(np.int32)
    of_reference = {
        "reference_shift": found.shift,
        "reference_shift_sigma": found.shift_sigma,
        "reference_area": found.area,
        "reference_area_sigma": found.area_sigma,
        "reference_variation": found.variation,
    }
    numbers = {name: values[nearest] for name, values in of_reference.items()}
    numbers |= {"return_distance": distance, "return_distance_sigma": spread, "return_chi2": chi2}
    return _labelled(series, numbers, verdict).assign_attrs(
        reference=list(lines),
        reference_position=position or "",
        along=along,
        before=int(before.sum()),
    )


def _checked(tracks: xr.Dataset, reference: Sequence[str]) -> tuple[xr.Dataset, tuple[str, ...]]:
    series = arguments.dataset("tracks", tracks)
    lacking = [name for name in ("area", "centre") if name not in series or "line" not in series]
    if lacking:
        raise RequestError(
            f"tracks: no {lacking[0]!r} on time and line; pass what track_peaks gave"
        )
    names = [str(name) for name in series["line"].values]
    lines = (reference,) if isinstance(reference, str) else tuple(reference)
    strange = [name for name in lines if name not in names]
    if strange or not lines:
        raise RequestError(f"reference: {list(lines)!r}; expected one or more of {names}")
    return series.compute(), lines


def _shown(series: xr.Dataset, position: str | None) -> Index:
    known = positions(series)
    if position is None and len(known) > 1:
        raise RequestError(f"position: None; expected one of {list(known)}, with the bands")
    if position is not None and position not in known:
        raise RequestError(f"position: {position!r}; expected one of {list(known)}")
    return known[position] if position is not None else np.arange(series.sizes["time"])


def _before(series: xr.Dataset, rows: Index, baseline: int | None) -> Mask:
    """Return which measurements of the reference were made before cycling, (k,)."""
    if baseline is not None:
        count = arguments.whole("baseline", baseline, lambda n: n >= FEWEST, f"{FEWEST} or more")
        return np.arange(rows.size) < count
    if "state" not in series.coords:
        raise RequestError("baseline: no coordinate 'state' says when cycling began; give a number")
    moving = ~np.isin(series["state"].values, STILL)
    first = int(np.argmax(moving)) if moving.any() else moving.size
    return np.asarray(rows < first)


def _believed(part: xr.Dataset, *, despite: int = 0) -> Mask:
    """Return where numbers of tracks may be used, (n, lines), whatever the bits `despite` say."""
    good = np.isfinite(part["area"].values) & np.isfinite(part["area_sigma"].values)
    if "assessment" in part:
        allowed = int(part["assessment"].attrs.get("cautions", 0)) | despite
        good &= (part["assessment"].values & ~allowed) == 0
    return np.asarray(good)


def _reference(part: xr.Dataset, before: Mask) -> _Reference:
    good = _believed(part) & np.isfinite(part["centre"].values)
    enough = (good & before[:, None]).sum(axis=0)
    if enough.min() < FEWEST:
        worst = str(part["line"].values[int(np.argmin(enough))])
        raise RequestError(
            f"reference: {worst!r} was measured {enough.min()} times before cycling; expected "
            f"{FEWEST} or more: choose another line, or give baseline"
        )
    usual = {}
    for name in ("centre", "area"):
        known = np.where(good & before[:, None], part[name].values, np.nan)
        usual[name] = np.nanmedian(known, axis=0)
    shift, shift_sigma = _weighted(
        part["centre"].values - usual["centre"], part["centre_sigma"].values, good
    )
    area, area_sigma = _weighted(
        part["area"].values / usual["area"], part["area_sigma"].values / usual["area"], good
    )
    own = shift[before & np.isfinite(shift)]
    scatter = 1.4826 * float(np.median(np.abs(own - np.median(own))))
    return _Reference(
        shift=shift,
        shift_sigma=np.maximum(shift_sigma, scatter),
        area=area,
        area_sigma=area_sigma,
        variation=_variation(area, area_sigma),
    )


def _weighted(values: Array, sigma: Array, good: Mask) -> tuple[Array, Array]:
    """Return the weighted mean over lines of values (k, lines), and its sigma, (k,)."""
    usable = good & (sigma > 0)
    weight = np.where(usable, 1 / np.where(usable, sigma, 1.0) ** 2, 0.0)
    total = weight.sum(axis=1)
    known = total > 0
    total = np.where(known, total, 1.0)
    mean = (weight * np.where(usable, values, 0.0)).sum(axis=1) / total
    return np.where(known, mean, np.nan), np.where(known, total**-0.5, np.nan)


def _variation(area: Array, sigma: Array) -> Array:
    """Return the coefficient of variation over the measurements around each, noise subtracted."""
    found = np.full(area.size, np.nan)
    for at in range(area.size):
        around = slice(max(at - AROUND, 0), at + AROUND + 1)
        values, noise = area[around], sigma[around]
        there = np.isfinite(values) & np.isfinite(noise)
        if there.sum() >= FEWEST and values[there].mean() > 0:
            excess = values[there].var(ddof=1) - np.square(noise[there]).mean()
            found[at] = np.sqrt(max(excess, 0.0)) / values[there].mean()
    return found


def _nearest(time: npt.NDArray[np.datetime64], rows: Index) -> Index:
    """Return for every frame the place in `rows` of the one nearest in time, (n,)."""
    stamps = time.astype("datetime64[ns]").astype(np.int64)
    own = stamps[rows]
    after = np.clip(np.searchsorted(own, stamps), 1, max(own.size - 1, 1))
    earlier = stamps - own[after - 1]
    later = own[np.minimum(after, own.size - 1)] - stamps
    return np.where(later < earlier, np.minimum(after, own.size - 1), after - 1)


def _otherwise(series: xr.Dataset) -> Mask:
    """Return the frames that were made or corrected in another way than most, (n,)."""
    odd = np.zeros(series.sizes["time"], bool)
    for name in TREATMENT:
        if name in series.coords and series[name].dims == ("time",):
            values, inverse, counts = np.unique(
                series[name].values, return_inverse=True, return_counts=True, equal_nan=True
            )
            usual = values[np.argmax(counts)]
            same = values == usual
            if values.dtype.kind == "f":
                same = np.isclose(values, usual, rtol=1e-3, atol=0.0, equal_nan=True)
            odd |= ~same[inverse]
    for name, bits in FAILED.items():
        if name in series.coords:
            odd |= (series[name].values & bits) != 0
    return odd


def _returns(part: xr.Dataset, along: str) -> tuple[Array, Array, Array, npt.NDArray[np.int64]]:
    """Return distance, its sigma, mean square in sigma, and number of lines, (n,) each."""
    frames = part.sizes["time"]
    distance, spread, chi2 = (np.full(frames, np.nan) for _ in range(3))
    count = np.zeros(frames, np.int64)
    if not {"half_cycle", "state", along} <= set(part.coords) or not part.sizes["line"]:
        return distance, spread, chi2, count
    half, state = part["half_cycle"].values, part["state"].values
    place = part[along].values.astype(float)
    # a band that is gone has an area: that it went is what matters most
    good = _believed(part, despite=ASSESSMENT["weak"])
    value, sigma = (np.where(good, part[name].values, np.nan) for name in ("area", "area_sigma"))
    moving = ~np.isin(state, STILL) & np.isfinite(place) & (half >= 0)
    for rows in positions(part).values():
        own = rows[moving[rows]]
        for number in np.unique(half[own]):
            now, past = own[half[own] == number], own[half[own] == number - 2]
            if past.size < 2:
                continue
            was, was_sigma = _interpolated(place[now], place[past], value[past], sigma[past])
            apart, error = value[now] - was, np.hypot(sigma[now], was_sigma)
            there = np.isfinite(apart) & np.isfinite(error) & (error > 0)
            count[now] = there.sum(axis=1)
            pull = np.where(there, apart / np.where(there, error, 1.0), 0.0)
            square = np.where(there, apart, 0.0) ** 2
            length = np.sqrt(np.square(np.where(there, was, 0.0)).sum(axis=1))
            size = np.sqrt(square.sum(axis=1))
            with np.errstate(invalid="ignore", divide="ignore"):
                noise = np.sqrt((square * np.where(there, error, 0.0) ** 2).sum(axis=1)) / size
                distance[now], spread[now] = size / length, noise / length
                chi2[now] = np.square(pull).sum(axis=1) / count[now]
    return distance, spread, chi2, count


def _interpolated(at: Array, x: Array, values: Array, sigma: Array) -> tuple[Array, Array]:
    """Return values (k, lines) on x (k,) at other places (n,), and sigma; NaN outside of x."""
    order = np.argsort(x, kind="stable")
    x, values, sigma = x[order], values[order], sigma[order]
    right = np.clip(np.searchsorted(x, at), 1, x.size - 1)
    step = x[right] - x[right - 1]
    share = np.where(step > 0, (at - x[right - 1]) / np.where(step > 0, step, 1.0), 0.5)[:, None]
    found = (1 - share) * values[right - 1] + share * values[right]
    spread = np.hypot((1 - share) * sigma[right - 1], share * sigma[right])
    outside = ((at < x[0]) | (at > x[-1]))[:, None]
    return np.where(outside, np.nan, found), np.where(outside, np.nan, spread)


def _labelled(
    series: xr.Dataset, numbers: dict[str, Array], verdict: npt.NDArray[np.int32]
) -> xr.Dataset:
    unit = str(series["centre"].attrs.get("units", "1"))
    about = {
        "reference_shift": (unit, "shift of the reference bands since before cycling"),
        "reference_area": ("1", "area of the reference bands over that before cycling"),
        "reference_variation": ("1", "coefficient of variation of the area around this frame"),
        "return_distance": ("1", "change of the other bands since the same state a cycle before"),
        "return_chi2": ("1", "the same, mean square in sigma"),
    }
    riding: dict[str, Any] = {
        str(name): part for name, part in series.coords.items() if part.dims in (("time",), ())
    }
    result = xr.Dataset(coords=riding)
    for name, values in numbers.items():
        units, meaning = about[name.removesuffix("_sigma")]
        if name.endswith("_sigma"):
            meaning = f"standard deviation of the {meaning}"
        result[name] = ("time", values, {"units": units, "long_name": meaning})
        if f"{name}_sigma" in numbers:
            result[name].attrs["ancillary_variables"] = f"{name}_sigma"
    bits: dict[str, Any] = {**flag_attributes(QUALITY)}
    bits["cautions"] = sum(QUALITY[name] for name in CAUTIONS)
    result["assessment"] = ("time", verdict, bits)
    return result
