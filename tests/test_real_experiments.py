"""Four real experiments, by the recipes of the documentation, give their known answers."""

from __future__ import annotations

import csv
import json
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import operando
from operando.errors import ClockError
from operando.model import ALIGNMENT_FLAGS, FRAME_FLAGS, STATES
from operando.recipe import Recipe
from operando.run import Experiment

RECIPES = Path(__file__).parents[1] / "docs" / "recipes"
pytestmark = pytest.mark.shared_data


@cache
def carried_out(name: str) -> Experiment:
    """The experiment of a recipe; done once for all tests."""
    path = RECIPES / f"{name}.toml"
    return operando.run(Recipe.load(path), root=path.parent)


def table(path: Path, *, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def utc(text: str) -> np.datetime64:
    return np.datetime64(text)


class TestLithiumNickelOxide:
    """LiNiO2 at two spots: breathing with charge, and a first cycle that does not come back."""

    @pytest.fixture
    def done(self, shared_data: Path) -> Experiment:
        return carried_out("xas_ni_lno_rock")

    def test_all_frames_are_covered_and_spots_apart(self, done: Experiment) -> None:
        frames = done.frames["xas"]
        assert frames.sizes["time"] == 230
        assert (frames["coverage"].values == 1).all()
        assert np.isfinite(frames["voltage"].values).all()
        positions, counts = np.unique(frames["position"].values.astype(str), return_counts=True)
        assert dict(zip(positions, counts, strict=True)) == {"pos1": 115, "pos2": 115}

    def test_edge_over_the_first_charge(self, done: Experiment, shared_data: Path) -> None:
        numbers = done.observed["xas"]["ni_k"]
        # The table is as measured; here the rest of the drift, seen on the foil, is taken off.
        edge = (numbers["edge_energy"] + numbers["energy_correction"]).values
        first = numbers["half_cycle"].values == 0
        assert edge[0] == pytest.approx(8344.76, abs=0.1)
        assert edge[first].max() == pytest.approx(8346.21, abs=0.1)
        rows = table(shared_data / "operando/xas_ni_lno_rock/reference/rock_lno_reference.csv")
        known = {row["file"]: float(row["E_half_step_eV"]) for row in rows}
        files = json.loads(done.frames["xas"].attrs["source_files"])
        expected = [known[Path(files[i]).name] for i in numbers["file_index"].values]
        np.testing.assert_allclose(edge, expected, atol=0.01)

    def test_turning_points_follow_the_current(self, done: Experiment) -> None:
        log = done.electrochemistry
        turns = log["time"].values[np.flatnonzero(np.diff(log["half_cycle"].values) > 0)]
        numbers = done.observed["xas"]["ni_k"]
        hour = np.timedelta64(3600, "s")
        checked = 0
        for number, turn in enumerate(turns):
            for spot in ("pos1", "pos2"):
                part = numbers.isel(time=np.flatnonzero(numbers["position"].values == spot))
                since = (part["time"].values - turn) / hour
                near = np.abs(since) < 2
                if since[near].max() < 1:  # the record ends before the turn is over
                    continue
                sign = 1 if number % 2 == 0 else -1
                peak = np.argmax(sign * part["edge_energy"].values[near])
                assert abs(since[near][peak]) < 0.4
                checked += 1
        assert checked == 12

    def test_incomplete_return_is_of_the_whole_electrode(self, done: Experiment) -> None:
        assert [event.kind for event in done.events] == ["incomplete_return"] * 2
        assert {event.position for event in done.events} == {"pos1", "pos2"}
        for event in done.events:
            assert event.detail["scope"].startswith("whole electrode")
            assert event.onset.cycle == 0
            points = {point["name"]: point["value"] for point in event.detail["turning_points"]}
            assert points["end of half-cycle 1"] == pytest.approx(8345.1, abs=0.05)
            assert points["start"] == pytest.approx(8344.76, abs=0.12)
            assert event.size > 5 * event.size_sigma
        assert done.candidates == []


class TestZincManganeseOxide:
    """A layered phase that comes and goes during one cycle; nothing says where to look."""

    @pytest.fixture
    def done(self, shared_data: Path) -> Experiment:
        return carried_out("xrd_zn_mno2_mspd")

    def test_voltages_are_those_of_the_user(self, done: Experiment, shared_data: Path) -> None:
        folder = shared_data / "operando/xrd_zn_mno2_mspd/reference"
        rows = table(folder / "17_Da.lis.cycle1_Da_rows.tsv", delimiter="\t")
        expected = np.array([float(row["Ewe [V]"]) for row in rows])
        frames = done.frames["xrd"]
        covered = frames["coverage"].values == 1
        assert covered.sum() == 33
        error = np.abs(frames["voltage"].values - expected)[covered]
        assert np.median(error) < 1e-3

    def test_frames_in_the_gap_carry_no_voltage(self, done: Experiment) -> None:
        frames = done.frames["xrd"]
        gap = (frames["alignment_flag"].values & ALIGNMENT_FLAGS["in_gap"]) != 0
        nothing = gap & (frames["coverage"].values == 0)
        # Frames 9 and 10 of the user's table are 414 s and 979 s from the nearest record.
        assert np.flatnonzero(nothing).tolist() == [8, 9]
        assert np.isnan(frames["voltage"].values[nothing]).all()
        assert (frames["state"].values[nothing] == STATES["unknown"]).all()

    def test_the_phase_is_found(self, done: Experiment) -> None:
        event = self._phase(done)
        found = np.array([line["position"] for line in event.detail["lines"]])
        for expected in (2.600, 5.204, 7.808):
            assert np.abs(found - expected).min() < 0.01
        orders = {line["order"]: line for line in event.detail["lines"] if line["order"]}
        assert {1, 2, 3} <= set(orders)
        assert orders[1]["d_angstrom"] == pytest.approx(10.93, abs=0.03)
        assert event.detail["assignment"] == "phase candidate"

    def test_onset_and_end_with_their_potentials(self, done: Experiment) -> None:
        event = self._phase(done)
        # Local times of the user's table are CEST, two hours before UTC.
        assert utc("2025-09-23T16:50") <= event.onset.time <= utc("2025-09-23T17:25")
        assert event.end is not None
        assert utc("2025-09-23T22:10") <= event.end.time <= utc("2025-09-23T23:40")
        assert event.onset.voltage == pytest.approx(1.30, abs=0.05)
        assert event.onset.state == "discharge"
        assert event.end.voltage == pytest.approx(1.50, abs=0.04)
        assert event.end.state == "charge"

    def test_area_follows_the_reference(self, done: Experiment, shared_data: Path) -> None:
        rows = table(shared_data / "operando/xrd_zn_mno2_mspd/reference/zhs_reference_cycle1.csv")
        reference = np.array([float(row["zhs001"]) for row in rows])
        areas = done.observed["xrd"]["new_peaks"]
        nearest = np.argmin(np.abs(areas["line"].values.astype(float) - 2.6))
        # The table sums counts above a straight background: per step of 0.006 degree. It was
        # taken over a window that cuts the tails, so the scale is free and the course is not.
        found = areas["area"].isel(line=nearest).values / 0.006
        large = reference > 0.1 * reference.max()
        scale = np.median(found[large] / reference[large])
        assert scale == pytest.approx(1.0, abs=0.15)
        np.testing.assert_allclose(found[large] / scale, reference[large], rtol=0.1)

    @staticmethod
    def _phase(done: Experiment) -> operando.Event:
        [event] = [
            event
            for event in done.events
            if any(abs(line["position"] - 2.6) < 0.02 for line in event.detail["lines"])
        ]
        return event


class TestManganeseOxideEdge:
    """Unix time in the spectra, local time without a zone in the potentiostat's files."""

    @pytest.fixture
    def done(self, shared_data: Path) -> Experiment:
        return carried_out("xas_mn_zn_claess")

    @pytest.fixture
    def reference(self, shared_data: Path) -> list[dict[str, str]]:
        folder = shared_data / "operando/xas_mn_zn_claess/reference"
        return table(folder / "op1_Electrodep_C_P1_Mn.csv")

    def test_edge_and_voltage(self, done: Experiment, reference: list[dict[str, str]]) -> None:
        numbers = done.observed["xas"]["mn_k"]
        expected = np.array([float(row["E_half_step_eV"]) for row in reference])
        measured = np.isfinite(numbers["edge_energy"].values)
        assert np.flatnonzero(~measured).tolist() == [3]
        error = numbers["edge_energy"].values - expected
        assert np.abs(error[measured]).max() < 0.1
        voltage = np.array([float(row["E_V_at_mid"]) for row in reference])
        np.testing.assert_allclose(done.frames["xas"]["voltage"].values, voltage, atol=0.01)

    def test_scan_3_is_flagged_and_hurts_nothing(self, done: Experiment) -> None:
        flag = done.frames["xas"]["frame_flag"].values
        faulty = (flag & FRAME_FLAGS["nonfinite"]) != 0
        assert np.flatnonzero(faulty).tolist() == [3]
        assert done.counts["xas"]["faulty"] == 1
        assert done.partial
        assert done.observed["xas"]["mn_k"]["assessment"].values[3] != 0

    def test_without_a_zone_nothing_is_guessed(self, shared_data: Path) -> None:
        path = RECIPES / "xas_mn_zn_claess.toml"
        recipe = Recipe.load(path)
        bare = recipe.electrochemistry.model_copy(update={"tz": None})
        with pytest.raises(ClockError, match=r"CellC_01_01_OCV_C04\.mpr.*tz"):
            operando.run(recipe.model_copy(update={"electrochemistry": bare}), root=path.parent)


class TestCoinCell:
    """Five patterns in a zip, times from the scan log: the first was taken before the record."""

    @pytest.fixture
    def done(self, shared_data: Path) -> Experiment:
        return carried_out("xrd_coincell_i11")

    def test_states(self, done: Experiment) -> None:
        frames = done.frames["xrd"]
        outside = (frames["alignment_flag"].values & ALIGNMENT_FLAGS["outside"]) != 0
        assert outside.tolist() == [True, False, False, False, False]
        assert np.isnan(frames["voltage"].values[0])
        state = frames["state"].values.tolist()
        assert state == [STATES["unknown"], *[STATES["rest"]] * 3, STATES["charge"]]
        assert frames["voltage"].values[1:4] == pytest.approx([3.098] * 3, abs=1e-3)
        assert frames["voltage"].values[4] == pytest.approx(3.58, abs=0.02)

    def test_values_come_from_the_zip(self, done: Experiment, shared_data: Path) -> None:
        archive = shared_data / "operando/xrd_coincell_i11/coincell8_LDE2_reduced.zip"
        with zipfile.ZipFile(archive) as zipped:
            name = "coincell8_LDE2/xrd_data/1355639_summed_mythen3.xye"
            expected = np.array(zipped.read(name).split(), float).reshape(-1, 3)
        found = done.frames["xrd"].isel(time=0)
        np.testing.assert_array_equal(found["intensity"].values, expected[:, 1])

    def test_nothing_is_called_a_phase(self, done: Experiment) -> None:
        assert done.events == []
        assert done.candidates == []
        assert "not calibrated" in done.said[0]
