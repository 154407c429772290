"""One frame or the average of a state by larch, the reference: its background, its wavelet.

A series goes through `operando.observables.exafs`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando import arguments
from operando.corrections.normalisation import operators
from operando.errors import RequestError
from operando.observables.fourier import K_STEP
from operando.observables.larch_calls import ask, finite, group_of, left_in, software
from operando_readers._larch import larch

Range = tuple[float, float]


def reference_background(
    mu: xr.DataArray,
    *,
    e0: float,
    pre: Range | None,
    post: Range | None,
    degree: int = 2,
    rbkg: float = 1.0,
    k_weight: int = 2,
) -> xr.DataArray:
    """Return chi(k) of one spectrum, its background removed by `larch.xafs.autobk`.

    Parameters
    ----------
    mu
        Absorption on energy in eV, ascending; or on (time, energy), of which the mean is taken.
    e0, pre, post, degree, rbkg, k_weight
        As in `operando.observables.exafs.track_exafs`, which does the same for a series.

    Returns
    -------
    DataArray
        `chi` on k, in steps of 0.05 1/angstrom.

    Raises
    ------
    RequestError
        Other dimensions, points that are not finite, an edge step that is not positive, a range
        outside the data, or larch found no background.
    """
    spectrum = mu.mean("time", skipna=False) if "time" in mu.dims else mu
    arguments.array("mu", spectrum, "energy")
    energy = np.array(spectrum["energy"].values, np.float64)
    values = finite("mu", spectrum)
    if not np.all(np.diff(energy) > 0):
        raise RequestError("energy: not ascending; sort it and merge points at the same energy")
    if not energy[0] <= e0 < energy[-1]:
        raise RequestError(f"e0: {e0!r}; expected inside the data, {energy[0]:g}-{energy[-1]:g} eV")
    step = 1.0
    if (pre is None) != (post is None):
        raise RequestError(f"pre, post: {pre!r}, {post!r}; give both, or neither when normalised")
    if pre is not None and post is not None:
        using = operators(energy, e0=e0, pre=pre, post=post, degree=degree)
        step = float(using.step_weights @ values)
    if not step > 0:
        raise RequestError(f"mu: an edge step of {step:.3g}; expected a positive one")
    group = larch("symboltable").Group(energy=energy, mu=values)
    settings = {"rbkg": float(rbkg), "kweight": int(k_weight), "ek0": float(e0), "edge_step": step}
    ask("autobk", group, **settings, kstep=K_STEP, clamp_lo=0, clamp_hi=1)
    chi = left_in(group, "autobk", "chi")
    return xr.DataArray(
        chi,
        dims="k",
        coords={"k": ("k", group.k, {"units": "1/angstrom"})},
        name="chi",
        attrs={"units": "1", "long_name": "EXAFS chi(k)", "e0": e0, "rbkg": rbkg, **software()},
    )


def wavelet(chi: xr.DataArray, *, k_weight: int = 2, r_max: float = 6.0) -> xr.DataArray:
    """Return the Cauchy wavelet transform of chi(k): where in k each distance contributes.

    Munoz et al., Am. Mineral. 88 (2003) 694, by `larch.xafs.cauchy_wavelet`. For looking at: heavy
    neighbours scatter at higher k than light ones at the same R. Its maxima lie up to 0.1 angstrom
    high in R. Its order, and with it the balance
    of what is resolved in k and in R, grows with `r_max`: compare maps of one `r_max` only.

    Parameters
    ----------
    chi
        On k, in even steps from 0, of one spectrum.

    Returns
    -------
    DataArray
        `wavelet_magnitude` on (r, k); R in angstrom, without phase correction.

    Raises
    ------
    RequestError
        Other dimensions or steps, points that are not finite.
    """
    arguments.number("r_max", r_max, lambda r: 1.0 <= r <= 15.0, "1 to 15 angstrom")
    group = group_of(chi)
    ask("cauchy_wavelet", group, kweight=int(k_weight), rmax_out=float(r_max))
    return xr.DataArray(
        left_in(group, "cauchy_wavelet", "wcauchy_mag"),
        dims=("r", "k"),
        coords={
            "r": ("r", group.wcauchy_r, {"units": "angstrom"}),
            "k": ("k", group.k, {"units": "1/angstrom"}),
        },
        name="wavelet_magnitude",
        attrs={"units": "1", "long_name": "Cauchy wavelet magnitude", **software()},
    )
