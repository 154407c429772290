"""Series of powder patterns in NeXus: the application definition NXazint1d (MAX IV, operando).

File structure: an NXentry, or an NXsubentry of it, with ``definition`` "NXazint1d": an NXdata with
``I`` (frames, points), ``I_errors`` where there are some, and ``radial_axis``, whose ``@units`` are
degrees of two theta or 1/angstrom; ``polarization_applied`` and ``solid_angle_applied``;
``wavelength`` in the NXmonochromator. Cakes (NXazint2d) are left out.

The writer of MAX IV keeps no time of the frames: the scan's own file has them. ``reduction/date``
is when they were integrated. What operando writes has the group ``series`` with the start and the
end of each frame and what else is known of it.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from operando_readers import _nexus
from operando_readers._diffraction import axis_of, pattern
from operando_readers._hdf5 import SIGNATURE, Group, opened
from operando_readers._hdf5_stack import Part, lazy
from operando_readers._reader import File, FormatError, Reader

DEFINITION = "NXazint1d"
NOT_TOLD = (
    "I", "I_errors", "norm", "radial_axis", "radial_axis_edges",
    "time", "start_time", "end_time", "position",
)  # fmt: skip
"""Fields that have a place of their own."""
DOUBLET = {"wavelength_alpha2_angstrom": "wavelength_alpha2", "alpha2_ratio": "alpha2_ratio"}
APPLIED = ("polarization_applied", "solid_angle_applied", "normalization_applied")


def read(file: File, *, entry: str | None = None) -> xr.Dataset:
    """Read the patterns of one integration, lazily.

    Parameters
    ----------
    entry
        Path of the entry or subentry, where a file holds several integrations.

    Returns
    -------
    `intensity`, and `intensity_sigma` where there are errors (time, two_theta in degree or q in
    1/angstrom); what the file tells of each frame on time.

    Raises
    ------
    FormatError
        No NXazint1d or several and none chosen (lists them), an axis of another unit, fields that
        do not fit together, or a time that is none.
    """
    with opened(file) as root:
        chosen = _chosen(root, entry)
        data = _data(chosen)
        stack = data.stack("I") if len(data.shape("I") or ()) > 1 else None
        count = stack.shape[0] if stack is not None else 1
        axis, factor = axis_of(
            data.word("units", "radial_axis"),
            what=f"{data.path}/radial_axis",
            label=data.word("long_name", "radial_axis"),
        )
        position = data.numbers("radial_axis")
        if position is None or position.ndim != 1:
            raise FormatError(f"{data.path}: no row of numbers called 'radial_axis'")
        values = [_values(file, data, name, count) for name in ("I", "I_errors")]
        if values[0] is None:
            raise FormatError(f"{data.path}: no numbers called 'I'")
        whole = root.group(chosen.path.strip("/").partition("/")[0]) or chosen
        dataset = pattern(
            axis,
            position * factor,
            values[0],
            sigma=values[1],
            units=data.word("original_units", "I")
            or _nexus.intensity_units(data.word("units", "I")),
            metadata=chosen.facts(),
            told=_told(whole, data, count),
            wavelength_angstrom=_nexus.wavelength(chosen) or _nexus.wavelength(whole),
            instrument=_nexus.instrument(chosen) or _nexus.instrument(whole),
            **_doublet(chosen),
            **_applied(chosen),
            **_nexus.times(whole, count, beside=[data]),
        )
    if stack is not None and stack.shape[0] < stack.promised:
        dataset.attrs["truncated"] = f"{stack.shape[0]} of {stack.promised} frames were written"
    return dataset


def _chosen(root: Group, name: str | None) -> Group:
    """Return the entry or subentry that is asked for, the only one where none is."""
    entries = root.groups()
    every = [group for one in entries for group in (one, *one.groups())]
    found = {
        group.path.strip("/"): group
        for group in every
        if (group.text("definition") or "").strip() == DEFINITION
    }
    if name is not None and name.strip("/") in found:
        return found[name.strip("/")]
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise FormatError(f"no entry with definition {DEFINITION!r} among {root.names()[:10]}")
    raise FormatError(f"entry: {name!r}; the file has {sorted(found)}, choose one with entry=")


def _data(entry: Group) -> Group:
    for group in _nexus.groups(entry, "NXdata"):
        if {"I", "radial_axis"} <= set(group.names()):
            return group
    raise FormatError(f"{entry.path}: no NXdata with 'I' and 'radial_axis'")


def _values(file: File, data: Group, name: str, count: int) -> Any:
    """Return one pattern in memory, or a stack of them lazily; None where there are none."""
    shape = data.shape(name)
    if shape is None:
        return None
    if len(shape) == 1:
        return data.numbers(name)
    stack = data.stack(name)
    if stack is None or len(shape) != 2:
        raise FormatError(f"{data.path}/{name}: shape {shape}; expected frames and points")
    return lazy([Part(file, stack)], dtype=float)[:count]


def _told(whole: Group, data: Group, count: int) -> dict[str, xr.Variable]:
    series = whole.group("series")
    places = [data] if series is None else [series, data]
    told = _nexus.along(places, count, without=NOT_TOLD)
    spots = _nexus.positions(whole, count)
    return told if spots is None else {**told, "position": spots}


def _doublet(entry: Group) -> dict[str, Any]:
    """Return the second line of a laboratory's tube, which operando writes beside the first."""
    found = {
        ours: entry.fact(f"reduction/input/{theirs}")
        for ours, theirs in DOUBLET.items()
        if entry.shape(f"reduction/input/{theirs}") == ()
    }
    return {name: value for name, value in found.items() if isinstance(value, float) and value > 0}


def _applied(entry: Group) -> dict[str, Any]:
    """Return which corrections were made, 1 or 0, as far as the file says."""
    flags = {name: entry.array(name) for name in APPLIED}
    return {name: int(flag.reshape(-1)[0]) for name, flag in flags.items() if flag is not None}


def sniff(head: bytes, name: str) -> bool:
    """Whether the head of an HDF5 file has the definition, or the names of its fields."""
    fields = b"radial_axis" in head and b"polarization_applied" in head
    return head.startswith(SIGNATURE) and (DEFINITION.encode() in head or fields)


READER = Reader(
    technique="xrd",
    suffixes=(".h5", ".hdf5", ".nxs", ".hdf"),
    sniff=sniff,
    read=read,
    description="NeXus NXazint1d: series of integrated patterns (MAX IV, operando)",
)
