"""Where the pixels of a detector lie: a PONI file as a plain value, and what pyFAI makes of it."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from operando import arguments
from operando.corrections.integration_kernel import Splitting, normalisation
from operando.errors import RequestError

Array = npt.NDArray[np.float64]

PYFAI_UNITS = {"two_theta": "2th_deg", "q": "q_A^-1"}
LENGTHS = ("dist", "poni1", "poni2")
ANGLES = ("rot1", "rot2", "rot3")
KEPT = 2
"""Matrices that a process keeps: that of a 16-megapixel detector takes half a gigabyte."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides how a pixel counts, but for the images of mask, flat and dark."""

    geometry: str
    """The PONI as JSON; see `geometry_of`."""
    shape: tuple[int, int]
    points: int
    unit: str
    solid_angle: bool
    polarization: float | None
    clip: float | tuple[float, float] | None
    efficiency: str
    """Checksum of the efficiencies: with the rest it names the matrix."""


def geometry_of(poni: object) -> dict[str, Any]:
    """Return the whole content of a PONI: distances in metres, angles in radians, detector.

    Parameters
    ----------
    poni
        Path of a PONI file, a mapping with its keys, or a geometry of pyFAI.

    Raises
    ------
    RequestError
        No such file, not a PONI, a detector that pyFAI does not know, a number that is missing.
    """
    from pyFAI.io.ponifile import PoniFile

    name = f"poni {str(poni)!r}" if isinstance(poni, str | Path) else "poni"
    content = _lines(Path(poni)) if isinstance(poni, str | Path) else poni
    if content is None or (isinstance(content, dict) and not content):
        raise arguments.refusal("poni", poni, "a PONI file, its content, or a geometry of pyFAI")
    try:
        found = PoniFile(content).as_dict()
        geometry = json.loads(json.dumps(found, default=float))
    except Exception as error:  # pyFAI raises what its parsers happen to raise
        reason = str(error).partition("\n")[0][:100]
        raise RequestError(f"{name}: not a geometry that pyFAI understands ({reason})") from error
    for key in (*LENGTHS, *ANGLES):
        value = geometry.get(key)
        if not isinstance(value, float | int) or not np.isfinite(value):
            raise RequestError(f"{name}: {key} is {value!r}; expected a number: is it a PONI file?")
    if geometry["dist"] <= 0 or not geometry.get("detector"):
        raise RequestError(
            f"{name}: distance {geometry['dist']!r} m, detector {geometry.get('detector')!r}; "
            "expected a distance above zero and a detector"
        )
    return dict(geometry)


def _lines(path: Path) -> dict[str, str]:
    """Return the entries of a PONI file, the last of each name."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"poni {str(path)!r}: cannot be read ({error})") from error
    entries = [line.split(":", 1) for line in text.splitlines() if not line.startswith("#")]
    return {pair[0].strip().lower(): pair[1].strip() for pair in entries if len(pair) == 2}


def detector_of(geometry: dict[str, Any]) -> tuple[tuple[int, int] | None, Any]:
    """Return the shape of the detector, None where it may be any, and its own mask."""
    from pyFAI.io.ponifile import PoniFile

    detector = PoniFile(geometry).detector
    shape = detector.shape
    known = shape is not None and all(shape)
    mask = detector.mask if known else None
    return (int(shape[0]), int(shape[1])) if known else None, mask


def _integrator(geometry: str) -> Any:
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    return AzimuthalIntegrator().set_config(json.loads(geometry))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a process keeps of a plan."""

    integrator: Any
    splitting: Splitting
    usual: Array
    """`normalisation` of the splitting."""
    axis: Array
    """Centres of the bins, degree or 1/angstrom."""
    independent: float
    """Sum of the squares of all shares to their sum: 1 where each pixel falls into one bin."""


_kept: OrderedDict[Plan, Prepared] = OrderedDict()
_lock = threading.Lock()


def prepared(plan: Plan, efficiency: Array) -> Prepared:
    """Return matrix and axis of a plan; made once in a process, whichever thread asks first.

    `efficiency` (rows, columns) is the flat image, zero where a pixel is masked.
    """
    with _lock:
        if plan not in _kept:
            _kept[plan] = _prepare(plan, efficiency)
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(plan)
        return _kept[plan]


def _prepare(plan: Plan, efficiency: Array) -> Prepared:
    from pyFAI.units import to_unit

    integrator = _integrator(plan.geometry)
    weights = efficiency.astype(np.float64)
    if plan.solid_angle:
        weights *= integrator.solidAngleArray(plan.shape)
    if plan.polarization is not None:
        weights *= integrator.polarization(plan.shape, factor=plan.polarization)
    mask = ~(np.isfinite(weights) & (weights != 0))
    engine = integrator.setup_sparse_integrator(
        plan.shape,
        plan.points,
        mask=mask.astype(np.int8),
        unit=PYFAI_UNITS[plan.unit],
        split="no" if isinstance(plan.clip, float) else "bbox",
        algo="CSC",
    )
    splitting = Splitting(
        starts=np.asarray(engine.indptr, dtype=np.int64),
        bins=np.asarray(engine.indices, dtype=np.int32),
        shares=np.asarray(engine.data, dtype=np.float32),
        weights=np.where(mask, 0.0, weights).ravel(),
        points=plan.points,
    )
    shares = splitting.shares.astype(np.float64)
    return Prepared(
        integrator=integrator,
        splitting=splitting,
        independent=float(np.square(shares).sum() / shares.sum()),
        usual=normalisation(splitting),
        axis=np.asarray(engine.bin_centers, np.float64) * to_unit(PYFAI_UNITS[plan.unit]).scale,
    )


def clipped(
    images: npt.NDArray[Any], plan: Plan, kept: Prepared, efficiency: Array, dark: Array | None
) -> tuple[Array, Array]:
    """Return intensity and sigma, (frames, points), of the pixels that pyFAI does not reject.

    `images` (frames, rows, columns) are NaN where a pixel has no reading. Clipping goes by the
    scatter in the ring, not by Poisson's: by that, a few grains of high counts raise the mean of
    the first pass so far that all others are rejected. Sigma is Poisson's of what remains.
    """
    intensity, sigma = np.empty((2, len(images), plan.points))
    common = {
        "unit": PYFAI_UNITS[plan.unit],
        "mask": (efficiency == 0).astype(np.int8),
        "flat": efficiency,
        "dark": dark,
        "correctSolidAngle": plan.solid_angle,
        "polarization_factor": plan.polarization,
    }
    for at, image in enumerate(images):
        if isinstance(plan.clip, float):
            found = kept.integrator.sigma_clip(
                image,
                plan.points,
                thres=plan.clip,
                method=("no", "csr", "cython"),
                error_model="hybrid",
                **common,
            )
        else:
            found = kept.integrator.medfilt1d_ng(
                image,
                plan.points,
                percentile=plan.clip,
                method=("bbox", "csr", "cython"),
                error_model="poisson",
                **common,
            )
        empty = found.sum_normalization == 0
        intensity[at] = np.where(empty, np.nan, found.intensity)
        sigma[at] = np.where(empty, np.nan, found.sem)
    return intensity, sigma
