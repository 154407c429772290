"""Edges of lazy series: what is mapped over blocks of spectra, and what sees all frames at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.energy_drift import energy_drift
from operando.corrections.rows import whole_rows
from operando.errors import RequestError
from operando.model import positions
from operando.observables.edge_frames import (
    FIRST_MEMBER,
    Measurement,
    measure_frames,
    normalised_mean,
)
from operando.observables.edge_plan import Plan
from operando.observables.edge_series import OUTCOMES, Place, Series, judge

Array = npt.NDArray[np.float64]
Range = tuple[float, float]
Baseline = int | slice | xr.DataArray


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is known of the energy scale of each frame."""

    correction: xr.DataArray
    """What is still to be subtracted from its energies, eV, on time."""
    sigma: xr.DataArray
    """Of all that is subtracted, before and now."""
    referenced: bool
    story: str


def places_of(mu: xr.DataArray, baseline: Baseline) -> list[Place]:
    """Return the frames of each position in order of time, and which are its baseline."""
    chosen = slice(0, 0) if isinstance(baseline, xr.DataArray) else baseline
    if not isinstance(chosen, slice):
        chosen = slice(
            arguments.whole("baseline", chosen, lambda n: n > 0, "a number of leading frames")
        )
    places = []
    for name, rows in positions(mu).items():
        rows = rows[np.argsort(mu["time"].values[rows], kind="stable")]
        try:
            places.append(Place(frames=rows, baseline=rows[chosen]))
        except (TypeError, ValueError):
            raise arguments.refusal("baseline", baseline, "numbers of frames in a slice") from None
        if not isinstance(baseline, xr.DataArray) and not places[-1].baseline.size:
            where = f" of position {name!r}" if name else ""
            raise RequestError(f"baseline: {baseline!r} selects none of {rows.size} frames{where}")
    return places


def baselines(
    mu: xr.DataArray,
    places: list[Place],
    baseline: Baseline,
    measurement: Measurement,
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Return the normalised spectra to compare with, and the numbers of one that was given."""
    if not isinstance(baseline, xr.DataArray):
        rows = np.concatenate([place.baseline for place in places])
        ends = np.cumsum([place.baseline.size for place in places])
        shapes = _mapped(
            partial(_means, ends=ends, plan=measurement.plan),
            [(_in_one(mu.isel(time=rows)), ("time", "energy"))],
            {"baseline": len(places), "energy": mu.sizes["energy"]},
        )
        return shapes, None
    spectrum = arguments.array("baseline", baseline, "energy")
    if not np.array_equal(spectrum["energy"].values, mu["energy"].values):
        raise RequestError("baseline: other energies than mu; interpolate it to mu['energy'] first")
    shapes = _mapped(
        partial(_means, ends=np.array([1]), plan=measurement.plan),
        [(_in_one(spectrum.expand_dims("time")), ("time", "energy"))],
        {"baseline": 1, "energy": mu.sizes["energy"]},
    )
    alone = Place(frames=np.zeros(1, np.intp), baseline=np.zeros(0, np.intp))
    frame = spectrum.expand_dims("time").reset_coords(drop=True)
    given = measured(frame, None, [alone], shapes, measurement).rename(time="given")
    return shapes, given


def _in_one(spectra: xr.DataArray) -> xr.DataArray:
    """Return few spectra in one block, without coordinates: sums then do not depend on blocks."""
    bare = xr.DataArray(spectra.data, dims=spectra.dims)
    return bare.chunk(-1) if bare.chunks else bare


def _mapped(
    kernel: Callable[..., Array], inputs: list[tuple[xr.DataArray, Any]], sizes: dict[str, int]
) -> Any:
    """Apply a kernel to whole arrays, lazily when one of them is."""
    return xr.apply_ufunc(
        kernel,
        *(array for array, _ in inputs),
        input_core_dims=[list(dims) for _, dims in inputs],
        output_core_dims=[list(sizes)],
        exclude_dims={dim for _, dims in inputs for dim in dims},
        output_dtypes=[np.float64],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": sizes},
    )


def _means(mu: Array, *, ends: npt.NDArray[np.intp], plan: Plan) -> Array:
    return np.stack([normalised_mean(part, plan=plan) for part in np.split(mu, ends[:-1])])


def measured(
    mu: xr.DataArray,
    sigma: float | xr.DataArray | None,
    places: list[Place],
    shapes: xr.DataArray,
    measurement: Measurement,
) -> xr.DataArray:
    """Return the numbers of every frame, (time, number), block by block."""
    spectra = whole_rows(mu)
    arrays, core = [spectra], [["energy"]]
    if sigma is not None:
        spread = xr.DataArray(sigma)
        alone = "energy" not in spread.dims
        arrays.append(spread.expand_dims("every_energy", -1) if alone else whole_rows(spread))
        core.append(["every_energy"] if alone else ["energy"])
    place = np.zeros(mu.sizes["time"], np.int64)
    if shapes.sizes["baseline"] > 1:
        for at, one in enumerate(places):
            place[one.frames] = at
    result: xr.DataArray = xr.apply_ufunc(
        partial(_block, measurement=measurement, sigma_given=sigma is not None),
        *arrays,
        xr.DataArray(place, dims="time"),
        shapes,
        input_core_dims=[*core, [], ["baseline", "energy"]],
        output_core_dims=[["number"]],
        output_dtypes=[np.float64],
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": {"number": FIRST_MEMBER + len(measurement.plan.members)}
        },
    )
    return result


def _block(mu: Array, *others: Array, measurement: Measurement, sigma_given: bool) -> Array:
    *sigma, place, shapes = others
    return measure_frames(
        mu, sigma[0] if sigma_given else None, np.ravel(place), shapes, measurement=measurement
    )


def corrections(mu: xr.DataArray, reference: xr.DataArray | None, window: Range) -> Scale:
    """Return what to subtract from the energies of each frame, from the foil or from before."""
    zero = xr.DataArray(np.zeros(mu.sizes["time"]), dims="time")
    before = "energy_correction" in mu.coords
    if reference is None:
        if not before:
            story = "none: no reference channel, sigma has a bound"
            return Scale(correction=zero, sigma=zero, referenced=False, story=story)
        if "energy_correction_sigma" not in mu.coords:
            raise RequestError("mu: energy_correction without energy_correction_sigma")
        bare = xr.DataArray(mu.coords["energy_correction_sigma"].values, dims="time")
        story = "the energies were corrected before (coordinate energy_correction)"
        return Scale(correction=zero, sigma=bare, referenced=True, story=story)
    if before:
        raise RequestError(
            "reference: the energies of mu were corrected before (coordinate energy_correction); "
            "leave the reference out"
        )
    foil = arguments.array("reference", reference, "time", "energy")
    if not np.array_equal(foil["time"].values, mu["time"].values):
        raise RequestError("reference: other times than mu; give the channel of the same frames")
    drift = energy_drift(foil, window=window)
    correction, sigma = (
        xr.DataArray(drift[name].values, dims="time")
        for name in ("energy_correction", "energy_correction_sigma")
    )
    story = f"subtracted here, from the reference channel {foil.name or 'given'}"
    return Scale(correction=correction, sigma=sigma, referenced=True, story=story)


def judged(
    mu: xr.DataArray,
    numbers: xr.DataArray,
    scale: Scale,
    given: xr.DataArray | None,
    places: list[Place],
    measurement: Measurement,
) -> xr.DataArray:
    """Return the outcomes, (time, outcome): the step that sees the numbers of all frames."""
    time = mu["time"].values
    series = Series(
        places=places,
        hours=(time - time.min()) / np.timedelta64(1, "h"),
        matched=measurement.method == "matched",
        referenced=scale.referenced,
        short=measurement.plan.short,
        glitched=_on_time(mu, "glitches", 0.0) > 0,
        dose=exposed(mu, places),
        charge=_on_time(mu, "net_capacity", np.nan) if "net_capacity" in mu.coords else None,
    )
    whole = numbers
    if numbers.chunks:
        whole = numbers.copy(data=numbers.data.rechunk({numbers.get_axis_num("time"): -1}))
    result: xr.DataArray = xr.apply_ufunc(
        partial(judge, series=series),
        whole,
        scale.correction,
        scale.sigma,
        *([] if given is None else [given]),
        input_core_dims=[["time", "number"], ["time"], ["time"], ["given", "number"]][
            : 3 if given is None else 4
        ],
        output_core_dims=[["time", "outcome"]],
        output_dtypes=[np.float64],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"outcome": len(OUTCOMES)}},
    )
    return result


def exposed(mu: xr.DataArray, places: list[Place]) -> Array:
    """Return the exposure of its position up to the middle of each frame, (n,).

    In seconds of `exposure`, else of the time from start to end of the frames, else in frames.
    """
    own = np.ones(mu.sizes["time"])
    if "exposure" in mu.coords:
        own = _on_time(mu, "exposure", np.nan)
    elif "time_start" in mu.coords and "time_end" in mu.coords:
        own = (mu["time_end"].values - mu["time_start"].values) / np.timedelta64(1, "s")
    total = np.empty(own.size)
    for place in places:
        here = own[place.frames]
        total[place.frames] = np.cumsum(here) - here / 2
    return total


def _on_time(mu: xr.DataArray, name: str, missing: float) -> Array:
    count = mu.sizes["time"]
    if name not in mu.coords:
        return np.full(count, missing)
    return np.broadcast_to(mu.coords[name].values.astype(float), count).copy()
