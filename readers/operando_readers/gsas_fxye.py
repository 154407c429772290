"""Powder patterns of GSAS: FXYE and FXY, ESD, STD; of APS 11-BM with its header.

File structure (GSAS manual, A. C. Larson and R. B. Von Dreele, LAUR 86-748): a title, remarks
(``#``, ``Instrument parameter``), then for each bank a line ``BANK number points records CONS start
step 0 0 type`` and its numbers. Start and step, and the positions of FXYE, are hundredths of a
degree two theta. Types:

* FXYE, FXY: free rows of position, intensity, and for FXYE its standard deviation; 11-BM writes
  one row more than it announces, and all are taken;
* ESD: five pairs a line of intensity and standard deviation, 8 columns each;
* STD, the default: ten fields a line of 8 columns, of which the first two are the number of
  counters that were averaged, blank for one.

Banks of a spallation source (SLOG, RALF, TIME_MAP ...) are time of flight and refused. Several
banks are several detectors, not times: the option `bank` chooses.

Uncertainty: the deviations of FXYE and ESD are those of the file: at 11-BM they are not the square
root of its scaled counts. Of STD it is sqrt(intensity / counters) where the file tells the number
of counters, as the manual defines it, and nothing where it does not.

The header of 11-BM gives the start of the scan (local time of Chicago, without its zone), the
temperature, the wavelength, and points and seconds a point of each of its twelve detectors, which
are merged: their product is the exposure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._diffraction import NO_CLOCK, kelvin, pattern, stepped
from operando_readers._fixed_width import MOST, fields, numbers
from operando_readers._numbers import ends_mid_line, is_number, rows
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import local_iso

Array = npt.NDArray[np.float64]

CENTI = 100.0
BANK = re.compile(r"BANK\s+(\d{1,6})\s+(\d{1,9})\s+(\d{1,9})\s+([A-Z_]\w*)\s*(.*)")
BANK_HEAD = re.compile(rb"^BANK\s+\d+\s+\d+\s+\d+\s+[A-Z_]+", re.MULTILINE)
CONSTANT = ("CONS", "CONST")
TYPES = ("FXYE", "FXY", "ESD", "STD")
FACT = re.compile(r"#\s*([^=:]{1,40}?)\s*[=:]\s*(.*?)\s*")
WIDTH = 8


@dataclass(frozen=True)
class _Bank:
    """One BANK line, and the lines of numbers below it."""

    number: int
    points: int
    start: float
    step: float
    """In degree."""
    kind: str
    first: int
    """Line of the first number in the file."""
    lines: list[str]
    mid_line: bool


def read(file: File, *, bank: int | None = None) -> xr.Dataset:
    """Read one pattern.

    Parameters
    ----------
    bank
        Number of the bank, where the file has several.

    Returns
    -------
    `intensity` (time 1, two_theta in degree) in counts, `intensity_sigma` where the file has it;
    `temperature` (K) and `exposure` (s) on time where the header has them.

    Raises
    ------
    FormatError
        No BANK line, several and none chosen (lists them), time of flight, a type that is not
        known, or what is no number; names the line.
    """
    text = file.read_text()
    lines = text.split("\n")
    starts = [at for at, line in enumerate(lines) if line.startswith("BANK ")]
    if not starts:
        raise FormatError("no line 'BANK ...'; expected a powder pattern of GSAS")
    chosen = _chosen(lines, starts, bank)
    after = next((at for at in starts if at > chosen), len(lines))
    taken = _bank(lines, chosen, after, mid_line=after == len(lines) and ends_mid_line(text))
    position, intensity, sigma, cut = _table(taken)
    header = lines[: starts[0]]
    facts = {match[1]: match[2] for line in header if (match := FACT.fullmatch(line))}
    dataset = pattern(
        "two_theta",
        position,
        intensity,
        sigma=sigma,
        metadata={"header": "\n".join(line.rstrip() for line in header)},
        told=_temperature(facts),
        exposure=_exposure(facts),
        **_about(facts, header),
    )
    if cut is None and intensity.size < taken.points:
        cut = f"{intensity.size} of {taken.points} points"
    return dataset.assign_attrs(truncated=cut) if cut else dataset


def _chosen(lines: Sequence[str], starts: Sequence[int], bank: int | None) -> int:
    """Return the line of the bank that is asked for, the only one where none is."""
    every = {int(number[1]): at for at in starts if (number := re.match(r"BANK +(\d+)", lines[at]))}
    if bank is None and len(starts) == 1:
        return starts[0]
    if bank is None or bank not in every:
        raise FormatError(f"bank: {bank}; the file has {sorted(every)}, choose one with bank=")
    return every[bank]


def _bank(lines: Sequence[str], at: int, after: int, *, mid_line: bool) -> _Bank:
    line = lines[at].strip()
    match = BANK.fullmatch(line)
    if match is None:
        raise FormatError(f"line {at + 1}: {line[:60]!r}; expected 'BANK number points records'")
    points, binning, rest = int(match[2]), match[4], match[5].split()
    if binning not in CONSTANT:
        raise FormatError(
            f"line {at + 1}: bins {binning!r} are of time of flight; expected CONS, an angle"
        )
    kind = rest.pop() if rest and not is_number(rest[-1]) else "STD"
    if kind not in TYPES:
        raise FormatError(f"line {at + 1}: type {kind!r}; expected one of {', '.join(TYPES)}")
    if len(rest) < 2 or not all(map(is_number, rest[:2])) or not 0 < points <= MOST:
        raise FormatError(f"line {at + 1}: {line[:60]!r}; expected points, start and step")
    start, step = (float(word) / CENTI for word in rest[:2])
    return _Bank(
        int(match[1]), points, start, step, kind, at + 2, list(lines[at + 1 : after]), mid_line
    )


def _table(bank: _Bank) -> tuple[Array, Array, Array | None, str | None]:
    """Return positions in degree, intensities, deviations, and why the last row was left out."""
    if bank.kind in ("FXYE", "FXY"):
        table, cut = rows(bank.lines, first=bank.first, mid_line=bank.mid_line)
        expected = 3 if bank.kind == "FXYE" else 2
        if table.shape[1] != expected:
            raise FormatError(
                f"line {bank.first}: {table.shape[1]} columns; {bank.kind} has {expected}"
            )
        sigma = table[:, 2] if expected == 3 else None
        return table[:, 0] / CENTI, table[:, 1], sigma, cut
    intensity, sigma = _pairs(bank) if bank.kind == "ESD" else _counted(bank)
    return stepped(bank.start, bank.step, intensity.size), intensity, sigma, None


def _pairs(bank: _Bank) -> tuple[Array, Array]:
    values, _ = numbers(
        bank.lines, width=WIDTH, first=bank.first, most=2 * bank.points, mid_line=bank.mid_line
    )
    pairs = values[: values.size // 2 * 2].reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _counted(bank: _Bank) -> tuple[Array, Array | None]:
    """Return counts of STD, and their deviations where the number of counters is told."""
    texts, _ = fields(
        bank.lines, width=WIDTH, first=bank.first, most=bank.points, mid_line=bank.mid_line
    )
    counters = [text[:2].strip() for text in texts]
    if not any(counters):
        return _floats(texts, bank), None
    intensity = _floats([text[2:] for text in texts], bank)
    each = np.maximum(_floats([counter or "1" for counter in counters], bank), 1.0)
    return intensity, np.sqrt(np.maximum(intensity, 0.0) / each)


def _floats(texts: Sequence[str], bank: _Bank) -> Array:
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError as error:
        wrong = next(text.strip() for text in texts if not is_number(text.strip()))
        raise FormatError(
            f"bank {bank.number}, line {bank.first} or below: {wrong!r}; expected a number"
        ) from error


def _about(facts: dict[str, str], header: Sequence[str]) -> dict[str, Any]:
    """Return the attributes that the header of 11-BM states, and the title of any."""
    about: dict[str, Any] = {"clock": NO_CLOCK}
    if "Scan time" in facts:
        start = local_iso(facts["Scan time"], what="# Scan time")
        about = {
            "clock": clock(start=start, zone=None, marks="start", source="header"),
            "instrument": "APS 11-BM" if "11bm" in "".join(header).lower() else None,
        }
    wavelength = _number(facts, "Calibrated wavelength")
    about["wavelength_angstrom"] = wavelength
    about["sample"] = facts.get("Sample Comment") or None
    title = next((line.strip() for line in header if line.strip()), "")
    about["title"] = title if title and not title.startswith("#") else None
    return about


def _temperature(facts: dict[str, str]) -> dict[str, xr.Variable]:
    value = _number(facts, "Temp (K)")
    return {} if value is None or value <= 0 else kelvin(value)


def _exposure(facts: dict[str, str]) -> float | None:
    count, each = _number(facts, "No. steps"), _number(facts, "Time per step (sec)")
    return count * each if count and each else None


def _number(facts: dict[str, str], name: str) -> float | None:
    text = facts.get(name, "")
    value = float(text) if is_number(text) else float("nan")
    return value if np.isfinite(value) else None


def sniff(head: bytes, name: str) -> bool:
    """Whether there is a BANK line in text."""
    return b"\0" not in head and BANK_HEAD.search(head) is not None


READER = Reader(
    technique="xrd",
    suffixes=(".fxye", ".gsas", ".gsa", ".gda", ".gss", ".xra", ".raw"),
    sniff=sniff,
    read=read,
    description="GSAS powder pattern: FXYE, FXY, ESD, STD; APS 11-BM",
)
