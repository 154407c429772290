"""What the potentiostat did: runs, signs, charge, states, cycles, and what they say of the cell."""

from operando.electrochemistry.battery_data_format import write_battery_data_format
from operando.electrochemistry.critical_current import critical_current
from operando.electrochemistry.cycles import cycles
from operando.electrochemistry.differential_capacity import differential_capacity
from operando.electrochemistry.polarisation import polarisation
from operando.electrochemistry.preparation import prepare
from operando.electrochemistry.voltammetry import voltammograms

__all__ = [
    "critical_current",
    "cycles",
    "differential_capacity",
    "polarisation",
    "prepare",
    "voltammograms",
    "write_battery_data_format",
]
