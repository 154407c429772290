"""What each cycle of a cell gave: capacities, energies, efficiency, mean voltages."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.electrochemistry.preparation import require_prepared
from operando.model import STATES, flag_attributes

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Electrode = Literal["positive", "negative"]
ELECTRODES: tuple[str, ...] = get_args(Electrode)

CYCLE_FLAGS: dict[str, int] = {
    "incomplete": 1,
    "charge_uncertain": 2,
    "gap": 4,
    "no_partner": 8,
    "sweep": 16,
    "unbalanced": 32,
}
"""`cycle_flag`: why the numbers of a cycle should be used with care.

`incomplete`: a half-cycle is missing, the log ends while its current flows, or it is a part of a
longer one that begins with this cycle. `charge_uncertain`: an unknown charge may have passed in a
gap before or inside. `gap`: the record has a hole inside.
`no_partner`: no half-cycle went before that the efficiency could be counted on. `sweep`: cyclic
voltammetry, cut at the vertices: capacities are net charges of sweeps. `unbalanced`: over 5 % more
was given back than put in, so the half-cycle before was not a whole one (a cell charged elsewhere).
"""

BALANCED = 1.05
DIRECTIONS = {"charge": 1, "discharge": -1}


def cycles(log: xr.Dataset, *, working_electrode: Electrode = "positive") -> xr.Dataset:
    """Return one row per cycle of a prepared log.

    On `cycle` (the numbers `prepare` gave, which frames carry too): `charge_capacity` and
    `discharge_capacity` (A h, magnitudes of the net charge of the half-cycle of oxidation, and of
    reduction, at the working electrode), `charge_energy` and `discharge_energy` (W h, integral of
    voltage over charge), `charge_voltage` and `discharge_voltage` (V, energy over charge),
    `coulombic_efficiency`, `time_start`, `time_end`, and `cycle_flag` (`CYCLE_FLAGS`).

    `cycle` is a pair of half-cycles in the order of the log, so a cell that starts with its
    discharge has cycles (discharge, charge). The efficiency does not follow that pairing but the
    cell: it is the charge given back over the charge put in by the half-cycle just before.

    - "positive" (full cell, or cathode half cell): discharge / charge before it;
    - "negative" (anode half cell, where reduction inserts): charge / discharge before it.

    Where the log starts with the half-cycle that gives back, the half-cycle before lies in the
    cycle before, and cycle 0 has none: NaN, `no_partner`. `attrs` say which it was.

    Parameters
    ----------
    log
        From `prepare`.
    working_electrode
        Which electrode the current is counted at.

    Raises
    ------
    RequestError
        The log is not prepared, or the electrode is neither.

    Notes
    -----
    Charge that flows backwards inside a half-cycle (pulses, a reversal below 1 % of the largest
    half-cycle) is subtracted from its capacity. A charge that leaks inside the cell, or a clock or
    current that is off by a constant factor, cannot be seen. Efficiencies of logs whose charge is
    integrated from coarse records carry the error of the integration, `charge_method`.
    """
    require_prepared(log)
    arguments.chosen("working_electrode", working_electrode, ELECTRODES)
    half = log["half_cycle"].values.astype(np.int64)
    count = int(half.max(initial=-1)) + 1
    seen = np.isin(np.arange(count), half)
    net, energy, way = _halves(log, half, count)
    cycle = np.arange((count + 1) // 2)
    data: dict[str, Any] = {}
    for name, sign in DIRECTIONS.items():
        which = _half_of(way, sign, cycle.size)
        capacity, work = _taken(np.abs(net), which), _taken(np.abs(energy), which)
        data[f"{name}_capacity"] = (capacity, "A h", f"charge passed in {name}")
        data[f"{name}_energy"] = (work, "W h", f"energy of the {name}")
        volts = np.divide(work, capacity, out=np.full(cycle.size, np.nan), where=capacity > 0)
        data[f"{name}_voltage"] = (volts, "V", f"mean voltage of the {name}: energy over charge")
    back = -1 if working_electrode == "positive" else 1
    efficiency, partner = _efficiency(net, way, back, seen)
    data["coulombic_efficiency"] = (efficiency, "1", f"coulombic efficiency: {_NAMES[back]}")
    table = xr.Dataset(
        {
            name: ("cycle", values, {"units": units, "long_name": meaning})
            for name, (values, units, meaning) in data.items()
        },
        {"cycle": ("cycle", cycle, {"units": "1", "long_name": "cycle, from 0"})},
    )
    flag = _flags(log, half, seen)
    if count and way[0] == back:
        # The half-cycle that the efficiency counts on lies in the cycle before, with its doubts.
        flag[1:] |= flag[:-1] & CYCLE_FLAGS["charge_uncertain"]
    flag[~partner] |= CYCLE_FLAGS["no_partner"]
    flag[efficiency > BALANCED] |= CYCLE_FLAGS["unbalanced"]
    table["cycle_flag"] = ("cycle", flag, flag_attributes(CYCLE_FLAGS))
    first, last = _ends(half // 2, cycle.size)
    for name, rows in (("time_start", first), ("time_end", last)):
        table[name] = ("cycle", log["time"].values[rows])
    table = table.isel(cycle=np.unique(half[half >= 0] // 2))
    table.attrs.update(
        working_electrode=working_electrode,
        efficiency=_NAMES[back],
        first_half_cycle="unknown" if not count else "charge" if way[0] > 0 else "discharge",
        charge_method=log.attrs["charge_method"],
    )
    return table


_NAMES = {
    -1: "discharge / the charge half-cycle before it",
    1: "charge / the discharge half-cycle before it",
}


def _halves(log: xr.Dataset, half: Integers, count: int) -> tuple[Array, Array, Integers]:
    """Return net charge (A h), energy (W h) and direction of each half-cycle.

    Directions alternate as `prepare` counts them, so all follow from the largest.
    """
    charge = log["net_capacity"].values.astype(np.float64)
    if not count or not np.isfinite(charge).all():
        unknown = np.full(count, np.nan)
        return unknown, unknown, _alternating(_sweep_way(log, half), count)
    voltage = log["voltage"].values.astype(np.float64)
    step = np.diff(charge, prepend=charge[:1])
    # Of cycles picked from a log, what passed between them belongs to none.
    step[np.diff(half, prepend=half[:1]) > 1] = 0.0
    mean = (voltage + np.append(voltage[:1], voltage[:-1])) / 2
    net = np.bincount(half, step, count).astype(np.float64)
    net[np.bincount(half, minlength=count) == 0] = np.nan
    # A row without voltage takes part with the mean of its half-cycle, hence the ratio.
    seen = np.isfinite(mean)
    work = np.bincount(half[seen], (mean * step)[seen], count)
    part = np.bincount(half[seen], step[seen], count)
    energy = np.divide(work * net, part, out=np.full(count, np.nan), where=part != 0)
    way = _sweep_way(log, half)
    if way == 0:
        largest = int(np.nanargmax(np.abs(net)))
        way = int(np.sign(net[largest])) * (-1 if largest % 2 else 1)
    return net, energy, _alternating(way, count)


def _sweep_way(log: xr.Dataset, half: Integers) -> int:
    """Return the direction of half-cycle 0 by its sweeps; 0 where the log has none."""
    state = log["state"].values
    up, down = state == STATES["sweep_up"], state == STATES["sweep_down"]
    even = np.where(half % 2 == 0, 1, -1)
    return int(np.sign(np.sum(even[up]) - np.sum(even[down])))


def _alternating(first: int, count: int) -> Integers:
    return first * np.where(np.arange(count) % 2, -1, 1)


def _half_of(way: Integers, sign: int, cycles: int) -> Integers:
    """Return the half-cycle of a direction in each cycle; -1 where the cycle has none."""
    found = np.full(cycles, -1)
    rows = np.flatnonzero(way == sign)
    found[rows // 2] = rows
    return found


def _taken(values: Array, which: Integers) -> Array:
    taken = np.full(which.size, np.nan)
    taken[which >= 0] = values[which[which >= 0]]
    return taken


def _efficiency(net: Array, way: Integers, back: int, seen: Mask) -> tuple[Array, Mask]:
    """Return charge given back over charge put in before, and where there was a half-cycle before.

    A cycle without the half-cycle that gives back lacks no partner: it is incomplete.
    """
    cycles = (seen.size + 1) // 2
    which = _half_of(way, back, cycles)
    given, put = _taken(np.abs(net), which), _taken(np.abs(net), which - 1)
    efficiency = np.divide(given, put, out=np.full(cycles, np.nan), where=put > 0)
    return efficiency, (which < 0) | np.append(False, seen)[np.maximum(which, 0)]


def _flags(log: xr.Dataset, half: Integers, seen: Mask) -> npt.NDArray[np.int32]:
    halves = np.append(seen, False)[: seen.size + seen.size % 2].reshape(-1, 2)
    flag = np.where(halves.all(axis=1), 0, CYCLE_FLAGS["incomplete"]).astype(np.int32)
    if not flag.size:
        return flag
    state, run = log["state"].values, log["run"].values
    cycle = half // 2
    if half[0] > 0:
        flag[cycle[0]] |= CYCLE_FLAGS["incomplete"]
    if state[-1] != STATES["rest"]:
        flag[-1] |= CYCLE_FLAGS["incomplete"]
    sweeping = np.isin(state, (STATES["sweep_up"], STATES["sweep_down"]))
    cut = np.diff(run, prepend=run[:1]) != 0
    broken = cut & (np.diff(cycle, prepend=cycle[:1]) == 0)
    # The log's flag stays up for good; only cycles with the cut itself have doubtful capacities.
    lost = cut & (log["charge_uncertain"].values != 0)
    for name, rows in (("charge_uncertain", lost), ("gap", broken), ("sweep", sweeping)):
        flag[np.unique(cycle[rows & (half >= 0)])] |= CYCLE_FLAGS[name]
    return flag


def _ends(cycle: Integers, cycles: int) -> tuple[Integers, Integers]:
    """Return first and last row of each cycle."""
    numbers = np.arange(cycles)
    return (
        np.searchsorted(cycle, numbers, side="left").astype(np.int64),
        np.searchsorted(cycle, numbers, side="right").astype(np.int64) - 1,
    )
