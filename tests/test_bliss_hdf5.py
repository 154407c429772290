"""ESRF BLISS scans: channels by name, dead time, aborted scans, scans of something else, damage.

The files are written here in the layout of BLISS (names as in the conversion scripts of pynxxas
and in larch): there is no file of BLISS itself to be had.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from operando_readers._reader import File, FormatError
from operando_readers.bliss_hdf5 import READER

ENERGY = np.array([11.80, 11.81, 11.805, 11.82])
I0 = np.array([1000.0, 1100.0, 1200.0, 1300.0])
MU = np.array([0.1, 0.2, 0.3, 0.4])
SORTED = [0, 2, 1, 3]
SCAN: dict[str, Any] = {
    "title": "contscan.EnergyCont 11.80 11.82",
    "start_time": "2023-06-10T12:00:00.250000+02:00",
    "end_time": "2023-06-10T12:01:30.250000+02:00",
    "energy_enc": ENERGY,
    "p201_1_bkg_sub": I0,
    "p201_3_bkg_sub": I0 * np.exp(-MU),
    "p201_5_bkg_sub": I0 * np.exp(-3 * MU),
    "elapsed_time": np.array([0.0, 1.0, 2.0, 3.5]),
    "epoch": 1686391200.25 + np.array([0.0, 1.0, 2.0, 3.5]),
}
DETECTOR = {
    "roi1": np.array([10.0, 20.0, 30.0, 40.0]),
    "live_time": np.array([0.5, 0.0, 0.5, 0.25]),
}


def write(folder: Path, *, track_order: bool = True, **scans: dict[str, Any]) -> File:
    """Write scans "s3_1" as 3.1: counters in instrument, links to them in measurement."""
    path = folder / "sample_0001.h5"
    with h5py.File(path, "w", track_order=track_order) as file:
        file.attrs["creator"] = "Bliss"
        for name, content in scans.items():
            entry = file.create_group(name[1:].replace("_", "."), track_order=track_order)
            entry.attrs["NX_class"] = "NXentry"
            entry.create_group("measurement")
            entry.create_group("instrument")
            for key, value in content.items():
                _put(entry, key, value)
    return File(path)


def _put(entry: h5py.Group, key: str, value: Any) -> None:
    if isinstance(value, str):
        entry[key] = value
    elif isinstance(value, dict):
        for part, numbers in value.items():
            entry[f"instrument/{key}/{part}"] = numbers
    else:
        entry[f"instrument/{key}/data"] = value
        entry[f"measurement/{key}"] = h5py.SoftLink(f"{entry.name}/instrument/{key}/data")


def test_one_scan(tmp_path: Path) -> None:
    """The encoder is not in order: points are sorted; keV without units."""
    scan = READER.read(write(tmp_path, s3_1=SCAN))
    np.testing.assert_allclose(scan["energy"], ENERGY[SORTED] * 1e3, rtol=1e-15)
    np.testing.assert_allclose(scan["mu"][0], MU[SORTED], rtol=1e-12)
    np.testing.assert_allclose(scan["mu_reference"][0], 2 * MU[SORTED], rtol=1e-12)
    np.testing.assert_array_equal(scan["i0"][0], I0[SORTED])
    assert scan["mu"].attrs["mode"] == "transmission"
    assert scan["scan"].values.tolist() == [3]
    assert scan.attrs["clock"] == {
        "start": "2023-06-10T10:00:00.250000",
        "zone": "UTC",
        "marks": "start",
        "source": "header",
        "sigma_s": None,
    }
    assert scan["exposure"].values.tolist() == [90.0]
    assert scan.attrs["original_metadata"]["title"] == SCAN["title"]


@pytest.mark.parametrize("track_order", [True, False])
def test_scans_stack_by_their_numbers(tmp_path: Path, track_order: bool) -> None:
    late = SCAN | {
        "start_time": "2023-06-10T12:10:00.250000+02:00",
        "end_time": "2023-06-10T10:12:00.250000Z",
    }
    file = write(tmp_path, s10_1=late, s9_1=SCAN, track_order=track_order)
    series = READER.read(file)
    assert series["scan"].values.tolist() == [9, 10]
    assert series["elapsed"].values.tolist() == [0.0, 600.0]
    assert series["exposure"].values.tolist() == [90.0, 120.0]
    assert READER.read(file, scans="10-12")["scan"].values.tolist() == [10]
    assert READER.sniff(file.read_bytes(1 << 16), "sample_0001.h5")


def test_units_of_the_file_win(tmp_path: Path) -> None:
    file = write(tmp_path, s1_1=SCAN | {"energy_enc": ENERGY * 1e3})
    with pytest.raises(FormatError, match="without @units reaches 11820 keV"):
        READER.read(file)
    with h5py.File(file.path, "a") as content:
        content["1.1/instrument/energy_enc/data"].attrs["units"] = "eV"
    np.testing.assert_allclose(READER.read(file)["energy"], ENERGY[SORTED] * 1e3, rtol=1e-15)
    with h5py.File(file.path, "a") as content:
        content["1.1/instrument/energy_enc/data"].attrs["units"] = "deg"
    with pytest.raises(FormatError, match="'deg'"):
        READER.read(file)


def test_fluorescence_is_corrected_for_dead_time(tmp_path: Path) -> None:
    """Counts per live second, summed over detectors; NaN where one was dead."""
    second = {name: values * 2 for name, values in DETECTOR.items()}
    content = SCAN | {"xmapd16_det0": DETECTOR, "xmapd16_det1": second, "xmapd16": {"roi1": I0}}
    scan = READER.read(write(tmp_path, s1_1=content))
    expected = np.array([20.0, np.nan, 60.0, 160.0]) * 2
    np.testing.assert_array_equal(scan["fluorescence"][0], expected[SORTED])
    np.testing.assert_allclose(scan["mu_fluorescence"][0], (expected / I0)[SORTED])
    assert scan["fluorescence"].attrs["dead_time"] == "live_time"
    one = READER.read(File(tmp_path / "sample_0001.h5"), detectors="*_det0")
    np.testing.assert_array_equal(one["fluorescence"][0], expected[SORTED] / 2)


def test_dead_time_by_rates_or_not_at_all(tmp_path: Path) -> None:
    rates = {"roi1": I0, "icr": np.full(4, 300.0), "ocr": np.array([100.0, 150.0, 0.0, 300.0])}
    scan = READER.read(write(tmp_path, s1_1=SCAN | {"xmap_det0": rates}))
    np.testing.assert_array_equal(scan["fluorescence"][0], [3000.0, np.nan, 2200.0, 1300.0])
    assert scan["fluorescence"].attrs["dead_time"] == "icr/ocr"
    scan = READER.read(write(tmp_path, s1_1=SCAN | {"xmap_det0": {"roi1": I0}}))
    assert scan["fluorescence"].attrs["dead_time"] == "none"
    mixed = SCAN | {"xmap_det0": rates, "xmap_det1": DETECTOR}
    with pytest.raises(FormatError, match="choose with detectors="):
        READER.read(write(tmp_path, s1_1=mixed))


def test_absorption_of_the_file_wins(tmp_path: Path) -> None:
    scan = READER.read(write(tmp_path, s1_1=SCAN | {"mu_trans": MU + 5}))
    np.testing.assert_array_equal(scan["mu"][0], (MU + 5)[SORTED])
    assert scan["mu"].attrs["mode"] == "file"


def test_other_scans_are_counted(tmp_path: Path) -> None:
    """Scans of motors, encoders that stand still, scans that never began, slow counters."""
    motor = {key: value for key, value in SCAN.items() if key != "energy_enc"}
    still = SCAN | {"energy_enc": 11.8 + np.array([0.0, 1e-5, 2e-5, 1e-5])}
    empty = SCAN | {"energy_enc": np.empty(0)}
    file = write(tmp_path, s1_1=motor, s2_1=still, s3_1=SCAN, s3_2=motor, s4_1=empty)
    series = READER.read(file)
    assert series["scan"].values.tolist() == [3]
    assert series.attrs["original_metadata"]["skipped_scans"] == 4
    with pytest.raises(FormatError, match="none over energies, 2 others"):
        READER.read(file, scans="1-2")


def test_an_aborted_scan_is_cut_to_its_shortest_channel(tmp_path: Path) -> None:
    aborted = SCAN | {"p201_3_bkg_sub": (I0 * np.exp(-MU))[:2], "end_time": ""}
    scan = READER.read(write(tmp_path, s5_1=aborted))
    assert scan.sizes["energy"] == 2
    np.testing.assert_allclose(scan["mu"][0], MU[:2], rtol=1e-12)
    assert scan.attrs["truncated"] == "scan 5 aborted: 2 points of 4 have all channels"
    assert scan["exposure"].values.tolist() == [3.5]
    prepared = SCAN | {"energy_enc": np.array([11.8, 11.81, 11.82, np.nan])}
    assert READER.read(write(tmp_path, s5_1=prepared)).sizes["energy"] == 3


def test_times_from_the_epoch_of_the_points(tmp_path: Path) -> None:
    scan = READER.read(write(tmp_path, s1_1=SCAN | {"start_time": "", "end_time": ""}))
    assert scan.attrs["clock"]["start"] == "2023-06-10T10:00:00.250000"
    assert scan.attrs["clock"]["zone"] == "UTC"
    nothing = {key: value for key, value in SCAN.items() if key not in ("epoch", "start_time")}
    assert READER.read(write(tmp_path, s1_1=nothing)).attrs["clock"]["start"] is None
    with pytest.raises(FormatError, match="scan 2: no start_time"):
        READER.read(write(tmp_path, s1_1=SCAN, s2_1=nothing))


def test_channels_by_option(tmp_path: Path) -> None:
    names = {"p201_1_bkg_sub": "ct1", "p201_3_bkg_sub": "ct2", "energy_enc": "mono"}
    renamed = {names.get(key, key): value for key, value in SCAN.items()}
    file = write(tmp_path, s1_1=renamed)
    with pytest.raises(FormatError, match="none over energies"):
        READER.read(file)
    with pytest.raises(FormatError, match=r"no absorption; .*'ct1'"):
        READER.read(file, energy="mono")
    scan = READER.read(file, energy="mono", i0="ct1", i1="ct2")
    np.testing.assert_allclose(scan["mu"][0], MU[SORTED], rtol=1e-12)
    with pytest.raises(FormatError, match=r"no channel 'ct9'; there are \['ct1'"):
        READER.read(file, energy="mono", i0="ct9", i1="ct2")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"start_time": "noon"}, {}, "'noon'"),
        ({"end_time": "2023-06-10T11:00:00+02:00"}, {}, "before it starts"),
        ({"end_time": "2023-06-10T13:00:00"}, {}, "before it starts"),
        ({"start_time": "", "epoch": np.array([-5.0])}, {}, "Unix seconds"),
        ({}, {"scans": "one"}, "'3-14,16'"),
        ({"energy_enc": ENERGY * np.array([1, np.nan, 1, 1])}, {}, "1 of 4 points no energy"),
    ],
)
def test_refusals(
    tmp_path: Path, content: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message) as error:
        READER.read(write(tmp_path, s1_1=SCAN | content), **options)
    assert "\n" not in str(error.value)


def test_two_edges_are_listed(tmp_path: Path) -> None:
    file = write(tmp_path, s1_1=SCAN, s2_1=SCAN | {"energy_enc": ENERGY + 1})
    with pytest.raises(FormatError, match=r"scans=: 1 \(11800-11820 eV.*2 \(12800"):
        READER.read(file)
    assert READER.read(file, scans="2")["scan"].values.tolist() == [2]


def test_scans_in_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "proposal.h5"
    with h5py.File(path, "w") as file:
        file["1.1"] = h5py.ExternalLink("sample_0001.h5", "/1.1")
    with pytest.raises(FormatError, match=r"\['1.1'\] lie in other files"):
        READER.read(File(path))


def test_other_hdf5_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/measurement/energy"] = 1.0
    assert not READER.sniff(path.read_bytes(), "a.h5")


def test_damage_anywhere_is_a_format_error_or_a_scan(tmp_path: Path) -> None:
    content = write(tmp_path, s1_1=SCAN | {"xmap_det0": DETECTOR}).read_bytes()
    rng = np.random.default_rng(2)
    path = tmp_path / "spoiled.h5"
    for _ in range(150):
        spoiled = bytearray(content)
        spoiled[rng.integers(len(spoiled))] ^= int(rng.integers(1, 256))
        path.write_bytes(spoiled[: rng.integers(len(spoiled) // 2, len(spoiled) * 2)])
        with contextlib.suppress(FormatError), warnings.catch_warnings():
            assert np.isfinite(READER.read(File(path))["elapsed"].values).all()
