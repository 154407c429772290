"""Bruker and Siemens .raw: four layouts, written here field by field; several ranges, damage.

BT86.raw is compared with Bruker's own conversion of it to text; positions of the LaB6 file with
those of NIST SRM 660c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

import operando
from operando_readers._reader import File, FormatError
from operando_readers.bruker_raw import READER

Values = npt.NDArray[np.float64]
COUNTS = (7.0, 11.0, 240.0, 13.0, 5.0)
CU = (1.54184, 1.5406, 1.54439, 1.39222, 0.5)
A_LAB6 = 4.156826
"""Angstrom, NIST SRM 660c at 22.5 degC."""


def _floats(values: Sequence[float]) -> bytes:
    return np.array(values, "<f4").tobytes()


def _put(size: int, *fields: tuple[int, str, Any]) -> bytes:
    """Return `size` zero bytes with numbers or texts at their offsets."""
    made = bytearray(size)
    for at, layout, value in fields:
        raw = value if layout == "s" else struct.pack(f"<{layout}", value)
        made[at : at + len(raw)] = raw
    return bytes(made)


def version_1(
    *ranges: Sequence[float], start: float = 4.98, step: float = 0.04, repeat: bool = True
) -> bytes:
    """Write version 1; old files begin only the first range with ``RAW ``."""
    made = b""
    for number, counts in enumerate(ranges):
        header = _put(
            156,
            (0, "s", b"RAW "),
            (4, "I", len(counts)),
            (8, "f", 4.0),
            (12, "f", step),
            (24, "f", start),
            (28, "f", -1e6),
            (40, "s", b"VINAIGRE".ljust(32)),
            (72, "f", 1.5406),
            (76, "f", 1.54443),
            (152, "I", len(ranges) - 1 - number),
        )
        made += (header if repeat or not number else header[4:]) + _floats(counts)
    return made


def version_2(
    *ranges: Sequence[float],
    date: bytes = b"19-12-199721:57",
    kelvin: int = 0xFFFF,
    runtime: float = -1e6,
) -> bytes:
    """Write version 2."""
    made = _put(
        256,
        (0, "s", b"RAW2"),
        (4, "H", len(ranges)),
        (8, "s", b"ZINCITE"),
        (168, "s", date),
        (188, "s", b"Cu"),
        (190, "f", 1.5406),
        (194, "f", 1.5443),
        (198, "f", 0.514),
        (206, "f", 1.3924),
        (210, "f", runtime),
    )
    for counts in ranges:
        made += _put(
            60,
            (0, "H", 60),
            (2, "H", len(counts)),
            (8, "f", 3.0),
            (12, "f", 0.02),
            (16, "f", 5.0),
            (46, "H", kelvin),
        ) + _floats(counts)
    return made


def range_3(
    counts: Sequence[float] = COUNTS,
    *,
    kind: int = 0,
    start: float = 10.0,
    started: float = 17.0,
    measured: Sequence[float] | None = None,
    stride: int | None = None,
) -> bytes:
    """Write a range of version 3; `measured` are positions recorded with every point."""
    wide = 4 if measured is None else 12
    header = _put(
        304,
        (0, "I", 304),
        (4, "I", len(counts)),
        (8, "d", start / 2),
        (16, "d", start),
        (176, "d", 0.02),
        (192, "f", 0.5),
        (196, "I", kind),
        (204, "f", started),
        (224, "I", 40),
        (228, "I", 30),
        (248, "I", 0 if measured is None else 1),
        (252, "I", wide if stride is None else stride),
        (256, "I", 40),
    )
    between = _put(40, (0, "I", 110), (4, "I", 40))
    if measured is None:
        return header + between + _floats(counts)
    points = zip(counts, measured, strict=True)
    return header + between + b"".join(struct.pack("<fd", *point) for point in points)


def version_3(
    *ranges: bytes,
    date: bytes = b"03/04/10",
    status: int = 1,
    runtime: float = 0.0,
    lines: Sequence[float] = CU,
    unit: bytes = b"A",
) -> bytes:
    """Write version 3."""
    header = _put(
        712,
        (0, "s", b"RAW1.01"),
        (8, "I", status),
        (12, "I", len(ranges)),
        (16, "s", date),
        (26, "s", b"20:59:14"),
        (36, "s", b"Department of Chemistry"),
        (326, "s", b"BT86"),
        (608, "s", b"Cu"),
        *((616 + 8 * place, "d", line) for place, line in enumerate(lines)),
        (656, "s", unit),
        (664, "f", runtime),
    )
    return header + b"".join(ranges)


def segment(kind: int, size: int, *fields: tuple[int, str, Any]) -> bytes:
    """Write a segment of version 4."""
    return _put(size, (0, "I", kind), (4, "I", size), *fields)


def range_4(
    counts: Sequence[float] = COUNTS,
    *,
    axis: bytes = b"Locked Coupled",
    start: float = 10.0,
    stands: float = 10.0,
    stride: int = 8,
) -> bytes:
    """Write a range of version 4."""
    drives = segment(50, 92, (12, "s", b"2Theta"), (56, "d", stands)) + segment(110, 40)
    header = _put(
        160,
        (32, "s", axis),
        (72, "d", start),
        (80, "d", 0.01),
        (88, "I", len(counts)),
        (92, "f", 310.0),
        (136, "I", stride),
        (140, "I", len(drives)),
    )
    points = b"".join(struct.pack("<f", count).ljust(stride, b"\1") for count in counts)
    return header + drives + points


def version_4(*ranges: bytes, date: bytes = b"14/07/2025") -> bytes:
    """Write version 4."""
    head = _put(61, (0, "s", b"RAW4.00"), (12, "s", date), (24, "s", b"20:48:56"))
    named = segment(10, 44, (12, "s", b"SAMPLEID"), (36, "s", b"HeOx\n"))
    tube = segment(
        30,
        136,
        *((72 + 8 * place, "d", line) for place, line in enumerate(CU)),
        (116, "s", b"Cu"),
    )
    return head + named + tube + b"".join(ranges)


def _read(folder: Path, raw: bytes, **options: Any) -> xr.Dataset:
    path = folder / "scan.raw"
    path.write_bytes(raw)
    return READER.read(File(path), **options)


WRITERS: dict[str, Callable[[], bytes]] = {
    "1": lambda: version_1(COUNTS),
    "2": lambda: version_2(COUNTS),
    "3": lambda: version_3(range_3(), date=b"14/03/10"),
    "4": lambda: version_4(range_4()),
}


@pytest.mark.parametrize("version", WRITERS)
def test_every_version_is_read(tmp_path: Path, version: str) -> None:
    raw = WRITERS[version]()
    scan = _read(tmp_path, raw)
    assert READER.sniff(raw, "scan.raw")
    assert scan.attrs["original_metadata"]["raw_version"] == int(version)
    np.testing.assert_array_equal(scan["intensity"][0], COUNTS)
    assert scan["intensity"].attrs["units"] == "count"
    first, step = {"1": (4.98, 0.04), "2": (5.0, 0.02), "3": (10.0, 0.02), "4": (10.0, 0.01)}[
        version
    ]
    np.testing.assert_allclose(scan["two_theta"], first + step * np.arange(5), atol=1e-12)
    assert scan.attrs["wavelength_angstrom"] == 1.5406
    assert "doubts" not in scan.attrs
    assert "truncated" not in scan.attrs


def test_steps_are_the_decimals_that_were_meant(tmp_path: Path) -> None:
    """0.04 in float32 is 0.03999999910593033: 9 microdegree off after ten thousand steps."""
    scan = _read(tmp_path, version_1(list(range(4000))))
    assert scan["two_theta"].values[-1] == pytest.approx(4.98 + 0.04 * 3999, abs=1e-9)


@pytest.mark.parametrize("repeat", [True, False])
def test_ranges_of_version_1(tmp_path: Path, repeat: bool) -> None:
    """Repeated ranges are frames, and have no time: the file has no date."""
    series = _read(tmp_path, version_1(COUNTS, COUNTS[::-1], COUNTS, repeat=repeat))
    np.testing.assert_array_equal(series["intensity"], [COUNTS, COUNTS[::-1], COUNTS])
    np.testing.assert_array_equal(series["scan"], [1, 2, 3])
    assert series.attrs["clock"]["start"] is None


def test_kelvin_of_version_2(tmp_path: Path) -> None:
    assert "temperature" not in _read(tmp_path, version_2(COUNTS)).coords
    warm = _read(tmp_path, version_2(COUNTS, kelvin=310))
    assert warm["temperature"].values == [310]
    assert warm["temperature"].attrs["units"] == "K"


@pytest.mark.parametrize(
    ("date", "start", "sigma"),
    [
        (b"19-12-199721:57", "1997-12-19T21:57:00", 30.0),
        (b"19-DEC-1997 21:57:30", "1997-12-19T21:57:30", 0.5),
        (b"", None, None),
    ],
)
def test_date_of_version_2(
    tmp_path: Path, date: bytes, start: str | None, sigma: float | None
) -> None:
    clock = _read(tmp_path, version_2(COUNTS, date=date)).attrs["clock"]
    assert (clock["start"], clock["zone"], clock["sigma_s"]) == (start, None, sigma)


def test_ranges_without_offsets_have_no_time(tmp_path: Path) -> None:
    """The header dates the first range alone: which is read alone, with its time."""
    raw = version_2(COUNTS, COUNTS)
    series = _read(tmp_path, raw)
    assert series.attrs["clock"]["start"] is None
    assert "19-12-1997" in series.attrs["clock_caution"]
    first = _read(tmp_path, raw, scans="1")
    assert first.attrs["clock"]["start"] == "1997-12-19T21:57:00"
    assert _read(tmp_path, raw, scans="2").attrs["clock"]["start"] is None


def test_ranges_of_version_3_know_when_they_start(tmp_path: Path) -> None:
    raw = version_3(*(range_3(started=17.0 + 600 * at) for at in range(3)), date=b"25/12/10")
    series = _read(tmp_path, raw)
    np.testing.assert_allclose(series["elapsed"], [17, 617, 1217])
    assert series.attrs["clock"]["start"] == "2010-12-25T20:59:14"
    placed = operando.read(tmp_path / "scan.raw", tz="Europe/Berlin", exposure_s=60.0)
    assert str(placed["time_start"].values[1])[:19] == "2010-12-25T20:09:31"


def test_which_is_the_day_must_be_said(tmp_path: Path) -> None:
    """As in BT86.raw, of which Bruker's own text says 04-Mar-2010."""
    raw = version_3(range_3())
    with pytest.raises(FormatError, match=r"03/04/10.*day or month first.*date_order='mdy'"):
        _read(tmp_path, raw)
    assert _read(tmp_path, raw, date_order="mdy").attrs["clock"]["start"][:10] == "2010-03-04"
    assert _read(tmp_path, raw, date_order="dmy").attrs["clock"]["start"][:10] == "2010-04-03"


def test_exposure_only_where_the_file_says_how_long_it_took(tmp_path: Path) -> None:
    """A line detector counts many steps at once: steps times counting time says nothing."""
    date = b"14/03/10"
    assert "exposure" not in _read(tmp_path, version_3(range_3(), date=date)).coords
    timed = _read(tmp_path, version_3(range_3(), date=date, runtime=1187.0))
    assert timed["exposure"].values == [1187]
    several = version_3(range_3(), range_3(started=900.0), date=date, runtime=1800.0)
    assert "exposure" not in _read(tmp_path, several).coords
    assert "exposure" not in _read(tmp_path, several, scans="1").coords


def test_positions_recorded_with_the_points(tmp_path: Path) -> None:
    places = [10.001, 10.0205, 10.0403, 10.0601, 10.08]
    raw = version_3(range_3(measured=places), date=b"14/03/10")
    scan = _read(tmp_path, raw)
    np.testing.assert_array_equal(scan["two_theta"], places)
    np.testing.assert_array_equal(scan["intensity"][0], COUNTS)


def test_scans_over_other_axes_are_left_out(tmp_path: Path) -> None:
    raw = version_3(range_3(kind=3), range_3(), range_3(kind=99), date=b"14/03/10")
    scan = _read(tmp_path, raw)
    np.testing.assert_array_equal(scan["scan"], [2])
    assert scan.attrs["original_metadata"]["skipped_scans"] == 2
    with pytest.raises(FormatError, match="scan 1: over 'Rocking Curve'"):
        _read(tmp_path, raw, scans="1-2")
    with pytest.raises(FormatError, match="scan 3: over 'scan type 99'"):
        _read(tmp_path, raw, scans="3")
    with pytest.raises(FormatError, match="scans: '7'; the file holds scans 1 to 3"):
        _read(tmp_path, raw, scans="7")


def test_scan_types_of_version_4(tmp_path: Path) -> None:
    """A rocking curve, and a coupled scan whose detector stands elsewhere, are no patterns."""
    ranges = [range_4(axis=b"Rocking Curve"), range_4(), range_4(stands=30.0)]
    np.testing.assert_array_equal(_read(tmp_path, version_4(*ranges))["scan"], [2])
    with pytest.raises(FormatError, match="2Theta at 30"):
        _read(tmp_path, version_4(*ranges), scans="3")


@pytest.mark.parametrize("stride", [4, 8, 12])
def test_points_of_version_4_may_be_wider(tmp_path: Path, stride: int) -> None:
    raw = version_4(range_4(stride=stride), range_4(COUNTS[::-1], stride=stride))
    series = _read(tmp_path, raw + bytes(100))
    np.testing.assert_array_equal(series["intensity"], [COUNTS, COUNTS[::-1]])
    assert series.attrs["sample"] == "HeOx"
    assert "doubts" not in series.attrs


@pytest.mark.parametrize(
    ("lines", "unit", "expected"),
    [
        (CU, b"A", (1.5406, "alpha1+alpha2", 1.54439, 0.5)),
        ((1.5406, 1.5406, 0.0, 1.39222, 0.0), b"A", (1.5406, "alpha1", None, None)),
        (CU, b"nm", (None, None, None, None)),
    ],
)
def test_lines_of_the_tube(
    tmp_path: Path, lines: Sequence[float], unit: bytes, expected: tuple[Any, ...]
) -> None:
    """A mean of K alpha 1 and 2 is never the wavelength; a unit that is not known gives none."""
    attrs = _read(tmp_path, version_3(range_3(), date=b"14/03/10", lines=lines, unit=unit)).attrs
    names = ("wavelength_angstrom", "wavelength_kind", "wavelength_alpha2_angstrom", "alpha2_ratio")
    assert tuple(attrs.get(name) for name in names) == expected


def test_ratio_not_stated(tmp_path: Path) -> None:
    """Version 1 says neither that there is K alpha 2 nor that there is none."""
    attrs = _read(tmp_path, version_1(COUNTS)).attrs
    assert attrs["wavelength_kind"] == "unknown"
    assert "wavelength_alpha2_angstrom" not in attrs
    assert attrs["original_metadata"]["k_alpha2"] == 1.54443


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"RAW5.00" + bytes(2000), "first bytes b'RAW5.00.*not a version"),
        (b"RAW1.02" + bytes(2000), "not a version.*RAW1.01"),
        (version_3(range_3(stride=8), date=b"14/03/10"), "8 bytes a point with 0 positions"),
        (version_3(range_3([]), date=b"14/03/10"), "0 points"),
        (version_4(), "no range in the file"),
        (version_4(range_4(stride=6)), "6 bytes a point"),
        (version_4()[:61] + struct.pack("<II", 10, 1 << 30), "segment of type 10 with 1073741824"),
        (version_2(COUNTS).replace(struct.pack("<HH", 60, 5), struct.pack("<HH", 6, 5)), "6 bytes"),
        (version_1(COUNTS, step=0.0), "in steps of 0.0"),
        (version_1(COUNTS, start=float("nan")), "from nan"),
        (version_1(COUNTS, start=400.0), "beyond -180 to 180"),
        (version_1(COUNTS, [1.0, 2.0, 3.0])[:20], "expected, the file has 20"),
    ],
)
def test_what_is_not_read_says_why(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        _read(tmp_path, raw)


@pytest.mark.parametrize("version", WRITERS)
def test_cut_within_the_points(tmp_path: Path, version: str) -> None:
    """What is there is read, and said to be short."""
    stride = 8 if version == "4" else 4
    scan = _read(tmp_path, WRITERS[version]()[: -stride * 2 - 1])
    np.testing.assert_array_equal(scan["intensity"][0], COUNTS[:2])
    assert scan.attrs["truncated"] == "scan 1: 2 of 5 points"


def test_missing_ranges_and_states(tmp_path: Path) -> None:
    twice = version_3(range_3(), range_3(started=600.0), date=b"14/03/10")
    cut = _read(tmp_path, twice[: 712 + len(range_3()) + 100])
    assert (cut.sizes["time"], cut.attrs["truncated"]) == (1, "1 of 2 ranges")
    aborted = _read(tmp_path, version_3(range_3(), date=b"14/03/10", status=3))
    assert aborted.attrs["truncated"] == "aborted"
    series = version_1(COUNTS, COUNTS)
    assert "range 2" in _read(tmp_path, series[: len(series) // 2 + 50]).attrs["truncated"]


def test_an_aborted_range_is_nan_behind_its_end(tmp_path: Path) -> None:
    raw = version_3(range_3(), range_3(COUNTS[:3], started=600.0), date=b"14/03/10")
    series = _read(tmp_path, raw)
    np.testing.assert_array_equal(series["intensity"][1], [*COUNTS[:3], np.nan, np.nan])
    np.testing.assert_array_equal(series["truncated"], [0, 1])


def test_ranges_of_several_axes_must_be_chosen(tmp_path: Path) -> None:
    raw = version_3(range_3(), range_3(start=40.0, started=600.0), date=b"14/03/10")
    with pytest.raises(FormatError, match=r"choose by scans=: 1 \(10 .. 10.08, 5 points\); 2 \(40"):
        _read(tmp_path, raw)
    second = _read(tmp_path, raw, scans="2")
    assert second["two_theta"].values[0] == 40
    assert second["elapsed"].values == [600]


def test_aborted_ranges_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A thousand ranges of one point beside one of a hundred thousand would be 800 MB."""
    raw = version_1([1.0] * 100_000, *[[1.0]] * 1000, step=1 / 1024)
    with pytest.raises(FormatError, match="1001 scans of up to 100000 points"):
        _read(tmp_path, raw)


def test_bytes_behind_the_last_range_raise_a_doubt(tmp_path: Path) -> None:
    scan = _read(tmp_path, version_2(COUNTS) + b"more")
    assert scan.attrs["doubts"] == "4 bytes behind the last range are not understood"


@pytest.mark.parametrize("version", sorted(WRITERS))
def test_damage_is_refused_or_leaves_a_valid_series(
    survives_damage: Callable[..., None], version: str
) -> None:
    survives_damage(READER, WRITERS[version](), "scan.raw", frames=1)


@pytest.mark.shared_data
def test_counts_are_those_of_brukers_own_text(shared_data: Path) -> None:
    """BT86.raw (version 3) and its conversion by XCH, which rounds the step of 0.0155922."""
    vendor = shared_data / "formats" / "xrd" / "vendor"
    options = {"date_order": "mdy"}
    raw = operando.read(vendor / "BT86.raw", tz="Europe/London", options=options)
    text = operando.read(vendor / "BT86_.UXD", tz="Europe/London")
    np.testing.assert_array_equal(raw["intensity"], text["intensity"])
    np.testing.assert_allclose(raw["two_theta"], text["two_theta"], rtol=0, atol=2374 * 5e-7)
    for name in ("time_start", "counting_time"):
        np.testing.assert_array_equal(raw[name], text[name])
    same = [key for key in raw.attrs if key.startswith(("wavelength", "alpha2", "anode", "sample"))]
    assert len(same) == 7
    assert {key: raw.attrs[key] for key in same} == {key: text.attrs[key] for key in same}


@pytest.mark.shared_data
def test_lines_of_lab6_lie_where_they_should(shared_data: Path) -> None:
    """Maxima within 0.05 degree of Bragg's law: the sample is displaced by 0.04, all alike."""
    path = shared_data / "formats" / "xrd" / "lab6" / "LaB6_Jan2018_bruker_v3_RAW1.01.raw"
    scan = READER.read(File(path))
    angle, counts = scan["two_theta"].values, scan["intensity"].values[0]
    squares = np.array([1, 2, 3, 4, 5, 6, 8, 9])
    sine = scan.attrs["wavelength_angstrom"] * np.sqrt(squares) / (2 * A_LAB6)
    expected = 2 * np.degrees(np.arcsin(sine))
    found = []
    for line in expected:
        near = np.abs(angle - line) < 0.5
        found.append(angle[near][np.argmax(counts[near])])
        assert counts[near].max() > 5 * np.median(counts)
    apart = np.array(found) - expected
    assert np.abs(apart).max() < 0.05
    assert np.ptp(apart) < 0.03
