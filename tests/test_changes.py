"""Departures and incomplete returns: false alarms, power and onsets in simulation; a real cell."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.signal import lfilter

from operando.detect.changes import departures
from operando.detect.event import Event
from operando.detect.findings import Findings
from operando.detect.positions import merge_positions
from operando.detect.returns import incomplete_returns
from operando.errors import RequestError
from operando.model import STATES
from operando.observables.edges import track_edge

Array = npt.NDArray[np.float64]

START = np.datetime64("2026-05-04T10:00:00", "ns")
MINUTE = np.timedelta64(60, "s")
NAMES: dict[str, Any] = {"measurement": "xas", "technique": "xas", "observable": "k.energy"}


def series(
    values: Array, *, sigma: float | Array = 1.0, **coords: Any
) -> tuple[xr.DataArray, xr.DataArray]:
    time = {"time": START + np.arange(len(values)) * MINUTE}
    on_time = {name: ("time", column) for name, column in coords.items()}
    number = xr.DataArray(values, dims="time", coords=time | on_time, attrs={"units": "eV"})
    spread = np.broadcast_to(np.asarray(sigma, float), (len(values),))
    return number, xr.DataArray(spread, dims="time", coords=time)


def noise(rng: np.random.Generator, size: int, correlation: float = 0.0) -> Array:
    white = rng.standard_normal(size)
    white[1:] *= np.sqrt(1 - correlation**2)
    return np.asarray(lfilter([1.0], [1.0, -correlation], white))


def plain(values: Array, *, spread: float | Array = 1.0, **options: Any) -> Findings:
    number, sigma = series(values, sigma=spread)
    return departures(number, sigma, reversible="none", **NAMES, **options)


@pytest.mark.parametrize(
    ("frames", "correlation", "understated"), [(12, 0, 1), (60, 0.4, 1), (120, 0, 2.5)]
)
def test_false_alarms_are_as_rare_as_promised(
    frames: int, correlation: float, understated: float
) -> None:
    """Sigma understated or correlation present, 5 % of silent series may alarm: 300 x 5 % = 15."""
    rng = np.random.default_rng(7)
    alarms = sum(
        len(plain(understated * noise(rng, frames, correlation), false_alarm=0.05).events)
        for _ in range(300)
    )
    assert alarms <= 26  # the binomial 99.7 % point


def test_a_step_is_found_with_its_onset_and_its_size() -> None:
    rng = np.random.default_rng(8)
    found, covered, pulls = 0, 0, []
    for _ in range(100):
        onset = int(rng.integers(20, 70))
        values = noise(rng, 80)
        values[onset:] -= 4
        events = plain(values).events
        found += len(events)
        for event in events:
            frame = (START + onset * MINUTE).astype("datetime64[ns]")
            covered += bool(event.onset_earliest < frame <= event.onset_latest)
            pulls.append((event.size + 4) / event.size_sigma)
            assert event.end is None
            assert event.detail["direction"] == "down"
            assert event.controls == {"persistence": "passed"}
            assert event.score > event.threshold
    assert found >= 95
    assert covered >= 0.88 * found
    assert 0.7 < np.std(pulls) < 1.2
    assert abs(np.mean(pulls)) < 0.35


def test_a_slow_change_is_found_and_its_interval_reaches_back() -> None:
    values = noise(np.random.default_rng(9), 200) + np.clip((np.arange(200) - 60) / 10, 0, None)
    [event] = plain(values).events
    assert event.onset_earliest < START + 90 * MINUTE
    assert event.onset_latest > START + 60 * MINUTE
    assert event.size == pytest.approx(13.4, abs=1.5)  # the mean of its last ten frames


def creep(rng: np.random.Generator, onset: int, frames: int = 60) -> Array:
    """Quiet, then a creep that is steep at first and levels off 60 sigma away."""
    since = np.maximum(np.arange(frames) - onset, 0)
    return np.asarray(noise(rng, frames) - 60 * (1 - np.exp(-since / 12)))


def test_a_quiet_control_tells_a_creep_from_wandering() -> None:
    """A strong creep looks correlated by itself; the scatter of the control does not."""
    rng = np.random.default_rng(21)
    alone, controlled, covered = 0, 0, 0
    for _ in range(40):
        onset = int(rng.integers(12, 30))
        values = creep(rng, onset)
        alone += len(plain(values).events)
        for event in plain(values, quiet=series(noise(rng, 60))).events:
            controlled += 1
            first, last = (
                (moment - START) / MINUTE for moment in (event.onset_earliest, event.onset_latest)
            )
            covered += bool(first <= onset <= last)
            assert abs((event.onset.time - START) / MINUTE - onset) <= 4
    assert controlled == 40
    assert covered >= 36
    assert alone < 40


def test_a_control_that_drifts_as_much_raises_the_bar() -> None:
    """What the control does by itself is chance for the series, too."""
    rng = np.random.default_rng(22)
    values = noise(rng, 60)
    values[30:] += 3
    loud = series(20 * noise(rng, 60))
    assert plain(values, quiet=series(noise(rng, 60))).events
    assert not plain(values, quiet=loud).events


def test_false_alarms_with_a_control_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(23)
    alarms = sum(
        len(plain(noise(rng, 60), quiet=series(noise(rng, 60)), false_alarm=0.05).events)
        for _ in range(300)
    )
    assert alarms <= 26


def test_a_change_that_goes_back_has_an_end() -> None:
    values = noise(np.random.default_rng(22), 100)
    values[40:60] += 6
    [event] = plain(values).events
    assert event.end is not None
    assert abs(event.end.time - (START + 60 * MINUTE)) <= 2 * MINUTE
    assert event.evidence == tuple(range(40, 60))
    assert event.controls["persistence"].startswith("failed")


def test_scale_offset_and_gaps_do_not_matter() -> None:
    values = noise(np.random.default_rng(11), 90)
    values[50:] += 5
    [before] = plain(values).events
    [scaled] = plain(1e3 * values + 8000, spread=1e3).events
    assert scaled.onset.time == before.onset.time
    assert scaled.size == pytest.approx(1e3 * before.size)
    assert scaled.score == pytest.approx(before.score)
    [mirrored] = plain(-values).events
    assert mirrored.onset.time == before.onset.time
    assert mirrored.size == pytest.approx(-before.size)
    holes = values.copy()
    holes[[3, 30, 70]] = np.nan
    [event] = plain(holes).events
    assert not {3, 30, 70} & set(event.evidence)
    [again] = plain(values).events
    assert again.to_json() == before.to_json()


def test_a_frame_with_a_large_sigma_counts_little() -> None:
    rng = np.random.default_rng(12)
    sigma = np.where(np.arange(80) % 4 == 0, 30.0, 1.0)
    values = sigma * noise(rng, 80)
    assert not plain(values, spread=sigma).events
    values[40:] += 5
    [event] = plain(values, spread=sigma).events
    assert abs(event.size - 5) < 3 * event.size_sigma


def test_the_reference_is_the_frames_before_the_first_that_is_not_at_rest() -> None:
    values = noise(np.random.default_rng(13), 60)
    values[25:] += 6
    state = np.where(np.arange(60) < 25, STATES["rest"], STATES["charge"])
    number, spread = series(values, state=state)
    [event] = departures(number, spread, reversible="none", **NAMES).events
    assert event.onset_earliest == START + 24 * MINUTE
    assert event.onset.state == "charge"


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (np.full(20, np.nan), "0 usable frames"),
        (np.arange(6.0), "6 usable frames, 5 of them reference"),
        (np.cumsum(np.sin(np.arange(200) / 20)), "wanders by itself"),
    ],
)
def test_what_cannot_be_judged_is_said(values: Array, status: str) -> None:
    findings = plain(values)
    assert not findings.events
    assert findings.status.startswith("not calibrated: ")
    assert status in findings.status


@pytest.mark.parametrize("options", [{"false_alarm": 1e-5}, {"false_alarm": 0.9}, {"reference": 1}])
def test_an_impossible_request_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        plain(np.zeros(20), **options)


def cycling(half_cycles: int, frames: int = 40, **changes: Any) -> dict[str, Any]:
    """Coordinates of a cell that is charged and discharged in turn; charge runs from 0 to 1."""
    half = np.repeat(np.arange(half_cycles), frames)
    share = np.tile((np.arange(frames) + 0.5) / frames, half_cycles)
    state = np.where(half % 2 == 0, STATES["charge"], STATES["discharge"])
    current = np.where(half % 2 == 0, 1e-3, -1e-3)
    return {
        "half_cycle": half,
        "cycle": half // 2,
        "state": state,
        "half_cycle_capacity": share,
        "current": current,
        "voltage": 3 + np.where(half % 2 == 0, share, 1 - share),
    } | changes


def breathing(coords: dict[str, Any], swing: float = 50.0) -> Array:
    """A number that follows the charge, with a hysteresis between the directions."""
    charge = coords["half_cycle_capacity"]
    up = charge**1.5
    down = 1 - charge**0.8
    return np.asarray(swing * np.where(coords["half_cycle"] % 2 == 0, up, down))


def test_breathing_is_no_departure_and_change_at_equal_state_is() -> None:
    rng = np.random.default_rng(14)
    coords = cycling(8)
    alarms = covered = 0
    for _ in range(60):
        values = breathing(coords, swing=10) + noise(rng, 320)
        findings = departures(*series(values, **coords), false_alarm=0.05, **NAMES)
        assert findings.status.startswith("calibrated")
        alarms += len(findings.events)
        values[200:] += 3
        [event] = departures(*series(values, **coords), **NAMES).events
        covered += bool(event.onset_earliest < START + 200 * MINUTE <= event.onset_latest)
        assert event.onset.cycle == 2
        assert abs(event.size - 3) < 4 * event.size_sigma
    assert alarms <= 9  # 3 expected
    assert covered >= 53


def test_less_than_one_cycle_is_not_judged_unless_the_number_does_not_breathe() -> None:
    coords = cycling(2)
    values = noise(np.random.default_rng(15), 80)
    values[40:] += 8
    findings = departures(*series(values, **coords), **NAMES)
    assert not findings.events
    assert findings.status == ("not calibrated: reversible part unknown (less than one full cycle)")
    assert departures(*series(values, **coords), reversible="none", **NAMES).events


def test_charge_that_the_first_cycle_did_not_reach_is_left_out() -> None:
    coords = cycling(6)
    beyond = coords["half_cycle"] >= 4
    coords["half_cycle_capacity"] = coords["half_cycle_capacity"] * np.where(beyond, 2, 1)
    values = np.minimum(breathing(coords), 1e3) + noise(np.random.default_rng(16), 240)
    findings = departures(*series(values, **coords), **NAMES)
    assert not findings.events
    assert "40 frames without equal state" in findings.status


def test_a_number_that_returns_is_not_reported() -> None:
    rng = np.random.default_rng(17)
    coords = cycling(8)
    alarms = 0
    for _ in range(200):
        values = breathing(coords) + noise(rng, 320)
        findings = incomplete_returns(*series(values, **coords), false_alarm=0.05, **NAMES)
        assert findings.status.startswith("calibrated")
        alarms += len(findings.events)
    assert alarms <= 20  # 10 expected; the threshold allows for 4 comparisons


def test_one_loss_is_reported_once_and_a_creep_adds_up() -> None:
    rng = np.random.default_rng(18)
    coords = cycling(10)
    loss = np.where(coords["half_cycle"] >= 3, 20.0, 0.0)
    values = breathing(coords) + loss + noise(rng, 400)
    [event] = incomplete_returns(*series(values, **coords), **NAMES).events
    assert event.onset.cycle == 1
    assert abs(event.size - 20) < 3 * event.size_sigma
    assert [point["name"] for point in event.detail["turning_points"]][:2] == [
        "start",
        "end of half-cycle 0",
    ]
    assert event.onset_earliest < START + 120 * MINUTE <= event.onset_latest
    creep = breathing(coords) + 2.5 * coords["cycle"] + noise(rng, 400)
    events = incomplete_returns(*series(creep, **coords), **NAMES).events
    assert 0 < len(events) < 4
    assert all(event.size > 2.5 for event in events)


def test_size_of_a_return_has_honest_error_bars() -> None:
    rng = np.random.default_rng(19)
    coords = cycling(4)
    pulls = []
    for _ in range(300):
        values = breathing(coords, swing=0) + 30 * (coords["half_cycle"] > 0) + noise(rng, 160)
        [event] = incomplete_returns(*series(values, **coords), **NAMES).events
        pulls.append((event.size - 30) / event.size_sigma)
    assert 0.8 < np.std(pulls) < 1.2


def test_half_cycles_at_another_current_are_not_compared() -> None:
    coords = cycling(7)
    fast = coords["half_cycle"] >= 4
    coords["current"] = coords["current"] * np.where(fast, 2, 1)
    values = breathing(coords) + 30 * fast
    findings = incomplete_returns(*series(values, **coords), **NAMES)
    assert not findings.events
    assert "1 at another current not compared" in findings.status


@pytest.mark.parametrize("coords", [{}, cycling(2, frames=10)])
def test_a_return_needs_a_full_cycle(coords: dict[str, Any]) -> None:
    findings = incomplete_returns(*series(np.zeros(20), **coords), **NAMES)
    assert findings.status.startswith("not calibrated: ")
    assert not findings.events


def event_at(position: str, **changes: Any) -> Event:
    values = noise(np.random.default_rng(20), 60)
    values[30:] += changes.pop("step", 6)
    [event] = plain(values, position=position, **changes).events
    return event


def test_positions_that_agree_make_it_a_change_of_the_whole_electrode() -> None:
    events = [event_at("a"), event_at("b")]
    scopes = [e.detail["scope"] for e in merge_positions(events, positions=["a", "b"])]
    assert scopes == ["whole electrode (all 2 positions agree)"] * 2
    [first, *_] = merge_positions(events, positions=["a", "b", "c"])
    assert (first.detail["scope"], first.detail["silent"]) == ("2 of 3 positions", ["c"])
    differing = merge_positions([event_at("a"), event_at("b", step=30)], positions=["a", "b"])
    assert differing[0].detail["scope"] == "every position, sizes differ"
    opposite = merge_positions([event_at("a"), event_at("b", step=-6)], positions=["a", "b"])
    assert opposite[0].detail["silent"] == ["b"]
    assert "scope" not in merge_positions([event_at("")], positions=[""])[0].detail


def electrochemistry(folder: Path) -> tuple[Array, Array]:
    """Return seconds after 2022-07-26T00:00 and current in A from the two BioLogic files."""
    seconds: list[float] = []
    current: list[float] = []
    for name, start in (
        ("220726cell4operandoxas_C06.mpt", 22 * 3600 + 38 * 60 + 30.190),
        ("220726cell4operandoxascontinuation_C06.mpt", (48 + 13) * 3600 + 31 * 60 + 45.341),
    ):
        lines = (folder / "EC" / name).read_text(encoding="latin-1").splitlines()
        header = int(lines[1].split(":")[1])
        columns = lines[header - 1].split("\t")
        rows = [line.split("\t") for line in lines[header:]]
        for into, column, scale, offset in (
            (seconds, "time/s", 1.0, start),
            (current, "<I>/mA", 1e-3, 0.0),
        ):
            at = columns.index(column)
            into += [scale * float(row[at].replace(",", ".")) + offset for row in rows]
    return np.array(seconds), np.array(current)


@pytest.fixture(scope="module")
def lithium_nickel_oxide(shared_data: Path) -> xr.Dataset:
    """Spectra of the real LiNiO2 cell, with its state from its own cycler files."""
    folder = shared_data / "operando" / "xas_ni_lno_rock"
    with (folder / "reference" / "rock_lno_reference.csv").open(encoding="utf-8") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: row["t_local"])
    rows = [row for row in rows if (folder / "XAS_normalized" / row["file"]).exists()]
    spectra = [
        np.loadtxt(folder / "XAS_normalized" / row["file"], encoding="latin-1", usecols=(0, 1, 2))
        for row in rows
    ]
    time = np.array([row["t_local"] for row in rows], "datetime64[ns]")
    seconds, current = electrochemistry(folder)
    frame = (time - np.datetime64("2022-07-26")) / np.timedelta64(1, "s")
    at = np.searchsorted(seconds, frame) - 1
    flow = np.sign(np.where(np.abs(current) < 1e-7, 0, current))
    flow[: np.flatnonzero(flow)[0]] = 1
    latest = np.maximum.accumulate(np.where(flow != 0, np.arange(flow.size), 0))
    half_cycle = np.cumsum(np.abs(np.diff(flow[latest], prepend=1)) > 0)
    channels = np.stack(spectra)
    return xr.Dataset(
        {
            "mu": (("time", "energy"), channels[..., 1]),
            "mu_reference": (("time", "energy"), channels[..., 2]),
        },
        coords={
            "time": time,
            "energy": spectra[0][:, 0],
            "position": ("time", [row["file"].split("_")[3] for row in rows]),
            "voltage": ("time", [float(row["E_V"]) for row in rows]),
            "current": ("time", current[at]),
            "half_cycle": ("time", half_cycle[at]),
            "cycle": ("time", half_cycle[at] // 2),
            "state": ("time", np.where(flow[at] > 0, STATES["charge"], STATES["discharge"])),
        },
    )


@pytest.mark.shared_data
@pytest.mark.parametrize("method", ["half", "integral"])
def test_lithium_nickel_oxide_does_not_come_back_once(
    lithium_nickel_oxide: xr.Dataset, method: Literal["half", "integral"]
) -> None:
    """First charge 8344.76 eV; after it 8345.1 eV again and again: one loss, at both spots."""
    events = []
    tracked = track_edge(
        lithium_nickel_oxide["mu"],
        e0=8345.0,
        pre=None,
        post=None,
        method=method,
        reference=lithium_nickel_oxide["mu_reference"],
    )
    for position in ("pos1", "pos2"):
        here = tracked.isel(time=np.flatnonzero(tracked["position"].values == position))
        findings = incomplete_returns(
            here["edge_energy"], here["edge_energy_sigma"], position=position, **NAMES
        )
        [event] = findings.events
        assert event.onset.cycle == 0
        assert event.onset.state == "discharge"
        assert event.size == pytest.approx(0.29, abs=0.08)
        assert "2 returns compared; 1 at another current not compared" in findings.status
        events.append(event)
    if method == "half":
        turns = events[0].detail["turning_points"]
        assert turns[0]["value"] == pytest.approx(8344.76, abs=0.04)
        assert turns[1]["value"] == pytest.approx(8346.2, abs=0.04)
        assert turns[2]["value"] == pytest.approx(8345.1, abs=0.04)
    merged = merge_positions(events, positions=["pos1", "pos2"])
    assert {event.detail["scope"] for event in merged} == {
        "whole electrode (all 2 positions agree)"
    }
