"""A growing interphase from looped EC-Lab files to a growth law, against what was simulated."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import operando
from operando.cli import main
from operando.errors import RequestError
from operando.model import STATES, averaged_backward
from operando.recipe import Recipe
from operando.simulate import symmetric_cell
from operando.simulate.symmetric_cell import HALF_S, INTERVAL_S, LOOPS

TECHNIQUES = ("01_CP", "02_OCV", "03_PEIS")


@pytest.fixture(scope="module")
def cell(example_datasets: Path) -> Path:
    return example_datasets / "na_symmetric_cell"


@pytest.fixture(scope="module")
def truth(cell: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((cell / "truth.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def log(cell: Path) -> xr.Dataset:
    raw = operando.read(
        [cell / "echem" / f"na_sym_{name}_C05.mpt" for name in TECHNIQUES],
        technique="electrochemistry",
        tz="Europe/Paris",
        clock_sigma_s=0.5,
    )
    return operando.prepare(raw)


@pytest.fixture(scope="module")
def finished(cell: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("symmetric") / "out"
    result = CliRunner().invoke(main, ["run", str(cell / "recipe.toml"), "-o", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_the_simulator_writes_the_same_bytes(cell: Path, tmp_path: Path) -> None:
    symmetric_cell.write(tmp_path)
    names = [str(path.relative_to(cell)) for path in cell.rglob("*") if path.is_file()]
    same, different, missing = filecmp.cmpfiles(cell, tmp_path, names, shallow=False)
    assert (different, missing) == ([], [])
    assert len(same) == 6


def test_loops_of_linked_techniques_are_runs_in_order(log: xr.Dataset) -> None:
    """Three files of sixteen loops each; nothing reaches across the hours between two loops."""
    run, file = log["run"].values, log["file_index"].values
    first = np.flatnonzero(np.diff(run, prepend=-1))
    assert first.size == 3 * LOOPS
    assert file[first].tolist() == [0, 1, 2] * LOOPS
    assert np.all(np.diff(log["time"].values) > np.timedelta64(0, "ns"))


def test_techniques_may_average_the_current_differently(log: xr.Dataset) -> None:
    """CP records I at the instant, PEIS its mean: each row keeps its own meaning."""
    assert log["current"].attrs["averaging"] == "mixed"
    np.testing.assert_array_equal(averaged_backward(log), log["file_index"].values == 2)


def test_the_state_and_the_charge_of_the_cell(log: xr.Dataset) -> None:
    """Plating and stripping alternate; each passes 0.05 mA h, as 0.1 mA does in half an hour."""
    state, file = log["state"].values, log["file_index"].values
    plating = file == 0
    assert set(state[plating]) == {STATES["charge"], STATES["discharge"]}
    assert (state[file == 1] == STATES["rest"]).all()
    # OCV files hold no current: at open circuit there is none, and no charge goes unseen.
    assert (log["current"].values[file == 1] == 0).all()
    assert not log["charge_uncertain"].values.any()
    assert "backward rectangles and trapezoids" in log.attrs["charge_method"]
    passed = np.ptp(log["net_capacity"].values[plating])
    expected = 0.1e-3 * HALF_S / 3600
    assert passed == pytest.approx(expected, rel=2 * INTERVAL_S / HALF_S)


def test_every_sweep_lies_in_the_record_at_rest(cell: Path, log: xr.Dataset) -> None:
    sweeps = operando.read(
        cell / "echem" / "na_sym_03_PEIS_C05.mpt",
        technique="impedance",
        tz="Europe/Paris",
    )
    aligned = operando.align(sweeps, log)
    assert aligned.sizes["time"] == LOOPS
    assert aligned["coverage"].values.tolist() == [1.0] * LOOPS
    assert (aligned["state"].values == STATES["rest"]).all()
    assert float(np.abs(aligned["voltage"]).max()) < 1e-3
    # A sweep that is part of the log has the clock of the log, known or not.
    assert not aligned["alignment_flag"].values.any()


@pytest.mark.parametrize(
    ("placing", "message"),
    [
        ({"tz": "Asia/Shanghai"}, "tz is 'Europe/Paris' for the log and 'Asia/Shanghai'"),
        (
            {"tz": "Europe/Paris", "clock_offset_s": 1.0},
            "clock_offset_s is 0.0 for the log and 1.0",
        ),
    ],
)
def test_one_file_has_one_clock(
    cell: Path, log: xr.Dataset, placing: dict[str, Any], message: str
) -> None:
    path = cell / "echem" / "na_sym_03_PEIS_C05.mpt"
    sweeps = operando.read(path, technique="impedance", **placing)
    with pytest.raises(RequestError, match=message):
        operando.align(sweeps, log)


def test_the_growth_law_is_found(finished: tuple[Path, str], truth: dict[str, Any]) -> None:
    _, said = finished
    number = r"([\d.e+-]+) \+- ([\d.e+-]+)"
    pattern = rf"arc 2 = \({number}\) \+ \({number}\) \(t / 1 h\)\^n ohm, n = {number}"
    match = re.search(pattern, said)
    assert match is not None, said
    found = [float(text) for text in match.groups()]
    growth = truth["growth"]
    expected = (growth["initial_ohm"], growth["ohm_per_hour_n"], growth["exponent"])
    for value, sigma, true in zip(found[::2], found[1::2], expected, strict=True):
        assert abs(value - true) < 3 * sigma
    assert found[5] < 0.02
    assert "arc 1 no growth (16 sweeps)" in said


def test_arcs_with_honest_error_bars(finished: tuple[Path, str], truth: dict[str, Any]) -> None:
    out, _ = finished
    arcs = xr.open_datatree(out / "experiment.zarr", engine="zarr")["/eis/arcs"].to_dataset()
    true = np.array([sweep["interphase_ohm"] for sweep in truth["sweeps"]])
    pulls = (arcs["resistance"].sel(arc=2) - true) / arcs["resistance_sigma"].sel(arc=2)
    assert float(np.abs(pulls).max()) < 4.0
    grain = arcs["resistance"].sel(arc=1)
    np.testing.assert_allclose(grain, truth["grain_boundary_ohm"], rtol=0.01)
    np.testing.assert_allclose(arcs["series_resistance"], truth["series_ohm"], rtol=0.01)
    assert (arcs["resistance_assessment"] == 0).all()


def test_growth_is_an_event_and_is_drawn(finished: tuple[Path, str]) -> None:
    out, said = finished
    assert "departure in eis: arcs.band_resistance" in said
    figures = {path.name for path in (out / "figures").glob("*.png")}
    assert {"eis_nyquist.png", "eis_arcs_arc_2_resistance.png"} <= figures
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "sweeps in the complex plane" in page
    header = (out / "tables" / "eis_arcs.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "arc 2 resistance [ohm]" in header.split(",")


def test_sweeps_survive_both_containers(
    cell: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    """Zarr keeps complex numbers; NetCDF-4 has none, so both parts are stored."""
    text = (cell / "recipe.toml").read_text(encoding="utf-8")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        text.replace('"echem/', f'"{(cell / "echem").as_posix()}/')
        + '\n[output]\nformat = "netcdf"\n',
        encoding="utf-8",
    )
    result = CliRunner().invoke(main, ["run", str(recipe), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    zarr = xr.open_datatree(finished[0] / "experiment.zarr", engine="zarr")["/eis"].to_dataset()
    whole = xr.open_datatree(tmp_path / "out" / "experiment.nc", engine="h5netcdf")
    netcdf = whole["/eis"].to_dataset()
    both = netcdf["impedance_real"].values + 1j * netcdf["impedance_imag"].values
    np.testing.assert_array_equal(both, zarr["impedance"].values)
    whole.close()


def test_init_drafts_a_recipe_for_files_that_are_both(cell: Path, tmp_path: Path) -> None:
    """The sweeps belong to the record of the cell and are a measurement; the draft runs."""
    folder = tmp_path / "cell"
    shutil.copytree(cell / "echem", folder / "echem")
    drafted = CliRunner().invoke(main, ["init", str(folder), "--tz", "Europe/Paris"])
    assert drafted.exit_code == 0, drafted.output
    recipe = Recipe.load(folder / "recipe.toml")
    assert len(recipe.electrochemistry.path) == 3
    [measurement] = recipe.measurement
    assert measurement.path == "echem/na_sym_03_PEIS_C05.mpt"
    assert [step.kind for step in measurement.observe] == ["resistance"]
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["run", str(folder / "recipe.toml"), "-o", str(out)])
    assert result.exit_code == 0, result.output
