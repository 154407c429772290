"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

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
