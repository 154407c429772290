"""Neware files (.ndax, .nda), decoded by fastnda (BSD-3), which the extra `neware` installs.

Usage: `read(file)`; the recipe gives `tz` for the files that carry no zone.

Clock: newer files hold the instants of their rows in UTC, older ones (.nda, ndc version 5) hold
local wall-clock time in the same field. Both write the local start of the test as text, so the two
are compared: equal means local (zone unknown), a whole number of quarter hours apart means UTC.
Where they cannot be compared, files with the member data_runInfo.ndc hold UTC, all others local
time. `attrs["clock_reason"]` says what was found.
`elapsed` is the tester's own counter: the wall clock of its computer is stepped by seconds every
few hours (9 steps, -12 s in 70 h on one real file) and may run backwards; `wall_clock` keeps it for
comparison. The counter stands still while a test is paused; pauses are added back from the wall
clock and listed in `attrs["pauses_s"]`.

Sign: Neware counts charging positive, which is oxidation at the working electrode of a full cell or
of a cathode half cell. The charge counter starts again at every step.
"""

from __future__ import annotations

import logging
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from operando_readers._log import counted, stated
from operando_readers._reader import File, FormatError, Reader, clock

Array = npt.NDArray[np.float64]

STATE_OF = {
    "Rest": "rest",
    "OCV": "rest",
    "Pause": "rest",
    "CV_Chg": "hold_charge",
    "CV_DChg": "hold_discharge",
    **{f"{kind}_Chg": "charge" for kind in ("CC", "CCCV", "CP", "CPCV", "CR", "CRCV", "PCCCV")},
    **{f"{kind}_DChg": "discharge" for kind in ("CC", "CCCV", "CP", "CPCV", "CR", "CRCV")},
}

QUARTER_HOUR_S = 900.0
LATEST_FIRST_ROW_S = 300.0
"""A test whose first row comes later than this after its start cannot be compared with it."""
PAUSE_S = 60.0
SUMMER_TIME_S = 3600.0
"""A wall clock without zone that jumps by this went to summer time; no pause."""


def sniff(head: bytes, name: str) -> bool:
    """Whether the file is a .nda by its first bytes, or a zip called .ndax."""
    return head.startswith(b"NEWARE") or (
        head.startswith(b"PK\x03\x04") and name.lower().endswith(".ndax")
    )


def read(file: File) -> xr.Dataset:
    """Read one test of a Neware cycler.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), `charge_counter` (A h, from zero
    at every step), `state_instrument` from the type of the step, `step_instrument`,
    `cycle_instrument`, `elapsed` (s) on the tester's counter from the first row, and `wall_clock`
    (s) from the same moment as the stamps have it.

    Raises
    ------
    FormatError
        fastnda is not installed, cannot read the file, or finds no row in it.
    """
    table, metadata, newer = _decode(file)
    if not len(table):
        raise FormatError("no rows: the test never recorded")
    stamps = table["unix_time_s"].to_numpy().astype(np.float64)
    counter = table["total_time_s"].to_numpy().astype(np.float64)
    if not (np.isfinite(stamps).all() and np.isfinite(counter).all()):
        raise FormatError("time: a row has none")
    zone, reason = _zone(stamps[0], metadata, newer=newer)
    elapsed, pauses = _elapsed(stamps, counter, zoned=zone is not None)
    start = datetime.fromtimestamp(0, UTC) + timedelta(seconds=round(stamps[0], 3))
    return xr.Dataset(
        _variables(table),
        {
            "elapsed": ("time", elapsed, {"units": "s"}),
            "wall_clock": ("time", stamps - stamps[0], {"units": "s"}),
        },
        {
            "technique": "electrochemistry",
            "instrument": "Neware",
            "clock": clock(
                start=start.replace(tzinfo=None).isoformat(timespec="milliseconds"),
                zone=zone,
                marks="instant",
                source="column",
                sigma_s=0.5 if np.all(stamps == np.round(stamps)) else None,
            ),
            "clock_reason": reason,
            "pauses_s": pauses,
            "current_sign": "oxidation_positive",
            "original_metadata": metadata,
        },
    )


def _decode(file: File) -> tuple[Any, dict[str, str | float], bool]:
    """Return what `_decoded` does; zlib is afterwards what it was.

    fastnda puts isal in its place for the whole process, with errors of its own.
    """
    kept = zlib.decompress, zlib.decompressobj
    try:
        return _decoded(file)
    finally:
        zlib.decompress, zlib.decompressobj = kept


def _decoded(file: File) -> tuple[Any, dict[str, str | float], bool]:
    """Return the rows, the metadata, and whether the file is of the kind that holds UTC."""
    try:
        import fastnda
    except ImportError as error:
        raise FormatError(
            "Neware files need fastnda; install it with pip install 'operando[neware]'"
        ) from error
    logging.getLogger("fastnda.ndax").addFilter(_is_news)
    with file.on_disk() as path, warnings.catch_warnings():
        # A version fastnda has not met is read all the same; the metadata say which one it is.
        warnings.simplefilter("ignore")
        try:
            table = fastnda.read(path, cycle_mode="raw")
            metadata = dict(_flat(fastnda.read_metadata(path)))
            return table, metadata, _holds_run_info(path)
        except Exception as error:
            # fastnda documents no exception: a damaged file makes it fail anywhere inside.
            text = str(error).partition("\n")[0]
            raise FormatError(f"fastnda: {type(error).__name__}: {text}") from error


def _is_news(record: logging.LogRecord) -> bool:
    """Pass on what fastnda logs, but for its advice to use the counter: it is used."""
    return "negative jumps" not in record.getMessage()


def _holds_run_info(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "data_runInfo.ndc" in archive.namelist()


def _variables(table: Any) -> dict[str, Any]:
    def column(name: str) -> Array:
        values: Array = table[name].to_numpy().astype(np.float64)
        return values

    return {
        "voltage": ("time", column("voltage_V"), {"units": "V"}),
        "current": (
            "time",
            column("current_mA") * 1e-3,
            {"units": "A", "averaging": "instantaneous"},
        ),
        "charge_counter": ("time", column("capacity_mAh") * 1e-3, {"units": "A h"}),
        "state_instrument": stated([str(kind) for kind in table["step_type"]], STATE_OF),
        "cycle_instrument": counted(table["cycle_count"].to_numpy()),
        "step_instrument": counted(table["step_index"].to_numpy()),
    }


def _zone(
    first: float, metadata: Mapping[str, str | float], *, newer: bool
) -> tuple[str | None, str]:
    """Return "UTC" or None (local time of an unknown zone), and how that was found out."""
    text = str(metadata.get("start_time") or metadata.get("TestInfo/TestInfo/StartTime"))
    usual, kind = ("UTC", "data_runInfo.ndc") if newer else (None, "older")
    try:
        local = datetime.strptime(text.replace(".", "-"), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return usual, f"no local start to compare with; usual for a file of its kind ({kind})"
    ahead = local.timestamp() - first
    offset = round(ahead / QUARTER_HOUR_S) * QUARTER_HOUR_S
    late = offset - ahead
    if not -1.0 <= late <= LATEST_FIRST_ROW_S:
        return usual, f"stamps {-ahead:+.0f} s from local start; usual for its kind ({kind})"
    if offset == 0:
        return None, f"first row {late:.0f} s after local start {text}: stamps are local"
    return "UTC", f"local start {text} is {offset / 3600:+g} h from the stamps: stamps are UTC"


def _elapsed(stamps: Array, counter: Array, *, zoned: bool) -> tuple[Array, list[float]]:
    """Return the tester's counter from its first row, with pauses added from the wall clock."""
    ahead = np.diff(stamps - counter)
    paused = ahead > PAUSE_S
    if not zoned:
        paused &= np.abs(ahead - SUMMER_TIME_S) > PAUSE_S
    lost = np.concatenate(([0.0], np.cumsum(np.where(paused, ahead, 0.0))))
    return counter - counter[0] + lost, [float(length) for length in ahead[paused]]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | float]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value if isinstance(value, int | float) else str(value)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".ndax", ".nda"),
    sniff=sniff,
    read=read,
    description="Neware cycler files, through fastnda",
)
