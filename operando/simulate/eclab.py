"""The log of a simulated cell as EC-Lab text (.mpt), as a BioLogic potentiostat exports it."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from operando.simulate.cell import HOUR, Cell
from operando.simulate.noise import normal

Array = npt.NDArray[np.float64]

COLUMNS = (
    "mode",
    "ox/red",
    "error",
    "control changes",
    "Ns changes",
    "counter inc.",
    "Ns",
    "time/s",
    "dq/mA.h",
    "(Q-Qo)/mA.h",
    "control/V/mA",
    "Ewe/V",
    "I Range",
    "half cycle",
    "<I>/mA",
    "cycle number",
)
SEQUENCES = {"rest": 0, "charge": 1, "rest charged": 2, "discharge": 3, "rest discharged": 4}
"""Names of steps and their number (Ns) in the settings."""

DECIMAL = re.compile(r"(?<=\d)\.(?=\d)")

INTERVAL_S = 10.0
SWITCHING_S = 0.0002
VOLTAGE_NOISE = 3e-5
CURRENT_NOISE = 1e-4
"""As a part of the current."""

HEADER = """EC-Lab ASCII FILE
Nb header lines : {lines}

{technique}

Run on channel : 3 (SN 0000)
User :
CE vs. WE compliance from -10 V to 10 V
Electrode connection : standard
Potential control : Ewe
Ewe ctrl range : min = 0.00 V, max = 5.00 V
Acquisition started on : {start}
Saved on :
\tFile : {name}.mpr
Device : VSP (simulated)
EC-LAB for windows (software)
Electrode material : layered sodium oxide
Electrolyte : Na3Zr2Si2PO12
Comments : simulated by operando, no real cell
Electrode surface area : 1.000 cm\u00b2
Cycle Definition : Charge/Discharge alternance
{settings}

{columns}
"""


SWEEP_COLUMNS = (
    "freq/Hz",
    "Re(Z)/Ohm",
    "-Im(Z)/Ohm",
    "|Z|/Ohm",
    "Phase(Z)/deg",
    "time/s",
    "<Ewe>/V",
    "<I>/mA",
    "cycle number",
)
SWEEP_SETTINGS = (
    ("Mode", "Single sine"),
    ("E (V)", "0.0000"),
    ("vs.", "Eoc"),
    ("Nd", "6"),
    ("Points", "per decade"),
    ("spacing", "Logarithmic"),
    ("Va (mV)", "10.0"),
)

SETTINGS = (
    ("Ns", "0", "1", "2", "3", "4"),
    ("Set I/C", "I", "I", "I", "I", "I"),
    ("Is", "0.000", "300.000", "0.000", "-300.000", "0.000"),
    ("unit Is", "\u00b5A", "\u00b5A", "\u00b5A", "\u00b5A", "\u00b5A"),
    ("vs.", "<None>", "<None>", "<None>", "<None>", "<None>"),
    ("I sign", "> 0", "> 0", "> 0", "< 0", "> 0"),
    ("I Range", "1 mA", "1 mA", "1 mA", "1 mA", "1 mA"),
    ("dE1 (mV)", "0.00", "0.00", "0.00", "0.00", "0.00"),
    ("dt1 (s)", "0.0000", "10.0000", "0.0000", "10.0000", "0.0000"),
    ("dtR (s)", "10.0000", "0.0000", "10.0000", "0.0000", "10.0000"),
)
"""The program: what a column of the table does in sequence Ns."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """What one file of the potentiostat holds, in its units, rounded as it is written."""

    elapsed: Array
    voltage: Array
    mean_ma: Array
    """Mean current since the previous row."""
    counter_mah: Array
    increment_mah: Array
    step: npt.NDArray[np.intp]
    """Number of the step of the cell's schedule."""
    first: npt.NDArray[np.bool_]
    """Rows that open a step."""


def log(cell: Cell, *, steps: range, bits: np.random.PCG64) -> Log:
    """Return the record of some steps of a cell: a row every 10 s, and at either end of a step."""
    start = cell.bounds[steps.start]
    moments, numbers, first = _rows(cell, steps)
    elapsed = np.rint((moments - start) * 1e4) / 1e4
    within = np.minimum(moments, cell.bounds[numbers + 1] - 1e-6)
    seen = np.where(first & (numbers > steps.start), moments - 2 * SWITCHING_S, within)
    noise = normal(bits, (2, moments.size))
    voltage = np.rint((cell.voltage(seen) + VOLTAGE_NOISE * noise[0]) * 1e6) / 1e6
    nominal = np.array([cell.steps[number].current_ma for number in numbers])
    mean = np.where(first, 0.0, nominal * (1.0 + CURRENT_NOISE * noise[1]))
    mean = np.rint(mean * 1e8) / 1e8
    increment = mean * np.diff(elapsed, prepend=0.0) / HOUR
    return Log(
        elapsed=elapsed,
        voltage=voltage,
        mean_ma=mean,
        counter_mah=np.cumsum(increment),
        increment_mah=increment,
        step=numbers,
        first=first,
    )


def _rows(cell: Cell, steps: range) -> tuple[Array, npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return moment, step and whether it opens the step, for every row."""
    moments: list[Array] = []
    numbers: list[int] = []
    first: list[bool] = []
    for number in steps:
        begin, end = cell.bounds[number], cell.bounds[number + 1]
        opening = begin if number == steps.start else begin + SWITCHING_S
        ticks = np.arange(begin + INTERVAL_S, end - 1e-3, INTERVAL_S)
        moments.append(np.array([opening, *ticks, end]))
        numbers += [number] * (ticks.size + 2)
        first += [True] + [False] * (ticks.size + 1)
    return np.concatenate(moments), np.array(numbers), np.array(first)


def text(cell: Cell, record: Log, *, name: str, start: str, comma: bool) -> bytes:
    """Return the file: Latin-1, CRLF, with the decimal mark of the computer that wrote it.

    Parameters
    ----------
    start
        Local time of the start, as EC-Lab writes it (MM/DD/YYYY HH:MM:SS.mmm).
    """
    settings = "\n".join("".join(f"{cell:<20}" for cell in row) for row in SETTINGS)
    columns = "\t".join(COLUMNS) + "\t"
    facts = {"start": start, "name": name, "settings": settings, "columns": columns}
    technique = "Galvanostatic Cycling with Potential Limitation"
    lines = HEADER.count("\n") + len(SETTINGS) - 1
    header = HEADER.format(lines=lines, technique=technique, **facts)
    return file_text(header, _lines(cell, record), start=start, comma=comma)


def file_text(header: str, lines: Iterable[str], *, start: str, comma: bool) -> bytes:
    """Return header and rows as EC-Lab writes them: Latin-1, CRLF, the decimal mark asked for."""
    head, stamp, tail = header.partition(f"Acquisition started on : {start}")
    rows = "".join(f"{line}\n" for line in lines)
    if comma:
        head, tail, rows = (DECIMAL.sub(",", part) for part in (head, tail, rows))
    return (head + stamp + tail + rows).replace("\n", "\r\n").encode("latin-1")


def impedance_text(
    frequency: Array,
    impedance: npt.NDArray[np.complex128],
    *,
    time: Array,
    voltage: Array,
    name: str,
    start: str,
    comma: bool = False,
) -> bytes:
    """Return sweeps of potentiostatic impedance as EC-Lab exports them, with eight digits.

    Parameters
    ----------
    frequency
        Hz (points,), in the order they are measured.
    impedance
        Z' + i Z'' in ohm (sweeps, points).
    time
        Seconds (sweeps, points) since the start, when each point was done.
    voltage
        V (sweeps,): the potential each sweep is taken around.
    start
        Local time of the start, as EC-Lab writes it (MM/DD/YYYY HH:MM:SS.mmm).
    comma
        Whether the computer writes decimal commas.
    """
    settings = "\n".join("".join(f"{cell:<20}" for cell in row) for row in SWEEP_SETTINGS)
    header = HEADER.format(
        lines=HEADER.count("\n") + len(SWEEP_SETTINGS) - 1,
        technique="Potentio Electrochemical Impedance Spectroscopy",
        start=start,
        name=name,
        settings=settings,
        columns="\t".join(SWEEP_COLUMNS) + "\t",
    )
    lines = (
        "\t".join(
            (
                *(single(at) for at in (hertz, z.real, -z.imag, abs(z))),
                single(math.degrees(cmath.phase(z))),
                double(moment),
                *(single(at) for at in (voltage[sweep], 0.0)),
                double(sweep + 1.0),
            )
        )
        for sweep in range(impedance.shape[0])
        for hertz, z, moment in zip(frequency, impedance[sweep], time[sweep], strict=True)
    )
    return file_text(header, lines, start=start, comma=comma)


def _lines(cell: Cell, record: Log) -> Iterator[str]:
    half_cycles = _half_cycles(cell, record)
    for row, number in enumerate(record.step):
        step = cell.steps[number]
        half, oxidising = half_cycles[number]
        fields = [
            "1" if step.current_ma else "3",
            f"{oxidising:d}",
            "0",
            f"{record.first[row]:d}",
            f"{record.first[row] and number > record.step[0]:d}",
            "0",
            f"{SEQUENCES[step.name]}",
            double(record.elapsed[row]),
            double(record.increment_mah[row]),
            double(record.counter_mah[row]),
            single(step.current_ma),
            single(record.voltage[row]),
            "13",
            f"{half}",
            double(record.mean_ma[row]),
            double(float(half // 2)),
        ]
        yield "\t".join(fields)


def _half_cycles(cell: Cell, record: Log) -> dict[int, tuple[int, bool]]:
    """Return for every step its half cycle and whether the last current oxidised.

    Both keep their value at rest; the count starts at 0 in every file.
    """
    numbers = list(dict.fromkeys(record.step.tolist()))
    driven = [cell.steps[number].current_ma for number in numbers if cell.steps[number].current_ma]
    found = {}
    half, last = 0, driven[0]
    for number in numbers:
        current = cell.steps[number].current_ma
        if current and (current > 0) != (last > 0):
            half += 1
        last = current or last
        found[number] = (half, last > 0)
    return found


def double(value: float) -> str:
    """Return a number as EC-Lab writes one it holds in 64 bits."""
    return _exponent(f"{value:.15E}")


def single(value: float) -> str:
    """Return a number as EC-Lab writes one it holds in 32 bits."""
    return _exponent(f"{value:.7E}")


def _exponent(written: str) -> str:
    """Give the exponent its three digits; minus zero becomes zero."""
    mantissa, exponent = written.split("E")
    sign = "" if not mantissa.strip("-0.") else mantissa[: mantissa.startswith("-")]
    return f"{sign}{mantissa.lstrip('-')}E{exponent[0]}{int(exponent[1:]):03d}"
