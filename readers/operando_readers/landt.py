"""Landt (LAND, LANHE) exports: .csv, .txt and .xlsx, with English or Chinese names.

Usage: `read(file)`; `sheet` where a workbook holds several tables of records.

File structure: names with their units ("TestTime/Sec.", "Current/mA", "测试时间/Sec", "电流/mA"),
then rows; Chinese text is UTF-8 or GB18030. A newer .csv has lines about the cell above names such
as `test_time_s` and `current_A`, and a comma after the last field. In workbooks the rows are on a
sheet whose name holds "Record-Tab", "记录表" or "DefaultGroup".

No such file was at hand. The newer .csv was read from a public data set (battery-data-alliance,
SINTEF__LiGrR2032 ... Landt.csv); the other names, units and states from code that reads them
(dQdV viewer of the University of Washington, echemistpy, LANDT-py and others).

Clock: `SysTime` of every row, local, beside `TestTime` in s, min, h or as "1-02:30:00".

Sign: charging is positive. `Capacity` is a magnitude that starts again at every step; it takes the
direction of its step.
"""

from __future__ import annotations

import re

import xarray as xr

from operando_readers._cycler import read_log
from operando_readers._profile import Profile
from operando_readers._reader import File, Reader
from operando_readers._source import claims
from operando_readers._stamps import DateOrder

STATES = {
    **dict.fromkeys(("R", "Rest", "rest", "静置", "搁置"), "rest"),
    **dict.fromkeys(
        ("C_CC", "C_Rate", "RateC", "CCC", "CC_C", "CCCV_C", "CCVC_C", "charge CC", "恒流充电"),
        "charge",
    ),
    **dict.fromkeys(
        ("D_CC", "D_Rate", "RateD", "CCD", "CC_D", "discharge CC", "恒流放电"), "discharge"
    ),
    **dict.fromkeys(("C_CV", "CVC", "CV_C", "charge CV", "恒压充电"), "hold_charge"),
    **dict.fromkeys(("D_CV", "CVD", "CV_D", "discharge CV", "恒压放电"), "hold_discharge"),
    **dict.fromkeys(("恒流恒压充电",), "charge"),
}

PROFILE = Profile(
    instrument="Landt",
    sign="oxidation_positive",
    header=re.compile(r"(?i)^(?!\W*rec#?\s*[\t,;])(?=.*(?:testtime|test_time_s\b|测试时间))"),
    columns={
        "elapsed": {"testtime": None, "test time s": "s", "测试时间": None},
        "stamp": {"systime": None, "date time iso string": None, "系统时间": None},
        "voltage": {"voltage": None, "voltage v": "V", "电压": None},
        "current": {"current": None, "current a": "A", "电流": None},
        "charge": {"charge capacity ah": "Ah", "充电容量": None},
        "discharge": {"discharge capacity ah": "Ah", "放电容量": None},
        "capacity": {"capacity": None, "容量": None},
        "step": {"step index": None, "stepno": None, "step": None, "工步序号": None},
        "cycle": {"cycle index": None, "cycleno": None, "cycle": None, "循环序号": None},
        "state": {
            **dict.fromkeys(("state", "step state", "stepstatus", "step status", "step name")),
            **dict.fromkeys(("状态", "工步状态", "工步名称")),
        },
    },
    states=STATES,
    missing=("", "nan", "-", "--"),
    legacy="gb18030",
    sheets=re.compile(r"(?i).*(?:record[-_ ]?tab|记录表|defaultgroup).*"),
)


def sniff(head: bytes, name: str) -> bool:
    """Whether the names of the columns, or of the worksheets, are Landt's."""
    return claims(head, PROFILE)


def read(
    file: File, *, date_order: DateOrder | None = None, sheet: str | None = None
) -> xr.Dataset:
    """Read one channel.

    Parameters
    ----------
    date_order
        "mdy" or "dmy" for dates that nothing in the file decides.
    sheet
        The worksheet to read.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), `charge_counter` (A h), and
    where the file has them `state_instrument`, `step_instrument`, `cycle_instrument`; coordinates
    `elapsed` and, where rows are stamped, `wall_clock` (s).

    Raises
    ------
    FormatError
        Not such a file, or a row, unit or date that cannot be read; names the line.
    """
    return read_log(file, PROFILE, date_order=date_order, sheet=sheet)


READER = Reader(
    technique="electrochemistry",
    suffixes=(".csv", ".txt", ".xlsx"),
    sniff=sniff,
    read=read,
    description="Landt (LAND) cycler exports, csv, txt and xlsx",
)
