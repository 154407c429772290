"""The whole job on a small experiment: what it leaves, what it survives, what it repeats."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import operando
from operando.cli import main
from operando.model import ALIGNMENT_FLAGS, FRAME_FLAGS


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, make_experiment: Callable[..., Path]
) -> tuple[Path, Path, str]:
    """Recipe, output folder and what the command said."""
    folder = tmp_path_factory.mktemp("run")
    recipe = make_experiment(folder / "in")
    result = invoke("run", recipe, "-o", folder / "out")
    assert result.exit_code == 0, result.output
    return recipe, folder / "out", result.output


def test_leaves_everything_it_promises(done: tuple[Path, Path, str]) -> None:
    _, out, _ = done
    found = {path.name for path in out.iterdir()}
    expected = {"experiment.zarr", "events.jsonl", "tables", "figures", "report.html", "run.json"}
    assert found == expected
    assert {path.suffix for path in (out / "figures").iterdir()} == {".png", ".svg"}


def test_finds_the_lines_that_are_born(done: tuple[Path, Path, str]) -> None:
    _, out, said = done
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    [event] = [event for event in events if event["kind"] == "new_peak"]
    positions = sorted(line["position"] for line in event["detail"]["lines"])
    np.testing.assert_allclose(positions, [10.8, 15.0], atol=0.02)
    # The lines start to grow after frame 18 and are gone from frame 32 on.
    born = np.datetime64("2026-05-04T08:02:30") + np.timedelta64(540 * 18, "s")
    gone = np.datetime64("2026-05-04T08:02:30") + np.timedelta64(540 * 32, "s")
    five = np.timedelta64(540 * 4, "s")
    assert born <= np.datetime64(event["onset"]["time"][:-1]) <= born + five
    assert abs(np.datetime64(event["end"]["time"][:-1]) - gone) <= five
    assert event["onset"]["state"] == "charge"
    assert "new_peak" in said


def test_tree_opens_with_plain_xarray(done: tuple[Path, Path, str]) -> None:
    _, out, _ = done
    with xr.open_datatree(out / "experiment.zarr", engine="zarr") as tree:
        assert {"electrochemistry", "xrd"} <= set(tree.children)
        assert {"lines", "new_peaks"} <= set(tree["xrd"].children)
        frames = tree["xrd"].to_dataset()
        assert frames["intensity"].shape == (40, 800)
        assert {"voltage", "state", "coverage", "time_start"} <= set(frames.coords)
        assert json.loads(tree.attrs["recipe"])["name"] == "cell"


def test_table_has_units_and_state(done: tuple[Path, Path, str]) -> None:
    _, out, _ = done
    with (out / "tables" / "xrd_lines.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 40
    assert rows[0]["time [UTC]"] == "2026-05-04T08:02:30.000Z"
    assert rows[0]["state"] == "rest"
    assert rows[20]["state"] == "charge"
    # The voltage of frame 20 is that of the ramp at its mid-exposure.
    middle = 120 + 540 * 20 + 30
    charge = 0.1 * (middle - 1200) / 3600
    assert float(rows[20]["voltage [V]"]) == pytest.approx(3.0 + 4 * charge + 0.05, abs=1e-4)
    assert any(header.endswith("centre [degree]") for header in rows[0])


def test_record_accounts_for_every_input(done: tuple[Path, Path, str]) -> None:
    _, out, _ = done
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "complete"
    assert len(record["inputs"]) == 41
    assert all(len(entry["sha256"]) == 64 for entry in record["inputs"])
    assert record["counts"]["xrd"]["frames"] == 40
    assert {"operando", "numpy", "python"} <= set(record["versions"])


def test_second_run_says_so_and_ends(done: tuple[Path, Path, str]) -> None:
    recipe, out, _ = done
    before = (out / "run.json").stat().st_mtime_ns
    result = invoke("run", recipe, "-o", out)
    assert result.exit_code == 0
    assert "nothing has changed" in result.output
    assert (out / "run.json").stat().st_mtime_ns == before


def _numbers(out: Path) -> Iterator[tuple[str, bytes]]:
    """Every byte of the data; what names versions or the day is in run.json and the report."""
    for path in sorted((out / "experiment.zarr").rglob("*")):
        if path.is_file():
            yield str(path.relative_to(out)), path.read_bytes()
    for name in ("events.jsonl", "tables/xrd_lines.csv"):
        yield name, (out / name).read_bytes()


def test_forced_run_ends_in_the_same_bytes(done: tuple[Path, Path, str], tmp_path: Path) -> None:
    recipe, out, _ = done
    shutil.copytree(out, tmp_path / "out")
    result = invoke("run", recipe, "-o", tmp_path / "out", "--force")
    assert result.exit_code == 0, result.output
    assert dict(_numbers(tmp_path / "out")) == dict(_numbers(out))


def test_a_changed_input_is_noticed(experiment: Path, tmp_path: Path) -> None:
    assert invoke("run", experiment, "-o", tmp_path / "out").exit_code == 0
    (experiment.parent / "xrd" / "scan_039.xye").unlink()
    result = invoke("run", experiment, "-o", tmp_path / "out")
    assert "nothing has changed" not in result.output
    assert json.loads((tmp_path / "out" / "run.json").read_text())["counts"]["xrd"]["frames"] == 39


def _kill_in(monkeypatch: pytest.MonkeyPatch, name: str, *, at: int = 1) -> None:
    """Let the run die as by Ctrl-C in the `at`-th call of a function of the output module."""
    module = import_module("operando.run.output")
    whole, calls = getattr(module, name), []

    def killed(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(module, name, killed)


def test_killed_run_leaves_the_old_result(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert invoke("run", experiment, "-o", out).exit_code == 0
    before, record = dict(_numbers(out)), (out / "run.json").read_bytes()
    (experiment.parent / "xrd" / "scan_039.xye").unlink()
    with monkeypatch.context() as patch:
        _kill_in(patch, "write_tree")
        assert invoke("run", experiment, "-o", out).exit_code != 0
    assert (out / "run.json").read_bytes() == record
    assert dict(_numbers(out)) == before
    assert not (out / ".lock").exists()
    assert invoke("run", experiment, "-o", out).exit_code == 0
    assert not (out / ".partial").exists()
    assert dict(_numbers(out)) != before


def test_run_killed_while_publishing_is_completed_by_the_next(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    module = import_module("operando.run.output")
    with monkeypatch.context() as patch:
        _kill_in(patch, "_publish")
        assert invoke("run", experiment, "-o", out).exit_code != 0
    for name in module.PARTS[:3]:  # as far as it came
        if (out / ".partial" / name).exists():
            (out / ".partial" / name).rename(out / name)
    assert not (out / "run.json").exists()
    result = invoke("run", experiment, "-o", out)
    assert result.exit_code == 0, result.output
    assert "nothing has changed" in result.output
    assert module.read_record(out) is not None


def test_what_is_not_ours_is_never_overwritten(experiment: Path, tmp_path: Path) -> None:
    folder = experiment.parent
    held = invoke("run", experiment, "-o", folder)
    assert held.exit_code == 2
    assert "holds the input" in held.output
    assert len(list((folder / "xrd").iterdir())) == 40
    (tmp_path / "mine" / "figures").mkdir(parents=True)
    (tmp_path / "mine" / "figures" / "precious.png").touch()
    foreign = invoke("run", experiment, "-o", tmp_path / "mine")
    assert foreign.exit_code == 2
    assert "'figures', which is no result of operando" in foreign.output
    assert (tmp_path / "mine" / "figures" / "precious.png").exists()
    whole = experiment.read_text().replace('"xrd/*.xye"', '"xrd"')
    experiment.write_text(whole)
    inside = invoke("run", experiment, "-o", folder / "xrd" / "results")
    assert "'xrd', which is read as a whole" in inside.output
    (tmp_path / "file").touch()
    assert "cannot be written to" in invoke("run", experiment, "-o", tmp_path / "file").output


def test_a_lost_part_is_made_again(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert invoke("run", experiment, "-o", out).exit_code == 0
    (out / "events.jsonl").unlink()
    shutil.rmtree(out / "tables")
    shutil.rmtree(out / "figures")
    shutil.rmtree(out / "experiment.zarr")
    (out / "report.html").unlink()
    result = invoke("run", experiment, "-o", out)
    assert result.exit_code == 0, result.output
    assert "nothing has changed" not in result.output
    assert (out / "events.jsonl").exists()


def test_clocks_of_both_sides_count(experiment: Path) -> None:
    """The voltage of a frame is as uncertain as both clocks together."""
    text = experiment.read_text()
    found = []
    for of_log in (0.0, 40.0):
        experiment.write_text(
            text.replace("clock_sigma_s = 1.0\n[[", f"clock_sigma_s = {of_log}\n[[", 1)
        )
        done = operando.run(operando.Recipe.load(experiment), root=experiment.parent)
        found.append(done.frames["xrd"]["voltage_sigma"].values[20])
    # 0.1 mA moves the cell by 4 V per mA h: 1/9000 V a second.
    assert found[0] == pytest.approx(1 / 9000, rel=1e-2)
    assert found[1] == pytest.approx(np.hypot(1, 40) / 9000, rel=1e-2)


def test_a_sidecar_is_an_input(experiment: Path, tmp_path: Path) -> None:
    """Without a start in its header a log takes it from the .mpl beside it."""
    log = experiment.parent / "cell.mpt"
    lines = log.read_text(encoding="latin-1").replace("Acquisition started on", "Started")
    log.write_text(lines, encoding="latin-1")
    sidecar = log.with_suffix(".mpl")
    text = "EC-Lab LOG FILE\n\nAcquisition started on : 05/04/2026 10:0{}:00.000\n"
    sidecar.write_text(text.format(0))
    assert invoke("run", experiment, "-o", tmp_path / "out").exit_code == 0
    sidecar.write_text(text.format(5))
    result = invoke("run", experiment, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "nothing has changed" not in result.output


def test_netcdf_holds_the_same(
    experiment: Path, tmp_path: Path, done: tuple[Path, Path, str]
) -> None:
    experiment.write_text('output = { format = "netcdf" }\n' + experiment.read_text())
    assert invoke("run", experiment, "-o", tmp_path / "out").exit_code == 0
    with (
        xr.open_datatree(tmp_path / "out" / "experiment.nc", engine="h5netcdf") as netcdf,
        xr.open_datatree(done[1] / "experiment.zarr", engine="zarr") as zarr,
    ):
        for node in ("xrd", "xrd/lines", "electrochemistry"):
            xr.testing.assert_equal(netcdf[node].to_dataset(), zarr[node].to_dataset())


def test_corrupt_frame_is_counted_and_the_run_goes_on(experiment: Path, tmp_path: Path) -> None:
    (experiment.parent / "xrd" / "scan_010.xye").write_text("8.0 12 3\nrubbish\n")
    cut = experiment.parent / "xrd" / "scan_011.xye"
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:300]))
    result = invoke("run", experiment, "-o", tmp_path / "out")
    assert result.exit_code == 20, result.output
    assert "scan_010.xye" in result.output
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["status"] == "partial"
    assert (
        record["counts"]["xrd"] | {"frames": 39, "faulty": 1, "quarantined": 1}
        == (record["counts"]["xrd"])
    )
    assert record["counts"]["xrd"]["frame_flags"]["truncated"] == 1
    assert (tmp_path / "out" / "report.html").read_text().count("scan_010.xye") >= 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tz = "Europe/Paris"\nclock_sigma_s = 1.0\n[[', "[[", r"cell\.mpt.*tz"),
        ('path = "xrd/*.xye"', 'path = "xrd/*.none"', r"xrd/\*\.none: no such file"),
        ('path = "cell.mpt"', 'path = "other.mpt"', r"other\.mpt: no such file"),
        ('tz = "Europe/Paris"\nexposure_s', 'tz = "Europe/Pariss"\nexposure_s', "Europe/Pariss"),
        (
            "exposure_s = 60.0",
            "exposure_s = 60.0\nclock_offset_s = 9e6",
            "2026-08-16.*2026-05-04.*clock_offset_s",
        ),
    ],
)
def test_bad_request_is_one_line(
    experiment: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = experiment.read_text()
    assert old in text
    experiment.write_text(text.replace(old, new, 1))
    result = invoke("run", experiment, "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    line = result.output.strip().splitlines()[-1]
    import re

    assert re.search(message, line), line
    assert "Traceback" not in result.output


def test_frames_outside_the_log_carry_no_voltage(experiment: Path) -> None:
    text = experiment.read_text().replace("exposure_s", "clock_offset_s = 3600.0\nexposure_s")
    experiment.write_text(text)
    result = operando.run(operando.Recipe.load(experiment), root=experiment.parent)
    frames = result.frames["xrd"]
    outside = (frames["alignment_flag"].values & ALIGNMENT_FLAGS["outside"]) != 0
    # Frame i begins at 120 s + 540 s i + 3600 s; the log ends after 22,780 s.
    assert np.flatnonzero(outside).tolist() == [36, 37, 38, 39]
    assert np.isnan(frames["voltage"].values[outside]).all()
    assert not result.partial


def test_batch_goes_on_and_is_summarised(
    tmp_path: Path, make_experiment: Callable[..., Path]
) -> None:
    good = make_experiment(tmp_path / "a", name="good")
    bad = make_experiment(tmp_path / "b", name="bad")
    (bad.parent / "cell.mpt").write_text("")
    same = make_experiment(tmp_path / "c", name="good")
    result = invoke("run", bad, good, same, "-o", tmp_path / "out")
    assert result.exit_code == 20, result.output
    with (tmp_path / "out" / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["failed", "complete", "failed"]
    assert "empty" in rows[0]["message"]
    assert f"name 'good' is that of {good}" in rows[2]["message"]
    assert (tmp_path / "out" / "good" / "run.json").exists()
    assert (tmp_path / "out" / "summary.html").exists()
    again = invoke("run", bad, good, "-o", tmp_path / "out")
    assert "good: nothing has changed" in again.output


def test_locked_folder_is_refused_and_a_dead_lock_taken_over(
    experiment: Path, tmp_path: Path
) -> None:
    import os
    import socket

    out = tmp_path / "out"
    out.mkdir()
    holder = {"pid": os.getppid(), "host": socket.gethostname()}
    (out / ".lock").write_text(json.dumps(holder))
    result = invoke("run", experiment, "-o", out)
    assert result.exit_code == 2
    assert "is writing here" in result.output
    (out / ".lock").write_text(json.dumps({**holder, "pid": 2**22 + 1}))
    assert invoke("run", experiment, "-o", out).exit_code == 0


def test_schedulers_give_equal_results(experiment: Path, done: tuple[Path, Path, str]) -> None:
    """Threads, processes and a distributed cluster: the same numbers to the bit."""
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not there")
    recipe = operando.Recipe.load(experiment)
    reference = operando.run(recipe, root=experiment.parent)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
    ) as cluster:
        for scheduler in ("processes", cluster.scheduler_address):
            other = recipe.model_copy(
                update={"compute": recipe.compute.model_copy(update={"scheduler": scheduler})}
            )
            result = operando.run(other, root=experiment.parent)
            for name, numbers in reference.observed["xrd"].items():
                xr.testing.assert_identical(numbers, result.observed["xrd"][name])
            assert [e.to_json() for e in result.events] == [e.to_json() for e in reference.events]


def test_init_writes_a_recipe_that_runs(experiment: Path, tmp_path: Path) -> None:
    folder = experiment.parent
    experiment.unlink()
    refused = invoke("init", folder)
    assert refused.exit_code == 2
    assert "say it with" in refused.output
    written = invoke("init", folder, "--tz", "Europe/Paris")
    assert written.exit_code == 0, written.output
    recipe = folder / "recipe.toml"
    assert recipe.read_text().count("#") > 3
    result = invoke("run", recipe, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "40 frames" in result.output


def test_init_with_positions_writes_a_recipe_that_runs(
    tmp_path: Path, example_datasets: Path
) -> None:
    """Every layer gets its own search for new bands; the tree holds them all."""
    folder = tmp_path / "beamtime"
    for part in ("echem", "raman"):
        shutil.copytree(example_datasets / "na_nzsp_cell" / part, folder / part)
    for path in (folder / "raman").glob("*_00[12]?.txt"):
        path.unlink()
    written = invoke("init", folder, "--tz", "America/Chicago", "--echem-tz", "Europe/Paris")
    assert written.exit_code == 0, written.output
    assert 'position = "[_-](PE|SSE|NE)[_.-]"' in (folder / "recipe.toml").read_text()
    result = invoke("run", folder / "recipe.toml", "-o", tmp_path / "out")
    assert result.exit_code in (0, 20), result.output
    assert all(f"raman at {layer}: new_peaks" in result.output for layer in ("PE", "SSE", "NE"))


def test_inspect_command(experiment: Path) -> None:
    result = invoke("inspect", experiment.parent)
    assert result.exit_code == 0
    for word in ("xy_text (xrd): 40", "biologic_mpt", "declare tz", "two_theta 8 .. 15.99 degree"):
        assert word in result.output
    assert invoke("inspect", experiment.parent / "nothing").exit_code == 2


def test_flags_of_the_contract_are_powers_of_two() -> None:
    for flags in (FRAME_FLAGS, ALIGNMENT_FLAGS):
        assert sorted(flags.values()) == [2**bit for bit in range(len(flags))]


def test_init_leaves_to_declare_what_the_files_do_not_say(experiment: Path) -> None:
    """Patterns without a date: the draft says what may be declared, and the run which file asks."""
    folder = experiment.parent
    experiment.unlink()
    for path in (folder / "xrd").glob("*.xye"):
        path.write_text(path.read_text().partition("\n")[2])
    drafted = CliRunner().invoke(main, ["init", str(folder), "--tz", "Europe/Paris"])
    assert drafted.exit_code == 0, drafted.output
    text = (folder / "recipe.toml").read_text(encoding="utf-8")
    assert '# first = "2026-05-04T10:00:00"' in text
    out = folder.parent / "out"
    result = CliRunner().invoke(main, ["run", str(folder / "recipe.toml"), "-o", str(out)])
    assert result.exit_code == 2
    assert "no time in the file; declare log" in result.output
    (folder / "recipe.toml").write_text(
        text.replace(
            '# first = "2026-05-04T10:00:00"', 'first = "2026-05-04T10:02:00" \nperiod_s = 540.0'
        ),
        encoding="utf-8",
    )
    result = CliRunner().invoke(main, ["run", str(folder / "recipe.toml"), "-o", str(out)])
    assert result.exit_code == 0, result.output
