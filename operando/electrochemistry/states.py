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
BLIP_STEPS, BLIP_ROWS = 3.0, 2
"""A blip is short in time and in rows: a step of a second that was recorded is no noise."""
BLIP_PASSES = 3
STEP_SHARE, STEP_RANGE = 0.2, 0.02
HOLD_BAND_V, HOLD_BAND = 1.5e-3, 3e-4
HOLD_ROWS = 5
LAST_ROWS = 2
"""Rows after a hold that already belong to the next step but carry the mean current of both."""
HOLD_FALL, HOLD_SIGMAS = 0.01, 5.0
HOLD_NOISES = 6.0
SWEEP_ROWS, SWEEP_PIECE = 10, 3
"""Fewest rows of a sweep, and of a piece of one at an end of the record."""
SWEEP_SLOPE, SWEEP_PARTS = 0.1, 7
MOST_PARTS, PART_NOISES, AGREEING_PARTS = 50, 30.0, 0.9
SWEEP_CURRENT, SWEEP_SIGMAS = 0.02, 6.0
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

    Procedure: (1) sign of the current around its offset at rest, with hysteresis; (2) stretches of
    one or two rows, shorter than three median steps, between equal neighbours are absorbed;
    (3) inside a stretch of one sign and without a step of the current, the tail in which the
    voltage is pinned at its extreme while the current falls, by more than 1 % and by more than its
    noise explains, is a hold; (4) a stretch between turning points of the voltage is a sweep when
    current flows, dE/dt is constant within 10 %, and the current varies beyond its noise; a piece
    of one that the record cuts is a sweep if it goes on at the rate of its neighbour.

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
            & ((end - first)[1:-1] <= BLIP_ROWS)
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
    long = (end - first >= HOLD_ROWS) & (sign[first] != 0)
    for start, stop in zip(first[long].tolist(), end[long].tolist(), strict=True):
        outward = voltage[start:stop] * sign[start]
        begin, end_of_hold = _pinned_tail(outward)
        if end_of_hold - begin < HOLD_ROWS or stop - start - end_of_hold > LAST_ROWS:
            continue
        if _falls(size[start + begin : start + end_of_hold]):
            begin += _settled(outward[begin:end_of_hold])
            name = "hold_charge" if sign[start] > 0 else "hold_discharge"
            labels[start + begin : start + end_of_hold] = STATES[name]


def _pinned_tail(outward: Array) -> tuple[int, int]:
    """Return first row and end of the last rows that stay at the extreme of a stretch."""
    extreme = float(outward.max())
    pinned = outward > extreme - max(HOLD_BAND_V, HOLD_BAND * abs(extreme))
    end = int(np.flatnonzero(pinned)[-1]) + 1
    loose = np.flatnonzero(~pinned[:end])
    return (int(loose[-1]) + 1 if loose.size else 0), end


def _falls(size: Array) -> bool:
    """Whether the current falls from the first to the last tenth, beyond regulation and noise."""
    tenth = max(1, size.size // 10)
    before, after = float(size[:tenth].mean()), float(size[-tenth:].mean())
    fall = before - after
    return fall > HOLD_FALL * before and fall > HOLD_SIGMAS * white_noise(size) * np.sqrt(2 / tenth)


def _settled(outward: Array) -> int:
    """Return the first row at the level that is held, by the noise of the later half."""
    later = outward[outward.size // 2 :]
    level = float(np.median(later))
    noise = MAD * float(np.median(np.abs(later - level)))
    steps = np.abs(np.diff(later))
    digit = float(steps[steps > 0].min(initial=np.inf))
    band = max(HOLD_NOISES * noise, min(digit, HOLD_BAND_V))
    return int(np.argmax(outward >= level - band))


def _label_sweeps(
    labels: Integers, time_s: Array, voltage: Array, current: Array, run: Integers
) -> None:
    offset, tolerance = rest_band(current)
    first, end = _bounds(run)
    long = end - first >= SWEEP_ROWS
    for start, stop in zip(first[long].tolist(), end[long].tolist(), strict=True):
        potential = voltage[start:stop]
        smallest = max(SWEEP_NOISES * white_noise(potential), 1e-3 * float(np.ptp(potential)))
        turns = turning_points(potential, smallest=smallest) + start
        pieces = list(zip([start, *turns], [*turns + 1, stop], strict=True))
        rates = [
            _rate(time_s[low:high], voltage[low:high], current[low:high] - offset, tolerance)
            for low, high in pieces
        ]
        for (low, high), rate in zip(
            pieces, _continued(pieces, rates, time_s, voltage), strict=True
        ):
            if rate:
                name = "sweep_up" if rate > 0 else "sweep_down"
                labels[low + (low > start) : high] = STATES[name]


def white_noise(values: Array) -> float:
    """Return the sigma of white noise on a smooth series (n,), from its second differences."""
    return float(MAD * np.median(np.abs(np.diff(values, n=2))) / np.sqrt(6))


def _rate(time_s: Array, voltage: Array, driven: Array, tolerance: float) -> float:
    """Return the rate (V/s) of a stretch between two turns if it is a sweep, else 0.

    Its end rows are left out: they hold the vertex, and may belong to the step before or after.
    """
    if (
        time_s.size >= SWEEP_ROWS
        and float(np.percentile(np.abs(driven[1:-1]), 90)) > tolerance
        and _varies(driven[1:-1])
        and _linear(time_s[1:-1], voltage[1:-1])
    ):
        return _slope(time_s, voltage)
    return 0.0


def _slope(time_s: Array, voltage: Array) -> float:
    return float((voltage[-2] - voltage[1]) / (time_s[-2] - time_s[1]))


def _continued(
    pieces: list[tuple[int, int]], rates: list[float], time_s: Array, voltage: Array
) -> list[float]:
    """Return the rates, with those of pieces that go on at the rate of a sweep beside them.

    Such are the piece that the record cuts, and sweeps through which hardly any current flows.
    """
    found = list(rates)
    for at, (low, high) in [*enumerate(pieces), *reversed(list(enumerate(pieces)))]:
        beside = [found[k] for k in (at - 1, at + 1) if 0 <= k < len(pieces) and found[k]]
        if found[at] or not beside or high - low <= SWEEP_PIECE:
            continue
        moments, volts = time_s[low:high], voltage[low:high]
        if moments[-2] <= moments[1]:
            continue
        slope = _slope(moments, volts)
        straight = high - low < SWEEP_ROWS or _linear(moments[1:-1], volts[1:-1])
        if straight and abs(slope / -beside[0] - 1) < SWEEP_SLOPE:
            found[at] = slope
    return found


def _varies(driven: Array) -> bool:
    """Whether the current varies by 2 %, and by more than its noise, for most of a stretch."""
    size = np.abs(driven)
    low, middle, high = np.percentile(size, (10, 50, 90))
    return bool(high - low > max(SWEEP_CURRENT * middle, SWEEP_SIGMAS * white_noise(driven)))


def _linear(time_s: Array, voltage: Array) -> bool:
    """Whether dE/dt is constant within 10 % over parts of the stretch, seven to fifty.

    As many as the noise allows, so that pulses with rests between them are no sweep; nine in ten
    must agree, since a change of the current range may disturb one.
    """
    whole = time_s[-1] - time_s[0]
    climb = voltage[-1] - voltage[0]
    if whole <= 0 or climb == 0:
        return False
    seen = abs(climb) / max(PART_NOISES * white_noise(voltage), abs(climb) / MOST_PARTS)
    count = int(np.clip(min(seen, time_s.size / 2), SWEEP_PARTS, MOST_PARTS))
    edges = np.rint(np.linspace(0, time_s.size - 1, count + 1)).astype(np.int64)
    duration = np.diff(time_s[edges])
    if (duration <= 0).any():
        return False
    slope = np.diff(voltage[edges]) / duration * whole / climb
    return bool(np.mean(np.abs(slope - 1) < SWEEP_SLOPE) >= AGREEING_PARTS)
