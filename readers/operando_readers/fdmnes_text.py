"""Spectra calculated by FDMNES: the text files ``_out`` and, convoluted, ``_out_conv``.

File structure: a ``#`` line with the name of the program, its date, then a line of numbers that
ends in ``= E_edge, Z, n_edge, ...`` (or, convoluted, ``# ... = E_edge, Gamma_hole, ...`` and
``# ... = Shift``), the names ``Energy <xanes> ...``, and rows. Energies count from ``E_edge``, in
eV; so do ours again, absolute.

The date is when the computer was done, not when anything was measured: there is no time.
Element and edge are known for the K edge of an ``_out`` file; a convoluted one does not say.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import spectrum
from operando_readers._numbers import columns, ends_mid_line, is_number
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]

ELEMENTS = re.findall(
    "[A-Z][a-z]?",
    "HHeLiBeBCNOFNeNaMgAlSiPSClArKCaScTiVCrMnFeCoNiCuZnGaGeAsSeBrKrRbSrYZrNbMoTcRuRhPdAgCdInSnSbTe"
    "IXeCsBaLaCePrNdPmSmEuGdTbDyHoErTmYbLuHfTaWReOsIrPtAuHgTlPbBiPoAtRnFrRaAcThPaUNpPuAmCmBkCf",
)
"""By atomic number, from 1."""
LONGEST_HEADER = 200
SIGNAL = "<xanes>"


def read(file: File) -> xr.Dataset:
    """Read one calculated spectrum.

    Returns
    -------
    `mu` (time 1, energy in eV), in the unit of FDMNES (Mbarn a cell of the calculation); attrs
    `calculated` = 1. Other columns (partial or polarised spectra) are named in the metadata.

    Raises
    ------
    FormatError
        No edge energy or column of the spectrum, or rows that are not numbers.
    """
    text = file.read_text()
    lines = text.split("\n")
    at = next(
        (n for n, line in enumerate(lines[:LONGEST_HEADER]) if line.split()[:1] == ["Energy"]), None
    )
    if at is None:
        raise FormatError("header: no line of names that begins with 'Energy'")
    facts = _facts(lines[:at])
    edge = facts.get("E_edge")
    if edge is None or not np.isfinite(edge) or edge < 0:
        raise FormatError(f"header: E_edge {edge}; expected eV")
    names = lines[at].split()
    if SIGNAL not in names or len(set(names)) != len(names):
        raise FormatError(f"line {at + 1}: columns {names[:20]}; expected 'Energy' and {SIGNAL!r}")
    column, truncated = columns(lines[at + 1 :], names, first=at + 2, mid_line=ends_mid_line(text))
    number, shell = facts.get("Z", 0.0), facts.get("n_edge")
    is_k = shell == 1 and 1 <= number <= len(ELEMENTS)
    header = [line.lstrip("# ").rstrip() for line in lines[:at]]
    return spectrum(
        edge + column["Energy"],
        {"mu": column[SIGNAL]},
        clock=clock(start=None, zone=None, marks="start", source="none"),
        instrument="FDMNES (calculated)",
        metadata={**facts, "header": "\n".join(header), "columns": " ".join(names)},
        element=ELEMENTS[int(number) - 1] if is_k else None,
        edge="K" if is_k else None,
        calculated=1,
        truncated=truncated,
    )


def _facts(lines: list[str]) -> dict[str, float]:
    """Return the numbers of lines such as ``20000.0 42 = E_edge, Z``, by their names."""
    found: dict[str, float] = {}
    for line in lines:
        values, equals, names = line.lstrip("# ").partition("=")
        fields = values.split()
        if equals and fields and all(is_number(field) for field in fields):
            words = [name.strip() for name in names.split(",")]
            found.update(zip(words, map(float, fields), strict=False))
    return found


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line names the program and an edge energy follows."""
    first = head.split(b"\n", 1)[0]
    return b"FDMNES" in first and re.search(rb"=\s*E_edge", head) is not None


READER = Reader(
    technique="xas",
    suffixes=(".dat", ".txt"),
    sniff=sniff,
    read=read,
    description="FDMNES calculated spectra, as calculated and convoluted",
)
