"""Where lines are that were lost, or never seen: a matched search over the window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operando.observables.lines.bench import Model
from operando.observables.lines.profiles import AREA, CENTRE, ETA, FWHM, profile

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FIVE = np.ones(5)
NEAR = 0.9
"""Share of the best gain for which the smallest shift is taken: a lone line of several is not
mistaken for its neighbour."""
PLACES = 3.0
"""Shifts in a width."""


def search(
    x: Array,
    y: Array,
    weight: Array,
    *,
    lines: Array,
    moving: Mask,
    staying: Mask,
    scales: Array,
    model: Model,
    still: bool = False,
) -> tuple[Array, float]:
    """Find the lines that are looked for in one frame.

    Every common shift that keeps them in the window and every scale of their widths is tried by
    weighted least squares in all areas and the background; lines come no closer than a width to
    those that stay. Of all that gain nearly as much as the best, the smallest shift is taken.

    Parameters
    ----------
    x, y, weight
        Of the points to use, (m,).
    lines
        Where the lines are thought to be, by kind, (KINDS, k).
    moving, staying
        Which are looked for, and which of the others are there, (k,).
    scales
        Widths to try, relative to those of lines.
    still
        Do not shift them.

    Returns
    -------
    parameters
        Lines, background in the middle of the window and slope, (KINDS k + 2,).
    gain
        Chi-square that the lines looked for explain; 0 where there are none.
    """
    root = np.sqrt(weight)
    scale, shift = _trials(x, lines, moving, scales, still)
    apart = _apart(lines, moving, staying, shift)
    scale, shift = scale[apart], shift[apart]
    fixed = [np.ones_like(x), x - 0.5 * (x[0] + x[-1])]
    fixed += [_template(x, lines[:, at], model) for at in np.flatnonzero(staying & ~moving)]
    basis, _ = np.linalg.qr((np.array(fixed) * root).T)
    tried = lines[:, None, moving].repeat(scale.size, axis=1)
    tried[CENTRE] += shift[:, None]
    tried[FWHM] *= scale[:, None]
    templates = root * _template(x, tried[..., None], model)
    templates -= (templates @ basis) @ basis.T
    areas, gain = _solved(templates, root * y)
    gain = np.where(areas.sum(axis=1) > 0, gain, 0.0)
    best = gain.max(initial=0.0)
    near = np.where(gain >= NEAR * best, np.abs(shift), np.inf)
    chosen = int(np.where(near == near.min(), gain, -1.0).argmax())
    found = lines.copy()
    found[:, moving] = tried[:, chosen]
    return _with_areas(x, y, root, found, moving | staying, model), float(best)


def smoothed(y: Array) -> Array:
    """Return weights of counts before there is a model: 1 over the mean of five points."""
    used = np.convolve(np.ones_like(y), FIVE, mode="same")
    return np.asarray(1.0 / np.maximum(np.convolve(y, FIVE, mode="same") / used, 1.0))


def _template(x: Array, line: Array, model: Model) -> Array:
    """Return lines of unit area, or pairs of a doublet; pseudo-Voigts whatever they are fitted as.

    The numbers of a line are the first axis of `line`.
    """
    first = profile(x, centre=line[CENTRE], fwhm=line[FWHM], eta=line[ETA])
    if model.second == 0.0:
        return first
    centre = second_centres(model, line[CENTRE])
    other = profile(x, centre=centre, fwhm=line[FWHM], eta=line[ETA])
    return (1.0 - model.second) * first + model.second * other


def second_centres(model: Model, centre: Array) -> Array:
    """Return the centres of the second lines of doublets, in degree of two theta."""
    sine = np.minimum(model.ratio * np.sin(np.radians(centre) / 2.0), 1.0)
    return np.asarray(2.0 * np.degrees(np.arcsin(sine)))


def _trials(
    x: Array, lines: Array, moving: Mask, scales: Array, still: bool
) -> tuple[Array, Array]:
    """Return the scales and shifts to try.

    Shifts that keep all lines in the window, a third of the narrowest width apart.
    """
    if still:
        return scales, np.zeros_like(scales)
    centre, narrow = lines[CENTRE, moving], float(lines[FWHM, moving].min())
    least = 2.0 * float(np.median(np.diff(x)))
    pairs = []
    for scale in scales:
        step = max(narrow * scale, least) / PLACES
        down = int(max(centre.min() - x[0], 0.0) / step)
        up = int(max(x[-1] - centre.max(), 0.0) / step)
        pairs += [(scale, step * at) for at in range(-down, up + 1)]
    scale, shift = np.array(pairs).T
    return scale, shift


def _apart(lines: Array, moving: Mask, staying: Mask, shift: Array) -> Mask:
    """Whether lines looked for stay a width away from those that stay, if they move at all."""
    here, there = lines[:, moving], lines[:, staying & ~moving]
    distance = np.abs(here[CENTRE][:, None] + shift[:, None, None] - there[CENTRE])
    near = distance < np.maximum(here[FWHM][:, None], there[FWHM])
    return np.asarray((shift == 0.0) | ~near.any(axis=(1, 2)))


def _solved(templates: Array, y: Array) -> tuple[Array, Array]:
    """Return areas (trials, k), and the chi-square they gain, for templates (trials, k, m)."""
    normal = np.einsum("tam,tbm->tab", templates, templates)
    right = np.einsum("tam,m->ta", templates, y)
    size = np.einsum("taa->ta", normal)
    ridge = 1e-9 * np.where(size > 0, size, 1.0)
    normal += ridge[:, :, None] * np.eye(normal.shape[1])
    areas = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
    return areas, np.einsum("ta,ta->t", areas, right)


def _with_areas(x: Array, y: Array, root: Array, lines: Array, shown: Mask, model: Model) -> Array:
    """Return the parameters of lines with areas and background by weighted least squares."""
    columns = [_template(x, lines[:, at], model) for at in np.flatnonzero(shown)]
    columns += [np.ones_like(x), x - 0.5 * (x[0] + x[-1])]
    solved = np.linalg.lstsq((np.array(columns) * root).T, root * y, rcond=None)[0]
    found = lines.copy()
    found[AREA] = 0.0
    found[AREA, shown] = solved[:-2]
    return np.concatenate([found.ravel(), solved[-2:]])
