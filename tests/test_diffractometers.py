"""What the readers of diffractometers share: XML, zips, tubes, axes; their real files."""

from __future__ import annotations

import bz2
import io
import json
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import operando
from operando.cli import main
from operando.reading.registry import claims
from operando_readers import _gzip, _patterns, _xml
from operando_readers._archive import Archive, holds
from operando_readers._patterns import Pattern, chosen, frames, over_two_theta
from operando_readers._radiation import Radiation
from operando_readers._reader import File, FormatError
from operando_readers._scan_times import unknown
from operando_readers._xml import document, flat, numbers

READERS = (
    *("panalytical_xrdml", "panalytical_csv", "bruker_brml", "bruker_raw", "bruker_uxd"),
    *("rigaku_ras", "rigaku_rasx", "stoe_raw"),
)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        *((axis, True) for axis in ("Gonio", "2Theta", "2Theta-Omega", "Omega-2Theta")),
        *((axis, True) for axis in ("TwoTheta", "TwoThetaTheta", "TwoThetaOmega", "2Theta/Omega")),
        *((axis, True) for axis in ("Locked Coupled", "Unlocked Coupled HR XRD", "Detector Scan")),
        *((axis, False) for axis in ("Omega", "Phi", "Chi", "TwoThetaChi", "Theta", "", "Z Scan")),
        *((axis, False) for axis in ("Rocking Curve", "2Theta from 20 with 2Theta at 30", "HKL")),
    ],
)
def test_scans_over_two_theta(axis: str, expected: bool) -> None:
    assert over_two_theta(axis) is expected


def test_scans_that_are_asked_for() -> None:
    axes = ["Gonio", "Omega", "2Theta", "Gonio"]
    assert chosen(axes, None) == [1, 3, 4]
    assert chosen(axes, "3-9") == [3, 4]
    with pytest.raises(FormatError, match="scan 2: over 'Omega'"):
        chosen(axes, "1-3")
    with pytest.raises(FormatError, match="scans: 'two'"):
        chosen(axes, "two")


@given(
    alpha1=st.one_of(st.none(), st.floats()),
    alpha2=st.one_of(st.none(), st.floats()),
    beta=st.one_of(st.none(), st.floats()),
    ratio=st.one_of(st.none(), st.floats()),
)
def test_wavelengths_are_told_or_left_out(
    alpha1: float | None, alpha2: float | None, beta: float | None, ratio: float | None
) -> None:
    """0, -1 and damaged numbers are no wavelengths; a doublet has both lines and a kind."""
    facts = Radiation(alpha1=alpha1, alpha2=alpha2, beta=beta, ratio=ratio).facts()
    assert ("wavelength_angstrom" in facts) == ("wavelength_kind" in facts)
    assert all(0.01 < float(v) < 20 for k, v in facts.items() if k.endswith("angstrom"))
    assert ("alpha2_ratio" in facts) <= ("wavelength_alpha2_angstrom" in facts)
    assert ("wavelength_alpha2_angstrom" in facts) == (
        facts.get("wavelength_kind") == "alpha1+alpha2"
    )


def _pattern(number: int, counts: Any, **changes: Any) -> Pattern:
    counts = np.array(counts, np.float64)
    made = {"two_theta": 10 + 0.1 * np.arange(counts.size), "intensity": counts} | changes
    return Pattern(number=number, **made)


def test_what_only_some_scans_have() -> None:
    """Attenuated in one scan, with a temperature in the other, counted in points of one time."""
    first = _pattern(1, [1, 20], attenuation=np.array([1.0, 10.0]), counting_time=2.0)
    second = _pattern(
        2, [3, 4], told={"temperature": (310.0, "K")}, counting_time=np.array([1.0, 3.0])
    )
    series = frames([first, second], unknown(2), metadata={})
    np.testing.assert_array_equal(series["attenuation_factor"], [[1, 10], [1, 1]])
    np.testing.assert_array_equal(series["point_counting_time"], [[2, 2], [1, 3]])
    np.testing.assert_array_equal(series["temperature"], [np.nan, 310])
    assert "counting_time" not in series.coords


def test_all_that_belongs_to_a_point_is_turned_with_it() -> None:
    counts = np.arange(4.0)
    turned = _pattern(
        1,
        counts[::-1],
        two_theta=np.array([10.3, 10.2, 10.1, 10.0]),
        sigma=counts[::-1] + 1,
        attenuation=counts[::-1] + 2,
        counting_time=counts[::-1] + 3,
    )
    scan = frames([turned], unknown(1), metadata={})
    for offset, name in enumerate(
        ("intensity", "intensity_sigma", "attenuation_factor", "point_counting_time")
    ):
        np.testing.assert_array_equal(scan[name][0], counts + offset)


def test_units_are_not_mixed() -> None:
    with pytest.raises(FormatError, match=r"count and count/s.*choose by scans="):
        frames([_pattern(1, [1, 2]), _pattern(2, [3, 4], units="count/s")], unknown(2), metadata={})


def test_the_number_of_frames_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_patterns, "MOST_FRAMES", 3)
    with pytest.raises(FormatError, match="4 scans; at most 3 are read, choose by scans="):
        chosen(["Gonio"] * 4, None)


def test_xml_by_local_names() -> None:
    root = document(
        b"<a xmlns='urn:x' xmlns:s='urn:s'><b s:type='t'>1</b><b/><b>2</b><c><d>3</d></c></a>",
        what="x.xml",
    )
    assert root.get("xmlns") == "urn:x"
    assert flat(root, skip=("c",)) == {"@xmlns": "urn:x", "b@type": "t", "b": "1", "b[3]": "2"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "x.xml: the XML is damaged or cut short"),
        (b"<a><b></a>", "mismatched tag"),
        (b"<a>&b;</a>", "undefined entity"),
        (b"<a>\0</a>", "damaged"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "damaged"),
        (b"<?xml version='1.0' encoding='shift_jis'?><a/>", "damaged"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "a document type is declared"),
        (b"<a>" * 200, "more than .* 100 levels"),
        ("<a b='1'/>".encode("utf-16")[:-3], "damaged"),
    ],
)
def test_xml_that_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        document(raw, what="x.xml")


def test_elements_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four bytes each in the file are a hundred in memory."""
    monkeypatch.setattr(_xml, "MOST_ELEMENTS", 1000)
    assert len(document(b"<a>" + b"<b/>" * 999 + b"</a>", what="x")) == 999
    with pytest.raises(FormatError, match="more than 1000 elements"):
        document(b"<a>" + b"<b/>" * 1000 + b"</a>", what="x")


def test_facts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_xml, "MOST_FACTS", 10)
    found = flat(document(b"<a>" + b"<b>x</b>" * 99 + b"</a>", what="x"))
    assert len(found) == 10


@given(st.text())
def test_numbers_or_the_place_of_what_is_none(text: str) -> None:
    try:
        found = numbers(text, what="list")
    except FormatError as error:
        assert str(error).startswith("list: value ")  # noqa: PT017  any text may be given
        return
    assert found.size == len(text.split())


def _zip(path: Path, members: dict[str, bytes]) -> File:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return File(path)


def test_members_of_a_zip(tmp_path: Path) -> None:
    file = _zip(tmp_path / "a.brml", {"b/10.xml": b"x", "b/9.xml": b"y", "c.txt": b"z"})
    archive = Archive(file)
    assert archive.matching(r"b/\d+\.xml") == ["b/9.xml", "b/10.xml"]
    assert archive.read("c.txt") == b"z"
    with pytest.raises(FormatError, match=r"d.txt: damaged in the zip"):
        archive.read("d.txt")
    head = file.read_bytes(1 << 16)
    assert holds(head, b"b/1", b"none")
    assert not holds(head, b"10.xml")
    assert not holds(b"b/10.xml", b"b/1")


def test_what_a_zip_unpacks_to_is_bounded_in_all(tmp_path: Path) -> None:
    """Each member within the bounds, all of them beyond: as overlapping members would be."""
    file = _zip(tmp_path / "a.rasx", {f"{k}": bytes(1 << 20) for k in range(8)})
    archive = Archive(file)
    whole = 200 * file.size() >> 20
    assert 0 < whole < 8
    for name in archive.names[:whole]:
        archive.read(name)
    with pytest.raises(FormatError, match="further than 200 times"):
        archive.read(archive.names[whole])


def test_a_zip_that_lies_about_the_size_of_a_member(tmp_path: Path) -> None:
    """What comes out is never more than what was said, and is refused for its checksum."""
    raw = bytearray(_zip(tmp_path / "a.rasx", {"x": b"a" * 5000}).read_bytes())
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", raw, raw.index(mark) + place, 10)
    (tmp_path / "b.rasx").write_bytes(raw)
    with pytest.raises(FormatError, match="x: damaged in the zip"):
        Archive(File(tmp_path / "b.rasx")).read("x")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    raw = bytearray(_zip(tmp_path / "a.rasx", {"x": b"a"}).read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + place] |= 1
    (tmp_path / "b.rasx").write_bytes(raw)
    with pytest.raises(FormatError, match="encrypted"):
        Archive(File(tmp_path / "b.rasx")).read("x")


@given(content=st.binary(max_size=2000), parts=st.integers(1, 3), cut=st.integers(0, 50))
def test_bzip2(content: bytes, parts: int, cut: int) -> None:
    """All joined parts; cut short, what came before."""
    raw = bz2.compress(content) * parts
    assert _gzip.unpacked(raw) == (content * parts, None)
    assert _gzip.first_bytes(raw, 100) == content[:100]
    found, reason = _gzip.unpacked(raw[: max(14, len(raw) - cut)])
    assert (content * parts).startswith(found)
    assert reason in (None, "bzip2: ends early")
    if reason is None and content:
        assert len(found) % len(content) == 0


def test_bzip2_bounds() -> None:
    bomb = bz2.compress(bytes(64 << 20))
    assert len(bomb) < 1000
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"bzip2: \d+ bytes unpack to more than 1048576"):
        _gzip.unpacked(bomb)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    damaged = bytearray(bz2.compress(b"x" * 1000))
    damaged[20] ^= 255
    with pytest.raises(FormatError, match="bzip2: damaged"):
        _gzip.unpacked(bytes(damaged))
    assert _gzip.unpacked(b"BZh is how a text may begin") == (b"BZh is how a text may begin", None)


def _real_files() -> list[Any]:
    folder = Path(__file__).parent / "expected"
    found = {}
    for reader in READERS:
        for entry in json.loads((folder / f"{reader}.json").read_text())["files"]:
            found[entry["path"]] = pytest.param(reader, entry, id=entry["path"].rpartition("/")[2])
    return list(found.values())


@pytest.mark.shared_data
@pytest.mark.parametrize(("reader", "entry"), _real_files())
def test_one_reader_claims_a_real_file(
    reader: str, entry: dict[str, Any], shared_data: Path
) -> None:
    """Of any technique: no other takes it for its own."""
    assert claims(File(shared_data / entry["path"])) == [reader]


@pytest.mark.shared_data
@pytest.mark.parametrize(("reader", "entry"), _real_files())
def test_inspection_of_a_real_file(reader: str, entry: dict[str, Any], shared_data: Path) -> None:
    """Says the wavelength and whether it is all of the light, without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [found] = operando.inspect(shared_data / entry["path"], options=entry["options"])
    assert (found.format, found.technique, found.frames) == (reader, "xrd", 1)
    assert not found.problems
    assert found.facts["wavelength_kind"] in ("alpha1", "alpha1+alpha2", "unknown")
    assert 1.2 < found.facts["wavelength_angstrom"] < 1.55


@pytest.mark.shared_data
@pytest.mark.parametrize("member", ["RawData0.xml", "MeasurementContainer.xml"])
def test_a_real_brml_with_a_member_cut(member: str, shared_data: Path, tmp_path: Path) -> None:
    """What is not needed may be damaged; what is must be whole."""
    path = shared_data / "formats" / "xrd" / "vendor" / "23-012-AG_2thomegascan_long.brml"
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:50_000] if name.endswith(member) else content)
    (tmp_path / "cut.brml").write_bytes(stream.getvalue())
    if member == "RawData0.xml":
        with pytest.raises(operando.errors.ReadError, match="damaged or cut short"):
            operando.read(tmp_path / "cut.brml")
    else:
        assert operando.read(tmp_path / "cut.brml").sizes["two_theta"] == 2001


@pytest.mark.shared_data
def test_inspect_passes_options_on(shared_data: Path) -> None:
    file = str(shared_data / "formats" / "xrd" / "vendor" / "BT86.raw")
    silent = CliRunner().invoke(main, ["inspect", file])
    assert "date_order" in silent.output
    told = CliRunner().invoke(main, ["inspect", file, "--option", "date_order=mdy"])
    assert "2010-03-04 20:59:31" in told.output.replace("T", " ")
    wrong = CliRunner().invoke(main, ["inspect", file, "--option", "mdy"])
    assert (wrong.exit_code, wrong.output) == (2, "operando: --option 'mdy'; expected KEY=VALUE\n")
