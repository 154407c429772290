"""HORIBA LabSpec spectra exported as XML: one spectrum, a time series, a line or a map.

File structure: ``<LSX_Data>`` holds ``<LSX_Tree>`` (what is known) and ``<LSX_Matrix>`` (a
``<LSX_Row>`` of numbers a spectrum). In the tree every ``<LSX>`` has an ID instead of a name: the
axes are below 7B697861, numbered 0x0 (intensity), 0x1 (shift), 0x2 and 0x3 (what the spectra were
taken along), each with kind 6D707974, unit 7C696E75 and values 7D6CD4DB. A setting is a group with
its name in 6D6D616E and its value in 7D6C61DB, in words those of the text export. The first of two
axes changes from row to row, the second after each line. The layout is that of a published file of
one spectrum; of series and maps no real file was at hand.

What the settings mean, above all what ``Acquired`` marks, is told in `_labspec`.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._labspec import Along, Marks, Order, dataset
from operando_readers._reader import File, FormatError, Reader
from operando_readers._xml import document, numbers

Array = npt.NDArray[np.float64]

AXES, KIND, UNIT, VALUES = "0x7B697861", "0x6D707974", "0x7C696E75", "0x7D6CD4DB"
NAME, VALUE = "0x6D6D616E", "0x7D6C61DB"
PRECISE = {"Laser (nm)": "0x8736F70"}
"""Settings whose value is a label ("633 "), with the ID of the number (632.817)."""


def sniff(head: bytes, name: str) -> bool:
    """Whether it is XML with the root of LabSpec."""
    start = head[:400].lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<") and b"<LSX_Data" in start


def read(
    file: File, *, acquired: Marks | None = None, date_order: Order | None = None
) -> xr.Dataset:
    """Read all spectra of one file.

    Parameters
    ----------
    acquired
        Whether the stamp of the file marks the start or the end of the measurement.
    date_order
        Whether a date such as 01/05/16 has the day or the month first.

    Returns
    -------
    `intensity` (time, raman_shift in 1/cm), with `exposure`; `x`, `y`, `z` in micrometre and
    `position` of lines and maps, whose times are spread evenly over the full time.

    Raises
    ------
    FormatError
        Not such a file or cut short, an axis that is not a Raman shift, rows of another number of
        points or places, or a date that can be read two ways.
    """
    root = document(file.read_bytes(), what="LabSpec")
    tree, matrix = root.find("LSX_Tree"), root.find("LSX_Matrix")
    if root.tag != "LSX_Data" or tree is None or matrix is None:
        raise FormatError(f"<{root.tag}>: expected <LSX_Data> with <LSX_Tree> and <LSX_Matrix>")
    axes = _axes(tree)
    header = _settings(tree)
    for number, axis in enumerate(axes):
        header[f"AxisType[{number}]"], header[f"AxisUnit[{number}]"] = axis.kind, axis.unit
    if len(axes) < 2 or axes[1].kind != "Spectr":
        raise FormatError(f"axes: {[axis.kind for axis in axes]}; expected Intens and Spectr first")
    shift = axes[1].values
    spectra = _rows(matrix, shift.size)
    return dataset(
        header,
        shift,
        spectra,
        _along([axis for axis in axes[2:] if axis.values.size > 1], len(spectra)),
        acquired=acquired,
        order=date_order,
        truncated=None,
    )


def _child(element: Element, identity: str) -> Element | None:
    return next((child for child in element if child.get("ID") == identity), None)


def _text(element: Element, identity: str) -> str:
    child = _child(element, identity)
    return "" if child is None else (child.text or "").strip()


def _axes(tree: Element) -> list[Along]:
    """Return all axes in their order; that of the intensity has no values."""
    group = next((item for item in tree.iter("LSX") if item.get("ID") == AXES), None)
    found = []
    for axis in () if group is None else group:
        values = _child(axis, VALUES)
        listed = np.empty(0) if values is None else numbers(values.text, what=_text(axis, KIND))
        found.append(Along(_text(axis, KIND), _text(axis, UNIT), listed))
    return found


def _settings(tree: Element) -> dict[str, str]:
    """Return the settings; a name that occurs twice keeps both values."""
    found: dict[str, str] = {}
    for group in tree.iter("LSX"):
        name = _text(group, NAME)
        if not name:
            continue
        value = _text(group, PRECISE.get(name, VALUE)) or _text(group, VALUE)
        found[name] = f"{found[name]} | {value}" if name in found else value
    return found


def _rows(matrix: Element, points: int) -> Array:
    """Return the spectra in the order of their index."""
    found: list[tuple[int, Array]] = []
    for number, row in enumerate(matrix.findall("LSX_Row")):
        index = row.get("Index", "")
        spectrum = numbers(row.text, what=f"row {number}")
        if spectrum.size != points:
            raise FormatError(f"row {number}: {spectrum.size} numbers; expected {points}")
        found.append((int(index) if index.isdecimal() and len(index) < 10 else number, spectrum))
    if not found:
        raise FormatError("LSX_Matrix: no LSX_Row; no spectrum")
    found.sort(key=lambda item: item[0])
    return np.array([spectrum for _, spectrum in found])


def _along(axes: list[Along], count: int) -> list[Along]:
    """Give every spectrum its coordinates: the first axis changes from row to row."""
    sizes = [axis.values.size for axis in axes]
    if int(np.prod(sizes, dtype=np.int64)) != count:
        raise FormatError(f"LSX_Matrix: {count} spectra; expected {sizes} along the axes")
    found, repeat = [], 1
    for axis in axes:
        values = np.resize(np.repeat(axis.values, repeat), count)
        found.append(Along(axis.kind, axis.unit, values))
        repeat *= axis.values.size
    return found


READER = Reader(
    technique="raman",
    suffixes=(".xml",),
    sniff=sniff,
    read=read,
    description="HORIBA LabSpec XML: one spectrum, time series, lines and maps",
)
