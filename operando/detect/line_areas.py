"""Lines that came or went: their shapes, and their areas in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.detect.frame_series import Series
from operando.detect.matched_filter import REACH
from operando.detect.new_lines import BLANK, Change, mean_residual
from operando.observables.lines.stack import Fit, fit_stack

Array = npt.NDArray[np.float64]

SHARE_MEASURABLE = 30.0
"""Score from which the Lorentzian share of a new line is fitted."""


@dataclass(frozen=True)
class Line:
    """A line that came or went, in the unit of the axis."""

    centre: float
    centre_sigma: float
    fwhm: float
    eta: float
    shape_error: float
    """Relative error of all areas from the uncertain shape."""
    change: Change
    name: str = ""
    """Of a tracked line."""


def describe(series: Series, changes: Sequence[Change], every: Sequence[Change]) -> list[Line]:
    """Fit centre and width of lines to the mean residual of the frames that show them best.

    The cores of `every` other change are left out of the fit, here and below.
    """
    return [_describe(series, change, every) for change in changes]


def _describe(series: Series, change: Change, changes: Sequence[Change]) -> Line:
    step = float(np.gradient(series.axis)[change.index])
    width = change.width * step
    part, weight = _surroundings(series, change, changes)
    frames = float(series.share[change.start : change.stop].sum())
    mean = np.sign(change.score) * mean_residual(series, change.start, change.stop)[part]
    weight = weight * frames / (1.0 + frames / series.known)
    free = np.array([True, True, True, True, False, True, True])
    free[3] = abs(change.score) > SHARE_MEASURABLE
    place = float(series.axis[change.index])
    start = np.array([abs(change.area) * step, place, width, 0.5, 0.0, 0.0, 0.0])
    found = _fit(series.axis[part], mean[None], weight[None], start, free, width, step)
    centre, fwhm, eta = found.theta[0, 1:4]
    sigma = float(np.sqrt(found.covariance[0, 1, 1]))
    if not found.converged[0] or sigma == 0.0:
        # the filter's own answer, as uncertain as its width allows
        return Line(place, width / abs(change.score), width, 0.5, 0.0, change)
    with_shape = found.covariance[0, 0, 1:4]
    lost = with_shape @ np.linalg.pinv(found.covariance[0, 1:4, 1:4]) @ with_shape
    error = float(np.sqrt(lost)) / abs(float(found.theta[0, 0]))
    return Line(float(centre), sigma, float(fwhm), float(eta), error, change)


def _surroundings(series: Series, change: Change, changes: Sequence[Change]) -> tuple[slice, Array]:
    """Return the stretch a line is fitted in, and its weights without the cores of others."""
    reach = max(round(REACH * change.width), 6)
    part = slice(max(change.index - reach, 0), change.index + reach + 1)
    weight = series.weight.copy()
    for other in changes:
        if other is not change:
            blank = round(min(BLANK * other.width, abs(other.index - change.index) / 2))
            weight[max(other.index - blank, 0) : other.index + blank + 1] = 0.0
    return part, weight[part]


def _fit(
    x: Array, y: Array, weight: Array, start: Array, free: Array, width: float, step: float
) -> Fit:
    """Fit one line to rows y (n, m)."""
    low = [-np.inf, start[1] - width, 1.2 * step, 0.0, 0.0, -np.inf, -np.inf]
    high = [np.inf, start[1] + width, 3.0 * width, 1.0, 0.0, np.inf, np.inf]
    return fit_stack(
        x,
        y,
        weight=weight,
        start=np.tile(start, (len(y), 1)),
        free=free.astype(bool),
        low=np.array(low),
        high=np.array(high),
    )


def measure(series: Series, lines: Sequence[Line], every: Sequence[Change]) -> tuple[Array, Array]:
    """Return the signed area of lines above what is expected in every frame, and sigma, (n, k).

    Shapes are frozen; the background is straight and free. Sigma holds the noise of the frame and
    that of the reference, not the error of the shape.
    """
    inside = np.arange(len(series.values)) < series.reference
    value, sigma = (np.empty((len(series.values), len(lines))) for _ in range(2))
    residual = series.residual
    for at, line in enumerate(lines):
        part, weight = _surroundings(series, line.change, every)
        variance = series.variance[:, part]
        seen = (weight > 0) & np.isfinite(variance)
        mean = series.mean_variance[part] / series.known
        # a frame of the reference shares its noise with the mean, the others add it
        error = np.where(
            inside[:, None], np.maximum(variance - mean, 0.01 * variance), variance + mean
        )
        rows = np.where(seen, 1.0 / np.where(seen, error, 1.0), 0.0)
        one = _with_shape(series, line, part, residual[:, part], rows)
        value[:, at] = one.theta[:, 0]
        sigma[:, at] = np.sqrt(one.covariance[:, 0, 0])
    return value, sigma


def held(series: Series, lines: Sequence[Line], every: Sequence[Change]) -> Array:
    """Return the area that each line has in the reference, (k,)."""
    found = np.zeros(len(lines))
    for at, line in enumerate(lines):
        part, weight = _surroundings(series, line.change, every)
        one = _with_shape(series, line, part, series.pattern[None, part], weight[None])
        found[at] = one.theta[0, 0]
    return found


def _with_shape(series: Series, line: Line, part: slice, rows: Array, weight: Array) -> Fit:
    """Fit area and straight background to rows, with the shape of the line frozen."""
    start = np.array([0.0, line.centre, line.fwhm, line.eta, 0.0, 0.0, 0.0])
    free = np.array([True, False, False, False, False, True, True])
    step = float(np.gradient(series.axis)[line.change.index])
    return _fit(series.axis[part], rows, weight, start, free, line.fwhm, step)
