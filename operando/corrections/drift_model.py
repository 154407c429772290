"""A smooth drift with a jitter from scan to scan, told apart by what the data say of both.

Scan i, measured with the error e_i of known variance s_i^2, is off by c_i = g(t_i) + j_i:

    d_i = g(t_i) + j_i + e_i,   j_i ~ N(0, tau^2),   g'' = white noise of density q,

so that g is a cubic smoothing spline (Wahba, J. R. Stat. Soc. B 40 (1978) 364) and the two numbers
q and tau, which maximise the likelihood, say how stiff it is and whether scans really jitter: the
estimate of c_i lies on the spline when tau << s_i, and on the measurement when tau >> s_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FEWEST = 8
"""Below so many measured scans q and tau cannot be told: every scan has its own measurement."""
OUTLYING = 4.0
"""Scans further off the others than this many sigma count with the variance that explains it."""
ROUNDS = 4
CERTAIN = 5.0
"""Steps of fewer sigma are noise."""
AROUND = 3
"""Scans on each side of a step that make up a level: one that is off by itself is no step."""
GRID, ZOOMS = 7, 5
FINEST = 1e-6
"""Sigma in eV below which a shift is not believed, as of spectra without noise."""
WIDE = 100.0
"""Prior variance of the level, eV^2, and of the slope, (eV a scan)^2: no information."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far n scans are off."""

    value: Array
    """c, eV, (n,); NaN where it is not known."""
    sigma: Array
    """Of `value`, (n,)."""
    smooth: Array
    """g, eV, (n,)."""
    jitter: float
    """tau, eV; NaN where it was not fitted."""
    jump: Mask
    """First scan after a step, (n,)."""
    outlier: Mask
    """Scans that are off by themselves, (n,); they are corrected by their own measurement."""


def model_drift(
    seconds: Array, shift: Array, sigma: Array, *, jump: float, smooth: bool = True
) -> Drift:
    """Estimate how far each scan is off from the shifts measured on the reference channel.

    A step of more than `jump` between two measured scans, and between the medians of three on each
    side, ends one spline and begins the next: it is never smoothed over.

    Parameters
    ----------
    seconds
        Time of the scans, ascending, (n,).
    shift, sigma
        d and s, eV, (n,); NaN where a scan has none: it gets the spline, and tau in its sigma.
    jump
        Smallest step, eV; one within 5 of its sigma is noise.
    smooth
        False, or fewer than 8 measured scans: every scan keeps its own measurement.
    """
    measured = np.isfinite(shift) & np.isfinite(sigma)
    steps = _steps(shift, sigma, measured, jump)
    nobody = np.zeros(shift.size, dtype=bool)
    if not smooth or np.count_nonzero(measured) < FEWEST:
        value, spread = np.where(measured, shift, np.nan), np.where(measured, sigma, np.nan)
        return Drift(
            value=value,
            sigma=spread,
            smooth=np.full(shift.size, np.nan),
            jitter=np.nan,
            jump=steps,
            outlier=nobody,
        )
    # In scans, so that the prior of the slope and the range of q fit any experiment.
    scans = (seconds - seconds[0]) / np.median(np.diff(seconds[measured]))
    data = np.where(measured, shift, 0.0)
    own = np.where(measured, np.maximum(sigma, FINEST), np.inf) ** 2
    excess = np.zeros(shift.size)
    for _ in range(ROUNDS):
        density, jitter = _likeliest(scans, data, own, excess, steps)
        variance = own + jitter + excess
        level, spread, _ = _smoothed(scans, data, variance, steps, density)
        found = _excess(data, level, spread, own + jitter, variance)
        if np.array_equal(found > 0, excess > 0):
            break
        excess = found
    # c = g + k (d - g): the share k of what is left over is the scan's own, the rest is noise
    share = np.where(measured, 1 - own / np.where(measured, variance, 1.0), 0.0)
    rest = np.where(measured, share * np.where(measured, own, 0.0), jitter)
    return Drift(
        value=level + share * (data - level),
        sigma=np.sqrt((1 - share) ** 2 * spread + rest),
        smooth=level,
        jitter=float(np.sqrt(jitter)),
        jump=steps,
        outlier=excess > 0,
    )


def _steps(shift: Array, sigma: Array, measured: Mask, jump: float) -> Mask:
    """Return the first scans after a step: both from scan to scan and of the level around it."""
    at = np.flatnonzero(measured)
    seen, noise = shift[at], np.hypot(sigma[at[1:]], sigma[at[:-1]])
    change = np.abs(np.diff(seen))
    steps = np.zeros(shift.size, dtype=bool)
    for place in np.flatnonzero((change > jump) & (change > CERTAIN * noise)) + 1:
        before, after = seen[max(place - AROUND, 0) : place], seen[place : place + AROUND]
        steps[at[place]] = abs(np.median(after) - np.median(before)) > jump
    return steps


def _excess(data: Array, level: Array, spread: Array, plain: Array, variance: Array) -> Array:
    """Return the variance, beyond its plain one, with which a scan is `OUTLYING` sigma off others.

    The spline through the other scans only is (data - level) v / (v - spread) away and has the
    variance spread v / (v - spread), with v the variance that the scan counted with.
    """
    share = np.where(np.isfinite(variance), spread / variance, 0.0)
    alone = 1 / (1 - np.minimum(share, 0.999))
    needed = ((data - level) * alone / OUTLYING) ** 2 - spread * alone
    return np.where(np.isfinite(plain), np.maximum(0.0, needed - plain), 0.0)


def _likeliest(
    scans: Array, data: Array, own: Array, excess: Array, steps: Mask
) -> tuple[float, float]:
    """Return q and tau^2 of the greatest likelihood, by zooming into a grid of their logarithms."""
    measured = np.isfinite(own)
    typical = float(np.median(own[measured]))
    reach = 10 * max(float(np.var(data[measured])), typical)
    low = np.log([1e-2 * typical / scans[-1] ** 3, 1e-4 * typical])
    high = np.log([reach, reach])
    for _ in range(ZOOMS):
        axes = [np.linspace(a, b, GRID) for a, b in zip(low, high, strict=True)]
        logs = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        heights = [
            _smoothed(scans, data, own + jitter + excess, steps, density)[2]
            for density, jitter in np.exp(logs)
        ]
        best, cell = logs[int(np.argmax(heights))], (high - low) / (GRID - 1)
        low, high = np.maximum(low, best - cell), np.minimum(high, best + cell)
    density, jitter = np.exp(best)
    return float(density), float(jitter)


@numba.njit(nogil=True, cache=True)
def _smoothed(
    t: Array, data: Array, variance: Array, steps: Mask, density: float
) -> tuple[Array, Array, float]:
    """Return spline, its variance and the log likelihood.

    A Kalman filter over level and slope (Wecker and Ansley, J. Am. Stat. Assoc. 78 (1983) 81), then
    the smoother of Rauch, Tung and Striebel. Variances p of the level, s of the slope, r of both.
    """
    count = t.size
    seen, ahead = np.zeros((count, 5)), np.zeros((count, 5))  # with the scan, and before it
    likelihood = 0.0
    a, b, p, r, s = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        if i == 0 or steps[i]:
            a, b, p, r, s = data[i], 0.0, WIDE, 0.0, WIDE
        else:
            h = t[i] - t[i - 1]
            a += h * b
            p += 2 * h * r + h * h * s + density * h * h * h / 3
            r += h * s + density * h * h / 2
            s += density * h
        ahead[i, 0], ahead[i, 1], ahead[i, 2], ahead[i, 3], ahead[i, 4] = a, b, p, r, s
        if np.isfinite(variance[i]):
            total = p + variance[i]
            surprise = data[i] - a
            likelihood -= 0.5 * (np.log(total) + surprise * surprise / total)
            a, b = a + p / total * surprise, b + r / total * surprise
            s -= r * r / total
            p, r = p * variance[i] / total, r * variance[i] / total
        seen[i, 0], seen[i, 1], seen[i, 2], seen[i, 3], seen[i, 4] = a, b, p, r, s
    level, spread = seen[:, 0].copy(), seen[:, 2].copy()
    for i in range(count - 2, -1, -1):
        if steps[i + 1]:
            a, b, p, r, s = seen[i]
            continue
        h = t[i + 1] - t[i]
        aa, bb, pp, rr, ss = ahead[i + 1]
        da, db, dp, dr, ds = a - aa, b - bb, p - pp, r - rr, s - ss
        a, b, p, r, s = seen[i]
        det = pp * ss - rr * rr
        m, n, k, q = p + h * r, r, r + h * s, s  # covariance with the next level and slope
        c, d = (m * ss - n * rr) / det, (n * pp - m * rr) / det
        e, f = (k * ss - q * rr) / det, (q * pp - k * rr) / det
        a, b = a + c * da + d * db, b + e * da + f * db
        p, r, s = (
            p + c * c * dp + 2 * c * d * dr + d * d * ds,
            r + c * e * dp + (c * f + d * e) * dr + d * f * ds,
            s + e * e * dp + 2 * e * f * dr + f * f * ds,
        )
        level[i], spread[i] = a, p
    return level, spread, likelihood
