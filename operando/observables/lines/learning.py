"""What a series says of the lines of a window: where they usually are, and their shared shape."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from operando.observables.lines.profiles import ASYMMETRY, CENTRE, ETA, FWHM, KINDS
from operando.observables.lines.state import SEEN, make_state
from operando.observables.lines.tracker import SCALES, Fits, Frames, Tracker
from operando.observables.lines.windows import Plan

Array = npt.NDArray[np.float64]

LESSONS = 3
"""Rounds of learning: shares settle to far below their sigma."""
PRIOR = {ETA: (0.5, 0.25), ASYMMETRY: (0.0, 0.25)}
"""Shape, and its sigma, of a line before any frame is seen."""
LIMITS = {ETA: (0.0, 1.0), ASYMMETRY: (-0.8, 0.8)}
FIRST_WIDTH, USUAL_WIDTH = 2.5, 5.0
"""Widths in steps: what the first search begins with, and that of lines that never show."""


@dataclass(frozen=True)
class Shape:
    """The lines of a window as the series usually has them."""

    lines: Array
    """(KINDS, k); areas are 0."""
    sigma: Array
    """Statistical, of what is shared: share and asymmetry, (KINDS, k)."""
    misfit: float
    """Typical reduced chi-square."""


def learn(plan: Plan, frames: Frames, *, poisson: bool) -> Shape:
    """Learn centre, width and shape of the lines of a window from some frames of its series.

    The frames are followed like a series of their own, with lines looked for wherever they are not
    seen. The shape is the common one that minimises the chi-square of all frames together: each
    frame proposes a step with everything free, and their mean, weighted by variance, is taken, over
    again. Centre and width are medians over the better half of the frames that show the line.
    """
    step, count = plan.step, plan.lines.size
    lines = np.zeros((KINDS, count))
    lines[CENTRE], lines[FWHM] = plan.lines, FIRST_WIDTH * step
    lines[ETA] = PRIOR[ETA][0] if plan.share is None else plan.share
    sigma = np.zeros((KINDS, count))
    widest = max((plan.x[-1] - plan.x[0]) / (3.0 * FIRST_WIDTH * step), 1.2)
    scales = np.geomspace(1.0, widest, 6)
    misfit = 1.0
    for _ in range(LESSONS):
        tracker = Tracker(replace(plan, free_shape=False), poisson=poisson, scales=scales)
        start = np.concatenate([lines.ravel(), [0.0, 0.0]])
        state = make_state(lines)
        found = tracker.run(
            frames,
            starts=start[None],
            states=state[None],
            length=len(frames),
            begins=np.array([plan.begin]),
            hunting=True,
            roaming=plan.roaming,
        )
        lines = _usual(lines, found, usual=USUAL_WIDTH * step)
        misfit = float(np.nanmedian(found.chi2r)) if np.isfinite(found.chi2r).any() else 1.0
        if plan.share is None:
            lines, sigma = _shared(plan, frames, found, lines, poisson=poisson)
        scales = SCALES
    return Shape(lines=lines, sigma=sigma, misfit=misfit)


def usable(found: Fits) -> npt.NDArray[np.bool_]:
    """Return which lines of which frames can be learnt from, (n, k)."""
    return np.asarray(found.seen & found.converged[:, None])


def _usual(lines: Array, found: Fits, *, usual: float) -> Array:
    """Return lines with their median centre and width; unseen ones get the width of the others."""
    values, sigmas = found.kinds(found.theta), found.kinds(found.sigma)
    shown = usable(found)
    lines, width = lines.copy(), np.full(lines.shape[1], np.nan)
    for line in np.flatnonzero(shown.any(axis=0)):
        clear = values[:, 0, line] / np.where(sigmas[:, 0, line] > 0, sigmas[:, 0, line], np.inf)
        good = shown[:, line] & (clear >= np.median(clear[shown[:, line]]))
        lines[CENTRE, line] = np.median(values[good, CENTRE, line])
        width[line] = np.median(values[good, FWHM, line])
    alike = width[np.isfinite(width)]
    width[np.isnan(width)] = np.median(alike) if alike.size else usual
    lines[FWHM] = width
    return lines


def _shared(
    plan: Plan, frames: Frames, found: Fits, lines: Array, *, poisson: bool
) -> tuple[Array, Array]:
    """Return lines with better shapes, and the sigmas of these."""
    shown = usable(found)
    states = np.repeat(make_state(lines)[None], len(frames), axis=0)
    states[:, SEEN] = shown
    probed = Tracker(plan, poisson=poisson).run(
        frames,
        starts=np.nan_to_num(found.theta),
        states=states,
        length=1,
        begins=found.begins,
        probing=True,
    )
    values, sigmas = probed.kinds(probed.theta), probed.kinds(probed.sigma)
    lines, sigma = lines.copy(), np.zeros_like(lines)
    for kind in (ETA, ASYMMETRY) if plan.model.profile == 1 else (ETA,):
        told = shown & (sigmas[:, kind] > 0) & np.isfinite(values[:, kind])
        weight = np.where(told, 1.0 / np.where(told, sigmas[:, kind], 1.0) ** 2, 0.0)
        prior, prior_sigma = PRIOR[kind]
        pulled = np.where(told, values[:, kind], 0.0)
        total = weight.sum(axis=0) + 1.0 / prior_sigma**2
        mean = ((weight * pulled).sum(axis=0) + prior / prior_sigma**2) / total
        lines[kind] = np.clip(mean, *LIMITS[kind])
        sigma[kind] = np.sqrt(1.0 / total)
    return lines, sigma
