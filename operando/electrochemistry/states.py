"""States of the cell from time, voltage and current, where the instrument does not say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operando.electrochemistry.turns import turning_points
from operando.model import STATES

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LOW_CURRENT = 0.02
"""Currents below this share of the 99th percentile show offset and noise of the instrument."""
FEWEST_LOW = 20
TOLERANCE_MADS = 6.0
TOLERANCE_SHARE = 2e-3
LARGEST_OFFSET = 0.01
RELEASE = 0.5
"""A current that was on stays on until it falls below this share of the tolerance."""
BLIP_STEPS = 3.0
BLIP_PASSES = 3
STEP_SHARE, STEP_RANGE = 0.2, 0.02
FEWEST_ROWS = 10
HOLD_BAND_V, HOLD_BAND = 1.5e-3, 3e-4
HOLD_ROWS = 5
LAST_ROWS = 2
"""Rows after a hold that already belong to the next step but carry the mean current of both."""
HOLD_FALL = 0.05
SWEEP_SLOPE, SWEEP_PARTS = 0.1, 7
SWEEP_CURRENT = 0.02
SWEEP_NOISES = 10.0
MAD = 1.4826


def rest_band(current: Array) -> tuple[float, float]:
    """Return the offset of the current at rest and the tolerance around it, in the unit of it.

    Currents below 2 % of the 99th percentile of the magnitude are the low population. The offset is
    its median, unless that exceeds 1 % of the percentile; the tolerance is the larger of six
    standard deviations (from the MAD) of the population and 0.2 % of the percentile.
    """
    size = np.abs(current[np.isfinite(current)])
    scale = float(np.percentile(size, 99)) if size.size else 0.0
    low = current[np.abs(current) < LOW_CURRENT * scale]
    if low.size <= FEWEST_LOW:
        return 0.0, TOLERANCE_SHARE * scale
    offset = float(np.median(low))
    noise = MAD * float(np.median(np.abs(low - offset)))
    if abs(offset) >= LARGEST_OFFSET * scale:
        offset = 0.0
    return offset, max(TOLERANCE_MADS * noise, TOLERANCE_SHARE * scale)


def resting(current: Array) -> npt.NDArray[np.bool_]:
    """Mark the rows (n,) whose current is nothing but offset and noise, or is not known."""
    offset, tolerance = rest_band(current)
    return ~(np.abs(current - offset) > tolerance)


def infer_states(time_s: Array, voltage: Array, current: Array, run: Integers) -> Integers:
    """Label each row (n,) with one of `model.STATES`, from the measurement alone.

    Procedure: (1) sign of the current around its offset at rest, with hysteresis; (2) stretches
    shorter than three median steps between equal neighbours are absorbed; (3) inside a stretch of
    one sign and without a step of the current, the tail in which the voltage is pinned at its
    extreme while the current falls by more than 5 % is a hold; (4) a stretch between turning points
    of the voltage is a sweep when dE/dt is constant within 10 % and the current is not constant.

    Fails where the current of interest is below 0.2 % of the largest, where a hold or a blip lasts
    only a few rows, and for a sweep of an ideal capacitor, which looks like constant current.

    Parameters
    ----------
    time_s, voltage, current, run
        Rows in order of time: s, V, A (oxidation positive), number of the run.
    """
    labels = np.full(time_s.size, STATES["unknown"], np.int64)
    known = np.flatnonzero(np.isfinite(voltage) & np.isfinite(current))
    if known.size == 0:
        return labels
    time_s, voltage, current, run = time_s[known], voltage[known], current[known], run[known]
    sign = _absorb_blips(time_s, _signs(current, run), run)
    found = np.select(
        [sign > 0, sign < 0], [STATES["charge"], STATES["discharge"]], STATES["rest"]
    ).astype(np.int64)
    _label_holds(found, voltage, current, sign, run)
    _label_sweeps(found, time_s, voltage, current, run)
    labels[known] = found
    return labels


def _signs(current: Array, run: Integers) -> Integers:
    offset, tolerance = rest_band(current)
    shifted = current - offset
    on = np.abs(shifted) > tolerance
    off = np.abs(shifted) <= RELEASE * tolerance
    sign = np.where(on, np.sign(shifted), 0).astype(np.int64)
    decided = on | off
    decided[0] = True
    decided[1:] |= np.diff(run) != 0
    latest = np.maximum.accumulate(np.where(decided, np.arange(sign.size), 0))
    # A held sign ends where the current crosses zero, however small it is.
    held = sign[latest]
    return np.where(held == np.sign(shifted), held, sign)


def _bounds(key: Integers) -> tuple[Integers, Integers]:
    """Return first row and end of each stretch of equal keys."""
    first = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    return first, np.append(first[1:], key.size)


def _absorb_blips(time_s: Array, sign: Integers, run: Integers) -> Integers:
    step = np.diff(time_s)[(np.diff(run) == 0) & (np.diff(time_s) > 0)]
    shortest = BLIP_STEPS * float(np.median(step)) if step.size else 0.0
    sign = sign.copy()
    for _ in range(BLIP_PASSES):
        first, end = _bounds(3 * run + sign)
        length = time_s[np.minimum(end, time_s.size - 1)] - time_s[first]
        if first.size < 3:
            break
        before, after = first[:-2], first[2:]
        between = (
            (length[1:-1] < shortest)
            & (length[1:-1] < np.maximum(length[:-2], length[2:]))
            & (sign[before] == sign[after])
            & (run[before] == run[after])
        )
        if not between.any():
            break
        value = sign[first]
        value[1:-1][between] = sign[before][between]
        sign = np.repeat(value, end - first)
    return sign


def _label_holds(
    labels: Integers, voltage: Array, current: Array, sign: Integers, run: Integers
) -> None:
    size = np.abs(current)
    scale = float(np.percentile(size, 99))
    jump = np.abs(np.diff(current)) > np.maximum(STEP_RANGE * scale, STEP_SHARE * size[:-1])
    breaks = jump | (np.diff(sign) != 0) | (np.diff(run) != 0)
    first, end = _bounds(np.append(0, np.cumsum(breaks)))
    long = (end - first >= FEWEST_ROWS) & (sign[first] != 0)
    for start, stop in zip(first[long].tolist(), end[long].tolist(), strict=True):
        outward = voltage[start:stop] * sign[start]
        extreme = float(outward.max())
        pinned = outward > extreme - max(HOLD_BAND_V, HOLD_BAND * abs(extreme))
        begin, end_of_hold = _tail(pinned)
        count = end_of_hold - begin
        if count < HOLD_ROWS or pinned.size - end_of_hold > LAST_ROWS:
            continue
        tenth = max(1, count // 10)
        held = size[start + begin : start + end_of_hold]
        if held[-tenth:].mean() < (1 - HOLD_FALL) * held[:tenth].mean():
            name = "hold_charge" if sign[start] > 0 else "hold_discharge"
            labels[start + begin : start + end_of_hold] = STATES[name]


def _tail(pinned: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return first row and end of the last stretch of pinned rows."""
    end = int(np.flatnonzero(pinned)[-1]) + 1
    loose = np.flatnonzero(~pinned[:end])
    return (int(loose[-1]) + 1 if loose.size else 0), end


def _label_sweeps(
    labels: Integers, time_s: Array, voltage: Array, current: Array, run: Integers
) -> None:
    offset, tolerance = rest_band(current)
    first, end = _bounds(run)
    long = end - first >= FEWEST_ROWS
    for start, stop in zip(first[long].tolist(), end[long].tolist(), strict=True):
        potential = voltage[start:stop]
        noise = MAD * float(np.median(np.abs(np.diff(potential, n=2)))) / np.sqrt(6)
        smallest = max(SWEEP_NOISES * noise, 1e-3 * float(np.ptp(potential)))
        turns = turning_points(potential, smallest=smallest) + start
        for low, high in zip([start, *turns], [*turns + 1, stop], strict=True):
            driven = np.abs(current[low:high] - offset)
            if (
                high - low >= FEWEST_ROWS
                and float(np.median(driven)) > tolerance
                and _varies(driven)
                and _linear(time_s[low:high], voltage[low:high])
            ):
                up = voltage[high - 1] > voltage[low]
                labels[low + (low > start) : high] = STATES["sweep_up" if up else "sweep_down"]


def _varies(size: Array) -> bool:
    low, middle, high = np.percentile(size, (10, 50, 90))
    return bool(high - low > SWEEP_CURRENT * middle)


def _linear(time_s: Array, voltage: Array) -> bool:
    """Whether dE/dt is constant within 10 % over sevenths of the stretch, its end rows left out.

    The step to a row at a turning point holds the vertex, so its slope is not that of the sweep.
    """
    time_s, voltage = time_s[1:-1], voltage[1:-1]
    edges = np.rint(np.linspace(0, time_s.size - 1, SWEEP_PARTS + 1)).astype(np.int64)
    duration = np.diff(time_s[edges])
    whole = time_s[-1] - time_s[0]
    if whole <= 0 or (duration <= 0).any() or voltage[-1] == voltage[0]:
        return False
    slope = np.diff(voltage[edges]) / duration * whole / (voltage[-1] - voltage[0])
    return bool((np.abs(slope - 1) < SWEEP_SLOPE).all())
