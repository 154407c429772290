"""Spectra that a series is made of, none of them known: non-negative matrix factorisation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.white_noise import LEAST_POINTS
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.alternating import Resolved, band, of_unit_area
from operando.observables.species import LEAST_FRAMES, axis_of
from operando.observables.standards import Array, Range, inside

Mask = npt.NDArray[np.bool_]

MOST = 12
ROUNDS = 2000
SETTLED = 1e-4
"""A round that changes less than this part of what the first one changed is the last."""
UNUSUAL = 3.0
"""A frame that is left over so many times more than the median is flagged."""
BELOW = 0.05
"""Part of the square sum of a frame that may be cut off because it is negative."""
WIDE = 0.1
"""Width of the band of a concentration, of the largest one, from which it is called ambiguous."""

FACTOR_ASSESSMENT: dict[str, int] = {
    "nonfinite": 1,
    "misfit": 2,
    "negative": 4,
    "ambiguous": 8,
    "not_converged": 16,
}
"""`assessment` of a frame taken apart into factors; 0 is success.

`nonfinite`: a gap in the window, so that there is nothing. `misfit`: three times more is left over
than usual: the frame holds something else. `negative`: over 5 % of its square sum lay below zero
and was cut off: take a baseline off that noise does not pull. Cautions: `ambiguous`: another
set of spectra fits equally well and changes a concentration by over a tenth of the largest one.
`not_converged`: the factors were still changing.
"""
CAUTIONS = ("ambiguous", "not_converged")


def nmf(intensity: xr.DataArray, *, components: int, window: Range | None = None) -> xr.Dataset:
    """Take a series apart into spectra and concentrations, neither of them negative.

    Non-negative matrix factorisation (Lee and Seung, Nature 401 (1999) 788) by coordinate descent,
    from a start made of the singular vectors (Boutsidis and Gallopoulos, Pattern Recognit. 41
    (2008) 1350), as scikit-learn does it; the same answer every time. Fast and blind: for known
    spectra, fractions that add up to one and sigma of the fractions see `resolve`.

    Parameters
    ----------
    intensity
        On (time, axis), less its baseline, numpy or dask: the window of all frames is read at once.
        Frames with a gap in it are left out; what is negative counts as nothing.
    components
        How many spectra, one to twelve; see `rank` and `explained_variance`.
    window
        Lowest and highest value of the axis; None takes all of it.

    Returns
    -------
    Dataset
        `spectrum` on (component, axis), of an area of one, the largest component first; on (time,
        component) `concentration` (the area that it contributes), `concentration_sigma` (given the
        spectra, from what is left over), `concentration_low` and `concentration_high`: between them
        spectra that are not negative fit equally well, two at a time; on component `contribution`
        (its part of all area); on time `residual` (root mean square) and `assessment`. attrs:
        `explained_variance`, the part of the variation about the mean frame, `converged`, `rounds`.

    Raises
    ------
    RequestError
        No time and one axis, a window outside of it, fewer than five whole frames, no signal,
        more components than these allow.

    Notes
    -----
    A factor is no species: unless each species is, in some frame and at some shift, absent, other
    spectra do as well, and the band says how different ones. A band that moves or widens becomes
    several factors. Background that is left over becomes one, too. Noise is cut off below zero but
    not above: where nothing is, 0.4 of the noise of each point is left.
    """
    axis, unit = axis_of(intensity)
    grid = np.asarray(intensity[axis].values, dtype=float)
    limits = (float(grid[0]), float(grid[-1])) if window is None else window
    seen = inside(grid, limits, least=LEAST_POINTS, axis=axis, unit=unit)
    rows = intensity.isel({axis: seen}).transpose("time", axis).values.astype(float)
    whole = np.isfinite(rows).all(axis=1)
    good, grid = rows[whole], grid[seen]
    if len(good) < LEAST_FRAMES or not (good > 0).any():
        raise RequestError(
            f"intensity: {len(good)} of {len(rows)} frames without a gap in {limits!r} {unit}; "
            f"expected {LEAST_FRAMES} or more, with something above zero"
        )
    most = min(MOST, *good.shape)
    count = arguments.whole("components", components, lambda n: 1 <= n <= most, f"1 to {most}")
    found = of_unit_area(grid, _factorise(np.maximum(good, 0.0), count))
    order = np.argsort(-found.fractions.sum(axis=0), kind="stable")
    amount, spectra = found.fractions[:, order], found.spectra[order]
    left = good - amount @ spectra
    residual = np.sqrt(np.square(left).mean(axis=1))
    sigma = _sigma(spectra, residual)
    weight = np.maximum(np.square(amount).sum(axis=0), np.finfo(float).tiny)
    noise = np.sqrt(np.square(left).mean() / weight)
    low, high = band(amount, spectra, known=0, sigma=sigma, noise=noise, closed=False)
    wrong = {
        "misfit": residual > UNUSUAL * np.median(residual),
        "negative": _cut_off(good) > BELOW,
        "ambiguous": ((high - low) > WIDE * amount.max(axis=0)).any(axis=1),
        "not_converged": np.full(len(good), not found.converged),
    }
    verdict = np.full(whole.size, FACTOR_ASSESSMENT["nonfinite"], np.int32)
    verdict[whole] = sum(np.where(bad, FACTOR_ASSESSMENT[name], 0) for name, bad in wrong.items())
    about = np.square(good - good.mean(axis=0)).sum()
    facts = {
        "signal": str(intensity.name),
        "window": limits,
        "explained_variance": float(1 - np.square(left).sum() / about) if about > 0 else np.nan,
        "converged": int(found.converged),
        "rounds": found.rounds,
    }
    areas = f"{intensity.attrs.get('units', '1')} * {unit}"
    numbers = {"concentration": amount, "concentration_sigma": sigma}
    numbers |= {"concentration_low": low, "concentration_high": high}
    per_frame: dict[str, Any] = {
        name: (("time", "component"), _filled(part, whole), {"units": areas})
        for name, part in numbers.items()
    }
    result = xr.Dataset(per_frame, _coordinates(intensity, axis, grid, unit, count))
    result["concentration"].attrs["ancillary_variables"] = " ".join(list(per_frame)[1:])
    result["spectrum"] = (("component", axis), spectra, {"units": f"1 / ({unit})"})
    share = amount.sum(axis=0) / max(amount.sum(), np.finfo(float).tiny)
    result["contribution"] = ("component", share, {"units": "1"})
    told = {"units": str(intensity.attrs.get("units", "1"))}
    result["residual"] = ("time", _filled(residual, whole), told)
    bits = {**flag_attributes(FACTOR_ASSESSMENT)}
    bits["cautions"] = sum(FACTOR_ASSESSMENT[name] for name in CAUTIONS)
    result["assessment"] = ("time", verdict, bits)
    return result.assign_attrs(facts)


def _factorise(rows: Array, count: int) -> Resolved:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    size = float(rows.max())  # the criterion of scikit-learn knows no units
    model = NMF(count, init="nndsvda", solver="cd", tol=SETTLED, max_iter=ROUNDS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in `assessment`
        amount = model.fit_transform(rows / size)
    spectra = np.asarray(model.components_, dtype=float)
    amount = np.asarray(amount, dtype=float) * size
    residual = float(np.sqrt(np.square(rows - amount @ spectra).mean()))
    rounds = int(model.n_iter_)
    return Resolved(amount, spectra, residual, rounds, rounds < ROUNDS)


def _sigma(spectra: Array, residual: Array) -> Array:
    """Return sigma of the amounts (n, p) of spectra (p, m) in frames with a residual (n,)."""
    inverse = np.linalg.pinv(spectra @ spectra.T)
    freedom = spectra.shape[1] / max(spectra.shape[1] - spectra.shape[0], 1)
    spread = np.sqrt(np.clip(np.diag(inverse), 0.0, None) * freedom)
    return np.asarray(residual[:, None] * spread)


def _cut_off(rows: Array) -> Array:
    """Return the part of the square sum of each row that lies below zero, (n,)."""
    whole = np.square(rows).sum(axis=1)
    below = np.square(np.minimum(rows, 0.0)).sum(axis=1)
    return np.asarray(below / np.maximum(whole, np.finfo(float).tiny))


def _filled(values: Array, whole: Mask) -> Array:
    """Return values of whole frames among all frames, NaN for the others."""
    out = np.full((whole.size, *values.shape[1:]), np.nan)
    out[whole] = values
    return out


def _coordinates(
    intensity: xr.DataArray, axis: str, grid: Array, unit: str, count: int
) -> dict[str, Any]:
    riding = {
        str(name): part for name, part in intensity.coords.items() if part.dims in (("time",), ())
    }
    names = [f"factor {number}" for number in range(1, count + 1)]
    return {**riding, axis: (axis, grid, {"units": unit}), "component": names}
