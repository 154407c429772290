"""Shares of phases from the areas of their lines, with what could not have been seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import flag_attributes
from operando.observables.lines.measured import Array, checked, chosen_lines, measured

DETECTABLE = 3.29
"""Sigma of nothing from which it would be detected, 5 % errors either way (Currie, Anal. Chem. 40
(1968) 586): 1.645 to call it detected, 1.645 more to be sure to."""

ASSESSMENT: dict[str, int] = {"line_missing": 1, "no_signal": 2, "below_detection": 4}
"""`line_missing`: a line of the phase could not be measured, and without it the sum means something
else: NaN. `no_signal`: all phases together are below 4 sigma: shares of noise, NaN. Caution:
`below_detection`: the share is under its detection limit; it may be negative."""


def line_fractions(
    tracks: xr.Dataset,
    *,
    groups: Mapping[str, Sequence[str]],
    ratios: Mapping[str, float],
    ratio_sigma: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """Turn the areas of lines into shares of phases.

    Of each phase p the areas of its lines are summed and divided by its relative response K_p; the
    shares are f_p = (A_p/K_p) / sum_q (A_q/K_q), which are weight fractions where K are reference
    intensity ratios (Chung, J. Appl. Cryst. 7 (1974) 519), or parts of the intensity where all K
    are 1. Areas of weak lines are used as fitted, negative ones too: a mean over frames is then
    unbiased.

    Parameters
    ----------
    tracks
        As `track_peaks` returns them. Heights do not do: they fall as a line broadens.
    groups
        Phase -> its lines, two phases or more, each line in one. The more lines, the less texture
        matters.
    ratios
        Phase -> K: the area that the same lines, and no others, have per unit of the phase, on any
        scale common to all phases: from a known mixture, or calculated from the structures with the
        Lorentz-polarisation factor.
    ratio_sigma
        Phase -> relative standard deviation of K.

    Returns
    -------
    Dataset
        On (time, phase): `fraction` with `_sigma_stat` from the areas, `_sigma_syst` from the
        ratios, alike in all frames, and `_sigma`, the total; `detection_limit` (95 %, from the
        areas alone), `assessment`. On time: `total`, sum_q A_q/K_q, with `_sigma`: look at it
        first.

    Raises
    ------
    RequestError
        Fewer than two phases, unknown or shared lines, a phase without a ratio.

    Notes
    -----
    Shares are of what diffracts and is listed: amorphous and unlisted parts are not in the sum.
    Fails with preferred orientation that changes (plating, layered oxides under pressure: single
    lines rise and fall with it), with absorption that differs between phases or changes (a
    dissolving electrode, a moving beam), and with extinction or spotty rings of large grains. A
    `total` that is not constant says that some of this is at work, or that matter has come or gone;
    a share changes then although its phase does not.
    """
    phases = _phases(groups)
    names = [line for phase in phases for line in groups[phase]]
    chosen = chosen_lines(checked(tracks, "area"), names, of="groups")
    response, spread = _ratios(phases, ratios, ratio_sigma or {})
    area = measured(chosen, "area", despite=("weak", "poor_fit"))
    ends = np.cumsum([len(groups[phase]) for phase in phases])[:-1]
    amount = np.stack([p.sum(axis=1) for p in np.split(area.value, ends, axis=1)], 1) / response
    variance = np.stack([(p**2).sum(axis=1) for p in np.split(area.sigma, ends, axis=1)], 1)
    return _labelled(chosen, phases, amount, variance / response**2, spread)


def _phases(groups: Mapping[str, Sequence[str]]) -> list[str]:
    phases = [str(phase) for phase in groups]
    if len(phases) < 2 or any(isinstance(groups[p], str) or not groups[p] for p in phases):
        raise RequestError(
            f"groups: {dict(groups)!r}; expected two phases or more, each with lines"
        )
    return phases


def _ratios(
    phases: list[str], ratios: Mapping[str, float], sigmas: Mapping[str, float]
) -> tuple[Array, Array]:
    if set(ratios) != set(phases) or not set(sigmas) <= set(phases):
        raise RequestError(
            f"ratios: of {sorted(ratios)!r}, sigma of {sorted(sigmas)!r}; expected {phases!r}"
        )
    response = [
        arguments.number(f"ratios[{p!r}]", ratios[p], lambda k: k > 0, "above 0") for p in phases
    ]
    spread = [
        arguments.number(f"ratio_sigma[{p!r}]", sigmas.get(p, 0.0), lambda s: 0 <= s < 1, "0 to 1")
        for p in phases
    ]
    return np.array(response), np.array(spread)


def _labelled(
    chosen: xr.Dataset, phases: list[str], amount: Array, variance: Array, spread: Array
) -> xr.Dataset:
    total, total_variance = amount.sum(axis=1), variance.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        signal = total > 4 * np.sqrt(total_variance)
        scale = np.where(signal, total, np.nan)[:, None]
        fraction = amount / scale
        limit = DETECTABLE * np.sqrt(variance) / scale
    # df_p = sum_q (delta_pq - f_p) da_q / total; of a ratio, da_q = a_q dlnK_q
    slope = np.eye(len(phases)) - fraction[:, :, None]
    stat = np.sqrt((slope**2 * variance[:, None, :]).sum(axis=2)) / scale
    syst = np.sqrt(((slope * fraction[:, None, :] * spread) ** 2).sum(axis=2))
    missing = np.isnan(amount)
    silent = (~signal & ~missing.any(axis=1)).reshape(-1, 1)
    code = np.where(missing, ASSESSMENT["line_missing"], 0)
    code |= np.where(silent, ASSESSMENT["no_signal"], 0)
    with np.errstate(invalid="ignore"):
        code |= np.where(fraction < limit, ASSESSMENT["below_detection"], 0)
    coords = {n: c for n, c in chosen.coords.items() if "line" not in c.dims}
    result = xr.Dataset(coords=coords | {"phase": phases})
    both, share = ("time", "phase"), "share of the phase among those listed"
    for name, values, about in (
        ("fraction", fraction, share),
        ("fraction_sigma", np.hypot(stat, syst), f"standard deviation of the {share}"),
        ("fraction_sigma_stat", stat, f"part of it that the areas make: {share}"),
        ("fraction_sigma_syst", syst, f"part of it that the ratios make: {share}"),
        ("detection_limit", limit, "share that would be detected, 95 %"),
    ):
        result[name] = (both, values, {"units": "1", "long_name": about})
    result["fraction"].attrs["ancillary_variables"] = "fraction_sigma"
    flags = flag_attributes(ASSESSMENT) | {"cautions": np.int32(ASSESSMENT["below_detection"])}
    result["assessment"] = (both, code.astype(np.int32), flags)
    units = {"units": str(chosen["area"].attrs.get("units", "1"))}
    told = "sum of areas over responses"
    result["total"] = ("time", total, units | {"long_name": told})
    result["total"].attrs["ancillary_variables"] = "total_sigma"
    about = f"standard deviation of the {told}"
    result["total_sigma"] = ("time", np.sqrt(total_variance), units | {"long_name": about})
    return result
