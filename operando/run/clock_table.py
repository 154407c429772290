"""Where the times of every source come from, how sure they are, and what the recipe lacks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from operando.align import OffsetProposal, align, propose_offset, trigger_offset
from operando.errors import AlignmentError, ClockError, OperandoError
from operando.model import ALIGNMENT_FLAGS
from operando.reading import Inspection, inspect
from operando.reading.files import expand
from operando.recipe import Electrochemistry, Measurement, Recipe, Source
from operando.run.experiment import read_frames, read_log

SHARED_POTENTIAL = "cell_voltage"
"""The beamline's own reading of the cell, on the time of its frames (V)."""
TRIGGER = "analog_in"
"""What analog inputs of a potentiostat are called."""
NETWORK_TIME = "clock_sigma_s = 1.0  # if its computer keeps network time; without, 4 s a day"
EXPOSURE = "exposure_s = 60.0  # how long one exposure took: the files do not say"


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How the frames of a measurement lie in the record of the cell."""

    hours: float
    """From the first to the last moment that both span."""
    covered: float
    """Shares of the frames (0-1)."""
    partial: float
    in_gap: float
    outside: float

    def __str__(self) -> str:
        """Return one readable line."""
        return (
            f"{self.hours:.2f} h with the cell: {self.covered:.1%} of the frames covered, "
            f"{self.partial:.1%} partly, {self.in_gap:.1%} in a gap, {self.outside:.1%} outside"
        )


@dataclass(kw_only=True)
class SourceClock:
    """The clock of one source of a recipe."""

    name: str
    source: Source
    """What the recipe says of it."""
    table: str
    """Where in the recipe its keys stand."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Its `attrs["clock"]`; empty where it could not be placed."""
    counted: str = ""
    first: str | None = None
    """UTC, or as written in the files where it could not be placed."""
    last: str | None = None
    overlap: Overlap | None = None
    differs: list[str] = field(default_factory=list)
    """What its files say that those of one cell should not: other channels, other comments."""
    proposals: list[OffsetProposal] = field(default_factory=list)
    problem: str | None = None
    add: list[str] = field(default_factory=list)
    """Lines of TOML that it lacks."""

    @property
    def verified(self) -> bool:
        """Whether it is placed, as sure as somebody said, and lacks nothing."""
        return self.problem is None and not self.add

    def __str__(self) -> str:
        """Return one readable block."""
        lines = [f"{self.name}: {self.counted}" if self.counted else self.name]
        if self.facts:
            lines += [f"  {name:<11} {text}" for name, text in _told(self.facts, self.source)]
        zone = "UTC" if self.facts else "as written, no zone"
        if self.first:
            lines.append(f"  from        {self.first} to {self.last} ({zone})")
        lines += [f"  one cell?   {text}" for text in self.differs]
        if self.overlap:
            lines.append(f"  overlap     {self.overlap}")
        lines += [f"  offset      {proposal}" for proposal in self.proposals]
        if self.problem:
            lines.append(f"  problem     {self.problem}")
        if self.add:
            lines += [f"  put into {self.table}:", *(f"    {line}" for line in self.add)]
        return "\n".join(lines)


def clock_table(recipe: Recipe, *, root: Path = Path()) -> list[SourceClock]:
    """Look at the clock of every source of a recipe; frames are scanned but not computed.

    A source that cannot be placed says so and what to declare, and does not keep the others from
    being looked at. Offsets are proposed where the frames carry the beamline's own reading of the
    potential (`cell_voltage`), or the log an analog input that may be the trigger (`analog_in_1`);
    the recipe alone applies them.

    Parameters
    ----------
    root
        Folder that the recipe's paths are relative to.
    """
    cell = SourceClock(
        name="electrochemistry", source=recipe.electrochemistry, table="[electrochemistry]"
    )
    log = _log(cell, recipe.electrochemistry, root)
    sources = [cell]
    for measurement in recipe.measurement:
        found = SourceClock(
            name=measurement.name,
            source=measurement,
            table=f'[[measurement]] with name = "{measurement.name}"',
        )
        frames = _frames(found, measurement, root)
        if frames is not None and log is not None:
            _compare(found, measurement, frames, log)
        sources.append(found)
    _name_zones(sources, recipe)
    return sources


def _log(found: SourceClock, source: Electrochemistry, root: Path) -> xr.Dataset | None:
    # What the sign of the current is does not matter here, and must not stand in the way.
    signed = source.model_copy(update={"current_sign": "oxidation_positive"})
    try:
        log = read_log(signed, root)
    except OperandoError as error:
        _unplaced(found, source, root, error)
        return None
    _placed(found, log, "row")
    found.differs = _differing(log)
    _advise_sigma(found)
    _advise_counter(found)
    return log


def _differing(log: xr.Dataset) -> list[str]:
    """Say where the files of a log name different channels or carry different comments."""
    headers = json.loads(log.attrs["original_metadata"])
    told = []
    for key in ("channel_serial", "comments"):
        values = sorted({str(header[key]) for header in headers if header.get(key)})
        if len(values) > 1:
            told.append(f"its files differ in {key.replace('_', ' ')}: {', '.join(values)}")
    return told


def _frames(found: SourceClock, source: Measurement, root: Path) -> xr.Dataset | None:
    try:
        frames = read_frames(source, root)
    except OperandoError as error:
        _unplaced(found, source, root, error)
        return None
    _placed(found, frames, "frame")
    if found.facts.get("exposure") == "unknown":
        found.add.append(EXPOSURE)
    _advise_sigma(found)
    return frames


def _placed(found: SourceClock, dataset: xr.Dataset, unit: str) -> None:
    found.facts = json.loads(dataset.attrs["clock"])
    files = json.loads(dataset.attrs["source_files"])
    found.counted = f"{_count(dataset.sizes['time'], unit)} in {_count(len(files), 'file')}"
    ends = ("time", "time") if unit == "row" else ("time_start", "time_end")
    found.first = _moment(dataset[ends[0]].values.min())
    found.last = _moment(dataset[ends[1]].values.max())


def _unplaced(found: SourceClock, source: Source, root: Path, error: OperandoError) -> None:
    """Say why a source has no place on UTC, and which keys would give it one."""
    found.problem = str(error)
    if not isinstance(error, ClockError):
        return
    seen = _seen(source, root)
    if seen is None:
        return
    found.first, found.last = seen.first, seen.last
    by_hand = source.first is not None
    if isinstance(source, Measurement):
        by_hand |= source.log is not None or source.stamps == "mtime"
    if seen.first is None and not by_hand:
        found.add += _by_hand(source)
    if seen.zone is None and source.tz is None:
        found.add.append('tz = "Area/City"  # zone of the computer that wrote the times')


def _seen(source: Source, root: Path) -> Inspection | None:
    """Return what the files state by themselves."""
    files = [str(file) for file in expand(source.path, root=root)]
    try:
        seen = inspect(files, format=source.format, options=source.options)
    except OperandoError:
        return None
    logs = isinstance(source, Electrochemistry)
    fitting = [one for one in seen if (one.technique == "electrochemistry") == logs]
    return fitting[0] if fitting else None


def _by_hand(source: Source) -> list[str]:
    start = 'first = "2026-05-04T10:00:00"  # local time at the start of the '
    if isinstance(source, Electrochemistry):
        return [f"{start}technique"]
    return [f"{start}first frame", "period_s = 60.0  # from one frame to the next"]


def _advise_sigma(found: SourceClock) -> None:
    sources = [found.facts, *found.facts.get("sources", [])]
    if any(source.get("sigma_s") is None for source in sources):
        found.add.append(NETWORK_TIME)


def _advise_counter(found: SourceClock) -> None:
    """Propose to correct a counter that drifts against a wall clock that something kept right."""
    fits = [one["counter"] for one in found.facts["sources"] if "counter" in one]
    if len(fits) != 1 or not fits[0]["synchronised"]:
        return
    [fit], source = fits, found.source
    if abs(fit["ppm"] - source.drift_ppm) <= max(3 * fit["ppm_sigma"], 0.5):
        return
    found.add.append(f"drift_ppm = {fit['ppm']:.1f}  # its counter against its wall clock")
    if source.clock_offset_s == 0 and abs(fit["offset_s"]) >= 0.1:
        found.add.append(f"clock_offset_s = {fit['offset_s']:.2f}  # error of its first stamp")


def _compare(found: SourceClock, source: Measurement, frames: xr.Dataset, log: xr.Dataset) -> None:
    """Compare frames with the record of the cell: where they lie, and by how much they are off."""
    try:
        aligned = align(frames, log)
    except AlignmentError as error:
        found.problem = str(error)
        found.overlap = Overlap(hours=0.0, covered=0.0, partial=0.0, in_gap=0.0, outside=1.0)
    else:
        found.overlap = overlap_of(aligned, log)
    found.proposals = proposals(frames, log)
    for proposal in found.proposals:
        _advise_offset(found, source, proposal)


def overlap_of(aligned: xr.Dataset, log: xr.Dataset) -> Overlap:
    """Return how many of the aligned frames the log covers, and for how long both ran."""
    flag = aligned["alignment_flag"].values

    def having(name: str) -> Any:
        return (flag & ALIGNMENT_FLAGS[name]) != 0

    outside, gap = having("outside"), having("in_gap")
    partial = having("partial")
    end = min(aligned["time_end"].values.max(), log["time"].values[-1])
    begin = max(aligned["time_start"].values.min(), log["time"].values[0])
    return Overlap(
        hours=max(float((end - begin) / np.timedelta64(1, "h")), 0.0),
        covered=float(np.mean(~outside & ~partial)),
        partial=float(np.mean(partial)),
        in_gap=float(np.mean(outside & gap)),
        outside=float(np.mean(outside & ~gap)),
    )


def proposals(frames: xr.Dataset, log: xr.Dataset) -> list[OffsetProposal]:
    """Return what the shared potential and every possible trigger say about the frames' clock.

    A drift of the shared potential is told where it is one of a clock, beyond three sigma, and the
    samples lie closer with it.
    """
    triggers = [name for name in log.data_vars if str(name).startswith(TRIGGER)]
    found = [trigger_offset(log[name], frames) for name in triggers]
    if not _has_potential(frames):
        return found
    drifting = propose_offset(frames[SHARED_POTENTIAL], log, drift=True)
    steady = propose_offset(frames[SHARED_POTENTIAL], log)
    certain = (
        drifting.accepted
        and abs(drifting.drift_ppm) > 3 * drifting.drift_sigma_ppm
        and drifting.scatter < steady.scatter
    )
    return [steady, *([drifting] if certain else []), *found]


def _has_potential(frames: xr.Dataset) -> bool:
    return SHARED_POTENTIAL in frames.variables and frames[SHARED_POTENTIAL].dims == ("time",)


def _advise_offset(found: SourceClock, source: Measurement, proposal: OffsetProposal) -> None:
    drifts = np.isfinite(proposal.drift_ppm)
    if drifts or not proposal.accepted:
        return
    sigma = max(proposal.sigma_s, 0.01)
    if abs(proposal.offset_s) > 3 * float(np.hypot(sigma, found.facts.get("sigma_s") or 0.0)):
        total = source.clock_offset_s + proposal.offset_s
        found.add.append(f"clock_offset_s = {total:.2f}  # from the {proposal.method}")
    if found.facts.get("sigma_s") is None:
        told = f"clock_sigma_s = {sigma:.2f}  # against the log, from the {proposal.method}"
        found.add = [told if line == NETWORK_TIME else line for line in found.add]


def _name_zones(sources: Sequence[SourceClock], recipe: Recipe) -> None:
    """Offer the zone that another source declares in place of Area/City."""
    declared = {source.tz for source in (recipe.electrochemistry, *recipe.measurement)} - {None}
    if len(declared) != 1:
        return
    [zone] = declared
    for source in sources:
        source.add = [line.replace('"Area/City"', f'"{zone}"') for line in source.add]


def _told(facts: dict[str, Any], source: Source) -> list[tuple[str, str]]:
    marks, sigma = facts.get("marks") or "instant", facts.get("sigma_s")
    counters = [one["counter"] for one in facts.get("sources", []) if "counter" in one]
    zone = "declared" if facts["zone"] == source.tz else "in the file"
    known = "declared" if source.clock_sigma_s is not None else "by the file"
    if known != "declared" and any(fit["synchronised"] for fit in counters):
        known = "by its counter"
    lines = [
        ("clock", f"from {facts['source']}, zone {facts['zone']} ({zone}), stamps mark {marks}"),
        ("sigma", "unknown" if sigma is None else f"{sigma:.3g} s ({known})"),
    ]
    if "exposure" in facts:
        lines.append(("exposure", f"from {facts['exposure']}"))
    if source.clock_offset_s or source.drift_ppm:
        lines.append(
            ("declared", f"offset {source.clock_offset_s:+g} s, drift {source.drift_ppm:+g} ppm")
        )
    return lines + [("counter", _counter(fit)) for fit in counters]


def _counter(fit: dict[str, Any]) -> str:
    text = f"{fit['ppm']:+.1f} +- {fit['ppm_sigma']:.1f} ppm against its wall clock"
    if fit["steps"]:
        text += f", which was corrected {fit['steps']} times by {fit['step_s']:+.2f} s"
    if fit["step_every_s"]:
        text += f", every {fit['step_every_s'] / 3600:.1f} h"
    if fit["backwards"]:
        text += f" and ran backwards {fit['backwards']} times"
    return f"{text}; largest residual {fit['residual_s']:.2f} s"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _moment(stamp: np.datetime64) -> str:
    return str(np.datetime_as_string(stamp, unit="ms")).replace("T", " ")
