"""Tracks of the lines in one window: where each frame starts, which lines it can hold, its fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operando.observables.pseudo_voigt import Array, Fit, Mask, fit, middle, profile

DETECTED = 4.0
"""Area over sigma below which a line has no measurable centre and width."""
LESSONS = 4
"""Rounds of learning: eta settles to far below its sigma."""
SCALES = np.array([0.6, 1.0, 1.7])
"""Widths that are tried at first, relative to what a line usually has."""
NARROWEST = 1.2
"""Bound of a width in grid steps."""
POOR_FIT = 10.0
"""Reduced chi-square from which the profile does not describe the data."""
MIXED, MIXED_SIGMA = 0.5, 0.25
"""Lorentzian share, and its sigma, of a line before any frame is seen."""
BLOCK = 256

ASSESSMENT: dict[str, int] = {
    "success": 0,
    "weak": 1,
    "at_bound": 2,
    "not_converged": 3,
    "no_data": 4,
    "poor_fit": 5,
}
"""`weak`: under 4 sigma, the area is fitted with the series' shape and may be negative, centre and
width are NaN. `at_bound`: the line left its window or is narrower than the grid; sigma says too
little. `no_data`: too few finite points. `poor_fit`: reduced chi-square above 10, sigma is too
small.
"""

NUMBERS = ("area", "centre", "fwhm", "eta", "background")
"""In the order in which `track` returns them."""


@dataclass(frozen=True)
class Shape:
    """What the series says of the k lines of a window: what starts and weak lines are given."""

    centre: Array
    fwhm: Array
    eta: Array
    eta_sigma: Array


def learn_shape(x: Array, y: Array, weight: Array | None, *, lines: Array) -> Shape:
    """Learn centre, width and Lorentzian share of the lines of a window from some frames.

    eta is the common value that minimises the chi-square of all frames together, by Gauss-Newton
    steps on the Schur complement of everything that is free in each frame; centre and width are
    medians over the better half of the frames that show the line.
    """
    count = lines.size
    step = float(np.median(np.diff(x)))
    scales = np.geomspace(1.0, max((x[-1] - x[0]) / (7.5 * step), 1.2), 6)
    share, share_sigma = np.full(count, MIXED), np.full(count, MIXED_SIGMA)
    shape = Shape(lines.astype(float), np.full(count, 2.5 * step), share, share_sigma)
    present, y, weight = _clean(y, weight)
    for _ in range(LESSONS):
        found, seen = _settle(x, y, weight, present, shape, scales)
        usable = np.asarray(found.converged & _enough(present, found.theta.shape[1]))
        shape = _improved(shape, found, np.asarray(seen & usable[:, None]), usual=5.0 * step)
        scales = SCALES
    return shape


def _improved(shape: Shape, found: Fit, seen: Mask, *, usual: float) -> Shape:
    count = shape.centre.size
    sigma = np.sqrt(np.einsum("npp->np", found.covariance)[:, :count])
    centre, fwhm = shape.centre.copy(), np.full(count, np.nan)
    for line in np.flatnonzero(seen.any(axis=0)):
        clear = np.where(
            seen[:, line], found.theta[:, line] / np.maximum(sigma[:, line], 1e-300), 0
        )
        good = seen[:, line] & (clear >= np.median(clear[seen[:, line]]))
        centre[line] = np.median(found.theta[good, count + line])
        fwhm[line] = np.median(found.theta[good, 2 * count + line])
    # a line that never shows is given the width of its neighbours
    alike = fwhm[np.isfinite(fwhm)]
    fwhm[np.isnan(fwhm)] = np.median(alike) if alike.size else usual
    shares = slice(3 * count, 4 * count)
    free = np.asarray(found.covariance.any(axis=2))
    crossed = np.where(free[:, None, :], found.hessian[:, shares], 0.0)
    explained = crossed @ found.covariance @ crossed.transpose(0, 2, 1)
    schur = found.hessian[:, shares, shares] - explained
    both = seen[:, :, None] & seen[:, None, :]
    information = np.where(both, schur, 0.0).sum(axis=0) + np.eye(count) / MIXED_SIGMA**2
    pull = np.where(seen, found.gradient[:, shares], 0.0).sum(axis=0)
    pull += (MIXED - shape.eta) / MIXED_SIGMA**2
    variance = np.linalg.inv(information)
    eta = np.clip(shape.eta + variance @ pull, 0.0, 1.0)
    return Shape(centre, fwhm, eta, np.asarray(np.sqrt(np.diag(variance))))


def track(x: Array, y: Array, weight: Array | None, *, shape: Shape) -> tuple[Array, Array, Array]:
    """Measure the lines of a window in frames y (n, m), each frame on its own.

    Returns
    -------
    values, sigmas
        (n, 5, k), in the order of `NUMBERS`.
    summary
        (n, 2, k): reduced chi-square of the window and assessment.
    """
    parts = [
        _track(x, y[at : at + BLOCK], None if weight is None else weight[at : at + BLOCK], shape)
        for at in range(0, y.shape[0], BLOCK)
    ]
    values, sigmas, summary = (np.concatenate(part) for part in zip(*parts, strict=True))
    return values, sigmas, summary


def _track(x: Array, y: Array, weight: Array | None, shape: Shape) -> tuple[Array, Array, Array]:
    present, y, weight = _clean(y, weight)
    found, seen = _settle(x, y, weight, present, shape, SCALES)
    return _numbers(x, found, seen, _enough(present, found.theta.shape[1]), shape)


def _settle(
    x: Array, y: Array, weight: Array | None, present: Mask, shape: Shape, scales: Array
) -> tuple[Fit, Mask]:
    """Fit every frame with as many shaped lines as it shows; return the fit and which they are."""
    count = shape.centre.size
    start, shift = _search(x, y, shape, scales=scales)
    linear = _fit(x, y, weight, present, start, _free(np.zeros(start[:, :count].shape, bool)))
    seen = _seen(linear, count)
    # where nothing is seen the search has found the largest noise
    held = _at_rest(start, shape, np.where(seen.any(axis=1), shift, 0.0))
    start = np.where(_free(seen), linear.theta, held)
    found = linear
    for _ in range(count + 1):
        found = _fit(x, y, weight, present, start, _free(seen))
        lost = seen & ~_seen(found, count)
        if not lost.any():
            break
        seen = seen & ~lost
        start = np.where(_free(seen), found.theta, held)
    return found, seen


def _clean(y: Array, weight: Array | None) -> tuple[Mask, Array, Array | None]:
    present = np.isfinite(y)
    if weight is not None:
        present &= np.isfinite(weight) & (weight > 0)
        weight = np.where(present, weight, 0.0)
    return present, np.where(present, y, 0.0), weight


def _enough(present: Mask, parameters: int) -> Mask:
    return np.asarray(present.sum(axis=1) >= parameters + 1)


def _fit(x: Array, y: Array, weight: Array | None, present: Mask, start: Array, free: Mask) -> Fit:
    count = (start.shape[1] - 2) // 4
    narrowest = NARROWEST * float(np.median(np.diff(x)))
    low = np.repeat([-np.inf, x[0], narrowest, 0.0], count)
    high = np.repeat([np.inf, x[-1], x[-1] - x[0], 1.0], count)
    return fit(
        x,
        y,
        weight=weight,
        present=present,
        start=start,
        free=free,
        low=np.append(low, [-np.inf, -np.inf]),
        high=np.append(high, [np.inf, np.inf]),
    )


def _free(shaped: Mask) -> Mask:
    """Areas and background always, centre and width of shaped lines, eta never."""
    always = np.ones_like(shaped)
    return np.concatenate([always, shaped, shaped, ~always, always[:, :1], always[:, :1]], axis=1)


def _seen(found: Fit, count: int) -> Mask:
    area = found.theta[:, :count]
    variance = np.einsum("npp->np", found.covariance)[:, :count]
    return np.asarray(area > DETECTED * np.sqrt(variance))


def _at_rest(start: Array, shape: Shape, shift: Array) -> Array:
    """Parameters with every line at its usual width, moved with the others in the window."""
    count = shape.centre.size
    held = start.copy()
    held[:, count : 2 * count] = shape.centre + shift[:, None]
    held[:, 2 * count : 3 * count] = shape.fwhm
    return held


def _search(x: Array, y: Array, shape: Shape, *, scales: Array) -> tuple[Array, Array]:
    """Find where the lines are, together: start parameters (n, p) and the shift (n,).

    Every common shift and scale of widths is tried by linear least squares; the smallest shift that
    explains 90 % of what the best explains is taken, so that a lone line is not mistaken for its
    neighbour.
    """
    count = shape.centre.size
    background = np.stack([np.ones_like(x), x - middle(x)])
    trials = [(scale, shift) for scale in scales for shift in _shifts(x, shape, scale)]
    gain = np.empty((y.shape[0], len(trials)))
    solved = np.empty((y.shape[0], len(trials), count + 2))
    for number, (scale, shift) in enumerate(trials):
        lines = profile(
            x,
            centre=(shape.centre + shift)[:, None],
            fwhm=(shape.fwhm * scale)[:, None],
            eta=shape.eta[:, None],
        )
        orthogonal, triangle = np.linalg.qr(np.concatenate([background, lines]).T)
        along = (y[:, :, None] * orthogonal).sum(axis=1)
        solved[:, number] = along @ np.linalg.pinv(triangle).T
        positive = solved[:, number, 2:].sum(axis=1) > 0
        gain[:, number] = np.where(positive, (along[:, 2:] ** 2).sum(axis=1), 0.0)
    distance = np.array([abs(shift) for _, shift in trials])
    near = np.where(gain >= 0.9 * gain.max(axis=1, keepdims=True), distance, np.inf)
    nearest = near == near.min(axis=1, keepdims=True)
    best = np.where(nearest, gain, -1.0).argmax(axis=1)
    scale = np.array([scale for scale, _ in trials])[best]
    shift = np.array([shift for _, shift in trials])[best]
    chosen = solved[np.arange(y.shape[0]), best]
    start = np.concatenate(
        [
            chosen[:, 2:],
            shape.centre + shift[:, None],
            shape.fwhm * scale[:, None],
            np.broadcast_to(shape.eta, (y.shape[0], count)),
            chosen[:, :2],
        ],
        axis=1,
    )
    return start, np.asarray(shift, dtype=float)


def _shifts(x: Array, shape: Shape, scale: float) -> Array:
    """Shifts that keep all lines in the window, a third of the narrowest width apart."""
    step = max(float(shape.fwhm.min()) * scale, 2.0 * float(np.median(np.diff(x)))) / 3.0
    down = int(max(shape.centre.min() - x[0], 0.0) / step)
    up = int(max(x[-1] - shape.centre.max(), 0.0) / step)
    return np.asarray(step * np.arange(-down, up + 1))


def _numbers(
    x: Array, found: Fit, seen: Mask, enough: Mask, shape: Shape
) -> tuple[Array, Array, Array]:
    frames, count = seen.shape
    theta = found.theta
    sigma = np.sqrt(np.einsum("npp->np", found.covariance))
    lever = theta[:, count : 2 * count] - middle(x)
    cross = found.covariance[:, -2:, -2:]
    values = np.concatenate(
        [
            theta[:, : 4 * count].reshape(frames, 4, count),
            (theta[:, -2:-1] + theta[:, -1:] * lever)[:, None],
        ],
        axis=1,
    )
    level = cross[:, :1, 0] + 2.0 * lever * cross[:, :1, 1] + lever**2 * cross[:, 1:, 1]
    sigmas = np.concatenate(
        [sigma[:, : 4 * count].reshape(frames, 4, count), np.sqrt(level)[:, None]], axis=1
    )
    sigmas[:, 3] = shape.eta_sigma
    hidden = np.zeros(values.shape, dtype=bool)
    hidden[:, 1:3] = ~seen[:, None]
    hidden |= ~enough[:, None, None]
    bounded = seen & ((sigma[:, count : 3 * count].reshape(frames, 2, count) == 0).any(axis=1))
    assessment = np.select(
        [
            np.broadcast_to(~enough[:, None], seen.shape),
            np.broadcast_to(~found.converged[:, None], seen.shape),
            ~seen,
            bounded,
            np.broadcast_to((found.chi2r > POOR_FIT)[:, None], seen.shape),
        ],
        [ASSESSMENT[n] for n in ("no_data", "not_converged", "weak", "at_bound", "poor_fit")],
        ASSESSMENT["success"],
    )
    chi2r = np.where(enough, found.chi2r, np.nan)
    summary = np.stack([np.repeat(chi2r[:, None], count, axis=1), assessment], axis=1)
    return np.where(hidden, np.nan, values), np.where(hidden, np.nan, sigmas), summary
