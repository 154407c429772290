"""Every conversion of an instrument's stamps to UTC, and how its counter runs against them."""

from operando.clocks.counters import CounterFit, fit_counter
from operando.clocks.placing import (
    DAY,
    EARLIEST,
    EXPORT_SPAN,
    MTIME_RESOLUTION_S,
    SECOND,
    TOLERATED_OVERLAP,
    Array,
    Stamps,
    check_plausible,
    from_index,
    from_mtimes,
    intervals,
    localise,
    overlapping,
    stamps,
)

__all__ = [
    "DAY",
    "EARLIEST",
    "EXPORT_SPAN",
    "MTIME_RESOLUTION_S",
    "SECOND",
    "TOLERATED_OVERLAP",
    "Array",
    "CounterFit",
    "Stamps",
    "check_plausible",
    "fit_counter",
    "from_index",
    "from_mtimes",
    "intervals",
    "localise",
    "overlapping",
    "stamps",
]
