"""Many frames explained at once by one line that moves, or by two that change places.

Levenberg-Marquardt over the parameters of `phase_frame`. A frame's own parameters meet those of
others only through the shared ones: they are eliminated from the normal equations.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from operando.observables.lines.phase_frame import OWN, SHARED, cholesky, one_frame, solve

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TRIALS = 60
DECREASE = 1e-3
"""Descent ends when a step gains less of chi-square."""


@numba.njit(nogil=True, cache=True)
def descend(
    x: Array,
    y: Array,
    weight: Array,
    shared: Array,
    own: Array,
    free: Flags,
    low: Array,
    high: Array,
    lines: int,
) -> tuple[float, Array, Array, Array, Array, Array]:
    """Explain frames y (n, m) and return chi-square and what explains them.

    Parameters
    ----------
    shared, own
        Start, (7,) and (n, 2).
    free, low, high
        Of own and shared parameters, (9,). A line alone has the shared width unless its own is
        free.

    Returns
    -------
    chi2
        Of all frames.
    shared, own
        At the minimum.
    amounts
        (n, lines + 2): areas and background.
    variances
        Of the shared parameters (7, 7), and of the own ones (n, 2), which contain them.
    """
    frames, size = y.shape[0], OWN + SHARED
    wide = bool(free[1])
    shared, own = shared.copy(), own.copy()
    amounts = np.zeros((frames, lines + 2))
    matrices, vectors = np.zeros((frames, size, size)), np.zeros((frames, size))
    tried_m, tried_v = np.zeros_like(matrices), np.zeros_like(vectors)
    tried_a = np.zeros_like(amounts)
    chi2 = _all(x, y, weight, shared, own, lines, wide, matrices, vectors, amounts)
    damping = 1e-3
    for _ in range(TRIALS):
        ok, step_shared, step_own = _step(matrices, vectors, free, damping)
        if not ok:
            damping *= 10.0
            continue
        new_shared, new_own = shared.copy(), own.copy()
        for k in range(SHARED):
            moved = shared[k] + step_shared[k]
            new_shared[k] = min(max(moved, low[OWN + k]), high[OWN + k])
        for frame in range(frames):
            for k in range(OWN):
                moved = own[frame, k] + step_own[frame, k]
                new_own[frame, k] = min(max(moved, low[k]), high[k])
        after = _all(x, y, weight, new_shared, new_own, lines, wide, tried_m, tried_v, tried_a)
        if after <= chi2:
            gained = chi2 - after
            chi2, shared, own = after, new_shared, new_own
            matrices, tried_m = tried_m, matrices
            vectors, tried_v = tried_v, vectors
            amounts, tried_a = tried_a, amounts
            damping = max(0.1 * damping, 1e-9)
            if gained < DECREASE:
                break
        else:
            damping = max(10.0 * damping, 1e-3)
            if damping > 1e9:
                break
    of_shared, of_own = _variances(matrices, free)
    return chi2, shared, own, amounts, of_shared, of_own


@numba.njit(nogil=True, cache=True)
def _all(
    x: Array,
    y: Array,
    weight: Array,
    shared: Array,
    own: Array,
    lines: int,
    wide: bool,
    matrices: Array,
    vectors: Array,
    amounts: Array,
) -> float:
    total = 0.0
    frames = y.shape[0]
    for frame in range(frames):
        along = (frame + 0.5) / frames - 0.5
        total += one_frame(
            x,
            y[frame],
            weight[frame],
            shared,
            own[frame],
            lines,
            wide,
            along,
            matrices[frame],
            vectors[frame],
            amounts[frame],
        )
    return total


@numba.njit(nogil=True, cache=True)
def _step(
    matrices: Array, vectors: Array, free: Flags, damping: float
) -> tuple[bool, Array, Array]:
    """Solve the damped normal equations; the frames' own parameters are eliminated."""
    frames = matrices.shape[0]
    inner, right, ties = _reduced(matrices, vectors, free, damping)
    step, own = np.zeros(SHARED), np.zeros((frames, OWN))
    if not cholesky(inner, SHARED):
        return False, step, own
    solve(inner, SHARED, right)
    step[:] = right
    for frame in range(frames):
        block, left = _own(matrices[frame], free, damping), vectors[frame, :OWN].copy()
        for i in range(OWN):
            left[i] = left[i] if free[i] else 0.0
            for k in range(SHARED):
                left[i] -= ties[frame, i, k] * step[k]
        if not cholesky(block, OWN):
            return False, step, own
        solve(block, OWN, left)
        own[frame] = left
    return True, step, own


@numba.njit(nogil=True, cache=True)
def _own(matrix: Array, free: Flags, damping: float) -> Array:
    """Return the block of a frame's own parameters; identity for those that are held."""
    block = np.zeros((OWN, OWN))
    for i in range(OWN):
        for j in range(OWN):
            block[i, j] = matrix[i, j] if free[i] and free[j] else 0.0
        block[i, i] = block[i, i] * (1.0 + damping) + 1e-300 if free[i] else 1.0
    return block


@numba.njit(nogil=True, cache=True)
def _reduced(
    matrices: Array, vectors: Array, free: Flags, damping: float
) -> tuple[Array, Array, Array]:
    """Return matrix, right side of the shared parameters, and what ties each frame's to them."""
    frames = matrices.shape[0]
    inner, right = np.zeros((SHARED, SHARED)), np.zeros(SHARED)
    ties = np.zeros((frames, OWN, SHARED))
    for frame in range(frames):
        block = _own(matrices[frame], free, damping)
        cholesky(block, OWN)
        for i in range(OWN):
            for k in range(SHARED):
                if free[i] and free[OWN + k]:
                    ties[frame, i, k] = matrices[frame, i, OWN + k]
        left = vectors[frame, :OWN] * free[:OWN]
        solve(block, OWN, left)
        for k in range(SHARED):
            if not free[OWN + k]:
                continue
            right[k] += vectors[frame, OWN + k] - (ties[frame, :, k] * left).sum()
            along = ties[frame, :, k].copy()
            solve(block, OWN, along)
            for j in range(SHARED):
                if free[OWN + j]:
                    inner[j, k] += matrices[frame, OWN + j, OWN + k]
                    inner[j, k] -= (ties[frame, :, j] * along).sum()
    for k in range(SHARED):
        inner[k, k] = inner[k, k] * (1.0 + damping) + 1e-300 if free[OWN + k] else 1.0
    return inner, right, ties


@numba.njit(nogil=True, cache=True)
def _variances(matrices: Array, free: Flags) -> tuple[Array, Array]:
    """Return the covariance of the shared parameters and variances of the own ones; 0: held."""
    frames = matrices.shape[0]
    inner, _, ties = _reduced(matrices, np.zeros((frames, OWN + SHARED)), free, 0.0)
    of_shared, of_own = np.zeros((SHARED, SHARED)), np.zeros((frames, OWN))
    if not cholesky(inner, SHARED):
        of_shared[:] = np.nan
        of_own[:] = np.nan
        return of_shared, of_own
    for k in range(SHARED):
        if free[OWN + k]:
            column = np.zeros(SHARED)
            column[k] = 1.0
            solve(inner, SHARED, column)
            of_shared[k] = column * free[OWN:]
    for frame in range(frames):
        block = _own(matrices[frame], free, 0.0)
        if not cholesky(block, OWN):
            of_own[frame] = np.nan
            continue
        for i in range(OWN):
            if free[i]:
                column = np.zeros(OWN)
                column[i] = 1.0
                solve(block, OWN, column)
                lever = np.zeros(SHARED)
                for k in range(SHARED):
                    lever[k] = (column * ties[frame, :, k]).sum()
                of_own[frame, i] = column[i] + (lever * (of_shared @ lever)).sum()
    return of_shared, of_own
