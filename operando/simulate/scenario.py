"""What happens in the simulated Na | Na3Zr2Si2PO12 | cathode cell, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from operando.simulate.cell import Cell, Step

START = datetime(2026, 5, 4, 8, 31, 8, 190_000, tzinfo=UTC)
POTENTIOSTAT, BEAMLINE = "Europe/Paris", "America/Chicago"

ZR_ONSET_MAH = 0.90
"""Charge passed when reduction of Zr begins at the interface."""
PHASE_ONSET_MAH = 0.97
"""Charge passed when the new phase is born."""
PORES_ONSET_MAH = 2.60
"""Charge passed from which pores no longer close."""
METAL_AT_END = 0.10

STEPS = (
    Step(name="rest", seconds=4500.0),
    Step(name="charge", seconds=14400.0, current_ma=0.3),
    Step(name="rest charged", seconds=1200.0),
    Step(name="discharge", seconds=14100.0, current_ma=-0.3),
    Step(name="rest discharged", seconds=1200.0),
    Step(name="charge", seconds=6000.0, current_ma=0.3),
    Step(name="rest", seconds=2040.627, recorded=False),
    Step(name="rest", seconds=300.0),
    Step(name="charge", seconds=8200.0, current_ma=0.3),
    Step(name="rest charged", seconds=1200.0),
    Step(name="discharge", seconds=13900.0, current_ma=-0.3),
    Step(name="rest discharged", seconds=1800.0),
)
GAP = 6
"""Number of the step that nobody recorded."""

CELL = Cell(
    steps=STEPS,
    capacity_mah=1.3,
    initial=0.05,
    resistance_ohm=150.0,
    slow_ohm=100.0,
    slow_s=400.0,
    layer_from_mah=ZR_ONSET_MAH,
    layer_ohm_per_mah=15.0,
)


def onset(passed_mah: float) -> dict[str, Any]:
    """Return when so much charge had been passed, and the state of the cell then."""
    moment = CELL.moment_of(passed_mah)
    return {
        "time": utc(moment),
        "charge_passed_mAh": passed_mah,
        **state_at(moment),
        "half_cycle": half_cycle(moment),
        "cycle": half_cycle(moment) // 2,
    }


def metal_fraction(passed_mah: float) -> float:
    """Return the part of the Zr at the interface that is metal: it saturates with charge passed."""
    return METAL_AT_END * (1.0 - float(np.exp(-max(passed_mah - ZR_ONSET_MAH, 0.0) / 1.2)))


def phase_amount(passed_mah: float) -> float:
    """Return the amount of new phase, 0 to 1."""
    return 1.0 - float(np.exp(-max(passed_mah - PHASE_ONSET_MAH, 0.0) / 0.8))


def pore_growth(state: float, passed_mah: float) -> float:
    """Return the factor on the volume of the pores: with state of charge, and for good."""
    reversible = 0.30 * (state - CELL.initial)
    return 1.0 + reversible + 0.45 * max(passed_mah - PORES_ONSET_MAH, 0.0)


def frame(start: float, seconds: float) -> dict[str, Any]:
    """Return the interval of an exposure and the state of the cell at its middle."""
    return {
        "start": utc(start),
        "end": utc(start + seconds),
        **state_at(start + seconds / 2),
    }


def state_at(moment: float) -> dict[str, Any]:
    """Return the state of the cell at a moment."""
    at = np.array(moment)
    return {
        "voltage_V": round(float(CELL.voltage(at)), 4),
        "current_mA": float(CELL.current_ma(at)),
        "net_charge_mAh": round(float(CELL.net_mah(at)), 6),
    }


def half_cycle(moment: float) -> int:
    """Return the half cycle, counted from 0; a rest belongs to the one before it."""
    current = [step.current_ma for step in STEPS[: int(CELL.step_at(np.array(moment))) + 1]]
    driven = [value > 0 for value in current if value]
    return sum(before != after for before, after in pairwise(driven))


def utc(moment: float) -> str:
    """Return a moment, in seconds since the start, as ISO 8601 in UTC."""
    stamp = START + timedelta(milliseconds=round(moment * 1000.0))
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"


def local(moment: float, zone: str, form: str) -> str:
    """Return a moment as a clock in a zone shows it, in a form of `strftime`."""
    stamp = START + timedelta(milliseconds=round(moment * 1000.0))
    return stamp.astimezone(ZoneInfo(zone)).strftime(form)
