"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.model import TECHNIQUES, axes_of, signal_of
from operando_readers._reader import File, FormatError, Reader

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


@pytest.fixture(scope="module")
def refused_or_valid(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """(reader, raw, name, frames=): read damaged bytes as a file of that name.

    They are refused, or give no more frames and memory than a whole one, on sound axes and times.
    """
    folder = tmp_path_factory.mktemp("damaged")

    def check(reader: Reader, raw: bytes, name: str, *, frames: int) -> None:
        file = File(folder / name)
        file.path.write_bytes(raw)
        reader.sniff(raw[: 1 << 16], name)
        try:
            found = reader.read(file).load()
        except FormatError:
            return
        assert 1 <= found.sizes["time"] <= frames
        assert set(TECHNIQUES[reader.technique].signals[0]) <= {*found}
        assert all(np.all(np.diff(found[axis].values) > 0) for axis in axes_of(found))
        assert signal_of(found).size > 0
        assert found.nbytes < 1 << 20
        if "elapsed" in found.coords:
            assert np.isfinite(found["elapsed"].values).all()
        if found.attrs["clock"]["start"] is not None:
            np.datetime64(found.attrs["clock"]["start"])

    return check


@pytest.fixture(scope="module")
def survives_damage(refused_or_valid: Callable[..., None]) -> Callable[..., None]:
    """(reader, whole, name, frames=): change and cut a file somewhere, and at all of `cuts`.

    `places` are the bytes that may change, all by default.
    """

    def check(
        reader: Reader,
        whole: bytes,
        name: str,
        *,
        frames: int,
        cuts: Iterable[int] = (),
        places: Sequence[int] | None = None,
    ) -> None:
        place = st.sampled_from(range(len(whole)) if places is None else places)

        @settings(max_examples=300, deadline=None)
        @given(
            cut=st.integers(0, len(whole)),
            changes=st.lists(st.tuples(place, st.integers(0, 255)), max_size=8),
        )
        def change(cut: int, changes: list[tuple[int, int]]) -> None:
            raw = bytearray(whole)
            for at, value in changes:
                raw[at] = value
            for part in (raw, raw[:cut]):
                refused_or_valid(reader, bytes(part), name, frames=frames)

        for end in cuts:
            refused_or_valid(reader, whole[:end], name, frames=frames)
        change()

    return check


@pytest.fixture(scope="session")
def spoiled() -> Callable[..., list[bytes]]:
    """(raw, cuts=, flips=, seed=): a file cut at some places, and with one bit turned at others.

    `within` is how many bytes from the first may have it.
    """

    def spoil(
        raw: bytes, *, cuts: int, flips: int, seed: int, within: int | None = None
    ) -> list[bytes]:
        damaged = [raw[: len(raw) * cut // cuts] for cut in range(1, cuts)]
        rng, last = np.random.default_rng(seed), min(len(raw), within or len(raw))
        for _ in range(flips):
            at, bit = int(rng.integers(0, last)), int(rng.integers(0, 8))
            flipped = bytearray(raw)
            flipped[at] ^= 1 << bit
            damaged.append(bytes(flipped))
        return damaged

    return spoil


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
