"""Shapes of lines, with their derivatives, as kernels that fill rows; and as plain numpy.

A line of area A, centre c, full width at half maximum w and Lorentzian share e is A p(x), with

    pseudo-Voigt        p = [(1 - e) g(u) + e l(u)] / w,            u = 2 (x - c) / w,
                        g = 2 sqrt(ln 2 / pi) 2^(-u^2),  l = (2 / pi) / (1 + u^2);
    split pseudo-Voigt  the same with u = 2 (x - c) / (w (1 + a)) above c and ... (1 - a) below:
                        c is the mode, w still the full width, a > 0 a tail to larger x;
    Voigt               Re W(z) 2 sqrt(ln 2 / pi) / w_G,  z = sqrt(ln 2) [2 (x - c) + i w_L] / w_G,
                        W the Faddeeva function, w_L = e w the Lorentzian width, and
                        w_G^2 = w^2 [(1 - 0.5346 e)^2 - 0.2166 e^2] the Gaussian one: w is the full
                        width to 2e-4 (Olivero & Longbothe, JQSRT 17 (1977) 233).

Gaussian and Lorentzian are pseudo-Voigts whose e is held at 0 and 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from operando.observables.lines.faddeeva import faddeeva
from operando.observables.lines.lanes import inner, power_of_two

Array = npt.NDArray[np.float64]
Axis = npt.NDArray[np.floating[Any]]

PROFILES = {"pseudo_voigt": 0, "split_pseudo_voigt": 1, "voigt": 2, "gaussian": 0, "lorentzian": 0}
"""Name -> the kernel that draws it."""
KINDS = 5
"""Parameters of a line: area, centre, fwhm, eta, asymmetry. Those of k lines are 5 k + 2 numbers:
k areas, k centres, ... , background in the middle of the window and its slope."""
AREA, CENTRE, FWHM, ETA, ASYMMETRY = range(KINDS)

_LN2 = math.log(2.0)
_GAUSS = 2.0 * math.sqrt(_LN2 / math.pi)
_LORENTZ = 2.0 / math.pi


def profile(x: Axis, *, centre: npt.ArrayLike, fwhm: npt.ArrayLike, eta: npt.ArrayLike) -> Array:
    """Return pseudo-Voigts of unit area; the arguments broadcast."""
    width, share = np.asarray(fwhm, dtype=float), np.asarray(eta, dtype=float)
    u = 2.0 * (x - np.asarray(centre, dtype=float)) / width
    gauss = _GAUSS * np.exp2(-u * u)
    lorentz = _LORENTZ / (1.0 + u * u)
    return np.asarray(((1.0 - share) * gauss + share * lorentz) / width)


@inner
def draw_pseudo_voigt(
    rows: Array, x: int, first: int, step: int, total: int, line: tuple[float, ...]
) -> None:
    """Add a line to row `total` and put its derivatives into rows first, first + step, ...

    Rows are those of area (the line of unit area), centre, width and share; `line` holds the
    numbers of the line in the order of its kinds, and row `x` the axis.
    """
    area, centre, width, share, _ = line
    inverse = 1.0 / width
    scale, tall = 2.0 * inverse, area * inverse
    gauss, lorentz = (1.0 - share) * _GAUSS * inverse, share * _LORENTZ * inverse
    # -d(line)/du / u, so that neither centre nor width needs a division by u
    fall_gauss, fall_lorentz = gauss * 2.0 * _LN2 * tall, lorentz * 2.0 * tall
    more_gauss, more_lorentz = tall * _GAUSS, tall * _LORENTZ
    by_centre, by_width, by_share = first + step, first + 2 * step, first + 3 * step
    for i in range(rows.shape[1]):
        u = (rows[x, i] - centre) * scale
        square = u * u
        g = power_of_two(-square)
        h = 1.0 / (1.0 + square)
        value = gauss * g + lorentz * h
        fall = (fall_gauss * g + fall_lorentz * h * h) * u
        rows[first, i] = value
        rows[by_centre, i] = 2.0 * fall
        rows[by_width, i] = fall * u - tall * value
        rows[by_share, i] = more_lorentz * h - more_gauss * g
        rows[total, i] += area * value


@inner
def draw_split_pseudo_voigt(
    rows: Array, x: int, first: int, step: int, total: int, line: tuple[float, ...]
) -> None:
    """Do as `draw_pseudo_voigt` for a line with another width on each side; one row more."""
    area, centre, width, share, asymmetry = line
    inverse = 1.0 / width
    scale, tall = 2.0 * inverse, area * inverse
    upper, lower = 1.0 / (1.0 + asymmetry), 1.0 / (1.0 - asymmetry)
    gauss, lorentz = (1.0 - share) * _GAUSS * inverse, share * _LORENTZ * inverse
    fall_gauss, fall_lorentz = gauss * 2.0 * _LN2 * tall, lorentz * 2.0 * tall
    more_gauss, more_lorentz = tall * _GAUSS, tall * _LORENTZ
    by_centre, by_width, by_share = first + step, first + 2 * step, first + 3 * step
    by_asymmetry = first + 4 * step
    for i in range(rows.shape[1]):
        above = rows[x, i] >= centre
        side = upper if above else lower
        sign = side if above else -side
        u = (rows[x, i] - centre) * scale * side
        square = u * u
        g = power_of_two(-square)
        h = 1.0 / (1.0 + square)
        value = gauss * g + lorentz * h
        fall = (fall_gauss * g + fall_lorentz * h * h) * u
        rows[first, i] = value
        rows[by_centre, i] = 2.0 * fall * side
        rows[by_width, i] = fall * u - tall * value
        rows[by_share, i] = more_lorentz * h - more_gauss * g
        rows[by_asymmetry, i] = fall * width * u * sign
        rows[total, i] += area * value


@inner
def draw_voigt(
    rows: Array, x: int, first: int, step: int, total: int, scratch: int, line: tuple[float, ...]
) -> None:
    """Do as `draw_pseudo_voigt` for a Voigt, in five rows from `scratch` on."""
    area, centre, width, share, _ = line
    squared = (1.0 - 0.5346 * share) ** 2 - 0.2166 * share * share
    root = math.sqrt(max(squared, 1e-6))
    gaussian = width * root
    scale, height = 2.0 * math.sqrt(_LN2) / gaussian, _GAUSS / gaussian
    y = math.sqrt(_LN2) * share / root
    # d(ln w_G)/de, and dy/de
    narrowing = (-0.5346 * (1.0 - 0.5346 * share) - 0.2166 * share) / (root * root)
    y_slope = math.sqrt(_LN2) / root - y * narrowing
    faddeeva(rows, x, centre, scale, y, scratch)
    by_centre, by_width, by_share = first + step, first + 2 * step, first + 3 * step
    for i in range(rows.shape[1]):
        u, real, imaginary = rows[scratch, i], rows[scratch + 1, i], rows[scratch + 2, i]
        value = height * real
        # W' = -2 z W + 2i / sqrt(pi): its real part is d(Re W)/du, minus its imaginary d/dy
        along = height * -2.0 * (u * real - y * imaginary)
        across = height * (2.0 * (u * imaginary + y * real) - 2.0 / math.sqrt(math.pi))
        rows[first, i] = value
        rows[by_centre, i] = -area * along * scale
        rows[by_width, i] = -area * (value + along * u) / width
        rows[by_share, i] = area * (-narrowing * (value + along * u) + across * y_slope)
        rows[total, i] += area * value
