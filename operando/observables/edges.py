"""Where an absorption edge is, how high its step and white line are, and how sure that is."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.corrections.normalisation import Normalised, normalise
from operando.errors import RequestError
from operando.model import flag_attributes

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Range = tuple[float, float]

ASSESSMENT: dict[str, int] = {
    "no_crossing": 1,
    "preedge_above_level": 2,
    "short_range": 4,
    "negative_step": 8,
    "nonfinite": 16,
    "partial_scan": 32,
}
"""Why an edge should not be believed; 0 is success.

`no_crossing`: the spectrum does not rise through the level, or through the band of the integral.
`preedge_above_level`: something before the edge is above the level too, so that half-height may
have followed the wrong feature. `short_range`: the data do not span a whole normalisation range.
`nonfinite`: NaN inside what is used. `partial_scan`: NaN to one end of the scan reach into it.
"""

NUMBERS = ("edge_energy_half", "edge_energy_integral", "white_line", "edge_step")
"""Each with its sigma; the last only where the step is found here."""


def track_edge(
    mu: xr.DataArray,
    *,
    e0: float,
    pre: Range | None,
    post: Range | None,
    degree: int = 2,
    sigma: float | xr.DataArray | None = None,
    level: float = 0.5,
    band: Range = (0.15, 1.0),
    window: Range = (-30.0, 30.0),
) -> xr.Dataset:
    """Follow an absorption edge through a series of spectra, below the step of the grid.

    `edge_energy_half` is where normalised absorption last rises through `level` before its
    maximum in the window, by linear interpolation. `edge_energy_integral` is the mean energy
    over absorption from m1 to m2 = `band`,

        E = 1/(m2 - m1) int_{m1}^{m2} E dm = E2 - 1/(m2 - m1) int_{E1}^{E2} (m(E) - m1) dE,

    between the crossings E1 and E2 of m1 and m2 around half-height (Capehart et al., Appl. Phys.
    Lett. 38 (1981) 640; Dau et al., Anal. Bioanal. Chem. 376 (2003) 562): less noisy, and the
    default for trends of valence. Lower energy means reduction.

    Every number is a sum over the points of `mu` with weights known to first order, those of the
    normalisation included, so sigma = sqrt(sum weight_i^2 sigma_i^2): for half-height
    sigma sqrt((1 - t)^2 + t^2) / slope, and what line and step add to it.

    Parameters
    ----------
    mu
        Absorption on (time, energy), numpy or dask; energy in eV, ascending.
    e0
        Fixed energy of normalisation in eV; `window` is relative to it.
    pre, post, degree
        See `operando.corrections.normalisation.normalise`; both None for normalised spectra.
    sigma
        Of `mu`: one number, or on time, energy or both. When None, white noise estimated for
        each spectrum (`white_noise`) beyond the edge; spectra smoothed or rebinned to
        a finer grid than they were measured on then get too small a sigma.
    level, band
        In units of the edge step; the level lies inside the band.

    Returns
    -------
    Dataset
        On time, with `mu`'s coordinates: the two energies, `white_line` (maximum of normalised
        absorption in the window), `edge_step` unless already normalised, each with `_sigma`, and
        `assessment`. Sigma is statistical: drift of the monochromator, and the choice of ranges
        (a step 1 % wrong moves half-height by some 0.05 eV), are not in it.

    Raises
    ------
    RequestError
        No energy axis, a range without enough points, only one of `pre` and `post`, a level
        outside the band.

    Notes
    -----
    Half-height fails on edges whose pre-edge peak comes near the level (Cr6+, V5+, Ti4+): see
    `preedge_above_level`. The white line is biased upwards by about a sigma, as a maximum is.
    """
    _check(mu, e0=e0, pre=pre, post=post, level=level, band=band, window=window)
    arguments, core = [mu], [["energy"]]
    if sigma is not None:
        spread = xr.DataArray(sigma)
        core.append(["energy"] if "energy" in spread.dims else ["every_energy"])
        arguments.append(
            spread if core[1] == ["energy"] else spread.expand_dims("every_energy", -1)
        )
    kernel = partial(
        measure_edge,
        energy=mu["energy"].values.astype(float),
        e0=e0,
        ranges=None if pre is None or post is None else (pre, post),
        degree=degree,
        level=level,
        band=band,
        window=window,
    )
    # Only the data: `DataArray.chunk` would make the coordinates on time lazy, too.
    whole = [
        a.copy(data=a.data.rechunk({a.get_axis_num("energy"): -1}))
        if a.chunks and "energy" in a.dims
        else a
        for a in arguments
    ]
    count = 2 * len(NUMBERS)
    outputs = xr.apply_ufunc(
        kernel,
        *whole,
        input_core_dims=core,
        output_core_dims=[[]] * (count + 1),
        output_dtypes=[np.float64] * count + [np.int32],
        dask="parallelized",
    )
    parameters = {"e0": e0, "level": level, "band": band, "window": window, "signal": str(mu.name)}
    if pre is not None and post is not None:
        parameters |= {"pre": pre, "post": post, "degree": degree}
    return _labelled(outputs, normalised_here=pre is not None).assign_attrs(parameters)


def _check(
    mu: xr.DataArray,
    *,
    e0: float,
    pre: Range | None,
    post: Range | None,
    level: float,
    band: Range,
    window: Range,
) -> None:
    if set(mu.dims) != {"time", "energy"} or "energy" not in mu.coords:
        raise RequestError(f"mu: dimensions {mu.dims!r}; expected time and an energy axis in eV")
    energy = mu["energy"].values
    if not np.all(np.diff(energy) > 0):
        raise RequestError("energy: not ascending; sort it and merge points at the same energy")
    if (pre is None) != (post is None):
        raise RequestError(f"pre, post: {pre!r}, {post!r}; give both, or neither when normalised")
    if not band[0] < level < band[1]:
        raise RequestError(f"level: {level!r}; expected inside the band {band!r}")
    inside = np.count_nonzero((energy >= e0 + window[0]) & (energy <= e0 + window[1]))
    if inside < 3:
        raise RequestError(
            f"window {window!r}: {inside} points around e0 {e0!r}; at least 3 are needed and the "
            f"data span {energy[0]:g}-{energy[-1]:g} eV"
        )


def _labelled(outputs: tuple[xr.DataArray, ...], *, normalised_here: bool) -> xr.Dataset:
    about = {
        "edge_energy_half": ("eV", "edge energy, half-height"),
        "edge_energy_integral": ("eV", "edge energy, integral"),
        "white_line": ("1", "white line, normalised"),
        "edge_step": ("1", "edge step"),
    }
    result = {}
    for name, value, sigma in zip(NUMBERS, outputs[0:-1:2], outputs[1:-1:2], strict=True):
        if name == "edge_step" and not normalised_here:
            continue
        units, meaning = about[name]
        facts = {"units": units, "long_name": meaning, "ancillary_variables": f"{name}_sigma"}
        result[name] = value.assign_attrs(facts)
        result[f"{name}_sigma"] = sigma.assign_attrs(
            units=units, long_name=f"statistical standard deviation of the {meaning}"
        )
    result["assessment"] = outputs[-1].assign_attrs(flag_attributes(ASSESSMENT))
    return xr.Dataset(result)


def measure_edge(
    mu: Array,
    sigma: Array | None = None,
    *,
    energy: Array,
    e0: float,
    ranges: tuple[Range, Range] | None,
    degree: int,
    level: float,
    band: Range,
    window: Range,
) -> tuple[npt.NDArray[np.generic], ...]:
    """Measure spectra (n, m): value and sigma of each of `NUMBERS`, then the assessment, (n,).

    `sigma` broadcasts against `mu`; None estimates it. The other parameters are `track_edge`'s.
    """
    mu = np.asarray(mu, dtype=float)
    seen = slice(
        int(np.searchsorted(energy, e0 + window[0])),
        int(np.searchsorted(energy, e0 + window[1], side="right")),
    )
    done = (
        _as_it_is(mu, energy, seen)
        if ranges is None
        else normalise(energy, mu, e0=e0, pre=ranges[0], post=ranges[1], degree=degree)
    )
    if sigma is None:
        noise = white_noise(energy[done.post], mu[:, done.post])[:, None]
    else:
        noise = np.atleast_2d(sigma)
    norm, grid = done.norm[:, seen], energy[seen]
    usable = np.isfinite(norm).all(axis=1) & (done.step > 0)
    norm = np.where(usable[:, None], norm, 0.0)
    half, weight_half, column, early = _half_height(grid, norm, level)
    integral, weight_integral = _integral(grid, norm, column, band)
    top = norm.argmax(axis=1)[:, None]
    weight_top = np.zeros_like(norm)
    np.put_along_axis(weight_top, top, 1.0, axis=1)

    numbers: list[npt.NDArray[np.generic]] = []
    for value, weight in (
        (half, weight_half),
        (integral, weight_integral),
        (norm.max(axis=1), weight_top),
    ):
        good = usable & np.isfinite(value)
        spread = _propagate(weight, norm, grid - e0, done, seen, noise)
        numbers += [np.where(good, value, np.nan), np.where(good, spread, np.nan)]
    step_variance = _covariance(done.step_weights[None], noise)[:, 0, 0]
    numbers += [done.step, np.where(np.isfinite(done.step), np.sqrt(step_variance), np.nan)]
    assessment = _missing(mu, done, seen)
    short = ranges is not None and not (
        energy[0] <= e0 + ranges[0][0] and e0 + ranges[1][1] <= energy[-1]
    )
    for name, wrong in (
        ("no_crossing", usable & ~np.isfinite(half + integral)),
        ("preedge_above_level", usable & early),
        ("short_range", np.full(usable.shape, short)),
        ("negative_step", done.step < 0),
        ("nonfinite", ~np.isfinite(done.step)),
    ):
        assessment |= np.where(wrong, ASSESSMENT[name], 0).astype(np.int32)
    return (*numbers, assessment)


def white_noise(x: Array, y: Array) -> Array:
    """Estimate the white noise of each row of `y` (n, m) on the grid `x`, shape (n,).

    Each point minus the straight line through its neighbours removes a slope; doing that twice
    removes a cubic, so that EXAFS does not count as noise. Divided by the norm of the five
    weights and taken as 1.4826 median |d|, it is the sigma of one point. NaN below 9 points.
    """
    if x.size < 9:
        return np.full(y.shape[0], np.nan)
    before = (x[2:] - x[1:-1]) / (x[2:] - x[:-2])
    after = 1 - before
    once = y[:, 1:-1] - before * y[:, :-2] - after * y[:, 2:]
    a, b = before[1:-1], after[1:-1]
    twice = once[:, 1:-1] - a * once[:, :-2] - b * once[:, 2:]
    weights = [a * before[:-2], -2 * a, 1 + a * after[:-2] + b * before[2:], -2 * b, b * after[2:]]
    size = np.sqrt(np.sum(np.square(weights), axis=0))
    return np.asarray(1.4826 * np.median(np.abs(twice / size), axis=1))


def _as_it_is(mu: Array, energy: Array, seen: slice) -> Normalised:
    """Wrap spectra normalised elsewhere: a step of one that is not measured."""
    return Normalised(
        norm=mu,
        step=np.ones(mu.shape[0]),
        step_weights=np.zeros(energy.size),
        pre_weights=np.zeros((2, energy.size)),
        pre=slice(0, 0),
        post=slice(seen.stop, energy.size),
    )


def _half_height(
    grid: Array, norm: Array, level: float
) -> tuple[Array, Array, npt.NDArray[np.intp], Mask]:
    """Return the crossing (NaN without), its weights, its grid interval, and what came earlier."""
    above = norm >= level
    rises = above[:, 1:] & ~above[:, :-1]
    columns = np.arange(grid.size - 1)
    rises &= columns < norm.argmax(axis=1)[:, None]
    column = np.where(rises, columns, -1).max(axis=1)
    early = (above[:, :-1] & (columns < column[:, None])).any(axis=1)
    value, fraction, slope = _crossing(grid, norm, column, level)
    weight = np.zeros_like(norm)
    inside = np.maximum(column, 0)[:, None]
    np.put_along_axis(weight, inside, -((1 - fraction) / slope)[:, None], axis=1)
    np.put_along_axis(weight, inside + 1, -(fraction / slope)[:, None], axis=1)
    return value, weight, column, early


def _crossing(
    grid: Array, norm: Array, column: npt.NDArray[np.intp], level: float
) -> tuple[Array, Array, Array]:
    """Return energy, fraction and slope where `norm` is `level` after point `column`; NaN at -1."""
    found = column >= 0
    at = np.where(found, column, 0)
    rows = np.arange(at.size)
    low, high = norm[rows, at], norm[rows, at + 1]
    width = grid[at + 1] - grid[at]
    rise = np.where(found, high - low, np.nan)
    fraction = (level - low) / rise
    return grid[at] + fraction * width, fraction, rise / width


def _integral(
    grid: Array, norm: Array, column: npt.NDArray[np.intp], band: Range
) -> tuple[Array, Array]:
    """Return the mean energy over the band around the rise at `column`, and its weights."""
    columns = np.arange(grid.size - 1)
    lower = (norm[:, 1:] >= band[0]) & (norm[:, :-1] < band[0]) & (columns <= column[:, None])
    upper = (norm[:, 1:] >= band[1]) & (norm[:, :-1] < band[1]) & (columns >= column[:, None])
    first = np.where(lower, columns, -1).max(axis=1)
    last = np.where(upper.any(axis=1) & (column >= 0), upper.argmax(axis=1), -1)
    start = _crossing(grid, norm, first, band[0])[0][:, None]
    stop = _crossing(grid, norm, last, band[1])[0][:, None]
    left, right = np.clip(grid[:-1], start, stop), np.clip(grid[1:], start, stop)
    share = ((left + right) / 2 - grid[:-1]) / np.diff(grid)
    area = np.zeros_like(norm)
    area[:, :-1] += (right - left) * (1 - share)
    area[:, 1:] += (right - left) * share
    height = band[1] - band[0]
    over = (area * norm).sum(axis=1) - band[0] * (stop - start)[:, 0]
    return stop[:, 0] - over / height, -area / height


def _propagate(
    weight: Array, norm: Array, distance: Array, done: Normalised, seen: slice, noise: Array
) -> Array:
    """Return the sigma of `weight . norm`, normalisation included, from the noise of `mu`.

    d norm_i = (d mu_i - (p0 + p1 x_i) . d mu - norm_i w . d mu) / step, that is
    (weight - c G) . d mu / step with three rows G shared by all spectra and three numbers c each.
    """
    shared = np.vstack([done.pre_weights, done.step_weights])
    common = np.stack([weight.sum(1), weight @ distance, (weight * norm).sum(1)], axis=1)
    own = weight * (np.square(noise) if noise.shape[-1] == 1 else np.square(noise[..., seen]))
    variance = (weight * own).sum(1) - 2 * (common * (own @ shared[:, seen].T)).sum(1)
    variance += np.einsum("ni,nij,nj->n", common, _covariance(shared, noise), common)
    return np.asarray(np.sqrt(variance) / np.abs(done.step))


def _covariance(rows: Array, noise: Array) -> Array:
    """Return the covariance (1 or n, r, r) of rows . mu for `noise` of (1 or n, 1 or m) points."""
    square = np.square(noise)
    products = rows[:, None] * rows[None]
    if square.shape[-1] == 1:
        return np.asarray(square[:, :, None] * products.sum(-1))
    return np.asarray(np.tensordot(square, products, axes=(1, 2)))


def _missing(mu: Array, done: Normalised, seen: slice) -> npt.NDArray[np.int32]:
    """Assess which spectra lack points that are used, and which of them at an end of the scan."""
    used = np.zeros(mu.shape[1], bool)
    used[seen] = True
    if done.pre.stop:
        used[done.pre] = used[done.post] = True
    finite = np.isfinite(mu)
    missing = np.any(~finite & used, axis=1)
    needed = np.flatnonzero(used)
    starts = finite.argmax(axis=1)
    stops = mu.shape[1] - 1 - finite[:, ::-1].argmax(axis=1)
    ends = (starts > needed[0]) | (stops < needed[-1])
    partial_scan = missing & ends & np.any(finite, axis=1)
    assessment = missing * ASSESSMENT["nonfinite"] + partial_scan * ASSESSMENT["partial_scan"]
    return np.asarray(assessment, np.int32)
