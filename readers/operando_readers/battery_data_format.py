"""The Battery Data Format (BDF) of the Battery Data Alliance, as delimited text.

Usage: `read(file)`. `operando.electrochemistry.battery_data_format` writes it.

File structure: one line of names, "Test Time / s" (preferred) or `test_time_second`, then rows; one
cell a file (.bdf, .bdf.csv; README of battery-data-alliance/battery-data-format). Units other than
the fixed ones occur in files ("Test Time / h") and are read. Parquet is not: nothing the project
depends on reads it.

Clock: `Unix Time / s` is UTC by definition. A file without it has no start.

Sign: the format does not define one, and files with + for discharge exist (batmo_bdf.csv of
jepegit/cellpy). Where the file counts charge (charging and discharging capacity, or net capacity,
which the format defines as charging minus discharging), the current that charges is the positive
one; else the sign is unknown, and measured later.
"""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from operando_readers._cycler import read_log
from operando_readers._profile import Profile
from operando_readers._reader import File, Reader
from operando_readers._source import claims

AGREEMENT = 0.9
"""Share of the counted charge that must go one way with the current."""

PROFILE = Profile(
    instrument="Battery Data Format",
    sign="unknown",
    header=re.compile(r"Test Time / \w|\btest_time_second\b"),
    columns={
        "elapsed": {"test time": None, "test time second": "s"},
        "unix": {"unix time": None, "unix time second": "s"},
        "voltage": {"voltage": None, "voltage volt": "V"},
        "current": {"current": None, "current ampere": "A"},
        "charge": {
            **{"charging capacity": None, "charging capacity ah": "Ah"},
            **{"charge capacity": None},
        },
        "discharge": {
            **{"discharging capacity": None, "discharging capacity ah": "Ah"},
            **{"discharge capacity": None},
        },
        "net": {"net capacity": None, "net capacity ah": "Ah"},
        "step": {"step count": None, "step index": None},
        "cycle": {"cycle count": None},
        "state": {"step type": None},
    },
    states={
        **{"rest": "rest", "charge": "charge", "discharge": "discharge"},
        **{"hold_charge": "hold_charge", "hold_discharge": "hold_discharge"},
        **{"sweep_up": "sweep_up", "sweep_down": "sweep_down"},
    },
)


def sniff(head: bytes, name: str) -> bool:
    """Whether the names hold the time, the voltage and the current as the format spells them."""
    return claims(head, PROFILE)


def read(file: File) -> xr.Dataset:
    """Read one cell.

    Returns
    -------
    Log on `time` with `voltage` (V), `current` (A, instantaneous), and where the file has them
    `charge_counter` (A h), `step_instrument`, `cycle_instrument`, `state_instrument`; coordinates
    `elapsed` and, with `Unix Time / s`, `wall_clock` (s).

    Raises
    ------
    FormatError
        Not such a file, a unit that is not known, or a row that is not numbers (names its line).
    """
    dataset = read_log(file, PROFILE)
    del dataset.attrs["instrument"]
    dataset.attrs["current_sign"] = _sign(dataset)
    return dataset


def _sign(dataset: xr.Dataset) -> str:
    """Return which current charges the cell, by the charge the file counts."""
    if "charge_counter" not in dataset or "current" not in dataset:
        return "unknown"
    step = np.diff(dataset["charge_counter"].values)
    current = dataset["current"].values[1:]
    known = np.isfinite(step) & np.isfinite(current) & (current != 0)
    # A restart of the counter is a long step the wrong way: signs are counted, not sizes.
    moved = np.sign(step[known]) * np.sign(current[known])
    counted = np.count_nonzero(moved)
    if not counted:
        return "unknown"
    with_current = np.count_nonzero(moved > 0) / counted
    if with_current > AGREEMENT:
        return "oxidation_positive"
    return "oxidation_negative" if with_current < 1 - AGREEMENT else "unknown"


READER = Reader(
    technique="electrochemistry",
    suffixes=(".bdf", ".csv"),
    sniff=sniff,
    read=read,
    description="Battery Data Format, delimited text",
)
