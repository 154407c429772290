"""Averages of repeated scans, over the time they took together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.history import recorded
from operando.corrections.rows import noise_of_rows, whole_rows
from operando.errors import RequestError
from operando.model import FAULTS, positions

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ABSORPTIONS = ("mu", "mu_fluorescence", "mu_reference")
SUMMED = ("charge_passed", "glitches")
BLOCK_FRAMES = 256
REDUCERS = {
    "sum": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "or": np.bitwise_or,
}


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Which frames become one."""

    order: Integers
    """Frames, group after group, (n,)."""
    lengths: Integers
    """Frames of each group, (g,)."""
    kept: Mask
    """Frames that count, in this order, (n,)."""

    @property
    def counts(self) -> Integers:
        """Return how many frames of each group count, (g,)."""
        return _over(np.add, self.kept.astype(np.int64), self.lengths)


def merge_scans(
    frames: xr.Dataset,
    *,
    every: int | None = None,
    by: str | None = None,
    exclude: xr.DataArray | None = None,
) -> xr.Dataset:
    """Average scans that follow one another at the same position.

    The mean is that of the finite values at each energy; the merged exposure lasts from the start
    of its first scan to the end of its last one. Bad scans (`frame_flag` says unreadable,
    truncated, nonfinite or clock_suspect, or `exclude` says so) are left out and counted; where
    none is left the mean is NaN.

    Parameters
    ----------
    frames
        A series of absorption spectra; those of different positions are never mixed.
    every
        So many scans become one; the last ones of a position may be fewer.
    by
        Instead: a coordinate on time, as `state` or `half_cycle`; scans are merged as long as it
        does not change.
    exclude
        True, or not zero, where a scan is bad, on time.

    Returns
    -------
    Dataset
        `frames` with fewer times. Of the absorption, `_sigma` is the standard deviation of the
        mean, sqrt(sum sigma_i^2) / n, with the sigma that the frames have, or the white noise of
        each scan. Coordinates: numbers are averaged, flags are united, `_min`, `_max`, `_start`,
        `_end` keep their meaning, of names and categories the most frequent stays. New ones are
        `scans`, how many were averaged, and `scans_excluded`. Lazy where the frames are.

    Raises
    ------
    RequestError
        Both or none of `every` and `by`, a coordinate that does not exist.

    Notes
    -----
    Sigma knows the noise of a point, not what changed from scan to scan: thickness, drift (align
    the scans first), the sample itself.
    """
    series = arguments.dataset("frames", frames)
    labels = _labels(series, every, by)
    groups = _grouped(labels, _bad(series, exclude))
    made: dict[str, xr.Variable] = {}
    for name, variable in series.variables.items():
        if "time" in variable.dims and name not in ("time", "time_start", "time_end"):
            made[str(name)] = _merged(str(name), series, groups)
    for name in ABSORPTIONS:
        if name in series and "energy" in series[name].dims:
            made[f"{name}_sigma"] = _sigma(series, name, groups)
            told = series[name].attrs | {"ancillary_variables": f"{name}_sigma"}
            made[name].attrs.update(told)
    result = series.drop_dims("time").assign(
        {name: made[name] for name in made if name not in series.coords}
    )
    counts = {"scans": groups.counts, "scans_excluded": groups.lengths - groups.counts}
    coordinates = {
        **{name: made[name] for name in made if name in series.coords},
        **_times(series, groups),
        **{name: ("time", values, {"units": "1"}) for name, values in counts.items()},
    }
    merged = result.assign_coords(coordinates).assign_attrs(series.attrs).sortby("time")
    return recorded(merged, "merging", every=every, by=by, excluded=int((~groups.kept).sum()))


def _labels(series: xr.Dataset, every: int | None, by: str | None) -> npt.NDArray[Any]:
    """Return a number for each frame, equal where frames become one."""
    if (every is None) == (by is None):
        raise RequestError(f"every, by: {every!r}, {by!r}; give one of them")
    labels = np.zeros(series.sizes["time"], dtype=np.int64)
    if by is not None and (by not in series.coords or series[by].dims != ("time",)):
        known = [name for name in series.coords if series[name].dims == ("time",)]
        raise RequestError(f"by: no coordinate {by!r} on time; there are {known}")
    count = 1 if every is None else arguments.whole("every", every, lambda n: n > 0, "1 or more")
    before = 0
    for rows in positions(series).values():
        if by is None:
            own = np.arange(rows.size) // count
        else:
            values = series[by].values[rows]
            own = np.cumsum(np.r_[False, values[1:] != values[:-1]])
        labels[rows] = before + own
        before += int(own[-1]) + 1
    return labels


def _bad(series: xr.Dataset, exclude: xr.DataArray | None) -> Mask:
    bad = np.zeros(series.sizes["time"], dtype=bool)
    if "frame_flag" in series.coords or "frame_flag" in series:
        bad |= (series["frame_flag"].values & FAULTS) != 0
    if exclude is not None:
        if not isinstance(exclude, xr.DataArray) or exclude.shape != bad.shape:
            raise arguments.refusal("exclude", exclude, f"a DataArray of {bad.size} frames on time")
        bad |= exclude.values.astype(bool)
    return bad


def _grouped(labels: npt.NDArray[Any], bad: Mask) -> Groups:
    _, first, inverse, lengths = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.argsort(np.argsort(first))[inverse]  # groups in the order of their first frames
    order = np.argsort(rank, kind="stable")
    return Groups(order=order, lengths=lengths[np.argsort(first)], kept=~bad[order])


def _times(series: xr.Dataset, groups: Groups) -> dict[str, Any]:
    """Return the interval of each merged frame and its middle; those of no good frame use all."""
    start, end = (
        series[name if name in series.coords else "time"].values[groups.order]
        for name in ("time_start", "time_end")
    )
    used, lengths = _counted(groups.lengths, groups.kept)
    low = _over(np.minimum, start[used], lengths)
    high = _over(np.maximum, end[used], lengths)
    middle = low + (high - low) // 2
    order = np.argsort(middle, kind="stable")
    for before, after in pairwise(order):
        # as in reading: a moment that occurs twice is moved by 1 ns, so that time can index
        middle[after] = max(middle[after], middle[before] + np.timedelta64(1, "ns"))
    values = {"time": middle, "time_start": low, "time_end": high}
    return {
        name: ("time", found, series[name].attrs if name in series.coords else {})
        for name, found in values.items()
    }


def _merged(name: str, series: xr.Dataset, groups: Groups) -> xr.Variable:
    variable = series[name].transpose("time", ...)
    how = _way(name, variable.dtype)
    dtype = np.dtype(float) if how == "mean" else variable.dtype
    return _reduced(variable, groups, partial(_reduce, how=how), dtype)


def _way(name: str, dtype: np.dtype[Any]) -> str:
    """Return how numbers of this name become one."""
    if name in SUMMED:
        return "sum"
    if name == "glitch":
        return "max"
    for ending in ("_min", "_max", "_start", "_end"):
        if name.endswith(ending):
            return ending[1:]
    if name.endswith("flag"):
        return "or"
    return "mean" if dtype.kind in "fc" else "majority"


def _reduced(
    variable: xr.DataArray, groups: Groups, reduce: Any, dtype: npt.DTypeLike
) -> xr.Variable:
    """Reduce a variable over the groups, block by block where it is lazy."""
    rows = variable.data[groups.order]
    if variable.chunks is None:
        return xr.Variable(variable.dims, reduce(rows, groups.lengths, groups.kept), variable.attrs)
    parts = _blocks(groups.lengths)
    ends = np.cumsum([part.sum() for part in parts])
    kept = np.split(groups.kept, ends[:-1])
    rows = rows.rechunk({0: tuple(int(part.sum()) for part in parts)})

    def block(values: npt.NDArray[Any], block_id: tuple[int, ...]) -> npt.NDArray[Any]:
        return np.asarray(reduce(values, parts[block_id[0]], kept[block_id[0]]))

    chunks = (tuple(part.size for part in parts), *rows.chunks[1:])
    lazy = da.map_blocks(block, rows, chunks=chunks, dtype=dtype)
    return xr.Variable(variable.dims, lazy, variable.attrs)


def _blocks(lengths: Integers) -> list[Integers]:
    """Cut the groups into blocks of some 256 frames."""
    before = np.cumsum(lengths) - lengths
    cuts = np.flatnonzero(np.diff(before // BLOCK_FRAMES)) + 1
    return list(np.split(lengths, cuts))


def _over(ufunc: np.ufunc, rows: npt.NDArray[Any], lengths: Integers) -> npt.NDArray[Any]:
    """Reduce rows (n, ...) by a ufunc over groups that follow one another, (g, ...)."""
    return np.asarray(ufunc.reduceat(rows, np.cumsum(lengths) - lengths, axis=0))


def _counted(lengths: Integers, kept: Mask) -> tuple[Mask, Integers]:
    """Return the rows to use, all of a group where none is kept, and their number in each group."""
    some = _over(np.add, kept.astype(np.int64), lengths)
    used = kept | np.repeat(some == 0, lengths)
    return used, np.where(some == 0, lengths, some)


def _reduce(rows: npt.NDArray[Any], lengths: Integers, kept: Mask, *, how: str) -> npt.NDArray[Any]:
    """Reduce rows (n, ...) to groups (g, ...)."""
    if how == "mean":
        total, count = _sums(rows, lengths, kept)
        with np.errstate(invalid="ignore"):
            return np.asarray(total / count)
    used, sizes = _counted(lengths, kept)
    rows = rows[used]
    if how in REDUCERS:
        return _over(REDUCERS[how], rows, sizes)
    groups = np.split(np.arange(len(rows)), np.cumsum(sizes)[:-1])
    places = [
        group[0] if how == "start" else group[-1] if how == "end" else _frequent(rows, group)
        for group in groups
    ]
    return np.asarray(rows[places])


def _sums(
    rows: npt.NDArray[Any], lengths: Integers, kept: Mask
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the sum and the number of the finite values of the rows that are kept."""
    good = np.isfinite(rows) & kept.reshape(-1, *(1,) * (rows.ndim - 1))
    total = _over(np.add, np.where(good, rows, 0.0), lengths)
    return total, _over(np.add, good.astype(np.int64), lengths)


def _frequent(values: npt.NDArray[Any], group: Integers) -> int:
    _, first, counts = np.unique(values[group], return_index=True, return_counts=True)
    return int(group[first[counts == counts.max()].min()])


def _sigma(series: xr.Dataset, name: str, groups: Groups) -> xr.Variable:
    """Return the standard deviation of the mean of an absorption."""
    given = f"{name}_sigma" in series
    variable = whole_rows(series[f"{name}_sigma" if given else name].transpose("time", "energy"))
    energy = None if given else series["energy"].values.astype(float)
    found = _reduced(variable, groups, partial(_sigma_of_mean, energy=energy), float)
    told = series[f"{name}_sigma"].attrs if given else {}
    found.attrs = {
        "units": series[name].attrs.get("units", "1"),
        **told,
        "long_name": f"standard deviation of the mean of {name}",
    }
    return found


def _sigma_of_mean(rows: Array, lengths: Integers, kept: Mask, *, energy: Array | None) -> Array:
    """Return sqrt(sum sigma_i^2) / n over the groups, of sigma (n, m), or of spectra (n, m)."""
    rows = np.asarray(rows, dtype=float)
    sigma = rows
    if energy is not None:
        sigma = np.where(np.isfinite(rows), noise_of_rows(energy, rows)[:, None], np.nan)
    square, count = _sums(sigma**2, lengths, kept)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(square) / count)
