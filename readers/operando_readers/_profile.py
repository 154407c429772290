"""A profile: what the export of one make of cycler looks like, and how a log is read by it.

A profile says how its table is recognised, which columns mean what, in which units, what the words
of its state column mean, which sign its current has, and what its dates look like. The units stand
in the names of the columns ("Current/mA", "Voltage (V)", "I[A]", "Test Time / s"); a name without
unit has the one the profile states for it, or none, and then the caller must say it.

Columns a profile does not place are not read; `original_metadata` lists them, and keeps the lines
above the table and below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from operando_readers._reader import FormatError
from operando_readers._stamps import DateOrder
from operando_readers._table import MISSING
from operando_readers._units import CHARGE, CURRENT, POTENTIAL, TIME

LONGEST_LABEL = 200
SCALES: dict[str, Mapping[str, float]] = {
    ours: {unit.lower(): factor for unit, factor in units.items()}
    for ours, units in {
        "elapsed": TIME,
        "unix": TIME,
        "voltage": POTENTIAL,
        "current": CURRENT,
        **dict.fromkeys(("charge", "discharge", "capacity", "net"), CHARGE),
    }.items()
}
"""Units in lower case: exports of one cycler spell "mAh", "MAh" and "mah"."""
COUNTS = ("step", "cycle")
LABEL = re.compile(r"~?\s*(.*?)\s*(?:[(\[]\s*([^()\[\]]*?)\s*[)\]]|/\s*([^/]+?))?\.?\s*")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What the export of one make of cycler looks like."""

    instrument: str
    sign: Literal["oxidation_positive", "oxidation_negative", "unsigned", "unknown"]
    header: re.Pattern[str]
    """Found in the line of column names (joined by tabs for a worksheet)."""
    columns: Mapping[str, Mapping[str, str | None]]
    """Ours -> {quantity in lower case with blanks: its unit where the name states none}, in order
    of preference. Ours are elapsed, stamp, unix, voltage, current, charge and discharge, net,
    capacity, step, cycle, state; columns under other names are kept for the reader."""
    needs: tuple[tuple[str, ...], ...] = (("voltage", "elapsed"), ("voltage", "stamp"))
    """Alternatives of what must be among the columns."""
    above: re.Pattern[str] | None = None
    """Found in the lines above the names."""
    start: re.Pattern[str] | None = None
    """Where the lines above say when the test began (group 1)."""
    usual: DateOrder | None = None
    states: Mapping[str, str] = field(default_factory=dict)
    skip: re.Pattern[str] | None = None
    """Lines in the table that are no rows."""
    delimiters: tuple[str, ...] = ("\t", ";", ",")
    missing: tuple[str, ...] = MISSING
    legacy: str = "latin-1"
    unnamed: bool = False
    """Rows may hold more fields than there are names."""
    sheets: re.Pattern[str] | None = None
    """Names of worksheets with rows; group 1, where there is one, is the channel."""


def split_label(label: str) -> tuple[str, str | None]:
    """Return the quantity of a column in lower case with blanks, and its unit.

    >>> split_label("Test_Time(s)"), split_label("WE(1).Current (A)"), split_label("State")
    (('test time', 's'), ('we(1).current', 'A'), ('state', None))
    """
    match = LABEL.fullmatch(label) if len(label) <= LONGEST_LABEL else None
    if match is None:
        return label.lower(), None
    quantity = re.sub(r"[\s_\-]+", " ", match[1]).strip().lower()
    return quantity, match[2] or match[3] or None


def place(names: Sequence[str], profile: Profile) -> dict[str, int]:
    """Return ours -> number of the column that holds it.

    Raises
    ------
    FormatError
        The name that is preferred stands over several columns.
    """
    quantities = [split_label(name)[0] for name in names]
    places = {}
    for ours, known in profile.columns.items():
        for quantity in known:
            if quantities.count(quantity) > 1:
                several = [name for name, q in zip(names, quantities, strict=True) if q == quantity]
                raise FormatError(f"columns: {several} are all {ours}; export one of them")
            if quantity in quantities:
                places[ours] = quantities.index(quantity)
                break
    return places
