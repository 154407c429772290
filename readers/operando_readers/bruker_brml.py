"""Bruker DIFFRAC measurements (.brml): a zip of XML, one RawData*.xml a scan.

File structure of ``Experiment0/RawData<n>.xml``: ``TimeStampStarted`` and ``TimeStampFinished``
with offset and 100 ns; ``DataRoute`` ("Measured", or processed) with the scan's name, its axes
(start, stop, increment) and one ``Datum`` of comma-separated numbers a point. What the numbers are
is said by ``DataViews``: first column and length of the measured time (s), of the absorption
factor, of the axes and of each counter. Counts are stored multiplied by the absorption factor:
where it is 8.3 they are whole numbers times 8.3. A detector that stands still has one ``Datum`` of
many counts, over ``ScaleAxes`` (start, increment).

Scans over another axis than 2 theta are left out and counted in ``original_metadata``
(`skipped_scans`), or refused where they are asked for. Images, which are files of their own in the
zip, are not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._archive import Archive, holds
from operando_readers._numbers import rows
from operando_readers._patterns import Pattern, chosen, frames, over_two_theta
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_series import wanted
from operando_readers._scan_times import by_stamps
from operando_readers._xml import document, flat, number, number_at, text_at

Array = npt.NDArray[np.float64]

RAW_DATA = r"(?:.*/)?RawData\d+\.xml"
TWO_THETA = ("TwoTheta", "2Theta")
UNITS = {"Counts": "count", "CountsPerSecond": "count/s"}
STAGE = ("X", "Y", "Z")
MEASURED = "Measured"
CRYSTALS = re.compile("ChannelCut|Monochromator")
"""In the class of an optic, such as /Component/Optic/ChannelCut/B2."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan over 2 theta, without its document."""

    pattern: Pattern
    started: str
    finished: str
    facts: dict[str, str]
    metadata: dict[str, str]


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(file: File, *, scans: str | None = None) -> xr.Dataset:
    """Read the scans over 2 theta of a file, one frame a scan.

    Parameters
    ----------
    scans
        Numbers of scans, from 1, such as "3-14,16": where a file holds scans of several axes.

    Returns
    -------
    As `_patterns.frames`; on time also the stage's `x`, `y`, `z` where stated.

    Raises
    ------
    FormatError
        Not such a file, a damaged zip or one that unpacks too far, a scan without points, or as
        `frames`.
    """
    archive = Archive(file)
    names = archive.matching(RAW_DATA)
    if not names:
        raise FormatError(f"no RawData*.xml among {archive.names[:5]}; expected a Bruker .brml")
    axes: list[str] = []
    kept: list[Scan] = []
    for at, name in enumerate(names, 1):
        # One document at a time: as a tree it takes fifty times the memory of its numbers.
        root = document(archive.read(name), what=name)
        route = _route(root, name)
        axes.append(_axis(route))
        if over_two_theta(axes[-1]) and wanted(at, scans):
            kept.append(_scan(at, name, root, route, told=not kept))
    chosen(axes, scans)
    metadata = {
        "scans_in_file": len(axes),
        "skipped_scans": len(axes) - len(kept) if scans is None else 0,
        **kept[0].metadata,
    }
    times = by_stamps([scan.started for scan in kept], [scan.finished for scan in kept])
    patterns = [scan.pattern for scan in kept]
    dataset = frames(patterns, times, metadata=metadata, **kept[0].facts)
    if "attenuation_factor" in dataset:
        told = "counts, multiplied by the absorption factor in the file"
        dataset.attrs["attenuation"] = told
    return dataset


def _scan(at: int, name: str, root: Element, route: Element, *, told: bool) -> Scan:
    """Return what is kept of a document; facts and metadata only where they are asked for."""
    sample = root.find(".//InfoItem[@Name='SampleName']")
    facts = {
        "instrument": "Bruker",
        "sample": "" if sample is None else sample.get("Value", ""),
        "scan_axis": _axis(route),
        "scan_mode": text_at(route, "ScanInformation/ScanModeVisibleName"),
    }
    left_out = ("Datum", "Restriction", "Restrictions", "XmlFieldRestrictions")
    return Scan(
        pattern=_pattern(at, name, root, route),
        started=text_at(root, "TimeStampStarted"),
        finished=text_at(root, "TimeStampFinished"),
        facts=facts if told else {},
        metadata=flat(root, skip=left_out) if told else {},
    )


def _route(root: Element, name: str) -> Element:
    """Return the one way from the detector to the file that holds what was measured."""
    routes = root.findall("DataRoutes/DataRoute")
    measured = [route for route in routes if route.get("RouteFlag") == MEASURED]
    routes = measured or routes
    if root.tag != "RawData" or len(routes) != 1:
        raise FormatError(f"{name}: {len(routes)} measured data routes; expected one")
    return routes[0]


def _axis(route: Element) -> str:
    """Return what a scan is over: by the axes that move, 2 theta where it is one of them."""
    axes = [axis.get("AxisId", "") for axis in route.iterfind("ScanInformation/ScanAxes/*")]
    axes += [axis.get("AxisId", "") for axis in route.iterfind("ScanInformation/ScaleAxes/*")]
    scan = route.find("ScanInformation")
    called = "" if scan is None else scan.get("VisibleName", scan.get("ScanName", "")).strip()
    return TWO_THETA[1] if set(axes) & set(TWO_THETA) else called or " ".join(axes) or "nothing"


def _pattern(at: int, name: str, root: Element, route: Element) -> Pattern:
    lines = [datum.text or "" for datum in route.iterfind("Datum")]
    if not lines:
        raise FormatError(
            f"{name}: no Datum; aborted before the first point, or images in a file of their own"
        )
    try:
        table, _ = rows(lines, first=1, mid_line=False, delimiter=",")
    except FormatError as error:
        raise FormatError(f"{name}: Datum, {error}") from error
    columns = _Columns(route, table, name)
    two_theta, intensity = columns.scan()
    planned = number_at(route, "ScanInformation/MeasurementPoints") or 0.0
    status = text_at(root, "MeasurementStatus")
    short = f"{intensity.size} of {planned:g} points" if intensity.size < planned else ""
    return Pattern(
        number=at,
        two_theta=two_theta,
        intensity=intensity,
        units=columns.units,
        attenuation=columns.named("AbsorptionFactor", intensity.size),
        counting_time=columns.named("MeasuredTime", intensity.size),
        radiation=_radiation(root),
        told=_stage(root),
        truncated=short if status in (MEASURED, "") else f"status {status!r} {short}".strip(),
    )


class _Columns:
    """The columns of the points of a scan, by what its DataViews say of them."""

    def __init__(self, route: Element, table: Array, name: str) -> None:
        self._route, self._table, self._name = route, table, name
        self._fixed: dict[str, int] = {}
        self._axes: dict[str, int] = {}
        counters: list[tuple[int, int, str, float | None]] = []
        for view in route.iterfind("DataViews/RawDataView"):
            start = self._whole(view, "Start")
            recording = view.find("Recording")
            if recording is not None:
                unit = recording.find("Unit")
                base = unit.get("Base", "") if unit is not None else ""
                length, blank = self._whole(view, "Length"), number_at(recording, "BlankingValue")
                counters.append((start, length, UNITS.get(base, "1"), blank))
            elif view.get("LogicName"):
                self._fixed[str(view.get("LogicName"))] = start
            for place, axis in enumerate(view.iterfind("Varying/FieldDefinitions")):
                self._axes.setdefault(axis.get("AxisId", ""), start + place)
        counting = [counter for counter in counters if counter[2] != "1"] or counters
        if not counting:
            raise FormatError(f"{name}: DataViews name no counter")
        self._start, self._length, self.units, self._blank = counting[0]

    def _whole(self, view: Element, key: str) -> int:
        value = view.get(key, "")
        if not re.fullmatch("[0-9]{1,9}", value) or int(value) > self._table.shape[1]:
            raise FormatError(
                f"{self._name}: DataViews, {key} {value[:20]!r} of {self._table.shape[1]} columns"
            )
        return int(value)

    def _column(self, at: int) -> Array:
        if at >= self._table.shape[1]:
            raise FormatError(f"{self._name}: column {at} of {self._table.shape[1]} in Datum")
        return np.ascontiguousarray(self._table[:, at])

    def named(self, name: str, size: int) -> Array | None:
        """Return a column that is fixed by its name, one value for each of `size` points."""
        if name not in self._fixed:
            return None
        column = self._column(self._fixed[name])
        return np.full(size, column[0]) if column.size == 1 else column

    def scan(self) -> tuple[Array, Array]:
        """Return 2 theta and counts, of the points or of the channels of a detector at rest."""
        if self._length == 1:
            axis = next((self._axes[name] for name in TWO_THETA if name in self._axes), None)
            if axis is None:
                raise FormatError(f"{self._name}: DataViews name no column of 2 theta")
            return self._column(axis), self._counted(self._column(self._start))
        if len(self._table) != 1:
            raise FormatError(
                f"{self._name}: {len(self._table)} readings of {self._length} channels; only one "
                "of a detector at rest is read, export the scan as .xye"
            )
        counts = self._table[0, self._start : self._start + self._length]
        return self._scale(counts.size), self._counted(counts)

    def _counted(self, counts: Array) -> Array:
        """Return counts with NaN where the file has the value that stands for none."""
        return counts if self._blank is None else np.where(counts == self._blank, np.nan, counts)

    def _scale(self, size: int) -> Array:
        for axis in self._route.iterfind("ScanInformation/ScaleAxes/*"):
            start, step = number_at(axis, "Start"), number_at(axis, "Increment")
            if axis.get("AxisId") in TWO_THETA and start is not None and step is not None:
                return start + step * np.arange(size, dtype=np.float64)
        raise FormatError(f"{self._name}: no ScaleAxes of 2 theta for {size} channels")


def _radiation(root: Element) -> Radiation:
    def line(name: str) -> float | None:
        element = root.find(f".//WaveLength{name}")
        stated = element is not None and element.get("Unit", "Å") in ("Å", "")
        return number(element.get("Value")) if element is not None and stated else None

    tube = root.find(".//TubeMaterial")
    return Radiation(
        anode="" if tube is None else tube.get("Value") or (tube.text or "").strip(),
        alpha1=line("Alpha1"),
        alpha2=line("Alpha2"),
        beta=line("Beta"),
        ratio=line("Ratio"),
        monochromator=_monochromator(root),
    )


def _monochromator(root: Element) -> str:
    """Return the name of the crystals between tube and sample, "" where there are none."""
    track = "FixedInformation/Instrument/PrimaryTracks/TrackInfoData/MountedOptics/InfoData"
    for optic in root.iterfind(track):
        kind = optic.find("BeringInfo")
        if kind is not None and CRYSTALS.search(kind.get("ClassPath", "")):
            return optic.get("VisibleName") or "unnamed"
    return ""


def _stage(root: Element) -> dict[str, tuple[float, str]]:
    found = {}
    for drive in root.iterfind("FixedInformation/Drives/InfoData"):
        name, place = drive.get("LogicName", ""), drive.find("Position")
        at = None if place is None else number(place.get("Value"))
        if name in STAGE and place is not None and place.get("Unit") == "mm" and at is not None:
            found[name.lower()] = (1e3 * at, "micrometre")
    return found


def sniff(head: bytes, name: str) -> bool:
    """Whether it is a zip whose members lie in the folder of an experiment."""
    return holds(head, b"Experiment0/", b"experimentCollection.xml")


READER = Reader(
    technique="xrd",
    suffixes=(".brml",),
    sniff=sniff,
    read=read,
    description="Bruker DIFFRAC .brml: scans over 2 theta, all RawData of the file",
)
