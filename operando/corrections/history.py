"""What was done to the frames of a series before they are measured, in order."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr


def recorded(frames: xr.Dataset, step: str, **parameters: Any) -> xr.Dataset:
    """Return `frames` with one more step in attrs["corrections"], a JSON list.

    >>> frames = recorded(recorded(xr.Dataset(), "absorption", mode="transmission"), "glitches")
    >>> frames.attrs["corrections"]
    '[{"step": "absorption", "mode": "transmission"}, {"step": "glitches"}]'
    """
    steps = json.loads(frames.attrs.get("corrections", "[]"))
    steps.append({"step": step, **parameters})
    return frames.assign_attrs(corrections=json.dumps(steps))
