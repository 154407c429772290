"""Calibration of the energy axis by the first inflection of a foil.

This is the one use of the derivative here: of a metal, in a narrow window around the energy that is
tabulated for it. As the position of the edge of a sample it jumps between maxima.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.bragg import shifted_energy
from operando.corrections.history import recorded
from operando.corrections.white_noise import white_noise
from operando.errors import RequestError

Array = npt.NDArray[np.float64]

AROUND = 25.0
"""How far from the tabulated energy other maxima are looked for, eV."""
COMPARABLE = 0.7
"""Maxima of the derivative this high, of the highest, may be taken for each other."""
VISIBLE = 0.3
"""Lower ones are no inflection to calibrate by."""
ROUNDS = 50
PRECISION = 1e-7


@dataclass(frozen=True, kw_only=True)
class FoilEdge:
    """Where the first inflection of a foil is."""

    energy: float
    """eV; NaN where there is none within reach of the tabulated energy."""
    sigma: float
    """Of `energy`, from the noise."""
    maxima: Array
    """Energy and relative height of every comparable maximum of the derivative, (k, 2)."""


def first_inflection(
    energy: Array,
    mu: Array,
    *,
    tabulated: float,
    within: float = 5.0,
    span: float = 2.0,
    sigma: float | None = None,
) -> FoilEdge:
    """Find the first maximum of the derivative of an edge, between the points of the grid.

    The derivative at each point is that of a parabola fitted around it. Its highest maximum within
    reach of the tabulated energy is refined to the inflection E* = E_c - c2 / (3 c3) of the cubic
    c0 + c1 x + c2 x^2 + c3 x^3 in x = E - E_c fitted around it, weights (1 - (x / span)^2)^2: a
    derivative that is locally a parabola. Sigma follows from the covariance of c2 and c3.

    Parameters
    ----------
    energy, mu
        One spectrum, ascending, eV, (m,); raw ones serve.
    tabulated
        The energy that the calibration gives to the inflection, eV: 8333 of Ni, 17998 of Zr.
    within
        How far off the inflection may lie, eV; below the distance of the next maximum (Zr: 10).
    span
        Half of the range of the fits, eV. Noise falls fast with it (as span^-2.5), but beyond the
        width of the edge the result is pulled towards its steeper side.
    sigma
        Of `mu`; None estimates it by `white_noise`.

    Raises
    ------
    RequestError
        Fewer than 6 points within `span`, or a spectrum that does not reach `span` beyond.
    """
    seen = np.isfinite(mu)
    energy, mu = energy[seen], mu[seen]
    centres = energy[np.abs(energy - tabulated) <= AROUND]
    close = np.count_nonzero(np.abs(energy - tabulated) <= span)
    if centres.size < 6 or close < 6:
        raise RequestError(
            f"span: {span!r} eV around {tabulated!r} eV holds {close} points; at least 6 are needed"
        )
    slopes = np.array([_polynomial(energy, mu, at, span, 2)[0][1] for at in centres])
    peak = (slopes[1:-1] >= slopes[:-2]) & (slopes[1:-1] > slopes[2:]) & (slopes[1:-1] > 0)
    places = np.flatnonzero(peak) + 1
    heights = slopes[places] / slopes[places].max(initial=0.0)
    near = (np.abs(centres[places] - tabulated) <= within) & (heights >= VISIBLE)
    chosen = places[near][heights[near].argmax()] if near.any() else -1
    shown = (heights >= COMPARABLE) | (places == chosen)
    maxima = np.stack([centres[places], heights], axis=-1)[shown]
    refined = None if chosen < 0 else _inflection(energy, mu, float(centres[chosen]), span)
    if refined is None:
        return FoilEdge(energy=np.nan, sigma=np.nan, maxima=maxima)
    noise = float(white_noise(energy, mu[None])[0]) if sigma is None else sigma
    return FoilEdge(energy=refined[0], sigma=noise * refined[1], maxima=maxima)


def _inflection(energy: Array, mu: Array, centre: float, span: float) -> tuple[float, float] | None:
    """Return the inflection of the cubic around it, and its sigma for unit noise."""
    start = centre
    for _ in range(ROUNDS):
        (_, _, c2, c3), covariance = _polynomial(energy, mu, centre, span, 3)
        step = -c2 / (3 * c3)
        if not c3 < 0 or not abs(centre + step - start) <= span:
            return None
        centre += step
        if abs(step) < PRECISION:
            break
    gradient = np.array([-1 / (3 * c3), c2 / (3 * c3**2)])
    return centre, float(np.sqrt(gradient @ covariance[2:, 2:] @ gradient))


def _polynomial(
    energy: Array, mu: Array, centre: float, span: float, degree: int
) -> tuple[Array, Array]:
    """Return coefficients in E - centre, and their covariance for unit noise.

    The weights fall smoothly to zero at `span`, or the result would hop as points come and go.
    """
    x = (energy - centre) / span
    inside = np.abs(x) < 1
    powers = np.vander(x[inside], degree + 1, increasing=True)
    root = 1 - x[inside] ** 2
    fit = np.linalg.pinv(powers * root[:, None]) * root / span ** np.arange(degree + 1.0)[:, None]
    return fit @ mu[inside], fit @ fit.T


def calibrate_energy(
    frames: xr.Dataset,
    *,
    tabulated: float,
    signal: str = "mu_reference",
    scans: int = 10,
    within: float = 5.0,
    span: float = 2.0,
    spacing: float | None = None,
) -> xr.Dataset:
    """Give the first inflection of the foil its tabulated energy; only the axis changes.

    Measured on the mean of the leading scans: align the scans first (`shift_energy`).

    Parameters
    ----------
    frames
        A series of absorption spectra.
    tabulated, within, span
        See `first_inflection`.
    signal
        The spectrum of the foil.
    scans
        How many leading scans are averaged.
    spacing
        Of the monochromator's planes in angstrom (3.1356 for Si 111). Given it, the Bragg angle is
        off by a constant: needed where the foil is of another element. When None the energy is.

    Returns
    -------
    Dataset
        `frames` on the calibrated axis; attrs["corrections"] says measured, sigma and maxima.

    Raises
    ------
    RequestError
        No inflection within reach: names the maxima there are. See `first_inflection` for others.

    Warns
    -----
    UserWarning
        Several maxima of comparable height: another choice of `tabulated` moves everything.
    """
    series = arguments.dataset("frames", frames)
    if signal not in series:
        raise RequestError(f"signal: no {signal!r} in {list(series.data_vars)}")
    count = arguments.whole("scans", scans, lambda n: n > 0, "a number of leading scans")
    energy = series["energy"].values.astype(float)
    leading = series[signal].transpose("time", "energy")[:count].values.astype(float)
    whole = leading[np.isfinite(leading).all(axis=1)]
    if not len(whole):
        raise RequestError(f"scans: none of the first {len(leading)} has a whole {signal}")
    found = first_inflection(
        energy, whole.mean(axis=0), tabulated=tabulated, within=within, span=span
    )
    told = ", ".join(f"{at:.1f} eV ({height:.2f})" for at, height in found.maxima)
    if not np.isfinite(found.energy):
        raise RequestError(
            f"tabulated: {tabulated!r} eV; no first inflection of {signal} within {within:g} eV, "
            f"the maxima of its derivative are {told or 'none'}"
        )
    if len(found.maxima) > 1:
        warnings.warn(
            f"{signal}: the derivative has several maxima, {told}; the one at {found.energy:.2f} "
            f"eV is taken for {tabulated:g} eV",
            stacklevel=2,
        )
    axis = shifted_energy(energy, tabulated - found.energy, spacing=spacing, at=found.energy)
    return recorded(
        series.assign_coords(energy=("energy", axis, series["energy"].attrs)),
        "calibration",
        signal=signal,
        tabulated=tabulated,
        measured=found.energy,
        measured_sigma=found.sigma,
        maxima=found.maxima.tolist(),
        spacing=spacing,
    )
