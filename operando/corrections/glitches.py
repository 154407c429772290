"""Bragg glitches: points that leave the spectrum by themselves, in the sample or in the foil."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtri

from operando import arguments
from operando.corrections.cubic import bend, value_and_slope
from operando.corrections.history import recorded
from operando.corrections.rows import noise_of_rows, whole_rows
from operando.corrections.white_noise import white_noise
from operando.errors import RequestError

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Range = tuple[float, float]

CHANNELS = ("mu", "mu_fluorescence", "mu_reference")
STRIDES = (1, 2, 3)
"""Distance, in points, of the four neighbours that predict a point: the third sees past a glitch
that is five points wide."""
LEARNT_FROM = 64
"""Scans, evenly spaced, from which is learnt what is usual at an energy."""
ENOUGH = 8
"""Scans, at least, whose scatter tells how noise changes along the spectrum."""
NEAR, WIDE = 5, 15
"""Points on each side over which structure and noise are taken to be alike."""
MOST = 0.1
"""Part of the points of a scan that may be glitches; with more of them it is bad altogether."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How far points usually are from what their neighbours predict, (strides, m) each."""

    structure: Array
    """By the shape of the spectrum, in units of absorption."""
    noise: Array
    """By noise, in units of the noise of the scan; at least one."""


def mask_glitches(frames: xr.Dataset, *, edge: Range, false_alarm: float = 1e-3) -> xr.Dataset:
    """Mask glitches in all channels at once and interpolate over them.

    A point is compared to the cubic through four neighbours, at one, two and three points'
    distance. It is a glitch where it is off by more than noise, and the shape that the series
    usually has there, explain: the worst point is taken out first, then the rest is judged again.
    What is a glitch in one channel is masked in all: the monochromator or a crystal in the sample
    took the beam from both.

    What is usual is learnt from up to 64 scans, evenly spaced. Outside the edge, structure is the
    median over neighbouring energies, so that a glitch which all scans have at one energy is still
    found. Inside it the greatest structure nearby counts: what all scans have there is the edge,
    its white line, its pre-edge peak, and is never touched; a glitch must exceed five times that.

    Parameters
    ----------
    frames
        `mu` on (time, energy), `mu_fluorescence` and `mu_reference` as far as they exist.
    edge
        Lowest and highest energy of the structured region, eV: from before the pre-edge peak to
        where the oscillations are wide, for instance e0 - 20 to e0 + 60.
    false_alarm
        Probability that something is masked in a spectrum that is clean and has normal noise.

    Returns
    -------
    Dataset
        `frames` with the masked points interpolated by the cubic spline through the others, and
        `glitch` (1 where masked, int8) on (time, energy); the coordinate `glitches` counts them in
        each scan. Lazy where the frames are. Sigma of masked points is left as it was.

    Raises
    ------
    RequestError
        No channel, a range that is none, a probability that is none.

    Notes
    -----
    Fails on glitches wider than some five points, on those nearer than twice their width to an end,
    a gap or a change of step, and in the first steep points of an edge that lies outside `edge`.
    With fewer than 8 scans a glitch in a noisier part of the spectrum may be taken for noise. A
    glitch of several edge steps on a bend of the edge may take its neighbours along, and on the
    sharpest bends they are masked in its place: at 6 and 2 of the 166 points of a simulated edge.
    The scan is counted in `glitches` all the same; leave out scans with many.
    """
    series = arguments.dataset("frames", frames)
    low, high = arguments.pair("edge", edge, "lowest and highest energy in eV")
    if not low < high:
        raise RequestError(f"edge: {edge!r}; expected lowest and highest energy in eV")
    alarm = arguments.number("false_alarm", false_alarm, lambda p: 0 < p < 1, "between 0 and 1")
    names = [name for name in CHANNELS if name in series and "energy" in series[name].dims]
    if not names:
        raise RequestError(f"frames: none of {CHANNELS} in {list(series.data_vars)}")
    energy = series["energy"].values.astype(float)
    threshold = -float(ndtri(alarm / (2 * len(STRIDES) * energy.size)))
    inside = (energy >= low) & (energy <= high)
    picked = np.unique(np.linspace(0, series.sizes["time"] - 1, LEARNT_FROM).round().astype(int))
    channels = [whole_rows(series[name].transpose("time", "energy")) for name in names]
    usual = [
        learn_usual(energy, np.asarray(channel[picked].values, dtype=float), inside=inside)
        for channel in channels
    ]
    *filled, mask, count = xr.apply_ufunc(
        partial(_fill_block, energy=energy, usual=usual, threshold=threshold),
        *channels,
        input_core_dims=[["energy"]] * len(names),
        output_core_dims=[["energy"]] * (len(names) + 1) + [[]],
        output_dtypes=[float] * len(names) + [np.int8, np.int64],
        dask="parallelized",
    )
    made = {
        name: values.assign_attrs(series[name].attrs)
        for name, values in zip(names, filled, strict=True)
    }
    made["glitch"] = mask.assign_attrs(units="1", long_name="masked as a glitch and interpolated")
    facts = {"units": "1", "long_name": "points masked as glitches"}
    return recorded(
        series.assign(made).assign_coords(glitches=("time", count.data, facts)),
        "glitches",
        edge=[low, high],
        false_alarm=alarm,
        channels=names,
    )


def learn_usual(energy: Array, mu: Array, *, inside: Mask) -> Usual:
    """Learn what is usual from scans (n, m); `inside` marks the points of the edge."""
    rows = _bridged(energy, mu)
    noise = white_noise(energy, rows)
    rows, noise = rows[noise > 0], noise[noise > 0]
    shape = (len(STRIDES), energy.size)
    if not len(rows):  # nothing is known, so nothing is judged
        return Usual(structure=np.full(shape, np.inf), noise=np.ones(shape))
    structure, scatter = np.zeros(shape), np.ones(shape)
    near, wide = _neighbours(energy.size, NEAR), _neighbours(energy.size, WIDE)
    for place in range(len(STRIDES)):
        rest = _remainders_of_rows(energy, rows, place)
        typical = np.median(rest, axis=0)
        around = np.abs(typical)[near]
        structure[place] = np.where(inside, around.max(axis=1), np.median(around, axis=1))
        own = np.abs(rest - typical if len(rows) >= ENOUGH else rest) / noise[:, None]
        for side in (wide[:, : WIDE + 1], wide[:, WIDE:]):  # the noisier, where noise steps up
            pooled = own[:, side].transpose(1, 0, 2).reshape(energy.size, -1)
            scatter[place] = np.maximum(scatter[place], 1.4826 * np.median(pooled, axis=1))
    return Usual(structure=structure, noise=scatter)


def _bridged(energy: Array, mu: Array) -> Array:
    """Return the rows that are at least half there, with straight lines over their gaps."""
    rows: Array = mu[np.isfinite(mu).mean(axis=1) >= 0.5].copy()
    for row in rows:
        good = np.isfinite(row)
        row[~good] = np.interp(energy[~good], energy[good], row[good])
    return rows


def _neighbours(count: int, width: int) -> npt.NDArray[np.intp]:
    """Return the points around each, (m, 2 width + 1), moved inwards at the ends."""
    centre = np.clip(np.arange(count), width, max(count - 1 - width, 0))
    return np.asarray(np.clip(centre[:, None] + np.arange(-width, width + 1), 0, count - 1))


def _fill_block(
    *channels: Array, energy: Array, usual: list[Usual], threshold: float
) -> tuple[npt.NDArray[Any], ...]:
    """Return the channels with glitches filled, the mask and its sum along energy."""
    rows = [np.array(channel, dtype=float, order="C") for channel in channels]
    mask = np.zeros(rows[0].shape, dtype=np.bool_)
    for channel, known in zip(rows, usual, strict=True):
        noise = noise_of_rows(energy, channel)
        find_glitches(energy, channel, noise, known.structure, known.noise, threshold, mask)
    for channel in rows:
        _interpolate(energy, channel, mask)
    return (*rows, mask.astype(np.int8), mask.sum(axis=1))


@numba.njit(nogil=True, cache=True)
def find_glitches(
    x: Array,
    rows: Array,
    noise: Array,
    structure: Array,
    spread: Array,
    threshold: float,
    mask: Mask,
) -> None:
    """Set `mask` (n, m) where `rows` (n, m) have glitches; rows without noise are passed over."""
    rest = np.empty(x.size)
    whole = _weights(x)
    for row in range(rows.shape[0]):
        if not noise[row] > 0:
            continue
        kept = np.flatnonzero(np.isfinite(rows[row]))
        for _ in range(int(MOST * x.size)):
            y = rows[row][kept]
            weights = whole if kept.size == x.size else _weights(x[kept])
            worst, height = -1, threshold
            for place in range(len(STRIDES)):
                _remainders(y, STRIDES[place], weights[place], rest)
                for at in range(kept.size):
                    expected = noise[row] * spread[place, kept[at]]
                    allowed = np.sqrt(expected**2 + structure[place, kept[at]] ** 2)
                    if abs(rest[at]) > height * allowed:
                        worst, height = at, abs(rest[at]) / allowed
            if worst < 0:
                break
            mask[row, kept[worst]] = True
            kept = np.delete(kept, worst)


@numba.njit(nogil=True, cache=True)
def _weights(x: Array) -> Array:
    """Return the weights of each point and its four neighbours, of unit length, (strides, m, 5).

    Together they are the point minus the cubic through the neighbours; zero where there are none.
    """
    weights = np.zeros((len(STRIDES), x.size, 5))
    points = np.empty(4, dtype=np.int64)
    for place in range(len(STRIDES)):
        stride = STRIDES[place]
        for at in range(2 * stride, x.size - 2 * stride):
            points[0], points[1] = at - 2 * stride, at - stride
            points[2], points[3] = at + stride, at + 2 * stride
            weights[place, at, 4] = 1.0
            for one in range(4):
                part = -1.0
                for other in range(4):
                    if other != one:
                        part *= x[at] - x[points[other]]
                        part /= x[points[one]] - x[points[other]]
                weights[place, at, one] = part
            if np.abs(weights[place, at]).max() > 1:
                weights[place, at] = 0.0  # where steps change: a prediction amplifies errors
            else:
                weights[place, at] /= np.sqrt((weights[place, at] ** 2).sum())
    return weights


@numba.njit(nogil=True, cache=True)
def _remainders(y: Array, stride: int, weights: Array, out: Array) -> None:
    """Put into `out` what the neighbours do not predict of each point, for noise of one."""
    out[: y.size] = 0.0
    for at in range(2 * stride, y.size - 2 * stride):
        before = weights[at, 0] * y[at - 2 * stride] + weights[at, 1] * y[at - stride]
        after = weights[at, 2] * y[at + stride] + weights[at, 3] * y[at + 2 * stride]
        out[at] = weights[at, 4] * y[at] + before + after


@numba.njit(nogil=True, cache=True)
def _remainders_of_rows(x: Array, rows: Array, place: int) -> Array:
    out, weights = np.empty(rows.shape), _weights(x)
    for row in range(rows.shape[0]):
        _remainders(rows[row], STRIDES[place], weights[place], out[row])
    return out


@numba.njit(nogil=True, cache=True)
def _interpolate(x: Array, rows: Array, mask: Mask) -> None:
    """Put the spline through the other finite points of each row where `mask` is set."""
    for row in range(rows.shape[0]):
        if not mask[row].any():
            continue
        kept = np.flatnonzero(np.isfinite(rows[row]) & ~mask[row])
        if kept.size < 2:
            continue
        px, py = x[kept], rows[row][kept]
        second = bend(px, py)
        for at in np.flatnonzero(mask[row]):
            if np.isfinite(rows[row, at]):
                place = min(max(np.searchsorted(px, x[at]) - 1, 0), kept.size - 2)
                rows[row, at] = value_and_slope(px, py, second, place, x[at])[0]
