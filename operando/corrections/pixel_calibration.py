"""From pixels of a dispersive spectrometer to energies, by a foil measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares

from operando import arguments

Array = npt.NDArray[np.float64]
Assessment = Literal["success", "ambiguous", "poor_match"]

COARSE_POINTS = 128
SPANS = np.geomspace(0.05, 1.0, 61)
"""Parts of the standard that the camera may see, 5 % apart."""
STEP = 0.005
"""Of the offsets tried, in parts of the span: features of an edge are twice as wide or more."""
STARTS = 8
DISTINCT = 0.05
"""Candidates whose ends lie closer than this part of their span are one."""
OVERHANG = 0.02
"""Of the span that may lie beyond the standard, which is held at its last value there."""
WORST = 0.1
AMBIGUOUS = 1.25
LEAST_PIXELS = 30


@dataclass(frozen=True, kw_only=True)
class PixelCalibration:
    """E(p) = sum c_i p^i, in eV."""

    coefficients: Array
    """Ascending powers of the pixel, (degree + 1,): the option `calibration` of `dispersive`."""
    sigma: Array
    """Of each coefficient; they are strongly correlated, so see `energy_sigma`."""
    covariance: Array
    residual: float
    """Root mean square of measured minus fitted foil, in parts of the range of the fitted one."""
    assessment: Assessment

    def energy(self, pixels: npt.ArrayLike) -> Array:
        """Return the energies of pixels in eV."""
        return np.asarray(self._powers(pixels) @ self.coefficients)

    def energy_sigma(self, pixels: npt.ArrayLike) -> Array:
        """Return the uncertainty of the energies of pixels in eV."""
        powers = self._powers(pixels)
        variance = np.einsum("...i,ij,...j->...", powers, self.covariance, powers)
        return np.asarray(np.sqrt(variance))

    def _powers(self, pixels: npt.ArrayLike) -> Array:
        return np.vander(np.atleast_1d(pixels), self.coefficients.size, increasing=True)


def calibrate_pixels(
    foil_signal: npt.ArrayLike,
    standard_energy: npt.ArrayLike,
    standard_mu: npt.ArrayLike,
    *,
    degree: int = 2,
    background: int = 2,
    pixels: npt.ArrayLike | None = None,
) -> PixelCalibration:
    r"""Find the energies of pixels by matching a foil to a standard spectrum of the same foil.

    Model: foil(p) = a mu(E(p)) + sum_j b_j p^j with a > 0 and E(p) a polynomial: neither the
    scale, the offset nor a smooth slope of either spectrum matters. Procedure: every position and
    width of the camera in the standard is tried in both directions on a coarse grid; the best
    distinct ones are refined by least squares in E(p), a and b being solved for at each step
    (variable projection); the smallest residual wins.

    Parameters
    ----------
    foil_signal
        Absorption of the foil, ln(I0/I1), (pixels,): it must rise at the edge. For instance
        ``np.loadtxt("cu_08", comments=":")[:, 1]``.
    standard_energy, standard_mu
        The standard in eV, (points,), any order; it must cover all pixels given.
    degree
        Of E(p): 1 to 4.
    background
        Of the polynomial in the pixel: 0 to 3.
    pixels
        Numbers of the pixels, (pixels,), as the files to calibrate count them; 0, 1, 2 .. when not
        given. Leave bad pixels out of both.

    Returns
    -------
    PixelCalibration
        sigma is statistical, from the scatter of the residual, widened for its serial correlation
        (the two spectra differ in resolution and background too). `assessment` is "poor_match"
        when the residual is above 10 % of the foil (another foil, a standard too short, I0/I1
        upside down), "ambiguous" when another mapping is nearly as good (a featureless edge).

    Raises
    ------
    RequestError
        Fewer than 30 finite points of either, lengths that differ, or a degree out of range.

    Notes
    -----
    Fails when the camera sees less than 5 % of the standard, or less than the edge and one or two
    features behind it: dispersion and curvature are then free.
    """
    signal, number, energy, mu = _checked(foil_signal, pixels, standard_energy, standard_mu)
    degree = arguments.whole("degree", degree, lambda n: 1 <= n <= 4, "1 to 4")
    background = arguments.whole("background", background, lambda n: 0 <= n <= 3, "0 to 3")
    middle, half = (number.max() + number.min()) / 2, np.ptp(number) / 2
    match = _Match(
        place=(number - middle) / half,
        signal=signal,
        standard=CubicSpline(energy, mu),
        limits=(float(energy[0]), float(energy[-1])),
        background=background,
    )
    found = [match.refined(ends, degree) for ends in _candidates(match)]
    found.sort(key=lambda fit: fit.cost)
    best = found[0]
    others = [fit for fit in found[1:] if _distinct(fit.ends, best.ends)]
    residual = np.sqrt(2 * best.cost / signal.size) / best.size
    assessment: Assessment = "success"
    if not np.isfinite(residual) or residual > WORST:
        assessment = "poor_match"
    elif others and others[0].cost < AMBIGUOUS**2 * best.cost:
        assessment = "ambiguous"
    to_powers = _powers_of_pixels(middle, half, degree)
    covariance = to_powers @ best.covariance @ to_powers.T
    return PixelCalibration(
        coefficients=to_powers @ best.shape,
        sigma=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        residual=float(residual),
        assessment=assessment,
    )


def _checked(
    signal: npt.ArrayLike, pixels: npt.ArrayLike | None, energy: npt.ArrayLike, mu: npt.ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """Return finite points: foil and its pixels, standard in order of energy."""
    foil = np.asarray(signal, np.float64).reshape(-1)
    number = np.arange(foil.size) if pixels is None else np.asarray(pixels).reshape(-1)
    axis, values = (np.asarray(one, np.float64).reshape(-1) for one in (energy, mu))
    if number.size != foil.size:
        raise arguments.refusal("pixels", pixels, f"{foil.size} numbers, one a point of the foil")
    if axis.size != values.size:
        raise arguments.refusal("standard_mu", mu, f"{axis.size} numbers, one an energy")
    good = np.isfinite(foil)
    known = np.isfinite(axis) & np.isfinite(values)
    axis, first = np.unique(axis[known], return_index=True)
    values = values[known][first]
    for name, what, size in (
        ("foil_signal", signal, np.unique(number[good]).size),
        ("standard_energy", energy, axis.size),
    ):
        if size < LEAST_PIXELS:
            raise arguments.refusal(name, what, f"{LEAST_PIXELS} or more finite points")
    return foil[good], number[good].astype(np.float64), axis, values


@dataclass(frozen=True)
class _Fit:
    """One mapping: E(u) = sum shape_i u^i, u from -1 to 1 over the pixels."""

    shape: Array
    covariance: Array
    cost: float
    """Half the sum of squared residuals."""
    size: float
    """Range of the fitted foil without its background."""

    @property
    def ends(self) -> tuple[float, float]:
        powers = np.arange(self.shape.size)
        return float(((-1.0) ** powers) @ self.shape), float(self.shape.sum())


@dataclass(frozen=True)
class _Match:
    """A foil on a camera, and the standard it is compared with."""

    place: Array
    """Pixels from -1 to 1."""
    signal: Array
    standard: CubicSpline
    limits: tuple[float, float]
    background: int

    def difference(self, shape: Array) -> Array:
        """Return measured minus fitted foil, the linear terms at their best."""
        return self.signal - self._fitted(shape)[0]

    def refined(self, ends: tuple[float, float], degree: int) -> _Fit:
        """Refine a straight mapping, then let it bend."""
        low, high = ends
        shape = np.array([(low + high) / 2, (high - low) / 2])
        straight = least_squares(self.difference, shape, x_scale="jac", method="lm")
        start = np.concatenate([straight.x, np.zeros(degree - 1)])
        scale = np.full(start.size, 1e-3 * abs(high - low))
        bent = least_squares(self.difference, start, x_scale=scale, method="lm")
        fitted, scale_of_standard, size = self._fitted(bent.x)
        slope = np.polynomial.polynomial.polyval(
            np.linspace(-1, 1, 21), np.polynomial.polynomial.polyder(bent.x)
        )
        low_end, high_end = np.sort(np.polynomial.polynomial.polyval([-1.0, 1.0], bent.x))
        margin = OVERHANG * (high_end - low_end)
        covered = low_end > self.limits[0] - margin and high_end < self.limits[1] + margin
        believed = scale_of_standard > 0 and covered and np.all(slope * slope[0] > 0)
        return _Fit(
            shape=bent.x,
            covariance=self._covariance(bent.jac, self.signal - fitted),
            cost=float(bent.cost) if believed else np.inf,
            size=size,
        )

    def _fitted(self, shape: Array) -> tuple[Array, float, float]:
        energy = np.clip(np.polynomial.polynomial.polyval(self.place, shape), *self.limits)
        mu = self.standard(energy)
        terms = np.column_stack([mu, np.vander(self.place, self.background + 1)])
        weights = np.linalg.lstsq(terms, self.signal, rcond=None)[0]
        return terms @ weights, float(weights[0]), float(abs(weights[0]) * np.ptp(mu))

    def _covariance(self, jacobian: Array, residual: Array) -> Array:
        """Return the covariance of the mapping, wider where the residuals hang together."""
        free = residual.size - jacobian.shape[1] - self.background - 2
        variance = float(residual @ residual) / max(free, 1) * _correlation_length(residual)
        return np.asarray(variance * np.linalg.pinv(jacobian.T @ jacobian))


def _correlation_length(residual: Array) -> float:
    """Return 1 + 2 sum of the autocorrelation up to where it falls below its own noise."""
    centred = residual - residual.mean()
    power = np.abs(np.fft.rfft(centred, 2 * centred.size)) ** 2
    correlation = np.fft.irfft(power)[: centred.size]
    if correlation[0] <= 0:
        return 1.0
    correlation /= correlation[0]
    below = np.flatnonzero(correlation < 2 / np.sqrt(centred.size))
    stop = int(below[0]) if below.size else centred.size
    return float(1 + 2 * correlation[1:stop].sum())


def _candidates(match: _Match) -> list[tuple[float, float]]:
    """Return the energies of the first and last pixel that match best, distinct ones."""
    count = min(COARSE_POINTS, match.place.size)
    groups = np.array_split(np.argsort(match.place), count)
    place = np.array([match.place[group].mean() for group in groups])
    foil = np.array([match.signal[group].mean() for group in groups])
    smooth, _ = np.linalg.qr(np.vander(place, match.background + 1))
    foil = foil - smooth @ (smooth.T @ foil)
    low, high = match.limits
    scores, tried = [], []
    for span in SPANS * (high - low):
        first = np.arange(low, high - span + STEP * span / 2, STEP * span)
        for ends in (
            np.column_stack([first, first + span]),
            np.column_stack([first + span, first]),
        ):
            energy = ends[:, :1] + (place + 1) / 2 * np.diff(ends)
            template = np.interp(energy, match.standard.x, match.standard(match.standard.x))
            template -= (template @ smooth) @ smooth.T
            length = np.linalg.norm(template, axis=1)
            scores.append(template @ foil / np.where(length > 0, length, np.inf))
            tried.append(ends)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    table = np.concatenate(tried)[order]
    kept: list[tuple[float, float]] = []
    for low_end, high_end in table:
        pair = (float(low_end), float(high_end))
        if all(_distinct(pair, other) for other in kept):
            kept.append(pair)
        if len(kept) == STARTS:
            break
    return kept


def _distinct(ends: tuple[float, float], other: tuple[float, float]) -> bool:
    span = abs(other[1] - other[0])
    return max(abs(ends[0] - other[0]), abs(ends[1] - other[1])) > DISTINCT * span


def _powers_of_pixels(middle: float, half: float, degree: int) -> Array:
    """Return the matrix from coefficients of ((p - middle) / half)^i to those of p^i."""
    matrix = np.zeros((degree + 1, degree + 1))
    power = np.array([1.0])
    for column in range(degree + 1):
        matrix[: power.size, column] = power
        power = np.polynomial.polynomial.polymul(power, [-middle / half, 1 / half])
    return matrix
