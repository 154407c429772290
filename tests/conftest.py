"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real instrument files beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real instrument files (shared/data) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def example_datasets() -> Path:
    """The embedded simulated experiments."""
    return ROOT / "example_datasets"


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A small cell in real formats: EC-Lab file, forty patterns, recipe; two lines are born."""
    return write_experiment(tmp_path / "cell")


@pytest.fixture(scope="session")
def make_experiment() -> Callable[..., Path]:
    """Write the small cell into any folder."""
    return write_experiment


def write_experiment(folder: Path, *, name: str = "cell") -> Path:
    """Write the experiment and return its recipe: 20 min rest, 3 h charge, 3 h discharge."""
    (folder / "xrd").mkdir(parents=True)
    seconds = np.arange(0, 22_800, 20.0)
    current = np.select([seconds <= 1200, seconds <= 12_000], [0.0, 0.1], -0.1)
    charge = np.concatenate([[0], np.cumsum(current[1:] * np.diff(seconds))]) / 3600
    voltage = 3.0 + 4 * charge + 0.5 * current
    rows = "".join(
        f"{3 if i == 0 else 1}\t{t:.6f}\t{v:.6f}\t{i:.6f}\t{q:.9f}\r\n"
        for t, v, i, q in zip(seconds, voltage, current, charge, strict=True)
    )
    header = (
        "EC-Lab ASCII FILE\r\nNb header lines : 6\r\n\r\n"
        "Galvanostatic Cycling with Potential Limitation\r\n"
        "Acquisition started on : 05/04/2026 10:00:00.000\r\n"
        "mode\ttime/s\tEwe/V\t<I>/mA\t(Q-Qo)/mA.h\r\n"
    )
    (folder / "cell.mpt").write_bytes((header + rows).encode("latin-1"))
    rng = np.random.default_rng(7)
    axis = np.arange(8.0, 16.0, 0.01)
    for frame in range(40):
        start = np.datetime64("2026-05-04T10:02:00") + np.timedelta64(540 * frame, "s")
        growth = min(max(frame - 18, 0) / 6, 1.0) if frame < 32 else 0.0
        lines = ((9.7, 300.0), (13.1, 500.0), (10.8, 120 * growth), (15.0, 60 * growth))
        expected = 200 + sum(
            height * np.exp(-0.5 * ((axis - centre) / 0.04) ** 2) for centre, height in lines
        )
        counts = rng.poisson(expected)
        body = "".join(f"{x:.3f} {n} {np.sqrt(n):.3f}\n" for x, n in zip(axis, counts, strict=True))
        (folder / "xrd" / f"scan_{frame:03d}.xye").write_text(f"# {start}\n{body}")
    recipe = folder / f"{name}.toml"
    recipe.write_text(
        f'name = "{name}"\n[electrochemistry]\npath = "cell.mpt"\ntz = "Europe/Paris"\n'
        'clock_sigma_s = 1.0\n[[measurement]]\nname = "xrd"\npath = "xrd/*.xye"\n'
        'tz = "Europe/Paris"\nexposure_s = 60.0\nclock_sigma_s = 1.0\n'
        '[[measurement.observe]]\nkind = "peaks"\nname = "lines"\n'
        'windows = [{ name = "a", low = 12.7, high = 13.5, lines = [13.1] }]\n'
        '[[measurement.detect]]\nkind = "new_peaks"\n'
    )
    return recipe
