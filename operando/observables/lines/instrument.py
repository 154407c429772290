"""What the instrument adds to the width of a line: Caglioti's function and how Voigts combine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.observables.lines.bragg import angles
from operando.observables.lines.measured import Array, checked, measured
from operando.observables.lines.radiation import wavelength_of


@dataclass(frozen=True, kw_only=True)
class Caglioti:
    """Widths that the instrument gives to lines: FWHM^2 = U tan^2(theta) + V tan(theta) + W.

    G. Caglioti, A. Paoletti and F. P. Ricci, Nucl. Instrum. 3 (1958) 223.
    """

    u: float
    v: float
    w: float
    """In square degrees of 2theta."""
    eta: float
    """Lorentzian share of a pseudo-Voigt of this width."""
    sigma: float = 0.0
    """Standard deviation of the FWHM it gives, in degree."""

    def fwhm(self, two_theta: Array) -> Array:
        """Return the width in degrees at 2theta in radians; NaN where its square is negative."""
        tangent = np.tan(two_theta / 2)
        square = self.u * tangent**2 + self.v * tangent + self.w
        return np.sqrt(np.where(square > 0, square, np.nan))


def instrument_function(standard: xr.Dataset, *, wavelength: float | None = None) -> Caglioti:
    """Learn Caglioti's function from the lines of a standard whose own width is nothing.

    Weighted least squares of FWHM^2 over all frames and lines; eta is the weighted mean. Of n lines
    with residuals r the function has, on average over the lines, sigma^2 = 3/n sum(r^2)/(n - 3):
    three parameters take up that part of the scatter. Between and beyond few lines it is larger.

    Raises
    ------
    RequestError
        Fewer than four lines that can be believed: three parameters, and one to show an error.
    """
    standard = checked(standard, "centre", "fwhm", "eta")
    two_theta = angles(standard, wavelength_of(standard, wavelength), despite=("poor_fit",)).value
    width = measured(standard, "fwhm", despite=("poor_fit",))
    eta = standard["eta"].values.astype(np.float64)
    use = np.isfinite(two_theta) & np.isfinite(width.value) & np.isfinite(eta)
    lines = int(use.any(axis=0).sum())
    if lines < 4:
        raise RequestError(
            f"instrument: {lines} lines of the standard can be believed; expected 4 or more"
        )
    tangent = np.tan(two_theta[use] / 2)
    weight = 1 / (2 * width.value[use] * width.sigma[use])
    design = np.stack([tangent**2, tangent, np.ones_like(tangent)], axis=1) * weight[:, None]
    target = width.value[use] ** 2 * weight
    u, v, w = np.linalg.lstsq(design, target, rcond=None)[0]
    left = width.value[use] - np.sqrt(np.maximum(u * tangent**2 + v * tangent + w, 0.0))
    share = float(np.average(eta[use], weights=weight**2))
    scatter = float(np.sqrt(3 * np.mean(left**2) / max(lines - 3, 1)))
    return Caglioti(u=float(u), v=float(v), w=float(w), eta=share, sigma=scatter)


def declared(instrument: object, wavelength: float | None) -> Caglioti:
    """Return the instrument function that was given, or learn it from a standard that was.

    Raises
    ------
    RequestError
        Neither was.
    """
    if isinstance(instrument, Caglioti):
        arguments.number("eta", instrument.eta, lambda e: 0 <= e <= 1, "0 to 1")
        arguments.number("sigma", instrument.sigma, lambda s: s >= 0, "degree, from 0")
        return instrument
    if isinstance(instrument, xr.Dataset):
        return instrument_function(instrument, wavelength=wavelength)
    raise arguments.refusal(
        "instrument", instrument, "Caglioti(u, v, w, eta), or the tracks of a standard's lines"
    )


def parts(fwhm: Array, eta: Array) -> tuple[Array, Array]:
    """Return the Gaussian and Lorentzian FWHM of a pseudo-Voigt.

    W. I. F. David, J. Appl. Cryst. 19 (1986) 63.
    """
    gauss = 1 - 0.74417 * eta - 0.24781 * eta**2 - 0.00810 * eta**3
    lorentz = 0.72928 * eta + 0.19289 * eta**2 + 0.07783 * eta**3
    return fwhm * np.sqrt(np.maximum(gauss, 0.0)), fwhm * lorentz


def together(gauss: Array, lorentz: Array) -> Array:
    """Return the FWHM of the pseudo-Voigt that stands for a Voigt of these, to 0.3 %.

    P. Thompson, D. E. Cox and J. B. Hastings, J. Appl. Cryst. 20 (1987) 79.
    """
    fifth = (
        gauss**5
        + 2.69269 * gauss**4 * lorentz
        + 2.42843 * gauss**3 * lorentz**2
        + 4.47163 * gauss**2 * lorentz**3
        + 0.07842 * gauss * lorentz**4
        + lorentz**5
    )
    return np.asarray(fifth**0.2)


def without(fwhm: Array, eta: Array, instrument: Array, instrument_eta: float) -> Array:
    """Return the FWHM of what, convolved with the instrument, has this width and share.

    Lorentzian widths subtract, Gaussian ones in squares; a part below the instrument's is nothing.
    """
    gauss, lorentz = parts(fwhm, eta)
    own_gauss, own_lorentz = parts(instrument, np.full_like(instrument, instrument_eta))
    return together(
        np.sqrt(np.maximum(gauss**2 - own_gauss**2, 0.0)), np.maximum(lorentz - own_lorentz, 0.0)
    )
