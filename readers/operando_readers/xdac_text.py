"""Scans of NSLS (X-23A2 and others), text by XDAC.

File structure: ``XDAC V1.4 Datafile V1``; ``"name" created on 6/27/11 at 2:22:40 PM on X-23A2``;
crystal and ring, ``E0=``, regions (see `_region_scan`), settling time, offsets, gains; lines of
comment; dashes; names; rows.

Clock: the date above, US order, local, without zone, when the file was opened, so the start. The
exposure is the counting time of all points (``IntTime``, else by their regions) and the settling
time, without the time the monochromator moved.

Readings are counts less the dark reading times the counting time: in the real file reading +
``Offsets`` times ``IntTime`` is an integer.

Counters: ``I0``; ``It``; ``Iref`` (behind the foil). Fluorescence is the sum of ``Ifch1`` ..., the
elements of the detector in the window of the line, not corrected for dead time: for that
``Ifslow`` and ``Iffast`` of each, all it saw in its slow and fast channel, would be needed. Bad
elements are left out by naming the good ones. Energy in eV.

Uncertainty: none in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

from operando_readers._named_scan import (
    EnergyUnit,
    counters,
    electronvolts,
    first_of,
    scan,
    started,
)
from operando_readers._reader import File, FormatError, Reader
from operando_readers._region_scan import opened

FIRST = re.compile(r"XDAC V\d")
CREATED = re.compile(r"\".{0,300}\" created on (\S{6,10}) at (\S{5,8} [AP]M)(?: on (.{1,40}?))?\s*")
ELEMENT = re.compile(r"Ifch\d+", re.IGNORECASE)


def read(
    file: File,
    *,
    i0: str | Sequence[str] | None = None,
    i1: str | Sequence[str] | None = None,
    iref: str | Sequence[str] | None = None,
    fluorescence: str | Sequence[str] | None = None,
    energy_unit: EnergyUnit | None = None,
) -> xr.Dataset:
    """Read one scan.

    Parameters
    ----------
    i0, i1, iref, fluorescence
        Columns; several of one counter are added. None takes the usual ones, see above; "" leaves
        the counter out.
    energy_unit
        Of the axis, where E0 does not tell; eV otherwise.

    Returns
    -------
    `mu` and what else can be made of the counters, the counters and `dwell` (s), all
    (time 1, energy in eV); attrs `e0_ev`.

    Raises
    ------
    FormatError
        Not such a file, a date that is none, or no columns of energy or to make absorption of.
    """
    parts = opened(file, first=FIRST, what="'XDAC V1.4 Datafile V1'")
    columns = parts.columns
    axis = first_of(columns, "energy")
    if axis is None:
        raise FormatError(f"columns: {list(columns)}; no 'Energy'")
    elements = [name for name in columns if ELEMENT.fullmatch(name)]
    found = counters(
        columns,
        usual={
            "i0": first_of(columns, "i0"),
            "i1": first_of(columns, "it"),
            "iref": first_of(columns, "iref", "ir"),
            "fluorescence": elements or first_of(columns, "if"),
        },
        asked={"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence},
        energy=axis,
    )
    energy = electronvolts(columns[axis], what=axis, unit=energy_unit, e0=parts.e0)
    counted = first_of(columns, "inttime")
    dwell = parts.dwell(energy) if counted is None else columns[counted]
    created = CREATED.fullmatch(parts.header[1] if len(parts.header) > 1 else "")
    if created is None:
        raise FormatError("line 2: no '\"name\" created on 6/27/11 at 2:22:40 PM'")
    return scan(
        energy,
        found,
        dwell=dwell,
        exposure=None if dwell is None else float(np.nansum(dwell + parts.settling)),
        clock=started(f"{created[1]} {created[2]}", what="line 2", date_order="mdy"),
        instrument=f"NSLS {created[3]}" if created[3] else "NSLS (XDAC)",
        header="\n".join(parts.header),
        truncated=parts.truncated,
        e0_ev=parts.e0,
    )


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line is that of XDAC."""
    return head.startswith(b"XDAC V")


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="XDAC (NSLS X-23A2 and others) scan, text",
)
