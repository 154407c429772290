"""`operando clocks`: it tells every clock, and what it says to put into a recipe cures it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

from operando.align import align
from operando.cli import main
from operando.recipe import Recipe
from operando.run import clock_table as module
from operando.run.clock_table import clock_table
from operando.run.experiment import read_frames, read_log


def clocks_of(recipe: Path) -> Result:
    result = CliRunner().invoke(main, ["clocks", str(recipe)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def without(recipe: Path, *patterns: str) -> Path:
    """Take keys out of a recipe."""
    text = recipe.read_text()
    for pattern in patterns:
        text, count = re.subn(pattern, "", text, flags=re.MULTILINE)
        assert count
    recipe.write_text(text)
    return recipe


def cured(recipe: Path, said: str) -> Path:
    """Put into the recipe what the command said, where it said so."""
    text = recipe.read_text()
    table = ""
    for line in said.splitlines():
        if line.startswith("  put into"):
            table = line
        elif line.startswith("    ") and table:
            anchor = "[electrochemistry]\n" if "[electrochemistry]" in table else 'name = "xrd"\n'
            assert anchor in text
            text = text.replace(anchor, f"{anchor}{line.strip()}\n")
        else:
            table = ""
    recipe.write_text(text)
    return recipe


def test_every_clock_is_told(experiment: Path) -> None:
    result = clocks_of(experiment)
    assert result.exit_code == 0, result.output
    # The rows run from 10:00:00 to 16:19:40 in Paris, in summer.
    for line in (
        "electrochemistry: 1140 rows in 1 file",
        "  clock       from header, zone Europe/Paris (declared), stamps mark instant",
        "  sigma       1 s (declared)",
        "  from        2026-05-04 08:00:00.000 to 2026-05-04 14:19:40.000 (UTC)",
        "xrd: 40 frames in 40 files",
        "  clock       from header, zone Europe/Paris (declared), stamps mark start",
        "  exposure    from declared",
        "  from        2026-05-04 08:02:00.000 to 2026-05-04 13:54:00.000 (UTC)",
        "  overlap     5.87 h with the cell: 100.0% of the frames covered, 0.0% partly, 0.0% in a "
        "gap, 0.0% outside",
        "all clocks verified",
    ):
        assert line in result.output.splitlines()


@pytest.mark.parametrize(
    ("patterns", "lines"),
    [
        ([r'tz = "Europe/Paris"$(?=\nexposure)'], ['tz = "Europe/Paris"']),
        ([r'tz = "Europe/Paris"$(?=\nclock_sigma_s)'], ['tz = "Europe/Paris"']),
        ([r"^clock_sigma_s = 1.0$"], ["clock_sigma_s = 1.0", "clock_sigma_s = 1.0"]),
        ([r"^exposure_s = 60.0$"], ["exposure_s = 60.0"]),
        (
            [r'tz = "Europe/Paris"$(?=\nexposure)', r"^exposure_s = 60.0$"],
            ['tz = "Europe/Paris"'],
        ),
    ],
)
def test_what_it_says_cures_the_recipe(
    experiment: Path, patterns: list[str], lines: list[str]
) -> None:
    recipe = without(experiment, *patterns)
    result = clocks_of(recipe)
    assert result.exit_code == 20
    said = [line.strip() for line in result.output.splitlines() if line.startswith("    ")]
    assert [line.partition("  #")[0] for line in said] == lines
    # Where the zone was missing the exposure is seen to be in a second look only.
    for _ in range(2):
        result = clocks_of(cured(recipe, result.output))
    assert result.exit_code == 0, result.output


def test_without_any_zone_it_still_tells_what_the_files_say(experiment: Path) -> None:
    result = clocks_of(without(experiment, r'^tz = "Europe/Paris"$'))
    assert result.exit_code == 20
    assert result.output.count('tz = "Area/City"') == 2
    assert result.output.count("has no zone; declare tz") == 2
    assert "2026-05-04T10:02:00.000 to 2026-05-04T15:53:00.000 (as written, no zone)" in (
        result.output
    )
    assert "not verified: electrochemistry, xrd" in result.output


def test_files_without_time_need_first_and_period(experiment: Path) -> None:
    for path in experiment.parent.glob("xrd/*.xye"):
        path.write_text(path.read_text().partition("\n")[2])
    result = clocks_of(experiment)
    assert result.exit_code == 20
    assert 'first = "2026-05-04T10:00:00"' in result.output
    assert "period_s = 60.0" in result.output
    assert "no time in the file" in result.output


def test_a_log_without_start_needs_first(experiment: Path) -> None:
    log = experiment.parent / "cell.mpt"
    text = log.read_bytes().decode("latin-1")
    lines = [line for line in text.split("\r\n") if "Acquisition" not in line]
    lines[1] = "Nb header lines : 5"
    log.write_bytes("\r\n".join(lines).encode("latin-1"))
    result = clocks_of(experiment)
    assert result.exit_code == 20
    assert 'first = "2026-05-04T10:00:00"  # local time at the start of the technique' in (
        result.output
    )
    assert clocks_of(cured(experiment, result.output)).exit_code == 0


def test_another_zone_shares_no_time_and_says_the_spans(experiment: Path) -> None:
    text = experiment.read_text()
    experiment.write_text(text.replace('"Europe/Paris"\nexposure', '"Asia/Tokyo"\nexposure'))
    result = clocks_of(experiment)
    assert result.exit_code == 20
    assert "0.00 h with the cell" in result.output
    assert "100.0% outside" in result.output
    assert "check tz and clock_offset_s" in result.output


def test_a_recipe_for_other_files_is_told_and_the_rest_goes_on(experiment: Path) -> None:
    experiment.write_text(experiment.read_text().replace("xrd/*.xye", "raman/*.txt"))
    result = clocks_of(experiment)
    assert result.exit_code == 20
    assert "  problem     " in result.output
    assert "electrochemistry: 1140 rows" in result.output


def test_a_bad_recipe_is_refused(experiment: Path) -> None:
    experiment.write_text(experiment.read_text().replace("exposure_s", "exposure"))
    result = clocks_of(experiment)
    assert result.exit_code == 2
    assert "measurement[0].exposure: unknown key" in result.output


def test_the_sign_of_the_current_does_not_stand_in_the_way(experiment: Path) -> None:
    log = experiment.parent / "cell.mpt"
    text = log.read_bytes().decode("latin-1").split("\r\n")
    rows = [line.split("\t") for line in text[6:] if line]
    turned = ["\t".join([*row[:3], str(-float(row[3])), row[4]]) for row in rows]
    log.write_bytes("\r\n".join([*text[:6], *turned, ""]).encode("latin-1"))
    assert clocks_of(experiment).exit_code == 0


def test_frames_are_not_computed(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(block: Any) -> Any:
        raise AssertionError("computed")

    frames = read_frames(Recipe.load(experiment).measurement[0], experiment.parent)
    signal = frames["intensity"].data.map_blocks(fail, meta=np.empty((0, 0)))
    broken = frames.assign(intensity=(("time", "two_theta"), signal, {"units": "count"}))
    monkeypatch.setattr(module, "read_frames", lambda source, root: broken)
    assert clocks_of(experiment).exit_code == 0


@pytest.fixture
def changed(
    experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[module.SourceClock]]:
    """Look at the clocks of the experiment after changing its log or its frames."""
    recipe = Recipe.load(experiment)

    def look(
        frames: Callable[[xr.Dataset, xr.Dataset], xr.Dataset] = lambda frames, log: frames,
        log: Callable[[xr.Dataset], xr.Dataset] = lambda log: log,
        **declared: Any,
    ) -> list[module.SourceClock]:
        root = experiment.parent
        prepared = log(read_log(recipe.electrochemistry, root))
        seen = frames(read_frames(recipe.measurement[0], root), prepared)
        monkeypatch.setattr(module, "read_log", lambda source, root: prepared)
        monkeypatch.setattr(module, "read_frames", lambda source, root: seen)
        measurement = recipe.measurement[0].model_copy(update=declared)
        return clock_table(recipe.model_copy(update={"measurement": (measurement,)}), root=root)

    return look


def with_potential(
    offset_s: float, noise_v: float = 1e-3
) -> Callable[[xr.Dataset, xr.Dataset], xr.Dataset]:
    """Let the beamline read the cell too (by default 1 mV of noise), and its clock be late."""

    def late(frames: xr.Dataset, log: xr.Dataset) -> xr.Dataset:
        voltage = align(frames, log)["voltage"].values
        noise = np.random.default_rng(3).normal(0, noise_v, voltage.size)
        shift = np.timedelta64(round(offset_s * 1e9), "ns")
        moved = {name: frames[name] - shift for name in ("time", "time_start", "time_end")}
        return frames.assign_coords(
            moved | {"cell_voltage": ("time", voltage + noise, {"units": "V"})}
        )

    return late


def test_an_offset_is_proposed_from_the_potential_and_not_applied(
    changed: Callable[..., list[module.SourceClock]],
) -> None:
    cell, xrd = changed(with_potential(137.4), clock_offset_s=10.0)
    assert cell.verified
    [proposal] = xrd.proposals
    assert proposal.accepted
    [line] = xrd.add
    assert re.fullmatch(r"clock_offset_s = 14\d\.\d\d  # from the potential", line)
    assert float(line.split()[2]) == pytest.approx(147.4, abs=4 * proposal.sigma_s)
    assert "2026-05-04 07:59:42.600" in str(xrd)
    assert not xrd.verified


def drifting(ppm: float) -> Callable[[xr.Dataset, xr.Dataset], xr.Dataset]:
    """Let the beamline's clock lose `ppm`, and read the cell without much noise."""

    def slow(frames: xr.Dataset, log: xr.Dataset) -> xr.Dataset:
        late = with_potential(137.4, noise_v=1e-5)(frames, log)
        since = (late["time"] - late["time"][0]).values.astype(np.int64)
        lost = np.rint(since * -1e-6 * ppm).astype("timedelta64[ns]")
        moved = {n: ("time", late[n].values + lost) for n in ("time", "time_start", "time_end")}
        return late.assign_coords(moved)

    return slow


def test_a_drift_is_told_where_it_is_certain_and_that_of_a_clock(
    changed: Callable[..., list[module.SourceClock]],
) -> None:
    _, steady = changed(with_potential(137.4))
    assert len(steady.proposals) == 1
    _, no_clock = changed(drifting(3000.0))
    assert len(no_clock.proposals) == 1
    _, xrd = changed(drifting(150.0))
    fitted = xrd.proposals[1]
    assert fitted.drift_ppm == pytest.approx(150, abs=4 * fitted.drift_sigma_ppm + 10)
    assert fitted.offset_s == pytest.approx(137.4, abs=4 * fitted.sigma_s)
    assert len([line for line in xrd.add if "clock_offset_s" in line]) == 1


def test_an_offset_within_its_sigma_is_no_contradiction(
    changed: Callable[..., list[module.SourceClock]],
) -> None:
    _, xrd = changed(with_potential(0.0))
    assert xrd.proposals[0].accepted
    assert xrd.verified


def test_a_proposal_gives_the_sigma_that_nobody_declared(
    changed: Callable[..., list[module.SourceClock]],
) -> None:
    def unknown(frames: xr.Dataset, log: xr.Dataset) -> xr.Dataset:
        clock = {**json.loads(frames.attrs["clock"]), "sigma_s": None}
        return with_potential(137.4)(frames, log).assign_attrs(clock=json.dumps(clock))

    _, xrd = changed(unknown, clock_sigma_s=None)
    assert any(line.startswith("clock_sigma_s = ") and "potential" in line for line in xrd.add)
    assert not any("network" in line for line in xrd.add)


def test_a_trigger_on_an_analog_input_is_compared(
    changed: Callable[..., list[module.SourceClock]],
) -> None:
    def triggered(log: xr.Dataset) -> xr.Dataset:
        since = (log["time"] - log["time"][0]).values / np.timedelta64(1, "s")
        # The exposures begin at 120 s and every 540 s; the trigger is seen 40 s later.
        high = (since - 160) % 540 < 60
        return log.assign(analog_in_1=("time", 5.0 * high, {"units": "V"}))

    _, xrd = changed(log=triggered)
    [proposal] = xrd.proposals
    assert proposal.method == "trigger"
    # Rows lie 20 s apart, and the record ends with pulses more than there were exposures.
    assert proposal.refused is not None
    _, xrd = changed(log=lambda log: triggered(log).isel(time=slice(0, 1080)))
    assert xrd.proposals[0].accepted
    assert xrd.proposals[0].offset_s == pytest.approx(40, abs=20)


def counted(synchronised: bool) -> Callable[[xr.Dataset], xr.Dataset]:
    def with_counter(log: xr.Dataset) -> xr.Dataset:
        fit = {
            "ppm": -48.2,
            "ppm_sigma": 0.13,
            "offset_s": -0.2,
            "steps": 9,
            "step_s": -1.36,
            "step_every_s": 28_802.0,
            "backwards": 8,
            "residual_s": 1.43,
            "synchronised": synchronised,
        }
        clock = json.loads(log.attrs["clock"])
        clock["sources"][0]["counter"] = fit
        return log.assign_attrs(clock=json.dumps(clock))

    return with_counter


def test_a_drifting_counter_is_told_with_its_correction(
    changed: Callable[..., list[module.SourceClock]],
) -> None:
    cell, _ = changed(log=counted(synchronised=True))
    assert [line.partition("  #")[0] for line in cell.add] == [
        "drift_ppm = -48.2",
        "clock_offset_s = -0.20",
    ]
    assert (
        "-48.2 +- 0.1 ppm against its wall clock, which was corrected 9 times by -1.36 s, every "
        "8.0 h and ran backwards 8 times; largest residual 1.43 s"
    ) in str(cell)
    free, _ = changed(log=counted(synchronised=False))
    assert free.verified


@pytest.mark.shared_data
def test_correction_of_a_real_cycler_is_what_it_needs(shared_data: Path, tmp_path: Path) -> None:
    """The 70 h Neware file: 12 s off at its end as it is, within a second when corrected."""
    path = shared_data / "formats/echem/neware/20260302_IFE_BTS85_2_9_8_1.ndax"
    recipe = tmp_path / "recipe.toml"
    (tmp_path / "a.xye").write_text("# 2026-02-28T10:00:00Z\n1 2\n2 3\n3 4\n")
    recipe.write_text(
        f'name = "a"\n[electrochemistry]\npath = {json.dumps(str(path))}\n'
        '[[measurement]]\nname = "xrd"\npath = "a.xye"\nexposure_s = 60\nclock_sigma_s = 1\n'
    )
    first = clocks_of(recipe)
    assert first.exit_code == 20
    assert "sigma       12.3 s (by its counter)" in first.output
    assert re.search(r"drift_ppm = -48\.\d", first.output)
    second = clocks_of(cured(recipe, first.output))
    assert second.exit_code == 0, second.output
    assert "sigma       1 s (by its counter)" in second.output


@pytest.mark.shared_data
def test_files_of_two_cells_are_noticed(shared_data: Path, experiment: Path) -> None:
    """EC-Lab keeps the user's comment in every file: two of them are hardly one cell."""
    folder = shared_data / "formats" / "echem" / "biologic"
    text = experiment.read_text(encoding="utf-8")
    recipe = experiment.with_name("two.toml")
    recipe.write_text(
        text.replace('path = "cell.mpt"', f'path = "{folder.as_posix()}/commercial_cell_0*.mpr"'),
        encoding="utf-8",
    )
    said = CliRunner().invoke(main, ["clocks", str(recipe)]).output
    assert "differ in comments: commercial_cell_001, commercial_cell_008" in said
    same = CliRunner().invoke(main, ["clocks", str(experiment)]).output
    assert "one cell?" not in same
