"""Pre-edge line, post-edge polynomial and edge step of many X-ray absorption spectra at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """Spectra with the pre-edge line taken off and the edge step set to one."""

    norm: Array
    """Normalised absorption, shape (n, m); NaN where `mu` is, all NaN where the step is."""
    step: Array
    """Edge step at `e0`, shape (n,), with its sign; NaN where a range holds a NaN, or zero step."""
    step_weights: Array
    """w of step = w . mu, shape (m,); zero outside the ranges."""
    pre_weights: Array
    """Rows p0, p1, shape (2, m): the pre-edge line is (p0 + p1 (E - e0)) . mu."""
    pre: slice
    """Points of the pre-edge range."""
    post: slice
    """Points of the post-edge range."""


def normalise(
    energy: Array, mu: Array, *, e0: float, pre: Range, post: Range, degree: int
) -> Normalised:
    """Normalise spectra on one grid with one fixed `e0` and fixed ranges.

    Fixing them makes pre-edge line, post-edge polynomial and step linear in `mu`:
    c1 = mu[pre] P1, c2 = mu[post] P2 - c1 (V1[post] P2), step = c2 V2[e0], where V are the
    polynomials in E - e0 and P their pseudo-inverses. So one small matrix serves all spectra, and
    step = w . mu gives its uncertainty exactly: sigma_step = sqrt(sum w_i^2 sigma_i^2).

    Parameters
    ----------
    energy
        Ascending, shape (m,), eV.
    mu
        Absorption, shape (n, m).
    e0
        Edge energy in eV. The step is taken at the nearest grid point, as larch does.
    pre, post
        Ranges in eV relative to `e0`. A range holds the points from the last one at or below its
        lower limit to the one before the nearest to its upper limit: the rule of
        `larch.xafs.pre_edge.preedge`, with which the result agrees to rounding.
    degree
        Of the post-edge polynomial, 0 to 2.

    Raises
    ------
    RequestError
        A range holds too few points (names it and what the data span), the ranges overlap, or
        `degree` is not 0, 1 or 2.

    Notes
    -----
    Fails when the post-edge range starts inside the white line or ends before the oscillations
    average out: the step is then biased, which its sigma does not know.
    """
    if degree not in (0, 1, 2):
        raise RequestError(f"degree: {degree!r}; expected 0, 1 or 2")
    before = points_in(energy, e0=e0, limits=pre, minimum=3, name="pre")
    after = points_in(energy, e0=e0, limits=post, minimum=degree + 2, name="post")
    if before.stop > after.start:
        raise RequestError(f"pre {pre!r} and post {post!r}: overlap; pre comes first")
    distance = energy - e0
    # Polynomials in a variable of order one, or the normal equations lose half their digits.
    scale = float(np.abs(distance).max())
    powers = np.vander(distance / scale, 3, increasing=True)
    line, curve = powers[:, :2], powers[:, : degree + 1]
    pre_weights = np.zeros((2, energy.size))
    pre_weights[:, before] = np.linalg.pinv(line[before])
    fit = np.linalg.pinv(curve[after])
    curve_weights = -(fit @ line[after]) @ pre_weights
    curve_weights[:, after] += fit
    step_weights = curve[int(np.abs(distance).argmin())] @ curve_weights
    used = np.r_[before, after]
    step = _product(mu[:, used], step_weights[None, used])[:, 0]
    step[step == 0] = np.nan
    coefficients = _product(mu[:, before], pre_weights[:, before])
    norm = (mu - coefficients[:, :1] - coefficients[:, 1:] * line[:, 1]) / step[:, None]
    return Normalised(
        norm=norm,
        step=step,
        step_weights=step_weights,
        pre_weights=pre_weights / np.array([[1.0], [scale]]),
        pre=before,
        post=after,
    )


def points_in(energy: Array, *, e0: float, limits: Range, minimum: int, name: str) -> slice:
    """Return the grid points of a range relative to `e0`, by the rule given in `normalise`.

    Raises
    ------
    RequestError
        Fewer than `minimum` points.
    """
    low, high = limits[0] + e0, limits[1] + e0
    start = max(int(np.searchsorted(energy, low, side="right")) - 1, 0)
    stop = int(np.abs(energy - high).argmin())
    if stop - start < minimum:
        raise RequestError(
            f"{name} {limits!r}: {max(stop - start, 0)} points in {low:g}-{high:g} eV; at least "
            f"{minimum} are needed and the data span {energy[0]:g}-{energy[-1]:g} eV"
        )
    return slice(start, stop)


def _product(mu: Array, weights: Array) -> Array:
    """Return mu @ weights.T; unlike BLAS, each row's rounding is independent of the others."""
    sums = [np.multiply(mu, row, order="C").sum(axis=1) for row in weights]
    return np.stack(sums, axis=1)
