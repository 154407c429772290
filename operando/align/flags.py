"""What is wrong with the electrochemical state given to a frame, as a bit mask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.align.windows import SECOND, Array, Integers, Mask, Windows
from operando.errors import RequestError
from operando.model import ALIGNMENT_FLAGS

LARGEST_VOLTAGE_SIGMA = 5e-3
"""V; a frame whose voltage is less certain than this because of the clocks is time_uncertain."""
ROUNDING_NS = 1000.0


class Clocks(NamedTuple):
    """How well the frames' clock is known against that of the log."""

    sigma_s: float
    """NaN when the uncertainty of a clock is unknown."""
    verified: bool
    described: dict[str, Any]
    """The `clock` attributes of both."""


def clocks_of(frames: xr.Dataset, log: xr.Dataset, *, time_sigma_s: float | None) -> Clocks:
    """Return the uncertainty of the frames' clock against the log's, in quadrature.

    Sweeps of impedance that are part of the log have its clock: there is none to be uncertain of.

    Raises
    ------
    RequestError
        Frames and log are the same files, but were placed differently.
    """
    described = {"frames": _clock(frames), "electrochemistry": _clock(log)}
    if time_sigma_s is not None:
        return Clocks(float(time_sigma_s), True, described)
    if _same_clock(frames, log, described):
        return Clocks(0.0, True, described)
    sigma = float(np.hypot(_sigma(described["frames"]), _sigma(described["electrochemistry"])))
    return Clocks(sigma, not np.isnan(sigma), described)


def alignment_flags(
    time: Integers,
    windows: Windows,
    *,
    coverage: Array,
    current_coverage: Array,
    shares: Sequence[Array],
    voltage_sigma: Array,
    clocks: Clocks,
    charge_uncertain: Mask,
    duplicate: Mask,
    minimum_coverage: float,
    majority: float,
) -> npt.NDArray[np.int32]:
    """Return `model.ALIGNMENT_FLAGS` of each window (m,).

    `partial` looks at the coverage of the voltage, and at that of the current where some of it was
    recorded. `in_gap` marks frames that lost coverage between two rows of the log, not at its ends.
    """
    outside = coverage == 0
    partial = ~outside & (
        (coverage < minimum_coverage)
        | ((current_coverage > 0) & (current_coverage < minimum_coverage))
    )
    exposure = windows.end - windows.start
    within = np.minimum(windows.end, time[-1]) - np.maximum(windows.start, time[0])
    lost = within - coverage * exposure
    gap = (outside & (within >= 0)) | (partial & (lost > ROUNDING_NS))
    mixed = np.logical_or.reduce([share < majority for share in shares])
    late = (voltage_sigma > LARGEST_VOLTAGE_SIGMA) | (clocks.sigma_s * SECOND > exposure)
    row = np.clip(np.searchsorted(time, windows.end, "right") - 1, 0, None)
    masks = {
        "outside": outside,
        "partial": partial,
        "in_gap": gap,
        "mixed_state": mixed,
        "time_uncertain": late,
        "clock_unverified": np.full(coverage.size, not clocks.verified),
        "charge_uncertain": charge_uncertain[row] & ~outside,
        "duplicate_frame": duplicate,
    }
    flag = np.zeros(coverage.size, np.int32)
    for name, mask in masks.items():
        flag[mask] |= ALIGNMENT_FLAGS[name]
    return flag


def duplicates(frames: xr.Dataset) -> Mask:
    """Mark the frames that repeat interval and position of a frame before them."""
    columns = [frames["time_start"].values, frames["time_end"].values]
    if "position" in frames.coords and frames["position"].dims == ("time",):
        columns.append(np.unique(frames["position"].values.astype(str), return_inverse=True)[1])
    order = np.lexsort(columns[::-1])
    same = np.ones(max(order.size - 1, 0), bool)
    for column in columns:
        same &= column[order][1:] == column[order][:-1]
    mask = np.zeros(order.size, bool)
    mask[order[1:]] = same
    return mask


def _same_clock(frames: xr.Dataset, log: xr.Dataset, described: dict[str, Any]) -> bool:
    """Whether the frames stand in files of the log."""
    ours, theirs = (set(json.loads(data.attrs.get("source_files", "[]"))) for data in (frames, log))
    if not ours or not ours <= theirs:
        return False
    for key, told in (("zone", "tz"), ("offset_s", "clock_offset_s"), ("drift_ppm", "drift_ppm")):
        both = [clock.get(key) for clock in described.values()]
        if both[0] != both[1]:
            raise RequestError(
                f"{sorted(ours)[0]}: is log and frames at once, but {told} is {both[1]!r} for the "
                f"log and {both[0]!r} for the frames; declare one"
            )
    return True


def _clock(dataset: xr.Dataset) -> dict[str, Any]:
    clock: dict[str, Any] = json.loads(dataset.attrs.get("clock", "{}"))
    return clock


def _sigma(clock: dict[str, Any]) -> float:
    """Return the largest sigma of the sources of a clock; NaN when one is unknown."""
    sources = [clock, *clock.get("sources", [])]
    sigmas = [source.get("sigma_s") for source in sources]
    return float(np.max([np.nan if sigma is None else sigma for sigma in sigmas]))
