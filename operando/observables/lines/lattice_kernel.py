"""The cell of each frame from the 2theta of its lines, frame by frame, in compiled loops.

2theta_i = 2 arcsin(lambda sqrt(s_i) / 2) + z - 2 D cos(theta_i), s_i = sum_j T_ij m_j: linear in
the reciprocal metric m once squared, which gives the start; Gauss-Newton in 2theta does the rest.

Lines scatter by more than their sigma: profiles are never quite right. The scatter tau is alike for
all lines of a frame, weights are 1/(sigma^2 + tau^2), and tau is such that chi-square is the number
of lines to spare (Mandel and Paule, Anal. Chem. 42 (1970) 1194); 0 where it is less anyway. Scaling
all sigma instead, after Birge, would let the strongest lines decide, whose sigma says least.

Outliers are looked for from the fit of least absolute residuals, which a wrong line does not pull.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from operando.observables.lines.lattice_scatter import (
    chi_square,
    count_of,
    scatter_beyond,
    typical_scatter,
)
from operando.observables.lines.measured import Array, Mask

Codes = npt.NDArray[np.int64]

ROUNDS, CREEPING = 60, 20
SETTLED = 1e-5
"""Step, in sigma of a parameter, at which an iteration ends."""
TOO_CLOSE = 1e-11
"""Part of a column that is left beside the columns before it where these explain it."""
FAR, FEW = 5.0, 4.0
"""Robust standard deviations from which a line is an outlier; more where few lines say what the
deviation is, 1 + FEW / (lines to spare) times."""
SPARE = 3
"""Lines beyond the parameters that are needed to call one an outlier."""

FITTED, TOO_FEW, UNDETERMINED, NOT_CONVERGED = range(4)


@numba.njit(nogil=True, cache=True)
def _solve(matrix: Array, vector: Array, inverse: Array) -> bool:
    """Solve the scaled normal equations in place by Cholesky; `inverse` is the covariance."""
    p = vector.size
    scale = np.empty(p)
    for i in range(p):
        if not matrix[i, i] > 0.0:
            return False
        scale[i] = 1.0 / np.sqrt(matrix[i, i])
    lower = np.zeros((p, p))
    for i in range(p):
        for j in range(i + 1):
            total = matrix[i, j] * scale[i] * scale[j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                if not total > TOO_CLOSE:
                    return False
                lower[i, i] = np.sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]
    upper = np.zeros((p, p))
    for j in range(p):
        for i in range(j, p):
            total = 1.0 if i == j else 0.0
            for k in range(j, i):
                total -= lower[i, k] * upper[k, j]
            upper[i, j] = total / lower[i, i]
    for i in range(p):
        for j in range(p):
            total = 0.0
            for k in range(max(i, j), p):
                total += upper[k, i] * upper[k, j]
            inverse[i, j] = total * scale[i] * scale[j]
    right = vector.copy()
    for i in range(p):
        vector[i] = 0.0
        for j in range(p):
            vector[i] += inverse[i, j] * right[j]
    return True


@numba.njit(nogil=True, cache=True)
def _normal(jacobian: Array, residual: Array, weight: Array, matrix: Array, vector: Array) -> None:
    lines, p = jacobian.shape
    matrix[:] = 0.0
    vector[:] = 0.0
    for i in range(lines):
        if weight[i] == 0.0:
            continue
        for a in range(p):
            scaled = weight[i] * jacobian[i, a]
            vector[a] += scaled * residual[i]
            for b in range(p):
                matrix[a, b] += scaled * jacobian[i, b]


@numba.njit(nogil=True, cache=True)
def _model(
    parameters: Array,
    used: Mask,
    design: Array,
    nuisance: Codes,
    wavelength: float,
    predicted: Array,
    jacobian: Array,
) -> bool:
    """Predict 2theta and its slopes; False where a line in use has no angle.

    `nuisance` is 1 for a zero shift and 2 for a displacement, in the order of their parameters.
    """
    lines, cell = design.shape
    for i in range(lines):
        s = 0.0
        for j in range(cell):
            s += design[i, j] * parameters[j]
        if not (s > 0.0 and 0.5 * wavelength * np.sqrt(s) < 1.0):
            if used[i]:
                return False
            predicted[i] = np.nan
            jacobian[i] = 0.0
            continue
        theta = np.arcsin(0.5 * wavelength * np.sqrt(s))
        predicted[i] = 2.0 * theta
        slope = 0.5 * wavelength * wavelength / np.sin(2.0 * theta)
        for j in range(cell):
            jacobian[i, j] = slope * design[i, j]
        for j in range(nuisance.size):
            column = 1.0 if nuisance[j] == 1 else -2.0 * np.cos(theta)
            jacobian[i, cell + j] = column
            predicted[i] += column * parameters[cell + j]
    return True


@numba.njit(nogil=True, cache=True)
def _start(y: Array, weight: Array, design: Array, wavelength: float, parameters: Array) -> bool:
    """Least squares of 1/d^2 for the metric, weighted as errors of 2theta carry over."""
    lines, cell = design.shape
    s, carried = np.empty(lines), np.zeros(lines)
    for i in range(lines):
        s[i] = (2.0 * np.sin(0.5 * y[i]) / wavelength) ** 2 if weight[i] > 0.0 else 0.0
        if weight[i] > 0.0:
            carried[i] = weight[i] / (2.0 * np.sin(y[i]) / wavelength**2) ** 2
    matrix, inverse, vector = np.empty((cell, cell)), np.empty((cell, cell)), np.empty(cell)
    _normal(design, s, carried, matrix, vector)
    if not _solve(matrix, vector, inverse):
        return False
    for j in range(parameters.size):
        parameters[j] = vector[j] if j < cell else 0.0
    return True


@numba.njit(nogil=True, cache=True)
def _iterate(
    y: Array,
    sigma: Array,
    used: Mask,
    design: Array,
    nuisance: Codes,
    wavelength: float,
    absolute: bool,
    parameters: Array,
    covariance: Array,
    residual: Array,
    total: Array,
) -> int:
    """Gauss-Newton to the least squares, or least absolute, residuals of the lines in use.

    `total` becomes the standard deviation of each line, its scatter included.
    """
    lines = y.size
    p = parameters.size
    predicted, jacobian = np.empty(lines), np.empty((lines, p))
    matrix, vector, weight = np.empty((p, p)), np.empty(p), np.empty(lines)
    variance = 0.0
    for turn in range(ROUNDS if not absolute else CREEPING):
        if not _model(parameters, used, design, nuisance, wavelength, predicted, jacobian):
            return UNDETERMINED
        before = variance
        for i in range(lines):
            residual[i] = y[i] - predicted[i]
        if turn > 0 and absolute:
            variance = typical_scatter(residual, sigma, used, p)
        elif turn > 0:
            variance = scatter_beyond(residual, sigma, used, p)
        for i in range(lines):
            total[i] = np.sqrt(sigma[i] ** 2 + variance)
            weight[i] = 1.0 / total[i] ** 2 if used[i] else 0.0
            if absolute and turn > 0:
                weight[i] /= max(abs(residual[i]) / total[i], 1e-3)
        _normal(jacobian, residual, weight, matrix, vector)
        if not _solve(matrix, vector, covariance):
            return UNDETERMINED
        largest = 0.0
        for a in range(p):
            parameters[a] += vector[a]
            largest = max(largest, abs(vector[a]) / np.sqrt(covariance[a, a]))
        settled = SETTLED if not absolute else 1e-2
        if turn > 1 and largest < settled and abs(variance - before) <= settled * variance:
            return FITTED
    # reweighting creeps near its end; what it is needed for is known by then
    return FITTED if absolute else NOT_CONVERGED


@numba.njit(nogil=True, cache=True)
def _keep(residual: Array, total: Array, present: Mask, used: Mask, p: int) -> bool:
    """Leave out what is far, take back what is not; tell whether anything changed."""
    limit = FAR * (1.0 + FEW / (count_of(present) - p))
    changed = False
    for i in range(residual.size):
        near = present[i] and abs(residual[i]) <= limit * total[i]
        changed = changed or near != used[i]
        used[i] = near
    return changed


@numba.njit(nogil=True, cache=True)
def _without_outliers(
    y: Array,
    sigma: Array,
    present: Mask,
    used: Mask,
    design: Array,
    nuisance: Codes,
    wavelength: float,
    parameters: Array,
    covariance: Array,
    residual: Array,
    total: Array,
) -> None:
    """Find which lines to use, from the fit of least absolute residuals on."""
    started = parameters.copy()
    absolute = True
    for _ in range(5):
        outcome = _iterate(
            y,
            sigma,
            used,
            design,
            nuisance,
            wavelength,
            absolute,
            parameters,
            covariance,
            residual,
            total,
        )
        if outcome != FITTED or not _keep(residual, total, present, used, parameters.size):
            break
        absolute = False
        if count_of(used) <= parameters.size or 2 * count_of(used) <= count_of(present):
            outcome = UNDETERMINED
            break
    if outcome != FITTED:
        # no majority agrees: all lines take part, and chi-square says so
        for i in range(used.size):
            used[i] = present[i]
        for j in range(started.size):
            parameters[j] = started[j]


@numba.njit(nogil=True, cache=True)
def _statistical(
    stat: Array, total: Array, used: Mask, jacobian: Array, covariance: Array, result: Array
) -> None:
    """Covariance that `stat` makes of parameters that were weighted by 1/total^2."""
    lines, p = jacobian.shape
    result[:] = 0.0
    gain = np.empty(p)
    for i in range(lines):
        if not used[i]:
            continue
        for a in range(p):
            gain[a] = 0.0
            for b in range(p):
                gain[a] += covariance[a, b] * jacobian[i, b]
            gain[a] *= stat[i] / total[i] ** 2
        for a in range(p):
            for b in range(p):
                result[a, b] += gain[a] * gain[b]


@numba.njit(nogil=True, cache=True)
def refine(
    y: Array, sigma: Array, stat: Array, design: Array, nuisance: Codes, wavelength: float
) -> tuple[Array, Array, Array, Array, Array, Mask]:
    """Refine metric and nuisances in every frame.

    Parameters
    ----------
    y, sigma, stat
        2theta and its total and statistical sigma in radians, (n, k); NaN where a line is missing.
    design
        Terms of 1/d^2, (k, p).
    nuisance
        What is refined beside the cell, in order: 1 zero shift, 2 displacement.

    Returns
    -------
    parameters, covariance, statistical
        (n, q), (n, q, q) of everything, and the part of it that `stat` makes.
    summary
        (n, 4): chi-square without scatter, how many lines were used, how it ended, the scatter.
    residual, used
        (n, k), in radians, NaN where a line is missing.
    """
    frames, lines = y.shape
    q = design.shape[1] + nuisance.size
    parameters, covariance = np.zeros((frames, q)), np.zeros((frames, q, q))
    statistical, summary = np.zeros((frames, q, q)), np.zeros((frames, 4))
    residual, used = np.zeros((frames, lines)), np.zeros((frames, lines), np.bool_)
    predicted, jacobian, total = np.empty(lines), np.empty((lines, q)), np.empty(lines)
    present, weight = np.empty(lines, np.bool_), np.empty(lines)
    angle, error = np.empty(lines), np.empty(lines)
    for f in range(frames):
        for i in range(lines):
            present[i] = np.isfinite(y[f, i]) and sigma[f, i] > 0.0
            angle[i] = y[f, i] if present[i] else 1.0
            error[i] = sigma[f, i] if present[i] else 1.0
            weight[i] = 1.0 / error[i] ** 2 if present[i] else 0.0
            used[f, i] = present[i]
        summary[f, 1], summary[f, 2] = count_of(present), TOO_FEW
        if count_of(present) < q:
            continue
        fitted, spread, left = parameters[f], covariance[f], residual[f]
        summary[f, 2] = UNDETERMINED
        if not _start(angle, weight, design, wavelength, fitted):
            continue
        if count_of(present) - q >= SPARE:
            _without_outliers(
                angle,
                error,
                present,
                used[f],
                design,
                nuisance,
                wavelength,
                fitted,
                spread,
                left,
                total,
            )
        summary[f, 2] = _iterate(
            angle, error, used[f], design, nuisance, wavelength, False, fitted, spread, left, total
        )
        summary[f, 0], summary[f, 1] = chi_square(left, error, used[f]), count_of(used[f])
        summary[f, 3] = np.sqrt(total[0] ** 2 - error[0] ** 2)
        _model(fitted, used[f], design, nuisance, wavelength, predicted, jacobian)
        _statistical(stat[f], total, used[f], jacobian, spread, statistical[f])
    return parameters, covariance, statistical, summary, residual, used
