"""Candidates from constructed events: what is supported, what is not, and what is rejected."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from operando.detect.event import Event, State
from operando.interphase import Candidate, candidates

START = np.datetime64("2026-05-04T10:00:00", "ns")
MINUTE = np.timedelta64(60, "s")
FRAMES = 40


def at(minute: float) -> np.datetime64:
    return START + int(minute * 60) * np.timedelta64(1, "s")


def state(minute: float, name: str = "charge") -> State:
    return State(time=at(minute), voltage=4.1, cycle=1, half_cycle=2, state=name)


def event(**changes: Any) -> Event:
    """A departure of 0.3 eV at the interface, from minute 40 on."""
    facts: dict[str, Any] = {
        "kind": "departure",
        "measurement": "xas",
        "technique": "xas",
        "observable": "zr_k.edge_energy",
        "position": "interface",
        "onset": state(40),
        "onset_earliest": at(38),
        "onset_latest": at(44),
        "size": -0.3,
        "size_sigma": 0.02,
        "size_units": "eV",
        "score": 12.0,
        "threshold": 4.0,
        "calibration": "1 % per series",
        "evidence": (20, 22),
    }
    return Event(**facts | changes)


RAMAN: dict[str, Any] = {
    "kind": "new_peak",
    "measurement": "raman",
    "technique": "raman",
    "observable": "intensity",
    "position": "",
    "size": 40.0,
    "size_units": "1/cm",
    "score": 6.0,
}


def frames(
    positions: tuple[str, ...] = ("bulk", "interface"), exposures: tuple[float, ...] = (60.0, 60.0)
) -> xr.Dataset:
    """Two positions in turn, one frame every two minutes, for eighty minutes."""
    minute = 2.0 * np.arange(FRAMES)
    which = np.arange(FRAMES) % len(positions)
    start = np.array([at(value) for value in minute])
    length = np.array([int(exposures[at]) for at in which]) * np.timedelta64(1, "s")
    return xr.Dataset(
        coords={
            "time": start + length / 2,
            "time_start": ("time", start),
            "time_end": ("time", start + length),
            "position": ("time", np.array(positions)[which]),
        }
    )


def edge(here: xr.Dataset, *, sigma: float = 0.02, shift: float = 0.0, **attrs: Any) -> xr.Dataset:
    """An edge that moves by `shift` at minute 40, with noise of `sigma`."""
    late = here["time"].values >= at(40)
    energy = 18000 + shift * late + sigma * np.random.default_rng(1).standard_normal(late.size)
    return here.assign(
        edge_energy=("time", energy),
        edge_energy_sigma=("time", np.full(late.size, sigma)),
    ).assign_attrs(kind="edge", **({"signal": "mu"} | attrs))


def weigh(
    *events: Event,
    here: xr.Dataset | None = None,
    observed: dict[str, xr.Dataset] | None = None,
) -> list[Candidate]:
    here = frames() if here is None else here
    observed = {"zr_k": edge(here)} if observed is None else observed
    return candidates(
        list(events),
        frames={"xas": here, "raman": here.drop_vars("position", errors="ignore")},
        observed={"xas": observed, "raman": {}},
    )


def test_a_lost_line_or_a_shoulder_is_no_candidate() -> None:
    born = event(**RAMAN)
    assert candidates([born], frames={"raman": frames(("",))}, observed={})
    shoulder = {"assignment": "split or shoulder of the line at 590.0"}
    for other in (replace(born, kind="lost_peak"), replace(born, detail=shoulder)):
        assert candidates([other], frames={"raman": frames(("",))}, observed={}) == []


def test_a_local_lasting_change_with_a_silent_control_is_supported() -> None:
    [found] = weigh(event())
    assert (found.verdict, found.severity) == ("supported", "alert")
    assert found.controls == {
        "persistence": "passed",
        "negative control": "passed: bulk stayed silent (not named by the recipe)",
        "reference channel": "missing: no reference channel was tracked",
        "charge, not dose": "passed: bulk took 1200 s of beam without it",
        "second technique": "missing: no other technique saw it",
        "second line": "missing: one line or number only",
    }
    assert (found.onset, found.onset_earliest, found.onset_latest) == (state(40), at(38), at(44))
    assert (found.size, found.size_sigma, found.size_units) == (-0.3, 0.02, "eV")


def test_what_the_whole_electrode_does_is_no_candidate() -> None:
    scope = {"scope": "whole electrode (all 2 positions agree)", "silent": []}
    assert not weigh(event(detail=scope), event(position="bulk", detail=scope))
    assert not weigh(event(kind="incomplete_return", detail=scope))


@pytest.mark.parametrize(("silent", "count"), [([], 0), (["bulk"], 1)])
def test_an_incomplete_return_counts_where_another_position_returned(
    silent: list[str], count: int
) -> None:
    assert len(weigh(event(kind="incomplete_return", detail={"silent": silent}))) == count


def test_the_control_moving_too_rejects() -> None:
    scope = {"scope": "every position, sizes differ", "silent": []}
    [found] = weigh(event(detail=scope), event(position="bulk", size=-0.6, detail=scope))
    assert (found.verdict, found.severity) == ("rejected: control moved too", "info")
    named = {"control": "bulk"}
    [found] = weigh(event(detail=named), event(position="bulk", detail=named))
    assert found.verdict == "rejected: control moved too"
    assert [one.position for one in found.evidence] == ["interface"]


def test_what_happens_at_the_named_control_alone_is_no_candidate() -> None:
    assert not weigh(event(position="bulk", detail={"control": "bulk"}))


def test_a_named_control_is_the_one_that_counts() -> None:
    here = frames(("bulk", "middle", "interface"), (60.0, 60.0, 60.0))
    [found] = weigh(event(detail={"control": "bulk"}), event(position="middle"), here=here)
    assert found.controls["negative control"] == "passed: bulk stayed silent"


def test_without_a_control_it_is_listed_and_says_what_is_missing() -> None:
    [found] = weigh(event(position=""), here=frames().drop_vars("position"))
    assert (found.verdict, found.severity) == ("unsupported: controls missing", "warning")
    assert found.controls["negative control"] == "missing: no other position was measured"


def test_a_control_that_could_not_have_shown_it_is_none() -> None:
    here = frames()
    [found] = weigh(event(), observed={"zr_k": edge(here, sigma=1.0)})
    assert found.verdict == "unsupported: controls missing"
    assert "bulk is too noisy" in found.controls["negative control"]
    early = here.isel(time=(here["position"] != "bulk") | (here["time"] <= at(40)))
    [found] = weigh(event(), here=early)
    assert "0 after the onset" in found.controls["negative control"]
    assert found.controls["charge, not dose"].startswith("missing")


@pytest.mark.parametrize(
    ("shift", "control", "verdict"),
    [
        (0.0, "passed: moved", "supported"),
        (-0.05, "passed: moved", "supported"),
        (-0.28, "failed: moved", "rejected: reference channel moved too"),
    ],
)
def test_the_reference_channel_must_not_move(shift: float, control: str, verdict: str) -> None:
    here = frames()
    foil = edge(here, sigma=0.005, shift=shift, signal="mu_reference")
    [found] = weigh(event(), observed={"zr_k": edge(here), "foil": foil})
    assert found.controls["reference channel"].startswith(control)
    assert found.verdict == verdict


def test_a_change_that_went_back_is_rejected() -> None:
    [found] = weigh(event(end=state(60)))
    assert found.verdict == "rejected: it did not last"


def test_dose_is_not_told_from_charge_at_rest_or_with_a_spared_control() -> None:
    [found] = weigh(event(onset=state(40, "rest")))
    assert found.controls["charge, not dose"].startswith("missing: it began at rest")
    [found] = weigh(event(), here=frames(exposures=(10.0, 60.0)))
    assert found.controls["charge, not dose"] == (
        "missing: bulk took 200 s of beam, the changed position 1200 s"
    )


def test_techniques_with_onsets_in_common_are_one_candidate() -> None:
    raman = event(onset_earliest=at(42), onset_latest=at(50), **RAMAN)
    [found] = weigh(raman, event())
    assert found.techniques == ("xas", "raman")
    assert (found.onset_earliest, found.onset_latest) == (at(42), at(44))
    assert (found.verdict, found.severity) == ("supported", "critical")
    assert found.controls["second technique"] == "passed: raman"
    later = event(onset_earliest=at(50), onset_latest=at(58), **RAMAN)
    assert [one.techniques for one in weigh(later, event())] == [("xas",), ("raman",)]
    assert len(weigh(event(), later, raman)) == 2


def test_a_second_number_or_line_at_the_same_place_is_said() -> None:
    white_line = event(observable="zr_k.white_line", size=0.1, size_units="1", score=8.0)
    [found] = weigh(event(), white_line)
    assert found.controls["second line"] == "passed: 1 more"
    [found] = weigh(event(detail={"lines": [29.1, 33.8, 48.6]}, **RAMAN))
    assert found.controls["second line"] == "passed: 3 lines"


def test_the_order_of_events_does_not_matter() -> None:
    events = [
        event(),
        event(observable="zr_k.white_line", score=8.0),
        event(onset_earliest=at(50), onset_latest=at(58), **RAMAN),
    ]
    assert weigh(*events) == weigh(*events[::-1])


def test_json_is_complete_and_plain() -> None:
    unknown = replace(state(40), voltage=float("nan"), cycle=None)
    [found] = weigh(event(onset=unknown))
    content = json.loads(found.to_json())
    assert content["verdict"] == "supported"
    assert content["onset"]["voltage"] is None
    assert content["onset_earliest"] == "2026-05-04T10:38:00.000Z"
    assert content["size"] == -0.3
    assert content["techniques"] == ["xas"]
    assert content["positions"] == ["interface"]
    assert content["evidence"] == [event().identity]
    assert content["controls"] == found.controls
