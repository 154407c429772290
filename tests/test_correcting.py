"""Correct steps and standards of a recipe: each does what its verb does, in the only order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from pydantic import TypeAdapter, ValidationError

import operando
from operando.cli import main
from operando.corrections import normalised
from operando.errors import RecipeError
from operando.recipe import Correct, Fractions, Measurement
from operando.run.correcting import correct
from operando.run.observing import observe
from operando.simulate.xanes import ion, metal
from operando.simulate.zr_series import ENERGY, damage, zr_series

NORMALISE: dict[str, Any] = {"e0": 18003.0, "pre": (-140.0, -50.0), "post": (100.0, 600.0)}
STEP: TypeAdapter[Correct] = TypeAdapter(Correct)


@pytest.fixture(scope="module")
def frames() -> xr.Dataset:
    series = zr_series(noise=1e-3, seed=7)
    return operando.align(series.frames, operando.prepare(series.log)).isel(time=slice(0, 40))


def done(frames: xr.Dataset, **step: Any) -> xr.Dataset:
    return correct(frames, [STEP.validate_python(step)])


def told(frames: xr.Dataset) -> list[str]:
    return [step["step"] for step in json.loads(frames.attrs["corrections"])]


def test_absorption_is_made_of_the_counters(frames: xr.Dataset) -> None:
    counters = frames.assign(
        i0=(("time", "energy"), np.full(frames["mu"].shape, 1000.0), {"units": "1"}),
        i1=(("time", "energy"), 1000 * np.exp(-frames["mu"].values) + 7, {"units": "1"}),
    )
    made = done(counters, kind="absorption", mode="transmission", dark={"i1": 7.0})
    np.testing.assert_allclose(made["mu"], frames["mu"], rtol=1e-9)
    assert told(made) == ["absorption"]


def test_a_glitch_is_taken_out(frames: xr.Dataset) -> None:
    spoilt = frames.copy(deep=True)
    spoilt["mu"][4, 700] += 0.1
    clean = done(spoilt, kind="glitches", edge=[17980, 18100])
    assert clean["glitches"].values[4] >= 1
    assert float(abs(clean["mu"][4, 700] - frames["mu"][4, 700])) < 0.01
    assert told(clean) == ["glitches"]


def test_scans_of_a_spot_are_merged(frames: xr.Dataset) -> None:
    merged = done(frames, kind="merge", every=4)
    assert merged.sizes["time"] == 10
    first = frames["mu"][frames["position"].values == "interface"][:4].mean("time")
    np.testing.assert_allclose(merged["mu"][0], first, rtol=1e-12)
    by_state = done(frames, kind="merge", by="state")
    assert by_state.sizes["time"] < 10


def test_the_drift_is_taken_off(frames: xr.Dataset) -> None:
    truth = zr_series(noise=1e-3, seed=7).drift[:40]
    aligned = done(frames, kind="energy", window=[17975, 18040], limit=2.0)
    off = aligned["energy_correction"].values - truth
    assert np.abs(off - off.mean()).max() < 0.03 < np.ptp(truth)
    assert aligned["energy"].values[0] == ENERGY[2]  # the limit is cut off
    with pytest.raises(RecipeError, match="no 'foil' in"):
        done(frames, kind="energy", window=[17975, 18040], signal="foil")


def test_the_foil_gets_its_tabulated_energy(frames: xr.Dataset) -> None:
    moved = done(frames, kind="calibration", tabulated=18000.0, span=4.0)
    drift = zr_series(noise=1e-3, seed=7).drift[:10].mean()
    shift = moved["energy"].values[0] - ENERGY[0]
    # The simulated metal rises steepest at 17998 eV.
    assert shift == pytest.approx(18000.0 - (17998.0 + drift), abs=0.25)


def test_damping_is_undone(frames: xr.Dataset) -> None:
    truth = normalised(frames["mu"], **NORMALISE)["norm"]
    alpha = operando.corrections.self_absorption.attenuation_ratio("ZrO2", "Zr")
    damped = frames.assign(mu=(truth * (alpha + 1) / (alpha + truth)).assign_attrs(units="1"))
    undone = done(
        damped, kind="self_absorption", formula="ZrO2", element="Zr", degree=2, **NORMALISE
    )
    seen = (ENERGY > 17990) & (ENERGY < 18050)
    before = float(np.abs(damped["mu"] - truth)[:, seen].max())
    assert float(np.abs(undone["mu"] - truth)[:, seen].max()) < 0.2 * before


def test_steps_have_one_order(frames: xr.Dataset) -> None:
    energy = {"kind": "energy", "window": [17975, 18040]}
    glitches = {"kind": "glitches", "edge": [17980, 18100]}
    fine = Measurement.model_validate({"name": "x", "path": "*", "correct": [glitches, energy]})
    assert told(correct(frames, fine.correct)) == ["glitches", "energy_drift"]
    with pytest.raises(ValidationError, match="each once, in the order"):
        Measurement.model_validate({"name": "x", "path": "*", "correct": [energy, glitches]})
    with pytest.raises(ValidationError, match="either every or by"):
        done(frames, kind="merge")


def test_steps_are_for_their_technique(frames: xr.Dataset) -> None:
    with pytest.raises(RecipeError, match="'merge': for frames of 'xas'; the files are 'raman'"):
        done(frames.assign_attrs(technique="raman"), kind="merge", every=2)
    with pytest.raises(RecipeError, match="'cosmic_rays': for frames of 'raman'"):
        done(frames, kind="cosmic_rays")
    mixed = [{"kind": "cosmic_rays"}, {"kind": "merge", "every": 2}]
    with pytest.raises(ValidationError, match="each once, in the order"):
        Measurement.model_validate({"name": "x", "path": "*", "correct": mixed})


def fractions_of(frames: xr.Dataset, root: Path, **step: Any) -> xr.Dataset:
    facts = {"kind": "fractions", "name": "species", "window": (-25.0, 55.0), **NORMALISE}
    return observe(frames, Fractions.model_validate(facts | step), root=root).compute()


def test_standards_come_from_files_and_from_frames(frames: xr.Dataset, tmp_path: Path) -> None:
    """A tenth of metal is put into every spectrum; the metal is a file of ours on its own grid."""
    axis = np.arange(17800.0, 18700.0, 0.8)
    rows = "\n".join(f"{e:.1f} {1 + 0.6 * m:.9f}" for e, m in zip(axis, metal(axis), strict=True))
    header = "# XDI/1.0\n# Column.1: energy eV\n# Column.2: mutrans\n# Element.symbol: Zr\n"
    header += "# Element.edge: K\n# Mono.d_spacing: 3.1356\n#---\n# energy mutrans\n"
    (tmp_path / "metal.xdi").write_text(header + rows + "\n")
    mixed = 0.9 * ion(ENERGY) + 0.1 * metal(ENERGY)
    spectra = frames.copy(deep=True)
    spectra["mu"] = spectra["mu"] * 0 + 1 + 0.8 * ion(ENERGY)
    spectra["mu"][20:] = 1 + 0.8 * mixed
    found = fractions_of(
        spectra,
        tmp_path,
        standards=[
            {"name": "Zr4+", "frames": (0, 3), "position": "bulk"},
            {"name": "metal", "path": "metal.xdi"},
        ],
    )
    share = found["fraction"].sel(component="metal").values
    np.testing.assert_allclose(share[:20], 0.0, atol=1e-3)
    np.testing.assert_allclose(share[20:], 0.1, atol=1e-3)


def test_a_difference_is_what_a_spectrum_adds_to_the_first_standard(frames: xr.Dataset) -> None:
    spectra = frames.copy(deep=True)
    spectra["mu"] = spectra["mu"] * 0 + 1 + 0.8 * ion(ENERGY)
    spectra["mu"][20:] = 1 + 0.8 * (ion(ENERGY) + 0.05 * damage(ENERGY))
    found = fractions_of(
        spectra,
        Path(),
        standards=[{"name": "Zr4+", "frames": (0, 3)}, {"name": "Zr", "signal": "mu_reference"}],
        differences=[{"name": "damage", "frames": (10, 20), "position": "bulk"}],
    )
    amount = found["amplitude"].sel(difference="damage").values
    np.testing.assert_allclose(amount, np.where(np.arange(40) < 20, 0.0, 1.0), atol=1e-6)


@pytest.mark.parametrize(
    ("standard", "message"),
    [
        ({"signal": "foil"}, "standard 'a': no 'foil' in"),
        ({"position": "edge"}, "standard 'a': no position 'edge'; there are"),
        ({"frames": (50, 60)}, r"standard 'a': frames \(50, 60\) hold none"),
    ],
)
def test_a_standard_that_is_not_there(
    frames: xr.Dataset, standard: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        fractions_of(frames, Path(), standards=[{"name": "a", **standard}])


def test_spectra_are_exported_with_the_state_of_the_cell(
    example_datasets: Path, tmp_path: Path
) -> None:
    recipe = example_datasets / "na_nzsp_cell" / "recipe.toml"
    out = tmp_path / "xas.nxs"
    result = CliRunner().invoke(
        main, ["export", str(recipe), "-o", str(out), "--measurement", "xas"]
    )
    assert result.exit_code == 0, result.output
    assert "80 frames" in result.output
    back = operando.read(out)
    assert back.sizes["time"] == 80
    assert back["energy"].values[0] > 17850 + 2.9  # corrected: the limit is cut off
    assert np.isfinite(back["voltage"].values).sum() >= 78
    for name, message in (
        ("nothing", "no 'nothing'; the recipe has"),
        ("raman", "raman cannot be"),
    ):
        result = CliRunner().invoke(
            main, ["export", str(recipe), "-o", str(out), "--measurement", name]
        )
        assert result.exit_code == 2
        assert message in result.output
