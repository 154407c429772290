"""How many species a series of spectra holds, and the spectra of those that are not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import chdtrc

from operando import arguments
from operando.corrections.white_noise import LEAST_POINTS
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.alternating import band, of_unit_area, resolve_spectra
from operando.observables.fractions import ASSESSMENT, CAUTIONS, assess
from operando.observables.linear_combination import fit_combinations, no_background
from operando.observables.simplex import MOST_BOUNDED
from operando.observables.species_rank import (
    Components,
    count_components,
    decompose,
    isosbestic_points,
    largest_of_noise,
    like_derivative,
    malinowski,
    noise_variance,
)
from operando.observables.standards import Array, Range, Sigma, Standards, bring, inside, on_points

Mask = npt.NDArray[np.bool_]

MOST_SHOWN = 12
"""Components that are listed."""
LEAST_FRAMES = 5
BY_CHANCE = 1e-3
LIKE_DERIVATIVE = 0.5
F_LEVEL = 0.05

RANK_ASSESSMENT: dict[str, int] = {
    "few_frames": 1,
    "shift_like": 2,
    "no_isosbestic_point": 4,
}
"""Why the number of species should not be believed; 0 is success.

`few_frames`: as many components as so few frames can show. `shift_like`: the last component that
counts is mostly the derivative of the mean spectrum, which an edge that shifts adds, and energies
that differ between frames add in the same way: no species of its own. `no_isosbestic_point`: two
components, but where those cross the frames differ by more than noise explains: no mixture of two
fixed spectra.
"""


def rank(
    norm: xr.DataArray,
    *,
    window: Range,
    sigma: Sigma | None = None,
    false_alarm: float = 0.01,
    floor: float = 0.0,
) -> xr.Dataset:
    """Count the species of a series: components that are larger than noise explains.

    Principal components without centring, so that p species whose fractions vary independently
    give p components. `count` is the number of eigenvalues that exceed, one after the other, what
    white noise in the rest of the matrix exceeds with the probability `false_alarm` (Kritchman and
    Nadler, Chemom. Intell. Lab. Syst. 94 (2008) 19): what a parallel analysis of very many random
    matrices would give, without drawing them. Beside it, for comparison, the minimum of
    Malinowski's indicator function and his F-test at 5 % (J. Chemom. 3 (1989) 49).

    Parameters
    ----------
    norm
        Normalised absorption on (time, energy), numpy or dask: the window of all frames is read at
        once. Frames with a gap in it are left out. Select one `position` first, or the difference
        between positions counts as a species.
    sigma
        Of `norm`: one number, or on energy. When None, noise is what the components leave over.
    false_alarm
        Probability of counting a species too many.
    floor
        Smallest root mean square of a component that counts, in edge steps. Normalisation and
        energies are rarely alike to better than 1e-3, however small the noise is.

    Returns
    -------
    Dataset
        `count`, `count_indicator`, `count_f_test`; on `component` (from 1, twelve at most)
        `eigenvalue`, the `limit` it has to exceed, `contribution` (root mean square in edge steps),
        `real_error`, `indicator`, `f_significance`, and `derivative_overlap`, the part of the
        component that energy jitter would give; `score` on (time, component), `loading` on
        (component, energy); `isosbestic_energy` (eV) and `isosbestic_chi2` (reduced) on `crossing`;
        `assessment` (bits, see `RANK_ASSESSMENT`, all of them cautions).

    Raises
    ------
    RequestError
        No axes of time and energy, a window outside of them, fewer than five whole frames.

    Notes
    -----
    Whatever varies is counted: background, thickness, energy jitter, damage. At a noise of 6e-5 (a
    quick-EXAFS series of 115 frames, 240 scans each) dozens of components exceed it, of which two
    or three are chemistry: set `floor`. In spectra rebinned onto a finer grid the noise of
    neighbours is alike, and the count too large. Species that come and go in proportion count as
    one.
    """
    arguments.array("norm", norm, "time", "energy")
    chance = arguments.number("false_alarm", false_alarm, lambda p: 0 < p < 1, "between 0 and 1")
    least = arguments.number("floor", floor, lambda size: size >= 0, "edge steps, 0 or more")
    grid, matrix, whole = _whole_frames(norm, window)
    scale = np.ones(grid.size) if sigma is None else _noise_inside(sigma, norm, window)
    found = decompose(matrix / scale)
    loud = count_components(found, noise=None if sigma is None else 1.0, probability=chance)
    variance = noise_variance(found, loud) if sigma is None else 1.0
    error, indicator, significance = malinowski(found)
    overlap = like_derivative(found.loadings, np.gradient(matrix.mean(axis=0), grid) / scale)
    shown = slice(0, min(MOST_SHOWN, found.eigenvalues.size))
    loading, score = found.loadings[shown] * scale, found.scores[:, shown]
    size = _sizes(found, scale)
    count = min(loud, int(np.argmin(np.append(size, -1.0) >= least)))
    crossing, chi2 = isosbestic_points(grid, matrix, np.sqrt(variance) * scale)
    differ = chdtrc(len(matrix) - 1, chi2 * (len(matrix) - 1)) < BY_CHANCE
    wrong = {
        "few_frames": count >= found.eigenvalues.size - 1,
        "shift_like": count > 1 and overlap[count - 1] > LIKE_DERIVATIVE,
        "no_isosbestic_point": count == 2 and differ.any(),
    }
    beyond = np.flatnonzero(~(significance < F_LEVEL))
    listed: dict[str, tuple[Any, ...]] = {
        "eigenvalue": ("component", found.eigenvalues[shown]),
        "limit": ("component", (largest_of_noise(*found.left, chance) * variance)[shown]),
        "contribution": ("component", size[shown]),
        "real_error": ("component", error[shown]),
        "indicator": ("component", indicator[shown]),
        "f_significance": ("component", significance[shown]),
        "derivative_overlap": ("component", overlap[shown]),
        "loading": (("component", "energy"), loading),
        "score": (("time", "component"), _filled(score, whole)),
        "isosbestic_energy": ("crossing", crossing),
        "isosbestic_chi2": ("crossing", chi2),
        "count": ((), count),
        "count_indicator": ((), 1 + int(np.nanargmin(indicator))),
        "count_f_test": ((), int(beyond[0])),
        "noise": ((), float(np.sqrt(np.mean(variance * np.square(scale))))),
    }
    told = np.int32(sum(RANK_ASSESSMENT[name] for name, is_so in wrong.items() if is_so))
    result = xr.Dataset(listed, _on_time(norm) | _on_grid(norm, grid)).assign_coords(
        component=np.arange(1, shown.stop + 1)
    )
    for name in result.data_vars:
        result[name].attrs["units"] = "eV" if name == "isosbestic_energy" else "1"
    cautions = {**flag_attributes(RANK_ASSESSMENT), "cautions": sum(RANK_ASSESSMENT.values())}
    result["assessment"] = ((), told, cautions)
    return result.assign_attrs(
        signal=str(norm.name), window=tuple(map(float, window)), false_alarm=chance, floor=least
    )


def resolve(
    norm: xr.DataArray,
    *,
    count: int,
    window: Range,
    known: Mapping[str, xr.DataArray] | None = None,
    sigma: Sigma | None = None,
    closed: bool = True,
) -> xr.Dataset:
    """Find the spectra and fractions of `count` species, some or none of which are known.

    Multivariate curve resolution: fractions that are not negative and add up to one, and spectra
    that are not negative, fitted in turn to all frames until the residual stands still
    (`operando.observables.alternating`). Known spectra stay as they are. It begins with the purest
    frames there are, so that the answer is the same every time.

    Parameters
    ----------
    norm
        Normalised absorption on (time, energy), numpy or dask: the window of all frames is read at
        once. Frames with a gap in it are left out. Any other axis will do: Raman spectra less
        their baseline on (time, raman_shift), not `closed`.
    count
        Species in all, one to six; see `rank`.
    known
        Normalised spectra by name, each on its own axis.
    sigma
        Of `norm`: one number, or on its axis; for the uncertainties, all points count alike.
    closed
        Whether fractions add up to one. Those of Raman spectra do not: False finds what each
        species adds to the area instead, with all spectra, the known ones too, of an area of one.

    Returns
    -------
    Dataset
        On (time, component) `fraction`, `fraction_sigma` (given the spectra that were found), and
        `fraction_low` and `fraction_high`: between them all sets of spectra that are not negative
        fit equally well. Exact for two species; for more, what two of them at a time can do. Where
        it is not `closed` they are called `concentration`, in units of an area. On (component,
        energy) `spectrum`. On time `r_factor`, `reduced_chi2` and `assessment` as those of
        `fractions`. attrs: `converged`, `rounds`, `residual` (root mean square).

    Raises
    ------
    RequestError
        No axes of time and energy, a window outside of them, fewer than five whole frames, a count
        that is not above the known ones or more than six.

    Notes
    -----
    The band is wide unless each species is, in some frame and at some energy, absent: that is what
    the method cannot know, and no sigma says it. Where no frame is pure, spectra found are those of
    the purest mixtures. A known spectrum narrows it most.
    """
    given = {} if known is None else known
    least = len(given) if isinstance(given, Mapping) else 0
    expected = f"{max(least, 1)} to {MOST_BOUNDED}, the known ones included"
    count = arguments.whole("count", count, lambda n: max(least, 1) <= n <= MOST_BOUNDED, expected)
    shut = arguments.switch("closed", closed)
    grid, matrix, whole = _whole_frames(norm, window)
    spread = None if sigma is None else _noise_inside(sigma, norm, window)
    axis, unit = axis_of(norm)
    brought = bring(given, grid, called="known", axis=axis, unit=unit)
    found = resolve_spectra(matrix, brought.values, count=count, closed=shut)
    if not shut:
        found = of_unit_area(grid, found)
    unknown = [f"unknown {number}" for number in range(1, count - least + 1)]
    names = (*brought.names, *(unknown if len(unknown) > 1 else ["unknown"] * len(unknown)))
    still = Standards(names, found.spectra, np.zeros_like(found.spectra), _nothing(count, grid))
    fits = fit_combinations(
        grid,
        matrix,
        standards=still,
        free=bring({}, grid),
        closed=shut,
        sigma=None if spread is None else spread[None],
        energy_sigma=np.zeros(len(matrix)),
        step_sigma=0.0,
        background=no_background(grid.size),
    )
    own = fits.spread[:, :, 0]
    weight = np.maximum(np.square(found.fractions).sum(axis=0), np.finfo(float).tiny)
    noise = found.residual / np.sqrt(weight)
    low, high = band(
        found.fractions, found.spectra, known=least, sigma=own, noise=noise, closed=shut
    )
    verdict = np.full(whole.size, ASSESSMENT["nonfinite"], np.int32)
    verdict[whole] = assess(fits, count, grid.size, spread is not None)
    called = "fraction" if shut else "concentration"
    numbers = (fits.amplitude, own, low, high)
    per_frame = {
        f"{called}{end}": (("time", "component"), _filled(part, whole))
        for end, part in zip(("", "_sigma", "_low", "_high"), numbers, strict=True)
    }
    result = xr.Dataset(
        per_frame, _on_time(norm) | _on_grid(norm, grid) | {"component": list(names)}
    )
    amount = "1" if shut else f"{norm.attrs.get('units', '1')} * {unit}"
    for name in per_frame:
        result[name].attrs["units"] = amount
    result[called].attrs["ancillary_variables"] = f"{called}_sigma {called}_low {called}_high"
    shape = {"units": "1" if shut else f"1 / ({unit})"}
    result["spectrum"] = (("component", axis), found.spectra, shape)
    result["r_factor"] = ("time", _filled(fits.r_factor, whole), {"units": "1"})
    result["reduced_chi2"] = ("time", _filled(fits.chi2, whole), {"units": "1"})
    cautions = sum(ASSESSMENT[name] for name in CAUTIONS)
    facts = {**flag_attributes(ASSESSMENT), "cautions": cautions}
    result["assessment"] = ("time", verdict, facts)
    return result.assign_attrs(
        signal=str(norm.name),
        window=tuple(map(float, window)),
        known=list(brought.names),
        converged=int(found.converged),
        rounds=found.rounds,
        residual=found.residual,
    )


def _whole_frames(norm: xr.DataArray, window: Range) -> tuple[Array, Array, Mask]:
    """Return the energies of the window, the frames without a gap there, and which those are."""
    axis, unit = axis_of(norm)
    grid = np.asarray(norm[axis].values, dtype=float)
    seen = inside(grid, window, least=LEAST_POINTS, axis=axis, unit=unit)
    matrix = norm.isel({axis: seen}).transpose("time", axis).values.astype(float)
    whole = np.isfinite(matrix).all(axis=1)
    if np.count_nonzero(whole) < LEAST_FRAMES:
        raise RequestError(
            f"norm: {np.count_nonzero(whole)} of {whole.size} frames without a gap in {window!r} "
            f"{unit}; expected {LEAST_FRAMES} or more"
        )
    return grid[seen], np.ascontiguousarray(matrix[whole]), whole


def axis_of(norm: xr.DataArray) -> tuple[str, str]:
    """Return name and unit of the axis of spectra: energy in eV, or what else they are on."""
    axis = "energy"
    if isinstance(norm, xr.DataArray) and norm.ndim == 2:
        axis = next((str(dim) for dim in norm.dims if dim != "time"), axis)
    arguments.array("norm", norm, "time", axis)
    return axis, str(norm[axis].attrs.get("units", "eV" if axis == "energy" else "1"))


def _noise_inside(sigma: Sigma, norm: xr.DataArray, window: Range) -> Array:
    """Return sigma at every energy of the window, (m,)."""
    axis, unit = axis_of(norm)
    grid = norm[axis].values.astype(float)
    seen = inside(grid, window, least=LEAST_POINTS, axis=axis, unit=unit)
    return on_points(sigma, norm[axis])[seen]


def _sizes(found: Components, scale: Array) -> Array:
    """Return the root mean square of every component, in edge steps."""
    scores, loadings = np.square(found.scores), np.square(found.loadings * scale)
    return np.asarray(np.sqrt(scores.mean(axis=0) * loadings.mean(axis=1)))


def _filled(values: Array, whole: Mask) -> Array:
    """Return values of whole frames among all frames, NaN for the others."""
    out = np.full((whole.size, *values.shape[1:]), np.nan)
    out[whole] = values
    return out


def _nothing(count: int, grid: Array) -> Array:
    """Return the noise of spectra of which none is known."""
    return np.zeros((count, grid.size, 0))


def _on_time(norm: xr.DataArray) -> dict[str, Any]:
    return {str(name): part for name, part in norm.coords.items() if part.dims in (("time",), ())}


def _on_grid(norm: xr.DataArray, grid: Array) -> dict[str, Any]:
    axis, unit = axis_of(norm)
    return {axis: (axis, grid, {"units": unit})}
