"""Renishaw WiRE measurements (.wdf): one spectrum, a time series, a line, a map, a depth scan.

File structure, little-endian: blocks, each a name of 4 letters, a number (uint32) and its length
with this head of 16 bytes (uint64). ``WDF1`` is 512 bytes long: at 60 points a spectrum, 64 spectra
planned, 72 spectra taken, 80 accumulations, 88 points of the axis, 120 version, 128 how the light
was scanned, 132 what was measured, 136 and 144 start and end, 152 unit of the counts, 156 laser
(1/cm, float32), 208 user, 240 title. ``DATA`` holds a spectrum after the other in float32, ``XLST``
type, unit and axis. ``ORGN`` holds one list a quantity: type (bit 31: it was scanned), unit, label
of 16 bytes, then 8 bytes for each planned spectrum. ``WXDM`` (what was asked for), ``WXDA`` (how it
went) and ``WXIS`` (the instrument) are property sets.

Times: ``ORGN`` stamps every spectrum with a FILETIME (100 ns since 1601) when its exposure *ended*.
It is UTC: WiRE put the moment of one dark measurement into a .wdf as 11:50:20.853 and, in local
time two hours ahead, as 13:50:20 into the .spc of the same spectrum. The exposure is ``Exposure
Time`` (ms) times the accumulations of ``WDF1``, which count the two extra frames of the cosmic-ray
removal. StreamLine maps expose a line at a time and read it out spectrum by spectrum: there the
median step of the stamps stands for the exposure, and ``Exposure Time`` for the uncertainty of the
clock. An extended scan lasts longer than its exposure, by how much is not said: none is given.
Spectra that were planned and never taken are left out.

Maps are not reshaped: a spectrum keeps its own stage coordinates, whichever way the stage went.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._raman import labels
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._wire_settings import EARLIEST, LATEST, Setting, moment, settings, text

Array = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Stamps = npt.NDArray[np.int64]

BLOCK = struct.Struct("<4sIQ")
HEADER_BYTES = 512
MAPPED_BYTES = 64 << 20
"""Files from this size are mapped. Smaller ones are read, as every map keeps a file open."""

MEASUREMENTS = {1: "single", 2: "series", 3: "mapping"}
EXTENDED, STREAMLINE = 2, 6
SCANS = {1: "static", EXTENDED: "extended", 3: "step and repeat", STREAMLINE: "StreamLine"}
TRACKS = 0xFF
"""The bits of the scan above these say how several tracks of the detector are stored."""
COUNTS = 6
FREQUENCY, TIME = 1, 11
RAMAN_SHIFT, NANOMETRE, FILETIME = 1, 3, 24
STAGE = {3: "x", 4: "y", 5: "z"}
MICROMETRES = {5: 1.0, 8: 1e3, 9: 1e6}
"""Micron, millimetre, metre."""
SCANNED = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Header:
    """What WDF1 says."""

    points: int
    planned: int
    taken: int
    accumulations: int
    version: str
    scan: int
    measurement: int
    start: int
    end: int
    unit: int
    laser_wavenumber: float
    user: str
    title: str

    @property
    def laser_wavelength_nm(self) -> float | None:
        """Wavelength of the laser as WiRE counts it; None where it is not stated."""
        stated = np.isfinite(self.laser_wavenumber) and self.laser_wavenumber > 0
        return 1e7 / self.laser_wavenumber if stated else None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One list of ORGN: a quantity that was recorded with every spectrum that was taken."""

    kind: int
    unit: int
    scanned: bool
    raw: Bytes


def sniff(head: bytes, name: str) -> bool:
    """Whether the file starts with the header block of WiRE."""
    return len(head) >= BLOCK.size and BLOCK.unpack_from(head)[::2] == (b"WDF1", HEADER_BYTES)


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(file: File) -> xr.Dataset:
    """Read all spectra that were taken, in the order of the file; large files stay on disk.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm) in float32 as stored, with `elapsed`, `exposure`, the
    stage coordinates `x`, `y`, `z` in micrometre, and `position` ("x=80.03 y=-162.48") where the
    stage was scanned. Wavelengths become shifts from the laser, 1e7/laser - 1e7/wavelength.
    attrs["axis_source"] and attrs["exposure_source"] say what was done. A file without stamps has
    a clock without a start.

    Raises
    ------
    FormatError
        Not such a file, a block that is missing or smaller than the header says, an axis in
        another unit, an image, or a stamp that is no time.
    """
    blocks, truncated = _blocks(_content(file))
    header = _header(blocks["WDF1"].tobytes())
    stated = _stated(blocks)
    origins = _origins(blocks["ORGN"], header) if "ORGN" in blocks else []
    stamps = _stamps(origins)
    count = header.taken if stamps is None else stamps.size
    shift, axis_source = _axis(_block(blocks, "XLST"), header)
    spectra = _spectra(_block(blocks, "DATA"), header)[:count]
    if shift[0] > shift[-1]:
        shift, spectra = shift[::-1], spectra[:, ::-1]
    if not np.all(np.diff(shift) > 0):
        raise FormatError("XLST: the axis does not ascend or descend throughout")
    exposure, exposure_source, sigma = _exposure(header, stated, stamps)
    unit = "count" if header.unit == COUNTS else "1"
    dataset = xr.Dataset(
        {"intensity": (("time", "raman_shift"), spectra, {"units": unit})},
        {"raman_shift": ("raman_shift", shift, {"units": "1/cm"})},
        {
            "technique": "raman",
            "clock": _clock(stamps, sigma),
            **_facts(header, stated, count),
            "axis_source": axis_source,
            "exposure_source": exposure_source,
            "original_metadata": _metadata(header, blocks) | stated,
        },
    )
    if truncated:
        dataset.attrs["truncated"] = truncated
    if stamps is not None:
        elapsed = (stamps - stamps[0]) / 1e7
        dataset = dataset.assign_coords(elapsed=("time", elapsed, {"units": "s"}))
    if exposure is not None:
        live = np.full(count, exposure)
        dataset = dataset.assign_coords(exposure=("time", live, {"units": "s"}))
    return dataset.assign_coords(_places(origins, stated, count))


def _content(file: File) -> Bytes:
    if file.member is None and file.size() >= MAPPED_BYTES:
        return np.memmap(file.path, np.uint8, mode="r")
    return np.frombuffer(file.read_bytes(), np.uint8)


def _blocks(content: Bytes) -> tuple[dict[str, Bytes], str | None]:
    """Return the contents of the blocks, the first of each name, and where the file stops short."""
    head = content[: BLOCK.size].tobytes()
    if not sniff(head, ""):
        raise FormatError(f"first bytes: {head!r}; expected a block WDF1 of {HEADER_BYTES} bytes")
    found: dict[str, Bytes] = {}
    at = 0
    while at + BLOCK.size <= content.size:
        letters, _, length = BLOCK.unpack(content[at : at + BLOCK.size].tobytes())
        name = letters.decode("latin-1")
        if length < BLOCK.size:
            return found, f"byte {at}: block {name!r} of {length} bytes; damaged from here"
        end = at + length
        found.setdefault(name, content[at + BLOCK.size : min(end, content.size)])
        if end > content.size:
            return found, f"block {name!r} ends at byte {end} of {content.size}; cut short"
        at = end
    return found, None if at == content.size else f"{content.size - at} bytes after the last block"


def _block(blocks: dict[str, Bytes], name: str) -> Bytes:
    if name not in blocks:
        raise FormatError(f"no block {name!r} among {list(blocks)}; cut short?")
    return blocks[name]


def _header(raw: bytes) -> Header:
    if len(raw) < HEADER_BYTES - BLOCK.size:
        raise FormatError(f"WDF1: {len(raw) + BLOCK.size} bytes of {HEADER_BYTES}; cut short")
    points, planned, taken, accumulations, rows, width = struct.unpack_from("<IQQIII", raw, 44)
    scan, measurement, start, end, unit, laser = struct.unpack_from("<IIqqIf", raw, 112)
    if rows > 1 or points != width:
        raise FormatError(
            f"WDF1: {points} points a spectrum, {rows} x {width} of the axes; images are not read"
        )
    if not 0 < taken <= planned or points < 2:
        raise FormatError(
            f"WDF1: {taken} of {planned} spectra of {points} points; no spectrum was taken"
        )
    return Header(
        points=points,
        planned=planned,
        taken=taken,
        accumulations=accumulations,
        version=".".join(map(str, struct.unpack_from("<4H", raw, 104))),
        scan=scan & TRACKS,
        measurement=measurement,
        start=start,
        end=end,
        unit=unit,
        laser_wavenumber=laser,
        user=text(raw[192:224]),
        title=text(raw[224:384]),
    )


def _spectra(block: Bytes, header: Header) -> npt.NDArray[np.float32]:
    needed = 4 * header.taken * header.points
    if block.size < needed:
        raise FormatError(
            f"DATA: {block.size} bytes; expected {needed} for {header.taken} spectra of "
            f"{header.points} points"
        )
    found = block[:needed].view("<f4").reshape(header.taken, header.points)
    # A copy lets go of the white-light image and whatever else was read with it.
    return found if isinstance(block, np.memmap) else found.copy()


def _axis(block: Bytes, header: Header) -> tuple[Array, str]:
    """Return the Raman shift of every point in the order of the file, and where it comes from."""
    needed = 8 + 4 * header.points
    if block.size < needed:
        raise FormatError(f"XLST: {block.size} bytes; expected {needed}")
    kind, unit = block[:8].view("<u4").tolist()
    axis: Array = block[8:needed].view("<f4").astype(np.float64)
    if kind == FREQUENCY and unit == RAMAN_SHIFT:
        return axis, "Raman shift in the file"
    if kind != FREQUENCY or unit != NANOMETRE:
        raise FormatError(f"XLST: type {kind} in unit {unit}; expected a Raman shift or nm")
    laser = header.laser_wavelength_nm
    if laser is None or not np.all(axis > 0):
        raise FormatError(
            f"XLST: wavelengths from {axis.min():g} nm with a laser at "
            f"{header.laser_wavenumber:g} 1/cm; both must be positive to give Raman shifts"
        )
    return header.laser_wavenumber - 1e7 / axis, f"wavelength in nm, laser at {laser:.3f} nm"


def _origins(block: Bytes, header: Header) -> list[Origin]:
    lists = int.from_bytes(block[:4].tobytes(), "little")
    each = 24 + 8 * header.planned
    needed = 4 + lists * each
    if block.size < needed:
        raise FormatError(
            f"ORGN: {block.size} bytes; expected {needed} for {lists} lists of {header.planned}"
        )
    found = []
    for at in range(4, needed, each):
        kind, unit = block[at : at + 8].view("<u4").tolist()
        raw = block[at + 24 : at + 24 + 8 * header.taken]
        scanned = bool(kind & SCANNED)
        found.append(Origin(kind=kind & ~SCANNED, unit=unit, scanned=scanned, raw=raw))
    return found


def _stamps(origins: list[Origin]) -> Stamps | None:
    """Return the FILETIMEs up to the last spectrum that has one; None where none has."""
    lists = [item.raw for item in origins if (item.kind, item.unit) == (TIME, FILETIME)]
    if not lists or not lists[0].any():
        return None
    ticks: Stamps = lists[0].view("<i8").astype(np.int64)
    ticks = ticks[: np.flatnonzero(ticks)[-1] + 1]
    bad = np.flatnonzero((ticks <= EARLIEST) | (ticks >= LATEST))
    if bad.size:
        raise FormatError(
            f"ORGN: stamp {ticks[bad[0]]} of spectrum {bad[0] + 1}; expected one of 1990 to 2100"
        )
    return ticks


def _clock(stamps: Stamps | None, sigma_s: float | None) -> dict[str, str | float | None]:
    if stamps is None:
        return clock(start=None, zone=None, marks="end", source="none")
    start = moment(int(stamps[0]))
    return clock(start=start, zone="UTC", marks="end", source="column", sigma_s=sigma_s)


def _exposure(
    header: Header, stated: dict[str, Setting], stamps: Stamps | None
) -> tuple[float | None, str, float | None]:
    """Return the exposure of a spectrum (s), where it comes from, and what a stamp may be off."""
    every = [
        value
        for path, value in stated.items()
        if path.startswith("WXDM >") and path.endswith("> Exposure Time")
    ]
    milliseconds = every[0] if len(set(every)) == 1 else 0
    seconds = milliseconds / 1000 if isinstance(milliseconds, int) and milliseconds > 0 else None
    if header.scan == EXTENDED:
        return None, "unknown: an extended scan takes longer than its exposure", None
    if header.scan == STREAMLINE:
        steps = np.diff(stamps) / 1e7 if stamps is not None else np.empty(0)
        step = float(np.median(steps)) if steps.size else 0.0
        source = "median step of the stamps: StreamLine exposes a line at a time"
        return (step, source, seconds) if step > 0 else (None, "unknown: StreamLine", seconds)
    if seconds is None or header.accumulations == 0:
        return None, "unknown: the settings do not state one Exposure Time", None
    return seconds * header.accumulations, f"{seconds:g} s x {header.accumulations} frames", None


def _places(
    origins: list[Origin], stated: dict[str, Setting], count: int
) -> dict[str, tuple[str, npt.NDArray[np.generic], dict[str, str]]]:
    """Return where each spectrum was taken: by ORGN, else where the stage stood at the end."""
    found: dict[str, Array] = {}
    scanned: dict[str, Array] = {}
    for item in origins:
        if item.kind in STAGE and item.unit in MICROMETRES:
            name = STAGE[item.kind]
            found[name] = item.raw.view("<f8")[:count] * MICROMETRES[item.unit]
            if item.scanned:
                scanned[name] = found[name]
    for name in STAGE.values():
        place = stated.get(f"WXIS > Stage > {name.upper()}")
        if name not in found and isinstance(place, float):
            found[name] = np.full(count, place)
    coordinates: dict[str, tuple[str, npt.NDArray[np.generic], dict[str, str]]] = {
        name: ("time", place, {"units": "micrometre", "long_name": f"stage {name}"})
        for name, place in found.items()
    }
    if scanned:
        coordinates["position"] = ("time", labels(scanned), {})
    return coordinates


def _stated(blocks: dict[str, Bytes]) -> dict[str, Setting]:
    return {
        f"{name} > {path}": value
        for name in ("WXDM", "WXDA", "WXIS")
        if name in blocks
        for path, value in settings(blocks[name].tobytes()).items()
    }


def _facts(header: Header, stated: dict[str, Setting], count: int) -> dict[str, str | float]:
    kind = stated.get("WXIS > Instrument type", "")
    facts: dict[str, str | float] = {
        "instrument": f"Renishaw {kind}".strip(),
        "title": header.title,
    }
    if header.laser_wavelength_nm is not None:
        facts["laser_wavelength_nm"] = header.laser_wavelength_nm
    if objective := stated.get("WXIS > Microscope > Objective"):
        facts["objective"] = str(objective)
    if count < header.planned:
        facts["interrupted"] = f"{count} of {header.planned} spectra were taken"
    return facts


def _metadata(header: Header, blocks: dict[str, Bytes]) -> dict[str, Setting]:
    found: dict[str, Setting] = {
        "title": header.title,
        "user": header.user,
        "version": header.version,
        "measurement": MEASUREMENTS.get(header.measurement, f"type {header.measurement}"),
        "scan": SCANS.get(header.scan, f"type {header.scan}"),
        "start": moment(header.start),
        "end": moment(header.end),
        "accumulations": header.accumulations,
        "planned": header.planned,
        "taken": header.taken,
        "laser_wavenumber": header.laser_wavenumber,
    }
    if "TEXT" in blocks:
        found["comment"] = text(blocks["TEXT"].tobytes())
    if "WMAP" in blocks and blocks["WMAP"].size >= 44:
        found["map_flag"], *size = blocks["WMAP"][:44].view("<u4")[[0, 8, 9, 10]].tolist()
        found["map_size"] = " x ".join(map(str, size))
    return found


READER = Reader(
    technique="raman",
    suffixes=(".wdf",),
    sniff=sniff,
    read=read,
    description="Renishaw WiRE: spectra, time series, lines, maps and depth scans",
)
