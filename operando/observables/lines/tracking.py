"""Area, position, width and shape of declared lines through a series of patterns or spectra."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes, positions
from operando.observables.lines.blocks import Course, block_length, chart
from operando.observables.lines.flags import ASSESSMENT, CAUTIONS
from operando.observables.lines.profiles import PROFILES
from operando.observables.lines.results import COLUMNS, NUMBERS, PARTS, numbers
from operando.observables.lines.tracker import Frames
from operando.observables.lines.windows import Doublet, Plan, Range, Window, plan

Array = npt.NDArray[np.float64]

SHAPES = ("shared", "free")
ENOUGH_FRAMES = 2048
"""Smaller chunks are joined up to so many frames: what dask needs for a chunk is then small."""
ENOUGH_BYTES = 2**25
"""Or up to this size."""


def track_peaks(
    intensity: xr.DataArray,
    *,
    windows: Sequence[Window],
    sigma: xr.DataArray | None = None,
    profile: str = "pseudo_voigt",
    doublet: Doublet | None = None,
    shape: str = "shared",
    masked: Sequence[Range] = (),
) -> xr.Dataset:
    """Follow lines through a series by fits, on a straight local background, frame by frame.

    Levenberg-Marquardt over areas, centres, widths and background of the lines of a window, from
    where the frame before ended. The series is cut into blocks of up to 64 frames; their heads are
    read at once, also from a lazy series, and followed first: they say where each block begins, and
    what the shape of a line (Lorentzian share, asymmetry) is, one number for the whole series. A
    share that is free in every frame makes areas of weak lines twice as uncertain and their error
    bars wrong. A line that vanishes is looked for with a wider start, then in the whole window. One
    under 4 sigma (6, once it was) has no measurable shape: its signed area is fitted with the
    centre and width it last had; area + 1.645 sigma is then its upper limit at 95 %.

    Parameters
    ----------
    intensity
        On (time, axis), numpy or dask; the axis ascending. Where it has several `position`s, each
        is a series of its own.
    windows
        Where the lines are; a window needs room for the way its lines move (or `follow`), and some
        background. Lines of cell parts in it are declared as `frozen`.
    sigma
        Of `intensity`, as the file gives it; points of sigma 0 or NaN are left out. When None,
        `intensity` is taken for counts and fitted by Poisson maximum likelihood.
    profile
        `pseudo_voigt`, `split_pseudo_voigt` (another width on each side), `voigt`, `gaussian`,
        `lorentzian` (`operando.observables.lines.profiles`).
    doublet
        Every line is a pair of two wavelengths, on an axis `two_theta`: centre is that of the
        first, area that of both.
    shape
        `shared` over the series, or `free` in every frame.
    masked
        Stretches of the axis whose points are left out.

    Returns
    -------
    Dataset
        On (time, line), with the coordinates of `intensity` on time: `area`, `centre`, `fwhm`,
        `eta` (Lorentzian share; of a Voigt that of its width), `asymmetry`, `background` (at the
        centre); each with `_sigma`, the one to believe, and its parts `_sigma_stat` (noise) and
        `_sigma_syst` (misfit: the total is sqrt(chi2r) of the noise where chi2r exceeds 1.5);
        `chi2r` of the window; `assessment`, bits of `ASSESSMENT`, of which those in its attribute
        `cautions` do not forbid use. Lazy where `intensity` is, and equal, to the bit, for any
        chunking.

    Raises
    ------
    RequestError
        No window, two lines of one name, a window with too few points or a line outside it, an
        axis that does not ascend, a sigma on other dimensions, a doublet on another axis, an
        unknown profile or shape, no frames.

    Notes
    -----
    Sigmas are conditional on the shared shape. Symmetric profiles fail on asymmetric lines (below
    some 10 degrees on flat detectors: the centre is biased by many sigma, `misfit` says so). Lines
    that cross swap names. A declared line that is absent while another in its window is present
    leaves the other's name to whichever is nearer.
    """
    asked = _Request.checked(intensity, windows, sigma, profile, doublet, shape, masked)
    places = list(positions(intensity).values())
    if len(places) == 1:
        return asked.track(intensity, sigma)
    parts = [
        asked.track(intensity.isel(time=rows), None if sigma is None else sigma.isel(time=rows))
        for rows in places
    ]
    order = np.argsort(np.concatenate(places), kind="stable")
    return xr.concat(parts, dim="time", combine_attrs="identical").isel(time=order)


class _Request:
    """What was asked for, checked."""

    def __init__(
        self,
        plans: list[Plan],
        labels: list[str],
        axis: str,
        profile: str,
        doublet: Doublet | None,
        shape: str,
    ) -> None:
        self._plans, self._labels, self._axis = plans, labels, axis
        self._profile, self._doublet, self._shape = profile, doublet, shape

    @classmethod
    def checked(
        cls,
        intensity: xr.DataArray,
        windows: Sequence[Window],
        sigma: xr.DataArray | None,
        profile: str,
        doublet: Doublet | None,
        shape: str,
        masked: Sequence[Range],
    ) -> _Request:
        """Return the request, or raise for what cannot be done."""
        arguments.chosen("profile", profile, list(PROFILES))
        arguments.chosen("shape", shape, SHAPES)
        axis = _axis(intensity, sigma)
        if doublet is not None and axis != "two_theta":
            raise RequestError(f"doublet: the axis is {axis!r}; expected 'two_theta'")
        stretches = [arguments.pair("masked", one, "pairs of low and high") for one in masked]
        labels = [label for window in windows for label in window.labels]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if not labels or twice:
            raise RequestError(f"windows: lines {labels!r}; expected one or more, each named once")
        grid = np.array(intensity[axis].values, dtype=float)
        plans = [
            plan(
                window,
                grid,
                masked=stretches,
                profile=profile,
                doublet=doublet,
                free_shape=shape == "free",
            )
            for window in windows
        ]
        return cls(plans, labels, axis, profile, doublet, shape)

    def track(self, intensity: xr.DataArray, sigma: xr.DataArray | None) -> xr.Dataset:
        """Return the tracks of one series of frames."""
        series = [intensity] if sigma is None else [intensity, sigma.transpose(*intensity.dims)]
        count = intensity.sizes["time"]
        length = block_length(count)
        scouts = [_numbers(part.isel(time=slice(None, None, length))) for part in series]
        courses = [
            chart(plan, cut(plan, *scouts), poisson=sigma is None, length=length)
            for plan in self._plans
        ]
        index = xr.DataArray(np.arange(count), dims="time")
        lazy = [_aligned(part, self._axis, length) for part in series]
        for part in lazy:
            if part.chunks:
                index = index.chunk(time=part.chunks[0])
        table = xr.apply_ufunc(
            partial(_measure, courses=courses),
            index,
            *lazy,
            input_core_dims=[[], *([[self._axis]] * len(lazy))],
            output_core_dims=[["column", "line"]],
            output_dtypes=[np.float64],
            dask="parallelized",
            dask_gufunc_kwargs={
                "output_sizes": {"column": len(COLUMNS), "line": len(self._labels)}
            },
        )
        return self._labelled(table, intensity)

    def _labelled(self, table: xr.DataArray, intensity: xr.DataArray) -> xr.Dataset:
        along = str(intensity[self._axis].attrs.get("units", "1"))
        counts = str(intensity.attrs.get("units", "1"))
        units = {
            "area": f"{counts} * {along}",
            "centre": along,
            "fwhm": along,
            "eta": "1",
            "asymmetry": "1",
            "background": counts,
        }
        variables: dict[str, xr.Variable] = {}
        for name in self._reported():
            for part in PARTS:
                told = {"units": units[name], "long_name": TOLD[part].format(MEANING[name])}
                variables[f"{name}{part}"] = _column(table, f"{name}{part}", told)
            variables[name].attrs["ancillary_variables"] = f"{name}_sigma"
        told = {"units": "1", "long_name": "reduced chi-square of the window"}
        variables["chi2r"] = _column(table, "chi2r", told)
        facts = {**flag_attributes(ASSESSMENT), "cautions": np.int32(CAUTIONS)}
        variables["assessment"] = _column(table, "assessment", facts).astype(np.int32)
        dataset = xr.Dataset(variables, coords={**table.coords, "line": self._labels})
        doublet = self._doublet
        return dataset.assign_attrs(
            signal=str(intensity.name),
            axis=self._axis,
            profile=self._profile,
            shape=self._shape,
            doublet="none" if doublet is None else [doublet.ratio, doublet.intensity],
        )

    def _reported(self) -> list[str]:
        """Return the numbers that the profile has."""
        without = {"split_pseudo_voigt": (), "gaussian": ("eta", "asymmetry")}
        without["lorentzian"] = without["gaussian"]
        return [name for name in NUMBERS if name not in without.get(self._profile, ("asymmetry",))]


MEANING = {
    "area": "area of the line",
    "centre": "centre of the line",
    "fwhm": "full width at half maximum of the line",
    "eta": "Lorentzian share of the line",
    "asymmetry": "asymmetry of the line, positive with a tail to larger values",
    "background": "background at the centre of the line",
}
TOLD = {
    "": "{}",
    "_sigma": "standard deviation of the {}: noise, scaled where the window is misfitted",
    "_sigma_stat": "standard deviation of the {}, noise alone",
    "_sigma_syst": "standard deviation of the {}, what misfit adds",
}


def _axis(intensity: xr.DataArray, sigma: xr.DataArray | None) -> str:
    """Return the axis of patterns or spectra that can be tracked."""
    if intensity.ndim != 2 or intensity.dims[0] != "time":
        raise RequestError(f"intensity: dimensions {intensity.dims!r}; expected time and one axis")
    axis = str(intensity.dims[1])
    if not np.all(np.diff(intensity[axis].values) > 0):
        raise RequestError(f"{axis}: not ascending; sort it and merge points at the same value")
    if sigma is not None and set(sigma.dims) != set(intensity.dims):
        raise RequestError(f"sigma: dimensions {sigma.dims!r}; expected {intensity.dims!r}")
    if not intensity.sizes["time"]:
        raise RequestError("intensity: no frames; expected one or more along time")
    return axis


def _aligned(part: xr.DataArray, axis: str, length: int) -> xr.DataArray:
    """Return a series in chunks of whole blocks and whole axes, not smaller than dask likes.

    Only the data: `DataArray.chunk` would make the coordinates on time lazy, too.
    """
    if not part.chunks:
        return part
    along, across = part.get_axis_num("time"), part.get_axis_num(axis)
    enough = min(ENOUGH_FRAMES, ENOUGH_BYTES // (part.sizes[axis] * part.dtype.itemsize))
    frames = max(max(part.chunks[along]), enough)
    blocks = max(round(frames / length), 1)
    return part.copy(data=part.data.rechunk({along: blocks * length, across: -1}))


def _column(table: xr.DataArray, name: str, attrs: dict[str, Any]) -> xr.Variable:
    return xr.Variable(("time", "line"), table.variable[:, COLUMNS.index(name)].data, attrs)


def _numbers(part: xr.DataArray) -> npt.NDArray[Any]:
    return np.asarray(part.values)


def cut(plan: Plan, y: npt.NDArray[Any], sigma: npt.NDArray[Any] | None = None) -> Frames:
    """Return the columns of a plan, and their weights 1/sigma^2, 0 where there is no sigma."""
    # a copy also of what may not be written to: the kernel is compiled once, for arrays of its own
    values = np.array(y[:, plan.columns], dtype=float, order="C")
    if sigma is None:
        return Frames(values, np.zeros((0, 0)))
    part = sigma[:, plan.columns].astype(float)
    known = np.isfinite(part) & (part > 0)
    return Frames(values, np.where(known, 1.0 / np.where(known, part, 1.0) ** 2, 0.0))


def _measure(index: npt.NDArray[Any], *series: npt.NDArray[Any], courses: list[Course]) -> Array:
    """Return the numbers of all windows in a chunk that begins with a block."""
    if not index.size:
        lines = sum(course.plan.lines.size for course in courses)
        return np.empty((0, len(COLUMNS), lines))
    first = int(index[0])
    tables = [
        numbers(course, course.run(cut(course.plan, *series), first), first) for course in courses
    ]
    return np.concatenate(tables, axis=2)
