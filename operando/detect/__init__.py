"""From observables to events: what changed, when, and how sure we are."""

from operando.detect.changes import departures
from operando.detect.event import Event, State, state_at
from operando.detect.findings import Findings
from operando.detect.new_peaks import new_peaks
from operando.detect.positions import merge_positions
from operando.detect.returns import incomplete_returns

__all__ = [
    "Event",
    "Findings",
    "State",
    "departures",
    "incomplete_returns",
    "merge_positions",
    "new_peaks",
    "state_at",
]
