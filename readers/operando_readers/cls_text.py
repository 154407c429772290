"""Energy scans of the Canadian Light Source (HXMA, 06ID-1), text by its data acquisition.

File structure: ``# CLS Data Acquisition``; for every kind of event two lines ``#(1)`` with quoted
names, tab-separated: the PVs, and below them what the scan calls them (``"$(Detector1)"``); a line
``# Background counts time=0(x .1 microseconds), 0, 0, 0, 0, 11867.000, 5.0000, 5.0000``; then rows
whose first number is the kind of event, separated by commas. Rows of another kind than 1 are left
out. Seen: one file.

Clock: there is no date in the file; a log must give the time. The dwell is (ms), its sum is the
exposure.

Energy, in eV: ``$(EnergyAchieved)``, the PV that ends in ``Energy:sp``, as Athena takes it; else
``$(EnergyFeedback)``, else ``$(AbsEnergyName)``.

Counters: at HXMA the scaler channels ``mcs03`` to ``mcs06`` are the fluorescence chamber (Lytle),
I0, It and Iref; this is the station's wiring, not written in the file, so check it and name the
columns by their PV or by ``Detector1`` .. where it is another. Readings are counts as they were;
a background that was measured (time not 0) is told in attrs `doubts`, not subtracted.

Uncertainty: none in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._named_scan import (
    NO_CLOCK,
    EnergyUnit,
    columns_of,
    counters,
    electronvolts,
    first_of,
    scan,
)
from operando_readers._numbers import ends_mid_line
from operando_readers._reader import File, FormatError, Reader
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]

FIRST = re.compile(r"#\s*CLS Data Acquisition")
EVENT = "1"
"""The kind of event that is a point of the scan."""
BACKGROUND = re.compile(
    r"^#\s*Background counts time=\s*(\d{1,12})\s*\(x \.1 microseconds\)"
    r"((?:,\s*-?\d{1,12}(?:\.\d*)?){4}),\s*(\d{1,7}(?:\.\d*)?)",
    re.MULTILINE,
)
ENERGY = ("EnergyAchieved", "EnergyFeedback", "AbsEnergyName", ".*Energy:sp", ".*Energy")
WIRING = {"fluorescence": "mcs03", "i0": "mcs04", "i1": "mcs05", "iref": "mcs06"}


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
        Columns, by their PV or by what the scan calls them (``Detector2``); several for
        fluorescence are added. None takes the wiring of HXMA; "" leaves the counter out.
    energy_unit
        Of the axis, where its name does not tell; eV otherwise.

    Returns
    -------
    `mu`, `mu_fluorescence`, `mu_reference` as far as they can be made, the counters and `dwell`
    (s), all (time 1, energy in eV); attrs `e0_ev`. The clock has no start.

    Raises
    ------
    FormatError
        Not such a file, or no columns of energy or to make absorption of.
    """
    header, columns, truncated = _open(file)
    axis = first_of(columns, *ENERGY)
    if axis is None:
        raise FormatError(f"columns: {list(columns)}; no energy")
    found = counters(
        columns,
        usual={role: first_of(columns, f".*:{channel}:.*") for role, channel in WIRING.items()},
        asked={"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence},
        energy=axis,
    )
    dwell = first_of(columns, "acqDwellmSec", ".*:mcs:delay")
    edge, doubts = _edge(header)
    return scan(
        electronvolts(columns[axis], what=axis, unit=energy_unit),
        found,
        dwell=None if dwell is None else columns[dwell] / 1000.0,
        clock=NO_CLOCK,
        instrument="CLS HXMA" if any("BL1606-ID" in name for name in columns) else "CLS",
        header=header,
        truncated=truncated,
        doubts=doubts,
        e0_ev=edge,
    )


def _open(file: File) -> tuple[str, dict[str, Array], str | None]:
    """Return the header, the columns by both their names, and why the last row was left out."""
    text = file.read_text()
    lines = text.split("\n")
    if FIRST.match(lines[0]) is None:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected '# CLS Data Acquisition'")
    pvs, called = _names(lines)
    # Blanked rather than removed: line numbers in messages stay true.
    points = [line if line.partition(",")[0].strip() == EVENT else "" for line in lines]
    mid_line = ends_mid_line(text) and bool(points[-1])
    table, truncated = columns_of(points, pvs, first=1, mid_line=mid_line, delimiter=",")
    aliases = {name: table[pv] for name, pv in zip(called, pvs, strict=False)}
    header = "\n".join(line for line in lines if line.startswith("#"))
    return header, {**table, **aliases}, truncated


def _names(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the PVs of the columns, and what the scan calls them."""
    found: list[list[str]] = []
    for line in lines:
        if line.startswith(f"#({EVENT})"):
            names = [
                name.removeprefix("$(").removesuffix(")") for name in re.findall('"(.*?)"', line)
            ]
            if names not in found:
                found.append(names)
    if not found or len(found) > 2 or len(set(found[0])) < len(found[0]):
        raise FormatError(
            f"header: {len(found)} different lines of names '#({EVENT})'; expected one of PVs and "
            "one of what they are called"
        )
    return found[0], found[-1]


def _edge(header: str) -> tuple[float | None, list[str]]:
    """Return the edge energy the scan was set up for, and what is to be said of the background."""
    match = BACKGROUND.search(header)
    if match is None:
        return None, []
    seconds = int(match[1]) * 1e-7
    said = f"background counts{match[2]} in {seconds:g} s are not subtracted"
    return float(match[3]), [said] if seconds > 0 else []


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line is that of the acquisition."""
    return FIRST.match(text_of(head[:200])) is not None


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="Canadian Light Source (HXMA) energy scans, text",
)
