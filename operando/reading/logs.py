"""Join the files of one potentiostat into one log in UTC."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando import clocks
from operando.errors import ClockError, ContractError, ReadError
from operando.model import averaged_backward
from operando.reading.registry import load
from operando.reading.times import Declared, localised
from operando_readers._reader import File

SAME_IN_ALL = ("current_sign",)
INTERVAL = {"units": "s", "long_name": "longest time between rows that the instrument was told"}
AVERAGED = {
    "units": "1",
    "long_name": "1 where the current is the mean since the row before, 0 at the instant",
}
SYNCHRONISED_S = 1.0
"""What two computers on network time agree to."""


def join_logs(
    files: Sequence[File], *, format: str, options: Mapping[str, Any], declared: Declared
) -> xr.Dataset:
    """Return the rows of all files, ordered by time, with `file_index`.

    Columns that a file lacks are NaN or -1. A file that cannot be read is reported in
    `attrs["problems"]` as long as another one can.

    Raises
    ------
    ReadError
        No file can be read, or none holds a row.
    ClockError
        A file has no start time, or no zone.
    ContractError
        The files contradict each other about the sign or the averaging of the current.
    """
    parts: list[xr.Dataset] = []
    problems: list[dict[str, str]] = []
    sources: list[dict[str, Any]] = []
    for index, file in enumerate(files):
        try:
            raw = load(file, format=format, options=options)
        except ReadError as error:
            problems.append({"file": str(file), "reason": str(error)})
            continue
        if raw.attrs.get("truncated"):
            problems.append({"file": str(file), "reason": f"{file}: {raw.attrs['truncated']}"})
        if raw.sizes["time"] == 0:
            problems.append({"file": str(file), "reason": f"{file}: holds no row"})
            continue
        part, facts = _on_utc(file, raw, declared)
        problems += [{"file": str(file), "reason": reason} for reason in _jumps(file, facts)]
        parts.append(part.assign(file_index=("time", np.full(part.sizes["time"], index, np.int32))))
        sources.append({"file": str(file), **facts})
    if not parts:
        reasons = "; ".join(problem["reason"] for problem in problems)
        raise ReadError(reasons)
    joined = _concatenate(parts)
    joined["file_index"].attrs.update(units="1", long_name="file of the log")
    clock = dict(sources[0])
    clock.update(sources=sources, offset_s=declared.clock_offset_s, drift_ppm=declared.drift_ppm)
    joined.attrs.update(
        technique="electrochemistry",
        source_files=json.dumps([str(file) for file in files]),
        clock=json.dumps(clock),
        problems=json.dumps(problems),
    )
    return joined


def _on_utc(file: File, raw: xr.Dataset, declared: Declared) -> tuple[xr.Dataset, dict[str, Any]]:
    facts = dict(raw.attrs["clock"])
    if facts["start"] is None:
        if declared.first is None:
            hint = raw.attrs.get("clock_hint")
            raise ClockError(
                f"{file}: no start time in the file nor beside it; declare first (its local start)"
                + (f"; {hint}" if hint else "")
            )
        facts.update(start=declared.first, source="declared")
    zero = localised(facts, declared=declared, where=str(file))
    elapsed = raw["elapsed"].values.astype(np.float64)
    counter = _counter(file, raw)
    time = clocks.stamps(
        zero, elapsed, clock_offset_s=declared.clock_offset_s, drift_ppm=declared.drift_ppm
    )
    clocks.check_plausible(time[:1], time[-1:], where=str(file))
    part = raw.drop_vars(["elapsed", "wall_clock"], errors="ignore").assign_coords(time=time)
    described: dict[str, Any] = {
        "start": str(facts["start"]),
        "source": facts["source"],
        "zone": facts["zone"] or declared.tz,
        "sigma_s": _sigma(facts["sigma_s"], counter, declared),
    }
    if counter is not None:
        described["counter"] = _described(counter)
    return part, described


def _counter(file: File, raw: xr.Dataset) -> clocks.CounterFit | None:
    """Compare the counter with the wall clock, where a file has both; time stays the counter's."""
    if "wall_clock" not in raw.coords:
        return None
    fit = clocks.fit_counter(
        raw["elapsed"].values.astype(np.float64),
        raw["wall_clock"].values.astype(np.float64),
        where=str(file),
        summer_time=raw.attrs["clock"]["zone"] is None,
    )
    return fit if np.isfinite(fit.ppm) else None


def _jumps(file: File, facts: dict[str, Any]) -> list[str]:
    """Say where counter and wall clock part for good: one of them is wrong from there on."""
    fit = facts.get("counter", {"jumps_s": [], "jump_times_s": []})
    return [
        f"{file}: its wall clock jumps by {size:+.0f} s against its counter, {moment:.0f} s after "
        "the start (a pause, or somebody set it): the rows after that are placed by the counter"
        for size, moment in zip(fit["jumps_s"], fit["jump_times_s"], strict=True)
    ]


def _sigma(
    stated: float | None, counter: clocks.CounterFit | None, declared: Declared
) -> float | None:
    """Return what is declared, else what the file states and its counter drifts by.

    A wall clock that nothing was seen to keep right proves nothing: the sigma stays unknown.
    """
    if declared.clock_sigma_s is not None:
        return declared.clock_sigma_s
    if counter is None or not (counter.synchronised or stated is not None):
        return stated
    known = declared.clock_offset_s != 0
    error = counter.error_s(drift_ppm=declared.drift_ppm, offset_known=known)
    if not counter.synchronised:
        return stated if not counter.significant else float(np.hypot(stated or 0.0, error))
    return float(np.hypot(stated or SYNCHRONISED_S, error))


def _described(fit: clocks.CounterFit) -> dict[str, Any]:
    """Return the facts of a fit that a recipe or a report may ask for."""
    steps = fit.steps_s
    return {
        "ppm": round(fit.ppm, 3),
        "ppm_sigma": round(fit.ppm_sigma, 3),
        "offset_s": round(fit.offset_s, 3),
        "steps": int(steps.size),
        "step_s": float(np.median(steps)) if steps.size else None,
        "step_every_s": float(np.median(np.diff(fit.step_times_s))) if steps.size > 1 else None,
        "backwards": fit.backwards,
        "residual_s": round(fit.residual_s, 6),
        "jumps_s": [round(float(size), 3) for size in fit.jumps_s],
        "jump_times_s": [round(float(moment), 3) for moment in fit.jump_times_s],
        "synchronised": fit.synchronised,
    }


def _concatenate(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    _tell_averages(parts)
    for part in parts:
        if "max_record_interval_s" in part.attrs:
            interval = np.full(part.sizes["time"], float(part.attrs["max_record_interval_s"]))
            part["record_interval"] = ("time", interval, INTERVAL)
    names = list(dict.fromkeys(str(name) for part in parts for name in part.data_vars))
    names = [name for name in names if _joins(name, parts)]
    time = np.concatenate([part["time"].values for part in parts])
    # A stable sort keeps the two rows of a current step, and files that share an instant, in order.
    order = np.argsort(time, kind="stable")
    variables: dict[str, Any] = {}
    for name in names:
        having = [part for part in parts if name in part]
        _agree(name, having)
        dtype = np.result_type(*(part[name].dtype for part in having))
        missing: Any = np.nan if dtype.kind == "f" else -1
        column = np.concatenate(
            [
                part[name].values.astype(dtype)
                if name in part
                else np.full(part.sizes["time"], missing, dtype)
                for part in parts
            ]
        )
        variables[name] = (having[0][name].dims, column[order], having[0][name].attrs)
    attrs: dict[str, Any] = {}
    for part in reversed(parts):
        attrs.update(part.attrs)
    attrs["original_metadata"] = json.dumps([part.attrs["original_metadata"] for part in parts])
    for key in SAME_IN_ALL:
        values = {part.attrs[key] for part in parts if key in part.attrs}
        if len(values) > 1:
            raise ContractError(f"{key}: the files say {sorted(values)}; read them one by one")
    for key in ("truncated", "max_record_interval_s"):
        attrs.pop(key, None)
    return xr.Dataset(variables, {"time": ("time", time[order])}, attrs)


def _joins(name: str, parts: Sequence[xr.Dataset]) -> bool:
    """Whether a variable is a column, or as many bytes of an unknown one in every file."""
    shapes = {part[name].shape[1:] for part in parts if name in part}
    return shapes == {()} or (len(shapes) == 1 and all(name in part for part in parts))


def _tell_averages(parts: Sequence[xr.Dataset]) -> None:
    """Let each row say how its current was averaged, where the files do it differently."""
    having = [part for part in parts if "current" in part]
    if len({part["current"].attrs.get("averaging") for part in having}) < 2:
        return
    for part in having:
        averaged = np.full(part.sizes["time"], averaged_backward(part)).astype(np.int8)
        part["current_averaged"] = ("time", averaged, AVERAGED)
        part["current"].attrs["averaging"] = "mixed"


def _agree(name: str, parts: Sequence[xr.Dataset]) -> None:
    for key in ("units", "averaging"):
        values = {str(part[name].attrs.get(key)) for part in parts}
        if len(values) > 1:
            raise ContractError(f"{name}: {key} differ between files: {sorted(values)}")
