"""Events and areas of lines that came or went."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.detect.event import Event, state_at
from operando.detect.frame_series import Rows
from operando.detect.phase_candidates import Surroundings, assign
from operando.detect.seen_lines import MEASURED, Seen, span
from operando.model import axes_of, category_attributes

Array = npt.NDArray[np.float64]

ASSESSMENT = {"success": 0, "weak": 1, "no_data": 2}
"""Of an area; `weak` is under 4 sigma."""


def line_event(
    frames: xr.Dataset,
    rows: Rows,
    seen: Seen,
    around: Surroundings,
    *,
    reference: int,
    shortest: int,
    facts: dict[str, Any],
) -> Event:
    """Return the event of lines that come or go together.

    `rows` are the frames of the series, the `reference` first; `facts` is what all events of a
    measurement have in common.
    """
    found = span(seen, reference=reference, shortest=shortest)
    time = frames["time"].values[rows]
    lead = seen.lines[0].change
    told = assign(seen.lines, around) if lead.score > 0 else _lost(seen)
    detail: dict[str, Any] = {
        "lines": _described(seen, told, around),
        **{name: value for name, value in told.items() if name not in ("order", "spacing")},
        "reference_frames": rows[:reference].tolist(),
        "alarm": time[min(line.change.alarm for line in seen.lines)],
    }
    last = len(rows)
    end = None
    if found.end_earliest is not None and found.end_latest is not None:
        last = found.end_earliest + 1
        end = state_at(frames, int(rows[found.end_latest]))
        detail["end_earliest"] = time[found.end_earliest]
        detail["end_latest"] = time[found.end_latest]
    largest = int(np.abs(seen.area[:, 0]).argmax())
    return Event(
        kind="new_peak" if lead.score > 0 else "lost_peak",
        onset=state_at(frames, int(rows[found.latest])),
        onset_earliest=time[found.earliest],
        onset_latest=time[found.latest],
        end=end,
        size=float(seen.area[largest, 0]),
        size_sigma=float(seen.sigma_with_shape[largest, 0]),
        score=abs(lead.score),
        evidence=tuple(rows[found.latest : last].tolist()),
        detail=detail,
        **facts,
    )


def _lost(seen: Seen) -> dict[str, Any]:
    return {"assignment": "lost line" if len(seen.lines) == 1 else "lines lost together"}


def _described(seen: Seen, told: dict[str, Any], around: Surroundings) -> list[dict[str, Any]]:
    centres = np.array([line.centre for line in seen.lines])
    largest = np.abs(seen.area).argmax(axis=0)
    lines: list[dict[str, Any]] = []
    for at, line in enumerate(seen.lines):
        index = line.change.index
        one: dict[str, Any] = {
            "position": line.centre,
            "position_sigma": line.centre_sigma,
            "fwhm": line.fwhm,
            "eta": line.eta,
            "area_max": float(seen.area[largest[at], at]),
            "area_max_sigma": float(seen.sigma_with_shape[largest[at], at]),
            "score": abs(line.change.score),
        }
        if around.has_spacings:
            one["d_angstrom"] = float(1.0 / around.inverse(centres[at : at + 1])[0])
            one["order"] = told.get("order", {}).get(index)
        if index in around.beside and line.change.score > 0:
            one["beside"] = around.beside[index]
        if line.name:
            one["name"] = line.name
        lines.append(one)
    return lines


def area_units(frames: xr.Dataset, signal: str) -> str:
    """Return the unit of an area: of the signal times that of the axis."""
    axis = axes_of(frames)[0]
    return f"{frames[signal].attrs.get('units', '1')} * {frames[axis].attrs.get('units', '1')}"


def line_areas(frames: xr.Dataset, rows: Rows, seen: Seen, signal: str) -> xr.Dataset:
    """Return areas on every frame of the series, NaN where a frame took no part."""
    axis = axes_of(frames)[0]
    shape = frames.sizes["time"], len(seen.lines)
    value, error = np.full(shape, np.nan), np.full(shape, np.nan)
    value[rows], error[rows] = seen.area, seen.sigma_with_shape
    weak = np.where(np.abs(value) > MEASURED * error, ASSESSMENT["success"], ASSESSMENT["weak"])
    assessment = np.where(np.isnan(value), ASSESSMENT["no_data"], weak).astype(np.int32)
    centres = [line.centre for line in seen.lines]
    digits = max(0, 1 - int(np.floor(np.log10(np.median(np.diff(frames[axis].values))))))
    along = {name: c for name, c in frames.coords.items() if c.dims == ("time",)}
    units = {"units": area_units(frames, signal)}
    meaning = "area of the line above the reference"
    about = {**units, "long_name": meaning, "ancillary_variables": "area_sigma"}
    spread = {**units, "long_name": f"statistical standard deviation of the {meaning}"}
    dims = ("time", "line")
    return xr.Dataset(
        {
            "area": (dims, value, about),
            "area_sigma": (dims, error, spread),
            "assessment": (dims, assessment, category_attributes(ASSESSMENT)),
        },
        coords={
            **along,
            "line": [f"{centre:.{digits}f}" for centre in centres],
            "centre": ("line", centres, {"units": str(frames[axis].attrs.get("units", "1"))}),
        },
    )
