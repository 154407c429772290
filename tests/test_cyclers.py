"""The simulated exports: the same bytes for ever, and the cell they come from is a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operando.simulate import cyclers


def test_the_examples_are_generated_to_the_byte(example_datasets: Path, tmp_path: Path) -> None:
    cyclers.write(tmp_path)
    made = {path.name: path.read_bytes() for path in sorted(tmp_path.iterdir())}
    kept = {
        path.name: path.read_bytes()
        for path in sorted((example_datasets / "cycler_exports").iterdir())
    }
    assert list(made) == list(kept)
    assert [name for name in made if made[name] != kept[name]] == []


def test_charge_follows_the_current() -> None:
    log = cyclers.record()
    passed = np.cumsum(log.current_ma * np.diff(log.elapsed, prepend=0.0)) / 3600
    assert log.net_mah == pytest.approx(passed, abs=2e-6)
    assert log.net_mah[-1] == pytest.approx(0.0, abs=1e-9)
    assert np.all(np.diff(log.elapsed) > 0)


def test_voltage_follows_charge() -> None:
    log = cyclers.record()
    charging, discharging = log.number == 1, log.number == 3
    assert np.all(np.diff(log.voltage[charging]) > 0)
    assert np.all(np.diff(log.voltage[discharging]) < 0)
    assert np.ptp(log.voltage[log.number == 0]) == 0
