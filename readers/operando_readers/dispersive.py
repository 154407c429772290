"""Spectra of energy-dispersive beamlines: absorption by pixel, calibrated by the caller.

File structure, two dialects:

* ESRF ID24 (before 2010): ``:`` lines of a header (accumulations, integration times, the date as
  ``Fri Apr 11 17:01:37 2003``), then one ``pixel absorption`` a line. Local time without a zone, of
  the whole second; whether it marks the start or the end is not said, exposures last seconds.
* Photon Factory DXAS, CSV, plain or gzipped: the first row is blank and then the seconds of each
  spectrum (``, 0 , 300 , 600``), the first column is the pixel, and pixel 1 may be the highest
  energy. The seconds count from a moment that is not in the file.

A pixel is no energy and the file does not know it: option `calibration`, from
`operando.corrections.pixel_calibration.calibrate_pixels` and a foil.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._gzip import first_bytes, unpacked
from operando_readers._numbers import ends_mid_line, is_number, rows
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._series import series
from operando_readers._stamps import moments
from operando_readers._text import text_of

Array = npt.NDArray[np.float64]

LARGEST_TEXT = 1 << 30
DATE = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d) (\d{4})")
SECONDS = re.compile(r"[ \t]*,[ \t]*[-+.\d]")
FIRST_PIXEL = re.compile(r"[ \t]*\d+[ \t]*,")
HIGHEST_DEGREE = 6


def read(file: File, *, calibration: Sequence[float] | None = None) -> xr.Dataset:
    """Read all spectra of a file.

    Parameters
    ----------
    calibration
        Coefficients of E(p) = c0 + c1 p + c2 p^2 ..., in eV, p the number of the pixel in the file.

    Returns
    -------
    `mu` (time, energy in eV), as the beamline made it.

    Raises
    ------
    FormatError
        No calibration, one that is not monotonic or not positive over the pixels, a header or a
        table that is none, or text that unpacks too far.
    """
    content, ends_early = unpacked(file.read_bytes(), largest=LARGEST_TEXT)
    text = text_of(content)
    lines = text.split("\n")
    mid_line = ends_mid_line(text)
    if lines[0].startswith(":"):
        dataset = _id24(lines, calibration, mid_line=mid_line)
    elif SECONDS.match(lines[0]):
        dataset = _photon_factory(lines, calibration, mid_line=mid_line)
    else:
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected ':' or a row of seconds")
    return dataset.assign_attrs(truncated=ends_early) if ends_early else dataset


def _id24(lines: list[str], calibration: Sequence[float] | None, *, mid_line: bool) -> xr.Dataset:
    header = [line[1:].strip() for line in lines if line.startswith(":")]
    count = len(header)
    if any(line.startswith(":") for line in lines[count:]):
        raise FormatError(f"line {count + 1}: numbers within the header")
    table, truncated = rows(lines[count:], first=count + 1, mid_line=mid_line)
    if table.shape[1] != 2:
        raise FormatError(f"line {count + 1}: {table.shape[1]} columns; expected pixel and value")
    pairs = [line.partition(":") for line in header if not DATE.fullmatch(line)]
    metadata = {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
    metadata["header"] = "\n".join(header)
    stamp = moments([_date(header)], what="date")
    facts = clock(start=None, zone=None, marks="start", source="none")
    if not np.isnat(stamp.values[0]):
        start = stamp.iso(0)
        facts = clock(start=start, zone=None, marks="start", source="header", sigma_s=0.5)
    return series(
        _energies(table[:, 0], calibration),
        {"mu": table[None, :, 1]},
        clock=facts,
        elapsed=np.zeros(1),
        exposure=_exposure(metadata),
        instrument="ESRF ID24 (dispersive)",
        metadata=metadata,
        truncated=truncated,
    )


def _date(header: list[str]) -> str:
    """Return the date of a header in an order that cannot be mistaken, "" without one."""
    found = [match for line in header if (match := DATE.fullmatch(line))]
    return f"{found[-1][2]} {found[-1][1]} {found[-1][4]} {found[-1][3]}" if found else ""


def _exposure(metadata: dict[str, str]) -> Array | None:
    """Return the live time on the sample: accumulations times integration time."""
    count = metadata.get("Sample number of accum", "")
    each = metadata.get("Integration time sample (ms)", "")
    if not (is_number(count) and is_number(each)):
        return None
    seconds = float(count) * float(each) / 1e3
    return np.array([seconds]) if 0 <= seconds < 1e6 else None


def _photon_factory(
    lines: list[str], calibration: Sequence[float] | None, *, mid_line: bool
) -> xr.Dataset:
    fields = lines[0].split(",")[1:]
    if not all(is_number(field.strip()) for field in fields):
        raise FormatError("line 1: expected the seconds of each spectrum after a blank")
    elapsed = np.array([float(field) for field in fields])
    table, truncated = rows(lines[1:], first=2, mid_line=mid_line, delimiter=",")
    if table.shape[1] != elapsed.size + 1:
        raise FormatError(f"line 2: {table.shape[1] - 1} spectra under {elapsed.size} times")
    if not np.isfinite(elapsed).all():
        raise FormatError("line 1: a time that is no number")
    return series(
        _energies(table[:, 0], calibration),
        {"mu": np.ascontiguousarray(table[:, 1:].T)},
        clock=clock(start=None, zone=None, marks="start", source="none"),
        elapsed=elapsed,
        instrument="Photon Factory (DXAS)",
        metadata={"seconds": lines[0].strip()},
        truncated=truncated,
    )


def _energies(pixels: Array, calibration: Sequence[float] | None) -> Array:
    if calibration is None:
        raise FormatError(
            f"pixels {pixels[0]:g}-{pixels[-1]:g} have no energy; pass calibration=[c0, c1, ...], "
            "eV by powers of the pixel, which calibrate_pixels finds from a foil"
        )
    known = all(isinstance(number, int | float) for number in calibration)
    if isinstance(calibration, str) or not known or not 2 <= len(calibration) <= HIGHEST_DEGREE + 1:
        raise FormatError(
            f"calibration: {calibration!r}; expected 2 to {HIGHEST_DEGREE + 1} numbers"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        energy = np.polynomial.polynomial.polyval(pixels, np.asarray(calibration, np.float64))
        steps = np.diff(energy)
    rising = np.all(steps * np.sign(np.diff(pixels)) > 0)
    falling = np.all(steps * np.sign(np.diff(pixels)) < 0)
    if not np.isfinite(energy).all() or not (rising or falling) or energy.min() <= 0:
        raise FormatError(
            f"calibration: {list(calibration)} takes pixels {pixels[0]:g}-{pixels[-1]:g} to "
            f"{energy[0]:g}-{energy[-1]:g} eV; expected one direction and positive energies"
        )
    return np.asarray(energy)


def sniff(head: bytes, name: str) -> bool:
    """Whether the head is that of ID24 or of a table of seconds and pixels."""
    head = first_bytes(head, 1 << 16)
    lines = head[: 1 << 16].decode("latin-1").replace("\r\n", "\n").split("\n", 2)
    if lines[0].startswith(":runabs"):
        return True
    return len(lines) > 1 and bool(SECONDS.match(lines[0]) and FIRST_PIXEL.match(lines[1]))


READER = Reader(
    technique="xas",
    suffixes=(".csv", ".gz", ""),
    sniff=sniff,
    read=read,
    description="dispersive XAS: ESRF ID24 pixel spectra, Photon Factory DXAS matrices",
)
