"""Whether an edge shifts continuously or two phases change places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.matched_shift import matched_shift
from operando.errors import RequestError
from operando.model import category_attributes, positions
from operando.observables.mixing_paths import REACH, ends_of
from operando.observables.path_comparison import LEAST_FRAMES, VERDICTS, Comparison, compare
from operando.observables.standards import Array, Range, Sigma, bring, inside, on_points

Index = npt.NDArray[np.intp]

LEAST_POINTS = 12
FEWEST_AVERAGED = 4
NUMBERS: dict[str, tuple[str, str]] = {
    "curvature": ("1", "curvature of the way, 0 mixture, 1 shift"),
    "curvature_sigma": ("1", "standard deviation of the curvature"),
    "shift": ("eV", "shift from the first end to the last"),
    "shift_sigma": ("eV", "standard deviation of the shift"),
    "bic_mixture": ("1", "Bayesian information criterion of a mixture"),
    "bic_shift": ("1", "Bayesian information criterion of a shift"),
    "bic_both": ("1", "Bayesian information criterion with the curvature free"),
    "p_mixture": ("1", "probability of a curvature as far from that of a mixture"),
    "p_shift": ("1", "probability of a curvature as far from that of a shift"),
    "separation": ("1", "root mean square of what tells the two apart"),
    "misfit": ("1", "root mean square by which spectra leave the way, beyond noise"),
}


@dataclass(frozen=True)
class _Block:
    """The frames of a position, or of a part of its time."""

    position: str
    value: Any
    rows: Index


@dataclass(frozen=True)
class _Found:
    """What was found in a block."""

    rows: Index
    """Frames that were judged, of all frames."""
    shift: float
    shift_sigma: float
    compared: Comparison

    @property
    def numbers(self) -> dict[str, float]:
        """What is said of the block, by the names of the result."""
        told = self.compared
        values = [told.curvature, told.curvature_sigma, self.shift, self.shift_sigma]
        values += [*told.bic, *told.chance, told.separation, told.misfit]
        return dict(zip(NUMBERS, values, strict=True))


def shift_or_mixture(
    norm: xr.DataArray,
    *,
    window: Range,
    ends: Mapping[str, xr.DataArray] | None = None,
    count: int | None = None,
    by: str | None = None,
    sigma: Sigma | None = None,
) -> xr.Dataset:
    """Compare two explanations of a series that goes from one spectrum to another.

    `mixture`: two phases, each with its own spectrum, change places, (1 - f) a + f b. `shift`: one
    phase whose edge moves by f D and whose shape goes from that of a to that of b in energies
    relative to the edge (`operando.observables.mixing_paths`), a solid solution. Both have one
    parameter a frame, and their difference grows with the square of D: the `curvature` c, one
    number a block, leads from the first (0) to the second (1), and is fitted with all f. The
    verdict is that of its 99 % interval: the one whose surroundings (within 0.25) it touches, and
    not the other's; undecided with both, neither with none.

    Parameters
    ----------
    norm
        Normalised absorption on (time, energy), numpy or dask: the surroundings of the window are
        read at once. Frames with a gap there are left out. Energies must be aligned.
    window
        Lowest and highest energy that is compared, eV, with room on either side for the shift.
    ends
        The two spectra in their order, each on its own `energy`, without noise to speak of. When
        None, the means of the `count` frames of each block that lie farthest on either side of its
        main change (of the first principal component), the earlier side first: the same whether
        the cell is charged, discharged, or cycled. These frames are not judged.
    count
        An even number of frames; by default a tenth of the block, four at least.
    by
        Coordinate on time that splits each position further, such as `half_cycle`.
    sigma
        Of `norm`: one number, or on energy; of `ends`, none. When None, estimated from what is left
        of the frames.

    Returns
    -------
    Dataset
        On `block` (a position, or its part): `verdict` (its meaning stands in
        `operando.observables.path_comparison`), `curvature` and its sigma, `shift` D in eV and its
        sigma (negative: b lies at lower energy), `bic_mixture`, `bic_shift`, `bic_both` (curvature
        free), `p_mixture` and `p_shift` (F-test of c = 0 and c = 1 against c free), `separation`
        (root mean square of what tells the two apart), `misfit` (that by which the frames leave
        the way, beyond noise), `frames`; coordinates `block_position` and, of `by`, `block_<by>`.
        On time `block_number` (-1: not judged), `fraction_mixture` and `fraction_shift`, f of
        either.

    Raises
    ------
    RequestError
        No axes of time and energy, a window without room, ends that are not two spectra which span
        it, no such coordinate.

    Notes
    -----
    Sigma of the curvature holds the noise of frames and ends, and the scatter between frames where
    that is larger; not that of D, nor of ends that are given. Trust the verdict more than it: over
    simulated series of several shapes its pulls scatter by 0.8 to 1.7, and a shift that is measured
    very well comes out up to two sigma too curved. Of series that no threshold was chosen on, 1 of
    960 was taken for the wrong one of the two, and none of 480 with a third species for either.
    That is at a noise up to 5e-3: at 1e-2 a third species that leaves both ways by 3e-3 of the edge
    step is not seen, and up to 40 % of such series are called a mixture or a shift. An edge that
    moves by 0.5 eV at the Zr K edge needs a noise below 1e-3. `benchmarks/species.py` has the
    tables.

    LiNiO2 (SOLEIL ROCK, 115 frames at one spot) as a whole is a shift of 1.7 eV in three windows,
    with curvatures of 0.90 to 0.93, farther apart than their sigma of 0.015 and from 1 by several
    of it; its half-cycles on their own are mostly neither. Energy jitter is absorbed by f; a drift
    that follows the charge is not.
    """
    arguments.array("norm", norm, "time", "energy")
    if count is not None:
        even = "an even number of frames"
        count = arguments.whole("count", count, lambda n: n > 0 and n % 2 == 0, even)
    energy = np.asarray(norm["energy"].values, dtype=float)
    around, seen = _around(energy, window, ends)
    grid = np.ascontiguousarray(energy[around])
    matrix = norm.isel(energy=around).transpose("time", "energy").values.astype(float)
    noise = None if sigma is None else on_points(sigma, norm["energy"])[around][seen]
    given = None if ends is None else _given(ends, grid)
    blocks = _blocks(norm, by)
    found = [
        _judge(grid, matrix, block.rows, seen, ends=given, count=count, noise=noise)
        for block in blocks
    ]
    return _labelled(norm, blocks, found, by=by).assign_attrs(
        signal=str(norm.name), window=tuple(map(float, window))
    )


def _around(
    energy: Array, window: Range, ends: Mapping[str, xr.DataArray] | None
) -> tuple[slice, slice]:
    """Return the points within half a window's width around it, and among them its own."""
    within = inside(energy, window, least=LEAST_POINTS)
    room = 0.5 * (window[1] - window[0])
    low, high = max(window[0] - room, energy[0]), min(window[1] + room, energy[-1])
    for name, end in (ends or {}).items():
        arguments.array(f"ends[{name!r}]", end, "energy")
        low, high = max(low, float(end["energy"][0])), min(high, float(end["energy"][-1]))
    start, stop = (int(at) for at in np.searchsorted(energy, [low, np.nextafter(high, np.inf)]))
    if not start < within.start < within.stop < stop:
        raise RequestError(
            f"window: {window!r}; the spectra have {low:g}-{high:g} eV; leave room outside the "
            "window for the shift"
        )
    return slice(start, stop), slice(within.start - start, within.stop - start)


def _given(ends: Mapping[str, xr.DataArray], grid: Array) -> Array:
    brought = bring(ends, grid, called="ends")
    if len(brought.names) != 2:
        raise RequestError(f"ends: {list(brought.names)!r}; expected two spectra")
    return brought.values


def _blocks(norm: xr.DataArray, by: str | None) -> list[_Block]:
    if by is not None and (by not in norm.coords or norm[by].dims != ("time",)):
        raise RequestError(f"by: {by!r}; expected a coordinate on time, of {list(norm.coords)}")
    blocks = []
    for place, rows in positions(norm).items():
        values = np.zeros(rows.size) if by is None else norm[by].values[rows]
        blocks += [_Block(place, value, rows[values == value]) for value in np.unique(values)]
    return blocks


def _judge(
    grid: Array,
    matrix: Array,
    rows: Index,
    seen: slice,
    *,
    ends: Array | None,
    count: int | None,
    noise: Array | None,
) -> _Found | None:
    """Judge the frames `rows` of all frames (n, k), on a grid (k,) of which `seen` is compared."""
    rows = rows[np.isfinite(matrix[rows]).all(axis=1)]
    averaged = max(FEWEST_AVERAGED, 2 * (rows.size // 20)) if count is None else count
    if ends is None:
        if rows.size < 2 * averaged + LEAST_FRAMES:
            return None
        sides = _extremes(matrix[rows][:, seen], averaged)
        halves = [
            np.stack([matrix[rows[side[half::2]]].mean(axis=0) for side in sides])
            for half in (0, 1)
        ]
        rows = np.delete(rows, np.concatenate(sides))
    else:
        halves = [ends, ends]
    points = np.ascontiguousarray(grid[seen])
    room = min(points[0] - grid[0], grid[-1] - points[-1])
    middle = (halves[0] + halves[1]) / 2
    matched = matched_shift(
        grid, middle[1:], middle[0], window=(points[0], points[-1]), limit=room / REACH[1]
    )
    if rows.size < LEAST_FRAMES or not matched.converged[0]:
        return None
    shift = float(matched.shift[0])
    compared = compare(
        np.ascontiguousarray(matrix[rows][:, seen]),
        points,
        [ends_of(grid, half[0], half[1], shift) for half in halves],
        shares=0.0 if ends is not None else 1 / averaged,
        noise=noise,
    )
    return _Found(rows, shift, float(matched.sigma[0]), compared)


def _extremes(frames: Array, count: int) -> tuple[Index, Index]:
    """Return the frames on either side of the main change, those that are earlier first."""
    apart = frames - frames.mean(axis=0)
    left, _, _ = np.linalg.svd(apart, full_matrices=False)
    order = np.argsort(left[:, 0], kind="stable")
    low, high = np.sort(order[:count]), np.sort(order[-count:])
    return (low, high) if low.mean() <= high.mean() else (high, low)


def _labelled(
    norm: xr.DataArray, blocks: list[_Block], found: list[_Found | None], *, by: str | None
) -> xr.Dataset:
    count = norm.sizes["time"]
    ways = {name: np.full(count, np.nan) for name in ("fraction_mixture", "fraction_shift")}
    member = np.full(count, -1, np.int32)
    for number, one in enumerate(found):
        if one is not None:
            member[one.rows] = number
            ways["fraction_mixture"][one.rows] = one.compared.mixture
            ways["fraction_shift"][one.rows] = one.compared.shift
    coordinates: dict[str, Any] = {
        str(name): part for name, part in norm.coords.items() if part.dims == ("time",)
    }
    coordinates["block_position"] = ("block", [block.position for block in blocks])
    if by is not None:
        coordinates[f"block_{by}"] = ("block", [block.value for block in blocks], norm[by].attrs)
    result = xr.Dataset(
        {name: ("time", values, {"units": "1"}) for name, values in ways.items()}, coordinates
    )
    facts = {"units": "1", "long_name": "block in which the frame was judged; -1: in none"}
    result["block_number"] = ("time", member, facts)
    verdicts = [VERDICTS["undecided" if one is None else one.compared.verdict] for one in found]
    judged = [0 if one is None else one.rows.size for one in found]
    result["verdict"] = ("block", np.array(verdicts, np.int32), category_attributes(VERDICTS))
    result["frames"] = ("block", np.array(judged, np.int32), {"units": "1"})
    for name, (units, meaning) in NUMBERS.items():
        values = np.array([np.nan if one is None else one.numbers[name] for one in found])
        result[name] = ("block", values, {"units": units, "long_name": meaning})
    for name in ("curvature", "shift"):
        result[name].attrs["ancillary_variables"] = f"{name}_sigma"
    return result
