"""Numbers that leave their reference and stay away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.detect.event import Event, state_at
from operando.detect.findings import Findings
from operando.detect.halves import headings, moving_frames
from operando.detect.scan import CORRELATION_LIMIT, Scan, scatter_of
from operando.errors import RequestError
from operando.model import STATES

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class _Watch:
    """A series against a linear model of its reversible part."""

    rows: Rows
    """Frames along time: the reference, then those watched."""
    basis: Array
    """The model (rows, parameters)."""
    reference: int
    """How many rows are the reference."""
    left_out: int = 0
    """Frames at charges that the reference does not cover."""


def departures(
    series: xr.DataArray,
    sigma: xr.DataArray,
    *,
    measurement: str,
    technique: str,
    observable: str,
    position: str = "",
    reference: int | None = None,
    minimum_frames: int = 3,
    false_alarm: float = 0.01,
    reversible: Literal["cycle", "none"] = "cycle",
    control: str | None = None,
    quiet: tuple[xr.DataArray, xr.DataArray] | None = None,
) -> Findings:
    """Find where a number leaves its reference and stays away: the strongest such departure.

    The reference is a mean, or, while the cell cycles, a function of charge and direction
    (straight lines between up to 8 knots) fitted to the first full cycle, so that only change at
    equal state counts. The score of a window of frames is the mean residual over its sigma; the
    error of the reference, lag-1 correlation and the scatter of successive frames are in it. The
    largest score over windows of `minimum_frames` times powers of two is held against the same
    quantity in simulated series of the same noise, for which the noise is estimated anew each
    time. The seed is fixed.

    The onset is the most likely start of a step; its interval holds all starts within 3.84 of
    twice the log-likelihood (95 %), and reaches back while the frames before it already lean the
    same way by two sigma. A slow change has begun before that.

    Parameters
    ----------
    series, sigma
        On time, of one position, with the coordinates that `align` gives.
    reference
        Number of leading frames; when None those before the first that is not at rest if there
        are 5, else the first tenth, at least 5. With a cycle, the first cycle.
    minimum_frames
        The shortest change that counts.
    false_alarm
        Probability of an event in a series without change.
    reversible
        "none": the number does not breathe with the state of charge.
    control
        Position that must stay silent, noted for `operando.interphase`.
    quiet
        The same number and its sigma there: the measure of chance. Without it scatter and
        correlation come from the series itself, and a strong creep can pass for wandering.

    Returns
    -------
    Findings
        At most one event; `size` is the departure in its last frames.

    Raises
    ------
    RequestError
        `false_alarm` below 1e-3 or above 0.5, or less than 2 frames of reference.
    """
    if not 1e-3 <= false_alarm <= 0.5:
        raise RequestError(f"false_alarm: {false_alarm!r}; expected 0.001 to 0.5")
    if reference is not None and reference < 2:
        raise RequestError(f"reference: {reference!r}; expected at least 2 frames")
    value, spread = series.values.astype(float), sigma.values.astype(float)
    usable = np.flatnonzero(np.isfinite(value) & np.isfinite(spread) & (spread > 0))
    watch = _watch(series, usable, reference, reversible)
    if isinstance(watch, _Watch) and watch.rows.size < watch.reference + minimum_frames:
        watch = f"{watch.rows.size} usable frames, {watch.reference} of them reference"
    if isinstance(watch, str):
        return Findings(events=[], status=f"not calibrated: {watch}")
    scan = Scan(
        watch.basis,
        spread[watch.rows],
        reference=watch.reference,
        minimum=minimum_frames,
        quiet=None if quiet is None else _noise_of(*quiet),
    )
    noise = scan.noise(scan.residuals(value[watch.rows][None]))
    if noise[1] >= CORRELATION_LIMIT and watch.rows.size >= 30:
        return Findings(events=[], status="not calibrated: the number wanders by itself")
    threshold = scan.threshold(noise[0].item(), noise[1].item(), false_alarm)
    promise = (
        f"calibrated: false alarm {false_alarm:g} per series above score {threshold:.2f}, "
        f"lag-1 correlation {noise[1].item():.2f}, scatter {noise[0].item():.2f} of sigma"
    )
    status = promise + (f"; {watch.left_out} frames without equal state" if watch.left_out else "")
    score, start, stop = scan.strongest(value[watch.rows])
    if abs(score) <= threshold:
        return Findings(events=[], status=f"{status}; no departure")
    facts = {
        "measurement": measurement,
        "technique": technique,
        "observable": observable,
        "position": position,
        "size_units": str(series.attrs.get("units", "1")),
        "score": abs(score),
        "threshold": threshold,
        "calibration": promise,
    }
    event = _departure(scan, watch.rows, series, start, stop, control, facts)
    return Findings(events=[event], status=f"{status}; departure")


def _noise_of(series: xr.DataArray, sigma: xr.DataArray) -> tuple[float, float]:
    """Return scatter in sigma and lag-1 correlation of a series that should not change."""
    value, spread = series.values.astype(float), sigma.values.astype(float)
    usable = np.isfinite(value) & np.isfinite(spread) & (spread > 0)
    around = np.average(value[usable], weights=spread[usable] ** -2)
    [scatter], [correlation] = scatter_of(((value[usable] - around) / spread[usable])[None])
    return float(scatter), float(correlation)


def _departure(
    scan: Scan,
    rows: Rows,
    series: xr.DataArray,
    start: int,
    stop: int,
    control: str | None,
    facts: dict[str, Any],
) -> Event:
    value = series.values.astype(float)[rows]
    start, stop, first, last = scan.localise(value, start, stop)
    tail = max(scan.minimum, min(10, (stop - start) // 2))
    size, size_sigma = scan.estimate(value, stop - tail, stop)
    time = series["time"].values
    back = stop < rows.size
    detail: dict[str, Any] = {"direction": "up" if size > 0 else "down"}
    if control is not None:
        detail["control"] = control
    return Event(
        kind="departure",
        onset=state_at(series, int(rows[start])),
        onset_earliest=time[rows[first - 1]],
        onset_latest=time[rows[last]],
        end=state_at(series, int(rows[stop])) if back else None,
        size=size,
        size_sigma=size_sigma,
        evidence=tuple(rows[start:stop].tolist()),
        controls={"persistence": "failed: it went back" if back else "passed"},
        detail=detail,
        **facts,
    )


def _watch(
    series: xr.DataArray, usable: Rows, reference: int | None, reversible: str
) -> _Watch | str:
    """Choose the model of the reversible part, or say why there is none."""
    quiet = "state" in series.coords and (series["state"].values[usable] == STATES["rest"]).all()
    if reversible == "none" or quiet:
        return _by_mean(series, usable, reference)
    return _by_charge(series, usable)


def _by_mean(series: xr.DataArray, usable: Rows, reference: int | None) -> _Watch:
    if reference is None:
        resting = np.zeros(usable.size, bool)
        if "state" in series.coords:
            resting = series["state"].values[usable] == STATES["rest"]
        before = int(np.argmin(resting)) if not resting.all() else 0
        reference = before if before >= 5 else max(5, -(-usable.size // 10))
    return _Watch(usable, np.ones((usable.size, 1)), reference)


def _by_charge(series: xr.DataArray, usable: Rows) -> _Watch | str:
    """Model each direction of the first cycle by straight lines between knots in charge."""
    ways = headings(series, usable)
    if len(ways) < 3 or "half_cycle_capacity" not in series.coords:
        return "reversible part unknown (less than one full cycle)"
    half_cycle = series["half_cycle"].values
    charge = series["half_cycle_capacity"].values.astype(float)
    moving = usable[moving_frames(series, usable) & np.isfinite(charge[usable])]
    order = list(ways)
    learned = [moving[half_cycle[moving] == name] for name in order[:2]]
    if min(rows.size for rows in learned) < 6 or ways[order[0]] == ways[order[1]]:
        return "reversible part unknown (under 6 frames in a half of the first cycle)"
    later = moving[half_cycle[moving] > order[1]]
    heading = np.array([ways.get(int(name), 0) for name in half_cycle])
    blocks, seen = [], np.zeros(later.size, bool)
    rows = np.concatenate([*learned, later])
    for name, frames in zip(order[:2], learned, strict=True):
        low, high = charge[frames].min(), charge[frames].max()
        if not low < high:
            return "reversible part unknown (no charge passed in the first cycle)"
        knots = np.linspace(low, high, int(np.clip(frames.size // 3, 2, 8)))
        hats = [np.interp(charge[rows], knots, one) for one in np.eye(knots.size)]
        same = heading[rows] == ways[name]
        blocks.append(np.stack(hats, axis=1) * same[:, None])
        inside = (charge[later] >= low) & (charge[later] <= high)
        seen |= inside & (heading[later] == ways[name])
    reference = rows.size - later.size
    keep = np.r_[np.ones(reference, bool), seen]
    return _Watch(rows[keep], np.hstack(blocks)[keep], reference, int((~seen).sum()))
