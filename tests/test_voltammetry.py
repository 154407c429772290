"""Sweeps, scan rates and peaks of voltammograms against simulated truth and published theory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from operando.electrochemistry import prepare, voltammograms
from operando.electrochemistry.voltammetry import ASSESSMENT
from operando.electrochemistry.waves import measure_wave
from operando.errors import RequestError
from operando.model import STATES, category_attributes, flag_names
from operando.reading import read
from operando.simulate.noise import stream
from operando.simulate.protocols import START, Instrument, Protocol, recorded, voltammogram

Array = npt.NDArray[np.float64]
VERTICES = (0.2, 1.0, -0.2, 1.0, -0.2, 0.5)
QUIET = Instrument(interval_s=2.0, current_noise=1e-6, voltage_noise=1e-5)


def swept(
    seed: int = 0, *, rate: float = 1e-3, noise: float = 1e-5, step: float = 2e-3
) -> Protocol:
    """Waves of 2 mA and 50 mV at 0.6 V upward and 0.5 V downward, on 0.2 F."""
    return voltammogram(
        VERTICES,
        rate=rate,
        peaks=[(0.6, 2e-3, 0.05), (0.5, -2e-3, 0.05)],
        capacitance=0.2e-3 / rate,
        instrument=Instrument(interval_s=step / rate, current_noise=noise, voltage_noise=1e-4),
        bits=stream(seed, 0),
    )


def wrong(found: xr.Dataset) -> list[list[str]]:
    return [flag_names(int(mask), ASSESSMENT) for mask in found["assessment"].values]


@pytest.mark.parametrize("rate", [1e-4, 1e-2, 1.0])
def test_sweeps_vertices_and_rates(rate: float) -> None:
    log = prepare(swept(rate=rate).log)
    found = voltammograms(log)
    assert found["direction"].values.tolist() == [1, -1, 1, -1, 1]
    assert found["cycle_of_sweep"].values.tolist() == [0, 0, 1, 1, 2]
    np.testing.assert_allclose(found["end_potential"].values[:4], VERTICES[1:5], atol=1e-4)
    np.testing.assert_allclose(found["start_potential"].values[1:], VERTICES[1:5], atol=1e-4)
    np.testing.assert_allclose(found["scan_rate"], rate * found["direction"], rtol=1e-3)
    assert (found["scan_rate_spread"].values < 0.01 * rate).all()
    assert found["instrument_cycle"].values.tolist() == [-1] * 5
    number, cycle = found["sweep_number"].values, found["cv_cycle"].values
    assert np.unique(number).tolist() == [0, 1, 2, 3, 4]
    assert cycle.tolist() == (number // 2).tolist()
    np.testing.assert_array_equal(found["time"], log["time"])
    # 2 mA sqrt(2 pi) 50 mV / rate, and the capacitance over the span of the sweep
    wave = 2e-3 * 0.05 * np.sqrt(2 * np.pi) / rate
    expected = (wave + 0.2e-3 / rate * 1.2) / 3600
    assert found["anodic_charge"].values[2] == pytest.approx(expected, rel=5e-3)
    assert found["cathodic_charge"].values[1] == pytest.approx(expected, rel=5e-3)
    assert found["cathodic_charge"].values[2] == pytest.approx(0, abs=expected / 200)


def test_sigmas_are_calibrated() -> None:
    """Pulls of 400 peaks and 500 rates are N(0, 1)."""
    pulls: dict[str, list[float]] = {"peak_potential": [], "peak_current": [], "scan_rate": []}
    for seed in range(100):
        found = voltammograms(prepare(swept(seed, noise=2e-5).log))
        way = found["direction"].values
        truth = {
            "peak_potential": np.where(way > 0, 0.6, 0.5)[:4],
            "peak_current": 2.2e-3 * way[:4],
            "scan_rate": 1e-3 * way,
        }
        for name, true in truth.items():
            values, sigma = (found[key].values[: true.size] for key in (name, f"{name}_sigma"))
            pulls[name] += (np.sign(true) * (values - true) / sigma).tolist()
    for name, values_ in pulls.items():
        assert 0.9 < np.std(values_) < 1.1, name
        assert abs(np.mean(values_)) < 0.2, name


def reversible(rate: float, step: float) -> tuple[Array, Array]:
    """Potential and current of a reversible wave, in units of n F A C sqrt(D).

    The semi-integral of the current is 1 / (1 + exp(-F (E - E0) / RT)); its semi-derivative is
    taken by the Grunwald sum (Oldham, Anal. Chem. 45 (1973) 39).
    """
    volts = np.arange(-0.3, 0.3, step)
    limit = 1 / (1 + np.exp(-volts / 0.0256926))
    weights = np.cumprod(
        np.append(1.0, (np.arange(1, volts.size) - 1.5) / np.arange(1, volts.size))
    )
    current = np.convolve(limit, weights)[: volts.size] / np.sqrt(step / rate)
    return volts, np.asarray(current, np.float64)


def test_a_reversible_wave_is_that_of_the_textbook() -> None:
    """i_p = 0.4463 n F A C sqrt(n F v D / RT), E_p = E0 + 28.5 mV (Nicholson and Shain 1964)."""
    rate, step = 0.01, 1e-4
    volts, current = reversible(rate, step)
    up = recorded(
        np.arange(float(volts.size)) * (step / rate),
        volts,
        1e-3 * current,
        np.full(volts.size, STATES["sweep_up"]),
        instrument=Instrument(voltage_noise=1e-6, current_noise=1e-8),
        bits=stream(0, 1),
    )
    found = voltammograms(prepare(up.log))
    randles_sevcik = 0.4463 * np.sqrt(rate / 0.0256926)
    assert found["peak_current"].values == pytest.approx([1e-3 * randles_sevcik], rel=0.002)
    assert found["peak_potential"].values == pytest.approx([0.0285], abs=2e-4)


@pytest.mark.parametrize("noise", [2e-4, 2e-3, 2e-2])
def test_sigmas_hold_for_the_skewed_wave_of_diffusion(noise: float) -> None:
    """Noise relative to the peak; the truth is the textbook's, as above."""
    volts, current = (values[::10] for values in reversible(0.01, 5e-5))
    current = current / (0.4463 * np.sqrt(0.01 / 0.0256926))
    random = np.random.default_rng(5)
    waves = [
        measure_wave(volts, current + noise * random.normal(size=volts.size), 1) for _ in range(200)
    ]
    for value, sigma, truth in (
        ([w.potential for w in waves], [w.potential_sigma for w in waves], 0.0285),
        ([w.current for w in waves], [w.current_sigma for w in waves], 1.0),
    ):
        pulls = (np.array(value) - truth) / np.array(sigma)
        assert 0.8 < np.std(pulls) < 1.2
        assert abs(np.mean(pulls)) < 0.7


def joined(parts: list[Protocol], pause_s: float) -> xr.Dataset:
    """One log of several, each so long after the one before."""
    logs, offset = [], 0.0
    for part in parts:
        seconds = (part.log["time"].values - START) / np.timedelta64(1, "s")
        stamps = START + np.rint((seconds + offset) * 1e9).astype("timedelta64[ns]")
        state = ("time", part.state.astype(np.int32), category_attributes(STATES))
        logs.append(part.log.assign_coords(time=stamps).assign(state_instrument=state))
        offset += float(seconds[-1]) + pause_s
    return xr.concat(logs, "time", combine_attrs="override")


def test_a_series_ends_where_the_rate_or_the_run_changes() -> None:
    slow, fast = swept(rate=1e-3), swept(rate=5e-3)
    found = voltammograms(prepare(joined([slow, fast], pause_s=0.4)))
    assert found["cycle_of_sweep"].values.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]
    apart = voltammograms(prepare(joined([slow, slow], pause_s=1000.0)))
    assert apart["cycle_of_sweep"].values.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]
    assert apart["start_potential"].values[5] == pytest.approx(0.2, abs=5e-3)


def test_assessments() -> None:
    found = voltammograms(prepare(swept(noise=2e-5).log))
    assert wrong(found)[1:4] == [[], [], []]
    assert wrong(found)[0] == ["partial_sweep"]
    assert wrong(found)[4] == ["partial_sweep", "no_peak"]
    assert np.isnan(found["peak_current"].values[4])
    flat = voltammogram(
        [0.0, 1.0, 0.0], rate=1e-3, peaks=[], capacitance=0.2, instrument=QUIET, bits=stream(2, 0)
    )
    state = ("time", flat.state.astype(np.int32), category_attributes(STATES))
    log = prepare(flat.log.assign(state_instrument=state))
    assert wrong(voltammograms(log)) == [["no_peak"], ["no_peak"]]
    assert wrong(voltammograms(log.isel(time=slice(0, 12)))) == [["few_rows"]]
    # A wave of 10 mV in steps of 8 mV is no parabola, and a rate may be none.
    coarse = voltammogram(
        [0.0, 1.2, 0.0],
        rate=1e-3,
        peaks=[(0.55, 2e-3, 0.01)],
        capacitance=0.2,
        instrument=Instrument(interval_s=8.0, current_noise=1e-6, voltage_noise=1e-5),
        bits=stream(2, 0),
    )
    state = ("time", coarse.state.astype(np.int32), category_attributes(STATES))
    few = voltammograms(prepare(coarse.log.assign(state_instrument=state)))
    assert wrong(few)[0] == ["poor_fit"]
    slowing = log.copy()
    slowing["voltage"] = ("time", np.abs(log["voltage"].values) ** 1.2, {"units": "V"})
    assert "rate_varies" in wrong(voltammograms(slowing.isel(time=slice(5, 495))))[0]


def test_noise_makes_no_peak() -> None:
    """Of 40 sweeps of a capacitance with noise of a tenth of its current, none has a peak."""
    for seed in range(20):
        flat = voltammogram(
            [0.0, 1.0, 0.0],
            rate=1e-3,
            peaks=[],
            capacitance=0.2,
            instrument=Instrument(interval_s=2.0, current_noise=2e-5),
            bits=stream(seed, 0),
        )
        state = ("time", flat.state.astype(np.int32), category_attributes(STATES))
        found = voltammograms(prepare(flat.log.assign(state_instrument=state)))
        assert np.isnan(found["peak_current"].values).all()


def test_bad_requests() -> None:
    log = prepare(swept().log)
    with pytest.raises(RequestError, match="prepare"):
        voltammograms(log.drop_vars("run"))
    log["state"][:] = STATES["rest"]
    with pytest.raises(RequestError, match="no sweep"):
        voltammograms(log)


@pytest.mark.shared_data
def test_real_platinum(shared_data: Path) -> None:
    """Expected: 100 mV/s, E1 = -0.030 V and E2 = 1.600 V of the file's header.

    The user widened the window while it ran, as the set-point of the later rows (control/V) shows.
    """
    path = shared_data / "formats" / "echem" / "biologic" / "Pt_poly_cv_CUT.mpt"
    found = voltammograms(prepare(read(str(path), tz="Europe/Copenhagen")))
    whole = found["scan_rate_spread"].notnull().values
    np.testing.assert_allclose(np.abs(found["scan_rate"].values[whole]), 0.1, rtol=1e-3)
    ends = found["end_potential"].values
    np.testing.assert_allclose(ends[:3], [-0.03, 1.6, -0.03], atol=5e-4)
    np.testing.assert_allclose(ends[3:8], [1.7, -0.05, 1.7, -0.05, 1.7], atol=5e-4)
    assert found["instrument_cycle"].values.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    # the reduction of the oxide, on every whole downward sweep
    oxide = found["peak_potential"].values[2:9:2]
    assert ((oxide > 0.55) & (oxide < 0.7)).all()
