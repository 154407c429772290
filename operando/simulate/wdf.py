"""Renishaw WiRE files (.wdf) of a time series, as `operando_readers.renishaw_wdf` reads them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from operando.simulate.noise import Array

TICKS = 10_000_000
"""Of a second."""
UNIX_EPOCH = 11_644_473_600 * TICKS
"""1970 in ticks since 1601."""
TIME, FILETIME, MICROMETRE = 11, 24, 5
STAGE = {"x": 3, "y": 4, "z": 5}
SERIES, COUNTS, RAMAN_SHIFT = 2, 6, 1

Setting = int | Mapping[str, "Setting"]


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """A series of spectra at one spot."""

    shift: Array
    """1/cm, ascending (points,)."""
    counts: Array
    """(spectra, points)."""
    ends: Sequence[float]
    """When each exposure ended, in Unix seconds by the clock of the instrument's computer."""
    begun: float
    """When the measurement began, by the same clock."""
    exposure_s: float
    """Of one accumulation."""
    accumulations: int
    laser_nm: float
    stage: Mapping[str, float]
    """x, y and z of the spot in micrometre."""
    title: str


def write(spectra: Spectra) -> bytes:
    """Return the file: the axis descends and counts are float32, as WiRE stores them."""
    count = len(spectra.ends)
    lists = [_origin(TIME, FILETIME, [_filetime(end) for end in spectra.ends], code="q")]
    lists += [
        _origin(STAGE[name], MICROMETRE, [place] * count) for name, place in spectra.stage.items()
    ]
    settings = {"Scan": {"Exposure Time": round(1000 * spectra.exposure_s)}}
    blocks = {
        "WDF1": _header(spectra, lists=len(lists)),
        "DATA": spectra.counts[:, ::-1].astype("<f4").tobytes(),
        "YLST": struct.pack("<IIf", 4, 16, 23.0),
        "XLST": struct.pack("<II", 1, RAMAN_SHIFT) + spectra.shift[::-1].astype("<f4").tobytes(),
        "ORGN": struct.pack("<I", len(lists)) + b"".join(lists),
        "WXDM": _properties(settings),
        "TEXT": b"simulated by operando, no real instrument\0",
    }
    return b"".join(
        struct.pack("<4sIQ", name.encode(), 1, 16 + len(content)) + content
        for name, content in blocks.items()
    )


def _header(spectra: Spectra, *, lists: int) -> bytes:
    count, points = spectra.counts.shape
    return struct.pack(
        "<44xIQQIIII24s4HIIqqIf48x32s160s112x",
        points,
        count,
        count,
        spectra.accumulations,
        1,
        points,
        lists,
        b"WiRE",
        *(5, 5, 0, 0),
        1,
        SERIES,
        _filetime(spectra.begun),
        _filetime(spectra.ends[-1]),
        COUNTS,
        1e7 / spectra.laser_nm,
        b"operando",
        spectra.title.encode(),
    )


def _origin(kind: int, unit: int, values: Sequence[float], *, code: str = "d") -> bytes:
    return struct.pack("<II16s", kind, unit, b"") + struct.pack(f"<{len(values)}{code}", *values)


def _filetime(unix: float) -> int:
    return UNIX_EPOCH + int(np.rint(unix * 1e3)) * (TICKS // 1000)


def _properties(tree: Mapping[str, Setting]) -> bytes:
    content = _entries(tree)
    return b"PSET" + struct.pack("<I", len(content)) + content


def _entries(tree: Mapping[str, Setting]) -> bytes:
    """Write a set as WiRE does: every name is given to a key beside its value."""
    written = b""
    for key, (name, value) in enumerate(tree.items(), start=0x8001):
        if isinstance(value, Mapping):
            inner = _entries(value)
            written += struct.pack("<cBHI", b"p", 0, key, len(inner)) + inner
        else:
            written += struct.pack("<cBHi", b"i", 0, key, value)
        written += struct.pack("<cBHI", b"k", 0, key, len(name.encode())) + name.encode()
    return written
