"""Impedance sweeps of a simulated cell whose interphase grows, with the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import iv

from operando.simulate.noise import Array, normal, stream

Complex = npt.NDArray[np.complex128]

START = np.datetime64("2026-05-04T06:00:00", "ns")
FREQUENCY: Array = np.logspace(-1.0, 6.0, 57)
"""Hz: eight points to a decade."""
POINT_S = 0.5
"""What a point takes besides its periods."""
PERIODS = 3
THERMAL_V = 0.0257
"""RT/F at room temperature."""


@dataclass(frozen=True, kw_only=True)
class Impedance:
    """A resistance and an inductance in series with arcs (R || CPE) and a tail (CPE)."""

    series_resistance: float = 10.0
    inductance: float = 0.0
    resistance: tuple[float, ...] = (10.0, 20.0)
    time_constant: tuple[float, ...] = (1e-4, 3e-2)
    exponent: tuple[float, ...] = (0.9, 0.87)
    tail: float = 8.0
    """Modulus of the tail at 1 rad/s, in ohm."""
    tail_exponent: float = 0.7

    def at(self, frequency: Array) -> Complex:
        """Return Z' + i Z'' in ohm at frequencies in Hz."""
        omega = 2 * np.pi * frequency
        total = self.series_resistance + 1j * omega * self.inductance
        for number in range(len(self.resistance)):
            total = total + self.arc(frequency, number)
        return np.asarray(total + self.tail * (1j * omega) ** -self.tail_exponent)

    def arc(self, frequency: Array, number: int) -> Complex:
        """Return what one arc adds."""
        power = (2j * np.pi * frequency * self.time_constant[number]) ** self.exponent[number]
        return np.asarray(self.resistance[number] / (1 + power))


CABLE = Impedance(
    series_resistance=2.0,
    inductance=3.7e-6,
    resistance=(12.0, 15.0),
    time_constant=(1.08e-7, 2e-2),
    exponent=(0.95, 0.9),
    tail=2.0,
)
"""Dominated by its cable: 10 ohm and +18 ohm of reactance at 1 MHz, an arc hidden beneath."""


def grown(hours: Array, *, initial: float, rate: float, exponent: float) -> Array:
    """Return R = R0 + k (t / 1 h)^n in ohm."""
    return np.asarray(initial + rate * hours**exponent)


def point_times(frequency: Array) -> Array:
    """Return when each point is done, in s since the sweep began at the highest frequency."""
    descending = np.argsort(-frequency)
    done = np.empty_like(frequency)
    done[descending] = np.cumsum(POINT_S + PERIODS / frequency[descending])
    return done


def drifting(cell: Impedance, frequency: Array, *, per_hour: float) -> Complex:
    """Return a sweep of a cell whose arcs grow while it is measured, by a part each hour."""
    factor = 1 + per_hour * point_times(frequency) / 3600
    arcs = sum(cell.arc(frequency, number) for number in range(len(cell.resistance)))
    return np.asarray(cell.at(frequency) + (factor - 1) * arcs)


def overdriven(cell: Impedance, frequency: Array, *, amplitude_v: float) -> Complex:
    """Return a sweep whose last arc is driven beyond its linear range.

    A charge transfer i = i0 (exp(u/2) - exp(-u/2)), u = overpotential F/RT, passes the fundamental
    of a sine of amplitude u as a resistance R (u / 4) / I1(u / 2); u is found by iteration, from
    the part of the amplitude that falls on the arc.
    """
    last = len(cell.resistance) - 1
    rest = cell.at(frequency) - cell.arc(frequency, last)
    admittance = 1 / cell.arc(frequency, last)
    direct = 1 / cell.resistance[last]
    arc = 1 / admittance
    for _ in range(200):
        u = amplitude_v / THERMAL_V * np.abs(arc / (arc + rest))
        eased = direct * iv(1, u / 2) / (u / 4)
        arc = 0.5 * (arc + 1 / (admittance - direct + eased))
    return np.asarray(rest + arc)


def noisy(impedance: Complex, *, noise: float, seed: int) -> Complex:
    """Return impedances with independent normal errors of both parts, relative to |Z|."""
    bits = stream(seed, 0)
    errors = normal(bits, impedance.shape) + 1j * normal(bits, impedance.shape)
    return np.asarray(impedance * (1 + noise * errors))


def series(
    hours: Array,
    *,
    first_arc: Array,
    cell: Impedance | None = None,
    frequency: Array = FREQUENCY,
    noise: float = 0.002,
    seed: int = 0,
) -> xr.Dataset:
    """Return sweeps as a reader would, one for each hour, with growing resistance of the first arc.

    Parameters
    ----------
    hours
        Start of each sweep since the first stamp (n,).
    first_arc
        Its resistance in each sweep (n,), ohm; kept in the attribute `first_arc_ohm`.
    """
    cell = cell or Impedance()
    clean = np.stack(
        [
            replace(cell, resistance=(float(value), *cell.resistance[1:])).at(frequency)
            for value in first_arc
        ]
    )
    took = point_times(frequency)
    started = START + np.rint(hours * 3.6e12).astype("timedelta64[ns]")
    ended = started + np.timedelta64(round(took.max() * 1e9), "ns")
    names = ("time", "frequency")
    return xr.Dataset(
        {
            "impedance": (names, noisy(clean, noise=noise, seed=seed), {"units": "ohm"}),
            "point_time": (names, np.tile(took, (hours.size, 1)), {"units": "s"}),
        },
        {
            "time": started + (ended - started) // 2,
            "time_start": ("time", started),
            "time_end": ("time", ended),
            "frequency": ("frequency", frequency, {"units": "Hz"}),
        },
        {"technique": "impedance", "first_arc_ohm": first_arc.tolist()},
    )
