"""Impedance in EC-Lab files (.mpr, and their text export .mpt): PEIS, GEIS, Modulo Bat.

Usage: `read(file)`; `date_order` when a start such as 05.04.2022 leaves day and month open. The
same files are logs of potential and current too: ask for the technique.

File structure: as other files of EC-Lab (`_mpr`, `_mpt`), with the columns freq/Hz, Re(Z)/Ohm and
-Im(Z)/Ohm, or |Z|/Ohm and Phase(Z)/deg. Rows with frequency 0 are the steps between sweeps. A sweep
begins where the cycle, the step or the loop changes and where the frequency turns or starts again.

Sign: EC-Lab writes -Im(Z), positive for a capacitive arc; the phase is negative for it.

Schema: `impedance` (ohm, complex, Z' + i Z'') on (time, frequency), `potential` (V, mean over the
point) and `point_time` (s) beside it. A row of EC-Lab is written when its point is done, so a sweep
is taken to start at its first point: late by what that point took (1 s of 2500 in real files).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _eclab, _mpr, _mpr_modules, _mpt
from operando_readers._reader import File, FormatError, Reader
from operando_readers._stamps import DateOrder
from operando_readers._sweeps import cartesian, find_starts, sweeps

CARTESIAN = ("Re(Z)/Ohm", "-Im(Z)/Ohm")
POLAR = ("|Z|/Ohm", "Phase(Z)/deg")
COUNTERS = ("cycle number", "z cycle", "Ns")
"""A sweep lies within one value of each of these."""
CARRIED = ("instrument", "original_metadata", "truncated", "clock_hint", "unknown_columns")
"""Attributes of the file that say something of its sweeps."""


def sniff(head: bytes, name: str) -> bool:
    """Whether the columns of such a file are those of impedance."""
    if head.startswith(_mpr_modules.MAGIC):
        try:
            data = _mpr_modules.modules(head)["VMP data"]
            names = _mpr.names_of(_mpr.column_ids(data)[0])
        except (FormatError, KeyError):
            return False
    else:
        names = _mpt.names_in(head)
    return bool(names) and not lacks_sweeps(names)


def lacks_sweeps(names: Sequence[str]) -> str:
    """Return what columns of these names lack for sweeps of impedance."""
    enough = _eclab.FREQUENCY in names and any(
        set(pair) <= set(names) for pair in (CARTESIAN, POLAR)
    )
    return "" if enough else f"{_eclab.FREQUENCY!r}, {CARTESIAN[0]!r} and {CARTESIAN[1]!r}"


def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read the sweeps of one technique.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for stamps with dots where both numbers are 12 or less.

    Returns
    -------
    One row of `time` for each sweep, see `_sweeps.sweeps`; `elapsed` in s since "Acquisition
    started on", the start of the whole linked experiment. A sweep cut short has NaN for the points
    that are missing.

    Raises
    ------
    FormatError
        Not such a file, a header cut short, no columns of impedance, or no row with a frequency.
    """
    if file.read_bytes(len(_mpr_modules.MAGIC)) == _mpr_modules.MAGIC:
        recording = _mpr.recording(file, lacks=lacks_sweeps, date_order=date_order)
    else:
        recording = _mpt.recording(file, wanted=_wanted, lacks=lacks_sweeps, date_order=date_order)
    columns = recording.columns
    frequency = columns[_eclab.FREQUENCY].astype(np.float64)
    points = np.flatnonzero(frequency > 0)
    if not points.size:
        raise FormatError(f"freq/Hz: none of {frequency.size} rows has a frequency")
    potential = _eclab.potential(columns)
    dataset = sweeps(
        frequency[points],
        _impedance(recording)[points],
        starts=_starts(recording, frequency, points),
        time=None if recording.elapsed is None else recording.elapsed[points],
        potential=None if potential is None else potential[points],
    )
    facts = {key: value for key, value in recording.attrs.items() if key in CARRIED}
    dataset.attrs.update(facts, clock={**recording.attrs["clock"], "marks": "start"})
    return dataset


def _wanted(name: str) -> bool:
    ours = ("time/s", _eclab.FREQUENCY, *CARTESIAN, *POLAR, *COUNTERS)
    return name in ours or _eclab.is_potential(name)


def _impedance(recording: _eclab.Recording) -> npt.NDArray[np.complex128]:
    """Return Z' + i Z'', from the parts where the file has them: the phase loses digits."""
    first, second = next(pair for pair in (CARTESIAN, POLAR) if set(pair) <= {*recording.columns})
    one = recording.columns[first].astype(np.float64)
    other = recording.columns[second].astype(np.float64)
    if first == CARTESIAN[0]:
        return cartesian(one, -other)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(one * np.exp(1j * np.radians(other)), np.complex128)


def _starts(
    recording: _eclab.Recording, frequency: npt.NDArray[np.float64], points: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return which of the points begin a sweep."""
    begins = np.zeros(points.size, bool)
    begins[0] = True
    for name in COUNTERS:
        if name in recording.columns:
            count = np.nan_to_num(recording.columns[name].astype(np.float64)[points])
            begins[1:] |= np.diff(count) != 0
    loops = np.searchsorted(np.sort(recording.loop_starts), points, side="right")
    begins[1:] |= np.diff(loops) != 0
    known = np.flatnonzero(begins)
    found = [
        begin + find_starts(frequency[points[begin:end]])
        for begin, end in zip(known, [*known[1:], points.size], strict=True)
    ]
    return np.concatenate(found)


READER = Reader(
    technique="impedance",
    suffixes=(".mpr", ".mpt", ".txt"),
    sniff=sniff,
    read=read,
    description="BioLogic EC-Lab impedance (PEIS, GEIS), binary and text",
    sidecars=(".mpl",),
)
