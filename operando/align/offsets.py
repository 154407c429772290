"""Proposals for the offset of one clock against another; none is ever applied by itself.

Two things may tell: a potential that the beamline and the potentiostat both recorded, and the
trigger of the detector on an analog input of the potentiostat. What the sample does is no clock:
edges and reflections lag behind the charge by minutes, and would be taken for an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from operando import arguments
from operando.align import windows as kernels
from operando.align.exposures import exposures, instants
from operando.align.offset_fit import Fit, near_s, robust_fit
from operando.align.shifts import Samples, Shifted, robust_cost, scatter_of
from operando.align.windows import Array
from operando.electrochemistry.preparation import require_prepared
from operando.errors import RequestError

GRID_S = 5.0
WEEK_S = 604_800.0
MOST_SEARCHED = 300
"""Samples that the search over all offsets looks at, evenly picked."""
MOST_FITTED = 5000
FEWEST = 10
LEAST_AMBIGUITY = 3.0
LARGEST_DRIFT_PPM = 200.0
"""A crystal of a computer is off by 100 ppm at the most; what drifts more is no clock."""
GAINS = (0.8, 1.25)
"""No converter is further off; what fits beyond is another signal."""
HYSTERESIS = 0.2
"""Noise about the level is no edge: a trigger passes it by this share of its height above rest."""


@dataclass(frozen=True, kw_only=True)
class OffsetProposal:
    """By how much the frames' clock seems to be late or early; `str` says it in a sentence."""

    method: Literal["potential", "trigger"]
    offset_s: float
    """Seconds to add to the frames' clock, at the first frame: their `clock_offset_s`."""
    sigma_s: float
    ambiguity: float
    """How many times worse the next best offset fits; inf where there is no other."""
    frames: int
    """Samples or edges that were compared."""
    scatter: float
    """Robust standard deviation of what is left: V for a potential, s for a trigger."""
    drift_ppm: float = np.nan
    """What the frames' clock loses on the log's; NaN unless it was asked for."""
    drift_sigma_ppm: float = np.nan
    gain: float = 1.0
    """Of the beamline's converter; 1 unless it was asked for."""
    refused: str | None = None
    """Why the offset must not be used; None where it may."""

    @property
    def accepted(self) -> bool:
        """Whether the offset may be declared."""
        return self.refused is None

    def __str__(self) -> str:
        """Return one readable line."""
        if self.refused is not None:
            return f"{self.method}: refused, {self.refused}"
        drift = ""
        if np.isfinite(self.drift_ppm):
            drift = f", drift {self.drift_ppm:+.0f} +- {self.drift_sigma_ppm:.0f} ppm"
        return (
            f"{self.method}: {self.offset_s:+.2f} +- {self.sigma_s:.2f} s{drift} "
            f"({self.frames} compared, ambiguity {self.ambiguity:.3g})"
        )


def propose_offset(
    samples: xr.DataArray,
    log: xr.Dataset,
    *,
    search_s: float = 7200.0,
    drift: bool = False,
    gain: bool = False,
) -> OffsetProposal:
    """Propose the offset of the frames' clock from a potential that the log holds too.

    The samples are compared with the log's mean over each exposure, moved by every multiple of 5 s
    within `search_s`, by a mean square that no outlier dominates, after the median difference (the
    zero of the beamline's converter) is taken off. The best is refined by a robust least-squares
    fit of offset and zero together; `sigma_s` is that of the fit, or of its residuals in twenty
    stretches of time where these hang together more than noise does. `ambiguity` is the root of
    the cost at the best offset farther than 5 exposures + 60 s, over the cost at the best.

    It is accepted only if the ambiguity is above 3, sigma below one exposure, and a drift within
    200 ppm. Ask for a drift only where the record is long: over a few hours it and the offset
    hang together, and their sigma is too small where the log has gaps. Fails, and is
    refused, on a monotonic ramp: with an unknown zero every offset fits a straight line.

    Parameters
    ----------
    samples
        The beamline's own reading of the cell voltage (V) on `time`, one a frame, with
        `time_start` and `time_end`; missing ones are left out.
    log
        A log from `prepare`.
    search_s
        Largest offset looked for, either way; a week at most.
    drift
        Fit a drift (ppm) as well; `offset_s` is then the one at the first sample.
    gain
        Fit the gain of the beamline's converter as well.

    Raises
    ------
    ContractError
        The samples have no intervals.
    RequestError
        The log is not prepared or has less than two rows, the samples are not on time alone, or
        another argument is none of those allowed.
    """
    arguments.array("samples", samples, "time")
    arguments.number("search_s", search_s, lambda s: 0 < s <= WEEK_S, "seconds > 0, a week at most")
    arguments.switch("drift", drift)
    arguments.switch("gain", gain)
    require_prepared(log)
    if log.sizes["time"] < 2:
        raise RequestError(f"log: {log.sizes['time']} row; two and more make an interval")
    seen = _samples(samples, log)
    count = seen.value.size
    if count < FEWEST:
        return _none(f"{count} samples of the potential; {FEWEST} and more are needed")
    shifted = _tabulated(log)
    few = seen.pick(_evenly(count, MOST_SEARCHED))
    grid = np.arange(-np.ceil(search_s / GRID_S), np.ceil(search_s / GRID_S) + 1) * GRID_S
    costs = robust_cost(shifted, few, grid)
    if not np.isfinite(costs).any():
        return _none(f"the log covers half of the samples at no offset within {search_s:g} s")
    near = grid[int(np.argmin(costs))] + np.linspace(-GRID_S, GRID_S, 21)
    best = float(near[np.argmin(robust_cost(shifted, few, near))])
    many = seen.pick(_evenly(count, MOST_FITTED))
    fit = robust_fit(shifted, many, begin=best, drift=drift, gain=gain)
    return _judged(fit, shifted, few, grid, costs)


def trigger_offset(
    channel: xr.DataArray, frames: xr.Dataset, *, level: float | None = None
) -> OffsetProposal:
    """Propose the offset of the frames' clock from a trigger that the potentiostat recorded.

    The channel's rising edges are matched with the starts of the frames in order; the offset is the
    median difference, and `scatter` 1.4826 times the median absolute deviation from it. An edge
    lies half-way between two rows, so sigma is at least a row's length / sqrt(12).

    Where the counts differ the shorter series is slid along the other, and accepted only where one
    place fits three times better than the next: a regular train fits one period off as well. It is
    refused too where the differences scatter by a tenth of the frames' period.

    Parameters
    ----------
    channel
        An analog input of the log on `time` (`analog_in_1` of EC-Lab), in any unit.
    frames
        Frames with `time_start`.
    level
        What the channel passes at an edge; half-way between its extremes when not given.

    Raises
    ------
    ContractError
        The frames have no intervals.
    RequestError
        The channel is not on time alone, or the level no number.
    """
    arguments.array("channel", channel, "time")
    arguments.dataset("frames", frames)
    if level is not None:
        arguments.number("level", level, np.isfinite, "a finite number")
    if channel.sizes["time"] < 2:
        return _none(f"{channel.sizes['time']} rows hold no rising edge", method="trigger")
    edges, row_s = _rising_edges(channel, level)
    starts = np.sort(_seconds(exposures(frames, what="frames")[0], channel))
    if min(edges.size, starts.size) < 2:
        return _none(f"{edges.size} rising edges, {starts.size} frames", method="trigger")
    short, long = sorted((edges, starts), key=len)
    lags = range(long.size - short.size + 1)
    sign = 1.0 if short is edges else -1.0
    places = [sign * (short - long[lag : lag + short.size]) for lag in lags]
    floor = row_s / np.sqrt(12)
    spreads = np.array([max(scatter_of(place), floor) for place in places])
    chosen = int(np.argmin(spreads))
    others = np.delete(spreads, chosen)
    offset, spread = float(np.median(places[chosen])), float(spreads[chosen])
    proposal = OffsetProposal(
        method="trigger",
        offset_s=offset,
        sigma_s=float(np.hypot(floor, 1.2533 * spread / np.sqrt(short.size))),
        ambiguity=float(others.min() / spread) if others.size else np.inf,
        frames=short.size,
        scatter=float(scatter_of(places[chosen])),
    )
    return _with_verdict(proposal, _trigger_fault(proposal, edges, starts, row_s))


def _trigger_fault(
    proposal: OffsetProposal, edges: Array, starts: Array, row_s: float
) -> str | None:
    period = float(np.median(np.diff(starts)))
    if proposal.scatter > max(0.1 * period, row_s):
        return (
            f"{edges.size} rising edges and {starts.size} frames do not keep step: they differ by "
            f"{proposal.scatter:.3g} s, of a period of {period:.3g} s"
        )
    if not proposal.ambiguity > LEAST_AMBIGUITY:
        return (
            f"{edges.size} rising edges for {starts.size} frames, which fit one period off as well "
            f"(ambiguity {proposal.ambiguity:.2g}): give the frames that were triggered only"
        )
    return None


def _rising_edges(channel: xr.DataArray, level: float | None) -> tuple[Array, float]:
    """Return when the channel rises, in seconds since its first row, and how far rows lie apart."""
    values = channel.values.astype(np.float64)
    known = np.isfinite(values)
    values, time = values[known], _seconds(instants(channel["time"]), channel)[known]
    if values.size < 2 or np.ptp(values) == 0:
        return np.array([]), 0.0
    middle = (values.min() + values.max()) / 2 if level is None else level
    margin = HYSTERESIS * abs(middle - float(np.median(values)))
    side = np.where(values > middle + margin, 1, np.where(values < middle - margin, -1, 0))
    decided = np.flatnonzero(side)
    rising = np.flatnonzero((side[decided][1:] == 1) & (side[decided][:-1] == -1))
    before, after = time[decided[rising]], time[decided[rising + 1]]
    return (before + after) / 2, float(np.median(after - before)) if rising.size else 0.0


def _samples(samples: xr.DataArray, log: xr.Dataset) -> Samples:
    """Return the samples that are there, in order, in seconds since the log began."""
    start, end = (_seconds(stamps, log["time"]) for stamps in exposures(samples, what="samples"))
    value = samples.values.astype(np.float64)
    order = np.argsort(start, kind="stable")
    return Samples(start, end, value).pick(order[np.isfinite(value[order])])


def _tabulated(log: xr.Dataset) -> Shifted:
    voltage = kernels.linear(log["voltage"].values.astype(np.float64), log["run"].values)
    return Shifted.of(instants(log["time"]), voltage)


def _judged(fit: Fit, shifted: Shifted, few: Samples, grid: Array, costs: Array) -> OffsetProposal:
    at_best = float(robust_cost(shifted, few, np.array([fit.middle]))[0])
    far = np.abs(grid - fit.middle) > near_s(few)
    rivals = np.where(far & np.isfinite(costs), costs, np.inf)
    rival = int(np.argmin(rivals))
    with np.errstate(divide="ignore", invalid="ignore"):
        ambiguity = float(np.sqrt(rivals[rival] / at_best))
    proposal = OffsetProposal(
        method="potential",
        offset_s=fit.offset,
        sigma_s=fit.sigma,
        ambiguity=ambiguity,
        frames=fit.used,
        scatter=fit.scatter,
        drift_ppm=fit.drift_ppm,
        drift_sigma_ppm=fit.drift_sigma_ppm,
        gain=fit.gain,
    )
    # Samples without length are as certain as they lie close.
    allowed = float(np.median(few.end - few.start) or np.median(np.diff(few.start)))
    fault = None
    if fit.used < FEWEST:
        fault = f"{fit.used} samples within the log agree; {FEWEST} and more are needed"
    elif not GAINS[0] < fit.gain < GAINS[1]:
        fault = f"a gain of {fit.gain:.3g} fits best: the samples are not this potential"
    elif not ambiguity > LEAST_AMBIGUITY:
        fault = (
            f"an offset of {grid[rival]:+.0f} s fits nearly as well as {fit.offset:+.0f} s "
            f"(ambiguity {ambiguity:.2g}, more than {LEAST_AMBIGUITY:g} needed): the potential is "
            "a ramp, or repeats; log it over a turning point"
        )
    elif not fit.sigma < allowed:
        fault = (
            f"sigma {fit.sigma:.3g} s is not below one exposure, {allowed:.3g} s: the potential "
            "changes too little; log it over a turning point"
        )
    elif abs(fit.drift_ppm) > LARGEST_DRIFT_PPM:
        fault = (
            f"a drift of {fit.drift_ppm:+.0f} ppm fits best, more than any clock's "
            f"{LARGEST_DRIFT_PPM:g}: fit the offset alone, or log the potential for longer"
        )
    elif abs(fit.middle) > grid[-1] - GRID_S:
        fault = f"{fit.offset:+.0f} s lies at the end of the search; widen search_s"
    return _with_verdict(proposal, fault)


def _with_verdict(proposal: OffsetProposal, fault: str | None) -> OffsetProposal:
    facts = {name: getattr(proposal, name) for name in proposal.__dataclass_fields__}
    return OffsetProposal(**{**facts, "refused": fault})


def _none(fault: str, *, method: Literal["potential", "trigger"] = "potential") -> OffsetProposal:
    return OffsetProposal(
        method=method,
        offset_s=np.nan,
        sigma_s=np.nan,
        ambiguity=np.nan,
        frames=0,
        scatter=np.nan,
        refused=fault,
    )


def _evenly(count: int, most: int) -> kernels.Integers:
    """Return at most so many indices, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _seconds(nanoseconds: kernels.Integers, zero: xr.DataArray) -> Array:
    """Return seconds since the first row of the log, without losing digits."""
    since = nanoseconds - instants(zero["time"][:1])
    return np.asarray(since / kernels.SECOND, np.float64)
