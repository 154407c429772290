"""Whether a line moves because its phase changes, or because two phases change places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando.errors import RequestError
from operando.model import category_attributes, positions
from operando.observables.lines.phase_explanations import (
    Data,
    Fit,
    exchange,
    free_width,
    gain,
    one_line,
    separation,
    two_lines,
    way,
)
from operando.observables.lines.phase_frame import FIRST_DRIFT, WIDTH

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

ANSWERS: dict[str, int] = {
    "undecided": 0,
    "solid_solution": 1,
    "two_phase": 2,
    "two_phase_with_drift": 3,
}
REASONS: dict[str, int] = {
    "decided": 0,
    "too_close": 1,
    "not_told_apart": 2,
    "width_changes": 3,
    "no_exchange": 4,
    "misfit": 5,
    "no_line": 6,
    "too_few_frames": 7,
}
"""Why a block is undecided.

`too_close`: the line moves or splits by less than 0.3 FWHM and three sigma, where a change of
width, from strain or size, looks the same. `not_told_apart`: chi-squares differ too little.
`width_changes`: one line of free width in every frame explains the block much better.
`no_exchange`: two lines explain it better, but a quarter of the area does not change places: a
shoulder that stays, or a line that broadens.
`misfit`: neither explains it. `no_line`: less than 10 sigma in all frames together.
"""
EVIDENCE = 25.0
"""Difference of chi-square over reduced chi-square that decides."""
CLOSEST = 0.3
"""Separation in FWHM under which nothing is decided."""
EXCHANGE = 0.25
"""Change of the share of a phase, over the block, that two phases must show."""
WORST = 10.0
"""Reduced chi-square from which neither is an explanation."""
SLOW = 0.75
"""Largest drift of two lines along a block, over their separation."""
SURE = 3.0
"""Sigma by which a separation must be larger than that."""
CLEAR = 15.0
"""Chi-square a frame by which a line must be better than none; noise finds 8."""
LEAST_FRAMES, LEAST_POINTS = 8, 12
FEWEST = 0.5
"""Share of a block that frames left over at the end must fill to be one."""
NUMBERS = {
    "delta_chi2": ("1", "chi-square of a solid solution minus that of two phases"),
    "separation": ("axis", "distance of two lines, or way of the one of a solid solution"),
    "separation_sigma": ("axis", "standard deviation of the separation"),
    "separation_over_fwhm": ("1", "separation over the width of the line"),
    "block_fwhm": ("axis", "full width at half maximum, of the block"),
    "block_fwhm_sigma": ("axis", "standard deviation of the width of the block"),
    "chi2r_solid_solution": ("1", "reduced chi-square of one line that moves"),
    "chi2r_two_phase": ("1", "reduced chi-square of two lines that stay"),
    "chi2r_two_phase_with_drift": ("1", "reduced chi-square of two lines that move evenly"),
    "exchange": ("1", "largest change of the share of the upper line between quarters"),
}
ON_TIME = {
    "fwhm": ("axis", "width of one line, free in every frame"),
    "fwhm_sigma": ("axis", "standard deviation of that width"),
    "centre": ("axis", "centre of one line of the width of the block"),
    "centre_sigma": ("axis", "standard deviation of that centre"),
    "upper_share": ("1", "area of the upper of two fixed lines over that of both"),
}


def solid_solution_or_two_phase(
    intensity: xr.DataArray,
    *,
    window: tuple[float, float],
    sigma: xr.DataArray | None = None,
    block: int = 40,
    eta: float | None = None,
    evidence: float = EVIDENCE,
) -> xr.Dataset:
    """Compare two explanations of a line that changes, block by block of frames.

    `solid_solution`: one line, whose centre is free in every frame. `two_phase`: two lines that
    stay where they are, whose areas are free in every frame. Both have four free numbers a frame
    (area, centre or second area, straight background) and one width, Lorentzian share and asymmetry
    for the block, so that chi-squares are compared as they are. `two_phase_with_drift`: the two
    lines also move evenly along the block, by less than they are apart. A block is decided where
    the chi-squares differ by more than `evidence` times the reduced chi-square and the lines are
    more than 0.3 FWHM apart (or the one moves by that much); else it is `undecided`, and `reason`
    says why. An area that is held at zero is not counted as a free number.

    Parameters
    ----------
    intensity
        On (time, axis), of one spot, numpy or dask; the window is read at once.
    window
        Lowest and highest place: the line in all its places, with background on both sides, and no
        other line.
    sigma
        Of `intensity`. When None, `intensity` is taken for counts.
    block
        Frames that are explained together. What matters is how much happens within one: a phase
        change that takes ten blocks is a little of one in each.
    eta
        Lorentzian share of the profile, where it is known; None fits one to the block.
    evidence
        What decides. Smaller is bolder; the sign of `delta_chi2` is the more likely answer even
        when it is small (`benchmarks/new_peaks.py` says how often it is right).

    Returns
    -------
    Dataset
        On `block`: `answer` and `reason` (categories), `delta_chi2` (solid solution minus two
        phases: positive speaks for two), `separation` of the two lines, or way of the one for a
        solid solution, with `separation_sigma`, `separation_over_fwhm`, `block_fwhm` with sigma,
        `chi2r_solid_solution`, `chi2r_two_phase`, `chi2r_two_phase_with_drift`, `exchange` (by how
        much the share of the upper line changes), `frames`, `block_start`, `block_end`. On time,
        for the eye: `fwhm` of a single line of free width (a hump in the middle of the change is
        two phases, a slope is not) and `centre`, with sigmas; `upper_share` (of two fixed lines,
        the area of the upper one over both); `block_number`. Sigmas hold noise, times the root of
        the reduced chi-square where that is above 1.

    Raises
    ------
    RequestError
        No axes of time and another, several spots, a window with fewer than 12 points, a block of
        fewer than 8 frames, a share outside 0 to 1.

    Notes
    -----
    Everything rests on one width for the block. A solid solution whose line broadens in the middle
    of its way by 20 % and narrows again is two lines 0.56 FWHM apart, to second order, and no
    counting tells them apart: ask a second reflection, whose separation must scale with tan(theta)
    d. The power grows with counts x frames x (separation / FWHM)^4. Two phases that both move and
    change places in a single block, a third phase, and lines of other phases in the window are
    not among the explanations.
    """
    axis, inside = _check(intensity, window, sigma, block, eta)
    grid = intensity[axis].values[inside].astype(float)
    values = _values(intensity, axis, inside)
    weight = _weights(values, None if sigma is None else _values(sigma, axis, inside))
    usable = np.flatnonzero((weight > 0).sum(axis=1) >= LEAST_POINTS)
    values = np.where(weight > 0, values, 0.0)
    blocks = _blocks(usable, block)
    data = [Data(grid, values[rows], weight[rows], eta) for rows in blocks]
    found = [_judge(one, evidence) for one in data]
    return _labelled(intensity, axis, blocks, found)


def _check(
    intensity: xr.DataArray,
    window: tuple[float, float],
    sigma: xr.DataArray | None,
    block: int,
    eta: float | None,
) -> tuple[str, Index]:
    if intensity.ndim != 2 or intensity.dims[0] != "time":
        raise RequestError(f"intensity: dimensions {intensity.dims!r}; expected time and one axis")
    if sigma is not None and set(sigma.dims) != set(intensity.dims):
        raise RequestError(f"sigma: dimensions {sigma.dims!r}; expected {intensity.dims!r}")
    spots = positions(intensity)
    if len(spots) > 1:
        raise RequestError(f"intensity: {len(spots)} positions {list(spots)}; select one")
    axis = str(intensity.dims[1])
    grid = intensity[axis].values
    inside = np.flatnonzero((grid >= window[0]) & (grid <= window[1]))
    if inside.size < LEAST_POINTS:
        raise RequestError(
            f"window: {inside.size} points in {window[0]!r}-{window[1]!r}; at least {LEAST_POINTS} "
            f"are needed and the data span {grid[0]:g}-{grid[-1]:g}"
        )
    if block < LEAST_FRAMES:
        raise RequestError(f"block: {block!r}; expected {LEAST_FRAMES} frames or more")
    if eta is not None and not 0.0 <= eta <= 1.0:
        raise RequestError(f"eta: {eta!r}; expected a Lorentzian share from 0 to 1")
    return axis, inside


def _values(data: xr.DataArray, axis: str, inside: Index) -> Array:
    return np.ascontiguousarray(data.transpose("time", axis).isel({axis: inside}), dtype=float)


def _weights(values: Array, sigma: Array | None) -> Array:
    """Return 1/variance; of counts from the mean of five points. 0 where nothing was measured."""
    present = np.isfinite(values)
    if sigma is not None:
        present &= np.isfinite(sigma) & (sigma > 0)
        return np.where(present, 1.0 / np.where(present, sigma, 1.0) ** 2, 0.0)
    kernel = np.ones(5)

    def five(rows: Array) -> Array:
        padded = np.pad(rows, ((0, 0), (2, 2)))
        return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1) @ kernel)

    mean = five(np.where(present, values, 0.0)) / np.maximum(five(present.astype(float)), 1.0)
    return np.where(present, 1.0 / np.maximum(mean, 1.0), 0.0)


def _blocks(rows: Index, block: int) -> list[Index]:
    """Cut frames into blocks; what is left at the end is one, or part of the last."""
    count = max(1, int(rows.size / block + 1.0 - FEWEST))
    cuts = [rows[at * block : (at + 1) * block if at < count - 1 else None] for at in range(count)]
    return [part for part in cuts if part.size]


@dataclass(frozen=True)
class _Block:
    """What was found in a block; `numbers` by the names of the result."""

    answer: str
    reason: str
    numbers: dict[str, float]
    frames: dict[str, Array]
    """On its frames."""


def _judge(data: Data, evidence: float) -> _Block:
    """Explain a block and decide."""
    if len(data.values) < LEAST_FRAMES:
        return _nothing(data, "too_few_frames")
    one = one_line(data)
    if gain(data, one) < CLEAR * max(one.chi2r, 1.0):
        return _nothing(data, "no_line")
    free = free_width(data, one)
    two, drift = two_lines(data, one)
    unit = max(1.0, min(fit.chi2r for fit in (one, two, drift)))
    answer, reason = _decide(one, two, drift, free, unit, evidence)
    alone = answer == "solid_solution"
    chosen = {"solid_solution": one, "two_phase_with_drift": drift}.get(answer, two)
    apart, apart_sigma = way(one) if alone else separation(chosen)
    numbers = {
        "delta_chi2": one.cost(unit) - two.cost(unit),
        "separation": apart,
        "separation_sigma": apart_sigma,
        "separation_over_fwhm": apart / chosen.width,
        "block_fwhm": chosen.width,
        "block_fwhm_sigma": chosen.excess * float(np.sqrt(chosen.covariance[WIDTH, WIDTH])),
        "chi2r_solid_solution": one.chi2r,
        "chi2r_two_phase": two.chi2r,
        "chi2r_two_phase_with_drift": drift.chi2r,
        "exchange": exchange(two),
    }
    return _Block(answer, reason, numbers, _followed(one, free, two))


def _followed(one: Fit, free: Fit, two: Fit) -> dict[str, Array]:
    """Return what there is to see of every frame, NaN where it has no line."""
    both = two.amounts[:, 0] + two.amounts[:, 1]
    share = np.where(both > 0, two.amounts[:, 1] / np.where(both > 0, both, 1.0), np.nan)
    frames = {
        "fwhm": free.own[:, 1],
        "fwhm_sigma": free.excess * np.sqrt(free.own_variance[:, 1]),
        "centre": one.own[:, 0],
        "centre_sigma": one.excess * np.sqrt(one.own_variance[:, 0]),
        "upper_share": share,
    }
    seen = one.amounts[:, 0] > 0
    return {name: np.where(seen, values, np.nan) for name, values in frames.items()}


def _decide(
    one: Fit, two: Fit, drift: Fit, free: Fit, unit: float, evidence: float
) -> tuple[str, str]:
    """Return the answer, and why there is none. `unit`: reduced chi-square of the best."""
    if unit > WORST:
        return "undecided", "misfit"
    needed = evidence * unit
    alone, still, moving, broad = (fit.cost(unit) for fit in (one, two, drift, free))
    if min(alone, still, moving) - broad > needed:
        return "undecided", "width_changes"
    # two lines that drift by as much as they are apart are one that moves, and its misfit
    slow = float(np.abs(drift.shared[FIRST_DRIFT:]).max()) < SLOW * separation(drift)[0]
    drifts = slow and min(alone, still) - moving > needed
    if drifts and broad - moving < needed:
        return "undecided", "width_changes"
    chosen, delta = (drift, alone - moving) if drifts else (two, alone - still)
    apart, sigma = way(one) if delta < 0 else separation(chosen)
    if apart - SURE * sigma < CLOSEST * chosen.width:
        return "undecided", "too_close"
    if abs(delta) <= needed:
        return "undecided", "not_told_apart"
    if delta < 0:
        return "solid_solution", "decided"
    if exchange(chosen) < EXCHANGE:
        return "undecided", "no_exchange"
    return ("two_phase_with_drift" if drifts else "two_phase"), "decided"


def _nothing(data: Data, reason: str) -> _Block:
    """Return a block of which nothing is known."""
    none = np.full(len(data.values), np.nan)
    return _Block("undecided", reason, dict.fromkeys(NUMBERS, np.nan), dict.fromkeys(ON_TIME, none))


def _labelled(
    intensity: xr.DataArray, axis: str, blocks: list[Index], found: list[_Block]
) -> xr.Dataset:
    frames = intensity.sizes["time"]
    unit = str(intensity[axis].attrs.get("units", "1"))
    number = np.full(frames, -1, dtype=np.int32)
    on_time = {name: np.full(frames, np.nan) for name in ON_TIME}
    for at, (rows, one) in enumerate(zip(blocks, found, strict=True)):
        number[rows] = at
        for name, values in one.frames.items():
            on_time[name][rows] = values
    numbers: dict[str, Any] = {
        name: ("block", np.array([one.numbers[name] for one in found]), _about(name, unit))
        for name in NUMBERS
    }
    time = intensity["time"].values
    along = {name: c for name, c in intensity.coords.items() if c.dims == ("time",)}
    return xr.Dataset(
        {
            "answer": ("block", _codes(found, "answer"), category_attributes(ANSWERS)),
            "reason": ("block", _codes(found, "reason"), category_attributes(REASONS)),
            **numbers,
            "frames": ("block", np.array([rows.size for rows in blocks]), {"units": "1"}),
            **{name: ("time", on_time[name], _about(name, unit)) for name in ON_TIME},
            "block_number": ("time", number, {"units": "1", "long_name": "block; -1: not judged"}),
        },
        coords={
            **along,
            "block": np.arange(len(blocks)),
            "block_start": ("block", np.array([time[rows[0]] for rows in blocks])),
            "block_end": ("block", np.array([time[rows[-1]] for rows in blocks])),
        },
        attrs={"axis": axis, "signal": str(intensity.name or "")},
    )


def _codes(found: list[_Block], name: str) -> npt.NDArray[np.int32]:
    known = ANSWERS if name == "answer" else REASONS
    return np.array([known[getattr(one, name)] for one in found], dtype=np.int32)


def _about(name: str, unit: str) -> dict[str, str]:
    dimension, meaning = {**NUMBERS, **ON_TIME}[name]
    about = {"units": unit if dimension == "axis" else dimension, "long_name": meaning}
    if f"{name}_sigma" in {**NUMBERS, **ON_TIME}:
        about["ancillary_variables"] = f"{name}_sigma"
    return about
