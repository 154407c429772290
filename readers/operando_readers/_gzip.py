"""Gzipped and bzipped files, unpacked within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib

from operando_readers._reader import ALWAYS_SMALL, LARGEST_RATIO, FormatError

MAGIC = b"\x1f\x8b"
BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
"""The size of the blocks, then the head of a block or the end of an empty file."""
LARGEST = 256 << 20
CHUNK = 1 << 16


def unpacked(raw: bytes, *, largest: int = LARGEST) -> tuple[bytes, str | None]:
    """Return what a gzip or bzip2 file holds, and why that may not be all of it.

    Bytes that are neither are returned as they are. A file may be several that were joined, as
    programs that compress in parallel write it.

    Raises
    ------
    FormatError
        Damaged, or it unpacks to more than `largest` bytes or by more than 200 times.
    """
    if not is_packed(raw):
        return raw, None
    packer = "gzip" if raw.startswith(MAGIC) else "bzip2"
    limit = min(max(ALWAYS_SMALL, LARGEST_RATIO * len(raw)), largest)
    content = bytearray()
    with _opened(raw) as stream:
        while len(content) <= limit:
            try:
                chunk = stream.read1(CHUNK)
            except EOFError:
                return bytes(content), f"{packer}: ends early"
            except Exception as error:  # of zlib, or of what another package put in its place
                raise FormatError(f"{packer}: damaged ({error})") from error
            if not chunk:
                return bytes(content), None
            content += chunk
    raise FormatError(f"{packer}: {len(raw)} bytes unpack to more than {limit}; refused")


def is_packed(raw: bytes) -> bool:
    """Whether bytes begin as a gzip or bzip2 file does."""
    return raw.startswith(MAGIC) or BZIP2.match(raw) is not None


def _opened(raw: bytes) -> gzip.GzipFile | bz2.BZ2File:
    stream = io.BytesIO(raw)
    return gzip.GzipFile(fileobj=stream) if raw.startswith(MAGIC) else bz2.BZ2File(stream)


def first_bytes(head: bytes, count: int) -> bytes:
    """Return the first bytes a gzip or bzip2 file holds from its own first bytes. Never raises.

    A bzip2 file gives nothing before its first block, of up to 900 kB unpacked, is complete.
    """
    if not is_packed(head):
        return head[:count]
    try:
        if head.startswith(MAGIC):
            return zlib.decompressobj(wbits=31).decompress(head, count)
        return bz2.BZ2Decompressor().decompress(head, count)
    except Exception:  # as in `unpacked`
        return b""
