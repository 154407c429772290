"""Closed Raman formats: recognised by content or suffix, refused with the way to export them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import operando
from operando.errors import ReadError
from operando.reading.registry import claims
from operando_readers._reader import File, FormatError
from operando_readers.closed_raman import READER


def _save(folder: Path, name: str, content: bytes) -> File:
    path = folder / name
    path.write_bytes(content)
    return File(path)


@pytest.mark.parametrize(
    ("name", "content", "program", "remedy"),
    [
        ("a.l6s", b"LabSpec6\0\0", "HORIBA LabSpec", "save it as .txt or .xml"),
        ("a.l6m", b"\1\2\3", "HORIBA LabSpec", "save it as .txt or .xml"),
        ("a.ngs", b"NGSNextGen\1\0", "HORIBA LabSpec", "save it as .txt or .xml"),
        ("a.wxd", b"#WXD000", "Renishaw WiRE 2", "save it as .wdf"),
        ("a.wip", b"WIT_PR06\0", "WITec Project", "export the spectra as table"),
        ("a.wid", b"WIT_DATA\0", "WITec Project", "export the spectra as table"),
        ("renamed", b"WIT^old", "WITec Project", "export the spectra as table"),
        ("a.wip", b"LabSpec6", "HORIBA LabSpec", "save it as .txt or .xml"),
    ],
)
def test_each_says_how_to_export(
    tmp_path: Path, name: str, content: bytes, program: str, remedy: str
) -> None:
    file = _save(tmp_path, name, content)
    assert claims(file) == ["closed_raman"]
    with pytest.raises(ReadError, match=f"a file of {program}, .*{remedy}"):
        operando.read(file.path, tz="UTC")
    assert remedy in operando.inspect(file.path)[0].problems[0]


def test_another_file_that_was_forced_is_refused_too(tmp_path: Path) -> None:
    file = _save(tmp_path, "a.txt", b"1 2\n3 4\n")
    assert not READER.sniff(b"1 2\n3 4\n", file.name)
    with pytest.raises(FormatError, match="not a file of LabSpec, WiRE 2 or WITec Project"):
        READER.read(file)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("PST10_iR785_OP01_8000msx8.l6s", "HORIBA LabSpec"),
        ("PST_Reflex532_Z050_010_10000msx2.wxd", "Renishaw WiRE 2"),
    ],
)
def test_real_files(shared_data: Path, name: str, program: str) -> None:
    path = shared_data / "formats" / "raman" / "ramanchada2_mit" / name
    # Its first bytes say it, whatever it is called.
    assert READER.sniff(path.read_bytes()[:100], "renamed")
    assert program in operando.inspect(path)[0].problems[0]


def test_a_closed_file_does_not_stand_in_the_way_of_its_export(
    tmp_path: Path, example_datasets: Path
) -> None:
    export = example_datasets / "na_nzsp_cell" / "raman" / "na_nzsp_NE_0001.txt"
    shutil.copy(export, tmp_path / "NE.txt")
    _save(tmp_path, "NE.l6s", b"LabSpec6")
    frames = operando.read(tmp_path, tz="America/Chicago", options={"acquired": "start"})
    assert frames.attrs["reader"] == "labspec_text"
    assert frames.attrs["problems"] == "[]"
    assert frames.sizes["time"] == 1
