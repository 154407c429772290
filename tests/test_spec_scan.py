"""SPEC files: many scans, three kinds of clock, columns by name, aborted scans, damage."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import operando
from operando.model import FRAME_FLAGS
from operando_readers._larch import larch
from operando_readers._reader import File, FormatError
from operando_readers.claess_text import READER as CLAESS
from operando_readers.spec_scan import READER

ZERO = calendar.timegm((2024, 5, 4, 8, 0, 0))
"""Of ``#E``: 2024-05-04T08:00:00 UTC, ten o'clock at Grenoble."""
NAMES = ["energy", "Epoch", "Seconds", "I0", "I1", "I2"]
ENERGIES = np.arange(8320.0, 8360.0, 10.0)


def _date(seconds: float, *, offset_h: int = 2) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(seconds + 3600 * offset_h))


def _opening(zero: int = ZERO) -> str:
    return f"#F cell.dat\n#E {zero}\n#D {_date(zero)}\n#C fourc  User = größer\n#O0 tth  th\n\n"


def _scan(
    number: int,
    *,
    at: float,
    names: list[str] = NAMES,
    energies: np.ndarray = ENERGIES,
    i1: float = 500.0,
    command: str = "ascan energy 8320 8350 3 2",
    zero: int = ZERO,
    date: str | None = None,
    rows: int | None = None,
) -> str:
    """Return a scan that begins `at` seconds after `zero`: 2 s a point, a second to move."""
    told = _date(zero + at) if date is None else date
    text = f"\n#S {number}  {command}\n#D {told}\n#T 2  (Seconds)\n#N {len(names)}\n"
    text += f"#L {'  '.join(names)}\n"
    for point, energy in enumerate(energies[:rows]):
        known = {"energy": energy, "Epoch": at + 3 * point + 2, "Seconds": 2, "I0": 1000}
        known |= {"I1": i1 / (1 + point), "I2": i1 / (2 + 2 * point)}
        text += " ".join(f"{known.get(name, point):g}" for name in names) + "\n"
    return text


def _write(folder: Path, *parts: str, raw: bytes | None = None) -> File:
    path = folder / "cell.dat"
    path.write_bytes("".join(parts).encode() if raw is None else raw)
    return File(path)


def _ratios(points: int = 4) -> np.ndarray:
    return np.asarray(np.log(2.0 * np.arange(1, points + 1)))


def test_points_carry_the_clock(tmp_path: Path) -> None:
    file = _write(tmp_path, _opening(), _scan(1, at=100), _scan(2, at=700, i1=250))
    dataset = READER.read(file)
    assert dataset.attrs["clock"] == {
        "start": "2024-05-04T08:01:40",
        "zone": "UTC",
        "marks": "start",
        "source": "column",
        "sigma_s": 0.5,
    }
    np.testing.assert_array_equal(dataset["elapsed"], [0, 600])
    np.testing.assert_array_equal(dataset["exposure"], [11, 11])  # 4 x 2 s, 3 s between
    np.testing.assert_array_equal(dataset["scan"], [1, 2])
    np.testing.assert_allclose(dataset["mu"], [_ratios(), _ratios() + np.log(2)], rtol=1e-5)
    np.testing.assert_allclose(dataset["mu_reference"], np.log(2.0), rtol=1e-5)
    np.testing.assert_array_equal(dataset["dwell"], np.full((2, 4), 2.0))
    assert dataset["i1"].attrs["column"] == "I1"
    assert "größer" in dataset.attrs["original_metadata"]["header"]
    assert "truncated" not in dataset.attrs


def test_a_file_is_opened_again(tmp_path: Path) -> None:
    """The second ``#E`` is what ``Epoch`` counts from below it."""
    later = ZERO + 50_000
    again = _opening(later) + _scan(1, at=10, zero=later)
    dataset = READER.read(_write(tmp_path, _opening(), _scan(1, at=100), again))
    np.testing.assert_array_equal(dataset["elapsed"], [0, 50_000 + 10 - 100])
    np.testing.assert_array_equal(dataset["scan"], [1, 1])


def test_summer_time_ends_between_scans(tmp_path: Path) -> None:
    """At 01:00 UTC on 27 October 2024 clocks in Europe went from 03:00 back to 02:00."""
    zero = calendar.timegm((2024, 10, 27, 0, 0, 0))
    plain = [name for name in NAMES if name != "Epoch"]
    times = ((1800, 2), (4000, 1))
    for names in (NAMES, plain):
        scans = [
            _scan(n, at=at, zero=zero, names=names, date=_date(zero + at, offset_h=hours))
            for n, (at, hours) in enumerate(times, 1)
        ]
        file = _write(tmp_path, _opening(zero), *scans)
        if "Epoch" in names:
            np.testing.assert_array_equal(READER.read(file)["elapsed"], [0, 2200])
            continue
        with pytest.raises(FormatError, match=r"scan 2 begins at 27 Oct 2024 02:06:40, before"):
            READER.read(file)
        second = READER.read(file, scans="2")
        assert second.attrs["clock"]["start"] == "2024-10-27T02:06:40"
        assert second.attrs["clock"]["zone"] is None
        assert second["exposure"].values == [8.0]


def test_clocks_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for old, new, message in (
        (f"#E {ZERO}", f"#E {ZERO - 864_000}", "scan 1: .* no time zone explains it"),
        (f"#E {ZERO}", "#E soon", "scan 1: #E 'soon'; expected Unix seconds"),
        (" 105 2 ", " 101 2 ", "scan 1, Epoch: missing or running backwards"),
        ("#D Sat May 04 10:01:40", "#D Sat Foo 04 10:01:40", "month 'Foo' is not known"),
    ):
        text = (_opening() + _scan(1, at=100)).replace(old, new)
        with pytest.raises(FormatError, match=message):
            READER.read(_write(tmp_path, text))


SARDANA = """#S 7 ascanct mono1_energy 7100 7160 3 0.5 0.1
#U user
#D {date}
#C Acquisition started at {started}
#N 5
#@MCA 16
#L #Pt_No  mono1_energy  i0  albaem02_ti  fluo_größe  dt
@A 1 2 3 \\
4 5 6
0 7100 10 0.5 1 0.25
@A 1 2 3
1 7120 10 0.5 2 0.85
2 7140 10 0.5 3 1.45
3 7160 10 0.5 4 2.05
#C Acquisition ended at {ended}
"""


@pytest.mark.parametrize(
    ("date", "zone", "start"),
    [
        ("Sat Feb 25 12:30:06 2023", None, "2023-02-25T12:30:06"),
        ("2023-02-25T12:30:06.5+01:00", "UTC", "2023-02-25T11:30:06.750000"),
        ("1677324606", "UTC", "2023-02-25T11:30:06"),
    ],
)
def test_sardana(tmp_path: Path, date: str, zone: str | None, start: str) -> None:
    """Spectra of an MCA between the rows, names that are not ASCII, three ways to write a date."""
    text = SARDANA.format(date=date, started=date, ended="Sat Feb 25 12:30:10 2023")
    dataset = READER.read(_write(tmp_path, text))
    assert dataset.attrs["clock"]["start"] == start
    assert dataset.attrs["clock"]["zone"] == zone
    np.testing.assert_allclose(dataset["exposure"], [2.05 - 0.25 + 0.5])
    np.testing.assert_allclose(dataset["mu"][0], [0.1, 0.2, 0.3, 0.4])
    assert dataset["mu"].attrs["mode"] == "fluorescence"
    assert dataset["fluorescence"].attrs["column"] == "fluo_größe"


def test_without_stamps_of_points_a_scan_lasts_to_its_end(tmp_path: Path) -> None:
    date = "Sat Feb 25 12:30:06 2023"
    text = SARDANA.format(date=date, started=date, ended="Sat Feb 25 12:30:10 2023")
    assert READER.read(_write(tmp_path, text.replace("  dt", "  d_t")))["exposure"] == [4.0]
    late = text.replace("  dt", "  d_t").replace("12:30:10", "12:29:10")
    with pytest.raises(FormatError, match=r"scan 7: ends .* before it starts"):
        READER.read(_write(tmp_path, late))


def test_energies_in_kev(tmp_path: Path) -> None:
    kev = _opening() + _scan(1, at=0, energies=ENERGIES / 1000)
    with pytest.raises(FormatError, match=r"scan 1, energy: 8.32 to 8.35; .* energy_unit='keV'"):
        READER.read(_write(tmp_path, kev))
    found = READER.read(_write(tmp_path, kev), energy_unit="keV")
    np.testing.assert_allclose(found["energy"], ENERGIES)
    zap = kev.replace("energy  Epoch", "ZapEnergy  Epoch")
    np.testing.assert_allclose(READER.read(_write(tmp_path, zap))["energy"], ENERGIES)
    wrong = (_opening() + _scan(1, at=0)).replace("energy  Epoch", "ZapEnergy  Epoch")
    with pytest.raises(FormatError, match=r"ZapEnergy: up to 8.35e\+06 eV; .* pass energy_unit="):
        READER.read(_write(tmp_path, wrong))


def test_scans_are_chosen_by_number(tmp_path: Path) -> None:
    """Scans of a motor, of an energy that stands still, and without points are counted."""
    motor = _scan(2, at=100, names=["th", *NAMES[1:]], command="ascan th 0 1 3 2")
    still = _scan(3, at=200, energies=np.full(4, 8330.0), command="loopscan 4 2")
    parts = [_scan(n, at=100 * (n - 1)) for n in (1, 5, 6, 7)]
    text = [_opening(), parts[0], motor, still, _scan(4, at=300, rows=0), *parts[1:]]
    file = _write(tmp_path, *text)
    whole = READER.read(file)
    np.testing.assert_array_equal(whole["scan"], [1, 5, 6, 7])
    assert whole.attrs["original_metadata"]["skipped_scans"] == 3
    np.testing.assert_array_equal(READER.read(file, scans="2-5, 7")["scan"], [5, 7])
    for scans, message in (
        ("9", "scans: '9' are none of those in the file: 1, 2, 3, 4, 5, 6, 7"),
        ("one", "expected scan numbers such as '3-14,16'"),
        ("2-3", "none of 2 has an energy column .*2 ascan th 0 1 3 2; 3 loopscan"),
    ):
        with pytest.raises(FormatError, match=message):
            READER.read(file, scans=scans)


def test_edges_are_not_mixed(tmp_path: Path) -> None:
    other = _scan(2, at=100, energies=ENERGIES + 2000, command="ascan energy 10320 10350 3 2")
    file = _write(tmp_path, _opening(), _scan(1, at=0), other)
    with pytest.raises(FormatError, match=r"different edges; choose with scans=: 1 \(8320-8350 eV"):
        READER.read(file)
    assert READER.read(file, scans="2")["energy"].values[0] == 10320


def test_an_aborted_scan_is_kept_and_told(tmp_path: Path) -> None:
    aborted = (
        _scan(2, at=100, rows=2) + "#C Sat May 04 10:02:00 2024.  Scan aborted after 2 points."
    )
    file = _write(tmp_path, _opening(), _scan(1, at=0), aborted, "\n", _scan(3, at=200, rows=3))
    dataset = READER.read(file)
    np.testing.assert_array_equal(dataset["truncated"], [0, 1, 1])
    assert dataset.attrs["truncated"] == (
        "scan 2 was aborted, has 2 of 4 points; scan 3 has 3 of 4 points"
    )
    np.testing.assert_array_equal(np.isfinite(dataset["mu"].values).sum(axis=1), [4, 2, 3])
    front = operando.read(str(file), format="spec_scan")
    assert np.all(front["frame_flag"].values[1:] & FRAME_FLAGS["truncated"])
    np.testing.assert_array_equal(front["truncated"], [0, 1, 1])


@pytest.mark.parametrize("step", [10.0, -10.0])
def test_a_scan_aborted_at_its_beginning_is_kept(tmp_path: Path, step: float) -> None:
    energies = 8335 + step * (np.arange(12) - 5.5)
    command = f"ascan energy {energies[0]:g} {energies[-1]:g} 11 2"
    scans = [
        _scan(number, at=100 * number, energies=energies, command=command, rows=rows)
        for number, rows in ((1, 2), (2, 12))
    ]
    dataset = READER.read(_write(tmp_path, _opening(), *scans))
    np.testing.assert_array_equal(dataset["energy"], np.sort(energies))
    order = slice(None, None, int(np.sign(step)))
    measured = np.isfinite(dataset["mu"].values)[:, order]
    np.testing.assert_array_equal(measured, [[True] * 2 + [False] * 10, [True] * 12])
    np.testing.assert_array_equal(dataset["exposure"], [5, 35])
    assert "regridded" not in dataset.coords


def test_beam_lost_in_one_scan_of_a_series(tmp_path: Path) -> None:
    """It is a bad measurement, not a file without transmission."""
    file = _write(
        tmp_path, _opening(), *(_scan(n, at=100 * n, i1=500.0 * (n != 2)) for n in (1, 2, 3))
    )
    dataset = READER.read(file)
    np.testing.assert_array_equal(np.isfinite(dataset["mu"].values).sum(axis=1), [4, 0, 4])
    assert "left_out" not in dataset.attrs


def test_one_of_several_detectors_has_to_be_named(tmp_path: Path) -> None:
    names = ["energy", "I0", "Lytle", "mca1", "mca2", "Seconds", "Seconds"]
    rows = "8320 10 3 1 2 1 1\n8330 10 4 2 4 1 1\n8340 10 5 3 6 1 1\n"
    text = f"#S 1 ascan energy 8320 8340 2 1\n#L {'  '.join(names)}\n{rows}"
    file = _write(tmp_path, text)
    with pytest.raises(FormatError, match=r"several detectors count \(Lytle, mca1, mca2\); name"):
        READER.read(file)
    found = READER.read(file, fluorescence=["mca1", "mca2"])
    np.testing.assert_allclose(found["mu"][0], [0.3, 0.6, 0.9])
    assert found["fluorescence"].attrs["column"] == "mca1 + mca2"
    assert found.attrs["clock"]["source"] == "none"
    assert found.attrs["clock"]["start"] is None
    dark = _write(tmp_path, text.replace(" 10 3 ", " 10 0 ").replace(" 10 4 ", " 10 0 "))
    np.testing.assert_allclose(READER.read(dark)["mu"][0], [0.3, 0.6, 0.9])


def test_transmission_and_fluorescence_are_not_mixed(tmp_path: Path) -> None:
    other = _scan(2, at=100, names=["energy", "Epoch", "Seconds", "I0", "PIPS"])
    file = _write(tmp_path, _opening(), _scan(1, at=0), other)
    with pytest.raises(FormatError, match=r"scans \[1\] are transmission, \[2\] fluorescence only"):
        READER.read(file)


def test_scans_without_counters_are_left_out_beside_others(tmp_path: Path) -> None:
    bare = _scan(1, at=0, names=["energy", "Epoch", "Seconds", "diode"])
    dataset = READER.read(_write(tmp_path, _opening(), bare, _scan(2, at=100)))
    np.testing.assert_array_equal(dataset["scan"], [2])
    with pytest.raises(FormatError, match="counters: none; name columns for i0="):
        READER.read(_write(tmp_path, _opening(), bare))
    named = READER.read(_write(tmp_path, _opening(), bare), i0="Seconds", fluorescence="diode")
    np.testing.assert_allclose(named["mu"][0], [0, 0.5, 1.0, 1.5])


def test_descending_twice_measured_and_windows_lines(tmp_path: Path) -> None:
    order = np.array([8350.0, 8340, 8330, 8330, 8320])
    text = _opening() + _scan(1, at=0, energies=order, command="ascan energy 8350 8320 4 2")
    for content in (text.encode(), text.replace("\n", "\r\n").encode("latin-1")):
        dataset = READER.read(_write(tmp_path, raw=content))
        np.testing.assert_array_equal(dataset["energy"], [8320, 8330, 8340, 8350])
        mu = np.log(2.0 * np.array([5, np.sqrt(12), 2, 1]))  # the mean of ln 6 and ln 8
        np.testing.assert_allclose(dataset["mu"][0], mu, rtol=1e-5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(order=st.permutations(NAMES))
def test_columns_are_found_by_name(tmp_path: Path, order: list[str]) -> None:
    texts = [_opening() + _scan(1, at=0, names=names) for names in (NAMES, order)]
    one, other = (READER.read(_write(tmp_path, text)) for text in texts)
    assert one.drop_attrs().equals(other.drop_attrs())


def test_damage_is_refused_or_leaves_a_valid_series(survives_damage: Callable[..., None]) -> None:
    whole = (_opening() + _scan(1, at=0) + _scan(2, at=100)).encode()
    survives_damage(READER, whole, "cell.dat", frames=2)


def test_a_file_cut_in_a_row_or_in_a_header(tmp_path: Path) -> None:
    text = _opening() + _scan(1, at=0) + _scan(2, at=100)
    dataset = READER.read(_write(tmp_path, text[:-3]))
    assert dataset.attrs["truncated"].startswith("scan 2 has 3 of 4 points, ends in line 26: cut")
    header = text[: text.index("#N 6", text.index("#S 2"))]
    assert READER.read(_write(tmp_path, header)).sizes["time"] == 1
    for broken, message in (
        ("", "no '#S' line"),
        (text.replace("#L", "#M"), "scan 1, line 13: rows without '#L' above"),
        (text.replace("energy  Epoch", "energy Epoch"), ""),
        (text.replace("energy  Epoch", "energy"), "scan 1, line 13: 6 columns under 5 or 5 names"),
        (text.replace("#S 1", "#S one"), "line 8: '#S one .*expected '#S', a number"),
        (text.replace(" 105 2 ", " 105 x "), "line 24: .*expected numbers"),
        ("8320 1\n" + text, "line 1: '8320 1'; expected '#S' above it"),
    ):
        file = _write(tmp_path, broken)
        if not message:
            assert READER.read(file).sizes["time"] == 2  # names parted by one blank
            continue
        with pytest.raises(FormatError, match=message):
            READER.read(file)


def test_what_is_sniffed() -> None:
    head = (_opening() + _scan(1, at=0)).encode()
    assert READER.sniff(head, "cell.dat")
    for other in (
        b"# XDI/1.0\n# Column.1: energy eV\n#----\n1 2\n",
        head.replace(b"energy", b"th"),
        b"#S 1 x\n#L Pt_No  energy  energyc  a_i0i1_timer  a_i0_1  a_i1_1  timestamp\n",
        b"",
    ):
        assert not READER.sniff(other, "cell.dat")


@pytest.mark.shared_data
def test_claess_scans_read_alike(shared_data: Path) -> None:
    """Their own reader finds the same spectra and times in these files."""
    folder = shared_data / "operando" / "xas_mn_zn_claess" / "Data" / "Electrodep_C_P1" / "Mn"
    for path in sorted(folder.glob("*.dat"))[::9]:
        own, mine = CLAESS.read(File(path)), READER.read(File(path))
        for name in ("energy", "mu", "i0", "i1"):
            np.testing.assert_array_equal(mine[name], own[name])
        assert mine.attrs["clock"]["start"][:23] == own.attrs["clock"]["start"][:23]
        np.testing.assert_allclose(mine["exposure"], own["exposure"])


@pytest.mark.shared_data
def test_the_iron_foil_of_balder_has_the_published_step(shared_data: Path) -> None:
    """ParSeq-XAS publishes E0 = 7120.8646 eV and a jump of 2.397 for it, with other backgrounds."""
    path = shared_data / "formats" / "xas" / "beamline_formats" / "Fe-foil_EXAFS_23147.dat"
    scan = READER.read(File(path))
    found = larch("xafs.pre_edge").preedge(
        scan["energy"].values,
        scan["mu"].values[0],
        e0=7120.8646,
        pre1=-180,
        pre2=-50,
        norm1=40,
        norm2=400,
        nnorm=2,
        nvict=0,
    )
    assert found["edge_step"] == pytest.approx(2.397, rel=0.015)


@pytest.mark.shared_data
def test_germanium_of_snbl_lies_at_its_edge(shared_data: Path) -> None:
    path = shared_data / "formats" / "xas" / "beamline_formats" / "ESRF_SNBL_2013.dat"
    dataset = READER.read(File(path))
    slope = np.gradient(dataset["mu"].values, dataset["energy"].values, axis=1)
    edge = dataset["energy"].values[np.argmax(slope, axis=1)]
    np.testing.assert_allclose(edge, 11_103 + 5, atol=5)  # Ge K; GeO2 lies some eV above the metal
    assert dataset.attrs["left_out"] == "fluorescence = xmap_roi00: reads 0 at the median, no beam"
