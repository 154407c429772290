"""Whether the positions of a measurement tell the same story."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from operando.detect.event import Event

WHOLE_ELECTRODE = "whole electrode"
"""How `detail["scope"]` begins when every position shows the same change."""


def merge_positions(events: Sequence[Event], *, positions: Sequence[str]) -> list[Event]:
    """Note in each event of one detector whether the other positions show the same.

    Two events are the same change when kind, observable and sign agree and their onset intervals
    overlap. `detail["scope"]` becomes "whole electrode (all n positions agree)" when every
    position has it and all sizes agree within three sigma, "every position, sizes differ", or
    "n of m positions"; `detail["silent"]` names the positions without it. One position alone has
    no scope.
    """
    if len(positions) < 2:
        return list(events)
    return [_with_scope(event, events, positions) for event in events]


def _with_scope(event: Event, events: Sequence[Event], positions: Sequence[str]) -> Event:
    alike = [other for other in events if _same_change(event, other)]
    silent = [name for name in positions if name not in {other.position for other in alike}]
    if silent:
        scope = f"{len(positions) - len(silent)} of {len(positions)} positions"
    elif all(_same_size(one, other) for one, other in combinations(alike, 2)):
        scope = f"{WHOLE_ELECTRODE} (all {len(positions)} positions agree)"
    else:
        scope = "every position, sizes differ"
    return replace(event, detail={**event.detail, "scope": scope, "silent": silent})


def _same_change(one: Event, other: Event) -> bool:
    if (one.kind, one.measurement, one.observable) != (
        other.kind,
        other.measurement,
        other.observable,
    ):
        return False
    together = one.onset_earliest <= other.onset_latest and other.onset_earliest <= one.onset_latest
    return bool(together) and (one.size > 0) == (other.size > 0)


def _same_size(one: Event, other: Event) -> bool:
    return abs(one.size - other.size) <= 3 * math.hypot(one.size_sigma, other.size_sigma)
