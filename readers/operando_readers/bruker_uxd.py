"""Siemens and Bruker diffractometers, text (.uxd), as the program XCH writes it; also gzipped.

File structure: comments behind ``;``, ``_KEY=value`` of the file, then per range, from ``_DRIVE``
on, its keys and a line that says what follows: ``_2THETACOUNTS`` or ``_2THETACPS`` (rows of 2 theta
and intensity), ``_COUNTS`` or ``_CPS`` (intensities alone, any number a line, from ``_START`` in
steps of ``_STEPSIZE``). Lists of peaks (``_D-I``, ``_2THETA-I``) are passed over.

Times: ``_DATEMEASURED='04-Mar-2010 20:59:14'``, local, without zone; ``_TIMESTARTED`` is seconds
from there to the start of the range. ``_RUNTIME`` is how long the file took in all: the exposure,
where it holds one range.

Printed positions have five digits: above 10 degrees they jump by 0.01, a good part of a step. Where
``_START`` and ``_STEPSIZE`` agree with all of them to their last digit, these are the axis, which
attrs["axis_source"] says.

Counts and counts per second are kept as they are: `intensity` has the unit the file says.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._gzip import first_bytes, unpacked
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._patterns import Pattern, chosen, frames
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_times import by_offsets
from operando_readers._stamps import DateOrder
from operando_readers._text import text_of
from operando_readers._xml import number, numbers

Array = npt.NDArray[np.float64]

KEY = re.compile(r"_(\+?\w[\w+]{0,60})=(.*)")
RANGE = re.compile(r"_DRIVE=|;\s*\(?Data for range", re.IGNORECASE)
DATA = re.compile(r"_(2THETA)?(COUNTS|CPS)(?:=.*)?")
OTHER_DATA = re.compile(r"_(2THETACOUNTSTIME|COUNTSTIME|D-I|2THETA-I)\b.*")
UNITS = {"COUNTS": "count", "CPS": "count/s"}
FIRST_KEY = "_FILEVERSION"
LAST_DIGIT = 5e-7
"""Half of the last digit of a step size."""
TWO_THETA_DRIVES = ("COUPLED", "2THETA", "TWOTHETA", "PSDSCAN", "DETECTOR")
"""Of ranges that do not say that their column is 2 theta."""


@dataclass
class Block:
    """One range: its keys, and its lines with the number of the first."""

    keys: dict[str, str]
    positions: bool = False
    units: str = ""
    first: int = 0
    lines: list[str] = field(default_factory=list)
    even: bool = False
    """Whether its printed positions are those of start and step, rounded."""


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(
    file: File, *, scans: str | None = None, date_order: DateOrder | None = None
) -> xr.Dataset:
    """Read the ranges over 2 theta of a file, one frame a range.

    Parameters
    ----------
    scans
        Numbers of ranges, from 1, such as "1-4": where a file holds ranges of several axes.
    date_order
        "mdy" or "dmy", where a date has no name of a month.

    Returns
    -------
    As `_patterns.frames`.

    Raises
    ------
    FormatError
        Not such a file, rows that are none, counting times beside the counts, or as `frames`.
    """
    raw, ends_early = unpacked(file.read_bytes())
    text = text_of(raw)
    keys, blocks = _blocks(text)
    numbered = chosen([_axis(block) for block in blocks], scans)
    kept = [(at, blocks[at - 1]) for at in numbered]
    last = len(blocks) if ends_mid_line(text) else 0
    patterns = [_pattern(at, block, keys, mid_line=at == last) for at, block in kept]
    times = by_offsets(
        keys.get("DATEMEASURED", ""),
        [_offset(at, block) for at, block in kept],
        runtime=number(keys.get("RUNTIME")) if len(blocks) == 1 else None,
        date_order=date_order,
    )
    first = kept[0][1].keys
    metadata = {
        "ranges_in_file": len(blocks),
        "skipped_scans": len(blocks) - len(kept) if scans is None else 0,
        **keys,
        **{f"range: {key}": value for key, value in first.items()},
    }
    rounded = "_START and _STEPSIZE, of which the positions are roundings"
    return frames(
        patterns,
        times,
        metadata=metadata,
        instrument="Bruker",
        scan_axis=_axis(kept[0][1]),
        axis_source=rounded if any(block.even for _, block in kept) else "",
        sample=keys.get("SAMPLE", ""),
        truncated=ends_early,
    )


def _blocks(text: str) -> tuple[dict[str, str], list[Block]]:
    """Return the keys of the file, and its ranges."""
    lines = text.split("\n")
    if not any(line.startswith(FIRST_KEY) for line in lines[:20]):
        raise FormatError(f"line 1: {lines[0][:40]!r}; expected {FIRST_KEY}= within 20 lines")
    keys: dict[str, str] = {}
    blocks: list[Block] = []
    own = keys
    into: list[str] | None = None
    for at, line in enumerate(lines, 1):
        if own is keys and RANGE.match(line):
            own = {}
        if (match := DATA.fullmatch(line.strip())) is not None:
            told = {} if own is keys else own
            blocks.append(Block(told, bool(match[1]), UNITS[match[2]], at + 1))
            own, into = {}, blocks[-1].lines
        elif OTHER_DATA.fullmatch(line.strip()):
            if "COUNTSTIME" in line:
                raise FormatError(f"line {at}: {line.strip()}; export counts or cps alone")
            into = None
        elif (match := KEY.match(line)) is not None:
            own[match[1]] = match[2].strip().strip("'")
            into = None
        elif into is not None and not line.startswith(";"):
            into.append(line)
    if not blocks:
        raise FormatError(f"line {len(lines)}: no _2THETACOUNTS, _COUNTS, _2THETACPS or _CPS")
    return keys, blocks


def _axis(block: Block) -> str:
    """Return what a range is over: its column says so, or its drive does."""
    drive = block.keys.get("DRIVE", "")
    return "2Theta" if block.positions or drive in TWO_THETA_DRIVES else f"drive {drive!r}"


def _pattern(at: int, block: Block, keys: dict[str, str], *, mid_line: bool) -> Pattern:
    # A view: many ranges below many keys would be copied again and again.
    told = ChainMap(block.keys, keys)
    if block.positions:
        table, truncated = rows(block.lines, first=block.first, mid_line=mid_line)
        if table.shape[1] % 2:
            raise FormatError(f"line {block.first}: {table.shape[1]} numbers; expected pairs")
        two_theta = np.ascontiguousarray(table[:, 0::2]).ravel()
        even = _unrounded(two_theta, block, told)
        block.even = even is not None
        two_theta = two_theta if even is None else even
        intensity = np.ascontiguousarray(table[:, 1::2]).ravel()
    else:
        truncated = None
        intensity = numbers(" ".join(block.lines), what=f"range {at}")
        if mid_line:
            # The last number may be cut, and still look like one.
            truncated, intensity = "no line end; last number left out", intensity[:-1]
        start, step = number(told.get("START")), number(told.get("STEPSIZE"))
        if start is None or not step:
            raise FormatError(f"range {at}: no _START and _STEPSIZE of its intensities")
        two_theta = start + step * np.arange(intensity.size, dtype=np.float64)
    angstrom = told.get("WL_UNIT", "A") == "A"
    alpha1, alpha2, beta = (
        number(told.get(f"WL{line}")) if angstrom else None for line in (1, 2, 3)
    )
    return Pattern(
        number=at,
        two_theta=two_theta,
        intensity=intensity,
        units=block.units,
        counting_time=number(told.get("STEPTIME")),
        radiation=Radiation(
            anode=told.get("ANODE", ""),
            alpha1=alpha1,
            alpha2=alpha2,
            beta=beta,
            ratio=number(told.get("WLRATIO")),
        ),
        truncated=truncated or "",
    )


def _unrounded(printed: Array, block: Block, told: Mapping[str, str]) -> Array | None:
    """Return the positions by start and step if those that are printed are their roundings."""
    start, step = number(told.get("START")), number(told.get("STEPSIZE"))
    first = [line.split()[0] for line in block.lines if line.strip()]
    if start is None or not step or len(first) < 2:
        return None
    # The last line may have been cut within its position.
    digits = min(len(position.partition(".")[2]) for position in first[:-1])
    index = np.arange(printed.size, dtype=np.float64)
    even = start + step * index
    apart = 0.5 * 10.0**-digits + LAST_DIGIT * (1 + index)
    return even if np.all(np.abs(even - printed) <= 1.001 * apart) else None


def _offset(at: int, block: Block) -> float | None:
    """Return the seconds from the date of the file to the start of the range."""
    started = number(block.keys.get("TIMESTARTED"))
    if started is not None and started >= 0:
        return started
    return 0.0 if at == 1 else None


def sniff(head: bytes, name: str) -> bool:
    """Whether the text names the version of its format within the first lines."""
    begin = text_of(first_bytes(head, 4096)).split("\n")[:20]
    return any(line.startswith(f"{FIRST_KEY}=") for line in begin)


READER = Reader(
    technique="xrd",
    suffixes=(".uxd",),
    sniff=sniff,
    read=read,
    description="Bruker and Siemens text .uxd: ranges of counts or counts per second",
)
