"""Stepped galvanostatic cycling of symmetric cells: polarisation, shorts, critical current."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.electrochemistry.drops import MARGIN, Drop, largest_drop
from operando.electrochemistry.preparation import require_prepared
from operando.electrochemistry.states import white_noise
from operando.errors import RequestError
from operando.model import STATES, flag_attributes

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

STEP_FLAGS: dict[str, int] = {
    "short": 1,
    "soft_short": 2,
    "few_rows": 4,
    "current_drifts": 8,
    "reversed_voltage": 16,
    "after_short": 32,
}
"""`step_flag`: what happened in a step.

`short`: the polarisation fell suddenly by at least half and stayed low, inside the step or between
it and the step before, whose current was no larger. `soft_short`: a sudden fall that is smaller or
recovers. `few_rows`: too few for a sudden fall inside to be seen. `current_drifts`: the current was
not constant within 5 %. `reversed_voltage`: voltage and current have opposite signs.
`after_short`: a step before was short; the cell is no longer the one that was made.
"""
ASSESSMENT: dict[str, int] = {"no_short": 1, "first_step": 2, "soft_short_before": 4}
"""Of the critical current density; 0 is success.

`no_short`: it lies above every density applied; the upper end of the interval is infinite.
`first_step`: the cell was short from the first density on; the lower end is 0. `soft_short_before`:
a soft short came at a lower density, so that the value may be too high.
"""

FEWEST_ROWS = 5
"""Shorter pieces are the change from one current to the next."""
SAME_CURRENT, CURRENT_NOISES = 0.05, 8.0
SAME_DENSITY = 0.02
LARGEST_CM2 = 1e6
END_SHARE = 0.1


class _Step(NamedTuple):
    first: int
    end: int
    density: float
    """mA/cm2, signed."""
    mean: float
    mean_sigma: float
    last: float
    last_sigma: float
    """Polarisation, V, in the direction of the current."""
    drop: Drop
    flag: int


def critical_current(
    log: xr.Dataset,
    *,
    area_cm2: float,
    short_drop: float = 0.5,
    smallest_drop: float = 0.1,
) -> xr.Dataset:
    """Find the steps of constant current of a symmetric cell, and at which it became short.

    On `step`: `current_density` (mA/cm2, signed), `mean_polarisation` and `end_polarisation` (V, in
    the direction of the current; over all rows, and over the last tenth), each with `_sigma` (the
    standard error from the noise of rows), `resistance` (ohm) and `area_resistance` (ohm cm2) from
    the end, `drop` (largest sudden fall inside the step, as a share of the polarisation before it;
    0 without) with `drop_time` (NaT without), `change` (mean polarisation against the last step of
    equal density, relative; NaN without), `time_start`, `time_end`, and `step_flag`.

    Scalars: `critical_current_density` (mA/cm2), the largest density passed before the first
    `short`, `critical_current_density_high`, that of the short itself: the critical density lies
    between them; `assessment`. Where the density of the short had been passed before (galvanostatic
    cycling), the value is the largest density below it.

    A sudden fall is where two straight lines, through the rows before and after a row, end apart by
    more than 6 sigma and `smallest_drop` of the level: slow decay and growth are no fall, single
    outliers are taken out by a running median of three. Sigma comes from second differences of the
    rows. A short must stay: at the end of the step less than half of the fall is recovered.
    Between steps, polarisation that falls by `short_drop` although the density does not is a short.

    Parameters
    ----------
    log
        From `prepare`.
    area_cm2
        Of one electrode.
    short_drop
        Fall of the polarisation that makes a short.
    smallest_drop
        Sudden falls below are not reported.

    Raises
    ------
    RequestError
        The log is not prepared, a number is out of range, no current flows, or the voltage does
        not turn with the current: a full cell.

    Notes
    -----
    `area_resistance` is that of the whole cell: both interfaces and the electrolyte between them.
    A short while the current is off, or within the first rows of a step, is seen between steps
    only. Cells whose polarisation falls with current (activation, heating) by half between two
    steps look short. A short that grows over longer than some ten rows looks like slow decay.
    """
    _check(log, area_cm2, short_drop, smallest_drop)
    steps = _steps(log, area_cm2, short_drop, smallest_drop)
    if not steps:
        raise RequestError("log: no step of constant current of 5 rows in it")
    _check_symmetric(steps)
    flags = _between(steps, short_drop)
    return _table(log, steps, flags, area_cm2).assign_attrs(
        area_cm2=area_cm2,
        short_drop=short_drop,
        smallest_drop=smallest_drop,
        detection="jump between straight lines over rows before and after, beyond 6 sigma",
    )


def _check(log: xr.Dataset, area_cm2: float, short_drop: float, smallest_drop: float) -> None:
    require_prepared(log)
    arguments.number(
        "area_cm2", area_cm2, lambda a: 0 < a < LARGEST_CM2, "the area of one electrode, cm2 > 0"
    )
    arguments.number("short_drop", short_drop, lambda x: 0 < x < 1, "a share from 0 to 1")
    arguments.number(
        "smallest_drop",
        smallest_drop,
        lambda x: 0 < x <= short_drop,
        f"a share > 0, at most short_drop {short_drop!r}",
    )


def _check_symmetric(steps: list[_Step]) -> None:
    """Refuse a cell whose voltage does not turn with the current: it is no symmetric one."""
    way = {np.sign(step.density) for step in steps}
    reversed_ = [step for step in steps if step.flag & STEP_FLAGS["reversed_voltage"]]
    same = {np.sign(step.density) for step in reversed_}
    if (
        len(way) == 2
        and len(same) == 1
        and len(reversed_) == sum(np.sign(step.density) in same for step in steps)
    ):
        raise RequestError(
            "log: the voltage has one sign for both directions of the current, "
            f"{steps[0].mean:.3g} V in the first step; expected a symmetric cell, whose voltage "
            "turns with the current"
        )


def _steps(
    log: xr.Dataset, area_cm2: float, short_drop: float, smallest_drop: float
) -> list[_Step]:
    """Cut the log where the current changes, rests left out, and measure each piece."""
    voltage = log["voltage"].values.astype(np.float64)
    current = log["current"].values.astype(np.float64)
    flowing = np.isin(log["state"].values, (STATES["charge"], STATES["discharge"]))
    flowing &= np.isfinite(voltage) & np.isfinite(current) & (current != 0)
    if not flowing.any():
        return []
    scale = np.fmax(np.abs(current[1:]), np.abs(current[:-1]))
    noise = white_noise(current[flowing]) if np.count_nonzero(flowing) >= FEWEST_ROWS else 0.0
    limit = np.fmax(SAME_CURRENT * scale, CURRENT_NOISES * noise)
    turned = np.sign(current[1:]) != np.sign(current[:-1])
    cut = np.append(True, turned | (np.abs(np.diff(current)) > limit))
    cut |= np.diff(log["run"].values, prepend=-1) != 0
    key = np.where(flowing, np.cumsum(cut | (np.diff(flowing, prepend=False) != 0)), -1)
    first = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    end = np.append(first[1:], key.size)
    return [
        _measured(
            voltage[low:high], current[low:high], low, high, area_cm2, short_drop, smallest_drop
        )
        for low, high in zip(first.tolist(), end.tolist(), strict=True)
        if key[low] >= 0 and high - low >= FEWEST_ROWS
    ]


def _measured(
    voltage: Array,
    current: Array,
    low: int,
    high: int,
    area_cm2: float,
    short_drop: float,
    smallest_drop: float,
) -> _Step:
    middle = float(np.median(current))
    level = voltage * np.sign(middle)
    noise = white_noise(level)
    tail = max(2, round(END_SHARE * level.size))
    mean, last = float(level.mean()), float(level[-tail:].mean())
    drop = largest_drop(level, noise, smallest=smallest_drop)
    flag = 0
    if level.size < 2 * MARGIN:
        flag |= STEP_FLAGS["few_rows"]
    if np.ptp(current) > 2 * SAME_CURRENT * abs(middle):
        flag |= STEP_FLAGS["current_drifts"]
    if mean < 0:
        flag |= STEP_FLAGS["reversed_voltage"]
    if drop.row >= 0:
        hard = drop.share >= short_drop and drop.recovered < 0.5
        flag |= STEP_FLAGS["short" if hard else "soft_short"]
    errors = noise / np.sqrt(level.size), noise / np.sqrt(tail)
    density = 1e3 * middle / area_cm2
    return _Step(low, high, density, mean, errors[0], last, errors[1], drop, flag)


def _between(steps: list[_Step], short_drop: float) -> npt.NDArray[np.int32]:
    """Return the flags with shorts that came between two steps."""
    flags = np.array([step.flag for step in steps], np.int32)
    for at in range(1, len(steps)):
        before, now = steps[at - 1], steps[at]
        grown = abs(now.density) >= (1 - SAME_DENSITY) * abs(before.density)
        level = max(before.mean, before.last)
        low = now.mean < (1 - short_drop) * level
        healthy = not flags[at - 1] & STEP_FLAGS["short"] and level > 0
        if grown and low and healthy and not flags[at] & STEP_FLAGS["short"]:
            flags[at] |= STEP_FLAGS["short"]
        if flags[at - 1] & (STEP_FLAGS["short"] | STEP_FLAGS["after_short"]):
            flags[at] |= STEP_FLAGS["after_short"]
    return flags


def _changes(steps: list[_Step]) -> Array:
    """Return how the mean polarisation differs from the last step of equal density."""
    change = np.full(len(steps), np.nan)
    for at, now in enumerate(steps):
        for before in reversed(steps[:at]):
            same = abs(abs(before.density) - abs(now.density)) < SAME_DENSITY * abs(now.density)
            if same and before.mean > 0:
                change[at] = now.mean / before.mean - 1
                break
    return change


def _critical(steps: list[_Step], flags: npt.NDArray[np.int32]) -> tuple[float, float, int]:
    """Return the interval of the critical density, and its assessment."""
    density = np.abs([step.density for step in steps])
    short = np.flatnonzero(flags & STEP_FLAGS["short"])
    if not short.size:
        soft = bool(np.any(flags & STEP_FLAGS["soft_short"]))
        assessment = ASSESSMENT["no_short"] | soft * ASSESSMENT["soft_short_before"]
        return float(density.max()), np.inf, assessment
    passed = density[: short[0]]
    high = float(density[short[0]])
    below = passed[passed < (1 - SAME_DENSITY) * high]
    soft = bool(np.any(flags[: short[0]] & STEP_FLAGS["soft_short"]))
    assessment = soft * ASSESSMENT["soft_short_before"]
    if not below.size:
        assessment |= ASSESSMENT["first_step"]
    return float(below.max(initial=0.0)), high, assessment


def _table(
    log: xr.Dataset, steps: list[_Step], flags: npt.NDArray[np.int32], area_cm2: float
) -> xr.Dataset:
    def column(name: str) -> Array:
        return np.array([getattr(step, name) for step in steps], np.float64)

    time = log["time"].values
    density, last = column("density"), column("last")
    ampere = 1e-3 * np.abs(density) * area_cm2
    drops = [step.drop for step in steps]
    columns: dict[str, tuple[npt.NDArray[Any], str, str]] = {
        "current_density": (density, "mA/cm^2", "current density"),
        "mean_polarisation": (column("mean"), "V", "mean polarisation"),
        "mean_polarisation_sigma": (column("mean_sigma"), "V", "its standard error"),
        "end_polarisation": (last, "V", "polarisation over the last tenth"),
        "end_polarisation_sigma": (column("last_sigma"), "V", "its standard error"),
        "resistance": (last / ampere, "ohm", "end polarisation over current"),
        "area_resistance": (last / ampere * area_cm2, "ohm cm^2", "resistance times area"),
        "drop": (np.array([drop.share for drop in drops]), "1", "largest sudden fall"),
        "change": (_changes(steps), "1", "against the last step of equal density"),
    }
    table = xr.Dataset(coords={"step": ("step", np.arange(len(steps)), {"units": "1"})})
    for name, (values, units, meaning) in columns.items():
        table[name] = ("step", values, {"units": units, "long_name": meaning})
    for name in ("mean_polarisation", "end_polarisation"):
        table[name].attrs["ancillary_variables"] = f"{name}_sigma"
    fallen = [
        time[step.first + step.drop.row] if step.drop.row >= 0 else np.datetime64("NaT", "ns")
        for step in steps
    ]
    table["drop_time"] = ("step", np.array(fallen, "datetime64[ns]"))
    table["time_start"] = ("step", time[[step.first for step in steps]])
    table["time_end"] = ("step", time[[step.end - 1 for step in steps]])
    table["step_flag"] = ("step", flags, flag_attributes(STEP_FLAGS))
    low, high, assessment = _critical(steps, flags)
    for name, value, meaning in (
        ("critical_current_density", low, "largest density without a short"),
        ("critical_current_density_high", high, "density of the short"),
    ):
        table[name] = ((), value, {"units": "mA/cm^2", "long_name": meaning})
    table["assessment"] = ((), np.int32(assessment), flag_attributes(ASSESSMENT))
    return table
