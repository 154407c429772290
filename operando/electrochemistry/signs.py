"""The sign of the current: current > 0 is oxidation at the working electrode."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from operando.electrochemistry.states import resting
from operando.errors import RequestError
from operando.model import STATES

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Sign = Literal["declared", "oxidation_positive", "oxidation_negative"]
SIGNS: tuple[str, ...] = get_args(Sign)

AGREEMENT = 0.9
"""Share of the time in which sign(I) must equal sign(dE/dt) to call a sign verified."""
CONSTANT = 0.05
"""Relative step above which a current is no longer constant."""
SYMMETRIC = 0.9
"""How much more often the voltage of a symmetric cell is positive at one sign of the current."""
PIECES = 10
FEWEST_PIECES = 4
SMALLEST_CHANGE_V = 2e-3
"""A piece whose voltage moves less says nothing: plateau, noise."""

_FACTOR = {"oxidation_positive": 1.0, "oxidation_negative": -1.0}


class Evidence(NamedTuple):
    """What constant-current segments say about the sign of the current."""

    fraction: float
    """Share of the decidable time in which sign(I) equals sign(dE/dt); NaN when undecidable."""
    hours: float
    """Decidable time."""

    def __str__(self) -> str:
        """Return the evidence as one phrase."""
        if np.isnan(self.fraction):
            return "unverified: no constant current moves the voltage"
        share, hours = f"{self.fraction:.0%}", f"{self.hours:.3g} h"
        return f"sign(I) = sign(dE/dt) in {share} of {hours} of constant current"


def evidence(time_s: Array, voltage: Array, current: Array, run: Integers) -> Evidence:
    """Compare the sign of the current with the direction of the voltage at constant current.

    Oxidation at the working electrode raises its potential. Each segment of constant current is
    divided into ten pieces; pieces count by their duration, and only where the voltage moves more
    than 2 mV.

    Fails (undecidable, NaN) for rests, sweeps, and symmetric cells: their voltage is polarisation,
    follows the current through zero, and relaxes against it.

    Parameters
    ----------
    time_s, voltage, current, run
        Rows (n,) in order of time: s, V, A, number of the run.
    """
    active = ~resting(current) & np.isfinite(voltage)
    size = np.abs(current)
    steady = (
        (np.diff(run) == 0)
        & active[1:]
        & active[:-1]
        & (np.abs(np.diff(current)) <= CONSTANT * np.fmax(size[1:], size[:-1]))
    )
    first = np.flatnonzero(np.diff(np.append(False, steady).astype(np.int8)) == 1)
    last = np.flatnonzero(np.diff(np.append(steady, False).astype(np.int8)) == -1) + 1
    part = np.linspace(0.0, 1.0, PIECES + 1)
    edges = np.rint(first[:, None] + (last - first)[:, None] * part).astype(np.int64)
    duration = np.diff(time_s[edges], axis=1)
    change = np.diff(voltage[edges], axis=1)
    agree = np.sign(change) == np.sign(current[edges[:, 1:]])
    decidable = (np.abs(change) > SMALLEST_CHANGE_V) & (duration > 0)
    if _symmetric(voltage[active], current[active]):
        return Evidence(np.nan, 0.0)
    total = float(duration[decidable].sum())
    if np.count_nonzero(decidable) < FEWEST_PIECES or total == 0:
        return Evidence(np.nan, 0.0)
    return Evidence(float(duration[decidable & agree].sum()) / total, total / 3600)


def _symmetric(voltage: Array, current: Array) -> bool:
    """Whether the voltage has one sign with either sign of the current, and the other the other."""
    shares = [
        np.mean(voltage[current * way > 0] > 0) for way in (1, -1) if (current * way > 0).any()
    ]
    return len(shares) == 2 and bool(abs(shares[0] - shares[1]) > SYMMETRIC)


def oxidation_positive(
    time_s: Array,
    voltage: Array,
    current: Array,
    run: Integers,
    *,
    state: Integers,
    declared: str,
    sign: Sign,
) -> tuple[Array, str]:
    """Return the current with the sign of oxidation, and where that sign came from.

    Parameters
    ----------
    state
        The instrument's own states (n,): they give unsigned currents their sign.
    declared
        What the file says: "oxidation_positive", "oxidation_negative", "unsigned" or "unknown".
    sign
        "declared", or what the user says; the user wins over file and evidence.

    Raises
    ------
    RequestError
        The evidence contradicts what the file declares, or nothing says what the sign is.
    """
    if sign != "declared":
        signed = current * _FACTOR[sign]
        found = evidence(time_s, voltage, signed, run)
        return signed, f"current_sign = {sign!r} by the user; {found}"
    if declared == "unsigned":
        signed, origin = _from_state(current, state), "instrument states"
    elif declared in _FACTOR:
        signed, origin = current * _FACTOR[declared], f"file: {declared}"
    else:
        return _from_evidence(time_s, voltage, current, run)
    found = evidence(time_s, voltage, signed, run)
    if found.fraction < 1 - AGREEMENT:
        raise RequestError(
            f"current: {origin}, but {found}, against it in {1 - found.fraction:.0%}; set "
            "current_sign in the recipe to 'oxidation_positive' or 'oxidation_negative'"
        )
    verdict = "" if found.fraction > AGREEMENT or np.isnan(found.fraction) else "unverified: "
    return signed, f"{origin}; {verdict}{found}"


def _from_state(current: Array, state: Integers) -> Array:
    factor = np.zeros(current.size)
    factor[np.isin(state, (STATES["charge"], STATES["hold_charge"]))] = 1.0
    factor[np.isin(state, (STATES["discharge"], STATES["hold_discharge"]))] = -1.0
    undecided = ~resting(current) & (factor == 0) & np.isfinite(current)
    if undecided.any() and not factor.any():
        raise RequestError(
            f"current: unsigned, and no state says charge or discharge in {current.size} rows; "
            "set current_sign in the recipe"
        )
    factor[undecided] = np.nan
    return np.abs(current) * factor


def _from_evidence(
    time_s: Array, voltage: Array, current: Array, run: Integers
) -> tuple[Array, str]:
    found = evidence(time_s, voltage, current, run)
    if found.fraction > AGREEMENT:
        return current, f"measured: {found}"
    if found.fraction < 1 - AGREEMENT:
        return -current, f"measured, reversed: {found} as recorded"
    if resting(current)[np.isfinite(current)].all():
        return current, "no current"
    raise RequestError(
        f"current: its sign is not declared, and the voltage does not tell ({found}); set "
        "current_sign in the recipe to 'oxidation_positive' or 'oxidation_negative'"
    )
