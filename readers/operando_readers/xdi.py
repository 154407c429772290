"""XAS Data Interchange (XDI 1.0 and 1.1): one scan as text, what the columns are in its header.

File structure: ``# XDI/1.0 ...``, fields ``# Family.key: value``, ``# ///``, free comments,
``# ---``, an optional line of labels, then rows of numbers. Columns are found by the names that
``Column.N`` gives, in any case and any order:

* ``energy`` in eV or keV, else ``angle`` in degrees or radians with ``Mono.d_spacing`` in angstrom:
  E = hc / (2 d sin angle). An energy without a unit is taken for eV where it cannot be keV;
* counters ``i0``; ``itrans``, ``it`` or ``i1``; ``irefer``, ``iref``, ``ir`` or ``i2``; ``ifluor``,
  ``if`` or ``iff``. Several detectors add up to one ``fluorescence``: ``DTC1``, ``DTC2`` ... (dead
  time corrected; NSLS-II BMM), or ``Mn_Ka_mca1`` ... of the element of the scan, each times its
  ``DTFactor_mca1`` where there is one (APS 13-ID, Epics StepScan);
* absorption as the file has it: ``mutrans``, ``mu`` or ``xmu``; ``mufluor``; ``murefer``;
  ``normtrans``, ``normfluor`` and ``normrefer`` (normalised) where there is nothing rawer.

A counter of I1 or the reference that no beam reached (median not above 0, or not above 1/1000 of an
I0 in the same unit) is left out, and attrs ``left_out`` says so: absorption made of it is noise.
Other columns are not read; their names are in ``original_metadata``.

``Scan.start_time`` and ``Scan.end_time`` are ISO 8601, local without a zone unless they carry an
offset. Repeats of a scan may all carry the start of the first: that is the file's word.

Doubts: what is wrong in the header but leaves the measurement readable (a date or an element that
does not exist, columns without a name) is not believed, told in attrs ``doubts`` and by one
`FormatWarning`. A number that is NaN, which XDI forbids, stays NaN and is told in the same way.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._absorption import energy_of_angle, spectrum
from operando_readers._edges import check_ev, edge_of, symbol_of
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._reader import File, FormatError, FormatWarning, Reader, clock
from operando_readers._stamps import Moments, moments
from operando_readers._text import text_of
from operando_readers._xdi import VERSION, Column, Header, header_of

Array = npt.NDArray[np.float64]
Named = dict[str, tuple[Column, Array]]

ROLES = {
    "i0": ("i0",),
    "i1": ("itrans", "it", "i1"),
    "iref": ("irefer", "iref", "ir", "i2"),
    "fluorescence": ("ifluor", "if", "iff"),
    "mu": ("mutrans", "mu", "xmu"),
    "mu_fluorescence": ("mufluor",),
    "mu_reference": ("murefer",),
}
"""Our variables by the names of columns, the one of the XDI dictionary first."""
NORMALISED = {
    "mu": ("normtrans", {"i0", "i1"}),
    "mu_fluorescence": ("normfluor", {"i0", "fluorescence"}),
    "mu_reference": ("normrefer", {"i1", "iref"}),
}
"""Our variables by columns that were normalised, and the counters that make them unneeded."""
FACTS = {
    "element": ("Element.symbol", "ScanParameters.element"),
    "edge": ("Element.edge", "ScanParameters.edge"),
    "reference_element": ("Element.reference",),
    "reference_edge": ("Element.ref_edge",),
}
"""Attributes by the fields that tell them."""
ELECTRONVOLT = {"ev": 1.0, "kev": 1000.0}
DEGREE = {
    **{"degrees": 1.0, "degree": 1.0, "deg": 1.0},
    **{"radians": 180 / np.pi, "radian": 180 / np.pi, "rad": 180 / np.pi},
}
SPACING = re.compile(r"(\d+(?:\.\d*)?)\s*(?:Å|A|angstroms?)?", re.IGNORECASE)
ISO = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}[T ]+\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?\s*(?:Z|[+-]\d\d:?\d\d)?"
)
CORRECTED = re.compile(r"DTC\d+")
REGION = re.compile(r"([A-Z][a-z]?)_([KLM][ab]\d?)_mca(\d+)")
LEAST_LIGHT = 1e-3


def read(
    file: File,
    *,
    i0: str | None = None,
    i1: str | None = None,
    iref: str | None = None,
    fluorescence: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Read one scan.

    Parameters
    ----------
    i0, i1, iref, fluorescence
        Columns, by their names; several for fluorescence are added, each corrected for its dead
        time as above. None takes the usual ones; "" leaves the counter out. A column that is named
        is used whatever it reads: name them in a series, where a scan that lost its beam is then
        NaN instead of being in fluorescence.

    Returns
    -------
    `mu`, and as far as the columns are there `mu_fluorescence`, `mu_reference`, `i0`, `i1`, `iref`,
    `fluorescence`, all (time 1, energy in eV). Every one that is a column says in attrs `column`
    which; one that was normalised says `normalised` = 1.

    Raises
    ------
    FormatError
        Not XDI 1, a line of the header that is no field, no energy or nothing to make absorption
        of, or a row that is not as many numbers as the others; names line or field.

    Warns
    -----
    FormatWarning
        Something in the file is not believed; see above.
    """
    text = file.read_text()
    lines = text.split("\n")
    header = header_of(lines)
    table, truncated = rows(
        lines[header.first_row :], first=header.first_row + 1, mid_line=ends_mid_line(text)
    )
    named = _named(header, table)
    asked = {"i0": i0, "i1": i1, "iref": iref, "fluorescence": fluorescence}
    found = _channels(header, named, asked)
    dataset = spectrum(
        _energy(header, named),
        {role: values for role, (_, values) in found.items()},
        **_when(header),
        **_facts(header),
        instrument=_instrument(header),
        metadata={**header.fields, "comments": "\n".join(header.comments), "extra": header.extra},
        truncated=truncated,
    )
    for role, (column, _) in found.items():
        _tell(dataset, role, column)
    if header.doubts:
        dataset.attrs["doubts"] = "; ".join(header.doubts)
        warnings.warn(f"{file.name}: {dataset.attrs['doubts']}", FormatWarning, stacklevel=2)
    return dataset


def _named(header: Header, table: Array) -> Named:
    """Return the columns by name in lower case; of several with one name the first."""
    named: Named = {}
    for column, values in zip(header.columns(table.shape[1]), table.T, strict=True):
        if column is None:
            continue
        if (lost := np.flatnonzero(~np.isfinite(values))).size:
            told = f"{column}: {lost.size} of {values.size} values are no number, the first in row"
            header.doubts.append(f"{told} {lost[0] + 1}")
        if column.name.lower() in named:
            header.doubts.append(f"{column}: comes twice; the first is read")
        else:
            named[column.name.lower()] = (column, values)
    return named


def _energy(header: Header, named: Named) -> Array:
    """Return the energies in eV."""
    if "energy" in named:
        column, values = named["energy"]
        if column.unit:
            return values * _factor(column, ELECTRONVOLT)
        check_ev(values, what=str(column))
        header.doubts.append(f"{column}: no unit; eV, as it cannot be keV")
        return values
    if "angle" in named:
        column, values = named["angle"]
        angle = values * _factor(column, DEGREE)
        if not np.all((angle > 0) & (angle < 90)):
            raise FormatError(f"{column}: not all between 0 and 90 degree")
        return energy_of_angle(angle, _spacing(header, column))
    others = [item for item in named.values() if item[0].unit.lower() in ELECTRONVOLT]
    if len(others) != 1:
        names = [column.name for column, _ in named.values()]
        raise FormatError(f"Column.1 ...: {names}; none is 'energy' or 'angle'")
    column, values = others[0]
    header.doubts.append(f"{column}: in {column.unit}, so it is taken for 'energy'")
    return values * _factor(column, ELECTRONVOLT)


def _factor(column: Column, units: dict[str, float]) -> float:
    if column.unit.lower() not in units:
        raise FormatError(f"{column}: unit {column.unit!r}; expected one of {list(units)}")
    return units[column.unit.lower()]


def _spacing(header: Header, column: Column) -> float:
    text = header.plain("Mono.d_spacing", "Mono.dspacing")
    match = SPACING.fullmatch(text)
    if match is None or not float(match[1]) > 0:
        found = f"is {text!r}" if text else "is missing"
        raise FormatError(f"{column}: Mono.d_spacing {found}; expected a length in angstrom")
    return float(match[1])


def _channels(
    header: Header, named: Named, asked: Mapping[str, str | Sequence[str] | None]
) -> dict[str, tuple[str, Array]]:
    """Return our variables, each with the columns it is made of."""
    found: dict[str, tuple[Column, Array]] = {}
    for role, names in ROLES.items():
        for name in names:
            if name in named and asked.get(role) is None:
                found.setdefault(role, named[name])
    _leave_out_dark(header, found)
    channels = {role: (column.name, values) for role, (column, values) in found.items()}
    for role, wish in asked.items():
        if wish:
            channels[role] = _added(named, [wish] if isinstance(wish, str) else wish, role=role)
    usual = asked["fluorescence"] is None and "fluorescence" not in channels
    if usual and (detectors := _detectors(header, named)):
        channels["fluorescence"] = _added(named, detectors, role="fluorescence")
    for role, (name, counters) in NORMALISED.items():
        if name in named and role not in channels and not counters <= set(channels):
            channels[role] = (named[name][0].name, named[name][1])
    return channels


def _leave_out_dark(header: Header, found: dict[str, tuple[Column, Array]]) -> None:
    """Remove ion chambers that no beam reached."""
    for role in ("i1", "iref"):
        if role not in found:
            continue
        column, values = found[role]
        monitor, i0 = found.get("i0", (column, values))
        alike = column.unit == monitor.unit != ""
        if not _median(values) > (LEAST_LIGHT * _median(i0) if alike else 0.0):
            del found[role]
            reads = f"reads {_median(values):g} at the median, no beam"
            header.left_out.append(f"{role} = {column.name}: {reads}")


def _median(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0


def _detectors(header: Header, named: Named) -> list[str]:
    """Return the columns of the detectors of the line that was scanned."""
    names = [column.name for column, _ in named.values()]
    if corrected := [name for name in names if CORRECTED.fullmatch(name)]:
        return corrected
    element = header.get("Element.symbol", "ScanParameters.element")
    edge = header.get("Element.edge", "ScanParameters.edge")
    regions = [match for name in names if (match := REGION.fullmatch(name))]
    line = f"{edge[:1]}a"
    return [match[0] for match in regions if match[1] == element and match[2].startswith(line)]


def _added(named: Named, names: Sequence[str], *, role: str) -> tuple[str, Array]:
    """Return columns added, each times its factor of dead time where the file has one."""
    columns, parts = [], []
    for name in names:
        if name.lower() not in named:
            known = [column.name for column, _ in named.values()]
            raise FormatError(f"{role}=: {name!r} is no column; there are {known}")
        column, values = named[name.lower()]
        match = REGION.fullmatch(column.name)
        dead = named.get(f"dtfactor_mca{match[3]}") if match else None
        columns.append(column.name if dead is None else f"{column.name} x {dead[0].name}")
        parts.append(values if dead is None else values * dead[1])
    return " + ".join(columns), np.sum(parts, axis=0)


def _tell(dataset: xr.Dataset, role: str, column: str) -> None:
    """Say of a variable which column it is; a scan in fluorescence has its own under mu."""
    name = role if role in dataset else "mu"
    dataset[name].attrs["column"] = column
    if column.lower() in {normalised for normalised, _ in NORMALISED.values()}:
        dataset[name].attrs["normalised"] = 1


def _facts(header: Header) -> dict[str, Any]:
    """Return element and edge of sample and reference; what does not exist is a doubt."""
    found = {"left_out": "; ".join(header.left_out) or None}
    for name, keys in FACTS.items():
        text = header.get(*keys)
        symbol = name.endswith("element")
        found[name] = symbol_of(text) if symbol else edge_of(text)
        if text and found[name] is None:
            header.doubt(keys[0], f"{text!r} is no {'element' if symbol else 'edge'}; ignored")
    spacing = header.plain("Mono.d_spacing")
    if spacing and not SPACING.fullmatch(spacing):
        header.doubt("Mono.d_spacing", f"{spacing!r} is no length in angstrom")
    return found


def _when(header: Header) -> dict[str, Any]:
    """Return clock and exposure; a stamp that is no date is a doubt, and then there is no time."""
    start, end = _stamp(header, "Scan.start_time"), _stamp(header, "Scan.end_time")
    if start is None:
        return {"clock": _clock(end, "end")}
    exposure = None
    if end is not None:
        span = (end.values[0] - start.values[0]).astype("m8[ns]")
        if start.zone == end.zone and span > np.timedelta64(0, "ns"):
            exposure = float(span.astype(np.int64)) / 1e9
        else:
            header.doubt("Scan.end_time", "not after Scan.start_time; ignored")
    return {"clock": _clock(start, "start"), "exposure": exposure}


def _clock(stamp: Moments | None, marks: Literal["start", "end"]) -> dict[str, Any]:
    if stamp is None:
        return clock(start=None, zone=None, marks="start", source="none")
    sigma = stamp.resolution_s / 2 or None
    return clock(start=stamp.iso(0), zone=stamp.zone, marks=marks, source="header", sigma_s=sigma)


def _stamp(header: Header, key: str) -> Moments | None:
    text = header.get(key)
    if not text:
        return None
    if ISO.fullmatch(text):
        with contextlib.suppress(FormatError):
            return moments([text], what=key)
    header.doubt(key, f"{text!r} is no date and time YYYY-MM-DD hh:mm:ss; ignored")
    return None


def _instrument(header: Header) -> str:
    names = [header.get(f"{family}.name") for family in ("Facility", "Beamline")]
    return " ".join(name for name in names if name) or header.extra or "XDI"


def sniff(head: bytes, name: str) -> bool:
    """Whether the first line is that of XDI 1."""
    return VERSION.match(text_of(head[:400])) is not None


READER = Reader(
    technique="xas",
    suffixes=(".xdi", ".dat", ".txt"),
    sniff=sniff,
    read=read,
    description="XAS Data Interchange (XDI 1), one scan as text",
)
