"""Impedance exports of four vendors: layouts, signs, several sweeps, damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from operando_readers import (
    autolab_impedance,
    chi_impedance,
    gamry_impedance,
    parstat_impedance,
    powersuite_impedance,
)
from operando_readers._reader import File, FormatError, Reader

Complex = npt.NDArray[np.complex128]
FREQUENCY = np.array([1e4, 1e3, 100.0, 10.0, 1.0])
READERS: dict[str, Reader] = {
    "z60w": autolab_impedance.READER,
    "nova": autolab_impedance.READER,
    "chi": chi_impedance.READER,
    "parstat": parstat_impedance.READER,
    "powersuite": powersuite_impedance.READER,
}


def arc(frequency: npt.ArrayLike = FREQUENCY, *, size: float = 20.0) -> Complex:
    """Impedance of 5 ohm in series with a resistor beside 1 mF: a capacitive arc."""
    omega = 2 * np.pi * np.asarray(frequency, np.float64)
    return np.asarray(5 + size / (1 + 1j * omega * size * 1e-3), np.complex128)


def joined(rows: Sequence[Sequence[object]], mark: str) -> str:
    return "".join(mark.join(str(value) for value in row) + "\n" for row in rows)


def z60w(frequency: npt.ArrayLike = FREQUENCY, impedance: Complex | None = None) -> str:
    """As NOVA writes it: with quotes, and zeros for what it leaves out."""
    values = arc(frequency) if impedance is None else impedance
    points = np.asarray(frequency, float).tolist()
    rows = [[f, 0, 0, 0, z.real, z.imag, 0, 0, 0] for f, z in zip(points, values, strict=True)]
    head = '"Z60W Data File: Version 1.1"\n' + '""\n' * 7 + f"0,2,0,1,0.1,10000\n{len(rows)}\n"
    names = "\"  Freq (Hz)    Ampl     Bias   Time(Sec)   Z'(a)    Z''(b)    GD   Err   Range\"\n"
    return head + names + joined(rows, ",")


def nova(
    frequency: npt.ArrayLike = FREQUENCY,
    *,
    mark: str = ";",
    comma: bool = False,
    negative: bool = True,
) -> str:
    """As the ASCII export of NOVA 2.1; it writes -Z'' unless it is told otherwise."""
    points = np.asarray(frequency, float).tolist()
    sign = -1 if negative else 1
    rows = [
        [at + 1, f, z.real, sign * z.imag, abs(z), 0.0, 2.5 * at + 40]
        for at, (f, z) in enumerate(zip(points, arc(frequency), strict=True))
    ]
    minus = "-" if negative else ""
    names = f"Index|Frequency (Hz)|Z' (Ω)|{minus}Z'' (Ω)|Z (Ω)|-Phase (°)|Time (s)\n"
    body = joined(rows, "|")
    return (names + (body.replace(".", ",") if comma else body)).replace("|", mark)


def chi(frequency: npt.ArrayLike = FREQUENCY, *, date: str = "Feb. 20, 2020   15:55:08") -> str:
    points = np.asarray(frequency, float).tolist()
    lines = [date, "A.C. Impedance", "File: run unsaved", "Data Source:  Experiment"]
    lines += ["Instrument Model:  CHI660E", "Header: ", "Note: ", "", "Init E (V) = 0", ""]
    lines += ["Freq/Hz, Z'/ohm, Z\"/ohm, Z/ohm, Phase/deg", "", ""]
    rows = [
        [f"{v:.9e}" for v in (f, z.real, z.imag, abs(z))] + ["-45.0"]
        for f, z in zip(points, arc(frequency), strict=True)
    ]
    return "\n".join(lines) + joined(rows, ", ")


PARSTAT = "Potential (V)\tCurrent (A)\tElapsed Time (s)\tFrequency (Hz)\tZre (ohms)\tZim (ohms)"


def parstat(*blocks: npt.ArrayLike) -> str:
    """Two rows of log before each sweep, ten seconds apart; a point every 2.5 s."""
    lines, time = [PARSTAT + "\t|Vac| (V)\t|Iac| (A)\t"], 0.0
    for at, block in enumerate(blocks or (FREQUENCY,)):
        for _ in range(2):
            time += 10
            lines.append(f"3.5\t-0.15\t{time}\t0\t0\t0\t0\t0\t")
        for f, z in zip(np.asarray(block, float).tolist(), arc(block), strict=True):
            time += 2.5
            lines.append(f"{3.5 + at}\t0.02\t{time}\t{f}\t{z.real}\t{z.imag}\t0.01\t0.1\t")
    return "\n".join(lines) + "\n"


def powersuite(frequency: npt.ArrayLike = FREQUENCY) -> str:
    points = np.asarray(frequency, float).tolist()
    rows = [[f, f" {z.real}", f" {z.imag}"] for f, z in zip(points, arc(frequency), strict=True)]
    return ("Frequency\t Zre\t Zimg\n" + joined(rows, "\t")).replace("\n", "\r\r\n")


WRITERS: dict[str, Callable[..., str]] = {
    "z60w": z60w,
    "nova": nova,
    "chi": chi,
    "parstat": parstat,
    "powersuite": powersuite,
}


def read(folder: Path, kind: str, content: str | bytes) -> xr.Dataset:
    path = folder / "a.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return READERS[kind].read(File(path))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("upwards", [False, True])
def test_a_sweep_comes_back(tmp_path: Path, kind: str, upwards: bool) -> None:
    frequency = FREQUENCY[::-1] if upwards else FREQUENCY
    found = read(tmp_path, kind, WRITERS[kind](frequency))
    assert dict(found.sizes) == {"frequency": 5, "time": 1}
    assert found["frequency"].values.tolist() == FREQUENCY[::-1].tolist()
    assert found["impedance"].values[0] == pytest.approx(arc(FREQUENCY[::-1]), rel=1e-9)
    assert found["impedance"].dtype == np.complex128
    assert found.attrs["technique"] == READERS[kind].technique == "impedance"
    assert found.attrs["clock"]["marks"] == "start"
    assert found.attrs["clock"]["zone"] is None
    assert found.attrs["original_metadata"]["header"]
    assert "truncated" not in found.attrs


@pytest.mark.parametrize("kind", WRITERS)
def test_several_sweeps_are_rows_of_time(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, kind, WRITERS[kind](np.tile(FREQUENCY, 3)))
    assert dict(found.sizes) == {"frequency": 5, "time": 3}
    expected = np.tile(arc(FREQUENCY[::-1]), (3, 1))
    assert found["impedance"].values == pytest.approx(expected, rel=1e-9)
    assert "repeated_points" not in found.attrs


@pytest.mark.parametrize("kind", WRITERS)
def test_each_claims_its_own_and_no_other(kind: str) -> None:
    head = WRITERS[kind]().encode("utf-8")
    claiming = [name for name, reader in READERS.items() if reader.sniff(head, "a.txt")]
    alike = {"z60w": ["z60w", "nova"], "nova": ["z60w", "nova"]}
    assert claiming == alike.get(kind, [kind])
    assert not READERS[kind].sniff(b"\x00" * 100, "a.txt")
    assert not READERS[kind].sniff(b"", "a.txt")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_marks_of_encodings(
    tmp_path: Path, kind: str, line_end: str, encoding: str
) -> None:
    plain = WRITERS[kind]().replace("\r\r\n", "\n")
    found = read(tmp_path, kind, plain.replace("\n", line_end).encode(encoding))
    xr.testing.assert_identical(
        found.drop_attrs(), read(tmp_path, kind, WRITERS[kind]()).drop_attrs()
    )


@pytest.mark.parametrize("mark", [";", "\t", ","])
@pytest.mark.parametrize("comma", [False, True])
@pytest.mark.parametrize("negative", [False, True])
def test_nova_in_any_language(tmp_path: Path, mark: str, comma: bool, negative: bool) -> None:
    """The name of the column carries the sign; a comma is never both separator and mark."""
    content = nova(mark=mark, comma=comma, negative=negative)
    if comma and mark == ",":
        with pytest.raises(FormatError, match="columns under 7 names"):
            read(tmp_path, "nova", content)
        return
    found = read(tmp_path, "nova", content)
    assert found["impedance"].values[0] == pytest.approx(arc(FREQUENCY[::-1]), rel=1e-12)
    assert (found["impedance"].values.imag < 0).all()


def test_nova_with_both_decimal_marks_is_refused(tmp_path: Path) -> None:
    content = nova(comma=True).replace("10000,0", "10000.0")
    with pytest.raises(FormatError, match="commas and points"):
        read(tmp_path, "nova", content)


def test_nova_counts_time_and_z60w_leaves_it_out(tmp_path: Path) -> None:
    found = read(tmp_path, "nova", nova(np.tile(FREQUENCY, 2)))
    assert found["elapsed"].values.tolist() == [40.0, 52.5]
    assert found["exposure"].values.tolist() == [10.0, 10.0]
    assert found["point_time"].values[1].tolist() == [10.0, 7.5, 5.0, 2.5, 0.0]
    assert "elapsed" not in read(tmp_path, "z60w", z60w()).coords
    timed = z60w().replace(",0,0,0,", ",0,0,3,")
    assert read(tmp_path, "z60w", timed)["elapsed"].values.tolist() == [3.0]


def test_z60w_tells_how_many_points_it_had(tmp_path: Path) -> None:
    content = z60w().rpartition("1.0,0,0,0,")[0]
    assert read(tmp_path, "z60w", content).attrs["truncated"] == "4 of 5 points"


@pytest.mark.parametrize(
    ("date", "start"),
    [
        ("Feb. 20, 2020   15:55:08", "2020-02-20T15:55:08"),
        ("March 3, 2024   01:02:00", "2024-03-03T01:02:00"),
        ("May 13, 2021   23:00:00", "2021-05-13T23:00:00"),
        ("Sept. 9, 2022   09:08:07", "2022-09-09T09:08:07"),
        ("Dec. 31, 2025   00:00:00", "2025-12-31T00:00:00"),
        ("", None),
    ],
)
def test_date_of_a_chi_file(tmp_path: Path, date: str, start: str | None) -> None:
    found = read(tmp_path, "chi", chi(date=date))
    assert found.attrs["clock"]["start"] == start
    assert found.attrs["clock"]["source"] == ("none" if start is None else "header")
    assert "exposure" not in found.coords


@pytest.mark.parametrize(
    "date", ["Feb. 30, 2020   15:55:08", "Foo. 1, 2020   01:00:00", "20/2/20x"]
)
def test_a_date_that_is_none(tmp_path: Path, date: str) -> None:
    with pytest.raises(FormatError, match="line 1"):
        read(tmp_path, "chi", chi(date=date))


def test_parstat_sweeps_lie_within_the_log(tmp_path: Path) -> None:
    """A sweep begins with the row before its first point, whose own stamp is its end."""
    found = read(tmp_path, "parstat", parstat(FREQUENCY, FREQUENCY[:3]))
    assert found["elapsed"].values.tolist() == [20.0, 52.5]
    assert found["exposure"].values.tolist() == [12.5, 7.5]
    assert found["point_time"].values[0].tolist() == [12.5, 10.0, 7.5, 5.0, 2.5]
    assert found["potential"].values[0].tolist() == [3.5] * 5
    assert np.isnan(found["impedance"].values[1, :2]).all()
    assert found["potential"].values[1, 2:].tolist() == [4.5] * 3


def test_parstat_sweeps_without_log_between(tmp_path: Path) -> None:
    found = read(tmp_path, "parstat", parstat(np.tile(FREQUENCY, 2)))
    assert found["elapsed"].values.tolist() == [20.0, 32.5]
    names, _, _, *points = parstat().splitlines()
    first = "\n".join([names, *points]) + "\n"
    assert read(tmp_path, "parstat", first)["elapsed"].values.tolist() == [22.5]


def test_a_parstat_log_without_sweep_is_not_claimed(tmp_path: Path) -> None:
    log = parstat([])
    assert not parstat_impedance.sniff(log.encode(), "a.txt")
    with pytest.raises(FormatError, match="a log of the cell but no sweep"):
        read(tmp_path, "parstat", log)
    long = (parstat([]).splitlines()[1] + "\n") * 3000
    head = (parstat([]) + long).encode()[: 1 << 16]
    assert parstat_impedance.sniff(head, "a.txt")


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("z60w", "Z''(b)", "Z", "expected a row of names"),
        ("z60w", "Ampl     Bias", "Ampl", "9 columns under 8 names"),
        ("nova", "Z' (Ω)", "R (Ω)", "expected a row of names"),
        ("nova", ";Z (Ω)", "", "7 columns under 6 names"),
        ("chi", 'Z"/ohm', "X/ohm", "no column"),
        ("chi", "A.C. Impedance", "Cyclic Voltammetry", "A.C. Impedance"),
        ("chi", ", -45.0", "", "4 columns under 5 names"),
        ("parstat", "Zre (ohms)", "Zre", r"no column \['Zre \(ohms\)'\]"),
        ("parstat", "\t|Vac| (V)", "", "8 columns under 7 names"),
        ("powersuite", "Zimg", "Z", "expected 'Frequency Zre Zimg'"),
        ("powersuite", "100.0", "100.0\t3", "numbers"),
        ("powersuite", "100.0", "soon", "expected numbers"),
        ("powersuite", "100.0", "-100.0", "point 3"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, kind: str, old: str, new: str, message: str
) -> None:
    content = WRITERS[kind]()
    assert old in content
    with pytest.raises(FormatError, match=message):
        read(tmp_path, kind, content.replace(old, new))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_missing_point_is_missing_in_both_parts(tmp_path: Path, kind: str) -> None:
    whole = read(tmp_path, kind, WRITERS[kind]())
    values = arc()
    text = {"chi": f"{values[2].imag:.9e}", "nova": str(-values[2].imag)}
    content = WRITERS[kind]().replace(text.get(kind, str(values[2].imag)), "nan")
    found = read(tmp_path, kind, content)["impedance"].values[0]
    assert np.isnan(found[2].real)
    assert np.isnan(found[2].imag)
    assert np.delete(found, 2).tolist() == np.delete(whole["impedance"].values[0], 2).tolist()


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_cut_anywhere(tmp_path: Path, kind: str) -> None:
    content = WRITERS[kind](np.tile(FREQUENCY, 2)).encode("utf-8")
    whole = read(tmp_path, kind, content)
    for cut in range(0, len(content), 3):
        try:
            part = read(tmp_path, kind, content[:cut])
        except FormatError:
            continue
        assert part.sizes["time"] <= whole.sizes["time"]
        assert part.sizes["frequency"] <= whole.sizes["frequency"]


def test_a_cut_powersuite_file_keeps_no_half_number(tmp_path: Path) -> None:
    """Its last column is the imaginary part: a row without its line end is left out."""
    content = powersuite().encode()
    whole = read(tmp_path, "powersuite", content)
    for cut in range(len(content) - 25, len(content) - 3):
        part = read(tmp_path, "powersuite", content[:cut])
        xr.testing.assert_equal(part, whole.isel(frequency=slice(1, None)))
        assert "cut short" in part.attrs["truncated"]


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(sorted(WRITERS)),
    flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes(
    kind: str, flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(WRITERS[kind]().encode("utf-8"))
    for at, value in flips:
        content[at % len(content)] = value
    READERS[kind].sniff(bytes(content), "a.txt")
    try:
        found = read(tmp_path_factory.getbasetemp(), kind, bytes(content))
    except FormatError:
        return
    assert (np.diff(found["frequency"].values) > 0).all()
    if "elapsed" in found.coords:
        assert np.isfinite(found["elapsed"].values).all()
        assert (found["exposure"].values >= 0).all()


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("reader", "path"),
    [
        (autolab_impedance.READER, "text/exampleDataAutolab.txt"),
        (chi_impedance.READER, "text/exampleDataCHInstruments.txt"),
        (parstat_impedance.READER, "text/exampleDataParstat.txt"),
        (powersuite_impedance.READER, "text/exampleDataPowersuite.txt"),
        (gamry_impedance.READER, "gamry/exampleDataGamry.DTA"),
    ],
)
def test_sign_of_real_files_obeys_kramers_and_kronig(
    shared_data: Path, reader: Reader, path: str
) -> None:
    """Over the middle decades the integral of Z'' dln(f) is -pi/2 times what Z' falls by.

    The approximate relation needs no model; a sign turned round would make the ratio negative.
    """
    sweep = reader.read(File(shared_data / "formats" / "echem" / path))
    middle = sweep["impedance"].sel(frequency=slice(9.9, 1010)).isel(time=0)
    integral = np.trapezoid(middle.values.imag, np.log(middle["frequency"].values))
    fall = middle.values.real[0] - middle.values.real[-1]
    assert fall > 0
    assert 0.8 < integral / (-np.pi / 2 * fall) < 1.6
