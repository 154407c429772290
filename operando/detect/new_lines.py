"""Places where a series differs from what its reference leads one to expect, and in what way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d

from operando.detect.frame_series import Series
from operando.detect.matched_filter import (
    REACH,
    Filter,
    Index,
    areas,
    best_windows,
    cut_spikes,
    filters,
    padded,
    project,
    windows,
)

Array = npt.NDArray[np.float64]

FLOOR = 0.02
"""Error of the intensity of a known line, relative, that no averaging removes."""
PRESENT = 0.2
"""A line is not new where the reference has more than this share of its area within a width."""
BESIDE = 0.35
"""Widths from a line of the reference at which a gain is not that line's own."""
MATCHING = 0.5
"""A gain whose neighbour lost this share of it is a line that moved or broadened."""
NARROWER = 0.3
"""Score by a filter of half the width, over its own, under which a change is no line: one as wide
as the widest filter has 0.6."""
SHADOW = 0.1
"""Beside a larger change, its misfit reaches this share of its area."""
BLANK = 2.5
"""Half of the stretch that one change hides from the rest of the search, in widths."""
PASSES = 20
_BY_PLACE = ("places", "kernel", "information")
SAMPLED = 8
"""Every so many places tell the noise."""
PLACES = 256
"""Places that are followed through time at once, for the memory's sake."""


@dataclass(frozen=True)
class Change:
    """A place where frames differ from what the reference leads one to expect."""

    index: int
    """Along the axis."""
    width: float
    """FWHM in points."""
    score: float
    """Negative for a loss."""
    start: int
    """Frames along the series, first and last + 1, in which it is clearest."""
    stop: int
    alarm: int
    """The first frame by whose end the threshold was passed."""
    area: float
    """Mean over those frames, in points; negative for a loss."""


@dataclass(frozen=True)
class Found:
    """All changes of a series, each kind the strongest first within a pass."""

    new: list[Change]
    beside: list[Change]
    """Gains within a width of a line of the reference: a split, or a shoulder."""
    lost: list[Change]
    """Losses where the reference has a line."""
    other: list[Change]
    """Lines of the reference that grew, moved or broadened, misfit, and background that bends."""
    near: dict[int, int]
    """Index of a gain beside a line -> that of the line."""

    @property
    def count(self) -> int:
        """Of changes."""
        return sum(len(kind) for kind in (self.new, self.beside, self.lost, self.other))


def noise_scale(series: Series, bank: Sequence[Filter]) -> Array:
    """Return by how much responses of each filter scatter more than they should, (k,), at least 1.

    From differences of successive frames, which hold no slow change: more than 1 where points are
    correlated (rebinned data) or the sigmas are too small.
    """
    rows = np.ascontiguousarray(series.residual.T)
    some = slice(None, None, SAMPLED)
    spread = np.sqrt(1.0 / series.share[1:] + 1.0 / series.share[:-1])
    found = []
    for filter_ in bank:
        response = project(filter_.kernel[some], filter_.places[some], padded(rows, filter_))
        steps = np.diff(response, axis=1) / np.sqrt(filter_.information[some])[:, None] / spread
        found.append(max(1.0, 1.4826 * float(np.median(np.abs(steps)))) if steps.size else 1.0)
    return np.array(found)


@dataclass(frozen=True)
class _Search:
    """What all passes of a search have in common."""

    series: Series
    rows: dict[str, Array]
    """Of the frames after the reference, (m + 2 reach, n): residual with its share, its variance
    beyond that of the mean, the square of what tracked lines may still leave; and the third
    cumulant of a mean frame, (m + 2 reach, 1)."""
    reach: int
    shortest: int
    threshold: float
    noise: Array
    known: list[Array]
    """Area of the strongest line of the reference within two widths, (m,), for each filter."""


def search(series: Series, *, widths: Sequence[float], shortest: int, threshold: float) -> Found:
    """Return what changed.

    The largest change, gain or loss, is taken first and its surroundings are left out of the next
    pass, for a strong change drags the background of its neighbours. A gain is a new line unless
    the reference has a line there, or it may be the misfit of a larger change beside it.
    """
    whole = filters(series.weight, widths)
    common = _Search(
        series=series,
        rows=_rows(series, whole[-1].half),
        reach=whole[-1].half,
        shortest=shortest,
        threshold=threshold,
        noise=noise_scale(series, whole),
        known=[_known(series, filter_) for filter_ in whole],
    )
    found = Found([], [], [], [], {})
    taken: list[Change] = []
    weight = series.weight.copy()
    only = np.ones(weight.size, dtype=bool)
    for _ in range(PASSES):
        changes = _changes(common, filters(weight, widths, only=only))
        only = np.zeros(weight.size, dtype=bool)
        for change in changes:
            at = widths.index(change.width)
            kind, near = _kind(change, series, whole[max(at - 1, 0) : at + 1], taken)
            getattr(found, kind).append(change)
            if kind == "beside":
                found.near[change.index] = near
            taken.append(change)
            blank = round(BLANK * change.width)
            weight[max(change.index - blank, 0) : change.index + blank + 1] = 0.0
            # elsewhere nothing is different from this pass
            reach = blank + round(REACH * max(widths))
            only[max(change.index - reach, 0) : change.index + reach + 1] = True
        if not changes:
            break
    return found


def _rows(series: Series, reach: int) -> dict[str, Array]:
    later = slice(series.reference, None)
    share = series.share[later, None]
    lines = series.lines[later]
    usual = series.share @ series.lines / len(series.share)
    variance = np.where(np.isfinite(series.mean_variance), series.mean_variance, 0.0)
    rows = {
        "residual": series.residual[later] * share,
        "extra": series.gain * (lines - usual) * share,
        "misfit": (FLOOR * lines * share) ** 2,
        "third": series.gain * variance[None],
    }
    around = ((reach, reach), (0, 0))
    return {n: np.pad(np.ascontiguousarray(part.T), around) for n, part in rows.items()}


def _known(series: Series, filter_: Filter) -> Array:
    strength = np.zeros(series.axis.size)
    strength[filter_.places] = np.abs(areas(filter_, series.rest))
    return np.asarray(maximum_filter1d(strength, 2 * round(2 * filter_.width) + 1))


def _changes(common: _Search, bank: Sequence[Filter]) -> list[Change]:
    """Return the strongest changes that do not share their backgrounds, strongest first."""
    found = [
        passed
        for at, filter_ in enumerate(bank)
        for start in range(0, filter_.places.size, PLACES)
        for passed in _scan(common, at, filter_, slice(start, start + PLACES))
    ]
    taken: list[_Passed] = []
    for one in sorted(found, key=lambda p: (-p.score, p.index, p.filter.width)):
        reach = REACH * one.filter.width
        if all(abs(one.index - t.index) > max(reach, REACH * t.filter.width) for t in taken):
            taken.append(one)
    return [_change(common.series, one, _alarm(one, found)) for one in taken]


def _alarm(one: _Passed, every: Sequence[_Passed]) -> int:
    """Return the first frame by whose end the threshold was passed within a width, at any width."""
    return min(
        int(other.where[2])
        for other in every
        if other.loss == one.loss and abs(other.index - one.index) <= one.filter.width
    )


@dataclass(frozen=True)
class _Passed:
    """A place at which the threshold was passed."""

    filter: Filter
    at: int
    """Among the filter's places."""
    loss: bool
    score: float
    where: Index
    """First frame after the reference, length, first frame of alarm."""

    @property
    def index(self) -> int:
        return int(self.filter.places[self.at])


def _scan(common: _Search, at: int, filter_: Filter, part: slice) -> list[_Passed]:
    """Return all places of a part of a filter's at which the threshold is passed."""
    series, places = common.series, filter_.places[part]
    kernel, information = filter_.kernel[part], filter_.information[part]
    share = series.share[series.reference :]
    excess = common.noise[at]
    # rows reach as far beyond the ends as the widest filter needs
    first = places + (common.reach - filter_.half)
    response = project(kernel, first, common.rows["residual"]) / excess
    variance = information[:, None] * share
    misfit = np.zeros_like(response)
    if series.lines.any():
        square = kernel**2
        variance = variance + project(square, first, common.rows["extra"])
        variance = np.maximum(variance, 0.01 * information[:, None] * share)
        misfit = np.sqrt(project(square, first, common.rows["misfit"])) / excess
    cut_spikes(response, variance, common.shortest)
    fixed = np.stack(
        [information / series.known, FLOOR * common.known[at][places] * information / excess]
    )
    third = project(kernel**3, first, common.rows["third"])[:, 0]
    skew = np.stack([third, third / series.known**2])
    lengths = np.array(windows(len(share), common.shortest))
    score, where = best_windows(
        response, variance, misfit, share, fixed, skew, lengths, common.threshold
    )
    return [
        _Passed(filter_, part.start + i, bool(side), float(score[side, i]), where[side, :, i])
        for side, i in np.argwhere(score > common.threshold)
    ]


def _change(series: Series, passed: _Passed, alarm: int) -> Change:
    first, length, _ = passed.where.tolist()
    first += series.reference
    mean = mean_residual(series, first, first + length)
    at = slice(passed.at, passed.at + 1)
    one = replace(passed.filter, **{n: getattr(passed.filter, n)[at] for n in _BY_PLACE})
    return Change(
        index=passed.index,
        width=passed.filter.width,
        score=-passed.score if passed.loss else passed.score,
        start=first,
        stop=first + length,
        alarm=series.reference + alarm,
        area=float(areas(one, mean)[0]),
    )


def mean_residual(series: Series, start: int, stop: int) -> Array:
    """Return the mean residual of frames, each with its share."""
    share = series.share[start:stop]
    rows = np.nan_to_num(series.values[start:stop] - series.expected[start:stop])
    return np.asarray(share @ rows / share.sum())


def _kind(
    change: Change, series: Series, bank: Sequence[Filter], taken: Sequence[Change]
) -> tuple[str, int]:
    """Return new, beside, lost or other, and where the reference has the line that it is beside.

    The last filter of the bank is that of the change, the one before it narrower.
    """
    changed = mean_residual(series, change.start, change.stop)
    own = bank[-1]
    sign = 1.0 if change.score > 0 else -1.0
    if _shadowed(change, taken) or _is_hump(sign * changed, change, bank):
        return "other", -1
    pattern = series.rest
    held, found = areas(own, pattern), sign * areas(own, changed)
    near = np.abs(own.places - change.index)
    size = abs(change.area)
    # of a line that moves or broadens, one side gains what the other loses
    moved = -found[near <= 2.0 * own.width].min() > MATCHING * size
    if change.score < 0:
        there = held[near <= 0.5 * own.width].max(initial=0.0)
        return "lost" if there > MATCHING * size and not moved else "other", -1
    if all(_holds(filter_, pattern, changed, change, series.known) for filter_ in bank):
        # the narrower filter sees better where lines are
        there, here = (_top(bank[0], part, change) for part in (pattern, changed))
        aside = abs(there - here) > BESIDE * bank[0].width
        return ("beside", there) if aside and not moved else ("other", -1)
    return "new", -1


def _top(filter_: Filter, values: Array, change: Change) -> int:
    """Return the point within a width of a change where a filter sees most."""
    close = np.flatnonzero(np.abs(filter_.places - change.index) <= change.width)
    if close.size == 0:
        return change.index
    return int(filter_.places[close[areas(filter_, values)[close].argmax()]])


def _is_hump(gained: Array, change: Change, bank: Sequence[Filter]) -> bool:
    """Whether a narrower filter sees next to nothing: a background that bends, not a line."""
    scores = []
    for filter_ in bank:
        at = np.abs(filter_.places - change.index).argmin() if filter_.places.size else None
        if at is None or abs(filter_.places[at] - change.index) > 0.5 * filter_.width:
            return False
        scores.append(float(areas(filter_, gained)[at] * np.sqrt(filter_.information[at])))
    return scores[0] < NARROWER * scores[-1]


def _holds(
    filter_: Filter, pattern: Array, changed: Array, change: Change, reference: float
) -> bool:
    """Whether the pattern holds the line within a width, as this filter sees it.

    A hump of the background looks like a line to a wide filter alone.
    """
    near = np.abs(filter_.places - change.index) <= round(change.width)
    if not near.any():
        return False
    sigma = 1.0 / np.sqrt(filter_.information[near] * reference)
    held = np.maximum(areas(filter_, pattern)[near] - 2.0 * sigma, 0.0).max()
    gained = areas(filter_, changed)[near]
    middle = np.abs(filter_.places[near] - change.index).argmin()
    return bool(held >= PRESENT * gained[middle])


def _shadowed(change: Change, larger: Sequence[Change]) -> bool:
    return any(
        abs(change.index - one.index) < 2 * BLANK * one.width + REACH * change.width
        and abs(change.area) < SHADOW * abs(one.area)
        for one in larger
    )
