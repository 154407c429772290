"""A series of patterns for sequential refinement with GSAS-II."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from operando.reading.rietveld_cells import Cell
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

SAMPLE = {
    "temperature_K": "Temperature",
    "elapsed_s": "Time",
    "net_capacity_Ah": "FreePrm1",
    "voltage_V": "FreePrm2",
    "current_A": "FreePrm3",
}
"""Column of the table of runs -> sample parameter of GSAS-II."""
LABELS = {
    "FreePrm1": "Net capacity (A h)",
    "FreePrm2": "Sample voltage (V)",
    "FreePrm3": "Current (A)",
}
WIDTHS = {True: (2.0, -2.0, 5.0), False: (1.163, -0.126, 0.063)}
"""U, V, W to begin with, for a tube and for a synchrotron; centidegree squared."""


def write_gsas2(
    frames: xr.Dataset,
    folder: str | Path,
    *,
    exclude: Sequence[Region] = (),
    cells: Mapping[str, Mapping[str, object]] | None = None,
    raw_counts: bool = False,
) -> Path:
    """Write a folder that GSAS-II refines sequentially.

    One FXYE file a run, ``instrument.instprm`` with the wavelength or the doublet, ``table.csv``
    with the sample parameters of each run (Temperature, Time, FreePrm1 net capacity, FreePrm2
    voltage, FreePrm3 current), a CIF for each cell, and ``series.py``, a script for
    GSASIIscriptable that imports all of it, sets the excluded regions and the sequential
    refinement, and saves ``series.gpx``. Beside it what every folder has: README.txt, series.csv,
    checksums.txt.

    Points whose intensity or standard deviation is not a number are not written. GSAS-II itself
    gives no weight to intensities of zero and below: README.txt counts them.

    Parameters
    ----------
    frames, folder, exclude, cells, raw_counts
        As in `write_topas`. The atom in the CIF of a cell is a stand-in: phases are Le Bail's until
        they have a structure.

    Raises
    ------
    RequestError
        As in `write_topas`.
    """
    program = Program(
        name="GSAS-II", suffix=".fxye", pattern=_pattern, files=_files, readme=_readme
    )
    return write_folder(
        frames, folder, program, exclude=exclude, cells=cells, raw_counts=raw_counts
    )


def _pattern(run: Run, radiation: Radiation, angles: Array, intensity: Array, sigma: Array) -> str:
    """Return a bank of FXYE; its angles are hundredths of a degree."""
    temperature = run.numbers.get("temperature_K", np.nan)
    centi = 100.0 * angles
    step = float(np.median(np.diff(centi))) if centi.size > 1 else 1.0
    head = [
        f"run {run.number} of frame {run.frame}",
        f"# Middle of the exposure = {run.words['time_utc']}",
        f"# Calibrated wavelength = {radiation.alpha1!r}",
        *([f"# Temp (K) = {temperature!r}"] if np.isfinite(temperature) else []),
        f"BANK 1 {angles.size} {angles.size} CONS {centi[0]:.6f} {step:.6f} 0 0 FXYE",
    ]
    return "\n".join(head) + "\n" + columns(centi, intensity, sigma)


def _files(series: Series) -> dict[str, str]:
    return {
        "instrument.instprm": _instrument(series.radiation),
        "table.csv": _table(series),
        "series.py": _script(series),
        **{f"{cell.name}.cif": _cif(cell) for cell in series.cells},
    }


def _instrument(radiation: Radiation) -> str:
    """Return instrument parameters; a polarisation of 1 is none, for it was corrected."""
    waves = [f"Lam:{radiation.alpha1!r}"]
    if radiation.alpha2 is not None:
        waves = [f"Lam1:{radiation.alpha1!r}", f"Lam2:{radiation.alpha2!r}"]
        waves.append(f"I(L2)/I(L1):{radiation.ratio!r}")
    polarisation = 1.0 if radiation.polarisation_corrected else 0.5 if radiation.tube else 0.99
    u, v, w = WIDTHS[radiation.tube]
    lines = [
        "#GSAS-II instrument parameter file; do not add/delete items!",
        "Type:PXC",
        "Bank:1.0",
        *waves,
        f"Polariz.:{polarisation!r}",
        "Azimuth:0.0",
        "Zero:0.0",
        *(f"{name}:{value!r}" for name, value in (("U", u), ("V", v), ("W", w))),
        *("X:0.0", "Y:0.0", "Z:0.0", "SH/L:0.002"),
    ]
    return "\n".join(lines) + "\n"


def _table(series: Series) -> str:
    known = {name: SAMPLE[name] for name in SAMPLE if name in series.runs[0].numbers}
    rows = [[run.file, *(digits(run.numbers[name]) for name in known)] for run in series.runs]
    return "\n".join(map(",".join, [["file", *known.values()], *rows])) + "\n"


def _cif(cell: Cell) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    values = [f"_cell_{n} {value!r}" for n, value in zip(names, cell.values, strict=True)]
    lines = [
        "# The atom is a stand-in: GSAS-II wants one. Replace it, or refine with Le Bail.",
        f"data_{cell.name}",
        *values,
        f"_symmetry_space_group_name_H-M '{cell.space_group}'",
        "loop_",
        *(f"_atom_site_{n}" for n in ("label", "type_symbol", "fract_x", "fract_y", "fract_z")),
        "_atom_site_occupancy",
        "_atom_site_U_iso_or_equiv",
        "H1 H 0.0 0.0 0.0 1.0 0.01",
    ]
    return "\n".join(lines) + "\n"


def _script(series: Series) -> str:
    return SCRIPT.format(
        exclude=[list(region) for region in series.exclude],
        phases=[(cell.name, f"{cell.name}.cif") for cell in series.cells],
        labels=LABELS,
    )


SCRIPT = '''"""Import the runs of this folder into GSAS-II and set up a sequential refinement.

python series.py            writes series.gpx, to be opened in GSAS-II
python series.py --refine   refines as well

With the Python of GSAS-II; its shortcut G2script comes with "Install GSASIIscriptable shortcut".
"""

import csv
import os
import sys

try:
    import G2script as G2sc
except ImportError:
    from GSASII import GSASIIscriptable as G2sc

HERE = os.path.dirname(os.path.abspath(__file__))
EXCLUDE = {exclude!r}
# Name and CIF of each phase; a CIF with a structure may take the place of a stand-in.
PHASES = {phases!r}
LEBAIL = True  # False when the phases have their structures
LABELS = {labels!r}


def here(name):
    return os.path.join(HERE, name)


def add_runs(project):
    with open(here("table.csv"), newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        histogram = project.add_powder_histogram(
            here(row.pop("file")), here("instrument.instprm"), fmthint="GSAS powder"
        )
        sample = histogram.data["Sample Parameters"]
        sample.update({{name: float(text) for name, text in row.items() if text}})
        if EXCLUDE:
            histogram.Excluded(EXCLUDE)
    project.data["Controls"]["data"].update(LABELS)


def add_phases(project):
    for name, cif in PHASES:
        phase = project.add_phase(
            here(cif), phasename=name, histograms=project.histograms(), fmthint="CIF"
        )
        if LEBAIL:
            phase.set_refinements({{"LeBail": True}})


def main():
    project = G2sc.G2Project(newgpx=here("series.gpx"))
    add_runs(project)
    add_phases(project)
    project.set_Controls("sequential", project.histograms())
    project.set_Controls("seqCopy", True)  # each run begins with the result of the one before
    project.set_Controls("cycles", 10)
    background = {{"type": "chebyschev-1", "no. coeffs": 6, "refine": True}}
    wanted = {{"Background": background}}
    if PHASES:
        wanted["HStrain"] = True  # the cell of each run, as a strain of that of the phase
    project.set_refinement({{"set": wanted}})
    project.save()
    if "--refine" in sys.argv[1:]:
        if not PHASES:
            sys.exit("PHASES is empty: name a CIF in series.py before refining")
        project.refine()
        project.save()


if __name__ == "__main__":
    main()
'''


def _readme(series: Series) -> str:
    weightless = sum(run.negative for run in series.runs)
    phases = ", ".join(cell.name for cell in series.cells) or "none yet: name a CIF in series.py"
    return f"""What to do
  1. Replace U, V, W, X, Y, SH/L in instrument.instprm by those of a standard (LaB6, CeO2).
  2. python series.py (with the Python of GSAS-II) writes series.gpx: all runs in order, with
     temperature, time, net capacity, voltage and current as sample parameters, excluded regions,
     and the sequential refinement. Phases: {phases}.
  3. Open series.gpx in GSAS-II, or python series.py --refine. Results can be plotted against the
     sample parameters (FreePrm1 net capacity, FreePrm2 voltage, FreePrm3 current).
  Without the script: import run_*.fxye with instrument.instprm.
  GSAS-II gives no weight to intensities of zero and below: {weightless} points."""
