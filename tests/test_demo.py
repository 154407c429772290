"""The embedded experiment: found beside truth, with and without the repository's own copy."""

from __future__ import annotations

import filecmp
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from operando.cli import main
from operando.simulate import demonstration


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Output folder and what the command said."""
    out = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(main, ["demo", "-o", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_found_stands_beside_truth(demo: tuple[Path, str]) -> None:
    _, said = demo
    assert "found | truth of the simulation" in said
    assert "interphase candidate, supported" in said
    assert said.count("porosity 2026") == 6


def test_what_is_found_is_true(demo: tuple[Path, str]) -> None:
    out, _ = demo
    truth = json.loads((out / "input" / "truth.json").read_text())
    events = [
        json.loads(line) for line in (out / "result" / "events.jsonl").read_text().splitlines()
    ]
    edge, lines = (
        next(e for e in events if e["kind"] == kind) for kind in ("departure", "new_peak")
    )
    assert edge["position"] == "interface"
    for event, onset in ((edge, "zr_reduction"), (lines, "new_phase")):
        born = np.datetime64(truth["onsets"][onset]["time"].rstrip("Z"))
        earliest, latest = (
            np.datetime64(event[f"onset_{side}"].rstrip("Z")) for side in ("earliest", "latest")
        )
        assert earliest <= born <= latest
    last = truth["xrd"]["frames"][-1]["lines"]
    expected = sorted(last[name]["two_theta"] for name in ("product_1", "product_2"))
    found = sorted(line["position"] for line in lines["detail"]["lines"])
    np.testing.assert_allclose(found, expected, atol=0.005)


def test_each_number_has_its_own_unit(demo: tuple[Path, str]) -> None:
    """A part of the Zr is no energy, and the truth beside it is the part that was put in."""
    out, printed = demo
    truth = json.loads((out / "input" / "truth.json").read_text())
    [metal] = re.findall(
        r"Zr turns to metal at the interface: .*?, \+([\d.]+) \+- [\d.]+ \|", printed
    )
    share = truth["xas"]["interface"][-1]["metal_fraction"]
    assert float(metal) == pytest.approx(share, abs=0.01)
    [shift] = re.findall(
        r"Zr K edge moves at the interface: .*?, (-[\d.]+) \+- [\d.]+ eV \|", printed
    )
    assert float(shift) == pytest.approx(-0.24, abs=0.02)


def test_bulk_stays_silent_and_is_the_control(demo: tuple[Path, str]) -> None:
    out, _ = demo
    record = json.loads((out / "result" / "run.json").read_text())
    [candidate] = record["interphase"]
    assert candidate["verdict"] == "supported"
    assert candidate["techniques"] == ["xas", "xrd"]
    assert candidate["controls"]["negative control"] == "passed: bulk stayed silent"
    events = (out / "result" / "events.jsonl").read_text()
    assert '"position": "bulk"' not in events


def test_frames_in_the_gap_are_counted(demo: tuple[Path, str]) -> None:
    out, _ = demo
    truth = json.loads((out / "input" / "truth.json").read_text())
    record = json.loads((out / "result" / "run.json").read_text())
    gap = [
        np.datetime64(truth["electrochemistry"]["gap"][key].rstrip("Z")) for key in ("start", "end")
    ]
    inside = sum(
        np.datetime64(frame["start"].rstrip("Z")) >= gap[0]
        and np.datetime64(frame["end"].rstrip("Z")) <= gap[1]
        for frame in truth["xas"]["interface"] + truth["xas"]["bulk"]
    )
    assert record["counts"]["xas"]["outside_coverage"] == inside
    assert record["counts"]["xas"]["alignment_flags"]["in_gap"] >= inside


def test_an_installed_package_writes_the_same_files(
    tmp_path: Path, example_datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstration, "EMBEDDED", tmp_path / "nothing here")
    demonstration.prepare_files(tmp_path / "files")
    embedded = example_datasets / "na_nzsp_cell"
    names = sorted(
        str(path.relative_to(embedded)) for path in embedded.rglob("*") if path.is_file()
    )
    written = tmp_path / "files"
    found = sorted(str(p.relative_to(written)) for p in written.rglob("*") if p.is_file())
    assert found == names
    same, different, missing = filecmp.cmpfiles(embedded, written, names, shallow=False)
    assert (different, missing) == ([], [])
    assert len(same) == len(names)


def test_embedded_example_is_small(example_datasets: Path) -> None:
    total = sum(path.stat().st_size for path in example_datasets.rglob("*") if path.is_file())
    assert total < 20e6


def test_the_python_of_the_readme_runs(
    example_datasets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As written there, in the folder of the example."""
    text = (example_datasets.parent / "README.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(example_datasets / "na_nzsp_cell")
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    edge = names["at_interface"]["edge_shift"]
    assert edge.sizes["time"] == 40
    assert float(edge[-3:].mean() - edge[:3].mean()) == pytest.approx(-0.24, abs=0.02)
    assert "edge_shift" in capsys.readouterr().out
