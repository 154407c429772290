"""A simulated Na cell swept three times while Raman looks at three layers in turn.

Sweeping the potential of the positive electrode (PE) up and down makes its bands fade and come
back; a sharp band at 920 1/cm disappears and re-emerges. Each time the potential is low, the
electrolyte in it is reduced and a product grows that never goes. The solid electrolyte (SSE) and
the negative electrode (NE) stay as they are. Focus and spectrometer drift for all three alike, a
third of the spectra are hit by cosmic rays, and the clock of the Raman computer is ahead.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from operando.simulate import eclab_voltammetry, wdf
from operando.simulate.noise import Array, normal, stream
from operando.simulate.raman_layers import (
    ANION,
    BRIGHTNESS,
    PRODUCT,
    SHIFT,
    Moment,
    bands,
    oxidised,
    spectrum,
)

START = datetime(2026, 6, 8, 7, 12, 5, 250_000, tzinfo=UTC)
ZONE = "Europe/Madrid"
AHEAD_S = 95.0
"""By how much the clock of the Raman computer is ahead."""
REST_S, REST_V = 3600.0, 2.90
RATE = 0.25e-3
"""V/s."""
LOW_V, HIGH_V = 2.0, 3.9
CYCLES = 3
INTERVAL_S = 20.0
REDUCED_BELOW_V, REDUCTION_S = 2.5, 8000.0
"""Where the electrolyte is reduced, and how long until 63 % of it is."""
CHARGE_MAH = 0.35
CAPACITANCE_F = 0.02
LAYERS = {"PE": 12.0, "SSE": 62.0, "NE": 118.0}
"""Where the layers are, y in micrometre."""
ROUND_S, MOVE_S, LIVE_S, ACCUMULATIONS = 600.0, 14.0, 60.0, 2
UNFOCUSED = range(47, 50)
"""Rounds in which the focus was lost."""


@dataclass(frozen=True)
class _Sweep:
    """Corner points of the programme."""

    moments: Array
    volts: Array

    def voltage(self, at: Array) -> Array:
        return np.asarray(np.interp(at, self.moments, self.volts))

    def way(self, at: Array) -> Array:
        """1 upward, -1 downward, 0 before the first sweep."""
        leg = np.clip(np.searchsorted(self.moments, at, side="right") - 1, 0, self.volts.size - 2)
        return np.asarray(np.sign(np.diff(self.volts))[leg])


def _programme() -> _Sweep:
    corners = [REST_V, REST_V, *([HIGH_V, LOW_V] * CYCLES), REST_V]
    lengths = np.abs(np.diff(corners)) / RATE
    lengths[0] = REST_S
    return _Sweep(np.append(0.0, np.cumsum(lengths)), np.array(corners))


SWEEP = _programme()
LENGTH_S = float(SWEEP.moments[-1])


def write(folder: Path, *, seed: int = 2026) -> dict[str, Any]:
    """Write files, recipe and truth into `folder`; return the truth.

    The same seed gives the same bytes on every machine.
    """
    _write_electrochemistry(folder / "echem", seed)
    truth = {
        "name": "na_raman_cell",
        "seed": seed,
        "zone": ZONE,
        "raman_clock_ahead_s": AHEAD_S,
        "anion_band": ANION.centre,
        "product_band": PRODUCT.centre,
        "product_onset": _utc(_product_onset()),
        "unfocused_rounds": list(UNFOCUSED),
        "layers": _write_raman(folder / "raman", seed),
    }
    for name, text in {
        "truth.json": json.dumps(truth, indent=1) + "\n",
        "recipe.toml": RECIPE,
        "SOURCE.md": SOURCE,
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    return truth


def product(at: Array) -> Array:
    """Return the amount of product at moments, 0 to 1: it grows with the time of reduction."""
    fine = np.arange(0.0, LENGTH_S + 1.0, 1.0)
    reduced = np.cumsum(SWEEP.voltage(fine) < REDUCED_BELOW_V)
    return np.asarray(1.0 - np.exp(-np.interp(at, fine, reduced) / REDUCTION_S))


def _product_onset() -> float:
    """Return when the potential is first low enough, in s since the start."""
    lowest = int(np.argmax(SWEEP.volts == LOW_V))
    return float(SWEEP.moments[lowest] - (REDUCED_BELOW_V - LOW_V) / RATE)


def _write_electrochemistry(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    elapsed = np.arange(0.0, LENGTH_S - REST_S + 1e-6, INTERVAL_S)
    at = REST_S + elapsed
    control = SWEEP.voltage(at)
    noise = normal(stream(seed, 0), (2, at.size))
    charge = CHARGE_MAH * oxidised(control, way=SWEEP.way(at))
    mean_ma = np.diff(charge, prepend=charge[0]) / INTERVAL_S * 3600.0
    # the jump of the hysteresis at a vertex is no current of the cell
    turned = np.abs(np.diff(SWEEP.way(at), prepend=SWEEP.way(at)[0])) > 0
    mean_ma = np.where(turned, 0.0, mean_ma)
    mean_ma += 1e3 * CAPACITANCE_F * np.diff(control, prepend=control[0]) / INTERVAL_S
    mean_ma += 2e-5 * noise[1]
    mean_ma[0] = 0.0
    voltage = np.rint((control + 5e-5 * noise[0]) * 1e6) / 1e6
    name = "na_raman_02_CV"
    begun = START + timedelta(seconds=REST_S)
    (folder / f"{name}.mpt").write_bytes(
        eclab_voltammetry.voltammetry_text(
            elapsed,
            np.rint(control * 1e6) / 1e6,
            voltage,
            np.rint(mean_ma * 1e8) / 1e8,
            vertices=(LOW_V, HIGH_V),
            rate_mv_s=1e3 * RATE,
            name=name,
            start=_local(begun),
        )
    )
    _write_rest(folder, seed)


def _write_rest(folder: Path, seed: int) -> None:
    """Write the rest before the sweeps as open circuit, a file of its own."""
    elapsed = np.arange(0.0, REST_S + 1e-6, INTERVAL_S)
    voltage = REST_V + 5e-5 * normal(stream(seed, 1), elapsed.size)
    name = "na_raman_01_OCV"
    (folder / f"{name}.mpt").write_bytes(
        eclab_voltammetry.rest_text(
            elapsed, np.rint(voltage * 1e6) / 1e6, name=name, start=_local(START)
        )
    )


def _write_raman(folder: Path, seed: int) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    rounds = int((LENGTH_S - 60.0) // ROUND_S)
    exposure = LIVE_S * ACCUMULATIONS
    for number, (name, place) in enumerate(LAYERS.items()):
        bits = stream(seed, 10 + number)
        starts = 30.0 + ROUND_S * np.arange(rounds) + number * (exposure + MOVE_S)
        frames, rows = [], []
        for turn, start in enumerate(starts):
            moment = _moment(start + exposure / 2.0, turn)
            drawn, rays = spectrum(name, moment, bits)
            rows.append(drawn)
            frames.append(_frame(start, exposure, name, moment, rays))
        unix = START.timestamp() + AHEAD_S
        written = wdf.Spectra(
            shift=SHIFT,
            counts=np.array(rows),
            ends=(unix + starts + exposure).tolist(),
            begun=unix + float(starts[0]),
            exposure_s=LIVE_S,
            accumulations=ACCUMULATIONS,
            laser_nm=532.0,
            stage={"x": 0.0, "y": place, "z": 0.0},
            title=f"{name} (simulated by operando)",
        )
        (folder / f"na_raman_{name}.wdf").write_bytes(wdf.write(written))
        found[name] = frames
    return found


def _moment(middle: float, turn: int) -> Moment:
    at = np.array(middle)
    slow = 1.0 - 0.06 * np.sin(2.0 * np.pi * middle / 31000.0) - 0.08 * middle / LENGTH_S
    return Moment(
        oxidised=float(oxidised(SWEEP.voltage(at), way=SWEEP.way(at))),
        product=float(product(at)),
        focus=float(slow) * (0.55 if turn in UNFOCUSED else 1.0),
        drift=float(0.35 * np.sin(2.0 * np.pi * middle / 40000.0)),
    )


def _frame(
    start: float, exposure: float, name: str, moment: Moment, rays: list[dict[str, float]]
) -> dict[str, Any]:
    middle = np.array(start + exposure / 2.0)
    return {
        "start": _utc(start),
        "end": _utc(start + exposure),
        "voltage_V": round(float(SWEEP.voltage(middle)), 4),
        "focus": round(moment.focus, 6),
        "drift_per_cm": round(moment.drift, 6),
        "oxidised": round(moment.oxidised, 6),
        "bands": [
            {
                "centre": round(band.centre, 4),
                "fwhm": band.width,
                "area": round(BRIGHTNESS * 0.5 * np.pi * band.width * band.height, 3),
            }
            for band in bands(name, moment)
        ],
        "rays": rays,
    }


def _local(moment: datetime) -> str:
    return moment.astimezone(ZoneInfo(ZONE)).strftime("%m/%d/%Y %H:%M:%S.%f")[:-3]


def _utc(moment: float) -> str:
    stamp = START + timedelta(milliseconds=round(moment * 1000.0))
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}Z"


SOURCE = """\
# na_raman_cell

A simulated cell: nothing in it was measured. Potential sweeps of a positive electrode (three
cycles, 2.0 to 3.9 V at 0.25 mV/s) are recorded as EC-Lab text, local time of Europe/Madrid. Raman
spectra of three layers, taken in turn, stand in three Renishaw files (.wdf), whose stamps mark the
end of each exposure; the clock of that computer is 95 s ahead of the truth.

`truth.json` holds what was put in. PE: bands that fade on oxidation, a sharp one at 920 1/cm that
comes back with every reduction, and one at 704 1/cm of a product that grows while the potential is
below 2.5 V and stays. SSE and NE: nothing changes. The focus drifts and is lost once for half an
hour, and the spectrometer drifts by a third of a wavenumber, for all layers alike; a third of the
spectra have a cosmic ray.

Generate it again with `operando.simulate.raman_cell.write(folder)`; the files come out the same to
the byte.
"""

RECIPE = """\
# Simulated cell: Raman over three layers during three sweeps of the potential. truth.json tells
# what there is to find.
name = "na_raman_cell"
title = "Electrode | electrolyte | electrode, three sweeps (simulated)"

[cell]
working_electrode = "layered sodium oxide"
electrolyte = "Na3Zr2Si2PO12"
counter_electrode = "Na"
area_cm2 = 1.0

[electrochemistry]
path = "echem/*.mpt"
tz = "Europe/Madrid"
clock_sigma_s = 0.5

[[measurement]]
name = "raman"
path = "raman/*.wdf"
position = "_(PE|SSE|NE)"
clock_offset_s = -95.0  # the clock of the Raman computer is ahead
clock_sigma_s = 1.0

  [[measurement.correct]]
  kind = "cosmic_rays"

  [[measurement.correct]]
  kind = "shift"  # the spectrometer drifts; the electrolyte's band does not
  window = [975.0, 1045.0]
  position = "SSE"

  [[measurement.observe]]
  kind = "peaks"
  name = "bands"
  profile = "lorentzian"
  windows = [
    { name = "oxide_low", low = 440.0, high = 540.0, lines = [482.0] },
    { name = "oxide", low = 540.0, high = 660.0, lines = [590.0] },
    { name = "anion", low = 890.0, high = 950.0, lines = [920.0] },
    { name = "electrolyte", low = 975.0, high = 1045.0, lines = [1012.0] },
    { name = "carbonate", low = 1050.0, high = 1110.0, lines = [1080.0] },
  ]

  [[measurement.observe]]
  kind = "peaks"  # followed since it was found; its birth is looked for without it
  name = "found"
  profile = "lorentzian"
  windows = [{ name = "pe", low = 560.0, high = 760.0, lines = [590.0, 704.0] }]

  [[measurement.observe]]
  kind = "band_quality"
  name = "quality"
  tracks = "bands"
  reference = ["electrolyte"]
  position = "SSE"

  [[measurement.detect]]
  kind = "new_peaks"
  tracks = "bands"
  reference = 6  # the rest before the first sweep

  [[measurement.detect]]
  kind = "departure"
  observable = "found.area.pe_2"
  reference = 6
  control = "SSE"
  reversible = "none"
"""
