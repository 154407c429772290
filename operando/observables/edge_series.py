"""From the numbers of single frames to a shift, its uncertainty, and what to think of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.observables import edge_frames as frame
from operando.observables.dose import follows_dose
from operando.observables.edge_flags import ASSESSMENT, CAUTIONS

Array = npt.NDArray[np.float64]
Bits = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]

JITTER = 0.04
"""Standard deviation of the energy scale from scan to scan, eV, where no reference tells it."""
WANDER, WANDER_HOURS = 0.4, 64.0
"""Beside that it wanders by so many eV in so many hours."""
STEP_CHANGE, STEP_CERTAIN = 0.02, 5.0
FEWEST_MEMBERS = 3

OUTCOMES = (
    "edge_energy",
    "edge_energy_sigma",
    "edge_shift",
    "edge_shift_sigma",
    "edge_sigma_stat",
    "edge_sigma_drift",
    "edge_sigma_norm",
    "edge_step",
    "edge_step_sigma",
    "step_change",
    "white_line",
    "white_line_sigma",
    "rigid_chi2",
    "assessment",
)
MEASURED = {
    "edge_energy": frame.ENERGY,
    "edge_step": frame.STEP,
    "edge_step_sigma": frame.STEP_SIGMA,
    "white_line": frame.TOP,
    "white_line_sigma": frame.TOP_SIGMA,
}
"""Outcomes that a frame has by itself."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The frames of one position."""

    frames: Index
    """In order of time."""
    baseline: Index
    """Those whose mean is the baseline; empty where a spectrum is."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What is known of n frames besides their spectra."""

    places: list[Place]
    hours: Array
    """Since the first frame, (n,)."""
    matched: bool
    referenced: bool
    """The energy scale was measured on a reference, frame by frame."""
    short: bool
    glitched: npt.NDArray[np.bool_]
    """(n,)."""
    dose: Array
    """Exposure of its position up to the middle of each frame, (n,)."""
    charge: Array | None
    """Net charge, (n,); None when it is not known."""


def judge(
    numbers: Array,
    correction: Array,
    correction_sigma: Array,
    given: Array | None = None,
    *,
    series: Series,
) -> Array:
    """Return the outcomes (n, len(OUTCOMES)) of a series.

    Parameters
    ----------
    numbers
        Of `edge_frames`, (n, columns).
    correction, correction_sigma
        What is still to be subtracted from the energies, and the sigma of all that is, eV, (n,).
    given
        Numbers of the spectrum that is the baseline, (1, columns); None where frames are.
    """
    out = {name: np.full(len(numbers), np.nan) for name in OUTCOMES}
    bits = _assess(numbers, series)
    bits |= _bit("drift_unreferenced", ~np.isfinite(correction) | (not series.referenced))
    numbers = numbers.copy()
    numbers[:, frame.ENERGY] -= correction
    numbers[:, frame.FIRST_MEMBER :] -= correction[:, None]
    out |= {name: numbers[:, column] for name, column in MEASURED.items()}
    for place in series.places:
        rows = place.frames
        wander = wandering(series.hours[rows] - series.hours[rows[0]])
        drift = correction_sigma[rows] ** 2 if series.referenced else JITTER**2 + wander
        norm = _spread(numbers[rows, frame.FIRST_MEMBER :])
        own = numbers[rows, frame.ENERGY_SIGMA] ** 2
        out["edge_energy_sigma"][rows] = np.sqrt(own + drift + np.nan_to_num(norm) ** 2)
        good = np.isfinite(numbers[:, frame.ENERGY]) & (bits & ~CAUTIONS == 0)
        base = place.baseline[good[place.baseline]]
        if given is not None:
            origin = given[0]
        else:
            origin = numbers[base].mean(axis=0) if base.size else np.full(numbers.shape[1], np.nan)
        if not np.isfinite(origin[frame.ENERGY]):
            bits[rows] |= ASSESSMENT["no_baseline"]
            continue
        against = _Baseline(rows=rows, base=base, origin=origin)
        _shift(out, numbers, correction_sigma, against, series)
        _change(out, bits, numbers, against)
        believed = np.where(bits[rows] & ~CAUTIONS == 0, out["edge_shift"][rows], np.nan)
        if _damaged(believed, numbers, correction_sigma, rows, series):
            bits[rows] |= ASSESSMENT["dose_correlated"]
    out["assessment"] = bits.astype(float)
    return np.stack([out[name] for name in OUTCOMES], axis=-1)


@dataclass(frozen=True, kw_only=True)
class _Baseline:
    """What the frames of one position are compared with."""

    rows: Index
    base: Index
    """Frames it is the mean of; empty where it is a spectrum by itself."""
    origin: Array
    """Its numbers."""

    def variance(self, own: Array, of_origin: float) -> Array:
        """Return the variance of x_i - mean(x_base) of the rows, x independent of variance `own`.

        `of_origin` is that of a baseline which is a spectrum by itself.
        """
        if not self.base.size:
            return np.asarray(own[self.rows] + of_origin)
        share = np.isin(self.rows, self.base) / self.base.size
        return np.asarray(own[self.rows] * (1 - 2 * share) + own[self.base].mean() / self.base.size)


def wandering(hours: Array) -> Array:
    """Return the variance of the difference of two scans so far apart, as a random walk has it.

    0.04 eV in half an hour and 0.4 eV in 64 h, seen at one beamline in 142 scans of one sample,
    are those of one random walk: the variance grows in proportion to time.
    """
    return np.asarray(WANDER**2 / WANDER_HOURS * np.abs(hours))


def unreferenced(hours: Array, base: Array) -> Array:
    """Return the variance of (drift at `hours`) - (its mean over the times `base`), (n,).

    With v(t) the variance of a difference, it is mean_j v(t - t_j) - 1/2 mean_jk v(t_j - t_k).
    """
    times = np.sort(base)
    sums = np.append(0.0, np.cumsum(times))

    def apart(t: Array) -> Array:
        """Return the mean distance of `t` from the times of the baseline."""
        before = np.searchsorted(times, t)
        later = sums[-1] - sums[before] - t * (times.size - before)
        return np.asarray((t * before - sums[before] + later) / times.size)

    return wandering(apart(hours)) - 0.5 * float(np.mean(wandering(apart(times))))


def _bit(name: str, wrong: npt.ArrayLike) -> Bits:
    return np.asarray(np.where(wrong, ASSESSMENT[name], 0))


def _assess(numbers: Array, series: Series) -> Bits:
    """Return the bits that a frame has by itself, (n,)."""
    lost = numbers[:, frame.MISSING]
    usable = (numbers[:, frame.STEP] > 0) & (lost == frame.WHOLE)
    nothing = usable & ~np.isfinite(numbers[:, frame.ENERGY])
    bits = np.zeros(len(numbers), np.int64)
    for name, wrong in (
        ("no_match" if series.matched else "no_crossing", nothing),
        ("preedge_above_level", (numbers[:, frame.EARLY] == 1) & (not series.matched)),
        ("negative_step", (numbers[:, frame.STEP] <= 0)),
        ("nonfinite", lost != frame.WHOLE),
        ("partial_scan", lost == frame.CUT),
        ("multi_derivative_max", numbers[:, frame.TWO_MAXIMA] == 1),
        ("short_range", series.short),
        ("glitch", series.glitched),
    ):
        bits |= _bit(name, wrong)
    return bits


def _spread(energies: Array) -> Array:
    """Return the standard deviation over the members of the ensemble; NaN when too few are."""
    known = np.isfinite(energies)
    count = known.sum(axis=1)
    mean = np.where(known, energies, 0.0).sum(axis=1) / np.maximum(count, 1)
    squares = np.where(known, energies - mean[:, None], 0.0) ** 2
    variance = squares.sum(axis=1) / np.maximum(count - 1, 1)
    return np.where(count >= FEWEST_MEMBERS, np.sqrt(variance), np.nan)


def _shift(
    out: dict[str, Array],
    numbers: Array,
    correction_sigma: Array,
    against: _Baseline,
    series: Series,
) -> None:
    """Put the shift of one position and the parts of its sigma."""
    rows, base, origin = against.rows, against.base, against.origin
    stat = against.variance(
        numbers[:, frame.ENERGY_SIGMA] ** 2, float(origin[frame.ENERGY_SIGMA] ** 2)
    )
    if series.referenced:
        drift = against.variance(correction_sigma**2, 0.0)
    elif base.size:
        drift = against.variance(np.full(len(numbers), JITTER**2), 0.0)
        drift = drift + unreferenced(series.hours[rows], series.hours[base])
    else:
        drift = np.full(rows.size, JITTER**2 + WANDER**2)
    norm = _spread(numbers[rows, frame.FIRST_MEMBER :] - origin[frame.FIRST_MEMBER :])
    # Of spectra normalised before it is unknown what another range would have done.
    square = norm**2 if numbers.shape[1] > frame.FIRST_MEMBER else 0.0
    out["edge_shift"][rows] = numbers[rows, frame.ENERGY] - origin[frame.ENERGY]
    out["edge_shift_sigma"][rows] = np.sqrt(stat + drift + square)
    out["edge_sigma_stat"][rows] = np.sqrt(stat)
    out["edge_sigma_drift"][rows] = np.sqrt(drift)
    out["edge_sigma_norm"][rows] = norm


def _change(out: dict[str, Array], bits: Bits, numbers: Array, against: _Baseline) -> None:
    """Put what else changed against the baseline of one position: edge step and shape."""
    rows, origin = against.rows, against.origin
    step = origin[frame.STEP]
    change = numbers[rows, frame.STEP] / step - 1
    variance = against.variance(
        (numbers[:, frame.STEP_SIGMA] / step) ** 2, float((origin[frame.STEP_SIGMA] / step) ** 2)
    )
    least = np.fmax(STEP_CHANGE, STEP_CERTAIN * np.sqrt(variance))
    bits[rows] |= _bit("step_changed", np.abs(change) > least)
    out["step_change"][rows] = change
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = (numbers[:, frame.NOISE] / numbers[:, frame.STEP]) ** 2
        # The baseline is noisy, too: that is in what is left between it and the frame.
        both = against.variance(noise, float((origin[frame.NOISE] / step) ** 2))
        chi2 = numbers[rows, frame.CHI2] * noise[rows] / both
    out["rigid_chi2"][rows] = np.where(both > 0, chi2, np.nan)


def _damaged(
    shift: Array, numbers: Array, correction_sigma: Array, rows: Index, series: Series
) -> bool:
    """Tell whether the shift of one position follows its dose rather than charge."""
    if series.charge is None:
        return False
    variance = numbers[rows, frame.ENERGY_SIGMA] ** 2
    wander = np.zeros(rows.size)
    if series.referenced:
        variance = variance + correction_sigma[rows] ** 2
    else:
        variance = variance + JITTER**2
        wander = wandering(series.hours[rows] - series.hours[rows[0]])
    return follows_dose(
        shift,
        variance,
        dose=series.dose[rows],
        charge=series.charge[rows],
        throughput=moved(series.charge, series.hours)[rows],
        wander=wander,
    ).follows


def moved(charge: Array, hours: Array) -> Array:
    """Return all charge moved either way up to each frame, NaN where the charge is not known."""
    order = np.argsort(hours, kind="stable")
    known = order[np.isfinite(charge[order])]
    total = np.full(charge.size, np.nan)
    total[known] = np.append(0.0, np.cumsum(np.abs(np.diff(charge[known]))))[: known.size]
    return total
