"""Figures: what is drawn is what was given, gaps stay blank, events stand where they happened."""

from __future__ import annotations

import numpy as np
import xarray as xr

from operando.detect.event import Event, State
from operando.model import FRAME_FLAGS, STATES, category_attributes, flag_attributes

START = np.datetime64("2026-05-04T08:00:00", "ns")
HOUR = 3.6e12


def stamps(hours: np.ndarray) -> np.ndarray:
    return START + np.round(np.asarray(hours) * HOUR).astype("m8[ns]")


def make_log(*, end_h: float = 24.0, gap_h: tuple[float, float] = (9.0, 11.0)) -> xr.Dataset:
    """A cell cycled between 3.0 and 4.2 V with 6 h half-cycles; the log is silent in a gap."""
    time = np.arange(0, end_h, 30 / 3600)
    time = time[(time < gap_h[0]) | (time > gap_h[1])]
    phase = (time % 12) / 6
    up = phase < 1
    voltage = np.where(up, 3.0 + 1.2 * phase, 4.2 - 1.2 * (phase - 1))
    voltage += 0.05 * np.tanh((phase % 1 - 0.5) * 8)
    return xr.Dataset(
        {
            "voltage": ("time", voltage, {"units": "V"}),
            "current": (
                "time",
                np.where(up, 1.5e-4, -1.5e-4),
                {"units": "A", "averaging": "backward"},
            ),
            "run": ("time", (time > gap_h[1]).astype(np.int32), {"units": "1"}),
        },
        {"time": stamps(time)},
        {"technique": "electrochemistry"},
    )


def state_of(hours: np.ndarray, log: xr.Dataset) -> dict[str, tuple]:
    """The coordinates that align gives; outside the log and in its gap there is no voltage."""
    logged = (log["time"].values - START) / np.timedelta64(1, "ns") / HOUR
    voltage = np.interp(hours, logged, log["voltage"].values)
    silent = (hours > 9.0) & (hours < 11.0) | (hours < 0) | (hours > logged[-1])
    half = np.where(silent, -1, hours // 6).astype(np.int32)
    way = np.where(half % 2 == 0, STATES["charge"], STATES["discharge"])
    return {
        "voltage": ("time", np.where(silent, np.nan, voltage), {"units": "V"}),
        "half_cycle": ("time", half, {"units": "1"}),
        "cycle": ("time", np.where(silent, -1, half // 2).astype(np.int32), {"units": "1"}),
        "state": (
            "time",
            np.where(silent, STATES["unknown"], way).astype(np.int32),
            category_attributes(STATES),
        ),
    }


def make_frames(
    log: xr.Dataset, *, places: tuple[str, ...] = ("surface", "bulk"), end_h: float = 25.0
) -> xr.Dataset:
    """XANES of 2 min every 5 min, spots in turn; the edge breathes, no beam from 15 to 17 h."""
    begin = np.arange(-0.5, end_h, 5 / 60)
    begin = begin[(begin < 15) | (begin > 17)]
    mid = begin + 1 / 60
    energy = np.concatenate([np.arange(17900, 17980, 2.0), np.arange(17980, 18150, 0.5)])
    place = np.array(places)[np.arange(mid.size) % len(places)] if places else None
    shift = 1.5 * np.sin(np.pi * mid / 12) ** 2
    if places:
        shift = shift + np.where((place == places[0]) & (mid > 13), 0.8 * (1 - np.exp(13 - mid)), 0)
    x = energy[None, :] - 18003 - shift[:, None]
    mu = 0.5 + np.arctan(x / 2) / np.pi + 0.25 * np.exp(-(((x - 6) / 4) ** 2))
    mu += 0.08 * np.sin(x / 9) * np.exp(-x / 80) * (x > 0)
    mu += np.random.default_rng(1).normal(0, 0.004, mu.shape)
    flag = np.zeros(mid.size, np.int32)
    flag[40], mu[40] = FRAME_FLAGS["unreadable"], np.nan
    frames = xr.Dataset(
        {"mu": (("time", "energy"), mu, {"units": "1"})},
        {
            "time": stamps(mid),
            "time_start": ("time", stamps(begin)),
            "time_end": ("time", stamps(begin + 2 / 60)),
            "energy": ("energy", energy, {"units": "eV"}),
            "frame_flag": ("time", flag, flag_attributes(FRAME_FLAGS)),
            **state_of(mid, log),
        },
        {"technique": "xas"},
    )
    return frames.assign_coords(position=("time", place)) if places else frames


def make_numbers(frames: xr.Dataset) -> xr.Dataset:
    rng = np.random.default_rng(2)
    mid = (frames["time"].values - START) / np.timedelta64(1, "ns") / HOUR
    surface = frames["position"].values == "surface"
    truth = 18003 + 1.5 * np.sin(np.pi * mid / 12) ** 2
    truth += np.where(surface & (mid > 13), 0.8 * (1 - np.exp(13 - mid)), 0)
    sigma = np.full(mid.size, 0.05)
    value = truth + rng.normal(0, sigma)
    assessment = np.zeros(mid.size, np.int32)
    assessment[[10, 90, 91]] = 1
    value[[10, 90, 91]] += [0.5, -0.6, 40.0]
    value[40] = np.nan
    assessment[40] = 2
    return xr.Dataset(
        {
            "edge_energy_half": (
                "time",
                value,
                {"units": "eV", "ancillary_variables": "edge_energy_half_sigma"},
            ),
            "edge_energy_half_sigma": ("time", sigma, {"units": "eV"}),
            "assessment": (
                "time",
                assessment,
                category_attributes({"success": 0, "low_contrast": 1, "no_data": 2}),
            ),
        },
        {name: c for name, c in frames.coords.items() if c.dims == ("time",)},
        {"kind": "edge"},
    )


def make_event(onset_h: float, *, position: str = "surface", score: float = 9.0, **changes) -> Event:
    moment = stamps(np.array(onset_h))
    facts = {
        "kind": "departure",
        "measurement": "xas",
        "technique": "xas",
        "observable": "zr_k.edge_energy_half",
        "position": position,
        "onset": State(time=moment, voltage=3.27, cycle=1, half_cycle=2, state="charge"),
        "onset_earliest": moment - np.timedelta64(20, "m"),
        "onset_latest": moment + np.timedelta64(10, "m"),
        "size": 0.8,
        "size_sigma": 0.05,
        "size_units": "eV",
        "score": score,
        "threshold": 4.0,
        "calibration": "1 false alarm in 10000 frames, from 400 bootstrap series",
        "evidence": (150, 151, 152),
        "controls": {"bulk": "passed"},
    }
    return Event(**(facts | changes))
