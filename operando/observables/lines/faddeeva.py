"""The Faddeeva function W(z) = exp(-z^2) erfc(-i z) in the upper half plane.

By the rational approximation of J. A. C. Weideman, SIAM J. Numer. Anal. 31 (1994) 1497 (eq. 38),

    W(z) = 2 P(Z) / (L - i z)^2 + 1 / (sqrt(pi) (L - i z)),  Z = (L + i z) / (L - i z),

P a polynomial of degree N - 1, L = 2^(-1/4) sqrt(N). With N = 32 it is good to some 1e-12.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from operando.observables.lines.lanes import inner

Array = npt.NDArray[np.float64]

TERMS = 32
_L = 2.0**-0.25 * math.sqrt(TERMS)


def _coefficients() -> tuple[float, ...]:
    """Return those of P, highest power first: Fourier coefficients of exp(-t^2) (L^2 + t^2)."""
    half = 2 * TERMS
    theta = np.arange(-half + 1, half) * np.pi / half
    t = _L * np.tan(theta / 2.0)
    f = np.concatenate([[0.0], np.exp(-t * t) * (_L * _L + t * t)])
    found = np.real(np.fft.fft(np.fft.fftshift(f))) / (2 * half)
    return tuple(found[TERMS:0:-1].tolist())


_P = np.array(_coefficients())


@inner
def faddeeva(rows: Array, x: int, centre: float, scale: float, y: float, out: int) -> None:
    """Put u = (x - centre) scale and W(u + i y) into rows out, out + 1 (real), out + 2 (imaginary).

    The polynomial is evaluated for all points at once, coefficient by coefficient, in two rows
    more.
    """
    real, imaginary, z_real, z_imaginary = out + 1, out + 2, out + 3, out + 4
    below = _L + y
    for i in range(rows.shape[1]):
        u = (rows[x, i] - centre) * scale
        # Z = (L - y + i u) / (L + y - i u)
        size = 1.0 / (below * below + u * u)
        rows[z_real, i] = ((_L - y) * below - u * u) * size
        rows[z_imaginary, i] = ((_L - y) * u + below * u) * size
        rows[out, i] = u
        rows[real, i] = 0.0
        rows[imaginary, i] = 0.0
    for term in range(_P.size):
        p = _P[term]
        for i in range(rows.shape[1]):
            a, b = rows[real, i], rows[imaginary, i]
            rows[real, i] = a * rows[z_real, i] - b * rows[z_imaginary, i] + p
            rows[imaginary, i] = a * rows[z_imaginary, i] + b * rows[z_real, i]
    for i in range(rows.shape[1]):
        u = rows[out, i]
        size = 1.0 / (below * below + u * u)
        # 1 / (L - i z), and its square
        a, b = below * size, u * size
        c, d = a * a - b * b, 2.0 * a * b
        p, q = rows[real, i], rows[imaginary, i]
        rows[real, i] = 2.0 * (p * c - q * d) + a / math.sqrt(math.pi)
        rows[imaginary, i] = 2.0 * (p * d + q * c) + b / math.sqrt(math.pi)
