"""Scans of APS 9-BM, 20-BM and 20-ID (PNC, XSD), written by the LabVIEW control panel.

File structure: ``#`` lines, of which the first is ``# 1-D Scan File created by LabVIEW Control
Panel  6/15/2018  8:14:19 PM; Scan time 0 hrs 10 min 2 sec.`` (2001: ``created  8/10/01  11:10 AM
by LabVIEW Control Panel``, no duration), sections (beamline, scan regions with E0 and the number
of points, amplifiers, slits, motors, PVs), and a last line of names, each 21 characters wide; then
rows of numbers. Positioners end in ``*``; what is recorded of the energy is its readback.

Clock: the date, US order, local, without zone. It is taken for the start. What speaks for it: the
word "created", and the XAS Data Library, which publishes the stamp of APS20BM_2001 as start_time of
that spectrum. The header is completed after the scan (it holds the duration, and voltages at the
end), so a beamline where the stamp is the end is possible: then say ``stamp="end"`` when reading.

Counters: readings are counts less the dark reading times the dwell already (an unlit chamber reads
-849.4 at 1 s and -1399.87 at 1.648 s). I0, IT/It/I1, Iref and If are found by name, also with what
a station adds (``PreKB-I0``, ``It-32``). Fluorescence of an energy-dispersive detector is its sum
over the elements, ``XMAP4:AsKa_Sum``; of several lines the one whose edge is within 50 eV of E0.
Where ``DT Corr I0`` of the same detector counts, which is I0 times the live part of the time,
`fluorescence` is divided by that part (its attrs say so).
A chamber that no beam reached is left out (attrs `left_out`), unless the user names it.

Uncertainty: none in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._named_scan import (
    Counters,
    EnergyUnit,
    Named,
    counters,
    electronvolts,
    first_of,
    named,
    scan,
    started,
)
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._reader import File, FormatError, Reader
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]

WIDTH = 21
"""Characters of a name in the last line of the header, and of a number in the rows."""
FIRST = re.compile(r"#\s*1-D Scan File created\b.*LabVIEW Control Panel")
STAMP = re.compile(r"created\s+(?:by LabVIEW Control Panel\s+)?(.*?)(?:;|by LabVIEW|$)")
DURATION = re.compile(r"Scan time\s+(\d{1,4})\s*hrs\s+(\d{1,2})\s*min\s+(\d{1,2})\s*sec")
EDGE = re.compile(r"^#\s*E0:\s*(\d{1,7}(?:\.\d*)?)\s*eV(?:\s+(\d{1,7})\s*points)?", re.MULTILINE)
BEAMLINE = re.compile(r"^#\s*Beamline\s+(\S.*)$", re.MULTILINE)
LINE = re.compile(r"(?P<detector>.*?):*(?P<element>[A-Z][a-z]?)(?P<shell>[KL])[abg]\d?_Sum")
SAME_EDGE = 50.0
"""eV between the edge of an element and E0 up to which its line is meant."""
SHELLS = {"K": ("K",), "L": ("L3", "L2", "L1")}


class _Header(NamedTuple):
    text: str
    names: list[str]
    e0: float | None
    points: int | None


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
        Columns, by their names without ``*``; several for fluorescence are added. None takes what
        this beamline usually means, see above; "" leaves the counter out.
    energy_unit
        Of the axis, where neither its name nor E0 tells; eV otherwise.

    Returns
    -------
    `mu` and what else can be made of the counters, the counters and `dwell` (s), all
    (time 1, energy in eV); attrs `e0_ev`. Exposure is the scan time in the header, else the sum of
    the dwells.

    Raises
    ------
    FormatError
        Not such a file, a date that is none, a scan of something else than energy, or no columns
        to make absorption of.
    """
    header, columns, truncated = _open(file)
    axis = first_of(columns, r"mono energy.*", r"energy.*")
    if axis is None:
        raise FormatError(f"columns: {list(columns)}; no 'Mono Energy', not a scan of energy")
    asked = {"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence}
    usual, several = _usual(columns, header.e0)
    remarks = [several] if several and fluorescence is None else []
    found = counters(columns, usual=usual, asked=asked, energy=axis, remarks=remarks)
    live = _corrected(found, columns)
    dwell = first_of(columns, "scaler preset time", "sis scaler time.*")
    beamline = BEAMLINE.search(header.text)
    dataset = scan(
        electronvolts(columns[axis], what=axis, unit=energy_unit, e0=header.e0),
        found,
        dwell=None if dwell is None else columns[dwell],
        exposure=_seconds(header.text),
        clock=started(_stamp(header.text), what="line 1", date_order="mdy"),
        instrument=f"APS {beamline[1].rstrip()}" if beamline else "APS (LabVIEW control panel)",
        header=header.text,
        points=header.points,
        truncated=truncated,
        e0_ev=header.e0,
    )
    if live is not None:
        dataset["fluorescence"].attrs["dead_time"] = f"corrected by {live}"
    return dataset


def _open(file: File) -> tuple[_Header, dict[str, Array], str | None]:
    """Return the header, the columns by name, and why the last row was left out."""
    text = file.read_text()
    lines = text.split("\n")
    at = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if FIRST.match(lines[0]) is None:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected '# 1-D Scan File created ...'")
    table, truncated = rows(lines[at:], first=at + 1, mid_line=ends_mid_line(text))
    header = _header(lines[:at], columns=table.shape[1])
    return header, named(header.names, table), truncated


def _header(lines: Sequence[str], *, columns: int) -> _Header:
    text = "\n".join(lines)
    last = lines[-1][1:].ljust(columns * WIDTH)
    names = [last[at * WIDTH : (at + 1) * WIDTH].strip(" *") for at in range(columns)]
    if not all(names) or last[columns * WIDTH :].strip():
        raise FormatError(
            f"line {len(lines)}: not {columns} names of {WIDTH} characters, as many as columns"
        )
    edge = EDGE.search(text)
    return _Header(
        text, names, float(edge[1]) if edge else None, int(edge[2]) if edge and edge[2] else None
    )


def _stamp(header: str) -> str:
    match = STAMP.search(header.split("\n", 1)[0])
    return match[1] if match else ""


def _seconds(header: str) -> float | None:
    """Return the duration of the scan; the panel also writes 12 min 60 sec."""
    match = DURATION.search(header.split("\n", 1)[0])
    if match is None:
        return None
    hours, minutes, seconds = (int(number) for number in match.groups())
    return hours * 3600.0 + minutes * 60.0 + seconds


def _usual(columns: Mapping[str, Array], e0: float | None) -> tuple[dict[str, Named], str]:
    """Return the columns of each counter, and what has to be chosen of several lines."""
    lines = {name: match for name in columns if (match := LINE.fullmatch(name))}
    line, several = _line_of(lines, e0)
    found: dict[str, Named] = {
        "i0": first_of(columns, r"i0", r"i0-\d+", r"pre-?kb[- ]i0"),
        "i1": first_of(columns, r"i[t1]", r"i[t1]-\d+"),
        "iref": first_of(columns, r"i(?:ref|r)", r"iref(?:-\d+| \(cal\))"),
        "fluorescence": line or (None if lines else first_of(columns, r"if", r"if-\d+")),
    }
    return found, several


def _line_of(lines: Mapping[str, re.Match[str]], e0: float | None) -> tuple[str | None, str]:
    """Return the fluorescence line of the edge that was scanned."""
    if len(lines) < 2:
        return next(iter(lines), None), ""
    off = {name: _off_edge(match, e0) for name, match in lines.items()} if e0 is not None else {}
    nearest = min(off, key=lambda name: off[name], default=None)
    if nearest is not None and off[nearest] <= SAME_EDGE:
        return nearest, ""
    return None, f"fluorescence: one of {list(lines)}; name it"


def _off_edge(line: re.Match[str], e0: float) -> float:
    import xraydb  # half a second, needed only where a detector has several lines

    try:
        edges = xraydb.xray_edges(line["element"])
    except ValueError:  # two letters that are no element
        return np.inf
    energies = [edges[shell].energy for shell in SHELLS[line["shell"]] if shell in edges]
    return min((abs(energy - e0) for energy in energies), default=np.inf)


def _corrected(found: Counters, columns: Mapping[str, Array]) -> str | None:
    """Divide the fluorescence by the live part of the time, where the detector recorded it."""
    names = found.columns.get("fluorescence", "").split(" + ")
    matches = [LINE.fullmatch(name) for name in names]
    detectors = {match["detector"] for match in matches if match is not None}
    if None in matches or len(detectors) != 1:
        return None
    live = first_of(columns, re.escape(detectors.pop()) + r":*DT Corr I0")
    if live is None or not np.nanmin(columns[live], initial=np.inf) > 0:
        return None
    counts, monitor = found.readings["fluorescence"], found.readings["i0"]
    found.readings["fluorescence"] = counts * monitor / columns[live]
    return live


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line is that of the control panel."""
    return FIRST.match(text_of(head[:400])) is not None


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="APS 9-BM, 20-BM, 20-ID (XSD) scans by the LabVIEW control panel",
)
