"""What the headers of detector images say of time and geometry, dialect by dialect.

A naive stamp keeps no zone; Unix seconds are UTC. What a stamp marks of its exposure:

* Dectris (Pilatus, Eiger; CBF and TIFF): the start;
* Lima (EDF with ``acq_frame_nb``): ``time_of_day`` is when a frame was saved, so rather its end;
  frames of one file are apart by ``time_of_frame``;
* other EDF: ``epoch``, ``time_of_day``, ``Date`` (Xenocs), ``HMStartTime``, ``Time``: the start;
* QXRD (``.tif.metadata`` beside a TIFF): ``timeStamp``, Unix seconds set when the image had come:
  the end. Its exposure is ``exposureTime`` times ``summedExposures``;
* any TIFF: tag 306, local, when the file was made: the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from operando_readers._diffraction import NO_CLOCK
from operando_readers._named_scan import CTIME, from_ctime
from operando_readers._reader import FormatError, clock
from operando_readers._stamps import Moments, moments, unix_moments, without_words

Array = npt.NDArray[np.float64]
Marks = Literal["start", "end"]

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
DECTRIS_STAMP = re.compile(
    r"^#?\s*(\d{4}[-/:](?:\d\d|[A-Z][a-z]{2})[-/:]\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d+)?)"
    r"\s*(Z|[+-]\d\d:?\d\d)?\s*$",
    re.MULTILINE,
)
DECTRIS = {
    "exposure": rf"Exposure_time\s*[:=]?\s*({NUMBER})\s*s\b",
    "saturation": rf"Count_cutoff\s*[:=]?\s*({NUMBER})",
    "wavelength_angstrom": rf"Wavelength\s*[:=]?\s*({NUMBER})\s*A",
    "detector_distance_m": rf"Detector_distance\s*[:=]?\s*({NUMBER})\s*m\b",
}
PIXEL = re.compile(rf"Pixel_size\s*[:=]?\s*({NUMBER})\s*m\s*x\s*({NUMBER})\s*m")
BEAM = re.compile(rf"Beam_xy\s*[:=]?\s*\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)")
MODEL = re.compile(r"Detector\s*[:=]\s*([^\r\n]+)")
WITH_UNIT = re.compile(rf"\s*({NUMBER})\s*(ms|s|sec|seconds)?\s*")
EXPOSURES = ("exposuretime", "exposure_time", "acq_expo_time", "count_time", "exposure")
UNIX_KEYS = ("epoch", "time_of_day")
DATE_KEYS = ("date", "hmstarttime", "time", "start_time", "acquisition_date", "timestamp")
DEAD_OF_DECTRIS = [-1, -2]


def dectris(text: str) -> dict[str, Any]:
    """Return what the header of a Pilatus or Eiger says, in CBF or in the description of a TIFF.

    Raises
    ------
    FormatError
        A stamp that is none.
    """
    numbers = {
        name: _positive(match[1]) if (match := re.search(pattern, text)) else None
        for name, pattern in DECTRIS.items()
    }
    model = MODEL.search(text)
    return {
        **numbers,
        "clock": _dectris_clock(text),
        "detector": model[1].strip() if model else None,
        "pixel_size_m": _reversed(PIXEL.search(text)),
        "beam_centre_pixel": _reversed(BEAM.search(text)),
        "metadata": {"header": text.rstrip("\0 \r\n")},
    }


def _dectris_clock(text: str) -> dict[str, Any]:
    match = DECTRIS_STAMP.search(text)
    if match is None:
        return NO_CLOCK
    [date], _ = without_words([match[1].replace(":", "-")], "%b")
    return _clock(moments([f"{date} {match[2]}{match[3] or ''}"], what="header"), marks="start")


def _positive(text: str) -> float | None:
    value = float(text)
    return value if np.isfinite(value) and value > 0 else None


def _reversed(match: re.Match[str] | None) -> list[float] | None:
    """Return x and y of a header as row and column, None where one is not above zero."""
    pair = [_positive(match[at]) for at in (2, 1)] if match else []
    known = [each for each in pair if each is not None]
    return known if len(known) == 2 else None


def _clock(
    stamps: Moments, *, marks: Marks, source: Literal["header", "sidecar"] = "header"
) -> dict[str, Any]:
    return clock(
        start=stamps.iso(0),
        zone=stamps.zone,
        marks=marks,
        source=source,
        sigma_s=stamps.resolution_s / 2 or None,
    )


def edf(headers: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return what the headers of the frames of an EDF file say.

    Raises
    ------
    FormatError
        Stamps that are none, or that only some of the frames have.
    """
    lower = [{key.lower(): value for key, value in header.items()} for header in headers]
    first = lower[0]
    exposures = [_seconds(header) for header in lower]
    known = all(exposure is not None for exposure in exposures)
    return {
        **_edf_times(lower),
        "exposure": np.array(exposures, np.float64) if known else None,
        "detector": first.get("detector_model") or first.get("detector") or None,
        "pixel_size_m": _edf_pair(first, "psize"),
        "beam_centre_pixel": _edf_pair(first, "center"),
        "detector_distance_m": _edf_number(first, "sampledistance"),
        "wavelength_angstrom": _metres_to_angstrom(_edf_number(first, "wavelength")),
        "dead_values": _dummy(first),
        "metadata": dict(headers[0]),
    }


def _seconds(header: Mapping[str, str]) -> float | None:
    for key in EXPOSURES:
        match = WITH_UNIT.fullmatch(header.get(key, ""))
        if match is not None and float(match[1]) > 0:
            return float(match[1]) * (1e-3 if match[2] == "ms" else 1.0)
    return None


def _edf_times(headers: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return clock and seconds since its start."""
    key = next((key for key in UNIX_KEYS if _is_unix(headers[0].get(key, ""))), None)
    if key is not None:
        stamps = unix_moments([header.get(key, "") for header in headers], what=key)
    else:
        key = next((key for key in DATE_KEYS if headers[0].get(key)), None)
        if key is None:
            return {"clock": NO_CLOCK}
        stamps = moments([_date(header.get(key, "")) for header in headers], what=key)
    if np.isnat(stamps.values).any():
        raise FormatError(f"{key}: only some of the {len(headers)} frames have one")
    elapsed = _spans(stamps.values)
    saved = "acq_frame_nb" in headers[0]
    relative = [_edf_number(header, "time_of_frame") for header in headers]
    counted = [each for each in relative if each is not None]
    if saved and len(counted) == len(headers):
        elapsed = np.array(counted) - counted[0]
    return {"clock": _clock(stamps, marks="end" if saved else "start"), "elapsed": elapsed}


def _is_unix(text: str) -> bool:
    return re.fullmatch(r"\d{9,10}(?:\.\d*)?", text) is not None


def _date(text: str) -> str:
    """Return a stamp in the order that `moments` knows; blanks and quotes of EDF are none of it."""
    plain = text.strip(" \"'")
    return from_ctime(plain, what="date") if CTIME.fullmatch(plain[:60]) else plain


def _spans(stamps: npt.NDArray[np.datetime64]) -> Array:
    return np.asarray((stamps - stamps[0]).astype("m8[ns]").astype(np.int64) / 1e9)


def _edf_number(header: Mapping[str, str], key: str) -> float | None:
    """Return a number, which may have its unit behind it; None where there is none."""
    match = re.match(rf"\s*({NUMBER})(?:\s|$|[a-zA-Z_])", header.get(key, ""))
    return float(match[1]) if match else None


def _edf_pair(header: Mapping[str, str], name: str) -> list[float] | None:
    """Return row and column of what EDF counts along its fast axis first."""
    pair = [_edf_number(header, f"{name}_{axis}") for axis in (2, 1)]
    known = [each for each in pair if each is not None]
    return known if len(known) == 2 else None


def _metres_to_angstrom(value: float | None) -> float | None:
    return value * 1e10 if value is not None and 0 < value < 1e-8 else None


def _dummy(header: Mapping[str, str]) -> list[float] | None:
    value = _edf_number(header, "dummy")
    return None if value is None else [value]


def qxrd(text: str) -> dict[str, Any]:
    """Return what the metadata file beside a TIFF of QXRD says.

    Raises
    ------
    FormatError
        A timeStamp that is no Unix time.
    """
    found = dict(re.findall(r"^\s*([A-Za-z]\w*)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
    facts: dict[str, Any] = {"metadata": found}
    each, summed = (_edf_number(found, name) for name in ("exposureTime", "summedExposures"))
    if each is not None and each > 0:
        facts["exposure"] = each * max(summed or 1.0, 1.0)
    # A file without it, or with 0, has only a local date whose zone and language are not told.
    if (stamp := _edf_number(found, "timeStamp")) and stamp > 0:
        facts["clock"] = _clock(
            unix_moments([found["timeStamp"]], what="timeStamp"), marks="end", source="sidecar"
        )
    return facts


def tag_306(text: str) -> dict[str, Any]:
    """Return the clock of a TIFF by its tag DateTime, ``YYYY:MM:DD HH:MM:SS``."""
    match = re.match(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)", text)
    if match is None or match[1] == "0000":
        return NO_CLOCK
    stamp = moments([f"{match[1]}-{match[2]}-{match[3]} {match[4]}"], what="DateTime")
    return _clock(stamp, marks="end")
