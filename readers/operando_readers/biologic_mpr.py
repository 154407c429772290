"""EC-Lab and BT-Lab binary files (.mpr) of BioLogic potentiostats.

Usage: `read(file)`; `date_order` only for the date in a .mpl log beside the file. The layout is
told in `_mpr` and `_mpr_settings`, the ids of the columns in `_mpr_columns`, their meaning in
`_eclab`.

A galvanostatic file holds no current, only the charge of each row: the current is rebuilt from it.
"""

from __future__ import annotations

import xarray as xr

from operando_readers import _eclab, _mpr, _mpr_modules
from operando_readers._reader import File, Reader
from operando_readers._stamps import DateOrder


def sniff(head: bytes, name: str) -> bool:
    """Whether the file starts as modular files of BioLogic do."""
    return head.startswith(_mpr_modules.MAGIC)


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read one technique as the instrument recorded it.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" when the date in the .mpl log beside the file leaves day and month open.

    Returns
    -------
    Log on `time` (V, A, A h; see `_eclab.log`) with `elapsed` in s since the acquisition started.
    The start comes from VMP LOG, else from the .mpl log beside the file, else it is None. A file
    cut short gives the rows it holds and says so in `attrs["truncated"]`. A column with an id that
    is not known is kept as bytes, `raw_<id>` on (time, raw_<id>_byte), with a `FormatWarning`;
    several that cannot be told apart as one block, `raw_<first>_to_<last>`.

    Raises
    ------
    FormatError
        Not such a file, one that ends before its rows, or no time or potential outside such a
        block.
    """
    return _eclab.log(_mpr.recording(file, lacks=_eclab.lacks_log, date_order=date_order))


READER = Reader(
    technique="electrochemistry",
    suffixes=(".mpr",),
    sniff=sniff,
    read=read,
    description="BioLogic EC-Lab and BT-Lab binary files",
    sidecars=(".mpl",),
)
