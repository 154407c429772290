"""Where an absorption edge is, how far it moved, and how sure that is."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.edge_blocks import baselines, corrections, judged, measured, places_of
from operando.observables.edge_flags import ASSESSMENT as ASSESSMENT
from operando.observables.edge_flags import CAUTIONS as CAUTIONS
from operando.observables.edge_frames import ROOM, Measurement
from operando.observables.edge_plan import plan_edges
from operando.observables.edge_series import OUTCOMES

Range = tuple[float, float]

METHODS = ("integral", "half", "matched")
ABOUT = {
    "edge_energy": ("eV", "edge energy"),
    "edge_shift": ("eV", "edge shift, negative to lower energy: reduction"),
    "edge_sigma_stat": ("eV", "part of edge_shift_sigma: noise of frame and baseline"),
    "edge_sigma_drift": ("eV", "part of edge_shift_sigma: drift of the energy scale"),
    "edge_sigma_norm": ("eV", "part of edge_shift_sigma: choice of normalisation ranges"),
    "edge_step": ("1", "edge step"),
    "step_change": ("1", "edge step relative to that of the baseline, less one"),
    "white_line": ("1", "white line, normalised"),
    "rigid_chi2": ("1", "reduced chi-square of the baseline, shifted and scaled"),
}
"""Units and meaning; those among `OUTCOMES` with a sigma have one."""
SIGN = "negative: to lower energy, reduction"
ENSEMBLE = (
    "standard deviation over 3 x 3 ranges: pre as given, without its first, or its last third; "
    "post as given, from 2/3 of its start on, or from 3/2 of it on without its last quarter"
)
NOT_TESTED = "not tested: the frames carry no net_capacity; align them with the electrochemistry"


def track_edge(
    mu: xr.DataArray,
    *,
    method: str = "integral",
    e0: float,
    pre: Range | None,
    post: Range | None,
    degree: int = 2,
    baseline: int | slice | xr.DataArray = 3,
    reference: xr.DataArray | None = None,
    sigma: float | xr.DataArray | None = None,
    level: float = 0.5,
    band: Range = (0.15, 1.0),
    window: Range = (-30.0, 30.0),
) -> xr.Dataset:
    """Follow an absorption edge through a series of spectra, below the step of the grid.

    `half`: where normalised absorption last rises through `level` in the window, by linear
    interpolation. `integral`: the mean energy over absorption from m1 to m2 = `band`,

        E = 1/(m2 - m1) int_{m1}^{m2} E dm = E2 - 1/(m2 - m1) int_{E1}^{E2} (m(E) - m1) dE,

    between the crossings E1 and E2 of m1 and m2 around half-height (Capehart et al., Appl. Phys.
    Lett. 38 (1981) 640; Dau et al., Anal. Bioanal. Chem. 376 (2003) 562): several times less noisy
    and the closest to linear in a mixture, for trends of valence. `matched`: the rigid shift of
    the baseline that fits best, scaled (`operando.corrections.matched_shift`), on top of the
    integral of the baseline: the least noisy, insensitive to the step, for small shifts of a shape
    that stays (`rigid_chi2` tells). The derivative is not offered: its maximum jumps between
    features of the edge.

    Parameters
    ----------
    mu
        Absorption on (time, energy), numpy or dask; energy in eV, ascending. Series of several
        `position`s are each compared with their own baseline. Coordinates on time that count:
        `energy_correction` and its sigma (energies corrected before), `glitches` (interpolated
        points), and for the test of dose `net_capacity` with `exposure` or the ends of the frames.
    e0
        Fixed energy of normalisation in eV; `window` is relative to it.
    pre, post, degree
        See `operando.corrections.normalisation.normalise`; both None for normalised spectra.
    baseline
        What `edge_shift` is against: the mean of so many leading frames of each position, of the
        frames of each position that a slice selects, or a spectrum on the same energies, of the
        same kind as `mu`. Frames that cannot be believed are left out of it.
    reference
        Absorption of the reference foil, of the same element, on the times of `mu`: its drift
        (`operando.corrections.energy_drift`) is subtracted. Frames without it become NaN.
    sigma
        Of `mu`: one number, or on time, energy or both. When None, white noise estimated for
        each spectrum (`white_noise`) beyond the edge; spectra smoothed or rebinned to
        a finer grid than they were measured on then get too small a sigma.
    level, band
        In units of the edge step; the level lies inside the band.

    Returns
    -------
    Dataset
        On time, with `mu`'s coordinates, as lazy as `mu` (a reference is measured at once).

        - `edge_energy` (eV, corrected) and `edge_shift` (eV, against the baseline; negative: to
          lower energy, reduction), both with `_sigma`, total.
        - The three parts of `edge_shift_sigma`. `edge_sigma_stat`: every number is a sum over the
          points of `mu` with weights known to first order, those of the normalisation included, so
          sqrt(sum weight_i^2 sigma_i^2) (half-height: sigma sqrt((1 - t)^2 + t^2) / slope, and what
          line and step add); the baseline's noise is in it. `edge_sigma_drift`: that of
          `energy_correction`; without a reference 0.04 eV a scan and a random walk of 0.4 eV in
          64 h, both against the baseline. `edge_sigma_norm`: standard deviation of the shift over
          nine choices of ranges (attrs: `ensemble`), so that what all frames share cancels; NaN,
          and not in the total, for spectra normalised before.
        - `energy_correction` (eV, subtracted), `edge_step` with sigma and `step_change` (not for
          spectra normalised before), `white_line` (maximum in the window) with sigma, `rigid_chi2`.
        - `assessment`: bits of `ASSESSMENT`; those in its attribute `cautions` do not forbid use.

    Raises
    ------
    RequestError
        No energy axis in eV, a range without enough points, only one of `pre` and `post`, a level
        outside the band, a baseline on other energies, a reference at other times or for spectra
        that were corrected before.

    Notes
    -----
    Sigma of `edge_energy` takes the calibration of the axis for granted. The errors that drift and
    normalisation make are alike in neighbouring frames: a mean over many frames does not remove
    them. Half-height and integral fail on edges whose pre-edge peak comes near the level (Cr6+,
    V5+, Ti4+): see `preedge_above_level`. Half-height is biased by up to 2 % of the grid step,
    which should be well below the width of the edge, and on coarse grids its sigma is up to 1.8
    times too small (`benchmarks/edge_methods.py`): take the integral there. Where spectra were
    rebinned finely the noise comes out too small, and `rigid_chi2` is large for a small misfit. The
    white line is biased upwards by about a sigma, as a maximum is.
    """
    _check(mu, method=method, e0=e0, pre=pre, post=post, level=level, band=band)
    limits = arguments.pair("window", window, "lowest and highest energy in eV, relative to e0")
    energy = mu["energy"].values.astype(float)
    plan = plan_edges(
        energy,
        e0=e0,
        ranges=None if pre is None or post is None else (pre, post),
        degree=degree,
        level=level,
        band=band,
        window=limits,
    )
    # Shapes are compared in the window, with room for a shift at both ends.
    compared = max(e0 + limits[0], energy[0] + ROOM), min(e0 + limits[1], energy[-1] - ROOM)
    measurement = Measurement(plan=plan, method=method, window=compared)
    places = places_of(mu, baseline)
    shapes, given = baselines(mu, places, baseline, measurement)
    numbers = measured(mu, sigma, places, shapes, measurement)
    scale = corrections(mu, reference, (e0 + limits[0], e0 + limits[1]))
    outcomes = judged(mu, numbers, scale, given, places, measurement)
    parameters: dict[str, Any] = {
        "method": method,
        "e0": e0,
        "window": limits,
        "baseline": _told(baseline, len(places)),
        "energy_scale": scale.story,
        "sigma": "white noise of each spectrum" if sigma is None else "given",
        "sign": SIGN,
        "dose": "tested" if "net_capacity" in mu.coords else NOT_TESTED,
        "signal": str(mu.name),
        "software": f"operando {version('operando')}",
    }
    if method != "matched":
        parameters |= {"level": level, "band": band}
    if pre is not None and post is not None:
        parameters |= {"pre": pre, "post": post, "degree": degree, "ensemble": ENSEMBLE}
    result = _labelled(outcomes, normalised_here=pre is not None)
    if "energy_correction" not in mu.coords:
        facts = {"units": "eV", "long_name": "what was subtracted from the energies"}
        result["energy_correction"] = scale.correction.assign_attrs(facts)
    return result.assign_attrs(parameters)


def _check(
    mu: xr.DataArray,
    *,
    method: str,
    e0: float,
    pre: Range | None,
    post: Range | None,
    level: float,
    band: Range,
) -> None:
    arguments.chosen("method", method, METHODS)
    arguments.number("e0", e0, lambda ev: ev > 0, "eV above 0")
    if not isinstance(mu, xr.DataArray) or set(mu.dims) != {"time", "energy"}:
        found = mu.dims if isinstance(mu, xr.DataArray) else type(mu).__name__
        raise RequestError(f"mu: {found!r}; expected time and an energy axis in eV")
    arguments.array("mu", mu, "time", "energy")
    if mu["energy"].attrs.get("units", "eV") != "eV":
        raise RequestError(
            f"energy: in {mu['energy'].attrs['units']!r}; expected 'eV': convert values and units"
        )
    if not np.all(np.diff(mu["energy"].values) > 0):
        raise RequestError("energy: not ascending; sort it and merge points at the same energy")
    if (pre is None) != (post is None):
        raise RequestError(f"pre, post: {pre!r}, {post!r}; give both, or neither when normalised")
    if not band[0] < level < band[1]:
        raise RequestError(f"level: {level!r}; expected inside the band {band!r}")


def _told(baseline: int | slice | xr.DataArray, places: int) -> str:
    if isinstance(baseline, xr.DataArray):
        return f"the spectrum {baseline.name or 'given'}"
    each = " of each position" if places > 1 else ""
    if isinstance(baseline, slice):
        step = f" in steps of {baseline.step}" if baseline.step else ""
        first, last = baseline.start or 0, "the end" if baseline.stop is None else baseline.stop
        return f"the mean of frames {first} up to {last}{step}{each}"
    return (
        f"the mean of the first {baseline} frames{each}"
        if baseline > 1
        else f"the first frame{each}"
    )


def _labelled(outcomes: xr.DataArray, *, normalised_here: bool) -> xr.Dataset:
    result = {}
    for at, name in enumerate(OUTCOMES):
        if name in ("edge_step", "edge_step_sigma", "step_change") and not normalised_here:
            continue
        values = outcomes.isel(outcome=at)
        owner = name.removesuffix("_sigma")
        if name == "assessment":
            facts = {**flag_attributes(ASSESSMENT), "cautions": np.int32(CAUTIONS)}
            values = values.astype(np.int32)
        elif name == owner:
            units, meaning = ABOUT[name]
            facts = {"units": units, "long_name": meaning}
            if f"{name}_sigma" in OUTCOMES:
                facts["ancillary_variables"] = f"{name}_sigma"
        else:
            units, meaning = ABOUT[owner]
            facts = {"units": units, "long_name": f"standard deviation of the {meaning}"}
        result[name] = values.assign_attrs(facts)
    return xr.Dataset(result)
