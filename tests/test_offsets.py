"""Proposed offsets: calibrated against simulated truth, and refused where nothing can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.align import OffsetProposal, propose_offset, trigger_offset
from operando.align import windows as kernels
from operando.align.shifts import Shifted
from operando.electrochemistry.preparation import PREPARED
from operando.errors import ContractError, RequestError

Array = npt.NDArray[np.float64]
ZERO = np.datetime64("2024-01-01", "ns")
RATE = 1e-4
"""V/s: a voltammogram between 1 and 2.5 V."""


def at(seconds: npt.ArrayLike) -> npt.NDArray[np.datetime64]:
    return ZERO + np.rint(np.asarray(seconds, float) * 1e9).astype("timedelta64[ns]")


def log_of(time: Array, voltage: Array, *, run: npt.ArrayLike = 0) -> xr.Dataset:
    """What the estimator asks of a prepared log."""
    numbers = dict.fromkeys(PREPARED, np.zeros(time.size))
    numbers |= {"voltage": voltage, "run": np.broadcast_to(np.asarray(run), time.shape)}
    return xr.Dataset(
        {name: ("time", values) for name, values in numbers.items()},
        {"time": at(time)},
        {"current_sign": "oxidation_positive", "charge_method": "none"},
    )


def voltammogram(cycles: float = 3.0) -> xr.Dataset:
    time = np.arange(0, cycles * 3 / RATE, 10.0)
    phase = (time * RATE / 3) % 1
    return log_of(time, 1 + 3 * np.where(phase < 0.5, phase, 1 - phase))


def seen_by_the_beamline(
    log: xr.Dataset,
    *,
    period: float = 75.0,
    exposure: float = 60.0,
    offset: float = 0.0,
    ppm: float = 0.0,
    noise: float = 1e-3,
    zero: float = 4e-3,
    gain: float = 1.0,
    until: float | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Means over exposures, with the noise and zero of another converter, on another clock."""
    rng = np.random.default_rng(seed)
    time = log["time"].values.astype(np.int64)
    last = (time[-1] - time[0]) / 1e9 if until is None else until
    start = np.arange(200 + rng.uniform(0, period), last - exposure - 200, period)
    pieces = kernels.linear(log["voltage"].values, log["run"].values)
    windows = kernels.place(
        time, at(start).astype(np.int64), at(start + exposure).astype(np.int64), pieces.covered
    )
    truth = kernels.mean(time, pieces, windows)
    value = gain * truth + zero + rng.normal(0, noise, truth.size)
    stamp = start - offset - ppm * 1e-6 * (start - start[0])
    return samples_of(stamp, stamp + exposure, value)


def samples_of(start: Array, end: Array, value: Array) -> xr.DataArray:
    return xr.DataArray(
        value,
        dims="time",
        coords={
            "time": at((start + end) / 2),
            "time_start": ("time", at(start)),
            "time_end": ("time", at(end)),
        },
    )


def trials(make: Callable[[int], xr.DataArray], log: xr.Dataset, **options: Any) -> list[Any]:
    return [propose_offset(make(seed), log, search_s=1500.0, **options) for seed in range(25)]


def test_errors_are_as_large_as_their_sigma() -> None:
    """The best that can be: sigma = noise / (dE/dt sqrt(n)) = 0.29 s for 1193 samples."""
    log = voltammogram()
    found = trials(lambda seed: seen_by_the_beamline(log, offset=137.4, seed=seed), log)
    error = np.array([proposal.offset_s - 137.4 for proposal in found])
    sigma = np.array([proposal.sigma_s for proposal in found])
    assert all(proposal.accepted for proposal in found)
    assert np.median(sigma) == pytest.approx(1e-3 / RATE / np.sqrt(1193), rel=0.15)
    # 25 pulls: their rms lies within 0.6 to 1.4 with a chance of 0.998
    assert 0.6 < np.sqrt(np.mean((error / sigma) ** 2)) < 1.4
    assert min(proposal.ambiguity for proposal in found) > 30


def test_drift_is_fitted_when_asked() -> None:
    log = voltammogram()
    found = trials(
        lambda seed: seen_by_the_beamline(log, offset=137.4, ppm=40.0, seed=seed), log, drift=True
    )
    offset = np.array([(proposal.offset_s - 137.4) / proposal.sigma_s for proposal in found])
    drift = np.array([(proposal.drift_ppm - 40.0) / proposal.drift_sigma_ppm for proposal in found])
    assert 0.6 < np.sqrt(np.mean(offset**2)) < 1.4
    assert 0.6 < np.sqrt(np.mean(drift**2)) < 1.4
    assert np.median([proposal.drift_sigma_ppm for proposal in found]) < 14


def test_a_drift_that_is_not_fitted_widens_sigma() -> None:
    log = voltammogram()
    kept = propose_offset(seen_by_the_beamline(log, offset=137.4), log)
    drifting = propose_offset(seen_by_the_beamline(log, offset=137.4, ppm=200.0), log)
    assert drifting.sigma_s > 2 * kept.sigma_s
    # The middle of the series is off by 200 ppm of 45 000 s.
    assert drifting.offset_s == pytest.approx(137.4 + 9, abs=1.0)
    assert np.isnan(drifting.drift_ppm)


def test_gain_is_fitted_when_asked() -> None:
    log = voltammogram()
    samples = seen_by_the_beamline(log, offset=-300.0, gain=0.98)
    found = propose_offset(samples, log, gain=True)
    assert found.offset_s == pytest.approx(-300, abs=4 * found.sigma_s)
    assert found.scatter == pytest.approx(1e-3, rel=0.15)
    assert found.gain == pytest.approx(0.98, abs=1e-3)
    assert propose_offset(samples, log).scatter > 3e-3


@given(st.floats(-7000, 7000))
@settings(max_examples=15, deadline=None)
def test_any_offset_within_the_search(offset: float) -> None:
    log = voltammogram(2.0)
    found = propose_offset(seen_by_the_beamline(log, offset=offset, period=150.0), log)
    assert found.accepted
    assert found.offset_s == pytest.approx(offset, abs=5 * found.sigma_s)


def test_outliers_and_missing_samples_do_no_harm() -> None:
    log = voltammogram()
    samples = seen_by_the_beamline(log, offset=137.4)
    clean = propose_offset(samples, log)
    samples[::10] += 0.8
    samples[5::10] = np.nan
    found = propose_offset(samples, log)
    assert found.offset_s == pytest.approx(137.4, abs=4 * found.sigma_s)
    assert found.sigma_s < 1.5 * clean.sigma_s


def test_one_step_of_the_potential_tells_no_more_than_the_period() -> None:
    """The likelihood is flat between two exposures; the sigma must say so."""
    time = np.arange(0, 20_000.0, 10.0)
    log = log_of(time, np.where(time < 10_000, 3.0, 3.5))
    found = trials(
        lambda seed: seen_by_the_beamline(
            log, offset=50.0, period=600.0, exposure=100.0, seed=seed
        ),
        log,
    )
    pulls = np.array([(proposal.offset_s - 50.0) / proposal.sigma_s for proposal in found])
    assert np.sqrt(np.mean(pulls**2)) < 1.4
    assert max(proposal.sigma_s for proposal in found) > 100


def ramp(until: float = 13_500.0) -> xr.DataArray:
    return seen_by_the_beamline(voltammogram(), offset=137.4, until=until)


@pytest.mark.parametrize(
    ("samples", "log", "options", "reason"),
    [
        (ramp(), voltammogram(), {}, "ramp, or repeats"),
        (
            seen_by_the_beamline(voltammogram(), offset=60_100.0),
            voltammogram(),
            {"search_s": 61_000.0},
            "ramp, or repeats",
        ),
        (
            seen_by_the_beamline(voltammogram(), offset=149.0),
            voltammogram(),
            {"search_s": 150.0},
            "ambiguity|end of the search",
        ),
        (ramp()[:9], voltammogram(), {}, "9 samples"),
        (
            samples_of(np.arange(20.0) - 1e6, np.arange(20.0) - 1e6, np.arange(20.0)),
            voltammogram(),
            {},
            "half of the samples",
        ),
        (
            seen_by_the_beamline(log_of(np.arange(0, 2e4, 10.0), np.full(2000, 3.0))),
            log_of(np.arange(0, 2e4, 10.0), np.full(2000, 3.0)),
            {},
            "fits nearly as well",
        ),
        (
            seen_by_the_beamline(
                log_of(np.arange(0, 2e4, 10.0), np.full(2000, 3.0)), noise=0.0, zero=0.0
            ),
            log_of(np.arange(0, 2e4, 10.0), np.full(2000, 3.0)),
            {},
            "fits nearly as well",
        ),
    ],
    ids=["ramp", "whole cycles off", "edge", "few", "never covered", "rest", "constant"],
)
def test_refusals(
    samples: xr.DataArray, log: xr.Dataset, options: dict[str, Any], reason: str
) -> None:
    found = propose_offset(samples, log, **options)
    assert not found.accepted
    assert found.refused is not None
    assert any(word in found.refused for word in reason.split("|")), found.refused
    assert "refused" in str(found)


@pytest.mark.parametrize("gain", [False, True])
def test_another_signal_is_never_accepted(gain: bool) -> None:
    """Random walks and constants beside a random walk: nothing is shared."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        time = np.cumsum(rng.uniform(1, 60, 200))
        log = log_of(time, 3 + np.cumsum(rng.normal(0, 0.01, time.size)))
        start = np.arange(100, 5000, 100.0)
        walk = rng.choice([0.0, 0.01]) * np.cumsum(rng.normal(size=start.size))
        found = propose_offset(samples_of(start, start + 60, 3 + walk), log, gain=gain)
        assert not found.accepted, found


def test_a_gain_that_no_converter_has_is_refused() -> None:
    log = voltammogram(2.0)
    found = propose_offset(seen_by_the_beamline(log, gain=0.5), log, gain=True)
    assert found.gain == pytest.approx(0.5, abs=0.01)
    assert found.refused is not None
    assert "not this potential" in found.refused


def test_too_few_samples_within_the_log() -> None:
    log = voltammogram()
    samples = seen_by_the_beamline(log, offset=40.0)
    spread = samples.isel(time=np.r_[0:8, 1186:1193])
    cut = log.isel(time=slice(0, 2000))
    found = propose_offset(spread, cut, search_s=100.0)
    assert found.refused is not None
    assert "samples within the log" in found.refused


def test_gaps_of_the_log_are_not_compared() -> None:
    log = voltammogram()
    gone = (log["time"].values > at(30_000)) & (log["time"].values < at(40_000))
    cut = log.isel(time=~gone)
    run = (cut["time"].values > at(35_000)).astype(int)
    found = propose_offset(seen_by_the_beamline(log, offset=137.4), cut.assign(run=("time", run)))
    assert found.accepted
    assert found.offset_s == pytest.approx(137.4, abs=4 * found.sigma_s)
    assert found.frames == pytest.approx(1193 - 10_000 / 75, abs=4)


@given(
    st.lists(st.tuples(st.floats(-50, 550), st.floats(0.01, 200)), min_size=1, max_size=20),
    st.integers(0, 2**32 - 1),
)
def test_tabulated_means_are_those_of_the_alignment(
    exposures: list[tuple[float, float]], seed: int
) -> None:
    """Oracle: the kernels that average frames."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.choice([0.0, 1.0, 7.0, 30.0], 40)) * 1e9
    voltage, run = rng.normal(3, 1, 40), np.sort(rng.integers(0, 3, 40))
    voltage[rng.integers(0, 40, 3)] = np.nan
    pieces = kernels.linear(voltage, run)
    start = np.rint(np.array([begin for begin, _ in exposures]) * 1e9).astype(np.int64)
    length = np.rint(np.array([length for _, length in exposures]) * 1e9).astype(np.int64)
    nanoseconds = time.astype(np.int64)
    windows = kernels.place(nanoseconds, start, start + length, pieces.covered)
    share = kernels.coverage(nanoseconds, pieces, windows)
    expected = kernels.mean(nanoseconds, pieces, windows)
    begin = (start - nanoseconds[0]) / 1e9
    mean, _ = Shifted.of(nanoseconds, pieces).means(begin, begin + length / 1e9)
    sure = np.abs(share - 0.9) > 1e-6
    assert mean[sure] == pytest.approx(
        np.where(share >= 0.9, expected, np.nan)[sure], nan_ok=True, abs=1e-6
    )


def test_impossible_requests() -> None:
    log = voltammogram()
    with pytest.raises(RequestError, match="search_s: 0"):
        propose_offset(ramp(), log, search_s=0)
    with pytest.raises(ContractError, match="'time_end'"):
        propose_offset(ramp().drop_vars("time_end"), log)
    with pytest.raises(ContractError, match="'time_start'"):
        trigger_offset(log["voltage"], xr.Dataset(coords={"time": at([0.0])}))
    silent = trigger_offset(log["voltage"][:0], frames_at(np.arange(3.0)))
    assert silent.refused == "0 rows hold no rising edge"
    with pytest.raises(RequestError, match="log: 1 row"):
        propose_offset(ramp(), log.isel(time=[0]))
    with pytest.raises(RequestError, match=r"lacks .*'run'"):
        propose_offset(ramp(), log.drop_vars("run"))


def channel(
    edges: Array, *, width: float = 2.0, row: float = 0.5, until: float = 0
) -> xr.DataArray:
    """A trigger line that rises to 5 V at each edge, sampled every `row` seconds, with noise."""
    time = np.arange(0, max(until, edges[-1] + 50), row)
    high = np.zeros(time.size, bool)
    for edge in edges:
        high |= (time >= edge) & (time < edge + width)
    noise = np.random.default_rng(2).normal(0, 0.05, time.size)
    return xr.DataArray(5.0 * high + noise, dims="time", coords={"time": at(time)})


def frames_at(starts: npt.NDArray[Any]) -> xr.Dataset:
    instant = ("time", at(starts))
    return xr.Dataset(coords={"time": at(starts), "time_start": instant, "time_end": instant})


@pytest.fixture
def irregular() -> Array:
    """Starts of 40 exposures with readout times of their own."""
    return 20 + np.cumsum(np.random.default_rng(4).uniform(25, 60, 40))


def test_trigger_edges_give_the_offset_to_a_row(irregular: Array) -> None:
    found = trigger_offset(channel(irregular), frames_at(irregular - 137.4))
    assert found.accepted
    assert found.method == "trigger"
    assert found.frames == 40
    assert found.ambiguity == np.inf
    assert found.offset_s == pytest.approx(137.4, abs=3 * found.sigma_s)
    assert found.sigma_s == pytest.approx(0.5 / np.sqrt(12), rel=0.1)
    assert found.scatter < 0.5
    assert "+137." in str(found)


def test_a_regular_train_is_matched_in_order_only_when_the_counts_agree() -> None:
    edges: Array = 20 + np.arange(30.0) * 60
    same = trigger_offset(channel(edges), frames_at(edges + 12.0))
    assert same.accepted
    assert same.offset_s == pytest.approx(-12.0, abs=0.5)
    for fewer in (edges[1:], edges[:-2]):
        found = trigger_offset(channel(edges), frames_at(fewer + 12.0))
        assert found.refused is not None
        assert "30 rising edges" in found.refused
        assert "one period off" in found.refused


@pytest.mark.parametrize("lost", [slice(3, None), slice(0, -2), slice(2, -1)])
def test_an_irregular_train_finds_its_place(irregular: Array, lost: slice) -> None:
    found = trigger_offset(channel(irregular), frames_at(irregular[lost] - 137.4))
    assert found.accepted
    assert found.offset_s == pytest.approx(137.4, abs=0.5)
    more = trigger_offset(channel(irregular[lost]), frames_at(irregular - 137.4))
    assert more.accepted
    assert more.offset_s == pytest.approx(137.4, abs=0.5)


def test_trains_that_do_not_keep_step_are_refused(irregular: Array) -> None:
    other = 20 + np.cumsum(np.random.default_rng(9).uniform(25, 60, 40))
    found = trigger_offset(channel(irregular), frames_at(other))
    assert found.refused is not None
    assert "do not keep step" in found.refused


def test_trigger_level_and_silence(irregular: Array) -> None:
    spiked = channel(irregular)
    spiked[100] = 80.0
    assert trigger_offset(spiked, frames_at(irregular)).refused is not None
    assert trigger_offset(spiked, frames_at(irregular), level=2.5).accepted
    flat = trigger_offset(spiked * 0, frames_at(irregular))
    assert flat.refused == "0 rising edges, 40 frames"


def test_it_says_itself_in_a_line() -> None:
    found = OffsetProposal(
        method="potential",
        offset_s=137.4,
        sigma_s=0.29,
        ambiguity=36.0,
        frames=1193,
        scatter=1e-3,
        drift_ppm=40.0,
        drift_sigma_ppm=14.0,
    )
    assert str(found) == (
        "potential: +137.40 +- 0.29 s, drift +40 +- 14 ppm (1193 compared, ambiguity 36)"
    )
