"""The verb `align`: one prepared log joined to the exposures of one measurement."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.align import windows as kernels
from operando.align.exposures import exposures, instants
from operando.align.flags import Clocks, alignment_flags, clocks_of, duplicates
from operando.align.majorities import Majority, majority
from operando.align.windows import Array, Integers, Pieces, Windows
from operando.electrochemistry.preparation import require_prepared
from operando.errors import AlignmentError, RequestError
from operando.model import (
    ALIGNMENT_FLAGS,
    STATES,
    averaged_backward,
    category_attributes,
    count_flags,
    flag_attributes,
)

Coordinate = tuple[str, npt.NDArray[Any], dict[str, Any]]

LABELS = {
    "cycle": "cycle for most of the exposure",
    "half_cycle": "half-cycle for most of the exposure",
    "state": "state of the cell for most of the exposure",
    "state_instrument": "state as the instrument says, for most of the exposure",
    "run": "run of the log for most of the exposure",
}
COORDINATES = (
    "voltage",
    "voltage_min",
    "voltage_max",
    "voltage_sigma",
    "current",
    "charge_passed",
    "net_capacity",
    "net_capacity_start",
    "net_capacity_end",
    "half_cycle_capacity",
    *LABELS,
    "coverage",
    "alignment_flag",
)


def align(
    frames: xr.Dataset,
    electrochemistry: xr.Dataset,
    *,
    minimum_coverage: float = 0.9,
    majority: float = 0.95,
    time_sigma_s: float | None = None,
) -> xr.Dataset:
    """Return the frames with the state of the cell while each was taken, as coordinates on `time`.

    - `voltage` (V), `current` (A): time-weighted means over the recorded part of the exposure.
      Voltage is linear between rows; current is constant backwards where the instrument averages
      since the previous row, linear otherwise. `voltage_min`, `voltage_max` (V).
    - `voltage_sigma` (V): how far the mean moves with the clocks, |dE/dt| times their sigma; NaN
      where a sigma is unknown.
    - `net_capacity_start`, `net_capacity`, `net_capacity_end` (A h) at start, middle and end;
      `charge_passed` = end - start; `half_cycle_capacity` at the middle.
    - `cycle`, `half_cycle`, `state`, `state_instrument`, `run`: what held for most of the exposure.
    - `coverage` (0-1): recorded part of the exposure.
    - `alignment_flag` (`model.ALIGNMENT_FLAGS`). Without coverage a frame is `outside`, and
      `in_gap` too when the log has rows before and after it; all its numbers are NaN, its labels
      -1. Below `minimum_coverage` it is `partial`, and its numbers are those of the recorded part.

    Nothing is extrapolated, nor interpolated across a gap, the end of a run or a missing value. A
    frame of no length takes the value at the instant. No frame is dropped, reordered or computed.

    Parameters
    ----------
    frames
        Any technique, with `time_start` and `time_end` (UTC).
    electrochemistry
        A log from `prepare`.
    minimum_coverage
        Below this coverage a frame is flagged `partial`.
    majority
        Below this share of the longest state or half-cycle a frame is flagged `mixed_state`.
    time_sigma_s
        Uncertainty of the frames' clock against the log's; by default the `sigma_s` of both clocks
        in quadrature, and `clock_unverified` when one is unknown.

    Raises
    ------
    AlignmentError
        No frame overlaps the log: the message names both spans.
    ContractError
        The frames have no intervals.
    RequestError
        The log is not prepared, a threshold is no share, or the frames hold such a variable.
    """
    _check_thresholds(minimum_coverage, majority, time_sigma_s)
    _check_inputs(frames, electrochemistry)
    window = exposures(frames, what="frames")
    _check_spans(window, instants(electrochemistry["time"]))
    clocks = clocks_of(frames, electrochemistry, time_sigma_s=time_sigma_s)
    coordinates = _join(frames, window, electrochemistry, clocks, (minimum_coverage, majority))
    record = {
        "minimum_coverage": minimum_coverage,
        "majority": majority,
        **_record(electrochemistry, clocks, coordinates["alignment_flag"][1]),
    }
    return frames.assign_coords(coordinates).assign_attrs(alignment=json.dumps(record))


def _record(log: xr.Dataset, clocks: Clocks, flag: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "time_sigma_s": None if np.isnan(clocks.sigma_s) else clocks.sigma_s,
        "frames": int(flag.size),
        "flags": count_flags(flag, ALIGNMENT_FLAGS),
        "sources": json.loads(log.attrs.get("source_files", "[]")),
        "clocks": clocks.described,
    }


def _join(
    frames: xr.Dataset,
    window: tuple[Integers, Integers],
    log: xr.Dataset,
    clocks: Clocks,
    thresholds: tuple[float, float],
) -> dict[str, Coordinate]:
    time = instants(log["time"])
    run = log["run"].values.astype(np.int64)
    voltage = kernels.linear(log["voltage"].values.astype(np.float64), run)
    current = _current(log, run)
    windows = kernels.place(time, *window, voltage.covered)
    current_windows = kernels.place(time, *window, current.covered)
    labels = _labels(log, time, voltage, windows)
    sigma = np.abs(kernels.slope(time, voltage, windows)) * clocks.sigma_s
    coverage = kernels.coverage(time, voltage, windows)
    flag = alignment_flags(
        time,
        windows,
        coverage=coverage,
        current_coverage=kernels.coverage(time, current, current_windows),
        shares=[labels["state"].share, labels["half_cycle"].share],
        voltage_sigma=sigma,
        clocks=clocks,
        charge_uncertain=log["charge_uncertain"].values != 0,
        duplicate=duplicates(frames),
        minimum_coverage=thresholds[0],
        majority=thresholds[1],
    )
    low, high = kernels.extremes(time, voltage, windows)
    return {
        "voltage": _number(
            kernels.mean(time, voltage, windows),
            "V",
            "mean voltage during the exposure",
            ancillary_variables="voltage_sigma alignment_flag",
        ),
        "voltage_min": _number(low, "V", "lowest voltage during the exposure"),
        "voltage_max": _number(high, "V", "highest voltage during the exposure"),
        "voltage_sigma": _number(sigma, "V", "uncertainty of voltage from that of the clocks"),
        "current": _number(
            kernels.mean(time, current, current_windows),
            "A",
            "mean current during the exposure, oxidation positive",
        ),
        **_capacities(log, time, run, windows),
        **{name: _category(name, found.label) for name, found in labels.items()},
        "coverage": _number(coverage, "1", "share of the exposure in which voltage was recorded"),
        "alignment_flag": (
            "time",
            flag,
            {**flag_attributes(ALIGNMENT_FLAGS), "long_name": "faults of the alignment"},
        ),
    }


def _current(log: xr.Dataset, run: Integers) -> Pieces:
    values = log["current"].values.astype(np.float64)
    averaged = averaged_backward(log)
    held, sampled = kernels.backward(values, run), kernels.linear(values, run)
    return Pieces(
        *(np.where(averaged[1:], one, other) for one, other in zip(held, sampled, strict=True))
    )


def _capacities(
    log: xr.Dataset, time: Integers, run: Integers, windows: Windows
) -> dict[str, Coordinate]:
    net = log["net_capacity"].values.astype(np.float64)
    charge = kernels.linear(net, run)
    middle = windows.start + (windows.end - windows.start) // 2
    at_start = kernels.value_at(time, charge, windows.start)
    at_middle = kernels.value_at(time, charge, middle)
    at_end = kernels.value_at(time, charge, windows.end)
    half_cycle = log["half_cycle"].values.astype(np.int64)
    first = np.flatnonzero(np.diff(half_cycle, prepend=half_cycle[0] - 1))
    began = np.repeat(net[np.maximum(first - 1, 0)], np.diff(np.append(first, net.size)))
    # The charge at which a half-cycle began is a label, held backwards like all of them.
    held = kernels.backward(began, run)
    since = np.abs(at_middle - kernels.value_at(time, held, middle))
    return {
        "charge_passed": _number(at_end - at_start, "A h", "charge passed during the exposure"),
        "net_capacity": _number(at_middle, "A h", "net charge at the middle of the exposure"),
        "net_capacity_start": _number(at_start, "A h", "net charge at its start"),
        "net_capacity_end": _number(at_end, "A h", "net charge at its end"),
        "half_cycle_capacity": _number(
            since, "A h", "charge passed since the half-cycle began, at the middle of the exposure"
        ),
    }


def _labels(
    log: xr.Dataset, time: Integers, voltage: Pieces, windows: Windows
) -> dict[str, Majority]:
    return {
        name: majority(
            time, log[name].values.astype(np.int64), voltage.covered, windows, missing=-1
        )
        for name in LABELS
    }


def _category(name: str, values: Integers) -> Coordinate:
    attributes: dict[str, Any] = {"units": "1", "long_name": LABELS[name]}
    if name in ("state", "state_instrument"):
        attributes.update(category_attributes(STATES))
    return "time", values.astype(np.int32), attributes


def _number(values: Array, units: str, long_name: str, **attributes: str) -> Coordinate:
    return "time", values, {"units": units, "long_name": long_name, **attributes}


def _check_thresholds(minimum_coverage: float, majority: float, time_sigma_s: float | None) -> None:
    for name, share in (("minimum_coverage", minimum_coverage), ("majority", majority)):
        arguments.number(name, share, lambda x: 0 <= x <= 1, "a share from 0 to 1")
    if time_sigma_s is not None:
        arguments.number("time_sigma_s", time_sigma_s, lambda s: 0 <= s < np.inf, "seconds >= 0")


def _check_inputs(frames: xr.Dataset, log: xr.Dataset) -> None:
    arguments.dataset("frames", frames)
    require_prepared(log)
    if log.sizes["time"] < 2:
        raise RequestError(
            f"electrochemistry: {log.sizes['time']} row; two and more make an interval"
        )
    taken = sorted(set(COORDINATES) & set(map(str, frames.data_vars)))
    if taken:
        raise RequestError(f"frames: already hold the variables {taken}; rename them first")


def _check_spans(window: tuple[Integers, Integers], time: Integers) -> None:
    start, end = window
    if start.size and (end.max() < time[0] or start.min() > time[-1]):
        spans = [
            f"{np.datetime64(int(first), 'ns').astype('datetime64[s]')} to "
            f"{np.datetime64(int(last), 'ns').astype('datetime64[s]')}"
            for first, last in ((start.min(), end.max()), (time[0], time[-1]))
        ]
        raise AlignmentError(
            f"no overlap: frames span {spans[0]} UTC, electrochemistry spans {spans[1]} UTC; "
            "check tz and clock_offset_s of both"
        )
