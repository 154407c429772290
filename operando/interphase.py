"""Events of several techniques weighed together: what may be an interphase, and what says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from operando.detect.event import Event, State
from operando.detect.positions import WHOLE_ELECTRODE
from operando.model import PARTS, positions

MINIMUM_FRAMES = 3
"""Frames needed before and after the onset for a control to be worth anything."""

NEEDED = ("persistence", "negative control")
"""Controls without which a candidate is not supported."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A local, lasting change that may be an interphase, with its evidence and its controls."""

    verdict: str
    """"supported", "unsupported: controls missing" or "rejected: <what failed>"."""
    severity: str
    """"critical" (supported by two techniques), "alert", "warning" (unsupported) or "info"."""
    onset: State
    """Of the leading event: the one farthest above its threshold."""
    onset_earliest: np.datetime64
    onset_latest: np.datetime64
    """The interval common to the evidence."""
    size: float
    size_sigma: float
    size_units: str
    """Of the leading event, in the units of what it observed."""
    evidence: tuple[Event, ...]
    """The leading event first."""
    controls: dict[str, str]
    """Control -> "passed", "passed: ...", "failed: ..." or "missing: ..."."""

    @property
    def techniques(self) -> tuple[str, ...]:
        """The techniques that saw it, the leading one first."""
        return tuple(dict.fromkeys(event.technique for event in self.evidence))

    def to_json(self) -> str:
        """One JSON object; the evidence is named by the identity of its events."""
        lead = json.loads(self.evidence[0].to_json())
        return json.dumps(
            {
                "verdict": self.verdict,
                "severity": self.severity,
                "onset": lead["onset"],
                "onset_earliest": _stamp(self.onset_earliest),
                "onset_latest": _stamp(self.onset_latest),
                "size": lead["size"],
                "size_sigma": lead["size_sigma"],
                "size_units": self.size_units,
                "techniques": self.techniques,
                "positions": sorted({event.position for event in self.evidence}),
                "evidence": [event.identity for event in self.evidence],
                "controls": self.controls,
            }
        )


def candidates(
    events: Sequence[Event],
    *,
    frames: Mapping[str, xr.Dataset],
    observed: Mapping[str, Mapping[str, xr.Dataset]],
) -> list[Candidate]:
    """Weigh the events of an experiment and return what may be an interphase, earliest first.

    What the whole electrode does is its own reaction and no candidate; nor is what happens at a
    position that was named a control. An incomplete return counts only where another position
    did return. Events whose onset intervals have a moment in common are one candidate.

    It is "supported" when it persists, a negative control stayed silent, and nothing failed;
    "rejected" when anything failed; else "unsupported: controls missing". The controls:

    - persistence: the leading change lasts to the last frame;
    - negative control: the same number at another position of the same measurement (the named
      one, else any silent one) was watched, could have shown it, and did not;
    - reference channel: the energies were corrected on the foil, or an edge tracked in a signal
      `..._reference` of the same measurement did not move with it;
    - charge, not dose: the control took at least half the beam and stayed silent, and the change
      did not begin at rest;
    - second technique, second line: another technique, or another number or line of the same,
      agrees.

    Parameters
    ----------
    events
        As `merge_positions` leaves them.
    frames
        Measurement -> its aligned frames, for positions and exposures.
    observed
        Measurement -> observable -> numbers on time.
    """
    named = {(e.measurement, str(e.detail["control"])) for e in events if "control" in e.detail}
    local = [e for e in events if (e.measurement, e.position) not in named and _is_local(e)]
    found = [
        _weigh(group, events=events, frames=frames, observed=observed)
        for group in _simultaneous(local)
    ]
    return sorted(found, key=lambda one: (one.onset_earliest, one.evidence[0].identity))


def _is_local(event: Event) -> bool:
    """Whether something may have formed here: neither a loss nor a shoulder of a known line."""
    named = str(event.detail.get("assignment", ""))
    if event.kind == "lost_peak" or named.startswith("split or shoulder"):
        return False
    if str(event.detail.get("scope", "")).startswith(WHOLE_ELECTRODE):
        return False
    return event.kind != "incomplete_return" or bool(event.detail.get("silent"))


def _simultaneous(events: Sequence[Event]) -> list[list[Event]]:
    """Group events whose onset intervals all share a moment."""
    groups: list[list[Event]] = []
    for event in sorted(events, key=lambda one: (one.onset_earliest, one.identity)):
        for group in groups:
            if event.onset_earliest <= min(other.onset_latest for other in group):
                group.append(event)
                break
        else:
            groups.append([event])
    return groups


def _weigh(
    group: Sequence[Event],
    *,
    events: Sequence[Event],
    frames: Mapping[str, xr.Dataset],
    observed: Mapping[str, Mapping[str, xr.Dataset]],
) -> Candidate:
    ranked = sorted(group, key=lambda one: (-one.score / one.threshold, one.identity))
    lead = ranked[0]
    mine = frames.get(lead.measurement)
    numbers = observed.get(lead.measurement, {})
    control, silence = _negative_control(lead, events, mine, numbers)
    controls = {
        "persistence": "passed" if lead.end is None else f"failed: over at {lead.end.time}",
        "negative control": silence,
        "reference channel": _reference_channel(lead, numbers),
        "charge, not dose": _dose(lead, control, silence, mine),
        "second technique": _second_technique(ranked),
        "second line": _second_line(ranked),
    }
    verdict = _verdict(controls)
    severity = "critical" if controls["second technique"].startswith("passed") else "alert"
    if verdict != "supported":
        severity = "warning" if verdict.startswith("unsupported") else "info"
    return Candidate(
        verdict=verdict,
        severity=severity,
        onset=lead.onset,
        onset_earliest=max(event.onset_earliest for event in group),
        onset_latest=min(event.onset_latest for event in group),
        size=lead.size,
        size_sigma=lead.size_sigma,
        size_units=lead.size_units,
        evidence=tuple(ranked),
        controls=controls,
    )


def _verdict(controls: Mapping[str, str]) -> str:
    reasons = {
        "persistence": "it did not last",
        "negative control": "control moved too",
        "reference channel": "reference channel moved too",
    }
    for name, reason in reasons.items():
        if controls[name].startswith("failed"):
            return f"rejected: {reason}"
    if all(controls[name].startswith("passed") for name in NEEDED):
        return "supported"
    return "unsupported: controls missing"


def _negative_control(
    lead: Event,
    events: Sequence[Event],
    frames: xr.Dataset | None,
    numbers: Mapping[str, xr.Dataset],
) -> tuple[str, str]:
    """Return the position that serves as control ("" without), and how it fared."""
    spots = [] if frames is None else [name for name in positions(frames) if name]
    name = str(lead.detail.get("control", ""))
    others = [name] if name else [one for one in spots if one != lead.position]
    if frames is None or not set(others) & set(spots):
        return "", "missing: no other position was measured"
    moved = {
        event.position
        for event in events
        if (event.measurement, event.kind) == (lead.measurement, lead.kind)
        and event.observable == lead.observable
        and event.onset_earliest <= lead.onset_latest
    }
    silent = [one for one in others if one not in moved]
    if not silent:
        return others[0], f"failed: {', '.join(others)} changed too"
    weak = ""
    for position in silent:
        weak = _too_weak(lead, position, frames, numbers)
        if not weak:
            chosen = "" if name else " (not named by the recipe)"
            return position, f"passed: {position} stayed silent{chosen}"
    return silent[0], f"missing: {weak}"


def _too_weak(
    lead: Event, position: str, frames: xr.Dataset, numbers: Mapping[str, xr.Dataset]
) -> str:
    """Say why a silent position is no control: too few frames, or too noisy to show the change."""
    here = frames["position"].values.astype(str) == position
    before = int((here & (frames["time"].values <= lead.onset_earliest)).sum())
    after = int((here & (frames["time"].values >= lead.onset_latest)).sum())
    if min(before, after) < MINIMUM_FRAMES:
        return f"{position} has {before} frames before and {after} after the onset"
    name, variable, *line = f"{lead.observable}.".split(".")[:3]
    sigma = numbers.get(name, xr.Dataset()).get(f"{variable}_sigma")
    if sigma is None:
        return ""
    for part in set(sigma.dims) & set(PARTS):
        sigma = sigma.sel({part: line[0]})
    typical = float(sigma.isel(time=np.flatnonzero(here)).median())
    if not lead.threshold * typical / np.sqrt(after) < abs(lead.size):
        return f"{position} is too noisy to show the change"
    return ""


def _reference_channel(lead: Event, numbers: Mapping[str, xr.Dataset]) -> str:
    own = numbers.get(lead.observable.split(".")[0], xr.Dataset())
    applied = own.get("energy_correction", xr.DataArray(0.0))
    if (abs(applied) > 0).any():
        span = float(applied.max() - applied.min())
        return f"passed: a drift of {span:.3f} eV, seen on the foil, was taken off"
    channels = [
        one for one in numbers.values() if str(one.attrs.get("signal")).endswith("_reference")
    ]
    if not channels:
        return "missing: no reference channel was tracked"
    channel = channels[0]
    if "position" in channel.coords:
        here = channel["position"].values.astype(str) == lead.position
        channel = channel.isel(time=np.flatnonzero(here))
    energy = channel["edge_energy"]
    before = energy.where(energy["time"] <= lead.onset_earliest, drop=True).dropna("time")
    after = energy.where(energy["time"] >= lead.onset_latest, drop=True).dropna("time")
    if min(before.size, after.size) < MINIMUM_FRAMES:
        return "missing: too few frames of the reference channel"
    shift = float(after.mean() - before.mean())
    sigma = float(np.hypot(*(part.std(ddof=1) / np.sqrt(part.size) for part in (before, after))))
    if abs(shift) <= 3 * sigma:
        return f"passed: moved {shift:+.3f} ± {sigma:.3f} eV"
    if lead.size_units == "eV" and abs(shift) < abs(lead.size) / 4:
        return f"passed: moved {shift:+.3f} ± {sigma:.3f} eV, far less than the change"
    return f"failed: moved {shift:+.3f} ± {sigma:.3f} eV"


def _dose(lead: Event, control: str, silence: str, frames: xr.Dataset | None) -> str:
    """Compare the exposure of the silent control with that of the position that changed."""
    if lead.onset.state == "rest":
        return "missing: it began at rest, where only time and dose pass"
    if frames is None or not silence.startswith("passed"):
        return "missing: no silent position that took the same dose"
    exposure = (frames["time_end"].values - frames["time_start"].values) / np.timedelta64(1, "s")
    where = frames["position"].values.astype(str)
    there, here = (float(exposure[where == name].sum()) for name in (control, lead.position))
    if there < here / 2:
        return f"missing: {control} took {there:.0f} s of beam, the changed position {here:.0f} s"
    return f"passed: {control} took {there:.0f} s of beam without it"


def _second_technique(evidence: Sequence[Event]) -> str:
    others = sorted({event.technique for event in evidence} - {evidence[0].technique})
    return f"passed: {', '.join(others)}" if others else "missing: no other technique saw it"


def _second_line(evidence: Sequence[Event]) -> str:
    lead = evidence[0]
    lines = lead.detail.get("lines", ())
    if isinstance(lines, list | tuple) and len(lines) > 1:
        return f"passed: {len(lines)} lines"
    others = {
        (event.observable, event.identity)
        for event in evidence[1:]
        if (event.measurement, event.position) == (lead.measurement, lead.position)
    }
    return f"passed: {len(others)} more" if others else "missing: one line or number only"


def _stamp(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='ms')}Z"
