"""B&W Tek spectrometers (i-Raman, BWSpec, BWRam) as text (.txt, .csv): one spectrum a file.

File structure: ``File Version;BWRam4.11_11``, then ``key;value`` lines, then the names of columns
(``Pixel;Wavelength;Wavenumber;Raman Shift;Dark;Reference;Raw data #1;Dark Subtracted #1;...``) and
a row a pixel. Fields are separated by semicolon or comma; where a semicolon separates, the decimal
mark is the one that numbers have. Pixels outside the range of the laser have no Raman shift: they
are left out. The numbers are means of the ``average number`` of exposures, so that the live time
is ``intigration times`` (ms or us) times that. ``Dark Subtracted`` is raw minus dark.

What ``Date`` marks is not stated: it is taken for the start, uncertain by the live time, until the
option `dated` says what it is. It has no zone.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._numbers import ends_mid_line, is_number
from operando_readers._raman import NO_TIME, Stamp, frames
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import DateOrder, local_iso

Array = npt.NDArray[np.float64]
Signal = Literal["dark_subtracted", "raw"]

MAGIC = re.compile(rb"\s*File Version[;,]\s*BW")
COLUMNS = {"dark_subtracted": "Dark Subtracted #1", "raw": "Raw data #1"}
SHIFT = "Raman Shift"
SECONDS = {"ms": 1e-3, "us": 1e-6}


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line names a version of B&W Tek."""
    return MAGIC.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def read(
    file: File,
    *,
    signal: Signal = "dark_subtracted",
    dated: Stamp | None = None,
    date_order: DateOrder | None = None,
) -> xr.Dataset:
    """Read one spectrum.

    Parameters
    ----------
    signal
        Which column: counts above the dark spectrum, or as the detector counted them.
    dated
        Whether the date of the header marks the start or the end of the measurement.
    date_order
        Whether a date such as 04/05/2024 has the day or the month first.

    Returns
    -------
    `intensity` (time 1, raman_shift in 1/cm) in counts, with `exposure`.

    Raises
    ------
    FormatError
        Not such a file, several spectra, no Raman shifts, a row that is not numbers, or a date
        that can be read two ways.
    """
    text = file.read_text()
    lines = text.splitlines()
    if sniff(text[:200].encode(), file.name) is False:
        raise FormatError(f"line 1: {text[:40]!r}; expected 'File Version' and BWSpec or BWRam")
    separator = lines[next(at for at, line in enumerate(lines) if line.strip())].strip()[12]
    header, at = _header(lines, separator)
    names = [name.strip() for name in lines[at].split(separator)]
    shift, counts, truncated = _columns(
        lines, at, names, signal=signal, separator=separator, mid_line=ends_mid_line(text)
    )
    live, source = _live_time(header)
    return frames(
        shift,
        counts[None],
        what=SHIFT,
        units="count",
        facts={
            "clock": _clock(header, live, dated=dated, order=date_order),
            "instrument": f"B&W Tek {header.get('model') or header.get('title', '')}".strip(),
            "laser_wavelength_nm": _number(header.get("laser_wavelength", "")),
            "axis_source": "Raman shift in the file",
            "exposure_source": source,
            "signal": COLUMNS[signal],
            "truncated": truncated,
        },
        metadata=header,
        exposure=live,
    )


def _header(lines: list[str], separator: str) -> tuple[dict[str, str], int]:
    """Return the header, and the index of the line with the names of the columns."""
    header: dict[str, str] = {}
    for at, line in enumerate(lines):
        key, _, value = line.partition(separator)
        if key.strip() == "Pixel":
            return header, at
        if key.strip():
            header[key.strip()] = value.strip().rstrip(separator)
    raise FormatError(f"line {len(lines)}: no line of columns, 'Pixel{separator}...'; cut short")


def _columns(
    lines: list[str],
    at: int,
    names: list[str],
    *,
    signal: Signal,
    separator: str,
    mid_line: bool,
) -> tuple[Array, Array, str | None]:
    """Return shift and counts of the pixels that have a shift, and why a last row is missing."""
    wanted = (SHIFT, COLUMNS[signal])
    for name in wanted:
        if name not in names:
            raise FormatError(f"line {at + 1}: no column {name!r} among {names[:20]}")
    if any(name.endswith("#2") for name in names):
        raise FormatError(f"line {at + 1}: several spectra; save each in a file of its own")
    rows: list[tuple[float, float]] = []
    truncated = None
    places = [names.index(name) for name in wanted]
    last = next(number for number in range(len(lines), 0, -1) if lines[number - 1].strip())
    for number, line in enumerate(lines[at + 1 :], at + 2):
        fields = line.split(separator)
        if mid_line and number == last and number > at + 2:
            # The last number may be cut, and still look like one.
            truncated = f"line {number}: cut short"
            break
        if not line.strip() or (len(fields) > max(places) and not fields[places[0]].strip()):
            continue
        numbers = [_number(fields[place]) if place < len(fields) else None for place in places]
        if numbers[0] is None or numbers[1] is None:
            raise FormatError(f"line {number}: {line[:60]!r}; expected numbers in {list(wanted)}")
        rows.append((numbers[0], numbers[1]))
    if len(rows) < 2:
        raise FormatError(f"line {at + 2}: {len(rows)} pixels with a Raman shift; no spectrum")
    table = np.array(rows)
    return table[:, 0], table[:, 1], truncated


def _number(field: str) -> float | None:
    """Return a number with decimal point or comma; None where it is none."""
    text = field.strip().replace(",", ".")
    return float(text) if is_number(text) else None


def _live_time(header: dict[str, str]) -> tuple[float | None, str]:
    for unit, scale in SECONDS.items():
        each = _number(header.get(f"intigration times({unit})", ""))
        count = _number(header.get("average number", ""))
        factor = _number(header.get("time_multiply", "1"))
        if each and count and 0 < each < np.inf and 0 < count < np.inf and factor == 1:
            return each * scale * count, f"{each * scale:g} s x {count:g} averaged"
    return None, "unknown: integration time and average number are not both stated"


def _clock(
    header: dict[str, str], live: float | None, *, dated: Stamp | None, order: DateOrder | None
) -> dict[str, str | float | None]:
    text = header.get("Date", "")
    if not text:
        return NO_TIME
    start = local_iso(text, what="Date", date_order=order)
    sigma = None if dated else live
    return clock(start=start, zone=None, marks=dated or "start", source="header", sigma_s=sigma)


READER = Reader(
    technique="raman",
    suffixes=(".txt", ".csv"),
    sniff=sniff,
    read=read,
    description="B&W Tek i-Raman, BWSpec and BWRam text",
)
