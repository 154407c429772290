"""Frames of HDF5 data sets as one lazy array: each task opens its file, reads, and closes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from operando_readers._hdf5 import Stack, opened
from operando_readers._reader import File, FormatError

SLAB_BYTES = 32 << 20
"""Frames are read in slabs of about this size."""


@dataclass(frozen=True)
class Part:
    """A stack, and the file it lies in."""

    file: File
    stack: Stack


def lazy(parts: Sequence[Part], *, dtype: npt.DTypeLike | None = None) -> da.Array:
    """Return the frames of several stacks one after the other.

    Parameters
    ----------
    dtype
        What the numbers are made; their own type when not given.

    Raises
    ------
    FormatError
        No frames, or of different sizes.
    """
    sizes = {part.stack.shape[1:] for part in parts}
    if len(sizes) != 1:
        raise FormatError(f"frames: sizes {sorted(sizes)}; expected one")
    kind = np.dtype(dtype or np.result_type(*(part.stack.dtype for part in parts)))
    slabs = [slab for part in parts for slab in _slabs(part, kind)]
    if not slabs:
        raise FormatError(f"{parts[0].stack.path}: no frame was written")
    frames: da.Array = da.concatenate(slabs)
    return frames


def _slabs(part: Part, kind: np.dtype[Any]) -> list[da.Array]:
    """Return one array a slab, of whole chunks of the file."""
    count, *frame = part.stack.shape
    bytes_each = max(1, int(np.prod(frame)) * kind.itemsize)
    each = max(1, SLAB_BYTES // bytes_each)
    each = max(part.stack.chunk, each // part.stack.chunk * part.stack.chunk)
    slabs = []
    for start in range(0, count, each):
        stop = min(start + each, count)
        task = delayed(_load)(part, start, stop, kind)
        slabs.append(da.from_delayed(task, (stop - start, *frame), dtype=kind))
    return slabs


def _load(part: Part, start: int, stop: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    with opened(part.file, again=True) as root:
        frames = root.slab(part.stack.path, start, stop)
    expected = (stop - start, *part.stack.shape[1:])
    if frames.shape != expected:
        raise FormatError(f"{part.stack.path}: frames {frames.shape}; expected {expected}")
    return frames.astype(kind, copy=False)
