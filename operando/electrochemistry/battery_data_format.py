"""A prepared log as a Battery Data Format file, for sharing and for other tools."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.electrochemistry.preparation import require_prepared
from operando.errors import RequestError

Fields = list[str]
Integers = npt.NDArray[np.int64]

NANOSECONDS = 1_000_000_000


def write_battery_data_format(log: xr.Dataset, path: str | Path) -> None:
    """Write a prepared log as BDF text: its preferred labels, units and UTC.

    Columns (README of battery-data-alliance/battery-data-format): `Test Time / s` from the first
    row, `Voltage / V`, `Current / A` (positive on charge: oxidation at the working electrode),
    `Unix Time / s`, and where the log has them `Cycle Count / 1` (from 0), `Step Count / 1` (the
    instrument's number of the step), `Net Capacity / Ah`. Numbers have all their digits, times
    their nanoseconds; what was not measured is empty. States and flags have no place in the format.

    The file appears whole or not at all: it is written beside `path` and then takes its place.

    Parameters
    ----------
    log
        Result of `prepare`: rows in order of time, current positive for oxidation.

    Raises
    ------
    RequestError
        The log was not prepared, or holds no row; or the file cannot be written.
    """
    require_prepared(log)
    if not isinstance(path, str | os.PathLike):
        raise arguments.refusal("path", path, "the path of the file to write")
    if not log.sizes["time"]:
        raise RequestError("log: no row in it")
    columns = _columns(log)
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    _replace(Path(path), "\n".join(lines) + "\n")


def _columns(log: xr.Dataset) -> dict[str, Fields]:
    moments = log["time"].values.astype("datetime64[ns]").astype(np.int64)
    columns = {
        "Test Time / s": _seconds(moments - moments[0]),
        "Voltage / V": _numbers(log["voltage"]),
        "Current / A": _numbers(log["current"]),
        "Unix Time / s": _seconds(moments),
    }
    optional: dict[str, tuple[str, Callable[[xr.DataArray], Fields]]] = {
        "Cycle Count / 1": ("cycle", _counts),
        "Step Count / 1": ("step_instrument", _counts),
        "Net Capacity / Ah": ("net_capacity", _numbers),
    }
    for label, (name, written) in optional.items():
        if name in log:
            columns[label] = written(log[name])
    return columns


def _seconds(nanoseconds: Integers) -> Fields:
    """Return integers of nanoseconds as decimal seconds, exactly."""
    whole, rest = np.divmod(nanoseconds, NANOSECONDS)
    pairs = zip(whole.tolist(), rest.tolist(), strict=True)
    return [f"{w}.{r:09d}".rstrip("0").rstrip(".") if r else str(w) for w, r in pairs]


def _numbers(values: xr.DataArray) -> Fields:
    """Return the shortest text that reads back as the same float64."""
    numbers = values.values.astype(np.float64).tolist()
    return [repr(number) if math.isfinite(number) else "" for number in numbers]


def _counts(values: xr.DataArray) -> Fields:
    return ["" if count < 0 else str(count) for count in values.values.astype(np.int64).tolist()]


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, path)
    except OSError as error:
        raise RequestError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
