"""Area, position and width of declared lines through a series of patterns or spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.errors import RequestError
from operando.model import category_attributes
from operando.observables.line_tracks import ASSESSMENT, NUMBERS, Shape, learn_shape, track
from operando.observables.pseudo_voigt import Array

LEARNT_FROM = 64
"""Frames, spread evenly over the series, that the shapes of its lines are learnt from."""


@dataclass(frozen=True)
class Window:
    """A stretch of the axis that holds one or more lines on a straight background."""

    name: str
    low: float
    high: float
    lines: tuple[float, ...]
    """Where the lines are at first, in the unit of the axis."""

    @property
    def labels(self) -> list[str]:
        """Names of its lines: the window's own, numbered where there are several."""
        if len(self.lines) == 1:
            return [self.name]
        return [f"{self.name}_{number}" for number in range(1, len(self.lines) + 1)]


def track_peaks(
    intensity: xr.DataArray,
    *,
    windows: Sequence[Window],
    sigma: xr.DataArray | None = None,
) -> xr.Dataset:
    """Follow lines through a series by fitting pseudo-Voigts on a straight local background.

    Each frame is fitted on its own: a matched search for the common shift of the window's lines,
    then Levenberg-Marquardt over areas, centres, widths and background. The Lorentzian share eta is
    one number a line for the whole series, learnt beforehand from at most 64 frames spread evenly
    over it (read at once, also from a lazy series); eta free in every frame makes areas of weak
    lines twice as uncertain and their error bars wrong. A line under 4 sigma has no measurable
    shape: only its signed area is fitted, at the centre and width the series usually has.

    Parameters
    ----------
    intensity
        On (time, axis), numpy or dask; the axis ascending.
    windows
        Where the lines are; a window needs room for the way its lines move, and some background.
    sigma
        Of `intensity`, as the file gives it. When None, `intensity` is taken for counts and fitted
        by Poisson maximum likelihood.

    Returns
    -------
    Dataset
        On (time, line), with the coordinates of `intensity` on time: `area`, `centre`, `fwhm`,
        `eta`, `background` (at the centre), each with `_sigma`; `chi2r` of the window and
        `assessment`. Lazy where `intensity` is, and equal for any chunking. Sigma is statistical,
        and conditional on the shared eta: where `chi2r` exceeds 1.5 the profile or the weights are
        wrong, and sqrt(chi2r) sigma is the smallest error bar to believe.

    Raises
    ------
    RequestError
        No window, two lines of one name, a window with too few points or a line outside it, an
        axis that does not ascend, a sigma on other dimensions.

    Notes
    -----
    Fails on asymmetric lines (below some 10 degrees on flat detectors: the centre is biased by many
    sigma) and on alpha1/alpha2 doublets, which are not modelled. A declared line that is absent
    while another in its window is present leaves the other's name to whichever is nearer.
    """
    axis = _check(intensity, windows, sigma)
    grid = intensity[axis].values.astype(float)
    series = [intensity] if sigma is None else [intensity, sigma.transpose(*intensity.dims)]
    picked = np.unique(np.linspace(0, intensity.sizes["time"] - 1, LEARNT_FROM).round().astype(int))
    sample = [_values(part.isel(time=picked)) for part in series]
    plan: list[tuple[slice, Shape]] = []
    for window in windows:
        part = slice(*np.searchsorted(grid, (window.low, np.nextafter(window.high, np.inf))))
        cut = [values[:, part] for values in sample]
        shape = learn_shape(grid[part], cut[0], _weight(*cut[1:]), lines=np.array(window.lines))
        plan.append((part, shape))
    # Only the data: `DataArray.chunk` would make the coordinates on time lazy, too.
    lazy = [
        part.copy(data=part.data.rechunk({part.get_axis_num(axis): -1})) if part.chunks else part
        for part in series
    ]
    labels = [label for window in windows for label in window.labels]
    results = xr.apply_ufunc(
        partial(_measure, grid=grid, plan=plan),
        *lazy,
        input_core_dims=[[axis]] * len(lazy),
        output_core_dims=[["line"]] * (2 * len(NUMBERS) + 2),
        output_dtypes=[np.float64] * (2 * len(NUMBERS) + 1) + [np.int32],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"line": len(labels)}},
    )
    return _labelled(results, labels, intensity, axis)


def _check(intensity: xr.DataArray, windows: Sequence[Window], sigma: xr.DataArray | None) -> str:
    if intensity.ndim != 2 or intensity.dims[0] != "time":
        raise RequestError(f"intensity: dimensions {intensity.dims!r}; expected time and one axis")
    axis = str(intensity.dims[1])
    grid = intensity[axis].values
    if not np.all(np.diff(grid) > 0):
        raise RequestError(f"{axis}: not ascending; sort it and merge points at the same value")
    if sigma is not None and set(sigma.dims) != set(intensity.dims):
        raise RequestError(f"sigma: dimensions {sigma.dims!r}; expected {intensity.dims!r}")
    labels = [label for window in windows for label in window.labels]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if not labels or twice:
        raise RequestError(f"windows: lines {labels!r}; expected one or more, each named once")
    for window in windows:
        inside = np.count_nonzero((grid >= window.low) & (grid <= window.high))
        needed = 4 * len(window.lines) + 4
        if inside < needed:
            raise RequestError(
                f"window {window.name!r}: {inside} points in {window.low!r}-{window.high!r}; at "
                f"least {needed} are needed and the data span {grid[0]:g}-{grid[-1]:g}"
            )
        outside = [line for line in window.lines if not window.low < line < window.high]
        if outside or not window.lines:
            raise RequestError(
                f"window {window.name!r}: lines {window.lines!r}; expected inside "
                f"{window.low!r}-{window.high!r}"
            )
    return axis


def _values(part: xr.DataArray) -> Array:
    return np.asarray(part.values, dtype=float)


def _weight(sigma: Array | None = None) -> Array | None:
    if sigma is None:
        return None
    return np.where(sigma > 0, 1.0 / np.where(sigma > 0, sigma, 1.0) ** 2, 0.0)


def _measure(
    y: Array, sigma: Array | None = None, *, grid: Array, plan: list[tuple[slice, Shape]]
) -> tuple[npt.NDArray[np.generic], ...]:
    """Track all windows of a block: value and sigma of each number, chi2r, assessment, (n, k)."""
    y = np.asarray(y, dtype=float)
    if y.shape[0] == 0:
        raise RequestError("intensity: no frames; expected one or more along time")
    weight = _weight(sigma)
    parts = [
        track(grid[part], y[:, part], None if weight is None else weight[:, part], shape=shape)
        for part, shape in plan
    ]
    values, sigmas, summary = (np.concatenate(p, axis=2) for p in zip(*parts, strict=True))
    numbers = [array[:, at] for at in range(len(NUMBERS)) for array in (values, sigmas)]
    return (*numbers, summary[:, 0], summary[:, 1].astype(np.int32))


def _labelled(
    results: tuple[xr.DataArray, ...], labels: list[str], intensity: xr.DataArray, axis: str
) -> xr.Dataset:
    along = str(intensity[axis].attrs.get("units", "1"))
    counts = str(intensity.attrs.get("units", "1"))
    about = {
        "area": (f"{counts} * {along}", "area of the line"),
        "centre": (along, "centre of the line"),
        "fwhm": (along, "full width at half maximum of the line"),
        "eta": ("1", "Lorentzian share of the line, one number for the series"),
        "background": (counts, "background at the centre of the line"),
    }
    dataset = xr.Dataset(coords={"line": labels})
    for name, value, sigma in zip(NUMBERS, results[0:-2:2], results[1:-2:2], strict=True):
        units, meaning = about[name]
        dataset[name] = value.assign_attrs(
            units=units, long_name=meaning, ancillary_variables=f"{name}_sigma"
        )
        dataset[f"{name}_sigma"] = sigma.assign_attrs(
            units=units, long_name=f"statistical standard deviation of the {meaning}"
        )
    dataset["chi2r"] = results[-2].assign_attrs(
        units="1", long_name="reduced chi-square of the window"
    )
    dataset["assessment"] = results[-1].assign_attrs(category_attributes(ASSESSMENT))
    return dataset.assign_attrs(signal=str(intensity.name), axis=axis)
