"""Damage that HDF5 itself does not survive: heaps of strings in which it would search for ever.

HDF5 (2.0 and before) walks the objects of a global heap by their sizes and never ends where one
has no size, and it sets aside what a reference claims, up to 4 GiB, before it looks whether there
is as much. Such files are refused before the library sees them. Larger ones than
`LARGEST_CHECKED` are not searched: that would take longer than to read them.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from operando_readers._reader import FormatError

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST_CHECKED = 1 << 29
COLLECTION = b"GCOL\x01"
OBJECT = struct.Struct("<H6xQ")
"""Number and size; number 0 is the free space, whose size counts its own header."""
HEADER = 16
WRAP = 1 << 64
SIZES_AT = {0: (13, 14), 1: (13, 14), 2: (9, 10), 3: (9, 10)}
"""Where a superblock says how long its addresses and lengths are, by its version."""
LEAST_CLAIM = 1 << 26
"""A reference: u4 length, u8 address of the heap, u4 number. Numbers of an image may look like
one, but not with such a length."""
MOST_OBJECTS = 1 << 16


def check_heaps(path: Path) -> None:
    """Refuse a file that would keep HDF5 busy, or fill the memory, for nothing.

    Raises
    ------
    FormatError
        It would, the file is no HDF5 file, or its lengths have not 8 bytes.
    """
    size = path.stat().st_size
    if size < HEADER:
        raise FormatError("file: too short for HDF5")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
        sizes = SIZES_AT.get(held[8])
        if held[:8] != SIGNATURE or sizes is None or any(held[at] != 8 for at in sizes):
            raise FormatError("file: not HDF5, or of a kind no instrument writes")
        starts = list(_heaps(held)) if size <= LARGEST_CHECKED else []
        heaps = {start: _checked_end(held, start) for start in starts}
    if heaps:
        _check_claims(path, heaps, max(size, LEAST_CLAIM))


def claimed_length(dataset: h5py.Dataset) -> int:
    """Return what the first reference of a data set of strings claims, 0 where it is unknown.

    `check_heaps` finds references to heaps that exist; a damaged data set may point at any bytes.
    """
    offset = dataset.id.get_offset()
    if offset is None or dataset.dtype.kind != "O":
        return 0
    with Path(dataset.file.filename).open("rb") as stream:
        stream.seek(offset)
        return int.from_bytes(stream.read(4), "little")


def _heaps(held: mmap.mmap) -> Iterator[int]:
    at = held.find(COLLECTION)
    while at >= 0:
        # Three bytes that are reserved, and zero; of numbers of an image they are not.
        if held[at + len(COLLECTION) : at + 8].count(0) > 1:
            yield at
        at = held.find(COLLECTION, at + 1)


def _checked_end(held: mmap.mmap, start: int) -> int:
    """Walk one collection as the library does, and return where it ends.

    Its objects fill it to the end: one that reaches beyond is copied from beyond by the library.
    """
    at = start + HEADER
    end = start + int.from_bytes(held[start + 8 : at], "little")
    while at + HEADER <= min(end, len(held)):
        number, size = OBJECT.unpack_from(held, at)
        # Of 64 bits, as in the library: a size near 2**64 is a step of a few bytes there.
        step = (size if number == 0 else HEADER + (size + 7) // 8 * 8) % WRAP
        if step == 0:
            raise FormatError(f"file: the heap of strings at byte {start} is damaged")
        at += step
    if not at <= end <= len(held):
        raise FormatError(f"file: the heap of strings at byte {start} is cut or damaged")
    return end


def _check_claims(path: Path, heaps: dict[int, int], most: int) -> None:
    """Look at the length in front of every address of a heap, outside of the heaps."""
    content = np.memmap(path, np.uint8, "r")
    starts, ends = np.array([*heaps], "<u8"), np.array([*heaps.values()], "<u8")
    for shift in range(8):
        words = content[shift : shift + (content.size - shift) // 8 * 8].view("<u8")
        near = np.flatnonzero((words >= starts[0]) & (words <= starts[-1]))
        for at in near[np.isin(words[near], starts)] * 8 + shift:
            heap = int(np.searchsorted(starts, at, side="right")) - 1
            if not 4 <= at <= content.size - 12 or (heap >= 0 and at < ends[heap]):
                continue
            length = int.from_bytes(content[at - 4 : at].tobytes(), "little")
            number = int.from_bytes(content[at + 8 : at + 12].tobytes(), "little")
            if length > most and 0 < number < MOST_OBJECTS:
                raise FormatError(f"file: at byte {at} a string claims {length} bytes; refused")
