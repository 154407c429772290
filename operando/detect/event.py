"""What a detector says: something happened, where, when, at what state, and how sure we are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from operando.model import STATES


@dataclass(frozen=True, kw_only=True)
class State:
    """The electrochemical state of the cell at one frame; NaN and None where it is not covered."""

    time: np.datetime64
    voltage: float
    cycle: int | None
    half_cycle: int | None
    state: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to the sample."""

    kind: str
    """new_peak, departure, incomplete_return ..."""
    measurement: str
    """Node of the experiment: the name of the measurement in the recipe."""
    technique: str
    observable: str
    """The tracked number or, for spectra, the signal variable."""
    position: str
    """Spot or layer; empty when the measurement has only one."""
    onset: State
    onset_earliest: np.datetime64
    """The last frame that still looked like the reference."""
    onset_latest: np.datetime64
    """The first frame from which the change persists."""
    end: State | None = None
    """Where the change is gone again; None when it lasts to the last frame."""
    size: float
    size_sigma: float
    size_units: str
    score: float
    threshold: float
    calibration: str
    """What the threshold promises, and from what: the false-alarm rate in words."""
    evidence: tuple[int, ...]
    """Indices along time of the frames that carry the change."""
    controls: dict[str, str] = field(default_factory=dict)
    """Control -> "passed", "failed: ..." or "missing: ..."."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What only this kind has: line positions, areas, reference values; JSON-ready."""

    @property
    def identity(self) -> str:
        """A name that is the same in every run on the same data."""
        place = f"@{self.position}" if self.position else ""
        return f"{self.kind}:{self.measurement}{place}:{self.observable}:{self.onset.time}"

    def to_json(self) -> str:
        """One line of `events.jsonl`; not-a-number becomes null."""
        return json.dumps(_plain({"id": self.identity, **asdict(self)}), sort_keys=False)


def state_at(frames: xr.Dataset | xr.DataArray, index: int) -> State:
    """Return the electrochemical state that `align` gave to frame `index`."""
    names = {value: name for name, value in STATES.items()}

    def number(name: str) -> int | None:
        value = int(frames[name].values[index]) if name in frames.coords else -1
        return None if value < 0 else value

    covered = "voltage" in frames.coords
    return State(
        time=frames["time"].values[index],
        voltage=float(frames["voltage"].values[index]) if covered else float("nan"),
        cycle=number("cycle"),
        half_cycle=number("half_cycle"),
        state=names[int(frames["state"].values[index])] if "state" in frames.coords else "unknown",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.datetime64):
        return f"{np.datetime_as_string(value, unit='ms')}Z"
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
