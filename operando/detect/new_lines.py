"""Lines that the reference does not have: where they are, and their areas in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from operando.detect.frame_series import Series
from operando.detect.matched_filter import REACH, Filter, areas, filters, respond, scores, windows
from operando.observables.pseudo_voigt import Fit, fit

Array = npt.NDArray[np.float64]

FLOOR = 0.02
"""Error of the intensity of a line of the reference, relative, that no averaging removes."""
PRESENT = 0.2
"""A line is not new where the reference has more than this share of its area within a width."""
SHADOW = 0.1
"""Beside a larger change, its misfit reaches this share of its area."""
BLANK = 2.5
"""Half of the stretch that one change hides from the rest of the search, in widths."""
PASSES = 20
SHARE_MEASURABLE = 30.0
"""Score from which the Lorentzian share of a new line is fitted."""


@dataclass(frozen=True)
class Change:
    """A place where frames differ from the reference."""

    index: int
    """Along the axis."""
    width: float
    """FWHM in points."""
    score: float
    start: int
    """Frames along the series, first and last + 1, in which it is clearest."""
    stop: int
    area: float
    """Mean over those frames, in points; negative for a loss."""


@dataclass(frozen=True)
class Line:
    """A line absent from the reference, in the unit of the axis."""

    centre: float
    centre_sigma: float
    fwhm: float
    eta: float
    shape_error: float
    """Relative error of all areas from the uncertain shape."""
    change: Change


def noise_scale(series: Series, bank: Sequence[Filter]) -> Array:
    """Return by how much responses of each filter scatter more than they should, (k,), at least 1.

    From differences of successive frames, which hold no slow change: more than 1 where points are
    correlated (rebinned data) or the sigmas are too small.
    """
    found = []
    for filter_ in bank:
        seen = filter_.information > 0
        steps = np.diff(respond(filter_, series.residual)[:, seen], axis=0)
        typical = np.median(np.abs(steps / np.sqrt(2.0 * filter_.information[seen])))
        found.append(max(1.0, 1.4826 * float(typical)))
    return np.array(found)


def search(
    series: Series, *, widths: Sequence[float], shortest: int, threshold: float
) -> tuple[list[Change], list[Change]]:
    """Return the new lines, and the other changes, strongest first within a pass.

    The largest change, gain or loss, is taken first and its surroundings are left out of the next
    pass, for a strong change drags the background of its neighbours. A gain is a new line unless
    the reference has a line there, or it may be the misfit of a larger change beside it.
    """
    whole = filters(series.weight, widths)
    noise = noise_scale(series, whole)
    new: list[Change] = []
    other: list[Change] = []
    weight = series.weight.copy()
    for _ in range(PASSES):
        bank = filters(weight, widths)
        found = _changes(series, bank, noise, shortest=shortest, threshold=threshold)
        for change in found:
            at = widths.index(change.width)
            fresh = _is_new(change, series, whole[max(at - 1, 0) : at + 1]) and not _shadowed(
                change, [*new, *other]
            )
            (new if fresh else other).append(change)
            blank = round(BLANK * change.width)
            weight[max(change.index - blank, 0) : change.index + blank + 1] = 0.0
        if not found:
            break
    return new, other


def _changes(
    series: Series, bank: Sequence[Filter], noise: Array, *, shortest: int, threshold: float
) -> list[Change]:
    """Return the strongest changes that do not share their backgrounds, strongest first."""
    later = series.residual[series.reference :]
    lengths = windows(len(later), shortest)
    strongest = np.zeros((len(bank), series.axis.size))
    for row, filter_, excess in zip(strongest, bank, noise, strict=True):
        for score in _scores(later, series, filter_, lengths):
            gain, loss = score.max(axis=0), score.min(axis=0)
            largest = np.where(gain >= -loss, gain, loss) / excess
            row[:] = np.where(np.abs(largest) > np.abs(row), largest, row)
    taken: list[Change] = []
    over_widths = np.abs(strongest).max(axis=0)
    for index in np.argsort(-over_widths, kind="stable"):
        if over_widths[index] <= threshold:
            break
        at = int(np.abs(strongest[:, index]).argmax())
        reach = REACH * bank[at].width
        if all(abs(index - c.index) > max(reach, REACH * c.width) for c in taken):
            largest_score = float(strongest[at, index])
            taken.append(_change(later, series, bank[at], lengths, int(index), largest_score))
    return taken


def _scores(later: Array, series: Series, filter_: Filter, lengths: Sequence[int]) -> list[Array]:
    strength = np.abs(areas(filter_, np.nan_to_num(series.pattern)))
    nearby = maximum_filter1d(strength, 2 * round(2 * filter_.width) + 1)
    return list(
        scores(
            respond(filter_, later),
            filter_.information,
            reference=series.reference,
            lengths=lengths,
            floor=FLOOR * nearby,
        )
    )


def _change(
    later: Array,
    series: Series,
    filter_: Filter,
    lengths: Sequence[int],
    index: int,
    score: float,
) -> Change:
    sign = np.sign(score)
    best, start, stop = -np.inf, 0, 0
    for length, found in zip(lengths, _scores(later, series, filter_, lengths), strict=True):
        at = int((sign * found[:, index]).argmax())
        if sign * found[at, index] > best:
            best, start, stop = float(sign * found[at, index]), at, at + length
    return Change(
        index=index,
        width=filter_.width,
        score=score,
        start=series.reference + start,
        stop=series.reference + stop,
        area=float(areas(filter_, later[start:stop].mean(axis=0))[index]),
    )


def _is_new(change: Change, series: Series, bank: Sequence[Filter]) -> bool:
    """Whether the reference lacks the line, at its own width or seen more narrowly.

    A hump of the background looks like a line to a wide filter alone.
    """
    if change.score < 0:
        return False
    gained = series.residual[change.start : change.stop].mean(axis=0)
    pattern = np.nan_to_num(series.pattern)
    around = round(change.width)
    near = slice(max(change.index - around, 0), change.index + around + 1)
    for filter_ in bank:
        known = filter_.information[near] > 0
        sigma = 1.0 / np.sqrt(np.where(known, filter_.information[near], 1.0) * series.reference)
        held = np.where(known, areas(filter_, pattern)[near] - 2.0 * sigma, 0.0).max()
        if held < PRESENT * areas(filter_, gained)[change.index]:
            return True
    return False


def _shadowed(change: Change, larger: Sequence[Change]) -> bool:
    return any(
        abs(change.index - one.index) < 2 * BLANK * one.width + REACH * change.width
        and abs(change.area) < SHADOW * abs(one.area)
        for one in larger
    )


def describe(series: Series, changes: Sequence[Change]) -> list[Line]:
    """Fit centre and width of new lines to the mean residual of the frames that show them."""
    return [_describe(series, change, changes) for change in changes]


def _describe(series: Series, change: Change, changes: Sequence[Change]) -> Line:
    step = float(np.gradient(series.axis)[change.index])
    width = change.width * step
    part, weight = _surroundings(series, change, changes)
    frames = change.stop - change.start
    mean = series.residual[change.start : change.stop, part].mean(axis=0)
    weight = weight * frames / (1.0 + frames / series.reference)
    free = np.ones(6, dtype=bool)
    free[3] = change.score > SHARE_MEASURABLE
    start = np.array([change.area * step, series.axis[change.index], width, 0.5, 0.0, 0.0])
    found = _fit(series.axis[part], mean[None], weight[None], start, free, width, step)
    centre, fwhm, eta = found.theta[0, 1:4]
    sigma = float(np.sqrt(found.covariance[0, 1, 1]))
    if not found.converged[0] or sigma == 0.0:
        # the filter's own answer, as uncertain as its width allows
        place = float(series.axis[change.index])
        return Line(place, width / change.score, width, 0.5, 0.0, change)
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
    present = weight > 0
    low = [-np.inf, start[1] - width, 1.2 * step, 0.0, -np.inf, -np.inf]
    high = [np.inf, start[1] + width, 3.0 * width, 1.0, np.inf, np.inf]
    return fit(
        x,
        np.where(present, y, 0.0),
        weight=weight,
        present=present,
        start=np.tile(start, (len(y), 1)),
        free=np.tile(free.astype(bool), (len(y), 1)),
        low=np.array(low),
        high=np.array(high),
    )


def measure(series: Series, lines: Sequence[Line]) -> tuple[Array, Array]:
    """Return the signed area of lines above the reference in every frame, and its sigma, (n, k).

    Shapes are frozen; the background is straight and free. Sigma holds the noise of the frame and
    that of the reference, not the error of the shape.
    """
    changes = [line.change for line in lines]
    # a frame of the reference shares its noise with the mean, the others add it
    sign = np.where(np.arange(len(series.values)) < series.reference, -1.0, 1.0)[:, None]
    value, sigma = (np.empty((len(series.values), len(lines))) for _ in range(2))
    for at, line in enumerate(lines):
        part, weight = _surroundings(series, line.change, changes)
        seen = (weight > 0) & np.isfinite(series.variance[:, part])
        mean = series.variance[:, part][: series.reference].mean(axis=0)
        error = series.variance[:, part] + sign * mean / series.reference
        rows = np.where(seen, 1.0 / np.where(seen, error, 1.0), 0.0)
        start = np.array([0.0, line.centre, line.fwhm, line.eta, 0.0, 0.0])
        free = np.array([True, False, False, False, True, True])
        step = float(np.gradient(series.axis)[line.change.index])
        one = _fit(series.axis[part], series.residual[:, part], rows, start, free, line.fwhm, step)
        value[:, at] = one.theta[:, 0]
        sigma[:, at] = np.sqrt(one.covariance[:, 0, 0])
    return value, sigma
