"""Say what is in a file or folder before anybody has to declare anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from operando.errors import ContractError, ReadError, UnknownFormatError
from operando.model import axes_of
from operando.reading.files import Named, expand
from operando.reading.registry import claims, formats, load, reader_named
from operando_readers._reader import File

MOST_POSITIONS = 8
"""Positions that are printed: a map has thousands."""
TOLD_ELSEWHERE = ("technique", "clock", "original_metadata", "truncated", "doubts")


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What one format contributes to a file or folder."""

    format: str
    technique: str
    files: tuple[File, ...]
    frames: int
    """Exposures, or rows of a log."""
    first: str | None
    """Earliest stamp as written in the files, without conversion."""
    last: str | None
    zone: str | None
    """The zone the files state; None means that it must be declared."""
    clock: str
    """Where the stamps come from: header, column, sidecar or none."""
    marks: str
    axes: dict[str, tuple[float, float, str]]
    """Axis -> (lowest, highest, unit)."""
    positions: tuple[str, ...]
    problems: tuple[str, ...]
    facts: dict[str, Any]
    """What else the files state: element, edge, wavelength ..."""

    def __str__(self) -> str:
        """Return one readable block."""
        span = f"{self.first} .. {self.last}" if self.first else "no time in the files"
        zone = self.zone or "no zone: declare tz"
        axes = ", ".join(f"{n} {a:g} .. {b:g} {u}" for n, (a, b, u) in self.axes.items())
        lines = [
            f"{self.format} ({self.technique}): {len(self.files)} files, {self.frames} "
            + ("rows" if self.technique == "electrochemistry" else "frames"),
            f"  time       {span} ({zone if self.first else 'declare log, first or stamps'})",
            f"  clock      {self.clock}, marks {self.marks}",
        ]
        if axes:
            lines.append(f"  axes       {axes}")
        if self.positions:
            shown = ", ".join(self.positions[:MOST_POSITIONS])
            more = len(self.positions) - MOST_POSITIONS
            lines.append(f"  positions  {shown}{f' and {more} more' if more > 0 else ''}")
        lines += [f"  {name:<10} {value}" for name, value in self.facts.items()]
        lines += [f"  problem    {problem}" for problem in self.problems]
        return "\n".join(lines)


def inspect(
    path: Named, *, format: str | None = None, options: Mapping[str, Any] | None = None
) -> list[Inspection]:
    """Look at every file under `path` and report each format found; nothing needs declaring.

    Parameters
    ----------
    path
        As for `read`.
    format
        Take every file for this format.
    options
        Options of that reader.

    Returns
    -------
    list of Inspection
        One per format, in the order of the file names.

    Raises
    ------
    ReadError
        Nothing is there.
    UnknownFormatError
        No file is of a known format.
    """
    groups: dict[str, list[File]] = {}
    found = expand(path)
    for file in found:
        for name in [format] if format else claims(file):
            groups.setdefault(name, []).append(file)
    if not groups:
        raise UnknownFormatError(
            f"{found[0]}: no reader recognises it; known are {', '.join(sorted(formats()))}"
        )
    return [_inspect_group(name, files, options or {}) for name, files in groups.items()]


def _inspect_group(name: str, files: list[File], options: Mapping[str, Any]) -> Inspection:
    reader = reader_named(name)
    files = reader.collect(files) if reader.collect else files
    problems: list[str] = []
    spans: list[tuple[np.datetime64, np.datetime64]] = []
    positions: set[str] = set()
    zones: set[str | None] = set()
    clock: dict[str, Any] = {"zone": None, "source": "none", "marks": "unknown"}
    axes: dict[str, tuple[float, float, str]] = {}
    facts: dict[str, list[Any]] = {}
    sources: set[str] = set()
    frames = 0
    for file in files:
        try:
            dataset = load(file, format=name, options=options)
        except ReadError as error:
            problems.append(str(error))
            continue
        frames += dataset.sizes["time"]
        if dataset.attrs.get("truncated"):
            problems.append(f"{file}: {dataset.attrs['truncated']}")
        clock = dict(dataset.attrs["clock"])
        sources.add(str(clock["source"]))
        if dataset.attrs.get("doubts"):
            problems.append(f"{file}: {dataset.attrs['doubts']}")
        zones.add(clock["zone"])
        if span := _span(dataset):
            spans.append(span)
        for axis, (low, high, unit) in _axes(dataset).items():
            old = axes.get(axis, (low, high, unit))
            axes[axis] = (min(low, old[0]), max(high, old[1]), unit)
        if "position" in dataset.coords:
            positions.update(dataset["position"].values.astype(str).tolist())
        for key, value in dataset.attrs.items():
            said = isinstance(value, str | float | int) and key not in TOLD_ELSEWHERE
            if said and value not in facts.setdefault(key, []):
                facts[key].append(value)
    return Inspection(
        format=name,
        technique=reader.technique,
        files=tuple(files),
        frames=frames,
        first=str(min(start for start, _ in spans))[:23] if spans else None,
        last=str(max(end for _, end in spans))[:23] if spans else None,
        # One file without a zone is enough to need one declared.
        zone=None if None in zones else " ".join(sorted(map(str, zones))) or None,
        clock=" and ".join(sorted(sources)) or "none",
        marks=str(clock["marks"]),
        axes=axes,
        positions=tuple(sorted(positions)),
        problems=tuple(problems),
        facts={key: said[0] if len(said) == 1 else _several(said) for key, said in facts.items()},
    )


def _several(said: list[Any]) -> str:
    """Return what files say differently, as one text."""
    more = len(said) - MOST_POSITIONS
    shown = ", ".join(map(str, said[:MOST_POSITIONS]))
    return f"{shown} and {more} more" if more > 0 else shown


def _span(dataset: xr.Dataset) -> tuple[np.datetime64, np.datetime64] | None:
    start = dataset.attrs["clock"]["start"]
    if start is None or dataset.sizes["time"] == 0:
        return None
    zero = np.datetime64(start, "ns")
    if "elapsed" not in dataset.coords:
        return zero, zero
    elapsed = dataset["elapsed"].values
    first, last = (np.timedelta64(round(float(s) * 1e9), "ns") for s in (elapsed[0], elapsed[-1]))
    return zero + first, zero + last


def _axes(dataset: xr.Dataset) -> dict[str, tuple[float, float, str]]:
    try:
        names = axes_of(dataset)
    except ContractError:
        return {}
    return {
        name: (float(dataset[name][0]), float(dataset[name][-1]), dataset[name].attrs["units"])
        for name in names
    }
