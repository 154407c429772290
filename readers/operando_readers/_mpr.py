"""The rows of an EC-Lab .mpr file as columns.

File structure: `_mpr_modules`. Those read here:

    VMP data   rows (u4), columns (u1, u2 from 11.50 on), their ids (u1 in version 0, else u2), and
               at byte 100 (version 0), 405 (2), 406 (3) or 1007 (11.50) rows without padding
    VMP loop   count (u4), first row of each loop (u4)

The length of a row is that of the module over its rows. Columns whose id nobody knows are found
from what the known ones leave over, and kept as bytes.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt

from operando_readers import _eclab, _mpr_settings
from operando_readers._mpr_columns import COLUMNS, FLAGS, PRESUMED, SHORTENED
from operando_readers._mpr_modules import Module, modules
from operando_readers._reader import File, FormatError, FormatWarning
from operando_readers._stamps import DateOrder

WIDTHS = (1, 2, 4, 8)
"""Bytes a column can have."""
MOST_UNKNOWN = 32
"""With more unknown columns than this no attempt is made to tell them apart."""

Columns = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a row a column stands, or a block of columns that cannot be told apart."""

    ids: tuple[int, ...]
    name: str
    """EC-Lab's name; "flags" for the byte the flags share; empty where the id is not known."""
    kind: str
    offset: int


def recording(file: File, *, lacks: _eclab.Lacks, date_order: DateOrder | None) -> _eclab.Recording:
    """Read one technique; unknown columns are warned about and kept as bytes.

    Raises
    ------
    FormatError
        Not such a file, one that ends before its rows, columns that do not fit into a row, or none
        of those that are needed.
    """
    found = modules(file.read_bytes())
    if "VMP data" not in found:
        raise FormatError(f"no data module among {list(found)}; cut short?")
    data = found["VMP data"]
    columns, raw, missing = table(data)
    needed = lacks(list(columns))
    if needed:
        ids = "; unknown are ids " + _listed(raw) if raw else ""
        raise FormatError(f"columns {list(columns)}; expected {needed}{ids}")
    if raw:
        # Raised for whoever called the reader, two calls up.
        warnings.warn(
            f"{file}: columns {_listed(raw)} are not known; their bytes are kept",
            FormatWarning,
            stacklevel=3,
        )
    rows = next(iter(columns.values())).size
    attrs = _mpr_settings.attributes(found, file=file, date_order=date_order)
    if raw:
        attrs["unknown_columns"] = _listed(raw)
    if missing:
        attrs["truncated"] = f"{missing} of {missing + rows} rows are missing"
    time = columns.get("time/s")
    return _eclab.Recording(
        columns=columns,
        elapsed=None if time is None else time.astype(np.float64),
        technique=_mpr_settings.technique(found),
        loop_starts=_loop_starts(found.get("VMP loop"), rows=rows),
        raw={_raw_name(ids): block for ids, block in raw.items()},
        attrs=attrs,
    )


def _listed(raw: Mapping[tuple[int, ...], object]) -> str:
    return ", ".join(str(identifier) for ids in raw for identifier in ids)


def _raw_name(ids: tuple[int, ...]) -> str:
    return f"raw_{ids[0]}" if len(ids) == 1 else f"raw_{ids[0]}_to_{ids[-1]}"


def table(
    module: Module,
) -> tuple[Columns, dict[tuple[int, ...], npt.NDArray[np.uint8]], int]:
    """Return the columns by name, the bytes of unknown ones by ids, and the rows not there.

    Raises
    ------
    FormatError
        An unknown version, or rows that do not hold the columns.
    """
    ids, begin = column_ids(module)
    (rows,) = struct.unpack_from("<I", module.content)
    if rows == 0:
        return _empty(ids), {}, 0
    size, rest = divmod(module.length - begin, rows)
    if rest or size <= 0:
        raise FormatError(f"data: {module.length - begin} bytes do not divide into {rows} rows")
    there = min(rows, (len(module.content) - begin) // size)
    content = np.frombuffer(module.content, f"V{size}", count=there, offset=begin)
    columns: Columns = {}
    raw: dict[tuple[int, ...], npt.NDArray[np.uint8]] = {}
    for place in places(ids, size):
        record = np.dtype(
            {
                "names": ["it"],
                "formats": [place.kind],
                "offsets": [place.offset],
                "itemsize": size,
            }
        )
        values = content.view(record)["it"]
        if place.name == "flags":
            columns.update(_flags(values, place.ids))
        elif place.name:
            columns.setdefault(place.name, values)
        else:
            raw.setdefault(place.ids, np.ascontiguousarray(values))
    return columns, raw, rows - there


def _empty(ids: Sequence[int]) -> Columns:
    known = {**COLUMNS, **{identifier: (name, "u1") for identifier, (name, _) in FLAGS.items()}}
    return {known[at][0]: np.empty(0, known[at][1]) for at in ids if at in known}


def _flags(packed: npt.NDArray[np.generic], ids: Sequence[int]) -> Columns:
    byte = packed.astype(np.uint8)
    named = [FLAGS[identifier] for identifier in ids]
    return {name: (byte & mask) // (mask & -mask) for name, mask in named}


def column_ids(module: Module) -> tuple[list[int], int]:
    """Return the ids of the columns and the byte at which the rows begin.

    Raises
    ------
    FormatError
        An unknown version, or a module cut short before its rows.
    """
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
    ids = np.frombuffer(module.content, kind, count=columns, offset=first).tolist()
    if kind == "u1":
        ids = [at + 256 if at in SHORTENED else at for at in ids]
    return ids, begin


def names_of(ids: Sequence[int]) -> list[str]:
    """Return EC-Lab's names of the columns whose id is known."""
    return [COLUMNS[identifier][0] for identifier in ids if identifier in COLUMNS]


def places(ids: Sequence[int], size: int) -> list[Place]:
    """Return where each column stands in a row of `size` bytes.

    An unknown column is as wide as what the others leave over; several are, when only one choice of
    1, 2, 4 and 8 bytes for each adds up. Otherwise all from the first unknown to the last are one
    block: what stands between them cannot be placed.

    Raises
    ------
    FormatError
        The known columns are wider than the row, or no choice adds up.

    Examples
    --------
    >>> [(place.ids, place.kind, place.offset) for place in places([6, 9999, 4], 16)]
    [((6,), '<f4', 0), ((9999,), '(4,)u1', 4), ((4,), '<f8', 8)]
    """
    known, widths = _widths(ids, size)
    open_ = [at for at, width in enumerate(widths) if width < 0]
    found = []
    flags = tuple(at for at in ids if at in FLAGS)
    for at, identifier in enumerate(ids):
        if widths[at] <= 0 or (open_ and open_[0] < at < open_[-1]):
            continue
        before = not open_ or at < open_[0]
        offset = sum(widths[:at]) if before else size - sum(widths[at:])
        if identifier in FLAGS:
            place = Place(ids=flags, name="flags", kind="u1", offset=offset)
        else:
            name, kind = known.get(identifier, ("", f"({widths[at]},)u1"))
            place = Place(ids=(identifier,), name=name, kind=kind, offset=offset)
        found.append(place)
    if open_:
        first, last = open_[0], open_[-1] + 1
        begin, end = sum(widths[:first]), size - sum(widths[last:])
        block = tuple(ids[first:last])
        found.append(Place(ids=block, name="", kind=f"({end - begin},)u1", offset=begin))
    return found


def _widths(ids: Sequence[int], size: int) -> tuple[dict[int, tuple[str, str]], list[int]]:
    """Return name and type of the known columns and the bytes of all: -1 where that is open.

    The flags have their byte where the first of them stands, the others none.
    """
    known = COLUMNS
    widths = _stored(ids, known)
    if -1 in widths:
        presumed = _stored(ids, COLUMNS | PRESUMED)
        if -1 not in presumed and sum(presumed) == size:
            known, widths = COLUMNS | PRESUMED, presumed
    unknown = [at for at, width in enumerate(widths) if width < 0]
    spare = size - sum(width for width in widths if width > 0)
    each = _each(len(unknown), spare)
    if each is None:
        left = f"; {spare} for the unknown {[ids[at] for at in unknown]}" if unknown else ""
        raise FormatError(f"data: rows of {size} bytes do not hold columns {list(ids)}{left}")
    if each:
        for at in unknown:
            widths[at] = each
    return known, widths


def _stored(ids: Sequence[int], known: Mapping[int, tuple[str, str]]) -> list[int]:
    first = next((at for at, identifier in enumerate(ids) if identifier in FLAGS), -1)
    return [
        int(at == first)
        if identifier in FLAGS
        else np.dtype(known[identifier][1]).itemsize
        if identifier in known
        else -1
        for at, identifier in enumerate(ids)
    ]


def _each(count: int, spare: int) -> int | None:
    """Return the bytes of each of `count` columns in `spare` bytes: 0 where several choices add up.

    None where no choice does.
    """
    if not count:
        return None if spare else 0
    if not count * WIDTHS[0] <= spare <= count * WIDTHS[-1]:
        return None
    if count > MOST_UNKNOWN:
        return 0
    choices = [few for few in combinations_with_replacement(WIDTHS, count) if sum(few) == spare]
    if not choices:
        return None
    return choices[0][0] if len(choices) == 1 and len(set(choices[0])) == 1 else 0


def _loop_starts(module: Module | None, *, rows: int) -> list[int]:
    if module is None or len(module.content) < 4:
        return []
    (count,) = struct.unpack_from("<I", module.content)
    if 4 + 4 * count > len(module.content):
        return []
    starts = np.frombuffer(module.content, "<u4", count=count, offset=4)
    return [int(start) for start in starts if start < rows]
