"""Units of current and charge, checked against each other and against the declared capacity.

A column called mA that holds A is the commonest fault of an export. Nothing is converted here:
a contradiction is refused with its evidence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operando.electrochemistry.charge import integrated_steps
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

UNIT_FACTORS: dict[float, str] = {
    1e3: "a charge in mA h read as A h, or a current in A read as mA",
    1e-3: "a charge in A h read as mA h, or a current in mA read as A",
    3600.0: "a charge in C read as A h",
    1 / 3600.0: "a charge in A h read as C",
    3.6: "a charge in C read as mA h",
    1 / 3.6: "a charge in mA h read as C",
}
"""What a counter so many times the integrated current means."""
FEWEST_ROWS = 10
PIECES, LONG = 10, 100
"""Stretches of so many rows are compared in so many pieces, so that their spread is seen."""
NEAR = 0.05
"""Relative distance within which a ratio is a unit factor."""
EXACT = 0.01
"""Relative distance within which counter and current agree."""
LARGEST_RATIO = 30.0
"""No cell gives so many times its nominal capacity in one half-cycle."""


class ChargeRatio(NamedTuple):
    """How the charge of the counter compares with that of the current."""

    ratio: float
    """Weighted median over stretches of one direction; NaN when nothing can be compared."""
    low: float
    high: float
    """Its quartiles."""
    ampere_hours: float
    """Charge of the current in what was compared."""
    hours: float
    """Time that was compared."""
    rows: int

    def __str__(self) -> str:
        """Return the evidence as one phrase."""
        if np.isnan(self.ratio):
            return "not compared: no rows with both counter and current"
        return (
            f"counter / integrated current = {self.ratio:.5g} (quartiles {self.low:.5g} to "
            f"{self.high:.5g}) over {self.ampere_hours:.3g} A h in {self.hours:.3g} h"
        )


def charge_ratio(
    time_s: Array,
    current: Array,
    counter: Array,
    run: Integers,
    *,
    backward: Mask,
    resting: Mask,
) -> ChargeRatio:
    """Compare the steps of the counter with the integrated current, whatever their signs.

    The rows are grouped into stretches of one run and one sign of the current. In each, the steps
    of the counter in its prevailing direction count, so that restarts of the counter drop out; the
    ratio is the median over stretches, weighted by the charge of the current.

    Parameters
    ----------
    time_s, current, counter, run
        Rows (n,) in order of time: s, A, A h, number of the run; NaN where not known.
    backward
        Rows (n,) whose current is the mean since the previous row.
    resting
        Rows (n,) whose current is only offset and noise: they are left out.
    """
    step_s = np.diff(time_s, prepend=time_s[:1])
    inside = np.diff(run, prepend=-1) == 0
    charge = integrated_steps(step_s, current, inside, backward)
    counted = np.diff(counter, prepend=np.nan)
    usable = inside & np.isfinite(counted) & ~resting & (charge != 0)
    if not usable.any():
        return ChargeRatio(np.nan, np.nan, np.nan, 0.0, 0.0, 0)
    rows = np.flatnonzero(usable)
    group = _pieces(np.sign(charge[rows]), run[rows])
    step = counted[rows]
    forward = np.sign(np.bincount(group, np.sign(step)))[group]
    kept = step * forward >= 0
    count = int(group[-1]) + 1
    size, total = (
        np.bincount(group[kept], np.abs(passed[kept]), count).astype(np.float64)
        for passed in (charge[rows], step)
    )
    some = size > 0
    low, ratio, high = _weighted_quartiles(total[some] / size[some], size[some])
    hours = float(step_s[rows][kept].sum()) / 3600
    return ChargeRatio(ratio, low, high, float(size.sum()), hours, int(kept.sum()))


def _pieces(sign: Array, run: Integers) -> Integers:
    """Return the piece (n,) of each row: stretches of one sign and one run, long ones in ten."""
    key = 2 * run + (sign > 0)
    first = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    length = np.diff(np.append(first, key.size))
    position = np.arange(key.size) - np.repeat(first, length)
    lengths = np.repeat(length, length)
    piece = np.where(lengths >= LONG, PIECES * position // lengths, 0)
    stretch = np.repeat(np.arange(first.size), length)
    return np.unique(PIECES * stretch + piece, return_inverse=True)[1].astype(np.int64)


def check_charge(found: ChargeRatio) -> str:
    """Return what the comparison says, for `attrs`.

    Raises
    ------
    RequestError
        The counter is a unit factor off the current.
    """
    for factor, meaning in UNIT_FACTORS.items():
        if found.rows >= FEWEST_ROWS and all(
            abs(value / factor - 1) < NEAR for value in (found.low, found.ratio, found.high)
        ):
            raise RequestError(
                f"charge counter and current: {found}, a unit factor ({meaning}); declare the "
                "units of both columns, or leave out the one that is wrong"
            )
    if abs(found.ratio - 1) > EXACT:
        return f"off: {found}"
    return str(found)


def check_capacity(largest: float, nominal: float | None) -> str:
    """Return how the largest half-cycle compares with the nominal capacity, for `attrs`.

    Parameters
    ----------
    largest, nominal
        A h; the nominal capacity as declared, None when it is not.

    Raises
    ------
    RequestError
        The largest half-cycle is more than 30 times the nominal capacity.
    """
    if nominal is None:
        return "not compared: no nominal capacity declared"
    if not np.isfinite(largest):
        return "not compared: the charge is not known"
    ratio = largest / nominal
    found = f"largest half-cycle {largest:.4g} A h = {ratio:.4g} x nominal {nominal:.4g} A h"
    if ratio > LARGEST_RATIO:
        raise RequestError(
            f"capacity: {found}; a cell gives no more than {LARGEST_RATIO:g} times it: check "
            "whether current or charge was recorded in mA (mA h) but read in A (A h), and the "
            "nominal capacity"
        )
    return found


def _weighted_quartiles(values: Array, weights: Array) -> tuple[float, float, float]:
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    low, middle, high = np.interp((0.25, 0.5, 0.75), share, values[order])
    return float(low), float(middle), float(high)
