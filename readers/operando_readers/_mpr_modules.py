"""The modules an EC-Lab .mpr file is made of.

File structure: a 52-byte magic, then modules. A module is "MODULE", a short name (10 bytes), a long
name (25), from EC-Lab 11.50 on ff ff ff ff, then its length (u4), its version (u4; twice from 11.50
on) and date (8), then its bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from operando_readers._reader import FormatError

MAGIC = b"BIO-LOGIC MODULAR FILE\x1a"
FIRST_MODULE = 52
MODULE = b"MODULE"
EXTENDED = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module of the file; its bytes may be fewer than its header says."""

    name: str
    version: int
    extended: bool
    length: int
    content: bytes


def modules(raw: bytes) -> dict[str, Module]:
    """Split a file, or its beginning, into its modules by name; the last one may be cut short.

    Raises
    ------
    FormatError
        Other first bytes, or something else where a module should begin.
    """
    if not raw.startswith(MAGIC):
        raise FormatError(f"first bytes: {raw[:23]!r}; expected {MAGIC!r}")
    found = {}
    at = FIRST_MODULE
    while len(raw) >= at + 65:
        if raw[at : at + 6] != MODULE:
            raise FormatError(f"byte {at}: {raw[at : at + 6]!r}; expected a module")
        first, *words = struct.unpack_from("<IIII", raw, at + 41)
        extended = first == EXTENDED
        length, version = (words[0], words[2]) if extended else (first, words[0])
        begin = at + (65 if extended else 57)
        name = raw[at + 6 : at + 16].decode("latin-1").strip()
        found[name] = Module(
            name=name,
            version=version,
            extended=extended,
            length=length,
            content=raw[begin : begin + length],
        )
        at = begin + length
    return found
