"""Volumes of a solid with spherical pores that grow, and their multi-page TIFF files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from operando.simulate.noise import Array, normal, uniform

SHAPE = (48, 64, 64)
VOXEL_UM = 0.65
SOLID, VOID = 30000.0, 20000.0
BLUR = 0.8
"""Point spread, as a standard deviation in voxels."""
NOISE = 0.06
"""As a part of the contrast."""


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """A pore; voxels."""

    centre: tuple[float, float, float]
    radius: float


def pack(count: int, *, smallest: float, largest: float, bits: np.random.PCG64) -> list[Sphere]:
    """Return spheres that lie inside and do not touch, even when all are as large as the largest.

    Fails (runs on for ever) when the volume has no room for so many.
    """
    spheres: list[Sphere] = []
    room = np.array(SHAPE) - 2.0 * largest - 5.0
    while len(spheres) < count:
        draw = uniform(bits, 4)
        centre = largest + 2.0 + room * draw[:3]
        if all(_apart(centre, other) > 2.0 * largest + 3.0 for other in spheres):
            radius = smallest + (largest - smallest) * float(draw[3])
            spheres.append(Sphere(centre=(centre[0], centre[1], centre[2]), radius=radius))
    return spheres


def grown(spheres: list[Sphere], *, factor: float) -> list[Sphere]:
    """Return the spheres with `factor` times their volume."""
    scale = factor ** (1.0 / 3.0)
    return [Sphere(centre=sphere.centre, radius=scale * sphere.radius) for sphere in spheres]


def porosity(spheres: list[Sphere]) -> float:
    """Return the part of the volume in spheres, by their formula."""
    volume = sum(4.0 / 3.0 * np.pi * sphere.radius**3 for sphere in spheres)
    return float(volume / np.prod(SHAPE))


def volume(spheres: list[Sphere], *, bits: np.random.PCG64) -> npt.NDArray[np.uint16]:
    """Return the grey values: blurred spheres and noise."""
    grey = SOLID - (SOLID - VOID) * ndimage.gaussian_filter(_filling(spheres), BLUR)
    grey += NOISE * (SOLID - VOID) * normal(bits, SHAPE)
    rounded: npt.NDArray[np.uint16] = np.rint(grey).astype(np.uint16)
    return rounded


def write(path: Path, grey: npt.NDArray[np.uint16]) -> None:
    """Write a volume as an uncompressed little-endian TIFF, the voxel size in its resolution."""
    per_centimetre = (100_000_000, round(VOXEL_UM * 10_000))
    tifffile.imwrite(
        path,
        grey,
        byteorder="<",
        photometric="minisblack",
        resolution=(per_centimetre, per_centimetre),
        resolutionunit="CENTIMETER",
        software=False,
        metadata=None,
    )


def _filling(spheres: list[Sphere]) -> Array:
    """Return the part of every voxel that is pore; a surface is taken as flat within a voxel."""
    grid = np.indices(SHAPE).astype(np.float64)
    filling = np.zeros(SHAPE)
    for sphere in spheres:
        offset = grid - np.array(sphere.centre)[:, None, None, None]
        distance = np.sqrt((offset**2).sum(axis=0))
        filling += np.clip(sphere.radius - distance + 0.5, 0.0, 1.0)
    return filling


def _apart(centre: Array, other: Sphere) -> float:
    return float(np.sqrt(((centre - np.array(other.centre)) ** 2).sum()))
