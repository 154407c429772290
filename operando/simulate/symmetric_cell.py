"""A simulated Na | Na3Zr2Si2PO12 | Na cell whose interphase grows, followed by impedance.

A BioLogic instrument repeats three linked techniques: plating and stripping (CP), rest (OCV) and
impedance (PEIS). Each technique has one EC-Lab text file in which its loops follow one another,
hours apart, all counted from one start: as the instrument writes them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from operando.simulate import eclab
from operando.simulate.impedance import Impedance, grown, noisy, point_times
from operando.simulate.noise import Array, normal, stream

START = datetime(2026, 5, 11, 15, 2, 40, 512_000, tzinfo=UTC)
ZONE = "Europe/Paris"
LOOPS = 16
HALF_S, REST_S, INTERVAL_S = 1800.0, 2400.0, 30.0
DENSITY = 0.1
"""mA/cm2, on 1 cm2."""
FREQUENCY: Array = np.logspace(np.log10(0.2), 6.0, 55)
SLOW_OHM = 20.0
"""What direct current meets beyond the arcs: diffusion in the metal."""
NOISE = 0.003
INITIAL_OHM, RATE, EXPONENT = 6.0, 5.0, 0.5
"""R = R0 + k (t / 1 h)^n of the interphase."""
CELL = Impedance(
    series_resistance=18.0,
    inductance=2.0e-7,
    resistance=(24.0, INITIAL_OHM),
    time_constant=(4.0e-6, 6.0e-4),
    exponent=(0.92, 0.9),
    tail=6.0,
    tail_exponent=0.55,
)
"""Bulk in series, grain boundaries, interphase, and a tail."""

HEADER = """EC-Lab ASCII FILE
Nb header lines : {lines}

{technique}

Run on channel : 5 (SN 0000)
Electrode connection : standard
Ewe ctrl range : min = -5.00 V, max = 5.00 V
Acquisition started on : {start}
Saved on :
\tFile : {name}.mpr
Device : VSP-300 (simulated)
EC-LAB for windows (software)
Electrolyte : Na3Zr2Si2PO12
Comments : simulated by operando, no real cell
Electrode surface area : 1.000 cm\u00b2
Number of loops : {count}
{loops}
{columns}
"""

SOURCE = """\
# na_symmetric_cell

A simulated Na | Na3Zr2Si2PO12 | Na cell: nothing in it was measured. Three linked techniques of a
BioLogic instrument are repeated {loops} times: plating and stripping at {density} mA/cm2 (CP), rest
(OCV), impedance from 1 MHz to 0.2 Hz (PEIS). Each has its EC-Lab text file; `time/s` counts from
the start of the whole, and the loops of a file lie hours apart. Local time of {zone}.

`truth.json` holds what was put in: the resistance of the interphase grows as
R = {initial} + {rate} (t / 1 h)^{exponent} ohm; bulk and grain boundaries stay as they are. The
polarisation at constant current grows with it.

Generate it again with `operando.simulate.symmetric_cell.write(folder)`; the files come out the same
to the byte.
"""

RECIPE = """\
# Simulated Na | Na3Zr2Si2PO12 | Na cell: the impedance of a growing interphase. The sweeps are part
# of the record of the cell, and are measured as frames too.
name = "na_symmetric_cell"
title = "Na | Na3Zr2Si2PO12 | Na, growing interphase (simulated)"

[cell]
working_electrode = "Na"
electrolyte = "Na3Zr2Si2PO12"
counter_electrode = "Na"
area_cm2 = 1.0

[electrochemistry]
path = "echem/*.mpt"
tz = "Europe/Paris"
clock_sigma_s = 0.5

[[measurement]]
name = "eis"
path = "echem/*PEIS*.mpt"
tz = "Europe/Paris"
clock_sigma_s = 0.5

  [[measurement.observe]]
  kind = "resistance"
  name = "arcs"
  arcs = 2
  tail = true
  band = [20.0, 20000.0]  # Hz: the interphase lies between, whatever the circuit says

  [[measurement.detect]]
  kind = "departure"
  observable = "arcs.band_resistance"
  reversible = "none"
"""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """When the three techniques of one loop begin, in s since the start."""

    plating: float
    rest: float
    sweep: float


def write(folder: Path, *, seed: int = 2026) -> dict[str, Any]:
    """Write files, recipe and truth into `folder`; return the truth.

    The same seed gives the same bytes on every machine.
    """
    loops = _schedule()
    middle = float(point_times(FREQUENCY).max()) / 2
    hours = np.array([(loop.sweep + middle) / 3600 for loop in loops])
    resistance = grown(hours, initial=INITIAL_OHM, rate=RATE, exponent=EXPONENT)
    echem = folder / "echem"
    echem.mkdir(parents=True, exist_ok=True)
    parts = {
        "01_CP": ("Chronopotentiometry", CP, _plating(loops, seed)),
        "02_OCV": ("Open Circuit Voltage", OCV, _resting(loops, seed)),
        "03_PEIS": (
            "Potentio Electrochemical Impedance Spectroscopy",
            PEIS,
            _sweeping(loops, resistance, seed),
        ),
    }
    for name, (technique, columns, rows) in parts.items():
        path = echem / f"na_sym_{name}_C05.mpt"
        path.write_bytes(_text(path.stem, technique, columns, rows))
    truth = {
        "name": "na_symmetric_cell",
        "seed": seed,
        "zone": ZONE,
        "growth": {"initial_ohm": INITIAL_OHM, "ohm_per_hour_n": RATE, "exponent": EXPONENT},
        "series_ohm": CELL.series_resistance,
        "grain_boundary_ohm": CELL.resistance[0],
        "sweeps": [
            {"start": _utc(loop.sweep), "interphase_ohm": round(float(value), 6)}
            for loop, value in zip(loops, resistance, strict=True)
        ],
    }
    for name, text in {
        "truth.json": json.dumps(truth, indent=1) + "\n",
        "recipe.toml": RECIPE,
        "SOURCE.md": SOURCE.format(
            loops=LOOPS,
            density=DENSITY,
            zone=ZONE,
            initial=INITIAL_OHM,
            rate=RATE,
            exponent=EXPONENT,
        ),
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return truth


CP = ("mode", "ox/red", "error", "Ns", "time/s", "Ewe/V", "I/mA", "(Q-Qo)/mA.h")
OCV = ("mode", "error", "time/s", "Ewe/V")
PEIS = (
    "freq/Hz",
    "Re(Z)/Ohm",
    "-Im(Z)/Ohm",
    "|Z|/Ohm",
    "Phase(Z)/deg",
    "time/s",
    "<Ewe>/V",
    "<I>/mA",
    "cycle number",
    "Ns",
)

Rows = list[tuple[int | float, ...]]


def _schedule() -> list[Loop]:
    sweep_s = float(point_times(FREQUENCY).max())
    length = 2 * HALF_S + REST_S + np.ceil(sweep_s) + 2.0
    return [
        Loop(
            plating=number * length,
            rest=number * length + 2 * HALF_S,
            sweep=number * length + 2 * HALF_S + REST_S + 1.0,
        )
        for number in range(LOOPS)
    ]


def _plating(loops: Sequence[Loop], seed: int) -> list[Rows]:
    """Plate for half the time, strip for the other; the voltage is the current's way through."""
    bits = stream(seed, 1)
    found: list[Rows] = []
    for loop in loops:
        since = np.arange(INTERVAL_S, 2 * HALF_S + 1e-9, INTERVAL_S)
        forward = since <= HALF_S
        current = np.where(forward, DENSITY, -DENSITY)
        moments = loop.plating + since
        interphase = grown(moments / 3600, initial=INITIAL_OHM, rate=RATE, exponent=EXPONENT)
        ohms = CELL.series_resistance + CELL.resistance[0] + interphase + SLOW_OHM
        volts = 1e-3 * current * ohms + 2e-5 * normal(bits, since.size)
        charge = np.cumsum(current) * INTERVAL_S / 3600
        found.append(
            [
                (1, int(way), 0, int(not way), float(t), float(e), float(i), float(q))
                for way, t, e, i, q in zip(forward, moments, volts, current, charge, strict=True)
            ]
        )
    return found


def _resting(loops: Sequence[Loop], seed: int) -> list[Rows]:
    bits = stream(seed, 2)
    found: list[Rows] = []
    for loop in loops:
        since = np.arange(INTERVAL_S, REST_S + 1e-9, INTERVAL_S)
        volts = 1e-3 * np.exp(-since / 300.0) + 2e-5 * normal(bits, since.size)
        found.append(
            [(3, 0, loop.rest + float(t), float(e)) for t, e in zip(since, volts, strict=True)]
        )
    return found


def _sweeping(loops: Sequence[Loop], resistance: Array, seed: int) -> list[Rows]:
    """Measure from the highest frequency down, a row when a point is done."""
    done = point_times(FREQUENCY)
    bits = stream(seed, 3)
    found: list[Rows] = []
    for number, (loop, value) in enumerate(zip(loops, resistance, strict=True)):
        cell = replace(CELL, resistance=(CELL.resistance[0], float(value)))
        measured = noisy(cell.at(FREQUENCY), noise=NOISE, seed=seed + number)
        volts = 2e-5 * normal(bits, FREQUENCY.size)
        found.append(
            [
                (
                    float(FREQUENCY[at]),
                    float(measured[at].real),
                    float(-measured[at].imag),
                    float(np.abs(measured[at])),
                    float(np.degrees(np.angle(measured[at]))),
                    loop.sweep + float(done[at]),
                    float(volts[at]),
                    0.0,
                    float(number + 1),
                    0,
                )
                for at in np.argsort(-FREQUENCY)
            ]
        )
    return found


def _text(name: str, technique: str, columns: Sequence[str], loops: Sequence[Rows]) -> bytes:
    """Return one file of EC-Lab: Latin-1, CRLF, its loops named in the header."""
    bounds = np.cumsum([0, *(len(rows) for rows in loops)])
    named = "\n".join(
        f"Loop {number} from point number {first} to {last - 1}"
        for number, (first, last) in enumerate(pairwise(bounds))
    )
    header = HEADER.format(
        lines=HEADER.count("\n") + len(loops) - 1,
        technique=technique,
        start=START.astimezone(ZoneInfo(ZONE)).strftime("%m/%d/%Y %H:%M:%S.512"),
        name=name,
        count=len(loops),
        loops=named,
        columns="\t".join(columns) + "\t",
    )
    rows = "".join(
        "\t".join(_field(column, value) for column, value in zip(columns, row, strict=True)) + "\n"
        for loop in loops
        for row in loop
    )
    return (header + rows).replace("\n", "\r\n").encode("latin-1")


def _field(column: str, value: float) -> str:
    if isinstance(value, int):
        return str(value)
    double = column in ("time/s", "(Q-Qo)/mA.h", "cycle number")
    return eclab.double(value) if double else eclab.single(value)


def _utc(moment: float) -> str:
    stamp = START + timedelta(milliseconds=round(moment * 1000.0))
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"
