"""EC-Lab ASCII files (.mpt, or .txt of that layout): the text export of BioLogic potentiostats.

Usage: `read(file)`; `date_order` when a start such as 05.04.2022 leaves day and month open. The
layout is told in `_mpt`, the meaning of the columns in `_eclab`.

The comments, masses and materials in the header are often left over from a template; they are kept
in `original_metadata` and never interpreted.
"""

from __future__ import annotations

import xarray as xr

from operando_readers import _eclab, _mpt
from operando_readers._reader import File, Reader
from operando_readers._stamps import DateOrder


def sniff(head: bytes, name: str) -> bool:
    """Whether the file starts as EC-Lab text files do."""
    return head.removeprefix(_mpt.BYTE_ORDER_MARK).startswith(_mpt.MAGIC)


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read one technique of an EC-Lab export.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for stamps with dots where both numbers are 12 or less.

    Returns
    -------
    Log on `time` (V, A, A h; see `_eclab.log`) with `elapsed` in s since "Acquisition started on".
    A file without rows gives a log without rows; a last row cut short is left out and named in
    `attrs["truncated"]`.

    Raises
    ------
    FormatError
        Not such a file, a header cut short, a row of another length (names the line), decimal
        commas and points in one file, a date that could be two, no time or no potential.

    Notes
    -----
    Absolute stamps are wall-clock times: a file exported that way across a change to or from
    summer time is an hour off after it. Export elapsed time instead.
    """
    return _eclab.log(
        _mpt.recording(file, wanted=_eclab.wanted, lacks=_eclab.lacks_log, date_order=date_order)
    )


READER = Reader(
    technique="electrochemistry",
    suffixes=(".mpt", ".txt"),
    sniff=sniff,
    read=read,
    description="BioLogic EC-Lab text export",
    sidecars=(".mpl",),
)
