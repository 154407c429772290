"""What a detector returns: its events, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from operando.detect.event import Event


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a detector found, and what its silence is worth."""

    events: list[Event]
    status: str
    """"calibrated: ..." or "not calibrated: <reason>"."""
    areas: xr.Dataset | None = None
    """New numbers on time that the detector brought along."""
