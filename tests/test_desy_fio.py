"""DESY .fio: names without that of the scan, proven counters, the clock of both machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xraydb

from operando_readers._reader import File, FormatError
from operando_readers.desy_fio import READER

I0, I1, IREF = np.array([1000.0, 1000, 800]), np.array([500.0, 250, 100]), np.array([100.0, 50, 30])
ENERGY = np.array([8970.0, 8980, 8990])
NAMES = ("", "", "_DELTA", "_SAMPLE_TIME", "_REF", "_C1", "_C2", "_C3")


def _doris(
    *,
    names: tuple[str, ...] = NAMES,
    energy: np.ndarray = ENERGY,
    mu: np.ndarray | None = None,
    started: str = "EXAFS-Scan started at 28-Mar-2001 21:30:02",
    planned: str = "8990",
) -> str:
    """Return a file as DORIS wrote it."""
    header = f"! \n! Comment \n%c \n {started}  \n Name: cu_1 from 8970 to {planned}  \n größer \n"
    header += "!\n! Energy       Delta        Sample_Time  Edge         Power \n! \n! Data \n%d \n"
    header += "".join(f" Col {n} CU_1{name}  FLOAT \n" for n, name in enumerate(names, 1))
    own = np.log(I0 / I1) if mu is None else mu
    columns = {
        "": own,
        "_DELTA": [10, 10, 10],
        "_SAMPLE_TIME": [2, 2, 3],
        "_HHENERGY": energy + 0.5,
    }
    columns |= {"_REF": np.log(I1 / IREF), "_C1": I0, "_C2": I1, "_C3": IREF}
    rows = []
    for point in range(3):
        row = [energy[point], *(columns[name][point] for name in names[1:])]
        rows.append("".join(f"{value:15.7g}" for value in row) + " \n")
    return header + "".join(rows)


PETRA = """!
! Comments
!
%c
 ascan energy 8.97 8.99 2 1
user p65user Acquisition started at Tue Jul 13 11:36:13 2021
!
! Parameter
!
%p
abs = 0.5
!
! Data
!
%d
 Col 1 energy_kev DOUBLE
 Col 2 I0 DOUBLE
 Col 3 I1 DOUBLE
 Col 4 fluo_sum DOUBLE
8.97 1000 500 10
8.98 1000 250 20
8.99 1000 125 30
! Acquisition ended at Tue Jul 13 11:36:43 2021
"""


def _write(folder: Path, text: str | bytes) -> File:
    path = folder / "cu_1.fio"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return File(path)


def test_a_scan_of_doris(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _doris()))
    np.testing.assert_array_equal(scan["energy"], ENERGY)
    np.testing.assert_allclose(scan["mu"][0], np.log(I0 / I1), rtol=1e-6)
    np.testing.assert_allclose(scan["mu_reference"][0], np.log(I1 / IREF), rtol=1e-6)
    assert scan["mu"].attrs["mode"] == "file"
    np.testing.assert_array_equal(scan["i1"][0], I1)
    np.testing.assert_array_equal(scan["iref"][0], IREF)
    assert scan["exposure"].values == [7.0]
    assert scan.attrs["clock"] == {
        "start": "2001-03-28T21:30:02",
        "zone": None,
        "marks": "start",
        "source": "header",
        "sigma_s": 0.5,
    }
    assert "größer" in scan.attrs["original_metadata"]["header"]
    assert "truncated" not in scan.attrs


def test_counters_have_to_be_proven(tmp_path: Path) -> None:
    """Where absorption is made of something else, C1 and C2 are not what they usually are."""
    scan = READER.read(_write(tmp_path, _doris(mu=np.array([0.1, 0.5, 0.6]))))
    np.testing.assert_allclose(scan["mu"][0], [0.1, 0.5, 0.6])
    assert not {"i0", "iref"} & set(scan.variables)
    assert scan.attrs["left_out"] == "C1, C2: mu is not ln(C1/C2)"
    named = READER.read(_write(tmp_path, _doris(mu=np.ones(3))), mu="", i0="C1", i1="C2")
    np.testing.assert_allclose(named["mu"][0], np.log(I0 / I1))
    assert named["mu"].attrs["mode"] == "transmission"


def test_options_name_columns(tmp_path: Path) -> None:
    names = ("", "", "_HHENERGY", *NAMES[3:])
    scan = READER.read(_write(tmp_path, _doris(names=names)), energy="HHENERGY")
    np.testing.assert_array_equal(scan["energy"], ENERGY + 0.5)
    other = READER.read(_write(tmp_path, _doris()), i0="C1", fluorescence=["C2", "C3"])
    np.testing.assert_allclose(other["mu_fluorescence"][0], (I1 + IREF) / I0)
    for options, message in (
        ({"energy": "C9"}, "none is 'C9', pass energy="),
        ({"mu": "C9"}, "mu=: 'C9' is no column; there are"),
        ({"i0": "C9"}, "i0=: 'C9' is no column"),
    ):
        with pytest.raises(FormatError, match=message):
            READER.read(_write(tmp_path, _doris()), **options)


def test_a_scan_of_petra(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"energy_kev: 8.97 to 8.99; .* energy_unit='keV'"):
        READER.read(_write(tmp_path, PETRA))
    scan = READER.read(_write(tmp_path, PETRA), energy_unit="keV")
    np.testing.assert_allclose(scan["energy"], ENERGY)
    np.testing.assert_allclose(scan["mu"][0], np.log([2, 4, 8]))
    np.testing.assert_allclose(scan["mu_fluorescence"][0], [0.01, 0.02, 0.03])
    assert scan.attrs["clock"]["start"] == "2021-07-13T11:36:13"
    assert scan["exposure"].values == [30.0]
    early = PETRA.replace("11:36:43", "11:35:43")
    with pytest.raises(FormatError, match=r"ended at: .* before 'Tue Jul 13 11:36:13 2021'"):
        READER.read(_write(tmp_path, early), energy_unit="keV")


def test_descending_twice_measured_and_windows_lines(tmp_path: Path) -> None:
    text = _doris(energy=np.array([8990.0, 8980, 8980]))
    for content in (text.encode(), text.replace("\n", "\r\n").encode("latin-1")):
        scan = READER.read(_write(tmp_path, content))
        np.testing.assert_array_equal(scan["energy"], [8980, 8990])
        np.testing.assert_allclose(scan["mu"][0], [np.log(np.sqrt(32)), np.log(2)], rtol=1e-6)


def test_a_scan_that_ends_early_is_told(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _doris(planned="10197.44")))
    assert scan.attrs["truncated"] == "ends at 8990 of 10197.44 eV"
    cut = READER.read(_write(tmp_path, _doris()[:-40]))
    assert cut.sizes["energy"] == 2
    assert cut.attrs["truncated"].startswith("line 22: cut short")


def test_dates(tmp_path: Path) -> None:
    scan = READER.read(_write(tmp_path, _doris(started="no date here")))
    assert scan.attrs["clock"]["source"] == "none"
    assert scan.attrs["clock"]["start"] is None
    for stamp, message in (("31-Feb-2001 21:30:02", "day is out of range"), ("soon", "'soon'")):
        with pytest.raises(FormatError, match=f"started at: .*{message}"):
            READER.read(_write(tmp_path, _doris(started=f"EXAFS-Scan started at {stamp}")))


def test_what_is_no_scan_is_refused(tmp_path: Path) -> None:
    text = _doris()
    for broken, message in (
        ("", "line 1: no '%d' so far"),
        (text[: text.index("   8970")], "no rows below '%d'"),
        (text.replace(" Col 8 CU_1_C3  FLOAT \n", ""), "line 19: 8 columns under 7 names"),
        (text.replace("8980", "beam"), "line 21: .*expected numbers"),
        (text.replace("8980", "nan "), "energy: not all of 3 are energies"),
        (text.replace("Col 1 CU_1 ", "Col 1 OTHER "), "none is 'energy', pass energy="),
    ):
        with pytest.raises(FormatError, match=message):
            READER.read(_write(tmp_path, broken))


@pytest.mark.parametrize("text", [_doris(), PETRA], ids=["doris", "petra"])
def test_damage_is_refused_or_leaves_a_valid_series(
    survives_damage: Callable[..., None], text: str
) -> None:
    survives_damage(READER, text.encode(), "cu_1.fio", frames=1)


def test_what_is_sniffed() -> None:
    assert READER.sniff(_doris().encode(), "cu_1.fio")
    assert READER.sniff(PETRA.encode(), "cu_1.fio")
    for other in (PETRA.replace("energy_kev", "omega").encode(), b"%c\n%d\n", b""):
        assert not READER.sniff(other, "cu_1.fio")


@pytest.mark.shared_data
def test_copper_lies_at_its_edge(shared_data: Path) -> None:
    """And the file's own absorption is that of its chambers, which makes them I0, I1, Iref."""
    folder = shared_data / "formats" / "xas" / "beamline_formats"
    scan = READER.read(File(folder / "Cu_rt1.fio"))
    slope = np.gradient(scan["mu"].values[0], scan["energy"].values)
    assert scan["energy"].values[np.argmax(slope)] == pytest.approx(
        xraydb.xray_edge("Cu", "K").energy, abs=1
    )
    for name, above, below in (("mu", "i0", "i1"), ("mu_reference", "i1", "iref")):
        np.testing.assert_allclose(
            scan[name], np.log(scan[above].values / scan[below].values), atol=2e-6
        )
