"""Renishaw WiRE spectra exported as text (.txt): one spectrum, a series, or a map.

File structure: a line of names, ``#Wave`` and ``#Intensity`` behind none, ``#Time``, or ``#X`` and
``#Y``, with two tabs between, then a row a point, the spectra one below the other; ``#Time`` is in
seconds, as hyperSpec documents it. Nothing else: no date, no exposure, no laser, and not whether
``#Wave`` is a Raman shift or, as in exports of luminescence, nm. It is taken for a Raman shift
until the option `axis` says nm; the .wdf of the same measurement knows, and has the times.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._numbers import ends_mid_line, rows
from operando_readers._raman import NO_TIME, frames, places, shifts
from operando_readers._reader import File, FormatError, Reader

Array = npt.NDArray[np.float64]
Axis = Literal["raman_shift", "wavelength"]

NAMES = re.compile(r"((?:#(?:X|Y|Z|Time)\s+)*)#Wave\s+#Intensity\s*")
BEFORE = re.compile(r"#(\w+)")


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line has the names of columns as WiRE writes them."""
    return NAMES.fullmatch(head[:200].decode("latin-1").partition("\n")[0]) is not None


def read(file: File, *, axis: Axis = "raman_shift", laser_nm: float | None = None) -> xr.Dataset:
    """Read all spectra of one file.

    Parameters
    ----------
    axis
        What ``#Wave`` is: shifts in 1/cm, or wavelengths in nm.
    laser_nm
        Wavelength of the laser in nm, needed for wavelengths.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm) in counts; `x`, `y`, `z` (micrometre) and `position`
    of a map, `elapsed` of a series. The clock has no start.

    Raises
    ------
    FormatError
        Not such a file, a row that is not numbers, or spectra that do not share an axis.
    """
    text = file.read_text()
    lines = text.splitlines()
    match = NAMES.fullmatch(lines[0]) if lines else None
    if match is None:
        raise FormatError(f"line 1: {lines[:1]}; expected '#Wave' and '#Intensity' of WiRE")
    names = [name.lower() for name in BEFORE.findall(match[1])]
    table, truncated = rows(lines[1:], first=2, mid_line=ends_mid_line(text))
    if table.shape[1] != len(names) + 2:
        raise FormatError(f"line 2: {table.shape[1]} columns under {len(names) + 2} names")
    wave, spectra, before, missing = _spectra(table, names)
    if axis == "wavelength":
        shift, source = shifts(wave, laser_nm=laser_nm, what="#Wave")
    else:
        shift, source = wave, "#Wave, taken for a Raman shift: the file does not say"
    elapsed = before["time"] - before["time"][0] if "time" in before else None
    dataset = frames(
        shift,
        spectra,
        what="#Wave",
        units="count",
        facts={
            "clock": NO_TIME,
            "instrument": "Renishaw",
            "laser_wavelength_nm": laser_nm,
            "axis_source": source,
            "truncated": missing or truncated,
        },
        metadata={"columns": lines[0].strip()},
        elapsed=elapsed,
    )
    return dataset.assign_coords(places(**{name: before[name] for name in names if name in "xyz"}))


def _spectra(table: Array, names: list[str]) -> tuple[Array, Array, dict[str, Array], str | None]:
    """Cut the rows where the axis turns back; a shorter last spectrum is left out."""
    wave = table[:, -2]
    steps = np.diff(wave)
    down = wave.size > 1 and steps[0] < 0
    turns = np.flatnonzero(steps > 0 if down else steps < 0) + 1
    points = int(turns[0]) if turns.size else wave.size
    count, rest = divmod(wave.size, points)
    if (np.diff([0, *turns]) != points).any():
        raise FormatError(f"line {points + 2}: spectra of {points} and other numbers of points")
    kept = table[: count * points].reshape(count, points, -1)
    if (kept[:, :, -2] != kept[0, :, -2]).any():
        raise FormatError("#Wave: the spectra do not share an axis; export them one by one")
    if not np.isfinite(kept[:, :, :-1]).all():
        raise FormatError("rows: a place, a time or a shift that is not finite")
    missing = f"{rest} rows of a last spectrum of {points}; left out" if rest else None
    before = {name: kept[:, 0, at] for at, name in enumerate(names)}
    return kept[0, :, -2], kept[:, :, -1], before, missing


READER = Reader(
    technique="raman",
    suffixes=(".txt",),
    sniff=sniff,
    read=read,
    description="Renishaw WiRE text: spectra, series and maps, without times",
)
