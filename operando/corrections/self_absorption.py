"""Self-absorption of fluorescence in thick samples, undone for a series of spectra."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.history import recorded
from operando.corrections.normalisation import normalise
from operando.corrections.rows import whole_rows
from operando.errors import RequestError
from operando_readers._larch import larch

Array = npt.NDArray[np.float64]
Range = tuple[float, float]


def attenuation_ratio(
    formula: str,
    element: str,
    *,
    edge: str = "K",
    line: str = "Ka",
    angle_in: float = 45.0,
    angle_out: float = 45.0,
) -> float:
    """Return what else absorbs, over what the edge adds, from the tables of larch.

    alpha = (mu(E_line) sin(in) / sin(out) + mu(E_edge - 10 eV)) / (mu(E_edge + 10 eV) -
    mu(E_edge - 10 eV)) of the whole sample, as in `larch.xafs.fluo_corr` (D. Haskel, FLUO, 1999).
    Large for a dilute absorber, whose fluorescence is its absorption.

    Parameters
    ----------
    formula
        Of everything in the beam: "Fe2O3", or the mixture of a composite electrode.
    element, edge, line
        The absorber, its edge, the fluorescence line that is detected.
    angle_in, angle_out
        Of the beam and of the detector to the surface, degree.

    Raises
    ------
    RequestError
        A formula, an element, an edge or a line that the tables do not know, an edge that the
        formula does not have, an angle that is none.
    """
    for name, angle in (("angle_in", angle_in), ("angle_out", angle_out)):
        arguments.number(name, angle, lambda degree: 0 < degree <= 90, "above 0 to 90 degree")
    tables = larch("xray")
    try:
        at_edge = tables.xray_edge(element, edge).energy
        at_line = tables.xray_line(element, line).energy
        energies = np.array([at_line, at_edge - 10.0, at_edge + 10.0])
        out, below, above = tables.material_mu(formula, energies, density=1)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RequestError(
            f"formula {formula!r}, {element!r}, edge {edge!r}, line {line!r}: not in the tables of "
            f"larch ({error})"
        ) from error
    if not above > below:
        raise RequestError(f"formula {formula!r}: absorbs no more above the {element} {edge} edge")
    angles = np.sin(np.radians(angle_in)) / np.sin(np.radians(angle_out))
    return float((out * angles + below) / (above - below))


def correct_self_absorption(
    frames: xr.Dataset,
    *,
    formula: str,
    element: str,
    e0: float,
    pre: Range,
    post: Range,
    degree: int = 1,
    edge: str = "K",
    line: str = "Ka",
    angle_in: float = 45.0,
    angle_out: float = 45.0,
    signal: str = "mu",
) -> xr.Dataset:
    """Undo the damping of fluorescence by a thick, homogeneous sample.

    Normalised fluorescence f of a sample of normalised absorption n is f = n (alpha + 1) /
    (alpha + n): white lines are damped, which looks like reduction, 0.1 to 0.3 eV for 10 %. So
    n = f alpha / (alpha + 1 - f), normalised once more. The same as `larch.xafs.fluo_corr` on
    spectra whose pre-edge line is taken off.

    Parameters
    ----------
    frames
        With the fluorescence on (time, energy).
    formula, element, edge, line, angle_in, angle_out
        See `attenuation_ratio`.
    e0, pre, post, degree
        See `operando.corrections.normalisation.normalise`.
    signal
        "mu", or "mu_fluorescence".

    Returns
    -------
    Dataset
        `frames` with `signal` normalised and corrected, and its sigma, if it has one, carried
        along: times alpha (alpha + 1) / (alpha + 1 - f)^2 / step, without the noise of the
        normalisation. NaN where no absorption gives the fluorescence, f >= alpha + 1. Lazy where
        the frames are.

    Raises
    ------
    RequestError
        No such signal; and as `attenuation_ratio` and `normalise`.

    Notes
    -----
    Fails on samples that are thin, layered or rough on the scale of the absorption length, as an
    interphase on an electrode is, and when the formula leaves out the electrolyte or the window.
    """
    series = arguments.dataset("frames", frames)
    if signal not in series:
        raise RequestError(f"signal: no {signal!r} in {list(series.data_vars)}")
    alpha = attenuation_ratio(
        formula, element, edge=edge, line=line, angle_in=angle_in, angle_out=angle_out
    )
    known = f"{signal}_sigma"
    inputs = [whole_rows(series[name]) for name in (signal, known) if name in series]
    outputs = xr.apply_ufunc(
        partial(
            _corrected,
            energy=series["energy"].values.astype(float),
            alpha=alpha,
            e0=e0,
            pre=pre,
            post=post,
            degree=degree,
        ),
        *inputs,
        input_core_dims=[["energy"]] * len(inputs),
        output_core_dims=[["energy"]] * len(inputs),
        output_dtypes=[float] * len(inputs),
        dask="parallelized",
    )
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    made = {
        array.name: values.assign_attrs(array.attrs)
        for array, values in zip(inputs, outputs, strict=True)
    }
    made[signal].attrs |= {"normalised": 1}
    return recorded(
        series.assign(made),
        "self_absorption",
        signal=signal,
        formula=formula,
        element=element,
        edge=edge,
        line=line,
        angle_in=angle_in,
        angle_out=angle_out,
        alpha=alpha,
        e0=e0,
        pre=list(pre),
        post=list(post),
        degree=degree,
    )


def _corrected(
    mu: Array, sigma: Array | None = None, *, energy: Array, alpha: float, **ranges: Any
) -> Array | tuple[Array, Array]:
    """Return normalised absorption of a block, and its sigma if there is one."""
    seen = normalise(energy, np.asarray(mu, dtype=float), **ranges)
    left = alpha + 1 - seen.norm
    left[left <= 0] = np.nan
    again = normalise(energy, seen.norm * alpha / left, **ranges)
    if sigma is None:
        return again.norm
    gain = alpha * (alpha + 1) / left**2 / np.abs(seen.step * again.step)[:, None]
    return again.norm, np.asarray(sigma * gain)
