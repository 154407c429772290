"""Gzipped files, unpacked within bounds."""

from __future__ import annotations

import zlib

from operando_readers._reader import ALWAYS_SMALL, LARGEST_RATIO, FormatError

MAGIC = b"\x1f\x8b"
LARGEST = 256 << 20


def unpacked(raw: bytes, *, largest: int = LARGEST) -> tuple[bytes, str | None]:
    """Return what a gzip file holds, and why that may not be all of it.

    Bytes that are not gzip are returned as they are.

    Raises
    ------
    FormatError
        Damaged, or it unpacks to more than `largest` bytes or by more than 200 times.
    """
    if not raw.startswith(MAGIC):
        return raw, None
    limit = min(max(ALWAYS_SMALL, LARGEST_RATIO * len(raw)), largest)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(raw, limit)
    except zlib.error as error:
        raise FormatError(f"gzip: damaged ({error})") from error
    if unpacker.unconsumed_tail:
        raise FormatError(f"gzip: {len(raw)} bytes unpack to more than {limit}; refused")
    return content, None if unpacker.eof else "gzip: ends early"


def first_bytes(head: bytes, count: int) -> bytes:
    """Return the first bytes a gzip file holds from its own first bytes. Never raises."""
    if not head.startswith(MAGIC):
        return head[:count]
    try:
        return zlib.decompressobj(wbits=31).decompress(head, count)
    except zlib.error:
        return b""
