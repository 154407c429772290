"""WITec Project spectra exported as text: a graph with its header, or a table of spectra.

File structure, from documentation (no real file was at hand): a graph has the line
``//Exported ASCII-File`` or none, ``[Header]`` and ``key = value`` lines (``XAxisUnit``,
``DataUnit``, ``PositionX`` in micrometre), then ``[Data]``, two lines of labels and units or none,
and rows of x and one y a spectrum. A table has a line ``X-Axis`` with the names of the spectra and
a line of units in front of such rows. Fields are separated by tab, comma, semicolon or blanks.

``rel. 1/cm`` is a Raman shift; nm and absolute 1/cm become one with the laser given. There are no
times in these files: they have to be declared.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._numbers import ends_mid_line, is_number, rows
from operando_readers._raman import NO_TIME, frames, laser_of, places, shifts
from operando_readers._reader import File, FormatError, Reader

Array = npt.NDArray[np.float64]

EXPORTED = "//Exported ASCII-File"
UNIT = re.compile(r"^XAxisUnit\s*=", re.MULTILINE)
IMAGE = ("PointsPerLine", "LinesPerImage")
COUNTS = ("CCD cts", "cts", "counts")
LABELS = 3
"""Lines of names and units that may stand in front of the numbers."""


def sniff(head: bytes, name: str) -> bool:
    """Whether it has the header of an exported graph, or the labels of an exported table."""
    text = head[:4000].decode("latin-1").lstrip("\ufeff\xef\xbb\xbf")
    if text.startswith(EXPORTED) or (text.startswith("[Header]") and UNIT.search(text)):
        return True
    lines = text.split("\n", 2)
    return len(lines) > 1 and lines[0].startswith("X-Axis") and "1/cm" in lines[1]


def read(file: File, *, laser_nm: float | None = None) -> xr.Dataset:
    """Read all spectra of one file.

    Parameters
    ----------
    laser_nm
        Wavelength of the laser in nm; needed where the axis is no Raman shift.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm) in counts, or in "1" where the unit is another; `x`,
    `y`, `z` where the header has them, else the names of several spectra as `position`.

    Raises
    ------
    FormatError
        An image, a header whose numbers were exported to files of their own, an axis in another
        unit, or rows that are not numbers.
    """
    text = file.read_text()
    lines = text.splitlines()
    header, at = _header(lines)
    labels, at, separator = _labels(lines, at)
    body = [line.rstrip("\t ;,") for line in lines[at:]]
    table, truncated = rows(body, first=at + 1, mid_line=ends_mid_line(text), delimiter=separator)
    if table.shape[1] < 2:
        raise FormatError(f"line {at + 1}: one column; expected an axis and spectra")
    units = labels[1] if len(labels) > 1 else []
    unit = header.get("XAxisUnit") or (units[0] if units else "")
    x, source = _shifts(table[:, 0], unit, laser_nm=laser_nm)
    counted = header.get("DataUnit") or (units[1] if len(units) > 1 else "")
    dataset = frames(
        x,
        table[:, 1:].T,
        what="X-Axis",
        units="count" if counted in COUNTS else "1",
        facts={
            "clock": NO_TIME,
            "instrument": "WITec",
            "title": header.get("GraphName"),
            "laser_wavelength_nm": laser_nm,
            "axis_source": source,
            "truncated": truncated,
        },
        metadata=header | {f"label {n + 1}": "\t".join(row) for n, row in enumerate(labels)},
    )
    return dataset.assign_coords(_places(header, labels, dataset.sizes["time"]))


def _header(lines: list[str]) -> tuple[dict[str, str], int]:
    """Return the header, and the index of the first line below ``[Data]`` or of a table."""
    if lines and lines[0].startswith("X-Axis"):
        return {}, 0
    header: dict[str, str] = {}
    for at, line in enumerate(lines):
        if line.strip() == "[Data]":
            if any(key in header for key in IMAGE) and "XAxisUnit" not in header:
                raise FormatError(f"line {at + 1}: an image; export the spectra, not a map of them")
            return header, at + 1
        key, equals, value = line.partition("=")
        if equals:
            header[key.strip()] = value.strip()
    raise FormatError(
        f"line {len(lines)}: no [Data]; a graph exported as three files (Header, X-Axis, Y-Axis) "
        "is not read: export it as table"
    )


def _labels(lines: list[str], at: int) -> tuple[list[list[str]], int, str | None]:
    """Return the lines of labels, the index of the first row, and what separates its fields."""
    for first in range(at, min(at + LABELS + 1, len(lines))):
        for separator in ("\t", ";", ",", None):
            line = lines[first].strip()
            fields = [field.strip() for field in line.rstrip("\t ;,").split(separator)]
            if len(fields) > 1 and all(is_number(field) for field in fields):
                above = [line for line in lines[at:first] if line.strip()]
                return [_fields(line, separator) for line in above], first, separator
    raise FormatError(f"line {at + 1}: no row of an axis and spectra")


def _fields(line: str, separator: str | None) -> list[str]:
    # Units such as "rel. 1/cm" hold blanks.
    parts = re.split(r"\t|\s{2,}", line.strip()) if separator is None else line.split(separator)
    return [part.strip() for part in parts]


def _shifts(x: Array, unit: str, *, laser_nm: float | None) -> tuple[Array, str]:
    if unit.replace(" ", "") in ("rel.1/cm", "rel.cm-1"):
        return x, "Raman shift in the file"
    if unit == "nm":
        return shifts(x, laser_nm=laser_nm, what="X-Axis")
    if unit == "1/cm" and laser_nm is not None:
        laser = laser_of(laser_nm, what="X-Axis")
        return 1e7 / laser - x, f"absolute wavenumber, laser at {laser:.3f} nm (option)"
    raise FormatError(
        f"X-Axis: in {unit!r}; expected 'rel. 1/cm', or 'nm' or '1/cm' with laser_nm="
    )


def _places(
    header: dict[str, str], labels: list[list[str]], count: int
) -> dict[str, tuple[str, npt.NDArray[np.generic], dict[str, str]]]:
    stage = {}
    for axis in "XYZ":
        text = header.get(f"Position{axis}", "")
        if is_number(text) and np.isfinite(float(text)):
            stage[axis.lower()] = np.full(count, float(text))
    found: dict[str, tuple[str, npt.NDArray[np.generic], dict[str, str]]] = dict(places(**stage))
    names = labels[0][1:] if labels else []
    if count > 1 and len(names) == count and len(set(names)) > 1:
        found["position"] = ("time", np.array(names, dtype=str), {})
    return found


READER = Reader(
    technique="raman",
    suffixes=(".txt", ".dat", ".asc", ".csv"),
    sniff=sniff,
    read=read,
    description="WITec Project text: graphs and tables of spectra, without times",
)
