"""Powder patterns in NeXus files of no application definition: an NXdata with a radial axis.

File structure: an NXdata whose ``@signal`` and ``@axes``, or whose fields with ``@signal`` and
``@axis``, say which numbers are intensities and on which axis: patterns integrated by DAWN, results
of beamlines, NXmonopd. The last axis of the signal is two theta (degree, radian) or q (1/angstrom,
1/nm); d, time of flight and energy are refused. All axes before it count frames, the last of them
fastest. An axis in degrees must be called two theta, polar angle or radial: an azimuth is none.

Where a file has several of them, that of ``@default`` is taken, or the option `data` chooses. A
signal that lies in another file (the images of a GDA scan) is not followed: read that file.

Times: see `_nexus`. The wavelength is that of the monochromator, or its energy turned into one.
Uncertainty: ``<signal>_errors`` or ``errors``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _nexus
from operando_readers._diffraction import NO_CLOCK, Axis, axis_of, check_fit, pattern
from operando_readers._hdf5 import SIGNATURE, Group, opened
from operando_readers._hdf5_stack import Part, lazy
from operando_readers._reader import File, FormatError, Reader

Array = npt.NDArray[np.float64]

TWO_THETA = re.compile(
    r"(?:2|two)[-_ ]*(?:th|\N{GREEK SMALL LETTER THETA})|\btth\b|ttheta|polar|radial", re.IGNORECASE
)
Q = re.compile(r"(?:^|[^a-z])q(?:$|[^a-z])", re.IGNORECASE)
MOST_LISTED = 20
OTHERS = (b"NXxas", b"NXazint", b"detectorSpecific", b"NXtomo", b"NXcanSAS")
RADIAL = re.compile(
    rb"two_?theta|2theta|twotheta|ttheta|polar_angle|radial|\x00(?:tth|q|Q)\x00", re.IGNORECASE
)


@dataclass(frozen=True)
class _Candidate:
    """An NXdata with intensities on a radial axis."""

    group: Group
    signal: str
    axis_name: str
    axis: Axis
    factor: float

    def __str__(self) -> str:
        return f"{self.group.path} ({self.signal} over {self.axis_name})"


def read(file: File, *, data: str | None = None, unit: str | None = None) -> xr.Dataset:
    """Read the patterns of one NXdata; stacks of them lazily.

    Parameters
    ----------
    data
        Path of the NXdata, where several hold patterns.
    unit
        Of an axis that carries none: "degree", "radian", "1/angstrom" or "1/nm".

    Returns
    -------
    `intensity`, and `intensity_sigma` where there are errors (time, two_theta in degree or q in
    1/angstrom); numbers of each frame of the same NXdata on time.

    Raises
    ------
    FormatError
        No patterns, or several and none chosen (lists them); a signal in another file; an axis
        that is d, time of flight, energy or of no unit; a time that is none.
    """
    with opened(file) as root:
        chosen = _chosen(root, data, unit)
        entry = _entry(root, chosen.group)
        position = chosen.group.numbers(chosen.axis_name)
        if position is None or position.ndim != 1:
            raise FormatError(f"{chosen}: its axis is no row of numbers")
        intensity, truncated = _values(file, chosen.group, chosen.signal, position.size)
        count = intensity.shape[0] if intensity.ndim == 2 else 1
        errors = (f"{chosen.signal}_errors", "errors")
        named = next((name for name in errors if _there(chosen.group, name)), None)
        sigma = None if named is None else _values(file, chosen.group, named, position.size)[0]
        dataset = pattern(
            chosen.axis,
            position * chosen.factor,
            intensity,
            sigma=sigma,
            units=_nexus.intensity_units(chosen.group.word("units", chosen.signal)),
            metadata=entry.facts(),
            told=_told(entry, chosen, count),
            instrument=_nexus.instrument(entry),
            wavelength_angstrom=_nexus.wavelength(entry),
            **_times(entry, chosen, count),
        )
    return dataset.assign_attrs(truncated=truncated) if truncated else dataset


def _there(group: Group, name: str) -> bool:
    return not group.is_elsewhere(name) and bool(group.shape(name))


def _chosen(root: Group, path: str | None, unit: str | None) -> _Candidate:
    """Return the patterns that are asked for, those of ``@default``, or the only ones."""
    found: list[_Candidate] = []
    elsewhere: list[str] = []
    refused: list[str] = []
    for group in _nexus.groups(root, "NXdata"):
        if path is not None and group.path.strip("/") != path.strip("/"):
            continue
        try:
            candidate = _candidate(group, unit, elsewhere)
        except FormatError as error:
            refused.append(str(error))
            continue
        if candidate is not None:
            found.append(candidate)
    if not found:
        why = [*refused, *(f"{name} lies in another file; read that" for name in elsewhere)]
        where = f"NXdata {path!r}" if path else "NXdata"
        raise FormatError(
            f"{where}: none with intensities over two theta or q; {'; '.join(why[:3]) or 'none'}"
        )
    usual = _default(root)
    preferred = [candidate for candidate in found if candidate.group.path == usual]
    if len(found) > 1 and len(preferred) != 1:
        listed = ", ".join(map(str, found[:MOST_LISTED]))
        raise FormatError(f"data: {path!r}; the file has {listed}; choose one with data=")
    return (preferred or found)[0]


def _default(root: Group) -> str:
    """Return the path that ``@default`` leads to."""
    here = root
    for _ in range(4):
        below = here.group(word) if (word := here.word("default")) else None
        if below is None:
            break
        here = below
    return re.sub("/+", "/", here.path)


def _candidate(group: Group, unit: str | None, elsewhere: list[str]) -> _Candidate | None:
    """Return what an NXdata holds, None where it is something else."""
    names = group.names()
    away = [name for name in names if group.is_elsewhere(name)]
    elsewhere += [f"{group.path}/{name}" for name in away]
    signal = group.word("signal") or next(
        (name for name in names if name not in away and _marked(group, name, "signal")), ""
    )
    if not signal or signal in away or not group.shape(signal):
        return None
    size = (group.shape(signal) or (0,))[-1]
    for name in _axes(group, names, signal):
        if name in away or group.shape(name) != (size,):
            continue
        label = f"{name} {group.word('long_name', name)}"
        words = unit or group.word("units", name) or group.word("unit", name)
        check_fit(f"{label} {words}", what=f"{group.path}/{name}")
        if not (TWO_THETA.search(label) or Q.search(label)):
            continue
        if not words:
            raise FormatError(f"{group.path}/{name}: no unit; pass unit=")
        axis, factor = axis_of(words, what=f"{group.path}/{name}")
        return _Candidate(group, signal, name, axis, factor)
    return None


def _marked(group: Group, name: str, mark: str) -> bool:
    value = group.attribute(mark, name)
    return value is not None and str(np.atleast_1d(np.asarray(value))[0]) in ("1", "1.0")


def _axes(group: Group, names: list[str], signal: str) -> list[str]:
    """Return the fields that may be the last axis, the likeliest first."""
    places = (group.attribute("axes"), group.attribute("axes", signal))
    told = next((each for each in places if isinstance(each, str | list) and each), "")
    words = told if isinstance(told, list) else re.split(r"[:,\s]+", told)
    listed = [word.strip("[] ") for word in words[::-1]]
    marked = [
        name for name in names if name != signal and group.attribute("axis", name) is not None
    ]
    return [name for name in dict.fromkeys([*listed[:1], *marked]) if name in names]


def _entry(root: Group, group: Group) -> Group:
    return root.group(group.path.strip("/").partition("/")[0]) or root


def _values(file: File, group: Group, name: str, points: int) -> tuple[Any, str]:
    """Return one pattern in memory or a stack of them lazily, and why some are missing."""
    shape = group.shape(name) or ()
    if len(shape) == 1:
        values = group.numbers(name)
        if values is not None and values.size == points:
            return values, ""
    stack = group.stack(name) if len(shape) > 1 else None
    if stack is None or stack.shape[-1] != points:
        raise FormatError(f"{group.path}/{name}: shape {shape} for {points} positions")
    frames = lazy([Part(file, stack)], dtype=float)
    short = f"{stack.shape[0]} of {stack.promised} frames were written"
    cut = short if stack.shape[0] < stack.promised else ""
    return frames.reshape(-1, points) if frames.ndim > 2 else frames, cut


def _told(entry: Group, chosen: _Candidate, count: int) -> dict[str, xr.Variable]:
    """Return the numbers of each frame; of one frame every number would be one."""
    names = (chosen.signal, chosen.axis_name, f"{chosen.signal}_errors", "errors", "epoch")
    without = (*names, *_nexus.SECONDS_OF_FRAMES, *_nexus.EXPOSURES)
    places = [chosen.group, *filter(None, (entry.group("measurement"), entry.group("series")))]
    return _nexus.along(places, count, without=without) if count > 1 else {}


def _times(entry: Group, chosen: _Candidate, count: int) -> dict[str, Any]:
    if "pyfai" in (entry.text("program_name") or "").lower():
        # Its start_time is when it integrated.
        return {"clock": NO_CLOCK}
    return _nexus.times(entry, count, beside=[chosen.group])


def sniff(head: bytes, name: str) -> bool:
    """Whether the head of an HDF5 file has an NXdata and the name of a radial axis."""
    other = any(word in head for word in OTHERS) or (b"pyFAI" in head and b"results" in head)
    fields = b"radial_axis" in head and b"polarization_applied" in head
    found = b"NXdata" in head and RADIAL.search(head) is not None
    return head.startswith(SIGNATURE) and found and not other and not fields


READER = Reader(
    technique="xrd",
    suffixes=(".nxs", ".h5", ".hdf5", ".hdf"),
    sniff=sniff,
    read=read,
    description="NeXus: any NXdata with intensities over two theta or q (DAWN, GDA, NXmonopd)",
)
