"""The simulated experiment: the same bytes for ever, sound physics, and read back on one clock."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import xarray as xr
from scipy import stats
from scipy.integrate import solve_ivp, trapezoid

from operando.observables.pores import segment_pores
from operando.reading import read
from operando.reading.sidecar import Log
from operando.simulate import diffraction, na_nzsp_cell, noise, raman, tomography, xanes
from operando.simulate.cell import Cell, Step, open_circuit
from operando.simulate.scenario import CELL, STEPS

Array = npt.NDArray[np.float64]
LARGEST_BYTES = 12 << 20


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("na_nzsp_cell")
    return folder, na_nzsp_cell.write(folder)


def files_of(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(path: Path) -> dict[str, Array]:
    """Read the rows of an EC-Lab text file, without our reader."""
    lines = path.read_bytes().decode("latin-1").split("\r\n")
    count = int(lines[1].split(":")[1])
    names = lines[count - 1].rstrip("\t").split("\t")
    rows = [line.replace(",", ".").split("\t") for line in lines[count:] if line]
    return dict(zip(names, np.array(rows, float).T, strict=True))


def started(path: Path) -> datetime:
    """Return when a log begins, from the clock on the wall in Paris."""
    match = re.search(rb"Acquisition started on : (\S+ \S+)", path.read_bytes())
    assert match is not None
    stamp = datetime.strptime(match[1].decode(), "%m/%d/%Y %H:%M:%S.%f")  # noqa: DTZ007
    return stamp.replace(tzinfo=ZoneInfo("Europe/Paris"))


def all_frames(truth: dict[str, Any], technique: str) -> list[dict[str, Any]]:
    groups = [value for value in truth[technique].values() if isinstance(value, list)]
    entries = [entry for group in groups for entry in group if isinstance(entry, dict)]
    return sorted((entry for entry in entries if "start" in entry), key=lambda e: str(e["start"]))


def test_the_example_is_generated_to_the_byte(
    written: tuple[Path, dict[str, Any]], example_datasets: Path
) -> None:
    made, kept = files_of(written[0]), files_of(example_datasets / "na_nzsp_cell")
    assert list(made) == list(kept)
    different = [name for name in made if made[name].read_bytes() != kept[name].read_bytes()]
    assert different == []


def test_the_example_is_small(written: tuple[Path, dict[str, Any]]) -> None:
    assert sum(path.stat().st_size for path in files_of(written[0]).values()) <= LARGEST_BYTES


def test_another_seed_has_other_noise_and_the_same_onsets(
    written: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    other = na_nzsp_cell.write(tmp_path, seed=1)
    name = "xrd/na_nzsp_00001.xye"
    assert (tmp_path / name).read_bytes() != (written[0] / name).read_bytes()
    assert other["onsets"] == written[1]["onsets"]


def test_noise_has_the_distributions_it_claims() -> None:
    bits = noise.stream(3, 0)
    assert stats.kstest(noise.uniform(bits, 20000), "uniform").pvalue > 1e-3
    assert stats.kstest(noise.normal(bits, 20000), "norm").pvalue > 1e-3
    drawn = noise.counts(bits, np.full(200000, 400.0))
    assert drawn.mean() == pytest.approx(400.0, abs=5 * np.sqrt(400 / 200000))
    assert drawn.var() == pytest.approx(400.0, rel=5 * np.sqrt(2 / 200000))


def test_streams_of_a_seed_are_independent() -> None:
    first, second = (noise.normal(noise.stream(3, number), 10000) for number in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_too_few_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected counts: 3; at least 50"):
        noise.counts(noise.stream(0, 0), np.array([3.0]))


def test_voltage_solves_the_equation_of_the_cell() -> None:
    cell = Cell(
        steps=(
            Step(name="rest", seconds=500.0),
            Step(name="charge", seconds=3000.0, current_ma=0.3),
            Step(name="rest", seconds=2000.0),
        ),
        capacity_mah=1.0,
        initial=0.3,
        resistance_ohm=150.0,
        slow_ohm=100.0,
        slow_s=400.0,
        layer_from_mah=0.1,
        layer_ohm_per_mah=30.0,
    )

    def current(t: float) -> float:
        return 0.3 if 500 <= t < 3500 else 0.0

    def change(t: float, y: Array) -> list[float]:
        return [(1e-3 * current(t) * 100.0 - y[0]) / 400.0, current(t) / 3600.0]

    moments = np.array([100.0, 600.0, 1700.0, 3400.0, 3600.0, 5400.0])
    solved = solve_ivp(
        change, (0.0, 5500.0), [0.0, 0.0], t_eval=moments, max_step=5.0, rtol=1e-9, atol=1e-12
    )
    slow, charge = solved.y
    amperes = 1e-3 * np.array([current(t) for t in moments])
    ohmic = amperes * (150.0 + 30.0 * np.maximum(charge - 0.1, 0.0))
    expected = open_circuit(0.3 + charge) + ohmic + slow
    np.testing.assert_allclose(cell.voltage(moments), expected, atol=2e-5)
    np.testing.assert_allclose(cell.net_mah(moments), charge, atol=1e-6)


def test_the_cell_stays_within_its_limits() -> None:
    moments = np.linspace(0.0, CELL.bounds[-1], 5000)
    state, voltage = CELL.state_of_charge(moments), CELL.voltage(moments)
    assert state.min() > 0.02
    assert state.max() < 0.98
    assert voltage.min() > 2.0
    assert voltage.max() < 4.0
    assert CELL.passed_mah(moments)[-1] == pytest.approx(
        sum(abs(step.current_ma) * step.seconds for step in STEPS) / 3600
    )
    with pytest.raises(ValueError, match="the schedule never comes to"):
        CELL.moment_of(99.0)


@pytest.mark.parametrize("number", [1, 2])
def test_charge_counter_is_the_integrated_current(
    written: tuple[Path, dict[str, Any]], number: int
) -> None:
    path = written[0] / "echem" / f"na_nzsp_{number:02d}.mpt"
    rows = table(path)
    steps = rows["<I>/mA"] * np.diff(rows["time/s"], prepend=0.0) / 3600
    np.testing.assert_allclose(rows["(Q-Qo)/mA.h"], np.cumsum(steps), atol=1e-12)
    np.testing.assert_allclose(rows["dq/mA.h"], steps, atol=1e-15)
    assert np.all(np.diff(rows["time/s"]) > 0)
    assert path.stat().st_size < 1.5e6


def test_the_second_file_begins_anew_after_the_gap(
    written: tuple[Path, dict[str, Any]],
) -> None:
    folder, truth = written
    first, second = (folder / "echem" / f"na_nzsp_0{number}.mpt" for number in (1, 2))
    silence = (started(second) - started(first)).total_seconds() - table(first)["time/s"][-1]
    assert silence == pytest.approx(truth["electrochemistry"]["gap"]["seconds"], abs=2e-3)
    assert 30 * 60 < silence < 40 * 60
    assert table(second)["(Q-Qo)/mA.h"][0] == 0
    assert b"3,1982" in second.read_bytes()
    assert b"E+000" in first.read_bytes()
    assert b"," not in first.read_bytes().partition(b"Ewe/V")[2]


def test_the_log_says_what_the_truth_says(written: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = written
    path = folder / "echem" / "na_nzsp_01.mpt"
    rows = table(path)
    for name in ("zr_reduction", "new_phase", "irreversible_pores"):
        onset = truth["onsets"][name]
        since = (datetime.fromisoformat(onset["time"]) - started(path)).total_seconds()
        voltage = np.interp(since, rows["time/s"], rows["Ewe/V"])
        charge = np.interp(since, rows["time/s"], rows["(Q-Qo)/mA.h"])
        assert voltage == pytest.approx(onset["voltage_V"], abs=5e-4)
        assert charge == pytest.approx(onset["net_charge_mAh"], abs=1e-4)
        assert np.interp(since, rows["time/s"], rows["half cycle"]) == onset["half_cycle"]


def test_irreversible_change_follows_charge_and_never_goes_back(
    written: tuple[Path, dict[str, Any]],
) -> None:
    truth = written[1]
    metal = np.array([entry["metal_fraction"] for entry in truth["xas"]["interface"]])
    charge = np.array([entry["charge_passed_mAh"] for entry in truth["xas"]["interface"]])
    rest = np.diff(charge) == 0
    assert np.all(np.diff(metal) >= 0)
    assert np.all(np.diff(metal)[rest] == 0)
    assert np.all(metal[charge <= truth["onsets"]["zr_reduction"]["charge_passed_mAh"]] == 0)
    assert 0.09 < metal[-1] < 0.1
    assert {entry["metal_fraction"] for entry in truth["xas"]["bulk"]} == {0.0}
    for line in ("product_1", "product_2"):
        area = np.array([entry["lines"][line]["area"] for entry in truth["xrd"]["frames"]])
        born = truth["xrd"]["first_frame_of_new_phase"]
        assert np.all(np.diff(area) >= 0)
        assert np.all(area[:born] == 0)
        assert area[born] > 0
        assert truth["xrd"]["frames"][born]["end"] > truth["onsets"]["new_phase"]["time"]
        assert truth["xrd"]["frames"][born - 1]["start"] < truth["onsets"]["new_phase"]["time"]


def test_pores_close_in_the_first_cycle_and_not_in_the_second(
    written: tuple[Path, dict[str, Any]],
) -> None:
    fresh, _, charged, discharged, _, last = (
        entry["porosity"] for entry in written[1]["tomography"]["volumes"]
    )
    assert charged > 1.2 * fresh
    assert discharged == pytest.approx(fresh, rel=0.01)
    assert last > 1.5 * fresh


def test_patterns_are_poisson_counts_of_the_true_lines(
    written: tuple[Path, dict[str, Any]],
) -> None:
    folder, truth = written
    pulls = []
    for entry in truth["xrd"]["frames"]:
        position, counts, sigma = np.loadtxt(folder / "xrd" / entry["file"]).T
        lines = [*truth["xrd"]["electrolyte"], *entry["lines"].values()]
        expected = diffraction.expected(
            [
                diffraction.Line(
                    spacing=truth["xrd"]["wavelength_angstrom"]
                    / (2 * np.sin(np.radians(line["two_theta"] / 2))),
                    area=line["area"],
                )
                for line in lines
            ]
        )
        np.testing.assert_allclose(sigma, np.sqrt(counts), rtol=1e-6)
        np.testing.assert_allclose(position, diffraction.TWO_THETA, atol=1e-6)
        pulls.append((counts - expected) / np.sqrt(expected))
    values = np.concatenate(pulls)
    assert values.mean() == pytest.approx(0.0, abs=5 / np.sqrt(values.size))
    assert values.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / values.size))


def test_a_line_has_the_area_it_is_given() -> None:
    line = diffraction.Line(spacing=3.0, area=700.0)
    alone = diffraction.expected([line]) - diffraction.expected([])
    inside = np.abs(diffraction.TWO_THETA - diffraction.angle(3.0)) < 3.0
    tail = 2 * diffraction.LORENTZIAN * diffraction.FWHM / (2 * np.pi * 3.0)
    total = trapezoid(alone[inside], diffraction.TWO_THETA[inside])
    assert total == pytest.approx(700.0 * (1 - tail), rel=2e-3)


def test_the_product_is_layered(written: tuple[Path, dict[str, Any]]) -> None:
    lines = written[1]["xrd"]["frames"][-1]["lines"]
    first, second = (
        np.sin(np.radians(lines[name]["two_theta"] / 2)) for name in ("product_1", "product_2")
    )
    assert second / first == pytest.approx(2.0, abs=1e-5)
    assert first == pytest.approx(0.4962 / (2 * 7.20), abs=1e-7)


def test_metal_fraction_comes_out_of_the_scans(written: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = written
    pulls = []
    for entry in [*truth["xas"]["interface"], *truth["xas"]["bulk"]]:
        rows = np.loadtxt(folder / "xas" / entry["file"], comments="#")
        energy, mu = rows[:, 2], np.log(rows[:, 4] / rows[:, 5])
        ion, metal = xanes.ion(energy), xanes.metal(energy)
        basis = np.stack([ion, metal - ion, np.ones(energy.size), energy - 18000.0], axis=1)
        found, rest, *_ = np.linalg.lstsq(basis, mu, rcond=None)
        noise_of_mu = np.sqrt(rest[0] / (energy.size - 4))
        assert noise_of_mu / found[0] == pytest.approx(1e-3, rel=0.3)
        sigma = noise_of_mu * np.sqrt(np.linalg.inv(basis.T @ basis)[1, 1]) / found[0]
        pulls.append((found[1] / found[0] - entry["metal_fraction"]) / sigma)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.35)
    assert np.max(np.abs(pulls)) < 4.5


def test_edges_lie_where_they_are_said_to(written: tuple[Path, dict[str, Any]]) -> None:
    fine = np.arange(17900.0, 18100.0, 0.01)
    for spectrum, edge in ((xanes.ion, "edge_ion_eV"), (xanes.metal, "edge_metal_eV")):
        rising = fine[np.argmax(np.gradient(spectrum(fine), fine))]
        assert rising == pytest.approx(written[1]["xas"][edge], abs=1.5)
        assert spectrum(np.array([17600.0]))[0] == pytest.approx(0.0, abs=0.01)
        assert spectrum(np.array([19500.0]))[0] == pytest.approx(1.0, abs=0.01)


def test_layers_breathe_or_stay(written: tuple[Path, dict[str, Any]]) -> None:
    truth = written[1]["raman"]
    for layer in ("SSE", "NE"):
        assert len({str(entry["bands"]) for entry in truth[layer]}) == 1
    state = np.array([entry["state_of_charge"] for entry in truth["PE"]])
    height = np.array([entry["bands"][1]["height"] for entry in truth["PE"]])
    np.testing.assert_allclose(height, 1400 * (1 - 0.6 * state), atol=1e-2)
    with pytest.raises(ValueError, match="layer: 'XX'"):
        raman.layer("XX", 0.5)


def test_cosmic_rays_are_where_the_truth_has_them(written: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = written
    hit = 0
    for layer in ("PE", "SSE", "NE"):
        for entry in truth["raman"][layer]:
            shift, counts = np.loadtxt(
                folder / "raman" / entry["file"], comments="#", encoding="latin-1"
            ).T
            bands = raman.layer(layer, entry["state_of_charge"])
            pulls = (counts - raman.expected(bands)) / np.sqrt(raman.expected(bands))
            spikes = shift[pulls > 20]
            expected = [] if entry["cosmic_ray_at"] is None else [entry["cosmic_ray_at"]]
            assert spikes.tolist() == expected
            hit += len(expected)
            quiet = pulls[np.abs(pulls) < 20]
            assert quiet.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / quiet.size))
    assert 1 <= hit <= 4


def test_porosity_of_the_volumes_is_the_analytic_one(
    written: tuple[Path, dict[str, Any]],
) -> None:
    folder, truth = written
    entries = truth["tomography"]["volumes"]
    volumes = np.stack([tifffile.imread(folder / "tomography" / e["file"]) for e in entries])
    axes = {axis: np.arange(n) * 0.65 for axis, n in zip("zyx", volumes.shape[1:], strict=True)}
    series = xr.DataArray(volumes, dims=("time", "z", "y", "x"), coords=axes)
    result = segment_pores(series)
    true = np.array([entry["porosity"] for entry in entries])
    np.testing.assert_allclose(result["porosity"], true, rtol=0.03)
    assert np.all(np.abs(result["porosity"] - true) < result["porosity_sigma"])
    assert result["pore_count"].values.tolist() == [entry["pores"] for entry in entries]


def test_spheres_of_one_pack_never_touch() -> None:
    spheres = tomography.pack(12, smallest=3.0, largest=5.0, bits=noise.stream(1, 1))
    places = np.array([sphere.centre for sphere in spheres])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert apart[~np.eye(12, dtype=bool)].min() > 13.0
    doubled = tomography.grown(spheres, factor=2.0)
    assert tomography.porosity(doubled) == pytest.approx(2 * tomography.porosity(spheres))


def options_of(folder: Path) -> dict[str, dict[str, Any]]:
    log = Log(
        path=folder / "tomography" / "scans.csv", name="name", start="start_time", end="end_time"
    )
    chicago = "America/Chicago"
    return {
        "xas": {"path": "*.dat", "position": "_(interface|bulk)_"},
        "xrd": {"path": "*.xye", "tz": chicago},
        "raman": {
            "path": "*.txt",
            "tz": chicago,
            "position": "_(PE|SSE|NE)_",
            "options": {"acquired": "start"},
        },
        "tomography": {"path": "*.tif", "tz": chicago, "log": log},
    }


@pytest.mark.parametrize("technique", ["xas", "xrd", "raman", "tomography"])
def test_frames_of_two_clocks_come_back_in_utc(
    written: tuple[Path, dict[str, Any]], technique: str
) -> None:
    folder, truth = written
    options = options_of(folder)[technique]
    frames = read(str(folder / technique / options.pop("path")), **options)
    entries = all_frames(truth, technique)
    for name, coordinate in (("start", "time_start"), ("end", "time_end")):
        stamps = np.array([entry[name].rstrip("Z") for entry in entries], "datetime64[ns]")
        np.testing.assert_array_equal(frames[coordinate], stamps)
    assert not frames["frame_flag"].values.any()
    if "position" in frames.coords:
        names = [entry["file"].split("_")[-2] for entry in entries]
        assert frames["position"].values.tolist() == names


def test_the_log_comes_back_in_utc(written: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = written
    log = read(str(folder / "echem" / "*.mpt"), tz="Europe/Paris")
    files = truth["electrochemistry"]["files"]
    assert log.sizes["time"] == sum(file["rows"] for file in files)
    ends = np.array([files[0]["start"][:-1], files[1]["end"][:-1]], "datetime64[ns]")
    np.testing.assert_array_equal(log["time"].values[[0, -1]], ends)
    assert log["charge_counter"].values[-1] * 1e3 == pytest.approx(
        files[1]["counter_end_mAh"], abs=1e-6
    )
