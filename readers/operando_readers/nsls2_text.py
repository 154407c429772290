"""Quick scans of NSLS-II QAS (7-BM) and ISS (8-ID), binned, as text; foils of the QAS library.

File structure: ``# Key: value`` lines (facility, beamline, ``Start time``, ``Stop time``, element,
edge, E0), a last ``#`` line with the names of the columns, then rows. Columns are found by name,
as the beamlines order them differently (QAS ``energy i0 it ir iff``, ISS ``energy i0 ir it iff``):
``i0``, ``it`` behind the sample, ``ir`` behind the reference foil, ``iff`` fluorescence; others are
not read. Energies are in eV.

The foils of the QAS library are merged scans with calibrated energies: one line ``# energy mu
dmude``, then rows; nothing says when, where or of which element.

Clock: start and stop in US order (month first), local, without zone; their difference is the
exposure.

What is done to the data: the bins are weighted means, and where no point of the scan fell into a
bin its counters are the far tail of the weights (1e-90). Points with less than a millionth of the
largest I0 are no measurement: at the ends they are dropped, and counted in attrs
``points_dropped``; between measured ones they are NaN. A current amplifier that inverts makes a
counter negative: those that are at nine of ten points are turned over, and attrs ``inverted`` names
them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import spectrum
from operando_readers._edges import check_ev, edge_of, symbol_of, symbol_of_number
from operando_readers._named_scan import columns_of, lasted, started
from operando_readers._numbers import ends_mid_line
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]

COUNTERS = {"i0": "i0", "it": "i1", "ir": "iref", "iff": "fluorescence"}
"""Our counters by the names of their columns."""
LIBRARY = ["energy", "mu", "dmude"]
LEAST_WEIGHT = 1e-6
INVERTED = 0.9
"""More than this part of the readings of an inverting amplifier is negative, whatever glitches."""
ATOMIC_NUMBER = re.compile(r"\(\s*(\d{1,3})\s*\)")


def read(file: File) -> xr.Dataset:
    """Read one scan.

    Returns
    -------
    `mu`, `mu_reference`, `mu_fluorescence`, `i0`, `i1`, `iref` and `fluorescence` as far as the
    columns are there, all (time 1, energy in eV); `mu` alone of a foil of the library.

    Raises
    ------
    FormatError
        No header or no column that is needed, no time or one that is no date, no measurement, or a
        row that is not numbers; names the line or key.
    """
    text = file.read_text()
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if at == 0:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected '#' lines")
    names = lines[at - 1].replace("#", " ").split()
    column, truncated = columns_of(lines[at:], names, first=at + 1, mid_line=ends_mid_line(text))
    if "energy" not in column:
        raise FormatError(f"line {at}: columns {names}; expected 'energy' among them")
    check_ev(column["energy"], what="column 'energy'")
    if names == LIBRARY:
        return _foil(column, truncated)
    metadata = _header(lines[: at - 1])
    missing = [name for name in ("i0", "it", "iff") if name not in column]
    if "i0" in missing or len(missing) == 2:
        raise FormatError(f"line {at}: columns {names}; expected i0 with it or iff")
    energy, counters, dropped = _measured(column)
    return spectrum(
        energy,
        counters,
        **_when(metadata),
        instrument=f"{metadata.get('Facility', '')} {metadata.get('Beamline', '')}".strip(),
        metadata=metadata,
        points_dropped=dropped,
        inverted=", ".join(_turned_over(counters)) or None,
        element=_element(metadata.get("Element", "")),
        edge=edge_of(metadata.get("Edge", "")),
        reference_element=_element(metadata.get("Reference Foil Element", "")),
        truncated=truncated,
    )


def _foil(column: dict[str, Array], truncated: str | None) -> xr.Dataset:
    return spectrum(
        column["energy"],
        {"mu": column["mu"]},
        clock=clock(start=None, zone=None, marks="start", source="none"),
        instrument="NSLS-II QAS (library of foils)",
        metadata={"columns": " ".join(LIBRARY)},
        truncated=truncated,
    )


def _header(lines: list[str]) -> dict[str, str]:
    """Return the ``# Key: value`` lines; of a key that comes twice the values of both."""
    found: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.lstrip("# ").partition(":")
        if colon:
            key = key.strip()
            found[key] = f"{found[key]}; {value.strip()}" if key in found else value.strip()
    return found


def _measured(column: dict[str, Array]) -> tuple[Array, dict[str, Array], int]:
    """Return energies and counters without the bins at the ends that hold no measurement."""
    i0 = np.abs(column["i0"])
    hit = i0 > LEAST_WEIGHT * np.max(i0, where=np.isfinite(i0), initial=0.0)
    if not hit.any():
        raise FormatError("i0: no reading other than zero; nothing was measured")
    first, last = np.flatnonzero(hit)[[0, -1]]
    part = slice(first, last + 1)
    counters = {
        ours: np.where(hit, column[name], np.nan)[part]
        for name, ours in COUNTERS.items()
        if name in column
    }
    return column["energy"][part], counters, int(hit.size - (last + 1 - first))


def _turned_over(counters: dict[str, Array]) -> list[str]:
    """Make counters positive that are negative but for glitches; return which were not."""
    inverted = []
    for name, values in counters.items():
        finite = values[np.isfinite(values)]
        if finite.size and np.mean(finite < 0) > INVERTED:
            counters[name] = -values
            inverted.append(name)
    return inverted


def _when(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the clock, the exposure and what is doubtful about them."""
    clocks = []
    for key in ("Start time", "Stop time"):
        text = metadata.get(key, "")
        if not text:
            raise FormatError(f"{key}: missing; expected MM/DD/YYYY hh:mm:ss")
        clocks.append(started(text, what=key, date_order="mdy"))
    start, stop = clocks
    seconds, doubts = lasted(start["start"], stop["start"], what="Stop time")
    return {"clock": start, "exposure": seconds or None, "doubts": "; ".join(doubts) or None}


def _element(text: str) -> str | None:
    """Return the symbol from "As" or "Molybdenum ( 42)"."""
    match = ATOMIC_NUMBER.search(text)
    return symbol_of_number(int(match[1])) if match else symbol_of(text)


def sniff(head: bytes, name: str) -> bool:
    """Whether the head is that of a scan of QAS or ISS, or of a foil of the library."""
    if head.startswith(b"# energy mu dmude"):
        return True
    return re.match(rb"# Facility:\s*NSLS-II\s+# Beamline:", head) is not None and (
        re.search(rb"^#[# ]*energy\s+i0\s", head, re.MULTILINE) is not None
    )


READER = Reader(
    technique="xas",
    suffixes=(".dat", ".txt"),
    sniff=sniff,
    read=read,
    description="NSLS-II QAS and ISS quick scans, binned, as text",
)
