"""Where the lines of a series are, before any is declared: windows to draft a recipe with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from operando import arguments
from operando.errors import RequestError
from operando.observables.lines.measured import Array
from operando.observables.lines.windows import Window

BLOCKS = 32
"""Stretches of the series that lines are looked for in, so that each shows where it moves."""
SCALES = tuple(1.5 * 2.0 ** (0.5 * at) for at in range(9))
"""Standard deviations of the filter, in points; the finest that shows a line is used."""
STEP = 0.8
"""Negative part of the response over the positive: 0.45 beside a line, 1 beside a step."""
ENDS = 3.0
"""Scales to the ends of the axis within which the filter sees what is not there."""
GROUPED = 3.0
"""Widths from one line to the next within which both belong in one window."""
ROOM = 4.0
"""Widths of background on either side of the outermost place of a line."""
NARROWEST = 2.0
"""Points a line is wide at least."""


def find_lines(
    frames: xr.Dataset,
    *,
    minimum: float = 6.0,
    masked: Sequence[tuple[float, float]] = (),
) -> list[Window]:
    """Propose the windows in which `track_peaks` would follow the lines of a series.

    The means of up to 32 stretches of the series, and of all of it, are each filtered with the
    negative second derivative of Gaussians of several widths (Lindeberg, Int. J. Comput. Vision 30
    (1998) 79): a straight background gives nothing, and beside a line the response is negative, so
    that a strong line has no ghosts. Maxima above `minimum` sigma are lines; their width follows
    from the response at the next scales, and linking those of successive stretches shows how they
    move.

    Parameters
    ----------
    frames
        With `intensity` on (time, axis), numpy or dask, and `intensity_sigma` where the file gives
        it; else intensities in counts are Poisson, and the noise of others is what neighbouring
        points differ by.
    minimum
        Sigma of the filtered pattern. Noise alone reaches 4 to 5.
    masked
        Ranges of the axis to leave out (`cell_part_masks`).

    Returns
    -------
    list of Window
        In ascending position, each line at its first place, room for the motion seen and for
        background on both sides; lines nearer than 3 widths share a window. Deterministic.

    Raises
    ------
    RequestError
        No intensity on time and one axis, an axis that does not ascend, a mask upside down.

    Notes
    -----
    A proposal, to be looked at. Missed are lines that live for less than a stretch and are weak in
    its mean, shoulders without a dip in curvature, and halos wider than some 60 points. A cosmic
    ray is taken for a line: correct these before. What differs at both sides by more than a line,
    as the edge of a detector, is left out.
    """
    axis, x = _axis(frames)
    least = arguments.number("minimum", minimum, lambda z: z >= 3, "3 or more")
    ranges = [arguments.pair("masked", one, "pairs of low and high") for one in masked]
    if any(low >= high for low, high in ranges):
        raise RequestError(f"masked: {ranges!r}; expected low below high")
    paths: list[_Path] = []
    *stretches, whole = _patterns(frames, axis)
    for at, pattern in enumerate(stretches):
        _link(paths, _lines(x, *pattern, least), at)
    for line in _lines(x, *whole, least):
        # too weak in any stretch, but there in all of them together
        if not any(path.covers(line.centre, line.width) for path in paths):
            paths.append(_Path([line], last=len(stretches)))
    kept = [p for p in paths if not any(low <= p.start <= high for low, high in ranges)]
    return _windows(x, sorted(kept, key=lambda path: path.low), ranges)


@dataclass(frozen=True)
class _Line:
    centre: float
    width: float
    """Full width at half maximum."""


@dataclass
class _Path:
    """One line through the stretches of a series."""

    lines: list[_Line] = field(default_factory=list)
    last: int = 0

    @property
    def start(self) -> float:
        return self.lines[0].centre

    @property
    def low(self) -> float:
        return min(line.centre for line in self.lines)

    @property
    def high(self) -> float:
        return max(line.centre for line in self.lines)

    @property
    def width(self) -> float:
        return float(np.median([line.width for line in self.lines]))

    def covers(self, centre: float, width: float) -> bool:
        room = max(self.width, width)
        return self.low - room <= centre <= self.high + room


def _axis(frames: xr.Dataset) -> tuple[str, Array]:
    if not isinstance(frames, xr.Dataset) or "intensity" not in frames:
        raise arguments.refusal("frames", frames, "a Dataset with intensity on time and an axis")
    dims = [str(dim) for dim in frames["intensity"].dims]
    others = [dim for dim in dims if dim != "time"]
    if "time" not in dims or len(others) != 1 or others[0] not in frames.coords:
        raise RequestError(f"intensity: dimensions {tuple(dims)!r}; expected time and one axis")
    x = frames[others[0]].values.astype(np.float64)
    if not np.all(np.diff(x) > 0):
        raise RequestError(
            f"{others[0]}: not ascending; sort it and merge points at the same value"
        )
    return others[0], x


def _patterns(frames: xr.Dataset, axis: str) -> Iterator[tuple[Array, Array]]:
    """Yield mean pattern and its variance of each stretch, then of the whole series."""
    count = frames.sizes["time"]
    edges = np.unique(np.linspace(0, count, min(BLOCKS, count) + 1).round().astype(int))
    known = "intensity_sigma" in frames
    counts = str(frames["intensity"].attrs.get("units", "")) in ("count", "counts")
    sums = [np.zeros(frames.sizes[axis]) for _ in range(3)]
    for low, high in pairwise(edges):
        part = frames.isel(time=slice(int(low), int(high)))
        y = part["intensity"].transpose("time", axis).values.astype(np.float64)
        finite = np.isfinite(y)
        y = np.where(finite, y, 0.0)
        if known:
            sigma = part["intensity_sigma"].transpose("time", axis).values.astype(np.float64)
            variance = np.where(finite & np.isfinite(sigma), sigma, 0.0) ** 2
        else:
            variance = np.maximum(y, 1.0) * finite if counts else np.zeros_like(y)
        here = [part.sum(axis=0) for part in (y, variance, finite.astype(np.float64))]
        sums = [total + more for total, more in zip(sums, here, strict=True)]
        yield _mean(*here, known=known or counts)
    yield _mean(*sums, known=known or counts)


def _mean(y: Array, variance: Array, count: Array, *, known: bool) -> tuple[Array, Array]:
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, y / count, np.nan)
        spread = np.where(count > 0, variance / count**2, np.nan)
    return (mean, spread) if known else (mean, _differences(mean))


def _differences(y: Array) -> Array:
    """Variance of a point from second differences, in stretches of some hundred points."""
    second = np.diff(y, 2)
    parts = np.array_split(second, max(1, y.size // 128))
    levels = [
        1.4826**2 / 6 * np.nanmedian(part**2) if np.isfinite(part).any() else 0 for part in parts
    ]
    local = np.repeat(levels, [part.size for part in parts])
    return np.concatenate([local[:1], local, local[-1:]])


def _lines(x: Array, y: Array, variance: Array, least: float) -> list[_Line]:
    """Return the lines of one pattern, ascending."""
    there = np.isfinite(y) & np.isfinite(variance)
    if there.sum() < 16:
        return []
    points = np.arange(x.size)
    y = np.interp(points, points[there], y[there])
    variance = np.interp(points, points[there], variance[there])
    step = np.gradient(x)
    found: list[_Line] = []
    response = [_response(y, variance, scale) for scale in SCALES]
    for at, scale in enumerate(SCALES[:-2]):
        z, _ = response[at]
        for peak in find_peaks(z, height=least, prominence=least)[0]:
            beside = slice(max(peak - round(2.2 * scale), 0), peak + round(2.2 * scale) + 1)
            inside = ENDS * scale <= peak < x.size - ENDS * scale
            if not (there[peak] and inside) or z[beside].min() < -STEP * z[peak]:
                continue
            width = _width(response[at][1][peak], response[at + 2][1][peak], scale) * step[peak]
            reach = max(width, 2.4 * scale * step[peak])
            if all(abs(x[peak] - line.centre) > reach for line in found):
                found.append(_Line(_top(x, z, int(peak)), width))
    return sorted(found, key=lambda line: line.centre)


def _response(y: Array, variance: Array, scale: float) -> tuple[Array, Array]:
    """Return the filtered pattern over its sigma, and by itself."""
    raw = -gaussian_filter1d(y, scale, order=2, mode="nearest", truncate=5.0)
    unit = np.zeros(2 * round(5 * scale) + 1)
    unit[unit.size // 2] = 1.0
    kernel = gaussian_filter1d(unit, scale, order=2, mode="constant", truncate=5.0)
    noise = np.sqrt(
        np.convolve(np.pad(variance, kernel.size // 2, mode="edge"), kernel**2, "valid")
    )
    z = raw / np.maximum(noise, 1e-300)
    # where noise is not white, or curved background is everywhere, most points say by how much
    return z / max(1.0, 1.4826 * float(np.median(np.abs(z)))), raw


def _width(fine: float, coarse: float, scale: float) -> float:
    """Return the full width of a line in points from its response at a scale and twice that.

    A Gaussian of variance w^2 responds as (w^2 + s^2)^(-3/2).
    """
    ratio = (fine / coarse) ** (2 / 3) if coarse > 0 else 4.0
    variance = (4.0 - ratio) / (ratio - 1.0) if 1.0 < ratio < 4.0 else 0.0
    own = np.sqrt(min(variance, 16.0)) * scale
    return float(max(np.sqrt(8 * np.log(2)) * own, NARROWEST))


def _top(x: Array, z: Array, peak: int) -> float:
    """Return the maximum of the parabola through three points."""
    if not 0 < peak < z.size - 1:
        return float(x[peak])
    left, middle, right = z[peak - 1 : peak + 2]
    bend = left - 2 * middle + right
    offset = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(np.interp(peak + offset, np.arange(x.size), x))


def _link(paths: list[_Path], lines: list[_Line], at: int) -> None:
    """Carry paths on with the lines of a stretch, nearest first; the others begin paths."""
    free = set(range(len(lines)))
    going = list(range(len(paths)))
    # the sharper of the two says how far is near: a halo does not become a line
    pairs = sorted(
        (distance, p, i)
        for p in going
        for i in free
        if (distance := abs(lines[i].centre - paths[p].lines[-1].centre))
        <= 1.5 * min(paths[p].width, lines[i].width)
    )
    used: set[int] = set()
    for _, p, i in pairs:
        if p not in used and i in free:
            paths[p].lines.append(lines[i])
            paths[p].last = at
            used.add(p)
            free.remove(i)
    paths.extend(_Path([lines[i]], last=at) for i in sorted(free))


def _windows(x: Array, paths: list[_Path], masked: Sequence[tuple[float, float]]) -> list[Window]:
    groups: list[list[_Path]] = []
    for path in paths:
        before = max(groups[-1], key=lambda p: p.high) if groups else path
        if groups and path.low - before.high < GROUPED * (before.width + path.width) / 2:
            groups[-1].append(path)
        else:
            groups.append([path])
    windows = []
    for at, group in enumerate(groups):
        low = min(p.low - ROOM * p.width for p in group)
        high = max(p.high + ROOM * p.width for p in group)
        if at > 0:
            low = max(low, (max(p.high for p in groups[at - 1]) + min(p.low for p in group)) / 2)
        if at + 1 < len(groups):
            high = min(high, (max(p.high for p in group) + groups[at + 1][0].low) / 2)
        first, last = min(p.start for p in group), max(p.start for p in group)
        low = max([low, x[0], *(top for _, top in masked if top <= first)])
        high = min([high, x[-1], *(bottom for bottom, _ in masked if bottom >= last)])
        lines = tuple(sorted(p.start for p in group))
        if np.count_nonzero((x >= low) & (x <= high)) >= 4 * len(lines) + 4:
            windows.append((low, high, lines))
    return _named(windows, float(np.median(np.diff(x))))


def _named(windows: list[tuple[float, float, tuple[float, ...]]], step: float) -> list[Window]:
    """Name each window by where its first line is, to as many digits as the grid has."""
    digits = max(0, int(np.ceil(-np.log10(step) - 1e-6)))
    return [
        Window(
            f"{lines[0]:.{digits}f}", round(float(low), digits), round(float(high), digits), lines
        )
        for low, high, lines in windows
    ]
