"""Raman of three layers over three sweeps, from instrument files to bands, against the truth."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from click.testing import CliRunner

import operando
from operando.cli import main
from operando.model import flag_names, positions
from operando.observables.band_quality import QUALITY
from operando.recipe import Recipe
from operando.run.experiment import read_frames, read_log
from operando.simulate import raman_cell

Array = npt.NDArray[np.float64]

BANDS = (
    operando.Window("oxide", 560.0, 760.0, (590.0, 704.0)),
    operando.Window("anion", 890.0, 950.0, (920.0,)),
    operando.Window("electrolyte", 975.0, 1045.0, (1012.0,)),
)
OF_PE = {"oxide_1": 1, "anion": 2, "oxide_2": 3}
"""Where these bands stand in the truth of a frame of the positive electrode."""


@pytest.fixture(scope="module")
def cell(example_datasets: Path) -> Path:
    return example_datasets / "na_raman_cell"


@pytest.fixture(scope="module")
def truth(cell: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cell / "truth.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def frames(cell: Path) -> xr.Dataset:
    recipe = Recipe.load(cell / "recipe.toml")
    raw = read_frames(recipe.measurement_named("raman"), cell)
    return operando.align(raw, read_log(recipe.electrochemistry, cell)).load()


@pytest.fixture(scope="module")
def clean(frames: xr.Dataset) -> xr.Dataset:
    return operando.remove_cosmic_rays(frames)


@pytest.fixture(scope="module")
def tracks(clean: xr.Dataset) -> xr.Dataset:
    # counts that were replaced are counts still
    return operando.track_peaks(clean["intensity"], windows=BANDS, profile="lorentzian")


def told(truth: dict[str, Any], layer: str, name: str) -> Array:
    return np.array([frame[name] for frame in truth["layers"][layer]])


def band(truth: dict[str, Any], layer: str, at: int, name: str) -> Array:
    return np.array([frame["bands"][at][name] for frame in truth["layers"][layer]])


def at_layer(dataset: xr.Dataset, layer: str) -> xr.Dataset:
    return dataset.isel(time=positions(dataset)[layer])


def test_the_simulator_writes_the_same_bytes(cell: Path, tmp_path: Path) -> None:
    raman_cell.write(tmp_path)
    names = sorted(str(path.relative_to(cell)) for path in cell.rglob("*") if path.is_file())
    assert names == sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    )
    same, different, failed = filecmp.cmpfiles(cell, tmp_path, names, shallow=False)
    assert (different, failed) == ([], [])
    assert len(same) == len(names)


def test_every_exposure_has_the_state_it_was_taken_at(
    frames: xr.Dataset, truth: dict[str, Any]
) -> None:
    """The clock of the Raman computer is 95 s ahead: undeclared, voltages would be 24 mV off."""
    for layer in truth["layers"]:
        here = at_layer(frames, layer)
        for name, key in (("time_start", "start"), ("time_end", "end")):
            stamps = np.array(
                [stamp.removesuffix("Z") for stamp in told(truth, layer, key)], "M8[ns]"
            )
            assert np.abs((here[name].values - stamps) / np.timedelta64(1, "ms")).max() <= 1
        apart = here["voltage"].values - told(truth, layer, "voltage_V")
        # the mean over an exposure that holds a vertex is not the potential at its middle
        assert np.median(np.abs(apart)) < 1e-4
        assert np.abs(apart).max() < 0.01


def test_rays_go_and_the_sharp_band_stays(
    frames: xr.Dataset, clean: xr.Dataset, truth: dict[str, Any]
) -> None:
    hit, removed, false = 0, 0, 0
    for layer, every in truth["layers"].items():
        changed = (
            at_layer(frames, layer)["intensity"] != at_layer(clean, layer)["intensity"]
        ).values
        for row, frame in zip(changed, every, strict=True):
            known = np.zeros(row.size, bool)
            for ray in frame["rays"]:
                known[int(ray["pixel"]) : int(ray["pixel"] + ray["pixels"])] = True
            hit += int(known.sum())
            removed += int((row & known).sum())
            false += int((row & ~known).sum())
    assert hit > 80
    assert removed >= 0.9 * hit
    assert false <= 0.1 * 3 * len(truth["layers"]["PE"])


def test_bands_of_the_electrode_are_recovered_with_honest_sigma(
    tracks: xr.Dataset, truth: dict[str, Any]
) -> None:
    here = at_layer(tracks, "PE")
    focus, drift = told(truth, "PE", "focus"), told(truth, "PE", "drift_per_cm")
    pulls: dict[str, list[Array]] = {"area": [], "centre": []}
    for name, at in OF_PE.items():
        line = here.sel(line=name)
        good = (line["assessment"].values & ~line["assessment"].attrs["cautions"]) == 0
        expected = {
            "area": band(truth, "PE", at, "area") * focus,
            "centre": band(truth, "PE", at, "centre") + drift,
        }
        for number, values in expected.items():
            pull = (line[number].values - values) / line[f"{number}_sigma"].values
            pulls[number].append(pull[good])
    for number, parts in pulls.items():
        every = np.concatenate(parts)
        assert every.size > 100, number
        # the fluorescence is curved below a straight background: a bias well under a sigma
        assert abs(np.median(every)) < 0.6, number
        assert 0.8 < 1.4826 * np.median(np.abs(every - np.median(every))) < 1.25, number


def test_the_band_at_920_comes_back_in_every_cycle(
    tracks: xr.Dataset, truth: dict[str, Any]
) -> None:
    line = at_layer(tracks, "PE").sel(line="anion")
    oxidised = told(truth, "PE", "oxidised")
    seen = np.isfinite(line["centre"].values)
    assert seen[oxidised < 0.3].all()
    assert not seen[oxidised > 0.98].any()


def test_the_electrolyte_tells_drift_and_focus(
    clean: xr.Dataset, tracks: xr.Dataset, truth: dict[str, Any]
) -> None:
    drift = operando.band_shift(clean, window=(975.0, 1045.0), position="SSE")
    found = drift["shift_correction"].values
    rows = positions(clean)
    actual = np.empty(found.size)
    for layer, at in rows.items():
        actual[at] = told(truth, layer, "drift_per_cm")
    first = rows["SSE"][:10]
    error = found - (actual - actual[first].mean())
    # what is common to all frames is the error of the first ones
    common = drift.attrs["offset_sigma"]
    pull = (error / np.hypot(drift["shift_correction_sigma"].values, common))[rows["SSE"]]
    assert np.sqrt(np.mean(pull**2)) < 1.3
    assert np.sqrt(np.mean(error**2)) < 0.6 * np.std(actual)
    quality = operando.band_quality(tracks, reference=["electrolyte"], position="SSE", baseline=6)
    lost = truth["unfocused_rounds"]
    for layer, at in rows.items():
        flags = quality["assessment"].values[at]
        assert all("focus" in flag_names(int(flags[turn]), QUALITY) for turn in lost), layer


def test_the_recipe_finds_the_product_and_leaves_the_other_layers_alone(
    cell: Path, truth: dict[str, Any], tmp_path: Path
) -> None:
    result = CliRunner().invoke(main, ["run", str(cell / "recipe.toml"), "-o", str(tmp_path / "o")])
    assert result.exit_code == 0, result.output
    events = [
        json.loads(line)
        for line in (tmp_path / "o" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {event["position"] for event in events} == {"PE"}
    [grown] = [event for event in events if event["observable"] == "found.area.pe_2"]
    onset = np.datetime64(truth["product_onset"].removesuffix("Z"))
    since = np.datetime64(grown["onset"]["time"].removesuffix("Z")) - onset
    assert np.timedelta64(0) < since < np.timedelta64(90, "m")
    assert grown["end"] is None
    for name in ("raman_heatmap", "raman_bands_PE_tracks", "raman_found_PE_pe_2"):
        assert (tmp_path / "o" / "figures" / f"{name}.png").is_file()
