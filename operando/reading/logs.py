"""Join the files of one potentiostat into one log in UTC."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from operando import clocks
from operando.errors import ClockError, ContractError, ReadError
from operando.reading.registry import load
from operando.reading.times import Declared, localised
from operando_readers._reader import File

SAME_IN_ALL = ("current_sign",)


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
            raise ClockError(
                f"{file}: no start time in the file nor beside it; declare first (its local start)"
            )
        facts.update(start=declared.first, source="declared")
    zero = localised(facts, declared=declared, where=str(file))
    elapsed = raw["elapsed"].values.astype(np.float64)
    time = clocks.stamps(
        zero, elapsed, clock_offset_s=declared.clock_offset_s, drift_ppm=declared.drift_ppm
    )
    clocks.check_plausible(time[:1], time[-1:], where=str(file))
    part = raw.drop_vars("elapsed").assign_coords(time=time)
    sigma = declared.clock_sigma_s
    return part, {
        "start": str(facts["start"]),
        "source": facts["source"],
        "zone": facts["zone"] or declared.tz,
        "sigma_s": facts["sigma_s"] if sigma is None else sigma,
    }


def _concatenate(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    names = list(dict.fromkeys(str(name) for part in parts for name in part.data_vars))
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
        variables[name] = ("time", column[order], having[0][name].attrs)
    attrs: dict[str, Any] = {}
    for part in reversed(parts):
        attrs.update(part.attrs)
    attrs["original_metadata"] = json.dumps([part.attrs["original_metadata"] for part in parts])
    intervals = [part.attrs.get("max_record_interval_s") for part in parts]
    known = [float(interval) for interval in intervals if interval is not None]
    if known:
        attrs["max_record_interval_s"] = max(known)
    for key in SAME_IN_ALL:
        values = {part.attrs[key] for part in parts if key in part.attrs}
        if len(values) > 1:
            raise ContractError(f"{key}: the files say {sorted(values)}; read them one by one")
    attrs.pop("truncated", None)
    return xr.Dataset(variables, {"time": ("time", time[order])}, attrs)


def _agree(name: str, parts: Sequence[xr.Dataset]) -> None:
    for key in ("units", "averaging"):
        values = {str(part[name].attrs.get(key)) for part in parts}
        if len(values) > 1:
            raise ContractError(f"{name}: {key} differ between files: {sorted(values)}")
