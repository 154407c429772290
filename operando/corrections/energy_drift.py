"""Drift of the energy scale, measured on a reference foil in the beam, and taken off again."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.bragg import shifted_energy
from operando.corrections.cubic import resample
from operando.corrections.drift_model import Drift, model_drift
from operando.corrections.history import recorded
from operando.corrections.matched_shift import matched_shift
from operando.corrections.rows import whole_rows
from operando.errors import RequestError
from operando.model import flag_attributes

Array = npt.NDArray[np.float64]
Range = tuple[float, float]

DRIFT_FLAGS: dict[str, int] = {
    "unmatched": 1,
    "not_rigid": 2,
    "jump": 4,
    "outlier": 8,
    "uncorrected": 16,
    "beyond_limit": 32,
}
"""`drift_flag`: what is wrong with the energy scale of a scan.

`unmatched`: no shift could be measured on its foil; it has that of the drift model. `not_rigid`:
the foil is less of a shifted baseline than the others are (a glitch, another foil).
`jump`: the energy scale stepped since the scan before. `outlier`: this scan is off by itself; it is
corrected by its own measurement. `uncorrected`: nothing is known of its drift. `beyond_limit`:
further off than `shift_energy` may move it.
"""
TOLERATED = 1.5
"""Reduced chi-square of a foil above which sigma is widened."""
UNUSUAL = 4.0
"""A chi-square that many times the median of the series is flagged. Not one of 1: where spectra
were smoothed or rebinned finely the noise comes out too small, and all of them have a large one."""


def energy_drift(
    mu_reference: xr.DataArray,
    *,
    window: Range,
    baseline: int | xr.DataArray = 10,
    sigma: float | xr.DataArray | None = None,
    jump: float = 0.5,
    smooth: bool = True,
) -> xr.Dataset:
    """Measure how far the energy scale of each scan is off, from the foil in the reference channel.

    Every foil spectrum is matched to the baseline (`matched_shift`, with an offset and a slope, so
    raw spectra serve). The shifts are a smooth drift and a jitter from scan to scan, and their
    errors are known: a smoothing spline whose stiffness the likelihood chooses, and the share of
    the jitter that is not noise (`drift_model`). Where the foil is measured well each scan keeps
    its own shift; where it is noisy the correction comes near the spline.

    The shifts are computed at once, in one pass over the foil: a correction depends on all scans,
    and a lazy one would hold every block of the series in memory.

    Parameters
    ----------
    mu_reference
        Absorption of the foil on (time, energy), numpy or dask; energy in eV, ascending.
    window
        Lowest and highest energy to match, eV: around the edge of the foil, with room outside.
    baseline
        How many leading scans are averaged to what is called unshifted; or the spectrum of a
        standard on `energy`, which makes the correction absolute.
    sigma
        Of `mu_reference`; None estimates it for each scan (see `matched_shift`).
    jump
        Step in eV between two scans that is flagged and breaks the spline, never smoothed over.
    smooth
        False: every scan is corrected by its own shift.

    Returns
    -------
    Dataset
        On time: `raw_shift` (eV, positive: the scan lies at higher energy than the baseline) and
        `raw_shift_chi2` (above 1.5 the sigma is widened by its root); `energy_correction` (eV, what
        is SUBTRACTED from the energies of the scan; positive where they are too high); both with
        `_sigma`; `drift_flag`. attrs `jitter`: standard deviation from scan to scan beyond noise,
        eV.

    Raises
    ------
    RequestError
        A window without points or room, a baseline of no whole spectrum, no energy axis.

    Notes
    -----
    Sigma is that of a drift which a random walk of its slope describes, and is calibrated for it;
    for one much smoother than that (a straight line, a sine) it is up to a fifth too large. The
    noise of the baseline, common to all scans, is not in it: it cancels in every difference.
    """
    foil = arguments.array("mu_reference", mu_reference, "time", "energy")
    limits = arguments.pair("window", window, "lowest and highest energy in eV")
    step = arguments.number("jump", jump, lambda ev: ev > 0, "eV above 0")
    foil = whole_rows(foil.transpose("time", "energy"))
    energy = foil["energy"].values.astype(float)
    reference = _unshifted(foil, energy, limits, baseline)
    spread = [] if sigma is None else [whole_rows(_on_energy(sigma, energy.size))]
    measured = xr.apply_ufunc(
        partial(_match, energy=energy, reference=reference, window=limits),
        foil,
        *spread,
        input_core_dims=[["energy"]] * (1 + len(spread)),
        output_core_dims=[["number"]],
        output_dtypes=[float],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"number": 3}},
    ).transpose("number", "time")
    shift, sigmas, chi2 = measured.values
    sigmas = np.where(chi2 > TOLERATED, sigmas * np.sqrt(np.maximum(chi2, 1.0)), sigmas)
    if np.any(sigmas > 0):  # a scan that is the baseline leaves no residual to judge its noise by
        sigmas = np.where(sigmas == 0, np.median(sigmas[sigmas > 0]), sigmas)
    times = foil["time"].values
    seconds = (times - times[0]) / np.timedelta64(1, "s")
    drift = model_drift(
        seconds, shift, sigmas, jump=step, smooth=arguments.switch("smooth", smooth)
    )
    flag = _flags(shift, chi2, drift)
    numbers = (shift, sigmas, chi2, drift.value, drift.sigma, flag)
    facts = {"window": limits, "jump": step, "smooth": bool(smooth), "jitter": drift.jitter}
    if not isinstance(baseline, xr.DataArray):
        facts["baseline"] = baseline
    return _labelled(foil, numbers).assign_attrs(facts)


def _flags(shift: Array, chi2: Array, drift: Drift) -> npt.NDArray[np.int32]:
    usual = np.median(chi2[np.isfinite(chi2)]) if np.isfinite(chi2).any() else 1.0
    flag = np.zeros(shift.size, dtype=np.int32)
    for name, wrong in (
        ("unmatched", ~np.isfinite(shift)),
        ("not_rigid", chi2 > UNUSUAL * max(1.0, usual)),
        ("jump", drift.jump),
        ("outlier", drift.outlier),
        ("uncorrected", ~np.isfinite(drift.value)),
    ):
        flag |= np.where(wrong, DRIFT_FLAGS[name], 0).astype(np.int32)
    return flag


def _labelled(foil: xr.DataArray, numbers: tuple[npt.NDArray[Any], ...]) -> xr.Dataset:
    shift, sigma, chi2, correction, spread, flag = numbers
    on_time = {
        name: coordinate for name, coordinate in foil.coords.items() if coordinate.dims == ("time",)
    }
    about = {
        "raw_shift": (shift, "eV", "shift of the foil to higher energy"),
        "raw_shift_sigma": (sigma, "eV", "standard deviation of the shift of the foil"),
        "raw_shift_chi2": (chi2, "1", "reduced chi-square of the foil against the baseline"),
        "energy_correction": (correction, "eV", "what is subtracted from the energies"),
        "energy_correction_sigma": (spread, "eV", "standard deviation of the energy correction"),
    }
    on_time = {
        name: coordinate
        for name, coordinate in foil.coords.items()
        if coordinate.dims == ("time",) and name not in (*about, "drift_flag")
    }
    drift = xr.Dataset(
        {
            name: ("time", values, {"units": units, "long_name": meaning})
            for name, (values, units, meaning) in about.items()
        },
        on_time,
    )
    for name in ("raw_shift", "energy_correction"):
        drift[name].attrs["ancillary_variables"] = f"{name}_sigma"
    drift["drift_flag"] = ("time", flag, flag_attributes(DRIFT_FLAGS))
    return drift


def _match(
    foil: Array, sigma: Array | None = None, *, energy: Array, reference: Array, window: Range
) -> Array:
    """Return shift, sigma and chi2 of a block, (n, 3)."""
    found = matched_shift(energy, foil, reference, window=window, sigma=sigma, degree=1)
    return np.stack([found.shift, found.sigma, found.chi2], axis=-1)


def _on_energy(sigma: float | xr.DataArray, count: int) -> xr.DataArray:
    spread = xr.DataArray(sigma)
    return spread if "energy" in spread.dims else spread.expand_dims(energy=count, axis=-1)


def _unshifted(
    foil: xr.DataArray, energy: Array, window: Range, baseline: int | xr.DataArray
) -> Array:
    """Return the spectrum that counts as unshifted, on the energies of the foil."""
    if isinstance(baseline, xr.DataArray):
        given = arguments.array("baseline", baseline, "energy")
        axis, values = given["energy"].values.astype(float), given.values.astype(float)
        return np.asarray(resample(axis, values[None], energy[None])[0])
    count = arguments.whole("baseline", baseline, lambda n: n > 0, "a number of leading scans")
    rows = np.asarray(foil[:count].values, dtype=float)
    inside = (energy >= window[0]) & (energy <= window[1])
    whole = np.isfinite(rows[:, inside]).all(axis=1)
    if not whole.any():
        raise RequestError(
            f"baseline: none of the first {len(rows)} scans has a whole foil in {window!r} eV; "
            "give the spectrum of a standard"
        )
    return np.asarray(rows[whole].mean(axis=0))


def shift_energy(
    frames: xr.Dataset,
    drift: xr.Dataset,
    *,
    limit: float = 3.0,
    spacing: float | None = None,
) -> xr.Dataset:
    """Bring every scan onto the true energies: those it was recorded at minus `energy_correction`.

    Absorption and counters are interpolated by cubic splines, block by block; the axis loses
    `limit` at both ends, so that no scan runs out of data.

    Parameters
    ----------
    frames
        A series of absorption spectra.
    drift
        From `energy_drift`, or a Dataset on the same times with `energy_correction` and its sigma
        in eV, `drift_flag` too if there is one.
    limit
        Widest correction, eV; a scan that needs more becomes NaN and has `beyond_limit` set, one
        without a correction becomes NaN, too.
    spacing
        Of the monochromator's planes in angstrom (3.1356 for Si 111). Given it, the correction is
        an offset of the Bragg angle, measured at the energy where the drift was: needed where foil
        and sample have edges far apart, as with a foil of another element. When None the
        correction is the same at all energies.

    Returns
    -------
    Dataset
        `frames` on fewer energies, with the coordinates `energy_correction`, its sigma and
        `drift_flag` on time. Sigma of `mu` is interpolated linearly, since noise does not shrink by
        moving it; `glitch` is set where a neighbour was one.

    Raises
    ------
    RequestError
        Times that differ, or a limit that leaves no axis.
    """
    series = arguments.dataset("frames", frames)
    widest = arguments.number("limit", limit, lambda ev: ev > 0, "eV above 0")
    if not np.array_equal(series["time"].values, arguments.dataset("drift", drift)["time"].values):
        raise RequestError("drift: other times than the frames; measure it on the same frames")
    energy = series["energy"].values.astype(float)
    move = partial(shifted_energy, spacing=spacing, at=_middle(drift, spacing))
    kept = energy[(move(energy, -widest) >= energy[0]) & (move(energy, widest) <= energy[-1])]
    if kept.size < 4:
        raise RequestError(
            f"limit: {widest:g} eV off both ends leaves {kept.size} of {energy.size} energies"
        )
    correction, sigma = drift["energy_correction"], drift["energy_correction_sigma"]
    beyond = np.abs(correction.values) > widest
    usable = correction.where(~beyond).reset_coords(drop=True)
    moved = {
        name: _moved(variable, usable, energy, kept, move)
        for name, variable in series.data_vars.items()
        if "energy" in variable.dims
    }
    axis = ("energy", kept, series["energy"].attrs)
    result = series.drop_vars([*moved, "energy"]).assign(moved).assign_coords(energy=axis)
    flag = drift["drift_flag"].values if "drift_flag" in drift else np.zeros(beyond.size, np.int32)
    flag = flag | np.where(beyond, DRIFT_FLAGS["beyond_limit"], 0).astype(np.int32)
    riding = {
        "energy_correction": ("time", correction.values, correction.attrs),
        "energy_correction_sigma": ("time", sigma.values, sigma.attrs),
        "drift_flag": ("time", flag, flag_attributes(DRIFT_FLAGS)),
    }
    parameters = {"limit": widest, "spacing": spacing}
    for name in ("window", "jump", "smooth", "jitter", "baseline"):
        if name in drift.attrs:
            parameters[name] = drift.attrs[name]
    return recorded(result.assign_coords(riding), "energy_drift", **parameters)


def _middle(drift: xr.Dataset, spacing: float | None) -> float:
    """Return the energy where the drift was measured; it matters only for an angle."""
    if spacing is None:
        return 0.0
    if "window" not in drift.attrs:
        raise RequestError("spacing: the drift has no attrs['window'] that says where it was seen")
    low, high = drift.attrs["window"]
    return 0.5 * float(low + high)


def _moved(
    variable: xr.DataArray, correction: xr.DataArray, energy: Array, kept: Array, move: Any
) -> xr.DataArray:
    linear = variable.dtype.kind in "iub" or str(variable.name).endswith("_sigma")
    dtype = variable.dtype if variable.dtype.kind in "iub" else np.dtype(float)
    if "time" not in variable.dims:
        return variable.sel(energy=kept).drop_vars(list(variable.coords))
    moved: xr.DataArray = xr.apply_ufunc(
        partial(_move, energy=energy, kept=kept, move=move, linear=linear, dtype=dtype),
        whole_rows(variable),
        correction,
        input_core_dims=[["energy"], []],
        output_core_dims=[["energy"]],
        exclude_dims={"energy"},
        output_dtypes=[dtype],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {"energy": kept.size}},
        keep_attrs="override",
    )
    return moved.drop_vars(list(moved.coords))


def _move(
    rows: Array,
    correction: Array,
    *,
    energy: Array,
    kept: Array,
    move: Any,
    linear: bool,
    dtype: np.dtype[Any],
) -> npt.NDArray[Any]:
    """Return rows (n, m) at the recorded energies that truly are `kept`, (n, k)."""
    source = move(kept[None, :], correction[:, None])
    if not linear:
        return np.asarray(resample(energy, np.ascontiguousarray(rows, dtype=float), source))
    known = np.isfinite(correction)
    out = np.full(source.shape, np.nan if dtype.kind == "f" else 0.0)
    for row in np.flatnonzero(known):
        out[row] = np.interp(source[row], energy, rows[row].astype(float))
    return out if dtype.kind == "f" else np.ceil(out).astype(dtype)
