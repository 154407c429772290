"""From the points of impedance sweeps, in the order of a file, to (time, frequency).

Shared by every reader of technique "impedance"; it knows no format. Such a reader collects flat
arrays of points, says which row begins each sweep (from its file, else by `find_starts`), makes the
imaginary part negative for a capacitive arc, and adds `attrs["clock"]` (with marks "start") and its
`original_metadata` to what `sweeps` returns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

SAME_FREQUENCY = 1e-4
"""Frequencies closer than this part of themselves are one: generators and exports round."""
MISSING = complex(np.nan, np.nan)
LARGEST = 1 << 26
"""More numbers than this in the table of one file mean that its frequencies are damaged."""
LONGEST_S = 1e10
"""Three centuries; a time beyond it is damaged."""


def cartesian(real: Array, imaginary: Array) -> npt.NDArray[np.complex128]:
    """Return Z' + i Z'', without the warnings that 1j * inf gives."""
    impedance = np.empty(real.shape, np.complex128)
    impedance.real, impedance.imag = real, imaginary
    return impedance


def sweeps(
    frequency: Array,
    impedance: npt.NDArray[np.complex128],
    *,
    starts: npt.ArrayLike,
    time: Array | None = None,
    begins: npt.ArrayLike | None = None,
    potential: Array | None = None,
) -> xr.Dataset:
    """Build the dataset of a file, one row of `time` for each sweep.

    Parameters
    ----------
    frequency, impedance
        Hz (n,) and Z' + i Z'' in ohm (n,): all points of all sweeps in the order of measurement. An
        impedance of which either part is not finite becomes nan + nan i.
    starts
        Row of the first point of each sweep, increasing from 0.
    time
        When each point was recorded, in s (n,) since the start of the file's clock.
    begins
        When each sweep started, likewise; without it a sweep starts at its first point.
    potential
        V (n,), DC, at each point.

    Returns
    -------
    `impedance` (time, frequency) on the union of the frequencies, ascending, nan + nan i where a
    sweep has no such point; `potential` (V) and `point_time` (s since the start of the sweep) on
    the same dimensions where given. With `time` the coordinates `elapsed` and `exposure`: to the
    last point. A frequency that occurs again in a sweep keeps its last point (the mean of an
    averaged and a single one would be neither); `attrs["repeated_points"]` counts the others.

    Raises
    ------
    FormatError
        No points, a frequency that is not positive, a sweep without any time or with a point before
        its start, or more sweeps of unlike frequencies than a file can hold.
    """
    _check(frequency)
    first = np.asarray(starts, np.intp)
    sweep = np.searchsorted(first, np.arange(frequency.size), side="right") - 1
    axis, column = union(frequency)
    if first.size * axis.size > LARGEST:
        raise FormatError(f"frequency: {axis.size} in {first.size} sweeps; expected common ones")
    cell, shape = sweep * axis.size + column, (first.size, axis.size)
    dataset = xr.Dataset(coords={"frequency": ("frequency", axis, {"units": "Hz"})})
    whole = np.where(np.isfinite(impedance), impedance, MISSING)
    dataset["impedance"] = _table(whole, cell, shape, "ohm")
    if potential is not None:
        dataset["potential"] = _table(potential, cell, shape, "V")
    if time is not None:
        begin, since, length = _since_begin(time, sweep, begins)
        dataset["point_time"] = _table(since, cell, shape, "s")
        dataset.coords["elapsed"] = ("time", begin, {"units": "s"})
        dataset.coords["exposure"] = ("time", length, {"units": "s"})
    dataset.attrs["technique"] = "impedance"
    if repeated := cell.size - np.unique(cell).size:
        dataset.attrs["repeated_points"] = int(repeated)
    return dataset


def _check(frequency: Array) -> None:
    bad = np.flatnonzero(~(np.isfinite(frequency) & (frequency > 0)))
    if bad.size or not frequency.size:
        found = f"point {bad[0] + 1}: {frequency[bad[0]]} Hz" if bad.size else "no points"
        raise FormatError(f"frequency: {found}; expected positive numbers")


def find_starts(frequency: Array) -> Rows:
    """Return the row at which each sweep begins, from the frequencies (n,) alone.

    A sweep is a run of points in one direction, up or down; it ends where the frequency turns or
    jumps back. Repetitions of a frequency (`SAME_FREQUENCY`) belong to the run. Where the frequency
    never changes it is being monitored, and each point is a sweep of its own.

    Fails where a sweep was stopped before its second frequency: the point then counts to the next
    sweep if that runs in the same direction.

    >>> find_starts(np.array([100.0, 10, 1, 100, 10, 10, 1])).tolist()
    [0, 3]
    """
    if not frequency.size:
        return np.empty(0, np.intp)
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.diff(frequency)
        moves = np.abs(step) > SAME_FREQUENCY * np.abs(frequency[:-1])
    if not moves.any():
        return np.arange(frequency.size, dtype=np.intp)
    starts, direction = [0], 0
    for row in np.flatnonzero(moves):
        way = 1 if step[row] > 0 else -1
        if direction == -way:
            starts.append(int(row) + 1)
            direction = 0
        else:
            direction = way
    return np.array(starts, np.intp)


def union(frequency: Array) -> tuple[Array, Rows]:
    """Return the distinct frequencies, ascending, and the place of each point among them.

    Frequencies within `SAME_FREQUENCY` of the lowest of them are one, and are called what the first
    of them in the file is called.
    """
    place = np.empty(frequency.size, np.intp)
    limit, count = -np.inf, -1
    for row in np.argsort(frequency, kind="stable").tolist():
        if frequency[row] > limit:
            limit, count = float(frequency[row]) * (1 + SAME_FREQUENCY), count + 1
        place[row] = count
    _, first = np.unique(place, return_index=True)
    return frequency[first], place


def _table(
    values: npt.NDArray[np.generic], cell: Rows, shape: tuple[int, int], units: str
) -> tuple[tuple[str, str], npt.NDArray[np.generic], dict[str, str]]:
    """Put points into a table that is NaN elsewhere; of two for one cell the later stays."""
    missing = MISSING if values.dtype.kind == "c" else np.nan
    flat = np.full(shape[0] * shape[1], missing, values.dtype)
    # numpy does not promise which of two equal indices wins: let every cell know its last point.
    last = np.full(flat.size, -1, np.intp)
    np.maximum.at(last, cell, np.arange(cell.size))
    flat[last >= 0] = values[last[last >= 0]]
    return ("time", "frequency"), flat.reshape(shape), {"units": units}


def _since_begin(
    time: Array, sweep: Rows, begins: npt.ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Return the start of each sweep, the time of each point since it, and how long each took."""
    count = int(sweep[-1]) + 1
    known = np.flatnonzero(np.isfinite(time))
    if begins is None:
        timed, at = np.unique(sweep[known], return_index=True)
        if timed.size != count:
            missing = int(np.setdiff1d(np.arange(count), timed)[0])
            raise FormatError(f"time: sweep {missing + 1} has none; expected seconds")
        begin = time[known[at]]
    else:
        begin = np.asarray(begins, np.float64)
    if (np.abs(np.concatenate((begin, time[known]))) > LONGEST_S).any():
        raise FormatError(f"time: beyond {LONGEST_S:g} s; expected seconds of an experiment")
    since = np.full(time.size, np.nan)
    since[known] = time[known] - begin[sweep[known]]
    early = np.flatnonzero(since < 0)
    if early.size:
        raise FormatError(
            f"time: point {early[0] + 1} lies {-since[early[0]]:g} s before the start of its sweep"
        )
    length = np.zeros(count)
    np.maximum.at(length, sweep, np.nan_to_num(since))
    return begin, since, length
