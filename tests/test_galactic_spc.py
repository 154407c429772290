"""Galactic .spc: byte orders, integers and floats, series, dates that are none, other techniques.

The files are written here from SPC.H of Galactic; those of the new format with low bytes first were
read alike by spc-io 0.2.1, those of the old one by spectrochempy 1.1.3. Real ones are compared with
what their programs exported beside them.
"""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.galactic_spc import READER

RAMAN = ("formats", "raman", "ramanchada2_mit")
WIRE_LOG = (
    "Scan_type=Static\r\nExposure_time=Time: {exposure}\r\nAccumulations=Accumulations: 4\r\n"
    "Laser=Laser: 785 nm edge\r\n[WiRE2 ZeroLevelAndDarkCurrent]\r\n"
)
DEFAULTS: dict[str, Any] = {
    "order": "<",
    "flags": 0,
    "exponent": -128,
    "x": None,
    "first_last": (300.0, 100.0),
    "y": ((3.0, 2.0, 1.0),),
    "sub_exponents": None,
    "kinds": (13, 4, 0),
    "date": (2026, 5, 4, 10, 30),
    "z": None,
    "z_step": 0.0,
    "planes": 0,
    "labels": b"",
    "log": "",
    "directory": False,
}
"""What `_spc` writes; `y` are the numbers as stored: floats, or integers with an exponent."""


def _spc(**changes: Any) -> bytes:
    made = DEFAULTS | changes
    order, flags, y = made["order"], made["flags"], made["y"]
    many = len(y)
    flags |= (4 if many > 1 else 0) | (128 if made["x"] is not None else 0)
    code = "f" if made["exponent"] == -128 and made["sub_exponents"] is None else "i"
    code = "h" if flags & 1 else code
    own = flags & 64
    body, starts = b"", []
    if made["x"] is not None and not own:
        body += struct.pack(f"{order}{len(made['x'])}f", *made["x"])
    z = made["z"] or [float(n) for n in range(many)]
    for number, counts in enumerate(y):
        exponent = (made["sub_exponents"] or [made["exponent"]] * many)[number]
        starts.append(512 + len(body))
        after = z[number + 1] if number + 1 < many else z[number]
        points = len(counts) if own else 0
        body += struct.pack(
            f"{order}BbHfffIIf4x", 0, exponent, number, z[number], after, 0, points, 0, 0
        )
        if own:
            x = made["x"][number] if isinstance(made["x"][0], Sequence) else made["x"]
            body += struct.pack(f"{order}{len(x)}f", *x)
        body += struct.pack(f"{order}{len(counts)}{code}", *counts)
    points = len(y[0])
    if own:
        points = 512 + len(body) if made["directory"] else 0
        if made["directory"]:
            body += b"".join(struct.pack(f"{order}IIf", at, 0, 0.0) for at in starts)
    log_at = 0
    if made["log"]:
        text = made["log"].encode("latin-1") + b"\0"
        log_at = 512 + len(body)
        body += struct.pack(f"{order}5I44x", 64 + len(text), 4096, 64, 0, 0) + text
    year, month, day, hour, minute = made["date"]
    header = struct.pack(
        f"{order}BBBbIddIBBBBI9s9sH8f130s30sII60xfIf184x",
        flags,
        0x4C if order == ">" else 0x4B,
        11,
        made["exponent"],
        points,
        *made["first_last"],
        many,
        *made["kinds"],
        0,
        year << 20 | month << 16 | day << 11 | hour << 6 | minute,
        b"",
        b"WITec",
        0,
        *[0.0] * 8,
        b"layer PE",
        made["labels"],
        log_at,
        0,
        made["z_step"],
        made["planes"],
        0.0,
    )
    assert len(header) == 512
    return header + body


def _old(*, exponent: int = 8, flags: int = 0, y: Sequence[Sequence[int]] = ((1, 2, 3),)) -> bytes:
    """Write a file of LabCalc; the words of 32 bits are swapped."""
    header = struct.pack(
        "<BBhfffBBH4B8sHH7f130s30s",
        *(flags | (4 if len(y) > 1 else 0), 0x4D, exponent, len(y[0]), 100.0, 300.0),
        *(13, 4, 5 << 12 | 1994, 5, 4, 10, 30),
        *(b"4", 0, 0, *[0.0] * 7, b"old", b""),
    )
    assert len(header) == 224
    body = b""
    for number, counts in enumerate(y):
        body += struct.pack("<BbHfff16x", 0, exponent, number, 2.0 * number, 2.0 * number + 2, 0)
        if flags & 1:
            body += struct.pack(f"<{len(counts)}h", *counts)
        else:
            for count in counts:
                word = count & 0xFFFFFFFF
                body += struct.pack("<HH", word >> 16, word & 0xFFFF)
    return header + body


def _save(folder: Path, raw: bytes, name: str = "cell.spc") -> File:
    path = folder / name
    path.write_bytes(raw)
    return File(path)


def _read(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> xr.Dataset:
    return READER.read(_save(folder, _spc(**changes)), **(options or {}))


@pytest.mark.parametrize("order", ["<", ">"])
def test_one_spectrum_of_either_byte_order(tmp_path: Path, order: str) -> None:
    spectrum = _read(tmp_path, order=order)
    np.testing.assert_array_equal(spectrum["raman_shift"], [100, 200, 300])
    np.testing.assert_array_equal(spectrum["intensity"], [[1, 2, 3]])
    assert spectrum["intensity"].attrs["units"] == "count"
    assert spectrum.attrs["instrument"] == "WITec"
    assert spectrum.attrs["axis_source"] == "Raman shift in the file"
    assert spectrum.attrs["original_metadata"]["comment"] == "layer PE"
    assert spectrum["elapsed"].values.tolist() == [0.0]


@pytest.mark.parametrize(("flags", "bits"), [(0, 32), (1, 16)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_fractions_are_scaled_by_the_exponent(
    tmp_path: Path, flags: int, bits: int, order: str
) -> None:
    """SPC.H: 0x40000000 is 0.25 and 0xC0000000 is -0.25; with exponent 2 they are 1 and -1."""
    quarter = 1 << (bits - 2)
    spectrum = _read(
        tmp_path,
        order=order,
        flags=flags,
        exponent=2,
        first_last=(0.0, 2.0),
        y=((quarter, -quarter, 1),),
    )
    np.testing.assert_array_equal(spectrum["intensity"][0], [1.0, -1.0, 2.0 ** (2 - bits)])


def test_a_series_takes_the_exponent_of_each_subfile(tmp_path: Path) -> None:
    series = _read(
        tmp_path,
        {"dated": "start"},
        exponent=0,
        sub_exponents=[32, 33],
        y=((1, 2, 3), (1, 2, 3)),
        z=[10.0, 12.5],
        kinds=(13, 4, 5),
        flags=16,
    )
    np.testing.assert_array_equal(series["intensity"], [[3, 2, 1], [6, 4, 2]])
    np.testing.assert_array_equal(series["elapsed"], [0.0, 150.0])
    assert series.attrs["clock"]["start"] == "2026-05-04T10:30"


@pytest.mark.parametrize(("z_step", "seconds"), [(0.0, [0, 7, 14]), (2.0, [0, 2, 4])])
def test_even_times_are_counted_from_the_first_subfile(
    tmp_path: Path, z_step: float, seconds: list[float]
) -> None:
    series = _read(
        tmp_path, y=((1.0, 2.0),) * 3, z=[3.0, 10.0, 99.0], z_step=z_step, kinds=(13, 4, 4)
    )
    np.testing.assert_array_equal(series["elapsed"], seconds)


def test_a_series_along_something_else_has_no_times(tmp_path: Path) -> None:
    path = _save(tmp_path, _spc(y=((1.0, 2.0),) * 2, kinds=(13, 4, 0)))
    series = READER.read(path)
    assert "elapsed" not in series.coords
    assert series.attrs["clock"]["start"] is None
    assert "2 subfiles along arbitrary, no times" in series.attrs["doubts"]
    placed = operando.read(path.path, first="2026-05-04T10:00:00", period_s=60, tz="UTC")
    assert placed.sizes["time"] == 2


def test_pairs_are_sorted(tmp_path: Path) -> None:
    spectrum = _read(tmp_path, x=[10.0, 30.0, 20.0], y=((1.0, 3.0, 2.0),))
    np.testing.assert_array_equal(spectrum["raman_shift"], [10, 20, 30])
    np.testing.assert_array_equal(spectrum["intensity"], [[1, 2, 3]])
    with pytest.raises(FormatError, match="X: does not ascend"):
        _read(tmp_path, x=[10.0, 20.0, 20.0], y=((1.0, 3.0, 2.0),))


@pytest.mark.parametrize("directory", [True, False])
def test_subfiles_with_axes_of_their_own(tmp_path: Path, directory: bool) -> None:
    y = ((1.0, 2.0), (3.0, 4.0))
    same = _read(tmp_path, flags=64, x=[[5.0, 6.0]] * 2, y=y, directory=directory, kinds=(13, 4, 4))
    np.testing.assert_array_equal(same["raman_shift"], [5, 6])
    np.testing.assert_array_equal(same["intensity"], y)
    with pytest.raises(FormatError, match="subfile 2: its X are not those of subfile 1"):
        _read(tmp_path, flags=64, x=[[5.0, 6.0], [5.0, 6.5]], y=y, directory=directory)


@pytest.mark.parametrize("flags", [0, 1])
def test_the_old_format(tmp_path: Path, flags: int) -> None:
    bits = 16 if flags else 32
    series = READER.read(
        _save(tmp_path, _old(exponent=bits, flags=flags, y=((-7, 2, 300), (4, 5, 6)))),
        dated="start",
    )
    np.testing.assert_array_equal(series["intensity"], [[-7, 2, 300], [4, 5, 6]])
    np.testing.assert_array_equal(series["raman_shift"], [100, 200, 300])
    np.testing.assert_array_equal(series["elapsed"], [0.0, 120.0])
    assert series.attrs["clock"]["start"] == "1994-05-04T10:30"
    assert series.attrs["original_metadata"]["comment"] == "old"


@pytest.mark.parametrize(
    ("date", "start", "doubt"),
    [
        ((2026, 5, 4, 10, 30), "2026-05-04T10:30", None),
        ((0, 0, 0, 0, 0), None, None),
        ((1359, 6, 11, 25, 8), None, "'1359-06-11T25:08' is no date"),
        ((2026, 2, 30, 10, 30), None, "is no date"),
        ((2026, 5, 4, 10, 60), None, "is no date"),
        ((1989, 5, 4, 10, 30), None, "expected a year from 1990 to 2100"),
        ((2101, 5, 4, 10, 30), None, "expected a year from 1990 to 2100"),
    ],
)
def test_dates(tmp_path: Path, date: tuple[int, ...], start: str | None, doubt: str | None) -> None:
    attrs = _read(tmp_path, {"dated": "start"}, date=date).attrs
    assert (attrs["clock"]["start"], attrs["clock"]["zone"]) == (start, None)
    assert (doubt or "") in attrs.get("doubts", "")
    assert ("doubts" in attrs) == (doubt is not None)


@pytest.mark.parametrize("y", [((3.0, 2.0, 1.0),), ((1.0, 2.0),) * 2])
def test_a_date_that_may_be_that_of_the_export_is_not_taken(tmp_path: Path, y: Any) -> None:
    attrs = _read(tmp_path, y=y, kinds=(13, 4, 4)).attrs
    assert (attrs["clock"]["start"], attrs["clock"]["source"]) == (None, "none")
    assert "'2026-05-04T10:30' may be the moment of export" in attrs["doubts"]
    assert "pass dated='start' or 'end'" in attrs["doubts"]


@pytest.mark.parametrize("marks", ["start", "end"])
def test_a_date_is_taken_once_it_is_known_what_it_marks(tmp_path: Path, marks: str) -> None:
    clock = _read(tmp_path, {"dated": marks}).attrs["clock"]
    assert (clock["marks"], clock["sigma_s"]) == (marks, 30.0)


@pytest.mark.parametrize(
    ("kinds", "labels", "options", "message"),
    [
        ((1, 4, 0), b"", {}, r"fxtype: wavenumber \(1/cm\); not said to be a Raman shift"),
        ((1, 2, 0), b"", {}, "fytype: absorbance; not a Raman spectrum"),
        ((13, 128, 0), b"", {}, "fytype: transmission; not a Raman spectrum"),
        ((3, 4, 0), b"", {}, "pass laser_nm="),
        ((3, 4, 0), b"", {"laser_nm": 53200.0}, "a laser at 53200 nm"),
        ((0, 4, 0), b"Energy\0", {}, "arbitrary, 'Energy'; not said"),
        ((99, 4, 0), b"", {}, "kind 99; not said"),
        ((1, 4, 0), b"", {"axis": "wavenumber"}, "pass laser_nm="),
    ],
)
def test_what_is_not_raman_is_refused(
    tmp_path: Path,
    kinds: tuple[int, ...],
    labels: bytes,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, options, kinds=kinds, labels=labels, flags=32 if labels else 0)


def test_the_user_knows_better(tmp_path: Path) -> None:
    """Silicon (520.7 1/cm) of a laser at 532 nm is seen at 547.16 nm, or 18276.3 1/cm."""
    nm = 1 / (1 / 532.0 - 520.7e-7)
    x = [532.0, nm, 600.0]
    by_nm = _read(tmp_path, {"laser_nm": 532.0}, kinds=(3, 4, 0), x=x)
    np.testing.assert_allclose(by_nm["raman_shift"][:2], [0.0, 520.7], atol=2e-3)
    assert by_nm.attrs["axis_source"] == "wavelength in nm, laser at 532.000 nm (option)"
    in_um = _read(tmp_path, {"laser_nm": 532.0}, kinds=(2, 4, 0), x=[one / 1000 for one in x])
    np.testing.assert_allclose(in_um["raman_shift"], by_nm["raman_shift"], atol=5e-3)
    absolute = _read(
        tmp_path,
        {"axis": "wavenumber", "laser_nm": 532.0},
        kinds=(1, 2, 0),
        x=[1e7 / one for one in x],
    )
    np.testing.assert_allclose(absolute["raman_shift"], by_nm["raman_shift"], atol=5e-3)
    shifts = _read(tmp_path, {"axis": "raman_shift"}, kinds=(1, 2, 0))
    assert shifts.attrs["axis_source"].endswith("a Raman shift by option")
    assert shifts["intensity"].attrs["units"] == "1"
    labelled = _read(tmp_path, kinds=(0, 4, 0), labels=b"Raman shift\0Counts\0", flags=32)
    np.testing.assert_array_equal(labelled["raman_shift"], [100, 200, 300])


@pytest.mark.parametrize(
    ("exposure", "seconds"), [("10s", 40.0), ("3000", 12.0), ("long", None), ("9" * 5000, None)]
)
def test_the_log_of_wire(tmp_path: Path, exposure: str, seconds: float | None) -> None:
    spectrum = _read(tmp_path, log=WIRE_LOG.format(exposure=exposure))
    assert spectrum.attrs["laser_wavelength_nm"] == 785.0
    assert "WiRE interpolated it onto even steps" in spectrum.attrs["axis_source"]
    assert spectrum.attrs["original_metadata"]["log > Scan_type"] == "Static"
    found = spectrum["exposure"].values.tolist() if "exposure" in spectrum.coords else [None]
    assert found == [seconds]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "version 0x00"),
        (b"\0\xcf" + bytes(600), "version 0xCF"),
        (_spc()[:511], "header: 511 bytes of 512"),
        (_old()[:255], "header: 255 bytes of 256"),
        (_spc(planes=2), "four dimensions"),
        (_spc()[:550], "expected 44 of a spectrum"),
        (_spc(x=[1.0, 2.0, 3.0])[:520], "3 points of a spectrum|of X values"),
        (_spc(y=((1.0,),)), "1 points of a spectrum"),
        (_spc(first_last=(5.0, 5.0)), "X: does not ascend"),
        (_spc(first_last=(5.0, np.nan)), "X: does not ascend"),
        (_spc(flags=1, y=((1, 2),)), "exponent -128"),
        (_spc(exponent=0, sub_exponents=[-128, 4], y=((1, 2),) * 2), "exponent -128"),
        (_old(exponent=-128), "exponent -128"),
        (_old(flags=128), "the old format has no X values"),
        (_spc(flags=64, x=[[5.0, 6.0]], y=((1.0, 2.0),))[:540], "no spectrum with X and Y fits"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        READER.read(_save(tmp_path, raw))


@pytest.mark.parametrize(
    ("at", "code", "value"),
    [(4, "I", 2**32 - 1), (24, "I", 2**32 - 1), (248, "I", 2**32 - 4), (4, "I", 2**31)],
)
@pytest.mark.parametrize("flags", [0, 64 | 128 | 4])
def test_sizes_beyond_the_file_cost_nothing(
    tmp_path: Path, at: int, code: str, value: int, flags: int
) -> None:
    y = ((1.0, 2.0),) * 2
    raw = bytearray(_spc(flags=flags, x=[[5.0, 6.0]] * 2 if flags else None, y=y))
    struct.pack_into(f"<{code}", raw, at, value)
    file = _save(tmp_path, bytes(raw))
    tracemalloc.start()
    with contextlib.suppress(FormatError):
        assert READER.read(file).sizes["time"] <= 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_subfiles_that_overlap_are_refused(tmp_path: Path) -> None:
    """Two thousand entries of the directory, all at one subfile of two thousand points: 16 MB."""
    points, many = 2000, 2000
    x, y = list(map(float, range(points))), (tuple([1.0] * points),)
    raw = bytearray(_spc(flags=64 | 4, x=x, y=y, directory=True, kinds=(13, 4, 4)))
    struct.pack_into("<I", raw, 24, many)
    raw += struct.pack("<IIf", 512, 0, 0.0) * many
    file = _save(tmp_path, bytes(raw))
    tracemalloc.start()
    with pytest.raises(FormatError, match="subfiles overlap from number 3 on"):
        READER.read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_series_that_was_cut_is_shorter(tmp_path: Path) -> None:
    raw = _spc(y=((1.0, 2.0),) * 3, kinds=(13, 4, 4))
    cut = READER.read(_save(tmp_path, raw[:-8]))
    assert (cut.sizes["time"], cut.attrs["truncated"]) == (2, "2 of 3 subfiles; cut short")


WHOLE = [
    _spc(y=((1.0, 2.0, 3.0),) * 2, x=[1.0, 2.0, 3.0], kinds=(13, 4, 4), log="Laser=Laser: 5 nm"),
    _spc(flags=64, x=[[5.0, 6.0]] * 2, y=((1.0, 2.0),) * 2, directory=True, kinds=(13, 4, 4)),
    _old(y=((1, 2, 3), (4, 5, 6))),
]


@pytest.mark.parametrize("whole", WHOLE, ids=["common", "own", "old"])
def test_damage_is_refused_or_leaves_a_valid_series(
    survives_damage: Callable[..., None], whole: bytes
) -> None:
    survives_damage(READER, whole, "cell.spc", frames=2, cuts=range(len(whole)))


def test_it_is_recognised_by_suffix_and_version() -> None:
    whole = _spc()
    assert READER.sniff(whole, "A.SPC")
    assert not READER.sniff(whole, "a.dat")
    assert not READER.sniff(b"\0\xcf" + whole[2:], "a.spc")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "lost"),
    [("nCal_Qontor785_z005H12_100_1x3s", 0.057), ("PST_Reflex532_Z050_010_10000msx2", 0.0003)],
)
def test_wire_interpolates_when_it_exports(shared_data: Path, name: str, lost: float) -> None:
    """The .spc is its own text export, linearly interpolated onto even steps of as many points."""
    folder = shared_data.joinpath(*RAMAN)
    exported = np.loadtxt(folder / f"{name}.txt", comments="#")[::-1]
    spectrum = READER.read(File(folder / f"{name}.spc"))
    shift, counts = spectrum["raman_shift"].values, spectrum["intensity"].values[0]
    assert shift.size == len(exported)
    np.testing.assert_allclose(shift[[0, -1]], exported[[0, -1], 0], atol=5e-3)
    np.testing.assert_allclose(counts, np.interp(shift, *exported.T), rtol=1e-3)
    assert np.median(np.abs(counts / np.interp(shift, *exported.T) - 1)) < 5e-5
    # Taken point by point the two are far apart, and a sharp line is lower.
    assert np.abs(shift - exported[:, 0]).max() > 30
    assert 1 - counts.max() / exported[:, 1].max() == pytest.approx(lost, abs=2e-4)


@pytest.mark.shared_data
def test_the_spc_of_an_i_raman_is_its_text_on_whole_wavenumbers(shared_data: Path) -> None:
    """Interpolated by a curve: away from sharp lines they agree to 1e-3, and lines stay in place.

    The .spc is dated ten minutes after the .txt of the same 21 s: its date is that of the export.
    """
    folder = shared_data.joinpath(*RAMAN)
    name = "PST10_iR532_Probe_100_3000msx7"
    spectrum = READER.read(File(folder / f"{name}.spc"), dated="start")
    text = operando.formats()["bwtek_text"].read(File(folder / f"{name}.txt"))
    shift = spectrum["raman_shift"].values
    np.testing.assert_array_equal(shift, np.arange(175.0, 3983.0))
    measured = np.interp(shift, text["raman_shift"].values, text["intensity"].values[0])
    counts = spectrum["intensity"].values[0]
    assert np.median(np.abs(counts - measured) / np.abs(measured)) < 4e-3
    apart = (
        text["raman_shift"].values[int(text["intensity"].values[0].argmax())]
        - shift[counts.argmax()]
    )
    assert abs(apart) < 2.1
    delay = np.datetime64(spectrum.attrs["clock"]["start"]) - np.datetime64(
        text.attrs["clock"]["start"]
    )
    assert 9 < delay / np.timedelta64(1, "m") < 11
    assert READER.read(File(folder / f"{name}.spc")).attrs["clock"]["start"] is None


@pytest.mark.shared_data
def test_a_real_date_that_is_none(shared_data: Path) -> None:
    path = shared_data.joinpath(*RAMAN, "nCal_Qontor785_z005H12_100_1x3s.spc")
    found = operando.inspect(path)[0]
    assert found.first is None
    assert any("1359-06-11T25:08" in problem for problem in found.problems)
