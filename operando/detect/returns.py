"""Numbers that do not come back to where they were when the cell has come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import norm

from operando.detect.event import Event, state_at
from operando.detect.findings import Findings
from operando.detect.halves import headings, moving_frames

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

SAME_RATE = 0.2
"""Relative difference of current up to which two half-cycles end at comparable states."""

FRAMES = 4
"""How many frames carry the straight line that gives the value at a turning point."""


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """The start of the experiment or the end of a half-cycle."""

    name: str
    rows: Rows
    value: float
    sigma: float
    rate: float
    """Median magnitude of the current of the half-cycle in A; NaN when not known."""


def incomplete_returns(
    series: xr.DataArray,
    sigma: xr.DataArray,
    *,
    measurement: str,
    technique: str,
    observable: str,
    position: str = "",
    false_alarm: float = 0.01,
) -> Findings:
    """Find the cycles at whose end a number has not come back.

    The cell is back where it began at the end of every second half-cycle. The value there is a
    straight line through the last 4 moving frames, taken at the turn; at the start of the
    experiment, through the first 4. Its sigma holds that of the frames (the larger of their own
    and the scatter about their neighbours) and the slope times the uncertainty of when the cell
    turned, which lies between two frames. Each is compared with the start, or with the last turn
    that was reported: so that a slow creep adds up, and one loss is reported once.

    Half-cycles whose current differs by more than 20 % end in different states and are not
    compared: a faster discharge is cut off earlier. The threshold is the normal quantile for
    `false_alarm` in the whole series, two-sided, over all comparisons.

    Parameters
    ----------
    series, sigma
        On time, of one position, with the coordinates that `align` gives.

    Returns
    -------
    Findings
        `detail["turning_points"]` of every event holds the value at every turning point.

    Notes
    -----
    Equal cut-off at equal current stands for equal state. Where the charge itself does not come
    back, neither need the structure: the event says so much, not why.
    """
    value, spread = series.values.astype(float), sigma.values.astype(float)
    usable = np.flatnonzero(np.isfinite(value) & np.isfinite(spread))
    usable = usable[moving_frames(series, usable)]
    order = list(headings(series, usable).items())
    names = [name for name, _ in order]
    turns = _turning_points(series, spread, usable, names) if len(order) > 2 else None
    if turns is None:
        return Findings(events=[], status="not calibrated: less than one full cycle")
    start, ends = turns[0], turns[1:]
    back = [turn for turn, (_, way) in zip(ends, order, strict=False) if way != order[0][1]]
    alike = [turn for turn in back if not abs(turn.rate / start.rate - 1) > SAME_RATE]
    if not alike:
        return Findings(events=[], status="not calibrated: no return at the current of the start")
    threshold = float(norm.isf(false_alarm / (2 * len(alike))))
    promise = (
        f"calibrated: false alarm {false_alarm:g} per series above {threshold:.2f} sigma, "
        f"{len(alike)} returns compared"
    )
    facts = {
        "measurement": measurement,
        "technique": technique,
        "observable": observable,
        "position": position,
        "size_units": str(series.attrs.get("units", "1")),
        "threshold": threshold,
        "calibration": promise,
    }
    points = [_describe(series, turn) for turn in turns]
    events = []
    before = start
    for turn in alike:
        if abs(turn.value - before.value) > threshold * np.hypot(turn.sigma, before.sigma):
            events.append(_incomplete_return(series, before, turn, points, facts))
            before = turn
    other = len(back) - len(alike)
    skipped = f"; {other} at another current not compared" if other else ""
    return Findings(events=events, status=f"{promise}{skipped}; {len(events)} incomplete")


def _incomplete_return(
    series: xr.DataArray,
    before: _Turn,
    turn: _Turn,
    points: list[dict[str, Any]],
    facts: dict[str, Any],
) -> Event:
    size = turn.value - before.value
    sigma = float(np.hypot(turn.sigma, before.sigma))
    time = series["time"].values
    last = int(turn.rows[-1])
    since = before.rows[0] if before.name == "start" else before.rows[-1]
    return Event(
        kind="incomplete_return",
        onset=state_at(series, last),
        onset_earliest=time[since],
        onset_latest=time[last],
        size=size,
        size_sigma=sigma,
        score=abs(size) / sigma,
        evidence=tuple(turn.rows.tolist()),
        detail={
            "direction": "up" if size > 0 else "down",
            "compared_with": before.name,
            "turning_points": points,
        },
        **facts,
    )


def _turning_points(
    series: xr.DataArray, sigma: Array, moving: Rows, names: list[int]
) -> list[_Turn] | None:
    """Return the start and the end of every finished half-cycle, None if one lacks frames."""
    value, half_cycle = series.values.astype(float), series["half_cycle"].values
    seconds = (series["time"].values - series["time"].values[0]) / np.timedelta64(1, "s")
    rows = [moving[half_cycle[moving] == name] for name in names]
    if min(part.size for part in rows[:-1]) < 2:
        return None
    noise = np.maximum(sigma, _scatter(seconds, value, rows))
    rates = [_rate(series, part) for part in rows]
    first = rows[0][:FRAMES]
    at = _at(seconds[first], value[first], noise[first], seconds[first[0]], 0.0)
    turns = [_Turn(name="start", rows=first, value=at[0], sigma=at[1], rate=rates[0])]
    for name, part, later, rate in zip(names, rows, rows[1:], rates, strict=False):
        last = part[-FRAMES:]
        gap = seconds[later[0]] - seconds[last[-1]]
        turn = seconds[last[-1]] + gap / 2
        at = _at(seconds[last], value[last], noise[last], turn, gap / np.sqrt(12))
        turns.append(
            _Turn(name=f"end of half-cycle {name}", rows=last, value=at[0], sigma=at[1], rate=rate)
        )
    return turns


def _at(x: Array, y: Array, sigma: Array, where: float, where_sigma: float) -> tuple[float, float]:
    """Return a weighted straight line at `where`, and its sigma."""
    design = np.stack([np.ones(x.size), (x - where) / max(np.ptp(x), 1.0)], axis=1)
    fit = np.linalg.pinv(design / sigma[:, None])
    level, slope = fit @ (y / sigma)
    drift = slope / max(np.ptp(x), 1.0) * where_sigma
    return float(level), float(np.hypot(np.linalg.norm(fit[0]), drift))


def _scatter(seconds: Array, value: Array, parts: list[Rows]) -> float:
    """Return the robust scatter of frames about the line through their neighbours."""
    residuals = []
    for rows in parts:
        x, y = seconds[rows], value[rows]
        if rows.size < 3:
            continue
        share = (x[2:] - x[1:-1]) / (x[2:] - x[:-2])
        size = np.sqrt(1 + share**2 + (1 - share) ** 2)
        residuals.append((y[1:-1] - share * y[:-2] - (1 - share) * y[2:]) / size)
    return float(1.4826 * np.median(np.abs(np.concatenate(residuals)))) if residuals else 0.0


def _rate(series: xr.DataArray, rows: Rows) -> float:
    if "current" not in series.coords:
        return float("nan")
    return float(np.median(np.abs(series["current"].values[rows])))


def _describe(series: xr.DataArray, turn: _Turn) -> dict[str, Any]:
    state = state_at(series, int(turn.rows[0 if turn.name == "start" else -1]))
    return {
        "name": turn.name,
        "time": state.time,
        "cycle": state.cycle,
        "voltage": state.voltage,
        "value": turn.value,
        "sigma": turn.sigma,
        "current": turn.rate,
    }
