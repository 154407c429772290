"""Incremental capacity: how much charge a cell takes per volt, dQ/dE against E."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import isotonic_regression

from operando import arguments
from operando.electrochemistry.preparation import require_prepared
from operando.errors import RequestError
from operando.model import STATES, flag_attributes

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ASSESSMENT: dict[str, int] = {
    "not_reached": 1,
    "interpolated": 2,
    "current_changed": 4,
    "unresolved": 8,
}
"""Why a value should not be believed; 0 is success.

`not_reached`: the half-cycle does not cross the whole bin; NaN. `interpolated`: around an edge are
fewer than 5 rows, or the slope is lost in the noise; the edge is crossed between rows, and there is
no sigma. `current_changed`: the current was interrupted or changed by more than 5 % around the bin,
so that ohmic drop moved the voltage too. `unresolved`: sigma is over a fifth of the value.
"""

FEWEST_ROWS = 5
SAME_CURRENT = 0.05
RESOLVED = 5.0
NEIGHBOURS = 2
"""Edges on either side whose scatter also counts for the sigma of an edge."""
MOST_BINS = 100_000
SMOOTHING = (
    "charge between the crossings of the edges of bins of voltage_step; an edge is crossed where a "
    "straight line through the rows within half a bin of it is; no other smoothing"
)


class _Bins(NamedTuple):
    """One half-cycle on the grid of voltage."""

    value: npt.NDArray[Any]
    sigma: npt.NDArray[Any]
    assessment: npt.NDArray[Any]


def differential_capacity(log: xr.Dataset, *, voltage_step: float = 0.005) -> xr.Dataset:
    """Return dQ/dE of each half-cycle on a common grid of voltage.

    On (half_cycle, voltage): `differential_capacity` (A h/V, magnitude), its `_sigma`, and
    `assessment` (`ASSESSMENT`); `direction` (1 oxidation, -1 reduction) and `cycle` on half_cycle.
    Only rows count in which current flows in the direction of the half-cycle at no constant voltage
    (states charge and discharge, or sweeps).

    dQ/dE = (Q_2 - Q_1) / voltage_step, with Q_i the charge at which the edges of a bin are crossed,
    so that the bins together hold the charge that passed. Q_i is where a straight line V = a + b Q,
    fitted by least squares to the rows within half a bin, meets the edge:
    sigma_Q = s / b sqrt(1/n + (Q_i - mean Q)^2 / S_QQ), with s the scatter of the rows around the
    lines of the edge and two on either side. Neighbouring bins share an edge, so their errors are
    correlated by about -1/2. What smoothing does to such curves: Dubarry and Anseán, Front. Energy
    Res. 10 (2022) 1023555.

    Parameters
    ----------
    log
        From `prepare`.
    voltage_step
        Width of the bins, V; edges are whole multiples of it.

    Raises
    ------
    RequestError
        The log is not prepared, or the step is not positive or too small for the range.

    Notes
    -----
    Sigma holds for white noise of the voltage; it is too small where rows are smoothed or repeated.
    At an interruption (GITT) relaxation mixes with dQ/dE: see `current_changed`. A peak narrower
    than a bin is as wide as the bin; its charge is right.
    """
    require_prepared(log)
    arguments.number("voltage_step", voltage_step, lambda v: 0 < v <= 10, "V > 0, 10 at most")
    voltage = log["voltage"].values.astype(np.float64)
    charge = log["net_capacity"].values.astype(np.float64)
    half = log["half_cycle"].values.astype(np.int64)
    way = _directions(log)
    driven = (way != 0) & np.isfinite(voltage) & np.isfinite(charge)
    edges = _edges(voltage[driven], voltage_step)
    numbers = np.unique(half[driven & (half >= 0)])
    found: list[_Bins] = []
    directions: list[int] = []
    for number in numbers:
        inside = driven & (half == number)
        direction = 1 if way[inside].sum() > 0 else -1
        rows = np.flatnonzero(inside & (way == direction))
        current = np.abs(log["current"].values[rows])
        upward = direction * voltage[rows], direction * charge[rows]
        # Mirrored, a reduction is an oxidation on a grid in reverse.
        bins = _binned(*upward, current, rows, direction * edges[::direction])
        found.append(_Bins(*(part[::direction] for part in bins)))
        directions.append(direction)
    return _table(found, numbers, directions, edges, log, voltage_step)


def _directions(log: xr.Dataset) -> Integers:
    """Return +1 in rows of oxidation, -1 of reduction, 0 at rest and at constant voltage."""
    state, current = log["state"].values, np.nan_to_num(log["current"].values)
    way = np.zeros(state.size, np.int64)
    way[state == STATES["charge"]] = 1
    way[state == STATES["discharge"]] = -1
    sweeping = np.isin(state, (STATES["sweep_up"], STATES["sweep_down"]))
    up = np.where(state == STATES["sweep_up"], 1, -1)
    return np.where(sweeping & (np.sign(current) == up), up, way)


def _edges(voltage: Array, step: float) -> Array:
    if not voltage.size:
        return np.zeros(0)
    first, last = np.floor(voltage.min() / step), np.ceil(voltage.max() / step)
    if last - first > MOST_BINS:
        raise RequestError(
            f"voltage_step: {step!r} V makes {last - first:.0f} bins of {voltage.min():g} to "
            f"{voltage.max():g} V; at most {MOST_BINS}"
        )
    return step * np.arange(first, last + 1)


def _binned(
    voltage: Array,
    charge: Array,
    current: Array,
    rows: Integers,
    edges: Array,
) -> _Bins:
    """Measure one half-cycle whose charge and voltage rise."""
    order = np.argsort(charge, kind="stable")
    charge, voltage, current, rows = charge[order], voltage[order], current[order], rows[order]
    rising = np.asarray(isotonic_regression(voltage).x)
    about = np.searchsorted(rising, edges)
    reached = (about[:-1] > 0) & (about[1:] < rising.size)
    # Rows are chosen by their place: by its own voltage, a row would be in by its noise.
    middle = (about[1:] + about[:-1]) // 2
    first, last = np.append(about[:1], middle), np.append(middle, about[-1:])
    crossed, error = _crossings(charge, voltage, edges, first, last)
    fitted = np.isfinite(error)
    crossed = np.where(fitted, crossed, np.interp(edges, rising, charge))
    crossed = np.maximum.accumulate(crossed)
    width = np.diff(edges)
    value, sigma = np.diff(crossed) / width, np.hypot(error[1:], error[:-1]) / width
    fitted = fitted[1:] & fitted[:-1]
    changed = _changed(current, rows, first[:-1], last[1:])
    wrong = {
        "not_reached": ~reached,
        "interpolated": reached & ~fitted,
        "current_changed": reached & changed,
        "unresolved": reached & fitted & ~(value > RESOLVED * sigma),
    }
    assessment = np.zeros(width.size, np.int32)
    for name, is_so in wrong.items():
        assessment[is_so] |= ASSESSMENT[name]
    return _Bins(np.where(reached, value, np.nan), np.where(reached, sigma, np.nan), assessment)


def _crossings(
    x: Array, y: Array, levels: Array, first: Integers, last: Integers
) -> tuple[Array, Array]:
    """Return where straight lines through groups of rows meet levels of y, and the sigmas.

    The groups follow one another. NaN where a group has too few rows, where its slope is lost in
    the noise, and where the line meets the level outside its rows.
    """
    count = (last - first).astype(np.float64)
    inside = slice(int(first[0]), int(last[-1])) if count.size else slice(0, 0)
    low, high = x[np.minimum(first, x.size - 1)], x[np.maximum(last, 1) - 1]
    x, y = x[inside], y[inside]
    group = np.repeat(np.arange(count.size), last - first)

    def total(values: Array) -> Array:
        return np.bincount(group, values, count.size).astype(np.float64)

    with np.errstate(divide="ignore", invalid="ignore"):
        middle_x, middle_y = total(x) / count, total(y) / count
        x, y = x - middle_x[group], y - middle_y[group]
        square, product = total(x * x), total(x * y)
        slope = product / square
        variance = _scatter(total(np.square(y - slope[group] * x)), np.maximum(count - 2, 0))
        off = (levels - middle_y) / slope
        error = np.sqrt(variance * (1 / count + off**2 / square)) / slope
        good = (count >= FEWEST_ROWS) & (slope > RESOLVED * np.sqrt(variance / square))
    crossed = middle_x + off
    good &= (crossed >= low) & (crossed <= high)
    return np.where(good, crossed, np.nan), np.where(good, error, np.nan)


def _scatter(squares: Array, free: Array) -> Array:
    """Return the variance of a row, pooled over a group and its neighbours."""
    around = np.ones(2 * NEIGHBOURS + 1)
    pooled = [
        np.convolve(np.where(free > 0, values, 0.0), around)[NEIGHBOURS:-NEIGHBOURS]
        for values in (squares, free)
    ]
    return np.asarray(pooled[0] / pooled[1])


def _changed(current: Array, rows: Integers, first: Integers, last: Integers) -> Mask:
    """Whether rows of a bin do not follow one another, or their current is not one."""
    jump = np.abs(np.diff(current)) > SAME_CURRENT * np.maximum(current[1:], current[:-1])
    breaks = np.append(0, np.cumsum(np.append(False, jump | (np.diff(rows) > 1))))
    return np.asarray(breaks[last] > breaks[np.minimum(first + 1, last)])


def _table(
    found: list[_Bins],
    numbers: Integers,
    directions: list[int],
    edges: Array,
    log: xr.Dataset,
    step: float,
) -> xr.Dataset:
    middle = (edges[1:] + edges[:-1]) / 2
    shape = (numbers.size, middle.size)
    value, sigma, assessment = (
        np.array([getattr(bins, name) for bins in found]).reshape(shape) for name in _Bins._fields
    )
    dims = ("half_cycle", "voltage")
    return xr.Dataset(
        {
            "differential_capacity": (
                dims,
                value,
                {
                    "units": "A h/V",
                    "long_name": "dQ/dE, magnitude",
                    "ancillary_variables": "differential_capacity_sigma assessment",
                },
            ),
            "differential_capacity_sigma": (
                dims,
                sigma,
                {"units": "A h/V", "long_name": "standard deviation of dQ/dE, statistical"},
            ),
            "assessment": (dims, assessment.astype(np.int32), flag_attributes(ASSESSMENT)),
        },
        {
            "half_cycle": ("half_cycle", numbers, {"units": "1"}),
            "cycle": ("half_cycle", numbers // 2, {"units": "1"}),
            "direction": (
                "half_cycle",
                np.array(directions, np.int32),
                {"units": "1", "long_name": "1 oxidation, -1 reduction"},
            ),
            "voltage": ("voltage", middle, {"units": "V", "long_name": "middle of the bin"}),
        },
        {
            "voltage_step": step,
            "smoothing": SMOOTHING,
            "charge_method": log.attrs["charge_method"],
        },
    )
