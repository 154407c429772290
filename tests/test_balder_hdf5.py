"""MAX IV Balder: plates are added, channels may be wired otherwise, images are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from operando_readers._reader import File, FormatError
from operando_readers.balder_hdf5 import READER

ENERGY = np.array([16065.0, 16075.0, 16085.0])
CHANNELS: dict[str, Any] = {
    "mono1_energy_acs": ENERGY,
    "albaem-01_ch1": np.array([1.0, 2.0, 3.0]),
    "albaem-01_ch2": np.array([3.0, 2.0, 1.0]),
    "albaem-02_ch3": np.array([1.0, 0.5, 0.0]),
    "albaem-02_ch4": np.array([1.0, 0.5, 0.0]),
}
TIMES = {"start_time": "2023-03-18T14:27:17.006383", "end_time": "2023-03-18T14:28:17.506383"}


def write(folder: Path, *scans: dict[str, Any], first: int = 24212) -> File:
    path = folder / "20230318.h5"
    with h5py.File(path, "w") as file:
        for number, scan in enumerate(scans, first):
            entry = file.create_group(f"entry{number}")
            entry["title"] = "ascanct mono1_energy_acs 16065.0 16085.0 2 0.5"
            for name, value in scan.items():
                entry[name if isinstance(value, str) else f"measurement/{name}"] = value
            entry["measurement/eiger"] = h5py.ExternalLink("images.h5", "entry/data")
    return File(path)


def test_plates_are_added(tmp_path: Path) -> None:
    scan = READER.read(write(tmp_path, CHANNELS | TIMES))
    assert scan["i0"].values.tolist() == [[4.0, 4.0, 4.0]]
    assert scan["i1"].values.tolist() == [[2.0, 1.0, 0.0]]
    np.testing.assert_allclose(scan["mu"][0], [np.log(2), np.log(4), np.nan])
    assert scan.attrs["clock"]["start"] == TIMES["start_time"]
    assert scan.attrs["clock"]["zone"] is None
    assert scan["exposure"].values == pytest.approx([60.5])


def test_other_wiring(tmp_path: Path) -> None:
    file = write(tmp_path, CHANNELS | TIMES | {"albaem-02_ch1": np.array([1.0, 2.0, 4.0])})
    scan = READER.read(file, i0=["albaem-01_ch1"], i1=["albaem-01_ch2"], iref=["albaem-02_ch1"])
    np.testing.assert_allclose(scan["mu"][0], np.log([1 / 3, 1.0, 3.0]))
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([3.0, 1.0, 0.25]))
    scan = READER.read(file, i1=[], fluorescence=["albaem-02_ch1"])
    assert scan["mu"].values.tolist() == [[0.25, 0.5, 1.0]]
    assert scan["mu"].attrs["mode"] == "fluorescence"
    with pytest.raises(FormatError, match=r"no channel 'ch9'; there are \['albaem-01_ch1'"):
        READER.read(file, i0=["ch9"])
    with pytest.raises(FormatError, match="'ch9'; expected a list"):
        READER.read(file, i0="ch9")
    with pytest.raises(FormatError, match=r"lies in 'images\.h5'"):
        READER.read(file, i1=["eiger"])


def test_scans_of_other_motors_are_counted(tmp_path: Path) -> None:
    motor = {name: values for name, values in CHANNELS.items() if "mono" not in name}
    file = write(tmp_path, motor | TIMES, CHANNELS | TIMES)
    scan = READER.read(file)
    assert scan["scan"].values.tolist() == [24213]
    assert scan.attrs["original_metadata"]["skipped_scans"] == 1
    with pytest.raises(FormatError, match="none over energies, 1 others"):
        READER.read(file, scans="24212")


def test_an_aborted_scan(tmp_path: Path) -> None:
    short = {**CHANNELS, "albaem-02_ch4": np.array([1.0, 0.5]), "start_time": TIMES["start_time"]}
    scan = READER.read(write(tmp_path, short))
    assert scan.sizes["energy"] == 2
    assert "2 points of 3" in scan.attrs["truncated"]
    assert "exposure" not in scan.coords


def test_numbers_of_scans(tmp_path: Path) -> None:
    file = write(tmp_path, *[CHANNELS | TIMES] * 4, first=8)
    assert READER.read(file)["scan"].values.tolist() == [8, 9, 10, 11]
    assert READER.read(file, scans="9, 11-20")["scan"].values.tolist() == [9, 11]


def test_other_hdf5_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/mono1_energy_acs"] = 1.0
    assert not READER.sniff(path.read_bytes(), "a.h5")
