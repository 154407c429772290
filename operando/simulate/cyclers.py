"""One simulated constant-current cell, as the exports of several cyclers and potentiostats.

The layouts are those the readers name in their docstrings; nothing in the files was measured.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from operando.simulate.cell import Cell, Step

Array = npt.NDArray[np.float64]

CURRENT_MA = 2.5
CELL = Cell(
    steps=(
        Step(name="rest", seconds=300.0),
        Step(name="charge", seconds=1500.0, current_ma=CURRENT_MA),
        Step(name="rest", seconds=300.0),
        Step(name="discharge", seconds=1500.0, current_ma=-CURRENT_MA),
        Step(name="rest", seconds=300.0),
    ),
    capacity_mah=3.0,
    initial=0.3,
    resistance_ohm=12.0,
    slow_ohm=8.0,
    slow_s=120.0,
    layer_from_mah=1e9,
    layer_ohm_per_mah=0.0,
)
START = datetime(2026, 4, 30, 14, 33, 19)  # noqa: DTZ001  exports carry local time without zone
EVERY_S = 60.0
SWEEP_V = (0.2, 0.6)
SWEEP_STEP_V = 0.01
SWEEP_RATE = 0.005
SWEEP_OHM = 2000.0

SOURCE = """# cycler_exports

One simulated cell, nothing in it was measured: 5 min rest, 25 min charge at 2.5 mA, 5 min rest,
25 min discharge, 5 min rest, a row every minute and at both ends of a step. It is written in the
layouts in which makers of cyclers and potentiostats export, as far as public material shows them
(each reader's docstring says what that was). chi_cv.txt is a voltammogram of a 2 kohm resistor.

Generate the files again with `operando.simulate.cyclers.write(folder)`; they come out the same to
the byte. The clock on the wall showed 2026-04-30 14:33:19 at the first row; the BDF file takes that
as UTC, and counts its current positive on discharge.

`truth.json` holds what was put in, row by row, in s, V, mA and mA h (net charge).
"""


@dataclass(frozen=True, kw_only=True)
class Log:
    """What the instruments record, rounded as they write it."""

    elapsed: Array
    voltage: Array
    current_ma: Array
    net_mah: Array
    step_mah: Array
    """Magnitude since the step began."""
    number: npt.NDArray[np.intp]
    """Step of the schedule, from 0."""


def record(cell: Cell = CELL) -> Log:
    """Return the rows of a cell: every minute, and both ends of every step."""
    moments: list[Array] = []
    numbers: list[int] = []
    for number, begin in enumerate(cell.bounds[:-1]):
        rows = np.arange(begin, cell.bounds[number + 1] + 1e-9, EVERY_S)
        rows[0] += 0.5 if number else 0.0
        moments.append(rows)
        numbers += [number] * rows.size
    elapsed, number_of = np.concatenate(moments), np.array(numbers)
    current = np.array([cell.steps[number].current_ma for number in numbers])
    # A row that ends a step still belongs to it.
    seen = np.minimum(elapsed, cell.bounds[number_of + 1] - 1e-6)
    net = np.round(cell.net_mah(elapsed), 6)
    since = np.round(np.abs(net - cell.net_mah(cell.bounds[number_of])), 6).astype(np.float64)
    return Log(
        elapsed=elapsed,
        voltage=np.round(cell.voltage(seen), 4),
        current_ma=current,
        net_mah=net,
        step_mah=since,
        number=number_of,
    )


def write(folder: Path) -> dict[str, Any]:
    """Write the exports into `folder` and return their truth, which is also in truth.json."""
    log = record()
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in EXPORTS.items():
        (folder / name).write_bytes(make(log))
    truth: dict[str, Any] = {
        "start": START.isoformat(),
        "elapsed_s": log.elapsed.tolist(),
        "voltage_V": log.voltage.tolist(),
        "current_mA": log.current_ma.tolist(),
        "net_charge_mAh": log.net_mah.tolist(),
        "step": [CELL.steps[number].name for number in log.number],
        "resistor_ohm": SWEEP_OHM,
        "sweep_V_per_s": SWEEP_RATE,
    }
    (folder / "truth.json").write_bytes((json.dumps(truth, indent=1) + "\n").encode())
    (folder / "SOURCE.md").write_bytes(SOURCE.encode())
    return truth


def _stamp(seconds: float, layout: str) -> str:
    return (START + timedelta(seconds=float(seconds))).strftime(layout)


def _text(lines: Iterable[str], *, encoding: str = "utf-8", end: str = "\r\n") -> bytes:
    return "".join(line + end for line in lines).encode(encoding)


def _columns(log: Log) -> Iterable[tuple[int, float, float, float, float, int]]:
    """Give number of the row, elapsed, voltage, mA, magnitude in mA h and step, row by row."""
    return zip(
        range(1, log.elapsed.size + 1),
        log.elapsed.tolist(),
        log.voltage.tolist(),
        log.current_ma.tolist(),
        log.step_mah.tolist(),
        log.number.tolist(),
        strict=True,
    )


LANDT_STATES = {"rest": "R", "charge": "C_CC", "discharge": "D_CC"}


def _landt_english(log: Log) -> bytes:
    names = "Index,TestTime/Sec.,StepTime/Sec.,Voltage/V,Current/mA,Capacity/mAh,SysTime,State,"
    rows = (
        f"{row},{t:.1f},{t - CELL.bounds[n]:.1f},{v:.4f},{i:.4f},{q:.6f},"
        f"{_stamp(t, '%Y-%m-%d %H:%M:%S')},{LANDT_STATES[CELL.steps[n].name]},"
        for row, t, v, i, q, n in _columns(log)
    )
    return _text([names, *rows])


def _landt_chinese(log: Log) -> bytes:
    words = {"rest": "静置", "charge": "恒流充电", "discharge": "恒流放电"}
    names = "记录序号,测试时间/Sec,电压/V,电流/uA,容量/uAh,状态,系统时间"
    rows = (
        f"{row},{t:.1f},{v:.4f},{1e3 * i:.1f},{1e3 * q:.3f},{words[CELL.steps[n].name]},"
        f"{_stamp(t, '%Y-%m-%d %H:%M:%S')}"
        for row, t, v, i, q, n in _columns(log)
    )
    return _text([names, *rows], encoding="gb18030")


def _landt_newer(log: Log) -> bytes:
    words = {"rest": "rest", "charge": "charge CC", "discharge": "discharge CC"}
    above = ["cell model:,,,", "cell id: ,,,", "Nominal capacity used to define the C rate:Ah,,,"]
    names = (
        "channel_index,cycle_index,step_index,date_time_iso_string,test_time_s,step_time_s,"
        "current_A,voltage_V,discharge_capacity_Ah,charge_capacity_Ah,step_name"
    )
    rows = []
    for row, t, v, i, q, n in _columns(log):
        charge, discharge = (q, 0.0) if i > 0 else (0.0, q)
        rows.append(
            f"{row},1,{n + 1},{_stamp(t, '%m/%d/%Y %H:%M:%S')},{t:.3f},{t - CELL.bounds[n]:.3f},"
            f"{1e-3 * i:.6f},{v:.4f},{1e-3 * discharge:.9f},{1e-3 * charge:.9f},"
            f"{words[CELL.steps[n].name]},"
        )
    return _text([*above, names, *rows])


def _landt_workbook(log: Log) -> bytes:
    names = ["Record", "TestTime", "StepStatus", "Voltage/V", "Current/mA", "Capacity/mAh"]
    rows: list[Sequence[str | float]] = [
        [row, _days(t), LANDT_STATES[CELL.steps[n].name], v, i, q]
        for row, t, v, i, q, n in _columns(log)
    ]
    info = [["Test name", "simulated"], ["Start time", _stamp(0, "%Y-%m-%d %H:%M:%S")]]
    return workbook({"Test information": info, "Record-Tab": [names, *rows]})


def _days(seconds: float) -> str:
    """Return "D-HH:MM:SS.s"."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours // 24}-{hours % 24:02d}:{minutes:02d}:{rest:04.1f}"


def _maccor(log: Log) -> bytes:
    above = [
        f"Today's Date:\t14 May 2026\tDate of Test:\t{_stamp(0, '%d April %Y, %I:%M:%S')} PM",
        "Filename:\tsimulated\tTester Channel:\t1",
        "Procedure:\tsimulated.000\tDescription:\t",
    ]
    names = (
        "Rec#\tCyc#\tStep\tTestTime\tStepTime\tAmp-hr\tWatt-hr\tAmps\tVolts\tState\tES\tDPt Time"
    )
    states = {"rest": "R", "charge": "C", "discharge": "D"}
    rows = (
        f"{row}\t0\t{n + 1}\t  {_clock(t)}\t  {_clock(t - CELL.bounds[n])}\t{1e-3 * q:.9f}\t0.0\t"
        f"{1e-3 * abs(i):.6f}\t{v:.4f}\t{states[CELL.steps[n].name]}\t1\t"
        f"{_stamp(t, '%m/%d/%Y %H:%M:%S')}"
        for row, t, v, i, q, n in _columns(log)
    )
    return _text([*above, names, *rows])


def _clock(seconds: float) -> str:
    """Return "0d 00:05:0.5"."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours // 24}d {hours % 24:02d}:{minutes:02d}:{rest:g}"


def _ivium(log: Log) -> bytes:
    rows = (
        f" {t:.6E}  {v:.6E}  {1e-3 * i:.6E}  {v - 1e-5:.6E}" for _, t, v, i, *_ in _columns(log)
    )
    return _text([_stamp(0, "%d/%m/%Y %H:%M:%S"), " time/s   E/V   I/A ", *rows])


def _autolab(log: Log) -> bytes:
    names = "Scan;Index;Time (s);WE(1).Potential (V);WE(1).Current (A);Current range"
    rows = (
        f"1;{row};{t:.4f};{v:.6f};{1e-3 * i:.6E};10 mA".replace(".", ",")
        for row, t, v, i, *_ in _columns(log)
    )
    return _text([names, *rows])


def _chi_header(technique: str, *settings: str) -> list[str]:
    return [
        _stamp(0, "Apr. %d, %Y   %H:%M:%S"),
        technique,
        "File: c:\\simulated.bin",
        "Data Source:  Experiment",
        "Instrument Model:  CHI660E",
        "Header: ",
        "Note: ",
        "",
        *settings,
        "",
    ]


def _chi_open_circuit(log: Log) -> bytes:
    header = _chi_header("Open Circuit Potential - Time", "Run Time (sec) = 3900")
    rows = (f"{t:.3e}, {v:.4f}" for _, t, v, *_ in _columns(log))
    return _text([*header, "Time/sec, Potential/V", "", *rows])


def _chi_voltammogram(_: Log) -> bytes:
    low, high = SWEEP_V
    settings = (f"Init E (V) = {low:g}", f"Scan Rate (V/s) = {SWEEP_RATE:g}", "Segment = 2")
    up = np.arange(round((high - low) / SWEEP_STEP_V) + 1) * SWEEP_STEP_V + low
    lines = [*_chi_header("Cyclic Voltammetry", *settings), "Potential/V, Current/A", ""]
    for segment, potentials in enumerate((up, up[-2::-1]), start=1):
        lines.append(f"Segment {segment}:")
        lines += [f"{e:.3f}, {e / SWEEP_OHM:.3e}" for e in potentials.tolist()]
    return _text(lines)


def _powersuite(log: Log) -> bytes:
    rows = (f"{t:.8g}\t {v:.8g}\t {i:.8g}\t" for _, t, v, i, *_ in _columns(log))
    return _text(["Elapsed Time\t E\t I\t", *rows], end="\r\r\n")


def _battery_data_format(log: Log) -> bytes:
    """Return the preferred names, with a discharge that is positive, as one public file has it."""
    names = (
        "Test Time / s,Voltage / V,Current / A,Unix Time / s,Cycle Count / 1,Step Index / 1,"
        "Step Type / 1,Charging Capacity / Ah,Discharging Capacity / Ah"
    )
    rows = []
    for _, t, v, i, q, n in _columns(log):
        charge, discharge = (q, 0.0) if i > 0 else (0.0, q)
        unix = (START - datetime(1970, 1, 1)).total_seconds() + t  # noqa: DTZ001
        rows.append(
            f"{t!r},{v!r},{0.0 - 1e-3 * i:.6f},{unix!r},1,{n + 1},{CELL.steps[n].name},"
            f"{1e-3 * charge:.9f},{1e-3 * discharge:.9f}"
        )
    return _text([names, *rows], end="\n")


def _battery_data_machine(log: Log) -> bytes:
    names = "test_time_second,voltage_volt,current_ampere"
    rows = (f"{t!r},{v!r},{1e-3 * i:.6f}" for _, t, v, i, *_ in _columns(log))
    return _text([names, *rows], end="\n")


EXPORTS: dict[str, Callable[[Log], bytes]] = {
    "landt.csv": _landt_english,
    "landt_gb18030.csv": _landt_chinese,
    "landt_newer.csv": _landt_newer,
    "landt.xlsx": _landt_workbook,
    "maccor.txt": _maccor,
    "ivium.txt": _ivium,
    "autolab.txt": _autolab,
    "chi_ocp.txt": _chi_open_circuit,
    "chi_cv.txt": _chi_voltammogram,
    "powersuite.txt": _powersuite,
    "bdf.bdf.csv": _battery_data_format,
    "bdf_machine.bdf": _battery_data_machine,
}

SHEET = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<worksheet xmlns='
    '"http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData>'
    "</worksheet>"
)
BOOK = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<workbook xmlns='
    '"http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r='
    '"http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>{}</sheets>'
    "</workbook>"
)
RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Relationships xmlns='
    '"http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
)
STRINGS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<sst xmlns='
    '"http://schemas.openxmlformats.org/spreadsheetml/2006/main">{}</sst>'
)


def workbook(sheets: dict[str, Sequence[Sequence[str | float]]]) -> bytes:
    """Return sheets of text and numbers as an .xlsx file, not compressed, the same everywhere."""
    shared: dict[str, int] = {}
    parts: dict[str, str] = {}
    for number, rows in enumerate(sheets.values(), start=1):
        body = "".join(_row(row, at, shared) for at, row in enumerate(rows, start=1))
        parts[f"xl/worksheets/sheet{number}.xml"] = SHEET.format(body)
    names = "".join(
        f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
        for number, name in enumerate(sheets, start=1)
    )
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number in range(1, len(sheets) + 1)
    )
    strings = "".join(f"<si><t>{escape(text)}</t></si>" for text in shared)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in {
            "xl/workbook.xml": BOOK.format(names),
            "xl/_rels/workbook.xml.rels": RELATIONS.format(relations),
            "xl/sharedStrings.xml": STRINGS.format(strings),
            **parts,
        }.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text.encode())
    return buffer.getvalue()


def _row(cells: Sequence[str | float], number: int, shared: dict[str, int]) -> str:
    written = []
    for column, cell in enumerate(cells):
        place = f"{chr(ord('A') + column)}{number}"
        if isinstance(cell, str):
            index = shared.setdefault(cell, len(shared))
            written.append(f'<c r="{place}" t="s"><v>{index}</v></c>')
        else:
            written.append(f'<c r="{place}"><v>{cell!r}</v></c>')
    return f'<row r="{number}">{"".join(written)}</row>'
