"""Normalised quick-EXAFS spectra of ROCK and SAMBA (SOLEIL), text written by extranormal.

File structure: ``#`` lines (data files, ``#Time at start=``, ``#Time from start (seconds)=``,
temperature, how it was normalised), a last ``#`` line with the tab-separated names of the columns,
then blank-padded rows. Columns are found by name; ROCK writes ``shifted energy``, ``normalized``,
``reference`` (absorption of the foil), ``ref.derivative`` and ``I0``.

``Time at start`` is the start of the whole *run*, in local time without a zone; ``Time from start``
is added to it and gives the start of this spectrum. The duration of a spectrum, the element and the
edge are not in the file.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._numbers import ends_mid_line, rows
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]

STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?)")
COLUMNS = {
    "normalized": ("mu", {"units": "1", "normalised": 1}),
    "reference": ("mu_reference", {"units": "1", "long_name": "absorption of the reference foil"}),
    "i0": ("i0", {"units": "count"}),
}
"""Variables by the name of their column, in lower case."""


def read(file: File) -> xr.Dataset:
    """Read one spectrum.

    Returns
    -------
    `mu` (normalised by the beamline, attrs normalised = 1), `mu_reference`, `i0`, all
    (time 1, energy in eV), as far as the columns are there.

    Raises
    ------
    FormatError
        No column of energy or of normalised absorption, no time, energies that do not ascend, or a
        row that is not numbers.
    """
    text = file.read_text()
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if at == 0:
        raise FormatError(f"line 1: {text[:40]!r}; expected the '#' header of extranormal")
    names = [name.strip().lower() for name in lines[at - 1].lstrip("# ").split("\t")]
    table, truncated = rows(lines[at:], first=at + 1, mid_line=ends_mid_line(text))
    energy = _energy(names, table, line=at)
    metadata = _header(lines[: at - 1])
    elapsed = _seconds(metadata)
    dataset = xr.Dataset(
        {
            COLUMNS[name][0]: (("time", "energy"), table[None, :, column], COLUMNS[name][1])
            for column, name in enumerate(names)
            if name in COLUMNS
        },
        {
            "energy": ("energy", energy, {"units": "eV"}),
            "elapsed": ("time", [elapsed], {"units": "s"}),
        },
        {
            "technique": "xas",
            "instrument": "SOLEIL (extranormal)",
            "clock": clock(start=_start(metadata), zone=None, marks="start", source="header"),
            "original_metadata": metadata,
        },
    )
    if truncated:
        dataset.attrs["truncated"] = truncated
    return dataset


def _energy(names: list[str], table: Array, *, line: int) -> Array:
    axes = [name for name in names if name in ("shifted energy", "energy")]
    if len(names) != table.shape[1] or not axes or "normalized" not in names:
        raise FormatError(
            f"line {line}: columns {names}, {table.shape[1]} in the rows; expected 'shifted "
            "energy' and 'normalized' among tab-separated names"
        )
    energy = np.asarray(table[:, names.index(axes[0])])
    if not np.all(np.diff(energy) > 0):
        at = int(np.flatnonzero(~(np.diff(energy) > 0))[0])
        raise FormatError(f"energy: {energy[at]:g} is followed by {energy[at + 1]:g}; must ascend")
    return energy


def _header(lines: list[str]) -> dict[str, str | float]:
    """Return ``key=value`` and ``key: value`` lines as they are, and the remaining lines as one."""
    found: dict[str, str | float] = {}
    rest = []
    for line in lines:
        body = line.lstrip("# ").rstrip()
        key, equals, value = body.partition("=")
        if not equals:
            key, equals, value = body.partition(": ")
        if equals and key.strip() not in found:
            found[key.strip()] = value.strip()
        else:
            rest.append(body)
    return {**found, "comments": "\n".join(rest)}


def _start(metadata: dict[str, str | float]) -> str:
    text = str(metadata.get("Time at start", ""))
    match = STAMP.fullmatch(text)
    if not match:
        raise FormatError(f"Time at start: {text!r}; expected YYYY-MM-DD HH:MM:SS.fff")
    return f"{match[1]}T{match[2]}"


def _seconds(metadata: dict[str, str | float]) -> float:
    """Return the seconds from the start of the run to this spectrum."""
    text = str(metadata.get("Time from start (seconds)", ""))
    try:
        seconds = float(text)
    except ValueError:
        seconds = np.nan
    if not np.isfinite(seconds):
        # Without it every spectrum of a run would carry the time of the first.
        raise FormatError(f"Time from start (seconds): {text!r}; expected a number")
    return seconds


def sniff(head: bytes, name: str) -> bool:
    """Whether the head has the run clock of extranormal."""
    return head.startswith(b"#") and b"#Time at start=" in head and b"#Data from HDF File" in head


READER = Reader(
    technique="xas",
    suffixes=(".txt",),
    sniff=sniff,
    read=read,
    description="ROCK and SAMBA (SOLEIL) normalised spectra, text by extranormal",
)
