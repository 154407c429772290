"""Andor Solis and iDus/Newton/iXon cameras (.sif): one spectrum, accumulations, kinetic series.

File structure: ``Andor Technology Multi-Channel File``, then lines of words, the third of which is
the version, with binary gaps, then float32. The third line has, behind version and three flags:
unix seconds of the experiment, temperature, exposure, cycle, accumulate cycle, accumulations and
the cycle of the series. Read are versions 65567 (five real files) and, as far as their layout is
published, 65548 to 65566. The calibration is a cubic: nm of pixel 1, 2, 3 ...

Axis: nm through the calibration, then the shift from the laser. The file always states a laser,
but it is that of the measurement only where Solis showed a Raman shift; elsewhere it is left from
another setting (422 nm in a file that was measured at 532 nm), and the option is needed.

Times: spectrum i began at ExperimentTime + i x cycle of the series (stamps of single frames are 0
in every real file). They are seconds since 1970; whether of UTC or of the camera's own zone no
file tells: the zone has to be declared, "UTC" where it is known to be that, which
attrs["clock_caution"] repeats. Spectra of several tracks of the detector were taken at once: the
option `track` chooses one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._raman import NO_TIME, frames, shifts
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]

MAGIC = b"Andor Technology Multi-Channel File\n"
NEWEST = 65567
SKIPPED = {
    **dict.fromkeys(range(65548, 65558), 2),
    **{65558: 5, 65559: 9, 65564: 9, 65565: 15, 65566: 18, NEWEST: 18},
}
"""Lines between the shutter times and the calibration, by version."""
LONGEST_WORD = 80
LONGEST_TEXT = 1 << 20
LARGEST_PIXEL = 1 << 40
CAUTION = (
    "seconds since 1970, of UTC or of the camera's zone; compare with a clock, then declare "
    "tz='UTC' or that zone"
)
RAMAN = "Raman shift"
PIXELS = (0.0, 1.0, 0.0, 0.0)
"""The calibration of a spectrometer that has none."""
EARLIEST, LATEST = 631_152_000, 4_102_444_800
"""1990 and 2100 in unix seconds."""


class Cursor:
    """Reads words, lines and bytes in turn, and never beyond the end."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if not 0 <= count <= len(self.raw) - self.at:
            raise FormatError(f"byte {self.at}: {count} bytes expected; cut short or damaged")
        found = self.raw[self.at : self.at + count]
        self.at += count
        return found

    def line(self) -> str:
        """Return the text up to the next line end."""
        end = self.raw.find(b"\n", self.at)
        if end < 0:
            raise FormatError(f"byte {self.at}: no line end; cut short")
        return self.take(end - self.at + 1).decode("latin-1").strip()

    def word(self) -> str:
        """Return the text up to the next blank or line end; empty words are skipped."""
        while self.at < len(self.raw) and self.raw[self.at] in b" \n":
            self.at += 1
        end = self.at
        while end < len(self.raw) and self.raw[end] not in b" \n":
            end += 1
            if end - self.at > LONGEST_WORD:
                raise FormatError(f"byte {self.at}: no word; damaged")
        found = self.take(min(end + 1, len(self.raw)) - self.at)
        return found.decode("latin-1").strip()

    def number(self, *, what: str) -> float:
        """Return a word as a number."""
        at, text = self.at, self.word()
        try:
            return float(text)
        except ValueError as error:
            raise FormatError(f"byte {at}: {what}: {text[:40]!r}; expected a number") from error

    def whole(self, *, what: str) -> int:
        """Return a word as a whole number."""
        found = self.number(what=what)
        if not abs(found) < 2**62 or found != int(found):
            raise FormatError(f"byte {self.at}: {what}: {found}; expected a whole number")
        return int(found)

    def text(self) -> str:
        """Return a text that follows its own length and a line end."""
        length = self.whole(what="length of a text")
        return self.take(length if length <= LONGEST_TEXT else -1).decode("latin-1").strip()


@dataclass(frozen=True, kw_only=True)
class Header:
    """What stands before the numbers."""

    version: int
    time: int
    exposure: float
    accumulations: int
    cycle: float
    """Seconds from a spectrum of a series to the next."""
    detector: str
    original: str
    user_text: str
    coefficients: tuple[float, ...] | None
    laser: str
    axis: str
    unit: str
    frames: int
    areas: tuple[tuple[int, ...], ...]
    """Of each track: left, top, right, bottom, binning in y and x."""


def sniff(head: bytes, name: str) -> bool:
    """Whether it begins as files of Andor Solis do."""
    return head.startswith(MAGIC)


@np.errstate(all="ignore")  # damaged numbers become infinite or an error that says where
def read(file: File, *, laser_nm: float | None = None, track: int | None = None) -> xr.Dataset:
    """Read the spectra of one file.

    Parameters
    ----------
    laser_nm
        Wavelength of the laser in nm; needed unless Solis showed a Raman shift.
    track
        Which row of the detector to read, from 1, where there are several.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm) in counts, summed over the accumulations, with
    `elapsed` and `exposure`.

    Raises
    ------
    FormatError
        A version whose layout is not known, no calibration, no laser, an image, several tracks
        without `track`, or a file cut inside its first spectrum.
    """
    cursor = Cursor(file.read_bytes())
    header = _header(cursor)
    rows, width = _shape(header)
    spectra, truncated = _spectra(cursor, header, rows=rows, width=width)
    spectra = spectra[:, _row(rows, track) if rows > 1 else 0]
    wavelengths = _wavelengths(header, width)
    stated = _stated_laser(header)
    shift, source = _shifts(wavelengths, header, laser_nm=laser_nm, stated=stated)
    live = header.exposure * header.accumulations
    elapsed: Array = header.cycle * np.arange(len(spectra), dtype=np.float64)
    times = _clock(header, elapsed)
    return frames(
        shift,
        spectra,
        what="calibration",
        units="count" if header.unit.startswith("Counts") else "1",
        facts={
            "clock": times,
            "clock_caution": CAUTION if times["start"] else None,
            "instrument": f"Andor {header.detector}",
            "laser_wavelength_nm": laser_nm or stated,
            "axis_source": source,
            "exposure_source": f"{header.exposure:g} s x {header.accumulations} accumulations",
            "truncated": truncated,
        },
        metadata=_metadata(header),
        elapsed=elapsed if np.isfinite(elapsed).all() else None,
        exposure=live,
    )


def _header(cursor: Cursor) -> Header:
    if cursor.take(min(len(MAGIC), len(cursor.raw))) != MAGIC:
        raise FormatError(f"first bytes: {cursor.raw[:16]!r}; expected {MAGIC[:16]!r}")
    cursor.line()
    version = cursor.whole(what="version")
    if version not in SKIPPED:
        raise FormatError(f"version {version}; known are {min(SKIPPED)} to {NEWEST}")
    time, exposure, accumulations, cycle = _times(cursor)
    detector = cursor.line()
    cursor.line()
    # The line of the detector's size ends in the length of the file name below it.
    cursor.at = cursor.raw.rindex(b" ", 0, cursor.at)
    original = cursor.text()
    cursor.line()
    cursor.word()
    user_text = cursor.text()
    cursor.take(1)
    cursor.line()
    for _ in range(SKIPPED[version]):
        cursor.line()
    calibration = cursor.line().split(" ")[0]
    lines = [cursor.line() for _ in range(4 if calibration == "65540" else 3)]
    for _ in range(3):
        cursor.line()
    axis, unit, _ = cursor.text(), cursor.text(), cursor.text()
    cursor.word()
    for _ in range(4):
        cursor.word()
    count, tracks = cursor.whole(what="frames"), cursor.whole(what="tracks")
    cursor.word()
    cursor.word()
    if not (1 <= count <= len(cursor.raw) and 1 <= tracks <= len(cursor.raw)):
        raise FormatError(f"{count} frames of {tracks} tracks in {len(cursor.raw)} bytes")
    areas = tuple(_area(cursor) for _ in range(tracks))
    _skip_stamps(cursor, count, version=version)
    return Header(
        version=version,
        time=time,
        exposure=exposure,
        accumulations=accumulations,
        cycle=cycle,
        detector=detector,
        original=original,
        # Without a comment this is 2048 bytes of whatever the memory held.
        user_text=user_text if user_text.isprintable() else "",
        coefficients=_coefficients(lines[0]),
        laser=lines[-1],
        axis=axis,
        unit=unit,
        frames=count,
        areas=areas,
    )


def _times(cursor: Cursor) -> tuple[int, float, int, float]:
    """Return time of the experiment, exposure, accumulations and cycle of the series."""
    for _ in range(3):
        cursor.word()
    time = cursor.whole(what="ExperimentTime")
    cursor.number(what="temperature")
    cursor.take(10)
    cursor.word()
    exposure = cursor.number(what="exposure")
    cursor.number(what="cycle")
    cursor.number(what="accumulate cycle")
    accumulations = cursor.whole(what="accumulations")
    cursor.take(2)
    cycle = cursor.number(what="cycle of the series")
    cursor.line()
    return time, exposure, accumulations, cycle


def _area(cursor: Cursor) -> tuple[int, ...]:
    cursor.word()
    words = cursor.line().split()
    told = [word[:LONGEST_WORD] for word in words[:6]]
    try:
        area = tuple(int(word) for word in words[:6])
        left, top, right, bottom, y_bin, x_bin = area
    except ValueError as error:
        raise FormatError(f"byte {cursor.at}: track {told}; expected 6 numbers") from error
    inside = all(abs(number) <= LARGEST_PIXEL for number in area)
    if not (inside and left <= right and bottom <= top and y_bin > 0 and x_bin > 0):
        raise FormatError(f"byte {cursor.at}: track {told}; no part of a detector")
    return area


def _skip_stamps(cursor: Cursor, count: int, *, version: int) -> None:
    """Skip the stamp of each frame, all 0 in real files, and what else precedes the numbers."""
    for _ in range(count):
        cursor.whole(what="stamp of a frame")
    flag = cursor.raw[cursor.at : cursor.at + 2]
    if flag in (b"0\n", b"1\n"):
        cursor.take(2)
        if flag == b"1\n" and version == NEWEST:
            for _ in range(count):
                cursor.line()


def _shape(header: Header) -> tuple[int, int]:
    """Return rows and points of a frame."""
    shapes = {
        ((1 + top - bottom) // y_bin, (1 + right - left) // x_bin)
        for left, top, right, bottom, y_bin, x_bin in header.areas
    }
    if len(shapes) > 1:
        raise FormatError(f"tracks of {sorted(shapes)} rows and points; expected one size")
    height, width = shapes.pop()
    if height < 1 or width < 2:
        raise FormatError(f"frames of {height} x {width} pixels; no spectrum")
    return height * len(header.areas), width


def _spectra(
    cursor: Cursor, header: Header, *, rows: int, width: int
) -> tuple[npt.NDArray[np.float32], str | None]:
    """Return the frames (frame, row, point) that the file holds in full."""
    fitting = (len(cursor.raw) - cursor.at) // (4 * rows * width)
    if fitting < 1:
        raise FormatError(
            f"byte {cursor.at}: {len(cursor.raw) - cursor.at} bytes; expected frames of {rows} x "
            f"{width} float32"
        )
    count = min(fitting, header.frames)
    found = np.frombuffer(cursor.raw, "<f4", count * rows * width, cursor.at)
    cut = f"{count} of {header.frames} frames; cut short" if count < header.frames else None
    return found.reshape(count, rows, width).copy(), cut


def _row(rows: int, track: int | None) -> int:
    if track is None or not 1 <= track <= rows:
        raise FormatError(
            f"{rows} rows of the detector, taken at once; pass track= (1 to {rows}) to read one"
        )
    return track - 1


def _coefficients(line: str) -> tuple[float, ...] | None:
    try:
        found = tuple(float(word) for word in line.split())
    except ValueError:
        return None
    return found if 2 <= len(found) <= 4 else None


def _wavelengths(header: Header, width: int) -> Array:
    coefficients = header.coefficients
    if header.user_text.startswith("Calibration data for"):
        raise FormatError("user text: a calibration for each frame; frames on one axis are read")
    if coefficients is None or (*coefficients, 0.0, 0.0)[:4] == PIXELS:
        raise FormatError(
            "calibration: pixels only, no wavelength; calibrate the spectrometer, or export from "
            "Solis with the axis set and read it as delimited"
        )
    pixels = np.arange(1.0, width + 1.0)
    wavelengths: Array = np.polynomial.polynomial.polyval(pixels, coefficients)
    return wavelengths


def _stated_laser(header: Header) -> float | None:
    """Return the laser of the file where Solis used it."""
    if header.axis != RAMAN:
        return None
    try:
        return float(header.laser)
    except ValueError:
        return None


def _shifts(
    wavelengths: Array, header: Header, *, laser_nm: float | None, stated: float | None
) -> tuple[Array, str]:
    if laser_nm is None and stated is None:
        raise FormatError(
            f"axis: {header.axis!r} in nm; the laser line in the file ({header.laser[:20]!r}) was "
            "not used for it. Pass laser_nm= if it is a Raman spectrum"
        )
    return shifts(wavelengths, laser_nm=laser_nm, stated=stated, what="calibration")


def _clock(header: Header, elapsed: Array) -> dict[str, str | float | None]:
    if not EARLIEST < header.time < LATEST or not np.isfinite(elapsed).all():
        return NO_TIME
    start = str(np.datetime64(header.time, "s"))
    return clock(start=start, zone=None, marks="start", source="header")


def _metadata(header: Header) -> dict[str, object]:
    return {
        "version": header.version,
        "ExperimentTime": header.time,
        "exposure": header.exposure,
        "accumulations": header.accumulations,
        "cycle of the series": header.cycle,
        "detector": header.detector,
        "original file": header.original,
        "user text": header.user_text,
        "calibration": "" if header.coefficients is None else str(list(header.coefficients)),
        "laser line": header.laser,
        "frame axis": header.axis,
        "data type": header.unit,
        "tracks": str([list(area) for area in header.areas]),
    }


READER = Reader(
    technique="raman",
    suffixes=(".sif",),
    sniff=sniff,
    read=read,
    description="Andor Solis (.sif): spectra, accumulations, kinetic series",
)
