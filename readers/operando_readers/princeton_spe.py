"""Princeton Instruments cameras (.spe): LightField (3.x) and WinView or WinSpec (2.x).

File structure, little-endian: a header of 4100 bytes that ends in 0x5555, with the version as
float32 at 1992 and the kind of pixels at 108, then the frames. Version 3 ends in XML (at byte
uint64 of 678) that says everything else: see `_lightfield`. Version 2 has, in the header, exposure
(10, s), date (20, 02Oct2024), pixels a row (42), local time and UTC (172 and 179, hhmmss), rows
(656), accumulations (668), frames (1446), first column and binning (1512 and 1516), the laser
(3311, in 1/cm by the manual, in nm as hyperSpec takes it: no laser is both), the polynomial of the
axis (3098 valid, 3100 unit, 3101 order, 3263 coefficients). Only LightField was tried on a real
file; 2.x is from the manual of WinSpec, and its units are those that hyperSpec knows.

Axis: nm, in 2.x as polynomial of the pixel counted from 1 on the whole detector, then the shift
from the laser of the file or of the option.

Times: LightField says when the acquisition started, with its zone; frames follow by the stamps
behind them where those were recorded, else by the frame rate. WinSpec says when it started, on the
local clock, whose zone is the difference to the UTC beside it; when its further frames were taken
it does not say: then they have to be declared. Rows of the detector were exposed at once: the
option `track` chooses one.
"""

from __future__ import annotations

import re
import struct
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _lightfield
from operando_readers._raman import LASERS, NO_TIME, frames, shifts
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import local_iso

Array = npt.NDArray[np.float64]

HEADER = 4100
LAST = 0x5555
PIXELS = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2", 8: "<u4"}
UNITS = {1: "pixel", 2: "data", 3: "user units", 4: "nm", 5: "1/cm", 6: "Raman shift"}
NANOMETRE = 4
VISIBLE = (150.0, 5000.0)
"""nm: what a polynomial in nm can give."""
DATE = re.compile(r"(\d{2})([A-Z][a-z]{2})(\d{4})")
CLOCK = re.compile(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d)")
QUARTER_S = 900


def sniff(head: bytes, name: str) -> bool:
    """Whether it has a header that ends as those of Princeton do, of version 1.x to 3.x."""
    if len(head) < HEADER or int.from_bytes(head[HEADER - 2 : HEADER], "little") != LAST:
        return False
    version: float = struct.unpack_from("<f", head, 1992)[0]
    return 1.0 <= version < 4.0


@np.errstate(all="ignore")  # damaged numbers become infinite or an error that says where
def read(file: File, *, laser_nm: float | None = None, track: int | None = None) -> xr.Dataset:
    """Read the spectra of one file.

    Parameters
    ----------
    laser_nm
        Wavelength of the laser in nm; needed where the file does not state it.
    track
        Which row of the detector to read, from 1, where there are several.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm) in counts as stored (a mean where LightField combined
    frames by averaging), with `elapsed` and `exposure` where the file knows them.

    Raises
    ------
    FormatError
        Another version, no calibration, no laser, several regions, rows without `track`, or a file
        cut inside its first frame.
    """
    raw = file.read_bytes()
    if not sniff(raw[:HEADER], file.name):
        raise FormatError(f"header: {len(raw[:HEADER])} bytes; no header of Princeton (2.x, 3.x)")
    (version,) = struct.unpack_from("<f", raw, 1992)
    if version >= 3:
        return _lightfield_frames(raw, laser_nm=laser_nm, track=track)
    return _winspec_frames(raw, laser_nm=laser_nm, track=track)


def _lightfield_frames(raw: bytes, *, laser_nm: float | None, track: int | None) -> xr.Dataset:
    (at,) = struct.unpack_from("<Q", raw, 678)
    if not HEADER <= at < len(raw):
        raise FormatError(f"XML: at byte {at} of {len(raw)}; cut short, LightField writes it last")
    root = _lightfield.footer(raw[at:])
    where = _lightfield.layout(root)
    block = where.rows * where.columns * np.dtype(where.pixel).itemsize
    if where.stride < block or where.stride * where.frames > at - HEADER:
        raise FormatError(
            f"DataFormat: {where.frames} frames of {where.rows} x {where.columns} pixels in "
            f"{at - HEADER} bytes"
        )
    rows = np.frombuffer(raw, np.uint8, where.stride * where.frames, HEADER)
    rows = rows.reshape(where.frames, where.stride)
    pixels = rows[:, :block].copy().view(where.pixel)
    pixels = pixels.reshape(where.frames, where.rows, where.columns)
    wavelengths, stated = _lightfield.calibration(root, where.columns)
    shift, source = shifts(wavelengths, laser_nm=laser_nm, stated=stated, what="Wavelength")
    times = _lightfield.times(root)
    facts, elapsed = _lightfield_clock(times, rows[:, block:].copy(), where.frames)
    told = _lightfield.facts(root)
    return frames(
        shift,
        _track(pixels, track),
        what="Wavelength",
        units="count",
        facts={
            **facts,
            "instrument": "Princeton Instruments LightField",
            "laser_wavelength_nm": laser_nm or stated,
            "axis_source": source,
            "exposure_source": times.frame_source,
        },
        metadata=told,
        elapsed=elapsed,
        exposure=times.exposure,
    )


def _lightfield_clock(
    times: _lightfield.Times, behind: npt.NDArray[np.uint8], count: int
) -> tuple[dict[str, object], Array | None]:
    """Return clock and doubts, and the seconds of the frames from its start."""
    events = [event for event, _ in times.tracks]
    zero, zone = _lightfield.stamp(times.zero or "")
    wide = behind.shape[1] // _lightfield.TRACKED
    if zero and "ExposureStarted" in events[:wide]:
        at = events.index("ExposureStarted")
        bytes_of = behind[:, at * _lightfield.TRACKED : (at + 1) * _lightfield.TRACKED]
        ticks = bytes_of.copy().view("<i8")[:, 0].astype(np.float64)
        started = clock(start=zero, zone=zone, marks="start", source="column")
        return {"clock": started}, ticks / times.tracks[at][1]
    if times.start is None:
        return {"clock": NO_TIME}, None
    started = clock(start=times.start, zone=times.zone, marks="start", source="header")
    if count > 1 and times.period is None:
        return _undated(times.start, count), None
    return {"clock": started}, (times.period or 0.0) * np.arange(count, dtype=np.float64)


def _undated(start: str, count: int) -> dict[str, object]:
    doubt = (
        f"{count} frames, the first taken at {start} local time; when the others were taken is "
        "not stated: declare first and period_s"
    )
    return {"clock": NO_TIME, "doubts": doubt}


def _winspec_frames(raw: bytes, *, laser_nm: float | None, track: int | None) -> xr.Dataset:
    kind, regions = struct.unpack_from("<h", raw, 108)[0], struct.unpack_from("<h", raw, 1510)[0]
    columns, rows = (struct.unpack_from("<H", raw, at)[0] for at in (42, 656))
    (count,) = struct.unpack_from("<i", raw, 1446)
    if kind not in PIXELS:
        raise FormatError(f"datatype: {kind}; expected one of {list(PIXELS)}")
    if regions > 1:
        raise FormatError(f"header: {regions} regions of the detector; save them one by one")
    each = rows * columns * np.dtype(PIXELS[kind]).itemsize
    if columns < 2 or rows < 1 or count < 1 or each > len(raw) - HEADER:
        raise FormatError(
            f"header: {count} frames of {rows} x {columns} pixels in {len(raw) - HEADER} bytes"
        )
    fitting = min(count, (len(raw) - HEADER) // each)
    pixels = np.frombuffer(raw, PIXELS[kind], fitting * rows * columns, HEADER)
    wavelengths = _winspec_wavelengths(raw, columns)
    stated = _winspec_laser(raw)
    shift, source = shifts(wavelengths, laser_nm=laser_nm, stated=stated, what="xcalibration")
    (exposure,), (accumulated,) = (
        struct.unpack_from("<f", raw, 10),
        struct.unpack_from("<i", raw, 668),
    )
    live = float(exposure) * max(accumulated, 1)
    start, zone = _winspec_start(raw)
    facts: dict[str, object] = {"clock": NO_TIME}
    if start is not None and count > 1:
        facts = _undated(start, count)
    elif start is not None:
        facts["clock"] = clock(start=start, zone=zone, marks="start", source="header")
    return frames(
        shift,
        _track(pixels.reshape(fitting, rows, columns), track),
        what="xcalibration",
        units="count",
        facts={
            **facts,
            "instrument": "Princeton Instruments WinSpec",
            "laser_wavelength_nm": laser_nm or stated,
            "axis_source": source,
            "exposure_source": f"{exposure:g} s x {max(accumulated, 1)} accumulations",
            "truncated": f"{fitting} of {count} frames; cut short" if fitting < count else None,
        },
        metadata=_winspec_metadata(raw),
        exposure=live,
    )


def _winspec_wavelengths(raw: bytes, columns: int) -> Array:
    valid, unit, order = raw[3098], raw[3100], raw[3101]
    if not valid or not 1 <= order <= 5:
        raise FormatError(f"xcalibration: valid {valid}, order {order}; calibrate the spectrometer")
    if unit != NANOMETRE:
        raise FormatError(
            f"xcalibration: a polynomial in {UNITS.get(unit, f'unit {unit}')}; expected one in nm, "
            "calibrate the spectrometer in nm"
        )
    coefficients = struct.unpack_from("<6d", raw, 3263)[: order + 1]
    first, _, binned = struct.unpack_from("<3H", raw, 1512)
    binned = max(binned, 1)
    # A binned column is as far right as the middle of the pixels in it.
    pixels = max(first, 1) + binned * np.arange(columns) + (binned - 1) / 2
    found: Array = np.polynomial.polynomial.polyval(pixels, coefficients)
    if not ((found > VISIBLE[0]) & (found < VISIBLE[1])).all():
        raise FormatError(
            f"xcalibration: {found.min():g} to {found.max():g} nm; expected wavelengths of light"
        )
    return found


def _winspec_laser(raw: bytes) -> float | None:
    """Return the laser in nm, of what is stored as 1/cm or nm; None where it is neither."""
    (laser,) = struct.unpack_from("<d", raw, 3311)
    for nanometres in (laser, 1e7 / laser if laser else 0.0):
        if LASERS[0] <= nanometres <= LASERS[1]:
            return float(nanometres)
    return None


def _winspec_start(raw: bytes) -> tuple[str | None, str | None]:
    """Return when the measurement began, and the zone that its UTC tells; None where neither."""
    day = DATE.fullmatch(_text(raw[20:30]))
    local, utc = (CLOCK.fullmatch(_text(raw[at : at + 7])) for at in (172, 179))
    if day is None or local is None:
        return None, None
    stamp = local_iso(f"{day[1]}-{day[2]}-{day[3]} {':'.join(local.groups())}", what="date")
    if utc is None:
        return stamp, None
    seconds = _seconds(local) - _seconds(utc)
    # The two stand for one moment, of which only the hours are known: -11 to +12 h.
    seconds = (seconds + 11 * 3600) % 86_400 - 11 * 3600
    quarters = round(seconds / QUARTER_S)
    if abs(seconds - quarters * QUARTER_S) > 2 or quarters * QUARTER_S > 12 * 3600:
        return stamp, None
    hours, minutes = divmod(abs(timedelta(seconds=quarters * QUARTER_S)).seconds // 60, 60)
    return stamp, f"{'-' if quarters < 0 else '+'}{hours:02}:{minutes:02}"


def _seconds(match: re.Match[str]) -> int:
    return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])


def _winspec_metadata(raw: bytes) -> dict[str, object]:
    comments = [_text(raw[at : at + 80]) for at in range(200, 600, 80)]
    return {
        "version": round(struct.unpack_from("<f", raw, 1992)[0], 3),
        "exposure": struct.unpack_from("<f", raw, 10)[0],
        "date": _text(raw[20:30]),
        "local time": _text(raw[172:179]),
        "UTC": _text(raw[179:186]),
        "accumulations": struct.unpack_from("<i", raw, 668)[0],
        "detector temperature": struct.unpack_from("<f", raw, 36)[0],
        "background subtracted": struct.unpack_from("<h", raw, 150)[0],
        "comments": "\n".join(part for part in comments if part),
    }


def _track(pixels: npt.NDArray[np.generic], track: int | None) -> npt.NDArray[np.float64]:
    """Return the spectra of one row of the detector."""
    rows = pixels.shape[1]
    if rows == 1:
        return pixels[:, 0].astype(np.float64)
    if track is None or not 1 <= track <= rows:
        raise FormatError(
            f"{rows} rows of the detector, taken at once; pass track= (1 to {rows}) to read one"
        )
    return pixels[:, track - 1].astype(np.float64)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("latin-1").strip()


READER = Reader(
    technique="raman",
    suffixes=(".spe",),
    sniff=sniff,
    read=read,
    description="Princeton Instruments LightField and WinSpec (.spe)",
)
