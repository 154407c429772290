"""Raman spectra in the .spc format of Galactic and Thermo (GRAMS), which many programs export.

File structure: the layout is told in `_spc`. Read are both byte orders of the new format
and the old one, one spectrum or several on one axis, Y as float32 or as scaled integers.

Axis: a Raman shift (kind 13, or a label that says Raman), or nm (kind 3) with the laser given. A
wavenumber (kind 1) may be a shift or an absolute one, and most such files are infrared: it needs
the option `axis`. Y that are absorbance, transmission or the like are refused with it too.

Without X values the axis is even by definition, and programs whose axis is not even interpolate
when they export: a .spc of WiRE is the measured spectrum, linearly interpolated from N uneven onto
N even points (two real files, to 2e-4 of every value). A sharp line loses height by it: 87313
counts in the .wdf are 82331 in the .spc. The i-Raman of B&W Tek writes every whole 1/cm.

Times: the header has one date to the minute, without zone, and does not say what it marks. WiRE 5
writes the year 1359; the .spc of one i-Raman spectrum of 21 s is dated 10 minutes after its .txt:
the moment of export. Therefore a date is not taken until the option `dated` says what it marks of
the measurement; attrs `doubts` tell it, and why it is not taken. Several subfiles are a series
where their Z is a time.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers import _spc
from operando_readers._raman import NO_TIME, Stamp, frames, laser_of, shifts
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]
Axis = Literal["raman_shift", "wavelength", "wavenumber"]

X_KINDS = {
    **{0: "arbitrary", 1: "wavenumber (1/cm)", 2: "micrometre", 3: "nm", 4: "s", 5: "min"},
    **{9: "mass", 13: "Raman shift (1/cm)", 14: "eV", 16: "diode", 17: "channel"},
    22: "data points",
}
WAVENUMBER, MICROMETRE, NANOMETRE, RAMAN_SHIFT = 1, 2, 3, 13
Y_NOT_RAMAN = {
    **{1: "interferogram", 2: "absorbance", 3: "Kubelka-Munk", 10: "log(1/R)"},
    **{128: "transmission", 129: "reflectance"},
}
COUNTS = 4
Z_SECONDS = {
    **{4: 1.0, 5: 60.0, 11: 86_400.0, 23: 1e-3, 24: 1e-6, 25: 1e-9, 30: 3600.0},
}
YEARS = (1990, 2100)
MINUTE_S = 30.0
WIRE_STATIC = re.compile(r"^Scan_type=Static\s*$", re.MULTILINE)
WIRE_EXPOSURE = re.compile(r"^Exposure_time=Time: (\d{1,9})(s?)\s*$", re.MULTILINE)
WIRE_FRAMES = re.compile(r"^Accumulations=Accumulations: (\d{1,9})\s*$", re.MULTILINE)
WIRE_LASER = re.compile(r"^Laser=Laser: (\d+(?:\.\d+)?) nm", re.MULTILINE)


def sniff(head: bytes, name: str) -> bool:
    """Whether it is called .spc and has a version of Galactic; other .spc formats have not."""
    versions = (_spc.NEW_LOW, _spc.NEW_HIGH, _spc.OLD)
    return name.lower().endswith(".spc") and len(head) > 255 and head[1] in versions


@np.errstate(all="ignore")  # damaged numbers become infinite or an error that says where
def read(
    file: File,
    *,
    axis: Axis | None = None,
    laser_nm: float | None = None,
    dated: Stamp | None = None,
) -> xr.Dataset:
    """Read all spectra of one file.

    Parameters
    ----------
    axis
        What X is, where the file does not say that it is a Raman spectrum: shifts in 1/cm,
        wavelengths in nm or absolute wavenumbers in 1/cm.
    laser_nm
        Wavelength of the laser in nm; needed for wavelengths and absolute wavenumbers.
    dated
        Whether the date of the header marks the start or the end of the measurement; without it
        the date may be that of the export, and the spectra have no time.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm) in counts, or in "1" where the file says something
    else; `elapsed` for several subfiles whose Z is a time. attrs["axis_source"] says where the
    axis comes from.

    Raises
    ------
    FormatError
        Another version, a file cut inside its only spectrum, an axis or an intensity that is not
        Raman, or subfiles with axes of their own.
    """
    raw = file.read_bytes()
    header = _spc.header_of(raw)
    found = _spc.contents(raw, header)
    shift, source = _axis(found.shift, header, axis=axis, laser_nm=laser_nm)
    # Pairs of X and Y may come in any order.
    pairs = bool(header.flags & _spc.HAS_X) and bool(np.isfinite(shift).all())
    order = np.argsort(shift, kind="stable") if pairs else np.arange(shift.size)
    if not header.flags & _spc.HAS_X and "[WiRE" in found.log:
        source += "; WiRE interpolated it onto even steps, the .wdf has the measured points"
    start, doubt = _date(header, dated=dated)
    elapsed, z_doubt = _elapsed(found.z, header)
    facts: dict[str, object] = {
        "clock": NO_TIME if start is None or dated is None or z_doubt else _clock(start, dated),
        "axis_source": source,
        "instrument": header.source,
        "laser_wavelength_nm": laser_nm or _wire_laser(found.log),
        "doubts": "; ".join(part for part in (doubt, z_doubt) if part),
        "truncated": found.truncated,
    }
    return frames(
        shift[order],
        found.spectra[:, order],
        what="X",
        units="count" if header.y_kind == COUNTS else "1",
        facts=facts,
        metadata=_metadata(header, found.log),
        elapsed=elapsed,
        exposure=_wire_exposure(found.log),
    )


def _axis(
    x: Array, header: _spc.Header, *, axis: Axis | None, laser_nm: float | None
) -> tuple[Array, str]:
    """Return Raman shifts and where they come from."""
    kind = X_KINDS.get(header.x_kind, f"kind {header.x_kind}")
    if axis is None and header.y_kind in Y_NOT_RAMAN:
        raise FormatError(
            f"fytype: {Y_NOT_RAMAN[header.y_kind]}; not a Raman spectrum. Pass axis= if it is one"
        )
    label = header.labels[0] if header.labels else ""
    if axis == "raman_shift":
        return x, f"{kind} in the file, a Raman shift by option"
    if axis is None and (header.x_kind == RAMAN_SHIFT or "raman" in label.lower()):
        return x, "Raman shift in the file"
    if axis == "wavelength" or (axis is None and header.x_kind in (NANOMETRE, MICROMETRE)):
        scale = 1e3 if header.x_kind == MICROMETRE else 1.0
        return shifts(x * scale, laser_nm=laser_nm, what="X")
    if axis == "wavenumber":
        laser = laser_of(laser_nm, what="X")
        return 1e7 / laser - x, f"absolute wavenumber, laser at {laser:.3f} nm (option)"
    raise FormatError(
        f"fxtype: {kind}{f', {label!r}' if label else ''}; not said to be a Raman shift. Pass "
        "axis='raman_shift', or 'wavelength' or 'wavenumber' with laser_nm, if it is Raman"
    )


def _date(header: _spc.Header, *, dated: Stamp | None) -> tuple[str | None, str | None]:
    """Return the date in ISO form and why it is not taken; neither where there is none."""
    year, month, day, hour, minute = header.stamp
    if not any(header.stamp):
        return None, None
    text = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}"
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None, f"fdate: {text!r} is no date; not taken"
    if not YEARS[0] <= year <= YEARS[1]:
        return None, f"fdate: {text!r}; expected a year from {YEARS[0]} to {YEARS[1]}; not taken"
    if dated is None:
        return None, (
            f"fdate: {text!r} may be the moment of export; not taken, pass dated='start' or 'end' "
            "if it is that of the measurement"
        )
    return text, None


def _clock(start: str, marks: Stamp) -> dict[str, str | float | None]:
    return clock(start=start, zone=None, marks=marks, source="header", sigma_s=MINUTE_S)


def _elapsed(z: Array, header: _spc.Header) -> tuple[Array | None, str | None]:
    """Return the seconds since the first subfile; None and why where Z is not a time."""
    if z.size == 1:
        return np.zeros(1), None
    seconds = Z_SECONDS.get(header.z_kind)
    if seconds is None or not np.isfinite(z).all():
        kind = X_KINDS.get(header.z_kind, f"kind {header.z_kind}")
        return None, f"fztype: {z.size} subfiles along {kind}, no times; declare first and period_s"
    return (z - z[0]) * seconds, None


def _wire_laser(log: str) -> float | None:
    match = WIRE_LASER.search(log)
    return float(match[1]) if match else None


def _wire_exposure(log: str) -> float | None:
    """Return exposure times accumulations that WiRE logs; in ms where it has no unit."""
    each, count = WIRE_EXPOSURE.search(log), WIRE_FRAMES.search(log)
    if not (each and count and WIRE_STATIC.search(log)):
        # A grating that moves takes longer than its exposure.
        return None
    return int(each[1]) * (1.0 if each[2] else 1e-3) * int(count[1])


def _metadata(header: _spc.Header, log: str) -> dict[str, object]:
    found: dict[str, object] = {
        "version": f"0x{header.version:02X}",
        "fxtype": header.x_kind,
        "fytype": header.y_kind,
        "fztype": header.z_kind,
        "fexper": header.technique,
        "fdate": "{:04}-{:02}-{:02} {:02}:{:02}".format(*header.stamp),
        "source": header.source,
        "comment": header.comment,
    }
    for line in log.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(f"log > {key.strip()}", value.strip())
    found["log"] = log
    return found


READER = Reader(
    technique="raman",
    suffixes=(".spc",),
    sniff=sniff,
    read=read,
    description="Galactic and Thermo GRAMS spectra (.spc), old and new format",
)
