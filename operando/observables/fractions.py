"""What part of the absorbing atoms is in which known state, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import chdtri, fdtri

from operando import arguments
from operando.corrections.normalisation import operators
from operando.corrections.rows import whole_rows
from operando.corrections.white_noise import LEAST_POINTS
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.linear_combination import (
    SOURCES,
    Background,
    Combinations,
    fit_combinations,
)
from operando.observables.simplex import MOST_BOUNDED, SINGULAR, gram
from operando.observables.standards import Array, Range, Sigma, Standards, bring, inside

ASSESSMENT: dict[str, int] = {
    "poor_fit": 1,
    "nonfinite": 2,
    "outside_range": 4,
    "misfit": 8,
    "at_bound": 16,
    "missing_points": 32,
}
"""Why fractions should not be believed; 0 is success.

`poor_fit`: an R-factor of 0.01 or more. `nonfinite`: more than a tenth of the points of the window
are missing, or their sigma is. `outside_range`: they are missing to one end of it. Cautions:
`misfit`: the residual is larger than noise explains, by chance once in a thousand frames; something
is in the spectrum that is not in the standards. `at_bound`: a fraction would be negative and was
held at zero. `missing_points`: the fit did without some points, those of a glitch for instance.
"""
CAUTIONS = ("misfit", "at_bound", "missing_points")
POOR = 0.01
BY_CHANCE = 1e-3
ESTIMATE_FREEDOM = 0.6
"""An estimate of white noise is as good as one from this part of the points, if they were known."""

ABOUT = {
    "stat": "noise of the spectrum",
    "standards": "noise of the standards",
    "drift": "uncertainty of the energy",
    "step": "uncertainty of the edge step",
}


def fractions(
    norm: xr.DataArray,
    *,
    standards: Mapping[str, xr.DataArray],
    window: Range,
    sigma: Sigma | None = None,
    sum_to_one: bool = True,
    differences: Mapping[str, xr.DataArray] | None = None,
    standard_sigma: Mapping[str, Sigma] | None = None,
    step_sigma: float | None = None,
    normalisation: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Fit every spectrum of a series by a bounded linear combination of standards.

        y(E) = sum_k f_k s_k(E) + sum_l a_l d_l(E),    f_k >= 0,    sum_k f_k = 1

    by least squares over the points of the window. The problem is convex, and its solution is that
    of the set of standards that are not at zero; all sets are tried, so that the minimum is exact.
    Standards are brought onto the energies of the series by cubic splines.

    Parameters
    ----------
    norm
        Normalised absorption on (time, energy), numpy or dask; energy in eV, ascending.
    standards
        Up to six normalised spectra by name, each on its own `energy`, spanning the window.
    window
        Lowest and highest energy that is fitted, eV.
    sigma
        Of `norm`: one number, or on time, energy or both. When None, that which the residual has.
    sum_to_one
        False lets the sum differ from one, where the normalisation is not trusted.
    differences
        Difference spectra that may be in every frame with any amplitude of either sign, outside of
        the sum: what beam damage, or a reaction that is known, adds.
    standard_sigma
        Noise of a point of some of the standards, as a number or on the energy of the standard.
    step_sigma
        Relative uncertainty of the edge steps that `norm` was divided by, beyond noise: what the
        choice of ranges makes of it.
    normalisation
        `e0`, `pre`, `post` and `degree` with which `norm` was normalised, on all of its energies
        (`operando.corrections.normalisation`). The noise of the pre-edge line and of the step,
        common to all points of a frame, is then part of the statistical sigma, which is a fifth too
        small without. When sigma is on energy it is needed on all energies, too.

    Returns
    -------
    Dataset
        On (time, component) `fraction` and `fraction_sigma`, the square root of the sum of squares
        of the parts `fraction_sigma_stat` (of noise), `fraction_sigma_standards`,
        `fraction_sigma_drift` (where `norm` has the coordinate `energy_correction_sigma`, eV) and
        `fraction_sigma_step`, as far as they are known. On (time, difference) `amplitude` and its
        sigma. On time `r_factor` = sum (y - fit)^2 / sum y^2, `reduced_chi2` (against sigma, or
        the white noise of the residual) and `assessment` (bits, see `ASSESSMENT`; its attribute
        `cautions` holds those that only caution). Lazy where `norm` is, equal for any chunking.

    Raises
    ------
    RequestError
        No axes of time and energy, a window or standard that does not span the other, standards
        that cannot be told apart in the window, more than six.

    Notes
    -----
    Sigma is first order, and that of all standards free, also where one is at its bound: there it
    says how much of it could have gone unseen, and errors are smaller than it, never larger (half
    of them zero where the truth is zero). A mean of many frames at the bound is biased upwards, by
    up to 0.4 sigma of one frame. Where a given sigma leaves a reduced chi-square above one, the
    statistical part is scaled with its root; a misfit is smooth, so that this is not enough:
    something missing from the standards biases fractions by its overlap with them. In the simulated
    electrolyte (`operando.simulate.zr_series`), damage that takes 3 % of the white line away turns
    up as 0.026 of metal when it is not among the `differences`, and as less than 0.0005 when it is;
    at a noise of 1e-3 sigma is then 0.0011, to which 0.02 eV of energy jitter add 0.004. Standards
    measured elsewhere are off by the calibration between the two places, which the drift part knows
    nothing of. Errors of the normalisation count as misfit in up to a tenth of the frames where
    sigma is given.
    """
    added = {} if differences is None else differences
    energy = _energy(norm, standards, added)
    seen = inside(energy, window, least=LEAST_POINTS + len(standards) + len(added))
    grid = np.ascontiguousarray(energy[seen])
    brought = bring(standards, grid, sigma=standard_sigma)
    free = bring(added, grid, called="differences")
    _check_distinct(brought, free, window)
    shift = norm.coords.get("energy_correction_sigma")
    step = _step_sigma(step_sigma)
    spread, core = _noise(sigma, norm.sizes["energy"])
    outputs = xr.apply_ufunc(
        partial(
            _measure,
            energy=grid,
            standards=brought,
            free=free,
            closed=arguments.switch("sum_to_one", sum_to_one),
            step_sigma=step,
            background=_background(energy, seen, normalisation),
        ),
        whole_rows(norm.isel(energy=seen)),
        xr.DataArray(0.0) if shift is None else shift.reset_coords(drop=True),
        *spread,
        input_core_dims=[["energy"], [], *core],
        output_core_dims=[["component"]] * (2 + len(SOURCES)) + [["difference"]] * 2 + [[]] * 3,
        output_dtypes=[np.float64] * (6 + len(SOURCES)) + [np.int32],
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": {"component": len(brought.names), "difference": len(free.names)}
        },
    )
    told = {"stat"}
    told |= {"standards"} if standard_sigma else set()
    told |= set() if shift is None else {"drift"}
    told |= {"step"} if step > 0 else set()
    return _labelled(outputs, brought, free, told).assign_attrs(
        signal=str(norm.name),
        window=tuple(map(float, window)),
        sum_to_one=int(sum_to_one),
        step_sigma=step,
    )


def _energy(
    norm: xr.DataArray,
    standards: Mapping[str, xr.DataArray],
    differences: Mapping[str, xr.DataArray],
) -> Array:
    arguments.array("norm", norm, "time", "energy")
    for name, spectra in (("standards", standards), ("differences", differences)):
        if not isinstance(spectra, Mapping):
            raise arguments.refusal(name, spectra, "a mapping from name to spectrum")
    if not 1 <= len(standards) <= MOST_BOUNDED:
        raise RequestError(f"standards: {len(standards)}; expected 1 to {MOST_BOUNDED}")
    return np.asarray(norm["energy"].values, dtype=float)


def _step_sigma(step_sigma: float | None) -> float:
    if step_sigma is None:
        return 0.0
    expected = "a relative uncertainty, 0 or more"
    return arguments.number("step_sigma", step_sigma, lambda part: part >= 0, expected)


def _check_distinct(standards: Standards, free: Standards, window: Range) -> None:
    """Refuse spectra of which one is a combination of others in the window."""
    design = np.concatenate([standards.values, free.values])
    matrix = gram(np.ascontiguousarray(design), np.ones(design.shape[1]))
    length = np.sqrt(np.diag(matrix))
    names = [*standards.names, *free.names]
    if not np.all(length > 0):
        raise RequestError(f"{names[int(np.argmin(length))]!r}: zero in the window {window!r}")
    if not np.linalg.eigvalsh(matrix / np.outer(length, length))[0] > SINGULAR:
        raise RequestError(
            f"standards: {names} cannot be told apart in the window {window!r}; leave one out"
        )


def _background(energy: Array, seen: slice, using: Mapping[str, Any] | None) -> Background:
    if using is None:
        nothing = np.zeros(energy.size)
        away = np.zeros(seen.stop - seen.start)
        return Background(seen, np.zeros((2, energy.size)), nothing, away)
    if set(using) != {"e0", "pre", "post", "degree"}:
        raise RequestError(
            f"normalisation: {sorted(using)}; expected 'e0', 'pre', 'post' and 'degree'"
        )
    made = operators(energy, **using)
    return Background(seen, made.line, made.step_weights, energy[seen] - using["e0"])


def _noise(sigma: Sigma | None, points: int) -> tuple[list[xr.DataArray], list[list[str]]]:
    """Return sigma as an argument of the kernel, and its core dimensions."""
    if sigma is None:
        return [], []
    spread = xr.DataArray(sigma)
    strange = [dim for dim in spread.dims if dim not in ("time", "energy")]
    if strange or spread.dtype.kind not in "iuf":
        raise RequestError(
            f"sigma: {spread.dtype} on {spread.dims!r}; expected numbers on time, energy or both"
        )
    if "energy" not in spread.dims:
        return [spread.expand_dims("every_energy", -1)], [["every_energy"]]
    if spread.sizes["energy"] != points:
        raise RequestError(
            f"sigma: {spread.sizes['energy']} energies; expected the {points} of norm"
        )
    return [whole_rows(spread.rename(energy="every_energy"))], [["every_energy"]]


def _measure(
    norm: Array,
    energy_sigma: Array,
    sigma: Array | None = None,
    *,
    energy: Array,
    standards: Standards,
    free: Standards,
    closed: bool,
    step_sigma: float,
    background: Background,
) -> tuple[npt.NDArray[np.generic], ...]:
    """Fit rows (n, m): fractions, each part of their sigma, amplitudes, three facts of a frame."""
    count = norm.shape[0]
    fits = fit_combinations(
        energy,
        norm,
        standards=standards,
        free=free,
        closed=closed,
        sigma=sigma,
        energy_sigma=np.broadcast_to(np.asarray(energy_sigma, dtype=float), count),
        step_sigma=step_sigma,
        background=background,
    )
    bounded = len(standards.names)
    parts = [fits.spread[:, :bounded, at] for at in range(len(SOURCES))]
    total = np.sqrt(np.square(fits.spread).sum(axis=2))
    facts = (fits.r_factor, fits.chi2, assess(fits, bounded, energy.size, sigma is not None))
    bound, free_ones = slice(bounded), slice(bounded, None)
    return (
        fits.amplitude[:, bound],
        total[:, bound],
        *parts,
        fits.amplitude[:, free_ones],
        total[:, free_ones],
        *facts,
    )


def assess(fits: Combinations, bounded: int, points: int, given: bool) -> npt.NDArray[np.int32]:
    """Return the bits of `ASSESSMENT` of every fit, (n,); `given`: sigma was."""
    assessment = np.zeros(fits.points.shape, np.int32)
    fitted = fits.members >= 0
    few = fits.points < points
    for name, wrong in (
        ("poor_fit", fits.r_factor >= POOR),
        ("nonfinite", ~fitted),
        ("outside_range", ~fitted & ~fits.reaches & (fits.points > 0)),
        ("misfit", fits.chi2 > unlikely_chi2(fits.freedom, points, given=given)),
        ("at_bound", fitted & (fits.members != (1 << bounded) - 1)),
        ("missing_points", fitted & few),
    ):
        assessment |= np.where(wrong, ASSESSMENT[name], 0).astype(np.int32)
    return assessment


def unlikely_chi2(freedom: Array, points: int, *, given: bool) -> Array:
    """Return the reduced chi-square that noise exceeds with a probability of `BY_CHANCE`.

    Where the noise was estimated from the same residual, that of a ratio of two variances.
    """
    if given:
        return np.asarray(chdtri(freedom, BY_CHANCE) / freedom)
    return np.asarray(fdtri(freedom, ESTIMATE_FREEDOM * points, 1 - BY_CHANCE))


def _labelled(
    outputs: tuple[xr.DataArray, ...], standards: Standards, free: Standards, told: set[str]
) -> xr.Dataset:
    value, total, *parts, amplitude, spread, r_factor, chi2, assessment = outputs
    known = {source: part for source, part in zip(SOURCES, parts, strict=True) if source in told}
    names = ["fraction_sigma", *[f"fraction_sigma_{source}" for source in known]]
    said: dict[str, Any] = {"units": "1", "long_name": "fraction of the component"}
    result = xr.Dataset(
        {
            "fraction": value.assign_attrs(said, ancillary_variables=" ".join(names)),
            "fraction_sigma": total.assign_attrs(
                units="1", long_name="standard deviation of the fraction"
            ),
        },
        {"component": list(standards.names)},
    )
    for source, part in known.items():
        result[f"fraction_sigma_{source}"] = part.assign_attrs(
            units="1", long_name=f"standard deviation from the {ABOUT[source]}"
        )
    if free.names:
        result = result.assign_coords(difference=list(free.names))
        result["amplitude"] = amplitude.assign_attrs(
            units="1",
            long_name="amplitude of the difference spectrum",
            ancillary_variables="amplitude_sigma",
        )
        result["amplitude_sigma"] = spread.assign_attrs(
            units="1", long_name="standard deviation of the amplitude"
        )
    result["r_factor"] = r_factor.assign_attrs(
        units="1", long_name="sum of squared residuals over that of the spectrum"
    )
    result["reduced_chi2"] = chi2.assign_attrs(units="1", long_name="reduced chi-square")
    cautions = sum(ASSESSMENT[name] for name in CAUTIONS)
    result["assessment"] = assessment.assign_attrs(flag_attributes(ASSESSMENT), cautions=cautions)
    return result
