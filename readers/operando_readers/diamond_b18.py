"""Scans of Diamond B18 (Core XAS), text by GDA.

No real file was at hand: this is written from what is published of the format (Athena's B18
plugin; ixdat's reader, tested by its authors on real files; GDA's own writer and its averaging
tool) and tested on a file made after them.

File structure: ``#`` lines, ``Diamond`` in the first and ``B18-CORE XAS`` in the second, ``Date:
Fri, 13 May 2022 19:21:24 BST``, sample, dark currents; a last ``#`` line of tab-separated names,
``qexafs_energy  time  I0  It  Iref  lnI0It  lnItIref``, then where the germanium detector was in
use 36 numbered elements, ``FF`` and ``QexafsFFI0``; then rows of numbers.

Clock: the date carries the name of its zone, BST (+01:00) or GMT. GDA writes the header when the
first data arrive: it marks the start. The sum of ``time``, the dwell in s, is the exposure.

Energy: ``qexafs_energy``, ``bragg1WithOffset``, ``Energy`` or any name that ends so; eV.

Counters: ``I0``, ``It``, ``Iref``, whose dark currents GDA has subtracted. `fluorescence` is
``FF``, GDA's own sum over the detector, else the sum of the numbered columns (the largest set of
names that differ by a number alone); where only ``QexafsFFI0`` or ``FFI0`` is there, it is
`mu_fluorescence` as it stands. Absorption is made of the counters; ``lnI0It`` and ``lnItIref``
stand in for them in files that hold no counters.

Uncertainty: none in the file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._named_scan import (
    NO_CLOCK,
    Counters,
    EnergyUnit,
    Named,
    columns_of,
    counters,
    electronvolts,
    first_of,
    scan,
    started,
)
from operando_readers._numbers import ends_mid_line
from operando_readers._reader import File, FormatError, Reader
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]

DATE = re.compile(r"^#.*?\bDate:[ \t]*(?:[A-Za-z]{3,9},[ \t]*)?(.*)$", re.MULTILINE)
ZONES = {"BST": "+01:00", "GMT": "+00:00", "UTC": "+00:00"}
"""Clocks of Britain; B18 has no other."""
RATIO = ("QexafsFFI0", "VortexQexafsFFI0", r"FF/?I0")
NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


def read(
    file: File,
    *,
    i0: str | None = None,
    i1: str | None = None,
    iref: str | None = None,
    fluorescence: str | Sequence[str] | None = None,
    energy_unit: EnergyUnit | None = None,
) -> xr.Dataset:
    """Read one scan.

    Parameters
    ----------
    i0, i1, iref, fluorescence
        Columns, by their names; several for fluorescence are added. None takes the usual ones, see
        above; "" leaves the counter out.
    energy_unit
        Of the axis, where its name does not tell; eV otherwise.

    Returns
    -------
    `mu`, `mu_fluorescence`, `mu_reference` as far as they can be made, the counters and `dwell`
    (s), all (time 1, energy in eV).

    Raises
    ------
    FormatError
        Not such a file, a date that is none or of another zone, or no columns of energy or to make
        absorption of.
    """
    text = file.read_text()
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    header = "\n".join(lines[:at])
    if not _is_b18(header):
        raise FormatError(
            f"line 1: {lines[0][:40]!r}; expected 'Diamond' here and 'B18-CORE XAS' in line 2"
        )
    names = _names(lines[at - 1])
    columns, truncated = columns_of(lines[at:], names, first=at + 1, mid_line=ends_mid_line(text))
    axis = first_of(columns, "qexafs_energy", "bragg1WithOffset", r"energy.*", r".*energy")
    if axis is None:
        raise FormatError(f"columns: {names}; no energy")
    asked = {"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence}
    found, made = _made(columns, axis, asked)
    dwell = first_of(columns, "time")
    return scan(
        electronvolts(columns[axis], what=axis, unit=energy_unit),
        found,
        made=made,
        dwell=None if dwell is None else columns[dwell],
        clock=_clock(header),
        instrument="Diamond B18",
        header=header,
        truncated=truncated,
    )


def _names(line: str) -> list[str]:
    body = line.lstrip("#").strip()
    return [name.strip() for name in body.split("\t")] if "\t" in body else body.split()


def _made(
    columns: Mapping[str, Array], axis: str, asked: Mapping[str, Named]
) -> tuple[Counters, dict[str, Array]]:
    """Return the counters, and the absorption that must be taken as the file has it."""
    usual: dict[str, Named] = {
        "i0": first_of(columns, "I0"),
        "i1": first_of(columns, "It", "I1"),
        "iref": first_of(columns, "Iref"),
        "fluorescence": first_of(columns, "FF") or _elements(columns),
    }
    made = {
        "mu": first_of(columns, "lnI0It"),
        "mu_reference": first_of(columns, "lnItIref"),
        "mu_fluorescence": first_of(columns, *RATIO),
    }
    kept = {name: columns[column] for name, column in made.items() if column is not None}
    try:
        found = counters(columns, usual=usual, asked=asked, energy=axis)
    except FormatError:
        if any(asked.values()) or not {"mu", "mu_fluorescence"} & set(kept):
            raise
        return Counters({}, {}), kept
    from_file = {"mu_fluorescence"} if "fluorescence" not in found.readings else set()
    if asked["fluorescence"] is not None:
        from_file = set()
    return found, {name: values for name, values in kept.items() if name in from_file}


def _elements(columns: Mapping[str, Array]) -> list[str]:
    """Return the largest set of at least two columns whose names differ by a number alone."""
    sets: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name in columns:
        match = NUMBERED.fullmatch(name)
        if match is not None:
            sets[match[1], match[3]].append(name)
    largest = max(sets.values(), key=len, default=[])
    return largest if len(largest) > 1 else []


def _clock(header: str) -> dict[str, Any]:
    match = DATE.search(header)
    if match is None:
        return dict(NO_CLOCK)
    text = match[1].strip()
    stamp, _, zone = text.rpartition(" ")
    if zone not in ZONES:
        raise FormatError(f"Date: {text[:40]!r}; expected a date, a time and BST or GMT")
    return started(f"{stamp} {ZONES[zone]}", what="Date")


def _is_b18(header: str) -> bool:
    lines = header.split("\n", 2)
    return len(lines) > 1 and "Diamond" in lines[0] and "B18-CORE XAS" in lines[1]


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line names Diamond and the second B18."""
    return head.startswith(b"#") and _is_b18(text_of(head[:1000]))


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="Diamond B18 (GDA) scans, text; written without a real file at hand",
)
