"""Detector images integrated into patterns, with the noise of every point."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.corrections.history import recorded
from operando.corrections.integration_geometry import (
    Plan,
    clipped,
    detector_of,
    geometry_of,
    prepared,
)
from operando.corrections.integration_kernel import LANES, integrated
from operando.errors import RequestError
from operando.model import FRAME_FLAGS, check

Array = npt.NDArray[np.float64]
Clip = float | tuple[float, float] | None

UNITS = {"two_theta": "degree", "q": "1/angstrom"}
PIXELS = ("row", "column")
SAME_WAVELENGTH = 1e-4
"""Relative difference up to which two statements of a wavelength are one."""
USUAL_CLIP = 5.0
BLOCK_BYTES = 256 << 20
"""Blocks of single frames are joined up to this size: eight frames cost hardly more than one."""


@dataclass(frozen=True, kw_only=True)
class Statics:
    """The images that are the same for every frame, (rows, columns)."""

    efficiency: Array
    """The flat image, 1 without one; zero where a pixel is masked."""
    dark: Array | None


def integrate(
    images: xr.Dataset,
    *,
    poni: object,
    points: int,
    unit: str,
    mask: str | Path | npt.ArrayLike | None = None,
    polarization: float | None = None,
    solid_angle: bool = True,
    dark: str | Path | npt.ArrayLike | None = None,
    flat: str | Path | npt.ArrayLike | None = None,
    sigma_clip: bool | float | tuple[float, float] = False,
) -> xr.Dataset:
    """Integrate the images of an area detector azimuthally, each into a powder pattern.

    pyFAI says where the pixels lie, and which share of each falls into which bin (its bounding-box
    splitting); our own kernel applies these shares to several frames at a time. With the share c
    of a pixel in a bin, its counts n, dark counts b, flat f, solid angle and polarisation::

        I = sum c (n - b) / sum c w      sigma = sqrt(sum c^2 max(n, 1)) / sum c w
        w = f * cos^3(angle of incidence) * polarisation

    as `integrate1d` of pyFAI with ``error_model="poisson"``, to 1e-6 and better. A pixel without a
    reading (`attrs["dead_values"]`, NaN) counts in neither sum of its frame.

    Parameters
    ----------
    images
        Technique "xrd_images": `intensity` (time, row, column), raw counts, lazy or not.
    poni
        Path of a PONI file, its content as a mapping, or a geometry of pyFAI.
    points
        Number of bins, from the smallest to the largest angle that a living pixel sees.
    unit
        "two_theta" (degree) or "q" (1/angstrom).
    mask
        Path of an image or .npy file, or an array (row, column): not zero where a pixel is bad. The
        detector's own mask (its gaps, as pyFAI knows them) always holds as well.
    polarization
        Polarisation factor: 1 horizontal, -1 vertical, 0 none (a laboratory tube without
        monochromator); a synchrotron has 0.95 to 0.99. None corrects nothing.
    solid_angle
        Whether counts are divided by the solid angle of their pixel, relative to that at the PONI.
    dark, flat
        Images like `mask`: mean counts of dark exposures as long as a frame (their own noise is not
        counted), and relative efficiencies. A pixel whose flat is zero or NaN is masked.
    sigma_clip
        Whether outliers in a ring are left out (single grains, cosmic rays), through pyFAI. True:
        beyond 5 standard deviations; a number: beyond so many (`sigma_clip`, without pixel
        splitting, some 7 times as long); a pair: all but the values between these percentiles
        (`medfilt1d_ng`, some 50 times as long), as (25, 75).

    Returns
    -------
    Dataset
        Technique "xrd" on (time, two_theta or q): `intensity` in counts per pixel and
        `intensity_sigma`, NaN in bins that no living pixel reaches; all that `images` has on time.
        attrs: `wavelength_angstrom`, `geometry` (the whole PONI as JSON), and in "corrections" the
        parameters, checksums of mask, dark and flat, and the version of pyFAI. Lazy where the
        images are, block by block along time; the same numbers for any blocks and threads.

    Raises
    ------
    RequestError
        Not a PONI, images of another shape than its detector, no wavelength or two that differ by
        more than 1e-4, a mask that masks everything, a parameter that is none.

    Notes
    -----
    Bins that share a pixel share its noise. "independent_variance" in the corrections is the part
    of the variance that the bins have on their own: the sigma of a sum over many of them, such as
    the area of a line, is too small by its square root if they are taken for independent.

    Fails where a pixel counts less than one photon on average: max(n, 1), which pyFAI has as well,
    then makes sigma too large, by about 1/sqrt(mean counts) at worst. Clipping fails in rings of
    few pixels: of n, none can be further than (n - 1)/sqrt(n) standard deviations from the mean.
    Fails, silently, for a detector that moved: the PONI is taken for true.
    """
    frames = _checked(images)
    geometry = _with_wavelength(geometry_of(poni), frames)
    parameters = _parameters(points, unit, polarization, solid_angle, sigma_clip)
    shape = frames.sizes["row"], frames.sizes["column"]
    own = _own_mask(geometry, shape)
    given = {"mask": mask, "dark": dark, "flat": flat}
    loaded = {name: _image(name, value, shape) for name, value in given.items()}
    statics = _statics(own, **loaded)
    plan = Plan(
        geometry=json.dumps(geometry, sort_keys=True),
        shape=shape,
        efficiency=_checksum(statics.efficiency),
        **parameters,
    )
    kept = prepared(plan, statics.efficiency)
    made = _apply(frames, plan, statics)
    result = _labelled(frames, made, kept.axis, unit=plan.unit)
    result.attrs["wavelength_angstrom"] = geometry["wavelength"] * 1e10
    result.attrs["geometry"] = plan.geometry
    checksums = {f"{name}_sha256": _checksum(x) for name, x in loaded.items() if x is not None}
    return check(
        recorded(
            result,
            "integration",
            poni=Path(poni).name if isinstance(poni, str | os.PathLike) else None,
            **parameters,
            method="bounding box" if plan.clip is None else "pyFAI rejection",
            masked_pixels=int((statics.efficiency == 0).sum()),
            mask_sha256=_checksum(statics.efficiency == 0),
            **{name: value for name, value in checksums.items() if name != "mask_sha256"},
            dead_values=_dead_values(frames),
            independent_variance=round(kept.independent, 4),
            pyfai=version("pyFAI"),
        )
    )


def _checked(images: object) -> xr.Dataset:
    if not isinstance(images, xr.Dataset) or images.attrs.get("technique") != "xrd_images":
        raise arguments.refusal("images", images, "detector images, as operando.read gives them")
    check(images)
    intensity = images["intensity"]
    if set(intensity.dims) != {"time", *PIXELS} or intensity.dtype.kind not in "iuf":
        raise RequestError(
            f"images: intensity is {intensity.dtype} on {intensity.dims}; "
            "expected numbers on ('time', 'row', 'column')"
        )
    return images


def _with_wavelength(geometry: dict[str, Any], images: xr.Dataset) -> dict[str, Any]:
    """Return the geometry with a wavelength, in metres: its own, or that of the images."""
    own = geometry.get("wavelength")
    stated = images.attrs.get("wavelength_angstrom")
    if own is None and stated is None:
        raise RequestError(
            "poni: no wavelength, and the images state none; add 'Wavelength:' to it"
        )
    in_angstrom = float(stated or 0) if own is None else float(own) * 1e10
    if not 0 < in_angstrom < np.inf:
        raise RequestError(f"poni: wavelength {in_angstrom!r} angstrom; expected a number above 0")
    if stated is not None and abs(float(stated) / in_angstrom - 1) > SAME_WAVELENGTH:
        raise RequestError(
            f"poni: wavelength {in_angstrom:.6g} angstrom, but the images state "
            f"{float(stated):.6g}; which PONI belongs to them?"
        )
    return {**geometry, "wavelength": in_angstrom * 1e-10 if own is None else float(own)}


def _parameters(
    points: object, unit: object, polarization: object, solid_angle: object, sigma_clip: object
) -> dict[str, Any]:
    factor = "a polarisation factor between -1 and 1, or None"
    return {
        "points": arguments.whole("points", points, lambda n: n > 1, "a number of bins above 1"),
        "unit": arguments.chosen("unit", unit, tuple(UNITS)),
        "polarization": None
        if polarization is None
        else arguments.number("polarization", polarization, lambda p: -1 <= p <= 1, factor),
        "solid_angle": arguments.switch("solid_angle", solid_angle),
        "clip": _clip(sigma_clip),
    }


def _clip(value: object) -> Clip:
    if isinstance(value, bool | np.bool_):
        return USUAL_CLIP if value else None
    if isinstance(value, tuple | list):
        low, high = arguments.pair("sigma_clip", value, "two percentiles")
        if not 0 <= low < high <= 100:
            raise arguments.refusal("sigma_clip", value, "two percentiles, 0 to 100, as (25, 75)")
        return low, high
    expected = "True, a number of standard deviations, or two percentiles"
    return arguments.number("sigma_clip", value, lambda sigmas: sigmas > 0, expected)


def _own_mask(geometry: dict[str, Any], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    expected, mask = detector_of(geometry)
    if expected is not None and expected != shape:
        raise RequestError(
            f"images: {shape[0]} rows of {shape[1]} pixels; detector {geometry['detector']} of the "
            f"PONI has {expected[0]} of {expected[1]}"
        )
    return np.zeros(shape, dtype=bool) if mask is None else np.asarray(mask != 0)


def _image(
    name: str, value: str | Path | npt.ArrayLike | None, shape: tuple[int, int]
) -> Array | None:
    """Return the image of a mask, dark or flat from a file or an array."""
    if value is None:
        return None
    try:
        found = np.asarray(_loaded(Path(value)) if isinstance(value, str | Path) else value)
        image = found.astype(np.float64)
    except Exception as error:  # fabio raises what its parsers happen to raise
        raise RequestError(f"{name} {str(value)[:60]!r}: not an image ({error})") from error
    if image.shape != shape:
        raise RequestError(f"{name}: an image of {image.shape}; the frames have {shape} pixels")
    return image


def _loaded(path: Path) -> npt.NDArray[Any]:
    if path.suffix.lower() == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    import fabio

    with fabio.open(str(path)) as image:
        return np.array(image.data)


def _statics(
    own: npt.NDArray[np.bool_], *, mask: Array | None, dark: Array | None, flat: Array | None
) -> Statics:
    efficiency = np.ones(own.shape) if flat is None else np.nan_to_num(flat, posinf=0, neginf=0)
    bad = own | (False if mask is None else mask != 0)
    if dark is not None:
        bad = bad | ~np.isfinite(dark)
        dark = np.nan_to_num(dark, posinf=0, neginf=0)
    efficiency = np.where(bad, 0.0, efficiency)
    if not efficiency.any():
        raise RequestError("mask: no pixel is left; what is not zero in it is masked")
    return Statics(efficiency=efficiency, dark=dark)


def _checksum(image: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def _dead_values(images: xr.Dataset) -> list[int]:
    found = images.attrs.get("dead_values", images["intensity"].attrs.get("dead_values", []))
    return [int(value) for value in np.atleast_1d(np.asarray(found, dtype=np.float64))]


def _apply(frames: xr.Dataset, plan: Plan, statics: Statics) -> tuple[xr.DataArray, xr.DataArray]:
    """Integrate frame by frame; lazy images give lazy patterns in the same blocks."""
    intensity = frames["intensity"].transpose("time", *PIXELS).reset_coords(drop=True)
    fixed = [xr.DataArray(statics.efficiency, dims=PIXELS)]
    if statics.dark is not None:
        fixed.append(xr.DataArray(statics.dark, dims=PIXELS))
    if intensity.chunks is not None:
        intensity = intensity.copy(data=intensity.data.rechunk(_blocks(intensity)))
        fixed = [image.chunk() for image in fixed]  # one task holds it for all blocks
    dead = np.array(_dead_values(frames), dtype=np.float64)
    made = xr.apply_ufunc(
        partial(_integrate_block, plan=plan, dead=dead),
        intensity.drop_vars([name for name in intensity.coords if name != "time"]),
        *fixed,
        input_core_dims=[PIXELS] * (1 + len(fixed)),
        output_core_dims=[[plan.unit]] * 2,
        output_dtypes=[np.float64] * 2,
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": {plan.unit: plan.points}},
    )
    if "frame_flag" not in frames.coords:
        return made[0], made[1]
    # Whole numbers have no NaN: what stands for an unreadable image would count as zeros.
    readable = (frames["frame_flag"] & FRAME_FLAGS["unreadable"]).reset_coords(drop=True) == 0
    return made[0].where(readable), made[1].where(readable)


def _blocks(intensity: xr.DataArray) -> dict[int, int]:
    """Return blocks of whole frames: those of the file, or as many as the kernel takes at once."""
    whole = {1: -1, 2: -1}
    if max(intensity.chunksizes["time"]) >= LANES:
        return whole
    frame = intensity.dtype.itemsize * intensity.sizes["row"] * intensity.sizes["column"]
    return {0: min(LANES, max(1, BLOCK_BYTES // frame)), **whole}


def _integrate_block(
    images: npt.NDArray[Any],
    efficiency: Array,
    dark: Array | None = None,
    *,
    plan: Plan,
    dead: Array,
) -> tuple[Array, Array]:
    """Integrate images (frames, rows, columns) into intensity and sigma, (frames, points) each."""
    kept = prepared(plan, efficiency)
    native = images.astype(images.dtype.newbyteorder("="), copy=False)
    if plan.clip is not None:
        holed = native.astype(np.float32)
        holed[np.isin(native, dead)] = np.nan
        return clipped(holed, plan, kept, efficiency, dark)
    return integrated(
        np.ascontiguousarray(native).reshape(len(images), -1),
        kept.splitting,
        kept.usual,
        dead=dead,
        dark=None if dark is None else dark.ravel(),
    )


def _labelled(
    frames: xr.Dataset, made: tuple[xr.DataArray, xr.DataArray], axis: Array, *, unit: str
) -> xr.Dataset:
    counts = str(frames["intensity"].attrs.get("units", "count"))
    units = "count/pixel" if counts == "count" else counts
    told = {"units": units, "long_name": "mean over the pixels of a bin"}
    of_sigma = {"units": units, "long_name": "standard deviation of the intensity"}
    meaning = {"two_theta": "scattering angle 2 theta", "q": "scattering vector"}[unit]
    others = frames.drop_dims(PIXELS)
    result = others.assign(
        intensity=made[0].assign_attrs(told, ancillary_variables="intensity_sigma"),
        intensity_sigma=made[1].assign_attrs(of_sigma),
    ).assign_coords({unit: (unit, axis, {"units": UNITS[unit], "long_name": meaning})})
    result.attrs = {**frames.attrs, "technique": "xrd"}
    result.attrs.pop("dead_values", None)
    return result
