"""What NeXus files of diffraction say beside their patterns: wavelength, times, numbers of frames.

Times of frames, the first that is there:

* ``start_time`` and ``end_time`` of each frame (``series``, as operando itself writes them);
* ``epoch``, Unix seconds of each frame;
* ``start_time`` of the entry, and seconds of each frame (``elapsed_time``, ``frame_start_time``,
  ``time``), or one ``frame_time`` from frame to frame;
* ``start_time`` of the entry alone, where it holds one frame.

A `start_time` of an entry whose frames have no times of their own is of the first frame at best: it
is not used, and `doubts` says so. What pyFAI writes as ``start_time`` is when it integrated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._diffraction import NO_CLOCK, PLANCK_KEV_ANGSTROM
from operando_readers._hdf5 import Group
from operando_readers._reader import FormatError, clock
from operando_readers._stamps import moments
from operando_readers._units import TIME

Array = npt.NDArray[np.float64]

LENGTHS = {"angstrom": 1.0, "a": 1.0, "å": 1.0, "nm": 10.0, "m": 1e10, "pm": 0.01}
ENERGIES = {"kev": 1.0, "ev": 1e-3}
OPTICS = ("NXmonochromator", "NXcrystal", "NXbeam")
OPTIC_NAMES = ("monochromator", "dcm", "beam")
SECONDS_OF_FRAMES = ("elapsed_time", "frame_start_time", "time")
EXPOSURES = ("count_time", "frame_exposure_time", "exposure_time")
LATEST = 1e10
DEEPEST = 6
MOST_GROUPS = 10_000
WORDS = ("long_name", "flag_meanings", "ancillary_variables")
FLAGS = ("flag_masks", "flag_values")
INTENSITY_UNITS = {
    **dict.fromkeys(("count", "counts"), "count"),
    **dict.fromkeys(("counts/s", "count/s", "cps", "counts per second"), "count/s"),
}


def groups(root: Group, kind: str) -> list[Group]:
    """Return the groups of a NeXus class in a file or a part of it, nearest to the root first."""
    return [group for group in walked(root) if group.word("NX_class") == kind]


def walked(root: Group) -> Iterator[Group]:
    """Give a group and the groups below it, each once, nearest first."""
    seen: set[int] = set()
    todo = deque([(0, root)])
    while todo and len(seen) < MOST_GROUPS:
        depth, group = todo.popleft()
        if group.address() in seen:
            continue
        seen.add(group.address())
        yield group
        if depth < DEEPEST:
            todo.extend((depth + 1, below) for below in group.groups())


def intensity_units(word: str) -> str:
    """Return the unit of an intensity: counts where the file says so, else it has none."""
    return INTENSITY_UNITS.get(word.strip().lower(), "1")


def wavelength(entry: Group) -> float | None:
    """Return the wavelength in angstrom of the optics of an entry, None where it is not told."""
    for group in walked(entry):
        name = group.path.rpartition("/")[2].lower()
        if group.word("NX_class") not in OPTICS and name not in OPTIC_NAMES:
            continue
        for prefix in ("", "incident_"):
            length = _told(group, f"{prefix}wavelength", LENGTHS, usual="angstrom")
            if length is not None:
                return length
            energy = _told(group, f"{prefix}energy", ENERGIES, usual="")
            if energy is not None:
                return PLANCK_KEV_ANGSTROM / energy
    return None


def _told(group: Group, name: str, units: dict[str, float], *, usual: str) -> float | None:
    """Return a number above zero in our unit; None where it is not one number, or of no unit."""
    if group.is_elsewhere(name) or group.shape(name) is None:
        return None
    factor = units.get((group.word("units", name) or usual).strip().lower())
    values = group.numbers(name)
    if values is None or factor is None or not values.size or np.ptp(values) > 0:
        return None
    value = float(values.reshape(-1)[0])
    return value * factor if np.isfinite(value) and value > 0 else None


def instrument(entry: Group) -> str | None:
    """Return the name of the beamline and its source, None where there is none."""
    for group in groups(entry, "NXinstrument"):
        found = [group.text(path) for path in ("name", "source/name", "SOURCE/name")]
        words = [word.strip() for word in found if word]
        if words := [word for word in words if word not in ("", "not stated", "Unknown")]:
            return " ".join(dict.fromkeys(words))
    return None


def times(entry: Group, count: int, *, beside: Sequence[Group] = ()) -> dict[str, Any]:
    """Return clock, `elapsed`, `exposure` and `doubts` of the frames of an entry.

    Parameters
    ----------
    beside
        Groups that may hold numbers of each frame, besides those of the entry.

    Raises
    ------
    FormatError
        A stamp that is none, or times that are no seconds of an experiment.
    """
    series = entry.group("series")
    if series is not None and (found := _by_stamps(series, count)):
        return found
    places = [*beside, *filter(None, (entry.group(name) for name in ("measurement", "data")))]
    places += groups(entry, "NXdetector")
    exposure = _exposure(places, count)
    if (epoch := _of_frames(places, ("epoch",), count)) is not None:
        start = _iso(float(epoch[0]))
        facts = clock(start=start, zone="UTC", marks="start", source="column")
        return {"clock": facts, "elapsed": epoch - epoch[0], "exposure": exposure}
    date = (entry.text("start_time") or "").strip()
    if not date:
        return {"clock": NO_CLOCK, "exposure": exposure}
    elapsed = _of_frames(places, SECONDS_OF_FRAMES, count)
    if elapsed is None and (period := _one(places, ("frame_time",))) is not None:
        elapsed = np.asarray(period * np.arange(count), np.float64)
    if elapsed is None and count > 1:
        doubts = f"start_time {date}: of {count} frames, which have no times; not used"
        return {"clock": NO_CLOCK, "exposure": exposure, "doubts": doubts}
    stamp = moments([date], what="start_time")
    facts = clock(
        start=stamp.iso(0),
        zone=stamp.zone,
        marks="start",
        source="header",
        sigma_s=stamp.resolution_s / 2 or None,
    )
    return {"clock": facts, "elapsed": elapsed, "exposure": exposure}


def _by_stamps(series: Group, count: int) -> dict[str, Any]:
    """Return times from the start and end of each frame, nothing where they are not there."""
    texts = [series.texts(f"{name}_time") for name in ("start", "end")]
    starts, ends = texts
    if starts is None or ends is None or {len(starts), len(ends)} != {count}:
        return {}
    begun, ended = moments(starts, what="start_time"), moments(ends, what="end_time")
    if np.isnat(begun.values).any() or np.isnat(ended.values).any() or begun.zone != ended.zone:
        raise FormatError("series: a start_time or end_time is missing or of another zone")
    sigma = series.attribute("sigma_s", "time")
    facts = clock(
        start=begun.iso(0),
        zone=begun.zone,
        marks="start",
        source="column",
        sigma_s=float(sigma[0]) if isinstance(sigma, np.ndarray) and sigma.size else None,
    )
    exposure = _seconds(ended.values - begun.values)
    if (exposure < 0).any():
        raise FormatError("series: an end_time is before its start_time")
    return {
        "clock": facts,
        "elapsed": _seconds(begun.values - begun.values[0]),
        "exposure": exposure,
    }


def _seconds(span: npt.NDArray[np.timedelta64]) -> Array:
    return np.asarray(span.astype("m8[ns]").astype(np.int64) / 1e9)


def _of_frames(places: Sequence[Group], names: Sequence[str], count: int) -> Array | None:
    """Return seconds that each frame has, None where there are none.

    Raises
    ------
    FormatError
        They are not finite or run backwards.
    """
    for group in places:
        for name in names:
            if group.is_elsewhere(name) or group.shape(name) not in ((count,), (count, 1)):
                continue
            factor = TIME.get(group.word("units", name) or "s")
            values = group.numbers(name)
            if values is None or factor is None:
                continue
            seconds = values.reshape(-1) * factor
            if not np.isfinite(seconds).all() or np.any(np.diff(seconds) < 0):
                raise FormatError(f"{group.path}/{name}: missing or running backwards")
            if np.abs(seconds).max() > LATEST:
                raise FormatError(f"{group.path}/{name}: not seconds of an experiment")
            return seconds
    return None


def _one(places: Sequence[Group], names: Sequence[str]) -> float | None:
    """Return one number of seconds above zero."""
    for group in places:
        for name in names:
            value = _told(group, name, TIME, usual="s")
            if value is not None:
                return value
    return None


def _exposure(places: Sequence[Group], count: int) -> Array | float | None:
    one = _one(places, EXPOSURES)
    if one is not None:
        return one
    for group in places:
        for name in EXPOSURES:
            if not group.is_elsewhere(name) and group.shape(name) == (count,):
                values = group.numbers(name)
                factor = TIME.get(group.word("units", name) or "s")
                if values is not None and factor is not None and (values >= 0).all():
                    return values * factor
    return None


def _iso(seconds: float) -> str:
    if not 6e8 < seconds < 7e9:
        raise FormatError(f"epoch: {seconds:g}; expected Unix seconds")
    return str(np.datetime64(round(seconds * 1e6), "us"))


def along(places: Sequence[Group], count: int, *, without: Sequence[str]) -> dict[str, xr.Variable]:
    """Return the numbers of each frame that stand in some groups, by their names.

    Parameters
    ----------
    without
        Names that mean something else.
    """
    found: dict[str, xr.Variable] = {}
    for group in places:
        for name in group.names():
            if name in found or name in without or group.is_elsewhere(name):
                continue
            if group.shape(name) == (count,) and group.texts(name) is None:
                values = group.array(name)
                if values is not None:
                    found[name] = _variable(group, name, values)
    return found


def _variable(group: Group, name: str, values: npt.NDArray[Any]) -> xr.Variable:
    attrs: dict[str, Any] = {"units": group.word("units", name) or "1"}
    for key in WORDS:
        if word := group.word(key, name):
            attrs[key] = word
    for key in FLAGS:
        if isinstance(flags := group.attribute(key, name), np.ndarray):
            attrs[key] = flags.astype(np.int32)
    return xr.Variable("time", values.astype(np.int8) if values.dtype == bool else values, attrs)


def positions(entry: Group, count: int) -> xr.Variable | None:
    """Return the spot of each frame, None where it is not told."""
    names = entry.texts("series/position")
    return xr.Variable("time", np.array(names)) if names and len(names) == count else None
