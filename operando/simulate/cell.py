"""Voltage, current and charge of a simulated cell at any moment of its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """A stretch of constant current."""

    name: str
    seconds: float
    current_ma: float = 0.0
    recorded: bool = True
    """Whether the potentiostat was there to see it."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell with a sloping open-circuit curve, an ohmic and a slow resistance.

    Fails when the schedule takes more charge than the cell has (state of charge beyond 0 to 1).
    """

    steps: tuple[Step, ...]
    capacity_mah: float
    initial: float
    """State of charge at the start, 0 to 1."""
    resistance_ohm: float
    slow_ohm: float
    slow_s: float
    """Time constant of the slow resistance."""
    layer_from_mah: float
    """Charge passed from which a resistive layer grows."""
    layer_ohm_per_mah: float

    @cached_property
    def bounds(self) -> Array:
        """Seconds from the start at which steps begin and end."""
        return np.cumsum([0.0, *(step.seconds for step in self.steps)])

    @cached_property
    def _currents(self) -> Array:
        return np.array([step.current_ma for step in self.steps])

    @cached_property
    def _slow(self) -> Array:
        """Overpotential of the slow resistance at the start of every step."""
        volts = [0.0]
        for step in self.steps:
            settled = 1e-3 * step.current_ma * self.slow_ohm
            volts.append(settled + (volts[-1] - settled) * np.exp(-step.seconds / self.slow_s))
        return np.array(volts[:-1])

    def step_at(self, seconds: Array) -> npt.NDArray[np.intp]:
        """Return the number of the step at every moment; a step owns its start."""
        number = np.searchsorted(self.bounds, seconds, side="right") - 1
        return np.clip(number, 0, len(self.steps) - 1)

    def current_ma(self, seconds: Array) -> Array:
        """Return the current, positive when the cell is charged."""
        return self._currents[self.step_at(seconds)]

    def net_mah(self, seconds: Array) -> Array:
        """Return the signed charge since the start."""
        charge = np.cumsum([0.0, *(self._currents * np.diff(self.bounds) / HOUR)])
        charged: Array = np.interp(seconds, self.bounds, charge)
        return charged

    def passed_mah(self, seconds: Array) -> Array:
        """Return the charge moved either way since the start: what wears the cell."""
        charge = np.cumsum([0.0, *(np.abs(self._currents) * np.diff(self.bounds) / HOUR)])
        charged: Array = np.interp(seconds, self.bounds, charge)
        return charged

    def moment_of(self, passed_mah: float) -> float:
        """Return the first moment at which so much charge has been passed."""
        for (before, after), (start, end) in zip(
            pairwise(self.passed_mah(self.bounds)), pairwise(self.bounds), strict=True
        ):
            if before < passed_mah <= after:
                return float(start + (passed_mah - before) / (after - before) * (end - start))
        raise ValueError(f"charge passed: the schedule never comes to {passed_mah} mA h")

    def state_of_charge(self, seconds: Array) -> Array:
        """Return the state of charge, 0 to 1."""
        return self.initial + self.net_mah(seconds) / self.capacity_mah

    def voltage(self, seconds: Array) -> Array:
        """Return the cell voltage in V: open circuit, ohmic drop, slow drop."""
        number = self.step_at(seconds)
        current = 1e-3 * self._currents[number]
        settled = current * self.slow_ohm
        since = seconds - self.bounds[number]
        slow = settled + (self._slow[number] - settled) * np.exp(-since / self.slow_s)
        grown = np.maximum(self.passed_mah(seconds) - self.layer_from_mah, 0.0)
        ohmic = current * (self.resistance_ohm + self.layer_ohm_per_mah * grown)
        return open_circuit(self.state_of_charge(seconds)) + ohmic + slow


def open_circuit(state: Array) -> Array:
    """Return the open-circuit voltage of a layered sodium oxide against sodium (made up).

    A slope with a step near half charge, falling off at either end.
    """
    slope = 2.85 + 0.75 * state + 0.12 * np.tanh((state - 0.45) / 0.06)
    volts: Array = slope - 0.7 * np.exp(-state / 0.03) + 0.25 * np.exp((state - 1.0) / 0.03)
    return volts
