"""What an EC-Lab .mpr file says about its measurement: technique, cell, program, start.

Usage: `attributes(modules, file=..., date_order=...)`.

File structure, as found by others and confirmed by the text EC-Lab wrote of the same files
(.mpt, .mpl; versions 1.79 of BT-Lab to 11.61 of EC-Lab). Strings have their length before them:

    VMP Set    byte 0 the technique, then comments (7), mass of active material in mg (0x107),
               electrode material (0x11e), electrolyte (0x1c0), area in cm2 (0x211), reference
               electrode (0x215), capacity of the battery (0x25c) and its unit (0x260); the program
               at 0x1847: its sequences (u2), how many numbers each has (u2), then the sequences
    VMP LOG    channel less one (byte 9), its serial number (0xab), the start as days since
               1899-12-30, local, the version of the software (0x3b7); written when the experiment
               ends

Comments, masses and materials are often left over from a template: they are kept in
`original_metadata` and never interpreted.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from operando_readers import _eclab_clock
from operando_readers._mpr_modules import Module
from operando_readers._reader import File
from operando_readers._stamps import DateOrder

TECHNIQUES = {
    0x04: "Galvanostatic Cycling with Potential Limitation",
    0x06: "Cyclic Voltammetry",
    0x0B: "Open Circuit Voltage",
    0x18: "Chronoamperometry / Chronocoulometry",
    0x19: "Chronopotentiometry",
    0x1C: "Wait",
    0x1D: "Potentio Electrochemical Impedance Spectroscopy",
    0x1E: "Galvano Electrochemical Impedance Spectroscopy",
    0x30: "Cyclic Voltammetry",
    0x32: "IR compensation (PEIS)",
    0x33: "Cyclic Voltammetry Advanced",
    0x6C: "Linear Sweep Voltammetry",
    0x75: "Constant Voltage",
    0x76: "Constant Current",
    0x7F: "Modulo Bat",
    0x88: "Battery Capacity Determination",
}

STRINGS = {
    "comments": 0x007,
    "electrode_material": 0x11E,
    "electrolyte": 0x1C0,
    "reference_electrode": 0x215,
}
NUMBERS = {"active_material_mass_mg": 0x107, "electrode_area_cm2": 0x211}
CAPACITY, CAPACITY_UNIT = 0x25C, 0x260
CAPACITY_UNITS = ("A.h", "mA.h")

PROGRAM = 0x1847
INTERVALS = {
    # technique, numbers a sequence, from 11.50 on: bytes a sequence, where dt1, dtq and dtR stand
    (0x04, 33, False): (102, (22, 57, 86)),
    (0x04, 33, True): (108, (28, 63, 92)),
    (0x0B, 7, True): (25, (13,)),
}
LONGEST_INTERVAL_S = 1e7

LOG_STARTS = (465, 469, 473, 585)
"""Where versions of EC-Lab put the start in VMP LOG; days from 2000 to 2100 tell it from others."""
EARLIEST_DAY, LATEST_DAY = 36526.0, 73051.0


Modules = Mapping[str, Module]


def attributes(modules: Modules, *, file: File, date_order: DateOrder | None) -> dict[str, Any]:
    """Return the attributes of a dataset: clock, instrument, record interval, metadata.

    The start comes from VMP LOG, else from the .mpl log beside the file, else it is None.
    """
    sidecar = _eclab_clock.sidecar_text(file)
    name = technique(modules)
    clock = _eclab_clock.clock_of(log_start(modules), sidecar, date_order=date_order)
    metadata: dict[str, str | float] = {
        "technique": name,
        "modules": ", ".join(f"{name} {module.version}" for name, module in modules.items()),
        "settings": modules["VMP Set"].content.hex() if "VMP Set" in modules else "",
        "mpl": sidecar,
        **_cell(modules),
        **_channel(modules),
    }
    if "VMP ExtDev" in modules:
        metadata["external_devices"] = modules["VMP ExtDev"].content.hex()
    attrs: dict[str, Any] = {
        "clock": clock,
        "instrument": "BioLogic",
        "original_metadata": metadata,
    }
    interval = record_interval(modules)
    if interval is None and name in sidecar:
        interval = _eclab_clock.record_interval(sidecar)
    if interval is not None:
        attrs["max_record_interval_s"] = interval
    hint = _eclab_clock.hint_in_name(file)
    if clock["start"] is None and hint:
        attrs["clock_hint"] = hint
    return attrs


def technique(modules: Modules) -> str:
    """Return EC-Lab's name of the technique; empty without settings."""
    settings = modules["VMP Set"].content if "VMP Set" in modules else b""
    return TECHNIQUES.get(settings[0], f"technique {settings[0]}") if settings else ""


def record_interval(modules: Modules) -> float | None:
    """Return the longest time between two rows that the program allows, in s; None if unknown.

    Known for galvanostatic cycling and open circuit: the layouts of other programs were not seen
    beside a text of them.
    """
    settings = modules.get("VMP Set")
    if settings is None or len(settings.content) < PROGRAM + 4:
        return None
    sequences, numbers = struct.unpack_from("<HH", settings.content, PROGRAM)
    layout = INTERVALS.get((settings.content[0], numbers, settings.extended))
    if layout is None or len(settings.content) < PROGRAM + 4 + sequences * layout[0]:
        return None
    values = [
        struct.unpack_from("<f", settings.content, PROGRAM + 4 + at * layout[0] + offset)[0]
        for at in range(sequences)
        for offset in layout[1]
    ]
    return max((round(at, 6) for at in values if 0 < at < LONGEST_INTERVAL_S), default=None)


def log_start(modules: Modules) -> str | None:
    """Return the ISO stamp in VMP LOG, to the millisecond EC-Lab keeps; None when undecided."""
    if "VMP LOG" not in modules:
        return None
    content = modules["VMP LOG"].content
    days = [
        value
        for at in LOG_STARTS
        if at + 8 <= len(content)
        for (value,) in [struct.unpack_from("<d", content, at)]
        if EARLIEST_DAY < value < LATEST_DAY
    ]
    if len(days) != 1:
        return None
    origin = datetime(1899, 12, 30)  # noqa: DTZ001  local time of an unknown zone
    moment = origin + timedelta(milliseconds=round(days[0] * 86_400_000))
    return moment.isoformat(timespec="milliseconds")


def _cell(modules: Modules) -> dict[str, str | float]:
    settings = modules["VMP Set"].content if "VMP Set" in modules else b""
    if len(settings) <= CAPACITY_UNIT:
        return {}
    facts: dict[str, str | float] = {
        name: text for name, at in STRINGS.items() if (text := _string(settings, at))
    }
    numbers = {name: _number(settings, at) for name, at in NUMBERS.items()}
    unit = settings[CAPACITY_UNIT]
    if unit < len(CAPACITY_UNITS):
        facts["battery_capacity_unit"] = CAPACITY_UNITS[unit]
        numbers["battery_capacity"] = _number(settings, CAPACITY)
    return facts | {name: number for name, number in numbers.items() if math.isfinite(number)}


def _channel(modules: Modules) -> dict[str, str | float]:
    log = modules["VMP LOG"].content if "VMP LOG" in modules else b""
    if len(log) < 0x3B7 + 1:
        return {}
    (serial,) = struct.unpack_from("<H", log, 0xAB)
    version = _string(log, 0x3B7)
    return {"channel": log[9] + 1, "channel_serial": serial, "software_version": version}


def _string(content: bytes, at: int) -> str:
    return content[at + 1 : at + 1 + content[at]].decode("latin-1").replace("\r\n", "\n").strip()


def _number(content: bytes, at: int) -> float:
    """Return a single as the decimal number it was entered as."""
    return float(f"{struct.unpack_from('<f', content, at)[0]:.7g}")
