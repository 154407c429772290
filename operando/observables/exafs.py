"""A shell of EXAFS through a series: its amplitude, centroid and phase, with their noise."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.rows import whole_rows
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.fourier import R_STEP
from operando.observables.shell_tracks import (
    ASSESSMENT,
    NOISE_RANGE,
    Plan,
    Settings,
    plan_tracks,
    track,
)

Array = npt.NDArray[np.float64]
Range = tuple[float, float]

NUMBERS = ("amplitude", "centroid", "phase")
"""Each with its sigma."""
HIGHEST = 3
"""The largest power of k."""
NARROWEST = 0.15
"""Of a shell, in angstrom: five points of R, for a maximum between them."""


def track_exafs(
    mu: xr.DataArray,
    *,
    e0: float,
    pre: Range | None,
    post: Range | None,
    degree: int = 2,
    rbkg: float = 1.0,
    k_range: Range = (3.0, 12.0),
    dk: float = 1.0,
    k_weight: int = 2,
    shell: Range = (1.0, 2.2),
    r_max: float = 6.0,
    sigma: float | xr.DataArray | None = None,
) -> xr.Dataset:
    """Follow one shell of |chi(R)| through a series of spectra.

    The background is that of AUTOBK (`operando.observables.autobk`); chi(k) is divided by the edge
    step, multiplied by k^w and a Hanning window, and transformed,

        chi(R) = 1/sqrt(pi) int k^w W(k) chi(k) exp(-2 i k R) dk,

    as `larch.xafs.autobk` and `xftf` do, with one e0, one window and one background for the series.
    `amplitude` is the height of the largest maximum of |chi(R)| in the shell, `centroid` the mean R
    weighted with |chi(R)| over the shell, `phase` that of the shell transformed back to the middle
    k_0 of `k_range`: 2 k_0 R + delta(k_0) of a single distance. A change of the distance by dR
    turns it by 2 k_0 dR as long as the neighbours stay the same; the centroid, between fixed limits
    and with tails of other shells inside, follows by some three quarters of dR.

    **The amplitude is not a coordination number.** It falls with disorder, thermal or static, just
    as with the number of neighbours, with the mean free path, with self-absorption, and with a
    wrong edge step: a number of neighbours takes a fit (`operando.observables.shells.fit_shells`)
    to a frame or to the average of a state.

    Parameters
    ----------
    mu
        Absorption on (time, energy), numpy or dask; energy in eV, ascending. The background is
        fitted up to its end: cut it where another edge begins.
    e0
        Zero of k in eV, fixed for the series: within the rise of the edge.
    pre, post, degree
        See `operando.corrections.normalisation.normalise`; both None for normalised spectra, whose
        edge step is one.
    rbkg
        Below it, in angstrom, everything is background.
    k_range, dk
        In 1/angstrom: the window and the width of its flanks, centred on its ends. Choose it where
        the noise is below the signal, and the same in all that is to be compared.
    k_weight
        The power of k, 0 to 3.
    shell
        In angstrom, without phase correction: of most pairs 0.2-0.5 below the distance.
    r_max
        End of the map of |chi(R)|.
    sigma
        Of `mu`: one number, or on time, energy or both. When None, taken for the same at all points
        of a spectrum, and found from chi(R) at 15-25 angstrom, where no neighbour is seen.

    Returns
    -------
    Dataset
        On time, with `mu`'s coordinates: the three numbers, each with `_sigma`; `noise` (root mean
        square of one part of chi(R) at 15-25 angstrom); `assessment`, whose attribute `notes`
        says what holds for the whole series; `chi_magnitude` on (time, r), `chi` with `chi_sigma`
        on (time, k). Lazy where `mu` is, and equal to the last bit for any chunking. Sigma is
        statistical, that of the step included where it is found here: drift of the monochromator,
        the choice of e0, ranges and background are not in it.

    Raises
    ------
    RequestError
        No energy axis or too few points, a range outside the data, only one of `pre` and `post`,
        ranges that do not ascend.

    Notes
    -----
    Fails where the shell has no maximum of its own (`no_peak`: two shells overlap), where the noise
    is near the amplitude (`weak`), and for one that begins below `rbkg`. Phases are from -pi to
    pi: unwrap them before differences are taken. A gap of missing points narrower than 0.15
    1/angstrom is bridged and said so; a wider one leaves no number. Between neighbouring frames of
    a real series the numbers scatter more than sigma where the step does (bubbles, a moved spot).
    """
    arguments.array("mu", mu, "time", "energy")
    _check(mu["energy"].values, pre, post)
    settings = Settings(
        e0=e0,
        ranges=None if pre is None or post is None else (pre, post),
        degree=degree,
        rbkg=rbkg,
        k_range=k_range,
        dk=dk,
        k_weight=k_weight,
        shell=shell,
        r_max=r_max,
    )
    plan = _plan(mu["energy"].values.astype(float), settings)
    inputs, core = _inputs(mu, sigma)
    outputs = xr.apply_ufunc(
        partial(_measure, plan=plan),
        *inputs,
        input_core_dims=core,
        output_core_dims=[[]] * 8 + [["r"], ["k"], ["k"]],
        output_dtypes=[np.float64] * 7 + [np.int32] + [np.float64] * 3,
        dask="parallelized",
        dask_gufunc_kwargs={
            "output_sizes": {"r": plan.r_points, "k": plan.removal.k.size},
        },
    )
    notes = "; ".join(_notes(settings))
    dataset = _labelled(outputs, plan, k_weight)
    dataset["assessment"].attrs.update(cautions=ASSESSMENT["bridged"], notes=notes)
    told = asdict(settings) | {"k_phase": plan.shell.k_phase, "signal": str(mu.name)}
    told |= {"pre": pre, "post": post}
    normalised = ("ranges", "pre", "post", "degree") if pre is None else ("ranges",)
    return dataset.assign_attrs({k: v for k, v in told.items() if k not in normalised})


def _check(energy: Array, pre: Range | None, post: Range | None) -> None:
    if not np.all(np.diff(energy) > 0):
        raise RequestError("energy: not ascending; sort it and merge points at the same energy")
    if (pre is None) != (post is None):
        raise RequestError(f"pre, post: {pre!r}, {post!r}; give both, or neither when normalised")


def _plan(energy: Array, settings: Settings) -> Plan:
    """Look at the settings, and at what they need of the data, then work out the plan."""
    arguments.number("e0", settings.e0, np.isfinite, "an energy in eV")
    arguments.number("rbkg", settings.rbkg, lambda r: 0.3 <= r <= 3.0, "0.3 to 3 angstrom")
    arguments.number("dk", settings.dk, lambda k: 0.0 < k <= 4.0, "a width in 1/angstrom, 0 to 4")
    arguments.number("r_max", settings.r_max, lambda r: 1.0 <= r <= 15.0, "1 to 15 angstrom")
    arguments.whole("k_weight", settings.k_weight, lambda w: 0 <= w <= HIGHEST, f"0 to {HIGHEST}")
    _ascending("k_range", settings.k_range, 40.0)
    low, high = _ascending("shell", settings.shell, 15.0)
    if high - low < NARROWEST or low < NARROWEST:
        raise RequestError(
            f"shell: {settings.shell!r}; expected to begin above {NARROWEST:g} angstrom and to be "
            "wider than that"
        )
    plan = plan_tracks(energy, settings)
    reached = float(plan.removal.raw[-1])
    if settings.k_range[1] > reached:
        raise RequestError(
            f"k_range: {settings.k_range!r}; the data end at {energy[-1]:g} eV, which is "
            f"{reached:.2f} 1/angstrom above e0 {settings.e0!r}"
        )
    return plan


def _ascending(name: str, limits: Range, highest: float) -> Range:
    low, high = arguments.pair(name, limits, "(low, high)")
    if not 0 <= low < high <= highest:
        raise RequestError(f"{name}: {limits!r}; expected to ascend, from 0 to {highest:g}")
    return low, high


def _inputs(
    mu: xr.DataArray, sigma: float | xr.DataArray | None
) -> tuple[list[xr.DataArray], list[list[str]]]:
    """Return the arrays to be mapped over, and the axis each has to be whole along."""
    if sigma is None:
        return [whole_rows(mu)], [["energy"]]
    spread = xr.DataArray(sigma)
    axis = "energy" if "energy" in spread.dims else "every_energy"
    if axis not in spread.dims:
        spread = spread.expand_dims(axis, -1)
    return [whole_rows(mu), whole_rows(spread)], [["energy"], [axis]]


def _measure(
    mu: Array, sigma: Array | None = None, *, plan: Plan
) -> tuple[npt.NDArray[np.generic], ...]:
    """Measure a block: value and sigma of each number, noise, assessment, |chi(R)|, chi, sigma."""
    done = track(mu, sigma, plan=plan)
    numbers = [part[:, at] for at in range(len(NUMBERS)) for part in (done.values, done.sigmas)]
    return (*numbers, done.noise, done.assessment, done.magnitude, done.chi, done.chi_sigma)


def _notes(settings: Settings) -> list[str]:
    """Say what a reader of the numbers has to know, whatever the spectra are."""
    resolution = np.pi / (2 * (settings.k_range[1] - settings.k_range[0]))
    found = [
        "the amplitude falls with disorder as well as with coordination: no coordination number "
        "without a fit",
        "R is not corrected for phase: distances are some 0.2-0.5 angstrom longer",
    ]
    if settings.ranges is None:
        found.append("normalised before: the uncertainty of the edge step is not in sigma")
    if settings.shell[0] < settings.rbkg:
        found.append(
            f"the shell begins below rbkg {settings.rbkg:g}: the background takes part of it"
        )
    if settings.shell[1] - settings.shell[0] < resolution:
        found.append(
            f"the shell is narrower than k_range resolves ({resolution:.2f} angstrom): its "
            "centroid can hardly move"
        )
    return found


def _labelled(outputs: tuple[xr.DataArray, ...], plan: Plan, k_weight: int) -> xr.Dataset:
    per_volume = f"1/angstrom^{k_weight + 1}" if k_weight else "1/angstrom"
    about = {
        "amplitude": (per_volume, "amplitude of the shell, |chi(R)|"),
        "centroid": ("angstrom", "centroid of the shell, R without phase correction"),
        "phase": ("radian", "phase of the shell"),
        "chi": ("1", "EXAFS chi(k)"),
    }
    values = [*outputs[0:6:2], outputs[9]]
    sigmas = [*outputs[1:6:2], outputs[10]]
    dataset = xr.Dataset(
        coords={
            "r": ("r", R_STEP * np.arange(plan.r_points), {"units": "angstrom"}),
            "k": ("k", plan.removal.k, {"units": "1/angstrom"}),
        }
    )
    for (name, (units, meaning)), value, sigma in zip(about.items(), values, sigmas, strict=True):
        dataset[name] = value.assign_attrs(
            units=units, long_name=meaning, ancillary_variables=f"{name}_sigma"
        )
        dataset[f"{name}_sigma"] = sigma.assign_attrs(
            units=units, long_name=f"statistical standard deviation of {meaning}"
        )
    low, high = NOISE_RANGE
    dataset["noise"] = outputs[6].assign_attrs(
        units=per_volume, long_name=f"noise of chi(R) at {low:g}-{high:g} angstrom"
    )
    dataset["chi_magnitude"] = outputs[8].assign_attrs(units=per_volume, long_name="|chi(R)|")
    dataset["r"].attrs["long_name"] = "R without phase correction"
    dataset["k"].attrs["long_name"] = "photo-electron wavenumber"
    dataset["assessment"] = outputs[7].assign_attrs(flag_attributes(ASSESSMENT))
    return dataset
