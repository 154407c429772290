"""Rigaku SmartLab Studio measurements (.rasx): a zip with one folder Data<n> a scan.

File structure: ``Data<n>/Profile<n>.txt`` has rows of position, intensity and attenuation factor
between tabs; ``Data<n>/MesurementConditions<n>.xml`` (so spelt) the tube, the axes with their
positions, and ``ScanInformation``: axis, unit of the intensity, start and end.

Times: ``StartTime`` and ``EndTime`` end in Z, but whether the program converts to UTC is not known:
check one file against a clock, and where they are local give `utc=False`, and the zone as for any
local time. ``DscStartTime`` is another program's, 0001-01-01 where it did not run, and is not used.

`intensity` is multiplied by the attenuation factor. Counts are what the file calls them; those that
are no whole numbers have been resampled by the program (attrs["intensity_source"]).
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._archive import Archive, holds
from operando_readers._numbers import ends_mid_line, rows
from operando_readers._patterns import Pattern, chosen, frames, over_two_theta
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._rigaku import ATTENUATED, UNITS, WAVES, attenuated
from operando_readers._scan_series import wanted
from operando_readers._scan_times import by_stamps
from operando_readers._text import text_of
from operando_readers._xml import document, flat, number, number_at, text_at

Array = npt.NDArray[np.float64]

PROFILE = r"(?:.*/)?Data\d+/Profile\d+\.txt"
CONDITIONS = r"(?:.*/)?Mea?surementConditions\d*\.xml"
UNSET = "0001-"
STAGE = ("X", "Y", "Z")
CAUTION = "the file says UTC; check it against a clock, utc=False takes the stamps for local time"


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(file: File, *, scans: str | None = None, utc: bool = True) -> xr.Dataset:
    """Read the scans over 2 theta of a file, one frame a scan.

    Parameters
    ----------
    scans
        Numbers of scans, from 1, such as "3-14,16": where a file holds scans of several axes.
    utc
        Whether the stamps are UTC, as the file says; False takes them for local times.

    Returns
    -------
    As `_patterns.frames`; on time also `temperature` and the stage's `x`, `y`, `z` where stated.

    Raises
    ------
    FormatError
        Not such a file, a damaged zip or one that unpacks too far, rows that are none, or as
        `frames`.
    """
    archive = Archive(file)
    names = archive.matching(PROFILE)
    if not names:
        raise FormatError(f"no Data*/Profile*.txt among {archive.names[:5]}; expected a .rasx")
    conditions = _conditions(archive)
    axes: list[str] = []
    patterns: list[Pattern] = []
    starts, ends = [], []
    facts: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for at, name in enumerate(names, 1):
        # One document at a time: as a tree it takes more memory than the numbers of its scan.
        root = _document(archive, name, conditions)
        axes.append(text_at(root, "ScanInformation/AxisName"))
        if not (over_two_theta(axes[-1]) and wanted(at, scans)):
            continue
        if not patterns:
            facts = _facts(root)
            metadata = flat(root, skip=("Axes", "RASHeader")) | _pairs(root)
        patterns.append(_pattern(at, name, archive.read(name), root))
        starts.append(_stamp(root, "StartTime", utc=utc))
        ends.append(_stamp(root, "EndTime", utc=utc))
    chosen(axes, scans)
    counted = {
        "scans_in_file": len(axes),
        "skipped_scans": len(axes) - len(patterns) if scans is None else 0,
    }
    dataset = frames(patterns, by_stamps(starts, ends), metadata=counted | metadata, **facts)
    if "attenuation_factor" in dataset:
        dataset.attrs["attenuation"] = ATTENUATED
    if utc and dataset.attrs["clock"]["start"] is not None:
        dataset.attrs["clock_caution"] = CAUTION
    return dataset


def _conditions(archive: Archive) -> dict[str, list[str]]:
    """Return the names of the conditions in each folder."""
    found: dict[str, list[str]] = {}
    for name in archive.matching(CONDITIONS):
        found.setdefault(name.rpartition("/")[0], []).append(name)
    return found


def _document(archive: Archive, profile: str, conditions: dict[str, list[str]]) -> Element:
    names = conditions.get(profile.rpartition("/")[0], [])
    if len(names) != 1:
        raise FormatError(f"{profile}: {len(names)} MesurementConditions beside it; expected one")
    return document(archive.read(names[0]), what=names[0])


def _facts(root: Element) -> dict[str, str]:
    return {
        "instrument": f"Rigaku {text_at(root, 'GeneralInformation/SystemName')}".strip(),
        "scan_axis": text_at(root, "ScanInformation/AxisName"),
        "scan_mode": text_at(root, "ScanInformation/Mode"),
        "sample": text_at(root, "GeneralInformation/SampleName"),
    }


def _pattern(at: int, name: str, raw: bytes, root: Element) -> Pattern:
    text = text_of(raw)
    try:
        table, truncated = rows(text.split("\n"), first=1, mid_line=ends_mid_line(text))
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    if table.shape[1] not in (2, 3):
        raise FormatError(f"{name}: {table.shape[1]} columns; expected position, intensity, factor")
    unit = text_at(root, "ScanInformation/IntensityUnit").lower()
    stated = number_at(root, "ScanInformation/DataCount") or 0.0
    short = f"{len(table)} of {stated:g} points" if len(table) < stated else truncated or ""
    intensity, factor = attenuated(table)
    return Pattern(
        number=at,
        two_theta=table[:, 0],
        intensity=intensity,
        units=UNITS.get(unit, "1"),
        attenuation=factor,
        radiation=_radiation(root),
        told=_told(root),
        truncated=short,
    )


def _radiation(root: Element) -> Radiation:
    tube = "HWConfigurations/XrayGenerator"
    return Radiation(
        anode=text_at(root, f"{tube}/TargetName"),
        alpha1=number_at(root, f"{tube}/WavelengthKalpha1"),
        alpha2=number_at(root, f"{tube}/WavelengthKalpha2"),
        beta=number_at(root, f"{tube}/WavelengthKbeta"),
        kind=WAVES.get(text_at(root, f"{tube}/WaveType").lower()),
    )


def _told(root: Element) -> dict[str, tuple[float, str]]:
    """Return temperature (mean of the start and the end of the scan) and place of the stage."""
    found = {}
    for axis in root.iterfind("Axes/Axis"):
        name, unit = axis.get("Name", ""), axis.get("Unit")
        start = number(axis.get("Position"))
        end = number(axis.get("EndPosition"))
        if start is None:
            continue
        if name == "Temp" and unit == "C":
            found["temperature"] = ((start + (start if end is None else end)) / 2, "degC")
        elif name in STAGE and unit == "mm":
            found[name.lower()] = (1e3 * start, "micrometre")
    return found


def _stamp(root: Element, name: str, *, utc: bool) -> str:
    stamp = text_at(root, f"ScanInformation/{name}")
    if stamp.startswith(UNSET):
        return ""
    return stamp if utc else stamp.removesuffix("Z")


def _pairs(root: Element) -> dict[str, str]:
    """Return the header that the program keeps as names and values."""
    pairs = [[text.text or "" for text in pair] for pair in root.iterfind("RASHeader/Pair")]
    return {f"RASHeader/{pair[0]}": pair[1] for pair in pairs if len(pair) == 2 and pair[1]}


def sniff(head: bytes, name: str) -> bool:
    """Whether it is a zip whose members lie in the folder of a first scan."""
    return holds(head, b"Data0/Profile", b"Data0/Mesurement", b"Data0/Measurement")


READER = Reader(
    technique="xrd",
    suffixes=(".rasx",),
    sniff=sniff,
    read=read,
    description="Rigaku SmartLab Studio .rasx: scans over 2 theta, all Data folders of the file",
)
