"""What WiRE of Renishaw writes beside the numbers: its property sets, and its moments.

A property set (PSET) is a row of entries: type (1 letter), flag, key (uint16), value. Numbers have
a fixed size; texts ``u``, nested sets ``p``, bytes ``b`` and names of keys ``k`` begin with their
length (uint32), arrays (flag 128) with their count. A name is valid in its set and those inside.
"""

from __future__ import annotations

import struct
from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

Setting = bool | int | float | str

UNIX_EPOCH = 116_444_736_000_000_000
"""1970 as a FILETIME: in units of 100 ns since 1601."""
EARLIEST, LATEST = 122_756_256_000_000_000, 157_469_184_000_000_000
"""1990 and 2100."""

KEYS = {
    430: "Operator",
    1019: "Laser",
    1020: "Camera serial number",
    1021: "Serial number",
    1022: "Objective magnification",
    1023: "Objective",
}
"""Keys that have no name in the files; WiRE names them in its .spc exports."""
CODES = {"?": "?", "c": "b", "s": "h", "i": "i", "w": "q", "r": "f", "q": "d", "t": "q"}
SCALARS = {kind: struct.Struct(f"<{code}") for kind, code in CODES.items()}
"""Booleans, integers of 1, 2, 4 and 8 bytes, floats of 4 and 8, and a FILETIME."""
ARRAY, PACKED = 0x80, 0x40
LARGEST = 4 << 20
LONGEST = 500
"""Bytes of a block, and of a text in it, that are looked at: the rest are scripts."""
DEEPEST = 10


@dataclass
class Properties:
    """A property set: the names it gives to keys, and its values in their order."""

    names: dict[int, str] = field(default_factory=dict)
    values: list[tuple[int, Setting | Properties]] = field(default_factory=list)


def settings(raw: bytes) -> dict[str, Setting]:
    """Return the numbers and texts of a property set by their paths ("Scan > Exposure Time").

    Of two values of one path the first counts. What is not a property set, or is cut short or
    damaged, gives the settings before the damage and never raises.
    """
    if raw[:4] != b"PSET" or len(raw) < 8:
        return {}
    end = min(8 + int.from_bytes(raw[4:8], "little"), len(raw), LARGEST)
    padded = raw[:end] + bytes(8)
    found: dict[str, Setting] = {}
    for path, value in _flat(_properties(padded, 8, end, deep=0), ChainMap(KEYS)):
        found.setdefault(path, value)
    return found


def moment(ticks: int) -> str:
    """Return a FILETIME in ISO form with all its digits; empty where it is no time."""
    if not EARLIEST < ticks < LATEST:
        return ""
    return str(np.datetime64((ticks - UNIX_EPOCH) * 100, "ns"))


def text(raw: bytes) -> str:
    """Return a text up to its final zero."""
    return raw.partition(b"\0")[0].decode("utf-8", errors="replace").strip()


def _properties(raw: bytes, at: int, end: int, *, deep: int) -> Properties:
    found = Properties()
    while at + 4 < end:
        code, flag, key, length = struct.unpack_from("<BBHI", raw, at)
        kind = chr(code)
        if kind in SCALARS and not flag & ARRAY:
            if at + 4 + SCALARS[kind].size > end:
                break
            (value,) = SCALARS[kind].unpack_from(raw, at + 4)
            found.values.append((key, moment(value) if kind == "t" else value))
            at += 4 + SCALARS[kind].size
            continue
        at += 8
        length *= SCALARS[kind].size if kind in SCALARS else 1
        if kind == "p" and deep < DEEPEST:
            inner = _properties(raw, at, min(at + length, end), deep=deep + 1)
            found.values.append((key, inner))
        elif kind == "k":
            found.names[key] = text(raw[at : at + min(length, LONGEST)])
        elif kind == "u" and not flag & (ARRAY | PACKED):
            found.values.append((key, text(raw[at : at + min(length, LONGEST)])))
        elif kind not in SCALARS and kind not in "pub":
            break
        at += length
    return found


def _flat(found: Properties, names: ChainMap[int, str]) -> Iterator[tuple[str, Setting]]:
    names = names.new_child(found.names)
    for key, value in found.values:
        name = names.get(key, str(key))
        if isinstance(value, Properties):
            yield from ((f"{name} > {path}", inner) for path, inner in _flat(value, names))
        else:
            yield name, value
