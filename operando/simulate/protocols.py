"""Logs of the usual electrochemical protocols, with the truth behind them.

Each protocol returns what an instrument would record beside what the cell really did, so that
labels, capacities, peaks and shorts can be judged. Currents are positive for oxidation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.model import STATES
from operando.simulate.cell import HOUR, open_circuit
from operando.simulate.noise import normal

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

START = np.datetime64("2026-05-04T08:00:00", "ns")


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """How a potentiostat records."""

    interval_s: float = 10.0
    voltage_noise: float = 5e-5
    """V, of one row."""
    current_noise: float = 0.0
    """A, of one row."""
    current_offset: float = 0.0
    """A, read when nothing flows."""


class Protocol(NamedTuple):
    """A log as a reader returns it, and the state the cell was really in."""

    log: xr.Dataset
    state: Integers
    """`model.STATES` of each row."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of the program of a cell: constant current, or constant voltage."""

    seconds: float
    """Longest duration."""
    current: float | None = None
    """A; None holds the voltage."""
    voltage: float | None = None
    """V: the level that is held, or the limit that ends a constant current."""
    cutoff: float = 0.0
    """A: a hold ends when its current is smaller."""


def programmed(
    stages: Sequence[Stage],
    *,
    capacity: float,
    instrument: Instrument,
    bits: np.random.PCG64,
    initial: float = 0.1,
    ohms: tuple[float, float] = (20.0, 15.0),
    slow_s: float = 120.0,
) -> Protocol:
    """Return the log of a battery carried through stages of constant current and voltage.

    The cell has the open-circuit curve of `simulate.cell`, an ohmic resistance and a slow one; it
    is stepped from row to row.

    Parameters
    ----------
    capacity
        A h.
    initial
        State of charge at the start.
    ohms, slow_s
        Ohmic and slow resistance, and the time constant of the slow one.
    """
    interval = instrument.interval_s
    charge, slow, moment = initial * capacity, 0.0, 0.0
    rows: list[tuple[float, float, float, int]] = []
    for stage in stages:
        elapsed = 0.0
        while elapsed < stage.seconds:
            elapsed, moment = elapsed + interval, moment + interval
            rest = float(open_circuit(np.array(charge / capacity))) + slow
            if stage.current is None:
                current = (float(stage.voltage or 0.0) - rest) / ohms[0]
            else:
                current = stage.current
            volts = rest + current * ohms[0]
            rows.append((moment, volts, current, _stage_state(stage, current)))
            charge += current * interval / HOUR
            slow += (current * ohms[1] - slow) * -np.expm1(-interval / slow_s)
            if stage.current is None and abs(current) < stage.cutoff:
                break
            if stage.current and stage.voltage and (volts - stage.voltage) * stage.current > 0:
                break
    moments, volts_, amperes, states = (np.array(column) for column in zip(*rows, strict=True))
    return recorded(moments, volts_, amperes, states, instrument=instrument, bits=bits)


def _stage_state(stage: Stage, current: float) -> int:
    if stage.current == 0:
        return STATES["rest"]
    prefix = "hold_" if stage.current is None else ""
    return STATES[prefix + ("charge" if current > 0 else "discharge")]


def voltammogram(
    vertices: Sequence[float],
    *,
    rate: float,
    peaks: Sequence[tuple[float, float, float]],
    capacitance: float,
    instrument: Instrument,
    bits: np.random.PCG64,
) -> Protocol:
    """Return the log of a potential swept from vertex to vertex, the first being the start.

    The current is that of a capacitance and of Gaussian waves, each seen by the sweeps of its sign
    only: current = C dE/dt + sum h exp(-((E - E0) / w)^2 / 2).

    Parameters
    ----------
    rate
        V/s.
    peaks
        (E0 in V, h in A, w in V); h > 0 for upward sweeps, < 0 for downward ones.
    capacitance
        F.
    """
    corners = np.array(vertices, float)
    ends = np.append(0.0, np.cumsum(np.abs(np.diff(corners)) / rate))
    moments = np.arange(0.0, ends[-1], instrument.interval_s)
    volts = np.interp(moments, ends, corners)
    leg = np.clip(np.searchsorted(ends, moments, side="right") - 1, 0, corners.size - 2)
    way = np.sign(np.diff(corners))[leg]
    amperes = capacitance * rate * way
    for centre, height, width in peaks:
        wave = height * np.exp(-0.5 * ((volts - centre) / width) ** 2)
        amperes += np.where(np.sign(height) == way, wave, 0.0)
    state = np.where(way > 0, STATES["sweep_up"], STATES["sweep_down"])
    return recorded(moments, volts, amperes, state, instrument=instrument, bits=bits)


@dataclass(frozen=True, kw_only=True)
class Short:
    """A sudden loss of resistance of a symmetric cell."""

    at_s: float
    """Since the start of the log."""
    left: float
    """Share of the resistance that remains."""
    lasts_s: float = np.inf


def symmetric(
    densities: Sequence[float],
    *,
    area_cm2: float,
    step_s: float,
    rest_s: float,
    area_ohms: float,
    instrument: Instrument,
    bits: np.random.PCG64,
    growth_per_hour: float = 0.0,
    overshoot: float = 0.1,
    overshoot_s: float = 200.0,
    shorts: Sequence[Short] = (),
) -> Protocol:
    """Return the log of a symmetric cell (Na | electrolyte | Na) in steps of current.

    Each step relaxes from a nucleation overshoot, V = I R (1 + overshoot exp(-t / overshoot_s)).

    Parameters
    ----------
    densities
        mA/cm2 of each step, signed; a rest of `rest_s` follows each.
    area_ohms
        Area-specific resistance at the start, ohm cm2; it grows by `growth_per_hour` of itself.
    """
    lengths = [seconds for _ in densities for seconds in (step_s, rest_s)]
    applied = np.array([j for density in densities for j in (density, 0.0)])
    ends = np.array(list(accumulate(lengths, initial=0.0)))
    moments = instrument.interval_s * np.arange(1, round(ends[-1] / instrument.interval_s) + 1)
    number = np.clip(np.searchsorted(ends, moments, side="left") - 1, 0, applied.size - 1)
    density = applied[number]
    ohms = area_ohms * (1 + growth_per_hour * moments / HOUR)
    for short in shorts:
        ohms[(moments > short.at_s) & (moments <= short.at_s + short.lasts_s)] *= short.left
    transient = 1 + overshoot * np.exp(-(moments - ends[number]) / overshoot_s)
    volts = 1e-3 * density * ohms * transient
    state = np.select(
        [density > 0, density < 0], [STATES["charge"], STATES["discharge"]], STATES["rest"]
    )
    return recorded(
        moments, volts, 1e-3 * density * area_cm2, state, instrument=instrument, bits=bits
    )


def polarised(
    volts: float,
    *,
    seconds: float,
    steady: float,
    excess: float,
    decay_s: float,
    instrument: Instrument,
    bits: np.random.PCG64,
    rest_s: float = 600.0,
) -> Protocol:
    """Return the log of a rest, then a constant voltage with current = steady + excess exp(-t/tau).

    Parameters
    ----------
    steady, excess
        A.
    decay_s
        tau; s.
    """
    moments = np.arange(0.0, rest_s + seconds, instrument.interval_s)
    since = moments - rest_s
    held = since >= 0
    amperes = np.where(held, steady + excess * np.exp(-np.maximum(since, 0.0) / decay_s), 0.0)
    name = "hold_charge" if volts > 0 else "hold_discharge"
    state = np.where(held, STATES[name], STATES["rest"])
    return recorded(
        moments, np.where(held, volts, 0.0), amperes, state, instrument=instrument, bits=bits
    )


def recorded(
    moments: Array,
    volts: Array,
    amperes: Array,
    state: npt.NDArray[np.generic],
    *,
    instrument: Instrument,
    bits: np.random.PCG64,
) -> Protocol:
    """Return what the instrument records of a cell, as a reader returns it, and the truth."""
    noise = normal(bits, (2, moments.size))
    seen = amperes + instrument.current_offset + instrument.current_noise * noise[1]
    log = xr.Dataset(
        {
            "voltage": ("time", volts + instrument.voltage_noise * noise[0], {"units": "V"}),
            "current": ("time", seen, {"units": "A", "averaging": "instantaneous"}),
        },
        {"time": START + np.rint(moments * 1e9).astype("timedelta64[ns]")},
        {"technique": "electrochemistry", "current_sign": "oxidation_positive"},
    )
    return Protocol(log, state.astype(np.int64))
