"""PANalytical / Malvern Panalytical scans (.xrdml), schema versions 1.0 to 2.x.

File structure: XML. Each ``xrdMeasurement`` has the wavelengths, the optics and one or more
``scan``: a repeated or non-ambient measurement is one file of many scans. A scan has stamps with
offset of its start and end (whole seconds), and ``dataPoints``: per axis the first and last
position, or a list; ``intensities`` (1.x: "measured intensities multiplied by the corresponding
beam attenuation factor", says the schema) or ``counts`` (2.x: "as received by the detector, not
yet corrected for beam attenuator or divergence factors"); the factors of the attenuator, if it has
one; a counting time for all points or one for each.

`intensity` is always with the attenuation factor applied, as 1.x stores it: counts of 2.x are
multiplied, attrs["attenuation"] says which. Divergence corrections of 2.x are not applied.

Scans over another axis than 2 theta (rocking curves, alignments) are left out and counted in
``original_metadata`` (`skipped_scans`), or refused where they are asked for.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._gzip import first_bytes, unpacked
from operando_readers._patterns import Pattern, chosen, frames
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError, Reader
from operando_readers._scan_times import by_stamps
from operando_readers._text import text_of
from operando_readers._xml import document, flat, number, number_at, numbers, text_at

Array = npt.NDArray[np.float64]

VERSION = re.compile(r"xrdml\.com/XRDMeasurement/(\d{1,3})\.(\d{1,3})$")
KNOWN = ("1", "2")
TO_KELVIN = {"K": 0.0, "Kelvin": 0.0, "C": 273.15, "Celsius": 273.15}
STAGE = ("X", "Y", "Z")
LISTS = ("intensities", "counts", "listPositions", "beamAttenuationFactors", "countingTimes")
ROOT = b"<xrdMeasurements"
LONGEST = 80


@np.errstate(all="ignore")  # damaged numbers become NaN or an error that says where
def read(file: File, *, scans: str | None = None) -> xr.Dataset:
    """Read the scans over 2 theta of a file, one frame a scan.

    Parameters
    ----------
    scans
        Numbers of scans, from 1, such as "3-14,16": where a file holds scans of several axes.

    Returns
    -------
    As `_patterns.frames`; on time also `temperature` and the stage's `x`, `y`, `z` where stated.

    Raises
    ------
    FormatError
        Not such a file, a version that is not known, a scan without data, or as `frames`.
    """
    raw, ends_early = unpacked(file.read_bytes())
    root = document(raw, what=file.name)
    version = _version(root)
    found = [
        (measurement, scan)
        for measurement in root.iterfind("xrdMeasurement")
        for scan in measurement.iterfind("scan")
    ]
    if not found:
        raise FormatError("xrdMeasurements: no scan in the file")
    numbered = chosen([scan.get("scanAxis", "") for _, scan in found], scans)
    kept = [(at, *found[at - 1]) for at in numbered]
    patterns = [_pattern(at, scan, _radiation(measured)) for at, measured, scan in kept]
    stamps = [
        [text_at(scan, f"header/{which}TimeStamp") for _, _, scan in kept]
        for which in ("start", "end")
    ]
    _, measured, first = kept[0]
    facts = {
        "instrument": " ".join(
            ["PANalytical", text_at(first, "header/source/instrumentControlSoftware")]
        ).strip(),
        "scan_axis": first.get("scanAxis", ""),
        "scan_mode": first.get("mode", ""),
        "sample": text_at(root, "sample/name") or text_at(root, "sample/id"),
        **_corrections(first),
    }
    metadata = {
        "xrdml_version": version,
        "scans_in_file": len(found),
        "skipped_scans": len(found) - len(kept) if scans is None else 0,
        **flat(root, skip=("xrdMeasurement",)),
        **{f"xrdMeasurement/{path}": text for path, text in flat(measured, skip=("scan",)).items()},
        **{f"scan/{path}": text for path, text in flat(first, skip=LISTS).items()},
    }
    times = by_stamps(*stamps)
    return frames(patterns, times, metadata=metadata, truncated=ends_early, **facts)


def _version(root: Element) -> str:
    match = VERSION.search(root.get("xmlns", ""))
    if root.tag != "xrdMeasurements" or match is None:
        found = f"{root.tag[:LONGEST]!r} of {root.get('xmlns', '')[:LONGEST]!r}"
        raise FormatError(f"root: {found}; expected an XRDML")
    if match[1] not in KNOWN:
        raise FormatError(f"XRDML {match[1]}.{match[2]}: expected version 1.x or 2.x")
    return f"{match[1]}.{match[2]}"


def _radiation(measurement: Element) -> Radiation:
    used = measurement.find("usedWavelength")
    anode = text_at(measurement, "incidentBeamPath/xRayTube/anodeMaterial")
    crystals = measurement.find("incidentBeamPath/monochromator")
    if used is None:
        return Radiation(anode=anode)

    def line(name: str) -> float | None:
        element = used.find(name)
        stated = element is not None and element.get("unit", "Angstrom") == "Angstrom"
        return number_at(used, name) if stated else None

    beta = used.get("intended", "").replace(" ", "").replace("-", "").lower() == "kbeta"
    return Radiation(
        anode=anode,
        alpha1=line("kAlpha1"),
        alpha2=line("kAlpha2"),
        beta=line("kBeta"),
        ratio=number_at(used, "ratioKAlpha2KAlpha1"),
        kind="beta" if beta else None,
        monochromator="" if crystals is None else crystals.get("name") or "unnamed",
    )


def _pattern(at: int, scan: Element, radiation: Radiation) -> Pattern:
    where = f"scan {at}"
    blocks = scan.findall("dataPoints")
    if len(blocks) != 1:
        raise FormatError(
            f"{where}: {len(blocks)} dataPoints; expected one, images of an area detector are "
            "integrated by the instrument's software"
        )
    [points] = blocks
    counts = points.find("counts")
    measured = points.find("intensities") if counts is None else counts
    if measured is None or not (measured.text or "").strip():
        raise FormatError(f"{where}: no intensities; choose others by scans=")
    intensity = numbers(measured.text, what=f"{where}: {measured.tag}")
    attenuation = _list_or_common(points, "eamAttenuationFactor", intensity.size, where)
    if attenuation is not None and counts is not None:
        intensity = intensity * attenuation
    seconds = points.find("countingTimes")
    status = scan.get("status", "Completed")
    return Pattern(
        number=at,
        two_theta=_two_theta(points, intensity.size, where),
        intensity=intensity,
        units="count" if measured.get("unit", "counts") == "counts" else "1",
        attenuation=attenuation,
        counting_time=(
            number_at(points, "commonCountingTime")
            if seconds is None
            else numbers(seconds.text, what=f"{where}: countingTimes")
        ),
        radiation=radiation,
        told=_temperature(scan, where) | _stage(points),
        truncated="" if status == "Completed" else f"status {status!r}",
    )


def _list_or_common(points: Element, name: str, size: int, where: str) -> Array | None:
    """Return the factor at each point from the list or from the number for all of them."""
    listed = points.find(f"b{name}s")
    if listed is not None:
        factors = numbers(listed.text, what=f"{where}: b{name}s")
        if factors.size != size:
            raise FormatError(f"{where}: {factors.size} b{name}s of {size} points")
        return factors
    common = number_at(points, f"commonB{name}")
    return None if common is None else np.full(size, common)


def _two_theta(points: Element, size: int, where: str) -> Array:
    for positions in points.iterfind("positions"):
        if positions.get("axis") != "2Theta":
            continue
        if positions.get("unit", "deg") != "deg":
            raise FormatError(f"{where}: 2Theta in {positions.get('unit')!r}; expected deg")
        listed = positions.find("listPositions")
        if listed is not None:
            return numbers(listed.text, what=f"{where}: listPositions")
        low, high = (number_at(positions, f"{end}Position") for end in ("start", "end"))
        if low is not None and high is not None:
            return np.linspace(low, high, size)
    raise FormatError(f"{where}: no 2Theta positions that vary; expected a scan over 2 theta")


def _temperature(scan: Element, where: str) -> dict[str, tuple[float, str]]:
    """Return the mean temperature of the scan where its unit is stated."""
    for points in scan.iterfind("nonAmbientPoints"):
        values = points.find("nonAmbientValues")
        if points.get("type") != "Temperature" or values is None:
            continue
        unit = values.get("unit") or points.get("unit") or ""
        readings = numbers(values.text, what=f"{where}: nonAmbientValues")
        if unit in TO_KELVIN and readings.size:
            return {"temperature": (float(readings.mean()) + TO_KELVIN[unit], "K")}
    return {}


def _stage(points: Element) -> dict[str, tuple[float, str]]:
    found = {}
    for positions in points.iterfind("positions"):
        name, place = positions.get("axis", ""), number(positions.findtext("commonPosition"))
        if name in STAGE and positions.get("unit") == "mm" and place is not None:
            found[name.lower()] = (1e3 * place, "micrometre")
    return found


def _corrections(scan: Element) -> dict[str, str]:
    """Say what was done about factors that the file gives beside the counts."""
    points = scan.find("dataPoints")
    told = {}
    names = {child.tag for child in points} if points is not None else set()
    if names & {"beamAttenuationFactors", "commonBeamAttenuationFactor"}:
        told["attenuation"] = (
            "counts, multiplied here by the attenuation factors of the file"
            if "counts" in names
            else "intensities, multiplied by the attenuation factor in the file"
        )
    if names & {"divergenceCorrections", "commonDivergenceCorrection"}:
        told["divergence_correction"] = "in the file, not applied"
    return told


def sniff(head: bytes, name: str) -> bool:
    """Whether the text begins with the root element of an XRDML file."""
    return ROOT.decode() in text_of(first_bytes(head, 4096))


READER = Reader(
    technique="xrd",
    suffixes=(".xrdml",),
    sniff=sniff,
    read=read,
    description="PANalytical XRDML 1.x and 2.x: scans over 2 theta, repeated and non-ambient ones",
)
