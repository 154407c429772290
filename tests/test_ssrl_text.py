"""SSRL sweeps: offsets already subtracted, elements of a detector, weights, the binary variant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xraydb

from operando_readers._larch import larch
from operando_readers._reader import File, FormatError
from operando_readers.ssrl_text import READER

MINE = {"SSRL1_2006.dat": ("Ag", "K"), "SSRLmicro_2008.dat": ("Ge", "K")}
NAMES = ("Real time clock", "Requested Energy", "Achieved Energy", "I0", "I1", "I2")
ROWS = """ 1.000  25500.000  25500.002  2000.0  1000.0  500.0
 1.000  25514.000  25514.002  2000.0  500.0  250.0
 2.000  25600.000  25600.002  4000.0  1000.0  400.0
"""


def _text(
    names: tuple[str, ...] = NAMES, rows: str = ROWS, *, points: int = 3, weights: str = ""
) -> str:
    header = [
        "SSRL   EXAFS Data Collector 1.3       ",
        "Sun May 21 00:13:57 2006              ",
        f"PTS: {points:>10} COLS: {len(names):>10}",
        "TRANS.DET",
        "AGK16.RGN",
        "2-3 unfocused",
        "4 2000 25 RST 0 0",
        *("Ag: größer", "Data:", "", "", "", ""),
        "",
        "Weights: ",
        weights or " 1.000" * len(names),
        "Offsets: ",
        " 9.000" * len(names),
        "Data: ",
        *(f"{name:<18}" for name in names),
        "",
    ]
    return "\n".join(header) + "\n" + rows


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "sweep_001.dat"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_a_sweep(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    np.testing.assert_array_equal(scan["energy"], [25500.002, 25514.002, 25600.002])
    np.testing.assert_array_equal(scan["i0"][0], [2000, 2000, 4000])
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 4]))
    np.testing.assert_allclose(scan["mu_reference"][0], np.log([2, 2, 2.5]))
    np.testing.assert_array_equal(scan["dwell"][0], [1, 1, 2])
    assert scan["exposure"].values == [4.0]
    assert scan.attrs["clock"]["start"] == "2006-05-21T00:13:57"
    assert scan.attrs["clock"]["marks"] == "start"
    assert "Ag: größer" in scan.attrs["original_metadata"]["header"]
    assert "truncated" not in scan.attrs


@pytest.mark.shared_data
def test_offsets_are_subtracted_in_the_file_already(shared_data: Path) -> None:
    """Counts are integers: what the file holds becomes integer when offset times seconds is added.

    Rows of a full second only: the clock is written to 1 ms, which is 0.1 to 0.2 count.
    """
    folder = shared_data / "formats" / "xas" / "beamline_formats"
    scan = READER.read(File(folder / "SSRL1_2006.dat"))
    header = scan.attrs["original_metadata"]["header"].splitlines()
    offsets = [float(field) for field in header[header.index("Offsets:") + 1].split()][3:]
    assert offsets == [144.2, 133.5, 238.3]
    dwell = scan["dwell"].values[0]
    full = dwell == np.round(dwell)
    assert np.count_nonzero(full) > 100
    assert dwell[-1] == 5.0
    for name, offset in zip(("i0", "i1", "iref"), offsets, strict=True):
        reading = scan[name].values[0][full]
        assert _median_off_integer(reading + offset * dwell[full]) < 0.02  # float32 of 5e5: 0.016
        assert _median_off_integer(reading) > 0.2
        assert _median_off_integer(reading[-1:] + 5 * offset) < 0.05


def _median_off_integer(values: npt.NDArray[np.float64]) -> float:
    return float(np.median(np.abs(values - np.round(values))))


DETECTOR = (
    "Real Time Clock",
    "Requested Energy",
    "I0",
    "I1",
    "SCA1.1",
    "SCA1.2",
    "ICR.1",
    "SCA2.1",
)
COUNTS = "1 11000 1000 0 1 2 9999 7\n1 11103 1000 0 10 20 9999 7\n1 11200 1000 0 100 200 9999 7\n"


def test_elements_are_added_and_dark_chambers_left_out(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text(DETECTOR, COUNTS)))
    np.testing.assert_array_equal(scan["fluorescence"][0], [3, 30, 300])
    np.testing.assert_allclose(scan["mu"][0], [0.003, 0.03, 0.3])
    assert scan["mu"].attrs["mode"] == "fluorescence"
    assert scan.attrs["left_out"] == "i1 = I1: reads 0 at the median, no beam"
    newer = tuple(name.replace(".", "_") for name in DETECTOR)
    again = READER.read(_write(tmp_path, _text(newer, COUNTS)))
    np.testing.assert_array_equal(again["mu"], scan["mu"])


def test_bad_elements_are_left_out_by_naming_the_good(tmp_path: Path) -> None:
    file = _write(tmp_path, _text(DETECTOR, COUNTS))
    scan = READER.read(file, fluorescence=["SCA1.2"])
    np.testing.assert_array_equal(scan["fluorescence"][0], [2, 20, 200])
    with pytest.raises(FormatError, match=r"fluorescence=: 'SCA1.9' is no column"):
        READER.read(file, fluorescence="SCA1.9")


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    names = (*NAMES[:3], "I1", "I0", "I2")
    np.testing.assert_allclose(
        READER.read(_write(tmp_path, _text(names)))["mu"][0], -np.log([2, 4, 4])
    )


def test_weights_are_reported(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text(weights="1.000 1.000 2.000 1.000")))
    assert scan["i1"].values[0, 0] == 1000
    assert scan.attrs["doubts"] == "weights {'I1': '2.000'} are not applied"


def test_descending_windows_and_kev(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _text()))
    turned = _text(rows="".join(reversed(ROWS.splitlines(keepends=True))))
    for text in (turned, turned.replace("\n", "\r\n")):
        again = READER.read(_write(tmp_path, text.encode("latin-1")))
        np.testing.assert_array_equal(again["energy"], scan["energy"])
        np.testing.assert_array_equal(again["mu"], scan["mu"])
    in_kev = _text(
        rows=ROWS.replace("25500.002", "25.5")
        .replace("25514.002", "25.514")
        .replace("25600.002", "25.6")
    )
    with pytest.raises(FormatError, match=r"Achieved Energy: 25.5 to 25.6; no energies in eV"):
        READER.read(_write(tmp_path, in_kev))
    kev = READER.read(_write(tmp_path, in_kev), energy_unit="keV")
    np.testing.assert_allclose(kev["energy"], [25500, 25514, 25600])


def test_an_aborted_sweep_is_told(tmp_path: Path) -> None:
    assert READER.read(_write(tmp_path, _text(points=455))).attrs["truncated"] == "3 of 455 points"
    assert "cut short" in READER.read(_write(tmp_path, _text()[:-15])).attrs["truncated"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SSRL\n", "line 1: 'SSRL'; expected 'SSRL   EXAFS Data Collector'"),
        ("SSRL   EXAFS Data Collector 1.3\n\x00\n", "must be exported as ASCII"),
        (_text().replace("COLS", "ROWS"), "line 3: .*expected 'PTS: n COLS: n'"),
        (_text().replace("Sun May 21", "Someday"), "line 2: 'Someday"),
        (_text().replace("May 21", "May 32"), "line 2: .*out of range"),
        (_text().replace("Data: \n", "\n"), "no line 'Data:' below the comments"),
        (_text().replace("Weights:", "W:"), "no line 'Weights:'"),
        (_text(weights="1 one"), "expected a weight for every column"),
        (_text().replace(f"{'I2':<18}\n", ""), "line 20: 6 lines; expected 6 names"),
        (_text(rows=ROWS.replace(" 500.0", "", 1)), "line 28: 6 numbers; expected 5 as in line 27"),
        (_text((*NAMES[:1], "a", "b", *NAMES[3:])), "no 'Achieved Energy' or 'Requested Energy'"),
        (_text((*NAMES[:3], "a", "b", "c")), "counters: none; name columns for i0="),
        (_text(rows=""), "no numbers"),
    ],
)
def test_what_is_no_sweep_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_write(tmp_path, text))


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    survives_damage(READER, _text(DETECTOR, COUNTS).encode(), "sweep_001.dat", frames=1)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", MINE)
def test_an_edge_comes_out_at_the_element_of_the_comment(shared_data: Path, name: str) -> None:
    """Ag:Cys with AGK16.RGN, and GeKedgek9.rgn."""
    scan = READER.read(File(shared_data / "formats" / "xas" / "beamline_formats" / name))
    found = larch("xafs.pre_edge").preedge(
        scan["energy"].values.copy(), scan["mu"].values[0].copy()
    )
    assert found["e0"] == pytest.approx(xraydb.xray_edge(*MINE[name]).energy, abs=10)
    assert found["edge_step"] > 0.5


@pytest.mark.shared_data
def test_only_its_own_files_are_claimed(shared_data: Path) -> None:
    files = [path for path in (shared_data / "formats" / "xas").rglob("*") if path.is_file()]
    claimed = {path.name for path in files if READER.sniff(path.read_bytes()[: 1 << 16], path.name)}
    assert claimed == set(MINE)
    binary = b"SSRL   EXAFS Data Collector 1.3\n\x00Sun May 21 00:13:57 2006\n\x00"
    assert not READER.sniff(binary, "sweep.001")
