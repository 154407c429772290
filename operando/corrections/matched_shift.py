"""How far each of many spectra is shifted along energy against one reference spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from operando.corrections.cubic import bend, value_and_slope
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Range = tuple[float, float]

TRIALS = 41
"""Shifts from one limit to the other of which the best starts the iteration."""
STEPS = 50
PRECISION = 1e-8
"""Iteration ends when a step moves the shift by less than this part of the widest shift."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Rigid shifts of n spectra against a reference; NaN where there is none."""

    shift: Array
    """d of y(E) ~ a reference(E - d), eV, (n,): positive where a spectrum lies at higher energy."""
    sigma: Array
    """Of `shift`, from the noise of the spectrum alone, (n,)."""
    sigma_reference: Array
    """What the noise of the reference adds, (n,): the same error in all rows, so it cancels in a
    difference of two."""
    scale: Array
    """a, (n,)."""
    chi2: Array
    """Reduced chi-square, (n,): well above one, the spectrum is not the reference shifted."""
    converged: Mask
    """(n,). False: no shift within the limit is the best of all, or points of the window are
    missing."""


def matched_shift(
    energy: Array,
    mu: Array,
    reference: Array,
    *,
    window: Range,
    sigma: Array | float | None = None,
    degree: int | None = None,
    reference_sigma: float = 0.0,
    limit: float | None = None,
) -> Matched:
    """Find the shift d of each spectrum by least squares of y(E) = a r(E - d) [+ b0 + b1 E].

    r is the cubic spline through the reference. For a given d the model is linear in a, b0, b1:
    they are projected out, and d alone is iterated (Gauss-Newton; Golub and Pereyra, SIAM J.
    Numer. Anal. 10 (1973) 413), from the best of 41 trial shifts. With q the part of r'(E - d) that
    none of the linear terms can imitate, and weights w = 1/sigma^2,

        sigma_d = 1 / (|a| sqrt(sum w q^2)),

    the Cramer-Rao bound of this model. Where only the reference is noisy, with s per point, d is
    wrong by sqrt(sum (w q s)^2) / sum w q^2 in all rows alike.

    Parameters
    ----------
    energy
        Ascending, eV, (m,).
    mu
        Absorption, (n, m).
    reference
        The unshifted spectrum on `energy`, (m,); finite in the window and around it. Its noise
        acts twice: it is a common error of all shifts (`sigma_reference`), and it pulls single
        shifts towards the middle between grid points, where the spline is smoother. Take the mean
        of several frames, several times less noisy than one row.
    window
        Lowest and highest energy of the points that are fitted, eV: around the edge, with room
        outside it for the shift.
    sigma
        Of `mu`: one number, or an array that broadcasts against it. When None, the noise of each
        row is estimated from second differences of its residual, which a smooth misfit hardly
        changes; that of a spectrum smoothed or interpolated onto a finer grid comes out too small.
    degree
        Of the polynomial that is added: None for normalised spectra, 1 for raw ones, which lie on
        an offset and a slope.
    reference_sigma
        Noise of one point of the reference.
    limit
        Widest shift, eV; by default half of the window.

    Raises
    ------
    RequestError
        Shapes that do not fit, an energy axis that does not ascend, fewer than 8 points in the
        window, less than a grid point outside it, a reference with gaps.

    Notes
    -----
    Fails where the shape changes, or is not that of the reference at all: the shift is then what
    the window averages, and `chi2` tells. A wrong scale (an edge step 1 % wrong) does not matter.
    """
    energy, mu, reference = (np.ascontiguousarray(a, dtype=float) for a in (energy, mu, reference))
    inside = _inside(energy, mu, reference, window)
    start, stop = _run_around(reference, inside)
    rooms = energy[inside.start] - energy[start], energy[stop - 1] - energy[inside.stop - 1]
    if min(rooms) <= 0:
        raise RequestError(
            f"window: {window!r}; the reference has {energy[start]:g}-{energy[stop - 1]:g} eV; "
            "leave room outside the window for the shift"
        )
    widest = 0.5 * (window[1] - window[0]) if limit is None else limit
    if not widest > 0:
        raise RequestError(f"limit: {limit!r}; expected eV above 0")
    if degree not in (None, 0, 1):
        raise RequestError(f"degree: {degree!r}; expected None, 0 or 1")
    grid = energy[inside]
    powers = np.vander(grid - grid.mean(), 0 if degree is None else degree + 1, increasing=True)
    try:
        spread = np.atleast_2d(np.asarray(1.0 if sigma is None else sigma, dtype=float))
        spread = np.broadcast_to(spread, (spread.shape[0], energy.size))[:, inside]
        np.broadcast_shapes(spread.shape, (mu.shape[0], grid.size))
    except ValueError:
        raise RequestError(
            f"sigma: shape {np.asarray(sigma).shape}; expected one that fits mu, {mu.shape}"
        ) from None
    numbers = _match(
        grid,
        np.ascontiguousarray(mu[:, inside]),
        np.ascontiguousarray(spread),
        sigma is not None,
        energy[start:stop],
        reference[start:stop],
        np.ascontiguousarray(powers.T),
        np.linspace(-min(widest, rooms[1]), min(widest, rooms[0]), TRIALS),
        float(reference_sigma),
    )
    shift, own, common, scale, chi2 = numbers
    return Matched(
        shift=shift,
        sigma=own,
        sigma_reference=common,
        scale=scale,
        chi2=chi2,
        converged=np.isfinite(shift),
    )


def _inside(energy: Array, mu: Array, reference: Array, window: Range) -> slice:
    if mu.ndim != 2 or mu.shape[1:] != energy.shape or reference.shape != energy.shape:
        raise RequestError(
            f"mu, reference: shapes {mu.shape}, {reference.shape}; expected (n, m) and (m,) with "
            f"the m = {energy.size} points of energy"
        )
    if not np.all(np.diff(energy) > 0):
        raise RequestError("energy: not ascending; sort it and merge points at the same energy")
    start, stop = np.searchsorted(energy, [window[0], np.nextafter(window[1], np.inf)])
    if stop - start < 8:
        raise RequestError(
            f"window: {window!r} eV holds {max(stop - start, 0)} points; at least 8 are needed and "
            f"the data span {energy[0]:g}-{energy[-1]:g} eV"
        )
    return slice(int(start), int(stop))


def _run_around(reference: Array, inside: slice) -> tuple[int, int]:
    """Return the run of finite points of the reference around the window."""
    gaps = np.flatnonzero(~np.isfinite(reference))
    if np.any((gaps >= inside.start) & (gaps < inside.stop)):
        raise RequestError("reference: not finite in the window; choose other frames for it")
    before, after = gaps[gaps < inside.start], gaps[gaps >= inside.stop]
    return (
        int(before[-1]) + 1 if before.size else 0,
        int(after[0]) if after.size else reference.size,
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _match(
    grid: Array,
    mu: Array,
    sigma: Array,
    given: bool,
    knots: Array,
    reference: Array,
    powers: Array,
    trials: Array,
    reference_sigma: float,
) -> Array:
    """Return shift, own and common sigma, scale and chi2 of every row, (5, n)."""
    second = bend(knots, reference)
    starts = _starts(grid, knots, reference, second, powers, trials)
    numbers = np.full((5, mu.shape[0]), np.nan)
    weight = np.empty(grid.size)
    shape, slope = np.empty(grid.size), np.empty(grid.size)
    basis = np.empty(powers.shape)
    for row in range(mu.shape[0]):
        spread = sigma[row if sigma.shape[0] > 1 else 0]
        usable = True
        for at in range(grid.size):
            weight[at] = 1 / (spread[at] * spread[at]) if spread[at] > 0 else np.nan
            usable = usable and np.isfinite(mu[row, at]) and np.isfinite(weight[at])
        if not usable:
            continue
        data = mu[row].copy()
        for term in range(powers.shape[0]):
            basis[term] = powers[term]
            for other in range(term):
                _project(basis[term], basis[other], weight)
            _project(data, basis[term], weight)
        shift = trials[_best(mu[row], starts)]
        step = np.inf
        for _ in range(STEPS):
            _shifted(grid, shift, knots, reference, second, shape, slope)
            for term in range(powers.shape[0]):
                _project(shape, basis[term], weight)
                _project(slope, basis[term], weight)
            _project(slope, shape, weight)
            scale = _dot(data, shape, weight) / _dot(shape, shape, weight)
            residual = data - scale * shape
            strength = _dot(slope, slope, weight)
            if abs(step) < PRECISION * trials[-1] or not scale > 0:
                break
            widest = trials[1] - trials[0]
            step = -_dot(residual, slope, weight) / (scale * strength)
            step = min(max(step, -widest), widest)
            shift += step
            if not trials[0] < shift < trials[-1]:
                scale = np.nan
                break
        if not (scale > 0 and abs(step) < PRECISION * trials[-1]):
            continue
        noise = 1.0 if given else _noise(grid, residual)
        freedom = grid.size - powers.shape[0] - 2
        numbers[0, row] = shift
        numbers[1, row] = noise / (scale * np.sqrt(strength))
        numbers[2, row] = reference_sigma * np.sqrt(_dot(slope * slope, weight, weight)) / strength
        numbers[3, row] = scale
        if noise > 0:
            numbers[4, row] = _dot(residual, residual, weight) / freedom / (noise * noise)
    return numbers


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _starts(
    grid: Array, knots: Array, reference: Array, second: Array, powers: Array, trials: Array
) -> Array:
    """Return the reference at each trial shift, of unit length and orthogonal to the polynomial."""
    shapes = np.empty((trials.size, grid.size))
    slope, even = np.empty(grid.size), np.ones(grid.size)
    for trial in range(trials.size):
        shape = shapes[trial]
        _shifted(grid, trials[trial], knots, reference, second, shape, slope)
        for term in range(powers.shape[0]):  # about the mean energy, so orthogonal to each other
            _project(shape, powers[term], even)
        shape /= np.sqrt(_dot(shape, shape, even))
    return shapes


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _best(y: Array, shapes: Array) -> int:
    best, score = 0, -np.inf
    for trial in range(shapes.shape[0]):
        found = 0.0
        for at in range(y.size):
            found += y[at] * shapes[trial, at]
        if found > score:
            best, score = trial, found
    return best


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _shifted(
    grid: Array, shift: float, knots: Array, y: Array, second: Array, shape: Array, slope: Array
) -> None:
    """Put r(E - shift) and r'(E - shift) into `shape` and `slope`."""
    at = 0
    for place in range(grid.size):
        point = grid[place] - shift
        while at < knots.size - 2 and point >= knots[at + 1]:
            at += 1
        shape[place], slope[place] = value_and_slope(knots, y, second, at, point)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _dot(a: Array, b: Array, weight: Array) -> float:
    total = 0.0
    for at in range(a.size):
        total += a[at] * b[at] * weight[at]
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _project(a: Array, b: Array, weight: Array) -> None:
    """Take from `a` what lies along `b`."""
    a -= _dot(a, b, weight) / _dot(b, b, weight) * b


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _noise(x: Array, y: Array) -> float:
    """Return the noise of y(x) from each point minus the straight line through its neighbours."""
    total = 0.0
    for at in range(1, x.size - 1):
        before = (x[at + 1] - x[at]) / (x[at + 1] - x[at - 1])
        after = 1 - before
        change = y[at] - before * y[at - 1] - after * y[at + 1]
        total += change * change / (1 + before * before + after * after)
    return float(np.sqrt(total / (x.size - 2)))
