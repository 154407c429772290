"""Lazy loading of many small files: a block of frames is one dask task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from operando.errors import ReadError
from operando.reading.registry import load
from operando_readers._reader import File
from operando_readers._sweeps import union as distinct

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.float64] | npt.NDArray[np.complex128]

BLOCK_BYTES = 16 << 20
BLOCK_FRAMES = 256
SCATTERED = "frequency"
"""An axis whose points lie too far apart to interpolate between them."""
ROUNDING = 1e-9
MISSING = {"f": np.nan, "c": complex(np.nan, np.nan)}
"""What stands for no measurement, by the kind of the numbers."""


@dataclass(frozen=True)
class Frame:
    """Where one exposure stands: the file, and its place in that file."""

    file: File
    index: int
    version: tuple[int, int]
    """When the file was written, and its size: a changed file is another task for dask."""


@dataclass(frozen=True)
class Layout:
    """What the frames of a series have in common."""

    axis: str
    grid: Array
    variables: tuple[tuple[str, str], ...]
    """Names and types: float64, or complex128 for an impedance."""


def stack(
    frames: Sequence[Frame], layout: Layout, *, format: str, options: Mapping[str, Any]
) -> dict[str, da.Array]:
    """Return one lazy (time, axis) array per variable; nothing is read before it is computed.

    A frame on another axis is brought onto the grid of the series as `onto` says (sweeps of
    impedance as `placed` says); a frame that cannot be read is NaN. `operando.reading.frames` has
    flagged both already.
    """
    width = layout.grid.size
    each = max(1, min(BLOCK_FRAMES, BLOCK_BYTES // (8 * width * len(layout.variables))))
    pieces: dict[str, list[da.Array]] = {name: [] for name, _ in layout.variables}
    for block in _blocks(frames, each):
        task = delayed(load_block, pure=True)(block, layout, format, dict(options))
        for row, (name, dtype) in enumerate(layout.variables):
            piece = da.from_delayed(task[row], (len(block), width), np.dtype(dtype))
            pieces[name].append(piece)
    return {name: da.concatenate(parts) for name, parts in pieces.items()}


def version_of(file: File) -> tuple[int, int]:
    """Return when the file (or its zip) was last written, in ns, and its size."""
    about = file.path.stat()
    return about.st_mtime_ns, about.st_size


def _blocks(frames: Sequence[Frame], each: int) -> Iterator[tuple[Frame, ...]]:
    """Cut into blocks of about `each` frames, never inside a run of frames of one file.

    A file of many spectra is parsed as a whole, so it is parsed once.
    """
    block: list[Frame] = []
    for frame in frames:
        if len(block) >= each and frame.file != block[-1].file:
            yield tuple(block)
            block = []
        block.append(frame)
    yield tuple(block)


def load_block(
    frames: Sequence[Frame], layout: Layout, format: str, options: Mapping[str, Any]
) -> list[Numbers]:
    """Read the frames of one block: a (frame, axis) array per variable of the layout."""
    shape = (len(frames), layout.grid.size)
    out = [np.full(shape, MISSING[np.dtype(dtype).kind], dtype) for _, dtype in layout.variables]
    bring = placed if layout.axis == SCATTERED else onto
    cache: tuple[File, xr.Dataset | None] | None = None
    for row, frame in enumerate(frames):
        if cache is None or cache[0] != frame.file:
            cache = (frame.file, _load_or_none(frame.file, format, options))
        dataset = cache[1]
        if dataset is None:
            continue
        axis = dataset[layout.axis].values
        for values, (name, _) in zip(out, layout.variables, strict=True):
            if name in dataset:
                values[row] = bring(layout.grid, axis, dataset[name].values[frame.index])
    return out


def same_grid(axis: Array, grid: Array) -> bool:
    """Whether an axis is the grid of the series up to rounding."""
    return axis.shape == grid.shape and bool(np.allclose(axis, grid, rtol=1e-9, atol=0.0))


def onto(grid: Array, axis: Array, values: Numbers) -> Numbers:
    """Return `values` on `grid`: unchanged on the same axis, else linear between its points.

    Beyond its ends, and between points of which one is NaN, the result is NaN.
    """
    if same_grid(axis, grid):
        return values
    return np.asarray(np.interp(grid, axis, values, left=np.nan, right=np.nan), np.float64)


def union(axes: Sequence[Array]) -> Array:
    """Return the points of all axes, ascending; a point within 1e-4 above another is the same."""
    return distinct(np.sort(np.concatenate(axes)))[0]


def placed(grid: Array, axis: Array, values: Numbers) -> Numbers:
    """Return `values` at the points of a `union` that are those of the axis, NaN elsewhere."""
    out: npt.NDArray[Any] = np.full(grid.size, MISSING[values.dtype.kind], values.dtype)
    out[np.searchsorted(grid, axis * (1 + ROUNDING), side="right") - 1] = values
    return out


def _load_or_none(file: File, format: str, options: Mapping[str, Any]) -> xr.Dataset | None:
    try:
        return load(file, format=format, options=options)
    except ReadError:
        return None
