"""Chunks of HDF5 data sets: which were written, and packed ones that would crash their unpacker.

Bitshuffle and LZ4, as detectors write them, begin with how much they unpack to, and their filters
(of hdf5plugin 7) write as much, into a buffer of the size that HDF5 expects: a flipped bit there
ends the process. So each chunk is walked before HDF5 sees it, block by block; nothing is unpacked.

Layouts: bitshuffle (K. Masui, `bshuf_h5filter.c`) and LZ4 (HDF Group, filter 32004) have 8 bytes of
length and 4 bytes of block length, most significant first; each block has 4 bytes of its packed
length in front. What bitshuffle cannot shuffle, fewer than 8 elements, follows as it is.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from operando_readers._reader import FormatError

if TYPE_CHECKING:
    import h5py

BITSHUFFLE, LZ4 = 32008, 32004
PACKING = (2, 3)
"""Values of the fifth parameter of bitshuffle: LZ4 and Zstandard. Otherwise it only shuffles."""
LENGTHS = struct.Struct(">QI")
PACKED = struct.Struct(">I")


def rows_written(dataset: h5py.Dataset, size: int) -> int:
    """Return up to which row of its first axis something was stored."""
    if dataset.chunks is None:
        row = int(np.prod(dataset.shape[1:], dtype=object)) * dataset.dtype.itemsize
        stored = min(int(dataset.id.get_storage_size()), size)
        return int(stored // max(row, 1))
    last = -1

    def see(chunk: Any) -> None:
        nonlocal last
        last = max(last, int(chunk.chunk_offset[0]))

    dataset.id.chunk_iter(see)
    each = int(dataset.chunks[0])
    return last + each if last >= 0 else 0


def load_filters(dataset: h5py.Dataset, start: int, stop: int) -> None:
    """Make LZ4, bitshuffle and others known to HDF5, where a data set is packed by them."""
    if dataset.id.get_create_plist().get_nfilters():
        import hdf5plugin  # noqa: F401

        check_chunks(dataset, start, stop)


def check_chunks(dataset: h5py.Dataset, start: int, stop: int) -> None:
    """Refuse the chunks that hold some rows of a data set, where unpacking one would crash.

    Raises
    ------
    FormatError
        One does not say what it unpacks to as it should, or its blocks do not fit into it.
    """
    plan = dataset.id.get_create_plist()
    count = plan.get_nfilters()
    if dataset.chunks is None or not count:
        return
    kind, _, parameters, _ = plan.get_filter(count - 1)
    if kind not in (BITSHUFFLE, LZ4):
        return
    item = int(dataset.dtype.itemsize)
    size = item
    for length in dataset.chunks:
        size *= int(length)
    if kind == BITSHUFFLE and (len(parameters) < 3 or parameters[2] != item):
        raise FormatError(f"bitshuffle: elements of {parameters[2:3]} bytes; these have {item}")
    for offset in _offsets(dataset, start, stop):
        info = dataset.id.get_chunk_info_by_coord(offset)
        if info.byte_offset is None:
            continue
        mask, raw = dataset.id.read_direct_chunk(offset)
        if mask or (kind == BITSHUFFLE and (len(parameters) < 5 or parameters[4] not in PACKING)):
            fits = len(raw) >= size
        else:
            fits = _fits(raw, size, item if kind == BITSHUFFLE else 0)
        if not fits:
            raise FormatError(f"chunk at {offset}: damaged, it would not unpack to {size} bytes")


def _offsets(dataset: h5py.Dataset, start: int, stop: int) -> list[tuple[int, ...]]:
    first = int(dataset.chunks[0])
    ranges = [range(start // first * first, stop, first)]
    sizes = zip(dataset.shape[1:], dataset.chunks[1:], strict=True)
    ranges += [range(0, int(length), int(step)) for length, step in sizes]
    return list(itertools.product(*ranges))


def _fits(raw: bytes, size: int, item: int) -> bool:
    """Whether a packed chunk unpacks to `size` bytes, block by block; `item` 0 for plain LZ4."""
    if len(raw) < LENGTHS.size:
        return False
    total, block = LENGTHS.unpack_from(raw)
    if total != size or block == 0 or (item and (block % (8 * item) or size % item)):
        return False
    whole, rest = divmod(size, block)
    shuffled = rest // (8 * item) * (8 * item) if item else rest
    at = LENGTHS.size
    for _ in range(whole + (shuffled > 0)):
        if at + PACKED.size > len(raw):
            return False
        at += PACKED.size + PACKED.unpack_from(raw, at)[0]
    return bool(at + rest - shuffled <= len(raw))
