"""Whether a sweep can be an impedance at all: the linear Kramers-Kronig test, and its noise.

A stable, linear, causal cell has an impedance whose two parts are one function of its relaxations,

    Z(w) = R + sum_k R_k / (1 + i w tau_k) + i w L + 1 / (i w C),

linear in R, R_k (of either sign), L and 1/C on a fixed grid of tau (Boukamp, J. Electrochem. Soc.
142 (1995) 1885). Fitted to both parts together it is the Kramers-Kronig model; fitted to each part
on its own it follows any smooth sweep, consistent or not. The first fit leaves noise and
inconsistency, the second noise alone, and the ratio of what they leave has an F distribution when
there is no inconsistency: the test needs no regularisation, no choice of a number of elements and
no limit for the residual, and costs three linear least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

PER_DECADE = 3.0
"""Relaxations to a decade: those of a depressed arc are then followed to 1e-5."""
BEYOND = 0.5
"""Decades that the grid of tau reaches beyond the sweep on both sides."""
FEWEST = 10
"""Points below which nothing is left to judge by."""
FALSE_ALARM = 1e-3
"""How often a sound sweep is called inconsistent."""
TOLERATED = 0.003
"""Inconsistency, relative to |Z|, that harms nothing even where it is certain."""


@dataclass(frozen=True)
class Consistency:
    """What the two fits of one sweep say, all relative to |Z| and for one part of it."""

    residual: float
    """Root mean square of what the Kramers-Kronig model leaves."""
    noise: float
    """Standard deviation of one part of one point, from the fits of each part on its own."""
    violation: float
    """Root mean square of what only inconsistent parts explain, beyond noise."""
    probability: float
    """Of leaving so much more than noise without any inconsistency."""

    @property
    def violated(self) -> bool:
        """Whether the parts contradict each other, certainly and noticeably."""
        return self.probability < FALSE_ALARM and self.violation > TOLERATED


def check_consistency(frequency: Array, impedance: Complex) -> Consistency:
    """Judge one sweep of finite points (m,) at frequencies in Hz.

    Residuals are weighted with 1/|Z|. All NaN below 10 points. Fails to see changes of the cell
    that the sweep cannot tell from another relaxation: slow drift at high frequencies, and any
    non-linearity that acts alike on both parts.
    """
    if frequency.size < FEWEST:
        return Consistency(*[np.nan] * 4)
    omega = 2.0 * np.pi * frequency
    scale = 1.0 / np.abs(impedance)
    tau = _relaxations(omega)
    arcs = scale[:, None] / (1.0 + 1j * omega[:, None] * tau)
    flat, rising, falling = scale, scale * omega / omega.max(), -scale * omega.min() / omega
    nothing = np.zeros_like(scale)
    target = impedance * scale
    real = np.column_stack([flat, arcs.real])
    imaginary = np.column_stack([rising, falling, arcs.imag])
    both = np.vstack(
        [
            np.column_stack([flat, nothing, nothing, arcs.real]),
            np.column_stack([nothing, rising, falling, arcs.imag]),
        ]
    )
    together = _left(both, np.concatenate([target.real, target.imag]))
    apart = _left(real, target.real) + _left(imaginary, target.imag)
    points, more = 2 * frequency.size, tau.size
    freedom = points - real.shape[1] - imaginary.shape[1]
    noise = apart / freedom
    excess = max(together - apart, 0.0)
    return Consistency(
        residual=float(np.sqrt(together / (points - both.shape[1]))),
        noise=float(np.sqrt(noise)),
        violation=float(np.sqrt(max(excess - more * noise, 0.0) / points)),
        probability=float(fdtrc(more, freedom, excess / more / noise)) if noise > 0 else 1.0,
    )


def _relaxations(omega: Array) -> Array:
    """Return the grid of tau, at most one for every two points."""
    first, last = -np.log10(omega.max()) - BEYOND, -np.log10(omega.min()) + BEYOND
    count = min(round(PER_DECADE * (last - first)) + 1, omega.size // 2)
    return np.logspace(first, last, count)


def _left(columns: Array, target: Array) -> float:
    """Return the sum of squares that least squares leave."""
    orthogonal, _ = np.linalg.qr(columns)
    rest = target - orthogonal @ (orthogonal.T @ target)
    return float(rest @ rest)
