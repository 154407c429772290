"""Rigaku measurements as text (.ras), also packed by gzip or bzip2.

File structure: ``*RAS_DATA_START``, then per scan ``*RAS_HEADER_START``, lines of ``*KEY "value"``,
``*RAS_HEADER_END``, ``*RAS_INT_START``, rows of position, intensity and attenuation factor,
``*RAS_INT_END``. Names in Japanese are in its Windows code page, ``Japanese|English``.

Times: start and end of each scan, local times without zone and in whole seconds, such as
``12/05/15 22:01:01``. The order of day and month is that of the computer. It is taken from a number
above 12, or from a scan over midnight, whose length the speed tells; else `date_order` must say.

`intensity` is multiplied by the attenuation factor.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._gzip import first_bytes, is_packed, unpacked
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._patterns import Pattern, chosen, frames
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._rigaku import ATTENUATED, UNITS, WAVES, attenuated
from operando_readers._scan_times import by_stamps
from operando_readers._stamps import DateOrder, moments
from operando_readers._text import text_of
from operando_readers._xml import number

Array = npt.NDArray[np.float64]

START = "*RAS_DATA_START"
KEY = re.compile(r'\*([\w-]{1,80}) "(.*)"\s*')
LONGER = 3.0
"""A scan takes at most so many times what its speed says, and a quarter of an hour."""
OVERHEAD = 900.0
JAPANESE = "cp932"


@dataclass(frozen=True)
class Section:
    """One scan: its header, and its rows with the number of the first line."""

    header: dict[str, str]
    lines: list[str]
    first: int
    whole: bool


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(
    file: File, *, scans: str | None = None, date_order: DateOrder | None = None
) -> xr.Dataset:
    """Read the scans over 2 theta of a file, one frame a scan.

    Parameters
    ----------
    scans
        Numbers of scans, from 1, such as "3-14,16": where a file holds scans of several axes.
    date_order
        "mdy" or "dmy", for dates such as 12/05/15.

    Returns
    -------
    As `_patterns.frames`.

    Raises
    ------
    FormatError
        Not such a file, no whole header, rows that are none, dates that could be two, or as
        `frames`.
    """
    raw, ends_early = unpacked(file.read_bytes())
    text = text_of(raw, legacy=_encoding(raw))
    sections = _sections(text)
    numbered = chosen([_axis(section.header) for section in sections], scans)
    kept = [(at, sections[at - 1]) for at in numbered]
    patterns = [_pattern(at, section, mid_line=ends_mid_line(text)) for at, section in kept]
    starts, ends = (
        [section.header.get(f"MEAS_SCAN_{which}_TIME", "").strip() for section in sections]
        for which in ("START", "END")
    )
    order = date_order or _order(starts, ends, [_length(section.header) for section in sections])
    times = by_stamps(
        [starts[at - 1] for at in numbered], [ends[at - 1] for at in numbered], date_order=order
    )
    header = kept[0][1].header
    metadata = {
        "scans_in_file": len(sections),
        "skipped_scans": len(sections) - len(kept) if scans is None else 0,
        **header,
    }
    dataset = frames(
        patterns,
        times,
        metadata=metadata,
        instrument=f"Rigaku {header.get('HW_GONIOMETER_NAME', '').rpartition('|')[2]}".strip(),
        scan_axis=_axis(header),
        scan_mode=header.get("MEAS_SCAN_MODE", ""),
        sample=header.get("FILE_SAMPLE", "").strip(),
        truncated=ends_early,
    )
    if "attenuation_factor" in dataset:
        dataset.attrs["attenuation"] = ATTENUATED
    return dataset


def _encoding(raw: bytes) -> str:
    try:
        raw.decode(JAPANESE)
    except UnicodeDecodeError:
        return "latin-1"
    return JAPANESE


def _sections(text: str) -> list[Section]:
    """Return the scans of which at least the header is whole."""
    if not text.startswith(START):
        raise FormatError(f"line 1: {text[:40]!r}; expected {START}")
    lines = text.split("\n")
    marks = {f"*RAS_{part}_{end}" for part in ("HEADER", "INT") for end in ("START", "END")}
    places = [at for at, line in enumerate(lines) if line.strip() in marks]
    found: list[Section] = []
    header: dict[str, str] = {}
    for at, after in pairwise([*places, len(lines)]):
        mark = lines[at].strip()
        if mark == "*RAS_HEADER_START":
            pairs = (KEY.fullmatch(line) for line in lines[at + 1 : after])
            header = {pair[1]: pair[2] for pair in pairs if pair is not None}
        elif mark == "*RAS_INT_START":
            whole = after < len(lines) and lines[after].strip() == "*RAS_INT_END"
            found.append(Section(header, lines[at + 1 : after], at + 2, whole))
    if not found:
        raise FormatError(f"line {len(lines)}: no *RAS_INT_START in the file; cut short?")
    return found


def _axis(header: dict[str, str]) -> str:
    return header.get("MEAS_SCAN_AXIS_X_INTERNAL") or header.get("MEAS_SCAN_AXIS_X", "")


def _pattern(at: int, section: Section, *, mid_line: bool) -> Pattern:
    header = section.header
    table, truncated = rows(
        section.lines, first=section.first, mid_line=mid_line and not section.whole
    )
    if table.shape[1] not in (2, 3):
        raise FormatError(
            f"line {section.first}: {table.shape[1]} columns; expected position, intensity, factor"
        )
    stated = number(header.get("MEAS_DATA_COUNT")) or 0.0
    if not section.whole or len(table) < stated:
        truncated = f"{len(table)} of {stated:g} points"
    intensity, factor = attenuated(table)
    return Pattern(
        number=at,
        two_theta=table[:, 0],
        intensity=intensity,
        units=UNITS.get(header.get("MEAS_SCAN_UNIT_Y", "").lower(), "1"),
        attenuation=factor,
        radiation=Radiation(
            anode=header.get("HW_XG_TARGET_NAME", ""),
            alpha1=number(header.get("HW_XG_WAVE_LENGTH_ALPHA1")),
            alpha2=number(header.get("HW_XG_WAVE_LENGTH_ALPHA2")),
            beta=number(header.get("HW_XG_WAVE_LENGTH_BETA")),
            kind=WAVES.get(header.get("MEAS_COND_XG_WAVE_TYPE", "").lower()),
        ),
        truncated=truncated or "",
    )


def _length(header: dict[str, str]) -> float | None:
    """Return how many seconds a scan takes by its range and speed."""
    low, high, step, speed = (
        number(header.get(f"MEAS_SCAN_{key}")) for key in ("START", "STOP", "STEP", "SPEED")
    )
    unit = header.get("MEAS_SCAN_SPEED_UNIT", "").lower()
    if low is None or high is None or not step or not speed:
        return None
    if unit == "deg/min":
        return abs((high - low) / speed) * 60
    return abs((high - low) / step) * speed if unit.startswith("sec") else None


def _order(
    starts: Sequence[str], ends: Sequence[str], lengths: Sequence[float | None]
) -> DateOrder | None:
    """Return the only order of day and month in which the scans take as long as they should."""
    fitting: list[DateOrder] = []
    for order in cast("tuple[DateOrder, ...]", ("mdy", "dmy")):
        try:
            started = moments(starts, what="start", date_order=order).values
            ended = moments(ends, what="end", date_order=order).values
        except FormatError:
            continue
        took = (ended - started) / np.timedelta64(1, "s")
        limits = [np.inf if length is None else LONGER * length + OVERHEAD for length in lengths]
        if not np.any((took < 0) | (took > np.array(limits))):
            fitting.append(order)
    return fitting[0] if len(fitting) == 1 else None


def sniff(head: bytes, name: str) -> bool:
    """Whether the text begins as such a file does; of one large block of bzip2 the name decides."""
    begin = first_bytes(head, 64)
    if not begin and is_packed(head):
        return name.lower().endswith((".ras.bz2", ".ras.gz"))
    return begin.lstrip(b"\xef\xbb\xbf").startswith(START.encode())


READER = Reader(
    technique="xrd",
    suffixes=(".ras", ".bz2", ".gz"),
    sniff=sniff,
    read=read,
    description="Rigaku text .ras: scans over 2 theta, several a file; also gzipped or bzipped",
)
