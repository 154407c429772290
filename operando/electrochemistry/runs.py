"""Runs: the stretches of a log in which the instrument recorded without a break."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from operando.errors import AlignmentError

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]

SECOND = 1_000_000_000
SHORTEST_GAP_S = 60.0
GAP_IN_STEPS = 5.0
GAP_IN_DECLARED_INTERVALS = 1.5
HOLE_IN_STEPS = 3.0
"""A pause of a file that other files fill, and that is longer than this, is a loop, no overlap."""
UNORDERED = 0.1
"""Above this share of backward steps the order of the rows says nothing, and time alone orders."""


class Runs(NamedTuple):
    """How the rows of a log, put in order of time, fall into runs."""

    order: Integers
    """Rows of the input in order of time (n,)."""
    run: Integers
    """Number of the run of each ordered row (n,)."""
    gap_s: Array
    """Longest step inside the run of each ordered row (n,)."""


class _Pieces(NamedTuple):
    """Rows grouped by file, in the order of the file, and the piece each belongs to."""

    rows: Integers
    piece: Integers
    typical: Array
    """Median time step (ns) of the file and loop of each row."""
    limit: Array
    """Longest time step (ns) without a cut."""


def cut_runs(
    time: Integers,
    *,
    file: Integers,
    loop: Integers,
    max_gap_s: float | None,
    record_interval_s: Array,
    names: Sequence[str],
) -> Runs:
    """Order the rows of a log and cut them into runs.

    A run ends where the file or the loop changes, where the clock steps back, and where nothing was
    recorded for longer than `max_gap_s`: by default the longest of five median steps of that file
    and loop, 60 s, and 1.5 times the declared longest record interval. Rows of equal time keep
    their order. Where a clock was set back, its rows interleave and the stretch is covered by no
    run of two rows: what happened there is not known.

    Parameters
    ----------
    time
        Nanoseconds (n,), in any order.
    file, loop
        Which file and which of its loops each row belongs to (n,).
    record_interval_s
        Longest time between rows that the instrument was told (n,), 0 where unknown.
    names
        Names of the files, for the message.

    Raises
    ------
    AlignmentError
        Two files recorded at the same time although they are not loops of one sequence.
    """
    order = np.argsort(time, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    pieces = _pieces(time, file, loop, rank, max_gap_s, record_interval_s)
    _check_overlap(time, file, pieces, names)
    piece, limit = np.empty_like(order), np.empty(order.size)
    piece[pieces.rows], limit[pieces.rows] = pieces.piece, pieces.limit
    change = np.diff(piece[order], prepend=piece[order][:1]) != 0
    return Runs(order, np.cumsum(change), limit[order] / SECOND)


def _pieces(
    time: Integers,
    file: Integers,
    loop: Integers,
    rank: Integers,
    max_gap_s: float | None,
    record_interval_s: Array,
) -> _Pieces:
    rows = np.argsort(file, kind="stable")
    backward = _steps(time[rows]) < 0
    same_file = _steps(file[rows]) == 0
    if np.count_nonzero(backward & same_file) > UNORDERED * rows.size:
        rows = np.lexsort((time, file))
    step = _steps(time[rows])
    cut = (_steps(file[rows]) != 0) | (_steps(loop[rows]) != 0) | (step < 0)
    typical = _median_steps(step, np.cumsum(cut))
    if max_gap_s is not None:
        limit = np.full(rows.size, max_gap_s * SECOND)
    else:
        declared = np.maximum(GAP_IN_DECLARED_INTERVALS * record_interval_s[rows], SHORTEST_GAP_S)
        limit = np.maximum(GAP_IN_STEPS * typical, declared * SECOND)
    filled = (_steps(rank[rows]) > 1) & (step > HOLE_IN_STEPS * typical)
    return _Pieces(rows, np.cumsum(cut | (step > limit) | filled), typical, limit)


def _check_overlap(time: Integers, file: Integers, pieces: _Pieces, names: Sequence[str]) -> None:
    """Refuse pieces of different files that share more than one step of time."""
    first = np.flatnonzero(np.diff(pieces.piece, prepend=-1))
    last = np.append(first, time.size)[1:] - 1
    starts, ends = time[pieces.rows[first]], time[pieces.rows[last]]
    owners = file[pieces.rows[first]]
    reached: dict[int, tuple[int, float]] = {}
    for at in np.argsort(starts, kind="stable"):
        start, end, owner = int(starts[at]), int(ends[at]), int(owners[at])
        step = float(pieces.typical[first[at]])
        for other, (until, its_step) in reached.items():
            if other != owner and min(until, end) - start > max(step, its_step):
                shared = (min(until, end) - start) / SECOND
                raise AlignmentError(
                    f"{_name(names, other)!r} and {_name(names, owner)!r}: both recorded for "
                    f"{shared:.4g} s from {np.datetime64(start, 'ns')} UTC; files of one cell "
                    "follow one another: read them apart, or check their zones"
                )
        if owner not in reached or end > reached[owner][0]:
            reached[owner] = (end, step)


def _name(names: Sequence[str], index: int) -> str:
    return names[index] if 0 <= index < len(names) else f"file {index}"


def _steps(values: Integers) -> Integers:
    """Return the difference to the row before; zero for the first."""
    return np.diff(values, prepend=values[:1])


def _median_steps(step: Integers, group: Integers) -> Array:
    """Return for each row the median of the positive steps inside its group; 0 where none is."""
    inside = (_steps(group) == 0) & (step > 0)
    order = np.lexsort((step[inside], group[inside]))
    ordered, groups = step[inside][order], group[inside][order]
    count = np.bincount(groups, minlength=int(group[-1]) + 1 if group.size else 0)
    first = np.cumsum(count) - count
    median = np.zeros(count.size)
    some = count > 0
    low, high = (first + (count - 1) // 2)[some], (first + count // 2)[some]
    median[some] = (ordered[low] + ordered[high]) / 2
    return median[group]
