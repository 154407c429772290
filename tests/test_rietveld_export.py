"""Folders for Rietveld programs: read back exactly, scripts that run, and nothing taken away.

Oracles: our readers of the three formats, the instrument files of GSAS-II's own tutorials for the
names of its parameters, gemmi for CIF and cells, and scripts run against stand-ins of the programs.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import gemmi
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import operando
from operando.errors import RequestError
from operando.model import (
    ALIGNMENT_FLAGS,
    FRAME_FLAGS,
    STATES,
    category_attributes,
    flag_attributes,
)
from operando.reading.fullprof_export import write_fullprof
from operando.reading.gsas2_export import write_gsas2
from operando.reading.rietveld_cells import SAME, cells_of
from operando.reading.topas_export import write_topas

CELLS: dict[str, dict[str, object]] = {
    "LiFePO4": {
        "system": "orthorhombic",
        "space_group": "P n m a",
        "a": 10.334,
        "b": 6.0,
        "c": 4.693,
    },
    "Al": {"system": "cubic", "space_group": "F m -3 m", "a": 4.0495},
}
NAC = {"system": "cubic", "space_group": "I 21 3", "a": 10.2512}
CLOCK: dict[str, Any] = {
    "first": "2026-05-04T08:00:00",
    "period_s": 60.0,
    "exposure_s": 60.0,
    "tz": "UTC",
}
Write = Callable[..., Path]
WRITERS: dict[str, tuple[Write, str]] = {
    "gsas2": (write_gsas2, "fxye"),
    "topas": (write_topas, "xye"),
    "fullprof": (write_fullprof, "dat"),
}
START = np.datetime64("2026-05-04T08:00:00.5", "ns") + np.arange(4) * np.timedelta64(600, "s")


def frames(*, lazy: bool = False) -> xr.Dataset:
    """Return four frames: one has a gap, one is unreadable, one was outside the log."""
    rng = np.random.default_rng(3)
    intensity = rng.uniform(1, 1e5, (4, 50))
    sigma = np.sqrt(intensity) * 0.7
    intensity[0, 10:13] = np.nan
    sigma[0, 20], sigma[0, 21] = 0.0, np.nan
    intensity[1, 5] = -3.0
    intensity[2] = np.nan
    values = {"intensity": intensity, "intensity_sigma": sigma}
    end = START + np.timedelta64(60, "s")
    flags = np.array([0, 0, FRAME_FLAGS["unreadable"], 0], np.int32)
    alignment = np.array([0, 0, 0, ALIGNMENT_FLAGS["outside"]], np.int32)
    dataset = xr.Dataset(
        {
            name: (
                ("time", "two_theta"),
                da.from_array(array, (3, 20)) if lazy else array,
                {"units": "count"},
            )
            for name, array in values.items()
        },
        {
            "two_theta": ("two_theta", 2 + 0.01 * np.arange(50) ** 1.3, {"units": "degree"}),
            "time": ("time", START + np.timedelta64(30, "s")),
            "time_start": ("time", START),
            "time_end": ("time", end),
            "voltage": ("time", [3.0, 3.125, 3.25, np.nan], {"units": "V"}),
            "current": ("time", [1e-3, -1e-3, 0.0, 0.0], {"units": "A"}),
            "net_capacity": ("time", [0.0, 1e-4, 0.0, np.nan], {"units": "A h"}),
            "cycle": ("time", np.array([0, 0, 0, 1], np.int32), {"units": "1"}),
            "state": ("time", np.array([1, 2, 0, -1], np.int32), category_attributes(STATES)),
            "temperature": ("time", [25.0, 26.0, 27.0, 28.5], {"units": "degC"}),
            "frame_flag": ("time", flags, flag_attributes(FRAME_FLAGS)),
            "alignment_flag": ("time", alignment, flag_attributes(ALIGNMENT_FLAGS)),
        },
        {"technique": "xrd", "wavelength_angstrom": 0.4962},
    )
    dataset["intensity"].attrs["ancillary_variables"] = "intensity_sigma"
    return dataset


def lab() -> xr.Dataset:
    """Return the same from a tube: both lines of the doublet."""
    return frames().assign_attrs(
        wavelength_angstrom=1.5405929,
        wavelength_alpha2_angstrom=1.5444274,
        alpha2_ratio=0.5,
        anode="Cu",
    )


def runs(folder: Path) -> list[dict[str, str]]:
    with (folder / "series.csv").open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_written_is_read_back(tmp_path: Path, name: str, lazy: bool) -> None:
    """Axis to 1e-9 degree, intensity and deviation to 1e-6, temperature where it has a place."""
    write, suffix = WRITERS[name]
    given = frames(lazy=lazy)
    folder = write(given, tmp_path / "out", cells=CELLS)
    files = sorted(folder.glob(f"run_*.{suffix}"))
    assert [path.name for path in files] == [f"run_000{at}.{suffix}" for at in (1, 2, 3)]
    for path, index in zip(files, (0, 1, 3), strict=True):
        back = operando.read(path, **CLOCK)
        frame = given.isel(time=index).load()
        good = np.isfinite(frame["intensity"].values) & (frame["intensity_sigma"].values > 0)
        np.testing.assert_allclose(back["two_theta"], frame["two_theta"][good], rtol=0, atol=1e-9)
        for variable in ("intensity", "intensity_sigma"):
            np.testing.assert_allclose(back[variable][0], frame[variable][good], rtol=1e-6)
        if suffix != "xye":
            assert float(back["temperature"][0]) == pytest.approx(298.15 + index + index // 3 * 0.5)
        if suffix == "fxye":
            assert back.attrs["wavelength_angstrom"] == 0.4962


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.001, 170, allow_subnormal=False),
            st.floats(1e-12, 1e12),
            st.floats(1e-12, 1e12),
        ),
        min_size=2,
        max_size=30,
        unique_by=lambda row: round(row[0], 6),
    )
)
def test_any_numbers_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float]]
) -> None:
    """Any angles and sizes, by all three readers: no number is cut to a width."""
    angles, intensity, sigma = np.array(sorted(rows)).T
    given = frames().isel(time=slice(0, 1), two_theta=slice(0, len(rows)))
    given = given.assign_coords(two_theta=("two_theta", angles, {"units": "degree"}))
    told = {name: given[name].attrs for name in ("intensity", "intensity_sigma")}
    given["intensity"] = (given["intensity"].dims, intensity[None], told["intensity"])
    given["intensity_sigma"] = (given["intensity"].dims, sigma[None], told["intensity_sigma"])
    for name, (write, suffix) in WRITERS.items():
        folder = write(given, tmp_path_factory.mktemp(name) / "out", cells=CELLS)
        back = operando.read(folder / f"run_0001.{suffix}", **CLOCK)
        np.testing.assert_allclose(back["two_theta"], angles, rtol=1e-14, atol=1e-9)
        np.testing.assert_allclose(back["intensity"][0], intensity, rtol=1e-6)
        np.testing.assert_allclose(back["intensity_sigma"][0], sigma, rtol=1e-6)


@pytest.mark.parametrize("name", WRITERS)
def test_the_table_tells_order_and_state(tmp_path: Path, name: str) -> None:
    write, suffix = WRITERS[name]
    folder = write(frames(), tmp_path / "out", cells=CELLS)
    first, second, third = runs(folder)
    assert first == {
        "run": "1",
        "file": f"run_0001.{suffix}",
        "frame": "0",
        "start_utc": "2026-05-04T08:00:00.500000000Z",
        "time_utc": "2026-05-04T08:00:30.500000000Z",
        "end_utc": "2026-05-04T08:01:00.500000000Z",
        "elapsed_s": "30",
        "voltage_V": "3",
        "current_A": "0.001",
        "net_capacity_Ah": "0",
        "cycle": "0",
        "temperature_K": "298.15",
        "state": "charge",
        "flags": "",
        "points": "45",
        "left_out": "5",
    }
    assert (second["voltage_V"], second["state"]) == ("3.125", "discharge")
    assert (third["frame"], third["voltage_V"], third["state"]) == ("3", "", "unknown")
    assert third["flags"] == "outside"
    readme = (folder / "README.txt").read_text(encoding="utf-8")
    assert "frame 2 (2026-05-04T08:20:30.500000000Z): unreadable" in readme
    assert "Points without intensity or standard deviation: 5, not written." in readme


@pytest.mark.parametrize("name", WRITERS)
def test_checksums_are_those_of_sha256sum(tmp_path: Path, name: str) -> None:
    """Its format: digest, two blanks, name; every file but itself."""
    folder = WRITERS[name][0](frames(), tmp_path / "out", cells=CELLS)
    lines = (folder / "checksums.txt").read_text().splitlines()
    expected = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "checksums.txt"
    }
    assert {line[66:]: line[:64] for line in lines} == expected
    assert all(line[64:66] == "  " for line in lines)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    write = WRITERS[name][0]
    first, again = (
        write(frames(lazy=lazy), tmp_path / f"out{lazy}", cells=CELLS) for lazy in (True, False)
    )
    contents = [
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (first, again)
    ]
    assert contents[0] == contents[1]
    assert not any(b"\r" in content for content in contents[0].values())


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_of_ours_is_replaced_and_no_other(tmp_path: Path, name: str) -> None:
    """Results of a refinement, changed inputs and foreign folders stay as they are."""
    write, suffix = WRITERS[name]
    folder = write(frames(), tmp_path / "out", cells=CELLS)
    write(frames().isel(time=slice(0, 1)), folder, cells=CELLS)
    assert [row["run"] for row in runs(folder)] == ["1"]
    assert not (folder / f"run_0002.{suffix}").exists()
    (folder / "result.gpx").write_text("weeks of work")
    with pytest.raises(RequestError, match=r"holds 'result.gpx'"):
        write(frames(), folder, cells=CELLS)
    (folder / "result.gpx").unlink()
    (folder / f"run_0001.{suffix}").write_text("edited")
    with pytest.raises(RequestError, match="changed by somebody else"):
        write(frames(), folder, cells=CELLS)
    foreign = tmp_path / "beamtime"
    (foreign / "raw").mkdir(parents=True)
    with pytest.raises(RequestError, match="holds 'raw'"):
        write(frames(), foreign, cells=CELLS)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match="is a file"):
        write(frames(), tmp_path / "file", cells=CELLS)
    with pytest.raises(RequestError, match="cannot be written"):
        write(frames(), tmp_path / "missing" / "out", cells=CELLS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beamtime", "file", "out"]


def test_a_write_that_breaks_leaves_the_old_folder(tmp_path: Path) -> None:
    def fail(block: Any) -> Any:
        raise OSError("the disk is gone")

    folder = write_topas(frames(), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    broken = frames(lazy=True)
    broken["intensity"].data = broken["intensity"].data.map_blocks(fail, dtype=float)
    with pytest.raises(RequestError, match="the disk is gone"):
        write_topas(broken, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", WRITERS)
def test_a_real_pattern_stays_what_it_is(shared_data: Path, tmp_path: Path, name: str) -> None:
    """APS 11-BM, 59497 points of NAC: read, written for each program, read again."""
    path = shared_data / "formats" / "xrd" / "nac" / "11BM_NAC.fxye"
    given = operando.read(path, tz="America/Chicago").load()
    write, suffix = WRITERS[name]
    folder = write(given, tmp_path / "out", cells={"NAC": NAC})
    back = operando.read(folder / f"run_0001.{suffix}", **CLOCK)
    np.testing.assert_allclose(back["two_theta"], given["two_theta"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(back["intensity"], given["intensity"], rtol=1e-6)
    np.testing.assert_allclose(back["intensity_sigma"], given["intensity_sigma"], rtol=1e-6)
    assert runs(folder)[0]["temperature_K"] == "298"


# ------------------------------------------------------------------------------------- GSAS-II


STUB = """
import json

LOG = []


class Histogram:
    def __init__(self, file, instrument):
        self.data = {"Sample Parameters": {"Temperature": 300.0}}
        self.file, self.instrument, self.excluded = file, instrument, None

    def Excluded(self, value):
        self.excluded = value


class Phase:
    def __init__(self, **given):
        self.given = given

    def set_refinements(self, refs):
        self.given["refs"] = refs


class G2Project:
    def __init__(self, newgpx):
        self.newgpx, self.runs, self.phases, self.controls = newgpx, [], [], {}
        self.data, self.set, self.refined = {"Controls": {"data": {}}}, None, False

    def add_powder_histogram(self, datafile, iparams, fmthint):
        self.runs.append(Histogram(datafile, iparams))
        return self.runs[-1]

    def histograms(self):
        return self.runs

    def add_phase(self, file, phasename, histograms, fmthint):
        self.phases.append(Phase(file=file, name=phasename, count=len(histograms)))
        return self.phases[-1]

    def set_Controls(self, control, value):
        self.controls[control] = len(value) if control == "sequential" else value

    def set_refinement(self, refinement):
        self.set = refinement

    def refine(self):
        self.refined = True

    def save(self):
        told = {
            "files": [run.file for run in self.runs],
            "instruments": [run.instrument for run in self.runs],
            "samples": [run.data["Sample Parameters"] for run in self.runs],
            "excluded": [run.excluded for run in self.runs],
            "phases": [phase.given for phase in self.phases],
            "controls": self.controls, "labels": self.data["Controls"]["data"],
            "set": self.set, "refined": self.refined,
        }
        with open(self.newgpx, "w") as file:
            json.dump(told, file)
"""


def run_script(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder.parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_of_gsas_imports_all(tmp_path: Path) -> None:
    """Run against a stand-in with the methods of GSASIIscriptable that its manual lists."""
    folder = write_gsas2(frames(), tmp_path / "out", cells=CELLS, exclude=[(3, 4), (3.5, 4.5)])
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "G2script.py").write_text(STUB)
    script = str(folder / "series.py")
    done = run_script(folder, script, "--refine", PYTHONPATH=str(tmp_path / "stub"))
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / "series.gpx").read_text())
    assert [Path(name).name for name in told["files"]] == [row["file"] for row in runs(folder)]
    assert all(Path(name).is_file() for name in told["files"] + told["instruments"])
    assert told["samples"][1] == {
        "Temperature": 299.15,
        "Time": 630.0,
        "FreePrm1": 1e-4,
        "FreePrm2": 3.125,
        "FreePrm3": -1e-3,
    }
    assert "FreePrm2" not in told["samples"][2]
    assert told["excluded"] == [[[3.0, 4.5]]] * 3
    assert [phase["name"] for phase in told["phases"]] == ["LiFePO4", "Al"]
    assert all(phase["refs"] == {"LeBail": True} for phase in told["phases"])
    assert told["controls"] == {"sequential": 3, "seqCopy": True, "cycles": 10}
    assert told["labels"]["FreePrm2"] == "Sample voltage (V)"
    assert told["set"]["set"]["HStrain"] is True
    assert told["refined"]
    bare = write_gsas2(frames(), tmp_path / "bare")
    done = run_script(bare, str(bare / "series.py"), "--refine", PYTHONPATH=str(tmp_path / "stub"))
    assert done.returncode == 1
    assert "name a CIF" in done.stderr
    assert not json.loads((bare / "series.gpx").read_text())["refined"]


def instrument(folder: Path) -> dict[str, str]:
    lines = (folder / "instrument.instprm").read_text().splitlines()
    assert lines[0] == "#GSAS-II instrument parameter file; do not add/delete items!"
    return dict(line.split(":") for line in lines[1:])


def test_the_instrument_of_gsas(tmp_path: Path) -> None:
    """Names as in the .instprm of its tutorials; a polarisation of 1 corrects nothing."""
    one = instrument(write_gsas2(frames(), tmp_path / "one"))
    assert (one["Type"], one["Lam"], one["Polariz."]) == ("PXC", "0.4962", "0.99")
    two = instrument(write_gsas2(lab(), tmp_path / "two"))
    assert (two["Lam1"], two["Lam2"], two["I(L2)/I(L1)"]) == ("1.5405929", "1.5444274", "0.5")
    assert "Lam" not in two
    assert two["Polariz."] == "0.5"
    steps = json.dumps([{"step": "integration", "polarization": 0.99}])
    done = frames().assign_attrs(corrections=steps)
    assert instrument(write_gsas2(done, tmp_path / "three"))["Polariz."] == "1.0"
    shared = set(one) & set(two)
    assert {"U", "V", "W", "X", "Y", "Z", "SH/L", "Zero", "Azimuth", "Bank"} <= shared


def test_the_cif_of_a_cell_is_one(tmp_path: Path) -> None:
    folder = write_gsas2(frames(), tmp_path / "out", cells=CELLS)
    structure = gemmi.read_small_structure(str(folder / "LiFePO4.cif"))
    assert structure.cell.parameters == pytest.approx((10.334, 6.0, 4.693, 90, 90, 90))
    assert structure.spacegroup.hm == "P n m a"
    assert len(structure.sites) == 1


def test_negative_points_are_counted_for_gsas(tmp_path: Path) -> None:
    """Its importer of FXYE gives no weight to intensities of zero and below."""
    folder = write_gsas2(frames(), tmp_path / "out")
    assert "of zero and below: 1 points" in (folder / "README.txt").read_text()
    bank = (folder / "run_0002.fxye").read_text().splitlines()
    at = next(at for at, line in enumerate(bank) if line.startswith("BANK"))
    words = bank[at].split()
    assert words[:5] == ["BANK", "1", "50", "50", "CONS"]
    assert words[-1] == "FXYE"
    assert len(bank) == at + 51
    assert float(words[5]) == pytest.approx(200.0)  # hundredths of a degree


# --------------------------------------------------------------------------------------- TOPAS


def test_the_inp_of_topas(tmp_path: Path) -> None:
    """num_runs, the list with one row a run, exclude, one emission line, tied cells."""
    folder = write_topas(frames(), tmp_path / "out", cells=CELLS, exclude=[(5, 5.5), (3, 4)])
    lines = [line.strip() for line in (folder / "series.inp").read_text().splitlines()]
    assert "num_runs 3" in lines
    at = next(at for at, line in enumerate(lines) if line.startswith("#list"))
    names = lines[at].split()[1:-1]
    assert names == [
        *("File_Name", "Temperature_K", "Voltage_V", "Current_A", "Capacity_Ah"),
        *("Cycle_Number", "Time_s"),
    ]
    assert lines[at + 2].split() == [
        *("run_0002.xye", "299.15", "3.125", "-0.001", "0.0001", "0", "630")
    ]
    assert lines[at + 3].split()[2] == "-999"
    assert "-999 in the list: not measured" in lines[2]
    assert lines[at + 4] == "}"
    assert "xdd File_Name(Run_Number)" in lines
    assert [line for line in lines if line.startswith("exclude")] == [
        "exclude 3.0 4.0",
        "exclude 5.0 5.5",
    ]
    assert [line for line in lines if line.startswith("la ")] == ["la 1 lo 0.4962 lh 0.1"]
    assert "LP_Factor(90)" in lines
    assert {"a a_LiFePO4 10.334", "a a_Al 4.0495", "b = a_Al;", "c = a_Al;"} <= set(lines)
    text = "\n".join(lines)
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
    for name in names[1:]:
        assert f"= {name}(Run_Number);" in text


def test_topas_sees_both_lines_of_a_doublet(tmp_path: Path) -> None:
    """Areas add up to one: 2/3 and 1/3."""
    text = (write_topas(lab(), tmp_path / "out") / "series.inp").read_text()
    emission = [line.split() for line in text.splitlines() if line.strip().startswith("la ")]
    assert [words[3] for words in emission] == ["1.5405929", "1.5444274"]
    areas = [float(words[1]) for words in emission]
    assert areas == pytest.approx([2 / 3, 1 / 3], abs=1e-8)
    assert sum(areas) == pytest.approx(1, abs=1e-8)
    assert "LP_Factor(0)" in text


# ------------------------------------------------------------------------------------ FullProf


def pcr(path: Path) -> list[list[str]]:
    """Return the words of a PCR, line after line without comments, as FullProf reads it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if not line.startswith("!")]


def test_the_pcr_of_fullprof(tmp_path: Path) -> None:
    """Counts of fields as in the manual; parameters of a cubic cell share a codeword."""
    folder = write_fullprof(lab(), tmp_path / "out", cells=CELLS, exclude=[(3, 4), (2, 2.5)])
    head, control, output, waves, cycles, *rest = pcr(folder / "run_0001.pcr")
    assert head[0] == "COMM"
    assert len(control) == 19
    assert [control[at] for at in (0, 1, 2, 4)] == ["0", "7", "2", "2"]  # Job, Npr, Nph, Nex
    assert len(output) == 17
    assert output[10] == "10"  # Ins: x y sigma
    assert [float(word) for word in waves[:3]] == [1.5405929, 1.5444274, 0.5]
    assert float(waves[8]) == 0.5  # Rpolarz of a tube
    assert len(cycles) == 11
    assert [float(x) for x in cycles[6:9]] == pytest.approx([2.0, 0.0434, 3.57], abs=0.01)
    excluded, (count, *_), zero, background, codes, *phases = rest[:2], *rest[2:]
    assert [[float(x) for x in pair] for pair in excluded] == [[2, 2.5], [3, 4]]
    assert count == "10"  # six of the background, three and one of the cells
    assert len(zero) == 9
    assert len(background) == len(codes) == 6
    assert [phases[0], phases[11]] == [["LiFePO4"], ["Al"]]
    assert phases[2][:4] == ["P", "n", "m", "a"]
    assert [float(x) for x in phases[7]] == pytest.approx([10.334, 6.0, 4.693, 90, 90, 90])
    used = [word for line in (codes, phases[8], phases[19]) for word in line]
    assert [float(word) for word in used if float(word)] == [
        *(11, 21, 31, 41, 51, 61, 71, 81, 91),
        *(101, 101, 101),
    ]
    assert len(phases) == 23


def test_fullprof_without_doublet_and_phase(tmp_path: Path) -> None:
    folder = write_fullprof(frames(), tmp_path / "out", cells=CELLS)
    waves = pcr(folder / "run_0001.pcr")[3]
    assert [float(word) for word in waves[:3]] == [0.4962, 0.4962, 0.0]
    with pytest.raises(RequestError, match="FullProf needs a phase"):
        write_fullprof(frames(), tmp_path / "other")


def test_cyc_carries_results_from_run_to_run(tmp_path: Path) -> None:
    """A stand-in of fp2k adds one to the scale; it fails at the third run when it is told to."""
    folder = write_fullprof(frames(), tmp_path / "out", cells=CELLS)
    fake = tmp_path / "fp2k.py"
    fake.write_text(
        "#!" + sys.executable + "\n"
        "import os, sys\n"
        "name, data = sys.argv[1:]\n"
        "assert os.path.exists(data + '.dat')\n"
        "if name == os.environ.get('FAIL'): sys.exit(3)\n"
        "lines = open(name + '.pcr').read().splitlines()\n"
        "open(name + '.pcr', 'w').write('\\n'.join(lines + ['! refined']) + '\\n')\n"
    )
    fake.chmod(0o755)
    own = [line.partition("\n")[0] for line in map(Path.read_text, sorted(folder.glob("*.pcr")))]
    done = run_script(folder, str(folder / "cyc.py"), str(fake))
    assert done.returncode == 0, done.stderr
    texts = [path.read_text() for path in sorted(folder.glob("*.pcr"))]
    assert [text.count("! refined") for text in texts] == [1, 2, 3]
    assert [text.partition("\n")[0] for text in texts] == own
    done = run_script(folder, str(folder / "cyc.py"), str(fake), FAIL="run_0002")
    assert done.returncode == 1
    assert "FullProf stopped at run_0002" in done.stderr


# ---------------------------------------------------------------------- what they have in common


@pytest.mark.parametrize("system", SAME)
def test_cells_are_filled_by_their_system(system: str) -> None:
    """Oracle: gemmi's metric of the space group allows the cell."""
    groups = {
        "cubic": "F m -3 m",
        "tetragonal": "P 4/m m m",
        "hexagonal": "P 63/m m c",
        "rhombohedral": "R -3 m:R",
        "orthorhombic": "P n m a",
        "monoclinic": "C 1 2/m 1",
        "triclinic": "P -1",
    }
    values = {"a": 5.0, "b": 6.0, "c": 7.0, "alpha": 70.0, "beta": 100.0, "gamma": 80.0}
    given = {name: values[name] for name in SAME[system]}
    [cell] = cells_of({"x": {"system": system, "space_group": groups[system], **given}})
    unit = gemmi.UnitCell(*cell.values)
    assert unit.is_compatible_with_spacegroup(gemmi.SpaceGroup(groups[system]), 1e-9)
    for name, leader, value in zip(values, cell.leaders(), cell.values, strict=True):
        assert value == (
            values[leader]
            if leader
            else {"gamma": 120.0}.get(name, 90.0)
            if system == "hexagonal"
            else 90.0
        )


def test_a_q_axis_is_written_as_two_theta(tmp_path: Path) -> None:
    """Truth: q = 4 pi sin(theta) / wavelength."""
    given = frames()
    theta = np.radians(given["two_theta"].values / 2)
    q = 4 * np.pi * np.sin(theta) / 0.4962
    by_q = given.rename(two_theta="q").assign_coords(q=("q", q, {"units": "1/angstrom"}))
    one = write_topas(given, tmp_path / "one") / "run_0002.xye"
    two = write_topas(by_q, tmp_path / "two") / "run_0002.xye"
    np.testing.assert_allclose(np.loadtxt(two), np.loadtxt(one), rtol=1e-12)
    with pytest.raises(RequestError, match="cannot be seen"):
        write_topas(by_q.assign_attrs(wavelength_angstrom=50.0), tmp_path / "three")


def test_raw_counts_have_to_be_declared(tmp_path: Path) -> None:
    bare = frames().drop_vars("intensity_sigma")
    bare["intensity"].attrs.pop("ancillary_variables")
    with pytest.raises(RequestError, match=r"raw_counts=True"):
        write_topas(bare, tmp_path / "out")
    rows = np.loadtxt(write_topas(bare, tmp_path / "out", raw_counts=True) / "run_0002.xye")
    np.testing.assert_allclose(rows[:, 2], np.sqrt(np.maximum(rows[:, 1], 1)), rtol=1e-8)


def with_cell(**changed: object) -> dict[str, Any]:
    return {"cells": {"Al": {**CELLS["Al"], **changed}}}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "wavelength": ({"wavelength_angstrom": None}, {}, "no wavelength_angstrom"),
    "ratio": ({"wavelength_alpha2_angstrom": 0.5}, {}, "alpha2_ratio"),
    "order": ({"wavelength_alpha2_angstrom": 0.4, "alpha2_ratio": 0.5}, {}, "alpha1 < alpha2"),
    "technique": ({"technique": "raman"}, {}, "powder patterns"),
    "region": ({}, {"exclude": [(4, 3)]}, "a lower and a higher angle"),
    "regions": ({}, {"exclude": "3-4"}, "pairs of angles"),
    "one": ({}, {"exclude": [3.0]}, "pairs of angles"),
    "switch": ({}, {"raw_counts": 1}, "True or False"),
    "cells": ({}, {"cells": ["Al"]}, "a mapping of phase names"),
    "cell": ({}, {"cells": {"Al": 4.05}}, "system, space_group"),
    "name": ({}, {"cells": {"../Al": CELLS["Al"]}}, "a name of letters"),
    "system": ({}, with_cell(system="quartic"), "'cubic' or"),
    "group": ({}, with_cell(space_group="'; rm"), "a symbol such as"),
    "missing": ({}, with_cell(a=None), "a length in angstrom"),
    "too many": ({}, with_cell(c=4.0), r"\['c'\] besides \['a'\]"),
    "nan": ({}, with_cell(a=float("nan")), "a length in angstrom"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_refused(tmp_path: Path, case: str) -> None:
    attrs, options, message = REFUSED[case]
    given = frames().assign_attrs(attrs)
    given.attrs = {name: value for name, value in given.attrs.items() if value is not None}
    with pytest.raises(RequestError, match=message) as caught:
        write_topas(given, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_frames_that_cannot_be_one_series_are_refused(tmp_path: Path) -> None:
    spots = frames().assign_coords(position=("time", ["a", "b", "a", "b"]))
    with pytest.raises(RequestError, match=r"2 positions \['a', 'b'\]"):
        write_topas(spots, tmp_path / "out")
    write_topas(spots.isel(time=[0, 2]), tmp_path / "out")
    with pytest.raises(RequestError, match="no frame"):
        write_topas(frames().isel(time=slice(0)), tmp_path / "none")
    with pytest.raises(RequestError, match="none of 1 can be written"):
        write_topas(frames().isel(time=[2]), tmp_path / "none")
    fahrenheit = frames().assign_coords(temperature=("time", np.ones(4), {"units": "degF"}))
    with pytest.raises(RequestError, match="degF"):
        write_topas(fahrenheit, tmp_path / "none")
    with pytest.raises(RequestError, match="folder: 5"):
        write_topas(frames(), 5)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
