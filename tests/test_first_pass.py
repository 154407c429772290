"""What one look at the files of a series must notice: lengths, strangers, broken frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando.model import FRAME_FLAGS
from operando.reading import registry
from operando_readers._reader import File, FormatError, Reader, clock

START = "2026-05-04T10:00:00"
ENERGY = np.linspace(7000.0, 7100.0, 11)
Make = Callable[[File], xr.Dataset]


def spectra(
    energy: np.ndarray = ENERGY, *, count: int = 1, start: str | None = START, **attrs: Any
) -> xr.Dataset:
    mu = np.tile(np.arange(energy.size, dtype=float), (count, 1))
    return xr.Dataset(
        {"mu": (("time", "energy"), mu, {"units": "1"})},
        {
            "energy": ("energy", energy, {"units": "eV"}),
            "elapsed": ("time", 100.0 * np.arange(count), {"units": "s"}),
        },
        {
            "technique": "xas",
            "clock": clock(start=start, zone="UTC", marks="start", source="header"),
            "original_metadata": {},
            **attrs,
        },
    )


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Write files and let one reader, which makes what the test says, be all there is."""

    def made(make: Make, *names: str) -> Path:
        sniff = lambda head, name: head == b"good"  # noqa: E731
        fake = Reader(technique="xas", suffixes=(".fake",), sniff=sniff, read=make, description="")
        monkeypatch.setattr(registry, "formats", lambda: {"fake": fake})
        for name in names:
            (tmp_path / name).write_bytes(b"good")
        return tmp_path

    return made


def flagged(frames: xr.Dataset, name: str) -> list[bool]:
    return [bool(flag & FRAME_FLAGS[name]) for flag in frames["frame_flag"].values]


def problems(frames: xr.Dataset) -> list[str]:
    return [problem["reason"] for problem in json.loads(frames.attrs["problems"])]


def test_by_index_a_frame_is_as_long_as_its_file_says(of: Callable[..., Path]) -> None:
    """A scan of ten minutes that begins at ten was in its middle at five past."""

    def timed(file: File) -> xr.Dataset:
        length = {"a": 600.0, "b": 300.0}.get(file.stem)
        dataset = spectra(start=None)
        given = {"exposure": ("time", [length], {"units": "s"})}
        return dataset.assign_coords(given) if length else dataset

    folder = of(timed, "a.fake", "b.fake", "c.fake")
    frames = operando.read(folder, first=START, period_s=1000.0, tz="UTC")
    length = (frames["time_end"] - frames["time_start"]) / np.timedelta64(1, "s")
    assert length.values.tolist() == [600.0, 300.0, 0.0]
    assert frames["time"].values[0] == np.datetime64("2026-05-04T10:05:00")
    declared = operando.read(folder, first=START, period_s=1000.0, tz="UTC", exposure_s=60.0)
    length = (declared["time_end"] - declared["time_start"]) / np.timedelta64(1, "s")
    assert length.values.tolist() == [60.0] * 3


def test_a_file_of_another_edge_is_told(of: Callable[..., Path]) -> None:
    def made(file: File) -> xr.Dataset:
        energy = ENERGY + 2000.0 * (file.stem == "b") - 30.0 * (file.stem == "c")
        return spectra(energy, start=f"2026-05-04T1{ord(file.stem) - 97}:00:00")

    frames = operando.read(of(made, "a.fake", "b.fake", "c.fake", "d.fake"))
    [reason] = problems(frames)
    assert "b.fake" in reason
    assert "9000 .. 9100 lies mostly beside 7000 .. 7100" in reason
    assert np.isnan(frames["mu"].values[1]).all()
    assert np.isfinite(frames["mu"].values[3]).all()


def test_one_broken_or_moved_frame_of_a_file_flags_itself_alone(of: Callable[..., Path]) -> None:
    def made(file: File) -> xr.Dataset:
        which = {name: ("time", [0, 0, 1], {"units": "1"}) for name in ("truncated", "regridded")}
        return spectra(count=3, truncated="scan 3: aborted").assign_coords(which)

    frames = operando.read(of(made, "a.fake"))
    assert flagged(frames, "truncated") == [False, False, True]
    assert flagged(frames, "regridded") == [False, False, True]
    assert problems(frames)[0].endswith("scan 3: aborted")


def test_doubts_of_a_reader_reach_the_report(of: Callable[..., Path]) -> None:
    frames = operando.read(of(lambda file: spectra(doubts="no d-spacing"), "a.fake"))
    assert problems(frames) == [f"{frames.attrs['source_files'][2:-2]}: no d-spacing"]


def test_modes_of_absorption_are_not_mixed(of: Callable[..., Path]) -> None:
    def made(file: File) -> xr.Dataset:
        dataset = spectra(start=f"2026-05-04T1{ord(file.stem) - 97}:00:00")
        dataset["mu"].attrs["mode"] = "fluorescence" if file.stem == "b" else "transmission"
        return dataset

    with pytest.raises(operando.OperandoError, match="'fluorescence', 'transmission'"):
        operando.read(of(made, "a.fake", "b.fake"))


def test_inspection_tells_what_the_files_say_differently(of: Callable[..., Path]) -> None:
    def made(file: File) -> xr.Dataset:
        kind = {"a": "Fe", "b": "Zr"}[file.stem]
        doubts: dict[str, Any] = {"doubts": "no d-spacing"} if kind == "Zr" else {}
        return spectra(element=kind, edge="K", **doubts)

    [seen] = operando.inspect(of(made, "a.fake", "b.fake"))
    assert seen.facts["element"] == "Fe, Zr"
    assert seen.facts["edge"] == "K"
    assert "doubts" not in seen.facts
    [problem] = seen.problems
    assert problem.endswith("b.fake: no d-spacing")


def test_a_damaged_file_whose_suffix_counts_stays_in_its_series(of: Callable[..., Path]) -> None:
    def made(file: File) -> xr.Dataset:
        if file.read_bytes() != b"good":
            raise FormatError("line 1: damaged")
        return spectra(start=f"2026-05-04T10:00:0{file.suffix[-1]}")

    folder = of(made, "scan.0001", "scan.0002", "scan.0003")
    (folder / "scan.0002").write_bytes(b"bad")
    frames = operando.read(folder)
    assert frames.sizes["time"] == 2
    [reason] = problems(frames)
    assert "scan.0002: line 1: damaged" in reason
