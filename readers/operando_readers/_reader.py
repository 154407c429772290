"""The whole interface between a file format and operando.

A reader turns one `File` into one dataset, as the file has it:

* dimension `time` first, one entry per exposure or log row, in the order of the file;
* the axis and the variables named and in the units of DESIGN.md §4, every number with `units`;
  axes ascending, decimal marks and unit prefixes resolved by what the file says;
* coordinates on `time`, where the file knows them: `elapsed` (s, float64, counted from
  `attrs["clock"]["start"]`), `exposure` (s, the live time of a frame), `position` (string);
  `wall_clock` (s, from the same moment as `elapsed`: the row's own stamps, where a file has a
  counter too); any other number of a frame, such as the stage's `x` (micrometre) or `cell_voltage`
  (V, the beamline's own reading of the cell);
* `attrs["technique"]`, `attrs["clock"]` (see `clock`), `attrs["original_metadata"]` (a dict of
  plain strings and numbers: the vendor header, kept whole) and what else the file states
  (`instrument`, `element`, `edge`, `wavelength_angstrom`, `laser_wavelength_nm` ...).

It never converts a time zone, never guesses one, never reads another measurement.
What it cannot read raises `FormatError` with the place; whatever else escapes is a bug.
"""

from __future__ import annotations

import contextlib
import fnmatch
import posixpath
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import xarray as xr

from operando_readers._text import text_of

STATES: dict[str, int] = {
    "unknown": -1,
    "rest": 0,
    "charge": 1,
    "discharge": 2,
    "hold_charge": 3,
    "hold_discharge": 4,
    "sweep_up": 5,
    "sweep_down": 6,
}
"""States of a cell, for `state_instrument`; charge is oxidation at the working electrode."""

DIGITS = tuple("0123456789")
LARGEST_MEMBER = 4 << 30
LARGEST_RATIO = 200
"""A zip member that claims to unpack further than this is refused before it is read."""
ALWAYS_SMALL = 1 << 20
"""Up to this a member may unpack by any ratio."""


class FormatError(Exception):
    """The file is not what the reader reads, or stops being so at the place named."""


class FormatWarning(UserWarning):
    """The file holds more than the reader understands; what it does understand is read."""


def check_unpacking(info: zipfile.ZipInfo, *, largest: int, what: str) -> None:
    """Refuse a member of a zip that unpacks to more than `largest` bytes, or too far.

    Raises
    ------
    FormatError
        It does; says by how much.
    """
    size, packed = info.file_size, max(info.compress_size, 1)
    if size > largest or (size > ALWAYS_SMALL and size / packed > LARGEST_RATIO):
        raise FormatError(f"{what}: unpacks from {packed} to {size} bytes; refused")


@dataclass(frozen=True, order=True)
class File:
    """A file on disk, a folder that is one measurement, or a member of a zip, read in place."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @property
    def name(self) -> str:
        """The last component of the file's own path."""
        return self.path.name if self.member is None else posixpath.basename(self.member)

    @property
    def suffix(self) -> str:
        """The suffix in lower case, with its dot."""
        return Path(self.name).suffix.lower()

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return Path(self.name).stem

    def size(self) -> int:
        """Bytes after unpacking."""
        if self.member is None:
            return self.path.stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).file_size

    def exists(self) -> bool:
        """Whether there is such a file."""
        if self.member is None:
            return self.path.exists()
        with zipfile.ZipFile(self.path) as archive:
            return self.member in archive.namelist()

    def beside(self, name: str) -> File:
        """Return the file called `name` in the same folder, whether it exists or not."""
        if self.member is None:
            return File(self.path.with_name(name))
        return File(self.path, posixpath.join(posixpath.dirname(self.member), name))

    def read_bytes(self, limit: int | None = None) -> bytes:
        """Return the first `limit` bytes, or all of them."""
        size = -1 if limit is None else limit
        if self.member is None:
            with self.path.open("rb") as stream:
                return stream.read(size)
        try:
            return self._unpack(self.member, size)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, KeyError) as error:
            raise FormatError(f"{self}: the zip is damaged here ({error})") from error

    def _unpack(self, member: str, size: int) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            info = archive.getinfo(member)
            check_unpacking(info, largest=LARGEST_MEMBER, what=str(self))
            with archive.open(info) as stream:
                return stream.read(size)

    def read_text(self) -> str:
        """Return the file as text, with newlines as line ends; see `_text.text_of`."""
        return text_of(self.read_bytes())

    @contextlib.contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Give a real path for libraries that need one; a zip member is copied for the moment."""
        if self.member is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="operando-") as folder:
            copy = Path(folder) / f"member{self.suffix}"
            copy.write_bytes(self.read_bytes())
            yield copy


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What a format is called, which files it claims, and how one of them is read."""

    technique: str
    suffixes: tuple[str, ...]
    """Lower case, with the dot; a file with another suffix is still read when it is asked for."""
    sniff: Callable[[bytes, str], bool]
    """(first 64 KiB, file name) -> whether this is such a file. Never raises."""
    read: Callable[..., xr.Dataset]
    """read(file: File, **options) -> dataset; options are keyword-only and typed."""
    description: str
    """One line for the table of formats."""
    sidecars: tuple[str, ...] = ()
    """Suffixes of files of the same stem that `read` looks into: they count as input."""
    collect: Callable[[list[File]], list[File]] | None = None
    """Merge files that are one measurement (slices of a volume) into their folder."""


def clock(
    *,
    start: str | None,
    zone: str | None,
    marks: Literal["start", "mid", "end", "instant"],
    source: Literal["header", "column", "sidecar", "none"],
    sigma_s: float | None = None,
) -> dict[str, str | float | None]:
    """Describe where the times of a file come from.

    Parameters
    ----------
    start
        The moment `elapsed` counts from, ISO 8601 with all the digits the file has and without
        offset ("2022-07-26T22:38:30.190"); None when the file has no time.
    zone
        "UTC", an offset such as "+02:00", or None when the file does not say.
    marks
        What a stamp (start + elapsed) marks of its exposure; "instant" for log rows.
    source
        Where in the file the start was found.
    sigma_s
        Uncertainty of the stamps in seconds, where the file itself bounds it (minute stamps: 30).
    """
    return {"start": start, "zone": zone, "marks": marks, "source": source, "sigma_s": sigma_s}


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts scan 2 before scan 10.

    >>> sorted(["a_10", "a_2"], key=natural_key)
    ['a_2', 'a_10']
    """
    parts = re.split(r"([0-9]{1,18})", text)
    return [(0, int(part), "") if part[:1] in DIGITS else (1, 0, part) for part in parts]


def members(archive: Path, pattern: str = "*") -> list[File]:
    """List the real files of a zip in natural order, without resource forks and hidden files.

    Raises
    ------
    FormatError
        The zip is damaged, or a member is encrypted.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            infos = zipped.infolist()
    except zipfile.BadZipFile as error:
        raise FormatError(f"{archive}: not a readable zip ({error})") from error
    found = []
    for info in infos:
        parts = info.filename.split("/")
        if info.is_dir() or "__MACOSX" in parts or any(part.startswith(".") for part in parts):
            continue
        if info.flag_bits & 1:
            raise FormatError(f"{archive}!{info.filename}: encrypted; unpack it first")
        if fnmatch.fnmatch(info.filename, pattern):
            found.append(File(archive, info.filename))
    return sorted(found, key=lambda file: natural_key(str(file.member)))
