"""Cosmic rays: sharp excesses of one frame over those before and after it at the same place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.count_noise import is_counted
from operando.corrections.history import recorded
from operando.corrections.intensities import spectra
from operando.corrections.ray_kernel import NEIGHBOURS, clean_alone, clean_in_time
from operando.corrections.rows import whole_rows
from operando.model import category_attributes, positions

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

AXIS = "raman_shift"
RULES: dict[str, int] = {"in_time": 0, "alone": 1}
"""`cosmic_ray_rule`: how a frame was judged. `in_time`: by its neighbours in time at the same
position. `alone`: by itself, where a position has fewer than five frames."""


def remove_cosmic_rays(frames: xr.Dataset, *, threshold: float = 6.0) -> xr.Dataset:
    """Replace what a cosmic ray left by what the frames before and after have there.

    Every spectrum is freed of what is broad (the running median of nine points). A point is hit
    where the rest exceeds the second largest of the four nearest frames at the same position by
    `threshold` sigma and by half of the height that a sharp band has there anyway; points beside
    it that exceed half as much are, too. So a ray is what one frame, or two, have alone: a band
    that shows in three frames one after the other is never touched, its first frame included, nor
    is a sharp band whose height varies by up to a half from frame to frame. In the two frames at
    either end of the series, whose future or past is not known, the largest of the four counts: a
    new band that stays is safe from its second frame on.

    The noise of a frame is that of its excess itself (Huber's scale), proportional to
    `intensity_sigma` if there is one, else to the root of the level where `intensity` is counts.
    A hit point becomes the broad part of its own frame and the median of the neighbours' rest.

    Where a position has fewer than five frames each is judged alone, in the manner of Whitaker and
    Hayes (Chemom. Intell. Lab. Syst. 179 (2018) 82): what exceeds the broad part by `threshold`
    times the noise of its first differences, and is at a fifth of its height still at most three
    points wide. Bands of 2.5 points at half maximum are wider than that.

    Parameters
    ----------
    frames
        `intensity` on (time, raman_shift); `position` where several places were visited in turn.
    threshold
        In sigma; of clean spectra 5 replaces one point in some 1e6, 6 one in 1e8.

    Returns
    -------
    Dataset
        `frames` with `intensity` replaced where hit, and `cosmic_ray` (1 where replaced, int8) on
        (time, raman_shift); coordinates `cosmic_rays`, how many points, and `cosmic_ray_rule`.
        Lazy where the frames are, and equal for any chunking. Sigma is left as it was.

    Raises
    ------
    RequestError
        No intensity on time and Raman shift, a threshold that is not above zero.

    Notes
    -----
    Fails on rays wider than four points (tracks along the row of the camera), and on those that hit
    the same point twice within five frames. What truly lasts for less than three frames and is as
    sharp as a ray is taken for one: it is never evidence of an interphase. Of a growing series the
    last two frames are judged anew as others follow.
    """
    series, _ = spectra(frames, AXIS)
    sigmas = arguments.number("threshold", threshold, lambda t: t > 0, "sigma above 0")
    signal = series["intensity"].transpose("time", AXIS)
    inputs = [_bare(signal)]
    if "intensity_sigma" in series:
        inputs.append(_bare(series["intensity_sigma"].transpose("time", AXIS)))
    near = nearest_frames(series)
    clean = partial(_clean, threshold=sigmas, counted=is_counted(signal))
    parts = [_cleaned(inputs, block, clean) for block in _blocks(signal, near)]
    filled, mask, count = (xr.concat(part, "time") for part in zip(*parts, strict=True))
    made = {
        "intensity": filled.assign_attrs(signal.attrs),
        "cosmic_ray": mask.assign_attrs(units="1", long_name="replaced, hit by a cosmic ray"),
    }
    rule = np.where(near[:, 0] < 0, RULES["alone"], RULES["in_time"]).astype(np.int32)
    riding = {
        "cosmic_rays": ("time", count.data, {"units": "1", "long_name": "points replaced"}),
        "cosmic_ray_rule": ("time", rule, category_attributes(RULES)),
    }
    return recorded(
        series.assign(made).assign_coords(riding), "cosmic_rays", threshold=sigmas, axis=AXIS
    )


def nearest_frames(frames: xr.Dataset) -> Index:
    """Return the four nearest frames of each at its position, (n, 4); -1 where there are not four.

    Two before and two after; at the ends of the series more on the other side.
    """
    near = np.full((frames.sizes["time"], NEIGHBOURS), -1, np.int64)
    for rows in positions(frames).values():
        if rows.size <= NEIGHBOURS:
            continue
        first = np.clip(np.arange(rows.size) - 2, 0, rows.size - 1 - NEIGHBOURS)
        window = first[:, None] + np.arange(NEIGHBOURS + 1)
        others = window != np.arange(rows.size)[:, None]
        near[rows] = rows[window[others].reshape(rows.size, NEIGHBOURS)]
    return near


@dataclass(frozen=True)
class _Block:
    """Frames that are cleaned together."""

    own: Index
    """Which, (k,)."""
    needed: Index
    """They and their neighbours, ascending, (u,)."""
    near: Index
    """Their neighbours, as places among `needed`, (k, 4); -1 where there are none."""


def _blocks(signal: xr.DataArray, near: Index) -> list[_Block]:
    chunks = signal.chunks[0] if signal.chunks else (signal.sizes["time"],)
    blocks, start = [], 0
    for size in chunks:
        own = np.arange(start, start + size)
        around = near[own]
        needed = np.unique(np.concatenate([own, around[around >= 0]]))
        place = np.where(around >= 0, np.searchsorted(needed, around), -1)
        blocks.append(_Block(own, needed, place))
        start += size
    return blocks


def _bare(values: xr.DataArray) -> xr.DataArray:
    return whole_rows(values.drop_vars(list(values.coords)), AXIS)


def _cleaned(inputs: list[xr.DataArray], block: _Block, clean: Any) -> tuple[xr.DataArray, ...]:
    """Return the frames of a block, the mask and its sum; lazy where the inputs are."""
    parts = [array.isel(time=block.needed) for array in inputs]
    lazy = parts[0].chunks is not None
    if lazy:
        parts = [part.copy(data=part.data.rechunk(-1)) for part in parts]
    outputs: tuple[xr.DataArray, ...] = xr.apply_ufunc(
        partial(clean, own=np.searchsorted(block.needed, block.own), near=block.near),
        *parts,
        input_core_dims=[["time", AXIS]] * len(parts),
        output_core_dims=[["frame", AXIS], ["frame", AXIS], ["frame"]],
        output_dtypes=[float, np.int8, np.int64],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"frame": block.own.size}},
    )
    return tuple(part.rename(frame="time") for part in outputs)


def _clean(
    rows: Array,
    sigma: Array | None = None,
    *,
    own: Index,
    near: Index,
    threshold: float,
    counted: bool,
) -> tuple[npt.NDArray[Any], ...]:
    """Return the frames `own` of rows (u, m) without rays, the mask and its sum."""
    rows = np.ascontiguousarray(rows, dtype=float)
    given = sigma is not None
    spread = np.ascontiguousarray(sigma, dtype=float) if given else np.zeros((0, rows.shape[1]))
    filled, mask = rows[own].copy(), np.zeros((own.size, rows.shape[1]), np.bool_)
    clean_in_time(rows, spread, own, near, threshold, counted and not given, filled, mask)
    alone = near[:, 0] < 0
    clean_alone(rows, spread, own, alone, threshold, counted and not given, filled, mask)
    return filled, mask.astype(np.int8), mask.sum(axis=1)
