"""What tracked lines leave of themselves: the misfit of their profile, learnt where they are.

The profile of a strong line is never quite that of the model. Where the line stands still, the
mean of the reference holds the misfit; where it moves, the misfit moves with it and looks like new
lines on its flanks (half-widths that differ by 5 % score 10 sigma beside a line of 700 counts on
200, and chi-square shows nothing). In the frame of the line, u = (x - centre) / FWHM, and in units
of its height it is the same in all frames: there it is averaged over the reference and taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.detect.frame_series import Series, reference_mean
from operando.errors import RequestError
from operando.observables.lines.profiles import profile

Array = npt.NDArray[np.float64]

EXTENT = 4.0
"""How far from the centre misfit is learnt, in FWHM."""
STEP = 0.1
"""Bins of the template, in FWHM."""
SMOOTH = 9
"""Points over which the background beside the lines is averaged."""
BINS = round(2 * EXTENT / STEP) + 1
ROUNDS = 3
HEIGHT = 0.1
"""Share of its largest height that a line needs in the reference to have a template of its own."""


@dataclass(frozen=True)
class Tracks:
    """Tracked lines in the frames of a series: (n, k), centre and width known in all frames."""

    names: list[str]
    area: Array
    """On the scale of the series."""
    area_sigma: Array
    centre: Array
    fwhm: Array
    eta: Array
    doublet: tuple[float, float] = (1.0, 0.0)
    """Wavelength of a second line over that of the first, and its share of the area."""

    @property
    def height(self) -> Array:
        """What the profile reaches at the centre."""
        middle = np.array(0.0)
        return self.area * profile(middle, centre=middle, fwhm=self.fwhm, eta=self.eta)


def read_tracks(tracks: xr.Dataset, time: npt.NDArray[np.datetime64], series: Series) -> Tracks:
    """Return the lines of `track_peaks` at the stamps of a series; absent lines have no area.

    Raises
    ------
    RequestError
        Tracks of other frames, or without area, centre and fwhm.
    """
    missing = [n for n in ("area", "area_sigma", "centre", "fwhm") if n not in tracks]
    if missing:
        raise RequestError(f"tracks: no {missing[0]!r}; expected what track_peaks returns")
    here = tracks.transpose("time", "line").sel(time=np.isin(tracks["time"].values, time))
    if here.sizes["time"] != len(time):
        raise RequestError(
            f"tracks: {here.sizes['time']} of the {len(time)} frames are in them; track the same "
            "frames"
        )
    area, error, centre, fwhm = (
        here[n].values.astype(float) for n in ("area", "area_sigma", "centre", "fwhm")
    )
    if "eta" in here:
        eta = here["eta"].values.astype(float)
    else:
        eta = np.full(area.shape, 1.0 if tracks.attrs.get("profile") == "lorentzian" else 0.0)
    known = np.isfinite(centre) & np.isfinite(fwhm) & (fwhm > 0) & _believed(here)
    kept = known.any(axis=0)
    centre, fwhm, eta = (_held(part[:, kept], known[:, kept]) for part in (centre, fwhm, eta))
    scale = series.scale[:, None]
    return Tracks(
        [str(name) for name in here["line"].values[kept]],
        np.nan_to_num(area[:, kept]) / scale,
        np.nan_to_num(error[:, kept], nan=np.inf) / scale,
        centre,
        fwhm,
        eta,
        _doublet(tracks),
    )


def _doublet(tracks: xr.Dataset) -> tuple[float, float]:
    """Return ratio of the wavelengths and share of the second line, of the whole area."""
    told = tracks.attrs.get("doublet", "none")
    if isinstance(told, str):
        return 1.0, 0.0
    ratio, intensity = (float(number) for number in told)
    return ratio, intensity / (1.0 + intensity)


def _believed(tracks: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Whether there is a line to believe in: a bend of the background ends at a bound."""
    if "assessment" not in tracks:
        return np.ones(tracks["area"].shape, dtype=bool)
    verdict = tracks["assessment"]
    return np.asarray((verdict.values & ~int(verdict.attrs.get("cautions", 0))) == 0)


def _held(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Fill what is not known with the last value that is, or the first."""
    out = np.empty_like(values)
    frames = np.arange(len(values))
    for line in range(values.shape[1]):
        seen = np.flatnonzero(known[:, line])
        latest = np.clip(np.searchsorted(seen, frames, side="right") - 1, 0, None)
        out[:, line] = np.nan_to_num(values[seen[latest], line])
    return out


def without_lines(series: Series, tracks: Tracks) -> Series:
    """Return a series that expects the tracked lines where they are, with their misfit."""
    models = np.zeros(series.values.shape)
    for line in range(len(tracks.names)):
        models += _model(series.axis, tracks, line, slice(None))
    left = np.nan_to_num(series.values - models)
    height = np.maximum(tracks.height, 0.0)
    reference = slice(0, series.reference)
    weak = height[reference].mean(axis=0) < HEIGHT * height.max(axis=0)
    covered = _covered(series, tracks)
    misfit = np.zeros_like(models)
    for _ in range(ROUNDS):
        rest = reference_mean(left - misfit, series.share, series.reference)
        own = np.where(covered, left[reference] - _bridged(rest, covered), 0.0)
        template = _learn(series, tracks, own, height[reference])
        template[weak] = _usual(template, height[reference], weak)
        misfit = _misfit(series.axis, tracks, height, template)
    lines = models + misfit
    rest = reference_mean(np.nan_to_num(series.values) - lines, series.share, series.reference)
    return replace(series, rest=rest, expected=rest + lines, lines=lines)


def _model(axis: Array, tracks: Tracks, line: int, rows: slice) -> Array:
    centre, fwhm, eta = (
        part[rows, line, None] for part in (tracks.centre, tracks.fwhm, tracks.eta)
    )
    ratio, second = tracks.doublet
    shape = (1.0 - second) * profile(axis, centre=centre, fwhm=fwhm, eta=eta)
    if second > 0.0:
        # Bragg: the same spacing at another wavelength
        sine = np.minimum(ratio * np.sin(np.deg2rad(centre) / 2.0), 1.0)
        other = 2.0 * np.rad2deg(np.arcsin(sine))
        shape += second * profile(axis, centre=other, fwhm=fwhm, eta=eta)
    return np.asarray(tracks.area[rows, line, None] * shape)


def _covered(series: Series, tracks: Tracks) -> npt.NDArray[np.bool_]:
    """Points that a line of the reference comes near."""
    rows = slice(0, series.reference)
    reach = EXTENT * tracks.fwhm[rows]
    low = (tracks.centre[rows] - reach).min(axis=0)
    high = (tracks.centre[rows] + reach).max(axis=0)
    inside = (series.axis[:, None] > low) & (series.axis[:, None] < high)
    return np.asarray(inside.any(axis=1))


def _bridged(pattern: Array, covered: npt.NDArray[np.bool_]) -> Array:
    """Return the pattern with a straight line where lines cover it."""
    free = np.flatnonzero(~covered)
    if free.size < 2:
        return np.zeros_like(pattern)
    half = SMOOTH // 2
    ends = np.pad(pattern[free], half, mode="edge")
    smooth = np.convolve(ends, np.ones(SMOOTH) / SMOOTH, "valid")
    straight = np.interp(np.arange(pattern.size), free, smooth)
    return np.where(covered, straight, pattern)


def _learn(series: Series, tracks: Tracks, left: Array, height: Array) -> Array:
    """Return what lines leave, over their height, in bins of u, (k, b); empty bins interpolated.

    Where lines overlap, each answers for what is left in proportion to its own profile.
    """
    rows = slice(0, series.reference)
    models = [np.maximum(_model(series.axis, tracks, i, rows), 0.0) for i in range(height.shape[1])]
    total = np.maximum(sum(models), 1e-300)
    template = np.zeros((height.shape[1], BINS))
    for line, model in enumerate(models):
        place = _place(series.axis, tracks, line, rows)
        inside = (place >= 0) & (place <= BINS - 1)
        at = np.rint(place[inside]).astype(int)
        tall = np.broadcast_to(height[:, line, None], place.shape)[inside]
        weight = np.broadcast_to(series.share[rows, None], place.shape)[inside]
        own = (left * model / total)[inside]
        bottom = np.bincount(at, weight * tall**2, minlength=BINS)
        filled = np.flatnonzero(bottom > 0)
        if filled.size > 1:
            top = np.bincount(at, weight * tall * own, minlength=BINS)
            template[line] = np.interp(
                np.arange(BINS), filled, (top / np.maximum(bottom, 1e-300))[filled]
            )
    return template


def _place(axis: Array, tracks: Tracks, line: int, rows: slice) -> Array:
    """Return the bin of each point in the frame of a line, not rounded."""
    u = (axis - tracks.centre[rows, line, None]) / tracks.fwhm[rows, line, None]
    return np.asarray((u + EXTENT) / STEP)


def _usual(template: Array, height: Array, weak: npt.NDArray[np.bool_]) -> Array:
    """Return the mean template of the lines the reference has: asymmetry is the instrument's."""
    weight = np.where(weak, 0.0, (height**2).sum(axis=0))
    return np.asarray(weight @ template / max(weight.sum(), 1e-300))


def _misfit(axis: Array, tracks: Tracks, height: Array, template: Array) -> Array:
    """Return the misfit of all lines in every frame, (n, m)."""
    out = np.zeros((len(height), axis.size))
    for line, shape in enumerate(template):
        reach = EXTENT * tracks.fwhm[:, line]
        low = (tracks.centre[:, line] - reach).min()
        high = (tracks.centre[:, line] + reach).max()
        part = slice(*np.searchsorted(axis, (low, high)))
        place = _place(axis[part], tracks, line, slice(None))
        found = np.interp(place, np.arange(BINS), shape, left=0.0, right=0.0)
        out[:, part] += height[:, line, None] * found
    return out
