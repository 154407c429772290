"""Gzipped files, unpacked within bounds."""

from __future__ import annotations

import gzip
import io
import zlib

from operando_readers._reader import ALWAYS_SMALL, LARGEST_RATIO, FormatError

MAGIC = b"\x1f\x8b"
LARGEST = 256 << 20
CHUNK = 1 << 16


def unpacked(raw: bytes, *, largest: int = LARGEST) -> tuple[bytes, str | None]:
    """Return what a gzip file holds, and why that may not be all of it.

    Bytes that are not gzip are returned as they are. A file may be several that were joined, as
    programs that compress in parallel write it.

    Raises
    ------
    FormatError
        Damaged, or it unpacks to more than `largest` bytes or by more than 200 times.
    """
    if not raw.startswith(MAGIC):
        return raw, None
    limit = min(max(ALWAYS_SMALL, LARGEST_RATIO * len(raw)), largest)
    content = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
        while len(content) <= limit:
            try:
                chunk = stream.read1(CHUNK)
            except EOFError:
                return bytes(content), "gzip: ends early"
            except Exception as error:  # of zlib, or of what another package put in its place
                raise FormatError(f"gzip: damaged ({error})") from error
            if not chunk:
                return bytes(content), None
            content += chunk
    raise FormatError(f"gzip: {len(raw)} bytes unpack to more than {limit}; refused")


def first_bytes(head: bytes, count: int) -> bytes:
    """Return the first bytes a gzip file holds from its own first bytes. Never raises."""
    if not head.startswith(MAGIC):
        return head[:count]
    try:
        return zlib.decompressobj(wbits=31).decompress(head, count)
    except Exception:  # as in `unpacked`
        return b""
