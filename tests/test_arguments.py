"""Arguments of the public verbs: what is no number, word, table or axis is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando import arguments
from operando.errors import ContractError, OperandoError, RequestError
from operando.plots import nyquist
from operando.simulate.noise import stream
from operando.simulate.protocols import Instrument, voltammogram

ZERO = np.datetime64("2026-05-04T08:00:00", "ns")
NONSENSE: dict[str, Any] = {
    "none": None,
    "word": "x",
    "negative": -1,
    "nan": float("nan"),
    "huge": 1e308,
    "truth": True,
    "list": [1],
    "rows": np.arange(3.0),
    "mapping": {},
    "table": xr.Dataset({"a": ("time", np.arange(9.0))}),
}


def log() -> xr.Dataset:
    simulated = voltammogram(
        [0.2, 1.0, 0.2, 1.0, 0.2],
        rate=1e-3,
        peaks=[(0.6, 2e-3, 0.05), (0.5, -2e-3, 0.05)],
        capacitance=0.2,
        instrument=Instrument(interval_s=4, current_noise=1e-5, voltage_noise=1e-4),
        bits=stream(3, 0),
    ).log
    return operando.prepare(simulated)


def sweeps() -> xr.Dataset:
    frequency = np.geomspace(0.1, 1e5, 30)
    arc = 5 + 20 / (1 + (2j * np.pi * frequency * 1e-3) ** 0.9)
    begin = ZERO + 60 * np.arange(9) * np.timedelta64(1, "s")
    return xr.Dataset(
        {"impedance": (("time", "frequency"), np.tile(arc, (9, 1)), {"units": "ohm"})},
        {
            "time": begin + np.timedelta64(30, "s"),
            "time_start": ("time", begin),
            "time_end": ("time", begin + np.timedelta64(50, "s")),
            "frequency": ("frequency", frequency, {"units": "Hz"}),
        },
        {"technique": "impedance"},
    )


def growing() -> xr.DataArray:
    return xr.DataArray(np.arange(9.0), {"time": sweeps()["time"].values}, ("time",))


LOG, SWEEPS, GROWING = log(), sweeps(), growing()
SHARED = GROWING.assign_coords({n: SWEEPS[n] for n in ("time_start", "time_end")})
VERBS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "align": (
        operando.align,
        (SWEEPS, LOG),
        {"minimum_coverage": 0.9, "majority": 0.95, "time_sigma_s": 1.0},
    ),
    "critical_current": (
        operando.critical_current,
        (LOG,),
        {"area_cm2": 1.0, "short_drop": 0.5, "smallest_drop": 0.1},
    ),
    "cycles": (operando.cycles, (LOG,), {"working_electrode": "positive"}),
    "differential_capacity": (operando.differential_capacity, (LOG,), {"voltage_step": 0.01}),
    "growth_law": (operando.growth_law, (GROWING,), {"sigma": GROWING + 1, "origin": ZERO}),
    "nyquist": (nyquist, (SWEEPS,), {"colour": "time", "count": 3}),
    "pair": (operando.pair, (SWEEPS, SWEEPS), {"name": "other"}),
    "polarisation": (operando.polarisation, (LOG,), {}),
    "prepare": (
        operando.prepare,
        (LOG,),
        {"max_gap_s": 60.0, "sign": "declared", "nominal_capacity": 1.0},
    ),
    "propose_offset": (
        operando.propose_offset,
        (SHARED, LOG),
        {"search_s": 60.0, "drift": False, "gain": False},
    ),
    "track_resistance": (
        operando.track_resistance,
        (SWEEPS["impedance"],),
        {
            **{"tail": False, "arcs": 1, "band": (1.0, 1e4), "middle": 10.0, "noise": 0.01},
            "potential": SWEEPS["impedance"].real,
        },
    ),
    "trigger_offset": (operando.trigger_offset, (LOG["voltage"], SWEEPS), {"level": 0.5}),
    "voltammograms": (operando.voltammograms, (LOG,), {}),
    "write_battery_data_format": (operando.write_battery_data_format, (LOG, "log.csv"), {}),
}


def outcome(verb: Callable[..., Any], *args: Any, **kwargs: Any) -> str | None:
    try:
        verb(*args, **kwargs)
    except OperandoError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", VERBS)
def test_wrong_arguments_are_refused_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other exception, or warning, fails; what is allowed by chance (1e308 s) may pass."""
    monkeypatch.chdir(tmp_path)
    verb, args, options = VERBS[name]
    said: dict[tuple[str | int, str], str | None] = {
        (key, kind): outcome(verb, *args, **{**options, key: wrong})
        for key in options
        for kind, wrong in NONSENSE.items()
    }
    said |= {
        (place, kind): outcome(verb, *args[:place], wrong, *args[place + 1 :], **options)
        for place in range(len(args))
        for kind, wrong in NONSENSE.items()
    }
    for (place, kind), message in said.items():
        assert message is None or "\n" not in message
        assert message is None or len(message) < 250
        if kind in ("mapping", "rows"):
            assert message is not None, (place, kind)


@pytest.mark.parametrize("name", VERBS)
def test_logs_and_sweeps_without_rows_or_axes_are_answered_or_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb, args, options = VERBS[name]
    for place, data in enumerate(args):
        if isinstance(data, str):
            continue
        for other in (
            *(data.isel(time=slice(rows)) for rows in (0, 1, 2)),
            data.rename(time="moment"),
            data.drop_vars("time"),
            data.drop_attrs(),
        ):
            message = outcome(verb, *args[:place], other, *args[place + 1 :], **options)
            assert message is None or "\n" not in message


@pytest.mark.parametrize("name", ["cycles", "differential_capacity", "align", "polarisation"])
def test_a_log_that_lost_its_attributes_is_not_prepared(name: str) -> None:
    """Arithmetic of xarray drops them, and with them how the current was averaged."""
    verb, args, options = VERBS[name]
    lost = LOG.drop_attrs()
    with pytest.raises(RequestError, match=r"attributes are lost .*keep_attrs"):
        verb(*[lost if data is LOG else data for data in args], **options)


def test_numbers() -> None:
    def checked(value: object) -> float:
        return arguments.number("step", value, lambda v: v > 0, "V > 0")

    for fine in (2, 2.0, np.float32(2), np.int64(2), np.array(2), xr.DataArray(2.0)):
        assert checked(fine) == 2.0
    nonsense: tuple[Any, ...]
    nonsense = (0, -1, np.nan, True, "2", None, [2], 2j, np.timedelta64(2, "s"), {}, object)
    for wrong in nonsense:
        with pytest.raises(RequestError, match=r"^step: .*; expected V > 0$"):
            checked(wrong)
    assert arguments.whole("count", 3.0, lambda n: n > 0, "1 and more") == 3
    with pytest.raises(RequestError, match=r"count: 2\.5; expected 1 and more"):
        arguments.whole("count", 2.5, lambda n: n > 0, "1 and more")
    assert arguments.pair("band", [1, 2.5], "(low, high)") == (1.0, 2.5)
    pairs: tuple[Any, ...]
    pairs = (1, (1,), (1, 2, 3), ("a", "b"), (1, None), (1, np.nan), {1, 2})
    for bad in pairs:
        with pytest.raises(RequestError, match=r"^band: .*; expected \(low, high\)$"):
            arguments.pair("band", bad, "(low, high)")


def test_words_and_switches() -> None:
    assert arguments.chosen("colour", "time", ("time", "voltage")) == "time"
    with pytest.raises(RequestError, match="colour: 'red'; expected 'time' or 'voltage'"):
        arguments.chosen("colour", "red", ("time", "voltage"))
    assert arguments.switch("tail", np.True_) is True
    with pytest.raises(RequestError, match="tail: 1; expected True or False"):
        arguments.switch("tail", 1)


def test_tables_and_arrays() -> None:
    assert arguments.dataset("log", LOG) is LOG
    with pytest.raises(RequestError, match=r"log: a DataArray; expected an xarray\.Dataset"):
        arguments.dataset("log", LOG["voltage"])
    impedance = SWEEPS["impedance"]
    assert arguments.array("impedance", impedance.T, "time", "frequency") is not None
    with pytest.raises(RequestError, match=r"on time: select \['frequency'\]"):
        arguments.array("impedance", impedance, "time")
    with pytest.raises(RequestError, match="with their axes"):
        arguments.array("impedance", impedance.drop_vars("time"), "time", "frequency")


def test_other_sweeps_are_not_matched_by_label() -> None:
    """xarray would keep what both have and leave out the rest, without a word."""
    later = SWEEPS["impedance"].assign_coords(time=SWEEPS["time"].values + 1)
    with pytest.raises(RequestError, match="potential: other times"):
        operando.track_resistance(SWEEPS["impedance"], tail=False, potential=later.real)
    with pytest.raises(RequestError, match="sigma: other times"):
        operando.growth_law(GROWING, sigma=GROWING[1:])
    with pytest.raises(ContractError, match="frames: no 'time_start'"):
        operando.trigger_offset(LOG["voltage"], SWEEPS.drop_vars("time_start"))
