"""A series of patterns as a folder that a Rietveld program refines one after the other.

What GSAS-II, TOPAS and FullProf have in common: the order of the runs, the table of their state,
what is left out, and a folder that appears whole or not at all. `gsas2_export`, `topas_export` and
`fullprof_export` say how each wants it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando import arguments
from operando.errors import RequestError
from operando.model import ALIGNMENT_FLAGS, FRAME_FLAGS, axes_of, check, flag_names, positions
from operando.reading.rietveld_cells import Cell, cells_of
from operando.reading.whole_folder import CHECKSUMS, put, whole_folder

Array = npt.NDArray[np.float64]
Region = tuple[float, float]

NUMBERS = {
    "voltage": "voltage_V",
    "current": "current_A",
    "net_capacity": "net_capacity_Ah",
    "cycle": "cycle",
    "half_cycle": "half_cycle",
}
"""State of the cell on time -> column of the table."""
KELVIN = 273.15
TO_KELVIN = {"K": 0.0, "kelvin": 0.0, "degC": KELVIN, "celsius": KELVIN, "degree_Celsius": KELVIN}
SECOND = np.timedelta64(1, "s")


@dataclass(frozen=True, kw_only=True)
class Radiation:
    """Wavelengths in angstrom, and what is known of the polarisation."""

    alpha1: float
    """The only wavelength where there is no doublet."""
    alpha2: float | None
    ratio: float
    """Intensity of alpha2 to that of alpha1."""
    tube: bool
    polarisation_corrected: bool


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pattern that was written."""

    number: int
    file: str
    frame: int
    """Its place in the series, from 0."""
    numbers: dict[str, float]
    """What is known of it, by the names of the columns; NaN where it was not measured."""
    words: dict[str, str]
    points: int
    points_left_out: int
    negative: int
    """Points of no or negative intensity."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """All that a program is told."""

    runs: list[Run]
    left_out: list[str]
    low: float
    high: float
    """First and last angle, degree."""
    step: float
    """Usual step, degree."""
    radiation: Radiation
    exclude: tuple[Region, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """How a program wants a pattern and the files around it."""

    name: str
    suffix: str
    pattern: Callable[[Run, Radiation, Array, Array, Array], str]
    """Text of one pattern: two theta in degree, intensity, standard deviation."""
    files: Callable[[Series], dict[str, str]]
    """Name -> text of the other files."""
    readme: Callable[[Series], str]


@dataclass(kw_only=True)
class _Taken:
    """Runs and frames that were left out, as the patterns pass."""

    runs: list[Run] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def write_folder(
    frames: xr.Dataset,
    folder: str | Path,
    program: Program,
    *,
    exclude: Sequence[Region],
    cells: Mapping[str, Mapping[str, object]] | None,
    raw_counts: bool,
) -> Path:
    """Write the runs of a series, their table, what the program wants, README and checksums."""
    checked = _checked(frames, raw_counts=arguments.switch("raw_counts", raw_counts))
    radiation = _radiation(checked)
    if not isinstance(folder, str | os.PathLike):
        raise arguments.refusal("folder", folder, "the path of the folder to write")
    regions, phases = _regions(exclude), cells_of(cells)
    angles = _angles(checked, radiation.alpha1)
    with whole_folder(Path(folder)) as part:
        taken = _Taken()
        width = max(4, len(str(checked.sizes["time"])))
        for index, intensity, sigma in _patterns(checked):
            good = np.isfinite(intensity) & np.isfinite(sigma) & (sigma > 0)
            if fault := _fault(checked, index, good):
                taken.left_out.append(f"frame {index} ({_stamp(checked, 'time', index)}): {fault}")
                continue
            number = len(taken.runs) + 1
            name = f"run_{number:0{width}d}{program.suffix}"
            run = _run(checked, index, number, name, good, intensity)
            text = program.pattern(run, radiation, angles[good], intensity[good], sigma[good])
            put(part, name, text)
            taken.runs.append(run)
        if not taken.runs:
            raise RequestError(f"frames: none of {checked.sizes['time']} can be written")
        series = Series(
            runs=taken.runs,
            left_out=taken.left_out,
            low=float(angles[0]),
            high=float(angles[-1]),
            step=float(np.median(np.diff(angles))) if angles.size > 1 else 0.0,
            radiation=radiation,
            exclude=regions,
            cells=phases,
        )
        put(part, "series.csv", table(series))
        for name, text in program.files(series).items():
            put(part, name, text)
        put(part, "README.txt", _readme(series, program))
    return Path(folder)


def _checked(frames: object, *, raw_counts: bool) -> xr.Dataset:
    if not isinstance(frames, xr.Dataset) or frames.attrs.get("technique") != "xrd":
        raise arguments.refusal("frames", frames, "powder patterns, as operando.read gives them")
    check(frames)
    if not frames.sizes["time"]:
        raise RequestError("frames: no frame in it")
    spots = list(positions(frames))
    if len(spots) > 1:
        raise RequestError(
            f"frames: {len(spots)} positions {spots[:5]} in turn; write one series for each: "
            "frames.isel(time=frames.position == 'a')"
        )
    if "intensity_sigma" not in frames and not raw_counts:
        raise RequestError(
            "frames: no intensity_sigma, and a refinement needs weights; where intensities are raw "
            "counts say raw_counts=True: sqrt(max(counts, 1)) is written"
        )
    return frames


def _radiation(frames: xr.Dataset) -> Radiation:
    attrs = frames.attrs
    alpha1, alpha2 = attrs.get("wavelength_angstrom"), attrs.get("wavelength_alpha2_angstrom")
    if alpha1 is None:
        raise RequestError(
            "frames: attrs have no wavelength_angstrom; "
            "frames.assign_attrs(wavelength_angstrom=0.4962)"
        )
    ratio = attrs.get("alpha2_ratio")
    if alpha2 is not None and (ratio is None or not float(alpha1) < float(alpha2)):
        raise RequestError(
            f"frames: wavelengths {alpha1}, {alpha2} of ratio {ratio}; expected alpha1 < alpha2 "
            "and attrs['alpha2_ratio'], mostly 0.5"
        )
    steps: list[dict[str, Any]] = json.loads(attrs.get("corrections", "[]"))
    done = any(step.get("polarization") is not None for step in steps)
    return Radiation(
        alpha1=float(alpha1),
        alpha2=None if alpha2 is None else float(alpha2),
        ratio=0.0 if alpha2 is None or ratio is None else float(ratio),
        tube=alpha2 is not None or "anode" in attrs,
        polarisation_corrected=done or bool(attrs.get("polarization_applied")),
    )


def _regions(exclude: Sequence[Region]) -> tuple[Region, ...]:
    """Return regions of two theta in ascending order, those that overlap joined."""
    if isinstance(exclude, str) or not isinstance(exclude, Sequence):
        raise arguments.refusal("exclude", exclude, "pairs of angles in degree")
    joined: list[Region] = []
    for low, high in sorted(arguments.pair("exclude", each, "pairs of angles") for each in exclude):
        if not low < high:
            raise arguments.refusal("exclude", (low, high), "a lower and a higher angle in degree")
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def _angles(frames: xr.Dataset, wavelength: float) -> Array:
    """Return two theta in degree; of a q axis 2 asin(q wavelength / 4 pi)."""
    [axis] = axes_of(frames)
    values = np.asarray(frames[axis].values, dtype=np.float64)
    if axis == "two_theta":
        return values
    sine = values * wavelength / (4 * np.pi)
    if np.any(np.abs(sine) > 1):
        raise RequestError(
            f"frames: q up to {values.max():g} 1/angstrom cannot be seen with a wavelength of "
            f"{wavelength:g} angstrom"
        )
    return np.asarray(2 * np.degrees(np.arcsin(sine)))


def _patterns(frames: xr.Dataset) -> Iterator[tuple[int, Array, Array]]:
    """Give place, intensity and sigma of frame after frame; blocks are computed one by one."""
    [axis] = axes_of(frames)
    names = [name for name in ("intensity", "intensity_sigma") if name in frames]
    chosen = frames[names].reset_coords(drop=True).transpose("time", axis)
    lengths = chosen["intensity"].chunksizes.get("time", (frames.sizes["time"],))
    first = 0
    for length in lengths:
        block = chosen.isel(time=slice(first, first + length)).load()
        for at in range(length):
            intensity = block["intensity"].values[at].astype(np.float64)
            if "intensity_sigma" in block:
                sigma = block["intensity_sigma"].values[at].astype(np.float64)
            else:
                sigma = np.sqrt(np.maximum(intensity, 1.0))
            yield first + at, intensity, sigma
        first += length


def _fault(frames: xr.Dataset, index: int, good: npt.NDArray[np.bool_]) -> str:
    flags = int(frames["frame_flag"].values[index]) if "frame_flag" in frames.coords else 0
    if flags & FRAME_FLAGS["unreadable"]:
        return "unreadable"
    return "" if good.any() else "no point with an intensity and a standard deviation"


def _run(
    frames: xr.Dataset,
    index: int,
    number: int,
    name: str,
    good: npt.NDArray[np.bool_],
    intensity: Array,
) -> Run:
    start = frames["time_start"].values.min()
    seconds = float((frames["time"].values[index] - start) / SECOND)
    numbers = {"elapsed_s": seconds}
    for coordinate, column in NUMBERS.items():
        if coordinate in frames.variables and frames[coordinate].dims == ("time",):
            numbers[column] = float(frames[coordinate].values[index])
    if "temperature" in frames.variables and frames["temperature"].dims == ("time",):
        numbers["temperature_K"] = _kelvin(frames["temperature"], index)
    words = {
        f"{column}_utc": _stamp(frames, source, index)
        for column, source in (("start", "time_start"), ("time", "time"), ("end", "time_end"))
    }
    return Run(
        number=number,
        file=name,
        frame=index,
        numbers=numbers,
        words={**words, "state": _state(frames, index), "flags": _flags(frames, index)},
        points=int(good.sum()),
        points_left_out=int((~good).sum()),
        negative=int((intensity[good] <= 0).sum()),
    )


def _kelvin(temperature: xr.DataArray, index: int) -> float:
    units = str(temperature.attrs.get("units"))
    if units not in TO_KELVIN:
        raise RequestError(f"temperature: units {units!r}; expected 'K' or 'degC'")
    return float(temperature.values[index]) + TO_KELVIN[units]


def _stamp(frames: xr.Dataset, name: str, index: int) -> str:
    return f"{np.datetime_as_string(frames[name].values[index])}Z"


def _state(frames: xr.Dataset, index: int) -> str:
    """Return the word of the state of the cell, "" where it is not known."""
    if "state" not in frames.variables:
        return ""
    told = frames["state"]
    words: list[str] = str(told.attrs["flag_meanings"]).split()
    codes = [int(code) for code in np.asarray(told.attrs["flag_values"])]
    return dict(zip(codes, words, strict=True)).get(int(told.values[index]), "")


def _flags(frames: xr.Dataset, index: int) -> str:
    found: list[str] = []
    for name, meanings in (("frame_flag", FRAME_FLAGS), ("alignment_flag", ALIGNMENT_FLAGS)):
        if name in frames.variables:
            found += flag_names(int(frames[name].values[index]), meanings)
    return " ".join(found)


def table(series: Series) -> str:
    """Return the runs as CSV: order, file, times, state, flags; empty where nothing was measured.

    >>> table(Series(runs=[], left_out=[], low=0, high=1, step=1, radiation=None, exclude=(),
    ...              cells=()))
    ''
    """
    if not series.runs:
        return ""
    numbers = list(series.runs[0].numbers)
    stamps = ("start_utc", "time_utc", "end_utc")
    head = ["run", "file", "frame", *stamps, *numbers, "state", "flags", "points", "left_out"]
    lines = [",".join(head)]
    for run in series.runs:
        cells = [str(run.number), run.file, str(run.frame)]
        cells += [run.words[name] for name in stamps]
        cells += [digits(run.numbers[name]) for name in numbers]
        cells += [run.words["state"], run.words["flags"]]
        lines.append(",".join([*cells, str(run.points), str(run.points_left_out)]))
    return "\n".join(lines) + "\n"


def digits(value: float) -> str:
    """Return all digits of a number, whole ones without a point, "" for NaN.

    >>> digits(3.0), digits(0.1), digits(float("nan"))
    ('3', '0.1', '')
    """
    if not np.isfinite(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def columns(*values: Array) -> str:
    """Return rows of numbers: the first with all digits, the others with ten."""
    first, *others = (value.tolist() for value in values)
    rows = zip(map(repr, first), *(map("{:.9e}".format, other) for other in others), strict=True)
    return "\n".join(map(" ".join, rows)) + "\n"


def _readme(series: Series, program: Program) -> str:
    radiation = series.radiation
    waves = f"{radiation.alpha1!r} angstrom"
    if radiation.alpha2 is not None:
        waves = f"{radiation.alpha1!r} and {radiation.alpha2!r} angstrom, ratio {radiation.ratio!r}"
    regions = ", ".join(f"{low!r}-{high!r}" for low, high in series.exclude) or "none"
    gaps = sum(run.points_left_out for run in series.runs)
    lines = [
        f"{len(series.runs)} patterns for sequential refinement with {program.name}, by operando.",
        "",
        program.readme(series).strip(),
        "",
        "In this folder",
        f"  run_*{program.suffix}: two theta (degree), intensity, standard deviation, in run order",
        "  series.csv: order, file, time (UTC), state of the cell, flags of every run",
        f"  {CHECKSUMS}: sha256 of the files; `sha256sum -c {CHECKSUMS}` finds what was changed",
        "",
        "What was taken",
        f"  Wavelength: {waves}.",
        f"  Polarisation corrected already: {'yes' if radiation.polarisation_corrected else 'no'}.",
        f"  Excluded regions, degree: {regions}.",
        f"  Points without intensity or standard deviation: {gaps}, not written.",
        f"  Frames left out: {len(series.left_out)}.",
        *(f"    {reason}" for reason in series.left_out),
    ]
    return "\n".join(lines) + "\n"
