"""The broad background of spectra, estimated frame by frame and taken off."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.arpls import LEAST_POINTS, arpls
from operando.corrections.count_noise import noise_of_frames
from operando.corrections.history import recorded
from operando.corrections.intensities import spectra
from operando.corrections.rows import whole_rows
from operando.errors import RequestError
from operando.model import flag_attributes

Array = npt.NDArray[np.float64]
Bits = npt.NDArray[np.int32]
Estimate = Callable[[Array], tuple[Array, Bits]]

BASELINE_FLAGS: dict[str, int] = {"no_data": 1, "not_converged": 2}
"""`baseline_flag`: what is wrong with the baseline of a frame.

`no_data`: half of the frame or more is missing (with a method of pybaselines: anything is), so the
frame is NaN. `not_converged`: it was still changing when the rounds were over; the frame has it.
"""
SHARED = ("collab_pls",)
"""Methods of pybaselines that give all frames the weights of their mean: wrong where bands come and
go, and another result for every chunking."""


def subtract_baseline(
    frames: xr.Dataset, *, method: str = "arpls", **parameters: float | int | str
) -> xr.Dataset:
    """Take its baseline off every frame.

    Parameters
    ----------
    frames
        `intensity` on (time, axis); points count as equally spaced.
    method
        "arpls" is ours (`operando.corrections.arpls`), with the parameters `lam` (stiffness, 1e5),
        `tol` (1e-3) and `max_iter` (50); any other is the method of that name of pybaselines, frame
        by frame, with its own parameters: "asls", "iarpls", "airpls", "snip", "modpoly" ...

    Returns
    -------
    Dataset
        `frames` with `intensity` less the baseline, and `baseline` on the same axes: their sum is
        what was measured. `baseline_flag` is a coordinate on time. `intensity_sigma` is kept, or
        estimated from each frame as it was measured (`operando.corrections.count_noise`): what is
        left has no longer the noise of its counts. Lazy where the frames are, and equal for any
        chunking. arPLS goes on across missing points, which stay missing.

    Raises
    ------
    RequestError
        No intensity on time and one axis, a method or a parameter that does not exist.

    Notes
    -----
    The error of the baseline is in no sigma: it is common to neighbouring points. A local
    background beside each line (`track_peaks`) knows its own, and needs no baseline beforehand. A
    part of every band is taken off, the more the wider it is: its wings are broad. With lam 1e5, of
    the height of a Lorentzian band that is alone 0.2 % at a width of 8 points, 2 % at 64; of two
    bands whose wings overlap (12 and 15 points wide, on a curved background) 4 %, and 1 % with lam
    1e7.
    """
    series, axis = spectra(frames)
    if series.sizes[axis] < LEAST_POINTS:
        raise RequestError(f"{axis}: {series.sizes[axis]} points; expected {LEAST_POINTS} or more")
    estimate = _method(method, parameters, series[axis].values.astype(float))
    signal = series["intensity"].transpose("time", axis)
    left, baseline, flag = xr.apply_ufunc(
        partial(_subtract, estimate=estimate),
        whole_rows(signal, axis),
        input_core_dims=[[axis]],
        output_core_dims=[[axis], [axis], []],
        output_dtypes=[float, float, np.int32],
        dask="parallelized",
    )
    about = {"units": signal.attrs.get("units", "1"), "long_name": f"baseline ({method})"}
    told = signal.attrs | {"ancillary_variables": "intensity_sigma"}
    result = series.assign(
        intensity=left.assign_attrs(told),
        intensity_sigma=noise_of_frames(series, axis),
        baseline=baseline.assign_attrs(about),
    ).assign_coords(baseline_flag=("time", flag.data, flag_attributes(BASELINE_FLAGS)))
    return recorded(result, "baseline", method=method, **parameters)


def _subtract(rows: Array, *, estimate: Estimate) -> tuple[Array, Array, Bits]:
    rows = np.ascontiguousarray(rows, dtype=float)
    baseline, flag = estimate(rows)
    return rows - baseline, baseline, flag


def _method(method: str, parameters: dict[str, Any], axis: Array) -> Estimate:
    """Return the estimate that a request asks for, once it is known that there is such a one."""
    if method == "arpls":
        allowed = {"lam": 1e5, "tol": 1e-3, "max_iter": 50}
        _known(method, parameters, list(allowed))
        given = allowed | parameters
        stiffness = arguments.number("lam", given["lam"], lambda v: v > 0, "above 0")
        tolerance = arguments.number("tol", given["tol"], lambda v: 0 < v < 1, "between 0 and 1")
        rounds = arguments.whole("max_iter", given["max_iter"], lambda n: n > 0, "1 or more")
        return partial(_own, lam=stiffness, tolerance=tolerance, rounds=rounds)
    methods = _methods()
    if method not in methods:
        raise RequestError(f"method: {method!r}; expected 'arpls' or one of {sorted(methods)}")
    _known(method, parameters, list(methods[method]))
    parameters = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in parameters.items()  # orders and half-widths have to be whole
    }
    told = parameters.get("tol", methods[method].get("tol"))
    tolerance = float(told) if isinstance(told, int | float) else np.inf
    return partial(_theirs, method=method, parameters=parameters, axis=axis, tolerance=tolerance)


def _known(method: str, parameters: dict[str, Any], names: list[str]) -> None:
    strange = [name for name in parameters if name not in names]
    if strange:
        raise RequestError(f"{method}: no parameter {strange[0]!r}; there are {names}")


def _methods() -> dict[str, dict[str, object]]:
    """Return the methods of pybaselines for one spectrum, with their parameters and defaults."""
    from pybaselines import Baseline

    found = {}
    for name in dir(Baseline):
        told = getattr(Baseline, name)
        if name.startswith("_") or name in SHARED or not callable(told):
            continue
        given = inspect.signature(told).parameters
        if list(given)[1:2] == ["data"]:
            found[name] = {each: given[each].default for each in list(given)[2:]}
    return found


def _own(rows: Array, *, lam: float, tolerance: float, rounds: int) -> tuple[Array, Bits]:
    baseline, taken = arpls(rows, lam=lam, tolerance=tolerance, rounds=rounds)
    flag = np.where(taken > rounds, BASELINE_FLAGS["not_converged"], 0)
    flag = np.where(taken == 0, BASELINE_FLAGS["no_data"], flag)
    return baseline, flag.astype(np.int32)


def _theirs(
    rows: Array, *, method: str, parameters: dict[str, Any], axis: Array, tolerance: float
) -> tuple[Array, Bits]:
    from pybaselines import Baseline

    estimate = getattr(Baseline(x_data=axis), method)
    baseline = np.full(rows.shape, np.nan)
    flag = np.full(len(rows), BASELINE_FLAGS["no_data"], np.int32)
    for at in np.flatnonzero(np.isfinite(rows).all(axis=1)):
        try:
            baseline[at], facts = estimate(rows[at], **parameters)
        except (TypeError, ValueError) as error:
            raise RequestError(f"{method}: {parameters!r}; pybaselines says: {error}") from error
        changes = np.ravel(facts.get("tol_history", 0.0))
        settled = not changes.size or changes[-1] <= tolerance
        flag[at] = 0 if settled else BASELINE_FLAGS["not_converged"]
    return baseline, flag
