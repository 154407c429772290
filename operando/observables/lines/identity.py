"""Histories of lines: when each was born and died, and which merged or split instead."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.model import category_attributes, positions
from operando.observables.lines.measured import Array, Mask, Measured, checked, measured

NEAR = 3.0
"""Widths within which a line that goes may have gone into its neighbour: fits give up one of two
lines well before they are one."""
TOUCHING = 1.5
"""Widths within which that is so even of a faint one; further away a faint line may fade, and its
neighbour grow, as two phases do that exchange."""
FAINT = 12.0
"""Sigmas of area below which a line is faint."""
CONSERVED = 3.0
"""Sigmas within which what one line loses is what the other gains."""

PRESENCE: dict[str, int] = {"absent": 0, "present": 1}
KINDS: dict[str, int] = {"born": 0, "died": 1, "split": 2, "merged": 3}


@dataclass(frozen=True, order=True)
class Change:
    """Something that happened to a line between two frames."""

    frame: int
    """The first frame after it."""
    line: int
    kind: str
    before: int
    """The last frame before it in which the line could be judged."""
    partner: int = -1


def histories(
    tracks: xr.Dataset, *, detected: float = 4.0, reopened: float = 6.0, shortest: int = 3
) -> xr.Dataset:
    """Tell from when to when each line is there, and what became of it.

    A line is present over a run of frames with area > `detected` sigma of which one or more exceed
    `reopened`; gaps shorter than `shortest` frames are bridged, and fewer frames than that are no
    presence. Frames that could not be measured do not count either way. Between the last frame
    before a run and its first the line was born, unless

    - it appears within 3 widths of a neighbour that loses what it gains, and is not faint unless
      within 1.5: then that one has split;
    - two lines of a window that are both there come apart by more than a width: then they split.

    Death and merging are the same, backwards.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them, names put right by `associate`.
    detected, reopened
        Area over sigma.
    shortest
        Frames.

    Returns
    -------
    Dataset
        `presence` on (time, line): absent or present; `born`, `died` on line: the first birth and
        the last death, NaT where there is none. Along `change`, in order of time: `kind` (born,
        died, split, merged), `changed` (name of the line), `partner` (the line it split from or
        merged with, ""), `frame`, `time_before`, `time_after`: it happened between these. Positions
        are followed separately.

    Raises
    ------
    RequestError
        Tracks without widths; `reopened` below `detected`; less than one frame.

    Notes
    -----
    A birth is when a line can be detected, not when it began: a growing line is there for long
    under 4 sigma. Onset and false-alarm rate are `new_peaks`' task; lines here were declared.
    """
    tracks = checked(tracks, "centre", "area", "fwhm")
    low = arguments.number("detected", detected, lambda z: z > 0, "above 0")
    high = arguments.number("reopened", reopened, lambda z: z >= low, f"{low!r} or more")
    least = arguments.whole("shortest", shortest, lambda n: n >= 1, "1 or more frames")
    presence = np.zeros((tracks.sizes["time"], tracks.sizes["line"]), dtype=bool)
    changes: list[Change] = []
    for at in positions(tracks).values():
        lines = _lines(tracks.isel(time=at))
        there, found = _judged(lines, low, high, least)
        presence[at] = there
        changes += [
            Change(int(at[c.frame]), c.line, c.kind, int(at[c.before]), c.partner) for c in found
        ]
    return _labelled(tracks, presence, sorted(changes))


@dataclass(frozen=True)
class _Lines:
    """Areas, centres and widths of the lines at one position."""

    area: Measured
    centre: Array
    width: Array

    def neighbours(self) -> list[tuple[int, int]]:
        """Return pairs of lines that are next to one another, by their usual place."""
        seen = np.flatnonzero(np.isfinite(self.centre).any(axis=0))
        order = seen[np.argsort(np.nanmedian(self.centre[:, seen], axis=0), kind="stable")]
        return [(int(a), int(b)) for a, b in pairwise(order)]

    def apart(self, a: int, b: int) -> Array:
        """Return the distance of two lines in units of their mean width, (n,)."""
        width = (self.width[:, a] + self.width[:, b]) / 2
        return np.asarray(np.abs(self.centre[:, a] - self.centre[:, b]) / width)


def _lines(tracks: xr.Dataset) -> _Lines:
    despite = ("poor_fit", "merged")
    centre, width = (measured(tracks, name, despite=despite).value for name in ("centre", "fwhm"))
    return _Lines(measured(tracks, "area", despite=("weak", *despite)), centre, width)


def _judged(lines: _Lines, low: float, high: float, least: int) -> tuple[Mask, list[Change]]:
    with np.errstate(invalid="ignore"):
        significance = lines.area.value / lines.area.sigma
    there = np.zeros(significance.shape, dtype=bool)
    changes: list[Change] = []
    for line in range(significance.shape[1]):
        known = np.flatnonzero(np.isfinite(significance[:, line]))
        if not known.size:
            continue
        runs = _runs(significance[known, line], low, high, least)
        for first, last in runs:
            over = last + 1 == known.size
            # frames that could not be measured are as the one before them
            there[known[first] : None if over else known[last + 1], line] = True
            if first > 0:
                changes.append(Change(int(known[first]), line, "born", int(known[first - 1])))
            if not over:
                changes.append(Change(int(known[last + 1]), line, "died", int(known[last])))
    pairs = lines.neighbours()
    approaches = [c for a, b in pairs for c in _approaches(lines, there, a, b, least)]
    kept = [_told(change, lines, there, pairs, approaches, least) for change in changes]
    return there, [c for c in kept if c is not None] + approaches


def _runs(significance: Array, low: float, high: float, least: int) -> list[tuple[int, int]]:
    """Return first and last index of every run that is a presence."""
    above = np.flatnonzero(significance >= low)
    if not above.size:
        return []
    parts = np.split(above, np.flatnonzero(np.diff(above) > least) + 1)
    return [
        (int(part[0]), int(part[-1]))
        for part in parts
        if part.size >= least and significance[part].max() >= high
    ]


def _approaches(lines: _Lines, there: Mask, a: int, b: int, least: int) -> list[Change]:
    """Return where two lines that are both there come within a width, or apart, and stay so."""
    apart = lines.apart(a, b)
    both = np.flatnonzero(there[:, a] & there[:, b] & np.isfinite(apart))
    one = apart[both] < 1.0
    edges = np.flatnonzero(np.diff(one.astype(np.int8))) + 1
    starts, ends = np.append(0, edges), np.append(edges, one.size)
    lasting = [(s, bool(one[s])) for s, e in zip(starts, ends, strict=True) if e - s >= least]
    fainter = (
        a if np.nanmedian(lines.area.value[:, a]) < np.nanmedian(lines.area.value[:, b]) else b
    )
    other = b if fainter == a else a
    return [
        Change(int(both[s]), fainter, "merged" if now else "split", int(both[s - 1]), other)
        for (_, was), (s, now) in pairwise(lasting)
        if was != now
    ]


def _told(
    change: Change,
    lines: _Lines,
    there: Mask,
    pairs: list[tuple[int, int]],
    approaches: list[Change],
    least: int,
) -> Change | None:
    """Return a birth or death as it is: a split or merging where a neighbour made up for it."""
    born = change.kind == "born"
    beside = [b if a == change.line else a for a, b in pairs if change.line in (a, b)]
    for partner in beside:
        pair = {change.line, partner}
        met = [c for c in approaches if {c.line, c.partner} == pair]
        if _was_one(change, met):
            return None
        both_sides = there[change.before, partner] and there[change.frame, partner]
        if both_sides and _made_up(lines, change, partner, least):
            kind = "split" if born else "merged"
            return Change(change.frame, change.line, kind, change.before, partner)
    return change


def _was_one(change: Change, met: list[Change]) -> bool:
    """Whether the two were one line already, or still: told when they met, or parted."""
    if change.kind == "born":
        after = [c.kind for c in met if c.frame >= change.frame]
        return bool(after) and after[0] == "split"
    before = [c.kind for c in met if c.frame <= change.frame]
    return bool(before) and before[-1] == "merged"


def _made_up(lines: _Lines, change: Change, partner: int, least: int) -> bool:
    """Whether what one line lost, the other gained, significantly so, and next to it.

    From the frames in which both were last told apart to those without the line, or back.
    """
    apart = lines.apart(change.line, partner)
    told = np.flatnonzero(np.isfinite(apart))
    if change.kind == "born":
        alone = np.arange(max(change.before - least + 1, 0), change.before + 1)
        both = told[told >= change.frame][:least]
    else:
        alone = np.arange(change.frame, min(change.frame + least, apart.size))
        both = told[told <= change.before][-least:]
    if not both.size or apart[both].min() > NEAR:
        return False
    strength = lines.area.value[both, change.line] / lines.area.sigma[both, change.line]
    if apart[both].min() > TOUCHING and np.mean(strength) < FAINT:
        return False
    own, own_sigma = _step(lines.area, both, alone, change.line)
    other, other_sigma = _step(lines.area, both, alone, partner)
    conserved = abs(own + other) <= CONSERVED * np.hypot(own_sigma, other_sigma)
    return bool(conserved and own < 0 < other and other > CONSERVED * other_sigma)


def _step(
    area: Measured, both: npt.NDArray[np.intp], alone: npt.NDArray[np.intp], line: int
) -> tuple[float, float]:
    """Return by how much an area differs from one set of frames to another, and its sigma."""
    means, variances = [], []
    for frames in (both, alone):
        seen = frames[np.isfinite(area.value[frames, line])]
        count = max(seen.size, 1)
        means.append(area.value[seen, line].sum() / count)
        variances.append((area.sigma[seen, line] ** 2).sum() / count**2)
    return float(means[1] - means[0]), float(np.sqrt(sum(variances)))


def _labelled(tracks: xr.Dataset, presence: Mask, changes: list[Change]) -> xr.Dataset:
    time, names = tracks["time"].values, tracks["line"].values.astype(str)
    result = xr.Dataset(coords=tracks["centre"].coords)
    facts = category_attributes(PRESENCE)
    result["presence"] = (("time", "line"), presence.astype(np.int8), facts)
    born = np.full(names.size, np.datetime64("NaT"), dtype=time.dtype)
    died = born.copy()
    for change in reversed(changes):
        if change.kind == "born":
            born[change.line] = time[change.frame]
    for change in changes:
        if change.kind == "died" and not presence[-1, change.line]:
            died[change.line] = time[change.frame]
    result["born"] = ("line", born, {"long_name": "first frame of a line that was not there"})
    result["died"] = ("line", died, {"long_name": "first frame without a line that was there"})
    columns: dict[str, tuple[npt.NDArray[np.generic], dict[str, object]]] = {
        "kind": (
            np.array([KINDS[c.kind] for c in changes], np.int8),
            category_attributes(KINDS),
        ),
        "changed": (np.array([names[c.line] for c in changes], dtype=str), {}),
        "partner": (
            np.array(["" if c.partner < 0 else names[c.partner] for c in changes], dtype=str),
            {},
        ),
        "frame": (np.array([c.frame for c in changes], np.int64), {"units": "1"}),
        "time_before": (time[[c.before for c in changes]], {}),
        "time_after": (time[[c.frame for c in changes]], {}),
    }
    for name, (values, attrs) in columns.items():
        result[name] = ("change", values, attrs)
    return result
