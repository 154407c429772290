"""A series of patterns for sequential refinement with TOPAS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from operando.reading.rietveld_cells import ANGLES, LENGTHS, Cell
from operando.reading.rietveld_export import (
    Array,
    Program,
    Radiation,
    Region,
    Run,
    Series,
    columns,
    digits,
    write_folder,
)

LISTED = {
    "temperature_K": "Temperature_K",
    "voltage_V": "Voltage_V",
    "current_A": "Current_A",
    "net_capacity_Ah": "Capacity_Ah",
    "cycle": "Cycle_Number",
    "elapsed_s": "Time_s",
}
"""Column of the table of runs -> list of the INP."""
MISSING = "-999"
"""What stands in a list for no number: TOPAS has no other way."""
EMISSION_WIDTH = {True: 0.5, False: 0.1}
"""Lorentzian width of an emission line, milliangstrom, for a tube and behind a monochromator."""


def write_topas(
    frames: xr.Dataset,
    folder: str | Path,
    *,
    exclude: Sequence[Region] = (),
    cells: Mapping[str, Mapping[str, object]] | None = None,
    raw_counts: bool = False,
) -> Path:
    """Write a folder that TOPAS (6 and later) refines sequentially.

    One .xye file a run, and ``series.inp`` with ``num_runs`` and a ``#list`` of files, temperature,
    voltage, current, net capacity, cycle and time, as far as they are known (-999 where one was
    not measured); excluded regions as ``exclude``; the wavelength, or both lines of a doublet, as
    ``la`` and ``lo``; a Le Bail phase for each cell; results of each run are appended to
    ``series_results.txt``. Beside it what every folder has: README.txt, series.csv (run order,
    file, times, state, flags), checksums.txt.

    Points whose intensity or standard deviation is not a number, or whose standard deviation is
    zero, are not written: TOPAS takes any steps. Frames that are flagged unreadable or hold no
    point are left out, and README.txt lists them.

    Parameters
    ----------
    frames
        Patterns of one position on (time, two_theta or q), of any blocks; a q axis is written as
        two theta. attrs: `wavelength_angstrom`; for a doublet `wavelength_alpha2_angstrom` and
        `alpha2_ratio`. On time, as far as they are there: voltage, current, net_capacity, cycle,
        half_cycle, state, temperature (K or degC), flags.
    folder
        Made anew, whole or not at all. One that is there is replaced only if all in it was written
        by an export like this one and not changed since.
    exclude
        Regions of two theta, degree, to be left out of the refinement: lines of cell parts.
    cells
        Phases to begin with: name -> {"system": ..., "space_group": "F m -3 m", "a": ...}, with the
        free parameters of the system (cubic, tetragonal, hexagonal, rhombohedral, orthorhombic,
        monoclinic, triclinic; angstrom, degree), as `lattice` gives them.
    raw_counts
        Whether intensities without `intensity_sigma` are raw counts, of which
        sqrt(max(counts, 1)) is the standard deviation.

    Returns
    -------
    Path
        The folder. The same frames give the same bytes.

    Raises
    ------
    RequestError
        No patterns, several positions, no wavelength, no standard deviation; regions or cells that
        are none; a folder that holds something else.
    """
    program = Program(name="TOPAS", suffix=".xye", pattern=_pattern, files=_files, readme=_readme)
    return write_folder(
        frames, folder, program, exclude=exclude, cells=cells, raw_counts=raw_counts
    )


def _pattern(run: Run, radiation: Radiation, angles: Array, intensity: Array, sigma: Array) -> str:
    return columns(angles, intensity, sigma)


def _files(series: Series) -> dict[str, str]:
    return {"series.inp": _inp(series)}


def _inp(series: Series) -> str:
    known = _listed(series)
    lines = [
        "' Sequential refinement, written by operando. Copy this file first: TOPAS replaces it by",
        "' the result of each run, which is the start of the next.",
        f"' {MISSING} in the list: not measured.",
        f"num_runs {len(series.runs)}",
        " ".join(["#list File_Name", *(LISTED[name] for name in known), "{"]),
    ]
    rows = [
        [run.file, *(digits(run.numbers[name]) or MISSING for name in known)] for run in series.runs
    ]
    lines += [
        *("   " + " ".join(row) for row in rows),
        "}",
        'out_file = Concat(String(INP_File), ".out");',
        "system_after_save_OUT {",
        "   copy INP_File##.out INP_File##.inp",
        "}",
        "iters 10000",
        "r_wp 0",
        "xdd File_Name(Run_Number)",
        "   bkg @ 0 0 0 0 0 0",
        *(f"   exclude {low!r} {high!r}" for low, high in series.exclude),
        *_emission(series.radiation),
        f"   LP_Factor({0 if _unpolarised(series.radiation) else 90})",
        "   Zero_Error(!zero, 0)",
        *(f"   prm !{name.lower()} = {LISTED[name]}(Run_Number);" for name in known),
        *(line for cell in series.cells for line in _phase(cell)),
        *_results(series, known),
    ]
    return "\n".join(lines) + "\n"


def _listed(series: Series) -> list[str]:
    """Return the columns of which some run has a number."""
    names = [name for name in LISTED if name in series.runs[0].numbers]
    return [n for n in names if any(np.isfinite(run.numbers[n]) for run in series.runs)]


def _unpolarised(radiation: Radiation) -> bool:
    """Whether TOPAS is to correct for a beam without polarisation; 90 corrects nothing."""
    return radiation.tube and not radiation.polarisation_corrected


def _emission(radiation: Radiation) -> list[str]:
    """Return the emission profile; the areas of a doublet add up to one."""
    width = EMISSION_WIDTH[radiation.tube]
    lines = ["   lam ymin_on_ymax 0.0001"]
    if radiation.alpha2 is None:
        return [*lines, f"      la 1 lo {radiation.alpha1!r} lh {width}"]
    first = 1 / (1 + radiation.ratio)
    for area, wave in ((first, radiation.alpha1), (1 - first, radiation.alpha2)):
        lines.append(f"      la {area:.9f} lo {wave!r} lh {width}")
    return lines


def _phase(cell: Cell) -> list[str]:
    """Return a Le Bail phase; parameters that follow another are equations."""
    lines = [
        "   hkl_Is",
        "      lebail 1",
        f'      phase_name "{cell.name}"',
        f'      space_group "{cell.space_group.replace(" ", "_")}"',
    ]
    short = {"alpha": "al", "beta": "be", "gamma": "ga"}
    for name, leader, value in zip((*LENGTHS, *ANGLES), cell.leaders(), cell.values, strict=True):
        keyword = short.get(name, name)
        if leader == name:
            lines.append(f"      {keyword} {_parameter(cell, name)} {value!r}")
        elif leader:
            lines.append(f"      {keyword} = {_parameter(cell, leader)};")
        else:
            lines.append(f"      {keyword} {value!r}")
    return [*lines, "      CS_L(@, 200)", "      Strain_L(@, 0.05)"]


def _parameter(cell: Cell, name: str) -> str:
    """Return the name of a refined parameter: letters, digits and underscores."""
    word = "".join(letter if letter.isalnum() else "_" for letter in cell.name)
    return f"{name}_{word}"


def _results(series: Series, known: Sequence[str]) -> list[str]:
    """Return what is appended after each run: its number, its state, R, and the cells."""
    values = ["Run_Number", *(name.lower() for name in known), "Get(r_wp)"]
    for cell in series.cells:
        free = dict.fromkeys(leader for leader in cell.leaders() if leader)
        values += [_parameter(cell, name) for name in free]
    head = "' columns: " + " ".join(values)
    return [
        f"   {head}",
        '   out "series_results.txt" append',
        *(f'      Out({value}, "%.8g ")' for value in values),
        '      Out_String("\\n")',
    ]


def _readme(series: Series) -> str:
    known = ", ".join(LISTED[name] for name in _listed(series))
    return f"""What to do
  1. Keep a copy of series.inp: each run writes its result over it, to begin the next one with.
  2. Put the profile of your instrument (a standard) into series.inp; {len(series.cells)} Le Bail
     phases are there: replace hkl_Is by str with your structures for a Rietveld refinement.
  3. tc series.inp (or the GUI of TOPAS, 6 or later). Results are appended to series_results.txt.
  Lists of the INP: File_Name, {known}. Where nothing was measured they have
  {MISSING}: leave such runs out of what you make depend on them.
  LP_Factor is 0 for a tube without monochromator, 90 for synchrotrons and corrected data: put the
  angle of your monochromator."""
