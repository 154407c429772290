"""Reflections that come or go during a series: which, together with which, from when to when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.detect.chance import threshold
from operando.detect.common_shift import Shift, clear_lines, common_shift, follow
from operando.detect.event import Event
from operando.detect.findings import Findings
from operando.detect.frame_series import Rows, Series, choose_reference, on_one_scale, usable
from operando.detect.line_areas import Line
from operando.detect.line_events import area_units, line_areas, line_event
from operando.detect.lost_lines import common_loss, lost, lost_tracks
from operando.detect.matched_filter import filters
from operando.detect.misfit_template import Tracks, read_tracks, without_lines
from operando.detect.new_lines import BESIDE, Found, search
from operando.detect.phase_candidates import Surroundings, surroundings
from operando.detect.seen_lines import MEASURED, Seen, groups, join, measured
from operando.errors import RequestError
from operando.model import axes_of, technique_of

Array = npt.NDArray[np.float64]

WIDTHS = (4.0, 8.0, 16.0, 32.0)
"""Widths that are searched for, in points: a factor of two apart loses less than a tenth."""


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
    tracks: xr.Dataset | None = None,
    phases: Mapping[str, str | Path] | None = None,
) -> Findings:
    """Find reflections or bands that come or go during a series, with no hint of where to look.

    Procedure: frames are brought to a common scale (median ratio to the mean of the reference) and
    count as much as they were exposed; where all lines move together, the reference is moved with
    them, and that is told in the status. The residual to the mean of the reference is filtered for
    lines of four widths above a quadratic background; sums over windows of `minimum_frames` times
    powers of root two are scored with the noise of the window and of the reference, with the
    skewness of counts, and with 2 % of any line of the reference, which does not average down. What
    does not last for `minimum_frames` (a cosmic ray) is held to 3 sigma. The largest score is held
    against the same quantity in noise (`operando.detect.chance`). The strongest change is taken
    first and its surroundings are left out; a gain is a new line unless the reference has a fifth
    of it within a width, or only a wide filter sees it. Lines whose areas rise and fall together
    (correlation 0.9, freed of noise) are one event.

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
        for the first tenth, at least 3. Only frames after it are searched. No line fainter than
        threshold / (0.78 sqrt(frames of the reference)) sigma of a frame can ever be found.
    false_alarm
        Probability of any event in a series without change.
    minimum_frames
        How long a reflection must last.
    mask
        Ranges of the axis to leave out: lines of the cell.
    tracks
        What `track_peaks` made of the same frames. Those lines are taken off where they are in each
        frame, with the misfit of their profile (`operando.detect.misfit_template`), so that strong
        lines may move without leaving new ones behind.
    phases
        Name -> CIF of phases that may form.

    Returns
    -------
    Findings
        Events in order of onset; `status`; `areas` of all their lines on (time, line): `area` above
        the reference (intensity times axis unit, integral of the fitted line; negative for a lost
        line), `area_sigma` (noise of the frame and of the reference, and the common error of the
        fitted shape), `assessment`; None without events. Kinds of event: `new_peak`, `lost_peak`
        (less than a fifth of a line of the reference is left). Detail: `lines` (position,
        position_sigma, fwhm, eta, area_max, score, where known d_angstrom and order, `beside` the
        line of the reference within a width), `assignment`, `lattice`, `phase`
        (`operando.detect.phase_candidates.assign` says what they mean and prove),
        `reference_frames`, `alarm` (when a watcher would have been told), `end_earliest`,
        `end_latest`.

    Raises
    ------
    RequestError
        No such signal; an empty reference; a mask that leaves nothing; tracks of other frames; a
        CIF that cannot be used.

    Notes
    -----
    Onset is when a reflection can be detected, not when the phase was born. Without `tracks` a gain
    beside a line that loses as much is taken for a line that moved or broadened, and not reported;
    a line that moves by more than two widths is reported as lost and new. Where nearly all lines
    of the reference are lost at once nothing is: the sample left the beam. Needs one axis; loads
    the series.
    """
    values = _two_dimensional(frames, signal)
    rows = usable(values)
    known, told = choose_reference(
        rows, reference, shortest=minimum_frames, frames=frames.sizes["time"]
    )
    if told:
        return Findings(events=[], status=f"not calibrated: {told}")
    rows = rows[rows >= known[0]]
    series = _series(frames, values, signal, rows, len(known), mask)
    seen = np.asarray(np.isfinite(series.values).all(axis=0))
    around = surroundings(frames, seen=seen, phases=phases or {})
    lines = _lines(tracks, frames["time"].values[rows], series)
    if lines is not None:
        series = without_lines(series, lines)
    shift = common_shift(series, WIDTHS)
    series = follow(series, shift)
    limit = _threshold(series, shortest=minimum_frames, false_alarm=false_alarm)
    found = search(series, widths=WIDTHS, shortest=minimum_frames, threshold=limit)
    clear = _clear(series)
    gains, losses, all_lost = _told_apart(series, lines, found, clear, minimum_frames, limit)
    around = replace(around, known=clear, beside=_beside(series, lines, gains, found))
    calibration = (
        f"{100 * false_alarm:g} % false alarms per experiment: largest score in series without "
        f"change, {limit:.2f}"
    )
    facts: dict[str, Any] = {
        "measurement": measurement,
        "technique": technique_of(frames),
        "observable": signal,
        "position": position,
        "threshold": limit,
        "calibration": calibration,
        "size_units": area_units(frames, signal),
    }
    kept, events = _events(frames, rows, gains, losses, around, len(known), minimum_frames, facts)
    counted = 0 if kept is None else len(kept.lines)
    status = "; ".join(
        [
            f"calibrated: {calibration}",
            f"{max(found.count - counted, 0)} changes of known or unclear lines not counted",
            *_common(shift, series, frames, rows, minimum_frames),
            *(["nearly all lines are lost together: sample out of the beam?"] if all_lost else []),
        ]
    )
    areas = None if kept is None else line_areas(frames, rows, kept, signal)
    return Findings(events=events, status=status, areas=areas)


def _events(
    frames: xr.Dataset,
    rows: Rows,
    gains: Seen,
    losses: Seen,
    around: Surroundings,
    reference: int,
    shortest: int,
    facts: dict[str, Any],
) -> tuple[Seen | None, list[Event]]:
    """Return events that last, in order of onset, and all their lines."""
    together = [seen.only(group) for seen in (gains, losses) for group in groups(seen)]
    pairs = [
        (
            seen,
            line_event(
                frames, rows, seen, around, reference=reference, shortest=shortest, facts=facts
            ),
        )
        for seen in together
    ]
    pairs = [(seen, event) for seen, event in pairs if len(event.evidence) >= shortest]
    if not pairs:
        return None, []
    events = sorted((event for _, event in pairs), key=lambda one: (one.onset_latest, -one.score))
    return join(*(seen for seen, _ in pairs)), events


def _two_dimensional(frames: xr.Dataset, signal: str) -> Array:
    if signal not in frames or frames[signal].ndim != 2:
        raise RequestError(
            f"signal: {signal!r} is not a variable on time and one axis; there are "
            f"{[str(n) for n in frames.data_vars if frames[n].ndim == 2]}"
        )
    return np.asarray(frames[signal].values, dtype=float)


def _series(
    frames: xr.Dataset,
    values: Array,
    signal: str,
    rows: Rows,
    reference: int,
    mask: Sequence[tuple[float, float]],
) -> Series:
    sigma = frames[f"{signal}_sigma"].values[rows] if f"{signal}_sigma" in frames else None
    return on_one_scale(
        np.asarray(frames[axes_of(frames)[0]].values, dtype=float),
        values[rows],
        None if sigma is None else np.asarray(sigma, dtype=float),
        reference=reference,
        mask=mask,
    )


def _lines(
    tracks: xr.Dataset | None, time: npt.NDArray[np.datetime64], series: Series
) -> Tracks | None:
    """Return the tracked lines, None where there are none to take off."""
    if tracks is None:
        return None
    lines = read_tracks(tracks, time, series)
    return lines if lines.names else None


def _threshold(series: Series, *, shortest: int, false_alarm: float) -> float:
    bank = filters(series.weight, WIDTHS)
    return threshold(
        widths=WIDTHS,
        points=[one.points for one in bank],
        frames=len(series.values) - series.reference,
        reference=series.reference,
        shortest=shortest,
        false_alarm=false_alarm,
    )


def _clear(series: Series) -> Array:
    """Return where the reference has lines that a single frame shows."""
    lines = clear_lines(series, filters(series.weight, WIDTHS))
    return series.axis[[place for place, _ in lines]]


def _told_apart(
    series: Series, lines: Tracks | None, found: Found, clear: Array, shortest: int, limit: float
) -> tuple[Seen, Seen, bool]:
    """Return the lines that came, those that are gone, and whether nearly all are."""
    came = [*found.new, *found.beside]
    gains = measured(series, came, beside=found.lost)
    losses = lost(series, measured(series, found.lost, beside=came), shortest=shortest)
    if lines is not None:
        own = [
            at for at, line in enumerate(gains.lines) if _tracked(series, lines, line)[0] < BESIDE
        ]
        gains = gains.only([at for at in range(len(gains.lines)) if at not in own])
        gone = lost_tracks(series, lines, shortest=shortest, threshold=limit)
        losses = join(losses, gone)
    all_lost = common_loss(losses, clear)
    return gains, losses.only([]) if all_lost else losses, all_lost


def _tracked(series: Series, lines: Tracks, line: Line) -> tuple[float, float]:
    """Return how far the nearest tracked line is while this one is there, in FWHM, and where."""
    rows = slice(line.change.start, line.change.stop)
    width = np.maximum(lines.fwhm[rows], line.fwhm)
    off = np.median(np.abs(lines.centre[rows] - line.centre) / width, axis=0)
    there = lines.area[rows].mean(axis=0) > MEASURED * lines.area_sigma[rows].mean(axis=0)
    off = np.where(there, off, np.inf)
    nearest = int(off.argmin())
    return float(off[nearest]), float(np.median(lines.centre[rows, nearest]))


def _beside(series: Series, lines: Tracks | None, gains: Seen, found: Found) -> dict[int, float]:
    """Return the known line within a width of new ones: of the reference, or tracked."""
    near = {index: float(series.axis[place]) for index, place in found.near.items()}
    if lines is None:
        return near
    for line in gains.lines:
        off, place = _tracked(series, lines, line)
        if off < 1.0:
            near[line.change.index] = place
    return near


def _common(
    shift: Shift, series: Series, frames: xr.Dataset, rows: Rows, shortest: int
) -> list[str]:
    """Return words on frames in which all lines moved together."""
    if np.count_nonzero(shift.common) < shortest:
        return []
    step = float(np.median(np.diff(series.axis)))
    at = np.flatnonzero(shift.common)
    largest = at[np.abs(shift.shift[at]).argmax()]
    axis = axes_of(frames)[0]
    unit = frames[axis].attrs.get("units", "1")
    middle = float(np.interp(shift.middle, np.arange(series.axis.size), series.axis))
    return [
        f"all {shift.lines} clear lines move together in {at.size} frames (first {rows[at[0]]}, "
        f"last {rows[at[-1]]}), by up to {shift.shift[largest] * step:+.3g} {unit} at {middle:.4g} "
        "(displacement, zero, temperature, or a lattice that changes as one): taken off before "
        "the search"
    ]
