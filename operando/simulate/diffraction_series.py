"""A series of powder patterns of which every line is known: six lines, drifting background.

Counts are Poisson. `solid` moves by 0.30 degree and back, `broad` moves the other way and becomes
2.2 times as wide, `parent` gives way to `daughter`, two widths beside it, `standard` stands still
and `newborn` appears at 60 % of the series. What real patterns have besides is optional: asymmetry,
a K-alpha doublet, a cell part whose few grains come and go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.observables import Doublet, Window

Array = npt.NDArray[np.float64]

TWO_THETA: Array = 8.0 + 0.01 * np.arange(2000, dtype=np.float64)
SECONDS = 10.0
"""From frame to frame."""
NODES = 12
"""Places on the detector that an axially divergent line is added up from."""

WINDOWS = (
    Window("solid", 8.75, 9.75, (9.4,)),
    Window("broad", 12.2, 13.3, (12.6,)),
    Window("phases", 16.55, 17.6, (17.0, 17.16)),
    Window("standard", 23.0, 24.0, (23.5,)),
    Window("newborn", 19.8, 20.8, (20.3,)),
)
"""Where `track_peaks` finds them; lines of `phases` are parent and daughter."""
NAMES = {
    "solid": "solid",
    "broad": "broad",
    "phases_1": "parent",
    "phases_2": "daughter",
    "standard": "standard",
    "newborn": "newborn",
}
"""Line of the windows -> line of the truth."""
CELL = 12.95
"""Centre of the line of the cell part, in the window of `broad`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the patterns have besides lines and background."""

    scale: float = 1.0
    """Factor of all expected counts."""
    newborn: float = 6.0
    """Area that the newborn line reaches, in counts times degree."""
    asymmetry: float = 0.0
    """Width above the maximum (1 + a), below it (1 - a) times that of the line."""
    divergence: float = 0.0
    """Axial: (sample + slit height) over distance; gives low angles a tail to lower ones."""
    doublet: Doublet | None = None
    cell: float = 0.0
    """Mean area of a line of a cell part with few grains: it varies by half from frame to frame."""


PLAIN = Options()


def truth(frames: int, *, options: Options = PLAIN, seed: int = 0) -> xr.Dataset:
    """Return `area`, `centre`, `fwhm` and `eta` of the lines, on (time, line).

    The area is in counts times degree; with a doublet it is that of both lines, the centre that of
    the first.
    """
    t = np.arange(frames) / max(frames - 1, 1)
    there_and_back = 1.0 - np.abs(2.0 * t - 1.0)
    converted = np.clip((t - 0.2) / 0.5, 0.0, 1.0)
    grown = np.clip((t - 0.6) / 0.15, 0.0, 1.0)
    one = np.ones(frames)
    lines = {
        "solid": (60 + 10 * there_and_back, 9.4 - 0.3 * there_and_back**1.3, 0.07, 0.45),
        "broad": (35 - 5 * there_and_back, 12.6 + 0.22 * there_and_back, 0.075, 0.5),
        "parent": (40 * (1 - converted), 17.0 - 0.01 * t, 0.08, 0.4),
        "daughter": (38 * converted, 17.16 - 0.01 * t, 0.085, 0.4),
        "standard": (90 * one, 23.5 * one, 0.065, 0.35),
        "newborn": (options.newborn * grown, 20.3 + 0.02 * t, 0.11, 0.5),
    }
    if options.cell:
        spots = np.random.default_rng([seed, 1]).lognormal(-0.125, 0.5, frames)
        lines["cell"] = (options.cell * spots, CELL * one, 0.04, 0.3)
    area, centre = (np.stack([line[at] for line in lines.values()], axis=1) for at in (0, 1))
    fwhm, eta = (np.outer(one, [line[at] for line in lines.values()]) for at in (2, 3))
    fwhm[:, 0] += 0.01 * there_and_back
    fwhm[:, 1] *= 1 + 1.2 * there_and_back
    time = np.datetime64("2026-05-04T08:00", "ns") + (
        np.arange(frames) * np.timedelta64(round(SECONDS * 1e9), "ns")
    )
    dims = ("time", "line")
    return xr.Dataset(
        {
            "area": (dims, options.scale * area, {"units": "count * degree"}),
            "centre": (dims, centre, {"units": "degree"}),
            "fwhm": (dims, fwhm, {"units": "degree"}),
            "eta": (dims, eta, {"units": "1"}),
        },
        coords={"time": time, "line": list(lines)},
        attrs={"frames": frames},
    )


def expected(known: xr.Dataset, *, options: Options = PLAIN) -> Array:
    """Return the expected counts of frames whose lines are known, (n, points).

    `known` may be a part of the frames of a series; the background drifts with their time.
    """
    total = _background(known) * options.scale
    for name in known["line"].values:
        line = known.sel(line=name)
        area, centre, fwhm, eta = (
            line[number].values[:, None] for number in ("area", "centre", "fwhm", "eta")
        )
        total += _line(area, centre, fwhm, eta, options)
    return total


def patterns(
    frames: int = 2000, *, options: Options = PLAIN, seed: int = 0
) -> tuple[xr.DataArray, xr.Dataset]:
    """Return a series of patterns, `intensity` on (time, two_theta), and the truth of its lines."""
    known = truth(frames, options=options, seed=seed)
    counts = np.random.default_rng([seed, 0]).poisson(expected(known, options=options))
    return as_intensity(counts.astype(float), known["time"].values), known


def as_intensity(counts: npt.ArrayLike, time: npt.NDArray[np.datetime64]) -> xr.DataArray:
    """Return counts, in memory or lazy, as the signal of a dataset of technique xrd."""
    return xr.DataArray(
        counts,
        dims=("time", "two_theta"),
        coords={"time": time, "two_theta": ("two_theta", TWO_THETA, {"units": "degree"})},
        attrs={"units": "count"},
        name="intensity",
    )


def _background(known: xr.Dataset) -> Array:
    """Return a decay and a hump that drift through the series."""
    start = np.datetime64("2026-05-04T08:00", "ns")
    passed = (known["time"].values - start) / np.timedelta64(1, "s")
    t = (passed / (SECONDS * max(known.attrs["frames"] - 1, 1)))[:, None]
    s = (TWO_THETA - TWO_THETA[0]) / 20.0
    hump = (60 + 25 * t) * np.exp(-0.5 * ((s - 0.42) / 0.16) ** 2)
    return np.asarray(120 + 160 * np.exp(-4 * s) + hump + 10 * np.sin(6 * t))


def _line(area: Array, centre: Array, fwhm: Array, eta: Array, options: Options) -> Array:
    if options.doublet is None:
        return area * _divergent(centre, fwhm, eta, options)
    ratio, share = options.doublet.ratio, options.doublet.intensity
    second = 2.0 * np.degrees(np.arcsin(ratio * np.sin(np.radians(centre / 2.0))))
    both = _divergent(centre, fwhm, eta, options)
    both += share * _divergent(second, fwhm, eta, options)
    return np.asarray(area * both / (1.0 + share))


def _divergent(centre: Array, fwhm: Array, eta: Array, options: Options) -> Array:
    """Return lines of unit area, with their tails of axial divergence.

    Rays out of the plane arrive at cos(2 phi) = cos(2 theta) sqrt(1 + h^2), h from 0 to the largest
    (Finger, Cox & Jephcoat, J. Appl. Cryst. 27 (1994) 892, equal weights for all h).
    """
    if not options.divergence:
        return _pseudo_voigt(centre, fwhm, eta, options.asymmetry)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    total = np.zeros((centre.shape[0], TWO_THETA.size))
    for node, weight in zip(0.5 * (nodes + 1.0), 0.5 * weights, strict=True):
        cosine = np.cos(np.radians(centre)) * np.sqrt(1.0 + (options.divergence * node) ** 2)
        place = np.degrees(np.arccos(cosine))
        total += weight * _pseudo_voigt(place, fwhm, eta, options.asymmetry)
    return total


def _pseudo_voigt(centre: Array, fwhm: Array, eta: Array, asymmetry: float) -> Array:
    """Return pseudo-Voigts of unit area with another width on each side of the maximum."""
    side = np.where(centre <= TWO_THETA, 1.0 + asymmetry, 1.0 - asymmetry)
    u = 2.0 * (TWO_THETA - centre) / (fwhm * side)
    gauss = 2.0 * np.sqrt(np.log(2.0) / np.pi) * np.exp(-np.log(2.0) * u * u)
    lorentz = 2.0 / np.pi / (1.0 + u * u)
    return np.asarray(((1.0 - eta) * gauss + eta * lorentz) / fwhm)
