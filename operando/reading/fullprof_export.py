"""A series of patterns for sequential refinement with FullProf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from operando.errors import RequestError
from operando.reading.rietveld_cells import Cell
from operando.reading.rietveld_export import (
    Array,
    Program,
    Radiation,
    Region,
    Run,
    Series,
    columns,
    write_folder,
)

BACKGROUND = 6
"""Coefficients of the polynomial."""
WIDTHS = {True: (0.004, -0.004, 0.008), False: (0.0005, -0.0002, 0.0004)}
"""U, V, W to begin with, for a tube and for a synchrotron; degree squared."""
RULE = "!" + "-" * 79


def write_fullprof(
    frames: xr.Dataset,
    folder: str | Path,
    *,
    exclude: Sequence[Region] = (),
    cells: Mapping[str, Mapping[str, object]] | None = None,
    raw_counts: bool = False,
) -> Path:
    """Write a folder that FullProf refines sequentially.

    One .dat file a run (XYDATA: two theta, intensity, standard deviation; ``Ins`` 10), a .pcr seed
    for each with the wavelengths, the excluded regions, and a profile-matching phase (``Jbt`` 2)
    for each cell; and ``cyc.py``, which refines the runs in order and begins each with the result
    of the one before. Beside it what every folder has: README.txt, series.csv, checksums.txt.

    Points whose intensity or standard deviation is not a number are not written: XYDATA takes any
    steps. State and temperature are in series.csv, the temperature in the .dat as well.

    Parameters
    ----------
    frames, folder, exclude, raw_counts
        As in `write_topas`.
    cells
        As in `write_topas`; at least one, for a PCR without a phase is none.

    Raises
    ------
    RequestError
        As in `write_topas`; no cell.
    """
    if not cells:
        raise RequestError(
            f"cells: {cells!r}; FullProf needs a phase to begin with: "
            "cells={'LaB6': {'system': 'cubic', 'space_group': 'P m -3 m', 'a': 4.1569}}"
        )
    program = Program(
        name="FullProf", suffix=".dat", pattern=_pattern, files=_files, readme=_readme
    )
    return write_folder(
        frames, folder, program, exclude=exclude, cells=cells, raw_counts=raw_counts
    )


def _pattern(run: Run, radiation: Radiation, angles: Array, intensity: Array, sigma: Array) -> str:
    """Return XYDATA: six lines of header, of which one may tell the temperature in kelvin."""
    temperature = run.numbers.get("temperature_K", np.nan)
    head = [
        "XYDATA",
        f"TEMP {temperature!r}" if np.isfinite(temperature) else "! temperature not known",
        f"! run {run.number}, frame {run.frame}",
        f"! {run.words['time_utc']}",
        f"! {radiation.alpha1!r} angstrom",
        "! two theta, intensity, standard deviation",
    ]
    return "\n".join(head) + "\n" + columns(angles, intensity, sigma)


def _files(series: Series) -> dict[str, str]:
    body = _pcr(series)
    seeds = {
        f"{Path(run.file).stem}.pcr": f"COMM run {run.number}, {run.words['time_utc']}\n{body}"
        for run in series.runs
    }
    return {**seeds, "cyc.py": SCRIPT}


def _pcr(series: Series) -> str:
    """Return a PCR without its first line; comments name the columns as FullProf writes them."""
    codes = _Codes()
    background = [codes.new() for _ in range(BACKGROUND)]
    tube = series.radiation.tube
    phases = [
        line
        for place, cell in enumerate(series.cells, start=1)
        for line in _phase(place, cell, codes, tube=tube)
    ]
    waves = series.radiation
    alpha2 = waves.alpha1 if waves.alpha2 is None else waves.alpha2
    ratio = 0.0 if waves.alpha2 is None else waves.ratio
    polar = 0.0 if waves.polarisation_corrected else 0.5 if waves.tube else 0.1
    middle = (series.low + series.high) / 2
    excluded = [f"{low:14.6f} {high:14.6f}" for low, high in series.exclude]
    if excluded:
        excluded = ["! Excluded regions (LowT  HighT) for Pattern#  1", *excluded, "!"]
    lines = [
        "!Job Npr Nph Nba Nex Nsc Nor Dum Iwg Ilo Ias Res Ste Nre Cry Uni Cor Opt Aut",
        f"   0   7 {len(series.cells):3d}   0 {len(series.exclude):3d}" + "   0" * 13 + "   1",
        "!",
        "!Ipr Ppl Ioc Mat Pcr Ls1 Ls2 Ls3 NLI Prf Ins Rpa Sym Hkl Fou Sho Ana",
        "   0   0   1   0   1   0   4   0   0   3  10   0   0   0   0   0   0",
        "!",
        "! Lambda1  Lambda2    Ratio    Bkpos    Wdt    Cthm     muR   AsyLim   Rpolarz  2nd-muR"
        " -> Patt# 1",
        f" {waves.alpha1:.7f} {alpha2:.7f} {ratio:.5f} {middle:.4f} 20.0000 1.0000 0.0000 60.00"
        f" {polar:.4f} 0.0000",
        "!",
        "!NCY  Eps  R_at  R_an  R_pr  R_gl     Thmin       Step       Thmax    PSD    Sent0",
        f" 20  0.10  1.00  1.00  1.00  1.00 {series.low:.6f} {series.step:.6f} {series.high:.6f}"
        " 0.000 0.000",
        "!",
        *excluded,
        f" {codes.used}    !Number of refined parameters",
        "!",
        "!  Zero    Code    SyCos    Code   SySin    Code  Lambda     Code MORE ->Patt# 1",
        "  0.00000    0.0  0.00000    0.0  0.00000    0.0 0.000000    0.00   0",
        "!   Background coefficients/codes  for Pattern#  1  (Polynomial of 6th degree)",
        " ".join(["1.000", *["0.000"] * (BACKGROUND - 1)]),
        " ".join(background),
        *phases,
        "!  2Th1/TOF1    2Th2/TOF2  Pattern to plot",
        f" {series.low:.3f} {series.high:.3f} 1",
    ]
    return "\n".join(lines) + "\n"


class _Codes:
    """Codewords of refined parameters: 10 n + 1 for the n-th, with a multiplier of one."""

    def __init__(self) -> None:
        self.used = 0

    def new(self) -> str:
        """Return the codeword of one more parameter."""
        self.used += 1
        return f"{10 * self.used + 1:.2f}"


def _phase(place: int, cell: Cell, codes: _Codes, *, tube: bool) -> list[str]:
    """Return a phase of profile matching with constant scale, Thompson-Cox-Hastings profile."""
    free = {name: codes.new() for name in dict.fromkeys(cell.leaders()) if name}
    words = [free.get(leader, "0.00") for leader in cell.leaders()]
    u, v, w = WIDTHS[tube]
    return [
        RULE,
        f"!  Data for PHASE number: {place:3d}  ==> Current R_Bragg for Pattern#  1:     0.00",
        RULE,
        cell.name,
        "!",
        "!Nat Dis Ang Pr1 Pr2 Pr3 Jbt Irf Isy Str Furth       ATZ    Nvk Npr More",
        "   0   0   0 0.0 0.0 1.0   2   0   0   0   0        0.000   0   7   0",
        "!",
        f"{cell.space_group:<24} <--Space group symbol",
        "!-------> Profile Parameters for Pattern #  1",
        "!  Scale        Shape1      Bov      Str1      Str2      Str3   Strain-Model",
        "  1.0000       0.00000   0.00000   0.00000   0.00000   0.00000       0",
        "     0.00000     0.000     0.000     0.000     0.000     0.000",
        "!       U         V          W           X          Y        GauSiz   LorSiz Size-Model",
        f"  {u:.6f}  {v:.6f}  {w:.6f}  0.000000  0.010000  0.000000  0.000000    0",
        "      0.000      0.000      0.000      0.000      0.000      0.000      0.000",
        "!     a          b         c        alpha      beta       gamma      #Cell Info",
        "  " + "  ".join(f"{value:.6f}" for value in cell.values),
        "  " + "  ".join(words),
        "!  Pref1    Pref2      Asy1     Asy2     Asy3     Asy4      S_L      D_L",
        "  0.00000  0.00000  0.00000  0.00000  0.00000  0.00000  0.00000  0.00000",
        "     0.00     0.00     0.00     0.00     0.00     0.00     0.00     0.00",
    ]


SCRIPT = '''"""Refine the runs of this folder in order, each from the result of the one before.

python cyc.py [fp2k]        the program of FullProf, where it is not called fp2k
"""

import csv
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def carry(before, run):
    """Begin a run with the refined PCR of the one before; its first line stays its own."""
    own = (HERE / (run + ".pcr")).read_text(encoding="utf-8").splitlines()
    refined = (HERE / (before + ".pcr")).read_text(encoding="latin-1").splitlines()
    text = "\\n".join([own[0], *refined[1:]]) + "\\n"
    (HERE / (run + ".pcr")).write_text(text, encoding="latin-1", newline="\\n")


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "fp2k"
    with open(HERE / "series.csv", newline="", encoding="utf-8") as table:
        runs = [Path(row["file"]).stem for row in csv.DictReader(table)]
    before = None
    for run in runs:
        if before is not None:
            carry(before, run)
        if subprocess.run([program, run, run], cwd=HERE).returncode:
            sys.exit("FullProf stopped at " + run)
        before = run


if __name__ == "__main__":
    main()
'''


def _readme(series: Series) -> str:
    phases = ", ".join(cell.name for cell in series.cells)
    return f"""What to do
  1. Put the profile of your instrument (Res, or U V W X Y) into run_0001.pcr, and Cthm and Rpolarz
     of your optics. Phases to begin with, matched without structure (Jbt 2): {phases}.
  2. Refine run_0001.pcr until it is good (fp2k run_0001 run_0001, or WinPLOTR).
  3. python cyc.py refines all runs in order; each PCR begins with the result of the one before.
  Refined: six coefficients of the background and the free parameters of the cells. A PCR is
  rewritten by FullProf (Pcr 1) and holds the result of its run."""
