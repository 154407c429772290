"""FT-Raman spectra of Bruker OPUS (.0, .1 ...): one spectrum a file.

File structure, little-endian: ``0A 0A FE FE``, a float64 version, where the directory is, how many
blocks it may have and has; an entry is three uint32: type, length in words of 4 bytes, offset. The
type holds bits: from 4 the kind of parameters, from 10 the kind of data (10 is Raman). Parameters
are three letters and a zero, uint16 kind (0 int32, 1 float64, else text), uint16 length in words
of 2 bytes, the value; ``END`` ends them. A spectrum is float32 times ``CSF``, ``NPT`` even steps
from ``FXV`` to ``LXV``: for Raman the shift in 1/cm, though OPUS calls the unit wavenumber (a real
file: FXV 4000.7 is the laser RLW 9394.9 less the low limit LFQ 5394.9).

Times: ``DAT`` and ``TIM`` are when the measurement began, in the zone that TIM names ("GMT+1");
whether OPUS counts summer time in it is not known, so compare it once with a clock, as
attrs["clock_caution"] says. ``SRT`` holds the same moment in seconds since 1970 of the local
clock, which settles whether 04/07/2023 is in July. ``DUR`` is the duration of the scans.

Only Raman is read: an absorbance, transmission or interferogram is refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._raman import NO_TIME, frames
from operando_readers._reader import File, FormatError, Reader, clock
from operando_readers._stamps import DateOrder, local_iso

Array = npt.NDArray[np.float64]
Parameter = int | float | str

MAGIC = b"\n\n\xfe\xfe"
DIRECTORY = struct.Struct("<III")
MOST_BLOCKS = 1000
MOST_PARAMETERS = 1000
RAMAN = 10
KINDS = {
    **{1: "single channel", 2: "interferogram", 3: "phase", 4: "absorbance", 5: "transmittance"},
    **{6: "Kubelka-Munk", 7: "trace", RAMAN: "Raman", 11: "emission", 12: "reflectance"},
}
CAUTION = "the zone is that of the file, which may leave out summer time; check it against a clock"
STATUS = 1
"""The parameters that belong to a block of data."""
ZONE = re.compile(r"\(GMT([+-]\d{1,2})(?::?(\d\d))?\)")


def sniff(head: bytes, name: str) -> bool:
    """Whether it begins as OPUS files do."""
    return head.startswith(MAGIC)


@np.errstate(all="ignore")  # damaged numbers become infinite or an error that says where
def read(file: File, *, date_order: DateOrder | None = None) -> xr.Dataset:
    """Read the Raman spectrum of one file.

    Parameters
    ----------
    date_order
        Whether a date such as 04/07/2023 has the day or the month first, where SRT is missing.

    Returns
    -------
    `intensity` (time 1, raman_shift in 1/cm) in "1" (OPUS gives it no unit), with `exposure`.

    Raises
    ------
    FormatError
        Not such a file, no Raman spectrum or several in it, or a file cut before its end.
    """
    raw = file.read_bytes()
    if not sniff(raw, file.name):
        raise FormatError(f"first bytes: {raw[:4]!r}; expected {MAGIC!r}")
    blocks = list(_blocks(raw))
    spectrum, status = _raman(blocks)
    shift, values = _spectrum(spectrum, status)
    everything = {
        f"{kind:#x} > {name}": value
        for kind, block in blocks
        if kind >> 4 & 63
        for name, value in _parameters(block).items()
    }
    stated = {path.rpartition(" > ")[2]: value for path, value in everything.items()}
    times = _clock(status, stated.get("SRT"), order=date_order)
    duration = stated.get("DUR")
    return frames(
        shift,
        values[None],
        what="FXV to LXV",
        units="1",
        facts={
            "clock": times,
            "clock_caution": CAUTION if times["zone"] else None,
            "instrument": f"Bruker {stated.get('INS', '')}".strip(),
            "title": str(stated.get("SNM", "")),
            "laser_wavelength_nm": _laser(stated.get("RLW")),
            "axis_source": "Raman shift in the file",
        },
        metadata=everything,
        exposure=duration if isinstance(duration, float) else None,
    )


def _blocks(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each block that lies in the file."""
    if len(raw) < 24:
        raise FormatError(f"header: {len(raw)} bytes of 24; cut short")
    at, _, count = struct.unpack_from("<III", raw, 12)
    if count > MOST_BLOCKS or at + DIRECTORY.size * count > len(raw):
        raise FormatError(f"directory: {count} blocks at byte {at} of {len(raw)}; cut short")
    # A thousand blocks may each be the whole file: what they hold in all is bounded by what it has.
    left = 2 * len(raw)
    for number in range(count):
        kind, words, start = DIRECTORY.unpack_from(raw, at + DIRECTORY.size * number)
        block = raw[start : start + 4 * words]
        left -= len(block)
        if left < 0:
            raise FormatError(f"directory: block {number + 1} and others overlap; damaged")
        yield kind, block


def _raman(blocks: list[tuple[int, bytes]]) -> tuple[bytes, dict[str, Parameter]]:
    """Return the one Raman spectrum and the parameters of its axis."""
    data = [(kind, block) for kind, block in blocks if kind >> 10 & 127 and not kind >> 4 & 63]
    found = [(kind, block) for kind, block in data if kind >> 10 & 127 == RAMAN]
    if not found:
        kinds = sorted({KINDS.get(kind >> 10 & 127, "other") for kind, _ in data if kind & 3})
        raise FormatError(f"blocks of {kinds}; no Raman spectrum")
    if len(found) > 1:
        raise FormatError(f"{len(found)} Raman spectra; extract them to files of their own")
    kind, block = found[0]
    wanted = kind | STATUS << 4
    status = [other for number, other in blocks if number == wanted]
    if not status:
        raise FormatError(f"no block {wanted:#x} with the axis of block {kind:#x}; cut short")
    return block, _parameters(status[0])


def _parameters(block: bytes) -> dict[str, Parameter]:
    """Return the parameters up to ``END`` or to where they make no sense."""
    found: dict[str, Parameter] = {}
    at = 0
    while at + 8 <= len(block) and len(found) < MOST_PARAMETERS:
        name = block[at : at + 3]
        kind, words = struct.unpack_from("<HH", block, at + 4)
        raw = block[at + 8 : at + 8 + 2 * words]
        if name == b"END" or not name.isalnum() or len(raw) < 2 * words:
            break
        if kind == 0 and len(raw) == 4:
            found[name.decode()] = struct.unpack("<i", raw)[0]
        elif kind == 1 and len(raw) == 8:
            found[name.decode()] = struct.unpack("<d", raw)[0]
        else:
            found[name.decode()] = raw.partition(b"\0")[0].decode("latin-1").strip()
        at += 8 + 2 * words
    return found


def _spectrum(block: bytes, status: dict[str, Parameter]) -> tuple[Array, Array]:
    points, first, last, scale = (status.get(name) for name in ("NPT", "FXV", "LXV", "CSF"))
    if not isinstance(points, int) or not isinstance(first, float) or not isinstance(last, float):
        raise FormatError(f"axis: NPT {points}, FXV {first}, LXV {last}; expected numbers")
    if status.get("DPF") != 1 or status.get("DXU") != "WN":
        raise FormatError(
            f"axis: DPF {status.get('DPF')} in {status.get('DXU')!r}; expected 1 (float32) in 'WN'"
        )
    if not 2 <= points <= len(block) // 4:
        raise FormatError(f"spectrum: {len(block)} bytes; expected {points} points of 4; cut short")
    values = np.frombuffer(block, "<f4", points).astype(np.float64)
    return np.linspace(first, last, points), values * (scale if isinstance(scale, float) else 1.0)


def _laser(wavenumber: Parameter | None) -> float | None:
    stated = isinstance(wavenumber, float) and 1e3 < wavenumber < 1e5
    return 1e7 / wavenumber if stated and isinstance(wavenumber, float) else None


def _clock(
    status: dict[str, Parameter], local_seconds: Parameter | None, *, order: DateOrder | None
) -> dict[str, str | float | None]:
    day, moment = str(status.get("DAT", "")), str(status.get("TIM", ""))
    if not day or not moment:
        return NO_TIME
    if isinstance(local_seconds, float) and 0 < local_seconds < 2**33 and order is None:
        order = _order(day, local_seconds)
    start = local_iso(f"{day} {moment.partition('(')[0].strip()}", what="DAT", date_order=order)
    zone = ZONE.search(moment)
    offset = f"{int(zone[1]):+03}:{zone[2] or '00'}" if zone and abs(int(zone[1])) <= 14 else None
    return clock(start=start, zone=offset, marks="start", source="header")


def _order(day: str, local_seconds: float) -> DateOrder | None:
    """Return which number of a date is the day, by the same moment in seconds since 1970."""
    known = str(np.datetime64(int(local_seconds), "s"))[:10].split("-")
    numbers = re.split(r"[-/.]", day)
    if len(numbers) != 3 or known[1] == known[2]:
        return None
    pairs: dict[DateOrder, list[str]] = {"dmy": [known[2], known[1]], "mdy": [known[1], known[2]]}
    return next((order for order, pair in pairs.items() if numbers[:2] == pair), None)


READER = Reader(
    technique="raman",
    suffixes=(".0",),
    sniff=sniff,
    read=read,
    description="Bruker OPUS: FT-Raman spectra",
)
