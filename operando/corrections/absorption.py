"""Absorption from the counters of a scan: dead time, dark current, ratio, and counting noise."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import lambertw

from operando import arguments
from operando.corrections.history import recorded
from operando.errors import RequestError
from operando_readers._absorption import COUNTERS, log_ratio, ratio

Array = npt.NDArray[np.float64]
DeadTime = Literal["non-paralyzable", "paralyzable"]

MADE = ("mu", "mu_fluorescence", "mu_reference")


def live_counts(
    counts: Array, *, dwell_s: Array | float, dead_time_s: float, model: DeadTime
) -> tuple[Array, Array]:
    """Return the counts a detector without dead time would have, and their variance.

    With m = counts / dwell, tau the dead time and n the true rate (Knoll, Radiation Detection and
    Measurement, 4.VII): a non-paralyzable detector records m = n / (1 + n tau), a paralyzable one
    m = n exp(-n tau), of which the lower of the two rates is meant. The variance of the recorded
    counts M is M (1 - m tau)^2 and M (1 - 2 m tau) (Mueller, Nucl. Instrum. Methods 112 (1973) 47);
    it is carried over by dn / dm.

    NaN where no true rate gives the recorded one: m tau >= 1, or > 1/e.
    """
    seen = np.asarray(counts, dtype=float)
    load = seen / dwell_s * dead_time_s
    if model == "non-paralyzable":
        busy = np.where(load < 1, load, np.nan)
        return seen / (1 - busy), seen / (1 - busy) ** 2
    possible = np.where(load <= np.exp(-1), load, np.nan)
    true = -np.real(lambertw(-possible))
    gain = np.exp(true)
    with np.errstate(divide="ignore"):
        return seen * gain, seen * (1 - 2 * load) * (gain / (1 - true)) ** 2


def absorption(
    frames: xr.Dataset,
    *,
    mode: str,
    dead_time_s: float | None = None,
    dead_time: str = "non-paralyzable",
    dwell_s: float | str | None = None,
    rates: tuple[str, str] | None = None,
    dark: Mapping[str, float] | None = None,
    counts: bool = False,
) -> xr.Dataset:
    """Make absorption of the counters: mu = ln(i0/i1) or fluorescence/i0, reference ln(i1/iref).

    First the fluorescence is corrected for dead time, then dark counts are subtracted, then the
    ratio is taken. A point where a counter is not positive, or a detector is paralysed, is NaN.

    Parameters
    ----------
    frames
        With the counters `i0`, `i1`, `iref`, `fluorescence` on (time, energy), as far as they
        exist.
    mode
        "transmission" or "fluorescence": what `mu` is.
    dead_time_s, dead_time, dwell_s
        Dead time of the fluorescence detector in seconds, its model, "non-paralyzable" or
        "paralyzable", and the time of a point: a number, or the variable that has it.
    rates
        Instead: names of the variables with the input and the output count rate of the electronics;
        the fluorescence is multiplied by their quotient.
    dark
        What a counter shows without beam, in its own unit, a point.
    counts
        The counters are numbers of photons: then `mu_sigma` (and that of the others) is Poisson's,
        sigma_mu^2 = var(i0)/i0^2 + var(i1)/i1^2, that of fluorescence times mu^2. Amplified
        currents are not, whatever their size.

    Returns
    -------
    Dataset
        `frames` with `mu`, `mu_reference` and, in transmission, `mu_fluorescence`; lazy where the
        counters are.

    Raises
    ------
    RequestError
        A counter that is missing, a dead time without a dwell time, both ways to correct it.

    Notes
    -----
    A detector of several elements is corrected element by element: here `fluorescence` is one
    detector, or several equally loaded ones with the dead time divided by their number.
    """
    series = arguments.dataset("frames", frames)
    made_in = arguments.chosen("mode", mode, ("transmission", "fluorescence"))
    _check(series, made_in, dead_time_s, dwell_s, rates, dark or {})
    channels = {name: (series[name], series[name]) for name in COUNTERS if name in series}
    if dead_time_s is not None:
        arguments.number("dead_time_s", dead_time_s, lambda s: s >= 0, "seconds, 0 or more")
        model = arguments.chosen("dead_time", dead_time, ("non-paralyzable", "paralyzable"))
        dwell = series[dwell_s] if isinstance(dwell_s, str) else xr.DataArray(dwell_s)
        channels["fluorescence"] = xr.apply_ufunc(
            partial(_live, dead_time_s=dead_time_s, model=model),
            series["fluorescence"],
            dwell,
            output_core_dims=[[], []],
            output_dtypes=[float, float],
            dask="parallelized",
        )
    if rates is not None:
        gain, seen = series[rates[0]] / series[rates[1]], series["fluorescence"]
        channels["fluorescence"] = (seen * gain, seen * gain**2)
    for name, level in (dark or {}).items():
        channels[name] = (channels[name][0] - level, channels[name][1])
    made = _ratios(channels, made_in)
    parameters: dict[str, Any] = {"mode": made_in, "counts": arguments.switch("counts", counts)}
    parameters |= {"dead_time_s": dead_time_s, "dark": dict(dark or {})}
    if dead_time_s is not None:
        parameters |= {"dead_time": dead_time, "dwell_s": dwell_s}
    if rates is not None:
        parameters["rates"] = list(rates)
    result = series.drop_vars(
        [name for old in MADE for name in (old, f"{old}_sigma") if name in series]
    )
    return recorded(_with(result, made, made_in, counts=counts), "absorption", **parameters)


def _check(
    series: xr.Dataset,
    mode: str,
    dead_time_s: float | None,
    dwell_s: float | str | None,
    rates: tuple[str, str] | None,
    dark: Mapping[str, float],
) -> None:
    needed = ["i0", "i1"] if mode == "transmission" else ["i0", "fluorescence"]
    needed += ["fluorescence"] if dead_time_s is not None or rates is not None else []
    needed += list(rates or ()) + ([dwell_s] if isinstance(dwell_s, str) else []) + list(dark)
    missing = [name for name in needed if name not in series]
    if missing:
        raise RequestError(
            f"absorption: no {missing[0]!r} in {list(series.data_vars)}; {mode} needs "
            f"{', '.join(dict.fromkeys(needed))}"
        )
    if dead_time_s is not None and rates is not None:
        raise RequestError("dead_time_s, rates: both given; correct the dead time once")
    if dead_time_s is not None and dwell_s is None:
        raise RequestError("dwell_s: None; a dead time needs the time of a point in seconds")
    for name, level in dark.items():
        if name not in COUNTERS:
            raise RequestError(f"dark: {name!r} is no counter; expected some of {list(COUNTERS)}")
        arguments.number(f"dark.{name}", level, np.isfinite, "a number")


def _live(counts: Array, dwell: Array, **options: Any) -> tuple[Array, Array]:
    return live_counts(counts, dwell_s=dwell, **options)


def _ratios(
    channels: Mapping[str, tuple[xr.DataArray, ...]], mode: str
) -> dict[str, tuple[xr.DataArray, xr.DataArray]]:
    """Return value and sigma of what can be made."""
    made = {}
    if mode == "transmission":
        made["mu"] = _of(log_ratio, channels["i0"], channels["i1"])
    if "fluorescence" in channels:
        name = "mu" if mode == "fluorescence" else "mu_fluorescence"
        made[name] = _of(ratio, channels["fluorescence"], channels["i0"])
    if "i1" in channels and "iref" in channels:
        made["mu_reference"] = _of(log_ratio, channels["i1"], channels["iref"])
    return made


def _of(
    combine: Any, above: tuple[xr.DataArray, ...], below: tuple[xr.DataArray, ...]
) -> tuple[xr.DataArray, xr.DataArray]:
    value, sigma = xr.apply_ufunc(
        partial(_combined, combine=combine),
        *above,
        *below,
        output_core_dims=[[], []],
        output_dtypes=[float, float],
        dask="parallelized",
    )
    return value, sigma


def _combined(
    above: Array, above_variance: Array, below: Array, below_variance: Array, *, combine: Any
) -> tuple[Array, Array]:
    value = combine(np.asarray(above, dtype=float), np.asarray(below, dtype=float))
    good = np.isfinite(value)
    spread = np.full(value.shape, np.nan)
    relative = above_variance[good] / above[good] ** 2 + below_variance[good] / below[good] ** 2
    spread[good] = np.sqrt(relative) * (1.0 if combine is log_ratio else value[good])
    return value, spread


def _with(
    frames: xr.Dataset,
    made: Mapping[str, tuple[xr.DataArray, xr.DataArray]],
    mode: str,
    *,
    counts: bool,
) -> xr.Dataset:
    about = {
        "mu": "absorption",
        "mu_fluorescence": "absorption, by fluorescence",
        "mu_reference": "absorption of the reference foil",
    }
    variables = {}
    for name, (value, sigma) in made.items():
        facts = {"units": "1", "long_name": about[name]}
        if name == "mu":
            facts["mode"] = mode
        if counts:
            facts["ancillary_variables"] = f"{name}_sigma"
            variables[f"{name}_sigma"] = sigma.assign_attrs(
                units="1", long_name=f"counting noise of the {about[name]}"
            )
        variables[name] = value.assign_attrs(facts)
    return frames.assign(variables)
