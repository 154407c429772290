"""Transmission scans of ALBA BL22-CLAESS, extracted as text in the manner of SPEC, one scan a file.

File structure: ``#S`` lines (the first is ``#S 0 Fake Scan``), ``#C`` comments, ``#L`` with the
names of the columns, then rows. Columns are found by name: ``energyc`` (eV, from the encoder; the
set point is ``energy``), ``a_i0_1`` and ``a_i1_1`` (electrometers before and after the sample),
``a_i2_1`` (after the reference foil, where there is one), ``a_i0i1_timer`` (s, dwell of the point)
and ``timestamp`` (Unix seconds of every point, true UTC). The counters ``n_*`` are not used: those
named i2 are dark in the scans seen.

mu = ln(i0 / i1), mu_reference = ln(i1 / i2); where a detector reads zero or less (beam lost) they
are NaN. The encoder jitters: points are sorted by energy, and points of equal energy averaged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import log_ratio, spectrum
from operando_readers._numbers import columns, ends_mid_line
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]

NEEDED = ("energyc", "a_i0_1", "a_i1_1", "a_i0i1_timer", "timestamp")
EDGE = re.compile(r"(?:^|_)([A-Z][a-z]?)_(K|L[123])(?:_|\.|$)")


def read(file: File) -> xr.Dataset:
    """Read one scan.

    Returns
    -------
    `mu`, `i0`, `i1`, and `mu_reference` where a foil was measured, all (time 1, energy in eV). The
    scan starts at its first point; `exposure` is from there to the end of the last.

    Raises
    ------
    FormatError
        Not exactly one scan, a column missing, time stamps that run backwards, fewer than two
        energies, or a row that is not numbers.
    """
    text = file.read_text()
    lines = text.splitlines()
    labels = [number for number, line in enumerate(lines) if line.startswith("#L ")]
    if len(labels) != 1:
        raise FormatError(f"{len(labels)} scans (lines '#L'); expected one")
    at = labels[0] + 1
    names = lines[at - 1][3:].split()
    if missing := [name for name in NEEDED if name not in names]:
        raise FormatError(f"line {at}: no column {', '.join(missing)}; found {names}")
    mid_line = ends_mid_line(text)
    column, truncated = columns(lines[at:], names, first=at + 1, mid_line=mid_line)
    header = [line[1:].strip() for line in lines[: at - 1] if line.startswith("#")]
    dataset = _dataset(column, header=header, truncated=truncated)
    if match := EDGE.search(file.name) or EDGE.search(_sample(header)):
        dataset.attrs.update(element=match[1], edge=match[2])
    return dataset


def _dataset(
    column: dict[str, Array], *, header: Sequence[str], truncated: str | None
) -> xr.Dataset:
    start, exposure = _interval(column["timestamp"], column["a_i0i1_timer"])
    energy = column["energyc"]
    if not np.isfinite(energy).all():
        lost = np.count_nonzero(~np.isfinite(energy))
        raise FormatError(f"energyc: {lost} of {energy.size} points have no energy")
    channels = {"i0": column["a_i0_1"], "i1": column["a_i1_1"]}
    if "a_i2_1" in column:
        channels["mu_reference"] = log_ratio(channels["i1"], column["a_i2_1"])
    return spectrum(
        energy,
        channels,
        clock=clock(start=start, zone="UTC", marks="start", source="column"),
        exposure=exposure,
        instrument="ALBA BL22-CLAESS",
        metadata={"header": "\n".join(header)},
        truncated=truncated,
    )


def _interval(stamp: Array, dwell: Array) -> tuple[str, float]:
    """Return the start of the first point, and the seconds from there to the end of the last."""
    if not np.isfinite(stamp).all() or np.any(np.diff(stamp) < 0):
        raise FormatError("timestamp: missing or running backwards; expected one scan")
    first = datetime.fromtimestamp(float(stamp[0]), UTC).replace(tzinfo=None)
    return first.isoformat(timespec="microseconds"), float(stamp[-1] - stamp[0] + dwell[-1])


def _sample(header: list[str]) -> str:
    return next(
        (line.partition(":")[2].strip() for line in header if "Sample Description" in line), ""
    )


def sniff(head: bytes, name: str) -> bool:
    """Whether there is a SPEC label line with the columns of CLAESS."""
    label = re.search(rb"^#L .*$", head, re.MULTILINE)
    names = label[0].split() if label else []
    return all(needed.encode() in names for needed in NEEDED)


READER = Reader(
    technique="xas",
    suffixes=(".dat",),
    sniff=sniff,
    read=read,
    description="ALBA BL22-CLAESS transmission scan, text in the manner of SPEC",
)
