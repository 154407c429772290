"""Scans over 2 theta of laboratory diffractometers as frames of one dataset.

What the readers of these formats share: which scans of a file are asked for, when each was taken,
whether they are of one axis, and the coordinates and attributes of the frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._radiation import Radiation
from operando_readers._reader import FormatError
from operando_readers._scan_series import wanted
from operando_readers._scan_times import Times

Array = npt.NDArray[np.float64]

MOST_LISTED = 8
MOST_FRAMES = 100_000
SAME_STEP = 0.01
"""Axes that differ by less than this of a step are one: files round positions."""
ROUNDING = 1e-6
MOST_EMPTY = 10
"""Times the points that were measured: a file of aborted scans must not fill the memory."""
ALWAYS_SMALL = 1 << 20
TWO_THETA = re.compile(
    r"gonio|(?:unlocked|locked)?coupled(?:hrxrd)?|detectorscan|"
    r"(?:2|two)theta(?:theta|omega|scan|w)?|(?:omega|theta)(?:2|two)theta",
)
"""Names of scans whose axis is 2 theta, in small letters without what is no letter or digit."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One scan over 2 theta."""

    number: int
    """Of the scan in its file, from 1."""
    two_theta: Array
    """Degrees, in the order of the file."""
    intensity: Array
    units: str = "count"
    sigma: Array | None = None
    attenuation: Array | None = None
    """The factor of the beam attenuator at each point: `intensity` has been multiplied by it."""
    counting_time: float | Array | None = None
    """Seconds a point, or at each point."""
    radiation: Radiation = field(default_factory=Radiation)
    told: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """Other numbers of the frame: name -> (value, units), units by the name alone."""
    truncated: str = ""

    def __str__(self) -> str:
        low, high = (f"{end:g}" for end in (self.two_theta[0], self.two_theta[-1]))
        return f"{self.number} ({low} .. {high}, {self.two_theta.size} points)"


def over_two_theta(axis: str) -> bool:
    """Whether a scan that its file calls `axis` is one over 2 theta.

    >>> [over_two_theta(axis) for axis in ("Gonio", "2Theta-Omega", "Locked Coupled", "Omega")]
    [True, True, True, False]
    """
    return bool(TWO_THETA.fullmatch(re.sub(r"[^a-z0-9]", "", axis.lower())))


def chosen(axes: Sequence[str], scans: str | None) -> list[int]:
    """Return the numbers, from 1, of the scans to read: those over 2 theta that are asked for.

    Parameters
    ----------
    axes
        What each scan of the file is over, as the file calls it.
    scans
        "3-14,16"; None leaves out what is not over 2 theta.

    Raises
    ------
    FormatError
        There is none, or one that is asked for is over something else.
    """
    asked = [number for number in range(1, len(axes) + 1) if wanted(number, scans)]
    fitting = [number for number in asked if over_two_theta(axes[number - 1])]
    if not asked:
        raise FormatError(f"scans: {scans!r}; the file holds scans 1 to {len(axes)}")
    if not fitting or (scans is not None and len(fitting) < len(asked)):
        bad = next(number for number in asked if number not in fitting)
        raise FormatError(
            f"scan {bad}: over {axes[bad - 1]!r}; expected one over 2 theta, such as Gonio, "
            "2Theta, 2Theta-Omega or Locked Coupled"
        )
    if len(fitting) > MOST_FRAMES:
        raise FormatError(f"{len(fitting)} scans; at most {MOST_FRAMES} are read, choose by scans=")
    return fitting


def frames(
    patterns: Sequence[Pattern],
    times: Times,
    *,
    metadata: Mapping[str, Any],
    truncated: str | None = None,
    **facts: Any,
) -> xr.Dataset:
    """Return scans of one axis as frames of one dataset.

    A scan that stops early, as an aborted one does, is NaN from there on and `truncated`; why the
    whole file is may be given. `facts` that are not empty become attributes.

    Returns
    -------
    `intensity` (time, two_theta in degree), `intensity_sigma` where the file has it,
    `attenuation_factor` and `point_counting_time` (s) where they vary within a scan; on time
    `elapsed`, `exposure`, `scan`, `counting_time` (s a point) and what else is told of each.

    Raises
    ------
    FormatError
        An axis that goes to and fro, scans of several axes, units or wavelengths.
    """
    ordered = [_ascending(pattern) for pattern in patterns]
    _check_alike(ordered)
    axis = max(ordered, key=lambda pattern: pattern.two_theta.size).two_theta
    _check_one_axis(ordered, axis)
    dataset = xr.Dataset(
        _variables(ordered, axis.size),
        {
            "two_theta": ("two_theta", axis, {"units": "degree"}),
            "elapsed": ("time", times.elapsed, {"units": "s"}),
            **_numbers_of_frames(ordered, axis.size),
        },
        {
            "technique": "xrd",
            "clock": times.facts,
            **ordered[0].radiation.facts(),
            **{name: fact for name, fact in facts.items() if fact},
            "original_metadata": dict(metadata),
        },
    )
    if times.exposure is not None:
        dataset = dataset.assign_coords(exposure=("time", times.exposure, {"units": "s"}))
    if times.caution:
        dataset.attrs["clock_caution"] = times.caution
    if ordered[0].units == "count" and not all(map(_counts_whole, ordered)):
        dataset.attrs["intensity_source"] = "called counts in the file, scaled before: not whole"
    cut = [f"scan {each.number}: {each.truncated}" for each in ordered if each.truncated]
    reasons = ([truncated] if truncated else []) + cut[:MOST_LISTED]
    return dataset.assign_attrs(truncated="; ".join(reasons)) if reasons else dataset


def _counts_whole(pattern: Pattern) -> bool:
    """Whether what was counted, before it was multiplied by attenuation factors, is whole."""
    factor = 1.0 if pattern.attenuation is None else pattern.attenuation
    counted = pattern.intensity / factor
    counted = counted[np.isfinite(counted)]
    return bool(np.all(np.abs(counted - np.round(counted)) <= ROUNDING * (1 + np.abs(counted))))


def _ascending(pattern: Pattern) -> Pattern:
    """Return the scan with its axis ascending.

    Raises
    ------
    FormatError
        No point, lists of several lengths, or positions that are none or turn back.
    """
    axis, size = pattern.two_theta, pattern.two_theta.size
    where = f"scan {pattern.number}"
    series = (pattern.intensity, pattern.sigma, pattern.attenuation, pattern.counting_time)
    lengths = {part.size for part in series if isinstance(part, np.ndarray)}
    if not size or lengths - {size}:
        raise FormatError(f"{where}: {sorted(lengths)} values at {size} positions")
    if not np.isfinite(axis).all() or np.abs(axis).max() > 180:
        raise FormatError(f"{where}: 2 theta beyond -180 to 180 degrees")
    backwards = axis[0] > axis[-1]
    step = np.diff(axis[::-1] if backwards else axis)
    if np.any(step <= 0):
        raise FormatError(f"{where}: 2 theta neither ascends nor descends throughout")
    if not backwards:
        return pattern
    seconds = pattern.counting_time
    return replace(
        pattern,
        two_theta=axis[::-1],
        intensity=pattern.intensity[::-1],
        sigma=None if pattern.sigma is None else pattern.sigma[::-1],
        attenuation=None if pattern.attenuation is None else pattern.attenuation[::-1],
        counting_time=seconds[::-1] if isinstance(seconds, np.ndarray) else seconds,
    )


def _check_alike(patterns: Sequence[Pattern]) -> None:
    first = patterns[0]
    for pattern in patterns[1:]:
        if pattern.units != first.units or pattern.radiation.facts() != first.radiation.facts():
            raise FormatError(
                f"scans {first.number} and {pattern.number}: {first.units} and {pattern.units}, "
                f"{first.radiation.facts()} and {pattern.radiation.facts()}; choose by scans="
            )


def _check_one_axis(patterns: Sequence[Pattern], axis: Array) -> None:
    """Refuse scans that do not lie on `axis` from its first point on, or hardly any of it."""
    points = sum(pattern.two_theta.size for pattern in patterns)
    if len(patterns) * axis.size > max(ALWAYS_SMALL, MOST_EMPTY * points):
        raise FormatError(
            f"{len(patterns)} scans of up to {axis.size} points, {points} in all; most of them "
            "were aborted early, choose by scans="
        )
    apart = SAME_STEP * np.diff(axis).min() if axis.size > 1 else SAME_STEP
    for pattern in patterns:
        if np.abs(pattern.two_theta - axis[: pattern.two_theta.size]).max() > apart:
            listed = "; ".join(map(str, patterns[:MOST_LISTED]))
            raise FormatError(f"scans over several axes; choose by scans=: {listed}")


def _variables(patterns: Sequence[Pattern], size: int) -> dict[str, Any]:
    units = patterns[0].units

    def rows(parts: Sequence[Array | None], attrs: dict[str, str], missing: float = np.nan) -> Any:
        """Return one row a scan, NaN behind its end; `missing` for a scan without such values."""
        table = np.full((len(parts), size), np.nan)
        for row, part, pattern in zip(table, parts, patterns, strict=True):
            row[: pattern.two_theta.size] = missing if part is None else part
        return ("time", "two_theta"), table, attrs

    found = {"intensity": rows([pattern.intensity for pattern in patterns], {"units": units})}
    sigmas = [pattern.sigma for pattern in patterns]
    if any(part is not None for part in sigmas):
        found["intensity"][2]["ancillary_variables"] = "intensity_sigma"
        told = {"units": units, "long_name": "standard deviation of the intensity"}
        found["intensity_sigma"] = rows(sigmas, told)
    factors = [pattern.attenuation for pattern in patterns]
    if any(part is not None and np.any(part != 1) for part in factors):
        told = {"units": "1", "long_name": "beam attenuation, by which intensity is multiplied"}
        found["attenuation_factor"] = rows(factors, told, 1.0)
    seconds = [pattern.counting_time for pattern in patterns]
    if any(isinstance(part, np.ndarray) and np.ptp(part) > 0 for part in seconds):
        told = {"units": "s", "long_name": "counting time of a point"}
        full = [np.full(1, part) if isinstance(part, float) else part for part in seconds]
        found["point_counting_time"] = rows(full, told)
    return found


def _numbers_of_frames(patterns: Sequence[Pattern], size: int) -> dict[str, Any]:
    def one(values: Sequence[float], units: str, name: str = "") -> Any:
        told = {"units": units, "long_name": name} if name else {"units": units}
        return "time", np.array(values, np.float64), told

    found = {
        "scan": (
            "time",
            np.array([pattern.number for pattern in patterns]),
            {"units": "1", "long_name": "number of the scan in its file"},
        )
    }
    seconds = [_constant(pattern.counting_time) for pattern in patterns]
    if not np.isnan(seconds).any():
        found["counting_time"] = one(seconds, "s", "counting time of a point")
    units = {name: told[1] for pattern in patterns for name, told in pattern.told.items()}
    for name, unit in units.items():
        found[name] = one([pattern.told.get(name, (np.nan, ""))[0] for pattern in patterns], unit)
    if any(pattern.truncated or pattern.two_theta.size < size for pattern in patterns):
        short = [bool(pattern.truncated) or pattern.two_theta.size < size for pattern in patterns]
        found["truncated"] = ("time", np.array(short, np.int8), {"units": "1"})
    return found


def _constant(seconds: float | Array | None) -> float:
    """Return the one counting time of all points, NaN where there is none."""
    if isinstance(seconds, np.ndarray):
        return float(seconds[0]) if not np.ptp(seconds) else np.nan
    return np.nan if seconds is None else seconds
