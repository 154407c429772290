"""Scans of MRCAT, APS 10-ID and 10-BM, text by MX.

File structure: ``MRCAT_XAFS V0.4 Datafile``; ``"name" created at APS 10BM on Tue Jul  9 15:35:15
2019 CDT``; ring, ``E0=``, regions (see `_region_scan`), settling time, offsets, gains (decades of
V/A); three lines of comment; dashes; ``energy Io It Iref If``; rows. What is scanned continuously
has one region.

Clock: the date above, when the file was opened, so the start; the exposure is the counting and
settling time of all points, without the time the monochromator moved in between. The zone is that
of the computer. CDT and CST are read as -05:00 and -06:00, for this program writes at Argonne,
Illinois, and nowhere else; of any other abbreviation it is not known what it means: the time is
then local without zone, as in versions that write none.

Readings are counts per second, less the dark reading (``Offsets``) already: MX divides by the
counting time, and an unlit detector reads about zero, of either sign.

Counters: ``I0`` or ``Io``; ``It`` or ``I1``; ``Iref`` or ``I2`` (behind the foil); ``If``. Files of
several samples at once (``mcs3 mcs4 ...``) name none of them: options do. Energy in eV.

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
    from_ctime,
    scan,
    started,
)
from operando_readers._reader import File, FormatError, Reader
from operando_readers._region_scan import opened

FIRST = re.compile(r"MRCAT_XAFS V\d")
CREATED = re.compile(r"\".{0,300}\" created at (.{1,60}) on (.{15,20}\b\d{4})(?: ([A-Z]{3,5}))?\s*")
ZONES = {"CDT": "-05:00", "CST": "-06:00", "UTC": "UTC", "GMT": "UTC"}


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
        Columns; several of one counter are added. None takes the usual name, see above; "" leaves
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
    parts = opened(file, first=FIRST, what="'MRCAT_XAFS V0.4 Datafile'")
    columns = parts.columns
    axis = first_of(columns, "energy")
    if axis is None:
        raise FormatError(f"columns: {list(columns)}; no 'energy'")
    found = counters(
        columns,
        usual={
            "i0": first_of(columns, "i[0o]"),
            "i1": first_of(columns, "it", "i1"),
            "iref": first_of(columns, "iref", "i2"),
            "fluorescence": first_of(columns, "if"),
        },
        asked={"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence},
        energy=axis,
    )
    energy = electronvolts(columns[axis], what=axis, unit=energy_unit, e0=parts.e0)
    dwell = parts.dwell(energy)
    created = CREATED.fullmatch(parts.header[1] if len(parts.header) > 1 else "")
    if created is None:
        raise FormatError("line 2: no '\"name\" created at APS 10BM on Tue Jul  9 15:35:15 2019'")
    clock = started(from_ctime(created[2], what="line 2"), what="line 2")
    clock["zone"] = ZONES.get(created[3] or "")
    return scan(
        energy,
        found,
        dwell=dwell,
        exposure=None if dwell is None else float(np.sum(dwell + parts.settling)),
        clock=clock,
        instrument=created[1],
        header="\n".join(parts.header),
        truncated=parts.truncated,
        e0_ev=parts.e0,
    )


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line is that of MRCAT."""
    return head.startswith(b"MRCAT_XAFS V")


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="MRCAT (APS 10-ID, 10-BM) scan, text by MX",
)
