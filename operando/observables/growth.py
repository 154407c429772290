"""How a resistance grows: R = R0 + k t^n, the exponent with its sigma, and what else would do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import category_attributes, positions

Array = npt.NDArray[np.float64]

FEWEST = 8
"""Usable sweeps below which an exponent would be a story."""
EXPONENTS = (0.05, 4.0)
DELAYS = (1e-3, 1e3)
"""Range of the time of a logarithmic law, relative to the time that is spanned."""
NO_GROWTH = 14.0
"""Improvement of chi-square over a constant that is needed: a constant passes 999 of 1000 times."""
STRONG = 6.0
"""Difference of BIC that decides."""
STEPS, REFINED = 60, 40
"""Points of the grid, and golden sections after it."""

ASSESSMENT: dict[str, int] = {
    "success": 0,
    "too_few": 1,
    "no_growth": 2,
    "at_bound": 3,
    "another_law": 4,
}
"""`too_few`: fewer than 8 usable sweeps, or all at one time. `no_growth`: a constant describes the
series as well, so that the exponent means nothing. `at_bound`: no exponent from 0.05 to 4 is best.
`another_law`: one without a free exponent is better by more than 6 in BIC: is the origin right?
"""

LAWS = ("free", "diffusion", "linear", "logarithmic")


def growth_law(
    resistance: xr.DataArray, *, sigma: xr.DataArray, origin: np.datetime64 | None = None
) -> xr.Dataset:
    """Fit R = R0 + k (t / 1 h)^n to the resistance of one spot, with the exponent free.

    n = 0.5 is growth limited by diffusion through what has grown (Wagner's parabolic law), n = 1 by
    a reaction at constant rate. For each n the law is linear in R0 and k, so chi-square is a
    function of n alone; its minimum is found on a grid and refined by golden section. Laws with n
    fixed at 0.5 and 1 and R0 + k ln(1 + t/t0) are compared by
    BIC = N ln(chi2/N) + p ln N, which needs no absolute sigma; a difference above 6 is strong.

    Parameters
    ----------
    resistance, sigma
        On time, in ohm; sweeps of which either is not finite are left out.
    origin
        Where t is 0: when growth began. By default the first usable sweep. The exponent depends on
        it: a later origin makes parabolic growth look linear.

    Returns
    -------
    Dataset
        Without dimensions: `initial_resistance`, `rate` (k, the growth in the first hour),
        `exponent`, each with `_sigma`; `chi2r`; `bic_<law>` for `free`, `diffusion`, `linear`,
        `logarithmic`; `sweeps` (how many were used); `assessment`. NaN where there are too few.
        Sigma comes from the covariance at the minimum, widened by sqrt(chi2r) where that exceeds 1.

    Raises
    ------
    RequestError
        Other dimensions or times, several positions, an origin after the first sweep.

    Notes
    -----
    Fails on growth that starts, stops or changes its law within the series: then chi2r is far above
    1. R0 and n are strongly correlated when the first sweeps lie far from the origin.
    """
    arguments.array("resistance", resistance, "time")
    arguments.array("sigma", sigma, "time")
    if not np.array_equal(resistance["time"], sigma["time"]):
        raise RequestError("sigma: other times than resistance; expected those of the same sweeps")
    if len(positions(resistance)) > 1:
        raise RequestError(
            f"resistance: positions {list(positions(resistance))}; expected one: select it"
        )
    value, spread = resistance.values.astype(float), sigma.values.astype(float)
    usable = np.isfinite(value) & np.isfinite(spread) & (spread > 0)
    stamps = resistance["time"].values[usable]
    begin = _origin(origin, stamps if stamps.size else resistance["time"].values)
    hours = (stamps - begin) / np.timedelta64(1, "h")
    if np.any(hours < 0):
        raise RequestError(f"origin: {begin}; expected no later than the first sweep")
    numbers = fit_growth(hours, value[usable], spread[usable])
    return _labelled(numbers, str(begin))


def _origin(origin: np.datetime64 | None, stamps: npt.NDArray[np.datetime64]) -> np.datetime64:
    if origin is not None:
        if not isinstance(origin, np.datetime64) or np.isnat(origin):
            raise arguments.refusal("origin", origin, "a numpy.datetime64, UTC")
        return origin
    return stamps.min() if stamps.size else np.datetime64("NaT")


def fit_growth(hours: Array, value: Array, sigma: Array) -> dict[str, float]:
    """Fit the law to values (n,) at hours since the origin, all of them usable."""
    names = ("initial_resistance", "rate", "exponent")
    numbers = dict.fromkeys(
        [*names, *(f"{n}_sigma" for n in names), "chi2r", *(f"bic_{law}" for law in LAWS)], np.nan
    )
    numbers |= {"sweeps": float(value.size), "assessment": float(ASSESSMENT["too_few"])}
    if value.size < FEWEST or np.unique(hours).size < FEWEST // 2:
        return numbers
    span = float(hours.max())
    part, weight = hours / span, 1 / sigma
    chi2, exponent, bounded = _minimum(lambda n: _linear(part**n, value, weight)[0], EXPONENTS)
    chi2r = chi2 / (value.size - 3)
    widened = max(chi2r, 1.0)
    start, growth = _linear(part**exponent, value, weight)[1]
    covariance = widened * _covariance(part, weight, growth, exponent)
    # k = G / T^n, and with it sigma, from the growth G over the whole time T
    rate = growth * span**-exponent
    lever = np.array([0.0, span**-exponent, -rate * np.log(span)])
    variances = (covariance[0, 0], lever @ covariance @ lever, covariance[2, 2])
    for name, number, variance in zip(names, (start, rate, exponent), variances, strict=True):
        numbers |= {name: float(number), f"{name}_sigma": float(np.sqrt(max(variance, 0.0)))}
    constant = float((value - np.average(value, weights=weight**2)) ** 2 @ weight**2)
    verdict = "at_bound" if bounded else "success"
    if constant - chi2 < NO_GROWTH * widened:
        verdict = "no_growth"
    compared = _compared(part, value, weight, free=chi2)
    if verdict == "success" and min(compared.values()) < compared["bic_free"] - STRONG:
        verdict = "another_law"
    return numbers | compared | {"chi2r": chi2r, "assessment": float(ASSESSMENT[verdict])}


def _compared(part: Array, value: Array, weight: Array, *, free: float) -> dict[str, float]:
    """Return the information criterion of each law."""

    def logarithmic(delay: float) -> float:
        return _linear(np.log1p(part / np.exp(delay)), value, weight)[0]

    delayed = _minimum(logarithmic, (float(np.log(DELAYS[0])), float(np.log(DELAYS[1]))))[0]
    left = {
        "free": (free, 3),
        "diffusion": (_linear(part**0.5, value, weight)[0], 2),
        "linear": (_linear(part, value, weight)[0], 2),
        "logarithmic": (delayed, 3),
    }
    return {f"bic_{law}": _bic(*of_law, value.size) for law, of_law in left.items()}


def _linear(shape: Array, value: Array, weight: Array) -> tuple[float, Array]:
    """Return chi-square and the two numbers of value = a + b shape."""
    columns = np.column_stack([weight, weight * shape])
    solved = np.linalg.lstsq(columns, value * weight, rcond=None)[0]
    return float(((value * weight - columns @ solved) ** 2).sum()), np.asarray(solved, float)


def _minimum(
    chi2: Callable[[float], float], bounds: tuple[float, float]
) -> tuple[float, float, bool]:
    """Return the smallest chi-square, where it is, and whether that is at an end."""
    grid = np.linspace(*bounds, STEPS)
    best = int(np.argmin([chi2(at) for at in grid]))
    left, right = grid[max(best - 1, 0)], grid[min(best + 1, STEPS - 1)]
    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    for _ in range(REFINED):
        lower, upper = right - golden * (right - left), left + golden * (right - left)
        if chi2(lower) < chi2(upper):
            right = upper
        else:
            left = lower
    at = float(0.5 * (left + right))
    near = 1e-6 * (bounds[1] - bounds[0])
    return chi2(at), at, bool(at < bounds[0] + near or at > bounds[1] - near)


def _covariance(part: Array, weight: Array, growth: float, exponent: float) -> Array:
    """Return the covariance of R0, the growth over the whole time, and the exponent."""
    grown = part**exponent
    slope = growth * grown * np.log(np.where(part > 0, part, 1.0))
    columns = np.column_stack([np.ones_like(part), grown, slope]) * weight[:, None]
    return np.asarray(np.linalg.pinv(columns.T @ columns))


def _bic(chi2: float, parameters: int, points: int) -> float:
    return float(points * np.log(max(chi2, 1e-300) / points) + parameters * np.log(points))


def _labelled(numbers: dict[str, float], origin: str) -> xr.Dataset:
    about = {
        "initial_resistance": ("ohm", "resistance at the origin"),
        "rate": ("ohm", "growth in the first hour"),
        "exponent": ("1", "exponent of growth"),
    }
    dataset = xr.Dataset(attrs={"law": "R = R0 + k (t / 1 h)^n", "origin": origin})
    for name, (units, meaning) in about.items():
        dataset[name] = ((), numbers[name])
        dataset[name].attrs.update(
            units=units, long_name=meaning, ancillary_variables=f"{name}_sigma"
        )
        dataset[f"{name}_sigma"] = ((), numbers[f"{name}_sigma"])
        dataset[f"{name}_sigma"].attrs.update(
            units=units, long_name=f"standard deviation of the {meaning}"
        )
    dataset["chi2r"] = ((), numbers["chi2r"], {"units": "1", "long_name": "reduced chi-square"})
    for law in LAWS:
        meaning = f"Bayesian information criterion, {law} law"
        dataset[f"bic_{law}"] = ((), numbers[f"bic_{law}"], {"units": "1", "long_name": meaning})
    used = {"units": "1", "long_name": "sweeps that were used"}
    dataset["sweeps"] = ((), np.int32(numbers["sweeps"]), used)
    dataset["assessment"] = ((), np.int32(numbers["assessment"]), category_attributes(ASSESSMENT))
    return dataset
