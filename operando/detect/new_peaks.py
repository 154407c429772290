"""Reflections that the first frames do not have: which, together with which, from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.detect.event import Event, state_at
from operando.detect.findings import Findings
from operando.detect.frame_series import Rows, Series, choose_reference, on_one_scale, usable
from operando.detect.matched_filter import filters, threshold, windows
from operando.detect.new_lines import Change, Line, describe, measure, search
from operando.detect.onset import Span, locate
from operando.errors import RequestError
from operando.model import axes_of, category_attributes, technique_of

Array = npt.NDArray[np.float64]

WIDTHS = (4.0, 8.0, 16.0, 32.0)
"""Widths that are searched for, in points: a factor of two apart loses less than a tenth."""
TOGETHER = 0.9
"""Correlation of areas, freed of their noise, from which lines belong to one phase."""
MEASURED = 4.0
"""Mean area over sigma that a fitted line needs."""
ORDERS, ORDER_TOLERANCE = 6, 0.005
"""Highest order of a basal reflection, and how well d must fit it."""
ASSESSMENT = {"success": 0, "weak": 1, "no_data": 2}
"""Of an area; `weak` is under 4 sigma."""


def new_peaks(
    frames: xr.Dataset,
    *,
    measurement: str,
    signal: str = "intensity",
    position: str = "",
    reference: int | tuple[int, int] | None = None,
    false_alarm: float = 0.01,
    minimum_frames: int = 3,
    mask: Sequence[tuple[float, float]] = (),
) -> Findings:
    """Find reflections that appear during a series, with no hint of where to look.

    Procedure: frames are brought to a common scale (median ratio to the mean of the reference);
    the residual to that mean is filtered for lines of four widths above a quadratic background;
    sums over windows of `minimum_frames` times powers of two are scored with the noise of the
    window and of the reference, and 2 % of any line of the reference, which does not average down.
    The largest score is held against the same quantity in simulated noise. The strongest change is
    taken first and its surroundings are left out; a gain is a new line unless the reference has a
    fifth of it within a width. Lines whose areas rise and fall together (correlation 0.9, freed of
    noise) are one event.

    Parameters
    ----------
    frames
        One position of a measurement, time first; `<signal>_sigma` is used where it exists.
        Otherwise the noise is taken proportional to the intensity, as that of counts, and its size
        from successive frames.
    position
        Which position that is, for the event.
    reference
        Frames without the reflections: the number of leading frames, or (first, last + 1), or None
        for the first tenth, at least 3. Only frames after it are searched.
    false_alarm
        Probability of any event in a series without change.
    minimum_frames
        How long a reflection must last.
    mask
        Ranges of the axis to leave out: lines of the cell.

    Returns
    -------
    Findings
        Events in order of onset; `status`; `areas` of all their lines on (time, line): `area` above
        the reference (intensity times axis unit, integral of the fitted line), `area_sigma` (noise
        of the frame and of the reference, and the common error of the fitted shape),
        `assessment`; None without events. Detail of an event: `lines` (position, position_sigma,
        fwhm, eta, area_max, score and, where the wavelength is known, d_angstrom and order of the
        first line's d), `assignment` ("phase candidate" from two lines, "unassigned new
        reflection"), `reference_frames`, `end_earliest`, `end_latest`.

    Raises
    ------
    RequestError
        No such signal; an empty reference; a mask that leaves nothing.

    Notes
    -----
    Onset is when a reflection can be detected, not when the phase was born. A reflection within a
    width of a line of the reference is taken for a change of that line. A line that moves by more
    than two widths is reported as new. Needs one axis; loads the series.
    """
    values = _two_dimensional(frames, signal)
    rows = usable(values)
    known, told = choose_reference(
        rows, reference, shortest=minimum_frames, frames=frames.sizes["time"]
    )
    if told:
        return Findings(events=[], status=f"not calibrated: {told}")
    rows = rows[rows >= known[0]]
    axis = axes_of(frames)[0]
    sigma = frames[f"{signal}_sigma"].values[rows] if f"{signal}_sigma" in frames else None
    series = on_one_scale(
        np.asarray(frames[axis].values, dtype=float),
        values[rows],
        None if sigma is None else np.asarray(sigma, dtype=float),
        reference=len(known),
        mask=mask,
    )
    limit = _threshold(series, shortest=minimum_frames, false_alarm=false_alarm)
    changes, other = search(series, widths=WIDTHS, shortest=minimum_frames, threshold=limit)
    seen = _measured(series, changes)
    calibration = (
        f"{100 * false_alarm:g} % false alarms per experiment: largest score in simulated series "
        f"without change, {limit:.2f}"
    )
    passed = len(other) + len(changes) - len(seen.lines)
    status = f"calibrated: {calibration}; {passed} changes of known or unclear lines not counted"
    if not seen.lines:
        return Findings(events=[], status=status)
    facts: dict[str, Any] = {
        "measurement": measurement,
        "technique": technique_of(frames),
        "observable": signal,
        "position": position,
        "threshold": limit,
        "calibration": calibration,
        "size_units": _units(frames, signal, axis),
    }
    events = [
        _event(frames, rows, seen.only(group), len(known), minimum_frames, facts)
        for group in _groups(seen)
    ]
    events.sort(key=lambda event: (event.onset_latest, -event.score))
    return Findings(events=events, status=status, areas=_areas(frames, rows, seen, signal, axis))


def _two_dimensional(frames: xr.Dataset, signal: str) -> Array:
    if signal not in frames or frames[signal].ndim != 2:
        raise RequestError(
            f"signal: {signal!r} is not a variable on time and one axis; there are "
            f"{[str(n) for n in frames.data_vars if frames[n].ndim == 2]}"
        )
    return np.asarray(frames[signal].values, dtype=float)


def _threshold(series: Series, *, shortest: int, false_alarm: float) -> float:
    later = len(series.values) - series.reference
    return threshold(
        filters(series.weight, WIDTHS),
        frames=later,
        reference=series.reference,
        lengths=windows(later, shortest),
        false_alarm=false_alarm,
    )


@dataclass(frozen=True)
class _Seen:
    """Lines, the strongest first, with their areas and sigmas (n, k)."""

    lines: list[Line]
    area: Array
    sigma: Array

    @property
    def sigma_with_shape(self) -> Array:
        """Sigma with the error of the line's shape, common to all frames."""
        relative = np.array([line.shape_error for line in self.lines])
        return np.hypot(self.sigma, relative * self.area)

    def only(self, chosen: list[int]) -> _Seen:
        lines = [self.lines[at] for at in chosen]
        return _Seen(lines, self.area[:, chosen], self.sigma[:, chosen])


def _measured(series: Series, changes: Sequence[Change]) -> _Seen:
    """Return the lines that can be fitted where they were found, with their areas."""
    lines = describe(series, changes)
    area, sigma = measure(series, lines)
    good = []
    for at, line in enumerate(lines):
        best = slice(line.change.start, line.change.stop)
        frames = line.change.stop - line.change.start
        alone = np.mean(sigma[best, at]) / np.sqrt(1.0 + 1.0 / series.reference)
        error = alone * np.sqrt(1.0 / frames + 1.0 / series.reference)
        if area[best, at].mean() > MEASURED * error:
            good.append(at)
    good.sort(key=lambda at: -lines[at].change.score)
    return _Seen(lines, area, sigma).only(good)


def _groups(seen: _Seen) -> list[list[int]]:
    """Put lines together whose areas rise and fall together, each group led by its strongest."""
    centred = seen.area - seen.area.mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    noise = (seen.sigma**2).mean(axis=0)
    variance = np.maximum(np.diag(covariance) - noise, 0.1 * np.diag(covariance))
    groups: list[list[int]] = []
    for at in range(len(seen.lines)):
        for group in groups:
            lead = group[0]
            if covariance[at, lead] >= TOGETHER * np.sqrt(variance[at] * variance[lead]):
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


def _span(seen: _Seen, *, reference: int, shortest: int) -> Span:
    """Locate the best common amplitude of the lines of a group."""
    best = seen.lines[0].change
    profile = seen.area[best.start : best.stop].mean(axis=0)
    weight = profile / seen.sigma**2
    information = (weight * profile).sum(axis=1)
    return locate(
        (weight * seen.area).sum(axis=1) / information,
        1.0 / np.sqrt(information),
        reference=reference,
        start=best.start,
        stop=best.stop,
        shortest=shortest,
    )


def _event(
    frames: xr.Dataset,
    rows: Rows,
    seen: _Seen,
    reference: int,
    shortest: int,
    facts: dict[str, Any],
) -> Event:
    span = _span(seen, reference=reference, shortest=shortest)
    time = frames["time"].values[rows]
    detail: dict[str, Any] = {
        "lines": _described(frames, seen),
        "assignment": "phase candidate" if len(seen.lines) > 1 else "unassigned new reflection",
        "reference_frames": rows[:reference].tolist(),
    }
    last = len(rows)
    end = None
    if span.end_earliest is not None and span.end_latest is not None:
        last = span.end_earliest + 1
        end = state_at(frames, int(rows[span.end_latest]))
        detail["end_earliest"] = time[span.end_earliest]
        detail["end_latest"] = time[span.end_latest]
    largest = int(seen.area[:, 0].argmax())
    return Event(
        kind="new_peak",
        onset=state_at(frames, int(rows[span.latest])),
        onset_earliest=time[span.earliest],
        onset_latest=time[span.latest],
        end=end,
        size=float(seen.area[largest, 0]),
        size_sigma=float(seen.sigma_with_shape[largest, 0]),
        score=seen.lines[0].change.score,
        evidence=tuple(rows[span.latest : last].tolist()),
        detail=detail,
        **facts,
    )


def _described(frames: xr.Dataset, seen: _Seen) -> list[dict[str, Any]]:
    spacing = _spacing(frames, np.array([line.centre for line in seen.lines]))
    largest = seen.area.argmax(axis=0)
    return [
        {
            "position": line.centre,
            "position_sigma": line.centre_sigma,
            "fwhm": line.fwhm,
            "eta": line.eta,
            "area_max": float(seen.area[largest[at], at]),
            "area_max_sigma": float(seen.sigma_with_shape[largest[at], at]),
            "score": line.change.score,
            **(spacing[at] if spacing else {}),
        }
        for at, line in enumerate(seen.lines)
    ]


def _spacing(frames: xr.Dataset, centres: Array) -> list[dict[str, Any]]:
    """Return d of each line and its order of the largest d; empty when d cannot be known."""
    axis = axes_of(frames)[0]
    if axis == "q":
        spacing = 2.0 * np.pi / centres
    elif axis == "two_theta" and "wavelength_angstrom" in frames.attrs:
        wavelength = float(frames.attrs["wavelength_angstrom"])
        spacing = wavelength / (2.0 * np.sin(np.deg2rad(centres) / 2.0))
    else:
        return []
    ratio = spacing.max() / spacing
    order = np.rint(ratio)
    fits = (order <= ORDERS) & (np.abs(ratio / order - 1.0) < ORDER_TOLERANCE)
    return [
        {"d_angstrom": float(d), "order": int(n) if good else None}
        for d, n, good in zip(spacing, order, fits, strict=True)
    ]


def _units(frames: xr.Dataset, signal: str, axis: str) -> str:
    return f"{frames[signal].attrs.get('units', '1')} * {frames[axis].attrs.get('units', '1')}"


def _areas(frames: xr.Dataset, rows: Rows, seen: _Seen, signal: str, axis: str) -> xr.Dataset:
    """Return areas on every frame of the series, NaN where a frame took no part."""
    shape = frames.sizes["time"], len(seen.lines)
    value, error = np.full(shape, np.nan), np.full(shape, np.nan)
    value[rows], error[rows] = seen.area, seen.sigma_with_shape
    weak = np.where(value > MEASURED * error, ASSESSMENT["success"], ASSESSMENT["weak"])
    assessment = np.where(np.isnan(value), ASSESSMENT["no_data"], weak).astype(np.int32)
    centres = [line.centre for line in seen.lines]
    digits = max(0, 1 - int(np.floor(np.log10(np.median(np.diff(frames[axis].values))))))
    along = {name: c for name, c in frames.coords.items() if c.dims == ("time",)}
    units = {"units": _units(frames, signal, axis)}
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
