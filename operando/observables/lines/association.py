"""Names that stay with their lines: which of the lines found in a frame is which of the known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import linear_sum_assignment

from operando import arguments
from operando.errors import RequestError
from operando.model import positions
from operando.observables.lines.measured import Array, checked, measured

Order = npt.NDArray[np.intp]

REACH = 3.0
"""Widths within which a line can be one that was known elsewhere."""
DOUBLED = np.log(2.0)
"""An area twice or half as large weighs as much as a move by one width."""
MEMORY = 0.3
"""Weight of the newest area in what is remembered; a centre is remembered as it was last."""
STRANGER = 1e6


def associate(
    tracks: xr.Dataset, *, known: xr.Dataset | None = None, detected: float = 4.0
) -> xr.Dataset:
    """Give every line found in a frame the name of the known line it is.

    The lines of a window are fitted together, and when one disappears the fit may hand its name to
    the other. Here the significant lines of each frame are assigned to names by the least sum of
    ((c - c_known)/fwhm_known)^2 + (ln(A/A_known)/ln 2)^2 (Hungarian method), across windows, too,
    up to 3 widths; known is what the name last stood for. All numbers of a line move together.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them.
    known
        Tracks of an earlier series, whose lines, by name, are known from its end on.
    detected
        Area over sigma from which a line is found.

    Returns
    -------
    Dataset
        `tracks`, numbers exchanged among lines where they had the wrong name, and `fitted_as` on
        (time, line): the index of the line that the numbers were fitted as. Positions are followed
        separately.

    Raises
    ------
    RequestError
        Tracks without widths, or a known series of other lines.

    Notes
    -----
    Fails where two lines of equal area cross, or one fades while the other takes its place within a
    width: then the two ways to name them are alike, and numbers stay as they were fitted.
    """
    tracks = checked(tracks, "centre", "area", "fwhm")
    least = arguments.number("detected", detected, lambda z: z > 0, "above 0")
    seen, features = _features(tracks, least)
    order = np.tile(np.arange(tracks.sizes["line"]), (tracks.sizes["time"], 1))
    memory = np.full((3, tracks.sizes["line"]), np.nan) if known is None else _known(known, tracks)
    for at in positions(tracks).values():
        order[at] = _followed(features[:, at], seen[at], memory.copy())
    result = tracks.copy()
    for name, variable in tracks.data_vars.items():
        if variable.dims[:2] == ("time", "line"):
            place = order.reshape(order.shape + (1,) * (variable.ndim - 2))
            result[name] = variable.copy(data=np.take_along_axis(variable.values, place, axis=1))
    facts = {"units": "1", "long_name": "index of the line that the numbers were fitted as"}
    result["fitted_as"] = (("time", "line"), order.astype(np.int32), facts)
    return result


def _features(tracks: xr.Dataset, least: float) -> tuple[npt.NDArray[np.bool_], Array]:
    """Return which lines are found, (n, k), and their centre, log area and width, (3, n, k)."""
    area = measured(tracks, "area", despite=("poor_fit",))
    centre = measured(tracks, "centre", despite=("poor_fit",)).value
    width = measured(tracks, "fwhm", despite=("poor_fit",)).value
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = (area.value >= least * area.sigma) & np.isfinite(centre) & (width > 0)
        features = np.stack([centre, np.log(np.where(seen, area.value, np.nan)), width])
    return np.asarray(seen), features


def _known(known: xr.Dataset, tracks: xr.Dataset) -> Array:
    known = checked(known, "centre", "area", "fwhm")
    if known["line"].values.tolist() != tracks["line"].values.tolist():
        raise RequestError(
            f"known: lines {known['line'].values.tolist()!r}; expected those of tracks, "
            f"{tracks['line'].values.tolist()!r}"
        )
    seen, features = _features(known, 4.0)
    memory = np.full((3, seen.shape[1]), np.nan)
    for line in np.flatnonzero(seen.any(axis=0)):
        memory[:, line] = features[:, np.flatnonzero(seen[:, line])[-1], line]
    return memory


def _followed(features: Array, seen: npt.NDArray[np.bool_], memory: Array) -> Order:
    """Return for each frame and name the index of the line it stands for, (n, k)."""
    names = np.arange(seen.shape[1])
    order = np.tile(names, (len(seen), 1))
    for frame in range(len(seen)):
        found = np.flatnonzero(seen[frame])
        if not found.size:
            continue
        here = features[:, frame, found]
        cost = _cost(here, memory, found)
        best = cost.argmin(axis=0)
        if np.array_equal(best, found):
            named = found
        else:
            row, column = linear_sum_assignment(cost)
            named = row[np.argsort(column)]
            order[frame] = _exchanged(names, found, named)
        fresh = np.isnan(memory[0, named])
        memory[1, named] = np.where(
            fresh, here[1], (1 - MEMORY) * memory[1, named] + MEMORY * here[1]
        )
        memory[0, named], memory[2, named] = here[0], here[2]
    return order


def _cost(here: Array, memory: Array, found: Order) -> Array:
    """Return what it costs that each name (row) stands for each line found (column)."""
    with np.errstate(invalid="ignore"):
        distance = np.abs(here[0] - memory[0][:, None]) / memory[2][:, None]
        unlike = (here[1] - memory[1][:, None]) / DOUBLED
        cost = np.where(distance <= REACH, distance**2 + unlike**2, STRANGER)
    # a line that comes back elsewhere in its window keeps its name, unless it is another's
    own = (found, np.arange(found.size))
    unheard = np.isnan(memory[0, found])
    cost[own] = np.where(unheard, REACH**2, np.minimum(cost[own], REACH**2 + 1.0))
    return np.where(np.isnan(cost), STRANGER, cost)


def _exchanged(names: Order, found: Order, named: Order) -> Order:
    """Return which line each name stands for: those found as named, the others by what is left."""
    order = np.full(names.size, -1)
    order[named] = found
    rest = [name for name in names if order[name] < 0]
    left = [line for line in names if line not in set(found.tolist())]
    kept = [name for name in rest if name in left]
    order[kept] = kept
    rest, left = ([i for i in one if i not in kept] for one in (rest, left))
    order[rest] = left
    return order
