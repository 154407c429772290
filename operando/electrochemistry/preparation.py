"""From a checked log to one that can be aligned: ordered, signed, continuous, labelled."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.electrochemistry.charge import Charge, net_charge
from operando.electrochemistry.runs import Runs, cut_runs
from operando.electrochemistry.scales import charge_ratio, check_capacity, check_charge
from operando.electrochemistry.signs import SIGNS, Sign, oxidation_positive
from operando.electrochemistry.states import infer_states, resting
from operando.electrochemistry.turns import half_cycles, since_half_cycle
from operando.errors import RequestError
from operando.model import STATES, averaged_backward, category_attributes, check

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

PREPARED = {
    "voltage",
    "current",
    "run",
    "state",
    "state_instrument",
    "half_cycle",
    "cycle",
    "net_capacity",
    "charge_uncertain",
}


def prepare(
    log: xr.Dataset,
    *,
    max_gap_s: float | None = None,
    sign: Sign = "declared",
    nominal_capacity: float | None = None,
) -> xr.Dataset:
    """Return the log in order of time, with everything that follows from it.

    Added on `time`: `run`; `state`, `state_instrument` (`model.STATES`); `half_cycle` and `cycle`
    (pairs of them), from 0, -1 unknown; `net_capacity` (A h, oxidation positive, continuous over
    restarts); `half_cycle_capacity` (A h, magnitude); `charge_uncertain` (1 from the first gap on
    in which an unknown charge may have passed). `current` becomes positive for oxidation; `attrs`
    say where its sign (`current_sign_source`) and the charge (`charge_method`) come from, how the
    instrument's counter compares with the integrated current (`charge_check`), and the largest
    half-cycle with the nominal capacity (`capacity_check`).

    Parameters
    ----------
    log
        Technique "electrochemistry": `voltage` (V), and where known `current` (A),
        `charge_counter` (A h), `state_instrument`, `loop`, `file_index`; rows in any order.
    max_gap_s
        Longest step of time that is no gap; by default the longest of five median steps, 60 s, and
        1.5 times the `record_interval` that the instrument was told.
    sign
        "declared" believes `attrs["current_sign"]` and checks it; else what the user says.
    nominal_capacity
        Of the cell, A h; only to find currents or charges that are a thousand times too large.

    Raises
    ------
    AlignmentError
        Two files recorded at the same time although they are not loops of one sequence.
    RequestError
        The sign of the current contradicts the voltage, or nothing says what it is; an argument is
        none of those allowed; or the counter is a unit factor off the current, or a half-cycle more
        than 30 times the nominal capacity.
    """
    arguments.dataset("log", log)
    arguments.chosen("sign", sign, SIGNS)
    if (technique := log.attrs.get("technique")) != "electrochemistry":
        raise RequestError(f"log: technique {technique!r}; expected 'electrochemistry'")
    if max_gap_s is not None:
        arguments.number("max_gap_s", max_gap_s, lambda s: s > 0, "seconds > 0")
    if nominal_capacity is not None:
        arguments.number("nominal_capacity", nominal_capacity, lambda q: q > 0, "A h > 0")
    runs = _runs(log, max_gap_s)
    log = log.isel(time=runs.order)
    nanoseconds = log["time"].values.astype("datetime64[ns]").astype(np.int64)
    time_s = (nanoseconds - nanoseconds[:1]) / 1e9
    voltage, recorded = _numbers(log, "voltage"), _numbers(log, "current")
    told = _integers(log, "state_instrument", STATES["unknown"])
    # At open circuit no current flows, whether the instrument writes the zero or not.
    recorded = np.where(np.isnan(recorded) & (told == STATES["rest"]), 0.0, recorded)
    declared = str(log.attrs.get("current_sign", "unknown"))
    current, source = oxidation_positive(
        time_s, voltage, recorded, runs.run, state=told, declared=declared, sign=sign
    )
    state = told
    if (told < 0).any():
        state = np.where(told < 0, infer_states(time_s, voltage, current, runs.run), told)
    counter, idle = _numbers(log, "charge_counter"), resting(current)
    backward = averaged_backward(log)
    ratio = charge_ratio(time_s, current, counter, runs.run, backward=backward, resting=idle)
    charge_check = check_charge(ratio)
    charge = net_charge(
        time_s,
        current,
        counter,
        runs.run,
        backward=backward,
        unsigned=(declared, sign) == ("unsigned", "declared"),
        gap_s=runs.gap_s,
        resting=idle,
    )
    prepared = log.assign(current=_signed(log, current), **_derived(runs, state, told, charge))
    largest = float(prepared["half_cycle_capacity"].max()) if time_s.size else np.nan
    prepared.attrs.update(
        current_sign="oxidation_positive",
        current_sign_source=source,
        charge_method=charge.method,
        charge_check=charge_check,
        capacity_check=check_capacity(largest, nominal_capacity),
    )
    return check(prepared)


def require_prepared(log: xr.Dataset) -> None:
    """Raise unless the log is one that `prepare` returned."""
    arguments.dataset("electrochemistry", log)
    missing = sorted(PREPARED - set(map(str, log.data_vars)))
    if missing:
        raise RequestError(f"electrochemistry: lacks {missing}; pass what operando.prepare returns")
    # Without them nobody knows any more how the current was averaged, nor its sign.
    if log.attrs.get("current_sign") != "oxidation_positive" or "charge_method" not in log.attrs:
        raise RequestError(
            "electrochemistry: its attributes are lost (current_sign, charge_method); pass what "
            "operando.prepare returns, or set xarray's keep_attrs"
        )


def _runs(log: xr.Dataset, max_gap_s: float | None) -> Runs:
    return cut_runs(
        log["time"].values.astype("datetime64[ns]").astype(np.int64),
        file=_integers(log, "file_index", 0),
        loop=_integers(log, "loop", -1),
        max_gap_s=max_gap_s,
        record_interval_s=np.nan_to_num(_numbers(log, "record_interval")),
        names=json.loads(log.attrs.get("source_files", "[]")),
    )


def _signed(log: xr.Dataset, current: Array) -> tuple[str, Array, dict[str, Any]]:
    attributes = dict(log["current"].attrs) if "current" in log else {}
    attributes.update(units="A", long_name="current, oxidation at the working electrode positive")
    return "time", current, attributes


def _derived(runs: Runs, state: Integers, told: Integers, charge: Charge) -> dict[str, Any]:
    half_cycle = half_cycles(charge.net, state)
    cycle = np.where(half_cycle < 0, -1, half_cycle // 2)
    states = category_attributes(STATES)

    def counted(values: Integers, long_name: str) -> tuple[str, Any, dict[str, object]]:
        return "time", values.astype(np.int32), {"units": "1", "long_name": long_name}

    def capacity(values: Array, long_name: str) -> tuple[str, Any, dict[str, object]]:
        return "time", values, {"units": "A h", "long_name": long_name}

    return {
        "run": counted(runs.run, "uninterrupted stretch of recording, from 0"),
        "state": (
            "time",
            state.astype(np.int32),
            {**states, "long_name": "state of the cell: the instrument's, else inferred"},
        ),
        "state_instrument": (
            "time",
            told.astype(np.int32),
            {**states, "long_name": "state of the cell as the instrument says"},
        ),
        "half_cycle": counted(half_cycle, "half-cycle, from 0; -1 unknown"),
        "cycle": counted(cycle, "cycle (pair of half-cycles), from 0; -1 unknown"),
        "net_capacity": capacity(charge.net, "net charge, oxidation positive"),
        "half_cycle_capacity": capacity(
            since_half_cycle(charge.net, half_cycle), "charge passed since the half-cycle began"
        ),
        "charge_uncertain": (
            "time",
            charge.uncertain.astype(np.int8),
            {"units": "1", "long_name": "an unknown charge may have passed in a gap before"},
        ),
    }


def _numbers(log: xr.Dataset, name: str) -> Array:
    if name not in log:
        return np.full(log.sizes["time"], np.nan)
    return log[name].values.astype(np.float64)


def _integers(log: xr.Dataset, name: str, missing: int) -> Integers:
    if name not in log:
        return np.full(log.sizes["time"], missing, np.int64)
    return log[name].values.astype(np.int64)
