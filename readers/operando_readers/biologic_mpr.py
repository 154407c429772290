"""EC-Lab and BT-Lab binary files (.mpr) of BioLogic potentiostats.

Usage: `read(file)`; `date_order` only for the date in a .mpl log beside the file.

File structure: a 52-byte magic, then modules. A module is "MODULE", a short name (10 bytes), a long
name (25), from EC-Lab 11.50 on ff ff ff ff, then its length (u4), its version (u4; twice from 11.50
on) and date (8), then its bytes. Those we read:

    VMP Set    byte 0 the technique
    VMP data   rows (u4), columns (u1, u2 from 11.50 on), their ids (u1 in version 0, else u2), and
               at byte 100 (version 0), 405 (2), 406 (3) or 1007 (11.50) rows without padding
    VMP LOG    the start as days since 1899-12-30, local; written when the experiment ends
    VMP loop   count (u4), first row of each loop (u4)

The flag columns (mode, ox/red, error ...) share one byte, where the first of them stands. The
length of a row is that of the module over its rows, so columns whose id we do not know are stepped
over as long as none that is needed stands between two of them.

A galvanostatic file holds no current, only the charge of each row: see `_eclab`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _eclab, _eclab_clock
from operando_readers._reader import File, FormatError, Reader

MAGIC = b"BIO-LOGIC MODULAR FILE\x1a"
FIRST_MODULE = 52
MODULE = b"MODULE"
EXTENDED = 0xFFFFFFFF

TECHNIQUES = {
    0x04: "Galvanostatic Cycling with Potential Limitation",
    0x06: "Cyclic Voltammetry",
    0x0B: "Open Circuit Voltage",
    0x18: "Chronoamperometry / Chronocoulometry",
    0x19: "Chronopotentiometry",
    0x1C: "Wait",
    0x1D: "Potentio Electrochemical Impedance Spectroscopy",
    0x1E: "Galvano Electrochemical Impedance Spectroscopy",
    0x30: "Cyclic Voltammetry",
    0x33: "Cyclic Voltammetry Advanced",
    0x6C: "Linear Sweep Voltammetry",
    0x7F: "Modulo Bat",
}

FLAGS = {
    1: ("mode", 0x03),
    2: ("ox/red", 0x04),
    3: ("error", 0x08),
    21: ("control changes", 0x10),
    31: ("Ns changes", 0x20),
    65: ("counter inc.", 0x80),
}
NAMED = {
    4: ("time/s", "<f8"),
    5: ("control/V/mA", "<f4"),
    6: ("Ewe/V", "<f4"),
    7: ("dq/mA.h", "<f8"),
    8: ("I/mA", "<f4"),
    9: ("Ece/V", "<f4"),
    11: ("<I>/mA", "<f8"),
    13: ("(Q-Qo)/mA.h", "<f8"),
    19: ("control/V", "<f4"),
    20: ("control/mA", "<f4"),
    24: ("cycle number", "<f8"),
    76: ("<I>/mA", "<f4"),
    77: ("<Ewe>/V", "<f4"),
    131: ("Ns", "<u2"),
    174: ("<Ewe>/V", "<f4"),
    178: ("(Q-Qo)/C", "<f4"),
    434: ("(Q-Qo)/C", "<f4"),
    468: ("half cycle", "<u4"),
    471: ("<Ece>/V", "<f4"),
}
"""Columns with a meaning for a log, by id."""
WIDTHS = {
    **dict.fromkeys((39,), 2),
    **dict.fromkeys((16, 17, *range(32, 39), 69, 70, 75, 78, 96, *range(98, 102)), 4),
    **dict.fromkeys((163, 168, 169, 172, 173, 179, 217, *range(430, 434), 435, 441, 462, 469), 4),
    **dict.fromkeys((*range(473, 482), *range(486, 504)), 4),
    **dict.fromkeys((23, 74, 123, 124, 125, 126, 182, 211, 438, 467), 8),
}
"""Bytes of the columns we step over, by id: impedances, energies, capacitances, step times."""

LOG_STARTS = (465, 469, 473, 585)
"""Where versions of EC-Lab put the start in VMP LOG; days from 2000 to 2100 tell it from others."""
EARLIEST_DAY, LATEST_DAY = 36526.0, 73051.0


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module of the file; its bytes may be fewer than its header says."""

    name: str
    version: int
    extended: bool
    length: int
    content: bytes


def sniff(head: bytes, name: str) -> bool:
    """Whether the file starts as modular files of BioLogic do."""
    return head.startswith(MAGIC)


def read(file: File, *, date_order: _eclab_clock.DateOrder | None = None) -> xr.Dataset:
    """Read one technique as the instrument recorded it.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" when the date in the .mpl log beside the file leaves day and month open.

    Returns
    -------
    Log on `time` (V, A, A h; see `_eclab.log`) with `elapsed` in s since the acquisition started.
    The start comes from VMP LOG, else from the .mpl log beside the file, else it is None. A file
    cut short gives the rows it holds and says so in `attrs["truncated"]`; columns with an id we do
    not know are named in `attrs["unknown_columns"]`.

    Raises
    ------
    FormatError
        Not such a file, one that ends before its rows, or a needed column between unknown ones.
    """
    raw = file.read_bytes()
    modules = {module.name: module for module in _modules(raw)}
    if "VMP data" not in modules:
        raise FormatError(f"no data module among {list(modules)}; cut short?")
    columns, unknown, missing = _columns(modules["VMP data"])
    if "time/s" not in columns:
        raise FormatError(f"no time among columns {list(columns)}; unknown are ids {unknown}")
    settings = modules["VMP Set"].content if "VMP Set" in modules else b""
    technique = TECHNIQUES.get(settings[0], f"technique {settings[0]}") if settings else ""
    sidecar = _eclab_clock.sidecar_text(file)
    elapsed = columns["time/s"].astype(np.float64)
    starts = _loop_starts(modules.get("VMP loop"), rows=elapsed.size)
    dataset = _eclab.log(columns, elapsed=elapsed, technique=technique, loop_starts=starts)
    dataset.attrs.update(
        clock=_eclab_clock.clock_of(
            _log_start(modules.get("VMP LOG")), sidecar, date_order=date_order
        ),
        instrument="BioLogic",
        original_metadata={
            "technique": technique,
            "modules": ", ".join(f"{m.name} {m.version}" for m in modules.values()),
            "settings": settings.hex(),
            "mpl": sidecar,
        },
    )
    interval = _eclab_clock.record_interval(sidecar)
    if interval is not None and technique in sidecar:
        dataset.attrs["max_record_interval_s"] = interval
    if unknown:
        dataset.attrs["unknown_columns"] = ", ".join(map(str, unknown))
    if missing:
        dataset.attrs["truncated"] = f"{missing} of {missing + elapsed.size} rows are missing"
    return dataset


def _modules(raw: bytes) -> list[Module]:
    """Split a file into its modules; the last one may be cut short."""
    if not raw.startswith(MAGIC):
        raise FormatError(f"first bytes: {raw[:23]!r}; expected {MAGIC!r}")
    found = []
    at = FIRST_MODULE
    while len(raw) >= at + 65:
        if raw[at : at + 6] != MODULE:
            raise FormatError(f"byte {at}: {raw[at : at + 6]!r}; expected a module")
        first, *words = struct.unpack_from("<IIII", raw, at + 41)
        extended = first == EXTENDED
        length, version = (words[0], words[2]) if extended else (first, words[0])
        begin = at + (65 if extended else 57)
        found.append(
            Module(
                name=raw[at + 6 : at + 16].decode("latin-1").strip(),
                version=version,
                extended=extended,
                length=length,
                content=raw[begin : begin + length],
            )
        )
        at = begin + length
    return found


def _columns(module: Module) -> tuple[dict[str, npt.NDArray[np.generic]], list[int], int]:
    """Return the columns we know, the ids we do not, and how many rows are missing at the end."""
    ids, begin = _ids(module)
    (rows,) = struct.unpack_from("<I", module.content)
    if rows == 0:
        return (
            {NAMED[identifier][0]: np.empty(0) for identifier in ids if identifier in NAMED},
            [],
            0,
        )
    size, rest = divmod(module.length - begin, rows)
    if rest or size <= 0:
        raise FormatError(f"data: {module.length - begin} bytes do not divide into {rows} rows")
    places, unknown = _places(ids, size)
    there = min(rows, (len(module.content) - begin) // size)
    table = np.frombuffer(module.content, f"V{size}", count=there, offset=begin)
    record = np.dtype(
        {
            "names": [name for name, _, _ in places],
            "formats": [kind for _, kind, _ in places],
            "offsets": [offset for _, _, offset in places],
            "itemsize": size,
        }
    )
    fields = table.view(record)
    columns: dict[str, npt.NDArray[np.generic]] = {
        name: fields[name] for name in record.names or () if name != "flags"
    }
    for identifier in ids:
        if identifier in FLAGS and "flags" in (record.names or ()):
            name, mask = FLAGS[identifier]
            columns[name] = (fields["flags"] & mask) // (mask & -mask)
    return columns, unknown, rows - there


def _ids(module: Module) -> tuple[list[int], int]:
    """Return the ids of the columns and the byte at which the rows begin."""
    wide = "<u2"
    layouts = {0: ("B", 5, "u1", 100), 2: ("B", 5, wide, 405), 3: ("B", 5, wide, 406)}
    if module.extended:
        count, first, kind, begin = "<H", 6, wide, 1007
    elif module.version in layouts:
        count, first, kind, begin = layouts[module.version]
    else:
        raise FormatError(f"data module: version {module.version}; expected one of {[*layouts]}")
    if len(module.content) < begin:
        raise FormatError("data module: ends before its rows")
    (columns,) = struct.unpack_from(count, module.content, 4)
    if first + columns * np.dtype(kind).itemsize > begin:
        raise FormatError(f"data module: {columns} columns do not fit before byte {begin}")
    ids = np.frombuffer(module.content, kind, count=columns, offset=first)
    return ids.tolist(), begin


def _widths(ids: Sequence[int]) -> list[int]:
    """Return the bytes of each column: 0 for the flags after the first, -1 where unknown."""
    widths = []
    flagged = False
    for identifier in ids:
        if identifier in FLAGS:
            widths.append(0 if flagged else 1)
            flagged = True
        elif identifier in NAMED:
            widths.append(np.dtype(NAMED[identifier][1]).itemsize)
        else:
            widths.append(WIDTHS.get(identifier, -1))
    return widths


def _places(ids: Sequence[int], size: int) -> tuple[list[tuple[str, str, int]], list[int]]:
    """Return name, type and offset of the known columns, counted from both ends of a row."""
    widths = _widths(ids)
    unknown = [at for at, width in enumerate(widths) if width < 0]
    names = [ids[at] for at in unknown]
    spare = size - sum(width for width in widths if width > 0)
    if spare < len(unknown) or (spare and not unknown):
        raise FormatError(f"data: rows of {size} bytes do not hold columns {list(ids)}")
    if len(unknown) == 1 and spare not in (1, 2, 4, 8):
        raise FormatError(f"data: unknown column {names[0]} would be {spare} bytes wide")
    places: dict[str, tuple[str, str, int]] = {}
    for at, identifier in enumerate(ids):
        if widths[at] <= 0 or (unknown and unknown[0] < at < unknown[-1]):
            continue
        before = not unknown or at < unknown[0]
        offset = sum(widths[:at]) if before else size - sum(widths[at:])
        name, kind = ("flags", "u1") if identifier in FLAGS else NAMED.get(identifier, ("", ""))
        if name:
            places.setdefault(name, (name, kind, offset))
    return list(places.values()), names


def _log_start(module: Module | None) -> str | None:
    """Return the ISO stamp in VMP LOG, to the millisecond EC-Lab keeps; None when undecided."""
    if module is None:
        return None
    days = [
        value
        for at in LOG_STARTS
        if at + 8 <= len(module.content)
        for (value,) in [struct.unpack_from("<d", module.content, at)]
        if EARLIEST_DAY < value < LATEST_DAY
    ]
    if len(days) != 1:
        return None
    origin = datetime(1899, 12, 30)  # noqa: DTZ001  local time of an unknown zone
    moment = origin + timedelta(milliseconds=round(days[0] * 86_400_000))
    return moment.isoformat(timespec="milliseconds")


def _loop_starts(module: Module | None, *, rows: int) -> list[int]:
    if module is None or len(module.content) < 4:
        return []
    (count,) = struct.unpack_from("<I", module.content)
    if 4 + 4 * count > len(module.content):
        return []
    starts = np.frombuffer(module.content, "<u4", count=count, offset=4)
    return [int(start) for start in starts if start < rows]


READER = Reader(
    technique="electrochemistry",
    suffixes=(".mpr",),
    sniff=sniff,
    read=read,
    description="BioLogic EC-Lab and BT-Lab binary files",
    sidecars=(".mpl",),
)
